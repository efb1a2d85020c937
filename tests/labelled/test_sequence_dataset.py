"""Labelled sequences as rows for the collator."""

from __future__ import annotations

import numpy as np

from hf_genomics.labelled.sequence_dataset import SequenceDataset, balanced_rows, columns_beside
from hf_genomics.labelled.sequences import LabelledSequences

LETTERS = [np.frombuffer(b"ACGT", np.uint8), np.frombuffer(b"GG", np.uint8)]


def test_a_row_has_index_epoch_and_label():
    examples = LabelledSequences("t", ["a", "b"], LETTERS, np.array([1, 0]), ["x", "y"])
    dataset = SequenceDataset(examples)
    dataset.set_epoch(4)
    row = dataset[1]
    assert (row["window_index"], row["epoch"], row["label"]) == (1, 4, 0)
    assert row["sequence"] is LETTERS[1] and len(dataset) == 2 and "keep_strand" not in row
    assert SequenceDataset(examples, keep_strand=True)[0]["keep_strand"]


def test_labels_that_were_not_measured_are_ignored():
    several = LabelledSequences("t", ["a", "b"], LETTERS, np.array([[1, np.nan], [0, 1]]), ["x", "y"])
    labels = SequenceDataset(several)[0]["label"]
    assert np.isnan(labels).any(), "of values the head leaves out those that are NaN"
    yes_or_no = LabelledSequences(*list(vars(several).values())[:5], "multi_label_classification")
    assert SequenceDataset(yes_or_no)[0]["label"].tolist() == [1, -100]


def test_what_stands_beside_the_sequence_comes_along():
    signals = [np.ones((4, 1)), np.zeros((2, 1))]
    examples = LabelledSequences("t", ["a", "b"], LETTERS, pairs=LETTERS[::-1], nt_tracks=signals)
    assert set(columns_beside(examples, 0)) == {"pair", "nt_tracks"}
    assert columns_beside(examples, 0)["pair"] is LETTERS[1] and columns_beside(examples, 1)["nt_tracks"] is signals[1]
    assert "label" not in SequenceDataset(examples)[0]


def test_balanced_rows_show_each_class_equally_often_and_each_row_of_it_nearly_so():
    labels = np.array([0] * 7 + [1] * 2 + [3] * 3)
    rows = balanced_rows(labels, seed=5)
    assert rows[:12].tolist() == list(range(12)) and np.bincount(labels[rows]).tolist() == [7, 7, 0, 7]
    for label in (0, 1, 3):
        times = np.bincount(rows, minlength=12)[labels == label]
        assert times.max() - times.min() <= 1
    assert balanced_rows(labels, seed=5).tolist() == rows.tolist() != balanced_rows(labels, seed=6).tolist()


def test_a_repeated_row_has_an_index_of_its_own_and_is_described_as_the_row_of_the_file():
    examples = LabelledSequences("t", ["a", "b"], LETTERS, np.array([1, 0]), ["x", "y"])
    dataset = SequenceDataset(examples, numbered=True, chosen=np.array([0, 1, 1]))
    assert len(dataset) == 3 and dataset[2]["window_index"] == dataset[2]["row_number"] == 2
    assert dataset[2]["sequence"] is LETTERS[1] and dataset[2]["label"] == 0
    assert dataset.describe(None, np.array([2])) == [{"file": "t", "row": 2, "record": "b"}]


def test_a_row_is_described_by_its_number_in_the_file_if_earlier_rows_were_left_out():
    examples = LabelledSequences("t", list("abcde"), LETTERS * 2 + LETTERS[:1]).take([1, 3, 4]).take([0, 2])
    assert SequenceDataset(examples).describe(0, np.array([0, 1])) == [
        {"file": "t", "row": 2, "record": "b"},
        {"file": "t", "row": 5, "record": "e"},
    ]
