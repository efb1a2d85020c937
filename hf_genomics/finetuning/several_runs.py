"""Fine-tune in several processes: one for each combination of a sweep, or for each of several seeds.

A sweep trains in a process for each combination of option values, called a cell, and keeps the model with the best
score in validation; see `jobs.sweep`. With several seeds, each has a process; see `jobs.seeds`.
"""

from __future__ import annotations

import copy
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from transformers import TrainingArguments

from ..errors import InputError
from ..inference.predictions import check_averages
from ..jobs import seeds as repeated
from ..jobs import sweep as sweeps
from ..labelled.data import LabelledData
from ..loading.models import load_classifier
from ..reports.score_report import ScoreReport, main_score, write_score_report
from ..runs.output_folder import Resume, clear_outputs
from ..runs.running import METRICS, finish, finished_metrics
from ..saved_files import read_json
from ..training.arguments import check_arguments
from ..training.record import published_command, write_run_record
from .head import Head
from .plan import FinetuneOptions, FinetuningPlan, plan_finetuning
from .run import score_test, scored_with
from .run_report import as_report, scored_model, task_record

logger = logging.getLogger(__name__)


class Request(NamedTuple):
    """The arguments of `finetune`."""

    pretrained: str
    data: LabelledData
    trainer: TrainingArguments
    head: Head
    positive: str | None
    baseline_k: int
    resume: Resume
    overwrite: bool
    options: FinetuneOptions

    def plan(self) -> FinetuningPlan:
        """Return the checked plan of the run."""
        arguments = self._asdict()
        options = arguments.pop("options")
        plan = replace(plan_finetuning(**arguments), options=options)
        check_averages(plan.splits.training.task, options)
        return plan

    def with_options(self, changes: Mapping[str, Any]) -> Request:
        """Return the request of one run of a sweep: with some options changed, key -> value.

        Raises:
            InputError: if a value is out of range, or not of the kind that its key takes.
        """
        # A copy, for which __post_init__ is not called again: it only serves to plan and to score. The process that
        # trains builds its own TrainingArguments from a recipe.
        pretrained, trainer, head = self.pretrained, copy.copy(self.trainer), {}
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            current = getattr(getattr(self, section), name) if section else self.pretrained
            value = sweeps.checked_value(key, value, current)
            if section == "trainer":
                setattr(trainer, name, value)
            elif section == "head":
                head[name] = value
            else:  # the only key without a section
                pretrained = value
        try:
            check_arguments(trainer)
            changed = replace(self.head, **head)
        except ValueError as error:  # names the key that is out of range as if it had been set outside the sweep
            key = next((key for key in changes if key.rpartition(".")[2] in str(error)), "")
            name = rf"(?<![\w.])(?:--)?(?:{re.escape(key)}|{re.escape(key.rpartition('.')[2])})\b"
            text = re.sub(name, f"sweep.{key}", str(error), count=1) if key else f"sweep: {error}"
            raise InputError(text) from error
        return self._replace(pretrained=pretrained, trainer=trainer, head=changed)

    def recipe(self) -> dict[str, Any]:
        """Return the settings that all runs of a sweep share, as the YAML recipe that the process of a run reads.

        The runs are only compared in validation, so they compute no baselines and do not score the test split.
        """
        # The same arguments without any setting of the user's, to find out which settings are the user's.
        untouched = type(self.trainer)(output_dir=str(self.trainer.output_dir), use_cpu=self.trainer.use_cpu)
        trainer = sweeps.changed_fields(self.trainer, untouched)
        # Always written: the command line would set these two by the machine that it runs on.
        trainer |= {"use_cpu": self.trainer.use_cpu, "bf16": self.trainer.bf16}
        return {
            "pretrained": self.pretrained,
            "positive": self.positive,
            "data": sweeps.changed_fields(self.data),
            "head": sweeps.changed_fields(self.head),
            "trainer": trainer,
            "baselines": [],
            "baseline_k": 0,
            "score_test": False,
            "both_strands": self.options.both_strands,  # a threshold depends on them
            "frames": self.options.frames,
        }


# Keys of `trainer` that a sweep cannot vary: where a run computes and writes ...
_WHERE_A_RUN_COMPUTES = {"output_dir", "resume_from_checkpoint", "run_name", "report_to", "disable_tqdm", "use_cpu"}


# ... and how its best checkpoint is chosen, because the runs are compared by the same score.
_HOW_THE_BEST_IS_CHOSEN = {
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
    "eval_strategy",
    "save_strategy",
}


# Keys that change what is summed up as the loss, so that losses cannot be compared.
_CHANGE_THE_LOSS = ("head.balanced", "head.class_weights", "head.focal_gamma")


