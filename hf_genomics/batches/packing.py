"""Several short windows in one row of tokens, so that hardly a token is padding.

Positions start again with each window, by which the model tells them apart: packed windows never see each other
(`hf_genomics.attention_kmer_bert`). A pure function of arrays, for a collator to call.
"""

from __future__ import annotations

import numpy as np


def plan_rows(lengths: np.ndarray, max_tokens: int, *, in_order: bool = False) -> list[np.ndarray]:
    """Choose which windows share a row.

    >>> [row.tolist() for row in plan_rows(np.array([3, 6, 4, 2]), 8)]
    [[1, 3], [2, 0]]
    >>> [row.tolist() for row in plan_rows(np.array([3, 6, 4, 2]), 8, in_order=True)]
    [[0], [1], [2, 3]]

    Args:
        lengths: (windows,), in tokens, 1 to ``max_tokens`` each.
        max_tokens: room in a row.
        in_order: keep the windows in their order and begin a row where one does not fit any more; otherwise longest
            first, each into the first row that has room for it (first-fit decreasing: at most 11/9 of the fewest rows
            possible, and one).

    Returns:
        for each row the numbers of its windows.

    Raises:
        ValueError: if a window does not fit a row, or is empty.
    """
    wrong = (lengths < 1) | (lengths > max_tokens)
    if wrong.any():
        number = int(wrong.argmax())
        raise ValueError(
            f"window {number} has {lengths[number]} tokens, but a packed row takes 1 to {max_tokens}; "
            "cut windows shorter or raise max_tokens"
        )
    room, rows = np.empty(len(lengths), np.int64), list[list[int]]()
    for number in range(len(lengths)) if in_order else np.argsort(-lengths, kind="stable").tolist():
        first = max(0, len(rows) - 1) if in_order else 0
        fits = room[first : len(rows)] >= lengths[number]
        row = first + int(fits.argmax()) if fits.any() else len(rows)
        if row == len(rows):
            rows.append([])
            room[row] = max_tokens
        rows[row].append(number)
        room[row] -= lengths[number]
    return [np.array(row) for row in rows]


def pack_rows(
    columns: dict[str, np.ndarray],
    lengths: np.ndarray,
    max_tokens: int | None = None,
    *,
    fill: dict[str, int] | None = None,
    in_order: bool = False,
) -> dict[str, np.ndarray]:
    """Pack padded rows of one window each into full rows of several.

    >>> ids = np.array([[2, 9, 3, 0], [2, 8, 7, 3], [2, 3, 0, 0]])
    >>> packed = pack_rows({"input_ids": ids}, np.array([3, 4, 2]), 6)
    >>> packed["input_ids"].tolist(), packed["position_ids"].tolist()
    ([[2, 8, 7, 3, 2, 3], [2, 9, 3, 0, 0, 0]], [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 0, 0]])

    Args:
        columns: (windows, tokens) each, such as input_ids and labels; the padding is on the right and is dropped.
        lengths: (windows,), in tokens.
        max_tokens: how wide the packed rows are; None makes one row of them all, without any padding, which is the
            fastest on a CPU.
        fill: what padding holds in a column, where it is not 0; -100 in labels is understood.
        in_order: see `plan_rows`.

    Returns:
        the columns, (rows, max_tokens) each, with ``position_ids``, which start again with each window, and
        ``attention_mask``, 0 on padding.

    Raises:
        ValueError: if a window does not fit a row, or is empty.
    """
    lengths = np.asarray(lengths)
    width = int(lengths.sum()) if max_tokens is None else max_tokens
    if max_tokens is None:  # equal lengths side by side, which are attended to at once
        rows = [np.arange(len(lengths)) if in_order else np.argsort(lengths, kind="stable")]
    else:
        rows = plan_rows(lengths, width, in_order=in_order)
    window = np.concatenate(rows)
    ends = np.cumsum(lengths[window])
    position = np.arange(ends[-1]) - np.repeat(ends - lengths[window], lengths[window])  # (tokens that are no padding,)
    source = np.repeat(window, lengths[window])
    sizes = np.array([lengths[row].sum() for row in rows])
    filled = np.arange(width) < sizes[:, None]  # (rows, width)
    values = {name: column[source, position] for name, column in columns.items() if name != "attention_mask"}
    values |= {"position_ids": position, "attention_mask": np.ones_like(position)}
    return {
        name: _spread(value, filled, ({"labels": -100} | (fill or {})).get(name, 0)) for name, value in values.items()
    }


def _spread(values: np.ndarray, filled: np.ndarray, padding: int) -> np.ndarray:
    """Lay values (tokens,) into the places that are filled; (rows, width)."""
    spread = np.full(filled.shape, padding, values.dtype)
    spread[filled] = values
    return spread
