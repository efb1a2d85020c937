"""Watch every step of a run: stop or skip at a NaN or infinite loss, record loss spikes, name the windows involved."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import InputError
from ..genomes.order import EpochOrder
from ..io.files import shorten
from .callbacks import StopRequest
from .checkpoints import newest_valid

logger = logging.getLogger(__name__)

#: Function that describes rows of an epoch: (epoch, rows) -> one dictionary for each row, never with its letters.
Describe = Callable[[int, np.ndarray], list[dict[str, Any]]]

FILE = "incidents.jsonl"
_REMEMBERED, _FEWEST = 100, 20  # losses of steps: how many are kept, and how many it takes to detect a spike
_NAMED = 5  # windows in a message; the file lists all
_MOST_SKIPPED = 10  # steps in a row


class SpikeDetector:
    """Detector of losses far above the losses of the last 100 steps.

    A spike is more than 10 % and more than 8 robust standard deviations (1.4826 times the median distance from the
    median) above the median. The first 20 losses are never spikes. Spikes are not remembered, so that a second one is
    detected as well.

    >>> is_spike = SpikeDetector([5.0, 5.1] * 20)
    >>> is_spike(5.2), is_spike(9.0)
    (False, True)

    Args:
        losses: losses of the steps before, the oldest first.
    """

    def __init__(self, losses: Sequence[float] = ()) -> None:
        self.losses = deque(losses, maxlen=_REMEMBERED)

    @property
    def median(self) -> float:
        """Median of the remembered losses."""
        return statistics.median(self.losses)

    def __call__(self, loss: float) -> bool:
        """Check whether the loss of the next step is a spike, and remember it if it is not."""
        if len(self.losses) >= _FEWEST:
            median = self.median
            deviation = 1.4826 * statistics.median(abs(past - median) for past in self.losses)
            if loss > max(median + 8 * deviation, median + 0.1 * abs(median)):
                return True
        self.losses.append(loss)
        return False


class RunningLoss:
    """Mean loss since the last line of the log, and mean loss of the whole run; skipped steps count in neither.

    The Trainer keeps such sums too, but in private attributes, and counts every step.
    """

    def __init__(self) -> None:
        self.recent, self.recent_steps = torch.zeros(()), 0  # float32, as the Trainer adds losses up
        self.total, self.total_steps = 0.0, 0

    def add(self, losses: Sequence[float]) -> None:
        """Add the losses of the forward passes of a step, each already divided by the number of passes."""
        for loss in losses:
            self.recent += loss
        self.recent_steps += 1

    def take_mean(self, accelerator: Any) -> float:
        """Return the mean since the last call, over all processes; all of them must call this."""
        loss = self._gather(accelerator)
        mean = loss / self.recent_steps
        self.total, self.total_steps = self.total + loss, self.total_steps + self.recent_steps
        self.recent, self.recent_steps = torch.zeros(()), 0
        return mean

    def mean_of_run(self, accelerator: Any) -> float:
        """Return the mean over all steps of the run and all processes; all of them must call this."""
        return (self.total + self._gather(accelerator)) / max(self.total_steps + self.recent_steps, 1)

    def _gather(self, accelerator: Any) -> float:
        """Return the mean over all processes of the sums since the last line of the log."""
        return accelerator.gather(self.recent.to(accelerator.device)).mean().item()

    def state(self) -> dict[str, float]:
        """Return the sums and counts for a checkpoint."""
        return {name: float(value) if name == "recent" else value for name, value in vars(self).items()}

    def restore(self, state: dict[str, float]) -> None:
        """Restore what ``state`` returned."""
        vars(self).update(state | {"recent": torch.tensor(state["recent"])})


class WatchSteps(TrainerCallback):
    """Judge every step before the optimizer takes it.

    Args:
        stop: the request to stop; all processes agree on it here, in the exchange that each step needs anyway.
        on_nonfinite: what to do at a loss or gradient norm that is NaN or infinite: stop the run, or skip the step.
            Ten such steps in a row stop the run in either case.
        order: order of the training rows, to find the windows of a step.
        describe: function that describes training rows; without it, messages name step and process only.
    """

    def __init__(
        self,
        stop: StopRequest,
        on_nonfinite: Literal["stop", "skip_batch"],
        order: EpochOrder | None,
        describe: Describe | None,
    ) -> None:
        self.stop, self.on_nonfinite, self.order, self.describe = stop, on_nonfinite, order, describe
        self.losses: list[Tensor] = []  # losses of the forward passes of this step so far
        self.rows: list[Tensor | None] = []  # numbers of the rows of these passes, if the batches hold them
        self.gradient_norm: Any = 0.0  # gradient norm of this step, before clipping
        self.running, self.is_spike, self.skipped = RunningLoss(), SpikeDetector(), 0
        self.quiet_spikes: list[tuple[float, int]] = []  # loss and step of the spikes that no message has named

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """Decide whether the optimizer takes the step, skips it, or the run stops; all processes decide alike.

        Raises:
            InputError: if a loss or the gradient norm is NaN or infinite, and the step is not skipped.
        """
        losses, self.losses = self.losses, []
        passes, self.rows = self.rows, []
        # In fp16, gradients overflow now and then. The loss scaler skips such steps itself, so the norm is not judged.
        judged = losses if args.fp16 else [*losses, torch.as_tensor(self.gradient_norm, device=losses[0].device)]
        # The one place in a step that waits for the device: all numbers are fetched together.
        values = torch.stack([value.detach().float() for value in judged]).tolist()
        bad, self.stop.agreed = agree(args, int(not all(map(math.isfinite, values))), self.stop.number)
        values = values[: len(losses)]
        if bad:
            self._handle_nonfinite(args, state, model, values, passes)
            return
        self.skipped = 0
        self.running.add(values)
        if self.is_spike(sum(values)):
            what = self._record(args, state, "spike", [sum(values)], None, passes)
            # Rows of a table are few and seen again and again: once the loss is near 0, any hard row is a spike.
            if self.order is None and passes and passes[0] is not None:
                self.quiet_spikes.append((sum(values), state.global_step + 1))
            else:
                logger.warning("%s; the median of the steps before is %.4g", what, self.is_spike.median)

    def on_train_end(self, args: TrainingArguments, *rest: Any, **kwargs: Any) -> None:
        """Log how many spikes no message has named."""
        if self.quiet_spikes:
            loss, step = max(self.quiet_spikes)
            batches = "batch" if len(self.quiet_spikes) == 1 else "batches"
            highest = f"the highest {loss:.4g} at step {step}"
            logger.info(
                "%d %s had an unusually high loss (%s), listed in %s", len(self.quiet_spikes), batches, highest, FILE
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write no line of the log if every step since the last one was skipped."""
        control.should_log = control.should_log and self.running.recent_steps > 0

    on_epoch_end = on_step_end

    def _handle_nonfinite(
        self,
        args: TrainingArguments,
        state: TrainerState,
        model: Any,
        losses: list[float],
        passes: list[Tensor | None],
    ) -> None:
        """Skip the step or stop the run; every process raises the same message, so that the first can speak for all."""
        self.skipped += 1
        all_losses = gather_object([losses])
        bad_ranks = [rank for rank, values in enumerate(all_losses) if not all(map(math.isfinite, values))]
        here = not bad_ranks or args.process_index in bad_ranks  # no bad rank: only the gradient norm is bad
        message = self._record(args, state, "non-finite", losses, float(self.gradient_norm), passes) if here else None
        what = next(filter(None, gather_object([message])))
        if self.on_nonfinite == "stop" or self.skipped == _MOST_SKIPPED:
            last = newest_valid(Path(args.output_dir))[0]
            raise divergence_error(what, f"; the last good checkpoint is {last}" if last else "")
        if args.process_index == 0:
            logger.warning("%s; the step is skipped", what)
        for parameter in model.parameters():
            parameter.grad = None  # so that the optimizer changes neither this weight nor its own state

    def _record(
        self,
        args: TrainingArguments,
        state: TrainerState,
        kind: str,
        losses: list[float],
        norm: float | None,
        passes: list[Tensor | None],
    ) -> str:
        """Append an incident to the run's file of incidents, and describe it in one line."""
        step, rank = state.global_step, args.process_index
        facts = {"kind": kind, "step": step + 1, "rank": rank, "losses": losses, "gradient_norm": norm}
        loss = f"loss {sum(losses):.4g}" + ("" if norm is None else f", gradient norm {norm:.4g}")
        what = f"step {step + 1}{f', rank {rank}' if args.world_size > 1 else ''}: {loss}"
        if self.order is not None and self.describe is not None:
            epoch, rows = self.order.rows_of_step(step, rank)
            windows = self.describe(epoch, culprits(losses, rows) if len(losses) > 1 else rows.reshape(-1))
            facts |= {"epoch": epoch, "windows": windows}
            what += f" in {name_windows(windows)} of epoch {epoch} (all listed in {FILE})"
        elif self.describe is not None and (numbers := [rows.tolist() for rows in passes if rows is not None]):
            epoch = int(state.epoch or 0)
            bad = [rows for rows, loss in zip(numbers, losses, strict=False) if not math.isfinite(loss)]
            named = self.describe(epoch, np.array(sum(bad or numbers, []), np.int64))
            facts |= {"epoch": epoch, "rows": named}
            what += f" in {name_rows(named)} (all listed in {FILE})"
        append(Path(args.output_dir), facts)
        return what


