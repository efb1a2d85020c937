"""A fixed model gives the outputs in golden/logits.json, which was written once, from BERT itself.

Weights are computed from their names, so they depend neither on the initialisation nor on a random generator.
To write the file again: ``python tests/test_golden.py``; say why in the commit.
"""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import hf_genomics
from hf_genomics import KmerBertConfig, KmerTokenizer

FILE = Path(__file__).parent / "golden" / "logits.json"
HOW = (
    "transformers' Bert... classes, 2 layers x 16, 4 heads, k = 3, eval mode, float32; weight i of a tensor is "
    "level + size * sin(0.7 i + crc32(name) % 1000), level 1 for LayerNorm weights else 0, size 0.3 for matrices else "
    "0.1; one row of DNA, and the same cut short and padded; first 6 outputs of each token or row. "
    "Made by tests/test_golden.py"
)
TWINS = {
    "KmerBertModel": "BertModel",
    "KmerBertForMaskedLM": "BertForMaskedLM",
    "KmerBertForSequenceClassification": "BertForSequenceClassification",
    "KmerBertForTokenClassification": "BertForTokenClassification",
}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
SIZES |= {"max_position_embeddings": 32, "num_labels": 3}


@torch.no_grad()
def fill(model):
    """Set every weight to the value computed from its name and place."""
    for name, weight in model.named_parameters():
        name = name.replace("pooler.attention", "pooler.score")  # its name when the values were recorded
        level, size = float(name.endswith("LayerNorm.weight")), 0.3 if weight.ndim == 2 else 0.1
        angles = 0.7 * np.arange(weight.numel()) + zlib.crc32(name.encode()) % 1000
        weight.copy_(torch.tensor(level + size * np.sin(angles)).view(weight.shape))
    return model.eval()


@torch.no_grad()
def outputs(model):
    """Compute the outputs that the file holds: (rows, tokens or 1, up to 6)."""
    batch = KmerTokenizer(3)(["ACGTTGATTTNACC", "ACGTTGATT"], padding=True, return_tensors="pt")
    kept = next(iter(model(**batch).values())).double()
    return kept.reshape(2, -1, kept.shape[-1])[..., :6].numpy()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", TWINS)
def test_the_numbers_are_those_of_the_golden_file(name, attention):
    kind = getattr(hf_genomics, name)
    model = fill(kind._from_config(KmerBertConfig(k=3, **SIZES), attn_implementation=attention))
    expected = np.array(json.loads(FILE.read_text())["outputs"][name])
    real = np.array([[True] * 14, [True] * 9 + [False] * 5])[:, : expected.shape[1]]  # outputs on padding do not matter
    assert np.abs(outputs(model) - expected)[real].max() < 1e-5


if __name__ == "__main__":
    config = transformers.BertConfig(vocab_size=69, **SIZES)
    found = {
        ours: outputs(fill(getattr(transformers, theirs)(config))).round(6).tolist() for ours, theirs in TWINS.items()
    }
    text = json.dumps({"how": HOW, "outputs": found}, indent=1)
    FILE.write_text(re.sub(r"\n {5,}|\n {4}(?=\])", "", text) + "\n")  # a token a line
