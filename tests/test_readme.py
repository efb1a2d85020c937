"""What the pages show can be typed: their examples run and print what they show; commands, rooms and files exist."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import venv
import warnings
from pathlib import Path

import page_examples
import pytest
from loopback_hub import LoopbackHub

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerBertForSequenceClassification, KmerTokenizer, to_bert
from hf_genomics.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hf_genomics"
TEXT = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
SHELL = [
    code
    for page in ("README.md", *DOCS)
    for language, code in FENCE.findall((ROOT / page).read_text())
    if language in ("bash", "console", "sh", "shell")
]
TYPED = ("docs/packing.md", "docs/glossary.md", "docs/python.md", "docs/coming_from.md")  # their Python blocks run
LONG = {"explain", "finetune", "pretrain"}  # verbs that take more than a few seconds
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
README = page_examples.examples("README.md")


def marked(example):
    """An example as a parameter, marked as slow if it runs for long."""
    return pytest.param(example, id=f"{example.page}-{example.number}", marks=[pytest.mark.slow] * is_long(example))


def is_long(example):
    return bool(example.verbs & LONG) or example.is_of_hub or example.is_installation


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The folder that `finetune` would have left: a classifier of two classes with its tokenizer, untrained."""
    folder = tmp_path_factory.mktemp("promoter")
    names = {"id2label": {0: "other", 1: "promoter"}, "label2id": {"other": 0, "promoter": 1}}
    KmerBertForSequenceClassification(KmerBertConfig(k=6, **SIZES, **names)).save_pretrained(folder)
    KmerTokenizer(k=6).save_pretrained(folder)
    return folder


@pytest.fixture
def root(work, classifier):
    """A folder that looks like the project's after a fine-tuning, where what an example writes does no harm."""
    page_examples.mirror(work)
    (work / "runs" / "promoter").symlink_to(classifier)
    return work


def run(example, names=None):
    """Run an example of a page; a deprecated name in it is an error, other warnings are not."""
    missing = [name for name in re.findall(r"model_cards/[\w-]+", example.code) if not (ROOT / name).is_dir()]
    if missing:
        pytest.skip(f"needs the bundled model {missing[0]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
        return page_examples.run(example, {"__name__": "__main__"} if names is None else names)


@pytest.mark.parametrize(
    "example",
    [marked(example) for example in README if not example.is_of_hub and not example.is_installation],
)
def test_an_example_of_the_readme_runs_and_prints_what_is_shown(root, example):
    printed = run(example)
    assert page_examples.differences(printed, example.output or "...") == [], printed


def test_the_first_lines_of_python_run_in_an_empty_folder(work):
    example = next(example for example in README if example.language == "python")
    assert page_examples.differences(run(example), example.output) == []


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_bundled_files_are_read_by_the_verbs_which_find_them_from_any_folder(page):
    shown = [one.code for one in page_examples.examples(page) if one.language == "bash" and not one.is_installation]
    readers = [line for line in "".join(shown).splitlines() if re.search("recipes/|model_cards/", line)]
    assert readers and [line for line in readers if not line.startswith("hf-genomics ")] == []


@pytest.mark.slow
def test_dnabert_is_loaded_by_its_name(root, tmp_path):
    (example,) = [example for example in README if example.is_of_hub]
    bert = tmp_path / "bert"
    to_bert(KmerBertForMaskedLM(KmerBertConfig(k=6, **SIZES)), str(bert))
    (bert / "tokenizer_config.json").write_text('{"do_lower_case": true, "max_len": 512}')  # as in DNABERT's repository
    with LoopbackHub() as hub:
        hub.repos["zhihan1996/DNA_bert_6"] = {"main": {path.name: path.read_bytes() for path in bert.iterdir()}}
        home = {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", example.code]
        environment = os.environ | hub.environment | home
        ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert page_examples.differences(ended.stdout, example.output) == []


@pytest.mark.slow
def test_the_commands_of_the_installation_install_the_package(tmp_path):
    (example,) = [example for example in README if example.is_installation]
    source = tmp_path / "origin" / "hf_genomics"  # what is in the working tree, as a repository
    kept = shutil.ignore_patterns(".git", ".venv*", "runs", "site", "shared", "build", "*.egg-info", ".*cache")
    shutil.copytree(ROOT, source, ignore=kept)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(source)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    venv.create(tmp_path / "venv", with_pip=True, system_site_packages=True)
    code = re.sub(r"^REPOSITORY=\S+", f"REPOSITORY={source}", example.code, flags=re.MULTILINE)
    assert code != example.code
    offline = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
    }  # 0: not isolated, an oddity of pip
    path = {"PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": site_packages()}
    program = f"set -e\n{code}\ncd /\nhf-genomics --version"
    ended = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, env=os.environ | offline | path, capture_output=True, text=True
    )
    assert ended.returncode == 0 and "hf_genomics 0." in ended.stdout, ended.stderr[-2000:]


def site_packages():
    """The folder of the installed packages that an environment of its own does not see: those of this one."""
    return next(path for path in sys.path if path.endswith("site-packages"))


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=f"{page}-{example.number}")
        for page in TYPED
        for example in page_examples.examples(page)
        if example.language == "python"
    ],
)
def test_a_python_block_of_a_page_runs_as_it_stands(root, example):
    run(example)


def test_the_readme_fits_on_a_few_screens_and_every_command_of_it_is_an_example():
    assert len(TEXT.splitlines()) <= 150
    assert {"check", "predict", "explain", "score-variants", "finetune"} <= set().union(*(e.verbs for e in README))


def test_python_blocks_import_nothing_below_hf_genomics():
    codes = [
        example.code
        for page in ("README.md", *TYPED)
        for example in page_examples.examples(page)
        if example.language == "python"
    ]
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
    commands = re.findall(r"hf[-_]genomics ([a-z][\w-]*)", "\n".join(SHELL))
    assert {"prepare", "pretrain", "finetune", "evaluate", "predict"} <= set(commands) <= set(VERBS)
    recipes = set(
        re.findall(r"recipes/[\w/]+\.yaml", "\n".join((ROOT / page).read_text() for page in ("README.md", *DOCS)))
    )
    assert recipes and [name for name in recipes if not (ROOT / name).is_file()] == []


def test_the_guide_for_contributors_has_a_line_for_every_room():
    rooms = dict(re.findall(r"^\| `(\w+)/` \| (.+) \|$", CONTRIBUTING, re.MULTILINE))
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", sorted(page for page in DOCS if page.startswith("docs/tutorials/")) + ["docs/start.md"]
)
def test_a_tutorial_runs_from_its_first_block_to_its_last(root, page):
    names = {"__name__": "__main__"}
    for example in page_examples.examples(page):
        if example.is_installation:
            continue
        missing = re.findall(r"^from (sentence_transformers) ", example.code, re.MULTILINE)
        if missing and importlib.util.find_spec(missing[0]) is None:
            continue  # no extra of this package brings it
        printed = run(example, names)
        assert page_examples.differences(printed, example.output or "...") == [], (example.number, printed)
