"""Read labels and tracks from the cells of a table: classes, values, several yes/no labels, and columns of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..io.cells import PLAIN_NUMBERS, Look, as_number, look_of, plain_spelling
from ..io.files import shorten
from ..io.text_tables import MISSING, list_names
from .sequences import LabelledSequences
from .task import ProblemType

_INTEGER = re.compile(r"[+-]?\d+")
_LARGEST = float(np.finfo(np.float32).max)  # models compute in float32
_FEW = 20  # up to this many different whole numbers, such as 1.0 and 2.0, are probably classes or codes
_FEW_CLASSES = 5  # more labels than this are not classes if they differ in more than half of the rows
_FOR_VALUES = "set data.regression true"
_FOR_CLASSES = "for classes set data.regression false"


def read_labels(
    texts: list[str],
    places: list[str],
    remedy: str,
    names: Sequence[str] | None,
    regression: bool | None,
    column: str | None = None,
) -> tuple[np.ndarray, list[str] | None]:
    """Read one label for each sequence.

    Args:
        texts: the labels as the file holds them.
        places: file and row of each label, for error messages.
        remedy: what to do about a missing label, for error messages.
        names: classes of the training table; any other class is an error. None collects the classes from the texts.
        regression: the labels are values (True) or classes (False); None decides by the texts or, with ``names``,
            means classes.
        column: name of the column of the labels, for error messages; None if they are in headers.

    Returns:
        Class numbers, int64 (rows,), and the names of the classes; or values, float64 (rows,), and None.

    Raises:
        InputError: naming the row, if a label is missing, or is an unknown class, or is not a finite number; or if the
            labels may be either classes or values.
    """
    texts = [text.strip() for text in texts]
    for text, place in zip(texts, places, strict=True):
        if text.lower() in MISSING:
            raise InputError(f"{place}: the label is missing{f' ({text})' if text else ''}; {remedy}")
    if regression is None and names is None:
        regression = are_values(texts, places, column)
    return (_values(texts, places), None) if regression else _classes(texts, places, names)


def are_values(texts: list[str], places: list[str], column: str | None = None) -> bool:
    """Return whether labels are values rather than classes: numbers with a decimal point are values.

    Words and whole numbers are classes, also counts and temperatures, unless ``data.regression`` is true;
    `meaning.label_warnings` warns of more than 20 whole numbers.

    Args:
        texts: the labels, without blanks around them.
        places: file and row of each label, for error messages.
        column: name of the column of the labels, for error messages; None if they are in headers.

    Raises:
        InputError: naming row, column and value, if the labels may be either.

    >>> are_values(["0.5", "2"], ["row 1", "row 2"]), are_values(["1", "2", "x"], ["row 1", "row 2", "row 3"])
    (True, False)
    """
    groups: dict[Look, list[str]] = {}
    for text in dict.fromkeys(texts):
        groups.setdefault(look_of(text), []).append(text)
    if doubt := _doubt(groups, len(texts)):
        where = f" (column {column!r})" if column else ""
        place = places[texts.index(doubt.text)]
        raise InputError(f"{place}: label {shorten(doubt.text)} {doubt.why}{where}: {doubt.ways}")
    return bool(groups.keys() & {"decimal", "whole float"})


class _Doubt(NamedTuple):
    """A label that makes it doubtful whether the labels are classes or values.

    Attributes:
        text: the label.
        why: what is doubtful about it.
        ways: how the user can settle it.
    """

    text: str
    why: str
    ways: str


def _doubt(groups: dict[Look, list[str]], rows: int) -> _Doubt | None:
    """Return a label that makes it doubtful whether the labels are classes or values; None if it is clear.

    Args:
        groups: the distinct labels by what they look like: "whole" 12, "whole float" 1.0, "decimal" 1.5, "unclear
            number" 0,077 or <5, "boolean" TRUE, "blank" - or inf, "word" phage.
        rows: number of rows.
    """
    decimals = groups.get("decimal", []) + groups.get("whole float", [])
    numbers, words = decimals + groups.get("whole", []), groups.get("word", [])
    # Words beside whole numbers are classes (chromosomes 1, 2, X), but FALSE may be 0, and "-" a missing number.
    odd = groups.get("blank", []) + groups.get("boolean", []) + (words if decimals else [])
    if unclear := groups.get("unclear number"):
        return _Doubt(
            unclear[0],
            "is not written as a plain number",
            f"for values {PLAIN_NUMBERS}, and {_FOR_VALUES}; {_FOR_CLASSES}",
        )
    if numbers and odd and (len(numbers) >= len(odd) or not words):  # mostly numbers: the odd labels may be mistakes
        why = f"is not a finite number, but other labels are, such as {shorten(numbers[0])}"
        return _Doubt(odd[0], why, f"for values correct it or drop the row, and {_FOR_VALUES}; {_FOR_CLASSES}")
    if numbers and odd:  # mostly words: the numbers may be mistakes
        why = f"is a number, but other labels are not, such as {shorten(odd[0])}"
        return _Doubt(
            decimals[0] if decimals else numbers[0],
            why,
            f"for values correct the others, and {_FOR_VALUES}; {_FOR_CLASSES}",
        )
    # 0.0 and 1.0, as pandas writes classes if a label is missing.
    if decimals and "decimal" not in groups and len(numbers) <= _FEW:
        why = (
            f"may be a class or a value: {len(numbers)} different labels, all whole numbers, written with a point or e"
        )
        return _Doubt(decimals[0], why, f"for values {_FOR_VALUES}; {_FOR_CLASSES}")
    # More than half of the labels differ: measurements, names or ids rather than classes.
    distinct = sum(map(len, groups.values()))
    if not decimals and distinct > max(_FEW_CLASSES, rows / 2):
        ways = f"for values {_FOR_VALUES}" if numbers and not words else "name the column of classes in columns.label"
        why = f"is one of {distinct:,} different labels in {rows:,} rows, too many for classes"
        return _Doubt(next(iter(groups.values()))[0], why, f"{ways}; {_FOR_CLASSES}")
    return None


def _values(texts: list[str], places: list[str]) -> np.ndarray:
    """Read labels as values to regress on, float64 (rows,)."""
    values = np.array([as_number(text) for text in texts])
    for value, text, place in zip(values, texts, places, strict=True):
        if not abs(value) <= _LARGEST:  # NaN fails, too
            raise InputError(
                f"{place}: label {shorten(text)} is not a finite number{_how_to_write(text)}; "
                "correct it or drop the row"
            )
    return values


def _how_to_write(text: str) -> str:
    """Return how to write numbers, if a text is an unclear number; otherwise nothing."""
    return f" as it is written ({PLAIN_NUMBERS})" if look_of(text) == "unclear number" else ""


def _classes(texts: list[str], places: list[str], known: Sequence[str] | None) -> tuple[np.ndarray, list[str] | None]:
    """Read labels as class numbers, in the order of the ``known`` classes or, if there are none, of `class_order`.

    0.0 and 1.0 are read as the classes 0 and 1, TRUE and FALSE as True and False, so that tables that were written by
    different programs agree.
    """
    distinct = set(texts)
    if known is None:
        class_of = spellings(distinct)
        names = class_order(set(class_of.values()))
    else:
        names = [str(name) for name in known]
        # A label is the class of the same spelling; if there is none, the class that means the same, as 1.0 means 1.
        exact = {name: name for name in names}
        plain = {plain_spelling(name): name for name in names}
        class_of = {text: exact.get(text) or plain.get(plain_spelling(text), text) for text in distinct}
    number = {name: index for index, name in enumerate(names)}
    for text, place in zip(texts, places, strict=True):
        if class_of[text] not in number:
            raise InputError(
                f"{place}: unknown label {shorten(text)}; the classes of the training table are {list_names(names)}: "
                "correct it, drop the row, or add rows of this class to the training table"
            )
    return np.array([number[class_of[text]] for text in texts], np.int64), names


def spellings(distinct: set[str]) -> dict[str, str]:
    """Return the class of each label: 1 for the label 1.0 if all labels are whole numbers, True for the label TRUE.

    >>> sorted(spellings({"0.0", "1.0", "2"}).values()), spellings({"1.0", "1.5"})["1.0"], spellings({"TRUE"})
    (['0', '1', '2'], '1.0', {'TRUE': 'True'})
    """
    looks = {text: look_of(text) for text in distinct}
    if {*looks.values()} <= {"whole", "whole float"} or {*looks.values()} == {"boolean"}:
        # 01 and 1 stay two classes: leading zeros may belong to a code.
        return {text: text if look == "whole" else plain_spelling(text) for text, look in looks.items()}
    return {text: text for text in distinct}


def class_order(names: set[str]) -> list[str]:
    """Sort class names: by value if all names are whole numbers, otherwise alphabetically.

    >>> class_order({"10", "9"}), class_order({"10", "9", "x"})
    (['9', '10'], ['10', '9', 'x'])
    """
    if all(_INTEGER.fullmatch(name) for name in names):
        # 01 and 1 are equal as numbers, and a set has no order of its own. int() refuses thousands of digits.
        return sorted(names, key=lambda name: (Decimal(name), name))
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
    bad = given & ~(np.abs(values) <= _LARGEST)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        text = cells[columns[column]][row]
        raise InputError(
            f"{place_of(path, row, columns[column])}: {shorten(text)} is not a finite number{_how_to_write(text)}; "
            "correct it, or leave the cell empty where the value is missing"
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
            cell is 0, 1, true, false or empty.
        path: path of the file, for error messages.

    Returns:
        float64 (rows, columns), NaN for an empty cell; and the kind of labels.

    Raises:
        InputError: naming row, column and value of an invalid cell; or if all cells are empty, or if columns may hold
            either kind.
    """
    if not regression:
        as_digit = {"true": "1", "false": "0"}
        cells = {column: [as_digit.get(text.lower(), text) for text in cells[column]] for column in columns}
    values = number_columns(cells, columns, path)
    missing = np.isnan(values)
    if missing.all():
        raise InputError(f"{path}: no row has a label in {', '.join(map(repr, columns))}; fill some in")
    not_yes_no = ~(missing | (values == 0) | (values == 1))
    if regression or (regression is None and _columns_are_values(values, not_yes_no)):
        return values, "regression"
    if not_yes_no.any():
        row, column = np.argwhere(not_yes_no)[0]
        raise InputError(
            f"{place_of(path, row, columns[column])}: {values[row, column]:g} is neither 0 nor 1; for yes/no labels "
            "correct it, or leave it empty where not measured; for values set data.regression true"
        )
    return values, "multi_label_classification"


