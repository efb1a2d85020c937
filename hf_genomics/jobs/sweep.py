"""A sweep: a run of `finetune` for every combination of some options, of which validation chooses the best.

Each combination is a cell: a folder below the output folder with a recipe, a log and the run. A finished cell is never
run again, and several commands share the cells (see `shared_work`). The test split plays no part in the choice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..errors import InputError
from ..io.files import sha256_of
from ..io.writing import write_json, write_text, write_tsv
from ..runs.checkpoints import SETTINGS, read_state, writing_files
from ..runs.output_folder import locked
from ..runs.running import METRICS
from ..saved_files import read_json
from ..sequence import did_you_mean
from .shared_work import RECIPE, Job, check_unchanged, share_work, workers_of

logger = logging.getLogger(__name__)

CELLS = "sweep"  # folder of the cells in the output folder
TABLE = "sweep.tsv"
_TABLES = "tables.json"  # hashes of the tables and base models, in the folder of the cells
_MOST_CELLS = 1000
_LONGEST_NAME = 80  # characters of the name of a folder
_DIVERGED = "the run has diverged"  # part of the message of `divergence_error`, by which a failed process says why
#: Keys in which the runs of different machines may differ.
_OF_THE_MACHINE = {"trainer.output_dir", "trainer.use_cpu", "trainer.bf16"}
_PAUSE = 1.0  # seconds between two looks at a lock that another command holds


class Cell(NamedTuple):
    """A combination of options.

    Attributes:
        name: name of its folder.
        options: key of `finetune` -> value.
    """

    name: str
    options: dict[str, Any]


class CellScore(NamedTuple):
    """A finished cell.

    Attributes:
        cell: the cell.
        run: folder of its model.
        score: score of its model in validation; None if its training diverged, or the score was never a number.
        steps: steps that were trained; None if it diverged.
    """

    cell: Cell
    run: Path
    score: float | None
    steps: int | None


def grid_of(sweep: Mapping[str, Any], known: Collection[str]) -> dict[str, list[Any]]:
    """Return the keys of a sweep with their values, and check both.

    Args:
        sweep: key -> values; the keys may be nested by section, as in a recipe, or have colons in place of dots, as the
            command line passes them on.
        known: keys that a sweep may vary.

    Raises:
        InputError: naming a key that is unknown or varies nothing, or a value that is given twice.

    >>> grid_of({"trainer": {"seed": [1, 2]}, "head:train": "head"}, ["trainer.seed", "head.train"])
    {'trainer.seed': [1, 2], 'head.train': ['head']}
    """
    grid = dict(_flat(sweep))
    for key, values in grid.items():
        if key not in known:
            raise InputError(
                f"sweep.{key}: a sweep cannot vary {key!r}{did_you_mean(key, known)}; give pretrained, or a key of "
                "trainer or head, with a list of values"
            )
        if not values:
            raise InputError(f"sweep.{key} is empty; give at least one value, such as [1e-4, 3e-4]")
        texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
        if twice := next((text for text in texts if texts.count(text) > 1), None):
            raise InputError(f"sweep.{key}: {twice} is given twice; name it once")
    if math.prod(map(len, grid.values())) > _MOST_CELLS:
        raise InputError(f"sweep: its values combine to more than {_MOST_CELLS:,} runs; give fewer values")
    return grid


def _flat(sweep: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Iterate over full keys and lists of values of a nested sweep."""
    for name, values in sweep.items():
        key = f"{prefix}{name}".replace(":", ".")
        if isinstance(values, Mapping):
            yield from _flat(values, f"{key}.")
        else:
            yield key, [*values] if isinstance(values, list | tuple) else [values]


def checked_value(key: str, value: Any, current: Any) -> Any:
    """Return a value of a sweep in the kind of the value that it replaces; None may be replaced by anything.

    Args:
        key: key of the value.
        value: the value, as the user gave it.
        current: the value that it replaces.

    Returns:
        The value, as a member of the enumeration if ``current`` is one.

    Raises:
        InputError: if the value is of another kind.

    >>> checked_value("trainer.seed", 7, 42)
    7
    """
    if isinstance(current, bool):  # first, because to Python True is an int, too
        fits, what = isinstance(value, bool), "true or false"
    elif isinstance(current, int | float):
        fits, what = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif isinstance(current, str):
        fits, what = isinstance(value, str), "a text"
    else:
        fits, what = True, "anything"
    if not fits:
        raise InputError(f"sweep.{key} takes {what}, not {value!r}; correct the value")
    if not isinstance(current, Enum):
        return value
    try:
        return type(current)(value)
    except ValueError as error:
        names = ", ".join(one.value for one in type(current))
        raise InputError(f"sweep.{key}: {value!r} is not one of {names}; correct the value") from error


