"""The gallery's pictures exist and are small, and its commands are ones that the verbs understand."""

from __future__ import annotations

import functools
import re
import runpy
import shlex
from pathlib import Path

import pytest

import hf_genomics
from hf_genomics.options import run_verb

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
    assert named and named - set(seen) <= {"color", "picture", "config", "figures"}  # options of a section
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
