"""Fine-tune a pretrained model on labelled sequences and score it: the verb `finetune`.

A run has two halves: `plan_finetuning` makes every check and builds everything but writes nothing; `run_finetuning`
trains, scores and writes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    TrainingArguments,
    set_seed,
)

from ..batches.sequences import DataCollatorForSequences
from ..configuration_kmer_bert import HierarchicalKmerBertConfig, KmerBertConfig
from ..errors import InputError
from ..evaluation.baseline import kmer_baseline, majority_probabilities
from ..evaluation.evaluate import check_positive, plot_predictions, score_predictions
from ..evaluation.metrics import SCORES, classification_metrics, compute_metrics_for
from ..evaluation.pictures import plot_loss
from ..inference.loading import VALUE, load_config, load_tokenizer, no_load_report, readable
from ..inference.predictions import Predictions
from ..inference.windows import check_longest, collator_for
from ..io.writing import write_json
from ..labelled.data import LabelledData
from ..labelled.labels import check_columns
from ..labelled.sequence_dataset import SequenceDataset
from ..labelled.sequences import LabelledSequences, check_classes
from ..modeling_kmer_bert import check_encoder_complete
from ..renamed import renamed
from ..runs.callbacks import SetEpoch
from ..runs.exact_trainer import ExactTrainer
from ..runs.flops import attention_for
from ..runs.memory import check_memory
from ..runs.output_folder import check_room, claim_output_dir
from ..runs.running import train
from ..tokenization_kmer import KmerTokenizer
from .arguments import check_arguments, check_best_metric
from .head import FLAT_KEYS, Head
from .record import run_record, split_record, write_run_record
from .settings import check_head, check_task, derive_config, measure, resume_settings

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


@dataclass(frozen=True)
class FinetuningPlan:
    """A fine-tuning run that has passed every check: all of it is built, nothing is written.

    Attributes:
        folder: output folder.
        pretrained: folder or Hub name of the model to start from.
        trainer: options of the Trainer.
        splits: labelled sequences.
        tokenizer: tokenizer of the pretrained model.
        network: model with the weights from which training starts.
        collator: function that builds batches.
        head: options of the head.
        positive: class that F1 refers to; by default the second of two.
        baseline_k: k-mer size of the baseline, in nt; 0 for no baseline.
        resume: continue from the newest checkpoint.
        overwrite: replace a finished run.
    """

    folder: Path
    pretrained: str
    trainer: TrainingArguments
    splits: Splits
    tokenizer: KmerTokenizer
    network: PreTrainedModel
    collator: DataCollatorForSequences
    head: Head
    positive: str | None
    baseline_k: int
    resume: bool
    overwrite: bool


@renamed(**FLAT_KEYS)
def finetune(
    pretrained: str,
    data: LabelledData,
    trainer: TrainingArguments,
    head: Head = Head(),  # noqa: B008 (immutable)
    positive: str | None = None,
    baseline_k: int = 4,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fine-tune a classifier (or regressor), and score it and the k-mer baseline on the test split.

    The columns that ``data`` names decide what the model predicts (one label per sequence, several labels, values, or a
    label per nucleotide) and what it reads (single sequences or pairs, with numeric tracks or without).

    Writes to ``trainer.output_dir``: model and tokenizer, metrics.json, predictions.tsv, loss.png, for classes
    roc_pr.png and confusion.png, run.json (how the model was made) and README.md (the model card).

    Args:
        pretrained: folder or Hub name of the model to start from.
        data: labelled sequences.
        trainer: transformers.TrainingArguments.
        head: options of the classifier on top of the encoder.
        positive: class that F1 refers to; by default the second of two.
        baseline_k: k-mer size, in nt, of the baseline: a logistic regression on k-mer counts, which is scored too if
            each sequence has one label; 0 for no baseline.
        resume: continue from the newest checkpoint in the output folder.
        overwrite: train again even if the output folder holds a finished run.

    Returns:
        The metrics that are written to metrics.json: the numbers of the training run, "test" (the scores of the model)
        and "baselines".

    Raises:
        InputError: if data, model or folder do not fit; nothing has been written then.

    Source: GenomeNet-BERT, section 3 (fine-tuning: [CLS], projection, classifier) and Table 1.
    """
    plan = plan_finetuning(pretrained, data, trainer, head, positive, baseline_k, resume, overwrite)
    return run_finetuning(plan)


