"""Fine-tune a pretrained model on labelled sequences and score it: the verb `finetune`.

A run has two halves: `plan_finetuning` makes every check and builds everything but writes nothing; `run_finetuning`
trains, scores and writes. A sweep (`_run_sweep`) trains in a process for each combination of option values, called a
cell, and keeps the model with the best score in validation; see `jobs.sweep`. With several seeds (`_run_seeds`), each
has a process; see `jobs.seeds`.

As on the command line, ``trainer`` is the section of that name, a TrainingArguments. So the Trainer itself is called
``run`` here; elsewhere, a run is a folder.
"""

from __future__ import annotations

import copy
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    TrainingArguments,
    set_seed,
)

from ..batches.sequences import DataCollatorForSequences
from ..checks.leaks import drop_leaks, find_leaks, warn_of_leaks
from ..checks.meaning import describe_labels, label_warnings, rarer_class, task_facts
from ..checks.splits import log_split, split_table
from ..configuration_kmer_bert import HierarchicalKmerBertConfig, KmerBertConfig
from ..errors import InputError
from ..evaluation.baseline import Baseline, baseline_predictions, baseline_scores, check_baselines, with_thresholds
from ..evaluation.decisions import Reliability, calibrate, choose_threshold, reliability, with_temperature
from ..evaluation.evaluate import (
    check_positive,
    compare_with_baselines,
    curves_of,
    notes_of,
    plot_predictions,
    positive_class,
    reliability_of,
)
from ..evaluation.explained_scores import undefined_by_classes, undefined_by_columns
from ..evaluation.metrics import SCORES, compute_metrics_for
from ..evaluation.pictures import plot_loss
from ..inference.adapters import check_whole
from ..inference.loading import (
    encoder_misfit,
    load_classifier,
    load_complete,
    load_config,
    load_tokenizer,
    task_of,
)
from ..inference.predictions import AverageOptions, Predictions, check_averages, log_threshold
from ..inference.problems import with_known_kmers
from ..inference.windows import check_longest, collator_for
from ..jobs import seeds as repeated
from ..jobs import sweep as sweeps
from ..labelled.data import LabelledData
from ..labelled.sequence_dataset import SequenceDataset, balanced_rows
from ..labelled.sequences import LabelledSequences
from ..labelled.tables import check_split
from ..labelled.task import VALUE
from ..privacy.budget import Budget
from ..renamed import renamed
from ..reports.score_report import ScoredModel, ScoreReport, main_score, write_score_report
from ..runs.callbacks import SetEpoch
from ..runs.flops import attention_for
from ..runs.memory import check_memory
from ..runs.output_folder import (
    Resume,
    check_inputs_kept,
    check_no_other_model,
    check_room,
    claim_output_dir,
    clear_outputs,
)
from ..runs.running import METRICS, finish, finished_metrics, starting, train
from ..runs.sharding import is_sharded
from ..saved_files import read_json
from ..tokenization_kmer import KmerTokenizer
from .arguments import check_arguments, check_best_metric, warn_of_low_rate
from .head import FLAT_KEYS, Head
from .record import published_command, published_name, run_record, split_record, write_run_record
from .settings import check_head, derive_config, measure, resume_settings
from .trained_weights import (
    FinetuningTrainer,
    NoisyFinetuningTrainer,
    check_trained,
    choose_trained,
    plan_privacy,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneOptions(AverageOptions):
    """Further options of `finetune`; on the command line, omit the name of this section.

    Args:
        both_strands: score the test split by the mean probabilities (or values) of each sequence and its reverse
            complement, which takes twice the time. A threshold is then chosen on such means, too.
        frames: number of frames over which these means are taken: a sequence is cut into k-mers from its first letter,
            and again from others within the first stride. A model at stride 6 has 6 frames, one at stride 1 has one.
            Takes as many times as long. The trained model does not depend on either option.
        baselines: what is scored beside the model: "kmer", a regression on k-mer counts, and "conv", a small
            convolutional network, which takes a minute or two.
        score_test: score the test split at the end; if false, it is only compared with the other splits.
        sweep: try every combination of these values, key -> values, in a run each, and keep the model with the best
            score in validation: ``--sweep.trainer.learning_rate 1e-4 3e-4 1e-3``. Keys of trainer and head, and
            pretrained.
        sweep_jobs: number of runs of a sweep, or of several seeds, at a time; 0 for one per GPU, or without a GPU one
            per core.
        seeds: train once with each of these values of trainer.seed, score the test split for each, and report means and
            standard deviations; the output folder gets the model of the first one.

    Raises:
        InputError: if a number is out of range.
    """

    baselines: list[Baseline] = field(default_factory=lambda: ["kmer"])
    score_test: bool = True
    sweep: dict[str, Any] = field(default_factory=dict)
    sweep_jobs: int = 0
    seeds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the numbers of frames, and of runs at a time."""
        super().__post_init__()
        if not 0 <= self.sweep_jobs <= 1024:
            raise InputError(f"sweep_jobs must lie in 0..1024 (0: one per GPU or core), not {self.sweep_jobs}")
        if self.seeds and self.sweep:
            raise InputError(
                "seeds: choose options by a sweep first, then train the chosen ones with seeds; omit sweep"
            )


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


@dataclass(frozen=True)
class FinetuningPlan:
    """A fine-tuning run that has passed every check: all of it is built, nothing is written.

    Attributes:
        folder: output folder.
        pretrained: folder or Hub name of the model to start from.
        trainer: options of the Trainer.
        splits: labelled sequences.
        tokenizer: tokenizer of the pretrained model.
        network: model with the weights from which training starts; with LoRA, inside a ``peft.PeftModel``.
        frozen: modules of the model that are not trained.
        collator: function that builds batches.
        head: options of the classifier on top of the encoder, and of how it is trained.
        positive: the class, of two, that F1 and AUPRC refer to; None for another number of classes.
        baseline_k: k-mer size of the baseline "kmer", in nt; 0 for no such baseline.
        resume: continue from the newest checkpoint; "auto" begins, continues, or accepts a finished run.
        overwrite: replace a finished run.
        data_facts: what metrics.json holds about the data: sequences in two splits and contradictory labels (see
            `find_leaks`), how a table was split, and how many training rows were omitted.
        options: further options.
        budget: noise and steps of a run with differential privacy; None for any other.
    """

    folder: Path
    pretrained: str
    trainer: TrainingArguments
    splits: Splits
    tokenizer: KmerTokenizer
    network: Any
    frozen: list[nn.Module]
    collator: DataCollatorForSequences
    head: Head
    positive: str | None
    baseline_k: int
    resume: Resume
    overwrite: bool
    data_facts: dict[str, Any] = field(default_factory=dict)
    options: FinetuneOptions = field(default_factory=FinetuneOptions)
    budget: Budget | None = None


@renamed(**FLAT_KEYS)  # keys of version 0.1, which had no section `head`
def finetune(
    pretrained: str,
    data: LabelledData,
    trainer: TrainingArguments,
    head: Head = Head(),  # noqa: B008 (immutable)
    positive: str | None = None,
    baseline_k: int = 4,
    resume: Resume = False,
    overwrite: bool = False,
    options: FinetuneOptions = FinetuneOptions(),  # noqa: B008 (immutable)
) -> dict[str, Any]:
    """Fine-tune a classifier (or regressor), and score it and the baselines on the test split.

    The columns that ``data`` names decide what the model predicts (one label per sequence, several labels, values, or a
    label per nucleotide) and what it reads (single sequences or pairs, with numeric tracks or without).

    Writes to ``trainer.output_dir``: model and tokenizer, metrics.json, predictions.tsv, report.html, loss.png and the
    pictures of `evaluate`, run.json (how the model was made) and README.md (the model card).

    Args:
        pretrained: folder or Hub name of the model to start from.
        data: labelled sequences.
        trainer: transformers.TrainingArguments.
        head: options of the classifier on top of the encoder, and of how it is trained: parts, loss, trained weights,
            calibration.
        positive: the class, of two, that F1 and AUPRC refer to; by default the rarer one in the training data, and the
            second one if both are equally frequent. The model's configuration keeps it.
        baseline_k: k-mer size, in nt, of the baseline "kmer"; 0 for no such baseline.
        resume: continue from the newest valid checkpoint in the output folder, as if the run had not been stopped.
            "auto" begins a run that has no checkpoint yet, continues one that has, and accepts a finished one: the
            choice for a command that is started again and again.
        overwrite: train again even if the output folder holds a finished run.
        options: further options, among them a sweep over options of training.

    Returns:
        The metrics that are written to metrics.json: the numbers of the training run, "pretrained" (the model that
        training started from; None if from random weights), "task" (how the labels were understood), "leaks" and
        "contradictory_labels" (see `find_leaks`), "split" (see `split_table`) and "dropped_leaks" (number of training
        rows) if ``data`` asks for them, "train_sequences" and "test_sequences" (numbers of sequences),
        "test_sequences_without_scores" if there are any, "test" (the scores of the model), "both_strands" and "frames"
        if they are scores of means, "baselines" and "ahead" (see `Comparison`), "calibration" (temperature and ECE),
        "sweep" (the score of each run in validation, and the best run) and "seeds" (the scores of each run, see
        `hf_genomics.jobs.seeds.summarise`). A score without a value is NaN (null in the file), and "undefined" says
        why.

    Raises:
        InputError: if data, model or folder do not fit; nothing has been written then.

    Source: GenomeNet-BERT, section 3 (fine-tuning: [CLS], projection, classifier) and Table 1.
    """
    check_baselines(options.baselines)
    asked = _Request(pretrained, data, trainer, head, positive, baseline_k, resume, overwrite, options)
    if options.seeds:
        return _run_seeds(asked)
    return _run_sweep(asked) if options.sweep else run_finetuning(asked.plan())


class _Request(NamedTuple):
    """The arguments of `finetune`."""

    pretrained: str
    data: LabelledData
    trainer: TrainingArguments
    head: Head
    positive: str | None
    baseline_k: int
    resume: Resume
    overwrite: bool
    options: FinetuneOptions

    def plan(self) -> FinetuningPlan:
        """Return the checked plan of the run."""
        arguments = self._asdict()
        options = arguments.pop("options")
        plan = replace(plan_finetuning(**arguments), options=options)
        check_averages(plan.splits.training.task, options)
        return plan

    def with_options(self, changes: Mapping[str, Any]) -> _Request:
        """Return the request of one run of a sweep: with some options changed, key -> value.

        Raises:
            InputError: if a value is out of range, or not of the kind that its key takes.
        """
        # A copy, for which __post_init__ is not called again: it only serves to plan and to score. The process that
        # trains builds its own TrainingArguments from a recipe.
        pretrained, trainer, head = self.pretrained, copy.copy(self.trainer), {}
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            current = getattr(getattr(self, section), name) if section else self.pretrained
            value = sweeps.checked_value(key, value, current)
            if section == "trainer":
                setattr(trainer, name, value)
            elif section == "head":
                head[name] = value
            else:  # the only key without a section
                pretrained = value
        try:
            check_arguments(trainer)
            changed = replace(self.head, **head)
        except ValueError as error:  # names the key that is out of range as if it had been set outside the sweep
            key = next((key for key in changes if key.rpartition(".")[2] in str(error)), "")
            name = rf"(?<![\w.])(?:--)?(?:{re.escape(key)}|{re.escape(key.rpartition('.')[2])})\b"
            text = re.sub(name, f"sweep.{key}", str(error), count=1) if key else f"sweep: {error}"
            raise InputError(text) from error
        return self._replace(pretrained=pretrained, trainer=trainer, head=changed)

    def recipe(self) -> dict[str, Any]:
        """Return the settings that all runs of a sweep share, as the YAML recipe that the process of a run reads.

        The runs are only compared in validation, so they compute no baselines and do not score the test split.
        """
        # The same arguments without any setting of the user's, to find out which settings are the user's.
        untouched = type(self.trainer)(output_dir=str(self.trainer.output_dir), use_cpu=self.trainer.use_cpu)
        trainer = sweeps.changed_fields(self.trainer, untouched)
        # Always written: the command line would set these two by the machine that it runs on.
        trainer |= {"use_cpu": self.trainer.use_cpu, "bf16": self.trainer.bf16}
        return {
            "pretrained": self.pretrained,
            "positive": self.positive,
            "data": sweeps.changed_fields(self.data),
            "head": sweeps.changed_fields(self.head),
            "trainer": trainer,
            "baselines": [],
            "baseline_k": 0,
            "score_test": False,
            "both_strands": self.options.both_strands,  # a threshold depends on them
            "frames": self.options.frames,
        }


# Keys of `trainer` that a sweep cannot vary: where a run computes and writes ...
_WHERE_A_RUN_COMPUTES = {"output_dir", "resume_from_checkpoint", "run_name", "report_to", "disable_tqdm", "use_cpu"}
# ... and how its best checkpoint is chosen, because the runs are compared by the same score.
_HOW_THE_BEST_IS_CHOSEN = {
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
    "eval_strategy",
    "save_strategy",
}
# Keys that change what is summed up as the loss, so that losses cannot be compared.
_CHANGE_THE_LOSS = ("head.balanced", "head.class_weights", "head.focal_gamma")


def _run_sweep(asked: _Request) -> dict[str, Any]:
    """Fine-tune for every combination of a sweep, and make the output folder that of the best run in validation."""
    trainer, options = asked.trainer, asked.options
    grid = sweeps.grid_of(options.sweep, _keys_to_sweep(trainer))
    asked = _of_several_runs(asked, "sweep", grid)
    _check_sweep(asked, grid)
    cells = sweeps.cells_of(grid)
    requests = {cell.name: asked.with_options(cell.options) for cell in cells}
    # The first run is planned here, but trained in a process like the others: so a mistake in data, model or output
    # folder is reported before any process starts.
    plan = requests[cells[0].name].plan()
    folder, metric = plan.folder, str(trainer.metric_for_best_model).removeprefix("eval_")
    larger_is_better = bool(plan.trainer.greater_is_better)  # set while planning, by the metric
    del plan  # its data and model need memory, which the processes need now
    if asked.overwrite:
        sweeps.clear_cells(folder / sweeps.CELLS)
        (folder / METRICS).unlink(missing_ok=True)
    scores = sweeps.run_sweep(folder, cells, asked.recipe(), metric, options.sweep_jobs)
    best = sweeps.best_of(scores, larger_is_better)
    with sweeps.waiting_for(folder):
        # Several commands may share a sweep. All of them get here when its last run ends; the first one writes the
        # output folder, and the others return what it wrote.
        if finished := _finished_sweep(folder, cells):
            return _as_report(folder, finished)
        return _score_best(requests[best.cell.name], folder, scores, best, metric)


def _keys_to_sweep(trainer: TrainingArguments) -> list[str]:
    """List the keys that a sweep may vary."""
    fixed = _WHERE_A_RUN_COMPUTES | _HOW_THE_BEST_IS_CHOSEN
    of_trainer = sorted(f"trainer.{one.name}" for one in fields(trainer) if one.init and one.name not in fixed)
    return ["pretrained", *of_trainer, *(f"head.{one.name}" for one in fields(Head))]


def _of_several_runs(asked: _Request, what: str, varied: Iterable[str] = ()) -> _Request:
    """Return the request with the kind of ``resume`` that several runs take.

    Args:
        asked: the request.
        what: "sweep" or "seeds".
        varied: keys that differ from run to run.

    Raises:
        InputError: if the runs cannot be processes of their own that read files.
    """
    trainer, data = asked.trainer, asked.data
    if asked.resume is True and asked.overwrite:
        raise InputError(f"--resume continues the {what} that --overwrite would delete; pass only one of them")
    if trainer.world_size > 1:
        raise InputError(f"{what}: it starts its own processes; run the command without a launcher, and set sweep_jobs")
    if any(not isinstance(getattr(data, name), str | Path | None) for name in ("train", "valid", "test")):
        raise InputError(f"{what}: its runs are processes that read files; save the dataset, and name the file in data")
    if asked.head.dp_epsilon is not None or any(key.startswith("head.dp_") for key in varied):
        raise InputError(f"{what}: every run would spend its own share of privacy; omit head.dp_epsilon, or {what}")
    # resume=True requires a checkpoint in the output folder, but those of several runs are in the folders of the runs.
    return asked._replace(resume="auto" if asked.resume else False)


def _check_sweep(asked: _Request, grid: Mapping[str, Any]) -> None:
    """Check that the runs of a sweep can be compared in validation."""
    trainer = asked.trainer
    if not trainer.load_best_model_at_end:
        raise InputError(
            "sweep: its runs are compared in validation; name data.valid (or pass --data.split 0.8 0.1 0.1), and add "
            "--trainer.load_best_model_at_end true --trainer.eval_strategy epoch --trainer.save_strategy epoch "
            "--trainer.metric_for_best_model macro_recall (or f1, auroc, loss; for values spearman or r2)"
        )
    if trainer.metric_for_best_model in ("loss", "eval_loss"):
        if changed := next((key for key in _CHANGE_THE_LOSS if key in grid), None):
            raise InputError(
                f"sweep.{changed} changes what the loss means, so the runs cannot be compared by it; set "
                "trainer.metric_for_best_model to another score, such as macro_recall"
            )


def _finished_sweep(folder: Path, cells: list[sweeps.Cell]) -> dict[str, Any] | None:
    """Return the metrics of a finished sweep over these cells; None if none is finished, or it had other cells."""
    if not (folder / METRICS).exists():
        return None
    metrics = finished_metrics(folder)
    # The name of a cell is that of its folder.
    before = [cell["folder"] for cell in metrics.get("sweep", {}).get("cells", [])]
    return metrics if sorted(before) == sorted(cell.name for cell in cells) else None


def _score_best(
    request: _Request, folder: Path, scores: list[sweeps.CellScore], best: sweeps.CellScore, metric: str
) -> dict[str, Any]:
    """Copy the best run of a sweep to the output folder, and score the test split with its model."""
    # Nothing is trained here: the plan holds the test split, and the training data for the baselines. overwrite=True,
    # because an earlier sweep may have left its model in the folder.
    plan = request._replace(resume=False, overwrite=True).plan()
    clear_outputs(folder)
    sweeps.copy_run(best.run, folder)
    metrics = finished_metrics(best.run) | {"sweep": sweeps.write_sweep(folder, scores, best, metric)}
    if plan.splits.test is not None and plan.options.score_test:
        network, _ = load_classifier(str(folder))
        metrics |= _score_test(network, plan.splits.test, plan, metrics.get("calibration", {}))
    metrics = _finish_copy(folder, metrics)
    logger.info("%s: the model of %s, the best of %d runs by %s in validation", folder, best.run, len(scores), metric)
    return metrics


def _run_seeds(asked: _Request) -> dict[str, Any]:
    """Fine-tune once with each of several seeds, and make the output folder that of the first run."""
    asked, options = _of_several_runs(asked, "seeds"), asked.options
    cells = repeated.cells_of_seeds(options.seeds)
    first = asked.with_options(cells[0].options)
    plan = first.plan()  # so that a mistake is reported before any process starts
    if plan.splits.test is None or not options.score_test:
        raise InputError("seeds: their test scores are compared; name data.test, or pass --data.split 0.8 0.1 0.1")
    folder, score = plan.folder, main_score(_task_facts(plan))
    del plan
    if asked.overwrite:
        sweeps.clear_cells(folder / repeated.CELLS)
        (folder / METRICS).unlink(missing_ok=True)
    recipe = asked.recipe() | {"baselines": options.baselines, "baseline_k": asked.baseline_k, "score_test": True}
    describe = partial(repeated.describe, score)
    runs = sweeps.run_cells(folder / repeated.CELLS, cells, recipe, describe, options.sweep_jobs)
    with sweeps.waiting_for(folder):
        finished = finished_metrics(folder) if (folder / METRICS).exists() else {}
        if finished.get("seeds", {}).get("seeds") == options.seeds:
            return _as_report(folder, finished)
        clear_outputs(folder)
        sweeps.copy_run(runs[0], folder)
        found = repeated.summarise(options.seeds, [finished_metrics(run) for run in runs])
        return _finish_copy(folder, finished_metrics(runs[0]) | {"seeds": found})


def _finish_copy(folder: Path, metrics: dict[str, Any]) -> ScoreReport:
    """Write report, metrics and record of an output folder that holds a copy of a run, and return the metrics."""
    report, record = _as_report(folder, metrics), read_json(folder / "run.json")
    write_score_report(_scored_model(folder, report))
    finish(folder, report, partial(write_run_record, folder, record | {"command": published_command(sys.argv)}))
    return report


def plan_finetuning(
    pretrained: str,
    data: LabelledData,
    trainer: TrainingArguments,
    head: Head = Head(),  # noqa: B008 (immutable)
    positive: str | None = None,
    baseline_k: int = 4,
    resume: Resume = False,
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
    folder = claim_output_dir(trainer.output_dir, METRICS, overwrite=overwrite, resume=resume)
    check_inputs_kept(folder, {"pretrained": pretrained, **data.paths()})
    check_no_other_model(folder, METRICS, overwrite=overwrite, resume=resume)
    check_arguments(trainer)
    _check_start(pretrained, baseline_k)
    tokenizer = load_tokenizer(pretrained)
    splits, data_facts = _load_splits(data, tokenizer, head, trainer)
    _check_splits(splits, trainer, positive, head)
    data_facts |= _find_leaks(splits, trainer)
    check_head(head, splits.training.task, tokenizer.k)
    positive = positive_class(positive or rarer_class(splits.training), splits.training.task)
    pretrained_config = load_config(pretrained)
    config = _configure(pretrained, pretrained_config, splits, head, tokenizer, positive)
    budget = plan_privacy(head, splits.training, trainer, resume)
    check_trained(head, config, trainer)
    collator = collator_for(config, tokenizer, head.rc_probability, trainer.seed)
    attention = attention_for(trainer)
    sample_batch = collator(_sample_rows(SequenceDataset(splits.training), trainer))
    build = partial(_build_unloaded, config, head, pretrained, trainer.seed)
    check_memory(trainer, config, build, sample_batch, attention)
    set_seed(trainer.seed)  # for the random weights of a model from scratch
    built = build_classifier(
        pretrained, config, pretrained_config, attention, from_scratch=head.from_scratch, head_seed=trainer.seed
    )
    network, frozen = choose_trained(built, head, pretrained, trainer.seed)
    if not folder.exists():  # otherwise `train` checks the room, after deleting the remains of a killed run
        check_room(trainer, network)
    _log_task(splits.training, positive)
    return FinetuningPlan(
        folder=folder,
        pretrained=pretrained,
        trainer=trainer,
        splits=splits,
        tokenizer=tokenizer,
        network=network,
        frozen=frozen,
        collator=collator,
        head=head,
        positive=positive,
        baseline_k=baseline_k,
        resume=resume,
        overwrite=overwrite,
        data_facts=data_facts,
        budget=budget,
    )


def _check_start(pretrained: str, baseline_k: int) -> None:
    """Check the k-mer size of the baseline, and that training starts from a whole model."""
    if not 0 <= baseline_k <= 8:
        raise InputError(f"baseline_k must lie in 0..8 (0 for no k-mer baseline), not {baseline_k}")
    check_whole(Path(pretrained), "start from")


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
    warn_of_low_rate(plan.trainer, plan.network.num_parameters())
    with starting(run, resume=plan.resume, overwrite=plan.overwrite) as start:
        if start.finished:
            return _as_report(plan.folder, finished_metrics(plan.folder))
        metrics: dict[str, Any] = train(run, start, overwrite=plan.overwrite)
        start_model = None if plan.head.from_scratch else published_name(plan.pretrained)
        metrics |= {"pretrained": start_model, "train_sequences": len(training), "task": _task_facts(plan)}
        metrics |= plan.data_facts
        if isinstance(run, NoisyFinetuningTrainer):
            metrics["privacy"] = run.spent
        if run.is_world_process_zero():
            metrics |= _choose_decisions(run, plan)
            if plan.splits.test is not None and plan.options.score_test:
                network = _network_to_score(run, plan)
                metrics |= _score_test(network, plan.splits.test, plan, metrics.get("calibration", {}))
            plot_loss(run.state.log_history, plan.folder / "loss.png", ylabel="loss")
            splits = dict(zip(("train", "valid", "test"), plan.splits, strict=True))
            # With differential privacy no hash of the training rows is kept; `_build_trainer` says why.
            data = split_record(splits, train_counted_only=plan.budget is not None)
            record = run_record("finetune", plan.trainer, run.state, data, plan.pretrained)
            metrics = _as_report(plan.folder, metrics)
            write_score_report(_scored_model(plan.folder, metrics))
            finish(plan.folder, metrics, partial(write_run_record, plan.folder, record))
    return metrics


def _network_to_score(run: FinetuningTrainer, plan: FinetuningPlan) -> PreTrainedModel:
    """Return the trained model as `evaluate` and `predict` use it later: with all weights, and in full precision."""
    if run.is_fsdp_enabled:  # this process has a shard of each weight; the saved model has all of it
        return load_classifier(str(plan.folder))[0].to(plan.trainer.device)
    # accelerate leaves its bf16 wrapper on the model.
    return run.accelerator.unwrap_model(plan.network, keep_fp32_wrapper=False)


def _as_report(folder: Path, metrics: dict[str, Any]) -> ScoreReport:
    """Return metrics as a dictionary that the command line can show: the lines of a sweep, then those of the model."""
    report = ScoreReport(metrics)
    report.scored = _scored_model(folder, metrics)
    if "sweep" in metrics:
        report.above = sweeps.screen_lines(metrics["sweep"])
    return report


def _scored_model(folder: Path, metrics: dict[str, Any]) -> ScoredModel:
    """Collect what a report tells about a fine-tuned model.

    Args:
        folder: output folder of the run.
        metrics: content of metrics.json.
    """
    scores = metrics.get("test", {})
    task, baselines, ahead, leaks = (metrics.get(name, {}) for name in ("task", "baselines", "ahead", "leaks"))
    averaged = {name: metrics.get(name) for name in ("both_strands", "frames")}
    unscored = {"sequences_without_scores": metrics.get("test_sequences_without_scores")}
    start = f"from the weights of {metrics['pretrained']}" if metrics.get("pretrained") else "from random weights"
    notes = [f"Fine-tuning began {start}."] if "pretrained" in metrics else []
    notes += notes_of(scores | averaged | unscored)
    if temperature := metrics.get("calibration", {}).get("temperature"):
        notes.append(f"Logits were divided by a temperature of {temperature:.3g}, fitted on the validation split.")
    if seeds := metrics.get("seeds", {}).get("seeds"):
        notes.append(f"Scores, differences and pictures are those of seed {seeds[0]}, the first one.")
    if sweep := metrics.get("sweep"):
        notes.append(
            f"The best of {len(sweep['cells'])} runs by {sweep['metric']} in validation ({sweeps.TABLE}); the test "
            "split was scored for this run only."
        )
    return ScoredModel(
        model=folder.resolve().name,
        folder=folder,
        split="test",
        task=task,
        scores=scores,
        baselines=baselines,
        ahead=ahead,
        leaks=leaks,
        notes=notes,
        seeds=metrics.get("seeds", {}),
    )


def build_classifier(
    pretrained: str,
    config: KmerBertConfig,
    pretrained_config: KmerBertConfig,
    attention: str,
    *,
    from_scratch: bool,
    head_seed: int = 0,
) -> PreTrainedModel:
    """Build a model with a new head on a pretrained encoder, or on an encoder with random weights.

    Args:
        pretrained: folder or Hub name of the pretrained model.
        config: configuration of the new model; its number of positions is changed while saved positions are loaded.
        pretrained_config: configuration of the pretrained model.
        attention: name of the attention backend, such as "sdpa".
        from_scratch: initialise all weights at random instead of loading them.
        head_seed: seed of the weights that the pretrained model does not have.

    Raises:
        InputError: if weights of the encoder are missing, or do not have the sizes that config.json requires.
    """
    auto = _auto(config)
    if from_scratch:
        return auto.from_config(config, attn_implementation=attention)
    # ignore_mismatched_sizes: a head for other classes is replaced by a new one.
    options: dict[str, Any] = {"attn_implementation": attention, "ignore_mismatched_sizes": True}
    options["head_seed"] = head_seed
    if (
        config.position_embedding_type == "absolute"
        and config.max_position_embeddings != pretrained_config.max_position_embeddings
    ):
        # The model is built with as many positions as were saved, so that they can be loaded; from_pretrained then
        # interpolates them to the new number.
        options["stretch_positions"] = config.max_position_embeddings
        config.max_position_embeddings = pretrained_config.max_position_embeddings
    network, info = load_complete(auto, pretrained, config=config, **options)
    if misfit := encoder_misfit(info):
        name, found, expected = misfit
        raise InputError(f"{pretrained}: {name} is {found}, but by config.json {expected}; correct config.json")
    if new := sorted({*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}):
        logger.info("new weights, not taken from %s: %s", pretrained, _layers_of(new))
    return network


def _layers_of(weights: list[str]) -> str:
    """Return the layers of weights, at most five of them.

    >>> _layers_of(["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.weight"])
    'bert.pooler.dense, classifier'
    """
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in weights))
    return ", ".join(layers[:5]) + (f" and {len(layers) - 5} more" if len(layers) > 5 else "")


def _load_splits(
    data: LabelledData, tokenizer: KmerTokenizer, head: Head, trainer: TrainingArguments
) -> tuple[Splits, dict[str, Any]]:
    """Read training, validation and test sequences, and check that every split has every class.

    Args:
        data: labelled sequences.
        tokenizer: tokenizer of the model; sequences without a known k-mer are omitted.
        head: options of the head, which may cut sequences into parts.
        trainer: options of the Trainer; the first process logs how a table was split.

    Returns:
        The splits, and what metrics.json holds about a table that was split and about omitted training rows.
    """
    is_first = trainer.process_index == 0
    splits, facts = _read_splits(data, tokenizer.k * head.num_parts, log=is_first)  # every part needs one k-mer
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


def _check_splits(splits: Splits, trainer: TrainingArguments, positive: str | None, head: Head) -> None:
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


def _find_leaks(splits: Splits, trainer: TrainingArguments) -> dict[str, Any]:
    """Count sequences in two splits and contradictory labels; the first process warns of them."""
    found = find_leaks(splits.by_name())
    if trainer.process_index == 0:
        warn_of_leaks(found, splits.by_name())
    return found


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


def _log_task(training: LabelledSequences, positive: str | None) -> None:
    """Log how the labels were understood, and what looks like a mistake in them."""
    logger.info("%s: %s", training.source, describe_labels(training, positive))
    for line in label_warnings(training):
        logger.warning("%s", line)


def _task_facts(plan: FinetuningPlan) -> dict[str, Any]:
    """Return how the labels of every split were understood."""
    training, validation, test = plan.splits
    task = replace(training.task, positive=plan.positive)
    return task_facts(task, {"train": training, "valid": validation, "test": test})


def _configure(
    pretrained: str,
    pretrained_config: KmerBertConfig,
    splits: Splits,
    head: Head,
    tokenizer: KmerTokenizer,
    positive: str | None,
) -> KmerBertConfig:
    """Derive the new model's configuration, and check that the new model can read every sequence."""
    positions = pretrained_config.max_position_embeddings
    if head.stretch_positions is not None and head.stretch_positions <= positions:
        raise InputError(
            f"head.stretch_positions must be more than the {positions} tokens that {pretrained} reads, not "
            f"{head.stretch_positions}; raise or omit it"
        )
    training = splits.training
    task = replace(training.task, positive=positive)
    config = derive_config(pretrained_config, task, head, measure(training, balanced=head.balanced))
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


def _sample_rows(rows: SequenceDataset, trainer: TrainingArguments) -> list[dict[str, Any]]:
    """Return as many random training rows as a batch has; the memory of a step is estimated from them."""
    chosen = np.random.default_rng(trainer.seed).permutation(len(rows))[: trainer.train_batch_size]
    return [rows[index] for index in chosen.tolist()]


def _auto(config: KmerBertConfig) -> Any:
    """Return the Auto class that builds the model of a configuration."""
    return AutoModelForTokenClassification if config.labels_per == "nt" else AutoModelForSequenceClassification


def _build_unloaded(config: KmerBertConfig, head: Head, pretrained: str, seed: int) -> Any:
    """Build a model with random weights, of which some may be frozen; for LoRA, ``pretrained`` names the base model."""
    return choose_trained(_auto(config).from_config(config), head, pretrained, seed)[0]


def _build_trainer(plan: FinetuningPlan) -> FinetuningTrainer:
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


def _choose_decisions(run: FinetuningTrainer, plan: FinetuningPlan) -> dict[str, Any]:
    """Choose temperature and threshold on the validation data, if asked for, and save the model with both."""
    validation, head = plan.splits.validation, plan.head
    if validation is None or not (head.calibrate or head.threshold):
        return {}
    network = run.accelerator.unwrap_model(plan.network, keep_fp32_wrapper=False)
    batch_size = plan.trainer.per_device_eval_batch_size
    found: dict[str, Any] = {}
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
        predictions = Predictions.of(network, plan.tokenizer, validation, batch_size, plan.options)
        scores, labels = predictions.labelled()
        number = (predictions.names or []).index(plan.positive)
        network.config.decision_threshold = choose_threshold(scores[:, number], labels == number, head.threshold)
        log_threshold(task_of(network.config), str(plan.folder))
    # Only the first process is here. That is enough: without FSDP, which `_check_decisions` refuses, no weights are
    # gathered.
    run.save_model()
    return found


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


def _score_test(
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
