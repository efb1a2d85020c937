"""Bootstrap intervals: weighted scores are the scores of repeated rows, draws keep classes and groups together."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.evaluation import intervals
from hf_genomics.evaluation.intervals import Bootstrap, bootstrap, class_scores, column_scores
from hf_genomics.evaluation.metrics import classification_metrics, multilabel_metrics, regression_metrics


def by_repeating(measure, weights, scores, labels):
    """The slow twin: copy each row as often as it was drawn."""
    rows = np.repeat(np.arange(len(labels)), weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return measure(scores[rows], labels[rows])


def agree(found, expected):
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(2, 12))
def test_weighted_class_scores_are_those_of_repeated_rows(seed, classes, rows):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 4, (rows, classes)) / 4  # with ties
    labels, weights = random.integers(0, classes, rows), random.integers(0, 3, rows)
    weights[0] = 1
    found = class_scores(weights[None].astype(float), scores, labels, scores.argmax(1), 1)
    agree(found, by_repeating(classification_metrics, weights, scores, labels))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 12), st.booleans())
def test_weighted_column_scores_are_those_of_repeated_rows(seed, columns, rows, regression):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 4, (rows, columns)) / 4
    labels = random.integers(0, 4 if regression else 2, (rows, columns)).astype(float)
    labels[random.random(labels.shape) < 0.2] = np.nan
    labels[0] = 1
    weights = random.integers(0, 3, rows)
    weights[0] = 1
    measure = regression_metrics if regression else multilabel_metrics
    found = column_scores(weights[None].astype(float), scores, labels, regression=regression)
    agree(found, by_repeating(measure, weights, scores, labels))


def example(rows=200, seed=0):
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.2).astype(int)
    positive = 0.3 * labels + random.random(rows) * 0.7
    return np.stack([1 - positive, positive], 1), labels


def test_an_interval_holds_the_score_and_depends_on_the_seed_only():
    scores, labels = example()
    whole = classification_metrics(scores, labels)
    found = bootstrap("single_label_classification", scores, labels)
    for name, (low, high) in found.intervals().items():
        assert low < whole[name] < high, name
    again = bootstrap("single_label_classification", scores, labels)
    assert found.intervals() == again.intervals() and found.replicates == intervals.REPLICATES
    other = bootstrap("single_label_classification", scores, labels, seed=1)
    assert other.intervals() != found.intervals()


def test_draws_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    scores, labels = example(40)
    whole = bootstrap("single_label_classification", scores, labels).values
    monkeypatch.setattr(intervals, "_CHUNK_CELLS", 1)
    one_by_one = bootstrap("single_label_classification", scores, labels).values
    assert all(np.allclose(whole[name], one_by_one[name], equal_nan=True) for name in whole)


def test_every_replicate_keeps_the_number_of_rows_of_each_class():
    labels = np.array([0] * 30 + [1] * 5)
    strata = intervals._strata(np.arange(35), labels)
    for counts in intervals._draws(strata, 50, 7, seed=0):
        assert (counts[:, :30].sum(1) == 30).all() and (counts[:, 30:].sum(1) == 5).all()


def test_intervals_over_groups_are_wider_if_rows_of_a_group_are_alike():
    scores, labels = example(60)
    copies = np.repeat(np.arange(60), 10)
    over_rows = bootstrap("single_label_classification", scores[copies], labels[copies]).intervals()["auroc"]
    over_groups = bootstrap("single_label_classification", scores[copies], labels[copies], groups=copies)
    assert over_groups.over == "groups"
    low, high = over_groups.intervals()["auroc"]
    assert high - low > 2 * (over_rows[1] - over_rows[0])
    assert over_groups.intervals() == pytest.approx(
        {
            name: pytest.approx(ends)
            for name, ends in bootstrap("single_label_classification", scores, labels).intervals().items()
        }
    )


def test_a_score_that_no_replicate_defines_has_no_interval():
    found = bootstrap("single_label_classification", np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1]))
    assert "auroc" not in found.intervals() and "accuracy" in found.intervals()
    assert Bootstrap({}, "rows").replicates == 0


@pytest.mark.parametrize("constant", [0.1, 1.0, 1e6 / 3])
def test_a_constant_prediction_has_no_interval_of_a_correlation(constant):
    truth = np.random.default_rng(0).random(37)
    found = bootstrap("regression", np.full(37, constant), truth).intervals()
    assert {*found} == {"mse", "mae", "r2"}
    found = bootstrap("regression", truth, np.full(37, constant)).intervals()
    assert {*found} == {"mse", "mae"}


def test_values_that_vary_little_have_the_intervals_that_their_metrics_have():
    truth = np.random.default_rng(0).random(50)
    small = bootstrap("regression", truth * 2**-24 + 1, truth * 2**-24 + 1).intervals()
    assert small["r2"] == [1, 1] and small["pearson"] == pytest.approx([1, 1])


def test_one_group_has_no_interval_and_a_class_of_one_group_is_reported(caplog):
    outputs, labels = example(40)
    assert not bootstrap("single_label_classification", outputs, labels, groups=labels).intervals()
    assert not bootstrap("regression", outputs[:, 1], labels.astype(float), groups=["one"] * 40).intervals()
    caplog.clear()
    groups = np.where(labels == 1, "one", np.arange(40).astype(str))
    found = bootstrap("single_label_classification", outputs, labels, groups=groups).intervals()
    assert "accuracy" in found and "1 of 2 classes" in caplog.text
    caplog.clear()
    bootstrap("single_label_classification", outputs, labels, groups=np.arange(40))
    assert not caplog.records
