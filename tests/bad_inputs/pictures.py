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
