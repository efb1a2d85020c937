"""A verb with sections inside sections, and keys of version 0.1."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from transformers import TrainingArguments

from hf_genomics.options.run_verb import run_verb
from hf_genomics.renamed import renamed


@dataclass(frozen=True)
class Columns:
    """Names of columns.

    Args:
        label: column of the labels.
        tracks: columns of numbers.
    """

    label: str = "label"
    tracks: list[str] | None = None


@renamed(label_column="columns.label", track_columns="columns.tracks")
@dataclass(frozen=True)
class Data:
    """Labelled sequences.

    Args:
        train: a table.
        columns: its columns.
    """

    train: str
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True)
class Head:
    """What reads the encoder.

    Args:
        num_parts: parts of a sequence.
        class_weights: a weight per class.
        pooling: what is read.
    """

    num_parts: int = 1
    class_weights: list[float] | None = None
    pooling: str = "cls"

    def __post_init__(self) -> None:
        """Tests put a check here."""


@renamed(num_windows="head.num_parts", pooling="head.pooling", class_weights="head.class_weights", packing="storage")
def fit(pretrained: str, data: Data, trainer: TrainingArguments, head: Head = Head(), storage: str = "8bit") -> None:  # noqa: B008
    """Fit a model.

    Args:
        pretrained: a model.
        data: labelled sequences.
        trainer: of transformers.
        head: what reads the encoder.
        storage: how letters lie on disk.
    """


def read_arguments(function, words):
    """Return the arguments with which the command line calls a verb's function."""
    return run_verb(functools.wraps(function)(lambda **given: given), words)


START = ["--pretrained", "m", "--data.train", "t.csv", "--trainer.output_dir", "out"]
