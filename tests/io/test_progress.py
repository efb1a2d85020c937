"""Progress bars, hidden where nobody looks, and log lines that leave an early error alone."""

from __future__ import annotations

import io
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_files import dna, fasta
from tqdm.auto import tqdm

from hf_genomics.io import progress
from hf_genomics.io.progress import CommandLog, clear_bars, progress_bar, say_how_many


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_a_bar_is_hidden_from_files_and_from_quiet_loggers(level: int, capsys: pytest.CaptureFixture) -> None:
    logger = logging.getLogger("hf_genomics.test_progress")
    logger.setLevel(level)
    with progress_bar(logger, "prepare", "nt", total=10) as bar:
        assert bar.disable and bar.total == 10
        bar.update(10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("unit", "scaled"), [("nt", True), ("B", True), ("genome", False)])
def test_letters_and_bytes_are_shown_with_prefixes(unit: str, scaled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tqdm.auto.tqdm", lambda **options: options)
    options = progress_bar(logging.getLogger("hf_genomics.test_progress"), "prepare", unit, total=3)
    assert (options["unit"], options["unit_scale"], options["total"]) == (unit, scaled, 3)


def test_without_a_terminal_lines_say_how_far_a_command_is(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    times = iter([0.0, 10.0, 31.0, 40.0, 62.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times, 62.0)))
    with caplog.at_level(logging.INFO):
        assert list(say_how_many(range(4), logging.getLogger("hf_genomics.test"), "predict", "windows")) == [0, 1, 2, 3]
    assert caplog.messages == ["predict: 1 windows so far", "predict: 3 windows so far"]


@pytest.fixture
def log() -> tuple[logging.Logger, CommandLog]:
    """A logger with a `CommandLog`."""
    logger = logging.Logger("a command")
    logger.addHandler(handler := CommandLog())
    return logger, handler


def test_lines_are_held_until_the_command_is_under_way(log, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    logger, handler = log
    logger.warning("one")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "_HELD_S", 0.0)
    logger.warning("two")
    assert capsys.readouterr().err == "one\ntwo\n"
    handler.drop()
    logger.warning("three")
    assert capsys.readouterr().err == "three\n"


def test_held_lines_are_released_or_dropped_once(log, capsys) -> None:
    logger, handler = log
    logger.warning("one")
    handler.show_held()
    handler.show_held()
    assert capsys.readouterr().err == "one\n"
    handler.hold()
    logger.warning("two")
    handler.drop()
    handler.show_held()
    assert capsys.readouterr().err == ""


def test_logged_lines_are_safe_to_show(log, capsys) -> None:
    logger, handler = log
    logger.warning("x.fa: %s\nred: \x1b[31m", dna(100))
    handler.show_held()
    shown = capsys.readouterr().err
    assert dna(100)[:31] not in shown and dna(100)[:30] in shown and "\x1b" not in shown and shown.count("\n") == 2


def test_bars_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = tqdm(total=2, file=(text := io.StringIO()), disable=False)
    bar.update(1)
    clear_bars()
    assert text.getvalue().split("\r")[-1].strip() == "" and not list(tqdm._instances)


def in_terminal(words: list[str], folder: Path) -> tuple[int, bytes]:
    """Run the command line with a terminal as its standard error; return its exit code and what it writes there."""
    ours, theirs = pty.openpty()
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "TERM": "xterm-256color", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "hf_genomics", *words]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # Linux says so when the other side is closed
                break
            if not part:
                break
            written += part
    os.close(ours)
    return process.returncode, written


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (["prepare", "--fasta", "bad.fa", "--output_dir", "store"], b"bad.fa: record 2"),
        pytest.param(
            ["prepare", "--fasta", "esc\x1b[31m\nname.fa", "--output_dir", "store"],
            rb"esc\x1b[31m\nname.fa: no such file",
            marks=pytest.mark.slow,
        ),
        pytest.param(["check", "bad.fa", "bad.csv"], b"2 problems, in 2 of 2 files", marks=pytest.mark.slow),
    ],
)
def test_an_error_in_a_terminal_is_one_plain_line(words: list[str], fact: bytes, tmp_path: Path) -> None:
    fasta(tmp_path / "bad.fa", good=dna(1000), bad="\x1b[31m" + "E" * 50)
    (tmp_path / "bad.csv").write_text(f"{dna(40)},a\n")
    code, written = in_terminal(words, tmp_path)
    assert code == 2 and written.startswith(b"hf-genomics: error: ") and written.endswith(b"\r\n")
    assert fact in written and written.count(b"\n") == 1 and b"\x1b" not in written and written.count(b"\r") == 1


def test_a_log_line_with_wrong_arguments_does_not_end_the_command(log, capsys) -> None:
    logger, handler = log
    logger.warning("%d rows", "many")
    handler.show_held()
    assert "%d rows" in capsys.readouterr().err
