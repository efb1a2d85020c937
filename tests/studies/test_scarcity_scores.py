"""Scores of the study: means over seeds, differences in pairs, and the published table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tiny_study import write_store

from hf_genomics import GenomeStore
from hf_genomics.errors import InputError
from hf_genomics.studies.scarcity_cells import Cell
from hf_genomics.studies.scarcity_scores import (
    PUBLISHED,
    cell_samples,
    markdown_table,
    model_name,
    published_rows,
    read_units,
    sample_scores,
    score_rows,
    study_table,
    with_interval,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return GenomeStore(write_store(tmp_path_factory.mktemp("scores")))


def predict(folder, right):
    """Write predictions for two windows of each test genome; `right` says whether a genome's are correct."""
    rows = []
    for kind, other in (("phage", "other"), ("other", "phage")):
        for place in range(3):
            guess = kind if right(kind, place) else other
            for start in (0, 40):
                rows.append(
                    (f"{kind}_test_{place}:{start}-{start + 40}", kind, guess, 0.9 if guess == "phage" else 0.1)
                )
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=["id", "label", "prediction", "p_phage"])
    table["p_other"] = 1 - table["p_phage"]
    table.to_csv(folder / "predictions.tsv", sep="\t", index=False)
    (folder / "metrics.json").write_text('{"k": 4}')
    return folder


def test_units_are_genomes_or_groups_of_one_class(store):
    genomes, groups = (read_units(store, column) for column in ("genome", "group"))
    assert len(genomes) == len(set(genomes.values())) == 6
    assert len(set(groups.values())) == 4 and groups["phage_test_0"] == groups["phage_test_1"]
    assert len(set(read_units(store, "split").values())) == 2, "relatives of two classes are two units"
    with pytest.raises(InputError, match="'family'"):
        read_units(store, "family")


def test_predictions_of_another_store_are_refused(store, tmp_path):
    folder = predict(tmp_path, lambda kind, place: True)
    table = (folder / "predictions.tsv").read_text()
    (folder / "predictions.tsv").write_text(table.replace("phage_test_1:", "phage_train_1:"))
    with pytest.raises(InputError, match=r"predictions\.tsv"):
        cell_samples(folder / "predictions.tsv", read_units(store, "genome"), "phage")


def test_samples_draw_the_windows_of_a_unit_together(store, tmp_path):
    """Two of three phages are recognised, so a sample of three genomes has 0 to 3 thirds of the recall."""
    folder = predict(tmp_path, lambda kind, place: kind == "other" or place > 0)
    samples = cell_samples(folder / "predictions.tsv", read_units(store, "genome"), "phage")
    assert samples.shape == (1001, 3) and samples[0, 0] == pytest.approx((1 + 2 / 3) / 2)
    found, counts = np.unique(samples[1:, 0].round(6), return_counts=True)
    assert found.tolist() == pytest.approx([1 / 2, 2 / 3, 5 / 6, 1], abs=1e-5)
    assert counts / 1000 == pytest.approx([1 / 27, 6 / 27, 12 / 27, 8 / 27], abs=0.05), "binomial"


def test_a_cell_with_a_decision_threshold_is_scored_by_its_own_decisions(store, tmp_path):
    path = predict(tmp_path, lambda kind, place: True) / "predictions.tsv"
    rows = pd.read_csv(path, sep="\t")
    rows["p_phage"] /= 3  # 0.3 for phages: right at a threshold of 0.2, wrong at 0.5
    rows["p_other"] = 1 - rows["p_phage"]
    rows.to_csv(path, sep="\t", index=False)
    samples = cell_samples(path, read_units(store, "genome"), "phage")
    assert (samples == 1).all()


