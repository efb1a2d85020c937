"""Pictures of a training run: loss curves, ROC and precision-recall curves, confusion matrices.

They are drawn with matplotlib's objects, never with pyplot, so that drawing changes nothing in the caller's session and
needs no screen. Every file is written under a temporary name and then renamed, so that no half-written file is ever
seen.
"""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from sklearn import metrics as sk

from ..io.files import shorten
from ..io.writing import write_bytes
from .decisions import Reliability

logger = logging.getLogger(__name__)

#: Okabe and Ito's colours, which can be distinguished with any colour vision; the first is the report's accent.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", (0, (6, 1.5)), (0, (3, 1, 1, 1)), (0, (2, 1)))
_CHANCE_LINE = (0, (1, 1.5))
_INK, _FAINT, _GRID = "#1f2328", "#6e7781", "#e4e7eb"
_TITLE: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "color": _INK, "parse_math": False}
_DPI = 200
_GRID_POINTS = 1001
_MOST_COUNTED, _MOST_NAMED = 30, 60  # classes of a confusion matrix with counts, with names

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def plot_loss(
    history: Sequence[Mapping[str, float]],
    path: str | os.PathLike[str],
    *,
    references: Mapping[str, float] | None = None,
    ylabel: str = "loss (nats per masked token)",
) -> None:
    """Draw training and validation loss against optimiser steps, with an axis of tokens seen if they were logged.

    If masked tokens and hidden nucleotides were scored, a second panel shows the shares predicted correctly.

    Args:
        history: ``Trainer.state.log_history``; step, loss, eval_loss, num_input_tokens_seen and the two accuracies of
            ``masked_scores`` are read.
        path: PNG file to write.
        references: horizontal lines to compare with, as ``{"unigram entropy": 7.42, "ln 4": 1.386}``.
        ylabel: label of the loss, with its unit.
    """
    accuracies = {name: _series(history, key) for name, key in _ACCURACIES.items()}
    accuracies = {name: series for name, series in accuracies.items() if len(series[0])}
    figure, (axes, *beside) = _figure(9.2 if accuracies else 7.2, 4.0, 2 if accuracies else 1)
    for each in (axes, *beside):
        each.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
        each.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if beside:
        _draw_accuracies(beside[0], accuracies)
    if not _draw_losses(axes, _series(history, "loss"), _series(history, "eval_loss")):
        logger.warning("no loss was logged: the picture %s is empty", path)
    for name, value in (references or {}).items():
        axes.axhline(value, color=_FAINT, linewidth=1, linestyle=_LINES[1], zorder=1)
        axes.annotate(
            f"{name} ({value:.2f})", (1, value), (-4, 3), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", ha="right", va="bottom", fontsize=9, color=_FAINT,
        )  # fmt: skip
    axes.set(xlabel="optimiser step", ylabel=ylabel)
    _add_token_axis(axes, history)
    _save(figure, path)


_ACCURACIES = {
    "masked tokens": "eval_masked_token_accuracy",
    "hidden nucleotides": "eval_masked_nucleotide_accuracy",
}


def _draw_losses(
    axes: Axes, training: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]
) -> bool:
    """Draw both losses, (steps, values) each; return whether any loss was logged."""
    if not len(training[0]) and not len(validation[0]):
        axes.text(0.5, 0.5, "no loss was logged", transform=axes.transAxes, ha="center", color=_FAINT)
        axes.set(xticks=[], yticks=[])
        return False
    if len(training[0]) > 60:  # a long, noisy curve is drawn faintly behind its moving average
        axes.plot(*training, color=PALETTE[0], linewidth=0.8, alpha=0.3)
        training = (training[0], smooth(training[1]))
    if len(training[0]):
        marker = "o" if len(training[0]) < 2 else ""
        axes.plot(*training, color=PALETTE[0], linewidth=1.8, marker=marker, markersize=4, label="training")
    if len(validation[0]):
        axes.plot(*validation, color=PALETTE[1], linewidth=1.5, marker="o", markersize=4, label="validation")
        axes.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize=9.5)
    return True


