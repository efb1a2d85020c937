"""LabelledData: tables or windows of a store, one split at a time, and the keys of version 0.1."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hf_genomics import LabelledData, prepare
from hf_genomics.errors import InputError
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.task import Task
from hf_genomics.labelled.windows import LabelledWindows


@pytest.fixture
def table(tmp_path: Path) -> str:
    pd.DataFrame({"sequence": ["ACGTA", "GGGGG"], "kind": ["x", "y"], "n": ["1", "2"]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    return str(tmp_path / "t.csv")


@pytest.fixture
def store(tmp_path: Path) -> str:
    rows = [(f"{kind}{split}", kind, split) for kind in ("x", "y") for split in ("train", "test")]
    (tmp_path / "g.fa").write_text("".join(f">{name}\n{'ACGTACCT' * 25}\n" for name, *_ in rows))
    pd.DataFrame(rows, columns=["accession", "kind", "split"]).to_csv(tmp_path / "m.csv", index=False)
    return str(prepare([str(tmp_path / "g.fa")], str(tmp_path / "store"), str(tmp_path / "m.csv")).path)


def test_another_split_shares_the_task_of_the_training_table(table, tmp_path):
    pd.DataFrame({"sequence": ["CCCCC"], "kind": ["y"]}).to_csv(tmp_path / "test.csv", index=False)
    data = LabelledData(train=table, test=str(tmp_path / "test.csv"), columns=Columns(label="kind"))
    training = data.require("train", 3, why="")
    assert data.require("test", 3, training.task, why="").known_labels.tolist() == [1]
    assert data.load("valid", 3) is None
    with pytest.raises(InputError, match=r"data\.valid is not set: it is needed"):
        data.require("valid", 3, why="it is needed")
    with pytest.raises(InputError, match="data row 1: 5 nt is shorter than the 6 nt"):
        data.load("train", 6)


def test_a_store_is_cut_as_its_windows_say(store):
    data = LabelledData(
        store=store, columns=Columns(label="kind"), windows=LabelledWindows(50, per_genome=2, test_per_genome=3)
    )
    assert (len(data.require("train", 3, why="")), len(data.require("test", 3, why=""))) == (4, 6)
    assert data.load("valid", 3) is None
    with pytest.raises(InputError, match=r"data\.windows\.length of 50 nt is shorter than one k-mer of 60 nt"):
        data.load("train", 60)


@pytest.mark.parametrize(
    "task",
    [
        Task("multi_label_classification", ["x", "y"]),
        Task("regression", ["x", "y"]),
        Task("regression"),
        Task("single_label_classification", ["x", "y"], level="nt"),
        Task("single_label_classification", ["x", "y"], paired=True),
        Task("single_label_classification", ["x", "y"], track_names=["age"]),
        Task("single_label_classification", ["x", "y"], nt_track_names=["signal"]),
    ],
)
def test_windows_of_a_store_are_for_tasks_with_one_class_per_sequence(store, task):
    data = LabelledData(store=store, columns=Columns(label="kind"), windows=LabelledWindows(50))
    classes = Task("single_label_classification", ["x", "y"])
    assert data.require("test", 3, classes, why="").task == classes
    with pytest.raises(InputError, match=r"data\.store: .*the model .*data\.test"):
        data.load("test", 3, task)


def test_the_groups_of_a_table_are_read_with_its_labels(tmp_path):
    (tmp_path / "t.csv").write_text("sequence,label,chrom\nACGTACGT,a,1\nTTGACCAT,b,X\n")
    data = LabelledData(train=str(tmp_path / "t.csv"), split=[0.5, 0, 0.5], columns=Columns(group="chrom"))
    assert data.require("train", 3, why="").groups == ["1", "X"] and data.load("test", 3) is None
    (tmp_path / "t.csv").write_text("sequence,label,chrom\nACGTACGT,a,1\nTTGACCAT,b,\n")
    with pytest.raises(InputError, match=r"data row 2: no group in column 'chrom'"):
        data.load("train", 3)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: LabelledData(), "data.train, data.valid, data.test"),
        (lambda: LabelledData(train="a.csv", store="b"), "data.store"),
        (lambda: LabelledData(train="a.csv", windows=LabelledWindows(length=10)), "data.windows.length"),
        (lambda: LabelledData(store="b", columns=Columns(pair="p")), "['p']"),
        (lambda: LabelledData(train="a.csv", test="b.csv", split=[0.8, 0.1, 0.1]), "data.split"),
        (lambda: LabelledData(store="b", split=[0.8, 0.1, 0.1]), "data.train"),
        (lambda: LabelledData(train="a.csv", split=[0.8, 0.1]), "three shares"),
        (lambda: LabelledData(train="a.csv", split=[0.8, 0.1, 0.2]), "sum to 1"),
        (lambda: LabelledData(train="a.csv", split=[1, 0, 0]), "none to score"),
        (lambda: LabelledData(train="a.csv", split=[0.8, 0.1, 0.1], min_identity=0), "data.min_identity"),
        (lambda: LabelledData(store="b", columns=Columns(group="g")), "data.columns.group"),
        (lambda: LabelledData(store="b", regression=True), "data.regression"),
        (lambda: LabelledWindows(per_genome=0), "data.windows.per_genome must be at least 1, not 0"),
        (lambda: LabelledWindows(label_fraction=1.5), "data.windows.label_fraction"),
        (lambda: LabelledWindows(label_fraction=0.5, label_genomes=3), "data.windows.label_genomes"),
        (lambda: LabelledWindows(label_groups="family"), "data.windows.label_groups"),
    ],
)
def test_what_does_not_go_together_is_refused_by_key(make, part):
    with pytest.raises(InputError) as caught:
        make()
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"label_column": "kind"}, {"columns": Columns(label="kind")}),
        ({"nt_track_columns": ["s"], "id_column": "n"}, {"columns": Columns(nt_tracks=["s"], id="n")}),
    ],
)
def test_keys_of_version_0_1_reach_their_sections(old, new):
    with pytest.warns(FutureWarning, match=r"columns\."):
        assert LabelledData(train="a.csv", **old) == LabelledData(train="a.csv", **new)
    with pytest.warns(FutureWarning, match=r"windows\.per_genome"):
        data = LabelledData(store="b", windows_per_genome=7)
    assert data.windows.per_genome == 7