@pytest.fixture(scope="module")
def table(store, tmp_path_factory):
    """The table of a study of two seeds in which k-mers have one seed, and the model is better than its twin."""
    home = tmp_path_factory.mktemp("table")
    right = {
        ("w", "pretrained", 0): lambda kind, place: True,
        ("w", "pretrained", 1): lambda kind, place: place > 0,
        ("w", "twin", 0): lambda kind, place: place > 0,
        ("w", "twin", 1): lambda kind, place: place > 1,
        ("", "kmers", 0): lambda kind, place: kind == "phage",
    }
    cells = {Cell(40, 4, setup, arm, seed): rule for (setup, arm, seed), rule in right.items()}
    folders = {cell: predict(home / cell.name, rule) for cell, rule in cells.items()}
    scores = sample_scores(folders, read_units(store, "genome"), "phage")
    rows = score_rows(scores, folders, 12)
    table = study_table(rows)
    assert table["source"].tolist() == ["this study"] * len(rows), "40 nt are not in the paper"
    return pd.concat([table, pd.DataFrame(published_rows([40, 150]))], ignore_index=True)


def test_rows_are_means_over_seeds_and_differences_use_the_seeds_of_both(table):
    ours = table[table["source"] == "this study"].set_index("arm")
    assert list(ours.index) == ["pretrained", "twin", "kmers"] and ours["seeds"].tolist() == [2, 2, 1]
    third = 1 / 3
    assert ours["macro_recall"].tolist() == pytest.approx([1 - third / 2, (2 * third + third) / 2, 0.5])
    assert ours.loc["pretrained", "macro_recall_sd"] == pytest.approx(np.std([1, 2 * third], ddof=1))
    assert ours.loc["pretrained", "over_twin"] == pytest.approx(third)
    assert ours.loc["pretrained", "over_kmers"] == pytest.approx(0.5), "seed 0 only"
    assert ours.loc["twin", "over_kmers"] == pytest.approx(2 * third - 0.5)
    assert np.isnan(ours.loc["twin", "over_twin"]) and np.isnan(ours.loc["kmers", "over_kmers"])
    for name in ("macro_recall", "f1", "auroc", "over_twin"):
        row = ours.loc["pretrained"]
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] and row[f"{name}_low"] < row[f"{name}_high"]


def test_a_paired_interval_is_narrower_than_that_of_either_model(store, tmp_path):
    """Two models that err on the same genomes differ by a constant, so that the difference has no interval."""
    folders = {
        Cell(40, 4, "w", "pretrained", 0): predict(tmp_path / "a", lambda kind, place: place > 0),
        Cell(40, 4, "w", "twin", 0): predict(tmp_path / "b", lambda kind, place: place > 0),
    }
    scores = sample_scores(folders, read_units(store, "genome"), "phage")
    row = score_rows(scores, folders, 12)[0]
    assert row["macro_recall_high"] - row["macro_recall_low"] > 0.3
    assert (row["over_twin"], row["over_twin_low"], row["over_twin_high"]) == (0, 0, 0)


def test_the_published_table_is_that_of_the_paper(table):
    paper = table[table["source"] != "this study"]
    assert len(paper) == 5 * 3 and set(paper["length"]) == {150}, "40 nt are not in the paper"
    base = paper[paper["arm"] == "GenomeNet-BERT"]
    assert base["macro_recall"].tolist() == pytest.approx([0.857, 0.822, 0.778])
    assert base["genomes"].tolist() == [4000, 400, 40]
    assert {len(values) for models in PUBLISHED.values() for values in models.values()} == {3}


def test_markdown_names_models_and_shows_intervals(table):
    text = markdown_table(table)
    (line,) = [line for line in text.splitlines() if "w, pretrained" in line]
    assert line.startswith("| 4 (33 %) | w, pretrained | 83.3 [") and "± 23.6" in line and line.endswith("| 2 |")
    assert "4-mer regression" in text and "4,000 (10 %)" in text and "## 150 nt" in text
    assert {row.count("|") for row in text.splitlines() if row.startswith("| 4 (")} == {9}


def test_a_score_without_an_interval_stands_alone():
    row = pd.Series({"x": 0.85, "x_low": np.nan, "x_high": np.nan, "y": np.nan, "y_low": np.nan, "y_high": np.nan})
    assert (with_interval(row, "x", 100, 1), with_interval(row, "y", 100, 1)) == ("85.0", "")


def test_k_mers_of_several_sizes_are_named_together():
    row = pd.Series({"arm": "kmers", "k": "5 4 5", "setup": ""})
    assert model_name(row) == "4 or 5-mer regression"
