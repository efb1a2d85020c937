"""Fine-tuning, evaluation and prediction: of sequences, pairs, nucleotides, with tracks, from tables or stores."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    TrainingArguments,
    set_seed,
)

from ..configuration_kmer_bert import HierarchicalKmerBertConfig
from ..errors import InputError
from ..evaluation.baseline import kmer_baseline, majority_probabilities
from ..evaluation.evaluate import check_positive, plot_predictions, score_predictions
from ..evaluation.metrics import SCORES, classification_metrics, compute_metrics_for
from ..evaluation.pictures import plot_loss
from ..inference.loading import VALUE, load_config, load_tokenizer, no_load_report, readable
from ..inference.predictions import Predictions
from ..inference.windows import check_longest, collator_for
from ..io.writing import write_json
from ..labelled.annotations import check_columns
from ..labelled.data import LabelledData
from ..labelled.sequences import LabelledSequences, check_classes
from ..labelled.windows import SequenceDataset
from ..modeling_kmer_bert import refuse_missing
from ..runs.callbacks import SetEpoch
from ..runs.exact_trainer import ExactTrainer
from ..runs.flops import attention_for
from ..runs.memory import check_memory
from ..runs.output_folder import check_room, claim_output_dir
from ..runs.running import train
from .arguments import check_arguments, check_best_metric
from .settings import (
    course_settings,
    label_settings,
    make_configuration,
    track_settings,
    weight_settings,
    window_settings,
)

logger = logging.getLogger(__name__)


def finetune(
    pretrained: str,
    data: LabelledData,
    trainer: TrainingArguments,
    from_scratch: bool = False,
    num_parts: int = 1,
    part_length: int | None = None,
    aggregation: Literal["concat", "mean", "max", "transformer"] = "concat",
    stretch_positions: int | None = None,
    pooling: Literal["cls", "mean", "max", "attention"] | None = None,
    balanced: bool = False,
    class_weights: list[float] | None = None,
    focal_gamma: float = 0.0,
    rc_probability: float = 0.0,
    dropout: float | None = None,
    positive: str | None = None,
    baseline_k: int = 4,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fine-tune a classifier (or regressor) and score it on the test split, the k-mer baseline beside it.

    The columns that ``data`` names say of what: one label per sequence, several, values, or a label per nucleotide; of
    single sequences or pairs; with numeric tracks or without.

    Leaves in ``trainer.output_dir``: model and tokenizer, metrics.json, predictions.tsv, loss.png, and for classes
    roc_pr.png and confusion.png.

    Args:
        pretrained: model folder or Hub name to start from.
        data: labelled sequences.
        trainer: transformers.TrainingArguments.
        from_scratch: keep the model's sizes and tokenizer but start from random weights (BERT's own
            initialisation): the supervised twin.
        num_parts: cut every sequence into so many parts, encoded one by one and joined by a linear layer (the paper's
            two parts for 1000 nt at stride 1).
        part_length: instead, cut every sequence into as many parts as it needs for none to be longer, in nt.
        aggregation: how the parts are joined: "concat" (side by side), "mean", "max", or "transformer" (attention
            between them).
        stretch_positions: read so many tokens ([CLS] and [SEP] included) where the pretrained model reads fewer: its
            learned positions are interpolated; other kinds have none to stretch and reach as far as they are asked to.
        pooling: what a sequence's classifier reads: the "cls" token, or the "mean", "max" or "attention"-weighted mean
            of all tokens; by default the model's.
        balanced: weigh classes in the loss so that each counts the same; of several labels each one's positives.
        class_weights: or weigh them by these numbers, in the order of the class names (sorted; numbers by value).
        focal_gamma: focal loss: weaken what is predicted with probability p by (1 - p)^gamma.
        rc_probability: chance to show the opposite strand of a training sequence.
        dropout: before the classifier; by default the model's.
        positive: class that F1 is about; by default the second of two.
        baseline_k: also score a logistic regression on k-mer counts, for one label per sequence; 0 leaves it out.
        resume: go on from the newest checkpoint in the output folder.
        overwrite: train again though the output folder holds a finished run.

    Returns:
        the metrics that are written to metrics.json: "test" and "baselines" beside what training reports.

    Raises:
        InputError: if data, model or folder do not fit; nothing has been written then.

    Source: GenomeNet-BERT, section 3 (fine-tuning: [CLS], projection, classifier) and Table 1.
    """
    folder = claim_output_dir(trainer.output_dir, "metrics.json", overwrite=overwrite, resume=resume)
    check_arguments(trainer)
    _check_numbers(num_parts, rc_probability, dropout, baseline_k, focal_gamma)
    tokenizer = load_tokenizer(pretrained)
    training, validation, test = _load_splits(data, tokenizer.k * num_parts)
    missing = None if validation else "there are no validation sequences; set data.valid"
    check_best_metric(trainer, SCORES[training.problem], missing)
    check_positive(positive, training.task)
    if rc_probability and training.nt_labels is not None:
        raise InputError("rc_probability: labels per nucleotide belong to a strand; leave it at 0")
    if training.pairs is not None and training.nt_labels is not None:
        raise InputError("labels per nucleotide are for single sequences; leave data.pair_column away")
    step = trainer.train_batch_size * trainer.world_size
    if trainer.dataloader_drop_last and len(training) < step:
        raise InputError(
            f"{training.source}: {len(training)} sequences are less than a step of {step}, and "
            "trainer.dataloader_drop_last leaves them out; lower trainer.per_device_train_batch_size"
        )
    before = load_config(pretrained)
    positions = _positions(before, pretrained, stretch_positions)
    settings = label_settings(training) | weight_settings(training, balanced, class_weights, focal_gamma)
    settings |= {"classifier_dropout": dropout} if dropout is not None else {}
    settings |= {"classifier_pooling": pooling} if pooling else {}
    settings |= {"initialisation": "bert"} if from_scratch else {}
    windows = window_settings(training, tokenizer.k, num_parts, part_length, aggregation)
    config = make_configuration(before, settings, windows, track_settings(training))
    if part_length is None and isinstance(config, HierarchicalKmerBertConfig):
        _check_windows(before, pretrained, num_parts)
    config.max_position_embeddings = positions
    for examples in filter(None, (training, validation, test)):
        check_longest(examples, tokenizer, config)
    attention, rows = attention_for(trainer), SequenceDataset(training)
    collator = collator_for(config, tokenizer, rc_probability, trainer.seed)
    check_memory(trainer, config, partial(_auto(config).from_config, config), collator(_some(rows, trainer)), attention)
    set_seed(trainer.seed)
    network = _classifier(pretrained, config, before, from_scratch, attention)
    if not folder.exists():  # or else once the remains of a killed run are cleared away
        check_room(trainer, network)
    trainer.remove_unused_columns = False
    names = training.label_names or [VALUE]
    run = ExactTrainer(
        model=network,
        args=trainer,
        data_collator=collator,
        train_dataset=rows,
        eval_dataset=SequenceDataset(validation, keep_strand=True) if validation else None,
        processing_class=tokenizer,
        compute_metrics=compute_metrics_for(training.problem, names, positive=positive or 1),
        callbacks=[SetEpoch(rows)],
        settings=course_settings(training, validation, network, rc_probability),
    )
    logger.info("%s training sequences from %s", f"{len(training):,}", training.source)
    metrics: dict[str, Any] = train(run, resume=resume, overwrite=overwrite) | {"train_sequences": len(training)}
    if run.is_world_process_zero():
        if test is not None:
            # As ``evaluate`` and ``predict`` do it, and in full precision (accelerate leaves its bf16 wrapper on the
            # model), so that they give the same numbers.
            network = run.accelerator.unwrap_model(network, keep_fp32_wrapper=False)
            found = Predictions.of(network, tokenizer, test, trainer.per_device_eval_batch_size)
            metrics |= _test(found, training, positive, baseline_k, folder)
        plot_loss(run.state.log_history, folder / "loss.png", ylabel="loss")
        write_json(folder / "metrics.json", metrics)
    return metrics


