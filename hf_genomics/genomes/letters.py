"""How the letters of a store lie on disk, one byte or two bits a nucleotide, and how many windows are read at once.

Two bits hold A, C, T or G: bits 1 and 2 of the ASCII letter, in either case. What else a letter is (lower case, N,
IUPAC code) is its *mark*: the letter XOR the A, C, T or G of its two bits. A mark is 0 for ACGT, 32 for acgt, and 9 all
through a run of N; it changes seldom, and the places where it changes are all that is kept. Letters come back bit for
bit, whatever they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from ..io.twobit import four_letters
from ..io.writing import HashedFile

Storage: TypeAlias = Literal["8bit", "2bit"]

_BLOCK_NT = 1 << 18  # packed at once; a multiple of 4
_ALPHABET = b"ACTG"
_SHIFTS = (0, 2, 4, 6)
_MARKS = bytes(letter ^ _ALPHABET[letter >> 1 & 3] for letter in range(256))
_SLACK = b"\0\0"  # windows of one length are read with equally many bytes, which may be two too many


def gather_bytes(source: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Join many stretches of an array of bytes.

    Stretches of one length are taken as items of that size, which numpy copies at 50 ns each; others are sliced through
    a memoryview, twice as fast as slicing and joining arrays.

    Args:
        source: (size,) uint8, contiguous.
        starts, lengths: (rows,) int64 each; every stretch lies inside ``source``.

    Returns:
        (sum of lengths,) uint8, a fresh array.

    >>> gather_bytes(np.arange(9, dtype=np.uint8), np.array([6, 1]), np.array([2, 3])).tolist()
    [6, 7, 1, 2, 3]
    """
    if len(lengths) and lengths[0] and (lengths == lengths[0]).all():
        size = int(lengths[0])
        items = np.ndarray((len(source) - size + 1,), f"V{size}", source, strides=(1,))
        return items[starts].view(np.uint8)
    view = source.data
    pairs = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
    return np.frombuffer(bytearray().join([view[start:end] for start, end in pairs]), np.uint8)


def pack(letters: np.ndarray) -> np.ndarray:
    """Put each four uint8 letters into one byte, the first one lowest.

    >>> pack(np.frombuffer(b"ACTGactg", np.uint8)).tolist() == [0b11_10_01_00] * 2
    True
    """
    digits = letters.view("<u4") >> 1
    digits &= 0x03030303  # byte i holds letter i of four
    digits *= 1 << 24 | 1 << 18 | 1 << 12 | 1 << 6  # lifts byte i to bit 24 + 2 i
    digits >>= 24
    return digits.astype(np.uint8)


class Letters:
    """One byte a nucleotide: ``letters.bin``, contig after contig.

    Args:
        folder: of the store.
        size: nt.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        # Slices of a memory map are slow, slices of an array are not.
        self._letters = np.asarray(np.memmap(folder / "letters.bin", np.uint8, "r", shape=(size,)))

    def window(self, start: int, length: int) -> np.ndarray:
        """View one window, read-only."""
        return self._letters[start : start + length]

    def gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Join windows, all of which lie inside; (rows,) int64 each."""
        return gather_bytes(self._letters, starts, lengths)


