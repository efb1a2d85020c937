"""Records from VCF lines, regions and pairs state the same events."""

from __future__ import annotations

import pandas as pd
import pytest
from small_files import dna
from tiny_variants import write_fasta, write_vcf

from hf_genomics import InputError
from hf_genomics.sequence_files.reference import Reference
from hf_genomics.variants.sites import Event
from hf_genomics.variants.sources import make_allele, pair_records, region_of_genome, region_records, vcf_records
from hf_genomics.variants.vcf import read_vcf

CONTIG = dna(80)


@pytest.fixture
def reference(tmp_path):
    """A genome with a name that holds a colon."""
    with Reference(write_fasta(tmp_path / "g.fa", **{"c": CONTIG, "HLA:1": CONTIG, "n": "ACNGT"})) as opened:
        yield opened


@pytest.mark.parametrize(
    ("ref", "alt", "flag", "events"),
    [
        ("A", "T", None, (Event(9, "A", "T"),)),
        ("CA", "CT", None, (Event(10, "A", "T"),)),
        ("CAG", "TAT", "mnv", (Event(9, "CAG", "TAT"),)),
        ("CAGC", "TAGT", "mnv_long", (Event(9, "CAGC", "TAGT"),)),
        ("C", "CA", "indel", (Event(10, "", "A"),)),
        ("CA", "C", "indel", (Event(10, "A", ""),)),
        ("C", "<DUP>", "symbolic", ()),
    ],
)
def test_an_allele_is_what_it_changes(ref, alt, flag, events):
    allele = make_allele(9, ref, alt, k=3)
    assert (allele.flag, allele.events) == (flag, events)


def test_regions_are_written_as_samtools_writes_them(reference):
    assert region_of_genome("c:1-80", reference) == ("c", 0, 80)
    assert region_of_genome("HLA:1:1,0-20", reference) == ("HLA:1", 9, 20)
    with pytest.raises(InputError, match="c:1-81"):
        region_of_genome("c:1-81", reference)


def test_a_region_has_three_substitutions_of_every_known_letter(reference):
    records = list(region_records(reference, "n", 0, 5))
    assert [record.position for record in records] == [1, 2, 3, 4, 5]
    assert [[allele.alt for allele in record.alleles] for record in records][:3] == [list("CGT"), list("AGT"), ["."]]
    assert records[2].alleles[0].flag == "ref_n"


def test_a_record_keeps_its_line_and_checks_its_reference(tmp_path, reference):
    source = write_vcf(tmp_path / "a.vcf", f"c 3 . {CONTIG[2].lower()} <DEL>,{CONTIG[2]}TT . . .", "n 3 . A C . . .")
    first, second = vcf_records(read_vcf(source)[1], reference, "error", 3)
    assert first.text.startswith("c\t3") and [one.flag for one in first.alleles] == ["symbolic", "indel"]
    assert second.ref_ok  # the genome does not know this letter


def test_positions_0_and_past_the_end_are_telomeres_and_have_no_letter(tmp_path, reference):
    source = write_vcf(tmp_path / "a.vcf", "c 0 . N <DEL> . . .", "c 81 . N ]n:1]N . . .", "c 0 . A C . . .")
    lines = list(read_vcf(source)[1])
    first, last, wrong = vcf_records(lines, reference, "skip", 3)
    assert (first.ref_ok, last.ref_ok, wrong.ref_ok) == (True, True, False)
    with pytest.raises(InputError, match="position 0") as caught:
        list(vcf_records(lines[2:], reference, "error", 3))
    assert "ends at" not in str(caught.value)


def test_a_pair_of_equal_sequences_is_no_change_and_has_no_letters(tmp_path):
    pd.DataFrame({"sequence": [CONTIG], "alt_sequence": [CONTIG]}).to_csv(tmp_path / "p.tsv", sep="\t", index=False)
    [record] = pair_records(str(tmp_path / "p.tsv"), 3)
    [allele] = record.alleles
    assert (record.position, record.ref, allele.alt, allele.flag, allele.events) == (1, ".", ".", "no_change", ())


def test_pairs_with_one_id_are_separate_contigs(tmp_path):
    rows = {"id": ["x", "x"], "sequence": ["ACGTACGT", "TTTTACGT"], "alt_sequence": ["ACGAACGT", "uTTTACGG"]}
    pd.DataFrame(rows).to_csv(tmp_path / "p.tsv", sep="\t", index=False)
    one, two = pair_records(str(tmp_path / "p.tsv"), 3)
    assert one.strands[0].key != two.strands[0].key and one.chrom == two.chrom == "x"
    assert one.alleles[0].events == (Event(3, "T", "A"),) and two.alleles[0].events == (Event(7, "T", "G"),)
