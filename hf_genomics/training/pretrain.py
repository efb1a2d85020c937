"""Pretraining: windows of a genome store, masked in spans, through the Trainer."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from transformers import TrainingArguments, set_seed

from ..batches.span_masking import DataCollatorForSpanMasking
from ..configuration_kmer_bert import KmerBertConfig
from ..errors import InputError
from ..evaluation.masked_scores import SCORES
from ..evaluation.pictures import plot_loss
from ..genomes.order import EpochOrder
from ..genomes.sampling import WindowSampling
from ..genomes.store import GenomeStore
from ..genomes.windows import WindowDataset
from ..inference.windows import check_positions
from ..io.writing import write_json
from ..modeling_kmer_bert import KmerBertForMaskedLM
from ..runs.callbacks import SetEpoch
from ..runs.flops import attention_for
from ..runs.memory import check_memory
from ..runs.output_folder import check_room, claim_output_dir
from ..runs.running import train
from ..tokenization_kmer import KmerTokenizer
from .arguments import check_arguments, check_best_metric
from .masked_trainer import MaskedTrainer, check_schedule

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainingData:
    """Where pretraining windows come from.

    Args:
        store: folder made by ``hf-genomics prepare``.
        train_split: contigs to train on: a value of the store's column ``split``; null takes all contigs.
        valid_split: contigs held out for validation; null validates on nothing.
        valid_windows: windows of a validation pass.
    """

    store: str
    train_split: str | None = "train"
    valid_split: str | None = "valid"
    valid_windows: int = 1024

    def __post_init__(self) -> None:
        """Check the number of windows."""
        if self.valid_windows < 1:
            raise InputError(
                f"data.valid_windows must be at least 1, not {self.valid_windows}; or null data.valid_split"
            )


def pretrain(
    data: PretrainingData,
    trainer: TrainingArguments,
    tokenizer: KmerTokenizer,
    model: KmerBertConfig,
    masking: DataCollatorForSpanMasking,
    windows: WindowSampling,
    schedule_steps: int | None = None,
    on_nonfinite: Literal["stop", "skip_batch"] = "stop",
    packing: bool = True,
    peak_tflops: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Pretrain a KmerBert on the windows of a genome store by consecutive-token masking.

    Leaves in ``trainer.output_dir``: model, tokenizer, metrics.json, trainer_state.json (the log), metrics.jsonl (the
    log with speed, MFU, shares and the time left, as it goes) and loss.png (the curves, drawn anew every minute).

    Args:
        data: genome store and splits.
        trainer: transformers.TrainingArguments.
        tokenizer: k and stride.
        model: sizes and initialisation; k, stride and vocabulary follow the tokenizer.
        masking: spans, dose and replacement.
        windows: lengths and places of the windows.
        schedule_steps: steps over which the learning rate runs its course (warm-up given as a share is a share of
            these); by default trainer.max_steps, which may be less: a schedule of 200,000 steps stopped at 100,000.
        on_nonfinite: stop at the first loss or gradient norm that is no number, or leave the step out (skip_batch).
        packing: train on rows of several windows, which do not see each other, so that no token is padding: all of a
            batch in one row; in rows as long as the longest window where the model is compiled or one process drives
            several GPUs; or as ``masking.pack_to`` says.
        peak_tflops: what one device can do at most, in 10^12 operations a second, against which the log gives the MFU
            (model FLOPs utilisation); by default it is measured when training begins, in a tenth of a second.
        resume: go on from the newest valid checkpoint in the output folder, as if the run had not been stopped.
        overwrite: train again though the output folder holds a finished run.

    Returns:
        the metrics that are written to metrics.json.

    Raises:
        InputError: if data, sizes or folder do not fit; nothing has been written then.

    Source: DNABERT (Ji et al. 2021); GenomeNet-BERT section 2.
    """
    folder = claim_output_dir(trainer.output_dir, "metrics.json", overwrite=overwrite, resume=resume)
    check_arguments(trainer)
    check_schedule(schedule_steps, trainer.max_steps)
    if peak_tflops is not None and not peak_tflops > 0:
        raise InputError(f"peak_tflops must be above 0, not {peak_tflops}; leave it away and it is measured")
    check_best_metric(trainer, SCORES, "data.valid_split is null; set it" if data.valid_split is None else None)
    check_vocabulary(tokenizer, model)
    check_positions(
        tokenizer,
        windows.length,
        model.max_position_embeddings,
        "windows.length",
        way_out=f"lower it, raise tokenizer.stride (now {tokenizer.stride}), or set a larger "
        "model.max_position_embeddings",
    )
    store = GenomeStore(data.store)
    training = WindowDataset(store, windows, store.select(data.train_split), trainer.seed)
    validation = _validation(store, data, windows, trainer)
    for split in filter(None, (training, validation)):
        _check_contigs(split, tokenizer.k)
    masking = _packed(masking, packing, tokenizer.num_tokens(windows.length), trainer)
    order = _order(training, trainer)
    training.steps_of = order.steps_of if masking.schedule else None
    attention = attention_for(trainer)
    check_memory(trainer, model, partial(KmerBertForMaskedLM, model), masking(_first_rows(training, order)), attention)
    set_seed(trainer.seed)
    network = KmerBertForMaskedLM._from_config(model, attn_implementation=attention)
    masked = masking.describe(tokenizer.k, tokenizer.stride)
    logger.info("%s; %s windows an epoch; %s parameters", masked, f"{len(training):,}", f"{network.num_parameters():,}")
    if not folder.exists():  # or else once the remains of a killed run are cleared away
        check_room(trainer, network)
    trainer.remove_unused_columns = False
    if trainer.ddp_find_unused_parameters is None:
        trainer.ddp_find_unused_parameters = False  # every weight is used in every step; looking for others costs time
    trainer.include_num_input_tokens_seen = "non_padding"
    run = MaskedTrainer(
        model=network,
        args=trainer,
        data_collator=masking,
        train_dataset=training,
        eval_dataset=validation,
        processing_class=tokenizer,
        callbacks=[SetEpoch(training, order)],
        order=order,
        describe=partial(describe_windows, training),
        settings=_settings(data, tokenizer, masking, windows, store) | {"schedule_steps": schedule_steps},
        schedule_steps=schedule_steps,
        peak_tflops=peak_tflops,
        on_nonfinite=on_nonfinite,
    )
    metrics = train(run, resume=resume, overwrite=overwrite) | {
        "masking": masked,
        "parameters": network.num_parameters(),
    }
    if validation:
        metrics |= _last_evaluation(run)
    if run.is_world_process_zero():
        write_json(folder / "metrics.json", metrics)
        plot_loss(run.state.log_history, folder / "loss.png")
    return metrics


