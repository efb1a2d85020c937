"""Cut labelled genomes into windows: a limited number per genome and, for training, equally many per class.

`labelled_windows` takes the contigs whose labels may be used, cuts them into windows, puts the windows in a random but
reproducible order, and removes those with too many unknown letters. Of this list it keeps the first windows of each
genome and then, to balance the classes, the first of each class. As the order is random, so is the choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..batches.chance import Stream, random_bits_at, row_keys
from ..errors import InputError
from ..genomes.splits import label_subset, labelled_genomes
from ..genomes.store import GenomeStore
from ..genomes.unknown_letters import UnknownLetters
from ..io.text_tables import missing_column
from ..sequence import tile_all
from .labels import class_order
from .sequences import LabelledSequences
from .tables import label_or_class


@dataclass(frozen=True)
class LabelledWindows:
    """How labelled genomes are cut into windows.

    Args:
        length: length of a window in nt.
        train_step: nt from the start of one training window to the start of the next; by default the windows lie side
            by side, and with a step below ``length`` they overlap.
        per_genome: largest number of training windows from one genome.
        test_per_genome: largest number of validation or test windows from one genome (64 in GenomeNet-BERT).
        label_fraction: share of the training genomes whose labels may be used (0.1, 0.01 and 0.001 in GenomeNet-BERT).
        label_genomes: number of training genomes whose labels may be used, instead of a share.
        label_groups: column of the store with groups of related genomes; label_genomes then takes all genomes of one
            group before those of the next, so that few groups are labelled.
        valid_per_genome: largest number of validation windows from one genome; by default as for the test.

    Raises:
        InputError: if a number is out of range, or two options contradict each other.
    """

    length: int = 150
    train_step: int | None = None
    per_genome: int = 1000
    test_per_genome: int = 64
    label_fraction: float = 1.0
    label_genomes: int | None = None
    label_groups: str | None = None
    valid_per_genome: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("length", "train_step", "per_genome", "test_per_genome", "label_genomes", "valid_per_genome"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"data.windows.{name} must be at least 1, not {value}")
        if not 0 < self.label_fraction <= 1:
            raise InputError(
                "data.windows.label_fraction must be above 0 and at most 1, such as 0.1 for 10 %, not "
                f"{self.label_fraction}"
            )
        if self.label_genomes is not None and self.label_fraction != 1:
            raise InputError("data.windows.label_genomes and data.windows.label_fraction exclude each other; omit one")
        if self.label_groups is not None and self.label_genomes is None:
            raise InputError("data.windows.label_groups is for data.windows.label_genomes; set that, or omit it")

    def of_split(self, split: str) -> LabelledWindows:
        """Return how the genomes of a split are cut; all labels of the validation and test split are used.

        Args:
            split: "train", "valid" or "test".
        """
        if split == "train":
            return self
        most = (self.valid_per_genome if split == "valid" else None) or self.test_per_genome
        return replace(
            self, train_step=None, per_genome=most, label_fraction=1.0, label_genomes=None, label_groups=None
        )


def labelled_windows(
    store: GenomeStore,
    split: str | None,
    windows: LabelledWindows,
    *,
    label_column: str = "label",
    names: Sequence[str] | None = None,
    balanced: bool = False,
    max_unknown: float = 0.1,
    seed: int = 0,
) -> LabelledSequences:
    """Cut labelled genomes into windows, and choose a limited number of windows from each genome at random.

    Args:
        store: genomes with a column of class names.
        split: split whose contigs are cut; None takes all contigs.
        windows: length, step and number of the windows; ``train_step``, ``per_genome`` and the labels to use hold for
            every split here, and ``test_per_genome`` and ``valid_per_genome`` are not used.
        label_column: column of the store that holds the class names.
        names: classes of a model, whose order is kept if the store has the same classes; by default they are in the
            order of `class_order`.
        balanced: take equally many windows of each class.
        max_unknown: largest share of letters other than A, C, G, T in a window.
        seed: seed for the choice of genomes and windows; with the same seed, the genomes of a smaller label fraction
            are among the genomes of a larger one.

    Raises:
        InputError: if the store has no column of labels, a label is missing, or a class has no window of that length.

    Source: GenomeNet-BERT, section 3 and A.2 (label fraction = fraction of FASTA files; classes balanced).
    """
    # Rows are those of `store.contigs`, one for each contig; `classes` and `genomes` have an entry for each. A genome
    # (a FASTA file) may have many contigs.
    names, classes = _classes(store, label_column, names)
    rows, length = store.select(split), windows.length
    genomes = store.contigs["genome"].astype(str).to_numpy()
    rows = rows[_may_use_label(store, rows, genomes, classes, windows, seed)]
    contig, start = _shuffled_windows(store, rows, length, windows.train_step or length, seed)
    contig, start = _without_unknown(store, contig, start, length, max_unknown)
    # The windows are in random order, so the first ones of a genome (here) or of a class (below) are a random choice.
    chosen = _rank_within(genomes[contig]) < windows.per_genome
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
        groups=genomes[contig].tolist(),
    )


def _may_use_label(
    store: GenomeStore, rows: np.ndarray, genomes: np.ndarray, classes: np.ndarray, windows: LabelledWindows, seed: int
) -> np.ndarray:
    """Return whether the label of each contig may be used, bool (rows,)."""
    if windows.label_genomes is None and windows.label_fraction == 1:
        return np.ones(len(rows), bool)
    if windows.label_genomes is None:
        return label_subset(genomes[rows], classes[rows], windows.label_fraction, seed)
    groups = None
    if windows.label_groups is not None:
        if windows.label_groups not in store.contigs:
            raise missing_column(str(store.path), windows.label_groups, store.contigs)
        groups = store.contigs[windows.label_groups].to_numpy()[rows]
    try:
        return labelled_genomes(genomes[rows], classes[rows], windows.label_genomes, seed, groups)
    except InputError as error:
        raise InputError(f"{store.path}: {error}; change data.windows.label_genomes") from error


def _shuffled_windows(
    store: GenomeStore, rows: np.ndarray, length: int, step: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut contigs into windows; the end of a contig is dropped if it is shorter than a window.

    Returns:
        The contig (as a row of the store) and the start of each window, int64 (windows,) each, in random order.
    """
    lengths = store.contigs["length"].to_numpy()
    index, start, _ = tile_all(lengths[rows], length, step, end="drop")
    contig = rows[index]
    # The random number of a window depends on seed, contig and start only, not on the other windows. Seed, epoch (0
    # here) and contig give a key; a key stands for a list of random numbers, of which the window takes number `start`.
    keys = row_keys(seed, np.zeros(1), contig)
    bits = random_bits_at(keys, Stream.LABELLED_ORDER, np.arange(len(contig)), start)
    order = np.argsort(bits, kind="stable")
    return contig[order], start[order]


