"""What a fine-tuned model says of sequences of any length, how good that is, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ..data.collators import DataCollatorForSequences
from ..data.labelled import annotations_of, tile
from ..data.tables import LabelledSequences
from ..errors import InputError
from ..tokenization_kmer import KmerTokenizer
from .loading import class_names, is_per_nt
from .metrics import (
    classification_metrics,
    multilabel_metrics,
    regression_metrics,
    scores_per_column,
    softmax,
)
from .report import plot_confusion, plot_roc_pr
from .running import check_positions, write_tsv


class Window(NamedTuple):
    """A stretch of a sequence as a row for the collator."""

    owner: int  # number of the sequence
    start: int  # nt
    row: dict[str, Any]


def predict_scores(
    network: PreTrainedModel,
    tokenizer: KmerTokenizer,
    examples: LabelledSequences | Sequence[np.ndarray],
    batch_size: int = 64,
) -> np.ndarray:
    """Give class probabilities, or values, for sequences of any length.

    A sequence longer than those the model was fine-tuned on is cut into windows of their length side by side, the last
    one moved back to the end; the probabilities of its windows are averaged.

    Args:
        network: sequence classifier: plain, hierarchical or with tracks.
        tokenizer: of the model.
        examples: sequences with what the model reads beside them, or uint8 letters alone, one array each.
        batch_size: windows encoded at once.

    Returns:
        (sequences, classes), float64; (sequences, labels) for several labels; (sequences, targets) for regression.

    Raises:
        InputError: if ``batch_size`` is not positive, or a pair does not fit the model.
    """
    windows = cut_windows(network, tokenizer, _as_examples(examples))
    logits = np.zeros((len(windows), network.config.num_labels))
    for chosen, said in _forward(network, tokenizer, windows, batch_size):
        logits[chosen] = said
    scores = as_scores(logits, network.config.problem_type)
    owner = np.array([window.owner for window in windows])
    counts = np.bincount(owner, minlength=len(examples))[:, None]
    return np.stack([np.bincount(owner, column, len(examples)) for column in scores.T], 1) / counts


def predict_nt_scores(
    network: PreTrainedModel,
    tokenizer: KmerTokenizer,
    examples: LabelledSequences | Sequence[np.ndarray],
    batch_size: int = 64,
) -> list[np.ndarray]:
    """Give class probabilities for every nucleotide; where the windows of a long sequence overlap, their mean.

    Args:
        network: token classifier per nucleotide.
        tokenizer, examples, batch_size: as in `predict_scores`.

    Returns:
        (nt, classes), float64, for each sequence.
    """
    examples = _as_examples(examples)
    windows = cut_windows(network, tokenizer, examples)
    totals = [np.zeros((len(letters), network.config.num_labels)) for letters in examples.sequences]
    counts = [np.zeros((len(letters), 1)) for letters in examples.sequences]
    for chosen, said in _forward(network, tokenizer, windows, batch_size):
        for number, logits in zip(chosen, said, strict=True):
            window = windows[number]
            end = window.start + len(window.row["sequence"])
            totals[window.owner][window.start : end] += softmax(logits[: end - window.start])
            counts[window.owner][window.start : end] += 1
    return [total / count for total, count in zip(totals, counts, strict=True)]


def cut_windows(network: PreTrainedModel, tokenizer: KmerTokenizer, examples: LabelledSequences) -> list[Window]:
    """Cut sequences into windows that the model can read; signals per nucleotide are cut along.

    Raises:
        InputError: if a pair, which cannot be cut, does not fit the model.
    """
    config = network.config
    if examples.pairs is not None:
        check_pairs(examples, tokenizer, config.max_position_embeddings)
    most = (
        _longest_window(config, tokenizer) if examples.pairs is None else max(map(len, examples.sequences), default=1)
    )
    windows = []
    for owner, letters in enumerate(examples.sequences):
        beside = annotations_of(examples, owner)
        beside.pop("nt_labels", None)
        signals = beside.pop("nt_tracks", None)
        starts = tile(len(letters), most, most).tolist() or [0]
        if starts[-1] + most < len(letters):
            starts.append(len(letters) - most)
        for start in starts:
            row = {"sequence": letters[start : start + most], **beside}
            row |= {} if signals is None else {"nt_tracks": signals[start : start + most]}
            windows.append(Window(owner, start, row))
    return windows


def check_pairs(examples: LabelledSequences, tokenizer: KmerTokenizer, positions: int) -> None:
    """Check that both sequences of every pair fit the model together.

    Raises:
        InputError: naming the pair.
    """
    for name, first, second in zip(examples.ids, examples.sequences, examples.pairs or [], strict=True):
        tokens = tokenizer.num_tokens(len(first)) + tokenizer.num_tokens(len(second)) - 1
        if tokens > positions:
            raise InputError(
                f"{examples.source}: pair {name} of {len(first)} and {len(second)} nt gives {tokens} tokens, the model "
                f"takes {positions}; shorten it"
            )


def _longest_window(config: Any, tokenizer: KmerTokenizer) -> int:
    """Give the longest sequence, in nt, that a model reads at once: no longer than those it was fine-tuned on."""
    fits = (config.max_position_embeddings - 3) * tokenizer.stride + tokenizer.k
    parts, part_length = getattr(config, "num_parts", 1), getattr(config, "part_length", None)
    most = parts * (part_length or fits)
    if part_length and config.aggregation != "concat":  # any number of parts
        return config.max_sequence_length or most
    return min(most, config.max_sequence_length or most)


@torch.inference_mode()
def _forward(
    network: PreTrainedModel, tokenizer: KmerTokenizer, windows: list[Window], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Run the model, windows of equal length together; yields which windows, and their logits in float64."""
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    device = torch.device(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    network.eval().to(device)
    collate = collator_for(network.config, tokenizer)
    order = np.argsort([len(window.row["sequence"]) for window in windows], kind="stable")
    for begin in tqdm(range(0, len(order), batch_size), desc="predict", unit="batch", disable=None):
        chosen = order[begin : begin + batch_size]
        batch = collate([windows[number].row for number in chosen])
        output = network(**{name: column.to(device) for name, column in batch.items()})
        yield chosen, output.logits.double().cpu().numpy()


def collator_for(config: Any, tokenizer: KmerTokenizer, rc_probability: float = 0, seed: int = 0) -> Any:
    """Make the collator that cuts sequences as a model's configuration says."""
    parts, part_length = getattr(config, "num_parts", 1), getattr(config, "part_length", None)
    return DataCollatorForSequences(tokenizer, rc_probability, seed, num_parts=parts, part_length=part_length)


def as_scores(logits: np.ndarray, problem: str | None) -> np.ndarray:
    """Turn logits into probabilities, or leave values as they are."""
    if problem == "regression":
        return logits
    return scipy.special.expit(logits) if problem == "multi_label_classification" else softmax(logits)


def _as_examples(examples: LabelledSequences | Sequence[np.ndarray]) -> LabelledSequences:
    if isinstance(examples, LabelledSequences):
        return examples
    return LabelledSequences("sequences", [str(row) for row in range(1, len(examples) + 1)], list(examples))


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
        names = class_names(network)
        if is_per_nt(network):
            return cls(examples, np.zeros(0), predict_nt_scores(network, tokenizer, examples, batch_size), names)
        return cls(examples, predict_scores(network, tokenizer, examples, batch_size), [], names)

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Give scores and labels side by side; of nucleotides those that have one, one row each."""
        if not self.nt_scores:
            return self.scores, self.examples.known_labels
        labels = np.concatenate(self.examples.nt_labels or [])
        return np.concatenate(self.nt_scores)[labels >= 0], labels[labels >= 0]

    def metrics(self, positive: str | None = None) -> dict[str, Any]:
        """Score them by their labels; several labels or targets also one by one."""
        scores, labels = self.labelled()
        if self.examples.problem == "single_label_classification":
            target = self.names.index(positive) if self.names and positive else 1
            return classification_metrics(scores, labels, positive=target)
        measure = regression_metrics if self.examples.problem == "regression" else multilabel_metrics
        found: dict[str, Any] = dict(measure(scores, labels))
        if self.examples.labels_by_column and len(self.names or []) > 1:
            found["each"] = scores_per_column(measure, scores, labels, self.names or [])
        return found

    def plot(self, folder: Path, positive: str | None, others: dict[str, Any]) -> None:
        """Draw curves and confusion of classes, beside the curves of ``others``."""
        if self.examples.problem != "single_label_classification" or not self.names:
            return
        scores, labels = self.labelled()
        target = self.names.index(positive) if positive else 1
        plot_roc_pr({"KmerBert": (scores, labels), **others}, folder / "roc_pr.png", positive=target)
        plot_confusion(labels, scores, self.names, folder / "confusion.png")

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


def check_longest(examples: LabelledSequences, tokenizer: KmerTokenizer, config: Any) -> None:
    """Check that the longest sequence, or its longest part, or every pair fits the model.

    Raises:
        InputError: naming the sequence, its length and the ways out.
    """
    if examples.pairs is not None:
        return check_pairs(examples, tokenizer, config.max_position_embeddings)
    length, name = max((len(sequence), name) for sequence, name in zip(examples.sequences, examples.ids, strict=True))
    parts, part_length = getattr(config, "num_parts", 1), getattr(config, "part_length", None)
    shorter = "lower part_length" if part_length else "shorten it, cut every sequence into more parts by num_parts"
    check_positions(
        tokenizer,
        min(length, part_length) if part_length else -(-length // parts),
        config.max_position_embeddings,
        f"{examples.source}: sequence {name}: {'a part' if parts > 1 or part_length else 'a length'}",
        way_out=f"{shorter}, or read more by stretch_positions",
    )
    return None
