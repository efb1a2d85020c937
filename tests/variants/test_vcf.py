"""VCF lines are copied as text: what was added can be taken away, and every fault is named by line and column."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_variants import HEADER

from hf_genomics import InputError
from hf_genomics.errors import private_run
from hf_genomics.variants.vcf import (
    add_header,
    add_info,
    read_vcf,
    refuse_fields,
    refuse_info,
    strip_header,
    strip_info,
)

cells = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x85\xa0"), min_size=1)


@given(st.lists(cells, min_size=7, max_size=7), st.lists(cells), cells, st.sampled_from(["\n", "\r\n", ""]))
def test_fields_that_were_added_can_be_taken_away(front, back, info, end):
    line = "\t".join([*front, info, *back]) + end
    if "HFG_" in info:
        return
    added = add_info(line, {"HFG_LLR": "-1.5,.", "HFG_FLAG": "mnv,."})
    assert strip_info(added) == line and "HFG_LLR=-1.5,." in added.split("\t")[7]


def test_header_lines_stand_before_the_column_names_and_can_be_taken_away(tmp_path):
    path = tmp_path / "a.vcf"
    path.write_bytes(HEADER.replace("\n", "\r\n").encode())
    header, lines = read_vcf(str(path))
    added = add_header(header, {"HFG_LLR": 'Number=A,Type=Float,Description="x"'}, {"hf_genomicsVersion": "0"})
    assert list(lines) == [] and added[-1] == header.lines[-1] and strip_header(added) == header.lines
    assert added[1:-1] == [
        '##INFO=<ID=HFG_LLR,Number=A,Type=Float,Description="x">\r\n',
        "##hf_genomicsVersion=0\r\n",
    ]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_is_read_plain_or_compressed(tmp_path, compress):
    (tmp_path / "a.vcf").write_bytes(compress((HEADER + "1\t5\trs1\tA\tT,<DEL>\t29.50\t.\tDP=3\n").encode()))
    _, lines = read_vcf(str(tmp_path / "a.vcf"))
    [line] = lines
    assert (line.chrom, line.position, line.alts) == ("1", 5, ["T", "<DEL>"])
    assert line.where.endswith("line 3") and line.text.endswith("DP=3\n")


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("1 5 . A T . .", "line 3 has 1 columns"),
        ("1\t5\t.\tA\tT\t.\t.", "7 columns"),
        ("1\tx10\t.\tA\tT\t.\t.\t.", "POS"),
        ("1\t-1\t.\tA\tT\t.\t.\t.", "POS"),
        ("1\t1.0\t.\tA\tT\t.\t.\t.", "POS"),
        ("1\t5\t.\tX\tT\t.\t.\t.", "REF"),
        ("1\t5\t.\t.\tT\t.\t.\t.", "REF"),
        ("1\t5\t.\tA\tT;C\t.\t.\t.", "ALT"),
        ("1\t5\t.\tA\tT,\t.\t.\t.", "ALT"),
        ("1\t5\t.\tA\tT,.\t.\t.\t.", "ALT"),
        ("1\t5\t.\tA\t\t.\t.\t.", "ALT"),
        ("\t5\t.\tA\tT\t.\t.\t.", "CHROM"),
        ("1\t5 \t.\tA\tT\t.\t.\t.", "POS"),
        ("", "is empty"),
        ("1\t5\t.\t\tT\t.\t.\t.", "REF is empty; complete or delete"),
        ("1\t5\t.\tA\t.,T\t.\t.\t.", "delete the '.'"),
    ],
)
def test_a_bad_line_is_named_by_number_and_column(tmp_path, row, named):
    (tmp_path / "a.vcf").write_text(HEADER + row + "\n")
    _, lines = read_vcf(str(tmp_path / "a.vcf"))
    with pytest.raises(InputError, match="line 3") as error:
        list(lines)
    assert named in str(error.value)


def test_scores_of_an_earlier_run_are_refused_by_the_name_of_the_field(tmp_path):
    declared = HEADER.replace("#CHROM", "##INFO=<ID=HFG_LLR,Number=A>\n#CHROM")
    (tmp_path / "a.vcf").write_text(declared + "1\t5\t.\tA\tT\t.\t.\tHFG_LLR=1\n")
    header, lines = read_vcf(str(tmp_path / "a.vcf"))
    with pytest.raises(InputError, match="HFG_LLR"):
        refuse_fields("a.vcf", header)
    with pytest.raises(InputError, match=r"line 4.*HFG_LLR"):
        refuse_info(next(lines))


def test_position_0_is_the_telomere_and_the_message_allows_it(tmp_path):
    (tmp_path / "a.vcf").write_text(HEADER + "1\t0\t.\tN\t<DEL>\t.\t.\t.\n1\t-1\t.\tA\tT\t.\t.\t.\n")
    _, lines = read_vcf(str(tmp_path / "a.vcf"))
    assert next(lines).position == 0
    with pytest.raises(InputError, match="line 4, column POS: '-1' is not a whole number, 0 or more"):
        next(lines)


def test_a_column_that_the_header_lacks_is_named(tmp_path):
    (tmp_path / "a.vcf").write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\n")
    with pytest.raises(InputError, match="line 2: column INFO is missing"):
        read_vcf(str(tmp_path / "a.vcf"))


def test_old_mac_line_ends_are_named(tmp_path):
    (tmp_path / "a.vcf").write_bytes((HEADER + "1\t5\t.\tA\tT\t.\t.\t.\n").replace("\n", "\r").encode())
    with pytest.raises(InputError, match="old Mac line ends"):
        read_vcf(str(tmp_path / "a.vcf"))


@pytest.mark.parametrize("row", ["miller 7\t5\t.", " miller\t5\t.", "1\t5\tmiller 7"])
def test_a_private_run_shows_no_name_with_blanks(tmp_path, row):
    (tmp_path / "a.vcf").write_text(f"{HEADER}{row}\tA\tT\t.\t.\t.\n")
    _, lines = read_vcf(str(tmp_path / "a.vcf"))
    with private_run(True), pytest.raises(InputError, match="has blanks") as error:
        next(lines)
    assert "miller" not in str(error.value)


def test_names_are_read_as_utf8_and_other_bytes_stay_as_they_are(tmp_path):
    row = "chré\t5\t".encode() + b"id\xff\tA\tT\t.\t.\tDP=3\n"
    (tmp_path / "a.vcf").write_bytes(HEADER.encode() + row)
    [line] = read_vcf(str(tmp_path / "a.vcf"))[1]
    assert line.chrom == "chré" and line.text.encode("utf-8", "surrogateescape") == row
