"""Hashed chance: a pure function of its arguments, uniform, and splitmix64."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.data.chance import mix, random_bits, random_bits_at


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**40), st.integers(0, 2**62), st.integers(0, 5), st.integers(1, 9))
def test_random_bits_are_a_pure_function_of_their_arguments(seed, epoch, index, stream, positions) -> None:
    one = random_bits(seed, np.array([epoch]), np.array([index]), stream, positions)
    two = random_bits(seed, np.array([epoch + 1, epoch]), np.array([index, index]), stream, positions + 3)
    assert one.dtype == np.uint64 and one.shape == (1, positions)
    assert np.array_equal(one[0], two[1, :positions])
    assert not np.array_equal(one, random_bits(seed, np.array([epoch]), np.array([index]), stream + 1, positions))


def test_random_bits_are_uniform_and_independent_of_each_other() -> None:
    bits = random_bits(0, np.zeros(2000), np.arange(2000), 0, 100)
    unit = bits / 2.0**64
    assert abs(unit.mean() - 0.5) < 0.003 and abs(unit.var() - 1 / 12) < 0.001
    for left, right in [(unit[:, 1:], unit[:, :-1]), (unit[1:], unit[:-1])]:
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.01
    assert len(np.unique(bits)) == bits.size
    low = (bits & np.uint64(1)).mean()
    assert abs(low - 0.5) < 0.005


def test_mixing_is_splitmix64() -> None:
    # First outputs of splitmix64 with seed 0 (Vigna's reference implementation).
    golden = 0x9E3779B97F4A7C15
    counters = np.array([golden, 2 * golden % 2**64], np.uint64)
    assert [hex(value) for value in mix(counters).tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_bits_at_places_are_those_of_the_whole_matrix() -> None:
    index, rows, columns = np.arange(7) * 1000, np.array([0, 6, 3, 3]), np.array([5, 0, 11, 12])
    whole = random_bits(4, index * 0 + 2, index, 9, 20)
    assert np.array_equal(random_bits_at(4, index * 0 + 2, index, 9, rows, columns), whole[rows, columns])
