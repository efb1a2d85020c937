"""Labels: classes or values, several of them, and what a missing or bad one is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.labelled.labels import are_values, check_columns, number_columns, read_labels, read_several
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


@pytest.mark.parametrize(
    ("texts", "regression", "labels", "names"),
    [
        (["0.0", "1.0", "1"], False, [0, 1, 1], ["0", "1"]),
        (["TRUE", "True", "FALSE"], None, [1, 1, 0], ["False", "True"]),
        (["TRUE", "1", "FALSE"], False, [2, 0, 1], ["1", "FALSE", "TRUE"]),
        (["1.0", "1.5", "1"], False, [1, 2, 0], ["1", "1.0", "1.5"]),
    ],
)
def test_spellings_of_one_number_or_boolean_are_one_class(texts, regression, labels, names):
    found, found_names = read_labels(texts, ROWS, "fill it in", None, regression)
    assert (found.tolist(), found_names) == (labels, names)


@pytest.mark.parametrize(
    ("texts", "known", "labels"),
    [
        (["0.0", "1.0", "1"], ["0", "1"], [0, 1, 1]),
        (["0", "1", "1.0"], ["0.0", "1.0"], [0, 1, 1]),  # a model of version 0.1
        (["true", "FALSE", "True"], ["FALSE", "TRUE"], [1, 0, 1]),
    ],
)
def test_another_table_may_spell_a_class_in_another_way(texts, known, labels):
    found, names = read_labels(texts, ROWS, "fill it in", known, None)
    assert (found.tolist(), names) == (labels, known)


UNCLEAR = st.sampled_from(["0,5", "1,234", "5%", "<1", "-", "inf", "TRUE", "x", "0.0", "1.0", "2", "0.5", "7"])


@given(st.lists(UNCLEAR, min_size=1, max_size=12))
def test_values_are_numbers_with_decimals_and_nothing_else(texts):
    """The slow twin of the decision: what is accepted as values is a column of plain numbers, not all of them whole."""
    rows = [f"row {number}" for number in range(len(texts))]
    try:
        values = are_values(texts, rows, "score")
    except InputError as error:
        assert "regression true" in str(error) and "regression false" in str(error) and "'score'" in str(error)
        assert str(error).split(":")[0] in rows
        assert any(not text.isdigit() and text != "x" for text in texts) or len(set(texts)) > 5
        return
    numbers = {"0.0", "1.0", "2", "0.5", "7"}
    assert values == ("0.5" in texts) and (not values or set(texts) <= numbers)
    assert values or not set(texts) & {"0.5", "0.0", "1.0", "0,5", "1,234", "5%", "<1"}


def test_a_target_that_never_varies_teaches_nothing():
    letters = [np.frombuffer(b"ACGT", np.uint8)] * 3
    constant = LabelledSequences("t", list("abc"), letters, np.full(3, 0.1), label_column="score")
    with pytest.raises(InputError, match="t: column 'score' is 0.1 in every row"):
        check_columns(constant)
    targets = np.array([[1.0, 5], [NAN, 5], [2, NAN]])
    with pytest.raises(InputError, match="t: column 'v' is 5 in every row"):
        check_columns(LabelledSequences("t", list("abc"), letters, targets, ["u", "v"], "regression"))
    check_columns(LabelledSequences("t", list("abc"), letters, targets[:, :1], ["u"], "regression"))


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
