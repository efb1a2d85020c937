"""Several seeds: their cells, and the mean and standard deviation of their scores."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.jobs.seeds import cells_of_seeds, summarise


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_mean_and_standard_deviation_are_those_of_the_values(values):
    seeds = [*range(len(values))]
    runs = [{"test": {"f1": value, "auroc": None}, "baselines": {"k": {"f1": 1 - value}}} for value in values]
    found = summarise(seeds, runs)
    assert {*found["model"]} == {"f1"} and found["seeds"] == seeds
    assert found["model"]["f1"]["mean"] == pytest.approx(statistics.mean(values))
    assert found["model"]["f1"]["std"] == pytest.approx(found["baselines"]["k"]["f1"]["std"])
    assert [cell.options["trainer.seed"] for cell in cells_of_seeds(seeds)] == seeds
