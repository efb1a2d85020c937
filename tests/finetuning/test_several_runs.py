"""A sweep and several seeds: a run for each, what is chosen, and what is reported."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_study import InThisProcess
from transformers import TrainingArguments

import hf_genomics as hg
from hf_genomics import cli
from hf_genomics.errors import InputError
from hf_genomics.jobs import shared_work
from hf_genomics.jobs import sweep as module

pytestmark = pytest.mark.usefixtures("empty_pictures")

RATES = {"trainer.learning_rate": [1e-5, 3e-2]}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Tables of two classes that differ in GC, and an untrained model of one layer over 3-mers."""
    folder, random = tmp_path_factory.mktemp("sweep"), np.random.default_rng(0)
    for split, rows in {"train": 60, "valid": 24, "test": 30}.items():
        shares = [(0.4, 0.1, 0.1, 0.4), (0.2, 0.3, 0.3, 0.2)]
        texts = ["".join(random.choice(list("ACGT"), 40, p=shares[row % 2])) for row in range(rows)]
        frame = pd.DataFrame({"sequence": texts, "label": ["at", "gc"] * (rows // 2)})
        frame.to_csv(folder / f"{split}.csv", index=False)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    hg.KmerBertForMaskedLM(hg.KmerBertConfig(k=3, max_position_embeddings=64, **sizes)).save_pretrained(folder / "mlm")
    hg.KmerTokenizer(k=3).save_pretrained(folder / "mlm")
    return folder


def sweep_over(home, out, sweep=RATES, resume=False, overwrite=False, rate=1e-3, score_test=True, **options):
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
        metrics = sweep_over(home, home / "out")
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
    alone = sweep_over(home, tmp_path / "alone", sweep={}, rate=best["options"]["trainer.learning_rate"])
    for name in ("test", "baselines", "ahead", "task"):
        assert metrics[name] == alone[name]
    assert {*alone} == {*metrics} - {"sweep"}


def test_a_finished_sweep_is_accepted_and_never_run_again(swept, home, monkeypatch):
    metrics, out = swept
    monkeypatch.setattr(shared_work.subprocess, "Popen", None)  # cannot be called
    assert sweep_over(home, out, resume="auto") == json.loads((out / "metrics.json").read_text())
    with pytest.raises(InputError, match="finished run"):
        sweep_over(home, out)
    with pytest.raises(InputError, match=r"learning_rate=.*max_steps was 6 .* is 9"):
        sweep_over(home, out, resume="auto", max_steps=9)


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
    metrics = sweep_over(home, tmp_path / "out", score_test=False)
    assert [cell["macro_recall"] is None for cell in metrics["sweep"]["cells"]] == [False, True]
    assert "diverged" in metrics.screen() and "test" not in metrics


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
        sweep_over(home, tmp_path / "out", sweep=sweep)
    assert not (tmp_path / "out").exists()


def test_runs_that_cannot_be_compared_are_refused(home, tmp_path):
    for options in ({"load_best_model_at_end": False}, {"metric_for_best_model": "loss"}):
        with pytest.raises(InputError, match="validation|metric_for_best_model"):
            sweep_over(home, tmp_path / "out", sweep={"head.balanced": [True, False]}, **options)
    assert not (tmp_path / "out").exists()


def train_with(home, out, seeds, resume=False, overwrite=False, names=("train", "test"), seed=42, base=None, **options):
    """Fine-tune for a few steps, once for each seed; without seeds, once with ``seed``."""
    data = hg.LabelledData(**{split: str(home / f"{split}.csv") for split in names})
    settings = {"max_steps": 6, "per_device_train_batch_size": 16, "learning_rate": 1e-2, "disable_tqdm": True}
    trainer = TrainingArguments(str(out), use_cpu=True, save_strategy="no", seed=seed, **(settings | options))
    more, base = hg.FinetuneOptions(seeds=seeds, sweep_jobs=1), base or home / "mlm"
    return hg.finetune(str(base), data, trainer, baseline_k=2, resume=resume, overwrite=overwrite, options=more)


@pytest.fixture(scope="module")
def repeated(home, tmp_path_factory):
    """A finished training with three seeds, whose runs ran in this process."""
    out = tmp_path_factory.mktemp("repeated") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_work.subprocess, "Popen", InThisProcess)
        return train_with(home, out, [3, 1, 2]), out


def test_every_seed_is_scored_and_the_first_one_is_the_model(repeated):
    metrics, out = repeated
    runs = [json.loads((out / "seeds" / f"seed={seed}" / "run" / "metrics.json").read_text()) for seed in (3, 1, 2)]
    areas = [one["test"]["auroc"] for one in runs]
    found = metrics["seeds"]["model"]["auroc"]
    assert found["values"] == areas and len(set(areas)) > 1
    assert found["mean"] == pytest.approx(sum(areas) / 3) and found["std"] == pytest.approx(statistics.stdev(areas))
    assert metrics["test"] == runs[0]["test"] and metrics["ahead"] == runs[0]["ahead"]
    weights = (out / "seeds" / "seed=3" / "run" / "model.safetensors").read_bytes()
    assert (out / "model.safetensors").read_bytes() == weights
    assert {*metrics["seeds"]["baselines"]} == {*metrics["baselines"]} and (out / "predictions.tsv").exists()


def test_screen_and_report_show_mean_and_spread(repeated):
    metrics, out = repeated
    found = metrics["seeds"]["model"]["auroc"]
    text = f"{found['mean']:.3f} \N{PLUS-MINUS SIGN} {found['std']:.3f}"
    assert (
        text in metrics.screen()
        and "scores (test, seed 3)" in metrics.screen()
        and "result (seed 3): " in metrics.screen()
    )
    assert text in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_seed_gives_the_model_of_a_run_of_its_own(repeated, home, tmp_path):
    metrics, _ = repeated
    alone = train_with(home, tmp_path / "alone", [], seed=3)
    assert all(metrics[name] == alone[name] for name in ("test", "baselines", "ahead", "task"))


def test_finished_seeds_are_never_run_again(repeated, home, monkeypatch):
    metrics, out = repeated
    monkeypatch.setattr(shared_work.subprocess, "Popen", None)  # cannot be called
    assert train_with(home, out, [3, 1, 2], resume="auto") == json.loads((out / "metrics.json").read_text())
    fewer = train_with(home, out, [1, 2], resume="auto")
    assert fewer["seeds"]["model"]["f1"]["values"] == metrics["seeds"]["model"]["f1"]["values"][1:]
    assert train_with(home, out, [3, 1, 2], resume="auto")["test"] == metrics["test"]
    with pytest.raises(InputError, match="finished run"):
        train_with(home, out, [3, 1, 2])
    with pytest.raises(InputError, match=r"seed=3.*max_steps was 6 .* is 9"):
        train_with(home, out, [3, 1, 2], resume="auto", max_steps=9)


@pytest.mark.parametrize(
    ("seeds", "names", "part"),
    [([1], ("train", "test"), "two or more"), ([1, 1], ("train", "test"), "1 is given twice")]
    + [([0, 0], ("train", "test"), "0 is given twice")]
    + [([1, -1], ("train", "test"), "not -1"), ([1, 2], ("train",), "data.test")],
)
def test_seeds_that_tell_nothing_are_refused(seeds, names, part, home, tmp_path):
    with pytest.raises(InputError, match=part):
        train_with(home, tmp_path / "out", seeds, names=names)
    assert not (tmp_path / "out").exists()


def test_seeds_and_a_sweep_are_not_mixed():
    with pytest.raises(InputError, match="sweep first"):
        hg.FinetuneOptions(seeds=[1, 2], sweep={"trainer.learning_rate": [1e-4, 1e-3]})


@pytest.mark.parametrize("left", ["checkpoint-2/model.safetensors", "metrics.json"])
@pytest.mark.parametrize("what", ["sweep", "seeds"])
def test_the_model_of_a_single_run_is_not_deleted(left, what, home, tmp_path):
    path = tmp_path / "out" / left
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    for resume in (False, "auto"):
        with pytest.raises(InputError, match=f"{what} would delete"):
            if what == "sweep":
                sweep_over(home, tmp_path / "out", resume=resume)
            else:
                train_with(home, tmp_path / "out", [1, 2], resume=resume)
    assert path.read_text() == "{}"


@pytest.mark.parametrize("what", ["sweep", "seeds"])
def test_runs_are_not_deleted_while_one_of_them_is_the_model_to_start_from(what, home, tmp_path):
    start = tmp_path / "out" / what / "x" / "run"
    shutil.copytree(home / "mlm", start)
    with pytest.raises(InputError, match=r"pretrained: .* lies in"):
        if what == "sweep":
            sweep_over(home, tmp_path / "out", sweep={"pretrained": [str(start)]}, overwrite=True)
        else:
            train_with(home, tmp_path / "out", [1, 2], overwrite=True, base=start)
    assert (start / "model.safetensors").exists()


def test_a_finished_sweep_is_scored_again_if_the_test_table_has_changed(swept, home, tmp_path, monkeypatch):
    metrics, out = swept
    shutil.copytree(out, tmp_path / "out")
    monkeypatch.setattr(shared_work.subprocess, "Popen", None)  # no run is trained again
    shutil.copy(home / "test.csv", tmp_path / "test.csv")
    try:
        pd.read_csv(home / "test.csv").head(20).to_csv(home / "test.csv", index=False)
        fewer = sweep_over(home, tmp_path / "out", resume="auto")
    finally:
        shutil.copy(tmp_path / "test.csv", home / "test.csv")
    assert (metrics["test_sequences"], fewer["test_sequences"]) == (30, 20)
    assert fewer["sweep"]["best"] == metrics["sweep"]["best"] and fewer["test"] != metrics["test"]
