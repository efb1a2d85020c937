"""Hold labelled sequences: letters, labels, tracks and pairs, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..io.text_tables import _some
from .task import ProblemType, Task


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
    problem_type: ProblemType | None = None
    nt_labels: list[np.ndarray] | None = None
    pairs: list[np.ndarray] | None = None
    tracks: np.ndarray | None = None
    track_names: list[str] | None = None
    nt_tracks: list[np.ndarray] | None = None
    nt_track_names: list[str] | None = None

    @property
    def task(self) -> Task:
        """What can be learnt from the sequences."""
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
