"""Find near-duplicates among many sequences from a sample of their 24-mers that fits in memory.

A 24-mer is in the sample if the 8-mer in its middle is in a fixed random choice of 8-mers, the same on both strands.
So the same stretch of DNA is sampled alike wherever it occurs, and finding the sample costs one table look-up per
nucleotide. The share of one record's sample that another also has, its containment C, estimates their identity as
C^(1/24).

Sources: Mash (Ondov et al. 2016), identity from shared k-mers; FracMinHash (Irber et al. 2022), a sample of k-mers by
their content, here by that of their middle (as in the syncmers of Edgar 2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..sequence import letter_digits, ranges, reverse_complement_codes, rolling_any, rolling_codes

K = 24
_THIRD = K // 3  # a 24-mer is three 8-mers, each a uint16
_BLOCK_NT = 1 << 16  # fits in the processor's cache

_RC8 = reverse_complement_codes(np.arange(4**_THIRD, dtype=np.uint16), _THIRD)
_NUM_CANONICAL = (4**_THIRD + 4 ** (_THIRD // 2)) // 2


def _ranks() -> np.ndarray:
    """Return the rank of every 8-mer in a fixed random order, (65536,) uint16; equal for both strands."""
    canonical = np.minimum(np.arange(4**_THIRD, dtype=np.uint16), _RC8)
    order = np.random.Generator(np.random.PCG64(24)).permutation(np.unique(canonical))
    ranks = np.empty(4**_THIRD, np.uint16)
    ranks[order] = np.arange(len(order), dtype=np.uint16)
    return ranks[canonical]


_RANK = _ranks()


class NearDuplicate(NamedTuple):
    """A record that shares much of its sequence with one of an earlier split.

    Attributes:
        record: number of the record.
        other: number of the most similar record of the earlier split.
        shared: number of sampled 24-mers that both have.
        containment: ``shared`` as a share of the sampled 24-mers of the record that has fewer.
        identity: estimated identity of what they share, containment^(1/24).
    """

    record: int
    other: int
    shared: int
    containment: float
    identity: float


def sampled_kmers(letters: np.ndarray, limit: int = _NUM_CANONICAL) -> tuple[np.ndarray, np.ndarray]:
    """Find the 24-mers whose middle 8-mer is among the first ``limit`` of the fixed random order.

    Args:
        letters: (length,) uint8; a 24-mer that touches anything but A, C, G, T, U is omitted.
        limit: number of 8-mers, 1..32896 (all).

    Returns:
        Codes, (sampled,) uint64, of each 24-mer or its reverse complement, whichever is smaller; and starts, (sampled,)
        int64, 0-based, ascending.
    """
    chosen = limit > _RANK
    codes, starts = [], []
    for begin in range(0, max(0, len(letters) - K + 1), _BLOCK_NT):
        block_codes, block_starts = _sample_block(letters[begin : begin + _BLOCK_NT + K - 1], chosen)
        codes.append(block_codes)
        starts.append(block_starts + begin)
    if not codes:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return np.concatenate(codes), np.concatenate(starts)


def _sample_block(letters: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find what `sampled_kmers` does, in one block of at least 24 letters."""
    digits = letter_digits(letters)
    eights = rolling_codes(digits & 3, _THIRD)
    # Only 24-mers whose middle is chosen are looked at again, so the rest of the work is small.
    starts = np.flatnonzero(chosen.take(eights[_THIRD:-_THIRD]))
    if digits.max() > 3:
        starts = starts[~rolling_any(digits > 3, K)[starts]]
    left, middle, right = (eights[starts + offset] for offset in (0, _THIRD, 2 * _THIRD))
    return np.minimum(_join(left, middle, right), _join(_RC8[right], _RC8[middle], _RC8[left])), starts


