"""Write each tutorial as a notebook beside its page, with the outputs that the page shows.

The pages are the source; the tests run their examples. After changing one, run ``python docs/notebooks.py``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).resolve().parent / "tutorials"
_BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"\n\[This page as a notebook\]\(\w+\.ipynb\)\.\n")
_START = """\
# Start Jupyter in an environment that has hf_genomics. The commands run in the folder of the clone; elsewhere this cell
# copies the data and models that come with the package (15 MB) to where the notebook is.
import os
import shutil
from pathlib import Path

import hf_genomics

clones = [folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "recipes" / "data").is_dir()]
if clones:
    os.chdir(clones[0])
else:
    for name in ("recipes", "model_cards"):
        shutil.copytree(hf_genomics.bundled(name), name)
os.makedirs("runs", exist_ok=True)
"""


def notebook(page: str) -> dict[str, Any]:
    """Return a page as a notebook: its text, its blocks of code, and below these what they print.

    Args:
        page: the page, in Markdown.
    """
    title, _, rest = _NOTE.sub("", page).partition("\n")
    cells, end = [_text(title), _code(_START, None)], 0
    for block in _BLOCK.finditer(rest):
        language, code, shown = block.groups()
        cells += [_text(rest[end : block.start()]), _code(shell(code) if language == "bash" else code, shown)]
        end = block.end()
    cells = [cell for cell in [*cells, _text(rest[end:])] if cell["source"]]
    run = 0
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
        if cell["cell_type"] == "code":
            run += 1
            cell["execution_count"] = run
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def shell(code: str) -> str:
    r"""Return commands of a shell as Jupyter runs them.

    >>> shell("ls runs\n# a comment\n")
    '!ls runs\n# a comment\n'
    """
    return re.sub(r"^(?=[^#\s])", "!", re.sub(r"\\\n\s*", "", code), flags=re.MULTILINE)


def _text(source: str) -> dict[str, Any]:
    """Return a cell of text."""
    return {"cell_type": "markdown", "id": "", "metadata": {}, "source": _lines(source.strip("\n"))}


def _code(source: str, shown: str | None) -> dict[str, Any]:
    """Return a cell of code, with what it prints; a page that shows only "..." shows nothing."""
    has_output = shown is not None and shown.strip() != "..."
    output = {"name": "stdout", "output_type": "stream", "text": _lines(shown or "")}
    cell = {"cell_type": "code", "execution_count": None, "id": "", "metadata": {}}
    return {**cell, "outputs": [output] if has_output else [], "source": _lines(source.strip("\n"))}


def _lines(text: str) -> list[str]:
    """Return the lines of a text, each with its end, as notebooks store them."""
    return text.splitlines(keepends=True)


def written(page: Path) -> str:
    """Return the text of the notebook of a page."""
    return json.dumps(notebook(page.read_text(encoding="utf-8")), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for tutorial in sorted(TUTORIALS.glob("*.md")):
        tutorial.with_suffix(".ipynb").write_text(written(tutorial), encoding="utf-8")
