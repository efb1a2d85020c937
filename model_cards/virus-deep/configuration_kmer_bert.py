"""Configurations of KmerBert, a BERT encoder over k-mers; the defaults are DNABERT-6, GenomeNet-BERT's base set-up."""

import copy
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeVar

from huggingface_hub import hf_hub_download
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import EntryNotFoundError
from transformers import PreTrainedConfig

from .compat import ACT2FN, declare_to_peft
from .saved_settings import (
    KINDS,
    check_bounds,
    check_saved,
    check_types,
    check_weight_count,
    has_no_effect,
    is_acted_upon,
    is_whole,
    shown,
)
from .sequence import check_vocabulary, did_you_mean, read_vocabulary, vocabulary_k, vocabulary_size

FULL, SLIDING = "full_attention", "sliding_attention"  # transformers' words for the two kinds of layers

# Names that PreTrainedConfig accepts without declaring them as fields. It would silently turn any other name into an
# attribute, so that a misspelt `hiden_size=128` would train the full-size model.
_FRAMEWORK_ARGUMENTS = frozenset(
    "attn_implementation experts_implementation model_type name_or_path num_labels output_attentions per_layer_config "
    "torch_dtype auto_map use_cache is_decoder add_cross_attention bos_token_id eos_token_id sep_token_id "
    "cls_token_id".split()
)

# Settings that mean the same in a BertConfig and here. The config.json of a BERT from 2020 (by transformers, or by
# DNABERT's fork of it) has further settings. Most of them do not concern an encoder (output_past, eos_token_ids, split,
# rnn ...); those that do are in `_BERT_ONLY`.
BERT_SETTINGS = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act hidden_dropout_prob "
    "attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_eps "
    "pad_token_id classifier_dropout tie_word_embeddings id2label label2id num_labels problem_type".split()
)
# Setting of a BertConfig -> the only values that KmerBert supports.
_BERT_ONLY: dict[str, tuple] = {
    "position_embedding_type": (None, "absolute"),
    "pruned_heads": (None, {}, []),
    "is_decoder": (None, False),
    "add_cross_attention": (None, False),
    "quantization_config": (None, {}),
}

#: Name in version 0.1 -> name today. `global_attention_every` is not listed: `layer_types`, a list, replaces it.
RENAMED = {
    "attention_window": "sliding_window",
    "pooling": "classifier_pooling",
    "num_windows": "num_parts",
    "window_layers": "part_layers",
    "window_length": "max_sequence_length",
}
_GLOBAL_EVERY, _GLOBAL_EVERY_DEFAULT = "global_attention_every", 3  # in version 0.1, every third layer saw all tokens


def default_layer_types(num_layers: int, every: int | None = _GLOBAL_EVERY_DEFAULT) -> list[str]:
    """Return the layer types of a model in which every n-th layer, beginning with the first, sees all tokens.

    >>> default_layer_types(4)
    ['full_attention', 'sliding_attention', 'sliding_attention', 'full_attention']

    Args:
        num_layers: number of layers.
        every: the n of "every n-th layer"; with None all layers are sliding ones.

    Raises:
        ValueError: if ``every`` is less than 1.
    """
    if every is not None and every < 1:
        raise ValueError(f"{_GLOBAL_EVERY} must be at least 1, or null, not {every}; layer_types replaces it")
    return [FULL if every and layer % every == 0 else SLIDING for layer in range(num_layers)]


