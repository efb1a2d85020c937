"""Collect what screen and report tell about a fine-tuned model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checks.meaning import task_facts
from ..evaluation.evaluate import notes_of
from ..jobs import sweep as sweeps
from ..reports.score_report import ScoredModel, ScoreReport
from .plan import FinetuningPlan


def as_report(folder: Path, metrics: dict[str, Any]) -> ScoreReport:
    """Return metrics as a dictionary that the command line can show: the lines of a sweep, then those of the model."""
    report = ScoreReport(metrics)
    report.scored = scored_model(folder, metrics)
    if "sweep" in metrics:
        report.above = sweeps.screen_lines(metrics["sweep"])
    return report


def scored_model(folder: Path, metrics: dict[str, Any]) -> ScoredModel:
    """Collect what a report tells about a fine-tuned model.

    Args:
        folder: output folder of the run.
        metrics: content of metrics.json.
    """
    scores = metrics.get("test", {})
    task, baselines, ahead, leaks = (metrics.get(name, {}) for name in ("task", "baselines", "ahead", "leaks"))
    averaged = {name: metrics.get(name) for name in ("both_strands", "frames")}
    unscored = {"sequences_without_scores": metrics.get("test_sequences_without_scores")}
    start = f"from the weights of {metrics['pretrained']}" if metrics.get("pretrained") else "from random weights"
    notes = [f"Fine-tuning began {start}."] if "pretrained" in metrics else []
    notes += notes_of(scores | averaged | unscored)
    if temperature := metrics.get("calibration", {}).get("temperature"):
        notes.append(f"Logits were divided by a temperature of {temperature:.3g}, fitted on the validation split.")
    if seeds := metrics.get("seeds", {}).get("seeds"):
        notes.append(f"Scores, differences and pictures are those of seed {seeds[0]}, the first one.")
    if sweep := metrics.get("sweep"):
        notes.append(
            f"The best of {len(sweep['cells'])} runs by {sweep['metric']} in validation ({sweeps.TABLE}); the test "
            "split was scored for this run only."
        )
    return ScoredModel(
        model=folder.resolve().name,
        folder=folder,
        split="test",
        task=task,
        scores=scores,
        baselines=baselines,
        ahead=ahead,
        leaks=leaks,
        notes=notes,
        seeds=metrics.get("seeds", {}),
    )


def task_record(plan: FinetuningPlan) -> dict[str, Any]:
    """Return how the labels of every split were understood."""
    training, validation, test = plan.splits
    task = replace(training.task, positive=plan.positive)
    return task_facts(task, {"train": training, "valid": validation, "test": test})
