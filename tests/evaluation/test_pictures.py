"""Pictures are written whole and quietly; curves and smoothing against their laws."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import auc

from hf_genomics.evaluation import pictures
from hf_genomics.evaluation.decisions import reliability
from hf_genomics.evaluation.metrics import classification_metrics, multilabel_metrics
from hf_genomics.evaluation.pictures import (
    plot_confusion,
    plot_loss,
    plot_reliability,
    plot_roc_pr,
    plot_scatter,
    pr_curve,
    roc_curve,
    scored_pairs,
    smooth,
)

HISTORY = [
    *({"step": step, "loss": 8 - step / 500, "num_input_tokens_seen": step * 6400} for step in range(10, 1000, 10)),
    {"step": 500, "eval_loss": 7.1},
    {"step": 990, "eval_loss": 6.3},
    {"step": 990, "train_loss": 7.0, "train_runtime": 12.0},
]


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def some_curves(num_classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, 300)
    good, bad = (
        softmax(rng.normal(size=(300, num_classes)) + d * np.eye(num_classes)[labels], axis=-1) for d in (2, 0.5)
    )
    return {"KmerBert": (good, labels), "4-mer logistic regression": (bad, labels)}


@pytest.fixture
def picture(tmp_path):
    plot_loss(HISTORY, tmp_path / "loss.png")
    return tmp_path / "loss.png"


def test_the_loss_picture_is_large_enough_for_fine_screens(picture):
    assert min(png_size(picture)) >= 800


@pytest.mark.parametrize(
    "history",
    [
        [],
        [{"step": 1, "loss": 2.0}],
        [{"step": 5, "eval_loss": 1.0}],
        [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": 1.0}],
        [{"step": 1, "loss": None}, {"step": 2, "loss": 1.0}],
        [{"step": 0, "loss": 1.0, "num_input_tokens_seen": 0}],
    ],
)
def test_a_short_or_broken_history_still_gives_a_picture(history, tmp_path):
    plot_loss(history, tmp_path / "new_folder" / "loss.png", references={"ln 4": 1.386})
    assert png_size(tmp_path / "new_folder" / "loss.png")


def test_accuracies_of_a_pretraining_are_drawn_beside_the_loss(tmp_path):
    plot_loss(HISTORY, tmp_path / "alone.png")
    scores = {"eval_masked_token_accuracy": 0.1, "eval_masked_nucleotide_accuracy": 0.3}
    plot_loss([*HISTORY, {"step": 5, "eval_loss": 1.0} | scores], tmp_path / "beside.png")
    alone, beside = png_size(tmp_path / "alone.png"), png_size(tmp_path / "beside.png")
    assert beside[0] > 1.2 * alone[0] and beside[1] == alone[1]


def test_smoothing_keeps_a_constant_and_the_mean_of_a_line():
    np.testing.assert_allclose(smooth(np.full(100, 3.0)), 3.0)
    np.testing.assert_allclose(smooth(np.arange(100.0))[10:90], np.arange(100.0)[10:90])


def test_smoothing_takes_the_mean_over_a_fortieth_of_the_series_on_each_side():
    values = np.random.default_rng(0).normal(size=200)
    expected = [values[max(0, place - 5) : place + 6].mean() for place in range(200)]
    np.testing.assert_allclose(smooth(values), expected)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_roc_and_pr_curves_enclose_the_areas_that_the_metrics_give(num_classes):
    probabilities, labels = some_curves(num_classes)["KmerBert"]
    scores = classification_metrics(probabilities, labels)
    pairs = scored_pairs(probabilities, labels)
    assert len(pairs) == (1 if num_classes == 2 else num_classes)
    false_positive_rate, recall = roc_curve(pairs)
    assert auc(false_positive_rate, recall) == pytest.approx(scores["auroc"], abs=2e-3)
    recall, precision = pr_curve(pairs)
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(scores["auprc"], abs=2e-3)


def test_curves_of_yes_no_labels_are_means_over_the_labels_where_they_are_known():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (300, 4)).astype(float)
    probabilities = np.clip(labels * 0.3 + random.random((300, 4)) * 0.7, 0, 1)
    labels[random.random((300, 4)) < 0.2] = np.nan  # not measured
    labels[:, 3] = 0  # no positive example
    scores, pairs = multilabel_metrics(probabilities, labels), scored_pairs(probabilities, labels)
    assert [len(truth) for truth, _ in pairs] == (~np.isnan(labels[:, :3])).sum(0).tolist()
    assert auc(*roc_curve(pairs)) == pytest.approx(scores["auroc"], abs=2e-3)
    recall, precision = pr_curve(pairs)
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(scores["auprc"], abs=2e-3)


def test_the_legend_of_yes_no_labels_has_their_mean_areas(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: drawn.append(figure))
    labels = np.array([[0, 1], [1, 0], [1, np.nan]])
    probabilities = np.array([[0.2, 0.6], [0.7, 0.3], [0.1, 0.9]])
    plot_roc_pr({"KmerBert": (probabilities, labels)}, tmp_path / "roc_pr.png", of_what="mean over 2 labels")
    legend = drawn[0].axes[0].get_legend().get_texts()[0].get_text()
    assert legend == f"KmerBert  AUROC {multilabel_metrics(probabilities, labels)['auroc']:.3f}"


@pytest.mark.parametrize("num_classes", [2, 3])
def test_roc_and_pr_curves_are_drawn_for_two_classes_and_more(num_classes, tmp_path):
    plot_roc_pr(some_curves(num_classes), tmp_path / "curves.png", of_what="a $very$ long name of a class of genomes")
    width, height = png_size(tmp_path / "curves.png")
    assert width > height > 600


def test_the_curves_name_the_class_that_they_are_drawn_for(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: titles.extend(axes.get_title() for axes in figure.axes))
    plot_roc_pr(some_curves(2), tmp_path / "curves.png", of_what="phage")
    assert titles == ["ROC (phage)", "Precision and recall (phage)"]


def test_a_curve_that_is_not_defined_is_left_out_with_a_word_in_the_log(tmp_path, caplog):
    plot_roc_pr({"lonely": (np.array([[0.2, 0.8]]), np.array([1]))}, tmp_path / "curves.png")
    assert "lonely: no curve" in caplog.text
    assert png_size(tmp_path / "curves.png")


def test_the_confusion_matrix_takes_ids_and_probabilities_alike(tmp_path):
    probabilities, labels = some_curves(3)["KmerBert"]
    plot_confusion(labels, probabilities, ["a", "b", "never & seen"], tmp_path / "p.png")
    plot_confusion(labels, probabilities.argmax(axis=1), ["a", "b", "never & seen"], tmp_path / "i.png")
    assert (tmp_path / "p.png").read_bytes() == (tmp_path / "i.png").read_bytes()


def test_values_are_drawn_beside_the_diagonal_and_unknown_ones_left_out(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: drawn.append(figure))
    true = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0]])
    plot_scatter(true + 1, true, ["a (nM)", "b"], tmp_path / "scatter.png")
    first, second = drawn[0].axes
    assert first.get_xlabel() == "true a (nM)" and first.get_ylabel() == "predicted a (nM)"
    assert [len(axes.collections[0].get_offsets()) for axes in (first, second)] == [3, 2]
    plot_scatter(np.ones(2), np.ones(2), ["value"], tmp_path / "scatter.png")


def test_reliability_has_a_point_for_each_bin_with_predictions(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: drawn.append(figure))
    rows = np.array([[0.9, 0.1]] * 3 + [[0.4, 0.6]])
    plot_reliability({"KmerBert": reliability(rows, np.array([0, 0, 1, 1]))}, tmp_path / "reliability.png")
    points = drawn[0].axes[0].collections[0].get_offsets()
    assert np.allclose(points, [[0.6, 1.0], [0.9, 2 / 3]])


def test_equal_data_gives_equal_bytes_and_leaves_no_temporary_file(tmp_path):
    for name in ("one.png", "two.png"):
        plot_loss(HISTORY, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_drawing_never_loads_pyplot():
    imports = re.findall(r"^(?:import|from) .*", Path(pictures.__file__).read_text(encoding="utf-8"), re.MULTILINE)
    assert any("matplotlib" in line for line in imports)
    assert not any("pyplot" in line for line in imports)


def test_a_dollar_sign_in_a_name_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_DPI", 20)  # quickly drawn
    name, two = r"$\x$", np.array([[0.2, 0.8], [0.7, 0.3]])  # mathematics that matplotlib cannot draw
    plot_confusion(np.array([1, 0]), two, [name, "b"], tmp_path / "confusion.png")
    plot_scatter(two, two, [name, "b"], tmp_path / "scatter.png")
    plot_roc_pr({name: (two, np.array([1, 0]))}, tmp_path / "roc_pr.png", of_what=name)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("num_classes", "texts"), [(30, 1800), (31, 0), (600, 0)])
def test_a_confusion_matrix_of_many_classes_has_colours_but_no_counts(tmp_path, monkeypatch, num_classes, texts):
    drawn = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: drawn.append(figure))
    classes = np.arange(num_classes)
    plot_confusion(classes, classes, [f"c{one}" for one in classes], tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    assert len(axes.texts) == texts and len(axes.get_xticks()) == min(num_classes, 60)
    assert max(drawn[0].get_size_inches()) < 25
