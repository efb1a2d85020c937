"""Derive a fine-tuned model's configuration from the task, the head, the training data and the pretrained model."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..configuration_kmer_bert import FusionKmerBertConfig, HierarchicalKmerBertConfig, KmerBertConfig
from ..errors import InputError
from ..labelled.sequences import LabelledSequences
from ..labelled.task import VALUE, Task
from .head import NEW_KEYS, Head

# Keys that a new model must not take over from the pretrained model's configuration.
_IDENTITY = {"architectures", "model_type", "auto_map", "transformers_version", "dtype"}


@dataclass(frozen=True)
class TrainingStatistics:
    """Numbers of the training data that a fine-tuned model keeps in its configuration.

    Attributes:
        longest: length of the longest sequence, in nt.
        balanced_weights: weights that make every class count the same; None if not requested.
        target_means: mean of each target of a regression; None for classes.
        target_scales: standard deviation of each target; None for classes.
        track_means: mean of each track; None without tracks.
        track_stds: standard deviation of each track; None without tracks.
        nt_track_means: mean of each signal per nucleotide; None without signals.
        nt_track_stds: standard deviation of each signal per nucleotide; None without signals.
    """

    longest: int
    balanced_weights: list[float] | None = None
    target_means: list[float] | None = None
    target_scales: list[float] | None = None
    track_means: list[float] | None = None
    track_stds: list[float] | None = None
    nt_track_means: list[float] | None = None
    nt_track_stds: list[float] | None = None


def derive_config(pretrained: KmerBertConfig, task: Task, head: Head, statistics: TrainingStatistics) -> KmerBertConfig:
    """Derive the configuration of a fine-tuned model.

    Args:
        pretrained: configuration of the pretrained model.
        task: what the model predicts, and from which inputs.
        head: options of the head, which `check_head` has accepted.
        statistics: numbers of the training data.

    Raises:
        InputError: if the pretrained model reads tracks that the task lacks, or cannot read pairs.
    """
    _check_inputs(pretrained, task)
    kind = _config_class(pretrained, task, head)
    kept = {key: value for key, value in pretrained.to_dict().items() if key not in _IDENTITY}
    settings = _task_settings(task, statistics) | _head_settings(head, statistics)
    if kind is HierarchicalKmerBertConfig and head.cuts:
        settings |= _part_settings(head, statistics.longest)
    if kind is FusionKmerBertConfig:
        settings |= _track_settings(task, statistics)
    # A pretrained model of another class may have keys that the new class lacks (such as num_parts); they are dropped.
    known = {*kind().to_dict(), *settings}
    return kind.from_dict({key: value for key, value in (kept | settings).items() if key in known})


def measure(training: LabelledSequences, *, balanced: bool) -> TrainingStatistics:
    """Compute the numbers of the training data that the new model keeps.

    Args:
        training: labelled sequences.
        balanced: compute weights that make every class count the same.

    Raises:
        InputError: if ``balanced`` is set and a yes/no label has no positive or no negative.
    """
    regression = training.problem == "regression"
    targets = training.known_labels.reshape(len(training), -1) if regression else None
    target_means, target_scales = _means_and_stds(targets)
    track_means, track_stds = _means_and_stds(training.tracks)
    signals = None if training.nt_tracks is None else np.concatenate(training.nt_tracks)
    nt_track_means, nt_track_stds = _means_and_stds(signals)
    return TrainingStatistics(
        longest=max(map(len, training.sequences)),
        balanced_weights=balanced_weights(training) if balanced else None,
        target_means=target_means,
        target_scales=target_scales,
        track_means=track_means,
        track_stds=track_stds,
        nt_track_means=nt_track_means,
        nt_track_stds=nt_track_stds,
    )


def check_head(head: Head, task: Task, k: int) -> None:
    """Check that the options of a head fit each other and the task.

    Args:
        head: options of the head.
        task: what the model predicts, and from which inputs.
        k: k-mer size in nt.

    Raises:
        InputError: naming the keys and the remedy.
    """
    if head.rc_probability and task.level == "nt":
        raise InputError("head.rc_probability: labels per nucleotide belong to one strand; leave it at 0")
    _check_weights(head, task)
    _check_decisions(head, task)
    _check_parts(head, task, k)


def _check_weights(head: Head, task: Task) -> None:
    """Check the options that weight classes."""
    if task.problem_type == "regression" and (head.balanced or head.class_weights or head.focal_gamma):
        raise InputError(
            "head.balanced, head.class_weights and head.focal_gamma are for classes, but the labels are values; "
            "omit them"
        )
    if head.balanced and head.class_weights:
        raise InputError("head.balanced and head.class_weights are two ways to weight classes; omit one of them")
    if head.balanced and head.oversample:
        raise InputError(
            "head.balanced and head.oversample both make classes count the same, so together they favour rare classes; "
            "omit one of them"
        )
    names = task.names or []
    weights = head.class_weights or []
    if weights and (len(weights) != len(names) or not all(0 < weight < float("inf") for weight in weights)):
        raise InputError(f"head.class_weights must be one positive number for each of {names}, not {weights}")


def _check_decisions(head: Head, task: Task) -> None:
    """Check the options about rare classes and about decisions."""
    if head.threshold is not None and (not task.is_classification or len(task.names or []) != 2):
        raise InputError("head.threshold decides between two classes, which the labels are not; omit it")
    if head.threshold is not None and task.level == "nt":
        raise InputError("head.threshold decides about sequences, but the labels belong to nucleotides; omit it")
    if head.calibrate and task.problem_type == "regression":
        raise InputError("head.calibrate is for probabilities, but the labels are values; omit it")
    if head.oversample and (not task.is_classification or task.level == "nt"):
        raise InputError(
            "head.oversample repeats sequences of rare classes, but not each sequence has one class; omit it, or set "
            "head.balanced, which weights the loss"
        )


def _check_parts(head: Head, task: Task, k: int) -> None:
    """Check the options that cut sequences into parts."""
    if not head.cuts:
        if head.aggregation != "concat":
            raise InputError(
                f"head.aggregation {head.aggregation!r} joins parts of sequences; set head.num_parts or "
                "head.part_length"
            )
        return
    if head.num_parts > 1 and head.part_length is not None:
        raise InputError("head.num_parts and head.part_length are two ways to cut sequences; omit one of them")
    if head.part_length is not None and head.part_length < 2 * k:
        raise InputError(
            f"head.part_length must be at least two k-mers of {k} nt, so that no part is too short, not "
            f"{head.part_length}"
        )
    others = {
        "pairs": task.paired,
        "labels per nucleotide": task.level == "nt",
        "tracks": task.track_names,
        "signals per nucleotide": task.nt_track_names,
    }
    for what, given in others.items():
        if given:
            raise InputError(f"head.num_parts and head.part_length cut single sequences, not {what}; omit them")


def balanced_weights(training: LabelledSequences) -> list[float]:
    """Compute weights that make every class count the same in the loss.

    Args:
        training: labelled sequences.

    Returns:
        labels / (classes * labels of the class) for each class; for several yes/no labels, negatives / positives of
        each label.

    Raises:
        InputError: if a yes/no label has no positive or no negative.
    """
    if training.problem == "multi_label_classification":
        positives, known = (training.known_labels == 1).sum(0), (~np.isnan(training.known_labels)).sum(0)
        for name, positive, all_known in zip(training.label_names or [], positives, known, strict=True):
            if positive in (0, all_known):
                raise InputError(
                    f"{training.source}: label {name!r} is the same in every row, so head.balanced has nothing to "
                    "weight; omit the column or head.balanced"
                )
        return ((known - positives) / positives).tolist()
    labels = training.known_labels if training.nt_labels is None else np.concatenate(training.nt_labels)
    counts = np.bincount(labels[labels >= 0], minlength=len(training.label_names or []))
    return (counts.sum() / (len(counts) * counts.clip(min=1))).tolist()


def _means_and_stds(values: np.ndarray | None) -> tuple[list[float] | None, list[float] | None]:
    """Compute mean and standard deviation of each column, ignoring NaN.

    Args:
        values: numbers, (rows, columns), or None.

    Returns:
        Means and standard deviations (1 for a column that does not vary); None and None if there are no values.
    """
    if values is None:
        return None, None
    known = values.astype(np.float64)
    stds = np.nanstd(known, 0)
    # Because of rounding, equal values may have a standard deviation of about 1e-17. Values are divided by it later, so
    # such a column gets 1 instead.
    varies = (np.nanmin(known, 0) < np.nanmax(known, 0)) & (stds > 0)
    return np.nanmean(known, 0).tolist(), np.where(varies, stds, 1).tolist()


def _check_inputs(pretrained: KmerBertConfig, task: Task) -> None:
    """Check that the pretrained model can read the inputs of a task."""
    reads_tracks = getattr(pretrained, "track_names", None) or getattr(pretrained, "nt_track_names", None)
    if reads_tracks and not (task.track_names or task.nt_track_names):
        raise InputError(
            "the pretrained model reads tracks; name them in data.columns.tracks or data.columns.nt_tracks, or start "
            "from a model without tracks"
        )
    if task.paired and pretrained.type_vocab_size < 2:
        raise InputError(
            f"a pair needs two token types, but the pretrained model has type_vocab_size {pretrained.type_vocab_size}; "
            "start from a model that has 2"
        )


def _config_class(pretrained: KmerBertConfig, task: Task, head: Head) -> type[KmerBertConfig]:
    """Choose the class of the new model's configuration."""
    if head.cuts:
        return HierarchicalKmerBertConfig
    if task.track_names or task.nt_track_names:
        return FusionKmerBertConfig
    if task.paired or task.level == "nt":  # pairs and nucleotides are never cut into parts
        return KmerBertConfig
    return type(pretrained)


