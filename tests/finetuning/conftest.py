"""Tables and an untrained model, and a model fine-tuned on them."""

from __future__ import annotations

import pytest
import torch
from gc_tables import arguments, pretrained, tables, write_table

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.finetuning.finetune import finetune
from hf_genomics.finetuning.head import Head
from hf_genomics.labelled.columns import Columns


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Tables, and a model of 2 layers over 3-mers that has not seen anything yet."""
    folder = tmp_path_factory.mktemp("finetune")
    for seed, (split, rows) in enumerate({"train": 160, "valid": 40, "test": 60}.items()):
        write_table(folder / f"{split}.csv", rows, seed)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = KmerBertConfig(k=3, max_position_embeddings=64, **sizes)
    KmerBertForMaskedLM(config).save_pretrained(folder / "pretrained")
    KmerTokenizer(k=3).save_pretrained(folder / "pretrained")
    return folder


@pytest.fixture(scope="session")
def tuned(home):
    """A model fine-tuned to tell GC-rich from AT-rich, and its metrics."""
    folder = home / "tuned"
    data = tables(home, "train", "valid", "test", columns=Columns(id="name"))
    options = {"max_steps": 60, "learning_rate": 3e-3, "logging_steps": 10, "eval_strategy": "steps", "eval_steps": 20}
    metrics = finetune(pretrained(home), data, arguments(folder, **options), Head(rc_probability=0.5), positive="gc")
    return folder, metrics
