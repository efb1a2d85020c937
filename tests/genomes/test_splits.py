"""Splits: nothing on two sides, whatever the input; shares as asked; the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.genomes.splits import (
    SPLITS,
    Region,
    check_disjoint,
    label_subset,
    labelled_genomes,
    split_genomes,
    split_regions,
)

GROUPS = st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=60)
SEEDS = st.integers(0, 5)
FRACTIONS = st.sampled_from([(0.8, 0.1, 0.1), (0.34, 0.33, 0.33), (0.5, 0.0, 0.5), (0.9, 0.1, 0.0), (1.0, 0.0, 0.0)])


@settings(deadline=None)
@given(GROUPS, FRACTIONS, SEEDS)
def test_no_group_is_on_two_sides_and_no_side_is_empty(
    groups: list[str], fractions: tuple[float, float, float], seed: int
) -> None:
    wanted = {name for name, share in zip(SPLITS, fractions, strict=True) if share}
    if len(set(groups)) < len(wanted):
        with pytest.raises(InputError, match="cannot fill"):
            split_genomes(groups, fractions, seed)
        return
    splits = split_genomes(groups, fractions, seed)
    check_disjoint(groups, splits)
    assert set(splits) == wanted


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=3, max_size=80), FRACTIONS, SEEDS)
def test_a_side_is_less_than_one_group_above_its_share(
    weights: list[int], fractions: tuple[float, float, float], seed: int
) -> None:
    splits = split_genomes([f"g{i}" for i in range(len(weights))], fractions, seed, weights)
    for name, share in zip(SPLITS, fractions, strict=True):
        size = sum(weight for weight, split in zip(weights, splits, strict=True) if split == name)
        assert size < share * sum(weights) + max(weights) or share == 0 == size


@settings(deadline=None)
@given(GROUPS.filter(lambda groups: len(set(groups)) >= 3), SEEDS, st.randoms())
def test_a_split_does_not_depend_on_the_order_of_the_rows(groups: list[str], seed: int, random: object) -> None:
    order = list(range(len(groups)))
    random.shuffle(order)  # type: ignore[attr-defined]
    splits = split_genomes(groups, (0.6, 0.2, 0.2), seed)
    shuffled = split_genomes([groups[i] for i in order], (0.6, 0.2, 0.2), seed)
    assert [splits[i] for i in order] == list(shuffled)


def test_equal_groups_give_the_very_fractions() -> None:
    for seed in range(5):
        splits = split_genomes([f"g{i}" for i in range(1000)], (0.7, 0.2, 0.1), seed)
        assert Counter(splits.tolist()) == {"train": 700, "valid": 200, "test": 100}


def test_another_seed_is_another_split() -> None:
    groups = [f"g{i}" for i in range(50)]
    assert len({tuple(split_genomes(groups, (0.8, 0.1, 0.1), seed, range(1, 51))) for seed in range(5)}) == 5


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.5, 0.5), (float("nan"), 0.5, 0.5)])
def test_fractions_that_are_no_shares_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="sum to 1"):
        split_genomes(["a", "b", "c"], fractions)  # type: ignore[arg-type]


def test_group_without_a_name_or_weight_is_refused() -> None:
    with pytest.raises(InputError, match="row 2 has no group"):
        split_genomes(["a", float("nan")], (1, 0, 0))  # type: ignore[list-item]
    with pytest.raises(InputError, match="row 1 has no group"):
        split_genomes(pd.Series([None, "a"], dtype="string"), (1, 0, 0))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="weight -1"):
        split_genomes(["a", "b"], (0.5, 0.5, 0), weights=[1, -1])
    with pytest.raises(InputError, match="2 groups, but 1 weight; give one weight"):
        split_genomes(["a", "b"], (0.5, 0.5, 0), weights=[1])


@settings(deadline=None)
@given(st.sets(st.integers(0, 500), min_size=1), st.integers(1, 4), st.floats(0.001, 1), st.floats(0.001, 1), SEEDS)
def test_label_subsets_are_nested_and_hold_every_class(
    numbers: set[int], classes: int, first: float, second: float, seed: int
) -> None:
    genomes, labels = [f"{number}.fa" for number in numbers], [number % classes for number in numbers]
    small, large = (label_subset(genomes, labels, share, seed) for share in sorted((first, second)))
    assert not (small & ~large).any()
    for label, count in Counter(labels).items():
        chosen = small[np.array(labels) == label].sum()
        assert 1 <= chosen and abs(chosen - min(first, second) * count) <= 1


@settings(deadline=None, max_examples=50)
@given(st.sets(st.integers(0, 200), min_size=8), st.integers(1, 4), st.integers(1, 9), st.booleans(), SEEDS, st.data())
def test_numbers_of_labelled_genomes_are_nested_exact_and_hold_every_class(
    numbers: set[int], classes: int, size: int, by_group: bool, seed: int, data: st.DataObject
) -> None:
    genomes, labels = [f"{number}.fa" for number in numbers], [number % classes for number in numbers]
    groups = [str(number // size) for number in numbers] if by_group else None
    kinds = len(set(labels))
    first, second = sorted(data.draw(st.tuples(*[st.integers(kinds, len(numbers))] * 2)))
    small, large = (labelled_genomes(genomes, labels, count, seed, groups) for count in (first, second))
    assert (small.sum(), large.sum()) == (first, second) and not (small & ~large).any()
    assert set(np.array(labels)[small]) == set(labels)
    if groups is None:
        return
    for label in set(labels):  # of each class, all groups but one are taken as a whole or not at all
        own = np.array(labels) == label
        parts = [
            small[own & (np.array(groups) == group)] for group in {g for g, o in zip(groups, own, strict=True) if o}
        ]
        assert sum(not part.all() and part.any() for part in parts) <= 1


@pytest.mark.parametrize(("count", "share"), [(262, 0.1), (26, 0.01), (3, 0.001)])
def test_a_number_of_genomes_chooses_those_of_the_share_that_has_as_many(count: int, share: float) -> None:
    genomes = [f"{number}.fa" for number in range(2619)]
    labels = ["phage"] * 380 + ["other"] * 2239
    assert (labelled_genomes(genomes, labels, count, 5) == label_subset(genomes, labels, share, 5)).all()


def test_a_number_of_labelled_genomes_that_cannot_be_is_refused() -> None:
    for count in (1, 4):
        with pytest.raises(InputError, match=f"{count} labelled genomes"):
            labelled_genomes(["a", "b", "c"], ["x", "y", "y"], count)
    with pytest.raises(InputError, match="two groups"):
        labelled_genomes(["a", "a", "b"], ["x", "x", "y"], 2, groups=["1", "2", "3"])


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [
        (0.1, {1: 1, 4: 1, 5: 1, 14: 1, 15: 2, 24: 2, 25: 3, 26: 3, 35: 4, 149: 15, 1004: 100, 1005: 101}),
        (0.01, {1: 1, 49: 1, 149: 1, 150: 2, 151: 2, 249: 2, 250: 3, 349: 3, 350: 4, 1049: 10, 1050: 11}),
        (0.001, {1: 1, 499: 1, 1499: 1, 1500: 2, 2499: 2, 2500: 3, 3499: 3, 3500: 4, 4000: 4}),
    ],
)
def test_label_fractions_are_rounded_to_the_nearest_number_of_genomes(fraction: float, counts: dict[int, int]) -> None:
    """The label fractions of the study, over and under each half, at least one genome; halves are rounded up."""
    for total, expected in counts.items():
        genomes = [f"{number}.fa" for number in range(total)]
        assert label_subset(genomes, ["phage"] * total, fraction).sum() == expected, total


def test_label_subset_takes_all_rows_of_a_genome() -> None:
    genomes, labels = ["a", "b", "a", "c", "b"], ["x", "y", "x", "x", "y"]
    chosen = label_subset(genomes, labels, 0.5)
    for genome in "abc":
        assert len({bool(take) for name, take in zip(genomes, chosen, strict=True) if name == genome}) == 1
    assert label_subset(genomes, labels, 1.0).all()


def test_label_subset_refuses_two_classes_of_a_genome_and_an_empty_share() -> None:
    with pytest.raises(InputError, match="genome 'a' is in two classes, 'x' and .row 2. 'y'"):
        label_subset(["a", "a"], ["x", "y"], 0.1)
    for share in (0, 1.5, -1):
        with pytest.raises(InputError, match="label fraction"):
            label_subset(["a"], ["x"], share)


@settings(deadline=None)
@given(st.lists(st.integers(300, 10_000), min_size=1, max_size=10), FRACTIONS, st.integers(0, 100))
def test_regions_keep_their_gap_their_contig_and_their_share(
    lengths: list[int], fractions: tuple[float, float, float], gap: int
) -> None:
    regions = split_regions(lengths, fractions, gap)
    for contig, length in enumerate(lengths):
        own = [region for region in regions if region.contig == contig]
        assert [region.split for region in own] == [name for name, f in zip(SPLITS, fractions, strict=True) if f]
        assert own[0].start == 0 and own[-1].end == length
        assert all(after.start - before.end == gap for before, after in zip(own, own[1:], strict=False))
        usable = length - gap * (len(own) - 1)
        for region in own:
            assert 0 < region.end - region.start
            assert abs(region.end - region.start - fractions[SPLITS.index(region.split)] * usable) <= 1


def test_a_contig_is_cut_as_by_hand() -> None:
    assert split_regions([120], (0.8, 0.1, 0.1), gap=10) == [
        Region(0, 0, 80, "train"),
        Region(0, 90, 100, "valid"),
        Region(0, 110, 120, "test"),
    ]


def test_a_contig_too_short_for_its_regions_is_refused() -> None:
    with pytest.raises(InputError, match="contig 1 of 20 nt is too short for 3 regions with 10 nt between"):
        split_regions([1000, 20], (0.8, 0.1, 0.1), gap=10)
    with pytest.raises(InputError, match="gap -1"):
        split_regions([1000], (0.8, 0.1, 0.1), gap=-1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(SPLITS)), max_size=10))
def test_check_disjoint_agrees_with_counting(rows: list[tuple[str, str]]) -> None:
    groups, splits = [group for group, _ in rows], [split for _, split in rows]
    if len(set(rows)) == len(set(groups)):
        check_disjoint(groups, splits)
    else:
        with pytest.raises(InputError, match="is in two splits"):
            check_disjoint(groups, splits)


@given(st.permutations(range(9)), SEEDS, st.integers(3, 9), st.integers(1, 3))
def test_the_labelled_genomes_do_not_depend_on_the_order_of_the_rows(order, seed, count, size) -> None:
    genomes, labels = [f"{number}.fa" for number in range(9)], [str(number // 3) for number in range(9)]
    groups = [str(number // size) for number in range(9)]  # the classes are equally large, so every seat is a tie

    def chosen(rows: Iterable[int]) -> set[str]:
        mine, classes, own = ([column[row] for row in rows] for column in (genomes, labels, groups))
        picked = labelled_genomes(mine, classes, count, seed, own)
        return {genome for genome, used in zip(mine, picked, strict=True) if used}

    assert chosen(order) == chosen(range(9))


def test_numbers_of_rows_that_differ_are_counted_in_the_message() -> None:
    with pytest.raises(InputError, match="2 genomes, but 1 class; give one class for each row"):
        labelled_genomes(["a", "b"], ["x"], 1)
