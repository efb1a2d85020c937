"""FASTA, FASTQ, GenBank and 2bit files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .case import Case

CASES: dict[str, Case] = {}


def _one(name: str, text: str) -> Callable[[Path], object]:
    """Return the function that writes one file."""
    return lambda work: (work / name).write_text(text)


def _two(first: str, second: str) -> Callable[[Path], object]:
    """Return the function that writes the files a.fa and b.fa."""
    return lambda work: [(work / name).write_text(text) for name, text in (("a.fa", first), ("b.fa", second))]


_GOOD = ">ok\nACGTTGCATTGA\n"
_PREDICT = "predict --model TUNED --input x.fa --output p.tsv"
_DONE = {"code": 0, "leaves": ("p.tsv",)}
CASES |= {
    "predict_short": Case(_PREDICT, make=_one("x.fa", _GOOD + ">s\nAC\n"), warned=("x.fa", "1 of 2", "'s'"), **_DONE),
    "predict_short_only": Case(_PREDICT, make=_one("x.fa", ">s\nAC\n"), warned=("1 of 1", "'s'"), **_DONE),
    "predict_empty_record": Case(_PREDICT, make=_one("x.fa", _GOOD + ">s\n>t\nAC\n"), warned=("2 of 3",), **_DONE),
    "predict_unknown": Case(_PREDICT, make=_one("x.fa", f">n\n{'N' * 120}\n"), warned=("1 of 1", "'n'"), **_DONE),
    "predict_iupac": Case(_PREDICT, make=_one("x.fa", ">n\nRYSWKMRYSWKM\n"), warned=("1 of 1", "'n'"), **_DONE),
    "predict_mostly_unknown": Case(
        _PREDICT, make=_one("x.fa", f">n\nACGT{'N' * 116}\n"), warned=("x.fa", "'n'", "less than half"), **_DONE
    ),
    "predict_gap": Case(
        _PREDICT, make=_one("x.fa", _GOOD + ">g\nACG-TT\n"), warned=("1 of 2", "'g'", "position 4", "'-'"), **_DONE
    ),
    "predict_stop": Case(_PREDICT, make=_one("x.fa", _GOOD + ">g\nACGTT*\n"), warned=("1 of 2", "'*'"), **_DONE),
    "predict_protein_between_dna": Case(
        _PREDICT, make=_one("x.fa", ">p\nMKVLAAGE\n" + _GOOD), warned=("1 of 2", "'p'", "protein"), **_DONE
    ),
    "predict_proteins": Case(
        _PREDICT, make=_one("x.fa", ">p\nMKVLAAGE\n>q\nMLLE\n"), named=("x.fa", "record 1", "'p'", "'L'", "protein")
    ),
    "predict_rna": Case(
        _PREDICT, make=_one("x.fa", ">p\nACGUACGU\n"), named=("x.fa", "'U'", "rna"), remedy=f"{_PREDICT} --rna true"
    ),
    "predict_repeated_names": Case(_PREDICT, make=_one("x.fa", _GOOD + _GOOD + ">ok 2\nACGT\n"), **_DONE),
    "predict_missing_name": Case(_PREDICT, make=_one("x.fa", ">\nACGTACGT\n" + _GOOD), **_DONE),
    "predict_strict_short": Case(
        f"{_PREDICT} --strict true",
        make=_one("x.fa", _GOOD + ">s\nAC\n"),
        named=("x.fa", "record 2", "'s'", "2 nt"),
        remedy=_PREDICT,
    ),
    "predict_strict_unknown": Case(
        f"{_PREDICT} --strict true",
        make=_one("x.fa", f"{_GOOD}>n\n{'N' * 50}\n"),
        named=("record 2", "'n'", "strict"),
        leaves=(".p.tsv.partial", ".p.tsv.partial/settings.json", ".p.tsv.partial/rows.tsv"),  # rows before it are kept
        remedy=f"{_PREDICT} --resume true",
    ),
    "predict_strict_gap": Case(
        f"{_PREDICT} --strict true",
        make=_one("x.fa", _GOOD + ">g\nAC-T\n"),
        named=("record 2", "position 3", "'-'"),
        remedy=_PREDICT,
    ),
    "predict_row_with_gap": Case(
        "predict --model TUNED --input x.csv --output p.tsv",
        make=_one("x.csv", "sequence\nACGTACGT\nAC-T\nNNNNN\n"),
        warned=("x.csv", "2 of 3", "'2'", "'3'"),
        **_DONE,
    ),
    "predict_repeated_ids": Case(
        "predict --model TUNED --input x.csv --output p.tsv --columns.id id",
        make=_one("x.csv", "id,sequence\na,ACGTACGT\na,ACGT\n,ACGT\n"),
        **_DONE,
    ),
    "prepare_names_in_two_files": Case(
        "prepare --fasta a.fa b.fa --output_dir s --records.genome_by file",
        make=_two(">contig_1 of a\nACGT\n", ">contig_1 of b\nACGT\n"),
        named=("b.fa", "a.fa", "'contig_1 of a'", "'contig_1 of b'", "records.names"),
        remedy="prepare --fasta a.fa b.fa --output_dir s --records.genome_by file --records.names file",
    ),
    "prepare_names_after_the_blank": Case(
        "prepare --fasta x.fa --output_dir s",
        make=_one("x.fa", ">chr 1\nACGT\n>chr 2\nACGT\n"),
        named=("x.fa", "'chr 1'", "'chr 2'", "records.names"),
        remedy="prepare --fasta x.fa --output_dir s --records.names header",
    ),
    "prepare_equal_headers": Case(
        "prepare --fasta x.fa --output_dir s --records.names header",
        make=_one("x.fa", ">a 1\nACGT\n>a  1\nACGT\n"),
        named=("x.fa", "'a 1'", "records.names"),
        remedy="prepare --fasta x.fa --output_dir s --records.names numbered",
    ),
    "prepare_unknown_names": Case(
        "prepare --fasta x.fa --output_dir s --records.names second",
        make=_one("x.fa", _GOOD),
        named=("second", "names"),
    ),
    "check_names_in_two_files": Case(
        "check a.fa b.fa --output c.json --records.names file",
        make=_two(_GOOD, ">ok\nACGTTGCATTGG\n"),
        code=0,
        leaves=("c.json",),
    ),
    "finetune_unknown_rows": Case(
        "finetune --pretrained MLM --data.train x.csv --data.strict true --trainer.output_dir out",
        make=_one("x.csv", "sequence,label\n" + "ACGTACGT,a\nTTGACCAT,b\nNNNNNN,a\n" * 2),
        named=("x.csv", "2 of 6", "'3'"),
    ),
    "evaluate_unknown_rows": Case(
        "evaluate --model TUNED --data.test x.csv --data.strict true --output_dir out",
        make=_one("x.csv", "sequence,label\n" + "ACGTACGT,a\nTTGACCAT,b\nNNNNNN,a\n" * 2),
        named=("x.csv", "2 of 6", "'3'"),
        remedy="evaluate --model TUNED --data.test x.csv --output_dir out",
    ),
    "evaluate_a_class_of_unknown_rows": Case(
        "evaluate --model TUNED --data.test x.csv --output_dir out",
        make=_one("x.csv", "sequence,label\nACGTACGT,a\nNNNNNN,b\n"),
        named=("x.csv", "'b'"),
    ),
}
