"""Regions and genes are read, or refused with their line; tracks are read back by independent readers."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics import InputError
from hf_genomics.io.genome_tracks import (
    Region,
    Stretch,
    merge_stretches,
    parse_region,
    place_of,
    read_bed,
    read_bedgraph,
    read_genes,
    read_gff,
    read_sizes,
    read_values,
    runs_of,
    write_bed,
    write_bedgraph,
    write_bigwig,
)


def write(path, text):
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("header", "length", "place"),
    [
        ("chr1:100-110", 10, ("chr1", 100, 110, ".")),
        ("chr1:101-110", 10, ("chr1", 100, 110, ".")),
        ("chr1:1,000-1,010", 10, ("chr1", 1000, 1010, ".")),
        ("gene::chr1:100-110(-)", 10, ("chr1", 100, 110, "-")),
        ("HLA:A:01:5-9(+)", 4, ("HLA:A:01", 5, 9, "+")),
        ("chr1:0-10", 10, ("chr1", 0, 10, ".")),
        ("chr1:100-110", 12, ("chr1:100-110", 0, 12, ".")),
        ("contig_7", 12, ("contig_7", 0, 12, ".")),
        ("a:b-c", 3, ("a:b-c", 0, 3, ".")),
    ],
)
def test_a_header_states_where_a_sequence_lies(header, length, place):
    assert place_of(header, length)[:4] == place


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=8))
@settings(deadline=None)
def test_overlapping_stretches_are_averaged_as_the_slow_twin_does(pieces):
    random = np.random.default_rng(0)
    stretches = [Stretch("c", start, random.normal(size=length)) for start, length in sorted(pieces)]
    merged = list(merge_stretches(stretches))
    places = {}
    for one in stretches:
        for offset, value in enumerate(one.values):
            places.setdefault(one.start + offset, []).append(value)
    found = {one.start + offset: value for one in merged for offset, value in enumerate(one.values)}
    assert found.keys() == places.keys()
    assert all(found[place] == pytest.approx(np.mean(values)) for place, values in places.items())
    assert all(before.end <= after.start for before, after in zip(merged, merged[1:], strict=False))


def test_contigs_are_not_merged():
    assert len(list(merge_stretches([Stretch("a", 0, np.ones(3)), Stretch("b", 1, np.ones(3))]))) == 2


VALUES = st.lists(st.sampled_from([0.0, 1.5, -2.25, 1e-7, 3e8]), min_size=1, max_size=30)
GAPS = st.lists(st.sampled_from([0.0, 1.5, -2.25, float("nan")]), min_size=1, max_size=30)


@given(GAPS)
@settings(deadline=None)
def test_runs_cover_all_known_values_and_nothing_else(values):
    starts, ends, found = runs_of(np.array(values))
    back = np.full(len(values), np.nan)
    for start, end, value in zip(starts, ends, found, strict=True):
        assert start < end and np.isnan(back[start:end]).all()
        back[start:end] = value
    np.testing.assert_array_equal(back, values)


def test_an_overlap_of_a_known_and_an_unknown_value_is_the_known_one():
    nan = float("nan")
    [found] = merge_stretches([Stretch("c", 0, np.array([1.0, 2.0, nan])), Stretch("c", 1, np.array([nan, nan, 4.0]))])
    np.testing.assert_array_equal(found.values, [1.0, 2.0, nan, 4.0])


@given(GAPS, st.integers(0, 40), st.integers(0, 40), st.integers(1, 20))
@settings(deadline=None, max_examples=25)
def test_values_of_a_region_are_those_that_were_written(tmp_path_factory, values, offset, start, length):
    folder = tmp_path_factory.mktemp("values")
    stretches = [Stretch("a", 0, np.ones(2)), Stretch("c", offset, np.array(values))]
    with open(folder / "x.bedgraph", "w") as file:
        write_bedgraph(file, stretches)
    write_bigwig(folder / "x.bw", stretches, {"a": 2, "c": offset + len(values)})
    expected = np.full(200, np.nan)
    expected[offset : offset + len(values)] = values
    for name in ("x.bedgraph", "x.bw"):
        if name == "x.bw" or not np.isnan(values).all():
            found = read_values(folder / name, "c", start, start + length)
            np.testing.assert_array_equal(found, expected[start : start + length])
        with pytest.raises(InputError, match="nothing on contig 'b'"):
            read_values(folder / name, "b", 0, 3)


def test_a_file_that_is_no_bigwig_is_refused(tmp_path):
    (tmp_path / "x.bw").write_text("chr1\t0\t1\t2\n")
    for name, named in (("x.bw", "not a bigWig"), ("gone.bw", "no such file")):
        with pytest.raises(InputError, match=named):
            read_values(tmp_path / name, "chr1", 0, 1)


def test_bed_lines_have_nine_columns():
    file = io.StringIO()
    write_bed(file, [(Region("chr 1", 3, 9, "-", "a b"), 0.1236)], {"a b": "#0072B2"})
    assert file.getvalue() == "chr_1\t3\t9\ta b\t124\t-\t3\t9\t0,114,178\n"


@given(VALUES, st.integers(0, 1000))
@settings(deadline=None)
def test_bedgraph_is_read_back_by_pandas(values, start):
    file = io.StringIO()
    write_bedgraph(file, [Stretch("chr 1", start, np.array(values))])
    table = pd.read_csv(io.StringIO(file.getvalue()), sep="\t", header=None, names=["contig", "start", "end", "value"])
    assert (table.contig == "chr_1").all() and (table.start[1:].to_numpy() == table.end[:-1].to_numpy()).all()
    back = np.concatenate([np.full(row.end - row.start, row.value) for row in table.itertuples()])
    np.testing.assert_allclose(back, values, rtol=1e-6)
    assert table.start.iloc[0] == start and len(back) == len(values)


def test_bigwig_is_read_back_by_its_own_library(tmp_path):
    big_wig = pytest.importorskip("pyBigWig")
    pieces = [Stretch("b", 2, np.arange(3.0)), Stretch("b", 9, np.ones(1)), Stretch("a", 0, np.full(4, -0.5))]
    write_bigwig(tmp_path / "x.bw", pieces, {"b": 10, "a": 4, "unused": 7})
    with big_wig.open(str(tmp_path / "x.bw")) as file:
        assert file.chroms() == {"b": 10, "a": 4, "unused": 7}
        assert file.values("b", 2, 5) == [0, 1, 2] and file.values("a", 0, 4) == [-0.5] * 4
        assert np.isnan(file.values("b", 5, 9)).all()


def test_bed_is_read_with_comments_windows_line_ends_a_byte_order_mark_and_gzip(tmp_path):
    text = "\ufeff# made by hand\r\ntrack name=x\r\nbrowser position\r\nchr1\t1\t5\tp\t0\t-\r\n\r\nchr2\t0\t3\r\n"
    expected = [Region("chr1", 1, 5, "-", "p", 4), Region("chr2", 0, 3, ".", "", 6)]
    assert read_bed(write(tmp_path / "x.bed", text)) == expected
    (tmp_path / "x.bed.gz").write_bytes(gzip.compress(text.encode()))
    assert read_bed(tmp_path / "x.bed.gz") == expected


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("chr1 1 5", "blanks"),
        ("chr1\t1", "2 of 3"),
        ("chr1\t5\t5", "start 5"),
        ("chr1\t7\t5", "start 7"),
        ("chr1\t-1\t5", "'-1'"),
        ("chr1\t1.0\t5", "'1.0'"),
        ("chr1\t1e3\t2000", "'1e3'"),
        ("chr1\t1,000\t2,000", "'1,000'"),
        ("chr1\t1\t", "''"),
        ("\t1\t5", "empty"),
        ("chrom\tstart\tend", "'start'"),
        ("chr1\t1\t5\tx\t0\tplus", "'plus'"),
    ],
)
def test_a_line_that_is_no_region_is_named(tmp_path, line, named):
    with pytest.raises(InputError, match="line 2") as error:
        read_bed(write(tmp_path / "x.bed", f"chr1\t0\t1\n{line}\n"))
    assert named in str(error.value) and "x.bed" in str(error.value)


def test_a_contig_whose_name_begins_like_a_header_line_is_read(tmp_path):
    regions = read_bed(write(tmp_path / "x.bed", "track1\t0\t5\nbrowserX\t1\t4\n"))
    assert [region.contig for region in regions] == ["track1", "browserX"]


@pytest.mark.parametrize("read", [read_bed, read_genes, read_sizes])
@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_is_refused(tmp_path, read, text):
    with pytest.raises(InputError, match=r"x\.bed"):
        read(write(tmp_path / "x.bed", text))


def test_genes_come_from_gff_gtf_or_bed(tmp_path):
    gff = "##gff-version 3\nc\tx\tgene\t11\t20\t.\t-\t.\tID=g1;Name=thrA\nc\tx\tCDS\t11\t20\t.\t-\t0\tID=c1\n"
    gff += "##FASTA\n>c\nA\n"
    assert read_genes(write(tmp_path / "x.gff", gff))[0][:5] == ("c", 10, 20, "-", "thrA")
    gtf = 'c\tx\tCDS\t11\t20\t.\t+\t0\tgene_id "b1"; gene_name "lacZ";\n'
    assert read_genes(write(tmp_path / "x.gtf", gtf))[0][:5] == ("c", 10, 20, "+", "lacZ")
    assert read_genes(write(tmp_path / "x.bed", "c\t10\t20\tg\t0\t+\n"))[0][:5] == ("c", 10, 20, "+", "g")
    with pytest.raises(InputError, match="no gene"):
        read_genes(write(tmp_path / "y.gff", "c\tx\texon\t1\t2\t.\t+\t.\tID=e\n"))
    with pytest.raises(InputError, match="line 1"):
        read_genes(write(tmp_path / "z.gff", "c\tx\tgene\t0\t2\t.\t+\t.\tID=e\n"))


def test_sizes_come_from_chrom_sizes_or_fai_and_repeats_are_refused(tmp_path):
    assert read_sizes(write(tmp_path / "x.fai", "a\t10\t3\t60\t61\nb\t5\t3\t60\t61\n")) == {"a": 10, "b": 5}
    for text, named in (("a\t1\na\t2\n", "twice"), ("a\n", "1 column"), ("a\tx\n", "'x'"), ("a\t0\n", "length 0")):
        with pytest.raises(InputError, match=named):
            read_sizes(write(tmp_path / "y.sizes", text))


def test_bedgraph_needs_a_number_in_column_4(tmp_path):
    assert read_bedgraph(write(tmp_path / "x", "a\t1\t3\t0.5\n")) == [(Region("a", 1, 3, ".", "", 1), 0.5)]
    for text in ("a\t1\t3\n", "a\t1\t3\tx\n"):
        with pytest.raises(InputError, match="column 4"):
            read_bedgraph(write(tmp_path / "x", text))


def test_every_feature_of_gff_has_its_type_and_a_line_without_nine_columns_is_named(tmp_path):
    path = write(tmp_path / "x.gff", "##gff-version 3\nc\tx\tCDS\t3\t9\t.\t-\t0\tgene=a\n##FASTA\n>c\nACGT\n")
    assert read_gff(path) == [Region("c", 2, 9, "-", "a", 2, "CDS")]
    with pytest.raises(InputError, match=r"y\.gff, line 1: 3 of 9 columns"):
        read_gff(write(tmp_path / "y.gff", "c\t1\t9\n"))
    with pytest.raises(InputError, match="no feature"):
        read_gff(write(tmp_path / "z.gff", "# nothing\n"))


def test_regions_are_read_as_browsers_write_them():
    assert parse_region(" HLA:A:01:1,001-1,200 ") == ("HLA:A:01", 1000, 1200)
    for region in ("chr1", "chr1:0-5", "chr1:9-5", "chr1:a-b", "chr1:,-,"):
        with pytest.raises(InputError, match="chr1"):
            parse_region(region)


def test_names_of_genes_are_decoded_and_an_empty_one_is_passed_over(tmp_path):
    columns = "chr1\tx\tgene\t1\t10\t.\t+\t.\t"
    tags = ["ID=g1;Name=5%2C8S%20rRNA", "ID=g2;Name=;gene=abc", 'gene_id "a%2Cb"; gene_name "";']
    path = write(tmp_path / "x.gff", "".join(f"{columns}{text}\n" for text in tags))
    assert [gene.name for gene in read_genes(path)] == ["5,8S rRNA", "abc", "a%2Cb"]


def test_a_bigwig_without_any_value_has_no_value_in_a_region(tmp_path):
    pytest.importorskip("pyBigWig")
    write_bigwig(tmp_path / "x.bw", [Stretch("chr1", 0, np.full(5, np.nan))], {"chr1": 5})
    assert np.isnan(read_values(tmp_path / "x.bw", "chr1", 0, 7)).all()
