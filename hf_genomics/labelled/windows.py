"""Labelled windows: genomes with a class cut into examples, fairly over genomes and classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..batches.chance import Stream, random_bits_at, row_keys
from ..errors import InputError
from ..genomes.splits import label_subset
from ..genomes.store import GenomeStore
from ..genomes.unknown_letters import UnknownLetters
from ..sequence import IGNORE_INDEX, tile_all
from .sequences import LabelledSequences
from .tables import label_or_class


@dataclass(frozen=True)
class LabelledWindows:
    """How labelled genomes are cut into windows.

    Args:
        length: nt of a window.
        train_step: nt from the start of one training window to the start of the next; by default they lie side by side,
            and less than ``length`` lets them overlap.
        per_genome: most training windows from one genome.
        test_per_genome: most validation and test windows from one genome (the paper's 64).
        label_fraction: share of the training genomes whose labels may be used (the paper's 0.1, 0.01, 0.001).

    Raises:
        InputError: if a number is out of range.
    """

    length: int = 150
    train_step: int | None = None
    per_genome: int = 1000
    test_per_genome: int = 64
    label_fraction: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("length", "train_step", "per_genome", "test_per_genome"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"data.windows.{name} must be at least 1, not {value}")
        if not 0 < self.label_fraction <= 1:
            raise InputError(
                "data.windows.label_fraction must be above 0 and at most 1, such as 0.1 for 10 %, not "
                f"{self.label_fraction}"
            )


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
    index, start, _ = tile_all(lengths[rows], length, step, end="drop")
    contig = rows[index]
    chance = random_bits_at(row_keys(seed, np.zeros(1), contig), Stream.LABELLED_ORDER, np.arange(len(contig)), start)
    order = np.argsort(chance, kind="stable")
    return contig[order], start[order]


def _without_unknown(
    store: GenomeStore, contig: np.ndarray, start: np.ndarray, length: int, max_unknown: float
) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the windows with a larger share of unknown letters than ``max_unknown``."""
    rows = np.unique(contig)
    if max_unknown >= 1 or not len(rows):
        return contig, start
    unknown = UnknownLetters(store, rows)
    known = unknown.share(np.searchsorted(rows, contig), start, np.full(len(start), length)) <= max_unknown
    return contig[known], start[known]


def _letters(store: GenomeStore, contig: np.ndarray, start: np.ndarray, length: int) -> Iterator[np.ndarray]:
    return (store.window(row, first, length) for row, first in zip(contig.tolist(), start.tolist(), strict=True))


def _classes(store: GenomeStore, column: str) -> tuple[list[str], np.ndarray]:
    """Number the classes of all contigs, so that every split of a store agrees."""
    column = label_or_class(column, store.contigs, str(store.path))
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
        row |= columns_beside(self.examples, index)
        return row if self.examples.labels is None else {**row, "label": self._label(index)}

    def _label(self, index: int) -> Any:
        """Give a row's label, in the way that the Trainer counts the labels there are: -100 where not measured."""
        label = self.examples.known_labels[index]
        return (
            np.nan_to_num(label, nan=IGNORE_INDEX) if self.examples.problem == "multi_label_classification" else label
        )


def columns_beside(examples: LabelledSequences, index: int) -> dict[str, Any]:
    """Return what stands beside the sequence and the label of a row, under the names that the collator reads."""
    columns: dict[str, Any] = {"pair": examples.pairs, "nt_labels": examples.nt_labels}
    columns |= {"tracks": examples.tracks, "nt_tracks": examples.nt_tracks}
    return {name: column[index] for name, column in columns.items() if column is not None}
