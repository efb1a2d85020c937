"""Labelled tables: every kind of file gives the same rows, and a bad row is named."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.sequences import LabelledSequences, check_classes
from hf_genomics.labelled.tables import iterate_unlabelled, read_labelled
from hf_genomics.labelled.task import Task

ABC = Task("single_label_classification", ["a", "b", "c"])
ROWS = [("r1", "ACGTN", "phage"), ("r2", "acg", "other"), ("r3", "TTTT", "phage")]


def write(path: Path, kind: str) -> Path:
    """Write `ROWS` as one kind of file, under a name that says nothing."""
    frame = pd.DataFrame(ROWS, columns=["id", "sequence", "label"])
    texts = {
        "csv": frame.to_csv(index=False),
        "tsv": frame.to_csv(index=False, sep="\t"),
        "fasta": "".join(f">{i} some words label={label} more\n{sequence}\n" for i, sequence, label in ROWS),
        "fastq": "".join(f"@{i} label={label}\n{sequence}\n+\n{'I' * len(sequence)}\n" for i, sequence, label in ROWS),
    }
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind.endswith(".gz"):
        path.write_bytes(gzip.compress(texts[kind[:-3]].encode()))
    else:
        path.write_text(texts[kind])
    return path


def table(path: Path, text: str, **options: object) -> LabelledSequences:
    """Write a CSV table and read it."""
    path.write_text(text)
    return read_labelled(path, **options)  # type: ignore[arg-type]


def error(path: Path, text: str, **options: object) -> str:
    """Return the one-line message that reading a CSV table raises."""
    with pytest.raises(InputError) as caught:
        table(path, text, **options)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "kind", ["csv", "tsv", "csv.gz", "tsv.gz", "parquet", "fasta", "fasta.gz", "fastq", "fastq.gz"]
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    found = read_labelled(write(tmp_path / "data", kind), columns=Columns(id="id"))
    assert found.ids == ["r1", "r2", "r3"] and len(found) == 3
    assert [letters.tobytes() for letters in found.sequences] == [b"ACGTN", b"acg", b"TTTT"]
    assert found.label_names == ["other", "phage"] and found.labels is not None
    assert found.labels.tolist() == [1, 0, 1] and found.labels.dtype == np.int64
    assert all(letters.dtype == np.uint8 for letters in found.sequences)


def test_a_genbank_file_is_read_as_sequences_with_their_labels(tmp_path: Path) -> None:
    entries = (
        f"LOCUS       {i} {len(sequence)} bp DNA\nDEFINITION  label={label}\nORIGIN\n        1 {sequence}\n//\n"
        for i, sequence, label in ROWS
    )
    (tmp_path / "x").write_text("".join(entries))
    found = read_labelled(tmp_path / "x")
    assert found.ids == ["r1", "r2", "r3"] and found.label_names == ["other", "phage"]
    assert [letters.tobytes() for letters in found.sequences] == [b"ACGTN", b"ACG", b"TTTT"]


def test_rows_are_numbered_where_there_is_no_id(tmp_path: Path) -> None:
    assert table(tmp_path / "x", "sequence,label\nA,0\nC,1\n").ids == ["1", "2"]


def test_byte_order_mark_and_blanks_around_cells_of_a_spreadsheet_do_no_harm(tmp_path: Path) -> None:
    found = table(tmp_path / "x", "\ufeffsequence,label\r\nACG ,a\r\nA, b\r\n")
    assert found.label_names == ["a", "b"] and found.sequences[0].tobytes() == b"ACG"


def test_whole_numbers_are_classes_sorted_by_value(tmp_path: Path) -> None:
    found = table(tmp_path / "x", "sequence,label\nA,10\nA,2\nA,-1\n")
    assert found.label_names == ["-1", "2", "10"] and found.labels is not None and found.labels.tolist() == [2, 1, 0]


def test_numbers_with_decimals_are_values(tmp_path: Path) -> None:
    found = table(tmp_path / "x", "sequence,label\nA,0.5\nA,2\nA,-1e-3\n")
    assert found.label_names is None and found.labels is not None
    assert found.labels.tolist() == [0.5, 2.0, -0.001] and found.labels.dtype == np.float64
    frame = pd.DataFrame({"sequence": ["A", "C"], "label": [1.0, 2.5]})
    frame.to_parquet(tmp_path / "y")
    assert read_labelled(tmp_path / "y").label_names is None


@pytest.mark.parametrize("kind", ["csv", "parquet", "dataset"])
@pytest.mark.parametrize(
    ("column", "classes"),
    [([0, 1, 1], ["0", "1"]), ([0.0, 1.0, 1.0], None), ([False, True, True], ["False", "True"]), ([0.5, 1, 2], [])],
)
def test_a_column_is_understood_alike_in_every_kind_of_table(tmp_path: Path, kind: str, column, classes) -> None:
    frame = pd.DataFrame({"sequence": ["A", "C", "G"], "label": column})
    source: object = tmp_path / "t"
    if kind == "csv":
        frame.to_csv(source, index=False)
    elif kind == "parquet":
        frame.to_parquet(source)
    else:
        source = datasets.Dataset.from_pandas(frame)
    if classes is None:  # whole numbers with a point may be either
        with pytest.raises(InputError, match=r"data row 1: label '0\.0' .*'label'.*regression true.*regression false"):
            read_labelled(source)
        assert read_labelled(source, regression=False).label_names == ["0", "1"]
        assert read_labelled(source, regression=True).label_names is None
    else:
        assert (read_labelled(source).label_names or []) == classes


def test_digits_joined_by_underscores_are_words(tmp_path: Path) -> None:
    found = table(tmp_path / "x", "sequence,label\nA,1_1\nA,2_5\nA,3_10\n")
    assert found.label_names == ["1_1", "2_5", "3_10"] and found.problem == "single_label_classification"


def test_lists_in_the_cells_of_a_parquet_file_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"sequence": ["AC", "GT"], "label": [[0, 1], [1, 1]]}).to_parquet(tmp_path / "x")
    with pytest.raises(InputError, match="x: column 'label' holds list.*, not text or numbers; write each cell as one"):
        read_labelled(tmp_path / "x")


def test_the_kind_of_label_can_be_forced(tmp_path: Path) -> None:
    values = table(tmp_path / "x", "sequence,label\nA,1\nA,2\n", regression=True)
    assert values.label_names is None and values.labels is not None and values.labels.tolist() == [1.0, 2.0]
    assert table(tmp_path / "x", "sequence,label\nA,0.5\nA,1.5\n", regression=False).label_names == ["0.5", "1.5"]


def test_classes_of_the_training_table_number_another_one(tmp_path: Path) -> None:
    found = table(tmp_path / "x", "sequence,label\nA,c\nA,a\n", task=ABC)
    assert found.labels is not None and found.labels.tolist() == [2, 0] and found.label_names == ["a", "b", "c"]
    message = error(tmp_path / "x", "sequence,label\nA,a\nA,d\n", task=ABC)
    assert "data row 2: unknown label 'd'; the classes of the training table are 'a', 'b', 'c'" in message


@pytest.mark.parametrize("cell", ["", "NA", "nan", "NaN", "null", "None", " "])
def test_missing_label_is_named_with_its_row(tmp_path: Path, cell: str) -> None:
    for other in ("a", "1", "0.5"):
        message = error(tmp_path / "x", f"sequence,label\nA,{other}\nC,{cell}\n")
        assert "data row 2: the label is missing" in message and "fill in column 'label' or drop the row" in message


def test_missing_value_in_parquet_is_a_missing_label(tmp_path: Path) -> None:
    pd.DataFrame({"sequence": ["A", "C"], "label": [1.0, None]}).to_parquet(tmp_path / "x")
    with pytest.raises(InputError, match="data row 2: the label is missing"):
        read_labelled(tmp_path / "x")


def test_label_missing_from_a_fasta_header_is_named(tmp_path: Path) -> None:
    assert "record 2 ('b'): the label is missing; write label=NAME" in error(tmp_path / "x", ">a label=u\nA\n>b\nC\n")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("sequence,label\nA,0.5\nA,1.5x\nA,2.5\n", "data row 2: label '1.5x' is not a finite number"),
        ("sequence,label\nA,0.5\nA,inf\n", "data row 2: label 'inf' is not a finite number"),
        ("sequence,Lable\nA,0\n", "no column 'label'; did you mean 'Lable'?"),
        (
            "seq,label\nA,0\n",
            "no column 'sequence'; did you mean 'seq'? (the columns are 'seq', 'label'); name it by columns",
        ),
        ("x;y\nA;0\n", r"no column 'sequence' (the columns are 'x', 'y')"),
        ("x|y\nA|0\n", "columns must be separated by commas, tabs or semicolons"),
        ("ACGTACGT,0\nACGTTTTT,1\n", "the first line holds data"),
        ("sequence,label,label\nA,0,1\n", "columns 2 and 3 are both called 'label'"),
        ("sequence,label, label\nA,0,1\n", "columns 2 and 3 are both called 'label'"),
        ("label,sequence,x,sequence\nA,0,1,A\n", "columns 2 and 4 are both called 'sequence'"),
        ("sequence,label\n", "no row below its header"),
        ("", "the file is empty"),
        ("sequence,label\nA,0\nAC-T,1\n", "data row 2, position 3: '-' is not a DNA letter; gaps"),
        ("sequence,label\nMKVE,0\n", "data row 1, position 4: 'E' is not a DNA letter; this looks like protein"),
        ("sequence,label\nA,0\nACGU,1\n", "data row 2, position 4: 'U' is not a DNA letter; this is RNA"),
        ("sequence,label\nA,0\n,1\n", "data row 2: is empty"),
        ("sequence,label\nA,0,1\nC,1\n", "not a well-formed table"),
        ("sequence,label\nA,0\nC,1,2\n", "line 3 has 3 columns, the lines before it 2"),
        ("sequence,label\nA,\0\n", "this is not text"),
        ("sequence,label\nACG CGT TTA,0\n", "is 3-mer text, but not every word begins"),
        ("sequence,label\nACGTACG ACG,0\n", "position 8: ' ' is not a DNA letter; blanks"),
    ],
)
def test_bad_table_is_refused_in_one_line(tmp_path: Path, text: str, pattern: str) -> None:
    assert pattern in error(tmp_path / "x", text)


def test_binary_and_missing_files_are_input_errors(tmp_path: Path) -> None:
    for content, pattern in [
        (b"PAR1 and then nothing", "damaged Parquet"),
        (b"sequence,label\nA,\xe9\n", "cannot be decoded"),
        (gzip.compress(b"sequence,label\nA,0\n")[:-6], "cut short or damaged"),
        (bytes(range(256)), "not text"),
    ]:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(InputError, match=pattern):
            read_labelled(tmp_path / "x")
    with pytest.raises(InputError, match="no such file"):
        read_labelled(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_labelled(tmp_path)


def test_short_sequence_and_rna_follow_the_options(tmp_path: Path) -> None:
    text = "sequence,label\nACGTAC,0\nACGTA,1\n"
    assert "data row 2: 5 nt is shorter than the 6 nt needed" in error(tmp_path / "x", text, min_length=6)
    found = table(tmp_path / "x", "sequence,label\nACGu,0\n", rna=True)
    assert found.sequences[0].tobytes() == b"ACGt"


def test_ids_must_be_there_and_unique(tmp_path: Path) -> None:
    text = "id,sequence,label\na,A,0\nb,A,0\na,C,1\n"
    assert "data row 3: row 1 has the same id 'a'" in error(tmp_path / "x", text, columns=Columns(id="id"))
    assert "data row 2: no id" in error(tmp_path / "x", "id,sequence,label\na,A,0\n,A,0\n", columns=Columns(id="id"))
    assert "no column 'name'" in error(tmp_path / "x", text, columns=Columns(id="name"))


@pytest.mark.parametrize(
    "columns", [Columns(group="LABEL"), Columns(label="x", tracks=["X"]), Columns(labels=["x", "X"])]
)
def test_a_column_that_is_asked_for_by_two_names_is_refused(tmp_path: Path, columns: Columns) -> None:
    (tmp_path / "t.csv").write_text("sequence,Label,x\nACGTACGT,a,1\nGGGGCCCC,b,0\n")
    with pytest.raises(InputError, match=r"t\.csv: column '(Label|x)' is asked for as '(label|x)' and as '(LABEL|X)'"):
        read_labelled(str(tmp_path / "t.csv"), columns)


def test_labels_can_be_left_out_for_prediction(tmp_path: Path) -> None:
    for text in ("sequence\nA\n", ">a\nA\n", "sequence,label\nA,\n"):
        found = table(tmp_path / "x", text, require_labels=False)
        assert found.labels is None and found.label_names is None and len(found) == 1
    whole = table(tmp_path / "x", "sequence,label\nA,a\nA,b\n", require_labels=False)
    assert whole.labels is None and whole.label_names is None


def test_a_class_missing_from_a_split_is_refused(tmp_path: Path) -> None:
    train = table(tmp_path / "train", "sequence,label\nA,a\nA,b\n")
    check_classes(train, train)
    valid = table(tmp_path / "valid", "sequence,label\nA,a\n", task=train.task)
    with pytest.raises(InputError, match="valid: no row of class 'b'"):
        check_classes(train, valid)
    with pytest.raises(InputError, match="valid: its classes 'a' differ from 'a', 'b' in .*train"):
        check_classes(train, table(tmp_path / "valid", "sequence,label\nA,a\n"))
    single = table(tmp_path / "single", "sequence,label\nA,a\n")
    with pytest.raises(InputError, match="only one class, 'a'"):
        check_classes(single, single)
    nucleotides = replace(single, labels=None, nt_labels=[np.zeros(1, int)])
    with pytest.raises(InputError, match="only one class, 'a'"):
        check_classes(nucleotides, nucleotides)
    values = table(tmp_path / "values", "sequence,label\nA,0.5\n")
    check_classes(values, values)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text("ACGTNacgtn", min_size=1, max_size=30), st.sampled_from(["x", "y", "zebra"])),
        min_size=1,
        max_size=30,
    )
)
def test_reading_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "law.csv"
    found = table(path, "sequence,label\n" + "".join(f"{sequence},{label}\n" for sequence, label in rows))
    assert found.label_names == sorted({label for _, label in rows}) and found.labels is not None
    names = [found.label_names[number] for number in found.labels]
    assert list(zip((letters.tobytes().decode() for letters in found.sequences), names, strict=True)) == rows


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_a_table_is_opened_and_parsed_once_whatever_is_read_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "sequence": ["ACGT", "GG"], "other": ["CC", "TTT"], "y": ["01.1", "10"]})
    frame = frame.assign(age=["1.5", ""], s=["0123", ""], t=["1 2 3 4", "5 6"], unused=["", ""])
    path, counts = tmp_path / "t", Counter()
    if kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, compression="gzip" if kind.endswith("gz") else None)

    def counted(name: str, function: Callable) -> Callable:
        def call(*args: object, **options: object) -> object:
            counts[name] += name != "open" or args[0] == path
            return function(*args, **options)

        return call

    monkeypatch.setattr("builtins.open", counted("open", open))
    monkeypatch.setattr("pandas.read_csv", counted("parse", pd.read_csv))
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", counted("parse", pyarrow.parquet.ParquetFile))
    columns = Columns(id="id", pair="other", nt_labels="y", tracks=["age"], nt_tracks=["s", "t"])
    found = read_labelled(path, columns)
    assert counts == {"open": 1, "parse": 1}
    assert found.task == Task("single_label_classification", ["0", "1"], "nt", True, ["age"], ["s", "t"])
    assert found.nt_tracks is not None and found.nt_tracks[0].tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]


def test_rows_without_labels_come_some_at_a_time_with_the_ids_of_the_whole_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hf_genomics.labelled.tables._FRAME_LETTERS", 1000)
    rows = [("x" if row == 700 else f"r{row}", "ACGT" * 10) for row in range(1000)]
    pd.DataFrame(rows, columns=["id", "sequence"]).to_csv(tmp_path / "x", index=False)
    chunks = list(iterate_unlabelled(tmp_path / "x", Columns(id="id")))
    assert len(chunks) > 10 and [name for chunk in chunks for name in chunk.ids] == [name for name, _ in rows]
    assert [name for chunk in iterate_unlabelled(tmp_path / "x", Columns()) for name in chunk.ids][-1] == "1000"
    pd.DataFrame([*rows, ("r3", "ACGT"), ("", "AC-U")]).to_csv(tmp_path / "y", index=False, header=["id", "sequence"])
    last = list(iterate_unlabelled(tmp_path / "y", Columns(id="id"), rna=True))[-1]
    assert last.ids[-2:] == ["r3", ""], "the caller judges ids"
    assert last.sequences[-1].tobytes() == b"AC-T", "and letters"


@pytest.mark.parametrize("columns", [Columns(tracks=["class"]), Columns(nt_tracks=["class"])])
def test_labels_that_are_taken_from_another_column_are_no_track(tmp_path: Path, columns: Columns) -> None:
    assert "'class' holds the labels" in error(tmp_path / "x", "sequence,class\nACGT,0\nGGCC,1\n", columns=columns)


@pytest.mark.parametrize("group", ["", "NA", "nan"])
def test_a_missing_group_is_named_with_its_row(tmp_path: Path, group: str) -> None:
    text = f"sequence,label,chromosome\nACGT,0,1\nGGCC,1,{group}\n"
    assert f"data row 2: no group in column 'chromosome'{group and f' ({group})'}" in error(
        tmp_path / "x", text, columns=Columns(group="chromosome")
    )


def test_decimal_commas_of_several_values_are_read_alike_with_and_without_the_task(tmp_path: Path) -> None:
    text, columns = "sequence;a;b\nACGT;0,5;1,5\nGGCC;1,25;2,5\n", Columns(labels=["a", "b"])
    training = table(tmp_path / "x", text, columns=columns)
    test = table(tmp_path / "x", text, columns=columns, task=training.task)
    assert training.labels.tolist() == test.labels.tolist() == [[0.5, 1.5], [1.25, 2.5]]
