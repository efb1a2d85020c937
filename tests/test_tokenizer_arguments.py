"""What a caller may hand to the tokenizer: names, numbers, options, rows, pieces."""

from __future__ import annotations

import numpy as np
import pytest
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from hf_genomics.tokenizer_arguments import (
    CallOptions,
    check_arguments,
    check_policy,
    check_size,
    check_special_names,
    check_window_options,
    is_sequence,
    pieces_of,
    read_options,
    read_pieces,
    read_rows,
)

LETTERS = np.frombuffer(b"ACG", np.uint8)


@pytest.mark.parametrize(
    ("name", "meant"), [("strid", "stride"), ("K", "k"), ("model_max_lenght", "model_max_length"), ("zzzzzzz", None)]
)
def test_unknown_arguments_are_named_with_the_one_that_was_meant(name: str, meant: str | None) -> None:
    with pytest.raises(TypeError) as caught:
        check_arguments([name], PreTrainedTokenizerBase)
    assert repr(name) in str(caught.value) and str(caught.value).endswith(f"{meant!r}?" if meant else repr(name))


def test_known_arguments_pass_and_method_names_are_left_to_transformers() -> None:
    check_arguments(["k", "errors", "padding_side", "_commit_hash", "tokenize"], PreTrainedTokenizerBase)


@pytest.mark.parametrize(
    ("size", "named"),
    [
        ((9, 1, False, False), "not 9.*allow_large_k=True"),
        ((13, 1, False, True), "not 13"),
        ((3, 4, False, False), "not 4.*allow_gaps=True"),
        ((3, 0, True, True), "not 0"),
    ],
)
def test_impossible_sizes_are_named_with_a_remedy(size: tuple, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        check_size(*size)


def test_possible_sizes_pass() -> None:
    for size in [(8, 1, False, False), (12, 12, False, True), (3, 9, True, False)]:
        check_size(*size)


@pytest.mark.parametrize("errors", ["ignore", "", None])
def test_other_policies_are_named(errors) -> None:
    check_policy("unk")
    check_policy("raise")
    with pytest.raises(ValueError, match=repr(errors)):
        check_policy(errors)


@pytest.mark.parametrize("names", [["", "a"], ["a", "a"], ["ACG", "a"]])
def test_names_that_cannot_be_told_apart_are_named(names: list[str]) -> None:
    with pytest.raises(ValueError, match=repr(names[0])):
        check_special_names(names, 3)


def test_tokens_that_are_left_out_have_no_name_to_check() -> None:
    check_special_names(["None", "None", "[CLS]", "ACGT"], 3)


def test_misspelt_options_are_rejected_and_unknown_ones_ignored_with_a_warning(transformers_log) -> None:
    assert read_options({"max_length": 3, "target_species": "phage"}) == CallOptions(max_length=3)
    assert "'target_species'" in transformers_log.text
    with pytest.raises(TypeError, match="'paddin'; did you mean 'padding'"):
        read_options({"paddin": True})


def test_options_of_windows_are_checked_and_so_is_the_sequence() -> None:
    check_window_options({"padding": True, "return_tensors": "np"}, b"ACG")
    with pytest.raises(TypeError, match="'overlp'; did you mean 'overlap'"):
        check_window_options({"overlp": 3}, "ACG")
    with pytest.raises(TypeError, match="list"):
        check_window_options({}, ["ACG"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [("A", True), ("", True), (b"ACG", True), (LETTERS, True), (LETTERS.astype(int), False), (LETTERS[None], False)]
    + [(bytearray(b"A"), False), (["A"], False), (3, False), (None, False)],
)
def test_a_sequence_is_text_bytes_or_letters(value: object, expected: bool) -> None:
    assert is_sequence(value) == expected


@pytest.mark.parametrize(
    ("text", "pair", "words", "rows", "single"),
    [
        ("A", None, False, [("A", None)], True),
        ("A", "C", False, [("A", "C")], True),
        ([], None, False, [], False),
        (["A", "C"], None, False, [("A", None), ("C", None)], False),
        (["A", "C"], ["G", "T"], False, [("A", "G"), ("C", "T")], False),
        ([("A", "C")], None, False, [("A", "C")], False),
        ([["A", "C"]], None, False, [("A", "C")], False),
        ([["A"]], None, False, [("A", None)], False),
        (["A", "C"], None, True, [(["A", "C"], None)], True),
        ([["A", "C"]], None, True, [(["A", "C"], None)], False),
        ([(["A"], ["C", "G"])], None, True, [(["A"], ["C", "G"])], False),
        ([3, 4], None, False, [([3, 4], None)], True),
        ([[3, 4]], None, False, [([3, 4], None)], False),
    ],
)
def test_rows_are_read_by_transformers_rules(text, pair, words: bool, rows: list, single: bool) -> None:
    assert read_rows(text, pair, words) == (rows, single)


@pytest.mark.parametrize(("text", "pair"), [(["A", "C"], ["G"]), (["A"], "G"), ([["A", "C", "G"]], None)])
def test_pairs_that_do_not_match_are_rejected(text, pair) -> None:
    with pytest.raises(ValueError, match="pair"):
        read_rows(text, pair, False)


def test_pieces_are_the_sequence_or_its_words() -> None:
    assert pieces_of("ACG", False, "row 1") == ["ACG"]
    assert pieces_of(["ACG", b"T"], True, "row 1") == ["ACG", b"T"]
    assert pieces_of(["ACG", "T"], False, "row 1") is None, "tokens"
    assert pieces_of([3, 4], False, "row 1") is None, "token ids"


@pytest.mark.parametrize("value", [3.5, None, [], [None], {"a": 1}, ["A", 3]])
def test_what_is_not_a_sequence_is_named_by_row_and_type(value: object) -> None:
    with pytest.raises(ValueError, match=rf"row 4.*not a sequence but a {type(value).__name__}"):
        pieces_of(value, True, "row 4")


def test_no_more_than_30_characters_of_a_value_are_shown() -> None:
    with pytest.raises(ValueError) as caught:
        pieces_of([3.0, "ACGT" * 100], True, "row 1")
    assert "ACGT" * 8 not in str(caught.value)


def test_pieces_of_rows_know_their_sequence_and_place() -> None:
    found = read_pieces([("A", "C"), ("G", "T")], False)
    assert (found.pieces, found.owner, found.pair) == (["A", "C", "G", "T"], [0, 1, 2, 3], True)
    assert found.descriptions == ["row 1", "row 1, second sequence", "row 2", "row 2, second sequence"]
    words = read_pieces([(["A", "C"], None), (["G"], None)], True)
    assert (words.pieces, words.owner, words.pair) == (["A", "C", "G"], [0, 0, 1], False)
    assert words.descriptions == ["row 1, word 1", "row 1, word 2", "row 2, word 1"]
    assert read_pieces([([3, 4], None)], False) is None
