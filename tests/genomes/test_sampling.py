"""How windows lie on contigs: cuts and tiles against loops, weights against arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.batches.chance import random_bits, row_keys, uniform
from hf_genomics.errors import InputError
from hf_genomics.genomes.sampling import WindowSampling, cut_side_by_side, relative_probabilities, tile_contigs

# Cuts side by side.


def cuts_slowly(length: int, sampling: WindowSampling, seed: int, number: int) -> list[tuple[int, int]]:
    """Cut one contig after the other piece by piece, as DNABERT's script does; (start, length) of each."""
    key, place, found = row_keys(seed, np.zeros(1), np.array([number])), 0, []
    while length - place > sampling.length:
        full, spread = uniform(random_bits(key, 102, 2, 2 * len(found)))[0]
        cut = sampling.min_length + int(spread * (sampling.length - sampling.min_length + 1))
        found.append((place, sampling.length if full < sampling.full_share else cut))
        place += found[-1][1]
    return [cut for cut in [*found, (place, length - place)] if cut[1] >= sampling.min_length]


@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=6),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 10**9),
)
def test_cuts_of_all_contigs_at_once_are_those_of_a_loop(lengths, length, low, share, seed) -> None:
    sampling = WindowSampling("cuts", length, min(low, length), share)
    numbers = np.arange(len(lengths)) * 3 + 1
    cuts = cut_side_by_side(np.array(lengths), sampling, seed, numbers)
    for contig, (whole, number) in enumerate(zip(lengths, numbers.tolist(), strict=True)):
        mine = cuts.take(cuts.contig == contig)
        found = list(zip(mine.start.tolist(), mine.length.tolist(), strict=True))
        assert found == cuts_slowly(whole, sampling, seed, number)
    assert (np.diff(cuts.contig) >= 0).all()


def test_cuts_have_dnaberts_lengths() -> None:
    lengths = np.full(400, 50_000)
    cuts = cut_side_by_side(lengths, WindowSampling("cuts"), 0, np.arange(400))
    last = np.append(np.diff(cuts.contig) != 0, True)
    inner = cuts.length[~last]
    assert abs((inner == 510).mean() - (0.5 + 0.5 / 506)) < 0.006
    others = inner[inner < 510]
    counts, _ = np.histogram(others, bins=5, range=(5, 510))
    assert others.min() == 5 and np.abs(counts / counts.sum() - 0.2).max() < 0.01, "uniform"
    assert abs(inner.mean() - 383.75) < 2 and len(cuts.contig) == pytest.approx(400 * 50_000 / 383.75, rel=0.01)
    begins = cuts.start == 0
    assert begins.sum() == 400 and (cuts.start[1:] == (cuts.start + cuts.length)[:-1])[~begins[1:]].all(), (
        "side by side"
    )


# Tiles.


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=5), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60)
)
def test_tiles_cover_every_contig_as_a_loop_does(lengths, length, step, shortest) -> None:
    step, shortest, expected = min(step, length), min(shortest, length), []
    for contig, whole in enumerate(lengths):
        if whole < shortest:
            continue
        start = 0
        while start + length < whole:
            expected.append((contig, start, length))
            start += step
        expected.append((contig, max(0, whole - length), min(whole, length)))
    tiles = tile_contigs(np.array(lengths), length, step, shortest)
    assert list(zip(*(column.tolist() for column in tiles), strict=True)) == expected


# Weights.


def table(**columns: list) -> pd.DataFrame:
    lengths = columns.pop("length")
    return pd.DataFrame({"name": [f"c{row}" for row in range(len(lengths))], "length": lengths, **columns})


def shares(contigs: pd.DataFrame, **settings: object) -> list[float]:
    chances = relative_probabilities(contigs, WindowSampling(**settings), "store")
    return [round(share, 6) for share in (chances / chances.sum()).tolist()]


def test_a_contig_is_chosen_by_its_length_to_a_power() -> None:
    contigs = table(length=[100, 300, 400])
    assert shares(contigs) == [0.125, 0.375, 0.5]
    assert shares(contigs, length_exponent=0.0) == [round(1 / 3, 6)] * 3
    assert shares(table(length=[100, 900]), length_exponent=0.5) == [0.25, 0.75]


def test_a_column_of_numbers_weighs_contigs() -> None:
    contigs = table(length=[100, 100, 200], times=[3, 1, 0])
    assert shares(contigs, weight_column="times") == [0.75, 0.25, 0.0]


def test_species_share_the_windows_whatever_their_size() -> None:
    contigs = table(length=[1000, 3000, 50, 150], species=["human", "human", "yeast", "yeast"], times=[1, 1, 3, 1])
    human, yeast = [0.25, 0.75], [0.25, 0.75]
    assert shares(contigs, group_column="species") == [0.5 * share for share in human + yeast]
    weighed = shares(contigs, group_column="species", group_weights={"human": 3, "yeast": 1, "fly": 2})
    assert weighed == [*(round(0.75 * share, 6) for share in human), *(0.25 * share for share in yeast)]
    within = shares(contigs, group_column="species", weight_column="times", length_exponent=0.0)
    assert within == [0.25, 0.25, 0.375, 0.125], "length and weight decide within a species"
    assert shares(contigs, group_column="species", group_weights={"human": 0, "yeast": 1})[:2] == [0, 0]


