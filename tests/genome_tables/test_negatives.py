"""Negatives have the length and GC of their windows, and overlap nothing: each fast way against a slow one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.genome_tables.negatives import GC_TOLERANCE, GcCounts, gaps_of, matched_places, unknown_runs
from hf_genomics.sequence import as_letters, letter_digits

stretches = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 15)).map(lambda one: (one[0], sum(one))), max_size=8)


@given(st.text("ACGTNacgtnR", max_size=400), st.integers(0, 400), st.integers(0, 400))
def test_gc_is_what_counting_gives(text, first, last):
    first, last = sorted((min(first, len(text)), min(last, len(text))))
    counts = GcCounts(letter_digits(as_letters(text)))
    expected = sum(letter in "GCgc" for letter in text[first:last])
    assert counts.count(np.array([first]), np.array([last])).tolist() == [expected]


def columns(pairs):
    return tuple(np.array(pairs, np.int64).reshape(-1, 2).T)


@given(stretches, stretches, st.integers(1, 12), st.integers(0, 9))
def test_every_free_place_can_be_drawn_and_no_other(some, others, length, seed):
    blocked = np.zeros(60, bool)
    for start, end in some + others:
        blocked[start:end] = True
    free = {start for start in range(60 - length + 1) if not blocked[start : start + length].any()}
    gaps = gaps_of(60, [columns(some), columns(others)])
    drawn = gaps.draw(length, (2000,), np.random.default_rng(seed))
    assert (set() if drawn is None else set(drawn.tolist())) == free


def test_unknown_letters_are_found():
    starts, ends = unknown_runs(letter_digits(as_letters("NNACGRTACNN")))
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(0, 2), (5, 6), (9, 11)]


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_negatives_match_and_overlap_nothing(seed):
    random = np.random.default_rng(seed)
    letters = as_letters("".join(random.choice(list("ACGT"), 6000)))
    starts = np.sort(random.choice(150, 8, replace=False)) * 40
    ends = starts + random.integers(5, 40, 8)
    counts = GcCounts(letter_digits(letters))
    gaps = gaps_of(len(letters), [(starts, ends), (np.array([3000]), np.array([3500]))])
    found = matched_places(starts, ends, counts, gaps, np.random.default_rng(seed))
    assert (found == matched_places(starts, ends, counts, gaps, np.random.default_rng(seed))).all()
    assert (found >= 0).sum() >= 6
    used = np.zeros(6000, bool)
    used[3000:3500] = True
    for start, end in zip(starts, ends, strict=True):
        used[start:end] = True
    for start, end, place in zip(starts, ends, found, strict=True):
        length = end - start
        if place < 0:  # no free place has the GC of this window
            continue
        assert not used[place : place + length].any()
        used[place : place + length] = True
        gc = [np.isin(letters[at : at + length], list(b"GC")).sum() for at in (start, place)]
        assert abs(int(gc[0]) - int(gc[1])) <= max(1, GC_TOLERANCE * length)


def test_a_window_without_a_place_has_no_negative():
    counts = GcCounts(letter_digits(as_letters("ACGT" * 10)))
    gaps = gaps_of(40, [columns([(0, 35)])])
    assert matched_places(*columns([(0, 10)]), counts, gaps, np.random.default_rng(0)).tolist() == [-1]
