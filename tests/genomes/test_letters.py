"""Letters on disk: what goes in comes out bit for bit, by the fast way and by the slow one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_genomics.genomes import letters as letters_module
from hf_genomics.genomes.letters import TwoBitLetters, gather_bytes, open_letters, two_bit_codes, write_letters
from hf_genomics.sequence_files.twobit import four_letters

DNA = st.text("ACGTACGTACGTNNNNacgtnRYSWKMBDHVryswkmbdhv", max_size=400).map(str.encode)
RUNS = st.lists(st.tuples(st.sampled_from(b"ACGTNacgtnRy"), st.integers(1, 60)), max_size=12).map(
    lambda runs: b"".join(bytes([letter]) * count for letter, count in runs)
)
one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def codes_slowly(letters: bytes) -> list[int]:
    """Store letter by letter: the obvious twin of `two_bit_codes`."""
    digits = [b"ACTG".index(letter & ~32) for letter in letters]
    return [sum(digit << 2 * place for place, digit in enumerate(digits[i : i + 4])) for i in range(0, len(digits), 4)]


def written(folder: Path, pieces: list[bytes], storage: str = "2bit") -> TwoBitLetters:
    """Write letters piece by piece, and map them."""
    with write_letters(folder, storage) as writer:
        for piece in pieces:
            writer.write(piece)
        writer.finish()
    return open_letters(folder, storage, sum(map(len, pieces)))


@given(st.lists(st.sampled_from(b"ACGTacgt"), max_size=50).map(lambda letters: bytes(letters[: len(letters) // 4 * 4])))
def test_two_bit_codes_agree_with_the_plain_loop(letters: bytes) -> None:
    codes = two_bit_codes(np.frombuffer(letters, np.uint8))
    assert codes.tolist() == codes_slowly(letters)
    decoded = four_letters(b"ACTG", (0, 2, 4, 6)).take(codes).view(np.uint8)
    assert decoded.tobytes() == letters.upper()


@one_folder
@given(
    st.lists(st.one_of(DNA, RUNS, st.binary(max_size=40)), min_size=1, max_size=6),
    st.sampled_from([4, 8, 20, 64]),
    st.data(),
)
def test_windows_of_two_bit_letters_are_those_of_the_letters(
    tmp_path: Path, pieces: list[bytes], block: int, data: st.DataObject
) -> None:
    whole = b"".join(pieces)
    if not whole:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(letters_module, "_BLOCK_NT", block)
        letters = written(tmp_path, pieces)
    assert letters.window(0, len(whole)).tobytes() == whole
    rows = data.draw(st.integers(0, 12))
    lengths = data.draw(st.lists(st.integers(0, len(whole)), min_size=rows, max_size=rows))
    lengths = [lengths[0]] * rows if rows and data.draw(st.booleans()) else lengths
    starts = [data.draw(st.integers(0, len(whole) - length)) for length in lengths]
    expected = b"".join(whole[start : start + length] for start, length in zip(starts, lengths, strict=True))
    assert letters.gather(np.array(starts, np.int64), np.array(lengths, np.int64)).tobytes() == expected


@given(st.binary(min_size=1, max_size=80), st.data())
def test_gathering_bytes_agrees_with_slicing(source: bytes, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(0, len(source)), max_size=8))
    starts = [data.draw(st.integers(0, len(source) - length)) for length in lengths]
    joined = gather_bytes(np.frombuffer(source, np.uint8), np.array(starts, np.int64), np.array(lengths, np.int64))
    pairs = zip(starts, lengths, strict=True)
    assert joined.tobytes() == b"".join(source[start : start + length] for start, length in pairs)
    assert joined.flags.writeable


@given(st.lists(st.integers(0, 255), min_size=1, max_size=20))
def test_the_running_xor_agrees_with_numpys(values: list[int]) -> None:
    padded = np.array([*values, *[0] * (-len(values) % 8)], np.uint8)
    expected = np.bitwise_xor.accumulate(padded)
    assert np.array_equal(letters_module._running_xor(padded), expected)


def test_two_bit_dna_takes_a_quarter_and_eight_bytes_for_each_change(tmp_path: Path) -> None:
    letters = b"ACGT" * 1000 + b"N" * 100 + b"acgt" * 1000
    written(tmp_path, [letters])
    assert (tmp_path / "codes.bin").stat().st_size == len(letters) // 4 + 2
    assert (tmp_path / "changes.bin").stat().st_size == 8 * 3


def test_files_that_are_too_small_are_not_mapped(tmp_path: Path) -> None:
    written(tmp_path, [b"ACGT" * 10])
    with pytest.raises((OSError, ValueError)):
        open_letters(tmp_path, "2bit", 60)
    with pytest.raises(OSError, match="letters.bin"):
        open_letters(tmp_path, "8bit", 40)


def test_the_drawing_of_the_two_bits_points_at_bits_2_and_1() -> None:
    lines = (letters_module.__doc__ or "").splitlines()
    at = next(row for row, line in enumerate(lines) if line.startswith("    ASCII"))
    shown = ["".join(a for a, b in zip(lines[at], lines[at + 1], strict=False) if b == "-")]
    assert shown == ["".join(f"{letter >> 1 & 3:02b}" for letter in b"ACTG")]
