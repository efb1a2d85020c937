"""Which tokens are masked: spans from hashed starts."""

from __future__ import annotations

import numpy as np

from .chance import random_bits

_START = 0  # the stream of random numbers; the collator has the next ones


def draw_starts(keys: np.ndarray, start_rate: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Let each column of each row start a span with chance ``start_rate``, independently.

    The gaps between starts are drawn (they are geometric), not every column: ten times fewer numbers at usual rates.

    Args:
        keys: (rows,) of `row_keys`.
        start_rate: between 0 and 1.
        columns: of a row.

    Returns:
        row and column of the starts, (starts,) int64 each, in reading order.
    """
    expected = columns * start_rate
    draws = int(expected + 3 * expected**0.5) + 4
    rows, place, first, found = np.arange(len(keys)), np.full((len(keys), 1), -1), 0, []
    while len(rows):  # one round is enough for nearly all rows
        bits = random_bits(keys[rows], _START, draws, first)
        uniform = ((bits >> np.uint64(11)) + np.uint64(1)) * 2.0**-53  # in (0, 1]
        gaps = np.minimum(np.log(uniform) / np.log1p(-start_rate), columns).astype(np.int64)
        places = place + np.cumsum(gaps + 1, 1)
        inside = np.flatnonzero(places < columns)
        found.append((rows[inside // draws], places.reshape(-1)[inside]))
        unfinished = places[:, -1] < columns
        rows, place, first = rows[unfinished], places[unfinished, -1:], first + draws
    if len(found) == 1:
        return found[0]
    row, column = np.concatenate(found, 1)
    order = np.lexsort((column, row))
    return row[order], column[order]


def draw_starts_of(keys: np.ndarray, start_rates: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw as `draw_starts` does where each row has its own rate, (rows,)."""
    rates = np.unique(start_rates)
    if len(rates) == 1:
        return draw_starts(keys, float(rates[0]), columns)
    found = []
    for rate in rates.tolist():
        rows = np.flatnonzero(start_rates == rate)
        row, column = draw_starts(keys[rows], rate, columns)
        found.append((rows[row], column))
    row, column = np.concatenate(found, 1)
    order = np.lexsort((column, row))
    return row[order], column[order]


def span_places(
    rows: np.ndarray, starts: np.ndarray, span: int, tokens: int, lengths: np.ndarray | None = None
) -> np.ndarray:
    """Give the places of the tokens under spans, each once.

    Args:
        rows, starts: (starts,) int64 in reading order; start j is one at token j - (span - 1), so that spans may reach
            into a row from before its first token and every token is equally likely to be masked.
        span: tokens of the longest span.
        tokens: in a row.
        lengths: (starts,) tokens of each span; by default all have ``span``.

    Returns:
        row * tokens + column of each token, (masked,) int64, rising.

    >>> span_places(np.array([0, 0, 2]), np.array([0, 3, 5]), span=2, tokens=5).tolist()
    [0, 2, 3, 14]
    >>> span_places(np.array([0, 0]), np.array([2, 3]), span=3, tokens=9, lengths=np.array([3, 1])).tolist()
    [0, 1, 2]

    Source: GenomeNet-BERT section 2 (k consecutive tokens per masking location); DNABERT cuts at the ends instead.
    """
    begins = rows * tokens + np.maximum(starts - (span - 1), 0)
    ends = rows * tokens + np.minimum(starts + 1 if lengths is None else starts - (span - 1) + lengths, tokens)
    if lengths is not None:  # a short span may end before the row begins, or before the one that began before it
        ends = np.maximum.accumulate(np.maximum(begins, ends))
    begins[1:] = np.maximum(begins[1:], ends[:-1])  # what the span before has covered is not given again
    return ranges(begins, ends - begins)


def ranges(begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Join ranges of numbers, each given by its first number and how many there are.

    >>> ranges(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    return np.arange(int(counts.sum())) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
