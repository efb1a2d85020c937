"""Labelled sequences in memory: what kind of labels they have, and whether two splits agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hf_genomics.errors import InputError
from hf_genomics.labelled.sequences import LabelledSequences, check_classes

LETTERS = [np.frombuffer(b"ACGT", np.uint8)] * 2
CLASSES = LabelledSequences("train.csv", ["1", "2"], LETTERS, np.array([0, 1]), ["a", "b"])


def test_the_kind_of_labels_follows_from_their_names():
    assert (CLASSES.problem, CLASSES.task.labels_by_column, len(CLASSES)) == ("single_label_classification", False, 2)
    assert replace(CLASSES, label_names=None).problem == "regression"
    targets = replace(CLASSES, problem_type="regression")
    assert targets.task.labels_by_column and targets.problem == "regression"


def test_labels_that_must_be_known_are_asked_for():
    assert CLASSES.known_labels is CLASSES.labels
    with pytest.raises(InputError, match=r"train\.csv"):
        _ = replace(CLASSES, labels=None).known_labels


def test_splits_agree_in_their_classes():
    check_classes(CLASSES, replace(CLASSES, source="test.csv"))
    check_classes(replace(CLASSES, label_names=None), CLASSES)  # values have no classes
    with pytest.raises(InputError, match=r"test\.csv: its classes 'a', 'c'"):
        check_classes(CLASSES, replace(CLASSES, source="test.csv", label_names=["a", "c"]))
    with pytest.raises(InputError, match=r"test\.csv: no row of class 'b'"):
        check_classes(CLASSES, replace(CLASSES, source="test.csv", labels=np.array([0, 0])))


def test_many_numbers_as_classes_of_which_one_is_missing_may_be_values():
    numbers = replace(CLASSES, label_names=["1", "2.5", "-3"], labels=np.array([0, 1, 2]))
    with pytest.raises(InputError, match=r"no row of class '-3'.*data\.regression true"):
        check_classes(numbers, replace(numbers, source="test.csv", labels=np.array([0, 1, 1])))
