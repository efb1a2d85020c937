"""Positions: neighbours are alike, rotations are complex products, stretched tables lie on lines."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.positions import apply_rotary, rotation, sinusoidal_positions, stretch_positions


def test_nearby_positions_start_alike() -> None:
    positions = sinusoidal_positions(512, 64)
    likeness = torch.nn.functional.cosine_similarity(positions[100:101], positions[100:120])
    assert (likeness[:5].diff() < 0).all() and likeness[0] == pytest.approx(1)
    assert sinusoidal_positions(10, 7).shape == (10, 7)


@given(st.integers(0, 200), st.integers(1, 8))
def test_rotating_equals_multiplying_by_a_complex_number(position: int, half: int) -> None:
    states = torch.randn(1, 1, 1, 2 * half, generator=torch.Generator().manual_seed(half))
    turned = apply_rotary(states, *rotation(torch.tensor([[position]]), 2 * half, 100.0))[0, 0, 0]
    complex_states = torch.complex(states[0, 0, 0, :half].double(), states[0, 0, 0, half:].double())
    angle = position * 100.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    expected = complex_states * torch.polar(torch.ones_like(angle), angle)
    assert torch.allclose(turned.double(), torch.cat([expected.real, expected.imag]), atol=1e-4)


@given(st.integers(2, 12), st.integers(1, 40))
def test_stretched_positions_lie_on_the_line_between_their_neighbours(before: int, after: int) -> None:
    table = torch.randn(before, 3, generator=torch.Generator().manual_seed(before))
    stretched = stretch_positions(table, after)
    assert stretched.shape == (after, 3)
    for place in range(after):
        where = place * (before - 1) / max(1, after - 1)
        low, share = min(int(where), before - 2), where - min(int(where), before - 2)
        assert torch.allclose(stretched[place], table[low] * (1 - share) + table[low + 1] * share, atol=1e-4)