def current_settings(
    settings: Mapping[str, Any], other_settings: Mapping[str, Any] | None = None, *, warn: bool = False
) -> dict[str, Any]:
    """Translate the names and values of version 0.1 to the names and values of today.

    >>> current_settings({"k": 3, "pooling": "mean", "position_embedding_type": "learned"})
    {'k': 3, 'position_embedding_type': 'absolute', 'classifier_pooling': 'mean'}

    Args:
        settings: the settings of a configuration.
        other_settings: the other settings of the same configuration, under today's names.
        warn: warn about each old name or value, for settings that a user wrote; a saved file is translated silently.

    Returns:
        The settings under today's names. If a setting is given under both names, the value of today's name is used.
    """
    current, replaced = dict(settings), []
    if current.get("position_embedding_type") == "learned":
        current["position_embedding_type"] = "absolute"
        replaced.append(("position_embedding_type 'learned'", "'absolute'"))
    for old, new in RENAMED.items():
        if old in current:
            former_value = current.pop(old)
            current.setdefault(new, former_value)
            replaced.append((old, new))
    if _GLOBAL_EVERY in current:
        replaced.append((_GLOBAL_EVERY, "layer_types"))
        every = current.pop(_GLOBAL_EVERY)
        together = {**(other_settings or {}), **current}
        if every is not None and not is_whole(every):
            raise ValueError(f"{_GLOBAL_EVERY} must be a whole number, or null, not {shown(every)}")
        check_bounds(together | {_GLOBAL_EVERY: every})  # a list of 10^9 layer types would fill the memory
        has_effect = together.get("sliding_window") is not None  # without a sliding window, every layer sees all tokens
        # The configuration itself fills in the layer types of the default.
        if has_effect and every != _GLOBAL_EVERY_DEFAULT:
            current.setdefault("layer_types", default_layer_types(together.get("num_hidden_layers", 12), every))
    for old, new in replaced if warn else []:
        warnings.warn(f"{old} is called {new} now; the old name works until version 0.3", FutureWarning, stacklevel=3)
    return current


ConfigClass = TypeVar("ConfigClass", bound=type[PreTrainedConfig])


def accepts_former_names(cls: ConfigClass) -> ConfigClass:
    """Decorate a configuration so that its constructor accepts the names of version 0.1, with a FutureWarning.

    The constructor is wrapped because `strict` checks each value as soon as it is set, before ``__post_init__`` could
    translate it. Bounds are checked here too: transformers makes a dictionary of ``num_labels`` names before it calls
    any method of ours.

    Args:
        cls: the class of the configuration; its constructor is replaced.
    """
    construct: Callable[..., None] = cls.__init__

    @wraps(construct)
    def __init__(self: Any, **settings: Any) -> None:  # noqa: N807 (it replaces the constructor)
        settings = current_settings(settings, warn=True)
        check_bounds(settings)
        construct(self, **settings)

    cls.__init__ = __init__
    return cls


