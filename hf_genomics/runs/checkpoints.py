"""Checkpoints that are whole or not there: what is in them, how they are written, found and judged.

A checkpoint is a folder ``checkpoint-STEP`` of safetensors and JSON. It is written beside its place, flushed to disk
and renamed. Its ``manifest.json`` holds size and SHA-256 of every file. A folder whose files are not what its manifest
says is no checkpoint: nothing goes on from it, and nothing is deleted because of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ..errors import InputError
from ..io.writing import replacing

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
TRAINER_STATE = "trainer_state.json"
SETTINGS = "settings.json"
_NAME = re.compile(r"checkpoint-(\d+)")
#: What is left of a kill: folders half-written, renamed away or half-deleted.
_REMAINS = (".checkpoint-*.partial", ".checkpoint-*.old")
#: SHA-256 of files that this process has read, by what changes with them; see ``_sha256``.
_known: dict[tuple[int, ...], str] = {}
_REST = 50_000_000  # ns; ticks of the clocks that file systems take their times from are 1 to 10 ms apart


# Any state of optimizer, schedule and random numbers as JSON and tensors, exactly


def split_tensors(value: Any, tensors: dict[str, torch.Tensor], name: str = "") -> Any:
    """Write a tree of dictionaries, lists, tuples, arrays and numbers as JSON, its tensors put aside.

    >>> tensors = {}
    >>> split_tensors({0: (1, torch.ones(2))}, tensors, "state")
    {'dict': [[0, {'tuple': [1, {'tensor': 'state.0.1'}]}]]}
    >>> list(tensors)
    ['state.0.1']

    Args:
        value: the tree.
        tensors: gets its tensors, on the CPU, named by their way from the root.
        name: of the root.

    Raises:
        TypeError: for an object of any other kind, which only a pickle could hold.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, dict):
        return {"dict": [[key, split_tensors(item, tensors, f"{name}.{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [split_tensors(item, tensors, f"{name}.{place}") for place, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise TypeError(f"{name}: {type(value).__name__} is neither number, text, tensor, list nor dictionary")


def join_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Undo ``split_tensors``."""
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
    shutil.copymode(folder / f"{name}.json", folder / f"{name}.safetensors")  # safetensors' is for its owner alone


def load_tree(folder: Path, name: str) -> Any:
    """Read what ``save_tree`` wrote."""
    tensors = load_file(folder / f"{name}.safetensors")
    return join_tensors(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), tensors)


def random_state() -> dict[str, Any]:
    """Take down the random number generators of this process: Python, NumPy, torch and its accelerator."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if torch.accelerator.is_available():
        state["accelerator"] = torch.get_device_module().get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what ``random_state`` took down."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "accelerator" in state and torch.accelerator.is_available():
        torch.get_device_module().set_rng_state(state["accelerator"])


# On disk


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Offer a folder to write a checkpoint to; in its place, sealed and on disk, when the block ends well."""
    with replacing(target) as folder:
        yield folder
        _seal(folder)


def fault_of(checkpoint: Path) -> str | None:
    """Say why a folder is no valid checkpoint, or None if it is: every file is what the manifest says, to the bit."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, facts in files.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != facts["bytes"]:
                return f"{name} has {path.stat().st_size} bytes instead of {facts['bytes']}"
            if _sha256(path) != facts["sha256"]:
                return f"{name} is not what was written"
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its {MANIFEST} cannot be read ({type(error).__name__})"
    return None if TRAINER_STATE in files else f"its {MANIFEST} does not name {TRAINER_STATE}"


def checkpoints_in(folder: Path) -> list[Path]:
    """List the folders checkpoint-STEP, valid or not, newest first."""
    found = [path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """Give the step in a checkpoint's name.

    >>> step_of(Path("runs/x/checkpoint-200"))
    200
    """
    return int(checkpoint.name.rpartition("-")[2])


def newest_valid(folder: Path) -> tuple[Path | None, dict[str, str]]:
    """Find the newest valid checkpoint, and say of each newer one why it is not valid."""
    faults: dict[str, str] = {}
    for checkpoint in checkpoints_in(folder):
        fault = fault_of(checkpoint)
        if fault is None:
            return checkpoint, faults
        faults[checkpoint.name] = fault
    return None, faults


def rotate(folder: Path, limit: int | None, keep: str | None = None) -> None:
    """Delete the oldest of more than ``limit`` valid checkpoints, but not ``keep``; faulty ones count for nothing."""
    if not limit or limit < 1:
        return
    valid = [checkpoint for checkpoint in checkpoints_in(folder) if fault_of(checkpoint) is None]
    best = [checkpoint for checkpoint in valid[1:] if keep and checkpoint.name == Path(keep).name]
    others = [checkpoint for checkpoint in valid if checkpoint not in best]
    for checkpoint in others[max(1, limit - len(best)) :]:
        away = checkpoint.with_name(f".{checkpoint.name}.old")
        checkpoint.rename(away)  # at once: a folder half-deleted would still have its manifest
        shutil.rmtree(away)


def clear_remains(folder: Path) -> None:
    """Delete what killed runs left of checkpoints that they were writing or deleting."""
    for pattern in _REMAINS:
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Check that the disk has room.

    Raises:
        InputError: naming folder, bytes needed and free.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{folder}: {what} needs {needed / 1e9:.3g} GB, the disk has {free / 1e9:.3g} GB left; make room, "
            "lower trainer.save_total_limit or choose another trainer.output_dir"
        )


def checkpoint_bytes(model: torch.nn.Module) -> int:
    """Estimate the size of a checkpoint: weights, their two moments in AdamW, and a few MB of state and code."""
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return 3 * weights + 4_000_000


def _seal(folder: Path) -> None:
    """Flush all files to disk, hashing them meanwhile, and write the manifest, last."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(1) as disk:
        flushed = disk.map(_sync, paths)
        files = {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path in paths
        }
        list(flushed)  # raises what flushing raised
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": files}, indent=1) + "\n", encoding="utf-8")
    _sync(folder / MANIFEST)


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    """Hash a file, or say again what this process found when inode, size and times of the file were the same.

    So a save reads its own files once and those of earlier checkpoints not at all. A change within a tick of the clock
    leaves the times as they are; hence only files that had rested before they were hashed are known.
    """
    facts = path.stat()
    state = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    if state in _known:
        return _known[state]
    rested = time.time_ns() - max(facts.st_mtime_ns, facts.st_ctime_ns) > _REST
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if rested:
        _known[state] = digest.hexdigest()
    return digest.hexdigest()


# Settings


def other_settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name the keys whose values differ, with both: ["trainer.seed was 1, is 2"]."""
    before, now = (json.loads(json.dumps(settings, default=str)) for settings in (before, now))
    keys = [*before, *(key for key in now if key not in before)]
    return [
        f"{key} was {before.get(key, 'not set')}, is {now.get(key, 'not set')}"
        for key in keys
        if before.get(key, "not set") != now.get(key, "not set")
    ]
