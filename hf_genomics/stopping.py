"""Signals that ask a process to stop, as people, launchers and schedulers of clusters send them.

The command line answers a signal at once, by an error that cleans up on its way out (`stop_at_signals`). A training
run answers it after the current step (runs/callbacks.py).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .errors import StoppedError

#: SIGTERM: kill, Slurm, Kubernetes; SIGINT: Ctrl-C; SIGHUP: a closed terminal; SIGUSR1, SIGUSR2, SIGXCPU: the warnings
#: of Slurm, Grid Engine and LSF before the time limit. Windows has the first two only.
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)

Handler = Callable[[int, FrameType | None], None]


class StopNow:
    """Handler that raises `StoppedError` at the first signal, and KeyboardInterrupt at a second one.

    Attributes:
        advice: what to do after the stop, the end of the message.
        number: the signal that was received, 0 for none.
    """

    def __init__(self, advice: str = "start it again") -> None:
        self.advice, self.number = advice, 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise the error."""
        if self.number:
            raise KeyboardInterrupt
        self.number = number
        raise self.error()

    def error(self) -> StoppedError:
        """Build the error of the signal that was received."""
        name = signal.Signals(self.number).name
        return StoppedError(f"stopped by {name}; nothing half-written is left; {self.advice}", 128 + self.number)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Handle the signals within the block, and restore the previous handlers after it.

    A signal that this process ignores stays ignored: that is how ``nohup`` works. In other threads than the main one,
    the block changes nothing, because Python does not allow it.

    Args:
        handler: what to call; if `StopNow` has received a signal but its error was lost (Python ignores errors in a
            destructor, for instance), the block does not begin.

    Raises:
        StoppedError: if a signal was received before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    lost = next((old for old in before.values() if isinstance(old, StopNow) and old.number), None)
    if lost:
        raise lost.error()
    # None: a handler that was not installed by Python, which it could not restore either.
    changed = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in changed.items():
            signal.signal(number, old)


def stop_at_signals(advice: str) -> Any:
    """Return a context manager within which a signal raises `StoppedError` at once.

    Args:
        advice: what to do after the stop, such as "start it again".
    """
    return handling(StopNow(advice))


def ignore_signals() -> None:
    """Ignore the signals: for worker processes, which end when their parent does.

    A scheduler sends its signal to all processes of a job. Workers that ended at once would leave the step unfinished
    that their parent wants to finish and save.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
