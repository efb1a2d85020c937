"""Draw scores as sequence logos, heat maps and tracks along a genome.

A function ``draw_...`` draws on the axes it is given; a function ``..._figure`` returns a new figure of several parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..evaluation.pictures import PALETTE
from ..io.genome_tracks import Region

#: Colours of letters that can be told apart with any colour vision: green, blue, orange and red-purple.
LETTER_COLORS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#CC79A7", "N": "#9aa4ae"}
_INK, _FAINT, _GRID = "#1f2328", "#6e7781", "#e4e7eb"
_MOST_ROWS = 4  # rows of genes; a gene that would need a further row is not drawn
_MOST_NAMES = 12  # if there are more variants than this, their names are not written
_MOST_POINTS = 4000  # values drawn for a track; longer tracks are thinned
_ARROWS = {"+": "{} \N{RIGHTWARDS ARROW}", "-": "\N{LEFTWARDS ARROW} {}"}  # direction of a gene
_DIVERGING = "RdBu"  # blue above 0, as bars are


class Track(NamedTuple):
    """Values along a genome, for a picture.

    Attributes:
        name: name on the axis.
        start: first position, 0-based.
        values: (values,), NaN where there is none.
        step: nt that each value stands for.
    """

    name: str
    start: int
    values: np.ndarray
    step: int = 1

    @property
    def positions(self) -> np.ndarray:
        """Position of each value, the middle of its nucleotides, (values,)."""
        return self.start + (self.step - 1) / 2 + self.step * np.arange(len(self.values))

    def thinned(self, most: int) -> Track:
        """Return the track with at most ``most`` values: each stretch keeps only its value furthest from 0."""
        step = -(-len(self.values) // most)
        if step <= 1:
            return self
        padded = np.append(self.values, np.full(-len(self.values) % step, np.nan)).reshape(-1, step)
        furthest = np.where(np.isnan(padded), -1, np.abs(padded)).argmax(1)
        return Track(self.name, self.start, padded[np.arange(len(padded)), furthest], self.step * step)


class Variant(NamedTuple):
    """A variant of a genome, for a picture.

    Attributes:
        position: first nucleotide of the reference allele, 0-based.
        name: what is written beside it, such as "A>G".
        score: how far it is drawn from 0, such as its log-likelihood ratio; NaN if it has none.
    """

    position: int
    name: str
    score: float


def draw_logo(ax: Axes, letters: str, scores: np.ndarray, start: int = 0) -> None:
    """Draw letters whose heights are scores, below the axis where they are negative.

    Args:
        ax: where to draw.
        letters: the sequence, in capitals.
        scores: (nt,).
        start: position of the first letter, 0-based.
    """
    import logomaker

    heights = pd.DataFrame(0.0, index=range(start, start + len(letters)), columns=list("ACGTN"))
    for index, (letter, score) in enumerate(zip(letters, np.asarray(scores, float).tolist(), strict=True)):
        heights.iat[index, "ACGTN".find(letter if letter in "ACGT" else "N")] = score
    logomaker.Logo(heights, ax=ax, color_scheme=LETTER_COLORS, flip_below=False, show_spines=False)
    ax.set_xlim(start - 0.5, start + len(letters) - 0.5)
    ax.margins(y=0.08)
    _plain(ax)


def draw_bars(ax: Axes, track: Track) -> None:
    """Draw a score for each position as bars, positive and negative ones in different colours.

    Args:
        ax: where to draw.
        track: the scores.
    """
    for sign, color in ((1, PALETTE[0]), (-1, PALETTE[1])):
        part = np.where(sign * track.values > 0, track.values, 0)
        ax.fill_between(track.positions, part, step="mid", color=color, linewidth=0)
    ax.set_ylabel(track.name)
    _plain(ax)


def draw_line(ax: Axes, track: Track) -> None:
    """Draw a track, such as the probability of a class, as a filled line.

    Args:
        ax: where to draw.
        track: the values.
    """
    ax.plot(track.positions, track.values, color=PALETTE[2], linewidth=1.2, drawstyle="steps-mid")
    ax.fill_between(track.positions, track.values, step="mid", color=PALETTE[2], alpha=0.25, linewidth=0)
    ax.set_ylabel(track.name)
    _plain(ax)


def draw_heat_map(ax: Axes, values: np.ndarray, rows: Sequence[str], start: int = 0) -> Any:
    """Draw a matrix, such as the changes by all substitutions, with white at 0.

    Args:
        ax: where to draw.
        values: (rows, nt).
        rows: name of each row.
        start: position of the first column, 0-based.

    Returns:
        The image, for a colour bar.
    """
    most = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    extent = (start - 0.5, start + values.shape[1] - 0.5, len(values) - 0.5, -0.5)
    image = ax.imshow(
        values, cmap=_DIVERGING, vmin=-most, vmax=most, aspect="auto", interpolation="nearest", extent=extent
    )
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    return image


def draw_genes(ax: Axes, genes: Sequence[Region], start: int, end: int) -> None:
    """Draw genes as arrows in the direction of their strand, below one another where they overlap.

    Four rows at most are drawn; genes that fit into none of them are left out.

    Args:
        ax: where to draw.
        genes: genes of one contig.
        start: first position of the picture, 0-based.
        end: position after the last one.
    """
    ends: list[float] = []  # where each row is free again, after its last gene and the name of it
    width, shown = end - start, 0
    for gene in sorted(gene for gene in genes if gene.start < end and gene.end > start):
        # Whole numbers are the middles of nucleotides, so a gene reaches half a nucleotide further to the left.
        left, right = max(gene.start, start) - 0.5, min(gene.end, end) - 0.5
        label_end = max(right, left + len(gene.name) * width / 90)
        row = next((row for row, taken in enumerate(ends) if taken < left), len(ends))
        if row >= _MOST_ROWS:
            continue
        ends[row : row + 1] = [label_end + width / 100]
        shown = max(shown, row + 1)
        tip = min((right - left) / 2, width / 60)
        before = tip * (gene.strand == "-" and gene.start >= start)  # an end outside the picture has no tip
        after = tip * (gene.strand == "+" and gene.end <= end)
        x = [left + before, right - after, right, right - after, left + before, left]
        y = [-0.25, -0.25, 0, 0.25, 0.25, 0]
        ax.fill(x, np.array(y) - 1.3 * row, color=PALETTE[5], edgecolor=PALETTE[0], linewidth=0.6)
        name = _ARROWS.get(gene.strand, "{}").format(gene.name)  # the tip may lie outside the picture
        ax.text(left, -1.3 * row - 0.3, name, fontsize=7.5, color=_INK, va="top", ha="left", clip_on=True)
    ax.set(ylim=(-1.3 * max(shown - 1, 0) - 0.75, 0.45), yticks=[], ylabel="genes")
    if not shown:
        ax.text(0.5, 0.5, "no gene here", transform=ax.transAxes, ha="center", va="center", color=_FAINT, fontsize=9)
    _plain(ax)


def draw_variants(ax: Axes, variants: Sequence[Variant], name: str = "variants") -> None:
    """Draw variants as pins whose heights are their scores; those without a score stand at 0 as open circles.

    Args:
        ax: where to draw.
        variants: the variants.
        name: name on the axis.
    """
    scored = [one for one in variants if one.score == one.score]
    others = [one for one in variants if one.score != one.score]
    ax.vlines([one.position for one in scored], 0, [one.score for one in scored], color=PALETTE[3], linewidth=0.9)
    ax.scatter([one.position for one in scored], [one.score for one in scored], s=14, color=PALETTE[3], zorder=3)
    open_circle: dict[str, Any] = {"facecolors": "none", "edgecolors": _FAINT, "linewidths": 0.9}
    ax.scatter([one.position for one in others], [0] * len(others), s=14, zorder=3, **open_circle)
    for one in variants if len(variants) <= _MOST_NAMES else ():
        height = one.score if one.score == one.score else 0.0
        offset, side = ((0, -5), "top") if height < 0 else ((0, 5), "bottom")
        beside: dict[str, Any] = {"xytext": offset, "textcoords": "offset points", "va": side, "ha": "center"}
        ax.annotate(one.name, (one.position, height), fontsize=7, color=_INK, annotation_clip=True, **beside)
    if not variants:
        ax.text(0.5, 0.5, "no variant here", transform=ax.transAxes, ha="center", va="center", color=_FAINT, fontsize=9)
    ax.margins(y=0.25)
    ax.set_ylabel(name)
    _plain(ax)


def draw_entropy(ax: Axes, entropy: np.ndarray) -> Any:
    """Draw the entropy of every attention head as a heat map, with numbers unless there are more than 144 heads.

    Args:
        ax: where to draw.
        entropy: (layers, heads), from 0 for attention to a single token to 1 for equal attention to all.

    Returns:
        The image, for a colour bar.
    """
    image = ax.imshow(entropy, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    if entropy.size <= 144:
        for (layer, head), value in np.ndenumerate(entropy):
            color = "white" if value < 0.6 else _INK
            ax.text(head, layer, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
    ax.set_xticks(range(entropy.shape[1]), [str(head + 1) for head in range(entropy.shape[1])])
    ax.set_yticks(range(entropy.shape[0]), [str(layer + 1) for layer in range(entropy.shape[0])])
    ax.set(xlabel="head", ylabel="layer")
    ax.tick_params(length=0)
    return image


def region_figure(
    contig: str,
    start: int,
    end: int,
    tracks: Sequence[Track],
    scores: Track | None,
    genes: Sequence[Region] | None = None,
    variants: Sequence[Variant] | None = None,
    variant_name: str = "variants",
) -> Figure:
    """Draw genes, tracks, scores and variants of a region of a genome one below the other.

    Args:
        contig: name of the contig.
        start: first position, 0-based.
        end: position after the last one.
        tracks: class probabilities and the like.
        scores: the contribution of each nucleotide; None for no such row.
        genes: genes of the contig; None for no row of genes.
        variants: variants of the region; None for no row of variants.
        variant_name: name on the axis of the variants.
    """
    heights = [1.0] * (genes is not None) + [1.0] * len(tracks)
    heights += [1.6] * (scores is not None) + [1.3] * (variants is not None)
    figure = new_figure(9.0, 0.9 + sum(heights))
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0].tolist()
    rest = iter(axes)
    if genes is not None:
        draw_genes(next(rest), [gene for gene in genes if gene.contig == contig], start, end)
    for track in tracks:
        draw_line(next(rest), track.thinned(_MOST_POINTS))
    if scores is not None:
        draw_bars(next(rest), scores.thinned(_MOST_POINTS))
    if variants is not None:
        draw_variants(next(rest), variants, variant_name)
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    axes[-1].set_xlim(start - 0.5, end - 0.5)
    mark_positions(axes[-1], f"{contig}, position")
    figure.align_ylabels(axes)
    return figure


def logo_figure(
    title: str,
    letters: str,
    scores: np.ndarray,
    start: int,
    matrix: np.ndarray | None = None,
    names: tuple[str, str] = ("score", "position"),
) -> Figure:
    """Draw a short stretch as a logo, and its matrix of letters, if there is one, as a heat map below.

    Args:
        title: what is shown.
        letters: the sequence, in capitals.
        scores: (nt,).
        start: position of the first letter, 0-based.
        matrix: (nt, 4), values of A C G T; None for no heat map.
        names: names of the scores and of the positions, for the axes.
    """
    figure = new_figure(9.0, 2.4 if matrix is None else 4.0)
    axes = figure.subplots(1 if matrix is None else 2, 1, squeeze=False, sharex=True)[:, 0]
    draw_logo(axes[0], letters, scores, start)
    axes[0].set_title(title, fontsize=11, fontweight="bold", color=_INK, loc="left")
    axes[0].set_ylabel(names[0])
    if matrix is not None:
        image = draw_heat_map(axes[1], matrix.T, list("ACGT"), start)
        figure.colorbar(image, ax=axes.tolist(), shrink=0.5, pad=0.01, label="score of each letter")
        axes[0].tick_params(labelbottom=False)
    mark_positions(axes[-1], names[1])
    return figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches, that needs no screen."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def place_name(contig: str, start: int, end: int) -> str:
    """Return the name of a place as genome browsers write it: counted from 1, both ends included.

    >>> place_name("chr1", 1000, 1200)
    'chr1:1,001–1,200'

    Args:
        contig: name of the contig.
        start: first position, 0-based.
        end: position after the last one.
    """
    return f"{contig}:{start + 1:,}\N{EN DASH}{end:,}"


def name_figure(figure: Figure, contig: str, start: int, end: int) -> None:
    """Write the place that a figure shows above it, as `place_name` names it."""
    figure.suptitle(place_name(contig, start, end), fontsize=11, fontweight="bold", color=_INK)


def mark_positions(ax: Axes, what: str) -> None:
    """Label the x axis, whose data are 0-based positions, with round 1-based positions."""
    ax.xaxis.set_major_locator(_LocatorFromOne(7, integer=True, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value + 1:,.0f}"))
    ax.set_xlabel(f"{what} (nt, 1-based)")


class _LocatorFromOne(MaxNLocator):
    """Place ticks at positions whose 1-based numbers are round."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Return where the ticks are, 0-based."""
        return np.asarray(super().tick_values(vmin + 1, vmax + 1)) - 1


def show_dollars(figure: Figure) -> None:
    """Show "$" in the texts of a figure as it is; in the name of a class or contig it does not begin a formula.

    Args:
        figure: the figure, complete.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and as SVG.

    Args:
        figure: the figure.
        path: the files, without a suffix.
    """
    show_dollars(figure)
    figure.savefig(path.with_name(f"{path.name}.png"), dpi=200)
    figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None})


def _plain(ax: Axes) -> None:
    """Remove the frame of axes except its left side, and draw a thin line at 0."""
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)
    ax.spines["left"].set_color(_GRID)
    ax.axhline(0, color=_FAINT, linewidth=0.6, zorder=0)
    ax.tick_params(colors=_FAINT, labelsize=8.5, length=2)
    ax.yaxis.set_major_locator(MaxNLocator(3)) if ax.get_yticks().size else None
