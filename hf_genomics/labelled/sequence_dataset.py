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
    """

    def __init__(self, examples: LabelledSequences, keep_strand: bool = False, numbered: bool = False) -> None:
        self.examples, self.keep_strand, self.numbered, self.epoch = examples, keep_strand, numbered, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; in each epoch the collator chooses other sequences to turn into their reverse complements."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one row."""
        row = {"sequence": self.examples.sequences[index], "window_index": index, "epoch": self.epoch}
        row |= {"keep_strand": True} if self.keep_strand else {}
        row |= {"row_number": index} if self.numbered else {}
        row |= columns_beside(self.examples, index)
        return row if self.examples.labels is None else {**row, "label": self._label(index)}

    def describe(self, epoch: int | None, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return file, row (counted from 1) and id of rows, for messages about a batch.

        Args:
            epoch: epoch of the batch, which changes nothing here.
            rows: numbers of the rows, integer (rows,).
        """
        source, ids = self.examples.source, self.examples.ids
        return [{"file": source, "row": row + 1, "record": ids[row]} for row in rows.tolist()]

    def _label(self, index: int) -> Any:
        """Return the label or labels of a row; the Trainer expects -100 for a label that was not measured."""
        label = self.examples.known_labels[index]
        several = self.examples.problem == "multi_label_classification"
        return np.nan_to_num(label, nan=IGNORE_INDEX) if several else label


def columns_beside(examples: LabelledSequences, index: int) -> dict[str, Any]:
    """Return the pair, labels per nucleotide and tracks of a row, if there are any, by the names in collator rows."""
    columns: dict[str, Any] = {"pair": examples.pairs, "nt_labels": examples.nt_labels}
    columns |= {"tracks": examples.tracks, "nt_tracks": examples.nt_tracks}
    return {name: column[index] for name, column in columns.items() if column is not None}
