"""Hold the predictions of a model, score them and write them to a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedModel

from ..io.writing import write_tsv
from ..labelled.sequences import LabelledSequences
from ..tokenization_kmer import KmerTokenizer
from .loading import task_of
from .scores import predict_nt_scores, predict_scores


class Predictions(NamedTuple):
    """What a model says of examples."""

    examples: LabelledSequences
    scores: np.ndarray  # as predict_scores gives them; empty per nucleotide
    nt_scores: list[np.ndarray]  # as predict_nt_scores gives them; empty per sequence
    names: list[str] | None  # of classes, labels or targets; None for one value

    @classmethod
    def of(
        cls, network: PreTrainedModel, tokenizer: KmerTokenizer, examples: LabelledSequences, batch_size: int
    ) -> Predictions:
        """Run a model on examples."""
        task = task_of(network.config)
        names = task.names
        if task.level == "nt":
            return cls(examples, np.zeros(0), predict_nt_scores(network, tokenizer, examples, batch_size), names)
        return cls(examples, predict_scores(network, tokenizer, examples, batch_size), [], names)

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Give scores and labels side by side; of nucleotides those that have one, one row each."""
        if not self.nt_scores:
            return self.scores, self.examples.known_labels
        labels = np.concatenate(self.examples.nt_labels or [])
        return np.concatenate(self.nt_scores)[labels >= 0], labels[labels >= 0]

    def write(self, path: Path) -> None:
        """Write a TSV: a row per sequence, or per run of nucleotides of one class."""
        if self.nt_scores:
            columns = _runs(self.examples.ids, self.nt_scores, self.names or [])
        else:
            columns = _rows(self.examples, self.scores, self.names)
        write_tsv(path, list(columns), zip(*columns.values(), strict=True))


def _rows(examples: LabelledSequences, scores: np.ndarray, names: list[str] | None) -> dict[str, Any]:
    """List id, length in nt, label where known, and what is predicted: class and probabilities, or values."""
    columns: dict[str, Any] = {"id": examples.ids, "length": [len(sequence) for sequence in examples.sequences]}
    if examples.labels_by_column and names:
        prefix = "predicted" if examples.problem == "regression" else "p"
        for number, name in enumerate(names):
            if examples.labels is not None:
                columns[f"label_{name}"] = ["" if x != x else x for x in examples.labels[:, number].tolist()]
            columns[f"{prefix}_{name}"] = scores[:, number].astype(float).tolist()
        return columns
    if examples.labels is not None:
        columns["label"] = [names[label] for label in examples.labels] if names else examples.labels.tolist()
    if names is None:
        return columns | {"prediction": scores[:, 0].astype(float).tolist()}
    columns["prediction"] = [names[best] for best in scores.argmax(1)]
    return columns | {f"p_{name}": scores[:, number].astype(float).tolist() for number, name in enumerate(names)}


def _runs(ids: list[str], nt_scores: list[np.ndarray], names: list[str]) -> dict[str, list]:
    """List the runs of nucleotides of one class: 0-based, half-open as in BED, with the class's mean probability."""
    columns: dict[str, list] = {"id": [], "start": [], "end": [], "prediction": [], "probability": []}
    for name, scores in zip(ids, nt_scores, strict=True):
        best = scores.argmax(1)
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(best)) + 1, [len(best)]])
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            number = int(best[start])
            row = (name, start, end, names[number], float(scores[start:end, number].mean()))
            for column, cell in zip(columns.values(), row, strict=True):
                column.append(cell)
    return columns
