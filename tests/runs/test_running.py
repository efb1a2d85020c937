"""Starting and resuming runs: which checkpoint is chosen, and which settings must be the same."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace

import pytest
from tiny_runs import one_error, outcome, write_genomes
from transformers import TrainingArguments

from hf_genomics.runs import checkpoints
from hf_genomics.runs.checkpoints import MANIFEST, checkpoints_in, newest_valid
from hf_genomics.runs.exact_trainer import decisive_settings
from hf_genomics.runs.running import choose_checkpoint

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


# runs


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
