"""A picture of a region shows what its files hold, and files that are wrong are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hf_genomics import cli
from hf_genomics.interpretation.figures import Variant
from hf_genomics.io.genome_tracks import Stretch, write_bigwig
from hf_genomics.pictures import region_picture as module
from hf_genomics.pictures.region_picture import name_change, panel_names, read_variants, region_picture

VCF = (
    "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    "c\t11\t.\tA\tG,T\t.\t.\tDP=3;HFG_LLR=-1.5,.\nc\t90\t.\tACGTACGT\tA\t.\t.\tDP=3\nd\t12\t.\tA\tG\t.\t.\tHFG_LLR=9\n"
)
TABLE = "chrom\tpos\tref\talt\tllr\nc\t11\tA\tG\t-1.5\nc\t11\tA\tT\t\nc\t90\tACGTACGT\tA\t\nd\t12\tA\tG\t9\n"


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.gff").write_text("c\tx\tgene\t5\t60\t.\t-\t.\tName=thrA\n")
    (tmp_path / "p.phage.bedgraph").write_text("c\t0\t50\t0.25\nc\t50\t100\t0.75\n")
    (tmp_path / "v.vcf").write_text(VCF)
    (tmp_path / "v.tsv").write_text(TABLE)
    write_bigwig(tmp_path / "s.bw", [Stretch("c", 0, np.sin(np.arange(100)))], {"c": 100, "d": 20})
    return tmp_path


def test_all_rows_are_drawn_on_one_axis(work, monkeypatch):
    drawn, draw = [], module.region_figure
    monkeypatch.setattr(module, "region_figure", lambda *args: drawn.append(draw(*args)) or drawn[-1])
    words = "region-picture --region c:11-90 --output x.png --genes g.gff --tracks p.phage.bedgraph --scores s.bw"
    assert cli.main([*words.split(), "--variants", "v.vcf"]) == 0
    [figure] = drawn
    assert [ax.get_ylabel() for ax in figure.axes] == ["genes", "phage", "score", "LLR (nats)"]
    assert all(ax.get_xlim() == (9.5, 89.5) for ax in figure.axes)
    assert figure.get_suptitle() == "c:11\N{EN DASH}90"
    texts = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert {"\N{LEFTWARDS ARROW} thrA", "A>G", "A>T", "8 nt > 1 nt"} <= texts
    assert (work / "x.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_of_one_region_are_the_same_file(work):
    for suffix in ("svg", "pdf"):
        one, other = (region_picture("c:1-100", f"{name}.{suffix}", variants="v.tsv") for name in "ab")
        assert one.stat().st_size and (suffix == "svg" or one.read_bytes() == other.read_bytes())


def test_panels_of_different_files_have_different_names():
    files = ["a/SRR1.sorted.bw", "a/SRR2.sorted.bw", "x.phage.bedgraph.gz", "b/SRR1.sorted.bw", ".bw"]
    assert panel_names(files) == ["a/SRR1.sorted.bw", "SRR2.sorted", "phage", "b/SRR1.sorted.bw", "bw"]


@pytest.mark.parametrize(
    ("alt", "name"),
    [
        ("<DUP:TANDEM>", "<DUP:TANDEM>"),
        ("]chr17:198982]A", "]chr17:198982]A"),
        ("*", "A>*"),
        (".", "A>."),
        ("G", "A>G"),
    ],
)
def test_only_letters_are_counted_as_nucleotides(alt, name):
    assert name_change("A", alt) == name


@pytest.mark.parametrize("file", ["v.vcf", "v.tsv"])
def test_variants_of_a_region_are_read_allele_by_allele(file, work):
    found = list(read_variants(file, "llr", "c", 10, 90))
    expected = [Variant(10, "A>G", -1.5), Variant(10, "A>T", np.nan), Variant(89, "8 nt > 1 nt", np.nan)]
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    np.testing.assert_array_equal([one.score for one in found], [one.score for one in expected])
    assert not list(read_variants(file, "llr", "c", 11, 89))
