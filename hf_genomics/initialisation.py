"""The start that knows what a k-mer is: words that share letters are alike, heads look at their neighbours.

Nothing but weights of a plain BERT; docs/decisions.md says why it works.
"""

import torch
from torch import Tensor

from .configuration_kmer_bert import KmerBertConfig

# About the logit by which a head prefers its neighbour at the start.
PEAK = 6.0


def kmer_embeddings(k: int, hidden_size: int, scale: float = 0.1, noise: float = 0.002, spared: int = 0) -> Tensor:
    """Draw k-mer embeddings that are sums over their letters, so that k-mers which share letters start out alike.

    Embedding of a k-mer = sum over offsets o of b[o, letter at o], b ~ N(0, scale^2 / k), plus N(0, noise^2). The first
    ``spared`` features have the noise only: they are left to the positions by which heads find their neighbours.

    Returns:
        (4^k, hidden_size), in the order of the vocabulary.
    """
    letters = torch.randn(k, 4, hidden_size) * scale * k**-0.5
    letters[..., :spared] = 0.0
    digits = torch.arange(4**k).unsqueeze(1) // 4 ** torch.arange(k - 1, -1, -1) % 4  # (4^k, k)
    return letters[torch.arange(k), digits].sum(1) + torch.randn(4**k, hidden_size) * noise


def neighbour_offsets(heads: int, k: int, stride: int) -> Tensor:
    """Say how far each head looks at the start, in tokens: evenly to both sides, as far as k-mers share letters.

    >>> neighbour_offsets(4, k=6, stride=1).tolist(), neighbour_offsets(2, k=6, stride=6).tolist()
    ([-4.5, -1.5, 1.5, 4.5], [-1.0, 1.0])
    """
    reach = max(1.0, 0.75 * k / stride)
    return (torch.arange(heads) - (heads - 1) / 2) * 2 * reach / max(1, heads - 1)


def quick_sinusoids(hidden_size: int) -> int:
    """Count the sinusoids that tell neighbours apart: a quarter, of wavelengths up to 36 tokens for a base of 1000."""
    return max(1, hidden_size // 8)


def spared_features(config: KmerBertConfig) -> int:
    """Count the first features that words and token types leave to the positions; rotary ones are not added to them."""
    return 0 if config.position_embedding_type == "rotary" else 2 * quick_sinusoids(config.hidden_size)


def neighbour_weights(hidden_size: int, offsets: Tensor, base: float, peak: float = PEAK) -> tuple[Tensor, Tensor]:
    """Make query and key weights by which a head looks from position p at p + its offset.

    Queries and keys pick the quicker sinusoids of the positions, and the query turns each by the offset, so that their
    product is the sum of cos(w (p + offset - p')).

    Args:
        hidden_size: of tokens with `sinusoids` among their features.
        offsets: (heads,), in tokens.
        base: of the sinusoids.
        peak: about the logit at the offset, where positions are scaled as `sinusoidal_positions` are to words.

    Returns:
        weights of queries and of keys, (hidden, hidden) each, in the layout of ``nn.Linear``.
    """
    heads, size = len(offsets), hidden_size // len(offsets)
    quick = quick_sinusoids(hidden_size)
    count = min(quick, size // 2)
    pairs = torch.linspace(0, quick - 1, count).round().long()
    angles = offsets.unsqueeze(1) * base ** (-2 * pairs / hidden_size)  # (heads, count)
    query, key = torch.zeros(2, heads, size, hidden_size)
    row, sine, cosine = 2 * torch.arange(count), 2 * pairs, 2 * pairs + 1
    key[:, row, sine] = key[:, row + 1, cosine] = 1.0
    query[:, row, sine] = query[:, row + 1, cosine] = angles.cos()
    query[:, row, cosine], query[:, row + 1, sine] = angles.sin(), -angles.sin()
    scale = (2 * peak * size**0.5 / max(1, count)) ** 0.5
    return scale * query.flatten(0, 1), scale * key.flatten(0, 1)


def neighbour_biases(size: int, offsets: Tensor, base: float, peak: float = PEAK) -> tuple[Tensor, Tensor]:
    """Make query and key biases by which a head with rotary positions looks from p at p + its offset.

    Returns:
        biases of queries and of keys, (heads * size) each.
    """
    frequency = base ** (-torch.arange(0, size, 2) / size)
    quick = frequency > 0.15
    angles = offsets.unsqueeze(1) * frequency
    query = torch.cat([angles.cos() * quick, angles.sin() * quick], 1)
    key = torch.cat([quick.float().expand_as(angles), torch.zeros_like(angles)], 1)
    scale = (peak * size**0.5 / max(1, int(quick.sum()))) ** 0.5
    return scale * query.flatten(), scale * key.flatten()
