"""Lists of accessions: which sequences somebody wants from the public databases, and what is known about them."""

from __future__ import annotations

import re
from os import PathLike
from typing import NamedTuple

from ..errors import InputError
from ..io.files import input_errors, open_binary, shorten
from ..io.text_tables import MISSING, read_text_columns

# Letters and digits as the databases give them out: U49845, NC_001416.1, NZ_CP012345.1, LAAO01000012.
_ACCESSION = re.compile(r"[A-Z]{1,6}(_[A-Z]{0,6})?[0-9]{5,}(\.[0-9]+)?")
_OTHERS = {
    re.compile(r"GC[AF]_[0-9.]+"): "names an assembly; list the accessions of its sequences",
    re.compile(r"[SED]R[RXSPZ][0-9]+"): "names sequencing reads; give accessions of assembled sequences",
    re.compile(r"[ANYXW]P_[0-9.]+"): "names a protein; give the accession of its DNA",
    re.compile(r"[0-9]+"): "is a GI number or a row number; give the accession, such as NC_001416.1",
}
_MD5 = re.compile(r"[0-9a-f]{32}")


class Wanted(NamedTuple):
    """One line of a list.

    Attributes:
        accession: upper case, with version (NC_001416.1: this very sequence) or without (the newest version).
        length: nt, where the list says so.
        sequence_md5: MD5 of the upper-case letters (the M5 of SAM headers), where the list says so.
        facts: all other columns of the table.
    """

    accession: str
    length: int | None = None
    sequence_md5: str | None = None
    facts: dict[str, str] = {}

    def is_answered_by(self, accession: str) -> bool:
        """Tell whether a versioned accession is what was asked for.

        >>> Wanted("NC_001416").is_answered_by("NC_001416.1"), Wanted("NC_001416.2").is_answered_by("NC_001416.1")
        (True, False)
        """
        return accession == self.accession or accession.rpartition(".")[0] == self.accession


def version_of(accession: str) -> int:
    """Give the version of an accession, 0 without one.

    >>> version_of("NC_001416.10"), version_of("NC_001416")
    (10, 0)
    """
    return int(accession.partition(".")[2] or 0)


def read_accessions(path: str | PathLike[str]) -> list[Wanted]:
    """Read a list of accessions: one a line, or a table (CSV, TSV, Parquet) with a column ``accession``.

    Columns ``length`` (nt) and ``sequence_md5`` (or ``md5``) hold what the sequence must have. Lines that repeat an
    earlier one are taken once; empty lines and those that begin with # do not count in a plain list.

    Raises:
        InputError: naming the line or row that is no accession, says something else about one named before, or holds a
            length or digest that is none.
    """
    rows = _table_rows(path) if _is_table(path) else _plain_rows(path)
    wanted: dict[str, tuple[str, Wanted]] = {}
    for where, cells in rows:
        entry = _entry(where, cells)
        first, there = wanted.setdefault(entry.accession, (where, entry))
        if there != entry:
            raise InputError(f"{where}: {entry.accession} is in {first} with other facts; keep one of them")
    if not wanted:
        raise InputError(f"{path}: no accession in this list; write one a line")
    return [entry for _, entry in wanted.values()]


def _is_table(path: str | PathLike[str]) -> bool:
    """Tell a table by its first line (or as Parquet); a plain list has one word a line."""
    with input_errors(path), open_binary(path) as file:
        start = file.peek(1 << 16)
    if start[:4] == b"PAR1":
        return True
    lines = [line for line in start.splitlines() if line.strip() and not line.startswith(b"#")]
    first = lines[0].removeprefix(b"\xef\xbb\xbf").strip() if lines else b""
    return b"\t" in first or b"," in first or first.lower() == b"accession"


def _plain_rows(path: str | PathLike[str]) -> list[tuple[str, dict[str, str]]]:
    with input_errors(path), open_binary(path) as file:
        lines = file.read().decode("utf-8-sig").splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    return [(f"{path}: line {number}", {"accession": text}) for number, text in numbered if text and text[0] != "#"]


def _table_rows(path: str | PathLike[str]) -> list[tuple[str, dict[str, str]]]:
    frame = read_text_columns(path, ["accession"])
    records = [{str(name): str(cell).strip() for name, cell in row.items()} for row in frame.to_dict("records")]
    return [(f"{path}: data row {number}", record) for number, record in enumerate(records, start=1)]


def _entry(where: str, cells: dict[str, str]) -> Wanted:
    """Check one line."""
    accession, *facts = (_take(cells, *names) for names in (("accession",), ("length",), ("sequence_md5", "md5")))
    length, digest = facts
    accession = accession.upper()
    for pattern, hint in _OTHERS.items():
        if pattern.fullmatch(accession):
            raise InputError(f"{where}: {shorten(accession)} {hint}")
    if not _ACCESSION.fullmatch(accession):
        raise InputError(f"{where}: {shorten(accession)} is no accession; write it as NC_001416.1 or NC_001416")
    if length and (not length.isdecimal() or int(length) == 0):
        raise InputError(f"{where}: length {shorten(length)} is no number of nt; mend it or leave the cell empty")
    if digest and not _MD5.fullmatch(digest.lower()):
        raise InputError(
            f"{where}: sequence_md5 {shorten(digest)} is not an MD5 of 32 hexadecimal digits; mend it or leave it empty"
        )
    return Wanted(accession, int(length) if length else None, digest.lower() or None, cells)


def _take(cells: dict[str, str], *names: str) -> str:
    """Take the first filled cell of these columns out of a row."""
    found = [cells.pop(name) for name in names if name in cells]
    return next((cell for cell in found if cell.lower() not in MISSING), "")
