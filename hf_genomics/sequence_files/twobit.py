"""Parse UCSC's 2bit files: letters, N and soft masking of every record, in chunks of bounded size.

Source: https://genome.ucsc.edu/FAQ/FAQformat.html#format7 (versions 0 and 1, either byte order).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from os import PathLike
from typing import NamedTuple

import numpy as np

from ..errors import InputError, keep_secret
from ..io.files import BinaryFile, shorten
from ..io.kinds import TWOBIT_MAGICS
from .fastx import RawChunk

MAGICS = dict(zip(TWOBIT_MAGICS, "<>", strict=True))  # first bytes -> byte order

_CHUNK_NT = 1 << 18
_READ_BYTES = 1 << 20


def four_letters(alphabet: bytes, shifts: tuple[int, int, int, int]) -> np.ndarray:
    """Return the four letters of every possible byte of DNA stored with two bits per nucleotide.

    Args:
        alphabet: the letters that 0, 1, 2 and 3 stand for.
        shifts: how many bits a byte is shifted right for its first, second, third and fourth letter.

    Returns:
        (256,) uint32; ``.take(stored).view(np.uint8)`` turns stored bytes into letters.

    >>> four_letters(b"ACTG", shifts=(0, 2, 4, 6)).take([0b11_10_01_00]).view(np.uint8).tobytes()
    b'ACTG'
    """
    digits = (np.arange(256)[:, None] >> np.array(shifts)) & 3
    return np.frombuffer(alphabet, np.uint8)[digits].view(np.uint32)[:, 0]


_LETTERS = four_letters(b"TCAG", shifts=(6, 4, 2, 0))  # the first letter is in the highest bits


class _Runs(NamedTuple):
    """The runs of N of a sequence, or its soft-masked runs, in order.

    Attributes:
        starts: (runs,) int64, 0-based.
        ends: (runs,) int64, exclusive.
    """

    starts: np.ndarray
    ends: np.ndarray

    def within(self, start: int, end: int) -> Iterator[slice]:
        """Yield the runs that overlap [start, end), as slices counted from ``start``."""
        chosen = slice(np.searchsorted(self.ends, start, "right"), np.searchsorted(self.starts, end))
        starts, ends = self.starts[chosen].clip(start), self.ends[chosen].clip(max=end)
        return map(slice, (starts - start).tolist(), (ends - start).tolist())


def twobit_chunks(file: BinaryFile, path: str | PathLike[str]) -> Iterator[RawChunk]:
    """Yield the records of a 2bit file in chunks, in the order of their positions in the file.

    Args:
        file: the open file.
        path: its name, for error messages.

    Yields:
        Name (in the first chunk of a record) and letters.

    Raises:
        InputError: if the file is cut short, its index is wrong, or its version is neither 0 nor 1.
    """
    stream = _Stream(file, path)
    for place, name in sorted(stream.read_index()):
        stream.skip_to(place)
        keep_secret([name])
        where = f"record {shorten(name)}"
        length = stream.number()
        unknown = stream.read_runs(length, where)
        soft_masked = stream.read_runs(length, where)
        stream.number()  # reserved
        header: str | None = name
        # An empty record yields one empty chunk, so that its name is not lost.
        for start in range(0, length or 1, _CHUNK_NT):
            end = min(length, start + _CHUNK_NT)
            stored = np.frombuffer(stream.read((end - start + 3) // 4), np.uint8)
            letters = _LETTERS.take(stored).view(np.uint8)[: end - start]
            for run in unknown.within(start, end):
                letters[run] = ord("N")
            for run in soft_masked.within(start, end):
                letters[run] |= 0x20
            yield header, letters.tobytes()
            header = None
    # The caller may hash the file while it is read, and the hash must cover the bytes after the last record.
    while file.read(_READ_BYTES):
        pass


class _Stream:
    """A 2bit file that is read once, from start to end."""

    def __init__(self, file: BinaryFile, path: str | PathLike[str]) -> None:
        self._file, self._path, self._place = file, path, 0
        self._order = MAGICS[self.read(4)]

    def damaged(self, what: str) -> InputError:
        """Build the error for a file that contradicts itself."""
        return InputError(f"{self._path}: {what}; the 2bit file is cut short or damaged, fetch it again")

    def read(self, count: int) -> bytes:
        """Read ``count`` bytes, a block at a time: in a damaged file the count may be any number."""
        blocks = []
        while count:
            block = self._file.read(min(count, _READ_BYTES))
            if not block:
                raise self.damaged(f"ends at byte {self._place}")
            blocks.append(block)
            count -= len(block)
            self._place += len(block)
        return b"".join(blocks)

    def number(self, kind: str = "I") -> int:
        """Read a number in the byte order of the file; ``kind`` as in ``struct``."""
        return struct.unpack(self._order + kind, self.read(struct.calcsize("=" + kind)))[0]

    def numbers(self, count: int) -> np.ndarray:
        """Read ``count`` numbers of four bytes each, as int64 (count,)."""
        return np.frombuffer(self.read(4 * count), self._order + "u4").astype(np.int64)

    def skip_to(self, place: int) -> None:
        """Read and ignore everything before a byte of the file."""
        if place < self._place:
            raise self.damaged(f"its index points to byte {place}, inside something else")
        while gap := min(place - self._place, _READ_BYTES):
            self.read(gap)

    def read_index(self) -> list[tuple[int, str]]:
        """Read the header of the file and return the byte position and name of every record."""
        version = self.number()
        count = self.number()
        self.number()  # reserved
        if version not in (0, 1):
            raise InputError(f"{self._path}: 2bit of version {version}, not 0 or 1; convert it to FASTA (twoBitToFa)")
        index = []
        for _ in range(count):
            name = self.read(self.number("B")).decode("utf-8", "backslashreplace")
            index.append((self.number("Q" if version else "I"), name))
        return index

    def read_runs(self, length: int, where: str) -> _Runs:
        """Read runs of a record: how many there are, their starts, and their sizes."""
        count = self.number()
        starts = self.numbers(count)
        ends = starts + self.numbers(count)
        if count and ((starts[1:] < ends[:-1]).any() or ends[-1] > length):
            raise self.damaged(
                f"{where}: its runs of N or of lower case overlap, or extend past the end of its {length} nt"
            )
        return _Runs(starts, ends)
