"""VCF files as text: lines are checked, column INFO is extended, and every other byte stays as it was.

Files are read as UTF-8. Bytes that are not UTF-8 become characters that stand for them (Python's "surrogateescape"),
and are written as the same bytes again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..errors import InputError, keep_secret
from ..io.files import input_errors, open_binary, shorten
from ..io.genome_tracks import MOST_DIGITS

#: Prefix of the fields that this package adds to column INFO.
PREFIX = "HFG_"
_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_OUR_HEADERS = ("##hf_genomics", f"##INFO=<ID={PREFIX}")
_INFO_ID = re.compile(r"##INFO=<ID=([^,>]+)")
_REF = re.compile(r"[ACGTURYSWKMBDHVNacgturyswkmbdhvn]+")
_ALT = re.compile(
    r"[ACGTURYSWKMBDHVNacgturyswkmbdhvn]+"  # letters
    r"|\*|\."  # deleted by another variant; no allele
    r"|<[^<>,\s]+>"  # a symbolic allele, such as <DEL>
    r"|[^\s,]*[\[\]][^\s,]*"  # a breakend, such as G]chr2:321681]
    r"|\.[A-Za-z]+|[A-Za-z]+\."  # a breakend without a mate, such as G.
)
# First bytes of files that users take for VCF. The remedies differ from those of io/kinds.py, which lead to sequences.
_OTHER_FORMATS = {
    b"BCF": "BCF; convert it with bcftools view -O z",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"\xef\xbb\xbf": "text with a byte order mark; save it as UTF-8 without BOM",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"BZh": "bzip2; decompress it or use bgzip",
    b"\xfd7zXZ": "xz; decompress it or use bgzip",
    b"(\xb5/\xfd": "zstandard; decompress it or use bgzip",
    b">": "FASTA; name it with --fasta, and the variants with --vcf",
    b"PAR1": "Parquet; give a VCF file",
    b"##gff": "GFF; give a VCF file",
}


class Line(NamedTuple):
    """A record of a VCF file.

    Attributes:
        where: file and line, for error messages.
        text: the line with its end, as it is in the file.
        chrom: column CHROM.
        position: column POS, 1-based; 0 stands for the telomere before the first nucleotide.
        id: column ID.
        ref: column REF.
        alts: alleles of column ALT; ``["."]`` for none.
    """

    where: str
    text: str
    chrom: str
    position: int
    id: str
    ref: str
    alts: list[str]


class Header(NamedTuple):
    """The header of a VCF file.

    Attributes:
        lines: all lines with their ends; the last one begins with ``#CHROM``.
        columns: number of columns of each record.
        declared: ids of the declared INFO fields.
    """

    lines: list[str]
    columns: int
    declared: list[str]


def read_vcf(path: str, watch: Callable[[memoryview], object] | None = None) -> tuple[Header, Iterator[Line]]:
    """Read a VCF file, plain or compressed: its header, and its records, one at a time as they are needed.

    Args:
        path: the file.
        watch: called with the bytes on disk as they are read, such as for a progress bar.

    Raises:
        InputError: naming file, line and column; at once for the header, and for a record when it is reached.
    """
    numbered = _lines(path, watch)
    header = _read_header(path, numbered)
    return header, (_parse(line, f"{path}: line {number}", header.columns) for number, line in numbered)


def _lines(path: str, watch: Callable[[memoryview], object] | None) -> Iterator[tuple[int, str]]:
    """Iterate over the lines of a file with their ends, numbered from 1."""
    with input_errors(path), open_binary(path, watch) as file:
        start = bytes(file.peek(8)[:8])
        for magic, verdict in _OTHER_FORMATS.items():
            if start.startswith(magic):
                raise InputError(f"{path}: this looks like {verdict}")
        for number, line in enumerate(file, start=1):
            yield number, line.decode("utf-8", "surrogateescape")


def _read_header(path: str, numbered: Iterator[tuple[int, str]]) -> Header:
    """Read the lines of the header."""
    lines: list[str] = []
    for number, line in numbered:
        if "\r" in line.rstrip("\r\n"):
            raise InputError(
                f"{path}: line {number} has a carriage return without a line feed (old Mac line ends); "
                "convert the file, for example with tr '\\r' '\\n'"
            )
        if number == 1 and not line.startswith("##fileformat=VCF"):
            raise InputError(f"{path}: line 1 is not '##fileformat=VCFv4.x'; give a VCF file, with its header")
        if line.startswith("##"):
            lines.append(line)
            continue
        names = line.rstrip("\r\n").split("\t")
        if not line.startswith("#"):
            raise InputError(f"{path}: line {number} is not a header line, but '#CHROM POS ID ...' is still missing")
        if tuple(names[:8]) != _COLUMNS:
            raise InputError(
                f"{path}: line {number}: {_wrong_column(names)}; the columns must be {' '.join(_COLUMNS)}, separated "
                "by tabs; write the line again"
            )
        lines.append(line)
        declared = [match[1] for text in lines if (match := _INFO_ID.match(text))]
        return Header(lines, len(names), declared)
    raise InputError(f"{path}: the line '#CHROM POS ID ...' is missing; give a complete VCF file")


def _wrong_column(names: list[str]) -> str:
    """Describe the first column of a header that is not as it must be."""
    for name, known in zip(names, _COLUMNS, strict=False):
        if name != known:
            return f"{shorten(name, 30)} is not {known}"
    return f"column {_COLUMNS[len(names)]} is missing"


def _parse(text: str, where: str, columns: int) -> Line:
    """Check a record.

    Args:
        text: the line with its end.
        where: file and line, for error messages.
        columns: number of columns in the header.
    """
    cells = text.rstrip("\n").removesuffix("\r").split("\t")
    if len(cells) != columns:
        if not text.strip():
            raise InputError(f"{where} is empty; delete it")
        hint = "; separate the columns by tabs, not blanks" if len(text.split()) >= columns > len(cells) else ""
        raise InputError(
            f"{where} has {len(cells)} columns, but the header has {columns}{hint or '; complete or delete the line'}"
        )
    chrom, position, identifier, ref, alt = cells[:5]
    keep_secret((chrom, identifier))  # in a private run, none of the messages below shows them
    for name, cell in zip(_COLUMNS, cells, strict=False):
        if not cell.strip():
            needed = name in ("#CHROM", "POS", "REF")
            remedy = "complete or delete the line" if needed else "write '.' for a missing value"
            raise InputError(f"{where}, column {name.lstrip('#')} is empty; {remedy}")
        if cell != cell.strip(" ") or (" " in cell and name not in ("INFO", "FILTER")):
            raise InputError(f"{where}, column {name.lstrip('#')}: {shorten(cell, 30)} has blanks; remove them")
    if not (position.isascii() and position.isdigit() and len(position) <= MOST_DIGITS):
        raise InputError(f"{where}, column POS: {shorten(position, 30)} is not a whole number, 0 or more; fix it")
    if not _REF.fullmatch(ref):
        raise InputError(
            f"{where}, column REF: {shorten(ref, 20)} is not a nucleotide sequence; fix the line or delete it"
        )
    alts = alt.split(",")
    if "." in alts and len(alts) > 1:
        raise InputError(f"{where}, column ALT: '.', no allele, stands beside other alleles; delete the '.'")
    for allele in alts:
        if not _ALT.fullmatch(allele):
            raise InputError(
                f"{where}, column ALT: {shorten(allele, 20)} is neither a nucleotide sequence nor '*', '.', <NAME> or "
                "a breakend; fix the line or delete it"
            )
    return Line(where, text, chrom, int(position), identifier, ref, alts)


def add_header(header: Header, fields: dict[str, str], facts: dict[str, str]) -> list[str]:
    """Return the header with the fields that this package adds declared before the line of column names.

    Args:
        header: the header.
        fields: id of each field, and the rest of its declaration (``Number=A,Type=Float,Description="..."``).
        facts: further lines by name, such as ``hf_genomicsVersion``.
    """
    end = _line_end(header.lines[0]) or "\n"
    added = [f"##INFO=<ID={name},{rest}>{end}" for name, rest in fields.items()]
    added += [f"##{name}={value}{end}" for name, value in facts.items()]
    return [*header.lines[:-1], *added, header.lines[-1]]


def _line_end(line: str) -> str:
    """Return the characters that end a line."""
    return line[len(line.rstrip("\r\n")) :]


def add_info(text: str, values: dict[str, str]) -> str:
    r"""Return a record with fields added to column INFO; all other bytes stay as they are.

    Args:
        text: the line with its end.
        values: id and value of each field; empty for none.

    >>> add_info("1\t5\t.\tA\tT\t.\t.\tDP=3\n", {"HFG_LLR": "-1.5"})
    '1\t5\t.\tA\tT\t.\t.\tDP=3;HFG_LLR=-1.5\n'
    """
    if not values:
        return text
    end = _line_end(text)
    cells = text[: len(text) - len(end)].split("\t")
    added = ";".join(f"{name}={value}" for name, value in values.items())
    cells[7] = added if cells[7] == "." else f"{cells[7]};{added}"
    return "\t".join(cells) + end


def strip_info(text: str) -> str:
    """Return a record without the fields of this package in column INFO: the opposite of `add_info`."""
    if PREFIX not in text:
        return text
    end = _line_end(text)
    cells = text[: len(text) - len(end)].split("\t")
    entries = cells[7].split(";")
    kept = [entry for entry in entries if not entry.startswith(PREFIX)]
    if len(kept) < len(entries):
        cells[7] = ";".join(kept) or "."
    return "\t".join(cells) + end


def strip_header(lines: Sequence[str]) -> list[str]:
    """Return the lines of a header without those that `add_header` adds: the opposite of it."""
    return [line for line in lines if not line.startswith(_OUR_HEADERS)]


def refuse_fields(path: str, header: Header) -> None:
    """Refuse a file that this package has scored before, in which a second run would mix the scores of two models.

    Raises:
        InputError: naming the first declared field.
    """
    for name in header.declared:
        if name.startswith(PREFIX):
            raise InputError(
                f"{path}: the header declares {name} already, so the file has been scored before; give the original "
                "file, or add --overwrite_fields true"
            )


def refuse_info(line: Line) -> None:
    """Refuse a record that has scores of this package, although the header does not declare them.

    Raises:
        InputError: naming the line and the field.
    """
    if PREFIX not in line.text:
        return
    for entry in line.text.rstrip("\r\n").split("\t")[7].split(";"):
        if entry.startswith(PREFIX):
            raise InputError(
                f"{line.where}, column INFO has {entry.partition('=')[0][:40]} already; give the original file, or add "
                "--overwrite_fields true"
            )
