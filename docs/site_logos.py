"""Draw the letters of aligned sequences, and what each adds to a model's score; docs/gallery.md has the commands.

    python docs/site_logos.py PICTURE --panel TITLE EXPLAINED ORIGIN FIRST LAST [--panel ...]

EXPLAINED is a folder that `explain` wrote with the method ism or nt_ig. ORIGIN is the position, from 1, of the
nucleotide that is called +1; the one before it is called -1, as is usual around splice sites.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import logomaker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_genomics.interpretation.figures import LETTER_COLORS, new_figure
from hf_genomics.motif_finding.matrices import information

WIDTH, HEIGHT = 9.0, 4.4  # inches


def main() -> None:
    """Draw the panels that the command names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument(
        "--panel", nargs=5, action="append", required=True, metavar=("TITLE", "EXPLAINED", "ORIGIN", "FIRST", "LAST")
    )
    arguments = parser.parse_args()
    figure = draw(arguments.panel)
    figure.savefig(arguments.picture, dpi=150)


def draw(panels: list[list[str]]) -> Figure:
    """Draw the information of the letters above the mean contributions, side by side for each panel."""
    figure = new_figure(WIDTH, HEIGHT)
    widths = [int(last) - int(first) for _, _, _, first, last in panels]
    axes = figure.subplots(2, len(panels), squeeze=False, sharex="col", width_ratios=widths)
    for column, (title, folder, origin, first, last) in enumerate(panels):
        places = [place for place in range(int(first), int(last) + 1) if place]  # -1 comes before +1
        rows = [int(origin) - 1 + place - (place > 0) for place in places]
        letters, scores = read(Path(folder))
        counts, means = letters.sum(0)[:, rows].T, (letters * scores).mean(0)[:, rows].T
        draw_letters(axes[0, column], counts / counts.sum(1, keepdims=True) * information(counts)[:, None], places)
        draw_letters(axes[1, column], means, places)
        axes[0, column].set_title(f"{title} ({len(letters):,})", loc="left", fontsize=10, fontweight="bold")
        axes[0, column].tick_params(labelbottom=False)
        axes[1, column].set_xlabel("position, nt")
    axes[0, 0].set_ylabel("information (bits)")
    axes[1, 0].set_ylabel("mean contribution (logit)")
    figure.align_ylabels(axes[:, 0])
    return figure


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read which letters the sequences have, and the scores of all four, (sequences, A C G T, nt) each."""
    letters, scores = (np.load(folder / f"{name}.npz")["arr_0"] for name in ("ohe", "attr"))
    return letters, scores


def draw_letters(ax: Axes, heights: np.ndarray, places: list[int]) -> None:
    """Draw letters of these heights, (nt, A C G T), side by side, and name every fifth and the first."""
    logomaker.Logo(pd.DataFrame(heights, columns=list("ACGT")), ax=ax, color_scheme=LETTER_COLORS, flip_below=False)
    shown = [number for number, place in enumerate(places) if place % 5 == 0 or place == 1]
    ax.set_xticks(shown, [f"{places[number]:+d}" for number in shown], fontsize=8)
    ax.axvline(places.index(1) - 0.5, color="#6e7781", linewidth=0.8, linestyle=":")
    ax.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
