"""Variants: VCF files, genomes, regions, pairs of sequences and BED files that do not fit."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

from small_files import dna
from tiny_variants import HEADER, write_fasta

from .case import Case

GENOME = dna(200, 3)
RUN = "score-variants --model MLM --output out.tsv"
VCF = f"{RUN} --vcf in.vcf --fasta g.fa"
REGION = f"{RUN} --fasta g.fa --region"
GOOD = f"c\t20\t.\t{GENOME[19]}\t{'A' if GENOME[19] != 'A' else 'C'}\t.\t.\tDP=1\n"
FIXED = f"{RUN} --vcf good.vcf --fasta g.fa"
PAIR = f"{GENOME[:40]},{GENOME[:20]}A{GENOME[21:40]}\n"


def files(vcf: str | bytes | None = None, fasta: str | bytes | None = None, **others: str | bytes) -> Callable:
    """Return a function that writes a VCF file, a genome and other files, each good by default."""

    def make(folder: Path) -> None:
        write_fasta(folder / "g.fa", c=GENOME, chr2=dna(100, 5))
        (folder / "good.vcf").write_text(HEADER + GOOD)
        given = {"in.vcf": vcf, "g.fa": fasta, **{name.replace("_", "."): text for name, text in others.items()}}
        for name, content in given.items():
            if content is not None:
                (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))

    return make


def row(line: str) -> Callable:
    """Return a function that writes a VCF file whose second record is wrong."""
    return files(HEADER + GOOD + line + "\n")


def pairs(*rows: str, header: str = "sequence,alt_sequence") -> Callable:
    """Return a function that writes a table of pairs, and a good one."""
    good = f"sequence,alt_sequence\n{PAIR}"
    return files(p_csv=header + "\n" + "".join(f"{one}\n" for one in rows), good_csv=good)


def bed(content: str) -> Callable:
    """Return a function that writes a BED file, and a good one."""
    return files(HEADER + GOOD, n_bed=content, good_bed="c\t10\t60\n")


GOOD_PAIRS = f"{RUN} --pairs good.csv"
WITH_BED = f"{VCF} --background n.bed"
GOOD_BED = f"{VCF} --background good.bed"

CASES: dict[str, Case] = {
    "blanks_for_tabs": Case(VCF, ("in.vcf: line 4", "tabs"), row("c 30 . A T . . ."), remedy=FIXED),
    "old_mac_line_ends": Case(
        VCF, ("in.vcf: line 1", "tr '"), files((HEADER + GOOD).replace("\n", "\r")), remedy=FIXED
    ),
    "position_is_text": Case(VCF, ("line 4", "POS", "x10"), row("c\tx10\t.\tA\tT\t.\t.\t."), remedy=FIXED),
    "position_with_commas": Case(VCF, ("line 4", "POS", "1,000"), row("c\t1,000\t.\tA\tT\t.\t.\t."), remedy=FIXED),
    "position_as_excel_writes_it": Case(VCF, ("line 4", "POS", "1.0E+05"), row("c\t1.0E+05\t.\tA\tT\t.\t.\t.")),
    "short_row": Case(VCF, ("line 4", "5 columns", "8"), row("c\t30\t.\tA\tT"), remedy=FIXED),
    "row_is_empty": Case(VCF, ("line 4", "empty"), row(""), remedy=FIXED),
    "alt_separated_by_slash": Case(VCF, ("line 4", "ALT", "A/T"), row("c\t30\t.\tA\tA/T\t.\t.\t."), remedy=FIXED),
    "alt_is_a_dash": Case(VCF, ("line 4", "ALT", "-"), row("c\t30\t.\tAC\t-\t.\t.\t."), remedy=FIXED),
    "ref_is_a_dash": Case(VCF, ("line 4", "REF", "-"), row("c\t30\t.\t-\tT\t.\t.\t."), remedy=FIXED),
    "long_ref_is_not_shown": Case(VCF, ("line 4", "REF"), row(f"c\t30\t.\t{'ACGTT' * 20}\tA\t.\t.\t."), remedy=FIXED),
    "ref_differs": Case(
        VCF,
        ("in.vcf: line 3", "c:20", "g.fa", "--on_ref_mismatch skip"),
        files(HEADER + GOOD.replace(f"\t{GENOME[19]}\t", "\tT\t" if GENOME[19] != "T" else "\tG\t")),
        remedy=f"{VCF} --on_ref_mismatch skip",
    ),
    "position_past_the_contig": Case(
        VCF, ("line 4", "200"), row("c\t900\t.\tA\tT\t.\t.\t."), remedy=f"{VCF} --on_ref_mismatch skip"
    ),
    "no_such_contig": Case(VCF, ("line 4", "chrUn", "g.fa"), row("chrUn\t9\t.\tA\tT\t.\t.\t."), remedy=FIXED),
    "contig_without_chr": Case(
        VCF,
        ("line 4", "'chr2'", "--match_chr true"),
        row(f"2\t9\t.\t{dna(100, 5)[8]}\tN\t.\t.\t."),
        remedy=f"{VCF} --match_chr true",
    ),
    "no_header": Case(VCF, ("in.vcf: line 1", "fileformat"), files(GOOD), remedy=FIXED),
    "no_column_line": Case(VCF, ("line 2", "#CHROM"), files("##fileformat=VCFv4.2\n" + GOOD), remedy=FIXED),
    "header_only_begins": Case(VCF, ("in.vcf", "#CHROM"), files("##fileformat=VCFv4.2\n"), remedy=FIXED),
    "columns_in_another_order": Case(
        VCF, ("line 2", "REF"), files(HEADER.replace("ID\tREF", "REF\tID") + GOOD), remedy=FIXED
    ),
    "vcf_is_empty": Case(VCF, ("in.vcf",), files(""), remedy=FIXED),
    "vcf_is_missing": Case(VCF, ("in.vcf", "no such file"), files(), remedy=FIXED),
    "vcf_is_bcf": Case(VCF, ("in.vcf", "bcftools view"), files(b"BCF\x02\x02junk"), remedy=FIXED),
    "vcf_is_utf16": Case(VCF, ("in.vcf", "UTF-16"), files((HEADER + GOOD).encode("utf-16")), remedy=FIXED),
    "vcf_with_byte_order_mark": Case(VCF, ("in.vcf", "BOM"), files(b"\xef\xbb\xbf" + HEADER.encode()), remedy=FIXED),
    "vcf_cut_short": Case(VCF, ("in.vcf", "cut short"), files(gzip.compress((HEADER + GOOD * 99).encode())[:90])),
    "vcf_is_fasta": Case(VCF, ("in.vcf", "FASTA"), files(">c\nACGT\n"), remedy=FIXED),
    "scored_before": Case(
        VCF,
        ("in.vcf", "HFG_LLR", "--overwrite_fields true"),
        files(HEADER.replace("#C", '##INFO=<ID=HFG_LLR,Number=A,Type=Float,Description="x">\n#C') + GOOD),
        remedy=f"{VCF} --overwrite_fields true",
    ),
    "scored_before_without_header": Case(
        VCF,
        ("line 3", "HFG_LLR", "--overwrite_fields true"),
        files(HEADER + GOOD.replace("DP=1", "DP=1;HFG_LLR=3")),
        remedy=f"{VCF} --overwrite_fields true",
    ),
    "genome_is_plain_gzip": Case(VCF, ("g.fa", "bgzip", "gunzip"), files(HEADER + GOOD, gzip.compress(b">c\nACGT\n"))),
    "genome_has_a_name_twice": Case(
        VCF, ("g.fa", "'c'", "records 1 and 2"), files(HEADER + GOOD, ">c\nACGT\n>c\nACGT\n")
    ),
    "genome_has_ragged_lines": Case(VCF, ("g.fa", "length"), files(HEADER + GOOD, ">c\nACGT\nAC\nACGT\n")),
    "genome_is_protein": Case(VCF, ("g.fa", "'L'"), files(HEADER + GOOD, ">c\nMKVLAAGEMKVLAAGEMKVLAAGE\n")),
    "genome_is_missing": Case(f"{RUN} --vcf good.vcf --fasta no.fa", ("no.fa", "no such file"), files(), remedy=FIXED),
    "genome_is_empty": Case(VCF, ("g.fa", "empty"), files(HEADER + GOOD, "")),
    "genome_is_vcf": Case(f"{RUN} --vcf good.vcf --fasta good.vcf", ("good.vcf", "VCF"), files(), remedy=FIXED),
    "index_of_another_genome": Case(
        VCF, ("g.fa.fai", "delete"), files(HEADER + GOOD, **{"g.fa.fai": "other\t200\t3\t60\t61\n"})
    ),
    "no_genome": Case(f"{RUN} --vcf good.vcf", ("--vcf", "--fasta"), files(), remedy=FIXED),
    "no_input": Case(f"{RUN} --fasta g.fa", ("--vcf", "--pairs", "--region"), files(), remedy=FIXED),
    "two_inputs": Case(f"{FIXED} --region c:1-5", ("--vcf", "--region"), files(), remedy=FIXED),
    "output_of_another_kind": Case(
        "score-variants --model MLM --vcf good.vcf --fasta g.fa --output out.bcf", ("out.bcf", ".vcf.gz"), files()
    ),
    "region_without_end": Case(f"{REGION} c:5", ("'c:5'", "contig:start-end"), files(), remedy=f"{REGION} c:5-6"),
    "region_past_the_contig": Case(f"{REGION} c:5-900", ("c:5-900", "200"), files(), remedy=f"{REGION} c:5-20"),
    "region_from_zero": Case(f"{REGION} c:0-9", ("c:0-9", "from 1"), files(), remedy=f"{REGION} c:1-9"),
    "region_backwards": Case(f"{REGION} c:9-5", ("c:9-5", "order"), files(), remedy=f"{REGION} c:5-9"),
    "region_of_no_contig": Case(f"{REGION} d:1-9", ("--region", "'d'", "g.fa"), files(), remedy=f"{REGION} c:1-9"),
    "picture_of_a_vcf": Case(f"{FIXED} --picture a.png", ("--picture", "--region"), files(), remedy=FIXED),
    "picture_as_pdf": Case(
        f"{REGION} c:1-9 --picture a.pdf", ("a.pdf", ".png"), files(), remedy=f"{REGION} c:1-9 --picture a.png"
    ),
    "pairs_lack_a_column": Case(
        f"{RUN} --pairs p.csv", ("p.csv", "alt_sequence"), pairs("A,C", header="sequence,alt"), remedy=GOOD_PAIRS
    ),
    "pair_with_an_empty_cell": Case(
        f"{RUN} --pairs p.csv",
        ("p.csv: row 2", "alt_sequence", "empty"),
        pairs(PAIR[:-1], "ACGTACGT,"),
        remedy=GOOD_PAIRS,
    ),
    "pair_with_a_dash": Case(
        f"{RUN} --pairs p.csv", ("row 1", "'-' at position 3"), pairs("ACGTACGT,AC-TACGT"), remedy=GOOD_PAIRS
    ),
    "pair_shorter_than_a_kmer": Case(
        f"{RUN} --pairs p.csv", ("row 1", "2 nt"), pairs("ACGTACGT,AC"), remedy=GOOD_PAIRS
    ),
    "pairs_without_rows": Case(f"{RUN} --pairs p.csv", ("p.csv", "no row"), pairs(), remedy=GOOD_PAIRS),
    "pairs_are_a_vcf": Case(f"{RUN} --pairs good.vcf", ("good.vcf", "not a table"), pairs(), remedy=GOOD_PAIRS),
    "pairs_into_a_vcf": Case(
        "score-variants --model MLM --pairs good.csv --output out.vcf", ("--pairs", ".tsv"), pairs(), remedy=GOOD_PAIRS
    ),
    "pairs_with_a_genome": Case(f"{GOOD_PAIRS} --fasta g.fa", ("--pairs", "--fasta"), pairs(), remedy=GOOD_PAIRS),
    "bed_with_two_columns": Case(WITH_BED, ("n.bed, line 1", "2 of 3 columns"), bed("c\t5\n"), remedy=GOOD_BED),
    "bed_with_words": Case(WITH_BED, ("n.bed, line 2", "'start'"), bed("c\t1\t9\nc\tstart\tend\n"), remedy=GOOD_BED),
    "bed_past_the_contig": Case(WITH_BED, ("n.bed, line 1", "900"), bed("c\t5\t900\n"), remedy=GOOD_BED),
    "bed_backwards": Case(WITH_BED, ("n.bed, line 1", "start 50", "end 5"), bed("c\t50\t5\n"), remedy=GOOD_BED),
    "bed_of_no_contig": Case(WITH_BED, ("n.bed, line 1", "'d'"), bed("d\t5\t9\n"), remedy=GOOD_BED),
    "bed_is_empty": Case(WITH_BED, ("n.bed", "no region"), bed("# nothing\n"), remedy=GOOD_BED),
    "no_sites_per_forward": Case(f"{FIXED} --sites_per_forward 0", ("sites_per_forward", "0"), files(), remedy=FIXED),
    "sites_per_forward_in_words": Case(f"{FIXED} --sites_per_forward many", ("sites_per_forward",), files()),
    "no_such_estimator": Case(f"{FIXED} --estimator best", ("estimator",), files(), remedy=FIXED),
    "window_too_long": Case(f"{FIXED} --window 9000", ("window", "9000"), files(), remedy=f"{FIXED} --window 40"),
    "window_too_short": Case(f"{FIXED} --window 2", ("window", "2"), files(), remedy=f"{FIXED} --window 40"),
    "no_frames": Case(f"{FIXED} --frames 0", ("frames", "0"), files(), remedy=FIXED),
    "model_is_missing": Case(
        "score-variants --model no_model --output o.tsv --vcf good.vcf --fasta g.fa", ("no_model",), files()
    ),
}


def genome(content: bytes):  # noqa: ANN201
    """Return a function that writes another genome."""
    return lambda work: (files()(work), (work / "h.fa").write_bytes(content))


_OTHER_GENOME = "score-variants --model MLM --fasta h.fa --region c:1-9 --output out.tsv"
CASES |= {
    "genome_in_utf_16": Case(
        _OTHER_GENOME, ("h.fa", "byte order mark", "UTF-8"), genome(">c\nACGT\n".encode("utf-16"))
    ),
    "genome_in_fastq": Case(_OTHER_GENOME, ("h.fa", "FASTQ", "give FASTA"), genome(b"@c\nACGT\n+\nIIII\n")),
    "genome_after_a_comment": Case(
        _OTHER_GENOME,
        ("h.fa", "first character", "before the first record"),
        genome(b"# mine\n>c\nACGTACGTACGT\n"),
        repair=genome(b">c\nACGTACGTACGT\n"),
    ),
    "position_of_5000_digits": Case(
        VCF, ("in.vcf: line 4", "POS"), row(f"c\t{'9' * 5000}\t.\tA\tT\t.\t.\t."), remedy=FIXED
    ),
    "region_of_5000_digits": Case(f"{REGION} c:1-{'9' * 5000}", ("--region",), files(), remedy=f"{REGION} c:1-9"),
}
