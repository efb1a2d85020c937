"""Plan a fine-tuning run: make every check and build everything, but write nothing.

As on the command line, ``trainer`` is the section of that name, a TrainingArguments.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import TrainingArguments, set_seed

from ..batches.sequences import DataCollatorForSequences
from ..checks.meaning import describe_labels, label_warnings, rarer_class
from ..configuration_kmer_bert import HierarchicalKmerBertConfig, KmerBertConfig
from ..errors import InputError
from ..evaluation.baseline import Baseline
from ..evaluation.evaluate import positive_class
from ..inference.predictions import AverageOptions
from ..inference.windows import check_longest, collator_for
from ..labelled.data import LabelledData
from ..labelled.sequence_dataset import SequenceDataset
from ..labelled.sequences import LabelledSequences
from ..loading.adapters import check_whole
from ..loading.config_facts import parts_of
from ..loading.models import load_config, load_tokenizer
from ..privacy.budget import Budget
from ..runs.flops import attention_for
from ..runs.memory import check_memory
from ..runs.output_folder import Resume, check_inputs_kept, check_no_other_model, check_room, claim_output_dir
from ..runs.running import METRICS
from ..tokenization_kmer import KmerTokenizer
from ..training.arguments import check_arguments
from .head import Head
from .network import build_classifier, build_unloaded
from .settings import check_head, derive_config, measure
from .splits import Splits, check_splits, count_leaks, load_splits
from .trained_weights import check_trained, choose_trained, plan_privacy

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
    pretrained_config = load_config(pretrained)
    splits, data_facts = load_splits(data, tokenizer, _num_parts(head, pretrained_config), trainer)
    check_splits(splits, trainer, positive, head)
    data_facts |= count_leaks(splits, trainer)
    check_head(head, splits.training.task, tokenizer.k)
    positive = positive_class(positive or rarer_class(splits.training), splits.training.task)
    config = _configure(pretrained, pretrained_config, splits, head, tokenizer, positive)
    budget = plan_privacy(head, splits.training, trainer, resume)
    check_trained(head, config, trainer)
    collator = collator_for(config, tokenizer, head.rc_probability, trainer.seed)
    attention = attention_for(trainer)
    sample_batch = collator(_sample_rows(SequenceDataset(splits.training), trainer))
    build = partial(build_unloaded, config, head, pretrained, trainer.seed)
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


def _num_parts(head: Head, pretrained_config: KmerBertConfig) -> int:
    """Return the number of parts into which the new model cuts every sequence; 1 if its parts have a fixed length."""
    if head.cuts:
        return head.num_parts
    num_parts, part_length = parts_of(pretrained_config)
    return 1 if part_length else num_parts


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


def _log_task(training: LabelledSequences, positive: str | None) -> None:
    """Log how the labels were understood, and what looks like a mistake in them."""
    logger.info("%s: %s", training.source, describe_labels(training, positive))
    for line in label_warnings(training):
        logger.warning("%s", line)
