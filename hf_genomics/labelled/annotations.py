"""What a table says beside one sequence and one label: several labels or targets, labels and signals per nucleotide,
numbers per sequence, and the second sequence of a pair.
"""  # noqa: D205 (one sentence over two lines)

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.fasta import SEQUENCE_STARTS
from ..io.files import input_errors, open_binary, shorten
from ..io.text_tables import MISSING, read_text_columns
from .columns import Columns
from .sequences import LabelledSequences
from .tables import as_number, class_order, read_table
from .task import Task

IGNORED = -100
NO_LABEL = "."
_SEPARATORS = re.compile(r"[\s,;]+")


def read_annotated(
    path: str | PathLike[str],
    columns: Columns = Columns(),  # noqa: B008 (immutable)
    *,
    task: Task | None = None,
    require_labels: bool = True,
    regression: bool | None = None,
    rna: bool = False,
    min_length: int = 1,
) -> LabelledSequences:
    """Read labelled sequences with everything that stands beside them.

    Args:
        path: CSV, TSV or Parquet; where only sequences and their labels are read, FASTA and FASTQ as well.
        columns: which columns hold what.
        task: of the training table or the model, whose classes and kind of labels these examples must share.
        require_labels: if False, labels of any kind are not read (for prediction).
        regression: labels are values (True) or classes (False); None lets the task, or else the cells, decide.
        rna: read U as T.
        min_length: shortest sequence allowed, in nt.

    Raises:
        InputError: naming file, row and column, and what to do.
    """
    several, per_nt = columns.labels, columns.nt_labels
    label_names = None if task is None else task.names
    if regression is None and task is not None:
        regression = task.problem_type == "regression"
    options: dict[str, Any] = {"sequence_column": columns.sequence, "id_column": columns.id, "rna": rna}
    options |= {"min_length": min_length, "label_names": label_names, "regression": regression}
    own = columns.label if require_labels and not (several or per_nt) else None
    if not columns.beside():
        return read_table(path, label_column=own, **options)
    labels = [*(several or []), *([per_nt] if per_nt else [])]
    needed = [column for column in columns.beside() if require_labels or column not in labels]
    _check_table(path, needed)
    frame = read_text_columns(path, needed, []) if needed else None
    table = read_table(path, label_column=own, **options)
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
    if columns.pair:
        found["pairs"] = _pairs(path, columns.pair, options)
    if columns.tracks:
        names = found["track_names"] = list(columns.tracks)
        found["tracks"] = number_columns(cells, names, str(path)).astype(np.float32)
    if columns.nt_tracks:
        names = found["nt_track_names"] = list(columns.nt_tracks)
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
