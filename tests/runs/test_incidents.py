"""Steps whose loss is NaN, infinite or a spike: what is detected, what becomes of the run, what is recorded."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import one_error, outcome, plant, steps_of_valid
from transformers import TrainerControl, TrainerState, TrainingArguments

from hf_genomics.runs import incidents
from hf_genomics.runs.callbacks import StopRequest
from hf_genomics.runs.incidents import RunningLoss, SpikeDetector, culprits, name_windows


def recorded(folder):
    return [json.loads(line) for line in (folder / "incidents.jsonl").read_text().splitlines()]


# spikes


def test_a_spike_is_more_than_eight_robust_deviations_above_the_median():
    """Losses of 1.0 and 1.2 around 1.1: a median deviation of 0.1, so the limit is 1.1 + 8 x 0.14826 = 2.28608."""
    losses = [1.0, 1.2] * 20
    assert not SpikeDetector(losses)(2.286)
    assert SpikeDetector(losses)(2.2862)


def test_a_spike_is_also_more_than_ten_per_cent_above_the_median():
    """Losses that hardly vary: 8 robust deviations would be 0.0001."""
    losses = [2.0, 2.00002] * 20
    assert not SpikeDetector(losses)(2.2)
    assert SpikeDetector(losses)(2.2001)


def test_nothing_is_a_spike_until_twenty_losses_are_known():
    early, late = SpikeDetector([1.0] * 19), SpikeDetector([1.0] * 20)
    assert not early(100.0) and late(100.0)


def test_spikes_are_not_remembered_and_old_losses_are_forgotten():
    is_spike = SpikeDetector([1.0, 1.1] * 10)
    assert is_spike(50.0) and is_spike(50.0) and len(is_spike.losses) == 20
    for _ in range(100):
        assert not is_spike(1.0)
    assert set(is_spike.losses) == {1.0}


@given(st.lists(st.floats(0.1, 10), min_size=20, max_size=100))
def test_no_loss_at_or_below_the_median_is_a_spike(losses):
    is_spike = SpikeDetector(losses)
    assert not is_spike(is_spike.median)


# the running loss


class Alone:
    """The accelerator of a single process."""

    device = torch.device("cpu")

    def gather(self, tensor):
        return tensor


def test_a_running_loss_is_the_mean_over_steps_and_starts_anew_with_each_line():
    running = RunningLoss()
    running.add([0.5, 0.5])  # two forward passes of a step, each its half of the loss
    running.add([3.0])
    assert running.mean_of_run(Alone()) == 2.0
    assert running.take_mean(Alone()) == 2.0 and running.recent_steps == 0
    running.add([5.0])
    assert running.mean_of_run(Alone()) == 3.0
    assert running.take_mean(Alone()) == 5.0


class OfTwo(Alone):
    """The accelerator of two processes, of which the other one has a sum of 3 since the last line of the log."""

    def gather(self, tensor):
        return torch.stack([tensor, torch.tensor(3.0)])


def test_the_loss_of_a_run_is_the_mean_over_processes_also_of_the_steps_since_the_last_line():
    running = RunningLoss()
    running.add([1.0])
    assert running.mean_of_run(OfTwo()) == 2.0


@given(st.lists(st.floats(0, 100, width=32), min_size=2, max_size=20), st.integers(1, 19))
def test_a_running_loss_continues_from_json_to_the_bit(losses, cut):
    whole, first, second = RunningLoss(), RunningLoss(), RunningLoss()
    for number, loss in enumerate(losses):
        whole.add([loss])
        (first if number < cut else second).add([loss])
        if number == cut - 1:
            second.restore(json.loads(json.dumps(first.state())))
    ended = second if len(losses) > cut else first
    assert ended.state() == whole.state() and ended.mean_of_run(Alone()) == whole.mean_of_run(Alone())


# windows


def test_the_rows_to_blame_are_those_of_the_bad_forward_passes_or_all():
    rows = np.array([[1, 2], [3, 4], [5, 6]])
    assert culprits([1.0, math.nan, math.inf], rows).tolist() == [3, 4, 5, 6]
    assert culprits([1.0, 1.0, 1.0], rows).tolist() == [1, 2, 3, 4, 5, 6]


def test_many_windows_are_named_by_the_first_five():
    windows = [{"window": number, "record": "c", "start": 0, "end": 9} for number in range(7)]
    text = name_windows(windows)
    assert text.startswith("windows 0 (c:0-9), ") and "4 (c:0-9) and 2 more" in text and "5 (c" not in text


def test_incidents_are_appended_one_line_each(tmp_path):
    for step in (1, 2):
        incidents.append(tmp_path / "new", {"step": step, "losses": [math.nan]})
    assert [entry["step"] for entry in recorded(tmp_path / "new")] == [1, 2]


# runs


def test_the_first_loss_that_is_nan_stops_the_run_and_is_traced_to_its_windows(start, tmp_path):
    code, text = start(job=plant("nan", step=5))
    assert code == 2
    line = one_error(text)
    assert "step 5: loss nan, gradient norm nan in windows" in line and "incidents.jsonl" in line
    assert "trainer.learning_rate" in line and str(tmp_path / "out" / "checkpoint-4") in line
    assert steps_of_valid(tmp_path / "out") == [4, 2]
    assert not (tmp_path / "out" / "model.safetensors").exists()
    (incident,) = recorded(tmp_path / "out")
    assert (incident["kind"], incident["step"], incident["rank"], incident["epoch"]) == ("non-finite", 5, 0, 0)
    assert len(incident["windows"]) == 4 and incident["losses"][0] == "nan"
    for window in incident["windows"]:
        assert window["record"] in {"g0", "g1", "g2", "g3"}
        assert 0 <= window["start"] < window["end"] == window["start"] + 40 <= 230


def test_with_accumulation_only_the_windows_of_the_bad_pass_are_named(start, tmp_path):
    options = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
    code, _ = start(job=plant("nan", step=4), **options)
    assert code == 2
    (incident,) = recorded(tmp_path / "out")
    assert (incident["step"], len(incident["windows"])) == (2, 2)
    assert [loss == "nan" for loss in incident["losses"]] == [False, True]


def test_a_rank_whose_loss_is_nan_names_its_own_windows_and_all_stop(start, tmp_path):
    codes, text = start(processes=2, job=plant("nan", step=3, rank=1), per_device_train_batch_size=2)
    assert codes == [2, 2], text
    said = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(said) == 2 and said[0] == said[1]  # so the first process can speak for both
    assert "step 3, rank 1: loss nan" in said[0]
    (incident,) = recorded(tmp_path / "out")
    assert (incident["rank"], len(incident["windows"])) == (1, 2)


def test_a_batch_whose_loss_is_nan_can_be_skipped(start, tmp_path):
    code, text = start(job=plant("nan", step=5), on_nonfinite="skip_batch", weight_decay=0.0)
    assert code == 0, text
    assert "step 5: loss nan" in text
    log = outcome(tmp_path / "out")["log"]
    assert [entry["step"] for entry in log if "loss" in entry] == [2, 4, 6, 8]
    assert all(math.isfinite(value) for entry in log for value in entry.values())
    assert log[2]["loss"] == pytest.approx(log[1]["loss"], rel=0.2)  # the mean of one step, not half of it


def test_skipped_steps_leave_no_line_of_the_log_and_count_in_no_mean(start, tmp_path):
    code, text = start(job=plant("nan", step=4), on_nonfinite="skip_batch", logging_steps=1, save_strategy="no")
    assert code == 0, text
    log = outcome(tmp_path / "out")["log"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3, 5, 6, 7, 8]
    assert log[-1]["train_loss"] == pytest.approx(sum(losses) / 7, rel=1e-6)


def test_a_run_whose_loss_stays_nan_is_stopped_even_if_batches_may_be_skipped(start):
    code, text = start(job=plant("nan forever", step=2), on_nonfinite="skip_batch", max_steps=30, save_strategy="no")
    assert code == 2
    assert "step 11: loss nan" in one_error(text)


def test_a_spike_is_logged_with_its_windows_and_the_run_continues(start, tmp_path):
    code, text = start(job=plant("spike", step=25), max_steps=26, save_strategy="no")
    assert code == 0, text
    assert "step 25: loss 2" in text and "median of the steps before is 5." in text
    (incident,) = recorded(tmp_path / "out")
    assert (incident["kind"], incident["step"], incident["epoch"], len(incident["windows"])) == ("spike", 25, 4, 4)


def test_spikes_of_rows_of_a_table_are_counted_in_one_line_at_the_end(tmp_path, caplog):
    """Two spikes among 30 steps of a loss near 0."""
    watch = incidents.WatchSteps(
        StopRequest(),
        "stop",
        None,
        lambda epoch, rows: [{"file": "x.csv", "row": row, "record": "r"} for row in rows.tolist()],
    )
    args, state = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[]), TrainerState()
    with caplog.at_level("INFO", "hf_genomics.runs.incidents"):
        for step in range(30):
            state.global_step = step
            watch.losses, watch.rows = [torch.tensor(0.6 if step in (25, 28) else 0.01)], [torch.tensor([0, 1])]
            watch.on_pre_optimizer_step(args, state, TrainerControl())
        assert caplog.messages == []
        watch.on_train_end(args, state, TrainerControl())
    assert [entry["step"] for entry in recorded(tmp_path)] == [26, 29]
    (line,) = caplog.messages
    assert line.startswith("2 batches") and "0.6 at step 29" in line and "incidents.jsonl" in line


def test_rows_without_ids_are_named_by_their_numbers():
    rows = [{"file": "x.csv", "row": number, "record": str(number)} for number in (3, 4)]
    assert incidents.name_rows(rows) == "rows 3, 4 of x.csv"
