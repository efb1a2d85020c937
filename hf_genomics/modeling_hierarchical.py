"""One long sequence as several windows: each through the encoder, joined, classified.

GenomeNet-BERT classifies 1000 nt at stride 1 this way, in two parts, because 995 tokens do not fit 512 positions.
"""

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from .configuration_kmer_bert import HierarchicalKmerBertConfig
from .losses import sequence_loss
from .modeling_kmer_bert import KmerBertModel, KmerBertPreTrainedModel, classifier_dropout


class HierarchicalKmerBertForSequenceClassification(KmerBertPreTrainedModel):
    """Encoder over the windows of a sequence, aggregation, classifier; one label, several labels or regression.

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
        width = config.hidden_size * (config.num_windows if config.aggregation == "concat" else 1)
        self.join = nn.Linear(width, config.hidden_size)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def aggregate(self, pooled: Tensor) -> Tensor:
        """Join what the windows of each sequence say: (batch, windows, hidden) to (batch, width)."""
        if self.config.aggregation == "concat":
            return pooled.flatten(1)
        return pooled.mean(1) if self.config.aggregation == "mean" else pooled.amax(1)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: object,
    ) -> SequenceClassifierOutput:
        """Classify sequences given as windows.

        Args:
            input_ids, attention_mask, token_type_ids: (batch, windows, tokens), [CLS] and [SEP] in each window.
            labels, num_items_in_batch, kwargs: as in KmerBertForSequenceClassification.

        Raises:
            ValueError: if the number of windows is not the configuration's.
        """
        if input_ids.ndim != 3 or input_ids.shape[1] != self.config.num_windows:
            raise ValueError(
                f"input_ids must be (batch, {self.config.num_windows} windows, tokens), not {tuple(input_ids.shape)}"
            )
        columns = [None if column is None else column.flatten(0, 1) for column in (attention_mask, token_type_ids)]
        outputs = self.bert(input_ids.flatten(0, 1), *columns, **kwargs)
        pooled = outputs.pooler_output.unflatten(0, (len(input_ids), -1))  # (batch, windows, hidden)
        logits = self.classifier(self.dropout(torch.relu(self.join(self.dropout(self.aggregate(pooled))))))
        loss = None if labels is None else sequence_loss(logits, labels, self.config, num_items_in_batch)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


HierarchicalKmerBertConfig.register_for_auto_class()
HierarchicalKmerBertForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
