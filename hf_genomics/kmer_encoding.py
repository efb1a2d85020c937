"""Text to k-mer tokens: the pure functions behind KmerTokenizer, arrays in and arrays out.

Two routes. *Plain* sequences hold no blank and no named token: their tokens lie ``stride`` nt apart, so all of a batch
is arithmetic on one joined array. *Pieces* are everything else (text with blanks, pre-tokenised words, pairs, added
tokens): every token is found with its place, then put into its row.
"""

import re
from typing import Any, NamedTuple

import numpy as np
from transformers.tokenization_utils_base import TruncationStrategy

from .sequence import ALPHABET, IUPAC, LETTER_CODE, as_letters, covered_nt, rolling_any, rolling_codes

NUM_SPECIAL_TOKENS = 5
PAD, UNK, CLS, SEP, MASK = range(NUM_SPECIAL_TOKENS)

_OTHER, _BLANK = 4, 5
_BLANKS = b" \t\n\r\v\f"
_DIGIT = LETTER_CODE.copy()  # 0..3 for A, T, C, G, 4 for any other character, 5 for a blank
_DIGIT[np.frombuffer(_BLANKS, np.uint8)] = _BLANK
_DIGIT_BYTES = _DIGIT.tobytes()
_NUCLEOTIDE = np.zeros(256, bool)
_NUCLEOTIDE[np.frombuffer((IUPAC + "U" + IUPAC.lower() + "u").encode(), np.uint8)] = True
_SPELLING = (ALPHABET + "N").encode().ljust(256, b"N")  # from digits back to letters
_LOWER = np.zeros(256, bool)
_LOWER[ord("a") : ord("z") + 1] = True


class Rows(NamedTuple):
    """Encoded rows.

    Attributes:
        columns: name -> int64 (rows, longest) or, for offsets, (rows, longest, 2), padded right.
        lengths: tokens of each row, special tokens included, (rows,).
        unknown: how many of them are [UNK].
        uncovered_nt: nucleotides of each row's text that no k-mer shows, (rows,); None where it is not wanted.
    """

    columns: dict[str, np.ndarray]
    lengths: np.ndarray
    unknown: int
    uncovered_nt: np.ndarray | None


class Plan(NamedTuple):
    """How rows are laid out.

    Attributes:
        special: ids of [CLS] and [SEP], None to leave them out.
        pad: id of [PAD].
        max_length: longest row allowed, special tokens included; None for any.
        strategy: which sequence of a pair is cut.
        cut_left: the tokens cut away stand on the left.
        wanted: names of the columns.
    """

    special: tuple[int, int] | None
    pad: int
    max_length: int | None
    strategy: TruncationStrategy
    cut_left: bool
    wanted: frozenset[str]


class Tokens(NamedTuple):
    """The tokens of several pieces of text, piece after piece.

    Attributes:
        ids: (tokens,) int64.
        piece: number of the piece each token is in, (tokens,).
        start, end: characters of its piece that a token covers, 0-based, half-open, (tokens,) each.
        soft_masked: whether a token covers a lower-case letter, (tokens,).
        uncovered_nt: characters of each piece that are no blank and lie under no token, (pieces,).
    """

    ids: np.ndarray
    piece: np.ndarray
    start: np.ndarray
    end: np.ndarray
    soft_masked: np.ndarray
    uncovered_nt: np.ndarray


class NamedTokens(NamedTuple):
    """Added and special tokens that stand for themselves where their text occurs."""

    ids: dict[str, int]
    pattern: re.Pattern[str]


def name_tokens(tokens: dict[str, int], whole_words: set[str] | None = None) -> NamedTokens | None:
    """Make a matcher of the longest name; those of ``whole_words`` count between blanks only. None for no names."""
    if not tokens:
        return None
    whole = whole_words or set()
    names = sorted(tokens, key=len, reverse=True)
    parts = (rf"(?<![^ ]){re.escape(name)}(?![^ ])" if name in whole else re.escape(name) for name in names)
    return NamedTokens(tokens, re.compile("|".join(parts)))


# Plain sequences.


