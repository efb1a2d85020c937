"""Labelled sequences as rows for the collator."""

from __future__ import annotations

import numpy as np

from hf_genomics.labelled.sequence_dataset import SequenceDataset, columns_beside
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
