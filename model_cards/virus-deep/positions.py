"""Positions of tokens: sinusoids to add, learned tables to stretch, and rotations of queries and keys."""

import torch
from torch import Tensor, nn

# Amplitude of the sinusoids that are added to the k-mer embeddings. The embeddings have an initial standard deviation
# of 0.1, and these sinusoids one of 0.084 / sqrt(2) = 0.06; an amplitude of 1 would drown the embeddings.
AMPLITUDE = 0.084
# Bases of the wavelengths, all of which are shorter than 2 pi times the base, in tokens. The first is for the fixed
# positions of tokens (Vaswani et al. 2017). The second is for the initial values of learned positions, and for the
# fixed positions of the parts of a sequence (modeling_hierarchical.py).
SINUSOIDAL_BASE, LEARNED_BASE = 10000.0, 1000.0


def sinusoids(positions: Tensor, size: int, base: float) -> Tensor:
    """Compute sines and cosines, in alternation, with wavelengths from 2 pi to almost 2 pi ``base`` tokens.

    Args:
        positions: (...), positions of tokens.
        size: number of features of each position.
        base: limit of the wavelengths, divided by 2 pi, in tokens.

    Returns:
        (..., size).
    """
    frequency = base ** (-torch.arange(0, size, 2, device=positions.device) / size)
    angle = positions.unsqueeze(-1) * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., :size]


def sinusoidal_positions(
    num_positions: int, hidden_size: int, amplitude: float = AMPLITUDE, base: float = LEARNED_BASE
) -> Tensor:
    """Compute the sinusoids of positions 0, 1, 2, ..., such as the initial values of learned positions.

    Args:
        num_positions: number of positions.
        hidden_size: number of features of each position.
        amplitude: amplitude of the sinusoids.
        base: as in `sinusoids`.

    Returns:
        (num_positions, hidden_size).
    """
    return amplitude * sinusoids(torch.arange(num_positions), hidden_size, base)


def stretch_positions(table: Tensor, num_positions: int) -> Tensor:
    """Interpolate a table of learned positions linearly; its first and last row stay as they are.

    >>> stretch_positions(torch.tensor([[0.0], [2.0], [4.0]]), 5).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]

    Args:
        table: (old positions, hidden).
        num_positions: number of rows of the result.

    Returns:
        (num_positions, hidden).
    """
    columns = table.float().T.unsqueeze(0)  # (1, hidden, old positions)
    stretched = nn.functional.interpolate(columns, size=num_positions, mode="linear", align_corners=True)
    return stretched[0].T.to(table.dtype).contiguous()


def rotation(positions: Tensor, size: int, base: float) -> tuple[Tensor, Tensor]:
    """Compute the cosines and sines by which rotary positions rotate queries and keys.

    Args:
        positions: (batch, tokens).
        size: features of a head.
        base: limit of the wavelengths, divided by 2 pi, in tokens.

    Returns:
        Cosines and sines, (batch, tokens, 1, size) each. The sines of the first half are negative, as `apply_rotary`
        needs them.
    """
    frequency = base ** (-torch.arange(0, size, 2, device=positions.device) / size)
    angle = (positions.unsqueeze(-1) * frequency).unsqueeze(2)
    cosines, sines = angle.cos(), angle.sin()
    return torch.cat([cosines, cosines], -1), torch.cat([-sines, sines], -1)


def apply_rotary(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate queries or keys; features i and i + size / 2 are the two coordinates of one point.

    Args:
        states: queries or keys, (batch, tokens, heads, size).
        cosines: (batch, tokens, 1, size), as `rotation` returns them.
        sines: (batch, tokens, 1, size), as `rotation` returns them.

    Returns:
        The shape and type of ``states``.

    Source: Su et al. 2021 (RoFormer).
    """
    # (first, second) becomes (first cos - second sin, second cos + first sin). Only one new array is allocated; with
    # five of them, a CPU took 1.4 times as long.
    points = states.float()
    first, second = points.chunk(2, dim=-1)
    return torch.cat([second, first], -1).mul_(sines).addcmul_(points, cosines).to(states.dtype)
