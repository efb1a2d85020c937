"""Collate labelled sequences into padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..sequence import as_letters, reverse_complement
from .chance import happens, random_bits, row_keys
from .rows import attention_mask, column_of, encode_rows
from .span_masking import _STRAND, IGNORED


@dataclass
class DataCollatorForSequences:
    """Tokenise labelled or unlabelled sequences and pad them to the longest of the batch.

    Args:
        tokenizer: any tokenizer with a padding token; a KmerTokenizer reads letters fastest.
        rc_probability: chance to show the opposite strand of a row that does not say ``keep_strand`` (training only: a
            free augmentation where the label belongs to both strands); a pure function of (seed, epoch, window index).
        seed, epoch: of that draw; rows may bring their own ``epoch``.
        num_parts: cut every sequence into so many parts of (nearly) equal length, for hierarchical models.
        part_length: cut every sequence into as many such parts as it needs for none to be longer, in nt, instead.
        pad_to_multiple_of: round the width of a batch up.
    """

    tokenizer: Any
    rc_probability: float = 0.0
    seed: int = 0
    epoch: int = 0
    num_parts: int = 1
    part_length: int | None = None
    pad_to_multiple_of: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the rows belong to that do not bring an ``epoch`` of their own."""
        self.epoch = epoch

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch; ``label`` (or ``labels``) becomes ``labels``: int64 classes or float32 values.

        Rows may also have ``pair`` (a second sequence), ``nt_labels`` (nt,), ``tracks`` (tracks,) and ``nt_tracks``
        (nt, tracks).

        Returns:
            input_ids, attention_mask: int64 (rows, tokens), or (rows, windows, tokens) where sequences are cut into
            parts, with a mask of 0 for parts that a shorter sequence lacks; token_type_ids for pairs; labels, (rows,),
            (rows, labels) or, -100 beyond a sequence's end, (rows, nt); tracks and nt_tracks, NaN beyond the end.

        Raises:
            ValueError: where labels per nucleotide would have to change strand.
        """
        if not len(features):
            raise ValueError("a batch needs at least one row")
        if self.rc_probability:
            features = self._some_turned(features)
        columns = self._tokens(features) | _beside(features)
        return {name: torch.from_numpy(column) for name, column in columns.items()}

    def _tokens(self, features: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Tokenise; ids and mask are (rows, tokens) or (rows, windows, tokens)."""
        if "pair" in features[0]:
            return encode_pairs(self.tokenizer, features, self.pad_to_multiple_of)
        if self.num_parts == 1 and self.part_length is None:
            ids, lengths = encode_rows(self.tokenizer, features, self.pad_to_multiple_of)
            return {"input_ids": ids, "attention_mask": attention_mask(lengths, ids.shape[1])}
        parts = [self._parts(as_letters(feature["sequence"])) for feature in features]
        flat = [{"sequence": part} for of_row in parts for part in of_row]
        ids, lengths = encode_rows(self.tokenizer, flat, self.pad_to_multiple_of)
        counts = np.array(list(map(len, parts)))
        there = np.arange(counts.max()) < counts[:, None]  # (rows, windows)
        windows = np.full((*there.shape, ids.shape[1]), self.tokenizer.pad_token_id, np.int64)
        seen = np.zeros_like(windows)
        windows[there], seen[there] = ids, attention_mask(lengths, ids.shape[1])
        return {"input_ids": windows, "attention_mask": seen}

    def _parts(self, letters: np.ndarray) -> list[np.ndarray]:
        count = -(-len(letters) // self.part_length) if self.part_length else self.num_parts
        return np.array_split(letters, count)

    def _some_turned(self, features: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        index = np.array([feature["window_index"] for feature in features], np.int64)
        epoch = column_of(features, "epoch", self.epoch)
        turn = happens(random_bits(row_keys(self.seed, epoch, index), _STRAND, 1)[:, 0], self.rc_probability)
        turn &= ~np.array([feature.get("keep_strand", False) for feature in features], bool)
        return [_turned(row) if turned else row for row, turned in zip(features, turn.tolist(), strict=True)]


def _turned(feature: dict[str, Any]) -> dict[str, Any]:
    """Show a row from the opposite strand."""
    if "nt_labels" in feature:
        raise ValueError("labels per nucleotide belong to a strand; set rc_probability to 0")
    turned: dict[str, Any] = {
        name: reverse_complement(feature[name]) for name in ("sequence", "pair") if name in feature
    }
    if "nt_tracks" in feature:
        turned["nt_tracks"] = feature["nt_tracks"][::-1]
    return {**feature, **turned}


def _beside(features: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Collect labels and tracks."""
    columns = {}
    name = next((name for name in ("labels", "label") if name in features[0]), None)
    if name:
        labels = np.stack([np.asarray(feature[name]) for feature in features])
        columns["labels"] = labels.astype(np.int64 if labels.dtype.kind in "iub" else np.float32)
    if "nt_labels" in features[0]:
        columns["labels"] = pad_rows([feature["nt_labels"] for feature in features], IGNORED)
    if "tracks" in features[0]:
        columns["tracks"] = np.stack([feature["tracks"] for feature in features]).astype(np.float32)
    if "nt_tracks" in features[0]:
        rows = [np.asarray(feature["nt_tracks"], np.float32) for feature in features]
        columns["nt_tracks"] = pad_rows(rows, np.nan)
    return columns


def pad_rows(rows: list[np.ndarray], filler: float) -> np.ndarray:
    """Stack arrays of different lengths: (nt, ...) each, to (rows, longest, ...)."""
    padded = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), filler, rows[0].dtype)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return padded


def encode_pairs(
    tokenizer: Any, features: Sequence[dict[str, Any]], multiple_of: int | None = None
) -> dict[str, np.ndarray]:
    """Tokenise pairs: [CLS] first [SEP] second [SEP], types 0 and 1.

    Args:
        tokenizer: a KmerTokenizer.
        features: rows with ``sequence`` and ``pair``, letters or text.
        multiple_of: round the width up.

    Returns:
        input_ids, token_type_ids, attention_mask: int64 (rows, tokens).
    """
    first, first_lengths = tokenizer.encode_batch([as_letters(feature["sequence"]) for feature in features])
    second, second_lengths = tokenizer.encode_batch([as_letters(feature["pair"]) for feature in features])
    lengths = first_lengths + second_lengths - 1  # the second one without its [CLS]
    width = int(lengths.max())
    width += -width % (multiple_of or 1)
    place = np.arange(width)
    offset = place - first_lengths[:, None] + 1  # in the second sequence
    is_second = (offset > 0) & (place < lengths[:, None])
    ids = np.full((len(features), width), tokenizer.pad_token_id, np.int64)
    row, column = np.nonzero(place < first_lengths[:, None])
    ids[row, column] = first[row, column]
    row, column = np.nonzero(is_second)
    ids[row, column] = second[row, offset[row, column]]
    seen = attention_mask(lengths, width)
    return {"input_ids": ids, "token_type_ids": is_second.astype(np.int64), "attention_mask": seen}
