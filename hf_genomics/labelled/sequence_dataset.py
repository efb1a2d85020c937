"""A torch dataset of labelled sequences, whose rows have the form that the collator reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..sequence import IGNORE_INDEX
from .sequences import LabelledSequences


class SequenceDataset(Dataset):
    """Labelled or unlabelled sequences as rows for the collator.

    A *row* is what the dataset returns for an index. ``chosen`` holds the number of the sequence of each row: usually
    each sequence has one row, but a sequence of a rare class may have several.

    A row is a dictionary with the keys ``sequence``, ``window_index`` (the index of the row) and ``epoch``; ``label``,
    ``pair``, ``nt_labels``, ``tracks`` and ``nt_tracks``, if the sequences have them; and ``keep_strand`` and
    ``row_number`` (the index again), if the options below ask for them.

    Args:
        examples: the sequences.
        keep_strand: keep the collator from reverse-complementing sequences (for validation and test).
        numbered: put ``row_number`` in the rows, by which `ExactTrainer` names the rows of a NaN loss.
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
        """Set the epoch; in each epoch the collator reverse-complements other sequences."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.chosen)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one row."""
        # The collator chooses the strand by the index, so the copies of a repeated sequence may differ in strand.
        number = int(self.chosen[index])
        row = {"sequence": self.examples.sequences[number], "window_index": index, "epoch": self.epoch}
        row |= {"keep_strand": True} if self.keep_strand else {}
        row |= {"row_number": index} if self.numbered else {}
        row |= columns_beside(self.examples, number)
        return row if self.examples.labels is None else {**row, "label": self._label(number)}

    def describe(self, epoch: int | None, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return the file, the number in the file (from 1) and the id of rows, for messages about a batch.

        Args:
            epoch: epoch of the batch, which changes nothing here.
            rows: indices of the rows, integer (rows,).
        """
        examples = self.examples
        return [
            {"file": examples.source, "row": examples.file_row(number) + 1, "record": examples.ids[number]}
            for number in self.chosen[rows].tolist()
        ]

    def _label(self, number: int) -> Any:
        """Return the label or labels of a sequence; of several labels, one that was not measured (NaN) becomes -100."""
        label = self.examples.known_labels[number]
        several = self.examples.problem == "multi_label_classification"
        return np.nan_to_num(label, nan=IGNORE_INDEX) if several else label


def balanced_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the numbers of all sequences, and repeat those of the rarer classes until all classes are equally large.

    Args:
        labels: class ids, (sequences,).
        seed: seed that decides which sequences of a class are repeated once more than others.

    Returns:
        int64 (size of the largest class x number of classes that occur,): first every sequence once, then the repeats.

    >>> balanced_rows(np.array([0, 0, 0, 0, 1, 1]), seed=0).tolist()
    [0, 1, 2, 3, 4, 5, 4, 5]
    """
    random, most = np.random.default_rng(seed), int(np.bincount(labels).max(initial=0))
    repeated = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rounds, rest = divmod(most - len(members), len(members))
        repeated += [np.tile(members, rounds), np.sort(random.permutation(members)[:rest])]
    return np.concatenate([np.arange(len(labels)), *repeated]).astype(np.int64)


def columns_beside(examples: LabelledSequences, number: int) -> dict[str, Any]:
    """Return the pair, labels per nucleotide and tracks that a sequence has, by the keys that the collator expects."""
    columns: dict[str, Any] = {"pair": examples.pairs, "nt_labels": examples.nt_labels}
    columns |= {"tracks": examples.tracks, "nt_tracks": examples.nt_tracks}
    return {name: column[number] for name, column in columns.items() if column is not None}
