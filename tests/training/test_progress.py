"""Progress of a run: rates, shares and the time left, and a file of lines that survives kills and resumes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.training.progress import add_line, begin_file, in_words, seconds_left, speed_and_shares


def test_rates_and_shares_of_counts():
    found = speed_and_shares([1000, 900, 800, 120, 850, 34], 2.0)
    assert list(found) == ["tokens_per_second", "nt_per_second", "padding_share", "masked_share", "hidden_share"]
    assert list(found.values()) == pytest.approx([450, 425, 0.1, 0.15, 0.04])


def test_shares_of_nothing_are_zero():
    assert speed_and_shares([0] * 6, 0.0)["hidden_share"] == 0


def test_the_time_left_is_that_of_the_steps_left_at_the_speed_of_the_steps_done():
    assert seconds_left(30.0, 3, 7) == 70.0
    assert seconds_left(30.0, 3, 0) == 0.0
    assert seconds_left(30.0, 0, 7) == 210.0  # before the first step is done, as if it were


@given(st.floats(0.01, 10), st.integers(1, 1000), st.integers(0, 1000))
def test_at_a_steady_speed_time_done_and_left_add_up_to_the_whole(seconds_a_step, done, left):
    whole = seconds_a_step * (done + left)
    assert seconds_a_step * done + seconds_left(seconds_a_step * done, done, left) == pytest.approx(whole)


def test_a_line_of_the_log_names_all_of_them():
    numbers = speed_and_shares([1000, 900, 800, 120, 850, 34], 0.5) | {"mfu": 0.412, "eta_seconds": 3725.4}
    line = in_words(numbers)
    for part in ("1,800 tokens/s", "1,700 nt/s", "MFU 41.2 %", "padding 10.0 %", "1:02:05"):
        assert part in line
    assert "\n" not in line


def test_nan_is_null(tmp_path):
    begin_file(tmp_path / "m.jsonl", -1)
    add_line(tmp_path / "m.jsonl", {"step": 1, "loss": float("nan"), "masked_share": 0.5})
    assert json.loads((tmp_path / "m.jsonl").read_text()) == {"step": 1, "loss": None, "masked_share": 0.5}


def test_a_resumed_run_removes_the_lines_that_it_repeats_and_the_half_of_a_killed_process(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 4, "train_loss": 7.5}\n{"step": 6}\n{"step": 8, "lo')
    begin_file(path, 4)
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'
    add_line(path, {"step": 6})
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n{"step": 6}\n'
    begin_file(path, -1)
    assert path.read_text() == ""
