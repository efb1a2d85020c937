"""What stands beside scores: the positive class, how many are in a mean, and the reason for a score without a value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.evaluation.explained_scores import (
    explain_classification,
    explain_columns,
    undefined_by_classes,
    undefined_by_columns,
)
from hf_genomics.evaluation.metrics import (
    classification_metrics,
    multilabel_metrics,
    regression_metrics,
    scores_per_column,
)

NAN = np.nan
SEVERAL, VALUES = "multi_label_classification", "regression"


def explained(labels: list[int], classes: int = 2, positive: str | None = "b") -> dict:
    truth = np.array(labels)
    probabilities = np.random.default_rng(0).random((len(truth), classes))
    scores = classification_metrics(probabilities, truth)
    return explain_classification(scores, probabilities, truth, list("abcd")[:classes], positive)


def test_the_positive_class_is_named_beside_the_scores_of_two_classes():
    found = explained([0, 1, 1, 0])
    assert found["positive"] == "b" and "undefined" not in found
    assert "positive" not in explained([0, 1, 2, 0], 3, None)


def test_means_say_over_how_many_classes_they_are():
    found = explained([0, 1, 1, 0, 0, 1], 4, None)  # two of four classes occur
    assert found["means_over"]["macro_recall"] == found["means_over"]["auroc"] == 2
    assert found["means_over"]["f1_macro"] >= 2


def test_a_score_without_a_value_has_its_reason():
    found = explained([1, 1, 1])
    assert set(found["undefined"]) == {"mcc", "auroc", "auprc"}
    assert set(found["undefined"].values()) == {"every label is 'b'"}
    assert undefined_by_classes(np.array([], int), ["a", "b"])["auroc"] == "no row has a label"


def columns(predictions: object, labels: object, problem: str, names: list[str]) -> dict:
    scores, truth = np.array(predictions, np.float64), np.array(labels, np.float64)
    measure = multilabel_metrics if problem == SEVERAL else regression_metrics
    each = scores_per_column(measure, scores, truth, names) if len(names) > 1 else {}
    return explain_columns(measure(scores, truth), each, scores, truth, problem)


def test_a_label_that_is_0_throughout_is_in_no_mean_and_says_why():
    found = columns([[0.9, 0.3], [0.1, 0.2]], [[1, 0], [0, 0]], SEVERAL, ["u", "v"])
    assert found["means_over"] == {"f1": 1, "auroc": 1, "auprc": 1} and "undefined" not in found
    reasons = found["each"]["v"]["undefined"]
    assert reasons["auroc"] == "the label is 0 in every row" and reasons["f1"] == "no row has the label"
    assert "undefined" not in found["each"]["u"]


@pytest.mark.parametrize(
    ("predictions", "labels", "undefined", "why"),
    [
        ([[1], [2]], [[3], [3]], {"r2", "pearson", "spearman"}, "the target is 3 in every row"),
        ([[1], [1]], [[3], [4]], {"pearson", "spearman"}, "the predictions do not vary"),
        ([[1], [1]], [[NAN], [NAN]], {"mse", "mae", "r2", "pearson", "spearman"}, "no row has a label"),
    ],
)
def test_values_that_do_not_vary_leave_some_scores_without_a_value(predictions, labels, undefined, why):
    found = columns(predictions, labels, VALUES, ["value"])
    assert set(found["undefined"]) == undefined and set(found["undefined"].values()) == {why}
    assert "each" not in found and "means_over" not in found


def test_labels_of_validation_alone_tell_what_will_have_no_value():
    constant = np.array([[2.0, NAN], [2.0, 1.0]])
    assert set(undefined_by_columns(constant, VALUES)) == {"r2", "pearson", "spearman"}
    assert set(undefined_by_columns(np.zeros((3, 2)), SEVERAL)) == {"f1", "auroc", "auprc"}
    assert undefined_by_columns(np.zeros((3, 2)), SEVERAL)["f1"] == "every label is 0 in every row"
    assert set(undefined_by_columns(np.ones((3, 2)), SEVERAL)) == {"auroc", "auprc"}
    assert undefined_by_columns(np.array([[1.0], [2.0]]), VALUES) == {}


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.sampled_from([SEVERAL, VALUES]))
def test_exactly_the_scores_that_are_nan_have_a_known_reason(seed, rows, width, problem):
    random = np.random.default_rng(seed)
    labels = random.choice([0.0, 1.0, NAN], (rows, width))
    predictions = random.choice([0.25, 0.75], (rows, width))
    found = columns(predictions, labels, problem, [f"c{number}" for number in range(width)])
    for scores in (found, *found.get("each", {}).values()):
        missing = {name for name, value in scores.items() if isinstance(value, float) and np.isnan(value)}
        assert set(scores.get("undefined", {})) == missing
        assert "the score could not be computed from these predictions" not in scores.get("undefined", {}).values()
