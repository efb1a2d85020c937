"""Text tables: the kind of a file, columns as text, and frames of bounded size."""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.io.files import open_binary
from hf_genomics.io.text_tables import (
    column_names,
    kind_of,
    list_names,
    read_text_columns,
    separator_of,
    text_frames,
)

TABLE = "id,sequence\na,ACGT\nb,GG\n"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"id,sequence\na,ACGT\n", "table"),
        (b"id\tsequence\na\tACGT\n", "table"),
        (b"\xef\xbb\xbfid,sequence\na,ACGT\n", "table"),
        (b"sequence\nACGT\n", "table"),
        (b"#id\tsequence\na\tACGT\n", "table"),
        (gzip.compress(b"id,sequence\na,ACGT\n", mtime=0), "table"),
        (b"PAR1 and so on", "parquet"),
        (b">a\nACGT\n", "sequences"),
        (b"\n\n>a\nACGT\n", "sequences"),
        (b"# a comment, with a comma\n>a\nACGT\n", "sequences"),
        (b"@a\nACGT\n+\nIIII\n", "sequences"),
        (b"LOCUS       a 4 bp DNA\n", "sequences"),
        (b"\x1a\x41\x27\x43", "sequences"),
        (gzip.compress(b">a, b\nACGT\n", mtime=0), "sequences"),
        (b"ACGTNNNN\nACGT\n", "sequences"),
        (b"##fileformat=VCFv4.2\n#CHROM\tPOS\n1\t2\n", "sequences"),
        (b"", "sequences"),
    ],
)
def test_the_kind_of_a_file_is_told_by_its_content(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(content)
    assert kind_of(tmp_path / "file.csv") == kind


def test_the_kind_of_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv"):
        kind_of(tmp_path / "none.csv")


def test_cells_are_texts_whatever_they_look_like(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n007,NA\n,1.50\n")
    frame = read_text_columns(tmp_path / "t.csv", ["a"])
    assert frame.to_dict("list") == {"a": ["007", ""], "b": ["NA", "1.50"]}
    pd.DataFrame({"a": [1, None], "b": [1.0, 0.5]}).astype({"a": "Int64"}).to_parquet(tmp_path / "t.parquet")
    frame = read_text_columns(tmp_path / "t.parquet", ["a", "b"])
    assert frame.to_dict("list") == {"a": ["1", ""], "b": ["1.0", "0.5"]}
    assert column_names(tmp_path / "t.csv") == column_names(tmp_path / "t.parquet") == ["a", "b"]


SPREADSHEETS = {
    "commas": TABLE.encode(),
    "tabs": TABLE.replace(",", "\t").encode(),
    "semicolons": TABLE.replace(",", ";").encode(),
    "sep line": b"sep=;\r\n" + TABLE.replace(",", ";").replace("\n", "\r\n").encode(),
    "sep line of another mark": b'"sep=|"\n' + TABLE.replace(",", "|").encode(),
    "UTF-8 of Excel": TABLE.encode("utf-8-sig"),
    "UTF-8 of Excel, semicolons": TABLE.replace(",", ";").encode("utf-8-sig"),
    "Unicode text of Excel": TABLE.replace(",", "\t").encode("utf-16"),
    "big-endian": b"\xfe\xff" + TABLE.encode("utf-16-be"),
    "UTF-16, zipped": gzip.compress(TABLE.encode("utf-16"), mtime=0),
    "UTF-32": TABLE.encode("utf-32"),
    "UTF-16 without a byte order mark": TABLE.encode("utf-16-le"),
    "headings in capitals": TABLE.replace("id", " ID").replace("sequence", "Sequence").encode(),
    "old Mac": TABLE.replace("\n", "\r").encode(),
    "quoted": b'"id","sequence"\n"a","ACGT"\n"b","GG"\n',
    "quoted semicolons": b'"id";"sequence"\n"a";"ACGT"\n"b";"GG"\n',
    "empty columns": b"id,sequence,,\na,ACGT,,\nb,GG,,\n",
    "blank lines": b"\n\nid,sequence\n\na,ACGT\nb,GG\n\n",
    "blank lines around the line of the separator": b"\r\n \r\nsep=;\r\n\r\nid;sequence\r\na;ACGT\r\nb;GG\r\n",
}


@pytest.mark.parametrize("content", SPREADSHEETS.values(), ids=SPREADSHEETS)
def test_tables_are_read_as_spreadsheets_write_them(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(content)
    frame = read_text_columns(tmp_path / "t", ["id", "sequence"], [])
    assert frame.to_dict("list") == {"id": ["a", "b"], "sequence": ["ACGT", "GG"]}
    assert [name.strip().lower() for name in column_names(tmp_path / "t")[:2]] == ["id", "sequence"]


@pytest.mark.parametrize(
    ("header", "row", "separator"),
    [
        ("sequence;label", "ACGT;0,5", ";"),  # a decimal comma
        ("sequence;label", "", ";"),
        ("sequence,note;x", "ACGT,a", ","),
        ("sequence;note,x", "ACGT;a", ";"),
        ('"a;b",label', "ACGT,a", ","),
        ("a;b\tlabel", "ACGT\t0", "\t"),
        ("sequence", "ACGT;a", ","),
    ],
)
def test_the_first_lines_show_the_separator(header: str, row: str, separator: str) -> None:
    assert separator_of(header, row) == separator


@given(
    st.lists(st.lists(st.text("ab ,;\"'0.", max_size=4), min_size=4, max_size=4), min_size=1, max_size=4),
    st.sampled_from(",;\t"),
)
def test_cells_come_back_as_they_were_written_with_any_separator(rows: list[list[str]], separator: str) -> None:
    frame = pd.DataFrame(rows, columns=["sequence", "a label", 'in "quotes"', "x.y"])
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(f"{folder}/t", sep=separator, index=False)
        assert read_text_columns(f"{folder}/t", list(frame)).to_dict("list") == frame.to_dict("list")


@pytest.mark.parametrize("wanted", [[], None])
def test_of_two_columns_of_one_name_neither_is_taken(wanted: list[str] | None, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,label,x,label\na,1,2,3\n")
    assert column_names(tmp_path / "t.csv") == ["id", "label", "x", "label"]
    with pytest.raises(InputError, match=r"t\.csv: columns 2 and 4 are both called 'label'"):
        read_text_columns(tmp_path / "t.csv", ["label"], wanted)
    assert list(read_text_columns(tmp_path / "t.csv", ["id"], ["x"])) == ["id", "x"]  # others do no harm
    pyarrow.parquet.write_table(
        pyarrow.table([["a"], ["1"], ["2"]], names=["id", "label", "label"]), tmp_path / "t.parquet"
    )
    with pytest.raises(InputError, match=r"t\.parquet: columns 2 and 3 are both called 'label'"):
        read_text_columns(tmp_path / "t.parquet", ["label"], wanted)
    with pytest.raises(InputError, match="no column 'label.1'"):  # a name that only pandas has given
        read_text_columns(tmp_path / "t.csv", ["label.1"])


def test_needed_columns_are_missed_by_name_and_others_are_read_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    assert list(read_text_columns(tmp_path / "t.csv", ["sequence"], ["length"])) == ["sequence"]
    with pytest.raises(InputError, match=r"t\.csv: no column 'Seqence'; did you mean 'sequence'"):
        read_text_columns(tmp_path / "t.csv", ["Seqence"])


def test_the_index_of_a_frame_that_pandas_wrote_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"sequence": ["ACGT", "GG"], "label": [1, 2]}, index=pd.Index(["a", "b"], name="id"))
    frame.to_parquet(tmp_path / "t.parquet")
    read = read_text_columns(tmp_path / "t.parquet", ["id", "sequence"], [])
    assert read.sort_index(axis="columns").to_dict("list") == {"id": ["a", "b"], "sequence": ["ACGT", "GG"]}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.slow
def test_frames_of_any_size_are_the_whole_table(kind: str, tmp_path: Path) -> None:
    path, rows = tmp_path / "t", 3000
    whole = pd.DataFrame(
        {"id": [f"r{row}" for row in range(rows)], "sequence": ["ACGT" * (row % 40) for row in range(rows)]}
    )
    whole.to_csv(path, index=False) if kind == "csv" else whole.to_parquet(path)
    for letters in (1, 10_000, None):
        with open_binary(path) as file:
            frames = list(text_frames(file, path, lambda names: ["sequence"], letters))
        assert pd.concat(frames)["sequence"].tolist() == whole["sequence"].tolist()
        assert (len(frames) == 1) == (letters is None)
        if kind == "csv" and letters:  # rows are few where they are long; the first frame cannot know
            assert max(frame["sequence"].str.len().sum() for frame in frames[1:]) < 2 * letters + 40 * 4


def test_a_table_without_rows_is_an_error(tmp_path: Path) -> None:
    for text in ("id,sequence\n", "id,sequence"):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(InputError, match=r"t\.csv: the table has no row"):
            read_text_columns(tmp_path / "t.csv", ["sequence"])


def test_long_lists_of_names_are_cut_short() -> None:
    assert list_names([str(number) for number in range(10)], most=2) == "'0', '1', ... (10 in all)"


def workbook(path: Path, *sheets: list[list[object]]) -> Path:
    """Write an Excel workbook."""
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"s{number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_an_excel_workbook_is_read_as_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [["Id", "sequence", "label", "value"], [], ["a", "ACGT", True, 0.5], ["b", None, 1, 2], [7, "GG"]]
    path = workbook(tmp_path / "t", [], rows, [["other"]])
    assert kind_of(path) == "excel" and column_names(path) == ["Id", "sequence", "label", "value"]
    with caplog.at_level("INFO", "hf_genomics"):
        frame = read_text_columns(path, ["id", "label", "value"], ["sequence"])
    assert frame.to_dict("list") == {
        "id": ["a", "b", "7"],
        "sequence": ["ACGT", "", "GG"],
        "label": ["True", "1", ""],
        "value": ["0.5", "2", ""],
    }
    assert "sheet 's1' is read, and 's2' not" in caplog.text
    with open_binary(path) as file:
        assert [len(part) for part in text_frames(file, path, lambda names: names, 1)] == [3]


def test_an_excel_workbook_that_cannot_be_read_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content, fact in (
        ("empty", workbook(tmp_path / "e", []).read_bytes(), "empty"),
        ("cut", workbook(tmp_path / "e", [["a"], [1]]).read_bytes()[:-400], "damaged Excel workbook"),
        ("wide", workbook(tmp_path / "e", [["a"], [1, 2]]).read_bytes(), "more cells than the header"),
        ("header", workbook(tmp_path / "e", [["a"]]).read_bytes(), "no row below its header"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: .*{fact}.*; "):
            read_text_columns(tmp_path / name, ["a"])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"header: .*pip install 'hf_genomics\[excel\]', or save the sheet as CSV"):
        read_text_columns(tmp_path / "header", ["a"])


def test_columns_without_a_header_are_named_by_number(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a;ACGT;0,5\nb;GG;\n")
    workbook(tmp_path / "x", [["a", "ACGT", 0.5], ["b", "GG"]])
    for name, value in (("t", "0,5"), ("x", "0.5")):
        frame = read_text_columns(tmp_path / name, ["2", "3"], header=False)
        assert frame.to_dict("list") == {"1": ["a", "b"], "2": ["ACGT", "GG"], "3": [value, ""]}
    with pytest.raises(InputError, match="no column '4'"):
        read_text_columns(tmp_path / "t", ["4"], header=False)
