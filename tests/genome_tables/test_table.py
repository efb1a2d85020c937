"""The verb `table`: every row can be found again in the genome, and files come out whole or not at all."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_files import dna, fasta

from hf_genomics.errors import InputError
from hf_genomics.genome_tables.features import FeatureRules
from hf_genomics.genome_tables.table import COLUMNS, table
from hf_genomics.labelled.tables import read_labelled
from hf_genomics.sequence import reverse_complement


@pytest.fixture
def genome(tmp_path):
    """Two contigs, one with a run of N, and twenty features on both strands of each."""
    sequences = {name: dna(4000, seed) for seed, name in enumerate(("one", "two"))}
    sequences["two"] = sequences["two"][:1000] + "n" * 300 + sequences["two"][1300:]
    fasta(tmp_path / "g.fa", **sequences)
    random = np.random.default_rng(3)
    lines = [
        f"{name}\t{start}\t{start + int(random.integers(20, 60))}\tf{start}\t0\t{'+-.'[start % 3]}\n"
        for name in sequences
        for start in random.choice(3900, 20, replace=False)
    ]
    (tmp_path / "f.bed").write_text("".join(lines))
    return str(tmp_path / "g.fa"), str(tmp_path / "f.bed"), sequences


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def pairs_of(sequence):
    return Counter(zip(sequence, sequence[1:], strict=False))


@pytest.mark.parametrize("negatives", ["gc_matched", "dinucleotide_shuffled", "none"])
@pytest.mark.parametrize("length", [None, 30])
def test_rows_are_found_in_the_genome_and_negatives_match(genome, tmp_path, negatives, length):
    path, bed, sequences = genome
    made = table(path, str(tmp_path / "t.csv"), bed, features=FeatureRules(length=length), negatives=negatives)
    rows = rows_of(tmp_path / "t.csv")
    assert Counter(row["label"] for row in rows) == made.rows and len(rows) > 30
    assert sum(made.left_out.values()) + made.rows["feature"] == 40
    features = [(r.split("\t")[0], *map(int, r.split("\t")[1:3])) for r in Path(bed).read_text().splitlines()]
    for row in rows:
        start, end = int(row["start"]), int(row["end"])
        stretch = sequences[row["chromosome"]][start:end].upper()
        stretch = reverse_complement(stretch) if row["strand"] == "-" else stretch
        assert set(stretch) <= set("ACGT") and row["group"] == row["chromosome"]
        if row["source"] == "dinucleotide_shuffled":
            assert pairs_of(row["sequence"]) == pairs_of(stretch)
        else:
            assert row["sequence"] == stretch
        if row["source"] == "feature":
            feature = row
            assert length in (None, end - start)
        else:  # it follows its feature
            assert row["label"] == "background" and row["strand"] == feature["strand"]
            assert len(row["sequence"]) == len(feature["sequence"]) and row["name"] == feature["name"]
        if row["source"] == "gc_matched":
            assert not any(name == row["chromosome"] and start < e and s < end for name, s, e in features)
    assert (made.rows["feature"] == made.rows.get("background")) or negatives == "none"


def test_the_same_seed_gives_the_same_file_and_another_seed_another(genome, tmp_path):
    path, bed, _ = genome
    texts = []
    for number, seed in enumerate((5, 5, 6)):
        table(path, str(tmp_path / f"{number}.csv"), bed, seed=seed)
        texts.append((tmp_path / f"{number}.csv").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_negatives_of_a_contig_do_not_depend_on_other_contigs(genome, tmp_path):
    path, bed, sequences = genome
    table(path, str(tmp_path / "both.csv"), bed)
    fasta(tmp_path / "two.fa", two=sequences["two"])
    (tmp_path / "two.bed").write_text(
        "".join(line for line in Path(bed).read_text().splitlines(True) if line.startswith("two"))
    )
    table(str(tmp_path / "two.fa"), str(tmp_path / "two.csv"), str(tmp_path / "two.bed"))
    both = [row for row in rows_of(tmp_path / "both.csv") if row["chromosome"] == "two"]
    assert both == rows_of(tmp_path / "two.csv")


def test_a_table_is_read_as_labelled_sequences_with_several_negatives_for_each_feature(genome, tmp_path):
    path, bed, _ = genome
    made = table(path, str(tmp_path / "t.tsv"), bed, per_feature=2, features=FeatureRules(length=12, block=1000))
    frame = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert tuple(frame.columns) == COLUMNS and set(frame.group.str.extract(r":(\d+)-")[0]) <= {
        "0",
        "1000",
        "2000",
        "3000",
    }
    assert made.rows["feature"] < made.rows["background"] <= 2 * made.rows["feature"]
    assert read_labelled(tmp_path / "t.tsv").label_names == ["background", "feature"]


def test_labels_come_from_types_or_names(tmp_path):
    fasta(tmp_path / "g.fa", c=dna(500))
    (tmp_path / "f.gff").write_text(
        "".join(
            f"c\tx\t{kind}\t{at}\t{at + 20}\t.\t+\t.\tID={kind}{at}\n"
            for kind, at in (("gene", 10), ("exon", 100), ("gene", 200))
        )
    )
    rules = FeatureRules(types=["gene", "exon"], label_by="type")
    made = table(str(tmp_path / "g.fa"), str(tmp_path / "t.csv"), gff=str(tmp_path / "f.gff"), features=rules)
    assert made.rows == {"gene": 2, "exon": 1, "background": 3}
    (tmp_path / "f.gff").write_text("c\tx\tgene\t10\t30\t.\t+\t.\tID=a\nc\tx\tgene\t50\t70\t.\t+\t.\t.\n")
    with pytest.raises(InputError, match=r"f\.gff, line 2: no name"):
        rules = FeatureRules(label_by="name")
        table(str(tmp_path / "g.fa"), str(tmp_path / "n.csv"), gff=str(tmp_path / "f.gff"), features=rules)


def test_what_is_left_out_is_said(genome, tmp_path, caplog):
    path, bed, _ = genome
    with open(bed, "a") as file:
        file.write("one\t0\t9\none\t0\t9\ntwo\t1100\t1110\none\t3000\t3100\none\t3000\t3100\n")
    with caplog.at_level(logging.INFO, "hf_genomics"):
        made = table(path, str(tmp_path / "t.csv"), bed, features=FeatureRules(length=40), negatives="none")
    assert made.left_out["whose window reaches over the end of the contig"] >= 2
    assert made.left_out["with letters other than A, C, G and T"] >= 1
    assert made.left_out["that repeat an earlier one"] >= 1
    assert all(f"{count}" in caplog.text for count in made.left_out.values())


def test_a_feature_without_a_strand_repeats_the_one_on_the_forward_strand(genome, tmp_path):
    path, bed, _ = genome
    Path(bed).write_text("".join(f"one\t100\t140\tx\t0\t{strand}\n" for strand in "+.-"))
    made = table(path, str(tmp_path / "t.csv"), bed, negatives="none")
    assert (made.rows, made.left_out) == ({"feature": 2}, {"that repeat an earlier one": 1})


def test_nothing_is_written_if_a_later_contig_is_wrong(genome, tmp_path):
    path, bed, _ = genome
    with open(bed, "a") as file:
        file.write("three\t0\t9\n")
    with pytest.raises(InputError, match=r"f\.bed, line 41: no contig 'three' in .*it has 'one', 'two'"):
        table(path, str(tmp_path / "t.csv"), bed)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["f.bed", "g.fa"]
