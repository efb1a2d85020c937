"""Imports run in one direction: sequence -> tokenizer -> collator -> model -> head -> metrics and interpretation."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

# Copied next to the weights by save_pretrained; each may import only those that stand above it.
PORTABLE = (
    "compat",
    "sequence",
    "kmer_encoding",
    "tokenization_kmer",
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
BELOW_VERBS = {*PORTABLE, "data", "errors"}

# Part -> what it may import besides itself. A part is a file or a sub-package. Whatever is not named here is a verb
# like `training`, `interpret`, `variants` and `hub`: it may import BELOW_VERBS, and no other verb.
MAY_IMPORT = {
    "errors": set(),
    "data": {"sequence", "errors"},  # a collator takes any tokenizer, so it imports none
    "quickstart": {*BELOW_VERBS, "training"},
}
TOP = ("cli", "__main__")  # may import everything
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
    if part in TOP or statement.part == part:
        return None
    if statement.part in MAY_IMPORT.get(part, BELOW_VERBS):
        return None
    return f"{part!r} may not import {statement.part or 'the public surface'!r}"


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


@pytest.fixture
def tree(tmp_path):
    """A small package that keeps all the rules."""
    package = tmp_path / "hf_genomics"
    for name, text in {
        "__init__.py": "from .cli import main",
        "__main__.py": "from hf_genomics.cli import main",
        "cli.py": "from .training.pretrain import pretrain\nfrom . import hub, __version__",
        "errors.py": "",
        "sequence.py": "import numpy as np\nimport re",
        "tokenization_kmer.py": "from .sequence import num_kmers\nfrom transformers import PreTrainedTokenizer",
        "configuration_kmer_bert.py": "",
        "modeling_kmer_bert.py": "import torch\nfrom .configuration_kmer_bert import KmerBertConfig",
        "data/__init__.py": "from .fasta import read",
        "data/fasta.py": "import dnaio\nfrom ..errors import InputError\nfrom ..sequence import as_letters",
        "data/store.py": "from .fasta import read\nfrom hf_genomics.data import fasta",
        "training/__init__.py": "",
        "training/pretrain.py": "from ..data.store import GenomeStore\nfrom ..modeling_kmer_bert import KmerBertModel",
        "hub.py": "from .errors import InputError",
        "quickstart.py": "from .training.pretrain import pretrain",
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
        pytest.param("modeling_kmer_bert.py", "from .data.store import x", "stands above", id="data_in_portable"),
        pytest.param("modeling_kmer_bert.py", "from . import sequence", "from .name import x", id="form_from_dot"),
        pytest.param("tokenization_kmer.py", "import hf_genomics.sequence", "from .name import x", id="form_absolute"),
        pytest.param("tokenization_kmer.py", "from hf_genomics.sequence import x", "from .name", id="absolute_from"),
        pytest.param("modeling_kmer_bert.py", "def f():\n    from .cli import x", "stands above", id="in_function"),
        pytest.param("sequence.py", '"""\nfrom .name import x\n"""', "prose", id="in_docstring"),
        pytest.param("sequence.py", "import pandas", "cannot count on 'pandas'", id="foreign_in_portable"),
        pytest.param("errors.py", "from .sequence import x", "'errors' may not import 'sequence'", id="errors"),
        pytest.param("data/fasta.py", "from ..tokenization_kmer import x", "'data' may not", id="data_tokenizer"),
        pytest.param("data/fasta.py", "from hf_genomics import KmerTokenizer", "public surface", id="data_surface"),
        pytest.param("data/fasta.py", "import hf_genomics", "public surface", id="data_surface_import"),
        pytest.param("training/pretrain.py", "from ..cli import main", "may not import 'cli'", id="cli"),
        pytest.param("training/pretrain.py", "from .. import hub", "may not import 'hub'", id="sideways"),
        pytest.param("training/pretrain.py", "from recipes import x", "nothing imports 'recipes'", id="recipes"),
        pytest.param("cli.py", "import tests.conftest", "nothing imports 'tests'", id="tests"),
        pytest.param("hub.py", "from .quickstart import x", "may not import 'quickstart'", id="quickstart"),
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
