"""Pack several short windows into one row of tokens, so that almost no token is padding.

Position ids restart at 0 in each window; this is how the model tells windows apart: packed windows never attend to each
other (see `hf_genomics.attention_kmer_bert`).
"""

from __future__ import annotations

import numpy as np

from ..sequence import IGNORE_INDEX


def plan_rows(lengths: np.ndarray, max_tokens: int, *, in_order: bool = False) -> list[np.ndarray]:
    """Choose which windows share a row.

    >>> [row.tolist() for row in plan_rows(np.array([3, 6, 4, 2]), 8)]
    [[1, 3], [2, 0]]
    >>> [row.tolist() for row in plan_rows(np.array([3, 6, 4, 2]), 8, in_order=True)]
    [[0], [1], [2, 3]]

    Args:
        lengths: integer (windows,), number of tokens of each window, 1 to ``max_tokens``.
        max_tokens: number of tokens in a row.
        in_order: keep the windows in their order and begin a new row if a window does not fit; otherwise the longest
            windows come first, each into the first row that has room for it (first-fit decreasing needs at most 11/9
            times the minimum number of rows, plus one).

    Returns:
        Indices of the windows in each row.

    Raises:
        ValueError: if a window does not fit into a row, or is empty.
    """
    _check_lengths(lengths, max_tokens)
    rows: list[list[int]] = []
    room = np.empty(len(lengths), np.int64)  # free tokens of each row; there are no more rows than windows
    order = range(len(lengths)) if in_order else np.argsort(-lengths, kind="stable").tolist()
    for window in order:
        first = max(0, len(rows) - 1) if in_order else 0  # in order, only the last row may take it
        fits = room[first : len(rows)] >= lengths[window]
        row = first + int(fits.argmax()) if fits.any() else len(rows)
        if row == len(rows):
            rows.append([])
            room[row] = max_tokens
        rows[row].append(window)
        room[row] -= lengths[window]
    return [np.array(row) for row in rows]


def _check_lengths(lengths: np.ndarray, max_tokens: int) -> None:
    """Raise ValueError if a window is empty or has more than ``max_tokens`` tokens."""
    wrong = (lengths < 1) | (lengths > max_tokens)
    if wrong.any():
        number = int(wrong.argmax())
        raise ValueError(
            f"window {number} has {lengths[number]} tokens, but a packed row takes 1 to {max_tokens}; "
            "omit empty windows, shorten long ones, or raise max_tokens"
        )


def pack_rows(
    columns: dict[str, np.ndarray],
    lengths: np.ndarray,
    max_tokens: int | None = None,
    *,
    fill: dict[str, int] | None = None,
    in_order: bool = False,
) -> dict[str, np.ndarray]:
    """Take a batch with one padded window per row, and pack several windows into each row.

    >>> ids = np.array([[2, 9, 3, 0], [2, 8, 7, 3], [2, 3, 0, 0]])
    >>> packed = pack_rows({"input_ids": ids}, np.array([3, 4, 2]), 6)
    >>> packed["input_ids"].tolist(), packed["position_ids"].tolist()
    ([[2, 8, 7, 3, 2, 3], [2, 9, 3, 0, 0, 0]], [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 0, 0]])

    Args:
        columns: (windows, tokens) each, such as input_ids and labels; their padding, on the right, is dropped. At least
            one window.
        lengths: integer (windows,), number of tokens of each window, without padding.
        max_tokens: number of tokens in a packed row; None makes one row of all windows, without padding, which is
            fastest on a CPU.
        fill: padding value by column name; by default -100 for labels and 0 for all others.
        in_order: keep the order of windows. Otherwise they are arranged as in `plan_rows`, or, in the one row of
            ``max_tokens=None``, from the shortest to the longest.

    Returns:
        The columns, (rows, max_tokens) each (one row of all tokens for None), with ``position_ids``, which restart at 0
        in each window, and ``attention_mask``, 0 on padding. Which window went where is not returned: what belongs to a
        window must be one of the columns.

    Raises:
        ValueError: if a window does not fit into a row, or is empty.
    """
    lengths = np.asarray(lengths).astype(np.int64, casting="same_kind")  # int64 minus uint64 would be float64
    width = int(lengths.sum()) if max_tokens is None else max_tokens
    if max_tokens is None:
        _check_lengths(lengths, width)
        # Windows of equal length lie side by side, so that attention computes them together.
        rows = [np.arange(len(lengths)) if in_order else np.argsort(lengths, kind="stable")]
    else:
        rows = plan_rows(lengths, width, in_order=in_order)
    order = np.concatenate(rows)
    ends = np.cumsum(lengths[order])
    # For each token of the packed rows, one after another: its window and its index in this window, such as
    # 1 1 1 1 2 2 and 0 1 2 3 0 1; both are (tokens without padding,).
    window_of_token = np.repeat(order, lengths[order])
    position = np.arange(ends[-1]) - np.repeat(ends - lengths[order], lengths[order])
    sizes = np.array([lengths[row].sum() for row in rows])
    filled = np.arange(width) < sizes[:, None]  # (rows, width)
    values = {name: column[window_of_token, position] for name, column in columns.items() if name != "attention_mask"}
    values |= {"position_ids": position, "attention_mask": np.ones_like(position)}
    padding = {"labels": IGNORE_INDEX} | (fill or {})
    return {name: _spread(value, filled, padding.get(name, 0)) for name, value in values.items()}


def _spread(values: np.ndarray, filled: np.ndarray, padding: int) -> np.ndarray:
    """Put values (tokens,) where ``filled``, bool (rows, width), is True, and padding elsewhere."""
    spread = np.full(filled.shape, padding, values.dtype)
    spread[filled] = values
    return spread
