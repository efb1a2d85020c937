"""Losses against loops, class weights, focal loss, missing labels, and labels that do not fit."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from hf_genomics import KmerBertConfig
from hf_genomics.losses import binary_loss, label_loss, sequence_loss, squared_error

NAN = float("nan")
GAMMAS = st.sampled_from([0.0, 0.5, 2.0])
ITEMS = st.one_of(st.none(), st.integers(1, 20))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@given(st.lists(st.sampled_from([-100, 0, 1, 2]), min_size=1, max_size=8), GAMMAS, st.booleans(), ITEMS)
def test_a_class_loss_equals_a_loop(labels: list[int], gamma: float, weighted: bool, items: int | None) -> None:
    logits, weights = drawn(len(labels), 3), [0.5, 1.0, 4.0] if weighted else None
    terms = []
    for row, label in zip(logits, labels, strict=True):
        if label != -100:
            p = row.softmax(0)[label].item()
            terms.append((weights[label] if weights else 1) * (1 - p) ** gamma * -math.log(p))
    expected = sum(terms) / (items or max(1, len(terms)))
    assert label_loss(logits, torch.tensor(labels), items, weights, gamma).item() == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.sampled_from([NAN, -100.0, 0.0, 1.0, 0.3]), min_size=6, max_size=6), GAMMAS, st.booleans(), ITEMS)
def test_a_loss_of_several_labels_equals_a_loop(cells: list, gamma: float, weighted: bool, items: int | None) -> None:
    logits, labels, weights = drawn(3, 2), torch.tensor(cells).view(3, 2), [3.0, 0.5] if weighted else None
    terms = []
    for row in range(3):
        for column in range(2):
            y, p = labels[row, column].item(), logits[row, column].sigmoid().item()
            if not math.isnan(y) and y != -100:
                plain = -y * math.log(p) - (1 - y) * math.log(1 - p)
                factor = 1 + y * (weights[column] - 1) if weights else 1
                terms.append(factor * (1 - math.exp(-plain)) ** gamma * plain)
    expected = sum(terms) / (items or max(1, len(terms)))
    assert binary_loss(logits, labels, items, weights, gamma).item() == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.sampled_from([NAN, 0.0, -3.0, 50.0]), min_size=6, max_size=6), ITEMS)
def test_a_squared_error_equals_a_loop(cells: list[float], items: int | None) -> None:
    logits, labels = drawn(3, 2), torch.tensor(cells).view(3, 2)
    terms = [(a - b) ** 2 for a, b in zip(logits.flatten().tolist(), cells, strict=True) if not math.isnan(b)]
    expected = sum(terms) / (items or max(1, len(terms)))
    assert squared_error(logits, labels, items).item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_no_label_gives_zero_and_finite_gradients(gamma: float) -> None:
    for loss, labels in (
        (label_loss, torch.full((4,), -100)),
        (binary_loss, torch.full((4, 3), NAN)),
        (binary_loss, torch.full((4, 3), -100.0)),
        (squared_error, torch.full((4, 3), NAN)),
    ):
        logits = drawn(4, 3).requires_grad_()
        value = loss(logits, labels, **({} if loss is squared_error else {"focal_gamma": gamma}))
        value.backward()
        assert value.item() == 0 and (logits.grad == 0).all()


def test_a_label_that_is_certain_has_finite_gradients_under_a_focal_loss() -> None:
    logits = torch.tensor([[100.0, -100.0], [1.0, 2.0]], requires_grad=True)
    label_loss(logits, torch.tensor([0, 1]), focal_gamma=0.5).backward()
    assert logits.grad.isfinite().all()


def test_without_weights_and_gamma_the_numbers_are_torchs() -> None:
    logits, labels = drawn(5, 3), torch.tensor([0, 2, 1, -100, 2])
    assert torch.allclose(label_loss(logits, labels), functional.cross_entropy(logits, labels))
    cells = (drawn(5, 3) > 0).float()
    assert torch.allclose(binary_loss(logits, cells), functional.binary_cross_entropy_with_logits(logits, cells))
    weights = torch.tensor([2.0, 1.0, 5.0])
    expected = functional.binary_cross_entropy_with_logits(logits, cells, pos_weight=weights)
    assert torch.allclose(binary_loss(logits, cells, class_weights=weights.tolist()), expected)


@given(st.integers(1, 5), st.sampled_from(["class", "several", "value"]))
def test_micro_batches_add_up_with_weights_focus_and_missing_labels(size: int, kind: str) -> None:
    logits = drawn(6, 3)
    settings = {"class_weights": [1.0, 2.0, 5.0], "focal_gamma": 1.5}
    loss, labels, items = {
        "class": (label_loss, torch.tensor([0, -100, 2, 1, 1, -100]), 4),
        "several": (binary_loss, (drawn(6, 3) > 0).float().masked_fill(drawn(6, 3) > 1, -100), None),
        "value": (squared_error, drawn(6, 3).masked_fill(drawn(6, 3) > 1, NAN), None),
    }[kind]
    settings = {} if kind == "value" else settings
    items = int((~(labels.isnan() | (labels == -100))).sum()) if items is None else items
    parts = [
        loss(logits[first : first + size], labels[first : first + size], items, **settings)
        for first in range(0, 6, size)
    ]
    assert torch.allclose(sum(parts), loss(logits, labels, **settings), atol=1e-6)


def config(problem: str, num_labels: int = 3) -> KmerBertConfig:
    return KmerBertConfig(k=3, problem_type=problem, num_labels=num_labels)


@pytest.mark.parametrize(
    ("problem", "labels", "message"),
    [
        ("single_label_classification", torch.tensor([0, 3]), r"label 3 .* 0\.\.2"),
        ("single_label_classification", torch.tensor([-1, 1]), r"label -1 .* 0\.\.2"),
        ("single_label_classification", torch.tensor([0.0, 1.0]), "torch.float32"),
        (
            "single_label_classification",
            torch.tensor([0]),
            r"\(1,\) .* \(2,\)",
        ),
        ("multi_label_classification", torch.tensor([[0, 1, 2], [0, 0, 0.0]]), "label 2.0 "),
        ("multi_label_classification", torch.tensor([0, 1]), r"\(2,\) .* \(2, 3\)"),
        ("regression", torch.tensor([0.5, 1]), r"\(2,\) .* \(2, 3\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_rule(problem: str, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sequence_loss(drawn(2, 3), labels, config(problem))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_weights": [1.0, 2.0]}, "one positive number for each of 3 labels"),
        ({"class_weights": [1.0, 2.0, 0.0]}, "one positive number"),
        ({"class_weights": [1.0, 2.0, 3.0], "problem_type": "regression"}, "class_weights .* 'regression'"),
        ({"focal_gamma": -1.0}, "focal_gamma must be 0 or more"),
        ({"classifier_pooling": "median"}, "classifier_pooling"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(Exception, match=message):
        KmerBertConfig(**{"k": 3, "num_labels": 3, "problem_type": "single_label_classification", **settings})


def test_labels_that_are_not_a_tensor_are_named() -> None:
    with pytest.raises(ValueError, match="labels.*list"):
        sequence_loss(drawn(1, 2), ["phage"], config(None))
