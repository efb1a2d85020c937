"""Encode any text as k-mer ids: text with blanks, pre-tokenised words, pairs, and tokens written by name.

A *piece* is a whole sequence or one pre-tokenised word. Every token is found with its place in its piece, then put into
its row. This is the general route of `KmerTokenizer`; `kmer_encoding` holds the fast one for plain sequences.
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
    letter_error,
    token_digits,
)
from .sequence import NUM_SPECIAL, UNK_ID, as_letters, rolling_any, rolling_codes

Piece = str | bytes | np.ndarray  # text, or data: bytes or uint8 letters


class AddedName(NamedTuple):
    """An added or special token that stands for itself where its name is written.

    Attributes:
        text: the name.
        id: id of the token.
        special: whether it is a special token, which is understood in text and never in data.
        whole_word: whether the name counts only between blanks.
    """

    text: str
    id: int
    special: bool
    whole_word: bool


class NamedTokens(NamedTuple):
    """How to find tokens that are written by name.

    Attributes:
        ids: name -> id.
        in_text: pattern of the names that are understood in str.
        in_data: pattern of the names that are understood in bytes and uint8 letters; None if there are none.
        coded: the names as letters.
    """

    ids: dict[str, int]
    in_text: re.Pattern[str]
    in_data: re.Pattern[str] | None
    coded: tuple[bytes, ...]

    def may_occur(self, letters: np.ndarray) -> bool:
        """Check quickly whether joined letters contain a name, maybe across the end of a row."""
        joined = letters.tobytes()
        # The search for a single byte, which is mostly in vain, is many times faster than that for a name.
        return any(name[:1] in joined and name in joined for name in self.coded)

    def find(self, piece: Piece) -> Iterable[re.Match[str]]:
        """Find the tokens that are written by name in a piece."""
        pattern = self.in_text if isinstance(piece, str) else self.in_data
        return pattern.finditer(as_text(piece)) if pattern else ()


@functools.lru_cache(maxsize=64)
def name_tokens(names: tuple[AddedName, ...], split_special_tokens: bool) -> NamedTokens | None:
    """Compile the patterns that find named tokens; the longest name wins.

    Args:
        names: added and special tokens.
        split_special_tokens: whether special tokens are read letter by letter in str too.

    Returns:
        The patterns; None if no name is understood.
    """
    ordinary = [name for name in names if not name.special]
    understood = ordinary if split_special_tokens else list(names)
    pattern = _pattern(understood)
    if pattern is None:
        return None
    ids = {name.text: name.id for name in understood}
    return NamedTokens(ids, pattern, _pattern(ordinary), tuple(as_letters(name).tobytes() for name in ids))


def _pattern(names: list[AddedName]) -> re.Pattern[str] | None:
    if not names:
        return None
    ordered = sorted(names, key=lambda name: len(name.text), reverse=True)
    escaped = [(re.escape(name.text), name.whole_word) for name in ordered]
    # No character other than a blank before and behind a whole word; the ends of the text count as blanks.
    return re.compile("|".join(rf"(?<![^ ]){text}(?![^ ])" if whole else text for text, whole in escaped))


class Tokens(NamedTuple):
    """The tokens of several pieces, piece after piece.

    Attributes:
        ids: (tokens,) int64.
        piece: index of the piece each token is in, (tokens,).
        start: first character of its piece that a token covers, 0-based, (tokens,).
        end: first character of its piece behind a token, (tokens,).
        soft_masked: whether a token covers a lower-case letter, bool (tokens,).
        uncovered_nt: characters of each piece that are neither blank nor under a token, (pieces,).
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
    places: list[str] | None = None,
) -> Tokens:
    """Find the tokens of pieces.

    Each piece is cut at its blanks and named tokens into words, and each word by itself into k-mers.

    Args:
        pieces: whole sequences or pre-tokenised words; at least one.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        named: tokens that stand for themselves where their name is written.
        places: where each piece is, for error messages; None to accept characters that are not nucleotide codes.

    Raises:
        ValueError: if ``places`` is given and a character is not a nucleotide code.

    >>> find_tokens(["ACGTT AC-G", "acg"], 3, 1).ids.tolist()
    [16, 50, 58, 1, 1, 16]
    """
    # All pieces are joined, with a blank between two of them so that no k-mer reaches from one into the next:
    #
    #     pieces   "ACGTT AC-G", "acg"
    #     letters   A C G T T _ A C - G _ a c g
    #     begin     0                     11
    #     start     0 1 2       6 7       11           k-mers that contain no blank; those that touch - are [UNK]
    texts = list(map(as_text, pieces))
    letters = as_letters(" ".join(texts)).copy()
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    begin = np.cumsum(lengths + 1) - lengths - 1
    found = _find_named(pieces, begin, named)
    for start, end, _ in found.tolist():
        letters[start:end] = BLANKS[0]  # a named token ends the word before it, as a blank does
    if places is not None:
        _check_pieces(letters, texts, begin, places)
    digits, _ = token_digits(letters)
    start = _kmer_starts(digits == BLANK_DIGIT, k, stride)
    codes = rolling_codes(digits & 3, k)[start].astype(np.int64)
    ids = np.where(rolling_any(digits > 3, k)[start], UNK_ID, codes + NUM_SPECIAL)
    soft = rolling_any(IS_LOWER[letters], k)[start]
    uncovered = _uncovered(digits != BLANK_DIGIT, begin, lengths, start, k)
    end = start + k
    if len(found):
        order = np.argsort(np.concatenate([start, found[:, 0]]), kind="stable")
        end = np.concatenate([end, found[:, 1]])[order]
        start = np.concatenate([start, found[:, 0]])[order]
        ids = np.concatenate([ids, found[:, 2]])[order]
        soft = np.concatenate([soft, np.zeros(len(found), bool)])[order]
    piece = np.searchsorted(begin, start, side="right") - 1
    return Tokens(ids, piece, start - begin[piece], end - begin[piece], soft, uncovered)


