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
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import get_available_reporting_integrations
from transformers.trainer_utils import get_last_checkpoint

from ..errors import InputError
from ..tokenization_kmer import KmerTokenizer

logger = logging.getLogger(__name__)


class HasEpochs(Protocol):
    """A data set that has other rows in every epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""


class SetEpoch(TrainerCallback):
    """Tell a data set which epoch begins.

    The Trainer does so only on one process: with several, accelerate wraps the sampler and the data set is not told.
    """

    def __init__(self, dataset: HasEpochs) -> None:
        self.dataset = dataset

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Pass the epoch on, before its first batch is drawn."""
        self.dataset.set_epoch(int(state.epoch or 0))


def claim_output_dir(path: str | None, done: str, *, overwrite: bool, resume: bool) -> Path:
    """Check that a run may write to its output folder, without creating it.

    Args:
        path: the folder.
        done: file that a finished run leaves there.
        overwrite: the user asked to train again.
        resume: the user asked to go on from a checkpoint.

    Raises:
        InputError: if no folder is given, it is a file, it holds a finished run, or there is nothing to resume from.
    """
    if not path:
        raise InputError(
            "trainer.output_dir is not set: name the folder for the model, such as --trainer.output_dir runs/x"
        )
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; trainer.output_dir must be a folder")
    if (folder / done).exists() and not (overwrite or resume):
        raise InputError(f"{folder} holds a finished run; choose another trainer.output_dir, or pass --overwrite true")
    if not (overwrite or resume) and any(folder.glob("checkpoint-*")):
        raise InputError(f"{folder} holds checkpoints of another run; pass --resume true to go on, or --overwrite true")
    if resume and not (folder.is_dir() and get_last_checkpoint(folder)):
        raise InputError(f"{folder}: no checkpoint to resume from; leave --resume away")
    return folder


def check_arguments(args: TrainingArguments) -> None:
    """Check the numbers that transformers takes as they are and stumbles over after the output folder is made.

    Raises:
        InputError: naming the key, its value and the rule.
    """
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        if getattr(args, name) < 1:
            raise InputError(f"trainer.{name} must be at least 1, not {getattr(args, name)}")
    if not args.learning_rate >= 0:
        raise InputError(f"trainer.learning_rate must be 0 or more, not {args.learning_rate}")
    missing = set(args.report_to) - set(get_available_reporting_integrations()) - {"none", "all"}
    if missing:
        raise InputError(f"trainer.report_to: {sorted(missing)[0]} is not installed; install it or leave it away")
    if args.push_to_hub:
        raise InputError(
            "trainer.push_to_hub would upload all of the folder, training_args.bin too; run hf-genomics push afterwards"
        )
    if args.dataloader_persistent_workers:
        raise InputError(
            "trainer.dataloader_persistent_workers must be false: kept workers would repeat the first epoch"
        )
    if args.train_sampling_strategy == "group_by_length":
        raise InputError(
            "trainer.train_sampling_strategy: group_by_length needs lengths that windows do not have; use random"
        )
    checkpoint = args.resume_from_checkpoint
    if isinstance(checkpoint, str) and not (Path(checkpoint) / "trainer_state.json").is_file():
        raise InputError(
            f"trainer.resume_from_checkpoint: {checkpoint} is no checkpoint; name a folder checkpoint-STEP"
        )


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


class StopOnNonFinite(TrainerCallback):
    """End a run whose loss or gradient is no number any more; the Trainer would go on and save the ruins."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Look at what was logged.

        Raises:
            InputError: naming the step.
        """
        for name in ("loss", "grad_norm", "eval_loss"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(float(value)):
                raise _diverged(f"{name} is {value} at step {state.global_step}")


def _diverged(what: str) -> InputError:
    return InputError(
        f"{what}: the run has diverged and is not saved; lower trainer.learning_rate or lengthen its warm-up"
    )


def clear_outputs(folder: Path) -> None:
    """Delete what an earlier run left in its folder, so that nothing of it stands beside the new model."""
    for pattern in ("checkpoint-*", "*.json", "*.safetensors", "*.png", "*.tsv", "*.bin"):
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def train(trainer: Trainer, *, resume: bool, overwrite: bool) -> dict[str, float]:
    """Train, save model, tokenizer and state, and return the metrics of training.

    Raises:
        InputError: if the run diverges, or there is nothing left to train after a resume; the model is not saved then.
    """
    checkpoint = trainer.args.resume_from_checkpoint or (
        get_last_checkpoint(trainer.args.output_dir) if resume else None
    )
    if checkpoint:
        done = json.loads((Path(checkpoint) / "trainer_state.json").read_text())["global_step"]
        if 0 < trainer.args.max_steps <= done:
            raise InputError(f"{checkpoint}: trained for {done} steps already; raise trainer.max_steps to go on")
    elif overwrite and trainer.is_world_process_zero():
        clear_outputs(Path(trainer.args.output_dir))
    if trainer.args.device.type == "cpu":
        keep_freed_memory()
    trainer.add_callback(StopOnNonFinite())
    trainer.args.logging_nan_inf_filter = False
    result = trainer.train(resume_from_checkpoint=checkpoint)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trainer.model.parameters()):
        raise _diverged("a weight is not finite")
    trainer.save_model()
    trainer.save_state()
    return result.metrics


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all; NaN becomes null."""
    _write_text(path, json.dumps(_plain(content), indent=2) + "\n")


def write_tsv(path: Path, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a TSV file whole or not at all; floats with six decimals."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")  # quotes a cell that holds a tab or a line break
    writer.writerow(header)
    writer.writerows([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    _write_text(path, buffer.getvalue())


def _write_text(path: Path, text: str) -> None:
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
