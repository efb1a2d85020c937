"""KmerBert: a BERT encoder over k-mer tokens, with heads for masked tokens, sequences and tokens.

The file reads as the forward pass does: embeddings, attention, layer, encoder, heads, losses. Weights carry
BERT's names, so DNABERT's checkpoints load as they are, and with equal weights the numbers are BertModel's.
Shapes: batch, tokens, hidden.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.import_utils import is_tracing
from transformers.utils.output_capturing import capture_outputs

from .attention_kmer_bert import Layout, attention_layout
from .configuration_kmer_bert import KmerBertConfig
from .dropout import KmerBertDropout, drop
from .initialisation import kmer_embeddings, neighbour_biases, neighbour_offsets, neighbour_weights, spared_features
from .losses import IGNORED, check_classes, check_count, in_units, label_loss, sequence_loss
from .pooling import check_nt_labels, first_tokens, pool, tokens_to_nt, unpack
from .positions import (
    AMPLITUDE,
    LEARNED_BASE,
    SINUSOIDAL_BASE,
    rotate,
    rotation,
    sinusoidal_positions,
    sinusoids,
    stretch_positions,
)

_CLS = 2  # its id in every vocabulary over k-mers


# Classes of their own, so that `_init_weights` knows which table it has before it. (It is not called for a
# module without weights of its own, such as KmerBertEmbeddings: transformers takes that as initialised where
# the code is not its own.)
class KmerBertTokenTable(nn.Embedding):
    """One vector per token."""


class KmerBertPositionTable(nn.Embedding):
    """One vector per position."""


class KmerBertEmbeddings(nn.Module):
    """Token, position and type embeddings, summed and normalised; rotary positions come later, in the attention."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.word_embeddings: nn.Embedding = KmerBertTokenTable(
            config.num_embeddings, config.hidden_size, padding_idx=config.pad_token_id
        )
        self.position_type = config.position_embedding_type
        if self.position_type == "learned":
            self.position_embeddings = KmerBertPositionTable(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = KmerBertDropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
    ) -> Tensor:
        """Embed ids (batch, tokens), or ready embeddings (batch, tokens, hidden), to (batch, tokens, hidden)."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        type_table = self.token_type_embeddings
        types = type_table.weight[0] if token_type_ids is None else type_table(token_type_ids)
        summed = words + types
        if self.position_type != "rotary":
            summed = summed + self.positions(words, position_ids)
        return self.dropout(self.LayerNorm(summed))

    def positions(self, words: Tensor, position_ids: Tensor | None) -> Tensor:
        """Give what is added for the positions of ``words`` (batch, tokens, hidden): (1 or batch, tokens, hidden)."""
        if position_ids is None:
            position_ids = torch.arange(words.shape[1], device=words.device).unsqueeze(0)
            self._check_length(words.shape[1])
        elif not is_tracing(position_ids):
            self._check_length(int(position_ids.max()) + 1)
        if self.position_type == "learned":
            return self.position_embeddings(position_ids)
        return AMPLITUDE * sinusoids(position_ids, words.shape[2], SINUSOIDAL_BASE).to(words.dtype)

    def _check_length(self, tokens: int) -> None:
        if self.position_type == "learned" and tokens > (longest := self.position_embeddings.num_embeddings):
            raise ValueError(
                f"input of {tokens} tokens, but the model has {longest} positions; cut the sequence into "
                "shorter windows, raise the tokenizer's stride, build the model with a larger "
                "max_position_embeddings, or load it with stretch_positions"
            )


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    """Plain attention, (batch, heads, tokens, size) each; returns (batch, tokens, heads, size) and the weights."""
    scores = query * scaling @ key.transpose(2, 3)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights = drop(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class KmerBertSelfAttention(nn.Module):
    """Multi-head self-attention through transformers' attention backends (eager, sdpa, flex, flash)."""

    def __init__(self, config: KmerBertConfig, window: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.head_size = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.window = window
        self.is_causal = False
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        turn: tuple[Tensor, Tensor] | None = None,
        asking: Tensor | None = None,
        asked: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; returns the shape of ``hidden``, or ``asking``, and, where the backend has them, the weights.

        Args:
            hidden: (batch, tokens, hidden), what is attended to.
            layout: who attends to whom.
            turn: of rotary positions.
            asking: (tokens asked for, hidden), what attends; by default all of ``hidden``.
            asked: bool (batch, tokens), which tokens these are.
            kwargs: the backend's own.
        """
        asking = hidden if asking is None else asking
        query, key, value = (
            project(states).unflatten(-1, (-1, self.head_size))
            for project, states in ((self.query, asking), (self.key, hidden), (self.value, hidden))
        )
        if turn is not None:
            mine = turn if asked is None else tuple(part.expand(*asked.shape, -1, -1)[asked] for part in turn)
            query, key = rotate(query, *mine), rotate(key, *turn)
        attended, weights = layout(partial(self._attend, **kwargs), query, key, value, self.window, asked)
        return attended.reshape(asking.shape).contiguous(), weights

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any) -> tuple:
        """Call the backend on (batch, heads, tokens, size); gives (batch, tokens, heads, size) and weights or None."""
        dropout = self.config.attention_probs_dropout_prob if self.training else 0.0
        name = self.config._attn_implementation
        if name == "sdpa" and dropout and query.device.type == "cpu" and not is_tracing(query):
            name = "eager"  # with dropout torch has no kernel here and does as eager does, but drops slowly
        backend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(name, eager_attention_forward)
        near = None if self.window is None else self.window + 1  # flash backends do not count the last one
        return backend(
            self, query, key, value, mask, dropout=dropout, scaling=self.scaling, sliding_window=near, **kwargs
        )


class KmerBertResidual(nn.Module):
    """Project, drop out, add the residual, normalise."""

    def __init__(self, input_size: int, config: KmerBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(input_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = KmerBertDropout(config.hidden_dropout_prob)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        """Map (batch, tokens, input_size) onto the residual (batch, tokens, hidden)."""
        return self.LayerNorm(self.dropout(self.dense(inner)) + residual)


class KmerBertAttention(nn.Module):
    """Self-attention and its residual."""

    def __init__(self, config: KmerBertConfig, window: int | None = None) -> None:
        super().__init__()
        self.self = KmerBertSelfAttention(config, window)
        self.output = KmerBertResidual(config.hidden_size, config)

    def forward(self, hidden: Tensor, layout: Layout, asked: Tensor | None = None, **kwargs: object) -> Tensor:
        """Map (batch, tokens, hidden) to the same shape, or to (tokens asked for, hidden)."""
        asking = hidden if asked is None else hidden.flatten(0, 1).index_select(0, asked.flatten().nonzero()[:, 0])
        return self.output(self.self(hidden, layout, asking=asking, asked=asked, **kwargs)[0], asking)


class KmerBertIntermediate(nn.Module):
    """The wide half of the feed-forward layer."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (batch, tokens, hidden) to (batch, tokens, intermediate)."""
        return self.activation(self.dense(hidden))


class KmerBertLayer(GradientCheckpointingLayer):
    """One encoder layer: attention, then feed-forward, each with its residual (post-norm)."""

    def __init__(self, config: KmerBertConfig, window: int | None = None) -> None:
        super().__init__()
        self.attention = KmerBertAttention(config, window)
        self.intermediate = KmerBertIntermediate(config)
        self.output = KmerBertResidual(config.intermediate_size, config)

    def forward(self, hidden: Tensor, layout: Layout, asked: Tensor | None = None, **kwargs: object) -> Tensor:
        """Map (batch, tokens, hidden) to the same shape, or to (tokens asked for, hidden)."""
        attended = self.attention(hidden, layout, asked, **kwargs)
        return self.output(self.intermediate(attended), attended)


class KmerBertEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        layers = [KmerBertLayer(config, config.window_of(index)) for index in range(config.num_hidden_layers)]
        self.layer = nn.ModuleList(layers)
        self.last_window = config.window_of(config.num_hidden_layers - 1)
        for layer in layers:  # which half of `neighbour_weights` they start with, see `_init_weights`
            vars(layer.attention.self.query)["neighbours"] = 0
            vars(layer.attention.self.key)["neighbours"] = 1

    def forward(self, hidden: Tensor, layout: Layout, asked: Tensor | None = None, **kwargs: object) -> Tensor:
        """Map (batch, tokens, hidden) to the same shape, or to (tokens asked for, hidden), in reading order.

        The last layer computes the tokens asked for, bool (batch, tokens), and no others where attention can do that.
        """
        *lower, last = self.layer
        for layer in lower:
            hidden = layer(hidden, layout, **kwargs)
        if asked is not None and pays_to_narrow(hidden) and layout.narrows(self.last_window):
            return last(hidden, layout, asked=asked, **kwargs)
        hidden = last(hidden, layout, **kwargs)
        return hidden if asked is None else hidden[asked]


def pays_to_narrow(hidden: Tensor) -> bool:
    """Tell whether a last layer of some tokens alone is worth it: on a CPU; elsewhere it was not measured."""
    return hidden.device.type == "cpu" and not is_tracing(hidden)


class KmerBertPooler(nn.Module):
    """The projection of [CLS], or of all tokens, that the sequence classifier reads.

    Source: GenomeNet-BERT, section 3 (fine-tuning), for [CLS].
    """

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.score = nn.Linear(config.hidden_size, 1) if config.pooling == "attention" else None
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def reads(self, hidden: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None) -> Tensor | None:
        """Mark the tokens that it reads, bool (batch, tokens); None for all of them, or where that is no gain."""
        if self.pooling != "cls" or not pays_to_narrow(hidden):
            return None
        return first_tokens(hidden, attention_mask, position_ids)

    def forward(
        self, hidden: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Map (batch, tokens, hidden) to (sequences, hidden): a row each, or several where rows are packed.

        (sequences, hidden), the tokens that it `reads`, is mapped to the same shape.
        """
        if hidden.ndim == 3:
            hidden, real = unpack([hidden], attention_mask, position_ids)
            scores = None if self.score is None else self.score(hidden).squeeze(-1)
            hidden = pool(hidden, real, self.pooling, scores)
        return self.dense(hidden).tanh()


class KmerBertPreTrainedModel(PreTrainedModel):
    """What all KmerBert models share: configuration, initialisation, what the framework may do with them."""

    config: KmerBertConfig
    config_class = KmerBertConfig
    base_model_prefix = "bert"
    supports_gradient_checkpointing = True
    _no_split_modules = ["KmerBertEmbeddings", "KmerBertLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": KmerBertLayer, "attentions": KmerBertSelfAttention}

    # What a saved folder tells the Auto classes to load from the code beside the weights, where this package is not
    # installed. Transformers would write the entry of the class that is saved alone.
    auto_map = {
        "AutoConfig": "configuration_kmer_bert.KmerBertConfig",
        "AutoModel": "modeling_kmer_bert.KmerBertModel",
        "AutoModelForPreTraining": "modeling_kmer_bert.KmerBertForMaskedLM",
        "AutoModelForMaskedLM": "modeling_kmer_bert.KmerBertForMaskedLM",
        "AutoModelForSequenceClassification": "modeling_kmer_bert.KmerBertForSequenceClassification",
        "AutoModelForTokenClassification": "modeling_kmer_bert.KmerBertForTokenClassification",
    }

    # BERT's parts that no model here reads: what today's and old BERT checkpoints have besides.
    _keys_to_ignore_on_load_unexpected = [r"(^|\.)embeddings\.position_ids$", r"^cls\.seq_relationship\."]

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        output_loading_info: bool = False,
        stretch_positions: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a saved model or a BERT over k-mers (DNABERT); see ``PreTrainedModel.from_pretrained``.

        Weights of a head that the checkpoint does not have are drawn, and transformers says so; the encoder's are not.

        Args:
            stretch_positions: interpolate the learned positions to so many, for input of so many tokens.

        Raises:
            ValueError: if weights of the encoder are missing (with ``output_loading_info`` the caller is to judge), or
                there are no learned positions to stretch.
        """
        model, info = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
        )
        if pretrained_model_name_or_path is not None and not output_loading_info:
            refuse_missing(model, info["missing_keys"], str(pretrained_model_name_or_path))
        if stretch_positions is not None:
            model.resize_position_embeddings(stretch_positions)
        return (model, info) if output_loading_info else model

    def get_position_embeddings(self) -> nn.Embedding:
        """Return the table of learned positions.

        Raises:
            ValueError: if positions are not learned.
        """
        if self.config.position_embedding_type != "learned":
            raise ValueError(
                f"{self.config.position_embedding_type} positions have no table; they reach any length as they are"
            )
        return self.base_model.embeddings.position_embeddings

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Stretch the learned positions to another number of them by interpolation; see `stretch_positions`.

        Raises:
            ValueError: if positions are not learned, or so few hold no sequence.
        """
        old = self.get_position_embeddings()
        if new_num_position_embeddings < 3:
            raise ValueError(
                f"positions can be stretched to 3 ([CLS], one k-mer, [SEP]) or more, not {new_num_position_embeddings}"
            )
        new = KmerBertPositionTable(new_num_position_embeddings, old.embedding_dim, device="meta")
        new.weight = nn.Parameter(stretch_positions(old.weight.data, new_num_position_embeddings))
        self.base_model.embeddings.position_embeddings = new
        self.config.max_position_embeddings = new_num_position_embeddings

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save weights, configuration and the code to load them; see ``PreTrainedModel.save_pretrained``."""
        self.config.auto_map = dict(self.auto_map)
        # Or the names of an old checkpoint that were converted on loading (LayerNorm.gamma) would be written again.
        kwargs.setdefault("save_original_format", False)
        super().save_pretrained(save_directory, **kwargs)
        set_usual_mode(save_directory)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, KmerBertPredictions):
            init.zeros_(module.bias)
        if self.config.initialisation == "kmer":
            self._init_for_kmers(module)

    def _init_for_kmers(self, module: Any) -> None:
        if isinstance(module, KmerBertTokenTable):
            self._init_as_kmers(module.weight)
        elif isinstance(module, KmerBertPositionTable):
            init.copy_(module.weight, sinusoidal_positions(*module.weight.shape))
        elif module is self.base_model.embeddings.token_type_embeddings:
            spared = torch.arange(module.weight.shape[1]) < spared_features(self.config)
            init.copy_(module.weight, module.weight.masked_fill(spared.to(module.weight.device), 0.0))
        elif hasattr(module, "neighbours"):
            self._init_for_neighbours(module, module.neighbours)

    def _init_for_neighbours(self, projection: nn.Linear, half: int) -> None:
        config = self.config
        offsets = neighbour_offsets(config.num_attention_heads, config.k, config.stride)
        if config.position_embedding_type == "rotary":
            size = config.hidden_size // config.num_attention_heads
            init.copy_(projection.bias, neighbour_biases(size, offsets, config.rope_theta)[half])
        else:
            base = LEARNED_BASE if config.position_embedding_type == "learned" else SINUSOIDAL_BASE
            start = neighbour_weights(config.hidden_size, offsets, base)[half]
            init.copy_(projection.weight, projection.weight + start.to(projection.weight))

    def _init_as_kmers(self, words: Tensor) -> None:
        special = 5
        ours = self.config.pad_token_id == 0 and len(words) >= special + 4**self.config.k
        if ours:  # a foreign vocabulary has no letters to sum over, or has them at other ids
            start = words.clone()
            spared = spared_features(self.config)
            start[special : special + 4**self.config.k] = kmer_embeddings(self.config.k, words.shape[1], spared=spared)
            # [CLS] is read for the whole sequence: without what tells its place it looks everywhere.
            if spared:
                start[_CLS, :spared] = 0.0
                start[_CLS] -= sinusoidal_positions(1, words.shape[1])[0]
            init.copy_(words, start)