def plan_finetuning(
    pretrained: str,
    data: LabelledData,
    trainer: TrainingArguments,
    head: Head = Head(),  # noqa: B008 (immutable)
    positive: str | None = None,
    baseline_k: int = 4,
    resume: bool = False,
    overwrite: bool = False,
) -> FinetuningPlan:
    """Check everything about a fine-tuning run and build its parts; write nothing.

    Args:
        pretrained: as in `finetune`.
        data: as in `finetune`.
        trainer: as in `finetune`.
        head: as in `finetune`.
        positive: as in `finetune`.
        baseline_k: as in `finetune`.
        resume: as in `finetune`.
        overwrite: as in `finetune`.

    Raises:
        InputError: if data, model or folder do not fit.
    """
    folder = claim_output_dir(trainer.output_dir, "metrics.json", overwrite=overwrite, resume=resume)
    check_arguments(trainer)
    if not 0 <= baseline_k <= 8:
        raise InputError(f"baseline_k must lie in 0..8 (0 for no baseline), not {baseline_k}")
    tokenizer = load_tokenizer(pretrained)
    splits = _load_splits(data, tokenizer.k * head.num_parts)
    _check_splits(splits, trainer, positive)
    check_task(splits.training.task)
    check_head(head, splits.training.task, tokenizer.k)
    pretrained_config = load_config(pretrained)
    config = _configure(pretrained, pretrained_config, splits, head, tokenizer)
    collator = collator_for(config, tokenizer, head.rc_probability, trainer.seed)
    attention = attention_for(trainer)
    first_batch = collator(_first_rows(SequenceDataset(splits.training), trainer))
    check_memory(trainer, config, partial(_auto(config).from_config, config), first_batch, attention)
    set_seed(trainer.seed)  # for the random weights of the new head
    network = build_classifier(pretrained, config, pretrained_config, attention, from_scratch=head.from_scratch)
    if not folder.exists():  # otherwise `train` checks the room, after deleting the remains of a killed run
        check_room(trainer, network)
    return FinetuningPlan(
        folder, pretrained, trainer, splits, tokenizer, network, collator, head, positive, baseline_k, resume, overwrite
    )


def run_finetuning(plan: FinetuningPlan) -> dict[str, Any]:
    """Train as planned, score the test split, and write model, metrics, predictions and pictures.

    Args:
        plan: a run that has passed every check.

    Returns:
        The metrics that are written to metrics.json.

    Raises:
        InputError: if the run diverges or the disk is full.
        StoppedError: if a signal asked for a stop.
    """
    training = plan.splits.training
    run = _build_trainer(plan)
    logger.info("%s training sequences from %s", f"{len(training):,}", training.source)
    metrics: dict[str, Any] = train(run, resume=plan.resume, overwrite=plan.overwrite)
    metrics |= {"train_sequences": len(training)}
    if run.is_world_process_zero():
        if plan.splits.test is not None:
            metrics |= _score_test(run, plan.splits.test, plan)
        plot_loss(run.state.log_history, plan.folder / "loss.png", ylabel="loss")
        write_json(plan.folder / "metrics.json", metrics)
        splits = dict(zip(("train", "valid", "test"), plan.splits, strict=True))
        record = run_record("finetune", plan.trainer, run.state, split_record(splits), plan.pretrained)
        write_run_record(plan.folder, record)
    return metrics


