"""KmerTokenizer: DNABERT's ids, the fast route against the readable one, and one test for every policy."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import datasets
import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_layers import PORTABLE
from transformers import AutoTokenizer, PreTrainedTokenizer, pipeline

from hf_genomics import KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.sequence import as_letters, covered_nt, num_kmers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
KMERS = [(k, stride) for k in range(1, 9) for stride in range(1, k + 1)]
PADDINGS = [{"padding": False}, {"padding": True}, {"padding": "max_length", "max_length": 24}]


class ReadableTokenizer(KmerTokenizer):
    """The same tokenizer on transformers' own route, one string per token."""

    _encode_plus = PreTrainedTokenizer._encode_plus


FAST = {kmer: KmerTokenizer(*kmer) for kmer in KMERS}
READABLE = {kmer: ReadableTokenizer(*kmer) for kmer in KMERS}

DNA = st.text("ACGT", max_size=60)
TEXT = st.one_of(
    DNA,
    st.text("ACGTacgtUuNnRYKMSWBDHV", max_size=40),
    st.text("ACGTN-*?. \t\n", max_size=40),
    st.text(max_size=20),
    st.lists(st.sampled_from([*SPECIAL, "ACGTACGT", "tttttttt", " ", "NN"]), max_size=6).map("".join),
)
CALL = st.fixed_dictionaries(
    {
        "padding": st.sampled_from([False, True, "max_length"]),
        "truncation": st.booleans(),
        "add_special_tokens": st.booleans(),
        "split_special_tokens": st.booleans(),
    },
    optional={
        "max_length": st.integers(1, 30),
        "pad_to_multiple_of": st.sampled_from([2, 8]),
        "padding_side": st.sampled_from(["left", "right"]),
        "return_tensors": st.sampled_from(["np", "pt"]),
        "return_token_type_ids": st.booleans(),
        "return_attention_mask": st.booleans(),
        "return_special_tokens_mask": st.booleans(),
        "return_length": st.booleans(),
    },
)
WORD = re.compile(r"[^ \t\n\r\v\f]+")


