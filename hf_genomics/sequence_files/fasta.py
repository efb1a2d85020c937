"""Read the records of sequence files, and check that every letter is DNA.

``fastx.py``, ``genbank.py`` and ``twobit.py`` split a file into headers and letters. They do not check the letters
(neither does dnaio): gaps, digits, protein and NUL bytes would pass. The checks are here. Format and compression are
recognised by the content of a file, never by its name.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from ..errors import InputError, is_private, keep_secret
from ..io.files import BinaryFile, as_utf8, input_errors, open_binary, shorten
from ..io.kinds import START_BYTES, require_sequences
from ..sequence import IUPAC, as_letters
from .fastx import RawChunk, fasta_chunks, fastq_chunks, no_header
from .genbank import genbank_chunks
from .twobit import MAGICS, twobit_chunks

#: Function that turns the header of a record and its number in the file, from 1, into the name of the record.
Naming: TypeAlias = Callable[[str, int], str]

Bytes = TypeVar("Bytes", bytes, bytearray)  # what comes as one type is returned as the same type

_NUCLEOTIDES = (IUPAC + IUPAC.lower()).encode()
_AS_DNA = bytes.maketrans(b"Uu", b"Tt")
#: What to do about a letter that is not a nucleotide.
_REMEDIES = {
    "U": "this is RNA; write T for U, or set --records.rna true",
    "-": "gaps belong to an alignment; remove them first",
    ".": "gaps belong to an alignment; remove them first",
    "*": "`*` ends a protein; remove it, or give the DNA",
    "X": "write N for an unknown nucleotide",
    "?": "write N for an unknown nucleotide",
    ">": "a header in the middle of a line; put a line break before it",
    "\0": "the file is damaged or not text; write it again",
    "\ufeff": "a byte order mark; save the file without it",
    **dict.fromkeys(" \t", "blanks do not belong inside a sequence; remove them"),
    **dict.fromkeys("0123456789", "numbers do not belong in a sequence; remove them"),
    **dict.fromkeys("EFILPQ", "this looks like protein; give the DNA"),
}


class RecordChunk(NamedTuple):
    """A checked stretch of one record of a file.

    Attributes:
        name: first word of the header, or what a `Naming` makes of it.
        start: 0-based start of the stretch in the record, in nt; a chunk that starts at 0 begins the next record.
        letters: ASCII; case (soft masking), N and IUPAC codes as in the file.
        header: the whole header, in the first chunk of a record; empty in the others.
    """

    name: str
    start: int
    letters: bytes
    header: str = ""


class Record(NamedTuple):
    """One record of a file.

    Attributes:
        name: first word of the header, or what a `Naming` makes of it.
        description: the rest of the header, possibly empty.
        letters: (length,) uint8 ASCII; case (soft masking), N and IUPAC codes as in the file.
    """

    name: str
    description: str
    letters: np.ndarray


#: Advice about equal names, where the user can choose what the names are.
_CHOICE = ", or set records.names numbered (or header, if they differ then)"
#: Advice about a short record, where the user can choose the shortest length.
_LOWER = ", or lower records.min_length"


class SeenRecord(NamedTuple):
    """An earlier record: its number in the file, from 1, and its header."""

    number: int
    header: str


class _RecordPlace(NamedTuple):
    """A record as error messages name it; becoming text only for a message saves time in files of many records."""

    path: str | PathLike[str]
    number: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}: record {self.number}{f' ({shorten(self.name)})' if self.name else ''}"


def first_word(header: str, number: int) -> str:
    """Return the first word of a header, the usual name of a record.

    Args:
        header: header of the record.
        number: number of the record in its file; not used.
    """
    return _split_header(header)[0]


def read_records(path: str | PathLike[str], *, rna: bool = False, min_length: int = 1) -> Iterator[Record]:
    """Yield the records of a FASTA, FASTQ, GenBank or 2bit file, plain or gzipped, one at a time.

    Memory holds the current record and the names of all records so far.

    Args:
        path: the file; blank lines, Windows line ends, several gzip members (bgzip) and unusual names are fine.
        rna: accept U and u and read them as T and t.
        min_length: shortest record allowed, in nt.

    Yields:
        The records, in the order of the file.

    Raises:
        InputError: if the file is missing, damaged, empty or of another format, or a record has no name, the name
            of an earlier record, fewer than ``min_length`` nt, or a letter that is not a nucleotide (the message has
            its 1-based position).
    """
    for record, problems in examine_records(path, rna=rna, min_length=min_length):
        if problems:
            raise problems[0]
        yield record


def examine_records(
    path: str | PathLike[str], *, rna: bool = False, min_length: int = 1, naming: Naming | None = None
) -> Iterator[tuple[Record, list[InputError]]]:
    """Yield every record together with a list of its problems, so that one bad record does not hide the next.

    `read_records` raises the first problem that this yields.

    Args:
        path: the file, as in `read_records`.
        rna: accept U and u and read them as T and t.
        min_length: shortest record allowed, in nt.
        naming: function that names the records; by default the first words of their headers are their names.

    Yields:
        A record and its problems; the letters of a record with problems are as in the file, unchanged.

    Raises:
        InputError: if the file as a whole cannot be read: missing, damaged, empty, or in an unknown format.
    """
    seen: dict[str, SeenRecord] = {}
    choice = "" if naming is None else _CHOICE
    for number, (header, letters) in enumerate(_join_chunks(_raw_chunks(path)), start=1):
        name, description = (naming or first_word)(header, number), _split_header(header)[1]
        where = _RecordPlace(path, number, name)
        problems: list[InputError] = []
        try:  # usually nothing is wrong, and each check is done once
            _check_name(name, header, where, seen, choice)
            check_length(len(letters), where, min_length, _LOWER if choice else "")
            letters = as_dna(letters, where, rna=rna)
        except InputError:
            problems = _all_problems(
                (name, header, where, seen, choice), letters, where, rna=rna, min_length=min_length
            )
        seen.setdefault(name, SeenRecord(number, header))
        yield Record(name, description, np.frombuffer(letters, np.uint8)), problems
    if not seen:
        raise _no_record(path)


def read_chunks(
    path: str | PathLike[str],
    *,
    rna: bool = False,
    min_length: int = 1,
    watch: Callable[[memoryview], object] | None = None,
    naming: Naming | None = None,
) -> Iterator[RecordChunk]:
    """Yield the records of `read_records` in chunks, so that memory does not grow with the length of a record.

    The error for a record may come after some of its chunks have been yielded, so write chunks to a temporary place.

    Args:
        path: the file, as in `read_records`.
        rna: accept U and u and read them as T and t.
        min_length: shortest record allowed, in nt.
        watch: called with all bytes of the file as they are on disk, block by block; for instance the ``update`` method
            of a hash.
        naming: function that names the records; by default the first words of their headers are their names.

    Yields:
        The chunks of each record, in the order of the file.

    Raises:
        InputError: as `read_records`.
    """
    seen: dict[str, SeenRecord] = {}
    choice = "" if naming is None else _CHOICE
    name, where, length = "", _RecordPlace(path, 0, ""), 0
    for header, letters in _raw_chunks(path, watch):
        if header is not None:  # the length of the previous record is known only now
            if seen:
                check_length(length, where, min_length, _LOWER if choice else "")
            name, length = (naming or first_word)(header, len(seen) + 1), 0
            where = _RecordPlace(path, len(seen) + 1, name)
            _check_name(name, header, where, seen, choice)
            seen[name] = SeenRecord(len(seen) + 1, header)
        letters = as_dna(letters, where, before=length, rna=rna)
        yield RecordChunk(name, length, letters, header or "")
        length += len(letters)
    if not seen:
        raise _no_record(path)
    check_length(length, where, min_length, _LOWER if choice else "")


def read_unchecked_chunks(
    path: str | PathLike[str], *, rna: bool = False, watch: Callable[[memoryview], object] | None = None
) -> Iterator[RecordChunk]:
    """Yield records in chunks without checking their names, lengths and letters; the caller judges each of them.

    Names may be missing, repeated or long. Memory grows neither with the length nor with the number of the records.

    Args:
        path: the file, as in `read_records`.
        rna: read U as T.
        watch: as in `read_chunks`.

    Yields:
        The chunks of each record, in the order of the file. Unprintable letters in a name are escaped.

    Raises:
        InputError: if the file is missing, damaged, empty or of another format.
    """
    name, number, length = "", 0, 0
    for header, letters in _raw_chunks(path, watch):
        if header is not None:
            name, number, length = _printable(first_word(header, number)), number + 1, 0
        yield RecordChunk(name, length, letters.translate(_AS_DNA) if rna else letters, header or "")
        length += len(letters)
    if not number:
        raise _no_record(path)


def read_unchecked_records(path: str | PathLike[str], *, rna: bool = False) -> Iterator[Record]:
    """Yield the records of `read_unchecked_chunks`, each of them whole.

    Args:
        path: the file, as in `read_records`.
        rna: read U as T.

    Raises:
        InputError: as in `read_unchecked_chunks`.
    """
    yield from _unchecked(_raw_chunks(path), path, rna)


def read_unchecked_content(content: bytes, source: str, *, rna: bool = False) -> Iterator[Record]:
    """Yield the records of a file whose content is in memory, as `read_unchecked_records` does.

    Args:
        content: content of a FASTA, FASTQ, GenBank or 2bit file, decompressed.
        source: name of the file, for error messages.
        rna: read U as T.

    Raises:
        InputError: if the content is damaged, empty or of another format.
    """
    with input_errors(source):
        yield from _unchecked(_parse(io.BufferedReader(io.BytesIO(content)), source), source, rna)


def _unchecked(chunks: Iterator[RawChunk], path: str | PathLike[str], rna: bool) -> Iterator[Record]:
    """Yield records without checking their names, lengths and letters; raise InputError if there is none."""
    is_empty = True
    for header, letters in _join_chunks(chunks):
        is_empty = False
        name, description = _split_header(header)
        letters = letters.translate(_AS_DNA) if rna else letters
        yield Record(_printable(name), description, np.frombuffer(letters, np.uint8))
    if is_empty:
        raise _no_record(path)


def _printable(name: str) -> str:
    """Return a name with its unprintable letters escaped."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def _raw_chunks(path: str | PathLike[str], watch: Callable[[memoryview], object] | None = None) -> Iterator[RawChunk]:
    """Open and parse a file; every error of the system and of a format is an `InputError` that names the file."""
    with input_errors(path), open_binary(path, watch) as file:
        chunks = _parse(file, path)
        yield from _kept_secret(chunks) if is_private() else chunks


