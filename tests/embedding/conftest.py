"""Tiny models, pretrained and fine-tuned, with random weights."""

from __future__ import annotations

import pytest
import torch

from hf_genomics import (
    HierarchicalKmerBertConfig,
    HierarchicalKmerBertForSequenceClassification,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerTokenizer,
)

SIZES = {"k": 3, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SIZES |= {"initializer_range": 0.5}
CLASSES = {"problem_type": "single_label_classification", "id2label": {0: "other", 1: "phage"}}
CLASSES |= {"label2id": {"other": 0, "phage": 1}}
KINDS = {
    "pretrained": (KmerBertForMaskedLM, KmerBertConfig, {"max_position_embeddings": 40}),
    "stride2": (KmerBertForMaskedLM, KmerBertConfig, {"max_position_embeddings": 40, "stride": 2}),
    "tuned": (KmerBertForSequenceClassification, KmerBertConfig, {**CLASSES, "max_sequence_length": 40}),
    "parts": (
        HierarchicalKmerBertForSequenceClassification,
        HierarchicalKmerBertConfig,
        {**CLASSES, "num_parts": 2, "max_sequence_length": 80},
    ),
}


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    """The folder of a saved model of a kind."""
    folders: dict[str, str] = {}

    def save(kind: str) -> str:
        if kind not in folders:
            folder = tmp_path_factory.mktemp(kind)
            torch.manual_seed(0)
            model, config, settings = KINDS[kind]
            model(config(**SIZES, **settings)).save_pretrained(folder)
            KmerTokenizer(k=3, stride=settings.get("stride", 1)).save_pretrained(folder)
            folders[kind] = str(folder)
        return folders[kind]

    return save
