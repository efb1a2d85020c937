"""What cannot be scored: found before, while and after the model reads it, and reported once."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics import KmerTokenizer, predict_nt_scores, predict_scores
from hf_genomics.errors import InputError
from hf_genomics.inference.problems import (
    OVERFLOW,
    UNKNOWN,
    Problem,
    Unscored,
    check_alphabet,
    examined,
    known_tokens,
    listed,
    problem_of_sequence,
    too_long,
    too_short,
    with_known_kmers,
    wrong_letter,
)
from hf_genomics.inference.scores import as_examples
from hf_genomics.inference.windows import Window, row_problems
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.sequence import as_letters


def window(text: str, index: int = 0, start: int = 0) -> Window:
    return Window(index, f"s{index}", start, {"sequence": as_letters(text)})


@given(st.text("ACGTacgtNRU", min_size=0, max_size=20), st.integers(1, 5), st.integers(1, 5))
def test_known_tokens_are_counted_as_by_hand(text, k, stride):
    tokenizer = KmerTokenizer(k=k, stride=min(stride, k))
    ids, _ = tokenizer.encode_batch([as_letters(text)])
    kmers = [text[at : at + k] for at in range(0, len(text) - k + 1, tokenizer.stride)]
    known = sum(set(kmer.upper()) <= set("ACGTU") for kmer in kmers)
    assert known_tokens({"input_ids": torch.from_numpy(ids.astype(np.int64))}, tokenizer) == [(known, len(kmers))]
    examples = LabelledSequences("t", ["a", "b"], [as_letters(text), as_letters("A" * k)])
    has_one = any(set(text[at : at + k].upper()) <= set("ACGTU") for at in range(len(text) - k + 1))
    assert len(with_known_kmers(examples, tokenizer, strict=False)) == 1 + has_one


@pytest.mark.parametrize("pairs", [False, True])
def test_what_the_letters_show_before_is_what_the_scores_show_after(model_of, pairs):
    model, tokenizer = model_of("pairs" if pairs else "classes")
    texts = ["ACGTTGCA", "", "AC", "N" * 90, "NNNACGNNN", "acgttgca", "NANCNG", "ACGT" * 30, "AC-GTT"]
    examples = as_examples(texts)
    if pairs:
        examples = replace(examples, pairs=[as_letters(text) for text in reversed(texts)])
    found = row_problems(examples, model, tokenizer)
    assert [*found] == np.flatnonzero(np.isnan(predict_scores(model, tokenizer, examples)).all(1)).tolist()
    wrong = row_problems(as_examples(["ACGT", "ACG-ACG", "MKVL"]), model, tokenizer)
    assert {row: problem.kind for row, problem in wrong.items()} == {1: "letters", 2: "letters"}


def test_of_a_pair_the_side_that_knows_less_counts():
    tokenizer = KmerTokenizer(k=3)
    batch = {
        "input_ids": torch.tensor([[2, 9, 9, 3, 1, 9, 3]]),
        "token_type_ids": torch.tensor([[0, 0, 0, 0, 1, 1, 1]]),
    }
    assert known_tokens(batch, tokenizer) == [(1, 2)]


def test_only_problems_of_the_whole_sequence_outweigh_windows_that_can_be_scored():
    short = too_short(2, 3)
    assert problem_of_sequence([None, UNKNOWN]) is None and problem_of_sequence([UNKNOWN, UNKNOWN]) is UNKNOWN
    assert problem_of_sequence([None, OVERFLOW]) is OVERFLOW and problem_of_sequence([UNKNOWN, short]) is short
    assert too_long([5, 5], 10, 10) is None and "11 tokens" in too_long([5, 5], 11, 10).message


def test_a_wrong_letter_has_its_place_in_the_sequence():
    [good, bad] = examined([window("ACGTN"), window("AC-T", start=100)])
    assert (
        good.problem is None and bad.problem.kind == "letters" and bad.problem.message.startswith("position 103: '-'")
    )


def test_a_wrong_letter_of_several_bytes_is_shown_whole():
    for content in ("ACé".encode(), "ACé".encode("latin-1")):
        assert wrong_letter(np.frombuffer(content, np.uint8)).message.startswith("position 3: 'é'")


def test_of_several_problems_of_a_sequence_the_first_is_named(caplog):
    found = [Problem("letters", f"position {place}: bad") for place in range(3, 90)]
    unscored = Unscored("f.fa", "record", strict=False)
    list(unscored.watch((window("A")._replace(problem=problem), np.zeros(1)) for problem in found))
    unscored.warn()
    assert "position 3: bad" in caplog.text


def test_a_file_is_refused_only_if_none_of_its_first_sequences_is_dna():
    bad = [window("MKL", index) for index in range(1500)]
    for windows in (bad, bad[:1], bad[:3]):
        with pytest.raises(InputError, match=r"f\.fa: record 1 \('s0'\), position 3: 'L'"):
            list(check_alphabet(examined(windows), "f.fa", "record"))
    for windows in ([*bad[:999], window("ACG")], [window("ACG"), *bad], []):
        assert len(list(check_alphabet(examined(windows), "f.fa", "record"))) == len(windows)


def test_one_warning_counts_each_kind_and_names_the_first_three(caplog):
    scored = [(window("A", index)._replace(problem=UNKNOWN), np.zeros(1)) for index in range(5)]
    scored += [(window("A", 5)._replace(tokens=(4, 10)), np.zeros(1)), (window("A", 6)._replace(tokens=(5, 10)), 0)]
    scored += [(window("A", 7)._replace(problem=too_short(1, 3)), np.zeros(1))]
    unscored = Unscored("f.fa", "record", strict=False)
    assert len(list(unscored.watch(scored))) == 8 and unscored.count == 6
    unscored.warn()
    [message] = [record.getMessage() for record in caplog.records]
    for part in ("f.fa", "6 of 8", "5 without a known k-mer ('s0', 's1', 's2', ...)", "('s7')", "('s5')"):
        assert part in message
    with pytest.raises(InputError, match=r"f\.fa: record 1 \('s0'\): has no k-mer"):
        list(Unscored("f.fa", "record", strict=True).watch(scored))


def test_nothing_is_said_where_nothing_is_wrong(caplog):
    unscored = Unscored("f.fa", "record", strict=True)
    list(unscored.watch([(window("ACGT")._replace(tokens=(2, 2)), np.zeros(1))]))
    unscored.warn()
    assert not caplog.records and listed(["a"], 1) == "'a'"


def test_in_python_such_sequences_are_nan_in_their_own_rows(model_of, caplog):
    caplog.set_level(logging.WARNING)
    texts = ["ACGTTGCA", "", "AC", "N" * 90, "ACGTTGCA", "acgttgca", "ACGU"]
    scores = predict_scores(*model_of("classes"), texts)
    assert np.isnan(scores).all(1).tolist() == [False, True, True, True, False, False, False]
    assert (scores[0] == scores[4]).all() and "3 of 7" in caplog.text
    nt_scores = predict_nt_scores(*model_of("nucleotides"), texts)
    assert [len(rows) for rows in nt_scores] == [len(text) for text in texts]
    assert [bool(np.isnan(rows).all()) for rows in nt_scores] == [False, True, True, True, False, False, False]


def test_examples_without_a_known_kmer_are_omitted_or_refused(caplog):
    examples = as_examples(["ACGT", "NNNN", "ACNGT"])
    tokenizer = KmerTokenizer(k=3)
    assert with_known_kmers(examples, tokenizer, strict=False).ids == ["1"] and "2 of 3" in caplog.text
    with pytest.raises(InputError, match="'2', '3'"):
        with_known_kmers(examples, tokenizer, strict=True)
    with pytest.raises(InputError, match="1 of 1"):
        with_known_kmers(as_examples(["NNNN"]), tokenizer, strict=False)