def _uncovered(is_letter: np.ndarray, begin: np.ndarray, lengths: np.ndarray, start: np.ndarray, k: int) -> np.ndarray:
    """Count the letters of each piece under no k-mer.

    Args:
        is_letter: whether a character of the joined pieces is not a blank, bool (characters,).
        begin: where each piece begins, (pieces,).
        lengths: characters of each piece, (pieces,).
        start: where each k-mer starts, (k-mers,).
        k: k-mer size in nt.
    """
    letters_before = np.concatenate([[0], np.cumsum(is_letter)])
    # A letter under several k-mers counts once: each k-mer counts for the letters up to the start of the next one.
    covered = np.minimum(k, np.diff(start, append=len(is_letter) + k))
    piece = np.searchsorted(begin, start, side="right") - 1
    letters = letters_before[begin + lengths] - letters_before[begin]
    return letters - np.bincount(piece, covered, len(begin)).astype(np.int64)


def _kmer_starts(is_blank: np.ndarray, k: int, stride: int) -> np.ndarray:
    """Find where k-mers start: at every ``stride``-th letter of a word that has k letters left."""
    starts = ~rolling_any(is_blank, k)
    if stride > 1:
        place = np.arange(len(starts))
        last_blank = np.maximum.accumulate(np.where(is_blank[: len(starts)], place, -1))
        starts &= (place - last_blank - 1) % stride == 0  # counted from the start of the word
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
            ``pair``, sequences 2 i and 2 i + 1 are the two of row i.
        layout: how the rows are laid out.
        pair: whether rows have two sequences.

    Returns:
        The rows; and how many tokens each sequence had before truncation, (sequences,).
    """
    ways = 2 if pair else 1
    sequence = owner[tokens.piece]
    counts = np.bincount(sequence, minlength=int(owner[-1]) + 1)
    first, *second = counts.reshape(-1, ways).T
    special = ways + 1 if layout.special_ids else 0
    other = second[0] if pair else np.zeros_like(first)
    both = kept_tokens(first, other, special, layout.max_length, layout.truncation, pair=pair)
    kept = np.stack(both[:ways], 1)
    uncovered = np.bincount(owner, tokens.uncovered_nt, len(counts)).astype(np.int64).reshape(-1, ways).sum(1)
    columns = _piece_columns(tokens, sequence, counts, kept, layout)
    return EncodedRows(columns, kept.sum(1) + special, count_unknown(columns["input_ids"]), uncovered), counts


def _places(
    sequence: np.ndarray, counts: np.ndarray, kept: np.ndarray, layout: RowLayout
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute which tokens remain after truncation, and where they go.

    Args:
        sequence: index of the sequence that each token belongs to, (tokens,).
        counts: tokens of each sequence, (sequences,).
        kept: how many of them remain, (rows, sequences of a row).
        layout: how the rows are laid out.

    Returns:
        Whether each token remains, bool (tokens,); row and column of each token that remains, (remaining,).
    """
    rank = np.arange(len(sequence)) - (np.cumsum(counts) - counts)[sequence]  # within its sequence
    if layout.truncate_left:
        rank -= (counts - kept.reshape(-1))[sequence]
    remains = (rank >= 0) & (rank < kept.reshape(-1)[sequence])
    row, way = np.divmod(sequence[remains], kept.shape[1])
    # A second sequence begins behind the first one and its [SEP].
    lead = 1 if layout.special_ids else 0
    return remains, row, rank[remains] + lead + np.where(way == 1, kept[row, 0] + lead, 0)


