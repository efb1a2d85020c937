"""Runs that a signal, a full disk, other settings or a loss that is no number ends: what they say and leave."""

from __future__ import annotations

import json
import math
import re
import shutil

import pytest
from tiny_runs import outcome, write_genomes

from hf_genomics.runs.checkpoints import MANIFEST, checkpoints_in, fault_of, newest_valid


def plant(what, step, rank=0):
    return {"plant": {"what": what, "step": step, "rank": rank}}


def steps_of_valid(folder):
    return [int(path.name[11:]) for path in checkpoints_in(folder) if fault_of(path) is None]


def one_error(text):
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    return line


def incidents(folder):
    return [json.loads(line) for line in (folder / "incidents.jsonl").read_text().splitlines()]


# signals


@pytest.mark.parametrize(("name", "number"), [("SIGTERM", 15), ("SIGINT", 2)])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint_and_one_line(start, tmp_path, name, number):
    code, text = start(job=plant(name, step=3))
    assert code == 128 + number
    assert f"stopped by {name} after step 3, which is saved; go on with --resume true" in one_error(text)
    assert "Traceback" not in text
    assert steps_of_valid(tmp_path / "out") == [3, 2]


def test_a_run_that_was_stopped_goes_on_to_the_same_end(start, tmp_path):
    assert start("whole")[0] == 0
    assert start("out", job=plant("SIGTERM", step=5), save_strategy="no")[0] == 143
    assert start("out", resume=True)[0] == 0
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


def test_processes_stop_together_when_one_is_told_to(start, tmp_path):
    codes, text = start(processes=2, job=plant("SIGTERM", step=3, rank=1), per_device_train_batch_size=2)
    assert codes == [143, 143], text
    assert steps_of_valid(tmp_path / "out") == [3, 2]


# disks


def test_a_disk_that_fills_up_ends_the_run_in_one_line_and_leaves_the_last_checkpoint(start, tmp_path):
    code, text = start(job=plant("full disk", step=3))
    assert code == 2
    assert "could not be written" in one_error(text) and "go on from checkpoint-2 with --resume true" in text
    assert "Traceback" not in text
    assert steps_of_valid(tmp_path / "out") == [2]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"checkpoint-2", "metrics.jsonl"}  # no half ones
    assert start(resume=True)[0] == 0


def test_a_run_that_the_disk_has_no_room_for_does_not_begin(start, tmp_path):
    code, text = start(job={"free_bytes": 1_000_000})
    assert code == 2
    assert "a checkpoint needs 0.00409 GB, the disk has 0.001 GB left; make room" in one_error(text)
    assert not (tmp_path / "out").exists()


# losses that are no number


def test_the_first_loss_that_is_no_number_stops_the_run_and_is_traced_to_its_windows(start, tmp_path, tiny_store):
    code, text = start(job=plant("nan", step=5))
    assert code == 2
    line = one_error(text)
    assert "step 5, rank 0: loss nan, gradient norm nan in windows" in line and "(all in incidents.jsonl)" in line
    assert "the run has diverged and is not saved" in line and "last good checkpoint is" in line
    assert steps_of_valid(tmp_path / "out") == [4, 2]
    assert not (tmp_path / "out" / "model.safetensors").exists()
    (incident,) = incidents(tmp_path / "out")
    assert (incident["kind"], incident["step"], incident["rank"], incident["epoch"]) == ("non-finite", 5, 0, 0)
    assert len(incident["windows"]) == 4 and math.isnan(incident["losses"][0])
    for window in incident["windows"]:
        assert window["record"] in {"g0", "g1", "g2", "g3"}
        assert 0 <= window["start"] < window["end"] == window["start"] + 40 <= 230


def test_with_accumulation_only_the_windows_of_the_bad_pass_are_named(start, tmp_path):
    options = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
    code, _ = start(job=plant("nan", step=4), **options)
    assert code == 2
    (incident,) = incidents(tmp_path / "out")
    assert (incident["step"], len(incident["windows"])) == (2, 2)
    assert [math.isnan(loss) for loss in incident["losses"]] == [False, True]


def test_a_rank_whose_loss_is_no_number_names_its_own_windows_and_all_stop(start, tmp_path):
    codes, text = start(processes=2, job=plant("nan", step=3, rank=1), per_device_train_batch_size=2)
    assert codes == [2, 2], text
    said = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(said) == 2 and said[0] == said[1]  # so the first process can speak for both
    assert "step 3, rank 1: loss nan" in said[0]
    (incident,) = incidents(tmp_path / "out")
    assert (incident["rank"], len(incident["windows"])) == (1, 2)


def test_a_batch_whose_loss_is_no_number_can_be_left_out(start, tmp_path):
    code, text = start(job=plant("nan", step=5), on_nonfinite="skip_batch", weight_decay=0.0)
    assert code == 0, text
    assert "the step is left out" in text
    log = outcome(tmp_path / "out")["log"]
    assert [entry["step"] for entry in log if "loss" in entry] == [2, 4, 6, 8]
    assert all(math.isfinite(value) for entry in log for value in entry.values())
    assert log[2]["loss"] == pytest.approx(log[1]["loss"], rel=0.2)  # the mean of one step, not half of it


