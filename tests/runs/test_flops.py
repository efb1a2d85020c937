"""The operations of a training step against torch's own counter and against a loop over tokens."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
from hf_genomics.batches.packing import pack_rows
from hf_genomics.configuration_kmer_bert import default_layer_types
from hf_genomics.runs.flops import (
    attention_for,
    attention_pairs,
    flops_per_token,
    measure_peak,
    selects_in_last_layer,
    training_flops,
)

SIZES = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 64}


def step(lengths, pack, recorded=True, **config):
    """Return the operations of a real training step, by torch's counter and by ours."""
    config = KmerBertConfig(k=3, num_hidden_layers=3, **(SIZES | config))
    real = np.arange(max(lengths)) < np.array(lengths)[:, None]
    ids = np.where(real, 7, 0)
    labels = np.where(real & (np.arange(max(lengths)) % 4 == 1), 9, -100)
    batch = {"input_ids": ids, "labels": labels, "attention_mask": real.astype(np.int64)}
    if pack is not None:
        batch = pack_rows(batch, np.array(lengths), pack or None)
    batch = {name: torch.from_numpy(column) for name, column in batch.items()}
    model = KmerBertForMaskedLM._from_config(config, attn_implementation="eager").train()
    with FlopCounterMode(display=False) as counter:
        model(**batch, output_hidden_states=recorded).loss.backward()  # recorded states are those of all tokens
    positions = batch.get("position_ids", torch.arange(ids.shape[1]))
    select_last = selects_in_last_layer(config, torch.device("cpu")) and not recorded
    pairs = attention_pairs(
        config, positions, batch["attention_mask"], batch["labels"] != -100 if select_last else None
    ).item()
    predicted = (labels != -100).sum() if config.sparse_prediction else real.sum()
    return counter.get_total_flops(), training_flops(config, real.sum(), pairs, predicted, select_last=select_last)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(("lengths", "pack"), [([30, 30, 30], None), ([9, 30, 17, 17], 0)])
def test_a_step_without_padding_takes_what_torch_counts(lengths, pack, sparse):
    counted, said = step(lengths, pack, sparse_prediction=sparse)
    assert said == counted


@pytest.mark.parametrize(("lengths", "pack"), [([30, 30, 30], None), ([9, 30, 17, 17], 0)])
def test_a_last_layer_of_masked_tokens_alone_takes_less(lengths, pack):
    (counted, said), (all_tokens, _) = step(lengths, pack, recorded=False), step(lengths, pack)
    assert said == pytest.approx(counted, rel=0.02) and counted < 0.85 * all_tokens


def test_only_where_a_model_does_so_are_fewer_tokens_counted():
    cpu = torch.device("cpu")
    local = KmerBertConfig(sliding_window=8, layer_types=["sliding_attention"] * 12, sparse_prediction=True)
    selects = selects_in_last_layer
    assert selects(KmerBertConfig(sparse_prediction=True), cpu)
    assert not selects(KmerBertConfig(sparse_prediction=True), torch.device("cuda"))
    assert not selects(KmerBertConfig(sparse_prediction=False), cpu) and not selects(local, cpu)


def test_packed_rows_with_masks_and_a_little_padding_take_a_few_per_cent_more_than_needed():
    counted, said = step([30, 29, 14, 15], 30, hidden_size=192, intermediate_size=768)
    assert said < counted < 1.05 * said


def test_padded_rows_need_what_their_real_tokens_need():
    (padded, said), (packed, same) = step([5, 30], None), step([5, 30], 0)
    assert said == same == packed < padded


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.integers(0, 5),
    st.one_of(st.none(), st.integers(1, 25)),
    st.one_of(st.none(), st.integers(1, 3)),
)
def test_pairs_are_those_of_a_loop_over_tokens(lengths, padding, window, every):
    types = default_layer_types(4, every) if window else None
    config = KmerBertConfig(k=3, num_hidden_layers=4, sliding_window=window, layer_types=types)
    positions = [place for length in lengths for place in range(length)] + [0] * padding
    real = [1] * sum(lengths) + [0] * padding
    pairs = 0
    for layer in range(4):
        reach = config.window_of(layer)
        for length in lengths:
            for query in range(length):
                pairs += sum(reach is None or abs(query - key) <= reach for key in range(length))
    assert attention_pairs(config, torch.tensor(positions), torch.tensor(real)).item() == pairs


def test_a_token_of_bert_base_takes_what_is_known_of_it():
    """12 layers of 7.08 M weights, 512 x 768 x 2 x 12 of attention, a head of 3.7 M for each masked token."""
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072) + 0.15 * (768**2 + 768 * 4101)
    assert flops_per_token(KmerBertConfig(), 512) == 6 * (weights + 12 * 2 * 512 * 768)
    local = KmerBertConfig(sliding_window=16, layer_types=["sliding_attention"] * 12)
    assert flops_per_token(local, 512) == pytest.approx(6 * (weights + 12 * 2 * 33 * 768), rel=2e-3)


def test_the_peak_of_the_cpu_is_measured_once_and_leaves_random_numbers_alone(monkeypatch):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    peak = measure_peak("cpu", torch.float32)
    assert torch.rand(3).equal(expected)
    assert 1e8 < peak < 1e14 and measure_peak("cpu", torch.float32) == peak


@pytest.mark.parametrize(
    ("device", "bf16", "backend"), [("cpu", False, "sdpa"), ("cpu", True, "eager"), ("cuda", True, "sdpa")]
)
def test_the_attention_backend_is_the_fastest_of_the_device(device, bf16, backend):
    assert attention_for(SimpleNamespace(device=torch.device(device), bf16=bf16)) == backend
