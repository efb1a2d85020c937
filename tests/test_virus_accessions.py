"""The list of the phage study's genomes holds facts, keeps groups together, and rebuilds the data."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from pathlib import Path

import pytest

from hf_genomics.downloads.accessions import read_accessions

LIST = Path(__file__).resolve().parents[1] / "recipes" / "data" / "virus_accessions.tsv"


@pytest.fixture(scope="module")
def rows():
    with LIST.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


@pytest.fixture(scope="module")
def sequences(data_dir):
    """The study's genomes by the MD5 of their letters."""
    import dnaio

    found = {}
    for name in ("phage", "nonphage"):
        with dnaio.open(data_dir / "virus" / f"{name}.fasta.gz") as records:
            for record in records:
                found[hashlib.md5(record.sequence.upper().encode()).hexdigest()] = record.sequence
    return found


def test_the_columns_are_those_that_download_and_prepare_read(rows):
    assert list(rows[0]) == ["accession", "class", "group", "split", "length", "sequence_md5"]
    wanted = read_accessions(LIST)
    assert len(wanted) == len(rows) == 3600
    assert all(one.length and one.sequence_md5 for one in wanted)
    assert len({one.sequence_md5 for one in wanted}) == len({one.accession.partition(".")[0] for one in wanted}) == 3600


def test_groups_never_cross_splits(rows):
    splits = defaultdict(set)
    for row in rows:
        splits[row["group"]].add(row["split"])
    assert {len(names) for names in splits.values()} == {1}
    assert set.union(*splits.values()) == {"train", "valid", "test"}
    assert {row["class"] for row in rows} == {"phage", "nonphage"}


def test_it_holds_no_sequence_and_stays_small():
    assert LIST.stat().st_size < 260_000


def test_facts_are_those_of_the_data(rows, data_dir, sequences):
    with (data_dir / "virus" / "virus_split.tsv").open(newline="") as handle:
        table = {row["accession"]: row for row in csv.DictReader(handle, delimiter="\t")}
    facts = ("class", "group", "split", "length")
    same = [row for row in rows if row["accession"] in table]
    assert len(same) == 3600 - 74  # the others' names were cleaned
    assert [row for row in same if any(row[fact] != table[row["accession"]][fact] for fact in facts)] == []
    assert [row for row in rows if len(sequences.get(row["sequence_md5"], "")) != int(row["length"])] == []


@pytest.mark.slow
def test_download_and_prepare_rebuild_the_data(rows, sequences, tmp_path, monkeypatch):
    pytest.importorskip("Bio", reason="Biopython is not installed (extra `download`)")
    import Bio.Entrez
    from entrez_server import Entry, serving

    from hf_genomics import download, prepare

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(Bio.Entrez.time, "sleep", lambda seconds: None)
    entries = {}
    for row in rows:
        name = row["accession"] if "." in row["accession"] else f"{row['accession']}.1"
        entries[name] = Entry(sequences[row["sequence_md5"]])
    with serving(entries) as server:
        server.find = {key: name for name in entries for key in (name, name.partition(".")[0])}.get
        found = download(str(LIST), str(tmp_path / "genomes"), email="a@example.org", server=server.url)
    assert (found["fetched"], found["nt"]) == (3600, 57_949_503)
    files = sorted(map(str, (tmp_path / "genomes").glob("*.fasta")))
    store = prepare(files, str(tmp_path / "store"), metadata=str(tmp_path / "genomes" / "manifest.tsv"))
    assert (len(store), store.total_nt) == (3600, 57_949_503)
    counts = store.contigs.groupby(["class", "split"]).size().to_dict()
    assert counts["phage", "train"] == 324 and counts["nonphage", "test"] == 690
