"""Parse GenBank flat files: name, definition and letters of every record, in chunks of bounded size.

Only a few keywords are read. Biopython, which also reads the features, is five times slower and needs four times as
much memory as the sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike

from ..errors import InputError, keep_secret
from ..io.files import BinaryFile, shorten
from .fastx import RawChunk

_LINES = 4096  # number of lines (of 60 nt) in one chunk
_FIELDS = (b"LOCUS", b"DEFINITION", b"ACCESSION", b"VERSION", b"ORIGIN", b"//")


def genbank_chunks(file: BinaryFile, path: str | PathLike[str]) -> Iterator[RawChunk]:
    """Yield the records of a GenBank file in chunks; names are accession.version.

    Letters are yielded in upper case: GenBank writes all of them in lower case, which, unlike in FASTA, does not mark
    repeats.

    Args:
        file: the open file.
        path: its name, for error messages.

    Yields:
        Header (in the first chunk of a record) and letters.

    Raises:
        InputError: if a record has no name, no letters or no end, or if its length differs from the one in its LOCUS
            line.
    """
    lines = iter(file)
    number = 0
    while fields := _read_fields(lines):
        number += 1
        name = _first_word(fields, b"VERSION") or _first_word(fields, b"ACCESSION") or _first_word(fields, b"LOCUS")
        if not name:
            raise InputError(
                f"{path}: record {number} has no name (VERSION, ACCESSION or LOCUS); the file is damaged, "
                "fetch it again"
            )
        keep_secret([name])
        where = f"{path}: record {number} ({shorten(name)})"
        header: str | None = f"{name} {_text(fields, b'DEFINITION').rstrip('.')}"
        length = 0
        # ORIGIN is the line before the letters. Fields that end with // instead belong to a record without letters.
        chunks = () if b"//" in fields else _read_letters(lines, where)
        for letters in chunks:
            yield header, letters
            header, length = None, length + len(letters)
        if not length:
            raise InputError(
                f"{where}: has no letters (ORIGIN), which is usual for large genomes; "
                "fetch it again with its sequence (rettype gbwithparts)"
            )
        # Units of a length: base pairs, amino acids, or records (of an entry that only lists other records).
        stated = re.search(rb"\s(\d+) (?:bp|aa|rc)\b", fields.get(b"LOCUS", b""))
        if stated and int(stated[1]) != length:
            raise InputError(
                f"{where}: {length} letters where LOCUS says {int(stated[1])}; the file is damaged, fetch it again"
            )


def _read_fields(lines: Iterator[bytes]) -> dict[bytes, bytes]:
    """Read the fields of the next record, up to its ORIGIN line, or up to ``//`` if there is none.

    Returns:
        Text by keyword, with ORIGIN or ``//`` as the last one, unless the file ends before; {} at the end of the file.
    """
    fields: dict[bytes, bytes] = {}
    key = b""
    for line in lines:
        if line[:1] not in b" \r\n":
            key, _, rest = line.rstrip().partition(b" ")
            if key in _FIELDS:
                fields[key] = rest.strip()
            if key in (b"ORIGIN", b"//"):
                break
        elif key == b"DEFINITION":
            fields[key] += b" " + line.strip()
    return fields


def _text(fields: dict[bytes, bytes], key: bytes) -> str:
    """Return the text of a field, "" if it is missing."""
    return fields.get(key, b"").decode("utf-8", "backslashreplace")


def _first_word(fields: dict[bytes, bytes], key: bytes) -> str:
    """Return the first word of a field, "" if there is none."""
    return next(iter(_text(fields, key).split()), "")


def _read_letters(lines: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Yield the letters up to the ``//`` that ends a record, without the numbers at the start of lines."""
    batch: list[bytes] = []
    for line in lines:
        if line.startswith(b"//"):
            break
        number, _, blocks = line.strip().partition(b" ")
        batch.append(blocks if number.isdigit() else line.strip())
        if len(batch) == _LINES:
            yield _join_blocks(batch)
            batch = []
    else:
        raise InputError(f"{where}: no // at its end; the file is cut short, fetch it again")
    if letters := _join_blocks(batch):
        yield letters


def _join_blocks(blocks: list[bytes]) -> bytes:
    """Join blocks of ten letters."""
    return b"".join(blocks).replace(b" ", b"").upper()
