"""Encode any text as k-mer ids: text with blanks, pre-tokenised words, pairs, and tokens written by name.

A *piece* is a whole sequence or one pre-tokenised word, and a *blank* is any white space. All pieces are joined into
one array of letters; every token is found with its start and end in its piece, and is then put into its row. This is
the general route of `KmerTokenizer`; `kmer_encoding` holds the fast one for plain sequences.
"""

import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from transformers.tokenization_utils_base import TruncationStrategy

from .kmer_encoding import (
    BLANK_DIGIT,
    BLANKS,
    DIGIT,
    IS_LOWER,
    IS_NUCLEOTIDE,
    OTHER_DIGIT,
    EncodedRows,
    RowLayout,
    attention_mask,
    count_unknown,
    kept_tokens,
    not_a_nucleotide,
    token_digits,
)
from .sequence import NUM_SPECIAL, UNK_ID, as_letters, rolling_any, rolling_codes

# Text (str) may contain special tokens by name. In data (bytes, or uint8 letters from a file) "[SEP]" is wrong DNA: a
# file must not be able to place a special token.
Piece = str | bytes | np.ndarray


class AddedName(NamedTuple):
    """An added or special token that stands for itself where its name is written.

    Attributes:
        text: the name.
        id: id of the token.
        special: whether it is a special token, which is recognised in text and never in data; see `Piece`.
        whole_word: whether the name is recognised only between spaces or the ends of a text. As in transformers, other
            blanks, such as tabs, do not count here.
    """

    text: str
    id: int
    special: bool
    whole_word: bool


class NamedTokens(NamedTuple):
    """How to find tokens that are written by name.

    Attributes:
        ids: name -> id.
        in_text: pattern of the names that are recognised in str.
        in_data: pattern of the names that are recognised in bytes and uint8 letters; None if there are none.
        coded: the names as letters.
    """

    ids: dict[str, int]
    in_text: re.Pattern[str]
    in_data: re.Pattern[str] | None
    coded: tuple[bytes, ...]

    def may_occur(self, letters: np.ndarray) -> bool:
        """Check quickly whether joined letters contain a name.

        A name that seems to stand across the end of a row is a false alarm, which costs time only: `find` then searches
        each row.
        """
        joined = letters.tobytes()
        # The search for a single byte, which is mostly in vain, is many times faster than that for a name.
        return any(name[:1] in joined and name in joined for name in self.coded)

    def find(self, piece: Piece) -> Iterable[re.Match[str]]:
        """Find the tokens that are written by name in a piece."""
        pattern = self.in_text if isinstance(piece, str) else self.in_data
        return pattern.finditer(as_text(piece)) if pattern else ()


@functools.lru_cache(maxsize=64)
def name_tokens(names: tuple[AddedName, ...], split_special_tokens: bool) -> NamedTokens | None:
    """Compile the patterns that find named tokens; where several names match, the longest one is taken.

    Args:
        names: added and special tokens.
        split_special_tokens: whether special tokens are read letter by letter in str too.

    Returns:
        The patterns; None if no name is recognised.
    """
    ordinary = [name for name in names if not name.special]
    recognised = ordinary if split_special_tokens else list(names)
    pattern = _pattern(recognised)
    if pattern is None:
        return None
    ids = {name.text: name.id for name in recognised}
    return NamedTokens(ids, pattern, _pattern(ordinary), tuple(as_letters(name).tobytes() for name in ids))


def _pattern(names: list[AddedName]) -> re.Pattern[str] | None:
    """Compile the pattern of all names, the longest first; None without names."""
    if not names:
        return None
    ordered = sorted(names, key=lambda name: len(name.text), reverse=True)
    escaped = [(re.escape(name.text), name.whole_word) for name in ordered]
    # (?<![^ ]): before a whole word there is a space or nothing; (?<= ) would not match at the start of the text.
    # (?![^ ]): the same after it.
    return re.compile("|".join(rf"(?<![^ ]){text}(?![^ ])" if whole else text for text, whole in escaped))


class Tokens(NamedTuple):
    """The tokens of several pieces, piece after piece.

    Attributes:
        ids: (tokens,) int64.
        piece: index of the piece that contains each token, (tokens,).
        start: position in its piece of the first character of each token, 0-based, (tokens,).
        end: position in its piece after the last character of each token (half-open), (tokens,).
        soft_masked: whether a token covers a lower-case letter, bool (tokens,).
        uncovered_nt: characters of each piece that are neither blank nor covered by a token, (pieces,).
    """

    ids: np.ndarray
    piece: np.ndarray
    start: np.ndarray
    end: np.ndarray
    soft_masked: np.ndarray
    uncovered_nt: np.ndarray


