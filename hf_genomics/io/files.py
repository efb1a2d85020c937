"""Open files, gzipped or not whatever their names say, and report errors in one line that names the file."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any, TypeAlias, cast

from ..errors import InputError

BinaryFile: TypeAlias = io.BufferedReader | gzip.GzipFile  # both have ``peek``

_BUFFER_BYTES = 1 << 17
_DAMAGED: list[Any] = [EOFError, zlib.error, gzip.BadGzipFile]  # errors of a damaged gzip file
with contextlib.suppress(ImportError):  # xopen uses isal if it is installed; its error is not a zlib.error
    from isal.igzip_lib import IsalError

    _DAMAGED.append(IsalError)


@contextlib.contextmanager
def open_binary(path: str | PathLike[str], watch: Callable[[memoryview], object] | None = None) -> Iterator[BinaryFile]:
    """Open a file for reading, decompressed if its content is gzip, whatever its name says.

    Args:
        path: the file.
        watch: called with the bytes that are read, as they are on disk; for instance the ``update`` method of a hash,
            which then is that of the whole file if the file is read to its end.

    Yields:
        The open file.
    """
    with open(path, "rb", buffering=0) as raw:
        watched: io.RawIOBase = _Watched(raw, watch) if watch else raw
        file = io.BufferedReader(watched, _BUFFER_BYTES)
        if file.peek(2)[:2] != b"\x1f\x8b":
            yield cast(io.BufferedReader, file)
            return
        from xopen import xopen  # here, so that plain files can be read without it

        with xopen(file, "rb", threads=0, format="gz") as unzipped:
            yield cast(gzip.GzipFile, unzipped)


def as_utf8(file: BinaryFile, encoding: str) -> BinaryFile:
    """Return a text file in UTF-8 without a byte order mark.

    Bytes that are not valid become the replacement character in other encodings, and stay as they are in UTF-8.

    Args:
        file: the open file, at its beginning.
        encoding: its encoding; "utf-8-sig" for UTF-8 with or without a byte order mark.
    """
    if encoding != "utf-8-sig":
        return io.BufferedReader(_Recoded(file, encoding), _BUFFER_BYTES)
    if file.peek(3)[:3] == codecs.BOM_UTF8:
        file.read(3)
    return file


class _Recoded(io.RawIOBase):
    """A text file in another encoding, converted to UTF-8; invalid bytes become the replacement character."""

    def __init__(self, file: BinaryFile, encoding: str) -> None:
        super().__init__()
        self._file, self._decoder = file, codecs.getincrementaldecoder(encoding)("replace")
        self._held = b""

    def readable(self) -> bool:
        """Return True; BufferedReader checks this."""
        return True

    # The base class accepts any writable buffer; BufferedReader always passes a memoryview.
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer`` and return the number of bytes, 0 at the end of the file."""
        while not self._held:  # bytes that end within a letter may decode to nothing
            raw = self._file.read(len(buffer))
            self._held = self._decoder.decode(raw, final=not raw).encode()
            if not raw:
                break
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count


class _Watched(io.RawIOBase):
    """A raw file that also passes every byte it reads to a function, such as the ``update`` method of a hash."""

    def __init__(self, raw: io.FileIO, watch: Callable[[memoryview], object]) -> None:
        super().__init__()
        self._raw, self._watch = raw, watch

    def readable(self) -> bool:
        """Return True; BufferedReader checks this."""
        return True

    # The base class accepts any writable buffer; BufferedReader always passes a memoryview.
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer`` and return the number of bytes, 0 at the end of the file."""
        count = self._raw.readinto(buffer)
        self._watch(memoryview(buffer)[:count])
        return count


@contextlib.contextmanager
def input_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Translate errors of the operating system and of decompression inside a ``with`` block into `InputError`.

    Args:
        path: the file that is read in the block.

    Raises:
        InputError: instead of such an error; the message names the file and the problem.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; name the files in it") from error
    except NotADirectoryError as error:
        raise InputError(f"{path}: no such file, because a part of this path is a file; check the path") from error
    except tuple(_DAMAGED) as error:
        raise InputError(f"{path}: the gzip file is cut short or damaged ({error}); fetch or write it again") from error
    except UnicodeError as error:
        raise InputError(f"{path}: text that cannot be decoded ({error}); save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def shorten(text: str, width: int = 60) -> str:
    """Quote text from a file for an error message: escaped, on one line.

    Args:
        text: the text.
        width: maximum length, in characters, before escaping.
    """
    return repr(text if len(text) <= width else text[: width - 3] + "...")


def sha256_of(path: str | PathLike[str]) -> str:
    """Compute the SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
