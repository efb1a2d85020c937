"""A Trainer whose runs can be stopped, killed and resumed and still end in the same weights, and that stops at a NaN.

What differs from transformers' Trainer: checkpoints are whole or not there and hold no pickle (checkpoints.py); they
also hold the loss that is not yet logged, so that a resumed run writes the same log; a loss or gradient norm that is no
number ends the run within its step; a signal ends it after the step, with a checkpoint; nothing is printed.
"""

from __future__ import annotations

import json
import logging
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.distributed import DistError
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState

from ..errors import InputError, StoppedError
from ..genomes.order import EpochOrder
from ..runs import checkpoints, incidents
from ..runs import sharding as spread
from .signals import StopRequest

logger = logging.getLogger(__name__)

#: Arguments that decide the course of a run besides data and model. ``max_steps`` may grow.
_DECISIVE = (
    "seed per_device_train_batch_size gradient_accumulation_steps learning_rate lr_scheduler_type lr_scheduler_kwargs "
    "warmup_steps weight_decay optim optim_args adam_beta1 adam_beta2 adam_epsilon max_grad_norm bf16 fp16 "
    "label_smoothing_factor average_tokens_across_devices"
).split()
_NOT_SIZES = {"transformers_version", "architectures", "dtype", "_name_or_path", "auto_map"}
_MOST_SKIPPED = 10


