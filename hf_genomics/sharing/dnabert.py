"""Convert DNABERT folders to KmerBert folders and back: the verb `convert`.

DNABERT is a BERT over k-mers, and the weights of KmerBert have the names of BERT's weights. What remains is to check
that a folder is what it claims to be, and to reject settings that the other model cannot express.
"""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import transformers
from transformers import BertConfig, PreTrainedConfig, PreTrainedModel

from .. import modeling_kmer_bert
from ..configuration_kmer_bert import BERT_SETTINGS, KmerBertConfig
from ..errors import InputError
from ..io.writing import check_output, replacing
from ..loading.adapters import base_of
from ..loading.model_folder import readable
from ..loading.models import check_finite, load_merged, load_tokenizer, no_load_report
from ..losses import in_target_units
from ..sequence import SPECIAL_TOKENS, kmer_vocabulary
from ..tokenization_kmer import KmerTokenizer

logger = logging.getLogger(__name__)

#: Format of a converted folder.
Format = Literal["kmer_bert", "bert"]

#: Class of BERT -> class of this package; the next-sentence head of BertForPreTraining is dropped.
FROM_BERT = {
    "BertForMaskedLM": "KmerBertForMaskedLM",
    "BertForPreTraining": "KmerBertForMaskedLM",
    "BertForSequenceClassification": "KmerBertForSequenceClassification",
    "BertForTokenClassification": "KmerBertForTokenClassification",
    "BertModel": "KmerBertModel",
}
TO_BERT = {ours: theirs for theirs, ours in FROM_BERT.items() if theirs != "BertForPreTraining"}

# Settings that do not change the outputs of a loaded model; a BERT does not need them.
_IRRELEVANT = set(
    "k stride initialisation sparse_prediction max_sequence_length class_weights focal_gamma paired "
    "target_means target_scales".split()  # these two are multiplied into the weights of the classifier
)


def convert(source: str, output_dir: str, to: Format = "kmer_bert") -> dict[str, Any]:
    """Convert a DNABERT folder to a KmerBert folder, or back to one that stock BertForMaskedLM and BertTokenizer load.

    The class follows the source: pretrained models and fine-tuned sequence and token classifiers keep their heads. An
    adapter of peft (LoRA) and its base model are merged into one model.

    Args:
        source: folder of a BERT over k-mers (config.json, weights and vocab.txt or tokenizer.json, which is checked),
            or its name on the Hub; with ``to: bert``, folder or name of a KmerBert; or folder of an adapter.
        output_dir: folder to write; it must not exist, or be empty.
        to: format of the new folder, "kmer_bert" or "bert".

    Returns:
        The ``class`` that was written, ``k``, the number of ``parameters``, and ``output_dir``.

    Raises:
        InputError: if the source is not such a model, lacks weights of the encoder or has NaN among them, holds a
            pickle with more than weights, or has a setting that the other model cannot express; nothing is written
            then.

    Source: DNABERT (Ji et al. 2021).
    """
    if to not in get_args(Format):
        raise InputError(f"to must be 'kmer_bert' or 'bert', not {to!r}")
    target = Path(output_dir)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{target}: exists already; name a new folder")
    check_output(target, folder=True)
    if base_of(source) is not None:
        model, tokenizer = load_merged(source)
        return _write(model, tokenizer if to == "kmer_bert" else None, target)
    # Load and check everything before the new folder is begun.
    with readable(source):
        architecture = _architecture(source)
        names = FROM_BERT if to == "kmer_bert" else {ours: ours for ours in TO_BERT}
        if architecture not in names:
            raise InputError(f"{source}: {_cannot_convert(architecture, to)}")
        model = _load(source, names[architecture])
    if to == "bert":
        if (Path(source) / "tokenizer_config.json").is_file():
            load_tokenizer(source)  # checks that it belongs to the model
        _check_expressible(model.config, f"{source}: ")
    return _write(model, _tokenizer_of(model.config) if to == "kmer_bert" else None, target)


def _tokenizer_of(config: KmerBertConfig) -> KmerTokenizer:
    """Build the tokenizer of a model."""
    return KmerTokenizer(config.k, config.stride, allow_gaps=config.stride > config.k)


def _write(model: PreTrainedModel, tokenizer: KmerTokenizer | None, target: Path) -> dict[str, Any]:
    """Write a KmerBert with its tokenizer, or, without one, as a BERT; return what `convert` returns."""
    with replacing(target) as folder:
        if tokenizer is None:
            to_bert(model, folder)
        else:
            model.save_pretrained(folder)
            tokenizer.model_max_length = model.config.max_position_embeddings
            tokenizer.save_pretrained(folder)
    kind = TO_BERT[type(model).__name__] if tokenizer is None else type(model).__name__
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"class": kind, "k": model.config.k, "parameters": parameters, "output_dir": str(target)}


