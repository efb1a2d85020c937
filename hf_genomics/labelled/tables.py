"""Read labelled sequences from tables (CSV, TSV, Parquet) or sequence files, and refuse what would train nonsense.

Every cell is read as text first, so that a row can be named before pandas turns "NA" into a number.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from os import PathLike

import numpy as np
import pandas as pd

from ..errors import InputError
from ..io.fasta import SEQUENCE_STARTS, check_length, clean_letters, letter_error, read_records
from ..io.files import input_errors, open_binary, shorten
from ..io.text_tables import MISSING, _some, column_names, missing_column, read_text_columns
from ..sequence import as_letters
from .columns import Columns
from .sequences import LabelledSequences
from .task import Task

logger = logging.getLogger(__name__)

_INTEGER = re.compile(r"[+-]?\d+")
_HEADER_LABEL = re.compile(r"(?:^|\s)label=(\S+)")


def read_table(
    path: str | PathLike[str],
    *,
    sequence_column: str = "sequence",
    label_column: str | None = "label",
    id_column: str | None = None,
    rna: bool = False,
    min_length: int = 1,
    require_labels: bool = True,
    label_names: Sequence[str] | None = None,
    regression: bool | None = None,
) -> LabelledSequences:
    """Read a table of sequences; the kind of file is told by its content.

    Labels that are whole numbers or words are classes (sorted, numbers by value); labels with decimals are values to
    regress on. In a sequence file (FASTA and the like) the label stands in the header as ``label=NAME``.

    Args:
        path: CSV or TSV (plain or gzipped), Parquet, FASTA, FASTQ, GenBank or 2bit.
        sequence_column: column with the DNA.
        label_column: column with the labels ("class" serves for "label" where that is not there, and the other way
            round); None reads none.
        id_column: column with unique names; row numbers serve without.
        rna: read U as T.
        min_length: shortest sequence allowed, in nt.
        require_labels: without, labels are read only where every row has a known one (for prediction).
        label_names: classes of the training table; another class is an error.
        regression: force values (True) or classes (False); None decides by the labels.

    Raises:
        InputError: naming file, row (data rows, counted from 1 below the header) or record, and what to do.
    """
    name = str(path)
    with input_errors(path), open_binary(path) as file:
        start = file.peek(16)[:16].lstrip()
    if start.startswith(SEQUENCE_STARTS):
        ids, sequences, texts, rows = _from_fasta(path, rna, min_length)
        missing = "write label=NAME into its header"
    else:
        label_column = label_column and label_or_class(label_column, column_names(path), name)
        wanted = [column for column in (label_column, id_column) if column]
        frame = read_text_columns(path, [sequence_column], wanted)
        rows = [f"{name}: data row {number}" for number in range(1, len(frame) + 1)]
        ids = _ids(frame, id_column, rows, name)
        sequences = _sequences(frame[sequence_column].str.strip().tolist(), rows, rna, min_length)
        if label_column and require_labels and label_column not in frame:
            raise missing_column(name, label_column, column_names(path))
        texts = frame[label_column].tolist() if label_column in frame else [""] * len(frame)
        missing = f"fill in column {label_column!r} or drop the row"
    if label_column is None:
        return LabelledSequences(name, ids, sequences)
    try:
        labels, names = _labels(texts, rows, missing, label_names, regression)
    except InputError as error:
        if require_labels:
            raise
        logger.info("labels not used: %s", error)
        labels, names = None, None
    return LabelledSequences(name, ids, sequences, labels, names)


def table_faults(
    path: str | PathLike[str],
    first: InputError,
    columns: Columns,
    *,
    task: Task | None = None,
    regression: bool | None = None,
    rna: bool = False,
    min_length: int = 1,
) -> list[InputError]:
    """List everything that `read_annotated` refuses in a table, row by row as far as it gets.

    Args:
        path: the table.
        first: what `read_annotated` raised.
        columns: as given to `read_annotated`.
        task: as given to `read_annotated`.
        regression: as given to `read_annotated`.
        rna: as given to `read_annotated`.
        min_length: as given to `read_annotated`.
    """
    faults = {str(first): first}
    label_column = None if columns.labels or columns.nt_labels else columns.label
    names = None if task is None else task.names
    if regression is None and task is not None:
        regression = task.problem_type == "regression"
    try:
        frame = read_text_columns(path, [columns.sequence], [label_column] if label_column else [])
    except InputError:
        return [first]
    rows = [f"{path}: data row {number}" for number in range(1, len(frame) + 1)]
    texts = frame[label_column].tolist() if label_column and label_column in frame else None
    if regression is None and texts is not None:
        regression = names is None and _mostly_decimal(texts)
    missing = f"fill in column {label_column!r} or drop the row"
    for index, (cell, row) in enumerate(zip(frame[columns.sequence].str.strip(), rows, strict=True)):
        try:
            _sequences([cell], [row], rna, min_length)
        except InputError as error:
            faults.setdefault(str(error), error)
        try:
            if texts is not None:
                _labels([texts[index]], [row], missing, names, regression)
        except InputError as error:
            faults.setdefault(str(error), error)
    return list(faults.values())


def label_or_class(column: str, columns: Iterable[str], source: str) -> str:
    """Let ``class`` stand for ``label``, or the other way round, where the one that is asked for is not there.

    >>> label_or_class("label", ["accession", "class"], "genomes.tsv")
    'class'
    """
    twin, columns = {"label": "class", "class": "label"}.get(column), set(columns)
    if twin is None or column in columns or twin not in columns:
        return column
    logger.info("%s: no column %r, so labels are taken from %r", source, column, twin)
    return twin


def _from_fasta(
    path: str | PathLike[str], rna: bool, min_length: int
) -> tuple[list[str], list[np.ndarray], list[str], list[str]]:
    """Read ids, sequences, label texts (empty where there is none) and row descriptions from FASTA or FASTQ."""
    records = list(read_records(path, rna=rna, min_length=min_length))
    found = [_HEADER_LABEL.search(record.description) for record in records]
    return (
        [record.name for record in records],
        [record.letters for record in records],
        [match[1] if match else "" for match in found],
        [f"{path}: record {number} ({shorten(record.name)})" for number, record in enumerate(records, start=1)],
    )


def _ids(frame: pd.DataFrame, id_column: str | None, rows: list[str], path: str) -> list[str]:
    """Take the ids from their column, or number the rows; refuse an empty one and a second use."""
    if id_column is None:
        return [str(number) for number in range(1, len(frame) + 1)]
    if id_column not in frame:
        raise missing_column(path, id_column, column_names(path))
    ids = frame[id_column].tolist()
    seen: dict[str, int] = {}
    for index, name in enumerate(ids):
        if not name:
            raise InputError(f"{rows[index]}: no id in column {id_column!r}; fill it in")
        if name in seen:
            raise InputError(
                f"{rows[index]}: id {shorten(name)} is that of row {seen[name] + 1} already; make the ids unique"
            )
        seen[name] = index
    return ids


def _sequences(texts: list[str], rows: list[str], rna: bool, min_length: int) -> list[np.ndarray]:
    """Check all sequences in one pass over their letters, and cut them apart again."""
    letters = clean_letters(as_letters("".join(texts)), rna)
    ends = np.cumsum([len(text) for text in texts])
    if not letters.all():
        index = int(letters.argmin())
        row = int(np.searchsorted(ends, index, side="right"))
        raise _cell_error(texts[row], index - int(ends[row]) + len(texts[row]), rows[row])
    for text, row_name in zip(texts, rows, strict=True):
        if len(text) < max(1, min_length):
            check_length(len(text), row_name, min_length)
    return np.split(letters, ends[:-1])


def _cell_error(text: str, index: int, where: str) -> InputError:
    """Describe a bad letter in a cell; DNABERT's k-mer text gets a description of its own."""
    words = text.split()
    k = len(words[0]) if words else 0
    if text[index] == " " and 1 < k <= 8 and {len(word) for word in words} == {k}:
        return InputError(
            f"{where}: {shorten(text, 30)} is {k}-mer text as DNABERT writes it, not DNA letters; join it to a "
            "sequence: the first word, then the last letter of every following word"
        )
    return letter_error(text[index], index + 1, where)


