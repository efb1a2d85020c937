"""A table that grows: whole or not there, and what an interrupted run leaves behind."""

from __future__ import annotations

import errno
import io
import json
import logging
import multiprocessing
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from hf_genomics.errors import InputError
from hf_genomics.inference import growing_table as module
from hf_genomics.inference.growing_table import GrowingTable

HEADER, SETTINGS = ["id", "value"], {"model": "abc", "options": {"rna": False, "tracks": ("a", "b")}}
ROWS = [("a", 1.0), ("b\nb", 0.123456789), ("c\td", 2.5e-9), ("d\re", 3)]


def grow(path: Path, rows: list, *, resume: bool = False, several: bool = False, stop: BaseException | None = None):
    """Write rows, those of sequences that are not there yet; raise ``stop`` behind the last one."""
    with GrowingTable(path, HEADER, SETTINGS, resume, 1 if several else None) as table:
        done = table.num_sequences
        numbers = np.cumsum([not several or value == 0 for _, value in rows]) - 1  # of the sequence of each row
        for row, number in zip(rows, numbers, strict=True):
            if number >= done:
                table.write(row)
        if stop:
            raise stop
        table.finish()
    return table


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """The table written in one go."""
    grow(tmp_path / "whole.tsv", ROWS)
    return (tmp_path / "whole.tsv").read_bytes()


def test_a_table_appears_when_it_is_whole(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "new" / "t.tsv"
    with GrowingTable(path, HEADER, SETTINGS, resume=False) as table:
        assert not path.parent.exists()
        table.write(ROWS[0])
        rows = path.with_name(".t.tsv.partial") / "rows.tsv"
        assert rows.read_text() == "id\tvalue\na\t1\n" and not path.exists(), "a row is in the file at once"
        for row in ROWS[1:]:
            table.write(row)
        table.finish()
    assert path.read_bytes() == whole and list(path.parent.iterdir()) == [path]
    assert (table.num_sequences, table.num_rows) == (4, 4)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("out of memory"), SystemExit(143)])
def test_an_interrupted_table_is_kept_and_goes_on(tmp_path: Path, whole: bytes, stop: BaseException, caplog) -> None:
    path = tmp_path / "t.tsv"
    with pytest.raises(type(stop)):
        grow(path, ROWS[:2], stop=stop)
    assert (
        not path.exists()
        and "t.tsv" in caplog.text
        and "--resume true" in caplog.text
        and ".t.tsv.partial" in caplog.text
    )
    table = grow(path, ROWS, resume=True)
    assert path.read_bytes() == whole and (table.num_sequences, table.num_rows) == (4, 4)
    assert not path.with_name(".t.tsv.partial").exists()


def test_a_table_that_was_cut_anywhere_goes_on_behind_its_last_whole_row(tmp_path: Path, whole: bytes) -> None:
    path, folder = tmp_path / "t.tsv", tmp_path / ".t.tsv.partial"
    for size in range(len(whole) + 1):
        with pytest.raises(KeyboardInterrupt):
            grow(path, ROWS, stop=KeyboardInterrupt())
        (folder / "rows.tsv").write_bytes(whole[:size])
        grow(path, ROWS, resume=True)
        assert path.read_bytes() == whole
        path.unlink()


def test_of_several_rows_the_last_sequence_is_written_again(tmp_path: Path) -> None:
    rows = [("a", 0), ("a", 2), ("a", 0), ("a", 2), ("a", 3), ("", 0)]  # names may be repeated or missing
    grow(tmp_path / "whole.tsv", rows, several=True)
    whole = (tmp_path / "whole.tsv").read_bytes()
    for count in range(len(rows) + 1):
        with pytest.raises(KeyboardInterrupt):
            grow(tmp_path / "t.tsv", rows[:count], several=True, stop=KeyboardInterrupt())
        table = grow(tmp_path / "t.tsv", rows, resume=True, several=True)
        assert (tmp_path / "t.tsv").read_bytes() == whole and (table.num_sequences, table.num_rows) == (3, 6)


def test_other_settings_are_refused_by_name_and_change_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        grow(tmp_path / "t.tsv", ROWS[:2], stop=KeyboardInterrupt())
    rows = tmp_path / ".t.tsv.partial" / "rows.tsv"
    before = rows.read_bytes()
    for settings, part in (({**SETTINGS, "model": "xyz"}, "model abc"), ({**SETTINGS, "options": {}}, "options")):
        with pytest.raises(InputError) as caught:
            GrowingTable(tmp_path / "t.tsv", HEADER, settings, resume=True)
        assert part in str(caught.value) and ".t.tsv.partial" in str(caught.value) and "resume" in str(caught.value)
    assert rows.read_bytes() == before
    (rows.parent / "settings.json").write_text("{")
    with pytest.raises(InputError):
        GrowingTable(tmp_path / "t.tsv", HEADER, SETTINGS, resume=True)


def test_without_resume_an_old_one_is_replaced(tmp_path: Path, whole: bytes) -> None:
    with pytest.raises(KeyboardInterrupt):
        grow(tmp_path / "t.tsv", [("x", 1)], stop=KeyboardInterrupt())
    assert json.loads((tmp_path / ".t.tsv.partial" / "settings.json").read_text())["model"] == "abc"
    grow(tmp_path / "t.tsv", ROWS)
    assert (tmp_path / "t.tsv").read_bytes() == whole


def test_rows_are_kept_whatever_ends_the_run_and_nothing_is_kept_without_rows(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.WARNING)
    with pytest.raises(InputError):
        grow(tmp_path / "new" / "er" / "t.tsv", [], stop=InputError("a bad letter"))
    assert not list(tmp_path.iterdir()) and not caplog.text
    with pytest.raises(InputError):
        grow(tmp_path / "t.tsv", ROWS[:2], stop=InputError("a bad letter"))
    assert (tmp_path / ".t.tsv.partial" / "rows.tsv").exists() and "2 sequences" in caplog.text


