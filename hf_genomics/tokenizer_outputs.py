"""Turn encoded rows into what a call of `KmerTokenizer` returns: padded as asked, as lists, arrays or tensors."""

from typing import Any

import numpy as np
from transformers import BatchEncoding
from transformers.utils import PaddingStrategy, TensorType, logging

from .tokenizer_arguments import CallOptions

# The logger and the key with which transformers' other tokenizers give the same warning.
logger = logging.get_logger("transformers.tokenization_utils_base")
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"


def warn_if_too_long(longest: int, model_max_length: int, call: CallOptions, warned: dict[str, bool]) -> None:
    """Warn of rows that are too long for the model, once per tokenizer and in transformers' words.

    Args:
        longest: tokens of the longest row.
        model_max_length: most tokens that the model takes; 0 if unknown.
        call: options of the call; a ``max_length`` or ``verbose=False`` turns the warning off.
        warned: warnings that the tokenizer has given; changed in place.
    """
    if call.max_length is None and call.verbose and 0 < model_max_length < longest and not warned.get(_TOO_LONG):
        warned[_TOO_LONG] = True
        logger.warning(
            "Token indices sequence length is longer than the specified maximum sequence length for this model "
            f"({longest} > {model_max_length}); shorten it with truncation=True, or cut it with KmerTokenizer.windows"
        )


def pad_columns(
    columns: dict[str, np.ndarray], lengths: np.ndarray, width: int, pad_id: int, *, left: bool
) -> dict[str, np.ndarray]:
    """Widen right-padded columns, and move the padding to the left if asked.

    Args:
        columns: name -> (rows, longest) or (rows, longest, 2), padded on the right.
        lengths: tokens of each row, (rows,).
        width: tokens that a row should have at least.
        pad_id: id of [PAD].
        left: whether the padding goes to the left.

    Returns:
        name -> (rows, max(width, longest)) or (rows, max(width, longest), 2).
    """
    longest = columns["input_ids"].shape[1]
    if width <= longest and not left:
        return columns
    fills = {"input_ids": pad_id, "special_tokens_mask": 1}  # [PAD] is a special token; other columns are 0 there
    width = max(width, longest)
    # Where each new column comes from: shifted right by a row's padding if that goes to the left.
    source = np.arange(width) - ((width - lengths)[:, None] if left else 0)
    is_token = np.broadcast_to((source >= 0) & (source < lengths[:, None]), (len(lengths), width))
    source = np.clip(np.broadcast_to(source, is_token.shape), 0, max(0, longest - 1))
    padded = {}
    for name, column in columns.items():
        fill = fills.get(name, 0)
        if not longest:  # there is no column to take values from
            padded[name] = np.full((len(lengths), width, *column.shape[2:]), fill)
            continue
        shape = (slice(None), slice(None), *[None] * (column.ndim - 2))
        padded[name] = np.where(is_token[shape], column[np.arange(len(lengths))[:, None], source], fill)
    return padded


def padded_width(longest: int, call: CallOptions) -> int:
    """Compute how wide padded rows should be, in tokens.

    Args:
        longest: tokens of the longest row.
        call: options of the call.
    """
    width = longest
    if call.padding_strategy == PaddingStrategy.MAX_LENGTH and call.max_length is not None:
        width = call.max_length
    return -(-width // call.pad_to_multiple_of) * call.pad_to_multiple_of if call.pad_to_multiple_of else width


def even_encoding(columns: dict[str, np.ndarray], tensor_type: Any) -> BatchEncoding:
    """Turn columns of rows that have the same width into lists, arrays or tensors."""
    if not tensor_type:
        return BatchEncoding({name: column.tolist() for name, column in columns.items()})
    if TensorType(tensor_type) == TensorType.PYTORCH:
        import torch

        return BatchEncoding({name: torch.from_numpy(column) for name, column in columns.items()})  # shares the memory
    return BatchEncoding(columns)


def ragged_encoding(
    columns: dict[str, np.ndarray], row_widths: np.ndarray, tensor_type: Any, *, left: bool, single: bool
) -> BatchEncoding:
    """Turn padded columns into lists, each row cut to its own width.

    Args:
        columns: (rows, width), (rows, width, 2), or with one number per row (rows,).
        row_widths: tokens of each row, the padding that was asked for included, (rows,).
        tensor_type: kind of tensor that was asked for; BatchEncoding then explains why ragged rows make no tensor.
        left: whether the padding is on the left.
        single: whether to omit the axis of rows.
    """
    content: dict[str, Any] = {
        name: column.tolist() if column.ndim == 1 else _ragged(column, row_widths, left)
        for name, column in columns.items()
    }
    if single:
        content = {name: column[0] for name, column in content.items()}
    return BatchEncoding(content, tensor_type=tensor_type)


def _ragged(column: np.ndarray, row_widths: np.ndarray, left: bool) -> list:
    """Turn a padded column into lists, each row cut to its own width."""
    rows = column.tolist()
    if column.ndim == 3:
        rows = [[tuple(pair) for pair in row] for row in rows]
    pairs = zip(rows, row_widths.tolist(), strict=True)
    return [row[len(row) - width :] if left else row[:width] for row, width in pairs]
