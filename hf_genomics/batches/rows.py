"""Rows of a batch: what data sets give and collators take, one by one or with their letters end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..sequence import COMPLEMENT, as_letters
from .chance import mix

_COMPLEMENT_TABLE = COMPLEMENT.tobytes()


class JoinedRows(Sequence[dict[str, Any]]):
    """Rows with a ``sequence`` each, letters end to end in one array.

    Our collators take them as they are; to any other code they are a sequence of dictionaries.

    Args:
        letters: (sum of lengths,) uint8.
        lengths: (rows,) int64, nt of each row.
        columns: what else the rows hold, (rows,) each.
    """

    def __init__(self, letters: np.ndarray, lengths: np.ndarray, **columns: np.ndarray) -> None:
        self.letters, self.lengths, self.columns = letters, lengths, columns
        self._ends = np.cumsum(lengths)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    def __getitem__(self, row: Any) -> Any:
        """Give a row as a dictionary, or the rows of a slice as a list of them."""
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        end, length = self._ends[row], self.lengths[row]
        others = {name: column[row].item() for name, column in self.columns.items()}
        return {"sequence": self.letters[end - length : end], **others}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Give row after row."""
        names, columns = list(self.columns), [column.tolist() for column in self.columns.values()]
        for end, length, *others in zip(self._ends.tolist(), self.lengths.tolist(), *columns, strict=True):
            yield {"sequence": self.letters[end - length : end], **dict(zip(names, others, strict=True))}

    def reverse_complement(self, turned: np.ndarray) -> None:
        """Read some rows, flags (rows,), from the opposite strand, in place."""
        opposite = np.frombuffer(self.letters.tobytes().translate(_COMPLEMENT_TABLE), np.uint8)
        ends = self._ends[turned]
        for start, end in zip((ends - self.lengths[turned]).tolist(), ends.tolist(), strict=True):
            self.letters[start:end] = opposite[start:end][::-1]


def column_of(rows: Sequence[dict[str, Any]], name: str, default: int) -> np.ndarray:
    """Collect a whole number of each row, int64 (rows,); ``default`` where a row has none."""
    if isinstance(rows, JoinedRows) and name in rows.columns:
        return rows.columns[name]
    return np.array([row.get(name, default) for row in rows], np.int64)


def encode_rows(
    tokenizer: Any, rows: Sequence[dict[str, Any]], multiple_of: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn rows with ``sequence`` or ``input_ids`` into padded ids, int64 (rows, tokens), and their lengths, (rows,).

    Raises:
        ValueError: if there is no row, a row has neither, or a sequence holds a character that is no nucleotide code.
    """
    if not len(rows):
        raise ValueError("a batch needs at least one row")
    if tokenizer.pad_token_id is None:
        raise ValueError(f"the tokenizer ({type(tokenizer).__name__}) has no padding token; give it one")
    if isinstance(rows, JoinedRows) and hasattr(tokenizer, "encode_joined"):
        ids, lengths = tokenizer.encode_joined(rows.letters, rows.lengths)
    elif "sequence" in rows[0]:
        ids, lengths = _encode(tokenizer, [as_letters(row["sequence"]) for row in rows])
    elif "input_ids" in rows[0]:
        ids, lengths = _pad([row["input_ids"] for row in rows], tokenizer.pad_token_id)
    else:
        raise ValueError(f'rows need "sequence" or "input_ids"; these have {sorted(rows[0])}')
    short = -ids.shape[1] % multiple_of if multiple_of else 0
    if short:
        ids = np.pad(ids, ((0, 0), (0, short)), constant_values=tokenizer.pad_token_id)
    return ids, lengths


def _encode(tokenizer: Any, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Let a KmerTokenizer read letters as they are, any other tokenizer text."""
    if hasattr(tokenizer, "encode_batch"):
        return tokenizer.encode_batch(rows)
    texts = [row.tobytes().decode("latin-1") for row in rows]
    batch = tokenizer(texts, padding=True, padding_side="right", return_attention_mask=True, return_tensors="np")
    return batch["input_ids"].astype(np.int64), batch["attention_mask"].sum(1)


def _pad(rows: list[Any], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Stack rows of ids, filled up on the right."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    joined = np.concatenate(rows).astype(np.int64, copy=False)
    if (lengths == lengths[0]).all():
        return joined.reshape(len(rows), -1), lengths
    ids = np.full((len(rows), int(lengths.max())), pad_token_id, np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = joined
    return ids, lengths


def attention_mask(lengths: np.ndarray, tokens: int) -> np.ndarray:
    """Mark tokens with 1 and padding with 0, int64 (rows, tokens)."""
    if (lengths == tokens).all():
        return np.ones((len(lengths), tokens), np.int64)
    return (np.arange(tokens) < lengths[:, None]).astype(np.int64)


def content_hash(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Hash each row's tokens, padding left out, int64 (rows,)."""
    weights = mix(np.arange(1, ids.shape[1] + 1, dtype=np.uint64))
    tokens = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, 0).astype(np.uint64)
    return (mix((tokens * weights).sum(1)) >> np.uint64(1)).astype(np.int64)
