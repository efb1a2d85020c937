"""Where the unknown letters of contigs lie, as runs: the share in a window is then a look-up and needs no letters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..sequence import LETTER_CODE
from .store import GenomeStore

_CHUNK = 1 << 22  # nt looked at in one go


class UnknownLetters:
    """The letters other than A, C, G, T of some contigs of a store; reads each contig once, in pieces.

    Args:
        store: the genome store.
        contigs: (contigs,) rows of ``store.contigs``; below, a contig is its position in here.
    """

    def __init__(self, store: GenomeStore, contigs: np.ndarray) -> None:
        starts = store.contigs["start"].to_numpy()[contigs]
        lengths = store.contigs["length"].to_numpy()[contigs]
        self.offsets = np.cumsum(lengths) - lengths  # of each contig in all of them joined, where runs are counted
        found = [_runs(store.gather(*pieces), first) for first, *pieces in _pieces(starts, lengths)]
        # A run of no letters at the head, so that there is one before every place.
        self._starts = np.concatenate([[0], *(begin for begin, _ in found)])
        self._lengths = np.concatenate([[0], *(end - begin for begin, end in found)])
        self._before = np.cumsum(self._lengths) - self._lengths

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return len(self._starts) > 1

    def share(self, contig: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Give the share of unknown letters in windows, all (rows,), ``start`` counted from the contig's first nt."""
        first = self.offsets[contig] + start
        begin, end = self._until(np.stack([first, first + length]))
        return (end - begin) / length

    def _until(self, place: np.ndarray) -> np.ndarray:
        """Count the unknown letters before a place in all contigs joined."""
        run = np.searchsorted(self._starts, place, side="right") - 1
        return self._before[run] + np.minimum(place - self._starts[run], self._lengths[run])


def _pieces(starts: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Cut contigs, joined, into chunks: the place of each chunk, starts (in the store) and lengths of what is in it."""
    ends = np.cumsum(lengths)
    for first in range(0, int(lengths.sum()), _CHUNK):
        last = min(first + _CHUNK, int(ends[-1]))
        inside = slice(np.searchsorted(ends, first, "right"), np.searchsorted(ends, last, "left") + 1)
        begin = np.maximum(first, ends[inside] - lengths[inside])
        end = np.minimum(last, ends[inside])
        yield first, starts[inside] + begin - (ends[inside] - lengths[inside]), end - begin


def _runs(letters: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the runs of unknown letters; starts and ends, counted from ``first``."""
    unknown = LETTER_CODE[letters] > 3
    edges = np.flatnonzero(np.diff(unknown, prepend=False, append=False)) + first
    return edges[::2], edges[1::2]
