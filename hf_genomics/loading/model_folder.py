"""Check the files of a model folder before transformers reads them."""

from __future__ import annotations

import contextlib
import difflib
import json
import pickle
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..configuration_kmer_bert import (
    BERT_SETTINGS,
    FusionKmerBertConfig,
    HierarchicalKmerBertConfig,
    KmerBertConfig,
    translate_bert,
)
from ..errors import InputError
from ..io.bundled import bundled, bundled_models
from ..io.files import shorten
from ..saved_files import StoredTensor, check_shards, check_tensors, read_json, read_tensors, weight_files
from ..saved_settings import check_bounds, check_types, count_weights, encoder_shapes
from ..tokenization_kmer import KmerTokenizer
from ..tokenizer_arguments import check_arguments, check_size, named_tokens
from .adapters import ADAPTER_CONFIG

# Errors of torch.load for a file that is truncated or not a checkpoint; UnpicklingError also for a rejected pickle.
_PICKLE_ERRORS = (pickle.UnpicklingError, EOFError, struct.error)
_OBJECT, _TEXT = (dict,), (str,)
_IN_JSON = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
}
# Files of a model folder that must hold a JSON object, and the types of those values that transformers does not check.
_JSON_FILES: dict[str, dict[str, tuple[type, ...]]] = {
    "config.json": {},  # see `_read_config`
    "tokenizer_config.json": {
        "added_tokens_decoder": _OBJECT,
        "auto_map": _OBJECT,
        "chat_template": (str, list, dict),
        "extra_special_tokens": (list, dict),
        "model_input_names": (list,),
        "model_max_length": (int, float),
        "padding_side": _TEXT,
        "errors": _TEXT,
        "tokenizer_class": _TEXT,
        "truncation_side": _TEXT,
        **dict.fromkeys(("k", "stride"), (int,)),
        **dict.fromkeys(("allow_gaps", "allow_large_k", "split_special_tokens"), (bool,)),
        **{f"{name}_token": (str, dict) for name in ("pad", "unk", "cls", "sep", "mask")},
    },
    "model.safetensors.index.json": {"metadata": _OBJECT, "weight_map": _OBJECT},
    "pytorch_model.bin.index.json": {"metadata": _OBJECT, "weight_map": _OBJECT},
    "added_tokens.json": {},
    "generation_config.json": {},
    "special_tokens_map.json": {},
}


