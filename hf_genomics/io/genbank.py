"""Take GenBank flat files apart: name, definition and letters of every record, in parts of bounded size.

Biopython reads all of a record, features included, five times slower and at four times a contig's size; here only a few
keywords count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike

from ..errors import InputError
from .fastx import Part
from .files import BinaryFile, shorten

_LINES = 4096  # of 60 nt, in one part
_FIELDS = (b"LOCUS", b"DEFINITION", b"ACCESSION", b"VERSION", b"//")


def genbank_parts(file: BinaryFile, path: str | PathLike[str]) -> Iterator[Part]:
    """Yield the records of a GenBank file in parts; names are accession.version.

    GenBank writes all letters in lower case, which says nothing about soft masking: they come in upper case.

    Raises:
        InputError: for a record without letters, without an end, or of another length than its LOCUS line says.
    """
    lines = iter(file)
    number = 0
    while fields := _read_fields(lines):
        number += 1
        name = _first_word(fields, b"VERSION") or _first_word(fields, b"ACCESSION") or _first_word(fields, b"LOCUS")
        where = f"{path}: record {number} ({shorten(name)})"
        header: str | None = f"{name} {_text(fields, b'DEFINITION').rstrip('.')}"
        length = 0
        for letters in _read_letters(lines, where) if b"//" not in fields else ():
            yield header, letters
            header, length = None, length + len(letters)
        if not length:
            raise InputError(
                f"{where}: has no letters (ORIGIN), as happens with large genomes; "
                "fetch it again with its sequence (rettype gbwithparts)"
            )
        stated = re.search(rb"\s(\d+) (?:bp|aa|rc)\b", fields.get(b"LOCUS", b""))
        if stated and int(stated[1]) != length:
            raise InputError(
                f"{where}: {length} letters where LOCUS says {int(stated[1])}; the file is damaged, fetch it again"
            )


def _read_fields(lines: Iterator[bytes]) -> dict[bytes, bytes]:
    """Read up to the letters of the next record, or to the ``//`` of one without; empty at the end of the file."""
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
    return fields.get(key, b"").decode("utf-8", "backslashreplace")


def _first_word(fields: dict[bytes, bytes], key: bytes) -> str:
    return next(iter(_text(fields, key).split()), "")


def _read_letters(lines: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Yield the letters up to the ``//`` that ends a record, without the numbers that start its lines."""
    batch: list[bytes] = []
    for line in lines:
        if line.startswith(b"//"):
            break
        number, _, blocks = line.strip().partition(b" ")
        batch.append(blocks if number.isdigit() else line.strip())
        if len(batch) == _LINES:
            yield _join(batch)
            batch = []
    else:
        raise InputError(f"{where}: no // at its end; the file is cut short, fetch it again")
    if letters := _join(batch):
        yield letters


def _join(blocks: list[bytes]) -> bytes:
    return b"".join(blocks).replace(b" ", b"").upper()
