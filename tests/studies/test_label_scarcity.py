"""The label-scarcity study, from its recipe to its report, on made-up genomes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from tiny_study import InThisProcess, settings, write_model, write_store

from hf_genomics.cli import main
from hf_genomics.jobs import shared_work


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A store and a model."""
    home = tmp_path_factory.mktemp("study")
    return home, write_store(home), {"tiny": write_model(home)}


@pytest.fixture(scope="module")
def study(places):
    """A finished study: its folder and its recipe."""
    home, store, setups = places
    recipe = home / "study.yaml"
    recipe.write_text(yaml.safe_dump(settings(store, home / "out", setups)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_work.subprocess, "Popen", InThisProcess)
        patch.setattr("hf_genomics.evaluation.pictures._save", lambda *_: None)  # drawing would take most of the time
        assert main(["label-scarcity", "--config", str(recipe)]) == 0
    return home / "out", recipe


def test_the_table_has_every_cell_with_its_differences(study):
    table = pd.read_csv(study[0] / "table.csv")
    assert len(table) == 2 * 3 and set(table["source"]) == {"this study"}, "nothing is published for these lengths"
    models = table[table["arm"] == "pretrained"].reset_index()
    twins, kmers = (table[table["arm"] == arm].reset_index() for arm in ("twin", "kmers"))
    for rival, name in ((twins, "over_twin"), (kmers, "over_kmers")):
        pd.testing.assert_series_equal(
            models[name], models["macro_recall"] - rival["macro_recall"], check_names=False, atol=1e-5
        )
    assert table["macro_recall"].between(table["macro_recall_low"], table["macro_recall_high"]).all()
    assert kmers["macro_recall"].min() > 0.8, "the classes differ in GC"
    assert set(kmers["k"].astype(float)) <= {1, 2} and twins["over_twin"].isna().all()


def test_scores_are_those_of_the_cells_themselves(study):
    table = pd.read_csv(study[0] / "table.csv")
    for _, row in table.iterrows():
        name = "-".join(filter(None, [f"{row['length']}nt", str(row["genomes"]), "tiny" * (row["arm"] != "kmers")]))
        run = study[0] / "cells" / f"{name}-{row['arm']}-0" / "run"
        test = json.loads((run / "metrics.json").read_text())["test"]
        assert [row["macro_recall"], row["f1"]] == pytest.approx([test["macro_recall"], test["f1"]], abs=1e-5)
        table = pd.read_csv(run / "predictions.tsv", sep="\t")  # rounded, so that it may have more ties
        area = roc_auc_score(table["label"] == "other", table["p_other"])
        assert row["auroc"] == pytest.approx(area, abs=1e-5)


def test_what_is_finished_is_accepted_and_not_run_again(study, monkeypatch, capsys):
    monkeypatch.setattr(shared_work.subprocess, "Popen", None)  # cannot be called
    before = {path: path.read_bytes() for path in study[0].rglob("*") if path.is_file()}
    assert main(["label-scarcity", "--config", str(study[1])]) == 0
    assert before == {path: path.read_bytes() for path in study[0].rglob("*") if path.is_file()}
    assert "6 of 6" in capsys.readouterr().out


def test_the_report_is_complete_and_1000_nt_would_be_read_in_parts(study):
    report = (study[0] / "report.html").read_text()
    assert report.count('src="data:image/png;base64,') == 1 and "6 of 6 cells" in report
    assert "not checked" in report, "nobody said on what the model was pretrained"
    assert (study[0] / "table.md").read_text().count("\n|") == 2 * (2 + 3)
    recipe = yaml.safe_load((study[0] / "cells" / "80nt-4-tiny-twin-0" / "recipe.yaml").read_text())
    assert recipe["head"] == {"from_scratch": True, "num_parts": 2}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--finetuning+", "{options: {trainer: {max_steps: 3}}}"], "trainer.max_steps was 2"),
        (["--grid.ks", "[1]"], "ks"),
        (["--grid.genomes", "[13]"], "13"),
        (["--positive", "fage"], "'fage'"),
        (["--unit", "familly"], "'familly'"),
        (["--grid.pretraining_stores.base", "x"], "'base'"),
        (["--grid.setups", "{tiny: nowhere}"], "nowhere"),
    ],
)
def test_what_does_not_fit_the_study_is_refused(study, words, named, capsys):
    before = {path: path.read_bytes() for path in study[0].rglob("*") if path.is_file()}
    assert main(["label-scarcity", "--config", str(study[1]), *words]) == 2
    assert named in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in study[0].rglob("*") if path.is_file()}


def test_nothing_is_finished_when_there_is_no_time(places, tmp_path, capsys):
    home, store, setups = places
    recipe = tmp_path / "s.yaml"
    recipe.write_text(yaml.safe_dump(settings(store, tmp_path / "out", setups, running={"jobs": 1, "minutes": 1e-9})))
    assert main(["label-scarcity", "--config", str(recipe)]) == 0
    assert "0 of 6" in capsys.readouterr().out and not (tmp_path / "out" / "table.csv").exists()


@pytest.mark.slow
def test_a_study_runs_in_processes_of_its_own(places, tmp_path):
    home, store, setups = places
    recipe = tmp_path / "s.yaml"
    small = {"lengths": [40], "seeds": [0]}
    recipe.write_text(
        yaml.safe_dump(
            settings(store, tmp_path / "out", setups, grid=settings(store, tmp_path, setups)["grid"] | small)
        )
    )
    assert main(["label-scarcity", "--config", str(recipe), "--running.jobs", "2"]) == 0
    assert len(pd.read_csv(tmp_path / "out" / "table.csv")) == 3
    for log in (tmp_path / "out").rglob("log.txt"):
        assert "Traceback" not in log.read_text()
