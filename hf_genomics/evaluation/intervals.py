"""Confidence intervals of scores, by bootstrap over rows or over groups of rows.

A replicate draws as many units (rows, or groups such as genomes) as there are, with replacement, and separately in each
class, so that the balance of the classes is kept. Instead of copying rows, it counts how often each one was drawn; the
scores are then weighted by these counts, for many replicates at once.

Source: Efron & Tibshirani (1993), percentile intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

REPLICATES = 1000
SEED = 0  # of the draws, unless a caller chooses another
_LEAST_REPLICATES = 100
_MOST_CELLS = 2e8  # replicates x rows x columns; for more data there are fewer replicates
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
        """Return the lower and upper bound of each score; a score that no replicate defines is left out.

        Args:
            share: share of the replicates between the bounds.
        """
        ends = [50 * (1 - share), 50 * (1 + share)]
        known = {name: values[~np.isnan(values)] for name, values in self.values.items()}
        return {name: np.percentile(values, ends).tolist() for name, values in known.items() if len(values)}


def bootstrap(
    problem: str,
    scores: np.ndarray,
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
        scores: probabilities (rows, classes), or probabilities or predicted values (rows, columns).
        labels: class ids (rows,), or labels or values (rows, columns), NaN where unknown.
        positive: positive class of two.
        predicted: predicted class ids, (rows,); by default the most probable class.
        groups: name of the group of each row, (rows,); None to draw rows.
        seed: seed of the draws.

    Returns:
        The scores that `metrics` computes, by the same names.
    """
    single = problem == "single_label_classification"
    units = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    strata = _strata(units, labels if single else np.zeros(len(labels), np.int64))
    columns = 1 if scores.ndim == 1 else scores.shape[1]
    number = int(np.clip(_MOST_CELLS / max(1, len(labels) * columns), _LEAST_REPLICATES, REPLICATES))
    found: list[dict[str, np.ndarray]] = []
    for counts in _draws(strata, number, max(1, _CHUNK_CELLS // max(1, len(labels))), seed):
        weights = counts[:, units].astype(np.float64)
        if single:
            classes = scores.argmax(1) if predicted is None else predicted
            found.append(class_scores(weights, scores, labels, classes, positive))
        else:
            found.append(column_scores(weights, scores, labels, regression=problem == "regression"))
    values = {name: np.concatenate([chunk[name] for chunk in found]) for name in found[0]}
    return Bootstrap(values, "rows" if groups is None else "groups")


def _strata(units: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Return the units of each class; a group belongs to the most frequent class of its rows."""
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
            drawn = random.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
            counts[:, stratum] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
        yield counts


def class_scores(
    weights: np.ndarray, scores: np.ndarray, labels: np.ndarray, predicted: np.ndarray, positive: int
) -> dict[str, np.ndarray]:
    """Compute the scores of `metrics.classification_metrics` for weighted rows.

    Args:
        weights: how often each row counts, float64 (replicates, rows).
        scores: probabilities, (rows, classes).
        labels: class ids, (rows,).
        predicted: predicted class ids, (rows,).
        positive: positive class of two.

    Returns:
        name of the score -> (replicates,).
    """
    classes = scores.shape[1]
    found = _decision_scores(weights, labels, predicted, classes, positive)
    ranked = [
        _ranking_scores(weights, scores[:, c], labels == c) for c in ([positive] if classes == 2 else range(classes))
    ]
    return found | {
        name: _mean(np.stack(values))
        for name, values in zip(("auroc", "auprc"), zip(*ranked, strict=True), strict=True)
    }


def _decision_scores(
    weights: np.ndarray, labels: np.ndarray, predicted: np.ndarray, classes: int, positive: int
) -> dict[str, np.ndarray]:
    """Compute the scores that follow from the confusion matrix of each replicate."""
    cells = labels * classes + predicted
    counts = np.zeros((len(weights), classes * classes))
    for cell in np.unique(cells):
        counts[:, cell] = weights[:, cells == cell].sum(1)
    confusion = counts.reshape(-1, classes, classes)  # (replicates, true class, predicted class)
    right, true, guessed = confusion.diagonal(axis1=1, axis2=2), confusion.sum(2), confusion.sum(1)
    total, seen = true.sum(1), (true > 0) | (guessed > 0)
    recall, precision = _ratio(right, true), _ratio(right, guessed)
    f1 = _ratio(2 * right, true + guessed)
    f1_macro = _mean(np.where(seen, f1, np.nan).T)
    return {
        "accuracy": right.sum(1) / total,
        "macro_recall": _mean(np.where(true > 0, recall, np.nan).T),
        "macro_precision": _mean(np.where(seen, precision, np.nan).T),
        "f1": f1[:, positive] if classes == 2 else f1_macro,
        "f1_macro": f1_macro,
        "mcc": _mcc(right.sum(1), total, true, guessed),
    }


def _mcc(right: np.ndarray, total: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """Compute Matthews' correlation from the sums of confusion matrices: NaN with one true class, 0 with one guess."""
    covariance = right * total - (true * guessed).sum(1)
    spread, of_guesses = total**2 - (true**2).sum(1), total**2 - (guessed**2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = covariance / np.sqrt(spread * of_guesses)
    return np.where(spread == 0, np.nan, np.where(of_guesses == 0, 0.0, found))


def _ranking_scores(weights: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute AUROC and AUPRC of one class for weighted rows; NaN where a replicate lacks either truth."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # rows with equal scores count together
    weights, truth = weights[:, order], truth[order]
    positives = np.add.reduceat(weights * truth, starts, axis=1)
    negatives = np.add.reduceat(weights * ~truth, starts, axis=1)
    hits, alarms = positives.cumsum(1), negatives.cumsum(1)
    all_positive, all_negative = hits[:, -1], alarms[:, -1]
    # A positive wins against the negatives ranked below it, and half against those of its own score.
    wins = (positives * (all_negative[:, None] - alarms + negatives / 2)).sum(1)
    area = _ratio((positives * _ratio(hits, hits + alarms)).sum(1), all_positive)
    undefined = (all_positive == 0) | (all_negative == 0)
    return np.where(undefined, np.nan, _ratio(wins, all_positive * all_negative)), np.where(undefined, np.nan, area)


def column_scores(
    weights: np.ndarray, scores: np.ndarray, labels: np.ndarray, *, regression: bool
) -> dict[str, np.ndarray]:
    """Compute the scores of `metrics.multilabel_metrics` or `metrics.regression_metrics` for weighted rows.

    Args:
        weights: how often each row counts, float64 (replicates, rows).
        scores: probabilities or predicted values, (rows, columns) or (rows,).
        labels: labels or values, NaN where unknown, in the shape of ``scores``.
        regression: whether the columns hold values.

    Returns:
        name of the score -> its mean over the columns that define it, (replicates,).
    """
    scores, labels = scores.reshape(len(scores), -1), labels.reshape(len(labels), -1)
    measure = _regression_column if regression else _label_column
    columns = []
    for guess, truth in zip(scores.T, labels.T, strict=True):
        known = ~np.isnan(truth)
        if known.any():
            columns.append(measure(weights[:, known], guess[known].astype(np.float64), truth[known].astype(np.float64)))
    return {name: _mean(np.stack([column[name] for column in columns])) for name in columns[0]} if columns else {}


def _label_column(weights: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the scores of one yes/no label."""
    truth, guess = labels == 1, scores >= 0.5
    true, guessed = (weights[:, rows].sum(1) for rows in (truth, guess))
    f1 = _ratio(2 * weights[:, truth & guess].sum(1), true + guessed)
    auroc, auprc = _ranking_scores(weights, scores, truth)
    return {"f1": np.where(true > 0, f1, np.nan), "auroc": auroc, "auprc": auprc}


def _regression_column(weights: np.ndarray, guess: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the scores of one value."""
    total = weights.sum(1)
    squares = weights @ (guess - truth) ** 2
    mean = (weights @ truth / np.maximum(total, 1))[:, None]
    spread = (weights * (truth - mean) ** 2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A spread below rounding errors is that of equal values.
        r2 = np.where(spread > 1e-12 * total * np.square(truth).max(), 1 - squares / spread, np.nan)
        errors = {"mse": squares / total, "mae": weights @ np.abs(guess - truth) / total}
    ranks = _ranks(weights, guess), _ranks(weights, truth)
    rows = np.ones((len(weights), 1))
    return errors | {
        "r2": r2,
        "pearson": _correlation(weights, guess * rows, truth * rows),
        "spearman": _correlation(weights, *ranks),
    }


def _ranks(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the ranks of values among weighted rows, equal values with the mean of their ranks, (replicates, rows)."""
    _, place = np.unique(values, return_inverse=True)
    of_place = np.zeros((len(weights), place.max() + 1))
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(of_place.shape[1]))
    of_place[:] = np.add.reduceat(weights[:, order], starts, axis=1)
    return (of_place.cumsum(1) - of_place / 2 + 0.5)[:, place]


def _correlation(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation of weighted rows, (replicates,); NaN where one of the two does not vary."""
    total = np.maximum(weights.sum(1, keepdims=True), 1)
    first, second = (part - (weights * part).sum(1, keepdims=True) / total for part in (first, second))
    spreads = [(weights * part**2).sum(1) for part in (first, second)]
    least = [1e-12 * total[:, 0] * np.square(part).max(1) for part in (first, second)]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (weights * first * second).sum(1) / np.sqrt(spreads[0] * spreads[1])
    return np.where((spreads[0] > least[0]) & (spreads[1] > least[1]), found, np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Compute the mean over the first axis of the values that are not NaN; NaN where all are."""
    known = ~np.isnan(values)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, values, 0).sum(0) / np.maximum(count, 1), np.nan)
