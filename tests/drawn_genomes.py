"""Stores of drawn genomes, for the tests of windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hf_genomics.genomes.store import GenomeStore, prepare

#: name, genome length, class, split; the tenth genome of each class is short.
GENOMES = [
    (f"{label}{number}", 3000 if number else 250, label, "train" if number < 8 else "test")
    for label in ("phage", "other")
    for number in range(10)
]


def letters_of(name: str, length: int) -> str:
    """Draw a genome that belongs to its name."""
    seed = int.from_bytes(name.encode(), "little") % 2**32
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def two_classes(folder: Path) -> GenomeStore:
    """Prepare a store of twenty genomes of two classes, in two splits."""
    (folder / "all.fa").write_text("".join(f">{name}\n{letters_of(name, length)}\n" for name, length, *_ in GENOMES))
    table = "".join(f"{name}\t{label}\t{split}\n" for name, _, label, split in GENOMES)
    (folder / "meta.tsv").write_text("accession\tlabel\tsplit\n" + table)
    return prepare([str(folder / "all.fa")], str(folder / "store"), metadata=str(folder / "meta.tsv"))


def store_of(folder: Path, *contigs: str, metadata: str | None = None, storage: str = "8bit") -> GenomeStore:
    """Prepare a store of contigs c0, c1, ..."""
    (folder / "in.fa").write_text("".join(f">c{number}\n{letters}\n" for number, letters in enumerate(contigs)))
    if metadata is not None:
        (folder / "meta.tsv").write_text(metadata)
    table = metadata and str(folder / "meta.tsv")
    return prepare([str(folder / "in.fa")], str(folder / "store"), table, storage=storage, overwrite=True)
