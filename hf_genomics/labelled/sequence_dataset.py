"""Labelled sequences as a torch dataset, one row for the collator per sequence."""

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
        keep_strand: whether rows must not be shown from the opposite strand (validation and test).
    """

    def __init__(self, examples: LabelledSequences, keep_strand: bool = False) -> None:
        self.examples, self.keep_strand, self.epoch = examples, keep_strand, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the draws of the reverse complement depend."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one row."""
        row = {"sequence": self.examples.sequences[index], "window_index": index, "epoch": self.epoch}
        row |= {"keep_strand": True} if self.keep_strand else {}
        row |= columns_beside(self.examples, index)
        return row if self.examples.labels is None else {**row, "label": self._label(index)}

    def _label(self, index: int) -> Any:
        """Return the label of a row; of several labels those not measured are -100, as the Trainer expects."""
        label = self.examples.known_labels[index]
        several = self.examples.problem == "multi_label_classification"
        return np.nan_to_num(label, nan=IGNORE_INDEX) if several else label


def columns_beside(examples: LabelledSequences, index: int) -> dict[str, Any]:
    """Return what stands beside the sequence and the label of a row, under the names that the collator reads."""
    columns: dict[str, Any] = {"pair": examples.pairs, "nt_labels": examples.nt_labels}
    columns |= {"tracks": examples.tracks, "nt_tracks": examples.nt_tracks}
    return {name: column[index] for name, column in columns.items() if column is not None}