def _packed(
    masking: DataCollatorForSpanMasking, packing: bool, longest: int, trainer: TrainingArguments
) -> DataCollatorForSpanMasking:
    """Say how long packed rows are, in tokens, where ``masking.pack_to`` does not; ``longest`` is that of a window."""
    if masking.pack_to and masking.pack_to < longest:
        raise InputError(
            f"masking.pack_to ({masking.pack_to}) is less than the {longest} tokens of a window; raise it, or set "
            "packing to false"
        )
    if not packing and masking.pack_to is not None:
        raise InputError("packing is false, but masking.pack_to is given; leave one of them away")
    if not packing or masking.pack_to is not None or masking.pad_to_multiple_of:
        return masking
    several = trainer.torch_compile or trainer.n_gpu > 1  # a compiled model needs masks; GPUs share out rows
    return replace(masking, pack_to=longest if several else 0)


def _order(windows: WindowDataset, trainer: TrainingArguments) -> EpochOrder:
    """Order the windows of each epoch over all processes."""
    batch, accumulation = trainer.train_batch_size, trainer.gradient_accumulation_steps
    try:
        return EpochOrder(len(windows), batch, accumulation, trainer.world_size, trainer.seed)
    except ValueError as error:
        raise InputError(
            f"{windows.store.path}: an epoch's {error}; lower trainer.per_device_train_batch_size "
            f"(now {batch}) or raise windows.coverage"
        ) from error


def _first_rows(windows: WindowDataset, order: EpochOrder) -> Any:
    """Give the rows of the first forward pass of a run."""
    return windows.__getitems__(order.of_step(0)[1][0].tolist())


def describe_windows(dataset: WindowDataset, epoch: int, rows: np.ndarray) -> list[dict[str, Any]]:
    """Say which stretches of which contigs windows are: window, record, start and end (0-based, half-open, in nt)."""
    dataset = copy.copy(dataset)
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


def _settings(
    data: PretrainingData,
    tokenizer: KmerTokenizer,
    masking: DataCollatorForSpanMasking,
    windows: WindowSampling,
    store: GenomeStore,
) -> dict[str, Any]:
    """Collect what decides the course of a run besides the trainer's and the model's settings."""
    drawn = {field.name: getattr(masking, field.name) for field in fields(masking) if field.init}
    sections = {
        "data": asdict(data) | {"store": _digest(store)},
        "tokenizer": {"k": tokenizer.k, "stride": tokenizer.stride},
        "masking": {name: value for name, value in drawn.items() if name not in ("tokenizer", "epoch")},
        "windows": asdict(windows),
    }
    return {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}


def _digest(store: GenomeStore) -> str:
    """Name a store by what is in it, not where it is."""
    return hashlib.sha256(json.dumps(store.info["files"], sort_keys=True).encode()).hexdigest()[:12]


def _last_evaluation(run: MaskedTrainer) -> dict[str, float]:
    """Give the scores of the model that is left: those of the step it comes from if it was evaluated there, or new."""
    step = run.state.best_global_step if run.args.load_best_model_at_end else run.state.global_step
    for entry in reversed(run.state.log_history):
        if "eval_loss" in entry and entry["step"] == step:
            return {name: value for name, value in entry.items() if name.startswith("eval_")}
    scores = run.evaluate()
    run.save_state()  # with this evaluation in its log
    return scores


def _validation(
    store: GenomeStore, data: PretrainingData, windows: WindowSampling, trainer: TrainingArguments
) -> WindowDataset | None:
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
    return WindowDataset(store, windows.drawn(), rows, trainer.seed + 1, size=data.valid_windows)


def _check_contigs(windows: WindowDataset, k: int) -> None:
    longest = int(windows.lengths.max())
    if longest < k:
        raise InputError(
            f"{windows.store.path}: the longest contig of a split has {longest} nt, less than one k-mer of {k} nt; "
            "prepare longer records, or lower tokenizer.k"
        )


def check_vocabulary(tokenizer: KmerTokenizer, model: Any) -> None:
    """Check that a configuration belongs to a tokenizer.

    Raises:
        InputError: if k, stride or vocabulary size differ.
    """
    ours, theirs = (len(tokenizer), tokenizer.k, tokenizer.stride), (model.vocab_size, model.k, model.stride)
    if ours != theirs:
        raise InputError(
            f"tokenizer and model do not belong together: (vocabulary, k, stride) are {ours} and {theirs}; "
            "set tokenizer.k and tokenizer.stride only, the model follows"
        )
