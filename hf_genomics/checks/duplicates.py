"""Find duplicates among any number of sequences, keeping only a hash of each sequence and one sketch in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..genomes.splits import SPLITS
from ..sequence import COMPLEMENT
from .sketch import Sketch, near_duplicates

_BLOCK_NT = 1 << 16  # nt of a long sequence that are compared and hashed at once
_RC_TABLE = COMPLEMENT.tobytes()
_TO_UPPER = np.uint8(0xDF)  # clears the bit in which lower-case ASCII differs


class CheckedSequence(NamedTuple):
    """The DNA of a record of a sequence file, or of a row of a table.

    Attributes:
        name: name of the record, or number of the row.
        letters: letters of the sequence, (length,) uint8.
        split: number of the sequence's split in `SPLITS`; -1 for none.
        is_nucleotides: whether all letters are nucleotides.
        label: label of the row as text; empty for records of sequence files.
    """

    name: str
    letters: np.ndarray
    split: int
    is_nucleotides: bool
    label: str = ""


class DuplicatePair(NamedTuple):
    """Two records with the same or nearly the same sequence.

    Attributes:
        kind: "exact", "reverse complement" or "near".
        file: file of the later record.
        record: name of the later record.
        split: split of the later record; empty for none.
        other_file: file of the earlier record: it was read before, or is in an earlier split.
        other: name of the earlier record.
        other_split: split of the earlier record; empty for none.
        containment: share of the sampled 24-mers of the smaller record that the larger record has, too; 1 unless near.
        identity: identity of the sequences, estimated from the containment; 1 unless near.
        same_label: False if both records have a label and the labels differ.
    """

    kind: str
    file: str
    record: str
    split: str
    other_file: str
    other: str
    other_split: str
    containment: float = 1.0
    identity: float = 1.0
    same_label: bool = True


class Catalogue:
    """The names, hashes and sketch of all sequences, in the order in which they were read."""

    def __init__(self, sketch: Sketch | None = None) -> None:
        """Create an empty catalogue.

        Args:
            sketch: an empty sketch; without one, near-duplicates are not searched.
        """
        self.sketch = sketch
        self.files: list[str] = []  # one entry per sequence in each of these lists
        self.names: list[str] = []
        self.splits: list[int] = []
        self.labels: list[str] = []
        self.lengths: list[int] = []
        # The same number for equal sequences and their reverse complements; -1 for an empty sequence, or not DNA.
        self._contents: list[int] = []
        self._strands: list[int] = []  # as in `canonical_digest`
        self._numbers: dict[bytes, int] = {}  # digest -> number in `_contents`

    def add(self, file: str, batch: list[CheckedSequence], letters: np.ndarray, ends: np.ndarray) -> None:
        """Add sequences of a file.

        Args:
            file: path of the file.
            batch: the sequences.
            letters: letters of all sequences with a byte between them that is not a nucleotide, as in `Sketch.add`.
            ends: index in ``letters`` at which each sequence ends, (sequences,).
        """
        if self.sketch is not None:
            self.sketch.add(letters, ends, len(self.names))
        for sequence in batch:
            digest, strand = (
                canonical_digest(sequence.letters) if sequence.is_nucleotides and len(sequence.letters) else (None, 0)
            )
            self._contents.append(-1 if digest is None else self._numbers.setdefault(digest, len(self._numbers)))
            self._strands.append(strand)
        self.files.extend([file] * len(batch))
        self.names.extend(sequence.name for sequence in batch)
        self.splits.extend(sequence.split for sequence in batch)
        self.labels.extend(sequence.label for sequence in batch)
        self.lengths.extend(len(sequence.letters) for sequence in batch)

    def duplicates(self) -> list[DuplicatePair]:
        """List the records whose sequence occurs in an earlier record, on either strand; case does not count.

        Each record is paired with the first one of the same strand, or if there is none, of the opposite strand.
        """
        first: dict[tuple[int, int], int] = {}
        found = []
        for row, key in enumerate(zip(self._contents, self._strands, strict=True)):
            content, strand = key
            # A sequence that equals its own reverse complement has strand 0 = -0, so both look-ups find it.
            other = first.get(key, first.get((content, -strand)))
            first.setdefault(key, row)
            if content >= 0 and other is not None:
                found.append(self._pair(row, other))
        return found

    def unsearched(self) -> int:
        """Count the sequences, among those with a split, that are too short for the sketch to find near-duplicates."""
        if self.sketch is None:
            return 0
        splits, lengths = np.array(self.splits, np.int64), np.array(self.lengths, np.int64)
        return int(((splits >= 0) & (lengths < self.sketch.shortest())).sum())

    def leaks(self, min_identity: float) -> list[DuplicatePair]:
        """List the records with a duplicate or near-duplicate in an earlier split, in the order train, valid, test.

        For each earlier split, a record is paired with one record: the first with the same sequence; if there is none,
        the first with its reverse complement; if there is none, a near-duplicate.

        Args:
            min_identity: smallest estimated identity of a near-duplicate, between 0 and 1.
        """
        splits, contents = np.array(self.splits, np.int64), np.array(self._contents, np.int64)
        found: dict[tuple[int, int], DuplicatePair] = {}
        for earlier in range(len(SPLITS)):
            rows = np.flatnonzero((splits == earlier) & (contents >= 0))
            # In reversed order, so that of several records with one sequence the first one stays in the dictionary.
            first = {(self._contents[row], self._strands[row]): row for row in rows[::-1].tolist()}
            for row in np.flatnonzero((splits > earlier) & np.isin(contents, contents[rows])).tolist():
                content, strand = self._contents[row], self._strands[row]
                same = (content, strand)
                found[row, earlier] = self._pair(row, first[same if same in first else (content, -strand)])
        nearly = [] if self.sketch is None else near_duplicates(self.sketch, splits, min_identity)
        for near in nearly:
            pair = self._pair(near.record, near.other)._replace(
                kind="near", containment=near.containment, identity=near.identity
            )
            found.setdefault((near.record, int(splits[near.other])), pair)  # an exact duplicate takes precedence
        return [found[key] for key in sorted(found)]

    def _pair(self, row: int, other: int) -> DuplicatePair:
        """Return the pair of two records as if their sequences were the same; `leaks` corrects near-duplicates.

        Args:
            row: index of the later record.
            other: index of the earlier record.
        """
        names = (*SPLITS, "")  # split -1, which means none, indexes the last name
        same_strand = self._strands[row] == self._strands[other]
        return DuplicatePair(
            "exact" if same_strand else "reverse complement",
            self.files[row],
            self.names[row],
            names[self.splits[row]],
            self.files[other],
            self.names[other],
            names[self.splits[other]],
            same_label=self.labels[row] == self.labels[other] or "" in (self.labels[row], self.labels[other]),
        )


def canonical_digest(letters: np.ndarray) -> tuple[bytes, int]:
    """Return a hash of a sequence that does not depend on case or strand.

    Args:
        letters: letters of the sequence, (length,) uint8, with T for U, as the readers of sequences return them.

    Returns:
        The hash, 16 bytes, of the strand that comes first in alphabetical order; and which strand that is: 1 for the
        given one, -1 for the opposite one, 0 if both are the same.

    >>> forward, opposite = np.frombuffer(b"AAcg", np.uint8), np.frombuffer(b"CGTT", np.uint8)
    >>> canonical_digest(forward)[0] == canonical_digest(opposite)[0]
    True
    """
    if len(letters) <= _BLOCK_NT:
        text = (letters & _TO_UPPER).tobytes()
        opposite = text[::-1].translate(_RC_TABLE)
        digest = hashlib.blake2b(min(text, opposite), digest_size=16)
        return digest.digest(), (text < opposite) - (text > opposite)
    # A chromosome is compared and hashed in blocks: two upper-case copies of it would take twice its memory.
    pairs = zip(_blocks(letters), _opposite_blocks(letters), strict=True)
    strand = next((1 if given < opposite else -1 for given, opposite in pairs if given != opposite), 0)
    digest = hashlib.blake2b(digest_size=16)
    for block in _opposite_blocks(letters) if strand < 0 else _blocks(letters):
        digest.update(block)
    return digest.digest(), strand


def _blocks(letters: np.ndarray) -> Iterator[bytes]:
    """Iterate over the blocks of a sequence, in upper case."""
    for begin in range(0, len(letters), _BLOCK_NT):
        yield (letters[begin : begin + _BLOCK_NT] & _TO_UPPER).tobytes()


def _opposite_blocks(letters: np.ndarray) -> Iterator[bytes]:
    """Iterate over the blocks of the opposite strand, in upper case."""
    for end in range(len(letters), 0, -_BLOCK_NT):
        yield (letters[max(0, end - _BLOCK_NT) : end] & _TO_UPPER).tobytes()[::-1].translate(_RC_TABLE)
