r"""Store DNA on disk, in one byte or two bits per nucleotide (nt), and read many windows at once.

Two bits say whether a letter is A, C, T or G: bits 2 and 1 (counted from 0) of its ASCII code, which are the same in
upper and lower case. A byte of ``codes.bin`` holds four letters, the first one in its lowest bits::

    letter   A        C        T        G
    ASCII    1000001  1000011  1010100  1000111      bits 2 and 1 of each:
                 --       --       --       --
    number   0        1        2        3

    letters "ACTG"  ->  11 10 01 00
                        G  T  C  A

These numbers belong to the files only; the digits that the package computes with are A 0, T 1, C 2, G 3.

Everything else about a letter is its *mark*: the bits in which its ASCII code differs from that of the A, C, T or G of
its two bits (letter XOR that A, C, T or G; XOR with the mark gives the letter back). Marks keep lower case, which
denotes repeats in a genome (soft masking), N, and the other IUPAC codes for uncertain letters. A mark is 0 for ACGT, 32
for acgt, and 9 for N: N is 1001110, whose two bits are those of G, 1000111, and N XOR G is 0001001. Marks change
seldom, and only their changes are stored, in ``changes.bin``, as place (from 0) and new mark::

    letters   A   C   N   N   g
    marks     0   0   9   9   32
    changes   (0, 0)  (2, 9)  (4, 32)

`TwoBitWriter` writes both files. `TwoBitLetters.gather` reads many windows at once: it decodes the bytes in which the
windows lie, cuts the windows out, and corrects those that have a mark other than 0. Letters are read back exactly as
they were written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from ..io.writing import HashedFile
from ..sequence import ranges
from ..sequence_files.twobit import four_letters

Storage: TypeAlias = Literal["8bit", "2bit"]

_BLOCK_NT = 1 << 18  # encoded at once; a multiple of 4
_ALPHABET = b"ACTG"
_MARKS = bytes(letter ^ _ALPHABET[(letter >> 1) & 3] for letter in range(256))
_FOUR_LETTERS = four_letters(_ALPHABET, shifts=(0, 2, 4, 6))
# Bytes after the last letter, part of the file format: every window of one length reads equally many bytes, which may
# reach past the end, though never by more than one byte; the second byte is spare.
_SLACK = b"\0\0"


def gather_bytes(source: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Concatenate many windows of an array of bytes.

    Args:
        source: (size,) uint8, contiguous.
        starts: (windows,) int64, first byte of each window.
        lengths: (windows,) int64, bytes of each window; every window must lie inside ``source``.

    Returns:
        (sum of lengths,) uint8, a new array.

    >>> gather_bytes(np.arange(9, dtype=np.uint8), np.array([6, 1]), np.array([2, 3])).tolist()
    [6, 7, 1, 2, 3]
    """
    if len(lengths) and lengths[0] and (lengths == lengths[0]).all():
        # View the source, without copying it, as an array of all its windows of that size, one from each byte on, and
        # pick some of these: numpy copies windows of one length at 50 ns each.
        size = int(lengths[0])
        windows = np.ndarray((len(source) - size + 1,), f"V{size}", source, strides=(1,))
        return windows[starts].view(np.uint8)
    view = source.data  # slicing and joining a memoryview is twice as fast as slicing and joining arrays
    pairs = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
    return np.frombuffer(bytearray().join([view[start:end] for start, end in pairs]), np.uint8)


def two_bit_codes(letters: np.ndarray) -> np.ndarray:
    """Pack letters into two bits each.

    Args:
        letters: (size,) uint8, size a multiple of 4.

    Returns:
        (size / 4,) uint8, the first of four letters in the lowest bits.

    >>> bin(two_bit_codes(np.frombuffer(b"ACTG", np.uint8))[0])
    '0b11100100'
    """
    # Four letters a, b, c, d are one 32-bit number, a in its lowest byte. Each keeps its two bits; the multiplication
    # lifts them into the highest byte, side by side, and no two products overlap, so that nothing is carried:
    #
    #     000000dd 000000cc 000000bb 000000aa
    #     aa * 2^24: bit 24    bb * 2^18: 8 + 18 = bit 26    cc * 2^12: 16 + 12 = bit 28    dd * 2^6: 24 + 6 = bit 30
    #     ddccbbaa ...
    packed = letters.view("<u4") >> 1
    packed &= 0x03030303
    packed *= 1 << 24 | 1 << 18 | 1 << 12 | 1 << 6
    packed >>= 24
    return packed.astype(np.uint8)


