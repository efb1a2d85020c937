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
    "an Excel workbook": _prepare(_XLSX, "Excel", "CSV"),
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
    "UTF-16, as PowerShell writes it": _prepare(">a\nACGT\n".encode("utf-16"), "UTF-16", "UTF-8"),
    "UTF-16 without a byte order mark": _prepare(">a\nACGT\n".encode("utf-16-le"), "UTF-16", "UTF-8"),
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