def _draw_accuracies(axes: Axes, accuracies: Curves) -> None:
    """Draw the shares predicted correctly in validation, and a line at 25 %, which guessing a nucleotide reaches."""
    for (name, series), color in zip(accuracies.items(), PALETTE[1:], strict=False):
        axes.plot(*series, color=color, linewidth=1.5, marker="o", markersize=4, label=name)
    axes.axhline(0.25, color=_FAINT, linewidth=1, linestyle=_CHANCE_LINE, zorder=1, label="guessed nucleotides")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.set(xlabel="optimiser step", ylabel="predicted correctly (validation)", ylim=(0, None))
    axes.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize=9.5)


def plot_roc_pr(curves: Curves, path: str | os.PathLike[str], *, positive: int = 1, of_what: str | None = None) -> None:
    """Draw ROC and precision-recall curves side by side, one line per model, with lines for random guessing.

    With two classes, the curves are drawn for the positive class. With more, they are means over one class versus the
    rest, at each false positive rate and at each recall; with several yes/no labels, means over the labels. The legend
    shows AUROC and AUPRC exactly as ``classification_metrics`` and ``multilabel_metrics`` compute them.

    Args:
        curves: name of the model -> (probabilities (examples, classes), labels (examples,)), or probabilities and 0, 1
            or NaN (not measured) of yes/no labels, (examples, labels) both.
        path: PNG file to write.
        positive: id of the positive class of two.
        of_what: name of the positive class of two, or what the curves are means over, for the titles.
    """
    is_long, line_end = len(of_what or "") > 10, "\n"  # the panels are narrow, so a long name has a line of its own
    figure, (roc, pr) = _figure(7.2, 4.65 if is_long else 4.35, 2)
    prevalences = []
    for index, (name, (probabilities, labels)) in enumerate(curves.items()):
        pairs = scored_pairs(np.asarray(probabilities, np.float64), np.asarray(labels), positive)
        if not pairs:
            logger.warning("%s: no curve, all examples are of one class", name)
            continue
        auroc, auprc = _areas(probabilities, labels, positive)
        style: dict[str, Any] = {"color": PALETTE[index % len(PALETTE)], "linestyle": _LINES[index % len(_LINES)]}
        style |= {"linewidth": 1.8}
        roc.plot(*roc_curve(pairs), label=f"{name}  AUROC {auroc:.3f}", **style)
        pr.plot(*pr_curve(pairs), label=f"{name}  AUPRC {auprc:.3f}", **style, drawstyle="steps-post")
        prevalences.append(float(np.mean([truth.mean() for truth, _ in pairs])))
    roc.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle=_CHANCE_LINE, label="chance  0.500", zorder=1)
    for prevalence in sorted({round(p, 3) for p in prevalences}):
        label = f"chance  {prevalence:.3f}"
        pr.axhline(prevalence, color=_FAINT, linewidth=1, linestyle=_CHANCE_LINE, label=label, zorder=1)
    roc.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    of_what = f"{line_end if is_long else ' '}({shorten(of_what, 24)[1:-1]})" if of_what else ""
    roc.set_title(f"ROC{of_what}", **_TITLE)
    pr.set(xlabel="recall", ylabel="precision")
    pr.set_title(f"Precision and recall{of_what}", **_TITLE)
    for axes in (roc, pr):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), box_aspect=1)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.2), frameon=False, fontsize=9, handlelength=2.2)
    _save(figure, path)


def _areas(probabilities: np.ndarray, labels: np.ndarray, positive: int) -> tuple[float, float]:
    """Compute AUROC and AUPRC."""
    # Imported here, so that loss curves are drawn without the packages evaluate and datasets.
    from .metrics import classification_metrics, multilabel_metrics

    if np.ndim(labels) == 2:
        scores = multilabel_metrics(probabilities, labels)
    else:
        scores = classification_metrics(probabilities, labels, positive=positive)
    return scores["auroc"], scores["auprc"]


