"""Compute the dose of a masking: exact shares of masked tokens and hidden nucleotides, and the rate for a wanted share.

A nucleotide is *hidden* if every token that covers it is masked, so that no visible token shows it. The shares hold far
from the ends of a window. Near an end fewer tokens cover a nucleotide, so that more nucleotides are hidden;
`masking_fractions` takes that into account if it is given the length of the windows. The shares do not consider that
the collator shows some masked tokens after all (``replacement``); for that see `unknown_fraction`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

#: Length of all spans in tokens, or the probability of each length.
Spans: TypeAlias = int | Mapping[int, float]

#: Length of spans in tokens, and start rate, if a collator sets none: the values of recipes/pretrain_base.yaml.
DEFAULT_SPAN, DEFAULT_START_RATE = 6, 0.025


def geometric_lengths(probability: float, cap: int) -> dict[int, float]:
    """Return the probabilities of span lengths 1 to ``cap``: a geometric distribution, scaled to add up to 1.

    Args:
        probability: probability that a span ends after each token.
        cap: length of the longest span in tokens.

    >>> lengths = geometric_lengths(0.2, cap=10)
    >>> round(sum(length * share for length, share in lengths.items()), 1)
    3.8

    Source: SpanBERT (Joshi et al. 2020), section 3.1: probability 0.2, cap 10, 3.8 tokens on average.
    """
    shares = probability * (1 - probability) ** np.arange(cap)
    return dict(enumerate((shares / shares.sum()).tolist(), 1))


def length_probabilities(spans: Spans) -> np.ndarray:
    """Return the probabilities of span lengths 0, 1, ..., longest, float64 (longest + 1,), scaled to add up to 1."""
    spans = {spans: 1.0} if isinstance(spans, int) else spans
    probabilities = np.zeros(max(spans) + 1)
    for length, probability in spans.items():
        probabilities[length] = probability
    return probabilities / probabilities.sum()


def masking_fractions(
    spans: Spans, start_rate: float, k: int, stride: int = 1, *, window: int | None = None
) -> tuple[float, float]:
    """Compute the exact shares of masked tokens and of hidden nucleotides.

    >>> [round(100 * share, 2) for share in masking_fractions(6, 0.025, k=6)]
    [14.09, 3.35]
    >>> [round(100 * share, 2) for share in masking_fractions(6, 0.025, k=6, window=150)]
    [14.09, 3.78]

    Args:
        spans: length of all spans in tokens, or the probability of each length.
        start_rate: probability that a token starts a span, independently of other tokens.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        window: length of the windows in nt, to count all their nucleotides; by default, nucleotides far from the ends
            are counted.

    Returns:
        Share of masked tokens, share of hidden nucleotides. Nucleotides that no k-mer covers never count. The collator
        gives a window that would have no span one; that is not considered.
    """
    # masked[n]: probability that n neighbouring tokens are all masked, which hides a nucleotide under n k-mers.
    masked = all_masked(spans, start_rate, math.ceil(k / stride))  # more k-mers never cover a nucleotide
    return float(masked[1]), float(masked[kmers_over_nucleotides(k, stride, window)].mean())


def unknown_fraction(
    spans: Spans, start_rate: float, k: int, stride: int = 1, *, keep_share: float, per_span: bool
) -> float:
    """Compute the share of nucleotides that the model cannot read off its input.

    Some masked tokens are kept as they are (``keep_share``), and some are replaced by random tokens. A kept token shows
    its nucleotides; a random token shows wrong ones, so they remain unknown. If one decision is made for each stretch
    of masked tokens (overlapping or touching spans are one stretch), all tokens that cover a hidden nucleotide are kept
    or none; if one is made for each token, a single kept token shows it.

    Args:
        spans: length of all spans in tokens, or the probability of each length.
        start_rate: probability that a token starts a span.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        keep_share: share of masked tokens that are kept as they are.
        per_span: whether one decision is made for each stretch of masked tokens, instead of one for each token.

    >>> round(100 * unknown_fraction(6, 0.025, k=6, keep_share=0.1, per_span=False), 2)
    1.78
    """
    counts = kmers_over_nucleotides(k, stride)
    hidden = all_masked(spans, start_rate, math.ceil(k / stride))[counts]
    return float((hidden * (1 - keep_share) ** (1 if per_span else counts)).mean())


def kmers_over_nucleotides(k: int, stride: int, window: int | None = None) -> np.ndarray:
    """Count the k-mers over each nucleotide; nucleotides that no k-mer covers are omitted.

    Args:
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        window: length of a window in nt, to count over all its nucleotides; by default, count over one stride far from
            the ends, since the counts repeat from stride to stride.

    Returns:
        integer (nt,), 1 or more.

    >>> kmers_over_nucleotides(6, 4).tolist(), kmers_over_nucleotides(3, 2, window=8).tolist()
    ([2, 2, 1, 1], [1, 1, 2, 1, 2, 1, 1])
    """
    if window is None:
        counts = (k - 1 - np.arange(stride)) // stride + 1
    else:
        # +1 where a k-mer starts, -1 where one ends: the running sum is the number of k-mers.
        changes = np.zeros(window + 1, np.int64)
        changes[np.arange(0, window - k + 1, stride)] += 1
        changes[np.arange(k, window + 1, stride)] -= 1
        counts = np.cumsum(changes)
    return counts[counts > 0]


def all_masked(spans: Spans, start_rate: float, most: int) -> np.ndarray:
    """Compute the probability that n consecutive tokens are all masked, for n = 0..most.

    Walk along the tokens and keep one number: how many tokens are still to be masked, the current one included. A token
    is masked if the number there is at least 1. At the next token the number is max(number - 1, length of the span that
    starts there), so its distribution follows from the distribution at the token before: a Markov chain. Spans may
    start before the first token, as those of the collator do.

    Args:
        spans: length of all spans in tokens, or the probability of each length.
        start_rate: probability that a token starts a span.
        most: largest n.

    Returns:
        float64 (most + 1,).
    """
    # Spans of 3 tokens start at tokens 2 and 3:
    #
    #     token             1  2  3  4  5  6
    #     length started    0  3  3  0  0  0
    #     still to mask     0  3  3  2  1  0
    #
    # shorter[m]: probability that no span longer than m starts at a token.
    # at_most[m]: probability that the number at this token is at most m, and that all tokens before it are masked. At
    #   the first token: no span that started j tokens before is longer than m + j, for all j; hence the product.
    shorter = 1 - start_rate * (1 - np.minimum(np.cumsum(length_probabilities(spans)), 1))
    shorter[-1] = 1  # exactly, whatever rounding did to the sum
    at_most = np.cumprod(shorter[::-1])[::-1]
    masked = [1.0]
    for _ in range(most):
        at_most = at_most - at_most[0]  # take out number 0: the token is visible
        masked.append(float(at_most[-1]))
        at_most = np.append(at_most[1:], at_most[-1]) * shorter  # next token: at most m + 1 here, no longer span starts
    return np.array(masked)


def start_rate_masking(masked_fraction: float, span: int) -> float:
    """Compute the start rate that masks exactly this share of tokens, for spans of one length.

    Args:
        masked_fraction: share of tokens.
        span: length of all spans in tokens.

    >>> round(start_rate_masking(0.15, span=6), 5)
    0.02672
    """
    return 1 - (1 - masked_fraction) ** (1 / span)


def start_rate_hiding(hidden_fraction: float, spans: Spans, k: int, stride: int = 1) -> float:
    """Compute the start rate that hides exactly this share of nucleotides.

    Args:
        hidden_fraction: share of nucleotides.
        spans: length of all spans in tokens, or the probability of each length.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    >>> rate = start_rate_hiding(0.15, spans=12, k=6)
    >>> round(rate, 5), [round(share, 4) for share in masking_fractions(12, rate, k=6)]
    (0.02199, [0.2342, 0.15])

    Raises:
        ValueError: if the share is not between 0 and 1, or no span is long enough to hide a nucleotide by itself.
    """
    if not 0 < hidden_fraction < 1:
        raise ValueError(f"hidden_fraction must be above 0 and below 1, not {hidden_fraction}")
    longest, least = len(length_probabilities(spans)) - 1, int(kmers_over_nucleotides(k, stride).min())
    if longest < least:  # only spans side by side would hide nucleotides, and nearly all tokens would have to be masked
        raise ValueError(
            f"hidden_fraction needs spans of {least} tokens or more at k {k} and stride {stride}; a span of {longest} "
            "hides no nucleotide by itself; lengthen the spans, or set start_rate instead"
        )
    return _bisect(lambda rate: masking_fractions(spans, rate, k, stride)[1] < hidden_fraction)


def _bisect(is_below: Callable[[float], bool]) -> float:
    """Find the largest number in 0..1 for which ``is_below`` is true; above it, ``is_below`` must be false."""
    low, high = 0.0, 1.0
    # Halve the interval until no float lies between low and high.
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low


def chosen_spans(
    span: int | None, span_lengths: Mapping[int, float] | None, span_geometric: float | None, span_cap: int
) -> Spans:
    """Choose the spans from the settings of a collator; `DEFAULT_SPAN` tokens if none is set.

    Args:
        span: length of all spans in tokens.
        span_lengths: probability of each length.
        span_geometric: probability that a span ends after each of its tokens, see `geometric_lengths`.
        span_cap: length of the longest span of that distribution in tokens.

    Raises:
        ValueError: if a setting is invalid, or two settings contradict each other; the message names setting, value and
            rule.
    """
    settings = {"span": span, "span_lengths": span_lengths, "span_geometric": span_geometric}
    given = [name for name, value in settings.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{given[0]} and {given[1]} both define the length of spans; set one of them")
    if span is not None and (isinstance(span, bool) or not isinstance(span, int) or span < 1):
        raise ValueError(f"span must be a whole number of tokens, at least 1, not {span!r}")
    if span_geometric is not None:
        if not 0 < span_geometric < 1 or span_cap < 1:
            raise ValueError(
                f"span_geometric must be above 0 and below 1, not {span_geometric}, and span_cap be at least 1 token, "
                f"not {span_cap}"
            )
        return geometric_lengths(span_geometric, span_cap)
    if span_lengths is None:
        return span or DEFAULT_SPAN
    # Checked here: `length_probabilities` scales to a sum of 1, so a wrong sum would pass unnoticed.
    for length, probability in span_lengths.items():
        if length < 1 or not 0 <= probability <= 1:
            raise ValueError(
                f"span_lengths gives {length} tokens the probability {probability}; lengths are 1 or more, "
                "probabilities lie in 0..1"
            )
    if abs(sum(span_lengths.values()) - 1) > 1e-6:
        raise ValueError(f"the probabilities of span_lengths must add up to 1, not {sum(span_lengths.values()):g}")
    return {length: probability for length, probability in span_lengths.items() if probability}


def chosen_rates(
    start_rate: float | None,
    hidden_fraction: float | None,
    schedule: Mapping[int, float] | None,
    rate_hiding: Callable[[float], float],
) -> dict[int, float]:
    """Return the start rates from the settings of a collator; `DEFAULT_START_RATE` if none is set.

    Args:
        start_rate: probability that a token starts a span.
        hidden_fraction: share of nucleotides to hide; set it instead of ``start_rate``.
        schedule: later values of the setting that is used, by the optimiser step from which each applies.
        rate_hiding: function that computes the start rate for a hidden fraction.

    Returns:
        ``{0: rate, step: rate, ...}``: each rate holds from its step on; steps ascend.

    Raises:
        ValueError: if a setting is invalid, or two settings contradict each other; the message names setting, value and
            rule.
    """
    if start_rate is not None and hidden_fraction is not None:
        raise ValueError(
            f"start_rate ({start_rate}) and hidden_fraction ({hidden_fraction}) both set the dose; set one of them"
        )
    # The schedule has values of the setting that is used; hidden fractions become rates at the very end.
    if hidden_fraction is not None:
        name, first = "hidden_fraction", hidden_fraction
    else:
        name, first = "start_rate", DEFAULT_START_RATE if start_rate is None else start_rate
    values = {0: first}
    for step in sorted(schedule or {}):
        if step < 1:
            raise ValueError(f"schedule: steps are 1 or more, not {step}; {name} holds from the first step on")
        values[step] = (schedule or {})[step]
    for step, value in values.items():
        if not 0 < value < 1:
            where = f"schedule: the {name} from step {step} on" if step else name
            raise ValueError(f"{where} must be above 0 and below 1, not {value}")
    return values if hidden_fraction is None else {step: rate_hiding(value) for step, value in values.items()}


def describe_spans(spans: Spans) -> str:
    """Describe the length of spans.

    >>> describe_spans(6), describe_spans({1: 0.5, 9: 0.5})
    ('spans of 6 tokens', 'spans of 1 to 9 tokens, 5.00 on average')
    """
    if isinstance(spans, int):
        return f"spans of {spans} token{'s' * (spans != 1)}"
    probabilities = length_probabilities(spans)
    mean = probabilities @ np.arange(len(probabilities))
    return f"spans of {min(spans)} to {max(spans)} tokens, {mean:.2f} on average"
