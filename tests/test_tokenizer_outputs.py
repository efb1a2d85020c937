"""Padding and the forms of a result, against a loop over rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.utils import PaddingStrategy

from hf_genomics.tokenizer_arguments import CallOptions
from hf_genomics.tokenizer_outputs import even_encoding, pad_matrices, padded_width, ragged_encoding

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=4).map(np.array)


def columns_of(lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Columns padded on the right: every token has a value of its own."""
    width = int(lengths.max())
    is_token = np.arange(width) < lengths[:, None]
    values = 10 + np.arange(len(lengths) * width).reshape(len(lengths), width)
    return {
        "input_ids": np.where(is_token, values, 7),
        "attention_mask": is_token.astype(np.int64),
        "special_tokens_mask": np.where(is_token, values % 2, 1),
        "offset_mapping": np.where(is_token[..., None], np.stack([values, values + 3], -1), 0),
    }


@given(LENGTHS, st.integers(0, 9), st.booleans())
def test_rows_are_padded_one_by_one(lengths: np.ndarray, width: int, left: bool) -> None:
    columns = columns_of(lengths)
    padded = pad_matrices(columns, lengths, width, 7, left=left)
    fills = {"input_ids": 7, "special_tokens_mask": 1, "offset_mapping": [0, 0]}
    width = max(width, int(lengths.max()))
    assert padded.keys() == columns.keys()
    for name, column in padded.items():
        assert column.dtype == np.int64
        for row, before, length in zip(column.tolist(), columns[name].tolist(), lengths.tolist(), strict=True):
            padding = [fills.get(name, 0)] * (width - length)
            assert row == (padding + before[:length] if left else before[:length] + padding)


@pytest.mark.parametrize(
    ("call", "width"),
    [
        (CallOptions(), 5),
        (CallOptions(max_length=9), 5),
        (CallOptions(padding_strategy=PaddingStrategy.MAX_LENGTH), 5),
        (CallOptions(padding_strategy=PaddingStrategy.MAX_LENGTH, max_length=9), 9),
        (CallOptions(padding_strategy=PaddingStrategy.MAX_LENGTH, max_length=9, pad_to_multiple_of=8), 16),
        (CallOptions(padding_strategy=PaddingStrategy.LONGEST, pad_to_multiple_of=8), 8),
    ],
)
def test_the_width_of_rows_is_what_was_asked_for(call: CallOptions, width: int) -> None:
    assert padded_width(5, call) == width


@pytest.mark.parametrize(("kind", "type_of"), [(None, list), ("np", np.ndarray), ("pt", torch.Tensor)])
def test_even_rows_come_in_the_form_that_was_asked_for(kind: str | None, type_of: type) -> None:
    columns = columns_of(np.array([3, 2]))
    encoding = even_encoding(dict(columns), kind)
    for name, column in columns.items():
        assert type(encoding[name]) is type_of
        assert np.asarray(encoding[name]).tolist() == column.tolist()


@given(LENGTHS, st.booleans())
def test_ragged_rows_are_lists_without_the_padding_that_nobody_asked_for(lengths: np.ndarray, left: bool) -> None:
    width = int(lengths.max())
    columns = pad_matrices(columns_of(lengths), lengths, width, 7, left=left) | {"length": lengths}
    encoding = ragged_encoding(columns, lengths, None, left=left, single=False)
    right = columns_of(lengths)
    assert encoding["length"] == lengths.tolist()
    for row, length in enumerate(lengths.tolist()):
        assert encoding["input_ids"][row] == right["input_ids"][row, :length].tolist()
        assert encoding["offset_mapping"][row] == list(map(tuple, right["offset_mapping"][row, :length].tolist()))


def test_a_single_row_has_no_axis_of_rows_and_ragged_rows_make_no_tensor() -> None:
    lengths = np.array([3])
    single = ragged_encoding(columns_of(lengths), lengths, None, left=False, single=True)
    assert single["input_ids"] == [10, 11, 12]
    lengths = np.array([3, 1])
    with pytest.raises(ValueError, match="padding=True"):
        ragged_encoding(columns_of(lengths), lengths, "pt", left=False, single=False)
