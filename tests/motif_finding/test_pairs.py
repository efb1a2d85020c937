"""Pairs of motifs: closest sites, co-occurrence and attention, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_genomics.inference.windows import windows_of_examples
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.motif_finding import pairs as module
from hf_genomics.motif_finding.pairs import (
    attention_between,
    closest_pairs,
    cooccurrence,
    corrected,
    pair_attention,
    tokens_of,
)
from hf_genomics.motif_finding.sites import Site
from hf_genomics.sequence import as_letters


def site(sequence: int, start: int, width: int = 4) -> Site:
    return Site(sequence, start, start + width, False, 1.0, 0.0)


def test_the_closest_sites_that_do_not_overlap_are_a_pair():
    sites = [[site(0, 0), site(0, 20), site(1, 5)], [site(0, 22), site(0, 30), site(1, 6), site(2, 0)]]
    found = {(pair.motifs, pair.first.sequence): (pair.first.start, pair.second.start) for pair in closest_pairs(sites)}
    assert found == {((0, 0), 0): (0, 20), ((0, 1), 0): (20, 30), ((1, 1), 0): (22, 30)}


def test_cooccurrence_is_compared_with_independent_motifs():
    sites = [[site(row, 0) for row in range(4)], [site(row, 10) for row in range(2, 6)]]
    found = cooccurrence(closest_pairs(sites), sites, total=10)
    together = found[0, 1]
    assert (together.sequences, together.expected, together.spacing) == (2, 1.6, 10)
    assert together.p == pytest.approx((6 * 15 + 4 * 6 + 1) / 210)  # 2, 3 or 4 of 4 sequences out of 10
    assert found[0, 0].sequences == 0 and np.isnan(found[0, 0].p)


def test_tokens_of_a_site_lie_in_it_by_half_at_least():
    starts = np.array([-1, 0, 3, 6, 9, -1])
    assert tokens_of(starts, 6, 3, 12).tolist() == [False, True, True, True, True, False]
    assert tokens_of(starts, 6, 1, 2).tolist() == [False, True, False, False, False, False]
    assert not tokens_of(starts, 6, 20, 30).any()


def test_attention_is_relative_to_what_all_tokens_pay():
    weights = np.array([[0.1, 0.6, 0.3], [0.2, 0.6, 0.2], [0.3, 0.6, 0.1]])
    a, b = np.array([True, False, False]), np.array([False, True, False])
    assert attention_between(weights, a, b, np.ones(3, bool)) == pytest.approx((0.4, 1.0))
    assert np.isnan(attention_between(weights, a, ~np.ones(3, bool), a)).all()


def attend(first: int, second: int, letter: str):
    """Attention of a model that looks from one token to another if that one begins with a letter, else evenly."""

    def weights(model, **inputs):
        ids = inputs["input_ids"]
        layer = torch.full((len(ids), 1, ids.shape[1], ids.shape[1]), 1 / ids.shape[1])
        digits = (ids - 5) // 16  # of the first letter, if k = 3
        chosen = (digits[:, second] == "ATCG".index(letter)).nonzero()[:, 0]
        layer[chosen, :, first] = 0
        layer[chosen, :, first, second] = 1
        return None, (layer, layer)

    return weights


def test_attention_that_depends_on_the_letters_of_a_site_is_significant(model_of, draw, monkeypatch):
    model, tokenizer = model_of("classes")
    texts = [text[:20] + "CGCG" + text[24:] for text in draw([40] * 12)]
    examples = LabelledSequences("x", [str(row) for row in range(12)], [as_letters(text) for text in texts])
    windows = list(windows_of_examples(examples, model, tokenizer))
    pairs = closest_pairs([[site(row, 4) for row in range(12)], [site(row, 20) for row in range(12)]])
    monkeypatch.setattr(module, "attention_weights", attend(5, 21, "C"))  # tokens after [CLS]
    [(motifs, found)] = pair_attention(model, tokenizer, windows, pairs, 16, seed=0).items()
    assert motifs == (0, 1) and found.windows == 12 and found.p < 0.01
    assert found.relative > found.relative_shuffled and found.attention > found.attention_shuffled
    monkeypatch.setattr(module, "attention_weights", attend(5, 22, "A"))
    assert pair_attention(model, tokenizer, windows, pairs, 16, seed=0)[0, 1].p > 0.01


def test_real_attention_is_measured_and_few_windows_are_left_out(model_of, draw):
    model, tokenizer = model_of("classes")
    examples = LabelledSequences("x", [str(row) for row in range(12)], [as_letters(text) for text in draw([40] * 12)])
    windows = list(windows_of_examples(examples, model, tokenizer))
    pairs = closest_pairs([[site(row, 4) for row in range(12)], [site(row, 20) for row in range(9)]])
    assert pair_attention(model, tokenizer, windows, pairs, 4, seed=0) == {}
    pairs = closest_pairs([[site(row, 4) for row in range(12)], [site(row, 20) for row in range(12)]])
    small, large = (pair_attention(model, tokenizer, windows, pairs, size, seed=0)[0, 1] for size in (4, 64))
    assert small == pytest.approx(large, rel=1e-4) and 0 < small.attention < 1


def test_missing_values_of_p_are_not_corrected():
    assert corrected([]) == [] and np.isnan(corrected([np.nan])).all()
    assert corrected([0.5, np.nan, 0.001])[::2] == pytest.approx([0.5, 0.002])
