"""Dropout: its law, its seed, its gradients; and dropout inside the models."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
from hf_genomics.dropout import KmerBertDropout, draw_int16, drop, keep_factors

SHAPES = st.lists(st.integers(0, 7), max_size=3)


def factors_slowly(shape: list[int], p: float) -> list[float]:
    """Draw the factors number by number: 16 bits each, from the generator that torch seeds."""
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.Generator(np.random.SFC64(seed)).integers(2**64, size=int(np.prod(shape)) // 4 + 1, dtype="<u8")
    pairs = words.tobytes()
    dropped, factors = min(round(p * 65536), 65535), []
    for index in range(int(np.prod(shape))):
        number = int.from_bytes(pairs[2 * index : 2 * index + 2], "little", signed=True) + 32768
        factors.append(0.0 if number < dropped else 65536 / (65536 - dropped))
    return factors


@given(SHAPES, st.floats(0, 1), st.integers(0, 9), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_factors_equal_a_loop(shape: list[int], p: float, seed: int, dtype: torch.dtype) -> None:
    torch.manual_seed(seed)
    found = keep_factors(shape, p, dtype)
    torch.manual_seed(seed)
    assert found.dtype == dtype and torch.equal(found, torch.tensor(factors_slowly(shape, p), dtype=dtype).view(shape))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.01])
def test_values_are_dropped_by_chance_and_the_mean_is_kept(p: float) -> None:
    torch.manual_seed(0)
    kept = drop(torch.ones(4000, 1000), p)
    dropped = kept == 0
    five_sigmas = 5 * (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(dropped.double().mean() - p) < five_sigmas
    assert abs(kept.double().mean() - 1) < five_sigmas / (1 - p)
    for distance in (1, 2, 3, 4, 1000):  # nothing is known from a neighbour, in the same random word or the row below
        both = dropped.flatten()[distance:] & dropped.flatten()[:-distance]
        assert abs(both.double().mean() - p**2) < 5 * p / kept.numel() ** 0.5
    counts = dropped.sum(1).double()
    assert abs(counts.var() / (1000 * p * (1 - p)) - 1) < 0.15


def test_every_number_of_16_bits_is_equally_likely() -> None:
    torch.manual_seed(0)
    bits = draw_int16((64, 2**16))
    counts = torch.bincount(bits.flatten().int() + 2**15, minlength=2**16).double()
    assert abs(((counts - 64) ** 2 / 64).sum() - 2**16) < 5 * (2 * 2**16) ** 0.5  # chi-square


def test_torchs_seed_decides_and_its_state_brings_the_same_back() -> None:
    states = torch.ones(50, 50)
    torch.manual_seed(1)
    first, state = drop(states, 0.5), torch.get_rng_state()
    second = drop(states, 0.5)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(drop(states, 0.5), second)
    torch.manual_seed(1)
    assert torch.equal(drop(states, 0.5), first)


def test_gradients_are_dropped_alike() -> None:
    states = torch.rand(30, 40, requires_grad=True)
    kept = drop(states, 0.3)
    kept.sum().backward()
    assert torch.allclose(kept, states * states.grad) and (states.grad == 0).any()


def test_nothing_is_dropped_outside_training_and_everything_at_1() -> None:
    layer, states = KmerBertDropout(0.5), torch.rand(9, 9)
    assert (layer(states) == 0).any()
    assert torch.equal(layer.eval()(states), states) and torch.equal(drop(states, 0.0), states)
    assert torch.equal(drop(states, 1.0), torch.zeros(9, 9))


def test_an_exported_layer_has_torchs_own() -> None:
    program = torch.export.export(KmerBertDropout(0.5), (torch.rand(3, 4),))
    assert any("dropout" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_checkpointed_layers_drop_the_same_again(attention: str, tiny_config: KmerBertConfig) -> None:
    tiny_config.hidden_dropout_prob = tiny_config.attention_probs_dropout_prob = 0.3
    torch.manual_seed(0)
    plain = KmerBertForMaskedLM._from_config(tiny_config, attn_implementation=attention).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable()
    ids = torch.randint(5, 69, (3, 11))
    labels = ids.where(torch.rand(3, 11) < 0.4, -100)
    for model in (plain, checkpointed):
        torch.manual_seed(7)
        model(ids, labels=labels).loss.backward()
    for (name, weight), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        assert torch.allclose(weight.grad, other.grad, atol=1e-7), name


def test_sdpa_drops_as_eager_does_behind_every_mask(tiny_config: KmerBertConfig) -> None:
    tiny_config.hidden_dropout_prob = tiny_config.attention_probs_dropout_prob = 0.3
    ids = torch.randint(5, 69, (3, 11))
    shown = (torch.arange(11) < torch.tensor([11, 4, 7])[:, None]).long()
    for mask in (None, shown):
        states = []
        for attention in ("eager", "sdpa"):
            torch.manual_seed(3)
            model = KmerBertForMaskedLM._from_config(copy.deepcopy(tiny_config), attn_implementation=attention)
            states.append(model.bert.train()(ids, mask).last_hidden_state[shown.bool()])
        assert torch.allclose(*states, atol=1e-6)


def test_dropout_in_place_is_refused_because_it_never_is() -> None:
    with pytest.raises(TypeError, match="inplace"):
        KmerBertDropout(0.5, inplace=True)


def test_in_short_types_the_factor_is_the_rounded_one() -> None:
    factor = keep_factors((100,), 0.1, torch.bfloat16).max()
    assert float(factor) == 1.109375  # 1 / (1 - p) is 1.11112