def _load_splits(
    data: LabelledData, k: int
) -> tuple[LabelledSequences, LabelledSequences | None, LabelledSequences | None]:
    """Read training, validation and test sequences; every class must be in every split."""
    training = data.require("train", k, why="fine-tuning needs labelled training sequences")
    check_columns(training)
    others = [data.load(split, k, training.task) for split in ("valid", "test")]
    for other in (training, *others):
        if other is not None:
            check_classes(training, other)
    return training, others[0], others[1]


def _check_numbers(
    num_parts: int, rc_probability: float, dropout: float | None, baseline_k: int, focal_gamma: float
) -> None:
    if num_parts < 1:
        raise InputError(f"num_parts must be at least 1, not {num_parts}")
    if not 0 <= rc_probability <= 1:
        raise InputError(f"rc_probability must lie in 0..1, not {rc_probability}")
    if not 0 <= (dropout or 0) < 1:
        raise InputError(f"dropout must lie in 0..1 (1 excluded), not {dropout}")
    if not 0 <= baseline_k <= 8:
        raise InputError(f"baseline_k must lie in 0..8 (0 leaves the baseline out), not {baseline_k}")
    if not 0 <= focal_gamma < float("inf"):
        raise InputError(f"focal_gamma must be 0 or more, not {focal_gamma}")


