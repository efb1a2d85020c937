"""Compare a score with those of neutral sites: the mean of the same 5-mer and change, and the rank among all.

A model prefers some changes everywhere (a transition at CpG, say). Neutral sites that the user names show how much of a
score is due to this. Where there is no neutral background, as in a compact bacterial genome, calibration removes
signal, so it is never done by default.

Source: the calibrated LLR of marin-dna (2026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..io.files import shorten
from ..io.genome_tracks import Region, read_bed
from ..sequence import LETTER_CODE, reverse_complement
from ..sequence_files.reference import Reference, Strand
from .sites import Event

_CONTEXT = 5  # letters of the context, with the site in its middle
_LEAST = 5  # sites of one context below which there is no calibrated score


class Background(NamedTuple):
    """Scores of neutral sites.

    Attributes:
        means: mean score by 5-mer and alternative letter, on the strand whose 5-mer comes first in the alphabet.
        ordered: all scores, ascending, float64.
    """

    means: dict[tuple[str, str], float]
    ordered: np.ndarray

    def calibrate(self, score: float, context: str, alt: str) -> float:
        """Return a score minus the mean of neutral sites of its 5-mer and letter; NaN if there are too few of them."""
        return score - self.means.get(canonical_change(context, alt), float("nan"))

    def quantile(self, score: float) -> float:
        """Return the share of neutral scores that are not larger, 0..1; NaN for a missing score."""
        if np.isnan(score):
            return float("nan")
        return float(np.searchsorted(self.ordered, score, side="right") / len(self.ordered))


def read_neutral(path: str, reference: Reference) -> list[Region]:
    """Read neutral regions from a BED file, with the names that their contigs have in the genome.

    Args:
        path: the file, plain or gzipped.
        reference: the genome.

    Raises:
        InputError: naming file and line, if a line is not a region of a contig of the genome, or there is none.
    """
    regions = []
    for region in read_bed(path, blanks=True):
        where = f"{path}, line {region.line}"
        name = reference.find(region.contig, where)
        if region.end > reference.lengths[name]:
            raise InputError(
                f"{where}: end {region.end} lies beyond {shorten(name)}, which has {reference.lengths[name]:,} nt; fix "
                "the line"
            )
        regions.append(region._replace(contig=name))
    return regions


def canonical_change(context: str, alt: str) -> tuple[str, str]:
    """Return a 5-mer and the letter that replaces its middle, on the strand whose 5-mer comes first in the alphabet.

    >>> canonical_change("TTGCA", "A")
    ('TGCAA', 'T')
    """
    return min((context, alt), (reverse_complement(context), reverse_complement(alt)))


def context_of(strand: Strand, position: int) -> str | None:
    """Return the 5-mer around a position of the forward strand; None at the end of a contig or beside unknown letters.

    Args:
        strand: forward strand of the contig.
        position: 0-based.
    """
    start = position - _CONTEXT // 2
    if start < 0 or start + _CONTEXT > strand.length:
        return None
    letters = strand.read(start, start + _CONTEXT)
    if (LETTER_CODE[letters] > 3).any():
        return None
    return letters.tobytes().decode("ascii").upper().replace("U", "T")


def neutral_events(
    regions: list[Region], reference: Reference, most: int, seed: int = 0
) -> list[tuple[Event, tuple[Strand, Strand], str]]:
    """Sample neutral sites, with their three substitutions each, their strands and their 5-mers.

    Args:
        regions: where neutral sites are.
        reference: the genome.
        most: largest number of sites; a site in several regions counts once.
        seed: seed of the choice.
    """
    regions = _merged(regions)
    ends = np.cumsum([one.end - one.start for one in regions])
    total = int(ends[-1])
    rng = np.random.default_rng(seed)
    chosen = np.arange(total) if total <= most else np.sort(rng.choice(total, most, replace=False))
    events = []
    for place in chosen.tolist():
        index = int(np.searchsorted(ends, place, side="right"))
        region = regions[index]
        position = region.end - (int(ends[index]) - place)
        both = reference.strands(region.contig)
        context = context_of(both[0], position)
        if context is not None:
            ref = context[_CONTEXT // 2]
            events += [(Event(position, ref, alt), both, context) for alt in "ACGT" if alt != ref]
    return events


def _merged(regions: list[Region]) -> list[Region]:
    """Merge regions that overlap, so that each site is in one region."""
    merged: list[Region] = []
    for region in sorted(regions, key=lambda one: (one.contig, one.start)):
        if merged and merged[-1].contig == region.contig and region.start < merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(merged[-1].end, region.end))
        else:
            merged.append(region)
    return merged


def measure_background(
    events: list[tuple[Event, tuple[Strand, Strand], str]],
    score: Callable[[Iterable[tuple[Event, tuple[Strand, ...]]]], np.ndarray],
    source: str,
) -> Background:
    """Score neutral sites.

    Args:
        events: from `neutral_events`.
        score: returns the scores of events on each strand, (events, strands).
        source: name of the BED file, for the error message.

    Raises:
        InputError: if no site can be scored.
    """
    values = score((event, both) for event, both, _ in events).mean(1) if events else np.zeros(0)
    by_change: dict[tuple[str, str], list[float]] = {}
    for (event, _, context), value in zip(events, values.tolist(), strict=True):
        if value == value:
            by_change.setdefault(canonical_change(context, event.alt), []).append(value)
    if not by_change:
        raise InputError(f"{source}: no site in these regions can be scored; name regions without N")
    means = {change: float(np.mean(found)) for change, found in by_change.items() if len(found) >= _LEAST}
    return Background(means, np.sort(values[~np.isnan(values)]))