def find_tokens(
    pieces: Sequence[Piece],
    k: int,
    stride: int,
    named: NamedTokens | None = None,
    descriptions: list[str] | None = None,
) -> Tokens:
    """Find the tokens of pieces.

    Each piece is cut at its blanks and named tokens into words, and each word separately into k-mers.

    Args:
        pieces: whole sequences or pre-tokenised words; at least one.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        named: tokens that stand for themselves where their name is written.
        descriptions: how error messages name each piece, such as "row 3"; None to accept characters that are not
            nucleotide codes.

    Raises:
        ValueError: if ``descriptions`` are given and a character is not a nucleotide code.

    >>> find_tokens(["ACGTT AC-G", "acg"], 3, 1).ids.tolist()  # ACG, CGT, GTT, twice [UNK] for the gap, ACG
    [16, 50, 58, 1, 1, 16]
    """
    # All pieces are joined, with a blank between two of them so that no k-mer reaches from one into the next:
    #
    #     pieces   "ACGTT AC-G", "acg"
    #     letters   A C G T T _ A C - G _ a c g
    #     begin     0                     11
    #     start     0 1 2       6 7       11           k-mers that contain no blank; k-mers that contain - are [UNK]
    texts = list(map(as_text, pieces))
    letters = as_letters(" ".join(texts)).copy()
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    begin = np.cumsum(lengths + 1) - lengths - 1
    found = _find_named(pieces, begin, named)
    for start, end, _ in found.tolist():
        letters[start:end] = BLANKS[0]  # a named token ends the word before it, as a blank does
    if descriptions is not None:
        _check_pieces(letters, texts, begin, descriptions)
    # The digit of A is 0, of T and U 1, of C 2, of G 3, and of all other characters more than 3. The code of a k-mer is
    # its digits read as a number in base 4. `& 3` gives the others a wrong digit, but their k-mers become [UNK] anyway.
    digits, _highest = token_digits(letters)
    start = _kmer_starts(digits == BLANK_DIGIT, k, stride)
    codes = rolling_codes(digits & 3, k)[start].astype(np.int64)
    ids = np.where(rolling_any(digits > 3, k)[start], UNK_ID, codes + NUM_SPECIAL)
    soft = rolling_any(IS_LOWER[letters], k)[start]
    uncovered = _uncovered(digits != BLANK_DIGIT, begin, lengths, start, k)
    end = start + k
    if len(found):
        start, end, ids, soft = _merged(found, start, end, ids, soft)
    piece = np.searchsorted(begin, start, side="right") - 1
    return Tokens(ids, piece, start - begin[piece], end - begin[piece], soft, uncovered)


