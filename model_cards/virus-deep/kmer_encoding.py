"""Encode batches of DNA as k-mer ids: the pure array functions behind `KmerTokenizer`.

There are two routes. This file holds the fast one, for *plain* sequences: they contain no white space and no token
written by name (such as the text ``[MASK]``), so their k-mers lie ``stride`` nt apart and a whole batch is arithmetic
on one array of joined letters. All other text goes through `kmer_pieces`. Both routes return `EncodedRows`.
docs/glossary.md explains k-mer, token and stride.
"""

from typing import Any, NamedTuple

import numpy as np
from transformers.tokenization_utils_base import TruncationStrategy

from .sequence import (
    IUPAC,
    LETTER_CODE,
    NUM_SPECIAL,
    UNK_ID,
    covered_nt,
    num_kmers,
    rolling_any,
    rolling_codes,
)

#: Digits in addition to 0..3 for A, T, C and G: any other character, and a blank (white space).
OTHER_DIGIT, BLANK_DIGIT = 4, 5
BLANKS = b" \t\n\r\v\f"

#: Digit of every byte.
DIGIT = LETTER_CODE.copy()
DIGIT[np.frombuffer(BLANKS, np.uint8)] = BLANK_DIGIT
_DIGIT_TABLE = DIGIT.tobytes()
#: Whether a byte is a nucleotide code, and whether it is a lower-case letter (soft-masked).
IS_NUCLEOTIDE = np.isin(np.arange(256), np.frombuffer((IUPAC + "U" + IUPAC.lower() + "u").encode(), np.uint8))
IS_LOWER = np.isin(np.arange(256), np.arange(ord("a"), ord("z") + 1))


class EncodedRows(NamedTuple):
    """Rows of tokens.

    Attributes:
        matrices: matrices by the names that transformers uses (``input_ids``, ``attention_mask`` ...), int64
            (rows, longest), or (rows, longest, 2) for offsets, padded on the right.
        lengths: number of tokens in each row, special tokens included, (rows,).
        num_unknown: how many tokens of all rows are [UNK].
        uncovered_nt: nucleotides of each row's text that no k-mer covers, (rows,); None if they are not counted.
    """

    matrices: dict[str, np.ndarray]
    lengths: np.ndarray
    num_unknown: int
    uncovered_nt: np.ndarray | None


class RowLayout(NamedTuple):
    """How sequences are cut into k-mers and laid out in rows.

    Attributes:
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        special_ids: ids of [CLS] and [SEP]; None to omit them.
        pad_id: id of [PAD].
        max_length: largest number of tokens in a row, special tokens included; None for no limit.
        truncation: which sequence of a pair is shortened.
        truncate_left: whether tokens are removed on the left.
        wanted: names of the matrices to build; also "uncovered_nt" if uncovered nucleotides are to be counted.
    """

    k: int
    stride: int
    special_ids: tuple[int, int] | None
    pad_id: int
    max_length: int | None
    truncation: TruncationStrategy
    truncate_left: bool
    wanted: frozenset[str]


def token_digits(letters: np.ndarray) -> tuple[np.ndarray, int]:
    """Look up the digit of every letter.

    Args:
        letters: uint8 letters, (nt,).

    Returns:
        Digits, uint8 (nt,): 0..3 for A, T, C and G, `OTHER_DIGIT`, or `BLANK_DIGIT`; and the largest of them, which
        says at once whether all letters are DNA (3 or less) and whether there is a blank.

    >>> digits, highest = token_digits(np.frombuffer(b"AT CN", np.uint8))
    >>> digits.tolist(), highest
    ([0, 1, 5, 2, 4], 5)
    """
    digits = np.frombuffer(letters.tobytes().translate(_DIGIT_TABLE), np.uint8)  # faster than indexing
    return digits, int(digits.max()) if len(digits) else 0


