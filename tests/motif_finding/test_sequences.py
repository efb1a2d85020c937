"""Sequences in one array, and windows put together again."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.inference.windows import Window
from hf_genomics.motif_finding.sequences import UNKNOWN, ScoredSequences, join_windows
from hf_genomics.sequence import as_letters, letter_digits

TEXTS = st.lists(st.text("ACGTN", min_size=1, max_size=12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=30)
@given(TEXTS, st.randoms(use_true_random=False))
def test_sequences_are_found_again_in_the_array(texts, random):
    letters = [as_letters(text) for text in texts]
    some = ScoredSequences.of(texts, letters, [np.arange(len(text)) for text in texts])
    rows = np.array(random.choices(range(len(texts)), k=3))
    for given_rows, held in ((np.arange(len(texts)), some), (rows, some.take(rows))):
        assert held.names == [texts[row] for row in given_rows] and len(held) == len(given_rows)
        for number, row in enumerate(given_rows):
            start, end = held.starts[number], held.starts[number] + held.lengths[number]
            assert (held.digits[start:end] == letter_digits(letters[row])).all() and held.digits[end] == UNKNOWN
            assert held.scores[start:end].tolist() == list(range(len(texts[row]))) and held.scores[end] == -np.inf
            assert (held.owners[start : end + 1] == number).all()


def scored(sequence: int, start: int, text: str, scores: list[float]) -> tuple[Window, np.ndarray]:
    return Window(sequence, f"s{sequence}", start, {"sequence": as_letters(text)}), np.array(scores)


def test_a_nucleotide_in_two_windows_gets_the_mean():
    windows = [
        scored(0, 0, "ACG", [1, 2, 3]),
        scored(0, 2, "GTT", [5, 6, 7]),
        scored(1, 0, "A", [9]),
    ]
    merged = join_windows(windows)
    assert merged.names == ["s0", "s1"]
    assert merged.digits.tolist() == [*letter_digits(as_letters("ACGTTNAN")).tolist()]
    assert merged.scores.tolist() == [1, 2, 4, 6, 7, -np.inf, 9, -np.inf]


def test_windows_left_out_at_the_end_of_a_sequence_are_unknown_letters():
    window, scores = scored(0, 0, "ACG", [1, 2, 3])
    merged = join_windows([(window._replace(left_out_after=2), scores)])
    assert merged.lengths.tolist() == [5] and merged.scores.tolist() == [1, 2, 3, 0, 0, -np.inf]
