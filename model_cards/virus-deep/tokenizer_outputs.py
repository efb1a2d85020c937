"""Turn encoded rows into what a call of `KmerTokenizer` returns: padded as requested, as lists, arrays or tensors."""

from typing import Any

import numpy as np
from transformers import BatchEncoding
from transformers.utils import PaddingStrategy, TensorType, logging

from .tokenizer_arguments import CallOptions

# The logger and the key with which transformers' other tokenizers give the same warning.
logger = logging.get_logger("transformers.tokenization_utils_base")
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"


def warn_if_too_long(longest: int, model_max_length: int, call: CallOptions, warned: dict[str, bool]) -> None:
    """Warn about rows that are too long for the model, once per tokenizer and in transformers' words.

    Args:
        longest: number of tokens in the longest row.
        model_max_length: largest number of tokens that the model takes; 0 if unknown.
        call: options of the call; a ``max_length`` or ``verbose=False`` turns the warning off.
        warned: warnings that the tokenizer has given; changed in place.
    """
    if call.max_length is None and call.verbose and 0 < model_max_length < longest and not warned.get(_TOO_LONG):
        warned[_TOO_LONG] = True
        logger.warning(
            "Token indices sequence length is longer than the specified maximum sequence length for this model "
            f"({longest} > {model_max_length}); shorten it with truncation=True, or cut it with KmerTokenizer.windows"
        )


def pad_matrices(
    matrices: dict[str, np.ndarray], lengths: np.ndarray, width: int, pad_id: int, *, left: bool
) -> dict[str, np.ndarray]:
    """Widen right-padded matrices, and move the padding to the left with ``left``.

    Args:
        matrices: name -> (rows, longest) or (rows, longest, 2), padded on the right.
        lengths: number of tokens in each row, (rows,).
        width: smallest number of tokens that a padded row should have.
        pad_id: id of [PAD].
        left: whether the padding goes to the left.

    Returns:
        name -> (rows, max(width, longest)) or (rows, max(width, longest), 2).
    """
    longest = matrices["input_ids"].shape[1]
    if width <= longest and not left:
        return matrices
    fills = {"input_ids": pad_id, "special_tokens_mask": 1}  # [PAD] is a special token; other matrices are 0 there
    width = max(width, longest)
    # Where each new column comes from: shifted right by a row's padding if that goes to the left.
    source = np.arange(width) - ((width - lengths)[:, None] if left else 0)
    is_token = np.broadcast_to((source >= 0) & (source < lengths[:, None]), (len(lengths), width))
    source = np.clip(np.broadcast_to(source, is_token.shape), 0, max(0, longest - 1))
    padded = {}
    for name, matrix in matrices.items():
        fill = fills.get(name, 0)
        if not longest:  # the matrix has no values to copy
            padded[name] = np.full((len(lengths), width, *matrix.shape[2:]), fill)
            continue
        shape = (slice(None), slice(None), *[None] * (matrix.ndim - 2))
        padded[name] = np.where(is_token[shape], matrix[np.arange(len(lengths))[:, None], source], fill)
    return padded


def padded_width(longest: int, call: CallOptions) -> int:
    """Compute how wide padded rows should be, in tokens.

    Args:
        longest: number of tokens in the longest row.
        call: options of the call.
    """
    width = longest
    if call.padding_strategy == PaddingStrategy.MAX_LENGTH and call.max_length is not None:
        width = call.max_length
    return -(-width // call.pad_to_multiple_of) * call.pad_to_multiple_of if call.pad_to_multiple_of else width


def even_encoding(arrays: dict[str, np.ndarray], tensor_type: Any) -> BatchEncoding:
    """Turn arrays of rows that have the same width into lists, arrays or tensors."""
    if not tensor_type:
        return BatchEncoding({name: array.tolist() for name, array in arrays.items()})
    if TensorType(tensor_type) == TensorType.PYTORCH:
        import torch

        return BatchEncoding({name: torch.from_numpy(array) for name, array in arrays.items()})  # shares the memory
    return BatchEncoding(arrays)


def ragged_encoding(
    arrays: dict[str, np.ndarray], row_widths: np.ndarray, tensor_type: Any, *, left: bool, single: bool
) -> BatchEncoding:
    """Turn padded arrays into lists, each row cut to its own width.

    Args:
        arrays: name -> (rows, width), (rows, width, 2), or with one number per row (rows,).
        row_widths: number of tokens in each row, the requested padding included, (rows,).
        tensor_type: requested kind of tensor; BatchEncoding then explains why ragged rows do not make a tensor.
        left: whether the padding is on the left.
        single: whether to omit the axis of rows.
    """
    content: dict[str, Any] = {
        name: array.tolist() if array.ndim == 1 else _ragged(array, row_widths, left) for name, array in arrays.items()
    }
    if single:
        content = {name: rows[0] for name, rows in content.items()}
    return BatchEncoding(content, tensor_type=tensor_type)


def _ragged(matrix: np.ndarray, row_widths: np.ndarray, left: bool) -> list:
    """Turn a padded matrix into lists, each row cut to its own width."""
    rows = matrix.tolist()
    if matrix.ndim == 3:
        rows = [[tuple(pair) for pair in row] for row in rows]
    pairs = zip(rows, row_widths.tolist(), strict=True)
    return [row[len(row) - width :] if left else row[:width] for row, width in pairs]
