"""Reading FASTA: what is DNA comes through letter by letter, what is not is named with its place."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.sequence_files.fasta import Record, read_chunks, read_records, read_unchecked_chunks

SHARED = Path(os.environ.get("HF_GENOMICS_DATA", Path(__file__).parents[3] / "shared" / "data"))
LETTERS = "ACGTRYSWKMBDHVNacgtryswkmbdhvn"

# file -> (records, nt), or a pattern the one-line error must match
AWKWARD: dict[str, tuple[int, int] | str] = {
    "NC_001802lc.fna": (1, 9181),
    "NC_005816.gb": (1, 9609),
    "ambig_bases.fasta": (2, 864),
    "badfasta.fasta": (3, 991),
    "bigWig1.bw": "looks like bigWig",
    "blank_seq.gb": r"record 1 \('NP_001832.1'\), position 2: 'E' .*looks like protein",
    "bug2901.fasta": r"record 3 \('seq3'\), position 24: '-' .*gaps",
    "cor6_6.gb": (6, 2819),
    "dna2.fasta": (2, 560),
    "dupe_header.fasta": r"record 2 \('MW460250_1'\): record 1 has the same name",
    "ebola_ambig_alignment.fasta.gz": (20, 378201),
    "forward_reverse_primers.fasta": (2, 35),
    "genes_bgzf.fasta.gz": (20, 69469),
    "genomic-seq.fasta": (1, 168628),
    "hs_owlmonkey.fasta": r"record 1 \('human'\), position 28: '-' .*gaps",
    "lavender.fasta": (1, 550),
    "ls_orchid.gbk.bgz": (94, 67518),
    "made_bom_comment.fasta": "text before the first header",
    "made_concatenated.fasta.gz": (2, 9185),
    "made_duplicate_names.fasta": r"record 2 \('x'\): record 1 has the same name",
    "made_empty.fasta": "the file is empty",
    "made_empty.fasta.gz": "the file is empty",
    "made_empty_records.fasta": r"record 1 \('a'\): is empty",
    "made_gaps_stars_u.fasta": r"record 1 \('gap'\), position 51: '-'",
    "made_no_header.fasta": "text before the first header: 'GGTCTC",
    "made_non_ascii_headers.fasta": (2, 500),
    "made_old_mac_cr.fasta": "carriage return without line feed",
    "made_plain_text_named.fasta.gz": (1, 9181),
    "made_protein.faa": r"record 1 \('prot'\), position 6: 'I' .*looks like protein",
    "made_short_and_n.fasta": r"record 1 \('len0'\): is empty",
    "made_single_line.fasta": (1, 9181),
    "made_truncated.fasta.gz": "cut short or damaged",
    "mirbase_hairpin.fa.gz": r"record 1 \('cel-let-7'\), position 1: 'U' .*--records.rna true",
    "negative_location.gb": (1, 6497),
    "pictogram.fasta": r"record 4 \('seq3'\): record 3 has the same name",
    "pyfastx_test.fa.gz": (211, 86262),
    "rna.fa": r"record 1 \('LOC_Os10g33000'\), position 2: 'U' .*--records.rna true",
    "spaced_fasta.fasta": (37, 12637),
    "sweetpea.fasta": (1, 309),
    "testMask.2bit": (5, 65),
    "testN.2bit": (2, 24),
    "wisteria.fasta": (1, 2551),
}
needs_shared = pytest.mark.skipif(
    not (SHARED / "awkward").is_dir(),
    reason="the awkward files are not here; set HF_GENOMICS_DATA to their data folder",
)


def records_of(path: Path, content: bytes, **options: bool | int) -> list[Record]:
    """Write a file and read it back."""
    path.write_bytes(content)
    return list(read_records(path, **options))


def error_of(path: Path, content: bytes | None = None, **options: bool | int) -> str:
    """Return the message of the error that reading raises; it is one line that starts with the file."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_records(path, **options))
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and "\0" not in message
    return message


@needs_shared
@pytest.mark.parametrize(("file", "verdict"), AWKWARD.items(), ids=list(AWKWARD))
def test_awkward_file_gets_the_right_verdict(file: str, verdict: tuple[int, int] | str) -> None:
    path = SHARED / "awkward" / file
    if isinstance(verdict, str):
        assert re.search(verdict, error_of(path))
    else:
        lengths = [len(record.letters) for record in read_records(path)]
        assert (len(lengths), sum(lengths)) == verdict


@needs_shared
def test_every_awkward_file_has_a_verdict() -> None:
    assert {path.name for path in (SHARED / "awkward").iterdir()} == set(AWKWARD)


