"""Features of BED, GFF and GenBank files become windows that are read alike on either strand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.genome_tables.features import FeatureRules, by_contig, genbank_features, read_features, window_of
from hf_genomics.io.genome_tracks import Region
from hf_genomics.sequence import reverse_complement

GENBANK = """LOCUS       NC_1 60 bp DNA
VERSION     NC_1.2
FEATURES             Location/Qualifiers
     source          1..60
     gene            complement(5..24)
                     /gene="left"
     CDS             join(30..35,40..50)
                     /locus_tag="spliced"
     CDS             join(55..60,1..4)
                     /gene="over the origin"
ORIGIN
        1 acgtacgtac gtacgtacgt acgtacgtac gtacgtacgt acgtacgtac gtacgtacgt
//
"""
GFF = "##gff-version 3\nchr1\tx\tgene\t5\t24\t.\t-\t.\tID=a\nchr1\tx\tCDS\t5\t10\t.\t+\t0\tID=b\n"


def test_features_of_genbank_reach_from_their_first_to_their_last_part(tmp_path):
    (tmp_path / "x.gb").write_text(GENBANK)
    gene, spliced = genbank_features(str(tmp_path / "x.gb"))
    assert gene == Region("NC_1.2", 4, 24, "-", "left", 0, "gene")
    assert spliced == Region("NC_1.2", 29, 50, "+", "spliced", 0, "CDS")


def test_types_are_chosen_or_asked_for(tmp_path):
    (tmp_path / "x.gff").write_text(GFF)
    arguments = ("genome.fa", None, str(tmp_path / "x.gff"))
    [gene] = read_features(*arguments, FeatureRules(types=["gene"]))
    assert gene == Region("chr1", 4, 24, "-", "a", 2, "gene")
    assert len(read_features(*arguments, FeatureRules(types=["gene", "CDS"]))) == 2
    with pytest.raises(InputError, match=r"x\.gff: features of several types: gene \(1\), CDS \(1\); .*types gene"):
        read_features(*arguments, FeatureRules())
    with pytest.raises(InputError, match="no feature of type 'cds' in .*did you mean 'CDS'"):
        read_features(*arguments, FeatureRules(types=["cds"]))


rules = st.builds(
    lambda length, around, share: FeatureRules(length=length, around=around, before=int(share * length)),
    st.integers(1, 30),
    st.sampled_from(["center", "start", "end"]),
    st.floats(0, 0.99),
)


@given(st.text("ACGT", min_size=120, max_size=120), st.integers(40, 60), st.integers(1, 20), rules)
def test_a_feature_on_the_other_strand_gives_the_same_letters(genome, start, length, rules):
    feature = Region("c", start, start + length, "+")
    mirrored = Region("c", 120 - start - length, 120 - start, "-")
    here, there = window_of(feature, rules), window_of(mirrored, rules)
    assert here.end - here.start == rules.length
    assert genome[here.start : here.end] == reverse_complement(reverse_complement(genome)[there.start : there.end])
    anchor = {"start": start, "end": start + length - 1, "center": start + length // 2}[rules.around]
    assert here.start + rules.before == anchor  # slow twin: count from the nucleotide that the window lies around


def test_without_a_length_a_window_is_the_feature():
    window = window_of(Region("c", 3, 9, "-", "", 1, "CDS"), FeatureRules(label_by="type"))
    assert window == (3, 9, "-", "CDS", "c:3-9")


def test_features_are_sorted_within_their_contigs():
    found = by_contig([Region("b", 5, 6), Region("a", 1, 2), Region("b", 3, 9)])
    assert {name: [feature.start for feature in here] for name, here in found.items()} == {"a": [1], "b": [3, 5]}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"around": "middle"}, "middle"),
        ({"label_by": "score"}, "score"),
        ({"length": 0}, "features.length"),
        ({"block": -1}, "features.block"),
        ({"around": "start"}, "features.length"),
        ({"length": 10, "before": 10}, "0..9"),
        ({"label": "background"}, "background"),
        ({"label": ""}, "features.label is empty"),
        ({"background": "", "label_by": "type"}, "features.background is empty"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(options, named):
    with pytest.raises(InputError, match=named):
        FeatureRules(**options)


@pytest.mark.parametrize(
    ("topology", "location", "kept"),
    [
        ("linear", "join(1..20,40..60)", True),
        ("linear", "complement(join(1..20,40..60))", True),
        ("circular", "join(1..20,40..60)", True),
        ("circular", "complement(join(1..20,40..60))", True),
        ("circular", "join(40..60,1..20)", False),
        ("circular", "complement(join(40..60,1..20))", False),
        ("", "join(1..20,40..60)", True),
        ("", "join(40..60,1..20)", False),
    ],
)
def test_a_feature_over_the_whole_record_is_left_out_only_if_it_continues_over_the_origin(
    tmp_path, topology, location, kept
):
    name, _, rest = GENBANK.partition("\n")
    name = f"LOCUS       NC_1                      60 bp    DNA     {topology:8} BCT 01-JAN-2020"
    text = f"{name}\n{rest}".replace("complement(5..24)", location)
    (tmp_path / "x.gb").write_text(text)
    found = [feature for feature in genbank_features(str(tmp_path / "x.gb")) if feature.kind == "gene"]
    assert [feature[1:3] for feature in found] == [(0, 60)] * kept


@pytest.mark.parametrize(
    ("topology", "location", "place"),
    [
        ("circular", "join(51..55,5..10)", None),
        ("circular", "complement(join(51..55,5..10))", None),
        ("", "join(51..55,5..10)", (4, 55)),  # parts out of order, for all that is known
        ("circular", "join(5..10,51..55)", (4, 55)),
        ("circular", "join(30..40,10..20)", (9, 40)),  # parts out of order: the way over the origin would be longer
        ("circular", "join(complement(10..20),complement(30..40))", (9, 40)),
        ("circular", "join(51..55,complement(5..10))", (4, 55)),  # trans-spliced: parts on two strands
    ],
)
def test_a_feature_with_an_intron_over_the_origin_is_left_out(tmp_path, topology, location, place):
    name, _, rest = GENBANK.partition("\n")
    name = f"LOCUS       NC_1                      60 bp    DNA     {topology:8} BCT 01-JAN-2020"
    (tmp_path / "x.gb").write_text(f"{name}\n{rest}".replace("complement(5..24)", location))
    found = [feature for feature in genbank_features(str(tmp_path / "x.gb")) if feature.kind == "gene"]
    assert [feature[1:3] for feature in found] == ([] if place is None else [place])


@pytest.mark.parametrize("location", ["J00194.1:5..24", "join(J00194.1:5..24,30..40)"])
def test_a_feature_that_lies_partly_in_another_record_is_left_out(tmp_path, location):
    (tmp_path / "x.gb").write_text(GENBANK.replace("complement(5..24)", location))
    assert [feature.kind for feature in genbank_features(str(tmp_path / "x.gb"))] == ["CDS"]
