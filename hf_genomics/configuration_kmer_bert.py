"""Configuration of KmerBert: a BERT encoder over k-mers, by default DNABERT-6 (= GenomeNet-BERT's base set-up)."""

import difflib
import os
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.utils import cached_file, logging

from .sequence import check_vocabulary, read_vocabulary, vocabulary_k

logger = logging.get_logger(__name__)

# Names that PreTrainedConfig understands without declaring them as fields. Anything else would silently become an
# attribute, so that a misspelt `hiden_size=128` would train the full-size model.
_FRAMEWORK_ARGUMENTS = frozenset(
    "attn_implementation experts_implementation model_type name_or_path num_labels output_attentions per_layer_config "
    "torch_dtype auto_map use_cache is_decoder add_cross_attention bos_token_id eos_token_id sep_token_id "
    "cls_token_id".split()
)

# What of a BertConfig means the same here. The rest of what 2020's transformers and DNABERT's fork of it wrote down
# (output_past, eos_token_ids, split, rnn ...) is of no concern to an encoder, but for those below.
BERT_SETTINGS = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act hidden_dropout_prob "
    "attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_eps "
    "pad_token_id classifier_dropout tie_word_embeddings id2label label2id num_labels problem_type".split()
)
_BERT_ONLY: dict[str, tuple] = {
    "position_embedding_type": (None, "absolute"),
    "pruned_heads": (None, {}, []),
    "is_decoder": (None, False),
    "add_cross_attention": (None, False),
}


