"""Sequences for fine-tuning: padding, labels, parts, pairs, tracks, and the strand as a pure function of the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from hf_genomics import DataCollatorForSequences, KmerTokenizer
from hf_genomics.batches.rows import encode_rows
from hf_genomics.sequence import reverse_complement

TOKENIZERS = {1: KmerTokenizer(6)}


def dna(length: int, seed: int = 0, alphabet: bytes = b"ACGT") -> np.ndarray:
    """Draw letters."""
    return np.random.default_rng(seed).choice(np.frombuffer(alphabet, np.uint8), length)


def rows_of(count: int, length: int, alphabet: bytes = b"ACGT") -> list[dict]:
    """Draw windows with their index."""
    return [{"sequence": dna(length, seed, alphabet), "window_index": seed} for seed in range(count)]


def test_sequences_are_tokenised_and_padded_like_the_tokenizer_does() -> None:
    letters = [dna(length, length, b"ACGTN") for length in (30, 50, 4)]
    batch = DataCollatorForSequences(TOKENIZERS[1])([{"sequence": row} for row in letters])
    expected = TOKENIZERS[1](letters, padding=True, return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask"}
    assert all(torch.equal(batch[name], expected[name]) for name in batch)
    wide = DataCollatorForSequences(TOKENIZERS[1], pad_to_multiple_of=64)([{"sequence": row} for row in letters])
    assert wide["input_ids"].shape == wide["attention_mask"].shape == (3, 64)


@pytest.mark.parametrize("name", ["label", "labels"])
@pytest.mark.parametrize(
    ("labels", "dtype", "shape"),
    [
        ([0, 2], torch.int64, (2,)),
        ([np.int32(1), np.int32(0)], torch.int64, (2,)),
        ([True, False], torch.int64, (2,)),
        ([0.5, 2.0], torch.float32, (2,)),
        ([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]], torch.float32, (2, 3)),
    ],
)
def test_classes_are_whole_numbers_and_values_are_float32(name: str, labels: list, dtype, shape: tuple) -> None:
    rows = [{"sequence": "ACGTACGT", name: label} for label in labels]
    batch = DataCollatorForSequences(TOKENIZERS[1])(rows)
    assert batch["labels"].dtype == dtype and tuple(batch["labels"].shape) == shape
    assert batch["labels"].tolist() == [np.asarray(label).tolist() for label in labels]


@pytest.mark.parametrize("windows", [2, 3])
def test_sequences_are_cut_into_windows_of_nearly_equal_length(windows: int) -> None:
    letters = [dna(101, 1), dna(60, 2)]
    batch = DataCollatorForSequences(TOKENIZERS[1], num_parts=windows)(
        [{"sequence": row, "label": 1} for row in letters]
    )
    assert batch["input_ids"].shape[:2] == batch["attention_mask"].shape[:2] == (2, windows)
    for row, whole in enumerate(letters):
        parts = [
            TOKENIZERS[1].decode(ids[seen.bool()], skip_special_tokens=True)
            for ids, seen in zip(batch["input_ids"][row], batch["attention_mask"][row], strict=True)
        ]
        assert "".join(parts) == whole.tobytes().decode()
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert batch["labels"].tolist() == [1, 1]


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_the_opposite_strand_is_shown_with_its_probability(probability: float) -> None:
    rows = rows_of(2000, 30)
    batch = DataCollatorForSequences(TOKENIZERS[1], rc_probability=probability)(rows)
    shown = TOKENIZERS[1].batch_decode(batch["input_ids"], skip_special_tokens=True)
    turned = [
        text == reverse_complement(row["sequence"]).tobytes().decode() for text, row in zip(shown, rows, strict=True)
    ]
    kept = [text == row["sequence"].tobytes().decode() for text, row in zip(shown, rows, strict=True)]
    assert all(one or other for one, other in zip(turned, kept, strict=True))
    assert abs(np.mean(turned) - probability) < 0.04


def test_the_strand_is_a_pure_function_of_seed_epoch_and_index() -> None:
    rows = rows_of(200, 30)
    collator = DataCollatorForSequences(TOKENIZERS[1], rc_probability=0.5, seed=1)
    first = collator(rows)["input_ids"]
    assert torch.equal(collator(rows[::-1])["input_ids"], first.flip(0))
    assert not torch.equal(collator([{**row, "epoch": 1} for row in rows])["input_ids"], first)
    collator.set_epoch(1)
    assert not torch.equal(collator(rows)["input_ids"], first)
    collator.set_epoch(0)
    assert torch.equal(collator(rows)["input_ids"], first)
    assert rows[0]["sequence"].tobytes() == dna(30, 0).tobytes(), "the rows themselves are not turned"


def test_a_row_that_keeps_its_strand_is_never_turned() -> None:
    rows = [{"sequence": dna(60, seed), "window_index": seed} for seed in range(20)]
    kept = [{**row, "keep_strand": True} for row in rows]
    collate, plain = (
        DataCollatorForSequences(TOKENIZERS[1], rc_probability=1.0),
        DataCollatorForSequences(TOKENIZERS[1]),
    )
    assert torch.equal(collate(kept)["input_ids"], plain(rows)["input_ids"])
    assert not torch.equal(collate(rows)["input_ids"], plain(rows)["input_ids"])


def fast_tokenizers():
    folder = Path(__file__).resolve().parents[2] / "tokenizer_configs"
    return [AutoTokenizer.from_pretrained(folder / name) for name in ("nt_6mers", "bpe_4096")]


@pytest.mark.parametrize("tokenizer", fast_tokenizers(), ids=["nt_6mers", "bpe_4096"])
def test_any_other_tokenizer_reads_the_same_letters_as_text(tokenizer: Any) -> None:
    tokenizer.padding_side = "left"  # whatever it prefers, rows begin at the left here
    letters = [dna(length, length) for length in (50, 333, 7)]
    ids, lengths = encode_rows(tokenizer, [{"sequence": row} for row in letters], multiple_of=8)
    tokenizer.padding_side = "right"
    assert ids.dtype == lengths.dtype == np.int64 and ids.shape[1] % 8 == 0
    for row, shown, length in zip(letters, ids, lengths, strict=True):
        assert shown[:length].tolist() == tokenizer(row.tobytes().decode())["input_ids"]
        assert set(shown[length:].tolist()) <= {tokenizer.pad_token_id}
    batch = DataCollatorForSequences(tokenizer)([{"sequence": row, "label": 1} for row in letters])
    assert batch["attention_mask"].sum(1).tolist() == lengths.tolist()


# Pairs, parts, labels and tracks per nucleotide


def row(sequence: str, **columns) -> dict:
    return {"sequence": sequence, **columns}


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (4, 2), (6, 3)])
def test_pairs_are_tokenised_as_the_tokenizer_does_it(k: int, stride: int) -> None:
    tokenizer = KmerTokenizer(k, stride)
    pairs = [("ACGTACGTTGA", "TTTGACA"), ("ACGTAA", "TTNACCGTACCA"), ("ACGTACGTTGAAACT", "CCCCCC")]
    batch = DataCollatorForSequences(tokenizer)([row(first, pair=second) for first, second in pairs])
    options = {"padding": True, "return_token_type_ids": True, "return_tensors": "pt"}
    expected = tokenizer([first for first, _ in pairs], [second for _, second in pairs], **options)
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask"}
    assert all(torch.equal(batch[name], expected[name]) for name in batch)


def test_sequences_are_cut_into_as_many_parts_as_they_need() -> None:
    tokenizer = KmerTokenizer(3)
    rows = [row("A" * 25), row("ACGTACGTAC"), row("C" * 11)]
    batch = DataCollatorForSequences(tokenizer, part_length=10)(rows)
    assert batch["attention_mask"].any(2).tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    parts = ["A" * 9, "A" * 8, "A" * 8, "ACGTACGTAC", "C" * 6, "C" * 5]
    flat = batch["input_ids"][batch["attention_mask"].any(2)]
    expected = tokenizer(parts, padding=True, return_tensors="pt")["input_ids"]
    assert torch.equal(flat, expected) and (batch["input_ids"][1, 1:] == tokenizer.pad_token_id).all()


def test_labels_and_signals_of_nucleotides_are_padded_with_nothing() -> None:
    rows = [
        row("ACGTA", nt_labels=np.arange(5), tracks=np.float32([1]), nt_tracks=np.ones((5, 2), np.float32)),
        row("ACG", nt_labels=np.arange(3), tracks=np.float32([np.nan]), nt_tracks=np.zeros((3, 2), np.float32)),
    ]
    batch = DataCollatorForSequences(KmerTokenizer(3))(rows)
    assert batch["labels"].tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, -100, -100]]
    assert batch["tracks"].shape == (2, 1) and batch["tracks"].isnan().tolist() == [[False], [True]]
    assert batch["nt_tracks"].isnan()[..., 0].tolist() == [[False] * 5, [False] * 3 + [True] * 2]


def test_the_opposite_strand_of_a_pair_and_of_signals() -> None:
    signal = np.arange(10, dtype=np.float32).reshape(5, 2)
    turn = DataCollatorForSequences(KmerTokenizer(3), rc_probability=1.0)
    found = turn([row("AACGT", pair="TTTG", window_index=0), row("CCCA", pair="AAA", window_index=1)])
    plain = DataCollatorForSequences(KmerTokenizer(3))([row("ACGTT", pair="CAAA"), row("TGGG", pair="TTT")])
    assert torch.equal(found["input_ids"], plain["input_ids"])
    assert turn([row("AACGT", nt_tracks=signal, window_index=0)])["nt_tracks"][0].tolist() == signal[::-1].tolist()
    with pytest.raises(ValueError, match="belong to a strand"):
        turn([row("AACGT", nt_labels=np.arange(5), window_index=0)])


def test_pairs_need_a_tokenizer_that_reads_letters() -> None:
    with pytest.raises(ValueError, match="KmerTokenizer"):
        DataCollatorForSequences(fast_tokenizers()[1])([row("ACGT", pair="ACGT")])


def test_the_old_name_of_the_number_of_parts_keeps_working() -> None:
    with pytest.warns(FutureWarning, match="num_parts"):
        assert DataCollatorForSequences(KmerTokenizer(3), num_windows=2).num_parts == 2


@pytest.mark.parametrize("kind", [np.uint8, np.int8, list])
def test_classes_of_nucleotides_are_int64_whatever_their_type(kind: Any) -> None:
    rows = [row("ACGTA", nt_labels=[0, 1, 2, 3, 4]), row("ACG", nt_labels=[0, 1, 2])]
    rows = [{**one, "nt_labels": kind(one["nt_labels"])} for one in rows]
    labels = DataCollatorForSequences(KmerTokenizer(3))(rows)["labels"]
    assert labels.dtype == torch.int64 and labels.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, -100, -100]]


def test_an_empty_sequence_has_one_empty_part() -> None:
    batch = DataCollatorForSequences(KmerTokenizer(3), part_length=4)([row(""), row("ACGTACGT")])
    assert batch["attention_mask"].sum(2).tolist() == [[2, 0], [4, 4]]
