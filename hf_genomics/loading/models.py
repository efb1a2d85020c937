"""Load models and tokenizers from disk or the Hub.

Every loader runs inside `readable`, which checks the folder and turns what is wrong with it into a one-line InputError.
"""

from __future__ import annotations

import contextlib
import json
import math
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

from ..configuration_kmer_bert import KmerBertConfig
from ..errors import InputError
from ..io.files import shorten
from ..modeling_kmer_bert import KmerBertModel, check_encoder_complete
from ..tokenization_kmer import KmerTokenizer
from .adapters import ADAPTER_CONFIG, add_adapter, base_of, head_of, merge_adapter
from .config_facts import longest_window, parts_of
from .model_folder import readable

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
