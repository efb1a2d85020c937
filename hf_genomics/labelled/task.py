"""What a model learns from labelled sequences: kind of labels, their names, and the columns beside the sequence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

ProblemType: TypeAlias = Literal["single_label_classification", "multi_label_classification", "regression"]


@dataclass(frozen=True)
class Task:
    """What is predicted, and from what: shared by examples, a model, and a table to read.

    Attributes:
        problem_type: the kind of labels, in transformers' words.
        names: classes, labels or targets in the order of the model's outputs; None for one value without a name.
        level: one label per "sequence", or one per nucleotide ("nt").
        paired: whether an example is two sequences.
        track_names: numbers that belong to a whole sequence; None where there are none.
        nt_track_names: signals with one number per nucleotide; None where there are none.
        source: the file or model that sets the task, for error messages; does not count in comparisons.

    >>> Task("multi_label_classification", ["H3", "H4"]).labels_by_column, Task("regression").num_labels
    (True, 1)
    """

    problem_type: ProblemType
    names: list[str] | None = None
    level: Literal["sequence", "nt"] = "sequence"
    paired: bool = False
    track_names: list[str] | None = None
    nt_track_names: list[str] | None = None
    source: str = field(default="the model", compare=False)

    @property
    def is_classification(self) -> bool:
        """Whether each sequence, or each nucleotide, belongs to one class out of several."""
        return self.problem_type == "single_label_classification"

    @property
    def labels_by_column(self) -> bool:
        """Whether a table holds the labels in columns of the task's names: several labels, or named targets."""
        return not self.is_classification and bool(self.names)

    @property
    def num_labels(self) -> int:
        """Count the outputs of a model for this task."""
        return len(self.names or [None])
