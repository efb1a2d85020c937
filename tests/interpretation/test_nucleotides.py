"""Sums are kept from tokens to nucleotides, and embeddings of plain letters are those of the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics import KmerTokenizer
from hf_genomics.interpretation.nucleotides import (
    embeddings_of_letters,
    hypothetical_scores,
    kmer_starts,
    mean_of_cover,
    one_hot,
    soft_embeddings,
    spread_sum,
)
from hf_genomics.sequence import as_letters, num_kmers

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6)).filter(lambda size: size[1] <= size[0])


def spread_slowly(values, starts, k, length):
    total, cover = np.zeros(length), np.zeros(length)
    for value, start in zip(values, starts, strict=True):
        for place in range(start, start + k) if start >= 0 else ():
            total[place] += value / k
            cover[place] += 1
    return total, cover


@given(SIZES, st.lists(st.integers(6, 30), min_size=1, max_size=3), st.integers(0, 3), st.integers(0, 3))
@settings(deadline=None)
def test_scores_are_spread_as_the_slow_twin_does_for_parts_pairs_and_padding(size, lengths, left, right):
    k, stride = size
    tokens = [[False, *[True] * num_kmers(length, k, stride), False] for length in lengths]
    kmers = np.array([[False] * left + sum(tokens, []) + [False] * right])
    starts = kmer_starts(kmers, [lengths], k, stride)[0]
    values = np.random.default_rng(0).normal(size=kmers.shape[1])
    total, cover = spread_slowly(values, starts.tolist(), k, sum(lengths))
    np.testing.assert_allclose(spread_sum(values, starts, k, sum(lengths)), total, atol=1e-12)
    np.testing.assert_allclose(mean_of_cover(values, starts, k, sum(lengths)), total * k / np.maximum(cover, 1))
    assert spread_sum(values, starts, k, sum(lengths)).sum() == pytest.approx(values[kmers[0]].sum(), abs=1e-9)


def test_the_uncovered_tail_gets_nothing():
    starts = kmer_starts(np.array([[False, True, True, False]]), [[11]], k=6, stride=3)[0]
    assert spread_sum(np.ones(4), starts, 6, 11).tolist()[9:] == [0, 0]


def test_another_number_of_kmers_than_the_sequence_has_is_an_error():
    with pytest.raises(ValueError, match="2 k-mers"):
        kmer_starts(np.array([[True, True]]), [[12]], k=6, stride=1)


@pytest.mark.parametrize(("k", "stride"), [(1, 1), (3, 2), (6, 1), (6, 6)])
def test_embeddings_of_plain_letters_equal_the_table_to_the_bit(k, stride):
    letters = as_letters("ACGTTGCAacgtGGATCCTA")
    tokenizer, table = KmerTokenizer(k=k, stride=stride), torch.randn(5 + 4**k, 7)
    ids, _ = tokenizer.encode_batch([letters])
    starts = torch.from_numpy(kmer_starts(ids >= 5, [[len(letters)]], k, stride))
    plain = torch.from_numpy(one_hot(letters))[None]
    found = embeddings_of_letters(plain, starts, table[torch.from_numpy(ids)], table, k)
    assert torch.equal(found, table[torch.from_numpy(ids)])


def test_equal_shares_of_all_letters_give_the_mean_of_all_kmers():
    table = torch.randn(69, 5, dtype=torch.float64)
    torch.testing.assert_close(soft_embeddings(torch.full((3, 4), 0.25).double(), table, 3), table[5:].mean(0))


def test_an_unknown_letter_has_no_share_and_hypothetical_scores_have_mean_0():
    assert one_hot(as_letters("N")).tolist() == [[0, 0, 0, 0]]
    assert hypothetical_scores(torch.tensor([[1.0, 2.0, 3.0, 6.0]])).tolist() == [[-2, -1, 0, 3]]