def _columns_are_values(values: np.ndarray, not_yes_no: np.ndarray) -> bool:
    """Return whether columns hold values: no column is all 0 and 1, and the numbers are not a few whole codes.

    Args:
        values: (rows, columns), NaN for an empty cell.
        not_yes_no: whether each cell is another number than 0 and 1, (rows, columns).
    """
    given = ~np.isnan(values)
    are_yes_no = given.any(axis=0) & ~not_yes_no.any(axis=0)
    known = values[given]
    # Codes, not measurements: 1 and 2, or 0, 1 and 9 for unknown.
    coded = bool((known == np.floor(known)).all()) and len(np.unique(known)) <= _FEW
    return bool(not_yes_no.any()) and not are_yes_no.any() and not coded


def check_columns(training: LabelledSequences) -> None:
    """Check that every column of labels, targets, tracks and signals has a value in some row, and that targets vary.

    Training cannot learn from an empty column. The tables for validation, test and prediction may have empty columns:
    the model is told which tracks are missing, and a label that was not measured is not scored.

    Args:
        training: the training sequences.

    Raises:
        InputError: naming the file and the column that is empty in every row, or whose targets are all equal.
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
    if training.problem == "regression" and training.labels is not None:
        _check_targets(training, training.labels.reshape(len(training), -1))


def _check_targets(training: LabelledSequences, targets: np.ndarray) -> None:
    """Raise InputError if a target has the same value in every row that has one; ``targets`` are (rows, targets)."""
    names: Sequence[str | None] = training.label_names or [training.label_column]
    for name, column in zip(names, targets.T, strict=True):
        known = column[~np.isnan(column)]
        if known.min() == known.max():
            of_column = f"column {name!r} is" if name else "the labels are"
            raise InputError(
                f"{training.source}: {of_column} {known[0]:g} in every row, so there is nothing to learn; "
                f"{'omit it or ' if training.label_names else ''}name a column with different values"
            )


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
