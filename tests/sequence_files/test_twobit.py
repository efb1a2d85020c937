"""Reading 2bit: what faToTwoBit would write comes back letter by letter, and damage is named."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.sequence_files import twobit as twobit_module
from hf_genomics.sequence_files.fasta import read_records

ORDERS_AND_VERSIONS = [("<", 0), (">", 0), ("<", 1), (">", 1)]


def runs(flags: list[bool]) -> tuple[list[int], list[int]]:
    """Starts and sizes of the stretches of true flags."""
    edges = np.flatnonzero(np.diff([0, *map(int, flags), 0]))
    return edges[::2].tolist(), (edges[1::2] - edges[::2]).tolist()


def write_twobit(path: Path, sequences: dict[str, str], order: str = "<", version: int = 0) -> bytes:
    """Write a 2bit file by its description; letters are A, C, G, T, N in either case."""
    size = 8 if version else 4
    place = 16 + sum(1 + len(name.encode()) + size for name in sequences)
    index, bodies = b"", b""
    for name, sequence in sequences.items():
        body = struct.pack(order + "I", len(sequence))
        for flags in ([c in "Nn" for c in sequence], [c.islower() for c in sequence]):
            starts, sizes = runs(flags)
            body += struct.pack(f"{order}{1 + 2 * len(starts)}I", len(starts), *starts, *sizes)
        digits = ["TCAGN".index(c) % 4 for c in sequence.upper()] + [0] * (-len(sequence) % 4)
        body += struct.pack(order + "I", 0)
        body += bytes(
            a << 6 | b << 4 | c << 2 | d for a, b, c, d in zip(*(digits[i::4] for i in range(4)), strict=True)
        )
        index += bytes([len(name.encode())]) + name.encode()
        index += struct.pack(order + ("Q" if version else "I"), place + len(bodies))
        bodies += body
    content = struct.pack(order + "4I", 0x1A412743, version, len(sequences), 0) + index + bodies
    path.write_bytes(content)
    return content


def read(path: Path) -> dict[str, str]:
    return {record.name: record.letters.tobytes().decode() for record in read_records(path)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text("abc|.é", min_size=1, max_size=5), st.text("ACGTNacgtn", min_size=1, max_size=90), min_size=1
    ),
    st.sampled_from(ORDERS_AND_VERSIONS),
    st.sampled_from([4, 8, 64, 1 << 18]),
)
def test_writing_then_reading_gives_the_records_back(
    tmp_path: Path, sequences: dict[str, str], layout: tuple[str, int], part: int
) -> None:
    content = write_twobit(tmp_path / "x", sequences, *layout)
    (tmp_path / "y").write_bytes(gzip.compress(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twobit_module, "_CHUNK_NT", part)
        assert read(tmp_path / "x") == read(tmp_path / "y") == sequences


def test_masks_and_n_of_ucscs_own_files(data_dir: Path) -> None:
    assert read(data_dir / "awkward" / "testMask.2bit") == {
        "startLower": "aaacagtaaAAAACCC",
        "endLower": "AAAACCCaaacagtaa",
        "manyLower": "aaCCggTTaCgT",
        "allLower": "taaaacaaaaag",
        "noLower": "ACGTTTACT",
    }
    assert read(data_dir / "awkward" / "testN.2bit") == {"startN": "NANNAANNNAAA", "startNonN": "ANAANNAAANNN"}


@pytest.mark.parametrize(("order", "version"), ORDERS_AND_VERSIONS)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, order: str, version: int) -> None:
    content = write_twobit(tmp_path / "x.2bit", {"a": "NNACGTacgtn", "b": "ACGTTGCA" * 3}, order, version)
    for size in range(4, len(content)):
        (tmp_path / "cut.2bit").write_bytes(content[:size])
        with pytest.raises(InputError, match=r"cut.2bit: ends at byte \d+; the 2bit file is cut short or damaged"):
            read(tmp_path / "cut.2bit")


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    content = write_twobit(tmp_path / "x.2bit", {"a": "NNNACGTNNN"})
    for place, number, pattern in (
        (4, 7, "2bit of version 7"),
        (18, 5, "its index points to byte 5, inside something else"),
        (30, 5, r"record 'a': its runs of N or of lower case overlap"),  # the first run of N is now 5 nt long
        (38, 99, r"record 'a': its runs of N or of lower case .* past the end of its 10 nt"),
    ):
        (tmp_path / "y.2bit").write_bytes(content[:place] + struct.pack("<I", number) + content[place + 4 :])
        with pytest.raises(InputError, match=pattern):
            read(tmp_path / "y.2bit")


def test_an_empty_record_is_refused_by_name(tmp_path: Path) -> None:
    write_twobit(tmp_path / "x.2bit", {"a": "ACGT", "b": ""})
    with pytest.raises(InputError, match=r"record 2 \('b'\): is empty"):
        read(tmp_path / "x.2bit")