@contextlib.contextmanager
def readable(source: str) -> Iterator[None]:
    """Turn errors from loading a damaged or foreign model into a one-line InputError, but not bugs of this package.

    The types in a folder's files are checked first. Without that check, a wrong type would cause an AttributeError or a
    TypeError somewhere in transformers. These two are not caught, because a bug of this package may cause them too.

    Args:
        source: folder or Hub name of the model that is loaded in the ``with`` block.

    Raises:
        InputError: naming the source, the file if it is known, and the problem.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    path = Path(source)
    _check_path(source)
    check_model_folder(path)
    try:
        yield
    except InputError:
        raise
    except SafetensorError as error:
        raise InputError(f"{source}: the weights are damaged ({error}); copy or save them again") from error
    except _PICKLE_ERRORS as error:
        raise InputError(_damaged_pickle(source)) from error
    except RuntimeError as error:
        if (problem := _problem_of_weights(error, source)) is None:
            raise
        raise InputError(problem) from error
    except (OSError, ValueError, StrictDataclassError) as error:
        if isinstance(error, OSError) and not path.exists():
            names = [] if "/" in source else bundled_models()
            ours = f"; the bundled models are {', '.join(names)}" if names else ""
            raise InputError(
                f"{source}: no such folder, and no such model on the Hub or in its cache (or the Hub cannot be "
                f"reached, or the model is private); check the name, the network and your login{ours}"
            ) from error
        if "no file named" in str(error):  # transformers lists the names of weights that it looked for
            raise InputError(f"{source}: no weights (model.safetensors) there; copy all files of the model") from error
        raise InputError(f"{source}: {' '.join(str(error).split()).removeprefix(f'{source}: ')}") from error


def _problem_of_weights(error: RuntimeError, source: str) -> str | None:
    """Return the message for a RuntimeError that the weights of a model have caused; None for any other."""
    if "ignore_mismatched_sizes" in str(error):  # what transformers advises when sizes differ
        return f"{source}: the weights have other sizes than config.json says; fix config.json"
    files = weight_files(Path(source)) if Path(source).is_dir() else []
    # torch.load raises a RuntimeError for some damaged pickles.
    if any(file.suffix == ".bin" for file in files) and not isinstance(error, torch.OutOfMemoryError):
        return _damaged_pickle(str(files[0]))
    return None


def _check_path(source: str) -> None:
    """Raise InputError for a path to a folder that does not exist, with the name of a saved model that is close to it.

    The Hub can take half a minute to answer that it has no such model. So it is asked only for a single word, such as
    "dnabert", or for OWNER/NAME if the working directory has no folder called OWNER. "./dnabert" and "/data/dnabert"
    are paths, and so is "runs/dnabert" where there is a folder "runs".
    """
    path = Path(source)
    parent = Path(bundled(str(path.parent)))  # model_cards, for instance, may lie in the installed package
    is_path = path.is_absolute() or source.startswith((".", "~")) or (len(path.parts) > 1 and parent.is_dir())
    if path.exists() or not is_path:
        return
    near: list[str] = []
    with contextlib.suppress(OSError):  # the folder above is missing, or may not be read
        files = ("config.json", ADAPTER_CONFIG)
        models = [place.name for place in parent.iterdir() if any((place / name).is_file() for name in files)]
        near = difflib.get_close_matches(path.name, sorted(models), n=1)
    if near:
        raise InputError(f"{source}: no such folder; did you mean {path.parent / near[0]}?")
    # Written as OWNER/NAME.
    may_be_on_hub = path.parts == tuple(source.split("/")) and len(path.parts) == 2 and path.parts[0] not in ("..", "~")
    other = f"; for a model of the Hub, work in a folder without {path.parent}" if may_be_on_hub else ""
    raise InputError(f"{source}: no such folder; check the path{other}")


def check_model_folder(path: Path) -> None:
    """Check that a path, if it exists, is a model folder with well-formed files.

    Args:
        path: folder of the model; a path that does not exist is accepted, because it may be a name on the Hub.

    Raises:
        InputError: naming the file, and the key in the file.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name the model's folder")
    if not path.is_dir():
        return
    if not (path / "config.json").is_file():
        raise InputError(f"{path}: no config.json in this folder; name a model folder")
    contents = {
        name: _read_object(path / name, types) for name, types in _JSON_FILES.items() if (path / name).is_file()
    }
    _check_tokenizer(path / "tokenizer_config.json", contents.get("tokenizer_config.json", {}))
    with _input_errors():
        check_weights(path, _read_config(path / "config.json", contents["config.json"]))


def _read_object(path: Path, types: dict[str, tuple[type, ...]]) -> dict[str, Any]:
    """Read a JSON object whose values have the allowed types (key -> types); raise InputError for anything else."""
    with _input_errors():
        content = read_json(path)
    for key, allowed in types.items():
        value = content.get(key)
        is_allowed = isinstance(value, (*allowed, type(None)))  # null: as if the key were missing
        if not is_allowed or (isinstance(value, bool) and bool not in allowed):  # to Python, True is an int
            wanted = " or ".join(dict.fromkeys(_IN_JSON[one] for one in allowed))
            raise InputError(f"{path}: {key!r} must be {wanted}, not {shorten(json.dumps(value))}; fix the file")
    return content


