"""The processes of the label-scarcity study, which measures what pretraining is worth when few genomes are labelled.

A cell is one run of the study: one length of windows, number of labelled genomes, set-up, arm and seed. A set-up is the
model that a cell begins with: the folder of a pretrained model, or a recipe by which the study pretrains it first, in a
process that all cells of this set-up share (or, by `pretraining_per_seed`, all of one seed). The arm says what the cell
does with it: fine-tune it, fine-tune its head only, or fine-tune the same model from random weights. The arm "kmers"
has no set-up: it fits a regression on counts of k-mers. Each cell is a process of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ..io.writing import write_text
from ..jobs.shared_work import RECIPE, Job
from ..loading.models import load_config
from .scarcity_cells import Cell, StudyGrid, merged, parts_needed


def study_jobs(
    grid: StudyGrid, recipes: Mapping[Cell, dict[str, Any]], store: str, folder: Path
) -> tuple[list[Job], dict[Cell, Job]]:
    """Return the jobs of a study: those of pretraining, and that of each cell.

    Args:
        grid: grid of the study.
        recipes: recipe of each cell, from `cell_recipe`.
        store: genome store.
        folder: folder of the study.
    """
    pretraining: dict[Path, Job] = {}
    jobs = {}
    for cell, recipe in recipes.items():
        model, needed = None, None
        if cell.setup and Path(grid.setups[cell.setup]).is_dir():
            model = Path(grid.setups[cell.setup])
        elif cell.setup:
            job = _pretraining_job(grid, cell.setup, cell.seed, store, folder)
            needed = pretraining.setdefault(job.folder, job)
            model = needed.run
        jobs[cell] = _cell_job(cell, recipe, folder / "cells" / cell.name, model, needed, grid.ks)
    return list(pretraining.values()), jobs


def _pretraining_job(grid: StudyGrid, name: str, seed: int, store: str, folder: Path) -> Job:
    """Return the job that pretrains a set-up on the training genomes of the study."""
    place = folder / "pretrained" / (f"{name}-{seed}" if grid.pretraining_per_seed else name)
    words = ["pretrain", "--config", grid.setups[name], "--data.store", store, "--data.train_split", "train"]
    words += ["--trainer.output_dir", str(place / "run"), "--trainer.disable_tqdm", "true", "--resume", "auto"]
    words += ["--trainer.seed", str(seed)] if grid.pretraining_per_seed else []
    return Job(place, lambda: [sys.executable, "-m", "hf_genomics", *words], kind=name, describe=lambda: "pretrained")


def _cell_job(
    cell: Cell, recipe: dict[str, Any], place: Path, model: Path | None, needs: Job | None, ks: list[int]
) -> Job:
    """Return the job of a cell.

    Args:
        cell: the cell.
        recipe: its recipe, from `cell_recipe`.
        place: folder of the job.
        model: folder of the pretrained model; None for k-mers.
        needs: job that pretrains the model, if it is part of the study.
        ks: sizes of k-mers to choose from.
    """
    # A job takes functions, and calls them when it starts: the complete recipe depends on the configuration of the
    # pretrained model, which may not exist before.
    make_recipe = partial(_of_kmers, recipe, place / "run", ks)
    if model is not None:
        make_recipe = partial(_with_model, recipe, model, cell.length, place / "run")
    make_command = partial(_write_and_call, make_recipe, place, "kmers" if model is None else "finetune")
    # Jobs of one kind are expected to take equally long; the time left is estimated from those that are finished.
    kind = (cell.length, cell.genomes, cell.setup, cell.arm)
    return Job(place, make_command, needs, kind, partial(_describe, place / "run"), make_recipe)


def _with_model(recipe: dict[str, Any], model: Path, length: int, run: Path) -> dict[str, Any]:
    """Return the recipe of a cell with its model and folder, and in as many parts as the model needs to read it."""
    head = recipe.get("head", {})
    added: dict[str, Any] = {"pretrained": str(model), "trainer": {"output_dir": str(run)}}
    if not {"num_parts", "part_length", "stretch_positions"} & head.keys():
        added["head"] = {"num_parts": parts_needed(length, load_config(str(model)))}
    return merged(recipe, added)


def _of_kmers(recipe: dict[str, Any], run: Path, ks: list[int]) -> dict[str, Any]:
    """Return the recipe of a k-mer regression on the windows of a recipe."""
    kept = {key: recipe[key] for key in ("data", "positive")}
    if threshold := recipe.get("head", {}).get("threshold"):
        kept["threshold"] = threshold
    return kept | {"ks": ks, "seed": recipe["trainer"]["seed"], "output_dir": str(run)}


def _write_and_call(make_recipe: partial[dict[str, Any]], place: Path, what: str) -> list[str]:
    """Write the recipe of a cell, and return the command that runs it."""
    write_text(place / RECIPE, yaml.safe_dump(make_recipe(), sort_keys=False))
    verb = ["hf_genomics.studies.kmer_regression"] if what == "kmers" else ["hf_genomics", what, "--config"]
    return [sys.executable, "-m", *verb, str(place / RECIPE)]


def _describe(run: Path) -> str:
    """Return the macro recall of a finished cell in a few words."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return f"macro recall {100 * metrics['test']['macro_recall']:.1f}"
