"""A plain transformers Trainer scores masked tokens with the functions of transformers' own run_mlm.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import EvalPrediction, Trainer, TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM

ROWS, TOKENS = 7, 12


def keep_best(logits: Tensor | tuple, labels: Tensor) -> Tensor:
    """Reduce logits to predicted ids, as run_mlm.py's `preprocess_logits_for_metrics` does."""
    return (logits[0] if isinstance(logits, tuple) else logits).argmax(dim=-1)


def accuracy(found: EvalPrediction) -> dict[str, float]:
    """Score predicted ids where there is a label, as run_mlm.py's `compute_metrics` does."""
    predictions, labels = found
    labels, predictions = labels.reshape(-1), predictions.reshape(-1)
    labelled = labels != -100
    return {"accuracy": float((predictions[labelled] == labels[labelled]).mean())}


class Rows(Dataset):
    """Rows of which each has another number of labelled tokens, all of them predicted right but every third."""

    def __init__(self, model: KmerBertForMaskedLM) -> None:
        generator = torch.Generator().manual_seed(0)
        self.ids = torch.randint(5, 69, (ROWS, TOKENS), generator=generator)
        best = model.eval()(self.ids).logits.argmax(-1)
        place = torch.arange(ROWS * TOKENS).view(ROWS, TOKENS)
        right = best.where(place % 3 > 0, (best + 1) % 69)
        self.labels = right.where(torch.arange(TOKENS) <= torch.arange(ROWS)[:, None], -100)
        self.accuracy = (place % 3 > 0)[self.labels != -100].float().mean().item()

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


def plain_trainer(tiny_config: KmerBertConfig, folder: Path, **options: Any) -> tuple[Trainer, Rows]:
    torch.manual_seed(0)
    model = KmerBertForMaskedLM(tiny_config)
    arguments = TrainingArguments(str(folder), per_device_eval_batch_size=3, use_cpu=True, report_to=[])
    rows = Rows(model)
    return Trainer(model, arguments, eval_dataset=rows, **options), rows


@pytest.mark.parametrize("sparse", [True, False])
def test_the_stock_metric_gives_the_right_accuracy(sparse: bool, tiny_config: KmerBertConfig, tmp_path: Path) -> None:
    tiny_config.sparse_prediction = sparse
    functions = {"compute_metrics": accuracy, "preprocess_logits_for_metrics": keep_best}
    trainer, rows = plain_trainer(tiny_config, tmp_path, **functions)
    scores = trainer.evaluate()
    assert 0.5 < rows.accuracy < 0.8 and scores["eval_accuracy"] == pytest.approx(rows.accuracy)


def test_predictions_have_a_row_and_a_token_for_each_label(tiny_config: KmerBertConfig, tmp_path: Path) -> None:
    trainer, rows = plain_trainer(tiny_config, tmp_path)
    found = trainer.predict(rows)
    assert found.predictions.shape == (ROWS, TOKENS, 69) and found.label_ids.shape == (ROWS, TOKENS)
    assert np.allclose(found.predictions, trainer.model(rows.ids).logits.detach(), atol=1e-5)
