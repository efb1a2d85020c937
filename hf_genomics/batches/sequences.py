"""Collate labelled or unlabelled sequences into padded batches, for fine-tuning and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..renamed import renamed
from ..sequence import IGNORE_INDEX, as_letters, reverse_complement
from .chance import Stream, happens, random_bits, row_keys
from .rows import LetterTokenizer, Tokenizer, attention_mask, column_of, encode_rows


@renamed(num_windows="num_parts")
@dataclass
class DataCollatorForSequences:
    """Tokenise sequences and pad them to the longest sequence of the batch.

    Args:
        tokenizer: any tokenizer with a padding token; a KmerTokenizer reads letters fastest.
        rc_probability: probability that a row without ``keep_strand`` is read from the opposite strand (for training
            only: an augmentation for labels that belong to both strands). The choice of rows depends only on (seed,
            epoch, window index).
        seed: seed of that choice.
        epoch: epoch of rows without an ``epoch`` of their own; see ``set_epoch``.
        num_parts: cut every sequence into this many parts of (nearly) equal length, for hierarchical models. Pairs
            are never cut.
        part_length: longest part in nt; instead of ``num_parts``, cut every sequence into as few parts as this allows.
        pad_to_multiple_of: round the width of a batch up to a multiple of this.
    """

    tokenizer: Tokenizer
    rc_probability: float = 0.0
    seed: int = 0
    epoch: int = 0
    num_parts: int = 1
    part_length: int | None = None
    pad_to_multiple_of: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of rows without an ``epoch`` of their own."""
        self.epoch = epoch

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Build a batch.

        Args:
            features: rows with ``sequence`` (letters or text) and, optionally, ``label`` or ``labels`` (a class or
                values), ``pair`` (a second sequence), ``nt_labels`` (nt,), ``tracks`` (tracks,), ``nt_tracks``
                (nt, tracks), ``window_index``, ``epoch``, ``keep_strand`` and ``row_number``.

        Returns:
            ``input_ids`` and ``attention_mask``, int64 (rows, tokens), or (rows, parts, tokens) if sequences are cut
            into parts, with a mask of 0 on parts that a shorter sequence lacks; ``token_type_ids`` of pairs;
            ``labels``, int64 classes or float32 values, (rows,), (rows, labels) or (rows, nt), -100 beyond the end of
            a sequence; ``tracks`` and ``nt_tracks``, float32, NaN beyond the end of a sequence; ``row_numbers``, int64
            (rows,), which models do not take.

        Raises:
            ValueError: if there is no row, or labels per nucleotide would have to change strand.
        """
        if not len(features):
            raise ValueError("a batch needs at least one row")
        if self.rc_probability:
            features = self._draw_strands(features)
        columns = self._tokens(features) | _labels_and_tracks(features)
        if "row_number" in features[0]:
            columns["row_numbers"] = np.array([feature["row_number"] for feature in features], np.int64)
        return {name: torch.from_numpy(column) for name, column in columns.items()}

    def _tokens(self, features: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Tokenise the sequences of rows: pairs, whole sequences or parts."""
        if "pair" in features[0]:
            return encode_pairs(self.tokenizer, features, self.pad_to_multiple_of)
        if self.num_parts == 1 and self.part_length is None:
            ids, lengths = encode_rows(self.tokenizer, features, self.pad_to_multiple_of)
            return {"input_ids": ids, "attention_mask": attention_mask(lengths, ids.shape[1])}
        parts_of_rows = [self._parts(as_letters(feature["sequence"])) for feature in features]
        flat = [{"sequence": part} for parts in parts_of_rows for part in parts]
        ids, lengths = encode_rows(self.tokenizer, flat, self.pad_to_multiple_of)
        counts = np.array(list(map(len, parts_of_rows)))
        exists = np.arange(counts.max()) < counts[:, None]  # (rows, parts)
        parts_ids = np.full((*exists.shape, ids.shape[1]), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros_like(parts_ids)
        parts_ids[exists], mask[exists] = ids, attention_mask(lengths, ids.shape[1])
        return {"input_ids": parts_ids, "attention_mask": mask}

    def _parts(self, letters: np.ndarray) -> list[np.ndarray]:
        """Cut a sequence into parts of (nearly) equal length."""
        count = max(1, -(-len(letters) // self.part_length)) if self.part_length else self.num_parts
        return np.array_split(letters, count)

    def _draw_strands(self, features: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Replace some rows, chosen at random, by their opposite strand."""
        index = np.array([feature["window_index"] for feature in features], np.int64)
        epoch = column_of(features, "epoch", self.epoch)
        bits = random_bits(row_keys(self.seed, epoch, index), Stream.SEQUENCE_STRAND, 1)[:, 0]
        opposite = happens(bits, self.rc_probability)
        opposite &= ~np.array([feature.get("keep_strand", False) for feature in features], bool)
        pairs = zip(features, opposite.tolist(), strict=True)
        return [_opposite_strand(row) if is_opposite else row for row, is_opposite in pairs]


def _opposite_strand(feature: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as it reads on the opposite strand."""
    if "nt_labels" in feature:
        raise ValueError("labels per nucleotide belong to a strand; set rc_probability to 0")
    opposite: dict[str, Any] = {
        name: reverse_complement(feature[name]) for name in ("sequence", "pair") if name in feature
    }
    if "nt_tracks" in feature:
        opposite["nt_tracks"] = feature["nt_tracks"][::-1]
    return {**feature, **opposite}


def _labels_and_tracks(features: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Collect the labels and tracks of rows."""
    columns = {}
    name = next((name for name in ("labels", "label") if name in features[0]), None)
    if name:
        columns["labels"] = _as_labels(np.stack([np.asarray(feature[name]) for feature in features]))
    if "nt_labels" in features[0]:
        rows = [_as_labels(np.asarray(feature["nt_labels"])) for feature in features]
        columns["labels"] = pad_values(rows, IGNORE_INDEX)
    if "tracks" in features[0]:
        columns["tracks"] = np.stack([feature["tracks"] for feature in features]).astype(np.float32)
    if "nt_tracks" in features[0]:
        rows = [np.asarray(feature["nt_tracks"], np.float32) for feature in features]
        columns["nt_tracks"] = pad_values(rows, np.nan)
    return columns


def _as_labels(values: np.ndarray) -> np.ndarray:
    """Return classes as int64, and values as float32."""
    return values.astype(np.int64 if values.dtype.kind in "iub" else np.float32)


def pad_values(rows: list[np.ndarray], padding: float) -> np.ndarray:
    """Stack arrays of different lengths.

    Args:
        rows: arrays (nt, ...).
        padding: value of the positions beyond the end of an array.

    Returns:
        (rows, longest, ...).
    """
    padded = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), padding, rows[0].dtype)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return padded


def encode_pairs(
    tokenizer: Tokenizer, features: Sequence[Mapping[str, Any]], multiple_of: int | None = None
) -> dict[str, np.ndarray]:
    """Tokenise pairs of sequences: [CLS] first [SEP] second [SEP], token types 0 and 1.

    Args:
        tokenizer: a tokenizer that reads letters, such as KmerTokenizer.
        features: rows with ``sequence`` and ``pair``, letters or text.
        multiple_of: round the number of columns up to a multiple of this.

    Returns:
        ``input_ids``, ``token_type_ids`` and ``attention_mask``, int64 (rows, tokens) each.

    Raises:
        ValueError: if the tokenizer does not read letters.
    """
    if not isinstance(tokenizer, LetterTokenizer):
        raise ValueError(f"pairs need a KmerTokenizer, not {type(tokenizer).__name__}")
    first, first_lengths = tokenizer.encode_batch([as_letters(feature["sequence"]) for feature in features])
    second, second_lengths = tokenizer.encode_batch([as_letters(feature["pair"]) for feature in features])
    lengths = first_lengths + second_lengths - 1  # the second sequence loses its [CLS]
    width = int(lengths.max())
    width += -width % (multiple_of or 1)
    place = np.arange(width)
    # Which token of the second sequence each column holds: column first_lengths holds token 1, the first after the
    # dropped [CLS].
    offset = place - first_lengths[:, None] + 1
    is_second = (offset > 0) & (place < lengths[:, None])
    ids = np.full((len(features), width), tokenizer.pad_token_id, np.int64)
    row, column = np.nonzero(place < first_lengths[:, None])
    ids[row, column] = first[row, column]
    row, column = np.nonzero(is_second)
    ids[row, column] = second[row, offset[row, column]]
    mask = attention_mask(lengths, width)
    return {"input_ids": ids, "token_type_ids": is_second.astype(np.int64), "attention_mask": mask}