def _kept_secret(chunks: Iterator[RawChunk]) -> Iterator[RawChunk]:
    """Yield chunks; the names of their records are not shown from then on."""
    for header, letters in chunks:
        if header is not None:
            keep_secret([first_word(header, 0), header])
        yield header, letters


def _parse(file: BinaryFile, path: str | PathLike[str]) -> Iterator[RawChunk]:
    """Recognise the format by the first bytes of a file, and choose its parser."""
    kind = require_sequences(path, file.peek(START_BYTES))
    file = as_utf8(file, kind.encoding)
    start = file.peek(START_BYTES)
    if start.startswith(b"LOCUS "):
        return genbank_chunks(file, path)
    if start[:4] in MAGICS:
        return twobit_chunks(file, path)
    first = start.lstrip()
    if first[:1] == b"@":
        return fastq_chunks(file, path)
    if first and first[:1] not in b">#":
        raise no_header(path, first)
    return fasta_chunks(file, path)


def _join_chunks(chunks: Iterator[RawChunk]) -> Iterator[tuple[str, bytearray]]:
    """Join the chunks of each record."""
    header, letters = None, bytearray()
    for next_header, chunk in chunks:
        if next_header is not None:
            if header is not None:
                yield header, letters
            header, letters = next_header, bytearray()
        letters += chunk
    if header is not None:
        yield header, letters


