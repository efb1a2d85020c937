"""Hooks of the site: links that leave docs/ lead to the repository, and examples in docstrings are shown as code."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(?=[)#])")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Return a page in which links that leave docs/ point to the repository on the web."""
    folder = posixpath.dirname(page.file.src_uri)
    root = Path(config["config_file_path"]).parent

    def on_the_web(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, match[1]))
        if path.startswith("docs/") or not (root / path).exists():
            return match[1]
        kind = "tree" if (root / path).is_dir() else "blob"
        return f"{config['repo_url']}/{kind}/main/{path}"

    return _LINK.sub(on_the_web, markdown)


class ExamplesAsCode(griffe.Extension):
    """Put the doctests of docstrings, which have no heading, into blocks of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that has been read."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(lambda match: f"```pycon\n{match[0]}\n```", obj.docstring.value)
