"""Load models from disk or the Hub, with one-line errors, and read the task of a model from its configuration."""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)

from ..configuration_kmer_bert import FusionKmerBertConfig, KmerBertConfig
from ..errors import InputError
from ..io.files import shorten
from ..labelled.task import VALUE, Task
from ..modeling_kmer_bert import check_encoder_complete
from ..tokenization_kmer import KmerTokenizer
from .adapters import add_adapter, base_of, head_of, merge_adapter

_COPY = "copy the model's own tokenizer_config.json there"


def load_config(name: str) -> Any:
    """Load the configuration of a KmerBert.

    Args:
        name: folder or Hub name of the model, or folder of an adapter, which may have a configuration of its own.

    Raises:
        InputError: if there is no such model, or it is not a KmerBert.
    """
    name = _folder_with(name, "config.json")
    with readable(name):
        kind = PreTrainedConfig.get_config_dict(name)[0].get("model_type")  # missing in DNABERT's first files
        config = AutoConfig.from_pretrained(name) if kind else None
    if not isinstance(config, KmerBertConfig):
        what = (
            f"is a {kind} model, not a KmerBert" if kind else "names no model_type in config.json, as a KmerBert does"
        )
        raise InputError(
            f"{name} {what}; name a folder that pretrain or finetune made (a DNABERT goes through hf-genomics convert "
            "first)"
        )
    return config


def load_tokenizer(name: str) -> KmerTokenizer:
    """Load the tokenizer of a KmerBert.

    Args:
        name: folder or Hub name of the model, or folder of an adapter, which may have a tokenizer of its own.

    Raises:
        InputError: if there is no such model, or the tokenizer has another k or stride than the model. (Without
            ``tokenizer_config.json``, transformers would load a tokenizer with the default k and stride.)
    """
    config = load_config(name)
    name = _folder_with(name, "tokenizer_config.json")
    try:
        with readable(name):
            tokenizer = AutoTokenizer.from_pretrained(name)
    except TypeError as error:  # a setting that the tokenizer does not have
        raise InputError(f"{Path(name) / 'tokenizer_config.json'}: {error}; fix the file") from error
    is_kmers = isinstance(tokenizer, KmerTokenizer)
    if not is_kmers and (Path(name) / "tokenizer.json").is_file():
        raise InputError(
            f"{name}: its tokenizer ({type(tokenizer).__name__}) is not a KmerTokenizer, which this verb needs; "
            "use a plain Trainer, as tokenizer_configs/README.md shows"
        )
    _check_pair(name, tokenizer, config)
    return tokenizer


def _check_pair(name: str, tokenizer: Any, config: KmerBertConfig) -> None:
    """Raise InputError unless the tokenizer and the configuration of a folder fit each other."""
    files = f"{Path(name) / 'tokenizer_config.json'} and {Path(name) / 'config.json'}"
    if not isinstance(tokenizer, KmerTokenizer):
        raise InputError(
            f"{files} do not belong together: the first is missing or of another tokenizer "
            f"({type(tokenizer).__name__}); {_COPY}"
        )
    pairs = {
        "k": (tokenizer.k, config.k),
        "stride": (tokenizer.stride, config.stride),
        "id of [PAD]": (tokenizer.pad_token_id, config.pad_token_id),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise InputError(f"{files} do not belong together: {what} is {ours} and {theirs}; {_COPY}")
    if len(tokenizer) > config.num_embeddings:  # a model may have more, for the sake of speed
        raise InputError(
            f"{files} do not belong together: the tokenizer has {len(tokenizer)} tokens, but vocab_size is "
            f"{config.num_embeddings}; {_COPY}, or call resize_token_embeddings before saving the model"
        )


def load_classifier(name: str) -> tuple[PreTrainedModel, KmerTokenizer]:
    """Load a model that was fine-tuned on labels of sequences or of nucleotides, and its tokenizer.

    Args:
        name: folder or Hub name of the model.

    Returns:
        The model in evaluation mode, and its tokenizer; `predict_scores` takes both.

    Raises:
        InputError: if they cannot be loaded, or the model has no fine-tuned head.
    """
    config, base = load_config(name), base_of(name)
    auto = _auto_class(name, config, base)
    if base is not None:
        with readable(base), no_load_report():
            return add_adapter(auto.from_pretrained(base, config=config), name).eval(), load_tokenizer(name)
    with readable(name), no_load_report():
        model, info = auto.from_pretrained(name, output_loading_info=True)
        check_encoder_complete(model, info["missing_keys"], name)
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"{name}: {len(missing)} weights of the head are missing ({missing[0]}); copy all files of the fine-tuned "
            "model, or run hf-genomics finetune"
        )
    return model, load_tokenizer(name)


def load_merged(name: str) -> tuple[PreTrainedModel, KmerTokenizer]:
    """Load the fine-tuned model that an adapter makes of its base model, with all weights its own, and its tokenizer.

    Args:
        name: folder of the adapter.

    Raises:
        InputError: as in `load_classifier`.
    """
    config, base = load_config(name), base_of(name)
    auto = _auto_class(name, config, base)
    with readable(base or name), no_load_report():
        return merge_adapter(auto.from_pretrained(base, config=config), name), load_tokenizer(name)


