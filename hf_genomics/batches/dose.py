"""Compute the dose of a masking: the exact shares of tokens and nucleotides that spans hide, and the rate for a share.

A nucleotide is *hidden* if every token that covers it is masked, so that no visible token shows it. Shares are those
far from a window's ends, before some masked tokens are shown unchanged (``replacement``). Nearer to an end fewer tokens
cover a nucleotide, and more are hidden: `masking_fractions` counts that in if it is given a window length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

#: Tokens of every span, or the chance of each length of a span in tokens.
Spans: TypeAlias = int | Mapping[int, float]


def geometric_lengths(chance: float, cap: int) -> dict[int, float]:
    """Return the chances of span lengths 1 to ``cap``: those of a geometric distribution, scaled to add up to 1.

    Args:
        chance: chance that a span ends after each token.
        cap: tokens of the longest span.

    >>> lengths = geometric_lengths(0.2, cap=10)
    >>> round(sum(length * share for length, share in lengths.items()), 1)
    3.8

    Source: SpanBERT (Joshi et al. 2020), section 3.1: chance 0.2, cap 10, 3.8 tokens on average.
    """
    shares = chance * (1 - chance) ** np.arange(cap)
    return dict(enumerate((shares / shares.sum()).tolist(), 1))


def length_chances(spans: Spans) -> np.ndarray:
    """Return the chances of span lengths 0, 1, ..., longest, float64 (longest + 1,), scaled to add up to 1."""
    spans = {spans: 1.0} if isinstance(spans, int) else spans
    chances = np.zeros(max(spans) + 1)
    for length, chance in spans.items():
        chances[length] = chance
    return chances / chances.sum()


def masking_fractions(
    spans: Spans, start_rate: float, k: int, stride: int = 1, *, window: int | None = None
) -> tuple[float, float]:
    """Compute the exact shares of masked tokens and of hidden nucleotides.

    >>> [round(100 * share, 2) for share in masking_fractions(6, 0.025, k=6)]
    [14.09, 3.35]
    >>> [round(100 * share, 2) for share in masking_fractions(6, 0.025, k=6, window=150)]
    [14.09, 3.78]

    Args:
        spans: tokens of a span, or lengths with their chances.
        start_rate: chance that a token starts a span, independently of others.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next. Nucleotides that no k-mer covers do not count.
        window: length of windows in nt, all of whose nucleotides count; by default those far from the ends do.

    Returns:
        Share of masked tokens, share of hidden nucleotides. The spans that rows without any masked token get are not
        counted.
    """
    chances = all_masked(spans, start_rate, -(-k // stride))
    return float(chances[1]), float(chances[covering(k, stride, window)].mean())


def unknown_fraction(
    spans: Spans, start_rate: float, k: int, stride: int = 1, *, keep_share: float, per_span: bool
) -> float:
    """Compute the share of nucleotides that the model cannot see after some masked tokens are left unchanged.

    A token left unchanged shows its nucleotides; a random one shows wrong ones, so they stay unknown. Drawn per span,
    all tokens over a hidden nucleotide are left unchanged or none is; drawn per token, one is enough to show it.

    Args:
        spans: tokens of a span, or lengths with their chances.
        start_rate: chance that a token starts a span.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        keep_share: share of masked tokens left unchanged.
        per_span: whether that is drawn once per span, not per token.

    >>> round(100 * unknown_fraction(6, 0.025, k=6, keep_share=0.1, per_span=False), 2)
    1.78
    """
    counts = covering(k, stride)
    hidden = all_masked(spans, start_rate, -(-k // stride))[counts]
    return float((hidden * (1 - keep_share) ** (1 if per_span else counts)).mean())


def covering(k: int, stride: int, window: int | None = None) -> np.ndarray:
    """Count the k-mers over each nucleotide, leaving out nucleotides without any.

    Args:
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        window: length of the window in nt; by default one stride far from the ends of a window is counted, of which
            all others are repetitions.

    Returns:
        integer (nt,), 1 or more.

    >>> covering(6, 4).tolist(), covering(3, 2, window=8).tolist()
    ([2, 2, 1, 1], [1, 1, 2, 1, 2, 1, 1])
    """
    if window is None:
        counts = (k - 1 - np.arange(stride)) // stride + 1
    else:
        changes = np.zeros(window + 1, np.int64)
        changes[np.arange(0, window - k + 1, stride)] += 1
        changes[np.arange(k, window + 1, stride)] -= 1
        counts = np.cumsum(changes)
    return counts[counts > 0]


def all_masked(spans: Spans, start_rate: float, most: int) -> np.ndarray:
    """Compute the chance that n tokens in a row are all masked, n = 0..most.

    The tokens form a Markov chain. Its state is the number of tokens still to be masked, this one included: the larger
    of the state before minus 1 and the length of a span that starts here. The chance that it is at most m is a product:
    no span that started 0, 1, 2, ... tokens before was longer than m, m + 1, m + 2, ...

    Args:
        spans: tokens of a span, or lengths with their chances.
        start_rate: chance that a token starts a span.
        most: largest n.

    Returns:
        float64 (most + 1,).
    """
    shorter = 1 - start_rate * (1 - np.minimum(np.cumsum(length_chances(spans)), 1))  # P(no span longer than m starts)
    shorter[-1] = 1
    left = np.cumprod(shorter[::-1])[::-1]  # P(at most m are left), m = 0..longest
    chances = [1.0]
    for _ in range(most):
        left = left - left[0]  # and none of the tokens so far is visible
        chances.append(float(left[-1]))
        left = np.append(left[1:], left[-1]) * shorter
    return np.array(chances)


def start_rate_for(masked_fraction: float, span: int) -> float:
    """Compute the start rate that masks exactly this share of tokens.

    Args:
        masked_fraction: share of tokens.
        span: tokens of a span.

    >>> round(start_rate_for(0.15, span=6), 5)
    0.02672
    """
    return 1 - (1 - masked_fraction) ** (1 / span)


def start_rate_hiding(hidden_fraction: float, spans: Spans, k: int, stride: int = 1) -> float:
    """Compute the start rate that hides exactly this share of nucleotides.

    Args:
        hidden_fraction: share of nucleotides.
        spans: tokens of a span, or lengths with their chances.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    >>> rate = start_rate_hiding(0.15, spans=12, k=6)
    >>> round(rate, 5), [round(share, 4) for share in masking_fractions(12, rate, k=6)]
    (0.02199, [0.2342, 0.15])

    Raises:
        ValueError: if the share is not between 0 and 1, or spans are so short that none hides a nucleotide.
    """
    if not 0 < hidden_fraction < 1:
        raise ValueError(f"hidden_fraction must lie between 0 and 1, not {hidden_fraction}")
    longest, least = len(length_chances(spans)) - 1, int(covering(k, stride).min())
    if longest < least:
        raise ValueError(
            f"hidden_fraction cannot be met: a span of {longest} tokens hides no nucleotide, since {least} or more "
            f"{k}-mers at stride {stride} cover each; use spans of {least} tokens or more"
        )
    return _bisect(lambda rate: masking_fractions(spans, rate, k, stride)[1] < hidden_fraction)


def _bisect(is_below: Callable[[float], bool]) -> float:
    """Find the number in 0..1 up to which ``is_below`` holds, as exactly as float64 can."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low