def cells_of(grid: Mapping[str, Sequence[Any]]) -> list[Cell]:
    """Return a cell for every combination of values, in the order of the values; the last key varies fastest.

    Args:
        grid: key -> values.

    >>> [cell.name for cell in cells_of({"trainer.learning_rate": [1e-4, 0.001], "head.train": ["last:1"]})]
    ['learning_rate=0.0001,train=last_1-8867bd', 'learning_rate=0.001,train=last_1-e9539c']
    """
    names = [key.rpartition(".")[2] for key in grid]
    shown = [name if names.count(name) == 1 else key for name, key in zip(names, grid, strict=True)]
    cells = []
    for values in itertools.product(*grid.values()):
        text = ",".join(f"{name}={_text(value)}" for name, value in zip(shown, values, strict=True))
        cells.append(Cell(_folder_name(text), dict(zip(grid, values, strict=True))))
    return cells


def _text(value: Any) -> str:
    """Return a value as a recipe states it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _folder_name(text: str) -> str:
    """Return a text as the name of a folder; one that had to be changed ends in a hash of the text."""
    name = re.sub(r"[^\w.=,+-]+", "_", text)[:_LONGEST_NAME]
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def run_sweep(
    folder: Path, cells: Sequence[Cell], recipe: Mapping[str, Any], metric: str, jobs: int = 0
) -> list[CellScore]:
    """Run all cells that are not finished, and return their scores, in the order of the cells.

    Args:
        folder: output folder of the sweep.
        cells: the cells.
        recipe: recipe of `finetune` that all cells share.
        metric: name of the score by which the best cell is chosen.
        jobs: number of runs at a time; 0 for one per GPU, or without a GPU one per core.

    Raises:
        InputError: if a finished cell had another recipe, other tables or another base model, or a run fails for a
            mistake of the user's.
    """
    runs = run_cells(folder / CELLS, cells, recipe, partial(_describe, metric), jobs, diverged_counts=True)
    return [_score(run, cell, metric) for cell, run in zip(cells, runs, strict=True)]


def run_cells(
    place: Path,
    cells: Sequence[Cell],
    recipe: Mapping[str, Any],
    describe: Callable[[Path], str],
    jobs: int = 0,
    *,
    diverged_counts: bool = False,
) -> list[Path]:
    """Run `finetune` for all cells that are not finished, in a process each, and return the folders of their runs.

    Args:
        place: folder for the folders of the cells; its name is what the log calls them.
        cells: the cells.
        recipe: recipe of `finetune` that all cells share.
        describe: function that returns the result of a run, given its folder, in a few words.
        jobs: number of runs at a time; 0 for one per GPU, or without a GPU one per core.
        diverged_counts: whether a run that diverges counts as finished; otherwise it is an error.

    Raises:
        InputError: if a finished cell had another recipe, other tables or another base model, or a run fails for a
            mistake of the user's.
    """
    todo = [_job(place / cell.name, cell, recipe, describe, diverged_counts) for cell in cells]
    check_unchanged(todo, may_change=_OF_THE_MACHINE)
    models = {cell.options.get("pretrained", recipe.get("pretrained")) for cell in cells}
    names = ["train", "valid", *(["test"] if recipe.get("score_test") else [])]
    _check_inputs(place / _TABLES, {name: recipe.get("data", {}).get(name) for name in names}, models)
    workers, devices = workers_of(jobs)
    left = sum(not job.finished for job in todo)
    pace = f"; {min(workers, left)} at a time" if left else ""
    logger.info("%s: %d runs, %d of them finished%s", place.name, len(todo), len(todo) - left, pace)
    share_work(todo, workers, devices=devices)
    return [job.run for job in todo]


def _check_inputs(record: Path, data: Mapping[str, str | None], models: Iterable[str | None]) -> None:
    """Check that tables and base models are those of the cells so far; record those that are new."""
    tables = {f"data.{name}": path for name, path in data.items() if path}
    folders = {f"pretrained {model}": Path(model) for model in models if model and Path(model).is_dir()}
    hashes = {key: sha256_of(path) for key, path in tables.items()}
    hashes |= {key: _hash_of_model(path) for key, path in folders.items()}
    before = read_json(record) if record.exists() else {}
    if changed := next((key for key, value in hashes.items() if before.get(key, value) != value), None):
        what = f"{tables[changed]} ({changed})" if changed in tables else f"{folders[changed]} (pretrained)"
        raise InputError(
            f"{what} has changed since runs in {record.parent} were started; pass --overwrite true to run all of them "
            "again, or choose another trainer.output_dir"
        )
    write_json(record, before | hashes)


def _hash_of_model(folder: Path) -> str:
    """Return a hash of the configuration, the tokenizer and the weights of a model folder."""
    names = ("config.json", "tokenizer_config.json", "*.safetensors", "pytorch_model*.bin")
    files = sorted(path for name in names for path in folder.glob(name))
    return hashlib.sha256(" ".join(f"{path.name} {sha256_of(path)}" for path in files).encode()).hexdigest()


def _job(
    place: Path, cell: Cell, recipe: Mapping[str, Any], describe: Callable[[Path], str], diverged_counts: bool
) -> Job:
    """Return the job of a cell."""
    run = place / "run"
    full: dict[str, Any] = json.loads(json.dumps(recipe))  # a copy of its own
    own = {"trainer.output_dir": str(run), "trainer.disable_tqdm": True, "resume": "auto"}
    for key, value in (cell.options | own).items():
        section, _, name = key.rpartition(".")
        (full.setdefault(section, {}) if section else full)[name] = value

    def command() -> list[str]:
        """Write the recipe, and return the command that runs it."""
        write_text(place / RECIPE, yaml.safe_dump(full, sort_keys=False))
        return [sys.executable, "-m", "hf_genomics", "finetune", "--config", str(place / RECIPE)]

    forgive = partial(_forgive, run) if diverged_counts else None
    return Job(place, command, describe=partial(describe, run), recipe=lambda: full, forgive=forgive)


def _forgive(run: Path, message: str) -> bool:
    """Record that the training of a cell diverged, and return True; return False for any other failure.

    A combination of options that diverges, such as one with a high learning rate, is a result and not a mistake: the
    cell counts as finished, and the sweep goes on.
    """
    if _DIVERGED not in message:
        return False
    write_json(run / METRICS, {"diverged": message})
    return True


def _score(run: Path, cell: Cell, metric: str) -> CellScore:
    """Return the score of a finished cell: that of the checkpoint whose weights its model has."""
    return CellScore(cell, run, *_validated(metric, run))


def _validated(metric: str, run: Path) -> tuple[float | None, int | None]:
    """Return the score of a finished run in validation and its number of steps, as `CellScore` holds them."""
    if "diverged" in read_json(run / METRICS):
        return None, None
    state = read_state(run)
    score = state.get("best_metric")
    if score is None:
        raise InputError(f"{run}: its training was never evaluated by {metric}; set trainer.eval_strategy")
    # The Trainer begins with an infinite score, which remains if every evaluation gives NaN.
    return float(score) if math.isfinite(score) else None, int(state["global_step"])


def _describe(metric: str, run: Path) -> str:
    """Return the score of a finished run in validation in a few words."""
    score, steps = _validated(metric, run)
    return _why_no_score(steps) if score is None else f"{metric} {score:.4g} in validation"


def _why_no_score(steps: int | None) -> str:
    """Return why a cell has no score, given its number of steps: None if its training diverged."""
    return "diverged" if steps is None else "no score"


def best_of(scores: Sequence[CellScore], larger_is_better: bool) -> CellScore:
    """Return the cell with the best score in validation, of equal ones the first.

    Args:
        scores: all cells.
        larger_is_better: whether larger scores are better.

    Raises:
        InputError: if no cell has a score.
    """
    known = [one for one in scores if one.score is not None]
    if not known:
        folder = scores[0].run.parents[2]  # the run is FOLDER/sweep/CELL/run
        raise InputError(
            f"{folder}: every run diverged or has no score in validation; give lower values of "
            "trainer.learning_rate, or another trainer.metric_for_best_model"
        )
    # "or 0.0" is for the type checker: no score is None here.
    return (max if larger_is_better else min)(known, key=lambda one: one.score or 0.0)


def write_sweep(folder: Path, scores: Sequence[CellScore], best: CellScore, metric: str) -> dict[str, Any]:
    """Write the table of a sweep, and return what metrics.json holds about it.

    Args:
        folder: output folder of the sweep.
        scores: all cells.
        best: the best of them.
        metric: name of the score.
    """
    header, rows = table_of(scores, best, metric)
    write_tsv(folder / TABLE, header, rows)
    cells = [
        {"folder": one.cell.name, "options": one.cell.options, metric: one.score, "steps": one.steps} for one in scores
    ]
    return {"metric": metric, "best": best.cell.name, "cells": cells}


def table_of(scores: Sequence[CellScore], best: CellScore, metric: str) -> tuple[list[str], list[list[Any]]]:
    """Return the header and the rows of the table of a sweep; a score is None if the cell has none.

    Args:
        scores: all cells.
        best: the best of them.
        metric: name of the score.
    """
    keys = [*scores[0].cell.options]
    rows = [
        [*(_text(one.cell.options[key]) for key in keys), one.score, one.steps, "best" if one is best else ""]
        for one in scores
    ]
    return [*keys, f"valid_{metric}", "steps", "chosen"], rows


def screen_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the table of a sweep as lines for the terminal.

    Args:
        facts: what metrics.json holds about the sweep.
    """
    metric, cells = facts["metric"], facts["cells"]
    keys = [*cells[0]["options"]]
    table = [[*keys, f"valid {metric}", ""]]
    for cell in cells:
        score = _why_no_score(cell["steps"]) if cell[metric] is None else f"{cell[metric]:.4f}"
        mark = "best" if cell["folder"] == facts["best"] else ""
        table.append([*(_text(cell["options"][key]) for key in keys), score, mark])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table]


