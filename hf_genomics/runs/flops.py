"""The arithmetic of a training step: the operations that it needs, and how many a device can do (for the MFU).

Counted are matrix products, forward and backward (a backward pass takes two for each one forward), a multiplication and
an addition as two operations. What a step needs is counted, not what is computed: windows by their real lengths,
no padding, nothing twice (gradient checkpointing). Model FLOPs utilisation (MFU) is that, per second, as a share of the
device's peak.

Source: PaLM (Chowdhery et al. 2022), appendix B, for MFU; here with the attention of packed windows and a head on
masked tokens only.
"""

from __future__ import annotations

import functools
import time

import torch
from torch import Tensor

from ..configuration_kmer_bert import KmerBertConfig

_BACKWARD_TOO = 3  # products in a step for each one forward
_SMALLEST, _LARGEST = 512, 8192  # rows of the square matrices
_LONG = 0.01  # seconds of a product after which no larger one is tried; it would take eight times as long


def training_flops(
    config: KmerBertConfig, tokens: float, pairs: float, predicted: float, *, narrow: bool = False
) -> float:
    """Count the operations of training on some tokens with the masked-token head.

    Args:
        config: sizes.
        tokens: that are no padding.
        pairs: of tokens that attend to each other, summed over layers, as `attention_pairs` counts them.
        predicted: tokens that the head gives logits for: the masked ones, with ``sparse_prediction`` off all.
        narrow: the last layer computes these alone, but for keys and values; so it is on a CPU (`narrows`).

    Returns:
        floating point operations, forward and backward.
    """
    hidden = config.hidden_size
    read = 2 * hidden * hidden  # key, value
    asked = 2 * hidden * hidden + 2 * hidden * config.intermediate_size  # query, output; feed-forward
    head = hidden * hidden + hidden * config.num_embeddings
    layers, last = config.num_hidden_layers - 1, predicted if narrow else tokens
    linear = tokens * ((layers + 1) * read + layers * asked) + last * asked + predicted * head
    return _BACKWARD_TOO * 2.0 * (linear + pairs * 2 * hidden)


def narrows(config: KmerBertConfig, device: torch.device) -> bool:
    """Tell whether the last layer of a masked-token model computes predicted tokens alone on a device."""
    return device.type == "cpu" and config.sparse_prediction and config.window_of(config.num_hidden_layers - 1) is None


def flops_per_token(config: KmerBertConfig, length: int, masked_share: float = 0.15) -> float:
    """Count the operations of training on a token of windows of ``length`` tokens, ``masked_share`` of them predicted.

    >>> round(flops_per_token(KmerBertConfig(), 512) / 1e6)
    570
    >>> round(flops_per_token(KmerBertConfig(), 512, masked_share=1.0) / 1e6)
    589
    """
    pairs = attention_pairs(config, torch.arange(length), torch.ones(length)).item()
    return training_flops(config, 1, pairs / length, masked_share)


def attention_pairs(config: KmerBertConfig, positions: Tensor, real: Tensor, asked: Tensor | None = None) -> Tensor:
    """Count the pairs of tokens that attend to each other, summed over the layers of a model.

    A window of n tokens has n^2 = 1 + 3 + ... + (2n - 1) pairs: 2p + 1 for its token at position p. Where a layer sees
    ``sliding_window`` tokens to either side, p counts no further than that. So no window needs to be looked for.

    >>> int(attention_pairs(KmerBertConfig(num_hidden_layers=1), torch.tensor([0, 1, 2, 0, 1, 0]), torch.ones(6)))
    14

    Args:
        config: layers and windows.
        positions: (..., tokens) of each token in its window.
        real: (..., tokens), 0 or False on padding.
        asked: bool (..., tokens), those that the last layer computes where that is not all; they are counted by their
            positions too, which is right on the average of tokens that lie anywhere in their windows.

    Returns:
        () int64, on the device of ``positions``.
    """
    reaches = [config.window_of(layer) for layer in range(config.num_hidden_layers)]
    everywhere, last = real.bool(), reaches.pop()
    total = _pairs(positions, last, everywhere if asked is None else asked)
    for reach in set(reaches):
        total += _pairs(positions, reach, everywhere) * reaches.count(reach)
    return total


def _pairs(positions: Tensor, reach: int | None, counted: Tensor) -> Tensor:
    seen = positions if reach is None else positions.clamp(max=reach)
    return ((2 * seen + 1) * counted).sum()


def measure_peak(device: torch.device | str, dtype: torch.dtype) -> float:
    """Measure how many operations a second a device does in square matrix products.

    Takes about 0.1 s, and no number from the global random generators. The result is remembered for the process.

    Args:
        device: a CPU is measured with torch's number of threads, by the time that these really ran: what else runs on
            the machine lowers the MFU of a run, not the peak.
        dtype: of the factors.

    Returns:
        floating point operations per second.
    """
    return _measured_peak(torch.device(device), dtype, torch.get_num_threads())


@functools.lru_cache
def _measured_peak(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    generator, seconds, size = torch.Generator(device).manual_seed(0), 0.0, _SMALLEST // 2
    while seconds < _LONG and size < _LARGEST:
        size *= 2
        factor = torch.randn(size, size, generator=generator, device=device).to(dtype)  # power depends on the numbers
        seconds = min(_product_seconds(factor, threads) for _ in range(4))  # the first of them may load kernels
    return 2.0 * size**3 / seconds


@torch.no_grad()
def _product_seconds(factor: Tensor, threads: int) -> float:
    """Time a product of a matrix with itself; on a GPU several, for it takes time to start one."""
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
