"""Labelled sequences in memory: letters, labels, tracks and pairs, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..io.text_tables import list_names
from ..sequence import LETTER_CODE
from .columns import Columns
from .task import ProblemType, Task

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class LabelledSequences:
    """Sequences with their labels, pairs and tracks, row by row.

    Attributes:
        source: path of the file, for error messages.
        ids: names of the sequences, (rows,); unique unless the sequences were read to be scored only.
        sequences: uint8 letters, one array (nt,) for each row.
        labels: class numbers, int64 (rows,); or values to regress on, float64 (rows,); or several labels or targets,
            float64 (rows, labels), NaN for a missing one; None without labels per sequence.
        label_names: class names in the order of the class numbers, or names of several labels or targets; None for one
            unnamed value, and without labels.
        problem_type: kind of labels, in transformers' words. None stands for one class out of several if there are
            ``label_names``, and for one value if there are none.
        nt_labels: class numbers, int64 (nt,) for each row, -100 for a nucleotide without a label.
        pairs: the second sequence of each row, in the form of ``sequences``.
        tracks: numbers that belong to a whole sequence, float32 (rows, tracks), NaN for a missing number.
        track_names: names of ``tracks``, (tracks,).
        nt_tracks: signals, float32 (nt, signals) for each row, NaN for a missing number.
        nt_track_names: names of ``nt_tracks``, (signals,).
        label_column: name of the column of one label per sequence or nucleotide, for messages; None if labels are in
            headers.
        groups: the group of each row, (rows,); rows of one group stay together if the table is split.
        file_rows: the place of each row among the sequences of the file, from 0, int64 (rows,); None if these are all
            sequences of the file, in its order. Messages name rows by it, see `file_row`.
    """

    source: str
    ids: list[str]
    sequences: list[np.ndarray]
    labels: np.ndarray | None = None
    label_names: list[str] | None = None
    problem_type: ProblemType | None = None
    nt_labels: list[np.ndarray] | None = None
    pairs: list[np.ndarray] | None = None
    tracks: np.ndarray | None = None
    track_names: list[str] | None = None
    nt_tracks: list[np.ndarray] | None = None
    nt_track_names: list[str] | None = None
    label_column: str | None = None
    groups: list[str] | None = None
    file_rows: np.ndarray | None = None

    @classmethod
    def from_dataset(
        cls,
        dataset: datasets.Dataset,
        columns: Columns = Columns(),  # noqa: B008 (immutable)
        **options: Any,
    ) -> LabelledSequences:
        """Read a `datasets.Dataset`, with the same checks as a table; error messages call it "dataset".

        The numbers of a `ClassLabel` become class names. Labels and signals per nucleotide may be lists.

        Args:
            dataset: one row per sequence.
            columns: names of the columns.
            options: further arguments of `read_labelled`.

        Raises:
            InputError: naming row and column, and what to do.
        """
        from .tables import read_labelled  # which imports this module

        return read_labelled(dataset, columns, **options)

    def to_dataset(self) -> datasets.Dataset:
        """Return a `datasets.Dataset` with a row for each sequence.

        The dataset has the columns ``id`` and ``sequence`` and, if the sequences have labels, pairs or tracks:
        ``label`` (a `ClassLabel` or a number), ``nt_labels`` (lists of class names, "." for none), ``pair``, and one
        column with its own name for each of several labels, each track (numbers) and each signal (lists of numbers).
        Missing numbers are None.
        """
        from .datasets import as_dataset  # which imports a module that imports this one

        return as_dataset(self)

    @property
    def task(self) -> Task:
        """The task that a model can learn from the sequences."""
        return Task(
            self.problem,
            self.label_names,
            "sequence" if self.nt_labels is None else "nt",
            self.pairs is not None,
            self.track_names,
            self.nt_track_names,
            self.source,
        )

    @property
    def problem(self) -> ProblemType:
        """The kind of labels, in transformers' words."""
        return self.problem_type or ("single_label_classification" if self.label_names else "regression")

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> LabelledSequences:
        """Return the examples of some rows.

        Args:
            rows: indices of the rows.
        """
        chosen = np.asarray(list(rows), np.int64)
        columns: dict[str, Any] = {"file_rows": chosen if self.file_rows is None else self.file_rows[chosen]}
        for name in ("ids", "sequences", "nt_labels", "pairs", "nt_tracks", "groups"):
            column = getattr(self, name)
            columns[name] = None if column is None else [column[row] for row in rows]
        for name in ("labels", "tracks"):
            column = getattr(self, name)
            columns[name] = None if column is None else column[list(rows)]
        return replace(self, **columns)

    def file_row(self, row: int) -> int:
        """Return the place of a row among the sequences of the file, from 0, also if rows of the file were left out."""
        return int(row if self.file_rows is None else self.file_rows[row])

    @property
    def known_labels(self) -> np.ndarray:
        """The labels of the sequences, for code that needs labels.

        Raises:
            InputError: if the sequences have no labels.
        """
        if self.labels is None:
            raise InputError(f"{self.source}: the sequences have no labels")
        return self.labels


def rows_with_known_kmers(examples: LabelledSequences, k: int) -> list[int]:
    """List the rows whose sequence, or both sequences of a pair, have a k-mer of A, C, G and T only, at any stride.

    Args:
        examples: sequences or pairs.
        k: size of the k-mers, in nt.
    """
    columns = [examples.sequences] if examples.pairs is None else [examples.sequences, examples.pairs]
    return [row for row, of_row in enumerate(zip(*columns, strict=True)) if all(has_known_kmer(x, k) for x in of_row)]


def has_known_kmer(letters: np.ndarray, k: int) -> bool:
    """Return whether a sequence has a k-mer of A, C, G and T only, at any stride.

    Args:
        letters: uint8 (nt,).
        k: size of the k-mers, in nt.
    """
    unknown = np.flatnonzero(LETTER_CODE[letters] > 3)
    # The ends count as unknown letters. Between two of them that are d apart lie d - 1 known letters.
    return bool(np.diff(unknown, prepend=-1, append=len(letters)).max() > k)


def check_classes(train: LabelledSequences, other: LabelledSequences) -> None:
    """Check that two splits have the same classes, at least two of them, and that both have a row of every class.

    If nucleotides have the labels, only the number of classes is checked.

    Args:
        train: the training sequences.
        other: sequences of another split.

    Raises:
        InputError: naming the file, and the missing class or both lists of classes.
    """
    labelled = train.labels is not None or train.nt_labels is not None
    if not train.task.is_classification or not labelled or train.label_names is None:
        return
    if len(train.label_names) < 2:
        raise InputError(
            f"{train.source}: only one class, {train.label_names[0]!r}; a classifier needs two, so add rows of another"
        )
    if train.nt_labels is not None:
        return
    if other.labels is None or other.label_names != train.label_names:
        raise InputError(
            f"{other.source}: its classes {list_names(other.label_names or [])} differ from "
            f"{list_names(train.label_names)} in {train.source}; both files must be labelled with the same classes"
        )
    numbers = all(name.removeprefix("-").replace(".", "", 1).isdecimal() for name in train.label_names)
    values = "; if the labels are values, set data.regression true" if numbers and len(train.label_names) > 2 else ""
    for table in (train, other):
        counts = np.bincount(table.known_labels, minlength=len(train.label_names))
        for label in np.flatnonzero(counts == 0):
            raise InputError(
                f"{table.source}: no row of class {train.label_names[label]!r}; scores would mean nothing, "
                "so split again, with every class on every side (rows without a k-mer of A, C, G and T only do "
                f"not count){values}"
            )
