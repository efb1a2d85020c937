"""The k-mer regression of the study: k is chosen in validation, and the test is scored by it alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny_study import write_store

from hf_genomics import LabelledData, LabelledWindows
from hf_genomics.errors import InputError
from hf_genomics.evaluation.baseline import kmer_baseline
from hf_genomics.evaluation.decisions import choose_threshold
from hf_genomics.studies.kmer_regression import labelled_data, main, regress


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("kmers"))


def test_the_best_k_in_validation_scores_the_test_as_the_baseline_does(store, tmp_path):
    windows = {"length": 40, "label_genomes": 4, "per_genome": 4, "test_per_genome": 3}
    recipe = {"data": {"store": store, "seed": 3, "windows": windows}, "positive": "phage", "ks": [3, 1], "seed": 3}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe | {"output_dir": str(tmp_path / "run")}))
    main(str(tmp_path / "r.yaml"))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    recalls = {int(k): recall for k, recall in metrics["valid"]["macro_recall"].items()}
    assert recalls.keys() == {1, 3} and recalls[metrics["k"]] == max(recalls.values())
    data = LabelledData(store=store, windows=LabelledWindows(**windows), seed=3)
    train, test = (data.load(split, 1) for split in ("train", "test"))
    wanted = kmer_baseline(train.sequences, train.known_labels, test.sequences, metrics["k"], 3)
    table = pd.read_csv(tmp_path / "run" / "predictions.tsv", sep="\t")
    assert table["id"].tolist() == test.ids and metrics["test_sequences"] == len(test)
    np.testing.assert_allclose(table["p_phage"], wanted[:, 1], atol=1e-6)


def test_a_threshold_is_chosen_in_validation_and_decides_about_the_test(store, tmp_path):
    windows = LabelledWindows(length=40, label_genomes=4, per_genome=4, test_per_genome=3)
    data = LabelledData(store=store, windows=windows, seed=3)
    metrics = regress(data, [2], tmp_path, "phage", 3, "macro_recall")
    train, valid, test = (data.load(split, 1) for split in ("train", "valid", "test"))
    both = kmer_baseline(train.sequences, train.known_labels, [*valid.sequences, *test.sequences], 2, 3, num_classes=2)
    phage = train.label_names.index("phage")
    of_valid, of_test = both[: len(valid), phage], both[len(valid) :, phage]
    lowest = choose_threshold(of_valid, valid.known_labels == phage, "macro_recall")
    table = pd.read_csv(tmp_path / "predictions.tsv", sep="\t")
    predicted = (of_test >= lowest) == (phage == 1)
    assert table["prediction"].tolist() == [test.label_names[int(one)] for one in predicted]
    recalls = [np.mean(predicted[test.known_labels == label] == label) for label in (0, 1)]
    assert metrics["test"]["macro_recall"] == pytest.approx(np.mean(recalls))
    plain = regress(data, [2], tmp_path / "plain", "phage", 3)
    assert metrics["valid"]["macro_recall"][2] >= plain["valid"]["macro_recall"][2]


def test_a_key_that_does_not_exist_is_the_users_mistake():
    with pytest.raises(InputError, match=r"finetuning.*data.*'lenght'"):
        labelled_data({"store": "s", "windows": {"lenght": 40}})


def test_a_class_that_does_not_exist_is_the_users_mistake(store, tmp_path):
    windows = LabelledWindows(length=40, label_genomes=4, per_genome=4, test_per_genome=3)
    data = LabelledData(store=store, windows=windows, seed=3)
    with pytest.raises(InputError, match="'fage'"):
        regress(data, [2], tmp_path / "out", "fage")
