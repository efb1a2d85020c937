"""Which tokens are masked: spans from hashed starts, and the exact shares of tokens and nucleotides they hide."""

from __future__ import annotations

import numpy as np

from .chance import random_bits

_START = 0  # the stream of random numbers; the collator has the next ones


def draw_starts(seed: int, epoch: np.ndarray, index: np.ndarray, start_rate: float, columns: int) -> np.ndarray:
    """Let each column start a span with chance ``start_rate``, independently, bool (rows, columns).

    The gaps between starts are drawn (they are geometric), not every column: ten times fewer numbers at usual rates.
    """
    starts = np.zeros((len(index), columns), bool)
    expected = columns * start_rate
    draws = int(expected + 5 * expected**0.5) + 5
    first, place = 0, np.full((len(index), 1), -1)
    while True:
        bits = random_bits(seed, epoch, index, _START, draws, first)
        uniform = ((bits >> np.uint64(11)) + np.uint64(1)) * 2.0**-53  # in (0, 1]
        gaps = np.minimum(np.log(uniform) / np.log1p(-start_rate), columns).astype(np.int64)
        places = place + np.cumsum(gaps + 1, 1)
        inside = places < columns
        starts[np.nonzero(inside)[0], places[inside]] = True
        if not inside[:, -1].any():
            return starts
        first, place = first + draws, places[:, -1:]


def mask_spans(maskable: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mask ``span`` tokens from each start on.

    Args:
        maskable: bool (rows, tokens), False on special tokens, [UNK] and padding.
        starts: bool (rows, tokens + span - 1); column j is a start at token j - (span - 1), so that spans may reach
            into the row from before its first token and every token is equally likely to be masked.

    Returns:
        bool (rows, tokens).

    >>> mask_spans(np.ones((1, 5), bool), np.array([[0, 0, 0, 1, 0, 0]], bool)).astype(int).tolist()
    [[0, 0, 1, 1, 0]]

    Source: GenomeNet-BERT section 2 (k consecutive tokens per masking location); DNABERT cuts at the ends instead.
    """
    tokens = maskable.shape[1]
    span = starts.shape[1] - tokens + 1
    reached, width = starts, 1
    while width < span:  # doubling: whether any start lies in the last `width` columns
        step = min(width, span - width)
        reached, width = reached[:, :-step] | reached[:, step:], width + step
    return reached & maskable


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
