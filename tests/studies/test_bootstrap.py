"""Bootstrap over units: every weighted score is the plain score of the windows, each repeated as often as its unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from hf_genomics.studies.bootstrap import count_units, draw_weights, estimate, weighted_scores


def slow_scores(scores, positive, predicted, units, weights):
    """Repeat the windows of each unit, and let scikit-learn score them: the slow twin."""
    rows = np.repeat(np.arange(len(units)), weights[units].astype(int))
    truth, guess = positive[rows], predicted[rows]
    recall = sk.recall_score(truth, guess, labels=[False, True], average="macro", zero_division=0.0)
    return recall, sk.f1_score(truth, guess, zero_division=0.0), sk.roc_auc_score(truth, scores[rows])


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4), st.integers(2, 30))
def test_scores_of_weights_are_the_scores_of_repeated_windows(seed, num_positive, num_others, windows):
    random = np.random.default_rng(seed)
    classes = np.repeat([1, 0], [num_positive, num_others])
    units = np.concatenate([np.arange(len(classes)), random.integers(0, len(classes), windows)])
    positive = classes[units] == 1
    scores = random.integers(0, 5, len(units)) / 4  # many ties
    predicted = scores > 0.5
    counts = count_units(scores, positive, predicted, units, len(classes))
    weights = draw_weights(classes, 5, seed)
    slow = [slow_scores(scores, positive, predicted, units, row) for row in weights]
    np.testing.assert_allclose(weighted_scores(counts, weights), slow, atol=1e-12)


def test_every_sample_draws_as_many_units_of_a_class_as_there_are():
    classes = np.array([1, 0, 0, 1, 0])
    weights = draw_weights(classes, 200)
    assert weights.shape == (201, 5) and (weights[0] == 1).all()
    assert (weights[:, classes == 1].sum(1) == 2).all() and (weights[:, classes == 0].sum(1) == 3).all()
    assert (weights == draw_weights(classes, 200)).all() and (weights != draw_weights(classes, 200, 1)).any()


def test_windows_of_few_genomes_have_a_wider_interval_than_independent_ones():
    random = np.random.default_rng(0)
    classes = np.repeat([1, 0], 20)
    genome = np.repeat(np.arange(40), 50)
    positive = classes[genome] == 1
    right = (random.random(40) < 0.7)[genome]  # a genome is predicted correctly as a whole
    predicted = positive == right

    def width(units, of_units):
        counts = count_units(predicted.astype(float), positive, predicted, units, len(of_units))
        found = estimate(weighted_scores(counts, draw_weights(of_units, 500))[:, 0])
        return found.high - found.low

    together, alone = width(genome, classes), width(np.arange(len(genome)), positive.astype(int))
    assert together > 5 * alone


def test_the_interval_of_a_share_is_that_of_the_binomial():
    classes = np.repeat([1, 0], [400, 400])
    predicted = np.concatenate([np.arange(400) < 300, np.zeros(400, bool)])  # recalls 0.75 and 1
    counts = count_units(predicted.astype(float), classes == 1, predicted, np.arange(800), 800)
    found = estimate(weighted_scores(counts, draw_weights(classes, 4000))[:, 0])
    error = 1.96 * np.sqrt(0.75 * 0.25 / 400) / 2
    assert found.value == pytest.approx(0.875)
    assert found.high - found.low == pytest.approx(2 * error, rel=0.1)
