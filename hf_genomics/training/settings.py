"""What of the data and of the user's wishes goes into a fine-tuned model's configuration."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from ..configuration_kmer_bert import FusionKmerBertConfig, HierarchicalKmerBertConfig, KmerBertConfig
from ..errors import InputError
from ..inference.loading import VALUE
from ..labelled.sequences import LabelledSequences


def label_settings(training: LabelledSequences) -> dict[str, Any]:
    """Say in configuration keys what is learnt of which sequences.

    Raises:
        InputError: if a single column of values bears the name that stands for a value without one.
    """
    if training.problem == "regression" and training.label_names == [VALUE]:
        raise InputError(
            f"data.columns.labels names {VALUE!r} alone; set data.columns.label to it, or give the column another name"
        )
    names = dict(enumerate(training.label_names or [VALUE]))
    return target_settings(training) | {
        "problem_type": training.problem,
        "id2label": names,
        "label2id": {name: number for number, name in names.items()},
        "max_sequence_length": max(map(len, training.sequences)),
        "labels_per": "token" if training.nt_labels is None else "nt",
        "paired": training.pairs is not None,
    }


def course_settings(
    training: LabelledSequences, validation: LabelledSequences | None, network: torch.nn.Module, rc_probability: float
) -> dict[str, Any]:
    """Say what decides the course of a run besides the trainer's and the model's settings: data and weights by content.

    Args:
        training, validation: the examples, wherever they were read from.
        network: as training begins, a new head included.
        rc_probability: chance to show the opposite strand.
    """
    return {
        "data.train": digest(training),
        "data.valid": None if validation is None else digest(validation),
        "weights to start from": digest_arrays(weight.detach().cpu() for weight in network.state_dict().values()),
        "rc_probability": rc_probability,
    }


def digest(examples: LabelledSequences) -> str:
    """Name examples by their content, row by row."""
    columns = [examples.sequences, examples.pairs, examples.nt_labels, examples.nt_tracks]
    rows = itertools.chain.from_iterable(column for column in columns if column is not None)
    return digest_arrays(
        itertools.chain(rows, (each for each in (examples.labels, examples.tracks) if each is not None))
    )


def digest_arrays(arrays: Iterable[Any]) -> str:
    """Name arrays and tensors by their shapes and content, in twelve letters."""
    found = hashlib.sha256()
    for array in arrays:
        if isinstance(array, torch.Tensor):
            array = array.contiguous().reshape(-1).view(torch.uint8).numpy()
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:12]


def target_settings(training: LabelledSequences) -> dict[str, list[float] | None]:
    """Give mean and standard deviation of the values to regress on, over those that are there; None for classes."""
    if training.problem != "regression":
        return {"target_means": None, "target_scales": None}
    found = _statistics("target", training.known_labels.reshape(len(training), -1))
    return {"target_means": found["target_means"], "target_scales": found["target_stds"]}


def weight_settings(
    training: LabelledSequences, balanced: bool, class_weights: list[float] | None, focal_gamma: float
) -> dict[str, Any]:
    """Weigh the classes as asked for.

    Raises:
        InputError: if they cannot be weighed, or not by so many numbers.
    """
    if training.problem == "regression" and (balanced or class_weights or focal_gamma):
        raise InputError("balanced, class_weights and focal_gamma are for classes, but the labels are values")
    if balanced and class_weights:
        raise InputError("balanced and class_weights are two ways to weigh classes; leave one away")
    names = training.label_names or []
    if class_weights and (len(class_weights) != len(names) or min(class_weights) <= 0):
        raise InputError(f"class_weights must be one positive number for each of {names}, not {class_weights}")
    weights = balanced_weights(training) if balanced else class_weights
    return {"class_weights": weights, "focal_gamma": focal_gamma}


def balanced_weights(training: LabelledSequences) -> list[float]:
    """Weigh classes by labels / (classes * labels of the class); of several labels each by negatives / positives.

    Raises:
        InputError: if a label has no positive or no negative.
    """
    if training.problem == "multi_label_classification":
        positives, known = (training.known_labels == 1).sum(0), (~np.isnan(training.known_labels)).sum(0)
        for name, some, all_of_them in zip(training.label_names or [], positives, known, strict=True):
            if some in (0, all_of_them):
                raise InputError(
                    f"{training.source}: label {name!r} is the same in every row, so balanced has nothing to weigh; "
                    "leave the column or balanced away"
                )
        return ((known - positives) / positives).tolist()
    labels = training.known_labels if training.nt_labels is None else np.concatenate(training.nt_labels)
    counts = np.bincount(labels[labels >= 0], minlength=len(training.label_names or []))
    return (counts.sum() / (len(counts) * counts.clip(min=1))).tolist()


def window_settings(
    training: LabelledSequences, k: int, num_parts: int, part_length: int | None, aggregation: str
) -> dict[str, Any]:
    """Say how sequences are cut into parts and joined; nothing where they are not.

    Raises:
        InputError: if that does not go together, or with the data.
    """
    if num_parts == 1 and part_length is None:
        if aggregation != "concat":
            raise InputError(f"aggregation {aggregation!r} joins parts of sequences; set num_parts or part_length")
        return {}
    if num_parts > 1 and part_length is not None:
        raise InputError("num_parts and part_length are two ways to cut sequences; leave one away")
    if part_length is not None and part_length < 2 * k:
        raise InputError(
            f"part_length must be at least two k-mers of {k} nt, so that no part is too short, not {part_length}"
        )
    beside: dict[str, Any] = {"pairs": training.pairs, "labels per nucleotide": training.nt_labels}
    beside |= {"tracks": training.tracks, "signals per nucleotide": training.nt_tracks}
    for what, column in beside.items():
        if column is not None:
            raise InputError(f"num_parts and part_length cut single sequences, not {what}; leave them away")
    if part_length is not None:
        num_parts = -(-max(map(len, training.sequences)) // part_length)
    return {"num_parts": num_parts, "part_length": part_length, "aggregation": aggregation}


def track_settings(training: LabelledSequences) -> dict[str, Any]:
    """Name the tracks and the statistics to standardise them by; nothing where there are none."""
    settings: dict[str, Any] = {}
    if training.tracks is not None:
        settings |= {"track_names": training.track_names} | _statistics("track", training.tracks)
    if training.nt_tracks is not None:
        if training.pairs is not None:
            raise InputError("signals per nucleotide are for single sequences; leave pair_column or them away")
        settings |= {"nt_track_names": training.nt_track_names}
        settings |= _statistics("nt_track", np.concatenate(training.nt_tracks))
    if settings and training.nt_labels is not None:
        raise InputError("labels per nucleotide are learnt from the sequence alone; leave the tracks away")
    return settings


def _statistics(kind: str, values: np.ndarray) -> dict[str, Any]:
    """Take mean and standard deviation of (rows, columns) over what is there; 1 for a column that does not vary."""
    known = values.astype(np.float64)
    stds = np.nanstd(known, 0)
    varies = (np.nanmin(known, 0) < np.nanmax(known, 0)) & (stds > 0)  # rounding lets equal values deviate by 1e-17
    return {f"{kind}_means": np.nanmean(known, 0).tolist(), f"{kind}_stds": np.where(varies, stds, 1).tolist()}


# What a new model must not take over from the old one's configuration; nor tracks, where it reads others.
_IDENTITY = {"architectures", "model_type", "auto_map", "transformers_version", "dtype"}
_TRACKS = dict.fromkeys(f"{kind}_{what}" for kind in ("track", "nt_track") for what in ("names", "means", "stds"))


def make_configuration(before: Any, settings: dict[str, Any], windows: dict[str, Any], tracks: dict[str, Any]) -> Any:
    """Make the new model's configuration of the old one's.

    Raises:
        InputError: if the old model reads tracks that are not there, or knows no second sequence.
    """
    if getattr(before, "track_names", None) or getattr(before, "nt_track_names", None):
        if not tracks:
            raise InputError(
                "the pretrained model reads tracks; name them in data.columns.tracks, data.columns.nt_tracks, or start "
                "from a model without"
            )
    if settings["paired"] and before.type_vocab_size < 2:
        raise InputError(
            "a pair needs two token types, but the pretrained model has type_vocab_size 1; start from one that has 2"
        )
    kind: Any = type(before)
    if windows:
        kind = HierarchicalKmerBertConfig
    elif tracks:
        kind, settings = FusionKmerBertConfig, _TRACKS | settings
    elif settings["paired"] or settings["labels_per"] == "nt":  # which are not cut into parts
        kind = KmerBertConfig
    kept = {key: value for key, value in before.to_dict().items() if key not in _IDENTITY}
    known = {*kind().to_dict(), *settings}
    return kind.from_dict({key: value for key, value in (kept | settings | windows | tracks).items() if key in known})
