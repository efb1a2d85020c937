"""Spans against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.batches.chance import random_bits, row_keys
from hf_genomics.batches.masking import draw_starts, draw_starts_by_rate, span_places


@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_spans_equal_a_double_loop(rows: int, tokens: int, span: int, share: float, seed: int) -> None:
    starts = np.random.default_rng(seed).random((rows, tokens + span - 1)) < share
    expected = set()
    for row, column in zip(*np.nonzero(starts), strict=True):
        for token in range(column - span + 1, column + 1):
            if 0 <= token < tokens:
                expected.add(int(row * tokens + token))
    assert span_places(*np.nonzero(starts), span, tokens).tolist() == sorted(expected)


def starts_slowly(key: np.ndarray, rate: float, columns: int) -> list[int]:
    """Go from gap to gap."""
    starts, place, number = [], -1, 0
    while True:
        bits = int(random_bits(key, 0, 1, number)[0, 0])
        place, number = place + 1 + int(math.log(((bits >> 11) + 1) * 2.0**-53) / math.log1p(-rate)), number + 1
        if place >= columns:
            return starts
        starts.append(place)


@given(st.integers(0, 2**31), st.integers(0, 9), st.integers(0, 2**40), st.floats(1e-4, 0.9), st.integers(1, 400))
def test_span_starts_drawn_at_once_are_those_drawn_gap_by_gap(seed, epoch, index, rate, columns) -> None:
    keys = row_keys(seed, np.array([epoch, 0, 1]), np.array([index, 1, 2]))
    rows, starts = draw_starts(keys, rate, columns)
    found = [starts[rows == row].tolist() for row in range(3)]
    assert found == [starts_slowly(keys[row : row + 1], rate, columns) for row in range(3)]
    assert (np.diff(rows * columns + starts) > 0).all(), "in reading order"


def test_every_column_starts_a_span_with_the_same_chance() -> None:
    _, starts = draw_starts(row_keys(3, np.zeros(1), np.arange(20_000)), 0.05, 60)
    shares = np.bincount(starts, minlength=60) / 20_000
    assert abs(shares.mean() - 0.05) < 0.001
    assert np.abs(shares - 0.05).max() < 0.007  # 4.5 standard deviations


def test_a_wider_row_begins_with_the_starts_of_a_narrow_one() -> None:
    keys = row_keys(1, np.zeros(1), np.arange(50))
    narrow, wide = (np.stack(draw_starts(keys, 0.1, columns)) for columns in (40, 300))
    assert np.array_equal(narrow, wide[:, wide[1] < 40])


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_start_rate_out_of_range_is_an_error(rate: float) -> None:
    keys = row_keys(1, np.zeros(1), np.arange(2))
    with pytest.raises(ValueError, match=f"start_rate .*not {rate}"):
        draw_starts(keys, rate, 10)
    with pytest.raises(ValueError, match=f"start_rate .*not {rate}"):
        draw_starts_by_rate(keys, np.array([0.5, rate]), 10)