def _merged(
    found: np.ndarray, start: np.ndarray, end: np.ndarray, ids: np.ndarray, soft: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Merge named tokens, as `_find_named` returns them, into the start, end, id and soft-masking of k-mers, by start.

    A k-mer and a named token never start at one letter, because the letters of named tokens count as blanks.
    """
    named_start, named_end, named_id = found.T
    named_soft = np.zeros(len(found), bool)
    order = np.argsort(np.concatenate([start, named_start]), kind="stable")
    columns = ((start, named_start), (end, named_end), (ids, named_id), (soft, named_soft))
    start, end, ids, soft = (np.concatenate(column)[order] for column in columns)
    return start, end, ids, soft


def _uncovered(is_letter: np.ndarray, begin: np.ndarray, lengths: np.ndarray, start: np.ndarray, k: int) -> np.ndarray:
    """Count the letters of each piece that no k-mer covers.

    Args:
        is_letter: whether a character of the joined pieces is not a blank, bool (characters,).
        begin: where each piece begins, (pieces,).
        lengths: characters of each piece, (pieces,).
        start: where each k-mer starts, (k-mers,).
        k: k-mer size in nt.
    """
    letters_before = np.concatenate([[0], np.cumsum(is_letter)])
    # A letter that several k-mers cover counts once: each k-mer counts its letters up to the start of the next one.
    covered = np.minimum(k, np.diff(start, append=len(is_letter) + k))
    piece = np.searchsorted(begin, start, side="right") - 1
    letters = letters_before[begin + lengths] - letters_before[begin]
    return letters - np.bincount(piece, covered, len(begin)).astype(np.int64)


def _kmer_starts(is_blank: np.ndarray, k: int, stride: int) -> np.ndarray:
    """Find where k-mers start: at every ``stride``-th letter of a word that has k letters left."""
    # None of the k letters is a blank; with a stride, only multiples of it, counted from the first letter of the word:
    #
    #     letters      A C G T T _ A C G T        k = 3, stride 2
    #     k-mers       + + +       + +            without a blank
    #     from start   0 1 2 3 4   0 1 2 3        index - last_blank - 1
    #     result       +   +       +
    starts = ~rolling_any(is_blank, k)
    if stride > 1:
        index = np.arange(len(starts))
        last_blank = np.maximum.accumulate(np.where(is_blank[: len(starts)], index, -1))
        starts &= (index - last_blank - 1) % stride == 0
    return np.flatnonzero(starts)


def _find_named(pieces: Sequence[Piece], begin: np.ndarray, named: NamedTokens | None) -> np.ndarray:
    """Find named tokens: start and end in the joined letters, and id, int64 (found, 3)."""
    found: list[tuple[int, int, int]] = []
    if named:
        for piece, offset in zip(pieces, begin.tolist(), strict=True):
            found += [(offset + hit.start(), offset + hit.end(), named.ids[hit.group()]) for hit in named.find(piece)]
    return np.array(found, np.int64).reshape(-1, 3)


def encode_pieces(
    tokens: Tokens, owner: np.ndarray, layout: RowLayout, *, pair: bool
) -> tuple[EncodedRows, np.ndarray]:
    """Put the tokens of pieces into rows of one or two sequences.

    Args:
        tokens: the tokens that `find_tokens` found.
        owner: index of the sequence that each piece belongs to, ascending from 0 without a gap, (pieces,); with
            ``pair``, sequences 2 i and 2 i + 1 form row i.
        layout: how the rows are laid out.
        pair: whether rows have two sequences.

    Returns:
        The rows; and how many tokens each sequence had before truncation, (sequences,).
    """
    per_row = 2 if pair else 1  # sequences
    sequence = owner[tokens.piece]
    counts = np.bincount(sequence, minlength=int(owner[-1]) + 1)
    of_rows = counts.reshape(-1, per_row)  # number of tokens of each sequence of each row
    first, second = of_rows[:, 0], of_rows[:, 1] if pair else np.zeros_like(of_rows[:, 0])
    special = _count_special(per_row, layout)
    kept = np.stack(kept_tokens(first, second, special, layout.max_length, layout.truncation, pair=pair), 1)
    kept = kept[:, :per_row]
    uncovered = np.bincount(owner, tokens.uncovered_nt, len(counts)).astype(np.int64).reshape(-1, per_row).sum(1)
    matrices = _piece_matrices(tokens, sequence, counts, kept, layout)
    return EncodedRows(matrices, kept.sum(1) + special, count_unknown(matrices["input_ids"]), uncovered), counts


def _count_special(per_row: int, layout: RowLayout) -> int:
    """Count the special tokens in a row of one or two sequences: [CLS], and [SEP] after each sequence."""
    return per_row + 1 if layout.special_ids else 0


def _assign_rows(
    sequence: np.ndarray, counts: np.ndarray, kept: np.ndarray, layout: RowLayout
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute which tokens remain after truncation, and the row and column of each.

    Args:
        sequence: index of the sequence that each token belongs to, (tokens,).
        counts: number of tokens of each sequence, (sequences,).
        kept: how many of these tokens remain, (rows, sequences of a row).
        layout: how the rows are laid out.

    Returns:
        Whether each token remains, bool (tokens,); row and column of each token that remains, (remaining,).
    """
    # A row of two sequences, of which 3 and 2 tokens remain (without special tokens, d follows c):
    #
    #     column    0     1  2  3   4    5  6   7
    #     token   [CLS]   a  b  c [SEP]  d  e [SEP]
    #     rank            0  1  2        0  1            number of the token within its sequence
    rank = np.arange(len(sequence)) - (np.cumsum(counts) - counts)[sequence]
    if layout.truncate_left:  # the tokens that are cut off at the left get negative ranks
        rank -= (counts - kept.reshape(-1))[sequence]
    remains = (rank >= 0) & (rank < kept.reshape(-1)[sequence])
    row, is_second = np.divmod(sequence[remains], kept.shape[1])
    special_before = 1 if layout.special_ids else 0  # [CLS] before the first sequence, [SEP] before the second
    begin = np.where(is_second == 1, special_before + kept[row, 0] + special_before, special_before)
    return remains, row, begin + rank[remains]


def _piece_matrices(
    tokens: Tokens, sequence: np.ndarray, counts: np.ndarray, kept: np.ndarray, layout: RowLayout
) -> dict[str, np.ndarray]:
    """Build the wanted matrices, (rows, longest), with [CLS] and [SEP]; arguments as in `_assign_rows`."""
    lengths = kept.sum(1) + _count_special(kept.shape[1], layout)
    width = int(lengths.max(initial=0))
    remains, row, column = _assign_rows(sequence, counts, kept, layout)

    def scattered(values: np.ndarray, fill: int) -> np.ndarray:
        matrix = np.full((len(kept), width, *values.shape[1:]), fill, np.int64)
        matrix[row, column] = values[remains]
        return matrix

    matrices = {"input_ids": scattered(tokens.ids, layout.pad_id)}
    columns = np.arange(width)
    token_types = np.zeros((len(kept), width), np.int64)
    if layout.special_ids:
        matrices["input_ids"][:, 0] = layout.special_ids[0]
        for end in np.cumsum(kept + 1, axis=1).T:  # the column of the [SEP] after each sequence
            matrices["input_ids"][np.arange(len(kept)), end] = layout.special_ids[1]
        if kept.shape[1] == 2:  # type 1: the second sequence and its [SEP]
            token_types[(columns > kept[:, :1] + 1) & (columns < lengths[:, None])] = 1
    if "token_type_ids" in layout.wanted:
        matrices["token_type_ids"] = token_types
    if "attention_mask" in layout.wanted:
        matrices["attention_mask"] = attention_mask(lengths, width)
    if "special_tokens_mask" in layout.wanted:
        # 0 where a token of a sequence stands, 1 everywhere else, also at padding.
        matrices["special_tokens_mask"] = scattered(np.zeros(len(remains), np.int64), 1)
    if "offset_mapping" in layout.wanted:
        matrices["offset_mapping"] = scattered(np.stack([tokens.start, tokens.end], 1), 0)
    if "soft_masked" in layout.wanted:
        matrices["soft_masked"] = scattered(tokens.soft_masked, 0)
    return matrices


def overflowing(
    ids: np.ndarray, counts: np.ndarray, layout: RowLayout, overlap: int, *, pair: bool
) -> tuple[list[list[int]], list[int]]:
    """Collect the tokens that truncation removed from each row.

    Only one sequence of a row is shortened: the first, or the second with ``only_second``.

    Args:
        ids: ids of all sequences before truncation, (tokens,).
        counts: number of tokens of each sequence before truncation, (sequences,).
        layout: how the rows are laid out.
        overlap: how many tokens that remain are repeated with those that were removed.
        pair: whether rows have two sequences.

    Returns:
        The removed tokens of each row, and by how many tokens each row was too long.
    """
    per_row = 2 if pair else 1  # sequences
    special = _count_special(per_row, layout)
    limited = layout.max_length and layout.truncation != TruncationStrategy.DO_NOT_TRUNCATE
    lengths = counts.reshape(-1, per_row).sum(1) + special
    excess = np.maximum(0, lengths - layout.max_length) if limited else np.zeros_like(lengths)
    second_is_shortened = layout.truncation == TruncationStrategy.ONLY_SECOND
    ends = np.cumsum(counts)
    removed = []
    for row, excess_of_row in enumerate(excess.tolist()):
        sequence = row * per_row + (1 if second_is_shortened else 0)
        if second_is_shortened and not pair:  # ``only_second`` without a second sequence removes nothing
            sequence_ids = ids[:0]
        else:
            sequence_ids = ids[ends[sequence] - counts[sequence] : ends[sequence]]
        length = min(len(sequence_ids), overlap + excess_of_row) if excess_of_row else 0
        start = 0 if layout.truncate_left else len(sequence_ids) - length
        removed.append(sequence_ids[start : start + length].tolist())
    return removed, excess.tolist()


def as_text(piece: Piece) -> str:
    """Convert a piece to str, one character per byte."""
    return piece if isinstance(piece, str) else as_letters(piece).tobytes().decode("latin-1")


def _check_pieces(letters: np.ndarray, texts: list[str], begin: np.ndarray, descriptions: list[str]) -> None:
    """Check that the joined pieces contain nothing but nucleotide codes and blanks."""
    wrong = (DIGIT[letters] == OTHER_DIGIT) & ~IS_NUCLEOTIDE[letters]
    if wrong.any():
        index = int(wrong.argmax())
        piece = int(np.searchsorted(begin, index, side="right")) - 1
        position = index - int(begin[piece])
        raise not_a_nucleotide(descriptions[piece], position, texts[piece][position])
