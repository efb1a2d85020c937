"""Open files by their content, never by their name, and say what is wrong with one in a line that names it."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any, TypeAlias, cast

from ..errors import InputError

BinaryFile: TypeAlias = io.BufferedReader | gzip.GzipFile  # both can look ahead

_BUFFER_BYTES = 1 << 17
_DAMAGED: list[Any] = [EOFError, zlib.error, gzip.BadGzipFile]
with contextlib.suppress(ImportError):  # xopen uses isal where there is a build; its error is no zlib.error
    from isal.igzip_lib import IsalError

    _DAMAGED.append(IsalError)
_FOREIGN = {
    b"ID   ": "EMBL; convert it to FASTA",
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


@contextlib.contextmanager
def open_binary(path: str | PathLike[str], watch: Callable[[memoryview], object] | None = None) -> Iterator[BinaryFile]:
    """Open a file for reading, through gzip where the content says so (the name may say otherwise).

    Args:
        path: the file.
        watch: is shown all bytes as they are read from disk, before decompression (a hash's ``update``).
    """
    with open(path, "rb", buffering=0) as raw:
        shown: io.RawIOBase = _Watched(raw, watch) if watch else raw
        file = io.BufferedReader(shown, _BUFFER_BYTES)
        if file.peek(2)[:2] != b"\x1f\x8b":
            yield cast(io.BufferedReader, file)
            return
        from xopen import xopen  # here, so that plain files are read where it is not installed

        with xopen(file, "rb", threads=0, format="gz") as unzipped:
            yield cast(gzip.GzipFile, unzipped)


class _Watched(io.RawIOBase):
    """A raw file that shows what it reads to somebody else as well."""

    def __init__(self, raw: io.FileIO, watch: Callable[[memoryview], object]) -> None:
        super().__init__()
        self._raw, self._watch = raw, watch

    def readable(self) -> bool:
        """Say yes: this is what BufferedReader asks."""
        return True

    # The base class takes any writable buffer; what calls us (BufferedReader) always brings a memoryview.
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer``; 0 at the end of the file."""
        count = self._raw.readinto(buffer)
        self._watch(memoryview(buffer)[:count])
        return count


def refuse_foreign(path: str | PathLike[str], start: bytes) -> None:
    """Turn away a file whose first bytes are those of a format that is not read, by the format's name.

    Raises:
        InputError: naming the format and the way out; also for an empty file.
    """
    if not start:
        raise InputError(f"{path}: the file is empty; give FASTA, FASTQ, GenBank or 2bit")
    for magic, verdict in _FOREIGN.items():
        if start.startswith(magic):
            raise InputError(f"{path}: this looks like {verdict}")


@contextlib.contextmanager
def input_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Translate what the operating system and the decompressors raise."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; name the files in it") from error
    except tuple(_DAMAGED) as error:
        raise InputError(f"{path}: the gzip file is cut short or damaged ({error}); fetch or write it again") from error
    except UnicodeError as error:
        raise InputError(f"{path}: text that cannot be decoded ({error}); save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def shorten(text: str, width: int = 60) -> str:
    """Quote text from a file for an error message: on one line, escaped, of bounded length."""
    return repr(text if len(text) <= width else text[: width - 3] + "...")
