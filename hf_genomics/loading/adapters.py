"""Adapters of peft (LoRA and others): small folders of weights that change a base model stored elsewhere."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..io.files import shorten
from ..saved_files import read_json, read_tensors

#: The file that makes a folder an adapter.
ADAPTER_CONFIG = "adapter_config.json"
_TEXT = (str,)
# Keys of the file whose values peft does not check, and the types that these may have.
_TYPES: dict[str, tuple[type, ...]] = {
    "base_model_name_or_path": _TEXT,
    "peft_type": _TEXT,
    "task_type": _TEXT,
    "r": (int,),
    "init_r": (int,),
    "lora_alpha": (int, float),
    "target_modules": (list, str),
    "modules_to_save": (list,),
    "rank_pattern": (dict,),
}
_FLOATS = ("F64", "F32", "F16", "BF16")  # types of numbers that the weights of an adapter may have
# Kinds of adapters whose rank is a dimension of their weights -> the key that holds it.
_RANK_KEYS = {"LORA": "r", "LOHA": "r", "ADALORA": "init_r"}
_HEADS = {"SEQ_CLS": "SequenceClassification", "TOKEN_CLS": "TokenClassification"}


def base_of(name: str) -> str | None:
    """Return the model that an adapter changes, or None if the folder is not an adapter.

    Args:
        name: folder of a model or of an adapter, or the Hub name of a model.

    Raises:
        InputError: if the adapter is incomplete or damaged, its base model is missing, or peft is not installed.
    """
    folder = Path(name)
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    settings = read_adapter(folder)
    file, base = folder / ADAPTER_CONFIG, settings.get("base_model_name_or_path")
    if not base:
        raise InputError(f"{file}: names no base model; set base_model_name_or_path to the folder of the model")
    # OWNER/NAME may be on the Hub. If it is a folder that is missing, the error comes when the model is loaded.
    may_be_on_hub = base.count("/") == 1 and not (Path(base).is_absolute() or base.startswith("."))
    if not (os.path.isdir(base) or may_be_on_hub):
        raise InputError(
            f"{file}: the base model {shorten(base)} is not there; set base_model_name_or_path to its folder"
        )
    if os.path.isfile(os.path.join(base, ADAPTER_CONFIG)):
        raise InputError(
            f"{file}: the base model {shorten(base)} is itself an adapter; merge it with hf-genomics convert"
        )
    if not (folder / "adapter_model.safetensors").is_file():
        raise InputError(f"{folder}: no adapter_model.safetensors there; save the adapter again with safetensors")
    if importlib.util.find_spec("peft") is None:
        raise InputError(f"{folder} is an adapter, which needs the package peft; pip install 'hf_genomics[lora]'")
    return base


def check_whole(folder: Path, purpose: str) -> None:
    """Check that a folder is not an adapter, which is a model only together with its base model.

    Args:
        folder: the folder; the Hub name of a model passes.
        purpose: what a whole model is needed for, for the message: "push".

    Raises:
        InputError: with the command that turns the adapter into a model.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"{folder} is an adapter; hf-genomics convert --source {folder} --output_dir NEW merges it with its base "
            f"model into a model to {purpose}"
        )


def read_adapter(folder: Path) -> dict[str, Any]:
    """Read adapter_config.json.

    Args:
        folder: folder of the adapter.

    Raises:
        InputError: if it holds no JSON object, or a value of the wrong type; naming file and key.
    """
    file = folder / ADAPTER_CONFIG
    try:
        settings = read_json(file)
    except ValueError as error:
        raise InputError(str(error)) from error
    for key, kinds in _TYPES.items():
        value = settings.get(key)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise InputError(f"{file}: {key!r} cannot be {shorten(json.dumps(value))}; save the adapter again")
    if not settings.get("peft_type"):
        raise InputError(f"{file}: names no peft_type; save the adapter again")
    return settings


def head_of(name: str) -> str | None:
    """Return which head an adapter was trained with, such as "SequenceClassification", if its own folder says it.

    peft does not save the settings of the head (classes, pooling). They are in the folder only if the configuration of
    the model was saved there, too. Otherwise, this function returns None, and the base model must have the head.

    Args:
        name: folder of an adapter.
    """
    task = read_adapter(Path(name)).get("task_type")
    return _HEADS.get(task or "") if (Path(name) / "config.json").is_file() else None


def add_adapter(model: Any, name: str) -> Any:
    """Load an adapter into its base model, and return the model.

    Args:
        model: the base model, with the head that the adapter was trained with; it is changed.
        name: folder of the adapter.

    Raises:
        InputError: if peft cannot use the adapter, or the adapter does not fit the model.
    """
    folder = Path(name)
    _check_weights(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what does not fit is an error below
            info = model.load_adapter(name)
    except torch.OutOfMemoryError:  # a full GPU, a RuntimeError, says nothing about the adapter
        raise
    except RuntimeError as error:
        raise InputError(f"{_misfit(folder)}: weights of other sizes; {_REMEDY}") from error
    except Exception as error:  # peft trusts the types and values of the file, so anything may be raised
        text = " ".join(str(error).split())[:200]
        raise InputError(f"{folder / ADAPTER_CONFIG}: peft cannot use it ({text}); save the adapter again") from error
    for what in ("missing", "unexpected", "mismatched"):
        if keys := sorted(map(str, getattr(info, f"{what}_keys"))):
            raise InputError(f"{_misfit(folder)}: {len(keys)} {what} weights ({keys[0]}); {_REMEDY}")
    return model


_REMEDY = f"set base_model_name_or_path in {ADAPTER_CONFIG} to the model that it was trained on, or save it again"


def _misfit(folder: Path) -> str:
    return f"{folder}: the adapter does not fit its base model {base_of(str(folder))}"


def _check_weights(folder: Path) -> None:
    """Raise InputError if the weights of an adapter cannot be read, or its rank exceeds all their dimensions."""
    file, settings = folder / "adapter_model.safetensors", read_adapter(folder)
    try:
        tensors = read_tensors(file)
    except ValueError as error:
        raise InputError(str(error)) from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise InputError(f"{file}: {name} holds numbers of type {tensor.dtype}, not floats; save the adapter again")
    if rank_key := _RANK_KEYS.get(settings["peft_type"]):
        # peft allocates weights of that rank before it reads those of the file.
        largest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
        for key, rank in {rank_key: settings.get(rank_key), **(settings.get("rank_pattern") or {})}.items():
            if isinstance(rank, (int, float)) and rank > largest:
                raise InputError(
                    f"{folder / ADAPTER_CONFIG}: rank {rank} of {shorten(key)} exceeds every dimension of the "
                    f"adapter's weights (at most {largest}); save the adapter again"
                )


def merge_adapter(model: Any, name: str) -> Any:
    """Return a model with the weights of an adapter merged into its own.

    Args:
        model: as in `add_adapter`.
        name: as in `add_adapter`.

    Raises:
        InputError: as in `add_adapter`.
    """
    from peft import PeftModel

    # PeftModel can merge weights, but does not check that they fit. So the adapter is first added to a copy.
    add_adapter(copy.deepcopy(model), name)
    with without_future_warnings():
        return PeftModel.from_pretrained(model, name).merge_and_unload()


@contextmanager
def without_future_warnings() -> Iterator[None]:
    """Hide, within the block, the warning that peft uses a deprecated property of transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
