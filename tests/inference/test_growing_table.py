"""A table that grows: whole or not there, and what an interrupted run leaves behind."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from hf_genomics.errors import InputError
from hf_genomics.inference.growing_table import GrowingTable

HEADER, SETTINGS = ["id", "value"], {"model": "abc", "options": {"rna": False, "tracks": ("a", "b")}}
ROWS = [("a", 1.0), ("b\nb", 0.123456789), ("c\td", 2.5e-9), ("d", 3)]


def grow(path: Path, rows: list, *, resume: bool = False, several: bool = False, stop: BaseException | None = None):
    """Write rows, those of sequences that are not there yet; raise ``stop`` behind the last one."""
    with GrowingTable(path, HEADER, SETTINGS, resume, several) as table:
        ids, done = list(dict.fromkeys(name for name, _ in rows)), table.num_sequences
        for row in (row for row in rows if ids.index(row[0]) >= done):
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
    rows = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3), ("c", 1)]
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


def test_bad_input_leaves_nothing_but_a_failing_disk_leaves_the_rows(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.WARNING)
    with pytest.raises(InputError):
        grow(tmp_path / "t.tsv", ROWS[:2], stop=InputError("a bad letter"))
    assert not list(tmp_path.iterdir()) and not caplog.text
    error = InputError("cannot be read")
    error.__cause__ = OSError("stale handle")
    with pytest.raises(InputError):
        grow(tmp_path / "t.tsv", ROWS[:2], stop=error)
    assert (tmp_path / ".t.tsv.partial" / "rows.tsv").exists() and "2 sequences" in caplog.text
