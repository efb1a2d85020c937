"""Which tokens are masked: spans from hashed starts, and the exact shares of tokens and nucleotides they hide."""

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


def span_places(rows: np.ndarray, starts: np.ndarray, span: int, tokens: int) -> np.ndarray:
    """Give the places of the tokens under spans of ``span`` tokens, each once.

    Args:
        rows, starts: (starts,) int64 in reading order; start j is one at token j - (span - 1), so that spans may reach
            into a row from before its first token and every token is equally likely to be masked.
        span: tokens.
        tokens: in a row.

    Returns:
        row * tokens + column of each token, (masked,) int64, rising.

    >>> span_places(np.array([0, 0, 2]), np.array([0, 3, 5]), span=2, tokens=5).tolist()
    [0, 2, 3, 14]

    Source: GenomeNet-BERT section 2 (k consecutive tokens per masking location); DNABERT cuts at the ends instead.
    """
    begins = rows * tokens + np.maximum(starts - (span - 1), 0)
    ends = rows * tokens + np.minimum(starts + 1, tokens)
    begins[1:] = np.maximum(begins[1:], ends[:-1])  # what the span before has covered is not given again
    return ranges(begins, ends - begins)


def ranges(begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Join ranges of numbers, each given by its first number and how many there are.

    >>> ranges(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    return np.arange(int(counts.sum())) + np.repeat(begins - (np.cumsum(counts) - counts), counts)


def masking_fractions(span: int, start_rate: float, k: int, stride: int = 1) -> tuple[float, float]:
    """Give the exact shares of masked tokens and of hidden nucleotides far from the ends (stride <= k).

    A token is masked if one of the last ``span`` tokens starts a span. A nucleotide is hidden if all k-mers
    that cover it are masked; the chance that n tokens in a row are masked follows from the distance to the
    last start, a Markov chain.

    >>> [round(100 * share, 2) for share in masking_fractions(6, 0.025, k=6)]
    [14.09, 3.35]
    """
    covering = [(k - 1 - offset) // stride + 1 for offset in range(stride)]
    run = _all_masked(span, start_rate, max(covering))
    return run[1], float(np.mean([run[count] for count in covering]))


def _all_masked(span: int, start_rate: float, most: int) -> list[float]:
    """Chance that n tokens in a row are all masked, n = 0..most."""
    since = start_rate * (1 - start_rate) ** np.arange(span)  # P(last start was d tokens ago), d < span
    chances = [1.0]
    for _ in range(most):
        chances.append(float(since.sum()))
        since = np.concatenate([[start_rate * since.sum()], (1 - start_rate) * since[:-1]])
    return chances


def start_rate_for(masked_fraction: float, span: int) -> float:
    """Give the start rate that masks exactly this share of tokens.

    >>> round(start_rate_for(0.15, span=6), 5)
    0.02672
    """
    return 1 - (1 - masked_fraction) ** (1 / span)
