"""Columns of a table: what contradicts itself, and what a task needs."""

from __future__ import annotations

import pytest

from hf_genomics.errors import InputError
from hf_genomics.labelled.columns import Columns, match_columns
from hf_genomics.labelled.task import Task

CLASSES = Task("single_label_classification", ["a", "b"], source="runs/model")


@pytest.mark.parametrize("key", ["labels", "tracks", "nt_tracks"])
def test_a_column_is_named_once(key):
    with pytest.raises(InputError, match=rf"columns\.{key} .*'x'"):
        Columns(**{key: ["x", "y", "x"]})


def test_several_labels_and_labels_per_nucleotide_exclude_each_other():
    with pytest.raises(InputError, match=r"columns\.labels.*columns\.nt_labels"):
        Columns(labels=["a"], nt_labels="b")


@pytest.mark.parametrize("labels", [{"label": "x"}, {"labels": ["y", "x"]}, {"nt_labels": "x"}])
@pytest.mark.parametrize("key", ["tracks", "nt_tracks"])
def test_a_label_is_no_track(labels, key):
    with pytest.raises(InputError, match=rf"columns\.{key} names 'x'"):
        Columns(**labels, **{key: ["z", "x"]})
    Columns(**labels, **{key: ["z"]})


def test_columns_that_only_a_table_can_have_are_listed():
    assert Columns(id="name", label="kind").beside() == []
    columns = Columns(labels=["a"], pair="p", tracks=["t"], nt_tracks=["s"])
    assert columns.beside() == ["a", "p", "t", "s"]


def test_a_task_names_the_columns_that_the_user_did_not_name():
    task = Task("multi_label_classification", ["a", "b"], track_names=["age"], nt_track_names=["signal"])
    assert match_columns(Columns(), task) == Columns(labels=["a", "b"], tracks=["age"], nt_tracks=["signal"])
    mine = Columns(sequence="dna", labels=["c", "d"], tracks=["years"], nt_tracks=["signal"])
    assert match_columns(mine, task) == mine


@pytest.mark.parametrize(
    ("columns", "task", "parts"),
    [
        (Columns(tracks=["age"]), CLASSES, ("columns.tracks", "age", "runs/model")),
        (Columns(pair="p"), CLASSES, ("columns.pair", "runs/model")),
        (Columns(), Task("regression", paired=True), ("columns.pair", "the model")),
        (Columns(nt_labels="y"), CLASSES, ("columns.nt_labels", "runs/model")),
        (Columns(), Task("single_label_classification", ["a", "b"], "nt"), ("columns.nt_labels",)),
        (Columns(labels=["a"]), Task("regression", ["a", "b"]), ("columns.labels", "takes 2")),
    ],
)
def test_columns_that_do_not_fit_the_task_are_named(columns, task, parts):
    with pytest.raises(InputError) as caught:
        match_columns(columns, task)
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)
