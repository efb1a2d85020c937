"""Dropout that is fast on a CPU, where torch's own dropout takes longer than the matrix products around it.

On a CPU, torch draws one random number after another. Here each value takes 16 random bits from numpy's generator
SFC64, which is much faster. Every call seeds SFC64 with a number from torch's generator, so seeds, checkpoints and
resumed runs work as with torch's dropout.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .compat import is_tracing

LEVELS = 2**16


def drop(states: Tensor, p: float, training: bool = True) -> Tensor:
    """Set values to 0 with probability ``p`` and divide the other values by 1 - p.

    On a CPU, ``p`` is rounded to a multiple of 1 / 65,536, also in the division, so that dropout keeps the expected
    value (in bfloat16 and float16, up to the rounding of 1 / (1 - p) to that type).

    Args:
        states: tensor of any shape.
        p: probability that a value is dropped, 0..1.
        training: return the states as they are if False.

    Returns:
        The states after dropout, in the same shape.
    """
    # When torch.compile or an exporter traces the model, numpy's random numbers would become constants of the graph.
    if states.device.type != "cpu" or not training or not 0 < p < 1 or is_tracing(states):
        return nn.functional.dropout(states, p, training)
    return states * keep_factors(states.shape, p, states.dtype)


def keep_factors(shape: Sequence[int], p: float, dtype: torch.dtype) -> Tensor:
    """Draw the factors of dropout: 0 with probability ``p``, or else 1 / (1 - p).

    Args:
        shape: shape of the result.
        p: probability of 0, which is rounded to a multiple of 1 / 65,536 below 1.
        dtype: type of the result.
    """
    num_dropped = min(round(p * LEVELS), LEVELS - 1)  # of the 65,536 values of an int16, the lowest ones give 0
    threshold = num_dropped - LEVELS // 2  # int16 runs from -32,768
    factors = torch.empty(shape, dtype=dtype)
    torch.ge(draw_int16(shape), threshold, out=factors)  # 1 if kept
    return factors.mul_(LEVELS / (LEVELS - num_dropped))


def draw_int16(shape: Sequence[int]) -> Tensor:
    """Draw int16 numbers, all 65,536 equally likely, from SFC64 seeded by torch's generator."""
    size = math.prod(shape)
    generator = np.random.Generator(np.random.SFC64(int(torch.randint(2**63 - 1, ()))))
    words = generator.integers(2**64, size=-(-size // 4), dtype=np.uint64)  # 4 int16 each; -(-a // b) rounds up
    return torch.from_numpy(words.view(np.int16)[:size]).view(tuple(shape))


class KmerBertDropout(nn.Dropout):
    """Dropout of hidden states; see `drop`. It never changes its input in place.

    Args:
        p: probability that a value is dropped.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, input: Tensor) -> Tensor:
        """Drop values of any shape, while training."""
        return drop(input, self.p, self.training)
