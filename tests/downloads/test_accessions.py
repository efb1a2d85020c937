"""Lists of accessions: plain lists and tables, and what is wrong in them."""

from __future__ import annotations

import pytest

from hf_genomics.downloads.accessions import AccessionRequest, read_accessions
from hf_genomics.errors import InputError


def listed(tmp_path, text):
    (tmp_path / "list").write_text(text)
    return read_accessions(tmp_path / "list")


def test_a_plain_list_and_tables_say_the_same(tmp_path):
    plain = [AccessionRequest("NC_001422.1"), AccessionRequest("U49845")]
    assert listed(tmp_path, "\ufeff# viruses\nnc_001422.1\n\n  U49845\r\nU49845\n") == plain
    assert listed(tmp_path, " # phages, 2024\nNC_001422.1\nU49845\n") == plain
    for text in ("accession\nNC_001422.1\nU49845\n", "kind,accession\n,NC_001422.1\n,u49845\n"):
        assert [one.accession for one in listed(tmp_path, text)] == [one.accession for one in plain]


def test_facts_are_taken_from_their_columns(tmp_path):
    for header in (
        "accession\tlength\tmd5\tgroup",
        "Accession\tLength\tMD5\tgroup",
        "accession\tLENGTH\tSequence_MD5\tgroup",
    ):
        (one,) = listed(tmp_path, f"{header}\nLAAO01000012\t6221\t{'AB' * 16}\tG1\n")
        assert one == AccessionRequest("LAAO01000012", 6221, "ab" * 16, {"group": "G1"})
    (one,) = listed(tmp_path, "accession,length,Length\nU49845,3,4\n")
    assert one == AccessionRequest("U49845", 3, None, {"Length": "4"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GCF_000005845.2\n", "line 1: 'GCF_000005845.2' names an assembly"),
        ("# x\n\nSRR000001\n", "line 3: 'SRR000001' names sequencing reads"),
        ("YP_009724390.1\n", "names a protein"),
        ("9626243\n", "is a GI number"),
        ("NC_001416.1\nphage lambda\n", "line 2: 'PHAGE LAMBDA' is not an accession; write it as NC_001416.1"),
        ("name\taccession\nx\t\n", "data row 1: '' is not an accession"),
        ("name\tid\nx\tNC_001416\n", "no column 'accession'"),
        ("accession,length\nNC_001416,0\n", "data row 1: length '0' is not a number of nt"),
        ("accession,sequence_md5\nNC_001416,abc\n", "data row 1: sequence_md5 'abc' is not an MD5"),
        ("accession,x\nU49845,1\nU49845,2\n", "data row 2: U49845 is also in .*data row 1"),
        ("# nothing\n", "this list has no accessions"),
        ("", "this list has no accessions"),
    ],
)
def test_a_wrong_list_is_refused_by_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        listed(tmp_path, text)


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_accessions(tmp_path / "nothing.tsv")
