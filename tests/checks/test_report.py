"""The report of `check`: JSON holds everything, the screen what fits."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from small_files import dna, fasta, table

from hf_genomics.checks.check import check
from hf_genomics.checks.report import LetterCounts


def test_json_holds_everything_and_the_screen_the_first_of_many(tmp_path: Path) -> None:
    bad = fasta(tmp_path / "bad.fa", **{f"r{number}": "ACGU" for number in range(30)})
    good = fasta(tmp_path / "good.fa", a="ACGTNNac", b="RY" * 4)
    output = tmp_path / "sub" / "check.json"
    report = check([bad, good], output=str(output))
    found = json.loads(output.read_text())
    assert found["refused"] and len(found["files"][0]["faults"]) == 30 and found["files"][1]["faults"] == []
    assert found["total"]["records"] == 32 and found["files"][1]["lengths"]["median"] == 8
    assert found["files"][1]["letters"]["acgt"] == 6 and found["files"][1]["shares"]["iupac"] == 0.5
    assert found["files"][0]["shares"]["gc"] == 0.5  # U counts as T there
    assert [path.name for path in output.parent.iterdir()] == ["check.json"]
    text = io.StringIO()
    report.show(Console(file=text, width=160))
    assert text.getvalue().count("rejected: ") == 11 and "and 20 more" in text.getvalue()
    assert "30 problems, in 1 of 2 files" in str(report.rejection)


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits_the_screen_and_says_what_matters(tmp_path: Path, width: int) -> None:
    paths = [fasta(tmp_path / "[b]x.fa", a=dna(1234), b=dna(99, 1)), table(tmp_path / "t.csv", f"{dna(50)},yes")]
    text = io.StringIO()
    check([*paths, str(tmp_path / "none.fa")]).show(Console(file=text, width=width))
    lines = text.getvalue().splitlines()
    cells = {part[1]: part for line in lines if len(part := line.split()) > 2 and part[0] in ("ok", "rejected")}
    names = [Path(path).name if width == 80 else path for path in (*paths, str(tmp_path / "none.fa"))]
    assert [cells[name][:4] for name in names] == [
        ["ok", names[0], "2", "1,333"],
        ["ok", names[1], "1", "50"],
        ["rejected", names[2], "0", "0"],
    ]
    assert cells["all"][:4] == ["rejected", "all", "3", "1,383"]
    assert f"{paths[1]}: 1 class: yes 1" in lines


def test_lengths_are_described_by_quantiles(tmp_path: Path) -> None:
    path = fasta(tmp_path / "x.fa", **{f"r{length}": dna(length, length) for length in range(1, 102)})
    lengths = check([path], k=1).numbers()["total"]["lengths"]
    assert lengths == {
        "min": 1, "5 %": 6, "25 %": 26, "median": 51, "75 %": 76, "95 %": 96, "max": 101, "mean": 51.0
    }  # fmt: skip


def test_letters_add_up_and_shares_of_nothing_are_none() -> None:
    one = LetterCounts.of(np.frombuffer(b"ACgtNR", np.uint8), nt=6, foreign=0)
    two = LetterCounts.of(np.frombuffer(b"GGU", np.uint8), nt=3, foreign=1)
    assert one == (6, 4, 2, 1, 1, 2, 0, 0) and one.plus(two) == (9, 6, 4, 1, 1, 2, 1, 1)
    assert one.plus(two).shares() == {"gc": 4 / 7, "n": 1 / 9, "iupac": 1 / 9, "soft_masked": 2 / 9}
    assert set(LetterCounts().shares().values()) == {None}
