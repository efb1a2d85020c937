"""A Trainer whose runs can be stopped, killed and resumed and still end with the same weights, bit for bit.

Differences from transformers' Trainer:

- A checkpoint is complete or absent, and holds no pickle (checkpoints.py).
- A checkpoint also holds the loss not yet logged, so that a resumed run writes the same log.
- A NaN or infinite loss or gradient norm stops the run at that step, or the step is skipped (incidents.py).
- A signal that asks for a stop ends the run after the current step, with a checkpoint (callbacks.py).
- Nothing is printed to standard output.

This file overrides public methods of the Trainer only. The private methods that must be replaced as well are overridden
in trainer_fence.py; they call `write_checkpoint`, `load_sharded_weights`, `check_loaded`, `restore_random_state` and
`note_gradient_norm` here.
"""

from __future__ import annotations

import copy
import datetime
import json
import logging
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.distributed import DistError
from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ..errors import InputError, StoppedError
from ..genomes.order import EpochOrder
from . import checkpoints
from .callbacks import QuietProgress, StopAfterStep, StopRequest, shield_workers
from .incidents import Describe, SpikeDetector, WatchSteps, agree, divergence_error
from .sharding import shard, shard_optimizer, unshard, unshard_optimizer
from .trainer_fence import FencedTrainer

logger = logging.getLogger(__name__)

#: Arguments of the Trainer that decide the course of a run. ``max_steps`` is left out: a resumed run may raise it.
_DECISIVE = (
    "seed per_device_train_batch_size gradient_accumulation_steps learning_rate lr_scheduler_type lr_scheduler_kwargs "
    "warmup_steps weight_decay optim optim_args adam_beta1 adam_beta2 adam_epsilon max_grad_norm bf16 fp16 "
    "label_smoothing_factor average_tokens_across_devices"
).split()
#: Further ones, which are saved only if they are not the default, so that older checkpoints can be resumed.
_DECISIVE_IF_SET = "data_seed train_sampling_strategy dataloader_drop_last neftune_noise_alpha".split()
#: Keys of a model's configuration that do not change what is computed.
_NOT_DECISIVE = {"transformers_version", "architectures", "dtype", "_name_or_path", "auto_map"} | {
    "positive_class",
    "decision_threshold",
}


