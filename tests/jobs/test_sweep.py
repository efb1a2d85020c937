"""A sweep: its cells, the choice by validation alone, and what several commands on one folder do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import InThisProcess
from transformers import TrainerState, TrainingArguments

import hf_genomics as hg
from hf_genomics import cli
from hf_genomics.errors import InputError
from hf_genomics.jobs import shared_work
from hf_genomics.jobs import sweep as module
from hf_genomics.jobs.sweep import Cell, CellScore, best_of, cells_of, clear_cells, grid_of, table_of, waiting_for
from hf_genomics.runs.output_folder import locked

pytestmark = pytest.mark.usefixtures("empty_pictures")

RATES = {"trainer.learning_rate": [1e-5, 3e-2]}


def run(home, out, sweep=RATES, resume=False, overwrite=False, rate=1e-3, score_test=True, **options):
    """Fine-tune for a few steps, by default once for each of two rates."""
    data = hg.LabelledData(**{split: str(home / f"{split}.csv") for split in ("train", "valid", "test")})
    settings = {"max_steps": 6, "per_device_train_batch_size": 16, "learning_rate": rate, "use_cpu": True, "seed": 1}
    settings |= {"eval_strategy": "steps", "eval_steps": 3, "save_strategy": "steps", "save_steps": 3}
    settings |= {"load_best_model_at_end": True, "metric_for_best_model": "macro_recall", "disable_tqdm": True}
    trainer = TrainingArguments(str(out), **(settings | options))
    more = hg.FinetuneOptions(sweep=sweep, sweep_jobs=1, score_test=score_test)
    return hg.finetune(str(home / "mlm"), data, trainer, baseline_k=2, resume=resume, overwrite=overwrite, options=more)


@pytest.fixture(scope="module")
def swept(home, tmp_path_factory):
    """A finished sweep over two rates, whose runs ran in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_work.subprocess, "Popen", InThisProcess)
        metrics = run(home, home / "out")
    return metrics, home / "out"


def test_the_best_run_in_validation_is_the_result_and_the_only_one_that_saw_the_test(swept, home):
    metrics, out = swept
    table = pd.read_csv(out / "sweep.tsv", sep="\t")
    assert table["trainer.learning_rate"].tolist() == RATES["trainer.learning_rate"]
    best = table["valid_macro_recall"].argmax()
    assert table["chosen"].fillna("").tolist() == ["best" if row == best else "" for row in range(2)]
    runs = [out / "sweep" / cell["folder"] / "run" for cell in metrics["sweep"]["cells"]]
    for folder, score in zip(runs, table["valid_macro_recall"], strict=True):
        assert json.loads((folder / "trainer_state.json").read_text())["best_metric"] == pytest.approx(score)
        assert "test" not in json.loads((folder / "metrics.json").read_text())
        assert not (folder / "predictions.tsv").exists()
    assert (out / "model.safetensors").read_bytes() == (runs[best] / "model.safetensors").read_bytes()
    assert "macro_recall" in metrics.screen() and "best" in metrics.screen() and (out / "README.md").exists()
    assert json.loads((out / "metrics.json").read_text())["sweep"]["best"] == runs[best].parent.name


@pytest.mark.slow
def test_the_result_has_the_scores_of_a_run_of_its_own(swept, home, tmp_path):
    metrics, _ = swept
    best = next(cell for cell in metrics["sweep"]["cells"] if cell["folder"] == metrics["sweep"]["best"])
    alone = run(home, tmp_path / "alone", sweep={}, rate=best["options"]["trainer.learning_rate"])
    for name in ("test", "baselines", "ahead", "task"):
        assert metrics[name] == alone[name]
    assert {*alone} == {*metrics} - {"sweep"}


def test_a_finished_sweep_is_accepted_and_never_run_again(swept, home, monkeypatch):
    metrics, out = swept
    monkeypatch.setattr(shared_work.subprocess, "Popen", None)  # cannot be called
    assert run(home, out, resume="auto") == json.loads((out / "metrics.json").read_text())
    with pytest.raises(InputError, match="finished run"):
        run(home, out)
    with pytest.raises(InputError, match=r"learning_rate=.*max_steps was 6 .* is 9"):
        run(home, out, resume="auto", max_steps=9)


