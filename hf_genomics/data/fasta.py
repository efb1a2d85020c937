"""Read FASTA and FASTQ record by record, and be sure that what comes out is DNA.

dnaio parses; this module checks, because no reader does: gaps, digits, protein and NUL bytes pass all of them.
Format and compression are taken from the content of a file, never from its name.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from os import PathLike
from typing import NamedTuple, TypeAlias

import dnaio
import numpy as np

from ..errors import InputError
from ..sequence import IUPAC, as_letters

BinaryFile: TypeAlias = io.BufferedReader | gzip.GzipFile  # both can look ahead

_CHUNK_BYTES = 1 << 17
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
_FOREIGN = {
    b"LOCUS ": "GenBank; convert it to FASTA",
    b"ID   ": "EMBL; convert it to FASTA",
    b"\x43\x27\x41\x1a": "2bit; convert it to FASTA (twoBitToFa)",
    b"\x1a\x41\x27\x43": "2bit; convert it to FASTA (twoBitToFa)",
    b"\x26\xfc\x8f\x88": "bigWig, which holds no sequence; give FASTA",
    b"\x88\x8f\xfc\x26": "bigWig, which holds no sequence; give FASTA",
    b"##fileformat=VCF": "VCF; give the FASTA of the genome",
    b"##gff-version": "GFF; give the FASTA of the genome",
    b"BAM\x01": "BAM; convert it to FASTQ (samtools fastq)",
    b"@HD\t": "SAM; convert it to FASTQ (samtools fastq)",
    b"@SQ\t": "SAM; convert it to FASTQ (samtools fastq)",
    b"PAR1": "Parquet; give FASTA",
    b"BZh": "bzip2; decompress it or use gzip",
    b"\xfd7zXZ": "xz; decompress it or use gzip",
    b"\x28\xb5\x2f\xfd": "zstandard; decompress it or use gzip",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"\x1f\x8b": "gzip inside gzip; decompress it once",
    b"\xef\xbb\xbf": "text with a byte order mark; save it as UTF-8 without BOM",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8 without BOM",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8 without BOM",
}


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


class _RawRecord(NamedTuple):
    """What dnaio is asked to build: the fields of its own record, unchecked, so that we can name the place."""

    name: str
    sequence: str
    qualities: str | None = None


def read_records(path: str | PathLike[str], *, rna: bool = False, min_length: int = 1) -> Iterator[Record]:
    """Yield the records of a FASTA or FASTQ file, plain or gzipped, one at a time.

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
    for number, raw in enumerate(_raw_records(path), start=1):
        name, description = _split_header(raw.name)
        where = f"{path}: record {number}{f' ({shorten(name)})' if name else ''}"
        faults: list[InputError] = []
        try:
            _check_name(name, where, seen)
            letters = as_dna(raw.sequence, where, rna=rna)
            check_length(len(letters), where, min_length)
        except InputError:
            letters, faults = as_letters(raw.sequence), _all_faults(name, raw.sequence, where, seen, rna, min_length)
        seen.setdefault(name, number)
        yield Record(name, description, letters), faults
    if not seen:
        raise InputError(f"{path}: no record in this file; a FASTA record is a line '>name' and lines of letters")


