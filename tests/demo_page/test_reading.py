"""What is pasted or chosen is read in memory: letters or a file of sequences, within limits."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics import InputError
from hf_genomics.demo_page.reading import MOST_BYTES, MOST_NT, MOST_SEQUENCES, read_sequences
from hf_genomics.sequence_files.fasta import read_unchecked_records

NAMES = st.text(st.characters(categories=("Lu", "Nd")), min_size=1, max_size=8)
LETTERS = st.text("ACGTNacgtnU-", min_size=1, max_size=90)


@given(
    records=st.lists(st.tuples(NAMES, LETTERS), min_size=1, max_size=4), width=st.integers(1, 40), zipped=st.booleans()
)
def test_a_file_in_memory_has_the_records_that_the_reader_of_files_finds(tmp_path_factory, records, width, zipped):
    lines = [
        f">{name} x\n" + "\n".join(dna[at : at + width] for at in range(0, len(dna), width)) for name, dna in records
    ]
    content = "\n".join(lines).encode()
    content = gzip.compress(content) if zipped else content
    path = tmp_path_factory.getbasetemp() / "demo.fa"
    path.write_bytes(content)
    found = read_sequences(content)
    expected = list(read_unchecked_records(path, rna=True))
    assert found.ids == [record.name for record in expected]
    assert all(map(np.array_equal, found.sequences, [record.letters for record in expected]))


@settings(max_examples=30)
@given(dna=LETTERS, blanks=st.lists(st.sampled_from(["", " ", "\r\n", "\t"]), min_size=90, max_size=90))
def test_blanks_and_line_ends_between_pasted_letters_do_not_count(dna, blanks):
    pasted = "".join(letter + blank for letter, blank in zip(dna, blanks, strict=False))
    (letters,) = read_sequences(pasted.encode()).sequences
    assert letters.tobytes().decode() == dna.replace("U", "T")


GENBANK = "LOCUS       x   12 bp DNA\nORIGIN\n        1 acgtacgtac gt\n//\n"


@pytest.mark.parametrize("start", ["", "\ufeff", "\n \r\n", "\ufeff\n"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (">a\nAC\n>b\nG\n", {"a": b"AC", "b": b"G"}),
        ("@a\nAC\n+\nII\n", {"a": b"AC"}),
        (GENBANK, {"x": b"ACGTACGTACGT"}),
        ("AC\nGU", {"1": b"ACGT"}),
    ],
)
def test_a_byte_order_mark_and_blank_lines_before_an_input_do_not_count(start, text, found):
    examples = read_sequences((start + text).encode())
    assert dict(zip(examples.ids, [letters.tobytes() for letters in examples.sequences], strict=True)) == found


def test_a_fasta_file_in_utf_16_is_read():
    assert read_sequences("\n>a\nACGT\n".encode("utf-16")).sequences[0].tobytes() == b"ACGT"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "paste DNA"),
        (b"\xef\xbb\xbf\n", "paste DNA"),
        (b" \n\t", "paste DNA"),
        (gzip.compress(b""), "paste DNA"),
        (b"A" * (MOST_NT + 1), "100,001"),
        (b">a\n" + b"A" * MOST_NT + b"\n>b\nC", "100,001"),
        (b"".join(b">%d\nACGT\n" % number for number in range(MOST_SEQUENCES + 1)), "51"),
        (b"A" * (MOST_BYTES + 1), "1 MiB"),
        (gzip.compress(b"A" * (64 << 20)), "1 MiB"),  # 64 kB
        (gzip.compress(b">a\nACGT" * 99)[:30], "cut short"),
        (b"@read\nACGT\n+\n", "your input"),
        (b"LOCUS x", "your input"),
    ],
)
def test_an_input_beyond_a_limit_or_damaged_is_refused_in_one_line(content, named):
    with pytest.raises(InputError, match=named) as caught:
        read_sequences(content)
    assert "\n" not in str(caught.value)
