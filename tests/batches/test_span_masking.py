"""Masking: spans against a double loop, shares against the paper's arithmetic, and random numbers without a state."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hf_genomics import DataCollatorForSequences, DataCollatorForSpanMasking, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.batches.chance import random_bits, row_keys
from hf_genomics.batches.dose import masking_fractions
from hf_genomics.batches.rows import JoinedRows, encode_rows
from hf_genomics.sequence import as_letters

SETUPS = {"base": (6, 0.025, 1), "mask8": (8, 0.01875, 1), "printed": (8, 0.02875, 1), "stride3": (3, 0.05, 3)}
TOKENIZERS = {stride: KmerTokenizer(6, stride) for stride in (1, 3, 6)}
SMALL = KmerTokenizer(2)


def dna(length: int, seed: int = 0, alphabet: bytes = b"ACGT") -> np.ndarray:
    """Draw letters."""
    return np.random.default_rng(seed).choice(np.frombuffer(alphabet, np.uint8), length)


def rows_of(count: int, length: int, alphabet: bytes = b"ACGT") -> list[dict]:
    """Draw windows with their index."""
    return [{"sequence": dna(length, seed, alphabet), "window_index": seed} for seed in range(count)]


def content(batch: dict, row: int) -> list[list[int]]:
    """Return the values of a row in each column, without padding."""
    length = int(batch["attention_mask"][row].sum())
    return [batch[name][row, :length].tolist() for name in ("input_ids", "labels")]


# Spans.


@pytest.mark.parametrize("setup", SETUPS)
def test_the_collator_masks_and_hides_the_shares_it_promises(setup: str) -> None:
    span, rate, stride = SETUPS[setup]
    collator = DataCollatorForSpanMasking(TOKENIZERS[stride], span, rate, mask_share=1.0, random_share=0.0)
    batch = collator(rows_of(400, 6 + stride * 1000))
    masked = (batch["input_ids"] == 4).numpy()[:, 1:-1]
    assert np.array_equal(masked, (batch["labels"] != -100).numpy()[:, 1:-1])
    shown = np.zeros((400, 6 + stride * 1000), bool)
    for offset in range(6):  # what any visible k-mer covers is shown
        shown[:, offset : offset + stride * masked.shape[1] : stride] |= ~masked
    inner = slice(6, -6)  # nucleotides at the ends lie under fewer k-mers
    tokens, nucleotides = masking_fractions(span, rate, 6, stride)
    assert abs(masked.mean() - tokens) < 0.003
    assert abs(1 - shown[:, inner].mean() - nucleotides) < 0.003


def test_every_token_is_equally_likely_to_be_masked() -> None:
    collator = DataCollatorForSpanMasking(TOKENIZERS[1])
    labels = collator(rows_of(6000, 205))["labels"].numpy()[:, 1:-1]
    share = (labels != -100).mean(0)
    assert share.min() > 0.115 and share.max() < 0.170, "also at the ends, where DNABERT masks half as much"


# The whole of it, token by token.


def bits_at(key: np.ndarray, stream: int, column: int) -> int:
    return int(random_bits(key, stream, 1, column)[0, 0])


def spans_slowly(ids: list[int], collator: DataCollatorForSpanMasking, key: np.ndarray) -> set[int]:
    """Go along a row and mask ``span`` tokens from each start on; if that masks none, from one drawn evenly on."""
    can = [token for token, each in enumerate(ids) if each not in collator.tokenizer.all_special_ids]
    masked, start, number = set(), -collator.span, 0
    while True:
        unit = ((bits_at(key, 0, number) >> 11) + 1) * 2.0**-53
        start, number = start + 1 + int(math.log(unit) / math.log1p(-collator.start_rate)), number + 1
        if start >= len(ids):
            break
        masked |= {token for token in range(start, start + collator.span) if token in can}
    if can and not masked:
        start = max(can, key=lambda token: (bits_at(key, 1, token), -token))
        masked = {token for token in range(start, start + collator.span) if token in can}
    return masked


def masked_slowly(ids: list[int], collator: DataCollatorForSpanMasking, key: np.ndarray) -> tuple[list[int], list[int]]:
    """Decide token after token what is shown and what is to be predicted."""
    masked, shown, labels, drawn_at = spans_slowly(ids, collator, key), list(ids), [-100] * len(ids), -1
    allowed = [each for each in range(len(collator.tokenizer)) if each not in collator.tokenizer.all_special_ids]
    for token in sorted(masked):
        labels[token] = ids[token]
        if collator.replacement == "token" or token - 1 not in masked:
            drawn_at = token
        unit = (bits_at(key, 2, drawn_at) >> 11) * 2.0**-53
        if unit < collator.mask_share:
            shown[token] = collator.tokenizer.mask_token_id
        elif unit < collator.mask_share + collator.random_share:
            shown[token] = allowed[bits_at(key, 3, token) % len(allowed)]
    return shown, labels


@settings(max_examples=60)
@given(
    span=st.integers(1, 9),
    rate=st.sampled_from([0.001, 0.03, 0.3, 0.9]),
    replacement=st.sampled_from(["span", "token"]),
    shares=st.sampled_from([(0.8, 0.1), (0.5, 0.5), (0.0, 1.0), (0.0, 0.0), (1.0, 0.0)]),
    rows=st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=40), min_size=1, max_size=4),
    seed=st.integers(0, 10**6),
    epoch=st.integers(0, 3),
)
def test_masking_a_batch_equals_masking_token_by_token(span, rate, replacement, shares, rows, seed, epoch) -> None:
    # Ids 0..4 are special, and any token of a row may be one; rows touch where no [CLS] and [SEP] stand between them.
    collator = DataCollatorForSpanMasking(SMALL, span, rate, replacement, *shares, seed=seed)
    features = [{"input_ids": row, "window_index": 7 * number, "epoch": epoch} for number, row in enumerate(rows)]
    batch = collator(features)
    for number, row in enumerate(rows):
        key = row_keys(seed, np.array([epoch]), np.array([7 * number]))
        assert content(batch, number) == list(masked_slowly(row, collator, key))


# What is masked, and what is not.


@settings(max_examples=60)
@given(
    stride=st.sampled_from([1, 3, 6]),
    span=st.integers(1, 9),
    rate=st.sampled_from([0.001, 0.05, 0.5]),
    replacement=st.sampled_from(["span", "token"]),
    texts=st.lists(st.text("ACGTNacgtn", max_size=60), min_size=1, max_size=6),
    seed=st.integers(0, 10**6),
)
def test_masking_keeps_its_promises_on_any_batch(stride, span, rate, replacement, texts, seed) -> None:
    tokenizer = TOKENIZERS[stride]
    collator = DataCollatorForSpanMasking(tokenizer, span, rate, replacement, seed=seed)
    batch = collator([{"sequence": text, "window_index": number} for number, text in enumerate(texts)])
    whole = tokenizer(texts, padding=True, return_tensors="pt")
    labels, shown, ids = batch["labels"], batch["input_ids"], whole["input_ids"]
    masked = labels != -100
    assert all(column.dtype == torch.int64 and column.shape == ids.shape for column in batch.values())
    assert torch.equal(batch["attention_mask"], whole["attention_mask"])
    assert torch.equal(labels[masked], ids[masked]) and torch.equal(shown[~masked], ids[~masked])
    assert not masked[ids < 5].any(), "a special token or [UNK] is never masked"
    assert set(shown[masked].unique().tolist()) & {0, 1, 2, 3} == set(), "a random token is a k-mer"
    assert torch.equal(masked.any(1), (ids >= 5).any(1)), "at least one span where anything can be masked"


def test_every_row_has_a_span_even_if_none_is_drawn() -> None:
    collator = DataCollatorForSpanMasking(TOKENIZERS[1], span=6, start_rate=1e-9)
    masked = collator(rows_of(300, 150))["labels"].numpy() != -100
    counts = masked.sum(1)
    assert counts.min() >= 1 and counts.max() == 6 and (counts == 6).mean() > 0.9, "one span, cut at the end of a row"
    runs = np.diff(np.pad(masked, ((0, 0), (1, 1))).astype(int)) == 1
    assert (runs.sum(1) == 1).all()
    assert masked.any(0)[1:-1].mean() > 0.9, "anywhere in the row"


def test_a_row_of_unknown_letters_has_no_labels_and_no_loss(tiny_config) -> None:
    collator = DataCollatorForSpanMasking(KmerTokenizer(3))
    batch = collator([{"sequence": "N" * 30, "window_index": 0}, {"sequence": "AC", "window_index": 1}])
    assert (batch["labels"] == -100).all()
    loss = KmerBertForMaskedLM(tiny_config)(**batch).loss
    assert loss.item() == 0
    loss.backward()
    mixed = collator([{"sequence": "N" * 30, "window_index": 0}, {"sequence": dna(30), "window_index": 1}])
    assert (mixed["labels"][0] == -100).all() and (mixed["labels"][1] != -100).any()


# Chance without a state.


@pytest.mark.parametrize("replacement", ["span", "token"])
def test_a_row_is_masked_alike_in_any_batch_order_and_padding(replacement: str) -> None:
    collator = DataCollatorForSpanMasking(TOKENIZERS[1], replacement=replacement, seed=5)
    rows = [{"sequence": dna(length, length), "window_index": 1000 + length} for length in (40, 300, 7, 120, 80)]
    together, alone = collator(rows), [collator([row]) for row in rows]
    turned = collator(rows[::-1])
    wide = DataCollatorForSpanMasking(TOKENIZERS[1], replacement=replacement, seed=5, pad_to_multiple_of=512)(rows)
    assert wide["input_ids"].shape[1] == 512
    for number in range(5):
        expected = content(alone[number], 0)
        assert content(together, number) == content(turned, 4 - number) == content(wide, number) == expected


def test_another_epoch_seed_or_index_gives_other_masks() -> None:
    collator, other = (DataCollatorForSpanMasking(TOKENIZERS[1], seed=seed) for seed in (0, 1))
    row = {"sequence": dna(400), "window_index": 3}
    first = content(collator([row]), 0)
    assert content(collator([row]), 0) == first
    variants = [
        content(other([row]), 0),
        content(collator([{**row, "window_index": 4}]), 0),
        content(collator([{**row, "epoch": 1}]), 0),
    ]
    collator.set_epoch(1)
    assert content(collator([row]), 0) == variants[-1], "a row's own epoch and the collator's mean the same"
    assert content(collator([{**row, "epoch": 0}]), 0) == first
    labels = [labels for _, labels in [first, *variants]]
    assert all(labels[i] != labels[j] for i in range(4) for j in range(i))


def test_a_row_without_an_index_is_known_by_its_content() -> None:
    collator = DataCollatorForSpanMasking(TOKENIZERS[1])
    rows = [{"sequence": dna(length, length)} for length in (40, 200, 90)]
    together = collator(rows)
    for number, row in enumerate(rows):
        assert content(together, number) == content(collator([row]), 0)
    letters = dna(200)
    labels = [content(collator([{"sequence": letters[shift:]}]), 0)[1] for shift in range(3)]
    assert [label != -100 for label in labels[0][:-1]] != [label != -100 for label in labels[1]]


def test_the_content_of_a_row_does_not_depend_on_the_id_of_padding() -> None:
    tokenizer = KmerTokenizer(6)
    tokenizer.pad_token = "[SEP]"  # as in tokenizers whose padding is not 0
    collator = DataCollatorForSpanMasking(tokenizer)
    rows = [{"input_ids": TOKENIZERS[1](as_letters(dna(length, length)))["input_ids"]} for length in (40, 200)]
    assert content(collator(rows), 0) == content(collator(rows[:1]), 0)


# What masked tokens are shown as.


@pytest.mark.parametrize("replacement", ["span", "token"])
def test_masked_tokens_are_shown_as_mask_random_or_themselves_in_their_shares(replacement: str) -> None:
    collator = DataCollatorForSpanMasking(TOKENIZERS[1], replacement=replacement, mask_share=0.7, random_share=0.2)
    batch = collator(rows_of(1500, 500))
    masked = batch["labels"] != -100
    shown, labels = batch["input_ids"][masked], batch["labels"][masked]
    assert abs((shown == 4).float().mean() - 0.7) < 0.02
    assert abs((shown == labels).float().mean() - 0.1) < 0.02
    random = shown[(shown != 4) & (shown != labels)]
    assert random.min() >= 5 and abs(random.float().mean() - (5 + 4100) / 2) < 30, "uniform over the k-mers"


def test_a_span_is_treated_as_one_so_that_no_kept_neighbour_leaks() -> None:
    rows = rows_of(600, 400)
    mixed = {}
    for replacement in ("span", "token"):
        batch = DataCollatorForSpanMasking(TOKENIZERS[1], replacement=replacement)(rows)
        masked = (batch["labels"] != -100).numpy()
        shown, labels = batch["input_ids"].numpy(), batch["labels"].numpy()
        action = np.where(
            shown == 4, 0, np.where(shown == labels, 2, 1)
        )  # a random draw hits the truth 1 in 4096 times
        inside = masked[:, 1:] & masked[:, :-1]
        mixed[replacement] = (action[:, 1:] != action[:, :-1])[inside].mean()
    assert mixed["span"] < 0.001 and mixed["token"] > 0.3


def test_without_random_tokens_nothing_but_masks_and_originals_is_shown() -> None:
    batch = DataCollatorForSpanMasking(TOKENIZERS[1], mask_share=0.5, random_share=0.0)(rows_of(50, 300))
    masked = batch["labels"] != -100
    shown, labels = batch["input_ids"][masked], batch["labels"][masked]
    assert ((shown == 4) | (shown == labels)).all() and (shown == labels).any()


def test_added_special_tokens_are_neither_masked_nor_drawn() -> None:
    tokenizer = KmerTokenizer(1)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<strand>"]})
    collator = DataCollatorForSpanMasking(tokenizer, span=1, start_rate=0.5, mask_share=0.0, random_share=1.0)
    ids = [2, *[9, 5, 6, 7, 8] * 40, 3]
    batch = collator([{"input_ids": ids, "window_index": 0}])
    assert set(batch["labels"][0].tolist()) == {-100, 5, 6, 7, 8}
    assert (batch["input_ids"][0] == 9).sum() == 40


# Rows.


@pytest.mark.parametrize("kind", ["letters", "text", "bytes", "ids", "array_of_ids"])
def test_letters_text_and_ids_give_the_same_batch(kind: str) -> None:
    collator = DataCollatorForSpanMasking(TOKENIZERS[3], span=3, start_rate=0.05)
    letters = [dna(length, length, b"ACGTacgtN") for length in (120, 40, 200)]
    ids = TOKENIZERS[3](letters)["input_ids"]
    values = {
        "letters": ("sequence", letters),
        "text": ("sequence", [row.tobytes().decode() for row in letters]),
        "bytes": ("sequence", [row.tobytes() for row in letters]),
        "ids": ("input_ids", ids),
        "array_of_ids": ("input_ids", [np.array(row, np.uint16) for row in ids]),
    }
    name, rows = values[kind]
    batch = collator([{name: row, "window_index": number} for number, row in enumerate(rows)])
    expected = collator([{"sequence": row, "window_index": number} for number, row in enumerate(letters)])
    assert all(torch.equal(batch[name], expected[name]) for name in ("input_ids", "attention_mask", "labels"))


@pytest.mark.parametrize("kind", [DataCollatorForSpanMasking, DataCollatorForSequences])
def test_rows_that_lie_end_to_end_give_the_same_batch_as_single_ones(kind: type) -> None:
    letters = [dna(length, length, b"ACGTN") for length in (120, 40, 200)]
    lengths = np.array([len(row) for row in letters])
    joined = JoinedRows(np.concatenate(letters), lengths, window_index=np.arange(3) + 5, epoch=np.full(3, 2))
    rows = [{"sequence": row, "window_index": number + 5, "epoch": 2} for number, row in enumerate(letters)]
    one, other = kind(TOKENIZERS[1])(joined), kind(TOKENIZERS[1])(rows)
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_the_ids_of_a_row_are_not_changed() -> None:
    ids = np.array(TOKENIZERS[1](dna(100))["input_ids"])
    for rows in ([ids], [ids, ids], [ids, ids[:50]]):
        before = ids.copy()
        batch = DataCollatorForSpanMasking(TOKENIZERS[1])([{"input_ids": row} for row in rows])
        assert not np.array_equal(batch["input_ids"][0], before) and np.array_equal(ids, before)


def test_ids_that_lie_apart_are_masked_like_others() -> None:
    collator = DataCollatorForSpanMasking(TOKENIZERS[1])
    ids = np.random.default_rng(0).integers(5, 4101, (4, 80))
    index, epoch = np.arange(4), np.zeros(1, int)
    expected = collator.mask(ids.copy(), index, epoch)
    apart = np.repeat(ids, 2, axis=1)[:, ::2]
    assert all(np.array_equal(*pair) for pair in zip(collator.mask(apart, index, epoch), expected, strict=True))


def test_rows_that_cannot_be_used_are_refused() -> None:
    collator = DataCollatorForSpanMasking(TOKENIZERS[1])
    with pytest.raises(ValueError, match=r'rows need "sequence" or "input_ids"; these have \[\'text\'\]'):
        collator([{"text": "ACGT"}])
    with pytest.raises(ValueError, match="row 2, position 3: '-'"):
        collator([{"sequence": "ACGTACGT"}, {"sequence": "AC-TACGT"}])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"span": 0}, "span must be a whole number of tokens, at least 1, not 0"),
        ({"start_rate": 0.0}, "start_rate must be above 0 and below 1, not 0.0"),
        ({"start_rate": 1.0}, "start_rate must be above 0 and below 1, not 1.0"),
        ({"replacement": "row"}, 'replacement must be "span" or "token", not \'row\''),
        ({"mask_share": 0.95}, r"mask_share \(0.95\) and random_share \(0.1\)"),
        ({"random_share": -0.1}, "must be at least 0 and together at most 1"),
    ],
)
def test_impossible_numbers_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataCollatorForSpanMasking(TOKENIZERS[1], **values)


def test_the_masking_describes_itself() -> None:
    text = DataCollatorForSpanMasking(TOKENIZERS[1]).describe(k=6)
    assert "spans of 6 tokens" in text and "14.09%" in text and "3.35%" in text and "per span" in text


def fast_tokenizers():
    folder = Path(__file__).resolve().parents[2] / "tokenizer_configs"
    return [AutoTokenizer.from_pretrained(folder / name) for name in ("nt_6mers", "bpe_4096")]


@pytest.mark.parametrize("tokenizer", fast_tokenizers(), ids=["nt_6mers", "bpe_4096"])
def test_spans_of_any_other_tokenizer_spare_its_special_tokens(tokenizer: Any) -> None:
    rows = [{"sequence": dna(300, seed), "window_index": seed} for seed in range(50)]
    batch = DataCollatorForSpanMasking(tokenizer, span=3, start_rate=0.1)(rows)
    masked = batch["labels"] != -100
    plain, _ = encode_rows(tokenizer, rows)
    special = np.isin(plain, tokenizer.all_special_ids)
    assert masked.any(1).all() and not masked.numpy()[special].any()
    assert (batch["labels"].numpy()[masked] == plain[masked]).all()
    shown = batch["input_ids"].numpy()
    assert 0.7 < (shown[masked] == tokenizer.mask_token_id).mean() < 0.9
    others = shown[masked][shown[masked] != tokenizer.mask_token_id]
    assert not np.isin(others, tokenizer.all_special_ids).any()


@pytest.mark.parametrize("missing", ["mask", "pad"])
def test_a_tokenizer_without_a_mask_or_padding_token_is_refused_by_name(missing: str) -> None:
    tokenizer = fast_tokenizers()[1]
    setattr(tokenizer, f"{missing}_token", None)
    with pytest.raises(ValueError, match=f"has no {missing}.* token; set its {missing}_token"):
        DataCollatorForSpanMasking(tokenizer)([{"sequence": dna(60, 1)}])


@pytest.mark.parametrize("pack_to", [0, 80])
def test_packing_changes_neither_masks_nor_labels(pack_to: int) -> None:
    tokenizer = KmerTokenizer(3)
    rows = [{"sequence": dna(length, length), "window_index": length} for length in (60, 9, 33, 60, 17)]
    plain = DataCollatorForSpanMasking(tokenizer, span=3)(rows)
    packed = DataCollatorForSpanMasking(tokenizer, span=3, pack_to=pack_to)(rows)
    assert packed["input_ids"].shape[0] == (1 if not pack_to else 3) and packed["input_ids"].shape[1] in (pack_to, 179)

    def windows(batch: dict) -> list:
        real = batch["attention_mask"].bool()
        pairs = torch.stack([batch["input_ids"][real], batch["labels"][real]], 1)
        starts = torch.nonzero(pairs[:, 0] == tokenizer.cls_token_id)[1:, 0]
        return sorted(part.tolist() for part in pairs.tensor_split(starts.tolist()))

    assert windows(packed) == windows(plain)
    assert (packed["labels"][packed["attention_mask"] == 0] == -100).all()


@pytest.mark.parametrize("wrong", [{"pack_to": -1}, {"pack_to": 64, "pad_to_multiple_of": 8}])
def test_packing_that_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="pack_to must be 0 or a number of tokens"):
        DataCollatorForSpanMasking(KmerTokenizer(3), **wrong)


@pytest.mark.parametrize("collator", [DataCollatorForSpanMasking, DataCollatorForSequences])
def test_a_batch_without_rows_is_refused(collator: type) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        collator(KmerTokenizer(3))([])


def test_a_span_of_no_whole_number_of_tokens_is_refused() -> None:
    for span in (1.5, True, 0, "6"):
        with pytest.raises(ValueError, match=f"span must be a whole number of tokens, at least 1, not {span!r}"):
            DataCollatorForSpanMasking(KmerTokenizer(3), span=span)
