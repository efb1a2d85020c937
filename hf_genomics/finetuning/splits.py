"""Read the splits of a fine-tuning run, and check that a model can be trained and compared on them."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
from transformers import TrainingArguments

from ..checks.leaks import drop_leaks, find_leaks, warn_of_leaks
from ..checks.splits import log_split, split_table
from ..errors import InputError
from ..evaluation.evaluate import check_positive
from ..evaluation.explained_scores import undefined_by_classes, undefined_by_columns
from ..evaluation.metrics import SCORES
from ..inference.problems import with_known_kmers
from ..labelled.data import LabelledData
from ..labelled.sequences import LabelledSequences
from ..labelled.tables import check_split
from ..runs.sharding import is_sharded
from ..tokenization_kmer import KmerTokenizer
from ..training.arguments import check_best_metric
from .head import Head

logger = logging.getLogger(__name__)


class Splits(NamedTuple):
    """Labelled sequences of a run.

    Attributes:
        training: sequences to train on.
        validation: sequences to evaluate on during training, or None.
        test: sequences to score the trained model on, or None.
    """

    training: LabelledSequences
    validation: LabelledSequences | None
    test: LabelledSequences | None

    def by_name(self) -> dict[str, LabelledSequences]:
        """Return the splits that there are, by their names in the `data` section."""
        return {name: rows for name, rows in zip(("train", "valid", "test"), self, strict=True) if rows is not None}


def load_splits(
    data: LabelledData, tokenizer: KmerTokenizer, num_parts: int, trainer: TrainingArguments
) -> tuple[Splits, dict[str, Any]]:
    """Read training, validation and test sequences, and check that every split has every class.

    Args:
        data: labelled sequences.
        tokenizer: tokenizer of the model; sequences without a known k-mer are omitted.
        num_parts: number of parts into which the model cuts every sequence; 1 if it cuts parts of a fixed length.
        trainer: options of the Trainer; the first process logs how a table was split.

    Returns:
        The splits, and what metrics.json holds about a table that was split and about omitted training rows.
    """
    is_first = trainer.process_index == 0
    splits, facts = _read_splits(data, tokenizer.k * num_parts, log=is_first)  # every part needs one k-mer
    known = [examples and with_known_kmers(examples, tokenizer, strict=data.strict) for examples in splits]
    # known[0] is never empty, or with_known_kmers would have raised; "or" tells the type checker.
    splits = Splits(known[0] or splits.training, *known[1:])
    if data.drop_leaks:
        training, dropped = drop_leaks(splits.training, filter(None, splits[1:]))
        splits, facts["dropped_leaks"] = splits._replace(training=training), dropped
        if is_first:
            logger.info("%s: %s training rows omitted, which are in other splits too", training.source, f"{dropped:,}")
    check_split(splits.training)  # again: the rows that were omitted may have been all rows of a class
    for examples in filter(None, splits[1:]):
        check_split(examples, splits.training)
    return splits, facts


def _read_splits(data: LabelledData, shortest: int, *, log: bool) -> tuple[Splits, dict[str, Any]]:
    """Read the splits, or one table that is then split.

    Args:
        data: labelled sequences.
        shortest: shortest sequence that the model reads, in nt.
        log: whether to log how a table was split.
    """
    training = data.require("train", shortest, why="fine-tuning needs labelled training sequences")
    check_split(training)
    if data.split is None:
        return Splits(training, *(data.load(split, shortest, training.task) for split in ("valid", "test"))), {}
    table = split_table(training, data)
    if log:
        log_split(table, training.source)
    splits = table.splits
    return Splits(splits["train"], splits.get("valid"), splits.get("test")), {"split": table.facts}


def check_splits(splits: Splits, trainer: TrainingArguments, positive: str | None, head: Head) -> None:
    """Check the options that depend on the labels and on the number of sequences."""
    training = splits.training
    missing = None if splits.validation else "there are no validation sequences; set data.valid"
    _check_decisions(splits, head, trainer)
    check_best_metric(trainer, SCORES[training.problem], missing)
    check_positive(positive, training.task)
    _check_best_score(trainer, splits.validation)
    step = trainer.train_batch_size * trainer.world_size
    if trainer.dataloader_drop_last and len(training) < step:
        raise InputError(
            f"{training.source}: {len(training)} sequences do not fill a step of {step}, and "
            "trainer.dataloader_drop_last omits incomplete steps; lower trainer.per_device_train_batch_size"
        )


def _check_decisions(splits: Splits, head: Head, trainer: TrainingArguments) -> None:
    """Check that the validation data can decide about a temperature and a threshold."""
    asked = next((key for key in ("calibrate", "threshold") if getattr(head, key)), None)
    if asked and splits.validation is None:
        raise InputError(f"head.{asked} asks for validation, but there are no validation sequences; set data.valid")
    if asked and is_sharded(trainer):
        raise InputError(
            f"head.{asked} needs a whole model on one device; omit it or trainer.fsdp, or launch with "
            "recipes/accelerate/ddp.yaml"
        )
    # A threshold needs one label per sequence; `check_head` refuses other labels.
    has_labels = splits.validation is not None and splits.validation.labels is not None
    if head.threshold and splits.validation and has_labels and len(np.unique(splits.validation.known_labels)) < 2:
        raise InputError(f"head.threshold: {splits.validation.source} has one class only; give validation data of both")


def _check_best_score(trainer: TrainingArguments, validation: LabelledSequences | None) -> None:
    """Check that the labels of the validation split define the score by which the best model is chosen."""
    name = (trainer.metric_for_best_model or "").removeprefix("eval_")
    if validation is None or not name:
        return
    if validation.task.is_classification:
        labels = validation.known_labels if validation.nt_labels is None else np.concatenate(validation.nt_labels)
        undefined = undefined_by_classes(labels[labels >= 0], validation.label_names or [])
    else:
        columns = validation.known_labels.reshape(len(validation), -1)
        undefined = undefined_by_columns(columns, validation.problem)
    if name in undefined:
        raise InputError(
            f"trainer.metric_for_best_model: {validation.source} gives {name} no value ({undefined[name]}); choose "
            "another metric, such as loss, or other validation data"
        )


def count_leaks(splits: Splits, trainer: TrainingArguments) -> dict[str, Any]:
    """Count sequences in two splits and contradictory labels; the first process warns of them."""
    found = find_leaks(splits.by_name())
    if trainer.process_index == 0:
        warn_of_leaks(found, splits.by_name())
    return found
