"""Predictions of a model: in memory together with their examples, and as tables."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from ..errors import InputError
from ..io.writing import write_tsv
from ..labelled.sequences import LabelledSequences
from ..labelled.task import Task
from ..loading.config_facts import task_of
from ..tokenization_kmer import KmerTokenizer
from .scores import NtScores, predict_nt_scores, predict_scores
from .windows import check_frames

logger = logging.getLogger(__name__)

#: Columns of a table of predictions per nucleotide, a row for each interval (run of nucleotides of one class); `start`
#: and `end` are 0-based and half-open, as in BED.
RUN_COLUMNS = ["id", "start", "end", "prediction", "probability"]


@dataclass(frozen=True)
class AverageOptions:
    """What the prediction of a sequence is the mean of; on the command line, omit the name of this section.

    Args:
        both_strands: average the probabilities (or values) of each sequence, or window, and its reverse complement, so
            that both strands get the same prediction; takes twice the time, and memory for the longest sequence.
        frames: number of frames over which the probabilities (or values) are averaged: a sequence is cut into k-mers
            from its first letter, and again from others within the first stride. A model at stride 6 has 6 frames, one
            at stride 1 has one. Takes as many times as long.
    """

    both_strands: bool = False
    frames: int = 1

    def __post_init__(self) -> None:
        check_frames(self.frames)

    def facts(self, stride: int) -> dict[str, Any]:
        """Return what metrics.json says about a model at a stride: the options that have an effect, or nothing."""
        frames = min(self.frames, stride)
        return ({"both_strands": True} if self.both_strands else {}) | ({"frames": frames} if frames > 1 else {})


class Predictions(NamedTuple):
    """What a model predicts for examples in memory.

    Attributes:
        examples: the sequences, with labels if they are known.
        scores: probabilities or predicted values, float64, as `predict_scores` returns them: a row per sequence, and a
            column per class, label or target; empty for a model that classifies nucleotides.
        nt_scores: probabilities, float64 (nt, classes) for each sequence, as `predict_nt_scores` returns them; empty
            for a model that predicts one result per sequence.
        names: names of the classes, labels or targets; None for one value without a name.
        threshold: lowest probability at which the positive class of two is predicted, with the id of this class;
            None for the most probable class.
    """

    examples: LabelledSequences
    scores: np.ndarray
    nt_scores: list[np.ndarray]
    names: list[str] | None
    threshold: tuple[float, int] | None = None

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        tokenizer: KmerTokenizer,
        examples: LabelledSequences,
        batch_size: int = 64,
        averages: AverageOptions = AverageOptions(),  # noqa: B008 (immutable)
    ) -> Predictions:
        """Compute the predictions of a model for examples.

        Args:
            model: fine-tuned model.
            tokenizer: tokenizer of the model.
            examples: sequences, with the pairs and tracks that the model reads.
            batch_size: largest number of windows that are encoded at once.
            averages: strands and frames to average; not for a model that classifies nucleotides.
        """
        task = task_of(model.config)
        if task.level == "nt":
            return cls(examples, np.zeros(0), predict_nt_scores(model, tokenizer, examples, batch_size), task.names)
        scores = predict_scores(model, tokenizer, examples, batch_size, averages.both_strands, averages.frames)
        return cls(examples, scores, [], task.names, task.threshold)

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and labels, one row per sequence, or one row per nucleotide that has a label.

        Sequences and nucleotides that cannot be scored are omitted.

        Raises:
            InputError: if none can be scored.
        """
        if not self.nt_scores:
            scores, labels = self.scores, self.examples.known_labels
        else:
            labels = np.concatenate(self.examples.nt_labels or [])
            has_label = labels >= 0  # otherwise -100
            scores, labels = np.concatenate(self.nt_scores)[has_label], labels[has_label]
        scored = ~np.isnan(scores).any(1)
        if not scored.any():
            raise InputError(
                f"{self.examples.source}: no sequence can be scored; check the letters of the sequences, and the model"
            )
        return (scores, labels) if scored.all() else (scores[scored], labels[scored])

    def groups(self) -> np.ndarray | None:
        """Return the group of each row of `labelled`; None if the examples have no groups.

        Of a model that classifies nucleotides, the rows are nucleotides. Without groups, those of one sequence form a
        group, whose name is the index of the sequence.
        """
        groups = None if self.examples.groups is None else np.asarray(self.examples.groups)
        if self.nt_scores:
            labels = np.concatenate(self.examples.nt_labels or [])
            of_sequences = np.arange(len(self.nt_scores)) if groups is None else groups
            of_nucleotides = np.repeat(of_sequences, [len(scores) for scores in self.nt_scores])
            scored = ~np.isnan(np.concatenate(self.nt_scores)).any(1)
            return of_nucleotides[(labels >= 0) & scored]
        return None if groups is None else groups[self.is_scored]

    @property
    def is_scored(self) -> np.ndarray:
        """Whether each sequence has a score, bool (sequences,)."""
        if not self.nt_scores:
            return ~np.isnan(self.scores).any(1)
        return np.array([not np.isnan(scores).all() for scores in self.nt_scores])

    @property
    def num_unscored(self) -> int:
        """Number of sequences without any score."""
        return int((~self.is_scored).sum())

    def columns(self) -> dict[str, Any]:
        """Return the table of the predictions, column by column; see `sequence_columns` and `class_runs`."""
        if not self.nt_scores:
            lengths = [len(letters) for letters in self.examples.sequences]
            task = Task(self.examples.problem, self.names, threshold=self.threshold)
            return sequence_columns(task, self.examples.ids, lengths, self.scores, self.examples.labels)
        named = zip(self.examples.ids, self.nt_scores, strict=True)
        # Each sequence is one piece, which starts at nucleotide 0.
        pieces = (NtScores(sequence_index, name, 0, scores) for sequence_index, (name, scores) in enumerate(named))
        rows = list(class_runs(pieces, self.names or []))
        return {column: [row[number] for row in rows] for number, column in enumerate(RUN_COLUMNS)}

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of the predictions: a row per sequence, or per interval of nucleotides of one class.

        What cannot be scored has missing values (``isna``): its class is None or NaN, as pandas stores texts.
        """
        return pd.DataFrame(self.columns())

    def write(self, path: Path) -> None:
        """Write the table of the predictions as TSV."""
        columns = self.columns()
        write_tsv(path, list(columns), zip(*columns.values(), strict=True))


@dataclass(frozen=True)
class PredictionTable:
    """Predictions in a file that is read only when rows are used, so that the table may be larger than memory.

    Attributes:
        path: path of the TSV file.
        task: task of the model.
        num_sequences: number of sequences with a prediction.
        num_rows: number of rows: one per sequence, or per interval of nucleotides of one class.
    """

    path: Path
    task: Task
    num_sequences: int
    num_rows: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.num_rows

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Iterate over the rows, column -> text; the texts of a sequence that cannot be scored are empty."""
        with open(self.path, encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file, delimiter="\t")

    def to_pandas(self) -> pd.DataFrame:
        """Read the whole table; ids and class names stay texts, even if they look like numbers.

        What cannot be scored has missing values (``isna``): its class is None or NaN, as pandas stores texts.
        """
        texts = {"id": str, "prediction": str} if self.task.is_classification else {"id": str}
        numbers = [name for name in pd.read_csv(self.path, sep="\t", nrows=0) if name not in texts]
        empty = {name: [""] for name in numbers}
        table = pd.read_csv(self.path, sep="\t", dtype=texts, keep_default_na=False, na_values=empty)
        if "prediction" in texts and "prediction" in table:
            table["prediction"] = table["prediction"].replace("", None)
        return table


