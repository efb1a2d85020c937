"""Pooling, packed rows, and the way between tokens and nucleotides, each against a slow and obvious twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hf_genomics import KmerTokenizer
from hf_genomics.pooling import check_nt_labels, first_tokens, nt_reach, nt_to_tokens, pool, tokens_to_nt, unpack
from hf_genomics.sequence import num_kmers

POOLINGS = ["cls", "mean", "max", "attention"]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pool_slowly(hidden: Tensor, how: str, scores: Tensor) -> Tensor:
    """Pool one sequence without padding, (tokens, hidden)."""
    if how == "cls":
        return hidden[0]
    if how == "max":
        return torch.stack([hidden[:, column].max() for column in range(hidden.shape[1])])
    shares = scores.exp() / scores.exp().sum() if how == "attention" else torch.full_like(scores, 1 / len(scores))
    return sum(share * row for share, row in zip(shares, hidden, strict=True))


@given(st.sampled_from(POOLINGS), st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=4))
def test_pooling_sees_the_tokens_of_its_sequence_alone(how: str, rows: list[tuple[int, int]]) -> None:
    width = max(length + left for length, left in rows)
    hidden, scores = drawn(len(rows), width, 3), drawn(len(rows), width, seed=1)
    real = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, (length, left) in enumerate(rows):
        real[row, left : left + length] = True
    spoilt = hidden.masked_fill(~real.unsqueeze(-1), float("inf"))
    pooled = pool(spoilt, real, how, scores.masked_fill(~real, 50.0))
    for row, (length, left) in enumerate(rows):
        part = slice(left, left + length)
        assert torch.allclose(pooled[row], pool_slowly(hidden[row, part], how, scores[row, part]), atol=1e-5)


@pytest.mark.parametrize("how", POOLINGS[1:])
def test_a_row_of_padding_alone_is_zero(how: str) -> None:
    real = torch.tensor([[1, 1], [0, 0]]).bool()
    assert (pool(drawn(2, 2, 3), real, how, drawn(2, 2))[1] == 0).all()


def packed(rows: list[list[int]], width: int) -> tuple[Tensor, Tensor]:
    """Positions and mask of rows of sequences of these lengths, padded on the right."""
    positions, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width)
    for row, lengths in enumerate(rows):
        numbers = [number for length in lengths for number in range(length)]
        positions[row, : len(numbers)], mask[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.long), 1
    return positions, mask


@given(st.lists(st.lists(st.integers(1, 5), max_size=3), min_size=1, max_size=3).filter(any))
def test_packed_sequences_get_rows_of_their_own_in_reading_order(rows: list[list[int]]) -> None:
    width = max(map(sum, rows)) + 1
    positions, mask = packed(rows, width)
    values = drawn(len(rows), width, 2)
    unpacked, real = unpack([values], mask, positions)
    expected = []
    for row, lengths in enumerate(rows):
        ends = np.cumsum([0, *lengths])
        expected += [values[row, begin:end] for begin, end in zip(ends, ends[1:], strict=False)]
    if all(len(lengths) <= 1 for lengths in rows):  # not packed: nothing moves, empty rows stay
        assert unpacked is values and torch.equal(real, mask.bool())
        return
    assert len(unpacked) == len(expected)
    for found, there, want in zip(unpacked, real, expected, strict=True):
        assert torch.equal(found[there], want) and not found[~there].any()


def test_packed_sequences_get_rows_of_their_own_in_a_compiled_model_too() -> None:
    positions, mask = packed([[3, 1, 2], [4]], 7)
    expected, found = (
        way([drawn(2, 7, 3)], mask, positions)[0] for way in (unpack, torch.compile(unpack, backend="eager"))
    )
    assert expected.shape == (4, 4, 3) and torch.equal(found, expected)


@given(st.lists(st.lists(st.integers(1, 5), max_size=3), min_size=1, max_size=3), st.booleans())
def test_first_tokens_are_what_cls_pools(rows: list[list[int]], left: bool) -> None:
    width = max(map(sum, rows)) + 1
    positions, mask = packed(rows, width)
    if left:
        positions, mask = (column.roll(1, 1) for column in (positions, mask))
    hidden = drawn(len(rows), width, 2)
    for given_positions in (positions, None):
        pooled = pool(*unpack([hidden], mask, given_positions), "cls")
        assert torch.equal(hidden[first_tokens(hidden, mask, given_positions)], pooled)


def test_rows_padded_on_the_left_are_not_packed() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    for positions in (torch.tensor([[1, 1, 0, 1], [0, 1, 2, 3]]), torch.arange(4)[None]):
        hidden, real = unpack([drawn(2, 4, 3)], mask, positions)
        assert torch.equal(real, mask.bool()) and hidden.shape == (2, 4, 3)


def spread_slowly(kmers: Tensor, k: int, stride: int, length: int) -> Tensor:
    """Spread the vectors of one sequence's k-mers, (k-mers, size), over its nt, one nucleotide at a time."""
    result = []
    for nt in range(length):
        covering = [vector for j, vector in enumerate(kmers) if j * stride <= nt < j * stride + k]
        before = [vector for j, vector in enumerate(kmers) if j * stride <= nt]
        result.append(sum(covering) / len(covering) if covering else before[-1])
    return torch.stack(result)


