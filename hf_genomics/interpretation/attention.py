"""Summarise attention weights: what [CLS] attends to, attention rollout, and the entropy of each head.

Attention shows what a layer reads, not what the prediction rests on; docs/explain.md has numbers. Integrated gradients
are the better evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel


def attention_weights(model: PreTrainedModel, **inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute a model's logits and the attention weights of all layers of its encoder.

    Args:
        model: any KmerBert, in evaluation mode.
        inputs: inputs of the model.

    Returns:
        The logits; and (rows, heads, tokens, tokens) for each layer, rows attend to columns.
    """
    with torch.no_grad():
        outputs = model(**inputs, output_attentions=True)
    return outputs.logits, tuple(outputs.attentions)


def cls_attention(attentions: Sequence[Tensor], real: Tensor) -> Tensor:
    """Return how much [CLS] attends to each token in the last layer, averaged over heads.

    Args:
        attentions: (rows, heads, tokens, tokens) for each layer.
        real: bool (rows, tokens), False on padding, which may be on either side.

    Returns:
        (rows, tokens).

    Source: DNABERT (Ji et al. 2021), DNABERT-viz.
    """
    first = real.int().argmax(1)
    return attentions[-1].mean(1)[torch.arange(len(real), device=real.device), first]


def attention_received(attentions: Sequence[Tensor], real: Tensor) -> Tensor:
    """Return how much attention each token receives, averaged over the tokens that attend, heads and layers.

    Args:
        attentions: as in `cls_attention`.
        real: as in `cls_attention`.

    Returns:
        (rows, tokens), which sum to 1; 0 on padding.
    """
    keep = real.to(attentions[0].dtype)
    mean = torch.stack([layer.mean(1) for layer in attentions]).mean(0)  # (rows, tokens, tokens)
    return (keep.unsqueeze(1) @ mean).squeeze(1) * keep / keep.sum(1, keepdim=True)


def rollout(attentions: Sequence[Tensor], real: Tensor) -> Tensor:
    """Return how much of each token reaches the last layer, averaged over the tokens there.

    A layer is the mean of its attention, averaged over heads, and of the identity (the residual connection); the layers
    are multiplied.

    Args:
        attentions: as in `cls_attention`.
        real: as in `cls_attention`.

    Returns:
        (rows, tokens), which sum to 1; 0 on padding.

    Source: Abnar and Zuidema 2020, "Quantifying attention flow in transformers".
    """
    keep = real.to(attentions[0].dtype)
    reached = torch.diag_embed(keep)  # (rows, tokens, tokens): what each token holds of each token of the input
    for layer in attentions:
        reached = (layer.mean(1) + torch.eye(real.shape[1]).to(keep)) / 2 @ reached
    return (keep.unsqueeze(1) @ reached).squeeze(1) / keep.sum(1, keepdim=True)


def head_entropy(attentions: Sequence[Tensor], real: Tensor) -> Tensor:
    """Compute the entropy of the attention of each head, relative to that of even attention to all tokens.

    Args:
        attentions: as in `cls_attention`.
        real: as in `cls_attention`.

    Returns:
        (rows, layers, heads), the mean over the tokens that attend: 0 for attention to one token, 1 for even attention.
    """
    keep, counts = real.to(attentions[0].dtype), real.sum(1)
    columns = []
    for layer in attentions:
        entropy = -torch.xlogy(layer, layer).sum(-1)  # (rows, heads, tokens)
        columns.append((entropy * keep.unsqueeze(1)).sum(-1) / counts.unsqueeze(1))
    return torch.stack(columns, 1) / counts.log().clamp(min=1e-9)[:, None, None]
