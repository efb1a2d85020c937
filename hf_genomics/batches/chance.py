"""Random numbers without a generator: each is a hash of (seed, epoch, window index, kind of decision, position).

So the numbers of a window do not depend on the batch, worker or process that handles it, nor on what was drawn before,
and a resumed run draws exactly what it would have drawn without the interruption.
"""

from __future__ import annotations

import enum

import numpy as np

#: 2^64 divided by the golden ratio, the step of splitmix64: its multiples spread evenly over all 64-bit numbers.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Stream(enum.IntEnum):
    """Kinds of random decisions; decisions of different kinds about one window are independent.

    Every draw depends on these numbers, so changing one changes the results of a run.
    """

    SPAN_START = 0  # where spans of masked tokens start
    FORCED_SPAN = 1  # where a span starts in a row that would otherwise have none
    REPLACEMENT = 2  # whether masked tokens are shown as [MASK], as random tokens or unchanged
    RANDOM_TOKEN = 3  # which random token
    SEQUENCE_STRAND = 4  # strand of a labelled sequence
    SPAN_LENGTH = 5  # length of a span
    WINDOW_PLACE = 100  # length, contig and start of a window for pretraining
    WINDOW_STRAND = 101  # strand of such a window
    CUT_LENGTH = 102  # length of the windows into which contigs are cut side by side
    LABELLED_ORDER = 103  # which windows of a labelled genome come first


def mix(value: np.ndarray) -> np.ndarray:
    """Compute a hash of each uint64 number, such as a counter; the hashes look uniformly random.

    Source: the finaliser of splitmix64, Steele, Lea and Flood 2014.
    """
    value = value ^ (value >> np.uint64(30))  # a fresh array, so the rest may work in place
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value


def row_keys(seed: int, epoch: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Hash seed, epoch and window index into one key for each window.

    Args:
        seed: seed of the run.
        epoch: integer (rows,), epoch of each window; (1,) is used for all rows.
        index: integer (rows,), index of each window.

    Returns:
        uint64 (rows,).
    """
    key = mix(np.asarray([seed], np.int64).astype(np.uint64) * _GOLDEN)
    for component in (epoch, index):
        key = mix(key + np.asarray(component, np.int64).astype(np.uint64) * _GOLDEN)
    return key


def random_bits(keys: np.ndarray, stream: int, positions: int, first: int = 0) -> np.ndarray:
    """Compute uniform random uint64 numbers from the arguments alone: equal arguments give equal numbers.

    Args:
        keys: uint64 (rows,), as `row_keys` returns them.
        stream: number of the kind of decision, see `Stream`.
        positions: number of columns.
        first: number of the first column; the numbers of all columns must be below 2^32.

    Returns:
        uint64 (rows, positions).
    """
    columns = np.arange(first + 1, first + positions + 1, dtype=np.uint64) + _offset(stream)
    return mix(keys[:, None] + columns * _GOLDEN)


def random_bits_at(keys: np.ndarray, stream: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Draw the numbers of `random_bits` at the given rows and columns only, without computing the others.

    Args:
        keys: uint64 (rows,), as `row_keys` returns them.
        stream: number of the kind of decision, see `Stream`.
        rows: integer (places,), row of each number.
        columns: integer (places,), column of each number.

    Returns:
        uint64 (places,).
    """
    return mix(keys[rows] + (columns.astype(np.uint64) + (_offset(stream) + np.uint64(1))) * _GOLDEN)


def _offset(stream: int) -> np.uint64:
    """Return where the columns of a stream begin: 2^32 apart, so that columns below 2^32 of two streams never meet."""
    return np.uint64(int(stream) << 32)


def happens(bits: np.ndarray, probability: float) -> np.ndarray:
    """Turn uniform bits into bool, True with the given probability (resolution 2^-53)."""
    return (bits >> np.uint64(11)) < np.uint64(round(probability * 2**53))


def uniform(bits: np.ndarray) -> np.ndarray:
    """Turn uniform bits into float64 in [0, 1); a float64 holds 53 bits, all 64 could be rounded up to 1.0."""
    return (bits >> np.uint64(11)) * 2.0**-53
