"""pyproject.toml, constraints.txt and Makefile say what the code needs."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import runpy
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hf_genomics.io.bundled import FOLDERS

tomllib = pytest.importorskip("tomllib")  # Python 3.11

# Imported only where another package has brought it.
OPTIONAL = {"isal"}  # by xopen, on machines that have a build of it
BOUNDED = {"torch", "transformers", "accelerate", "jsonargparse"}


@pytest.fixture(scope="module")
def project(repo_root: Path) -> dict:
    return tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]


def imported(package: Path) -> dict[str, str]:
    """Return the third-party packages that a package imports anywhere, each with one file that does."""
    found: dict[str, str] = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in (name.partition(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name != package.name:
                    found.setdefault(name, str(path.relative_to(package)))
    return found


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def test_everything_that_is_imported_is_declared(project: dict, repo_root: Path) -> None:
    declared = names(project["dependencies"]) | names(sum(project["optional-dependencies"].values(), []))
    distributions = importlib.metadata.packages_distributions()
    unknown = {
        name: file
        for name, file in imported(repo_root / "hf_genomics").items()
        if name not in OPTIONAL and not declared & set(map(canonicalize_name, distributions.get(name, [name])))
    }
    assert unknown == {}


def test_everything_that_is_declared_is_imported(project: dict, repo_root: Path) -> None:
    used = imported(repo_root / "hf_genomics")
    distributions = importlib.metadata.packages_distributions()
    brought = {canonicalize_name(name) for module in used for name in distributions.get(module, [module])}
    assert names(project["dependencies"]) - brought == set()


def test_the_libraries_whose_private_names_we_rely_on_have_an_upper_bound(project: dict, repo_root: Path) -> None:
    bounded = {line.name for line in map(Requirement, project["dependencies"]) if "<" in str(line.specifier)}
    assert bounded == BOUNDED
    makefile = (repo_root / "Makefile").read_text()
    assert set(re.search(r"^BOUNDED \?= (.*)$", makefile, re.MULTILINE)[1].split()) == BOUNDED


def test_the_pinned_versions_satisfy_the_bounds(project: dict, repo_root: Path) -> None:
    lines = (repo_root / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    declared = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    for requirement in map(Requirement, declared):
        name = canonicalize_name(requirement.name)
        if name != project["name"].replace("_", "-"):
            assert requirement.specifier.contains(pinned[name]), requirement


def test_an_editable_install_is_a_path_entry(repo_root: Path, tmp_path: Path) -> None:
    # As an import hook it would come after the folder of a clone, which has the name of the package.
    pytest.importorskip("setuptools", minversion="77", reason="setuptools is too old to build the package")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(repo_root / name, tmp_path)
    (tmp_path / "hf_genomics" / "io").mkdir(parents=True)
    for folder in ("hf_genomics", "hf_genomics/io", "tests"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "__init__.py").touch()
    command = "from setuptools import build_meta; build_meta.build_editable('wheel')"
    (tmp_path / "wheel").mkdir()
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        entries = [name for name in archive.namelist() if "dist-info" not in name]
        assert [name.endswith(".pth") for name in entries] == [True]
        assert archive.read(entries[0]).decode().strip() == str(tmp_path)


@pytest.fixture(scope="module")
def wheel(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built by way of the source archive, as `python -m build` does it."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("hf_genomics", *FOLDERS):
        shutil.copytree(repo_root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CITATION.cff"):
        shutil.copy(repo_root / name, source)
    build = "from setuptools import build_meta; build_meta.build_{}(*__import__('sys').argv[1:])"
    run = {"check": True, "capture_output": True}
    subprocess.run([sys.executable, "-c", build.format("sdist"), str(output)], cwd=source, **run)
    (archive,) = output.glob("*.tar.gz")
    shutil.unpack_archive(archive, output, filter="data")
    unpacked = output / archive.name.removesuffix(".tar.gz")
    subprocess.run([sys.executable, "-c", build.format("wheel"), str(output)], cwd=unpacked, **run)
    return next(output.glob("*.whl"))


@pytest.mark.slow
def test_a_wheel_holds_the_recipes_and_the_small_models(wheel: Path, repo_root: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.removeprefix("hf_genomics/bundled/") for name in archive.namelist() if "/bundled/" in name}
    there = [path for name in FOLDERS for path in (repo_root / name).rglob("*") if path.is_file()]
    wanted = {str(path.relative_to(repo_root)) for path in there if "__pycache__" not in path.parts}
    assert wanted - inside == {"model_cards/renew_code.py"} and inside <= wanted
    assert wheel.stat().st_size < 25e6


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel; other packages are those of this environment."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    (packages,) = home.glob("lib/python*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "others.pth").write_text(f"{ours}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--force-reinstall", str(wheel)], check=True, capture_output=True)
    return home / "bin"


@pytest.mark.slow
def test_an_installed_wheel_runs_the_quickstart_and_the_examples_from_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr[-2000:]
        return ended.stdout

    python, program = str(installed / "python"), str(installed / "hf-genomics")
    code = "import time; a = time.time(); import hf_genomics as h; print(time.time() - a, h.bundled('virus-wide'))"
    seconds, place = run(python, "-c", code).split()
    assert float(seconds) < 3 and place.startswith(str(installed.parent))
    few = "--pretraining.max_steps 2 --finetuning.max_steps 2 --pretraining.eval_strategy no"
    assert "KmerBert" in run(program, "quickstart", *few.split())
    assert (tmp_path / "runs" / "quickstart" / "report.html").is_file()
    assert "NC_001422" in run(program, "check", "recipes/data/quickstart/*.fasta.gz")
    genome = "recipes/data/quickstart/NC_001422.fasta.gz"
    table = run(program, "predict", "--model", "phage-150nt", "--input", genome, "--output", "-")
    assert table.splitlines()[1].startswith("NC_001422.1\t5386\t")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


@pytest.mark.parametrize("kind", ["copied", "as a path entry"])
def test_in_the_folder_above_a_clone_python_finds_the_package(tmp_path: Path, kind: str) -> None:
    # The folder of a clone has the name of the package, but no __init__.py.
    clone, packages = tmp_path / "hf_genomics", tmp_path / "site-packages"
    for place in (clone, packages) if kind == "copied" else (clone,):
        (place / "hf_genomics").mkdir(parents=True)
        (place / "hf_genomics" / "__init__.py").write_text("GenomeStore = 1\n")
    if kind == "as a path entry":
        packages.mkdir()
        (packages / "hf_genomics.pth").write_text(f"{clone}\n")
    code = f"import site; site.addsitedir({str(packages)!r}); import hf_genomics; print(hf_genomics.GenomeStore)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", "-c", code]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout == "1\n", found.stderr


def test_the_wheel_is_built_with_the_folders_that_the_package_looks_for(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("setuptools.setup", lambda **options: None)
    assert runpy.run_path(str(repo_root / "setup.py"))["FOLDERS"] == FOLDERS
    grafted = [line.split()[1] for line in (repo_root / "MANIFEST.in").read_text().splitlines() if "graft" in line]
    assert tuple(grafted) == FOLDERS


def test_every_file_states_the_same_address_of_the_repository(project: dict, repo_root: Path) -> None:
    address = project["urls"]["Repository"]
    owner = re.compile(r"https://github\.com/[\w-]+/hf_genomics")
    files = ["pyproject.toml", "README.md", "CITATION.cff", "SECURITY.md", "mkdocs.yml"]
    files += ["model_cards/space/requirements.txt", "model_cards/space/README.md"]
    found = {file: set(owner.findall((repo_root / file).read_text())) for file in files}
    assert found == dict.fromkeys(files, {address})


def test_the_citation_is_of_this_version(project: dict, repo_root: Path) -> None:
    citation = yaml.safe_load((repo_root / "CITATION.cff").read_text())
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    assert citation["cff-version"] == "1.2.0" and citation["authors"] and citation["title"] == project["name"]
