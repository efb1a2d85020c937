"""Record how a model was made: `run.json` beside the weights, from which its model card is written."""

from __future__ import annotations

import hashlib
import platform
import re
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerState, TrainingArguments

from ..genomes.store import GenomeStore
from ..io.writing import write_json
from ..labelled.sequences import LabelledSequences
from ..reports.card_file import write_card

#: An absolute path: in quotes, or within a value such as {train: /home/ann/x.csv}.
_ABSOLUTE = re.compile(r"""(?<=['"])~?/[^'"]*(?=['"])|(?<![\w.])~?/[^\s'",\]}]*""")
_WITH_BLANKS = re.compile(r"(--[\w.-]+=)?(~?/.*\s.*)", re.DOTALL)  # a word that is one path with blanks
#: Options of the Trainer that a reader of a model card wants to know.
_PUBLISHED_OPTIONS = (
    "learning_rate",
    "lr_scheduler_type",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "weight_decay",
    "seed",
)


def run_record(
    verb: str, trainer: TrainingArguments, state: TrainerState, data: dict[str, Any], base_model: str | None = None
) -> dict[str, Any]:
    """Describe a finished run in a form that may be published: without absolute paths, names of machines or sequences.

    Args:
        verb: name of the verb.
        trainer: options of the Trainer.
        state: state of the Trainer after training.
        data: what the run was trained on, from `store_record` or `split_record`.
        base_model: folder or Hub name of the model that training started from.

    Returns:
        A dictionary for `run.json`.
    """
    from .. import __version__  # here, because a clone that is not installed has no version of its own

    options = {name: getattr(trainer, name) for name in _PUBLISHED_OPTIONS}
    return {
        "verb": verb,
        "command": published_command(sys.argv),
        "versions": {"hf_genomics": __version__}
        | {name: version(name) for name in ("transformers", "torch")}
        | {"python": platform.python_version()},
        "hardware": hardware(trainer),
        "base_model": published_name(base_model),
        "data": data,
        "training": {"steps": state.global_step, "epochs": round(state.epoch or 0.0, 3)}
        | {name: getattr(value, "value", value) for name, value in options.items()},
    }


def write_run_record(folder: Path, record: dict[str, Any]) -> None:
    """Write `run.json` and, from it and the other files of the folder, the model card README.md."""
    write_json(folder / "run.json", record)
    write_card(folder)


def store_record(store: GenomeStore, lengths: dict[str, np.ndarray]) -> dict[str, Any]:
    """Describe a genome store: its files, and the contigs and nucleotides of each split.

    Args:
        store: genome store.
        lengths: role (train, valid) -> lengths of its contigs in nt, int64 (contigs,).
    """
    splits = {role: {"contigs": len(found), "nt": int(found.sum())} for role, found in lengths.items()}
    return {"files": store.info["inputs"], "splits": splits}


def split_record(splits: dict[str, LabelledSequences | None], *, train_counted_only: bool = False) -> dict[str, Any]:
    """Describe labelled splits: file, number of sequences, nucleotides, sequences per class, hash of the content.

    Args:
        splits: role (train, valid, test) -> sequences; None for a missing split.
        train_counted_only: describe the training rows by file and number only. Anyone who
            knows all rows but one could find the last one by the hash.
    """
    described = {role: _describe(examples) for role, examples in splits.items() if examples is not None}
    if train_counted_only:
        described["train"] = {name: described["train"][name] for name in ("file", "sequences")}
    return {"splits": described}


def _describe(examples: LabelledSequences) -> dict[str, Any]:
    """Describe one split."""
    lengths = [len(letters) for letters in examples.sequences]
    described: dict[str, Any] = {
        "file": Path(examples.source).name,
        "sequences": len(examples),
        "nt": int(sum(lengths)),
        "shortest": min(lengths, default=0),
        "longest": max(lengths, default=0),
        "sha256": content_hash(examples),
    }
    if examples.task.is_classification and examples.labels is not None and examples.label_names:
        counts = np.bincount(examples.labels, minlength=len(examples.label_names)).tolist()
        described["classes"] = dict(zip(examples.label_names, counts, strict=True))
    return described


def content_hash(examples: LabelledSequences) -> str:
    """Compute a SHA-256 of sequences and labels, 64 hexadecimal digits; it ignores names, file format and file name."""
    found = hashlib.sha256()
    for letters in examples.sequences:
        found.update(len(letters).to_bytes(8, "little") + np.ascontiguousarray(letters).tobytes())
    labels = [examples.labels] if examples.labels is not None else examples.nt_labels or []
    for label in labels:
        found.update(np.ascontiguousarray(label).tobytes())
    return found.hexdigest()


def published_command(words: list[str]) -> str | None:
    """Return a command line of this package without the folders of absolute paths; None if another program called it.

    Relative paths stay as they are: they say where in a project a file lies, not whose machine it is.

    Args:
        words: ``sys.argv``.

    >>> published_command(["/opt/bin/hf-genomics", "pretrain", "--data.store", "/home/ann/runs/store"])
    'hf-genomics pretrain --data.store store'
    """
    program = Path(words[0]) if words else Path()
    if program.name != "hf-genomics" and program.parts[-2:] != ("hf_genomics", "__main__.py"):
        return None
    return shlex.join(["hf-genomics", *map(_without_folders, words[1:])])


def _without_folders(word: str) -> str:
    """Return a word of a command line without the folders of its absolute paths."""
    if whole := _WITH_BLANKS.fullmatch(word):
        return (whole[1] or "") + Path(whole[2]).name
    return _ABSOLUTE.sub(lambda path: Path(path[0]).name or path[0], word)


def published_name(model: str | None) -> str | None:
    """Return the name of a model without the folders of its path; the name of a model on the Hub stays as it is."""
    if model is None or not Path(model).exists():
        return model
    return Path(model).resolve().name


def hardware(trainer: TrainingArguments) -> str:
    """Describe the machine: number and kind of processors, or of GPUs."""
    if trainer.device.type == "cuda":
        return f"{max(trainer.n_gpu, 1) * trainer.world_size} x {torch.cuda.get_device_name()}"
    threads = torch.get_num_threads() * trainer.world_size
    return f"{threads} CPU thread{'s' * (threads > 1)} ({_processor()})"


def _processor() -> str:
    """Return the name of the processor, or of its architecture if the system does not report a name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
