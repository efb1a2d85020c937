"""Find negative examples: for each window of a feature, a stretch of the same contig with its length and GC content.

A negative overlaps neither the stretches that the caller blocks (features, their windows, unknown letters) nor another
negative. `gaps_of` returns what is left of a contig, `Gaps.draw` draws random places in it, `GcCounts` counts the G and
C of each, and `matched_places` chooses.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_BLOCK = 128  # nt whose GC is counted together; as uint8, the counts within a block cannot overflow
_DRAWS, _ROUNDS = 32, 40  # places drawn for each window in a round, and the largest number of rounds
#: Largest difference in GC content between a window and its negative, as a share of the length; in short windows, one
#: nucleotide.
GC_TOLERANCE = 0.02


class GcCounts:
    """The number of G and C in any stretch of a contig, in one byte per nucleotide.

    Args:
        digits: digits of the contig, as `letter_digits` returns them, uint8 (nt,).
    """

    def __init__(self, digits: np.ndarray) -> None:
        flags = np.zeros((len(digits) // _BLOCK + 1, _BLOCK), bool)
        flags.reshape(-1)[: len(digits)] = (digits == 2) | (digits == 3)  # the digits of C and G
        counts = np.cumsum(flags, axis=1, dtype=np.uint8)
        of_blocks = counts[:, -1].astype(np.int64)
        self._blocks = np.cumsum(of_blocks) - of_blocks  # the G and C before each block
        self._within = (counts - flags).reshape(-1)  # the G and C before each nucleotide, inside its block

    def count(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Count the G and C of stretches, int64 of the shape of ``starts`` and ``ends`` (0-based, half-open)."""
        return self._before(ends) - self._before(starts)

    def _before(self, place: np.ndarray) -> np.ndarray:
        """Count the G and C before a place."""
        return self._blocks[place // _BLOCK] + self._within[place]


class Gaps(NamedTuple):
    """The stretches of a contig in which a negative may lie, sorted and without overlaps.

    Attributes:
        starts: first position of each, 0-based, int64 (gaps,).
        ends: position after the last one, int64 (gaps,).
    """

    starts: np.ndarray
    ends: np.ndarray

    def draw(self, length: int, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray | None:
        """Draw places of windows, uniformly from all possible starts; return None if no window fits.

        Args:
            length: length of the windows in nt.
            shape: shape of the result.
            random: source of random numbers.

        Returns:
            Starts, int64 of the given shape.
        """
        num_starts = np.maximum(0, self.ends - self.starts - length + 1)  # possible starts in each gap
        up_to = np.cumsum(num_starts)  # in this gap and all before it
        if not len(up_to) or not up_to[-1]:
            return None
        # The possible starts have running numbers, gap after gap. A drawn number lies in the first gap up to whose end
        # there are more starts than this; less the starts of the gaps before, it is the distance from the gap's start.
        drawn = random.integers(up_to[-1], size=shape)
        gap = np.searchsorted(up_to, drawn, side="right")
        return self.starts[gap] + drawn - (up_to[gap] - num_starts[gap])


def gaps_of(length: int, blocked: Iterable[tuple[np.ndarray, np.ndarray]]) -> Gaps:
    """Return the stretches of a contig that nothing blocks.

    Args:
        length: length of the contig in nt.
        blocked: starts and ends of stretches, in any order, possibly with overlaps.
    """
    starts, ends = (np.concatenate(columns).astype(np.int64) for columns in zip(*blocked, strict=True))
    order = np.argsort(starts, kind="stable")
    starts, ends = np.clip(starts[order], 0, length), np.clip(ends[order], 0, length)
    covered = np.maximum.accumulate(np.concatenate([[0], ends]))  # a gap begins where all earlier stretches have ended
    begin, end = covered, np.concatenate([starts, [length]])
    return Gaps(begin[end > begin], end[end > begin])


def unknown_runs(digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and the ends of the runs of letters other than A, C, G and T, (runs,) each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], digits > 3, [False]])))
    return edges[::2], edges[1::2]


def matched_places(
    starts: np.ndarray, ends: np.ndarray, counts: GcCounts, gaps: Gaps, random: np.random.Generator
) -> np.ndarray:
    """Find a negative for each window, of the same length and nearly the same GC content; no two negatives overlap.

    For each window, several random places are drawn. Of those whose GC content is within `GC_TOLERANCE`, and that
    overlap no other negative, it takes the one with the nearest GC content; if there is none, places are drawn again.
    The longest windows choose first.

    Args:
        starts: starts of the windows, int64 (windows,).
        ends: their ends.
        counts: GC of the contig.
        gaps: where negatives may lie.
        random: source of random numbers.

    Returns:
        Start of each negative, int64 (windows,); -1 for a window without one.
    """
    found = np.full(len(starts), -1)
    lengths, gc = ends - starts, counts.count(starts, ends)
    taken = _Taken()
    for length in np.unique(lengths)[::-1].tolist():  # long ones first: they have the fewest places
        waiting = np.flatnonzero(lengths == length)
        tolerance = max(1, int(GC_TOLERANCE * length))
        for _ in range(_ROUNDS):
            places = gaps.draw(length, (len(waiting), _DRAWS), random)
            if places is None:
                break
            differences = np.abs(counts.count(places, places + length) - gc[waiting, None])
            nearest = np.argsort(differences, axis=1, kind="stable")
            allowed = np.take_along_axis(differences, nearest, axis=1) <= tolerance
            ordered = np.take_along_axis(places, nearest, axis=1)
            for window, row, good in zip(waiting.tolist(), ordered, allowed, strict=True):
                # The place with the nearest GC that overlaps with no other negative; `add` reserves it.
                found[window] = next((start for start in row[good].tolist() if taken.add(start, start + length)), -1)
            waiting = waiting[found[waiting] < 0]
            if not len(waiting):
                break
    return found


class _Taken:
    """Stretches of a contig without overlaps, sorted."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> bool:
        """Add a stretch unless it overlaps with one that is there; return whether it was added."""
        index = bisect.bisect_right(self._starts, start)
        if (index and self._ends[index - 1] > start) or (index < len(self._starts) and self._starts[index] < end):
            return False
        self._starts.insert(index, start)
        self._ends.insert(index, end)
        return True