@needs_shared
@pytest.mark.parametrize(("file", "counts"), {"mirbase_hairpin.fa.gz": (28645, 2949871), "rna.fa": (2, 720)}.items())
def test_rna_files_are_read_when_asked(file: str, counts: tuple[int, int]) -> None:
    lengths = [len(record.letters) for record in read_records(SHARED / "awkward" / file, rna=True)]
    assert (len(lengths), sum(lengths)) == counts


def test_case_ambiguity_and_headers_come_through(tmp_path: Path) -> None:
    one, two = records_of(tmp_path / "x.fa", b"# a comment\n>a  two words \nACgt\nNNry\n\n>b\tx\r\nA\r\n")
    assert one[:2] == ("a", "two words") and one.letters.tobytes() == b"ACgtNNry"
    assert two[:2] == ("b", "x") and two.letters.tobytes() == b"A"
    assert one.letters.dtype == np.uint8 and one.letters.flags.writeable


def test_u_is_read_as_t_with_its_case_when_rna_is_asked_for(tmp_path: Path) -> None:
    (record,) = records_of(tmp_path / "x.fa", b">a\nAUGu\n", rna=True)
    assert record.letters.tobytes() == b"ATGt"
    assert "'u' is not a DNA letter; this is RNA; write T for U, or set --records.rna true" in error_of(
        tmp_path / "y.fa", b">a\nATGu\n"
    )


@pytest.mark.parametrize(
    ("sequence", "position", "letter", "hint"),
    [
        (b"ACG-T", 4, "'-'", "gaps"),
        (b"ACG\nTA.A", 6, "'.'", "gaps"),
        (b"ACG*", 4, "'*'", "protein"),
        (b"ACGEACG", 4, "'E'", "looks like protein"),
        (b"mkl", 3, "'l'", "looks like protein"),
        (b"ACG TAC", 4, "' '", "blanks"),
        (b"ACG\tTAC", 4, r"'\t'", "blanks"),
        (b"AC1", 3, "'1'", "numbers"),
        (b"AC\0GT", 3, r"'\x00'", "damaged"),
        (b"ACX", 3, "'X'", "write N"),
        (b"ACG>b", 4, "'>'", "header in the middle"),
        ("ACé".encode(), 3, "'é'", "only A, C, G, T, N"),
        (b"AC\xe9", 3, "'é'", "only A, C, G, T, N"),
        (b"ACJ", 3, "'J'", "only A, C, G, T, N"),
    ],
)
def test_bad_letter_is_named_with_record_and_position(
    tmp_path: Path, sequence: bytes, position: int, letter: str, hint: str
) -> None:
    message = error_of(tmp_path / "x.fa", b">ok\nA\n>bad one\n" + sequence + b"\n>next\nC\n")
    assert f"record 2 ('bad'), position {position}: {letter} is not a DNA letter; " in message and hint in message


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"\n \n\n", "no record in this file"),
        (b"# only a comment\n", "no record in this file"),
        (b">a\nAC\n>\nAC\n", "record 2: has no name"),
        (b">a\x07b\nAC\n", "unprintable character"),
        (b">a\nAC\n>b\n", r"record 2 \('b'\): is empty"),
        (b">a\rACGT\n", "carriage return"),
        (b">a\nACGT\r", "carriage return"),
        (b">a\r\r\nACGT\r\r\n", "carriage return"),
        (b"; old comment\n>a\nACGT\n", "text before the first header: '; old comment'"),
        (b"<!DOCTYPE html>\n<html>", "HTML"),
        (b"ID   X; SV 1;\n", "EMBL"),
        (b"##fileformat=VCFv4.2\n", "VCF"),
        (b"PK\x03\x04", "zip"),
        (b"BZh91AY", "bzip2"),
        (b"@r\nACGT\n+\nII\n", "fix the file"),
        (b"@r\nACGT\n", "fix the file"),
        (b"@r\nAC-T\n+\nIIII\n", r"record 1 \('r'\), position 3: '-'"),
    ],
)
def test_file_that_is_no_dna_is_refused_in_one_line(tmp_path: Path, content: bytes, pattern: str) -> None:
    assert re.search(pattern, error_of(tmp_path / "x.fa", content))
    assert re.search(pattern, error_of(tmp_path / "x.fa.gz", gzip.compress(content)))


def test_missing_file_and_folder_are_input_errors(tmp_path: Path) -> None:
    assert "no such file" in error_of(tmp_path / "none.fa")
    assert "is a folder" in error_of(tmp_path)


def test_record_below_the_minimum_length_is_refused(tmp_path: Path) -> None:
    content = b">a\nACGTAC\n>b\nACGTA\n"
    assert len(records_of(tmp_path / "x.fa", content, min_length=5)) == 2
    message = error_of(tmp_path / "x.fa", content, min_length=6)
    assert "record 2 ('b'): 5 nt is shorter than the 6 nt needed" in message