def plot_confusion(
    labels: np.ndarray, predicted: np.ndarray, label_names: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Draw the confusion matrix: counts, coloured by their share of the true class (rows sum to 100 %).

    Of more than 30 classes the colours are drawn without the counts, and of more than 60 only some are named: thousands
    of texts would take minutes, and a picture that grows with the classes gigabytes.

    Args:
        labels: true class ids, (examples,).
        predicted: predicted class ids, (examples,), or probabilities (examples, classes).
        label_names: names by class id.
        path: PNG file to write.
    """
    predicted = np.asarray(predicted)
    predicted = predicted.argmax(axis=1) if predicted.ndim == 2 else predicted
    counts = sk.confusion_matrix(labels, predicted, labels=range(len(label_names)))  # (true, predicted)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.8 + 0.65 * min(len(label_names), _MOST_COUNTED)
    figure, (axes,) = _figure(side + 0.6, side, 1)
    axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("accent", ["#ffffff", PALETTE[0]]), vmin=0, vmax=1)
    centred: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center"}
    for (row, column), count in np.ndenumerate(counts if len(label_names) <= _MOST_COUNTED else counts[:0]):
        share = shares[row, column]
        centred["color"] = "#ffffff" if share > 0.55 else _INK
        axes.annotate(f"{count:,}", (column, row), xytext=(0, 6), fontsize=11, **centred)
        axes.annotate(f"{share:.1%}", (column, row), xytext=(0, -9), fontsize=9, **centred)
    ticks = range(0, len(label_names), math.ceil(len(label_names) / _MOST_NAMED))
    shown = [label_names[tick] for tick in ticks]
    axes.set(xlabel="predicted", ylabel="true", xticks=ticks, yticks=ticks)
    axes.set_xticklabels(shown, rotation=0 if len(shown) < 5 else 45 if len(shown) <= _MOST_COUNTED else 90)
    axes.set_yticklabels(shown, rotation=0)
    axes.set_title("Confusion matrix", **_TITLE)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _save(figure, path)


def plot_reliability(found: Mapping[str, Reliability], path: str | os.PathLike[str]) -> None:
    """Draw accuracy against confidence; the area of a point shows how many predictions have this confidence.

    Args:
        found: name -> reliability, such as before and after calibration.
        path: PNG file to write.
    """
    figure, (axes,) = _figure(4.6, 4.35, 1)
    axes.plot((0, 1), (0, 1), color=_FAINT, linewidth=1, linestyle=_CHANCE_LINE, zorder=1)
    for color, (name, one) in zip(PALETTE, found.items(), strict=False):
        share = one.counts / max(1, one.counts.sum())
        axes.plot(one.confidence, one.accuracy, color=color, linewidth=1.2, label=f"{name}  ECE {one.ece:.3f}")
        axes.scatter(one.confidence, one.accuracy, s=12 + 240 * share, color=color, alpha=0.7, linewidths=0)
    axes.set_title("Reliability", **_TITLE)
    axes.set(xlabel="confidence (probability given by the model)", ylabel="share of predictions that are right")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(loc="upper left", framealpha=0.9, edgecolor="none", fontsize=9.5)
    _save(figure, path)


def plot_scatter(predicted: np.ndarray, true: np.ndarray, names: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Draw predicted against true values, a panel for each of the first three targets.

    Args:
        predicted: (examples, targets) or (examples,).
        true: true values in the shape of ``predicted``, NaN where unknown.
        names: names of the targets, with their units if they have any.
        path: PNG file to write.
    """
    predicted, true = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (predicted, true))
    panels = min(3, true.shape[1])
    figure, all_axes = _figure(4.4 * panels, 4.35, panels)
    for number, axes in enumerate(all_axes):
        known = ~np.isnan(true[:, number])
        x, y = true[known, number], predicted[known, number]
        size = float(np.clip(2000 / max(1, len(x)), 2, 24))
        axes.scatter(x, y, s=size, color=PALETTE[0], alpha=0.5, linewidths=0, rasterized=True)
        if len(x):
            ends = min(x.min(), y.min()), max(x.max(), y.max())
            axes.plot(ends, ends, color=_FAINT, linewidth=1, linestyle=_CHANCE_LINE, zorder=1)
        axes.set(xlabel=f"true {names[number]}", ylabel=f"predicted {names[number]}")
        axes.set_title(f"{shorten(names[number], 24)[1:-1]}, {len(x):,} sequences", **_TITLE)
    _save(figure, path)


