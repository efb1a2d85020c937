"""Progress bars: hidden where nobody looks."""

from __future__ import annotations

import logging

import pytest

from hf_genomics.io import progress
from hf_genomics.io.progress import progress_bar


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_a_bar_is_hidden_from_files_and_from_quiet_loggers(level: int, capsys: pytest.CaptureFixture) -> None:
    logger = logging.getLogger("hf_genomics.test_progress")
    logger.setLevel(level)
    with progress_bar(logger, "prepare", "nt", total=10) as bar:
        assert bar.disable and bar.total == 10
        bar.update(10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("unit", "scaled"), [("nt", True), ("B", True), ("genome", False)])
def test_letters_and_bytes_are_shown_with_prefixes(unit: str, scaled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "tqdm", lambda **options: options)
    options = progress_bar(logging.getLogger("hf_genomics.test_progress"), "prepare", unit, total=3)
    assert (options["unit"], options["unit_scale"], options["total"]) == (unit, scaled, 3)
