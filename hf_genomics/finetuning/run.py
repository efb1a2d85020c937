"""Train as planned, score the test split, and write everything that a fine-tuning run leaves.

``trainer`` is the section of that name, a TrainingArguments. So the Trainer itself is called ``run`` here; elsewhere, a
run is a folder.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from transformers import PreTrainedModel, TrainingArguments

from ..errors import InputError
from ..evaluation.baseline import baseline_predictions, baseline_scores, with_thresholds
from ..evaluation.decisions import Reliability, calibrate, choose_threshold, reliability, with_temperature
from ..evaluation.evaluate import compare_with_baselines, curves_of, plot_predictions, reliability_of
from ..evaluation.metrics import compute_metrics_for
from ..evaluation.pictures import plot_loss
from ..inference.predictions import Predictions, log_threshold
from ..labelled.sequence_dataset import SequenceDataset, balanced_rows
from ..labelled.sequences import LabelledSequences
from ..labelled.task import VALUE
from ..loading.config_facts import task_of
from ..loading.models import load_classifier
from ..reports.score_report import write_score_report
from ..runs.callbacks import SetEpoch
from ..runs.running import finish, finished_metrics, starting, train
from ..training.arguments import warn_of_low_rate
from ..training.record import published_name, run_record, split_record, write_run_record
from .plan import FinetuningPlan
from .run_report import as_report, scored_model, task_record
from .settings import digest, resume_settings
from .trained_weights import FinetuningTrainer, NoisyFinetuningTrainer

logger = logging.getLogger(__name__)


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
    run = build_trainer(plan)
    logger.info("%s training sequences from %s", f"{len(training):,}", training.source)
    warn_of_low_rate(plan.trainer, plan.network.num_parameters())
    with starting(run, resume=plan.resume, overwrite=plan.overwrite) as start:
        if start.finished:
            return as_report(plan.folder, _checked_scores(plan, finished_metrics(plan.folder)))
        metrics: dict[str, Any] = train(run, start, overwrite=plan.overwrite)
        start_model = None if plan.head.from_scratch else published_name(plan.pretrained)
        metrics |= {"pretrained": start_model, "train_sequences": len(training), "task": task_record(plan)}
        metrics |= plan.data_facts | {"scored_with": scored_with(plan)}
        if isinstance(run, NoisyFinetuningTrainer):
            metrics["privacy"] = run.spent
        if run.is_world_process_zero():
            metrics |= _choose_decisions(run, plan)
            if plan.splits.test is not None and plan.options.score_test:
                network = _network_to_score(run, plan)
                metrics |= score_test(network, plan.splits.test, plan, metrics.get("calibration", {}))
            plot_loss(run.state.log_history, plan.folder / "loss.png", ylabel="loss")
            splits = dict(zip(("train", "valid", "test"), plan.splits, strict=True))
            # With differential privacy no hash of the training rows is kept; `build_trainer` says why.
            data = split_record(splits, train_counted_only=plan.budget is not None)
            record = run_record("finetune", plan.trainer, run.state, data, plan.pretrained)
            metrics = as_report(plan.folder, metrics)
            write_score_report(scored_model(plan.folder, metrics))
            finish(plan.folder, metrics, partial(write_run_record, plan.folder, record))
    return metrics


def scored_with(plan: FinetuningPlan) -> dict[str, Any]:
    """Return what the test scores of a run depend on, beside its model."""
    test, options = plan.splits.test if plan.options.score_test else None, plan.options
    found: dict[str, Any] = {"data.test": None if test is None else digest(test), "positive": plan.positive}
    found |= {"baselines": [*options.baselines], "baseline_k": plan.baseline_k}
    return found | {"both_strands": options.both_strands, "frames": options.frames}


def _checked_scores(plan: FinetuningPlan, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of a finished run; raise InputError if its test scores are not those that are asked for."""
    now = scored_with(plan)
    before = metrics.get("scored_with", now)  # older runs have no record
    if changed := [key for key, value in now.items() if before.get(key) != value]:
        raise InputError(
            f"{plan.folder}: finished, and scored with other settings ({', '.join(changed)}); score its model by "
            f"hf-genomics evaluate --model {plan.folder}, choose another trainer.output_dir, or begin again with "
            "--resume false --overwrite true"
        )
    return metrics