def smooth(values: np.ndarray) -> np.ndarray:
    """Average each value with its neighbours, a fortieth of the series on each side (fewer at the ends).

    Args:
        values: (values,).

    >>> smooth(np.array([0.0, 3.0, 0.0])).tolist()
    [1.5, 1.0, 1.5]
    """
    reach = max(1, len(values) // 40)
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def scored_pairs(
    probabilities: np.ndarray, labels: np.ndarray, positive: int = 1
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return truth and scores of what is scored: the positive class of two, each of several classes, each yes/no label.

    Args:
        probabilities: (examples, classes), or (examples, labels).
        labels: true class ids, (examples,); or 0, 1 or NaN (not measured) of yes/no labels, (examples, labels).
        positive: id of the positive class of two.

    Returns:
        For each class or label that occurs but is not all there is: truth, bool (examples,), and scores, float
        (examples,), of the examples in which it is known.
    """
    if labels.ndim == 2:
        known = ~np.isnan(labels)
        pairs = [(labels[rows, c] == 1, probabilities[rows, c]) for c, rows in enumerate(known.T)]
    else:
        num_classes = probabilities.shape[1]
        classes = [positive] if num_classes == 2 else range(num_classes)
        pairs = [(labels == c, probabilities[:, c]) for c in classes]
    return [(truth, scores) for truth, scores in pairs if truth.any() and not truth.all()]


def roc_curve(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Compute a ROC curve; with several classes, the mean true positive rate at each false positive rate.

    Args:
        pairs: truth and scores of each class, as `scored_pairs` returns them.

    Returns:
        False positive rates, in ascending order, and the true positive rate at each.
    """
    curves = [sk.roc_curve(truth, scores)[:2] for truth, scores in pairs]
    if len(curves) == 1:
        return curves[0]
    grid = np.linspace(0, 1, _GRID_POINTS)
    return np.concatenate([[0], grid]), np.concatenate([[0], np.mean([np.interp(grid, *c) for c in curves], axis=0)])


def pr_curve(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Compute a precision-recall curve; with several classes, the mean precision at each recall.

    Precision is a step function of recall: between two points it has the value at the greater recall, as in the sum
    that defines average precision.

    Args:
        pairs: truth and scores of each class, as `scored_pairs` returns them.

    Returns:
        Recalls, in descending order, and the precision at each.
    """
    curves = [sk.precision_recall_curve(truth, scores, drop_intermediate=True) for truth, scores in pairs]
    if len(curves) == 1:
        return curves[0][1], curves[0][0]
    grid = np.linspace(1, 0, _GRID_POINTS)
    rising = [(recall[::-1], precision[::-1]) for precision, recall, _ in curves]
    steps = [precision[np.searchsorted(recall, grid).clip(max=len(recall) - 1)] for recall, precision in rising]
    return grid, np.mean(steps, axis=0)


def _figure(width: float, height: float, panels: int) -> tuple[Figure, list[Axes]]:
    """Build a figure of ``panels`` axes side by side in the house style; width and height in inches."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    all_axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for axes in all_axes:
        axes.grid(True, color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_FAINT)
        axes.tick_params(labelsize=9.5, color=_FAINT, labelcolor=_INK)
        axes.xaxis.label.set(fontsize=10.5, color=_INK)
        axes.yaxis.label.set(fontsize=10.5, color=_INK)
    return figure, all_axes


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, without matplotlib's version in it, so that equal data gives equal bytes."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # "$" in the name of a class or model stays as it is
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_bytes(Path(path), buffer.getvalue())


def _series(history: Sequence[Mapping[str, float]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values) of one logged quantity, without NaN and infinite values."""
    known = [entry for entry in history if entry.get(key) is not None]
    points = [(entry["step"], entry[key]) for entry in known if np.isfinite(entry[key])]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.array(steps, np.float64), np.array(values, np.float64)


def _add_token_axis(axes: Axes, history: Sequence[Mapping[str, float]]) -> None:
    """Add an axis of tokens seen at the top, at the run's mean number of tokens per step."""
    seen = [entry for entry in history if entry.get("num_input_tokens_seen") and entry.get("step")]
    if not seen:
        return
    per_step = seen[-1]["num_input_tokens_seen"] / seen[-1]["step"]
    top = axes.secondary_xaxis(
        "top", functions=(lambda step: np.multiply(step, per_step), lambda token: np.divide(token, per_step))
    )
    top.set_xlabel("tokens seen", fontsize=10.5, color=_INK)
    top.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_number(value)))
    top.tick_params(labelsize=9.5, length=0, labelcolor=_INK)
    top.spines["top"].set_visible(False)


def _short_number(value: float) -> str:
    """Return a number as short text for an axis: 1,500 as 1.5k, 12 million as 12M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