def run_sweep(asked: Request) -> dict[str, Any]:
    """Fine-tune for every combination of a sweep, and make the output folder that of the best run in validation."""
    trainer, options = asked.trainer, asked.options
    grid = sweeps.grid_of(options.sweep, _keys_to_sweep(trainer))
    asked = _of_several_runs(asked, "sweep", grid)
    _check_sweep(asked, grid)
    cells = sweeps.cells_of(grid)
    requests = {cell.name: asked.with_options(cell.options) for cell in cells}
    # The first run is planned here, but trained in a process like the others: so a mistake in data, model or output
    # folder is reported before any process starts.
    plan = requests[cells[0].name].plan()
    folder, metric = plan.folder, str(trainer.metric_for_best_model).removeprefix("eval_")
    larger_is_better = bool(plan.trainer.greater_is_better)  # set while planning, by the metric
    scored = scored_with(plan)
    del plan  # its data and model need memory, which the processes need now
    if asked.overwrite:
        _clear_runs(asked, folder / sweeps.CELLS, grid.get("pretrained", [asked.pretrained]))
    scores = sweeps.run_sweep(folder, cells, asked.recipe(), metric, options.sweep_jobs)
    best = sweeps.best_of(scores, larger_is_better)
    with sweeps.waiting_for(folder):
        # Several commands may share a sweep. All of them get here when its last run ends; the first one writes the
        # output folder, and the others return what it wrote.
        if finished := _finished_sweep(folder, cells, scored):
            return as_report(folder, finished)
        return _score_best(requests[best.cell.name], folder, scores, best, metric)


def _keys_to_sweep(trainer: TrainingArguments) -> list[str]:
    """List the keys that a sweep may vary."""
    fixed = _WHERE_A_RUN_COMPUTES | _HOW_THE_BEST_IS_CHOSEN
    of_trainer = sorted(f"trainer.{one.name}" for one in fields(trainer) if one.init and one.name not in fixed)
    return ["pretrained", *of_trainer, *(f"head.{one.name}" for one in fields(Head))]


def _of_several_runs(asked: Request, what: str, varied: Iterable[str] = ()) -> Request:
    """Return the request with the kind of ``resume`` that several runs take.

    Args:
        asked: the request.
        what: "sweep" or "seeds".
        varied: keys that differ from run to run.

    Raises:
        InputError: if the runs cannot be processes of their own that read files.
    """
    trainer, data = asked.trainer, asked.data
    if asked.resume is True and asked.overwrite:
        raise InputError(f"--resume continues the {what} that --overwrite would delete; pass only one of them")
    if trainer.world_size > 1:
        raise InputError(f"{what}: it starts its own processes; run the command without a launcher, and set sweep_jobs")
    if any(not isinstance(getattr(data, name), str | Path | None) for name in ("train", "valid", "test")):
        raise InputError(f"{what}: its runs are processes that read files; save the dataset, and name the file in data")
    if asked.head.dp_epsilon is not None or any(key.startswith("head.dp_") for key in varied):
        raise InputError(f"{what}: every run would spend its own share of privacy; omit head.dp_epsilon, or {what}")
    if not asked.overwrite:
        _check_folder(Path(trainer.output_dir or ""), what, asked.resume)
    # resume=True requires a checkpoint in the output folder, but those of several runs are in the folders of the runs.
    return asked._replace(resume="auto" if asked.resume else False)


def _check_folder(folder: Path, what: str, resume: Resume) -> None:
    """Check that the output folder of several runs holds nothing but an earlier call of the same kind.

    Args:
        folder: the output folder.
        what: "sweep" or "seeds".
        resume: whether the user lets the runs continue.

    Raises:
        InputError: if it holds a model or checkpoints that these runs would delete at their end.
    """
    others = "choose another trainer.output_dir, or pass --overwrite true"
    if any(folder.glob("checkpoint-*")):
        raise InputError(f"{folder} holds checkpoints of a single run, which {what} would delete; {others}")
    if not (folder / METRICS).is_file():
        return
    if what not in finished_metrics(folder):
        raise InputError(f"{folder} holds a finished run without {what}, which {what} would delete; {others}")
    if not resume:
        raise InputError(f"{folder} holds a finished run; pass --resume auto to accept it or to add runs, {others}")


def _clear_runs(asked: Request, runs: Path, models: Iterable[str]) -> None:
    """Delete the runs of an earlier call, unless this one reads files of theirs.

    Args:
        asked: the request.
        runs: the folder of their folders.
        models: the models to start from.
    """
    read = [("pretrained", str(name)) for name in models] + [*asked.data.paths().items()]
    for key, name in read:
        if Path(name).exists() and Path(name).resolve().is_relative_to(runs.resolve()):
            raise InputError(
                f"{key}: {name} lies in {runs}, which --overwrite true would delete; copy it to another place, or "
                "choose another trainer.output_dir"
            )
    sweeps.clear_cells(runs)
    (runs.parent / METRICS).unlink(missing_ok=True)