def agree(args: TrainingArguments, *flags: int) -> list[int]:
    """Return the largest value of each flag over all processes, so that all processes take the same branch."""
    if args.world_size == 1:
        return list(flags)
    together = torch.tensor(flags, device=args.device)
    torch.distributed.all_reduce(together, torch.distributed.ReduceOp.MAX)
    return together.tolist()


def divergence_error(what: str, more: str = "") -> InputError:
    """Build the error for a run that has diverged (NaN or infinite numbers).

    Args:
        what: what was NaN or infinite, and where; it begins the message.
        more: text to append to the message.
    """
    return InputError(
        f"{what}: the run has diverged and its model is not saved; lower trainer.learning_rate or lengthen "
        f"trainer.warmup_steps{more}"
    )


def culprits(losses: Sequence[float], rows: np.ndarray) -> np.ndarray:
    """Choose the rows of a step whose losses are NaN or infinite; all rows if every loss is finite.

    Args:
        losses: losses of the forward passes of a step.
        rows: (accumulation, batch), the rows of each forward pass.

    Returns:
        the chosen rows, (rows,).
    """
    bad = [not math.isfinite(loss) for loss in losses]
    return rows[bad].reshape(-1) if any(bad) else rows.reshape(-1)


def name_windows(windows: Sequence[dict[str, Any]]) -> str:
    """Name the first few of many windows.

    >>> name_windows([{"window": 7, "record": "NC_001416", "start": 10, "end": 160}])
    'window 7 (NC_001416:10-160)'
    """
    named = [f"{row['window']} ({row['record']}:{row['start']}-{row['end']})" for row in windows[:_NAMED]]
    more = f" and {len(windows) - _NAMED} more" if len(windows) > _NAMED else ""
    return f"window{'s' if len(windows) > 1 else ''} {', '.join(named)}{more}"


def name_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Name the first few of many rows of a table.

    >>> name_rows([{"file": "train.csv", "row": 7, "record": "g7"}])
    "row 7 ('g7') of train.csv"
    >>> name_rows([{"file": "train.csv", "row": 7, "record": "7"}])
    'row 7 of train.csv'
    """
    named = [
        str(row["row"])  # a table without ids: its rows are called by their numbers
        if str(row["record"]) == str(row["row"])
        else f"{row['row']} ({shorten(str(row['record']), 30)})"
        for row in rows[:_NAMED]
    ]
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(named)}{more} of {rows[0]['file']}"


def append(folder: Path, incident: dict[str, Any]) -> None:
    """Append an incident to the run's file of incidents, one JSON object a line; several processes may write to it.

    JSON has no NaN and no infinite numbers, and null would not tell which of the two it was, so they become texts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(_plain(incident), allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Return a value with the texts "nan", "inf" and "-inf" in place of these numbers."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
