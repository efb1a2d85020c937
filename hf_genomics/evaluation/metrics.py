"""Scores of predictions, computed by scikit-learn: as pure functions, for the Trainer, and as an ``evaluate.Metric``.

Three decisions hold for every score here:

- scores that count decisions (accuracy, recall, precision, F1) are 0 if there is nothing to count;
- scores that rank examples (AUROC, AUPRC) or correlate them (MCC, Pearson, Spearman, R2) are NaN, with one logged
  warning, if the labels do not define them, for instance if all examples are of one class; Pearson and Spearman also
  if the predictions do not vary. The metric for a plain Trainer omits them, because the Trainer would write NaN into
  JSON and never choose such a model as the best;
- nothing is downloaded: the metric is a local class, not a name for ``evaluate.load``.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import datasets
import evaluate
import numpy as np
import scipy.stats
from scipy.special import expit, softmax
from sklearn import metrics as sk

from ..sequence import IGNORE_INDEX

if TYPE_CHECKING:
    from transformers import EvalPrediction

logger = logging.getLogger(__name__)

_CLASSES = dict.fromkeys("accuracy macro_recall macro_precision f1 f1_macro mcc auroc auprc".split(), True)
#: Names of the scores of an evaluation, by the type of problem, and whether a larger value is better.
SCORES: dict[str, dict[str, bool]] = {
    "single_label_classification": {"loss": False} | _CLASSES,
    "multi_label_classification": {"loss": False, "f1": True, "auroc": True, "auprc": True},
    "regression": {"loss": False, "mse": False, "mae": False, "r2": True, "pearson": True, "spearman": True},
}

_DESCRIPTION = """Scores of a sequence classifier: accuracy, macro_recall (balanced accuracy; the paper's Recall_M),
macro_precision, f1 (two classes: F1 of the positive class; more: the macro mean), f1_macro, mcc, auroc, auprc (two
classes: AUPRC of the positive class; more: mean over one class versus the rest)."""


def classification_metrics(
    probabilities: np.ndarray, labels: np.ndarray, *, positive: int = 1, predicted: np.ndarray | None = None
) -> dict[str, float]:
    """Compute the scores of class probabilities.

    Args:
        probabilities: (examples, classes). Rows need not sum to 1: any scores that grow with the model's confidence
            are accepted.
        labels: class ids 0..classes-1, (examples,).
        positive: with two classes, id of the class that ``f1``, ``auroc`` and ``auprc`` refer to (paper: phage).
        predicted: predicted class ids, (examples,); by default the most probable classes.

    Returns:
        accuracy, macro_recall (over the classes that occur in ``labels``), macro_precision and f1_macro (over the
        classes that occur or are predicted), f1, mcc, auroc, auprc. With more than two classes ``f1`` is ``f1_macro``,
        and ``auroc`` and ``auprc`` are means over one class versus the rest.

    Raises:
        ValueError: if shapes disagree, there are no examples, a label is not a class, or a probability is NaN or
            infinite.

    Source: GenomeNet-BERT, Table 1 (macro recall) and its F1 with phages as positives.
    """
    probabilities, labels = _checked(probabilities, labels)
    predicted = probabilities.argmax(axis=1) if predicted is None else predicted
    # Where MCC is not defined, neither are AUROC and AUPRC, and one warning is enough.
    decisions = _decision_scores(predicted, labels, num_classes=probabilities.shape[1], positive=positive)
    return decisions | _ranking_metrics(probabilities, labels, positive)


def decision_metrics(
    predicted: np.ndarray, labels: np.ndarray, *, num_classes: int = 2, positive: int = 1
) -> dict[str, float]:
    """Compute the scores of predicted class ids: the part of `classification_metrics` that needs no probabilities.

    Args:
        predicted: predicted class ids 0..num_classes-1, (examples,).
        labels: true class ids, (examples,).
        num_classes: number of classes; with 2, ``f1`` is the F1 of the class ``positive``.
        positive: id of the positive class.

    Raises:
        ValueError: if there are no examples, or an id is not a class.
    """
    _check_rows(predicted[:, None], (len(labels), 1))
    for ids, what in ((labels, "label"), (predicted, "prediction")):
        _check_ids(ids, num_classes, what)
    scores = _decision_scores(predicted, labels, num_classes, positive)
    if np.isnan(scores["mcc"]):
        logger.warning("mcc not defined: all labels are of one class")
    return scores


def _decision_scores(predicted: np.ndarray, labels: np.ndarray, num_classes: int, positive: int) -> dict[str, float]:
    """Compute the scores of `decision_metrics`, without its warning."""
    if num_classes == 2:
        _check_positive(positive)
    occurring = np.unique(labels)
    f1_macro = float(sk.f1_score(labels, predicted, average="macro", zero_division=0.0))
    f1 = float(sk.f1_score(labels == positive, predicted == positive, zero_division=0.0))
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_recall": float(sk.recall_score(labels, predicted, labels=occurring, average="macro", zero_division=0.0)),
        "macro_precision": float(sk.precision_score(labels, predicted, average="macro", zero_division=0.0)),
        "f1": f1 if num_classes == 2 else f1_macro,
        "f1_macro": f1_macro,
        # With one class there is nothing to correlate; scikit-learn would return 0 and warn.
        "mcc": float(sk.matthews_corrcoef(labels, predicted)) if len(occurring) > 1 else float("nan"),
    }


def _check_positive(positive: int) -> None:
    """Check the id of the positive class of two."""
    if positive not in (0, 1):
        raise ValueError(f"the positive class of two must be 0 or 1, not {positive}")


def regression_metrics(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Compute the scores of predicted numbers; with several outputs, means over the outputs that define the score.

    Args:
        predictions: (examples,) or (examples, outputs).
        targets: true numbers, same shape; NaN targets are omitted.

    Returns:
        mse, mae, r2, pearson, spearman.

    Raises:
        ValueError: if shapes disagree, there are no examples, or a prediction is NaN or infinite.
    """
    predictions, targets = _columns(predictions), _columns(targets)
    _check_rows(predictions, targets.shape)
    columns = [_regression_column(p, t) for p, t in _known_columns(predictions, targets)]
    # R2 needs targets that vary. Where it is defined but a correlation is not, the predictions do not vary.
    constant = {"labels" if np.isnan(c["r2"]) else "predictions" for c in columns if np.isnan(c["pearson"])}
    names = ("mse", "mae", "r2", "pearson", "spearman")
    return _mean_of_scores(columns, names, what="output", constant=" or the ".join(sorted(constant)))


def multilabel_metrics(probabilities: np.ndarray, labels: np.ndarray, *, threshold: float = 0.5) -> dict[str, float]:
    """Compute the scores of independent yes/no labels: macro means over the labels that occur.

    Args:
        probabilities: (examples, labels).
        labels: 0, 1, or NaN where not measured (omitted), (examples, labels).
        threshold: lowest probability at which a label counts as predicted, for ``f1``.

    Returns:
        f1 (over the labels with a positive example), auroc and auprc (over the labels with a positive and a negative
        example).

    Raises:
        ValueError: if shapes disagree, there are no examples, a label is not 0, 1 or NaN, or a probability is NaN or
            infinite.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    _check_rows(probabilities, labels.shape)
    if not (np.isnan(labels) | (labels == 0) | (labels == 1)).all():
        raise ValueError("multi-label targets must be 0, 1 or NaN (not measured)")
    columns = []
    for outputs, truth in ((p, t == 1) for p, t in _known_columns(probabilities, labels)):
        # NaN without a positive example, unlike F1 of a class, which is 0: a mean over labels omits labels without one.
        f1 = sk.f1_score(truth, outputs >= threshold, zero_division=0.0) if truth.any() else np.nan
        columns.append({"f1": float(f1)} | _ranking(truth, outputs))
    return _mean_of_scores(columns, ("f1", "auroc", "auprc"), what="label")


def scores_per_column(
    measure: Callable[[np.ndarray, np.ndarray], dict[str, float]],
    predictions: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Compute the scores of every label or target separately, NaN where there is nothing to score.

    Args:
        measure: `multilabel_metrics` or `regression_metrics`.
        predictions: probabilities or predicted numbers, (examples, columns).
        labels: true labels or targets, (examples, columns).
        names: names of the columns.

    Returns:
        name of the column -> its scores.
    """
    columns = zip(names, predictions.T, np.asarray(labels).T, strict=True)
    return {name: measure(outputs[:, None], truth[:, None]) for name, outputs, truth in columns}


def compute_metrics_for(
    problem_type: str, label_names: Sequence[str], positive: int | str = 1
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Build the function that ``transformers.Trainer(compute_metrics=...)`` calls with logits and labels.

    Args:
        problem_type: as in a transformers config: single_label_classification (sequences or tokens; labels of -100 are
            omitted), multi_label_classification (-100 or NaN: not measured) or regression.
        label_names: names of the classes, labels or outputs, by id.
        positive: positive class of two, by id or name.

    Returns:
        A function from EvalPrediction to the scores; the Trainer puts ``eval_`` before their names.

    Raises:
        ValueError: if the problem type or the positive class is unknown. The returned function raises ValueError if the
            number of logits is not the number of names.
    """
    positive_id = class_id(positive, label_names)
    if problem_type == "single_label_classification" and len(label_names) == 2:
        _check_positive(positive_id)
    scorers: dict[str, Callable[[np.ndarray, np.ndarray], dict[str, float]]] = {
        "single_label_classification": lambda logits, labels: classification_metrics(
            *_labelled_rows(softmax(logits, axis=-1), labels), positive=positive_id
        ),
        "multi_label_classification": lambda logits, labels: multilabel_metrics(
            expit(logits), np.where(labels == IGNORE_INDEX, np.nan, labels)
        ),
        "regression": regression_metrics,
    }
    if problem_type not in scorers:
        raise ValueError(f"problem_type must be one of {', '.join(scorers)}; not {problem_type!r}")

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        """Compute the scores of the logits of an evaluation set."""
        logits = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
        logits = np.asarray(logits, np.float64)
        if logits.ndim > 1 and logits.shape[-1] != len(label_names):
            names = ", ".join(label_names)
            raise ValueError(f"the model gives {logits.shape[-1]} logits for {len(label_names)} names ({names})")
        return scorers[problem_type](logits, np.asarray(prediction.label_ids))

    return compute_metrics


def class_id(name_or_id: int | str, label_names: Sequence[str]) -> int:
    """Find the id of a class by its name; an id is returned as it is.

    Args:
        name_or_id: name or id of the class.
        label_names: names of the classes, by id.

    Raises:
        ValueError: if no class has that name.

    >>> class_id("phage", ["other", "phage"])
    1
    """
    if isinstance(name_or_id, str):
        if name_or_id not in label_names:
            raise ValueError(f"no class is called {name_or_id!r}; the classes are {', '.join(label_names)}")
        return list(label_names).index(name_or_id)
    return int(name_or_id)


class SequenceClassificationMetrics(evaluate.Metric):
    """Scores of a sequence classifier as a local ``evaluate.Metric``; `classification_metrics` explains each score.

    ``predictions`` are probabilities, (examples, classes), or predicted class ids, (examples,), which have no AUROC
    or AUPRC. ``references`` are class ids. A score that the labels do not define is omitted, with one logged warning.
    With ``label_names``, the result also has "positive", the name of the class, of two, that f1 and auprc refer to;
    without, it is class 1, or the ``positive`` that is passed to ``compute``. In a plain Trainer::

        metric = hf_genomics.SequenceClassificationMetrics()

        def compute_metrics(prediction):
            return metric.compute(predictions=softmax(prediction.predictions, -1), references=prediction.label_ids)

    Args:
        config_name: name of the configuration, as in ``evaluate.Metric``.
        keep_in_memory: keep predictions in memory (a few numbers per sequence) instead of in a cache folder.
        cache_dir: folder for predictions that are not kept in memory.
        options: other options of ``evaluate.Metric``.

    >>> metric = SequenceClassificationMetrics()
    >>> scores = metric.compute(predictions=[[0.9, 0.1], [0.4, 0.6]], references=[0, 1])
    >>> scores["macro_recall"], scores["auroc"]
    (1.0, 1.0)
    """

    def __init__(
        self,
        config_name: str | None = None,
        *,
        keep_in_memory: bool = True,
        cache_dir: str | None = None,
        **options: Any,
    ) -> None:
        options |= {"keep_in_memory": keep_in_memory}
        if not keep_in_memory:
            super().__init__(config_name, cache_dir=cache_dir, **options)
            return
        # evaluate.Metric makes a folder in its cache even if nothing is written there, and the user's cache may be
        # read-only. So its cache is a temporary folder, which is deleted at once.
        with tempfile.TemporaryDirectory() as folder:
            super().__init__(config_name, cache_dir=folder, **options)

    def _info(self) -> evaluate.MetricInfo:
        label, probability = datasets.Value("int64"), datasets.Value("float64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description="predictions: probabilities (examples, classes) or class ids; references: class ids.",
            features=[
                datasets.Features({"predictions": datasets.Sequence(probability), "references": label}),
                datasets.Features({"predictions": label, "references": label}),
            ],
        )

    def _compute(
        self,
        predictions: np.ndarray,
        references: np.ndarray,
        positive: int | str = 1,
        label_names: Sequence[str] = (),
        predicted: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Compute the scores that the references define.

        Args:
            predictions: probabilities (examples, classes) or class ids (examples,).
            references: true class ids, (examples,).
            positive: positive class of two, by id or, if ``label_names`` are given, by name.
            label_names: names of the classes, by id; they also fix the number of classes.
            predicted: predicted class ids (examples,), where they are not those of the largest probabilities.
        """
        predictions, references = np.asarray(predictions), np.asarray(references)
        if predictions.ndim == 2 and len(label_names) not in (0, predictions.shape[1]):
            raise ValueError(f"predictions have {predictions.shape[1]} classes for {len(label_names)} label_names")
        positive_id = class_id(positive, label_names)
        if predictions.ndim == 2:
            scores = classification_metrics(predictions, references, positive=positive_id, predicted=predicted)
        else:
            num_classes = len(label_names) or max(2, predictions.max(initial=0) + 1, references.max(initial=0) + 1)
            scores = decision_metrics(predictions, references, num_classes=num_classes, positive=positive_id)
        named: dict[str, Any] = {"positive": label_names[positive_id]} if len(label_names) == 2 else {}
        return {name: value for name, value in scores.items() if not np.isnan(value)} | named


def _ranking_metrics(probabilities: np.ndarray, labels: np.ndarray, positive: int) -> dict[str, float]:
    """Compute AUROC and AUPRC of the positive class of two, or their means over one class versus the rest."""
    num_classes = probabilities.shape[1]
    classes = [positive] if num_classes == 2 else range(num_classes)
    columns = [_ranking(labels == c, probabilities[:, c]) for c in classes]
    return _mean_of_scores(columns, ("auroc", "auprc"), what="class")


def _ranking(truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Compute AUROC and AUPRC of one class, NaN if all examples or none belong to it.

    Args:
        truth: whether each example belongs to the class, bool (examples,).
        outputs: probability of the class, or any number that grows with the model's confidence, (examples,).
    """
    if truth.all() or not truth.any():
        return {"auroc": float("nan"), "auprc": float("nan")}
    return {
        "auroc": float(sk.roc_auc_score(truth, outputs)),
        "auprc": float(sk.average_precision_score(truth, outputs)),
    }


def _regression_column(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Compute the scores of one output. A constant has no correlation, and constant targets have no R2."""
    nan = float("nan")
    targets_vary = len(targets) > 1 and bool(np.ptp(targets) > 0)
    both_vary = targets_vary and bool(np.ptp(predictions) > 0)
    return {
        "mse": float(np.mean((predictions - targets) ** 2)) if len(targets) else nan,
        "mae": float(np.mean(np.abs(predictions - targets))) if len(targets) else nan,
        "r2": float(sk.r2_score(targets, predictions)) if targets_vary else nan,
        "pearson": float(np.corrcoef(predictions, targets)[0, 1]) if both_vary else nan,
        "spearman": float(scipy.stats.spearmanr(predictions, targets).statistic) if both_vary else nan,
    }


def _mean_of_scores(
    columns: list[dict[str, float]], names: Sequence[str], *, what: str, constant: str = "labels"
) -> dict[str, float]:
    """Compute the mean of each score over the columns that define it (NaN if none does); warn if some do not.

    Args:
        columns: name of a score -> its value, for each column.
        names: names of the scores.
        what: what a column is, for the warning.
        constant: what does not vary in a column that does not define a score, for the warning.
    """
    means: dict[str, float] = {}
    undefined = []
    for name in names:
        defined = [column[name] for column in columns if not np.isnan(column[name])]
        means[name] = float(np.mean(defined)) if defined else float("nan")
        if len(defined) < len(columns):
            undefined.append(name)
    if undefined:
        logger.warning("%s not defined for every %s: the %s of some do not vary", ", ".join(undefined), what, constant)
    return means


def _checked(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities as float64 (examples, classes) and labels as int64 (examples,), after checking both."""
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(f"probabilities must be (examples, two classes or more), not {probabilities.shape}")
    _check_rows(probabilities, (*labels.shape, probabilities.shape[1]))
    _check_ids(labels, probabilities.shape[1], "label")
    return probabilities, labels.astype(np.int64)


def _check_ids(ids: np.ndarray, num_classes: int, what: str) -> None:
    """Check that ids are those of classes; ``what`` they are is for the error message."""
    bad = np.flatnonzero((ids < 0) | (ids >= num_classes) | (ids != np.floor(ids)))
    if len(bad):
        raise ValueError(f"{what} {ids[bad[0]]} of example {bad[0]} is not a class: ids run 0..{num_classes - 1}")


def _check_rows(predictions: np.ndarray, shape: tuple[int, ...]) -> None:
    """Check that predictions have the shape that fits the labels, at least one row, and only finite values."""
    if predictions.shape != shape:
        raise ValueError(f"predictions have shape {predictions.shape}, but the labels need shape {shape}")
    if not len(predictions):
        raise ValueError("there are no examples to score")
    if not np.isfinite(predictions).all():
        row = int(np.flatnonzero(~np.isfinite(predictions).all(axis=1))[0])
        raise ValueError(
            f"prediction {row} is NaN or infinite: {predictions[row]}; if the model diverged, lower the learning rate"
        )


def _columns(values: np.ndarray) -> np.ndarray:
    """Return numbers of shape (examples,) or (examples, outputs) as float64 (examples, outputs)."""
    values = np.asarray(values, np.float64)
    return values[:, None] if values.ndim == 1 else values


def _known_columns(predictions: np.ndarray, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the predictions and targets of each column, without the rows in which the column's target is NaN."""
    known = ~np.isnan(targets)  # (examples, columns)
    return [(predictions[rows, c], targets[rows, c]) for c, rows in enumerate(known.T)]


def _labelled_rows(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flatten (batch, tokens, classes) to (rows, classes) without the rows labelled -100 (special tokens, padding)."""
    rows, labels = probabilities.reshape(-1, probabilities.shape[-1]), labels.reshape(-1)
    labelled = labels != IGNORE_INDEX
    return rows[labelled], labels[labelled]
