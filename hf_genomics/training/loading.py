"""Models as they lie on disk: loaded with clear errors, and what they know of their examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)

from ..data.tables import LabelledSequences
from ..errors import InputError, readable
from ..tokenization_kmer import KmerTokenizer

#: What a configuration calls the output of a regression on one value.
VALUE = "value"


def load_config(name: str) -> Any:
    """Load a model's configuration.

    Raises:
        InputError: if there is none, or it is no KmerBert.
    """
    with readable(name):
        kind = PreTrainedConfig.get_config_dict(name)[0].get("model_type")  # DNABERT's first files name none
        config = AutoConfig.from_pretrained(name) if kind else None
    if not hasattr(config, "k"):
        what = (
            f"is a {kind} model, not a KmerBert" if kind else "names no model_type in config.json, as a KmerBert does"
        )
        raise InputError(
            f"{name} {what}; name a folder that pretrain or finetune made (a DNABERT goes through hf-genomics convert "
            "first)"
        )
    return config


def load_tokenizer(name: str) -> KmerTokenizer:
    """Load a model's tokenizer.

    Raises:
        InputError: if there is none, or it is not the model's: without its file a folder would get the default k-mers.
    """
    with readable(name):
        config, tokenizer = load_config(name), AutoTokenizer.from_pretrained(name)
    if not hasattr(tokenizer, "k") and (Path(name) / "tokenizer.json").is_file():
        raise InputError(
            f"{name}: its tokenizer ({type(tokenizer).__name__}) is not a KmerTokenizer, which this verb needs; "
            "use a plain Trainer, as tokenizer_configs/README.md shows"
        )
    ours, theirs = ((getattr(each, "k", None), getattr(each, "stride", None)) for each in (tokenizer, config))
    if ours != theirs:
        raise InputError(
            f"{name}: tokenizer_config.json is missing or not the model's: it gives (k, stride) {ours}, the model has "
            f"{theirs}; copy the file of the model there"
        )
    return tokenizer


def load_classifier(name: str) -> tuple[PreTrainedModel, KmerTokenizer]:
    """Load a fine-tuned model, for sequences or for nucleotides, and its tokenizer.

    Raises:
        InputError: if they cannot be loaded, or the model has no fine-tuned head.
    """
    config = load_config(name)
    heads = " ".join(config.architectures or [])
    per_nt = "TokenClassification" in heads and config.labels_per == "nt"
    if not per_nt and "SequenceClassification" not in heads:
        raise InputError(
            f"{name} is {config.architectures}: not fine-tuned for classification; run hf-genomics finetune first"
        )
    auto = AutoModelForTokenClassification if per_nt else AutoModelForSequenceClassification
    with readable(name):
        return auto.from_pretrained(name), load_tokenizer(name)


def is_per_nt(network: PreTrainedModel) -> bool:
    """Tell whether a model classifies nucleotides."""
    return type(network).__name__.endswith("TokenClassification")


def class_names(network: PreTrainedModel) -> list[str] | None:
    """Give the names of classes, labels or targets in order, or None for one value."""
    names = [network.config.id2label[number] for number in range(network.config.num_labels)]
    return None if network.config.problem_type == "regression" and names == [VALUE] else names


def known_of(network: PreTrainedModel, source: str) -> LabelledSequences:
    """Say what a model knows of its examples: classes, labels, tracks, pairs; it has none itself."""
    config = network.config
    return LabelledSequences(
        source=source,
        ids=[],
        sequences=[],
        label_names=class_names(network),
        problem_type=config.problem_type or "single_label_classification",
        nt_labels=[] if is_per_nt(network) else None,
        pairs=[] if config.paired else None,
        track_names=getattr(config, "track_names", None),
        nt_track_names=getattr(config, "nt_track_names", None),
    )
