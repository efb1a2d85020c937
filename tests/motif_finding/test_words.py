"""Words against slow twins: counting, spelling, the hypergeometric test and its correction."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.motif_finding.sequences import ScoredSequences
from hf_genomics.motif_finding.words import (
    WIDTHS,
    canonical_codes,
    compare_words,
    count_words,
    enrichment,
    spell,
)
from hf_genomics.sequence import as_letters, kmer_digits, reverse_complement

TEXTS = st.lists(st.text("ACGTN", min_size=1, max_size=14), min_size=1, max_size=5)


def canonical(word: str) -> str:
    """The word or its reverse complement, whichever comes first in the order A T C G."""
    return min(word, reverse_complement(word), key=lambda text: ["ATCG".index(letter) for letter in text])


@given(TEXTS, st.integers(2, 4), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_words_are_counted_once_per_sequence_on_either_strand_inside_high_scores(texts, width, seed):
    scores = [np.random.default_rng([seed, row]).random(len(text)) for row, text in enumerate(texts)]
    some = ScoredSequences.of(texts, [as_letters(text) for text in texts], scores)
    for threshold in (None, 0.3):
        expected: dict[str, int] = {}
        for text, values in zip(texts, scores, strict=True):
            places = range(len(text) - width + 1)
            words = {
                canonical(text[at : at + width])
                for at in places
                if "N" not in text[at : at + width] and (threshold is None or values[at : at + width].min() > threshold)
            }
            for word in words:
                expected[word] = expected.get(word, 0) + 1
        counts = count_words(some, width, threshold)
        assert {spell(int(code), width): int(counts[code]) for code in np.flatnonzero(counts)} == expected


def test_all_words_are_spelt_and_have_one_spelling_for_both_strands():
    words = [spell(code, 3) for code in range(64)]
    assert words == ["".join("ATCG"[digit] for digit in row) for row in kmer_digits(3)]
    assert [words[code] for code in canonical_codes(np.arange(64), 3)] == [canonical(word) for word in words]


@given(st.integers(0, 8), st.integers(0, 8))
def test_p_is_the_share_of_all_draws_with_at_least_as_many(positives, negatives):
    [p] = enrichment(np.array([positives]), np.array([negatives]), (8, 8))
    total = positives + negatives
    more = range(positives, min(8, total) + 1)
    assert p == pytest.approx(sum(comb(8, x) * comb(8, total - x) for x in more) / comb(16, total))


def test_the_planted_word_is_significant_and_all_candidates_are_corrected(planted):
    candidates, positives, negatives = planted(40, 0), planted(40, 1), planted(40, 2, "")
    words = compare_words(candidates, 1.5, positives, negatives, 2)
    tested = [word for word in words if word.q == word.q]
    assert tested[0].positives == 40 and tested[0].q < 1e-15 and canonical("GGTGACTCAT"[:8]) in {w.word for w in tested}
    assert all(word.in_stretches >= 2 for word in tested) and {len(word.word) for word in tested} == set(WIDTHS)
    for one in tested:  # Benjamini and Hochberg, written out
        later = [word.p * len(tested) / rank for rank, word in enumerate(tested, 1) if word.p >= one.p]
        assert one.q == pytest.approx(min(1, *later, 1))
    assert all(word.q_counting >= word.q for word in tested if word.positives + word.negatives)


def test_sequences_without_the_word_have_no_significant_word(planted):
    words = compare_words(planted(40, 0, ""), 0.5, planted(40, 1, ""), planted(40, 2, ""), 2)
    assert not [word for word in words if word.q < 0.05]
