"""Substitutions, occlusion and shuffles against slow twins."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.interpretation.substitutions import dinucleotide_shuffle, ism, occlusion
from hf_genomics.sequence import as_letters

DNA = st.text("ACGTacgtN", min_size=1, max_size=40)


def weigh(rows):
    """A function of letters in which neighbours matter."""
    upper = (rows & 0xDF).astype(float)
    return (upper * np.arange(1, rows.shape[1] + 1)).sum(1) + (upper[:, :-1] * upper[:, 1:]).sum(1) / 100


@given(DNA, st.integers(1, 7))
@settings(deadline=None, max_examples=30)
def test_every_substitution_is_made_alone(text, batch_size):
    letters = as_letters(text)
    found = ism(weigh, letters, batch_size)
    for place in range(len(text)):
        for column, letter in enumerate("ACGT"):
            changed = as_letters(text[:place] + letter + text[place + 1 :])
            np.testing.assert_allclose(found.changes[place, column], weigh(changed[None])[0] - found.reference)
    assert (found.largest == np.abs(found.changes).max(1)).all()


def test_tokens_are_hidden_one_at_a_time_in_any_shape_of_ids():
    ids = np.array([[2, 7, 8, 3], [2, 9, 3, 0]])
    kmers = ids > 4
    value, falls = occlusion(lambda rows: rows.reshape(len(rows), -1).sum(1) * 1.0, ids, kmers, 4, batch_size=2)
    assert value == ids.sum() and falls.tolist() == [[0, 3, 4, 0], [0, 5, 0, 0]]


@given(DNA, st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_a_shuffle_keeps_all_dinucleotides_and_both_ends(text, seed):
    letters = as_letters(text.upper())
    shuffled = dinucleotide_shuffle(as_letters(text), np.random.default_rng(seed))
    pairs = [Counter(zip(some[:-1].tolist(), some[1:].tolist(), strict=True)) for some in (letters, shuffled)]
    assert pairs[0] == pairs[1] and shuffled[0] == letters[0] and shuffled[-1] == letters[-1]


def test_a_shuffle_changes_the_order():
    letters = np.random.default_rng(0).choice(as_letters("ACGT"), 200)
    shuffled = dinucleotide_shuffle(letters, np.random.default_rng(1))
    assert (shuffled != letters).mean() > 0.5