def _no_record(path: str | PathLike[str]) -> InputError:
    """Build the error for a file without any record."""
    return InputError(f"{path}: no record in this file; a FASTA record is a line '>name' and lines of letters")


def _all_problems(
    naming: tuple[Any, ...], letters: bytearray, where: object, *, rna: bool, min_length: int
) -> list[InputError]:
    """List all problems of one record, in the order in which `read_chunks` finds them.

    Args:
        naming: arguments of `_check_name`.
        letters: letters of the record.
        where: file and record, for the error messages.
        rna: read U as T.
        min_length: shortest length allowed, in nt.
    """
    problems = []
    for check, arguments in (
        (_check_name, naming),
        (as_dna, (letters, where, 0, rna)),
        # `read_chunks` knows the length only at the end.
        (check_length, (len(letters), where, min_length, _LOWER if naming[-1] else "")),
    ):
        try:
            check(*arguments)
        except InputError as error:
            problems.append(error)
    return problems


def _split_header(header: str) -> tuple[str, str]:
    """Split a header into its first word and the rest."""
    name, *description = header.split(None, 1) or [""]
    return name, description[0].strip() if description else ""


def _check_name(name: str, header: str, where: object, seen: dict[str, SeenRecord], choice: str) -> None:
    """Check that a name is present and printable, and that no earlier record has it."""
    if not name:
        raise InputError(f"{where}: has no name; write one after the '>'")
    if not name.isprintable():
        raise InputError(f"{where}: unprintable character in the name; rename the record")
    if name in seen:
        earlier = seen[name]
        raise InputError(
            f"{where}: record {earlier.number} has the same name; their headers are {shorten(earlier.header)} and "
            f"{shorten(header)}; rename or drop one of them{choice}"
        )


