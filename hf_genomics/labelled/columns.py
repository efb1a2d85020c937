"""The columns of a table of labelled sequences, and which of them a task needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from .task import Task


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table.

    Args:
        sequence: column with the DNA.
        label: column with one label per sequence: a class, or a value; of a store as well. "class" serves for "label"
            where the table has no "label", and the other way round.
        id: column with unique names; without it, rows are numbered from 1.
        labels: instead of `label`, columns of several yes/no labels (0, 1, empty where not measured), or of several
            values to regress on.
        nt_labels: instead of `label`, column with a label per nucleotide: a text of one letter each, or words with
            blanks or commas between them; "." where there is none.
        pair: column with the second sequence of each pair.
        tracks: columns of numbers that belong to the sequence, empty where missing.
        nt_tracks: columns of signals: one number per nucleotide with blanks or commas between them, or a text of one
            digit each; "." where missing, an empty cell where all are.

    Raises:
        InputError: if `labels` and `nt_labels` are both given, or a list names a column twice.
    """

    sequence: str = "sequence"
    label: str = "label"
    id: str | None = None
    labels: list[str] | None = None
    nt_labels: str | None = None
    pair: str | None = None
    tracks: list[str] | None = None
    nt_tracks: list[str] | None = None

    def __post_init__(self) -> None:
        """Check that the columns do not contradict each other."""
        if self.labels and self.nt_labels:
            raise InputError("columns.labels and columns.nt_labels are two kinds of labels; name one of them")
        for key in ("labels", "tracks", "nt_tracks"):
            names = getattr(self, key) or []
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise InputError(f"columns.{key} names {twice!r} twice; name each column once")

    def beside(self) -> list[str]:
        """List the columns that only a table can have: several labels, labels per nucleotide, pairs and tracks."""
        single = [column for column in (self.nt_labels, self.pair) if column]
        return [*(self.labels or []), *single, *(self.tracks or []), *(self.nt_tracks or [])]


def match_columns(columns: Columns, task: Task) -> Columns:
    """Return the columns that a task needs: those that the user named, otherwise columns of the task's own names.

    Args:
        columns: the columns that the user named.
        task: of the model, or of the training table.

    Raises:
        InputError: if columns are missing, or are more than the task has.
    """
    several = task.names if task.labels_by_column else None
    chosen: dict[str, Any] = {}
    for key, names in (("labels", several), ("tracks", task.track_names), ("nt_tracks", task.nt_track_names)):
        given = getattr(columns, key)
        if given and len(given) != len(names or []):
            takes = f"takes {len(names)}: {list(names)}" if names else "takes none"
            raise InputError(
                f"columns.{key} names {list(given)}, but {task.source} {takes}; name the same columns in that order"
            )
        chosen[key] = given or names
    needs = {"pair": (task.paired, "second sequences"), "nt_labels": (task.level == "nt", "a label per nucleotide")}
    for key, (needed, what) in needs.items():
        if needed and not getattr(columns, key):
            raise InputError(f"{task.source} takes {what}; set columns.{key}")
        if getattr(columns, key) and not needed:
            raise InputError(f"{task.source} does not take {what}; omit columns.{key}")
    return replace(columns, **chosen)
