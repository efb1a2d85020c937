"""Draw spans of consecutive tokens to mask: where they start, and which tokens they cover.

These are pure functions of arrays; `DataCollatorForSpanMasking` applies them to batches.
"""

from __future__ import annotations

import numpy as np

from ..sequence import ranges
from .chance import Stream, random_bits


def draw_starts(keys: np.ndarray, start_rate: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the starts of spans: each column of each row starts one with chance ``start_rate``, independently.

    The gaps between starts are drawn (they are geometric), not every column: at usual rates this needs a tenth of the
    random numbers.

    Args:
        keys: uint64 (rows,) of `row_keys`.
        start_rate: between 0 and 1.
        columns: columns of a row.

    Returns:
        Row and column of each start, int64 (starts,) each, in reading order.
    """
    expected = columns * start_rate
    draws = int(expected + 3 * expected**0.5) + 4
    rows, place, first, found = np.arange(len(keys)), np.full((len(keys), 1), -1), 0, []
    # A round draws as many gaps as hardly any row needs; rows that need more stay in the loop.
    while len(rows):
        bits = random_bits(keys[rows], Stream.SPAN_START, draws, first)
        uniform = ((bits >> np.uint64(11)) + np.uint64(1)) * 2.0**-53  # in (0, 1]
        gaps = np.minimum(np.log(uniform) / np.log1p(-start_rate), columns).astype(np.int64)
        places = place + np.cumsum(gaps + 1, 1)
        inside = np.flatnonzero(places < columns)
        found.append((rows[inside // draws], places.reshape(-1)[inside]))
        unfinished = places[:, -1] < columns
        rows, place, first = rows[unfinished], places[unfinished, -1:], first + draws
    return _in_reading_order(found)


def draw_starts_at_rates(keys: np.ndarray, start_rates: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the starts of spans as `draw_starts` does, with a rate for each row.

    Args:
        keys: uint64 (rows,) of `row_keys`.
        start_rates: float (rows,), of few different values.
        columns: columns of a row.

    Returns:
        Row and column of each start, int64 (starts,) each, in reading order.
    """
    found = []
    for rate in np.unique(start_rates).tolist():
        rows = np.flatnonzero(start_rates == rate)
        row, column = draw_starts(keys[rows], rate, columns)
        found.append((rows[row], column))
    return _in_reading_order(found)


def _in_reading_order(found: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Join lists of rows and columns, each in reading order."""
    if len(found) == 1:
        return found[0]
    row, column = np.concatenate(found, 1)
    order = np.lexsort((column, row))
    return row[order], column[order]


def span_places(
    rows: np.ndarray, starts: np.ndarray, span: int, tokens: int, lengths: np.ndarray | None = None
) -> np.ndarray:
    """Find the tokens under spans, each once.

    Args:
        rows: int64 (starts,), row of each span, in reading order.
        starts: int64 (starts,), column of each span. Column j starts a span at token j - (span - 1), so that spans may
            reach into a row from before its first token and every token is equally likely to be masked.
        span: tokens of the longest span.
        tokens: tokens of a row.
        lengths: int64 (starts,), tokens of each span; by default all have ``span``.

    Returns:
        row * tokens + column of each token, int64 (masked,), ascending.

    >>> span_places(np.array([0, 0, 2]), np.array([0, 3, 5]), span=2, tokens=5).tolist()
    [0, 2, 3, 14]
    >>> span_places(np.array([0, 0]), np.array([2, 3]), span=3, tokens=9, lengths=np.array([3, 1])).tolist()
    [0, 1, 2]

    Source: GenomeNet-BERT section 2 (k consecutive tokens per masking location); DNABERT cuts at the ends instead.
    """
    begins = rows * tokens + np.maximum(starts - (span - 1), 0)
    ends = rows * tokens + np.minimum(starts + 1 if lengths is None else starts - (span - 1) + lengths, tokens)
    if lengths is not None:  # a short span may end before its row begins, or before the previous span ends
        ends = np.maximum.accumulate(np.maximum(begins, ends))
    begins[1:] = np.maximum(begins[1:], ends[:-1])  # tokens of the previous span are listed already
    return ranges(begins, ends - begins)
