"""Start a run or resume it from a checkpoint, and save the model that it trained."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list

from ..errors import InputError
from .checkpoints import SETTINGS, TRAINER_STATE, changed_settings, clear_remains, newest_valid, problem_of
from .exact_trainer import ExactTrainer, disk_errors
from .incidents import divergence_error
from .memory import keep_freed_memory
from .output_folder import check_room, clear_outputs

logger = logging.getLogger(__name__)


def train(trainer: ExactTrainer, *, resume: bool, overwrite: bool) -> dict[str, float]:
    """Train, and save model, tokenizer and the Trainer's state.

    Args:
        trainer: Trainer of the run, which has not trained yet.
        resume: whether to continue from the newest valid checkpoint in the output folder.
        overwrite: whether to delete what an earlier run left in the output folder.

    Returns:
        the metrics of training.

    Raises:
        InputError: if the run diverges, the disk is full, or the run cannot be resumed; the model is not saved then.
        StoppedError: after SIGTERM or SIGINT.
    """
    args, folder = trainer.args, Path(trainer.args.output_dir)
    is_main = args.should_save  # True in one process only
    # That process looks for the checkpoint, so that all processes resume from the same one or fail with one message.
    chosen = choose_checkpoint(trainer, folder, resume) if is_main else (None, None)
    checkpoint, reason = broadcast_object_list(list(chosen))
    if reason:
        raise InputError(reason)
    if is_main:
        if overwrite and not checkpoint:
            clear_outputs(folder)
        clear_remains(folder)
        check_room(args, trainer.model)
    if args.device.type == "cpu":
        keep_freed_memory()  # every step frees and requests the same arrays: without this, each time from the system
    args.eval_on_start &= not checkpoint  # a resumed run is not at its start
    result = trainer.train(resume_from_checkpoint=checkpoint)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trainer.model.parameters()):
        raise divergence_error("a weight is NaN or infinite")
    with disk_errors(folder / "model.safetensors"):
        trainer.save_model()
        trainer.save_state()
    return result.metrics


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
            return None, f"trainer.resume_from_checkpoint: {checkpoint} is not valid: {problem}; name another"
    else:  # it may also be True: then take the newest checkpoint, as with --resume
        newest, problems = newest_valid(folder)
        for name, problem in problems.items():
            logger.warning("%s/%s is skipped: %s", folder, name, problem)
        if newest is None:
            return None, f"{folder}: no valid checkpoint to resume from; omit --resume and pass --overwrite true"
        checkpoint = newest
    reason = _reason_not_to_resume(trainer, checkpoint)
    if not reason:
        logger.info("resuming from %s", checkpoint)
    return str(checkpoint), reason


def _reason_not_to_resume(trainer: ExactTrainer, checkpoint: Path) -> str | None:
    """Return why a run cannot be resumed from a checkpoint: changed settings, or no steps left; None if it can."""
    changed = changed_settings(json.loads((checkpoint / SETTINGS).read_text(encoding="utf-8")), trainer.settings)
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        return (
            f"{checkpoint}: {changed[0]}{more}; a resumed run keeps its settings: change them back, or start from "
            "scratch with --overwrite true"
        )
    finished = (Path(trainer.args.output_dir) / "metrics.json").exists()
    state = json.loads((checkpoint / TRAINER_STATE).read_text(encoding="utf-8"))
    if finished and 0 < trainer.args.max_steps <= state["global_step"]:
        return f"{checkpoint}: already trained for {state['global_step']} steps; raise trainer.max_steps to continue"
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
