"""Predictions of a model: in memory beside their examples, and as tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from ..io.writing import write_tsv
from ..labelled.sequences import LabelledSequences
from ..labelled.task import Task
from ..tokenization_kmer import KmerTokenizer
from .loading import task_of
from .scores import NtScores, predict_nt_scores, predict_scores

#: Columns of a table of predictions per nucleotide; `start` and `end` are 0-based and half-open, as in BED.
RUN_COLUMNS = ["id", "start", "end", "prediction", "probability"]


class Predictions(NamedTuple):
    """What a model predicts for examples in memory.

    Attributes:
        examples: the sequences, with labels where these are known.
        scores: as `predict_scores` returns them; empty of a model that classifies nucleotides.
        nt_scores: as `predict_nt_scores` returns them; empty of a model that classifies sequences.
        names: of classes, labels or targets; None for one value without a name.
    """

    examples: LabelledSequences
    scores: np.ndarray
    nt_scores: list[np.ndarray]
    names: list[str] | None

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: KmerTokenizer, examples: LabelledSequences, batch_size: int = 64
    ) -> Predictions:
        """Predict for examples.

        Args:
            model: fine-tuned model.
            tokenizer: of the model.
            examples: sequences with what the model reads beside them.
            batch_size: windows encoded at once.
        """
        task = task_of(model.config)
        if task.level == "nt":
            return cls(examples, np.zeros(0), predict_nt_scores(model, tokenizer, examples, batch_size), task.names)
        return cls(examples, predict_scores(model, tokenizer, examples, batch_size), [], task.names)

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and labels side by side; of nucleotides those that have a label, one row each."""
        if not self.nt_scores:
            return self.scores, self.examples.known_labels
        labels = np.concatenate(self.examples.nt_labels or [])
        return np.concatenate(self.nt_scores)[labels >= 0], labels[labels >= 0]

    def columns(self) -> dict[str, Any]:
        """Return the table of the predictions, column by column; see `sequence_columns` and `class_runs`."""
        if not self.nt_scores:
            lengths = [len(letters) for letters in self.examples.sequences]
            task = Task(self.examples.problem, self.names)
            return sequence_columns(task, self.examples.ids, lengths, self.scores, self.examples.labels)
        named = zip(self.examples.ids, self.nt_scores, strict=True)
        pieces = (NtScores(owner, name, 0, scores) for owner, (name, scores) in enumerate(named))
        rows = list(class_runs(pieces, self.names or []))
        return {column: [row[number] for row in rows] for number, column in enumerate(RUN_COLUMNS)}

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of the predictions: a row per sequence, or per run of nucleotides of one class."""
        return pd.DataFrame(self.columns())

    def write(self, path: Path) -> None:
        """Write the table of the predictions as TSV."""
        columns = self.columns()
        write_tsv(path, list(columns), zip(*columns.values(), strict=True))


@dataclass(frozen=True)
class PredictionTable:
    """Predictions in a file, which are read back only when they are wanted: a genome's need not fit into memory.

    Attributes:
        path: the TSV file.
        task: of the model.
        num_sequences: how many sequences were predicted.
        num_rows: rows of the table: one per sequence, or per run of nucleotides of one class.
    """

    path: Path
    task: Task
    num_sequences: int
    num_rows: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.num_rows

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Iterate over the rows, column -> text."""
        with open(self.path, encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file, delimiter="\t")

    def to_pandas(self) -> pd.DataFrame:
        """Read the whole table; ids and names of classes are texts."""
        texts = {"id": str, "prediction": str} if self.task.is_classification else {"id": str}
        return pd.read_csv(self.path, sep="\t", dtype=texts, keep_default_na=False)


def sequence_columns(
    task: Task, ids: list[str], lengths: list[int], scores: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, Any]:
    """Return predictions for sequences as the columns of a table.

    Args:
        task: of the model.
        ids: of the sequences.
        lengths: of the sequences, in nt.
        scores: float64 (sequences, labels).
        labels: the known labels, which are shown beside the predictions.

    Returns:
        id and length; for one class out of several the prediction and the probability ``p_NAME`` of each class; for
        several labels the probability of each; for values ``prediction``, or ``predicted_NAME`` of each target.
    """
    columns: dict[str, Any] = {"id": ids, "length": lengths}
    names = task.names
    if task.labels_by_column and names:
        prefix = "predicted" if task.problem_type == "regression" else "p"
        for number, name in enumerate(names):
            if labels is not None:
                columns[f"label_{name}"] = ["" if x != x else x for x in labels[:, number].tolist()]
            columns[f"{prefix}_{name}"] = scores[:, number].astype(float).tolist()
        return columns
    if labels is not None:
        columns["label"] = [names[label] for label in labels] if names else labels.tolist()
    if names is None:
        return columns | {"prediction": scores[:, 0].astype(float).tolist()}
    columns["prediction"] = [names[best] for best in scores.argmax(1)]
    return columns | {f"p_{name}": scores[:, number].astype(float).tolist() for number, name in enumerate(names)}


class _Run(NamedTuple):
    """Neighbouring nucleotides of one sequence that are predicted to be of one class."""

    owner: int
    name: str
    start: int
    end: int
    number: int  # of the class
    total: float  # sum of the class's probabilities

    def continues(self, before: _Run | None) -> bool:
        """Return whether this run is the rest of the one ``before`` it."""
        return before is not None and (before.owner, before.number) == (self.owner, self.number)

    def row(self, names: list[str]) -> tuple[str, int, int, str, float]:
        """Return the run as a row of a table, with the mean probability."""
        return self.name, self.start, self.end, names[self.number], self.total / (self.end - self.start)


def class_runs(pieces: Iterable[NtScores], names: list[str]) -> Iterator[tuple[str, int, int, str, float]]:
    """Iterate over the runs of nucleotides of one class: id, start, end, class, and its mean probability.

    Args:
        pieces: scores of sequences, those of a sequence in order; a run may go on from one piece to the next.
        names: of the classes.
    """
    held: _Run | None = None
    for piece in pieces:
        for run in _runs_of(piece):
            if held is not None and run.continues(held):
                held = held._replace(end=run.end, total=held.total + run.total)
                continue
            if held is not None:
                yield held.row(names)
            held = run
    if held is not None:
        yield held.row(names)


def _runs_of(piece: NtScores) -> Iterator[_Run]:
    """Iterate over the runs of one piece."""
    best = piece.scores.argmax(1)
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(best)) + 1, [len(best)]]).tolist()
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        number = int(best[start])
        total = float(piece.scores[start:end, number].sum())
        yield _Run(piece.owner, piece.name, piece.start + start, piece.start + end, number, total)
