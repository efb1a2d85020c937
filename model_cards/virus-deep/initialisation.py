"""The k-mer initialisation: k-mers that share letters get similar embeddings, and heads look at neighbouring tokens.

It sets nothing but the initial weights of a plain BERT; docs/decisions/initialisation.md explains why it works. Each
attention head gets an *offset*: the head looks from position p at position p + offset.

`loading` and `initialise` are about something else: if a checkpoint lacks weights, such as those of a new prediction
head, everyone who loads it with the same seed gets the same random numbers for them.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from .compat import init, is_initialised
from .configuration_kmer_bert import KmerBertConfig
from .positions import LEARNED_BASE, SINUSOIDAL_BASE, sinusoidal_positions
from .sequence import CLS_ID, NUM_SPECIAL, PAD_ID, kmer_digits, vocabulary_size

# Roughly the attention score (before the softmax) that an untrained head gives the token at its offset.
PEAK = 6.0
# Seed of the weights that a checkpoint lacks (of the prediction head, usually); None: no model is being loaded.
_HEAD_SEED: ContextVar[int | None] = ContextVar("head_seed", default=None)
QUERY, KEY = 0, 1  # indices of the pair that `neighbour_weights` and `neighbour_biases` return


def initialise_for_kmers(module: nn.Module, model: Any, config: KmerBertConfig) -> None:
    """Set the weights of a module to the k-mer initialisation, if that differs from BERT's.

    Args:
        module: any module, already initialised as in BERT; weights loaded from a checkpoint stay as they are, because
            the functions of `init` leave them alone.
        model: the `KmerBertModel` that the module may belong to.
        config: configuration of the model.
    """
    tables = model.embeddings
    weight: Any = getattr(module, "weight", None)
    if module is tables.word_embeddings:
        _initialise_words(weight, config)
    elif module is getattr(tables, "position_embeddings", None):
        init.copy_(weight, sinusoidal_positions(*weight.shape))
    elif module is tables.token_type_embeddings:
        reserved = torch.arange(weight.shape[1], device=weight.device) < reserved_features(config)
        init.copy_(weight, weight.masked_fill(reserved, 0.0))
    elif isinstance(module, nn.Linear):
        for attention in (layer.attention.self for layer in model.encoder.layer):
            if module is attention.query:
                _initialise_projection(module, QUERY, config)
            elif module is attention.key:
                _initialise_projection(module, KEY, config)


@contextlib.contextmanager
def loading(head_seed: int) -> Iterator[None]:
    """Set the seed of the weights that checkpoints loaded in the ``with`` block lack; see `initialise`.

    Args:
        head_seed: the seed; it has its name from the prediction head, which a pretrained checkpoint lacks.
    """
    previous = _HEAD_SEED.set(head_seed)
    try:
        yield
    finally:
        _HEAD_SEED.reset(previous)


def initialise(module: nn.Module, model: Any, draw: Callable[[nn.Module], None]) -> None:
    """Initialise a module: from the global random numbers in a new model, from its name in a model that is loaded.

    While a model is loaded, the weights that its checkpoint lacks become a function of their names, their shapes and
    the seed of `loading`. Whoever loads the same checkpoint gets the same weights: in another process, on another
    device, in another precision. An adapter that was trained on these weights depends on that.

    Args:
        module: the module, without its children.
        model: the model that the module belongs to.
        draw: initialises all weights of a module from the global random numbers.
    """
    seed = _HEAD_SEED.get()
    if seed is None:
        draw(module)
        return
    own = dict(module.named_parameters(recurse=False))
    # A weight on the device "meta" has a shape but no memory for numbers.
    new = {key: weight for key, weight in own.items() if not (weight.is_meta or is_initialised(weight))}
    if not new:
        return
    name = next(name for name, other in model.named_modules() if other is module)
    drawn = _draw_by_name(module, name, seed, draw)
    for key, weight in new.items():
        init.copy_(weight, drawn[key])


def _draw_by_name(module: nn.Module, name: str, seed: int, draw: Callable[[nn.Module], None]) -> dict[str, Tensor]:
    """Draw the weights of a module as float32 on the CPU, and leave the module and the global random numbers alone."""
    own = dict(module.named_parameters(recurse=False))
    shapes = [(key, tuple(weight.shape)) for key, weight in own.items()]
    digest = hashlib.sha256(f"{seed} {name} {shapes}".encode()).digest()
    scratch = {key: nn.Parameter(torch.zeros(weight.shape), weight.requires_grad) for key, weight in own.items()}
    # `draw` fills the weights of a module, so the module gets other ones for a moment.
    try:
        module._parameters.update(scratch)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would also set the random numbers of GPUs.
            torch.default_generator.manual_seed(int.from_bytes(digest[:8], "little"))
            draw(module)
    finally:
        module._parameters.update(own)
    return {key: weight.data for key, weight in scratch.items()}


def _initialise_words(weight: Tensor, config: KmerBertConfig) -> None:
    """Set token embeddings (tokens, hidden) to sums over letters; another vocabulary keeps BERT's initialisation."""
    # The k-mers of a vocabulary that is not KmerTokenizer's have other ids, or it has no k-mers at all.
    if config.pad_token_id != PAD_ID or len(weight) < vocabulary_size(config.k):
        return
    table, reserved = weight.clone(), reserved_features(config)
    kmers = kmer_embeddings(config.k, weight.shape[1], reserved=reserved)
    table[NUM_SPECIAL : vocabulary_size(config.k)] = kmers
    # [CLS] stands for the whole sequence. Its embedding cancels the embedding of position 0, so that its heads look at
    # no particular place.
    if reserved:
        table[CLS_ID, :reserved] = 0.0
        table[CLS_ID] -= sinusoidal_positions(1, weight.shape[1])[0]
    init.copy_(weight, table)


