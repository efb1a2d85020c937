"""What a table says beside one sequence and one label: several labels or targets, labels and signals per nucleotide,
numbers per sequence, and the second sequence of a pair.
"""  # noqa: D205 (one sentence over two lines)

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.fasta import SEQUENCE_STARTS
from ..io.files import input_errors, open_binary, shorten
from ..io.text_tables import MISSING, read_text_columns
from .sequences import LabelledSequences
from .tables import as_number, class_order, read_table

IGNORED = -100
NO_LABEL = "."
_SEPARATORS = re.compile(r"[\s,;]+")


@dataclass(frozen=True)
class Annotations:
    """The columns of a table that hold more than one label per sequence.

    Args:
        label_columns: several yes/no labels (0, 1, or empty where not measured), or several values to regress on.
        nt_label_column: a label per nucleotide: a text of one letter each, or words with blanks or commas between; "."
            where there is none.
        pair_column: the second sequence of each pair.
        track_columns: numbers that belong to the sequence, empty where missing.
        nt_track_columns: signals: a number per nucleotide with blanks or commas between, or a text of one digit each;
            "." where missing, empty where all are.
    """

    label_columns: Sequence[str] | None = None
    nt_label_column: str | None = None
    pair_column: str | None = None
    track_columns: Sequence[str] | None = None
    nt_track_columns: Sequence[str] | None = None

    def named(self) -> list[str]:
        """List the columns."""
        single = [column for column in (self.nt_label_column, self.pair_column) if column]
        return [*(self.label_columns or []), *single, *(self.track_columns or []), *(self.nt_track_columns or [])]


def read_annotated(
    path: str | PathLike[str],
    annotations: Annotations,
    *,
    label_column: str | None = "label",
    require_labels: bool = True,
    label_names: Sequence[str] | None = None,
    regression: bool | None = None,
    **options: Any,
) -> LabelledSequences:
    """Read a table with its annotations.

    Args:
        path: CSV, TSV or Parquet; without annotations FASTA and FASTQ as well.
        annotations: which columns hold what.
        label_column: column of the one label per sequence, where there are neither several nor some per nucleotide.
        require_labels: without, labels of any kind are left alone (for prediction).
        label_names: classes of the training table; another class is an error.
        regression: several columns are values (True) or yes/no labels (False); None decides by the cells.
        options: as in `read_table`.

    Raises:
        InputError: naming file, row and column, and what to do.
    """
    several, per_nt = annotations.label_columns, annotations.nt_label_column
    if several and per_nt:
        raise InputError("data.label_columns and data.nt_label_column are two kinds of labels; name one of them")
    own = label_column if require_labels and not (several or per_nt) else None
    if not annotations.named():
        return read_table(path, label_column=own, label_names=label_names, regression=regression, **options)
    labels = [*(several or []), *([per_nt] if per_nt else [])]
    needed = [column for column in annotations.named() if require_labels or column not in labels]
    _check_table(path, needed)
    frame = read_text_columns(path, needed, []) if needed else None
    table = read_table(path, label_column=own, label_names=label_names, regression=regression, **options)
    if frame is None:
        return table
    cells = {column: frame[column].str.strip().tolist() for column in needed}
    found: dict[str, Any] = {}
    if several and require_labels:
        values = number_columns(cells, several, str(path))
        if np.isnan(values).all():
            raise InputError(f"{path}: no row has a label in {', '.join(map(repr, several))}; fill some in")
        found["problem_type"] = _problem_of(values, several, regression, str(path))
        found["labels"], found["label_names"] = values, list(several)
    if per_nt and require_labels:
        found["nt_labels"], found["label_names"] = nt_labels(cells[per_nt], table, per_nt, label_names)
    if annotations.pair_column:
        found["pairs"] = _pairs(path, annotations.pair_column, options)
    if annotations.track_columns:
        names = found["track_names"] = list(annotations.track_columns)
        found["tracks"] = number_columns(cells, names, str(path)).astype(np.float32)
    if annotations.nt_track_columns:
        names = found["nt_track_names"] = list(annotations.nt_track_columns)
        signals = [nt_signals(cells[name], table, name) for name in names]
        found["nt_tracks"] = [np.stack(of_row, 1) for of_row in zip(*signals, strict=True)]
    return replace(table, **found)


def _check_table(path: str | PathLike[str], needed: Sequence[str]) -> None:
    """Refuse a sequence file where columns are asked for."""
    with input_errors(path), open_binary(path) as file:
        start = file.peek(16)[:16].lstrip()
    if needed and start.startswith(SEQUENCE_STARTS):
        raise InputError(
            f"{path}: a sequence file has no columns, but {', '.join(map(repr, needed))} must be read; give a CSV, TSV "
            "or Parquet table"
        )


def number_columns(cells: dict[str, list[str]], columns: Sequence[str], path: str) -> np.ndarray:
    """Read columns of numbers, NaN where a cell is empty.

    Returns:
        float64 (rows, columns).

    Raises:
        InputError: naming row, column and value of a cell that is no number.
    """
    values = np.array([[as_number(text) for text in cells[column]] for column in columns]).T
    given = np.array([[text.lower() not in MISSING for text in cells[column]] for column in columns]).T
    bad = given & ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        text = shorten(cells[columns[column]][row])
        raise InputError(
            f"{_cell(path, row, columns[column])}: {text} is no finite number; correct it, or leave the cell empty "
            "where the value is missing"
        )
    return values


