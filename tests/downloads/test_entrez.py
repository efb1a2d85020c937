"""Answers of the E-utilities: cut into records, and every record checked."""

from __future__ import annotations

import hashlib

import pytest

pytest.importorskip("Bio", reason="Biopython is not installed (extra `download`)")

from hf_genomics.downloads.entrez import Server, quote, read_record, split_records


def test_genbank_records_end_at_their_slashes():
    lines = [b"\n", b"LOCUS a\n", b"//\n", b"\n", b"LOCUS b\n"]
    assert list(split_records(lines, "genbank")) == [b"LOCUS a\n//\n", b"LOCUS b\n"]


def test_a_record_is_read_with_its_length_and_md5():
    record = read_record(b">AB000001.1 a virus\nACgt\nNN\n", "fasta")
    assert (record.accession, record.length) == ("AB000001.1", 6)
    assert record.sequence_md5 == hashlib.md5(b"ACGTNN").hexdigest()


@pytest.mark.parametrize(
    ("content", "file_format", "facts"),
    [
        (b"<html><b>Busy</b></html>\n", "fasta", ["'Busy'"]),
        (b"LOCUS x\nORIGIN\n", "genbank", ["cut short", "//"]),
        (b">AB000001.1\n", "fasta", ["no letters"]),
        (b">AB000001.1\nACGL\n", "fasta", ["letter 4", "'L'"]),
    ],
)
def test_what_is_not_one_record_of_dna_is_an_error(content, file_format, facts):
    with pytest.raises(ValueError) as error:
        read_record(content, file_format)
    assert all(fact in str(error.value) for fact in facts)


def test_a_quotation_has_no_markup_and_a_bounded_length():
    assert quote("<h1>One</h1>\n<p>two") == "'One two'"
    assert len(quote("x" * 1000, width=20)) == 22


def test_settings_of_biopython_are_restored_after_an_error():
    from Bio import Entrez

    before = Entrez.email, Entrez.max_tries, Entrez.urlopen
    with pytest.raises(KeyError), Server("http://localhost:1", "a@example.org").connected():
        assert Entrez.email == "a@example.org"
        raise KeyError
    assert (Entrez.email, Entrez.max_tries, Entrez.urlopen) == before
