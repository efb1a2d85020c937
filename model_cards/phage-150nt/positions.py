"""Positions of tokens: sinusoids to add, learned tables to stretch, and rotations of queries and keys."""

import torch
from torch import Tensor, nn

# Amplitude of the sinusoids that are added to k-mer embeddings, whose initial standard deviation is 0.1.
AMPLITUDE = 0.084
# No wavelength exceeds 2 pi times this number of tokens. The first is for fixed sinusoids (Vaswani et al. 2017), the
# second for the sinusoids to which learned positions are initialised.
SINUSOIDAL_BASE, LEARNED_BASE = 10000.0, 1000.0


def sinusoids(positions: Tensor, size: int, base: float) -> Tensor:
    """Compute sines and cosines, in alternation, with wavelengths from 2 pi to 2 pi ``base`` tokens.

    Args:
        positions: (...), positions of tokens.
        size: number of features of each position.
        base: longest wavelength, divided by 2 pi, in tokens.

    Returns:
        (..., size).
    """
    frequency = base ** (-torch.arange(0, size, 2, device=positions.device) / size)
    angle = positions.unsqueeze(-1) * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., :size]


def sinusoidal_positions(
    positions: int, hidden_size: int, amplitude: float = AMPLITUDE, base: float = LEARNED_BASE
) -> Tensor:
    """Compute the sinusoids to which learned positions are initialised, (positions, hidden_size)."""
    return amplitude * sinusoids(torch.arange(positions), hidden_size, base)


def stretch_positions(table: Tensor, positions: int) -> Tensor:
    """Interpolate a table of learned positions linearly; its first and last row stay as they are.

    >>> stretch_positions(torch.tensor([[0.0], [2.0], [4.0]]), 5).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]

    Args:
        table: (old positions, hidden).
        positions: number of rows of the result.

    Returns:
        (positions, hidden).
    """
    columns = table.float().T.unsqueeze(0)  # (1, hidden, old positions)
    stretched = nn.functional.interpolate(columns, size=positions, mode="linear", align_corners=True)
    return stretched[0].T.to(table.dtype).contiguous()


def rotation(positions: Tensor, size: int, base: float) -> tuple[Tensor, Tensor]:
    """Compute the cosines and sines by which rotary positions rotate queries and keys.

    Args:
        positions: (batch, tokens).
        size: features of a head.
        base: longest wavelength, divided by 2 pi, in tokens.

    Returns:
        Cosines and sines, (batch, tokens, 1, size) each.
    """
    frequency = base ** (-torch.arange(0, size, 2, device=positions.device) / size)
    angle = (positions.unsqueeze(-1) * frequency).repeat(1, 1, 2).unsqueeze(2)
    return angle.cos(), angle.sin()


def apply_rotary(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate queries or keys; features i and i + size / 2 are a point in the plane.

    Args:
        states: queries or keys, (batch, tokens, heads, size).
        cosines: (batch, tokens, 1, size), as `rotation` returns them.
        sines: (batch, tokens, 1, size), as `rotation` returns them.

    Returns:
        The shape and type of ``states``.

    Source: Su et al. 2021 (RoFormer).
    """
    first, second = states.float().chunk(2, dim=-1)
    return (states * cosines + torch.cat([-second, first], -1) * sines).to(states.dtype)
