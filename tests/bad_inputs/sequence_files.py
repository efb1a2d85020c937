"""FASTA, FASTQ, GenBank and 2bit files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

from .case import Case

CASES: dict[str, Case] = {}


# The kind of a file, and what a message may show of it.

DNA = "ACGTTGCATTAGGCATCAGACCATTGACCGATCGGATTACAGGCTTAACGGATC"  # 53 nt


def _holding(content: str | bytes, name: str = "x.fa") -> Callable[[Path], object]:
    """Return a function that writes a file with this content."""
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _prepare(content: str | bytes, *named: str) -> Case:
    """Return a file that `prepare` rejects for its kind."""
    return Case("prepare --fasta x.fa --output_dir out", ("x.fa: ", *named), _holding(content))


def _predict(content: str | bytes, *named: str) -> Case:
    """Return a file that `predict` rejects for its kind."""
    return Case("predict --model TUNED --input x.fa --output p.tsv", ("x.fa: ", *named), _holding(content))


_XLSX = b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml" + bytes(40) + b"xl/workbook.xml"
CASES |= {
    "an Excel workbook": _prepare(_XLSX, "Excel", "FASTA"),
    "an Excel workbook to predict": _predict(_XLSX, "Excel", "CSV"),
    "an old Excel workbook": _prepare(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls", "CSV"),
    "a Word document": _prepare(b"PK\x03\x04" + bytes(26) + b"word/document.xml", "docx", "plain text"),
    "a zip archive": _prepare(b"PK\x03\x04" + bytes(26) + b"genome.fa", "zip", "unpack"),
    "a tar archive": _prepare(b"x.fa".ljust(257, b"\0") + b"ustar\0", "tar", "unpack"),
    "bzip2": _prepare(b"BZh91AY&SY", "bzip2", "decompress"),
    "xz": _prepare(b"\xfd7zXZ\0", "xz", "decompress"),
    "zstandard": _prepare(b"\x28\xb5\x2f\xfd\0", "zstandard", "decompress"),
    "gzip twice": _prepare(gzip.compress(gzip.compress(b">a\nACGT\n")), "gzip inside gzip", "decompress"),
    "BAM": _prepare(gzip.compress(b"BAM\x01"), "BAM", "samtools fastq"),
    "CRAM": _prepare(b"CRAM\x03\0", "CRAM", "samtools fastq"),
    "SAM to predict": _predict("@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:100\n", "SAM", "samtools fastq"),
    "VCF to predict": _predict("##fileformat=VCFv4.2\n#CHROM\tPOS\n", "VCF", "FASTA"),
    "GFF without a header line": _prepare("chr1\t.\tgene\t1\t9\t.\t+\t.\tID=x\n", "GFF", "FASTA"),
    "BED": _prepare("chr1\t100\t200\tpeak\n", "BED", "bedtools getfasta"),
    "BED to predict": _predict("track name=x\nchr1\t100\t200\n", "BED", "bedtools getfasta"),
    "an HTML page of an error": _prepare("<!DOCTYPE html>\n<html>404 Not Found</html>", "HTML", "fetch"),
    "an XML page of an error": _prepare('<?xml version="1.0"?>\n<ERROR>no such id</ERROR>', "XML", "fetch"),
    "PDF": _prepare(b"%PDF-1.7\n", "PDF"),
    "JSON": _prepare('{"id": "a", "sequence": "ACGT"}\n', "JSON", "CSV", "FASTA"),
    "a Git LFS pointer": _prepare("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS", "git lfs pull"),
    "an alignment": _prepare("CLUSTAL W (1.82)\n\na ACGT-\n", "alignment", "gaps"),
    "gaps in UTF-16": _prepare(">a\nAC-GT\n".encode("utf-16"), "record 1 ('a'), position 3", "gaps"),
    "gaps after a byte order mark": _prepare(b"\xef\xbb\xbf>a\nAC-GT\n", "record 1 ('a'), position 3", "gaps"),
    "protein to fix": Case("check PROTEIN --fix out.fa", ("protein.fa: record 1 ('p')", "protein", "`fix` cannot")),
    "two files to fix": Case("check OK SHORT --fix out.fa", ("fix", "ok.fa, ", "one FASTA file at a time")),
    "a table to fix": Case("check TABLE --fix out.fa", ("fix", "table.csv")),
    "a fixed file that is the input": Case("check x.fa --fix x.fa", ("x.fa", "input"), _holding(">a\nACGT\n")),
    "a fixed file that would be lost": Case(
        "check OK --fix x.fa", ("x.fa exists", "--overwrite true"), _holding(">a\nACGT\n")
    ),
    "a fixed file that is the report": Case("check OK --fix x.fa --output x.fa", ("output", "fix", "x.fa")),
    "nothing left to fix": Case("check x.fa --fix out.fa", ("no record has a nucleotide",), _holding(">a\n--\n")),
    "a record too short to be fixed": Case(
        "check x.fa --fix out.fa --records.min_length 6",
        ("1 problem cannot be fixed", "out.fa: record 1 ('a')", "4 nt"),
        _holding(">a\nAC-GT\n>b\nACGTACGT\n"),
        leaves=("out.fa",),
    ),
    "what can be fixed": Case(
        "check x.fa --fix out.fa",
        code=0,
        make=_holding(b"\xef\xbb\xbf>a\nAC-GU\n>a\nacg\n"),
        warned=("byte order mark removed: 1", "gaps removed: 1", "U written as T: 1", "repeated names numbered: 1"),
        remedy="check out.fa --k 3",
        leaves=("out.fa",),
    ),
    "a table for prepare": _prepare("sequence,label\nACGT,a\n", "table", "'sequence,label'", "FASTA"),
    "semicolons for prepare": _prepare("sequence;label\nACGT;a\n", "table", "FASTA"),
    "Parquet for prepare": _prepare(b"PAR1", "Parquet", "FASTA"),
    "a binary file": _prepare(bytes(range(256)), "not text"),
    "nothing but blank lines": _prepare("\n \n\n", "no record"),
    "a folder": Case(
        "prepare --fasta folder --output_dir out", ("folder: is a folder",), lambda at: (at / "folder").mkdir()
    ),
    "a folder to check": Case("check folder", ("1 of 1 files",), lambda at: (at / "folder").mkdir()),
    "a path through a file": Case(
        "prepare --fasta x.fa/y.fa --output_dir out", ("x.fa/y.fa: no such file",), _holding(">a\nACGT\n")
    ),
    "letters without a header": _prepare(DNA + "\n", "x.fa: text before the first header", DNA[:30] + "..."),
    "lower-case letters without a header": _prepare(DNA.lower() + "\n", "before the first header", "..."),
    "a header joined with its sequence": _prepare(f"seq1{DNA}\n{DNA}\n", DNA[:30] + "..."),
    "a name joined with its sequence": _prepare(f">seq1{DNA}\nACGT-ACGT\n", "record 1", DNA[:30] + "..."),
    "two records of one long name": _prepare(f">{DNA}\nACGT\n>{DNA}\nACGT\n", "record 2", DNA[:30] + "..."),
    "a FASTQ file cut inside a record": _prepare(f"@r\n{DNA}\n+\nIIII\n", "x.fa: ", "write it again"),
    "a FASTQ file without its plus line": _prepare(f"@r\n{DNA}\n{DNA}\n{DNA}\n", "x.fa: ", "write it again"),
    "FASTQ with a wrapped sequence": _predict(f"@r\n{DNA}\n{DNA}\n+\n{'I' * 106}\n", "x.fa: "),
    "protein without a header": _prepare("MKVLAAGIVGLLLAQWERTYEDFPILQEFHKNMPSTVWYACDEF\n", "x.fa: "),
    "escape codes in a header": _prepare(">a\x1b[31mred\nACGT\n", "x.fa: record 1", r"\x1b[31m"),
    "k-mers instead of FASTA": _prepare(" ".join(DNA[at : at + 6] for at in range(40)) + "\n", "x.fa: ", "FASTA"),
}


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
        named=("x.csv: data row 3", "k-mer", "data.strict"),
        remedy="evaluate --model TUNED --data.test x.csv --output_dir out",
    ),
    "evaluate_a_short_row": Case(
        "evaluate --model TUNED --data.test x.csv --data.strict true --output_dir out",
        make=_one("x.csv", "sequence,label\nACGTACGT,a\nTTGACCAT,b\nAC,a\n"),
        named=("x.csv: data row 3", "2 nt", "3 nt", "data.strict"),
        remedy="evaluate --model TUNED --data.test x.csv --output_dir out",
    ),
    "evaluate_a_gap": Case(
        "evaluate --model TUNED --data.test x.fa --data.strict true --output_dir out",
        make=_one("x.fa", ">c label=a\nACGTACGT\n>c label=b\nTTGA-CAT\n"),
        named=("x.fa: record 2 ('c'), position 5", "'-'"),
    ),
    "evaluate_proteins": Case(
        "evaluate --model TUNED --data.test x.csv --output_dir out",
        make=_one("x.csv", "sequence,label\nMKVLAAGE,a\nMKLLAAGE,b\n"),
        named=("x.csv: data row 1, position 4", "protein", "no other sequence"),
    ),
    "evaluate_rna": Case(
        "evaluate --model TUNED --data.test x.csv --output_dir out",
        make=_one("x.csv", "sequence,label\nACGUACGU,a\nUUGACCAU,b\n"),
        named=("x.csv: data row 1", "--data.rna true"),
        remedy="evaluate --model TUNED --data.test x.csv --output_dir out --data.rna true",
    ),
    "evaluate_a_class_of_unknown_rows": Case(
        "evaluate --model TUNED --data.test x.csv --output_dir out",
        make=_one("x.csv", "sequence,label\nACGTACGT,a\nNNNNNN,b\n"),
        named=("x.csv", "'b'"),
    ),
}