def test_a_run_that_stays_without_numbers_is_stopped_although_batches_may_be_left_out(start):
    code, text = start(job=plant("nan forever", step=2), on_nonfinite="skip_batch", max_steps=30, save_strategy="no")
    assert code == 2
    assert "step 11, rank 0: loss nan" in one_error(text)


def test_a_spike_is_logged_with_its_windows_and_the_run_goes_on(start, tmp_path):
    code, text = start(job=plant("spike", step=25), max_steps=26, save_strategy="no")
    assert code == 0, text
    assert "step 25, rank 0: loss 2" in text and "the median of the steps before is 5." in text
    (incident,) = incidents(tmp_path / "out")
    assert (incident["kind"], incident["step"], incident["epoch"], len(incident["windows"])) == ("spike", 25, 4, 4)


# what a run may go on from


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


def test_resume_takes_the_newest_valid_checkpoint_and_says_what_it_left_out_and_why(start, tmp_path):
    assert start("whole", save_steps=1)[0] == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "out", ignore=shutil.ignore_patterns("metrics.json"))
    faults = {
        "cut": r"model.safetensors has \d+ bytes instead of \d+",
        "byte": "model.safetensors is not what was written",
        "gone": "optimizer.json is missing",
        "no manifest": "it has no manifest.json",
        "torn manifest": "its manifest.json cannot be read",
    }
    for step, how in zip((8, 7, 6, 5, 4), faults, strict=True):
        damage(tmp_path / "out" / f"checkpoint-{step}", how)
    code, text = start("out", resume=True)
    assert code == 0, text
    for step, fault in zip((8, 7, 6, 5, 4), faults.values(), strict=True):
        assert re.search(f"checkpoint-{step} is left out: {fault}", text)
    assert f"going on from {tmp_path / 'out' / 'checkpoint-3'}" in text
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


def test_faulty_checkpoints_are_neither_counted_nor_deleted_by_rotation(start, tmp_path):
    assert start(max_steps=4, save_steps=1)[0] == 0
    damage(tmp_path / "out" / "checkpoint-3", "byte")
    damage(tmp_path / "out" / "checkpoint-4", "cut")
    (tmp_path / "out" / "metrics.json").unlink()
    code, text = start(max_steps=5, save_steps=5, resume=True, save_total_limit=2)
    assert code == 0, text
    assert [path.name[11:] for path in checkpoints_in(tmp_path / "out")] == ["5", "4", "3", "2"]
    assert newest_valid(tmp_path / "out")[0].name == "checkpoint-5"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": 7}, "trainer.seed was 42, is 7"),
        ({"per_device_train_batch_size": 2}, "trainer.per_device_train_batch_size was 4, is 2"),
        ({"learning_rate": 0.5}, "trainer.learning_rate was 0.01, is 0.5"),
        ({"dropout": 0.3}, "model.hidden_dropout_prob was 0.1, is 0.3"),
        ({"set_up": "mask8"}, "masking.span was 4, is 6"),
    ],
)
def test_a_run_with_other_settings_is_not_resumed(start, tmp_path, change, key):
    if not (tmp_path.parent / "first").exists():
        assert start("../first", max_steps=2)[0] == 0
    shutil.copytree(tmp_path.parent / "first", tmp_path / "out")
    before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    code, text = start(resume=True, **change)
    assert code == 2
    assert key in one_error(text) and "set them back, or start anew with --overwrite true" in text
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before


@pytest.mark.parametrize("name", ["save_only_model", "ignore_data_skip", "auto_find_batch_size"])
def test_what_would_spoil_a_resume_is_refused_before_the_first_step(start, tmp_path, name):
    code, text = start(**{name: True})
    assert code == 2 and f"trainer.{name} must be false" in one_error(text)
    assert not (tmp_path / "out").exists()


def test_a_run_on_other_data_is_not_resumed(start, tmp_path):
    assert start(max_steps=2)[0] == 0
    (tmp_path / "more").mkdir()
    code, text = start(resume=True, store=str(write_genomes(tmp_path / "more", seed=1)))
    assert code == 2 and re.search("data.store was [0-9a-f]{12}, is [0-9a-f]{12};", one_error(text))


# privacy and quiet


def test_a_run_prints_nothing_pickles_nothing_and_writes_no_sequence(start, tmp_path, tiny_store):
    job = plant("nan", step=5) | {"printed": str(tmp_path / "printed")}
    code, text = start(job=job, on_nonfinite="skip_batch", disable_tqdm=False)
    assert code == 0 and (tmp_path / "printed").read_text() == ""
    assert "step 2: loss 5." in text and "| 8/8 [" in text  # the log and the bar
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors", ".py"}
    letters = (tiny_store.parent / "genomes.fa").read_text().splitlines()[1::2]
    pieces = {line[start : start + 10].encode() for line in letters for start in range(len(line) - 9)}
    written = [text.encode(), *(path.read_bytes() for path in files)]
    assert len(pieces) > 800 and not [piece for piece in pieces for content in written if piece in content]
