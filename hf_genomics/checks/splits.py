"""Split one table into training, validation and test rows, with everything that belongs together in one split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..genomes.splits import SPLITS
from ..labelled.data import LabelledData
from ..labelled.sequences import LabelledSequences
from .leaks import row_hashes
from .meaning import class_counts
from .sketch import Sketch, near_duplicate_pairs

logger = logging.getLogger(__name__)

_GAP = np.zeros(1, np.uint8)  # between two sequences; not a nucleotide
_BATCH_ROWS = 1024  # rows that are sketched together


class TableSplit(NamedTuple):
    """The splits of one table.

    Attributes:
        splits: rows of each split with a share above 0, by name; none is empty.
        facts: how the table was split, as metrics.json holds it.
    """

    splits: dict[str, LabelledSequences]
    facts: dict[str, Any]


def split_table(examples: LabelledSequences, data: LabelledData) -> TableSplit:
    """Split the rows of a table by ``data.split``; the same rows and options give the same splits.

    Args:
        examples: all rows of the table.
        data: the `data` section: shares, the identity of near-duplicates, and the seed.

    Raises:
        InputError: if too few rows can be separated from each other to fill the splits.
    """
    shares = data.split or [1.0, 0.0, 0.0]
    sets = number_sets(examples, data.min_identity)
    classes = np.zeros(len(examples), np.int64)
    if examples.task.is_classification and examples.labels is not None:
        classes = examples.known_labels
    assigned = assign(sets, classes, shares, data.seed)
    used = [number for number, share in enumerate(shares) if share > 0]
    sizes = np.bincount(sets)
    if len(sizes) < len(used):
        raise InputError(
            f"{examples.source}: data.split needs {len(used)} sets of rows, one for each split, but rows with equal or "
            f"nearly equal sequences{' and rows of one group' if examples.groups else ''} stay together, and the "
            f"{len(examples):,} rows form only {len(sizes)}; {_remedies(examples, data)}"
        )
    splits = {
        SPLITS[split]: replace(
            examples.take(np.flatnonzero(assigned == split).tolist()), source=f"{examples.source} ({SPLITS[split]})"
        )
        for split in used
    }
    facts = {
        "shares": list(shares),
        "seed": data.seed,
        "min_identity": data.min_identity,
        "rows": {name: len(rows) for name, rows in splits.items()},
        # These two names, which users see, call a set a group.
        "separate_groups": len(sizes),
        "largest_group": int(sizes.max()),
    }
    return TableSplit(splits, facts)


def _remedies(examples: LabelledSequences, data: LabelledData) -> str:
    """Return what to do if rows form too few sets."""
    if examples.groups and len(set(examples.groups)) == 1:  # neither more rows nor another identity would help
        return (
            "every row has the same group: name a column with several groups in data.columns.group, such as blocks of "
            "a contig, or omit it"
        )
    remedies = ["add rows"]
    if data.min_identity < 1:
        remedies.append("raise data.min_identity")
    if examples.groups:
        remedies.append("name another column in data.columns.group")
    return " or ".join(remedies)


def log_split(table: TableSplit, source: str) -> None:
    """Log what each split received.

    Args:
        table: the table that was split.
        source: file of the table.
    """
    for name, rows in table.splits.items():
        counts = ""
        if rows.task.is_classification:
            counts = f" ({', '.join(f'{label} {count:,}' for label, count in class_counts(rows).items())})"
        share = len(rows) / sum(table.facts["rows"].values())
        logger.info("%s: %s gets %s rows, %.1f %%%s", source, name, f"{len(rows):,}", 100 * share, counts)
    largest = table.facts["largest_group"]
    if largest > 1:
        logger.info(
            "%s: rows of a group and rows with equal or nearly equal sequences stay together; the largest such set has "
            "%s rows",
            source,
            f"{largest:,}",
        )


def number_sets(examples: LabelledSequences, min_identity: float) -> np.ndarray:
    """Number the sets of rows that must stay together: return the set of each row, from 0, int64 (rows,).

    Two rows belong together if they are in one group, or if their sequences are equal or nearly equal, on either
    strand; if their inputs are pairs, both sequences must be equal, or the first ones nearly equal. Two rows that each
    belong together with a third row belong together, too.

    Args:
        examples: the rows.
        min_identity: smallest estimated identity of near-duplicates; 1 for equal sequences only.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(examples)
    keys: list[Sequence[Any]] = [row_hashes(examples).tolist(), *([examples.groups] if examples.groups else [])]
    links = [(np.arange(rows), _first_rows(key)) for key in keys]
    if min_identity < 1:
        # Equal rows are linked already. Without them, many copies of one sequence do not make a pair for each two.
        distinct = np.unique(links[0][1])
        sketch = _sketch_of(examples.sequences, distinct)
        one, other = near_duplicate_pairs(sketch, len(distinct), min_identity)
        links.append((distinct[one], distinct[other]))
    # int32, because older releases of scipy (1.11) find no components with larger numbers.
    one, other = (np.concatenate(column).astype(np.int32) for column in zip(*links, strict=True))
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(rows, rows))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _sketch_of(sequences: list[np.ndarray], chosen: np.ndarray) -> Sketch:
    """Return the sketch of some sequences: a sample of k-mers, by which near-duplicates are found.

    Args:
        sequences: all sequences, uint8 (nt,) each, whose length decides how many k-mers are sampled.
        chosen: the rows of those that are sketched, and numbered from 0.
    """
    sketch = Sketch(expected_nt=sum(map(len, sequences)))
    for first in range(0, len(chosen), _BATCH_ROWS):
        batch = [sequences[row] for row in chosen[first : first + _BATCH_ROWS].tolist()]
        joined = np.concatenate([part for letters in batch for part in (letters, _GAP)])
        ends = np.cumsum([len(letters) + 1 for letters in batch]) - 1  # without the gap
        sketch.add(joined, ends, first)
    return sketch


