"""Confidence intervals of scores, by bootstrap over rows or over groups of rows.

A replicate draws as many units (rows, or groups such as genomes) as there are, with replacement. Groups are drawn
whole, because rows of one group resemble each other: drawing single rows would make the intervals too narrow. If each
row has one class, units are drawn separately in each class (a stratum), so that every replicate has as many rows (or
groups) of each class as the data. Instead of copying rows, a replicate counts how often each one was drawn; the scores
are then weighted by these counts, for many replicates at once.

In this module a score is a metric, such as F1. The numbers that a model computes for a row are called its outputs.

A class with one group only is the same in every replicate, so its intervals are too narrow; a warning says so.

Source: Efron & Tibshirani (1993), percentile intervals.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

logger = logging.getLogger(__name__)

REPLICATES = 1000
SEED = 0  # of the draws, unless a caller chooses another
_LEAST_REPLICATES = 100
_MOST_CELLS = 2e8  # replicates x rows x columns: seconds of work; for more data there are fewer replicates
_CHUNK_CELLS = 1 << 20  # replicates x rows computed at once


class Bootstrap(NamedTuple):
    """Scores of replicates.

    Attributes:
        values: name of the score -> its value in each replicate, float64 (replicates,); NaN where it is undefined.
        over: what was drawn: "rows" or "groups".
    """

    values: dict[str, np.ndarray]
    over: str

    @property
    def replicates(self) -> int:
        """Number of replicates."""
        return len(next(iter(self.values.values()), ()))

    def intervals(self, share: float = 0.95) -> dict[str, list[float]]:
        """Return the lower and upper bound of each score over the replicates that define it.

        A score that no replicate defines is left out.

        Args:
            share: confidence level: the share of the replicates between the bounds.
        """
        percentiles = [50 * (1 - share), 50 * (1 + share)]
        known = {name: values[~np.isnan(values)] for name, values in self.values.items()}
        return {name: np.percentile(values, percentiles).tolist() for name, values in known.items() if len(values)}


def bootstrap(
    problem: str,
    outputs: np.ndarray,
    labels: np.ndarray,
    *,
    positive: int = 1,
    predicted: np.ndarray | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    seed: int = SEED,
) -> Bootstrap:
    """Compute the scores of bootstrap replicates; the same labels, groups and seed draw the same replicates.

    Args:
        problem: "single_label_classification", "multi_label_classification" or "regression".
        outputs: of the model: probabilities, (rows, classes) or (rows, labels), or predicted values, (rows, targets).
        labels: class ids, (rows,), or yes/no labels or values, (rows, labels or targets), NaN where unknown.
        positive: positive class of two.
        predicted: predicted class ids, (rows,); by default the most probable class.
        groups: name of the group of each row, (rows,); None to draw rows.
        seed: seed of the draws.

    Returns:
        The scores that `metrics` computes, by the same names. They are NaN if all replicates are the same because every
        class has one group only: nothing is then known about how much the scores would vary.
    """
    one_class = problem == "single_label_classification"
    # The number of each row's unit: of the row itself, or of its group.
    units = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    # Rows with yes/no labels or values form one stratum.
    strata = _strata(units, labels if one_class else np.zeros(len(labels), np.int64))
    columns = 1 if outputs.ndim == 1 else outputs.shape[1]
    number = int(np.clip(_MOST_CELLS / max(1, len(labels) * columns), _LEAST_REPLICATES, REPLICATES))
    found: list[dict[str, np.ndarray]] = []
    for counts in _draws(strata, number, max(1, _CHUNK_CELLS // max(1, len(labels))), seed):
        weights = counts[:, units].astype(np.float64)
        if one_class:
            classes = outputs.argmax(1) if predicted is None else predicted
            found.append(class_scores(weights, outputs, labels, classes, positive))
        else:
            found.append(column_scores(weights, outputs, labels, regression=problem == "regression"))
    values = {name: np.concatenate([chunk[name] for chunk in found]) for name in found[0]}
    if groups is None:
        return Bootstrap(values, "rows")
    return Bootstrap(_without_single_groups(values, strata), "groups")


def _without_single_groups(values: dict[str, np.ndarray], strata: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the scores of replicates, NaN if every class has one group only; warn if some classes have."""
    constant = sum(len(stratum) == 1 for stratum in strata)  # classes that are the same in every replicate
    if constant == len(strata):
        logger.warning("no intervals: there is one group only%s", " in each class" if len(strata) > 1 else "")
        return {name: np.full_like(column, np.nan) for name, column in values.items()}
    if constant:
        logger.warning(
            "the intervals are too narrow: %d of %d classes have one group only, which does not vary",
            constant, len(strata),
        )  # fmt: skip
    return values


