"""Scores against hand-computed values, scikit-learn, and the laws they must obey."""

import logging
import tempfile

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics as sk
from transformers import EvalPrediction, Trainer, TrainingArguments

import hf_genomics
from hf_genomics import KmerBertForSequenceClassification
from hf_genomics.evaluation.metrics import (
    SequenceClassificationMetrics,
    class_id,
    classification_metrics,
    compute_metrics_for,
    decision_metrics,
    multilabel_metrics,
    regression_metrics,
    scores_per_column,
)

NAMES = ["other", "phage"]


def binary(scores):
    """Probabilities of two classes from the score of class 1."""
    scores = np.asarray(scores, np.float64)
    return np.column_stack([1 - scores, scores])


@st.composite
def labelled_probabilities(draw, num_classes=None):
    num_classes = num_classes or draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 40))
    return softmax(rng.normal(size=(n, num_classes)).round(1), axis=-1), rng.integers(0, num_classes, n)


def test_a_confusion_matrix_worked_out_by_hand_gives_the_scores_of_the_textbook():
    # true 0: 3 right, 1 wrong; true 1: 1 right, 1 wrong
    labels = np.array([0, 0, 0, 0, 1, 1])
    scores = classification_metrics(binary([0.1, 0.2, 0.3, 0.9, 0.8, 0.4]), labels)
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["macro_recall"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores["macro_precision"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores["f1"] == pytest.approx(1 / 2)
    assert scores["f1_macro"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores["mcc"] == pytest.approx((1 * 3 - 1 * 1) / 8)  # (tp*tn - fp*fn) / sqrt(2 * 2 * 4 * 4)
    assert scores["auroc"] == pytest.approx(6 / 8)  # positive before negative in 6 of 8 pairs
    assert scores["auprc"] == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 3)


@given(labelled_probabilities())
def test_scores_equal_those_of_scikit_learn_where_it_defines_them(data):
    probabilities, labels = data
    predicted, num_classes = probabilities.argmax(axis=1), probabilities.shape[1]
    scores = classification_metrics(probabilities, labels)
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    if set(predicted) <= set(labels) and len(set(labels)) > 1:  # scikit-learn warns of one class alone
        assert scores["macro_recall"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    if len(set(labels)) == num_classes == 2:
        assert scores["auroc"] == pytest.approx(sk.roc_auc_score(labels, probabilities[:, 1]))
    if len(set(labels)) == num_classes > 2:
        assert scores["auroc"] == pytest.approx(sk.roc_auc_score(labels, probabilities, multi_class="ovr"))
        assert scores["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro", zero_division=0.0))


@given(labelled_probabilities())
@pytest.mark.slow
def test_every_score_is_nan_or_in_its_range(data):
    scores = classification_metrics(*data)
    for name, value in scores.items():
        assert np.isnan(value) or (-1 if name == "mcc" else 0) <= value <= 1


@given(labelled_probabilities(num_classes=2))
@pytest.mark.slow
def test_swapping_the_classes_and_the_positive_class_changes_nothing(data):
    probabilities, labels = data
    # ties go to the first class, so a row that is exactly even is left out
    clear = probabilities[:, 0] != probabilities[:, 1]
    if not clear.any():
        return
    probabilities, labels = probabilities[clear], labels[clear]
    there = classification_metrics(probabilities, labels, positive=1)
    back = classification_metrics(probabilities[:, ::-1], 1 - labels, positive=0)
    np.testing.assert_allclose(list(there.values()), list(back.values()))


@settings(max_examples=40)
@given(labelled_probabilities(), st.integers(0, 1000))
def test_the_order_of_the_examples_does_not_matter(data, seed):
    probabilities, labels = data
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = classification_metrics(probabilities[order], labels[order])
    np.testing.assert_allclose(list(classification_metrics(*data).values()), list(shuffled.values()))


def test_perfect_predictions_score_one_everywhere():
    labels = np.array([0, 1, 2, 2])
    assert set(classification_metrics(np.eye(3)[labels], labels).values()) == {1.0}


def test_a_majority_guess_has_a_macro_recall_of_one_over_the_number_of_classes():
    scores = classification_metrics(np.tile([0.2, 0.8], (4, 1)), np.array([1, 1, 1, 0]))
    assert (scores["accuracy"], scores["macro_recall"], scores["mcc"], scores["auroc"]) == (0.75, 0.5, 0.0, 0.5)


def test_references_of_one_class_give_nan_and_a_word_in_the_log_not_a_crash(caplog):
    with caplog.at_level(logging.WARNING):
        scores = classification_metrics(binary([0.9, 0.8]), np.array([1, 1]))
    assert np.isnan([scores["auroc"], scores["auprc"], scores["mcc"]]).all()
    assert (scores["accuracy"], scores["macro_recall"], scores["f1"]) == (1.0, 1.0, 1.0)
    assert "auroc, auprc not defined" in caplog.text


def test_class_ids_of_one_class_give_no_mcc_and_one_warning(caplog):
    assert np.isnan(decision_metrics(np.array([1, 0]), np.array([1, 1]))["mcc"])
    assert [record.message.partition(" ")[0] for record in caplog.records] == ["mcc"]
    caplog.clear()
    classification_metrics(binary([0.9, 0.8]), np.array([1, 1]))  # its warning about AUROC and AUPRC is enough
    assert len(caplog.records) == 1


def test_f1_is_zero_where_the_positive_class_neither_occurs_nor_is_predicted():
    assert classification_metrics(binary([0.1, 0.2]), np.array([0, 0]))["f1"] == 0.0


def test_a_class_absent_from_the_references_is_left_out_of_the_means_of_ranks_and_recall():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.0, 0.9], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    scores = classification_metrics(probabilities, labels)
    assert scores["macro_recall"] == 0.75
    assert scores["macro_precision"] == pytest.approx(2 / 3)  # class 2 is predicted once, wrongly
    assert scores["auroc"] == pytest.approx((2.5 / 4 + 1) / 2)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "no example"),
        (np.array([[0.5, np.nan]]), np.array([0]), "prediction 0 "),
        (binary([0.5, 0.5]), np.array([0]), "shape"),
        (binary([0.5]), np.array([2]), "label 2 of example 0 .*0..1"),
        (binary([0.5]), np.array([-1]), "label -1"),
        (np.array([0.5]), np.array([1]), "two classes or more"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(probabilities, labels)


def test_a_positive_class_outside_the_two_is_refused():
    with pytest.raises(ValueError, match="must be 0 or 1"):
        decision_metrics(np.array([0, 1]), np.array([0, 1]), positive=2)


def test_regression_scores_are_the_textbook_values():
    scores = regression_metrics(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert scores["mse"] == pytest.approx(1 / 3)
    assert scores["mae"] == pytest.approx(1 / 3)
    assert scores["r2"] == pytest.approx(0.5)
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["pearson"] == pytest.approx(np.corrcoef([1, 2, 4], [1, 2, 3])[0, 1])


def test_constant_predictions_or_targets_have_no_correlation():
    constant_prediction = regression_metrics(np.ones((3, 1)), np.array([1.0, 2.0, 3.0]))
    constant_target = regression_metrics(np.array([1.0, 2.0, 3.0]), np.ones(3))
    assert np.isnan([constant_prediction["pearson"], constant_target["spearman"], constant_target["r2"]]).all()
    assert constant_prediction["r2"] < 0


@pytest.mark.parametrize(
    ("predictions", "targets", "blamed"),
    [
        ([[5.0], [5.0], [5.0]], [[1.0], [2.0], [3.0]], {"predictions"}),
        ([[1.0], [2.0], [3.0]], [[5.0], [5.0], [5.0]], {"labels"}),
        ([[5.0], [5.0], [5.0]], [[5.0], [5.0], [5.0]], {"labels"}),
        ([[5.0, 1.0], [5.0, 2.0]], [[1.0, 5.0], [2.0, 5.0]], {"labels", "predictions"}),
    ],
)
def test_the_warning_blames_what_does_not_vary(predictions, targets, blamed, caplog):
    regression_metrics(np.array(predictions), np.array(targets))
    [record] = caplog.records
    assert "pearson, spearman" in record.message and ("r2" in record.message) == ("labels" in blamed)
    assert {word for word in ("labels", "predictions") if word in record.message} == blamed


def test_regression_leaves_out_targets_that_are_nan():
    holey = regression_metrics(np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 7.0]]), np.array([[1, np.nan], [2, 6], [3, 8]]))
    assert holey["mae"] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_multilabel_scores_are_means_over_labels_and_ignore_cells_that_were_not_measured():
    probabilities = np.array([[0.9, 0.9], [0.1, 0.2], [0.6, 0.7], [0.5, 0.1]])
    labels = np.array([[1, 1], [0, 0], [0, np.nan], [np.nan, 1]])
    scores = multilabel_metrics(probabilities, labels)
    assert scores["auroc"] == pytest.approx((1.0 + 0.5) / 2)
    assert scores["auprc"] == pytest.approx((1.0 + (0.5 + 0.5 * 2 / 3)) / 2)
    assert scores["f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_a_label_that_never_varies_is_left_out_of_the_mean(caplog):
    scores = multilabel_metrics(np.array([[0.9, 0.3], [0.1, 0.3]]), np.array([[1, 0], [0, 0]]))
    assert scores == {"f1": 1.0, "auroc": 1.0, "auprc": 1.0}
    assert "auroc, auprc not defined" in caplog.text


def test_multilabel_targets_other_than_zero_one_and_nan_are_refused():
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        multilabel_metrics(np.array([[0.5]]), np.array([[2]]))


def test_the_trainer_function_scores_logits_as_probabilities():
    logits, labels = np.array([[2.0, -1.0], [0.5, 1.5], [3.0, 0.0]]), np.array([0, 1, 1])
    compute = compute_metrics_for("single_label_classification", NAMES, positive="phage")
    assert compute(EvalPrediction(logits, labels)) == classification_metrics(softmax(logits, axis=-1), labels)
    assert compute(EvalPrediction((logits, np.zeros(3)), labels)) == compute(EvalPrediction(logits, labels))


def test_the_trainer_function_leaves_out_tokens_labelled_minus_100():
    logits = np.array([[[9.0, 0.0], [0.0, 9.0], [9.0, 0.0]], [[0.0, 9.0], [9.0, 0.0], [0.0, 9.0]]])
    labels = np.array([[-100, 1, 0], [1, -100, -100]])
    assert compute_metrics_for("single_label_classification", NAMES)(EvalPrediction(logits, labels))["accuracy"] == 1.0


def test_the_trainer_function_serves_the_other_problem_types():
    multilabel = compute_metrics_for("multi_label_classification", ["a", "b"])
    scores = multilabel(EvalPrediction(np.array([[3.0, -3.0], [-3.0, 3.0]]), np.array([[1, 0], [0, 1]])))
    assert scores["auroc"] == scores["f1"] == 1.0
    regression = compute_metrics_for("regression", ["expression"])
    assert regression(EvalPrediction(np.array([[1.0], [2.0]]), np.array([1.0, 2.0])))["mse"] == 0.0


def test_the_trainer_function_refuses_an_unknown_task_a_wrong_number_of_names_and_an_unknown_class():
    with pytest.raises(ValueError, match="problem_type must be one of"):
        compute_metrics_for("clustering", NAMES)
    with pytest.raises(ValueError, match="3 logits for 2 names"):
        compute_metrics_for("single_label_classification", NAMES)(EvalPrediction(np.zeros((1, 3)), np.zeros(1, int)))
    with pytest.raises(ValueError, match="must be 0 or 1, not 2"):
        compute_metrics_for("single_label_classification", NAMES, positive=2)
    with pytest.raises(ValueError, match="'virus'.*other, phage"):
        class_id("virus", NAMES)


@pytest.fixture
def metric(tmp_path):
    return SequenceClassificationMetrics(cache_dir=str(tmp_path / "cache"))


def test_the_evaluate_metric_gives_the_scores_of_the_pure_function(metric):
    rng = np.random.default_rng(0)
    probabilities, labels = softmax(rng.normal(size=(50, 3)), axis=-1), rng.integers(0, 3, 50)
    assert metric.compute(predictions=probabilities, references=labels) == classification_metrics(probabilities, labels)


def test_the_evaluate_metric_takes_batches(metric):
    metric.add_batch(predictions=[[0.9, 0.1]], references=[0])
    metric.add_batch(predictions=[[0.2, 0.8], [0.6, 0.4]], references=[1, 1])
    assert metric.compute() == classification_metrics(binary([0.1, 0.8, 0.4]), np.array([0, 1, 1]))


def test_the_evaluate_metric_takes_class_ids_which_have_no_ranks(metric):
    scores = metric.compute(predictions=[0, 1, 1], references=[0, 1, 0], positive="other", label_names=NAMES)
    assert scores["f1"] == pytest.approx(2 / 3)
    assert "auroc" not in scores and "auprc" not in scores and scores["positive"] == "other"


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([0, 1, 1], [0, 1, -100], "label -100 of example 2 .*0..1"),
        ([0, 1, 2], [0, 1, 1], "prediction 2 of example 2 .*0..1"),
        ([[0.1, 0.2, 0.7]], [2], "3 classes for 2 label_names"),
    ],
)
def test_the_evaluate_metric_refuses_what_is_not_one_of_its_classes(metric, predictions, references, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(predictions=predictions, references=references, label_names=NAMES)


def test_the_evaluate_metric_omits_scores_without_a_value(metric):
    scores = metric.compute(predictions=binary([0.2, 0.9]), references=[1, 1])
    assert scores == {"accuracy": 0.5, "macro_recall": 0.5, "macro_precision": 0.5, "f1": 2 / 3, "f1_macro": 1 / 3}


def test_the_evaluate_metric_in_memory_writes_nothing(metric, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "usual cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for each in (metric, SequenceClassificationMetrics()):
        each.compute(predictions=[0, 1], references=[0, 1])
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_the_evaluate_metric_can_keep_predictions_in_a_folder(tmp_path):
    metric = SequenceClassificationMetrics(keep_in_memory=False, cache_dir=str(tmp_path))
    metric.add_batch(predictions=[[0.9, 0.1], [0.3, 0.7]], references=[0, 1])
    assert list(tmp_path.rglob("*.arrow"))
    assert metric.compute()["accuracy"] == 1.0


def test_the_evaluate_metric_serves_a_plain_trainer_in_three_lines(tiny_config, tmp_path):
    metric = hf_genomics.SequenceClassificationMetrics()

    def compute_metrics(prediction):
        return metric.compute(predictions=softmax(prediction.predictions, -1), references=prediction.label_ids)

    model = KmerBertForSequenceClassification(tiny_config)
    rows = [{"input_ids": [2, 5 + row, 6 + row, 3], "labels": row % 2} for row in range(6)]
    args = TrainingArguments(str(tmp_path), use_cpu=True, disable_tqdm=True)
    trainer = Trainer(model, args, eval_dataset=rows, compute_metrics=compute_metrics)
    found = trainer.evaluate()
    logits = trainer.predict(rows).predictions
    expected = classification_metrics(softmax(logits, axis=-1), np.arange(6) % 2)
    assert {name: found[f"eval_{name}"] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("measure", [multilabel_metrics, regression_metrics])
def test_scores_of_several_labels_or_targets_are_the_means_of_each_ones(measure):
    rng = np.random.default_rng(0)
    predictions, labels = rng.random((30, 3)), (rng.random((30, 3)) > 0.5).astype(float)
    labels[::4, 1] = np.nan
    each, whole = scores_per_column(measure, predictions, labels, ["a", "b", "c"]), measure(predictions, labels)
    assert list(each) == ["a", "b", "c"]
    for name, value in whole.items():
        assert value == pytest.approx(np.mean([scores[name] for scores in each.values()]))
    known = ~np.isnan(labels[:, 1])
    assert each["b"] == measure(predictions[known, 1:2], labels[known, 1:2])


def test_cells_of_minus_100_are_not_measured():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(20, 2)), (rng.random((20, 2)) > 0.5).astype(float)
    compute = compute_metrics_for("multi_label_classification", ["a", "b"])
    missing = labels.copy()
    missing[:5, 0] = np.nan
    expected = multilabel_metrics(1 / (1 + np.exp(-logits)), missing)
    found = compute(EvalPrediction(predictions=logits, label_ids=np.nan_to_num(missing, nan=-100)))
    assert found == pytest.approx(expected)
