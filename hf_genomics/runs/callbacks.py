"""Callbacks of the Trainer: pass the epoch on to data sets, stop after a step, keep standard output clean."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Protocol

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import StoppedError
from ..stopping import handling, ignore_signals
from .memory import return_freed_memory

#: Seconds after a signal in which a launcher may pass on the same request as a second signal.
_PASSED_ON = 5.0


class HasEpochs(Protocol):
    """Anything that changes with the epoch: a data set with other rows, or an order that shuffles them again."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""


class SetEpoch(TrainerCallback):
    """Pass each new epoch on to data sets and to orders of their rows.

    The Trainer itself does so only if a single process trains: with several, accelerate wraps the sampler, and the data
    set never learns which epoch it is.

    Args:
        datasets: objects with a method ``set_epoch(epoch)``.
    """

    def __init__(self, *datasets: HasEpochs) -> None:
        self.datasets = datasets

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the epoch before its first batch is drawn."""
        for dataset in self.datasets:
            dataset.set_epoch(int(state.epoch or 0))


class StopRequest:
    """Request to stop after the current step, made by one of `stopping.SIGNALS`.

    Attributes:
        number: the signal that this process received, 0 for none.
        agreed: the signal that any process of the run had received by the last step, 0 for none; the same on all.
    """

    def __init__(self) -> None:
        self.number = self.agreed = 0
        self._since = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Record a signal; a second signal interrupts the run at once.

        A scheduler sends its signal to the launcher of several processes and to the processes; the launcher then passes
        it on to them. That is one request.
        """
        launched, now = "WORLD_SIZE" in os.environ, time.monotonic()
        if self.number and not (launched and now - self._since < _PASSED_ON):
            raise KeyboardInterrupt
        if not self.number:
            self.number, self._since = number, now

    def listening(self) -> AbstractContextManager[None]:
        """Handle the signals within a ``with`` block, and restore the previous handlers after it."""
        return handling(self)


def shield_workers(loader: Any) -> Any:
    """Set the workers of a DataLoader to ignore signals that ask for a stop; return the DataLoader.

    Args:
        loader: a DataLoader that has not started its workers yet, or accelerate's wrapper of one.
    """
    inner = getattr(loader, "base_dataloader", loader)  # what is set on the wrapper does not reach the workers
    if getattr(inner, "num_workers", 0):
        inner.worker_init_fn = _ShieldedWorker(inner.worker_init_fn)
    return loader


class _ShieldedWorker:
    """Start of a worker process: ignore signals, then do what the DataLoader asks for."""

    def __init__(self, init: Any) -> None:
        self.init = init

    def __call__(self, worker: int) -> None:
        """Initialise the worker with this number."""
        ignore_signals()
        if self.init is not None:
            self.init(worker)


class ReturnMemory(TrainerCallback):
    """Return freed memory to the system now and then; see `return_freed_memory`.

    Args:
        every: number of steps from one time to the next; it takes as long as a small part of a step.
    """

    def __init__(self, every: int = 100) -> None:
        self.every = every

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Return freed memory after every so many steps."""
        if state.global_step % self.every == 0:
            return_freed_memory()


class StopAfterStep(TrainerCallback):
    """Save a checkpoint and end the run once a stop is agreed on.

    Args:
        request: the request to stop; `WatchSteps` lets all processes agree on it before the optimizer takes a step.
    """

    def __init__(self, request: StopRequest) -> None:
        self.request = request

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask the Trainer for a checkpoint of this step."""
        if self.request.agreed:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the run.

        Setting control.should_training_stop would end the run as if it were complete: the Trainer would log the metrics
        of training, load the best model and, with ``save_total_limit`` 1, delete every other checkpoint, among them the
        one just saved.

        Raises:
            StoppedError: always if a stop is agreed on, with the exit code of a process that the signal ended
                (128 + the number of the signal).
        """
        if self.request.agreed:
            name = signal.Signals(self.request.agreed).name
            raise StoppedError(
                f"stopped by {name} after step {state.global_step}, which is saved; start it again with --resume auto",
                128 + self.request.agreed,
            )


class QuietProgress(ProgressCallback):
    """transformers' progress bar without the lines of the log, which it prints to standard output."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `ExactTrainer.log` writes the numbers to the log."""
