"""`hf-genomics demo` serves its page on this machine, ends at Ctrl-C, and leaves no file."""

from __future__ import annotations

import asyncio
import contextlib
import re
import runpy
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from browser import CHROMIUM, open_browser
from small_files import dna, fasta
from small_models import saved_model

import hf_genomics as hg
from hf_genomics.demo_page import demo as module

pytest.importorskip("aiohttp")


@contextlib.contextmanager
def running(model: Path, *options: str):
    """Run the command in a process of its own, and return its address; at the end, interrupt it."""
    words = [sys.executable, "-m", "hf_genomics", "demo", "--model", str(model), "--port", "0", *options]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stderr.readline, "")
            address = next(found[0] for line in lines if (found := re.search(r"http://\S+:\d+", line)))
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(60) == 0 and "Traceback" not in rest, rest


@pytest.mark.slow
def test_the_command_serves_the_page_and_ends_at_ctrl_c(tmp_path, monkeypatch):
    model = saved_model(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("PYTHONPATH", str(Path(hg.__file__).parents[1]))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "empty"))
    with running(model) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as response:  # noqa: S310 (the address is ours)
            assert b"<form" in response.read()
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_visitor_types_dna_chooses_a_file_and_reads_the_answers_in_a_browser(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(hg.__file__).parents[1]))
    file = Path(fasta(tmp_path / "two.fa", one=dna(150), two=dna(90, 1)))

    async def visit(address):
        async with open_browser(tmp_path / "profile") as browser:
            await browser.open(address)
            await browser.run(f"document.querySelector('#dna').value = '{dna(150)}'; document.forms[0].submit()")
            await browser.wait_for("document.querySelectorAll('#answer img').length == 3")
            await browser.run(
                "document.querySelector('#dna').value = 'MKVLAAGE'; document.querySelector('button').click()"
            )
            await browser.wait_for("!!document.querySelector('.error')")
            error = await browser.run("document.querySelector('.error').textContent")
            await browser.choose_file("#file", file)
            await browser.run("document.querySelector('button').click()")
            await browser.wait_for("document.querySelectorAll('#answer tbody tr').length == 2")
            return (
                error,
                await browser.run("document.querySelector('#answer img').naturalWidth"),
                await browser.picture(),
            )

    with running(saved_model(tmp_path)) as address:
        error, width, picture = asyncio.run(visit(address))
    assert "position 4" in error and width == 1800 and picture[:4] == b"\x89PNG"


def test_a_port_that_is_taken_or_out_of_range_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(hg.InputError, match="--port"):
            hg.demo("no/model", port=taken.getsockname()[1])
    for port in (-1, 65536):
        with pytest.raises(hg.InputError, match=str(port)):
            hg.demo("no/model", port=port)


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == "aiohttp" else name)
    with pytest.raises(hg.InputError, match=r"aiohttp.*pip install 'hf_genomics\[demo\]'"):
        hg.demo("no/model")


@pytest.mark.parametrize(("variables", "host"), [({}, "127.0.0.1"), ({"SPACE_ID": "you/page"}, "0.0.0.0")])  # noqa: S104
def test_the_app_of_a_space_shows_the_page_of_the_model_that_it_is_told(monkeypatch, variables, host):
    asked = []
    monkeypatch.setattr(hg, "demo", lambda *args, **options: asked.append((args, options)), raising=False)
    for name, value in {"MODEL": "you/promoter", **variables}.items():
        monkeypatch.setenv(name, value)
    runpy.run_path(str(Path(__file__).parents[2] / "model_cards" / "space" / "app.py"))
    assert asked == [(("you/promoter",), {"host": host, "port": 7860})]
