"""Read labels and signals per nucleotide from the cells of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..io.cells import as_number
from ..io.files import shorten
from ..io.text_tables import MISSING
from ..sequence import IGNORE_INDEX
from .labels import class_order, place_of
from .sequences import LabelledSequences

NO_LABEL = "."
_SEPARATORS = re.compile(r"[\s,;]+")


def nt_labels(
    texts: list[str], table: LabelledSequences, column: str, names: Sequence[str] | None
) -> tuple[list[np.ndarray], list[str]]:
    """Read labels per nucleotide, and the names of the classes.

    Args:
        texts: the cells of the column.
        table: the sequences of the same rows.
        column: name of the column, for error messages.
        names: classes of the training table; any other class is an error. None collects the classes from the cells.

    Returns:
        Class numbers, int64 (nt,) for each row, -100 for a nucleotide without a label; and the class names.

    Raises:
        InputError: naming file, row and column, if a cell does not hold one label per nucleotide, or holds an unknown
            class, or a word such as NA, which would become a class; naming file and column, if no nucleotide has a
            label.
    """
    entries = [_split(text) for text in texts]
    for row, (found, letters) in enumerate(zip(entries, table.sequences, strict=True)):
        _check_length(len(found), len(letters), "labels", table, row, column)
    if names is None:
        for row, found in enumerate(entries):
            _check_words(found, table, row, column)
        names = class_order({str(name) for found in entries for name in np.unique(found)} - {NO_LABEL})
    number = {name: index for index, name in enumerate(names)} | {NO_LABEL: IGNORE_INDEX}
    labels = []
    for row, found in enumerate(entries):
        # A sequence has few distinct labels: look up the number of each of them once, then copy it to all nucleotides
        # with that label.
        distinct, inverse = np.unique(found, return_inverse=True)
        for name in distinct:
            if str(name) not in number:
                raise InputError(
                    f"{place_of(table.source, row, column)}: unknown label {str(name)!r}; the classes are "
                    f'{list(names)}, and "{NO_LABEL}" means none: correct it, or '
                    "add sequences with this class to the training table"
                )
        labels.append(np.array([number[str(name)] for name in distinct], np.int64)[inverse])
    if all((of_row == IGNORE_INDEX).all() for of_row in labels):
        raise InputError(f'{table.source}: column {column!r} has no label but "{NO_LABEL}" in any row; fill in some')
    return labels, list(names)


def nt_signals(texts: list[str], table: LabelledSequences, column: str) -> list[np.ndarray]:
    """Read a signal: one number per nucleotide.

    Args:
        texts: the cells of the column.
        table: the sequences of the same rows.
        column: name of the column, for error messages.

    Returns:
        float32 (nt,) for each row, NaN for a missing number.

    Raises:
        InputError: naming file, row and column, if a cell does not hold one number per nucleotide.
    """
    return [
        _signal(text, table, row, len(letters), column)
        for row, (text, letters) in enumerate(zip(texts, table.sequences, strict=True))
    ]


def _signal(text: str, table: LabelledSequences, row: int, length: int, column: str) -> np.ndarray:
    """Read the signal of one row, float32 (nt,)."""
    if text.lower() in MISSING:
        return np.full(length, np.nan, np.float32)
    found = _split(text)
    _check_length(len(found), length, "values", table, row, column)
    distinct, inverse = np.unique(found, return_inverse=True)
    values = np.array([as_number(str(entry)) for entry in distinct], np.float32)
    for entry, value in zip(distinct, values, strict=True):
        if not np.isfinite(value) and str(entry) != NO_LABEL and str(entry).lower() not in MISSING:
            raise InputError(
                f"{place_of(table.source, row, column)}: {shorten(str(entry))} is not a finite number; give numbers "
                f'with blanks between, or one digit per nucleotide, "{NO_LABEL}" where missing'
            )
    return values[inverse]


def _split(text: str) -> np.ndarray:
    """Split a text at blanks, commas and semicolons, or into single letters if it contains none of them."""
    text = text.strip(" ,;")
    if _SEPARATORS.search(text):
        return np.array(_SEPARATORS.split(text))
    return np.array(list(text), dtype=str)


def _check_words(found: np.ndarray, table: LabelledSequences, row: int, column: str) -> None:
    """Raise InputError if a label says that it is missing, as NA does; "none" and "null" may be classes."""
    for name in map(str, np.unique(found)):
        if name.lower() in MISSING - {"none", "null"}:
            raise InputError(
                f'{place_of(table.source, row, column)}: label {name!r} would be a class; write "{NO_LABEL}" for a '
                "nucleotide without a label, or rename the class"
            )


def _check_length(found: int, length: int, what: str, table: LabelledSequences, row: int, column: str) -> None:
    """Raise InputError unless a cell holds one label or value per nucleotide."""
    if found != length:
        raise InputError(
            f"{place_of(table.source, row, column)}: {found} {what} for a sequence of {length} nt; give one per "
            f'nucleotide, "{NO_LABEL}" where there is none'
        )
