"""From k-mers back to letters: each fast function against its readable twin, and round trips."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.kmer_decoding import (
    code_to_kmer,
    is_kmer,
    kmer_to_code,
    merge_kmers,
    mirrored_positions,
    spell,
    split_into_kmers,
)
from hf_genomics.sequence import ALPHABET, as_letters, covered_nt, kmer_codes, num_kmers

K, STRIDE = st.integers(1, 6), st.integers(1, 8)


@pytest.mark.parametrize("k", range(1, 6))
def test_codes_count_the_kmers_in_the_order_of_the_alphabet(k: int) -> None:
    kmers = ["".join(letters) for letters in itertools.product(ALPHABET, repeat=k)]
    assert [kmer_to_code(kmer) for kmer in kmers] == list(range(4**k))
    assert [code_to_kmer(code, k) for code in range(4**k)] == kmers


@given(st.text("ACGTNUacgt[]", max_size=8), K)
def test_a_kmer_has_k_letters_of_dna(token: str, k: int) -> None:
    assert is_kmer(token, k) == (len(token) == k and set(token) <= set("ACGT"))


@given(st.text("ACGTacgtuUN-", max_size=40), K, STRIDE)
def test_the_readable_kmers_have_the_codes_of_the_rolling_ones(text: str, k: int, stride: int) -> None:
    kmers = list(split_into_kmers(text, k, stride, "?"))
    codes, valid = kmer_codes(as_letters(text), k, stride)
    assert len(kmers) == num_kmers(len(text), k, stride)
    assert [None if kmer == "?" else kmer_to_code(kmer) for kmer in kmers] == [
        int(code) if good else None for code, good in zip(codes, valid, strict=True)
    ]


@pytest.mark.parametrize("blank", list(" \t\n\r\v\f"))
def test_blanks_end_a_word(blank: str) -> None:
    assert list(split_into_kmers(f"ACG{blank}TT{blank}{blank}GGGG", 3, 1, "?")) == ["ACG", "GGG", "GGG"]


def test_letters_outside_latin_1_and_those_that_grow_in_upper_case_keep_their_places() -> None:
    assert list(split_into_kmers("AC中GTßACG", 3, 1, "?")) == ["?", "?", "?", "?", "?", "?", "ACG"]


@given(st.text("ACGTN", max_size=40), K, STRIDE)
def test_merging_gives_the_text_back_where_a_kmer_shows_it(text: str, k: int, stride: int) -> None:
    kmers = list(split_into_kmers(text, k, stride, "[UNK]"))
    shown = {
        place
        for number, kmer in enumerate(kmers)
        if kmer != "[UNK]"
        for place in range(number * stride, number * stride + k)
    }
    length = covered_nt(len(kmers), k, stride)
    expected = "".join(text[place] if place in shown else "N" for place in range(length))
    assert merge_kmers(kmers, k, stride) == ([expected] if kmers else [])


def test_a_kmer_that_contradicts_the_one_before_begins_a_word() -> None:
    assert merge_kmers(["ACG", "CGT", "ACG"], 3, 1) == ["ACGT", "ACG"]
    assert merge_kmers([], 3, 1) == []


@given(K, STRIDE, st.data())
def test_spelling_is_merging_where_no_kmers_contradict(k: int, stride: int, data: st.DataObject) -> None:
    if data.draw(st.booleans()):  # of one text, so that they do not contradict
        kmers = list(split_into_kmers(data.draw(st.text("ACGTN", min_size=k, max_size=30)), k, stride, "[UNK]"))
    else:
        kmers = data.draw(st.lists(st.one_of(st.just("[UNK]"), st.text("AT", min_size=k, max_size=k)), min_size=1))
    ids = np.array([kmer_to_code(kmer) + 5 if is_kmer(kmer, k) else 1 for kmer in kmers])
    words = merge_kmers(kmers, k, stride)
    found = spell(ids, k, stride)
    if found is not None:
        assert words == [found]
    else:
        assert len(words) > 1


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 3, 4, 9, 12]), min_size=7, max_size=7), min_size=1))
def test_mirrored_places_reverse_what_lies_between_two_frames(rows: list[list[int]]) -> None:
    found = mirrored_positions(np.array(rows))
    for row, places in zip(rows, found.tolist(), strict=True):
        slow, start = list(range(len(row))), 0
        for place, index in enumerate([*row, 0]):
            if index in (0, 2, 3):
                slow[start:place] = slow[start:place][::-1]
                start = place + 1
        assert places == slow