def _check_sweep(asked: Request, grid: Mapping[str, Any]) -> None:
    """Check that the runs of a sweep can be compared in validation."""
    trainer = asked.trainer
    if not trainer.load_best_model_at_end:
        raise InputError(
            "sweep: its runs are compared in validation; name data.valid (or pass --data.split 0.8 0.1 0.1), and add "
            "--trainer.load_best_model_at_end true --trainer.eval_strategy epoch --trainer.save_strategy epoch "
            "--trainer.metric_for_best_model macro_recall (or f1, auroc, loss; for values spearman or r2)"
        )
    if trainer.metric_for_best_model in ("loss", "eval_loss"):
        if changed := next((key for key in _CHANGE_THE_LOSS if key in grid), None):
            raise InputError(
                f"sweep.{changed} changes what the loss means, so the runs cannot be compared by it; set "
                "trainer.metric_for_best_model to another score, such as macro_recall"
            )


def _finished_sweep(folder: Path, cells: list[sweeps.Cell], scored: dict[str, Any]) -> dict[str, Any] | None:
    """Return the metrics of a finished sweep over these cells, scored in this way; None if there are none."""
    if not (folder / METRICS).exists():
        return None
    metrics = finished_metrics(folder)
    # The name of a cell is that of its folder.
    sweep = metrics.get("sweep", {})
    same_cells = sorted(cell["folder"] for cell in sweep.get("cells", [])) == sorted(cell.name for cell in cells)
    return metrics if same_cells and metrics.get("scored_with", scored) == scored else None


def _score_best(
    request: Request, folder: Path, scores: list[sweeps.CellScore], best: sweeps.CellScore, metric: str
) -> dict[str, Any]:
    """Copy the best run of a sweep to the output folder, and score the test split with its model."""
    # Nothing is trained here: the plan holds the test split, and the training data for the baselines. overwrite=True,
    # because an earlier sweep may have left its model in the folder.
    plan = request._replace(resume=False, overwrite=True).plan()
    clear_outputs(folder)
    sweeps.copy_run(best.run, folder)
    sweep = sweeps.write_sweep(folder, scores, best, metric)
    metrics = finished_metrics(best.run) | {"sweep": sweep, "scored_with": scored_with(plan)}
    if plan.splits.test is not None and plan.options.score_test:
        network, _ = load_classifier(str(folder))
        metrics |= score_test(network, plan.splits.test, plan, metrics.get("calibration", {}))
    metrics = _finish_copy(folder, metrics)
    logger.info("%s: the model of %s, the best of %d runs by %s in validation", folder, best.run, len(scores), metric)
    return metrics


def run_seeds(asked: Request) -> dict[str, Any]:
    """Fine-tune once with each of several seeds, and make the output folder that of the first run."""
    asked, options = _of_several_runs(asked, "seeds"), asked.options
    cells = repeated.cells_of_seeds(options.seeds)
    first = asked.with_options(cells[0].options)
    plan = first.plan()  # so that a mistake is reported before any process starts
    if plan.splits.test is None or not options.score_test:
        raise InputError("seeds: their test scores are compared; name data.test, or pass --data.split 0.8 0.1 0.1")
    folder, score = plan.folder, main_score(task_record(plan))
    del plan
    if asked.overwrite:
        _clear_runs(asked, folder / repeated.CELLS, [asked.pretrained])
    recipe = asked.recipe() | {"baselines": options.baselines, "baseline_k": asked.baseline_k, "score_test": True}
    describe = partial(repeated.describe, score)
    runs = sweeps.run_cells(folder / repeated.CELLS, cells, recipe, describe, options.sweep_jobs)
    with sweeps.waiting_for(folder):
        finished = finished_metrics(folder) if (folder / METRICS).exists() else {}
        if finished.get("seeds", {}).get("seeds") == options.seeds:
            return as_report(folder, finished)
        clear_outputs(folder)
        sweeps.copy_run(runs[0], folder)
        found = repeated.summarise(options.seeds, [finished_metrics(run) for run in runs])
        return _finish_copy(folder, finished_metrics(runs[0]) | {"seeds": found})


def _finish_copy(folder: Path, metrics: dict[str, Any]) -> ScoreReport:
    """Write report, metrics and record of an output folder that holds a copy of a run, and return the metrics."""
    report, record = as_report(folder, metrics), read_json(folder / "run.json")
    write_score_report(scored_model(folder, report))
    finish(folder, report, partial(write_run_record, folder, record | {"command": published_command(sys.argv)}))
    return report