def _join(left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return 24-mer codes, (kmers,) uint64, made of three 8-mer codes each."""
    codes = left.astype(np.uint64)
    for part in (middle, right):
        codes <<= np.uint64(16)
        codes |= part
    return codes


class Sketch:
    """The sampled 24-mers of many records in bounded memory: if they become too many, every other one is dropped.

    Attributes:
        limit: number of the 32,896 canonical 8-mers that are still chosen.
    """

    def __init__(self, budget: int = 1 << 22, expected_nt: int = 0) -> None:
        """Create an empty sketch.

        Args:
            budget: most 24-mers to keep, of 12 bytes each.
            expected_nt: a guess of the nt that will be added; a good one saves time.
        """
        self.budget, self.limit = budget, _NUM_CANONICAL
        while expected_nt > budget and self.limit > 1:
            self.limit, expected_nt = self.limit // 2, expected_nt // 2
        self._codes: list[np.ndarray] = []
        self._records: list[np.ndarray] = []
        self._count = 0

    @property
    def density(self) -> float:
        """Share of 24-mers that are sampled."""
        return self.limit / _NUM_CANONICAL

    def add(self, letters: np.ndarray, ends: np.ndarray, first: int) -> None:
        """Add records.

        Args:
            letters: (nt,) uint8, record after record, with a byte between them that is not a nucleotide.
            ends: (records,) where each record ends in ``letters``, ascending.
            first: number of the first of these records; numbers must ascend from call to call.
        """
        codes, starts = sampled_kmers(letters, self.limit)
        records = np.searchsorted(ends, starts, side="right") + first
        self._codes.append(codes)
        self._records.append(records.astype(np.uint32))
        self._count += len(codes)
        while self._count > self.budget and self.limit > 1:
            self._thin()

    def _thin(self) -> None:
        """Halve the choice of 8-mers and drop the 24-mers whose middle is no longer in it."""
        self.limit //= 2
        for place, codes in enumerate(self._codes):
            kept = _RANK[(codes >> np.uint64(16)).astype(np.uint16)] < self.limit
            self._codes[place], self._records[place] = codes[kept], self._records[place][kept]
        self._codes, self._records = [np.concatenate(self._codes)], [np.concatenate(self._records)]
        self._count = len(self._codes[0])

    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and records, (entries,) each, by record; a 24-mer that a record has twice is there twice."""
        codes = np.concatenate([np.zeros(0, np.uint64), *self._codes])
        return codes, np.concatenate([np.zeros(0, np.uint32), *self._records])


def near_duplicates(
    sketch: Sketch, splits: np.ndarray, min_identity: float = 0.85, min_shared: int = 5
) -> list[NearDuplicate]:
    """Find the records that have a near-duplicate in an earlier split, on either strand, as a whole or in part.

    Args:
        sketch: of all records.
        splits: (records,) number of each record's split, in the order train, valid, test; -1 for none.
        min_identity: smallest estimated identity of a near-duplicate.
        min_shared: smallest number of shared sampled 24-mers; fewer may be chance.

    Returns:
        The most similar record of every earlier split that has one, ordered by record.
    """
    all_codes, all_records = sketch.entries()
    codes, records = _shared_between_splits(all_codes, all_records, splits)
    begin = np.flatnonzero(np.diff(codes, prepend=codes[:1] - np.uint64(1)))  # of each run of the same code
    count = np.diff(begin, append=len(codes))
    sizes = np.zeros(len(splits), np.int64)
    for record, first, last in _runs(all_records, _distinct(records)):
        sizes[record] = len(_distinct(all_codes[first:last]))
    order = np.argsort(records, kind="stable")
    owners, groups = records[order], np.repeat(np.arange(len(begin)), count)[order]
    found = []
    for record, first, last in _runs(owners, _distinct(records)):
        if last - first >= min_shared:
            mine = groups[first:last]
            others = records[ranges(begin[mine], count[mine])]
            found += _nearest(record, others, splits, sizes, min_identity, min_shared)
    return found


def _shared_between_splits(codes: np.ndarray, records: np.ndarray, splits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the entries whose code is in two splits, each pair of code and record once, ordered by code and record."""
    split_of = splits[records]
    distinct = [_distinct(codes[split_of == split]) for split in _distinct(splits[splits >= 0])]
    pooled = np.sort(np.concatenate([np.zeros(0, np.uint64), *distinct]))
    mixed = pooled[:-1][pooled[1:] == pooled[:-1]]
    if not len(mixed):
        return codes[:0], records[:0]
    nearest = np.minimum(np.searchsorted(mixed, codes), len(mixed) - 1)
    kept = np.flatnonzero((mixed[nearest] == codes) & (split_of >= 0))
    kept = kept[np.lexsort((records[kept], codes[kept]))]
    codes, records = codes[kept], records[kept]
    new = np.ones(len(codes), bool)
    new[1:] = (codes[1:] != codes[:-1]) | (records[1:] != records[:-1])
    return codes[new], records[new]


def _distinct(values: np.ndarray) -> np.ndarray:
    """Return the sorted distinct values, several times faster than np.unique, which hashes."""
    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def _runs(ascending: np.ndarray, values: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Iterate over values, each with the start and the end of its run in an ascending array."""
    ends = (np.searchsorted(ascending, values, side).tolist() for side in ("left", "right"))
    yield from zip(values.tolist(), *ends, strict=True)


def _nearest(
    record: int, others: np.ndarray, splits: np.ndarray, sizes: np.ndarray, min_identity: float, min_shared: int
) -> list[NearDuplicate]:
    """Find, in each split before that of a record, the record that is most similar to it.

    Args:
        record: number of the record.
        others: records that share a 24-mer with it, once for each that they share.
        splits: (records,) number of each record's split.
        sizes: (records,) number of sampled 24-mers of each record.
        min_identity: as in `near_duplicates`.
        min_shared: as in `near_duplicates`.
    """
    partners, shared = np.unique(others[splits[others] < splits[record]], return_counts=True)
    containment = shared / np.minimum(sizes[partners], sizes[record])
    containment[(shared < min_shared) | (containment < min_identity**K)] = 0
    found = []
    for split in np.unique(splits[partners[containment > 0]]):
        best = int(np.lexsort((shared, np.where(splits[partners] == split, containment, -1)))[-1])
        share = float(containment[best])
        found.append(NearDuplicate(record, int(partners[best]), int(shared[best]), share, share ** (1 / K)))
    return found
