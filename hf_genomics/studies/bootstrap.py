"""Confidence intervals by bootstrap over genomes: the windows of a genome are drawn together or not at all.

Windows of one genome resemble each other, so an interval that treats them as independent is too narrow. A bootstrap
sample is a weight for every unit (a genome, or a group of relatives), and every score here is a function of weights:
recall and F1 of a weighted sum of confusion matrices, AUROC of a bilinear form. Nothing is ever sorted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: Scores of `weighted_scores`.
SCORES = ("macro_recall", "f1", "auroc")


class UnitCounts(NamedTuple):
    """What a model predicts for the test windows of two classes, counted per unit.

    Attributes:
        confusion: windows by unit, true class and predicted class; class 1 is the positive one, (units, 2, 2).
        concordance: for each pair of units, the pairs of a positive window of the first and another window of the
            second in which the positive one has the higher score; ties count half, (units, units).
    """

    confusion: np.ndarray
    concordance: np.ndarray


def count_units(
    scores: np.ndarray, positive: np.ndarray, predicted: np.ndarray, units: np.ndarray, num_units: int
) -> UnitCounts:
    """Count the predictions of each unit.

    Args:
        scores: score of the positive class, (windows,).
        positive: whether the window is of the positive class, bool (windows,).
        predicted: whether the model calls it positive, bool (windows,).
        units: unit of each window, int (windows,).
        num_units: number of units.
    """
    confusion = np.zeros((num_units, 2, 2))
    np.add.at(confusion, (units, positive.astype(int), predicted.astype(int)), 1)
    concordance = np.zeros((num_units, num_units))
    for unit in np.unique(units[~positive]):
        others = np.sort(scores[(units == unit) & ~positive])
        # The mean of both ranks counts a tie as half a win.
        wins = sum(np.searchsorted(others, scores[positive], side) for side in ("left", "right")) / 2
        concordance[:, unit] = np.bincount(units[positive], wins, num_units)
    return UnitCounts(confusion, concordance)


def weighted_scores(counts: UnitCounts, weights: np.ndarray) -> np.ndarray:
    """Compute the scores of bootstrap samples.

    Args:
        counts: predictions per unit.
        weights: how often each unit occurs in each sample, (samples, units).

    Returns:
        `SCORES` of each sample, (samples, 3); F1 and AUROC are of the positive class.
    """
    confusion = np.tensordot(weights, counts.confusion, axes=1)  # (samples, true, predicted)
    totals = confusion.sum(axis=2)  # windows of each class
    recall = confusion[:, [0, 1], [0, 1]] / totals
    hits, misses, false_alarms = confusion[:, 1, 1], confusion[:, 1, 0], confusion[:, 0, 1]
    f1 = 2 * hits / np.maximum(2 * hits + misses + false_alarms, 1)
    wins = np.einsum("su,su->s", weights @ counts.concordance, weights)
    return np.stack([recall.mean(axis=1), f1, wins / totals.prod(axis=1)], axis=1)


def draw_weights(classes: np.ndarray, samples: int, seed: int = 0) -> np.ndarray:
    """Draw bootstrap samples of units, class by class, so that every sample has both classes.

    Args:
        classes: class of each unit, (units,).
        samples: number of samples.
        seed: seed of the draws.

    Returns:
        How often each unit occurs in each sample, (samples + 1, units). The first row is the data themselves: all ones.
    """
    random, weights = np.random.default_rng(seed), np.ones((samples + 1, len(classes)))
    for one in np.unique(classes):
        (members,) = np.nonzero(classes == one)
        chances = np.full(len(members), 1 / len(members))
        weights[1:, members] = random.multinomial(len(members), chances, size=samples)
    return weights


class Estimate(NamedTuple):
    """A score with its 95 % confidence interval.

    Attributes:
        value: score of the data.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float


def estimate(samples: Sequence[float] | np.ndarray) -> Estimate:
    """Return a score and the percentile interval of its bootstrap samples.

    Args:
        samples: the score of the data, then the scores of the samples.

    >>> estimate([0.5, 0.0, 1.0])
    Estimate(value=0.5, low=0.025, high=0.975)
    """
    low, high = np.percentile(samples[1:], [2.5, 97.5]) if len(samples) > 1 else (np.nan, np.nan)
    return Estimate(float(samples[0]), float(low), float(high))
