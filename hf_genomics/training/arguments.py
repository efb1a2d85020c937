"""Training options: those that pretraining adds to TrainingArguments, and early checks of all of them.

transformers accepts some values without a check and fails on them later, or ignores them. The checks here run before
data is read and before the output folder is made; each message names the key as the user wrote it, its value and a
remedy.
"""

from __future__ import annotations

import copy
import logging
import multiprocessing
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import DynamoBackend
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.integrations import get_available_reporting_integrations
from transformers.training_args import trainer_log_levels

from ..errors import InputError
from ..saved_settings import shown
from ..sequence import did_you_mean

logger = logging.getLogger(__name__)

#: The smallest allowed value of each key. A value of None is not checked.
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
#: The largest allowed value of each key: far beyond any run, and within what Python and torch can count or start.
_MOST: dict[str, float] = {
    "per_device_train_batch_size": 2**24,
    "per_device_eval_batch_size": 2**24,
    "gradient_accumulation_steps": 2**24,
    "eval_accumulation_steps": 2**24,
    "max_steps": 2**40,
    "schedule_steps": 2**40,
    "num_train_epochs": 1e9,
    "warmup_steps": 2**40,
    "logging_steps": 2**40,
    "eval_steps": 2**40,
    "save_steps": 2**40,
    "eval_delay": 2**40,
    "save_total_limit": 2**20,
    "dataloader_num_workers": 1024,
    "dataloader_prefetch_factor": 1024,
    "weight_decay": 1000,
    "adam_epsilon": 1,
    "max_grad_norm": 1e30,
    "neftune_noise_alpha": 1e6,
    "peak_tflops": 1e9,
}
#: Keys whose values must lie in 0..1, 1 excluded.
_SHARES = ("adam_beta1", "adam_beta2")
#: Keys of seeds; NumPy accepts seeds of up to 32 bits.
_SEEDS = ("seed", "data_seed")

_NO_UPLOAD = "has no effect, because runs upload nothing; omit it, and run hf-genomics push afterwards"
#: Keys that must keep their default value, and the end of the error message: what to do or why.
_MUST_KEEP_DEFAULT = {
    **dict.fromkeys(("hub_model_id", "hub_token", "hub_private_repo", "hub_always_push", "hub_revision"), _NO_UPLOAD),
    "push_to_hub": "would upload the whole folder, training_args.bin too; run hf-genomics push afterwards",
    "dataloader_persistent_workers": "must be false: workers that stay alive would repeat the first epoch",
    "save_only_model": "must be false: the run could not be resumed exactly",
    "ignore_data_skip": "must be false: the run could not be resumed exactly",
    "auto_find_batch_size": "must be false: the run could not be resumed exactly",
    "batch_eval_metrics": "must be false: scores are computed over all predictions together",
    "label_smoothing_factor": "must be 0: label smoothing would bypass the heads' own losses, their class weights and "
    "the division by the number of labels in a whole step",
    "use_liger_kernel": "must be false: there are no Liger kernels for KmerBert",
    "label_names": "must not be set: the heads name their labels themselves",
    "debug": "must be empty: transformers' search for overflows cannot read attention masks; a NaN or infinite loss is "
    "reported without it",
}
#: Words in the names of optimizers that train chosen modules only.
_OF_MODULES = ("galore", "apollo")
#: Options of torch.utils.checkpoint.checkpoint.
_CHECKPOINTING = {"use_reentrant", "preserve_rng_state", "determinism_check", "debug", "context_fn", "early_stop"}

_SMALL = 20_000_000  # weights; a model with fewer learns best at a higher learning rate

#: Why DeepSpeed is refused, and what to use instead.
NO_DEEPSPEED = (
    "trainer.deepspeed is not supported: models and checkpoints would hold the shard of one process only; omit it, or "
    "shard the model by trainer.fsdp and recipes/accelerate/fsdp2.yaml"
)


