"""Several seeds: a run for each, all of them scored on the test split, and their mean and standard deviation."""

from __future__ import annotations

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import InThisProcess
from transformers import TrainingArguments

import hf_genomics as hg
from hf_genomics.errors import InputError
from hf_genomics.jobs import shared_work
from hf_genomics.jobs.seeds import cells_of_seeds, summarise

pytestmark = pytest.mark.usefixtures("empty_pictures")


def run(home, out, seeds, resume=False, overwrite=False, names=("train", "test"), seed=42, **options):
    """Fine-tune for a few steps, once for each seed; without seeds, once with ``seed``."""
    data = hg.LabelledData(**{split: str(home / f"{split}.csv") for split in names})
    settings = {"max_steps": 6, "per_device_train_batch_size": 16, "learning_rate": 1e-2, "disable_tqdm": True}
    trainer = TrainingArguments(str(out), use_cpu=True, save_strategy="no", seed=seed, **(settings | options))
    more = hg.FinetuneOptions(seeds=seeds, sweep_jobs=1)
    return hg.finetune(str(home / "mlm"), data, trainer, baseline_k=2, resume=resume, overwrite=overwrite, options=more)


@pytest.fixture(scope="module")
def repeated(home, tmp_path_factory):
    """A finished training with three seeds, whose runs ran in this process."""
    out = tmp_path_factory.mktemp("repeated") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_work.subprocess, "Popen", InThisProcess)
        return run(home, out, [3, 1, 2]), out


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
    alone = run(home, tmp_path / "alone", [], seed=3)
    assert all(metrics[name] == alone[name] for name in ("test", "baselines", "ahead", "task"))


def test_finished_seeds_are_never_run_again(repeated, home, monkeypatch):
    metrics, out = repeated
    monkeypatch.setattr(shared_work.subprocess, "Popen", None)  # cannot be called
    assert run(home, out, [3, 1, 2], resume="auto") == json.loads((out / "metrics.json").read_text())
    fewer = run(home, out, [1, 2], resume="auto")
    assert fewer["seeds"]["model"]["f1"]["values"] == metrics["seeds"]["model"]["f1"]["values"][1:]
    assert run(home, out, [3, 1, 2], resume="auto")["test"] == metrics["test"]
    with pytest.raises(InputError, match="finished run"):
        run(home, out, [3, 1, 2])
    with pytest.raises(InputError, match=r"seed=3.*max_steps was 6 .* is 9"):
        run(home, out, [3, 1, 2], resume="auto", max_steps=9)


@pytest.mark.parametrize(
    ("seeds", "names", "part"),
    [([1], ("train", "test"), "two or more"), ([1, 1], ("train", "test"), "1 is given twice")]
    + [([1, -1], ("train", "test"), "not -1"), ([1, 2], ("train",), "data.test")],
)
def test_seeds_that_tell_nothing_are_refused(seeds, names, part, home, tmp_path):
    with pytest.raises(InputError, match=part):
        run(home, tmp_path / "out", seeds, names=names)
    assert not (tmp_path / "out").exists()


def test_seeds_and_a_sweep_are_not_mixed():
    with pytest.raises(InputError, match="sweep first"):
        hg.FinetuneOptions(seeds=[1, 2], sweep={"trainer.learning_rate": [1e-4, 1e-3]})


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_mean_and_standard_deviation_are_those_of_the_values(values):
    seeds = [*range(len(values))]
    runs = [{"test": {"f1": value, "auroc": None}, "baselines": {"k": {"f1": 1 - value}}} for value in values]
    found = summarise(seeds, runs)
    assert {*found["model"]} == {"f1"} and found["seeds"] == seeds
    assert found["model"]["f1"]["mean"] == pytest.approx(statistics.mean(values))
    assert found["model"]["f1"]["std"] == pytest.approx(found["baselines"]["k"]["f1"]["std"])
    assert [cell.options["trainer.seed"] for cell in cells_of_seeds(seeds)] == seeds
