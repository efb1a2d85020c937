"""Substitutions and occlusion against slow twins."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.interpretation.substitutions import ism, occlusion
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
