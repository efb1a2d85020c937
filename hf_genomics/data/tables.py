"""Read labelled sequences from tables (CSV, TSV, Parquet) or sequence files, and refuse what would train nonsense.

Every cell is read as text first, so that a row can be named before pandas turns "NA" into a number.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from ..errors import InputError
from ..sequence import as_letters
from .fasta import SEQUENCE_STARTS, check_length, clean_letters, letter_error, read_records
from .files import BinaryFile, input_errors, open_binary, shorten

logger = logging.getLogger(__name__)

MISSING = {"", "na", "n/a", "nan", "<na>", "null", "none"}
_INTEGER = re.compile(r"[+-]?\d+")
_HEADER_LABEL = re.compile(r"(?:^|\s)label=(\S+)")


@dataclass(frozen=True)
class LabelledSequences:
    """Sequences with what is known about them, row by row.

    Attributes:
        source: the file, for error messages.
        ids: (rows,) unique names.
        sequences: (rows,) uint8 letters, one array each.
        labels: (rows,) int64 class numbers, or float64 values (regression), or None; float64 (rows, label_names) for
            several labels or targets, NaN where there is none.
        label_names: class names in the order of the class numbers; None for regression and without labels; the names of
            several labels or targets.
        problem_type: of the labels, in transformers' words; None says that class names mean one class out of several,
            and no class names a value.
        nt_labels: (nt,) int64 class numbers for each row, -100 where there is none.
        pairs: second sequences, as the first.
        tracks, track_names: float32 (rows, tracks), numbers per sequence, NaN where missing.
        nt_tracks, nt_track_names: float32 (nt, tracks) for each row, signals per nucleotide, NaN where missing.
    """

    source: str
    ids: list[str]
    sequences: list[np.ndarray]
    labels: np.ndarray | None = None
    label_names: list[str] | None = None
    problem_type: str | None = None
    nt_labels: list[np.ndarray] | None = None
    pairs: list[np.ndarray] | None = None
    tracks: np.ndarray | None = None
    track_names: list[str] | None = None
    nt_tracks: list[np.ndarray] | None = None
    nt_track_names: list[str] | None = None

    @property
    def problem(self) -> str:
        """The kind of labels, in transformers' words."""
        return self.problem_type or ("single_label_classification" if self.label_names else "regression")

    @property
    def labels_by_column(self) -> bool:
        """Whether there are several labels or targets for each sequence."""
        return self.problem == "multi_label_classification" or (self.problem == "regression" and bool(self.label_names))

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.ids)

    @property
    def known_labels(self) -> np.ndarray:
        """The labels, where there must be some.

        Raises:
            InputError: if there are none.
        """
        if self.labels is None:
            raise InputError(f"{self.source}: the sequences have no labels")
        return self.labels


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


def table_faults(path: str | PathLike[str], first: InputError, **options: Any) -> list[InputError]:
    """List all that `read_table` refuses in a table, row by row as far as it gets.

    Args:
        path: the table.
        first: what `read_table` raised.
        options: as they were given to `read_table`.
    """
    faults = {str(first): first}
    sequence_column, label_column = options.get("sequence_column", "sequence"), options.get("label_column", "label")
    try:
        frame = read_text_columns(path, [sequence_column], [label_column] if label_column else [])
    except InputError:
        return [first]
    rows = [f"{path}: data row {number}" for number in range(1, len(frame) + 1)]
    texts = frame[label_column].tolist() if label_column and label_column in frame else None
    regression = options.get("regression")
    if regression is None and texts is not None:
        regression = options.get("label_names") is None and _mostly_decimal(texts)
    missing = f"fill in column {label_column!r} or drop the row"
    for index, (cell, row) in enumerate(zip(frame[sequence_column].str.strip(), rows, strict=True)):
        try:
            _sequences([cell], [row], options.get("rna", False), options.get("min_length", 1))
        except InputError as error:
            faults.setdefault(str(error), error)
        try:
            if texts is not None:
                _labels([texts[index]], [row], missing, options.get("label_names"), regression)
        except InputError as error:
            faults.setdefault(str(error), error)
    return list(faults.values())


def cell_texts(path: str | PathLike[str], column: str) -> list[str]:
    """Read a column of a table as it stands; nothing where it cannot be read."""
    try:
        return read_text_columns(path, [column], [])[column].str.strip().tolist()
    except InputError:
        return []


