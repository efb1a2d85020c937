"""A label-scarcity study of made-up genomes and a tiny model, whose cells may run in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Genomes of each class in each split.
GENOMES = {"train": 6, "valid": 2, "test": 3}
#: Shares of A, C, G and T.
LETTERS = {"phage": [0.35, 0.15, 0.15, 0.35], "other": [0.15, 0.35, 0.35, 0.15]}


def write_store(folder: Path, seed: int = 0, held_out_seed: int = 0) -> str:
    """Prepare a store of two classes that differ in GC; two neighbouring genomes are a group.

    Args:
        folder: folder to write to.
        seed: seed of the letters of the training genomes.
        held_out_seed: seed of the letters of the others.
    """
    from hf_genomics import prepare

    records, rows = [], []
    for split, number in GENOMES.items():
        random = np.random.default_rng([seed if split == "train" else held_out_seed, len(split)])
        for kind, shares in LETTERS.items():
            for place in range(number):
                name = f"{kind}_{split}_{place}"
                records.append(f">{name}\n{''.join(random.choice(list('ACGT'), 240, p=shares))}\n")
                rows.append((name, kind, split, f"{kind}_{split}_{place // 2}"))
    (folder / "genomes.fa").write_text("".join(records))
    pd.DataFrame(rows, columns=["accession", "class", "split", "group"]).to_csv(folder / "m.csv", index=False)
    return str(prepare([str(folder / "genomes.fa")], str(folder / "store"), str(folder / "m.csv")).path)


def write_model(folder: Path) -> str:
    """Write a model of 3-mers with 1 layer that reads 48 tokens."""
    from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    KmerBertForMaskedLM(KmerBertConfig(k=3, max_position_embeddings=48, **sizes)).save_pretrained(folder / "model")
    KmerTokenizer(k=3).save_pretrained(folder / "model")
    return str(folder / "model")


def settings(store: str, output: Path, setups: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Return the recipe of a study of two steps: windows of 40 nt, and of 80 nt in two parts."""
    grid = {"setups": setups, "lengths": [40, 80], "genomes": [4], "arms": ["pretrained", "twin", "kmers"]}
    trainer = {"max_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True, "save_strategy": "no"}
    whole: dict[str, Any] = {
        "store": store,
        "output_dir": str(output),
        "grid": grid | {"seeds": [0], "ks": [1, 2]},
        "finetuning": [{"options": {"data": {"windows": {"per_genome": 4, "test_per_genome": 2}}, "trainer": trainer}}],
        "running": {"jobs": 1},
    }
    for section, change in changes.items():
        whole[section] = whole.get(section, {}) | change if isinstance(change, dict) else change
    return whole


class InThisProcess:
    """Stands in for subprocess.Popen: runs a command of the study in this process, which takes no time to start."""

    def __init__(self, command: list[str], stdout: Any = None, **_: Any) -> None:
        self.command, self.stdout = command, stdout

    def wait(self) -> int:
        """Run the command, and return its exit code."""
        from hf_genomics.cli import main
        from hf_genomics.errors import InputError
        from hf_genomics.studies import kmer_regression

        _, _, module, *words = self.command
        if module == "hf_genomics":
            return main(words)
        try:
            kmer_regression.main(*words)
        except InputError as error:
            self.stdout.write(f"hf-genomics: error: {error}\n")
            return 2
        return 0