def clear_cells(cells: Path) -> None:
    """Delete the cells of an earlier run.

    Args:
        cells: folder of their folders.

    Raises:
        InputError: if another command runs one of them; then none is deleted.
    """
    with ExitStack() as held:
        # Not glob("*/"), which lists files too before Python 3.11.
        for place in sorted(path for path in cells.glob("*") if path.is_dir()):
            held.enter_context(locked(place))
        shutil.rmtree(cells, ignore_errors=True)


@contextmanager
def waiting_for(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder within the block, after waiting for another command that holds it.

    Args:
        folder: the folder; it exists.
    """
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(folder))
                break
            except InputError:  # another command holds the lock
                time.sleep(_PAUSE)
        yield


def copy_run(run: Path, folder: Path) -> None:
    """Copy the files of a finished run, without its checkpoints and its metrics, to another folder.

    Args:
        run: folder of the run.
        folder: the other folder; it exists.
    """
    files = [path for path in sorted(run.iterdir()) if path.is_file() and not path.name.startswith(".")]
    # The settings come first. If the copy is interrupted, they show that the model beside them is a run's own, which
    # may be replaced (`check_no_other_model`).
    for names in ({SETTINGS}, {path.name for path in files} - {METRICS, SETTINGS}):
        with writing_files(folder) as place:
            for path in files:
                if path.name in names:
                    shutil.copyfile(path, place / path.name)


def changed_fields(section: Any, plain: Any = None) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults, as values of a recipe.

    Args:
        section: the dataclass.
        plain: an object of its class that has the defaults, where the class computes some of them, as TrainingArguments
            does; otherwise they are those that its fields state.
    """
    found: dict[str, Any] = {}
    for one in fields(section):
        if not one.init:
            continue
        value = getattr(section, one.name)
        if plain is not None:
            default = getattr(plain, one.name)
        else:
            default = one.default_factory() if one.default_factory is not MISSING else one.default
        if value != default:
            found[one.name] = _as_setting(value)
    return found


def _as_setting(value: Any) -> Any:
    """Return a value as YAML can hold it."""
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "to_dict"):  # such as accelerator_config of TrainingArguments
        return value.to_dict()
    if is_dataclass(value):
        return changed_fields(value)
    return str(value) if isinstance(value, Path) else value