class ExactTrainer(FencedTrainer):
    """transformers.Trainer, made safe and exact.

    Args:
        order: order of the training rows; by default the Trainer's own random order.
        describe: function that describes training rows, for messages about a loss; without it, the messages name step
            and process only.
        settings: everything else that decides the course of the run, by key. A run is resumed only with the same
            settings.
        on_nonfinite: what to do at a loss or gradient norm that is NaN or infinite: stop the run, or skip the step. Ten
            such steps in a row stop the run in either case.
        options: arguments of transformers.Trainer.
    """

    def __init__(
        self,
        *,
        order: EpochOrder | None = None,
        describe: Describe | None = None,
        settings: dict[str, Any] | None = None,
        on_nonfinite: Literal["stop", "skip_batch"] = "stop",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.order = order
        self.settings = decisive_settings(self.args, self.model.config.to_dict()) | (settings or {})
        self.settings["FSDP"] = self.is_fsdp_enabled
        self._stop = StopRequest()
        self._watch = WatchSteps(self._stop, on_nonfinite, order, describe)
        self._resumed_from: Path | None = None
        self._hours_before: float | None = None  # hours of the earlier runs that this one continues
        self.remove_callback(PrinterCallback)
        if self.pop_callback(ProgressCallback):
            self.add_callback(QuietProgress())
        for callback in (self._watch, StopAfterStep(self._stop), _Restore(self)):
            self.add_callback(callback)

    # Steps

    def train(self, resume_from_checkpoint: Any = None, **options: Any) -> Any:
        """Train from the start, or from a checkpoint.

        Raises:
            StoppedError: after a signal, once the current step is saved; or if another process has ended.
            InputError: if a loss or gradient norm is NaN or infinite, or the disk is full.
        """
        self._resumed_from = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        self._hours_before = None
        self.args.logging_nan_inf_filter = False  # that filter waits for the device in each pass
        try:
            with self._stop.listening():
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **options)
        except RuntimeError as error:
            # If a process was killed, the next exchange between the others fails, with an error of gloo or NCCL.
            if self.args.world_size > 1 and (isinstance(error, DistError) or "gloo" in str(error)):
                raise StoppedError("another process of the run has ended; see its messages", 1) from error
            raise

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Train on a batch, and keep its loss and the numbers of its rows until `WatchSteps` judges the step."""
        self._watch.rows.append(inputs.pop("row_numbers", None))
        loss = super().training_step(model, inputs, *args, **kwargs)
        self._watch.losses.append(loss)
        return loss

    def get_train_dataloader(self) -> Any:
        """Build the loader of training batches, whose workers outlive a signal that asks for a stop."""
        return shield_workers(super().get_train_dataloader())

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Build the loader of validation batches, whose workers outlive a signal that asks for a stop."""
        return shield_workers(super().get_eval_dataloader(*args, **kwargs))

    def stop_if_asked(self) -> None:
        """End a run that was asked to stop during its last step, if that step is saved; all processes must call this.

        Raises:
            StoppedError: if a signal was received while the run trained.
        """
        (number,) = agree(self.args, self._stop.number)
        step = self.state.global_step
        # If the last step was not saved, stopping here would lose the training: the run goes on and saves its model.
        if number and checkpoints.problem_of(Path(self.args.output_dir) / f"checkpoint-{step}") is None:
            raise StoppedError(
                f"stopped by {signal.Signals(number).name} after step {step}, the last one, which is saved; finish the "
                "run with --resume auto",
                128 + number,
            )

    def note_gradient_norm(self, norm: Any) -> None:
        """Keep the gradient norm until `WatchSteps` judges the step."""
        self._watch.gradient_norm = norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write numbers to the log instead of standard output, with mean losses over the steps that were not skipped.

        The hours of training include those of earlier runs that this one continues, up to their last line of the log
        before the checkpoint. NaN and infinite numbers, which are not valid JSON, become None.

        Args:
            logs: the numbers, which are changed.
            start_time: when this run began to train, as from ``time.time``; None outside training.

        Raises:
            InputError: if the validation loss is NaN or infinite.
        """
        running_loss = self._watch.running
        if "loss" in logs and running_loss.recent_steps:
            logs["loss"] = running_loss.take_mean(self.accelerator)
        if "train_loss" in logs:
            logs["train_loss"] = running_loss.mean_of_run(self.accelerator)
            logs["train_hours"] = self._hours(logs["train_runtime"])
        elif start_time is not None:
            logs["train_hours"] = self._hours(time.time() - start_time)
        if self._watch.skipped and "grad_norm" in logs:
            logs["grad_norm"] = 0.0  # the last step was skipped: its norm, NaN or infinite, had no effect
        eval_loss = logs.get("eval_loss", 0)
        not_finite = [name for name, value in logs.items() if isinstance(value, float) and not math.isfinite(value)]
        logs.update(dict.fromkeys(not_finite, cast(float, None)))  # the log is JSON, which has null instead of NaN
        super().log(logs, start_time)
        if self.is_world_process_zero():
            logger.info("step %d%s", self.state.global_step, self.in_words(logs))
        if not math.isfinite(eval_loss):
            raise divergence_error(f"eval_loss is {eval_loss} at step {self.state.global_step}")

    def _hours(self, seconds: float) -> float:
        """Return the hours of training until now, those of earlier runs included, after so many seconds of this one."""
        if self._hours_before is None:  # nothing is logged yet in this run, so the last entry is of an earlier one
            logged = (entry["train_hours"] for entry in reversed(self.state.log_history) if "train_hours" in entry)
            self._hours_before = next(logged, 0.0) if self._resumed_from else 0.0
        return round(self._hours_before + seconds / 3600, 4)

    def in_words(self, logs: dict[str, float]) -> str:
        """Return numbers as the rest of a line of the log, which begins with "step 10"; subclasses have other words."""
        if "train_loss" in logs:  # of the whole run; the lines before have "loss"
            took, loss = datetime.timedelta(seconds=round(3600 * logs["train_hours"])), logs["train_loss"]
            return f": training ends after {took}" + ("" if loss is None else f", mean train_loss {loss:.4g}")
        numbers = (f"{name} {value:.6g}" for name, value in logs.items() if isinstance(value, int | float))
        return f": {', '.join(numbers)}"

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate, and check that the score by which the best model is chosen has a value.

        Raises:
            InputError: if it has none.
        """
        metrics = super().evaluate(*args, **kwargs)
        metric = self.args.metric_for_best_model
        name = None if metric is None else f"eval_{metric.removeprefix('eval_')}"
        if name in metrics and metrics[name] is None:
            raise InputError(
                f"trainer.metric_for_best_model: {name} has no value at step {self.state.global_step}, because labels "
                "or predictions of the validation data do not vary; choose another metric, such as loss"
            )
        return metrics

    # Checkpoints

    def write_checkpoint(self) -> None:
        """Write the checkpoint of the current step, complete or not at all.

        Raises:
            InputError: if the disk is full or fails.
        """
        self.store_flos()
        processes = gather_object([self._process_state()])
        weights, optimizer = self._whole_weights(), self._whole_optimizer()  # all processes take part in gathering
        folder = Path(self.args.output_dir)
        target = folder / f"checkpoint-{self.state.global_step}"
        if self.state.best_global_step == self.state.global_step:
            self.state.best_model_checkpoint = str(target)
        if self.args.should_save:
            checkpoints.check_space(folder, checkpoints.checkpoint_bytes(self.model), "a checkpoint")
            with disk_errors(target), checkpoints.writing(target) as place:
                self._write_model(place, weights)
                self._write_states(place, processes, optimizer)
            checkpoints.rotate(folder, self.args.save_total_limit, self.state.best_model_checkpoint)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and tokenizer for ``from_pretrained``; all processes must call this."""
        weights = self._whole_weights()
        if self.args.should_save:
            with checkpoints.writing_files(Path(output_dir or self.args.output_dir)) as place:
                self._write_model(place, weights)

    def save_weights(self, model: Any, folder: Path, weights: dict[str, Any] | None) -> None:
        """Write a model, without its tokenizer, for ``from_pretrained``; called on one process.

        A method of its own, so that a subclass can save an adapter instead of the whole model.

        Args:
            model: the model that is trained.
            folder: folder to write to.
            weights: its weights, gathered from all processes; None if this process has them.
        """
        model.save_pretrained(folder, state_dict=weights)

    def _whole_weights(self) -> dict[str, Any] | None:
        """Gather sharded weights; return None if every process has all weights."""
        return unshard(self.model) if self.is_fsdp_enabled else None

    def _whole_optimizer(self) -> dict[str, Any]:
        """Return the optimizer's state, gathered if it is sharded."""
        if self.is_fsdp_enabled:
            return unshard_optimizer(self.model, self.optimizer.optimizer)
        return self.optimizer.state_dict()

    def _write_model(self, folder: Path, weights: dict[str, Any] | None) -> None:
        """Write model and tokenizer, but no training_args.bin: that is a pickle, and loading a pickle can run code."""
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        self.save_weights(model, folder, weights)
        tokenizer = self.processing_class or getattr(self.data_collator, "tokenizer", None)
        if tokenizer is not None:
            tokenizer = copy.copy(tokenizer)  # the limit is the saved model's, not that of the caller's tokenizer
            tokenizer.model_max_length = getattr(model.config, "max_position_embeddings", tokenizer.model_max_length)
            tokenizer.save_pretrained(folder)

    def _write_states(self, place: Path, processes: list[dict[str, Any]], optimizer: dict[str, Any]) -> None:
        """Write everything that a checkpoint holds in addition to the model and the manifest."""
        scaler = getattr(self.accelerator, "scaler", None)
        states = {"optimizer": optimizer, "schedule": self.lr_scheduler.state_dict()}
        checkpoints.save_tree(states | {"scaler": scaler and scaler.state_dict()}, place, "optimizer")
        checkpoints.save_tree(processes, place, "processes")
        (place / checkpoints.SETTINGS).write_text(json.dumps(self.settings, indent=1, default=str) + "\n")
        # As the Trainer does: whatever can export its state, an ExportableState of transformers, goes into the file.
        for callback in (*self.callback_handler.callbacks, self.control):
            if callable(getattr(callback, "state", None)):
                self.state.stateful_callbacks[type(callback).__name__] = callback.state()
        self.state.save_to_json(str(place / checkpoints.TRAINER_STATE))

    def _process_state(self) -> dict[str, Any]:
        """Collect what differs between processes: states of random number generators, and losses."""
        return {
            "random": checkpoints.random_state(),
            "running_loss": self._watch.running.state(),
            "recent_losses": list(self._watch.is_spike.losses),  # what the detector of spikes compares with
        }

    # Resuming

    def _own_state(self, checkpoint: Path) -> dict[str, Any]:
        """Read what `_process_state` collected of this process when the checkpoint was written."""
        states = checkpoints.load_tree(checkpoint, "processes")
        with checkpoints.reporting_damage(checkpoint / "processes.json"):
            return states[self.args.process_index]

    def load_sharded_weights(self, checkpoint: Path) -> None:
        """Load the weights of a checkpoint into a model that is sharded over processes."""
        result = shard(self.model, load_file(checkpoint / "model.safetensors"))
        self.check_loaded(result.missing_keys, result.unexpected_keys)

    def check_loaded(self, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        """Check that checkpoint and model have the same weights.

        Args:
            missing: names of weights that the model has and the checkpoint lacks.
            unexpected: names of weights that the checkpoint has and the model lacks.

        Raises:
            InputError: if a weight is missing or unexpected; the message names the first one.
        """
        tied = set(self.model.all_tied_weights_keys)  # saved under one name; their other names are always missing
        wrong = [name for name in missing if name not in tied] + list(unexpected)
        if wrong:
            raise InputError(
                f"{self._resumed_from}: {wrong[0]} is a weight of the model or of the checkpoint, not of both; resume "
                "with the model that was trained"
            )
        self.model.tie_weights()

    def restore_random_state(self, checkpoint: Path) -> None:
        """Restore this process's random number generators from a checkpoint."""
        own = self._own_state(checkpoint)
        with checkpoints.reporting_damage(checkpoint / "processes.json"):
            checkpoints.set_random_state(own["random"])

    def restore_states(self) -> None:
        """Restore optimizer, schedule and running losses of a resumed run.

        How often to log, evaluate and save is decided by this run's arguments, not by the checkpoint.
        """
        if self._resumed_from is None:
            return
        states = checkpoints.load_tree(self._resumed_from, "optimizer")
        with checkpoints.reporting_damage(self._resumed_from / "optimizer.json"):
            if self.is_fsdp_enabled:
                shard_optimizer(self.model, self.optimizer.optimizer, states["optimizer"])
            else:
                self.optimizer.load_state_dict(states["optimizer"])
            self.lr_scheduler.load_state_dict(states["schedule"])
            if states["scaler"]:
                self.accelerator.scaler.load_state_dict(states["scaler"])
        self.state.compute_steps(self.args, self.state.max_steps)  # by this run's arguments, not the checkpoint's
        if self.args.load_best_model_at_end and self.state.best_global_step:
            self._restore_best(self._resumed_from.parent / f"checkpoint-{self.state.best_global_step}")
        own = self._own_state(self._resumed_from)
        with checkpoints.reporting_damage(self._resumed_from / "processes.json"):
            self._watch.running.restore(own["running_loss"])
            self._watch.is_spike = SpikeDetector(own["recent_losses"])

    def _restore_best(self, best: Path) -> None:
        """Take the best checkpoint from beside the one that is resumed: the folder may have been moved since.

        If it is missing or damaged, or was the best by another metric, the best is chosen among the checkpoints to
        come, and a warning says so.
        """
        problem, state = checkpoints.problem_of(best), self.state
        name = f"eval_{str(self.args.metric_for_best_model).removeprefix('eval_')}"
        scores = [entry.get(name) for entry in state.log_history if entry["step"] == state.best_global_step]
        if problem is None and state.best_metric not in scores:
            problem = f"it was chosen by another score than {name.removeprefix('eval_')}"
        if problem is None:
            self.state.best_model_checkpoint = str(best)
            return
        self.state.best_model_checkpoint = self.state.best_metric = None
        self.state.best_global_step = 0
        if self.is_world_process_zero():
            logger.warning(
                "the best checkpoint so far, %s, cannot be used (%s); the best of those to come is kept", best, problem
            )


class _Restore(TrainerCallback):
    """Restore a resumed run's states just before its first step.

    A callback, because the optimizer and the schedule do not exist before `train` has built them.
    """

    def __init__(self, trainer: ExactTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.trainer.restore_states()


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn the errors of a full or failing disk, raised by Python or safetensors, into one line.

    Args:
        place: file or folder that is written within the block.

    Raises:
        InputError: if writing fails; the message names the place, the reason and the remedy.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        last = checkpoints.newest_valid(place.parent)[0]
        remedy = f"then continue from {last.name} with --resume auto" if last else "then start again"
        raise InputError(f"{place}: could not be written ({error}); free space on the disk, {remedy}") from error


def decisive_settings(args: TrainingArguments, model: dict[str, Any]) -> dict[str, Any]:
    """Collect the settings that decide the course of a run: {"trainer.seed": 42, "model.hidden_size": 768, ...}.

    Args:
        args: arguments of the Trainer.
        model: configuration of the model.
    """
    settings = {f"trainer.{name}": getattr(args, name) for name in _DECISIVE}
    for name in _DECISIVE_IF_SET:
        if (value := getattr(args, name)) != args.__dataclass_fields__[name].default:
            settings[f"trainer.{name}"] = value
    settings |= {f"model.{name}": value for name, value in model.items() if name not in _NOT_DECISIVE}
    return settings | {"number of processes": args.world_size}
