"""The report stands alone, escapes what it is given, and shows tables and pictures."""

from __future__ import annotations

import re
import struct
from html.parser import HTMLParser

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_genomics.reports.html import html_table, write_report

VOID = {"meta", "img"}


def png_size(path):
    return struct.unpack(">II", path.read_bytes()[16:24])


class Page(HTMLParser):
    """Collects tags and attributes, and checks that every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def picture(tmp_path):
    figure = Figure(figsize=(4, 2), dpi=100)
    FigureCanvasAgg(figure)
    figure.savefig(tmp_path / "loss.png")
    return tmp_path / "loss.png"


@pytest.fixture
def page(tmp_path, picture):
    path = tmp_path / "report.html"
    write_report(
        path,
        title="Phage <or> other?",
        summary=['A "first" paragraph & more.', "A second."],
        tables=[
            ("Scores <test>.", ["Model", "AUROC", "Windows"], [["a<b", 0.81234, 12345], ["guess", float("nan"), 7]])
        ],
        pictures=[('Loss & "steps" of the run. More about it.', picture)],
    )
    return path.read_text(encoding="utf-8")


def test_the_report_refers_to_nothing_outside_itself_and_runs_nothing(page):
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(parsed.tags)
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    sources = [value for _, name, value in parsed.attributes if name in ("src", "href", "srcset")]
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)


def test_the_report_escapes_every_text_it_is_given(page):
    for raw in ("<or>", "<test>", "a<b", '"first"', "& more", '& "steps"'):
        assert raw not in page
    texts = "".join(Page(page).texts)
    for shown in ("Phage <or> other?", 'A "first" paragraph & more.', "Scores <test>.", "a<b"):
        assert shown in texts


def test_the_report_has_one_heading_per_level_of_its_outline_and_names_for_its_pictures(page):
    parsed = Page(page)
    assert [tag for tag in parsed.tags if tag in ("h1", "h2")] == ["h1", "h2", "h2", "h2"]
    assert ("img", "alt", 'Loss & "steps" of the run') in parsed.attributes
    assert ("html", "lang", "en") in parsed.attributes


def test_the_report_follows_dark_mode_and_fits_a_phone(page):
    assert "prefers-color-scheme: dark" in page
    assert 'content="width=device-width, initial-scale=1"' in page


def test_numbers_are_rounded_grouped_and_set_flush_right_and_nan_is_a_dash(page):
    assert '<th scope="row">a&lt;b</th><td class="number">0.812</td><td class="number">12,345</td>' in page
    assert '<td class="number">\N{EN DASH}</td>' in page


def test_pictures_are_shown_at_half_their_pixels_so_that_they_stay_sharp(page, picture):
    width, height = png_size(picture)
    assert f'width="{width // 2}" height="{height // 2}"' in page


def test_a_report_without_tables_and_pictures_has_no_empty_sections(tmp_path):
    write_report(tmp_path / "r.html", title="t", summary=["one"])
    assert Page((tmp_path / "r.html").read_text()).tags.count("section") == 1


def test_a_report_that_cannot_be_written_leaves_the_old_one_untouched(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, title="old", summary=[])
    for content in (b"GIF89a", b"\x89PNG\r\n\x1a\n"):
        (tmp_path / "no.png").write_bytes(content)
        with pytest.raises(ValueError, match="no.png"):
            write_report(path, title="new", summary=[], pictures=[("p", tmp_path / "no.png")])
    with pytest.raises(ValueError, match="table 'c'.*1 .*2"):
        write_report(path, title="new", summary=[], tables=[("c", ["a", "b"], [[1]])])
    assert "old" in path.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["no.png", "report.html"]


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert ">0.000<" in html_table("c", ["a"], [[-0.0001]]) and ">-0.001<" in html_table("c", ["a"], [[-0.0009]])
