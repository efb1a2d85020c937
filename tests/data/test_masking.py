"""Spans against loops, shares against the paper's arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.data.chance import random_bits
from hf_genomics.data.masking import draw_starts, mask_spans, masking_fractions, start_rate_for

SETUPS = {"base": (6, 0.025, 1), "mask8": (8, 0.01875, 1), "printed": (8, 0.02875, 1), "stride3": (3, 0.05, 3)}


@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_spans_equal_a_double_loop(rows: int, tokens: int, span: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    maskable = generator.random((rows, tokens)) < 0.8
    starts = generator.random((rows, tokens + span - 1)) < 0.15
    expected = np.zeros_like(maskable)
    for row, column in zip(*np.nonzero(starts), strict=True):
        for token in range(column - span + 1, column + 1):
            if 0 <= token < tokens:
                expected[row, token] = maskable[row, token]
    assert np.array_equal(mask_spans(maskable, starts), expected)


@pytest.mark.parametrize(
    ("setup", "tokens", "nucleotides"),
    [("base", 14.09, 3.35), ("mask8", 14.05, 5.99), ("printed", 20.81, 9.43), ("stride3", 14.26, 9.98)],
)
def test_the_papers_masked_and_hidden_shares_come_out(setup: str, tokens: float, nucleotides: float) -> None:
    span, rate, stride = SETUPS[setup]
    shares = [round(100 * share, 2) for share in masking_fractions(span, rate, 6, stride)]
    assert shares == [tokens, nucleotides]


@given(st.integers(1, 12), st.floats(0.01, 0.9))
def test_a_start_rate_gives_the_masked_share_it_was_made_for(span: int, share: float) -> None:
    rate = start_rate_for(share, span)
    assert masking_fractions(span, rate, k=6)[0] == pytest.approx(share)


def starts_slowly(seed: int, epoch: int, index: int, rate: float, columns: int) -> np.ndarray:
    starts, place, number = np.zeros(columns, bool), -1, 0
    while True:
        bits = int(random_bits(seed, np.array([epoch]), np.array([index]), 0, 1, number)[0, 0])
        place, number = place + 1 + int(math.log(((bits >> 11) + 1) * 2.0**-53) / math.log1p(-rate)), number + 1
        if place >= columns:
            return starts
        starts[place] = True


@given(st.integers(0, 2**31), st.integers(0, 9), st.integers(0, 2**40), st.floats(1e-4, 0.9), st.integers(1, 400))
def test_span_starts_drawn_at_once_are_those_drawn_gap_by_gap(seed, epoch, index, rate, columns) -> None:
    fast = draw_starts(seed, np.array([epoch, 0]), np.array([index, 1]), rate, columns)
    assert np.array_equal(fast[0], starts_slowly(seed, epoch, index, rate, columns))


def test_every_column_starts_a_span_with_the_same_chance() -> None:
    starts = draw_starts(3, np.zeros(20_000), np.arange(20_000), 0.05, 60)
    assert abs(starts.mean() - 0.05) < 0.001
    assert np.abs(starts.mean(0) - 0.05).max() < 0.007  # 4.5 standard deviations


def test_a_wider_row_begins_with_the_starts_of_a_narrow_one() -> None:
    index = np.arange(50)
    narrow, wide = (draw_starts(1, index * 0, index, 0.1, columns) for columns in (40, 300))
    assert np.array_equal(narrow, wide[:, :40])