def _initialise_projection(projection: nn.Linear, query_or_key: int, config: KmerBertConfig) -> None:
    """Set the query or key projection of a layer (QUERY or KEY says which) so that heads look at their offsets."""
    offsets = neighbour_offsets(config.num_attention_heads, config.k, config.stride)
    # Rotary positions rotate queries and keys, so that a bias is enough. Other positions are part of the hidden states.
    if config.position_embedding_type == "rotary":
        size = config.hidden_size // config.num_attention_heads
        init.copy_(projection.bias, neighbour_biases(size, offsets, config.rope_theta)[query_or_key])
    else:
        base = LEARNED_BASE if config.position_embedding_type == "absolute" else SINUSOIDAL_BASE
        neighbours = neighbour_weights(config.hidden_size, offsets, base)[query_or_key]
        init.copy_(projection.weight, projection.weight + neighbours.to(projection.weight))


def kmer_embeddings(k: int, hidden_size: int, scale: float = 0.1, noise: float = 0.002, reserved: int = 0) -> Tensor:
    """Draw k-mer embeddings that are sums over letters, so that k-mers which share letters have similar embeddings.

    The embedding of a k-mer is the sum over its places i of b[i, letter at i], where b ~ N(0, scale^2 / k), plus
    N(0, noise^2).

    Args:
        k: k-mer size in nt.
        hidden_size: features of an embedding.
        scale: standard deviation of an embedding's features.
        noise: standard deviation of the noise, which is independent for each k-mer.
        reserved: number of first features that hold noise only and so are left to the positions.

    Returns:
        (4^k, hidden_size), in the order of the vocabulary.
    """
    letters = torch.randn(k, 4, hidden_size) * scale * k**-0.5
    letters[..., :reserved] = 0.0
    digits = torch.from_numpy(kmer_digits(k)).long()  # (4^k, k)
    return letters[torch.arange(k), digits].sum(1) + torch.randn(4**k, hidden_size) * noise


def neighbour_offsets(heads: int, k: int, stride: int) -> Tensor:
    """Compute the offset of each head, in tokens: evenly to both sides, about as far as k-mers share letters.

    K-mers share letters up to (k - 1) / stride tokens away. An offset may lie between two tokens; the head then looks
    at both of them.

    Args:
        heads: number of heads.
        k: k-mer size in nt.
        stride: nt between the starts of neighbouring tokens.

    Returns:
        (heads,).

    >>> neighbour_offsets(4, k=6, stride=1).tolist(), neighbour_offsets(2, k=6, stride=6).tolist()
    ([-4.5, -1.5, 1.5, 4.5], [-1.0, 1.0])
    """
    reach = max(1.0, 0.75 * k / stride)  # at least the next token, even if it shares no letter
    return (torch.arange(heads) - (heads - 1) / 2) * 2 * reach / max(1, heads - 1)