def test_options_of_the_command_line_and_of_a_recipe_make_one_grid(home, monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(module, "run_sweep", lambda folder, cells, *_: seen.update(cells=cells) or 1 / 0)
    (tmp_path / "x.yaml").write_text("sweep:\n  trainer: {learning_rate: [1e-4, 3e-4]}\n  head.dropout: [0.1]\n")
    words = f"finetune --config {tmp_path}/x.yaml --pretrained {home}/mlm --data.train {home}/train.csv"
    words += f" --data.valid {home}/valid.csv --trainer.output_dir {tmp_path}/out --trainer.use_cpu true"
    words += " --trainer.load_best_model_at_end true --trainer.eval_strategy steps"
    words += " --trainer.metric_for_best_model macro_recall --sweep.head.train head last:1"
    words += " --sweep.trainer.max_steps 2 3 --sweep.trainer.learning_rate [5e-4]"
    cli.main(words.split())
    assert [cell.options for cell in seen["cells"]] == [
        {"trainer.learning_rate": 5e-4, "head.dropout": 0.1, "head.train": train, "trainer.max_steps": steps}
        for train in ("head", "last:1")
        for steps in (2, 3)
    ]
    assert len({cell.name for cell in seen["cells"]}) == 4


@pytest.mark.slow
def test_a_run_that_diverges_loses_and_other_failures_end_the_sweep(home, tmp_path, monkeypatch):
    class Diverging(InThisProcess):
        def __init__(self, command, stdout, **options):
            if "learning_rate=0.03" in command[-1]:
                stdout.write("hf-genomics: error: step 2: the run has diverged and its model is not saved\n")
                self.wait = lambda: 2
            else:
                super().__init__(command, stdout=stdout, **options)

    monkeypatch.setattr(shared_work.subprocess, "Popen", Diverging)
    metrics = run(home, tmp_path / "out", score_test=False)
    assert [cell["macro_recall"] is None for cell in metrics["sweep"]["cells"]] == [False, True]
    assert "diverged" in metrics.screen() and "test" not in metrics
    with pytest.raises(InputError, match="out: every run diverged"):
        best_of(scored(None, None), larger_is_better=True)


@pytest.mark.slow
def test_two_commands_share_the_runs_of_a_sweep(home, tmp_path):
    words = [f"--data.{split}={home}/{split}.csv" for split in ("train", "valid", "test")]
    options = "max_steps=3 use_cpu=true eval_strategy=steps eval_steps=1 save_strategy=steps save_steps=1"
    options += f" load_best_model_at_end=true metric_for_best_model=macro_recall output_dir={tmp_path}/out"
    words += [f"--trainer.{option}" for option in options.split()] + ["--pretrained", f"{home}/mlm"]
    words += ["--sweep.trainer.learning_rate", "1e-4", "1e-3", "1e-2", "--sweep_jobs", "1"]
    command = [sys.executable, "-m", "hf_genomics", "finetune", *words]
    both = [subprocess.Popen(command, stderr=-1, stdout=-1, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0] and "best" in said[0][0]
    for cell in (tmp_path / "out" / "sweep").glob("*/"):
        assert sum(f", {cell.name}" in err or f": {cell.name}" in err for _, err in said) == 1, "run once"


GRIDS = st.dictionaries(
    st.sampled_from(["pretrained", "trainer.seed", "head.seed", "head.train"]),
    st.lists(st.integers(0, 99) | st.text(max_size=9), min_size=1, max_size=3, unique_by=str),
    min_size=1,
)


@given(GRIDS)
def test_every_combination_has_a_folder_of_its_own(values):
    grid = grid_of(values, [*values])
    cells = cells_of(grid)
    assert len({cell.name for cell in cells}) == len(cells) == np.prod([len(each) for each in values.values()])
    assert all("/" not in cell.name and cell.name[0] not in ".-" and len(cell.name) < 100 for cell in cells)
    assert all([*cell.options] == [*grid] for cell in cells)


@pytest.mark.parametrize(
    ("sweep", "part"),
    [
        ({"trainer.learning_rte": [1]}, "learning_rate"),
        ({"data.train": ["a.csv"]}, "data.train"),
        ({"trainer.output_dir": ["a"]}, "trainer.output_dir"),
        ({"trainer.learning_rate": []}, "empty"),
        ({"trainer.learning_rate": [1e-4, 1e-4]}, "twice"),
        ({"trainer.learning_rate": ["big"]}, "a number"),
        ({"trainer.learning_rate": [-1.0]}, "learning_rate"),
        ({"trainer.lr_scheduler_type": ["lineer"]}, "lineer"),
        ({"head.balanced": ["yes"]}, "true or false"),
        ({"head.train": ["last"]}, "head.train"),
        ({"trainer.seed": list(range(1001))}, "1,000"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(sweep, part, home, tmp_path):
    with pytest.raises(InputError, match=part):
        run(home, tmp_path / "out", sweep=sweep)
    assert not (tmp_path / "out").exists()


def test_runs_that_cannot_be_compared_are_refused(home, tmp_path):
    for options in ({"load_best_model_at_end": False}, {"metric_for_best_model": "loss"}):
        with pytest.raises(InputError, match="validation|metric_for_best_model"):
            run(home, tmp_path / "out", sweep={"head.balanced": [True, False]}, **options)
    assert not (tmp_path / "out").exists()


def scored(*scores):
    cells = [Cell(str(number), {"trainer.seed": number}) for number in range(len(scores))]
    return [
        CellScore(cell, Path("out", "sweep", cell.name, "run"), score, 1)
        for cell, score in zip(cells, scores, strict=True)
    ]


@given(st.lists(st.none() | st.floats(0, 1), min_size=1).filter(any), st.booleans())
def test_the_first_of_the_best_is_chosen(values, larger):
    known = [value for value in values if value is not None]
    best = best_of(scored(*values), larger)
    assert values.index(max(known) if larger else min(known)) == int(best.cell.name)
    _, rows = table_of(scored(*values), best, "f1")
    assert len(rows) == len(values)


@pytest.mark.parametrize("best", [-np.inf, np.inf])
def test_a_run_whose_score_was_never_a_number_is_not_the_best(best, tmp_path, monkeypatch):
    """The Trainer keeps the infinite score that it begins with if every evaluation gives NaN."""
    for name, score in (("0", best), ("1", 0.4)):
        folder = tmp_path / "sweep" / name / "run"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text("{}")
        TrainerState(best_metric=score, global_step=2).save_to_json(str(folder / "trainer_state.json"))
    monkeypatch.setattr(module, "check_unchanged", lambda *_, **__: None)  # there are no recipes
    cells = [Cell(name, {"trainer.seed": int(name)}) for name in "01"]
    scores = module.run_sweep(tmp_path, cells, {}, "spearman")
    assert [one.score for one in scores] == [None, 0.4]
    assert best_of(scores, larger_is_better=best < 0).cell.name == "1"
    with pytest.raises(InputError, match="metric_for_best_model"):
        best_of(scores[:1], larger_is_better=True)


def test_finished_runs_of_a_table_that_has_changed_since_are_not_used(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("sequence,label\nACGT,a\n")
    recipe = {"data": {"train": str(table), "valid": None}}
    for _ in range(2):
        assert module.run_sweep(tmp_path / "out", [], recipe, "f1") == []
    table.write_text("sequence,label\nACGT,b\n")
    with pytest.raises(InputError, match=r"t\.csv \(data\.train\) has changed"):
        module.run_sweep(tmp_path / "out", [], recipe, "f1")
    clear_cells(tmp_path / "out" / "sweep")
    assert module.run_sweep(tmp_path / "out", [], recipe, "f1") == []


def test_finished_runs_of_a_base_model_that_has_changed_since_are_not_used(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
    record = tmp_path / "sweep" / "tables.json"
    record.parent.mkdir()
    module._check_inputs(record, {}, [str(tmp_path / "a"), None, "user/of-the-hub"])
    module._check_inputs(record, {}, [str(tmp_path / "a"), str(tmp_path / "b")])  # another one joins the sweep
    (tmp_path / "a" / "model.safetensors").write_text("other weights")
    module._check_inputs(record, {}, [str(tmp_path / "b")])
    with pytest.raises(InputError, match=r"a \(pretrained\) has changed"):
        module._check_inputs(record, {}, [str(tmp_path / "a")])


def test_a_locked_cell_is_not_deleted_and_a_lock_is_waited_for(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / "sweep" / name).mkdir(parents=True)
    with monkeypatch.context() as patch, pytest.raises(InputError, match="another process"):
        patch.setattr(module, "locked", _held)
        clear_cells(tmp_path / "sweep")
    assert (tmp_path / "sweep" / "a").exists()
    clear_cells(tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
    tries = []
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setattr(
        module, "locked", lambda folder: tries.append(folder) or (_held if len(tries) < 3 else locked)(folder)
    )
    with waiting_for(tmp_path):
        assert len(tries) == 3 and (tmp_path / ".lock").exists()


def _held(folder):
    raise InputError(f"{folder}: another process is writing to it")
