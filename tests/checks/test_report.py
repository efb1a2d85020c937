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
    assert "--fix" not in str(report.rejection)  # which takes one file
    assert "--fix cleaned.fasta" in str(check([bad]).rejection)
    assert "--fix" not in str(check([str(tmp_path / "none.fa")]).rejection)


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits_the_screen_and_says_what_matters(tmp_path: Path, width: int) -> None:
    rows = (f"{dna(50)},yes", f"{dna(50, 1)},no")
    paths = [fasta(tmp_path / "[b]x.fa", a=dna(1234), b=dna(99, 1)), table(tmp_path / "t.csv", *rows)]
    text = io.StringIO()
    check([*paths, str(tmp_path / "none.fa")]).show(Console(file=text, width=width))
    lines = text.getvalue().splitlines()
    cells = {part[1]: part for line in lines if len(part := line.split()) > 2 and part[0] in ("ok", "rejected")}
    names = [Path(path).name if width == 80 else path for path in (*paths, str(tmp_path / "none.fa"))]
    assert [cells[name][:4] for name in names] == [
        ["ok", names[0], "2", "1,333"],
        ["ok", names[1], "2", "100"],
        ["rejected", names[2], "0", "0"],
    ]
    assert cells["all"][:4] == ["rejected", "all", "4", "1,433"]
    assert any(line.startswith(f"{paths[1]}: 2 classes: no 1, yes 1") for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [10, 40, 60, 79, 80, 100, 130, 300])
def test_nothing_is_cut_off_however_narrow_the_screen(tmp_path: Path, width: int, terminal: bool) -> None:
    names = [f"{'a_long_name_' * 8}.fa", "esc\x1b[31m\nname.fa"]
    paths = [fasta(tmp_path / name, a=dna(1234, seed), b=dna(99, seed)) for seed, name in enumerate(names)]
    text = io.StringIO()
    check(paths).show(Console(file=text, width=width, force_terminal=terminal, color_system=None))
    shown = text.getvalue()
    assert "\x1b" not in shown and "…" not in shown
    joined = "".join(shown.split())  # folded names are joined again
    for fact in ("verdict" if width >= 130 else "", "duplicates", "1,333"):
        assert fact in joined
    assert shown.count("1,333") == 2 and r"esc\x1b[31m\nname.fa" in joined
    assert width < 300 or max(map(len, shown.splitlines())) > 200


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


def test_a_copy_is_advised_only_for_problems_that_it_may_solve(tmp_path: Path) -> None:
    good = fasta(tmp_path / "good.fa", a="ACGTACGT", b="GGTTACGT")
    metadata = tmp_path / "meta.csv"
    metadata.write_text("accession\na\n")
    rejection = check([good], metadata=str(metadata)).rejection
    assert rejection is not None and "1 problem;" in rejection and "--fix" not in rejection
    fixed = check([good], metadata=str(metadata), fix=str(tmp_path / "copy.fa")).rejection
    assert fixed is not None and fixed.startswith(f"1 problem cannot be fixed: {metadata}: no row for 1 of 2 records")
