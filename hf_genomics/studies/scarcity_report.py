"""Figure and report of the label-scarcity study."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from ..evaluation.pictures import PALETTE
from ..io.writing import write_bytes
from ..reports.html import write_report
from .scarcity_scores import (
    DIFFERENCES,
    HEADER,
    PAPER_HEADER,
    PUBLISHED_CAPTION,
    model_name,
    readable,
    readable_published,
    with_interval,
)

_COLORS = {"pretrained": PALETTE[0], "twin": PALETTE[1], "frozen": PALETTE[2], "kmers": PALETTE[6]}
_LINES = ("-", (0, (6, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_MARKERS = "oDXP"  # one for each set-up, since a single point has no line
_PUBLISHED = "paper: "
_PAPER = {"GenomeNet-BERT": "^", "self-GenomeNet": "s", "supervised": "v"}
_INK, _FAINT, _GRID = "#1f2328", "#6e7781", "#e4e7eb"
_DPI = 200


def plot_scarcity(table: pd.DataFrame, path: Path) -> None:
    """Draw macro recall against the number of labelled genomes, a panel for each length.

    Args:
        table: the table that is written to table.csv, with "" for the set-up of k-mer regression.
        path: PNG file to write.
    """
    lengths = list(dict.fromkeys(table["length"]))
    figure = Figure(figsize=(0.8 + 4.4 * len(lengths), 5.0), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(1, len(lengths), squeeze=False, sharey=True)[0])
    for axes, length in zip(panels, lengths, strict=True):
        rows = table[table["length"] == length]
        _draw_ours(axes, rows[rows["source"] == "this study"])
        _draw_paper(axes, rows[rows["source"] != "this study"])
        _dress(axes, sorted(set(rows["genomes"])))
        axes.set_title(f"{length} nt", fontsize=11, fontweight="bold", color=_INK)
    panels[0].set_ylabel("macro recall on test genomes (%)", fontsize=10.5, color=_INK)
    named = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    order = sorted(named, key=lambda label: label.startswith(_PUBLISHED))  # ours first
    figure.legend(
        [named[label] for label in order], order, loc="outside lower center", ncols=1 + len(lengths), frameon=False,
        fontsize=9, title="grey: published scores, on other genomes", title_fontsize=9,
    )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _draw_ours(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the scores of this study with their intervals."""
    keys = list(dict.fromkeys(zip(rows["setup"], rows["arm"], strict=True)))
    setups = list(dict.fromkeys(setup for setup, _ in keys))
    for place, (setup, arm) in enumerate(keys):
        line = rows[(rows["setup"] == setup) & (rows["arm"] == arm)].sort_values("genomes")
        value = 100 * line["macro_recall"].to_numpy(float)
        below, above = (100 * line[f"macro_recall_{end}"].to_numpy(float) for end in ("low", "high"))
        # Side by side, because intervals on top of each other could not be read.
        shift = 1.05 ** (place - (len(keys) - 1) / 2)
        style = setups.index(setup) % len(_LINES)
        axes.errorbar(
            line["genomes"].to_numpy(float) * shift, value, yerr=np.abs([value - below, above - value]),
            color=_COLORS[arm], linestyle=_LINES[style] if setup else _LINES[1],
            marker=_MARKERS[style] if setup else "o", markersize=5, linewidth=1.8, capsize=2.5, elinewidth=1.1,
            label=f"{setup}, {arm}" if setup else "k-mer regression", zorder=3,
        )  # fmt: skip


