"""Load models from disk or the Hub, check the files of a model folder first, and read a model's task.

The upper half loads; the lower half, from `_PICKLE_ERRORS` on, checks. Every loader runs inside `readable`, which
checks the folder and turns what is wrong with it into a one-line InputError.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import pickle
import re
import struct
from collections.abc import Iterable, Iterator
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
from ..labelled.task import VALUE, Task
from ..modeling_kmer_bert import KmerBertModel, check_encoder_complete
from ..saved_files import StoredTensor, check_shards, check_tensors, read_json, read_tensors, weight_files
from ..saved_settings import check_bounds, check_types, count_weights, encoder_shapes
from ..tokenization_kmer import KmerTokenizer
from ..tokenizer_arguments import check_arguments, check_size, named_tokens
from .adapters import ADAPTER_CONFIG, add_adapter, base_of, head_of, merge_adapter

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors")
_TOKENIZER_FILES = ("tokenizer_config.json", "vocab.txt", "tokenizer.json")
_COPY_TOKENIZER = "copy the model's own tokenizer_config.json there"


def load_config(name: str) -> Any:
    """Load the configuration of a KmerBert.

    Args:
        name: folder or Hub name of the model, or folder of an adapter, which may have a configuration of its own.

    Raises:
        InputError: if there is no such model, or it is not a KmerBert.
    """
    name = _folder_with(name, "config.json")
    with readable(name):
        # The first releases of DNABERT have no model_type.
        model_type = PreTrainedConfig.get_config_dict(name)[0].get("model_type")
        config = AutoConfig.from_pretrained(name) if model_type else None
    if not isinstance(config, KmerBertConfig):
        what = "names no model_type in config.json, as a KmerBert does"
        if model_type:
            what = f"is a {model_type} model, not a KmerBert"
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
    return _tokenizer_beside(name, load_config(name))


def _tokenizer_beside(name: str, config: KmerBertConfig) -> KmerTokenizer:
    """Load the tokenizer of a model whose configuration has been read; see `load_tokenizer`."""
    name = _folder_with(name, "tokenizer_config.json")
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in _TOKENIZER_FILES):
        raise InputError(f"{name}: no tokenizer_config.json there; {_COPY_TOKENIZER}")
    try:
        with readable(name):
            tokenizer = AutoTokenizer.from_pretrained(name)
    except TypeError as error:  # a setting that the tokenizer does not have
        raise InputError(f"{Path(name) / 'tokenizer_config.json'}: {error}; fix the file") from error
    # Any other tokenizer belongs to the model, such as one of BPE, if there is a tokenizer.json. Otherwise transformers
    # has guessed it, because tokenizer_config.json is missing or wrong: `_check_pair` reports that.
    if not isinstance(tokenizer, KmerTokenizer) and (Path(name) / "tokenizer.json").is_file():
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
            f"({type(tokenizer).__name__}); {_COPY_TOKENIZER}"
        )
    pairs = {
        "k": (tokenizer.k, config.k),
        "stride": (tokenizer.stride, config.stride),
        "id of [PAD]": (tokenizer.pad_token_id, config.pad_token_id),
    }
    for what, (in_tokenizer, in_config) in pairs.items():
        if in_tokenizer != in_config:
            raise InputError(
                f"{files} do not belong together: {what} is {in_tokenizer} and {in_config}; {_COPY_TOKENIZER}"
            )
    if len(tokenizer) > config.num_embeddings:  # a model may have more, for the sake of speed
        raise InputError(
            f"{files} do not belong together: the tokenizer has {len(tokenizer)} tokens, but vocab_size is "
            f"{config.num_embeddings}; {_COPY_TOKENIZER}, or call resize_token_embeddings before saving the model"
        )


def load_classifier(name: str) -> tuple[PreTrainedModel, KmerTokenizer]:
    """Load a model that was fine-tuned on labels of sequences or of nucleotides, and its tokenizer.

    Args:
        name: folder or Hub name of the model.

    Returns:
        The model in evaluation mode, and its tokenizer; `predict_scores` takes both.

    Raises:
        InputError: if they cannot be loaded, a weight is NaN or infinite, or the model has no fine-tuned head.
    """
    config, base = load_config(name), base_of(name)
    _check_decision(config, name)
    auto = _auto_class(name, config, base)
    if base is not None:
        model = add_adapter(_load_base(auto, base, config), name).eval()
        check_finite(model.state_dict().items(), name)
        return model, _tokenizer_beside(name, config)
    model, info = load_complete(auto, name)
    # Only weights of the head can still be missing: load_complete has raised for the others.
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"{name}: {len(missing)} weights of the head are missing ({missing[0]}); copy all files of the fine-tuned "
            "model, or run hf-genomics finetune"
        )
    return model, _tokenizer_beside(name, config)


def load_complete(kind: Any, name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Load a model, and check that its encoder is complete and its weights are finite.

    Args:
        kind: class of the model, or an Auto class.
        name: folder or Hub name of the model.
        options: further arguments of ``from_pretrained``.

    Returns:
        The model, and which weights ``from_pretrained`` did not find ("missing_keys") or, if it may ignore them, found
        in another size ("mismatched_keys").

    Raises:
        InputError: if the model cannot be loaded, or a weight of its encoder is missing, or any is NaN or infinite.
    """
    with readable(name), no_load_report():
        model, info = kind.from_pretrained(name, output_loading_info=True, **options)
        check_encoder_complete(model, info["missing_keys"], name)
    check_finite(model.state_dict().items(), name)
    return model, info


