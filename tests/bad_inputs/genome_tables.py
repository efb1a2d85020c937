"""Features and genomes for the verb `table`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from small_files import dna, fasta

from .case import Case

TABLE = "table --genome g.fa --output t.csv --bed f.bed"
_GFF = "chr1\tx\tgene\t10\t30\t.\t+\t.\tID=a\nchr1\tx\tCDS\t10\t30\t.\t+\t0\tID=b\n"


def made(features: str, name: str = "f.bed", **contigs: str) -> Callable[[Path], object]:
    """Return a function that writes a genome and a file of features."""

    def make(folder: Path) -> None:
        fasta(folder / "g.fa", **(contigs or {"chr1": dna(300)}))
        (folder / name).write_text(features)

    return make


def bed(features: str, *named: str, command: str = TABLE, **contigs: str) -> Case:
    """Return a BED file that `table` rejects."""
    return Case(command, named, made(features, **contigs))


CASES: dict[str, Case] = {
    "no features": Case("table --genome OK --output t.csv", ("bed", "gff", "GenBank")),
    "two files of features": Case("table --genome OK --output t.csv --bed f.bed --gff f.gff", ("bed", "gff")),
    "a feature beyond its contig": bed("chr1\t0\t9\nchr1\t290\t310\n", "f.bed, line 2", "310", "'chr1'", "300 nt"),
    "a contig that the genome lacks": bed("chr1\t0\t9\nchr7\t0\t9\n", "f.bed, line 2", "'chr7'", "g.fa"),
    "a contig without chr": bed("1\t0\t9\n", "f.bed, line 1", "'1'", "'chr1'", "rename"),
    "a BED file with blanks": bed("chr1 0 9\n", "f.bed, line 1", "tabs"),
    "an empty BED file": bed("# nothing\n", "f.bed", "no region"),
    "FASTA as features": Case("table --genome OK --output t.csv --bed OK", ("ok.fa", "FASTA")),
    "GFF of several types": Case(
        "table --genome g.fa --output t.csv --gff f.gff",
        ("f.gff", "gene (1)", "CDS (1)", "--features.types"),
        made(_GFF, "f.gff"),
    ),
    "GFF with another strand": Case(
        "table --genome g.fa --output t.csv --gff f.gff",
        ("f.gff, line 1", "'Q'", "column 7"),
        made(_GFF.replace("+", "Q"), "f.gff"),
    ),
    "GFF in place of BED": bed(_GFF, "f.bed, line 1", "GFF", "--gff"),
    "a type that the file lacks": Case(
        "table --genome g.fa --output t.csv --gff f.gff --features.types exon",
        ("f.gff", "'exon'", "gene (1)"),
        made(_GFF, "f.gff"),
    ),
    "types of BED": bed("chr1\t0\t9\n", "features.types", "f.bed", command=f"{TABLE} --features.types gene"),
    "a genome of N": bed("chr1\t0\t9\n", "f.bed", "1 with letters other than", chr1="N" * 300),
    "no room for a negative": bed("chr1\t0\t290\n", "f.bed", "without a negative", "dinucleotide_shuffled"),
    "another word for negatives": bed("chr1\t0\t9\n", "negatives", command=f"{TABLE} --negatives random"),
    "no negatives by number": Case(
        f"{TABLE} --per_feature 0",
        ("per_feature", "0"),
        made("chr1\t0\t9\n"),
        remedy=f"{TABLE} --per_feature 0 --negatives none",
    ),
    "protein as a genome": Case(
        "table --genome PROTEIN --output t.csv --bed f.bed", ("protein.fa",), made("p\t0\t3\n")
    ),
    "the genome as output": bed(
        "chr1\t0\t9\n", "g.fa", "input", command="table --genome g.fa --output g.fa --bed f.bed --overwrite true"
    ),
}

_GOOD = "chr1\t0\t9\n"
_EXCEL = "PK\x03\x04" + "\0" * 26 + "xl/workbook.xml"
CASES |= {
    "more negatives than there can be": Case(
        f"{TABLE} --per_feature 1000000000000", ("per_feature", "1000"), made(_GOOD), remedy=f"{TABLE} --per_feature 2"
    ),
    "a seed below zero": Case(f"{TABLE} --seed=-1", ("seed", "-1"), made(_GOOD), remedy=f"{TABLE} --seed 0"),
    "a position of 5000 digits": Case(
        TABLE, ("f.bed, line 1", "end"), made(f"chr1\t0\t{'9' * 5000}\n"), repair=made(_GOOD)
    ),
    "an Excel workbook as BED": Case(TABLE, ("f.bed", "Excel"), made(_EXCEL), repair=made(_GOOD)),
    "a GenBank file with a garbled location": Case(
        "table --genome g.gb --output t.csv --negatives none",
        ("g.gb", "damaged GenBank"),
        lambda folder: (folder / "g.gb").write_text(
            "LOCUS       X                        12 bp    DNA     linear   UNK\n"
            'FEATURES             Location/Qualifiers\n     gene         {.9\n                     /gene="q"\n'
            "ORIGIN\n        1 acgtacgtac gt\n//\n"
        ),
    ),
    "HTML as BED": Case(TABLE, ("f.bed", "HTML"), made("<!DOCTYPE html>\n<html>404</html>"), repair=made(_GOOD)),
    "a table of another format": Case(
        "table --genome g.fa --bed f.bed --output t.parquet",
        ("t.parquet", ".csv or .tsv"),
        made(_GOOD),
        remedy="table --genome g.fa --bed f.bed --output t.tsv",
    ),
    "a genome of RNA": Case(
        TABLE,
        ("g.fa: record 1 ('chr1')", "'U'", "write T for U"),
        made(_GOOD, chr1=dna(300).replace("T", "U")),
        repair=made(_GOOD),
    ),
}
