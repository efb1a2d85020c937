"""Measure what pretraining is worth when few genomes are labelled: the verb `label-scarcity`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..genomes.store import GenomeStore
from ..io.writing import check_output, write_json, write_text
from ..jobs.shared_work import check_unchanged, share_work, workers_of
from .scarcity_cells import CellOptions, StudyGrid, cell_recipe, cells_of
from .scarcity_checks import check_setups, choose_positive, count_genomes, study_facts
from .scarcity_jobs import study_jobs
from .scarcity_report import plot_scarcity, write_study_report
from .scarcity_scores import markdown_table, model_name, read_units, sample_scores, score_rows, study_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyRun:
    """How many cells run at a time, and for how long new ones are started.

    Args:
        jobs: number of processes at a time; 0 for one per GPU, or without a GPU one per core.
        minutes: start no new cell after so many minutes. The tables then hold what is finished, and the same command
            continues later.
    """

    jobs: int = 0
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.jobs <= 1024:
            raise InputError(
                f"running.jobs must lie in 0..1024 (0: as many as the machine has room for), not {self.jobs}"
            )
        if self.minutes is not None and not self.minutes >= 0:
            raise InputError(f"running.minutes must be 0 or more, not {self.minutes}")


def label_scarcity(
    grid: StudyGrid,
    store: str,
    output_dir: str,
    finetuning: list[CellOptions],
    positive: str | None = None,
    unit: str = "genome",
    running: StudyRun = StudyRun(),  # noqa: B008 (immutable)
) -> dict[str, Any]:
    """Compare pretrained models with their twins and with k-mers, for fewer and fewer labelled genomes.

    Each cell of the grid is a run of `finetune` (or a k-mer regression) in a process of its own. A finished cell is
    never run again, and the same command on other machines that see the folder shares the work. All cells are scored on
    the same test genomes.

    Writes to ``output_dir``: pretrained/ and cells/ (a folder for each run, with its recipe, log and model), table.csv,
    table.md, figure.png and report.html.

    Args:
        grid: set-ups, lengths, numbers of labelled genomes, arms and seeds.
        store: genome store with labels of two classes and the splits train, valid and test.
        output_dir: folder to write to; what is finished there is kept.
        finetuning: options of `finetune` for the cells; later ones win.
        positive: class that F1 and AUPRC refer to; by default the one with fewer training genomes.
        unit: column of the store whose values the bootstrap of the test set draws as a whole: "genome", or a column
            with groups of related genomes, which gives wider intervals.
        running: number of processes, and time limit.

    Returns:
        Number of finished cells, the macro recall (%) of each model with the most labelled genomes by length, and the
        path of the report; only the first if no cell is finished.

    Raises:
        InputError: if an option, the store, a set-up or a cell's recipe is wrong, or the folder is of another study.

    Source: GenomeNet-BERT, Table 1 and Figure A.3.
    """
    folder, genomes = Path(output_dir), GenomeStore(store)
    check_output(folder, folder=True)
    counts = count_genomes(genomes)
    positive = choose_positive(genomes, positive)
    units = read_units(genomes, unit)
    cells = list(cells_of(grid, grid.numbers(counts["train"])))
    pretraining = check_setups(grid, genomes)
    facts = study_facts(folder, genomes, grid)
    recipes = {cell: cell_recipe(cell, finetuning, store, positive) for cell in cells}
    pretraining_jobs, jobs = study_jobs(grid, recipes, store, folder)
    check_unchanged(jobs.values())
    write_json(folder / "study.json", facts)
    workers, devices = workers_of(running.jobs)
    left = sum(not job.finished for job in jobs.values())
    logger.info("%d cells, %d of them finished; processes at a time: %d", len(cells), len(cells) - left, workers)
    share_work([*pretraining_jobs, *jobs.values()], workers, minutes=running.minutes, devices=devices)
    finished = {cell: job.run for cell, job in jobs.items() if job.finished}
    if not finished:
        return {"finished cells": f"0 of {len(cells)}"}
    scores = sample_scores(finished, units, positive)
    rows = score_rows(scores, finished, counts["train"])
    told = {"cells": len(cells), "finished": len(finished), "genomes": counts}
    told |= {"samples": len(next(iter(scores.values()))) - 1, "unit": unit, "pretraining": pretraining}
    table = study_table(rows)
    _write_results(table, told, folder)
    return {"finished cells": f"{len(finished)} of {len(cells)}", **_best(table), "report": str(folder / "report.html")}


def _write_results(table: pd.DataFrame, facts: dict[str, Any], folder: Path) -> None:
    """Write the tables, the figure and the report."""
    write_text(folder / "table.csv", table.to_csv(index=False, float_format="%.6g"))
    write_text(folder / "table.md", markdown_table(table))
    plot_scarcity(table, folder / "figure.png")
    write_study_report(table, facts, folder)


def _best(table: pd.DataFrame) -> dict[str, Any]:
    """Return the macro recall (%) of every model with the most labelled genomes, by length."""
    ours = table[table["source"] == "this study"]
    found: dict[str, Any] = {}
    for length in dict.fromkeys(ours["length"]):
        rows = ours[ours["length"] == length]
        rows = rows[rows["genomes"] == rows["genomes"].max()]
        names = {model_name(row): round(100 * float(row["macro_recall"]), 1) for _, row in rows.iterrows()}
        found[f"macro recall (%), {length} nt, {rows['genomes'].iloc[0]} labelled genomes"] = names
    return found
