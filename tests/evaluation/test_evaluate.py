"""Scores of predictions with known labels, and the verb `evaluate` on an untrained model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_models import change_json

import hf_genomics
from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer, LabelledData
from hf_genomics.errors import InputError
from hf_genomics.evaluation.evaluate import (
    _training_rows,
    check_positive,
    compare_with_baselines,
    evaluate,
    notes_of,
    plot_predictions,
    positive_class,
    score_predictions,
)
from hf_genomics.evaluation.metrics import (
    SequenceClassificationMetrics,
    classification_metrics,
    multilabel_metrics,
    regression_metrics,
)
from hf_genomics.inference.predictions import AverageOptions, Predictions
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.labelled.task import Task
from hf_genomics.sequence import as_letters

pytestmark = pytest.mark.usefixtures("empty_pictures")

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def predictions(scores: object, names: list[str] | None, nt_scores: object = (), **columns: object) -> Predictions:
    """Predictions of four sequences of three nucleotides."""
    letters = [as_letters(text) for text in ("ACG", "TTT", "GCA", "CCC")]
    examples = LabelledSequences("t.csv", list("abcd"), letters, label_names=names, **columns)
    return Predictions(examples, np.asarray(scores, np.float64), list(nt_scores), names)


def some_scores(columns: int) -> np.ndarray:
    scores = np.random.default_rng(0).random((4, columns))
    return scores / scores.sum(1, keepdims=True)


# scores


@pytest.mark.parametrize(("positive", "target"), [(None, 1), ("yes", 1), ("no", 0)])
def test_classes_are_scored_by_the_exported_metric(monkeypatch, positive, target) -> None:
    labels, calls = np.array([0, 1, 1, 0]), []
    compute = SequenceClassificationMetrics._compute
    monkeypatch.setattr(
        SequenceClassificationMetrics, "_compute", lambda self, **given: calls.append(given) or compute(self, **given)
    )
    found = score_predictions(predictions(some_scores(2), ["no", "yes"], labels=labels), positive)
    expected = classification_metrics(some_scores(2), labels, positive=target)
    assert {name: found[name] for name in expected} == expected and len(calls) == 1
    assert found["positive"] == ["no", "yes"][target]
    assert hf_genomics.SequenceClassificationMetrics is SequenceClassificationMetrics


def test_nucleotides_are_scored_where_they_have_a_label() -> None:
    labels = [np.array([0, 1, -100]), np.array([1, 1, 1]), np.array([-100, 0, 0]), np.array([0, 1, 0])]
    scores = [np.random.default_rng(row).random((3, 2)) for row in range(4)]
    found = score_predictions(predictions([], ["no", "yes"], scores, nt_labels=labels))
    known = np.concatenate(labels) >= 0
    expected = classification_metrics(np.concatenate(scores)[known], np.concatenate(labels)[known])
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("problem", "measure"),
    [("multi_label_classification", multilabel_metrics), ("regression", regression_metrics)],
)
def test_several_labels_or_targets_are_scored_together_and_one_by_one(problem, measure) -> None:
    labels = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, np.nan], [0.0, 1.0]])
    found = score_predictions(predictions(some_scores(2), ["g", "a"], labels=labels, problem_type=problem))
    each, expected = found["each"], measure(some_scores(2), labels)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    first = measure(some_scores(2)[:, :1], labels[:, :1])
    assert {name: each["g"][name] for name in first} == pytest.approx(first) and set(each) == {"g", "a"}
    assert found["means_over"] == {name: 2 - sum(map(np.isnan, (each[one][name] for one in each))) for name in first}


def test_one_value_has_no_scores_one_by_one() -> None:
    labels = np.array([1.0, 2.0, 4.0, 8.0])
    found = score_predictions(predictions(labels[:, None] + 1, None, labels=labels, problem_type="regression"))
    assert found["mae"] == pytest.approx(1) and "each" not in found


def test_each_kind_of_labels_has_its_pictures_and_those_of_another_kind_are_removed(
    tmp_path: Path,
) -> None:
    values = predictions(np.ones((4, 1)), None, labels=np.ones(4), problem_type="regression")
    plot_predictions(values, tmp_path, None, {})
    assert [path.name for path in tmp_path.iterdir()] == ["scatter.png"]
    several = predictions(some_scores(2), ["g", "a"], labels=np.eye(4, 2), problem_type="multi_label_classification")
    plot_predictions(several, tmp_path, None, {})
    assert {path.name for path in tmp_path.iterdir()} == {"roc_pr.png", "reliability.png"}
    classes = predictions(some_scores(2), ["no", "yes"], labels=np.array([0, 1, 1, 0]))
    (tmp_path / "mine.png").touch()
    plot_predictions(classes, tmp_path, "no", {"guess": (np.full((4, 2), 0.5), np.array([0, 1, 1, 0]))})
    names = {"roc_pr.png", "confusion.png", "reliability.png", "mine.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    plot_predictions(values, tmp_path, None, {})
    assert {path.name for path in tmp_path.iterdir()} == {"scatter.png", "mine.png"}


# the positive class

CLASSES = Task("single_label_classification", ["other", "phage"])


@pytest.mark.parametrize("positive", [None, "phage", "other"])
def test_a_class_of_the_task_or_the_default_can_be_the_positive_one(positive) -> None:
    check_positive(positive, CLASSES)


@pytest.mark.parametrize(
    ("task", "positive", "part"),
    [
        (CLASSES, "phages", "did you mean 'phage'"),
        (CLASSES, "x", r"\['other', 'phage'\]"),
        (Task("multi_label_classification", ["a", "b"]), "a", "omit it"),
        (Task("regression"), "a", "omit it"),
    ],
)
def test_another_positive_class_is_refused_by_name(task, positive, part) -> None:
    with pytest.raises(InputError, match=f"positive.*{positive}.*{part}"):
        check_positive(positive, task)


def test_three_classes_have_no_positive_one() -> None:
    task = Task("single_label_classification", ["a", "b", "c"])
    with pytest.raises(InputError, match="positive is 'a', but F1 is averaged over all 3 classes"):
        check_positive("a", task)
    assert positive_class(None, task) is None


@pytest.mark.parametrize(("given", "of_model", "expected"), [("other", "phage", "other"), (None, "other", "other")])
def test_the_option_comes_before_the_class_of_the_model(given, of_model, expected) -> None:
    assert positive_class(given, replace(CLASSES, positive=of_model)) == expected
    assert positive_class(None, CLASSES) == "phage"  # a model of version 0.1: the second class


# the verb


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An untrained classifier of two classes."""
    folder = tmp_path_factory.mktemp("evaluate") / "model"
    names = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}, "problem_type": "single_label_classification"}
    KmerBertForSequenceClassification(KmerBertConfig(k=3, **SIZES, **names)).save_pretrained(folder)
    KmerTokenizer(k=3).save_pretrained(folder)
    return folder