def set_usual_mode(folder: str | os.PathLike) -> None:
    """Let those read the weights who may read config.json beside them; safetensors 0.8 keeps files for their owner."""
    for weights in Path(folder).glob("model*.safetensors"):
        with contextlib.suppress(OSError):  # not saved by this process, or a disk without modes
            shutil.copymode(Path(folder) / "config.json", weights)


def refuse_missing(model: PreTrainedModel, missing: Iterable[str], source: str) -> None:
    """Check that no weight of the encoder is missing; the pooler belongs to the heads.

    Args:
        model: as loaded.
        missing: names of the weights that the checkpoint does not have.
        source: the checkpoint, to be named.

    Raises:
        ValueError: if one is.
    """
    encoder = model.base_model
    prefix = "" if encoder is model else f"{model.base_model_prefix}."
    ours = {prefix + name for name in encoder.state_dict() if not name.startswith("pooler.")}
    if lost := sorted(ours.intersection(missing)):
        raise ValueError(
            f"{source}: {len(lost)} of {len(ours)} weights of the encoder are missing ({lost[0]} ...); "
            "the checkpoint is damaged or of another architecture"
        )


class KmerBertModel(KmerBertPreTrainedModel):
    """The bare encoder: ids (batch, tokens) to hidden states (batch, tokens, hidden).

    >>> tiny = KmerBertConfig(k=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    >>> model = KmerBertModel(tiny)
    >>> model(torch.tensor([[2, 16, 50, 3]])).last_hidden_state.shape
    torch.Size([1, 4, 8])

    Source: DNABERT (Ji et al. 2021); GenomeNet-BERT, section 2.
    """

    def __init__(self, config: KmerBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = KmerBertEmbeddings(config)
        self.encoder = KmerBertEncoder(config)
        self.pooler = KmerBertPooler(config) if add_pooling_layer else None
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embeddings."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embeddings."""
        self.embeddings.word_embeddings = value

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        asked: Tensor | None = None,
        only_pooled: bool = False,
        **kwargs: object,
    ) -> BaseModelOutputWithPooling:
        """Encode.

        Args:
            input_ids: (batch, tokens); or ``inputs_embeds`` (batch, tokens, hidden) instead.
            attention_mask: (batch, tokens), 0 on padding; None attends to everything.
            token_type_ids: (batch, tokens), 0 for the first sequence and 1 for the second of a pair.
            position_ids: (batch, tokens); by default 0, 1, 2, ... Where they start again within a row, the row holds
                several packed windows, which do not see each other.
            inputs_embeds: (batch, tokens, hidden).
            asked: bool (batch, tokens), the tokens whose last hidden states are wanted, by a head that reads no others:
                ``last_hidden_state`` is (tokens asked for, hidden), in reading order. For a model without a pooler.
            only_pooled: ``pooler_output`` alone is wanted; where it reads first tokens, ``last_hidden_state`` may be
                these.
            kwargs: ``output_hidden_states``, ``output_attentions``, ``return_dict`` and the attention backend's own.

        Raises:
            ValueError: if not exactly one of ids and embeddings is given, or the input is longer than the positions.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        embedded = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        layout = attention_layout(
            self.config,
            embedded,
            attention_mask,
            position_ids,
            dropout=self.config.attention_probs_dropout_prob if self.training else 0.0,
            need_weights=bool(kwargs.get("output_attentions", self.config.output_attentions)),
        )
        if only_pooled and self.pooler is not None:
            asked = self.pooler.reads(embedded, attention_mask, position_ids)
        hidden = self.encoder(embedded, layout, asked, turn=self.turn(embedded, position_ids), **kwargs)
        pooled = None if self.pooler is None else self.pooler(hidden, attention_mask, position_ids)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)

    def turn(self, embedded: Tensor, position_ids: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Give what rotary positions turn queries and keys by; None for other positions."""
        if self.config.position_embedding_type != "rotary":
            return None
        if position_ids is None:
            position_ids = torch.arange(embedded.shape[1], device=embedded.device).unsqueeze(0)
        size = self.config.hidden_size // self.config.num_attention_heads
        return rotation(position_ids, size, self.config.rope_theta)


