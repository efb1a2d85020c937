"""What the README shows can be typed: its Python runs, its commands exist, its file tree is that of the project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hf_genomics.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(TEXT)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language in ("bash", "console", "sh", "shell")]


@pytest.fixture
def root(tmp_path):
    """A folder that looks like the project's, where what a block writes does no harm."""
    for path in ROOT.iterdir():
        if path.name not in ("runs", ".git", ".venv"):
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.mark.skipif(not PYTHON, reason="README.md has no ```python block yet")
@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_a_python_block_runs_as_it_stands(root, number):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", PYTHON[number]]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_the_make_targets_it_names_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([\w-]+)", TEXT)) | set(
        re.findall(r"^make ([\w-]+)", "\n".join(SHELL), re.MULTILINE)
    )
    assert {"quickstart", "test"} <= named
    assert named <= targets


def test_make_help_lists_every_command():
    described = re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^make ([\w-]+) ", listed, re.MULTILINE) == described and "kill9" in described


def test_the_verbs_and_recipes_it_names_exist():
    commands = re.findall(r"hf[-_]genomics ([\w-]+)", "\n".join(SHELL))
    assert {"prepare", "pretrain", "finetune", "evaluate", "predict"} <= set(commands) <= set(VERBS)
    recipes = set(re.findall(r"recipes/[\w/]+\.yaml", TEXT))
    assert recipes and [name for name in recipes if not (ROOT / name).is_file()] == []


def tree():
    """The paths of the file tree, each with its clause; an indented line lies in the folder above it."""
    (block,) = (code for language, code in BLOCKS if not language and "hf_genomics/\n" in code)
    found, folder = {}, ""
    for line in block.splitlines():
        path, _, clause = line.strip().partition(" ")
        inside = line.startswith(" ")
        folder = folder if inside else path
        found[f"{folder if inside else ''}{path}"] = clause.strip()
    return found


def test_the_file_tree_names_only_what_exists():
    assert [path for path in tree() if not (ROOT / path).exists()] == []


def test_the_file_tree_has_a_clause_for_every_file_of_the_package():
    package = [path.relative_to(ROOT).as_posix() for path in (ROOT / "hf_genomics").rglob("*.py")]
    modules = {path for path in package if not path.endswith(("__init__.py", "__main__.py"))}
    assert sorted(modules - {path for path, clause in tree().items() if clause}) == []


def test_the_files_it_links_to_exist():
    links = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", TEXT) if "://" not in target]
    assert links and [target for target in links if not (ROOT / target).exists()] == []
