"""Text tables: the kind of a file, columns as text, and frames of bounded size."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from hf_genomics.errors import InputError
from hf_genomics.io.files import open_binary
from hf_genomics.io.text_tables import column_names, kind_of, list_names, read_text_columns, text_frames

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


def test_needed_columns_are_missed_by_name_and_others_are_read_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    assert list(read_text_columns(tmp_path / "t.csv", ["sequence"], ["length"])) == ["sequence"]
    with pytest.raises(InputError, match=r"t\.csv: no column 'Sequence'; did you mean 'sequence'"):
        read_text_columns(tmp_path / "t.csv", ["Sequence"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
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