def _labels(
    texts: list[str], rows: list[str], missing: str, label_names: Sequence[str] | None, regression: bool | None
) -> tuple[np.ndarray, list[str] | None]:
    """Turn label texts into class numbers and names, or into values and None."""
    for text, row in zip(texts, rows, strict=True):
        if text.strip().lower() in MISSING:
            raise InputError(f"{row}: the label is missing{f' ({text})' if text else ''}; {missing}")
    if regression is None:
        regression = label_names is None and _mostly_decimal(texts)
    return (_values(texts, rows), None) if regression else _classes(texts, rows, label_names)


def _mostly_decimal(texts: list[str]) -> bool:
    """Tell whether the labels are values: more than half are numbers, and not all of them whole ones."""
    distinct = set(texts)
    numbers = [text for text in distinct if not np.isnan(as_number(text))]
    return 2 * len(numbers) > len(distinct) and not all(_INTEGER.fullmatch(text.strip()) for text in numbers)


def as_number(text: str) -> float:
    """Read a number; NaN where there is none. Python alone takes 1_2, the name of a cluster, for twelve."""
    try:
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")


def _values(texts: list[str], rows: list[str]) -> np.ndarray:
    """Read finite numbers."""
    values = np.array([as_number(text) for text in texts])
    for value, text, row in zip(values, texts, rows, strict=True):
        if not np.isfinite(value):
            raise InputError(f"{row}: label {shorten(text)} is no finite number, others are; mend it or drop the row")
    return values


def _classes(
    texts: list[str], rows: list[str], label_names: Sequence[str] | None
) -> tuple[np.ndarray, list[str] | None]:
    """Number the classes in sorted order, or in that of ``label_names``."""
    texts = [text.strip() for text in texts]
    names = class_order(set(texts)) if label_names is None else [str(name) for name in label_names]
    number = {name: index for index, name in enumerate(names)}
    for text, row in zip(texts, rows, strict=True):
        if text not in number:
            raise InputError(
                f"{row}: unknown label {shorten(text)}; the classes of the training table are {_some(names)}: "
                "correct it, drop the row, or train with it"
            )
    return np.array([number[text] for text in texts], np.int64), names


def class_order(names: set[str]) -> list[str]:
    """Sort class names: whole numbers by value, words by the alphabet."""
    if all(_INTEGER.fullmatch(name) for name in names):
        return sorted(names, key=int)
    return sorted(names)
