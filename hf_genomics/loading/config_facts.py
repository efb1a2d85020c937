"""What the configuration of a model says: its task, and how long a sequence it reads."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from ..configuration_kmer_bert import FusionKmerBertConfig, HierarchicalKmerBertConfig
from ..labelled.task import VALUE, Task
from ..tokenization_kmer import KmerTokenizer


def task_of(config: Any, source: str = "the model") -> Task:
    """Return the task that a fine-tuned model was trained for.

    Args:
        config: the model's configuration.
        source: name of the model, for error messages about examples that do not fit the task.
    """
    names = [config.id2label[number] for number in range(config.num_labels)]
    has_tracks = isinstance(config, FusionKmerBertConfig)
    positive = config.positive_class if config.positive_class in names else None
    threshold = None
    if positive is not None and config.decision_threshold is not None and len(names) == 2:
        threshold = float(config.decision_threshold), names.index(positive)
    return Task(
        problem_type=config.problem_type or "single_label_classification",
        names=None if config.problem_type == "regression" and names == [VALUE] else names,
        level="nt" if config.labels_per == "nt" else "sequence",
        paired=config.paired,
        track_names=config.track_names if has_tracks else None,
        nt_track_names=config.nt_track_names if has_tracks else None,
        source=source,
        positive=positive,
        threshold=threshold,
    )


def parts_of(config: Any) -> tuple[int, int | None]:
    """Return the number of parts into which a model cuts a sequence, and the length of the longest part in nt.

    Args:
        config: configuration of the model.

    Returns:
        ``num_parts`` and ``part_length`` of a hierarchical model; (1, None) of all others, which read whole sequences.
    """
    if isinstance(config, HierarchicalKmerBertConfig):
        return config.num_parts, config.part_length
    return 1, None


def longest_window(config: Any, tokenizer: KmerTokenizer) -> int:
    """Return the longest sequence, in nt, that a model reads at once: no longer than the longest training sequence."""
    # [CLS] and [SEP] leave max_position_embeddings - 2 k-mers: the first covers k nt, every further one adds a stride.
    fits = (config.max_position_embeddings - 3) * tokenizer.stride + tokenizer.k
    parts, part_length = parts_of(config)
    most = parts * (part_length or fits)
    # `max_sequence_length` is the longest training sequence, None if it is not known. Only the aggregation "concat",
    # which puts the vectors of the parts side by side, limits their number.
    if part_length and config.aggregation != "concat":
        return config.max_sequence_length or most
    return min(most, config.max_sequence_length or most)


def shortest_sequence(model: PreTrainedModel, k: int) -> int:
    """Return the length of the shortest sequence that a model can read, in nt: one k-mer in each part."""
    parts, part_length = parts_of(model.config)
    return k if part_length else k * parts  # with part_length, a short sequence is a single part
