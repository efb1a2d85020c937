"""Writing: files and folders are complete or not there, and on disk before they get their names."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hf_genomics.errors import InputError
from hf_genomics.io import writing
from hf_genomics.io.writing import (
    HashedFile,
    check_output,
    replacing,
    sync_folder,
    write_bytes,
    write_json,
    write_partial,
    write_text,
    write_tsv,
    writing_file,
)


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[str]]:
    """Record by inode what was flushed ("file" or "folder"), in order; the test sees what a power cut would."""
    seen: dict[int, list[str]] = {}
    flush = os.fsync

    def fsync(handle: int) -> None:
        facts = os.fstat(handle)
        seen.setdefault(facts.st_ino, []).append("folder" if stat.S_ISDIR(facts.st_mode) else "file")
        flush(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: write_bytes(path, b"ACGT"),
    "text": lambda path: write_text(path, "ACGT"),
    "json": lambda path: write_json(path, {"nt": 4}),
    "tsv": lambda path: write_tsv(path, ["nt"], [[4]]),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_and_its_folder_are_flushed_once_each(tmp_path: Path, flushed: dict, kind: str) -> None:
    WRITERS[kind](tmp_path / "x")
    assert flushed == {(tmp_path / "x").stat().st_ino: ["file"], tmp_path.stat().st_ino: ["folder"]}
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_is_flushed_with_all_files_and_names_in_it(tmp_path: Path, flushed: dict) -> None:
    with replacing(tmp_path / "out") as folder:
        (folder / "deep" / "er").mkdir(parents=True)
        for name in ("a", "deep/b", "deep/er/c"):
            (folder / name).write_text(name)
    folders = (tmp_path, *(tmp_path / "out" / name for name in ("", "deep", "deep/er")))
    expected = {path.stat().st_ino: ["folder"] for path in folders}
    expected |= {(tmp_path / "out" / name).stat().st_ino: ["file"] for name in ("a", "deep/b", "deep/er/c")}
    assert flushed == expected


def test_missing_folders_on_the_way_are_created(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "er" / "x", b"")
    with replacing(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "new" / "er" / "x").is_file() and (tmp_path / "a" / "b").is_dir()


def test_a_file_that_cannot_be_flushed_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "x", "old")

    def full(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_text(tmp_path / "x", "new")
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x").read_text() == "old"


def test_a_file_in_the_place_of_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError):
        write_text(tmp_path / "x", "new")
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_whose_block_fails_leaves_the_old_one(tmp_path: Path) -> None:
    with replacing(tmp_path / "x") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(KeyError), replacing(tmp_path / "x") as folder:
        (folder / "a").write_text("new")
        raise KeyError
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x" / "a").read_text() == "old"
    with replacing(tmp_path / "x") as folder:
        (folder / "b").write_text("new")
    assert os.listdir(tmp_path) == ["x"] and os.listdir(tmp_path / "x") == ["b"]


def test_files_and_folders_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "")
        with replacing(tmp_path / "y"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "y").stat().st_mode) == 0o750


def test_a_partial_file_has_another_name_each_time(tmp_path: Path) -> None:
    partial = {write_partial(tmp_path / "x", b"ACGT") for _ in range(3)}
    assert len(partial) == 3 and all(path.name.startswith(".x.") and path.suffix == ".partial" for path in partial)
    assert all(path.read_bytes() == b"ACGT" for path in partial)


def test_json_holds_numbers_of_numpy_and_null_for_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "x", {1: (np.float32(0.5), np.int64(3), float("nan")), "b": [None, True, -np.inf]})
    assert json.loads((tmp_path / "x").read_text()) == {"1": [0.5, 3, None], "b": [None, True, None]}


def test_tsv_quotes_cells_and_rounds_floats(tmp_path: Path) -> None:
    write_tsv(tmp_path / "x", ["id", "score"], [["a\tb", 1 / 3], ["c\nd", 2]])
    with open(tmp_path / "x", newline="") as file:
        assert list(csv.reader(file, delimiter="\t")) == [["id", "score"], ["a\tb", "0.3333333"], ["c\nd", "2"]]


def test_a_carriage_return_in_a_cell_of_tsv_does_not_end_the_row(tmp_path: Path) -> None:
    rows = [["a\rb", 1.5], ["c\r\nd", None], ["e", 2.0]]
    write_tsv(tmp_path / "x.tsv", ["id", "value"], rows)
    assert pd.read_csv(tmp_path / "x.tsv", sep="\t")["id"].tolist() == ["a\rb", "c\r\nd", "e"]
    assert (tmp_path / "x.tsv").read_bytes().endswith(b"e\t2\n")


def test_a_hashed_file_says_what_it_wrote(tmp_path: Path, flushed: dict) -> None:
    with HashedFile(tmp_path / "x") as file:
        file.write(b"AC")
        file.write(memoryview(b"GT"))
        facts = file.finish()
    assert facts["x"]["bytes"] == 4 and str(facts["x"]["sha256"]).startswith("1dff3e84fe7877e0")
    assert flushed == {(tmp_path / "x").stat().st_ino: ["file"]}


def test_sync_folder_flushes_the_folder(tmp_path: Path, flushed: dict) -> None:
    sync_folder(tmp_path)
    assert flushed == {tmp_path.stat().st_ino: ["folder"]}


def test_an_output_is_checked_before_the_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_output(tmp_path / "new" / "x", folder=False)
    check_output(tmp_path, folder=True)
    for path, folder in ((tmp_path, False), (tmp_path / "file", True), (tmp_path / "file" / "x", False)):
        with pytest.raises(InputError, match=str(path.parent if path.name == "x" else path)):
            check_output(path, folder=folder)
    assert os.listdir(tmp_path) == ["file"]


def test_no_folder_on_the_way_to_an_output_is_created_in_the_root_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path(tmp_path.anchor)
    for path, folder in ((root / "gone-x" / "a.tsv", False), (root / "gone-x" / "b" / "run", True)):
        with pytest.raises(InputError, match=f"^{re.escape(str(root / 'gone-x'))}: no such folder"):
            check_output(path, folder=folder)
    for path in (Path("runs/a/b"), tmp_path / "runs" / "a" / "b"):
        check_output(path, folder=True)
        check_output(path, folder=False)
    monkeypatch.setattr(os, "access", lambda *_: True)  # the results themselves may lie there
    check_output(root / "gone-x", folder=True)
    monkeypatch.chdir(root)
    check_output(Path("gone-x/a.tsv"), folder=False)
    assert not (root / "gone-x").exists() and not os.listdir(tmp_path)


def test_large_content_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "new"):
        with writing_file(folder / "x") as file:
            file.write(b"first")
            assert not (folder / "x").exists()
            file.write(b" and second")
        assert (folder / "x").read_bytes() == b"first and second"
    with pytest.raises(ValueError), writing_file(tmp_path / "x") as file:  # noqa: PT012
        file.write(b"half")
        raise ValueError
    assert (tmp_path / "x").read_bytes() == b"first and second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "x"]


def test_large_content_reaches_a_pipe_only_when_it_is_complete(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(ValueError), writing_file(tmp_path / "pipe") as file:  # noqa: PT012
        file.write(b"half")
        raise ValueError
    with writing_file(tmp_path / "pipe") as file:
        file.write(b"whole")
    assert os.read(reader, 99) == b"whole"
    os.close(reader)
