"""Folders that are whole or not there: written beside their place, flushed to disk, and renamed."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Offer a temporary folder beside ``target``, and put it in its place when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        yield folder
        os.chmod(folder, 0o777 & ~_umask())  # mkdtemp's folder is for its owner alone
        sync_folder(folder)
        _swap(folder, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, target: Path) -> None:
    """Rename ``folder`` to ``target``; what was there goes away only after that."""
    if not target.exists():
        os.rename(folder, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    os.rename(target, old / target.name)
    try:
        os.rename(folder, target)
    except BaseException:
        os.rename(old / target.name, target)
        os.rmdir(old)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    """Read the umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system can."""
    with contextlib.suppress(PermissionError):  # Windows cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class HashedFile(contextlib.AbstractContextManager):
    """A file on its way to disk, hashed as it is written; at the end of the block it is closed."""

    def __init__(self, path: Path) -> None:
        self._name, self._file, self._digest = path.name, open(path, "wb"), hashlib.sha256()

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes."""
        self._digest.update(content)
        self._file.write(content)

    def finish(self) -> dict[str, dict[str, int | str]]:
        """Flush to disk; returns name, size and hash."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {self._name: {"bytes": self._file.tell(), "sha256": self._digest.hexdigest()}}

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.close()


def _write_atomically(path: Path, data: bytes) -> None:
    """Write beside the target and rename, so that readers see the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # mkstemp lets only the owner read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_output(path: Path, *, folder: bool) -> None:
    """Check that a verb may write its results to ``path`` before it computes them; nothing is created.

    Raises:
        InputError: if a file is where a folder must be, or the other way round.
    """
    if not folder and path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    for place in (path, *path.parents)[0 if folder else 1 :]:
        if place.exists() and not place.is_dir():
            raise InputError(f"{place} is a file, not a folder; write to another place")
    check_writable(path, "the output")


def check_writable(path: Path, what: str) -> None:
    """Check that the nearest folder that is there may be written to; ``what`` names the path.

    Raises:
        InputError: naming the folder.
    """
    place = next(place for place in (path, *path.absolute().parents) if place.is_dir())
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{path}: {place} may not be written to; set {what} to another place")


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all; NaN becomes null."""
    write_text(path, json.dumps(_plain(content), indent=2) + "\n")


def write_tsv(path: Path, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a TSV file whole or not at all; floats with seven digits, as many as float32 has."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")  # quotes a cell that holds a tab or a line break
    writer.writerow(header)
    writer.writerows([f"{cell:.7g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    write_text(path, buffer.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else value