def _draw_paper(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the published scores faintly: they are of other genomes."""
    for model, marker in _PAPER.items():
        line = rows[rows["arm"] == model]
        if len(line):
            axes.plot(
                line["genomes"].to_numpy(float), 100 * line["macro_recall"].to_numpy(float), color="#9aa4ae",
                linewidth=1, linestyle=":", marker=marker, markersize=5, markerfacecolor="white",
                label=f"{_PUBLISHED}{model}", zorder=2,
            )  # fmt: skip


def _dress(axes: Axes, numbers: Sequence[int]) -> None:
    """Give a panel its scale, ticks, grid and labels."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticklabels([f"{number:,}" for number in numbers])
    axes.set_xlabel("labelled training genomes", fontsize=10.5, color=_INK)
    axes.axhline(50, color=_FAINT, linewidth=1, linestyle=":", zorder=1)
    axes.annotate(
        "guessing", (1, 50), (-4, 3), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        ha="right", fontsize=8.5, color=_FAINT,
    )  # fmt: skip
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(labelsize=9.5, color=_FAINT, labelcolor=_INK)


def write_study_report(table: pd.DataFrame, facts: dict[str, Any], folder: Path) -> None:
    """Write report.html beside figure.png.

    Args:
        table: the table, as written to table.csv.
        facts: numbers of the study: cells, finished, genomes of each split, unit of the bootstrap, pretraining.
        folder: folder of the study.
    """
    ours, paper = table[table["source"] == "this study"], table[table["source"] != "this study"]
    tables: list[tuple[str, Sequence[str], list[list[Any]]]] = []
    for length in dict.fromkeys(ours["length"]):
        caption = f"{length} nt. Scores with 95 % intervals; differences of macro recall are in points"
        rows = ours[ours["length"] == length]
        tables.append((caption, HEADER, [readable(row) for _, row in rows.iterrows()]))
        rows = paper[paper["length"] == length]
        if len(rows):
            tables.append((f"{length} nt. {PUBLISHED_CAPTION}", PAPER_HEADER, readable_published(rows)))
    caption = (
        "Macro recall against labelled genomes. Bars are 95 % intervals; points are drawn side by side. Grey: "
        "published scores, on other genomes and test windows, so that only the slopes can be compared."
    )
    write_report(
        folder / "report.html",
        title="What pretraining is worth when labels are scarce",
        summary=[*_messages(ours), *_notes(facts)],
        tables=tables,
        pictures=[(caption, folder / "figure.png")],
    )


def _messages(rows: pd.DataFrame) -> list[str]:
    """Write a sentence about the pretrained models for each length, with the most labelled genomes."""
    found = []
    for length in dict.fromkeys(rows["length"]):
        chosen = rows[(rows["length"] == length) & (rows["arm"] == "pretrained")]
        for _, row in chosen[chosen["genomes"] == chosen["genomes"].max()].iterrows():
            gains = [
                f"{with_interval(row, name, 100, 1, sign='+')} points against {what}"
                for name, what in zip(DIFFERENCES, ("its twin without pretraining", "k-mer regression"), strict=True)
                if not np.isnan(row[name])
            ]
            found.append(
                f"{length} nt, {row['genomes']} labelled genomes: {model_name(row)} has a macro recall of "
                f"{row['macro_recall']:.1%}{': ' if gains else ''}{', '.join(gains)}."
            )
    return found or ["No cell with a pretrained model is finished yet."]


def _notes(facts: dict[str, Any]) -> list[str]:
    """Write what the numbers mean and what they do not show."""
    genomes = facts["genomes"]
    return [
        f"{facts['finished']} of {facts['cells']} cells are finished. Training, validation and test hold "
        f"{genomes['train']:,}, {genomes['valid']:,} and {genomes['test']:,} genomes. Labels of the training genomes "
        "are scarce; those of the validation genomes, by which training is stopped and k is chosen, are not counted.",
        "Macro recall is the mean of the recalls of both classes, so a guess has 50 %. Intervals in brackets hold 95 % "
        f"of {facts['samples']:,} bootstrap samples of the test set, in which each {facts['unit']} is drawn as a "
        "whole, within its class; for differences, both models are scored in the same samples. ± is the standard "
        "deviation over seeds, which the intervals do not contain.",
        f"Pretraining: {facts['pretraining']}",
    ]
