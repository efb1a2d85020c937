"""The arithmetic behind docs/scaling.md: each number by two routes, and the page as the script prints it."""

from __future__ import annotations

import doctest
import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer, WindowDataset, WindowSampling, prepare
from hf_genomics.runs.flops import attention_pairs, training_flops


@pytest.fixture(scope="module")
def scaling(repo_root):
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("scaling", repo_root / "benchmarks" / "scaling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_examples_in_its_docstrings_hold(scaling):
    failed, tried = doctest.testmod(scaling)
    assert tried > 8 and not failed


@given(length=st.integers(1, 600), k=st.integers(3, 6), stride=st.integers(1, 6))
def test_tokens_are_the_tokenizers(scaling, length, k, stride):
    if stride <= k:
        tokens = KmerTokenizer(k=k, stride=stride).num_tokens(length)
        assert scaling.tokens_of(np.array([length]), k, stride).tolist() == [tokens]


def test_lengths_and_windows_of_an_epoch_are_those_of_a_data_set(scaling, tmp_path):
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 400_000))
    (tmp_path / "genome.fa").write_text(f">contig\n{letters}\n")
    windows = WindowDataset(prepare([str(tmp_path / "genome.fa")], str(tmp_path / "store")), scaling.SAMPLING)
    lengths = np.array([len(row["sequence"]) for row in windows.__getitems__(range(len(windows)))])
    assert len(windows) == pytest.approx(scaling.windows_an_epoch(400_000, scaling.SAMPLING), rel=0.05)
    error = scaling.tokens_of(lengths).std() / len(windows) ** 0.5
    assert scaling.tokens_of(lengths).mean() == pytest.approx(scaling.mean_tokens(scaling.SAMPLING), abs=5 * error)


def test_operations_of_a_step_are_those_of_windows_drawn(scaling):
    config = KmerBertConfig(k=6, num_hidden_layers=2, hidden_size=64, num_attention_heads=4, intermediate_size=128)
    sampling = WindowSampling(length=40, min_length=8)
    draws = np.random.default_rng(0).random((2_000, 2))
    lengths = scaling.tokens_of(sampling.lengths(draws))
    drawn = 0.0
    for tokens in lengths:
        pairs = attention_pairs(config, torch.arange(int(tokens)), torch.ones(int(tokens))).item()
        drawn += training_flops(config, int(tokens), pairs, scaling.MASKED_SHARE * int(tokens))
    assert drawn == pytest.approx(scaling.step_flops(config, sampling, 2_000), rel=0.02)


@given(gpus=st.integers(1, 12), size=st.integers(1, 10**9), bandwidth=st.integers(1, 10**9))
def test_a_ring_sends_what_playing_it_hop_by_hop_sends(scaling, gpus, size, bandwidth):
    """Each GPU passes on a part in every hop: n - 1 hops until a sum is whole, n - 1 until all have it."""
    sums = np.eye(gpus, dtype=np.int64)[:, :, None] * np.ones(gpus, np.int64)  # (gpu, from, part): whose share is in
    hops = 0
    for shift in range(gpus - 1):  # GPU g sends part g - shift to the next one, which adds it
        sent = [sums[gpu, :, (gpu - shift) % gpus].copy() for gpu in range(gpus)]
        for gpu in range(gpus):
            sums[(gpu + 1) % gpus, :, (gpu - shift) % gpus] += sent[gpu]
        hops += 1
    for shift in range(gpus - 1):  # and now each hands on the part that is whole
        sent = [sums[gpu, :, (gpu + 1 - shift) % gpus].copy() for gpu in range(gpus)]
        for gpu in range(gpus):
            sums[(gpu + 1) % gpus, :, (gpu + 1 - shift) % gpus] = sent[gpu]
        hops += 1
    assert (sums == 1).all()
    assert scaling.ring_seconds(size, gpus, bandwidth) == pytest.approx(hops * size / gpus / bandwidth)


def test_state_in_memory_is_that_of_an_optimizer_after_a_step(scaling):
    model = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    held = [tensor for parameter in model.parameters() for tensor in (parameter, parameter.grad)]
    held += [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    assert sum(tensor.nbytes for tensor in held) == scaling.state_bytes(620)
    assert scaling.state_bytes(620, 4, spread=True) * 4 == scaling.state_bytes(620)


def test_what_a_pass_keeps_grows_with_its_rows_evenly(scaling):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = KmerBertConfig(k=3, attention_probs_dropout_prob=0.0, **sizes)
    one, two, three = (scaling.kept_bytes(config, rows, 50) for rows in (1, 2, 3))
    assert three - two == pytest.approx(two - one, rel=0.1)
    assert two - one > 50 * 2 * 2 * 32 * 10  # ten tensors of each layer at least, in bf16


def test_the_loss_is_the_models(scaling):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = KmerBertForMaskedLM(KmerBertConfig(k=3, **sizes)).eval()
    ids = torch.randint(5, 69, (3, 20))
    theirs = model(input_ids=ids, labels=torch.where(ids % 3 == 0, ids, -100)).loss
    assert scaling.loss_of(model, ids, ids % 3 == 0).item() == pytest.approx(theirs.item(), abs=1e-5)


def test_operations_grow_with_the_layers_evenly(scaling):
    one, two, three = map(scaling.count_operations, (1, 2, 3))
    assert three - two == two - one > 30


def test_the_page_shows_the_tables_that_the_script_prints(scaling, repo_root, capsys):
    page = (repo_root / "docs" / "scaling.md").read_text()
    config = KmerBertConfig(k=6)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in KmerBertForMaskedLM(config).parameters())
    for part in ("paper", "gpus", "data"):
        scaling.PARTS[part](config, parameters)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) > 12
    assert [row for row in rows if row not in page] == []
