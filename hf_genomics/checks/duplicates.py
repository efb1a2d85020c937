"""Remember of every sequence so much that duplicates are found over any number of files: a hash, and a sketch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..genomes.splits import SPLITS
from ..sequence import COMPLEMENT
from .sketch import Sketch, near_duplicates

_BLOCK_NT = 1 << 16
_RC_TABLE = COMPLEMENT.tobytes()
_TO_UPPER = np.uint8(0xDF)  # clears the bit in which lower-case ASCII differs


class Item(NamedTuple):
    """A record of a sequence file, or a row of a table.

    Attributes:
        name: of the record, or number of the row.
        letters: (length,) uint8.
        split: number of its split in `SPLITS`, -1 for none.
        sound: whether all letters are nucleotides.
        label: text; rows of tables only.
    """

    name: str
    letters: np.ndarray
    split: int
    sound: bool
    label: str = ""


class Pair(NamedTuple):
    """Two records with the same sequence, or nearly.

    Attributes:
        kind: "exact", "reverse complement" or "near".
        file, record, split: the later one; its split is a name, empty for none.
        other_file, other, other_split: the one that came before, or is in an earlier split.
        containment: share of the sampled 24-mers of the smaller one that the other has too; 1 unless near.
        identity: estimated from that; 1 unless near.
        same_label: False where both have a label and they differ.
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
    """What is kept of every record, in the order in which they come."""

    def __init__(self, sketch: Sketch | None = None) -> None:
        """Start an empty one; with a sketch if near-duplicates will be asked for."""
        self.sketch = sketch
        self.files: list[str] = []  # one item per record in each of these lists
        self.names: list[str] = []
        self.splits: list[int] = []
        self.labels: list[str] = []
        self.lengths: list[int] = []
        self._contents: list[int] = []  # a number for each distinct sequence, -1 where there is none or it is not DNA
        self._strands: list[int] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, file: str, batch: list[Item], letters: np.ndarray, ends: np.ndarray) -> None:
        """Take in records of a file; ``letters`` and ``ends`` as in `Sketch.add`."""
        if self.sketch is not None:
            self.sketch.add(letters, ends, len(self.names))
        for item in batch:
            digest, strand = canonical_digest(item.letters) if item.sound and len(item.letters) else (None, 0)
            self._contents.append(-1 if digest is None else self._numbers.setdefault(digest, len(self._numbers)))
            self._strands.append(strand)
        self.files.extend([file] * len(batch))
        self.names.extend(item.name for item in batch)
        self.splits.extend(item.split for item in batch)
        self.labels.extend(item.label for item in batch)
        self.lengths.extend(len(item.letters) for item in batch)

    def duplicates(self) -> list[Pair]:
        """List the records whose sequence came before, in any case and on either strand.

        Each is paired with the first record that reads the same, or else with the first one of the opposite strand.
        """
        first: dict[tuple[int, int], int] = {}
        found = []
        for row, key in enumerate(zip(self._contents, self._strands, strict=True)):
            content, strand = key
            other = first.get(key, first.get((content, -strand)))
            first.setdefault(key, row)
            if content >= 0 and other is not None:
                found.append(self._pair(row, other))
        return found

    def leaks(self, min_identity: float) -> list[Pair]:
        """List the records of which an earlier split (in the order train, valid, test) has a duplicate or near one."""
        splits, contents = np.array(self.splits, np.int64), np.array(self._contents, np.int64)
        found: dict[tuple[int, int], Pair] = {}
        for number in range(len(SPLITS)):
            rows = np.flatnonzero((splits == number) & (contents >= 0))
            first = dict(zip(contents[rows[::-1]].tolist(), rows[::-1].tolist(), strict=True))
            for row in np.flatnonzero((splits > number) & np.isin(contents, contents[rows])).tolist():
                found[row, number] = self._pair(row, first[int(contents[row])])
        for near in near_duplicates(self.sketch, splits, min_identity) if self.sketch is not None else []:
            pair = self._pair(near.record, near.other)._replace(
                kind="near", containment=near.containment, identity=near.identity
            )
            found.setdefault((near.record, int(splits[near.other])), pair)
        return [found[key] for key in sorted(found)]

    def _pair(self, row: int, other: int) -> Pair:
        """Describe two records with the same sequence."""
        names = (*SPLITS, "")  # -1 is the last
        same_strand = self._strands[row] == self._strands[other]
        return Pair(
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
    """Hash a sequence so that case and strand make no difference.

    Returns:
        16 bytes, of the strand that comes first in the alphabet; and which one that is: 1 this one, -1 the opposite,
        0 where both read the same.

    >>> forward, opposite = np.frombuffer(b"AAcg", np.uint8), np.frombuffer(b"CGTT", np.uint8)
    >>> canonical_digest(forward)[0] == canonical_digest(opposite)[0]
    True
    """
    if len(letters) <= _BLOCK_NT:
        text = (letters & _TO_UPPER).tobytes()
        opposite = text[::-1].translate(_RC_TABLE)
        digest = hashlib.blake2b(min(text, opposite), digest_size=16)
        return digest.digest(), (text < opposite) - (text > opposite)
    pairs = zip(_blocks(letters), _opposite_blocks(letters), strict=True)
    strand = next((1 if ahead < behind else -1 for ahead, behind in pairs if ahead != behind), 0)
    digest = hashlib.blake2b(digest_size=16)
    for block in _opposite_blocks(letters) if strand < 0 else _blocks(letters):
        digest.update(block)
    return digest.digest(), strand


def _blocks(letters: np.ndarray) -> Iterator[bytes]:
    """Cut a sequence into blocks, in upper case."""
    for begin in range(0, len(letters), _BLOCK_NT):
        yield (letters[begin : begin + _BLOCK_NT] & _TO_UPPER).tobytes()


def _opposite_blocks(letters: np.ndarray) -> Iterator[bytes]:
    """Cut the opposite strand into blocks, in upper case."""
    for end in range(len(letters), 0, -_BLOCK_NT):
        yield (letters[max(0, end - _BLOCK_NT) : end] & _TO_UPPER).tobytes()[::-1].translate(_RC_TABLE)
