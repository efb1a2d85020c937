"""The gallery's pictures exist and are small, and its commands are ones that the verbs understand."""

from __future__ import annotations

import functools
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest

import hf_genomics
from hf_genomics.options.run_verb import run_verb

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "gallery.md").read_text()
SCRIPT = runpy.run_path(str(ROOT / "docs" / "gallery.py"))
CODE = "".join(SCRIPT["commands"](PAGE)).replace("\\\n", "")
LINES = [shlex.split(line) for line in CODE.splitlines()]
VERBS = [line[1:] for line in LINES if line[0] == "hf-genomics"]


@pytest.mark.parametrize("words", VERBS, ids=[f"{words[0]}-{number}" for number, words in enumerate(VERBS)])
def test_every_command_of_the_gallery_is_understood(words):
    function, seen = getattr(hf_genomics, words[0].replace("-", "_")), {}
    run_verb(functools.wraps(function)(lambda **given: seen.update(given)), words[1:])
    named = {word.removeprefix("--").partition(".")[0] for word in words if word.startswith("--")}
    assert named and named - set(seen) <= {"color", "picture", "config", "figures", "baselines"}  # options of a section
    for key in ("model", "input"):
        if seen.get(key):
            made = seen[key].startswith("runs/gallery/") and CODE.count(seen[key]) > 1  # by an earlier command
            assert made or (ROOT / seen[key]).exists()


def test_the_page_shows_the_pictures_that_its_commands_write():
    shown = re.findall(r"\]\(pictures/(gallery_\w+\.png)\)", PAGE)
    assert shown == list(SCRIPT["PICTURES"].values())
    assert sorted(path.name for path in (ROOT / "docs" / "pictures").glob("gallery_*")) == sorted(shown)
    written = {word for line in LINES for word in line if word.startswith("runs/gallery/")}
    folders = {"runs/gallery/vectors.parquet": "runs/gallery/vectors.png"}  # a picture beside its vectors
    starts = tuple(folders.get(word, word) for word in written)
    assert [made for made in SCRIPT["PICTURES"] if not f"runs/gallery/{made}".startswith(starts)] == []


def test_the_pictures_are_small():
    sizes = [(ROOT / "docs" / "pictures" / name).stat().st_size for name in SCRIPT["PICTURES"].values()]
    assert max(sizes) < 150_000 and sum(sizes) < 700_000


def test_a_failing_command_ends_the_script(tmp_path):
    with pytest.raises(Exception, match="exit status 3"):
        SCRIPT["run"]("false_start() { return 3; }; false_start\necho later", tmp_path)


def test_a_site_logo_has_no_position_0_and_the_letters_of_its_place(tmp_path, monkeypatch):
    pytest.importorskip("logomaker")
    letters = np.zeros((3, 4, 9), np.float32)
    letters[:, 2] = 1  # G everywhere but
    letters[:, :, 3:5] = [[0, 0], [0, 0], [0, 0], [1, 1]]  # T at 4 and 5, counted from 1
    for name, values in (("ohe", letters), ("attr", 2 * letters)):
        np.savez(tmp_path / f"{name}.npz", values)
    script, drawn = runpy.run_path(str(ROOT / "docs" / "site_logos.py")), []
    monkeypatch.setitem(script["draw"].__globals__, "draw_letters", lambda ax, *given: drawn.append(given))
    script["draw"]([["sites", str(tmp_path), "5", "-3", "2"]])
    for heights, places in drawn:
        assert places == [-3, -2, -1, 1, 2]
        assert [int(row.argmax()) for row in heights] == [2, 2, 3, 3, 2]  # T is -1 and +1
    assert drawn[1][0].max() == 2
