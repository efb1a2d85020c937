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
    """A data set whose rows, or an order whose sequence, change with the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""


class SetEpoch(TrainerCallback):
    """Pass each new epoch on to data sets and to orders of their rows.

    The Trainer does so on one process only: with several, accelerate wraps the sampler and the data set never learns
    which epoch it is.

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
        agreed: the signal that all processes of the run know of since the last step, 0 for none.
    """

    def __init__(self) -> None:
        self.number = self.agreed = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; a second one interrupts at once."""
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT within the block, then restore the handlers before it; in the main thread only."""
        if threading.current_thread() is not threading.main_thread():  # Python lets no other thread set handlers
            yield
            return
        before: dict[int, Any] = {number: signal.signal(number, self) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class StopAfterStep(TrainerCallback):
    """Save a checkpoint and end the run once a stop is agreed on.

    Args:
        request: the request, agreed on by all processes before the optimizer takes the step.
    """

    def __init__(self, request: StopRequest) -> None:
        self.request = request

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask the Trainer for a checkpoint of this step."""
        if self.request.agreed:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the run.

        control.should_training_stop would end it as if it were complete: the Trainer would log the metrics of training,
        load the best model and, with ``save_total_limit`` 1, delete every other checkpoint, this one among them.

        Raises:
            StoppedError: with the exit code of a process that the signal ended.
        """
        if self.request.agreed:
            name = signal.Signals(self.request.agreed).name
            raise StoppedError(
                f"stopped by {name} after step {state.global_step}, which is saved; continue with --resume true",
                128 + self.request.agreed,
            )


class QuietProgress(ProgressCallback):
    """Progress bar without the lines that transformers' own prints to standard output."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `ExactTrainer.log` writes the numbers to the log."""