@dataclass
class PretrainingArguments(TrainingArguments):
    """Options of a pretraining run: the options of transformers.TrainingArguments and four more.

    Args:
        schedule_steps: number of steps of the learning rate schedule (a warm-up given as a share is a share of these
            steps); by default trainer.max_steps. It may exceed trainer.max_steps: a schedule of 200,000 steps that is
            stopped after 100,000.
        on_nonfinite: what to do at the first NaN or infinite loss or gradient norm: "stop" the run, or skip the step
            ("skip_batch").
        packing: put several windows into one row, where they do not see each other, so that no token is padding. All
            windows of a batch share one row. If the model is compiled, or one process drives several GPUs, a batch has
            several rows, each as long as the longest window. masking.pack_to sets another length.
        peak_tflops: peak speed of one device, in 10^12 operations per second, from which the log computes the MFU
            (model FLOPs utilisation); by default it is measured when training begins, in a tenth of a second.

    Raises:
        InputError: if peak_tflops is not positive.
    """

    schedule_steps: int | None = None
    on_nonfinite: Literal["stop", "skip_batch"] = "stop"
    packing: bool = True
    peak_tflops: float | None = None

    def __post_init__(self) -> None:
        """Check peak_tflops, whose range depends on no other option."""
        super().__post_init__()
        if self.peak_tflops is not None and not self.peak_tflops > 0:
            raise InputError(f"trainer.peak_tflops must be above 0, not {self.peak_tflops}; omit it to measure it")

    @classmethod
    def of(cls, args: TrainingArguments) -> PretrainingArguments:
        """Convert plain TrainingArguments by adding the defaults of the four options; return other arguments unchanged.

        Args:
            args: PretrainingArguments or plain TrainingArguments; plain ones are copied.
        """
        if isinstance(args, cls):
            return args
        # Not cls(...): __post_init__ has run already, and is not meant to run twice. The four options have their
        # defaults all the same, because a dataclass keeps defaults as attributes of the class.
        copy = cls.__new__(cls)
        copy.__dict__.update(vars(args))
        return copy


def check_arguments(args: TrainingArguments) -> None:
    """Check what TrainingArguments does not check itself.

    Args:
        args: arguments of a run.

    Raises:
        InputError: naming the key, its value and the rule.
    """
    for name, least in _LEAST.items():
        value = getattr(args, name, None)
        if value is not None and not value >= least:
            raise InputError(f"trainer.{name} must be at least {least}, not {value}")
    for name, most in _MOST.items():
        value = getattr(args, name, None)
        if isinstance(value, int | float) and not value <= most:
            raise InputError(f"trainer.{name} must be at most {most:,}, not {shown(value)}")
    for name in _SHARES:
        if not 0 <= getattr(args, name) < 1:
            raise InputError(f"trainer.{name} must lie in 0..1 (1 excluded), not {getattr(args, name)}")
    for name in _SEEDS:
        value = getattr(args, name)
        if value is not None and not 0 <= value < 2**32:
            raise InputError(f"trainer.{name} must lie in 0..2^32 - 1, not {value}")
    for name, why in _MUST_KEEP_DEFAULT.items():
        if getattr(args, name, None):
            raise InputError(f"trainer.{name} {why}")
    if args.hub_strategy != "every_save":
        raise InputError(f"trainer.hub_strategy {_NO_UPLOAD}")
    if not args.eval_do_concat_batches:
        raise InputError("trainer.eval_do_concat_batches must be true: scores are computed over all predictions")
    for name in ("fp16", "fp16_full_eval"):
        if getattr(args, name) and args.device.type == "cpu":
            raise InputError(f"trainer.{name} needs a GPU; set trainer.{name.replace('fp', 'bf')}, which a CPU can do")
    _check_steps(args)
    _check_names(args)
    _check_sharding(args)
    _check_optimizer_options(args)
    check_optimizer(args)
    checkpoint = args.resume_from_checkpoint
    if isinstance(checkpoint, str) and not (Path(checkpoint) / "trainer_state.json").is_file():
        raise InputError(
            f"trainer.resume_from_checkpoint: {checkpoint} is not a checkpoint; name a folder checkpoint-STEP"
        )


def warn_of_low_rate(args: TrainingArguments, weights: int) -> None:
    """Warn if a small model is about to be trained at transformers' default learning rate, which suits large models.

    Args:
        args: arguments of a run.
        weights: number of weights of the model.
    """
    default = TrainingArguments.__dataclass_fields__["learning_rate"].default
    if weights < _SMALL and args.learning_rate == default:
        logger.warning(
            "trainer.learning_rate is %g, transformers' default, at which a model of %s weights learns little in a few "
            "epochs; try --trainer.learning_rate 5e-4",
            default,
            f"{weights:,}",
        )


def _check_steps(args: TrainingArguments) -> None:
    """Check the length of the run, and the intervals of saving, evaluating and logging."""
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
                f"not {steps}; set trainer.{kind}_strategy to no for none"
            )
    _warn_of_late_steps(args)
    warmup = args.warmup_steps
    if warmup >= 1 and warmup != int(warmup):
        raise InputError(f"trainer.warmup_steps must be a whole number of steps, or a share below 1, not {warmup}")


