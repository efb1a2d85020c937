"""A classifier of long sequences: the encoder reads each part of a sequence separately, and the results are combined.

GenomeNet-BERT classifies 1000 nt at stride 1 in this way, in two parts, because 995 tokens do not fit 512 positions.
The sequences of a batch may have different numbers of parts: missing parts are padding, which is not encoded and does
not change the results of other parts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from .attention_kmer_bert import attention_layout
from .compat import can_return_tuple, init, is_tracing
from .configuration_kmer_bert import HierarchicalKmerBertConfig
from .modeling_kmer_bert import KmerBertClassifier, KmerBertLayer, should_record
from .pooling import pool
from .positions import sinusoidal_positions


@dataclass
class HierarchicalClassifierOutput(ModelOutput):
    """The output of a hierarchical classifier.

    Attributes:
        loss: scalar; only with labels.
        logits: (batch, num_labels).
        part_states: (batch, parts, hidden), the pooled state of each part; 0 for missing parts.
        hidden_states: embeddings and output of each layer of the encoder, (parts of all sequences, tokens, hidden)
            each; only on request.
        attentions: attention weights of each layer of the encoder, (parts of all sequences, heads, tokens, tokens)
            each; only on request.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    part_states: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class KmerBertPartTransformer(nn.Module):
    """Attention between the parts of a sequence; the result is the final state of a learned vector in front of them.

    Layers within parts followed by layers between parts are the usual form of hierarchical transformers of text.
    """

    def __init__(self, config: HierarchicalKmerBertConfig) -> None:
        super().__init__()
        self.config = config
        self.start = nn.Parameter(torch.zeros(config.hidden_size))
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layer = nn.ModuleList(KmerBertLayer(config) for _ in range(config.part_layers))

    def forward(self, parts: Tensor, present: Tensor) -> Tensor:
        """Combine the parts of each sequence by attention.

        Args:
            parts: (batch, parts, hidden).
            present: bool (batch, parts), False for missing parts.

        Returns:
            (batch, hidden).
        """
        positions = sinusoidal_positions(parts.shape[1], parts.shape[2], amplitude=1.0)
        placed = parts + positions.to(parts)
        hidden = self.LayerNorm(torch.cat([self.start.expand(parts.shape[0], 1, -1).to(parts), placed], 1))
        attention_mask = torch.cat([present.new_ones(present.shape[0], 1), present], 1)  # 1 for the learned vector
        layout = attention_layout(self.config, hidden, attention_mask, None)
        for layer in self.layer:
            hidden = layer(hidden, layout)
        return hidden[:, 0]


