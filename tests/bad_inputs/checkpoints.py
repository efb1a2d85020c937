"""Runs to resume."""

from __future__ import annotations

from pathlib import Path

from .case import Case

CASES: dict[str, Case] = {}

TRAIN = (
    "finetune --pretrained MLM --data.train TABLE --trainer.output_dir out --trainer.max_steps 1 --baseline_k 0 "
    "--trainer.report_to none --trainer.save_strategy no"
)


def folder(*names: str):
    """Return a function that makes the folder ``out`` with empty files; a name that ends with / is a folder in it."""

    def make(work: Path) -> None:
        (work / "out").mkdir()
        for name in names:
            path = work / "out" / name
            path.mkdir() if name.endswith("/") else path.write_text("{}")

    return make


CASES |= {
    "nothing_to_resume_from": Case(
        f"{TRAIN} --resume true", ("out:", "no checkpoint", "--resume auto"), remedy=f"{TRAIN} --resume auto"
    ),
    "a_finished_run_without_a_flag": Case(
        TRAIN, ("out", "finished", "--overwrite true"), folder("metrics.json"), remedy=f"{TRAIN} --overwrite true"
    ),
    "checkpoints_without_a_flag": Case(
        TRAIN,
        ("out", "checkpoints", "--resume true", "--overwrite true"),
        folder("checkpoint-1/"),
        remedy=f"{TRAIN} --overwrite true",
    ),
    "resume_and_overwrite": Case(
        f"{TRAIN} --resume true --overwrite true",
        ("--resume", "--overwrite"),
        remedy=f"{TRAIN} --resume auto --overwrite true",
    ),
    "auto_and_scores_of_something_else": Case(
        f"{TRAIN} --resume auto",
        ("out:", "metrics.json", "trainer_state.json", "--overwrite true"),
        folder("metrics.json", "trainer_state.json"),
        remedy=f"{TRAIN} --resume auto --overwrite true",
    ),
    "auto_and_damaged_checkpoints_only": Case(
        f"{TRAIN} --resume auto",
        ("out:", "checkpoint-1: it has no manifest.json", "--resume false --overwrite true"),
        folder("checkpoint-1/"),
        remedy=f"{TRAIN} --resume false --overwrite true",
    ),
    "resume_is_neither_yes_nor_no": Case(f"{TRAIN} --resume perhaps", ("resume", "perhaps")),
    "a_checkpoint_that_is_none": Case(
        f"{TRAIN} --resume auto --trainer.resume_from_checkpoint out",
        ("--trainer.resume_from_checkpoint", "out"),
        folder("checkpoint-1/"),
    ),
}