class ExactTrainer(Trainer):
    """transformers.Trainer, made safe and exact.

    Args:
        order: order of the training rows; by default the Trainer's own random one.
        describe: says of rows what they are, for messages about a loss; without it they name step and rank only.
        settings: what else decides the course of the run, by key; a run with others is not resumed.
        on_nonfinite: what to do at a loss or gradient norm that is no number: stop the run, or leave the step out. Ten
            such steps in a row end the run all the same.
        options: of transformers.Trainer.
    """

    def __init__(
        self,
        *,
        order: EpochOrder | None = None,
        describe: incidents.Describe | None = None,
        settings: dict[str, Any] | None = None,
        on_nonfinite: Literal["stop", "skip_batch"] = "stop",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.order, self.describe, self.on_nonfinite = order, describe, on_nonfinite
        self.settings = _settings(self.args, self.model.config.to_dict()) | (settings or {})
        self.settings["FSDP"] = self.is_fsdp_enabled
        self._stop, self._stop_agreed = StopRequest(), 0
        self._losses: list[torch.Tensor] = []
        self._spikes = incidents.SpikeDetector()
        self._skipped = 0
        self._saved_step = -1
        self._resumed_from: Path | None = None
        self.remove_callback(PrinterCallback)
        if self.pop_callback(ProgressCallback):
            self.add_callback(_QuietProgress())
        self.add_callback(_RestoreLosses(self))

    # Steps

    def train(self, resume_from_checkpoint: Any = None, **options: Any) -> Any:
        """Train as the Trainer does.

        Raises:
            StoppedError: if SIGTERM or SIGINT came, and a checkpoint of the step that was under way is there; or if
                another process has ended.
            InputError: if a loss or gradient norm is no number, or the disk is full.
        """
        self._resumed_from = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        self.args.logging_nan_inf_filter = False
        try:
            with self._stop.listening():
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **options)
        except RuntimeError as error:
            if self.args.world_size > 1 and (isinstance(error, DistError) or "gloo" in str(error)):
                raise StoppedError("another process of the run has ended; see its messages", 1) from error
            raise

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log numbers, where the Trainer prints them.

        Raises:
            InputError: if the loss on the validation windows is no number.
        """
        super().log(logs, *args, **kwargs)
        if self.is_world_process_zero():
            numbers = (f"{name} {value:.6g}" for name, value in logs.items() if isinstance(value, int | float))
            logger.info("step %d: %s", self.state.global_step, ", ".join(numbers))
        if not math.isfinite(logs.get("eval_loss", 0)):
            raise diverged(f"eval_loss is {logs['eval_loss']} at step {self.state.global_step}")

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.order if self.order is not None else super()._get_train_sampler(train_dataset)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        with spread.one_group_of_tied_weights(self.model) if self.is_fsdp_enabled else nullcontext():
            return super()._prepare_for_training(*args, **kwargs)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # resumed after the last step: the Trainer would go on
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Train on a batch, and remember its loss until the end of the step."""
        if not self._losses:
            self._loss_before = self._tr_loss.clone()
        loss = super().training_step(*args, **kwargs)
        self._losses.append(loss)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Judge the step before the optimizer takes it."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # FSDP's is spread over processes
        losses, self._losses = self._losses, []
        scaled = getattr(self.accelerator, "scaler", None) is not None  # fp16: infinite norms are the scaler's business
        judged = [*losses, *([] if scaled else [torch.as_tensor(norm, device=losses[0].device)])]
        values = torch.stack([value.detach().float() for value in judged]).tolist()  # the one wait for the device
        bad, self._stop_agreed = self._agree(int(not all(map(math.isfinite, values))), self._stop.number)
        if bad:
            self._handle_nonfinite(values[: len(losses)], float(norm))
            return torch.zeros(())
        self._skipped = 0
        self._watch(sum(values[: len(losses)]))
        return norm

    def _agree(self, *flags: int) -> list[int]:
        """Give the largest of each flag over all processes, so that they go the same way."""
        if self.args.world_size == 1:
            return list(flags)
        together = torch.tensor(flags, device=self.args.device)
        torch.distributed.all_reduce(together, torch.distributed.ReduceOp.MAX)
        return together.tolist()

    def _handle_nonfinite(self, losses: list[float], norm: float) -> None:
        self._skipped += 1
        everybody = gather_object([losses])
        theirs = [rank for rank, values in enumerate(everybody) if not all(map(math.isfinite, values))]
        here = not theirs or self.args.process_index in theirs  # no loss: the gradient alone is no number
        said = gather_object([self._incident("non-finite", losses, norm) if here else None])
        what = next(filter(None, said))  # so that each process can say it
        if self.on_nonfinite == "skip_batch" and self._skipped < _MOST_SKIPPED:
            if self.is_world_process_zero():
                logger.warning("%s; the step is left out", what)
            self._leave_out()
            return
        last = checkpoints.newest_valid(Path(self.args.output_dir))[0]
        raise diverged(what, f"; the last good checkpoint is {last}" if last else "")

    def _leave_out(self) -> None:
        """Take a step back: no gradients, so the optimizer does nothing, and a mean loss over the other steps."""
        for parameter in self.model.parameters():
            parameter.grad = None
        self._tr_loss.copy_(self._loss_before)
        self._globalstep_last_logged += 1
        if hasattr(self, "_initial_global_step"):
            self._initial_global_step += 1

    def _watch(self, loss: float) -> None:
        """Log a loss that lies far above those of the steps before."""
        if self._spikes(loss):
            what = self._incident("spike", [loss], None)
            logger.warning("%s; the median of the steps before is %.4g", what, self._spikes.median)

    def _incident(self, kind: str, losses: list[float], norm: float | None) -> str:
        """Note an incident in the run's list of them and describe it in one line."""
        step, rank = self.state.global_step, self.args.process_index
        facts = {"kind": kind, "step": step + 1, "rank": rank, "losses": losses, "gradient_norm": norm}
        loss = f"loss {sum(losses):.4g}" + ("" if norm is None else f", gradient norm {norm:.4g}")
        what = f"step {step + 1}, rank {rank}: {loss}"
        if self.order is not None and self.describe is not None:
            epoch, rows = self.order.of_step(step, rank)
            windows = self.describe(epoch, incidents.culprits(losses, rows) if len(losses) > 1 else rows.reshape(-1))
            facts |= {"epoch": epoch, "windows": windows}
            what += f" in {incidents.name_windows(windows)} of epoch {epoch} (all in {incidents.FILE})"
        incidents.note(Path(self.args.output_dir), facts)
        return what

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        stop, self._stop_agreed = self._stop_agreed, 0
        if stop and self._saved_step != self.state.global_step:
            self.control.should_save = True
        super()._maybe_log_save_evaluate(*args, **kwargs)
        if stop:
            name = signal.Signals(stop).name
            raise StoppedError(
                f"stopped by {name} after step {self.state.global_step}, which is saved; go on with --resume true",
                128 + stop,
            )

    # Checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.store_flos()
        processes = gather_object([self._process_state()])
        weights = self._whole_weights()
        optimizer = self.optimizer.state_dict()
        if self.is_fsdp_enabled:
            optimizer = spread.gather_optimizer(self.model, self.optimizer.optimizer)
        folder = Path(self.args.output_dir)
        target = folder / f"checkpoint-{self.state.global_step}"
        if self.state.best_global_step == self.state.global_step:
            self.state.best_model_checkpoint = str(target)
        if self.args.should_save:
            checkpoints.check_space(folder, checkpoints.checkpoint_bytes(self.model), "a checkpoint")
            with disk_errors(target), checkpoints.writing(target) as place:
                self._save(str(place), weights)
                self._write(place, processes, optimizer)
            checkpoints.rotate(folder, self.args.save_total_limit, self.state.best_model_checkpoint)
        self._saved_step = self.state.global_step

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and tokenizer for ``from_pretrained``."""
        weights = self._whole_weights()
        self._save(output_dir, weights)

    def _whole_weights(self) -> dict[str, Any] | None:
        """Gather weights that are spread over processes; None where this process has them all."""
        return spread.gather_weights(self.model) if self.is_fsdp_enabled else None

    def _write(self, place: Path, processes: list[dict[str, Any]], optimizer: dict[str, Any]) -> None:
        """Write all of a checkpoint but the weights and the manifest."""
        scaler = getattr(self.accelerator, "scaler", None)
        states = {"optimizer": optimizer, "schedule": self.lr_scheduler.state_dict()}
        checkpoints.save_tree(states | {"scaler": scaler and scaler.state_dict()}, place, "optimizer")
        checkpoints.save_tree(processes, place, "processes")
        (place / checkpoints.SETTINGS).write_text(json.dumps(self.settings, indent=1, default=str) + "\n")
        for callback in (*self.callback_handler.callbacks, self.control):
            if isinstance(callback, ExportableState):
                self.state.stateful_callbacks[type(callback).__name__] = callback.state()
        self.state.save_to_json(str(place / checkpoints.TRAINER_STATE))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save model and tokenizer without the pickle of the arguments, which would run code when it is loaded."""
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            (Path(output_dir or self.args.output_dir) / "training_args.bin").unlink(missing_ok=True)

    def _process_state(self) -> dict[str, Any]:
        """Take down what each process has for itself: random numbers, and the losses since the last line of the log."""
        return {
            "random": checkpoints.random_state(),
            "losses": {name: getattr(self, name) for name in _RUNNING if hasattr(self, name)}
            | {"_tr_loss": self._tr_loss.cpu()},
            "recent_losses": list(self._spikes.losses),
        }

    def _own_state(self, checkpoint: Path) -> dict[str, Any]:
        return checkpoints.load_tree(checkpoint, "processes")[self.args.process_index]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        weights = load_file(Path(resume_from_checkpoint) / "model.safetensors")
        self._issue_warnings_after_load(spread.spread_weights(model or self.model, weights))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint:
            checkpoints.set_random_state(self._own_state(Path(checkpoint))["random"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not checkpoint:
            return
        states = checkpoints.load_tree(Path(checkpoint), "optimizer")
        if self.is_fsdp_enabled:
            spread.spread_optimizer(self.model, self.optimizer.optimizer, states["optimizer"])
        else:
            self.optimizer.load_state_dict(states["optimizer"])
        self.lr_scheduler.load_state_dict(states["schedule"])
        if states["scaler"]:
            self.accelerator.scaler.load_state_dict(states["scaler"])

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Do nothing: the scaler comes with the optimizer."""

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse weights that are not the model's; the Trainer would only warn.

        Raises:
            InputError: naming the first of them.
        """
        tied = set(self.model.all_tied_weights_keys)
        wrong = [name for name in load_result.missing_keys if name not in tied] + load_result.unexpected_keys
        if wrong:
            raise InputError(f"{self._resumed_from}: the weights are of another model, see {wrong[0]}")
        self.model.tie_weights()

    def restore_losses(self) -> None:
        """Go on with the losses that the checkpoint had not logged, and save and log as often as asked now."""
        if self._resumed_from is None:
            return
        self.state.compute_steps(self.args, self.state.max_steps)
        state = self._own_state(self._resumed_from)
        for name, value in state["losses"].items():
            setattr(self, name, value.to(self.args.device) if isinstance(value, torch.Tensor) else value)
        self._spikes = incidents.SpikeDetector(state["recent_losses"])


#: The Trainer's own notes of what it has yet to log; `_initial_global_step` is younger than transformers 5.17.
_RUNNING = (
    "_tr_loss _total_loss_scalar _globalstep_last_logged _initial_global_step _initial_num_input_tokens_seen".split()
)


class _RestoreLosses(TrainerCallback):
    """The Trainer sets its running losses to zero just before training begins."""

    def __init__(self, trainer: ExactTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.trainer.restore_losses()


class _QuietProgress(ProgressCallback):
    """The progress bar without the lines that it prints into standard output."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Leave the numbers to the log."""


def diverged(what: str, more: str = "") -> InputError:
    """Say that a run has left the numbers, and what to do."""
    return InputError(
        f"{what}: the run has diverged and is not saved; lower trainer.learning_rate or lengthen its warm-up{more}"
    )


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn what a full or failing disk raises, in Python or in safetensors, into one line.

    Raises:
        InputError: naming the place, the reason and the way out.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        last = checkpoints.newest_valid(place.parent)[0]
        way_out = f"then go on from {last.name} with --resume true" if last else "and start again"
        raise InputError(f"{place}: could not be written ({error}); make room on the disk, {way_out}") from error


def _settings(args: TrainingArguments, model: dict[str, Any]) -> dict[str, Any]:
    """Collect what decides the course of a run, flat: {"trainer.seed": 42, "model.hidden_size": 768, ...}."""
    settings = {f"trainer.{name}": getattr(args, name) for name in _DECISIVE}
    settings |= {f"model.{name}": value for name, value in model.items() if name not in _NOT_SIZES}
    return settings | {"number of processes": args.world_size}
