"""A folder of genomes: what it has, what it takes in, and its manifest."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from hf_genomics.downloads.accessions import AccessionRequest
from hf_genomics.downloads.entrez import FetchedRecord
from hf_genomics.downloads.genome_folder import GenomeFolder, VerifiedRecord
from hf_genomics.errors import InputError


def record(accession: str, sequence: str) -> VerifiedRecord:
    content = f">{accession}\n{sequence}\n".encode()
    digest = hashlib.md5(sequence.encode()).hexdigest()
    return VerifiedRecord(FetchedRecord(accession, content, len(sequence), digest), "list")


@pytest.fixture
def folder(tmp_path: Path) -> GenomeFolder:
    folder = GenomeFolder.open(tmp_path / "genomes", "fasta")
    folder.create()
    folder.add([record("AB000001.2", "ACGT"), record("AB000001.10", "ACGTA"), record("AB000001.9", "AC")])
    return folder


def test_an_accession_without_version_means_the_newest_one(folder: GenomeFolder) -> None:
    for opened in (folder, GenomeFolder.open(folder.path, "fasta")):
        assert opened.row(AccessionRequest("AB000001"))["accession"] == "AB000001.10"
        assert opened.row(AccessionRequest("AB000001.2"))["length"] == "4"
        assert opened.row(AccessionRequest("AB000002")) is None


@pytest.mark.parametrize(
    ("accession", "length", "digest", "has"),
    [
        ("AB000001.2", None, None, True),
        ("AB000001.2", 4, hashlib.md5(b"ACGT").hexdigest(), True),
        ("AB000001.2", 5, None, False),
        ("AB000001.2", None, "0" * 32, False),
        ("AB000001.3", None, None, False),
    ],
)
def test_a_record_counts_if_it_is_what_the_list_says(
    folder: GenomeFolder, accession: str, length: int | None, digest: str | None, has: bool
) -> None:
    assert folder.has(AccessionRequest(accession, length, digest)) is has


def test_a_file_that_was_changed_or_deleted_does_not_count(folder: GenomeFolder) -> None:
    (folder.path / "AB000001.2.fasta").write_bytes(b">AB000001.2\nACGA\n")
    (folder.path / "AB000001.9.fasta").unlink()
    has = [folder.has(AccessionRequest(f"AB000001.{version}")) for version in (2, 9, 10)]
    assert has == [False, False, True]


def test_the_manifest_takes_the_other_columns_of_the_list(folder: GenomeFolder) -> None:
    folder.finish([AccessionRequest("AB000001", other_columns={"label": "phage", "file": "mine"})], {"X": "why"})
    with (folder.path / "manifest.tsv").open(newline="") as file:
        rows = {row["accession"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert rows["AB000001.10"]["label"] == "phage" and rows["AB000001.10"]["file"] == "AB000001.10.fasta"
    assert rows["AB000001.2"]["label"] == "" and "why" in (folder.path / "failed.tsv").read_text()
    folder.finish([], {})
    assert not (folder.path / "failed.tsv").exists()


def test_of_two_lines_for_one_record_the_one_with_the_version_describes_it(folder: GenomeFolder) -> None:
    lines = [AccessionRequest(f"AB000001{version}", other_columns={"x": version}) for version in (".10", "")]
    for requests in (lines, lines[::-1]):
        folder.finish(requests, {})
        assert folder.row(lines[1])["x"] == ".10"


def test_leftovers_are_deleted_and_another_format_is_an_error(folder: GenomeFolder) -> None:
    (folder.path / ".x.fasta.partial").write_text("half")
    folder.create()
    assert not list(folder.path.glob(".*"))
    with pytest.raises(InputError, match=r"AB000001\.2\.fasta"):
        GenomeFolder.open(folder.path, "genbank")
    with pytest.raises(InputError, match="name a folder"):
        GenomeFolder.open(folder.path / "manifest.tsv", "fasta")
