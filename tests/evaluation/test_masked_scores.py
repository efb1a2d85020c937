"""Scores of masked tokens and hidden nucleotides against a loop over tokens, nucleotides and k-mers."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics import DataCollatorForSpanMasking, KmerTokenizer
from hf_genomics.batches.dose import masking_fractions
from hf_genomics.batches.packing import pack_rows
from hf_genomics.evaluation.masked_scores import count_batch, masked_metrics, score_batch, summarise, undefined_scores

LETTERS = "ATCG"


def windows_of(row: list[int], cls: int = 2, sep: int = 3) -> list[list[int]]:
    """Split a row into windows: lists of columns between [CLS] and [SEP]."""
    found: list[list[int]] = []
    for column, token in enumerate(row):
        if token == cls:
            found.append([])
        elif token == sep:
            continue
        elif token != 0:
            found[-1].append(column)
    return found


def scored_slowly(ids, labels, logits, k, stride):
    """Go nucleotide by nucleotide through every window; logits are (rows, tokens, vocabulary)."""
    kmers = ["".join(letters) for letters in itertools.product(LETTERS, repeat=k)]
    scores, counts = np.zeros((len(ids), 6)), np.zeros(6, int)
    for row in range(len(ids)):
        counts[0] += len(ids[row])
        counts[1] += sum(token != 0 for token in ids[row])
        for columns in windows_of(ids[row]):
            for column in columns:
                counts[2] += ids[row][column] >= 5 or labels[row][column] != -100
                if labels[row][column] != -100:
                    counts[3] += 1
                    scores[row, 0] += 1
                    scores[row, 1] += int(np.argmax(logits[row][column])) == labels[row][column]
                    weights = np.exp(logits[row][column] - np.max(logits[row][column]))
                    scores[row, 2] -= math.log(weights[labels[row][column]] / weights.sum())
            for nt in range((len(columns) - 1) * stride + k if columns else 0):
                over = [
                    (each, nt - place * stride) for place, each in enumerate(columns) if 0 <= nt - place * stride < k
                ]
                known = [(c, o) for c, o in over if ids[row][c] >= 5 or labels[row][c] != -100]
                counts[4] += bool(known)
                counts[5] += bool(known) and all(labels[row][c] != -100 for c, _ in known)
                masks = [(c, o) for c, o in over if labels[row][c] != -100 and ids[row][c] == 4]
                if not masks or any(ids[row][c] >= 5 for c, _ in over):
                    continue
                chances = np.zeros(4)
                for column, offset in masks:
                    weights = np.exp(logits[row][column][5:] - np.max(logits[row][column][5:]))
                    for kmer, weight in zip(kmers, weights / weights.sum(), strict=True):
                        chances[LETTERS.index(kmer[offset])] += weight / len(masks)
                column, offset = masks[0]
                truth = LETTERS.index(kmers[labels[row][column] - 5][offset])
                scores[row, 3] += 1
                scores[row, 4] += int(np.argmax(chances)) == truth
                scores[row, 5] -= math.log(chances[truth])
    return scores, counts


@settings(max_examples=40)
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.lists(st.integers(0, 14), min_size=1, max_size=4),
    st.sampled_from(["span", "token"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_scores_and_counts_equal_a_loop(k, stride, more, replacement, packed, sparse, seed) -> None:
    tokenizer = KmerTokenizer(k, min(stride, k))
    random = np.random.default_rng(seed)
    rows = [
        {"sequence": "".join(random.choice(list("ACGTN"), k + extra, p=[0.24] * 4 + [0.04])), "window_index": row}
        for row, extra in enumerate(more)
    ]
    collate = DataCollatorForSpanMasking(tokenizer, 3, 0.25, replacement, mask_share=0.6, random_share=0.2, seed=seed)
    batch = collate(rows)
    if packed:
        columns = {name: batch[name].numpy() for name in ("input_ids", "labels")}
        columns = pack_rows(columns, batch["attention_mask"].numpy().sum(1), 40)
        batch = {name: torch.from_numpy(column) for name, column in columns.items()}
    ids, labels = batch["input_ids"], batch["labels"]
    logits = torch.from_numpy(random.normal(0, 2, (*ids.shape, 5 + 4**k)).astype(np.float32))
    expected, counts = scored_slowly(ids.tolist(), labels.tolist(), logits.double().numpy(), k, tokenizer.stride)
    given_logits = logits[labels != -100] if sparse else logits
    got = score_batch(ids, labels, given_logits, tokenizer, packed=packed)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert count_batch(ids, labels, tokenizer, packed=packed).tolist() == counts.tolist()


def batch_of(stride: int = 1, rows: int = 300, **options):
    """Masked windows of 100 nt, 3-mers."""
    tokenizer = KmerTokenizer(3, stride)
    random = np.random.default_rng(0)
    letters = random.choice(np.frombuffer(b"ACGT", np.uint8), (rows, 100))
    options = {"mask_share": 1.0, "random_share": 0.0} | options
    collate = DataCollatorForSpanMasking(tokenizer, **options)
    return tokenizer, collate([{"sequence": row, "window_index": index} for index, row in enumerate(letters)])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_guess_has_perplexity_4_whatever_the_stride_and_the_truth_has_1(stride) -> None:
    tokenizer, batch = batch_of(stride, span=4, start_rate=0.1)
    ids, labels = batch["input_ids"], batch["labels"]
    flat = summarise(score_batch(ids, labels, torch.zeros(*ids.shape, 69), tokenizer).numpy())
    assert flat["nucleotide_perplexity"] == pytest.approx(4, abs=1e-4)
    known = 50.0 * torch.nn.functional.one_hot(labels.clamp(min=0), 69)
    perfect = summarise(score_batch(ids, labels, known, tokenizer).numpy())
    assert perfect["nucleotide_perplexity"] == pytest.approx(1, abs=1e-4)
    assert perfect["masked_nucleotide_accuracy"] == perfect["masked_token_accuracy"] == 1
    assert perfect["hidden_nucleotides"] == flat["hidden_nucleotides"] > 500


def test_the_hidden_share_counted_is_that_of_the_dose() -> None:
    tokenizer, batch = batch_of(1, 2000, span=4, start_rate=0.1, mask_share=0.5, random_share=0.2)
    counts = count_batch(batch["input_ids"], batch["labels"], tokenizer).tolist()
    masked, hidden = masking_fractions(4, 0.1, 3, 1, window=100)
    assert counts[3] / counts[2] == pytest.approx(masked, rel=0.02)
    assert counts[5] / counts[4] == pytest.approx(hidden, rel=0.03)
    assert counts[4] == 2000 * 100 and counts[1] == counts[0] == 2000 * 100  # 98 k-mers, [CLS] and [SEP]


def test_where_nothing_is_masked_there_is_no_score() -> None:
    tokenizer = KmerTokenizer(3)
    ids = torch.tensor([[2, 1, 1, 3]])
    scores = score_batch(ids, torch.full_like(ids, -100), torch.zeros(0, 69), tokenizer)
    got = masked_metrics(SimpleNamespace(predictions=scores.numpy()))
    assert got.pop("hidden_nucleotides") == got.pop("loss") == 0 and all(math.isnan(value) for value in got.values())


def test_scores_of_a_model_that_has_diverged_are_explained_by_the_model_not_by_the_masking() -> None:
    tokenizer, batch = batch_of(1, 5, span=4, start_rate=0.1)
    scores = [
        summarise(score_batch(batch["input_ids"], batch["labels"], logits, tokenizer).numpy())
        for logits in (torch.zeros(*batch["labels"].shape, 69), torch.full((*batch["labels"].shape, 69), math.nan))
    ]
    reasons = undefined_scores(scores[1])["undefined"]
    assert not undefined_scores(scores[0]) and scores[0]["hidden_nucleotides"] > 0
    assert {"loss", "nucleotide_perplexity"} < set(reasons) and all("the model" in why for why in reasons.values())


def test_scores_of_batches_add_up_to_those_of_all_rows() -> None:
    tokenizer, batch = batch_of(1, 50, span=4, start_rate=0.1)
    logits = torch.randn(50, batch["labels"].shape[1], 69, generator=torch.Generator().manual_seed(0))
    args = (batch["input_ids"], batch["labels"], logits)
    whole = score_batch(*args, tokenizer)
    parts = [score_batch(*(each[rows] for each in args), tokenizer) for rows in (slice(0, 7), slice(7, 50))]
    torch.testing.assert_close(torch.cat(parts), whole)
