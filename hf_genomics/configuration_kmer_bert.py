"""Configuration of KmerBert: a BERT encoder over k-mers, by default DNABERT-6 (= GenomeNet-BERT's base set-up)."""

import difflib
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

# Names that PreTrainedConfig understands without declaring them as fields. Anything else would silently become an
# attribute, so that a misspelt `hiden_size=128` would train the full-size model.
_FRAMEWORK_ARGUMENTS = frozenset(
    "attn_implementation experts_implementation model_type name_or_path num_labels output_attentions per_layer_config "
    "torch_dtype auto_map use_cache is_decoder add_cross_attention bos_token_id eos_token_id sep_token_id "
    "cls_token_id".split()
)


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
        max_position_embeddings: longest input in tokens, [CLS] and [SEP] included.
        type_vocab_size: number of token types (2: first and second sequence of a pair).
        initializer_range: standard deviation of BERT's own initialisation.
        layer_norm_eps: epsilon of the layer norms.
        classifier_dropout: dropout before a classification head; None means ``hidden_dropout_prob``.
        tie_word_embeddings: the masked-token decoder shares the input embeddings.
        initialisation: "kmer" starts k-mer embeddings as sums over their letters and positions as sinusoids, which
            leaves the early plateau of overlapping k-mers within minutes; "bert" draws everything from a normal. Either
            way the weights are those of a plain BERT.
        sparse_prediction: compute masked-token logits on labelled positions only when labels are given.
        window_length: longest sequence a classifier was fine-tuned on, in nt; prediction cuts longer ones by it.
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
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | int | None = None
    tie_word_embeddings: bool = True
    initialisation: Literal["kmer", "bert"] = "kmer"
    sparse_prediction: bool = True
    window_length: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Derive the vocabulary size from k and refuse unknown names."""
        self._refuse_unknown(kwargs)
        self.vocab_size = self.num_embeddings
        self._check_values()
        super().__post_init__(**kwargs)

    @property
    def num_embeddings(self) -> int:
        """Rows of the token table: ``vocab_size``, or what follows from ``k`` as long as that is not set."""
        return 4 ** max(0, self.k) + 5 if self.vocab_size is None else self.vocab_size

    def _check_values(self) -> None:
        """Check now what `strict` checks again later, when it would wrap our ValueError in an error of its own."""
        self.validate_architecture()

    def _refuse_unknown(self, kwargs: dict) -> None:
        fields = [name for name in type(self).__dataclass_fields__ if not name.startswith("_")]
        for name in kwargs:
            if name not in _FRAMEWORK_ARGUMENTS and not name.startswith("_"):
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
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"):
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
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in 0..1 (1 excluded), not {getattr(self, name)}")


@strict
class HierarchicalKmerBertConfig(KmerBertConfig):
    """KmerBertConfig and how windows are joined.

    Args:
        num_windows: windows per sequence.
        aggregation: "concat" (one linear layer over all windows: the paper's), "mean" or "max" over windows.
    """

    model_type = "hierarchical_kmer_bert"

    num_windows: int = 2
    aggregation: Literal["concat", "mean", "max"] = "concat"

    def _check_values(self) -> None:
        super()._check_values()
        self.validate_windows()

    def validate_windows(self) -> None:
        """Check the number of windows.

        Raises:
            ValueError: if there is less than one.
        """
        if self.num_windows < 1:
            raise ValueError(f"num_windows must be at least 1, not {self.num_windows}")
