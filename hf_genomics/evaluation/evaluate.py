"""Evaluate a fine-tuned model on labelled sequences: the verb `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from ..inference.loading import load_classifier, task_of
from ..inference.predict import shortest_sequence
from ..inference.predictions import Predictions
from ..io.writing import check_output, write_json
from ..labelled.data import LabelledData
from ..labelled.sequences import check_classes
from ..labelled.task import Task
from .metrics import classification_metrics, multilabel_metrics, regression_metrics, scores_per_column
from .pictures import plot_confusion, plot_roc_pr


def check_positive(positive: str | None, task: Task) -> None:
    """Check that the positive class is one of the classes.

    Args:
        positive: name of the class, or None for the default.
        task: of the examples or the model.

    Raises:
        InputError: naming the class and the classes there are.
    """
    classes = task.names if task.is_classification else None
    if positive is not None and positive not in (classes or []):
        there = f"name one of {classes}" if classes else "the labels are not one class out of several; omit it"
        raise InputError(f"positive: there is no class {positive!r}; {there}")


def evaluate(
    model: str,
    data: LabelledData,
    output_dir: str,
    split: Literal["train", "valid", "test"] = "test",
    positive: str | None = None,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Score a fine-tuned model on labelled sequences.

    Leaves in ``output_dir``: metrics.json, predictions.tsv, and for classes roc_pr.png and confusion.png.

    Args:
        model: folder or Hub name of a fine-tuned model.
        data: labelled sequences; several labels and tracks are read from the columns the model knows by name.
        output_dir: folder to write to.
        split: which of them.
        positive: class that F1 is about; by default the second of two.
        batch_size: sequences encoded at once.

    Returns:
        the metrics.

    Raises:
        InputError: if data and model do not fit; nothing has been written then.
    """
    folder = Path(output_dir)
    check_output(folder, folder=True)
    network, tokenizer = load_classifier(model)
    task = task_of(network.config, model)
    check_positive(positive, task)
    shortest = shortest_sequence(network, tokenizer.k)
    examples = data.require(split, shortest, task, why="there is nothing to evaluate")
    if examples.label_names != task.names and not task.labels_by_column:
        raise InputError(f"{examples.source}: the labels are {examples.label_names}, the model knows {task.names}")
    check_classes(examples, examples)
    found = Predictions.of(network, tokenizer, examples, batch_size)
    metrics = score_predictions(found, positive)
    found.write(folder / "predictions.tsv")
    plot_predictions(found, folder, positive, {})
    write_json(folder / "metrics.json", metrics)
    return metrics


def score_predictions(predictions: Predictions, positive: str | None = None) -> dict[str, Any]:
    """Compute the metrics of predictions whose labels are known; several labels or targets also one by one.

    Args:
        predictions: predictions of examples with labels.
        positive: class that F1 and AUPRC are about; by default the second of two.
    """
    scores, labels = predictions.labelled()
    examples, names = predictions.examples, predictions.names
    if examples.problem == "single_label_classification":
        target = names.index(positive) if names and positive else 1
        return classification_metrics(scores, labels, positive=target)
    measure = regression_metrics if examples.problem == "regression" else multilabel_metrics
    metrics: dict[str, Any] = dict(measure(scores, labels))
    if examples.labels_by_column and len(names or []) > 1:
        metrics["each"] = scores_per_column(measure, scores, labels, names or [])
    return metrics


def plot_predictions(predictions: Predictions, folder: Path, positive: str | None, others: dict[str, Any]) -> None:
    """Draw the ROC and precision-recall curves and the confusion matrix of classes.

    Args:
        predictions: predictions of examples with labels; without classes nothing is drawn.
        folder: folder for roc_pr.png and confusion.png.
        positive: class that the curves are about; by default the second of two.
        others: name -> (scores, labels) of other models, whose curves are drawn beside.
    """
    names = predictions.names
    if predictions.examples.problem != "single_label_classification" or not names:
        return
    scores, labels = predictions.labelled()
    target = names.index(positive) if positive else 1
    plot_roc_pr({"KmerBert": (scores, labels), **others}, folder / "roc_pr.png", positive=target)
    plot_confusion(labels, scores, names, folder / "confusion.png")
