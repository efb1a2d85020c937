"""The output folder: what claims it, what is refused, what is cleared away."""

from __future__ import annotations

import errno
import multiprocessing
import os
from types import SimpleNamespace

import pytest
from tiny_runs import one_error
from torch import nn
from transformers import TrainingArguments

from hf_genomics.errors import InputError
from hf_genomics.runs.output_folder import (
    LOCK,
    check_inputs_kept,
    check_no_other_model,
    check_room,
    claim_output_dir,
    clear_outputs,
    empty_folder,
    locked,
    working_folder,
)


def claim(path, overwrite=False, resume=False):
    return claim_output_dir(str(path) if path else path, "metrics.json", overwrite=overwrite, resume=resume)


def test_a_new_folder_is_claimed_but_not_made(tmp_path):
    assert claim(tmp_path / "a" / "b") == tmp_path / "a" / "b" and not (tmp_path / "a").exists()


@pytest.mark.parametrize("path", [None, ""])
def test_a_run_without_a_folder_is_refused(path):
    with pytest.raises(InputError, match=r"trainer\.output_dir"):
        claim(path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file"):
        claim(tmp_path / "file")


def test_a_finished_run_is_only_overwritten_or_resumed_when_asked(tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "checkpoint-3").mkdir()
    with pytest.raises(InputError, match="--overwrite true"):
        claim(tmp_path)
    assert claim(tmp_path, overwrite=True) == claim(tmp_path, resume=True) == tmp_path
    with pytest.raises(InputError, match="resume.*overwrite"):
        claim(tmp_path, overwrite=True, resume=True)


def test_checkpoints_of_an_unfinished_run_ask_for_a_decision(tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    with pytest.raises(InputError, match="--resume auto.*--overwrite true"):
        claim(tmp_path)


def test_there_must_be_something_to_resume_from(tmp_path):
    with pytest.raises(InputError, match="no checkpoint.*--resume auto"):
        claim(tmp_path, resume=True)


@pytest.mark.parametrize("left", [(), ("metrics.json",), ("checkpoint-3",), ("metrics.json", "checkpoint-3")])
def test_auto_leaves_the_decision_to_the_beginning_of_the_run(tmp_path, left):
    for name in left:
        (tmp_path / name).mkdir()
    for overwrite in (False, True):
        assert claim(tmp_path, overwrite=overwrite, resume="auto") == tmp_path


def hold(folder, ready, release):
    """Hold the lock of a folder in a process of its own."""
    with locked(folder):
        ready.set()
        release.wait(60)


def test_a_folder_that_another_process_writes_to_is_refused_and_free_once_that_process_has_ended(
    tmp_path, held_elsewhere
):
    (tmp_path / "kept").mkdir()
    for hold in (locked, working_folder):
        with held_elsewhere(tmp_path) as pid:
            with pytest.raises(InputError, match=f"{tmp_path}: .*process {pid}"), hold(tmp_path):
                pytest.fail("locked twice")
        assert [path.name for path in tmp_path.iterdir()] == ["kept"]
        with hold(tmp_path):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_unfinished_work_stays_and_an_empty_folder_goes_with_those_made_for_it(tmp_path):
    folder = tmp_path / "new" / "deep" / ".x.partial"
    with working_folder(folder):
        (folder / "rows").write_text("1")
        (folder / "inside").mkdir()
        (folder / "inside" / "more").write_text("2")
    assert sorted(path.name for path in folder.iterdir()) == ["inside", "rows"]
    with working_folder(folder):
        empty_folder(folder)
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert (tmp_path / "new" / "deep").is_dir() and not folder.exists()  # only this run's own folders are deleted
    with pytest.raises(KeyboardInterrupt), working_folder(tmp_path / "other" / "deep" / ".x.partial"):
        raise KeyboardInterrupt
    assert not (tmp_path / "other").exists()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    other = fork.Process(target=hold, args=(tmp_path, ready, fork.Event()))
    other.start()
    assert ready.wait(60)
    other.kill()
    other.join()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch, number):
    def fail(*args):
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.lockf", fail)
    with locked(tmp_path):
        pass


def test_what_an_earlier_run_left_is_cleared_and_nothing_else(tmp_path):
    for name in ("metrics.json", "incidents.jsonl", "model.safetensors", "loss.png", "predictions.tsv", "notes.md"):
        (tmp_path / name).write_text("")
    (tmp_path / "checkpoint-3" / "sub").mkdir(parents=True)
    own = ["checkpoint-mine", "figures", "gel.png", "notes.md", "notes.tsv", "samples.json", "weights.safetensors"]
    for name in own:
        (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).write_text("")
    clear_outputs(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == own


def test_room_is_needed_for_a_checkpoint_or_for_the_weights_alone(tmp_path, monkeypatch):
    """A checkpoint of 10^9 weights: 4 GB, twice as much for AdamW, and 4 MB; without checkpoints a third."""
    weight = SimpleNamespace(numel=lambda: 10**9, element_size=lambda: 4)
    model = SimpleNamespace(parameters=lambda: [weight])
    free = {}
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=free["bytes"]))
    for strategy, needed in (("steps", 12_004_000_000), ("no", 4_001_333_333)):
        args = TrainingArguments(str(tmp_path), save_strategy=strategy, use_cpu=True)
        free["bytes"] = needed
        check_room(args, model)
        free["bytes"] = needed - 1
        with pytest.raises(InputError, match="GB"):
            check_room(args, model)
    assert isinstance(nn.Linear(1, 1).weight.element_size(), int)  # what stands for a weight above


def test_a_run_that_the_disk_has_no_room_for_does_not_begin(start, tmp_path):
    code, text = start(job={"free_bytes": 1_000_000})
    assert code == 2
    assert "a checkpoint needs 0.00409 GB, the disk has 0.001 GB left" in one_error(text)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weights", ["model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin"])
def test_a_run_replaces_no_model_that_it_has_not_written(tmp_path, weights):
    (tmp_path / weights).write_text("mine")

    def check(overwrite=False, resume=False):
        check_no_other_model(tmp_path, "metrics.json", overwrite=overwrite, resume=resume)

    for resume in (False, True, "auto"):
        with pytest.raises(InputError, match=f"holds a model .{weights}"):
            check(resume=resume)
    check(overwrite=True)
    (tmp_path / "settings.json").write_text("{}")  # what a run leaves that was killed before it had written the rest
    check(resume="auto")
    (tmp_path / "metrics.json").write_text("{}")
    check()


def test_a_run_does_not_replace_what_it_reads(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoint-9").mkdir(parents=True)
    for name in ("predictions.tsv", "train.tsv", "checkpoint-9/model.safetensors"):
        (folder / name).write_text("")
    (tmp_path / "link").symlink_to(folder / "predictions.tsv")
    (tmp_path / "same").symlink_to(folder)
    for inside in ("run", "run/predictions.tsv", "run/../run/predictions.tsv", "link", "run/checkpoint-9", "same"):
        with pytest.raises(InputError, match=r"data\.train.*trainer\.output_dir"):
            check_inputs_kept(folder, {"data.train": f"{tmp_path}/{inside}"})
    for other in ("run/train.tsv", "none", "run/none.tsv"):
        check_inputs_kept(folder, {"data.train": f"{tmp_path}/{other}"})
    check_inputs_kept(tmp_path / "new", {"pretrained": "user/model"})
