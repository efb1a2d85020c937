"""The dose of a masking: the exact shares of tokens and nucleotides that its spans hide, and the rate for a share.

A nucleotide is *hidden* if every token that covers it is masked, so that no visible token shows it. Shares are those
far from a window's ends, before some masked tokens are shown after all (``replacement``); nearer to an end fewer tokens
cover a nucleotide, and more are hidden: ask for a window of some length to have that counted in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

#: Tokens of every span, or the chance of each number of them.
Spans: TypeAlias = int | Mapping[int, float]


def geometric_lengths(chance: float, cap: int) -> dict[int, float]:
    """Give the chances of span lengths 1 to ``cap``: those of a geometric distribution, scaled to add up to 1.

    >>> lengths = geometric_lengths(0.2, cap=10)
    >>> round(sum(length * share for length, share in lengths.items()), 1)
    3.8

    Source: SpanBERT (Joshi et al. 2020), section 3.1: chance 0.2, cap 10, 3.8 tokens on average.
    """
    shares = chance * (1 - chance) ** np.arange(cap)
    return dict(enumerate((shares / shares.sum()).tolist(), 1))


def length_chances(spans: Spans) -> np.ndarray:
    """Give the chance of each span length 0, 1, ..., longest, float64; lengths' chances are scaled to add up to 1."""
    spans = {spans: 1.0} if isinstance(spans, int) else spans
    chances = np.zeros(max(spans) + 1)
    for length, chance in spans.items():
        chances[length] = chance
    return chances / chances.sum()


def masking_fractions(
    spans: Spans, start_rate: float, k: int, stride: int = 1, *, window: int | None = None
) -> tuple[float, float]:
    """Give the exact shares of masked tokens and of hidden nucleotides.

    >>> [round(100 * share, 2) for share in masking_fractions(6, 0.025, k=6)]
    [14.09, 3.35]
    >>> [round(100 * share, 2) for share in masking_fractions(6, 0.025, k=6, window=150)]
    [14.09, 3.78]

    Args:
        spans: tokens of a span, or lengths with their chances.
        start_rate: chance that a token starts a span, independently of others.
        k, stride: of the k-mers. Nucleotides that no k-mer covers are not counted.
        window: length in nt of windows, of which all nucleotides are counted; by default those far from the ends are.
            That a row without any masked token is given a span is not counted in.
    """
    chances = all_masked(spans, start_rate, -(-k // stride))
    return float(chances[1]), float(chances[covering(k, stride, window)].mean())


def unknown_fraction(
    spans: Spans, start_rate: float, k: int, stride: int = 1, *, keep_share: float, per_span: bool
) -> float:
    """Give the share of nucleotides that no token shows truly once ``keep_share`` of masked tokens are shown again.

    A kept token shows its nucleotides, so these are not hidden; a random one shows wrong ones, so they stay unknown.
    Drawn per span, all tokens over a hidden nucleotide are kept or none; drawn per token, one kept one is enough.

    >>> round(100 * unknown_fraction(6, 0.025, k=6, keep_share=0.1, per_span=False), 2)
    1.78
    """
    counts = covering(k, stride)
    hidden = all_masked(spans, start_rate, -(-k // stride))[counts]
    return float((hidden * (1 - keep_share) ** (1 if per_span else counts)).mean())


def covering(k: int, stride: int, window: int | None = None) -> np.ndarray:
    """Count the k-mers over each nucleotide, (nt,), of a window, or of one stride far from its ends; none is 0.

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
    """Give the chance that n tokens in a row are all masked, n = 0..most.

    From token to token goes a Markov chain: the number of tokens still to be masked, this one included, is the larger
    of one less than before and the length of a span that starts here. Whether it is at most m at a token is a product:
    no span that started 0, 1, 2, ... tokens before was longer than m, m + 1, m + 2, ...
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
    """Give the start rate that masks exactly this share of tokens.

    >>> round(start_rate_for(0.15, span=6), 5)
    0.02672
    """
    return 1 - (1 - masked_fraction) ** (1 / span)


def start_rate_hiding(hidden_fraction: float, spans: Spans, k: int, stride: int = 1) -> float:
    """Give the start rate that hides exactly this share of nucleotides.

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
            f"{k}-mers at stride {stride} cover each; let spans have {least} tokens at least"
        )
    return _bisect(lambda rate: masking_fractions(spans, rate, k, stride)[1] < hidden_fraction)


def _bisect(is_below: Callable[[float], bool]) -> float:
    """Find the number in 0..1 up to which ``is_below`` holds."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low


def chosen_spans(
    span: int | None, span_lengths: Mapping[int, float] | None, span_geometric: float | None, span_cap: int
) -> Spans:
    """Choose the spans from the settings of a collator, 6 tokens where none is set.

    Raises:
        ValueError: naming the setting, its value and the rule, also where two of them contradict each other.
    """
    settings = {"span": span, "span_lengths": span_lengths, "span_geometric": span_geometric}
    given = [name for name, value in settings.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{given[0]} and {given[1]} both say how long spans are; set one of them")
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
    """Choose the start rate from each step on: {0: rate, step: rate, ...}, rising; 2.5 % where none is set.

    Args:
        start_rate, hidden_fraction, schedule: settings of a collator.
        rate_hiding: gives the start rate for a hidden fraction.

    Raises:
        ValueError: naming the setting, its value and the rule, also where two of them contradict each other.
    """
    if start_rate is not None and hidden_fraction is not None:
        raise ValueError(
            f"start_rate ({start_rate}) and hidden_fraction ({hidden_fraction}) both set the dose; set one of them"
        )
    name = "start_rate" if hidden_fraction is None else "hidden_fraction"
    doses = {0: 0.025 if start_rate is None else start_rate} if hidden_fraction is None else {0: hidden_fraction}
    for step in sorted(schedule or {}):
        if step < 1:
            raise ValueError(f"schedule: steps are 1 or more, not {step}; {name} is what holds from the first step on")
        doses[step] = (schedule or {})[step]
    for step, dose in doses.items():
        if not 0 < dose < 1:
            where = f"schedule: the {name} from step {step} on" if step else name
            raise ValueError(f"{where} must lie between 0 and 1, not {dose}")
    return doses if hidden_fraction is None else {step: rate_hiding(dose) for step, dose in doses.items()}


def name_spans(spans: Spans) -> str:
    """Say how long spans are.

    >>> name_spans(6), name_spans({1: 0.5, 9: 0.5})
    ('spans of 6 tokens', 'spans of 1 to 9 tokens, 5.00 on average')
    """
    if isinstance(spans, int):
        return f"spans of {spans} token{'s' * (spans != 1)}"
    chances = length_chances(spans)
    return f"spans of {min(spans)} to {max(spans)} tokens, {chances @ np.arange(len(chances)):.2f} on average"
