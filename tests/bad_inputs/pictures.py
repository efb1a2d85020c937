"""Inputs of `hf-genomics region-picture`: regions, files and outputs."""

from __future__ import annotations

from pathlib import Path

from .case import Case


def files(work: Path) -> None:
    """Write good and bad tracks, genes and variants."""
    (work / "t.bedgraph").write_text("c\t0\t50\t0.25\n")
    (work / "bad.bedgraph").write_text("c\t0\t50\tx\n")
    (work / "x.bw").write_text("c\t0\t50\t0.25\n")
    (work / "v.tsv").write_text("chrom\tpos\tref\talt\tllr\nc\t11\tA\tG\tmuch\n")
    (work / "v.vcf").write_text("c\t11\t.\tA\tG\n")
    (work / "old.png").write_text("mine")


RUN = "region-picture --region c:1-40 --output y.png"
_DONE = {"make": files, "remedy": f"{RUN} --tracks t.bedgraph"}
CASES: dict[str, Case] = {
    "nothing_to_draw": Case(RUN, ("tracks", "genes"), **_DONE),
    "no_region": Case("region-picture --region c --output y.png --tracks t.bedgraph", ("'c'", "chr1:1001"), **_DONE),
    "region_backwards": Case("region-picture --region c:9-3 --output y.png --scores t.bedgraph", ("'c:9-3'",), **_DONE),
    "region_too_long": Case(
        "region-picture --region c:1-99000000 --output y.png --scores t.bedgraph", ("99,000,000", "10,000,000"), **_DONE
    ),
    "another_contig": Case(f"{RUN.replace('c:', 'C:')} --tracks t.bedgraph", ("t.bedgraph", "'C'"), **_DONE),
    "output_of_no_format": Case(f"{RUN.replace('png', 'gif')} --tracks t.bedgraph", ("y.gif", ".png"), **_DONE),
    "output_exists": Case(
        "region-picture --region c:1-40 --output old.png --tracks t.bedgraph",
        ("old.png", "exists"),
        files,
        remedy="region-picture --region c:1-40 --output old.png --tracks t.bedgraph --overwrite true",
    ),
    "track_without_numbers": Case(f"{RUN} --tracks bad.bedgraph", ("bad.bedgraph, line 1", "column 4"), **_DONE),
    "no_bigwig": Case(f"{RUN} --scores x.bw", ("x.bw", "not a bigWig"), **_DONE),
    "no_track": Case(f"{RUN} --tracks gone.bw", ("gone.bw", "no such file"), **_DONE),
    "variants_without_numbers": Case(f"{RUN} --variants v.tsv", ("v.tsv", "data row 1", "'much'"), **_DONE),
    "variants_without_column": Case(f"{RUN} --variants v.tsv --column score", ("v.tsv", "'score'"), **_DONE),
    "vcf_without_header": Case(f"{RUN} --variants v.vcf", ("v.vcf", "fileformat"), **_DONE),
}


VCF = "##fileformat=VCFv4.2\n{}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n{}\t11\t.\tA\tG\t.\t.\t{}\n"
FIELD = '##INFO=<ID=HFG_LLR,Number=A,Type=Float,Description="x">\n'
HEADER = "chrom\tpos\tref\talt\tllr\n"


def text(name: str, content: str):  # noqa: ANN201
    """Return a function that writes a file beside a good track."""
    return lambda work: (files(work), (work / name).write_text(content))


CASES |= {
    "variants_of_another_contig": Case(
        f"{RUN} --variants w.tsv",
        ("w.tsv", "nothing on contig 'c'", "'chrC'"),
        text("w.tsv", f"{HEADER}chrC\t11\tA\tG\t2\n"),
        remedy=f"{RUN.replace('c:', 'chrC:')} --variants w.tsv",
    ),
    "variants_in_vcf_of_another_contig": Case(
        f"{RUN} --variants w.vcf", ("w.vcf", "'chrC'"), text("w.vcf", VCF.format(FIELD, "chrC", "HFG_LLR=2"))
    ),
    "a_contig_without_variants": Case(
        f"{RUN} --variants w.vcf",
        make=text("w.vcf", VCF.format("##contig=<ID=c,length=50>\n", "chrC", ".")),
        code=0,
        leaves=("y.png",),
    ),
    "a_field_that_the_vcf_lacks": Case(
        f"{RUN} --variants w.vcf --column influence",
        ("w.vcf", "HFG_INFLUENCE", "HFG_LLR"),
        text("w.vcf", VCF.format(FIELD, "c", "HFG_LLR=2")),
        remedy=f"{RUN} --variants w.vcf",
    ),
    "genes_of_another_contig": Case(
        f"{RUN} --genes w.bed",
        ("w.bed", "nothing on contig 'c'", "'C'"),
        text("w.bed", "C\t0\t20\tgene\n"),
        remedy=f"{RUN.replace('c:', 'C:')} --genes w.bed",
    ),
    "an_infinite_score": Case(
        f"{RUN} --variants w.tsv", ("w.tsv: data row 1", "'inf'"), text("w.tsv", f"{HEADER}c\t11\tA\tG\tinf\n")
    ),
    "an_infinite_value": Case(
        f"{RUN} --tracks w.bedgraph",
        ("w.bedgraph, line 1", "infinite"),
        text("w.bedgraph", "c\t0\t50\tinf\n"),
        repair=text("w.bedgraph", "c\t0\t50\t1\n"),
    ),
    "a_variant_at_5000_digits": Case(
        f"{RUN} --variants w.tsv", ("w.tsv: data row 1", "pos"), text("w.tsv", f"{HEADER}c\t{'9' * 5000}\tA\tG\t1\n")
    ),
    "a_region_of_5000_digits": Case(
        f"region-picture --region c:1-{'9' * 5000} --output y.png --tracks t.bedgraph", ("region", "chr1:1001"), **_DONE
    ),
    "fasta_as_a_track": Case(f"{RUN} --tracks OK", ("ok.fa", "FASTA"), **_DONE),
    "a_region_without_a_value": Case(
        "region-picture --region c:900-950 --output y.png --tracks t.bedgraph",
        make=files,
        code=0,
        warned=("t.bedgraph", "'c:900-950'"),
        leaves=("y.png",),
    ),
}
