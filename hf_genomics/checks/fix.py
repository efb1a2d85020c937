"""Write a cleaned copy of a sequence file: letters that do not belong in it removed, names unique."""

from __future__ import annotations

import codecs
import contextlib
import gzip
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..errors import InputError
from ..io.files import input_errors, open_binary, shorten
from ..io.kinds import START_BYTES, kind_of_start
from ..io.writing import output_errors, writing_file
from ..sequence_files.fasta import (
    RecordChunk,
    find_wrong_letter,
    first_word,
    letter_at,
    letter_error,
    read_unchecked_chunks,
)

_LINE_NT = 80  # letters on a line of the new file
#: Letters that are removed -> what they are called.
_REMOVED = {
    "gaps": b"-.",
    "blanks": b" \t\v\f\xa0",
    "digits": b"0123456789",
    "stars": b"*",
}
_NO_BREAK_SPACE = "\xa0".encode()  # two bytes in UTF-8, one in Latin-1
_ALL_REMOVED = b"".join(_REMOVED.values())
_LOWER = bytes(range(ord("a"), ord("z") + 1))
_TO_DNA = bytes.maketrans(_LOWER + b"UX?", _LOWER.upper().replace(b"U", b"T").replace(b"X", b"N") + b"TNN")


@dataclass
class Fixed:
    """What was changed in a cleaned copy.

    Attributes:
        path: the new file.
        records: number of records in it.
        changes: kind of change -> how often it was made.
        problems: what would still be rejected, one line each.
    """

    path: Path
    records: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Describe the file and its changes, one line each."""
        made = [f"{self.path}: {what}: {count:,}" for what, count in self.changes.items() if count]
        written = f"{self.path}: {self.records:,} record{'s' * (self.records > 1)} written"
        return [written, *(made or [f"{self.path}: nothing had to be changed"])]


def write_fixed(source: str, target: Path) -> Fixed:
    """Write a cleaned copy of a sequence file as FASTA, completely or not at all.

    Gaps, blanks, digits and stars are removed, U becomes T, X and ? become N, and lower case becomes upper case; a byte
    order mark is left out. A repeated name gets a number. A record without a name gets one; a record without letters is
    omitted. Soft masking (lower case) is lost, so do not clean a masked genome whose repeats matter. The qualities of
    FASTQ are lost too, because FASTA has no place for them.

    Args:
        source: FASTA, FASTQ, GenBank or 2bit file, plain or gzipped.
        target: the new file, gzipped if its name ends with .gz.

    Raises:
        InputError: naming the record, if it has a letter that no rule corrects, such as those of protein; or if no
            record is left.
    """
    fixed = Fixed(target, changes=_encoding_changes(source))
    with output_errors(target), writing_file(target) as file, _compressed(file, target) as out:
        writer = _Writer(out)
        for name, letters in _fixed_chunks(source, fixed):
            writer.add(name, letters)
        writer.end()
        if not fixed.records:
            raise InputError(f"{source}: no record has a nucleotide, so nothing is left to write; give another file")
    return fixed


def _encoding_changes(source: str) -> Counter[str]:
    """Return what writing the file as UTF-8 without a byte order mark changes."""
    with input_errors(source), open_binary(source) as file:
        start = file.peek(START_BYTES)
    encoding = kind_of_start(start).encoding
    if encoding != "utf-8-sig":
        return Counter({f"{encoding.upper()} written as UTF-8": 1})
    return Counter({"byte order mark removed": int(start.startswith(codecs.BOM_UTF8))})


@contextlib.contextmanager
def _compressed(file: IO[bytes], path: Path) -> Iterator[Any]:
    """Yield the file, or if its name ends with .gz, a file that compresses what is written into it."""
    if path.suffix.lower() != ".gz":
        yield file
        return
    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
        yield zipped


def _fixed_chunks(source: str, fixed: Fixed) -> Iterator[tuple[str | None, bytes]]:
    """Iterate over the chunks of all records, and count the changes.

    Args:
        source: the file.
        fixed: counts of changes.

    Yields:
        Header of a record with its first letters, then None with further letters.
    """
    numbers: dict[str, int] = {}
    number = 0  # of the record
    kept = 0  # letters of the record so far
    first = None  # chunk of the record, with its header
    for chunk in read_unchecked_chunks(source):
        if chunk.start == 0:
            if number and not kept:
                fixed.changes["records without letters omitted"] += 1
            number += 1
            kept = 0
            first = chunk
        letters = _clean(chunk, number, source, fixed.changes)
        if letters and first is not None:
            fixed.records += not kept
            yield (None if kept else _new_header(first, number, numbers, fixed.changes)), letters
            kept += len(letters)
    if number and not kept:
        fixed.changes["records without letters omitted"] += 1


def _new_header(chunk: RecordChunk, number: int, numbers: dict[str, int], changes: Counter[str]) -> str:
    """Return the header with a name that no earlier record uses.

    Args:
        chunk: first chunk of the record.
        number: number of the record in the file.
        numbers: every name that is used -> last number that was given to a record of this name; the name is added.
        changes: counts of changes.
    """
    name = chunk.name
    changes["unprintable names escaped"] += name != first_word(chunk.header, number)
    if not name:
        changes["names given to unnamed records"] += 1
        name = f"record_{number}"
    unique, times = name, numbers.get(name, 1)
    while unique in numbers:
        times += 1
        unique = f"{name}_{times}"
    changes["repeated names numbered"] += unique != name
    numbers[name] = times
    numbers.setdefault(unique, 1)
    rest = chunk.header.strip().split(None, 1)[1:]
    return " ".join([unique, *rest])


def _clean(chunk: RecordChunk, number: int, source: str, changes: Counter[str]) -> bytes:
    """Return the letters of a chunk as nucleotides, and count the changes."""
    letters = chunk.letters.replace(_NO_BREAK_SPACE, b"\xa0")
    for what, bad in _REMOVED.items():
        changes[f"{what} removed"] += sum(letters.count(letter) for letter in bad)
    changes["U written as T"] += letters.count(b"U") + letters.count(b"u")
    changes["X and ? written as N"] += sum(letters.count(letter) for letter in b"Xx?")
    changes["lower case written as upper case"] += len(letters) - len(letters.translate(None, _LOWER))
    cleaned = letters.translate(_TO_DNA, _ALL_REMOVED)
    if (index := find_wrong_letter(cleaned)) is not None:
        before, letter = _wrong_letter(chunk.letters, cleaned[index])
        where = f"{source}: record {number} ({shorten(chunk.name)})"
        raise InputError(f"{letter_error(letter, chunk.start + before + 1, where)}; `fix` cannot correct it")
    return cleaned


def _wrong_letter(letters: bytes, wrong: int) -> tuple[int, str]:
    """Return how many characters stand before the first wrong letter, and this letter.

    Args:
        letters: letters as in the file.
        wrong: what `_clean` makes of its first byte.
    """
    letters = letters.replace(_NO_BREAK_SPACE, b" ")  # one character, and no wrong letter
    at = next(place for place, letter in enumerate(letters) if _TO_DNA[letter] == wrong)
    return at, letter_at(letters, at)


class _Writer:
    """Writes FASTA with lines of equal length.

    Args:
        file: the open file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._held = file, b""

    def add(self, header: str | None, letters: bytes) -> None:
        """Write letters, which begin a record if there is a header."""
        if header is not None:
            self.end()
            self._file.write(b">" + header.encode() + b"\n")
        self._held += letters
        whole = len(self._held) // _LINE_NT * _LINE_NT
        lines = (self._held[start : start + _LINE_NT] + b"\n" for start in range(0, whole, _LINE_NT))
        self._file.write(b"".join(lines))
        self._held = self._held[whole:]

    def end(self) -> None:
        """Write the rest of a record."""
        if self._held:
            self._file.write(self._held + b"\n")
        self._held = b""
