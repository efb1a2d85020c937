"""Choose which tokens to mask: random starts of spans, and the tokens under the spans.

These are pure functions of arrays; `DataCollatorForSpanMasking` applies them to batches.
"""

from __future__ import annotations

import numpy as np

from ..sequence import ranges
from .chance import Stream, random_bits


def draw_starts(keys: np.ndarray, start_rate: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the starts of spans: a span starts in each column with probability ``start_rate``, independently of others.

    The gaps between starts are drawn (they are geometric), not every column: at usual rates this needs a tenth of the
    random numbers.

    Args:
        keys: uint64 (rows,), as `row_keys` returns them.
        start_rate: probability of a start in each column, above 0 and below 1.
        columns: number of columns in a row: its tokens + the longest span - 1; see `span_places`.

    Returns:
        Row and column of each start, int64 (starts,) each, row by row, ascending within a row.

    Raises:
        ValueError: if the start rate is out of range.
    """
    if not 0 < start_rate < 1:
        raise ValueError(f"start_rate must be above 0 and below 1, not {start_rate}")
    # The mean plus three standard deviations, so that one round is enough for nearly all rows; the others stay in the
    # loop and draw again.
    expected = columns * start_rate
    draws = int(expected + 3 * expected**0.5) + 4
    rows = np.arange(len(keys))  # the rows that are not finished
    last_start = np.full((len(keys), 1), -1)
    num_drawn = 0  # random numbers of each of these rows
    found = []
    while len(rows):
        bits = random_bits(keys[rows], Stream.SPAN_START, draws, num_drawn)
        # The number of columns before the next start is geometric, so it is drawn by inverting the distribution
        # function: log(u) / log(1 - rate), with u uniform in (0, 1]. u has 53 bits, as many as a float64 holds, and is
        # never 0, whose logarithm is infinite.
        uniform = ((bits >> np.uint64(11)) + np.uint64(1)) * 2.0**-53
        gaps = np.minimum(np.log(uniform) / np.log1p(-start_rate), columns).astype(np.int64)
        starts = last_start + np.cumsum(gaps + 1, 1)
        inside = np.flatnonzero(starts < columns)
        found.append((rows[inside // draws], starts.reshape(-1)[inside]))
        unfinished = starts[:, -1] < columns
        rows, last_start = rows[unfinished], starts[unfinished, -1:]
        num_drawn += draws
    return _in_row_order(found)


def draw_starts_by_rate(keys: np.ndarray, start_rates: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the starts of spans as `draw_starts` does, with a rate for each row.

    Args:
        keys: uint64 (rows,), as `row_keys` returns them.
        start_rates: float (rows,), start rate of each row, above 0 and below 1; the fewer different rates, the faster.
        columns: number of columns in a row, as in `draw_starts`.

    Returns:
        Row and column of each start, int64 (starts,) each, row by row, ascending within a row.
    """
    found = []
    for rate in np.unique(start_rates).tolist():
        rows = np.flatnonzero(start_rates == rate)
        row, column = draw_starts(keys[rows], rate, columns)
        found.append((rows[row], column))
    return _in_row_order(found)


def _in_row_order(found: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Join lists of rows and columns, and sort them by row, then by column."""
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
        rows: int64 (starts,), row of each span, ascending.
        starts: int64 (starts,), column of each span start, ascending within a row; a start in column j begins at token
            j - (span - 1).
        span: length of the longest span in tokens.
        tokens: number of tokens in a row.
        lengths: int64 (starts,), length of each span in tokens; by default all have ``span``.

    Returns:
        row * tokens + index in the row of each token, int64 (masked,), ascending.

    >>> span_places(np.array([0, 0, 2]), np.array([0, 3, 5]), span=2, tokens=5).tolist()
    [0, 2, 3, 14]
    >>> span_places(np.array([0, 0]), np.array([2, 3]), span=3, tokens=9, lengths=np.array([3, 1])).tolist()
    [0, 1, 2]

    Source: GenomeNet-BERT section 2 (k consecutive tokens per masking location). DNABERT cuts spans off at the ends of
    a row, which masks the first token half as often.
    """
    # span 3, 5 tokens: starts are drawn in tokens + span - 1 = 7 columns, so that as many starts cover the first and
    # last tokens as any other; spans are cut off at the ends of the row.
    #
    #     start          0    1    2      3      4      5    6
    #     first token   -2   -1    0      1      2      3    4
    #     masks          0    0 1  0 1 2  1 2 3  2 3 4  3 4  4
    first = starts - (span - 1)  # first token of each span, in its row
    begins = rows * tokens + np.maximum(first, 0)
    ends = rows * tokens + np.minimum(first + (span if lengths is None else lengths), tokens)
    if lengths is not None:  # a short span may end before its row begins, or before an earlier, longer one ends
        ends = np.maximum.accumulate(np.maximum(begins, ends))
    begins[1:] = np.maximum(begins[1:], ends[:-1])  # tokens that the previous span covers are not listed twice
    return ranges(begins, ends - begins)
