"""The genomes that the quickstart uses are what their table says they are."""

from __future__ import annotations

import csv
import gzip
import hashlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "recipes" / "data" / "quickstart"
IUPAC = set("ACGTRYSWKMBDHVN")


def read_table():
    with (FOLDER / "metadata.tsv").open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def path_of(row):
    return FOLDER / f"{row['accession'].split('.')[0]}.fasta.gz"


@pytest.fixture(params=read_table(), ids=lambda row: row["accession"])
def row(request):
    return request.param


@pytest.fixture
def record(row):
    """Header without ">", and the lines of the only record."""
    header, *lines = gzip.decompress(path_of(row).read_bytes()).decode("ascii").splitlines()
    assert header.startswith(">")
    return header[1:], lines


def test_the_record_is_named_as_in_the_table(row, record):
    assert record[0] == f"{row['accession']} {row['organism']}"


def test_the_sequence_is_the_one_that_was_published(row, record):
    sequence = "".join(record[1])
    assert len(sequence) == int(row["length"])
    assert hashlib.sha256(sequence.encode()).hexdigest() == row["sha256"]


def test_all_letters_are_upper_case_iupac_in_lines_of_80(record):
    lines = record[1]
    assert set("".join(lines)) <= IUPAC
    assert {len(line) for line in lines[:-1]} == {80} and 0 < len(lines[-1]) <= 80


def test_gc_is_the_share_of_the_unambiguous_letters(row, record):
    counts = {letter: sum(line.count(letter) for line in record[1]) for letter in "ACGT"}
    assert (counts["G"] + counts["C"]) / sum(counts.values()) == pytest.approx(float(row["gc"]), abs=5e-5)


def test_the_archive_holds_no_time_and_no_name_so_that_it_can_be_made_again_byte_for_byte(row):
    head = path_of(row).read_bytes()[:10]
    assert head[3] == 0 and head[4:8] == bytes(4)


def test_labels_and_kinds_are_the_known_ones_and_agree(row):
    assert row["kind"] in {"phage", "organelle", "virus", "plasmid"}
    assert row["label"] == ("phage" if row["kind"] == "phage" else "other")


def test_table_files_and_readme_name_the_same_genomes():
    accessions = {row["accession"] for row in read_table()}
    assert {path_of(row) for row in read_table()} == set(FOLDER.glob("*.fasta.gz"))
    readme = (FOLDER / "README.md").read_text()
    assert [name for name in accessions if name not in readme] == []


def test_both_labels_have_several_genomes():
    labels = [row["label"] for row in read_table()]
    assert min(labels.count("phage"), labels.count("other")) >= 2


def test_the_bundle_stays_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000
