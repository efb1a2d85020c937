"""Start a run or resume it from a checkpoint, and save the model that it trained."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list

from ..errors import InputError
from ..io.writing import write_json, write_text
from ..saved_files import check_shards, read_json, read_tensors, weight_files
from .callbacks import ReturnMemory
from .checkpoints import (
    SETTINGS,
    TRAINER_STATE,
    changed_settings,
    check_files,
    check_readable,
    checkpoints_in,
    clear_remains,
    newest_valid,
    problem_of,
    read_object,
    read_state,
)
from .exact_trainer import ExactTrainer, disk_errors
from .incidents import divergence_error
from .memory import keep_freed_memory
from .output_folder import LOCK, Resume, check_room, clear_outputs, locked

logger = logging.getLogger(__name__)

#: File that only a finished run has.
METRICS = "metrics.json"
_NAMED = 5  # changed settings in a message


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        checkpoint: path of the checkpoint to continue from; None for the beginning.
        reason: why the run cannot start; None if it can.
        finished: whether the run is finished, so that nothing is left to do.
    """

    checkpoint: str | None = None
    reason: str | None = None
    finished: bool = False


@contextmanager
def starting(trainer: ExactTrainer, *, resume: Resume, overwrite: bool) -> Iterator[Start]:
    """Lock the output folder within the block, and find where the run starts.

    Args:
        trainer: Trainer of the run, which has not trained yet.
        resume: whether to continue from the newest valid checkpoint in the output folder; "auto" begins, continues, or
            finds the run finished.
        overwrite: whether to delete what an earlier run left in the output folder; "auto" then begins.

    Raises:
        InputError: if another process writes to the folder, or the run cannot be resumed; in all processes.
    """
    folder = Path(trainer.args.output_dir)
    with ExitStack() as held:
        start = Start()
        # One process looks, so that all processes resume from the same checkpoint or fail with one message.
        if trainer.args.should_save:
            try:
                killed = (folder / LOCK).exists()  # a run that ended in any other way has deleted it
                # A finished run is not even locked: its folder may be read-only.
                start = (not killed and _finished_start(trainer, folder, resume, overwrite)) or Start()
                if not (start.finished or start.reason):
                    held.enter_context(locked(folder))
                    if killed and resume == "auto":  # it may have written its metrics, but nothing after them
                        (folder / METRICS).unlink(missing_ok=True)
                    start = choose_start(trainer, folder, resume, overwrite)
            except (InputError, OSError) as error:  # an error in one process would leave the others waiting
                start = Start(reason=str(error))
        (start,) = broadcast_object_list([start])
        if start.reason:
            raise InputError(start.reason)
        if start.finished:
            logger.info("%s: finished; nothing to do", folder)
        yield start


def train(trainer: ExactTrainer, start: Start, *, overwrite: bool) -> dict[str, float]:
    """Train, and save model, tokenizer, settings and the Trainer's state.

    Args:
        trainer: Trainer of the run, which has not trained yet.
        start: where the run starts.
        overwrite: whether to delete what an earlier run left in the output folder.

    Returns:
        the metrics of training.

    Raises:
        InputError: if the run diverges or the disk is full; the model is then not saved.
        StoppedError: after a signal that asks for a stop.
    """
    args, folder = trainer.args, Path(trainer.args.output_dir)
    if args.should_save:  # True in one process only
        if overwrite and not start.checkpoint:
            clear_outputs(folder)
        # Only a finished run has this file, so from here on the run counts as unfinished.
        (folder / METRICS).unlink(missing_ok=True)
        clear_remains(folder)
        check_room(args, trainer.model)
    if args.device.type == "cpu":
        keep_freed_memory()  # every step frees and requests the same arrays: without this, each time from the system
        trainer.add_callback(ReturnMemory())
    args.eval_on_start &= not start.checkpoint  # a resumed run is not at its start
    result = trainer.train(resume_from_checkpoint=start.checkpoint)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trainer.model.parameters()):
        raise divergence_error("a weight is NaN or infinite")
    with disk_errors(folder / "model.safetensors"):
        if args.should_save:  # before the model, which they mark as the run's own (`check_no_other_model`)
            write_text(folder / SETTINGS, json.dumps(trainer.settings, indent=1, default=str) + "\n")
        trainer.save_model()
        trainer.save_state()
    trainer.stop_if_asked()
    return result.metrics


