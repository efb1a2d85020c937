"""One long sequence as several windows: each through the encoder, joined, classified.

GenomeNet-BERT classifies 1000 nt at stride 1 this way, in two parts, because 995 tokens do not fit 512 positions. A
batch may hold sequences of any number of windows: those that are not there are padding, are not encoded, and change
nothing for the others.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple
from transformers.utils.import_utils import is_tracing

from .attention_kmer_bert import attention_layout
from .configuration_kmer_bert import HierarchicalKmerBertConfig
from .losses import in_units, sequence_loss
from .modeling_kmer_bert import (
    KmerBertLayer,
    KmerBertModel,
    KmerBertPreTrainedModel,
    classifier_dropout,
    records,
)
from .pooling import pool
from .positions import sinusoidal_positions


@dataclass
class HierarchicalClassifierOutput(ModelOutput):
    """What a hierarchical classifier gives.

    Attributes:
        loss: scalar, with labels only.
        logits: (batch, num_labels).
        window_states: (batch, windows, hidden), the projection of each window; 0 where there is none.
        hidden_states, attentions: of the encoder if asked for, (windows of all sequences, tokens, hidden) per layer and
            (windows of all sequences, heads, tokens, tokens).
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    window_states: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class KmerBertWindowTransformer(nn.Module):
    """Attention between the windows of a sequence, read off at a vector of its own in front of them.

    Local layers within windows, global layers over them, as hierarchical transformers of long text have it.
    """

    def __init__(self, config: HierarchicalKmerBertConfig) -> None:
        super().__init__()
        self.config = config
        self.start = nn.Parameter(torch.zeros(config.hidden_size))
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layer = nn.ModuleList(KmerBertLayer(config) for _ in range(config.window_layers))

    def forward(self, windows: Tensor, there: Tensor) -> Tensor:
        """Map (batch, windows, hidden), with bool (batch, windows) for those that are there, to (batch, hidden)."""
        places = sinusoidal_positions(windows.shape[1], windows.shape[2], amplitude=1.0)
        placed = windows + places.to(windows)
        hidden = self.LayerNorm(torch.cat([self.start.expand(windows.shape[0], 1, -1).to(windows), placed], 1))
        seen = torch.cat([there.new_ones(there.shape[0], 1), there], 1)
        layout = attention_layout(self.config, hidden, seen, None)
        for layer in self.layer:
            hidden = layer(hidden, layout)
        return hidden[:, 0]


class HierarchicalKmerBertForSequenceClassification(KmerBertPreTrainedModel):
    """Encoder over the windows of a sequence, aggregation, classifier; one label, several labels or regression.

    LoRA of a pretrained encoder needs ``modules_to_save=["pooler", "join", "classifier"]``, and "windows" too where a
    transformer aggregates them.

    Source: GenomeNet-BERT, section 3 (1000 nt in two parts);
    DNABERT's long variant (concat, linear, ReLU, dropout, linear).
    """

    config: HierarchicalKmerBertConfig
    config_class = HierarchicalKmerBertConfig
    auto_map = {
        "AutoConfig": "configuration_kmer_bert.HierarchicalKmerBertConfig",
        "AutoModelForSequenceClassification": "modeling_hierarchical.HierarchicalKmerBertForSequenceClassification",
    }

    def __init__(self, config: HierarchicalKmerBertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = KmerBertModel(config)
        over_windows = config.aggregation == "transformer"
        self.windows = KmerBertWindowTransformer(config) if over_windows else None
        width = config.hidden_size * (config.num_windows if config.aggregation == "concat" else 1)
        self.join = nn.Linear(width, config.hidden_size)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, KmerBertWindowTransformer):
            init.normal_(module.start, std=self.config.initializer_range)

    def aggregate(self, windows: Tensor, there: Tensor) -> Tensor:
        """Join what the windows of each sequence say.

        Args:
            windows: (batch, windows, hidden), 0 where there is no window.
            there: bool (batch, windows).

        Returns:
            (batch, hidden); for "concat" (batch, num_windows * hidden), 0 in the place of missing windows.
        """
        if self.windows is not None:
            return self.windows(windows, there)
        if self.config.aggregation != "concat":
            return pool(windows, there, self.config.aggregation)
        missing = self.config.num_windows - windows.shape[1]
        return nn.functional.pad(windows, (0, 0, 0, missing)).flatten(1)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: object,
    ) -> HierarchicalClassifierOutput:
        """Classify sequences given as windows.

        Args:
            input_ids, attention_mask, token_type_ids: (batch, windows, tokens), [CLS] and [SEP] in each window; where
                the attention mask of a window is all 0, it is not there.
            labels, num_items_in_batch, kwargs: as in KmerBertForSequenceClassification.

        Raises:
            ValueError: if there are no windows, or more than "concat" takes.
        """
        self._check_windows(input_ids)
        there = torch.ones(input_ids.shape[:2], dtype=torch.bool, device=input_ids.device)
        there = there if attention_mask is None else attention_mask.bool().any(2)
        columns = (input_ids, attention_mask, token_type_ids)
        # A graph cannot have as many rows as there are windows, and attention none: then some are left out later.
        every = is_tracing(input_ids) or not there.any()
        rows = [None if each is None else each.flatten(0, 1) if every else each[there] for each in columns]
        outputs = self.bert(*rows, only_pooled=not records(self.config, kwargs), **kwargs)
        pooled = outputs.pooler_output  # (windows of all sequences, hidden)
        if every:
            windows = pooled.unflatten(0, there.shape).masked_fill(~there.unsqueeze(-1), 0)
        else:
            windows = pooled.new_zeros(*there.shape, pooled.shape[1]).masked_scatter(there.unsqueeze(-1), pooled)
        joined = self.join(self.dropout(self.aggregate(windows, there)))
        logits = self.classifier(self.dropout(joined.relu()))
        loss = None if labels is None else sequence_loss(logits, labels, self.config, num_items_in_batch)
        logits = in_units(logits, self.config)
        return HierarchicalClassifierOutput(
            loss=loss,
            logits=logits,
            window_states=windows,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _check_windows(self, input_ids: Tensor) -> None:
        most = self.config.num_windows
        if input_ids.ndim != 3:
            raise ValueError(f"input_ids must be (batch, windows, tokens), not {tuple(input_ids.shape)}")
        if self.config.aggregation == "concat" and input_ids.shape[1] > most:
            raise ValueError(
                f"{input_ids.shape[1]} windows, but this model joins at most {most} side by side; cut sequences into "
                f"fewer, or build the model with num_windows={input_ids.shape[1]}, or with another aggregation"
            )


HierarchicalKmerBertConfig.register_for_auto_class()
HierarchicalKmerBertForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
