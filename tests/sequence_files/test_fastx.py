"""Parsing FASTA and FASTQ in chunks: nothing is lost between chunks, and all agrees with reading line by line."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.sequence_files import fastx as fastx_module
from hf_genomics.sequence_files.fasta import Record, read_records


def records_of(path: Path, content: bytes) -> list[Record]:
    """Write a file and read it back."""
    path.write_bytes(content)
    return list(read_records(path))


def test_fastq_and_gzip_are_told_by_content(tmp_path: Path) -> None:
    fastq = "@r1 größe\nACGN\n+\nIIII\n@r2\r\nAC\r\n+\r\nII\r\n".encode()
    for content in (fastq, gzip.compress(fastq), gzip.compress(fastq[:25]) + gzip.compress(fastq[25:])):
        records = records_of(tmp_path / "reads.fasta", content)
        assert [record.letters.tobytes() for record in records] == [b"ACGN", b"AC"]


def test_nothing_is_lost_where_chunks_of_the_file_meet(tmp_path: Path) -> None:
    lines = fastx_module._BLOCK_BYTES // 6 - 1
    for shift in range(6):  # CR and LF, and the bytes of one letter of a name, fall on both sides of a block's end
        text = b"ACGT\r\n" * lines + b"A" * shift + b"\r\n"
        first, second = records_of(tmp_path / "x.fa", b">a\r\n" + text + ">é\r\nC\r\n".encode())
        assert len(first.letters) == 4 * lines + shift and second.name == "é"


def parts_slowly(content: bytes) -> list[tuple[str, bytes]]:
    """Read FASTA line by line: the obvious twin of `fasta_chunks`."""
    if content.count(b"\r") != content.count(b"\r\n"):
        raise InputError("carriage return without line feed")
    records: list[tuple[str, bytes]] = []
    for line in content.split(b"\n"):
        if line.startswith(b">"):
            records.append((line[1:].decode("utf-8", "backslashreplace").strip(), b""))
        elif not line.startswith(b"#") and (letters := line.strip(b" \t\r")):
            if not records:
                raise InputError("text before the first header")
            records[-1] = (records[-1][0], records[-1][1] + letters)
    return records


LINES = st.lists(
    st.one_of(
        st.sampled_from([b">", b">a", b">b c", ">é".encode(), b"", b"#x", b" ", b"AC GT", b"A>C", b"\tA\t", b"A\rC"]),
        st.text("ACGTNacgt", max_size=40).map(str.encode),
    ),
    max_size=12,
)


@given(LINES, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.integers(1, 9))
def test_reading_in_blocks_agrees_with_reading_line_by_line(
    lines: list[bytes], newline: bytes, ended: bool, block: int
) -> None:
    content = newline.join(lines) + newline * ended
    found: list[tuple[str, bytes]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastx_module, "_BLOCK_BYTES", block)
        patch.setattr(fastx_module, "_LONGEST_LINE", 12)
        try:
            expected = parts_slowly(content)
        except InputError:  # of two faults either may come first
            with pytest.raises(InputError, match="carriage return without line feed|text before the first header"):
                list(fastx_module.fasta_chunks(io.BufferedReader(io.BytesIO(content)), "x"))
            return
        for header, letters in fastx_module.fasta_chunks(io.BufferedReader(io.BytesIO(content)), "x"):
            if header is not None:
                found.append((header.strip(), letters))
            else:
                found[-1] = (found[-1][0], found[-1][1] + letters)
    assert found == expected


def test_a_header_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastx_module, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(fastx_module, "_LONGEST_LINE", 256)
    with pytest.raises(InputError, match="a header of more than 256 letters"):
        records_of(tmp_path / "x.fa", b">a" + b"x" * 1000)


def test_a_record_after_a_line_whose_later_piece_begins_with_a_bracket_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fastx_module, "_BLOCK_BYTES", 16)
    monkeypatch.setattr(fastx_module, "_LONGEST_LINE", 12)
    content = b">a\n" + b"A" * 13 + b">CC\n>b\nG\n"
    chunks = fastx_module.fasta_chunks(io.BufferedReader(io.BytesIO(content)), "x")
    assert [header for header, _ in chunks if header is not None] == ["a", "b"]


def test_the_last_record_of_a_fastq_file_that_is_cut_short_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3") as error:
        records_of(tmp_path / "x.fastq", b"@patient_7\nACGTACGTAC\n")
    assert "patient" not in str(error.value) and "ACGT" not in str(error.value)
