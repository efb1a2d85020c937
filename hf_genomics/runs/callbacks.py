"""Callbacks of the Trainer: pass the epoch on to data sets, stop after a step, keep standard output clean."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import StoppedError


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
    """Request to stop after the current step, made by SIGTERM or SIGINT.

    Attributes:
        number: the signal that this process received, 0 for none.
        agreed: the signal that any process of the run had received by the last step, 0 for none; the same on all.
    """

    def __init__(self) -> None:
        self.number = self.agreed = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second signal interrupts the run at once."""
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT within the block, and restore the previous handlers after it."""
        if threading.current_thread() is not threading.main_thread():  # Python lets only the main thread do this
            yield
            return
        previous: dict[int, Any] = {number: signal.signal(number, self) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


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
                f"stopped by {name} after step {state.global_step}, which is saved; continue with --resume true",
                128 + self.request.agreed,
            )


class QuietProgress(ProgressCallback):
    """transformers' progress bar without the lines of the log, which it prints to standard output."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `ExactTrainer.log` writes the numbers to the log."""