def _piece_columns(
    tokens: Tokens, sequence: np.ndarray, counts: np.ndarray, kept: np.ndarray, layout: RowLayout
) -> dict[str, np.ndarray]:
    """Build the wanted columns, (rows, longest), with [CLS] and [SEP] around the tokens; arguments as in `_places`."""
    lengths = kept.sum(1) + (kept.shape[1] + 1 if layout.special_ids else 0)
    width = int(lengths.max(initial=0))
    remains, row, column = _places(sequence, counts, kept, layout)

    def scattered(values: np.ndarray, fill: int) -> np.ndarray:
        matrix = np.full((len(kept), width, *values.shape[1:]), fill, np.int64)
        matrix[row, column] = values[remains]
        return matrix

    columns = {"input_ids": scattered(tokens.ids, layout.pad_id)}
    place = np.arange(width)
    token_types = np.zeros((len(kept), width), np.int64)
    if layout.special_ids:
        columns["input_ids"][:, 0] = layout.special_ids[0]
        for end in np.cumsum(kept + 1, axis=1).T:  # a [SEP] behind each sequence
            columns["input_ids"][np.arange(len(kept)), end] = layout.special_ids[1]
        if kept.shape[1] == 2:  # type 1: the second sequence and its [SEP]
            token_types[(place > kept[:, :1] + 1) & (place < lengths[:, None])] = 1
    if "token_type_ids" in layout.wanted:
        columns["token_type_ids"] = token_types
    if "attention_mask" in layout.wanted:
        columns["attention_mask"] = attention_mask(lengths, width)
    if "special_tokens_mask" in layout.wanted:
        columns["special_tokens_mask"] = scattered(np.zeros(len(remains), np.int64), 1)
    if "offset_mapping" in layout.wanted:
        columns["offset_mapping"] = scattered(np.stack([tokens.start, tokens.end], 1), 0)
    if "soft_masked" in layout.wanted:
        columns["soft_masked"] = scattered(tokens.soft_masked, 0)
    return columns


def overflowing(
    ids: np.ndarray, counts: np.ndarray, layout: RowLayout, overlap: int, *, pair: bool
) -> tuple[list[list[int]], list[int]]:
    """Collect the tokens that truncation removed from each row.

    Only one sequence of a row is shortened: the first, or the second with ``only_second``.

    Args:
        ids: ids of all sequences before truncation, (tokens,).
        counts: tokens of each sequence before truncation, (sequences,).
        layout: how the rows are laid out.
        overlap: how many tokens that remain are repeated with those that were removed.
        pair: whether rows have two sequences.

    Returns:
        The removed tokens of each row, and by how many tokens each row was too long.
    """
    ways = 2 if pair else 1
    special = ways + 1 if layout.special_ids else 0
    limited = layout.max_length and layout.truncation != TruncationStrategy.DO_NOT_TRUNCATE
    lengths = counts.reshape(-1, ways).sum(1) + special
    excess = np.maximum(0, lengths - layout.max_length) if limited else np.zeros_like(lengths)
    last = layout.truncation == TruncationStrategy.ONLY_SECOND
    ends = np.cumsum(counts)
    removed = []
    for row, more in enumerate(excess.tolist()):
        sequence = row * ways + (1 if last else 0)
        own = ids[ends[sequence] - counts[sequence] : ends[sequence]] if pair or not last else ids[:0]
        length = min(len(own), overlap + more) if more else 0
        removed.append((own[:length] if layout.truncate_left else own[len(own) - length :]).tolist())
    return removed, excess.tolist()


def as_text(piece: Piece) -> str:
    """Convert a piece to str, one character per byte."""
    return piece if isinstance(piece, str) else as_letters(piece).tobytes().decode("latin-1")


def _check_pieces(letters: np.ndarray, texts: list[str], begin: np.ndarray, places: list[str]) -> None:
    """Check that the joined pieces contain nothing but nucleotide codes and blanks."""
    wrong = (DIGIT[letters] == OTHER_DIGIT) & ~IS_NUCLEOTIDE[letters]
    if wrong.any():
        place = int(wrong.argmax())
        piece = int(np.searchsorted(begin, place, side="right")) - 1
        position = place - int(begin[piece])
        raise letter_error(places[piece], position, texts[piece][position])