def _warn_of_late_steps(args: TrainingArguments) -> None:
    """Warn of a first evaluation or an end of the warm-up that lies beyond the end of the run."""
    first = max(args.eval_delay, args.eval_steps or 0)
    if args.load_best_model_at_end and args.eval_strategy == "steps" and 0 < args.max_steps < first:
        logger.warning(
            "the run of %d steps ends before its first evaluation (trainer.eval_steps, trainer.eval_delay): the last "
            "model is kept as the best",
            args.max_steps,
        )
    if 0 < args.max_steps < args.warmup_steps:
        logger.warning(
            "trainer.warmup_steps (%d) exceed trainer.max_steps (%d): the learning rate never reaches "
            "trainer.learning_rate",
            args.warmup_steps,
            args.max_steps,
        )


def _check_names(args: TrainingArguments) -> None:
    """Check names that transformers looks up only when the Trainer is built, or later."""
    missing = set(args.report_to) - set(get_available_reporting_integrations()) - {"none", "all"}
    if missing:
        raise InputError(f"trainer.report_to: {sorted(missing)[0]} is not installed; install it or omit it")
    if args.train_sampling_strategy in ("group_by_length", "batch_rebalance"):
        raise InputError(
            f"trainer.train_sampling_strategy: {args.train_sampling_strategy} needs lengths that sequences and windows "
            "do not have; use random"
        )
    for name in args.include_for_metrics:
        _one_of("trainer.include_for_metrics", name, ("inputs", "loss"))
    for name in ("log_level", "log_level_replica"):
        _one_of(f"trainer.{name}", getattr(args, name), trainer_log_levels)
    if args.torch_compile_mode:
        _one_of("trainer.torch_compile_mode", args.torch_compile_mode, torch._inductor.list_mode_options())
    if args.torch_compile_backend:
        _one_of("trainer.torch_compile_backend", args.torch_compile_backend.upper(), DynamoBackend.list())
    if context := args.dataloader_multiprocessing_context:
        _one_of("trainer.dataloader_multiprocessing_context", context, multiprocessing.get_all_start_methods())
        if not args.dataloader_num_workers:
            raise InputError(
                "trainer.dataloader_multiprocessing_context is for worker processes, but "
                "trainer.dataloader_num_workers is 0; omit it"
            )
    unknown = sorted(set(args.gradient_checkpointing_kwargs or {}) - _CHECKPOINTING)
    if unknown:
        raise InputError(
            f"trainer.gradient_checkpointing_kwargs: {unknown[0]!r} is not an option; the options are "
            f"{', '.join(sorted(_CHECKPOINTING))}"
        )


def _check_sharding(args: TrainingArguments) -> None:
    """Check how a model is divided among processes."""
    # Set by trainer.deepspeed, and by accelerate launch with a configuration of DeepSpeed.
    if getattr(args, "deepspeed_plugin", None) is not None:
        raise InputError(NO_DEEPSPEED)
    # transformers fills in defaults, all of which switch nothing on.
    if not args.fsdp and any((args.fsdp_config or {}).values()):
        raise InputError(
            "trainer.fsdp_config has no effect without trainer.fsdp; omit it, or set trainer.fsdp and start "
            "several processes by accelerate launch with recipes/accelerate/fsdp2.yaml"
        )
    if args.fsdp and args.world_size == 1:
        raise InputError(
            "trainer.fsdp shards a model over several processes, but there is only one; start several by accelerate "
            "launch with recipes/accelerate/fsdp2.yaml"
        )


def _one_of(key: str, value: str, known: Iterable[str]) -> None:
    """Check that a value is one of the known names."""
    if value not in known:
        raise InputError(f"{key} must be one of {', '.join(known)}, not {value!r}{did_you_mean(value, known)}")


def check_optimizer(args: TrainingArguments) -> None:
    """Check the options of optimizer and schedule by building both for a model of a single weight.

    The Trainer would build them last, after the data has been read and the model is in memory.

    Args:
        args: arguments of a run.

    Raises:
        InputError: naming the keys, with the message of torch or transformers.
    """
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
            return
        optimizer = kind([torch.nn.Parameter(torch.zeros(1, 1))], **options)
    except (ImportError, ValueError, TypeError, RuntimeError) as error:
        if "pass a model" in str(error):  # an optimizer that is built from the model's layers cannot be tried here
            return
        text = " ".join(str(error).split())
        if not isinstance(error, ImportError) and args.optim_args:
            raise InputError(f"trainer.optim_args {args.optim_args}: {text}; correct or omit it") from error
        raise InputError(
            f"trainer.optim {_name(args.optim)} cannot be used: {text}; adamw_torch needs no other package"
        ) from error
    try:
        get_scheduler(args.lr_scheduler_type, optimizer, 0, 1, scheduler_specific_kwargs=args.lr_scheduler_kwargs or {})
    except (ValueError, TypeError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"trainer.lr_scheduler_type {_name(args.lr_scheduler_type)} with trainer.lr_scheduler_kwargs "
            f"{args.lr_scheduler_kwargs or {}} cannot be used: {text}; correct the latter, or omit both"
        ) from error


