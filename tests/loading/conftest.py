"""Tiny fine-tuned models of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from models_of_kinds import model_of, saved  # noqa: F401 (fixtures)

from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer

SIZES = {"k": 3, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved classifier and its tokenizer."""
    KmerBertForSequenceClassification(KmerBertConfig(**SIZES)).save_pretrained(tmp_path / "model")
    KmerTokenizer(k=3).save_pretrained(tmp_path / "model")
    return tmp_path / "model"
