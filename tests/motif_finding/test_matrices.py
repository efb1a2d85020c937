"""Matrices against slow twins: searching, counting, comparing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.motif_finding.matrices import (
    align,
    background_of,
    best_sites,
    consensus,
    count_matrix,
    information,
    log_odds,
    matrix_of_word,
    reverse_matrix,
    scan,
    similarity,
)
from hf_genomics.motif_finding.sequences import ScoredSequences
from hf_genomics.sequence import as_letters, reverse_complement

TEXTS = st.lists(st.text("ACGTN", min_size=1, max_size=12), min_size=1, max_size=5)


def of(*texts: str) -> ScoredSequences:
    return ScoredSequences.of(texts, [as_letters(text) for text in texts])


def score(text: str, odds: np.ndarray) -> float:
    return sum(odds[place, "ACGT".index(letter)] for place, letter in enumerate(text))


@given(TEXTS, st.integers(1, 4), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_every_position_gets_the_score_of_its_better_strand(texts, width, seed):
    odds = np.random.default_rng(seed).normal(size=(width, 4))
    some = of(*texts)
    found, reverse = scan(some, odds)
    expected = np.full(len(found), -np.inf)
    for start, text in zip(some.starts, texts, strict=False):
        for at in range(len(text) - width + 1):
            site = text[at : at + width]
            if "N" not in site:
                strands = [score(site, odds), score(reverse_complement(site), odds)]
                expected[start + at] = max(strands)
                if not np.isclose(*strands, rtol=1e-9, atol=1e-12):  # those of a palindrome are equal but for rounding
                    assert reverse[start + at] == (strands[1] > strands[0])
    np.testing.assert_allclose(found, expected)
    best, places = best_sites(some, found)
    for row, text in enumerate(texts):
        here = slice(some.starts[row], some.starts[row] + len(text) + 1)
        assert best[row] == found[here].max() and places[row] == some.starts[row] + found[here].argmax()


def test_letters_around_sites_are_counted_in_the_direction_of_the_motif_and_not_in_other_sequences():
    some = of("TACGN", "CGTA")
    counts = count_matrix(some, np.array([1, 6]), np.array([False, True]), width=3, flank=1)
    # T ACG N, and T ACG on the other strand of CGT A, whose other neighbour belongs to no sequence
    assert counts.tolist() == [[0, 0, 0, 2], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]


def test_words_and_their_consensus_belong_together():
    for word in ("ACGT", "CCASYAGRKGGCRSY", "NNRYWSKM"):
        assert consensus(matrix_of_word(word)) == word
        assert matrix_of_word(word).sum(1) == pytest.approx(1)
    assert consensus(reverse_matrix(matrix_of_word("CCRN"))) == "NYGG"


def test_log_odds_of_the_background_are_0_and_certain_letters_have_most():
    background = background_of(of("AAAAACGT"))
    assert background == pytest.approx([(5 + 1 + 2) / 24, (1 + 1 + 2) / 24, (1 + 1 + 2) / 24, (5 + 1 + 2) / 24])
    odds = log_odds(np.array([background, [1, 0, 0, 0]]), background, 100)
    assert odds[0] == pytest.approx(0, abs=1e-12) and odds[1].argmax() == 0 and np.isfinite(odds).all()


def test_information_is_2_bits_for_certain_letters_and_0_for_equal_shares():
    assert information(np.array([[1e6, 0, 0, 0], [2.5e5] * 4])) == pytest.approx([2, 0], abs=1e-4)
    assert information(np.array([[3.0, 0, 0, 0]]))[0] < 1.5  # few sites


def test_the_composition_of_the_background_is_no_information():
    background = np.array([0.16, 0.34, 0.34, 0.16])
    assert information(1e6 * background[None], background) == pytest.approx([0], abs=1e-4)
    assert information(1e6 * background[None])[0] > 0.05
    assert information(np.array([[1e6, 0, 0, 0]]), background) == pytest.approx([-np.log2(0.16)], abs=1e-4)


@given(st.integers(0, 99), st.integers(-3, 3), st.booleans())
@settings(deadline=None, max_examples=30)
def test_a_shifted_or_reversed_matrix_is_found_again(seed, shift, is_reverse):
    matrix = np.random.default_rng(seed).dirichlet([0.2] * 4, 12)
    part = matrix[max(0, shift) : 12 + min(0, shift)]
    if is_reverse:
        part = reverse_matrix(part)
    found = align(matrix, part, 6)
    assert found.correlation == pytest.approx(1) and found.is_reverse == is_reverse and found.offset == max(0, shift)
    assert similarity(matrix, part) == pytest.approx(1)


def test_rows_that_are_missing_lower_the_similarity():
    whole = matrix_of_word("GGTGACTCAT")
    assert similarity(whole[:5], whole) < 0.85 < similarity(whole[:8], whole) < 1
    assert align(whole[:5], whole, 5).correlation == pytest.approx(1)
