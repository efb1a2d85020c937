"""Columns beside one sequence and one label: what is read, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.labels import check_columns
from hf_genomics.labelled.nucleotides import nt_labels, nt_signals
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.labelled.tables import read_labelled
from hf_genomics.labelled.task import Task

NAN = np.nan
KIND = "single_label_classification"


def table(path: Path, **columns: list) -> Path:
    pd.DataFrame({"sequence": ["ACGT", "TTACG"], "label": ["p", "q"], **columns}).to_csv(path / "t.csv", index=False)
    return path / "t.csv"


def test_several_labels_keep_what_was_not_measured_apart(tmp_path: Path) -> None:
    path = table(tmp_path, a=["1", "0"], b=["", "1"])
    found = read_labelled(path, Columns(labels=["b", "a"]))
    assert (found.label_names, found.problem) == (["b", "a"], "multi_label_classification")
    assert np.array_equal(found.known_labels, [[NAN, 1], [1, 0]], equal_nan=True)


def test_several_columns_of_other_numbers_are_values(tmp_path: Path) -> None:
    path = table(tmp_path, a=["1", "0.5"], b=["NA", "-3e2"])
    found = read_labelled(path, Columns(labels=["a", "b"]))
    assert found.problem == "regression" and found.task.labels_by_column
    assert np.array_equal(found.known_labels, [[1, NAN], [0.5, -300]], equal_nan=True)
    whole = read_labelled(table(tmp_path, a=["1", "0"]), Columns(labels=["a"]), regression=True)
    assert whole.problem == "regression"


@pytest.mark.parametrize("texts", [["01.2", "20112"], ["0 1 . 2", "2,0,1;1 2"]])
def test_labels_per_nucleotide_are_letters_or_words(texts: list[str], tmp_path: Path) -> None:
    found = read_labelled(table(tmp_path, y=texts), Columns(nt_labels="y"))
    assert [labels.tolist() for labels in found.nt_labels] == [[0, 1, -100, 2], [2, 0, 1, 1, 2]]
    assert (found.label_names, found.problem) == (["0", "1", "2"], "single_label_classification")


def test_classes_of_nucleotides_are_those_of_the_training_table(tmp_path: Path) -> None:
    words = ["donor none none acceptor", "none none none none donor"]
    names = ["none", "donor", "acceptor"]
    found = read_labelled(table(tmp_path, y=words), Columns(nt_labels="y"), task=Task(KIND, names))
    assert [labels.tolist() for labels in found.nt_labels] == [[1, 0, 0, 2], [0, 0, 0, 0, 1]]
    with pytest.raises(InputError, match=r"t.csv: data row 1, column 'y': unknown label 'acceptor'"):
        read_labelled(table(tmp_path, y=words), Columns(nt_labels="y"), task=Task(KIND, names[:2]))


def test_a_missing_label_of_a_nucleotide_does_not_become_a_class(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="t.csv: data row 2, column 'y': label 'NA' would be a class"):
        read_labelled(table(tmp_path, y=["a b none a", "b a NA a b"]), Columns(nt_labels="y"))


@given(st.lists(st.lists(st.sampled_from("01.x"), min_size=1, max_size=9), min_size=1, max_size=4))
def test_labels_of_nucleotides_equal_a_loop(rows: list[list[str]]) -> None:
    assume(any(letter != "." for row in rows for letter in row))
    sequences = [np.frombuffer(b"A" * len(row), np.uint8) for row in rows]
    examples = LabelledSequences("t", [str(number) for number in range(len(rows))], sequences)
    labels, names = nt_labels(["".join(row) for row in rows], examples, "y", None)
    assert names == sorted({letter for row in rows for letter in row} - {"."})
    assert [[names[n] if n >= 0 else "." for n in row] for row in labels] == rows


def test_signals_are_digits_or_numbers_and_may_be_missing(tmp_path: Path) -> None:
    path = table(tmp_path, s=["01.3", ""], t=["0.5 -1 nan 2e1", "1,2,3,4,5"], age=["7.5", ""])
    found = read_labelled(path, Columns(tracks=["age"], nt_tracks=["s", "t"]))
    assert np.array_equal(found.nt_tracks[0], [[0, 0.5], [1, -1], [NAN, NAN], [3, 20]], equal_nan=True)
    assert np.array_equal(found.nt_tracks[1], [[NAN, n] for n in range(1, 6)], equal_nan=True)
    assert np.array_equal(found.tracks, [[7.5], [NAN]], equal_nan=True) and found.tracks.dtype == np.float32
    assert (found.track_names, found.nt_track_names) == (["age"], ["s", "t"])


def test_pairs_are_read_as_sequences_are(tmp_path: Path) -> None:
    found = read_labelled(table(tmp_path, p=["acg", "TTN"]), Columns(pair="p"))
    assert [pair.tobytes() for pair in found.pairs] == [b"acg", b"TTN"]
    with pytest.raises(InputError, match=r"data row 2.*\(column 'p'\)"):
        read_labelled(table(tmp_path, p=["ACG", "TTQQ!"]), Columns(pair="p"))


def test_for_prediction_labels_are_left_alone(tmp_path: Path) -> None:
    asked = Columns(labels=["a"], tracks=["b"])
    found = read_labelled(table(tmp_path, b=["1", "2"]), asked, require_labels=False)
    assert found.labels is None and found.tracks.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("columns", "asked", "message"),
    [
        ({"a": ["1", "x"]}, {"labels": ["a"]}, "data row 2, column 'a': 'x' is not a finite number"),
        ({"a": ["1", "inf"]}, {"tracks": ["a"]}, "data row 2, column 'a': 'inf' is not a finite number"),
        ({"a": ["1", "1_0"]}, {"tracks": ["a"]}, "data row 2, column 'a': '1_0' is not a finite number"),
        ({"a": ["", ""]}, {"labels": ["a"]}, "t.csv: no row has a label in 'a'; fill some in"),
        ({"a": ["", ""], "b": ["", ""]}, {"labels": ["a", "b"]}, "no row has a label in 'a', 'b'; fill some in"),
        ({"y": ["....", "....."]}, {"nt_labels": "y"}, "column 'y' has no label but \".\" in any row"),
        ({"y": ["010", "01010"]}, {"nt_labels": "y"}, "data row 1, column 'y': 3 labels for a sequence of 4 nt"),
        (
            {"s": ["0101", "1 2"]},
            {"nt_tracks": ["s"]},
            "data row 2, column 's': 2 values for a sequence of 5 nt",
        ),
        ({"s": ["0x01", ""]}, {"nt_tracks": ["s"]}, "data row 1, column 's': 'x' is not a finite number"),
        ({"states": ["0101", "01010"]}, {"nt_labels": "state"}, "no column 'state'; did you mean 'states'?"),
        ({"p": ["ACGT", ""]}, {"pair": "p"}, r"data row 2.*\(column 'p'\)"),
    ],
)
def test_a_cell_that_does_not_fit_is_named(columns: dict, asked: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"t.csv.*{message}" if "data" in message else message):
        read_labelled(table(tmp_path, **columns), Columns(**asked))


@pytest.mark.parametrize("kind", ["labels", "tracks", "nt_tracks"])
def test_a_column_may_be_empty_in_every_row_but_not_in_training(kind: str, tmp_path: Path) -> None:
    path = table(tmp_path, a=["", ""], x=["0 1 0 1", ""] if kind == "nt_tracks" else ["0", "1"], label=["p", "q"])
    check_columns(read_labelled(path, Columns(**{kind: ["x"]})))
    with pytest.raises(InputError, match="t.csv: column 'a' is empty in every row; fill it in or omit it"):
        check_columns(read_labelled(path, Columns(**{kind: ["x", "a"]})))


def test_a_sequence_file_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "t.fa").write_text(">a\nACGT\n")
    with pytest.raises(InputError, match=r"t.fa: a sequence file has no columns, but 's' must be read; give a CSV"):
        read_labelled(tmp_path / "t.fa", Columns(nt_tracks=["s"]), require_labels=False)
    assert len(read_labelled(tmp_path / "t.fa", Columns(), require_labels=False)) == 1


def test_a_signal_of_digits_equals_a_loop() -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 10, (50, 200))
    sequences = [np.frombuffer(b"A" * 200, np.uint8)] * 50
    examples = LabelledSequences("t", [str(number) for number in range(50)], sequences)
    found = nt_signals(["".join(map(str, row)) for row in values], examples, "s")
    assert np.array_equal(np.stack(found), values)
