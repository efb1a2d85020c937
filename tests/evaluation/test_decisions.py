"""Thresholds and temperatures chosen on validation predictions, and what calibration errors mean."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from small_models import saved_model

from hf_genomics.evaluation.decisions import (
    calibrate,
    choose_threshold,
    fit_temperature,
    reliability,
    with_temperature,
)
from hf_genomics.evaluation.metrics import decision_metrics
from hf_genomics.inference.predictions import Predictions, decide
from hf_genomics.inference.scores import as_examples
from hf_genomics.loading.models import load_classifier


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["macro_recall", "f1", "mcc"]), st.integers(2, 15))
def test_no_other_threshold_gives_a_better_score(seed, score, rows):
    random = np.random.default_rng(seed)
    probabilities = random.integers(0, 6, rows) / 5
    labels = np.append(random.integers(0, 2, rows - 2), [0, 1])

    def scored(threshold):
        predicted = decide(np.stack([1 - probabilities, probabilities], 1), (threshold, 1))
        return decision_metrics(predicted, labels)[score]

    chosen = choose_threshold(probabilities, labels == 1, score)
    # The threshold above all probabilities, which predicts no positive, is never chosen: it says nothing.
    candidates = np.unique(probabilities)
    assert scored(chosen) >= max(map(scored, candidates)) - 1e-9


def test_a_threshold_needs_both_classes():
    with pytest.raises(ValueError, match="both classes"):
        choose_threshold(np.array([0.1, 0.9]), np.array([True, True]), "f1")


def test_without_a_threshold_the_most_probable_class_is_predicted():
    rows = np.array([[0.7, 0.3], [0.4, 0.6]])
    assert decide(rows, None).tolist() == [0, 1]
    assert decide(rows, (0.2, 1)).tolist() == [1, 1] and decide(rows, (0.65, 0)).tolist() == [0, 1]


def logits_and_labels(classes=3, rows=4000, seed=0):
    random = np.random.default_rng(seed)
    logits = 2 * random.standard_normal((rows, classes))
    labels = (softmax(logits, 1).cumsum(1) > random.random((rows, 1))).argmax(1)
    return logits, labels


def test_the_temperature_of_logits_that_are_three_times_too_large_is_three():
    logits, labels = logits_and_labels()
    too_sure = softmax(3 * logits, 1)
    temperature = fit_temperature(too_sure, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    better = with_temperature(too_sure, labels, temperature)
    assert (better.argmax(1) == too_sure.argmax(1)).all()
    assert reliability(better, labels).ece < 0.03 < 0.1 < reliability(too_sure, labels).ece


def test_independent_labels_have_a_temperature_too():
    random = np.random.default_rng(0)
    logits = random.standard_normal((3000, 2))
    labels = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    labels[:5] = np.nan
    too_sure = 1 / (1 + np.exp(-4 * logits))
    temperature = fit_temperature(too_sure, labels)
    assert temperature == pytest.approx(4, rel=0.15)
    better = with_temperature(too_sure, labels, temperature)
    assert reliability(better, labels).ece < 0.04 < reliability(too_sure, labels).ece


def test_a_temperature_of_one_changes_nothing():
    logits, labels = logits_and_labels(rows=20)
    rows = softmax(logits, 1)
    assert with_temperature(rows, labels, 1.0) == pytest.approx(rows)


def test_the_calibration_error_is_the_weighted_distance_of_confidence_and_accuracy():
    rows = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 30)
    labels = np.array([0] * 5 + [1] * 5 + [1] * 30)
    found = reliability(rows, labels)
    assert found.counts.tolist() == [30, 10] and found.accuracy.tolist() == [1.0, 0.5]
    assert found.ece == pytest.approx((30 * 0.4 + 10 * 0.4) / 40)


def test_calibrating_divides_the_logits_of_the_model_by_the_temperature():
    with tempfile.TemporaryDirectory() as folder:
        network, tokenizer = load_classifier(str(saved_model(Path(folder))))
    with torch.no_grad():
        network.classifier.weight *= 300
    texts = ["".join(np.random.default_rng(seed).choice(list("ACGT"), 30)) for seed in range(30)]
    labels = np.random.default_rng(1).integers(0, 2, 30)
    examples = replace(as_examples(texts), labels=labels, label_names=["a", "b"])
    before = Predictions.of(network, tokenizer, examples)
    temperature = calibrate(network, before)
    after = Predictions.of(network, tokenizer, examples)
    assert temperature > 1.5
    assert after.scores == pytest.approx(with_temperature(before.scores, labels, temperature), abs=1e-5)


def test_a_threshold_separates_neighbouring_floats():
    higher = np.nextafter(1.0, 0)
    probabilities = np.array([higher, np.nextafter(higher, 0)])
    lowest = choose_threshold(probabilities, np.array([True, False]), "macro_recall")
    assert (probabilities >= lowest).tolist() == [True, False]


@pytest.mark.parametrize("labels", [np.zeros(0, np.int64), np.full((3, 2), np.nan)])
def test_without_a_known_label_the_temperature_is_one(labels):
    assert fit_temperature(np.full((len(labels), 2), 0.3), labels) == 1
