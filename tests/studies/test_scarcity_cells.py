"""The grid of the label-scarcity study, and the recipes of its cells."""

from __future__ import annotations

import pytest

from hf_genomics import KmerBertConfig
from hf_genomics.errors import InputError
from hf_genomics.studies.scarcity_cells import (
    Cell,
    CellOptions,
    StudyGrid,
    cell_recipe,
    cells_of,
    merged,
    parts_needed,
)

GRID = StudyGrid({"wide": "w", "base": "b"}, genomes=[26, 262], shares=[0.001], seeds=[0, 1])


def test_numbers_and_shares_of_genomes_are_one_descending_list():
    assert GRID.numbers(2619) == [262, 26, 3]
    assert StudyGrid({"w": "w"}, shares=[0.1, 0.01, 0.001]).numbers(2619) == [262, 26, 3]
    assert StudyGrid({"w": "w"}, shares=[0.001]).numbers(100) == [2], "both classes need a genome"


def test_the_cells_are_the_whole_grid_seed_by_seed_and_k_mers_need_no_set_up():
    cells = list(cells_of(GRID, [262, 26, 3]))
    assert len(cells) == len(set(cells)) == len({cell.name for cell in cells}) == 2 * 3 * 2 * (3 * 2 + 1)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert {cell.setup for cell in cells if cell.arm == "kmers"} == {""}
    assert cells[0].name == "150nt-262-wide-pretrained-0"


def test_overrides_hold_for_the_cells_that_match_all_their_conditions_and_later_ones_win():
    options = [
        CellOptions({"trainer": {"max_steps": 9}}),
        CellOptions({"trainer": {"max_steps": 5}}, length=1000),
        CellOptions({"trainer": {"max_steps": 3}}, most_genomes=26),
        CellOptions({"trainer": {"max_steps": 2}}, most_genomes=26, arm="twin", setup="wide"),
    ]

    def steps(length, genomes, setup, arm):
        cell = Cell(length, genomes, setup, arm, 0)
        return cell_recipe(cell, options, "s", None)["trainer"]["max_steps"]

    assert steps(150, 262, "wide", "twin") == 9 and steps(1000, 262, "wide", "twin") == 5
    assert steps(1000, 26, "wide", "pretrained") == 3 and steps(150, 3, "base", "twin") == 3
    assert steps(1000, 26, "wide", "twin") == 2


@pytest.mark.parametrize(
    ("arm", "head"), [("pretrained", {}), ("twin", {"from_scratch": True}), ("frozen", {"train": "head"})]
)
def test_arms_differ_in_the_head_only(arm, head):
    recipe = cell_recipe(Cell(150, 26, "wide", arm, 7), [CellOptions({"head": {"pooling": "mean"}})], "s", "phage")
    assert recipe.pop("head") == {"pooling": "mean"} | head
    assert recipe == {
        "data": {"store": "s", "seed": 7, "windows": {"length": 150, "label_genomes": 26}},
        "trainer": {"seed": 7, "disable_tqdm": True},
        "baseline_k": 0,
        "resume": "auto",
        "positive": "phage",
    }


@pytest.mark.parametrize(("arm", "key", "value"), [("twin", "from_scratch", True), ("frozen", "train", "head")])
def test_options_for_all_cells_do_not_change_what_an_arm_is(arm, key, value):
    options = [CellOptions({"head": {"train": "last:1", "from_scratch": False, "dropout": 0.2}})]
    head = cell_recipe(Cell(150, 26, "wide", arm, 7), options, "s", None)["head"]
    assert head == {"train": "last:1", "from_scratch": False, "dropout": 0.2} | {key: value}


def test_merging_changes_neither_side():
    base, over = {"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}}
    result = merged(base, over)
    result["a"]["b"] = result["c"][0] = 9
    assert base == {"a": {"b": 1}, "c": [1]} and over == {"a": {"d": 2}}


@pytest.mark.parametrize(
    ("stride", "positions", "length", "parts"),
    [(1, 512, 150, 1), (1, 512, 1000, 2), (3, 340, 1000, 1), (6, 172, 1000, 1)],
)
def test_1000_nt_at_stride_1_are_read_in_two_parts(stride, positions, length, parts):
    assert parts_needed(length, KmerBertConfig(k=6, stride=stride, max_position_embeddings=positions)) == parts


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"genomes": [1]}, "grid.genomes: 1"),
        ({"shares": [0.0]}, "grid.shares: 0.0"),
        ({"shares": [1.5]}, "grid.shares: 1.5"),
        ({}, "grid.genomes"),
        ({"genomes": [5], "lengths": []}, "grid.lengths"),
        ({"genomes": [5], "lengths": [150, 150]}, "grid.lengths: 150"),
        ({"genomes": [5], "seeds": [0, 0]}, "grid.seeds: 0"),
        ({"genomes": [5], "ks": [9]}, "grid.ks: 9"),
        ({"genomes": [5], "setups": {"a/b": "x"}}, "'a/b'"),
        ({"genomes": [5], "setups": {}}, "grid.setups"),
        ({"genomes": [5], "pretraining_stores": {"base": "x"}}, "'base'"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_by_key(fields, named):
    with pytest.raises(InputError) as caught:
        StudyGrid(**({"setups": {"w": "x"}} | fields))
    assert named in str(caught.value)


def test_more_labelled_genomes_than_there_are_are_refused():
    with pytest.raises(InputError, match=r"grid\.genomes: 262.*100"):
        GRID.numbers(100)
