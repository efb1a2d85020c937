"""Tables of labelled sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .case import Case

CASES: dict[str, Case] = {}


# The kind and header of a table, leaks, and what a message may show.

_DNA = "ACGTTGCATTAGGCATCAGACCATTGACCGATCGGATTACAGGCTTAACGGATC"  # 53 nt
_GOOD = "sequence,label\nACGTACGTAC,a\nTTGACCATGA,b\n"
_FINETUNE = "finetune --pretrained MLM --trainer.output_dir out --trainer.max_steps 1 --data.train"
_EVALUATE = "evaluate --model TUNED --output_dir out --data.test"


def _made(content: str | bytes, name: str = "t.csv") -> Callable[[Path], object]:
    """Return a function that writes a table."""
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _rejected(content: str | bytes, *named: str) -> Case:
    """Return a table that `finetune` rejects."""
    return Case(f"{_FINETUNE} t.csv", ("t.csv: ", *named), _made(content))


def _metadata(content: str | bytes, *named: str) -> Case:
    """Return a metadata table that `prepare` rejects."""
    return Case("prepare --fasta OK --metadata t.csv --output_dir out", ("t.csv: ", *named), _made(content))


CASES |= {
    "label twice": _rejected("sequence,label,label\nACGT,a,b\nTTGA,b,a\n", "columns 2 and 3", "'label'"),
    "label twice to check": Case("check t.csv", ("1 problem",), _made("sequence,label,label\nACGT,a,b\nTTGA,b,a\n")),
    "label twice to evaluate": Case(
        f"{_EVALUATE} t.csv", ("t.csv: ", "columns 2 and 3"), _made("sequence,label,label\nACGT,a,b\nTTGA,b,a\n")
    ),
    "sequence twice to predict": Case(
        "predict --model TUNED --input t.csv --output p.tsv",
        ("t.csv: ", "columns 1 and 2", "'sequence'"),
        _made("sequence,sequence\nACGT,AAAA\n"),
    ),
    "split twice in the metadata": _metadata("accession,split,split\nr0,train,test\n", "columns 2 and 3", "'split'"),
    "accession twice in the metadata": _metadata("accession,accession\nr0,r1\n", "columns 1 and 2"),
    "FASTA as metadata": _metadata(">r0\nACGT\n", "FASTA", "not a table"),
    "an Excel workbook as metadata": _metadata(b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", "Excel", "CSV"),
    "HTML as metadata": _metadata("<html></html>", "HTML", "fetch"),
    "one class to check": Case("check t.csv", ("1 problem",), _made("sequence,label\nACGTACGT,a\nTTGACCAT,a\n")),
    "one class": _rejected("sequence,label\nACGTACGT,a\nTTGACCAT,a\n", "only one class", "'a'"),
    "an Excel workbook": _rejected(b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", "Excel", "CSV"),
    "JSON": _rejected('[{"sequence": "ACGT", "label": "a"}]', "JSON", "CSV"),
    "UTF-16 without a byte order mark": _rejected(_GOOD.encode("utf-16-le"), "UTF-16", "UTF-8"),
    "bars between columns": _rejected(_GOOD.replace(",", "|"), "'sequence'", "commas, tabs or semicolons"),
    "no header": _rejected(f"{_DNA},a\n{_DNA},b\n", "'sequence'", "first line holds data"),
    "no header, two sequences": _rejected(f"{_DNA},{_DNA},{_DNA},a\n", "first line holds data"),
    "no header, k-mers": _rejected(" ".join(_DNA[at : at + 6] for at in range(40)) + "\ta\n", "first line holds data"),
    "a sequence as a label of the test table": Case(
        f"{_EVALUATE} t.csv", ("t.csv: data row 1", _DNA[:30] + "..."), _made(f"sequence,label\nACGTACGT,{_DNA}\n")
    ),
    "a sequence as the positive class": Case(f"{_FINETUNE} TABLE --positive {_DNA}", ("positive", _DNA[:20])),
    "a sequence as the name of a column": Case(
        f"{_FINETUNE} TABLE --data.columns.label {_DNA}", ("table.csv", _DNA[:20])
    ),
    "a sequence as a number of a track": Case(
        f"{_FINETUNE} t.csv --data.columns.tracks [age]",
        ("t.csv: data row 1", "'age'", "..."),
        _made(f"sequence,label,age\nACGTACGT,a,{_DNA}\nTTGACCAT,b,1\n"),
    ),
    "escape codes in a label": Case(
        f"{_EVALUATE} t.csv", ("data row 1", "x1b[31m"), _made("sequence,label\nACGTACGT,\x1b[31mred\n")
    ),
    "the training table as test table": Case(
        f"{_EVALUATE} TABLE --data.train TABLE",
        code=0,
        warned=("6 of 6 test sequences are in train too", "table.csv"),
        leaves=(
            "out",
            *(f"out/{name}" for name in ("metrics.json", "predictions.tsv", "roc_pr.png", "confusion.png")),
        ),
    ),
    "contradictory labels": Case(
        f"{_EVALUATE} t.csv",
        code=0,
        make=_made("sequence,label\nACGTACGTAC,a\nGTACGTACGT,b\nTTGACCATGA,b\n"),
        warned=("2 of 3 test sequences occur again with another label", "t.csv"),
        leaves=(
            "out",
            *(f"out/{name}" for name in ("metrics.json", "predictions.tsv", "roc_pr.png", "confusion.png")),
        ),
    ),
}
