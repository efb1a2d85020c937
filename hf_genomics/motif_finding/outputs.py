"""Write motifs as MEME text, BED, tables, pictures and a report.

What the numbers are (`motifs` finds them): the positive sequences are divided into two halves. Words of 6 to 8 nt that
lie in *stretches* of high scores in the first half are *candidates*. The second half, with negative sequences, tests
them. Motifs are made of the significant words and tested in the same way. The *contribution* of a site is the mean
score that the model gives its nucleotides.

There are two kinds of q. That of words, and that of pairs, is corrected by Benjamini and Hochberg (false discovery
rate). That of a motif is p times the number of candidates (Bonferroni), because each candidate could have become a
motif.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..interpretation.figures import LETTER_COLORS, new_figure, save_figure
from ..io.genome_tracks import place_of
from ..io.writing import write_json, write_text, write_tsv
from ..reports.html import write_report
from .comparison import Match
from .matrices import information
from .meme import MemeMotif, meme_text
from .pairs import Cooccurrence, PairAttention, corrected
from .sequences import ScoredSequences
from .sites import Motif, Site, distances_from_centre
from .words import Word

_BITS = 2.0  # height of a logo
_BINS = 24  # of the histogram of sites, about
_SHOWN = 30  # words in the report


@dataclass(frozen=True)
class Found:
    """Everything that a run found.

    Attributes:
        motifs: the motifs, the most significant one first.
        words: all words that were counted; those with a q are the candidates.
        alpha: a word is significant if its q is below this.
        sites: sites of each motif in all positive sequences.
        sequences: the positive sequences.
        background: frequencies of A, C, G and T, (4,).
        pairs: how often motifs occur together.
        attention: attention between their sites; None if the model's attention was not examined.
        matches: motifs of the user's file that they resemble; None without such a file.
        tested: number of positive and negative sequences of the second half.
    """

    motifs: list[Motif]
    words: list[Word]
    alpha: float
    sites: list[list[Site]]
    sequences: ScoredSequences
    background: np.ndarray
    pairs: dict[tuple[int, int], Cooccurrence]
    attention: dict[tuple[int, int], PairAttention] | None
    matches: list[Match] | None
    tested: tuple[int, int]

    @property
    def candidates(self) -> int:
        """Number of words that were tested."""
        return sum(not np.isnan(word.q) for word in self.words)


def write_found(folder: Path, found: Found, settings: dict[str, Any], summary: dict[str, Any]) -> None:
    """Write all files of a run.

    Args:
        folder: existing folder.
        found: what the run found.
        settings: what it depended on.
        summary: its numbers.
    """
    # The E-value of a motif in MEME files: its p times the number of candidates.
    motifs = [MemeMotif(one.name, one.matrix, one.sites, one.p * found.candidates) for one in found.motifs]
    write_text(folder / "motifs.meme", meme_text(motifs, found.background))
    write_text(folder / "instances.bed", "".join(f"{line}\n" for line in bed_lines(found)))
    header, rows = motif_table(found)
    write_tsv(folder / "motifs.tsv", header, rows)
    write_tsv(folder / "words.tsv", *word_table(found))
    write_tsv(folder / "pairs.tsv", *pair_table(found))
    if found.matches is not None:
        write_tsv(folder / "matches.tsv", list(Match._fields), found.matches)
    (folder / "logos").mkdir()
    pictures = [_draw(folder / "logos" / motif.name, found, number) for number, motif in enumerate(found.motifs)]
    _write_report(folder / "report.html", found, summary, pictures)
    write_json(folder / "motifs.json", {**settings, "summary": summary})


# Tables.


def motif_table(found: Found) -> tuple[list[str], list[list[Any]]]:
    """Return the table of motifs: header and rows.

    Column q is p times the number of candidates (Bonferroni), at most 1; best_word_q is that of Benjamini and Hochberg.
    """
    header = "motif width made_of positives negatives positives_tested negatives_tested p q best_word best_word_q words"
    header += " sequences_with_site sites median_distance_from_centre expected_distance mean_contribution"
    rows: list[list[Any]] = []
    for motif, sites in zip(found.motifs, found.sites, strict=True):
        distances = distances_from_centre(sites, found.sequences.lengths)
        # By chance, the centres of sites are spread evenly over length - width nt; half of them then lie within a
        # quarter of that from the middle, so this is their median distance.
        chance = np.median(np.maximum(found.sequences.lengths - len(motif.matrix), 0) / 4)
        counts = [motif.positives, motif.negatives, *found.tested, motif.p, min(1.0, motif.p * found.candidates)]
        row = [
            motif.name,
            len(motif.matrix),
            motif.sites,
            *counts,
            motif.words[0].word,
            motif.words[0].q,
            len(motif.words),
        ]
        with_site = len({site.sequence for site in sites})
        mean = float(np.mean([site.contribution for site in sites])) if sites else np.nan
        median = float(np.median(distances)) if len(distances) else np.nan
        rows.append([*row, with_site, len(sites), median, float(chance), mean])
    return header.split(), rows


def word_table(found: Found) -> tuple[list[str], list[list[Any]]]:
    """Return the table of words that are candidates, or significant by counting alone: header and rows."""
    motif_of = {word.word: motif.name for motif in found.motifs for word in motif.words}
    shown = [word for word in found.words if not np.isnan(word.q) or word.q_counting < found.alpha]
    return [*Word._fields, "motif"], [[*word, motif_of.get(word.word, "")] for word in shown]


def pair_table(found: Found) -> tuple[list[str], list[list[Any]]]:
    """Return the table of pairs of motifs: header and rows."""
    attention = found.attention or {}
    names = [motif.name for motif in found.motifs]
    q = corrected([one.p for one in found.pairs.values()])
    attention_q = dict(zip(attention, corrected([one.p for one in attention.values()]), strict=True))
    rows = []
    for (pair, together), value in zip(found.pairs.items(), q, strict=True):
        row = [names[pair[0]], names[pair[1]], *together[:3], value, together.spacing]
        row += [*attention[pair], attention_q[pair]] if pair in attention else [""] * 7
        rows.append(row)
    header = "motif other_motif sequences expected p q median_spacing windows attention attention_shuffled"
    return f"{header} relative relative_shuffled attention_p attention_q".split(), rows


def bed_lines(found: Found) -> Iterator[str]:
    """Iterate over the lines of the BED file of sites, in the order of the sequences.

    Sites get genome coordinates if the name of their sequence states its place, such as "chr1:100-200(-)"; otherwise
    they get their place in the sequence. Columns 1 to 6 are those of BED, with the score from 0 to 1000; 7 holds the
    log-odds in bits, 8 the mean contribution, 9 the name of the sequence.
    """
    numbered = [(site, number) for number, sites in enumerate(found.sites) for site in sites]
    for site, number in sorted(numbered):
        motif, name = found.motifs[number], found.sequences.names[site.sequence]
        place = place_of(name, int(found.sequences.lengths[site.sequence]))
        start, end, is_reverse = place.start + site.start, place.start + site.end, site.is_reverse
        if place.strand == "-":  # the sequence is read from the end of its place to the start
            start, end, is_reverse = place.end - site.end, place.end - site.start, not is_reverse
        share = np.clip(site.score / motif.odds.max(1).sum(), 0, 1)  # of the highest score that a site can have
        contig, name = ("_".join(text.split()) for text in (place.contig, name))  # blanks separate columns
        columns = [contig, start, end, motif.name, round(1000 * share), "-" if is_reverse else "+"]
        yield "\t".join(map(str, [*columns, f"{site.score:.7g}", f"{site.contribution:.7g}", name]))


# Pictures.


def draw_motif(ax: Axes, matrix: np.ndarray, num_sites: int) -> None:
    """Draw a matrix as a logo: the height of a position is its information in bits.

    Args:
        ax: where to draw.
        matrix: (width, 4).
        num_sites: number of sites that it was made of.
    """
    import logomaker

    heights = matrix * information(matrix * num_sites)[:, None]
    frame = pd.DataFrame(heights, index=range(1, len(matrix) + 1), columns=list("ACGT"))
    logomaker.Logo(frame, ax=ax, color_scheme=LETTER_COLORS, show_spines=False)
    ax.set_ylim(0, _BITS)
    ax.set_yticks([0, 1, 2])
    ax.set_ylabel("bits")
    ax.set_xticks(range(1, len(matrix) + 1))
    ax.set_xlabel("position in the motif, nt")
    ax.spines["left"].set_visible(True)
    ax.tick_params(labelsize=8.5, length=2)


def draw_positions(ax: Axes, sites: Sequence[Site], lengths: np.ndarray) -> None:
    """Draw a histogram of where sites lie, from the centre of their sequences.

    Args:
        ax: where to draw.
        sites: sites of one motif.
        lengths: length of each sequence in nt.
    """
    # Distances are multiples of half a nt. Bins that are a whole number of nt wide have room for equally many of these,
    # and edges that are a quarter of a nt off never fall on one.
    places = [(site.start + site.end) / 2 - lengths[site.sequence] / 2 for site in sites]
    width = max(1, round(lengths.max(initial=1) / _BINS))
    half = (lengths.max(initial=1) // 2 // width + 1) * width
    ax.hist(places, bins=np.arange(-half - width / 2 - 0.25, half + width, width).tolist(), color="#5b7f95")
    ax.set_title(f"sites: {len(sites):,}", loc="left", fontsize=9)
    ax.axvline(0, color="#1f2328", linewidth=0.8)
    ax.set_xlabel("distance from the centre, nt")
    ax.set_ylabel("sites")
    ax.tick_params(labelsize=8.5, length=2)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _draw(path: Path, found: Found, number: int) -> tuple[str, Path]:
    """Draw one motif and where its sites lie."""
    motif, sites = found.motifs[number], found.sites[number]
    figure = new_figure(9.0, 2.3)
    logo, places = figure.subplots(1, 2, width_ratios=[2.2, 1])
    draw_motif(logo, motif.matrix, motif.sites)
    consensus = motif.name.partition("_")[2]  # the name is rank and consensus, such as 3_CCASYAG
    logo.set_title(consensus, loc="left", fontsize=11, fontweight="bold")
    draw_positions(places, sites, found.sequences.lengths)
    save_figure(figure, path)
    with_site = len({site.sequence for site in sites})
    caption = f"{motif.name}. Sites: {len(sites):,}; positive sequences with a site: {with_site:,}."
    return caption, path.with_name(f"{path.name}.png")


def _write_report(path: Path, found: Found, summary: dict[str, Any], pictures: list[tuple[str, Path]]) -> None:
    """Write the report of a run."""
    header, rows = motif_table(found)
    names = ("motif", "positives", "negatives", "best_word", "sequences_with_site", "median_distance_from_centre")
    chosen = [header.index(name) for name in names]
    shown_names = ["motif", "positives", "negatives", "best word", "with site", "nt off centre"]  # narrow enough
    tables = [("Motifs", shown_names, [[row[column] for column in chosen] for row in rows])]
    significant = [word for word in found.words if word.q < found.alpha][:_SHOWN]
    columns = ["word", "in stretches", "positives", "negatives", "-log10 q", "by counting"]
    words = [[*word[:4], _order(word.q), _order(word.q_counting)] for word in significant]
    tables.append((f"Significant words, the first {_SHOWN}", columns, words))
    if found.matches:
        cells = [[one.motif, one.target, one.other_name, _order(one.p)] for one in found.matches]
        tables.append(("Most similar motifs of the other file", ["motif", "target", "name", "-log10 p"], cells))
    numbers = f"{summary['sequences']:,} positive and {summary['negatives']:,} negative sequences"
    text = f"{len(found.motifs)} {'motif' if len(found.motifs) == 1 else 'motifs'} in {numbers}."
    details = (
        "Words were collected in one half of the positive sequences, where nucleotides score higher than 99 % of those "
        f"in negative sequences, and tested on the other half: {summary['candidates']:,} candidates, "
        f"{summary['significant_words']:,} significant at q < {found.alpha:g}. Counting without the model finds "
        f"{summary['significant_by_counting']:,} significant words."
    )
    shown = [table for table in tables if table[2]]
    write_report(path, title="Motifs", summary=[text, details], tables=shown, pictures=pictures)


def _order(p: float) -> float:
    """Return -log10 of a probability."""
    return float(-np.log10(max(p, 1e-300)))