@accepts_former_names
@strict
class KmerBertConfig(PreTrainedConfig):
    """Sizes and choices of a KmerBert model.

    Args:
        k: k-mer size of the tokenizer that the model is trained with, in nt; outputs per nucleotide and the k-mer
            initialisation depend on it.
        stride: stride of that tokenizer, in nt; outputs per nucleotide and the k-mer initialisation depend on it.
        vocab_size: number of tokens; by default 5 special tokens + 4^k.
        hidden_size: number of features of a token; the default sizes are those of BERT-base.
        num_hidden_layers: number of encoder layers.
        num_attention_heads: number of attention heads of a layer.
        intermediate_size: number of features between the two halves of a feed-forward layer.
        hidden_act: activation of the feed-forward layers.
        hidden_dropout_prob: dropout probability of hidden states in training.
        attention_probs_dropout_prob: dropout probability of attention weights in training.
        max_position_embeddings: longest input in tokens, including [CLS] and [SEP]; the model itself is limited to it
            only with "absolute" positions.
        position_embedding_type: "absolute" (learned, as in BERT and DNABERT), "sinusoidal" (fixed, added to the token
            embeddings) or "rotary" (queries and keys are rotated by their position); sinusoidal and rotary positions
            have no weights and no longest input.
        rope_theta: base of the wavelengths of rotary positions; larger values suit longer inputs. No wavelength exceeds
            2 pi * ``rope_theta`` tokens.
        sliding_window: number of tokens to each side that a token sees in "sliding_attention" layers, as in
            transformers' ModernBERT (half of its ``local_attention``); the memory of these layers grows with tokens
            times window. None: in every layer, a token sees all tokens.
        layer_types: "full_attention" or "sliding_attention" for each layer; by default, with a ``sliding_window``, the
            layers 0, 3, 6 ... are full ones.
        type_vocab_size: number of token types (2: first and second sequence of a pair).
        initializer_range: standard deviation of BERT's own initialisation.
        layer_norm_eps: epsilon of the layer norms.
        pad_token_id: id of [PAD].
        classifier_dropout: dropout probability before a classification head; None means ``hidden_dropout_prob``.
        tie_word_embeddings: the masked-token decoder shares the input embeddings.
        initialisation: initial weights of an untrained model. "kmer": the embedding of a k-mer is a sum of one vector
            per letter, positions are sinusoids, and attention heads look at neighbouring tokens; with overlapping
            k-mers this shortens the phase at the start of training in which the loss hardly falls. "bert": all weights
            are drawn from a normal distribution. In both cases the weights have the shapes and names of a plain BERT's.
        sparse_prediction: in training, compute masked-token logits for the labelled tokens only. Outside training,
            logits are dense unless ``sparse_prediction=True`` is passed to the forward pass.
        max_sequence_length: longest sequence that a classifier was fine-tuned on, in nt; prediction cuts longer
            sequences into windows of this length.
        classifier_pooling: what the sequence classifier reads: "cls" (the first token, as in BERT), or the "mean", the
            "max" or the "attention"-weighted mean of all tokens.
        class_weights: factor of each class in the loss, (num_labels,); with several labels, the factor of the positives
            of each label.
        focal_gamma: exponent of the focal loss, which gives less weight to labels that are predicted well already; 0
            switches it off.
        positive_class: name of the class, of two, that F1 and AUPRC refer to; `evaluate` reads it, the model does not.
            A name that is not in ``id2label`` has no effect.
        decision_threshold: lowest probability of positive_class at which `predict` and `evaluate` predict it; None for
            the more probable class of two. The model does not read it.
        labels_per: whether token classification returns logits and takes labels per "token" or per "nt".
        paired: whether the classifier was fine-tuned on pairs of sequences.
        target_means: mean of each training target of a regression, (num_labels,). With ``target_scales`` the model
            learns (target - mean) / scale, while labels and logits keep the units of the targets. None: targets are
            learned as they are.
        target_scales: standard deviation of each training target, (num_labels,), or None.
        kwargs: settings that every PreTrainedConfig has (``num_labels``, ``id2label`` ...).

    Raises:
        ValueError: for values that are impossible or do not fit together.
        TypeError: for a name that is not a setting; the message names the class, and a similar setting if there is one.

    >>> KmerBertConfig().vocab_size, KmerBertConfig(k=3).vocab_size
    (4101, 69)

    Source: DNABERT (Ji et al. 2021); GenomeNet-BERT, section 2 (three set-ups).
    """

    model_type = "kmer_bert"
    attribute_map = RENAMED  # so that `config.pooling` still reads and sets `classifier_pooling`

    k: int = 6
    stride: int = 1
    vocab_size: int | None = None
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    max_position_embeddings: int = 512
    position_embedding_type: Literal["absolute", "sinusoidal", "rotary"] = "absolute"
    rope_theta: float | int = 10000.0
    sliding_window: int | None = None
    layer_types: list[str] | None = None
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | int | None = None
    tie_word_embeddings: bool = True
    initialisation: Literal["kmer", "bert"] = "kmer"
    sparse_prediction: bool = True
    max_sequence_length: int | None = None
    classifier_pooling: Literal["cls", "mean", "max", "attention"] = "cls"
    class_weights: list[float | int] | None = None
    focal_gamma: float | int = 0.0
    positive_class: str | None = None
    decision_threshold: float | int | None = None
    labels_per: Literal["token", "nt"] = "token"
    paired: bool = False
    target_means: list[float | int] | None = None
    target_scales: list[float | int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Check names and values, and fill in the vocabulary size and layer types that follow from other settings."""
        self._check_names(kwargs)
        self.vocab_size = self.num_embeddings
        self._fill_in_layer_types()
        self._check_values()
        super().__post_init__(**kwargs)
        self._check_labels()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a dictionary; see ``PreTrainedConfig.to_dict``.

        peft asks for it before it looks up which modules of this kind of model to adapt.
        """
        declare_to_peft(self.model_type)
        return super().to_dict()

    def to_json_file(self, json_file_path: str | os.PathLike, use_diff: bool = True) -> None:
        """Write config.json; see ``PreTrainedConfig.to_json_file``.

        Attributes that are not settings, such as ``config.note = "mine"``, are not written, with a warning: `from_dict`
        would refuse the file.
        """
        known = self._saved_names()
        notes = [
            name
            for name, value in vars(self).items()
            if not (name in known or is_acted_upon(name, type(self)) or has_no_effect(name, value))
        ]
        if not notes:
            super().to_json_file(json_file_path, use_diff)
            return
        warnings.warn(
            f"{json_file_path}: {', '.join(map(repr, notes))} not written, because they are not settings of a "
            f"{type(self).__name__}; keep notes in README.md",
            stacklevel=2,
        )
        kept = copy.copy(self)
        for name in notes:
            delattr(kept, name)
        kept.to_json_file(json_file_path, use_diff)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read config.json, translating that of a BERT over k-mers; see ``PreTrainedConfig.get_config_dict``.

        Raises:
            ValueError: for a BERT whose vocabulary is not DNABERT's, or with a setting that KmerBert does not support.
        """
        try:
            settings, unused = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        except RecursionError:
            raise ValueError(f"{pretrained_model_name_or_path}: config.json is nested too deeply") from None
        if not isinstance(settings, dict):
            name = pretrained_model_name_or_path
            raise ValueError(f"{name}: config.json must hold an object, not {shown(settings)}")
        if not settings or settings.get("model_type", "bert") != "bert":  # the first releases of DNABERT name no type
            return settings, unused
        settings = translate_bert(settings)
        # The sizes fit any vocabulary of as many tokens. Only its file shows whether the k-mers are in DNABERT's order.
        if vocabulary := _vocabulary_file(pretrained_model_name_or_path, kwargs):
            try:
                check_vocabulary(read_vocabulary(vocabulary), settings["k"])
            except ValueError as error:
                raise ValueError(f"{vocabulary}: {error}") from error
        return settings, unused

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build the configuration of a saved file; see ``PreTrainedConfig.from_dict``.

        Unknown names are an error, as they are in the constructor. Names that older versions of transformers wrote into
        every file are omitted if their values switch nothing on.

        Args:
            config_dict: the settings of the file, under today's names or the names of version 0.1.
            kwargs: settings that replace saved ones. They are checked in the same way, which transformers does not do.

        Raises:
            ValueError: for a name that is unknown, and for values that are impossible or do not fit together.
        """
        check_types(config_dict)  # before they are translated
        saved = current_settings(config_dict)
        known = saved.keys() & cls._saved_names()
        check_saved(saved, cls, known)
        saved = {name: saved[name] for name in known}
        kwargs = current_settings(kwargs, saved, warn=True)
        loaded = super().from_dict(saved, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded  # a pair with return_unused_kwargs=True
        # Checked again, because transformers sets `kwargs` after the constructor has checked the saved values.
        check_bounds(vars(config))
        config._fill_in_layer_types()
        config._check_values()
        config._check_labels()
        return loaded

    @property
    def num_embeddings(self) -> int:
        """Number of rows of the token embeddings: ``vocab_size``, or, before that is filled in, what follows from k."""
        return vocabulary_size(max(0, self.k)) if self.vocab_size is None else self.vocab_size

    def window_of(self, layer: int) -> int | None:
        """Return how many tokens to each side a token sees in a layer (0, 1, ...); None if it sees all tokens."""
        if self.sliding_window is None:
            return None
        types = self.layer_types or default_layer_types(self.num_hidden_layers)
        return self.sliding_window if types[layer] == SLIDING else None

    def _fill_in_layer_types(self) -> None:
        """Set the default layer types if there is a sliding window, for programs that read config.json."""
        if self.layer_types is None and self.sliding_window is not None:
            self.layer_types = default_layer_types(self.num_hidden_layers)

    @classmethod
    def _saved_names(cls) -> set[str]:
        """Return the names of the settings that a config.json of this class may hold."""
        return {field.name for field in fields(cls)} | {name for name in KINDS if cls._knows(name)}

    @classmethod
    def _knows(cls, name: str) -> bool:
        """Return whether the constructor takes a setting of this name; transformers' internal ones begin with "_"."""
        return name.startswith("_") or name in _FRAMEWORK_ARGUMENTS or name in {field.name for field in fields(cls)}

    def _check_names(self, settings: Mapping[str, Any]) -> None:
        """Check that each setting is one of ours or of transformers.

        Raises:
            TypeError: if a setting is unknown; the message names the class and the setting.
        """
        known = [field.name for field in fields(self) if not field.name.startswith("_")]
        for name in settings:
            if not self._knows(name):
                hint = did_you_mean(name, [*known, *_FRAMEWORK_ARGUMENTS])
                raise TypeError(f"{type(self).__name__} has no argument {name!r}{hint}")

    def _check_values(self) -> None:
        """Check all values. `strict` would do so later, but raises an error of its own in place of our ValueError."""
        self.validate_architecture()

    def validate_architecture(self) -> None:
        """Check that the sizes are possible and fit together.

        Raises:
            ValueError: naming the field, its value and the rule.
        """
        if self.hidden_act not in ACT2FN:
            raise ValueError(
                f"hidden_act must be an activation of transformers (gelu, relu ...), not {self.hidden_act!r}"
            )
        if not 1 <= self.k <= 12:
            raise ValueError(f"k must lie in 1..12, not {self.k}")
        self._check_sizes()
        self._check_heads()
        self._check_layer_types()
        self._check_numbers()
        check_weight_count(self)

    def _check_sizes(self) -> None:
        sizes = "stride hidden_size num_hidden_layers num_attention_heads intermediate_size vocab_size type_vocab_size"
        for name in sizes.split():
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("sliding_window", "max_sequence_length"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, or null, not {value}")
        if self.max_position_embeddings < 3:
            raise ValueError(
                "max_position_embeddings must be at least 3 ([CLS], one k-mer, [SEP]), "
                f"not {self.max_position_embeddings}"
            )
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.num_embeddings:
            raise ValueError(
                f"pad_token_id must be null or lie in 0..{self.num_embeddings - 1} (vocab_size - 1), not "
                f"{self.pad_token_id}"
            )

    def _check_heads(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be a multiple of num_attention_heads "
                f"({self.num_attention_heads})"
            )
        size = self.hidden_size // self.num_attention_heads
        if self.position_embedding_type == "rotary" and size % 2:  # features are rotated in pairs
            raise ValueError(
                "rotary positions need an even number of features per head, hidden_size / num_attention_heads, "
                f"not {size}"
            )

    def _check_layer_types(self) -> None:
        types = self.layer_types
        if types is None:
            return
        if len(types) != self.num_hidden_layers or not {*types} <= {FULL, SLIDING}:
            raise ValueError(
                f"layer_types must be {FULL!r} or {SLIDING!r} for each of {self.num_hidden_layers} layers, not {types}"
            )
        if SLIDING in types and self.sliding_window is None:
            raise ValueError(
                f"layer_types has {SLIDING!r}, but sliding_window is null; set sliding_window, or layer_types to null"
            )

    def _check_numbers(self) -> None:
        """Check the settings that need not be whole numbers."""
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise ValueError(f"{name} must lie in 0..1 (1 excluded), not {getattr(self, name)}")
        for name in ("initializer_range", "layer_norm_eps", "focal_gamma"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if not 0 <= (self.decision_threshold or 0) <= 1:
            raise ValueError(f"decision_threshold must lie in 0..1, not {self.decision_threshold}")
        if not self.rope_theta > 0:
            raise ValueError(f"rope_theta must be above 0, not {self.rope_theta}")

    def _check_labels(self) -> None:
        """Check what depends on the number of labels, once that is known."""
        self._check_class_weights()
        self._check_targets()

    def _check_class_weights(self) -> None:
        weights = self.class_weights
        if weights is None:
            return
        if self.problem_type == "regression":
            raise ValueError("class_weights are for classes, but problem_type is 'regression'; omit class_weights")
        if len(weights) != self.num_labels or not all(0 < weight < float("inf") for weight in weights):
            raise ValueError(
                f"class_weights must be one positive number for each of {self.num_labels} labels, not {weights}"
            )

    def _check_targets(self) -> None:
        if self.target_means is None and self.target_scales is None:
            return
        means, scales = self.target_means or [], self.target_scales or []
        if not len(means) == len(scales) == self.num_labels:
            raise ValueError(
                f"target_means and target_scales must both be one number for each of {self.num_labels} targets, not "
                f"{self.target_means} and {self.target_scales}"
            )
        if not all(map(isfinite, [*means, *scales])) or min(scales) <= 0:
            raise ValueError(f"target_means must be finite and target_scales positive, not {means} and {scales}")
        if self.problem_type not in (None, "regression"):
            raise ValueError(f"target_means are for regression, but problem_type is {self.problem_type!r}")


def translate_bert(settings: dict[str, Any]) -> dict[str, Any]:
    """Translate the settings of a BertConfig over k-mers into those of a KmerBertConfig.

    k follows from the vocabulary size. The stride is 1, as DNABERT's, unless the settings name another one, as those of
    a converted KmerBert do. The initialisation is "bert", so that a head that the checkpoint lacks is initialised as in
    BERT.

    Args:
        settings: the settings of the BertConfig.

    >>> translate_bert({"vocab_size": 69, "hidden_size": 32, "split": 10, "rnn": "lstm"})
    {'vocab_size': 69, 'hidden_size': 32, 'k': 3, 'initialisation': 'bert'}

    Raises:
        ValueError: if the vocabulary is not one of k-mers, or KmerBert does not support a setting.
    """
    for name, harmless in _BERT_ONLY.items():
        if settings.get(name) not in harmless:
            raise ValueError(f"KmerBert does not support {name}={shown(settings[name])} of a BERT configuration")
    kept = {name: settings[name] for name in (*BERT_SETTINGS, "stride") if name in settings}
    check_types(kept)
    check_bounds(kept)
    names = kept.get("id2label")
    # DNABERT's fork of transformers changes num_labels without id2label.
    if names and kept.get("num_labels", len(names)) != len(names):
        kept = {name: value for name, value in kept.items() if name not in ("id2label", "label2id")}
    return kept | {"k": vocabulary_k(kept.get("vocab_size", 0)), "initialisation": "bert"}


def _vocabulary_file(name_or_path: str | os.PathLike, kwargs: dict[str, Any]) -> Path | None:
    """Find the vocab.txt, or otherwise the tokenizer.json, of a saved model, in a folder or on the Hub."""
    if os.path.isfile(name_or_path):
        return None
    names = "cache_dir force_download local_files_only revision subfolder token".split()
    where = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
    for file in ("vocab.txt", "tokenizer.json"):
        if os.path.isdir(name_or_path):
            path = Path(name_or_path, where.get("subfolder", ""), file)
            if path.is_file():
                return path
        else:
            with suppress(EntryNotFoundError):
                return Path(hf_hub_download(str(name_or_path), file, **where))
    return None


@accepts_former_names
@strict
class HierarchicalKmerBertConfig(KmerBertConfig):
    """A KmerBertConfig with settings for cutting a sequence into parts and for joining the parts.

    Args:
        num_parts: number of parts of a sequence; the aggregation "concat" takes at most this many, the other
            aggregations take any number.
        aggregation: "concat" (one linear layer over all parts, as in the paper), "mean" or "max" over parts, or
            "transformer" (attention layers between the parts).
        part_layers: number of attention layers between the parts, for "transformer".
        part_length: longest part in nt; a sequence is then cut into as many parts as it needs. None: every sequence is
            cut into ``num_parts``. Fine-tuning and prediction cut sequences; the model takes the parts it is given.
    """

    model_type = "hierarchical_kmer_bert"
    keys_to_ignore_at_inference = ["part_states"]  # a Trainer would keep them for all examples

    num_parts: int = 2
    aggregation: Literal["concat", "mean", "max", "transformer"] = "concat"
    part_layers: int = 2
    part_length: int | None = None

    def _check_values(self) -> None:
        super()._check_values()
        self.validate_parts()

    def validate_parts(self) -> None:
        """Check the number, the layers and the length of parts.

        Raises:
            ValueError: naming the field, its value and the rule.
        """
        for name in ("num_parts", "part_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.part_length is not None and self.part_length < 2 * self.k:
            raise ValueError(
                f"part_length must be at least two k-mers of {self.k} nt, so that no part is too short, not "
                f"{self.part_length}"
            )


@accepts_former_names
@strict
class FusionKmerBertConfig(KmerBertConfig):
    """A KmerBertConfig with settings for tracks: numbers beside a sequence, such as its read coverage.

    The model takes raw values and standardises them itself, (value - mean) / std, by the statistics here.

    Args:
        track_names: names of the tracks with one number per sequence, (tracks,).
        track_means: mean of each track per sequence, (tracks,); None for 0.
        track_stds: standard deviation of each track per sequence, (tracks,); None for 1.
        nt_track_names: names of the tracks with one number per nucleotide, (tracks,).
        nt_track_means: mean of each track per nucleotide, (tracks,); None for 0.
        nt_track_stds: standard deviation of each track per nucleotide, (tracks,); None for 1.
        fusion_layers: number of attention layers over the fused tokens (only with tracks per nucleotide).
    """

    model_type = "fusion_kmer_bert"
    keys_to_ignore_at_inference = ["fused_states"]  # a Trainer would keep them for all examples

    track_names: list[str] | None = None
    track_means: list[float | int] | None = None
    track_stds: list[float | int] | None = None
    nt_track_names: list[str] | None = None
    nt_track_means: list[float | int] | None = None
    nt_track_stds: list[float | int] | None = None
    fusion_layers: int = 1

    def _check_values(self) -> None:
        super()._check_values()
        self.validate_tracks()

    def validate_tracks(self) -> None:
        """Check that each track has a mean and a positive standard deviation.

        Raises:
            ValueError: naming the field, its value and the rule.
        """
        if self.fusion_layers < 0:
            raise ValueError(f"fusion_layers must be 0 or more, not {self.fusion_layers}")
        for kind in ("track", "nt_track"):
            names = getattr(self, f"{kind}_names") or []
            for what in ("means", "stds"):
                values = getattr(self, f"{kind}_{what}")
                if values is not None and len(values) != len(names):
                    raise ValueError(f"{kind}_{what} must be one number for each of {names}, not {values}")
            if not all(map(isfinite, getattr(self, f"{kind}_means") or [])):
                raise ValueError(f"{kind}_means must be finite, not {getattr(self, f'{kind}_means')}")
            if not all(0 < std < float("inf") for std in getattr(self, f"{kind}_stds") or []):
                raise ValueError(f"{kind}_stds must be positive, not {getattr(self, f'{kind}_stds')}")