def finish(folder: Path, metrics: dict[str, Any], then: Callable[[], None]) -> None:
    """Write the metrics of a run and what is made from them; after that, the run is finished.

    Args:
        folder: the output folder.
        metrics: the metrics.
        then: what to do after they are written; if it fails, the run is not finished.
    """
    write_json(folder / METRICS, metrics)
    try:
        then()
    except BaseException:
        (folder / METRICS).unlink(missing_ok=True)
        raise


def finished_metrics(folder: Path) -> dict[str, Any]:
    """Read the metrics of a finished run.

    Args:
        folder: its output folder.

    Raises:
        InputError: if the file is damaged.
    """
    path = folder / METRICS
    try:
        return read_json(path)
    except ValueError as error:
        raise InputError(f"{error}, or train again with --overwrite true") from error


def choose_start(trainer: ExactTrainer, folder: Path, resume: Resume, overwrite: bool) -> Start:
    """Choose where a run starts: at the beginning, at a checkpoint, or nowhere because it is finished.

    Args:
        trainer: Trainer of the run.
        folder: the output folder.
        resume: as in `starting`.
        overwrite: as in `starting`.
    """
    if resume != "auto" or isinstance(trainer.args.resume_from_checkpoint, str):
        return Start(*choose_checkpoint(trainer, folder, bool(resume)))
    if overwrite:
        logger.warning("%s: begins again (overwrite); a command that is run repeatedly should omit it", folder)
        return Start()
    if ended := _finished_start(trainer, folder, resume, overwrite):
        return ended
    if not checkpoints_in(folder):
        return Start(reason=_reason_of_remains(folder / SETTINGS, trainer))
    return Start(*choose_checkpoint(trainer, folder, resume=True))


def _finished_start(trainer: ExactTrainer, folder: Path, resume: Resume, overwrite: bool) -> Start | None:
    """Return the start of a run with `resume` "auto" that is finished; None if there is something to do."""
    if resume != "auto" or overwrite or not (folder / METRICS).exists():
        return None
    check_readable(folder / TRAINER_STATE)  # otherwise its lack of permission would pass for damage
    try:
        state = read_state(folder)
    except InputError:
        return Start(
            reason=f"{folder}: holds {METRICS}, but no log of a training run ({TRAINER_STATE}); choose another "
            "trainer.output_dir, or train here with --overwrite true"
        )
    saved = next(filter(Path.is_file, (folder / SETTINGS, *(path / SETTINGS for path in checkpoints_in(folder)))), None)
    if saved and (reason := _reason_of_changes(saved, trainer)):
        return Start(reason=reason)
    if not _asks_for_more(trainer, state):
        return Start(finished=True, reason=_reason_of_weights(folder))
    if newest_valid(folder)[0] is None:
        length = "max_steps" if trainer.args.max_steps > 0 else "num_train_epochs"
        return Start(
            reason=f"{folder}: finished after {state['global_step']} steps, and no checkpoint is left to continue "
            f"from; set trainer.{length} back, or train again with --overwrite true"
        )
    return None


def _reason_of_remains(saved: Path, trainer: ExactTrainer) -> str | None:
    """Return which settings differ from those of a run without checkpoints that was killed after its training.

    None if no setting differs, or if the run left no settings that can be read: then it was killed earlier.
    """
    try:
        return _reason_of_changes(saved, trainer) if saved.is_file() else None
    except InputError:
        return None


def _reason_of_weights(folder: Path) -> str | None:
    """Return why a finished run has no model that could be used; None if its weights are complete."""
    remedy = "train again with --overwrite true"
    for file in folder.glob("*.safetensors"):
        check_readable(file)
    try:
        check_shards(folder)
        weights = weight_files(folder) or [file for file in [folder / "adapter_model.safetensors"] if file.is_file()]
        for file in weights[:1]:
            read_tensors(file)
    except (OSError, ValueError) as error:
        return f"{error}; or {remedy}"
    return None if weights else f"{folder}: the run is finished, but its weights are missing; copy them, or {remedy}"