class HierarchicalKmerBertForSequenceClassification(KmerBertClassifier):
    """Classifier of sequences in parts: encode, combine, predict one label, several labels or numbers per sequence.

    With LoRA, ``modules_to_save=["pooler", "join"]`` (and "windows", if aggregation is "transformer") trains and saves
    all of the head; by default only the classifier is trained, as in `KmerBertForSequenceClassification`.

    Source: GenomeNet-BERT, section 3 (1000 nt in two parts);
    DNABERT's long variant (concat, linear, ReLU, dropout, linear).
    """

    config: HierarchicalKmerBertConfig
    config_class = HierarchicalKmerBertConfig
    dropout_class = nn.Dropout  # torch's own, so that a seed gives the same dropout as in version 0.1
    auto_map = {
        "AutoConfig": "configuration_kmer_bert.HierarchicalKmerBertConfig",
        "AutoModelForSequenceClassification": "modeling_hierarchical.HierarchicalKmerBertForSequenceClassification",
    }

    def __init__(self, config: HierarchicalKmerBertConfig) -> None:
        super().__init__(config)
        # Called `windows`, not `parts`, because its weights have this name in the models of version 0.1.
        self.windows = KmerBertPartTransformer(config) if config.aggregation == "transformer" else None
        width = config.hidden_size * (config.num_parts if config.aggregation == "concat" else 1)
        self.join = nn.Linear(width, config.hidden_size)  # applied to the combined parts
        self.add_classifier()

    def draw_weights(self, module: nn.Module) -> None:
        """Initialise the weights of a module; see `KmerBertPreTrainedModel.draw_weights`."""
        super().draw_weights(module)
        if isinstance(module, KmerBertPartTransformer):
            init.normal_(module.start, std=self.config.initializer_range)

    def aggregate(self, parts: Tensor, present: Tensor) -> Tensor:
        """Combine the parts of each sequence by the configured aggregation.

        Args:
            parts: (batch, parts, hidden), 0 for missing parts.
            present: bool (batch, parts), False for missing parts.

        Returns:
            (batch, hidden); for "concat" (batch, num_parts * hidden), with 0 in place of missing parts.
        """
        if self.windows is not None:
            return self.windows(parts, present)
        if self.config.aggregation != "concat":
            return pool(parts, present, self.config.aggregation)
        missing = self.config.num_parts - parts.shape[1]
        return nn.functional.pad(parts, (0, 0, 0, missing)).flatten(1)

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
        """Classify sequences that are given as parts.

        Args:
            input_ids: (batch, parts, tokens), with [CLS] and [SEP] in each part.
            attention_mask: (batch, parts, tokens), 0 on padding; a part whose mask is all 0 is missing.
            token_type_ids: (batch, parts, tokens).
            labels: as in KmerBertForSequenceClassification.
            num_items_in_batch: as in KmerBertForSequenceClassification.
            kwargs: as in KmerBertForSequenceClassification.

        Raises:
            ValueError: if the input has no axis of parts, or more parts than "concat" takes.
        """
        self._check_parts(input_ids)
        present = torch.ones(input_ids.shape[:2], dtype=torch.bool, device=input_ids.device)
        present = present if attention_mask is None else attention_mask.bool().any(2)
        # Missing parts are not encoded, with two exceptions: when the model is compiled or exported, the number of rows
        # must not depend on the mask; and attention needs at least one row. In both cases all parts are encoded, and
        # missing parts are set to 0 below.
        encode_all = is_tracing(input_ids) or not present.any()

        def rows(column: Tensor | None) -> Tensor | None:  # (batch, parts, ...) -> (parts of all sequences, ...)
            if column is None:
                return None
            return column.flatten(0, 1) if encode_all else column[present]

        # The last layer may compute only the tokens that the pooler reads, unless all hidden states are wanted.
        kwargs["only_pooled"] = not should_record(self.config, kwargs)
        kwargs["return_dict"] = True  # the output is read by name, whatever config.return_dict says
        outputs = self.bert(rows(input_ids), rows(attention_mask), rows(token_type_ids), **kwargs)
        pooled = outputs.pooler_output  # (parts of all sequences, hidden)
        if encode_all:
            parts = pooled.unflatten(0, present.shape).masked_fill(~present.unsqueeze(-1), 0)
        else:
            parts = pooled.new_zeros(*present.shape, pooled.shape[1]).masked_scatter(present.unsqueeze(-1), pooled)
        joined = self.join(self.dropout(self.aggregate(parts, present)))
        logits = self.classifier(self.dropout(joined.relu()))
        return self.sequence_output(
            HierarchicalClassifierOutput, logits, labels, num_items_in_batch, outputs, part_states=parts
        )

    def _check_parts(self, input_ids: Tensor) -> None:
        most = self.config.num_parts
        if input_ids.ndim != 3:
            raise ValueError(f"input_ids must be (batch, parts, tokens), not {tuple(input_ids.shape)}")
        if self.config.aggregation == "concat" and input_ids.shape[1] > most:
            raise ValueError(
                f"{input_ids.shape[1]} parts, but this model takes at most {most} side by side; cut sequences into "
                f"fewer parts, or build the model with num_parts={input_ids.shape[1]}, or with another aggregation"
            )
