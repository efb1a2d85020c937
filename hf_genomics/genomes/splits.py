"""Split genomes, labels and contigs so that nothing is in two splits: pure functions of their arguments and a seed.

Random numbers are a hash of (seed, name), never of a position, so a split does not depend on the order of the input.
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
        contig: row of the contig.
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

    From the heaviest group down, each goes to a split that still has room for it, drawn in proportion to that room; if
    none has, to the split with most room. A split therefore exceeds its share by less than one group.

    Args:
        groups: (rows,) group of each genome or contig, such as species, cluster or the genome itself.
        fractions: shares of train, valid and test, which sum to 1.
        seed: seed of the split.
        weights: (rows,) size of each row, for example in nt; by default all rows have the same.

    Returns:
        (rows,) of "train", "valid" or "test".

    Raises:
        InputError: if the fractions do not sum to 1, a group has no name, or there are fewer groups than splits.
    """
    _check_fractions(fractions)
    sizes = _group_sizes(groups, weights)
    sides = [side for side in range(3) if fractions[side] > 0]
    if len(sizes) < len(sides):
        raise InputError(
            f"{len(sizes)} group(s) cannot fill {len(sides)} splits without being in two of them; "
            "give more genomes, finer groups, or a fraction of 0"
        )
    assigned = _assign(sizes, {side: fractions[side] * sum(sizes.values()) for side in sides}, seed)
    return np.array([SPLITS[assigned[str(group)]] for group in groups])


def label_subset(genomes: Sequence[str], labels: Sequence[object], fraction: float, seed: int = 0) -> np.ndarray:
    """Choose the genomes whose labels an experiment with few labels may use.

    The same share of every class is chosen, rounded to the nearest whole number of genomes (half up), and at least one.
    For one seed, a smaller subset lies inside a larger one.

    Args:
        genomes: (rows,) genome (FASTA file) of each row; all rows of a genome are chosen or none.
        labels: (rows,) class of each row; a genome has one class.
        fraction: share of labelled genomes, above 0 and at most 1.
        seed: seed of the choice.

    Returns:
        (rows,) bool, True where the label may be used.

    Raises:
        InputError: if ``fraction`` is out of range or a genome has two classes.

    Source: GenomeNet-BERT, label fraction = fraction of FASTA files (10, 1 and 0.1 %).
    """
    if not 0 < fraction <= 1:
        raise InputError(f"label fraction {fraction} must be above 0 and at most 1, such as 0.1 for 10 %")
    members: dict[str, list[str]] = {}
    for genome, label in _one_value_each(genomes, labels, "genome", "classes").items():
        members.setdefault(label, []).append(genome)
    chosen: set[str] = set()
    for names in members.values():
        names.sort(key=lambda name: (_chance(seed, name), name))
        # Not round(), which rounds halves to even: 10 % of 25 genomes would be 2, of 35 genomes 4.
        chosen.update(names[: max(1, math.floor(fraction * len(names) + 0.5))])
    return np.array([str(genome) in chosen for genome in genomes], bool)


def split_regions(lengths: Sequence[int], fractions: tuple[float, float, float], gap: int) -> list[Region]:
    """Cut every contig into a train, a valid and a test region, in this order, with ``gap`` unused nt between them.

    Use this if there is only one genome; splitting genomes (`split_genomes`) is the better test.

    Args:
        lengths: (contigs,) nt.
        fractions: shares of train, valid and test in the nt outside the gaps; a split with share 0 gets no region.
        gap: nt between two regions; use at least the length of a window, so that no window lies in two regions.

    Returns:
        The regions, contig after contig.

    Raises:
        InputError: if the fractions do not sum to 1, or a contig is too short to be cut.
    """
    _check_fractions(fractions)
    if gap < 0:
        raise InputError(f"gap {gap} must be 0 nt or more")
    sides = [side for side in range(3) if fractions[side] > 0]
    shares = np.cumsum([fractions[side] for side in sides])
    regions = []
    for contig, length in enumerate(lengths):
        usable = int(length) - gap * (len(sides) - 1)
        ends = [round(share * usable) for share in shares[:-1]] + [usable]
        starts = [0, *ends[:-1]]
        if any(end <= start for start, end in zip(starts, ends, strict=True)):
            raise InputError(
                f"contig {contig} of {length} nt is too short for {len(sides)} regions with {gap} nt between; "
                "lower the gap or omit the contig"
            )
        # Starts and ends do not count the gaps: region i lies i gaps further on.
        cuts = zip(sides, starts, ends, strict=True)
        regions += [Region(contig, a + i * gap, b + i * gap, SPLITS[side]) for i, (side, a, b) in enumerate(cuts)]
    return regions


