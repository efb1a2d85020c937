"""The page is complete HTML without scripts or requests, escapes what it is given, and repeats no sequence."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from hf_genomics.demo_page.answer import Answer
from hf_genomics.demo_page.page import write_page

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + (200).to_bytes(4, "big") + (100).to_bytes(4, "big")
VOID = {"meta", "link", "input", "img"}


class Page(HTMLParser):
    """Collects tags, and checks that every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.values, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [(tag, *attribute) for attribute in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def answer():
    return Answer(["<1> & one"], ["id", "p_a"], [["<x>", 0.25], ["ACGT" * 20, None]], [("Caption. More", PNG)])


def test_the_page_has_a_form_and_asks_no_other_host_for_anything(answer):
    text = write_page("runs/secret/mine", ["a", "b"], answer)
    page = Page(text)
    assert {"form", "textarea", "button", "table", "img"} <= {*page.tags} and "script" not in page.tags
    links = [value for _, name, value in page.values if name in ("src", "href", "action")]
    assert all(link.startswith(("data:", "#")) for link in links) and "http" not in text.partition("</style>")[2]
    assert "mine" in text and "secret" not in text


def test_every_text_is_escaped_and_sequences_are_cut(answer):
    text = write_page("<m>", ['"><script>'], answer, error="<b>" + "ACGT" * 20)
    assert "<script>" not in text and "&lt;1&gt; &amp; one" in text and "&lt;x&gt;" in text and "&lt;b&gt;" in text
    assert not re.search("[ACGT]{31}", text)


def test_the_chosen_class_stays_chosen():
    text = write_page("m", ["a", "b"], target="b")
    assert '<option value="b" selected>' in text and '<option value="a">' in text
    assert '<option value="" selected>' in write_page("m", ["a", "b"])


def test_a_model_in_the_working_folder_has_the_name_of_the_folder(tmp_path, monkeypatch):
    (tmp_path / "phages").mkdir()
    monkeypatch.chdir(tmp_path / "phages")
    assert "<title>Try phages</title>" in write_page(".", ["a", "b"])
