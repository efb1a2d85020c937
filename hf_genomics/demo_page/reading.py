"""Read what a visitor of the page has pasted or chosen: letters, or a file of sequences, in memory only."""

from __future__ import annotations

import gzip
import io

import numpy as np

from ..errors import InputError
from ..io.files import as_utf8, input_errors
from ..io.kinds import START_BYTES, kind_of_start
from ..labelled.sequences import LabelledSequences
from ..sequence_files.fasta import read_unchecked_content

MOST_BYTES = 1 << 20  # largest request, and largest file after decompression: 1 MiB
MOST_NT = 100_000  # largest total length of the sequences
MOST_SEQUENCES = 50
#: What messages call the input.
SOURCE = "your input"

#: Beginnings of FASTA (or of comments in it), FASTQ, GenBank and 2bit files; anything else is taken for the letters of
#: one sequence.
_STARTS = (b">", b"@", b";", b"LOCUS ", b"#", b"\x1aA'C", b"C'A\x1a")
_AS_DNA = bytes.maketrans(b"Uu", b"Tt")


def read_sequences(content: bytes) -> LabelledSequences:
    """Read the sequences of an input. Their letters are not checked here, but before they are scored.

    Args:
        content: the letters of one sequence, in which blanks and line ends do not count, or the content of a FASTA,
            FASTQ, GenBank or 2bit file, plain or gzipped. U is read as T.

    Returns:
        The sequences and their names; a sequence without a name gets its number as its name.

    Raises:
        InputError: if the input is empty, exceeds a limit, or is a damaged file.
    """
    content = _unzipped(content)
    encoding = kind_of_start(content[:START_BYTES]).encoding
    content = as_utf8(io.BufferedReader(io.BytesIO(content)), encoding).read().lstrip()
    if not content:
        raise InputError("no sequence: paste DNA, or choose a FASTA file")
    if content.startswith(_STARTS):
        records = [(record.name, record.letters) for record in read_unchecked_content(content, SOURCE, rna=True)]
    else:
        records = [("", np.frombuffer(b"".join(content.split()).translate(_AS_DNA), np.uint8))]
    total = sum(len(letters) for _, letters in records)
    if total > MOST_NT:
        raise InputError(
            f"{SOURCE} has {total:,} nt, the page takes {MOST_NT:,}; shorten it, or run hf-genomics predict"
        )
    if len(records) > MOST_SEQUENCES:
        raise InputError(
            f"{SOURCE} has {len(records):,} sequences, the page takes {MOST_SEQUENCES}; give fewer, or run "
            "hf-genomics predict"
        )
    names = [name or str(number) for number, (name, _) in enumerate(records, start=1)]
    return LabelledSequences(SOURCE, names, [letters for _, letters in records])  # without labels


def _unzipped(content: bytes) -> bytes:
    """Return the decompressed content of an input; raise InputError if it is too large or damaged."""
    if content[:2] == b"\x1f\x8b":
        with input_errors(SOURCE), gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            content = file.read(MOST_BYTES + 1)  # a small file may decompress to gigabytes
    if len(content) > MOST_BYTES:
        raise too_large()
    return content


def too_large() -> InputError:
    """Return the error for an input with too many bytes."""
    return InputError(f"{SOURCE} is larger than {MOST_BYTES >> 20} MiB; shorten it, or run hf-genomics predict")