def _check_windows(config: Any, pretrained: str, num_parts: int) -> None:
    before = getattr(config, "num_parts", num_parts)
    if before != num_parts and getattr(config, "aggregation", "concat") == "concat":
        raise InputError(f"{pretrained} joins {before} windows; pass --num_parts {before}")


def _positions(before: Any, pretrained: str, stretch_positions: int | None) -> int:
    """Say how many tokens the new model reads."""
    now = before.max_position_embeddings
    if stretch_positions is not None and stretch_positions <= now:
        raise InputError(
            f"stretch_positions must be more than the {now} tokens that {pretrained} reads, not {stretch_positions}; "
            "raise it or leave it away"
        )
    return stretch_positions or now


def _some(rows: SequenceDataset, trainer: TrainingArguments) -> list[dict[str, Any]]:
    """Choose rows for a batch like those of the training."""
    chosen = np.random.default_rng(trainer.seed).permutation(len(rows))[: trainer.train_batch_size]
    return [rows[index] for index in chosen.tolist()]


def _auto(config: Any) -> Any:
    return AutoModelForTokenClassification if config.labels_per == "nt" else AutoModelForSequenceClassification


def _classifier(pretrained: str, config: Any, before: Any, from_scratch: bool, attention: str) -> PreTrainedModel:
    """Build the model with pretrained or random weights; learned positions are stretched to those of ``config``."""
    auto = _auto(config)
    if from_scratch:
        return auto.from_config(config, attn_implementation=attention)
    options: dict[str, Any] = {"attn_implementation": attention, "ignore_mismatched_sizes": True}
    if (
        config.position_embedding_type == "absolute"
        and config.max_position_embeddings != before.max_position_embeddings
    ):
        options["stretch_positions"] = config.max_position_embeddings
        config.max_position_embeddings = before.max_position_embeddings  # as the weights are
    with readable(pretrained), no_load_report():  # a classifier of other classes gets a new head
        network, info = auto.from_pretrained(pretrained, config=config, output_loading_info=True, **options)
        refuse_missing(network, info["missing_keys"], pretrained)
    for name, *sizes in sorted(info["mismatched_keys"]):
        if name.startswith("bert.") and ".pooler." not in name:
            raise InputError(
                f"{pretrained}: {name} is {tuple(sizes[0])}, but by config.json {tuple(sizes[1])}; mend config.json"
            )
    if new := sorted({*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}):
        logger.info("new weights, not those of %s: %s", pretrained, ", ".join(new))
    return network


def _test(
    found: Predictions, training: LabelledSequences, positive: str | None, baseline_k: int, folder: Path
) -> dict[str, Any]:
    """Score the test split, write predictions and pictures, and score the baselines."""
    found.write(folder / "predictions.tsv")
    scores, labels = found.labelled()
    metrics = {"test": score_predictions(found, positive), "test_sequences": len(found.examples)}
    if found.examples.problem != "single_label_classification" or not found.names:
        return metrics
    target, others = found.names.index(positive) if positive else 1, {}
    if baseline_k and training.nt_labels is None and training.pairs is None:
        guess = kmer_baseline(
            training.sequences,
            training.known_labels,
            found.examples.sequences,
            baseline_k,
            num_classes=len(found.names),
        )
        others = {f"{baseline_k}-mer logistic regression": (guess, labels)}
    plot_predictions(found, folder, positive, others)
    seen = training.known_labels if training.nt_labels is None else np.concatenate(training.nt_labels)
    majority = majority_probabilities(seen[seen >= 0], len(labels), num_classes=len(found.names))
    guesses = {"majority": (majority, labels), **others}
    metrics["baselines"] = {name: classification_metrics(*pair, positive=target) for name, pair in guesses.items()}
    return metrics