def table(path: Path, labels: str) -> LabelledData:
    rows = [f"{letters},{label}" for letters, label in zip(("ACGT", "TTTT", "GCAA", "CCCC"), labels, strict=True)]
    path.write_text("\n".join(["sequence,label", *rows]) + "\n")
    return LabelledData(test=str(path))


def test_evaluate_writes_what_it_returns(model: Path, tmp_path: Path) -> None:
    found = evaluate(str(model), table(tmp_path / "t.csv", "abba"), str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == found
    names = {"metrics.json", "predictions.tsv", "report.html", "roc_pr.png", "confusion.png", "reliability.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


@pytest.mark.parametrize(
    ("labels", "options", "part"),
    [
        ("abca", {}, "'c'"),
        ("aaaa", {}, "no row of class 'b'"),
        ("abba", {"positive": "c"}, "positive"),
        ("abba", {"split": "valid"}, r"data\.valid"),
        ("abba", {"batch_size": 0}, "batch_size"),
        ("abba", {"baselines": ["kmer"]}, r"data\.train"),
        ("abba", {"baselines": ["k-mer"]}, "baselines: 'k-mer'"),
        ("abba", {"baselines": ["kmer"], "split": "train"}, "score another split"),
    ],
)
def test_evaluate_refuses_what_does_not_fit_and_writes_nothing(model, tmp_path, labels, options, part) -> None:
    with pytest.raises(InputError, match=part):
        evaluate(str(model), table(tmp_path / "t.csv", labels), str(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def test_baselines_are_fitted_on_the_training_table_and_stand_beside_the_model(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("hf_genomics.evaluation.convolution._MAX_STEPS", 1)
    data = replace(table(tmp_path / "t.csv", "abba"), train=table(tmp_path / "train.csv", "aabb").test)
    found = evaluate(str(model), data, str(tmp_path / "out"), baselines=["kmer", "conv"])
    assert set(found["baselines"]) == {"majority", "4-mer logistic regression", "convolutional network"}
    assert found["baselines"]["majority"]["accuracy"] == 0.5
    assert found["baselines"]["4-mer logistic regression"].keys() >= {"auroc", "positive", "means_over"}


def test_a_warning_says_that_only_the_model_has_a_threshold(model, tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setattr("hf_genomics.evaluation.evaluate.plot_predictions", lambda *_: None)
    data = replace(table(tmp_path / "t.csv", "abba"), train=table(tmp_path / "train.csv", "aabb").test)
    evaluate(str(model), data, str(tmp_path / "plain"), baselines=["kmer"])
    assert "threshold" not in caplog.text
    shutil.copytree(model, tmp_path / "model")
    change_json(tmp_path / "model" / "config.json", positive_class="a", decision_threshold=0.3)
    found = evaluate(str(tmp_path / "model"), data, str(tmp_path / "out"), baselines=["kmer"])
    assert "threshold" in found and not any("threshold" in scores for scores in found["baselines"].values())
    assert "Only the model has a threshold" in caplog.text
    assert "Only the model has a threshold" in (tmp_path / "out" / "report.html").read_text()


def test_baselines_are_not_fitted_on_an_empty_column(tmp_path) -> None:
    (tmp_path / "train.csv").write_text("sequence,label,pH\nACGT,a,\nTTTT,b,\n")
    columns = Columns(tracks=["pH"])
    rows = replace(table(tmp_path / "t.csv", "abba").load("test", 3), tracks=np.ones((4, 1)), track_names=["pH"])
    with pytest.raises(InputError, match=r"train\.csv: column 'pH' is empty in every row"):
        _training_rows(LabelledData(train=str(tmp_path / "train.csv"), columns=columns), rows, {}, 3)


def test_baselines_never_see_the_rows_that_are_scored(model, tmp_path) -> None:
    rows = table(tmp_path / "t.csv", "abba").load("test", 3)
    data = LabelledData(train=str(tmp_path / "t.csv"), split=[0.5, 0.0, 0.5])
    assert _training_rows(data, rows.take([0, 1]), {"train": rows.take([2, 3])}, 3).ids == ["3", "4"]
    with pytest.raises(InputError, match="no rows to train on"):
        _training_rows(data, rows, {"test": rows}, 3)
    dropping = LabelledData(train=str(tmp_path / "t.csv"), drop_leaks=True)
    assert _training_rows(dropping, rows.take([0, 1]), {}, 3).ids == ["3", "4"]
    others = {"train": rows, "valid": rows.take([2])}  # a row of any other split is a leak, as metrics.json counts it
    assert _training_rows(dropping, rows.take([0]), others, 3).ids == ["2", "4"]


def test_evaluate_takes_the_positive_class_of_the_model_and_says_how_labels_were_understood(
    model: Path, tmp_path: Path, caplog
) -> None:
    config = json.loads((model / "config.json").read_text()) | {"positive_class": "a"}
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(config))
    with caplog.at_level("INFO"):
        found = evaluate(str(folder), table(tmp_path / "t.csv", "abbb"), str(tmp_path / "out"))
    assert found["positive"] == found["task"]["positive"] == "a" and found["task"]["counts"] == {
        "test": {"a": 1, "b": 3}
    }
    assert f"{tmp_path / 't.csv'}: 2 classes: a 1, b 3; f1 and auprc refer to a" in caplog.text
    assert (
        evaluate(str(folder), table(tmp_path / "t.csv", "abbb"), str(tmp_path / "b"), positive="b")["positive"] == "b"
    )


def test_what_cannot_be_scored_has_empty_cells_and_does_not_count(model: Path, tmp_path: Path, caplog) -> None:
    data = table(tmp_path / "t.csv", "abba")
    expected = evaluate(str(model), data, str(tmp_path / "four"))
    with open(tmp_path / "t.csv", "a") as file:
        file.write('NNNNNNNN,a\nA,a\n"",b\nACGT-ACGT,a\n')
    found = evaluate(str(model), data, str(tmp_path / "five"))
    assert expected.pop("task")["counts"] == {"test": {"a": 2, "b": 2}}
    assert found.pop("task")["counts"] == {"test": {"a": 5, "b": 3}}
    assert found.pop("calibration") == pytest.approx(expected.pop("calibration"), abs=1e-6)
    assert found == expected | {"sequences_without_scores": 4} and "4 of 8" in caplog.text
    rows = (tmp_path / "five" / "predictions.tsv").read_text().splitlines()
    assert rows[:5] == (tmp_path / "four" / "predictions.tsv").read_text().splitlines()
    assert rows[5:] == ["5\t8\ta\t\t\t", "6\t1\ta\t\t\t", "7\t0\tb\t\t\t", "8\t9\ta\t\t\t"]
    with pytest.raises(InputError, match="data row 5"):
        evaluate(str(model), LabelledData(test=data.test, strict=True), str(tmp_path / "six"))


def test_a_sequence_that_cannot_be_scored_has_its_number_in_the_file_if_leaks_before_it_were_dropped(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "test.csv").write_text("sequence,label\nACGTACGT,a\nGGGGGGGG,b\n")
    (tmp_path / "train.csv").write_text("sequence,label\nACGTACGT,a\nCCATTACC,a\nTTTTTTAT,b\nNNNNNNNN,b\n")
    paths = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    with pytest.raises(InputError, match=r"train\.csv: data row 4: "):
        data = LabelledData(**paths, drop_leaks=True, strict=True)
        evaluate(str(model), data, str(tmp_path / "out"), split="train")


def test_a_table_that_is_not_compared_is_named_with_a_remedy_of_evaluate(model: Path, tmp_path: Path, caplog) -> None:
    (tmp_path / "rna.csv").write_text("sequence,label\nACGU,a\nTTTT,b\n")
    data = replace(table(tmp_path / "t.csv", "abba"), valid=str(tmp_path / "rna.csv"))
    evaluate(str(model), data, str(tmp_path / "out"))
    assert "data.valid is not compared with data.test" in caplog.text and "--data.rna true" in caplog.text


def test_names_of_scored_sequences_may_be_repeated_or_missing(model: Path, tmp_path: Path) -> None:
    expected = evaluate(str(model), table(tmp_path / "t.csv", "abba"), str(tmp_path / "table"))
    texts = zip(("ACGT", "TTTT", "GCAA", "CCCC"), "abba", strict=True)
    records = "".join(
        f">{name} label={label}\n{letters}\n" for name, (letters, label) in zip("xyxx", texts, strict=True)
    )
    (tmp_path / "t.fa").write_text(records)
    found = evaluate(str(model), LabelledData(test=str(tmp_path / "t.fa")), str(tmp_path / "records"))
    assert (expected["task"].pop("files"), found["task"].pop("files")) == ({"test": "t.csv"}, {"test": "t.fa"})
    assert found == expected
    written = (tmp_path / "records" / "predictions.tsv").read_text().splitlines()[1:]
    assert [row[0] for row in written] == ["x", "y", "x", "x"]
    (tmp_path / "t.csv").write_text("id,sequence,label\nx,ACGT,a\nx,TTTT,b\n,GCAA,b\nx,CCCC,a\n")
    data = LabelledData(test=str(tmp_path / "t.csv"), columns=Columns(id="id"))
    found = evaluate(str(model), data, str(tmp_path / "ids"))
    assert found["task"].pop("files") == {"test": "t.csv"} and found == expected


def test_the_folder_is_shown_as_the_user_wrote_it(model: Path, tmp_path: Path, monkeypatch) -> None:
    data = table(tmp_path / "t.csv", "abba")
    monkeypatch.chdir(tmp_path)
    assert "files: scores/x (" in evaluate(str(model), data, "scores/x").screen()


def test_an_evaluation_never_replaces_the_files_of_a_training(model: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "abba")
    before = {path: path.read_bytes() for path in model.iterdir()}
    (tmp_path / "link").symlink_to(model)
    for folder in (model, tmp_path / "link"):
        for overwrite in (False, True):
            with pytest.raises(InputError, match="holds a model"):
                evaluate(str(model), data, str(folder), overwrite=overwrite)
    assert {path: path.read_bytes() for path in model.iterdir()} == before
    evaluate(str(model), data, str(tmp_path / "new"))
    with pytest.raises(InputError, match=r"metrics\.json exists"):
        evaluate(str(model), data, str(tmp_path / "new"))
    evaluate(str(model), data, str(tmp_path / "new"), overwrite=True)


def test_the_model_is_ahead_of_a_baseline_by_the_difference_of_their_scores() -> None:
    labels = np.array([0, 1, 1, 0])
    right = predictions(np.eye(2)[labels] * 0.8 + 0.1, ["no", "yes"], labels=labels)
    wrong = predictions(np.eye(2)[1 - labels] * 0.8 + 0.1, ["no", "yes"], labels=labels)
    compared = compare_with_baselines(right, {"other": wrong, "same": right})
    assert compared.scores == score_predictions(right) and compared.baselines["other"] == score_predictions(wrong)
    assert compared.ahead["same"] == {"score": "macro_recall", "difference": 0.0, "interval": [0.0, 0.0]}
    assert compared.ahead["other"]["difference"] == 1.0 and compared.ahead["other"]["interval"][0] > 0
    assert compared.scores["intervals"]["accuracy"] == [1.0, 1.0] and compared.scores["bootstrap"]["over"] == "rows"


def test_intervals_are_over_sequences_if_nucleotides_are_scored() -> None:
    labels = [np.array([0, 1, 1])] * 4
    found = score_predictions(predictions([], ["no", "yes"], [np.full((3, 2), 0.5)] * 4, nt_labels=labels))
    assert found["bootstrap"]["over"] == "groups"


def test_a_threshold_decides_which_class_is_predicted() -> None:
    labels, scores = np.array([0, 1, 1, 0]), np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.8, 0.2]])
    half = predictions(scores, ["no", "yes"], labels=labels)
    found = score_predictions(half._replace(threshold=(0.25, 1)))
    assert found["accuracy"] == 1.0 and score_predictions(half)["accuracy"] == 0.5
    assert found["auroc"] == score_predictions(half)["auroc"]
    assert found["threshold"] == {"class": "yes", "probability": 0.25}


def test_evaluate_describes_itself_in_ten_lines_and_a_page(model: Path, tmp_path: Path) -> None:
    averages = AverageOptions(both_strands=True, frames=2)
    found = evaluate(str(model), table(tmp_path / "t.csv", "abba"), str(tmp_path / "out"), options=averages)
    lines = found.screen().splitlines()
    assert 5 <= len(lines) <= 10 and "2 classes" in lines[0] and str(tmp_path / "out") in lines[-1]
    assert found["both_strands"] and "reverse complement" in (tmp_path / "out" / "report.html").read_text()
    assert "frames" not in found  # the model has stride 1
    assert averages.facts(stride=6) == {"both_strands": True, "frames": 2}
    assert AverageOptions(frames=9).facts(stride=6) == {"frames": 6} and AverageOptions().facts(stride=6) == {}
    assert "in 6 frames" in notes_of({"frames": 6})[0]
