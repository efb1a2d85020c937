"""A classifier of sequences with numeric tracks, such as measurements of the epigenome.

A track has one number per sequence (a gene's expression) or one per nucleotide (accessibility). The encoder reads the
sequence as in other models. Tracks per nucleotide are averaged over each k-mer and joined with its hidden state, and
attention layers follow; the pooled result is joined with the tracks per sequence and classified.

The model takes raw values and standardises them by the means and standard deviations in its configuration. A missing
value (NaN) is replaced by the track's mean, and a second channel marks it as missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from .attention_kmer_bert import attention_layout
from .compat import can_return_tuple
from .configuration_kmer_bert import FusionKmerBertConfig
from .modeling_kmer_bert import KmerBertClassifier, KmerBertLayer, KmerBertPooler, kmer_tokens
from .pooling import nt_to_tokens


@dataclass
class FusionClassifierOutput(ModelOutput):
    """The output of a fusion classifier.

    Attributes:
        loss: scalar; only with labels.
        logits: (batch, num_labels).
        fused_states: (batch, tokens, hidden), the hidden states after tracks per nucleotide were joined to them.
        hidden_states: embeddings and output of each layer of the encoder, before the fusion, (batch, tokens, hidden)
            each; only on request.
        attentions: attention weights of each layer of the encoder, (batch, heads, tokens, tokens) each; only on
            request.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    fused_states: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def standardise(values: Tensor, means: Sequence[float] | None, stds: Sequence[float] | None) -> Tensor:
    """Standardise tracks, and add a second channel to each track that marks missing values.

    The result is float32: in half precision, raw values far from 0, such as coordinates, would lose their last digits.

    >>> standardise(torch.tensor([[3.0, float("nan")]]), [1.0, 5.0], [2.0, 1.0])
    tensor([[1., 0., 0., 1.]])

    Args:
        values: (..., tracks), NaN where missing.
        means: mean of each track, (tracks,); None for 0.
        stds: standard deviation of each track, (tracks,); None for 1.

    Returns:
        float32 (..., 2 * tracks): the values, 0 where missing; then 1 where missing, else 0.
    """
    values = values.float()
    missing = values.isnan()
    centred = values if means is None else values - values.new_tensor(means)
    scaled = centred if stds is None else centred / values.new_tensor(stds)
    return torch.cat([scaled.masked_fill(missing, 0), missing.to(values.dtype)], -1)


class KmerBertTrackEncoder(nn.Module):
    """The projection of the channels of `standardise` to the hidden size: linear, ReLU, norm."""

    def __init__(self, tracks: int, config: FusionKmerBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * tracks, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., 2 * tracks) to (..., hidden)."""
        return self.LayerNorm(self.dense(features).relu())


class KmerBertFusion(nn.Module):
    """The layers that join tokens with tracks per nucleotide, and in which all tokens attend to each other."""

    def __init__(self, config: FusionKmerBertConfig) -> None:
        super().__init__()
        self.config = config
        self.tracks = KmerBertTrackEncoder(len(config.nt_track_names or []), config)
        self.dense = nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layer = nn.ModuleList(KmerBertLayer(config) for _ in range(config.fusion_layers))

    def forward(self, hidden: Tensor, features: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Fuse hidden states (batch, tokens, hidden) with features (batch, tokens, 2 * tracks)."""
        joined = self.dense(torch.cat([hidden, self.tracks(features)], -1))
        hidden = self.LayerNorm(hidden + joined)
        layout = attention_layout(self.config, hidden, attention_mask, position_ids=None)  # rows are not packed
        for layer in self.layer:
            hidden = layer(hidden, layout)
        return hidden


