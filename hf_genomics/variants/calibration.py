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
from ..io.files import input_errors, open_binary, shorten
from ..sequence import LETTER_CODE, reverse_complement
from ..sequence_files.reference import Reference, Strand
from .sites import Event

_CONTEXT = 5  # letters of the context, with the site in its middle
_LEAST = 5  # sites of one context below which there is no calibrated score


class Interval(NamedTuple):
    """A line of a BED file: contig of the genome, start and end, 0-based and half-open."""

    contig: str
    start: int
    end: int


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


def read_bed(path: str, reference: Reference) -> list[Interval]:
    """Read the intervals of a BED file.

    Args:
        path: the file, plain or gzipped; header lines (track, browser, #) are skipped.
        reference: the genome.

    Raises:
        InputError: naming file and line, if a line is not an interval of a contig of the genome, or there is none.
    """
    intervals = []
    with input_errors(path), open_binary(path) as file:
        for number, raw in enumerate(file, start=1):
            line = raw.decode("latin-1").strip("\r\n")
            if not line.strip() or line.startswith("#") or line.split(None, 1)[0] in ("track", "browser"):
                continue
            intervals.append(_parse_interval(line, f"{path}: line {number}", reference))
    if not intervals:
        raise InputError(f"{path}: no interval in this file; give a BED file of neutral regions")
    return intervals


def _parse_interval(line: str, where: str, reference: Reference) -> Interval:
    """Read one line of a BED file."""
    cells = line.split("\t") if "\t" in line else line.split()
    if len(cells) < 3:
        raise InputError(f"{where} has {len(cells)} columns, but BED has 3 or more (contig, start, end); fix it")
    for cell in cells[1:3]:
        if not (cell.isascii() and cell.isdigit()):
            raise InputError(f"{where}: {shorten(cell, 30)} is not a position, a whole number from 0; fix it")
    name, start, end = reference.find(cells[0], where), int(cells[1]), int(cells[2])
    if not start < end <= reference.lengths[name]:
        raise InputError(
            f"{where}: start {start} and end {end} must be in this order and within the {reference.lengths[name]:,} nt "
            f"of {name[:60]!r} (0-based, half-open); fix it"
        )
    return Interval(name, start, end)


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
    intervals: list[Interval], reference: Reference, most: int, seed: int = 0
) -> list[tuple[Event, tuple[Strand, Strand], str]]:
    """Sample neutral sites, with their three substitutions each, their strands and their 5-mers.

    Args:
        intervals: where neutral sites are.
        reference: the genome.
        most: largest number of sites.
        seed: seed of the choice.
    """
    ends = np.cumsum([one.end - one.start for one in intervals])
    total = int(ends[-1])
    rng = np.random.default_rng(seed)
    chosen = np.arange(total) if total <= most else np.sort(rng.choice(total, most, replace=False))
    events = []
    for place in chosen.tolist():
        index = int(np.searchsorted(ends, place, side="right"))
        interval = intervals[index]
        position = interval.end - (int(ends[index]) - place)
        both = reference.strands(interval.contig)
        context = context_of(both[0], position)
        if context is not None:
            ref = context[_CONTEXT // 2]
            events += [(Event(position, ref, alt), both, context) for alt in "ACGT" if alt != ref]
    return events


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
