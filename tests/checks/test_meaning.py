"""How labels are understood, in words and in numbers, and what looks like a mistake in them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hf_genomics.checks.meaning import (
    class_counts,
    describe_labels,
    label_warnings,
    rarer_class,
    summarise_labels,
    task_facts,
)
from hf_genomics.labelled.sequences import LabelledSequences

NAN = np.nan


def classes(counts: dict[str, int], **fields: object) -> LabelledSequences:
    """Sequences with so many rows of each class."""
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    ids = list(map(str, range(len(labels))))
    return LabelledSequences("t.csv", ids, [], labels, list(counts), label_column="kind", **fields)


def columns(values: object, names: list[str] | None, problem: str) -> LabelledSequences:
    """Sequences with several labels or targets, or with one value."""
    array = np.array(values, np.float64)
    ids = list(map(str, range(len(array))))
    return LabelledSequences("t.csv", ids, [], array, names, problem, label_column=None if names else "score")


def nucleotides(*rows: list[int]) -> LabelledSequences:
    labels = [np.array(row) for row in rows]
    return LabelledSequences("t.csv", ["a"] * len(rows), [], label_names=["gene", "none"], nt_labels=labels)


def test_classes_are_counted_without_nucleotides_that_have_no_label():
    assert class_counts(classes({"a": 2, "b": 3})) == {"a": 2, "b": 3}
    assert class_counts(nucleotides([0, -100, 1], [1, 1])) == {"gene": 1, "none": 3}


@pytest.mark.parametrize(
    ("counts", "positive"),
    [
        ({"background": 9, "promoter": 2}, "promoter"),
        ({"aa": 2, "background": 9}, "aa"),
        ({"0": 5, "1": 5}, "1"),
        ({"a": 1, "b": 2, "c": 3}, None),
        ({"a": 1}, None),
    ],
)
def test_the_rarer_of_two_classes_is_the_positive_one_and_the_second_of_equal_ones(counts, positive):
    assert rarer_class(classes(counts)) == positive


def test_nucleotides_have_a_rarer_class_and_values_have_none():
    assert rarer_class(nucleotides([0, 1, 1])) == "gene"
    assert rarer_class(columns([0.5, 1], None, "regression")) is None
    assert rarer_class(columns([[0, 1]], ["a", "b"], "multi_label_classification")) is None


@pytest.mark.parametrize(
    ("examples", "line"),
    [
        (classes({"a": 1204, "b": 3}), "2 classes: a 1,204, b 3; f1 and auprc refer to a"),
        (nucleotides([0, 1, 1]), "2 classes of nucleotides: gene 1, none 2; f1 and auprc refer to a"),
        (columns([0.1, 3.4], None, "regression"), "values of 'score': 2 numbers from 0.1 to 3.4"),
        (
            columns([[1, NAN], [0, 1]], ["u", "v"], "multi_label_classification"),
            "2 yes/no labels, rows with yes: u 1 of 2, v 1 of 1",
        ),
        (
            columns([[1, NAN], [0.5, NAN]], ["u", "v"], "regression"),
            "2 targets: 'u' 2 numbers from 0.5 to 1, 'v' no number",
        ),
    ],
)
def test_labels_are_described_in_one_line(examples, line):
    assert describe_labels(examples, "a") == line


def test_a_line_shows_eight_of_many_classes():
    line = describe_labels(classes({f"c{number}": 9 for number in range(30)}))
    assert line.startswith("30 classes: c0 9, ") and "c7 9, ... (30 in all)" in line and "c8" not in line
    assert "means over the classes" in line


def test_the_facts_of_a_task_are_json():
    training = classes({"a": 1, "b": 2})
    facts = task_facts(training.task, {"train": training, "valid": None})
    assert facts == {
        "kind": "classes",
        "labels_per": "sequence",
        "positive": None,
        "counts": {"train": {"a": 1, "b": 2}},
        "files": {"train": "t.csv"},
    }
    values = columns([[1, NAN], [0.5, NAN]], ["u", "v"], "regression")
    counts = json.loads(json.dumps(task_facts(values.task, {"test": values}), allow_nan=False))["counts"]["test"]
    assert counts["v"] == {"numbers": 0, "distinct": 0, "smallest": None, "largest": None}
    assert summarise_labels(columns([1, 2.5], None, "regression"))["score"]["distinct"] == 2


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        ({"promoter": 50, "Promoter": 9}, ["'promoter', 'Promoter' differ only in spelling"]),
        ({"non coding": 50, "non-coding": 9}, ["differ only in spelling"]),
        ({"1": 50, "01": 9, "2": 9}, ["'1', '01' differ only in spelling"]),
        ({"-0": 50, "0": 9}, ["'-0', '0' differ only in spelling"]),
        ({"0.50": 50, "0.5": 9}, ["'0.50', '0.5' differ only in spelling"]),
        ({"caf\u00e9": 9, "cafe\u0301": 9}, ["differ only in spelling"]),
        ({"promoter": 50, "promotor": 1}, ["1 class has fewer than 5 rows", "did you mean 'promoter'"]),
        ({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1, "g": 1}, ["7 classes have", "7 classes in 7 rows"]),
        ({"1": 9, "2": 9, "X": 9}, ["'1', '2' beside 'X'"]),
        ({"a": 9, "-": 9}, ["'-' may stand for a missing label"]),
        ({str(number): 9 for number in range(60)}, ["60 different numbers"]),
    ],
)
def test_what_looks_like_a_mistake_in_classes_is_listed(counts, parts):
    lines = label_warnings(classes(counts))
    assert all(line.startswith("t.csv: ") and "column 'kind'" in line for line in lines)
    assert [part for part in parts if part not in "\n".join(lines)] == []


def test_a_class_that_looks_like_a_missing_value_is_not_called_a_word():
    (line,) = label_warnings(classes({"0": 9, "1": 9, "-": 9}))
    assert "'-' may stand for a missing label" in line
    words, missing = label_warnings(classes({"1": 9, "X": 9, "?": 9}))
    assert "'X'" in words and "'?'" not in words and "'?'" in missing
    (line,) = label_warnings(classes({"+": 9, "-": 9, "?": 9}))
    assert "'?'" in line and "'-'" not in line


@pytest.mark.parametrize(
    "counts",
    [
        {"a": 9, "b": 9},
        {"+": 9, "-": 9},
        {"-1": 9, "1": 9},
        {"0": 5, "1": 5, "3": 5},
        {str(10**17): 9, str(10**17 + 1): 9},
    ],
)
def test_usual_classes_cause_no_warning(counts):
    assert label_warnings(classes(counts)) == []


def test_labels_that_never_vary_and_targets_of_few_values_are_listed():
    labels = columns([[0, 1], [0, 0]], ["u", "v"], "multi_label_classification")
    (line,) = label_warnings(labels)
    assert "'u' is 0 in every row, " in line
    (line,) = label_warnings(columns([[NAN, 0], [1, 1]], ["u", "v"], "multi_label_classification"))
    assert "'u' is 1 in every row that has one, " in line
    (line,) = label_warnings(columns([0.5, 1.5] * 9, None, "regression"))
    assert "'score' has only 2 different values" in line
    assert label_warnings(columns(np.arange(18) / 7, None, "regression")) == []
