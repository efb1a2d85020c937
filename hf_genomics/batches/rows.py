"""Rows of a batch on their way from a dataset to the model: what a row is, and how rows become padded token ids.

A row is a window or a sequence, a dictionary. Rows come as a list of dictionaries or, faster, as `JoinedRows`: the
letters of all rows in one array. A collator gives them to `encode_rows`, which returns token ids, padded on the right,
and the number of tokens of each row; `attention_mask` and `content_hash` are computed from these two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from ..sequence import COMPLEMENT, as_letters
from .chance import mix

_COMPLEMENT_TABLE = COMPLEMENT.tobytes()


class _WindowRow(TypedDict):
    """The keys that every `WindowRow` has."""

    sequence: np.ndarray
    window_index: int
    epoch: int


class WindowRow(_WindowRow, total=False):  # total=False: the keys that this class adds may be missing
    """A window for pretraining, as `WindowDataset` yields it.

    Attributes:
        sequence: (length,) uint8 letters.
        window_index: index of the window.
        epoch: epoch to which it belongs.
        step: optimiser step in which it is trained on; it may be missing.
    """

    step: int


class Tokenizer(Protocol):
    """What a collator needs from any tokenizer."""

    pad_token_id: Any  # an int, or None without padding token

    def __call__(self, text: Any, **options: Any) -> Any:
        """Tokenise a list of texts into a padded batch."""


class MaskingTokenizer(Tokenizer, Protocol):
    """What masking needs from a tokenizer in addition."""

    mask_token_id: Any  # an int, or None without mask token
    all_special_ids: list[int]

    def __len__(self) -> int:
        """Return the size of the vocabulary, added tokens included."""


@runtime_checkable
class LetterTokenizer(Protocol):
    """A tokenizer that reads uint8 letters as they are, without turning them into text (`KmerTokenizer`)."""

    def encode_batch(self, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Encode letters; return padded ids, (rows, tokens), and the number of tokens of each row, (rows,)."""

    def encode_joined(self, letters: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode letters that lie end to end, as `encode_batch` does."""


class JoinedRows(Sequence[dict[str, Any]]):
    """Rows with a ``sequence`` each, whose letters lie end to end in one array.

    The collators of this package read the array; to any other code this is a sequence of dictionaries.

    Args:
        letters: (sum of lengths,) uint8.
        lengths: (rows,) int64, nt of each row.
        columns: further values of the rows, such as ``window_index``, (rows,) each.
    """

    def __init__(self, letters: np.ndarray, lengths: np.ndarray, **columns: np.ndarray) -> None:
        self.letters, self.lengths, self.columns = letters, lengths, columns
        self._ends = np.cumsum(lengths)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def __getitem__(self, row: Any) -> Any:
        """Return a row as a dictionary, or the rows of a slice as a list of dictionaries."""
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        end, length = self._ends[row], self.lengths[row]
        others = {name: column[row].item() for name, column in self.columns.items()}
        return {"sequence": self.letters[end - length : end], **others}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows, as dictionaries."""
        # Lists first: taking single numbers out of arrays is far slower.
        names, columns = list(self.columns), [column.tolist() for column in self.columns.values()]
        for end, length, *others in zip(self._ends.tolist(), self.lengths.tolist(), *columns, strict=True):
            yield {"sequence": self.letters[end - length : end], **dict(zip(names, others, strict=True))}

    def reverse_complement(self, selected: np.ndarray) -> None:
        """Replace the letters of some rows by their reverse complement, in place.

        Args:
            selected: bool (rows,), which rows.
        """
        opposite = np.frombuffer(self.letters.tobytes().translate(_COMPLEMENT_TABLE), np.uint8)
        ends = self._ends[selected]
        for start, end in zip((ends - self.lengths[selected]).tolist(), ends.tolist(), strict=True):
            self.letters[start:end] = opposite[start:end][::-1]


def column_of(rows: Sequence[Mapping[str, Any]], name: str, default: int) -> np.ndarray:
    """Collect an integer of each row.

    Args:
        rows: the rows.
        name: key of the integer.
        default: value of rows without that key.

    Returns:
        int64 (rows,).
    """
    if isinstance(rows, JoinedRows) and name in rows.columns:
        return rows.columns[name]
    return np.array([row.get(name, default) for row in rows], np.int64)


def encode_rows(
    tokenizer: Tokenizer, rows: Sequence[Mapping[str, Any]], multiple_of: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn rows with ``sequence`` or ``input_ids`` into padded ids.

    Args:
        tokenizer: any tokenizer with a padding token; one that reads letters (`LetterTokenizer`) is fastest.
        rows: at least one row.
        multiple_of: round the number of columns up to a multiple of this.

    Returns:
        Ids, int64 (rows, tokens), padded on the right; and the number of tokens of each row, int64 (rows,).

    Raises:
        ValueError: if there are no rows, a row has neither key, the tokenizer has no padding token, or a sequence
            contains a character that is not a nucleotide.
    """
    if not len(rows):
        raise ValueError("a batch needs at least one row")
    if tokenizer.pad_token_id is None:
        raise ValueError(f"the tokenizer ({type(tokenizer).__name__}) has no padding token; set its pad_token")
    if isinstance(rows, JoinedRows) and isinstance(tokenizer, LetterTokenizer):
        ids, lengths = tokenizer.encode_joined(rows.letters, rows.lengths)  # lengths: tokens; rows.lengths: nt
    elif "sequence" in rows[0]:
        ids, lengths = _encode(tokenizer, [as_letters(row["sequence"]) for row in rows])
    elif "input_ids" in rows[0]:
        ids, lengths = _pad([row["input_ids"] for row in rows], tokenizer.pad_token_id)
    else:
        raise ValueError(f'rows need "sequence" or "input_ids"; these have {sorted(rows[0])}')
    missing = -ids.shape[1] % multiple_of if multiple_of else 0  # columns up to the next multiple: -13 % 8 is 3
    if missing:
        ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=tokenizer.pad_token_id)
    return ids, lengths


def _encode(tokenizer: Tokenizer, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Encode letters, as text if the tokenizer reads only text; special tokens are never recognised in them."""
    if isinstance(tokenizer, LetterTokenizer):
        return tokenizer.encode_batch(sequences)
    texts = [letters.tobytes().decode("latin-1") for letters in sequences]
    batch = tokenizer(
        texts,
        padding=True,
        padding_side="right",
        return_attention_mask=True,
        return_tensors="np",
        split_special_tokens=True,  # letters are data: a file that holds "[MASK]" must not insert a special token
    )
    return batch["input_ids"].astype(np.int64), batch["attention_mask"].sum(1)


def _pad(rows: list[Any], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Stack lists or arrays of ids, padded on the right."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    joined = np.concatenate(rows).astype(np.int64, copy=False)
    if (lengths == lengths[0]).all():
        return joined.reshape(len(rows), -1), lengths
    ids = np.full((len(rows), int(lengths.max())), pad_token_id, np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = joined
    return ids, lengths


def attention_mask(lengths: np.ndarray, tokens: int) -> np.ndarray:
    """Build the attention mask of padded rows.

    Args:
        lengths: integer (rows,), tokens of each row without padding.
        tokens: tokens of each row with padding.

    Returns:
        int64 (rows, tokens), 1 on tokens and 0 on padding.
    """
    if (lengths == tokens).all():
        return np.ones((len(lengths), tokens), np.int64)
    return (np.arange(tokens) < lengths[:, None]).astype(np.int64)


def content_hash(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Compute a number for each row from its tokens, without the padding; rows with the same tokens get the same.

    Masks are drawn by the index of a window, so that they do not depend on the batch. For a row that has no index, this
    number takes its place.

    Args:
        ids: int64 (rows, tokens).
        lengths: integer (rows,), tokens of each row without padding.

    Returns:
        int64 (rows,), 0 or more.
    """
    # A weighted sum: every position has a random weight of its own, so the order of the tokens counts. Padding counts
    # as 0. Sums too large for 64 bits lose their top bits, which does no harm. The shift makes the uint64 fit
    # into int64.
    weights = mix(np.arange(1, ids.shape[1] + 1, dtype=np.uint64))
    tokens = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, 0).astype(np.uint64)
    return (mix((tokens * weights).sum(1)) >> np.uint64(1)).astype(np.int64)