def _all_faults(
    name: str, sequence: str, where: str, seen: dict[str, int], rna: bool, min_length: int
) -> list[InputError]:
    """List everything that is wrong with one record, in the order in which it is looked at."""
    faults = []
    for check, arguments in (
        (_check_name, (name, where, seen)),
        (as_dna, (sequence, where, rna)),
        (check_length, (len(sequence), where, min_length)),
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


def _check_name(name: str, where: str, seen: dict[str, int]) -> None:
    """Refuse a record without a name, with unprintable characters in it, or with one that came before."""
    if not name:
        raise InputError(f"{where}: has no name; write one behind the '>'")
    if not name.isprintable():
        raise InputError(f"{where}: unprintable character in the name; rename the record")
    if name in seen:
        raise InputError(f"{where}: record {seen[name]} has the same name; rename or drop one of them")


def check_length(length: int, where: str, min_length: int) -> None:
    """Refuse an empty sequence, and one below ``min_length`` nt.

    Raises:
        InputError: naming ``where``.
    """
    if length == 0:
        raise InputError(f"{where}: is empty; drop it")
    if length < min_length:
        raise InputError(f"{where}: {length} nt is shorter than the {min_length} nt needed; drop it or ask for less")


def as_dna(sequence: str, where: str, rna: bool = False) -> np.ndarray:
    """Turn text into checked letters.

    Args:
        sequence: nucleotides in upper or lower case.
        where: file and record, for the error.
        rna: read U as T.

    Returns:
        (length,) uint8 ASCII, a fresh array.

    Raises:
        InputError: at the first letter that is no nucleotide, with its 1-based position.
    """
    letters = clean_letters(as_letters(sequence), rna)
    if not letters.all():
        raise letter_error(sequence, int(letters.argmin()), where)
    return letters


def clean_letters(letters: np.ndarray, rna: bool = False) -> np.ndarray:
    """Copy uint8 letters, with 0 for everything that is no nucleotide (and with T for U if ``rna``)."""
    return (_CLEAN_RNA if rna else _CLEAN)[letters]


def letter_error(sequence: str, index: int, where: str) -> InputError:
    """Describe the bad letter at ``index`` (0-based): its 1-based position, the rule, and the way out."""
    letter = sequence[index]
    hint = _HINTS.get(letter.upper(), "only A, C, G, T, N and the IUPAC codes RYSWKMBDHV are nucleotides")
    return InputError(f"{where}, position {index + 1}: {letter!r} is not a DNA letter; {hint}")


def shorten(text: str, width: int = 60) -> str:
    """Quote text from a file for an error message: on one line, escaped, of bounded length."""
    return repr(text if len(text) <= width else text[: width - 3] + "...")


def _table(rna: bool) -> np.ndarray:
    """Map each byte to itself when it is a nucleotide, to 0 when it is not."""
    table = np.zeros(256, np.uint8)
    allowed = as_letters(IUPAC + IUPAC.lower())
    table[allowed] = allowed
    if rna:
        table[ord("U")], table[ord("u")] = ord("T"), ord("t")
    return table


_CLEAN, _CLEAN_RNA = _table(rna=False), _table(rna=True)


def _raw_records(path: str | PathLike[str]) -> Iterator[_RawRecord]:
    """Let dnaio parse ``path``; whatever goes wrong on the way is an `InputError` that names the file."""
    with input_errors(path), open_binary(path) as file:
        reader = dnaio.readers.FastqReader if _is_fastq(path, file) else dnaio.readers.FastaReader
        encoding = "ascii" if reader is dnaio.readers.FastqReader else "utf-8"
        text = io.BufferedReader(_CleanText(file, path, encoding), _CHUNK_BYTES)
        with reader(text, sequence_class=_RawRecord) as records:
            yield from records


@contextlib.contextmanager
def input_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Translate what the operating system, the decompressors and dnaio raise."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; name the files in it") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the gzip file is cut short or damaged ({error}); fetch or write it again") from error
    except dnaio.FileFormatError as error:
        raise InputError(f"{path}: {_one_line(error)}; mend the file or write it again") from error
    except UnicodeError as error:
        raise InputError(f"{path}: text that cannot be decoded ({error}); save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _one_line(error: Exception) -> str:
    """Put a message on one line, without its full stop."""
    return re.sub(r"\s+", " ", str(error)).strip(" .")


@contextlib.contextmanager
def open_binary(path: str | PathLike[str]) -> Iterator[BinaryFile]:
    """Open a file for reading, through gzip where the content says so (the name may say otherwise)."""
    with open(path, "rb") as file:
        if file.peek(2)[:2] != b"\x1f\x8b":
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield unzipped


def _is_fastq(path: str | PathLike[str], file: BinaryFile) -> bool:
    """Tell FASTQ from FASTA by the first character, and turn every other format away by name."""
    start = file.peek(4096)
    if not start:
        raise InputError(f"{path}: the file is empty; give FASTA or FASTQ")
    for magic, verdict in _FOREIGN.items():
        if start.startswith(magic):
            raise InputError(f"{path}: this looks like {verdict}")
    first = start.lstrip()
    if not first or first[:1] in b">#":
        return False
    if first[:1] == b"@":
        return True
    line = first.splitlines()[0].decode("latin-1")
    raise InputError(f"{path}: text before the first header: {shorten(line)}; a record starts with a line '>name'")


class _CleanText(io.RawIOBase):
    r"""Bytes on their way to dnaio: text that decodes in any case, with line ends that mean one thing.

    Bytes that are not UTF-8 become ``\xe9`` and the like (they occur in headers only, or the letters are refused).
    dnaio would take a lone carriage return for a line end, and so turn half a header into sequence.
    """

    def __init__(self, file: BinaryFile, path: str | PathLike[str], encoding: str) -> None:
        super().__init__()
        self._file, self._path, self._encoding = file, path, encoding
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = b""  # a carriage return at the end of the last chunk, until we see what follows
        self._ready = b""

    def readable(self) -> bool:
        """Say yes: this is what BufferedReader asks."""
        return True

    # The base class takes any writable buffer; what calls us (BufferedReader) always brings a memoryview.
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer``; 0 at the end of the file."""
        if not self._ready:
            self._ready = self._next()
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _next(self) -> bytes:
        """Read until there is something to hand on, or the end."""
        while chunk := self._file.read(_CHUNK_BYTES):
            if ready := self._clean(self._held + chunk):
                return ready
        self._check_line_ends(self._held)
        held, self._held = self._held, b""
        return self._encode(held, final=True)

    def _clean(self, chunk: bytes) -> bytes:
        """Hold a last carriage return back, check the others, decode."""
        self._held = b"\r" if chunk.endswith(b"\r") else b""
        chunk = chunk[: len(chunk) - len(self._held)]
        self._check_line_ends(chunk)
        return self._encode(chunk, final=False)

    def _encode(self, chunk: bytes, final: bool) -> bytes:
        """Make the text safe for dnaio: UTF-8 for FASTA, ASCII for FASTQ."""
        if chunk.isascii() and not self._decoder.getstate()[0]:  # nearly always, and ten times faster
            return chunk
        return self._decoder.decode(chunk, final).encode(self._encoding, "backslashreplace")

    def _check_line_ends(self, chunk: bytes) -> None:
        """Refuse a carriage return without a line feed behind it."""
        if chunk.count(b"\r") != chunk.count(b"\r\n"):
            raise InputError(
                f"{self._path}: carriage return without line feed (old Mac line ends); "
                "convert the file, for instance with tr '\\r' '\\n'"
            )
