"""Find near-duplicates among many sequences from a sample of their 24-mers that fits in memory.

A 24-mer is in the sample if the 8-mer in its middle belongs to a fixed, random choice of 8-mers, which is the same on
both strands. So the sample of a stretch of DNA is the same wherever the stretch occurs, and taking the sample costs one
table look-up per nucleotide.

    24-mer  |AACGTTAC|GATTACAG|TCCGATGA|   sampled if GATTACAG, or its reverse complement, is among the chosen 8-mers

How similar two records are follows from their containment C: the share of the smaller record's sampled 24-mers that the
other record contains, too. If the two records agree at each nucleotide with probability p, independently of the other
nucleotides, they agree in a whole 24-mer with probability p^24. C estimates p^24, so C^(1/24) estimates the identity p:
two records that share 29 % of their 24-mers have an identity of about 0.95. This assumes that the smaller record
corresponds to the other along its whole length. If they share a part only, the estimate is below the identity of that
part.

Sources: Mash (Ondov et al. 2016) estimates identity from shared k-mers. FracMinHash (Irber et al. 2022) samples k-mers
by their content; here it is the content of their middle, as in the syncmers of Edgar (2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..sequence import letter_digits, ranges, reverse_complement_codes, rolling_any, rolling_codes

MIN_SHARED = 5  # near-duplicates share this many sampled 24-mers; fewer may be a coincidence
K = 24  # size of the sampled k-mers, in nt
_THIRD = K // 3  # a 24-mer is three 8-mers, each a uint16
_BLOCK_NT = 1 << 16  # fits in the processor's cache

_RC8 = reverse_complement_codes(np.arange(4**_THIRD, dtype=np.uint16), _THIRD)
# 8-mers, counted once for each pair of reverse complements: 4^4 of them equal their own reverse complement.
_NUM_CANONICAL = (4**_THIRD + 4 ** (_THIRD // 2)) // 2


def _ranks() -> np.ndarray:
    """Return the rank of every 8-mer in a fixed random order, (65536,) uint16; reverse complements share a rank."""
    canonical = np.minimum(np.arange(4**_THIRD, dtype=np.uint16), _RC8)
    order = np.random.Generator(np.random.PCG64(24)).permutation(np.unique(canonical))
    ranks = np.empty(4**_THIRD, np.uint16)
    ranks[order] = np.arange(len(order), dtype=np.uint16)
    return ranks[canonical]


_RANK = _ranks()


class NearDuplicate(NamedTuple):
    """A record that shares much of its sequence with a record of an earlier split.

    Attributes:
        record: number of the record.
        other: number of the most similar record of the earlier split.
        shared: number of sampled 24-mers that both records contain.
        containment: ``shared`` divided by the number of sampled 24-mers of the record that has fewer.
        identity: estimated identity if the smaller record corresponds to the other along its whole length,
            containment^(1/24). A shared part alone gives less than its own identity.
    """

    record: int
    other: int
    shared: int
    containment: float
    identity: float


def sampled_kmers(letters: np.ndarray, limit: int = _NUM_CANONICAL) -> tuple[np.ndarray, np.ndarray]:
    """Find the 24-mers whose middle 8-mer is among the first ``limit`` of the fixed random order.

    Args:
        letters: letters, (length,) uint8; a 24-mer that contains anything but A, C, G, T, U is omitted.
        limit: number of chosen 8-mers, 1..32896 (all); an 8-mer and its reverse complement count as one.

    Returns:
        The code of each sampled 24-mer or that of its reverse complement, whichever is smaller, (sampled,) uint64; and
        the start of each in ``letters``, (sampled,) int64, 0-based, ascending.
    """
    chosen = _RANK < limit
    codes, starts = [], []
    for begin in range(0, max(0, len(letters) - K + 1), _BLOCK_NT):
        block_codes, block_starts = _sample_block(letters[begin : begin + _BLOCK_NT + K - 1], chosen)
        codes.append(block_codes)
        starts.append(block_starts + begin)
    if not codes:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return np.concatenate(codes), np.concatenate(starts)


def _sample_block(letters: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what `sampled_kmers` returns, for one block of at least 24 letters.

    Args:
        letters: the block, (length,) uint8.
        chosen: whether each 8-mer is chosen, (65536,) bool.
    """
    digits = letter_digits(letters)
    # Letters other than A, C, G and T have the digit 4. `& 3` makes it 0, so that every code is a valid index; 24-mers
    # with such letters are dropped below.
    eights = rolling_codes(digits & 3, _THIRD)
    # The slice holds the middle 8-mer of each 24-mer, at the index where the 24-mer starts. From here on, only
    # 24-mers with a chosen middle are computed: the work for every nucleotide ends with this look-up.
    starts = np.flatnonzero(chosen.take(eights[_THIRD:-_THIRD]))
    if digits.max() > 3:
        starts = starts[~rolling_any(digits > 3, K)[starts]]
    left, middle, right = (eights[starts + offset] for offset in (0, _THIRD, 2 * _THIRD))
    return np.minimum(_join(left, middle, right), _join(_RC8[right], _RC8[middle], _RC8[left])), starts