def _check_decision(config: Any, name: str) -> None:
    """Raise InputError for a threshold of a class that the model does not have: it would be ignored in silence."""
    names = [*(config.id2label or {}).values()]
    if config.decision_threshold is not None and config.positive_class not in names:
        raise InputError(
            f"{name}: config.json has decision_threshold {config.decision_threshold}, but positive_class "
            f"{shorten(str(config.positive_class))} is not one of its classes {names}; set it to one of them, "
            "or decision_threshold to null"
        )


def load_encoder(name: str) -> tuple[KmerBertModel, KmerTokenizer]:
    """Load the encoder of a pretrained or fine-tuned model, without its head, and its tokenizer.

    Args:
        name: folder or Hub name of the model, or folder of an adapter.

    Returns:
        The encoder in evaluation mode, and its tokenizer. The encoder of a model that reads sequences in parts reads
        one part.

    Raises:
        InputError: if they cannot be loaded, or a weight is NaN or infinite.
    """
    config = load_config(name)
    if base_of(name) is not None:
        if type(config) is not KmerBertConfig:
            raise InputError(f"{name} is an adapter of a model with parts or tracks; merge it with hf-genomics convert")
        model, tokenizer = load_classifier(name)
        return model.base_model, tokenizer
    tokenizer = _tokenizer_beside(name, config)
    model, _ = load_complete(KmerBertModel, name, config=_plain_config(config, tokenizer), add_pooling_layer=False)
    return model.eval(), tokenizer


def _plain_config(config: KmerBertConfig, tokenizer: KmerTokenizer) -> KmerBertConfig:
    """Return the configuration of a model's encoder, without parts and tracks; it reads as many nt as one part has."""
    from .windows import longest_window, parts_of  # slow to import

    parts, part_length = parts_of(config)
    longest = longest_window(config, tokenizer)
    known = KmerBertConfig().to_dict().keys() - {"model_type", "architectures", "auto_map"}
    plain = KmerBertConfig.from_dict({key: value for key, value in config.to_dict().items() if key in known})
    # In nt. Parts have a largest length (`part_length`), or the sequence is cut into `parts` equal ones: rounded up.
    plain.max_sequence_length = min(part_length, longest) if part_length else math.ceil(longest / parts)
    return plain


def load_merged(name: str) -> tuple[PreTrainedModel, KmerTokenizer]:
    """Load an adapter, merged into its base model, as a fine-tuned model, and its tokenizer.

    Args:
        name: folder of the adapter.

    Raises:
        InputError: as in `load_classifier`; also if the folder is not an adapter.
    """
    config, base = load_config(name), base_of(name)
    if base is None:
        raise InputError(f"{name}: not an adapter (no {ADAPTER_CONFIG} there); load the model by load_classifier")
    auto = _auto_class(name, config, base)
    model = merge_adapter(_load_base(auto, base, config), name)
    check_finite(model.state_dict().items(), name)
    return model, _tokenizer_beside(name, config)


def _load_base(auto: Any, base: str, config: KmerBertConfig) -> PreTrainedModel:
    """Load the base model of an adapter; a head of another size is replaced by the adapter's.

    Args:
        auto: Auto class of the model.
        base: folder or Hub name of the base model.
        config: configuration of the adapted model.

    Raises:
        InputError: if the base model cannot be loaded, or a weight of its encoder has another size.
    """
    model, info = load_complete(auto, base, config=config, ignore_mismatched_sizes=True)
    if misfit := encoder_misfit(info):
        name, found, expected = misfit
        raise InputError(
            f"{base}: {name} is {found}, but {expected} in the model that the adapter changes; name that model in "
            "base_model_name_or_path"
        )
    return model