def check_averages(task: Task, averages: AverageOptions) -> None:
    """Check that the predictions of strands and frames can be averaged.

    Args:
        task: task of the model.
        averages: what the user asks for.

    Raises:
        InputError: if the model classifies nucleotides.
    """
    for name, wanted in (("both_strands", averages.both_strands), ("frames", averages.frames > 1)):
        if wanted and task.level == "nt":
            raise InputError(
                f"{name}: {task.source} labels nucleotides, and the mean is one of sequences or windows; omit it"
            )


def log_threshold(task: Task, model: str) -> None:
    """Log from which probability the positive class is predicted, if the model has a threshold for it.

    Args:
        task: task of the model.
        model: name of the model, for the message.
    """
    if task.threshold is not None:
        lowest, positive_id = task.threshold
        logger.info("%s: predicts %r at a probability of %.3g or more", model, (task.names or [])[positive_id], lowest)


def decide(scores: np.ndarray, threshold: tuple[float, int] | None) -> np.ndarray:
    """Return the predicted class of each row: the most probable one, or by the threshold of the positive class.

    >>> decide(np.array([[0.7, 0.3], [0.2, 0.8]]), (0.25, 1)).tolist()
    [1, 1]

    Args:
        scores: probabilities, (rows, classes).
        threshold: lowest probability of a class of two at which it is predicted, and the id of this class; None for
            the most probable class.

    Returns:
        int64 (rows,).
    """
    if threshold is None:
        return scores.argmax(1)
    lowest, positive_id = threshold
    return np.where(scores[:, positive_id] >= lowest, positive_id, 1 - positive_id)


