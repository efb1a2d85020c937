"""Pretrain a model on windows of a genome store in which spans of tokens are masked: the verb `pretrain`.

A run has two halves: `plan_pretraining` makes every check and builds everything but writes nothing; `run_pretraining`
trains, evaluates and writes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel, TrainingArguments, set_seed

from ..batches.span_masking import DataCollatorForSpanMasking
from ..configuration_kmer_bert import KmerBertConfig
from ..errors import InputError
from ..evaluation.masked_scores import SCORES, undefined_scores
from ..evaluation.pictures import plot_loss
from ..genomes.order import EpochOrder
from ..genomes.sampling import WindowSampling
from ..genomes.store import GenomeStore
from ..genomes.windows import WindowDataset
from ..inference.windows import check_positions
from ..loading.adapters import check_whole
from ..loading.models import load_complete, load_config, load_tokenizer
from ..modeling_kmer_bert import KmerBertForMaskedLM
from ..renamed import renamed
from ..runs.callbacks import SetEpoch
from ..runs.flops import attention_for
from ..runs.memory import check_memory
from ..runs.output_folder import Resume, check_inputs_kept, check_no_other_model, check_room, claim_output_dir
from ..runs.running import METRICS, finish, finished_metrics, starting, train
from ..tokenization_kmer import KmerTokenizer
from .arguments import PretrainingArguments, check_arguments, check_best_metric
from .masked_trainer import MaskedTrainer, check_schedule
from .record import run_record, store_record, write_run_record

logger = logging.getLogger(__name__)

#: Keys of a model's configuration that fit its weights; a model to continue from keeps its own values.
_SIZES = (
    "hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings hidden_act "
    "position_embedding_type rope_theta sliding_window layer_norm_eps"
).split()
_MORE_POSITIONS = ", raise tokenizer.stride, or set a larger model.max_position_embeddings"
_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass(frozen=True)
class PretrainingData:
    """Genome store and splits that pretraining reads.

    Args:
        store: folder made by ``hf-genomics prepare``.
        train_split: contigs to train on: a value of the store's column ``split``; null for all contigs.
        valid_split: contigs held out for validation; null for no validation.
        valid_windows: number of windows in each validation.
    """

    store: str
    train_split: str | None = "train"
    valid_split: str | None = "valid"
    valid_windows: int = 1024

    def __post_init__(self) -> None:
        """Check the number of windows."""
        if self.valid_split is not None and not 1 <= self.valid_windows <= 10**9:
            raise InputError(
                f"data.valid_windows must be at least 1 and at most 10^9, not {self.valid_windows}; set "
                "data.valid_split to null for no validation"
            )


@dataclass(frozen=True)
class PretrainingPlan:
    """A pretraining run that has passed every check: all of it is built, nothing is written.

    Attributes:
        folder: output folder.
        trainer: options of the Trainer.
        tokenizer: tokenizer of the model.
        network: model with the weights from which training starts.
        masking: collator that masks windows.
        training: windows to train on.
        validation: windows to evaluate on, or None.
        order: order of the training windows in each epoch.
        settings: further settings that must be equal when the run is resumed, besides the model's and those of
            transformers' Trainer.
        resume: continue from the newest checkpoint; "auto" begins, continues, or accepts a finished run.
        overwrite: replace a finished run.
    """

    folder: Path
    trainer: PretrainingArguments
    tokenizer: KmerTokenizer
    network: PreTrainedModel
    masking: DataCollatorForSpanMasking
    training: WindowDataset
    validation: WindowDataset | None
    order: EpochOrder
    settings: dict[str, Any]
    resume: Resume
    overwrite: bool


@renamed(
    schedule_steps="trainer.schedule_steps",
    on_nonfinite="trainer.on_nonfinite",
    packing="trainer.packing",
    peak_tflops="trainer.peak_tflops",
)
def pretrain(
    data: PretrainingData,
    trainer: PretrainingArguments,
    tokenizer: KmerTokenizer,
    model: KmerBertConfig,
    masking: DataCollatorForSpanMasking,
    windows: WindowSampling,
    resume: Resume = False,
    overwrite: bool = False,
    pretrained: str | None = None,
) -> dict[str, Any]:
    """Pretrain a KmerBert on the windows of a genome store by masking spans of consecutive tokens.

    Writes to ``trainer.output_dir``: model, tokenizer, metrics.json, trainer_state.json (the log), metrics.jsonl (the
    log with speed, MFU, the shares of padding, masked k-mers and hidden nucleotides, and the time left, while
    training), loss.png (the curves, updated every minute), run.json (how the model was made) and README.md (the model
    card).

    Args:
        data: genome store and splits.
        trainer: options of the run; plain transformers.TrainingArguments get the defaults of the other options.
        tokenizer: k and stride.
        model: sizes and initialisation; k, stride and vocabulary follow the tokenizer.
        masking: spans, dose and replacement.
        windows: lengths and places of the windows.
        resume: continue from the newest valid checkpoint in the output folder, as if the run had not been stopped.
            "auto" begins a run that has no checkpoint yet, continues one that has, and accepts a finished one: the
            choice for a command that is started again and again.
        overwrite: train again even if the output folder holds a finished run.
        pretrained: folder or Hub name of a model to continue from, such as one of DNABERT's; training starts from its
            weights instead of random ones. Tokenizer and sizes are the model's own; options that ask for others are
            errors, except those of dropout, which replace the model's.

    Returns:
        The metrics that are written to metrics.json.

    Raises:
        InputError: if data, sizes or folder do not fit; nothing has been written then.

    Source: DNABERT (Ji et al. 2021); GenomeNet-BERT section 2.
    """
    start: KmerBertConfig | PreTrainedModel = model
    if pretrained is not None:
        tokenizer, start = load_start(pretrained, tokenizer, model)
        masking = replace(masking, tokenizer=tokenizer)
    return run_pretraining(plan_pretraining(data, trainer, tokenizer, start, masking, windows, resume, overwrite))


def load_start(
    pretrained: str, tokenizer: KmerTokenizer, model: KmerBertConfig
) -> tuple[KmerTokenizer, KmerBertForMaskedLM]:
    """Load a model to continue pretraining from, and its tokenizer.

    Args:
        pretrained: folder or Hub name of the model.
        tokenizer: tokenizer as the options describe it; k and stride must be the defaults or those of the model.
        model: configuration as the options describe it; every key must have its default or the model's value, except
            the probabilities of dropout, which the loaded model takes over unless they are the defaults.

    Returns:
        Tokenizer and model, in single precision.

    Raises:
        InputError: if there is no such model, it is of another kind or incomplete, or an option contradicts it.
    """
    check_whole(Path(pretrained), "start from")
    config, own = load_config(pretrained), load_tokenizer(pretrained)
    if type(config) is not KmerBertConfig or "Classification" in str(config.architectures):
        raise InputError(
            f"{pretrained} is a {', '.join(config.architectures or [config.model_type])}, which does not predict "
            "masked tokens; name the model that it was fine-tuned from"
        )
    # Option -> what the options say, its default, the value of the model. An option that has its default counts as not
    # set.
    asked = {"tokenizer.k": (tokenizer.k, 6, own.k), "tokenizer.stride": (tokenizer.stride, 1, own.stride)}
    given, usual, theirs = model.to_dict(), KmerBertConfig().to_dict(), config.to_dict()
    asked |= {f"model.{key}": (given[key], usual[key], theirs[key]) for key in _SIZES}
    for key, (value, default, found) in asked.items():
        if value not in (default, found):
            raise InputError(f"{key} is {value}, but {pretrained} has {found}; omit {key}, or omit pretrained")
    changed = {key: given[key] for key in _DROPOUT if given[key] != usual[key]}
    network, info = load_complete(KmerBertForMaskedLM, pretrained, dtype=torch.float32, **changed)
    if new := sorted(info["missing_keys"]):
        logger.warning("%s has no weights for %s; these start from random values", pretrained, ", ".join(new))
    sizes = ", ".join(f"{key} {theirs[key]}" for key in ("hidden_size", "num_hidden_layers"))
    logger.info("training continues from %s: k %d, stride %d, %s", pretrained, own.k, own.stride, sizes)
    return own, network


def plan_pretraining(
    data: PretrainingData,
    trainer: TrainingArguments,
    tokenizer: KmerTokenizer,
    model: KmerBertConfig | PreTrainedModel,
    masking: DataCollatorForSpanMasking,
    windows: WindowSampling,
    resume: Resume = False,
    overwrite: bool = False,
) -> PretrainingPlan:
    """Check everything about a pretraining run and build its parts; write nothing.

    Args:
        data: as in `pretrain`.
        trainer: as in `pretrain`.
        tokenizer: as in `pretrain`.
        model: configuration of a new model, or a model whose weights training starts from; it is trained in place.
        masking: as in `pretrain`.
        windows: as in `pretrain`.
        resume: as in `pretrain`.
        overwrite: as in `pretrain`.

    Raises:
        InputError: if data, sizes or folder do not fit.
    """
    trainer = PretrainingArguments.of(trainer)
    folder = claim_output_dir(trainer.output_dir, METRICS, overwrite=overwrite, resume=resume)
    start = model if isinstance(model, PreTrainedModel) else None
    config: KmerBertConfig = model if start is None else start.config
    check_inputs_kept(folder, {"data.store": data.store} | ({"pretrained": start.name_or_path} if start else {}))
    check_no_other_model(folder, METRICS, overwrite=overwrite, resume=resume)
    _check_settings(data, trainer, tokenizer, config, windows, "" if start else _MORE_POSITIONS)
    store = GenomeStore(data.store)
    training = WindowDataset(store, windows, store.select(data.train_split), trainer.seed)
    validation = _load_validation(store, data, windows, trainer)
    for split in filter(None, (training, validation)):
        _check_contigs(split, tokenizer.k)
    masking = choose_packing(masking, trainer, tokenizer.num_tokens(windows.length))
    order = _order_windows(training, trainer)
    # A schedule changes the dose from step to step, so the dataset tells the collator the step of each window.
    training.step_of_rows = order.step_of_rows if masking.schedule else None
    attention = attention_for(trainer)
    _, batches = order.rows_of_step(0)  # one batch for each forward pass of the step
    first_batch = masking(training.__getitems__(batches[0].tolist()))
    check_memory(trainer, config, partial(KmerBertForMaskedLM, config), first_batch, attention)
    settings = _resume_settings(data, tokenizer, masking, windows, store, start, trainer.schedule_steps)
    network = _build_network(config, start, attention, trainer.seed)
    if not folder.exists():  # otherwise `train` checks the room, after deleting the remains of a killed run
        check_room(trainer, network)
    return PretrainingPlan(
        folder, trainer, tokenizer, network, masking, training, validation, order, settings, resume, overwrite
    )


def run_pretraining(plan: PretrainingPlan) -> dict[str, Any]:
    """Train as planned, evaluate the trained model, and write model, metrics and curves.

    Args:
        plan: a run that has passed every check.

    Returns:
        The metrics that are written to metrics.json.

    Raises:
        InputError: if the run diverges or the disk is full.
        StoppedError: if a signal asked for a stop.
    """
    masked, parameters = plan.masking.describe(plan.tokenizer.k, plan.tokenizer.stride), plan.network.num_parameters()
    logger.info("%s; %s windows an epoch; %s parameters", masked, f"{len(plan.training):,}", f"{parameters:,}")
    run = _build_trainer(plan)
    with starting(run, resume=plan.resume, overwrite=plan.overwrite) as start:
        if start.finished:
            return finished_metrics(plan.folder)
        metrics: dict[str, Any] = train(run, start, overwrite=plan.overwrite)
        metrics |= {"masking": masked, "parameters": parameters}
        if plan.validation:
            scores = _last_evaluation(run)
            metrics |= scores | undefined_scores(scores)
        if run.is_world_process_zero():
            plot_loss(run.state.log_history, plan.folder / "loss.png")
            splits = {"train": plan.training, "valid": plan.validation}
            data = store_record(plan.training.store, {role: split.lengths for role, split in splits.items() if split})
            record = run_record("pretrain", plan.trainer, run.state, data, plan.network.name_or_path or None)
            finish(plan.folder, metrics, partial(write_run_record, plan.folder, record))
    return metrics


def choose_packing(
    masking: DataCollatorForSpanMasking, trainer: PretrainingArguments, longest: int
) -> DataCollatorForSpanMasking:
    """Choose the length of packed rows if ``masking.pack_to`` does not.

    Args:
        masking: collator that masks windows.
        trainer: options of the run.
        longest: number of tokens of the longest window.

    Returns:
        The collator, or a copy of it with ``pack_to`` set: a number of tokens, or 0 for one row per batch.

    Raises:
        InputError: if the options of packing contradict each other, or a window does not fit in a row.
    """
    if masking.pack_to and masking.pack_to < longest:
        raise InputError(
            f"masking.pack_to ({masking.pack_to}) is less than the {longest} tokens of a window; raise it, or omit it"
        )
    if not trainer.packing and masking.pack_to is not None:
        raise InputError("trainer.packing is false, but masking.pack_to is given; omit one of them")
    # Only rows that are not packed are padded to a multiple of a number.
    if not trainer.packing or masking.pack_to is not None or masking.pad_to_multiple_of:
        return masking
    # A compiled model needs rows of one length, and several GPUs of one process share a batch row by row.
    several_rows = trainer.torch_compile or trainer.n_gpu > 1
    return replace(masking, pack_to=longest if several_rows else 0)


def describe_windows(dataset: WindowDataset, epoch: int, rows: np.ndarray) -> list[dict[str, Any]]:
    """Return the places of windows, for messages about a batch.

    Args:
        dataset: dataset of the windows.
        epoch: epoch in which the windows are drawn.
        rows: numbers of the windows, integer (windows,).

    Returns:
        window, record, start and end (0-based, half-open, in nt) of each window.
    """
    dataset = copy.copy(dataset)  # the epoch of the caller's dataset must not change
    dataset.set_epoch(epoch)
    starts, lengths = dataset.places(rows)
    contigs = dataset.store.contigs
    contig = np.searchsorted(contigs["start"].to_numpy(), starts, side="right") - 1
    starts = starts - contigs["start"].to_numpy()[contig]
    names = contigs["name"].to_numpy()[contig]
    columns = (rows.tolist(), names.tolist(), starts.tolist(), (starts + lengths).tolist())
    return [
        {"window": row, "record": name, "start": start, "end": end}
        for row, name, start, end in zip(*columns, strict=True)
    ]


def check_vocabulary(tokenizer: KmerTokenizer, model: KmerBertConfig) -> None:
    """Check that a configuration belongs to a tokenizer.

    Args:
        tokenizer: tokenizer with k and stride.
        model: configuration of a model.

    Raises:
        InputError: if k, stride or vocabulary size differ.
    """
    of_tokenizer = len(tokenizer), tokenizer.k, tokenizer.stride
    of_model = model.vocab_size, model.k, model.stride
    if of_tokenizer != of_model:
        raise InputError(
            f"tokenizer and model do not belong together: (vocabulary, k, stride) are {of_tokenizer} and {of_model}; "
            "set tokenizer.k and tokenizer.stride only, the model follows"
        )


def _check_settings(
    data: PretrainingData,
    trainer: PretrainingArguments,
    tokenizer: KmerTokenizer,
    model: KmerBertConfig,
    windows: WindowSampling,
    more_positions: str,
) -> None:
    """Check the options that can be checked before data is read.

    ``more_positions`` ends the message about windows that are too long: how the model could get more positions.
    """
    check_arguments(trainer)
    check_schedule(trainer.schedule_steps, trainer.max_steps)
    check_best_metric(trainer, SCORES, "data.valid_split is null; set it" if data.valid_split is None else None)
    check_vocabulary(tokenizer, model)
    check_positions(
        tokenizer,
        windows.length,
        model.max_position_embeddings,
        "windows.length",
        remedy=f"lower it{more_positions}",
    )


def _load_validation(
    store: GenomeStore, data: PretrainingData, windows: WindowSampling, trainer: TrainingArguments
) -> WindowDataset | None:
    """Return the validation windows, or None; warn if some of their contigs are also trained on."""
    if data.valid_split is None:
        return None
    rows = store.select(data.valid_split)
    if both := len(np.intersect1d(rows, store.select(data.train_split))):
        logger.warning(
            "%d of %d validation contigs are trained on too: data.train_split %s, data.valid_split %s",
            both,
            len(rows),
            data.train_split,
            data.valid_split,
        )
    return WindowDataset(store, windows.at_random_places(), rows, trainer.seed + 1, size=data.valid_windows)


def _check_contigs(windows: WindowDataset, k: int) -> None:
    """Check that the longest contig of a split is not shorter than a k-mer."""
    longest = int(windows.lengths.max())
    if longest < k:
        raise InputError(
            f"{windows.store.path}: the longest contig of a split has {longest} nt, less than one k-mer of {k} nt; "
            "prepare longer records, or lower tokenizer.k"
        )


def _order_windows(windows: WindowDataset, trainer: TrainingArguments) -> EpochOrder:
    """Order the windows of each epoch over all processes."""
    batch, accumulation = trainer.train_batch_size, trainer.gradient_accumulation_steps
    try:
        return EpochOrder(len(windows), batch, accumulation, trainer.world_size, trainer.seed)
    except ValueError as error:
        rows = f"trainer.per_device_train_batch_size (now {batch})"
        remedy = f"lower {rows} or trainer.gradient_accumulation_steps (now {accumulation})"
        if windows.sampling.mode in ("sampled", "fixed"):  # the other modes take no coverage
            remedy += ", or raise windows.coverage"
        raise InputError(f"{windows.store.path}: an epoch's {error}; {remedy}") from error


def _build_trainer(plan: PretrainingPlan) -> MaskedTrainer:
    """Build the Trainer of a run; building it creates the output folder."""
    trainer = plan.trainer
    trainer.remove_unused_columns = False  # the collator turns windows into what the model takes
    if trainer.ddp_find_unused_parameters is None:
        trainer.ddp_find_unused_parameters = False  # every weight is used in every step; a search would cost time
    trainer.include_num_input_tokens_seen = "non_padding"
    return MaskedTrainer(
        model=plan.network,
        args=trainer,
        data_collator=plan.masking,
        train_dataset=plan.training,
        eval_dataset=plan.validation,
        processing_class=plan.tokenizer,
        callbacks=[SetEpoch(plan.training, plan.order)],
        order=plan.order,
        describe=partial(describe_windows, plan.training),
        settings=plan.settings,
        schedule_steps=trainer.schedule_steps,
        peak_tflops=trainer.peak_tflops,
        on_nonfinite=trainer.on_nonfinite,
    )


def _build_network(config: KmerBertConfig, start: PreTrainedModel | None, attention: str, seed: int) -> PreTrainedModel:
    """Return the model to train: the one to start from, or a new one with random weights."""
    set_seed(seed)
    if start is None:
        return AutoModelForMaskedLM.from_config(config, attn_implementation=attention)
    start.set_attn_implementation(attention)
    return start


def _resume_settings(
    data: PretrainingData,
    tokenizer: KmerTokenizer,
    masking: DataCollatorForSpanMasking,
    windows: WindowSampling,
    store: GenomeStore,
    start: PreTrainedModel | None,
    schedule_steps: int | None,
) -> dict[str, Any]:
    """Return the settings that must be equal when a run is resumed, besides the model's and those of the Trainer."""
    masking_options = {field.name: getattr(masking, field.name) for field in fields(masking) if field.init}
    sections = {
        "data": asdict(data) | {"store": _digest(store)},
        "tokenizer": {"k": tokenizer.k, "stride": tokenizer.stride},
        "masking": {name: value for name, value in masking_options.items() if name not in ("tokenizer", "epoch")},
        "windows": asdict(windows),
    }
    found = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    found["trainer.schedule_steps"] = schedule_steps  # an option of ours, which transformers' Trainer does not have
    return found if start is None else found | {"pretrained": _digest_weights(start)}


def _digest_weights(model: PreTrainedModel) -> str:
    """Compute a hash of a model's weights."""
    found = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        found.update(name.encode() + weight.contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def _digest(store: GenomeStore) -> str:
    """Compute a hash of a store's content, which does not change if the store is moved."""
    return hashlib.sha256(json.dumps(store.info["files"], sort_keys=True).encode()).hexdigest()[:12]


def _last_evaluation(run: MaskedTrainer) -> dict[str, float]:
    """Return the validation scores of the final model: from the log if its step was evaluated, otherwise new ones."""
    step = run.state.best_global_step if run.args.load_best_model_at_end else run.state.global_step
    for entry in reversed(run.state.log_history):
        if "eval_loss" in entry and entry["step"] == step:
            return {name: value for name, value in entry.items() if name.startswith("eval_")}
    scores = run.evaluate()
    run.save_state()  # so that the log in trainer_state.json has this evaluation too
    return scores
