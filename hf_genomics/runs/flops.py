"""Count the operations that a training step needs, and measure how many a device can do: their ratio is the MFU.

Only matrix products are counted, in the forward and the backward pass (which takes two for each product of the forward
pass). A multiplication and an addition are two operations. What counts is what a step needs, not what is computed: no
padding, only the pairs of tokens that attend to each other, and nothing twice (as gradient checkpointing computes it).
Model FLOPs utilisation (MFU) is this number of operations per second as a share of the device's peak.

Source: PaLM (Chowdhery et al. 2022), appendix B, for MFU; extended by the attention of packed windows and a head on
masked tokens only.
"""

from __future__ import annotations

import functools
import time

import torch
from torch import Tensor
from transformers import TrainingArguments

from ..configuration_kmer_bert import KmerBertConfig

_PRODUCTS = 3  # matrix products of a step for each one of the forward pass: itself, and two in the backward pass
_SMALLEST, _LARGEST = 512, 8192  # rows of the square matrices whose products are timed
_LONG = 0.01  # seconds; after a product this long no larger one is tried, which would take eight times as long


def training_flops(
    config: KmerBertConfig, tokens: float, pairs: float, predicted: float, *, select_last: bool = False
) -> float:
    """Count the operations of training on some tokens with the masked-token head.

    Args:
        config: sizes of the model.
        tokens: number of tokens without padding.
        pairs: number of pairs of tokens that attend to each other, summed over layers; see `attention_pairs`.
        predicted: number of tokens that the head computes logits for: the masked tokens, or all tokens if
            ``sparse_prediction`` is off.
        select_last: whether the last layer computes the predicted tokens only; see `selects_in_last_layer`.

    Returns:
        floating point operations, forward and backward.
    """
    hidden = config.hidden_size
    # Multiplications for one token; the additions follow as a factor of 2 at the end.
    read = 2 * hidden * hidden  # key and value, which every layer computes for all tokens
    computed = 2 * hidden * hidden + 2 * hidden * config.intermediate_size  # query, output; feed-forward
    head = hidden * hidden + hidden * config.num_embeddings
    layers, last = config.num_hidden_layers - 1, predicted if select_last else tokens
    linear = tokens * ((layers + 1) * read + layers * computed) + last * computed + predicted * head
    attention = pairs * 2 * hidden  # the score of each pair, and its value in the weighted sum
    return _PRODUCTS * 2.0 * (linear + attention)


def selects_in_last_layer(config: KmerBertConfig, device: torch.device) -> bool:
    """Return whether the last layer of a masked-token model computes the predicted tokens only, on this device."""
    return device.type == "cpu" and config.sparse_prediction and config.window_of(config.num_hidden_layers - 1) is None


def flops_per_token(config: KmerBertConfig, length: int, masked_share: float = 0.15) -> float:
    """Count the operations of training on one token of windows of equal length.

    Args:
        config: sizes of the model.
        length: number of tokens of a window.
        masked_share: share of the tokens that are predicted.

    >>> round(flops_per_token(KmerBertConfig(), 512) / 1e6)
    570
    >>> round(flops_per_token(KmerBertConfig(), 512, masked_share=1.0) / 1e6)
    589
    """
    pairs = attention_pairs(config, torch.arange(length), torch.ones(length)).item()
    return training_flops(config, 1, pairs / length, masked_share)


def attention_pairs(config: KmerBertConfig, positions: Tensor, real: Tensor, selected: Tensor | None = None) -> Tensor:
    """Count the pairs of tokens that attend to each other, summed over the layers of a model.

    Each pair is counted at the larger of its two positions, which the drawing shows for every pair. That makes 2p + 1
    pairs at position p: p with an earlier token as the key, p with an earlier token as the query, and the token with
    itself::

                  key 0 1 2 3
        query 0       0 1 2 3
              1       1 1 2 3        1 + 3 + 5 + 7 = 16 pairs of 4 tokens
              2       2 2 2 3
              3       3 3 3 3

    In a layer with sliding attention at most ``reach`` earlier tokens count: 2 min(p, reach) + 1 pairs. So the sum
    needs the positions only, not where each window begins.

    >>> int(attention_pairs(KmerBertConfig(num_hidden_layers=1), torch.tensor([0, 1, 2, 0, 1, 0]), torch.ones(6)))
    14

    Args:
        config: layers of the model and how far each one sees.
        positions: (..., tokens), position of each token in its window.
        real: (..., tokens), 0 or False on padding.
        selected: bool (..., tokens), the tokens that the last layer computes; all if None. Their pairs are counted by
            position in the same way, which is right on average for tokens spread evenly over their windows.

    Returns:
        () int64, on the device of ``positions``.
    """
    reaches = [config.window_of(layer) for layer in range(config.num_hidden_layers)]
    everywhere, last = real.bool(), reaches.pop()
    total = _pairs(positions, last, everywhere if selected is None else selected)
    for reach in set(reaches):
        total += _pairs(positions, reach, everywhere) * reaches.count(reach)
    return total


def _pairs(positions: Tensor, reach: int | None, counted: Tensor) -> Tensor:
    """Count the pairs of one layer, at the tokens where ``counted`` is true."""
    seen = positions if reach is None else positions.clamp(max=reach)
    return ((2 * seen + 1) * counted).sum()


def measure_peak(device: torch.device | str, dtype: torch.dtype) -> float:
    """Measure how many operations per second a device does in products of square matrices.

    Takes about 0.1 s and does not change the global random number generators. The process remembers the result.

    Args:
        device: device to measure. A CPU is measured with as many threads as torch uses, by CPU time instead of
            wall-clock time: other work on the machine lowers the MFU of a run, but not the peak.
        dtype: type of the numbers in the matrices.

    Returns:
        floating point operations per second.
    """
    return _measured_peak(torch.device(device), dtype, torch.get_num_threads())


@functools.lru_cache
def _measured_peak(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    # Larger and larger products, since small ones do not use the whole device.
    generator, seconds, size = torch.Generator(device).manual_seed(0), 0.0, _SMALLEST // 2
    while seconds < _LONG and size < _LARGEST:
        size *= 2
        factor = torch.randn(size, size, generator=generator, device=device).to(dtype)  # zeros would run faster
        seconds = min(_product_seconds(factor, threads) for _ in range(4))  # the first one may load kernels
    return 2.0 * size**3 / seconds


@torch.no_grad()
def _product_seconds(factor: Tensor, threads: int) -> float:
    """Return the seconds of a product of a matrix with itself; on a GPU the mean of ten, since launching takes time."""
    if factor.device.type == "cpu":
        begin = time.process_time()
        factor @ factor
        return max(time.process_time() - begin, 1e-9) / threads
    torch.accelerator.synchronize(factor.device)
    begin = time.perf_counter()
    for _ in range(10):
        factor @ factor
    torch.accelerator.synchronize(factor.device)
    return max(time.perf_counter() - begin, 1e-9) / 10


def attention_for(args: TrainingArguments) -> str:
    """Choose the attention backend: sdpa, but eager for bf16 on a CPU, where it is faster (measured)."""
    return "eager" if args.device.type == "cpu" and args.bf16 else "sdpa"
