"""Models as they lie on disk: loaded with clear errors, and what they know of their examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from ..data.tables import LabelledSequences
from ..errors import InputError
from ..tokenization_kmer import KmerTokenizer

#: What a configuration calls the output of a regression on one value.
VALUE = "value"


def load_config(name: str) -> Any:
    """Load a model's configuration.

    Raises:
        InputError: if there is none, or it is no KmerBert.
    """
    with readable(name):
        config = AutoConfig.from_pretrained(name)
    if not hasattr(config, "k"):
        raise InputError(
            f"{name} is a {config.model_type} model, not a KmerBert; name a folder that pretrain or finetune made (a "
            "DNABERT goes through hf-genomics convert first)"
        )
    return config


def load_tokenizer(name: str) -> KmerTokenizer:
    """Load a model's tokenizer.

    Raises:
        InputError: if there is none, or it is not the model's: without its file a folder would get the default k-mers.
    """
    with readable(name):
        tokenizer, config = AutoTokenizer.from_pretrained(name), load_config(name)
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


class readable:  # noqa: N801 (reads as a statement: with readable(name))
    """Turn whatever goes wrong while a model is loaded into an InputError."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        """Check the folder."""
        if Path(self.name).is_dir() and not (Path(self.name) / "config.json").is_file():
            raise InputError(f"{self.name}: no config.json in this folder; name a model folder")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Translate the error."""
        broken = (OSError, ValueError, TypeError, SafetensorError, StrictDataclassError)
        if isinstance(error, RuntimeError) and "ignore_mismatched_sizes" in str(error):
            raise InputError(
                f"{self.name}: the weights have other sizes than config.json says; mend config.json"
            ) from error
        if not isinstance(error, broken) or isinstance(error, InputError):
            return
        if not Path(self.name).exists():
            raise InputError(f"{self.name}: no such folder, and no such model on the Hub or in its cache") from error
        reason = " ".join(str(error).split())
        raise InputError(f"{self.name}: cannot load a model ({reason[:200]}); name a model folder") from error


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