@strict
class KmerBertConfig(PreTrainedConfig):
    """Sizes and choices of a KmerBert model.

    Args:
        k, stride: of the tokenizer the model is trained with, in nt; per-nucleotide outputs and the k-mer
            initialisation need them.
        vocab_size: number of tokens; by default 5 special tokens + 4^k.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: encoder sizes; defaults are BERT-base.
        hidden_act: activation of the feed-forward layers.
        hidden_dropout_prob, attention_probs_dropout_prob: dropout in training.
        max_position_embeddings: longest input in tokens, [CLS] and [SEP] included; a bound of the model itself only
            where positions are learned.
        position_embedding_type: "learned" (BERT's, and DNABERT's), "sinusoidal" (fixed, added to the tokens) or
            "rotary" (queries and keys are turned by their position); the last two have no weights and no longest input.
        rope_theta: slowest wavelength of rotary positions, divided by 2 pi, in tokens.
        attention_window: how many tokens to either side a token sees in local layers; memory then grows with tokens
            times window. None: every layer sees all tokens.
        global_attention_every: with ``attention_window``, the layers 0, n, 2n ... see all tokens; None: no layer does.
        type_vocab_size: number of token types (2: first and second sequence of a pair).
        initializer_range: standard deviation of BERT's own initialisation.
        layer_norm_eps: epsilon of the layer norms.
        classifier_dropout: dropout before a classification head; None means ``hidden_dropout_prob``.
        tie_word_embeddings: the masked-token decoder shares the input embeddings.
        initialisation: "kmer" starts k-mer embeddings as sums over their letters, positions as sinusoids and heads
            looking at the tokens next to theirs, which leaves the early plateau of overlapping k-mers within minutes;
            "bert" draws everything from a normal. Either way the weights are those of a plain BERT.
        sparse_prediction: compute masked-token logits on labelled positions only when labels are given. Switch it off
            for a plain Trainer that keeps logits (``compute_metrics``, ``predict``): it takes them for one row per
            example, and cuts the last batch's to as many.
        window_length: longest sequence a classifier was fine-tuned on, in nt; prediction cuts longer ones by it.
        pooling: what the sequence classifier reads: "cls" (BERT's), or of all tokens the "mean", "max" or
            "attention"-weighted mean.
        class_weights: (num_labels,) factors of the classes in the loss; with several labels, of each one's positives.
        focal_gamma: focal loss for classes, which weakens what is predicted well already; 0 switches it off.
        labels_per: whether token classification gives logits and takes labels per "token" or per "nt".
        paired: the classifier was fine-tuned on pairs of sequences.
        target_means, target_scales: (num_labels,) mean and standard deviation of the training targets of a regression,
            which is learnt on (target - mean) / std; labels and logits are in the targets' own units either way. None:
            learnt as they are.
        kwargs: what every PreTrainedConfig takes (``num_labels``, ``id2label`` ...); other names are refused.

    Raises:
        ValueError: for sizes that do not fit together.
        TypeError: for a name that no configuration knows.

    >>> KmerBertConfig().vocab_size, KmerBertConfig(k=3).vocab_size
    (4101, 69)

    Source: DNABERT (Ji et al. 2021); GenomeNet-BERT, section 2 (three set-ups).
    """

    model_type = "kmer_bert"

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
    position_embedding_type: Literal["learned", "sinusoidal", "rotary"] = "learned"
    rope_theta: float | int = 10000.0
    attention_window: int | None = None
    global_attention_every: int | None = 3
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | int | None = None
    tie_word_embeddings: bool = True
    initialisation: Literal["kmer", "bert"] = "kmer"
    sparse_prediction: bool = True
    window_length: int | None = None
    pooling: Literal["cls", "mean", "max", "attention"] = "cls"
    class_weights: list[float | int] | None = None
    focal_gamma: float | int = 0.0
    labels_per: Literal["token", "nt"] = "token"
    paired: bool = False
    target_means: list[float | int] | None = None
    target_scales: list[float | int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Derive the vocabulary size from k and refuse unknown names."""
        self._refuse_unknown(kwargs)
        self.vocab_size = self.num_embeddings
        self._check_values()
        super().__post_init__(**kwargs)
        self._check_labels()

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read config.json, and translate that of a BERT over k-mers; see ``PreTrainedConfig.get_config_dict``.

        Raises:
            ValueError: for a BERT that is not over k-mers, whose vocabulary is not DNABERT's, or that has what KmerBert
                has not.
        """
        settings, unused = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if not settings or settings.get("model_type", "bert") != "bert":
            return settings, unused
        settings = translate_bert(settings)
        if vocabulary := _vocabulary_file(pretrained_model_name_or_path, kwargs):
            try:
                check_vocabulary(read_vocabulary(vocabulary), settings["k"])
            except ValueError as error:
                raise ValueError(f"{vocabulary}: {error}") from error
        return settings, unused

    @property
    def num_embeddings(self) -> int:
        """Rows of the token table: ``vocab_size``, or what follows from ``k`` as long as that is not set."""
        return 4 ** max(0, self.k) + 5 if self.vocab_size is None else self.vocab_size

    def window_of(self, layer: int) -> int | None:
        """Give how far a token sees in a layer (0, 1, ...), in tokens to either side; None without limit."""
        every = self.global_attention_every
        return None if every and layer % every == 0 else self.attention_window

    def _check_values(self) -> None:
        """Check now what `strict` checks again later, when it would wrap our ValueError in an error of its own."""
        self.validate_architecture()

    def _check_labels(self) -> None:
        """Check what depends on the number of labels, once that is known."""
        self._check_class_weights()
        self._check_targets()

    def _check_class_weights(self) -> None:
        weights = self.class_weights
        if weights is None:
            return
        if self.problem_type == "regression":
            raise ValueError("class_weights are for classes, but problem_type is 'regression'; leave them away")
        if len(weights) != self.num_labels or not all(0 < weight < float("inf") for weight in weights):
            raise ValueError(
                f"class_weights must be one positive number for each of {self.num_labels} labels, not {weights}"
            )

    def _check_targets(self) -> None:
        means, stds = self.target_means, self.target_scales
        if means is None and stds is None:
            return
        if (means is None) != (stds is None) or not len(means or []) == len(stds or []) == self.num_labels:
            raise ValueError(
                f"target_means and target_scales must both be one number for each of {self.num_labels} targets, not "
                f"{means} and {stds}"
            )
        if not all(abs(mean) < float("inf") for mean in means or []) or not all(
            0 < std < float("inf") for std in stds or []
        ):
            raise ValueError(f"target_means must be finite and target_scales positive, not {means} and {stds}")
        if self.problem_type not in (None, "regression"):
            raise ValueError(f"target_means are for regression, but problem_type is {self.problem_type!r}")

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read a saved configuration; see ``PreTrainedConfig.from_dict``.

        A name that is typed may be misspelt and is refused; a file may come from a later version or from somebody who
        added a note to it, so names in it that are not known are kept as they are, with a warning. What ``kwargs`` puts
        in the place of saved values is checked as those are; transformers would only set it.
        """
        unknown = {name: value for name, value in config_dict.items() if not cls._knows(name)}
        known = {name: value for name, value in config_dict.items() if name not in unknown}
        loaded = super().from_dict(known, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        config._check_values()
        config._check_labels()
        for name, value in unknown.items():
            logger.warning_once(f"the saved configuration has {name!r}, which {cls.__name__} does not know and ignores")
            setattr(config, name, value)
        return loaded

    @classmethod
    def _knows(cls, name: str) -> bool:
        return name.startswith("_") or name in _FRAMEWORK_ARGUMENTS or name in cls.__dataclass_fields__

    def _refuse_unknown(self, kwargs: dict) -> None:
        fields = [name for name in type(self).__dataclass_fields__ if not name.startswith("_")]
        for name in kwargs:
            if not self._knows(name):
                close = difflib.get_close_matches(name, [*fields, *_FRAMEWORK_ARGUMENTS], 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise TypeError(f"KmerBertConfig has no argument {name!r}{hint}")

    def validate_architecture(self) -> None:
        """Check that the sizes fit together.

        Raises:
            ValueError: naming the field, its value and the rule.
        """
        if self.hidden_act not in ACT2FN:
            raise ValueError(
                f"hidden_act must be an activation that transformers knows (gelu, relu ...), not {self.hidden_act!r}"
            )
        if not 1 <= self.k <= 12:
            raise ValueError(f"k must lie in 1..12, not {self.k}")
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, not {self.stride}")
        for name in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "vocab_size",
            "type_vocab_size",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be a multiple of num_attention_heads "
                f"({self.num_attention_heads})"
            )
        if self.max_position_embeddings < 3:
            raise ValueError(
                "max_position_embeddings must be at least 3 ([CLS], one k-mer, [SEP]), "
                f"not {self.max_position_embeddings}"
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise ValueError(f"{name} must lie in 0..1 (1 excluded), not {getattr(self, name)}")
        for name in ("initializer_range", "layer_norm_eps"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("attention_window", "global_attention_every", "window_length"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, or null, not {value}")
        if self.position_embedding_type == "rotary" and self.hidden_size // self.num_attention_heads % 2:
            raise ValueError(
                "rotary positions need an even number of features per head, hidden_size / num_attention_heads, "
                f"not {self.hidden_size // self.num_attention_heads}"
            )
        if not self.rope_theta > 0:
            raise ValueError(f"rope_theta must be above 0, not {self.rope_theta}")
        if not 0 <= self.focal_gamma < float("inf"):
            raise ValueError(f"focal_gamma must be 0 or more, not {self.focal_gamma}")


def translate_bert(settings: dict[str, Any]) -> dict[str, Any]:
    """Turn the settings of a BertConfig over k-mers at stride 1 into those of a KmerBertConfig; vocab_size tells k.

    >>> translate_bert({"vocab_size": 69, "hidden_size": 32, "split": 10, "rnn": "lstm"})
    {'vocab_size': 69, 'hidden_size': 32, 'k': 3, 'initialisation': 'bert'}

    Raises:
        ValueError: if the vocabulary is not one of k-mers, or a setting asks for what KmerBert cannot do.
    """
    for name, harmless in _BERT_ONLY.items():
        if settings.get(name) not in harmless:
            raise ValueError(f"KmerBert cannot express {name}={settings[name]!r} of a BERT configuration")
    kept = {name: settings[name] for name in BERT_SETTINGS if name in settings}
    names = kept.get("id2label")
    if names and kept.get("num_labels", len(names)) != len(names):  # DNABERT's fork changes num_labels alone
        kept = {name: value for name, value in kept.items() if name not in ("id2label", "label2id")}
    return kept | {"k": vocabulary_k(kept.get("vocab_size", 0)), "initialisation": "bert"}


def _vocabulary_file(name_or_path: str | os.PathLike, kwargs: dict[str, Any]) -> Path | None:
    """Find the vocab.txt or, failing that, the tokenizer.json beside a config.json, in a folder or on the Hub."""
    if os.path.isfile(name_or_path):
        return None
    names = "cache_dir force_download local_files_only proxies revision subfolder token".split()
    where = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
    for file in ("vocab.txt", "tokenizer.json"):
        if found := cached_file(str(name_or_path), file, _raise_exceptions_for_missing_entries=False, **where):
            return Path(found)
    return None


@strict
class HierarchicalKmerBertConfig(KmerBertConfig):
    """KmerBertConfig and how windows are joined.

    Args:
        num_windows: windows per sequence; "concat" takes at most so many, the others any number.
        aggregation: "concat" (one linear layer over all windows: the paper's), "mean" or "max" over windows, or
            "transformer" (layers of attention between windows).
        window_layers: layers of the transformer over windows.
        part_length: longest window in nt, where sequences are cut into as many as they need; None cuts every sequence
            into ``num_windows``. The model itself takes what it is given: this is for who cuts.
    """

    model_type = "hierarchical_kmer_bert"
    keys_to_ignore_at_inference = ["window_states"]  # a Trainer would keep them for every example

    num_windows: int = 2
    aggregation: Literal["concat", "mean", "max", "transformer"] = "concat"
    window_layers: int = 2
    part_length: int | None = None

    def _check_values(self) -> None:
        super()._check_values()
        self.validate_windows()

    def validate_windows(self) -> None:
        """Check the numbers of windows and layers.

        Raises:
            ValueError: if one is less than one, or a part is shorter than a k-mer.
        """
        for name in ("num_windows", "window_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.part_length is not None and self.part_length < 2 * self.k:
            raise ValueError(
                f"part_length must be at least two k-mers of {self.k} nt, so that no part is too short, not "
                f"{self.part_length}"
            )


@strict
class FusionKmerBertConfig(KmerBertConfig):
    """KmerBertConfig and the numeric tracks beside the sequence.

    Args:
        track_names: of the numbers that belong to a whole sequence.
        nt_track_names: of the signals with a number per nucleotide.
        track_means, track_stds, nt_track_means, nt_track_stds: what the model standardises them by, (value - mean) /
            std; by default 0 and 1. They are saved with the model, so raw values go in at any time.
        fusion_layers: attention layers over the fused tokens (only with signals per nucleotide).
    """

    model_type = "fusion_kmer_bert"
    keys_to_ignore_at_inference = ["fused_states"]  # a Trainer would keep them for every example

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
        """Check that there is a mean and a positive standard deviation for each track.

        Raises:
            ValueError: naming the field and the rule.
        """
        if self.fusion_layers < 0:
            raise ValueError(f"fusion_layers must be 0 or more, not {self.fusion_layers}")
        for kind in ("track", "nt_track"):
            names = getattr(self, f"{kind}_names") or []
            for what in ("means", "stds"):
                values = getattr(self, f"{kind}_{what}")
                if values is not None and len(values) != len(names):
                    raise ValueError(f"{kind}_{what} must be one number for each of {names}, not {values}")
            if not all(0 < std < float("inf") for std in getattr(self, f"{kind}_stds") or []):
                raise ValueError(f"{kind}_stds must be positive, not {getattr(self, f'{kind}_stds')}")
