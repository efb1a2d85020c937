"""Jobs of several commands on one folder: each runs once, in the order of what needs what."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest

from hf_genomics.errors import InputError
from hf_genomics.jobs.shared_work import Job, _Board, share_work
from hf_genomics.runs.output_folder import locked

WORK = """
import os, sys, time
folder, log = sys.argv[1:3]
with open(log, "a") as file:
    file.write(os.path.basename(os.path.dirname(folder)) + os.environ.get("CUDA_VISIBLE_DEVICES", "") + chr(10))
time.sleep(0.05)
os.mkdir(folder)
open(folder + "/metrics.json", "w").write("{}")
"""


def job(home, name, needs=None, code=WORK):
    """Build a job that notes its name in the file log and then is finished."""
    folder = home / "cells" / name
    return Job(folder, [sys.executable, "-c", code, str(folder / "run"), str(home / "log")].copy, needs)


def ran(home):
    return (home / "log").read_text().split() if (home / "log").exists() else []


def test_every_job_runs_once_after_what_it_needs_and_never_again(tmp_path):
    first = job(tmp_path, "first")
    jobs = [job(tmp_path, "needs", needs=first), first, *(job(tmp_path, f"j{number}") for number in range(3))]
    share_work(jobs, 2)
    assert sorted(ran(tmp_path)) == ["first", "j0", "j1", "j2", "needs"]
    assert ran(tmp_path).index("first") < ran(tmp_path).index("needs")
    share_work(jobs, 2)
    assert len(ran(tmp_path)) == 5 and all(one.finished for one in jobs)
    assert not list(tmp_path.rglob(".lock"))


def test_gpus_are_used_in_turn(tmp_path):
    share_work([job(tmp_path, f"j{number}-") for number in range(4)], 2, devices=["3", "5"])
    assert {line.split("-")[1] for line in ran(tmp_path)} <= {"3", "5"} and len(ran(tmp_path)) == 4


def test_no_worker_adds_a_time_while_another_sums_them(tmp_path):
    class Times(dict):
        def values(self):
            assert board.mutex.locked()
            return super().values()

    jobs = [replace(job(tmp_path, "done"), kind=1), replace(job(tmp_path, "left"), kind=2)]
    jobs[0].run.mkdir(parents=True)
    (jobs[0].run / "metrics.json").write_text("{}")
    board = _Board(jobs, 1, 0)
    board.seconds = Times()
    board._log_finished(jobs[0], 60)
    assert board.seconds == {1: [60]}


def test_jobs_that_end_at_the_same_moment_are_counted_one_by_one(tmp_path, caplog):
    caplog.set_level("INFO")
    jobs = [job(tmp_path, name) for name in "abc"]
    for one in jobs[:2]:
        one.run.mkdir(parents=True)
        (one.run / "metrics.json").write_text("{}")
    board = _Board(jobs, 2, 0)
    board.running = dict.fromkeys(one.folder for one in jobs[:2])
    for one in jobs[:2]:
        board._log_finished(one, 60)
    assert [text.split(":")[0] for text in caplog.messages] == ["1 of 3", "2 of 3"]


@pytest.mark.parametrize("minutes", [0, 1e-9])
def test_no_job_is_started_after_the_time_limit(tmp_path, minutes):
    share_work([job(tmp_path, "late")], 1, minutes=minutes)
    assert ran(tmp_path) == []


@pytest.mark.slow
def test_two_commands_share_the_jobs(tmp_path):
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_shared_work import job
        from hf_genomics.jobs.shared_work import share_work
        share_work([job(Path(sys.argv[1]), f"j{number}") for number in range(6)], 1)
    """)
    here = __file__.rsplit("/", 1)[0]
    command = [sys.executable, "-c", code, str(tmp_path), here]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert sorted(ran(tmp_path)) == [f"j{number}" for number in range(6)]


def test_a_job_that_another_command_runs_is_waited_for(tmp_path):
    mine = job(tmp_path, "theirs")
    mine.folder.mkdir(parents=True)
    code = textwrap.dedent("""
        import fcntl, os, sys, time  # as `locked` does, without importing the package
        folder = sys.argv[1]
        lock = os.open(folder + "/.lock", os.O_RDWR | os.O_CREAT)
        fcntl.lockf(lock, fcntl.LOCK_EX)
        print("held", flush=True)
        time.sleep(0.3)
        os.mkdir(folder + "/run")
        open(folder + "/run/metrics.json", "w").write("{}")
    """)
    other = subprocess.Popen([sys.executable, "-c", code, str(mine.folder)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    share_work([mine], 1)
    assert mine.finished and ran(tmp_path) == [] and other.wait(60) == 0
    other.stdout.close()


def test_a_run_that_was_killed_while_writing_is_not_finished(tmp_path):
    one = job(tmp_path, "x")
    one.run.mkdir(parents=True)
    (one.run / "metrics.json").write_text("{}")
    assert one.finished
    with locked(one.run):
        assert not one.finished


@pytest.mark.parametrize(
    ("code", "error", "named"),
    [
        ("import sys; sys.stderr.write('hf-genomics: error: x.yaml: no key\\n'); sys.exit(2)", InputError, "no key"),
        ("import os; os.kill(os.getpid(), 9)", InputError, "signal 9"),
        ("raise SystemExit(1)", RuntimeError, "exit code 1"),
        ("pass", RuntimeError, "log.txt"),
    ],
)
def test_the_first_job_that_fails_ends_the_work_with_its_reason(tmp_path, code, error, named):
    jobs = [job(tmp_path, "bad", code=code), *(job(tmp_path, f"j{number}") for number in range(3))]
    with pytest.raises(error) as caught:
        share_work(jobs, 1)
    assert named in str(caught.value) and "bad" in str(caught.value)
    assert ran(tmp_path) == [] and not list(tmp_path.rglob(".lock"))
    begin = time.monotonic()
    share_work(jobs[1:], 1)
    assert len(ran(tmp_path)) == 3 and time.monotonic() - begin < 60