def build_classifier(
    pretrained: str, config: KmerBertConfig, pretrained_config: KmerBertConfig, attention: str, *, from_scratch: bool
) -> PreTrainedModel:
    """Build a model with a new head on a pretrained encoder, or on an encoder with random weights.

    Args:
        pretrained: folder or Hub name of the pretrained model.
        config: configuration of the new model.
        pretrained_config: configuration of the pretrained model.
        attention: name of the attention backend, such as "sdpa".
        from_scratch: initialise all weights at random instead of loading them.

    Raises:
        InputError: if weights of the encoder are missing, or do not have the sizes that config.json requires.
    """
    auto = _auto(config)
    if from_scratch:
        return auto.from_config(config, attn_implementation=attention)
    options: dict[str, Any] = {"attn_implementation": attention, "ignore_mismatched_sizes": True}
    if (
        config.position_embedding_type == "absolute"
        and config.max_position_embeddings != pretrained_config.max_position_embeddings
    ):
        # The model is built with as many positions as were saved, so that they can be loaded; from_pretrained then
        # interpolates them to the new number.
        options["stretch_positions"] = config.max_position_embeddings
        config.max_position_embeddings = pretrained_config.max_position_embeddings
    with readable(pretrained), no_load_report():  # a head for other classes does not fit: it is new
        network, info = auto.from_pretrained(pretrained, config=config, output_loading_info=True, **options)
        check_encoder_complete(network, info["missing_keys"], pretrained)
    for name, found, expected in sorted(info["mismatched_keys"]):
        if name.startswith("bert.") and ".pooler." not in name:
            raise InputError(
                f"{pretrained}: {name} is {tuple(found)}, but by config.json {tuple(expected)}; correct config.json"
            )
    if new := sorted({*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}):
        logger.info("new weights, not taken from %s: %s", pretrained, ", ".join(new))
    return network


def _load_splits(data: LabelledData, shortest: int) -> Splits:
    """Read training, validation and test sequences, and check that every split has every class.

    Args:
        data: labelled sequences.
        shortest: shortest sequence that the model can read, in nt.
    """
    training = data.require("train", shortest, why="fine-tuning needs labelled training sequences")
    check_columns(training)
    splits = Splits(training, *(data.load(split, shortest, training.task) for split in ("valid", "test")))
    for examples in filter(None, splits):
        check_classes(training, examples)
    return splits


def _check_splits(splits: Splits, trainer: TrainingArguments, positive: str | None) -> None:
    """Check the options that depend on the labels and on the number of sequences."""
    training = splits.training
    missing = None if splits.validation else "there are no validation sequences; set data.valid"
    check_best_metric(trainer, SCORES[training.problem], missing)
    check_positive(positive, training.task)
    step = trainer.train_batch_size * trainer.world_size
    if trainer.dataloader_drop_last and len(training) < step:
        raise InputError(
            f"{training.source}: {len(training)} sequences do not fill a step of {step}, and "
            "trainer.dataloader_drop_last omits incomplete steps; lower trainer.per_device_train_batch_size"
        )


def _configure(
    pretrained: str, pretrained_config: KmerBertConfig, splits: Splits, head: Head, tokenizer: KmerTokenizer
) -> KmerBertConfig:
    """Derive the new model's configuration, and check that the new model can read every sequence."""
    positions = pretrained_config.max_position_embeddings
    if head.stretch_positions is not None and head.stretch_positions <= positions:
        raise InputError(
            f"head.stretch_positions must be more than the {positions} tokens that {pretrained} reads, not "
            f"{head.stretch_positions}; raise or omit it"
        )
    training = splits.training
    config = derive_config(pretrained_config, training.task, head, measure(training, balanced=head.balanced))
    if head.part_length is None and isinstance(config, HierarchicalKmerBertConfig):
        _check_parts(pretrained, pretrained_config, head)
    for examples in filter(None, splits):
        check_longest(examples, tokenizer, config)
    return config


