"""What every training run shares: a checked output folder, the right attention for the device, what is left behind."""

from __future__ import annotations

import ctypes
import json
import logging
import math
import sys
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import InputError
from .checkpoints import SETTINGS, TRAINER_STATE, clear_remains, fault_of, newest_valid, other_settings
from .exact_trainer import ExactTrainer, disk_errors, diverged
from .output_folder import check_room, clear_outputs

logger = logging.getLogger(__name__)


class HasEpochs(Protocol):
    """A data set that has other rows in every epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""


class SetEpoch(TrainerCallback):
    """Tell data sets (and orders of their rows) which epoch begins.

    The Trainer does so only on one process: with several, accelerate wraps the sampler and the data set is not told.
    """

    def __init__(self, *datasets: HasEpochs) -> None:
        self.datasets = datasets

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Pass the epoch on, before its first batch is drawn."""
        for dataset in self.datasets:
            dataset.set_epoch(int(state.epoch or 0))


def attention_for(args: TrainingArguments) -> str:
    """Choose the attention backend: sdpa, but eager for bf16 on a CPU, where it is faster (docs/decisions.md)."""
    return "eager" if args.device.type == "cpu" and args.bf16 else "sdpa"


def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory, where training runs on the CPU of a Linux machine.

    Every step frees and takes the same large arrays; returned to the system, each comes back as thousands of page
    faults, a quarter of a step's time (docs/decisions.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**28)


def train(trainer: ExactTrainer, *, resume: bool, overwrite: bool) -> dict[str, float]:
    """Train, save model, tokenizer and state, and return the metrics of training.

    Raises:
        InputError: if the run diverges, the disk is full, or there is nothing left to train after a resume; the model
            is not saved then.
        StoppedError: if a signal asked for it.
    """
    args, folder = trainer.args, Path(trainer.args.output_dir)
    chosen = _choose(trainer, folder, resume) if args.should_save else (None, None)
    checkpoint, refusal = broadcast_object_list(list(chosen))
    if refusal:
        raise InputError(refusal)
    if args.should_save:
        if overwrite and not checkpoint:
            clear_outputs(folder)
        clear_remains(folder)
        check_room(args, trainer.model)
    if args.device.type == "cpu":
        keep_freed_memory()
    args.eval_on_start &= not checkpoint
    result = trainer.train(resume_from_checkpoint=checkpoint)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trainer.model.parameters()):
        raise diverged("a weight is not finite")
    with disk_errors(folder / "model.safetensors"):
        trainer.save_model()
        trainer.save_state()
    return result.metrics


def _choose(trainer: ExactTrainer, folder: Path, resume: bool) -> tuple[str | None, str | None]:
    """Choose the checkpoint to go on from, or say why none will do."""
    named = trainer.args.resume_from_checkpoint
    if not (named or resume):
        return None, None
    if isinstance(named, str):
        checkpoint, fault = Path(named), fault_of(Path(named))
        if fault:
            return None, f"trainer.resume_from_checkpoint: {checkpoint} is no valid checkpoint: {fault}; name another"
    else:
        newest, faults = newest_valid(folder)
        for name, fault in faults.items():
            logger.warning("%s/%s is left out: %s", folder, name, fault)
        if newest is None:
            return None, f"{folder}: no valid checkpoint to resume from; leave --resume away and pass --overwrite true"
        checkpoint = newest
    refusal = _refuse(trainer, checkpoint)
    if not refusal:
        logger.info("going on from %s", checkpoint)
    return str(checkpoint), refusal


def _refuse(trainer: ExactTrainer, checkpoint: Path) -> str | None:
    """Say why a run may not go on from a checkpoint: other settings, or nothing left to do."""
    changed = other_settings(json.loads((checkpoint / SETTINGS).read_text(encoding="utf-8")), trainer.settings)
    if changed:
        more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
        return (
            f"{checkpoint}: {changed[0]}{more}; a resumed run keeps its settings: set them back, or start anew with "
            "--overwrite true"
        )
    finished = (Path(trainer.args.output_dir) / "metrics.json").exists()
    state = json.loads((checkpoint / TRAINER_STATE).read_text(encoding="utf-8"))
    if finished and 0 < trainer.args.max_steps <= state["global_step"]:
        return f"{checkpoint}: trained for {state['global_step']} steps already; raise trainer.max_steps to go on"
    if 0 < trainer.args.max_steps != state["max_steps"] and not trainer.settings.get("schedule_steps"):
        logger.warning("trainer.max_steps was %d: the learning rate goes on another way", state["max_steps"])
    epochs = math.ceil(trainer.args.num_train_epochs)
    if trainer.args.max_steps <= 0 and epochs != state["num_train_epochs"]:
        logger.warning(
            "trainer.num_train_epochs was %d: the learning rate goes on another way", state["num_train_epochs"]
        )
    return None


def num_parameters(model: PreTrainedModel) -> int:
    """Count the parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