def _join(left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the codes of 24-mers, (kmers,) uint64, from the codes of their thirds, (kmers,) uint16 each."""
    codes = left.astype(np.uint64)
    for part in (middle, right):
        codes <<= np.uint64(16)
        codes |= part
    return codes


class Sketch:
    """The sampled 24-mers of many records in bounded memory: when there are too many, about half of them are dropped.

    An *entry* is one sampled 24-mer of one record.

    The chosen 8-mers are always the first ``limit`` of the fixed random order. So what is kept when the limit is halved
    is what the lower limit would have sampled from the start: records can be compared, whenever they were added.

    Attributes:
        budget: largest number of 24-mers to keep.
        limit: number of 8-mers, of 32,896, that are still chosen.
    """

    def __init__(self, budget: int = 1 << 22, expected_nt: int = 0) -> None:
        """Create an empty sketch.

        Args:
            budget: largest number of 24-mers to keep, 12 bytes each.
            expected_nt: estimate of the number of nt that will be added; with it the sketch starts at about its final
                density, instead of sampling 24-mers that it drops later.
        """
        self.budget, self.limit = budget, _NUM_CANONICAL
        expected_kmers = expected_nt  # with all 8-mers chosen, about one 24-mer is sampled for each nucleotide
        while expected_kmers > budget and self.limit > 1:
            self.limit, expected_kmers = self.limit // 2, expected_kmers // 2
        self._codes: list[np.ndarray] = []  # one array for each call of `add`, until `_thin` joins them
        self._records: list[np.ndarray] = []
        self._count = 0

    @property
    def density(self) -> float:
        """Expected share of 24-mers that are sampled."""
        return self.limit / _NUM_CANONICAL

    def shortest(self, min_shared: int = MIN_SHARED) -> int:
        """Return the length in nt from which a record is expected to have ``min_shared`` sampled 24-mers.

        >>> Sketch().shortest(), Sketch(expected_nt=1 << 28).shortest()
        (28, 343)

        Args:
            min_shared: number of 24-mers that near-duplicates must share.
        """
        # A record of n nt has n - 23 24-mers, of which this share is sampled.
        return math.ceil(K - 1 + min_shared / self.density)

    def add(self, letters: np.ndarray, ends: np.ndarray, first: int) -> None:
        """Add records.

        Args:
            letters: letters of the records with a byte between them that is not a nucleotide, (nt,) uint8.
            ends: index in ``letters`` at which each record ends, ascending, (records,).
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
        """Halve the number of chosen 8-mers, and drop the 24-mers whose middle is not chosen any more."""
        self.limit //= 2
        for index, codes in enumerate(self._codes):
            # Bits 16 to 31 of a code are the middle 8-mer, or its reverse complement, which has the same rank.
            kept = _RANK[(codes >> np.uint64(16)).astype(np.uint16)] < self.limit
            self._codes[index], self._records[index] = codes[kept], self._records[index][kept]
        self._codes, self._records = [np.concatenate(self._codes)], [np.concatenate(self._records)]
        self._count = len(self._codes[0])

    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the entries: the code of every sampled 24-mer, and the number of its record, (entries,) each.

        Entries are sorted by record. A 24-mer that occurs twice in a record has two entries.
        """
        codes = np.concatenate([np.zeros(0, np.uint64), *self._codes])
        return codes, np.concatenate([np.zeros(0, np.uint32), *self._records])


def near_duplicates(
    sketch: Sketch, splits: np.ndarray, min_identity: float = 0.85, min_shared: int = MIN_SHARED
) -> list[NearDuplicate]:
    """Find the records that have a near-duplicate in an earlier split, on either strand.

    Two records are near-duplicates if they share ``min_shared`` sampled 24-mers, and at least ``min_identity``^24 of
    those of the smaller record. So a record shorter than ``sketch.shortest(min_shared)`` is rarely found, not even an
    exact copy.

    Args:
        sketch: sketch of all records.
        splits: number of each record's split, in the order train, valid, test, or -1: not compared, (records,).
        min_identity: smallest estimated identity of a near-duplicate, a share; at 0.85, 2 % of the 24-mers of the
            smaller record are shared, at 0.95, 29 %.
        min_shared: smallest number of sampled 24-mers that near-duplicates share; fewer may be a coincidence.

    Returns:
        One result for each record and earlier split that has a near-duplicate of it: the most similar one; ordered by
        record.
    """
    all_codes, all_records = sketch.entries()
    codes, records = _shared_between_splits(all_codes, all_records, splits)
    candidates = _distinct(records)  # the records with a 24-mer that occurs in another split
    sizes = _count_kmers(all_codes, all_records, candidates, len(splits))
    # The entries are sorted by code. The shared 24-mers are numbered in this order, and each number stands for a group
    # of entries: where the group begins and how many entries it has.
    #
    #     code     7 7 7 | 9 9
    #     number   0 0 0 | 1 1      24-mer 0 begins at entry 0 and has 3 entries, 24-mer 1 begins at entry 3 and has 2
    #     record   0 3 5 | 0 3
    #
    # Record 0 has the 24-mers 0 and 1. The entries of these two are of the records 0 3 5 and 0 3. So record 0 shares
    # two 24-mers with record 3, and one with record 5.
    kmer_begin = _first_of_each(codes)
    kmer_count = np.diff(kmer_begin, append=len(codes))
    numbers = np.repeat(np.arange(len(kmer_begin)), kmer_count)  # of the 24-mer of each entry
    by_record = np.argsort(records, kind="stable")
    found = []
    for record, begin, end in _stretches(records[by_record], candidates):
        if end - begin >= min_shared:  # its entries are distinct 24-mers, so it cannot share more than it has
            own = numbers[by_record[begin:end]]
            others = records[ranges(kmer_begin[own], kmer_count[own])]  # of all entries of these 24-mers
            found += _nearest(record, others, splits, sizes, min_identity, min_shared)
    return found


def near_duplicate_pairs(
    sketch: Sketch, num_records: int, min_identity: float = 0.85, min_shared: int = MIN_SHARED
) -> tuple[np.ndarray, np.ndarray]:
    """Find all pairs of near-duplicates, as `near_duplicates` defines them, among the records.

    `near_duplicates` compares splits that exist. This function serves to make splits, in which near-duplicates stay
    together.

    Args:
        sketch: sketch of all records.
        num_records: number of records.
        min_identity: as in `near_duplicates`.
        min_shared: as in `near_duplicates`.

    Returns:
        The numbers of the two records of each pair, (pairs,) int64 each; the first is the smaller one.
    """
    codes, records = _sorted_distinct(*sketch.entries())
    records = records.astype(np.int64)
    if not len(codes):
        return records, records
    sizes = np.bincount(records, minlength=num_records)  # number of distinct 24-mers of each record
    #     code     7 7 7 | 9 9
    #     record   0 3 5 | 0 3
    #     later    2 1 0 | 1 0      number of entries that follow with the same 24-mer
    #
    # Each entry is paired with those that follow it. A pair stands for one shared 24-mer: 0-3, 0-5, 3-5 for the first,
    # and again 0-3 for the second. So records 0 and 3 share two 24-mers. All pairs of one first record are counted
    # together.
    kmer_begin = _first_of_each(codes)
    kmer_end = np.repeat(np.append(kmer_begin[1:], len(codes)), np.diff(kmer_begin, append=len(codes)))
    later = kmer_end - np.arange(len(codes)) - 1
    paired = np.flatnonzero(later)
    paired = paired[np.argsort(records[paired], kind="stable")]  # entries with partners, record after record
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for record, begin, end in _stretches(records[paired], _distinct(records[paired])):
        own = paired[begin:end]  # the entries of this record that have partners
        partners, shared = np.unique(records[ranges(own + 1, later[own])], return_counts=True)
        containment = shared / np.minimum(sizes[partners], sizes[record])
        is_near = _are_near(shared, containment, min_identity, min_shared)
        firsts.append(np.full(int(is_near.sum()), record, np.int64))
        seconds.append(partners[is_near])
    return np.concatenate(firsts), np.concatenate(seconds)


def _shared_between_splits(codes: np.ndarray, records: np.ndarray, splits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct entries whose code occurs in at least two splits, sorted by code and record.

    Args:
        codes: code of each entry, (entries,).
        records: record number of each entry, (entries,).
        splits: number of each record's split, or -1, (records,).

    Returns:
        Codes and record numbers of the entries, (shared,) each.
    """
    split_of = splits[records]
    # With the distinct codes of every split in one sorted array, a code of two splits stands next to itself.
    distinct = [_distinct(codes[split_of == split]) for split in _distinct(splits[splits >= 0])]
    pooled = np.sort(np.concatenate([np.zeros(0, np.uint64), *distinct]))
    mixed = pooled[:-1][pooled[1:] == pooled[:-1]]
    if not len(mixed):
        return codes[:0], records[:0]
    # Is each code in `mixed`? A binary search; np.isin would sort again.
    nearest = np.minimum(np.searchsorted(mixed, codes), len(mixed) - 1)
    kept = np.flatnonzero((mixed[nearest] == codes) & (split_of >= 0))
    return _sorted_distinct(codes[kept], records[kept])


def _sorted_distinct(codes: np.ndarray, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct entries sorted by code, then by record: a 24-mer counts once in a record.

    Args:
        codes: code of each entry, (entries,).
        records: record number of each entry, (entries,).
    """
    order = np.lexsort((records, codes))
    codes, records = codes[order], records[order]
    is_first = np.ones(len(codes), bool)
    is_first[1:] = (codes[1:] != codes[:-1]) | (records[1:] != records[:-1])
    return codes[is_first], records[is_first]


def _count_kmers(codes: np.ndarray, records: np.ndarray, chosen: np.ndarray, num_records: int) -> np.ndarray:
    """Count the distinct sampled 24-mers of chosen records, int64 (num_records,); 0 for all other records.

    Args:
        codes: code of each entry, shared with other records or not, (entries,).
        records: record number of each entry, ascending, (entries,).
        chosen: numbers of the records to count.
        num_records: number of all records.
    """
    counts = np.zeros(num_records, np.int64)
    for record, begin, end in _stretches(records, chosen):
        counts[record] = len(_distinct(codes[begin:end]))
    return counts


def _distinct(values: np.ndarray) -> np.ndarray:
    """Return the sorted distinct values, many times faster than np.unique, which hashes integers."""
    values = np.sort(values)
    return values[_first_of_each(values)]


def _first_of_each(ascending: np.ndarray) -> np.ndarray:
    """Return the index of the first of each group of equal values, int64 (groups,); the values ascend.

    >>> _first_of_each(np.array([7, 7, 7, 9, 9])).tolist()
    [0, 3]
    """
    is_first = np.ones(len(ascending), bool)
    is_first[1:] = ascending[1:] != ascending[:-1]
    return np.flatnonzero(is_first)


def _stretches(ascending: np.ndarray, values: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Iterate over (value, start, end): where the stretch of each value begins and ends in an ascending array."""
    ends = (np.searchsorted(ascending, values, side).tolist() for side in ("left", "right"))
    yield from zip(values.tolist(), *ends, strict=True)


def _are_near(shared: np.ndarray, containment: np.ndarray, min_identity: float, min_shared: int) -> np.ndarray:
    """Return whether pairs of records are near-duplicates, bool (pairs,); see `near_duplicates`."""
    return (shared >= min_shared) & (containment >= min_identity**K)


def _nearest(
    record: int, others: np.ndarray, splits: np.ndarray, sizes: np.ndarray, min_identity: float, min_shared: int
) -> list[NearDuplicate]:
    """Find, in each split before that of a record, the most similar record, if it is a near-duplicate.

    Args:
        record: number of the record.
        others: numbers of the records that share a 24-mer with the record, once for each shared 24-mer.
        splits: number of each record's split, (records,).
        sizes: number of distinct sampled 24-mers of each record, (records,).
        min_identity: smallest estimated identity of a near-duplicate, a share.
        min_shared: smallest number of sampled 24-mers that near-duplicates share.
    """
    partners, shared = np.unique(others[splits[others] < splits[record]], return_counts=True)
    containment = shared / np.minimum(sizes[partners], sizes[record])
    is_near = _are_near(shared, containment, min_identity, min_shared)
    partners, shared, containment = partners[is_near], shared[is_near], containment[is_near]
    found = []
    for split in np.unique(splits[partners]):
        # The largest containment; of equal ones, the largest number of shared 24-mers. Records of other splits get -1,
        # so that they are never the best.
        best = int(np.lexsort((shared, np.where(splits[partners] == split, containment, -1)))[-1])
        share = float(containment[best])
        found.append(NearDuplicate(record, int(partners[best]), int(shared[best]), share, share ** (1 / K)))
    return found
