"""Tables with every kind of column, and options for fine-tuning on them; several test files use both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from transformers import TrainingArguments

SETTINGS = {
    "several": {"balanced": True, "pooling": "attention"},
    "values": {"pooling": "mean"},
    "nucleotides": {"balanced": True, "focal_gamma": 1.0},
    "pairs": {"class_weights": [1.0, 2.0], "pooling": "mean"},
    "tracks": {"pooling": "max"},
    "parts": {"part_length": 24, "aggregation": "transformer"},
}


def write_table(path: Path, rows: int, seed: int) -> str:
    """Write sequences of 30 to 60 nt with every kind of column."""
    random = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        shares = random.dirichlet([1, 1, 1, 1])
        first, other = ("".join(random.choice(list("ACGT"), random.integers(30, 61), p=shares)) for _ in range(2))
        g, a = first.count("G") / len(first), first.count("A") / len(first)
        found.append(
            {
                "name": f"s{row}",
                "sequence": first,
                "other": other,
                "more_g": "yes" if first.count("G") > other.count("G") else "no",
                "much_g": "" if row % 5 == 0 else int(g > 0.25),
                "much_a": int(a > 0.25),
                "share_g": f"{g:.4f}",
                "share_a": "" if row % 7 == 0 else f"{a:.4f}",
                "is_g": "".join("." if random.random() < 0.1 else "01"[letter == "G"] for letter in first),
                "age": "" if row % 4 == 0 else f"{100 * g:.2f}",
                "value": f"{g:.4f}",
                "signal": "" if row % 6 == 0 else "".join("01"[letter == "G"] for letter in first),
            }
        )
    pd.DataFrame(found).to_csv(path, index=False)
    return str(path)


def arguments(folder: Path, **options: object) -> TrainingArguments:
    settings = {"max_steps": 3, "per_device_train_batch_size": 16, "learning_rate": 3e-3, "use_cpu": True}
    settings |= {"save_strategy": "no", "disable_tqdm": True, "seed": 1}
    return TrainingArguments(str(folder), **(settings | options))
