"""Windows of a genome store: which stretch of which contig is example number i of epoch e."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..errors import InputError
from ..sequence import LETTER_CODE, reverse_complement
from .collators import mix, random_bits
from .splits import label_subset
from .store import GenomeStore
from .tables import LabelledSequences

_PLACE, _LENGTH, _FULL, _STRAND = range(100, 104)
_UNIT = 2.0**-53


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
        # 53 bits are what a float holds; all 64 could round up to 1, which is no place.
        return (random_bits(self.seed, epoch, index, stream, columns) >> np.uint64(11)) * _UNIT


def tile(length: int, window: int, step: int) -> np.ndarray:
    """Give the starts of windows of ``window`` nt, every ``step`` nt, that fit into ``length`` nt.

    >>> tile(10, window=4, step=3).tolist(), tile(3, window=4, step=3).tolist()
    ([0, 3, 6], [])
    """
    return np.arange(0, max(0, length - window + 1), step)


def share_unknown(letters: np.ndarray) -> float:
    """Give the share of letters that are not A, C, G, T (or U), either case.

    >>> share_unknown(np.frombuffer(b"ACgN", np.uint8))
    0.25
    """
    return float((LETTER_CODE[letters] > 3).mean()) if len(letters) else 0.0


def labelled_windows(
    store: GenomeStore,
    split: str | None,
    *,
    length: int,
    per_genome: int,
    label_column: str = "label",
    label_fraction: float = 1.0,
    balanced: bool = False,
    step: int | None = None,
    max_unknown: float = 0.1,
    seed: int = 0,
) -> LabelledSequences:
    """Cut labelled genomes into windows side by side, at most ``per_genome`` from each, chosen by chance.

    Args:
        store: with a column of class names.
        split: which contigs.
        length: nt.
        per_genome: most windows from one genome.
        label_column: column of the store that holds the class names.
        label_fraction: share of genomes of each class whose labels may be used.
        balanced: equally many windows of each class.
        step: nt from one window to the next; less than ``length`` lets them overlap.
        max_unknown: largest share of letters other than A, C, G, T in a window.
        seed: of the choice of genomes and windows; a smaller fraction's genomes lie inside a larger one's.

    Raises:
        InputError: if the store has no such labels, or a class has no window of that length.

    Source: GenomeNet-BERT, section 3 and A.2 (label fraction = fraction of FASTA files; classes balanced).
    """
    names, classes = _classes(store, label_column)
    rows = store.select(split)
    genomes = store.contigs["genome"].astype(str).to_numpy()
    if label_fraction < 1:
        rows = rows[label_subset(genomes[rows], classes[rows], label_fraction, seed)]
    contig, start = _shuffled_windows(store, rows, length, step or length, seed)
    contig, start = _without_unknown(store, contig, start, length, max_unknown)
    chosen = _rank_within(genomes[contig]) < per_genome
    contig, start = contig[chosen], start[chosen]
    counts = np.bincount(classes[contig], minlength=len(names))
    if not counts.all():
        raise InputError(
            f"{store.path}: split {split!r} has no window of {length} nt of class {names[int(counts.argmin())]!r}; "
            "shorten the windows or take more genomes"
        )
    if balanced:
        chosen = _rank_within(classes[contig]) < counts.min()
        contig, start = contig[chosen], start[chosen]
    titles = store.contigs["name"].to_numpy()[contig]
    return LabelledSequences(
        source=str(store.path),
        ids=[f"{title}:{first}-{first + length}" for title, first in zip(titles, start.tolist(), strict=True)],
        sequences=list(_letters(store, contig, start, length)),
        labels=classes[contig],
        label_names=names,
    )


def _shuffled_windows(
    store: GenomeStore, rows: np.ndarray, length: int, step: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut contigs into windows; returns contig and start of each, (windows,) both, in an order drawn by chance."""
    lengths = store.contigs["length"].to_numpy()
    tiles = [tile(int(lengths[row]), length, step) for row in rows]
    contig, start = np.repeat(rows, [len(starts) for starts in tiles]), np.concatenate([np.zeros(0, int), *tiles])
    chance = random_bits(seed, np.zeros(len(contig)), contig, _PLACE, 1)[:, 0] ^ mix(start)
    order = np.argsort(mix(chance), kind="stable")
    return contig[order], start[order]


def _without_unknown(
    store: GenomeStore, contig: np.ndarray, start: np.ndarray, length: int, max_unknown: float
) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the windows with a larger share of unknown letters than ``max_unknown``."""
    shares = (share_unknown(letters) for letters in _letters(store, contig, start, length))
    known = np.fromiter(shares, float, len(contig)) <= max_unknown
    return contig[known], start[known]


def _letters(store: GenomeStore, contig: np.ndarray, start: np.ndarray, length: int) -> Iterator[np.ndarray]:
    return (store.window(row, first, length) for row, first in zip(contig.tolist(), start.tolist(), strict=True))


def _classes(store: GenomeStore, column: str) -> tuple[list[str], np.ndarray]:
    """Number the classes of all contigs, so that every split of a store agrees."""
    if column not in store.contigs:
        there = ", ".join(map(repr, store.contigs.columns))
        raise InputError(f"{store.path}: no column {column!r} to take labels from; the columns are {there}")
    labels = store.contigs[column]
    if labels.isna().any():
        name = store.contigs["name"][labels.isna()].iloc[0]
        raise InputError(
            f"{store.path}: contig {name!r} has no {column}; label it in the metadata table or leave it out"
        )
    names = sorted(labels.astype(str).unique())
    if len(names) < 2:
        raise InputError(f"{store.path}: column {column!r} holds one class only, {names[0]!r}; a classifier needs two")
    return names, np.searchsorted(names, labels.astype(str))


def _rank_within(groups: np.ndarray) -> np.ndarray:
    """Number the members of each group in the order given: 0, 1, 2, ..."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.searchsorted(ordered, ordered, side="left")
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - first
    return rank


class SequenceDataset(Dataset):
    """Labelled or unlabelled sequences as rows ``sequence``, ``label``, ``window_index``, ``epoch``.

    Args:
        examples: the sequences.
        keep_strand: no row may be shown from the opposite strand (validation and test).
    """

    def __init__(self, examples: LabelledSequences, keep_strand: bool = False) -> None:
        self.examples, self.keep_strand, self.epoch = examples, keep_strand, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (of the reverse-complement draws)."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one row."""
        row = {"sequence": self.examples.sequences[index], "window_index": index, "epoch": self.epoch}
        row |= {"keep_strand": True} if self.keep_strand else {}
        return row if self.examples.labels is None else {**row, "label": self.examples.labels[index]}
