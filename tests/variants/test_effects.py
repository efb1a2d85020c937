"""What a variant changes in the output agrees with two plain forward passes, and leaves the model as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_files import dna
from tiny_variants import classifier, masked_model

from hf_genomics.sequence import as_letters
from hf_genomics.sequence_files.reference import strands_in_memory
from hf_genomics.variants.effects import class_logits, compare, cut_alleles
from hf_genomics.variants.likelihood import on_strand
from hf_genomics.variants.sites import Event, trim

CONTIG = dna(100)


def alleles(event, length=30):
    """The windows of both strands."""
    return [cut_alleles(on_strand(event, one), one, length) for one in strands_in_memory(0, as_letters(CONTIG))]


def substitution(place=50):
    return Event(place, CONTIG[place], "A" if CONTIG[place] != "A" else "C")


@pytest.mark.parametrize("place", [0, 3, 50, 99])
@pytest.mark.parametrize("alt", ["", "GATTACA"])
def test_both_windows_have_one_length_and_differ_by_the_event(place, alt):
    event = Event(place, CONTIG[place], alt)
    for window in alleles(event):
        assert len(window.ref) <= 30 and len(window.alt) <= 30
    forward = alleles(event)[0]
    mutated = CONTIG[:place] + alt + CONTIG[place + 1 :]
    start = max(0, place - 15)
    assert forward.alt.tobytes().decode() == mutated[start : start + 30]
    assert forward.ref.tobytes().decode() == CONTIG[start : start + 30]


def test_effects_agree_with_plain_forward_passes():
    model, tokenizer = masked_model(3, 1)
    window = alleles(substitution())[0]
    found = compare(model, tokenizer, [window], ["embedding", "influence", "attention"])
    ids = [torch.from_numpy(tokenizer.encode_batch([letters])[0]) for letters in (window.ref, window.alt)]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        ref, alt = (model(one, output_hidden_states=True, output_attentions=True) for one in ids)
    model.set_attn_implementation("sdpa")
    one, other = (out.hidden_states[-1][0, 1:-1].mean(0) for out in (ref, alt))
    assert found["emb_l2"][0] == pytest.approx(float((one - other).norm()), abs=1e-5)
    assert found["emb_cos"][0] == pytest.approx(1 - float(torch.cosine_similarity(one, other, 0)), abs=1e-5)
    change = (alt.attentions[-1] - ref.attentions[-1])[0].flatten(1).norm(dim=1).mean()
    assert found["attention_change"][0] == pytest.approx(float(change), abs=1e-5)
    tokens = [place for place in range(28) if not place <= 15 < place + 3]
    logs = [out.logits[0, 1:-1].log_softmax(-1)[tokens, ids[0][0, 1:-1][tokens]] for out in (ref, alt)]
    assert found["influence"][0] == pytest.approx(float((logs[1] - logs[0]).abs().mean()), abs=1e-5)


def test_attention_weights_come_from_a_model_that_computes_none_by_itself():
    model, tokenizer = masked_model(3, 1)
    model.set_attn_implementation("sdpa")
    found = compare(model, tokenizer, alleles(substitution()), ["attention"])
    assert (found["attention_change"] > 0).all() and model.config._attn_implementation == "sdpa"


def test_batches_and_padding_change_nothing():
    model, tokenizer = masked_model(3, 3)
    windows = [window for place in (0, 20, 50, 95) for window in alleles(substitution(place))]
    together = compare(model, tokenizer, windows, ["embedding", "influence", "attention"])
    alone = compare(model, tokenizer, windows, ["embedding", "influence", "attention"], batch_size=1)
    for name, values in together.items():
        np.testing.assert_allclose(values, alone[name], atol=1e-5)


def test_an_insertion_has_no_influence_because_tokens_do_not_match():
    model, tokenizer = masked_model(3, 1)
    windows = alleles(trim(49, CONTIG[49], CONTIG[49] + "TTG"))
    assert np.isnan(compare(model, tokenizer, windows, ["influence"])["influence"]).all()


@pytest.mark.parametrize(("stride", "text", "shown"), [(1, "NCNNACGGTTGACCA", 5), (3, "NCNACGGTGACG", 4)])
def test_a_variant_that_no_token_shows_has_no_effects(stride, text, shown):
    model, tokenizer = masked_model(3, stride)
    [forward, _] = strands_in_memory(0, as_letters(text))
    windows = [cut_alleles(Event(place, "C", "T"), forward, 30) for place in (1, shown)]
    for values in compare(model, tokenizer, windows, ["embedding", "influence", "attention"]).values():
        assert np.isnan(values).tolist() == [True, False]


def test_class_logits_are_those_of_the_model():
    model, tokenizer = classifier()
    windows = [as_letters(CONTIG[:30]), as_letters(CONTIG[10:35])]
    found = class_logits(model, tokenizer, windows, batch_size=1)
    with torch.no_grad():
        expected = model(**tokenizer(CONTIG[:30], return_tensors="pt")).logits[0]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    np.testing.assert_allclose(class_logits(model, tokenizer, windows), found, atol=1e-5)