def check_classes(train: LabelledSequences, other: LabelledSequences) -> None:
    """Make sure that two splits have the same classes, at least two, and a row of each (but not a nucleotide of each).

    Raises:
        InputError: naming the file and the class that is missing from it.
    """
    labelled = train.labels is not None or train.nt_labels is not None
    if train.problem != "single_label_classification" or not labelled or train.label_names is None:
        return
    if len(train.label_names) < 2:
        raise InputError(f"{train.source}: only the class {train.label_names[0]!r} is there; a classifier needs two")
    if train.nt_labels is not None:
        return
    if other.labels is None or other.label_names != train.label_names:
        raise InputError(
            f"{other.source}: its classes {_some(other.label_names or [])} are not those of {train.source}, "
            f"{_some(train.label_names)}; both files must be labelled with the same classes"
        )
    for table in (train, other):
        counts = np.bincount(table.known_labels, minlength=len(train.label_names))
        for label in np.flatnonzero(counts == 0):
            raise InputError(
                f"{table.source}: no row of class {train.label_names[label]!r}; scores would mean nothing, "
                "so split again with every class on every side"
            )


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


def missing_column(path: str, column: str, columns: Iterable[str]) -> InputError:
    """Describe a column that is not there, with the closest one that is."""
    columns = list(columns)
    close = difflib.get_close_matches(column.lower(), [name.lower() for name in columns], 1, cutoff=0.5)
    guess = next((f"; did you mean {name!r}?" for name in columns if close and name.lower() == close[0]), "")
    return InputError(f"{path}: no column {column!r}{guess} (the columns are {_some(columns)})")


def column_names(path: str | PathLike[str]) -> list[str]:
    """Read the names of the columns of a CSV, TSV or Parquet table.

    Raises:
        InputError: if the file is missing, empty or no table.
    """
    with input_errors(path), open_binary(path) as file:
        if _is_parquet(file):
            return [str(name) for name in _parquet(file, path).schema_arrow.names]
        return [str(name) for name in _read_csv(file, path, nrows=0).columns]


def read_text_columns(
    path: str | PathLike[str], needed: Sequence[str], wanted: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read columns of a CSV, TSV or Parquet table as text; a missing cell is the empty text.

    Args:
        path: the table; kind, separator and gzip are told by its content.
        needed: columns that must be there.
        wanted: further columns, read where they are there; None reads all.

    Raises:
        InputError: if the file is no table, has no row, or lacks a needed column.
    """
    present = column_names(path)
    for column in needed:
        if column not in present:
            raise missing_column(str(path), column, present)
    asked = {*needed, *(present if wanted is None else wanted)}
    columns = [column for column in present if column in asked]
    with input_errors(path), open_binary(path) as file:
        if _is_parquet(file):
            table = _parquet(file, path).read(columns)
            _refuse_nested(table.schema, path)
            frame = table.to_pandas().astype("string").fillna("").astype(object)
        else:
            frame = _read_csv(file, path)[columns]
    if not len(frame):
        raise InputError(f"{path}: the table has no row below its header")
    return frame


def _is_parquet(file: BinaryFile) -> bool:
    """Tell Parquet by its magic number."""
    return file.peek(4)[:4] == b"PAR1"


def _parquet(file: BinaryFile, path: str | PathLike[str]) -> pyarrow.parquet.ParquetFile:
    """Open a Parquet file."""
    try:
        return pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowException as error:
        raise InputError(f"{path}: damaged Parquet file ({' '.join(str(error).split())}); write it again") from error


def _refuse_nested(schema: pyarrow.Schema, path: str | PathLike[str]) -> None:
    """Refuse lists in cells, which would be read as they are printed, brackets and all."""
    for field in schema:
        if pyarrow.types.is_nested(field.type):
            raise InputError(
                f"{path}: column {field.name!r} holds {field.type}, not text or numbers; write each cell as one text, "
                "with blanks between its values"
            )


def _read_csv(file: BinaryFile, path: str | PathLike[str], **options: object) -> pd.DataFrame:
    """Let pandas parse CSV or TSV as text; the separator is a tab when the header line has one."""
    start = file.peek(1 << 16)
    if not start.strip():
        raise InputError(f"{path}: the file is empty; give a table with a header row")
    header = start.splitlines()[0]
    if b"\0" in start:
        raise InputError(f"{path}: this is no text; give CSV, TSV, Parquet, FASTA or FASTQ")
    separator = "\t" if b"\t" in header else ","
    try:
        frame = pd.read_csv(
            file, sep=separator, dtype=object, keep_default_na=False, encoding="utf-8-sig", low_memory=False, **options
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: not a well-formed table ({text}); mend that row or write the file again") from error
    if len(frame) and not isinstance(frame.index, pd.RangeIndex):  # pandas took the first column for an index
        raise InputError(f"{path}: not a well-formed table (rows have more cells than the header); mend its header")
    return frame.fillna("")  # cells that a short row lacks


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


def _some(names: Sequence[str], most: int = 8) -> str:
    """List the first few names."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")
