"""Runs to resume."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from hf_genomics.runs import checkpoints

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
        ("out", "checkpoints", "--resume auto", "--overwrite true"),
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


# Checkpoints whose manifest fits files that are damaged, as it may in a folder from somebody else.

RESUMED = (
    "finetune --pretrained model --data.train table.csv --trainer.output_dir out --trainer.max_steps 2 --baseline_k 0 "
    "--trainer.report_to none --trainer.save_steps 1 --trainer.logging_steps 1 --resume auto"
)


@functools.cache
def _stopped_run() -> tempfile.TemporaryDirectory:
    """Write a run with the checkpoint of its first step, and the model and the table that it starts from."""
    from small_files import table
    from small_models import saved_model

    from hf_genomics.cli import main

    home = tempfile.TemporaryDirectory(prefix="stopped_run_")
    saved_model(Path(home.name), head="KmerBertForMaskedLM")
    table(Path(home.name) / "table.csv", *["ACGTACGTAC,a", "TTGACCATGA,b"] * 3)
    out = Path(home.name, "out")
    places = {name: str(Path(home.name, name)) for name in ("model", "table.csv", "out")}
    assert main([places.get(word, word) for word in RESUMED.split()]) == 0
    shutil.rmtree(out / "checkpoint-2")
    for path in out.iterdir():
        if path.is_file():
            path.unlink()
    return home


def damaged(name: str, content: str):
    """Return a function that copies a stopped run, changes a file of its checkpoint, and seals that again."""

    def make(work: Path) -> None:
        shutil.copytree(_stopped_run().name, work, dirs_exist_ok=True)
        folder = work / "out" / "checkpoint-1"
        (folder / name).write_text(content)
        (folder / "manifest.json").unlink()
        checkpoints._seal(folder)

    return make


STATE = '{"global_step": 1, "max_steps": 2, "num_train_epochs": 2, "log_history": []'
BEGIN_AGAIN = f"{RESUMED} --overwrite true".replace("auto", "false")
CASES |= {
    f"{name}_{what}": Case(
        RESUMED,
        (f"out/checkpoint-1/{name}", "delete out/checkpoint-1,", "--resume false --overwrite true", *named),
        damaged(name, content),
        remedy=BEGIN_AGAIN if what == "that_is_a_list" else None,
    )
    for name, what, content, named in (
        ("trainer_state.json", "that_is_a_list", "[]", ("object",)),
        ("trainer_state.json", "without_a_step", '{"max_steps": 2}', ("global_step",)),
        ("trainer_state.json", "with_a_step_as_text", STATE.replace(": 1,", ': "1",') + "}", ("global_step", "'1'")),
        ("trainer_state.json", "with_a_negative_step", STATE.replace(": 1,", ": -1,") + "}", ("global_step", "-1")),
        ("trainer_state.json", "with_an_unknown_value", STATE + ', "steps": 1}', ("'steps'",)),
        ("trainer_state.json", "with_a_log_of_numbers", STATE.replace("[]", "[1]") + "}", ("log_history",)),
        ("trainer_state.json", "nested_deeply", "[" * 100_000, ("recursion",)),
        ("settings.json", "that_is_empty", "", ()),
        ("config.json", "that_is_a_list", "[]", ()),
        ("optimizer.json", "without_a_state", "{}", ()),
        ("optimizer.safetensors", "that_is_no_such_file", "x", ()),
        ("processes.json", "of_no_process", "[]", ()),
        ("processes.safetensors", "that_is_empty", "", ()),
        ("model.safetensors", "that_is_empty", "", ()),
    )
}