@contextlib.contextmanager
def _input_errors() -> Iterator[None]:
    """Turn a ValueError that names its file into an InputError."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from error


def _read_config(path: Path, settings: dict[str, Any]) -> KmerBertConfig | None:
    """Build the configuration of a folder, before transformers reads it; None if it is not that of a KmerBert.

    Args:
        path: the file, for messages.
        settings: its content.

    Raises:
        ValueError: naming the file and the field that is wrong.
    """
    from huggingface_hub.errors import StrictDataclassError

    model_type = settings.get("model_type", "bert")  # the first releases of DNABERT have none
    classes = {cls.model_type: cls for cls in (KmerBertConfig, HierarchicalKmerBertConfig, FusionKmerBertConfig)}
    try:
        check_types({name: settings.get(name) for name in ("architectures", "model_type")})
        if settings.get("configuration_files"):
            raise ValueError("'configuration_files' would make transformers read another file; delete it")
        if model_type == "bert":
            settings = {name: value for name, value in settings.items() if name in BERT_SETTINGS}
            check_types(settings)
            check_bounds(settings)
            return _read_bert(settings)
        return classes[model_type].from_dict(dict(settings)) if model_type in classes else None
    except (ValueError, StrictDataclassError) as error:
        raise ValueError(f"{path}: {_reason(error)}") from error


def _read_bert(settings: dict[str, Any]) -> KmerBertConfig | None:
    """Build the configuration of a DNABERT; None for a BERT of text, which callers refuse by the models they take."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        return KmerBertConfig.from_dict(translate_bert(settings))
    except (ValueError, StrictDataclassError):  # its vocabulary is not one of k-mers
        return None


