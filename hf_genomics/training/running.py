"""What every training run shares: a checked output folder, the right attention for the device, what is left behind."""

from __future__ import annotations

import csv
import ctypes
import io
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import InputError
from ..tokenization_kmer import KmerTokenizer
from .checkpoints import (
    SETTINGS,
    TRAINER_STATE,
    check_space,
    checkpoint_bytes,
    checkpoints_in,
    clear_remains,
    fault_of,
    newest_valid,
    other_settings,
)
from .exact import ExactTrainer, disk_errors, diverged

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


def claim_output_dir(path: str | None, done: str, *, overwrite: bool, resume: bool) -> Path:
    """Check that a run may write to its output folder, without creating it.

    Args:
        path: the folder.
        done: file that a finished run leaves there.
        overwrite: the user asked to train again.
        resume: the user asked to go on from a checkpoint.

    Raises:
        InputError: if no folder is given, it is a file or may not be written to, it holds a finished run, or there is
            nothing to resume from.
    """
    if not path:
        raise InputError(
            "trainer.output_dir is not set: name the folder for the model, such as --trainer.output_dir runs/x"
        )
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; trainer.output_dir must be a folder")
    check_writable(folder, "trainer.output_dir")
    if resume and overwrite:
        raise InputError("resume goes on with the run that overwrite would delete; leave one of them away")
    if (folder / done).exists() and not (overwrite or resume):
        raise InputError(f"{folder} holds a finished run; choose another trainer.output_dir, or pass --overwrite true")
    if not (overwrite or resume) and any(folder.glob("checkpoint-*")):
        raise InputError(f"{folder} holds checkpoints of another run; pass --resume true to go on, or --overwrite true")
    if resume and not checkpoints_in(folder):
        raise InputError(f"{folder}: no checkpoint to resume from; leave --resume away")
    return folder


def check_positions(tokenizer: KmerTokenizer, length: int, positions: int, what: str, way_out: str) -> None:
    """Check that windows of ``length`` nt fit the model; ``what`` names their place, ``way_out`` what to do.

    Raises:
        InputError: naming the key, the length and the ways out.
    """
    tokens = tokenizer.num_tokens(length)
    if tokens > positions:
        raise InputError(
            f"{what} of {length} nt gives {tokens} tokens with [CLS] and [SEP], the model takes {positions}; {way_out}"
        )


def check_output(path: Path, *, folder: bool) -> None:
    """Check that a verb may write its results to ``path`` before it computes them; nothing is created.

    Raises:
        InputError: if a file is where a folder must be, or the other way round.
    """
    if not folder and path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    for place in (path, *path.parents)[0 if folder else 1 :]:
        if place.exists() and not place.is_dir():
            raise InputError(f"{place} is a file, not a folder; write to another place")
    check_writable(path, "the output")


def check_writable(path: Path, what: str) -> None:
    """Check that the nearest folder that is there may be written to; ``what`` names the path.

    Raises:
        InputError: naming the folder.
    """
    place = next(place for place in (path, *path.absolute().parents) if place.is_dir())
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{path}: {place} may not be written to; set {what} to another place")


def check_vocabulary(tokenizer: KmerTokenizer, model: Any) -> None:
    """Check that a configuration belongs to a tokenizer.

    Raises:
        InputError: if k, stride or vocabulary size differ.
    """
    ours, theirs = (len(tokenizer), tokenizer.k, tokenizer.stride), (model.vocab_size, model.k, model.stride)
    if ours != theirs:
        raise InputError(
            f"tokenizer and model do not belong together: (vocabulary, k, stride) are {ours} and {theirs}; "
            "set tokenizer.k and tokenizer.stride only, the model follows"
        )


def attention_for(args: TrainingArguments) -> str:
    """Choose the attention backend: sdpa, but eager for bf16 on a CPU, where it is faster (docs/decisions.md)."""
    return "eager" if args.device.type == "cpu" and args.bf16 else "sdpa"


def check_room(args: TrainingArguments, network: PreTrainedModel) -> None:
    """Check that the disk has room for what the run will write; nothing is created.

    Raises:
        InputError: naming folder, bytes needed and free.
    """
    if args.process_index == 0:
        whole = checkpoint_bytes(network)
        needed, what = (whole // 3, "the model") if args.save_strategy == "no" else (whole, "a checkpoint")
        check_space(Path(args.output_dir or "."), needed, what)


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


def clear_outputs(folder: Path) -> None:
    """Delete what an earlier run left in its folder, so that nothing of it stands beside the new model."""
    for pattern in ("checkpoint-*", "*.json", "*.jsonl", "*.safetensors", "*.png", "*.tsv", "*.bin"):
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


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


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all; NaN becomes null."""
    write_text(path, json.dumps(_plain(content), indent=2) + "\n")


def write_tsv(path: Path, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a TSV file whole or not at all; floats with seven digits, as many as float32 has."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")  # quotes a cell that holds a tab or a line break
    writer.writerow(header)
    writer.writerows([f"{cell:.7g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    write_text(path, buffer.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else value


def num_parameters(model: PreTrainedModel) -> int:
    """Count the parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
