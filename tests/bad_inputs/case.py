"""One bad input: how it is made, the command that reads it, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One bad input and its verdict.

    The command runs in an empty folder in which ``make`` has written its files. Words in capitals are paths of
    places.py.

    Args:
        command: the command line, split at blanks.
        named: what the message must contain: file, record or row or key, value.
        make: writes the files that the command reads into the folder that it is given.
        code: the exit code; 0 for an input that is accepted with a warning.
        warned: what the warnings must contain, for an input that is accepted.
        remedy: a command line that follows the advice of the message and must end with exit code 0; the same command
            again if only ``repair`` is given.
        repair: changes the files as the message advises, before the remedy is run.
        leaves: paths that exist afterwards besides the files of ``make``; any other new path fails the test.
    """

    command: str
    named: tuple[str, ...] = ()
    make: Callable[[Path], object] | None = None
    code: int = 2
    warned: tuple[str, ...] = ()
    remedy: str | None = None
    repair: Callable[[Path], object] | None = None
    leaves: tuple[str, ...] = ()