def _reason(error: Exception) -> str:
    """Return the message of an error on one line; of a dataclass's error only the last line, the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return re.sub(r"^(TypeError|ValueError): ", "", lines[-1])


def check_weights(folder: Path, config: KmerBertConfig | None) -> None:
    """Check that the weight files of a folder are complete, and that the model's sizes fit them and the free memory.

    Only headers are read, except for pickles, which torch reads without running code.

    Args:
        folder: folder of the model; a folder without weights is accepted here.
        config: configuration of the model, None if it is not a KmerBert.

    Raises:
        ValueError: naming the file, and the weight; or the folder, if the weights need more memory than is free.
    """
    files = weight_files(folder)
    check_shards(folder)
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        tensors |= read_tensors(file) if file.suffix == ".safetensors" else _check_pickle(file)
    if config is not None:
        _check_memory(folder, config)
    if config is not None and files:
        source = str(files[0]) if len(files) == 1 else str(folder)
        check_tensors(tensors.items(), dict(encoder_shapes(config)), source)


def _check_memory(folder: Path, config: KmerBertConfig) -> None:
    """Raise InputError if the weights of a model take more memory than is free."""
    from ..runs.memory import free_memory  # slow to import

    # float32: 4 bytes per weight.
    needed, free = 4 * count_weights(config), free_memory(torch.device("cpu"))
    if needed > free:
        raise InputError(
            f"{folder}: by config.json the model has {needed // 4:,} weights, which take {needed / 2**30:.1f} GiB of "
            f"memory; {free / 2**30:.1f} GiB are free: fix the sizes in config.json, or use a larger machine"
        )


def _check_tokenizer(path: Path, settings: dict[str, Any]) -> None:
    """Raise InputError for values of a tokenizer_config.json on which transformers would fail, or which name files."""
    name = settings.get("tokenizer_class") or "KmerTokenizer"
    if not re.fullmatch(r"\w{1,100}", name):
        raise InputError(f"{path}: 'tokenizer_class' must be the name of a class, not {shorten(name)}; fix the file")
    for side in ("padding_side", "truncation_side"):
        if settings.get(side) not in (None, "left", "right"):
            raise InputError(f"{path}: {side!r} must be 'left' or 'right', not {shorten(settings[side])}; fix the file")
    longest = settings.get("model_max_length")
    if longest is not None and not longest > 0:  # not `<= 0`: JSON may hold NaN
        raise InputError(f"{path}: 'model_max_length' must be above 0, not {longest}; fix the file")
    for reference in (settings.get("auto_map") or {}).values():
        references = reference if isinstance(reference, list) else [reference]
        is_known = all(value is None or re.fullmatch(r"\w+\.\w+", str(value)) for value in references)
        if not is_known or isinstance(reference, list) and len(reference) != 2:  # [slow tokenizer, fast tokenizer]
            raise InputError(f"{path}: 'auto_map' must name code of this folder, not {shorten(str(reference))}; fix it")
    _check_added_tokens(path, settings)
    if name != "KmerTokenizer":
        return
    for key in ("vocab_file", "tokenizer_file"):
        if settings.get(key) is not None:
            raise InputError(f"{path}: {key!r} names a file, but a KmerTokenizer reads none; delete it from the file")
    try:
        check_arguments(settings.keys() - named_tokens(settings), KmerTokenizer)
        gaps, large = bool(settings.get("allow_gaps")), bool(settings.get("allow_large_k"))
        k, stride = settings.get("k"), settings.get("stride")
        check_size(6 if k is None else k, 1 if stride is None else stride, gaps, large)  # 6 and 1: the defaults
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}; fix the file") from error


def _check_added_tokens(path: Path, settings: dict[str, Any]) -> None:
    """Raise InputError unless added tokens and other lists of a tokenizer_config.json hold what they should."""
    for number, token in (settings.get("added_tokens_decoder") or {}).items():
        if not (number.isdecimal() and len(number) < 10 and isinstance(token, dict) and _is_token(token)):
            raise InputError(
                f"{path}: 'added_tokens_decoder' must hold a token for each number, not "
                f"{shorten(json.dumps(token))} for {shorten(number)}; fix the file"
            )
    for key in ("model_input_names", "extra_special_tokens"):
        values = settings.get(key) or []
        for value in values.values() if isinstance(values, dict) else values:
            if not (isinstance(value, str) or isinstance(value, dict) and _is_token(value)):
                raise InputError(f"{path}: {key!r} must hold strings, not {shorten(json.dumps(value))}; fix the file")
    for key in (f"{name}_token" for name in ("pad", "unk", "cls", "sep", "mask")):
        if isinstance(settings.get(key), dict) and not _is_token(settings[key]):
            raise InputError(f"{path}: {key!r} must be a token, not {shorten(json.dumps(settings[key]))}; fix the file")


def _is_token(value: dict[str, Any]) -> bool:
    """Return whether a JSON object describes a token: its content, and flags."""
    # transformers writes "__type" and "id".
    flags = {name: flag for name, flag in value.items() if name not in ("content", "__type", "id")}
    return isinstance(value.get("content"), str) and all(isinstance(flag, bool) for flag in flags.values())


def _check_pickle(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a pickle, without their numbers; raise InputError if it holds more than plain weights.

    torch.load has no error class for damaged files: it raises any of those below, here always because of the file.
    """
    try:
        weights = torch.load(path, map_location="meta", weights_only=True)
    except (
        *_PICKLE_ERRORS,
        LookupError,
        ValueError,
        RuntimeError,
        OSError,
        TypeError,
        AttributeError,
        AssertionError,
    ) as error:
        raise InputError(_damaged_pickle(str(path))) from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path}: not just the weights of a model; save them by torch.save(model.state_dict(), FILE)")
    return {
        name: StoredTensor(path, str(weight.dtype).removeprefix("torch."), tuple(weight.shape))
        for name, weight in weights.items()
        if isinstance(name, str)
    }


def _damaged_pickle(source: str) -> str:
    """Return the error message for a file that torch.load cannot read or will not read."""
    return (
        f"{source}: its weights are a damaged file or a pickle with more than plain weights, which could run code; "
        "save only the weights, as model.safetensors or by torch.save(model.state_dict())"
    )
