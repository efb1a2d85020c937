"""Gradients of rows equal those of one row at a time; their clipped sum changes by at most the bound for one row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hf_genomics import (
    KmerBertConfig,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerTokenizer,
)
from hf_genomics.errors import InputError

pytest.importorskip("opacus")
from hf_genomics.privacy.gradients import (  # noqa: E402 (skips without opacus)
    check_row_gradients,
    clipped_sum,
    noisy,
    row_gradients,
    secret_generator,
    take_row_gradients,
)
from hf_genomics.privacy.steps import with_row_ids  # noqa: E402

SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8, "k": 3}
SIZES |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "max_position_embeddings": 32}
SEQUENCES = ["ACGTTGATTTACC", "GGATTACA", "ACNTTTGACCA", "TTTTTTTTTTTTTTT"]


def batch_for(kind: str, sequences: list[str] = SEQUENCES) -> dict[str, torch.Tensor]:
    tokenizer = KmerTokenizer(k=3)
    if kind == "pairs":
        batch = tokenizer(sequences, sequences[::-1], padding=True, return_tensors="pt")
    else:
        batch = tokenizer(sequences, padding=True, return_tensors="pt")
    rows = len(sequences)
    labels = torch.arange(rows) % 2
    if kind == "nt":
        labels = torch.full((rows, 15), -100)
        for row, letters in enumerate(sequences):
            labels[row, : len(letters)] = torch.arange(len(letters)) % 2
    if kind == "several":
        labels = (torch.arange(2 * rows).view(rows, 2) % 3 == 0).float()
    return {**batch, "labels": labels}


def model_for(kind: str) -> nn.Module:
    torch.manual_seed(0)
    changes = {
        "mean": {"classifier_pooling": "mean"},
        "max": {"classifier_pooling": "max"},
        "attention": {"classifier_pooling": "attention"},
        "rotary": {"position_embedding_type": "rotary"},
        "nearby": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 4},
        "pairs": {"paired": True},
        "nt": {"labels_per": "nt"},
        "several": {"problem_type": "multi_label_classification"},
        "weighted": {"class_weights": [1.0, 3.0], "focal_gamma": 2.0},
    }.get(kind, {})
    kind_of_model = KmerBertForTokenClassification if kind == "nt" else KmerBertForSequenceClassification
    network = kind_of_model(KmerBertConfig(**SIZES, **changes)).train()
    if kind == "lora":
        from peft import LoraConfig, get_peft_model

        network = get_peft_model(network, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "dense"]))
    if kind == "frozen":
        network.bert.embeddings.requires_grad_(False).eval()
    return network


def backward(model: nn.Module, batch: dict[str, torch.Tensor]) -> None:
    model.zero_grad()
    model(**batch, num_items_in_batch=1).loss.backward()


def by_rows(model: nn.Module, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    with row_gradients(model):
        backward(model, with_row_ids(batch))
        gradients = take_row_gradients(model, len(batch["input_ids"]))
        check_row_gradients(model, gradients)
    return gradients


def one_by_one(model: nn.Module, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The slow twin: a backward pass for each row."""
    rows = []
    for row in range(len(batch["input_ids"])):
        backward(model, {name: column[row : row + 1] for name, column in batch.items()})
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        rows.append([torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in trained])
    return [torch.stack(gradients) for gradients in zip(*rows, strict=True)]


def clip_one_by_one(gradients: list[torch.Tensor], bound: float) -> torch.Tensor:
    """The slow twin: all weights of a row as one vector, shortened if it is too long."""
    total = 0
    for row in zip(*gradients, strict=True):
        vector = torch.cat([part.flatten() for part in row])
        total = total + (vector if vector.norm() <= bound else vector * bound / vector.norm())
    return total


KINDS = "cls mean max attention rotary nearby pairs nt several weighted frozen lora".split()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_rows_equal_those_of_one_row_at_a_time(kind):
    model, batch = model_for(kind), batch_for(kind)
    fast, slow = by_rows(model, batch), one_by_one(model, batch)
    assert len(fast) == len(slow) > 0
    for found, expected in zip(fast, slow, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    for bound in (0.1, 1.0, 100.0):
        found = torch.cat([part.flatten() for part in clipped_sum(fast, bound)])
        torch.testing.assert_close(found, clip_one_by_one(slow, bound), rtol=1e-4, atol=1e-6)


def test_nothing_of_the_hooks_stays_on_the_model():
    model, batch = model_for("cls"), batch_for("cls")
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    by_rows(model, batch)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert not any(hasattr(weight, "grad_sample") for weight in model.parameters())


def test_a_weight_whose_rows_are_not_known_is_named():
    model, batch = model_for("cls"), batch_for("cls")
    with row_gradients(model), pytest.raises(InputError, match=r"embeddings\.(position|token_type)_embeddings"):
        backward(model, batch)  # without the positions and types of each row
        take_row_gradients(model, 4)
    with row_gradients(model):
        backward(model, with_row_ids(batch))
        gradients = take_row_gradients(model, 4)
        gradients[0] = gradients[0] * torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1, 1)
        with pytest.raises(InputError, match="word_embeddings"):
            check_row_gradients(model, gradients)


@settings(max_examples=30)
@given(st.integers(1, 6), st.floats(1e-3, 10), st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_one_row_more_or_less_changes_the_clipped_sum_by_at_most_the_bound(rows, bound, size, seed):
    generator = torch.Generator().manual_seed(seed)
    gradients = [size * torch.randn(rows, *shape, generator=generator) for shape in ((3, 2), (5,))]
    whole = torch.cat([part.flatten() for part in clipped_sum(gradients, bound)])
    torch.testing.assert_close(whole, clip_one_by_one(gradients, bound), rtol=1e-4, atol=1e-5 * bound)
    for row in range(rows):
        rest = [torch.cat([part[:row], part[row + 1 :]]) for part in gradients]
        without = torch.cat([part.flatten() for part in clipped_sum(rest, bound)])
        assert (whole - without).norm() <= bound * (1 + 1e-4)


def test_a_row_with_a_gradient_of_zero_adds_nothing():
    (total,) = clipped_sum([torch.zeros(2, 3)], 1.0)
    assert total.tolist() == [0, 0, 0]


def test_seeds_that_share_their_lower_32_bits_give_different_noise(monkeypatch):
    drawn = []
    for seed in (5, 5 + 2**32, 5 + 2**100):
        monkeypatch.setattr("hf_genomics.privacy.gradients.secrets.randbits", lambda bits, seed=seed: seed % 2**bits)
        drawn.append(noisy(torch.zeros(3), 1.0, secret_generator()))
    assert drawn[0].dtype == torch.float32
    assert len({tuple(noise.tolist()) for noise in drawn}) == 3


def test_the_noise_has_its_scale_and_does_not_follow_from_the_seed():
    total, drawn = torch.ones(200, 200), []
    for _ in range(2):
        torch.manual_seed(0)
        np.random.seed(0)
        drawn.append(noisy(total, 2.5, secret_generator()) - total)
    for noise in drawn:
        assert abs(noise.std().item() - 2.5) < 0.05 and abs(noise.mean().item()) < 0.06
    assert abs(torch.corrcoef(torch.stack([noise.flatten() for noise in drawn]))[0, 1]) < 0.03