class FullDisk(io.StringIO):
    """A file on a disk that has room for some more writes."""

    room = 0

    def write(self, text: str) -> int:
        if FullDisk.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        FullDisk.room -= 1
        return self.real.write(text)

    def close(self) -> None:
        self.real.close()


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_full_disk_is_named_with_the_table_and_leaves_complete_rows(tmp_path, whole, room, monkeypatch):
    def open_full(*args, **options):
        full = FullDisk()
        full.real = open(*args, **options)
        return full

    FullDisk.room = room
    monkeypatch.setattr(module, "open", open_full, raising=False)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"t\.tsv: cannot be written: No space"):
        grow(tmp_path / "out" / "t.tsv", ROWS)
    monkeypatch.undo()
    assert bool(list((tmp_path / "out").iterdir())) == (room > 1), "a header is not worth keeping, rows are"
    grow(tmp_path / "out" / "t.tsv", ROWS, resume=True)
    assert (tmp_path / "out" / "t.tsv").read_bytes() == whole


def test_repeated_and_missing_names_are_sequences_of_their_own(tmp_path: Path) -> None:
    rows = [("a", 1.0), ("a", 2.0), ("", 3.0), ("", 4.0), ("a", float("nan"))]
    grow(tmp_path / "whole.tsv", rows)
    whole = (tmp_path / "whole.tsv").read_bytes()
    assert whole.endswith(b"a\t\n"), "NaN is an empty cell"
    for count in range(len(rows)):
        with pytest.raises(KeyboardInterrupt):
            grow(tmp_path / "t.tsv", rows[:count], stop=KeyboardInterrupt())
        assert grow(tmp_path / "t.tsv", rows, resume=True).num_sequences == 5
        assert (tmp_path / "t.tsv").read_bytes() == whole


def test_a_link_stays_a_link_and_the_rows_are_next_to_what_it_leads_to(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.tsv").symlink_to(tmp_path / "real" / "t.tsv")
    with pytest.raises(KeyboardInterrupt):
        grow(tmp_path / "link.tsv", ROWS[:2], stop=KeyboardInterrupt())
    assert (tmp_path / "real" / ".t.tsv.partial").is_dir()
    grow(tmp_path / "link.tsv", ROWS, resume=True)
    assert (tmp_path / "link.tsv").is_symlink() and (tmp_path / "real" / "t.tsv").read_bytes() == whole


def test_a_pipe_gets_each_row_at_once_and_cannot_be_continued(tmp_path: Path, whole: bytes) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    grow(tmp_path / "pipe", ROWS)
    assert os.read(reader, 1000) == whole and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert os.listdir(tmp_path) == ["pipe"] or sorted(os.listdir(tmp_path)) == ["pipe", "whole.tsv"]
    os.close(reader)
    with pytest.raises(InputError, match="omit resume"):
        grow(tmp_path / "pipe", ROWS, resume=True)


def grow_until(path: Path, ready, release) -> None:
    """Write two rows in a process of its own, and the others when it is told to."""
    with GrowingTable(path, HEADER, SETTINGS, resume=False) as table:
        for number, row in enumerate(ROWS):
            if number == 2:
                ready.set()
                release.wait(60)
            table.write(row)
        table.finish()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_a_second_run_with_the_same_output_is_refused_and_the_first_one_loses_nothing(tmp_path: Path, whole) -> None:
    fork = multiprocessing.get_context("fork")
    ready, release = fork.Event(), fork.Event()
    other = fork.Process(target=grow_until, args=(tmp_path / "t.tsv", ready, release))
    other.start()
    assert ready.wait(60)
    for resume in (False, True, "auto"):
        with pytest.raises(InputError, match=rf"process {other.pid} .*another output"):
            grow(tmp_path / "t.tsv", [("x", 1)] * 9, resume=resume)
    release.set()
    other.join()
    assert (tmp_path / "t.tsv").read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.tsv", "whole.tsv"]


def test_files_that_are_made_of_the_rows_are_flushed_before_they_appear(tmp_path: Path, monkeypatch) -> None:
    def convert(rows: Path) -> dict[Path, Path]:
        rows.with_name("0.bed").write_text("chr1\t0\t9\n")
        return {rows.with_name("0.bed"): tmp_path / "t.bed"}

    flushed, real = set(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (flushed.add(os.fstat(handle).st_ino), real(handle)))
    with GrowingTable(tmp_path / "t.bed", HEADER, SETTINGS, resume=False) as table:
        table.write(ROWS[0])
        table.finish(convert)
    assert (tmp_path / "t.bed").stat().st_ino in flushed


def test_a_stop_between_two_files_leaves_no_old_one_beside_a_new_one(tmp_path: Path, monkeypatch) -> None:
    names = ["a.bed", "b.bed"]
    for name in names:
        (tmp_path / name).write_text("old\n")

    def convert(rows: Path) -> dict[Path, Path]:
        for name in names:
            rows.with_name(name).write_text("new\n")
        return {rows.with_name(name): tmp_path / name for name in names}

    def put_once(source: Path, target: Path) -> None:
        monkeypatch.setattr(module, "put_in_place", raise_stop)
        source.replace(target)

    def raise_stop(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "put_in_place", put_once)
    with pytest.raises(KeyboardInterrupt), GrowingTable(tmp_path / "a.bed", HEADER, SETTINGS, resume="auto") as table:
        table.write(ROWS[0])
        table.finish(convert)
    assert (tmp_path / "a.bed").read_text() == "new\n" and not (tmp_path / "b.bed").exists()
