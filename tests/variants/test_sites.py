"""Alleles, windows and tokens: arithmetic that both strands share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_files import dna

from hf_genomics import KmerTokenizer
from hf_genomics.sequence import as_letters, reverse_complement
from hf_genomics.variants.sites import (
    Event,
    WindowRule,
    classify,
    id_shift,
    place_event,
    place_frames,
    spread_frames,
    trim,
    widen,
)


@pytest.mark.parametrize(
    ("ref", "alt", "flag"),
    [
        ("A", "T", None),
        ("a", "t", None),
        ("A", "ATT", None),
        ("A", "a", "no_change"),
        ("A", "<DEL>", "symbolic"),
        ("A", "<NON_REF>", "symbolic"),
        ("A", "*", "star"),
        ("A", ".", "no_alt"),
        ("A", "A[1:500[", "breakend"),
        ("A", ".TT", "breakend"),
        ("A", "N", "ambiguous"),
        ("R", "A", "ambiguous"),
    ],
)
def test_alleles_that_cannot_be_scored_have_a_reason(ref, alt, flag):
    assert classify(ref, alt) == flag


letters = st.text("ACGT", min_size=1, max_size=6)


@given(letters, letters, st.integers(0, 20))
def test_a_trimmed_event_makes_the_same_sequence_and_is_the_same_on_the_opposite_strand(ref, alt, start):
    contig = dna(start, 1) + ref + dna(20, 2)
    event = trim(start, ref, alt)
    mutated = contig[:start] + alt + contig[start + len(ref) :]
    assert contig[: event.start] + event.alt + contig[event.end :] == mutated
    opposite = trim(len(contig) - start - len(ref), reverse_complement(ref), reverse_complement(alt))
    assert event.reversed(len(contig)) == opposite
    assert event.reversed(len(contig)).reversed(len(contig)) == event


@given(st.text("AC", min_size=8, max_size=14), st.data())
def test_all_records_of_one_insertion_or_deletion_have_one_interval(core, data):
    contig = dna(8, 3) + core + dna(8, 4)
    size = data.draw(st.integers(1, 3))
    start = data.draw(st.integers(9, 8 + len(core) - size))
    deleted = contig[:start] + contig[start + size :]
    same = [place for place in range(1, len(contig) - size) if contig[:place] + contig[place + size :] == deleted]
    records = [(place - 1, contig[place - 1 : place + size], contig[place - 1]) for place in same]
    found = {widen(trim(*record), as_letters(contig), 0) for record in records}
    assert found == {(min(same), max(same) + size)}
    # The insertion that undoes the deletion.
    back = [(place - 1, deleted[place - 1], contig[place - 1 : place + size]) for place in same]
    assert {widen(trim(*record), as_letters(deleted), 0) for record in back} == {(min(same), max(same))}


@given(st.integers(1, 6), st.data())
def test_the_id_of_a_token_changes_as_the_tokenizer_says(k, data):
    contig, start = dna(20), data.draw(st.integers(0, 20 - k))
    width = data.draw(st.integers(1, k))
    at = data.draw(st.integers(start, start + k - width))
    alt = data.draw(st.text("ACGT", min_size=width, max_size=width))
    mutated = contig[:at] + alt + contig[at + width :]
    tokenizer = KmerTokenizer(k=k)
    one, other = (
        tokenizer(text[start : start + k], add_special_tokens=False)["input_ids"][0] for text in (contig, mutated)
    )
    assert id_shift(Event(at, contig[at : at + width], alt), start, k) == other - one


@given(st.sampled_from([(3, 1), (3, 2), (6, 3), (6, 6), (6, 4)]), st.integers(6, 90), st.data())
def test_windows_cover_the_event_stay_on_the_contig_and_depend_on_the_token_only(shape, length, data):
    k, stride = shape
    rule = WindowRule(k, stride, 36, spread_frames(k, stride, 3))
    start = data.draw(st.integers(0, length - 1))
    places = place_frames(start, 1, length, rule)
    assert places  # every position of a contig is in some token
    for place in places:
        assert 0 <= place.start < place.end <= length and place.end - place.start <= rule.length
        assert place.covering == place.whole
        shown = [
            token
            for token in range((place.end - place.start - k) // stride + 1)
            if place.start + token * stride <= start < place.start + token * stride + k
        ]
        assert list(place.covering) == shown
    frames = min(k, stride)
    if frames > 1 and 40 < start < length - 40:
        assert place_event(start, 1, length, rule, 0)[:2] == place_event(start + 1, 1, length, rule, 1)[:2]


def test_an_event_that_no_token_shows_whole_has_no_place():
    rule = WindowRule(3, 1, 30, (0,))
    assert place_frames(40, 4, 100, rule) == ()
    assert len(place_frames(40, 3, 100, rule)[0].whole) == 1
    np.testing.assert_array_equal(place_frames(40, 3, 100, rule)[0].covering, range(13, 18))
