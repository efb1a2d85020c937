"""Draw the pictures of a run, and write them into one self-contained HTML report."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, is_private, shown_name
from ..io.genome_tracks import Region, panel_names, read_bedgraph, read_genes
from ..reports.html import write_report
from .figures import (
    Track,
    draw_entropy,
    draw_heat_map,
    draw_line,
    logo_figure,
    mark_positions,
    name_figure,
    new_figure,
    place_name,
    region_figure,
    save_figure,
)
from .files import Placed, mean_entropy

_LOGO = 60  # nt of a logo, a picture in which each letter is as high as its score
_ALIGNED = 200  # windows in the heat map of all windows
_TO_UPPER = 0xDF  # clears the bit that distinguishes lower case in ASCII
# What the scores of each method are. {unit} is "logit" or "value", see `Pictures`.
_METHODS = {
    "ig": "Integrated gradients over k-mer embeddings: the scores of a window add up to the difference between the "
    "{unit} of its target and the {unit} of the baseline.",
    "nt_ig": "Integrated gradients over letters, from equal shares of A, C, G and T.",
    "ism": "All single substitutions: the score is the largest absolute change of the {unit}, the heat maps show all.",
    "occlusion": "Each token was hidden by [MASK]: the score is the drop in the {unit}, shared among its nucleotides.",
    "rollout": "Attention rollout. Attention shows what the layers read, not what the prediction rests on: it is weak "
    "evidence; compare it with the method ig.",
    "attention": "Attention of [CLS] in the last layer. Attention shows what a layer reads, not what the prediction "
    "rests on: it is weak evidence; compare it with the method ig.",
}


@dataclass(frozen=True)
class Pictures:
    """What is drawn.

    Attributes:
        count: number of windows that are drawn.
        genes: genes; None for no row of genes.
        tracks: intervals and values of further tracks, by name.
        unit: what is explained: "logit" (of the target class), or "value" (predicted by a regression model); `explain`
            sets it once it knows the model.
        stride: nt from the start of one token of the model to the start of the next; `explain` sets it, too.
    """

    count: int
    genes: list[Region] | None = None
    tracks: dict[str, list[tuple[Region, float]]] = field(default_factory=dict)
    unit: str = "logit"
    stride: int = 1

    @classmethod
    def read(cls, count: int, genes: str | None, tracks: list[str] | None) -> Pictures:
        """Read the files that pictures need.

        Raises:
            InputError: if a file is wrong.
        """
        found: dict[str, list[tuple[Region, float]]] = {}
        for name, path in zip(panel_names(tracks or []), tracks or [], strict=True):
            if name in found:
                raise InputError(f"tracks: {path} is given twice; name it once")
            found[name] = read_bedgraph(path)
        return cls(count, None if genes is None else read_genes(genes), found)

    def tracks_of(self, contig: str, start: int, end: int) -> list[Track]:
        """Return the tracks of a region, NaN where a track has no value."""
        found = []
        for name, intervals in self.tracks.items():
            values = np.full(end - start, np.nan)
            for region, value in intervals:
                # An interval may reach beyond either end of the region.
                if region.contig == contig and region.start < end and region.end > start:
                    values[max(0, region.start - start) : region.end - start] = value
            found.append(Track(name, start, values))
        return found


def write_explanation_report(
    folder: Path, placed: Placed, names: list[str], summary: dict[str, Any], pictures: Pictures
) -> None:
    """Draw the pictures of a run into ``figures/``, and write ``report.html``.

    Args:
        folder: existing folder.
        placed: the explanations of the windows, and where each window lies in its genome.
        names: names of the classes, labels or values.
        summary: numbers of the run.
        pictures: what is drawn.
    """
    drawn: list[tuple[str, Path]] = []
    (folder / "figures").mkdir()
    best = _best_windows(placed, pictures.count)
    for rank, row in enumerate(best, start=1):
        drawn += _draw_window(folder / "figures", rank, row, placed, names, pictures)
    if pictures.count:
        drawn += _draw_all(folder / "figures", placed, pictures.unit)
    # The completeness error: how far the sum of the scores is from the difference that it should be; see `_paragraphs`.
    header = ["window", "target", pictures.unit, "sum of scores", "completeness error (%)"]
    rows = []
    for row in best:
        facts, region = placed.records.facts[row], placed.region(row)
        rows.append([_place_of(region), names[facts["target"]], facts["value"], facts["sum"], 100 * facts["error"]])
    write_report(
        folder / "report.html",
        title="What the model sees",
        summary=_paragraphs(placed, summary, pictures),
        tables=[("Windows with the highest scores, by their sums of absolute scores", header, rows)] if rows else [],
        pictures=drawn,
    )


def _paragraphs(placed: Placed, summary: dict[str, Any], pictures: Pictures) -> list[str]:
    """Return the paragraphs at the start of a report."""
    unit, method = pictures.unit, placed.records.settings["options"]["method"]
    targets = ", ".join(f"{name} ({count:,})" for name, count in summary["targets"].items())
    text = [
        f"Explained: {summary['nucleotides']:,} nt; sequences: {summary['sequences']:,}; windows: "
        f"{summary['windows']:,}, by target: {targets}.",
        _METHODS[method].format(unit=unit),
    ]
    if pictures.stride > 1 and method not in ("ism", "nt_ig"):
        text.append(
            f"Tokens start every {pictures.stride} nt, and the nucleotides of one token share a score; for single "
            "letters pass --method ism or --method nt_ig."
        )
    if "worst_completeness_error" in summary:
        median, worst = (100 * summary[f"{which}_completeness_error"] for which in ("median", "worst"))
        text.append(
            f"The sum of the scores misses the difference of the {unit}s by {median:.2g} % (median) and {worst:.2g} % "
            "(worst window)."
        )
    where = "Positions count from 1 in this report, as in genome browsers, and from 0 in the files, as in BED:"
    return [*text, f"{where} windows.tsv, scores.bedgraph and scores.parquet hold all numbers."]


def _best_windows(placed: Placed, count: int) -> list[int]:
    """Return the indices of the windows with the highest sums of absolute scores, in falling order."""
    if not count:  # no need to read the scores
        return []
    # Negative indices, so that of two equal sums the earlier window comes first.
    totals = ((float(np.abs(record.scores).sum()), -row) for row, record in enumerate(placed.records))
    return [-row for _, row in heapq.nlargest(count, totals)]


def _draw_window(
    folder: Path, rank: int, row: int, placed: Placed, names: list[str], pictures: Pictures
) -> list[tuple[str, Path]]:
    """Draw a window along its genome, and the stretch of it with the highest scores as a logo."""
    record, region = placed.records.read(row), placed.region(row)
    length = region.end - region.start  # of a pair, only the first sequence is drawn
    dna, scores = record.dna[:length], record.scores[:length]
    target = names[record.facts["target"]]
    stem = f"{rank:02d}_{_file_name(shown_name(record.facts['id']))}"
    name = _name_of_scores(placed, pictures.unit)
    is_reverse = region.strand == "-"  # scores are in reading direction, but the genome is drawn from left to right
    along = Track(name, region.start, scores[::-1] if is_reverse else scores)
    tracks = pictures.tracks_of(region.contig, region.start, region.end)
    contig = shown_name(region.contig)
    genes = pictures.genes and [gene._replace(contig=shown_name(gene.contig)) for gene in pictures.genes]
    figure = region_figure(contig, region.start, region.end, tracks, along, genes)
    name_figure(figure, contig, region.start, region.end)
    save_figure(figure, folder / stem)
    where = _place_of(region)
    drawn = [(f"{where}, target {target}. Contribution of each nucleotide.", folder / f"{stem}.png")]
    if is_private():  # a logo shows the sequence
        return drawn
    begin = highest_stretch(scores, _LOGO)
    chosen = slice(begin, begin + _LOGO)
    # (nt, 4): the score that each of A, C, G and T would have, or the change it makes; drawn below the logo.
    of_letters = record.columns["letters"][:length][chosen] if "letters" in record.columns else None
    start, axis = (begin, "position in the window, 5' to 3'") if is_reverse else (region.start + begin, "position")
    letters = (dna[chosen] & _TO_UPPER).tobytes().decode("ascii")
    logo = logo_figure(f"{target}, {where}", letters, scores[chosen], start, of_letters, (name, axis))
    save_figure(logo, folder / f"{stem}_logo")
    caption = f"{where}, target {target}. The {len(letters)} nt with the highest scores."
    return [*drawn, (caption, folder / f"{stem}_logo.png")]


def _place_of(region: Region) -> str:
    """Return the name of a window's place, with its strand if that is the reverse one."""
    place = place_name(shown_name(region.contig), region.start, region.end)
    return f"{place}, reverse strand" if region.strand == "-" else place


