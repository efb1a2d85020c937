"""Split genomes, labels and contigs so that nothing is in two splits: pure functions of their arguments and a seed.

Random numbers are a hash of (seed, name), not of a position, so a split does not depend on the order of the input.
Adding or removing a group may move other groups, so keep the split that a model was trained with.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import InputError

SPLITS = ("train", "valid", "test")


class Region(NamedTuple):
    """A stretch of a contig that belongs to one split.

    Attributes:
        contig: index of the contig.
        start: first nt, 0-based.
        end: nt after the last one.
        split: "train", "valid" or "test".
    """

    contig: int
    start: int
    end: int
    split: str


def split_genomes(
    groups: Sequence[str],
    fractions: tuple[float, float, float],
    seed: int = 0,
    weights: Sequence[int] | None = None,
) -> np.ndarray:
    """Assign groups of genomes to train, valid and test; a group is never in two splits.

    Groups are dealt from the heaviest down, so one large group, such as a species with most of the genomes, is almost
    always in train. Each goes to a split that still has room for it, chosen at random in
    proportion to the room left; if no split has enough room, to the one with the most room. When only as many groups
    remain as there are empty splits, each must fill an empty one. A split exceeds its share by less than one group.

    Args:
        groups: (rows,) group of each genome or contig, such as species, cluster or the genome itself.
        fractions: shares of train, valid and test, which sum to 1.
        seed: seed of the split; a different seed gives a different split.
        weights: (rows,) size of each row, for example in nt; by default all rows count the same.

    Returns:
        (rows,) of "train", "valid" or "test".

    Raises:
        InputError: if the fractions do not sum to 1, a group has no name, or there are fewer groups than splits with a
            fraction above 0.
    """
    _check_fractions(fractions)
    sizes = _group_sizes(groups, weights)
    used = [split for split in range(3) if fractions[split] > 0]
    if len(sizes) < len(used):
        raise InputError(
            f"{len(sizes)} group(s) cannot fill {len(used)} splits without being in two of them; "
            "give more genomes, finer groups, or a fraction of 0"
        )
    assigned = _assign(sizes, {split: fractions[split] * sum(sizes.values()) for split in used}, seed)
    return np.array([SPLITS[assigned[str(group)]] for group in groups])


def label_subset(genomes: Sequence[str], labels: Sequence[object], fraction: float, seed: int = 0) -> np.ndarray:
    """Choose a share of the genomes of every class, whose labels an experiment with few labels may use.

    The same share of every class is chosen, rounded to the nearest whole number of genomes (half up), and at least one.
    For one seed, a smaller subset lies inside a larger one.

    Args:
        genomes: (rows,) genome (FASTA file) of each row; all rows of a genome are chosen or none.
        labels: (rows,) class of each row; a genome has one class.
        fraction: share of labelled genomes, above 0 and at most 1.
        seed: seed of the choice; a different seed gives a different subset.

    Returns:
        (rows,) bool, True where the label may be used.

    Raises:
        InputError: if ``fraction`` is out of range or a genome has two classes.

    Source: GenomeNet-BERT, label fraction = fraction of FASTA files (10, 1 and 0.1 %).
    """
    if not 0 < fraction <= 1:
        raise InputError(f"label fraction {fraction} must be above 0 and at most 1, such as 0.1 for 10 %")
    members: dict[str, list[str]] = {}
    for genome, label in _one_value_each(genomes, labels, "genome", "class").items():
        members.setdefault(label, []).append(genome)
    chosen: set[str] = set()
    for names in members.values():
        names.sort(key=lambda name: (_uniform(seed, name), name))
        # Not round(), which rounds halves to even: 10 % of 25 genomes would be 2, of 35 genomes 4.
        chosen.update(names[: max(1, math.floor(fraction * len(names) + 0.5))])
    return np.array([str(genome) in chosen for genome in genomes], bool)


def labelled_genomes(
    genomes: Sequence[str],
    labels: Sequence[object],
    count: int,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> np.ndarray:
    """Choose a number of genomes, shared among the classes, whose labels an experiment with few labels may use.

    Every class gets one genome, and the rest is shared in proportion to the sizes of the classes (the Sainte-Laguë
    method, which parliaments use to share seats among parties). For one seed, a smaller subset lies inside a larger
    one. Without ``groups``, the genomes of a class are those of `label_subset` wherever both choose equally many.

    Args:
        genomes: (rows,) genome (FASTA file) of each row; all rows of a genome are chosen or none.
        labels: (rows,) class of each row; a genome has one class.
        count: number of genomes to choose.
        seed: seed of the choice; a different seed gives a different subset.
        groups: (rows,) group of relatives of each row. The genomes of a class are then taken group by group, so that a
            small subset holds few groups, as if one had labelled a few families; by default, genome by genome.

    Returns:
        (rows,) bool, True where the label may be used.

    Raises:
        InputError: if there are fewer genomes, or more classes, than ``count``, or a genome has two classes or groups.

    >>> labelled_genomes(["a", "b", "c", "d"], ["x", "x", "x", "y"], 2).tolist()
    [False, False, True, True]
    """
    group_of = _one_value_each(genomes, genomes if groups is None else groups, "genome", "group")
    members: dict[str, list[str]] = {}
    for genome, label in _one_value_each(genomes, labels, "genome", "class").items():
        members.setdefault(label, []).append(genome)
    most = sum(map(len, members.values()))
    if not len(members) <= count <= most:
        raise InputError(f"{count} labelled genomes: there must be {len(members)} (one per class) to {most} (all)")
    chosen: set[str] = set()
    for label, size in _seats({label: len(names) for label, names in members.items()}, count).items():
        key = {name: (_uniform(seed, group_of[name]), group_of[name]) for name in members[label]}
        chosen.update(sorted(members[label], key=lambda name: (*key[name], _uniform(seed, name), name))[:size])
    return np.array([str(genome) in chosen for genome in genomes], bool)


def split_regions(lengths: Sequence[int], fractions: tuple[float, float, float], gap: int) -> list[Region]:
    """Cut every contig into a train, a valid and a test region, in this order, with ``gap`` unused nt between them.

    Use this for data that consist of one genome. With several genomes use `split_genomes`: whole genomes held out are
    the better test.

    Args:
        lengths: (contigs,) length of each contig in nt.
        fractions: shares of train, valid and test in the nucleotides outside the gaps; a split with share 0 gets no
            region.
        gap: nt between two regions that belong to no split; use at least the length of a window, so that no window of
            one split is a direct neighbour of a window of another.

    Returns:
        The regions, contig after contig.

    Raises:
        InputError: if the fractions do not sum to 1, or a contig is too short to be cut.
    """
    _check_fractions(fractions)
    if gap < 0:
        raise InputError(f"gap {gap} must be 0 nt or more")
    used = [split for split in range(3) if fractions[split] > 0]
    shares = np.cumsum([fractions[split] for split in used])
    regions = []
    for contig, length in enumerate(lengths):
        usable = int(length) - gap * (len(used) - 1)
        ends = [round(share * usable) for share in shares[:-1]] + [usable]
        starts = [0, *ends[:-1]]
        if any(end <= start for start, end in zip(starts, ends, strict=True)):
            raise InputError(
                f"contig {contig} of {length} nt is too short for {len(used)} regions with {gap} nt between; "
                "lower the gap, or omit the contig"
            )
        # Starts and ends do not count the gaps: region i lies i gaps further on.
        cuts = zip(used, starts, ends, strict=True)
        regions += [Region(contig, a + i * gap, b + i * gap, SPLITS[split]) for i, (split, a, b) in enumerate(cuts)]
    return regions


def check_disjoint(groups: Sequence[str], splits: Sequence[str]) -> None:
    """Check that no group is in two splits.

    Args:
        groups: (rows,) group of each row.
        splits: (rows,) split of each row.

    Raises:
        InputError: if a group is in two splits; the message names the first one.
    """
    _one_value_each(groups, splits, "group", "split")


def _one_value_each(keys: Sequence[str], values: Sequence[object], key_word: str, value_word: str) -> dict[str, str]:
    """Map each key to its value, both as text, and check that no key has two values.

    Args:
        keys: (rows,) the keys.
        values: (rows,) the values.
        key_word: what a key is, for messages: "genome" or "group".
        value_word: what a value is: "class", "group" or "split".
    """
    _check_lengths(keys, key_word, values, value_word)
    found: dict[str, str] = {}
    for row, (key, value) in enumerate(zip(_names(keys, key_word), _names(values, value_word), strict=True), start=1):
        if found.setdefault(key, value) != value:
            raise InputError(
                f"{key_word} {key!r} is in two {_plural(value_word)}, {found[key]!r} and (row {row}) {value!r}; "
                f"give all its rows the same one, or rename one {key_word}"
            )
    return found


def _check_lengths(keys: Sequence[object], key_word: str, values: Sequence[object], value_word: str) -> None:
    """Check that there is a value for each key."""
    if len(keys) != len(values):
        counts = [
            f"{len(items)} {word if len(items) == 1 else _plural(word)}"
            for items, word in ((keys, key_word), (values, value_word))
        ]
        raise InputError(f"{counts[0]}, but {counts[1]}; give one {value_word} for each row")


def _plural(word: str) -> str:
    """Return the plural of a word."""
    return word + ("es" if word.endswith("s") else "s")


def _names(values: Iterable[object], word: str) -> Iterable[str]:
    """Yield values as text, and check that none is missing (None, NaN, empty)."""
    for row, value in enumerate(values, start=1):
        if pd.isna(value) or value == "":
            raise InputError(f"row {row} has no {word}; fill it in")
        yield str(value)


def _group_sizes(groups: Sequence[str], weights: Sequence[int] | None) -> dict[str, float]:
    """Sum the weights of the rows of each group."""
    if weights is None:
        weights = [1] * len(groups)
    _check_lengths(groups, "group", weights, "weight")
    sizes: dict[str, float] = {}
    for group, weight in zip(_names(groups, "group"), weights, strict=True):
        if not 0 <= weight < math.inf:
            raise InputError(f"group {group!r}: weight {weight} must be a finite number, 0 or more")
        sizes[group] = sizes.get(group, 0) + float(weight)
    return sizes


def _seats(sizes: dict[str, int], count: int) -> dict[str, int]:
    """Share ``count`` places among classes by the method of Sainte-Laguë, at least one each.

    Places are given one after another, so that no class loses one when ``count`` grows: subsets are nested. Of classes
    with the same quotient, the first one in alphabetical order gets the place.

    >>> _seats({"phage": 380, "other": 2239}, 26)
    {'phage': 4, 'other': 22}
    """
    seats = dict.fromkeys(sizes, 1)
    for _ in range(count - len(sizes)):
        open_classes = [label for label in sorted(sizes) if seats[label] < sizes[label]]
        seats[max(open_classes, key=lambda label: sizes[label] / (2 * seats[label] + 1))] += 1
    return seats


def _assign(sizes: dict[str, float], room: dict[int, float], seed: int) -> dict[str, int]:
    """Assign every group to a split, by the rule of `split_genomes`.

    Args:
        sizes: weight of each group.
        room: weight that each split may still take; it is changed in place.
        seed: seed of the draws.
    """
    assigned: dict[str, int] = {}
    empty = set(room)
    for group in sorted(sizes, key=lambda name: (-sizes[name], _uniform(seed, name), name)):
        # When only as many groups remain as there are empty splits, each must fill an empty one.
        must_fill = len(sizes) - len(assigned) <= len(empty)
        open_splits = sorted(empty if must_fill else room)
        # A group of weight 0 fits everywhere; it goes to the split with the most room instead of a random one.
        fitting = [split for split in open_splits if room[split] >= sizes[group] > 0]
        if fitting:
            # Do not change this text ("side" means split): it determines every existing split.
            chosen = _draw(fitting, room, _uniform(seed, f"side of {group}"))
        else:
            chosen = max(open_splits, key=lambda split: room[split])
        assigned[group] = chosen
        room[chosen] -= sizes[group]
        empty.discard(chosen)
    return assigned


def _draw(splits: list[int], room: dict[int, float], draw: float) -> int:
    """Choose a split with a probability in proportion to its room; ``draw`` is uniform in [0, 1)."""
    edges = np.cumsum([room[split] for split in splits])
    return splits[min(int(np.searchsorted(edges, draw * edges[-1], side="right")), len(splits) - 1)]


def _uniform(seed: int, name: str) -> float:
    """Hash the seed and a name into a number in [0, 1)."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53  # 53 bits, the precision of a float


def are_shares(shares: Sequence[float]) -> bool:
    """Return whether these are three shares (train, valid, test) that sum to 1."""
    return len(shares) == 3 and all(0 <= share <= 1 for share in shares) and abs(sum(shares) - 1) <= 1e-6


def _check_fractions(fractions: tuple[float, float, float]) -> None:
    """Check that there are three shares that sum to 1."""
    if not are_shares(fractions):
        raise InputError(f"fractions {tuple(fractions)} must be three shares (train, valid, test) that sum to 1")
