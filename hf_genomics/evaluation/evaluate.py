"""Score a fine-tuned model on labelled sequences: the verb `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from ..inference.loading import load_classifier, task_of
from ..inference.predictions import Predictions
from ..inference.problems import with_known_kmers
from ..inference.windows import shortest_sequence
from ..io.streams import destination
from ..io.writing import check_output, check_output_file, write_json
from ..labelled.data import LabelledData
from ..labelled.sequences import check_classes
from ..labelled.task import Task
from ..sequence import did_you_mean
from .metrics import (
    SequenceClassificationMetrics,
    classification_metrics,
    multilabel_metrics,
    regression_metrics,
    scores_per_column,
)
from .pictures import plot_confusion, plot_roc_pr


def check_positive(positive: str | None, task: Task) -> None:
    """Check that the positive class is one of the classes.

    Args:
        positive: name of the class, or None for the default.
        task: task of the examples or the model.

    Raises:
        InputError: naming the class and the classes of the task.
    """
    if positive is None or (task.is_classification and positive in (task.names or [])):
        return
    if not task.is_classification:
        raise InputError(f"positive is {positive!r}, but the labels are not one class out of several; omit it")
    raise InputError(
        f"positive: there is no class {positive!r}{did_you_mean(positive, task.names or [])}; name one of {task.names}"
    )


def evaluate(
    model: str,
    data: LabelledData,
    output_dir: str,
    split: Literal["train", "valid", "test"] = "test",
    positive: str | None = None,
    batch_size: int = 64,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Score a fine-tuned model on labelled sequences.

    Writes to ``output_dir``: metrics.json, predictions.tsv, and for classes roc_pr.png and confusion.png.

    Args:
        model: folder or Hub name of a fine-tuned model.
        data: labelled sequences. Tracks and several labels are read from columns with the names that the model knows,
            unless ``data.columns`` names other columns.
        output_dir: folder to write to, not the folder of a model.
        split: split to score.
        positive: class that F1 refers to; by default the second of two.
        batch_size: number of windows encoded together.
        overwrite: replace the files of an earlier evaluation.

    Returns:
        The metrics that are written to metrics.json. Sequences that cannot be scored (see `predict`) have empty cells
        in predictions.tsv and do not count; if there are any, ``sequences_without_scores`` is their number.

    Raises:
        InputError: if data and model do not fit, the folder holds a model, or an evaluation without ``overwrite``;
            nothing has been written then.
    """
    folder = _evaluation_folder(output_dir, data, overwrite)
    network, tokenizer = load_classifier(model)
    task = task_of(network.config, model)
    check_positive(positive, task)
    shortest = shortest_sequence(network, tokenizer.k)
    examples = data.require(split, shortest, task, why="there is nothing to evaluate")
    if examples.label_names != task.names and not task.labels_by_column:
        raise InputError(
            f"{examples.source}: the labels are {examples.label_names}, but the model knows {task.names}; set "
            "data.columns.label to the column with the model's labels"
        )
    known = with_known_kmers(examples, tokenizer, strict=data.strict, log=False)  # the others have no scores
    check_classes(known, known)
    predictions = Predictions.of(network, tokenizer, examples, batch_size)
    metrics = score_predictions(predictions, positive)
    if predictions.num_unscored:
        metrics["sequences_without_scores"] = predictions.num_unscored
    predictions.write(folder / "predictions.tsv")
    plot_predictions(predictions, folder, positive, {})
    write_json(folder / "metrics.json", metrics)
    return metrics


#: Files that an evaluation writes.
FILES = ("metrics.json", "predictions.tsv", "roc_pr.png", "confusion.png")


def _evaluation_folder(output_dir: str, data: LabelledData, overwrite: bool) -> Path:
    """Check that an evaluation may write its files to a folder, and return the folder.

    Args:
        output_dir: the folder, which need not exist.
        data: labelled sequences, whose files must not be overwritten.
        overwrite: whether the files of an earlier evaluation may be replaced.

    Raises:
        InputError: if it may not; the message names the folder or the file.
    """
    folder = Path(output_dir)
    check_output(folder, folder=True)
    if (folder / "config.json").exists() or any(folder.glob("checkpoint-*")):
        raise InputError(
            f"{folder} holds a model, whose metrics and predictions would be lost; write to a new folder, such as "
            f"{folder / 'evaluation'}"
        )
    inputs = data.paths().values()
    for path in (folder / name for name in FILES):
        try:
            check_output_file(str(path), inputs, overwrite=overwrite)
        except InputError as error:
            raise InputError(f"output_dir: {error}".replace("another file", "another folder")) from error
    return destination(folder)


def score_predictions(predictions: Predictions, positive: str | None = None) -> dict[str, Any]:
    """Compute the metrics of predictions with known labels; with several labels or targets, also the metrics of each.

    Args:
        predictions: predictions of examples with labels.
        positive: class that F1 and AUPRC refer to; by default the second of two.

    Returns:
        The metrics; with several labels or targets, "each" holds the metrics of each one by its name.
    """
    scores, labels = predictions.labelled()
    task, names = predictions.examples.task, predictions.names
    if task.is_classification:
        target = names.index(positive) if names and positive else 1
        if task.level == "nt":  # not by evaluate.Metric, which copies row by row: 12 s for a million nucleotides
            return classification_metrics(scores, labels, positive=target)
        return SequenceClassificationMetrics().compute(predictions=scores, references=labels, positive=target) or {}
    measure = regression_metrics if task.problem_type == "regression" else multilabel_metrics
    metrics: dict[str, Any] = dict(measure(scores, labels))
    if task.labels_by_column and len(names or []) > 1:
        metrics["each"] = scores_per_column(measure, scores, labels, names or [])
    return metrics


def plot_predictions(predictions: Predictions, folder: Path, positive: str | None, others: dict[str, Any]) -> None:
    """Draw ROC curves, precision-recall curves and the confusion matrix, if the labels are classes.

    Args:
        predictions: predictions of examples with labels; nothing is drawn unless the labels are classes.
        folder: folder for roc_pr.png and confusion.png.
        positive: class that the curves refer to; by default the second of two.
        others: name -> (scores, labels) of other models, whose curves are drawn too.
    """
    names = predictions.names
    if not predictions.examples.task.is_classification or not names:
        return
    scores, labels = predictions.labelled()
    target = names.index(positive) if positive else 1
    plot_roc_pr({"KmerBert": (scores, labels), **others}, folder / "roc_pr.png", positive=target)
    plot_confusion(labels, scores, names, folder / "confusion.png")