def records(config: KmerBertConfig, kwargs: dict[str, Any]) -> bool:
    """Tell whether hidden states or attentions are asked for; they are those of all tokens."""
    names = ("output_hidden_states", "output_attentions")
    return any(kwargs.get(name, getattr(config, name)) for name in names)


class KmerBertTransform(nn.Module):
    """Dense, activation and norm before the masked-token decoder."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., hidden) to the same shape."""
        return self.LayerNorm(self.activation(self.dense(hidden)))


class KmerBertPredictions(nn.Module):
    """Transform, then the decoder that shares the token embeddings."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.transform = KmerBertTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.num_embeddings)
        self.bias = nn.Parameter(torch.zeros(config.num_embeddings))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., hidden) to logits (..., vocabulary)."""
        return self.decoder(self.transform(hidden))


class KmerBertMaskedLMHead(nn.Module):
    """Holds the predictions under BERT's name, ``cls.predictions``."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.predictions = KmerBertPredictions(config)


class KmerBertForMaskedLM(KmerBertPreTrainedModel):
    """Encoder with the masked-token head used in pretraining."""

    _keys_to_ignore_on_load_unexpected = [
        *KmerBertPreTrainedModel._keys_to_ignore_on_load_unexpected,
        r"^bert\.pooler\.",
    ]
    _tied_weights_keys = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__(config)
        self.bert = KmerBertModel(config, add_pooling_layer=False)
        self.cls = KmerBertMaskedLMHead(config)
        # A tied decoder owns no weights: drawing some for it would overwrite the embeddings it shares. (The type is
        # ignored because torch declares every attribute of a module that it does not know to be a tensor or a module.)
        self.cls.predictions.decoder._is_hf_initialized = config.tie_word_embeddings  # type: ignore[assignment]
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return the decoder."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the decoder."""
        self.cls.predictions.decoder = new_embeddings
        self.cls.predictions.bias = new_embeddings.bias

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: object,
    ) -> MaskedLMOutput:
        """Predict masked tokens.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds: as in KmerBertModel.
            labels: (batch, tokens), the true id on masked tokens and -100 elsewhere.
            num_items_in_batch: number of labelled tokens of the whole optimizer step; the Trainer passes it, so that
                the loss is the same however the step is cut into micro-batches.
            kwargs: as in KmerBertModel.

        Returns:
            loss in nats per masked token, 0 where there is none; logits (batch, tokens, vocabulary), or, when labels
            are given and ``config.sparse_prediction`` is on, (masked tokens, vocabulary) in reading order.
        """
        masked = labels != IGNORED if labels is not None and self.config.sparse_prediction else None
        recorded = records(self.config, kwargs)
        asked = None if recorded else masked
        outputs = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, asked=asked, **kwargs
        )
        hidden, loss = outputs.last_hidden_state, None
        if labels is not None and masked is not None:
            labels, hidden = labels[masked], hidden[masked] if recorded else hidden
        logits = self.cls.predictions(hidden)
        if labels is not None:
            loss = label_loss(logits, labels, num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class KmerBertForSequenceClassification(KmerBertPreTrainedModel):
    """Encoder with a classifier on the pooled tokens: one label, several labels or regression per sequence.

    ``config.pooling`` chooses what is pooled; the second sequence of a pair is told by ``token_type_ids``.

    The pooler is as new as the classifier where the checkpoint is a pretrained one, so LoRA needs
    ``modules_to_save=["pooler", "classifier"]``: by itself peft keeps the classifier alone, and a pooler that is drawn
    again gives other results. With pooling "attention" leave peft's ``task_type`` away: it would take the
    pooler's score for a second classifier, and the adapter would not load.
    """

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = KmerBertModel(config)
        self.dropout = KmerBertDropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: object,
    ) -> SequenceClassifierOutput:
        """Classify sequences; arguments as in KmerBertForMaskedLM, except for the labels.

        Args:
            labels: (batch,) class numbers, -100 where there is none; (batch, labels) of 0/1 for several labels, NaN or
                -100 where not measured; (batch,) or (batch, targets) values for regression, NaN where there is none.
                ``config.problem_type`` decides, or the labels' type where it is not set.

        Returns:
            loss (of a regression: squared standardised error where ``config.target_scales`` are set); logits (batch,
            num_labels), or (sequences, num_labels) where rows are packed, of a regression in the targets' own units.

        Raises:
            ValueError: for labels that do not fit the model.
        """
        only_pooled = not records(self.config, kwargs)
        outputs = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, only_pooled=only_pooled, **kwargs
        )
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None if labels is None else sequence_loss(logits, labels, self.config, num_items_in_batch)
        logits = in_units(logits, self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class KmerBertForTokenClassification(KmerBertPreTrainedModel):
    """Encoder with a classifier on every token, or, by ``config.labels_per``, on every nucleotide.

    transformers' token-classification pipeline pairs logits with tokens: it is for models per token. Per nucleotide,
    ``hf-genomics predict`` writes runs of classes.
    """

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = KmerBertModel(config, add_pooling_layer=False)
        self.dropout = KmerBertDropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        special_tokens_mask: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: object,
    ) -> TokenClassifierOutput:
        """Classify tokens or nucleotides.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds: as in KmerBertModel.
            labels: (batch, tokens) class numbers, -100 where there is none; per nucleotide (batch, nt), or
                (sequences, nt) where rows are packed.
            special_tokens_mask: (batch, tokens), 1 on [CLS] and [SEP]; needed per nucleotide with ``inputs_embeds`` or
                a vocabulary that is not KmerTokenizer's, otherwise read off the ids.
            num_items_in_batch, kwargs: as in KmerBertForMaskedLM.

        Returns:
            loss; logits (batch, tokens, num_labels). Per nucleotide (sequences, nt, num_labels): the mean of the k-mers
            that cover a nucleotide, the last k-mer's in the tail that none covers; nt are as many as ``labels`` has, or
            without labels enough for the longest sequence of so many tokens.

        Raises:
            ValueError: for labels that do not fit the model or the tokens.
        """
        outputs = self.bert(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **kwargs)
        logits, loss = self.classifier(self.dropout(outputs.last_hidden_state)), None
        if labels is not None:
            check_classes(labels, self.num_labels)
        if self.config.labels_per == "nt":
            kmers = kmer_tokens(self.config, input_ids, special_tokens_mask)
            logits, kmers, real = unpack([logits, kmers], attention_mask, position_ids)
            k, stride = self.config.k, self.config.stride
            if labels is not None:
                check_nt_labels(labels != IGNORED, kmers & real, k, stride)
            logits = tokens_to_nt(logits, kmers & real, k, stride, None if labels is None else labels.shape[1])
        if labels is not None:
            check_count(labels, logits.shape[:-1])
            weights, gamma = self.config.class_weights, self.config.focal_gamma
            loss = label_loss(logits, labels, num_items_in_batch, weights, gamma)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


def kmer_tokens(config: KmerBertConfig, input_ids: Tensor | None, special_tokens_mask: Tensor | None) -> Tensor:
    """Tell k-mers, [UNK] and [MASK] among them, from [PAD], [CLS] and [SEP]; bool (batch, tokens).

    Raises:
        ValueError: if there are neither ids nor a mask to tell them by.
    """
    if special_tokens_mask is not None:
        return ~special_tokens_mask.bool()
    if input_ids is None:
        raise ValueError("without input_ids, special_tokens_mask must say which tokens are no k-mers")
    cls, sep = 2, 3  # KmerTokenizer's, and DNABERT's
    return (input_ids != config.pad_token_id) & (input_ids != cls) & (input_ids != sep)


def classifier_dropout(config: KmerBertConfig) -> float:
    """Give the dropout before a classifier: its own, or else that of the hidden states."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


KmerBertConfig.register_for_auto_class()
KmerBertModel.register_for_auto_class("AutoModel")
KmerBertForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
KmerBertForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
KmerBertForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
