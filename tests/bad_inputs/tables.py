"""Tables of labelled sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from small_files import dna

from .case import Case

FINETUNE = "finetune --pretrained MLM --trainer.output_dir out --data.train t.csv"
CHECK = "check --k 3 --splits.train t.csv"
#: What an evaluation of classes leaves.
_LEFT = ("metrics.json", "predictions.tsv", "report.html", "roc_pr.png", "confusion.png", "reliability.png")
AS_CLASSES, AS_VALUES = f"{CHECK} --splits.regression false", f"{CHECK} --splits.regression true"
BOTH_WAYS = ("data.regression true", "data.regression false")


def write(path: Path, **columns: Sequence[object]) -> None:
    """Write a table with a sequence for each row."""
    rows = len(next(iter(columns.values())))
    frame = pd.DataFrame({"sequence": [dna(40, row) for row in range(rows)], **columns})
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)


def _rows(folder: Path, *rows: str) -> None:
    """Write a table with these rows."""
    (folder / "t.csv").write_text("\n".join(("sequence,label", *rows, "")))


def labels(*texts: object, times: int = 1, name: str = "t.csv", column: str = "label") -> Callable[[Path], None]:
    """Return a function that writes a table with a column of labels."""
    return lambda folder: write(folder / name, **{column: list(texts) * times})


def columns(name: str = "t.csv", **cells: Sequence[object]) -> Callable[[Path], None]:
    """Return a function that writes a table with several columns."""
    return lambda folder: write(folder / name, **cells)


def fasta_labels(*texts: str) -> Callable[[Path], None]:
    """Return a function that writes a FASTA file with labels in its headers."""
    records = [f">r{row} label={text}\n{dna(40, row)}\n" for row, text in enumerate(texts)]
    return lambda folder: (folder / "t.fa").write_text("".join(records))


def splits(training: Sequence[object], other: Sequence[object]) -> Callable[[Path], None]:
    """Return a function that writes a training table and another one."""
    return lambda folder: (write(folder / "t.csv", label=training), write(folder / "other.csv", label=other))[0]


def unclear(*texts: object, value: str, remedy: str = AS_CLASSES) -> Case:
    """Return the case of labels that may be classes or values, of which ``value`` is named."""
    named = ("t.csv: data row", "'label'", value, *BOTH_WAYS)
    return Case(FINETUNE, named, labels(*texts), remedy=remedy)


def warned(*parts: str, make: Callable[[Path], None], command: str = CHECK) -> Case:
    """Return the case of labels that are accepted with a warning."""
    return Case(command, make=make, code=0, warned=parts)


VARIED = [f"{value / 7:.3f}" for value in range(20)]

CASES: dict[str, Case] = {
    # classes or values?
    "whole floats of two classes": unclear("0.0", "1.0", "1.0", "0.0", value="'0.0'"),
    "whole floats as values": unclear("0.0", "1.0", "1.0", "0.0", value="'0.0'", remedy=AS_VALUES),
    "whole floats of three classes": unclear("1.0", "2.0", "3.0", "1.0", value="'1.0'"),
    "classes as numpy.savetxt writes them": unclear(
        "0.000000000000000000e+00", "1.000000000000000000e+00", "1e0", value="'0.000000000000000000e+00'"
    ),
    "whole floats beside whole numbers": unclear("1", "2.0", "1", "2", value="'2.0'"),
    "whole floats without a digit after the point": unclear("0.", "1.", "1.", value="'0.'"),
    "one decimal comma": unclear("0.5", "1,5", "0.3", value="'1,5'"),
    "thousands separators": unclear("1,234", "12", "5", value="'1,234'"),
    "thousands separated by blanks": unclear("1 234", "5 678", "9 012", value="'1 234'"),
    "thousands and decimals of a spreadsheet": unclear("1.234,5", "2.345,6", value="'1.234,5'"),
    "percent signs": unclear("12%", "50 %", "3%", value="'12%'"),
    "values below a limit": unclear("<0.1", "0.5", "0.7", value="'<0.1'"),
    "minus signs of a word processor": unclear("\u22120.5", "0.5", "0.7", value="0.5'"),
    "fractions": unclear("1/2", "1/3", value="'1/2'"),
    "infinite numbers": unclear("0.5", "inf", "0.7", value="'inf'"),
    "infinite among whole numbers": unclear("1", "2", "-inf", "1", value="'-inf'"),
    "a dash among whole numbers": unclear("0", "1", "-", "1", value="'-'"),
    "a question mark among numbers": unclear("0.5", "?", "0.7", value="'?'"),
    "not determined": unclear("0.5", "n.d.", "0.7", value="'n.d.'"),
    "an error of a spreadsheet": unclear("0", "1", "#DIV/0!", value="'#DIV/0!'"),
    "booleans and digits": unclear("TRUE", "True", "FALSE", "1", value="'TRUE'"),
    "a word among decimals": unclear("0.5", "high", "0.7", value="'high'"),
    "a unit among decimals": unclear("0.5", "0.7 nM", "0.9", value="'0.7 nM'"),
    "prices": unclear("$1.50", "$2.50", "$3.10", value="'$1.50'"),
    "errors of measurement": unclear("1.5±0.2", "1.7 +/- 0.1", value="'1.5±0.2'"),
    "units throughout": unclear("1.5 nM", "7.2 nM", "0.3 nM", value="'1.5 nM'"),
    "a decimal among words": unclear("low", "high", "low", "0.5", value="'0.5'"),
    "whole numbers all different": unclear(*range(20), value="'0'", remedy=AS_VALUES),
    "words all different": Case(
        FINETUNE,
        ("t.csv: data row", "'label'", "'id0'", "20 different labels in 20 rows", "columns.label"),
        labels(*(f"id{row}" for row in range(20))),
        remedy=AS_CLASSES,
    ),
    "a float column of Parquet": Case(
        "finetune --pretrained MLM --trainer.output_dir out --data.train t.parquet",
        ("t.parquet: data row 1", "'label'", "'0.0'", *BOTH_WAYS),
        labels(0.0, 1.0, 1.0, name="t.parquet"),
        remedy="check --k 3 --splits.train t.parquet --splits.regression false",
    ),
    "whole floats in FASTA headers": Case(
        "finetune --pretrained MLM --trainer.output_dir out --data.train t.fa",
        ("t.fa: record 1", "'0.0'", *BOTH_WAYS),
        fasta_labels("0.0", "1.0", "0.0"),
    ),
    "whole floats in another column": Case(
        f"{FINETUNE} --data.columns.label score",
        ("t.csv: data row 1", "'score'", "'0.0'", *BOTH_WAYS),
        labels("0.0", "1.0", column="score"),
        remedy=f"{CHECK} --columns.label score --splits.regression true",
    ),
    "thousands separators read as values": Case(
        f"{FINETUNE} --data.regression true", ("t.csv: data row 1", "'1,077'", "1234.5"), labels("1,077", "2,500")
    ),
    "a number beyond float32": Case(FINETUNE, ("t.csv: data row 2", "'1e39'", "finite"), labels("0.5", "1e39", "0.7")),
    "a number of 5000 digits": Case(
        FINETUNE, ("t.csv", "only one class"), labels("9" * 5000, "9" * 5000, "9" * 5000, "9" * 5000)
    ),
    # missing labels
    "an empty label": Case(FINETUNE, ("t.csv: data row 2", "'label'", "missing"), labels("a", "", "b")),
    "a blank label": Case(FINETUNE, ("t.csv: data row 2", "missing"), labels("a", "  ", "b")),
    "None as a label": Case(FINETUNE, ("t.csv: data row 2", "missing", "None"), labels("a", "None", "b")),
    "the NA of a spreadsheet": Case(FINETUNE, ("t.csv: data row 2", "missing", "#N/A"), labels("a", "#N/A", "b")),
    # nothing to learn
    "a class of unknown letters only": Case(
        "check --k 3 --splits.train n.csv",
        ("1 of 1 files",),
        lambda folder: (folder / "n.csv").write_text("sequence,label\n" + "ACGTACGT,a\n" * 6 + "NNNNNNNN,b\n"),
    ),
    "a class of unknown letters only to train on": Case(
        FINETUNE.replace("t.csv", "n.csv"),
        ("n.csv", "'b'", "k-mer"),
        lambda folder: (folder / "n.csv").write_text("sequence,label\n" + "ACGTACGT,a\n" * 6 + "NNNNNNNN,b\n"),
    ),
    "a short row": Case(
        FINETUNE,
        ("t.csv: data row 3", "2 nt", "3 nt", "drop it"),
        lambda folder: _rows(folder, "ACGTA,a", "TTGCA,b", "AC,a"),
    ),
    "one class": Case(FINETUNE, ("t.csv", "only one class", "'a'"), labels("a", "a")),
    "a constant target": Case(FINETUNE, ("t.csv", "'label'", "3.5 in every row"), labels("3.5", times=9)),
    "a constant target as whole numbers": Case(
        f"{FINETUNE} --data.regression true", ("t.csv", "'label'", "7 in every row"), labels(7, times=9)
    ),
    "one constant target of two": Case(
        f"{FINETUNE} --data.columns.labels u v",
        ("t.csv", "'v'", "0.5 in every row"),
        columns(u=VARIED, v=["0.5"] * 20),
        remedy=f"{CHECK} --columns.labels u",
    ),
    # several columns
    "a two among yes and no": Case(
        f"{FINETUNE} --data.columns.labels u v",
        ("t.csv: data row 2", "'v'", "2 is neither 0 nor 1", "data.regression true"),
        columns(u=[0, 1, 0, 1], v=[1, 2, 0, 0]),
        remedy=f"{AS_VALUES} --columns.labels u v",
    ),
    "classes 1 and 2 as yes and no": Case(
        f"{FINETUNE} --data.columns.labels u v",
        ("t.csv: data row 2", "'u'", "2 is neither", "data.regression true"),
        columns(u=[1, 2, 1, 2], v=[1, 2, 2, 1]),
        remedy=f"{AS_VALUES} --columns.labels u v",
    ),
    "yes as a word": Case(
        f"{FINETUNE} --data.columns.labels u v",
        ("t.csv: data row 1", "'u'", "'yes'"),
        columns(u=["yes", "no"], v=[1, 0]),
    ),
    "a decimal comma in a target": Case(
        f"{FINETUNE} --data.columns.labels u v",
        ("t.csv: data row 2", "'v'", "'0,5'", "1234.5"),
        columns(u=["0.5", "0.7"], v=["0.1", "0,5"]),
    ),
    "a decimal comma in a track": Case(
        f"{FINETUNE} --data.columns.tracks age",
        ("t.csv: data row 1", "'age'", "'3,5'", "1234.5"),
        columns(label=["a", "b"], age=["3,5", "4.5"]),
    ),
    # other splits
    "a class that training lacks": Case(
        f"{FINETUNE} --data.test other.csv",
        ("other.csv: data row 3", "'c'", "'a', 'b'"),
        splits(["a", "b"] * 3, ["a", "b", "c"]),
    ),
    "a class that the test lacks": Case(
        f"{FINETUNE} --data.test other.csv", ("other.csv", "'b'"), splits(["a", "b"] * 3, ["a", "a"])
    ),
    "words to test a regression on": Case(
        f"{FINETUNE} --data.test other.csv", ("other.csv: data row 1", "'a'", "finite"), splits(VARIED, ["a", "b"])
    ),
    "a best model by a score without a value": Case(
        f"{FINETUNE} --data.valid other.csv --trainer.metric_for_best_model r2 --trainer.eval_strategy epoch "
        "--trainer.save_strategy epoch --trainer.load_best_model_at_end true",
        ("trainer.metric_for_best_model", "other.csv", "r2", "loss"),
        splits(VARIED, ["0.5", "0.5"]),
    ),
    "a positive class of three": Case(
        f"{FINETUNE} --positive a", ("positive", "'a'", "3 classes"), labels("a", "b", "c", times=3)
    ),
    "a positive class of values": Case(f"{FINETUNE} --positive a", ("positive", "'a'"), labels(*VARIED)),
    # accepted, with a warning
    "classes that differ in case": warned("'Promoter', 'promoter'", make=labels("promoter", "Promoter", "x", times=6)),
    "classes that differ in a hyphen": warned(
        "'non coding', 'non-coding'", make=labels("non coding", "non-coding", times=6)
    ),
    "a typo": warned("promotor", "did you mean 'promoter'", make=labels(*["promoter", "background"] * 9, "promotor")),
    "numbers with and without a zero": warned("'01', '1'", make=labels("01", "1", "2", times=6)),
    "chromosomes": warned("'1', '2' beside 'X'", make=labels("1", "2", "X", times=6)),
    "a dash among words": warned("'-'", "missing", make=labels("promoter", "enhancer", "-", times=6)),
    "as many classes as rows, as asked": warned("20 classes in 20 rows", make=labels(*range(20)), command=AS_CLASSES),
    "many whole numbers": warned("30 different numbers", make=labels(*range(30), times=5)),
    "few different values": warned("'label' has only 2", make=labels("0.5", "1.5", times=9)),
    "a label that is 0 throughout": warned(
        "'v' is 0 in every row", make=columns(u=[0, 1] * 5, v=[0] * 10), command=f"{CHECK} --columns.labels u v"
    ),
    # accepted, and said how
    "decimal commas": warned("'label' have decimal commas", make=labels("0,077", "1,5", "0,3", "1,234")),
    "decimal commas in several columns": warned(
        "2 targets: 'u' 4 numbers from 0.5 to 3",
        make=columns(u=["0,5", "0,7", "", "3", "1,5"], v=["0.1", "0.2", "0.3", "0.4", "0.5"]),
        command=f"{CHECK} --columns.labels u v",
    ),
    "headings in capitals": warned(
        "'LABEL' is taken for 'label'",
        "2 classes: a 2, b 2",
        make=lambda folder: pd.DataFrame(
            {"Sequence ": [dna(40, row) for row in range(4)], "LABEL": list("abab")}
        ).to_csv(folder / "t.csv", index=False),
    ),
    "booleans of a spreadsheet": warned("2 classes: False 6, True 12", make=labels("TRUE", "True", "FALSE", times=6)),
    "blanks around labels": warned("2 classes: a 12, b 6", make=labels(" a", "a ", "b", times=6)),
    "classes that are not 0 to n - 1": warned("2 classes: -1 6, 3 6", make=labels(-1, 3, times=6)),
    "whole floats as classes, as asked": warned(
        "2 classes: 0 6, 1 6", make=labels("0.0", "1.0", times=6), command=AS_CLASSES
    ),
    "scientific notation": warned(
        "20 numbers from 0 to", make=labels(*(f"{row}.5e-3" if row else "0" for row in range(20)))
    ),
    "booleans in several columns": warned(
        "2 yes/no labels",
        make=columns(u=[True, False] * 5, v=[1.0, np.nan] * 5),
        command=f"{CHECK} --columns.labels u v",
    ),
    "whole floats in the test split": warned(
        "other.csv: 2 classes: 0 2, 1 3",
        make=splits([0, 1] * 5, [0.0, 1.0, 1.0, 1.0, 0.0]),
        command=f"{CHECK} --splits.test other.csv",
    ),
}


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
    "headings that differ in case only": _rejected("sequence,Label,LABEL\nACGT,a,b\nTTGA,b,a\n", "no column 'label'"),
    "a missing label in UTF-16 without a byte order mark": _rejected(
        (_GOOD + "ACGTACGT,\n").encode("utf-16-le"), "data row 3", "missing"
    ),
    "bars between columns": _rejected(_GOOD.replace(",", "|"), "'sequence'", "commas, tabs or semicolons"),
    "no header": Case(
        f"{_FINETUNE} t.csv",
        ("t.csv: ", "'sequence'", "first line holds data", "data.columns.header"),
        _made(f"{_DNA},a\n{_DNA},b\n"),
        remedy="check --k 3 --splits.train t.csv --columns.header false --columns.sequence 1 --columns.label 2",
    ),
    "no header, as asked, and no numbers of columns": Case(
        f"{_FINETUNE} t.csv --data.columns.header false",
        ("t.csv: no column 'sequence'", "'1', '2'", "data.columns.sequence 1"),
        _made(f"{_DNA},a\n{_DNA},b\n"),
    ),
    "a missing label without a header": Case(
        f"{_FINETUNE} t.csv --data.columns.header false --data.columns.sequence 2 --data.columns.label 1",
        ("t.csv: data row 3", "column '1'"),
        _made(f"a;{_DNA}\nb;{_DNA}\n;{_DNA}\n"),
    ),
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
            *(f"out/{name}" for name in _LEFT),
        ),
    ),
    "contradictory labels": Case(
        f"{_EVALUATE} t.csv",
        code=0,
        make=_made("sequence,label\nACGTACGTAC,a\nGTACGTACGT,b\nTTGACCATGA,b\n"),
        warned=("2 of 3 test sequences occur again with another label", "t.csv"),
        leaves=(
            "out",
            *(f"out/{name}" for name in _LEFT),
        ),
    ),
}


# One table that is split.

_SPLIT = f"{FINETUNE} --data.split"

CASES |= {
    "shares that do not sum to 1": Case(f"{_SPLIT} 0.8 0.1 0.2", ("data.split", "0.8"), labels("a", "b", times=9)),
    "two shares": Case(f"{_SPLIT} 0.8 0.2", ("data.split", "three shares"), labels("a", "b", times=9)),
    "a split beside a test table": Case(
        f"{_SPLIT} 0.8 0.1 0.1 --data.test TABLE", ("data.split", "data.test"), labels("a", "b", times=9)
    ),
    "a group that the table lacks": Case(
        f"{FINETUNE} --data.columns.group g", ("t.csv", "no column 'g'"), labels("a", "b", times=9)
    ),
    "an empty group": Case(
        f"{_SPLIT} 0.8 0.1 0.1 --data.columns.group g",
        ("t.csv: data row 2", "'g'"),
        columns(label=["a", "b"], g=["x", ""]),
    ),
    "one group to split": Case(
        f"{_SPLIT} 0.8 0.1 0.1 --data.columns.group g",
        ("t.csv", "data.split", "data.columns.group"),
        columns(label=["a", "b"] * 5, g=["x"] * 10),
    ),
    "a class of two rows for three splits": Case(
        f"{_SPLIT} 0.8 0.1 0.1", ("t.csv (", "no row of class 'b'"), labels(*"aaaaaaaaaabb")
    ),
    "all training rows in the test table": Case(
        f"{FINETUNE} --data.test t.csv --data.drop_leaks true", ("t.csv", "data.drop_leaks"), labels("a", "b", times=9)
    ),
}
