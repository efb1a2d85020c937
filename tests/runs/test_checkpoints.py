"""Checkpoints on disk: states come back exactly, and only complete checkpoints count."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.runs import checkpoints
from hf_genomics.runs.checkpoints import (
    MANIFEST,
    TRAINER_STATE,
    changed_settings,
    check_space,
    checkpoints_in,
    clear_remains,
    join_tensors,
    load_tree,
    newest_valid,
    problem_of,
    random_state,
    rotate,
    save_tree,
    set_random_state,
    split_tensors,
    step_of,
    writing,
)

# states

numbers = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
tensors = st.lists(st.floats(width=32), max_size=3).map(torch.tensor) | st.integers(0, 9).map(torch.tensor)
arrays = st.lists(st.integers(0, 2**32 - 1), max_size=3).map(lambda values: np.array(values, np.uint32))
trees = st.recursive(
    numbers | tensors | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers() | st.text(), inner, max_size=3)
    ),
    max_leaves=10,
)


def same(ours, theirs):
    if isinstance(ours, torch.Tensor | np.ndarray):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        return (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and (ours == theirs or ours != ours)


@given(trees)
def test_any_state_comes_back_from_json_and_tensors_to_the_bit(tree):
    aside = {}
    text = json.dumps(split_tensors(tree, aside, "root"))
    assert same(tree, join_tensors(json.loads(text), aside))


def test_what_only_a_pickle_could_hold_is_refused_by_name():
    with pytest.raises(TypeError, match=r"optimizer\.0\.hook: object is"):
        split_tensors([{"hook": object()}], {}, "optimizer")


def test_an_optimizer_goes_on_from_its_files_as_if_nothing_had_happened(tmp_path):
    def trained(steps, state=None):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(5))
        optimizer = torch.optim.AdamW([weight], lr=0.1, betas=(0.9, 0.98))
        for step in range(steps):
            if state and step == 3:
                save_tree(optimizer.state_dict(), tmp_path, "optimizer")
                optimizer = torch.optim.AdamW([weight], lr=0.7)
                optimizer.load_state_dict(load_tree(tmp_path, "optimizer"))
            weight.grad = weight.detach() * step
            optimizer.step()
        return weight

    assert torch.equal(trained(6), trained(6, state=True))


def test_random_numbers_go_on_where_they_were(tmp_path):
    def draw():
        return random.random(), np.random.normal(), torch.rand(3).tolist()  # a normal leaves a second one in store

    draw()
    save_tree(random_state(), tmp_path, "random")
    first = draw(), draw()
    set_random_state(load_tree(tmp_path, "random"))
    assert (draw(), draw()) == first


# hashing once


class Counting:
    """hashlib, counting the hashes asked for."""

    def __init__(self):
        self.count = 0

    def sha256(self):
        self.count += 1
        return hashlib.sha256()


@pytest.fixture
def hashes(monkeypatch):
    counting = Counting()
    monkeypatch.setattr(checkpoints, "hashlib", counting)
    return counting


def rest():
    """Wait until files are so old that a change would show in their times."""
    time.sleep(1.2 * checkpoints._QUIET_NS / 1e9)


def test_a_save_hashes_its_own_files_and_none_of_earlier_checkpoints(tmp_path, hashes):
    for step in range(1, 4):
        make(tmp_path, step)
    rest()
    newest_valid(tmp_path), rotate(tmp_path, 2)
    hashes.count = 0
    with writing(tmp_path / "checkpoint-4") as place:
        (place / TRAINER_STATE).write_text("{}")
        rest()
    rotate(tmp_path, 2)
    assert hashes.count == 1
    assert [step_of(path) for path in checkpoints_in(tmp_path)] == [4, 3]


@settings(max_examples=8)
@given(st.integers(0, 99), st.integers(0, 7))
def test_every_bit_counts_in_a_file_that_is_known_even_when_its_time_is_set_back(tmp_path_factory, byte, bit):
    known = make(tmp_path_factory.mktemp("known"), 1)
    rest()
    assert problem_of(known) is None  # read and remembered
    weights = known / "sub" / "weights"
    times, content = weights.stat(), weights.read_bytes()
    with open(weights, "rb+") as file:
        file.seek(byte)
        file.write(bytes([content[byte] ^ 1 << bit]))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert problem_of(known) == "sub/weights has changed since it was written"


def test_a_known_file_that_is_gone_or_cut_or_replaced_is_a_problem(tmp_path):
    checkpoint = make(tmp_path, 1)
    weights, content = checkpoint / "sub" / "weights", bytes(range(100))
    rest()
    assert problem_of(checkpoint) is None
    weights.write_bytes(content[:-1])
    assert problem_of(checkpoint) == "sub/weights has 99 bytes instead of 100"
    (tmp_path / "other").write_bytes(content[::-1])
    (tmp_path / "other").replace(weights)
    assert problem_of(checkpoint) == "sub/weights has changed since it was written"
    weights.unlink()
    assert problem_of(checkpoint) == "sub/weights is missing"


def test_files_can_be_read_by_whom_the_umask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        with writing(tmp_path / "checkpoint-1") as place:
            save_tree({"a": torch.ones(2)}, place, "optimizer")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "checkpoint-1").iterdir()}
    assert modes == dict.fromkeys(("optimizer.json", "optimizer.safetensors", MANIFEST), 0o640)
    assert stat.S_IMODE((tmp_path / "checkpoint-1").stat().st_mode) == 0o750


def test_every_file_and_both_folders_are_flushed_to_disk(tmp_path, monkeypatch):
    """After a power cut a file is there only if its name was flushed too, with the folder that holds it."""
    real, flushed = os.fsync, []

    def fsync(handle):
        facts = os.fstat(handle)
        in_place = (tmp_path / "checkpoint-1").exists()
        flushed.append((stat.S_ISDIR(facts.st_mode), facts.st_ino, in_place))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    checkpoint = make(tmp_path, 1)
    files = {path.stat().st_ino for path in checkpoint.rglob("*") if path.is_file()}
    folders = {checkpoint.stat().st_ino, (checkpoint / "sub").stat().st_ino}  # they hold the names of the files
    before = {(is_folder, inode) for is_folder, inode, in_place in flushed if not in_place}
    assert len(files) == 3 and before == {(False, inode) for inode in files} | {(True, inode) for inode in folders}
    assert flushed[-1] == (True, tmp_path.stat().st_ino, True)  # its own name, once it has it


def test_a_flush_that_fails_leaves_no_checkpoint(tmp_path, monkeypatch):
    def broken(handle):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        make(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


# folders


def make(folder, step, keep=None):
    with writing(folder / f"checkpoint-{step}") as place:
        (place / TRAINER_STATE).write_text(json.dumps({"global_step": step}))
        (place / "sub").mkdir()
        (place / "sub" / "weights").write_bytes(bytes(range(100)))
    return folder / f"checkpoint-{step}"


def test_a_checkpoint_that_was_written_is_valid_and_its_manifest_names_every_other_file(tmp_path):
    checkpoint = make(tmp_path, 2)
    assert problem_of(checkpoint) is None
    files = json.loads((checkpoint / MANIFEST).read_text())["files"]
    assert set(files) == {TRAINER_STATE, "sub/weights"}
    assert files["sub/weights"]["bytes"] == 100


@given(st.integers(0, 99), st.integers(0, 7))
def test_every_bit_counts(tmp_path_factory, byte, bit):
    checkpoint = make(tmp_path_factory.mktemp("bit"), 1)
    content = bytearray((checkpoint / "sub" / "weights").read_bytes())
    content[byte] ^= 1 << bit
    (checkpoint / "sub" / "weights").write_bytes(content)
    assert problem_of(checkpoint) == "sub/weights has changed since it was written"


@given(st.integers(0, 300))
def test_a_manifest_cut_anywhere_is_damaged(tmp_path_factory, kept):
    checkpoint = make(tmp_path_factory.mktemp("cut"), 1)
    text = (checkpoint / MANIFEST).read_text().rstrip()
    (checkpoint / MANIFEST).write_text(text[: min(kept, len(text) - 1)])
    assert problem_of(checkpoint) == "its manifest.json is damaged (ValueError)"


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": []}', '{"files": {"x": 1}}', '{"files": {}}', "null"])
def test_a_manifest_of_another_form_is_a_problem(tmp_path, text):
    checkpoint = make(tmp_path, 1)
    (checkpoint / MANIFEST).write_text(text)
    assert problem_of(checkpoint)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    make(tmp_path, 1)
    with pytest.raises(OSError, match="disk"), writing(tmp_path / "checkpoint-2") as place:
        (place / "half").write_text("x")
        raise OSError("disk")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_checkpoints_are_sorted_by_step_and_only_folders_of_that_name_count(tmp_path):
    for step in (9, 10, 100):
        make(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-7").write_text("a file")
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-100", "checkpoint-10", "checkpoint-9"]


def test_the_newest_valid_one_is_found_and_newer_ones_are_explained(tmp_path):
    for step in (1, 2, 3):
        make(tmp_path, step)
    (tmp_path / "checkpoint-3" / MANIFEST).unlink()
    newest, problems = newest_valid(tmp_path)
    assert newest.name == "checkpoint-2" and problems == {"checkpoint-3": "it has no manifest.json"}
    assert newest_valid(tmp_path / "nothing") == (None, {})


@pytest.mark.parametrize(
    ("limit", "keep", "left"),
    [(None, None, "54321"), (0, None, "54321"), (2, None, "54"), (1, None, "5"), (2, "2", "52"), (1, "2", "52")],
)
def test_rotation_keeps_the_newest_and_the_best(tmp_path, limit, keep, left):
    for step in range(1, 6):
        make(tmp_path, step)
    rotate(tmp_path, limit, keep and f"elsewhere/checkpoint-{keep}")
    assert [path.name[11:] for path in checkpoints_in(tmp_path)] == list(left)


def test_remains_of_kills_are_cleared_away_and_nothing_else(tmp_path):
    for name in (".checkpoint-3.x1.partial", ".checkpoint-2.old", ".checkpoint-4.ab.old", ".other", "checkpoint-1"):
        (tmp_path / name / "sub").mkdir(parents=True)
    clear_remains(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other", "checkpoint-1"]


def test_too_little_room_is_refused_with_both_numbers(tmp_path, monkeypatch):
    check_space(tmp_path / "not" / "yet", 1, "a checkpoint")
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda place: type("", (), {"free": 1_500_000_000}))
    with pytest.raises(InputError, match=r"a checkpoint needs 2 GB, the disk has 1.5 GB left"):
        check_space(tmp_path, 2_000_000_000, "a checkpoint")


def test_an_error_while_a_file_is_restored_is_its_damage_and_a_full_gpu_is_not(tmp_path):
    with pytest.raises(InputError, match=r"optimizer\.json: damaged \(no such weight\); delete .*checkpoint-2,"):
        with checkpoints.reporting_damage(tmp_path / "checkpoint-2" / "optimizer.json"):
            raise RuntimeError("no such weight")
    with pytest.raises(torch.OutOfMemoryError):
        with checkpoints.reporting_damage(tmp_path / "checkpoint-2" / "optimizer.json"):
            raise torch.OutOfMemoryError


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint-2"
    checkpoint.mkdir()
    (checkpoint / "optimizer.json").write_text("{}")
    checkpoints.check_readable(checkpoint)
    checkpoints.check_readable(tmp_path / "checkpoint-3")

    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checkpoints, "open", refuse, raising=False)  # root may read every file
    with pytest.raises(InputError, match=r"checkpoint-2/optimizer\.json: cannot be read: Permission denied") as error:
        with checkpoints.reporting_damage(checkpoint / "optimizer.json"):
            raise PermissionError(13, "Permission denied")
    assert "delete" not in str(error.value) and "overwrite" not in str(error.value)
    with pytest.raises(InputError, match=r"optimizer\.json: cannot be read"):
        checkpoints.check_readable(checkpoint)


def test_other_settings_are_named_with_both_values():
    before = {"trainer.seed": 1, "windows.length": 60, "masking.span": 6, "model.id2label": {0: "a"}}
    assert changed_settings(before, dict(before)) == []
    assert changed_settings(json.loads(json.dumps(before)), before) == []  # as they come back from a file
    now = before | {"trainer.seed": 2, "data.new": True}
    now.pop("masking.span")
    assert changed_settings(before, now) == [
        "trainer.seed was 1, is 2",
        "masking.span was 6, is not set",
        "data.new was not set, is True",
    ]
