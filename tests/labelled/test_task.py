"""Tasks: what they say of themselves."""

from __future__ import annotations

import numpy as np

from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.labelled.task import Task

LETTERS = [np.frombuffer(b"ACGT", np.uint8)]


def test_examples_know_their_task():
    classes = LabelledSequences("t", ["1"], LETTERS, np.array([0]), ["a", "b"])
    assert classes.task == Task("single_label_classification", ["a", "b"]) and classes.task.source == "t"
    values = LabelledSequences("t", ["1"], LETTERS, np.array([0.5]), pairs=LETTERS)
    assert values.task == Task("regression", None, paired=True)
    marks = LabelledSequences("t", ["1"], LETTERS, np.zeros((1, 2)), ["a", "b"], "multi_label_classification")
    assert marks.task.labels_by_column and not marks.task.is_classification and marks.task.num_labels == 2
    per_nt = LabelledSequences("t", ["1"], LETTERS, label_names=["0", "1"], nt_labels=[np.zeros(4, int)])
    assert (per_nt.task.level, per_nt.task.is_classification, per_nt.task.labels_by_column) == ("nt", True, False)


def test_one_unnamed_value_has_one_output_and_no_column_of_its_own():
    assert Task("regression").num_labels == 1 and not Task("regression").labels_by_column
    assert Task("regression", ["ref", "alt"]).labels_by_column


def test_the_source_of_a_task_does_not_count_in_comparisons():
    assert Task("regression", source="a.csv") == Task("regression", source="runs/model")
