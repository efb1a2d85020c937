"""Index the unknown letters of contigs, so that their share in a window is found without reading its letters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..sequence import LETTER_CODE
from .store import GenomeStore

_CHUNK = 1 << 22  # nt read at once


class UnknownLetters:
    """The letters other than A, C, G, T in some contigs (continuous sequences) of a store.

    Each contig is read once, in chunks.

    The contigs are treated as if they were concatenated in the given order. The runs of unknown letters in this
    concatenation, with the number of unknown letters before each, answer any question about a window.

    Args:
        store: the genome store.
        contigs: (contigs,) rows of ``store.contigs``; the methods take a contig as its index in this array.
    """

    def __init__(self, store: GenomeStore, contigs: np.ndarray) -> None:
        starts = store.contigs["start"].to_numpy()[contigs]
        lengths = store.contigs["length"].to_numpy()[contigs]
        self.offsets = np.cumsum(lengths) - lengths  # start of each contig in all contigs concatenated
        found = [
            _runs(store.gather(stretch_starts, stretch_lengths), first)
            for first, stretch_starts, stretch_lengths in _chunks(starts, lengths)
        ]
        # An empty run comes first, so that every position has a preceding run.
        self._starts = np.concatenate([[0], *(run_starts for run_starts, _ in found)])
        self._lengths = np.concatenate([[0], *(run_ends - run_starts for run_starts, run_ends in found)])
        self._before = np.cumsum(self._lengths) - self._lengths  # unknown letters before each run

    def __bool__(self) -> bool:
        """Return whether there are any unknown letters."""
        return len(self._starts) > 1

    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the starts and the ends of the runs of unknown letters in all contigs concatenated."""
        return self._starts[1:], self._starts[1:] + self._lengths[1:]  # without the empty run that comes first

    def share(self, contig: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Compute the share of unknown letters in windows.

        Args:
            contig: integer (windows,), contig of each window.
            start: integer (windows,), first nt of each window, counted from the start of the contig.
            length: integer (windows,), nt of each window.

        Returns:
            float64 (windows,).
        """
        first = self.offsets[contig] + start
        before_start, before_end = self._count_before(np.stack([first, first + length]))
        return (before_end - before_start) / length

    def _count_before(self, position: np.ndarray) -> np.ndarray:
        """Count the unknown letters before positions in all contigs concatenated."""
        run = np.searchsorted(self._starts, position, side="right") - 1  # the last run that starts at or before it
        return self._before[run] + np.minimum(position - self._starts[run], self._lengths[run])


def _chunks(starts: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Cut contigs, concatenated, into chunks.

    Args:
        starts: integer (contigs,), start of each contig in the store.
        lengths: integer (contigs,), nt of each contig.

    Yields:
        First nt of a chunk in the concatenated contigs; starts (in the store) and lengths of the stretches, which are
        the parts of contigs in the chunk.
    """
    ends = np.cumsum(lengths)
    for first in range(0, int(lengths.sum()), _CHUNK):
        last = min(first + _CHUNK, int(ends[-1]))
        # From the first contig that ends after the chunk starts to the first that ends with the chunk or after it.
        inside = slice(np.searchsorted(ends, first, "right"), np.searchsorted(ends, last, "left") + 1)
        contig_starts = ends[inside] - lengths[inside]
        begin = np.maximum(first, contig_starts)
        end = np.minimum(last, ends[inside])
        yield first, starts[inside] + begin - contig_starts, end - begin


def _runs(letters: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the runs of unknown letters; return their starts and ends, plus ``first``."""
    unknown = LETTER_CODE[letters] > 3  # 0 to 3 are A, T, C and G
    # Where known letters change to unknown ones or back: starts and ends alternate.
    edges = np.flatnonzero(np.diff(unknown, prepend=False, append=False)) + first
    return edges[::2], edges[1::2]
