"""The pages point to what exists: their links, the headings these name, and the files of the package they mention."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import hf_genomics

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    ".venv",
    ".venv-lowest",
    ".venv-newest",
    ".git",
    ".pytest_cache",
    "runs",
    "site",
    "shared",
    "build",
    "dist",
}  # not the project's own pages
PAGES = [path for path in sorted(ROOT.rglob("*.md")) if not OUTSIDE & set(path.relative_to(ROOT).parts)]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULE = re.compile(r"\bhf_genomics/[\w/]+\.py\b")


def name(path):
    return path.relative_to(ROOT).as_posix()


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them.

    Letters in lower case, spaces as hyphens, all other punctuation dropped; a heading that comes again gets a number.
    """
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", path.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        again = sum(each == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", each) is not None for each in found)
        found.append(f"{anchor}-{again}" if again else anchor)
    return found


def missing(link, page):
    """What of a link does not exist: its file or its heading; None for a good one and for a link to the web."""
    if "://" in link or link.startswith("mailto:"):
        return None
    file, _, heading = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.exists():
        return f"{link}: no such file"
    if heading and heading not in anchors(target):
        return f"{link}: no such heading"
    return None


def test_the_pages_are_found():
    assert {"README.md", "CONTRIBUTING.md", "docs/glossary.md", "recipes/README.md"} <= set(map(name, PAGES))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_points_to_a_file_or_heading_that_exists(page):
    links = LINK.findall(FENCE.sub("", page.read_text()))
    assert [problem for link in links if (problem := missing(link, page))] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_of_the_package_that_a_page_names_exists(page):
    named = set(MODULE.findall(page.read_text()))
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_every_page_that_code_benchmarks_or_recipes_name_exists():
    sources = [path for folder in ("hf_genomics", "benchmarks", "recipes") for path in (ROOT / folder).rglob("*.*")]
    named = {
        (name(path), page)
        for path in sources
        if path.suffix in (".py", ".yaml")
        for page in re.findall(r"\bdocs/[\w/]+\.md\b", path.read_text())
    }
    assert named and sorted(pair for pair in named if not (ROOT / pair[1]).is_file()) == []


def test_every_page_of_docs_is_reached_from_the_readme():
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = LINK.findall(FENCE.sub("", page.read_text()))
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links if "://" not in link]
    assert sorted(name(page) for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in reached) == []


def test_a_broken_link_and_a_missing_heading_are_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n\n## `Two` & three\n\n## One\n\n```\n# no heading\n```\n")
    assert anchors(page) == ["one", "two--three", "one-1"]
    assert missing("page.md#one-1", page) is None and missing("#two--three", page) is None
    assert missing("other.md", page) and missing("page.md#no-heading", page)
    assert missing("https://example.org/none", page) is None


def test_the_table_of_decisions_lists_every_heading_of_its_pages_newest_first():
    folder = ROOT / "docs" / "decisions"
    headings = {
        f"{page.name}#{anchor}"
        for page in folder.glob("*.md")
        if page.name != "README.md"
        for anchor in anchors(page)[1:]
    }
    rows = re.findall(r"^\| (\d{4}-\d\d-\d\d) \| \[.+\]\((\S+)\) \| .+ \|$", (folder / "README.md").read_text(), re.M)
    assert sorted(link for _, link in rows) == sorted(headings)
    dates = [date for date, _ in rows]
    assert dates == sorted(dates, reverse=True)


def test_every_page_has_its_place_in_the_menu_of_the_site():
    menu = set(re.findall(r"([\w/]+\.md)\s*$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} == menu


def test_every_public_name_is_in_the_reference_under_the_module_that_defines_it():
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    listed = re.findall(r"^::: hf_genomics\.([\w.]+)\.(\w+)$", pages, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert sorted(set(hf_genomics._HOME.items()) - {(name, home) for home, name in listed}) == []


def test_links_that_leave_the_pages_lead_to_the_repository():
    griffe = pytest.importorskip("griffe")
    hooks = runpy.run_path(str(ROOT / "docs" / "hooks.py"))
    page = SimpleNamespace(file=SimpleNamespace(src_uri="tutorials/page.md"))
    config = {"config_file_path": str(ROOT / "mkdocs.yml"), "repo_url": "https://example.org/x"}
    text = "[a](../../recipes/README.md#windows) [b](../results.md) [c](https://x.org/y) [d](#e) [f](../../recipes)"
    on_site = hooks["on_page_markdown"](text, page=page, config=config)
    assert "https://example.org/x/blob/main/recipes/README.md#windows" in on_site
    assert "https://example.org/x/tree/main/recipes)" in on_site
    assert all(link in on_site for link in ("(../results.md)", "(https://x.org/y)", "(#e)"))
    with griffe.temporary_visited_module('def f():\n    """One.\n\n    >>> f()\n    [[1]]\n    """\n') as module:
        hooks["ExamplesAsCode"]().on_object(obj=module["f"])
        assert module["f"].docstring.value.endswith("```pycon\n>>> f()\n[[1]]\n```")


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (tmp_path / "index.html").is_file() and "KmerTokenizer" in (tmp_path / "api" / "models.html").read_text()
