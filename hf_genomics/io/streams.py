"""Find out what an output path leads to: a file, also through links, or a stream such as standard output or a pipe."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import BinaryIO

#: Path of standard output; `output_path` returns it for "-". It is recognised by its name on every system.
STDOUT = Path("/dev/stdout")

# The path of an open file of a process, here file number 3. On Linux, /dev/fd is a link to /proc/1234/fd, where 1234 is
# the process; a thread has /proc/1234/task/1235/fd. On other systems the path is /dev/fd/3, always of this process, and
# the group "process" is None.
_OPEN_FILE = re.compile(r"(?:/dev|/proc/(?P<process>\d+)(?:/task/\d+)?)/fd/(?P<number>\d+)")
_MOST_LINKS = 40  # as many as Linux follows


def output_path(text: str | os.PathLike[str]) -> Path:
    """Return the path of an output; "-" stands for standard output ("./-" for a file of that name).

    >>> output_path("-").name, output_path("./-").name
    ('stdout', '-')
    """
    return STDOUT if text == "-" else Path(text)


def destination(path: Path) -> Path:
    """Return the file or folder that a path leads to through symbolic links; it need not exist."""
    return Path(os.path.realpath(path))


def is_stream(path: Path) -> bool:
    """Return whether a path leads to something that can only be written in order, not replaced by a finished file.

    That is an open file of this process (``/dev/stdout``, ``/dev/fd/3``), a pipe, a device or a socket.
    """
    if _open_file(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # nothing is there yet, the path cannot be searched, or no file can have this name
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_stream(path: Path) -> BinaryIO:
    """Open a stream for writing.

    An open file of this process is continued where it stands, as a shell expects: what other commands have written to
    it is not deleted.

    Args:
        path: path for which `is_stream` returns True.
    """
    number = _open_file(path)
    if number is None:
        return open(path, "wb")
    if sys.stdout is not None:  # it is None if the process was started without standard output
        sys.stdout.flush()  # text that Python still holds comes first
    return os.fdopen(os.dup(number), "wb")


def _open_file(path: Path) -> int | None:
    """Return the number of the open file of this process that a path stands for, or None.

    Links are followed one at a time: realpath would go on through /dev/fd/3 to the file that is open there, and the
    number would be lost.
    """
    for _ in range(_MOST_LINKS):
        if path == STDOUT:
            return 1
        folder, name = os.path.split(os.path.abspath(path))
        path = Path(os.path.realpath(folder), name)
        if match := _OPEN_FILE.fullmatch(str(path)):
            # A file that another process has open has no number here; it is opened by its path.
            is_ours = match["process"] in (None, str(os.getpid()))
            return int(match["number"]) if is_ours else None
        if not os.path.islink(path):  # also if the name is too long for a file
            return None
        path = path.parent / os.readlink(path)
    return None