def test_groups_may_have_numbers_for_names() -> None:
    contigs = table(length=[100, 100], taxon=[9606, 4932])
    assert shares(contigs, group_column="taxon", group_weights={9606: 3, "4932": 1}) == [0.75, 0.25]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_column": "genus"}, r"store: no column 'genus' for windows.group_column; the columns are 'name', .*"),
        ({"weight_column": "wieght"}, "no column 'wieght' for windows.weight_column"),
        ({"weight_column": "odd"}, "contig 'c1' has odd -1.0; a weight is a number, 0 or more"),
        ({"weight_column": "text"}, "contig 'c0' has text x"),
        ({"weight_column": "none"}, "all selected contigs have weight 0"),
        ({"group_column": "gaps"}, "contig 'c1' has no gaps; fill it in"),
        (
            {"group_column": "species", "group_weights": {"humn": 1, "yeast": 1}},
            "'human', but 'humn'; did you mean 'human'",
        ),
        ({"group_column": "species", "group_weights": {"human": 1}}, "no species 'yeast'; add it, with 0 to omit it"),
        ({"group_column": "species", "weight_column": "part"}, "no contig of species 'yeast' has a weight above 0"),
    ],
)
def test_weights_that_do_not_fit_the_store_are_refused(settings: dict, message: str) -> None:
    contigs = table(
        length=[10, 10],
        species=["human", "yeast"],
        odd=[1.0, -1.0],
        text=["x", "1"],
        none=[0, 0],
        gaps=["a", None],
        part=[1, 0],
    )
    with pytest.raises(InputError, match=message):
        relative_probabilities(contigs, WindowSampling(**settings), "store")


# The settings.


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "random"}, "mode must be one of sampled, cuts, mixed, fixed, tiles, not 'random'"),
        ({"length": 0, "min_length": 0}, "length must be at least 1 nt, not 0"),
        ({"min_length": 0}, r"min_length must lie in 1..length \(510\), not 0"),
        ({"length": 100, "min_length": 101}, r"min_length must lie in 1..length \(100\), not 101"),
        ({"full_share": 1.1}, "full_share must lie in 0..1, not 1.1"),
        ({"rc_probability": -0.1}, "rc_probability must lie in 0..1"),
        ({"max_unknown": 2.0}, "max_unknown must lie in 0..1"),
        ({"coverage": 0.0}, "coverage must be positive, not 0.0"),
        ({"mode": "mixed", "sampled_per_cut": 0.0}, "sampled_per_cut must be positive"),
        ({"mode": "tiles", "step": 511}, r"step must lie in 1..length \(510\), not 511"),
        ({"length_exponent": -1.0}, "length_exponent must be 0 or more"),
        ({"length": 10.5}, "length must be a whole number of nt, not 10.5"),
        ({"length": True}, "length must be a whole number of nt, not True"),
        ({"mode": "tiles", "step": "5"}, "step must be a whole number of nt, not '5'"),
        ({"max_unknown": None}, "max_unknown must be a number, not None"),
        ({"group_weights": {"a": 1}}, "group_weights need a group_column"),
        ({"group_column": "x", "group_weights": {"a": -1}}, "group_weights of 'a' must be 0 or more, not -1"),
        ({"group_column": "x", "group_weights": {"a": 0}}, "group_weights are all 0"),
        ({"step": 5}, "step is for mode tiles; omit it in mode sampled"),
        ({"mode": "fixed", "min_length": 6}, "min_length is for mode sampled or cuts or mixed or tiles"),
        ({"mode": "cuts", "coverage": 2.0}, "coverage is for mode sampled or fixed; omit it in mode cuts"),
        ({"mode": "tiles", "group_column": "x"}, "group_column is for mode sampled or fixed or mixed"),
    ],
)
def test_impossible_sampling_is_refused(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        WindowSampling(**values)


@pytest.mark.parametrize("mode", ["sampled", "cuts", "mixed", "fixed", "tiles"])
def test_a_validation_set_draws_the_same_lengths_at_random_places(mode: str) -> None:
    special = {"mixed": {"sampled_per_cut": 3.0}, "tiles": {"step": 50}, "sampled": {"coverage": 2.0}}.get(mode, {})
    drawn = WindowSampling(mode, 100, **special).at_random_places()
    assert drawn == WindowSampling("fixed" if mode in ("fixed", "tiles") else "sampled", 100)


def test_the_mean_length_is_that_of_dnaberts_cuts() -> None:
    assert WindowSampling().mean_length == pytest.approx(383.75)
    assert WindowSampling("tiles", 300).mean_length == WindowSampling("fixed", 300).mean_length == 300
