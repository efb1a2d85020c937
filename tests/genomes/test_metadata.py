"""Rules for records, metadata tables and splits: what does not fit is an error that names the place."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hf_genomics.errors import InputError
from hf_genomics.genomes.metadata import RecordRules, join_metadata, read_metadata, with_splits


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"min_length": -5}, ["records", "min_length", "at least 1 nt", "-5"]),
        ({"min_length": 0}, ["records", "min_length", "0"]),
        ({"genome_by": "contig"}, ["records", "genome_by", "'record'", "'file'", "'contig'"]),
    ],
)
def test_rules_out_of_range_are_errors(options: dict, facts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        RecordRules(**options)
    assert all(fact in str(error.value) for fact in facts)


def table(tmp_path: Path, text: str) -> str:
    (tmp_path / "meta.tsv").write_text(text)
    return str(tmp_path / "meta.tsv")


CONTIGS = pd.DataFrame({"name": ["a", "b"], "genome": ["a", "b"], "start": [0, 5], "length": [5, 5]})


def test_columns_of_numbers_are_numbers_and_codes_stay_text(tmp_path: Path) -> None:
    text = "accession\tgc\ttaxid\tcode\tstart\na\t0.5\t7\t007\t3\nb\tNA\tNA\t1\t4\n"
    found = read_metadata(table(tmp_path, text), "accession")
    assert list(found.columns) == ["gc", "taxid", "code"], "the index has a start of its own"
    assert found["gc"]["a"] == 0.5 and found["taxid"]["a"] == 7 and str(found["taxid"].dtype) == "Int64"
    assert found["code"].tolist() == ["007", "1"] and found["gc"].isna().tolist() == [False, True]


def test_a_column_genome_replaces_the_names_of_genomes(tmp_path: Path) -> None:
    found = read_metadata(table(tmp_path, "accession\tgenome\tlabel\nb\tX\tp\na\tX\tq\n"), "accession")
    joined = join_metadata(CONTIGS, found, "meta.tsv")
    assert joined["genome"].tolist() == ["X", "X"] and joined["label"].tolist() == ["q", "p"]
    gap = read_metadata(table(tmp_path, "accession\tgenome\na\tX\nb\t\n"), "accession")
    with pytest.raises(InputError) as error:
        join_metadata(CONTIGS, gap, "meta.tsv")
    assert all(fact in str(error.value) for fact in ("meta.tsv", "'b'", "genome"))


@pytest.mark.parametrize(
    ("columns", "shares", "facts"),
    [
        ({"split": ["train", "test"]}, [0.5, 0.0, 0.5], ["split", "metadata table"]),
        ({}, [0.5, 0.5], ["three shares", "[0.5, 0.5]"]),
        ({"group": ["G", None]}, [0.5, 0.0, 0.5], ["record 'b'", "group", "metadata table"]),
        ({"group": pd.array(["G", pd.NA], "string")}, [0.5, 0.0, 0.5], ["record 'b'", "group"]),
        ({"split": ["train", "dev"]}, None, ["'dev'", "train, valid, test"]),
        ({"genome": ["X", "X"], "split": ["train", "test"]}, None, ["'X'", "'train'", "'test'"]),
        ({"group": ["G", "G"], "split": ["train", "test"]}, None, ["'G'"]),
    ],
)
def test_splits_that_overlap_or_are_unknown_are_errors(columns: dict, shares: list | None, facts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        with_splits(CONTIGS.assign(**columns), shares, seed=0)
    assert all(fact in str(error.value) for fact in facts)


def test_shares_assign_whole_groups() -> None:
    contigs = pd.concat([CONTIGS.assign(name=[f"{n}a", f"{n}b"], genome=[f"{n}a", f"{n}b"]) for n in range(6)])
    contigs = contigs.assign(group=[name[0] for name in contigs["name"]])
    found = with_splits(contigs, [0.5, 0.25, 0.25], seed=1)
    assert (found.groupby("group")["split"].nunique() == 1).all() and set(found["split"]) == {"train", "valid", "test"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("first_word", "contig_1"),
        ("header", "contig_1 of x"),
        ("numbered", "12"),
        ("file", "draft:contig_1"),
    ],
)
def test_names_of_records_are_chosen(names, expected):
    assert RecordRules(names=names).naming("a/draft.fa.gz", 10)("contig_1  of x", 2) == expected
    with pytest.raises(InputError, match="second"):
        RecordRules(names="second")


def test_names_at_their_default_leave_the_options_of_a_store_as_they_were():
    assert "names" not in RecordRules().options() and RecordRules(names="file").options()["names"] == "file"


def test_names_of_genomes_and_groups_stay_text(tmp_path: Path) -> None:
    text = "accession\tgenome\tgroup\tsplit\na\t83332.12\t1.10\ttrain \nb\t83332.120\t1.1 \ttest\n"
    joined = join_metadata(CONTIGS, read_metadata(table(tmp_path, text), "accession"), "meta.tsv")
    assert joined["genome"].tolist() == ["83332.12", "83332.120"] and joined["group"].tolist() == ["1.10", "1.1"]
    assert with_splits(joined, None, 0)["split"].tolist() == ["train", "test"]


def test_whole_numbers_that_are_too_long_stay_text(tmp_path: Path) -> None:
    text = "accession\tid\tlong\na\t1234567890123456789\t12345678901234567890123\nb\t\t5\n"
    found = read_metadata(table(tmp_path, text), "accession")
    assert found["id"]["a"] == "1234567890123456789" and found["long"].tolist() == ["12345678901234567890123", "5"]
    found.to_parquet(tmp_path / "index.parquet")


def test_a_column_genome_in_capitals_may_be_the_key(tmp_path: Path) -> None:
    found = read_metadata(table(tmp_path, "Genome\tgc\na \t1\nb\t2\n"), "Genome")
    assert found.index.tolist() == ["a", "b"] and list(found.columns) == ["gc"], "names have no outer blanks"


def test_a_row_without_the_name_of_a_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"meta.tsv: data row 2: no accession"):
        read_metadata(table(tmp_path, "accession\tgc\na\t1\n\t2\n\t3\n"), "accession")


def test_metadata_are_joined_to_an_index_with_gaps(tmp_path: Path) -> None:
    contigs = pd.DataFrame({"name": list("aabc"), "genome": list("aabc"), "length": [5] * 4}).drop_duplicates("name")
    text = "accession\tgenome\tsplit\na\tg1\ttrain\nb\tg1\ttrain\nc\tg2\ttest\n"
    joined = join_metadata(contigs, read_metadata(table(tmp_path, text), "accession"), "meta.tsv")
    assert joined["split"].tolist() == ["train", "train", "test"] and joined["name"].tolist() == ["a", "b", "c"]
    with_splits(joined, None, 0)
