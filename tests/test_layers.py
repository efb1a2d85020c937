"""Imports run in one direction, room by room: from the files that travel with the weights up to the command line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from hf_genomics.cli import VERBS

# Copied next to the weights by save_pretrained; each may import only those that stand above it.
PORTABLE = (
    "sequence",
    "kmer_encoding",
    "kmer_pieces",
    "kmer_decoding",
    "kmer_coordinates",
    "tokenizer_arguments",
    "tokenizer_outputs",
    "vocabulary_kmer",
    "tokenization_kmer",
    "compat",
    "saved_files",
    "saved_settings",
    "configuration_kmer_bert",
    "dropout",
    "positions",
    "initialisation",
    "losses",
    "pooling",
    "attention_kmer_bert",
    "modeling_kmer_bert",
    "modeling_hierarchical",
    "modeling_fusion",
)
# What a machine that has transformers and torch, but not this package, can import.
PORTABLE_LIBRARIES = {"numpy", "torch", "transformers", "tokenizers", "huggingface_hub", "safetensors"}
# The rooms, floor by floor. A room may import itself, the portable files, `errors`, `renamed`, `stopping`, and all
# lower floors.
FLOORS = (
    {"io", "batches"},
    {"sequence_files"},
    {"genomes", "downloads", "reports"},
    {"labelled", "runs", "genome_tables"},
    {"loading"},
    {"inference", "checks", "privacy"},
    {"evaluation", "sharing", "variants", "jobs"},
    {"interpretation", "training", "embedding"},
    {"motif_finding", "finetuning"},
    {"studies", "pictures", "demo_page"},
    {"options"},
    {"cli"},
    {"__main__"},
)
# Rooms that may import less than their floor allows.
MAY_IMPORT = {
    "errors": set(),
    "moved": set(),
    "renamed": set(),
    "stopping": {"errors"},
    "io": {"sequence", "errors", "renamed"},
    "sequence_files": {"io", "sequence", "errors", "renamed"},
    "batches": {"sequence", "errors", "renamed"},  # a collator takes any tokenizer, so it imports none
    "auto": {*PORTABLE},
}
MOST_FILES = 10  # in a room, besides its __init__.py
MOST_LINES = 45  # of a function, without its docstring
MOST_ARGUMENTS = 8
MOST_OF_A_VERB = 9  # its arguments are the keys of the command line
MOST_SHARE = 0.10  # of the lines of the package
OUTSIDE = {"recipes", "tests", "benchmarks"}

# transformers finds the files to copy with this expression, which also sees docstrings and comments.
TRANSFORMERS_SEES = re.compile(r"^\s*(?:from|import)\s+\.(\S*)", re.MULTILINE)


class Import(NamedTuple):
    """One import statement, as far as it matters here."""

    line: int
    part: str  # the part of the package, "" for its __init__, or the foreign top-level package
    internal: bool
    portable_form: bool  # `from .name import x`


def violations(package: Path) -> list[str]:
    """List the imports in the folder ``package`` that run the wrong way, as "file:line: what is wrong"."""
    found = []
    for file in sorted(package.rglob("*.py")):
        where = file.relative_to(package)
        part = where.parts[0].removesuffix(".py")
        if part == "__init__":  # the lazy public surface names everything
            continue
        rule = portable_fault if part in PORTABLE else fault
        text = file.read_text()
        for statement in imports(text, where, package):
            if message := rule(part, statement):
                found.append(f"{where}:{statement.line}: {message}")
        if part in PORTABLE:
            found += [f"{where}: {message}" for message in scan_faults(text, where, package)]
    return found


def portable_fault(part: str, statement: Import) -> str | None:
    """Say what is wrong with an import of a portable file."""
    if not statement.internal:
        known = statement.part in PORTABLE_LIBRARIES or statement.part in sys.stdlib_module_names
        return None if known else f"a portable file cannot count on {statement.part!r} being installed"
    if statement.part not in PORTABLE[: PORTABLE.index(part)]:
        return f"portable {part!r} stands above {statement.part!r}"
    return None if statement.portable_form else "a portable file imports its siblings as `from .name import x` only"


def fault(part: str, statement: Import) -> str | None:
    """Say what is wrong with an import of any other file."""
    if not statement.internal:
        return f"nothing imports {statement.part!r}" if statement.part in OUTSIDE else None
    if statement.part == part or statement.part in allowed(part):
        return None
    return f"{part!r} may not import {statement.part or 'the public surface'!r}"


def allowed(part: str) -> set[str]:
    """List the parts of the package that a part may import."""
    if part in MAY_IMPORT:
        return MAY_IMPORT[part]
    floor = next((number for number, rooms in enumerate(FLOORS) if part in rooms), None)
    assert floor is not None, f"{part!r} has no floor; add it to FLOORS"
    below = {*PORTABLE, "errors", "renamed", "stopping"}.union(*FLOORS[:floor])
    return {*below, "auto", ""} if part in ("cli", "__main__") else below


def scan_faults(text: str, where: Path, package: Path) -> list[str]:
    """Find what transformers would take for an import although Python does not."""
    real = [statement for statement in imports(text, where, package) if statement.internal]
    seen = TRANSFORMERS_SEES.findall(text)
    return ["transformers takes prose for a relative import"] if len(seen) > len(real) else []


def imports(text: str, where: Path, package: Path) -> list[Import]:
    """List the imports of a file wherever they stand: functions and TYPE_CHECKING blocks count as well."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [resolve(alias.name.split("."), False, node.lineno, package) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += import_from(node, where, package)
    return found


