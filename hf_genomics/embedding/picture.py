"""Draw vectors by their first two principal components, computed in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation.pictures import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 5000
_MOST_CLASSES = 7  # with a colour of their own


class Components(NamedTuple):
    """The first two principal components of vectors.

    Attributes:
        mean: (hidden,).
        axes: (hidden, 2), orthonormal; the largest entry of each is positive.
        shares: (2,), the share of the variance that each explains.
    """

    mean: np.ndarray
    axes: np.ndarray
    shares: np.ndarray


def principal_components(chunks: Iterable[np.ndarray]) -> Components | None:
    """Compute principal components from the sums and products of vectors, which are read once.

    Args:
        chunks: float (rows, hidden); rows with NaN are omitted.

    Returns:
        The components; None for fewer than three vectors.
    """
    count = 0
    total: Any = 0.0
    products: Any = 0.0
    shift: np.ndarray | None = None  # near the mean, so that products do not lose digits
    for chunk in chunks:
        known = chunk[~np.isnan(chunk).any(1)].astype(np.float64)
        if not len(known):
            continue
        shift = known.mean(0) if shift is None else shift
        known = known - shift
        count, total, products = count + len(known), total + known.sum(0), products + known.T @ known
    if count < 3 or shift is None or products.shape[0] < 2:
        return None
    mean = total / count
    variances, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    axes = vectors[:, [-1, -2]]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])
    whole = variances.clip(0).sum() or 1.0
    return Components(mean + shift, axes, variances[[-1, -2]].clip(0) / whole)


def draw_components(
    path: Path,
    read: Callable[[], Iterable[np.ndarray]],
    title: str,
    labels: list[str] | None = None,
) -> bool:
    """Draw vectors by their principal components as PNG, and return whether there were enough of them.

    Args:
        path: the file.
        read: function that iterates over the vectors, (rows, hidden) at a time, from the start; it is called twice.
        title: what is shown.
        labels: a class for each row, which gives its colour; None for one colour.
    """
    found = principal_components(read())
    if found is None:
        return False
    points, rows = _points(read(), found)
    figure = Figure(figsize=(7.0, 5.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    style: dict[str, Any] = {"s": 12, "alpha": 0.7, "linewidths": 0}
    if labels is None:
        ax.scatter(*points.T, color=PALETTE[0], **style)
    else:
        named = np.array(labels, object)[rows]
        names, counts = np.unique(named.astype(str), return_counts=True)
        common = names[np.argsort(-counts, kind="stable")][:_MOST_CLASSES]
        rest = ~np.isin(named, common)
        ax.scatter(*points[rest].T, color="#9aa4ae", label="others" if rest.any() else None, **style)
        for name, color in zip(common, PALETTE, strict=False):
            ax.scatter(*points[named == name].T, color=color, label=name or "no label", **style)
        _add_legend(ax)
    shares = enumerate(found.shares, start=1)
    first, second = (f"principal component {number} ({share:.0%} of the variance)" for number, share in shares)
    ax.set(xlabel=first, ylabel=second)
    ax.set_title(title, fontsize=11, fontweight="bold", loc="left", parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    return True


def _add_legend(ax: Axes) -> None:
    """Add a legend that shows the names of classes as they are, also those that matplotlib would interpret."""
    groups = [group for group in ax.collections if np.size(group.get_offsets())]
    names = [str(group.get_label()) for group in groups]
    # The texts are set afterwards: matplotlib omits a name that begins with "_", and reads "$...$" as a formula.
    legend = ax.legend(
        groups, [str(number) for number in range(len(groups))], frameon=False, fontsize=9, markerscale=1.6
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)


def _points(chunks: Iterable[np.ndarray], found: Components) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of at most 5,000 vectors, (points, 2), evenly spaced, and the row of each, (points,)."""
    step, kept, rows, before = 1, np.zeros((0, 2)), np.zeros(0, np.int64), 0
    for chunk in chunks:
        number = before + np.arange(len(chunk))
        known = ~np.isnan(chunk).any(1) & (number % step == 0)
        kept = np.concatenate([kept, (chunk[known] - found.mean) @ found.axes])
        rows, before = np.concatenate([rows, number[known]]), before + len(chunk)
        while len(kept) > _MOST_POINTS:
            step *= 2
            chosen = rows % step == 0
            kept, rows = kept[chosen], rows[chosen]
    return kept, rows
