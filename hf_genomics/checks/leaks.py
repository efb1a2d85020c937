"""Count sequences that occur in two splits, and sequences of one split with contradictory labels.

Each row becomes one 64-bit number that does not depend on strand or case. Two different rows have the same number with
a probability of about 1e-19, so comparing a million training rows with a million test rows finds a false leak once in
ten million cases.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from ..batches.chance import mix
from ..errors import InputError
from ..labelled.sequences import LabelledSequences
from ..sequence import COMPLEMENT, IGNORE_INDEX

logger = logging.getLogger(__name__)

_BLOCK_NT = 1 << 18  # letters that are hashed together: their arrays fit into a cache
_TO_UPPER = np.uint8(0xDF)  # clears the bit in which lower-case ASCII differs
_STEP = np.uint64(0x9E3779B97F4A7C15)  # as in `chance`: its multiples spread evenly over all 64-bit numbers
_LETTERS = mix(np.arange(1, 257, dtype=np.uint64) * _STEP)  # a random number for each byte


def sequence_hashes(sequences: list[np.ndarray], *, either_strand: bool = True) -> np.ndarray:
    """Return a hash of each sequence, in which upper and lower case are the same.

    The hash is the sum, over the letters of a sequence, of a random number of the letter times a random odd number of
    its position; both strands are hashed in one pass over the letters, and the smaller of the two hashes is taken.

    Args:
        sequences: uint8 letters, (nt,) each.
        either_strand: give a sequence and its reverse complement the same hash.

    Returns:
        uint64 (sequences,).

    Source: multilinear hashing, Lemire and Kaser 2014 (Strongly universal string hashing is fast).
    """
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    sums = np.zeros((2, len(sequences)), np.uint64)
    keys = _position_keys(np.arange(min(int(lengths.max(initial=0)), _BLOCK_NT)))
    for rows in _blocks(lengths):
        if rows.stop - rows.start == 1:
            sums[:, rows.start] = _sums_of_one(sequences[rows.start])
        else:
            sums[:, rows] = _sums_of_many(sequences[rows], lengths[rows], keys)
    forward, opposite = mix(sums + lengths.astype(np.uint64) * _STEP)
    return np.minimum(forward, opposite) if either_strand else forward


def row_hashes(examples: LabelledSequences, *, either_strand: bool = True) -> np.ndarray:
    """Return a hash of the sequence of each row, or of both sequences of its pair, as uint64 (rows,).

    Args:
        examples: the rows; labels and tracks do not count.
        either_strand: as in `sequence_hashes`, for each sequence of a pair separately.
    """
    found = sequence_hashes(examples.sequences, either_strand=either_strand)
    if examples.pairs is None:
        return found
    return mix(found + mix(sequence_hashes(examples.pairs, either_strand=either_strand) + _STEP))


def find_leaks(splits: Mapping[str, LabelledSequences]) -> dict[str, Any]:
    """Count leaks between splits, and contradictory labels within each, as metrics.json holds them.

    Args:
        splits: the rows of each split, by name, in the order train, valid, test.

    Returns:
        "leaks", such as ``{"train/test": 12}``: for each pair of splits, the number of rows of the second whose
        sequence occurs in the first, on either strand; and "contradictory_labels": for each split with labels, how many
        rows have a sequence that occurs in another row with another label, see `contradictory_rows`.
    """
    hashes = {name: row_hashes(examples) for name, examples in splits.items()}
    labelled = {name: rows for name, rows in splits.items() if rows.labels is not None or rows.nt_labels is not None}
    return {
        "leaks": {
            f"{one}/{other}": int(np.isin(hashes[other], hashes[one]).sum()) for one, other in combinations(hashes, 2)
        },
        "contradictory_labels": {
            name: int(contradictory_rows(examples, hashes[name]).sum()) for name, examples in labelled.items()
        },
    }


def drop_leaks(training: LabelledSequences, others: Iterable[LabelledSequences]) -> tuple[LabelledSequences, int]:
    """Omit the training rows whose sequence, on either strand, is in another split.

    Args:
        training: the training rows.
        others: the rows of the other splits.

    Returns:
        The training rows that are left, and how many were omitted.

    Raises:
        InputError: if none is left.
    """
    seen = [np.zeros(0, np.uint64), *(row_hashes(examples) for examples in others)]
    kept = np.flatnonzero(~np.isin(row_hashes(training), np.concatenate(seen)))
    if not len(kept):
        raise InputError(
            f"{training.source}: data.drop_leaks leaves no training row, because all are in the other splits too; "
            "give other files"
        )
    dropped = len(training) - len(kept)
    return (training.take(kept.tolist()) if dropped else training), dropped


def contradictory_rows(examples: LabelledSequences, hashes: np.ndarray) -> np.ndarray:
    """Find the rows whose sequence occurs in another row, on either strand, with another label.

    A missing label does not contradict any other, also where single nucleotides have none. Rows with different tracks
    have different inputs and are not compared, and rows with signals per nucleotide are not compared at all. Labels per
    nucleotide are compared on the same strand only.

    Args:
        examples: the rows of one split.
        hashes: hash of each row, as `row_hashes` returns it.

    Returns:
        bool (rows,).
    """
    found = np.zeros(len(examples), bool)
    labels = examples.labels
    if examples.nt_tracks is not None:
        return found
    if examples.nt_labels is not None:
        return _contradicting_nt(row_hashes(examples, either_strand=False), examples.nt_labels)
    if labels is None:
        return found
    if examples.tracks is not None:
        for track in np.ascontiguousarray(examples.tracks.T):
            track = track + np.float32(0)  # -0.0 becomes 0.0, which is equal but has other bits
            hashes = mix(hashes + mix(track.view(np.uint32) + _STEP))
    for column in np.asarray(labels, np.float64).reshape(len(examples), -1).T:
        found |= _contradicting(hashes, column)
    return found


def warn_of_leaks(found: Mapping[str, Any], splits: Mapping[str, LabelledSequences]) -> None:
    """Log a warning for each pair of splits with leaks, and for each split with contradictory labels.

    Args:
        found: what `find_leaks` returned.
        splits: the splits that it was given.
    """
    for pair, count in found["leaks"].items():
        one, other = pair.split("/")
        if count:
            logger.warning(
                "%s: %s of %s %s sequences are in %s too (%s), on either strand, so scores will be too good; "
                "`hf-genomics check` lists them",
                *(splits[other].source, f"{count:,}", f"{len(splits[other]):,}", other, one, splits[one].source),
            )
    for name, count in found["contradictory_labels"].items():
        if count:
            logger.warning(
                "%s: %s of %s %s sequences occur again with another label, on either strand; correct the labels or "
                "keep one row of each sequence",
                *(splits[name].source, f"{count:,}", f"{len(splits[name]):,}", name),
            )


def _position_keys(places: np.ndarray) -> np.ndarray:
    """Return a random odd number for each position, uint64."""
    return mix((places.astype(np.uint64) + np.uint64(1)) * _STEP) | np.uint64(1)


def _blocks(lengths: np.ndarray) -> Iterator[slice]:
    """Iterate over runs of rows with about `_BLOCK_NT` letters; a longer row is a run of its own."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _BLOCK_NT, side="right")))
        yield slice(first, last)
        first = last