def import_from(node: ast.ImportFrom, where: Path, package: Path) -> list[Import]:
    """Resolve a from-import; one that names the package itself may import several of its parts at once."""
    module = node.module.split(".") if node.module else []
    home = [package.name, *where.parent.parts]
    full = home[: len(home) - node.level + 1] + module if node.level else module
    if full == [package.name]:
        targets = [alias.name for alias in node.names if not alias.name.startswith("__")]
        return [resolve([*full, name], False, node.lineno, package) for name in targets]
    return [resolve(full, node.level == 1 and len(module) == 1, node.lineno, package)]


def resolve(full: list[str], portable_form: bool, line: int, package: Path) -> Import:
    """Tell which part of the package, or which foreign package, a dotted name belongs to."""
    if full[0] != package.name:
        return Import(line, full[0], internal=False, portable_form=portable_form)
    part = full[1] if len(full) > 1 else ""
    exists = (package / f"{part}.py").exists() or (package / part).is_dir()
    return Import(line, part if exists else "", internal=True, portable_form=portable_form)


def test_every_import_of_the_package_runs_downwards(repo_root):
    package = repo_root / "hf_genomics"
    assert (package / "sequence.py").exists()
    assert violations(package) == []


def rooms_of(package: Path) -> dict[str, list[Path]]:
    """List the files of every room."""
    folders = sorted({file.parent for file in package.glob("*/*.py")})
    return {folder.name: sorted(folder.glob("*.py")) for folder in folders}


def test_no_room_has_more_than_ten_files_or_a_tenth_of_the_lines(repo_root):
    package = repo_root / "hf_genomics"
    lines = {file: file.read_text().count("\n") for file in package.rglob("*.py")}
    for room, files in rooms_of(package).items():
        assert len(files) <= MOST_FILES + 1, f"{room} has {len(files) - 1} files"
        share = sum(lines[file] for file in files) / sum(lines.values())
        assert share < MOST_SHARE, f"{room} holds {share:.1%} of the lines"


def test_every_room_says_what_its_one_job_is(repo_root):
    for room, files in rooms_of(repo_root / "hf_genomics").items():
        init = ast.parse(next(file for file in files if file.name == "__init__.py").read_text())
        assert (ast.get_docstring(init) or "").strip(), room


def test_every_module_has_a_test_file_of_its_own_name(repo_root):
    package, tests = repo_root / "hf_genomics", repo_root / "tests"
    modules = [file.relative_to(package) for file in package.rglob("*.py") if not file.name.startswith("__")]
    missing = [str(module) for module in modules if not (tests / module.parent / f"test_{module.name}").exists()]
    assert missing == []


def functions_of(file: Path) -> list[ast.FunctionDef]:
    """List the functions and methods of a file."""
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]


