"""Hashed random numbers: a pure function of their arguments, uniform, and splitmix64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.batches.chance import Stream, happens, mix, random_bits, random_bits_at, row_keys, uniform


def bits_slowly(seed: int, epoch: int, index: int, stream: int, column: int) -> int:
    """Hash with Python's own integers."""
    golden, width = 0x9E3779B97F4A7C15, 2**64

    def mixed(value: int) -> int:
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % width
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % width
        return value ^ (value >> 31)

    key = mixed(seed * golden % width)
    for part in (epoch, index):
        key = mixed((key + part * golden) % width)
    return mixed((key + ((stream << 32) + column + 1) * golden) % width)


@given(
    st.integers(-(2**62), 2**62), st.integers(0, 2**40), st.integers(0, 2**62), st.integers(0, 200), st.integers(1, 9)
)
def test_random_bits_are_a_pure_function_of_their_arguments(seed, epoch, index, stream, positions) -> None:
    one = random_bits(row_keys(seed, np.array([epoch]), np.array([index])), stream, positions)
    keys = row_keys(seed, np.array([epoch + 1, epoch]), np.array([index, index]))
    two = random_bits(keys, stream, positions + 3)
    assert one.dtype == np.uint64 and one.shape == (1, positions)
    assert np.array_equal(one[0], two[1, :positions])
    assert one[0].tolist() == [bits_slowly(seed, epoch, index, stream, column) for column in range(positions)]
    assert np.array_equal(random_bits(keys, stream, 3, positions), two[:, positions:])
    assert not np.array_equal(one, random_bits(keys[1:], stream + 1, positions))


def test_one_epoch_may_stand_for_all_rows() -> None:
    index = np.arange(9)
    assert np.array_equal(row_keys(3, np.array([2]), index), row_keys(3, np.full(9, 2), index))


def test_random_bits_are_uniform_and_independent_of_each_other() -> None:
    bits = random_bits(row_keys(0, np.zeros(1), np.arange(2000)), 0, 100)
    unit = uniform(bits)
    assert abs(unit.mean() - 0.5) < 0.003 and abs(unit.var() - 1 / 12) < 0.001
    assert unit.min() >= 0 and unit.max() < 1
    for left, right in [(unit[:, 1:], unit[:, :-1]), (unit[1:], unit[:-1])]:
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.01
    assert len(np.unique(bits)) == bits.size
    low = (bits & np.uint64(1)).mean()
    assert abs(low - 0.5) < 0.005


def test_the_largest_bits_are_below_one() -> None:
    assert uniform(np.array([2**64 - 1], np.uint64))[0] < 1


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_things_happen_with_their_probability(probability: float) -> None:
    bits = random_bits(row_keys(5, np.zeros(1), np.arange(20_000)), 3, 1)
    assert abs(happens(bits, probability).mean() - probability) < (0.015 if 0 < probability < 1 else 1e-12)


def test_mixing_is_splitmix64() -> None:
    # First outputs of splitmix64 with seed 0 (Vigna's reference implementation).
    golden = 0x9E3779B97F4A7C15
    counters = np.array([golden, 2 * golden % 2**64], np.uint64)
    assert [hex(value) for value in mix(counters).tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_bits_at_places_are_those_of_the_whole_matrix() -> None:
    rows, columns = np.array([0, 6, 3, 3]), np.array([5, 0, 11, 12])
    keys = row_keys(4, np.array([2]), np.arange(7) * 1000)
    assert np.array_equal(random_bits_at(keys, 9, rows, columns), random_bits(keys, 9, 20)[rows, columns])


def test_streams_keep_their_numbers() -> None:
    """Another number is another mask, window or strand for every run of before."""
    assert {stream.name: stream.value for stream in Stream} == {
        "SPAN_START": 0,
        "FORCED_SPAN": 1,
        "REPLACEMENT": 2,
        "RANDOM_TOKEN": 3,
        "SEQUENCE_STRAND": 4,
        "SPAN_LENGTH": 5,
        "WINDOW_PLACE": 100,
        "WINDOW_STRAND": 101,
        "CUT_LENGTH": 102,
        "LABELLED_ORDER": 103,
    }
