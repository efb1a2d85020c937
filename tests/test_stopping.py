"""Signals that ask for a stop: at once on the command line, never half-written, and no worker dies of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from hf_genomics.errors import StoppedError
from hf_genomics.stopping import SIGNALS, StopNow, handling, ignore_signals, stop_at_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_the_command_with_the_code_that_a_shell_gives_it(number):
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match=signal.Signals(number).name) as stopped, stop_at_signals("start it again"):
        os.kill(os.getpid(), number)
    assert stopped.value.code == 128 + number and "start it again" in str(stopped.value)
    assert signal.getsignal(number) is before


def test_code_that_survives_any_exception_does_not_swallow_a_stop():
    with pytest.raises(StoppedError), stop_at_signals("start it again"):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # noqa: BLE001 (as libraries do)
            pytest.fail("swallowed")


def test_a_second_signal_interrupts_whatever_still_cleans_up():
    with pytest.raises(KeyboardInterrupt), stop_at_signals("start it again"):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_whose_error_was_lost_is_found_where_the_next_block_begins():
    stop = StopNow()
    with handling(stop):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException:  # noqa: S110 (what Python does with errors in a destructor)
            pass
        with pytest.raises(StoppedError, match="SIGTERM"), handling(StopNow()):
            pytest.fail("began")


def test_a_signal_that_the_process_ignores_stays_ignored_as_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_at_signals("start it again"):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_worker_outlives_the_signals_that_a_scheduler_sends_to_every_process():
    child = os.fork()
    if child == 0:
        ignore_signals()
        for number in SIGNALS:
            os.kill(os.getpid(), number)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(other, marks=pytest.mark.slow) for other in SIGNALS if other != signal.SIGTERM)],
)
def test_a_command_that_is_stopped_while_it_imports_says_one_line_and_leaves_nothing(number, tmp_path, repo_root):
    """A function of the package is replaced by one that signals its own process, as if during an import."""
    code = (
        "import os, sys, hf_genomics, hf_genomics.cli as cli\n"
        f"def prepare(fasta: str) -> None:\n    os.kill(os.getpid(), {int(number)})\n"
        "hf_genomics.prepare = prepare\nsys.exit(cli.main(['prepare', '--fasta', 'x']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 128 + number, run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith("hf-genomics: error: stopped by ") and signal.Signals(number).name in line
    assert list(tmp_path.iterdir()) == []
