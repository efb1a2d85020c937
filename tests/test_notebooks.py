"""The notebooks are in step with the tutorials, whose examples the tests run."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import page_examples
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "notebooks.py"))
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def code_cells(page: Path) -> list[dict]:
    cells = json.loads(page.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"][1:]  # the first one goes to the project's folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_is_in_step_with_its_page_and_linked_there(page):
    assert page.with_suffix(".ipynb").read_text(encoding="utf-8") == SCRIPT["written"](page), "docs/notebooks.py"
    assert f"]({page.stem}.ipynb)" in page.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_has_every_example_of_its_page_in_order_with_what_it_prints(page):
    examples = page_examples.examples(page.relative_to(ROOT).as_posix())
    cells = code_cells(page)
    assert len(cells) == len(examples) > 0
    for cell, example in zip(cells, examples, strict=True):
        code = "".join(cell["source"])
        if example.language == "bash":
            lines = code.splitlines()
            assert all(line.startswith(("!", "#")) for line in lines if line)
            # IPython would put the values of Python variables in the place of $name and {name}.
            assert not re.search(r"[${]", code)
            code = "\n".join(line.removeprefix("!") for line in lines)
            assert code.split() == example.code.replace("\\\n", " ").split()
        else:
            assert compile(code, page.name, "exec") and code == example.code.strip("\n")
        printed = "".join(text for output in cell["outputs"] for text in output["text"])
        assert printed == ("" if example.output in (None, "...\n") else example.output)


def test_the_first_cell_goes_to_the_clone_or_brings_the_bundled_files(tmp_path, monkeypatch):
    first = SCRIPT["notebook"](PAGES[0].read_text())["cells"][1]["source"]
    (tmp_path / "recipes" / "data").mkdir(parents=True)
    (tmp_path / "docs" / "tutorials").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "docs" / "tutorials")
    exec("".join(first), {})
    assert Path.cwd() == tmp_path and (tmp_path / "runs").is_dir()
    (tmp_path / "recipes" / "data").rmdir()
    (tmp_path / "recipes").rmdir()
    for _ in range(2):  # the second time, the files are there
        exec("".join(first), {})
        assert Path("recipes/data/windows_train.csv").is_file() and Path("model_cards/virus-wide/config.json").is_file()


def test_the_text_of_a_page_is_the_text_of_its_notebook():
    page = "# Title\n\nWords.\n\n[This page as a notebook](x.ipynb).\n\n```yaml\na: 1\n```\n\n"
    page += "```python\nx = 1\n```\n\nEnd.\n"
    cells = SCRIPT["notebook"](page)["cells"]
    assert ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"] == [
        "# Title",
        "Words.\n\n```yaml\na: 1\n```",
        "End.",
    ]
    assert [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"] == [1, 2]
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_a_notebook_has_the_format_of_jupyter():
    nbformat = pytest.importorskip("nbformat")
    for page in PAGES:
        nbformat.validate(json.loads(page.with_suffix(".ipynb").read_text(encoding="utf-8")))
