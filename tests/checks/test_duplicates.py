"""Duplicates over any number of files, in any case and on either strand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.checks import duplicates as module
from hf_genomics.checks.duplicates import Catalogue, CheckedSequence, canonical_digest
from hf_genomics.sequence import as_letters, reverse_complement

LETTERS = "ACGTRYSWKMBDHVNacgtn"


def catalogue_of(sequences: list[str], splits: list[int], labels: list[str] | None = None) -> Catalogue:
    catalogue = Catalogue()
    for row, (sequence, split) in enumerate(zip(sequences, splits, strict=True)):
        letters = as_letters(sequence)
        item = CheckedSequence(f"r{row}", letters, split, is_nucleotides=True, label=labels[row] if labels else "")
        catalogue.add("x.fa", [item], letters, np.array([len(letters)]))
    return catalogue


@given(st.text(LETTERS, min_size=1, max_size=40), st.integers(1, 9))
def test_a_sequence_in_blocks_has_the_hash_of_the_whole(sequence: str, block: int) -> None:
    letters = as_letters(sequence)
    whole = canonical_digest(letters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_NT", block)
        assert canonical_digest(letters) == whole
    opposite = canonical_digest(reverse_complement(letters))
    assert opposite == (whole[0], -whole[1])


@given(st.lists(st.tuples(st.text("ACgt", min_size=1, max_size=3), st.integers(-1, 2)), max_size=25))
def test_duplicates_and_leaks_are_those_of_a_plain_loop(rows: list[tuple[str, int]]) -> None:
    texts, splits = [text.upper() for text, _ in rows], [split for _, split in rows]
    catalogue = catalogue_of([text for text, _ in rows], splits)
    expected = []
    for row, text in enumerate(texts):
        before = texts[:row]
        if text in before:
            expected.append((f"r{row}", f"r{before.index(text)}", "exact"))
        elif reverse_complement(text) in before:
            expected.append((f"r{row}", f"r{before.index(reverse_complement(text))}", "reverse complement"))
    assert [(pair.record, pair.other, pair.kind) for pair in catalogue.duplicates()] == expected
    leaks: list[tuple[str, str, str, str]] = []
    for row, text in enumerate(texts):
        for earlier in range(max(0, splits[row])):
            theirs = [other if split == earlier else "" for other, split in zip(texts, splits, strict=True)]
            name = ("train", "valid", "test")[earlier]
            if text in theirs:
                leaks.append((f"r{row}", name, f"r{theirs.index(text)}", "exact"))
            elif (opposite := reverse_complement(text)) in theirs:
                leaks.append((f"r{row}", name, f"r{theirs.index(opposite)}", "reverse complement"))
    found = [(pair.record, pair.other_split, pair.other, pair.kind) for pair in catalogue.leaks(0.85)]
    assert found == leaks


def test_another_label_of_the_same_sequence_is_told() -> None:
    pairs = catalogue_of(["ACG", "ACG", "ACG", "acg"], [-1] * 4, ["a", "b", "", "a"]).duplicates()
    assert [pair.same_label for pair in pairs] == [False, True, True]
    assert pairs[0]._asdict() == {
        "kind": "exact",
        "file": "x.fa",
        "record": "r1",
        "split": "",
        "other_file": "x.fa",
        "other": "r0",
        "other_split": "",
        "containment": 1.0,
        "identity": 1.0,
        "same_label": False,
    }


def test_records_that_are_no_dna_or_empty_are_nobodys_duplicates() -> None:
    catalogue = Catalogue()
    letters = as_letters("AC-T")
    for is_nucleotides, sequence in ((False, letters), (False, letters), (True, letters[:0]), (True, letters[:0])):
        catalogue.add("x.fa", [CheckedSequence("r", sequence, 0, is_nucleotides)], sequence, np.array([len(sequence)]))
    assert catalogue.duplicates() == catalogue.leaks(0.85) == [] and catalogue.lengths == [4, 4, 0, 0]
