"""Recognise what a file is by its first bytes: one function for all commands, whatever the name of the file says.

A kind that is neither sequences nor a table has a name and a remedy, too, so that the message about a wrong file says
what the file is. BED and GFF are such kinds; commands that need regions accept them by `require_text`.
"""

from __future__ import annotations

import codecs
import re
from os import PathLike
from typing import Literal, NamedTuple, TypeAlias

from ..errors import InputError, keep_secret
from ..sequence import IUPAC

Reader: TypeAlias = Literal["sequences", "table", "parquet", "excel", "nothing"]

START_BYTES = 1 << 16  # bytes at the beginning of a file that decide on its kind
#: First bytes of 2bit files in either byte order.
TWOBIT_MAGICS = (b"\x43\x27\x41\x1a", b"\x1a\x41\x27\x43")


class FileKind(NamedTuple):
    """A kind of file.

    `require_text` and `require_table` look for words in names and remedies, so check them when you change these.

    Attributes:
        name: the kind, as an error message calls it.
        reader: what reads it: the reader of sequences, of text tables, of Parquet tables or of Excel workbooks, or none
            of them ("nothing", as for BED and GFF, which other commands read line by line).
        remedy: what to do about a file that none of them reads.
        encoding: encoding, if it is text; "utf-8-sig" is UTF-8 with or without a byte order mark.
    """

    name: str
    reader: Reader = "nothing"
    remedy: str = "give FASTA, FASTQ, GenBank or 2bit"
    encoding: str = "utf-8-sig"


_GENOME = "give the FASTA of the genome"
_TABLE_OR_FASTA = "save it as CSV (UTF-8), or give FASTA"
_SHEET = "save the sheet as CSV (UTF-8)"
_NOT_DNA = "give a file of sequences or a table"

EMPTY = FileKind("empty")
FASTA = FileKind("FASTA", "sequences")
LETTERS = FileKind("sequence letters without a header line")  # the reader of FASTA says what is missing
BINARY = FileKind("a file that is not text, of no known format", remedy=_NOT_DNA)
TABLE = FileKind("a CSV or TSV table", "table")
PARQUET = FileKind("Parquet", "parquet")

