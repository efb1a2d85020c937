"""The cleaned copy of a sequence file: what is corrected, what is counted, and what no rule corrects."""

from __future__ import annotations

import gzip
import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.checks.check import SplitFiles, check
from hf_genomics.checks.fix import write_fixed
from hf_genomics.errors import InputError
from hf_genomics.genomes.metadata import RecordRules
from hf_genomics.sequence_files.fasta import read_records

RECORDS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "a_2", ""]), st.text("ACGTNacgtuUX?-.*7 R", max_size=200)), min_size=1
)


def slowly_fixed(records):
    """Letter by letter and name by name."""
    used, found = set(), []
    for number, (name, text) in enumerate(records, start=1):
        name = name or f"record_{number}"
        unique = next(one for one in [name, *(f"{name}_{times}" for times in range(2, 99))] if one not in used)
        letters = "".join(
            {"U": "T", "X": "N", "?": "N"}.get(letter, letter) for letter in text.upper() if letter not in "-.*7 "
        )
        if letters:
            used.add(unique)
            found.append((unique, letters))
    return found


@given(RECORDS)
def test_every_record_is_corrected_as_letter_by_letter(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("fix")
    (folder / "x.fa").write_text("".join(f">{name}\n{text[:50]}\n{text[50:]}\n" for name, text in records))
    expected = slowly_fixed(records)
    if not expected:
        with pytest.raises(InputError, match="no record has a nucleotide"):
            write_fixed(str(folder / "x.fa"), folder / "y.fa")
        assert not (folder / "y.fa").exists()
        return
    fixed = write_fixed(str(folder / "x.fa"), folder / "y.fa")
    assert [(one.name, one.letters.tobytes().decode()) for one in read_records(folder / "y.fa")] == expected
    letters = Counter("".join(text for _, text in records))
    assert fixed.records == len(expected)
    assert fixed.changes["gaps removed"] == letters["-"] + letters["."]
    assert fixed.changes["U written as T"] == letters["u"] + letters["U"]
    assert fixed.changes["records without letters omitted"] == len(records) - len(expected)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_of_windows_becomes_plain_text_and_descriptions_are_kept(tmp_path, encoding):
    (tmp_path / "x.fa").write_bytes(f">a of caf\xe9\r\n{'acgt' * 30}\r\n".encode(encoding))
    report = check([str(tmp_path / "x.fa")], fix=str(tmp_path / "y.fa"))
    assert (tmp_path / "y.fa").read_text() == f">a of caf\xe9\n{'ACGT' * 20}\n{'ACGT' * 10}\n"
    assert report.rejection is None and report.fixed.changes["lower case written as upper case"] == 120
    assert {"byte order mark removed: 1", "UTF-16 written as UTF-8: 1"} & {
        line.split(": ", 1)[1] for line in report.fixed.lines()
    }


def test_a_copy_may_be_gzipped_and_one_that_needs_no_change_says_so(tmp_path):
    (tmp_path / "x.fa").write_text(">a\nACGTACGT\n")
    report = check(splits=SplitFiles(train=[str(tmp_path / "x.fa")]), fix=str(tmp_path / "y.fa.gz"))
    assert gzip.decompress((tmp_path / "y.fa.gz").read_bytes()) == b">a\nACGTACGT\n"
    assert "nothing had to be changed" in report.fixed.lines()[1]


@pytest.mark.parametrize("is_pipe", [False, True])
def test_a_copy_is_checked_also_if_it_is_written_to_a_pipe(tmp_path, is_pipe):
    (tmp_path / "x.fa").write_text(">a\nACGT-ACGT\n>b\nAC\n")
    reader, writer = os.pipe()
    target = f"/dev/fd/{writer}" if is_pipe else str(tmp_path / "y.fa")
    for shortest, problems in ((2, []), (5, [f"{target}: record 2"])):
        report = check([str(tmp_path / "x.fa")], fix=target, overwrite=True, records=RecordRules(min_length=shortest))
        assert [problem.split(" (")[0] for problem in report.fixed.problems] == problems
        assert (report.rejection is None) == (not problems) and report.fixed.lines()[0].startswith(target)
        written = os.read(reader, 100) if is_pipe else (tmp_path / "y.fa").read_bytes()
        assert written == b">a\nACGTACGT\n>b\nAC\n"
    os.close(reader), os.close(writer)


def test_a_copy_of_a_table_or_of_two_files_is_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_genomics.checks.check._read_files", None)
    for name, text in {"x.fa": ">a\nA\n", "y.fa": ">b\nA\n", "t.csv": "sequence\nA\n"}.items():
        (tmp_path / name).write_text(text)
    for names in (["x.fa", "y.fa"], ["t.csv"]):
        with pytest.raises(InputError, match=r"fix .* one sequence file"):
            check([str(tmp_path / name) for name in names], fix=str(tmp_path / "z.fa"))


def test_a_letter_that_no_rule_corrects_is_named_where_it_stands_and_nothing_is_written(tmp_path):
    (tmp_path / "x.fa").write_text(">a\nACGT\n>b\nAC--gt-elv\n")
    with pytest.raises(InputError, match=r"x\.fa: record 2 \('b'\), position 8: 'e' .*protein"):
        write_fixed(str(tmp_path / "x.fa"), tmp_path / "y.fa")
    assert [path.name for path in tmp_path.iterdir()] == ["x.fa"]


def test_a_record_that_is_omitted_uses_no_name_and_is_counted_once(tmp_path):
    (tmp_path / "x.fa").write_text(">a\n--\n>\n--\n>a\nACGT\n")
    fixed = write_fixed(str(tmp_path / "x.fa"), tmp_path / "y.fa")
    assert (tmp_path / "y.fa").read_text() == ">a\nACGT\n"
    assert {what: count for what, count in fixed.changes.items() if count} == {
        "records without letters omitted": 2,
        "gaps removed": 4,
    }


def test_thousands_of_records_of_one_name_are_numbered_without_trying_every_number_again(tmp_path):
    (tmp_path / "x.fa").write_text(">a\nA\n" * 20_000)  # a quadratic search would try 200 million names
    write_fixed(str(tmp_path / "x.fa"), tmp_path / "y.fa")
    assert (tmp_path / "y.fa").read_text().endswith(">a_20000\nA\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_a_no_break_space_is_a_blank_in_every_encoding(tmp_path, encoding):
    (tmp_path / "x.fa").write_bytes(">a\nAC\xa0GT\xa0\xa0A\n".encode(encoding))
    fixed = write_fixed(str(tmp_path / "x.fa"), tmp_path / "y.fa")
    assert (tmp_path / "y.fa").read_text() == ">a\nACGTA\n" and fixed.changes["blanks removed"] == 3


@pytest.mark.parametrize(
    ("text", "encoding", "letter"),
    [("AC\xa0GTÉA", "utf-8", "É"), ("AC\xa0GTÉA", "latin-1", "É"), ("AC\xa0GT©A", "utf-8", "©")],
)
def test_a_letter_beyond_ascii_is_named_as_it_is_written(tmp_path, text, encoding, letter):
    (tmp_path / "x.fa").write_bytes(b">a\n" + text.encode(encoding) + b"\n")
    with pytest.raises(InputError, match=f"position 6: '{letter}' is not a DNA letter"):
        write_fixed(str(tmp_path / "x.fa"), tmp_path / "y.fa")


def test_an_unprintable_letter_of_a_name_that_is_escaped_counts_as_a_change(tmp_path):
    (tmp_path / "x.fa").write_bytes(b">a\x01b\nACGT\n")
    fixed = write_fixed(str(tmp_path / "x.fa"), tmp_path / "y.fa")
    assert +fixed.changes == Counter({"unprintable names escaped": 1})
