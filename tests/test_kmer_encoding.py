"""The fast route against its slow twin: plain rows encoded letter by letter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.tokenization_utils_base import TruncationStrategy

from hf_genomics.kmer_decoding import is_kmer, kmer_to_code, split_into_kmers
from hf_genomics.kmer_encoding import (
    BLANK_DIGIT,
    IS_LOWER,
    IS_NUCLEOTIDE,
    OTHER_DIGIT,
    RowLayout,
    attention_mask,
    check_letters,
    count_unknown,
    encode_plain,
    kept_tokens,
    not_a_nucleotide,
    token_digits,
)
from hf_genomics.sequence import IUPAC, as_letters

COLUMNS = ("token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping", "soft_masked")
ROW = st.text("ACGTacgtNU-", max_size=25)
ROWS = st.one_of(
    st.lists(ROW, min_size=1, max_size=5),
    st.integers(0, 20).flatmap(  # all of one length
        lambda length: st.lists(st.text("ACGTn", min_size=length, max_size=length), min_size=1, max_size=4)
    ),
)
LAYOUT = st.builds(
    RowLayout,
    k=st.integers(1, 7),
    stride=st.integers(1, 9),  # also larger than k, which leaves gaps
    special_ids=st.sampled_from([None, (2, 3), (8, 9)]),
    pad_id=st.sampled_from([0, 7]),
    max_length=st.one_of(st.none(), st.integers(2, 20)),
    truncation=st.sampled_from([TruncationStrategy.DO_NOT_TRUNCATE, TruncationStrategy.LONGEST_FIRST]),
    truncate_left=st.booleans(),
    wanted=st.sets(st.sampled_from([*COLUMNS, "uncovered_nt"])).map(frozenset),
)


def row_slowly(text: str, layout: RowLayout) -> dict[str, list]:
    """Encode one row letter by letter; no padding."""
    k, stride = layout.k, layout.stride
    kmers = list(split_into_kmers(text, k, stride, "[UNK]"))
    tokens = [(kmer_to_code(kmer) + 5 if is_kmer(kmer, k) else 1, number * stride) for number, kmer in enumerate(kmers)]
    if layout.max_length and layout.truncation != TruncationStrategy.DO_NOT_TRUNCATE:
        room = layout.max_length - (2 if layout.special_ids else 0)
        tokens = tokens[max(0, len(tokens) - room) :] if layout.truncate_left else tokens[:room]
    soft = [int(any(letter.islower() for letter in text[start : start + k])) for _, start in tokens]
    around = [(0, 0)] if layout.special_ids else []
    ends = [[special] for special in layout.special_ids] if layout.special_ids else [[], []]
    zero = [0] * len(around)
    return {
        "input_ids": ends[0] + [index for index, _ in tokens] + ends[1],
        "token_type_ids": [0] * (len(tokens) + 2 * len(around)),
        "attention_mask": [1] * (len(tokens) + 2 * len(around)),
        "special_tokens_mask": [1] * len(around) + [0] * len(tokens) + [1] * len(around),
        "offset_mapping": around + [(start, start + k) for _, start in tokens] + around,
        "soft_masked": zero + soft + zero,
    }


def encoded(rows: list[str], layout: RowLayout):
    letters = as_letters("".join(rows))
    return encode_plain(letters, *token_digits(letters), np.array(list(map(len, rows))), layout)


@given(ROWS, LAYOUT)
def test_plain_rows_are_encoded_as_letter_by_letter(rows: list[str], layout: RowLayout) -> None:
    found, slow = encoded(rows, layout), [row_slowly(text, layout) for text in rows]
    assert set(found.matrices) == {"input_ids", *layout.wanted} - {"uncovered_nt"}
    assert found.lengths.tolist() == [len(row["input_ids"]) for row in slow]
    longest = max(found.lengths)
    fills = {"input_ids": layout.pad_id, "special_tokens_mask": 1, "offset_mapping": (0, 0)}
    for name, column in found.matrices.items():
        assert column.dtype == np.int64 and column.shape[:2] == (len(rows), longest)
        for row, expected in zip(column.tolist(), slow, strict=True):
            padding = [fills.get(name, 0)] * (longest - len(expected[name]))
            assert [tuple(cell) if isinstance(cell, list) else cell for cell in row] == expected[name] + padding
    assert found.num_unknown == sum(row["input_ids"].count(1) for row in slow)


@given(ROWS, LAYOUT)
def test_uncovered_nucleotides_are_those_under_no_kmer_even_of_those_removed(rows: list[str], layout) -> None:
    found = encoded(rows, layout)
    if "uncovered_nt" not in layout.wanted:
        assert found.uncovered_nt is None
        return
    for text, count in zip(rows, found.uncovered_nt.tolist(), strict=True):
        starts = range(0, len(text) - layout.k + 1, layout.stride)
        assert count == len(text) - len({nt for start in starts for nt in range(start, start + layout.k)})


def test_every_byte_has_the_digit_of_its_kind() -> None:
    letters = np.arange(256, dtype=np.uint8)
    digits, highest = token_digits(letters)
    for byte, digit in enumerate(digits.tolist()):
        letter = chr(byte).upper().replace("U", "T") if byte < 128 else "-"
        blank = letter in " \t\n\r\v\f"
        assert digit == (BLANK_DIGIT if blank else "ATCG".find(letter) if letter in "ATCG" else OTHER_DIGIT)
        assert IS_NUCLEOTIDE[byte] == (byte < 128 and letter in IUPAC)
        assert IS_LOWER[byte] == (byte < 128 and chr(byte).islower())
    assert highest == BLANK_DIGIT and token_digits(letters[:0])[1] == 0


def truncated_slowly(first: int, second: int, special: int, max_length: int, strategy: TruncationStrategy):
    """Remove one token after the other, as transformers does."""
    for _ in range(max(0, first + second + special - max_length)):
        if strategy == TruncationStrategy.LONGEST_FIRST and first > second or strategy == TruncationStrategy.ONLY_FIRST:
            first = max(0, first - 1)
        else:
            second = max(0, second - 1)
    return first, second


@given(
    st.integers(0, 15),
    st.integers(0, 15),
    st.integers(0, 3),
    st.integers(1, 30),
    st.sampled_from(["longest_first", "only_first", "only_second"]),
)
def test_tokens_are_removed_one_by_one(first: int, second: int, special: int, max_length: int, strategy: str) -> None:
    strategy = TruncationStrategy(strategy)
    found = kept_tokens(first, second, special, max_length, strategy, pair=True)
    expected = truncated_slowly(first, second, special, max_length, strategy)
    if first + second + special - max_length <= first + second:  # otherwise special tokens alone are too many
        assert tuple(map(int, found)) == expected
    rows = kept_tokens(np.array([first, 0]), np.array([second, 0]), special, max_length, strategy, pair=True)
    assert [column[0] for column in rows] == [int(count) for count in found]


def test_nothing_is_removed_without_a_limit_or_a_strategy() -> None:
    assert kept_tokens(9, 8, 3, None, TruncationStrategy.LONGEST_FIRST, pair=True) == (9, 8)
    assert kept_tokens(9, 8, 3, 5, TruncationStrategy.DO_NOT_TRUNCATE, pair=True) == (9, 8)
    assert kept_tokens(9, 0, 2, 5, TruncationStrategy.LONGEST_FIRST, pair=False)[0] == 3


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(0, 12))
def test_attention_is_on_tokens_and_not_on_padding(lengths: list[int], width: int) -> None:
    mask = attention_mask(np.array(lengths), width)
    assert mask.dtype == np.int64
    assert mask.tolist() == [[int(place < length) for place in range(width)] for length in lengths]


def test_unknown_tokens_are_counted() -> None:
    assert count_unknown(np.array([[1, 2, 1], [0, 1, 5]])) == 3


@given(st.lists(st.text(IUPAC + IUPAC.lower() + "Uu", max_size=9), min_size=1), st.characters(), st.data())
def test_letters_that_are_not_nucleotides_are_named_by_row_and_position(rows: list[str], odd: str, data) -> None:
    lengths = np.array(list(map(len, rows)))
    letters = as_letters("".join(rows))
    check_letters(letters, token_digits(letters)[0], lengths, rows)
    if odd in IUPAC + IUPAC.lower() + "Uu":
        return
    row = data.draw(st.integers(0, len(rows) - 1))
    position = data.draw(st.integers(0, len(rows[row])))
    rows[row] = rows[row][:position] + odd + rows[row][position:]
    lengths = np.array(list(map(len, rows)))
    letters = as_letters("".join(rows))
    with pytest.raises(ValueError) as caught:
        check_letters(letters, token_digits(letters)[0], lengths, rows)
    assert str(caught.value).startswith(f"row {row + 1}, position {position + 1}: {odd!r} ")


def test_the_error_for_a_letter_is_one_line_with_rule_and_remedy() -> None:
    message = str(not_a_nucleotide("row 2, word 1", 4, "="))
    assert message.startswith("row 2, word 1, position 5: '='") and "\n" not in message
    assert IUPAC in message and "replace it by N" in message