class TwoBitLetters:
    """Two bits a nucleotide, ``codes.bin``, and where marks change, ``changes.bin`` (int64, place * 256 + mark).

    Args:
        folder: of the store.
        size: nt.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self._codes = np.asarray(np.memmap(folder / "codes.bin", np.uint8, "r", shape=((size + 3) // 4 + len(_SLACK),)))
        self._changes = np.asarray(np.memmap(folder / "changes.bin", "<i8", "r"))

    def window(self, start: int, length: int) -> np.ndarray:
        """Unpack one window, read-only."""
        letters = self.gather(np.array([start]), np.array([length]))
        letters.setflags(write=False)
        return letters

    def gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Join windows, all of which lie inside; (rows,) int64 each."""
        num_bytes = (lengths + 6) // 4  # enough for windows that begin in the middle of a byte
        unpacked = _FOUR_LETTERS.take(gather_bytes(self._codes, starts // 4, num_bytes)).view(np.uint8)
        row_starts = 4 * (np.cumsum(num_bytes) - num_bytes)
        letters = gather_bytes(unpacked, row_starts + starts % 4, lengths)
        for place, marks in _marks(self._changes, starts, lengths):
            letters[place : place + len(marks)] ^= marks
        return letters


_FOUR_LETTERS = four_letters(_ALPHABET, _SHIFTS)


def _marks(changes: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield place among the joined letters, and marks (uint8), of each window that has a mark other than 0."""
    first = changes.searchsorted((starts + 1) << 8)  # the first change behind a window's first letter
    last = changes.searchsorted((starts + lengths) << 8)
    before, after = changes[first - 1] & 255, changes[last - 1] & 255
    marked = np.flatnonzero((lengths > 0) & ((before != 0) | (first != last)))
    if not len(marked):
        return
    ends = np.cumsum(lengths)[marked].tolist()
    starts, lengths, first, last, before, after = (
        column[marked] for column in (starts, lengths, first, last, before, after)
    )
    offsets = np.cumsum(lengths) - lengths
    count = int(lengths.sum())
    flips = np.zeros(count + -count % 8, np.uint8)  # what to XOR to the mark of the letter before
    flips[offsets] = before ^ np.concatenate(([0], after[:-1]))
    numbers = last - first
    inside = np.repeat(first - (np.cumsum(numbers) - numbers), numbers) + np.arange(numbers.sum())
    flips[(changes[inside] >> 8) + np.repeat(offsets - starts, numbers)] = (changes[inside] ^ changes[inside - 1]) & 255
    marks = _running_xor(flips)
    for end, offset, length in zip(ends, offsets.tolist(), lengths.tolist(), strict=True):
        yield end - length, marks[offset : offset + length]


def _running_xor(values: np.ndarray) -> np.ndarray:
    """XOR each byte with all before it, in place, eight at a time; numpy's own accumulate is four times slower.

    >>> _running_xor(np.array([1, 0, 2, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0], np.uint8)).tolist()
    [1, 1, 3, 3, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    """
    words = values.view("<u8")
    for bits in (8, 16, 32):
        words ^= words << bits
    carried = np.bitwise_xor.accumulate(words >> 56)
    words[1:] ^= carried[:-1] * np.uint64(0x0101010101010101)
    return values


class TwoBitWriter:
    """Write what `TwoBitLetters` reads."""

    def __init__(self, codes: HashedFile, changes: HashedFile) -> None:
        self._codes, self._changes = codes, changes
        self._held, self._size = bytearray(), 0
        self._mark = -1  # none yet, so that the first letter's is always written

    def write(self, letters: bytes) -> None:
        """Append letters."""
        self._held += letters
        while len(self._held) >= _BLOCK_NT:
            self._flush(_BLOCK_NT)

    def finish(self) -> dict[str, dict[str, int | str]]:
        """Flush to disk; returns name, size and hash of both files."""
        self._flush(len(self._held))
        self._codes.write(_SLACK)
        return {**self._codes.finish(), **self._changes.finish()}

    def _flush(self, count: int) -> None:
        block = bytes(memoryview(self._held)[:count])
        del self._held[:count]
        self._codes.write(pack(np.frombuffer(block + b"A" * (-count % 4), np.uint8)).data)
        if block and (self._mark or block.translate(None, b"ACGT")):
            marks = np.frombuffer(block.translate(_MARKS), np.uint8)
            places = np.flatnonzero(marks[1:] != marks[:-1]) + 1
            if marks[0] != self._mark:
                places = np.concatenate(([0], places))
            self._changes.write(((self._size + places << 8) + marks[places]).astype("<i8").data)
            self._mark = int(marks[-1])
        self._size += count


def open_letters(folder: Path, storage: Storage, size: int) -> Letters | TwoBitLetters:
    """Map the letters of a store of ``size`` nt.

    Raises:
        OSError, ValueError: if a file is missing, or smaller than that.
    """
    return TwoBitLetters(folder, size) if storage == "2bit" else Letters(folder, size)


@contextlib.contextmanager
def write_letters(folder: Path, storage: Storage) -> Iterator[HashedFile | TwoBitWriter]:
    """Offer what writes the letters of a store; its files are closed when the block ends."""
    if storage == "2bit":
        with HashedFile(folder / "codes.bin") as codes, HashedFile(folder / "changes.bin") as changes:
            yield TwoBitWriter(codes, changes)
    else:
        with HashedFile(folder / "letters.bin") as letters:
            yield letters
