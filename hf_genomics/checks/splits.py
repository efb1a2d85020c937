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
        splits: rows of each split that has any, by name.
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
    bundles = bundle_rows(examples, data.min_identity)
    classes = np.zeros(len(examples), np.int64)
    if examples.task.is_classification and examples.labels is not None:
        classes = examples.known_labels
    assigned = assign(bundles, classes, shares, data.seed)
    used = [number for number, share in enumerate(shares) if share > 0]
    sizes = np.bincount(bundles)
    if len(sizes) < len(used):
        raise InputError(
            f"{examples.source}: data.split needs {len(used)} rows or groups of rows that may lie in different splits, "
            f"but all {len(examples):,} rows belong to {len(sizes)} (equal or nearly equal sequences"
            f"{' or one group' if examples.groups else ''}); raise data.min_identity{_or_group(examples)}"
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
        "separate_groups": len(sizes),
        "largest_group": int(sizes.max()),
    }
    return TableSplit(splits, facts)


def _or_group(examples: LabelledSequences) -> str:
    """Return the other way out, if rows have groups."""
    return ", or name another column in data.columns.group" if examples.groups else ""


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


def bundle_rows(examples: LabelledSequences, min_identity: float) -> np.ndarray:
    """Number the sets of rows that must stay together, int64 (rows,).

    Rows of one group, rows with the same sequence and near-duplicates belong together, on either strand, and so do rows
    that belong to a third one.

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
        links.append(near_duplicate_pairs(_sketch_of(examples.sequences), rows, min_identity))
    one, other = (np.concatenate(column) for column in zip(*links, strict=True))
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(rows, rows))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _sketch_of(sequences: list[np.ndarray]) -> Sketch:
    """Return the sketch of sequences, uint8 (nt,) each."""
    sketch = Sketch(expected_nt=sum(map(len, sequences)))
    for first in range(0, len(sequences), _BATCH_ROWS):
        batch = sequences[first : first + _BATCH_ROWS]
        letters = np.concatenate([part for letters in batch for part in (letters, _GAP)])
        sketch.add(letters, np.cumsum([len(letters) + 1 for letters in batch]) - 1, first)
    return sketch


def _first_rows(keys: Sequence[Any]) -> np.ndarray:
    """Return for each row the first row with the same key, int64 (rows,)."""
    first: dict[Any, int] = {}
    return np.array([first.setdefault(key, row) for row, key in enumerate(keys)], np.int64)


def assign(bundles: np.ndarray, classes: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """Assign sets of rows to splits, so that each class is split by the shares as nearly as possible.

    Sets are dealt from the largest down, equal ones in random order. Each goes to a split that has room for its rows of
    every class, chosen at random in proportion to that room; if none has, to the one with the most room.

    Args:
        bundles: number of the set of each row, from 0, int64 (rows,).
        classes: class number of each row, from 0, int64 (rows,).
        shares: share of each split.
        seed: seed of the split.

    Returns:
        Number of the split of each row, int64 (rows,).
    """
    counts = np.zeros((int(bundles.max()) + 1, int(classes.max()) + 1))
    np.add.at(counts, (bundles, classes), 1)
    room = _room(counts, np.asarray(shares, float))
    random = np.random.default_rng(seed)
    order = np.lexsort((random.permutation(len(counts)), -counts.sum(1)))
    used, assigned = np.asarray(shares) > 0, np.zeros(len(counts), np.int64)
    for bundle, draw in zip(order.tolist(), random.random(len(order)).tolist(), strict=True):
        wanted = counts[bundle]
        fits = used & (room + 1e-9 >= wanted).all(1)
        weight = np.where(fits, room @ wanted, 0)
        if weight.sum() > 0:
            edges = np.cumsum(weight)
            split = int(np.searchsorted(edges, draw * edges[-1], side="right"))
        else:
            split = int(np.argmax(np.where(used, room @ wanted, -np.inf)))
        assigned[bundle] = split
        room[split] -= wanted
    return assigned[bundles]


def _room(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return how many rows of each class each split should get, (splits, classes).

    A split gets at least one row of a class that has as many sets as there are splits; the largest split gives it.
    """
    room = shares[:, None] * counts.sum(0)
    used = np.flatnonzero(shares)
    for label in np.flatnonzero((counts > 0).sum(0) >= len(used)):
        lacking = used[room[used, label] < 1]
        missing = 1 - room[lacking, label]
        room[lacking, label] += missing
        room[int(np.argmax(shares)), label] -= missing.sum()
    return room