@given(
    st.integers(1, 8),
    st.integers(1, 10),
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=4),
    st.integers(0, 3),
    st.booleans(),
)
def test_logits_of_nucleotides_equal_a_loop(k: int, stride: int, rows: list, padding: int, special: bool) -> None:
    """Any k, stride (gaps too), length, tail, padding on either side, with and without [CLS] and [SEP]."""
    lengths = [k + extra for extra, _ in rows]
    counts = [num_kmers(length, k, stride) for length in lengths]
    width = max(counts) + 2 * special + padding
    tokens = drawn(len(rows), width, 3)
    kmers = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, (_, left) in enumerate(rows):
        begin = int(special) + (width - counts[row] - 2 * special if left else 0)
        kmers[row, begin : begin + counts[row]] = True
    spread = tokens_to_nt(tokens, kmers, k, stride)
    assert spread.shape[1] == nt_reach(kmers, k, stride) >= max(lengths)
    longer = tokens_to_nt(tokens, kmers, k, stride, max(lengths) + 7)
    for row, length in enumerate(lengths):
        expected = spread_slowly(tokens[row][kmers[row]], k, stride, length)
        assert torch.allclose(spread[row, :length], expected, atol=1e-5)
        assert torch.equal(longer[row, :length], spread[row, :length]), "does not depend on the other rows"


def test_a_row_without_kmers_has_logits_of_zero() -> None:
    kmers = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0]]).bool()
    spread = tokens_to_nt(drawn(2, 4, 3), kmers, 3, 1)
    assert spread.shape == (2, 4, 3) and (spread[1] == 0).all()
    assert tokens_to_nt(drawn(2, 4, 3), torch.zeros_like(kmers), 3, 1).shape == (2, 0, 3)


def test_kmers_of_a_pair_are_refused() -> None:
    kmers = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 1]]).bool()
    with pytest.raises(ValueError, match="between the k-mers of a row"):
        tokens_to_nt(drawn(2, 4, 3), kmers, 3, 1)
    with pytest.raises(ValueError, match="between the k-mers of a row"):
        nt_to_tokens(drawn(2, 9, 3), kmers, 3, 1, torch.zeros(3))


@given(st.integers(1, 8), st.integers(1, 10), st.lists(st.integers(0, 20), min_size=1, max_size=4))
def test_signals_of_kmers_are_means_over_their_nucleotides(k: int, stride: int, extra: list[int]) -> None:
    lengths = [k + more for more in extra]
    counts = [num_kmers(length, k, stride) for length in lengths]
    values = drawn(len(lengths), max(lengths), 2)
    kmers = torch.zeros(len(lengths), max(counts) + 3, dtype=torch.bool)
    for row, count in enumerate(counts):
        kmers[row, 1 : 1 + count] = True
    elsewhere = torch.tensor([7.0, 9.0])
    found = nt_to_tokens(values, kmers, k, stride, elsewhere)
    for row, count in enumerate(counts):
        means = [values[row, j * stride : j * stride + k].mean(0) for j in range(count)]
        assert torch.allclose(found[row][kmers[row]], torch.stack(means), atol=1e-5)
        assert (found[row][~kmers[row]] == elsewhere).all()


def test_sequences_too_short_for_a_kmer_take_no_signal() -> None:
    found = nt_to_tokens(drawn(1, 2, 1), torch.zeros(1, 2, dtype=torch.bool), 6, 1, torch.tensor([7.0]))
    assert found.tolist() == [[[7.0], [7.0]]], "[CLS] and [SEP] alone"


def test_signals_shorter_than_the_sequence_are_refused() -> None:
    kmers = torch.ones(1, 5, dtype=torch.bool)
    with pytest.raises(ValueError, match="6 nt, .* 7"):
        nt_to_tokens(drawn(1, 6, 2), kmers, 3, 1, torch.zeros(2))


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (6, 3), (6, 6), (2, 4)])
def test_labels_reach_as_far_as_a_sequence_of_so_many_tokens_and_no_farther(k: int, stride: int) -> None:
    longest = 4 * stride + k - 1  # one nt more would be a fifth k-mer
    assert (num_kmers(longest, k, stride), num_kmers(longest + 1, k, stride)) == (4, 5)
    tokenizer = KmerTokenizer(k, stride, allow_gaps=stride > k)
    ids = torch.tensor([tokenizer("A" * longest)["input_ids"]])
    kmers = ids > 4
    labelled = torch.ones(1, longest, dtype=torch.bool)
    check_nt_labels(labelled, kmers, k, stride)
    with pytest.raises(ValueError, match=rf"row 0: nucleotide {longest + 1} has a label, .* reach {longest} nt"):
        check_nt_labels(torch.ones(1, longest + 1, dtype=torch.bool), kmers, k, stride)
    with pytest.raises(ValueError, match=r"labels must be \(1 sequences, nt\)"):
        check_nt_labels(labelled.repeat(2, 1), kmers, k, stride)
