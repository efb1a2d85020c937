"""Describe what a model learns from labelled sequences: the kind and names of the labels, and the inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

#: Name in a configuration for the only output of a model that predicts one unnamed value.
VALUE = "value"
ProblemType: TypeAlias = Literal["single_label_classification", "multi_label_classification", "regression"]


@dataclass(frozen=True)
class Task:
    """What a model predicts, and from which inputs. Training sequences and fine-tuned models have a task.

    Two tasks are equal if they have the same labels and inputs: ``positive``, ``threshold`` and ``source`` are not
    compared.

    Attributes:
        problem_type: the kind of labels, by the name that transformers gives it.
        names: names of the classes, labels or targets in the order of the model's outputs; None for one unnamed value.
        level: one label per "sequence", or one per nucleotide ("nt").
        paired: whether an example is a pair of sequences.
        track_names: names of the numbers that belong to a whole sequence; None if there are none.
        nt_track_names: names of the signals, which have one number per nucleotide; None if there are none.
        positive: of two classes, the one that F1 and AUPRC refer to; None if it is not known or there are not two
            classes.
        threshold: of two classes, the lowest probability at which one of them is predicted, and its id: with (0.3, 1),
            class 1 is predicted from 30 % on. None if the more probable class is predicted.
        source: path of the file or name of the model that sets the task, for error messages.

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
    positive: str | None = field(default=None, compare=False)
    threshold: tuple[float, int] | None = field(default=None, compare=False)

    @property
    def is_classification(self) -> bool:
        """Whether each sequence, or each nucleotide, belongs to one class out of several."""
        return self.problem_type == "single_label_classification"

    @property
    def labels_by_column(self) -> bool:
        """Whether a table has one column for each name: several labels, or named targets."""
        return not self.is_classification and bool(self.names)

    @property
    def num_labels(self) -> int:
        """Number of a model's outputs for this task."""
        return len(self.names or [None])  # one output for one unnamed value
