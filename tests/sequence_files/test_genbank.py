"""Reading GenBank: names, definitions and letters of every record, and what is cut short or has no letters."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.sequence_files import genbank as genbank_module
from hf_genomics.sequence_files.fasta import Record, read_records

FEATURES = """\
KEYWORDS    .
FEATURES             Location/Qualifiers
     source          1..9
                     /note="ORIGIN of replication // LOCUS here"
CONTIG      join(X.1:1..9)
"""


def entry(name: str, letters: str, length: int | None = None, end: str = "//\n") -> str:
    """Write a record as GenBank does: six blocks of ten letters on a line."""
    lines = []
    for start in range(0, len(letters), 60):
        blocks = [letters[place : place + 10] for place in range(start, min(start + 60, len(letters)), 10)]
        lines.append(f"{start + 1:>9} {' '.join(blocks)}\n")
    stated = len(letters) if length is None else length
    return (
        f"LOCUS       {name:<16} {stated} bp    DNA     linear   PHG 01-JAN-2000\n"
        f"DEFINITION  A phage called\n            {name}.\nACCESSION   {name}\nVERSION     {name}.1  GI:1\n"
        f"{FEATURES}ORIGIN      \n{''.join(lines)}{end}"
    )


def read(path: Path, content: str) -> list[Record]:
    path.write_bytes(content.encode())
    return list(read_records(path))


def test_name_definition_and_upper_case_letters_are_read(tmp_path: Path) -> None:
    content = entry("AB1", "acgtnryacgtacgt" * 5) + "\n" + entry("AB2", "ac")
    for text in (content, content.replace("\n", "\r\n")):
        one, two = read(tmp_path / "x", text)
        assert one[:2] == ("AB1.1", "A phage called AB1") and two.name == "AB2.1"
        assert one.letters.tobytes() == b"ACGTNRYACGTACGT" * 5 and two.letters.tobytes() == b"AC"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.text("acgtn", min_size=1, max_size=300), min_size=1, max_size=4), st.integers(1, 4))
def test_writing_then_reading_gives_the_records_back(tmp_path: Path, sequences: list[str], lines: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(genbank_module, "_LINES", lines)
        records = read(tmp_path / "x", "".join(entry(f"S{i}", sequence) for i, sequence in enumerate(sequences)))
    assert [record.letters.tobytes().decode().lower() for record in records] == sequences


NAMELESS = entry("AB2", "acgt").partition("GI:1\n")[2]  # a record that has lost its first lines


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (entry("AB1", "acgt") + NAMELESS + entry("AB3", "acgt"), "record 2 has no name.*fetch it again"),
        ("LOCUS \n" + NAMELESS, "record 1 has no name"),
        (entry("AB1", "acgt", end=""), r"record 1 \('AB1.1'\): no // at its end; the file is cut short"),
        (entry("AB1", "acgt")[:60], r"record 1 \('AB1'\): no // at its end"),
        (entry("AB1", "acgt", length=5), "4 letters where LOCUS says 5; the file is damaged"),
        (entry("AB1", "").replace("ORIGIN      \n", ""), r"has no letters \(ORIGIN\).*gbwithparts"),
        (entry("AB1", ""), r"has no letters \(ORIGIN\)"),
        (entry("AB1", "acgt").replace("acgt", "ac1t"), r"record 1 \('AB1.1'\), position 3: '1' is not a DNA letter"),
        (entry("AB1", "mkvl"), r"record 1 \('AB1.1'\), position 4: 'L' .*looks like protein"),
        (entry("AB1", "acgt") * 2, r"record 2 \('AB1.1'\): record 1 has the same name"),
        ("LOCUS       x\r", "no // at its end"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_record(tmp_path: Path, content: str, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern) as caught:
        read(tmp_path / "x.gb", content)
    assert str(caught.value).startswith(str(tmp_path / "x.gb")) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file", ["awkward/NC_005816.gb", "awkward/cor6_6.gb", "awkward/ls_orchid.gbk.bgz", "genomes/yeast_chr1.gb.gz"]
)
def test_biopython_reads_the_same(data_dir: Path, file: str) -> None:
    parse = pytest.importorskip("Bio.SeqIO").parse
    path = data_dir / file
    with gzip.open(path, "rt") if path.read_bytes()[:2] == b"\x1f\x8b" else open(path) as handle:
        theirs = [(entry.id, entry.description, str(entry.seq)) for entry in parse(handle, "genbank")]
    ours = [(name, text, letters.tobytes().decode()) for name, text, letters in read_records(path)]
    assert ours == theirs
