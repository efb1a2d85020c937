"""Windows of a genome store: which stretch of which contig is example number i of epoch e."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..errors import InputError
from ..sequence import LETTER_CODE, reverse_complement
from .chance import random_bits, uniform
from .store import GenomeStore

_PLACE, _LENGTH, _FULL, _STRAND = range(100, 104)


@dataclass(frozen=True)
class WindowSampling:
    """How pretraining windows are drawn.

    Args:
        length: full window length in nt.
        min_length: shortest window in nt.
        full_share: share of windows of full length; the others are uniform in min_length..length.
        coverage: windows in one epoch, as how often the nucleotides of the selected contigs are covered.
        rc_probability: chance to read a window from the opposite strand.
        max_unknown: windows with a larger share of letters other than A, C, G, T are replaced by another draw.

    Source: DNABERT (cuts of 5..510 nt, half of them full length); GenomeNet-BERT section 2 (sampled lengths, places).
    """

    length: int = 510
    min_length: int = 5
    full_share: float = 0.5
    coverage: float = 1.0
    rc_probability: float = 0.0
    max_unknown: float = 0.5

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= self.min_length <= self.length:
            raise InputError(f"windows: min_length must lie in 1..length ({self.length}), not {self.min_length}")
        for name in ("full_share", "rc_probability", "max_unknown"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"windows: {name} must lie in 0..1, not {getattr(self, name)}")
        if self.coverage <= 0:
            raise InputError(f"windows: coverage must be positive, not {self.coverage}")

    @property
    def mean_length(self) -> float:
        """Mean window length in nt, before cuts at contig ends."""
        return self.full_share * self.length + (1 - self.full_share) * (self.min_length + self.length) / 2


class WindowDataset(Dataset):
    """Random windows of a genome store: a map-style dataset of rows ``sequence``, ``window_index``, ``epoch``.

    Row i is a pure function of (seed, epoch, i): the place is uniform over all nucleotides of the selected
    contigs, so long contigs get windows in proportion to their length; a window never crosses a contig's end and
    is shorter on shorter contigs.

    Args:
        store: the genome store.
        sampling: how windows are drawn.
        contigs: row numbers of the contigs to draw from (``store.select("train")``); by default all.
        seed: of all draws.

    Raises:
        InputError: if no contig is at least ``min_length`` nt long.
    """

    def __init__(
        self,
        store: GenomeStore,
        sampling: WindowSampling | None = None,
        contigs: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        self.store, self.sampling, self.seed, self.epoch = store, sampling or WindowSampling(), seed, 0
        rows = np.arange(len(store.contigs)) if contigs is None else np.asarray(contigs)
        lengths = store.contigs["length"].to_numpy()[rows]
        rows = rows[lengths >= self.sampling.min_length]
        if not len(rows):
            raise InputError(
                f"{store.path}: no contig has {self.sampling.min_length} nt, the shortest window; "
                "lower windows.min_length"
            )
        self.starts = store.contigs["start"].to_numpy()[rows]
        self.lengths = store.contigs["length"].to_numpy()[rows]
        self.ends = np.cumsum(self.lengths)
        self.size = max(1, int(self.ends[-1] * self.sampling.coverage / self.sampling.mean_length))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; each has other windows."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Windows in one epoch."""
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one row."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Return many rows at once."""
        index = np.asarray(indices, np.int64)
        starts, lengths = self.places(index)
        turned = self._uniform(index, _STRAND, 1)[:, 0] < self.sampling.rc_probability
        letters = np.asarray(self.store.letters)  # slices of a memory map itself are slow
        ends = starts + lengths
        rows = [letters[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        return [
            {"sequence": reverse_complement(row) if turn else row, "window_index": number, "epoch": self.epoch}
            for row, turn, number in zip(rows, turned.tolist(), indices, strict=True)
        ]

    def places(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw start (in the store's letters) and length in nt of each window, (rows,) each."""
        chosen = self.sampling
        draws = self._uniform(index, _LENGTH, 1)[:, 0]
        spread = chosen.min_length + (draws * (chosen.length - chosen.min_length + 1)).astype(np.int64)
        full = self._uniform(index, _FULL, 1)[:, 0] < chosen.full_share
        wanted = np.where(full, chosen.length, spread)
        tries = self._uniform(index, _PLACE, 4)
        starts, lengths = self._place(tries[:, 0], wanted)
        for attempt in range(1, tries.shape[1]):
            poor = np.flatnonzero(self._unknown(starts, lengths) > chosen.max_unknown)
            if not len(poor):
                break
            starts[poor], lengths[poor] = self._place(tries[poor, attempt], wanted[poor])
        return starts, lengths

    def _place(self, draw: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nucleotide = (draw * self.ends[-1]).astype(np.int64)
        contig = np.searchsorted(self.ends, nucleotide, side="right")
        within = nucleotide - (self.ends[contig] - self.lengths[contig])
        length = np.minimum(wanted, self.lengths[contig])
        # The nucleotide drawn is scaled to the possible starts: places near a contig's end are as likely as any other.
        start = within * (self.lengths[contig] - length + 1) // self.lengths[contig]
        return self.starts[contig] + start, length

    def _unknown(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        if self.sampling.max_unknown >= 1:
            return np.zeros(len(starts))
        letters = np.asarray(self.store.letters)
        pairs = zip(starts.tolist(), lengths.tolist(), strict=True)
        return np.array([share_unknown(letters[start : start + length]) for start, length in pairs])

    def _uniform(self, index: np.ndarray, stream: int, columns: int) -> np.ndarray:
        epoch = np.full(len(index), self.epoch)
        return uniform(random_bits(self.seed, epoch, index, stream, columns))


def share_unknown(letters: np.ndarray) -> float:
    """Give the share of letters that are not A, C, G, T (or U), either case.

    >>> share_unknown(np.frombuffer(b"ACgN", np.uint8))
    0.25
    """
    return float((LETTER_CODE[letters] > 3).mean()) if len(letters) else 0.0
