"""Recipes of the label-scarcity study that do not fit, and genomes for a quickstart."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import yaml
from small_files import dna

from .case import Case

CASES: dict[str, Case] = {}


def study(command: str = "", *named: str, **changes: object) -> Case:
    """Build the case of a recipe in which some keys differ from a good one; the store has no labels."""
    grid = {"setups": {"m": "model"}, "lengths": [40], "genomes": [2], "seeds": [0]} | changes.pop("grid", {})
    settings = {"output_dir": "out", "grid": grid, "finetuning": [{"options": {}}], **changes}

    def make(work: Path) -> None:
        (work / "s.yaml").write_text(yaml.safe_dump(settings))

    return Case(f"label-scarcity --config s.yaml --store STORE {command}".strip(), named, make)


CASES |= {
    "no_classes": study("", "store", "'class'"),
    "no_store": study("--store nowhere", "nowhere"),
    "no_labelled_genomes": study("", "grid.genomes", "grid.shares", grid={"genomes": []}),
    "one_genome_of_two_classes": study("", "grid.genomes", "1", grid={"genomes": [1]}),
    "a_share_in_percent": study("", "grid.shares", "10", grid={"shares": [10]}),
    "a_length_twice": study("", "grid.lengths", "40", grid={"lengths": [40, 40]}),
    "k_of_nine": study("", "grid.ks", "9", grid={"ks": [9]}),
    "an_arm_that_does_not_exist": study("", "grid.arms", "twins", grid={"arms": ["twins"]}),
    "minutes_below_zero": study("--running.minutes -1", "running.minutes", "-1"),
    "a_column_without_a_value": study("--unit", "unit"),
}


def genomes(metadata: str | bytes, **files: bytes) -> Case:
    """Build the case of a folder of genomes that quickstart refuses; it has the genomes A and B of 5,000 nt."""

    def make(work: Path) -> None:
        (work / "g").mkdir()
        (work / "g" / "metadata.tsv").write_bytes(metadata if isinstance(metadata, bytes) else metadata.encode())
        records = "".join(f">{name}\n{dna(5000, ord(name))}\n" for name in "AB")
        (work / "g" / "x.fasta.gz").write_bytes(files.get("fasta", gzip.compress(records.encode())))
        if files.get("fasta") == b"":
            (work / "g" / "x.fasta.gz").unlink()

    return Case("quickstart --config QUICKSTART --data.genomes g --output_dir out", (), make)


_HEAD = "accession\tlabel\torganism\tusable_nt\n"
_GOOD = _HEAD + "A\tphage\tx\t5000\nB\tother\ty\t5000\n"
CASES |= {
    f"quickstart_{name}": replace(case, named=("g", *named))
    for name, case, *named in (
        ("empty_metadata", genomes(""), "metadata.tsv"),
        ("metadata_of_a_header", genomes(_HEAD), "metadata.tsv"),
        ("metadata_without_lengths", genomes("accession\tlabel\torganism\nA\tphage\tx\n"), "'usable_nt'"),
        ("metadata_without_a_genome", genomes(_GOOD.replace("\nB", "\nC")), "metadata.tsv", "'B'", "x.fasta.gz"),
        ("a_length_in_words", genomes(_GOOD.replace("5000", "many", 1)), "'A'", "'many'"),
        ("a_length_beyond_the_genome", genomes(_GOOD.replace("5000", "90000", 1)), "'A'", "90000", "5,000"),
        ("a_length_below_zero", genomes(_GOOD.replace("5000", "-5", 1)), "'A'", "-5"),
        ("no_length", genomes(_GOOD.replace("5000", "", 1)), "'A'", "usable_nt"),
        ("a_genome_twice", genomes(_GOOD + "A\tphage\tx\t5000\n"), "data row 3", "'A'"),
        ("no_phage", genomes(_GOOD.replace("phage", "virus")), "'label'", "'virus'"),
        ("three_labels", genomes(_GOOD + "C\tz\tz\t5\n"), "'label'", "'z'"),
        ("metadata_in_latin_1", genomes(_GOOD.replace("x", "\xe9").encode("latin-1")), "metadata.tsv", "UTF-8"),
        ("no_genomes", genomes(_GOOD, fasta=b""), "*.fasta.gz"),
    )
}