def encode_plain(
    letters: np.ndarray,
    digits: np.ndarray,
    highest: int,
    row_lengths: np.ndarray,
    layout: RowLayout,
) -> EncodedRows:
    """Encode joined rows that contain no white space and no token written by name.

    Args:
        letters: uint8 letters of all rows, one row after the other, (nt,).
        digits: their digits, uint8 (nt,); see `token_digits`.
        highest: the largest digit.
        row_lengths: length of each row in nt, int64 (rows,).
        layout: how the rows are laid out.
    """
    lower = IS_LOWER[letters] if "soft_masked" in layout.wanted else None
    if len(row_lengths) == 1 or (row_lengths == row_lengths[0]).all():
        return _encode_equal_lengths(digits, highest, lower, row_lengths, layout)
    return _encode_different_lengths(digits, highest, lower, row_lengths, layout)


def _encode_equal_lengths(
    digits: np.ndarray,
    highest: int,
    lower: np.ndarray | None,
    row_lengths: np.ndarray,
    layout: RowLayout,
) -> EncodedRows:
    """Encode rows of one length.

    All rows have the same number of k-mers and the same starts, so that the ids are a slice of one matrix, without a
    copy for each row.
    """
    # Two rows of 5 nt, k = 3. A code is computed at every letter, also for k-mers that cross the end of a row (x):
    #
    #     digits   A C G T T   G G A T C
    #     codes    a b c x x   d e f x x      as (rows, length): k-mers are in columns 0, stride, 2 stride ...
    #     ids      [CLS] a b c [SEP]
    #              [CLS] d e f [SEP]
    k, stride = layout.k, layout.stride
    rows, length = len(row_lengths), int(row_lengths[0])
    count = num_kmers(length, k, stride)
    lead = 1 if layout.special_ids else 0  # special tokens on each side of a row
    kept = int(kept_tokens(count, 0, 2 * lead, layout.max_length, layout.truncation, pair=False)[0])
    first = count - kept if layout.truncate_left else 0
    row_kmers = slice(first * stride, (first + kept) * stride, stride)
    ids = np.empty((rows, kept + 2 * lead), np.int64)
    slots = ids[:, lead : lead + kept]
    codes, unknown = _codes_everywhere(digits, highest, k)
    slots[...] = codes[: rows * length].reshape(rows, length)[:, row_kmers]
    slots += NUM_SPECIAL
    num_unknown = 0
    if unknown is not None:
        is_unknown = unknown.reshape(rows, length)[:, row_kmers]
        np.copyto(slots, UNK_ID, where=is_unknown)
        num_unknown = int(np.count_nonzero(is_unknown))
    if layout.special_ids:
        ids[:, 0], ids[:, -1] = layout.special_ids
    lengths = np.full(rows, kept + 2 * lead)
    matrices = _plain_matrices(ids, lengths, first, layout, equal_lengths=True)
    if lower is not None:
        matrices["soft_masked"] = np.zeros_like(ids)
        soft = rolling_any(_lengthened(lower, k), k).reshape(rows, length)
        matrices["soft_masked"][:, lead : lead + kept] = soft[:, row_kmers]
    return EncodedRows(matrices, lengths, num_unknown, _uncovered(row_lengths, layout))


def _encode_different_lengths(
    digits: np.ndarray,
    highest: int,
    lower: np.ndarray | None,
    row_lengths: np.ndarray,
    layout: RowLayout,
) -> EncodedRows:
    """Encode rows of different lengths: the k-mers of each row are copied from the codes of all letters."""
    # Rows of 5 and 4 nt, k = 3, with codes at every letter as in `_encode_equal_lengths`:
    #
    #     codes    a b c x x d e x x          starts [0, 5], counts [3, 2]
    #     ids      [CLS] a b c [SEP]
    #              [CLS] d e [SEP] [PAD]
    k, stride = layout.k, layout.stride
    counts = num_kmers(row_lengths, k, stride)
    lead = 1 if layout.special_ids else 0  # special tokens on each side of a row
    kept, _ = kept_tokens(counts, 0, 2 * lead, layout.max_length, layout.truncation, pair=False)
    first = counts - kept if layout.truncate_left else np.zeros_like(counts)
    starts = np.cumsum(row_lengths) - row_lengths + first * stride
    ids = np.full((len(counts), int(kept.max()) + 2 * lead), layout.pad_id, np.int64)
    codes, unknown = _codes_everywhere(digits, highest, k)
    flat = codes.astype(np.int64)
    flat += NUM_SPECIAL
    if unknown is not None:
        np.copyto(flat, UNK_ID, where=unknown)
    _copy_rows(ids[:, lead:], flat, starts, kept, stride)
    if layout.special_ids:
        ids[:, 0] = layout.special_ids[0]
        ids[np.arange(len(counts)), kept + 1] = layout.special_ids[1]
    matrices = _plain_matrices(ids, kept + 2 * lead, first, layout)
    if lower is not None:
        matrices["soft_masked"] = np.zeros_like(ids)
        soft = rolling_any(_lengthened(lower, k), k)
        _copy_rows(matrices["soft_masked"][:, lead:], soft, starts, kept, stride)
    num_unknown = 0 if unknown is None else count_unknown(ids)
    return EncodedRows(matrices, kept + 2 * lead, num_unknown, _uncovered(row_lengths, layout))