def check_length(length: int, where: object, min_length: int, remedy: str = "") -> None:
    """Check that a sequence is long enough.

    Args:
        length: length of the sequence in nt.
        where: file and record, for the error message.
        min_length: shortest length allowed, in nt; an empty sequence is never allowed.
        remedy: what to do besides dropping it, for the error message.

    Raises:
        InputError: if it is too short.
    """
    if length == 0:
        raise InputError(f"{where}: is empty; drop it")
    if length < min_length:
        raise InputError(f"{where}: {length} nt is shorter than the {min_length} nt needed; drop it{remedy}")


def as_dna(letters: Bytes, where: object, before: int = 0, rna: bool = False) -> Bytes:
    """Check that all letters are nucleotides, and read U as T on request.

    Args:
        letters: nucleotides in upper or lower case.
        where: file and record, for the error message.
        before: number of nt in the record before these letters.
        rna: read U as T.

    Returns:
        The letters, with T for U if ``rna``.

    Raises:
        InputError: at the first letter that is not a nucleotide, with its 1-based position.
    """
    if rna:
        letters = letters.translate(_AS_DNA)
    if (index := find_wrong_letter(letters)) is not None:
        raise letter_error(letter_at(letters, index), before + index + 1, where)
    return letters


def letter_at(letters: bytes | bytearray, index: int) -> str:
    """Return the letter that starts at an index: UTF-8, which may have up to four bytes, or otherwise Latin-1.

    Args:
        letters: letters of a file.
        index: index of a byte.
    """
    letter = letters[index : index + 4].decode("utf-8", "replace")[0]
    return chr(letters[index]) if letter == "\ufffd" else letter


def find_wrong_letter(letters: bytes | bytearray) -> int | None:
    """Return the index of the first letter that is not a nucleotide, or None."""
    strange = letters.translate(None, _NUCLEOTIDES)  # delete all nucleotides; what remains is wrong
    return letters.index(strange[:1]) if strange else None


def clean_letters(letters: np.ndarray, rna: bool = False) -> np.ndarray:
    """Return a copy of letters in which every letter that is not a nucleotide is 0.

    Args:
        letters: uint8 ASCII, any shape.
        rna: read U as T.
    """
    return (_CLEAN_RNA if rna else _CLEAN)[letters]


def letter_error(letter: str, position: int, where: object) -> InputError:
    """Build the error for a letter that is not a nucleotide.

    Args:
        letter: the letter.
        position: its 1-based position in the record.
        where: file and record.
    """
    remedy = _REMEDIES.get(letter.upper(), "only A, C, G, T, N and the IUPAC codes RYSWKMBDHV are nucleotides")
    return InputError(f"{where}, position {position}: {letter!r} is not a DNA letter; {remedy}")


def _cleaning_table(rna: bool) -> np.ndarray:
    """Map each byte to itself if it is a nucleotide, to 0 otherwise."""
    table = np.zeros(256, np.uint8)
    allowed = as_letters(IUPAC + IUPAC.lower())
    table[allowed] = allowed
    if rna:
        table[ord("U")], table[ord("u")] = ord("T"), ord("t")
    return table


_CLEAN, _CLEAN_RNA = _cleaning_table(rna=False), _cleaning_table(rna=True)