def chosen_spans(
    span: int | None, span_lengths: Mapping[int, float] | None, span_geometric: float | None, span_cap: int
) -> Spans:
    """Choose the spans from the settings of a collator; 6 tokens if none is set.

    Args:
        span: tokens of every span.
        span_lengths: lengths of spans in tokens, with their chances.
        span_geometric: chance of a geometric distribution of lengths.
        span_cap: tokens of the longest span of that distribution.

    Raises:
        ValueError: naming the setting, its value and the rule; also if two settings contradict each other.
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
                f"span_geometric must lie between 0 and 1, not {span_geometric}, and span_cap be at least 1 token, "
                f"not {span_cap}"
            )
        return geometric_lengths(span_geometric, span_cap)
    if span_lengths is None:
        return span or 6
    # Checked here, not when drawn: `length_chances` scales, so a wrong sum would pass unnoticed.
    for length, chance in span_lengths.items():
        if length < 1 or not 0 <= chance <= 1:
            raise ValueError(
                f"span_lengths gives {length} tokens the chance {chance}; lengths are 1 or more, chances lie in 0..1"
            )
    if abs(sum(span_lengths.values()) - 1) > 1e-6:
        raise ValueError(f"the chances of span_lengths must add up to 1, not {sum(span_lengths.values()):g}")
    return {length: chance for length, chance in span_lengths.items() if chance}


def chosen_rates(
    start_rate: float | None,
    hidden_fraction: float | None,
    schedule: Mapping[int, float] | None,
    rate_hiding: Callable[[float], float],
) -> dict[int, float]:
    """Choose the start rates from the settings of a collator; 2.5 % if none is set.

    Args:
        start_rate: chance that a token starts a span.
        hidden_fraction: share of nucleotides to hide, instead of that.
        schedule: another value of whichever of the two is used, from an optimiser step on.
        rate_hiding: function that computes the start rate for a hidden fraction.

    Returns:
        The start rate from each step on, ``{0: rate, step: rate, ...}``, in ascending order of steps.

    Raises:
        ValueError: naming the setting, its value and the rule; also if two settings contradict each other.
    """
    if start_rate is not None and hidden_fraction is not None:
        raise ValueError(
            f"start_rate ({start_rate}) and hidden_fraction ({hidden_fraction}) both set the dose; set one of them"
        )
    # The schedule holds whichever of the two settings is used; hidden fractions become rates at the very end.
    name = "start_rate" if hidden_fraction is None else "hidden_fraction"
    doses = {0: 0.025 if start_rate is None else start_rate} if hidden_fraction is None else {0: hidden_fraction}
    for step in sorted(schedule or {}):
        if step < 1:
            raise ValueError(f"schedule: steps are 1 or more, not {step}; {name} holds from the first step on")
        doses[step] = (schedule or {})[step]
    for step, dose in doses.items():
        if not 0 < dose < 1:
            where = f"schedule: the {name} from step {step} on" if step else name
            raise ValueError(f"{where} must lie between 0 and 1, not {dose}")
    return doses if hidden_fraction is None else {step: rate_hiding(dose) for step, dose in doses.items()}


def describe_spans(spans: Spans) -> str:
    """Describe the length of spans.

    >>> describe_spans(6), describe_spans({1: 0.5, 9: 0.5})
    ('spans of 6 tokens', 'spans of 1 to 9 tokens, 5.00 on average')
    """
    if isinstance(spans, int):
        return f"spans of {spans} token{'s' * (spans != 1)}"
    chances = length_chances(spans)
    return f"spans of {min(spans)} to {max(spans)} tokens, {chances @ np.arange(len(chances)):.2f} on average"
