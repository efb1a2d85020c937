"""Explain scores: which class they refer to, how many classes are in each mean, and why a score has no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Scores without a value if every label is the same.
_NEED_TWO_CLASSES = ("mcc", "auroc", "auprc")
# Scores without a value if every target is the same.
_NEED_VARYING_TARGETS = ("r2", "pearson", "spearman")


def explain_classification(
    metrics: Mapping[str, float],
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    positive: str | None,
    predicted: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the scores of classes, and what they mean.

    Args:
        metrics: as `classification_metrics` returns them.
        probabilities: (examples, classes).
        labels: class ids, (examples,).
        names: names of the classes.
        positive: name of the positive class of two; None for another number of classes.
        predicted: predicted class ids, (examples,); by default the most probable classes.

    Returns:
        The scores; "positive", the class that f1 and auprc refer to, if there are two; "means_over", the number of
        classes in each mean; and "undefined", the reason for each score that is NaN, if there is one.
    """
    occurring = np.unique(labels)
    # The mean recall covers the classes that occur: the recall of any other class is 0 / 0. A class that is
    # predicted but does not occur has a precision of 0, so the mean precision and the mean F1 cover it, too.
    predicted = probabilities.argmax(axis=1) if predicted is None else predicted
    num_classes = len(np.union1d(occurring, predicted))
    means = {"macro_recall": len(occurring), "macro_precision": num_classes, "f1_macro": num_classes}
    if len(names) > 2:
        # AUROC and AUPRC need examples of a class and of another one, so they have no value if only one class occurs.
        num_ranked_classes = len(occurring) if len(occurring) > 1 else 0
        means |= {"f1": num_classes, "auroc": num_ranked_classes, "auprc": num_ranked_classes}
    explained: dict[str, Any] = dict(metrics)
    if positive is not None and len(names) == 2:
        explained["positive"] = positive
    return explained | {"means_over": means} | _reasons(metrics, undefined_by_classes(labels, names))


def explain_columns(
    metrics: Mapping[str, float],
    each: Mapping[str, Mapping[str, float]],
    predictions: np.ndarray,
    labels: np.ndarray,
    problem: str,
) -> dict[str, Any]:
    """Return the scores of several labels or targets, or of one value, and what they mean.

    Args:
        metrics: means over the columns.
        each: scores of each column by its name, in the order of the columns.
        predictions: probabilities or predicted numbers, (examples, columns).
        labels: true labels or targets, (examples, columns), NaN where missing.
        problem: "multi_label_classification" or "regression".

    Returns:
        The scores; "undefined", the reason for each score that is NaN; and, if there are several columns, "means_over",
        the number of columns in each mean, and "each", the scores of every column with the reasons of its own.
    """
    reasons = undefined_by_columns(labels, problem, predictions)
    explained: dict[str, Any] = dict(metrics) | _reasons(metrics, reasons)
    if len(each) < 2:
        return explained
    explained["means_over"] = {
        name: sum(not np.isnan(column_scores[name]) for column_scores in each.values()) for name in metrics
    }
    explained["each"] = {}
    for number, (column, column_scores) in enumerate(each.items()):
        reasons = undefined_by_columns(labels[:, [number]], problem, predictions[:, [number]])
        explained["each"][column] = dict(column_scores) | _reasons(column_scores, reasons)
    return explained


def undefined_by_classes(labels: np.ndarray, names: Sequence[str]) -> dict[str, str]:
    """Return the scores of classes that have no value with these true labels, and why.

    Args:
        labels: class ids, (examples,).
        names: names of the classes.

    >>> undefined_by_classes(np.array([1, 1]), ["a", "b"])["auroc"]
    "every label is 'b'"
    """
    occurring = np.unique(labels)
    if len(occurring) > 1:
        return {}
    why = f"every label is {names[int(occurring[0])]!r}" if len(occurring) else "no row has a label"
    return dict.fromkeys(_NEED_TWO_CLASSES, why)


def undefined_by_columns(labels: np.ndarray, problem: str, predictions: np.ndarray | None = None) -> dict[str, str]:
    """Return the scores that have no value in any column, and why.

    Args:
        labels: true labels or targets, (examples, columns), NaN where missing.
        problem: "multi_label_classification" or "regression".
        predictions: predicted numbers, (examples, columns); None to judge by the labels alone.

    >>> undefined_by_columns(np.array([[0.0], [0.0]]), "multi_label_classification")["auroc"]
    'the label is 0 in every row'
    """
    columns = [column[~np.isnan(column)] for column in labels.T]
    many = len(columns) > 1
    if not any(map(len, columns)):
        scores = ("f1", "auroc", "auprc") if problem != "regression" else ("mse", "mae", *_NEED_VARYING_TARGETS)
        return dict.fromkeys(scores, "no row has a label")
    varying = [len(column) > 1 and np.ptp(column) > 0 for column in columns]
    if problem == "multi_label_classification":
        without_positives = "every label is 0 in every row" if many else "no row has the label"
        reasons = {} if any((column == 1).any() for column in columns) else {"f1": without_positives}
        if not any(varying):
            first = next(column[0] for column in columns if len(column))
            why = "no label has both 0 and 1" if many else f"the label is {first:g} in every row"
            reasons |= dict.fromkeys(("auroc", "auprc"), why)
        return reasons
    if not any(varying):
        why = "no target varies" if many else f"the target is {columns[0][0]:g} in every row"
        return dict.fromkeys(_NEED_VARYING_TARGETS, why)
    if predictions is None:
        return {}
    # A correlation needs a column in which the targets and the predictions for them vary.
    compared = [column[~np.isnan(truth)] for column, truth in zip(predictions.T, labels.T, strict=True)]
    some_vary = any(varies and np.ptp(column) > 0 for column, varies in zip(compared, varying, strict=True))
    return {} if some_vary else dict.fromkeys(("pearson", "spearman"), "the predictions do not vary")


def _reasons(metrics: Mapping[str, float], reasons: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return {"undefined": the reason for each score that is NaN}; {} if all scores have a value."""
    unexplained = "the score could not be computed from these predictions"
    undefined = {name: reasons.get(name, unexplained) for name, value in metrics.items() if np.isnan(value)}
    return {"undefined": undefined} if undefined else {}
