"""A run: a resumed one ends in the weights, optimizer state and log of an undisturbed one, bit by bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from finetune_tables import SETTINGS, arguments, write_table
from tiny_runs import outcome
from transformers import TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.finetuning.finetune import finetune
from hf_genomics.finetuning.head import Head
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData
from hf_genomics.training.arguments import check_arguments

pytestmark = pytest.mark.usefixtures("empty_pictures")

COLUMNS = {
    "classes": {"label": "more_g"},
    "nucleotides": {"nt_labels": "is_g"},
    "parts": {"label": "more_g"},  # a transformer over the parts of a sequence
    "tracks": {"tracks": ["age"], "nt_tracks": ["signal"], "label": "share_g"},
    "several": {"labels": ["much_g", "much_a"]},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Write twenty sequences, eight for validation, and an untrained model with dropout."""
    folder = tmp_path_factory.mktemp("resume")
    write_table(folder / "train.csv", 20, 0)
    write_table(folder / "valid.csv", 8, 1)
    header, *rows = (folder / "train.csv").read_text().splitlines()
    (folder / "other.csv").write_text("\n".join([header, *rows[::-1]]) + "\n")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    for name, seed in (("pretrained", 0), ("another", 1)):
        torch.manual_seed(seed)
        KmerBertForMaskedLM(KmerBertConfig(k=3, stride=2, **sizes)).save_pretrained(folder / name)
        KmerTokenizer(k=3, stride=2).save_pretrained(folder / name)
    return folder


def run(home: Path, out: Path, kind: str, accumulation: int = 1, resume: bool | str = False, **changes: object) -> None:
    """Fine-tune for five steps; three are an epoch, whose last step is smaller."""
    options = {"max_steps": 5, "per_device_train_batch_size": 8 // accumulation, "logging_steps": 2}
    options |= {"gradient_accumulation_steps": accumulation, "save_strategy": "steps", "save_steps": 1}
    options |= {"eval_strategy": "steps", "eval_steps": 3}
    head = {"rc_probability": 0.0 if kind == "nucleotides" else 0.5} | SETTINGS.get(kind, {})
    head |= {name: changes.pop(name) for name in list(changes) if name in head}
    train, pretrained = changes.pop("train", "train"), changes.pop("pretrained", "pretrained")
    data = LabelledData(
        train=str(home / f"{train}.csv"), valid=str(home / "valid.csv"), columns=Columns(**COLUMNS[kind])
    )
    finetune(
        str(home / str(pretrained)),
        data,
        arguments(out, **(options | changes)),
        Head(**head),
        baseline_k=0,
        resume=resume,
    )


def resumed_equals_whole(home: Path, out: Path, kind: str, accumulation: int, steps: tuple[int, ...]) -> None:
    every = steps[0]  # a checkpoint every so many steps
    run(home, out / "whole", kind, accumulation, save_steps=every)
    for step in steps:
        again = out / f"from_{step}"
        shutil.copytree(out / "whole" / f"checkpoint-{step}", again / f"checkpoint-{step}")
        run(home, again, kind, accumulation, resume=True, save_steps=every)
        assert outcome(again) == outcome(out / "whole"), f"resumed from step {step}"
        last = f"checkpoint-{5 // every * every}"
        if step < 5 // every * every:
            assert outcome(again, last) == outcome(out / "whole", last), f"resumed from step {step}"


@pytest.mark.parametrize(
    ("kind", "accumulation", "steps"),
    [("classes", 1, (2,)), pytest.param("tracks", 4, (3,), marks=pytest.mark.slow)],  # more are among the slow ones
)
def test_a_resumed_fine_tuning_equals_one_that_was_never_stopped(home, tmp_path, kind, accumulation, steps) -> None:
    resumed_equals_whole(home, tmp_path, kind, accumulation, steps)


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("kind", COLUMNS)
def test_every_checkpoint_of_every_kind_resumes_exactly(home, tmp_path, kind, accumulation) -> None:
    resumed_equals_whole(home, tmp_path, kind, accumulation, tuple(range(1, 6)))


def test_a_fine_tuning_is_not_resumed_with_other_settings(home, tmp_path, caplog) -> None:
    run(home, tmp_path / "out", "classes", max_steps=2)
    for changes, message in (
        ({"train": "other"}, "data.train was .*, is "),
        ({"pretrained": "another"}, "weights to start from was .*, is "),
        ({"rc_probability": 0.0}, "rc_probability was 0.5, is 0.0"),
        ({"learning_rate": 1.0}, "trainer.learning_rate was 0.003, is 1.0"),
        ({"per_device_train_batch_size": 4}, "trainer.per_device_train_batch_size was 8, is 4"),
    ):
        with pytest.raises(InputError, match=f"{message}.*--overwrite true"):
            run(home, tmp_path / "out", "classes", resume=True, **({"max_steps": 3} | changes))
    with pytest.raises(InputError, match="2 steps; raise trainer.max_steps"):
        run(home, tmp_path / "out", "classes", resume=True, max_steps=2)
    run(home, tmp_path / "out", "classes", resume=True, max_steps=3)
    assert "trainer.max_steps was 2" in caplog.text


@pytest.mark.parametrize("name", ["save_only_model", "ignore_data_skip", "auto_find_batch_size"])
def test_options_that_would_spoil_a_resume_are_refused(tmp_path, name) -> None:
    with pytest.raises(InputError, match=rf"trainer\.{name} must be false"):
        check_arguments(TrainingArguments(str(tmp_path), use_cpu=True, **{name: True}))


def test_auto_begins_accepts_what_is_finished_and_names_all_settings_that_differ(home, tmp_path, caplog):
    out = tmp_path / "out"
    run(home, out, "classes", resume="auto")
    before = {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]}
    run(home, out, "classes", resume="auto")
    assert {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]} == before
    with pytest.raises(InputError, match="data.train was .* trainer.output_dir.*--overwrite true") as refused:
        run(home, out, "classes", resume="auto", train="other", seed=7)
    assert "trainer.seed was" in str(refused.value)
    assert {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]} == before


def test_auto_repeats_the_end_of_a_run_that_was_killed_between_its_metrics_and_its_card(home, tmp_path):
    out = tmp_path / "out"
    run(home, out, "classes")
    whole = outcome(out)
    (out / ".lock").write_text("")  # as a killed run leaves it
    (out / "README.md").unlink()
    run(home, out, "classes", resume="auto")
    assert outcome(out) == whole and (out / "README.md").exists() and not (out / ".lock").exists()


def test_auto_begins_again_where_a_run_without_checkpoints_was_killed_after_saving_its_model(
    home, tmp_path, monkeypatch
):
    out = tmp_path / "out"

    def killed(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr("hf_genomics.finetuning.run.plot_loss", killed)
        run(home, out, "classes", save_strategy="no")
    assert (out / "model.safetensors").exists() and not (out / "metrics.json").exists()
    with pytest.raises(InputError, match="stopped before .*--resume auto"):
        run(home, out, "classes", save_strategy="no")
    with pytest.raises(InputError, match="trainer.seed was"):
        run(home, out, "classes", save_strategy="no", resume="auto", seed=7)
    run(home, out, "classes", save_strategy="no", resume="auto")
    with pytest.raises(InputError, match="finished run.*--resume auto"):
        run(home, out, "classes", save_strategy="no", resume=True)
    run(home, tmp_path / "whole", "classes", save_strategy="no")
    weights = [(folder / "model.safetensors").read_bytes() for folder in (out, tmp_path / "whole")]
    assert weights[0] == weights[1] and (out / "metrics.json").exists()