def check_columns(training: LabelledSequences) -> None:
    """Make sure that there is something to learn from in every column of labels, values, numbers and signals.

    Other splits, and sequences to predict, may lack some: missing tracks are told to the model, and a label that was
    not measured is not scored.

    Raises:
        InputError: naming the file and the column that is empty in every row.
    """
    labels = training.labels if training.labels_by_column else None
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
                raise InputError(
                    f"{training.source}: column {name!r} is empty in every row; fill it in or leave it away"
                )


def nt_labels(
    texts: list[str], table: LabelledSequences, column: str, label_names: Sequence[str] | None
) -> tuple[list[np.ndarray], list[str]]:
    """Read labels per nucleotide, and name the classes.

    Returns:
        int64 (nt,) for each row, -100 where there is no label; class names.

    Raises:
        InputError: naming file, row and column, where there is not one label per nucleotide, an unknown class, or no
            label at all.
    """
    symbols = [_symbols(text) for text in texts]
    for row, (found, letters) in enumerate(zip(symbols, table.sequences, strict=True)):
        _check_length(len(found), len(letters), "labels", table, row, column)
    if label_names is None:
        label_names = class_order({str(name) for found in symbols for name in np.unique(found)} - {NO_LABEL})
    number = {name: index for index, name in enumerate(label_names)} | {NO_LABEL: IGNORED}
    labels = []
    for row, found in enumerate(symbols):
        names, inverse = np.unique(found, return_inverse=True)
        for name in names:
            if str(name) not in number:
                raise InputError(
                    f"{_cell(table.source, row, column)}: unknown label {str(name)!r}; the classes are "
                    f'{list(label_names)}, and "{NO_LABEL}" means none: correct it, or train with it'
                )
        labels.append(np.array([number[str(name)] for name in names], np.int64)[inverse])
    if all((of_row == IGNORED).all() for of_row in labels):
        raise InputError(f'{table.source}: column {column!r} has no label but "{NO_LABEL}" in any row; fill in some')
    return labels, list(label_names)


def nt_signals(texts: list[str], table: LabelledSequences, column: str) -> list[np.ndarray]:
    """Read a signal with a number per nucleotide.

    Returns:
        float32 (nt,) for each row, NaN where missing.

    Raises:
        InputError: naming file, row and column, where there is not one number per nucleotide.
    """
    signals = []
    for row, (text, letters) in enumerate(zip(texts, table.sequences, strict=True)):
        if text.lower() in MISSING:
            signals.append(np.full(len(letters), np.nan, np.float32))
            continue
        found = _symbols(text)
        _check_length(len(found), len(letters), "values", table, row, column)
        names, inverse = np.unique(found, return_inverse=True)
        values = np.array([as_number(str(name)) for name in names], np.float32)
        for name, value in zip(names, values, strict=True):
            if not np.isfinite(value) and str(name) != NO_LABEL and str(name).lower() not in MISSING:
                raise InputError(
                    f"{_cell(table.source, row, column)}: {shorten(str(name))} is no finite number; give numbers with "
                    f'blanks between, or one digit per nucleotide, "{NO_LABEL}" where missing'
                )
        signals.append(values[inverse])
    return signals


def _symbols(text: str) -> np.ndarray:
    """Cut a text at its separators, or, where it has none, into its letters."""
    text = text.strip(" ,;")
    if _SEPARATORS.search(text):
        return np.array(_SEPARATORS.split(text))
    return np.array(list(text), dtype=str)


def _check_length(found: int, length: int, what: str, table: LabelledSequences, row: int, column: str) -> None:
    if found != length:
        raise InputError(
            f"{_cell(table.source, row, column)}: {found} {what} for a sequence of {length} nt; give one per "
            f'nucleotide, "{NO_LABEL}" where there is none'
        )


def _cell(path: str, row: int, column: str) -> str:
    """Name the place of a cell; rows count from 1 below the header."""
    return f"{path}: data row {row + 1}, column {column!r}"


def _problem_of(values: np.ndarray, columns: Sequence[str], regression: bool | None, path: str) -> str:
    """Tell several yes/no labels from several values to regress on."""
    odd = ~(np.isnan(values) | (values == 0) | (values == 1))
    if regression is None:
        regression = bool(odd.any())
    if regression:
        return "regression"
    if odd.any():
        row, column = np.argwhere(odd)[0]
        raise InputError(
            f"{_cell(path, row, columns[column])}: {values[row, column]:g} is neither 0 nor 1; correct it, leave it "
            "empty where not measured, or set data.regression true for values"
        )
    return "multi_label_classification"


def _pairs(path: str | PathLike[str], column: str, options: dict[str, Any]) -> list[np.ndarray]:
    """Read the second sequences as the first ones are read."""
    given = {name: value for name, value in options.items() if name in ("rna", "min_length")}
    try:
        return read_table(path, sequence_column=column, label_column=None, **given).sequences
    except InputError as error:
        raise InputError(f"{error} (column {column!r})") from error