def _without_unknown(
    store: GenomeStore, contig: np.ndarray, start: np.ndarray, length: int, max_unknown: float
) -> tuple[np.ndarray, np.ndarray]:
    """Remove windows with a larger share of unknown letters than ``max_unknown``."""
    rows = np.unique(contig)
    if max_unknown >= 1 or not len(rows):
        return contig, start
    unknown = UnknownLetters(store, rows)
    few_unknown = unknown.share(np.searchsorted(rows, contig), start, np.full(len(start), length)) <= max_unknown
    return contig[few_unknown], start[few_unknown]


def _letters(store: GenomeStore, contig: np.ndarray, start: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """Iterate over the letters of the windows, (length,) each."""
    return (store.window(row, first, length) for row, first in zip(contig.tolist(), start.tolist(), strict=True))


def _classes(store: GenomeStore, column: str, known: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
    """Return the class names of a store and the class number of each contig, the same for every split."""
    column = label_or_class(column, store.contigs, str(store.path))
    if column not in store.contigs:
        raise missing_column(str(store.path), column, store.contigs)
    labels = store.contigs[column]
    if labels.isna().any():
        name = store.contigs["name"][labels.isna()].iloc[0]
        raise InputError(f"{store.path}: contig {name!r} has no {column}; label it in the metadata table, or omit it")
    found = set(labels.astype(str))
    names = list(known) if known and set(known) == found else class_order(found)
    if len(names) < 2:
        raise InputError(f"{store.path}: column {column!r} holds one class only, {names[0]!r}; a classifier needs two")
    number = {name: index for index, name in enumerate(names)}
    return names, np.array([number[name] for name in labels.astype(str)], np.int64)


def _rank_within(groups: np.ndarray) -> np.ndarray:
    """Number the members of each group 0, 1, 2, ... in the order in which they appear.

    >>> _rank_within(np.array(["b", "a", "b", "a", "b"])).tolist()
    [0, 0, 1, 1, 2]
    """
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.searchsorted(ordered, ordered, side="left")
    rank = np.empty(len(groups), np.int64)
    # Sorted by group, the members of a group are neighbours; the rank of each is its distance from the first of them.
    rank[order] = np.arange(len(groups)) - first
    return rank
