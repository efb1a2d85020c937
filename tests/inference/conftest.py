"""Tiny fine-tuned models of every kind, and sequences for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models_of_kinds import model_of, saved  # noqa: F401 (fixtures)


def dna(lengths, seed: int = 0) -> list[str]:
    """Draw sequences of these lengths."""
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list("ACGT"), length)) for length in lengths]


@pytest.fixture
def draw():
    """`dna`, for tests."""
    return dna


@pytest.fixture
def write_fasta():
    """Write sequences as FASTA, in lines of 60 letters."""

    def write(path: Path, sequences: list[str]) -> str:
        lines = ["\n".join(text[at : at + 60] for at in range(0, len(text), 60)) for text in sequences]
        path.write_text("".join(f">s{number}\n{text}\n" for number, text in enumerate(lines)))
        return str(path)

    return write
