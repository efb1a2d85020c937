"""Sequences with a planted word, scores that point at it, and tiny models."""

from __future__ import annotations

import models_of_kinds as models
import numpy as np
import pytest

from hf_genomics.motif_finding.sequences import ScoredSequences
from hf_genomics.sequence import as_letters, reverse_complement

saved, draw, model_of = models.saved, models.draw, models.model_of
PLANTED = "GGTGACTCAT"


def planted_sequences(count: int, seed: int, word: str = PLANTED, length: int = 60) -> ScoredSequences:
    """Draw sequences that hold a word on one strand or the other, with high scores there; without one if it is ""."""
    random = np.random.default_rng(seed)
    letters = random.choice(as_letters("ACGT"), (count, length))
    scores = random.random((count, length))
    for row in range(count):
        start = int(random.integers(0, length - len(word) + 1))
        planted = as_letters(word)
        letters[row, start : start + len(word)] = planted if row % 2 else reverse_complement(planted)
        scores[row, start : start + len(word)] += 2
    return ScoredSequences.of([f"s{row}" for row in range(count)], list(letters), list(scores))


@pytest.fixture(scope="session")
def planted():
    """`planted_sequences`, for tests."""
    return planted_sequences