def check_disjoint(groups: Sequence[str], splits: Sequence[str]) -> None:
    """Check that no group is in two splits.

    Args:
        groups: (rows,) group of each row.
        splits: (rows,) split of each row.

    Raises:
        InputError: naming the first group that is in two splits.
    """
    _one_value_each(groups, splits, "group", "splits")


def _one_value_each(keys: Sequence[str], values: Sequence[object], key_word: str, value_word: str) -> dict[str, str]:
    """Map each key to its value, both as text, and check that no key has two values."""
    if len(keys) != len(values):
        raise InputError(f"{len(keys)} {key_word}s do not fit {len(values)} {value_word}; give one for each row")
    found: dict[str, str] = {}
    for row, (key, value) in enumerate(zip(_names(keys, key_word), _names(values, value_word), strict=True), start=1):
        if found.setdefault(key, value) != value:
            raise InputError(
                f"{key_word} {key!r} is in two {value_word}, {found[key]!r} and (row {row}) {value!r}; "
                f"give all its rows the same one, or rename one {key_word}"
            )
    return found


def _names(values: Iterable[object], word: str) -> Iterable[str]:
    """Yield values as text, and check that none is missing (None, NaN, empty)."""
    for row, value in enumerate(values, start=1):
        if pd.isna(value) or value == "":
            raise InputError(f"row {row}: no name for its {word}; fill it in")
        yield str(value)


def _group_sizes(groups: Sequence[str], weights: Sequence[int] | None) -> dict[str, float]:
    """Sum the weights of the rows of each group."""
    if weights is None:
        weights = [1] * len(groups)
    if len(weights) != len(groups):
        raise InputError(f"{len(weights)} weights do not fit {len(groups)} groups; give one for each row")
    sizes: dict[str, float] = {}
    for group, weight in zip(_names(groups, "group"), weights, strict=True):
        if not 0 <= weight < math.inf:
            raise InputError(f"group {group!r}: weight {weight} must be 0 or more")
        sizes[group] = sizes.get(group, 0) + float(weight)
    return sizes


def _assign(sizes: dict[str, float], room: dict[int, float], seed: int) -> dict[str, int]:
    """Assign every group to a split, by the rule of `split_genomes`.

    Args:
        sizes: weight of each group.
        room: weight that each split may still take; it is changed.
        seed: seed of the draws.
    """
    assigned: dict[str, int] = {}
    empty = set(room)
    for group in sorted(sizes, key=lambda name: (-sizes[name], _chance(seed, name), name)):
        must_fill = len(sizes) - len(assigned) <= len(empty)  # the last groups go to splits that are still empty
        open_sides = sorted(empty if must_fill else room)
        fitting = [side for side in open_sides if room[side] >= sizes[group] > 0]
        if fitting:
            side = _draw(fitting, room, _chance(seed, f"side of {group}"))
        else:
            side = max(open_sides, key=lambda name: room[name])
        assigned[group] = side
        room[side] -= sizes[group]
        empty.discard(side)
    return assigned


def _draw(sides: list[int], room: dict[int, float], chance: float) -> int:
    """Draw a split with a probability in proportion to its room; ``chance`` is uniform in [0, 1)."""
    edges = np.cumsum([room[side] for side in sides])
    return sides[min(int(np.searchsorted(edges, chance * edges[-1], side="right")), len(sides) - 1)]


def _chance(seed: int, name: str) -> float:
    """Return a number in [0, 1) that depends on the seed and the name only."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _check_fractions(fractions: tuple[float, float, float]) -> None:
    """Check that there are three shares that sum to 1."""
    if len(fractions) != 3 or not all(0 <= share <= 1 for share in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"fractions {tuple(fractions)} must be three shares (train, valid, test) that sum to 1")
