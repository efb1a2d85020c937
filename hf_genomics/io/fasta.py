"""Read the records of sequence files, and be sure that what comes out is DNA.

Siblings take the formats apart; this module checks, because no reader does: gaps, digits, protein and NUL bytes pass
all of them. Format and compression are taken from the content of a file, never from its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from typing import NamedTuple, TypeVar

import numpy as np

from ..errors import InputError
from ..sequence import IUPAC, as_letters
from .fastx import Part, fasta_parts, fastq_parts, no_header
from .files import BinaryFile, input_errors, open_binary, refuse_foreign, shorten
from .genbank import genbank_parts
from .twobit import MAGICS, twobit_parts

SEQUENCE_STARTS = (b">", b"@", b"LOCUS ", *MAGICS)  # of FASTA, FASTQ, GenBank and 2bit

Letters = TypeVar("Letters", bytes, bytearray)

_NUCLEOTIDES = (IUPAC + IUPAC.lower()).encode()
_AS_DNA = bytes.maketrans(b"Uu", b"Tt")
_HINTS = {
    "U": "this is RNA; set `rna: true` to read U as T",
    "-": "gaps belong to an alignment; take them out first",
    ".": "gaps belong to an alignment; take them out first",
    "*": "`*` ends a protein; take it out, or give the DNA",
    "X": "write N for an unknown nucleotide",
    "?": "write N for an unknown nucleotide",
    ">": "a header in the middle of a line; put a line break in front of it",
    "\0": "the file is damaged or not text; write it again",
    "\ufeff": "a byte order mark; save the file without it",
    **dict.fromkeys(" \t", "blanks do not belong inside a sequence; take them out"),
    **dict.fromkeys("0123456789", "numbers do not belong in a sequence; take them out"),
    **dict.fromkeys("EFILPQ", "this looks like protein; give the DNA"),
}


class Piece(NamedTuple):
    """A stretch of one sequence of a file.

    Attributes:
        name: first word of the header.
        start: where the stretch begins in the sequence, in nt; 0 begins the next sequence.
        letters: ASCII; case (soft masking), N and IUPAC codes as in the file.
    """

    name: str
    start: int
    letters: bytes


class Record(NamedTuple):
    """One sequence of a file.

    Attributes:
        name: first word of the header.
        description: the rest of the header, may be empty.
        letters: (length,) uint8 ASCII; case (soft masking), N and IUPAC codes as in the file.
    """

    name: str
    description: str
    letters: np.ndarray


class _Place(NamedTuple):
    """Where a record stands; it is put into words only when there is something to say."""

    path: str | PathLike[str]
    number: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}: record {self.number}{f' ({shorten(self.name)})' if self.name else ''}"


def read_records(path: str | PathLike[str], *, rna: bool = False, min_length: int = 1) -> Iterator[Record]:
    """Yield the records of a FASTA, FASTQ, GenBank or 2bit file, plain or gzipped, one at a time.

    Memory is that of the longest record, and the names.

    Args:
        path: the file; blank lines, Windows line ends, several gzip members (bgzip) and odd names are fine.
        rna: accept U and u and read them as T and t.
        min_length: shortest record allowed, in nt.

    Raises:
        InputError: file missing, damaged, empty or of another format; a record without name, with a name seen before,
            shorter than ``min_length`` or with a letter that is no nucleotide (position is 1-based).
    """
    for record, faults in examine_records(path, rna=rna, min_length=min_length):
        if faults:
            raise faults[0]
        yield record


def examine_records(
    path: str | PathLike[str], *, rna: bool = False, min_length: int = 1
) -> Iterator[tuple[Record, list[InputError]]]:
    """Yield every record with what is wrong with it, so that one bad record does not hide the next.

    `read_records` raises the first fault that this yields. The letters of a faulty record are those of the file.

    Args:
        path, rna, min_length: as in `read_records`.

    Raises:
        InputError: for what is wrong with the file as a whole: missing, damaged, empty, or of another format.
    """
    seen: dict[str, int] = {}
    for number, (header, letters) in enumerate(_whole(_parts(path)), start=1):
        name, description = _split_header(header)
        where = _Place(path, number, name)
        faults: list[InputError] = []
        try:
            _check_name(name, where, seen)
            check_length(len(letters), where, min_length)
            letters = as_dna(letters, where, rna=rna)
        except InputError:
            faults = _all_faults(name, letters, where, seen, rna, min_length)
        seen.setdefault(name, number)
        yield Record(name, description, np.frombuffer(letters, np.uint8)), faults
    if not seen:
        raise _no_record(path)


def read_pieces(
    path: str | PathLike[str],
    *,
    rna: bool = False,
    min_length: int = 1,
    watch: Callable[[memoryview], object] | None = None,
) -> Iterator[Piece]:
    """Yield what `read_records` yields piece by piece, in memory that does not grow with a record.

    A record that is refused may have begun: whoever writes pieces down writes them where they can be dropped.

    Args:
        path, rna, min_length: as in `read_records`.
        watch: is shown all bytes of the file, as they are on disk (a hash's ``update``).

    Raises:
        InputError: as `read_records`.
    """
    seen: dict[str, int] = {}
    name, where, length = "", _Place(path, 0, ""), 0
    for header, letters in _parts(path, watch):
        if header is not None:
            if seen:
                check_length(length, where, min_length)
            name, length = _split_header(header)[0], 0
            where = _Place(path, len(seen) + 1, name)
            _check_name(name, where, seen)
            seen[name] = len(seen) + 1
        letters = as_dna(letters, where, before=length, rna=rna)
        yield Piece(name, length, letters)
        length += len(letters)
    if not seen:
        raise _no_record(path)
    check_length(length, where, min_length)


def _parts(path: str | PathLike[str], watch: Callable[[memoryview], object] | None = None) -> Iterator[Part]:
    """Take a file apart by its format; whatever goes wrong on the way is an `InputError` that names the file."""
    with input_errors(path), open_binary(path, watch) as file:
        yield from _parts_of(file, path)


def _parts_of(file: BinaryFile, path: str | PathLike[str]) -> Iterator[Part]:
    """Tell the format by the first bytes, and turn every other one away by name."""
    start = file.peek(4096)
    refuse_foreign(path, start)
    if start.startswith(b"LOCUS "):
        return genbank_parts(file, path)
    if start[:4] in MAGICS:
        return twobit_parts(file, path)
    first = start.lstrip()
    if first[:1] == b"@":
        return fastq_parts(file, path)
    if first and first[:1] not in b">#":
        raise no_header(path, first)
    return fasta_parts(file, path)


def _whole(parts: Iterator[Part]) -> Iterator[tuple[str, bytearray]]:
    """Join the parts of each record."""
    header, letters = None, bytearray()
    for next_header, part in parts:
        if next_header is not None:
            if header is not None:
                yield header, letters
            header, letters = next_header, bytearray()
        letters += part
    if header is not None:
        yield header, letters


def _no_record(path: str | PathLike[str]) -> InputError:
    return InputError(f"{path}: no record in this file; a FASTA record is a line '>name' and lines of letters")


def _all_faults(
    name: str, letters: bytearray, where: object, seen: dict[str, int], rna: bool, min_length: int
) -> list[InputError]:
    """List everything that is wrong with one record, in the order in which it is looked at."""
    faults = []
    for check, arguments in (
        (_check_name, (name, where, seen)),
        (as_dna, (letters, where, 0, rna)),
        (check_length, (len(letters), where, min_length)),
    ):
        try:
            check(*arguments)
        except InputError as error:
            faults.append(error)
    return faults


def _split_header(header: str) -> tuple[str, str]:
    """Split a header into its first word and the rest."""
    name, *description = header.split(None, 1) or [""]
    return name, description[0].strip() if description else ""


def _check_name(name: str, where: object, seen: dict[str, int]) -> None:
    """Refuse a record without a name, with unprintable characters in it, or with one that came before."""
    if not name:
        raise InputError(f"{where}: has no name; write one behind the '>'")
    if not name.isprintable():
        raise InputError(f"{where}: unprintable character in the name; rename the record")
    if name in seen:
        raise InputError(f"{where}: record {seen[name]} has the same name; rename or drop one of them")


def check_length(length: int, where: object, min_length: int) -> None:
    """Refuse an empty sequence, and one below ``min_length`` nt.

    Raises:
        InputError: naming ``where``.
    """
    if length == 0:
        raise InputError(f"{where}: is empty; drop it")
    if length < min_length:
        raise InputError(f"{where}: {length} nt is shorter than the {min_length} nt needed; drop it or ask for less")


def as_dna(letters: Letters, where: object, before: int = 0, rna: bool = False) -> Letters:
    """Check letters.

    Args:
        letters: nucleotides in upper or lower case.
        where: file and record, for the error.
        before: nt of the record that came before these letters.
        rna: read U as T.

    Returns:
        The letters, with T for U if ``rna``.

    Raises:
        InputError: at the first letter that is no nucleotide, with its 1-based position.
    """
    if rna:
        letters = letters.translate(_AS_DNA)
    if strange := letters.translate(None, _NUCLEOTIDES):
        index = letters.index(strange[:1])
        letter = letters[index : index + 4].decode("utf-8", "backslashreplace")[0]
        raise letter_error(letter, before + index + 1, where)
    return letters


def clean_letters(letters: np.ndarray, rna: bool = False) -> np.ndarray:
    """Copy uint8 letters, with 0 for everything that is no nucleotide (and with T for U if ``rna``)."""
    return (_CLEAN_RNA if rna else _CLEAN)[letters]


def letter_error(letter: str, position: int, where: object) -> InputError:
    """Describe a bad letter: its 1-based position, the rule, and the way out."""
    hint = _HINTS.get(letter.upper(), "only A, C, G, T, N and the IUPAC codes RYSWKMBDHV are nucleotides")
    return InputError(f"{where}, position {position}: {letter!r} is not a DNA letter; {hint}")


def _table(rna: bool) -> np.ndarray:
    """Map each byte to itself when it is a nucleotide, to 0 when it is not."""
    table = np.zeros(256, np.uint8)
    allowed = as_letters(IUPAC + IUPAC.lower())
    table[allowed] = allowed
    if rna:
        table[ord("U")], table[ord("u")] = ord("T"), ord("t")
    return table


_CLEAN, _CLEAN_RNA = _table(rna=False), _table(rna=True)
