"""What comes with the package is found by its name in the repository, or by its own name, from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_genomics.io import bundled as module
from hf_genomics.io.bundled import FOLDERS, bundle_root, bundled, bundled_files, bundled_models


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model_cards/virus-wide", "model_cards/virus-wide"),
        ("model_cards/virus-wide/", "model_cards/virus-wide"),
        ("virus-wide", "model_cards/virus-wide"),
        ("quickstart.yaml", "recipes/quickstart.yaml"),
        ("recipes/data/windows_test.csv", "recipes/data/windows_test.csv"),
        ("tokenizer_configs/k6_stride3", "tokenizer_configs/k6_stride3"),
    ],
)
def test_a_bundled_file_is_found_from_any_folder(elsewhere, repo_root, name, place):
    assert Path(bundled(name)) == repo_root / place


@pytest.mark.parametrize(
    "name",
    ["", "data", "accelerate", "README.md", "zhihan1996/DNA_bert_6", "model_cards/none", "none.yaml", "../recipes"]
    + ["recipes/../pyproject.toml", "model_cards/" + 5000 * "x", "recipes/\0", "/recipes/quickstart.yaml"],
)
def test_any_other_name_stays_as_it_is(elsewhere, name):
    assert bundled(name) == name and bundled_files(name) == [name]


def test_the_bundled_models_are_named_and_each_name_is_a_folder(elsewhere, repo_root, monkeypatch):
    assert {"virus-wide", "phage-150nt"} <= set(bundled_models())
    assert [repo_root / "model_cards" / name for name in bundled_models()] == [
        *map(Path, map(bundled, bundled_models()))
    ]
    monkeypatch.setattr(module, "bundle_root", lambda: None)
    assert bundled_models() == []


def test_a_file_of_the_working_folder_comes_first(elsewhere):
    (elsewhere / "quickstart.yaml").touch()
    (elsewhere / "model_cards" / "virus-wide").mkdir(parents=True)
    assert bundled("quickstart.yaml") == "quickstart.yaml"
    assert bundled("model_cards/virus-wide") == "model_cards/virus-wide"
    assert bundled("model_cards/phage-150nt") != "model_cards/phage-150nt"


def test_a_pattern_that_matched_nothing_here_is_looked_up_in_the_bundle(elsewhere, repo_root):
    found = bundled_files("recipes/data/quickstart/*.fasta.gz")
    assert found == sorted(map(str, (repo_root / "recipes/data/quickstart").glob("*.fasta.gz"))) and len(found) == 7
    for pattern in ("recipes/none/*.gz", "*.fasta.gz", "tests/*.py", "recipes/../*.toml"):
        assert bundled_files(pattern) == [pattern]


def test_files_of_the_working_folder_that_match_a_pattern_come_first(elsewhere):
    (elsewhere / "recipes" / "data").mkdir(parents=True)
    (elsewhere / "recipes" / "data" / "mine.csv").touch()
    assert bundled_files("recipes/data/*.csv") == [str(Path("recipes/data/mine.csv"))]


def test_a_wheel_keeps_the_folders_in_the_package(tmp_path, monkeypatch):
    package = tmp_path / "hf_genomics"
    package.mkdir()
    monkeypatch.setattr(module, "files", lambda name: tmp_path / name)
    assert bundle_root() is None and bundled("quickstart.yaml") == "quickstart.yaml"
    for name in FOLDERS:
        (package / "bundled" / name).mkdir(parents=True)
    (package / "bundled" / "recipes" / "quickstart.yaml").touch()
    assert bundled("quickstart.yaml") == str(package / "bundled" / "recipes" / "quickstart.yaml")
