"""Loaded models: complete, finite, with their own tokenizer, and in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from hf_genomics import (
    InputError,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerTokenizer,
)
from hf_genomics.loading.models import (
    check_finite,
    load_classifier,
    load_merged,
    load_tokenizer,
    no_load_report,
)


def test_a_model_that_is_not_an_adapter_is_not_merged_with_itself(folder: Path) -> None:
    with pytest.raises(InputError, match=r"adapter_config\.json"):
        load_merged(str(folder))


def test_transformers_says_nothing_of_weights_meanwhile_and_as_much_as_before_later() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity()
    with no_load_report():
        assert logging.get_verbosity() == logging.ERROR
    assert logging.get_verbosity() == before


def test_a_saved_classifier_comes_with_its_tokenizer(saved):
    for kind in ("classes", "nucleotides", "parts"):
        model, tokenizer = load_classifier(saved(kind))
        assert not model.training and (tokenizer.k, tokenizer.stride) == (3, 1)


def test_a_model_without_a_fine_tuned_head_is_refused(tmp_path):
    KmerBertForMaskedLM(
        KmerBertConfig(k=3, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ).save_pretrained(tmp_path)
    KmerTokenizer(k=3).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="KmerBertForMaskedLM.*hf-genomics finetune"):
        load_classifier(str(tmp_path))
    KmerTokenizer(k=4).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"tokenizer_config\.json and .*config\.json .*k is 4 and 3"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_weight_that_is_not_finite_is_named_with_its_file(folder: Path, value: str, dtype: torch.dtype) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
    model.classifier.weight.data[0, :2] = float(value)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    model.save_pretrained(folder, max_shard_size=2000)
    with pytest.raises(InputError, match=r"model-\d+-of-\d+\.safetensors: 2 of 64 values of classifier\.weight"):
        load_classifier(str(folder))


def test_large_finite_weights_whole_numbers_and_nothing_are_accepted() -> None:
    large = torch.full((4,), 3e38)
    check_finite([("large", large), ("ids", torch.arange(3)), ("empty", torch.zeros(0))], "m")
    with pytest.raises(InputError, match="m: 1 of 4 values of large"):
        check_finite([("large", torch.cat([large[1:], torch.tensor([float("nan")])]))], "m")