def build_trainer(plan: FinetuningPlan) -> FinetuningTrainer:
    """Build the Trainer of a run; building it creates the output folder."""
    training, validation, _ = plan.splits
    chosen = balanced_rows(training.known_labels, plan.trainer.seed) if plan.head.oversample else None
    rows = SequenceDataset(training, numbered=True, chosen=chosen)  # numbered: an error names the rows of a NaN loss
    _log_often(plan.trainer, len(rows))
    plan.trainer.remove_unused_columns = False  # the collator turns sequences into what the model takes
    arguments: dict[str, Any] = {
        "model": plan.network,
        "frozen": plan.frozen,
        "layer_decay": plan.head.layer_decay,
        "patience": plan.head.early_stopping,
        "args": plan.trainer,
        "data_collator": plan.collator,
        "train_dataset": rows,
        # keep_strand: validation reads sequences as they are.
        "eval_dataset": SequenceDataset(validation, keep_strand=True) if validation else None,
        "processing_class": plan.tokenizer,
        "compute_metrics": compute_metrics_for(
            training.problem,
            training.label_names or [VALUE],
            # Without a positive class there are not two classes, and the 1 has no effect.
            positive=1 if plan.positive is None else plan.positive,
        ),
        "callbacks": [SetEpoch(rows)],
        "describe": rows.describe,
    }
    settings = resume_settings(training, validation, plan.network, plan.head)
    if plan.budget is None:
        return FinetuningTrainer(**arguments, settings=settings)
    # A run with noise keeps no hash of its training rows: anyone who knew all rows but one could try candidates for the
    # last row until the hash fits.
    return NoisyFinetuningTrainer(**arguments, settings=settings | {"data.train": None}, budget=plan.budget)


def _log_often(trainer: TrainingArguments, rows: int) -> None:
    """Log 20 times in a run of fewer than 10,000 steps, for which the Trainer's default of every 500 steps is rare.

    A 500 that the user has set cannot be told from the default, and is replaced, too.
    """
    default = TrainingArguments.__dataclass_fields__["logging_steps"].default
    step = trainer.train_batch_size * trainer.gradient_accumulation_steps * trainer.world_size
    steps = trainer.max_steps if trainer.max_steps > 0 else trainer.num_train_epochs * rows / step
    if trainer.logging_strategy == "steps" and trainer.logging_steps == default and steps < 20 * default:
        trainer.logging_steps = 0.05  # a share of all steps


def _network_to_score(run: FinetuningTrainer, plan: FinetuningPlan) -> PreTrainedModel:
    """Return the trained model as `evaluate` and `predict` use it later: with all weights, and in full precision."""
    if run.is_fsdp_enabled:  # this process has a shard of each weight; the saved model has all of it
        return load_classifier(str(plan.folder))[0].to(plan.trainer.device)
    # accelerate leaves its bf16 wrapper on the model.
    return run.accelerator.unwrap_model(plan.network, keep_fp32_wrapper=False)


