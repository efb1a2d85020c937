"""Predictions: the columns of a table for each kind of task, and runs of nucleotides of one class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.inference.predictions import (
    RUN_COLUMNS,
    Predictions,
    PredictionTable,
    class_runs,
    sequence_columns,
)
from hf_genomics.inference.scores import NtScores
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.labelled.task import Task

LETTERS = [np.frombuffer(b"ACGTA", np.uint8), np.frombuffer(b"GGG", np.uint8)]
SCORES = np.array([[0.25, 0.75], [0.5, 0.5]])
ONE, SEVERAL = Task("single_label_classification", ["no", "yes"]), Task("multi_label_classification", ["a", "b"])


@pytest.mark.parametrize(
    ("task", "scores", "labels", "columns"),
    [
        (ONE, SCORES, None, {"prediction": ["yes", "no"], "p_no": [0.25, 0.5], "p_yes": [0.75, 0.5]}),
        (
            ONE,
            SCORES,
            np.array([1, 0]),
            {"label": ["yes", "no"], "prediction": ["yes", "no"], "p_no": [0.25, 0.5], "p_yes": [0.75, 0.5]},
        ),
        (
            SEVERAL,
            SCORES,
            np.array([[1, np.nan], [0, 1]]),
            {"label_a": [1, 0], "p_a": [0.25, 0.5], "label_b": [np.nan, 1], "p_b": [0.75, 0.5]},
        ),
        (
            Task("regression", ["ref", "alt"]),
            SCORES,
            None,
            {"predicted_ref": [0.25, 0.5], "predicted_alt": [0.75, 0.5]},
        ),
        (Task("regression"), SCORES[:, :1], np.array([1.0, 2.0]), {"label": [1, 2], "prediction": [0.25, 0.5]}),
    ],
)
def test_a_table_has_the_columns_of_its_task(task, scores, labels, columns):
    found = sequence_columns(task, ["x", "y"], [5, 3], scores, labels)
    assert list(found) == ["id", "length", *columns] and found["id"] == ["x", "y"] and found["length"] == [5, 3]
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_missing_label_is_a_missing_number_in_the_frame_and_empty_in_the_file(tmp_path):
    labels = np.array([[1, np.nan], [0, 1]])
    examples = LabelledSequences("t", ["x", "y"], LETTERS, labels, ["a", "b"], "multi_label_classification")
    found = Predictions(examples, SCORES, [], ["a", "b"])
    frame = found.to_pandas()
    assert frame["label_b"].dtype == np.float64 and frame["label_b"].isna().tolist() == [True, False]
    found.write(tmp_path / "p.tsv")
    assert (tmp_path / "p.tsv").read_text().splitlines()[1].split("\t") == ["x", "5", "1", "0.25", "", "0.75"]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=4), st.integers(1, 5))
def test_runs_are_those_of_a_loop_however_the_sequence_is_cut(sequences, step):
    names, random = ["a", "b", "c"], np.random.default_rng(0)
    pieces, expected = [], []
    for owner, classes in enumerate(sequences):
        scores = random.random((len(classes), 3))
        scores[np.arange(len(classes)), classes] += 1
        pieces += [NtScores(owner, f"s{owner}", at, scores[at : at + step]) for at in range(0, len(classes), step)]
        start = 0
        for end in range(1, len(classes) + 1):
            if end == len(classes) or classes[end] != classes[start]:
                number = classes[start]
                expected.append((f"s{owner}", start, end, names[number], scores[start:end, number].mean()))
                start = end
    found = list(class_runs(pieces, names))
    assert [row[:4] for row in found] == [row[:4] for row in expected]
    assert np.allclose([row[4] for row in found], [row[4] for row in expected])


def test_predictions_in_memory_are_a_frame_and_a_file(tmp_path: Path):
    examples = LabelledSequences("t", ["x", "y"], LETTERS, np.array([1, 0]), ["no", "yes"])
    found = Predictions(examples, SCORES, [], ["no", "yes"])
    assert found.to_pandas()["prediction"].tolist() == ["yes", "no"]
    scores, labels = found.labelled()
    assert scores is SCORES and labels.tolist() == [1, 0]
    found.write(tmp_path / "p.tsv")
    assert (tmp_path / "p.tsv").read_text().splitlines()[1].split("\t") == ["x", "5", "yes", "yes", "0.25", "0.75"]


def test_of_nucleotides_those_with_a_label_count():
    labels = [np.array([0, -100, 1, 1, 0]), np.array([-100, 0, 0])]
    examples = LabelledSequences("t", ["x", "y"], LETTERS, None, ["0", "1"], nt_labels=labels)
    nt_scores = [np.tile([0.75, 0.25], (5, 1)), np.tile([0.25, 0.75], (3, 1))]
    found = Predictions(examples, np.zeros(0), nt_scores, ["0", "1"])
    scores, known = found.labelled()
    assert len(scores) == 6 and known.tolist() == [0, 1, 1, 0, 0, 0]
    frame = found.to_pandas()
    assert (
        list(frame) == RUN_COLUMNS and frame["end"].tolist() == [5, 3] and frame["probability"].tolist() == [0.75, 0.75]
    )


@pytest.mark.parametrize(
    ("task", "cells", "types"),
    [(ONE, "01\t3\tNA\t0.5", (str, str)), (Task("regression"), "01\t3\t0.25\t1", (str, np.float64))],
)
def test_a_table_is_read_back_with_its_texts(task, cells, types, tmp_path: Path):
    (tmp_path / "p.tsv").write_text(f"id\tlength\tprediction\tp_NA\n{cells}\n")
    table = PredictionTable(tmp_path / "p.tsv", task, 1, 1)
    assert len(table) == 1 and [row["id"] for row in table] == ["01"]
    frame = table.to_pandas()
    assert isinstance(frame, pd.DataFrame) and frame["id"][0] == "01" and frame["length"][0] == 3
    assert (type(frame["id"][0]), type(frame["prediction"][0])) == types


def test_nucleotides_of_one_group_are_drawn_together():
    labels = [np.array([0, 1, -100, 1, 0]), np.array([1, 1, 0])]
    examples = LabelledSequences("t", ["x", "y"], LETTERS, None, ["0", "1"], nt_labels=labels)
    scores = [np.tile([0.5, 0.5], (len(one), 1)) for one in labels]
    assert Predictions(examples, np.zeros(0), scores, ["0", "1"]).groups().tolist() == [0] * 4 + [1] * 3
    grouped = replace(examples, groups=["genome", "genome"])
    assert Predictions(grouped, np.zeros(0), scores, ["0", "1"]).groups().tolist() == ["genome"] * 7