def _asks_for_more(trainer: ExactTrainer, state: dict[str, Any]) -> bool:
    """Return whether a run is longer than the finished one, whose Trainer has left this state."""
    args, done, planned = trainer.args, state["global_step"], state["max_steps"]
    if args.max_steps > 0:
        return args.max_steps > max(done, planned)
    # The state rounds the number of epochs up, so half an epoch is 1 there; the steps tell how many were planned.
    epochs = state["num_train_epochs"]
    if done > 0 and planned > 0 and state.get("epoch"):
        epochs = min(epochs, state["epoch"] * planned / done)  # all were trained, unless the run stopped early
    return args.num_train_epochs > epochs * (1 + 1e-9)


def choose_checkpoint(trainer: ExactTrainer, folder: Path, resume: bool) -> tuple[str | None, str | None]:
    """Choose the checkpoint to resume from.

    Args:
        trainer: Trainer of the run; its argument ``resume_from_checkpoint`` may name the checkpoint.
        folder: the output folder.
        resume: whether to take the newest valid checkpoint in the folder if none is named.

    Returns:
        a pair: the checkpoint (None to start from scratch), and why the run cannot be resumed (None if it can).
    """
    named = trainer.args.resume_from_checkpoint
    if not (named or resume):
        return None, None
    if isinstance(named, str):
        checkpoint, problem = Path(named), problem_of(Path(named))
        if problem:
            check_readable(checkpoint)
            return None, f"trainer.resume_from_checkpoint: {checkpoint} is not valid: {problem}; name another"
    else:  # it may also be True: then take the newest checkpoint, as with --resume
        newest, problems = newest_valid(folder)
        for name, problem in problems.items():
            check_readable(folder / name)
            logger.warning("%s/%s is skipped: %s", folder, name, problem)
        if newest is None:
            told = "".join(f"; {name}: {problem}" for name, problem in [*problems.items()][:1])
            return None, (
                f"{folder}: no valid checkpoint to resume from{told}; restore one, or begin again with --resume false "
                "--overwrite true"
            )
        checkpoint = newest
    reason = _reason_not_to_resume(trainer, checkpoint)
    if not reason:
        logger.info("resuming from %s", checkpoint)
    return str(checkpoint), reason


def _reason_not_to_resume(trainer: ExactTrainer, checkpoint: Path) -> str | None:
    """Return why a run cannot be resumed from a checkpoint: changed settings, or no steps left; None if it can."""
    if reason := _reason_of_changes(checkpoint / SETTINGS, trainer):
        return reason
    finished = (Path(trainer.args.output_dir) / "metrics.json").exists()
    check_files(checkpoint)
    state = read_state(checkpoint)
    if finished and 0 < trainer.args.max_steps <= state["global_step"]:
        return (
            f"{checkpoint}: already trained for {state['global_step']} steps; raise trainer.max_steps to continue, or "
            "pass --resume auto, which accepts a finished run"
        )
    # The length of the run may change, but the learning rate then no longer follows the schedule used so far.
    max_steps = trainer.args.max_steps
    if max_steps > 0 and max_steps != state["max_steps"] and not trainer.settings.get("trainer.schedule_steps"):
        logger.warning(
            "trainer.max_steps was %d: the learning rate now follows a different schedule", state["max_steps"]
        )
    epochs = math.ceil(trainer.args.num_train_epochs)
    if max_steps <= 0 and epochs != state["num_train_epochs"]:
        logger.warning(
            "trainer.num_train_epochs was %d: the learning rate now follows a different schedule",
            state["num_train_epochs"],
        )
    return None


def _reason_of_changes(saved: Path, trainer: ExactTrainer) -> str | None:
    """Return which settings of a run differ from those saved in a file, and what to do; None if none does."""
    changed = changed_settings(read_object(saved), trainer.settings)
    if not changed:
        return None
    more = f" (and {len(changed) - _NAMED} more)" if len(changed) > _NAMED else ""
    return (
        f"{saved.parent}: {', '.join(changed[:_NAMED])}{more}; a resumed run keeps its settings: change them back, "
        "choose another trainer.output_dir, or begin again with --resume false --overwrite true"
    )