class EightBitLetters:
    """Letters of a store with one byte per nucleotide: ``letters.bin``, contig after contig.

    Args:
        folder: folder of the store.
        size: number of letters in the store.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        # Slicing a memory map is slow; an array over the same memory is not.
        self._letters = np.asarray(np.memmap(folder / "letters.bin", np.uint8, "r", shape=(size,)))

    def window(self, start: int, length: int) -> np.ndarray:
        """View one window, read-only."""
        return self._letters[start : start + length]

    def gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Concatenate windows that lie inside the store; see `gather_bytes`."""
        return gather_bytes(self._letters, starts, lengths)


class TwoBitLetters:
    """Letters of a store with two bits per nucleotide.

    ``codes.bin`` holds four letters in a byte; ``changes.bin`` holds an int64 for each change of the mark, place * 256
    + mark.

    Args:
        folder: folder of the store.
        size: number of letters in the store.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self._codes = np.asarray(np.memmap(folder / "codes.bin", np.uint8, "r", shape=((size + 3) // 4 + len(_SLACK),)))
        self._changes = np.asarray(np.memmap(folder / "changes.bin", "<i8", "r"))

    def window(self, start: int, length: int) -> np.ndarray:
        """Decode one window, read-only."""
        letters = self.gather(np.array([start]), np.array([length]))
        letters.setflags(write=False)
        return letters

    def gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Decode and concatenate windows that lie inside the store; arguments as in `gather_bytes`."""
        # Decode whole bytes, and cut the windows out. Letters 6 to 10, for example, lie in bytes 1 and 2, which hold
        # letters 4 to 11; the window is the 5 letters from place 6 % 4 = 2 of these.
        num_bytes = (lengths + 6) // 4  # enough for a window that begins with the last letter of a byte
        decoded = _FOUR_LETTERS.take(gather_bytes(self._codes, starts // 4, num_bytes)).view(np.uint8)
        decoded_starts = 4 * (np.cumsum(num_bytes) - num_bytes)
        letters = gather_bytes(decoded, decoded_starts + starts % 4, lengths)
        # Now every letter is an A, C, T or G. Correct the windows with a mark other than 0: those that begin with one,
        # and those in which the mark changes.
        first, after = _changes_inside(self._changes, starts, lengths)
        mark_at_start = self._changes[first - 1] & 255
        marked = np.flatnonzero((lengths > 0) & ((mark_at_start != 0) | (first != after)))
        if len(marked):
            offsets = (np.cumsum(lengths) - lengths)[marked].tolist()  # where these windows begin in `letters`
            marks = _decode_marks(self._changes, starts[marked], lengths[marked], first[marked], after[marked])
            done = 0  # marks of earlier windows
            for offset, length in zip(offsets, lengths[marked].tolist(), strict=True):
                letters[offset : offset + length] ^= marks[done : done + length]
                done += length
        return letters


def _changes_inside(changes: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the changes of the mark after the first letter of each window.

    Args:
        changes: int64 (changes,), place * 256 + mark, ascending; the first one is at place 0.
        starts: int64 (windows,), first nt of each window.
        lengths: int64 (windows,), nt of each window.

    Returns:
        Index of the first such change, and index after the last one, int64 (windows,) each; equal if there is none. The
        change before the first one holds the mark of the window's first letter.
    """
    # A change is place * 256 + mark, so these are the first changes with place > start, and with place >= end.
    return changes.searchsorted((starts + 1) << 8), changes.searchsorted((starts + lengths) << 8)


def _decode_marks(
    changes: np.ndarray, starts: np.ndarray, lengths: np.ndarray, first: np.ndarray, after: np.ndarray
) -> np.ndarray:
    """Decode the marks of all letters of windows, concatenated.

    An array of *flips* holds, for each letter, its mark XOR the mark of the previous letter: 0 except where the mark
    changes or a window begins. The running XOR of the flips is the marks::

        marks   0  0  9  9  9  0
        flips   0  0  9  0  0  9

    Args:
        changes: as in `_changes_inside`.
        starts: int64 (windows,), first nt of each window.
        lengths: int64 (windows,), nt of each window, 1 or more.
        first: int64 (windows,), the first change inside each window, as `_changes_inside` finds it.
        after: int64 (windows,), the index after the last one inside.

    Returns:
        uint8 (sum of lengths, rounded up to a multiple of 8).
    """
    offsets = np.cumsum(lengths) - lengths  # start of each window in the windows concatenated
    count = int(lengths.sum())
    flips = np.zeros(count + -count % 8, np.uint8)  # `_running_xor` takes eight bytes at a time
    # At the start of a window the running XOR still holds the last mark of the previous window.
    mark_at_start, mark_at_end = changes[first - 1] & 255, changes[after - 1] & 255
    flips[offsets] = mark_at_start ^ np.concatenate(([0], mark_at_end[:-1]))
    num_changes = after - first
    inside = ranges(first, num_changes)  # indices of the changes inside the windows, window by window
    places = (changes[inside] >> 8) + np.repeat(offsets - starts, num_changes)  # from the genome to the windows
    flips[places] = (changes[inside] ^ changes[inside - 1]) & 255
    return _running_xor(flips)


def _running_xor(values: np.ndarray) -> np.ndarray:
    """XOR each byte with all bytes before it, in place; numpy's own ``accumulate`` is four times slower.

    Args:
        values: uint8 (size,), size a multiple of 8.

    >>> _running_xor(np.array([1, 0, 2, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0], np.uint8)).tolist()
    [1, 1, 3, 3, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    """
    # Eight bytes are one word, the first byte lowest. Shifted by 1, 2 and 4 bytes, each byte meets all before it:
    #     a  b   c    d      ->  a  ab  bc  cd  ->  a  ab  abc  abcd
    words = values.view("<u8")
    for bits in (8, 16, 32):
        words ^= words << bits
    # Now each byte has been XORed with all earlier bytes of its word. The earlier words follow.
    carried = np.bitwise_xor.accumulate(words >> 56)
    words[1:] ^= carried[:-1] * np.uint64(0x0101010101010101)
    return values


class TwoBitWriter:
    """Write the files that `TwoBitLetters` reads.

    Args:
        codes: ``codes.bin``, open.
        changes: ``changes.bin``, open.
    """

    def __init__(self, codes: HashedFile, changes: HashedFile) -> None:
        self._codes, self._changes = codes, changes
        self._held, self._size = bytearray(), 0
        self._mark = -1  # of the letter before; -1, which no letter has, makes the first letter a change

    def write(self, letters: bytes) -> None:
        """Append letters."""
        self._held += letters
        while len(self._held) >= _BLOCK_NT:
            self._encode(_BLOCK_NT)

    def finish(self) -> dict[str, dict[str, int | str]]:
        """Flush both files to disk and return ``{name: {"bytes": size, "sha256": hash}}``."""
        self._encode(len(self._held))
        self._codes.write(_SLACK)
        return {**self._codes.finish(), **self._changes.finish()}

    def _encode(self, count: int) -> None:
        """Encode and write the first ``count`` of the letters that have not been written yet."""
        block = bytes(memoryview(self._held)[:count])
        del self._held[:count]
        self._codes.write(two_bit_codes(np.frombuffer(block + b"A" * (-count % 4), np.uint8)).data)
        # Most blocks hold only A, C, G and T and follow such a block. The mark then stays 0: no search.
        if block and (self._mark or block.translate(None, b"ACGT")):
            marks = np.frombuffer(block.translate(_MARKS), np.uint8)
            places = np.flatnonzero(marks[1:] != marks[:-1]) + 1
            if marks[0] != self._mark:
                places = np.concatenate(([0], places))
            self._changes.write((((self._size + places) << 8) + marks[places]).astype("<i8").data)
            self._mark = int(marks[-1])
        self._size += count


def open_letters(folder: Path, storage: Storage, size: int) -> EightBitLetters | TwoBitLetters:
    """Map the letters of a store into memory.

    Args:
        folder: folder of the store.
        storage: "8bit" or "2bit".
        size: number of letters in the store.

    Raises:
        OSError: if a file is missing.
        ValueError: if a file is smaller than it must be.
    """
    return TwoBitLetters(folder, size) if storage == "2bit" else EightBitLetters(folder, size)


@contextlib.contextmanager
def write_letters(folder: Path, storage: Storage) -> Iterator[HashedFile | TwoBitWriter]:
    """Open the files of a store's letters for writing, for a ``with`` block.

    Args:
        folder: folder of the store.
        storage: "8bit" or "2bit".

    Yields:
        A writer with ``write(letters)`` and ``finish()``.
    """
    if storage == "2bit":
        with HashedFile(folder / "codes.bin") as codes, HashedFile(folder / "changes.bin") as changes:
            yield TwoBitWriter(codes, changes)
    else:
        with HashedFile(folder / "letters.bin") as letters:
            yield letters
