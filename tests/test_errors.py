"""The two errors that end with one line, and what a line for a user never shows."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics import errors
from hf_genomics.cli import main
from hf_genomics.errors import (
    MOST_LETTERS,
    InputError,
    StoppedError,
    cut_sequences,
    escape_controls,
    hide_names,
    is_private,
    keep_secret,
    line_for_user,
    lines_for_user,
    private_run,
    shown_name,
)

DNA = "ACGTTGCATTAGGCATCAGACCATTGACCGATCGGATTACAGGCTTAACGGATC"
IUPAC = "ACGTRYKMSWBDHVNACGTRYKMSWBDHVNACGTRYKMSWBDHVN"
PROTEIN = "MKVLAAGIVGLLLAQWERTYEDFPILQEFHKNMPSTVWYACDEF"
# A sequence as files and libraries write it.
WRITTEN = {
    "whole": DNA,
    "lower case": DNA.lower(),
    "soft-masked": DNA[:20] + DNA[20:].lower(),
    "RNA": DNA.replace("T", "U"),
    "IUPAC codes": IUPAC,
    "behind a name": "contig1" + DNA,
    "behind a word": "myseq" + DNA,
    "behind a sign": ">" + DNA,
    "k-mers": " ".join(DNA[start : start + 6] for start in range(40)),
    "k-mers and commas": ",".join(DNA[start : start + 3] for start in range(40)),
    "single letters": "', '".join(DNA),
    "lines": "\n".join(DNA[start : start + 10] for start in range(0, 50, 10)),
    "lines of Windows": "\r\n".join(DNA[start : start + 10] for start in range(0, 50, 10)),
    "escaped lines": "\\n".join(DNA[start : start + 10] for start in range(0, 50, 10)),
    "escaped twice": repr(repr("\n".join(DNA[start : start + 10] for start in range(0, 50, 10)))),
    "colours": "\x1b[31m".join(DNA[start : start + 10] for start in range(0, 50, 10)),
    "GenBank": " ".join(f"{start + 1} {DNA[start : start + 10].lower()}" for start in range(0, 50, 10)),
    "cells": "'" + "', '1', '".join([DNA[:25], DNA[25:], DNA[:25]]) + "'",
    "tabs": "\t".join([DNA[:25], DNA[25:]]),
    "aligned": "---".join([DNA[:20], DNA[20:40], "......", DNA[40:]]),
    "with a wrong letter": "E".join([DNA[:20], DNA[20:40], DNA]),
}
PROTEINS = {"protein": PROTEIN, "lower case": PROTEIN.lower(), "wrapped": f"{PROTEIN[:25]}\n{PROTEIN[25:]}"}


def test_a_mistake_of_the_users_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="line"):
        raise InputError("line")


@pytest.mark.parametrize(("error", "code"), [(InputError("why"), 2), (StoppedError("why", 143), 143)])
def test_both_end_with_their_line_and_exit_code(error: Exception, code: int, monkeypatch, capsys) -> None:
    def push(model: str) -> None:
        raise error

    monkeypatch.setattr("hf_genomics.push", push, raising=False)
    assert main(["push", "--model", "x"]) == code
    assert capsys.readouterr().err == "hf-genomics: error: why\n"


def letters_shown(line: str) -> int:
    """Count the letters of sequences in a line that has no other words than "x", by a plain rule."""
    line = re.sub(r"\\x1b\[\d+m|\\x[0-9a-f]{2}|\\+[nrt]|contig|myseq", "", line)
    return len(re.findall(r"(?i)[ACGTUNRYSWKMBDHV]", line))


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("frame", ["{}", "x.fa: '{}'", "x.fa: {}; x", "x.fa: x ({})"])
def test_at_most_thirty_letters_of_a_sequence_are_shown_however_it_is_written(text: str, frame: str) -> None:
    message = str(InputError(frame.format(text)))
    assert letters_shown(message.removeprefix("x.fa")) <= MOST_LETTERS and "..." in message and "\n" not in message
    assert message.startswith(frame.split("{")[0])


@pytest.mark.parametrize("text", PROTEINS.values(), ids=PROTEINS)
def test_protein_is_cut_too(text: str) -> None:
    message = line_for_user(f"x.fa: '{text}'")
    assert len(message) <= len("x.fa: ''\\n...") + MOST_LETTERS


@pytest.mark.parametrize(
    "message",
    [
        f"x.fa: {DNA} x {DNA}",
        f"x.fa: {DNA[:25]} x {DNA[:25]}",
        f"x.fa: {' x '.join([DNA[:11]] * 5)}",
        f"x.fa: {DNA} x '{PROTEIN}'",
        f"x {DNA}.: x.fa",
        f"x.fa x {DNA}: x",
        f"x.fa x {DNA[:20]}\n{DNA[20:]}: x {DNA}",
        f"{DNA}. {DNA}: x",
        f"{DNA}/{DNA}: x",
        f"{DNA}..{DNA}: x",
    ],
)
def test_all_sequences_in_a_line_together_have_at_most_thirty_letters_also_before_its_first_colon(message: str) -> None:
    for show in (line_for_user, lines_for_user):
        words = re.sub(r"x\.fa|\\n", "", show(message))
        assert len(re.findall("[A-Z]", words)) <= MOST_LETTERS and "..." in words


@given(st.lists(st.text("ACGTacgtN", min_size=1, max_size=80), min_size=1, max_size=6), st.sampled_from(" \n-,'|1;"))
def test_no_run_of_more_than_thirty_letters_passes(pieces: list[str], between: str) -> None:
    shown = line_for_user(between.join(pieces))
    assert len(re.sub(r"\\n|[^A-Za-z]", "", shown)) <= MOST_LETTERS + 2
    assert not re.search(r"[A-Za-z]{31}", shown) and line_for_user(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "HierarchicalKmerBertForSequenceClassification: only A, C, G, T, N and the IUPAC codes RYSWKMBDHV are fine",
        "the columns are 'chr1', 'chr2', 'chr3', 'chr4', 'chr5', 'chr6', 'chr7', 'chr8', ... (12 in all)",
        "the classes are 'BACTERIA', 'ARCHAEA', 'EUKARYOTA', 'VIRUSES', 'PLASMIDS', 'TRANSPOSONS'",
        "x.fa: record 3 ('NC_001416.1'), position 31: '-' is not a DNA letter; gaps belong to an alignment",
        "x.fa: text before the first header: 'ACGTACGTAC'; a record starts with a line '>name'",
        "backward compatible standard data; cast as such by a standard",
    ],
)
def test_names_and_prose_stay_whole(text: str) -> None:
    assert line_for_user(text) == text


def test_names_of_files_stay_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(DNA).write_text("")
    for text in (f"{DNA}.fa: missing", f"a b/{DNA}/x: missing", f"{DNA}: empty", f"the file '{DNA}' is empty"):
        assert cut_sequences(text) == text
    assert DNA[:40] not in cut_sequences(f"{DNA}.fa: {DNA[1:]}A").partition(": ")[2]


def test_the_words_after_a_sequence_stay() -> None:
    assert line_for_user(f"x.fa: '{DNA}'; a record").endswith("...'; a record")
    assert line_for_user(f"x.fa: columns '{DNA}', 'a'").endswith("...', 'a'")
    assert line_for_user(f"x.fa: '{DNA},{DNA[0]}...'; give FASTA").endswith("...'; give FASTA")


@given(st.text())
def test_a_line_is_one_printable_line(text: str) -> None:
    line = line_for_user(text)
    assert len(line.splitlines()) <= 1 and escape_controls(line) == line
    line.encode()  # no lone surrogates, which a terminal could not show
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line)


NAME = st.text("abcXYZ019_.|-#/", min_size=3, max_size=90).filter(lambda name: not name.isdigit())


@given(
    names=st.lists(NAME, min_size=1, max_size=4),
    ends=st.lists(st.sampled_from([" ", "'", ", ", ": ", " ("]), min_size=4),
)
def test_no_name_of_a_private_record_is_left_between_blanks_or_punctuation(names, ends):
    with private_run(True):
        keep_secret(names)
        text = "record 3 " + "".join(f"{end}{name} {end}" for name, end in zip(names, ends, strict=False)) + "x"
        shown = hide_names(text)
        assert all(shown_name(name) in shown for name, _ in zip(names, ends, strict=False))
        assert hide_names("record 3 is empty") == "record 3 is empty" or "record" in names
    assert hide_names(text) == text and not is_private()


@given(names=st.lists(NAME, min_size=1, max_size=8), words=st.lists(NAME, max_size=3))
def test_the_names_in_a_text_are_the_same_however_many_names_there_are(names, words):
    with private_run(True):
        keep_secret([*names, *(f"{number:07}" for number in range(3000))])
        text = " ".join([*words, *names[:2], "x"])
        assert errors._names_in(text) == {name for name in errors._names if name in text}


def test_names_in_messages_are_hidden_also_shortened_or_in_quotes_but_not_names_of_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_GENOMICS_PRIVATE", "secret")
    monkeypatch.chdir(tmp_path)
    Path("patient7.fa").touch()
    long = "patient_" + "x" * 80
    with private_run(False):
        keep_secret(["patient7", "a", "12", "Ann Meier", long])
        assert (
            line_for_user("patient7.fa: record 1 ('patient7')") == f"patient7.fa: record 1 ('{shown_name('patient7')}')"
        )
        assert line_for_user("row 12: a name 'a', '12'") == f"row 12: a name '{shown_name('a')}', '{shown_name('12')}'"
        assert "Ann" not in line_for_user("t.csv: pair Ann Meier of 3 nt")
        assert "xxx" not in line_for_user(f"x.fa: record 2 ({long[:57] + '...'!r})")
        assert line_for_user("see patient7.fa") == "see patient7.fa"
        assert shown_name("patient7") == "#" + hashlib.blake2b(b"patient7", key=b"secret", digest_size=4).hexdigest()
        assert os.environ["HF_GENOMICS_PRIVATE"] == "secret"


def test_a_private_name_is_hidden_however_long_the_word_is_in_which_it_stands():
    long, listed = "|".join(["Meier"] * 50), ["Ann_1", "Bob_2"]
    with private_run(True):
        keep_secret([long, *listed])
        assert hide_names(f"record 7 ({long}): is empty") == f"record 7 ({shown_name(long)}): is empty"
        assert hide_names(",".join(listed * 30)) == ",".join([*map(shown_name, listed)] * 30)


def test_two_private_runs_share_no_hash_unless_the_user_gives_a_key():
    hashes = set()
    for _ in range(2):
        with private_run(True):
            hashes.add(shown_name("patient7"))
    assert len(hashes) == 2 and shown_name("patient7") == "patient7"


# Names that Python's repr, or the escapes of a line, spell differently.
PART = st.text("aé\\'\"\x07\t\u200b\xa0 ", max_size=33)
SPELLED = st.tuples(PART, PART).map(lambda parts: "aéa".join(parts).strip())


@given(SPELLED)
def test_a_private_name_has_one_hash_however_a_message_spells_it(name):
    with private_run(True):
        keep_secret([name])
        for written in (name, repr(name), f"'{name}'"):
            for show in (line_for_user, lines_for_user):
                assert shown_name(name) in show(f"x.fa: record {written}: empty")


def test_a_name_with_an_accent_and_an_invisible_character_is_hidden():
    with private_run(True):
        keep_secret(["Jos\xe9\u200b7", "5'UTR_Meier", "ward\\Meier"])
        line = line_for_user("x.fa: 'Jos\xe9\u200b7', 5'UTR_Meier of 3 nt, " + repr("ward\\Meier"))
    assert "Jos" not in line and "Meier" not in line
