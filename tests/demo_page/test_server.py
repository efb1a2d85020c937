"""The server answers forms in memory and refuses what is too large, damaged, or of another site."""

from __future__ import annotations

import asyncio
import gzip
import io
import re
import tempfile

import pytest
from small_files import dna
from small_models import saved_model

aiohttp = pytest.importorskip("aiohttp")
from aiohttp.test_utils import TestClient, TestServer  # noqa: E402 (after the skip)

from hf_genomics.demo_page import answer  # noqa: E402
from hf_genomics.demo_page import server as module  # noqa: E402
from hf_genomics.demo_page.answer import DemoModel  # noqa: E402
from hf_genomics.demo_page.reading import MOST_BYTES  # noqa: E402

DNA = dna(150)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return DemoModel.load(str(saved_model(tmp_path_factory.mktemp("demo"))))


@pytest.fixture
def ask(demo, monkeypatch):
    """Send requests to the page, one after another, and return status, text and headers of each."""

    def no_file(*args, **kwargs):
        pytest.fail("the page writes to disk")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, no_file)

    monkeypatch.setattr(answer, "_DPI", 20)  # quickly drawn

    def call(*requests, is_local=True):
        async def talk():
            found = []
            async with TestClient(TestServer(module.build_app(demo, is_local))) as client:
                for method, options in requests:
                    async with client.request(method, "/", **options) as response:
                        found.append((response.status, await response.text(), response.headers))
            return found

        return asyncio.run(talk())

    return call


def form(**fields):
    """A form as a browser sends it."""
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, bytes):
            data.add_field(name, io.BytesIO(value), filename="x.fa", content_type="application/octet-stream")
        else:
            data.add_field(name, value)
    return "POST", {"data": data}


def error_of(text):
    """The line of an error on a page."""
    (line,) = re.findall(r'<p class="error" role="alert">(.*?)</p>', text)
    return line


def test_pasted_dna_and_files_are_answered(ask):
    first, pasted, chosen = ask(
        ("GET", {}),
        form(dna=f"\n{DNA}\n", file=b"", target="b", position=""),
        form(dna="", file=gzip.compress(f">one\n{DNA}\n>two\n{DNA}\n".encode()), target="", position="150"),
    )
    assert first[0] == 200 and 'id="answer"' not in first[1]
    for status, text, headers in (pasted, chosen):
        assert status == 200 and text.count("<img") == 3 and text.count("<tr>") >= 2
        assert not re.search("[ACGT]{31}", text, re.IGNORECASE)
        assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
    assert '<option value="b" selected>' in pasted[1] and "two" in chosen[1]


def test_a_wrong_question_is_a_line_on_the_page(ask):
    asked = {
        "paste DNA": form(dna="", file=b""),
        "position 4": form(dna="ACG!" + DNA),
        "whole number": form(dna=DNA, position="-1"),
        "9,999": form(dna=DNA, position="9999"),
        "&#x27;c&#x27;": form(dna=DNA, target="c"),
        "1 MiB": form(file=b"A" * (MOST_BYTES + 1)),
        "the field &#x27;target&#x27; has more than 1,000 bytes": form(dna=DNA, target="x" * 2000),
        "no form": ("POST", {"data": b"ACGT"}),
        "damaged": ("POST", {"data": b"ACGT", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}),
    }
    for named, (status, text, _) in zip(asked, ask(*asked.values()), strict=True):
        assert status == 400 and named in error_of(text), named
        assert not re.search("[ACGT]{31}", text)


def test_a_part_of_a_form_with_a_damaged_head_is_a_line_on_the_page(ask, caplog):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    heads = b"no colon", b"a\0b: c", b"a: " + b"b" * 20_000
    asked = [("POST", {"data": b"--x\r\n%b\r\n\r\nACGT\r\n--x--\r\n" % head, "headers": headers}) for head in heads]
    for status, text, _ in ask(*asked):
        assert status == 400 and "damaged" in error_of(text)
    assert not caplog.records


def test_other_sites_and_other_names_of_this_machine_are_refused(ask):
    rebound = ("GET", {"headers": {"Host": "evil.example:7860"}})
    foreign = ("POST", {"headers": {"Sec-Fetch-Site": "cross-site"}})
    assert [status for status, *_ in ask(rebound, foreign)] == [403, 403]
    assert [status for status, *_ in ask(rebound, foreign, is_local=False)] == [200, 403]


def test_a_failure_of_ours_is_a_line_on_the_page_and_its_traceback_in_the_log(ask, monkeypatch, caplog):
    monkeypatch.setattr(module, "answer", lambda demo, question: 1 / 0)
    ((status, text, _), (again, *_)) = ask(form(dna=DNA), ("GET", {}))
    assert (status, again) == (500, 200) and "ZeroDivisionError" in error_of(text)
    assert "ZeroDivisionError" in caplog.text and DNA not in caplog.text


def test_a_question_too_many_is_refused(ask, monkeypatch):
    monkeypatch.setattr(module, "_MOST_WAITING", 0)
    ((status, text, _),) = ask(form(dna=DNA))
    assert status == 503 and "again" in error_of(text)
