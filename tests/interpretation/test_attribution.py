"""Integrated gradients are complete, exact where the integral is known, and equal to captum's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.interpretation.attribution import baseline_embeddings, integrated_gradients, mean_kmer_embedding
from hf_genomics.interpretation.scoring import is_kmer
from hf_genomics.interpretation.targets import TargetFunction, choose_targets


def test_captum_computes_the_same_with_mask_as_baseline(model_of):
    captum = pytest.importorskip("captum.attr")
    model, tokenizer = model_of("classes")
    assert model.config.classifier_pooling == "cls"
    texts = ["ACGTACGTTGACGTACCA", "TTGACCGTACGATTACG"]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    kmers = is_kmer(ids, 0)
    layer = captum.LayerIntegratedGradients(
        lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits, model.bert.embeddings.word_embeddings
    )
    theirs = layer.attribute(
        ids, ids.masked_fill(kmers, 4), target=1, additional_forward_args=(mask,), n_steps=128, method="riemann_middle"
    )
    table = model.get_input_embeddings().weight.detach()
    with torch.no_grad():
        func = TargetFunction(model, dict(batch), choose_targets(model(**batch).logits, 1))
    ours = integrated_gradients(func, table[ids], baseline_embeddings(table[ids], kmers, table[4]), 128, 128)
    torch.testing.assert_close(ours.scores.float(), theirs.detach(), atol=1e-5, rtol=1e-5)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_the_sum_of_scores_is_the_difference_of_the_outputs(rows, parts, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs, baselines, weights = torch.randn(3, rows, parts, 2, generator=generator, dtype=torch.float64)
    found = integrated_gradients(lambda row, x: (x * weights[row]).flatten(1).sum(1).tanh(), inputs, baselines)
    torch.testing.assert_close(
        found.scores.flatten(1).sum(1), found.values - found.baseline_values, atol=1e-3, rtol=1e-2
    )


def test_only_rows_above_the_tolerance_get_more_steps():
    sharpness = torch.tensor([1.0, 200.0])
    func = lambda rows, x: torch.sigmoid(sharpness[rows] * (x[:, 0] - 0.31))  # noqa: E731
    found = integrated_gradients(func, torch.ones(2, 1), torch.zeros(2, 1), steps=4, tolerance=0.01)
    assert found.steps[0] == 4 and found.steps[1] > 4 and (found.errors < 0.01).all()


def test_a_row_whose_output_does_not_change_has_no_error():
    found = integrated_gradients(lambda rows, x: x.sum(1) * 0, torch.ones(1, 2), torch.zeros(1, 2))
    assert found.errors.tolist() == [0] and found.scores.tolist() == [[0, 0]]


def test_a_row_whose_output_is_nan_has_no_error_of_zero():
    wrong = torch.tensor([1.0, float("nan")])
    found = integrated_gradients(lambda rows, x: x.sum(1) * wrong[rows], torch.ones(2, 2), torch.zeros(2, 2), steps=2)
    assert found.errors[0] == 0 and found.errors[1].isnan() and found.steps.tolist() == [2, 2]


def test_steps_must_be_positive():
    with pytest.raises(ValueError, match="steps"):
        integrated_gradients(lambda rows, x: x.sum(1), torch.ones(1, 1), torch.zeros(1, 1), steps=0)


def test_the_baseline_is_the_mean_of_the_kmers_and_leaves_special_tokens():
    table = torch.arange(80.0)[:, None]  # the rows after the 64 k-mers fill the table up
    assert mean_kmer_embedding(table, 3).item() == table[5:69].mean()
    ids = torch.tensor([[2, 7, 3, 0]])
    assert baseline_embeddings(table[ids], is_kmer(ids, 0), torch.tensor([-1.0]))[0, :, 0].tolist() == [2, -1, 3, 0]
