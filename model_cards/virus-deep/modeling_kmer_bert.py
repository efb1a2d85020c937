"""KmerBert: a BERT encoder over k-mer tokens, with heads for masked tokens, sequences, tokens and nucleotides.

The file reads as the forward pass does: embeddings, attention, layer, encoder, heads. Weights carry BERT's names, so
DNABERT's checkpoints load unchanged, and with equal weights the model has the same outputs as BertModel. The usual
shape is (batch, tokens, hidden).
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils import ModelOutput, logging

from .attention_kmer_bert import Layout, attention_layout
from .compat import (
    ACT2FN,
    ALL_ATTENTION_FUNCTIONS,
    GradientCheckpointingLayer,
    attention_name,
    can_return_tuple,
    capture_outputs,
    init,
    is_tracing,
    mark_as_initialised,
    with_eager_attention,
)
from .configuration_kmer_bert import KmerBertConfig
from .dropout import KmerBertDropout, drop
from .initialisation import initialise, initialise_for_kmers, loading
from .losses import check_classes, check_count, in_target_units, label_loss, sequence_loss
from .pooling import check_nt_labels, first_tokens, pool, tokens_to_nt, unpack
from .positions import AMPLITUDE, SINUSOIDAL_BASE, apply_rotary, rotation, sinusoids, stretch_positions
from .saved_files import check_shards
from .saved_settings import count_weights
from .sequence import CLS_ID, IGNORE_INDEX, SEP_ID, vocabulary_size

logger = logging.get_logger(__name__)


class KmerBertEmbeddings(nn.Module):
    """The sum of token, position and type embeddings, normalised; rotary positions come later, in the attention."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.num_embeddings, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_type = config.position_embedding_type
        if self.position_type == "absolute":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
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
        """Map ids (batch, tokens), or token embeddings (batch, tokens, hidden), to the input of the first layer.

        Args:
            input_ids: (batch, tokens), or None with ``inputs_embeds``.
            token_type_ids: (batch, tokens); None for type 0.
            position_ids: (batch or 1, tokens); None for 0, 1, 2, ...
            inputs_embeds: (batch, tokens, hidden), embeddings of the tokens in place of their ids.

        Returns:
            (batch, tokens, hidden).
        """
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        type_table = self.token_type_embeddings
        types = type_table.weight[0] if token_type_ids is None else type_table(token_type_ids)
        summed = words + types
        if self.position_type != "rotary":
            summed = summed + self.positions(words, position_ids)
        return self.dropout(self.LayerNorm(summed))

    def positions(self, words: Tensor, position_ids: Tensor | None) -> Tensor:
        """Compute the embeddings of positions.

        Args:
            words: (batch, tokens, hidden), the embeddings to which the result is added.
            position_ids: (batch or 1, tokens); None for 0, 1, 2, ...

        Returns:
            (batch or 1, tokens, hidden).

        Raises:
            ValueError: if the input is longer than the table of learned positions.
        """
        if position_ids is None:
            position_ids = torch.arange(words.shape[1], device=words.device).unsqueeze(0)
            self._check_length(words.shape[1])
        elif not is_tracing(position_ids):
            self._check_length(int(position_ids.max()) + 1)
        if self.position_type == "absolute":
            return self.position_embeddings(position_ids)
        return AMPLITUDE * sinusoids(position_ids, words.shape[2], SINUSOIDAL_BASE).to(words.dtype)

    def _check_length(self, tokens: int) -> None:
        if self.position_type == "absolute" and tokens > (longest := self.position_embeddings.num_embeddings):
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
    """Attend by plain matrix products: the "eager" backend.

    Args:
        module: the attention module, whose ``training`` decides whether attention weights are dropped.
        query: (batch, heads, tokens, size).
        key: (batch, heads, tokens, size).
        value: (batch, heads, tokens, size).
        attention_mask: numbers to add to the scores, or bool, False where a key is hidden; None hides nothing.
        scaling: factor of the scores.
        dropout: dropout probability of the attention weights.
        kwargs: arguments of other backends, without effect here.

    Returns:
        The attended values (batch, tokens, heads, size) and the attention weights (batch, heads, tokens, tokens).
    """
    scores = query * scaling @ key.transpose(2, 3)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights = drop(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class KmerBertSelfAttention(nn.Module):
    """Multi-head self-attention through the attention backends of transformers (eager, sdpa, flex, flash)."""

    def __init__(self, config: KmerBertConfig, reach: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.head_size = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.reach = reach  # tokens to each side that a token sees; None for all tokens
        self.is_causal = False
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        query_states: Tensor | None = None,
        selected: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute queries, keys and values, and attend.

        Args:
            hidden: (batch, tokens, hidden), the tokens to attend to.
            layout: which tokens attend to which; it calls the backend.
            position_embeddings: cosines and sines of rotary positions, (batch or 1, tokens, 1, size) each; None for
                other positions.
            query_states: (selected tokens, hidden), the tokens that attend; by default all of ``hidden``.
            selected: bool (batch, tokens), True on the tokens of ``query_states``; None for all tokens.
            kwargs: arguments of the backend.

        Returns:
            The attended values, in the shape of ``query_states`` or else of ``hidden``, and the attention weights if
            the backend returns them, or else None.
        """
        query_states = hidden if query_states is None else query_states
        heads = (-1, self.head_size)
        # (batch, tokens, heads, size) each; queries of selected tokens are (selected tokens, heads, size).
        query = self.query(query_states).unflatten(-1, heads)
        key = self.key(hidden).unflatten(-1, heads)
        value = self.value(hidden).unflatten(-1, heads)
        if position_embeddings is not None:
            query = apply_rotary(query, *_of_selected(position_embeddings, selected))
            key = apply_rotary(key, *position_embeddings)
        # The layout arranges the states as the backend takes them, calls `_attend` (once, or piece by piece) with its
        # masks, and returns the result in the shape of the query.
        attended, weights = layout(partial(self._attend, **kwargs), query, key, value, self.reach, selected)
        return attended.reshape(query_states.shape).contiguous(), weights

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Any, need_weights: bool = False, **kwargs: Any
    ) -> tuple:
        """Call the backend on (batch, heads, tokens, size); see `eager_attention_forward` for what it returns."""
        dropout = self.config.attention_probs_dropout_prob if self.training else 0.0
        name = "eager" if need_weights else attention_name(self.config)
        # torch has no fast CPU kernel for attention with dropout: it computes the same as eager does, but draws random
        # numbers slowly.
        if name == "sdpa" and dropout and query.device.type == "cpu" and not is_tracing(query):
            name = "eager"
        backend = ALL_ATTENTION_FUNCTIONS.get_interface(name, eager_attention_forward)
        # transformers counts the token itself, too: its flash backends subtract 1.
        sliding_window = None if self.reach is None else self.reach + 1
        return backend(
            self,
            query,
            key,
            value,
            mask,
            dropout=dropout,
            scaling=self.scaling,
            sliding_window=sliding_window,
            **kwargs,
        )


def _of_selected(position_embeddings: tuple[Tensor, Tensor], selected: Tensor | None) -> tuple[Tensor, ...]:
    """Pick the cosines and sines of the selected tokens, (selected tokens, 1, size) each; None picks all."""
    if selected is None:
        return position_embeddings
    return tuple(part.expand(*selected.shape, -1, -1)[selected] for part in position_embeddings)


class KmerBertResidual(nn.Module):
    """The end of each half of a layer: project, drop out, add the residual, normalise."""

    def __init__(self, input_size: int, config: KmerBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(input_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = KmerBertDropout(config.hidden_dropout_prob)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        """Map (..., input_size) and the residual (..., hidden) to (..., hidden)."""
        return self.LayerNorm(self.dropout(self.dense(inner)) + residual)


class KmerBertAttention(nn.Module):
    """Self-attention and its residual."""

    def __init__(self, config: KmerBertConfig, reach: int | None = None) -> None:
        super().__init__()
        self.self = KmerBertSelfAttention(config, reach)
        self.output = KmerBertResidual(config.hidden_size, config)

    def forward(self, hidden: Tensor, layout: Layout, selected: Tensor | None = None, **kwargs: object) -> Tensor:
        """Map (batch, tokens, hidden) to the same shape, or to (selected tokens, hidden)."""
        query_states = hidden
        if selected is not None:
            # (selected tokens, hidden); the backward pass is faster for index_select than for hidden[selected].
            query_states = hidden.flatten(0, 1).index_select(0, selected.flatten().nonzero()[:, 0])
        attended, _ = self.self(hidden, layout, query_states=query_states, selected=selected, **kwargs)
        return self.output(attended, query_states)


class KmerBertIntermediate(nn.Module):
    """The first, widening half of the feed-forward layer."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (batch, tokens, hidden) to (batch, tokens, intermediate)."""
        return self.activation(self.dense(hidden))


class KmerBertLayer(GradientCheckpointingLayer):
    """An encoder layer: attention, then feed-forward, each with its residual (post-norm)."""

    def __init__(self, config: KmerBertConfig, reach: int | None = None) -> None:
        super().__init__()
        self.attention = KmerBertAttention(config, reach)
        self.intermediate = KmerBertIntermediate(config)
        self.output = KmerBertResidual(config.intermediate_size, config)

    def forward(self, hidden: Tensor, layout: Layout, selected: Tensor | None = None, **kwargs: object) -> Tensor:
        """Map (batch, tokens, hidden) to the same shape, or to (selected tokens, hidden)."""
        attended = self.attention(hidden, layout, selected, **kwargs)
        return self.output(self.intermediate(attended), attended)


class KmerBertEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        reaches = [config.window_of(index) for index in range(config.num_hidden_layers)]
        self.layer = nn.ModuleList(KmerBertLayer(config, reach) for reach in reaches)
        self.last_reach = reaches[-1]

    def forward(self, hidden: Tensor, layout: Layout, selected: Tensor | None = None, **kwargs: object) -> Tensor:
        """Map (batch, tokens, hidden) to the same shape, or to (selected tokens, hidden), row by row.

        Args:
            hidden: (batch, tokens, hidden), the embedded tokens.
            layout: which tokens attend to which.
            selected: bool (batch, tokens), the tokens to return; None for all.
            kwargs: further arguments of the layers.
        """
        *lower, last = self.layer
        for layer in lower:
            hidden = layer(hidden, layout, **kwargs)
        # Only the last layer may skip tokens: the output of every other layer is read by the next one, which attends to
        # all tokens. Not every layout can skip tokens: some attend block by block or in batches of windows, and some
        # masks cannot be indexed by query.
        if selected is not None and selection_pays(hidden) and layout.supports_selection(self.last_reach):
            return last(hidden, layout, selected=selected, **kwargs)
        hidden = last(hidden, layout, **kwargs)
        return hidden if selected is None else hidden[selected]


def selection_pays(hidden: Tensor) -> bool:
    """Check whether it saves time to compute only the selected tokens in the last layer.

    On a CPU it does; on other devices it has not been measured.
    """
    return hidden.device.type == "cpu" and not is_tracing(hidden)


class KmerBertPooler(nn.Module):
    """The pooling of a sequence's tokens ([CLS] only, or all of them) and the projection that the classifier reads.

    Source: GenomeNet-BERT, section 3 (fine-tuning), for [CLS].
    """

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.pooling = config.classifier_pooling
        # Not called "score": peft would take a layer of this name for a classifier of its own, beside the pooler that
        # it is a part of, and could not load an adapter that saves both.
        self.attention = nn.Linear(config.hidden_size, 1) if self.pooling == "attention" else None
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def needed_tokens(
        self, hidden: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None
    ) -> Tensor | None:
        """Mark the tokens that the pooler reads, bool (batch, tokens); None for all."""
        if self.pooling != "cls" or not selection_pays(hidden):
            return None
        return first_tokens(hidden, attention_mask, position_ids)

    def forward(
        self, hidden: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Pool and project.

        Args:
            hidden: (batch, tokens, hidden); or (sequences, hidden), the states of the `needed_tokens`.
            attention_mask: (batch, tokens), 0 on padding; None for no padding.
            position_ids: (batch, tokens), which start again at each of several packed sequences; None if rows are not
                packed.

        Returns:
            (sequences, hidden): one sequence per row, or several where rows are packed.
        """
        if hidden.ndim == 3:
            hidden, real = unpack([hidden], attention_mask, position_ids)  # one sequence per row; real: not padding
            scores = None if self.attention is None else self.attention(hidden).squeeze(-1)
            hidden = pool(hidden, real, self.pooling, scores)
        return self.dense(hidden).tanh()


# Name of weights in former versions (a regular expression) -> name today.
_FORMER_WEIGHTS = {r"pooler\.score\.": "pooler.attention."}
# peft saves the magnitudes of DoRA without ".weight". It restores the name itself; transformers, which loads adapters
# too, only adds the name of the adapter, and would leave the magnitudes untrained.
_ADAPTER_WEIGHTS = {r"(lora_magnitude_vector\.[^.]+)$": r"\1.weight"}


class KmerBertPreTrainedModel(PreTrainedModel):
    """The base of all KmerBert models: initialisation, loading, saving, and the transformers features they support."""

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

    # The class that each Auto class loads. auto.py registers these classes; `save_pretrained` writes their names
    # to config.json, for machines where this package is not installed. (transformers itself would write only the
    # entry of the class that is saved.)
    auto_map = {
        "AutoConfig": "configuration_kmer_bert.KmerBertConfig",
        "AutoModel": "modeling_kmer_bert.KmerBertModel",
        "AutoModelForPreTraining": "modeling_kmer_bert.KmerBertForMaskedLM",
        "AutoModelForMaskedLM": "modeling_kmer_bert.KmerBertForMaskedLM",
        "AutoModelForSequenceClassification": "modeling_kmer_bert.KmerBertForSequenceClassification",
        "AutoModelForTokenClassification": "modeling_kmer_bert.KmerBertForTokenClassification",
    }

    # Names of weights in BERT checkpoints that our models do not have; no warning is given for them.
    _keys_to_ignore_on_load_unexpected = [r"(^|\.)embeddings\.position_ids$", r"^cls\.seq_relationship\."]

    def __init__(self, config: KmerBertConfig, *inputs: Any, **kwargs: Any) -> None:
        check_memory_of_machine(config)
        super().__init__(config, *inputs, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register a head and its configuration for its Auto class, so that saving it copies the code to load it."""
        super().__init_subclass__(**kwargs)
        cls.config_class.register_for_auto_class()
        for auto, reference in cls.auto_map.items():
            if reference.endswith(f".{cls.__name__}"):
                cls.register_for_auto_class(auto)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        output_loading_info: bool = False,
        stretch_positions: int | None = None,
        head_seed: int = 0,
        **kwargs: Any,
    ) -> Any:
        """Load a saved model or a BERT over k-mers (DNABERT); see ``PreTrainedModel.from_pretrained``.

        Weights of a head that are missing in the checkpoint are new, which transformers reports. They depend on their
        names, their shapes and ``head_seed`` only: a folder that is loaded twice gives one model, whatever the state of
        the global random numbers. Missing weights of the encoder are an error.

        Args:
            pretrained_model_name_or_path: folder, or name on the Hub.
            model_args: as in transformers.
            output_loading_info: also return which weights were missing or unexpected. The caller has to check them
                then: missing weights of the encoder are not an error.
            stretch_positions: number of tokens that the model can read afterwards; its learned positions are
                interpolated.
            head_seed: seed of the new weights.
            kwargs: as in transformers.

        Raises:
            ValueError: if weights of the encoder are missing, the model has no learned positions to stretch, or the
                index of weights in several files names a file outside the folder.
        """
        if pretrained_model_name_or_path is not None and os.path.isdir(pretrained_model_name_or_path):
            check_shards(Path(pretrained_model_name_or_path, kwargs.get("subfolder", "")))
        kwargs["key_mapping"] = _FORMER_WEIGHTS | _ADAPTER_WEIGHTS | (kwargs.get("key_mapping") or {})
        # Without a checkpoint the model is a new one, which follows the global random numbers.
        with loading(head_seed) if pretrained_model_name_or_path is not None else contextlib.nullcontext():
            model, info = super().from_pretrained(
                pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
            )
        if pretrained_model_name_or_path is not None and not output_loading_info:
            check_encoder_complete(model, info["missing_keys"], str(pretrained_model_name_or_path))
        if stretch_positions is not None:
            model.resize_position_embeddings(stretch_positions)
        return (model, info) if output_loading_info else model

    def get_position_embeddings(self) -> nn.Embedding:
        """Return the table of learned positions.

        Raises:
            ValueError: if positions are not learned.
        """
        kind = self.config.position_embedding_type
        if kind != "absolute":
            raise ValueError(f"{kind} positions have no table to stretch; they reach any length, so omit the option")
        return self.base_model.embeddings.position_embeddings

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Interpolate the learned positions to another number of positions; see `positions.stretch_positions`.

        Args:
            new_num_position_embeddings: number of positions afterwards.

        Raises:
            ValueError: if positions are not learned, or there would be fewer than 3, too few for any sequence.
        """
        old = self.get_position_embeddings()
        if new_num_position_embeddings < 3:
            raise ValueError(
                f"positions can be stretched to 3 ([CLS], one k-mer, [SEP]) or more, not {new_num_position_embeddings}"
            )
        new = nn.Embedding(new_num_position_embeddings, old.embedding_dim, device="meta")
        new.weight = nn.Parameter(stretch_positions(old.weight.data, new_num_position_embeddings))
        self.base_model.embeddings.position_embeddings = new
        self.config.max_position_embeddings = new_num_position_embeddings

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save weights, configuration and the code to load them; see ``PreTrainedModel.save_pretrained``."""
        self.config.auto_map = dict(self.auto_map)
        # Otherwise transformers would save weights under the old names (LayerNorm.gamma) that it converted on loading.
        kwargs.setdefault("save_original_format", False)
        super().save_pretrained(save_directory, **kwargs)
        set_usual_mode(save_directory)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # In a new model, this only calls draw_weights. In a model that is loaded, the weights that the checkpoint lacks
        # are drawn with a seed that depends on their names.
        initialise(module, self, self.draw_weights)

    def draw_weights(self, module: nn.Module) -> None:
        """Initialise the weights of a module, without its children, from the global random numbers.

        Args:
            module: a module of this model.
        """
        super()._init_weights(module)
        if isinstance(module, KmerBertPredictions):
            init.zeros_(module.bias)
        if self.config.initialisation == "kmer":
            initialise_for_kmers(module, self.base_model, self.config)


def set_usual_mode(folder: str | os.PathLike) -> None:
    """Copy the file mode of config.json to the weights; safetensors 0.8 makes them readable by their owner only."""
    for weights in Path(folder).glob("model*.safetensors"):
        with contextlib.suppress(OSError):  # another process wrote them, or the file system has no modes
            shutil.copymode(Path(folder) / "config.json", weights)


def check_memory_of_machine(config: KmerBertConfig) -> None:
    """Check that the weights of a model are not larger than the memory of this machine, before any layer is built.

    Args:
        config: the sizes of the model.

    Raises:
        ValueError: naming the number of weights, and both sizes in GiB.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # no POSIX system
        return
    if memory > 0 and 2 * (weights := count_weights(config)) > memory:  # 2 bytes: half precision
        raise ValueError(
            f"a model of {weights:,} weights takes {2 * weights / 2**30:.1f} GiB even in half precision, but this "
            f"machine has {memory / 2**30:.1f} GiB of memory; lower hidden_size, num_hidden_layers or vocab_size"
        )


def check_encoder_complete(model: PreTrainedModel, missing: Iterable[str], source: str) -> None:
    """Check that no weight of the encoder is missing; the pooler counts as a part of the heads.

    Args:
        model: the loaded model.
        missing: names of the model's weights that the checkpoint does not have.
        source: name of the checkpoint, for the message.

    Raises:
        ValueError: naming the first missing weight and how many there are.
    """
    encoder = model.base_model
    prefix = "" if encoder is model else f"{model.base_model_prefix}."
    ours = {prefix + name for name in encoder.state_dict() if not name.startswith("pooler.")}
    if missing_ours := sorted(ours.intersection(missing)):
        raise ValueError(
            f"{source}: {len(missing_ours)} of {len(ours)} weights of the encoder are missing ({missing_ours[0]} ...); "
            "the checkpoint is damaged or of another architecture"
        )


def without_none(forward: Callable) -> Callable:
    """Decorate a forward pass so that ``output_attentions=None``, which peft passes, means the configuration's value.

    Args:
        forward: the forward pass; keyword arguments that begin with "output" are omitted if they are None.
    """

    @wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = {key: value for key, value in kwargs.items() if value is not None or not key.startswith("output")}
        return forward(self, *args, **given)

    return wrapper


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

    @without_none
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        selected: Tensor | None = None,
        only_pooled: bool = False,
        **kwargs: object,
    ) -> BaseModelOutputWithPooling:
        """Encode tokens.

        Args:
            input_ids: (batch, tokens); None with ``inputs_embeds``.
            attention_mask: (batch, tokens), 0 on padding; None for no padding.
            token_type_ids: (batch, tokens), 0 for the first sequence and 1 for the second of a pair; None for 0.
            position_ids: (batch, tokens); by default 0, 1, 2, ... Where positions start again within a row, the row
                holds several packed windows, which do not see each other.
            inputs_embeds: (batch, tokens, hidden), embeddings of the tokens in place of their ids.
            selected: bool (batch, tokens), the tokens to return, for a model without a pooler; ``last_hidden_state`` is
                then (selected tokens, hidden), row by row. None returns all tokens.
            only_pooled: only ``pooler_output`` will be used; if the pooler reads first tokens only,
                ``last_hidden_state`` may then hold only those.
            kwargs: ``output_hidden_states``, ``output_attentions`` (computed by the backend "eager", whichever the
                model has), ``return_dict`` and arguments of the backend.

        Returns:
            ``last_hidden_state`` (batch, tokens, hidden) and ``pooler_output`` (sequences, hidden), None without a
            pooler.

        Raises:
            ValueError: if not exactly one of ids and embeddings is given, or the input is longer than the table of
                learned positions.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        embedded = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        need_weights = bool(kwargs.get("output_attentions", self.config.output_attentions))
        layout = attention_layout(
            eager_config(self.config) if need_weights else self.config,
            embedded,
            attention_mask,
            position_ids,
            # With dropout, torch's variable-length kernel cannot be used.
            dropout=self.config.attention_probs_dropout_prob if self.training else 0.0,
            need_weights=need_weights,
        )
        if only_pooled and self.pooler is not None:
            selected = self.pooler.needed_tokens(embedded, attention_mask, position_ids)
        rotary = self.rotary_embeddings(embedded, position_ids)
        if need_weights:
            kwargs["need_weights"] = True
        hidden = self.encoder(embedded, layout, selected, position_embeddings=rotary, **kwargs)
        pooled = None if self.pooler is None else self.pooler(hidden, attention_mask, position_ids)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)

    def rotary_embeddings(self, embedded: Tensor, position_ids: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Compute cosines and sines of rotary positions, (batch or 1, tokens, 1, size) each; None if not rotary."""
        if self.config.position_embedding_type != "rotary":
            return None
        if position_ids is None:
            position_ids = torch.arange(embedded.shape[1], device=embedded.device).unsqueeze(0)
        size = self.config.hidden_size // self.config.num_attention_heads
        return rotation(position_ids, size, self.config.rope_theta)


def should_record(config: KmerBertConfig, kwargs: dict[str, Any]) -> bool:
    """Check whether a forward pass returns hidden states or attentions, which must cover all tokens."""
    names = ("output_hidden_states", "output_attentions")
    given = {name: kwargs.get(name) for name in names}
    return any(getattr(config, name) if value is None else value for name, value in given.items())


def eager_config(config: KmerBertConfig) -> KmerBertConfig:
    """Return the configuration for a call that returns attention weights, which only the backend "eager" does."""
    if attention_name(config) == "eager":
        return config
    logger.warning_once(
        f"attn_implementation {attention_name(config)!r} computes no attention weights; calls with output_attentions "
        'use "eager"'
    )
    return with_eager_attention(config)


class KmerBertTransform(nn.Module):
    """The dense layer, activation and norm before the masked-token decoder."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., hidden) to the same shape."""
        return self.LayerNorm(self.activation(self.dense(hidden)))


class KmerBertPredictions(nn.Module):
    """The transform and the decoder, which shares the token embeddings."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.transform = KmerBertTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.num_embeddings)
        self.bias = nn.Parameter(torch.zeros(config.num_embeddings))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., hidden) to logits (..., vocabulary)."""
        return self.decoder(self.transform(hidden))


class KmerBertMaskedLMHead(nn.Module):
    """The holder of the predictions, under BERT's name ``cls.predictions``."""

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__()
        self.predictions = KmerBertPredictions(config)


class KmerBertForMaskedLM(KmerBertPreTrainedModel):
    """An encoder with the masked-token head of pretraining."""

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
        # A tied decoder shares the token embeddings: initialising it would overwrite them.
        mark_as_initialised(self.cls.predictions.decoder, config.tie_word_embeddings)
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
        sparse_prediction: bool | None = None,
        **kwargs: object,
    ) -> MaskedLMOutput:
        """Predict masked tokens.

        Args:
            input_ids: as in KmerBertModel.
            attention_mask: as in KmerBertModel.
            token_type_ids: as in KmerBertModel.
            position_ids: as in KmerBertModel.
            inputs_embeds: as in KmerBertModel.
            labels: (batch, tokens), the true id on masked tokens and -100 elsewhere.
            num_items_in_batch: number of labelled tokens of the whole optimizer step; the Trainer passes it, so that
                the loss does not depend on how the step is divided into micro-batches.
            sparse_prediction: compute logits for the labelled tokens only; by default in training, unless
                ``config.sparse_prediction`` is False.
            kwargs: as in KmerBertModel.

        Returns:
            loss in nats per masked token, 0 if no token is masked; logits (batch, tokens, vocabulary), or, with labels
            and sparse prediction, (labelled tokens, vocabulary), row by row.
        """
        # Outside training, a plain Trainer and its metrics expect logits of all tokens, so those are the default there.
        if sparse_prediction is None:
            sparse_prediction = self.training and self.config.sparse_prediction
        selected = labels != IGNORE_INDEX if labels is not None and sparse_prediction else None
        recorded = should_record(self.config, kwargs)
        # Recorded hidden states cover all tokens; then the selected tokens are picked below.
        kwargs["selected"] = None if recorded else selected
        kwargs["return_dict"] = True  # the heads read the encoder's output by name, whatever config.return_dict says
        outputs = self.bert(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **kwargs)
        hidden = outputs.last_hidden_state
        if labels is not None and selected is not None:
            labels = labels[selected]
            hidden = hidden[selected] if recorded else hidden
        logits = self.cls.predictions(hidden)
        return MaskedLMOutput(
            loss=None if labels is None else label_loss(logits, labels, num_items_in_batch),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class KmerBertClassifier(KmerBertPreTrainedModel):
    """The base of the classifiers: an encoder, the layers that a subclass adds, dropout and a linear layer."""

    dropout_class: type[nn.Dropout] = KmerBertDropout

    def __init__(self, config: KmerBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = KmerBertModel(config, add_pooling_layer)

    def add_classifier(self) -> None:
        """Add dropout and the linear layer; the dropout is ``classifier_dropout``, or else ``hidden_dropout_prob``.

        Subclasses call this last in their constructors: the order of layers decides which random weights each one gets.
        """
        dropout = self.config.classifier_dropout
        self.dropout = self.dropout_class(self.config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(self.config.hidden_size, self.config.num_labels)
        self.post_init()

    def sequence_output(
        self,
        kind: type[ModelOutput],
        logits: Tensor,
        labels: Tensor | None,
        num_items: Tensor | int | None,
        outputs: ModelOutput,
        **states: Tensor,
    ) -> Any:
        """Compute the loss of a sequence head, and build the output of its forward pass.

        Args:
            kind: class of the output.
            logits: (sequences, num_labels).
            labels: labels as in `sequence_loss`; None for no loss.
            num_items: number of known labels of the whole optimizer step, as in `sequence_loss`.
            outputs: outputs of the encoder.
            states: further fields of the output.
        """
        return kind(
            loss=None if labels is None else sequence_loss(logits, labels, self.config, num_items),
            logits=in_target_units(logits, self.config),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **states,
        )


class KmerBertForSequenceClassification(KmerBertClassifier):
    """An encoder with a classifier on the pooled tokens: one label, several labels or regression per sequence.

    ``config.classifier_pooling`` decides what is pooled; ``token_type_ids`` mark the second sequence of a pair.

    After masked-token pretraining neither the pooler nor the classifier has trained weights. peft's defaults train and
    save the classifier (with ``task_type="SEQ_CLS"``); the pooler then keeps the weights that `from_pretrained` gives
    it in every process. ``modules_to_save=["pooler"]`` trains and saves it, too.
    """

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__(config)
        self.add_classifier()

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
        """Classify sequences.

        Args:
            input_ids: as in KmerBertModel.
            attention_mask: as in KmerBertModel.
            token_type_ids: as in KmerBertModel.
            position_ids: as in KmerBertModel.
            inputs_embeds: as in KmerBertModel.
            labels: (batch,) class numbers, -100 for no label; (batch, num_labels) of 0/1 for several labels, NaN or
                -100 where not measured; (batch,) or (batch, num_labels) numbers for regression, NaN where not measured.
                ``config.problem_type`` decides, or the type of the labels if it is not set.
            num_items_in_batch: number of known labels of the whole optimizer step; the Trainer passes it.
            kwargs: as in KmerBertModel.

        Returns:
            loss (of a regression: the squared error, standardised if ``config.target_scales`` are set); logits
            (batch, num_labels), or (sequences, num_labels) where rows are packed; for a regression they have the units
            of the targets.

        Raises:
            ValueError: for labels that do not fit the model.
        """
        kwargs["only_pooled"] = not should_record(self.config, kwargs)
        kwargs["return_dict"] = True  # the heads read the encoder's output by name, whatever config.return_dict says
        outputs = self.bert(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **kwargs)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        return self.sequence_output(SequenceClassifierOutput, logits, labels, num_items_in_batch, outputs)


class KmerBertForTokenClassification(KmerBertClassifier):
    """An encoder with a classifier on every token, or, by ``config.labels_per``, on every nucleotide.

    transformers' token-classification pipeline matches logits with tokens, so it is for models per token. For models
    per nucleotide ``hf-genomics predict`` writes runs of classes.
    """

    def __init__(self, config: KmerBertConfig) -> None:
        super().__init__(config, add_pooling_layer=False)
        self.add_classifier()

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
            input_ids: as in KmerBertModel.
            attention_mask: as in KmerBertModel.
            token_type_ids: as in KmerBertModel.
            position_ids: as in KmerBertModel.
            inputs_embeds: as in KmerBertModel.
            labels: (batch, tokens) class numbers, -100 for no label; per nucleotide (batch, nt), or (sequences, nt)
                where rows are packed.
            special_tokens_mask: (batch, tokens), 1 on [CLS] and [SEP]. A model per nucleotide needs it with
                ``inputs_embeds`` or a vocabulary that is not KmerTokenizer's; otherwise the ids suffice.
            num_items_in_batch: number of labels of the whole optimizer step; the Trainer passes it.
            kwargs: as in KmerBertModel.

        Returns:
            loss; logits (batch, tokens, num_labels). Per nucleotide (sequences, nt, num_labels): the mean over the
            k-mers that cover a nucleotide; nucleotides after the last k-mer get its logits. There are as many nt as
            ``labels`` has, or without labels enough for the longest sequence of this many tokens.

        Raises:
            ValueError: for labels that do not fit the model or the tokens.
        """
        kwargs["return_dict"] = True  # the heads read the encoder's output by name, whatever config.return_dict says
        outputs = self.bert(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **kwargs)
        logits, loss = self.classifier(self.dropout(outputs.last_hidden_state)), None
        if labels is not None:
            check_classes(labels, self.num_labels)
        if self.config.labels_per == "nt":
            kmers = kmer_tokens(self.config, input_ids, special_tokens_mask)
            logits = self._per_nt(logits, kmers, attention_mask, position_ids, labels)
        if labels is not None:
            check_count(labels, logits.shape[:-1])
            weights, gamma = self.config.class_weights, self.config.focal_gamma
            loss = label_loss(logits, labels, num_items_in_batch, weights, gamma)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def _per_nt(
        self,
        logits: Tensor,
        kmers: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        labels: Tensor | None,
    ) -> Tensor:
        """Convert logits of tokens (batch, tokens, num_labels) to logits of nucleotides (sequences, nt, num_labels)."""
        k, stride = self.config.k, self.config.stride
        # One sequence per row; real is False on padding.
        logits, kmers, real = unpack([logits, kmers], attention_mask, position_ids)
        if labels is not None:
            check_nt_labels(labels != IGNORE_INDEX, kmers & real, k, stride)
        return tokens_to_nt(logits, kmers & real, k, stride, None if labels is None else labels.shape[1])


def kmer_tokens(config: KmerBertConfig, input_ids: Tensor | None, special_tokens_mask: Tensor | None) -> Tensor:
    """Mark the tokens that stand for k-mers: all, with [UNK] and [MASK], except [PAD], [CLS], [SEP] and added ones.

    Args:
        config: configuration of the model, whose ``pad_token_id`` is the id of [PAD].
        input_ids: (batch, tokens), or None with a mask.
        special_tokens_mask: (batch, tokens), 1 on tokens that do not stand for k-mers; None if the ids suffice.

    Returns:
        bool (batch, tokens).

    Raises:
        ValueError: if there are neither ids nor a mask.
    """
    if special_tokens_mask is not None:
        return ~special_tokens_mask.bool()
    if input_ids is None:
        raise ValueError("without input_ids, pass special_tokens_mask: 1 on the tokens that are not k-mers")
    kmers = (input_ids != config.pad_token_id) & (input_ids != CLS_ID) & (input_ids != SEP_ID)
    return kmers & (input_ids < vocabulary_size(config.k))