def _check_parts(pretrained: str, pretrained_config: KmerBertConfig, head: Head) -> None:
    """Check the number of parts against a pretrained model whose linear layer joins a fixed number of them."""
    if not isinstance(pretrained_config, HierarchicalKmerBertConfig) or pretrained_config.aggregation != "concat":
        return
    parts = pretrained_config.num_parts
    if parts != head.num_parts:
        raise InputError(f"{pretrained} joins {parts} parts; set head.num_parts to {parts}")


def _first_rows(rows: SequenceDataset, trainer: TrainingArguments) -> list[dict[str, Any]]:
    """Return random training rows, as many as a batch has, from which the memory of a step is estimated."""
    chosen = np.random.default_rng(trainer.seed).permutation(len(rows))[: trainer.train_batch_size]
    return [rows[index] for index in chosen.tolist()]


def _auto(config: KmerBertConfig) -> Any:
    """Return the Auto class that builds the model of a configuration."""
    return AutoModelForTokenClassification if config.labels_per == "nt" else AutoModelForSequenceClassification


def _build_trainer(plan: FinetuningPlan) -> ExactTrainer:
    """Build the Trainer of a run; building it creates the output folder."""
    training, validation, _ = plan.splits
    rows = SequenceDataset(training)
    plan.trainer.remove_unused_columns = False  # the collator turns sequences into what the model takes
    return ExactTrainer(
        model=plan.network,
        args=plan.trainer,
        data_collator=plan.collator,
        train_dataset=rows,
        eval_dataset=SequenceDataset(validation, keep_strand=True) if validation else None,
        processing_class=plan.tokenizer,
        compute_metrics=compute_metrics_for(
            training.problem, training.label_names or [VALUE], positive=plan.positive or 1
        ),
        callbacks=[SetEpoch(rows)],
        settings=resume_settings(training, validation, plan.network, plan.head),
    )


def _score_test(run: ExactTrainer, test: LabelledSequences, plan: FinetuningPlan) -> dict[str, Any]:
    """Score the test split, write predictions and pictures, and score the baselines."""
    # accelerate leaves its bf16 wrapper on the model. It is removed, so that the test split is scored in full precision
    # and `evaluate` and `predict` return the same numbers later.
    network = run.accelerator.unwrap_model(plan.network, keep_fp32_wrapper=False)
    predictions = Predictions.of(network, plan.tokenizer, test, plan.trainer.per_device_eval_batch_size)
    predictions.write(plan.folder / "predictions.tsv")
    metrics = {"test": score_predictions(predictions, plan.positive), "test_sequences": len(test)}
    if not test.task.is_classification or not predictions.names:
        return metrics
    guesses = _baselines(predictions, plan)
    curves = {name: guess for name, guess in guesses.items() if name != "majority"}
    plot_predictions(predictions, plan.folder, plan.positive, curves)
    target = predictions.names.index(plan.positive) if plan.positive else 1
    metrics["baselines"] = {name: classification_metrics(*guess, positive=target) for name, guess in guesses.items()}
    return metrics


def _baselines(predictions: Predictions, plan: FinetuningPlan) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predict the classes of the test split by always guessing the majority class, and from k-mer counts.

    Args:
        predictions: the model's predictions of the test split.
        plan: plan of the run.

    Returns:
        name of the baseline -> (class probabilities, labels).
    """
    training, (_, labels) = plan.splits.training, predictions.labelled()
    classes = len(predictions.names or [])
    seen = training.known_labels if training.nt_labels is None else np.concatenate(training.nt_labels)
    guesses = {"majority": (majority_probabilities(seen[seen >= 0], len(labels), num_classes=classes), labels)}
    if plan.baseline_k and training.nt_labels is None and training.pairs is None:
        scores = kmer_baseline(
            training.sequences,
            training.known_labels,
            predictions.examples.sequences,
            plan.baseline_k,
            num_classes=classes,
        )
        guesses[f"{plan.baseline_k}-mer logistic regression"] = (scores, labels)
    return guesses