def _strata(units: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Return the units of each stratum; a group belongs to the most frequent class of its rows."""
    classes, coded = np.unique(labels, return_inverse=True)
    table = np.zeros((int(units.max(initial=-1)) + 1, len(classes)), np.int64)
    np.add.at(table, (units, coded), 1)
    of_unit = table.argmax(1)
    return [np.flatnonzero(of_unit == number) for number in np.unique(of_unit)]


def _draws(strata: list[np.ndarray], number: int, chunk: int, seed: int) -> Iterator[np.ndarray]:
    """Iterate over how often each unit is drawn in each replicate, int64 (up to ``chunk`` replicates, units)."""
    # Each class has its own generator, so that the size of a chunk does not change the draws.
    randoms = [np.random.default_rng([seed, place]) for place in range(len(strata))]
    units = sum(map(len, strata))
    for begin in range(0, number, chunk):
        rows = min(chunk, number - begin)
        counts = np.zeros((rows, units), np.int64)
        for random, stratum in zip(randoms, strata, strict=True):
            size = len(stratum)
            # One bincount for all replicates, after adding r * size to the units of replicate r. For 2 replicates of 3
            # units, the draws [[0, 2, 2], [1, 1, 0]] become [[0, 2, 2], [4, 4, 3]]: counts [1, 0, 2] and [1, 2, 0].
            drawn = random.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
            counts[:, stratum] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
        yield counts


def class_scores(
    weights: np.ndarray, outputs: np.ndarray, labels: np.ndarray, predicted: np.ndarray, positive: int
) -> dict[str, np.ndarray]:
    """Compute the scores of `metrics.classification_metrics` for weighted rows.

    Args:
        weights: how often each row counts, float64 (replicates, rows).
        outputs: probabilities, (rows, classes).
        labels: class ids, (rows,).
        predicted: predicted class ids, (rows,).
        positive: positive class of two.

    Returns:
        name of the score -> (replicates,).
    """
    classes = outputs.shape[1]
    found = _decision_scores(weights, labels, predicted, classes, positive)
    ranked = [
        _ranking_scores(weights, outputs[:, c], labels == c) for c in ([positive] if classes == 2 else range(classes))
    ]
    aurocs, auprcs = zip(*ranked, strict=True)  # one array for each class
    return found | {"auroc": _mean(np.stack(aurocs)), "auprc": _mean(np.stack(auprcs))}


def _decision_scores(
    weights: np.ndarray, labels: np.ndarray, predicted: np.ndarray, classes: int, positive: int
) -> dict[str, np.ndarray]:
    """Compute the scores that follow from the confusion matrix of each replicate."""
    cells = labels * classes + predicted
    counts = np.zeros((len(weights), classes * classes))
    for cell in np.unique(cells):
        counts[:, cell] = weights[:, cells == cell].sum(1)
    confusion = counts.reshape(-1, classes, classes)  # (replicates, true class, predicted class)
    # Per class: rows predicted correctly (true positives), rows that belong to it, rows predicted as it.
    correct, actual, called = confusion.diagonal(axis1=1, axis2=2), confusion.sum(2), confusion.sum(1)
    total = actual.sum(1)
    recall, precision, f1 = _ratio(correct, actual), _ratio(correct, called), _ratio(2 * correct, actual + called)
    # The same classes as in `metrics.classification_metrics`: recall needs a row of the class, precision and F1 need a
    # row that belongs to it or is predicted as it.
    occurs = (actual > 0) | (called > 0)
    f1_macro = _mean(np.where(occurs, f1, np.nan).T)
    return {
        "accuracy": correct.sum(1) / total,
        "macro_recall": _mean(np.where(actual > 0, recall, np.nan).T),
        "macro_precision": _mean(np.where(occurs, precision, np.nan).T),
        # 0 if no row is positive, as in `metrics.decision_metrics`; the F1 of a yes/no label is NaN then.
        "f1": f1[:, positive] if classes == 2 else f1_macro,
        "f1_macro": f1_macro,
        "mcc": _mcc(correct.sum(1), total, actual, called),
    }


def _mcc(correct: np.ndarray, total: np.ndarray, actual: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Compute Matthews' correlation from the sums of confusion matrices.

    It is the correlation of true and predicted class: their covariance, divided by the square root of the product of
    their variances. All three are computed times the squared number of rows, which cancels out. It is NaN if all rows
    are of one class, and 0 if all predictions are the same class.

    Source: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    covariance = correct * total - (actual * called).sum(1)
    variance_actual, variance_called = total**2 - (actual**2).sum(1), total**2 - (called**2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = covariance / np.sqrt(variance_actual * variance_called)
    return np.where(variance_actual == 0, np.nan, np.where(variance_called == 0, 0.0, found))


def _ranking_scores(weights: np.ndarray, outputs: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute AUROC and AUPRC of one class for weighted rows; NaN where a replicate lacks positives or negatives."""
    order = np.argsort(-outputs, kind="stable")
    starts = np.flatnonzero(np.diff(outputs[order], prepend=np.inf))  # rows with equal outputs count together
    weights, truth = weights[:, order], truth[order]
    positives = np.add.reduceat(weights * truth, starts, axis=1)
    negatives = np.add.reduceat(weights * ~truth, starts, axis=1)
    # True and false positives at each threshold, from the highest output down.
    hits, alarms = positives.cumsum(1), negatives.cumsum(1)
    all_positive, all_negative = hits[:, -1], alarms[:, -1]
    # A positive wins against the negatives ranked below it, and half against those of its own output.
    wins = (positives * (all_negative[:, None] - alarms + negatives / 2)).sum(1)
    # AUPRC as average precision, without interpolation.
    auprc = _ratio((positives * _ratio(hits, hits + alarms)).sum(1), all_positive)
    undefined = (all_positive == 0) | (all_negative == 0)
    return np.where(undefined, np.nan, _ratio(wins, all_positive * all_negative)), np.where(undefined, np.nan, auprc)


def column_scores(
    weights: np.ndarray, outputs: np.ndarray, labels: np.ndarray, *, regression: bool
) -> dict[str, np.ndarray]:
    """Compute the scores of `metrics.multilabel_metrics` or `metrics.regression_metrics` for weighted rows.

    Args:
        weights: how often each row counts, float64 (replicates, rows).
        outputs: probabilities or predicted values, (rows, columns) or (rows,).
        labels: labels or values, NaN where unknown, in the shape of ``outputs``.
        regression: whether the columns hold values.

    Returns:
        name of the score -> its mean over the columns that define it, (replicates,).
    """
    outputs, labels = outputs.reshape(len(outputs), -1), labels.reshape(len(labels), -1)
    measure = _regression_column if regression else _label_column
    columns = []
    for guess, truth in zip(outputs.T, labels.T, strict=True):
        known = ~np.isnan(truth)
        if known.any():
            columns.append(measure(weights[:, known], guess[known].astype(np.float64), truth[known].astype(np.float64)))
    return {name: _mean(np.stack([column[name] for column in columns])) for name in columns[0]} if columns else {}


def _label_column(weights: np.ndarray, outputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the scores of one yes/no label."""
    truth, guess = labels == 1, outputs >= 0.5
    actual, called = (weights[:, rows].sum(1) for rows in (truth, guess))
    f1 = _ratio(2 * weights[:, truth & guess].sum(1), actual + called)
    auroc, auprc = _ranking_scores(weights, outputs, truth)
    return {"f1": np.where(actual > 0, f1, np.nan), "auroc": auroc, "auprc": auprc}


def _regression_column(weights: np.ndarray, guess: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the scores of one value."""
    total = weights.sum(1)
    squares = weights @ (guess - truth) ** 2
    mean = (weights @ truth / np.maximum(total, 1))[:, None]
    spread = (weights * (truth - mean) ** 2).sum(1)
    # As in `metrics`: constant targets have no R2, and a constant has no correlation.
    truth_varies = _varies(weights, truth)
    both_vary = truth_varies & _varies(weights, guess)
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = {"mse": squares / total, "mae": weights @ np.abs(guess - truth) / total}
        r2 = 1 - squares / spread
    pearson = _correlation(weights, *(np.broadcast_to(values, weights.shape) for values in (guess, truth)))
    spearman = _correlation(weights, _ranks(weights, guess), _ranks(weights, truth))
    return errors | {
        "r2": np.where(truth_varies, r2, np.nan),
        "pearson": np.where(both_vary, pearson, np.nan),
        "spearman": np.where(both_vary, spearman, np.nan),
    }


def _varies(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return whether the drawn rows of each replicate have different values, bool (replicates,).

    The values are compared, because the variance of equal ones is not exactly 0: rounding errors remain.
    """
    drawn, values = weights > 0, np.broadcast_to(values, weights.shape)
    return values.max(1, where=drawn, initial=-np.inf) > values.min(1, where=drawn, initial=np.inf)


def _ranks(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the ranks of values among weighted rows, equal values with the mean of their ranks, (replicates, rows)."""
    distinct, value_of_row = np.unique(values, return_inverse=True)
    order = np.argsort(value_of_row, kind="stable")
    starts = np.searchsorted(value_of_row[order], np.arange(len(distinct)))
    rows_of_value = np.add.reduceat(weights[:, order], starts, axis=1)  # (replicates, distinct values)
    # The mean rank of equal values: the rows with lower values, plus half of (their own number + 1).
    return (rows_of_value.cumsum(1) - rows_of_value / 2 + 0.5)[:, value_of_row]


def _correlation(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation of weighted rows, (replicates,); meaningless where one of the two is constant.

    Args:
        weights: how often each row counts, (replicates, rows).
        first: one value of each row, (replicates, rows), since ranks differ between replicates.
        second: the other value of each row, (replicates, rows).
    """
    total = np.maximum(weights.sum(1, keepdims=True), 1)
    first, second = (part - (weights * part).sum(1, keepdims=True) / total for part in (first, second))
    spreads = [(weights * part**2).sum(1) for part in (first, second)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights * first * second).sum(1) / (np.sqrt(spreads[0]) * np.sqrt(spreads[1]))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Compute the mean over the first axis of the values that are not NaN; NaN where all are."""
    known = ~np.isnan(values)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, values, 0).sum(0) / np.maximum(count, 1), np.nan)
