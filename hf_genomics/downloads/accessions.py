"""Read lists of accessions: which sequences to fetch from the public databases, and what is known about them."""

from __future__ import annotations

import re
from os import PathLike
from typing import NamedTuple

from ..errors import InputError
from ..io.files import input_errors, open_binary, shorten
from ..io.kinds import EMPTY, LETTERS, START_BYTES, decode_start, kind_of_start, require_table
from ..io.text_tables import MISSING, like_column, log_headings, read_text_columns

# Letters and digits as the databases assign them: U49845, NC_001416.1, NZ_CP012345.1, LAAO01000012.
_ACCESSION = re.compile(r"[A-Z]{1,6}(_[A-Z]{0,6})?[0-9]{5,}(\.[0-9]+)?")
#: Identifiers that are often taken for accessions of sequences, and what to give instead.
_OTHER_IDENTIFIERS = {
    re.compile(r"GC[AF]_[0-9.]+"): "names an assembly; list the accessions of its sequences",
    re.compile(r"[SED]R[RXSPZ][0-9]+"): "names sequencing reads; give accessions of assembled sequences",
    re.compile(r"[ANYXW]P_[0-9.]+"): "names a protein; give the accession of its DNA",
    re.compile(r"[0-9]+"): "is a GI number or a row number; give the accession, such as NC_001416.1",
}
_MD5 = re.compile(r"[0-9a-f]{32}")


class AccessionRequest(NamedTuple):
    """One line of a list: a sequence to fetch, and what must be true of it.

    Attributes:
        accession: upper case, with version (NC_001416.1: exactly this sequence) or without (the newest version in
            the database).
        length: length in nt, if the list has it.
        sequence_md5: MD5 of the upper-case letters (the M5 of SAM headers), if the list has it.
        other_columns: all other columns of the table, by name.
    """

    accession: str
    length: int | None = None
    sequence_md5: str | None = None
    other_columns: dict[str, str] = {}

    def matches(self, accession: str) -> bool:
        """Return whether a record with this versioned accession is the requested one.

        >>> AccessionRequest("NC_001416").matches("NC_001416.1"), AccessionRequest("NC_001416.2").matches("NC_001416.1")
        (True, False)
        """
        return accession == self.accession or accession.rpartition(".")[0] == self.accession


def version_of(accession: str) -> int:
    """Return the version of an accession, 0 if it has none.

    >>> version_of("NC_001416.10"), version_of("NC_001416")
    (10, 0)
    """
    return int(accession.partition(".")[2] or 0)


def read_accessions(path: str | PathLike[str]) -> list[AccessionRequest]:
    """Read a list of accessions: one on each line, or a table (CSV, TSV, Parquet, Excel) with a column ``accession``.

    Columns ``length`` (nt) and ``sequence_md5`` (or ``md5``) hold the length and MD5 that a sequence must have. A line
    that repeats an earlier one counts once. In a plain list, empty lines and lines that begin with # are skipped.

    Args:
        path: the list.

    Returns:
        One request for each accession, in the order of the list.

    Raises:
        InputError: if a line or row holds no accession, an invalid length or MD5, or values that differ from those of
            an earlier line with the same accession; the message names the line.
    """
    rows = _table_rows(path) if _is_table(path) else _plain_rows(path)
    requests: dict[str, tuple[str, AccessionRequest]] = {}
    for where, cells in rows:
        request = _read_request(where, cells)
        first_place, first = requests.setdefault(request.accession, (where, request))
        if first != request:
            raise InputError(
                f"{where}: {request.accession} is also in {first_place}, with different values; keep one of the two"
            )
    if not requests:
        raise InputError(f"{path}: this list has no accessions; write one per line")
    return [request for _, request in requests.values()]


def _is_table(path: str | PathLike[str]) -> bool:
    """Return whether a list is a table: Parquet, Excel, or text whose first line has a separator or is "accession"."""
    # Not `text_tables.kind_of`, which takes a plain list of words for a table with one column.
    with input_errors(path), open_binary(path) as file:
        start = file.peek(START_BYTES)
    if kind_of_start(start) in (EMPTY, LETTERS):  # only comments, or a word such as ACGT, which is not an accession
        return False
    kind = require_table(path, start)
    lines = [line for line in decode_start(start, kind.encoding).splitlines() if line.strip()[:1] not in ("", "#")]
    first = lines[0].strip() if lines else ""
    return kind.reader in ("parquet", "excel") or bool(set(first) & set("\t,;")) or first.lower() == "accession"


def _plain_rows(path: str | PathLike[str]) -> list[tuple[str, dict[str, str]]]:
    """Read the lines of a plain list, each with its file and line number for error messages."""
    with input_errors(path), open_binary(path) as file:
        encoding = kind_of_start(file.peek(START_BYTES)).encoding
        lines = file.read().decode(encoding).splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    return [(f"{path}: line {number}", {"accession": text}) for number, text in numbered if text and text[0] != "#"]


def _table_rows(path: str | PathLike[str]) -> list[tuple[str, dict[str, str]]]:
    """Read the rows of a table, each with its file and row number for error messages."""
    frame = read_text_columns(path, ["accession"])  # this column must be there; all others are read as well
    taken = {like_column(name, frame.columns): name for name in ("length", "sequence_md5", "md5")}
    log_headings(path, {column: name for column, name in taken.items() if column in frame})
    frame = frame.rename(columns=taken)
    records = [{str(name): str(cell).strip() for name, cell in row.items()} for row in frame.to_dict("records")]
    return [(f"{path}: data row {number}", record) for number, record in enumerate(records, start=1)]


def _read_request(where: str, cells: dict[str, str]) -> AccessionRequest:
    """Check the cells of one line and build its request."""
    accession = _pop_filled(cells, "accession").upper()
    length = _pop_filled(cells, "length")
    digest = _pop_filled(cells, "sequence_md5", "md5").lower()
    for pattern, hint in _OTHER_IDENTIFIERS.items():
        if pattern.fullmatch(accession):
            raise InputError(f"{where}: {shorten(accession)} {hint}")
    if not _ACCESSION.fullmatch(accession):
        raise InputError(f"{where}: {shorten(accession)} is not an accession; write it as NC_001416.1 or NC_001416")
    if length and (not length.isdecimal() or len(length) > 18 or int(length) == 0):
        raise InputError(f"{where}: length {shorten(length)} is not a number of nt; correct it or leave the cell empty")
    if digest and not _MD5.fullmatch(digest):
        raise InputError(
            f"{where}: sequence_md5 {shorten(digest)} is not an MD5 of 32 hexadecimal digits; correct it or leave the "
            "cell empty"
        )
    return AccessionRequest(accession, int(length) if length else None, digest or None, cells)


def _pop_filled(cells: dict[str, str], *names: str) -> str:
    """Remove some columns from a row and return the first cell of them that is filled, "" if there is none."""
    found = [cells.pop(name) for name in names if name in cells]
    return next((cell for cell in found if cell.lower() not in MISSING), "")
