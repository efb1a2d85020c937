"""Labels: classes or values, several of them, and what a missing or bad one is told."""

from __future__ import annotations

import numpy as np
import pytest

from hf_genomics.errors import InputError
from hf_genomics.labelled.labels import check_columns, number_columns, read_labels, read_several
from hf_genomics.labelled.sequences import LabelledSequences

NAN = np.nan
ROWS = ["row 1", "row 2", "row 3"]


@pytest.mark.parametrize(
    ("texts", "known", "regression", "labels", "names"),
    [
        (["b", "a", "b"], None, None, [1, 0, 1], ["a", "b"]),
        (["10", "9", " 9"], None, None, [1, 0, 0], ["9", "10"]),
        (["1.5", "2", "x"], None, False, [0, 1, 2], ["1.5", "2", "x"]),
        (["0.5", "2", "-1e3"], None, None, [0.5, 2, -1000], None),
        (["1", "2", "3"], None, True, [1, 2, 3], None),
        (["b", "b", "b"], ["a", "b"], None, [1, 1, 1], ["a", "b"]),
    ],
)
def test_labels_are_classes_or_values(texts, known, regression, labels, names):
    found, found_names = read_labels(texts, ROWS, "fill it in", known, regression)
    assert (found.tolist(), found_names) == (labels, names)
    assert found.dtype == (np.float64 if names is None else np.int64)


@pytest.mark.parametrize(
    ("texts", "known", "parts"),
    [
        (["a", "NA", "b"], None, ("row 2", "missing", "NA", "fill it in")),
        (["a", "", "b"], None, ("row 2", "missing", "fill it in")),
        (["0.5", "1.5", "x"], None, ("row 3", "'x'", "finite")),
        (["a", "b", "c"], ["a", "b"], ("row 3", "'c'", "'a', 'b'")),
    ],
)
def test_a_bad_label_is_named_with_its_row(texts, known, parts):
    with pytest.raises(InputError) as caught:
        read_labels(texts, ROWS, "fill it in", known, None)
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)


def test_columns_of_numbers_have_gaps():
    found = number_columns({"a": ["1", "", "nan"], "b": ["2", "-1", "0.5"]}, ["b", "a"], "t.csv")
    assert np.array_equal(found, [[2, 1], [-1, NAN], [0.5, NAN]], equal_nan=True)
    with pytest.raises(InputError, match=r"t\.csv: data row 2, column 'a': 'inf'"):
        number_columns({"a": ["1", "inf"]}, ["a"], "t.csv")


def test_several_columns_are_yes_or_no_or_values():
    zeros = {"a": ["0", "1"], "b": ["", "1"]}
    assert read_several(zeros, ["a", "b"], None, "t")[1] == "multi_label_classification"
    assert read_several(zeros, ["a", "b"], True, "t")[1] == "regression"
    assert read_several({"a": ["0.5", "1"]}, ["a"], None, "t")[1] == "regression"
    with pytest.raises(InputError, match=r"t: data row 1, column 'a': 0\.5 is neither 0 nor 1"):
        read_several({"a": ["0.5", "1"]}, ["a"], False, "t")
    with pytest.raises(InputError, match="no row has a label in 'a'"):
        read_several({"a": ["", "NA"]}, ["a"], None, "t")


def test_training_needs_a_value_in_every_column():
    letters = [np.frombuffer(b"ACGT", np.uint8)] * 2
    tracks = np.array([[1, NAN], [NAN, NAN]])
    check_columns(LabelledSequences("t", ["1", "2"], letters, tracks=tracks[:, :1], track_names=["age"]))
    with pytest.raises(InputError, match="t: column 'dose' is empty in every row"):
        check_columns(LabelledSequences("t", ["1", "2"], letters, tracks=tracks, track_names=["age", "dose"]))