def _uncovered(row_lengths: np.ndarray, layout: RowLayout) -> np.ndarray | None:
    """Count the nucleotides of each row that no k-mer covers, (rows,); None if they are not wanted."""
    if "uncovered_nt" not in layout.wanted:
        return None
    counts = num_kmers(row_lengths, layout.k, layout.stride)
    # Where the stride is larger than k, the gaps between k-mers are uncovered too: each k-mer adds k nt, not stride.
    return row_lengths - covered_nt(counts, layout.k, min(layout.k, layout.stride))


def count_unknown(ids: np.ndarray) -> int:
    """Count the [UNK] among ids of any shape."""
    return int(np.count_nonzero(ids == UNK_ID))


def _codes_everywhere(digits: np.ndarray, highest: int, k: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute the code of the k-mer that starts at every digit of joined rows (meaningless across a row's end).

    Returns:
        codes, (digits,); and whether each k-mer contains an unknown letter, bool (digits,); None if all letters are
        DNA.
    """
    longer = _lengthened(digits, k)
    if highest <= 3:
        return rolling_codes(longer, k), None
    return rolling_codes(longer & 3, k), rolling_any(longer > 3, k)


def _lengthened(flat: np.ndarray, k: int) -> np.ndarray:
    """Append k - 1 zeros, so that a k-mer starts at every letter."""
    return np.concatenate([flat, np.zeros(k - 1, flat.dtype)])


def _copy_rows(slots: np.ndarray, flat: np.ndarray, starts: np.ndarray, kept: np.ndarray, stride: int) -> None:
    """Copy values of each row from a flat array into ``slots``, in place.

    Args:
        slots: where the values go, from column 0 on, (rows, columns).
        flat: one value per letter of the joined rows, (nt,).
        starts: where each row's first value is in ``flat``, (rows,).
        kept: how many values each row has, (rows,).
        stride: nt from one value to the next.
    """
    for row, (start, count) in enumerate(zip(starts.tolist(), kept.tolist(), strict=True)):
        slots[row, :count] = flat[start : start + count * stride : stride]


def _plain_matrices(
    ids: np.ndarray, lengths: np.ndarray, first: Any, layout: RowLayout, *, equal_lengths: bool = False
) -> dict[str, np.ndarray]:
    """Build the matrices that follow from the number of tokens in each row.

    Args:
        ids: padded ids, (rows, longest).
        lengths: number of tokens in each row, special tokens included, (rows,).
        first: index of the first k-mer of each row that truncation keeps, one number or (rows,).
        layout: how the rows are laid out.
        equal_lengths: whether all rows have ``longest`` tokens.
    """
    wanted = layout.wanted
    matrices = {"input_ids": ids}
    if "token_type_ids" in wanted:
        matrices["token_type_ids"] = np.zeros(ids.shape, np.int64)
    if "attention_mask" in wanted:
        width = ids.shape[1]
        matrices["attention_mask"] = np.ones(ids.shape, np.int64) if equal_lengths else attention_mask(lengths, width)
    if not wanted & {"special_tokens_mask", "offset_mapping"}:
        return matrices
    lead = 1 if layout.special_ids else 0
    column = np.arange(ids.shape[1])
    is_kmer = (column >= lead) & (column < lengths[:, None] - lead)
    if "special_tokens_mask" in wanted:
        matrices["special_tokens_mask"] = 1 - is_kmer.astype(np.int64)
    if "offset_mapping" in wanted:
        start = (np.maximum(column - lead, 0) + np.reshape(first, (-1, 1))) * layout.stride
        matrices["offset_mapping"] = np.where(is_kmer[..., None], np.stack([start, start + layout.k], -1), 0)
    return matrices


def attention_mask(lengths: np.ndarray, width: int) -> np.ndarray:
    """Mark tokens with 1 and padding with 0, int64 (rows, width); ``lengths`` are the numbers of tokens, (rows,)."""
    return (np.arange(width) < lengths[:, None]).astype(np.int64)


def kept_tokens(
    first: Any,
    second: Any,
    special: int,
    max_length: int | None,
    truncation: TruncationStrategy,
    *,
    pair: bool,
) -> tuple[Any, Any]:
    """Compute how many tokens of each sequence remain when rows are truncated, by transformers' rules.

    Args:
        first: number of tokens of the first sequence, of one row or of each row (rows,).
        second: number of tokens of the second sequence, in the same form.
        special: number of special tokens in a row.
        max_length: largest number of tokens in a row; None or 0 for no limit.
        truncation: which sequence is shortened.
        pair: whether there is a second sequence, which may be empty.

    Returns:
        The number of tokens of the first and of the second sequence that remain.

    >>> [int(kept) for kept in kept_tokens(9, 4, 3, 10, TruncationStrategy.LONGEST_FIRST, pair=True)]
    [4, 3]
    """
    if not max_length or truncation == TruncationStrategy.DO_NOT_TRUNCATE:
        return first, second
    excess = np.maximum(0, first + second + special - max_length)
    if truncation == TruncationStrategy.ONLY_SECOND:
        return first, np.maximum(0, second - excess)
    if truncation == TruncationStrategy.ONLY_FIRST or not pair:
        return np.maximum(0, first - excess), second
    # LONGEST_FIRST: the longer sequence loses tokens until both are equal, then both lose one in turn, the second one
    # first.
    until_equal = np.minimum(np.abs(second - first), excess)
    from_first = (excess - until_equal) // 2 + np.where(first > second, until_equal, 0)
    return np.maximum(0, first - from_first), np.maximum(0, second - (excess - from_first))


def check_letters(letters: np.ndarray, digits: np.ndarray, lengths: np.ndarray, texts: Any = None) -> None:
    """Check that joined rows contain nothing but nucleotide codes.

    Args:
        letters: uint8 letters of all rows, (nt,).
        digits: their digits, uint8 (nt,).
        lengths: length of each row in nt, (rows,).
        texts: the rows as they were given; a message then shows characters outside latin-1 as they are.

    Raises:
        ValueError: naming row, position and character.
    """
    others = np.flatnonzero(digits > 3)  # most letters are A, C, G, T and U, which are known to be right
    wrong = ~IS_NUCLEOTIDE[letters[others]]
    if wrong.any():
        index = int(others[wrong.argmax()])
        row = int(np.searchsorted(np.cumsum(lengths), index, side="right"))
        position = index - int(lengths[:row].sum())
        text = texts[row] if texts is not None and isinstance(texts[row], str) else None
        raise not_a_nucleotide(f"row {row + 1}", position, text[position] if text else chr(letters[index]))


def not_a_nucleotide(where: str, position: int, letter: str) -> ValueError:
    """Build the error for a character that is not a nucleotide code.

    Args:
        where: which row and word it is in.
        position: 0-based; the message counts from 1.
        letter: the character.
    """
    return ValueError(
        f"{where}, position {position + 1}: {letter!r} is not a nucleotide code (allowed: {IUPAC} and U, either case); "
        "correct it, or replace it by N"
    )