def _name_of_scores(placed: Placed, unit: str) -> str:
    """Return what the scores of a run are, for an axis."""
    method = placed.records.settings["options"]["method"]
    if method in ("attention", "rollout"):
        return "attention"
    return f"{'largest change' if method == 'ism' else 'contribution'} ({unit})"


def _file_name(name: str) -> str:
    """Return a name that every file system takes."""
    return re.sub("[^A-Za-z0-9.-]+", "_", name)[:60].strip("_.-")


def highest_stretch(scores: np.ndarray, width: int) -> int:
    """Find the start of the stretch with the highest sum of absolute scores.

    Args:
        scores: (nt,).
        width: length of the stretch in nt.
    """
    if len(scores) <= width:
        return 0
    total = np.concatenate([[0], np.cumsum(np.abs(scores.astype(np.float64)))])
    return int((total[width:] - total[:-width]).argmax())


def _draw_all(folder: Path, placed: Placed, unit: str) -> list[tuple[str, Path]]:
    """Draw all windows as one heat map, if there are several of one length, and the entropy of attention heads."""
    drawn: list[tuple[str, Path]] = []
    records = placed.records
    lengths = {facts["end"] - facts["start"] for facts in records.facts}
    if len(records) > 3 and len(lengths) == 1:
        scores = np.stack([records.read(row).scores[: max(lengths)] for row in range(min(_ALIGNED, len(records)))])
        figure = new_figure(9.0, 4.2)
        profile, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2.4])
        draw_line(profile, Track("mean |score|", 0, np.abs(scores).mean(0)))
        profile.set_title(f"{len(scores):,} windows", loc="left", fontsize=11, fontweight="bold")
        most = float(np.quantile(np.abs(scores), 0.995)) or 1.0  # a few outliers would make everything else pale
        image = draw_heat_map(below, scores.clip(-most, most), [])
        below.set_yticks([])
        below.set_ylabel(f"{len(scores):,} windows")
        figure.colorbar(image, ax=below, pad=0.01, label=_name_of_scores(placed, unit))
        mark_positions(below, "position in the window")
        save_figure(figure, folder / "windows")
        drawn.append(
            (f"The first {len(scores):,} windows below one another, in reading direction.", folder / "windows.png")
        )
    entropy = mean_entropy(records)
    if entropy is not None:
        figure = new_figure(min(9.0, 2.2 + 0.62 * entropy.shape[1]), 1.4 + 0.42 * entropy.shape[0])
        ax = figure.subplots()
        figure.colorbar(draw_entropy(ax, entropy), ax=ax, label="entropy of attention")
        save_figure(figure, folder / "entropy")
        caption = "Entropy of every attention head. 0: each token attends to one token; 1: to all tokens evenly."
        drawn.append((caption, folder / "entropy.png"))
    return drawn