def _sums_of_many(rows: list[np.ndarray], lengths: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the sums of both strands of short sequences, uint64 (2, rows).

    Args:
        rows: letters of the sequences.
        lengths: their lengths.
        keys: number of each position, for as many positions as the longest row has.
    """
    starts = np.cumsum(lengths) - lengths
    letters = np.concatenate(rows) & _TO_UPPER
    place = np.arange(len(letters)) - np.repeat(starts, lengths)
    from_end = np.repeat(lengths - 1, lengths) - place
    terms = np.zeros((2, len(letters) + 1), np.uint64)  # one more, so that an empty row at the end has a start
    np.multiply(_LETTERS[letters], keys[place], out=terms[0, :-1])
    np.multiply(_LETTERS[COMPLEMENT[letters]], keys[from_end], out=terms[1, :-1])
    sums = np.add.reduceat(terms, starts, axis=1)
    sums[:, lengths == 0] = 0
    return sums


def _sums_of_one(row: np.ndarray) -> np.ndarray:
    """Return the sums of both strands of one sequence of any length, uint64 (2,), in memory for one block."""
    sums = np.zeros(2, np.uint64)
    for start in range(0, len(row), _BLOCK_NT):
        letters = row[start : start + _BLOCK_NT] & _TO_UPPER
        place = np.arange(start, start + len(letters))
        forward = _LETTERS[letters] * _position_keys(place)
        opposite = _LETTERS[COMPLEMENT[letters]] * _position_keys(len(row) - 1 - place)
        sums += np.stack([forward, opposite]).sum(axis=1, dtype=np.uint64)  # as arrays: scalars would warn of overflow
    return sums


def _contradicting_nt(keys: np.ndarray, labels: list[np.ndarray]) -> np.ndarray:
    """Find the rows whose key occurs with another label of a nucleotide, bool (rows,); missing labels do not count.

    Args:
        keys: number of each row; rows of one number have the same sequence.
        labels: labels of the nucleotides of each row.
    """
    found = np.zeros(len(keys), bool)
    _, groups, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(sizes[groups] > 1)
    if not len(repeated):
        return found
    repeated = repeated[np.argsort(groups[repeated], kind="stable")]
    for rows in np.split(repeated, np.flatnonzero(np.diff(groups[repeated])) + 1):
        together = np.stack([labels[row] for row in rows])
        known = together != IGNORE_INDEX
        least = np.where(known, together, np.iinfo(np.int64).max).min(axis=0)
        most = np.where(known, together, np.iinfo(np.int64).min).max(axis=0)
        found[rows] = (known & (least < most)).any(axis=1)
    return found


def _contradicting(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Find the rows whose key occurs with another value, bool (rows,); NaN does not count."""
    found = np.zeros(len(keys), bool)
    rows = np.flatnonzero(~np.isnan(values))
    if not len(rows):
        return found
    rows = rows[np.argsort(keys[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(keys[rows], prepend=keys[rows[:1]] ^ np.uint64(1)))
    sizes = np.diff(starts, append=len(rows))
    differ = np.minimum.reduceat(values[rows], starts) != np.maximum.reduceat(values[rows], starts)
    found[rows[np.repeat(differ, sizes)]] = True
    return found
