"""Packing: every token once, no row too long, positions that start again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.batches.packing import pack_rows, plan_rows

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=30)


def plan_slowly(lengths: list[int], max_tokens: int, in_order: bool) -> list[list[int]]:
    """First-fit decreasing, or next-fit, row by row."""
    numbers, rows = list(range(len(lengths))), []
    if not in_order:
        numbers.sort(key=lambda number: -lengths[number])
    for number in numbers:
        for row in rows[-1:] if in_order else rows:
            if sum(lengths[other] for other in row) + lengths[number] <= max_tokens:
                row.append(number)
                break
        else:
            rows.append([number])
    return rows


@given(LENGTHS, st.integers(12, 30), st.booleans())
def test_the_plan_equals_a_loop(lengths: list[int], max_tokens: int, in_order: bool) -> None:
    found = plan_rows(np.array(lengths), max_tokens, in_order=in_order)
    assert [row.tolist() for row in found] == plan_slowly(lengths, max_tokens, in_order)


@given(LENGTHS, st.one_of(st.none(), st.integers(12, 30)), st.booleans())
def test_packed_rows_hold_every_window_once_and_whole(
    lengths: list[int], max_tokens: int | None, in_order: bool
) -> None:
    width = max(lengths)
    real = np.arange(width) < np.array(lengths)[:, None]
    ids = np.where(real, np.arange(1, len(lengths) * width + 1).reshape(-1, width), 0)
    columns = {"input_ids": ids, "labels": np.where(real, ids, -100), "attention_mask": real.astype(np.int64)}
    packed = pack_rows(columns, np.array(lengths), max_tokens, in_order=in_order)
    assert {column.shape for column in packed.values()} == {packed["input_ids"].shape}
    assert packed["input_ids"].shape[1] == (sum(lengths) if max_tokens is None else max_tokens)
    shown = packed["attention_mask"] == 1
    assert (packed["labels"] == np.where(shown, packed["input_ids"], -100)).all()
    assert (packed["input_ids"][~shown] == 0).all() and (packed["position_ids"][~shown] == 0).all()
    windows = []
    for row, places, there in zip(packed["input_ids"], packed["position_ids"], shown, strict=True):
        assert not there.any() or there[: there.sum()].all(), "padding is on the right"
        starts = np.flatnonzero(places[there] == 0)
        windows += [part.tolist() for part in np.split(row[there], starts[1:])]
    expected = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
    assert sorted(windows) == expected
    assert windows == expected or not in_order
    if max_tokens is None and not in_order:
        assert list(map(len, windows)) == sorted(lengths), "equal lengths side by side"


@pytest.mark.parametrize("length", [0, 9])
def test_a_window_that_does_not_fit_is_named(length: int) -> None:
    with pytest.raises(ValueError, match=f"window 1 has {length} tokens, but a packed row takes 1 to 8"):
        plan_rows(np.array([3, length]), 8)


@pytest.mark.parametrize("max_tokens", [None, 8])
def test_an_empty_window_is_named_whatever_the_length_of_rows(max_tokens: int | None) -> None:
    with pytest.raises(ValueError, match="window 1 has 0 tokens"):
        pack_rows({"input_ids": np.array([[5, 6], [0, 0], [7, 0]])}, np.array([2, 0, 1]), max_tokens)


def test_other_columns_are_padded_with_what_they_ask_for() -> None:
    packed = pack_rows({"input_ids": np.array([[7, 7]])}, np.array([2]), 3, fill={"input_ids": 1})
    assert packed["input_ids"].tolist() == [[7, 7, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
@pytest.mark.parametrize("max_tokens", [None, 6])
def test_lengths_may_be_of_any_integer_type(dtype, max_tokens):
    ids, lengths = np.arange(12).reshape(3, 4), np.array([3, 4, 2])
    packed, expected = (pack_rows({"input_ids": ids}, one, max_tokens) for one in (lengths.astype(dtype), lengths))
    assert all((packed[name] == expected[name]).all() for name in expected)