# The order of entries matters where one beginning is part of another.
_MAGICS: dict[bytes, FileKind] = {
    b"PAR1": PARQUET,
    **{magic: FileKind("2bit", "sequences") for magic in TWOBIT_MAGICS},
    b"BAM\x01": FileKind("BAM", remedy="convert it to FASTQ (samtools fastq)"),
    b"CRAM": FileKind("CRAM", remedy="convert it to FASTQ (samtools fastq)"),
    b"BCF\x02": FileKind("BCF", remedy=_GENOME),
    b"\x26\xfc\x8f\x88": FileKind("bigWig, which holds no sequence", remedy="give FASTA"),
    b"\x88\x8f\xfc\x26": FileKind("bigWig, which holds no sequence", remedy="give FASTA"),
    b"\xeb\xf2\x89\x87": FileKind("bigBed, which holds no sequence", remedy="give FASTA"),
    b"\x87\x89\xf2\xeb": FileKind("bigBed, which holds no sequence", remedy="give FASTA"),
    b"ABIF": FileKind("an ABI trace", remedy="convert it to FASTQ"),
    b".sff": FileKind("SFF", remedy="convert it to FASTQ (sff2fastq)"),
    b"\x89HDF": FileKind("HDF5 (fast5, h5ad)", remedy="export the sequences as FASTA or FASTQ, or the table as CSV"),
    b"\x8bPOD": FileKind("POD5", remedy="call its bases first, and give the FASTQ"),
    b"ARROW1": FileKind("an Arrow (Feather) table", remedy="save it as Parquet or CSV"),
    b"FEA1": FileKind("an Arrow (Feather) table", remedy="save it as Parquet or CSV"),
    b"\x93NUMPY": FileKind("a NumPy array", remedy="save it as Parquet or CSV"),
    b"SQLite format 3\0": FileKind("an SQLite database", remedy="export the table as CSV"),
    b"\xd0\xcf\x11\xe0": FileKind("an old Office file (xls, doc)", remedy=_SHEET),
    b"%PDF": FileKind("PDF", remedy=_NOT_DNA),
    b"\x89PNG": FileKind("an image", remedy=_NOT_DNA),
    b"\xff\xd8\xff": FileKind("an image", remedy=_NOT_DNA),
    b"GIF8": FileKind("an image", remedy=_NOT_DNA),
    b"{\\rtf": FileKind("an RTF document", remedy="save it as plain text"),
    b"\x7fELF": FileKind("a program", remedy=_NOT_DNA),
    b"BZh": FileKind("bzip2", remedy="decompress it (bunzip2) or use gzip"),
    b"\xfd7zXZ": FileKind("xz", remedy="decompress it (unxz) or use gzip"),
    b"\x28\xb5\x2f\xfd": FileKind("zstandard", remedy="decompress it (unzstd) or use gzip"),
    b"\x04\x22\x4d\x18": FileKind("lz4", remedy="decompress it (unlz4) or use gzip"),
    b"\x1f\x9d": FileKind("compress (.Z)", remedy="decompress it (uncompress) or use gzip"),
    b"7z\xbc\xaf\x27\x1c": FileKind("a 7z archive", remedy="unpack it"),
    b"Rar!": FileKind("a RAR archive", remedy="unpack it"),
    b"\x1f\x8b": FileKind("gzip inside gzip", remedy="decompress it once"),
}
_ZIPS = {
    b"xl/": FileKind("an Excel workbook (xlsx)", "excel"),
    b"word/": FileKind("a Word document (docx)", remedy="save it as plain text"),
    b"opendocument.spreadsheet": FileKind("a LibreOffice spreadsheet (ods)", remedy=_SHEET),
    b"opendocument.text": FileKind("a LibreOffice document (odt)", remedy="save it as plain text"),
    b"data.pkl": FileKind("weights saved by torch.save", remedy=_NOT_DNA),
    b".npy": FileKind("NumPy arrays (npz)", remedy="save them as Parquet or CSV"),
}
# First line of text that is neither sequences nor a table -> what it is. Case does not count, except inside (?-i:...).
_TEXTS: dict[str, FileKind] = {
    r"(?-i:ID {3})": FileKind("EMBL", remedy="convert it to FASTA"),
    r"##fileformat=VCF": FileKind("VCF", remedy=_GENOME),
    r"##gff-version|#!genome-build|##gtf|(?-i:[^\t]+\t[^\t]+\t[^\t]+\t\d+\t\d+\t[^\t]+\t[-+.?]\t)": FileKind(
        "GFF", remedy=_GENOME
    ),
    r"@(HD|SQ|RG|PG|CO)\t": FileKind("SAM", remedy="convert it to FASTQ (samtools fastq)"),
    # Not BED: a table whose header begins with a name such as "Track number", and a table without a header whose first
    # row is a sequence and two numbers.
    r"(?-i:track \S+=|track\s*$|browser [a-z]+ )|(?![ACGTUN]{6,}\t)\S+\t\d+\t\d+(\t|\r|$)": FileKind(
        "BED, which holds no sequence", remedy="extract its sequences (bedtools getfasta)"
    ),
    r"fixedStep |variableStep ": FileKind("WIG, which holds no sequence", remedy=_GENOME),
    r"CLUSTAL|# STOCKHOLM|#NEXUS|##maf |!!NA_|\s*\d+ +\d+\s*$": FileKind(
        "an alignment", remedy="convert it to FASTA and remove its gaps"
    ),
    r"Seq-(entry|submit) ::=|Bioseq-set ::=": FileKind("ASN.1", remedy="fetch it as FASTA"),
    r"version https://git-lfs": FileKind("a Git LFS pointer, not the file itself", remedy="fetch it (git lfs pull)"),
    r"<!doctype|<html|<head|<\?xml|<[a-z]+[ >]": FileKind(
        "an HTML or XML page, as a failed download leaves it", remedy="fetch the file again"
    ),
    r"(?-i:[\[{]\s*([\"\[{\]}]|-?\d|$))": FileKind("JSON", remedy=_TABLE_OR_FASTA),
}
_TEXT_PATTERNS = [(re.compile(pattern, re.IGNORECASE), kind) for pattern, kind in _TEXTS.items()]
_LETTERS = re.compile(f"[{IUPAC}U.*-]*", re.IGNORECASE | re.ASCII)
# UTF-32 comes before UTF-16, because ff fe is also how its little-endian mark begins.
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32"}
_BOMS |= {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_UNICODE_NAMES = {
    "utf-16": FileKind("UTF-16 text", remedy="save it as UTF-8 without BOM (iconv -f UTF-16 -t UTF-8)"),
    "utf-32": FileKind("UTF-32 text", remedy="save it as UTF-8 without BOM (iconv -f UTF-32 -t UTF-8)"),
}


def kind_of_start(start: bytes) -> FileKind:
    r"""Recognise what a file is by its first bytes, after decompression.

    Tables and sequences may be UTF-8, with a byte order mark or without, UTF-16 or UTF-32, as Windows writes text.

    Args:
        start: the first `START_BYTES` bytes, or all bytes of a shorter file.

    >>> kind_of_start(b">r1\nACGT\n").name, kind_of_start(b"sequence,label\nACGT,a\n").reader
    ('FASTA', 'table')
    """
    if not start:
        return EMPTY
    for bom, encoding in _BOMS.items():
        if start.startswith(bom):
            return _kind_in_unicode(start, encoding)
    for magic, kind in _MAGICS.items():
        if start.startswith(magic):
            return kind
    if start.startswith(b"PK\x03\x04"):
        zipped = (kind for inside, kind in _ZIPS.items() if inside in start)
        return next(zipped, FileKind("a zip archive", remedy="unpack it"))
    if start[257:262] == b"ustar":
        return FileKind("a tar archive", remedy="unpack it")
    if _has_every_second_zero(start):
        return _kind_in_unicode(start, "utf-16-be" if start[0] == 0 else "utf-16-le")
    return kind_of_text(decode_start(start, "utf-8"))


def _kind_in_unicode(start: bytes, encoding: str) -> FileKind:
    """Recognise what a text file is whose encoding is known.

    Text in UTF-16 or UTF-32 that no command reads is called by its encoding, which has to be changed first.
    """
    inside = kind_of_text(decode_start(start, encoding))
    if encoding == "utf-8-sig":
        return inside
    # "utf-16-le" and "utf-16-be" have the name of "utf-16".
    return _UNICODE_NAMES[encoding[:6]] if inside.reader == "nothing" else inside._replace(encoding=encoding)


def kind_of_text(text: str) -> FileKind:
    """Recognise what a text file is by its beginning."""
    if text.startswith("LOCUS "):
        return FileKind("GenBank", "sequences")
    # Comments ("#") may stand before the first record of FASTA or the first row of a table, so `first`, the first line
    # without "#", tells these apart. The patterns look at the very first line, because some of them are lines of "#".
    lines = _filled_lines(text)
    first = _first_without_hash(lines).strip()
    if first.startswith(">"):
        return FASTA
    for pattern, kind in _TEXT_PATTERNS:
        if lines and pattern.match(lines[0]):
            return kind
    if first.startswith("@"):
        return FileKind("FASTQ", "sequences")
    if "\0" in first:
        return BINARY
    if first.startswith(";") and (first.count(";") < 2 or any(line.startswith(">") for line in lines)):
        return LETTERS  # a comment of early FASTA; a line with more semicolons is the header of a table
    # A line of nucleotide letters only is a sequence without a header line; so, for want of a better kind, is a file of
    # comments only. Anything else is taken for a table, and a single word for the name of its only column.
    return LETTERS if _LETTERS.fullmatch(first) else TABLE


def _filled_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank."""
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


def _first_without_hash(lines: list[str]) -> str:
    """Return the first line that does not begin with "#"; an empty one if there is none."""
    return next((line for line in lines if not line.strip().startswith("#")), "")


def require_sequences(path: str | PathLike[str], start: bytes) -> FileKind:
    """Check that a file holds sequences, or text whose faults the reader of sequences can name.

    Args:
        path: the file.
        start: its first bytes.

    Returns:
        The kind of the file: one that the reader of sequences takes, or `LETTERS`.

    Raises:
        InputError: if it holds something else; the message says what, and how to convert it.
    """
    kind = kind_of_start(start)
    if kind is EMPTY:
        raise InputError(f"{path}: the file is empty; give a file of sequences or a table")
    if kind.reader == "table":
        first = _first_without_hash(_filled_lines(decode_start(start, kind.encoding)))  # FASTA may have comments
        keep_secret([first])  # in a table without a header row, it may hold the name of a record
        line = repr(first if len(first) <= 60 else first[:57] + "...")
        raise InputError(
            f"{path}: this looks like a table, with text before the first header: {line}; give FASTA, in which a "
            "record starts with a line '>name'"
        )
    if kind.reader in ("parquet", "excel"):
        raise InputError(f"{path}: this looks like {kind.name}, a table; give FASTA, FASTQ, GenBank or 2bit")
    if kind.reader == "nothing" and kind is not LETTERS:
        raise InputError(f"{path}: this looks like {kind.name}; {kind.remedy}")
    return kind


def require_text(path: str | PathLike[str], start: bytes) -> None:
    """Check that a file may be lines of text in UTF-8, as BED and GFF are.

    Args:
        path: the file.
        start: its first bytes.

    Raises:
        InputError: if it is not such text, or holds sequences; the message says what it is.
    """
    kind = kind_of_start(start)
    if kind.encoding != "utf-8-sig":
        kind = _UNICODE_NAMES[kind.encoding[:6]]
    if kind in (EMPTY, LETTERS, TABLE) or kind.name.startswith(("GFF", "BED")):
        return
    raise InputError(f"{path}: this looks like {kind.name}; give lines of text in UTF-8, with tabs between columns")


def require_table(path: str | PathLike[str], start: bytes) -> FileKind:
    """Check that a file is a table.

    Args:
        path: the file.
        start: its first bytes.

    Returns:
        The kind of the file, whose reader is "table", "parquet" or "excel".

    Raises:
        InputError: if it holds something else; the message says what, and how to convert it.
    """
    kind = kind_of_start(start)
    if kind is EMPTY or not start.strip():
        raise InputError(f"{path}: the file is empty; give a table with a header row")
    if kind is LETTERS and not _first_without_hash(_filled_lines(decode_start(start, kind.encoding))):
        raise InputError(f"{path}: no header row after the comments (lines with #); give a table with a header row")
    if kind.reader == "sequences" or kind is LETTERS:
        raise InputError(
            f"{path}: this looks like {kind.name}, not a table; give CSV, TSV or Parquet with a header row"
        )
    if kind.reader == "nothing":
        # Remedies such as "convert it to FASTQ" are for commands that read sequences, and do not help here.
        is_for_sequences = re.search("FAST[AQ]|genome|sequences", kind.remedy) and "CSV" not in kind.remedy
        remedy = "give CSV, TSV or Parquet" if is_for_sequences else kind.remedy
        raise InputError(f"{path}: this looks like {kind.name}; {remedy}")
    return kind


def decode_start(start: bytes, encoding: str) -> str:
    """Decode the beginning of a text file, which may end inside a character.

    Args:
        start: first bytes of the file.
        encoding: its encoding; bytes that are invalid in it become "\ufffd".
    """
    return codecs.getincrementaldecoder(encoding)("replace").decode(start)


def _has_every_second_zero(start: bytes) -> bool:
    """Return whether a file looks like UTF-16 without a byte order mark: every second byte of ASCII text is 0."""
    some = start[:200]
    return len(some) > 3 and (not any(some[1::2]) or not any(some[0::2])) and any(some)
