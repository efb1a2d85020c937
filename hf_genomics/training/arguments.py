"""Values of TrainingArguments that transformers takes as they are and stumbles over later, or that would do nothing.

Every rule here holds before data is read and the output folder is made; each message names the key as the user wrote
it, its value, and what would do.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DynamoBackend
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.integrations import get_available_reporting_integrations
from transformers.training_args import trainer_log_levels

from ..errors import InputError

logger = logging.getLogger(__name__)

#: The smallest value of each key; None, where a key may be null, passes.
_LEAST: dict[str, float] = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "eval_accumulation_steps": 1,
    "save_total_limit": 1,
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": 1,
    "learning_rate": 0,
    "weight_decay": 0,
    "adam_epsilon": 0,
    "max_grad_norm": 0,
    "eval_delay": 0,
    "neftune_noise_alpha": 0,
}
#: Keys that must lie in 0..1, 1 excluded, and seeds, which NumPy takes up to 32 bits.
_SHARES = ("adam_beta1", "adam_beta2")
_SEEDS = ("seed", "data_seed")

#: What must keep its default, and why.
_REFUSED = {
    "push_to_hub": "would upload all of the folder, training_args.bin too; run hf-genomics push afterwards",
    "dataloader_persistent_workers": "must be false: kept workers would repeat the first epoch",
    "save_only_model": "must be false: the run could not be resumed exactly",
    "ignore_data_skip": "must be false: the run could not be resumed exactly",
    "auto_find_batch_size": "must be false: the run could not be resumed exactly",
    "batch_eval_metrics": "must be false: scores are of all predictions together",
    "label_smoothing_factor": "must be 0: smoothed labels would pass by the heads' own losses, their class weights and "
    "the division by the labels of a whole step",
    "use_liger_kernel": "must be false: there are no such kernels for KmerBert",
}
_CHECKPOINTING = {"use_reentrant", "preserve_rng_state", "determinism_check", "debug", "context_fn", "early_stop"}


def check_arguments(args: TrainingArguments) -> None:
    """Check what TrainingArguments does not check itself.

    Raises:
        InputError: naming the key, its value and the rule.
    """
    for name, least in _LEAST.items():
        value = getattr(args, name, None)
        if value is not None and not value >= least:
            raise InputError(f"trainer.{name} must be at least {least}, not {value}")
    for name in _SHARES:
        if not 0 <= getattr(args, name) < 1:
            raise InputError(f"trainer.{name} must lie in 0..1 (1 excluded), not {getattr(args, name)}")
    for name in _SEEDS:
        value = getattr(args, name)
        if value is not None and not 0 <= value < 2**32:
            raise InputError(f"trainer.{name} must lie in 0..2^32 - 1, not {value}")
    for name, why in _REFUSED.items():
        if getattr(args, name, None):
            raise InputError(f"trainer.{name} {why}")
    _check_steps(args)
    _check_names(args)
    check_optimizer(args)
    checkpoint = args.resume_from_checkpoint
    if isinstance(checkpoint, str) and not (Path(checkpoint) / "trainer_state.json").is_file():
        raise InputError(
            f"trainer.resume_from_checkpoint: {checkpoint} is no checkpoint; name a folder checkpoint-STEP"
        )


def _check_steps(args: TrainingArguments) -> None:
    """Check the length of the run and what happens every so many steps."""
    if args.max_steps == 0 or args.max_steps < -1:
        raise InputError(
            f"trainer.max_steps must be at least 1, or -1 to train for trainer.num_train_epochs, not {args.max_steps}"
        )
    if args.max_steps < 0 and not args.num_train_epochs > 0:
        raise InputError(f"trainer.num_train_epochs must be above 0, not {args.num_train_epochs}")
    for kind, what in (("save", "save"), ("eval", "evaluation"), ("logging", "line of the log")):
        steps = getattr(args, f"{kind}_steps")
        if getattr(args, f"{kind}_strategy") == "steps" and not steps > 0:
            raise InputError(
                f"trainer.{kind}_steps must be above 0 (steps from one {what} to the next, or a share of all steps), "
                f"not {steps}; for none set trainer.{kind}_strategy to no"
            )
    first = max(args.eval_delay, args.eval_steps or 0)
    if args.load_best_model_at_end and args.eval_strategy == "steps" and 0 < args.max_steps < first:
        logger.warning(
            "no evaluation comes within the %d steps of the run (trainer.eval_steps, trainer.eval_delay): there is no "
            "best model; the last one is kept",
            args.max_steps,
        )
    warmup = args.warmup_steps
    if warmup >= 1 and warmup != int(warmup):
        raise InputError(f"trainer.warmup_steps must be a whole number of steps, or a share below 1, not {warmup}")
    if 0 < args.max_steps < warmup:
        logger.warning(
            "trainer.warmup_steps (%d) go beyond the run of trainer.max_steps (%d): the learning rate never reaches "
            "trainer.learning_rate",
            warmup,
            args.max_steps,
        )


def _check_names(args: TrainingArguments) -> None:
    """Check names that are looked up only when the Trainer is built, or later."""
    missing = set(args.report_to) - set(get_available_reporting_integrations()) - {"none", "all"}
    if missing:
        raise InputError(f"trainer.report_to: {sorted(missing)[0]} is not installed; install it or leave it away")
    if args.train_sampling_strategy == "group_by_length":
        raise InputError(
            "trainer.train_sampling_strategy: group_by_length needs lengths that windows do not have; use random"
        )
    for name in ("log_level", "log_level_replica"):
        _one_of(f"trainer.{name}", getattr(args, name), trainer_log_levels)
    if args.torch_compile_backend:
        _one_of("trainer.torch_compile_backend", args.torch_compile_backend.upper(), DynamoBackend.list())
    unknown = sorted(set(args.gradient_checkpointing_kwargs or {}) - _CHECKPOINTING)
    if unknown:
        raise InputError(f"trainer.gradient_checkpointing_kwargs: {unknown[0]!r} is none of {sorted(_CHECKPOINTING)}")
    if args.fsdp and args.world_size == 1:
        raise InputError(
            "trainer.fsdp spreads a model over several processes, but there is one; start them by accelerate launch "
            "with recipes/accelerate/fsdp2.yaml"
        )


def _one_of(key: str, value: str, known: Any) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, list(known), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{key} must be one of {', '.join(known)}, not {value!r}{hint}")


def check_optimizer(args: TrainingArguments) -> None:
    """Build optimizer and schedule for one number, as the Trainer would build them after all else.

    Raises:
        InputError: naming the keys, and what torch or transformers said.
    """
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
            return
        optimizer = kind([torch.nn.Parameter(torch.zeros(1, 1))], **options)
    except (ImportError, ValueError, TypeError, RuntimeError) as error:
        if "pass a model" in str(error):  # made from the model's layers: cannot be tried here
            return
        text = " ".join(str(error).split())
        raise InputError(
            f"trainer.optim {getattr(args.optim, 'value', args.optim)} (with trainer.optim_args {args.optim_args}) "
            f"cannot be used: {text}; adamw_torch needs nothing"
        ) from error
    try:
        get_scheduler(args.lr_scheduler_type, optimizer, 0, 1, scheduler_specific_kwargs=args.lr_scheduler_kwargs or {})
    except (ValueError, TypeError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"trainer.lr_scheduler_type {getattr(args.lr_scheduler_type, 'value', args.lr_scheduler_type)} with "
            f"trainer.lr_scheduler_kwargs {args.lr_scheduler_kwargs or {}} cannot be used: {text}"
        ) from error


def check_best_metric(args: TrainingArguments, scores: Mapping[str, bool], missing: str | None) -> None:
    """Check that there is something to evaluate on, and that the best model can be told; set which way is better.

    Args:
        args: of the Trainer.
        scores: what an evaluation measures, and whether more of it is better.
        missing: where there is nothing to validate on, what to do about it.

    Raises:
        InputError: if there is no such metric, or nothing is evaluated.
    """
    if missing and (args.eval_strategy != "no" or args.eval_on_start):
        key = "eval_on_start" if args.eval_strategy == "no" else "eval_strategy"
        raise InputError(f"trainer.{key} asks for validation, but {missing}")
    metric = args.metric_for_best_model
    if metric is None and args.save_strategy != "best":  # with load_best_model_at_end it is "loss" at least
        return
    key = _key_of_best(args)
    if metric is None:
        raise InputError(f"{key} needs trainer.metric_for_best_model, one of {', '.join(scores)}")
    name = metric.removeprefix("eval_")
    if name not in scores:
        near = difflib.get_close_matches(name, scores, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{key}: no metric {metric!r}{hint} (there are {', '.join(scores)})")
    if args.prediction_loss_only and name != "loss":
        raise InputError(f"{key}: trainer.prediction_loss_only measures the loss alone, not {name}; set it to false")
    if missing:
        raise InputError(f"{key} asks for validation, but {missing}")
    if args.eval_strategy == "no":
        raise InputError(f"{key} needs evaluations during training; set trainer.eval_strategy")
    args.greater_is_better = scores[name]


def _key_of_best(args: TrainingArguments) -> str:
    """Name the key by which the user asked for the best model."""
    if args.metric_for_best_model not in (None, "loss"):
        return "trainer.metric_for_best_model"
    if args.load_best_model_at_end:
        return "trainer.load_best_model_at_end"
    return "trainer.save_strategy best" if args.save_strategy == "best" else "trainer.metric_for_best_model"
