"""Windows of a genome store for pretraining: which stretch of which contig is window i of epoch e."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch.utils.data import Dataset

from ..batches.chance import Stream, happens, random_bits, row_keys, uniform
from ..batches.rows import JoinedRows, WindowRow
from ..errors import InputError
from .sampling import Places, WindowSampling, cut_side_by_side, relative_probabilities, tile_contigs
from .store import GenomeStore
from .unknown_letters import UnknownLetters

_MOST_DRAWS = 64


class WindowDataset(Dataset):
    """Windows of a genome store for pretraining: a map-style dataset of rows ``sequence``, ``window_index``, ``epoch``.

    Row i is a pure function of (seed, epoch, i), whichever batch, worker or process asks for it. A window never crosses
    the end of a contig, and is shorter on shorter contigs. An epoch begins with listed windows (cuts or tiles),
    contig by contig, which lie at the same places in every epoch. Windows at random places follow. Which of the two
    there are depends on the mode (see `WindowSampling`):

        "tiles"    listed: windows of one length, every ``step`` nt
        "cuts"     listed: contigs cut side by side into windows of drawn lengths
        "mixed"    listed as in "cuts", then windows of drawn lengths at random places
        "sampled"  windows of drawn lengths at random places
        "fixed"    windows of one length at random places (the length is fixed, not the places)

    A window at a random place with too many unknown letters is drawn again, up to 64 times, at the same length. If all
    draws fail, a tile of full length with few enough unknown letters takes its place; if there is no such tile, a tile
    of half the length, of a quarter, and so on; if there is none either, a window of the shortest length that begins or
    ends beside unknown letters.

    Args:
        store: the genome store.
        sampling: how windows are drawn.
        contigs: rows of ``store.contigs`` from which windows come (``store.select("train")``); by default all.
        seed: seed of all draws.
        size: number of windows in an epoch of modes "sampled" and "fixed"; by default computed from
            ``sampling.coverage``. In the other modes the listed windows decide.

    Raises:
        InputError: if no contig is long enough, every window has too many unknown letters, weights are invalid, or the
            mode takes no ``size``.
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
        if size is not None and self.sampling.mode not in ("sampled", "fixed"):
            raise InputError(
                f"windows: mode {self.sampling.mode} has no size, because its windows are listed; omit size"
            )
        #: Finds the optimiser step in which each row of an epoch is used (`EpochOrder.step_of_rows`); if set, rows have
        #: a ``step``.
        self.step_of_rows: Callable[[int, np.ndarray], np.ndarray] | None = None
        contigs = np.arange(len(store.contigs)) if contigs is None else np.asarray(contigs)
        rows, probabilities = self._usable_contigs(contigs)
        self.starts = store.contigs["start"].to_numpy()[rows]
        self.lengths = store.contigs["length"].to_numpy()[rows]
        self._cumulative_probabilities = np.cumsum(probabilities)
        self._unknown = UnknownLetters(store, rows) if self.sampling.max_unknown < 1 else None
        self._listed_windows = self._with_few_unknown(self._list_windows(rows))
        # Without a limit on unknown letters, no draw fails and no tile is needed.
        self._fallback_tiles = self._find_fallback_tiles() if self._unknown else Places.empty(0)
        self.size = self._count() if size is None else size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch: each epoch has other windows at random places, and other windows on the opposite strand."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of windows in one epoch."""
        return self.size

    def __getitem__(self, index: int) -> WindowRow:
        """Return one window."""
        if not -self.size <= index < self.size:
            raise IndexError(f"window {index} of {self.size}")
        return self.__getitems__([index % self.size])[0]

    def __getitems__(self, indices: Sequence[int]) -> JoinedRows:
        """Return many windows at once, with their letters in one array; they read as a list of dictionaries."""
        index = np.asarray(indices, np.int64)
        # Windows at random places can be drawn without end, and pretraining may ask for more than an epoch holds.
        most = self.size if len(self._listed_windows.contig) else np.inf
        outside = (index < 0) | (index >= most)
        if outside.any():
            raise IndexError(f"window {index[outside][0]} of {self.size}")
        starts, lengths = self.places(index)
        columns = {"window_index": index, "epoch": np.full(len(index), self.epoch)}
        if self.step_of_rows is not None:
            columns["step"] = self.step_of_rows(self.epoch, index)
        rows = JoinedRows(self.store.gather(starts, lengths), lengths, **columns)
        if self.sampling.rc_probability:
            bits = random_bits(self._keys(index), Stream.WINDOW_STRAND, 1)[:, 0]
            rows.reverse_complement(happens(bits, self.sampling.rc_probability))
        return rows

    def places(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find where windows lie, without reading letters.

        Args:
            index: int64 (rows,), indices of windows in the current epoch.

        Returns:
            Start of each window in the letters of the store, and its length in nt, int64 (rows,) each.
        """
        is_listed = index < len(self._listed_windows.contig)
        if is_listed.all():
            places = self._listed_windows.take(index)
        elif not is_listed.any():
            places = self._draw(index)
        else:
            places = Places.empty(len(index))
            places.put(np.flatnonzero(is_listed), self._listed_windows.take(index[is_listed]))
            places.put(np.flatnonzero(~is_listed), self._draw(index[~is_listed]))
        return self.starts[places.contig] + places.start, places.length

    def _usable_contigs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Select the contigs that are long enough and can be chosen; return their rows and relative probabilities."""
        rows = rows[self.store.contigs["length"].to_numpy()[rows] >= self.sampling.shortest]
        if not len(rows):
            name = "length" if self.sampling.mode == "fixed" else "min_length"
            raise InputError(
                f"{self.store.path}: no contig has {self.sampling.shortest} nt, the shortest window; "
                f"lower windows.{name}"
            )
        probabilities = relative_probabilities(self.store.contigs.iloc[rows], self.sampling, str(self.store.path))
        return rows[probabilities > 0], probabilities[probabilities > 0]

    def _list_windows(self, rows: np.ndarray) -> Places:
        """List the windows whose places are not drawn anew in every epoch (cuts or tiles); none in the other modes."""
        sampling = self.sampling
        if sampling.mode == "tiles":
            return tile_contigs(self.lengths, sampling.length, sampling.step or sampling.length, sampling.min_length)
        if sampling.mode in ("cuts", "mixed"):
            return cut_side_by_side(self.lengths, sampling, self.seed, rows)
        return Places.empty(0)

    def _with_few_unknown(self, places: Places) -> Places:
        """Select the windows without too many unknown letters."""
        return places.take(~self._too_many_unknown(places)) if len(places.contig) else places

    def _too_many_unknown(self, places: Places) -> np.ndarray:
        """Return which windows have too many unknown letters, bool (windows,)."""
        if not self._unknown:
            return np.zeros(len(places.contig), bool)
        return self._unknown.share(*places) > self.sampling.max_unknown

    def _find_fallback_tiles(self) -> Places:
        """Find tiles with few unknown letters, as a fallback when random draws keep failing."""
        length = self.sampling.length
        while length >= self.sampling.shortest:
            tiles = self._with_few_unknown(tile_contigs(self.lengths, length, length, self.sampling.shortest))
            if len(tiles.contig):
                return tiles
            length //= 2
        # A short stretch of known letters may lie across two tiles.
        if self._unknown:
            places = self._with_few_unknown(self._places_beside_unknown(self._unknown, self.sampling.shortest))
            if len(places.contig):
                return places
        raise self._all_unknown()

    def _places_beside_unknown(self, unknown: UnknownLetters, length: int) -> Places:
        """Place a window after the end of each run of unknown letters, and one before its start.

        If a contig has a window of this length with few unknown letters, one of these has no more, or a tile at an end
        of the contig: elsewhere, moving a window by a nucleotide in one of the two directions adds no unknown letter.
        """
        starts, ends = unknown.runs()
        first = np.maximum(np.concatenate([ends, starts - length]), 0)  # counted over all contigs, one after another
        contig = np.searchsorted(unknown.offsets, first, side="right") - 1
        lengths = np.minimum(length, self.lengths[contig])
        return Places(contig, np.minimum(first - unknown.offsets[contig], self.lengths[contig] - lengths), lengths)

    def _count(self) -> int:
        """Count the windows of an epoch."""
        sampling, num_listed = self.sampling, len(self._listed_windows.contig)
        if sampling.mode in ("sampled", "fixed"):
            return max(1, int(self.lengths.sum() * sampling.coverage / sampling.mean_length))
        if not num_listed:
            raise self._all_unknown()
        return num_listed + round(num_listed * sampling.sampled_per_cut) if sampling.mode == "mixed" else num_listed

    def _all_unknown(self) -> InputError:
        """Build the error for contigs that have no window with few enough unknown letters."""
        return InputError(
            f"{self.store.path}: every window of the selected contigs has more than {self.sampling.max_unknown:.0%} "
            "letters other than A, C, G, T; raise windows.max_unknown or omit these contigs"
        )

    def _draw(self, index: np.ndarray) -> Places:
        """Draw windows at random places: two random numbers for the length, then two for each try of a place."""
        keys = self._keys(index)
        draws = uniform(random_bits(keys, Stream.WINDOW_PLACE, 4))
        lengths = self.sampling.lengths(draws[:, :2])
        places = self._place(draws[:, 2:], lengths)
        failed = np.flatnonzero(self._too_many_unknown(places))
        for attempt in range(1, _MOST_DRAWS):
            if not len(failed):
                return places
            # Each try has its own columns of random numbers, so that it does not depend on the tries of other windows.
            bits = random_bits(keys[failed], Stream.WINDOW_PLACE, 2, 2 + 2 * attempt)
            again = self._place(uniform(bits), lengths[failed])
            places.put(failed, again)
            failed = failed[self._too_many_unknown(again)]
        draws = uniform(random_bits(keys[failed], Stream.WINDOW_PLACE, 1, 2 + 2 * _MOST_DRAWS))[:, 0]
        tiles = self._fallback_tiles
        places.put(failed, tiles.take((draws * len(tiles.contig)).astype(np.int64)))
        return places

    def _place(self, draws: np.ndarray, lengths: np.ndarray) -> Places:
        """Choose a contig by its probability, and any start in it that leaves room for the window.

        Args:
            draws: float64 (windows, 2) in [0, 1).
            lengths: int64 (windows,), nt; windows are shorter on shorter contigs.
        """
        cumulative = self._cumulative_probabilities
        contig = np.searchsorted(cumulative, draws[:, 0] * cumulative[-1], side="right")
        contig_lengths = self.lengths[contig]
        lengths = np.minimum(lengths, contig_lengths)
        return Places(contig, (draws[:, 1] * (contig_lengths - lengths + 1)).astype(np.int64), lengths)

    def _keys(self, index: np.ndarray) -> np.ndarray:
        """Hash (seed, epoch, index) of windows, uint64 (windows,)."""
        return row_keys(self.seed, np.array([self.epoch]), index)