def test_gzip_damage_of_each_kind_is_an_input_error(tmp_path: Path) -> None:
    whole = gzip.compress(b">a\n" + bytes(np.random.default_rng(0).choice(list(b"ACGT"), 100_000)), mtime=0)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for damaged in (whole[:5], whole[: len(whole) // 2], whole[:-4], bytes(flipped), whole + b"garbage"):
        assert "cut short or damaged" in error_of(tmp_path / "x.fa.gz", damaged)


def test_names_that_are_not_ascii_are_kept_as_far_as_they_decode(tmp_path: Path) -> None:
    utf8, latin = records_of(tmp_path / "x.fa", ">Größe α\nA\n".encode() + b">caf\xe9\nC\n")
    assert utf8[:2] == ("Größe", "α") and latin.name == r"caf\xe9"


LINES = st.lists(
    st.one_of(
        st.sampled_from([b">", b">a", b">b c", ">é".encode(), b"", b"#x", b" ", b"AC GT", b"A>C", b"\tA\t", b"A\rC"]),
        st.text("ACGTNacgt", max_size=40).map(str.encode),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(LINES.map(b"\n".join), st.sampled_from([1, 3, 8]))
def test_chunks_are_the_records_and_refused_for_the_same_reason(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, min_length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "chunks.fa"
    path.write_bytes(content)
    seen, found = bytearray(), {}
    try:
        expected = {record.name: record.letters.tobytes() for record in read_records(path, min_length=min_length)}
    except InputError as error:
        with pytest.raises(InputError) as caught:
            list(read_chunks(path, min_length=min_length))
        # A fault of the file may hide one of the record before, which a record that is read whole is not yet.
        assert str(caught.value) == str(error) or "carriage return" in str(error)
        return
    for chunk in read_chunks(path, min_length=min_length, watch=seen.extend):
        assert chunk.start == len(found.get(chunk.name, b""))
        found[chunk.name] = found.get(chunk.name, b"") + chunk.letters
    assert found == expected and bytes(seen) == content


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text("abcxyz|.-_", min_size=1), st.text(LETTERS, min_size=1)), min_size=1, unique_by=lambda r: r[0]
    ),
    st.integers(1, 80),
    st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
    st.booleans(),
)
def test_writing_then_reading_gives_the_records_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str]], width: int, newline: bytes, zipped: bool
) -> None:
    lines = []
    for name, sequence in records:
        lines += [f">{name}", *(sequence[i : i + width] for i in range(0, len(sequence), width))]
    content = newline.join(line.encode() for line in lines)
    path = tmp_path_factory.getbasetemp() / "law.fa"
    found = records_of(path, gzip.compress(content) if zipped else content)
    assert [(record.name, record.letters.tobytes().decode()) for record in found] == records


@settings(deadline=None)
@given(st.text(LETTERS, max_size=40), st.characters(codec="latin-1"), st.text(LETTERS, max_size=40))
def test_the_position_is_that_of_the_first_letter_a_plain_loop_refuses(
    tmp_path_factory: pytest.TempPathFactory, before: str, letter: str, after: str
) -> None:
    sequence = before + letter + after
    if letter.isspace() or letter in "\x1c\x1d\x1e\x1f" or (letter in "#>" and not before):
        return  # blanks at the ends are trimmed; a line that starts with one of these two is no sequence
    path = tmp_path_factory.getbasetemp() / "position.fa"
    bad = [index for index, character in enumerate(sequence, start=1) if character not in LETTERS]
    if bad:
        assert f"position {bad[0]}: " in error_of(path, f">a\n{sequence}\n".encode())
    else:
        assert len(records_of(path, f">a\n{sequence}\n".encode())) == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_as_windows_saves_it_gives_the_same_records(tmp_path, encoding, end):
    texts = {
        "fasta": f">a \xe9{end}ACGT{end}GG{end}>b{end}{'TTGACC' * 20000}{end}",
        "fastq": f"@a{end}ACGT{end}+{end}IIII{end}",
    }
    for kind, text in texts.items():
        (tmp_path / "plain").write_bytes(text.encode())
        (tmp_path / "other").write_bytes(text.encode(encoding))
        found = [
            [(r.name, r.description, r.letters.tobytes()) for r in read_records(tmp_path / name)]
            for name in ("plain", "other")
        ]
        assert found[0] == found[1] and len(found[0]) == {"fasta": 2, "fastq": 1}[kind]
        assert b"".join(chunk.letters for chunk in read_unchecked_chunks(tmp_path / "other")) == b"".join(
            letters for _, _, letters in found[0]
        )
