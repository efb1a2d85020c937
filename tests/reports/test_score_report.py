"""The scores of a model beside its baselines: ten lines, who is ahead, and a page that needs nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hf_genomics.reports.score_report import (
    ScoredModel,
    ScoreReport,
    main_score,
    screen_lines,
    verdict,
    write_score_report,
)

NAN = float("nan")


def scores(value: float, low: float, high: float) -> dict:
    names = ("macro_recall", "auroc", "auprc", "f1", "mcc", "accuracy")
    found = dict.fromkeys(names, value) | {"intervals": {name: [low, high] for name in names}}
    return found | {"bootstrap": {"replicates": 1000, "over": "rows", "seed": 0}}


def example(folder: Path = Path("runs/x"), low: float = 0.02, high: float = 0.12, **changes: object) -> ScoredModel:
    counts = {"other": 1200, "phage": 300}
    scored = ScoredModel(
        "x",
        folder,
        "test",
        {"kind": "classes", "positive": "phage", "counts": {"train": counts, "test": counts}},
        scores(0.8123, 0.78, 0.84),
        {"majority": scores(0.5, 0.5, 0.5), "4-mer logistic regression": scores(0.74, 0.7, 0.78)},
        {
            "majority": {"score": "macro_recall", "difference": 0.3123, "interval": [0.28, 0.34]},
            "4-mer logistic regression": {"score": "macro_recall", "difference": 0.0723, "interval": [low, high]},
        },
        {"train/test": 12, "train/valid": 0},
    )
    return scored._replace(**changes)


def test_ten_lines_say_task_classes_scores_who_is_ahead_and_where_the_files_are():
    lines = screen_lines(example())
    assert len(lines) <= 10
    assert lines[0] == "task: 2 classes; F1 and AUPRC are of 'phage'" and "other: 1,200, phage: 300" in lines[1]
    assert "12 in train and test" in lines[3]
    assert [line.split("  ")[0] for line in lines[5:8]] == ["KmerBert", "4-mer logistic regression", "majority"]
    assert "0.812 [0.780, 0.840]" in lines[5]
    assert lines[-1].startswith("files: runs/x ") and "report.html" in lines[-1]


@pytest.mark.parametrize(
    ("low", "high", "first"),
    [(0.02, 0.12, "KmerBert is ahead of 4-mer"), (-0.12, -0.02, "4-mer logistic regression is ahead of KmerBert")],
)
def test_the_one_with_the_better_score_is_ahead_of_the_other(low, high, first):
    line = verdict(example(low=low, high=high))
    assert first in line and "0.020 to 0.120" in line


def test_nobody_is_ahead_if_the_interval_of_the_difference_holds_0():
    assert "do not differ clearly" in verdict(example(low=-0.01, high=0.15))


def test_without_baselines_or_test_data_there_is_no_comparison():
    without = verdict(example(ahead={}, baselines={}))
    assert "--baselines kmer" in without and "data.train" in without
    assert "--baselines" not in verdict(example(ahead={}))  # the score has no value
    lines = screen_lines(example(scores={}, baselines={}, ahead={}))
    assert "data.test" in lines[-2] and "predictions.tsv" not in lines[-1]


def test_scores_without_an_interval_of_their_difference_are_named_and_nobody_is_called_ahead():
    line = verdict(example(ahead={}))
    assert "macro recall is 0.812 for KmerBert and 0.740 for 4-mer logistic regression" in line
    assert "no value" in verdict(example(ahead={}, scores=scores(NAN, NAN, NAN)))


def test_a_single_class_more_is_named_too():
    lines = [
        screen_lines(example(task={"kind": "classes", "counts": {"test": dict.fromkeys(map(str, range(number)), 5)}}))[
            1
        ]
        for number in (7, 8)
    ]
    assert lines[0].endswith("6: 5") and lines[1].endswith("5: 5 and 2 more")


def test_other_labels_have_other_scores():
    assert [main_score({"kind": kind}) for kind in ("classes", "yes/no labels", "values")] == [
        "macro_recall",
        "auroc",
        "spearman",
    ]
    values = {"value": {"numbers": 40, "distinct": 40, "smallest": 0.5, "largest": 2.0}}
    none = {"value": {"numbers": 0, "distinct": 0, "smallest": None, "largest": None}}
    assert "value: none" in screen_lines(example(task={"kind": "values", "counts": {"test": none}}))[1]
    task = {"kind": "values", "counts": {"test": values}}
    found = {"spearman": NAN, "pearson": None, "r2": 0.5, "intervals": {}}
    lines = screen_lines(example(task=task, scores=found, baselines={}, ahead={}))
    assert lines[:2] == ["task: 1 value", "test: value: 40 from 0.5 to 2"]
    assert re.search("KmerBert +\N{EN DASH} +\N{EN DASH} +0.500$", lines[4])
    assert screen_lines(example(task={"kind": "classes", "counts": {"test": {"phage": 9}}}))[0] == "task: 1 class"
    labels = {f"mark{number}": {"yes": 3, "no": 7, "missing": 0} for number in range(919)}
    line = screen_lines(example(task={"kind": "yes/no labels", "counts": {"test": labels}}))[1]
    assert "mark0: 3 of 10" in line and line.endswith("913 more") and len(line) < 200


def test_the_page_holds_everything_and_refers_to_nothing(tmp_path):
    path = write_score_report(example(tmp_path, notes=["Logits were divided <by> 2."]))
    text = path.read_text()
    assert path == tmp_path / "report.html" and "Logits were divided &lt;by&gt; 2." in text
    assert "4-mer logistic regression" in text and "+0.020 to +0.120" in text and "1,000 bootstrap replicates" in text
    assert "http" not in text and "<script" not in text


def test_metrics_that_were_not_scored_have_no_screen():
    assert ScoreReport({"train_loss": 1.0}).screen() is None
    report = ScoreReport({"train_loss": 1.0})
    report.scored = example()
    assert report.screen().count("\n") == len(screen_lines(example())) and report == {"train_loss": 1.0}
