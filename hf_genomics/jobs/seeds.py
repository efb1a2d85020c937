"""Repeated training: a run of `finetune` for each of several seeds, and the mean and spread of their test scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ..errors import InputError
from ..runs.running import METRICS
from ..saved_files import read_json
from .sweep import Cell, cells_of

CELLS = "seeds"  # folder of the runs in the output folder


def cells_of_seeds(seeds: Sequence[int]) -> list[Cell]:
    """Return the cell of each seed.

    Args:
        seeds: values of ``trainer.seed``.

    Raises:
        InputError: if there are fewer than two seeds, one is given twice, or one is out of range.

    >>> [cell.name for cell in cells_of_seeds([0, 1])]
    ['seed=0', 'seed=1']
    """
    if len(seeds) < 2:
        raise InputError(f"seeds: one seed ({seeds[0]}) has no spread; give two or more, or set trainer.seed")
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise InputError(f"seeds: {twice} is given twice; name it once")
    if wrong := next((seed for seed in seeds if not 0 <= seed < 2**32), None):
        raise InputError(f"seeds must lie in 0..2^32 - 1, not {wrong}")
    return cells_of({"trainer.seed": seeds})


def describe(score: str, run: Path) -> str:
    """Return the test score of a finished run in a few words.

    Args:
        score: name of the score.
        run: folder of the run.
    """
    value = read_json(run / METRICS).get("test", {}).get(score)
    return "no score" if value is None else f"{score} {value:.4g} on the test split"


def summarise(seeds: Sequence[int], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what metrics.json holds about the runs of several seeds.

    Args:
        seeds: the seeds.
        metrics: metrics of the run of each seed, in the same order.

    Returns:
        "seeds"; "model", the scores of the model; and "baselines", name -> scores. Of each score: "mean", "std" (the
        standard deviation of a sample, divided by runs - 1) and "values", in the order of the seeds. A score that a run
        lacks is omitted.
    """
    names = list(metrics[0].get("baselines", {}))
    return {
        "seeds": list(seeds),
        "model": _spread([one["test"] for one in metrics]),
        "baselines": {name: _spread([one["baselines"][name] for one in metrics]) for name in names},
    }


def _spread(scores: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return mean, standard deviation and values of every score that is a number in all runs.

    >>> _spread([{"f1": 0.5, "n": "x"}, {"f1": 0.7}])["f1"]["values"]
    [0.5, 0.7]
    """
    found = {}
    for name in scores[0]:
        values = [one[name] for one in scores if isinstance(one.get(name), float) and math.isfinite(one[name])]
        if len(values) == len(scores):
            found[name] = {"mean": fmean(values), "std": stdev(values), "values": values}
    return found