def _first_rows(keys: Sequence[Any]) -> np.ndarray:
    """Return for each row the first row with the same key, int64 (rows,)."""
    first: dict[Any, int] = {}
    return np.array([first.setdefault(key, row) for row, key in enumerate(keys)], np.int64)


def assign(sets: np.ndarray, classes: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """Assign sets of rows to splits, so that each class is split by the shares as nearly as possible.

    Sets are dealt from the largest down, equal ones in random order. Each goes to a split that has room for its rows of
    every class, chosen at random in proportion to the room for them; if none has, to the one with the most room. The
    last sets go to splits that would otherwise be empty.

    Args:
        sets: number of the set of each row, from 0, int64 (rows,).
        classes: class number of each row, from 0, int64 (rows,).
        shares: share of each split.
        seed: seed of the split.

    Returns:
        Number of the split of each row, int64 (rows,). No split with a share is empty if there are enough sets.
    """
    counts = np.zeros((int(sets.max()) + 1, int(classes.max()) + 1))
    np.add.at(counts, (sets, classes), 1)
    room = _room(counts, np.asarray(shares, float))
    random = np.random.default_rng(seed)
    order = np.lexsort((random.permutation(len(counts)), -counts.sum(1)))
    used, assigned = np.asarray(shares) > 0, np.zeros(len(counts), np.int64)
    empty = used.copy()
    for dealt, (number, draw) in enumerate(zip(order.tolist(), random.random(len(order)).tolist(), strict=True)):
        wanted = counts[number]
        allowed = empty if len(order) - dealt <= empty.sum() else used
        # A split may have more rows of a class than its share, so room is compared only for the classes of this set.
        fits = allowed & (room + 1e-9 >= wanted)[:, wanted > 0].all(1)
        room_for_set = room @ wanted  # weighted by the rows of each class
        weight = np.where(fits, room_for_set, 0)
        if weight.sum() > 0:
            edges = np.cumsum(weight)  # ``draw``, from 0 to 1, falls between the edges of one split
            split = int(np.searchsorted(edges, draw * edges[-1], side="right"))
        else:
            split = int(np.argmax(np.where(allowed, room_for_set, -np.inf)))
        assigned[number], empty[split] = split, False
        room[split] -= wanted
    return assigned[sets]


def _room(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return how many rows of each class each split should get, (splits, classes).

    Each split gets room for at least one row of every class that occurs in at least as many sets as there are splits.
    The split with the largest share gives up the room for it.

    Args:
        counts: rows of each class in each set, (sets, classes).
        shares: share of each split.
    """
    room = shares[:, None] * counts.sum(0)
    used = np.flatnonzero(shares)
    for label in np.flatnonzero((counts > 0).sum(0) >= len(used)):
        lacking = used[room[used, label] < 1]
        missing = 1 - room[lacking, label]
        room[lacking, label] += missing
        room[int(np.argmax(shares)), label] -= missing.sum()
    return room
