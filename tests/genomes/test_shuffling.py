"""Shuffled sequences keep their dinucleotides, and all such sequences are equally likely."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.genomes import shuffling
from hf_genomics.genomes.shuffling import dinucleotide_shuffle
from hf_genomics.sequence import as_letters


def pairs(text):
    """The pairs of neighbouring letters, with their numbers."""
    return Counter(zip(text, text[1:], strict=False))


@given(st.text("ACGTacgtN", min_size=1, max_size=40), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_a_shuffle_keeps_all_dinucleotides_and_both_ends(text, seed):
    letters = as_letters(text)
    shuffled = dinucleotide_shuffle(letters, np.random.default_rng(seed)).tobytes().decode()
    upper = text.upper()
    assert pairs(shuffled) == pairs(upper) and (shuffled[0], shuffled[-1]) == (upper[0], upper[-1])
    assert letters.tobytes().decode() == text  # the input is not changed


def test_a_shuffle_changes_the_order():
    letters = np.random.default_rng(0).choice(as_letters("ACGT"), 200)
    shuffled = dinucleotide_shuffle(letters, np.random.default_rng(1))
    assert (shuffled != letters).mean() > 0.5


@pytest.mark.parametrize("tries", [shuffling._TRIES, 0])
@pytest.mark.parametrize("text", ["AACAGCA", "ACACCGA", "CAACCAGC"])
def test_all_sequences_with_the_same_dinucleotides_are_equally_likely(text, tries, monkeypatch):
    monkeypatch.setattr(shuffling, "_TRIES", tries)  # 0: the exits are always chosen by walks
    possible = {"".join(inner) for inner in permutations(text[1:-1])}
    possible = {one for inner in possible if pairs(one := text[0] + inner + text[-1]) == pairs(text)}
    generator, draws = np.random.default_rng(0), 400 * len(possible)
    seen = Counter(dinucleotide_shuffle(as_letters(text), generator).tobytes().decode() for _ in range(draws))
    assert set(seen) == possible and len(possible) > 2
    assert all(300 < number < 500 for number in seen.values())  # five standard deviations of 400


def test_long_runs_of_letters_are_shuffled_quickly():
    text = "AC" * 300 + "N" * 300 + "GT" * 300 + "A" * 300  # random exits would need more than 10^7 tries
    shuffled = dinucleotide_shuffle(as_letters(text), np.random.default_rng(0)).tobytes().decode()
    assert pairs(shuffled) == pairs(text)
