"""Contigs are read from any place and on either strand; a file that could mislead is refused."""

from __future__ import annotations

import gzip
import os
import sys

import pysam
import pytest
from small_files import dna
from tiny_variants import write_fasta

from hf_genomics import InputError
from hf_genomics.errors import private_run
from hf_genomics.sequence import reverse_complement
from hf_genomics.sequence_files import reference as module
from hf_genomics.sequence_files.reference import Reference


def text(letters):
    return letters.tobytes().decode()


@pytest.fixture
def genome(tmp_path):
    """A FASTA file of two contigs."""
    return write_fasta(tmp_path / "g.fa", one=dna(500), chr2=dna(130, 2).lower())


@pytest.mark.parametrize("block", [7, 64, 1 << 16])
def test_both_strands_are_read_from_any_place(genome, monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    with Reference(genome) as reference:
        forward, backward = reference.strands("one")
        for start, end in ((0, 10), (60, 61), (3, 200), (490, 500), (0, 500), (5, 5)):
            assert text(forward.read(start, end)) == dna(500)[start:end]
            assert text(backward.read(start, end)) == reverse_complement(dna(500))[start:end]
        assert text(reference.read("chr2", 0, 130)) == dna(130, 2).lower()


def test_nothing_is_written_next_to_the_genome_and_a_current_index_is_used(genome, tmp_path):
    before = {*tmp_path.iterdir()}
    with Reference(genome):
        pass
    assert {*tmp_path.iterdir()} == before
    pysam.faidx(genome)
    with Reference(genome) as reference:
        assert reference.lengths == {"one": 500, "chr2": 130}


def test_an_index_older_than_its_file_is_not_used(genome, tmp_path):
    pysam.faidx(genome)
    write_fasta(tmp_path / "g.fa", one=dna(400, 5))
    os.utime(f"{genome}.fai", (1, 1))
    with Reference(genome) as reference:
        assert text(reference.read("one", 0, 400)) == dna(400, 5)


def test_a_file_compressed_by_bgzip_is_read_and_plain_gzip_is_refused(genome, tmp_path):
    with pysam.BGZFile(str(tmp_path / "b.fa.gz"), "wb") as file, open(genome, "rb") as source:
        file.write(source.read())
    with Reference(str(tmp_path / "b.fa.gz")) as reference:
        assert text(reference.read("one", 100, 300)) == dna(500)[100:300]
    (tmp_path / "p.fa.gz").write_bytes(gzip.compress(b">one\nACGT\n"))
    with pytest.raises(InputError, match="bgzip"):
        Reference(str(tmp_path / "p.fa.gz"))


def test_names_differ_by_chr_only_on_request(genome):
    with Reference(genome) as reference, pytest.raises(InputError, match="match_chr"):
        reference.find("2", "x.vcf: line 3")
    with Reference(genome, match_chr=True) as reference:
        assert reference.find("2", "here") == "chr2" and reference.find("one", "here") == "one"
        with pytest.raises(InputError, match="here"):
            reference.find("chrX", "here")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (">a\nACGT\n>b\nAC\n>a\nGG\n", "'a'"),
        (">a\nACGT\nAC\nACGT\n", "length"),
        ("ACGT\n", "FASTA"),
        ("", "empty"),
        (">\nACGT\n", "no name"),
        (">a\nACGT\n> b", "record 2 has no name"),
        (">a\n>b\nACGT\n", "'a' has no sequence"),
        (">a\nACGT\n>b\n", "needs a sequence"),
    ],
)
def test_a_file_that_could_mislead_is_refused(tmp_path, capfd, content, named):
    (tmp_path / "g.fa").write_text(content)
    with pytest.raises(InputError, match="g.fa") as error:
        Reference(str(tmp_path / "g.fa"))
    assert named in str(error.value) and capfd.readouterr().err == ""


def test_letters_that_are_no_nucleotides_are_named_by_position(tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGT\nAC*T\n")
    with Reference(str(tmp_path / "g.fa")) as reference, pytest.raises(InputError, match=r"'\*' at position 7"):
        reference.read("a", 0, 3)


def test_without_pysam_one_line_says_how_to_install_it(genome, monkeypatch):
    monkeypatch.setitem(sys.modules, "pysam", None)
    with pytest.raises(InputError, match=r"pip install 'hf_genomics\[variants\]'"):
        Reference(genome)


def test_names_in_utf8_are_read_and_others_refused(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">chré x\nACGT\n", encoding="utf-8")
    with Reference(str(path)) as reference:
        assert reference.lengths == {"chré": 4} and reference.read("chré", 1, 3).tobytes() == b"CG"
    path.write_text(">chré x\nACGT\n", encoding="latin-1")
    with pytest.raises(InputError, match="UTF-8"):
        Reference(str(path))


@pytest.mark.parametrize("index", ["no index\n", "a\t4\t3\n"])
def test_an_index_that_cannot_be_read_is_to_be_deleted(tmp_path, index):
    (tmp_path / "g.fa").write_text(">a\nACGT\n")
    (tmp_path / "g.fa.fai").write_text(index)
    with pytest.raises(InputError, match=r"delete .*g\.fa\.fai"):
        Reference(str(tmp_path / "g.fa"))


def test_an_index_of_a_longer_file_is_the_users_mistake(tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGT\n")
    (tmp_path / "g.fa.fai").write_text("a\t400\t300\t4\t5\n")
    with Reference(str(tmp_path / "g.fa")) as reference, pytest.raises(InputError, match="delete the .fai"):
        reference.read("a", 0, 4)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_letters_that_are_not_ascii_are_named_by_position(tmp_path, encoding):
    (tmp_path / "g.fa").write_text(">a\nACGéAC\n", encoding=encoding)
    with Reference(str(tmp_path / "g.fa")) as reference, pytest.raises(InputError, match="at position 4"):
        reference.read("a", 0, 2)


def test_a_gzip_file_of_three_bytes_is_refused(tmp_path):
    (tmp_path / "g.fa").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(InputError, match="gzip"):
        Reference(str(tmp_path / "g.fa"))


def test_a_private_run_does_not_show_a_repeated_name(tmp_path):
    (tmp_path / "g.fa").write_text(">patient_7\nACGT\n>patient_7\nACGT\n")
    with private_run(True), pytest.raises(InputError, match="records 1 and 2") as error:
        Reference(str(tmp_path / "g.fa"))
    assert "patient" not in str(error.value)
