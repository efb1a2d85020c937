"""Tokens of any text against a walk over its characters: blanks, named tokens, pairs, truncation."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.tokenization_utils_base import TruncationStrategy

from hf_genomics.kmer_decoding import is_kmer, kmer_to_code
from hf_genomics.kmer_encoding import RowLayout
from hf_genomics.kmer_pieces import AddedName, as_text, encode_pieces, find_tokens, name_tokens, overflowing
from hf_genomics.sequence import as_letters

NAMES = (
    AddedName("[MASK]", 4, special=True, whole_word=False),
    AddedName("<gap>", 69, special=False, whole_word=False),
    AddedName("<gap>s", 70, special=False, whole_word=False),
    AddedName("TAG", 71, special=False, whole_word=True),
)
TEXT = st.lists(st.sampled_from(["A", "CG", "GATTACA", "tt", "N", "-", " ", "\n", "s", *(n.text for n in NAMES)])).map(
    "".join
)


def tokens_slowly(text: str, k: int, stride: int, understood: list[AddedName]) -> list[tuple[int, int, int, bool]]:
    """Walk over a text: id, start, end and soft-masking of each token."""
    found, start, word = [], 0, 0  # ``word``: where the current word began
    by_length = sorted(understood, key=lambda name: -len(name.text))

    def close(end: int) -> None:
        for begin in range(word, end - k + 1, stride):
            kmer = text[begin : begin + k]
            read = kmer.upper().replace("U", "T")
            index = kmer_to_code(read) + 5 if is_kmer(read, k) else 1
            found.append((index, begin, begin + k, any(letter.islower() for letter in kmer)))

    while start < len(text):
        name = next((name for name in by_length if matches(text, start, name)), None)
        if name is None and text[start] not in " \t\n\r\v\f":
            start += 1
            continue
        close(start)
        if name is not None:
            found.append((name.id, start, start + len(name.text), False))
        start += len(name.text) if name else 1
        word = start
    close(len(text))
    return found


def matches(text: str, start: int, name: AddedName) -> bool:
    end = start + len(name.text)
    alone = text[start - 1 : start] in ("", " ") and text[end : end + 1] in ("", " ")
    return text.startswith(name.text, start) and (alone or not name.whole_word)


@given(st.lists(TEXT, min_size=1, max_size=4), st.integers(1, 4), st.integers(1, 6), st.booleans(), st.booleans())
def test_tokens_are_those_of_a_walk_over_the_characters(
    pieces: list[str], k: int, stride: int, split: bool, data: bool
) -> None:
    tokens = find_tokens([piece.encode() for piece in pieces] if data else pieces, k, stride, name_tokens(NAMES, split))
    understood = [name for name in NAMES if not name.special or not (split or data)]
    slow = [
        (piece, *token) for piece, text in enumerate(pieces) for token in tokens_slowly(text, k, stride, understood)
    ]
    found = zip(tokens.piece, tokens.ids, tokens.start, tokens.end, tokens.soft_masked, strict=True)
    assert [tuple(map(int, token)) for token in found] == [tuple(map(int, token)) for token in slow]


@given(st.lists(TEXT, min_size=1, max_size=4), st.integers(1, 4), st.integers(1, 6))
def test_uncovered_letters_are_those_under_no_token(pieces: list[str], k: int, stride: int) -> None:
    tokens = find_tokens(pieces, k, stride, name_tokens(NAMES, False))
    for number, text in enumerate(pieces):
        own = tokens.piece == number
        spans = zip(tokens.start[own].tolist(), tokens.end[own].tolist(), strict=True)
        covered = {place for start, end in spans for place in range(start, end)}
        letters = [place for place, letter in enumerate(text) if letter not in " \t\n\r\v\f"]
        assert tokens.uncovered_nt[number] == len(set(letters) - covered)


def test_bytes_letters_and_text_are_one_character_a_byte() -> None:
    assert as_text("ACé中") == "ACé中" and as_text("Aé".encode("latin-1")) == "Aé"
    assert as_text(as_letters("ACGT")) == "ACGT"


def test_the_longest_name_wins_and_no_name_gives_no_pattern() -> None:
    named = name_tokens(NAMES, True)
    assert [hit.group() for hit in named.find("<gap>s<gap>[MASK] TAG xTAG")] == ["<gap>s", "<gap>", "TAG"]
    assert [hit.group() for hit in name_tokens(NAMES, False).find("A[MASK]A")] == ["[MASK]"]
    assert list(name_tokens(NAMES, False).find(b"A[MASK]A")) == []
    assert name_tokens(NAMES[:1], True) is None and name_tokens((), False) is None
    assert list(name_tokens(NAMES[:1], False).find(as_letters("[MASK]"))) == []


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_names_that_occur_are_never_overlooked_by_the_quick_check(pieces: list[str]) -> None:
    named = name_tokens((*NAMES, AddedName("中", 72, special=False, whole_word=False)), False)
    pieces.append("中")
    for chosen in (pieces, pieces[:-1], pieces[-1:]):
        letters = as_letters("".join(chosen))
        assert named.may_occur(letters) or not any(any(named.find(piece)) for piece in chosen)
    assert not named.may_occur(as_letters("ACGTNNN[]<>"))


@pytest.mark.parametrize(
    ("pieces", "where", "position", "letter"),
    [(["ACGT", "AC=T"], "second", 3, "="), (["AC GT*"], "first", 6, "*"), (["中"], "first", 1, "中")],
)
def test_other_characters_are_named_by_piece_and_position(pieces, where, position, letter) -> None:
    assert len(find_tokens(pieces, 3, 1).ids) >= 0
    with pytest.raises(ValueError, match=re.escape(f"{where}, position {position}: {letter!r}")):
        find_tokens(pieces, 3, 1, None, ["first", "second"][: len(pieces)])


def test_named_tokens_and_blanks_are_no_wrong_characters() -> None:
    find_tokens(["AC [MASK]\n<gap>N"], 3, 1, name_tokens(NAMES, False), ["here"])


WANTED = frozenset(
    ["token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping", "soft_masked", "uncovered_nt"]
)
WORDS = st.lists(st.text("ACGTn", max_size=8), min_size=1, max_size=3)


@given(
    st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.integers(3, 12)),
    st.sampled_from(["longest_first", "only_first", "only_second"]),
)
def test_rows_of_pieces_are_put_together_as_one_token_after_the_other(
    rows: list, pair: bool, special: bool, left: bool, max_length: int | None, strategy: str
) -> None:
    strategy = TruncationStrategy(strategy)
    k, stride, ways = 3, 1, 2 if pair else 1
    if not pair and strategy == TruncationStrategy.ONLY_SECOND:
        return
    layout = RowLayout(k, stride, (2, 3) if special else None, 0, max_length, strategy, left, WANTED)
    sequences = [words for row in rows for words in row[:ways]]
    pieces = [word for words in sequences for word in words]
    owner = np.array([number for number, words in enumerate(sequences) for _ in words])
    found, counts = encode_pieces(find_tokens(pieces, k, stride), owner, layout, pair=pair)
    width = found.matrices["input_ids"].shape[1]
    for number in range(len(rows)):
        parts = [
            [token for word in words for token in tokens_slowly(word, k, stride, [])]
            for words in sequences[number * ways : (number + 1) * ways]
        ]
        assert counts[number * ways : (number + 1) * ways].tolist() == list(map(len, parts))
        while max_length and sum(map(len, parts)) + (ways + 1) * special > max_length and any(parts):
            first = strategy == TruncationStrategy.ONLY_FIRST or (
                strategy == TruncationStrategy.LONGEST_FIRST and (not pair or len(parts[0]) > len(parts[1]))
            )
            chosen = parts[0 if first else 1]
            if not chosen:
                break
            chosen.pop(0 if left else -1)
        tokens = [(2, 0, 0, False, 0)] * special
        for way, part in enumerate(parts):
            tokens += [(*token, way) for token in part] + [(3, 0, 0, False, way)] * special
        assert len(tokens) == found.lengths[number]
        row = {name: column[number][: len(tokens)].tolist() for name, column in found.matrices.items()}
        assert row["input_ids"] == [index for index, *_ in tokens]
        assert row["offset_mapping"] == [[start, end] for _, start, end, *_ in tokens]
        assert row["soft_masked"] == [int(soft) for _, _, _, soft, _ in tokens]
        assert row["special_tokens_mask"] == [int(special and index in (2, 3)) for index, *_ in tokens]
        if special:
            assert row["token_type_ids"] == [way for *_, way in tokens]
        assert row["attention_mask"] == [1] * len(tokens)
        assert found.matrices["input_ids"][number][len(tokens) :].tolist() == [0] * (width - len(tokens))
        assert not found.matrices["attention_mask"][number][len(tokens) :].any()
    assert found.num_unknown == (found.matrices["input_ids"] == 1).sum()


@pytest.mark.parametrize(("left", "removed"), [(False, [12, 13, 14]), (True, [10, 11, 12])])
def test_overflowing_tokens_are_those_removed_and_the_overlap(left: bool, removed: list[int]) -> None:
    layout = RowLayout(3, 1, (2, 3), 0, 5, TruncationStrategy.LONGEST_FIRST, left, frozenset())
    ids, counts = np.array([10, 11, 12, 13, 14, 20, 21]), np.array([5, 2])
    assert overflowing(ids, counts, layout, 1, pair=False) == ([removed, []], [2, 0])
    second = layout._replace(truncation=TruncationStrategy.ONLY_SECOND, max_length=9)
    assert overflowing(ids, counts, second, 0, pair=True) == ([[20] if left else [21]], [1])
    unlimited = layout._replace(truncation=TruncationStrategy.DO_NOT_TRUNCATE)
    assert overflowing(ids, counts, unlimited, 1, pair=False) == ([[], []], [0, 0])