def to_bert(model: PreTrainedModel, folder: str | Path) -> None:
    """Save a KmerBert as a BERT that stock BertForMaskedLM (or the class that fits) and BertTokenizer load.

    The saved model reads what DNABERT reads: k-mers separated by blanks, at the stride of the model. A stride above 1
    is kept as ``stride`` in both configurations: stock BERT ignores it, and the way back needs it.

    Args:
        model: a KmerBert whose class and settings exist in BERT as well.
        folder: folder to write, created if it is missing: config.json, model.safetensors, vocab.txt (DNABERT's, byte by
            byte) and tokenizer_config.json with ``do_lower_case`` off, without which every k-mer would be [UNK].

    Raises:
        InputError: if BERT cannot express its class or a setting, which the message names; nothing is written then.
    """
    kind, config = TO_BERT.get(type(model).__name__), model.config
    if kind is None:
        raise InputError(f"stock BERT has no counterpart of {type(model).__name__}, only of {', '.join(TO_BERT)}")
    _check_expressible(config)
    settings = {name: getattr(config, name) for name in BERT_SETTINGS if name != "num_labels"}  # follows from id2label
    settings |= _stride(config)
    extra = {"add_pooling_layer": model.pooler is not None} if kind == "BertModel" else {}
    bert, info = getattr(transformers, kind).from_pretrained(
        None, config=BertConfig(**settings), state_dict=_weights_in_units(model), output_loading_info=True, **extra
    )
    different = sorted([*info["missing_keys"], *info["unexpected_keys"]])
    if different:
        raise InputError(f"stock {kind} has other weights than this {type(model).__name__}: {', '.join(different)}")
    bert.save_pretrained(folder)
    modeling_kmer_bert.set_usual_mode(folder)
    _write_bert_tokenizer(Path(folder), config)


def _weights_in_units(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the weights of a model; the scale of regression targets is multiplied into the last layer."""
    weights, config = dict(model.state_dict()), model.config
    if "classifier.weight" in weights:
        bias = weights["classifier.bias"]
        weights["classifier.bias"] = in_target_units(bias, config).to(bias)
    if "classifier.weight" in weights and config.target_scales is not None:
        weight = weights["classifier.weight"]
        weights["classifier.weight"] = weight * weight.new_tensor(config.target_scales).unsqueeze(1)
    return weights


def _stride(config: KmerBertConfig) -> dict[str, int]:
    """Return the setting of a stride that is not DNABERT's."""
    return {"stride": config.stride} if config.stride != 1 else {}


def _write_bert_tokenizer(folder: Path, config: KmerBertConfig) -> None:
    """Write the files of a BertTokenizer over k-mers."""
    vocabulary = "\n".join(kmer_vocabulary(config.k)) + ("\n" if config.k == 6 else "")  # as DNABERT's files end
    (folder / "vocab.txt").write_bytes(vocabulary.encode())
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": False,
        "model_max_length": config.max_position_embeddings,
        **_stride(config),
        **{f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def _architecture(source: str) -> str:
    """Read the class of a saved model; early DNABERT configurations lack the class or the model type."""
    config, _ = PreTrainedConfig.get_config_dict(source)
    named = (config.get("architectures") or ["BertForMaskedLM"])[0]
    kind = config.get("model_type", "bert")
    return named if kind == ("kmer_bert" if named.startswith("KmerBert") else "bert") else f"{kind} model"


def _cannot_convert(architecture: str, to: str) -> str:
    """Explain why a class cannot be converted."""
    if to == "bert":
        return f"stock BERT has no counterpart of a {architecture}, only of {', '.join(TO_BERT)}"
    if architecture.startswith("KmerBert"):
        return f"is a {architecture} already; add --to bert to convert it to a BERT"
    if "Long" in architecture:
        return f"is a {architecture}, whose head has no counterpart; convert the pretrained model instead"
    return f"is a {architecture}; only {', '.join(FROM_BERT)} over k-mers can be converted"


def _load(source: str, kind: str) -> PreTrainedModel:
    """Load a model, and log which weights of its head are missing in the checkpoint."""
    with no_load_report():
        model, info = getattr(modeling_kmer_bert, kind).from_pretrained(source, output_loading_info=True)
    modeling_kmer_bert.check_encoder_complete(model, info["missing_keys"], source)
    check_finite(model.state_dict().items(), source)
    if missing := sorted(info["missing_keys"]):
        logger.warning("%s: has no %s; these weights are random: train before use", source, ", ".join(missing))
    if unexpected := sorted(info["unexpected_keys"]):
        logger.warning("%s: %s omitted, which %s does not have", source, ", ".join(unexpected), kind)
    return model


def _check_expressible(config: KmerBertConfig, where: str = "") -> None:
    """Check that a BertConfig has all settings that are not at their defaults; messages begin with ``where``."""
    if config.vocab_size != len(kmer_vocabulary(config.k)):
        raise InputError(
            f"{where}vocab_size is {config.vocab_size}, but {len(kmer_vocabulary(config.k))} for {config.k}-mers: "
            "DNABERT's vocabulary has no added tokens"
        )
    plain = KmerBertConfig(k=config.k)
    shared = {field.name for field in fields(PreTrainedConfig)} | set(BERT_SETTINGS) | _IRRELEVANT
    for name in (field.name for field in fields(config) if field.name not in shared):
        value, default = getattr(config, name), getattr(plain, name, None)
        if value != default:
            raise InputError(
                f"{where}stock BERT has no {name}: {value!r}; only a model with {default!r} can be converted"
            )
