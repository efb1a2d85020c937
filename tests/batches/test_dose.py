"""The exact dose of a masking: against the paper's arithmetic, enumeration, plain chains and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics import DataCollatorForSpanMasking, KmerTokenizer
from hf_genomics.batches.chance import random_bits, row_keys
from hf_genomics.batches.dose import (
    all_masked,
    geometric_lengths,
    kmers_over_nucleotides,
    length_probabilities,
    masking_fractions,
    start_rate_hiding,
    start_rate_masking,
    unknown_fraction,
)
from hf_genomics.batches.masking import draw_starts, span_places

SETUPS = {"base": (6, 0.025, 1), "mask8": (8, 0.01875, 1), "printed": (8, 0.02875, 1), "stride3": (3, 0.05, 3)}
BASE = KmerTokenizer(6)

span_choices = st.one_of(
    st.integers(1, 12),
    st.dictionaries(st.integers(1, 9), st.floats(0.05, 1), min_size=1, max_size=4),
    st.builds(geometric_lengths, st.floats(0.05, 0.9), st.integers(1, 12)),
)


@pytest.mark.parametrize(
    ("setup", "tokens", "nucleotides"),
    [("base", 14.09, 3.35), ("mask8", 14.05, 5.99), ("printed", 20.81, 9.43), ("stride3", 14.26, 9.98)],
)
def test_the_papers_masked_and_hidden_shares_come_out(setup: str, tokens: float, nucleotides: float) -> None:
    span, rate, stride = SETUPS[setup]
    shares = [round(100 * share, 2) for share in masking_fractions(span, rate, 6, stride)]
    assert shares == [tokens, nucleotides]


@given(st.integers(1, 12), st.floats(0.01, 0.9))
def test_a_start_rate_gives_the_masked_share_it_was_made_for(span: int, share: float) -> None:
    rate = start_rate_masking(share, span)
    assert masking_fractions(span, rate, k=6)[0] == pytest.approx(share)


def all_masked_slowly(span: int, rate: float, most: int) -> list[float]:
    """Go by the distance to the last start, for spans of one length."""
    since = rate * (1 - rate) ** np.arange(span)
    chances = [1.0]
    for _ in range(most):
        chances.append(float(since.sum()))
        since = np.concatenate([[rate * since.sum()], (1 - rate) * since[:-1]])
    return chances


@given(st.integers(1, 15), st.floats(1e-4, 0.999), st.integers(0, 12))
def test_the_chain_of_tokens_left_equals_that_of_the_distance_to_the_last_start(span, rate, most) -> None:
    assert all_masked(span, rate, most) == pytest.approx(all_masked_slowly(span, rate, most), abs=1e-12)


def enumerated(spans: dict[int, float], rate: float, n: int) -> float:
    """Chance that n tokens in a row are masked, by trying all spans that could begin in or before them."""
    longest, total = max(spans), 0.0
    choices = [(0, 1 - rate), *((length, rate * chance) for length, chance in spans.items())]
    for drawn in itertools.product(choices, repeat=longest - 1 + n):
        masked = set()
        for place, (length, _) in enumerate(drawn, start=-(longest - 1)):
            masked.update(range(place, place + length))
        if set(range(n)) <= masked:
            total += float(np.prod([chance for _, chance in drawn]))
    return total


@settings(max_examples=25)
@given(
    st.dictionaries(st.integers(1, 3), st.floats(0.1, 1), min_size=1, max_size=2),
    st.floats(0.01, 0.99),
    st.integers(1, 4),
)
def test_the_chain_equals_the_sum_over_all_draws(spans, rate, n) -> None:
    scaled = {length: chance / sum(spans.values()) for length, chance in spans.items()}
    assert all_masked(spans, rate, n)[n] == pytest.approx(enumerated(scaled, rate, n), abs=1e-12)


def hidden_on_a_ring(ring: int, span: int, rate: float, k: int, stride: int) -> float:
    """Hidden share of a circle of tokens, by trying all starts: no ends, so the shares are those far from ends."""
    total = 0.0
    for starts in itertools.product((False, True), repeat=ring):
        masked = {(place + offset) % ring for place in range(ring) if starts[place] for offset in range(span)}
        nt = ring * stride
        shown = {(token * stride + offset) % nt for token in range(ring) if token not in masked for offset in range(k)}
        chance = rate ** sum(starts) * (1 - rate) ** (ring - sum(starts))
        total += chance * (nt - len(shown)) / nt
    return total


@pytest.mark.parametrize(("span", "k", "stride"), [(3, 3, 1), (4, 3, 1), (2, 4, 2), (3, 4, 2), (2, 5, 3), (1, 3, 3)])
@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_the_hidden_share_equals_that_of_all_masks_of_a_circular_row(span, k, stride, rate) -> None:
    exact = masking_fractions(span, rate, k, stride)[1]
    assert exact == pytest.approx(hidden_on_a_ring(11, span, rate, k, stride), abs=1e-12)


@given(span_choices, st.floats(0.001, 0.99), st.integers(1, 8), st.data())
def test_the_rate_found_hides_the_share_asked_for(spans, share, k, data) -> None:
    stride = data.draw(st.integers(1, k))
    least = int(kmers_over_nucleotides(k, stride).min())
    if len(length_probabilities(spans)) - 1 < least:
        with pytest.raises(ValueError, match="hides no nucleotide"):
            start_rate_hiding(share, spans, k, stride)
    else:
        rate = start_rate_hiding(share, spans, k, stride)
        assert 0 < rate < 1 and masking_fractions(spans, rate, k, stride)[1] == pytest.approx(share, abs=1e-9)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 60))
def test_covering_k_mers_are_counted_as_a_loop_does(k: int, stride: int, more: int) -> None:
    window, seen = k + more, []
    for nt in range(window):
        seen.append(sum(1 for start in range(0, window - k + 1, stride) if start <= nt < start + k))
    assert kmers_over_nucleotides(k, stride, window).tolist() == [count for count in seen if count]
    inner = {nt % stride: count for nt, count in enumerate(seen) if k <= nt < window - k - stride}
    if more > 3 * k + 2 * stride:
        assert sorted(kmers_over_nucleotides(k, stride)) == sorted(count for count in inner.values() if count)


def hidden_nt(masked: np.ndarray, k: int, stride: int) -> np.ndarray:
    """Which nucleotides no visible token shows, (rows, nt)."""
    rows, tokens = masked.shape
    shown = np.zeros((rows, (tokens - 1) * stride + k), bool)
    for offset in range(k):
        shown[:, offset : offset + (tokens - 1) * stride + 1 : stride] |= ~masked
    return ~shown


DOSES = {
    "base": (1, {"span": 6, "start_rate": 0.025}),
    "wide": (1, {"span": 12, "hidden_fraction": 0.15}),
    "stride3": (3, {"span": 3, "hidden_fraction": 0.1}),
    "stride6": (6, {"span": 1, "hidden_fraction": 0.15}),
    "geometric": (1, {"span_geometric": 0.1, "span_cap": 20, "hidden_fraction": 0.1}),
    "list": (3, {"span_lengths": {2: 0.25, 5: 0.75}, "hidden_fraction": 0.2}),
}


@pytest.mark.parametrize("name", DOSES)
def test_a_large_simulation_masks_and_hides_the_exact_shares(name: str) -> None:
    """Of whole windows, ends included: the exact share of windows of that length, within five standard errors."""
    stride, options = DOSES[name]
    collator, rows, tokens = DataCollatorForSpanMasking(KmerTokenizer(6, stride), **options), 2000, 300
    ids = np.full((rows, tokens), 5)
    places, _ = collator.choose(ids, row_keys(5, np.zeros(1), np.arange(rows)))
    masked = np.zeros(rows * tokens, bool)
    masked[places] = True
    masked = masked.reshape(rows, tokens)
    hidden = hidden_nt(masked, 6, stride)
    exact = masking_fractions(collator._spans, collator._rates[0], 6, stride, window=hidden.shape[1])
    for share, seen in zip(exact, (masked, hidden), strict=True):
        by_row = seen.mean(1)
        assert abs(by_row.mean() - share) < 5 * by_row.std() / rows**0.5
    if "hidden_fraction" in options:
        inner = hidden[:, 6:-6].mean(1)
        assert abs(inner.mean() - options["hidden_fraction"]) < 5 * inner.std() / rows**0.5


@pytest.mark.parametrize("replacement", ["span", "token"])
def test_what_stays_unknown_when_some_tokens_are_kept_is_what_is_promised(replacement) -> None:
    collator = DataCollatorForSpanMasking(BASE, 8, 0.05, replacement, mask_share=0.6, random_share=0.1)
    ids, rows = np.full((4000, 120), 7), 4000
    shown, labels = collator.mask(ids, np.arange(rows), np.zeros(rows, np.int64))
    kept = (labels == -100) | (shown == labels)
    unknown = hidden_nt(~kept, 6, 1)[:, 6:-6].mean(1)
    exact = unknown_fraction(8, 0.05, 6, keep_share=0.3, per_span=replacement == "span")
    assert abs(unknown.mean() - exact) < 5 * unknown.std() / rows**0.5 + 1e-4


@given(st.floats(0.01, 0.9), st.integers(1, 30))
def test_geometric_lengths_are_geometric_and_add_up_to_one(chance: float, cap: int) -> None:
    lengths = geometric_lengths(chance, cap)
    assert list(lengths) == list(range(1, cap + 1)) and sum(lengths.values()) == pytest.approx(1)
    for length in range(1, cap):
        assert lengths[length + 1] / lengths[length] == pytest.approx(1 - chance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_rate": 0.1, "hidden_fraction": 0.1}, r"start_rate \(0.1\) and hidden_fraction \(0.1\) both set"),
        ({"hidden_fraction": 0.0}, "hidden_fraction must be above 0 and below 1, not 0.0"),
        ({"hidden_fraction": 1.0}, "hidden_fraction must be above 0 and below 1, not 1.0"),
        (
            {"hidden_fraction": 0.1, "span": 5},
            "spans of 6 tokens or more at k 6 and stride 1; a span of 5 hides no nucleotide",
        ),
        ({"span": 6, "span_geometric": 0.2}, "span and span_geometric both define"),
        ({"span_geometric": 0.2, "span_lengths": {3: 1.0}}, "span_lengths and span_geometric both"),
        ({"span_geometric": 1.0}, "span_geometric must be above 0 and below 1, not 1.0"),
        ({"span_geometric": 0.2, "span_cap": 0}, "span_cap be at least 1 token, not 0"),
        ({"span_lengths": {3: 0.5}}, "must add up to 1, not 0.5"),
        ({"span_lengths": {0: 1.0}}, "gives 0 tokens the probability 1.0"),
        ({"span_lengths": {}}, "must add up to 1, not 0"),
        ({"schedule": {0: 0.1}}, "steps are 1 or more, not 0; start_rate"),
        ({"schedule": {100: 1.5}}, "the start_rate from step 100 on must be above 0 and below 1, not 1.5"),
        ({"hidden_fraction": 0.1, "schedule": {9: 0}}, "the hidden_fraction from step 9 on must be above 0"),
    ],
)
def test_doses_that_contradict_or_cannot_be_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        DataCollatorForSpanMasking(BASE, **options)


def test_a_hidden_fraction_needs_a_tokenizer_of_k_mers() -> None:
    class Words:
        mask_token_id, all_special_ids = 1, [0, 1]

        def __len__(self) -> int:
            return 9

    DataCollatorForSpanMasking(Words(), start_rate=0.1)
    with pytest.raises(ValueError, match="which a Words does not have; give start_rate"):
        DataCollatorForSpanMasking(Words(), hidden_fraction=0.1)


def test_the_dose_is_said_in_all_cases() -> None:
    def say(stride=1, **options):
        return DataCollatorForSpanMasking(KmerTokenizer(6, stride), **options).describe(6, stride)

    assert "3.35% of nucleotides hidden (3.02% once 10% are kept per span)" in say()
    assert "3.35% of nucleotides hidden (1.78% once 10% are kept per token)" in say(replacement="token")
    assert say(mask_share=1.0, random_share=0.0).endswith("3.35% of nucleotides hidden")
    assert "15.00% of nucleotides hidden" in say(span=12, hidden_fraction=0.15)
    assert "spans of 1 token," in say(6, span=1, hidden_fraction=0.15)
    assert "spans of 1 to 10 tokens, 3.80 on average" in say(span_geometric=0.2)
    text = say(start_rate=start_rate_masking(0.15, 6), schedule={100_000: start_rate_masking(0.2, 6)})
    assert "15.00% of tokens masked" in text and "from step 100,000 on start rate 3.6508%: 20.00% of tokens" in text


# Schedules.


def test_rows_of_a_later_step_get_the_later_dose_whatever_batch_they_are_in() -> None:
    letters = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", np.uint8), (40, 200))
    steps = np.random.default_rng(1).permutation(40)
    rows = [{"sequence": letters[row], "window_index": row, "step": int(steps[row])} for row in range(40)]
    collate = DataCollatorForSpanMasking(BASE, 6, 0.02, schedule={10: 0.2, 30: 0.5})
    batch = collate(rows)
    for first, rate in {0: 0.02, 10: 0.2, 30: 0.5}.items():
        phase = [row for row in range(40) if first <= steps[row] < {0: 10, 10: 30, 30: 99}[first]]
        alone = DataCollatorForSpanMasking(BASE, 6, rate)([rows[row] for row in phase])
        assert phase and (batch["labels"][phase] == alone["labels"]).all()
        assert (batch["input_ids"][phase] == alone["input_ids"]).all()
    without = [{name: value for name, value in row.items() if name != "step"} for row in rows]
    assert (collate(without)["labels"] == DataCollatorForSpanMasking(BASE, 6, 0.02)(rows)["labels"]).all()


# Spans of several lengths, token by token.


@given(st.integers(1, 25), st.integers(0, 10**6), st.sampled_from([{1: 0.5, 4: 0.5}, {2: 0.2, 3: 0.3, 7: 0.5}]))
def test_spans_of_several_lengths_equal_a_double_loop(tokens: int, seed: int, lengths: dict[int, float]) -> None:
    random, span = np.random.default_rng(seed), max(lengths)
    rows, starts = np.nonzero(random.random((3, tokens + span - 1)) < 0.3)
    drawn = random.choice(list(lengths), len(rows), p=list(lengths.values()))
    expected = set()
    for row, start, length in zip(rows, starts, drawn, strict=True):
        for token in range(start - (span - 1), start - (span - 1) + length):
            if 0 <= token < tokens:
                expected.add(int(row * tokens + token))
    assert span_places(rows, starts, span, tokens, drawn).tolist() == sorted(expected)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 6), min_size=1, max_size=40), st.sampled_from([0.02, 0.2]))
def test_spans_of_drawn_lengths_equal_going_from_start_to_start(seed: int, row: list[int], rate: float) -> None:
    """A row of ids 0 to 6, of which 5 and 6 may be masked, alone and in a batch."""
    lengths = {2: 0.25, 3: 0.25, 7: 0.5}
    collator = DataCollatorForSpanMasking(BASE, start_rate=rate, span_lengths=lengths, seed=seed)
    keys = row_keys(seed, np.zeros(1), np.array([3, 4]))

    def length_at(column: int) -> int:
        unit = (int(random_bits(keys[:1], 5, 1, column)[0, 0]) >> 11) * 2.0**-53
        return 2 if unit < 0.25 else 3 if unit < 0.5 else 7

    may = {token for token, each in enumerate(row) if each > 4}
    starts = [start - 6 for start in draw_starts(keys[:1], rate, len(row) + 6)[1].tolist()]
    masked = {token for start in starts for token in range(start, start + length_at(start + 6))} & may
    if may and not masked:
        start = max(may, key=lambda token: (int(random_bits(keys[:1], 1, 1, token)[0, 0]), -token))
        masked = set(range(start, start + length_at(start + 6))) & may
    ids = np.array([row, row[::-1]])
    alone, both = collator.choose(ids[:1], keys[:1])[0].tolist(), collator.choose(ids, keys)[0]
    assert alone == sorted(masked) == both[both < len(row)].tolist()
