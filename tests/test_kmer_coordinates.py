"""Places of tokens and nucleotides against a loop over k-mers, and what is rejected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.kmer_coordinates import nt_to_token, token_to_nt, whole_number, window_nt
from hf_genomics.sequence import num_kmers

K, STRIDE, LEAD = st.integers(1, 8), st.integers(1, 10), st.sampled_from([0, 1])


@given(K, STRIDE, LEAD, st.integers(1, 60))
def test_a_token_covers_a_nucleotide_just_as_often_as_the_reverse(k: int, stride: int, lead: int, length: int) -> None:
    tokens = range(num_kmers(length, k, stride))
    covers = [range(token * stride, token * stride + k) for token in tokens]
    assert [token_to_nt(token + lead, k, stride, lead) for token in tokens] == [(r.start, r.stop) for r in covers]
    for position in range(length):
        first, last = nt_to_token(position, k, stride, lead, length)
        assert type(first) is type(last) is int and first <= last
        assert list(range(first, last)) == [token + lead for token in tokens if position in covers[token]]


@given(K, STRIDE, LEAD, st.integers(0, 60))
def test_without_a_length_the_sequence_has_no_end(k: int, stride: int, lead: int, position: int) -> None:
    assert nt_to_token(position, k, stride, lead) == nt_to_token(position, k, stride, lead, 1000)


@given(K, STRIDE, LEAD, st.lists(st.integers(0, 40)))
def test_many_places_are_converted_as_each(k: int, stride: int, lead: int, places: list[int]) -> None:
    starts, ends = token_to_nt(np.array(places, np.int64) + lead, k, stride, lead)
    assert list(zip(starts, ends, strict=True)) == [token_to_nt(place + lead, k, stride, lead) for place in places]
    starts, ends = nt_to_token(places, k, stride, lead, 41)
    assert list(zip(starts, ends, strict=True)) == [nt_to_token(place, k, stride, lead, 41) for place in places]


@given(K, STRIDE, st.sampled_from([0, 2]), st.integers(3, 50))
def test_the_longest_window_has_just_the_tokens_that_fit(k: int, stride: int, special: int, max_length: int) -> None:
    nt = window_nt(max_length, k, stride, special, 0)
    assert num_kmers(nt, k, stride) == max_length - special
    assert nt == min(n for n in range(nt + 1) if num_kmers(n, k, stride) == max_length - special)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: token_to_nt(0, 3, 1, 1), "token 0 .*index 1"),
        (lambda: token_to_nt([1, -1], 3, 1, 0), r"token \[1, -1\]"),
        (lambda: token_to_nt(1.5, 3, 1, 0), "token .*1.5"),
        (lambda: nt_to_token(True, 3, 1, 0), "position .*True"),
        (lambda: nt_to_token(-1, 3, 1, 0), "position -1"),
        (lambda: nt_to_token(7, 3, 1, 0, 7), "position 7 .*7 nt"),
        (lambda: window_nt(2, 3, 1, 2, 0), "max_length of 2 .*at least 3"),
        (lambda: window_nt(True, 3, 1, 2, 0), "max_length .*True"),
        (lambda: window_nt(4, 3, 1, 2, 4), r"overlap .*0\.\.3, not 4"),
        (lambda: window_nt(4, 3, 1, 2, True), "overlap .*True"),
        (lambda: whole_number("3", "token"), "token .*'3'"),
    ],
)
def test_impossible_places_are_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()


def test_whole_numbers_come_back_as_they_are_and_several_as_an_array() -> None:
    assert whole_number(3, "token") == 3 and type(whole_number(3, "token")) is int
    for value in ([1, 2], np.array([1, 2], np.uint8), (1, 2)):
        array = whole_number(value, "token")
        assert array.dtype == np.int64 and array.tolist() == [1, 2]
    assert whole_number([], "token").shape == (0,)
