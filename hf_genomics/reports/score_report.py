"""Show the scores of a model beside its baselines: ten lines for the terminal, and a report of one HTML file.

Everything is read from what metrics.json holds, so that a report can be made again from the files of a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .html import Cell, write_report

REPORT = "report.html"
#: Scores in the order of the tables, by the kind of labels; the first one decides who is ahead.
_SCORES = {
    "classes": ("macro_recall", "auroc", "auprc", "f1", "mcc", "accuracy"),
    "yes/no labels": ("auroc", "auprc", "f1"),
    "values": ("spearman", "pearson", "r2", "mae"),
}
_NAMES = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "mcc": "MCC", "r2": "R2", "mae": "MAE", "mse": "MSE"}
_NAMES |= {"pearson": "Pearson r", "spearman": "Spearman rho"}
_ON_SCREEN, _ON_PAGE = 3, 5  # scores that fit into a line of the terminal, and of the page
_MOST_CLASSES = 6  # classes named in a line
_PICTURES = {
    "roc_pr.png": "ROC and precision-recall curves of the scored sequences, of the model and of the baselines.",
    "confusion.png": "Confusion matrix: how many sequences of each class are predicted as which class.",
    "scatter.png": "Predicted against true values. On the diagonal the prediction is right.",
    "reliability.png": "Reliability. On the diagonal, predictions of a confidence of 80 % are right in 80 % of the "
    "cases. The area of a point shows how many predictions have this confidence.",
    "loss.png": "Fine-tuning: loss of the training and validation data against optimiser steps.",
}


class ScoreReport(dict):
    """Metrics, as metrics.json holds them, that can describe themselves.

    Attributes:
        scored: what `screen` shows; set by the verb.
        above: lines that `screen` shows before it.
    """

    scored: ScoredModel | None = None
    above: Sequence[str] = ()

    def screen(self) -> str | None:
        """Return the lines for the terminal; None if nothing was scored."""
        return None if self.scored is None else "\n".join([*self.above, *screen_lines(self.scored)]) + "\n"


class ScoredModel(NamedTuple):
    """A model that was scored.

    Attributes:
        model: name of the model.
        folder: folder with metrics.json, predictions.tsv and the pictures.
        split: split that was scored, such as "test".
        task: how the labels were understood: "kind", "positive", "counts" and "files" of each split.
        scores: scores of the model, with "intervals" and "bootstrap".
        baselines: name of a baseline -> its scores.
        ahead: name of a baseline -> "score", "difference" and "interval" of model minus baseline.
        leaks: two splits, as "train/test" -> sequences in both.
        notes: further facts, a sentence each.
        title: what the model is called in the tables.
        seeds: means and standard deviations over several seeds, as `hf_genomics.jobs.seeds.summarise` returns them.
    """

    model: str
    folder: Path
    split: str
    task: Mapping[str, Any]
    scores: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]]
    ahead: Mapping[str, Mapping[str, Any]]
    leaks: Mapping[str, int]
    notes: Sequence[str] = ()
    title: str = "KmerBert"
    seeds: Mapping[str, Any] = {}  # noqa: RUF012 (a field of a NamedTuple)

    @property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """Name -> scores of the model and then of the baselines, the best first."""
        main = main_score(self.task)
        order = sorted(self.baselines, key=lambda name: -_sortable(self.baselines[name].get(main)))
        return {self.title: self.scores} | {name: self.baselines[name] for name in order}


def main_score(task: Mapping[str, Any]) -> str:
    """Return the name of the score by which models are compared.

    Args:
        task: how the labels were understood.
    """
    return _scores_of(task)[0]


def _scores_of(task: Mapping[str, Any]) -> tuple[str, ...]:
    return _SCORES.get(str(task.get("kind")), _SCORES["classes"])


def screen_lines(scored: ScoredModel) -> list[str]:
    """Return about ten lines: task, classes, table of scores, who is ahead, leaks, and where the files are.

    Args:
        scored: the model that was scored.
    """
    names = _scores_of(scored.task)[:_ON_SCREEN]
    seeds = scored.seeds.get("seeds", [])
    table = [[f"scores ({scored.split}{f', seed {seeds[0]}' if seeds else ''})", *map(_title, names)]]
    for title, scores in scored.rows.items():
        table.append([title, *(_with_interval(scores, name).replace("\N{NO-BREAK SPACE}", " ") for name in names)])
    if seeds:
        table += [[f"mean ± standard deviation of {len(seeds)} seeds", *[""] * len(names)], *_over_seeds(scored, names)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return [
        *(f"{what}: {text}" for what, text in _about(scored)),
        *(lines if scored.scores else []),
        f"result{f' (seed {seeds[0]})' if seeds else ''}: {verdict(scored)}",
        f"files: {scored.folder} ({REPORT}, metrics.json{', predictions.tsv' if scored.scores else ''})",
    ]


def _about(scored: ScoredModel) -> list[tuple[str, str]]:
    """Return what was learnt, on which sequences, and their leaks."""
    about = [("task", _task_line(scored.task))]
    about += _labels(scored)
    if scored.leaks:
        found = [f"{count:,} in {pair.replace('/', ' and ')}" for pair, count in scored.leaks.items() if count]
        none = "no sequence is in two splits, on either strand; hf-genomics check looks for near-copies"
        about.append(("leaks", ", ".join(found) or none))
    return about


def _labels(scored: ScoredModel) -> list[tuple[str, str]]:
    """Return the name of each split with its file, and the labels of its rows."""
    files = scored.task.get("files", {})
    return [
        (f"{split} ({files[split]})" if files.get(split) else split, _counts_line(counts))
        for split, counts in scored.task.get("counts", {}).items()
    ]


def _task_line(task: Mapping[str, Any]) -> str:
    """Describe the labels in one line."""
    counts: Mapping[str, Any] = next(iter(task.get("counts", {}).values()), {})
    per = " per nucleotide" if task.get("labels_per") == "nucleotide" else ""
    kind = str(task.get("kind"))
    one = "class" if kind == "classes" else kind.removesuffix("s")
    what = f"{len(counts):,} {one if len(counts) == 1 else kind}{per}"
    return f"{what}; F1 and AUPRC are of {task['positive']!r}" if task.get("positive") else what


def _counts_line(counts: Mapping[str, Any]) -> str:
    """Describe the labels of a split in one line: rows of each class, positives of each label, range of each value."""
    most = _MOST_CLASSES if len(counts) > _MOST_CLASSES + 1 else len(counts)  # "and 1 more" would save nothing
    texts = []
    for name, count in [*counts.items()][:most]:
        if not isinstance(count, Mapping):
            texts.append(f"{name}: {count:,}")
        elif "yes" in count:
            texts.append(f"{name}: {count['yes']:,} of {count['yes'] + count['no']:,}")
        elif not count["numbers"]:  # not measured in any row
            texts.append(f"{name}: none")
        else:
            texts.append(f"{name}: {count['numbers']:,} from {count['smallest']:.4g} to {count['largest']:.4g}")
    return ", ".join(texts) + (f" and {len(counts) - most:,} more" if len(counts) > most else "")


def verdict(scored: ScoredModel) -> str:
    """Say who is ahead, the model or the best baseline, and how sure that is.

    Args:
        scored: the model that was scored.
    """
    if not scored.scores:
        return "no test data to score; name data.test, or pass --data.split 0.8 0.1 0.1"
    name = _title(main_score(scored.task))
    if not scored.baselines:
        return "nothing to compare with; add a baseline by --baselines kmer and a training table (data.train)"
    if not scored.ahead:
        return _verdict_without_interval(scored, name)
    best = min(scored.ahead, key=lambda one: scored.ahead[one]["difference"])
    difference, (low, high) = scored.ahead[best]["difference"], scored.ahead[best]["interval"]
    if low <= 0 <= high:
        how = f"difference {difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
        return f"{scored.title} and {best} do not differ clearly in {name} ({how})"
    first, second = (scored.title, best) if low > 0 else (best, scored.title)
    low, high = sorted((abs(low), abs(high)))
    by = f"by {abs(difference):.3f} in {name} (95 % interval {low:.3f} to {high:.3f})"
    return f"{first} is ahead of {second} {by}"


def _verdict_without_interval(scored: ScoredModel, name: str) -> str:
    """State both scores, if there are too few test rows or groups for an interval of their difference."""
    (_, ours), *others = scored.rows.items()
    best, theirs = others[0]
    main = main_score(scored.task)
    if math.inf in (abs(_sortable(ours.get(main))), abs(_sortable(theirs.get(main)))):
        return f"{name} has no value, so nothing can be compared"
    return (
        f"{name} is {ours[main]:.3f} for {scored.title} and {theirs[main]:.3f} for {best}; there are too few "
        "test rows or groups for an interval of the difference, so it may be chance"
    )


def write_score_report(scored: ScoredModel) -> Path:
    """Write report.html into the folder of a model that was scored, and return its path.

    Args:
        scored: the model; pictures that are in its folder are embedded.
    """
    path = scored.folder / REPORT
    about = [f"{_capital(what)}: {text}." for what, text in _about(scored) if what in ("task", "leaks")]
    found = [(caption, scored.folder / name) for name, caption in _PICTURES.items()]
    write_report(
        path,
        title=f"{scored.model}: scores on the {scored.split} split",
        summary=[_capital(verdict(scored)) + ".", *about, *scored.notes],
        tables=_tables(scored),
        pictures=[(caption, file) for caption, file in found if file.is_file()],
    )
    return path


def _tables(scored: ScoredModel) -> list[tuple[str, list[str], list[list[Cell]]]]:
    """Return the tables of the report: scores, differences from the baselines, and labels of each split."""
    names, boot = _scores_of(scored.task)[:_ON_PAGE], scored.scores.get("bootstrap", {})
    how = f"{boot.get('replicates', 0):,} bootstrap replicates over {boot.get('over', 'rows')}"
    scores = [[title, *(_with_interval(one, name, 2) for name in names)] for title, one in scored.rows.items()]
    tables: list[tuple[str, list[str], list[list[Cell]]]] = []
    if scored.scores:
        caption = f"Scores of the {scored.split} split, with 95 % intervals ({how})"
        tables.append((caption, ["model", *map(_title, names)], [[*row] for row in scores]))
    if seeds := scored.seeds.get("seeds"):
        caption = f"Mean ± standard deviation of the {scored.split} scores over the seeds {', '.join(map(str, seeds))}"
        tables.append((caption, ["model", *map(_title, names)], [[*row] for row in _over_seeds(scored, names)]))
    if scored.ahead:
        caption = (
            f"Difference of {_title(main_score(scored.task))}, {scored.title} minus baseline, on the same replicates"
        )
        tables.append((caption, ["baseline", "difference", "95 % interval"], _differences(scored)))
    tables.append(("Labels of each split", ["split", "labels"], [[*row] for row in _labels(scored)]))
    return tables


def _over_seeds(scored: ScoredModel, names: Sequence[str]) -> list[list[str]]:
    """Return a row for the model and each baseline: name, and mean and standard deviation of these scores."""
    models = {scored.title: scored.seeds["model"]} | scored.seeds["baselines"]
    main = main_score(scored.task)
    first, *others = models
    order = sorted(others, key=lambda name: -_sortable(models[name].get(main, {}).get("mean")))
    return [[name, *(_mean_and_spread(models[name].get(score)) for score in names)] for name in (first, *order)]


def _mean_and_spread(found: Mapping[str, Any] | None) -> str:
    """Return a mean and its standard deviation; a dash for a score that not all runs have."""
    return "\N{EN DASH}" if found is None else f"{found['mean']:.3f} ± {found['std']:.3f}"


def _differences(scored: ScoredModel) -> list[list[Cell]]:
    """Return a row for each baseline: the difference of the main score, and its interval."""
    return [
        [name, f"{facts['difference']:+.3f}", "{:+.3f} to {:+.3f}".format(*facts["interval"])]
        for name, facts in sorted(scored.ahead.items(), key=lambda item: item[1]["difference"])
    ]


def _with_interval(scores: Mapping[str, Any], name: str, digits: int = 3) -> str:
    """Return a score and its interval, with this number of decimals, as text that breaks between the two; or a dash."""
    value, ends = scores.get(name), scores.get("intervals", {}).get(name)
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:.3f}" + (f" [{ends[0]:.{digits}f},\N{NO-BREAK SPACE}{ends[1]:.{digits}f}]" if ends else "")


def _title(name: str) -> str:
    """Return the name of a score as readers know it."""
    return _NAMES.get(name, name.replace("_", " "))


def _sortable(value: Any) -> float:
    return -math.inf if value is None or math.isnan(value) else float(value)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