def encoder_misfit(info: dict[str, Any]) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
    """Return the first weight of an encoder that is stored in another size: its name, and the sizes found and expected.

    None if all have the right size. A head may have another size; the pooler counts as a part of the head, as in
    `check_encoder_complete`.

    Args:
        info: what ``from_pretrained`` returns with ``output_loading_info=True`` and ``ignore_mismatched_sizes=True``.
    """
    for name, found, expected in sorted(info["mismatched_keys"]):
        if name.startswith("bert.") and ".pooler." not in name:
            return name, tuple(found), tuple(expected)
    return None


def _folder_with(name: str, file: str) -> str:
    """Return where a model has a file: in its own folder, or, if it is an adapter without the file, in its base."""
    base = base_of(name)
    return name if base is None or (Path(name) / file).is_file() else base


def _auto_class(name: str, config: KmerBertConfig, base: str | None) -> Any:
    """Return the Auto class of a fine-tuned model.

    Raises:
        InputError: if the model has no fine-tuned head.
    """
    architecture = " ".join(config.architectures or [])
    # The configuration may be that of the adapter's base model, which need not be fine-tuned. The adapter then says
    # which head it was trained with.
    if base is not None and "Classification" not in architecture:
        architecture = head_of(name) or ""
        if not architecture:
            raise InputError(
                f"{name}: its base model {base} is not fine-tuned, and no file holds the settings of the head "
                "(classes, pooling) that was trained; write them beside the adapter by model.config.save_pretrained"
            )
    if "SequenceClassification" in architecture and config.labels_per == "nt":
        raise InputError(
            f"{Path(name) / 'config.json'}: labels_per is 'nt', but a {architecture} classifies sequences; set it to "
            "'token', or copy the model's own config.json there"
        )
    per_nt = "TokenClassification" in architecture and config.labels_per == "nt"
    if not per_nt and "SequenceClassification" not in architecture:
        raise InputError(
            f"{name} is not fine-tuned for classification or regression (architectures: {architecture or 'none'}); run "
            "hf-genomics finetune first (embed and probe also read a model that was only pretrained)"
        )
    return AutoModelForTokenClassification if per_nt else AutoModelForSequenceClassification


def check_finite(weights: Iterable[tuple[str, torch.Tensor]], source: str | Path) -> None:
    """Check that no weight is NaN or infinite; everything that reads the weights of a model calls this.

    Args:
        weights: names and values, for example the items of a ``state_dict``.
        source: file of the weights, or folder or Hub name of the model.

    Raises:
        InputError: naming the file, the first such weight, and how many of its values are not finite.
    """
    for name, weight in weights:
        # A finite sum has only finite terms. A sum may overflow although all terms are finite: then each is checked.
        if not weight.is_floating_point() or torch.isfinite(weight.detach().sum(dtype=torch.float32)):
            continue
        finite = torch.isfinite(weight.float())
        if not finite.all():
            raise InputError(
                f"{_file_of_weight(Path(source), name)}: {int((~finite).sum()):,} of {weight.numel():,} values of "
                f"{name} are NaN or infinite; copy the file again, or take a checkpoint from before the training "
                "diverged"
            )


def _file_of_weight(source: Path, name: str) -> Path:
    """Return the file in a model folder that holds a weight; ``source`` itself if it is a file or a Hub name."""
    index = source / "model.safetensors.index.json"
    if index.is_file():
        shards: dict[str, str] = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {})
        # The weight "bert.embeddings..." of a model with a head is called "embeddings..." in the file of an encoder.
        file = next((shard for key, shard in shards.items() if key == name or name.endswith(f".{key}")), None)
        return source / file if file else source
    return next((source / file for file in _WEIGHT_FILES if (source / file).is_file()), source)


def task_of(config: Any, source: str = "the model") -> Task:
    """Return the task that a fine-tuned model was trained for.

    Args:
        config: the model's configuration.
        source: name of the model, for error messages about examples that do not fit the task.
    """
    names = [config.id2label[number] for number in range(config.num_labels)]
    has_tracks = isinstance(config, FusionKmerBertConfig)
    positive = config.positive_class if config.positive_class in names else None
    threshold = None
    if positive is not None and config.decision_threshold is not None and len(names) == 2:
        threshold = float(config.decision_threshold), names.index(positive)
    return Task(
        problem_type=config.problem_type or "single_label_classification",
        names=None if config.problem_type == "regression" and names == [VALUE] else names,
        level="nt" if config.labels_per == "nt" else "sequence",
        paired=config.paired,
        track_names=config.track_names if has_tracks else None,
        nt_track_names=config.nt_track_names if has_tracks else None,
        source=source,
        positive=positive,
        threshold=threshold,
    )


# Checks of the files in a model folder.

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