def token_digits(letters: np.ndarray) -> tuple[np.ndarray, int]:
    """Look up the digit of every letter, uint8 as given, and the largest: above 3 some k-mer is [UNK], 5 is a blank.

    >>> token_digits(as_letters("AT CN"))[0].tolist()
    [0, 1, 5, 2, 4]
    """
    digits = np.frombuffer(letters.tobytes().translate(_DIGIT_BYTES), np.uint8)  # faster than indexing
    return digits, int(digits.max()) if len(digits) else 0


def has_blank(highest: int) -> bool:
    """Tell from the largest digit whether there is a blank."""
    return highest == _BLANK


def encode_plain(
    letters: np.ndarray, digits: np.ndarray, highest: int, row_lengths: np.ndarray, k: int, stride: int, plan: Plan
) -> Rows:
    """Encode joined rows without blanks and named tokens.

    Args:
        letters, digits: of all rows, (nt,).
        highest: the largest digit.
        row_lengths: nt of each row, (rows,).
        k, stride: nt.
        plan: the layout.
    """
    lower = _LOWER[letters] if "soft_masked" in plan.wanted else None
    if len(row_lengths) == 1 or (row_lengths == row_lengths[0]).all():
        return _encode_even(digits, highest, lower, len(row_lengths), int(row_lengths[0]), k, stride, plan)
    return _encode_ragged(digits, highest, lower, row_lengths, k, stride, plan)