def _check_optimizer_options(args: TrainingArguments) -> None:
    """Check that the chosen optimizer reads every option that is meant for optimizers only."""
    pairs = [pair.strip() for pair in (args.optim_args or "").split(",") if pair.strip()]
    for pair in pairs:
        if not re.fullmatch(r"\w+\s*=[^=]+", pair):
            raise InputError(f"trainer.optim_args must be pairs such as eps=1e-6, separated by commas, not {pair!r}")
    chosen = _optimizer_arguments(args, pairs)
    for pair in pairs if isinstance(chosen, tuple) else ():  # otherwise `check_optimizer` says what is wrong
        key = pair.partition("=")[0].strip()
        others = [other for other in pairs if other is not pair]
        # An option has an effect if the arguments of the optimizer differ without it, or with another value of it.
        if chosen == _optimizer_arguments(args, others) == _optimizer_arguments(args, [*others, f"{key}=0.1234"]):
            raise InputError(
                f"trainer.optim_args: {_name(args.optim)} does not read {key!r}; omit it (betas, epsilon and weight "
                "decay are trainer.adam_beta1, adam_beta2, adam_epsilon and weight_decay)"
            )
    if args.optim_target_modules and not any(word in _name(args.optim) for word in _OF_MODULES):
        raise InputError(
            f"trainer.optim_target_modules: {_name(args.optim)} trains all modules; omit it, or choose a GaLore or "
            "APOLLO optimizer as trainer.optim"
        )


def _optimizer_arguments(args: TrainingArguments, pairs: list[str]) -> Any:
    """Return class and arguments of the optimizer, given pairs for `trainer.optim_args`; an error as its text."""
    changed = copy.copy(args)
    changed.optim_args = ",".join(pairs)
    try:
        return Trainer.get_optimizer_cls_and_kwargs(changed)
    except (ImportError, ValueError, TypeError, RuntimeError) as error:
        return str(error)


def _name(value: Any) -> str:
    """Return the name of an optimizer or a schedule, as the user writes it."""
    return str(getattr(value, "value", value))


def check_best_metric(args: TrainingArguments, scores: Mapping[str, bool], missing: str | None) -> None:
    """Check that the best model can be chosen by a metric, and set whether a larger value of it is better.

    Args:
        args: arguments of a run; ``greater_is_better`` is set.
        scores: names of the metrics that an evaluation computes, and whether a larger value is better.
        missing: if there is no validation data, the part of a message that says so and names the remedy; otherwise
            None.

    Raises:
        InputError: if no evaluation computes the metric, or there is no evaluation during training.
    """
    if missing and (args.eval_strategy != "no" or args.eval_on_start):
        key = "eval_on_start" if args.eval_strategy == "no" else "eval_strategy"
        raise InputError(f"trainer.{key} asks for validation, but {missing}")
    metric = args.metric_for_best_model
    if metric is None and args.save_strategy != "best":  # load_best_model_at_end sets it to "loss"
        return
    key = _key_of_best(args)
    if metric is None:
        raise InputError(f"{key} needs trainer.metric_for_best_model, one of {', '.join(scores)}")
    name = metric.removeprefix("eval_")
    if name not in scores:
        raise InputError(
            f"{key}: there is no metric {metric!r}{did_you_mean(name, scores)} (the metrics are {', '.join(scores)})"
        )
    if args.prediction_loss_only and name != "loss":
        raise InputError(f"{key}: trainer.prediction_loss_only computes only the loss, not {name}; set it to false")
    if missing:
        raise InputError(f"{key} asks for validation, but {missing}")
    if args.eval_strategy == "no":
        raise InputError(f"{key} needs evaluations during training; set trainer.eval_strategy")
    by_steps = args.eval_strategy == args.save_strategy == "steps"
    if args.load_best_model_at_end and by_steps and args.save_steps != args.eval_steps:
        raise InputError(  # transformers would silently keep the last model if the best one had not been saved
            "trainer.load_best_model_at_end needs a checkpoint of every evaluation; set trainer.save_steps "
            f"({args.save_steps:g}) and trainer.eval_steps ({args.eval_steps:g}) to the same number"
        )
    args.greater_is_better = scores[name]


def _key_of_best(args: TrainingArguments) -> str:
    """Return the key by which the user asked for the best model."""
    if args.metric_for_best_model not in (None, "loss"):
        return "trainer.metric_for_best_model"
    if args.load_best_model_at_end:
        return "trainer.load_best_model_at_end"
    return "trainer.save_strategy best" if args.save_strategy == "best" else "trainer.metric_for_best_model"
