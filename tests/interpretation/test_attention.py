"""Attention weights under any backend, rollout against a slow twin, and entropies of known patterns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_genomics.compat import attention_name
from hf_genomics.interpretation.attention import (
    attention_received,
    attention_weights,
    cls_attention,
    head_entropy,
    rollout,
)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_weights_come_from_any_backend_which_is_put_back(model_of, backend):
    model, tokenizer = model_of("classes")
    model.set_attn_implementation(backend)
    _, attentions = attention_weights(model, **tokenizer(["ACGTACGTA"], return_tensors="pt"))
    assert attention_name(model.config) == backend
    assert attentions[0].shape == (1, 2, 9, 9)
    torch.testing.assert_close(attentions[0].sum(-1), torch.ones(1, 2, 9))


def test_rollout_multiplies_the_layers_and_ignores_padding_on_either_side():
    random = torch.Generator().manual_seed(0)
    layers = [torch.rand(1, 2, 4, 4, generator=random).softmax(-1) for _ in range(3)]
    reached = np.eye(4)
    for layer in layers:
        reached = (layer[0].mean(0).numpy() + np.eye(4)) / 2 @ reached
    expected = torch.from_numpy(reached.mean(0)).float()
    real = torch.ones(1, 4, dtype=torch.bool)
    torch.testing.assert_close(rollout(layers, real)[0], expected)
    assert rollout(layers, real).sum().item() == pytest.approx(1)
    for before, after in ((1, 0), (0, 2)):
        padding = (before, after, before, after)
        padded = [torch.nn.functional.pad(layer, padding) for layer in layers]
        found = rollout(padded, torch.nn.functional.pad(real, padding[:2]))[0]
        torch.testing.assert_close(found[before : before + 4], expected)
        assert found.sum().item() == pytest.approx(1)


def test_received_attention_is_the_mean_over_everything_that_attends():
    random = torch.Generator().manual_seed(0)
    layers = [torch.rand(1, 2, 4, 4, generator=random).softmax(-1) for _ in range(3)]
    expected = torch.cat(layers).mean((0, 1, 2))  # layers, heads, tokens that attend
    real = torch.ones(1, 4, dtype=torch.bool)
    torch.testing.assert_close(attention_received(layers, real)[0], expected)
    padded = [torch.nn.functional.pad(layer, (1, 2, 1, 2)) for layer in layers]
    found = attention_received(padded, torch.nn.functional.pad(real, (1, 2)))[0]
    torch.testing.assert_close(found, torch.nn.functional.pad(expected, (1, 2)))


def test_cls_is_the_first_real_token():
    layer = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert cls_attention([layer], torch.tensor([[False, True, True, True]])).tolist() == [[4, 5, 6, 7]]


def test_entropy_is_1_for_even_attention_and_0_for_one_token():
    even, one = torch.full((1, 1, 4, 4), 0.25), torch.eye(4)[None, None]
    found = head_entropy([torch.cat([even, one], 1)], torch.ones(1, 4, dtype=torch.bool))
    assert found.flatten().tolist() == pytest.approx([1, 0])


def test_rollout_keeps_the_precision_of_the_attention():
    even = torch.full((1, 2, 4, 4), 0.25, dtype=torch.bfloat16)
    found = rollout([even, even], torch.ones(1, 4, dtype=torch.bool))
    assert found.dtype == torch.bfloat16 and found[0].tolist() == [0.25] * 4
