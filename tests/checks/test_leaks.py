"""Leaks and contradictory labels: hashes that mean the same as texts, counts in metrics.json, and warnings."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_files import dna

from hf_genomics.checks import leaks as leaks_module
from hf_genomics.checks.leaks import drop_leaks, find_leaks, row_hashes, sequence_hashes, warn_of_leaks
from hf_genomics.errors import InputError
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.sequence import reverse_complement

TEXTS = st.lists(st.text("ACGTacgtNRy", max_size=12), max_size=12)


def arrays(texts: list[str]) -> list[np.ndarray]:
    """Return the letters of texts."""
    return [np.frombuffer(text.encode(), np.uint8) for text in texts]


def examples(texts: list[str], labels: object = None, **fields: object) -> LabelledSequences:
    """Return rows with these sequences."""
    values = None if labels is None else np.array(labels)
    return LabelledSequences("t.csv", [str(row) for row in range(len(texts))], arrays(texts), values, **fields)


def canonical(text: str) -> str:
    """Return the strand of a sequence that comes first in alphabetical order: the slow, obvious twin of a hash."""
    return min(text.upper(), reverse_complement(text.upper()))


@given(TEXTS, st.integers(1, 20), st.booleans())
def test_two_hashes_are_equal_where_the_sequences_are(texts: list[str], block: int, either_strand: bool) -> None:
    twin = [canonical(text) if either_strand else text.upper() for text in texts]
    whole = sequence_hashes(arrays(texts), either_strand=either_strand)
    assert (whole[:, None] == whole).tolist() == [[one == other for other in twin] for one in twin]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaks_module, "_BLOCK_NT", block)
        pieces = sequence_hashes(arrays(texts), either_strand=either_strand)
    assert whole.dtype == np.uint64 and whole.tolist() == pieces.tolist()


def test_all_short_sequences_have_hashes_of_their_own() -> None:
    texts = ["".join(letters) for length in range(1, 8) for letters in product("ACGT", repeat=length)]
    assert len(np.unique(sequence_hashes(arrays(texts), either_strand=False))) == len(texts)
    assert len(np.unique(sequence_hashes(arrays(texts)))) == len({canonical(text) for text in texts})


@given(TEXTS, TEXTS)
def test_pairs_are_compared_by_both_sequences_in_their_order(one: list[str], other: list[str]) -> None:
    rows = min(len(one), len(other))
    pairs = [(canonical(first), canonical(second)) for first, second in zip(one, other, strict=False)]
    hashes = row_hashes(examples(one[:rows], pairs=arrays(other[:rows])))
    assert (hashes[:, None] == hashes).tolist() == [[first == second for second in pairs] for first in pairs]


@given(TEXTS, TEXTS, TEXTS)
def test_leaks_are_those_of_a_plain_loop(train: list[str], valid: list[str], test: list[str]) -> None:
    splits = {"train": train, "valid": valid, "test": test}
    found = find_leaks({name: examples(texts) for name, texts in splits.items()})
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        known = {canonical(text) for text in splits[one]}
        assert found["leaks"][f"{one}/{other}"] == sum(canonical(text) in known for text in splits[other])
    assert found["contradictory_labels"] == {}


@given(st.lists(st.tuples(st.text("ACg", min_size=1, max_size=2), st.sampled_from([0.0, 1.0, np.nan])), min_size=1))
def test_contradictions_are_those_of_a_plain_loop(rows: list[tuple[str, float]]) -> None:
    labels: dict[str, set[float]] = {}
    for text, label in rows:
        labels.setdefault(canonical(text), set()).update([] if np.isnan(label) else [label])
    expected = sum(len(labels[canonical(text)]) > 1 and not np.isnan(label) for text, label in rows)
    table = examples([text for text, _ in rows], [label for _, label in rows])
    assert find_leaks({"train": table})["contradictory_labels"] == {"train": expected}


def test_each_kind_of_label_can_contradict_itself() -> None:
    def count(texts: list[str], labels: object = None, **fields: object) -> int:
        return find_leaks({"train": examples(texts, labels, **fields)})["contradictory_labels"]["train"]

    assert count(["AAC", "GTT", "AAC", "AAT"], [0, 1, 0, 1], label_names=["a", "b"]) == 3  # GTT is AAC's opposite
    assert count(["AAC", "aac"], [0.5, 0.5]) == 0 and count(["AAC", "aac"], [0.5, 0.25]) == 2
    several = {"label_names": ["x", "y"], "problem_type": "multi_label_classification"}
    assert count(["AAC", "AAC", "AAC"], [[0, np.nan], [np.nan, 1], [0, 1]], **several) == 0
    assert count(["AAC", "AAC", "AAG"], [[0, 0], [np.nan, 1], [1, 1]], **several) == 2
    nt = {"label_names": ["x", "y"]}
    assert count(["AAC", "AAC", "GTT"], nt_labels=[np.array(x) for x in ([0, 0, 1], [0, 1, 1], [1, 0, 0])], **nt) == 2
    missing = [np.array(x) for x in ([0, 0, -100], [0, 0, 1], [-100, 0, 0], [-100, -100, -100])]
    assert count(["AAC", "AAC", "AAG", "AAC"], nt_labels=missing, **nt) == 0, "a missing label contradicts none"
    assert count(["AAC"] * 4, nt_labels=missing, **nt) == 2
    tracks = {"track_names": ["t"]}
    assert count(["AAC", "AAC"], [0, 1], tracks=np.array([[0.0], [-0.0]], np.float32), **tracks) == 2
    assert count(["AAC", "AAC"], [0, 1], tracks=np.array([[1.0], [2.0]], np.float32), **tracks) == 0
    assert count(["AAC", "AAC"], [0, 1], tracks=np.array([[1.0], [1.0]], np.float32), **tracks) == 2


def test_warnings_name_both_files_and_count(caplog: pytest.LogCaptureFixture) -> None:
    one, other = dna(40), dna(40, 1)
    splits = {"train": examples([one, other], [0, 1]), "test": examples([reverse_complement(one), one], [0, 1])}
    found = find_leaks(splits)
    with caplog.at_level(logging.WARNING):
        warn_of_leaks(found, splits)
    assert found == {"leaks": {"train/test": 2}, "contradictory_labels": {"train": 0, "test": 2}}
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and "2 of 2 test sequences are in train too (t.csv)" in lines[0]
    assert "2 of 2 test sequences occur again with another label" in lines[1]
    assert Counter(name for line in lines for name in line.split() if name in (one, other)) == {}


@given(TEXTS, TEXTS)
def test_dropped_rows_are_those_that_other_splits_have(texts: list[str], others: list[str]) -> None:
    seen = {canonical(text) for text in others}
    kept = [str(row) for row, text in enumerate(texts) if canonical(text) not in seen]
    if not kept:
        with pytest.raises(InputError, match=r"t\.csv: data\.drop_leaks leaves no training row"):
            drop_leaks(examples(texts), [examples(others)])
        return
    training, dropped = drop_leaks(examples(texts), [examples(others[:3]), examples(others[3:])])
    assert training.ids == kept and dropped == len(texts) - len(kept)
    assert find_leaks({"train": training, "test": examples(others)})["leaks"] == {"train/test": 0}
