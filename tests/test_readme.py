"""What the pages show can be typed: Python blocks run, commands exist, rooms and files are those of the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer
from hf_genomics.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hf_genomics"
TEXT = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = [code for language, code in FENCE.findall(TEXT) if language in ("bash", "console", "sh", "shell")]
TYPED = ("README.md", "docs/packing.md", "docs/glossary.md")  # pages whose Python blocks run as they stand
PYTHON = [
    pytest.param(code, id=f"{page}-{number}")
    for page in TYPED
    for number, (language, code) in enumerate(FENCE.findall((ROOT / page).read_text()))
    if language == "python"
]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The folder that `finetune` would have left: a classifier of two classes with its tokenizer, untrained."""
    folder = tmp_path_factory.mktemp("promoter")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    names = {"id2label": {0: "other", 1: "promoter"}, "label2id": {"other": 0, "promoter": 1}}
    KmerBertForSequenceClassification(KmerBertConfig(k=6, **sizes, **names)).save_pretrained(folder)
    KmerTokenizer(k=6).save_pretrained(folder)
    return folder


@pytest.fixture
def root(tmp_path, classifier):
    """A folder that looks like the project's after a fine-tuning, where what a block writes does no harm."""
    for path in ROOT.iterdir():
        if path.name not in ("runs", ".git") and not path.name.startswith(".venv"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "promoter").symlink_to(classifier)
    return tmp_path


@pytest.mark.parametrize("code", PYTHON)
def test_a_python_block_runs_as_it_stands(root, code):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_python_blocks_import_nothing_below_hf_genomics():
    codes = [parameters.values[0] for parameters in PYTHON]
    assert codes and [code for code in codes if re.search(r"(from|import) hf_genomics\.", code)] == []


def test_the_make_targets_it_names_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([\w-]+)", TEXT + CONTRIBUTING)) | set(
        re.findall(r"^make ([\w-]+)", "\n".join(code for _, code in FENCE.findall(TEXT + CONTRIBUTING)), re.MULTILINE)
    )
    assert {"quickstart", "test", "lint"} <= named
    assert sorted(named - targets) == []


def test_make_help_lists_every_command():
    described = re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^make ([\w-]+) ", listed, re.MULTILINE) == described and "kill9" in described


def test_the_verbs_and_recipes_it_names_exist():
    commands = re.findall(r"hf[-_]genomics ([\w-]+)", "\n".join(SHELL))
    assert {"prepare", "pretrain", "finetune", "evaluate", "predict"} <= set(commands) <= set(VERBS)
    recipes = set(re.findall(r"recipes/[\w/]+\.yaml", TEXT))
    assert recipes and [name for name in recipes if not (ROOT / name).is_file()] == []


def test_the_readme_has_a_line_for_every_room():
    rooms = dict(re.findall(r"^\| `(\w+)/` \| (.+) \|$", TEXT, re.MULTILINE))
    assert sorted(rooms) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    assert all(rooms.values())


def tree():
    """The paths of the file tree, each with its clause; an indented line lies in the folder above it."""
    (block,) = (code for language, code in FENCE.findall(CONTRIBUTING) if not language and "hf_genomics/\n" in code)
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
    modules = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    modules = {path for path in modules if not path.endswith(("__init__.py", "__main__.py"))}
    assert sorted(modules - {path for path, clause in tree().items() if clause}) == []
