"""What a command shows while it works: progress bars, and log lines that wait until the command is under way.

An error is one line. Bars and lines of the first seconds are therefore held back, and dropped if the command ends with
a user error; what comes later is shown at once.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ..errors import lines_for_user

if TYPE_CHECKING:
    from tqdm.auto import tqdm

_T = TypeVar("_T")
_HELD_S = 30.0  # seconds for which log lines are held back: a model may take that long to load and check
_DELAY_S = 1.0  # seconds after which a bar is shown
_BETWEEN_LINES_S = 30.0  # seconds between lines of the log that stand for a bar
#: Libraries that write log lines of their own to standard error.
_LIBRARIES = ("accelerate", "datasets", "evaluate", "huggingface_hub", "peft", "transformers")


def progress_bar(logger: logging.Logger, verb: str, unit: str, total: int | None = None) -> tqdm:
    """Build a progress bar, shown only in a terminal, and only if the logger's level is INFO or lower.

    Args:
        logger: logger of the command; at level WARNING or above the bar is hidden.
        verb: name of the command, which is shown before the bar.
        unit: what is counted; "nt" and "B" are shown with prefixes (k, M, G).
        total: total number of units, if known.

    Returns:
        The bar, for a ``with`` block; ``bar.update(count)`` moves it on.
    """
    from tqdm.auto import tqdm  # slow to import

    hidden = not logger.isEnabledFor(logging.INFO)
    # With ``disable=None`` tqdm shows the bar only if stderr is a terminal.
    return tqdm(
        total=total, unit=unit, unit_scale=unit in ("nt", "B"), desc=verb, disable=hidden or None, delay=_DELAY_S
    )


def say_how_many(items: Iterable[_T], logger: logging.Logger, verb: str, unit: str) -> Iterator[_T]:
    """Iterate over items; where no terminal shows a bar, log every half minute how many there were.

    Args:
        items: the items.
        logger: logger of the command.
        verb: name of the command.
        unit: what the items are called.
    """
    next_line = time.monotonic() + _BETWEEN_LINES_S
    for count, item in enumerate(items):
        if (now := time.monotonic()) >= next_line and not sys.stderr.isatty():
            logger.info("%s: %s %s so far", verb, f"{count:,}", unit)
            next_line = now + _BETWEEN_LINES_S
        yield item


def clear_bars() -> None:
    """Remove all progress bars from the terminal, including those of libraries that use tqdm."""
    library = sys.modules.get("tqdm")  # without it there is no bar
    for bar in list(getattr(library.tqdm, "_instances", ()) if library else ()):
        bar.leave = False
        bar.close()


class CommandLog(logging.Handler):
    """Write log lines to standard error: safe to show, and held back for the first seconds of a command."""

    def __init__(self) -> None:
        super().__init__()
        self.hold()

    def hold(self) -> None:
        """Hold back the lines of the next seconds."""
        self._held: list[str] | None = []
        self._start = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Write or hold one record."""
        try:
            text = self.format(record)
        except (TypeError, ValueError, KeyError) as error:  # a mistake in a library's log line must not end a long run
            text = f"{record.name}: a log line that cannot be formatted ({error}): {record.msg}"
        text = lines_for_user(text) + "\n"
        if self._held is not None and time.monotonic() - self._start < _HELD_S:
            self._held.append(text)
            return
        self.show_held()
        sys.stderr.write(text)

    def show_held(self) -> None:
        """Write the lines that are held, and hold back no further ones."""
        for text in self._held or []:
            sys.stderr.write(text)
        self._held = None

    def drop(self) -> None:
        """Discard the lines that are held."""
        self._held = None


def take_over_logs() -> None:
    """Send all log lines and warnings of this process through a `CommandLog`, unless the process has log handlers."""
    root = logging.getLogger()
    if log := command_log():
        log.hold()
    if root.handlers:
        return
    root.addHandler(CommandLog())
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    from transformers.utils import logging as transformers_logging

    transformers_logging.get_verbosity()  # sets up the handler that is removed below
    if hasattr(transformers_logging, "set_tqdm_hook"):  # a local model is loaded before its bar would be shown
        transformers_logging.set_tqdm_hook(lambda build, args, options: build(*args, **{"delay": _DELAY_S, **options}))
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True


def command_log() -> CommandLog | None:
    """Return the `CommandLog` of this process, or None if there is none."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, CommandLog)), None)
