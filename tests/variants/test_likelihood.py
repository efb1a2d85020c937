"""Likelihood ratios agree with a slow, obvious twin, whatever is batched, shared, or read from the opposite strand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import dna
from tiny_variants import masked_model

from hf_genomics.sequence import as_letters, num_kmers, reverse_complement
from hf_genomics.sequence_files.reference import strands_in_memory
from hf_genomics.variants.likelihood import Plan, run_plan, score_events, share_forwards
from hf_genomics.variants.sites import Event, WindowRule, spread_frames

SHAPES = [(3, 1), (3, 2), (3, 3), (4, 3)]


def rule_of(k, stride, length=30, frames=3):
    tokens = num_kmers(length, k, stride)
    return WindowRule(k, stride, (tokens - 1) * stride + k, spread_frames(k, stride, frames))


def slow_frame(model, tokenizer, contig, start, ref, alt, rule, frame, estimator="joint"):
    """One frame of one strand: a window, a batch of one, logits of all tokens; None if no token shows the event."""
    k, stride = rule.k, rule.stride
    begin = start - frame - rule.length // 2 // stride * stride
    end = min(begin + rule.length, len(contig))
    while begin < 0:
        begin += stride
    window = contig[begin:end]
    if len(window) < k:
        return None
    ids = tokenizer(window, return_tensors="pt")["input_ids"]
    mutated = contig[:start] + alt + contig[start + len(ref) :]
    alt_ids = tokenizer(mutated[begin:end], return_tensors="pt")["input_ids"]
    covering, whole = [], []
    for token in range(ids.shape[1] - 2):
        letters = range(begin + token * stride, begin + token * stride + k)
        shown = [place in letters for place in range(start, start + len(ref))]
        covering += [token] * any(shown)
        whole += [token] * all(shown)
    if not whole:
        return None
    shown_ids = ids.clone()
    if estimator != "unmasked":
        shown_ids[0, [token + 1 for token in covering]] = tokenizer.mask_token_id
    with torch.no_grad():
        logs = model(shown_ids).logits[0].double().log_softmax(-1)
    ratios = []
    for token in whole:
        old, new = int(ids[0, token + 1]), int(alt_ids[0, token + 1])
        if old == tokenizer.unk_token_id:
            continue
        if estimator == "marginal":
            place = start - begin - token * stride
            sums = []
            for letters in (alt, ref):
                chosen = [
                    number
                    for kmer, number in tokenizer.get_vocab().items()
                    if not kmer.startswith("[") and kmer[place : place + len(ref)] == letters
                ]
                sums.append(logs[token + 1, chosen].logsumexp(0))
            ratios.append(float(sums[0] - sums[1]))
        else:
            ratios.append(float(logs[token + 1, new] - logs[token + 1, old]))
    return np.mean(ratios) if ratios else np.nan


def slow_llr(model, tokenizer, contig, event, rule, estimator="joint"):
    """The mean of the frames, for each strand."""
    found = []
    for reverse in (False, True):
        start, ref, alt, text = event.start, event.ref, event.alt, contig
        if reverse:
            start = len(contig) - event.end
            ref, alt, text = (reverse_complement(one) for one in (ref, alt, contig))
        for frames in (rule.frames, range(rule.stride)):
            values = [slow_frame(model, tokenizer, text, start, ref, alt, rule, frame, estimator) for frame in frames]
            values = [value for value in values if value is not None]
            if values:
                break
        known = [value for value in values if not np.isnan(value)]
        found.append(np.mean(known) if known else np.nan)
    return found


def substitution(contig, start, width, change):
    """A substitution of ``width`` letters, whose first and last letter change."""
    ref = contig[start : start + width]
    alt = "".join("ACGT"[("ACGT".index(letter) + change) % 4] for letter in ref)
    return Event(start, ref, alt)


@settings(max_examples=60)
@given(data=st.data())
def test_scores_agree_with_the_slow_twin(data):
    k, stride = data.draw(st.sampled_from(SHAPES))
    model, tokenizer = masked_model(k, stride)
    contig = dna(data.draw(st.integers(k, 80)), data.draw(st.integers(0, 5)))
    if len(contig) > 40 and data.draw(st.booleans()):
        contig = contig[:20] + "N" + contig[21:]
    width = data.draw(st.sampled_from([1, 1, 1, 2, 3]))
    start = data.draw(st.integers(0, len(contig) - width))
    if "N" in contig[start : start + width]:
        return
    event = substitution(contig, start, width, data.draw(st.integers(1, 3)))
    rule = rule_of(k, stride, data.draw(st.sampled_from([9, 20, 31])), data.draw(st.integers(1, 3)))
    estimator = data.draw(st.sampled_from(["joint", "marginal", "unmasked"]))
    [fast] = score_events(
        model, tokenizer, [(event, strands_in_memory(0, as_letters(contig)))], rule, estimator=estimator
    )
    np.testing.assert_allclose(fast, slow_llr(model, tokenizer, contig, event, rule, estimator), atol=2e-5)


@pytest.mark.parametrize(("k", "stride"), SHAPES)
def test_every_position_of_a_contig_has_a_score_on_both_strands(k, stride):
    model, tokenizer = masked_model(k, stride)
    contig = dna(50)
    both = strands_in_memory(0, as_letters(contig))
    events = [(substitution(contig, place, 1, 1), both) for place in range(50)]
    assert not np.isnan(score_events(model, tokenizer, events, rule_of(k, stride))).any()


@pytest.mark.parametrize(("k", "stride"), SHAPES)
def test_exchanged_alleles_change_the_sign_only(k, stride):
    model, tokenizer = masked_model(k, stride)
    contig = dna(90)
    for width in (1, 2):
        for start in (0, 1, 40, 41, 42, 88):
            there = substitution(contig, start, width, 1)
            mutated = contig[:start] + there.alt + contig[start + width :]
            back = Event(start, there.alt, there.ref)
            rule = rule_of(k, stride)
            one = score_events(model, tokenizer, [(there, strands_in_memory(0, as_letters(contig)))], rule)
            other = score_events(model, tokenizer, [(back, strands_in_memory(0, as_letters(mutated)))], rule)
            np.testing.assert_allclose(one, -other, atol=1e-6)


@pytest.mark.parametrize(("k", "stride"), SHAPES)
def test_the_opposite_strand_has_the_same_scores_exchanged(k, stride):
    model, tokenizer = masked_model(k, stride)
    contig = dna(90)
    opposite = reverse_complement(contig)
    both, mirrored = (strands_in_memory(0, as_letters(text)) for text in (contig, opposite))
    events = [substitution(contig, start, 1 + start % 2, 1) for start in range(0, 88)]
    rule = rule_of(k, stride)
    one = score_events(model, tokenizer, [(event, both) for event in events], rule)
    other = score_events(model, tokenizer, [(event.reversed(90), mirrored) for event in events], rule)
    np.testing.assert_allclose(one, other[:, ::-1], atol=1e-5)


@pytest.mark.parametrize(("k", "stride"), SHAPES)
def test_batch_order_and_neighbours_change_nothing(k, stride):
    model, tokenizer = masked_model(k, stride)
    contig = dna(120)
    both = strands_in_memory(0, as_letters(contig))
    events = [(substitution(contig, start, 1, change), both) for start in range(0, 118, 2) for change in (1, 2)]
    rule = rule_of(k, stride)
    together = score_events(model, tokenizer, events, rule, batch_size=64)
    order = np.random.default_rng(0).permutation(len(events))
    shuffled = score_events(model, tokenizer, [events[place] for place in order], rule, batch_size=7)
    np.testing.assert_allclose(together[order], shuffled, atol=1e-5)
    for place in (0, 31, 117):
        alone = score_events(model, tokenizer, [events[place]], rule, batch_size=1)
        np.testing.assert_allclose(together[place], alone[0], atol=1e-5)


def test_substitutions_that_mask_the_same_tokens_share_a_forward_pass():
    contig = dna(300)
    strand = strands_in_memory(0, as_letters(contig))[0]
    plan = Plan(rule_of(3, 3))
    for start in range(99, 129):
        for change in (1, 2, 3):
            plan.add_substitution(substitution(contig, start, 1, change), strand)
    assert plan.slots == 30 * 3 * 3 and len(plan.jobs) == 32  # a token each, for all 9 substitutions of its letters


def test_several_sites_of_a_forward_pass_stay_apart_and_keep_their_questions():
    model, tokenizer = masked_model(3, 1, 200)
    contig = dna(400)
    strand = strands_in_memory(0, as_letters(contig))[0]
    plan = Plan(WindowRule(3, 1, 180, (0,)))
    for start in range(10, 390):
        plan.add_substitution(substitution(contig, start, 1, 1), strand)
    merged = share_forwards(plan, 4)
    assert len(merged.jobs) < len(plan.jobs) / 2.5
    assert sorted(question.slot for question in merged.questions) == sorted(one.slot for one in plan.questions)
    for question in merged.questions:
        job = merged.jobs[question.job]
        assert job.start + question.token == question.first and question.token in job.masked
    for job in merged.jobs:
        gaps = np.diff(job.masked)
        assert (gaps[gaps > 1] >= 180 // 12).all() and job.masked[-1] <= job.end - job.start - 3
    exact, close = run_plan(model, tokenizer, plan), run_plan(model, tokenizer, merged)
    assert not np.isnan(close).any()  # how close they are shows in a trained model only: benchmarks/variants.py
    np.testing.assert_array_equal(run_plan(model, tokenizer, share_forwards(plan, 1)), exact)


def test_rows_of_the_vocabulary_that_stand_for_no_kmer_change_nothing():
    model, tokenizer = masked_model.__wrapped__(3, 1)
    forward = strands_in_memory(0, as_letters(dna(30)))[0]
    plan = Plan(rule_of(3, 1, 20))
    plan.add_stretch(12, 16, forward)
    plan.add_substitution(substitution(dna(30), 9, 1, 1), forward)
    for estimator in ("joint", "marginal"):
        before = run_plan(model, tokenizer, plan, estimator=estimator)
        model.resize_token_embeddings(model.config.vocab_size + 11)
        np.testing.assert_allclose(run_plan(model, tokenizer, plan, estimator=estimator), before, atol=1e-6)


def test_a_stretch_has_the_log_probability_of_its_tokens_with_all_their_letters_hidden():
    model, tokenizer = masked_model(3, 1)
    contig = dna(30)
    strand = strands_in_memory(0, as_letters(contig))[0]
    plan = Plan(rule_of(3, 1, 20))
    [slot] = plan.add_stretch(12, 16, strand)
    values = []
    for token in (12, 13):
        begin = token - 10
        ids = tokenizer(contig[begin : begin + 20], return_tensors="pt")["input_ids"]
        truth = int(ids[0, token - begin + 1])
        ids[0, token - begin + 1 - 2 : token - begin + 1 + 3] = tokenizer.mask_token_id
        with torch.no_grad():
            logits = model(ids).logits[0, token - begin + 1, 5:].double()
        values.append(float(logits.log_softmax(-1)[truth - 5]) / 3)
    assert run_plan(model, tokenizer, plan)[slot] == pytest.approx(np.mean(values), abs=1e-5)
