"""Tiny fine-tuned models of every kind, with random weights, and sequences for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hf_genomics import (
    FusionKmerBertConfig,
    FusionKmerBertForSequenceClassification,
    HierarchicalKmerBertConfig,
    HierarchicalKmerBertForSequenceClassification,
    KmerBertConfig,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerTokenizer,
)

SIZES = {"k": 3, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SIZES |= {"max_sequence_length": 40, "initializer_range": 0.5}
CLASSES = {"problem_type": "single_label_classification", "id2label": {0: "other", 1: "phage"}}
CLASSES |= {"label2id": {"other": 0, "phage": 1}}
KINDS = {
    "classes": (KmerBertForSequenceClassification, KmerBertConfig, CLASSES),
    "value": (
        KmerBertForSequenceClassification,
        KmerBertConfig,
        {"problem_type": "regression", "id2label": {0: "value"}, "label2id": {"value": 0}},
    ),
    "several": (
        KmerBertForSequenceClassification,
        KmerBertConfig,
        {**CLASSES, "problem_type": "multi_label_classification"},
    ),
    "nucleotides": (KmerBertForTokenClassification, KmerBertConfig, {**CLASSES, "labels_per": "nt"}),
    "pairs": (KmerBertForSequenceClassification, KmerBertConfig, {**CLASSES, "paired": True}),
    "parts": (
        HierarchicalKmerBertForSequenceClassification,
        HierarchicalKmerBertConfig,
        {**CLASSES, "num_parts": 2},
    ),
    "tracks": (
        FusionKmerBertForSequenceClassification,
        FusionKmerBertConfig,
        {
            **CLASSES,
            "track_names": ["age"],
            "track_means": [0.0],
            "track_stds": [1.0],
            "nt_track_names": ["signal"],
            "nt_track_means": [0.0],
            "nt_track_stds": [1.0],
        },
    ),
}


def build(kind: str):
    """Build a model of one kind, and its tokenizer."""
    torch.manual_seed(0)
    model, config, settings = KINDS[kind]
    return model(config(**SIZES, **settings)).eval(), KmerTokenizer(k=3)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """The folder of a saved model of a kind."""
    folders: dict[str, str] = {}

    def save(kind: str) -> str:
        if kind not in folders:
            folder = tmp_path_factory.mktemp(kind)
            for part in build(kind):
                part.save_pretrained(folder)
            folders[kind] = str(folder)
        return folders[kind]

    return save


@pytest.fixture
def model_of():
    """A model of a kind, and its tokenizer."""
    return build


def dna(lengths, seed: int = 0) -> list[str]:
    """Draw sequences of these lengths."""
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list("ACGT"), length)) for length in lengths]


@pytest.fixture
def draw():
    """`dna`, for tests."""
    return dna


@pytest.fixture
def write_fasta():
    """Write sequences as FASTA, in lines of 60 letters."""

    def write(path: Path, sequences: list[str]) -> str:
        lines = ["\n".join(text[at : at + 60] for at in range(0, len(text), 60)) for text in sequences]
        path.write_text("".join(f">s{number}\n{text}\n" for number, text in enumerate(lines)))
        return str(path)

    return write
