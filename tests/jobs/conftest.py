"""Tables and a model for runs of `finetune` that take a second."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import hf_genomics as hg


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Tables of two classes that differ in GC, and an untrained model of one layer over 3-mers."""
    folder, random = tmp_path_factory.mktemp("sweep"), np.random.default_rng(0)
    for split, rows in {"train": 60, "valid": 24, "test": 30}.items():
        shares = [(0.4, 0.1, 0.1, 0.4), (0.2, 0.3, 0.3, 0.2)]
        texts = ["".join(random.choice(list("ACGT"), 40, p=shares[row % 2])) for row in range(rows)]
        frame = pd.DataFrame({"sequence": texts, "label": ["at", "gc"] * (rows // 2)})
        frame.to_csv(folder / f"{split}.csv", index=False)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    hg.KmerBertForMaskedLM(hg.KmerBertConfig(k=3, max_position_embeddings=64, **sizes)).save_pretrained(folder / "mlm")
    hg.KmerTokenizer(k=3).save_pretrained(folder / "mlm")
    return folder
