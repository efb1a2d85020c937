"""The verb `probe`: regression and nearest neighbours on vectors, for every kind of label."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from finetune_tables import write_table
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_genomics as hg
from hf_genomics import cli
from hf_genomics.embedding.probe import neighbour_scores
from hf_genomics.labelled.sequences import LabelledSequences

KINDS = {
    "classes": {"label": "much_a"},
    "several": {"labels": ["much_g", "much_a"]},
    "value": {"label": "value"},
    "values": {"labels": ["share_g", "share_a"]},
    "pairs": {"label": "more_g", "pair": "other"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    for seed, (split, rows) in enumerate({"train": 120, "test": 60}.items()):
        write_table(folder / f"{split}.csv", rows, seed)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_label_is_scored_beside_the_baselines(kind, home, encoder_folder, tmp_path):
    data = hg.LabelledData(str(home / "train.csv"), None, str(home / "test.csv"), hg.Columns(**KINDS[kind]))
    options = hg.ProbeOptions(neighbours=5, both_strands=kind == "several", baseline_k=2)
    found = hg.probe(encoder_folder("pretrained"), data, str(tmp_path / "out"), options=options)
    regression = kind.startswith("value")
    names = {"5 nearest neighbours", f"2-mer {'ridge' if regression else 'logistic'} regression"}
    assert {*found["baselines"]} == names | {"mean" if regression else "majority"}
    main = "spearman" if regression else "auroc"
    if kind != "pairs":  # whose labels compare two sequences
        assert found[main] > (0.3 if regression else 0.6), "the vectors of a random encoder still count letters"
    assert len(found["intervals"][main]) == 2 and found["leaks"] == {"train/test": 0}
    assert "linear probe" in found.screen() and "KmerBert" not in found.screen()
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test_sequences"] == 60
    assert len(pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")) == 60


def test_one_table_is_split_by_group_and_leaks_are_told(home, encoder_folder, tmp_path, capsys, caplog):
    frame = pd.read_csv(home / "train.csv")
    frame["patient"] = [f"p{row // 4}" for row in range(len(frame))]
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = f"probe --model {encoder_folder('tuned')} --data.train {tmp_path}/t.csv --data.split 0.7 0 0.3"
    words += f" --data.columns.group patient --data.columns.label more_g --output_dir {tmp_path}/out --pooling cls"
    assert cli.main(words.split()) == 0
    assert "linear probe" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["bootstrap"]["over"] == "groups" and metrics["split"]["rows"]["test"] > 0
    table = str(home / "test.csv")
    data = hg.LabelledData(table, None, table, hg.Columns(label="more_g"))
    found = hg.probe(encoder_folder("tuned"), data, str(tmp_path / "same"))
    assert found["leaks"] == {"train/test": 60} and "60" in caplog.text


def test_a_sequence_without_a_vector_is_omitted(home, encoder_folder, tmp_path, caplog):
    """At stride 2 every token of NACGNNNACGNN has an N, although it holds the known 3-mer ACG."""
    frame = pd.read_csv(home / "train.csv")[["sequence", "more_g"]]
    frame.loc[[0, 1], "sequence"] = ["NACGNNNACGNN", "NACGNN" * 4]
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = hg.LabelledData(str(tmp_path / "t.csv"), None, str(home / "test.csv"), hg.Columns(label="more_g"))
    found = hg.probe(encoder_folder("stride2"), data, str(tmp_path / "out"))
    assert found["train_sequences"] == 118 and "without a vector" in caplog.text


def slowly(labels, features, others, count):
    """The mean of the known labels of the nearest rows, one row and one label at a time."""
    standard = (features - features.mean(0)) / np.where(features.std(0) > 0, features.std(0), 1)
    asked = (others - features.mean(0)) / np.where(features.std(0) > 0, features.std(0), 1)
    rows = []
    for one in asked:
        cosines = [one @ other / ((one @ one * (other @ other)) ** 0.5 or 1) for other in standard]
        near = sorted(range(len(standard)), key=lambda row: -cosines[row])[:count]
        row = []
        for column in labels.T:
            known = [column[place] for place in near if not np.isnan(column[place])]
            row.append(np.mean(known) if known else np.nanmean(column))
        rows.append(row)
    return np.array(rows)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_neighbours_are_those_of_the_slow_way(seed, count):
    random = np.random.default_rng(seed)
    features, others = random.normal(size=(9, 4)), random.normal(size=(5, 4))
    labels = random.normal(size=(9, 2))
    labels[random.random((9, 2)) < 0.2] = np.nan
    labels[0] = 1.0  # each label is known somewhere
    training = LabelledSequences(
        "t", [str(row) for row in range(9)], [np.zeros(0)] * 9, labels, ["a", "b"], "regression"
    )
    found = neighbour_scores(training, features, others, count)
    np.testing.assert_allclose(found, slowly(labels, features, others, min(count, 9)), atol=1e-9)


def test_pictures_of_an_evaluation_in_the_same_folder_are_not_the_probes(home, encoder_folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "confusion.png").write_bytes(b"of another model")
    data = hg.LabelledData(str(home / "train.csv"), None, str(home / "test.csv"), hg.Columns(label="much_a"))
    hg.probe(encoder_folder("pretrained"), data, str(out), overwrite=True, options=hg.ProbeOptions(baseline_k=2))
    assert not (out / "confusion.png").exists()
