"""Positions of tokens as numbers: sinusoids that are added, stretched tables of learned ones, rotations."""

import torch
from torch import Tensor, nn

# Of sinusoids that are added to k-mer embeddings, whose standard deviation at the start is 0.1.
AMPLITUDE = 0.084
# Wavelengths of fixed sinusoids (Vaswani et al. 2017) and of those that learned positions start from, / 2 pi tokens.
SINUSOIDAL_BASE, LEARNED_BASE = 10000.0, 1000.0


def sinusoids(positions: Tensor, size: int, base: float) -> Tensor:
    """Give sines and cosines, in turn, of wavelengths 2 pi to 2 pi ``base`` tokens: (...) to (..., size)."""
    frequency = base ** (-torch.arange(0, size, 2, device=positions.device) / size)
    angle = positions.unsqueeze(-1) * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., :size]


def sinusoidal_positions(
    positions: int, hidden_size: int, amplitude: float = AMPLITUDE, base: float = LEARNED_BASE
) -> Tensor:
    """Sines and cosines of geometrically spaced wavelengths, to start learned positions; (positions, hidden_size)."""
    return amplitude * sinusoids(torch.arange(positions), hidden_size, base)


def stretch_positions(table: Tensor, positions: int) -> Tensor:
    """Interpolate learned positions (positions before, hidden) linearly, so that first and last stay what they are.

    >>> stretch_positions(torch.tensor([[0.0], [2.0], [4.0]]), 5).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]

    Returns:
        (positions, hidden).
    """
    columns = table.float().T.unsqueeze(0)  # (1, hidden, positions before)
    stretched = nn.functional.interpolate(columns, size=positions, mode="linear", align_corners=True)
    return stretched[0].T.to(table.dtype).contiguous()


def rotation(positions: Tensor, size: int, base: float) -> tuple[Tensor, Tensor]:
    """Give cosines and sines by which queries and keys are turned: (batch, tokens) to (batch, tokens, 1, size) each."""
    frequency = base ** (-torch.arange(0, size, 2, device=positions.device) / size)
    angle = (positions.unsqueeze(-1) * frequency).repeat(1, 1, 2).unsqueeze(2)
    return angle.cos(), angle.sin()


def rotate(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn features i and i + size / 2 of (batch, tokens, heads, size) about each other (Su et al. 2021, RoFormer)."""
    first, second = states.float().chunk(2, dim=-1)
    return (states * cosines + torch.cat([-second, first], -1) * sines).to(states.dtype)