def listed(value: object) -> object:
    """Turn a tensor or array (of arrays, where rows differ in length) into lists, so that two results compare."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(map(listed, value)) if isinstance(value, list) else value


def outcome(tokenizer: KmerTokenizer, *args: object, **call: object) -> object:
    """Return the result of a call, or the kind of error it raises."""
    try:
        encoding = tokenizer(*args, **call)
    except ValueError:
        return ValueError
    return {name: (type(column), listed(column)) for name, column in encoding.items()}


def assert_routes_agree(kmer: tuple[int, int], *args: object, truncation_side: str = "right", **call: object) -> None:
    """Compare the fast route with the readable one."""
    FAST[kmer].truncation_side = READABLE[kmer].truncation_side = truncation_side
    assert outcome(FAST[kmer], *args, **call) == outcome(READABLE[kmer], *args, **call)


# Ids.


def test_the_start_of_phix174_has_these_ids(tokenizer: KmerTokenizer, tokenizer_stride3: KmerTokenizer) -> None:
    # GAGTTT by hand: G3 A0 G3 T1 T1 T1 in base 4 is 3*1024 + 0*256 + 3*64 + 1*16 + 1*4 + 1 = 3285, and 5 specials.
    start = "GAGTTTTATCGCTTCC"
    assert tokenizer(start)["input_ids"] == [2, 3290, 858, 3417, 1366, 1355, 1312, 1139, 446, 1770, 2971, 3679, 3]
    assert tokenizer_stride3(start)["input_ids"] == [2, 3290, 1366, 1139, 2971, 3]


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (4, 1), (5, 1), (6, 1), (6, 3), (6, 6), (8, 5)])
def test_a_whole_genome_gets_the_ids_of_a_dictionary(k: int, stride: int, repo_root: Path) -> None:
    with gzip.open(repo_root / "recipes/data/quickstart/NC_001422.fasta.gz", "rt") as file:
        genome = "".join(line.strip() for line in file if not line.startswith(">"))
    vocabulary = {"".join(letters): 5 + number for number, letters in enumerate(itertools.product("ATCG", repeat=k))}
    ids = [vocabulary[genome[i : i + k]] for i in range(0, len(genome) - k + 1, stride)]
    assert len(genome) == 5386
    assert FAST[k, stride](genome)["input_ids"] == [2, *ids, 3]


# The fast route and the readable one.


def has_tokens(kmer: tuple[int, int], call: dict, *texts: str) -> bool:
    """Check whether a row has tokens: transformers does not pad a single empty row, we pad it like any other."""
    return call["add_special_tokens"] or any(READABLE[kmer].tokenize(text, **options(call)) for text in texts)


def options(call: dict) -> dict:
    return {"split_special_tokens": call["split_special_tokens"]}


@settings(max_examples=500)
@given(st.sampled_from(KMERS), st.lists(TEXT, min_size=20, max_size=24), CALL, st.sampled_from(["left", "right"]))
def test_the_fast_route_equals_the_readable_one_on_ten_thousand_inputs(
    kmer: tuple, batch: list, call: dict, side: str
) -> None:
    assert_routes_agree(kmer, batch, truncation_side=side, **call)


@settings(max_examples=300)
@given(st.sampled_from(KMERS), TEXT, CALL, st.sampled_from(["left", "right"]))
def test_a_single_text_equals_the_readable_route(kmer: tuple, text: str, call: dict, side: str) -> None:
    if has_tokens(kmer, call, text):
        assert_routes_agree(kmer, text, truncation_side=side, **call)


@settings(max_examples=100)
@given(st.sampled_from(KMERS), st.integers(0, 70), st.integers(1, 6), CALL, st.sampled_from(["left", "right"]))
def test_rows_of_one_length_equal_the_readable_route(
    kmer: tuple, length: int, rows: int, call: dict, side: str
) -> None:
    letters = np.random.default_rng(length).choice(list("ACGTN"), (rows, length), p=[0.24, 0.24, 0.24, 0.24, 0.04])
    assert_routes_agree(kmer, ["".join(row) for row in letters], truncation_side=side, **call)


@settings(max_examples=150)
@given(
    st.sampled_from(KMERS),
    st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3),
    CALL,
    st.sampled_from([True, False, "only_first", "only_second"]),
    st.sampled_from(["left", "right"]),
)
def test_pairs_equal_the_readable_route(kmer: tuple, pairs: list, call: dict, truncation: object, side: str) -> None:
    call = call | {"truncation": truncation}
    # transformers loses the [SEP] of an empty second sequence when it cuts from the left
    hypothesis.assume(side == "right" or all(READABLE[kmer].tokenize(second, **options(call)) for _, second in pairs))
    first, second = map(list, zip(*pairs, strict=True))
    assert_routes_agree(kmer, first, second, truncation_side=side, **call)
    assert_routes_agree(kmer, pairs, truncation_side=side, **call)
    if has_tokens(kmer, call, *pairs[0]):
        assert_routes_agree(kmer, first[0], second[0], truncation_side=side, **call)


@settings(max_examples=100)
@given(st.sampled_from(KMERS), st.lists(st.lists(TEXT, min_size=1, max_size=3), min_size=1, max_size=3), CALL)
def test_words_equal_the_readable_route(kmer: tuple, rows: list, call: dict) -> None:
    assert_routes_agree(kmer, rows, is_split_into_words=True, **call)
    if has_tokens(kmer, call, *rows[0]):
        assert_routes_agree(kmer, rows[0], is_split_into_words=True, **call)


@settings(max_examples=100)
@given(st.sampled_from(KMERS), st.lists(st.tuples(TEXT, DNA), min_size=1, max_size=3), CALL, st.data())
def test_overflowing_tokens_equal_the_readable_route(kmer: tuple, pairs: list, call: dict, data) -> None:
    pair = data.draw(st.booleans())
    side = data.draw(st.sampled_from(["left", "right"]))
    truncation = data.draw(st.sampled_from(["only_first", "only_second"] if pair else [True, "only_first"]))
    call = call | {"truncation": truncation, "stride": data.draw(st.integers(0, 9)), "return_overflowing_tokens": True}
    call.setdefault("max_length", 8)
    call.pop("pad_to_multiple_of", None)  # refused where it does not divide max_length, whatever the tokenizer
    if pair and side == "left":
        hypothesis.assume(all(READABLE[kmer].tokenize(second, **options(call)) for _, second in pairs))
    cut = []
    for row in pairs:
        texts = row if pair else row[:1]
        if has_tokens(kmer, call, *texts):
            assert_routes_agree(kmer, *texts, truncation_side=side, **call)
        if "return_tensors" not in call:
            cut.append(FAST[kmer](*texts, **call).get("overflowing_tokens", []))
    if any(cut):  # transformers' batch leaves rows out that were not cut, and so loses which row is which
        columns = zip(*pairs, strict=True) if pair else [[row[0] for row in pairs]]
        assert FAST[kmer](*map(list, columns), **call)["overflowing_tokens"] == cut


def test_ten_thousand_sequences_equal_the_readable_route() -> None:
    generator = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGTacgtACGTACGTNUR-", np.uint8)
    for number in range(200):
        kmer = KMERS[number % len(KMERS)]
        batch = [generator.choice(letters, length).tobytes().decode() for length in generator.integers(0, 60, 50)]
        fast = FAST[kmer](batch)["input_ids"]
        kmers = map(FAST[kmer].tokenize, batch)
        assert fast == [[2, *FAST[kmer].convert_tokens_to_ids(tokens), 3] for tokens in kmers]


@given(st.sampled_from(KMERS), st.lists(st.text(st.characters(max_codepoint=255), max_size=30), min_size=1, max_size=4))
def test_bytes_and_letters_are_read_like_text_without_special_tokens(kmer: tuple, batch: list) -> None:
    tokenizer = FAST[kmer]
    expected = tokenizer(batch, padding=True, split_special_tokens=True).data
    coded = [text.encode("latin-1") for text in batch]
    assert tokenizer(coded, padding=True).data == expected
    assert tokenizer([np.frombuffer(row, np.uint8) for row in coded], padding=True).data == expected
    assert tokenizer(coded[0]).data == tokenizer(as_letters(batch[0])).data == tokenizer(batch[0]).data


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_fills_the_side_asked_for(padding: dict, side: str, tokenizer: KmerTokenizer) -> None:
    tokenizer.padding_side = side
    batch = tokenizer(["ACGTACGT", "ACGTAC"], return_special_tokens_mask=True, **padding)
    width = {False: None, True: 5, "max_length": 24}[padding["padding"]]
    for ids, mask, special in zip(
        batch["input_ids"], batch["attention_mask"], batch["special_tokens_mask"], strict=True
    ):
        kept = [token for token, real in zip(ids, mask, strict=True) if real]
        empty = len(ids) - len(kept)
        assert len(ids) == (width or len(kept)) and kept[0] == 2 and kept[-1] == 3 and 0 not in kept
        assert ids == ([0] * empty + kept if side == "left" else kept + [0] * empty)
        assert special == [int(token < 5) for token in ids]


def test_an_empty_row_is_padded_like_any_other(tokenizer: KmerTokenizer) -> None:
    for text in ("", "ACGT", " "):
        row = tokenizer([text], add_special_tokens=False, padding="max_length", max_length=3)
        assert row.data == {"input_ids": [[0] * 3], "token_type_ids": [[0] * 3], "attention_mask": [[0] * 3]}
    assert tokenizer("", padding="max_length", max_length=3)["input_ids"] == [2, 3, 0]


@pytest.mark.parametrize("return_tensors", ["np", "pt"])
def test_tensors_are_int64_and_two_dimensional(return_tensors: str, tokenizer: KmerTokenizer) -> None:
    for text, rows in [("ACGTACGT", 1), (["ACGTACGT", "ACGTAC"], 2)]:
        batch = tokenizer(text, padding=True, return_tensors=return_tensors)
        for column in batch.values():
            assert column.shape == (rows, 5) and str(column.dtype).removeprefix("torch.") == "int64"


def test_rows_of_different_length_make_no_tensor_without_padding(tokenizer: KmerTokenizer) -> None:
    with pytest.raises(ValueError, match="padding=True"):
        tokenizer(["ACGTACGT", "ACGTAC"], return_tensors="pt")


def test_overflowing_tokens_are_returned(tokenizer: KmerTokenizer) -> None:
    encoding = tokenizer("ACGTACGTACGT", truncation=True, max_length=5, return_overflowing_tokens=True)
    whole = tokenizer("ACGTACGTACGT")["input_ids"]
    assert encoding["input_ids"] == [*whole[:4], 3]
    assert encoding["overflowing_tokens"] == whole[4:-1] and encoding["num_truncated_tokens"] == 4


# Offsets.


@given(st.sampled_from(KMERS), st.lists(st.text("ACGTacgtN-", max_size=50), min_size=1, max_size=4), st.data())
def test_offsets_are_the_nucleotides_of_each_token(kmer: tuple, batch: list, data: st.DataObject) -> None:
    k, stride = kmer
    tokenizer = FAST[kmer]
    tokenizer.truncation_side = data.draw(st.sampled_from(["left", "right"]))
    names = ("padding", "padding_side", "truncation", "max_length", "add_special_tokens")
    call = {name: value for name, value in data.draw(CALL).items() if name in names}
    encoding = tokenizer(batch, return_offsets_mapping=True, return_special_tokens_mask=True, **call)
    for row, text in enumerate(batch):
        tokens = tokenizer.convert_ids_to_tokens(encoding["input_ids"][row])
        offsets, special = encoding["offset_mapping"][row], encoding["special_tokens_mask"][row]
        starts = [start for (start, _), mark in zip(offsets, special, strict=True) if not mark]
        assert starts == list(range(starts[0], starts[0] + len(starts) * stride, stride)) if starts else True
        for token, (start, end), mark in zip(tokens, offsets, special, strict=True):
            if mark:
                assert (start, end) == (0, 0) and token in SPECIAL
            else:
                shown = text[start:end].upper()
                assert end - start == k and token == (shown if set(shown) <= set("ACGT") else "[UNK]")


def test_offsets_come_as_tensors_too(tokenizer_stride3: KmerTokenizer) -> None:
    encoding = tokenizer_stride3(
        ["ACGTACGTA", "ACGTAC"], padding=True, return_offsets_mapping=True, return_tensors="pt"
    )
    assert encoding["offset_mapping"].tolist() == [[[0, 0], [0, 6], [3, 9], [0, 0]], [[0, 0], [0, 6], [0, 0], [0, 0]]]


def kmers_slowly(text: str, k: int, stride: int) -> list[tuple[int, int]]:
    """Find the k-mers of a text letter by letter: start and end of each."""
    found = []
    for word in WORD.finditer(text):
        start = word.start()
        while start + k <= word.end():
            found.append((start, start + k))
            start += stride
    return found


def uncovered_slowly(text: str, k: int, stride: int) -> int:
    covered = {place for start, end in kmers_slowly(text, k, stride) for place in range(start, end)}
    return sum(1 for word in WORD.finditer(text) for place in range(*word.span()) if place not in covered)


@settings(max_examples=200)
@given(st.sampled_from(KMERS), st.lists(TEXT, min_size=1, max_size=5), st.sampled_from(["text", "pairs", "words"]))
def test_offsets_soft_masking_and_uncovered_nt_are_those_of_a_plain_loop(kmer: tuple, texts: list, kind: str) -> None:
    asked = {name: True for name in ("return_offsets_mapping", "return_soft_masked", "return_uncovered_nt")}
    asked["split_special_tokens"] = True
    tokenizer = FAST[kmer]
    if kind == "pairs":
        encoding, rows = tokenizer(texts, texts[::-1], **asked), list(zip(texts, texts[::-1], strict=True))
    elif kind == "words":
        encoding, rows = tokenizer([texts], is_split_into_words=True, **asked), [texts]
    else:
        encoding, rows = tokenizer(texts, **asked), [(text,) for text in texts]
    for number, row in enumerate(rows):
        offsets, soft = [(0, 0)], [0]
        for place, text in enumerate(row):
            found = kmers_slowly(text, *kmer)
            ends = kind != "words" or place == len(row) - 1  # words follow each other, sequences end with [SEP]
            offsets += found + [(0, 0)] * ends
            soft += [int(any(letter in "abcdefghijklmnopqrstuvwxyz" for letter in text[a:b])) for a, b in found]
            soft += [0] * ends
        assert encoding["offset_mapping"][number] == offsets and len(encoding["input_ids"][number]) == len(offsets)
        assert encoding["soft_masked"][number] == soft
        assert encoding["uncovered_nt"][number] == sum(uncovered_slowly(text, *kmer) for text in row)


def test_the_extra_columns_are_cut_and_padded_like_the_ids(tokenizer_stride3: KmerTokenizer) -> None:
    asked = {"return_offsets_mapping": True, "return_soft_masked": True, "return_uncovered_nt": True}
    call = {"padding": "max_length", "max_length": 4, "truncation": True, "padding_side": "left", **asked}
    encoding = tokenizer_stride3(["ACGTACgtaCGTA", "ACGTACG"], return_tensors="pt", **call)
    assert encoding["soft_masked"].tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    assert encoding["offset_mapping"].tolist() == [[[0, 0], [0, 6], [3, 9], [0, 0]], [[0, 0], [0, 0], [0, 6], [0, 0]]]
    assert encoding["uncovered_nt"].tolist() == [1, 1]
    single = tokenizer_stride3("ACGTACG TTA", **asked)
    assert single["uncovered_nt"] == 4 and single["soft_masked"] == [0, 0, 0]


def test_offsets_of_added_tokens_are_the_letters_of_their_names() -> None:
    tokenizer = KmerTokenizer(3)
    tokenizer.add_tokens(["<gap>"])
    encoding = tokenizer("ACGT<gap>ACG", return_offsets_mapping=True, return_uncovered_nt=True)
    assert encoding["offset_mapping"] == [(0, 0), (0, 3), (1, 4), (4, 9), (9, 12), (0, 0)]
    assert encoding["uncovered_nt"] == 0


@pytest.mark.parametrize("asked", ["return_offsets_mapping", "return_soft_masked", "return_uncovered_nt"])
def test_what_needs_text_is_refused_for_token_ids(asked: str, tokenizer: KmerTokenizer) -> None:
    assert tokenizer([16, 50])["input_ids"] == [2, 16, 50, 3]
    with pytest.raises(ValueError, match=f"{asked} needs text, not token ids"):
        tokenizer([16, 50], **{asked: True})


@pytest.mark.parametrize("text", [[float("nan")], ["ACGT", None], 7, [["ACGT", 3.5]], {"a": 1}])
def test_what_is_no_sequence_is_refused_by_row_and_type(text: object, tokenizer: KmerTokenizer) -> None:
    with pytest.raises(ValueError, match=r"row \d.*is not a sequence.*give str, bytes or uint8 letters"):
        tokenizer(text)


# Windows and places.


@settings(max_examples=200)
@given(st.sampled_from(KMERS), st.text("ACGTacgtN", max_size=90), st.integers(3, 14), st.data())
def test_windows_cover_the_sequence_and_fit_the_model(kmer: tuple, text: str, max_length: int, data) -> None:
    tokenizer = FAST[kmer]
    nt = covered_nt(max_length - 2, *kmer)
    overlap = data.draw(st.integers(0, nt - 1))
    windows = tokenizer.windows(text, max_length, overlap, return_offsets_mapping=True)
    places = list(zip(windows["window_start"], windows["window_end"], strict=True))
    assert places[0][0] == 0 and places[-1][1] == len(text)
    if len(text) >= nt:
        assert all(end - start == nt for start, end in places)
        assert {place for start, end in places for place in range(start, end)} == set(range(len(text)))
    assert all(first[1] - second[0] >= overlap for first, second in itertools.pairwise(places))
    for number, (start, end) in enumerate(places):
        own = tokenizer(text[start:end], return_offsets_mapping=True)
        ids, mask = windows["input_ids"][number], windows["attention_mask"][number]
        assert [token for token, real in zip(ids, mask, strict=True) if real] == own["input_ids"]
        assert len(ids) <= max_length
        shifted = [(a + start, b + start) for a, b in own["offset_mapping"] if b]
        assert [tuple(pair) for pair in windows["offset_mapping"][number] if pair[1]] == shifted


def test_windows_come_as_tensors_and_take_the_models_length() -> None:
    tokenizer = KmerTokenizer(3, model_max_length=6)
    windows = tokenizer.windows(
        np.frombuffer(b"ACGTTGCAAC", np.uint8), return_tensors="pt", return_token_type_ids=False
    )
    assert set(windows) == {"input_ids", "attention_mask", "window_start", "window_end"}
    assert windows["input_ids"].shape == (2, 6) and windows["window_start"].tolist() == [0, 4]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "no model_max_length"),
        ({"max_length": 2}, "leaves no room for a k-mer .* 2 special"),
        ({"max_length": 4, "overlap": 4}, r"overlap must be a whole number of nt in 0..3, not 4"),
        ({"max_length": 4, "overlap": 1.5}, "not 1.5"),
        ({"max_length": 4.0}, "max_length must be a whole number of tokens, not 4.0"),
        ({"max_length": 4, "overlp": 1}, "no option 'overlp'; did you mean 'overlap'"),
        ({"max_length": 4, "sequence": ["ACGTACGT"]}, "one sequence: .* not list"),
        ({"max_length": 4, "sequence": "ACGTA GTA*GT", "errors": "raise"}, r"position 10: '\*'"),
    ],
)
def test_windows_that_cannot_be_are_refused(call: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        KmerTokenizer(3).windows(**{"sequence": "ACGTACGT", **call})


@given(st.sampled_from(KMERS), st.integers(1, 60), st.booleans())
def test_places_of_tokens_and_nucleotides_agree(kmer: tuple, length: int, special: bool) -> None:
    tokenizer = FAST[kmer]
    lead, tokens = int(special), range(num_kmers(length, *kmer))
    covers = [tokenizer.token_to_nt(token + lead, special) for token in tokens]
    assert covers == kmers_slowly("A" * length, *kmer)
    for position in range(length):
        first, last = tokenizer.nt_to_token(position, length, special)
        over = [token + lead for token in tokens if covers[token][0] <= position < covers[token][1]]
        assert list(range(first, last)) == over
    starts, ends = tokenizer.nt_to_token(np.arange(length), length, special)
    assert [tokenizer.nt_to_token(i, length, special) for i in range(length)] == list(
        zip(starts.tolist(), ends.tolist(), strict=True)
    )
    assert tokenizer.uncovered_nt(length) == uncovered_slowly("A" * length, *kmer)


def test_places_outside_are_refused(tokenizer: KmerTokenizer) -> None:
    with pytest.raises(ValueError, match="token 0 .* begin at index 1"):
        tokenizer.token_to_nt(0)
    for position in (-1, 10):
        with pytest.raises(ValueError, match=f"position {position} is outside the sequence of 10 nt"):
            tokenizer.nt_to_token(position, length=10)
    with pytest.raises(ValueError, match="outside the sequence of 0 nt"):
        tokenizer.nt_to_token(0, length=0)
    with pytest.raises(ValueError, match="token must be a whole number, not 1.5"):
        tokenizer.token_to_nt(1.5)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda places: np.array(places, np.uint8)])
def test_places_come_as_lists_arrays_and_tensors(kind: Callable, tokenizer_stride3: KmerTokenizer) -> None:
    assert np.array(tokenizer_stride3.token_to_nt(kind([1, 3]))).tolist() == [[0, 6], [6, 12]]
    assert np.array(tokenizer_stride3.nt_to_token(kind([0, 7]), length=20)).tolist() == [[1, 2], [2, 4]]
    assert np.array(tokenizer_stride3.nt_to_token(kind([]), length=20)).shape == (2, 0)


# Policies.


@given(st.sampled_from(KMERS), st.text("ACGTN", max_size=40))
def test_lower_case_gets_the_same_ids(kmer: tuple, text: str) -> None:
    assert FAST[kmer](text.lower())["input_ids"] == FAST[kmer](text)["input_ids"]


@given(st.sampled_from(KMERS), st.text("ACGUacgu", max_size=40))
def test_u_is_read_as_t(kmer: tuple, text: str) -> None:
    assert FAST[kmer](text)["input_ids"] == FAST[kmer](text.replace("U", "T").replace("u", "t"))["input_ids"]


@given(st.sampled_from(KMERS), DNA, st.characters(exclude_characters="ACGTUacgtu \t\n\r\v\f"), DNA)
def test_a_kmer_that_touches_another_character_is_unk_at_its_place(
    kmer: tuple, left: str, odd: str, right: str
) -> None:
    k, stride = kmer
    ids = FAST[kmer](left + odd + right, add_special_tokens=False)["input_ids"]
    starts = range(0, len(left + odd + right) - k + 1, stride)
    replaced = FAST[kmer](left + "A" + right, add_special_tokens=False)["input_ids"]
    assert ids == [1 if start <= len(left) < start + k else id for start, id in zip(starts, replaced, strict=True)]


@given(st.sampled_from(KMERS), DNA, st.sampled_from(" \t\n\r\v\f"), DNA)
def test_blanks_are_word_boundaries(kmer: tuple, left: str, blank: str, right: str) -> None:
    apart = [FAST[kmer](text, add_special_tokens=False)["input_ids"] for text in (left, right)]
    assert FAST[kmer](left + blank + right, add_special_tokens=False)["input_ids"] == apart[0] + apart[1]


@given(st.integers(3, 6), DNA)
def test_dnaberts_kmer_text_gives_the_ids_of_the_raw_dna(k: int, text: str) -> None:
    kmers = [text[i : i + k] for i in range(len(text) - k + 1)]
    expected = FAST[k, 1](text).data
    assert FAST[k, 1](" ".join(kmers)).data == expected
    if kmers:
        assert FAST[k, 1](kmers, is_split_into_words=True).data == expected


@given(st.sampled_from(KMERS), st.text("ACGTN", max_size=40))
def test_a_sequence_shorter_than_k_gives_no_token(kmer: tuple, text: str) -> None:
    ids = FAST[kmer](text)["input_ids"]
    assert len(ids) == num_kmers(len(text), *kmer) + 2 == FAST[kmer].num_tokens(len(text))
    if len(text) < kmer[0]:
        assert ids == [2, 3]


SPECIAL_IN_TEXT = [
    text for name in SPECIAL for text in (name, f"ACGTACGT{name}ACGTACGT", f"{name} ACGTACGT", f"{name}\nACGTACGT")
]


@pytest.mark.parametrize("kmer", KMERS)
def test_special_names_in_data_never_become_special_ids(kmer: tuple) -> None:
    tokenizer = FAST[kmer]
    for text in SPECIAL_IN_TEXT:
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert set(ids) & {0, 2, 3, 4} == set()
        for data in (text.encode(), as_letters(text)):
            assert tokenizer(data, add_special_tokens=False)["input_ids"] == ids
            assert tokenizer([data, b""], add_special_tokens=False)["input_ids"] == [ids, []]
            assert tokenizer(data, data, add_special_tokens=False)["input_ids"] == [*ids, *ids]
            words = tokenizer([[data]], is_split_into_words=True, add_special_tokens=False)
            assert words["input_ids"] == [ids]


def test_only_a_name_within_bytes_or_letters_causes_a_warning(transformers_log) -> None:
    tokenizer = KmerTokenizer(3)
    across = ["ACGACGACGACG[MA", "SK]ACGACGACGACG"]  # the name begins in one row and ends in the next
    tokenizer(across)
    tokenizer([text.encode() for text in across])
    assert not transformers_log.messages
    tokenizer([b"ACGACGACGACGACGACGACGACG[MASK]"])
    (message,) = transformers_log.messages
    assert "Bytes" in message


@pytest.mark.parametrize("kmer", KMERS)
def test_windows_read_special_names_as_data(kmer: tuple) -> None:
    for text in SPECIAL_IN_TEXT:
        for sequence in (text, text.encode(), as_letters(text)):
            windows = FAST[kmer].windows(sequence, max_length=30, add_special_tokens=False)
            real = np.array(windows["attention_mask"]) == 1
            assert not np.isin(np.array(windows["input_ids"])[real], [0, 2, 3, 4]).any()


@pytest.mark.parametrize("kmer", KMERS)
def test_what_collators_call_rejects_special_names(kmer: tuple) -> None:
    for name in SPECIAL:
        with pytest.raises(ValueError, match=r"row 2, position 5: '\['"):
            FAST[kmer].encode_batch([as_letters("ACGT"), as_letters(f"ACGT{name}")])


def test_special_names_are_understood_in_text(tokenizer: KmerTokenizer) -> None:
    half = tokenizer("ACGTACGT", add_special_tokens=False)["input_ids"]
    for text in ("ACGTACGT[MASK]ACGTACGT", "ACGTACGT [MASK] ACGTACGT"):
        assert tokenizer(text)["input_ids"] == [2, *half, 4, *half, 3]
        assert tokenizer([text, "ACGTACGT"])["input_ids"] == [[2, *half, 4, *half, 3], [2, *half, 3]]
        assert 4 not in tokenizer(text, split_special_tokens=True)["input_ids"]
    assert tokenizer("ACGTACGT[UNK]")["input_ids"] == [2, *half, 1, 3]
    splitting = KmerTokenizer(split_special_tokens=True)
    assert 4 not in splitting("ACGTACGT[MASK]")["input_ids"]
    assert splitting("ACGTACGT[MASK]", split_special_tokens=False)["input_ids"] == [2, *half, 4, 3]


def test_added_tokens_that_are_written_in_dna_letters_are_found_in_dna() -> None:
    tokenizer = KmerTokenizer(3)
    tokenizer.add_tokens(["ACGT"])
    for sequence in ("TTTACGTTTT", b"TTTACGTTTT", as_letters("TTTACGTTTT")):
        assert tokenizer(sequence)["input_ids"] == tokenizer([sequence])["input_ids"][0] == [2, 26, 69, 26, 3]


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("loaded", [None, True, False])
def test_whether_special_tokens_are_split_is_saved_and_can_be_changed(saved: bool, loaded, tmp_path: Path) -> None:
    KmerTokenizer(3, split_special_tokens=saved).save_pretrained(tmp_path)
    changed = {} if loaded is None else {"split_special_tokens": loaded}
    for kind in (KmerTokenizer, AutoTokenizer):
        tokenizer = kind.from_pretrained(tmp_path, **changed)
        assert tokenizer.split_special_tokens == (saved if loaded is None else loaded)
        assert (4 in tokenizer("ACG[MASK]")["input_ids"]) != tokenizer.split_special_tokens


@pytest.mark.parametrize("loaded", [None, True, False])
def test_folders_of_version_0_1_understand_masks_unless_told_otherwise(loaded, tmp_path: Path) -> None:
    """They all hold split_special_tokens=true, which was the default, and worked in the fill-mask pipeline."""
    KmerTokenizer(3, split_special_tokens=True).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    assert settings.pop("_format_version") == 2
    path.write_text(json.dumps(settings))
    changed = {} if loaded is None else {"split_special_tokens": loaded}
    tokenizer = KmerTokenizer.from_pretrained(tmp_path, **changed)
    assert tokenizer.split_special_tokens == bool(loaded)
    tokenizer.save_pretrained(tmp_path)
    assert KmerTokenizer.from_pretrained(tmp_path).split_special_tokens == bool(loaded)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ACGTAXGT", r"row 1, position 6: 'X' .*ACGTRYSWKMBDHVN and U"),
        (["ACGT", "ACGT", "AC-T"], r"row 3, position 3: '-'"),
        (["ACGT", "A*GT", "AC-T"], r"row 2, position 2: '\*'"),
        ("ACGT ACGT 1CGT", r"row 1, position 11: '1'"),
        (["ACGT ACGT", "ACGT ACG中"], r"row 2, position 9: '中'"),
        ([["ACGT", "ACGT"], ["ACGT", "ZCGT"]], r"row 2, word 2, position 1: 'Z'"),
        (b"ACGT[MASK]", r"row 1, position 5: '\['"),
        ("ACGT[MASK", r"row 1, position 5: '\['"),
        (b"ACGT\x00", r"row 1, position 5: '\\x00'"),
    ],
)
def test_errors_raise_names_row_position_and_character(text: object, message: str, tokenizer: KmerTokenizer) -> None:
    strict = KmerTokenizer(errors="raise")
    words = isinstance(text, list) and isinstance(text[0], list)
    with pytest.raises(ValueError, match=message):
        strict(text, is_split_into_words=words)
    with pytest.raises(ValueError, match=message):
        tokenizer(text, is_split_into_words=words, errors="raise")
    assert strict(text, is_split_into_words=words, errors="unk").data == tokenizer(text, is_split_into_words=words).data


def test_errors_raise_looks_at_pairs_too() -> None:
    strict = KmerTokenizer(errors="raise")
    with pytest.raises(ValueError, match="row 2, second sequence, position 3: '='"):
        strict(["ACGT", "ACGT"], ["ACGT", "AC=T"])
    with pytest.raises(ValueError, match="row 1, second sequence, position 1: '='"):
        strict("ACGT", "=CGT")


def test_errors_raise_lets_nucleotide_codes_blanks_and_understood_tokens_pass() -> None:
    strict, lenient = KmerTokenizer(errors="raise"), KmerTokenizer()
    for text in (
        "ACGTRYSWKMBDHVNU",
        "acgtryswkmbdhvnu",
        "ACGTAC GTACGT\n",
        "",
        ["ACGTACG", ""],
        [["ACGTAC", "CGTACG"]],
    ):
        words = text == [["ACGTAC", "CGTACG"]]
        assert strict(text, is_split_into_words=words).data == lenient(text, is_split_into_words=words).data
    assert strict("ACGTAC[MASK]")["input_ids"][2] == 4
    with pytest.raises(ValueError, match=r"row 1, position 7: '\['"):
        strict("ACGTAC[MASK]", split_special_tokens=True)
    with pytest.raises(ValueError, match='errors must be "unk" or "raise", not "?\'?rise'):
        lenient("ACGT", errors="rise")


def test_masks_are_understood_in_the_fill_mask_pipeline(tiny_config) -> None:
    tokenizer = KmerTokenizer(3)
    model = KmerBertForMaskedLM(tiny_config).eval()
    fill = pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")
    filled = fill("ACGTTG[MASK]TTGCAA", top_k=2)
    assert [tokenizer.decode(row["token"]) for row in filled] == [row["token_str"] for row in filled]
    assert len(filled) == 2
    ids = torch.tensor([tokenizer("ACGTTG[MASK]TTGCAA")["input_ids"]])
    assert ids.tolist()[0].count(4) == 1
    scores = model(ids).logits[0, ids[0].tolist().index(4)].softmax(-1)
    assert filled[0]["score"] == pytest.approx(scores.max().item(), abs=1e-5) and filled[0]["token"] == scores.argmax()
    features = pipeline("feature-extraction", model=model.base_model, tokenizer=tokenizer, device="cpu")
    assert len(features("ACGTTG[MASK]TTGCAA")[0]) == ids.shape[1]


def test_a_mostly_unknown_batch_warns_once_and_names_the_likely_cause(tokenizer, transformers_log) -> None:
    tokenizer(["ACGTACGTACGTACGTNNNN"])
    assert not transformers_log.records
    tokenizer("MKVLAAGIVGLCAKELH")
    tokenizer(["NNNNNNNNNN", "ACGTACG"])
    warnings = [record.getMessage() for record in transformers_log.records if "[UNK]" in record.getMessage()]
    assert len(warnings) == 1 and "protein" in warnings[0] and "ACGT" not in warnings[0]


def test_letters_beside_a_mask_that_fill_no_kmer_warn_once(transformers_log) -> None:
    tokenizer = KmerTokenizer(6, 6)
    assert len(tokenizer("ACGTTG[MASK]ATTTAC")["input_ids"]) == 5
    tokenizer("ACGTTGA CGTTGA")
    assert not transformers_log.messages
    tokenizer("ACG[MASK]TTGATTTAC")
    tokenizer("ACG[MASK]TTGATT")
    (message,) = transformers_log.messages
    assert "[MASK]" in message and "6, 12, 18" in message


def test_sequences_shorter_than_a_kmer_warn_once(transformers_log) -> None:
    tokenizer = KmerTokenizer(6)
    tokenizer(["ACG", "ACGTTG"])
    assert not transformers_log.messages, "one row has a k-mer"
    tokenizer("ACG")
    tokenizer(["ACG", "AC"])
    assert len(transformers_log.messages) == 1


def test_windows_without_our_pipelines_name_the_import(transformers_log) -> None:
    KmerTokenizer(3)("ACGT", windows=True)
    (message,) = transformers_log.messages
    assert "import hf_genomics" in message


def test_a_column_of_a_data_set_is_not_one_sequence() -> None:
    column = datasets.Dataset.from_dict({"sequence": ["ACGT"]})["sequence"]
    with pytest.raises(ValueError, match="list"):
        KmerTokenizer(3)(column)


def test_kmer_text_of_a_smaller_k_warns_once_and_names_the_likely_cause(transformers_log) -> None:
    tokenizer = KmerTokenizer(6)
    assert tokenizer(["ACGTTG CGTTGA", "", "ACG CGT"])["input_ids"][2] == [2, 3]
    assert not transformers_log.messages, "one row has k-mers"
    tokenizer(["ACG CGT GTT", "A C G T T G"])
    tokenizer(["ACG CGT GTT"])
    (message,) = transformers_log.messages
    assert "the 6 nt of a k-mer" in message and "k-mer text of a smaller k" in message


def test_a_sequence_longer_than_the_model_warns(transformers_log) -> None:
    tokenizer = KmerTokenizer(model_max_length=16)
    for _ in range(2):
        tokenizer("ACGT" * 10)
    (message,) = transformers_log.messages
    assert "(37 > 16)" in message and "truncation=True" in message


@pytest.mark.parametrize(
    "call", [{"max_length": 30}, {"truncation": True}, {"verbose": False}, {"truncation": True, "max_length": 9}]
)
def test_a_sequence_that_is_cut_or_may_be_long_does_not_warn(call: dict, transformers_log) -> None:
    KmerTokenizer(model_max_length=17)("ACGT" * 10, **call)
    assert not transformers_log.messages


# Data.


@given(st.sampled_from(KMERS), st.lists(st.text("ACGTNacgtnRU", max_size=40), min_size=1, max_size=5))
def test_encode_batch_is_the_padded_batch(kmer: tuple, batch: list) -> None:
    ids, counts = FAST[kmer].encode_batch(map(as_letters, batch))
    expected = FAST[kmer](batch, padding=True, return_tensors="np")
    assert ids.dtype == np.int64 and np.array_equal(ids, expected["input_ids"])
    assert counts.tolist() == expected["attention_mask"].sum(1).tolist()


def test_rows_that_lie_end_to_end_are_encoded_as_a_batch_of_rows(tokenizer: KmerTokenizer) -> None:
    rows = [as_letters(text) for text in ("ACGTTGCATTN", "", "ACGTAC", "acgttgc")]
    joined = tokenizer.encode_joined(np.concatenate(rows), np.array([11, 0, 6, 7]))
    assert all(np.array_equal(one, other) for one, other in zip(joined, tokenizer.encode_batch(rows), strict=True))
    with pytest.raises(ValueError, match="row 2, position 3: '-'"):
        tokenizer.encode_joined(as_letters("ACGTNAC-T"), np.array([5, 4]))


def test_no_rows_are_encoded_as_no_rows(tokenizer: KmerTokenizer) -> None:
    for ids, counts in (tokenizer.encode_batch([]), tokenizer.encode_joined(as_letters(""), np.zeros(0, np.int64))):
        assert ids.shape == (0, 0) and counts.shape == (0,) and ids.dtype == counts.dtype == np.int64


def test_encode_batch_refuses_what_is_no_nucleotide(tokenizer: KmerTokenizer) -> None:
    with pytest.raises(ValueError, match="row 2, position 5: '-'"):
        tokenizer.encode_batch([as_letters("ACGTN"), as_letters("ACGT-ACGT")])


# Construction, saving, copies.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"strid": 3}, TypeError, r"KmerTokenizer has no argument 'strid'; did you mean 'stride'"),
        ({"K": 3}, TypeError, r"did you mean 'k'"),
        ({"model_max_lenght": 3}, TypeError, r"did you mean 'model_max_length'"),
        ({"qqqqqqqqqqq": 3}, TypeError, r"no argument 'qqqqqqqqqqq'$"),
        ({"k": 9}, ValueError, r"k must lie in 1..8.*allow_large_k=True"),
        ({"k": 13, "allow_large_k": True}, ValueError, r"k must lie in 1..12"),
        ({"k": 0}, ValueError, r"k must lie in 1..8"),
        ({"k": 3, "stride": 0}, ValueError, r"stride must lie in 1..k"),
        ({"k": 6.0}, ValueError, r"whole number"),
        ({"k": "6"}, ValueError, r"whole number"),
        ({"k": 3, "stride": 4}, ValueError, r"stride must lie in 1..k"),
        ({"errors": "ignore"}, ValueError, r'errors must be "unk" or "raise"'),
        ({"mask_token": "ACGTAC"}, ValueError, "'ACGTAC' .*6-mer"),
        ({"pad_token": "[UNK]"}, ValueError, r"'\[UNK\]' .*used twice"),
        ({"pad_token": ""}, ValueError, "'' is empty"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, error: type, message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        KmerTokenizer(**arguments)
    KmerTokenizer().save_pretrained(tmp_path)
    with pytest.raises(error, match=message):
        KmerTokenizer.from_pretrained(tmp_path, **arguments)


@pytest.mark.parametrize("copy_of", ["saved", "pickled", "copied"])
@pytest.mark.parametrize("added", [False, True])
def test_a_copy_is_the_same_tokenizer(copy_of: str, added: bool, tmp_path: Path) -> None:
    tokenizer = KmerTokenizer(4, 2, errors="raise", model_max_length=77, padding_side="left", truncation_side="left")
    if added:
        tokenizer.add_tokens(["<gap>"])
    if copy_of == "saved":
        tokenizer.save_pretrained(tmp_path)
        code = {f"{name}.py" for name in PORTABLE[: PORTABLE.index("tokenization_kmer") + 1]}  # to load without us
        written = {path.name for path in tmp_path.iterdir()} - {"added_tokens.json"}
        assert written == {"tokenizer_config.json"} | code
        twin = KmerTokenizer.from_pretrained(tmp_path)
    else:
        twin = pickle.loads(pickle.dumps(tokenizer)) if copy_of == "pickled" else copy.deepcopy(tokenizer)
    for name in ("k", "stride", "errors", "allow_gaps", "model_max_length", "padding_side", "truncation_side"):
        assert getattr(twin, name) == getattr(tokenizer, name), name
    batch = ["ACGTACGTA", "ACNGT" + "<gap>" * added]
    assert twin(batch, padding=True).data == tokenizer(batch, padding=True).data
    assert len(twin) == len(tokenizer) == 4**4 + 5 + added and twin.get_vocab() == tokenizer.get_vocab()
    with pytest.raises(ValueError, match="position 1"):
        twin("!")


def test_arguments_override_what_was_saved(tmp_path: Path) -> None:
    KmerTokenizer(6, 1).save_pretrained(tmp_path)
    assert KmerTokenizer.from_pretrained(tmp_path, stride=3).stride == 3


def test_added_special_tokens_are_understood_in_text_and_not_in_data() -> None:
    tokenizer = KmerTokenizer(3)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<strand>"]})
    assert 69 in tokenizer.all_special_ids
    assert tokenizer("<strand>ACG")["input_ids"] == [2, 69, 16, 3]
    assert 69 not in tokenizer("<strand>ACG", split_special_tokens=True)["input_ids"]
    assert 69 not in tokenizer(b"<strand>ACG")["input_ids"]


def test_misspelt_options_of_a_call_are_refused_and_unknown_ones_said(tokenizer, transformers_log) -> None:
    with pytest.raises(TypeError, match="has no option 'retrun_tensors'; did you mean 'return_tensors'"):
        tokenizer("ACGTACGT", retrun_tensors="pt")
    assert tokenizer("ACGTACGT", target_species="phage").data == tokenizer("ACGTACGT").data
    assert "no option 'target_species'; it is ignored" in transformers_log.text
