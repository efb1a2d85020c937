"""Models as they lie on disk: loaded with clear errors, and what they know of their examples."""

from __future__ import annotations

import contextlib
import pickle
import struct
from collections.abc import Iterator
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

from ..errors import InputError
from ..labelled.task import Task
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


def task_of(config: Any, source: str = "the model") -> Task:
    """Return the task that a fine-tuned model was trained for.

    Args:
        config: the model's configuration.
        source: name of the model, for error messages about examples that do not fit.
    """
    names = [config.id2label[number] for number in range(config.num_labels)]
    return Task(
        problem_type=config.problem_type or "single_label_classification",
        names=None if config.problem_type == "regression" and names == [VALUE] else names,
        level="nt" if config.labels_per == "nt" else "sequence",
        paired=config.paired,
        track_names=getattr(config, "track_names", None),
        nt_track_names=getattr(config, "nt_track_names", None),
        source=source,
    )


# All that a file which is no checkpoint, or one cut short, makes torch.load raise; the first is a refused pickle too.
_DAMAGED = (pickle.UnpicklingError, EOFError, struct.error, LookupError)


@contextlib.contextmanager
def readable(source: str) -> Iterator[None]:
    """Turn what goes wrong while a model is loaded, from a damaged or foreign folder, into one line.

    Raises:
        InputError: naming the source and, as far as the libraries tell, what is wrong with it.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    path = Path(source)
    if path.exists() and not path.is_dir():
        raise InputError(f"{source} is a file; name the model's folder")
    if path.is_dir() and not (path / "config.json").is_file():
        raise InputError(f"{source}: no config.json in this folder; name a model folder")
    try:
        yield
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(
            f"{source}: its weights are a damaged file or a pickle with more than plain weights, which could run code; "
            "save the weights alone, as model.safetensors or by torch.save(model.state_dict())"
        ) from error
    except SafetensorError as error:
        raise InputError(f"{source}: the weights are damaged ({error}); copy or save them again") from error
    except (AttributeError, TypeError, AssertionError) as error:  # what libraries meet when they do not check
        raise InputError(f"{source}: a file there is not what a saved model has in its place ({error})") from error
    except (OSError, ValueError, RuntimeError, StrictDataclassError) as error:
        if isinstance(error, OSError) and not path.exists():
            raise InputError(f"{source}: no such folder, and no such model on the Hub or in its cache") from error
        if "ignore_mismatched_sizes" in str(error):
            raise InputError(
                f"{source}: the weights have other sizes than config.json says; mend config.json"
            ) from error
        raise InputError(f"{source}: {' '.join(str(error).split()).removeprefix(f'{source}: ')}") from error


@contextlib.contextmanager
def no_load_report() -> Iterator[None]:
    """Keep transformers' table of all weights that are new or left over back: who loads says in a line what matters."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
