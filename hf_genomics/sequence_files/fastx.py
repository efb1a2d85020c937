"""Parse FASTA and FASTQ in chunks of bounded size, so that a chromosome is never in memory as a whole.

FASTQ is read by dnaio. FASTA is read here: dnaio needs four times the memory of the longest contig, since it reads a
record at a time.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from os import PathLike
from typing import TypeAlias

from ..errors import InputError, keep_secret
from ..io.files import BinaryFile, shorten

#: Header of a record, or None if the chunk continues a record; and letters of it, unchecked.
RawChunk: TypeAlias = tuple[str | None, bytes]

_BLOCK_BYTES = 1 << 18
_LONGEST_LINE = 1 << 20  # a longer line is read in pieces; a longer header is an error
_BLANKS = b" \t\r"


def fasta_chunks(file: BinaryFile, path: str | PathLike[str]) -> Iterator[RawChunk]:
    """Yield the records of a FASTA file in chunks.

    Blank lines, lines that start with ``#``, and blanks at the ends of a line are skipped.

    Args:
        file: the open file.
        path: its name, for error messages.

    Yields:
        Header (in the first chunk of a record) and letters.

    Raises:
        InputError: for letters before the first header, and for a carriage return without a line feed (read as a line
            end, it would turn half a header into sequence).
    """
    # ``header`` is the header that still has to be yielded, together with the first letters of its record;
    # ``new_line`` says whether the text at ``place`` begins a line.
    header, started, new_line = None, False, True
    for block in _blocks(file):
        _check_line_ends(block, path)
        place = 0
        while place < len(block):
            if new_line and block[place : place + 1] == b">":
                if header is not None:  # the previous record has no letters
                    yield header, b""
                end = block.find(b"\n", place)
                if end < 0:
                    raise InputError(f"{path}: a header of more than {_LONGEST_LINE:,} letters; are line ends missing?")
                header, started = block[place + 1 : end].decode("utf-8", "backslashreplace"), True
                place = end + 1
            else:
                end = _next_header(block, place)
                letters = _without_blanks(block[place:end], new_line)
                if letters and not started:
                    raise no_header(path, letters)
                if letters:
                    yield header, letters
                    header = None
                place, new_line = end, True
        new_line = block.endswith(b"\n")
    if header is not None:
        yield header, b""


def no_header(path: str | PathLike[str], text: bytes) -> InputError:
    """Build the error for text before the first header.

    Args:
        path: the file.
        text: the text.
    """
    line = text.splitlines()[0].decode("latin-1")
    return InputError(f"{path}: text before the first header: {shorten(line)}; a record starts with a line '>name'")


def _blocks(file: BinaryFile) -> Iterator[bytes]:
    """Split a file into blocks of whole lines; a line of more than ``_LONGEST_LINE`` bytes is split as well."""
    held = b""
    while chunk := file.read(_BLOCK_BYTES):
        text = held + chunk
        end = text.rfind(b"\n") + 1
        if not end and len(text) > _LONGEST_LINE:
            end = len(text.rstrip()) or len(text)  # keep blanks for the next block: they may be the end of the line
        held = text[end:]
        if end:
            yield text[:end]
    if held:
        yield held if held.endswith(b"\r") else held + b"\n"


def _check_line_ends(block: bytes, path: str | PathLike[str]) -> None:
    """Check that every carriage return is followed by a line feed."""
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        raise InputError(
            f"{path}: carriage return without line feed (old Mac line ends); "
            "convert the file, for example with tr '\\r' '\\n'"
        )


def _next_header(block: bytes, place: int) -> int:
    """Find the next line that starts with ``>``, or the end of the block; ``place`` itself is not such a line."""
    end = block.find(b">", place)
    # A ">" inside a line is left to the check of the letters. One at index 0 is inside a line, too: the line began in
    # the block before.
    while end >= 0 and block[end - 1 : end] != b"\n":
        end = block.find(b">", end + 1)
    return end if end >= 0 else len(block)


def _without_blanks(text: bytes, new_line: bool) -> bytes:
    """Join lines of sequence.

    Args:
        text: lines of a block.
        new_line: whether the text begins at the start of a line; otherwise the previous block ended inside one.
    """
    if not (b" " in text or b"\t" in text or b"#" in text):
        return text.translate(None, b"\r\n") if b"\r" in text else text.replace(b"\n", b"")
    first, *lines = text.split(b"\n")
    if not new_line:  # keep blanks at the start: they are inside a line, which is an error
        first = first.rstrip(_BLANKS)
    else:
        first = b"" if first.startswith(b"#") else first.strip(_BLANKS)
    return first + b"".join(line.strip(_BLANKS) for line in lines if not line.startswith(b"#"))


def fastq_chunks(file: BinaryFile, path: str | PathLike[str]) -> Iterator[RawChunk]:
    """Yield the reads of a FASTQ file, each as one chunk.

    Args:
        file: the open file.
        path: its name, for error messages.

    Yields:
        Header and letters.

    Raises:
        InputError: if the file is not valid FASTQ.
    """
    import dnaio  # here, so that FASTA can be read without it

    try:
        with dnaio.readers.FastqReader(io.BufferedReader(_Ascii(file), _BLOCK_BYTES)) as reads:
            for read in reads:
                yield read.name, read.sequence.encode()
    except dnaio.FileFormatError as error:
        # dnaio quotes the last record of a file that is cut short; names and sequences are not shown.
        text = str(error).partition("The incomplete final record was")[0]
        why = re.sub(r"\s+", " ", text).strip(" .")
        if names := re.search(r"\('(.*)' != '(.*)'\)", why):  # a read whose two names differ
            keep_secret(names.groups())
        raise InputError(f"{path}: {why}; fix the file or write it again") from error


class _Ascii(io.RawIOBase):
    r"""A file as dnaio can read it: bytes that are not ASCII (they occur in names) become text such as ``\xe9``."""

    def __init__(self, file: BinaryFile) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        """Return True; BufferedReader asks."""
        return True

    # The base class accepts any writable buffer; BufferedReader always passes a memoryview.
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer`` and return the number of bytes, 0 at the end of the file."""
        text = self._file.read(len(buffer) // 4)  # one byte becomes at most four characters
        if not text.isascii():
            text = text.decode("ascii", "backslashreplace").encode()
        buffer[: len(text)] = text
        return len(text)
