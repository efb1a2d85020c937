"""Draw the pictures of concepts.md: ``python docs/pictures.py`` writes them beside the page."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

FOLDER = Path(__file__).parent / "pictures"
SEQUENCE = "ACGTTGATTTAC"
SEEN, MASKED, HIDDEN, TRAIN, TEST = "#80cbc4", "#ffcc80", "#ef5350", "#4db6ac", "#ffb74d"


def main() -> None:
    """Draw all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw, size in (
        ("kmers", draw_kmers, (7.2, 3.6)),
        ("dose", draw_dose, (7.2, 3.4)),
        ("leakage", draw_leakage, (7.2, 2.9)),
        ("windows", draw_windows, (7.2, 3.0)),
    ):
        figure = draw(size)
        figure.savefig(FOLDER / f"{name}.png", dpi=130, facecolor="white")
        plt.close(figure)


def draw_kmers(size: tuple[float, float]) -> plt.Figure:
    """Draw the tokens of one sequence at strides 1, 3 and 6."""
    figure, axes = plt.subplots(1, 3, figsize=size, layout="constrained")
    for ax, stride in zip(axes, (1, 3, 6), strict=True):
        starts = range(0, len(SEQUENCE) - 5, stride)
        write_letters(ax, SEQUENCE, 0)
        for row, start in enumerate(starts):
            box(ax, start, -1.5 - row, 6, SEEN)
            write_letters(ax, SEQUENCE[start : start + 6], -1.5 - row, start)
        shared = max(6 - stride, 0)
        ax.set_title(f"stride {stride}: {len(starts)} tokens,\n{shared} nt shared by neighbours", fontsize=9)
        frame(ax, len(SEQUENCE), 8.7)
    return figure


def draw_dose(size: tuple[float, float]) -> plt.Figure:
    """Draw what a span of masked tokens hides, with overlapping tokens and with tokens side by side."""
    figure, axes = plt.subplots(1, 2, figsize=size, layout="constrained")
    titles = ("stride 1, span 6: 6 tokens masked, 1 nt hidden", "stride 6, span 1: 1 token masked, 6 nt hidden")
    plans = (([(start, 1 <= start <= 6) for start in range(8)], {6}), ([(0, False), (6, True)], {*range(6, 12)}))
    letters = "ACGTTGATTTACG"
    for ax, title, (tokens, hidden) in zip(axes, titles, plans, strict=True):
        for place in hidden:
            box(ax, place, 0, 1, HIDDEN)
        write_letters(ax, letters, 0)
        for row, (start, is_masked) in enumerate(tokens):
            box(ax, start, -1.5 - row, 6, MASKED if is_masked else SEEN)
            write_letters(ax, "??????" if is_masked else letters[start : start + 6], -1.5 - row, start)
        ax.set_title(title, fontsize=9)
        frame(ax, len(letters), 9.7)
    return figure


def draw_leakage(size: tuple[float, float]) -> plt.Figure:
    """Draw a split by windows, which leaks, beside a split by groups of related genomes."""
    figure, axes = plt.subplots(1, 2, figsize=size, layout="constrained")
    names = ("genome 1", "its relative", "genome 2", "genome 3")
    random = np.random.default_rng(3).random((4, 12)) < 0.3
    groups = np.repeat([[False], [False], [False], [True]], 12, axis=1)
    titles = (
        "windows drawn at random: every test window\nhas a neighbour or relative in training",
        "whole groups of relatives: the test genome\nis new to the model",
    )
    for ax, is_test, title in zip(axes, (random, groups), titles, strict=True):
        for row, name in enumerate(names):
            ax.text(-0.3, -row * 1.4 - 0.45, name, ha="right", va="center", fontsize=8)
            for column in range(12):
                box(ax, column, -row * 1.4, 1, TEST if is_test[row, column] else TRAIN)
        ax.set_title(title, fontsize=9)
        frame(ax, 12, 5.4, left=-4)
    for colour, name, place in ((TRAIN, "training", 0), (TEST, "test", 5)):
        box(axes[0], place, -6.2, 1, colour)
        axes[0].text(place + 1.3, -6.65, name, va="center", fontsize=8)
    axes[0].set_ylim(-7.4, 1.2)
    axes[1].set_ylim(-7.4, 1.2)
    return figure


def draw_windows(size: tuple[float, float]) -> plt.Figure:
    """Draw the windows of a contig, the score of each, and the score of the contig."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=size, layout="constrained", height_ratios=(1, 1.2), sharex=True)
    starts, scores = np.array([0, 150, 300, 450, 600, 700]), np.array([0.2, 0.25, 0.85, 0.9, 0.75, 0.3])
    top.plot([0, 850], [0, 0], color="black", linewidth=3)
    top.text(0, 0.15, "contig of 850 nt", fontsize=8)
    for number, start in enumerate(starts):
        top.add_patch(Rectangle((start, -0.45 - 0.35 * (number % 2)), 150, 0.25, facecolor=SEEN, edgecolor="black"))
    top.text(860, -0.7, "the last window\nends with the contig", fontsize=7, va="center")
    top.set_ylim(-1, 0.5)
    top.axis("off")
    for start, score in zip(starts, scores, strict=True):
        bottom.plot([start, start + 150], [score, score], color="#00796b", linewidth=3)
    bottom.plot([0, 850], [scores.mean()] * 2, color="grey", linestyle="--")
    bottom.text(860, scores.mean(), "mean: the row of\nthe contig", fontsize=7, va="center")
    bottom.set(ylim=(0, 1), xlim=(-10, 1020), xlabel="position (nt)", ylabel="p(phage)")
    bottom.spines[["top", "right"]].set_visible(False)
    return figure


def box(ax: Axes, start: float, top: float, width: float, colour: str) -> None:
    """Draw a box of one line's height."""
    ax.add_patch(Rectangle((start, top - 0.9), width, 0.9, facecolor=colour, edgecolor="black", linewidth=0.7))


def write_letters(ax: Axes, letters: str, top: float, start: int = 0) -> None:
    """Write letters side by side."""
    for place, letter in enumerate(letters, start):
        ax.text(place + 0.5, top - 0.47, letter, ha="center", va="center", fontsize=8, family="monospace")


def frame(ax: Axes, width: float, height: float, left: float = 0) -> None:
    """Set the limits of a picture without axes."""
    ax.set(xlim=(left - 0.2, width + 0.2), ylim=(-height, 0.3))
    ax.axis("off")


if __name__ == "__main__":
    main()