def quick_sinusoids(hidden_size: int) -> int:
    """Count the sinusoids that change quickly enough to distinguish neighbours: a quarter of all.

    There are ``hidden_size / 2`` pairs of a sine and a cosine. The wavelengths of the first quarter are below 36 tokens
    for a base of 1000.
    """
    return max(1, hidden_size // 8)


def reserved_features(config: KmerBertConfig) -> int:
    """Count the first features, which embeddings of tokens and types leave to added positions; 0 if none are added."""
    return 0 if config.position_embedding_type == "rotary" else 2 * quick_sinusoids(config.hidden_size)


def neighbour_weights(hidden_size: int, offsets: Tensor, base: float, peak: float = PEAK) -> tuple[Tensor, Tensor]:
    """Compute query and key weights by which each head looks at its offset.

    Args:
        hidden_size: features of a token. They include its position, as `positions.sinusoids` computes it.
        offsets: (heads,), in tokens.
        base: longest wavelength of the sinusoids, divided by 2 pi, in tokens.
        peak: roughly the attention score at the offset, for positions of the default amplitude.

    Returns:
        Weights of queries and of keys, (hidden, hidden) each, in the layout of ``nn.Linear``.
    """
    heads, size = len(offsets), hidden_size // len(offsets)  # size: features of a head
    quick = quick_sinusoids(hidden_size)
    count = min(quick, size // 2)
    pairs = torch.linspace(0, quick - 1, count).round().long()  # indices of the sinusoids that a head has room for
    angles = offsets.unsqueeze(1) * base ** (-2 * pairs / hidden_size)  # (heads, count)
    # Queries and keys read the sinusoids with short wavelengths, and the query rotates each of them by the offset. So
    # the product of the query at p and the key at q is the sum of cos(w (p + offset - q)) over the frequencies w, which
    # is highest at q = p + offset.
    query, key = torch.zeros(2, heads, size, hidden_size)
    row, sine, cosine = 2 * torch.arange(count), 2 * pairs, 2 * pairs + 1
    key[:, row, sine] = key[:, row + 1, cosine] = 1.0
    query[:, row, sine] = query[:, row + 1, cosine] = angles.cos()
    query[:, row, cosine], query[:, row + 1, sine] = angles.sin(), -angles.sin()
    # At the offset, the sum of cosines is `count` for bare sinusoids. In a model it is about 0.7 of that (k = 6, 256
    # features), because LayerNorm scales positions together with words. The factor 2 more than makes up for this.
    scale = (2 * peak * size**0.5 / max(1, count)) ** 0.5
    return scale * query.flatten(0, 1), scale * key.flatten(0, 1)


def neighbour_biases(size: int, offsets: Tensor, base: float, peak: float = PEAK) -> tuple[Tensor, Tensor]:
    """Compute query and key biases by which each head looks at its offset, with rotary positions.

    Args:
        size: features of a head.
        offsets: (heads,), in tokens.
        base: longest wavelength of the rotations, divided by 2 pi, in tokens.
        peak: roughly the attention score at the offset.

    Returns:
        Biases of queries and of keys, (heads * size,) each.
    """
    frequency = base ** (-torch.arange(0, size, 2) / size)
    quick = frequency > 0.15  # wavelengths below 42 tokens
    angles = offsets.unsqueeze(1) * frequency
    # Features i and i + size / 2 are a point in the plane, which `positions.apply_rotary` rotates.
    query = torch.cat([angles.cos() * quick, angles.sin() * quick], 1)
    key = torch.cat([quick.float().expand_as(angles), torch.zeros_like(angles)], 1)
    scale = (peak * size**0.5 / max(1, int(quick.sum()))) ** 0.5
    return scale * query.flatten(), scale * key.flatten()
