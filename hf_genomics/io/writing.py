"""Write files and folders completely or not at all.

A symbolic link stays a link: what it leads to is written. A pipe, a device or an open file of this process (standard
output) is written to directly, because renaming a file over it would replace it. Everything else is written under a
temporary name in the same folder, flushed to disk, and renamed. Whoever reads a file, even after a killed run or a
power cut, therefore finds the old content or all of the new, never half of it. The one exception: a folder that is
replaced is missing for the moment between two renames; after a kill in that moment the old folder lies in
``.NAME.*.old`` next to where it was. There is one writer for files (`write_bytes`, which the writers of text, JSON and
TSV use) and one for folders (`replacing`).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from ..errors import InputError, is_private
from .streams import destination, is_stream, open_stream, output_path

# Files


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; missing folders on the way are created.

    Args:
        path: the file; an old file of that name is replaced, and its permissions are kept.
        content: the new content.

    Raises:
        OSError: if it cannot be written; ``filename`` is then set.
    """
    with names_file(path):
        if is_stream(path):
            with open_stream(path) as stream:
                stream.write(content)
            return
        path = destination(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = write_partial(path, content)
        try:
            put_in_place(partial, path)
        except BaseException:  # for instance, a folder has that name
            partial.unlink(missing_ok=True)
            raise


def put_in_place(partial: Path, path: Path) -> None:
    """Rename a temporary file to ``path``; permissions, owner and group of an old file of that name are kept.

    Args:
        partial: complete temporary file on the disk of ``path``.
        path: the file, no link.
    """
    if path.is_file():
        _copy_access(path, partial)
    partial.replace(path)
    sync_folder(path.parent)


def _copy_access(old: Path, new: Path) -> None:
    """Copy owner, group and permissions of the old file or folder to the new one, as far as this user may.

    In a private run (``--private``) the new one keeps its own permissions, which let no other user read it.
    """
    if is_private():
        return
    facts = old.stat()
    with contextlib.suppress(OSError, AttributeError):  # Windows has no chown; a user may not give files away
        os.chown(new, facts.st_uid, facts.st_gid)
    with contextlib.suppress(OSError):
        os.chmod(new, stat.S_IMODE(facts.st_mode))


@contextlib.contextmanager
def names_file(path: Path) -> Iterator[None]:
    """Put the name of the file into every OSError of a ``with`` block that has none.

    Python leaves the name out if it is writing that fails, such as on a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an error of the operating system in a ``with`` block into an InputError that names the output.

    Args:
        path: the file that is written in the block.

    Raises:
        InputError: instead of such an error; but a BrokenPipeError is passed on, because it only means that the reader
            of the pipe has ended.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written: {reason}; make room or write to another place") from error


def write_partial(path: Path, content: bytes) -> Path:
    """Write the temporary file that is to be renamed to ``path``, and flush it to disk.

    Use it where several files must get their names together; `write_bytes` does both steps for one file.

    Args:
        path: name that the file will have in the end.
        content: the content of the file.

    Returns:
        The temporary file, ``.NAME.RANDOM.partial`` in the same folder.
    """
    # A random name, so that two processes that write the same file do not share a temporary file.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with open(partial, "xb") as file:  # open() obeys the umask, which tempfile's files do not
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


@contextlib.contextmanager
def writing_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file whose content becomes that of ``path`` when the block ends without an error.

    Use it for content that is too large to be held in memory. Until the block ends, the content is in a temporary file,
    also if it is meant for a stream.

    Args:
        path: the file or stream; missing folders on the way are created.

    Raises:
        OSError: if it cannot be written; ``filename`` is then set.
    """
    with names_file(path):
        if is_stream(path):
            with tempfile.TemporaryFile() as file:
                yield file
                file.seek(0)
                with open_stream(path) as stream:
                    shutil.copyfileobj(file, stream)
            return
        path = destination(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            with open(partial, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            put_in_place(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file completely or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: object) -> None:
    """Write a JSON file completely or not at all.

    Args:
        path: the file.
        content: dictionaries, lists, numbers and text, also scalars of numpy and torch. NaN and infinite numbers, which
            JSON does not know, become null.
    """
    write_text(path, json.dumps(as_json(content), indent=2, allow_nan=False) + "\n")


def write_tsv(path: Path, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a tab-separated table completely or not at all.

    Args:
        path: the file.
        header: names of the columns.
        rows: cells of each row; see `as_cell`.
    """
    buffer = io.StringIO()
    for row in (header, *rows):
        write_row(buffer, row)
    write_text(path, buffer.getvalue())


def write_row(file: TextIO, cells: Iterable[object]) -> None:
    """Append a row to a tab-separated table; a cell that holds a tab, a quote or a line break is quoted.

    Args:
        file: file that was opened with ``newline=""``.
        cells: the cells; see `as_cell`.
    """
    row = [as_cell(cell) for cell in cells]
    # Python's writer does not quote a carriage return, which readers take for the end of a row.
    has_return = any(isinstance(cell, str) and "\r" in cell for cell in row)
    quoting: Any = csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
    csv.writer(file, delimiter="\t", lineterminator="\n", quoting=quoting).writerow(row)


def as_cell(cell: object) -> object:
    """Return a cell as it is written: a float with seven digits, as many as float32 has, NaN as an empty text.

    >>> [as_cell(cell) for cell in ("a", 3, 1 / 3, float("nan"))]
    ['a', 3, '0.3333333', '']
    """
    if not isinstance(cell, float | np.floating):
        return cell
    return f"{cell:.7g}" if cell == cell else ""  # only NaN is not equal to itself


def as_json(value: Any) -> Any:
    """Convert a value to types that JSON can hold; NaN and infinite numbers become None.

    Args:
        value: dictionaries, lists, numbers and text, also scalars of numpy and torch.
    """
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


class HashedFile(contextlib.AbstractContextManager):
    """A file that is hashed while it is written, for a ``with`` block; call `finish` before the block ends.

    Args:
        path: the file, usually inside a folder of `replacing`.
    """

    def __init__(self, path: Path) -> None:
        self._name, self._file, self._digest = path.name, open(path, "wb"), hashlib.sha256()

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes."""
        self._digest.update(content)
        self._file.write(content)

    def finish(self) -> dict[str, dict[str, int | str]]:
        """Flush the file to disk and return ``{name: {"bytes": size, "sha256": hash}}``."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {self._name: {"bytes": self._file.tell(), "sha256": self._digest.hexdigest()}}

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.close()


# Folders


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``target``, and rename it to ``target`` when the block ends without an error.

    Before that, the content of all files and the folder entries themselves are flushed to disk (fsync).

    Args:
        target: the folder; an old folder of that name is replaced, and its permissions are kept.
    """
    target = destination(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        yield folder
        os.chmod(folder, 0o777 & ~_umask())  # mkdtemp's folder is readable by its owner only
        if target.is_dir():
            _copy_access(target, folder)
        _sync_tree(folder)
        _swap(folder, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, target: Path) -> None:
    """Rename ``folder`` to ``target``; an old ``target`` is deleted only after that."""
    if not target.exists():
        os.rename(folder, target)
        return
    # A folder that is not empty cannot be replaced in one step: move it aside, and back if the renaming fails.
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    os.rename(target, old / target.name)
    try:
        os.rename(folder, target)
    except BaseException:
        os.rename(old / target.name, target)
        os.rmdir(old)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Flush all files in a folder and below it to disk, and the entries of all these folders."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            _sync(Path(place, name), os.O_RDWR)  # Windows flushes only what is open for writing
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk: without that, a power cut may undo a renaming.

    Args:
        folder: the folder whose entries were created, renamed or deleted.
    """
    _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    """Flush a file or folder to disk."""
    with contextlib.suppress(PermissionError):  # Windows cannot open folders
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    """Return the umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


# Checks before the work starts


def check_output(path: Path, *, folder: bool, key: str = "the output") -> None:
    """Check that results may be written to ``path`` before they are computed; nothing is created.

    Args:
        path: file or folder to be written.
        folder: whether it is a folder.
        key: what the user sets to name another place, for messages.

    Raises:
        InputError: if there is a file where a folder must be, a folder where a file must be, no permission, or
            a new folder directly below the root folder (/) would be needed.
    """
    if not folder and path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    if folder and str(path) == "-":
        raise InputError("- is standard output, but a folder is needed; name a folder")
    if folder and is_stream(path):
        raise InputError(f"{path} is not a folder; write to another place")
    if is_stream(path):
        return
    if destination(path).is_symlink():
        raise InputError(f"{path} is a symbolic link that leads to itself; write to another place")
    path = destination(path)
    places = (path, *path.parents) if folder else path.parents  # the folder itself, if any, and all folders above
    for place in places:
        if place.exists() and not place.is_dir():
            above = "" if place == path else f"{path}: "
            raise InputError(f"{above}{place} is a file, not a folder; set {key} to another place")
    check_writable(path, key)


def check_output_file(
    output: str | os.PathLike[str], inputs: Iterable[object], *, overwrite: bool, other: str = "another file"
) -> Path:
    """Check that a result may be written to a file, and return its path; nothing is created.

    Args:
        output: what the user named: a file, a link to one, a pipe or a device, or "-" for standard output.
        inputs: files and folders that are read; those that are not paths are ignored.
        overwrite: whether an existing file may be replaced.
        other: what the user may name instead, for messages.

    Raises:
        InputError: if it is a folder, one of the inputs (also by a link or another spelling), a file in a folder that
            is read, an existing file without ``overwrite``, or if there is no permission to write it.
    """
    text = os.fspath(output)
    path = output_path(text)
    if text.endswith(("/", os.sep)):
        raise InputError(f"{text} names a folder; name a file in it")
    check_output(path, folder=False)
    if is_stream(path):
        return path
    for given in inputs:
        if isinstance(given, str | os.PathLike) and _is_at(path, Path(given)):
            raise InputError(f"{text} is read as an input ({given}) and would be lost; name {other}")
    if path.exists() and not overwrite:
        raise InputError(f"{text} exists; pass --overwrite true to replace it, or name {other}")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{text}: you have no permission to change this file; name {other}")
    return path


def _is_at(path: Path, given: Path) -> bool:
    """Return whether a path leads to the file ``given``, or to an existing file of the folder ``given``.

    The checkpoints in a folder are part of it; other folders below it may hold results, such as an evaluation.
    """
    # OSError: no file is there yet, so nothing can be lost. ValueError: the file lies elsewhere.
    with contextlib.suppress(OSError, ValueError):
        if path.samefile(given):
            return True
        parts = destination(path).relative_to(destination(given)).parts
        return len(parts) == 1 or parts[0].startswith("checkpoint-")
    return False


def check_writable(path: Path, what: str) -> None:
    """Check that the nearest existing folder of a path may be written to; missing folders are created below it later.

    No folders on the way are created in the root folder, because a path that needs one is usually misspelt. (A run in a
    container may have the root folder as its working folder; then they are.)

    Args:
        path: file or folder to be written.
        what: what the user calls the path, for the error message.

    Raises:
        InputError: if it may not, or a folder would be created in the root folder; the message names the folder.
    """
    places = (path, *path.absolute().parents)
    place = next(place for place in places if place.is_dir())
    # The nearest folder that exists is the root folder, and neither the path nor its parent: a folder would be created
    # in it.
    if place == Path(place.anchor) != Path.cwd() and place not in places[:2]:
        raise InputError(f"{places[places.index(place) - 1]}: no such folder; create it, or correct {what} ({path})")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{path}: you have no permission to write to {place}; set {what} to another place")
