"""Recipes of the label-scarcity study that do not fit."""

from __future__ import annotations

from pathlib import Path

import yaml

from .case import Case

CASES: dict[str, Case] = {}


def study(command: str = "", *named: str, **changes: object) -> Case:
    """Build the case of a recipe in which some keys differ from a good one; the store has no labels."""
    grid = {"setups": {"m": "model"}, "lengths": [40], "genomes": [2], "seeds": [0]} | changes.pop("grid", {})
    settings = {"output_dir": "out", "grid": grid, "finetuning": [{"options": {}}], **changes}

    def make(work: Path) -> None:
        (work / "s.yaml").write_text(yaml.safe_dump(settings))

    return Case(f"label-scarcity --config s.yaml --store STORE {command}".strip(), named, make)


CASES |= {
    "no_classes": study("", "store", "'class'"),
    "no_store": study("--store nowhere", "nowhere"),
    "no_labelled_genomes": study("", "grid.genomes", "grid.shares", grid={"genomes": []}),
    "one_genome_of_two_classes": study("", "grid.genomes", "1", grid={"genomes": [1]}),
    "a_share_in_percent": study("", "grid.shares", "10", grid={"shares": [10]}),
    "a_length_twice": study("", "grid.lengths", "40", grid={"lengths": [40, 40]}),
    "k_of_nine": study("", "grid.ks", "9", grid={"ks": [9]}),
    "an_arm_that_does_not_exist": study("", "grid.arms", "twins", grid={"arms": ["twins"]}),
    "minutes_below_zero": study("--running.minutes -1", "running.minutes", "-1"),
    "a_column_without_a_value": study("--unit", "unit"),
}
