"""Small made-up sequence files and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BASES = np.frombuffer(b"ACGT", np.uint8)


def dna(length: int, seed: int = 0) -> str:
    """Draw random DNA."""
    return np.random.default_rng(seed).choice(BASES, length).tobytes().decode()


def fasta(path: Path, **records: str) -> str:
    """Write a FASTA file, and return its path."""
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records.items()))
    return str(path)


def table(path: Path, *rows: str) -> str:
    """Write a CSV table of sequences and labels, and return its path."""
    path.write_text("sequence,label\n" + "".join(f"{row}\n" for row in rows))
    return str(path)