class FusionKmerBertForSequenceClassification(KmerBertClassifier):
    """An encoder of sequences and their tracks, and a classifier: one label, several labels or regression per sequence.

    With LoRA, ``modules_to_save=["pooler", "join"]`` (and "fusion" and "tracks", if the model has them) trains and
    saves all of the head; by default only the classifier is trained, as in `KmerBertForSequenceClassification`.

    Source: the multi-modal genomic transformer of the references: sequence encoder, linear-ReLU-norm track encoder,
    concatenation, transformer block. Our model adds missing values, tracks per sequence and the residual.
    """

    config: FusionKmerBertConfig
    config_class = FusionKmerBertConfig
    dropout_class = nn.Dropout  # torch's own, so that a seed draws what it drew in version 0.1
    auto_map = {
        "AutoConfig": "configuration_kmer_bert.FusionKmerBertConfig",
        "AutoModelForSequenceClassification": "modeling_fusion.FusionKmerBertForSequenceClassification",
    }

    def __init__(self, config: FusionKmerBertConfig) -> None:
        super().__init__(config, add_pooling_layer=False)  # the pooler reads the fused states
        self.fusion = KmerBertFusion(config) if config.nt_track_names else None
        self.pooler = KmerBertPooler(config)
        self.tracks = KmerBertTrackEncoder(len(config.track_names), config) if config.track_names else None
        width = config.hidden_size * (2 if config.track_names else 1)
        self.join = nn.Linear(width, config.hidden_size)
        self.add_classifier()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        tracks: Tensor | None = None,
        nt_tracks: Tensor | None = None,
        labels: Tensor | None = None,
        special_tokens_mask: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: object,
    ) -> FusionClassifierOutput:
        """Classify sequences with their tracks, one sequence per row.

        Args:
            input_ids: as in KmerBertModel.
            attention_mask: as in KmerBertModel.
            token_type_ids: as in KmerBertModel.
            inputs_embeds: as in KmerBertModel.
            tracks: (batch, tracks), raw values per sequence, NaN where missing; None if the model has no such tracks.
            nt_tracks: (batch, nt, tracks), raw values per nucleotide, from the first one on, NaN where missing and
                beyond the end of a sequence; None if the model has no such tracks.
            labels: as in KmerBertForSequenceClassification.
            special_tokens_mask: as in KmerBertForTokenClassification.
            num_items_in_batch: as in KmerBertForSequenceClassification.
            kwargs: as in KmerBertForSequenceClassification.

        Raises:
            ValueError: if tracks or labels do not fit the model or the sequences, or rows are packed.
        """
        if kwargs.get("position_ids") is not None:
            raise ValueError("a fusion model takes one sequence per row, not packed rows; omit position_ids")
        self._check_tracks("tracks", tracks, self.config.track_names, "batch", "tracks")
        self._check_tracks("nt_tracks", nt_tracks, self.config.nt_track_names, "batch", "nt", "tracks")
        kwargs["return_dict"] = True  # the output is read by name, whatever config.return_dict says
        outputs = self.bert(input_ids, attention_mask, token_type_ids, inputs_embeds=inputs_embeds, **kwargs)
        hidden = outputs.last_hidden_state
        if self.fusion is not None and nt_tracks is not None:
            kmers = kmer_tokens(self.config, input_ids, special_tokens_mask)
            hidden = self.fusion(hidden, self._per_token(nt_tracks, kmers).to(hidden.dtype), attention_mask)
        joined = self.pooler(hidden, attention_mask)  # (batch, hidden)
        if self.tracks is not None and tracks is not None:
            numbers = standardise(tracks, self.config.track_means, self.config.track_stds)
            joined = torch.cat([joined, self.tracks(numbers.to(joined.dtype))], -1)  # (batch, 2 * hidden)
        logits = self.classifier(self.dropout(self.join(self.dropout(joined)).relu()))
        return self.sequence_output(
            FusionClassifierOutput, logits, labels, num_items_in_batch, outputs, fused_states=hidden
        )

    def _per_token(self, nt_tracks: Tensor, kmers: Tensor) -> Tensor:
        """Average standardised tracks over the nucleotides of each token, (batch, tokens, 2 * tracks)."""
        features = standardise(nt_tracks, self.config.nt_track_means, self.config.nt_track_stds)
        tracks = nt_tracks.shape[-1]
        missing = torch.cat([features.new_zeros(tracks), features.new_ones(tracks)])  # all values of a special token
        return nt_to_tokens(features, kmers, self.config.k, self.config.stride, elsewhere=missing)

    def _check_tracks(self, name: str, values: Tensor | None, names: list[str] | None, *axes: str) -> None:
        """Raise ValueError if tracks do not have these axes, or are not as many as the model has."""
        if not names:
            if values is not None:
                raise ValueError(f"{name} must be omitted: the model has none")
            return
        if values is None or values.ndim != len(axes) or values.shape[-1] != len(names):
            given = "none" if values is None else tuple(values.shape)
            raise ValueError(f"{name} must be ({', '.join(axes)}) of {names}, not {given}")