def _task_settings(task: Task, statistics: TrainingStatistics) -> dict[str, Any]:
    """Return the configuration keys that follow from the task and its labels."""
    names = dict(enumerate(task.names or [VALUE]))
    return {
        "problem_type": task.problem_type,
        "id2label": names,
        "label2id": {name: number for number, name in names.items()},
        "positive_class": task.positive,
        "decision_threshold": None,  # one of the pretrained model was chosen for its own classes
        "labels_per": "nt" if task.level == "nt" else "token",
        "paired": task.paired,
        "max_sequence_length": statistics.longest,
        "target_means": statistics.target_means,
        "target_scales": statistics.target_scales,
    }


def _head_settings(head: Head, statistics: TrainingStatistics) -> dict[str, Any]:
    """Return the configuration keys that follow from the head, without the options that were not given."""
    optional = {
        "classifier_dropout": head.dropout,
        "classifier_pooling": head.pooling,
        "max_position_embeddings": head.stretch_positions,
        "initialisation": "bert" if head.from_scratch else None,
    }
    weights = statistics.balanced_weights if head.balanced else head.class_weights
    settings = {"class_weights": weights, "focal_gamma": head.focal_gamma}
    return settings | {key: value for key, value in optional.items() if value is not None}


def _part_settings(head: Head, longest: int) -> dict[str, Any]:
    """Return the configuration keys about the parts of a sequence."""
    num_parts = head.num_parts if head.part_length is None else -(-longest // head.part_length)  # rounded up
    return {"num_parts": num_parts, "part_length": head.part_length, "aggregation": head.aggregation}


def _track_settings(task: Task, statistics: TrainingStatistics) -> dict[str, Any]:
    """Return the configuration keys about tracks: those of the task, which replace the pretrained model's."""
    return {
        "track_names": task.track_names,
        "track_means": statistics.track_means,
        "track_stds": statistics.track_stds,
        "nt_track_names": task.nt_track_names,
        "nt_track_means": statistics.nt_track_means,
        "nt_track_stds": statistics.nt_track_stds,
    }


def resume_settings(
    training: LabelledSequences, validation: LabelledSequences | None, network: torch.nn.Module, head: Head
) -> dict[str, Any]:
    """Return the settings that must be equal when a run is resumed, in addition to the settings of trainer and model.

    Data and weights are compared by hashes of their content, so that files may be moved.

    Args:
        training: training sequences, from any file.
        validation: validation sequences, or None.
        network: model with the weights from which training starts, new head included.
        head: options of the head.
    """
    return {
        "data.train": digest(training),
        "data.valid": None if validation is None else digest(validation),
        "weights to start from": digest_arrays(weight.detach().cpu() for weight in network.state_dict().values()),
        "head.rc_probability": head.rc_probability,
        # New options only if they are set, so that older checkpoints can be resumed.
        **{f"head.{key}": getattr(head, key) for key in NEW_KEYS if getattr(head, key) != getattr(Head(), key)},
    }


def digest(examples: LabelledSequences) -> str:
    """Compute a hash of the content of examples, row by row.

    Args:
        examples: labelled sequences.
    """
    columns = [examples.sequences, examples.pairs, examples.nt_labels, examples.nt_tracks]
    rows = itertools.chain.from_iterable(column for column in columns if column is not None)
    return digest_arrays(
        itertools.chain(rows, (column for column in (examples.labels, examples.tracks) if column is not None))
    )


def digest_arrays(arrays: Iterable[Any]) -> str:
    """Compute a hash of arrays (values and shapes) and tensors (values only): twelve hexadecimal digits.

    Args:
        arrays: NumPy arrays and tensors.
    """
    content = hashlib.sha256()
    for array in arrays:
        if isinstance(array, torch.Tensor):
            array = array.contiguous().reshape(-1).view(torch.uint8).numpy()  # as bytes: NumPy has no bfloat16
        content.update(str(array.shape).encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()[:12]
