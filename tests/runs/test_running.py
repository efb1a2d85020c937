"""Starting and resuming runs: which checkpoint is chosen, and which settings must be the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_runs import one_error, outcome, plant, write_genomes
from transformers import TrainingArguments

from hf_genomics.runs import checkpoints
from hf_genomics.runs.checkpoints import MANIFEST, checkpoints_in, newest_valid
from hf_genomics.runs.exact_trainer import decisive_settings
from hf_genomics.runs.output_folder import locked
from hf_genomics.runs.running import Start, choose_checkpoint, choose_start

# settings

#: Every argument that decides the course of a run, with a value other than its default.
DECISIVE = {
    "seed": 7,
    "per_device_train_batch_size": 3,
    "gradient_accumulation_steps": 2,
    "learning_rate": 0.5,
    "lr_scheduler_type": "cosine",
    "lr_scheduler_kwargs": {"num_cycles": 2},
    "warmup_steps": 3,
    "weight_decay": 0.1,
    "optim": "sgd",
    "optim_args": "momentum=0.9",
    "adam_beta1": 0.8,
    "adam_beta2": 0.98,
    "adam_epsilon": 1e-6,
    "max_grad_norm": 2.0,
    "bf16": True,
    "fp16": True,
    "label_smoothing_factor": 0.1,
    "average_tokens_across_devices": False,
}
#: Arguments that may change between the parts of a run.
FREE = {
    "max_steps": 9,
    "num_train_epochs": 7.0,
    "logging_steps": 3,
    "save_steps": 3,
    "eval_steps": 3,
    "save_total_limit": 3,
    "per_device_eval_batch_size": 3,
    "dataloader_num_workers": 2,
    "disable_tqdm": True,
    "report_to": ["none"],
}


def trainer_of(folder, **options):
    """Build what the choice of a checkpoint needs of a Trainer."""
    args = TrainingArguments(str(folder), use_cpu=True)
    for name, value in options.items():  # set afterwards, for not all of them suit a CPU
        setattr(args, name, value)
    model = {"hidden_size": 16, "architectures": ["KmerBertForMaskedLM"], "transformers_version": "5.17"}
    return SimpleNamespace(args=args, settings=decisive_settings(args, model))


@pytest.fixture
def first(tmp_path):
    """The checkpoint of a first run with default settings."""
    settings = json.dumps(trainer_of(tmp_path).settings, default=str)
    with checkpoints.writing(tmp_path / "checkpoint-2") as place:
        (place / checkpoints.SETTINGS).write_text(settings)
        state = {"global_step": 2, "max_steps": -1, "num_train_epochs": 3}
        (place / checkpoints.TRAINER_STATE).write_text(json.dumps(state))
    return tmp_path


def test_the_table_of_decisive_arguments_is_complete(tmp_path):
    settings = trainer_of(tmp_path).settings
    assert {key.removeprefix("trainer.") for key in settings if key.startswith("trainer.")} == set(DECISIVE)


@pytest.mark.parametrize("key", DECISIVE)
def test_a_run_with_another_value_of_a_decisive_argument_is_not_resumed(first, key):
    checkpoint, refusal = choose_checkpoint(trainer_of(first, **{key: DECISIVE[key]}), first, resume=True)
    assert checkpoint == str(first / "checkpoint-2")
    assert f"trainer.{key} was " in refusal and "--overwrite true" in refusal


@pytest.mark.parametrize("key", FREE)
def test_other_arguments_may_change(first, key):
    chosen = choose_checkpoint(trainer_of(first, **{key: FREE[key]}), first, resume=True)
    assert chosen == (str(first / "checkpoint-2"), None)


@pytest.mark.parametrize("key", ["model.hidden_size", "number of processes", "data.store"])
def test_a_run_with_another_model_number_of_processes_or_data_is_not_resumed(first, key):
    trainer = trainer_of(first)
    trainer.settings[key] = 99
    assert f"{key} was " in choose_checkpoint(trainer, first, resume=True)[1]
    assert choose_checkpoint(trainer, first, resume=False) == (None, None)


@pytest.mark.parametrize("key", ["architectures", "transformers_version", "dtype", "_name_or_path", "auto_map"])
def test_keys_of_a_configuration_that_change_no_number_decide_nothing(first, key):
    assert f"model.{key}" not in decisive_settings(trainer_of(first).args, {key: 1})


def test_a_finished_run_is_resumed_only_for_more_steps(first):
    (first / "metrics.json").write_text("{}")
    assert "raise trainer.max_steps" in choose_checkpoint(trainer_of(first, max_steps=2), first, resume=True)[1]
    assert choose_checkpoint(trainer_of(first, max_steps=3), first, resume=True)[1] is None


@pytest.mark.parametrize("key", ["max_steps", "num_train_epochs"])
def test_another_length_of_the_run_is_warned_of_since_the_schedule_follows_it(first, caplog, key):
    choose_checkpoint(trainer_of(first, **{key: 9}), first, resume=True)
    assert f"trainer.{key} was " in caplog.text


def test_a_checkpoint_can_be_named_and_must_be_valid(first):
    named = str(first / "checkpoint-2")
    assert choose_checkpoint(trainer_of(first, resume_from_checkpoint=named), first, resume=False) == (named, None)
    (first / "checkpoint-2" / MANIFEST).unlink()
    for options in ({"resume_from_checkpoint": named}, {}):
        checkpoint, refusal = choose_checkpoint(trainer_of(first, **options), first, resume=True)
        assert checkpoint is None and str(first) in refusal


# auto

SETTINGS = {"global_step": 8, "max_steps": 8, "num_train_epochs": 2}


def finished(folder, **options):
    """Write what a finished run leaves, as far as the choice of a start reads it."""
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text("{}")
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    (folder / "trainer_state.json").write_text(json.dumps(SETTINGS | options))
    (folder / "settings.json").write_text(json.dumps(trainer_of(folder).settings, default=str))


def test_auto_begins_where_there_is_nothing_and_where_a_killed_run_left_only_remains(tmp_path):
    trainer = trainer_of(tmp_path)
    assert choose_start(trainer, tmp_path, "auto", False) == Start()
    (tmp_path / ".checkpoint-2.abc.partial").mkdir()
    for name in ("metrics.jsonl", "loss.png", "incidents.jsonl", "model.safetensors", "settings.json"):
        (tmp_path / name).write_text("")
    assert choose_start(trainer, tmp_path, "auto", False) == Start()


def test_auto_goes_on_from_the_newest_valid_checkpoint_and_begins_again_when_asked_to_overwrite(first, caplog):
    trainer = trainer_of(first)
    assert choose_start(trainer, first, "auto", False) == Start(str(first / "checkpoint-2"))
    assert choose_start(trainer, first, "auto", True) == Start()
    assert "overwrite" in caplog.text


def test_auto_never_begins_again_over_checkpoints_that_are_all_damaged(first):
    (first / "checkpoint-2" / MANIFEST).unlink()
    reason = choose_start(trainer_of(first), first, "auto", False).reason
    assert f"{first}:" in reason and "checkpoint-2: it has no manifest.json" in reason and "--overwrite true" in reason


def test_auto_accepts_a_finished_run_with_the_same_settings_only(tmp_path):
    finished(tmp_path)
    assert choose_start(trainer_of(tmp_path, max_steps=8), tmp_path, "auto", False) == Start(finished=True)
    assert choose_start(trainer_of(tmp_path, max_steps=5), tmp_path, "auto", False) == Start(finished=True)
    reason = choose_start(trainer_of(tmp_path, seed=7, weight_decay=0.1), tmp_path, "auto", False).reason
    for told in (
        "trainer.seed was 42, is 7",
        "trainer.weight_decay was 0.0, is 0.1",
        "trainer.output_dir",
        "--overwrite",
    ):
        assert told in reason


def test_auto_does_not_call_a_run_finished_whose_weights_are_missing_or_cut(tmp_path):
    finished(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "model.safetensors" in choose_start(trainer_of(tmp_path, max_steps=8), tmp_path, "auto", False).reason
    weights.unlink()
    assert "--overwrite true" in choose_start(trainer_of(tmp_path, max_steps=8), tmp_path, "auto", False).reason


def test_auto_goes_on_with_a_finished_run_for_more_steps_if_a_checkpoint_is_left(first):
    finished(first, global_step=2, max_steps=2)
    assert choose_start(trainer_of(first, max_steps=3), first, "auto", False) == Start(str(first / "checkpoint-2"))
    shutil.rmtree(first / "checkpoint-2")
    assert "no checkpoint is left" in choose_start(trainer_of(first, max_steps=3), first, "auto", False).reason
    reason = choose_start(trainer_of(first, num_train_epochs=3.0), first, "auto", False).reason
    assert "no checkpoint is left" in reason and "trainer.num_train_epochs" in reason and "max_steps" not in reason


@pytest.mark.parametrize(
    ("state", "asked", "more"),
    [
        ((2, 2, 1, 0.5), 0.5, False),
        ((2, 2, 1, 0.5), 1.0, True),
        ((2, 2, 1, 2 / 3), 0.6, False),  # half of 3 steps, rounded up
        ((4, 4, 1, 1.0), 1.0, False),
        ((4, 20, 5, 1.0), 5.0, False),  # stopped early
        ((4, 20, 5, 1.0), 5.5, True),
    ],
)
def test_auto_knows_parts_of_epochs(first, state, asked, more):
    finished(first, **dict(zip(("global_step", "max_steps", "num_train_epochs", "epoch"), state, strict=True)))
    start = choose_start(trainer_of(first, num_train_epochs=asked), first, "auto", False)
    assert start == (Start(str(first / "checkpoint-2")) if more else Start(finished=True))


@pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
def test_scores_without_a_log_of_a_training_are_not_taken_for_a_finished_run(tmp_path, text):
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "trainer_state.json").write_text(text)
    assert "metrics.json" in choose_start(trainer_of(tmp_path), tmp_path, "auto", False).reason


# runs


def contents(folder):
    """Return every file below a folder with its time."""
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


@pytest.mark.slow
def test_one_command_in_a_loop_with_kills_at_random_moments_ends_as_if_nothing_had_happened(start, tmp_path):
    assert start("whole", save_steps=1, max_steps=4)[0] == 0
    begin = time.monotonic()  # the first run took longer, because torch was imported
    assert start("timed", save_steps=1, max_steps=4)[0] == 0
    whole = time.monotonic() - begin  # seconds; the first kill comes before the end
    random, codes = np.random.default_rng(0), []
    while not codes or codes[-1]:
        limit = whole * float(random.uniform(0.2, 0.7 if not codes else 1.5))
        codes.append(start("out", job={"kill_after": limit}, save_steps=1, max_steps=4, resume="auto")[0])
        assert codes[-1] in (0, -9) and len(codes) < 60
    assert -9 in codes
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")
    before = contents(tmp_path / "out")
    code, text = start("out", save_steps=1, max_steps=4, resume="auto")
    assert code == 0 and "finished" in text
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGUSR1", marks=pytest.mark.slow)])
def test_one_command_in_a_loop_with_a_signal_in_every_step_ends_as_if_nothing_had_happened(start, tmp_path, name):
    assert start("whole", max_steps=4)[0] == 0
    codes = [start("out", job=plant(name, step=1), max_steps=4, save_strategy="no", resume="auto")[0] for _ in range(4)]
    assert set(codes) == {128 + getattr(signal, name)}
    assert start("out", max_steps=4, save_strategy="no", resume="auto")[0] == 0
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_several_processes_begin_go_on_and_are_finished_together(start, tmp_path):
    options = {"processes": 2, "per_device_train_batch_size": 2, "max_steps": 4}
    assert start("whole", **options)[0] == [0, 0]
    codes, text = start("out", job=plant("SIGTERM", step=3, rank=1), resume="auto", **options)
    assert codes == [143, 143], text
    assert start("out", resume="auto", **options)[0] == [0, 0]
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")
    before = contents(tmp_path / "out")
    codes, text = start("out", resume="auto", **options)
    assert codes == [0, 0] and contents(tmp_path / "out") == before, text
    codes, text = start("out", resume="auto", learning_rate=0.5, **options)
    assert codes == [2, 2] and "trainer.learning_rate was 0.01, is 0.5" in text


def test_of_two_processes_that_start_on_one_folder_at_once_one_trains_and_the_other_says_why_not(start, tmp_path):
    assert start("whole")[0] == 0
    with locked(tmp_path / "whole"):
        code, text = start("whole", overwrite=True)
    assert code == 2 and "another process" in one_error(text) and str(os.getpid()) in one_error(text)
    assert (tmp_path / "whole" / "metrics.json").exists()


def damage(checkpoint, how):
    weights = checkpoint / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if how == "cut":
        weights.write_bytes(content[:-1])
    elif how == "byte":
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif how == "gone":
        (checkpoint / "optimizer.json").unlink()
    elif how == "no manifest":
        (checkpoint / MANIFEST).unlink()
    else:
        (checkpoint / MANIFEST).write_text('{"files": {"model')


def test_resume_takes_the_newest_valid_checkpoint_and_logs_which_it_skipped_and_why(start, tmp_path):
    assert start("whole", save_steps=1)[0] == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "out", ignore=shutil.ignore_patterns("metrics.json"))
    problems = {
        "cut": r"model.safetensors has \d+ bytes instead of \d+",
        "byte": "model.safetensors has changed",
        "gone": "optimizer.json is missing",
        "no manifest": "no manifest.json",
        "torn manifest": "manifest.json is damaged",
    }
    for step, how in zip((8, 7, 6, 5, 4), problems, strict=True):
        damage(tmp_path / "out" / f"checkpoint-{step}", how)
    code, text = start("out", resume=True)
    assert code == 0, text
    for step, problem in zip((8, 7, 6, 5, 4), problems.values(), strict=True):
        assert re.search(f"checkpoint-{step} is skipped: .*{problem}", text)
    assert f"from {tmp_path / 'out' / 'checkpoint-3'}" in text
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


def test_damaged_checkpoints_are_neither_counted_nor_deleted_by_rotation(start, tmp_path):
    assert start(max_steps=4, save_steps=1)[0] == 0
    damage(tmp_path / "out" / "checkpoint-3", "byte")
    damage(tmp_path / "out" / "checkpoint-4", "cut")
    (tmp_path / "out" / "metrics.json").unlink()
    code, text = start(max_steps=5, save_steps=5, resume=True, save_total_limit=2)
    assert code == 0, text
    assert [path.name[11:] for path in checkpoints_in(tmp_path / "out")] == ["5", "4", "3", "2"]
    assert newest_valid(tmp_path / "out")[0].name == "checkpoint-5"


def test_a_run_with_other_settings_or_data_is_not_resumed_and_changes_no_file(start, tmp_path):
    assert start(max_steps=2)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    (tmp_path / "more").mkdir()
    store = str(write_genomes(tmp_path / "more", seed=1))
    for change, key in (
        ({"dropout": 0.3}, "model.hidden_dropout_prob was 0.1, is 0.3"),
        ({"set_up": "mask8"}, "masking.span was 4, is 6"),
        ({"store": store}, "data.store was [0-9a-f]{12}, is [0-9a-f]{12};"),
    ):
        code, text = start(resume=True, **change)
        assert code == 2 and re.search(key, one_error(text)) and "--overwrite true" in text
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_weights_that_become_infinite_are_not_saved(start, tmp_path):
    """The last step's gradient is finite, the weights after it are not."""
    code, text = start(learning_rate=1e39, max_steps=1, save_strategy="no", lr_scheduler_type="constant")
    assert code == 2 and "a weight is NaN or infinite" in one_error(text)
    assert not (tmp_path / "out" / "model.safetensors").exists()