def _encode_even(
    digits: np.ndarray, highest: int, lower: np.ndarray | None, rows: int, length: int, k: int, stride: int, plan: Plan
) -> Rows:
    """Encode rows of ``length`` nt each: what is one number for all of them needs no array."""
    count = max(0, (length - k) // stride + 1)
    special = 2 if plan.special else 0
    kept = int(kept_tokens(count, 0, special, plan.max_length, plan.strategy, pair=False)[0])
    first = count - kept if plan.cut_left else 0
    own = slice(first * stride, (first + kept) * stride, stride)
    ids = np.empty((rows, kept + special), np.int64)
    slots = ids[:, special // 2 : special // 2 + kept]
    codes, unknown = _flat_kmers(digits, highest, k)
    slots[...] = codes[: rows * length].reshape(rows, length)[:, own]
    slots += NUM_SPECIAL_TOKENS
    count_unknown = 0
    if unknown is not None:
        there = unknown.reshape(rows, length)[:, own]
        np.copyto(slots, UNK, where=there)
        count_unknown = int(np.count_nonzero(there))
    if plan.special:
        ids[:, 0], ids[:, -1] = plan.special
    lengths = np.full(rows, kept + special)
    columns = _plain_columns(ids, lengths, first, k, stride, plan, even=True)
    if lower is not None:
        columns["soft_masked"] = np.zeros_like(ids)
        flat = rolling_any(_padded(lower, k), k)
        columns["soft_masked"][:, special // 2 : special // 2 + kept] = flat.reshape(rows, length)[:, own]
    uncovered = np.full(rows, length - covered_nt(count, k, min(k, stride))) if "uncovered_nt" in plan.wanted else None
    return Rows(columns, lengths, count_unknown, uncovered)


def _encode_ragged(
    digits: np.ndarray, highest: int, lower: np.ndarray | None, row_lengths: np.ndarray, k: int, stride: int, plan: Plan
) -> Rows:
    """Encode rows of different lengths."""
    counts = np.maximum(0, (row_lengths - k) // stride + 1)
    special = 2 if plan.special else 0
    kept, _ = kept_tokens(counts, 0, special, plan.max_length, plan.strategy, pair=False)
    first = counts - kept if plan.cut_left else np.zeros_like(counts)
    starts = np.cumsum(row_lengths) - row_lengths + first * stride
    ids = np.full((len(counts), int(kept.max()) + special), plan.pad, np.int64)
    codes, unknown = _flat_kmers(digits, highest, k)
    flat = codes.astype(np.int64)
    flat += NUM_SPECIAL_TOKENS
    if unknown is not None:
        np.copyto(flat, UNK, where=unknown)
    _copy_rows(ids[:, special // 2 :], flat, starts, kept, stride)
    if plan.special:
        ids[:, 0] = plan.special[0]
        ids[np.arange(len(counts)), kept + 1] = plan.special[1]
    columns = _plain_columns(ids, kept + special, first, k, stride, plan)
    if lower is not None:
        columns["soft_masked"] = np.zeros_like(ids)
        flat = rolling_any(_padded(lower, k), k)
        _copy_rows(columns["soft_masked"][:, special // 2 :], flat, starts, kept, stride)
    uncovered = None
    if "uncovered_nt" in plan.wanted:  # the gaps of a stride above k are under no k-mer either
        uncovered = row_lengths - np.where(counts > 0, (counts - 1) * min(k, stride) + k, 0)
    return Rows(columns, kept + special, 0 if unknown is None else _count_unknown(ids), uncovered)


def _count_unknown(ids: np.ndarray) -> int:
    return int(np.count_nonzero(ids == UNK))


def _flat_kmers(digits: np.ndarray, highest: int, k: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Number the k-mers that start at every digit of joined rows (those over a row's end mean nothing).

    Returns:
        codes, and which of them touch an unknown letter (None if there is no such letter), (digits,) each.
    """
    padded = _padded(digits, k)
    if highest <= 3:
        return rolling_codes(padded, k), None
    return rolling_codes(padded & 3, k), rolling_any(padded > 3, k)


def _padded(flat: np.ndarray, k: int) -> np.ndarray:
    """Lengthen by k - 1, so that a k-mer starts at every letter."""
    return np.concatenate([flat, np.zeros(k - 1, flat.dtype)])


def _copy_rows(slots: np.ndarray, flat: np.ndarray, starts: np.ndarray, kept: np.ndarray, stride: int) -> None:
    """Copy ``kept`` values of each row, every ``stride``-th from its start in ``flat`` (nt,), into ``slots``."""
    for row, (start, count) in enumerate(zip(starts.tolist(), kept.tolist(), strict=True)):
        slots[row, :count] = flat[start : start + count * stride : stride]


def _plain_columns(
    ids: np.ndarray, lengths: np.ndarray, first: Any, k: int, stride: int, plan: Plan, even: bool = False
) -> dict[str, np.ndarray]:
    """Build the columns that follow from the lengths of the rows; ``even`` where all are as wide as ``ids``."""
    columns = {"input_ids": ids}
    if "token_type_ids" in plan.wanted:
        columns["token_type_ids"] = np.zeros(ids.shape, np.int64)
    if "attention_mask" in plan.wanted:
        columns["attention_mask"] = np.ones(ids.shape, np.int64) if even else _attention(lengths, ids.shape[1])
    if not plan.wanted & {"special_tokens_mask", "offset_mapping"}:
        return columns
    lead = 1 if plan.special else 0
    place = np.arange(ids.shape[1])
    inside = (place >= lead) & (place < lengths[:, None] - lead)
    if "special_tokens_mask" in plan.wanted:
        columns["special_tokens_mask"] = 1 - inside.astype(np.int64)
    if "offset_mapping" in plan.wanted:
        start = (np.maximum(place - lead, 0) + np.reshape(first, (-1, 1))) * stride
        columns["offset_mapping"] = np.where(inside[..., None], np.stack([start, start + k], -1), 0)
    return columns


def _attention(lengths: np.ndarray, width: int) -> np.ndarray:
    return (np.arange(width) < lengths[:, None]).astype(np.int64)


# Pieces of text.


def encode_pieces(tokens: Tokens, owner: np.ndarray, plan: Plan, *, pair: bool) -> tuple[Rows, np.ndarray]:
    """Lay the tokens of rows of one or two sequences out, each sequence made of one or more pieces of text.

    Args:
        tokens: as `find_tokens` gives them.
        owner: number of the sequence that each piece belongs to, ascending from 0 without a gap, (pieces,); with
            ``pair``, sequences 2 i and 2 i + 1 are the two of row i.
        plan: the layout.
        pair: rows have two sequences.

    Returns:
        The rows, and how many tokens each sequence has before any is cut away, (sequences,).
    """
    ways = 2 if pair else 1
    counts = np.bincount(owner[tokens.piece], minlength=int(owner[-1]) + 1)
    first, *second = counts.reshape(-1, ways).T
    special = ways + 1 if plan.special else 0
    other = second[0] if pair else np.zeros_like(first)
    both = kept_tokens(first, other, special, plan.max_length, plan.strategy, pair=pair)
    kept = np.stack(both[:ways], 1)
    lost = np.bincount(owner, tokens.uncovered_nt, len(counts)).astype(np.int64).reshape(-1, ways).sum(1)
    columns = _piece_columns(tokens, owner[tokens.piece], counts, kept, plan)
    return Rows(columns, kept.sum(1) + special, _count_unknown(columns["input_ids"]), lost), counts


def _places(
    sequence: np.ndarray, counts: np.ndarray, kept: np.ndarray, plan: Plan
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tell which tokens stay (bool, all tokens), and the row and column of each of these.

    Args:
        sequence: that each token belongs to, (tokens,).
        counts: tokens of each sequence, (sequences,).
        kept: how many of them stay, (rows, sequences of a row).
        plan: the layout.
    """
    rank = np.arange(len(sequence)) - (np.cumsum(counts) - counts)[sequence]
    if plan.cut_left:
        rank -= (counts - kept.reshape(-1))[sequence]
    stays = (rank >= 0) & (rank < kept.reshape(-1)[sequence])
    row, way = np.divmod(sequence[stays], kept.shape[1])
    lead = 1 if plan.special else 0
    return stays, row, rank[stays] + lead + np.where(way == 1, kept[row, 0] + lead, 0)


def _piece_columns(
    tokens: Tokens, sequence: np.ndarray, counts: np.ndarray, kept: np.ndarray, plan: Plan
) -> dict[str, np.ndarray]:
    """Put the tokens that stay into (rows, longest) columns, with [CLS] and [SEP] around them; see `_places`."""
    lengths = kept.sum(1) + (kept.shape[1] + 1 if plan.special else 0)
    width = int(lengths.max(initial=0))
    stays, row, column = _places(sequence, counts, kept, plan)

    def scattered(values: np.ndarray, fill: int) -> np.ndarray:
        matrix = np.full((len(kept), width, *values.shape[1:]), fill, np.int64)
        matrix[row, column] = values[stays]
        return matrix

    columns = {"input_ids": scattered(tokens.ids, plan.pad)}
    place = np.arange(width)
    second = np.zeros((len(kept), width), np.int64)
    if plan.special:
        columns["input_ids"][:, 0] = plan.special[0]
        for end in np.cumsum(kept + 1, axis=1).T:  # a [SEP] behind each sequence
            columns["input_ids"][np.arange(len(kept)), end] = plan.special[1]
        if kept.shape[1] == 2:
            second[(place > kept[:, :1] + 1) & (place < lengths[:, None])] = 1
    if "token_type_ids" in plan.wanted:
        columns["token_type_ids"] = second
    if "attention_mask" in plan.wanted:
        columns["attention_mask"] = _attention(lengths, width)
    if "special_tokens_mask" in plan.wanted:
        columns["special_tokens_mask"] = scattered(np.zeros(len(stays), np.int64), 1)
    if "offset_mapping" in plan.wanted:
        columns["offset_mapping"] = scattered(np.stack([tokens.start, tokens.end], 1), 0)
    if "soft_masked" in plan.wanted:
        columns["soft_masked"] = scattered(tokens.soft_masked, 0)
    return columns


def overflowing(
    ids: np.ndarray, counts: np.ndarray, plan: Plan, overlap: int, *, pair: bool
) -> tuple[list[list[int]], list[int]]:
    """Give the tokens that were cut from each row, with ``overlap`` of those kept, and by how many it was too long.

    Only one sequence of a row is cut, so they come from the first or, with ``only_second``, the second.
    """
    ways = 2 if pair else 1
    special = ways + 1 if plan.special else 0
    limited = plan.max_length and plan.strategy != TruncationStrategy.DO_NOT_TRUNCATE
    lengths = counts.reshape(-1, ways).sum(1) + special
    excess = np.maximum(0, lengths - plan.max_length) if limited else np.zeros_like(lengths)
    last = plan.strategy == TruncationStrategy.ONLY_SECOND
    ends = np.cumsum(counts)
    cut = []
    for row, more in enumerate(excess.tolist()):
        sequence = row * ways + (1 if last else 0)
        own = ids[ends[sequence] - counts[sequence] : ends[sequence]] if pair or not last else ids[:0]
        length = min(len(own), overlap + more) if more else 0
        cut.append((own[:length] if plan.cut_left else own[len(own) - length :]).tolist())
    return cut, excess.tolist()


def find_tokens(
    pieces: list[str], k: int, stride: int, named: NamedTokens | None = None, places: list[str] | None = None
) -> Tokens:
    """Find the tokens of pieces of text: whole sequences or pre-tokenised words.

    Each piece is cut at its blanks and named tokens into words, and each word by itself into k-mers.

    Args:
        pieces: text; at least one.
        k, stride: nt.
        named: tokens that stand for themselves where they occur.
        places: says for an error where each piece stands; given to refuse characters that are no nucleotide code.

    Raises:
        ValueError: if ``places`` is given and there is such a character.

    >>> find_tokens(["ACGTT AC-G", "acg"], 3, 1).ids.tolist()
    [16, 50, 58, 1, 1, 16]
    """
    letters = as_letters(" ".join(pieces)).copy()
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    begin = np.cumsum(lengths + 1) - lengths - 1  # of each piece, in ``letters``
    found = _find_named(pieces, begin, named)
    for start, end, _ in found.tolist():
        letters[start:end] = _BLANKS[0]
    if places is not None:
        _check_pieces(letters, pieces, begin, places)
    digits, _ = token_digits(letters)
    start = _kmer_starts(digits == _BLANK, k, stride)
    ids = np.where(
        rolling_any(digits > 3, k)[start],
        UNK,
        rolling_codes(digits & 3, k)[start].astype(np.int64) + NUM_SPECIAL_TOKENS,
    )
    soft = rolling_any(_LOWER[letters], k)[start]
    uncovered = _uncovered(digits != _BLANK, begin, lengths, start, k)
    if len(found):
        order = np.argsort(np.concatenate([start, found[:, 0]]), kind="stable")
        end = np.concatenate([start + k, found[:, 1]])[order]
        start = np.concatenate([start, found[:, 0]])[order]
        ids = np.concatenate([ids, found[:, 2]])[order]
        soft = np.concatenate([soft, np.zeros(len(found), bool)])[order]
    else:
        end = start + k
    piece = np.searchsorted(begin, start, side="right") - 1
    return Tokens(ids, piece, start - begin[piece], end - begin[piece], soft, uncovered)


def _uncovered(letter: np.ndarray, begin: np.ndarray, lengths: np.ndarray, start: np.ndarray, k: int) -> np.ndarray:
    """Count the letters of each piece under no k-mer; ``letter`` tells letters from blanks, ``start`` is of k-mers."""
    before = np.concatenate([[0], np.cumsum(letter)])
    alone = np.minimum(k, np.diff(start, append=len(letter) + k))  # a letter under several k-mers counts once
    piece = np.searchsorted(begin, start, side="right") - 1
    return before[begin + lengths] - before[begin] - np.bincount(piece, alone, len(begin)).astype(np.int64)


def _kmer_starts(blank: np.ndarray, k: int, stride: int) -> np.ndarray:
    """Find where k-mers start: at every ``stride``-th letter of a word, as long as k letters are left."""
    starts = ~rolling_any(blank, k)
    if stride > 1:
        place = np.arange(len(starts))
        last_blank = np.maximum.accumulate(np.where(blank[: len(starts)], place, -1))
        starts &= (place - last_blank - 1) % stride == 0
    return np.flatnonzero(starts)


def _find_named(pieces: list[str], begin: np.ndarray, named: NamedTokens | None) -> np.ndarray:
    """Find named tokens: start and end in the joined letters, and id, int64 (found, 3)."""
    found: list[tuple[int, int, int]] = []
    if named:
        for piece, offset in zip(pieces, begin.tolist(), strict=True):
            hits = named.pattern.finditer(piece)
            found += [(offset + hit.start(), offset + hit.end(), named.ids[hit.group()]) for hit in hits]
    return np.array(found, np.int64).reshape(-1, 3)


def kept_tokens(
    first: Any,
    second: Any,
    special: int,
    max_length: int | None,
    strategy: TruncationStrategy,
    *,
    pair: bool,
) -> tuple[Any, Any]:
    """Count the tokens of each sequence that stay when rows are cut to ``max_length``, as transformers does.

    Args:
        first, second: tokens of the two sequences of each row, (rows,), or of one row.
        special: special tokens of a row.
        max_length: None or 0 for any length.
        strategy: which sequence gives way.
        pair: there is a second sequence, maybe empty.
    """
    if not max_length or strategy == TruncationStrategy.DO_NOT_TRUNCATE:
        return first, second
    excess = np.maximum(0, first + second + special - max_length)
    if strategy == TruncationStrategy.ONLY_SECOND:
        return first, np.maximum(0, second - excess)
    if strategy == TruncationStrategy.ONLY_FIRST or not pair:
        return np.maximum(0, first - excess), second
    apart = np.minimum(np.abs(second - first), excess)  # the longer one gives way until both are equal, then in turn
    from_first = (excess - apart) // 2 + np.where(first > second, apart, 0)
    return np.maximum(0, first - from_first), np.maximum(0, second - (excess - from_first))


# What a call may bring.


def is_sequence(value: Any) -> bool:
    """Tell whether a value is one sequence: str, bytes or uint8 letters."""
    if isinstance(value, np.ndarray):
        return value.dtype == np.uint8 and value.ndim == 1
    return isinstance(value, str | bytes)


def as_text(sequence: str | bytes | np.ndarray) -> str:
    """Turn a sequence into str, one character a byte."""
    return sequence if isinstance(sequence, str) else as_letters(sequence).tobytes().decode("latin-1")


def read_rows(text: Any, text_pair: Any, words: bool) -> tuple[list[tuple[Any, Any]], bool]:
    """Tell a batch from a single row as transformers does, and pairs from single sequences.

    Args:
        text, text_pair: as in ``PreTrainedTokenizerBase.__call__``.
        words: sequences are lists of pre-tokenised words.

    Returns:
        Rows of (sequence, second sequence or None), and whether it was a single row.

    Raises:
        ValueError: if the pairs do not fit.
    """
    inner = list | tuple
    batched = isinstance(text, inner) and (
        isinstance(text[0], inner) if words and text else not words and (not text or not isinstance(text[0], int))
    )
    if not batched:
        return [(text, text_pair)], True
    if text_pair is not None and (not isinstance(text_pair, inner) or len(text_pair) != len(text)):
        raise ValueError("If `text` is a batch, `text_pair` must also be a batch of the same length.")
    return [
        _read_row(row, other, words) for row, other in zip(text, text_pair or [None] * len(text), strict=True)
    ], False


def _read_row(row: Any, other: Any, words: bool) -> tuple[Any, Any]:
    if other is not None or not isinstance(row, list | tuple) or not row or isinstance(row[0], int):
        return row, other
    if len(row) == 2 and (isinstance(row, tuple) or not words):
        return row[0], row[1]
    if len(row) == 1:
        return row[0], None
    if not words:
        raise ValueError(f"Expected a pair of sequences, got {len(row)} sequences.")
    return row, None


def pieces_of(sequence: Any, words: bool, where: str) -> list[str] | None:
    """Give the pieces of text of a sequence; None where it holds token ids or tokens instead of text.

    Raises:
        ValueError: if it is neither, naming ``where``.
    """
    if is_sequence(sequence):
        return [as_text(sequence)]
    if isinstance(sequence, list | tuple) and sequence:
        if isinstance(sequence[0], int):
            return None
        if all(map(is_sequence, sequence)):
            return [as_text(word) for word in sequence] if words else None
    raise ValueError(
        f"{where}: {type(sequence).__name__} {str(sequence)[:40]!r} is no sequence; give str, bytes or uint8 letters "
        "(lists of words with is_split_into_words=True)"
    )


# From ids back to letters.


def spell(ids: np.ndarray, k: int, stride: int) -> str | None:
    """Merge k-mer ids in reading order into the DNA they were cut from; [UNK] is N where no other k-mer shows it.

    Args:
        ids: (tokens,), k-mers and [UNK] only.
        k, stride: nt.

    Returns:
        (tokens - 1) * stride + k letters; None where neighbouring k-mers contradict each other.

    >>> spell(np.array([16, 50, 1]), 3, 1)
    'ACGTN'
    """
    known, codes = ids >= NUM_SPECIAL_TOKENS, ids - NUM_SPECIAL_TOKENS
    shown = [(codes >> 2 * (k - 1 - place) & 3).astype(np.uint8) for place in range(k)]
    digits = np.full((len(ids) - 1) * stride + k, _OTHER, np.uint8)
    views = [digits[place : place + (len(ids) - 1) * stride + 1 : stride] for place in range(k)]
    for view, letters in zip(views, shown, strict=True):
        np.copyto(view, letters, where=known)
    if any(((view != letters) & known).any() for view, letters in zip(views, shown, strict=True)):
        return None
    return digits.tobytes().translate(_SPELLING).decode("ascii")


def mirrored(ids: np.ndarray) -> np.ndarray:
    """Say for each place of rows of ids which place holds its mirror image, (..., tokens).

    [PAD], [CLS] and [SEP] stay; what stands between them is turned end for end.

    >>> mirrored(np.array([2, 10, 11, 12, 3, 0])).tolist()
    [0, 3, 2, 1, 4, 5]
    """
    place = np.broadcast_to(np.arange(ids.shape[-1]), ids.shape)
    frame = (ids == PAD) | (ids == CLS) | (ids == SEP)
    before = np.maximum.accumulate(np.where(frame, place, -1), -1)
    after = np.minimum.accumulate(np.where(frame, place, ids.shape[-1])[..., ::-1], -1)[..., ::-1]
    return before + after - place


# Padding and checks.


def pad_columns(
    columns: dict[str, np.ndarray], lengths: np.ndarray, width: int, pad: int, *, left: bool
) -> dict[str, np.ndarray]:
    """Widen right-padded columns to ``width``, with the id ``pad``, and move the padding to the left where asked."""
    longest = columns["input_ids"].shape[1]
    if width <= longest and not left:
        return columns
    fills = {"input_ids": pad, "special_tokens_mask": 1}  # [PAD] is a special token; all else is 0 where no token is
    width = max(width, longest)
    place = np.arange(width) - ((width - lengths)[:, None] if left else 0)  # old column of each new one
    real = np.broadcast_to((place >= 0) & (place < lengths[:, None]), (len(lengths), width))
    source = np.clip(np.broadcast_to(place, real.shape), 0, max(0, longest - 1))
    padded = {}
    for name, column in columns.items():
        if not longest:
            padded[name] = np.full((len(lengths), width, *column.shape[2:]), fills.get(name, 0))
            continue
        shape = (slice(None), slice(None), *[None] * (column.ndim - 2))
        padded[name] = np.where(real[shape], column[np.arange(len(lengths))[:, None], source], fills.get(name, 0))
    return padded


def check_letters(letters: np.ndarray, digits: np.ndarray, lengths: np.ndarray, texts: Any = None) -> None:
    """Refuse joined rows with a character that is no nucleotide code.

    Args:
        letters, digits: (nt,) uint8.
        lengths: nt of each row, (rows,).
        texts: the rows, to show the character as it was given.

    Raises:
        ValueError: naming row, position and character.
    """
    others = np.flatnonzero(digits > 3)  # A, C, G, T and U are most letters, and are known to be right
    wrong = ~_NUCLEOTIDE[letters[others]]
    if wrong.any():
        place = int(others[wrong.argmax()])
        row = int(np.searchsorted(np.cumsum(lengths), place, side="right"))
        position = place - int(lengths[:row].sum())
        text = texts[row] if texts is not None and isinstance(texts[row], str) else None
        raise _letter_error(f"row {row + 1}", position, text[position] if text else chr(letters[place]))


def _check_pieces(letters: np.ndarray, pieces: list[str], begin: np.ndarray, places: list[str]) -> None:
    wrong = (_DIGIT[letters] == _OTHER) & ~_NUCLEOTIDE[letters]
    if wrong.any():
        place = int(wrong.argmax())
        piece = int(np.searchsorted(begin, place, side="right")) - 1
        position = place - int(begin[piece])
        raise _letter_error(places[piece], position, pieces[piece][position])


def _letter_error(where: str, position: int, letter: str) -> ValueError:
    """Say what is wrong with a letter; position is 0-based and told 1-based."""
    return ValueError(
        f"{where}, position {position + 1}: {letter!r} is no nucleotide code (allowed: {IUPAC} and U, either case)"
    )
