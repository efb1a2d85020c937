"""Hugging Face `datasets.Dataset` objects as tables of labelled sequences, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from ..errors import InputError
from ..io.text_tables import Choice, as_text
from .nucleotides import NO_LABEL

if TYPE_CHECKING:
    import datasets

    from .sequences import LabelledSequences

    Source: TypeAlias = str | PathLike[str] | datasets.Dataset
else:
    # What a user can name on the command line and in YAML. In Python a datasets.Dataset may stand in its place; the
    # parser of the command line must not see that type, which would import the library for every verb.
    Source = str


def source_name(source: Source) -> str:
    """Return what error messages call a source: the path of a file, or "dataset"."""
    return str(source) if isinstance(source, str | PathLike) else "dataset"


def dataset_frame(dataset: datasets.Dataset, choose: Choice) -> pd.DataFrame:
    """Return chosen columns of a dataset as text, as they would stand in a table.

    The names of a `ClassLabel` replace its numbers; the items of a list are joined with blanks between them.

    Args:
        dataset: labelled or unlabelled sequences.
        choose: returns the columns to read, given the names of all.

    Raises:
        InputError: if this is not a dataset, or has no row; what ``choose`` raises.
    """
    if not hasattr(dataset, "select_columns"):
        raise InputError(f"dataset: a {type(dataset).__name__} cannot be read; give a path or a datasets.Dataset")
    columns = choose(list(dataset.column_names))
    if not len(dataset):
        raise InputError("dataset: the table has no row; add rows")
    frame = dataset.select_columns(columns).with_format(None).to_pandas()
    return as_text(pd.DataFrame({name: _plain(frame[name], dataset.features[name]) for name in columns}))


def dataset_frames(dataset: datasets.Dataset, choose: Choice, rows: int = 1024) -> Iterator[pd.DataFrame]:
    """Iterate over a dataset as `dataset_frame` returns it, some rows at a time."""
    for begin in range(0, max(1, len(dataset)), rows):
        yield dataset_frame(dataset.select(range(begin, min(begin + rows, len(dataset)))), choose)


def _plain(column: pd.Series, feature: Any) -> pd.Series:
    """Return a column of a dataset with class names for class numbers, and lists as texts."""
    if hasattr(feature, "int2str"):  # a ClassLabel, where -1 stands for a missing label
        return column.map(lambda number: "" if pd.isna(number) or number < 0 else feature.int2str(int(number)))
    if column.map(lambda cell: isinstance(cell, list | np.ndarray)).any():
        return column.map(lambda cell: " ".join(map(_entry, cell)) if isinstance(cell, Iterable) else "")
    # Whole numbers beside a gap are floats in pandas; as text they would end in ".0" and become values to regress on.
    if column.dtype.kind == "f" and str(feature.dtype).startswith(("int", "uint")):  # a Value: lists are done
        return column.astype("Int64")
    return column


def _entry(item: Any) -> str:
    """Return an item of a list as text; a missing one is "."."""
    return NO_LABEL if item is None or item != item else str(item)


def as_dataset(examples: LabelledSequences) -> datasets.Dataset:
    """Return labelled sequences as a dataset; see `LabelledSequences.to_dataset`."""
    import datasets  # here, because importing it takes a second

    columns: dict[str, Any] = {"id": examples.ids, "sequence": [_text(letters) for letters in examples.sequences]}
    features: dict[str, Any] = {}
    names = examples.label_names or []
    if examples.labels is not None and examples.task.labels_by_column:
        columns |= {name: _gaps(examples.labels[:, number]) for number, name in enumerate(names)}
    elif examples.labels is not None:
        columns["label"] = examples.labels.tolist()
        features |= {"label": datasets.ClassLabel(names=names)} if names else {}
    if examples.nt_labels is not None:
        classes = np.array([*names, NO_LABEL])
        columns["nt_labels"] = [classes[np.where(row < 0, len(names), row)].tolist() for row in examples.nt_labels]
    if examples.pairs is not None:
        columns["pair"] = [_text(letters) for letters in examples.pairs]
    if examples.tracks is not None:
        columns |= {name: _gaps(examples.tracks[:, number]) for number, name in enumerate(examples.track_names or [])}
    for number, name in enumerate(examples.nt_track_names or []):
        columns[name] = [_gaps(signals[:, number]) for signals in examples.nt_tracks or []]
    dataset = datasets.Dataset.from_dict(columns)
    return dataset.cast(datasets.Features({**dataset.features, **features})) if features else dataset


def _text(letters: np.ndarray) -> str:
    return letters.tobytes().decode("ascii")


def _gaps(values: np.ndarray) -> list[float | None]:
    """Return numbers as a list, None for NaN."""
    return [None if value != value else value for value in values.tolist()]
