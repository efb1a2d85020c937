"""Read labels and tracks from the cells of a table: classes, values, several yes/no labels, and columns of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..io.files import shorten
from ..io.text_tables import MISSING, list_names
from .sequences import LabelledSequences
from .task import ProblemType

_INTEGER = re.compile(r"[+-]?\d+")


def read_labels(
    texts: list[str], rows: list[str], remedy: str, names: Sequence[str] | None, regression: bool | None
) -> tuple[np.ndarray, list[str] | None]:
    """Read one label for each sequence.

    Args:
        texts: the labels as the file holds them.
        rows: file and row of each label, for error messages.
        remedy: what to do about a missing label, for error messages.
        names: classes of the training table; any other class is an error. None collects the classes from the texts.
        regression: the labels are values (True) or classes (False); None decides by the texts.

    Returns:
        Class numbers, int64 (rows,), and the names of the classes; or values, float64 (rows,), and None.

    Raises:
        InputError: naming the row, if a label is missing, or is an unknown class, or is not a finite number.
    """
    for text, row in zip(texts, rows, strict=True):
        if text.strip().lower() in MISSING:
            raise InputError(f"{row}: the label is missing{f' ({text})' if text else ''}; {remedy}")
    if regression is None:
        regression = names is None and mostly_decimal(texts)
    return (_values(texts, rows), None) if regression else _classes(texts, rows, names)


def mostly_decimal(texts: list[str]) -> bool:
    """Return whether labels are values: over half of the distinct texts are numbers, and some of these have decimals.

    >>> mostly_decimal(["0.5", "2"]), mostly_decimal(["1", "2"]), mostly_decimal(["a", "b", "0.5"])
    (True, False, False)
    """
    distinct = set(texts)
    numbers = [text for text in distinct if not np.isnan(as_number(text))]
    return 2 * len(numbers) > len(distinct) and not all(_INTEGER.fullmatch(text.strip()) for text in numbers)


def as_number(text: str) -> float:
    """Read a number; a text that is not a number becomes NaN.

    >>> as_number("1e-3"), as_number("1_2")  # a name such as 1_2 is not a number, although Python's float() reads 12
    (0.001, nan)
    """
    try:
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")


def _values(texts: list[str], rows: list[str]) -> np.ndarray:
    """Read labels as values to regress on, float64 (rows,)."""
    values = np.array([as_number(text) for text in texts])
    for value, text, row in zip(values, texts, rows, strict=True):
        if not np.isfinite(value):
            raise InputError(
                f"{row}: label {shorten(text)} is not a finite number, but other labels are; fix it or drop the row"
            )
    return values


def _classes(texts: list[str], rows: list[str], known: Sequence[str] | None) -> tuple[np.ndarray, list[str] | None]:
    """Read labels as class numbers, in the order of the ``known`` classes or, if there are none, of `class_order`."""
    texts = [text.strip() for text in texts]
    names = class_order(set(texts)) if known is None else [str(name) for name in known]
    number = {name: index for index, name in enumerate(names)}
    for text, row in zip(texts, rows, strict=True):
        if text not in number:
            raise InputError(
                f"{row}: unknown label {shorten(text)}; the classes of the training table are {list_names(names)}: "
                "correct it, drop the row, or train with it"
            )
    return np.array([number[text] for text in texts], np.int64), names


def class_order(names: set[str]) -> list[str]:
    """Sort class names: by value if all names are whole numbers, otherwise alphabetically.

    >>> class_order({"10", "9"}), class_order({"10", "9", "x"})
    (['9', '10'], ['10', '9', 'x'])
    """
    if all(_INTEGER.fullmatch(name) for name in names):
        return sorted(names, key=int)
    return sorted(names)


def number_columns(cells: dict[str, list[str]], columns: Sequence[str], path: str) -> np.ndarray:
    """Read columns of numbers; an empty cell becomes NaN.

    Args:
        cells: column -> texts of its rows.
        columns: the columns to read.
        path: path of the file, for error messages.

    Returns:
        float64 (rows, columns).

    Raises:
        InputError: naming row, column and value of a cell that is neither empty nor a finite number.
    """
    values = np.array([[as_number(text) for text in cells[column]] for column in columns]).T
    given = np.array([[text.lower() not in MISSING for text in cells[column]] for column in columns]).T
    bad = given & ~(np.abs(values) <= np.finfo(np.float32).max)  # NaN is not below either; models read float32
    if bad.any():
        row, column = np.argwhere(bad)[0]
        text = shorten(cells[columns[column]][row])
        raise InputError(
            f"{place_of(path, row, columns[column])}: {text} is not a finite number; correct it, or leave the cell "
            "empty where the value is missing"
        )
    return values


def read_several(
    cells: dict[str, list[str]], columns: Sequence[str], regression: bool | None, path: str
) -> tuple[np.ndarray, ProblemType]:
    """Read several labels or targets for each sequence.

    Args:
        cells: column -> texts of its rows.
        columns: the columns to read.
        regression: the columns hold values (True) or yes/no labels (False); None takes them for yes/no labels if every
            cell is 0, 1 or empty.
        path: path of the file, for error messages.

    Returns:
        float64 (rows, columns), NaN for an empty cell; and the kind of labels.

    Raises:
        InputError: naming row, column and value of an invalid cell; or if all cells are empty.
    """
    values = number_columns(cells, columns, path)
    if np.isnan(values).all():
        raise InputError(f"{path}: no row has a label in {', '.join(map(repr, columns))}; fill some in")
    not_yes_no = ~(np.isnan(values) | (values == 0) | (values == 1))
    if regression or (regression is None and not_yes_no.any()):
        return values, "regression"
    if not_yes_no.any():
        row, column = np.argwhere(not_yes_no)[0]
        raise InputError(
            f"{place_of(path, row, columns[column])}: {values[row, column]:g} is neither 0 nor 1; correct it, leave it "
            "empty where not measured, or set data.regression true for values"
        )
    return values, "multi_label_classification"


def check_columns(training: LabelledSequences) -> None:
    """Check that every column of labels, targets, tracks and signals has a value in at least one row.

    Training cannot learn from an empty column. The tables for validation, test and prediction may have empty columns:
    the model is told which tracks are missing, and a label that was not measured is not scored.

    Args:
        training: the training sequences.

    Raises:
        InputError: naming the file and the column that is empty in every row.
    """
    labels = training.labels if training.task.labels_by_column else None
    signals = None if training.nt_tracks is None else np.concatenate(training.nt_tracks)
    for names, values in (
        (training.label_names, labels),
        (training.track_names, training.tracks),
        (training.nt_track_names, signals),
    ):
        if values is None:
            continue
        for name, column in zip(names or [], values.T, strict=True):
            if np.isnan(column).all():
                raise InputError(f"{training.source}: column {name!r} is empty in every row; fill it in or omit it")


def place_of(path: str, row: int, column: str) -> str:
    """Return the file, row and column of a cell for an error message; data rows are counted from 1, below the header.

    Args:
        path: path of the file.
        row: number of the data row, counted from 0.
        column: name of the column.

    >>> place_of("t.csv", 0, "age")
    "t.csv: data row 1, column 'age'"
    """
    return f"{path}: data row {row + 1}, column {column!r}"
