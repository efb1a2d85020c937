"""Choose from validation predictions at which probability to decide, and how far to trust the probabilities.

A threshold moves the decision between two classes away from 0.5. A temperature divides the logits, so that among
predictions of 80 % confidence 80 % are right; it changes neither the most probable class nor the order of examples of
two classes.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logit

from ..inference.predictions import Predictions

#: Scores by which a threshold can be chosen.
ThresholdScore = Literal["macro_recall", "f1", "mcc"]
_MAX_TEMPERATURE = 100.0  # a fitted temperature lies between 1 / this and this
_BINS = 15


def choose_threshold(probabilities: np.ndarray, is_positive: np.ndarray, score: ThresholdScore) -> float:
    """Choose the threshold of the positive class that gives the best score; of several, the one nearest to 0.5.

    Args:
        probabilities: probability of the positive class, (examples,).
        is_positive: whether each example belongs to it, bool (examples,).
        score: "macro_recall", "f1" (of the positive class) or "mcc".

    Returns:
        A number between two probabilities that follow each other, or the higher one if no number lies between them: an
        example is positive if its probability is at least that.

    Raises:
        ValueError: if not both classes occur.
    """
    if is_positive.all() or not is_positive.any():
        raise ValueError("a threshold needs examples of both classes")
    order = np.argsort(-probabilities, kind="stable")
    ranked, truth = probabilities[order], is_positive[order]
    # The last example of each probability: no threshold separates examples of equal probability.
    cuts = np.flatnonzero(np.diff(ranked, append=-np.inf))
    true_positives, false_positives = truth.cumsum()[cuts], (~truth).cumsum()[cuts]
    found = _scores(true_positives, false_positives, int(truth.sum()), int((~truth).sum()))[score]
    below = np.append(ranked[cuts[:-1] + 1], 0.0)
    middle = (ranked[cuts] + below) / 2
    # No float lies between two neighbouring ones: their mean may be the lower one, which must stay negative.
    thresholds = np.where(middle > below, middle, ranked[cuts])
    best = np.flatnonzero(found >= found.max() - 1e-12)  # equal scores may differ by rounding
    return float(thresholds[best[np.abs(thresholds[best] - 0.5).argmin()]])


def _scores(tp: np.ndarray, fp: np.ndarray, positives: int, negatives: int) -> dict[str, np.ndarray]:
    """Compute the scores of thresholds from the true and false positives (tp, fp) of each of them."""
    fn, tn = positives - tp, negatives - fp
    predicted = (tp + fp) * (fn + tn)  # number of positive predictions, times that of negative ones
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 if all predictions are the same; 0 by convention
        mcc = (tp * tn - fp * fn) / np.sqrt(1.0 * predicted * positives * negatives)
    return {
        "macro_recall": (tp / positives + tn / negatives) / 2,
        "f1": 2 * tp / (positives + tp + fp),
        "mcc": np.where(predicted == 0, 0.0, mcc),
    }


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature that makes labels most likely.

    Args:
        probabilities: of classes, (examples, classes); or of independent labels, in the shape of ``labels``.
        labels: class ids, (examples,); or 0, 1 and NaN where not measured, (examples, labels).

    Returns:
        The number by which logits must be divided, in 0.01..100; 1 if no label is known.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    if not np.isfinite(labels).any():
        return 1.0
    logits = _logits(probabilities, labels)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if labels.ndim == 1:
            return -float(log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean())
        return float(np.nanmean(np.logaddexp(0, scaled) - labels * scaled))  # binary cross-entropy

    limit = np.log(_MAX_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


def with_temperature(probabilities: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities after division of the logits by a temperature.

    Args:
        probabilities: as in `fit_temperature`.
        labels: as in `fit_temperature`; only the number of axes matters.
        temperature: the temperature.
    """
    scaled = _logits(probabilities, labels) / temperature
    return np.exp(log_softmax(scaled, axis=1)) if labels.ndim == 1 else 1 / (1 + np.exp(-scaled))


def _logits(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return finite logits whose softmax (for classes) or sigmoid (for labels) gives these probabilities."""
    clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return np.log(clipped) if labels.ndim == 1 else logit(clipped)


def calibrate(network: Any, predictions: Predictions) -> float:
    """Divide the logits of a model by the temperature that fits its predictions best; return the temperature.

    Weights and bias of the classifier, the last layer, are divided, so that every program that loads the model gets
    the calibrated probabilities.

    Args:
        network: model for classes or several labels; it is changed.
        predictions: its predictions for validation data, with labels.
    """
    temperature = fit_temperature(*predictions.labelled())
    with torch.no_grad():
        for weight in _classifier_of(network).parameters():
            weight.div_(temperature)
    return temperature


def _classifier_of(network: Any) -> torch.nn.Module:
    """Return the last layer of a model; of an adapter the layer that was trained."""
    classifier = (network.get_base_model() if hasattr(network, "peft_config") else network).classifier
    return classifier.modules_to_save["default"] if hasattr(classifier, "modules_to_save") else classifier


class Reliability(NamedTuple):
    """How often predictions of each confidence are right.

    Attributes:
        confidence: mean confidence of the predictions in each bin, (bins,).
        accuracy: share of them that is right, (bins,).
        counts: number of them, (bins,); bins without any are omitted.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy, weighted by the counts."""
        return float((np.abs(self.confidence - self.accuracy) * self.counts).sum() / max(1, self.counts.sum()))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = _BINS) -> Reliability:
    """Compare confidence and accuracy in bins of equal width.

    Of two classes and more, the confidence is the largest probability, and a prediction is right if it is the true
    class. Of independent labels, the confidence is the probability of each label, and it is right if the label is 1.

    Args:
        probabilities: as in `fit_temperature`.
        labels: as in `fit_temperature`.
        bins: number of bins between 0 and 1.

    Source: Guo et al. 2017, section 2 (expected calibration error).
    """
    if labels.ndim == 1:
        confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    else:
        known = ~np.isnan(labels)
        confidence, right = probabilities[known], labels[known] == 1
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(places, minlength=bins)
    filled = count > 0
    of_confidence, of_right = (
        np.bincount(places, values, minlength=bins)[filled] / count[filled] for values in (confidence, right)
    )
    return Reliability(of_confidence, of_right, count[filled])
