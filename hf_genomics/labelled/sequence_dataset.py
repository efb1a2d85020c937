"""A torch dataset of labelled sequences, with one row per sequence in the form that the collator reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..sequence import IGNORE_INDEX
from .sequences import LabelledSequences


class SequenceDataset(Dataset):
    """Labelled or unlabelled sequences as rows ``sequence``, ``label``, ``window_index``, ``epoch``.

    Args:
        examples: the sequences.
        keep_strand: forbid the collator to turn sequences into their reverse complements (for validation and test).
        numbered: let batches hold the numbers of their rows, by which `ExactTrainer` names the rows of a NaN loss.
        chosen: numbers of the sequences, integer (rows,), such as `balanced_rows` returns; by default each one once.
    """

    def __init__(
        self,
        examples: LabelledSequences,
        keep_strand: bool = False,
        numbered: bool = False,
        chosen: np.ndarray | None = None,
    ) -> None:
        self.examples, self.keep_strand, self.numbered, self.epoch = examples, keep_strand, numbered, 0
        self.chosen = np.arange(len(examples)) if chosen is None else chosen

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; in each epoch the collator chooses other sequences to turn into their reverse complements."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.chosen)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one row."""
        # A sequence that is repeated has several indices, by which the collator chooses its strand.
        number = int(self.chosen[index])
        row = {"sequence": self.examples.sequences[number], "window_index": index, "epoch": self.epoch}
        row |= {"keep_strand": True} if self.keep_strand else {}
        row |= {"row_number": index} if self.numbered else {}
        row |= columns_beside(self.examples, number)
        return row if self.examples.labels is None else {**row, "label": self._label(number)}

    def describe(self, epoch: int | None, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return file, row (counted from 1) and id of rows, for messages about a batch.

        Args:
            epoch: epoch of the batch, which changes nothing here.
            rows: numbers of the rows, integer (rows,).
        """
        source, ids = self.examples.source, self.examples.ids
        return [{"file": source, "row": row + 1, "record": ids[row]} for row in self.chosen[rows].tolist()]

    def _label(self, index: int) -> Any:
        """Return the label or labels of a row; the Trainer expects -100 for a label that was not measured."""
        label = self.examples.known_labels[index]
        several = self.examples.problem == "multi_label_classification"
        return np.nan_to_num(label, nan=IGNORE_INDEX) if several else label


def balanced_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the numbers of all rows, and those of rare classes again until each class has as many as the largest one.

    Args:
        labels: class ids, (rows,).
        seed: seed that decides which rows of a class are repeated once more than others.

    Returns:
        int64 (largest class * classes that occur,): first every row once, then the repeated ones.

    >>> balanced_rows(np.array([0, 0, 0, 0, 1, 1]), seed=0).tolist()
    [0, 1, 2, 3, 4, 5, 4, 5]
    """
    random, most = np.random.default_rng(seed), int(np.bincount(labels).max(initial=0))
    repeated = []
    for number in np.unique(labels):
        rows = np.flatnonzero(labels == number)
        rounds, rest = divmod(most - len(rows), len(rows))
        repeated += [np.tile(rows, rounds), np.sort(random.permutation(rows)[:rest])]
    return np.concatenate([np.arange(len(labels)), *repeated]).astype(np.int64)


def columns_beside(examples: LabelledSequences, index: int) -> dict[str, Any]:
    """Return the pair, labels per nucleotide and tracks of a row, if there are any, by the names in collator rows."""
    columns: dict[str, Any] = {"pair": examples.pairs, "nt_labels": examples.nt_labels}
    columns |= {"tracks": examples.tracks, "nt_tracks": examples.nt_tracks}
    return {name: column[index] for name, column in columns.items() if column is not None}