def body_lines(function: ast.FunctionDef) -> int:
    """Count the lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 1


def arguments(function: ast.FunctionDef) -> list[str]:
    """List the named arguments of a function or method."""
    named = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return [argument.arg for argument in named if argument.arg not in ("self", "cls")]


def test_functions_are_short_and_take_few_arguments(repo_root):
    package, lines = repo_root / "hf_genomics", []
    for file in package.rglob("*.py"):
        for function in functions_of(file):
            where = f"{file.relative_to(package)}:{function.lineno} {function.name}"
            lines.append(body_lines(function))
            assert lines[-1] <= MOST_LINES, f"{where} has {lines[-1]} lines"
            is_framework = function.name in ("forward", "__init__")  # transformers gives these their signatures
            most = MOST_OF_A_VERB if function.name in VERBS else MOST_ARGUMENTS
            assert is_framework or len(arguments(function)) <= most, f"{where} takes {arguments(function)}"
    assert sorted(lines)[int(0.9 * len(lines))] < 40


@pytest.fixture
def tree(tmp_path):
    """A small package that keeps all the rules."""
    package = tmp_path / "hf_genomics"
    for name, text in {
        "__init__.py": "from .cli import main",
        "__main__.py": "from hf_genomics.cli import main",
        "cli.py": "from .training.pretrain import pretrain\nfrom . import auto, __version__",
        "auto.py": "",
        "errors.py": "",
        "sequence.py": "import numpy as np\nimport re",
        "tokenization_kmer.py": "from .sequence import num_kmers\nfrom transformers import PreTrainedTokenizer",
        "configuration_kmer_bert.py": "",
        "modeling_kmer_bert.py": "import torch\nfrom .configuration_kmer_bert import KmerBertConfig",
        "io/__init__.py": "from .fasta import read",
        "sequence_files/fasta.py": "import dnaio\nfrom ..errors import InputError\nfrom ..sequence import as_letters",
        "genomes/store.py": "from ..sequence_files.fasta import read\nfrom hf_genomics.io import fasta",
        "inference/scores.py": "from ..genomes.store import GenomeStore\nfrom ..modeling_kmer_bert import KmerBert",
        "evaluation/__init__.py": "",
        "training/__init__.py": "",
        "training/pretrain.py": "from ..genomes.store import GenomeStore\nfrom ..inference import scores",
        "sharing/push.py": "from ..errors import InputError",
        "studies/quickstart.py": "from ..training.pretrain import pretrain",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text + "\n")
    return package


def test_a_tree_that_keeps_the_rules_passes(tree):
    assert violations(tree) == []


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        pytest.param("sequence.py", "from .tokenization_kmer import x", "stands above", id="upwards"),
        pytest.param("sequence.py", "from .errors import InputError", "stands above", id="errors_in_portable"),
        pytest.param(
            "modeling_kmer_bert.py", "from .sequence_files.fasta import x", "stands above", id="room_in_portable"
        ),
        pytest.param("modeling_kmer_bert.py", "from . import sequence", "from .name import x", id="form_from_dot"),
        pytest.param("tokenization_kmer.py", "import hf_genomics.sequence", "from .name import x", id="form_absolute"),
        pytest.param("tokenization_kmer.py", "from hf_genomics.sequence import x", "from .name", id="absolute_from"),
        pytest.param("modeling_kmer_bert.py", "def f():\n    from .cli import x", "stands above", id="in_function"),
        pytest.param("sequence.py", '"""\nfrom .name import x\n"""', "prose", id="in_docstring"),
        pytest.param("sequence.py", "import pandas", "cannot count on 'pandas'", id="foreign_in_portable"),
        pytest.param("errors.py", "from .sequence import x", "'errors' may not import 'sequence'", id="errors"),
        pytest.param(
            "sequence_files/fasta.py",
            "from ..tokenization_kmer import x",
            "'sequence_files' may not",
            id="io_tokenizer",
        ),
        pytest.param(
            "sequence_files/fasta.py", "from hf_genomics import KmerTokenizer", "public surface", id="io_surface"
        ),
        pytest.param("sequence_files/fasta.py", "import hf_genomics", "public surface", id="io_surface_import"),
        pytest.param("sequence_files/fasta.py", "from ..genomes import x", "may not import 'genomes'", id="up_a_floor"),
        pytest.param("inference/scores.py", "from ..training import x", "may not import 'training'", id="verb_below"),
        pytest.param("training/pretrain.py", "from ..cli import main", "may not import 'cli'", id="cli"),
        pytest.param("sharing/push.py", "from ..evaluation import x", "may not import 'evaluation'", id="sideways"),
        pytest.param("training/pretrain.py", "from recipes import x", "nothing imports 'recipes'", id="recipes"),
        pytest.param("cli.py", "import tests.conftest", "nothing imports 'tests'", id="tests"),
        pytest.param("sharing/push.py", "from ..studies import x", "may not import 'studies'", id="studies"),
    ],
)
def test_a_planted_violation_is_found(tree, file, line, complaint):
    with (tree / file).open("a") as handle:
        handle.write(line + "\n")
    (found,) = violations(tree)
    assert found.startswith(file) and complaint in found


def test_importing_the_package_does_not_import_torch(repo_root):
    code = "import sys, hf_genomics; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, timeout=120)
    assert (run.stdout.strip(), run.stderr) == ("False", "")
