"""Name the columns of a table of labelled sequences, and choose the columns that a task needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from .task import VALUE, Task


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table.

    Args:
        sequence: column with the DNA.
        label: column with one label per sequence: a class or a value. In a store it is a column of the metadata. If
            there is no column "label", "class" is used instead, and the other way round.
        id: column with a unique name for each sequence; without it, rows are numbered from 1.
        labels: instead of `label`, several columns of yes/no labels (0, 1, or empty if not measured), or of values to
            regress on.
        nt_labels: instead of `label`, column with one label per nucleotide: a text with one letter for each, or words
            separated by blanks or commas; "." for a nucleotide without a label.
        pair: column with the second sequence of each pair.
        tracks: columns with one number per sequence; a cell is empty if its number is missing.
        nt_tracks: columns of signals, with one number per nucleotide: numbers separated by blanks or commas, or a text
            with one digit for each; "." for a missing number, an empty cell if all are missing.
        group: column with the group of each row, such as its chromosome, species or patient; the rows of a group stay
            in one split if `finetune` splits the table, and are drawn together for the intervals of scores.
        header: whether the first row of a table holds the names of its columns; if not (false), columns are named by
            their numbers: 1 for the first one.

    Raises:
        InputError: if `labels` and `nt_labels` are both set, a list names a column twice, or a track is also the label.
    """

    sequence: str = "sequence"
    label: str = "label"
    id: str | None = None
    labels: list[str] | None = None
    nt_labels: str | None = None
    pair: str | None = None
    tracks: list[str] | None = None
    nt_tracks: list[str] | None = None
    group: str | None = None
    header: bool = True

    def __post_init__(self) -> None:
        """Check that the columns do not contradict each other."""
        if self.labels and self.nt_labels:
            raise InputError("columns.labels and columns.nt_labels are two kinds of labels; name one of them")
        for key in ("labels", "tracks", "nt_tracks"):
            names = getattr(self, key) or []
            if repeated := next((name for name in names if names.count(name) > 1), None):
                raise InputError(f"columns.{key} names {repeated!r} twice; name each column once")
        answers = self.labels or [self.nt_labels or self.label]
        for key in ("tracks", "nt_tracks"):
            if shared := next((name for name in getattr(self, key) or [] if name in answers), None):
                raise InputError(
                    f"columns.{key} names {shared!r}, which holds the labels: the model would read what it is to "
                    "predict; name another column"
                )

    def beside(self) -> list[str]:
        """List the columns that sequence files and stores cannot have: several labels, nt labels, pairs and tracks."""
        single = [column for column in (self.nt_labels, self.pair) if column]
        return [*(self.labels or []), *single, *(self.tracks or []), *(self.nt_tracks or [])]


def match_columns(columns: Columns, task: Task) -> Columns:
    """Return the columns that a task needs: the columns that the user named, otherwise columns with the task's names.

    Args:
        columns: the columns that the user named.
        task: task of the model, or of the training table.

    Raises:
        InputError: if the user named too few or too many columns for the task, or a kind of column that it does not
            take; or if the task needs a column for which it has no name.
    """
    label_names = task.names if task.labels_by_column else None
    chosen: dict[str, Any] = {}
    # The columns may have other names than in the training table, so only their order shows which is which.
    for key, names in (("labels", label_names), ("tracks", task.track_names), ("nt_tracks", task.nt_track_names)):
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


def check_task(task: Task) -> None:
    """Check that a model can be fine-tuned for a task.

    Args:
        task: what the model predicts, and from which inputs.

    Raises:
        InputError: if no model reads this combination of inputs, or the only column of a regression has the name that
            is reserved for an unnamed value.
    """
    if task.paired and task.level == "nt":
        raise InputError("data.columns.nt_labels: labels per nucleotide need single sequences; omit data.columns.pair")
    if task.problem_type == "regression" and task.names == [VALUE]:
        raise InputError(
            f"data.columns.labels names only {VALUE!r}; set data.columns.label to it, or rename the column"
        )
    if task.paired and task.nt_track_names:
        raise InputError(
            "data.columns.nt_tracks: signals per nucleotide need single sequences; omit them or data.columns.pair"
        )
    if task.level == "nt" and (task.track_names or task.nt_track_names):
        raise InputError(
            "data.columns.nt_labels: labels per nucleotide are learnt from the sequence only; omit "
            "data.columns.tracks and data.columns.nt_tracks"
        )
