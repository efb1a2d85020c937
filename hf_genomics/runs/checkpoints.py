"""Checkpoints that are complete or absent: what they hold, and how they are written, found and validated.

A checkpoint is a folder ``checkpoint-STEP`` of safetensors and JSON files. It is written under a temporary name,
flushed to disk and then renamed. Its ``manifest.json`` holds the size and SHA-256 of every file. A folder whose files
do not match its manifest is not valid: no run resumes from it, and it does not count when older checkpoints are
deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import TrainerState

from ..errors import InputError
from ..io.files import shorten
from ..io.writing import replacing, sync_folder
from ..saved_files import read_json, read_tensors
from ..saved_settings import shown

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
TRAINER_STATE = "trainer_state.json"
SETTINGS = "settings.json"
_NAME = re.compile(r"checkpoint-(\d+)")
#: Folders that a killed run may leave: half-written checkpoints (`replacing` names them), old checkpoints that `rotate`
#: was deleting, and half-written models (`writing_files`).
_REMAINS = (".checkpoint-*.partial", ".checkpoint-*.old", ".files.*.partial")
#: SHA-256 of files that this process has read, by device, inode, size and times of the file; see ``_sha256``.
_known_hashes: dict[tuple[int, ...], str] = {}
#: Nanoseconds that a file must have been unchanged before its hash is remembered: the clocks of file systems tick every
#: 1 to 10 ms, and a second change within a tick would not show.
_QUIET_NS = 50_000_000

#: Errors of the libraries that read or restore a damaged file. TypeError and AttributeError too: a Trainer restores
#: states without checking their types. So a block that catches them must only read and restore.
_READ_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    SafetensorError,
)
#: Values of a Trainer's state that may have other types than their default: `epoch` is None by default, then a number.
_STATE_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("epoch", "total_flos", "num_train_epochs"), (int, float)),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), (int, float)),
    **dict.fromkeys(("train_batch_size", "best_global_step"), (int, type(None))),
    "best_metric": (int, float, type(None)),
    **dict.fromkeys(("best_model_checkpoint", "trial_name"), (str, type(None))),
    "trial_params": (dict, type(None)),
}


# States of optimizer, schedule and random number generators as JSON and tensors, exactly


def split_tensors(value: Any, tensors: dict[str, torch.Tensor], name: str = "") -> Any:
    """Convert a tree of dictionaries, lists, tuples, arrays and numbers to JSON, and collect its tensors.

    >>> tensors = {}
    >>> split_tensors({0: (1, torch.ones(2))}, tensors, "state")
    {'dict': [[0, {'tuple': [1, {'tensor': 'state.0.1'}]}]]}
    >>> list(tensors)
    ['state.0.1']

    Args:
        value: the tree.
        tensors: receives the tensors, moved to the CPU, by their path from the root.
        name: name of the root.

    Returns:
        the tree without its tensors, ready for ``json.dumps``; tuples and arrays are marked, to be restored.

    Raises:
        TypeError: for any other kind of object, which only a pickle could hold.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, dict):
        # As a list of pairs: keys of JSON objects are always text, but optimizers number their states.
        return {"dict": [[key, split_tensors(item, tensors, f"{name}.{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [split_tensors(item, tensors, f"{name}.{place}") for place, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise TypeError(f"{name}: {type(value).__name__} is neither a number, text, tensor, list nor dictionary")


def join_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Rebuild the tree that ``split_tensors`` converted, from its JSON and its tensors."""
    if isinstance(value, list):
        return [join_tensors(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "array" in value:
        return np.array(value["array"], value["dtype"])
    if "tuple" in value:
        return tuple(join_tensors(item, tensors) for item in value["tuple"])
    return {key: join_tensors(item, tensors) for key, item in value["dict"]}


def save_tree(tree: Any, folder: Path, name: str) -> None:
    """Write a tree to ``name.json`` and ``name.safetensors``; see ``split_tensors``."""
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(split_tensors(tree, tensors, name))
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    save_file(tensors, folder / f"{name}.safetensors")
    # safetensors makes its files readable by their owner only. The umask decides about other files, so its choice is
    # copied from the JSON file.
    shutil.copymode(folder / f"{name}.json", folder / f"{name}.safetensors")


def load_tree(folder: Path, name: str) -> Any:
    """Read the tree that ``save_tree`` wrote.

    Raises:
        InputError: naming the file that is damaged.
    """
    with reporting_damage(folder / f"{name}.safetensors"):
        tensors = load_file(folder / f"{name}.safetensors")
    with reporting_damage(folder / f"{name}.json"):
        return join_tensors(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), tensors)


def random_state() -> dict[str, Any]:
    """Return the states of this process's random number generators: Python, NumPy, torch and its accelerator."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if torch.accelerator.is_available():
        state["accelerator"] = torch.get_device_module().get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore the states that ``random_state`` returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "accelerator" in state and torch.accelerator.is_available():
        torch.get_device_module().set_rng_state(state["accelerator"])


# Checkpoints on disk


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Yield a temporary folder for a checkpoint, which becomes ``target`` if the block raises nothing.

    The manifest is written when the block ends.
    """
    with replacing(target) as folder:
        yield folder
        _seal(folder)


@contextmanager
def writing_files(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder whose files are moved to ``folder``, flushed to disk, if the block raises nothing.

    Each file is replaced in one step, but not all of them together, because the folder holds other files: a kill in
    between leaves some of the old ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".files.", suffix=".partial", dir=folder))
    try:
        yield place
        for path in sorted(place.iterdir()):
            _sync(path)
            path.replace(folder / path.name)
        sync_folder(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def problem_of(checkpoint: Path) -> str | None:
    """Return why a folder is not a valid checkpoint; None if every file that the manifest names is as it says."""
    try:
        files = read_json(checkpoint / MANIFEST)["files"]
        for name, facts in files.items():
            if Path(name).is_absolute() or ".." in Path(name).parts:  # a manifest may come from anybody
                return f"its {MANIFEST} names a file outside the checkpoint"
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != facts["bytes"]:
                return f"{name} has {path.stat().st_size} bytes instead of {facts['bytes']}"
            if _sha256(path) != facts["sha256"]:
                return f"{name} has changed since it was written"
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its {MANIFEST} is damaged ({type(error).__name__})"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return None if TRAINER_STATE in files else f"its {MANIFEST} does not name {TRAINER_STATE}"


@contextmanager
def reporting_damage(file: Path) -> Iterator[None]:
    """Turn every error while a file of a checkpoint is read or restored into one line.

    The manifest shows that a file has not changed since it was written, but a checkpoint may come from anybody.

    Args:
        file: the file, for the message.

    Raises:
        InputError: naming the file. The advice is to delete the checkpoint; but if the system does not let this process
            read the file, it may be whole, and the advice is to make it readable.
    """
    try:
        yield
    except (InputError, torch.OutOfMemoryError):  # a full GPU, a RuntimeError, says nothing about the file
        raise
    except _READ_ERRORS as error:
        check_readable(file)
        reason = (" ".join(str(error).split()) or type(error).__name__)[:150]
        in_checkpoint = _NAME.fullmatch(file.parent.name)
        remedy = (
            f"{file.parent}, so that the run continues from an earlier checkpoint" if in_checkpoint else "this file"
        )
        raise InputError(
            f"{file}: damaged ({reason.removeprefix(f'{file}: ')}); delete {remedy}, or begin again with --resume "
            "false --overwrite true"
        ) from error


def check_readable(path: Path) -> None:
    """Check that this process may read a file, or each file of a folder; what is missing is not checked.

    Raises:
        InputError: naming the file. It is not called damaged: advice to delete it would lose a good checkpoint.
    """
    try:
        files = [path]
        if path.is_dir():
            os.listdir(path)  # an error if the folder may not be read; rglob would find nothing and raise none
            files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        for file in files:
            with open(file, "rb") as opened:
                opened.read(1)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(
            f"{error.filename or path}: cannot be read: {error.strerror or error}; it may be whole, so make it "
            "readable, and start the run again"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a file of a checkpoint that must hold a JSON object.

    Unlike a configuration, such a file may hold NaN and infinite numbers, and be large.

    Raises:
        InputError: if it is damaged.
    """
    with reporting_damage(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        return content


def read_state(folder: Path) -> dict[str, Any]:
    """Read the Trainer's state of a checkpoint or of a finished run, and check the types of its values.

    Args:
        folder: the checkpoint, or the output folder.

    Raises:
        InputError: if the file is damaged; the message names the value.
    """
    path = folder / TRAINER_STATE
    state = read_object(path)
    with reporting_damage(path):
        fresh = vars(TrainerState())
        for name, value in state.items():
            if name not in fresh:  # TrainerState(**state), which the Trainer calls, would not take it
                raise ValueError(f"{shorten(name)} is not a value of it")
            kinds = _STATE_KINDS.get(name) or (type(fresh[name]),)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):  # True is an int, too
                raise ValueError(f"{name} must not be {shown(value)}")
        for name in ("global_step", "max_steps", "num_train_epochs"):
            lowest = -1 if name == "max_steps" else 0  # -1: the number of epochs decides
            if name not in state:
                raise ValueError(f"{name} is missing")
            if not lowest <= state[name] < 2**53:
                raise ValueError(f"{name} must not be {shown(state[name])}")
        if not all(isinstance(entry, dict) for entry in state.get("log_history") or []):
            raise ValueError("log_history must hold objects only")
    return state


def check_files(checkpoint: Path) -> None:
    """Check those files of a checkpoint that the Trainer reads by itself; of the weights only the header.

    A missing file is not an error here: the manifest says which files there are, and large models have several files
    of weights.

    Raises:
        InputError: naming the file that is damaged.
    """
    read_state(checkpoint)
    for path, read in ((checkpoint / "config.json", read_json), (weights_of(checkpoint), read_tensors)):
        if path.is_file():
            with reporting_damage(path):
                read(path)


def weights_of(checkpoint: Path) -> Path:
    """Return the file of a checkpoint's weights: those of a model, or of an adapter."""
    adapter = checkpoint / "adapter_model.safetensors"
    return adapter if adapter.is_file() else checkpoint / "model.safetensors"


def checkpoints_in(folder: Path) -> list[Path]:
    """List the folders named checkpoint-STEP, valid or not, newest first."""
    found = [path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """Return the step in a checkpoint's name.

    >>> step_of(Path("runs/x/checkpoint-200"))
    200
    """
    return int(checkpoint.name.rpartition("-")[2])


def newest_valid(folder: Path) -> tuple[Path | None, dict[str, str]]:
    """Find the newest valid checkpoint.

    Returns:
        the checkpoint, None if no checkpoint is valid; and the problem of each newer checkpoint, by its name.
    """
    problems: dict[str, str] = {}
    for checkpoint in checkpoints_in(folder):
        problem = problem_of(checkpoint)
        if problem is None:
            return checkpoint, problems
        problems[checkpoint.name] = problem
    return None, problems


def rotate(folder: Path, limit: int | None, keep: str | None = None) -> None:
    """Delete the oldest valid checkpoints beyond a limit; invalid ones are neither counted nor deleted.

    Args:
        folder: the output folder.
        limit: number of checkpoints to keep, the best one included (with 1, the newest and the best one stay); None or
            0 keeps all.
        keep: path or name of the best checkpoint, which is not deleted.
    """
    if not limit or limit < 1:
        return
    valid = [checkpoint for checkpoint in checkpoints_in(folder) if problem_of(checkpoint) is None]
    best = [checkpoint for checkpoint in valid[1:] if keep and checkpoint.name == Path(keep).name]
    others = [checkpoint for checkpoint in valid if checkpoint not in best]  # newest first
    most = max(1, limit - len(best))  # at least one, the newest: runs resume from it
    for checkpoint in others[most:]:
        away = checkpoint.with_name(f".{checkpoint.name}.old")
        checkpoint.rename(away)  # in one step: a kill during the deletion must not leave half a checkpoint
        shutil.rmtree(away)


def clear_remains(folder: Path) -> None:
    """Delete the remains of checkpoints that killed runs were writing or deleting."""
    for pattern in _REMAINS:
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Check that the disk has room for what is about to be written.

    Args:
        folder: where to write; it need not exist yet.
        needed: number of bytes to write.
        what: what is to be written, for the message.

    Raises:
        InputError: if the disk has less room; the message names the folder, and the bytes needed and free.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{folder}: {what} needs {needed / 1e9:.3g} GB, the disk has {free / 1e9:.3g} GB left; free "
            "space, lower trainer.save_total_limit or choose another trainer.output_dir"
        )


def checkpoint_bytes(model: torch.nn.Module) -> int:
    """Estimate the bytes of a checkpoint: weights, two moments of each weight (AdamW), 4 MB for states and code."""
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return 3 * weights + 4_000_000


def _seal(folder: Path) -> None:
    """Flush all files of a folder to disk and hash them; write the manifest, which `replacing` flushes later."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(1) as disk:  # flushing waits for the disk, hashing needs the CPU: both at once
        flushed = disk.map(_sync, paths)
        files = {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path in paths
        }
        list(flushed)  # raises the error of a flush that failed
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": files}, indent=1) + "\n", encoding="utf-8")


def _sync(path: Path) -> None:
    """Flush a file to disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    """Return the hash of a file; remember it as long as the inode, size and times of the file stay the same.

    So saving a checkpoint does not read the files of earlier checkpoints again.
    """
    facts = path.stat()
    state = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    if state in _known_hashes:
        return _known_hashes[state]
    # A second change within one tick of the clock does not show in the times of a file. So a hash is remembered only if
    # the file had not changed for a while before it was read.
    was_quiet = time.time_ns() - max(facts.st_mtime_ns, facts.st_ctime_ns) > _QUIET_NS
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if was_quiet:
        _known_hashes[state] = digest.hexdigest()
    return digest.hexdigest()


# Settings


def changed_settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """List the keys whose values differ, with both values.

    >>> changed_settings({"trainer.seed": 1}, {"trainer.seed": 2})
    ['trainer.seed was 1, is 2']

    Args:
        before: settings of the run that wrote the checkpoint, as read from JSON.
        now: settings of the run that is to continue it.
    """
    # Through JSON, as the saved settings went: otherwise a tuple would differ from the list that it became.
    before, now = (json.loads(json.dumps(settings, default=str)) for settings in (before, now))
    keys = [*before, *(key for key in now if key not in before)]
    return [
        f"{key} was {before.get(key, 'not set')}, is {now.get(key, 'not set')}"
        for key in keys
        if before.get(key, "not set") != now.get(key, "not set")
    ]