def sequence_columns(
    task: Task, ids: list[str], lengths: list[int], scores: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, Any]:
    """Return predictions for sequences as the columns of a table.

    Args:
        task: task of the model.
        ids: ids of the sequences.
        lengths: lengths of the sequences in nt.
        scores: float64 (sequences, classes), (sequences, labels) or (sequences, targets); NaN for a sequence that
            cannot be scored, whose class is None.
        labels: known labels, as in `LabelledSequences`, which get columns next to the predictions; None if there are
            none.

    Returns:
        Column -> values: ``id`` and ``length``; for one class out of several ``prediction`` and a probability
        ``p_NAME`` for each class; for several labels a probability ``p_NAME`` for each label; for one value
        ``prediction``, and for several targets ``predicted_NAME`` for each target.
    """
    columns: dict[str, Any] = {"id": ids, "length": lengths}
    names = task.names
    if task.labels_by_column and names:
        prefix = "predicted" if task.problem_type == "regression" else "p"
        for number, name in enumerate(names):
            if labels is not None:
                columns[f"label_{name}"] = labels[:, number].tolist()
            columns[f"{prefix}_{name}"] = scores[:, number].astype(float).tolist()
        return columns
    if labels is not None:
        columns["label"] = [names[label] for label in labels] if names else labels.tolist()
    if names is None:
        return columns | {"prediction": scores[:, 0].astype(float).tolist()}
    unscored = np.isnan(scores).any(1)
    class_ids = decide(scores, task.threshold)
    columns["prediction"] = [
        None if is_unscored else names[class_id] for class_id, is_unscored in zip(class_ids, unscored, strict=True)
    ]
    return columns | {f"p_{name}": scores[:, number].astype(float).tolist() for number, name in enumerate(names)}


class _Interval(NamedTuple):
    """Neighbouring nucleotides of one sequence with the same predicted class.

    Attributes:
        sequence_index: index of the sequence, from 0.
        name: id of the sequence.
        start: position of the first nucleotide, 0-based.
        end: position after the last nucleotide.
        class_id: the predicted class; -1 if there is none, because the nucleotides cannot be scored.
        total: sum of the probabilities of this class over the nucleotides.
    """

    sequence_index: int
    name: str
    start: int
    end: int
    class_id: int
    total: float

    def continues(self, before: _Interval) -> bool:
        """Return whether this interval has the sequence and the class of the interval ``before`` it."""
        return (before.sequence_index, before.class_id) == (self.sequence_index, self.class_id)

    def row(self, names: list[str]) -> tuple[str, int, int, str | None, float]:
        """Return the interval as a row of a table, with the mean probability of its class."""
        if self.class_id < 0:
            return self.name, self.start, self.end, None, float("nan")
        return self.name, self.start, self.end, names[self.class_id], self.total / (self.end - self.start)


def class_runs(pieces: Iterable[NtScores], names: list[str]) -> Iterator[tuple[str, int, int, str | None, float]]:
    """Iterate over the intervals of nucleotides of one class: id, start, end, class, and its mean probability.

    Nucleotides that cannot be scored form intervals with None for the class and NaN for the probability; a sequence
    without nucleotides is one such interval, from 0 to 0.

    Args:
        pieces: scores of stretches of sequences; the pieces of one sequence follow one another without gaps.
        names: names of the classes.
    """
    # An interval may continue in the next piece, so the last one is held until an interval of another class begins:
    #
    #     piece            |--- 1 ---|--- 2 ---|
    #     predicted class   A A B B B B B B A A
    #     rows              A   B           A
    held: _Interval | None = None
    for piece in pieces:
        for interval in _intervals_of(piece):
            if held is not None and interval.continues(held):
                held = held._replace(end=interval.end, total=held.total + interval.total)
                continue
            if held is not None:
                yield held.row(names)
            held = interval
    if held is not None:
        yield held.row(names)


def _intervals_of(piece: NtScores) -> Iterator[_Interval]:
    """Iterate over the intervals of one piece; the last one may continue in the next piece."""
    if not len(piece.scores):
        yield _Interval(piece.sequence_index, piece.name, piece.start, piece.start, -1, 0.0)
        return
    # class_ids = 0 0 1 1 1 0 has the bounds 0, 2, 5 and 6: the start, every change of the class, and the end.
    class_ids = np.where(np.isnan(piece.scores).any(1), -1, piece.scores.argmax(1))
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(class_ids)) + 1, [len(class_ids)]]).tolist()
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        class_id = int(class_ids[start])
        total = float(piece.scores[start:end, class_id].sum()) if class_id >= 0 else 0.0
        yield _Interval(piece.sequence_index, piece.name, piece.start + start, piece.start + end, class_id, total)
