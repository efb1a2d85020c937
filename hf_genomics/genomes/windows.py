"""Windows of a genome store: which stretch of which contig is example number i of epoch e."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..batches.chance import happens, random_bits, row_keys, uniform
from ..batches.rows import JoinedRows
from ..errors import InputError
from .sampling import Places, WindowSampling, contig_chances, cut_side_by_side, tile_contigs
from .store import GenomeStore
from .unknown_letters import UnknownLetters

_PLACE, _STRAND = 100, 101  # streams of random numbers
_MOST_DRAWS = 64


class WindowDataset(Dataset):
    """Windows of a genome store for pretraining: a map-style dataset of rows ``sequence``, ``window_index``, ``epoch``.

    Row i is a pure function of (seed, epoch, i), whatever batch, worker or rank asks for it. A window never crosses a
    contig's end and is shorter on shorter contigs. Rows are numbered: first the cuts or tiles, contig by contig, then
    the windows drawn at random places; each of these is drawn up to 64 times, with its length kept, until its share of
    unknown letters is low enough, and then becomes one of the tiles of full length that are (where none is, of the
    largest half, quarter, ... that leaves one).

    Args:
        store: the genome store.
        sampling: how windows are drawn.
        contigs: row numbers of the contigs to draw from (``store.select("train")``); by default all.
        seed: of all draws.
        size: windows of an epoch, in modes "sampled" and "fixed"; by default ``sampling.coverage`` says how many.

    Raises:
        InputError: if no contig is long enough, no window is free enough of unknown letters, or weights do not fit.
    """

    def __init__(
        self,
        store: GenomeStore,
        sampling: WindowSampling | None = None,
        contigs: np.ndarray | None = None,
        seed: int = 0,
        size: int | None = None,
    ) -> None:
        self.store, self.sampling, self.seed, self.epoch = store, sampling or WindowSampling(), seed, 0
        #: Tells in which optimiser steps rows of an epoch come; where set, rows have a ``step`` too.
        self.steps_of: Callable[[int, np.ndarray], np.ndarray] | None = None
        rows, chances = self._weighed(np.arange(len(store.contigs)) if contigs is None else np.asarray(contigs))
        self.starts = store.contigs["start"].to_numpy()[rows]
        self.lengths = store.contigs["length"].to_numpy()[rows]
        self._edges = np.cumsum(chances)
        self._unknown = UnknownLetters(store, rows) if self.sampling.max_unknown < 1 else None
        self._listed = self._known(self._list(rows))
        self._refuge = self._find_refuge() if self._unknown else self._listed
        self.size = self._count() if size is None else size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; each has other windows at random places, and turns others to the opposite strand."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Windows in one epoch."""
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one row."""
        if not -self.size <= index < self.size:
            raise IndexError(f"window {index} of {self.size}")
        return self.__getitems__([index % self.size])[0]

    def __getitems__(self, indices: Sequence[int]) -> JoinedRows:
        """Return many rows at once, their letters end to end; they read as a list of dictionaries."""
        index = np.asarray(indices, np.int64)
        known = self.size if len(self._listed.contig) else np.inf  # windows at random places have no last one
        outside = (index < 0) | (index >= known)
        if outside.any():
            raise IndexError(f"window {index[outside][0]} of {self.size}")
        starts, lengths = self.places(index)
        columns = {"window_index": index, "epoch": np.full(len(index), self.epoch)}
        if self.steps_of is not None:
            columns["step"] = self.steps_of(self.epoch, index)
        rows = JoinedRows(self.store.gather(starts, lengths), lengths, **columns)
        if self.sampling.rc_probability:
            bits = random_bits(self._keys(index), _STRAND, 1)[:, 0]
            rows.reverse_complement(happens(bits, self.sampling.rc_probability))
        return rows

    def places(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the start (in the store's letters) and the length in nt of windows, (rows,) int64 each."""
        listed = index < len(self._listed.contig)
        if listed.all():
            places = self._listed.take(index)
        elif not listed.any():
            places = self._drawn(index)
        else:
            places = Places(*np.empty((3, len(index)), np.int64))
            for flags, part in ((listed, self._listed.take(index[listed])), (~listed, self._drawn(index[~listed]))):
                for column, values in zip(places, part, strict=True):
                    column[flags] = values
        return self.starts[places.contig] + places.start, places.length

    def _weighed(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keep the contigs that are long enough and have a weight; returns their rows and chances."""
        rows = rows[self.store.contigs["length"].to_numpy()[rows] >= self.sampling.shortest]
        if not len(rows):
            name = "length" if self.sampling.mode == "fixed" else "min_length"
            raise InputError(
                f"{self.store.path}: no contig has {self.sampling.shortest} nt, the shortest window; "
                f"lower windows.{name}"
            )
        chances = contig_chances(self.store.contigs.iloc[rows], self.sampling, str(self.store.path))
        return rows[chances > 0], chances[chances > 0]

    def _list(self, rows: np.ndarray) -> Places:
        """List the windows that lie where they lie: cuts or tiles."""
        chosen = self.sampling
        if chosen.mode == "tiles":
            return tile_contigs(self.lengths, chosen.length, chosen.step or chosen.length, chosen.min_length)
        if chosen.mode in ("cuts", "mixed"):
            return cut_side_by_side(self.lengths, chosen, self.seed, rows)
        return Places(*np.empty((3, 0), np.int64))

    def _known(self, places: Places) -> Places:
        return places.take(~self._poor(places)) if len(places.contig) else places

    def _poor(self, places: Places) -> np.ndarray:
        """Tell which windows have too many unknown letters."""
        if not self._unknown:
            return np.zeros(len(places.contig), bool)
        return self._unknown.share(*places) > self.sampling.max_unknown

    def _find_refuge(self) -> Places:
        """Find tiles with few unknown letters, for windows that find no such place by chance."""
        length = self.sampling.length
        while length >= self.sampling.shortest:
            tiles = self._known(tile_contigs(self.lengths, length, length, self.sampling.shortest))
            if len(tiles.contig):
                return tiles
            length //= 2
        raise self._nothing_known()

    def _count(self) -> int:
        """Count the windows of an epoch."""
        chosen, listed = self.sampling, len(self._listed.contig)
        if chosen.mode in ("sampled", "fixed"):
            return max(1, int(self.lengths.sum() * chosen.coverage / chosen.mean_length))
        if not listed:
            raise self._nothing_known()
        return listed + round(listed * chosen.sampled_per_cut) if chosen.mode == "mixed" else listed

    def _nothing_known(self) -> InputError:
        return InputError(
            f"{self.store.path}: every window of the selected contigs has more than {self.sampling.max_unknown:.0%} "
            "letters other than A, C, G, T; raise windows.max_unknown or leave these contigs out"
        )

    def _drawn(self, index: np.ndarray) -> Places:
        """Draw windows at random places: two numbers for the length, then two for each place."""
        keys = self._keys(index)
        draws = uniform(random_bits(keys, _PLACE, 4))
        wanted = self.sampling.lengths(draws[:, :2])
        places = self._place(draws[:, 2:], wanted)
        poor = np.flatnonzero(self._poor(places))
        for attempt in range(1, _MOST_DRAWS):
            if not len(poor):
                return places
            again = self._place(uniform(random_bits(keys[poor], _PLACE, 2, 2 + 2 * attempt)), wanted[poor])
            _put(places, poor, again)
            poor = poor[self._poor(again)]
        draws = uniform(random_bits(keys[poor], _PLACE, 1, 2 + 2 * _MOST_DRAWS))[:, 0]
        _put(places, poor, self._refuge.take((draws * len(self._refuge.contig)).astype(np.int64)))
        return places

    def _place(self, draws: np.ndarray, wanted: np.ndarray) -> Places:
        """Choose a contig by its chance, and any start in it that leaves room, from draws in [0, 1), (rows, 2)."""
        contig = np.searchsorted(self._edges, draws[:, 0] * self._edges[-1], side="right")
        lengths = self.lengths[contig]
        length = np.minimum(wanted, lengths)
        return Places(contig, (draws[:, 1] * (lengths - length + 1)).astype(np.int64), length)

    def _keys(self, index: np.ndarray) -> np.ndarray:
        return row_keys(self.seed, np.array([self.epoch]), index)


def _put(places: Places, rows: np.ndarray, others: Places) -> None:
    """Replace some windows by others."""
    for column, values in zip(places, others, strict=True):
        column[rows] = values