def _choose_decisions(run: FinetuningTrainer, plan: FinetuningPlan) -> dict[str, Any]:
    """Choose temperature and threshold on the validation data, if asked for, and save the model with both."""
    validation, head = plan.splits.validation, plan.head
    if validation is None or not (head.calibrate or head.threshold):
        return {}
    network = run.accelerator.unwrap_model(plan.network, keep_fp32_wrapper=False)
    batch_size = plan.trainer.per_device_eval_batch_size
    found: dict[str, Any] = {}
    predictions = None
    if head.calibrate:
        # A temperature divides logits, of which a mean of probabilities has none: one strand and frame.
        predictions = Predictions.of(network, plan.tokenizer, validation, batch_size)
        before = reliability(*predictions.labelled()).ece
        temperature = calibrate(network, predictions)  # changes the classifier's weights, so the network predicts anew
        predictions = Predictions.of(network, plan.tokenizer, validation, batch_size)
        after = reliability(*predictions.labelled()).ece
        found["calibration"] = {"temperature": temperature, "valid": {"ece_before": before, "ece": after}}
        logger.info("temperature %.3g: ECE of the validation split %.3f, before %.3f", temperature, after, before)
    if head.threshold and plan.positive is not None:
        if predictions is None or plan.options.facts(plan.tokenizer.stride):  # not predicted yet, or not as means
            predictions = Predictions.of(network, plan.tokenizer, validation, batch_size, plan.options)
        scores, labels = predictions.labelled()
        number = (predictions.names or []).index(plan.positive)
        network.config.decision_threshold = choose_threshold(scores[:, number], labels == number, head.threshold)
        log_threshold(task_of(network.config), str(plan.folder))
    # Only the first process is here. That is enough: without FSDP, which `_check_decisions` refuses, no weights are
    # gathered.
    run.save_model()
    return found


def score_test(
    network: PreTrainedModel, test: LabelledSequences, plan: FinetuningPlan, calibration: dict[str, Any]
) -> dict[str, Any]:
    """Score the test split, write predictions and pictures, and score the baselines."""
    batch_size = plan.trainer.per_device_eval_batch_size
    predictions = Predictions.of(network, plan.tokenizer, test, batch_size, plan.options)
    averaged = plan.options.facts(plan.tokenizer.stride)
    predictions.write(plan.folder / "predictions.tsv")
    by_baseline = _predict_by_baselines(predictions, plan)
    compared = compare_with_baselines(predictions, by_baseline, plan.positive)
    metrics: dict[str, Any] = {"test": compared.scores, "test_sequences": len(test), **averaged}
    if (found := reliability_of(predictions)) is not None:
        # Without the temperature, means of probabilities would not be what `_calibration_errors` computes from them.
        temperature = None if averaged else calibration.get("temperature")
        metrics["calibration"] = calibration | {"test": _calibration_errors(predictions, found, temperature)}
    if predictions.num_unscored:
        metrics["test_sequences_without_scores"] = predictions.num_unscored
    metrics |= {"baselines": compared.baselines, "ahead": compared.ahead}
    plot_predictions(predictions, plan.folder, plan.positive, curves_of(by_baseline))
    return metrics


def _calibration_errors(predictions: Predictions, measured: Reliability, temperature: float | None) -> dict[str, float]:
    """Return the calibration error of predictions, and what it would be without the temperature of the model."""
    if temperature is None:
        return {"ece": measured.ece}
    scores, labels = predictions.labelled()
    before = reliability(with_temperature(scores, labels, 1 / temperature), labels)  # 1 / temperature undoes it
    return {"ece_before": before.ece, "ece": measured.ece}


def _predict_by_baselines(predictions: Predictions, plan: FinetuningPlan) -> dict[str, Predictions]:
    """Predict by the baselines what the model has predicted; if it has a threshold, choose one for each of them too."""
    training, validation, _ = plan.splits
    seed, rc_probability = plan.trainer.seed, plan.head.rc_probability
    by_baseline = baseline_predictions(
        training, predictions, plan.options.baselines, plan.baseline_k, seed=seed, rc_probability=rc_probability
    )
    if predictions.threshold is None or validation is None or plan.head.threshold is None:
        return by_baseline
    _, positive_id = predictions.threshold
    on_validation = baseline_scores(
        training, validation, plan.options.baselines, plan.baseline_k, seed=seed, rc_probability=rc_probability
    )
    is_positive = validation.known_labels == positive_id
    return with_thresholds(by_baseline, on_validation, is_positive, positive_id, plan.head.threshold)
