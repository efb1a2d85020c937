"""Tables of sequences rich in AT or in GC, and what tests of fine-tuning do with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from safetensors.torch import load_file
from transformers import TrainingArguments

from hf_genomics.labelled.data import LabelledData

AT_RICH, GC_RICH = (0.4, 0.1, 0.1, 0.4), (0.1, 0.4, 0.4, 0.1)


def dna(random, length, shares=(0.25, 0.25, 0.25, 0.25)):
    return "".join(random.choice(list("ACGT"), length, p=shares))


def write_table(path, rows, seed, label=lambda number: "gc" if number % 2 else "at"):
    """Sequences of 30 to 60 nt, in turn rich in AT and in GC, with an id, a label, and the share of GC."""
    random = np.random.default_rng(seed)
    sequences = [dna(random, random.integers(30, 61), GC_RICH if row % 2 else AT_RICH) for row in range(rows)]
    gc = [(sequence.count("G") + sequence.count("C")) / len(sequence) for sequence in sequences]
    columns = {"name": [f"s{row}" for row in range(rows)], "sequence": sequences, "gc": gc}
    pd.DataFrame(columns | {"label": list(map(label, range(rows)))}).to_csv(path, index=False)
    return str(path)


def tables(home, *splits, **options):
    return LabelledData(**{split: str(home / f"{split}.csv") for split in splits}, **options)


def arguments(folder, **options):
    settings = {"max_steps": 4, "per_device_train_batch_size": 16, "learning_rate": 1e-3, "use_cpu": True}
    settings |= {"save_strategy": "no", "disable_tqdm": True, "seed": 1, "logging_steps": 2}
    return TrainingArguments(str(folder), **(settings | options))


def numbers(scores):
    """The scores without what they mean."""
    return {name: value for name, value in scores.items() if isinstance(value, float)}


def pretrained(home):
    return str(home / "pretrained")


def encoder(folder):
    """The encoder's weights without the pooler, which pretraining does not train."""
    weights = load_file(folder / "model.safetensors")
    return {name: weight for name, weight in weights.items() if name.startswith("bert.") and "pooler" not in name}


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()