def _folder_with(name: str, file: str) -> str:
    """Return where a model has a file: in its own folder, or, if it is an adapter without the file, in its base."""
    base = base_of(name)
    return name if base is None or (Path(name) / file).is_file() else base


def _auto_class(name: str, config: KmerBertConfig, base: str | None) -> Any:
    """Return the Auto class of a fine-tuned model.

    Raises:
        InputError: if the model has no fine-tuned head.
    """
    heads = " ".join(config.architectures or [])
    if base is not None and "Classification" not in heads:
        heads = head_of(name) or ""
        if not heads:
            raise InputError(
                f"{name}: its base model {base} is not fine-tuned, and no file holds the settings of the head "
                "(classes, pooling) that was trained; write them beside the adapter by model.config.save_pretrained"
            )
    per_nt = "TokenClassification" in heads and config.labels_per == "nt"
    if not per_nt and "SequenceClassification" not in heads:
        raise InputError(
            f"{name} is {config.architectures}: not fine-tuned for classification; run hf-genomics finetune first"
        )
    return AutoModelForTokenClassification if per_nt else AutoModelForSequenceClassification


def task_of(config: Any, source: str = "the model") -> Task:
    """Return the task that a fine-tuned model was trained for.

    Args:
        config: the model's configuration.
        source: name of the model, for error messages about examples that do not fit the task.
    """
    names = [config.id2label[number] for number in range(config.num_labels)]
    has_tracks = isinstance(config, FusionKmerBertConfig)
    positive = config.positive_class if config.positive_class in names else None
    return Task(
        problem_type=config.problem_type or "single_label_classification",
        names=None if config.problem_type == "regression" and names == [VALUE] else names,
        level="nt" if config.labels_per == "nt" else "sequence",
        paired=config.paired,
        track_names=config.track_names if has_tracks else None,
        nt_track_names=config.nt_track_names if has_tracks else None,
        source=source,
        positive=positive,
    )


# Errors of torch.load for a file that is truncated or not a checkpoint; UnpicklingError also for a rejected pickle.
_DAMAGED = (pickle.UnpicklingError, EOFError, struct.error)

_OBJECT, _TEXT = (dict,), (str,)
_IN_JSON = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
# Files of a model folder that must hold a JSON object, and the types of those values that transformers does not check.
_JSON_FILES: dict[str, dict[str, tuple[type, ...]]] = {
    "config.json": {
        "architectures": (list,),
        "auto_map": _OBJECT,
        "dtype": _TEXT,
        "id2label": _OBJECT,
        "label2id": _OBJECT,
        "model_type": _TEXT,
        "num_labels": (int,),
        "quantization_config": _OBJECT,
        "torch_dtype": _TEXT,
    },
    "tokenizer_config.json": {
        "added_tokens_decoder": _OBJECT,
        "auto_map": _OBJECT,
        "errors": _TEXT,
        "extra_special_tokens": (list, dict),
        "k": (int,),
        "model_max_length": (int, float),
        "stride": (int,),
        "tokenizer_class": _TEXT,
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
    check_model_folder(path)
    try:
        yield
    except InputError:
        raise
    except SafetensorError as error:
        raise InputError(f"{source}: the weights are damaged ({error}); copy or save them again") from error
    except _DAMAGED as error:
        raise InputError(_damaged_pickle(source)) from error
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):  # what transformers advises when sizes differ
            raise
        raise InputError(f"{source}: the weights have other sizes than config.json says; fix config.json") from error
    except (OSError, ValueError, StrictDataclassError) as error:
        if isinstance(error, OSError) and not path.exists():
            raise InputError(
                f"{source}: no such folder, and no such model on the Hub or in its cache; check the name"
            ) from error
        raise InputError(f"{source}: {' '.join(str(error).split()).removeprefix(f'{source}: ')}") from error


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
    for name, types in _JSON_FILES.items():
        if (path / name).is_file():
            _check_json(path / name, types)
    if not any(path.glob("*.safetensors")):
        for pickled in path.glob("pytorch_model*.bin"):
            _check_pickle(pickled)


def _check_json(path: Path, types: dict[str, tuple[type, ...]]) -> None:
    """Raise InputError unless a file holds a JSON object whose values have the allowed types (key -> types)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise InputError(f"{path}: not a valid JSON file ({error}); copy or save it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a JSON object; copy or save it again")
    for key, kinds in types.items():
        value = content.get(key)
        if value is not None and not isinstance(value, kinds):
            wanted = " or ".join(dict.fromkeys(_IN_JSON[kind] for kind in kinds))
            raise InputError(f"{path}: {key!r} must be {wanted}, not {shorten(json.dumps(value))}; fix the file")


def _check_pickle(path: Path) -> None:
    """Raise InputError if a file is not a checkpoint of plain weights.

    torch.load has no error class for damaged files: it raises any of those below, here always because of the file.
    """
    try:
        weights = torch.load(path, map_location="meta", weights_only=True)
    except (
        *_DAMAGED,
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


def _damaged_pickle(source: str) -> str:
    """Return the error message for a file that torch.load cannot read or will not read."""
    return (
        f"{source}: its weights are a damaged file or a pickle with more than plain weights, which could run code; "
        "save only the weights, as model.safetensors or by torch.save(model.state_dict())"
    )


@contextlib.contextmanager
def no_load_report() -> Iterator[None]:
    """Silence transformers' table of new and unused weights while a model is loaded; callers report what matters."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
