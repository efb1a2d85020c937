"""Chance without a state: random numbers that are a hash of (seed, epoch, window index, kind of decision, position).

What is drawn for a window does not depend on batch, worker, rank or on what was drawn before, and a resumed run repeats
to the bit.
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(value: np.ndarray) -> np.ndarray:
    """Scramble uint64 counters into uniform uint64 (the finaliser of splitmix64: Steele, Lea and Flood 2014)."""
    value = value ^ (value >> np.uint64(30))  # a fresh array, so the rest may work in place
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value


def row_keys(seed: int, epoch: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Hash what makes a window's chance its own, (rows,) uint64.

    Args:
        seed: of the run.
        epoch, index: (rows,) whole numbers; one epoch may stand for all rows.
    """
    key = mix(np.asarray([seed], np.int64).astype(np.uint64) * _GOLDEN)
    for part in (epoch, index):
        key = mix(key + np.asarray(part, np.int64).astype(np.uint64) * _GOLDEN)
    return key


def random_bits(keys: np.ndarray, stream: int, positions: int, first: int = 0) -> np.ndarray:
    """Draw uniform uint64, (rows, positions), as a pure function of all arguments.

    Args:
        keys: (rows,) of `row_keys`.
        stream: kind of decision, so that two decisions at one place are independent.
        positions: number of columns.
        first: number of the first column; columns are numbered below 2^32.
    """
    columns = np.arange(first + 1, first + positions + 1, dtype=np.uint64) + _offset(stream)
    return mix(keys[:, None] + columns * _GOLDEN)


def random_bits_at(keys: np.ndarray, stream: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Draw what `random_bits` has at the places (rows, columns) alone, (places,) uint64."""
    return mix(keys[rows] + (columns.astype(np.uint64) + (_offset(stream) + np.uint64(1))) * _GOLDEN)


def _offset(stream: int) -> np.uint64:
    return np.uint64(stream << 32)


def happens(bits: np.ndarray, probability: float) -> np.ndarray:
    """Turn uniform bits into True with the given probability (resolution 2^-53)."""
    return (bits >> np.uint64(11)) < np.uint64(round(probability * 2**53))


def uniform(bits: np.ndarray) -> np.ndarray:
    """Turn uniform bits into float64 in [0, 1); 53 bits are what a float holds, all 64 could round up to 1."""
    return (bits >> np.uint64(11)) * 2.0**-53
