"""Read labelled sequences from tables, sequence files and datasets, and reject invalid rows.

A table is opened and parsed once, into one pandas frame of text with the columns that are needed; sequences, labels,
pairs and tracks are all read from that frame.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import InputError, keep_secret
from ..io.cells import with_decimal_points
from ..io.files import input_errors, open_binary, shorten
from ..io.text_tables import (
    MISSING,
    kind_of,
    kind_of_open,
    like_column,
    log_headings,
    missing_column,
    read_text_columns,
    text_frames,
)
from ..sequence import as_letters
from ..sequence_files.fasta import check_length, clean_letters, letter_error, read_records, read_unchecked_records
from .columns import Columns, check_task
from .datasets import Source, dataset_frame, dataset_frames, source_name
from .labels import are_values, check_columns, number_columns, read_labels, read_several
from .nucleotides import nt_labels, nt_signals
from .sequences import LabelledSequences, check_classes
from .task import Task

logger = logging.getLogger(__name__)

_HEADER_LABEL = re.compile(r"(?:^|\s)label=(\S+)")
_FRAME_LETTERS = 1 << 22  # letters of text in one frame, if a table is read frame by frame


class _Rules(NamedTuple):
    """Rules for reading the rows of a file.

    Attributes:
        columns: names of the columns.
        label: column with one label per sequence, as the user named it; where a table has been opened, the column that
            was found for it ("class" for "label"). None if it is not read.
        names: classes of the training table or of the model; None accepts any classes.
        regression: whether labels are values; None decides by their texts.
        require_labels: whether labels of any kind are read.
        rna: read U as T.
        min_length: shortest sequence allowed, in nt.
        checked: whether letters, lengths and ids are checked; if not, the caller judges each row.
    """

    columns: Columns
    label: str | None
    names: Sequence[str] | None = None
    regression: bool | None = None
    require_labels: bool = True
    rna: bool = False
    min_length: int = 1
    checked: bool = True

    def other_columns(self) -> list[str]:
        """List the columns to read in addition to the sequence, the id and the label per sequence."""
        # `beside`: several labels, labels per nucleotide, pairs and tracks.
        if self.require_labels:
            return [*self.columns.beside(), *([self.columns.group] if self.columns.group else [])]
        labels = [*(self.columns.labels or []), self.columns.nt_labels]
        return [column for column in self.columns.beside() if column not in labels]


def read_labelled(
    source: Source,
    columns: Columns = Columns(),  # noqa: B008 (immutable)
    *,
    task: Task | None = None,
    require_labels: bool = True,
    regression: bool | None = None,
    rna: bool = False,
    min_length: int = 1,
    checked: bool = True,
) -> LabelledSequences:
    """Read labelled sequences with their pairs and tracks.

    Labels that are whole numbers or words are classes (sorted, whole numbers by value); labels with decimals are values
    to regress on; labels that may be either are rejected unless ``regression`` is set. In a sequence file the header of
    a record holds its label, as ``label=NAME``.

    Args:
        source: CSV, TSV or Parquet file, or a `datasets.Dataset`; also a FASTA, FASTQ, GenBank or 2bit file, if nothing
            but sequences and one label for each are read. The kind of a file is recognised by its content.
        columns: names of the columns.
        task: task of the training table or of the model; the examples must have the same classes and kind of labels.
        require_labels: if False, no labels are read (for prediction).
        regression: labels are values (True) or classes (False); None decides by the task or, without a task, by the
            labels.
        rna: read U as T.
        min_length: shortest sequence allowed, in nt.
        checked: check letters, lengths and names. If False, the caller judges each sequence: it may be empty or have
            letters that are not nucleotides, and its name may be missing or repeated. Labels are checked in any case.

    Raises:
        InputError: naming file, row (data rows are counted from 1, below the header) or record, and what to do.
    """
    rules = _rules(columns, task, require_labels, regression, rna, min_length)._replace(checked=checked)
    name, choose = source_name(source), _choice(rules, source_name(source))
    if not isinstance(source, str | PathLike):
        return _from_frame(dataset_frame(source, choose), name, rules)
    with input_errors(source), open_binary(source) as file:
        if kind_of_open(file) != "sequences":
            [frame] = text_frames(file, source, choose, header=columns.header)  # one, because its size has no limit
            return _from_frame(frame, name, rules)
    return _from_records(source, rules)


def iterate_unlabelled(
    source: Source,
    columns: Columns,
    *,
    rna: bool = False,
    watch: Callable[[memoryview], object] | None = None,
) -> Iterator[LabelledSequences]:
    """Iterate over a table without its labels, some rows at a time; the caller judges letters and lengths.

    Sequences may be empty, and have letters that are not nucleotides; ids may be missing or repeated.

    Args:
        source: as in `read_labelled`, but not a sequence file.
        columns: as in `read_labelled`; columns of labels are not read.
        rna: as in `read_labelled`.
        watch: function that is called with all bytes read from the file, for a progress bar.

    Raises:
        InputError: as in `read_labelled`, but not for a sequence or an id.
    """
    rules = _rules(columns, None, False, None, rna, 1)._replace(checked=False)
    name, choose = source_name(source), _choice(rules, source_name(source))
    first = 1
    if not isinstance(source, str | PathLike):
        for frame in dataset_frames(source, choose):
            yield _from_frame(frame, name, rules, first)
            first += len(frame)
        return
    kind = kind_of(source)
    if kind == "sequences":
        raise _no_columns(name, rules)
    if kind in ("parquet", "excel"):
        watch = None  # such a file is not read from beginning to end, so the bytes read do not show the progress
    with input_errors(source), open_binary(source, watch) as file:
        for frame in text_frames(file, source, choose, _FRAME_LETTERS, header=columns.header):
            yield _from_frame(frame, name, rules, first)
            first += len(frame)


def table_problems(
    path: str | PathLike[str],
    first: InputError,
    columns: Columns,
    *,
    task: Task | None = None,
    regression: bool | None = None,
    rna: bool = False,
    min_length: int = 1,
) -> list[InputError]:
    """List the errors of all rows that `read_labelled` rejects in a table, for bad sequences and labels per sequence.

    Args:
        path: the table.
        first: the error that `read_labelled` raised; the only one in the list if the columns cannot be read.
        columns: as given to `read_labelled`.
        task: as given to `read_labelled`.
        regression: as given to `read_labelled`.
        rna: as given to `read_labelled`.
        min_length: as given to `read_labelled`.
    """
    rules = _rules(columns, task, True, regression, rna, min_length)
    try:
        wanted = [rules.label] if rules.label else []
        frame = read_text_columns(path, [columns.sequence], wanted, header=columns.header)
    except InputError:
        return [first]
    problems = {str(first): first}  # by message, because the loop below meets the first error again
    columns_read = {str(name): frame[name].str.strip().tolist() for name in frame}
    _read_decimal_commas(columns_read, str(path), rules, log=False)
    texts = columns_read.get(rules.label or "")
    if rules.regression is None and texts is not None:  # decided by all labels, because one alone may look like both
        rules = rules._replace(regression=_look_like_values(texts))
    for index, (cell, row) in enumerate(zip(frame[columns.sequence].str.strip(), _rows(str(path), frame), strict=True)):
        try:
            _sequences([cell], [row], rules)
        except InputError as error:
            problems.setdefault(str(error), error)
        try:
            if texts is not None:
                read_labels([texts[index]], [row], _remedy(rules.label), rules.names, rules.regression)
        except InputError as error:
            problems.setdefault(str(error), error)
    return list(problems.values())


def check_split(examples: LabelledSequences, training: LabelledSequences | None = None) -> None:
    """Check the rows of a split as a whole: its columns, its classes, and whether a model can be fine-tuned on them.

    These are the rules of `finetune`, and `check` calls them, too.

    Args:
        examples: the rows of the split.
        training: the training rows, with which a validation or test split must agree; None for the training rows
            themselves.

    Raises:
        InputError: naming the file, and the column or class.
    """
    if training is None:
        check_columns(examples)
        check_task(examples.task)
    check_classes(training or examples, examples)


def header_label(description: str) -> str:
    """Return the label in the header of a record, which is written as ``label=NAME``; "" if there is none."""
    match = _HEADER_LABEL.search(description)
    return match[1] if match else ""


def _look_like_values(texts: list[str]) -> bool:
    """Return whether labels are values; labels that may be either count as classes, which any text can be."""
    texts = [text.strip() for text in texts]
    try:
        return are_values(texts, places=texts)  # the places are for the error message, which nobody will see
    except InputError:
        return False


def label_or_class(column: str, columns: Iterable[str], source: str) -> str:
    """Return the column to read labels from: "class" if a column "label" is missing, and the other way round.

    Args:
        column: name of the column that the user gave.
        columns: names of all columns.
        source: path of the file, for the log.

    >>> label_or_class("label", ["accession", "class"], "genomes.tsv")
    'class'
    """
    found = _label_or_class(column, columns)
    if found != column:
        logger.info("%s: no column %r, so labels are taken from %r", source, column, found)
    return found


def _label_or_class(column: str, columns: Iterable[str]) -> str:
    """Return the column that `label_or_class` returns, without a log message."""
    columns = list(columns)
    other = {"label": "class", "class": "label"}.get(column, column)
    if like_column(column, columns) in columns or like_column(other, columns) not in columns:
        return column
    return like_column(other, columns)


def _rules(
    columns: Columns, task: Task | None, require_labels: bool, regression: bool | None, rna: bool, min_length: int
) -> _Rules:
    """Build the rules for reading rows; if the user did not set the kind of labels, the task decides."""
    if regression is None and task is not None:
        regression = task.problem_type == "regression"
    label = columns.label if require_labels and not (columns.labels or columns.nt_labels) else None
    return _Rules(columns, label, None if task is None else task.names, regression, require_labels, rna, min_length)


def _choice(rules: _Rules, source: str) -> Callable[[list[str]], list[str]]:
    """Build the function that chooses the columns to read, given the names of all columns."""

    def choose(present: list[str]) -> list[str]:
        label = rules.label and label_or_class(rules.label, present, source)
        if label in (*(rules.columns.tracks or []), *(rules.columns.nt_tracks or [])):
            raise InputError(
                f"{source}: column {label!r} holds the labels and is read as a track, too: the model would read what "
                "it is to predict; name another column"
            )
        taken = _taken_columns(present, rules._replace(label=label))
        _check_spelling(source, present, rules._replace(label=label), taken)
        for column in taken:
            if column not in present:
                raise _no_column(source, column, present, rules.columns.header)
        log_headings(source, taken)
        return list(taken)

    return choose


def _taken_columns(present: Iterable[str], rules: _Rules) -> dict[str, str]:
    """Return the columns of a table that are read, each with the name by which it was asked for; see `like_column`."""
    present = list(present)
    return {like_column(name, present): name for name in _asked_names(rules)}


def _asked_names(rules: _Rules) -> list[str]:
    """List the names of columns that the user asked for."""
    names = [rules.columns.sequence, rules.label, rules.columns.id, *rules.other_columns()]
    return [name for name in names if name is not None]


def _check_spelling(source: str, present: list[str], rules: _Rules, taken: dict[str, str]) -> None:
    """Raise InputError if the user asked for one column by two names, such as "Label" and "label"."""
    for name in _asked_names(rules):
        column = like_column(name, present)
        if taken[column] != name:
            raise InputError(
                f"{source}: column {column!r} is asked for as {name!r} and as {taken[column]!r}; write its name the "
                "same way each time, or name another column"
            )


def _no_column(source: str, column: str, present: list[str], header: bool) -> InputError:
    """Build the error for a column that a table does not have, also if its columns are to be named by number."""
    error = missing_column(source, column, present)
    if not header:
        return InputError(f"{error}; without a header, name columns by number: columns.sequence 1, columns.label 2")
    if "first line holds data" in str(error):  # what `missing_column` suspects
        ways = "set columns.header false, and columns.sequence, columns.label ... to the numbers of columns, from 1"
        return InputError(f"{error}, or {ways}")
    if column in ("sequence", "label"):  # the names that are read unless others are given
        return InputError(f"{error}; name it by columns.{column}")
    return error


def _from_frame(frame: pd.DataFrame, source: str, rules: _Rules, first: int = 1) -> LabelledSequences:
    """Read examples from a frame of text.

    Args:
        frame: the chosen columns, every cell as text.
        source: path of the file, for error messages.
        rules: how to read the rows.
        first: number of the frame's first row in the table, counted from 1.
    """
    columns, rows = rules.columns, _rows(source, frame, first)
    if rules.label is not None:
        rules = rules._replace(label=_label_or_class(rules.label, frame))
    frame = frame.rename(columns=_taken_columns(frame, rules))
    texts = {column: frame[column].str.strip().tolist() for column in frame}
    _read_decimal_commas(texts, source, rules, log=first == 1)
    ids = _ids(frame, columns.id, rows, first, checked=rules.checked)
    table = LabelledSequences(source, ids, _sequences(texts[columns.sequence], rows, rules))
    found: dict[str, Any] = {}  # fields of the examples
    if rules.label is not None:
        label = rules.label
        labels = read_labels(texts[label], rows, _remedy(label), rules.names, rules.regression, label)
        found["labels"], found["label_names"] = labels
        found["label_column"] = label
    elif columns.labels and rules.require_labels:
        found["labels"], found["problem_type"] = read_several(texts, columns.labels, rules.regression, source)
        found["label_names"] = list(columns.labels)
    elif columns.nt_labels and rules.require_labels:
        labels_of_rows = nt_labels(texts[columns.nt_labels], table, columns.nt_labels, rules.names)
        found["nt_labels"], found["label_names"] = labels_of_rows
        found["label_column"] = columns.nt_labels
    if columns.group and rules.require_labels:
        found["groups"] = _groups(texts[columns.group], rows, columns.group)
    if columns.pair:
        found["pairs"] = _pairs(texts[columns.pair], rows, rules)
    if columns.tracks:
        found["track_names"] = list(columns.tracks)
        found["tracks"] = number_columns(texts, columns.tracks, source).astype(np.float32)
    if columns.nt_tracks:
        found["nt_track_names"] = list(columns.nt_tracks)
        signals = [nt_signals(texts[name], table, name) for name in columns.nt_tracks]
        found["nt_tracks"] = [np.stack(of_row, 1) for of_row in zip(*signals, strict=True)]
    return replace(table, **found)


def _read_decimal_commas(texts: dict[str, list[str]], source: str, rules: _Rules, *, log: bool) -> None:
    """Replace decimal commas by decimal points, in columns that may hold numbers.

    Args:
        texts: column -> texts of its rows; changed in place.
        source: path of the file, for the log.
        rules: how to read the rows.
        log: whether to log which columns have decimal commas.
    """
    may_be_value = rules.regression or (rules.regression is None and rules.names is None)
    label = [rules.label] if may_be_value else []  # otherwise a word, which may hold a comma
    for column in (*label, *(rules.columns.labels or []), *(rules.columns.tracks or [])):
        if column in texts and (points := with_decimal_points(texts[column], MISSING)):
            texts[column] = [points.get(text, text) for text in texts[column]]
            if log:
                logger.info("%s: numbers in column %r have decimal commas, which are read as points", source, column)


def _from_records(path: str | PathLike[str], rules: _Rules) -> LabelledSequences:
    """Read examples from a sequence file; labels are in the headers of its records."""
    if rules.other_columns():
        raise _no_columns(str(path), rules)
    if rules.checked:
        records = list(read_records(path, rna=rules.rna, min_length=rules.min_length))
    else:
        records = list(read_unchecked_records(path, rna=rules.rna))
    table = LabelledSequences(str(path), [one.name for one in records], [one.letters for one in records])
    if rules.label is None:
        return table
    texts = [header_label(record.description) for record in records]
    rows = [f"{path}: record {number} ({shorten(record.name)})" for number, record in enumerate(records, start=1)]
    remedy = "write label=NAME into its header"
    labels, names = read_labels(texts, rows, remedy, rules.names, rules.regression)
    return replace(table, labels=labels, label_names=names)


def _no_columns(source: str, rules: _Rules) -> InputError:
    """Build the error for a sequence file where a table is needed."""
    needed = ", ".join(map(repr, rules.other_columns()))
    return InputError(
        f"{source}: a sequence file has no columns, but {needed} must be read; give a CSV, TSV or Parquet table"
    )


def _rows(source: str, frame: pd.DataFrame, first: int = 1) -> list[str]:
    """Return file and number of each row of a frame, for error messages."""
    return [f"{source}: data row {number}" for number in range(first, first + len(frame))]


def _remedy(column: str | None) -> str:
    """Return what to do about a missing label."""
    return f"fill in column {column!r} or drop the row"


def _ids(frame: pd.DataFrame, column: str | None, rows: list[str], first: int, *, checked: bool) -> list[str]:
    """Return the ids in a column, or row numbers if there is no column; check that none is empty or used twice."""
    if column is None:
        return [str(number) for number in range(first, first + len(frame))]
    ids = frame[column].tolist()
    keep_secret(ids)  # a private run shows no names of records
    if not checked:
        return ids
    seen: dict[str, int] = {}
    for number, (name, row) in enumerate(zip(ids, rows, strict=True), start=first):
        if not name:
            raise InputError(f"{row}: no id in column {column!r}; fill it in")
        if name in seen:
            raise InputError(f"{row}: row {seen[name]} has the same id {shorten(name)}; make the ids unique")
        seen[name] = number
    return ids


def _groups(texts: list[str], rows: list[str], column: str) -> list[str]:
    """Return the group of each row; raise InputError for a missing one: all such rows would form one group."""
    keep_secret(texts)
    for text, row in zip(texts, rows, strict=True):
        if text.lower() in MISSING:
            raise InputError(f"{row}: no group in column {column!r}{f' ({text})' if text else ''}; fill it in")
    return texts


def _sequences(texts: list[str], rows: list[str], rules: _Rules) -> list[np.ndarray]:
    """Return the letters of each sequence, uint8 (nt,); raise InputError for a wrong letter or a short sequence."""
    texts = [join_kmers(text) if " " in text else text for text in texts]
    if not rules.checked:
        as_dna = str.maketrans("Uu", "Tt")
        return [as_letters(text.translate(as_dna) if rules.rna else text) for text in texts]
    # The texts are joined, checked in one pass and split again, which is quicker than one by one if they are short.
    letters = clean_letters(as_letters("".join(texts)), rules.rna)
    ends = np.cumsum([len(text) for text in texts])
    if not letters.all():
        index = int(letters.argmin())  # the first letter that is not a nucleotide: `clean_letters` made it 0
        row = int(np.searchsorted(ends, index, side="right"))
        start = int(ends[row]) - len(texts[row])
        raise InputError(f"{rows[row]}, {cell_letter_error(texts[row], index - start)}")
    for text, row_name in zip(texts, rows, strict=True):
        if len(text) < max(1, rules.min_length):
            check_length(len(text), row_name, rules.min_length)
    return np.split(letters, ends[:-1])


def _pairs(texts: list[str], rows: list[str], rules: _Rules) -> list[np.ndarray]:
    """Return the letters of the second sequences; an error names their column too."""
    try:
        return _sequences(texts, rows, rules)
    except InputError as error:
        raise InputError(f"{error} (column {rules.columns.pair!r})") from error


def join_kmers(text: str) -> str:
    """Return the sequence that overlapping k-mers spell, as in DNABERT's files; any other text stays as it is.

    >>> join_kmers("ACG CGT GTA"), join_kmers("ACG TTT")
    ('ACGTA', 'ACG TTT')
    """
    words = text.split()
    k = len(words[0]) if len(words) > 1 else 0
    if k < 2 or any(len(word) != k for word in words) or any(one[1:] != two[:-1] for one, two in pairwise(words)):
        return text
    return words[0] + "".join(word[-1] for word in words[1:])


def cell_letter_error(text: str, index: int, start: int = 0) -> str:
    """Return the end of an error message for a bad letter.

    A blank between words of one length, as in "ACG TTT", is probably not a bad letter of a sequence: the text is one of
    k-mers that do not overlap, which `join_kmers` has left as it is.

    Args:
        text: letters of a sequence, or of a stretch of it.
        index: index of the letter in ``text``.
        start: position of ``text`` in the sequence, 0-based.
    """
    words = text.split()
    k = len(words[0]) if words else 0
    whole = words[:-1] if len(words) > 2 else words  # the last word may be cut off at the end of the stretch
    if text[index] == " " and 1 < k <= 8 and {len(word) for word in whole} == {k}:
        return (
            f"position {start + index + 1}: {shorten(text, 30)} is {k}-mer text, but not every word begins with the "
            f"last {k - 1} letters of the word before it, as in DNABERT's files; give the sequence instead"
        )
    return str(letter_error(text[index], start + index + 1, "")).removeprefix(", ")
