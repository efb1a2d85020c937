"""Read labelled sequences from Hugging Face `datasets.Dataset` objects, and convert them back to such objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
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
    # On the command line and in YAML, a source is a path; in Python it may also be a datasets.Dataset. The parser of
    # the command line must not see that second type, because it would have to import the library for every command.
    Source = str


def source_name(source: Source) -> str:
    """Return the name of a source for error messages: the path of a file, or "dataset"."""
    return str(source) if isinstance(source, str | PathLike) else "dataset"


def dataset_frame(dataset: datasets.Dataset, choose: Choice) -> pd.DataFrame:
    """Return chosen columns of a dataset as text, in the form that a table file would have.

    The numbers of a `ClassLabel` become class names, also in lists; the items of a list are joined with blanks.

    Args:
        dataset: labelled or unlabelled sequences.
        choose: function that returns the columns to read, given the names of all columns.

    Raises:
        InputError: if ``dataset`` is not a dataset or has no rows; also any error that ``choose`` raises.
    """
    _require_dataset(dataset)
    columns = choose(list(dataset.column_names))
    if not len(dataset):
        raise InputError("dataset: the table has no row; add rows")
    frame = dataset.select_columns(columns).with_format(None).to_pandas()
    return as_text(pd.DataFrame({name: _plain(frame[name], dataset.features[name]) for name in columns}))


def dataset_frames(dataset: datasets.Dataset, choose: Choice, rows: int = 1024) -> Iterator[pd.DataFrame]:
    """Iterate over a dataset in frames as `dataset_frame` returns them, with a fixed number of rows each.

    Args:
        dataset: as in `dataset_frame`.
        choose: as in `dataset_frame`.
        rows: number of rows in a frame.

    Raises:
        InputError: as in `dataset_frame`.
    """
    _require_dataset(dataset)
    for begin in range(0, max(1, len(dataset)), rows):  # at least one call, which raises the error for an empty dataset
        yield dataset_frame(dataset.select(range(begin, min(begin + rows, len(dataset)))), choose)


def _require_dataset(source: Any) -> None:
    """Check that a source is a `datasets.Dataset`: a streamed one has no `select`, and neither has one with splits."""
    if not (hasattr(source, "select_columns") and hasattr(source, "select")):
        raise InputError(
            f"dataset: a {type(source).__name__} cannot be read; give a path or a datasets.Dataset, loaded with "
            "split='train' or another split, and without streaming"
        )


def _plain(column: pd.Series, feature: Any) -> pd.Series:
    """Return a column of a dataset with class names instead of class numbers, and texts instead of lists."""
    if hasattr(feature, "int2str"):
        return column.map(lambda number: _class_name(number, feature, ""))
    # A column of lists. A missing list is None or NaN, and becomes an empty text.
    if column.map(lambda cell: isinstance(cell, list | np.ndarray)).any():
        items = getattr(feature, "feature", None)
        entry = partial(_class_name, feature=items, missing=NO_LABEL) if hasattr(items, "int2str") else _entry
        return column.map(lambda cell: " ".join(map(entry, cell)) if isinstance(cell, Iterable) else "")
    # pandas turns whole numbers into floats if one of them is missing. As text they would end in ".0" and be taken for
    # values to regress on, not for classes.
    if column.dtype.kind == "f" and str(feature.dtype).startswith(("int", "uint")):
        return column.astype("Int64")
    return column


def _class_name(number: Any, feature: Any, missing: str) -> str:
    """Return the name of a class of a `ClassLabel`; in one, missing labels are None or below 0, such as -1 and -100."""
    return missing if pd.isna(number) or number < 0 else feature.int2str(int(number))


def _entry(item: Any) -> str:
    """Return an item of a list as text; a missing item becomes "."."""
    return NO_LABEL if item is None or item != item else str(item)  # only NaN is not equal to itself


def as_dataset(examples: LabelledSequences) -> datasets.Dataset:
    """Return labelled sequences as a dataset; see `LabelledSequences.to_dataset`."""
    import datasets  # here, because importing it takes a second

    columns: dict[str, Any] = {"id": examples.ids, "sequence": [_text(letters) for letters in examples.sequences]}
    features: dict[str, Any] = {}
    names = examples.label_names or []
    if examples.labels is not None and examples.task.labels_by_column:
        columns |= {name: _nullable(examples.labels[:, number]) for number, name in enumerate(names)}
    elif examples.labels is not None:
        columns["label"] = examples.labels.tolist()
        features |= {"label": datasets.ClassLabel(names=names)} if names else {}
    if examples.nt_labels is not None:
        classes = np.array([*names, NO_LABEL])
        # A nucleotide without a label has the class number -100; it gets the entry after the last class, ".".
        columns["nt_labels"] = [classes[np.where(row < 0, len(names), row)].tolist() for row in examples.nt_labels]
    if examples.pairs is not None:
        columns["pair"] = [_text(letters) for letters in examples.pairs]
    if examples.tracks is not None:
        columns |= {
            name: _nullable(examples.tracks[:, number]) for number, name in enumerate(examples.track_names or [])
        }
    for number, name in enumerate(examples.nt_track_names or []):
        columns[name] = [_nullable(signals[:, number]) for signals in examples.nt_tracks or []]
    dataset = datasets.Dataset.from_dict(columns)
    return dataset.cast(datasets.Features({**dataset.features, **features})) if features else dataset


def _text(letters: np.ndarray) -> str:
    """Return uint8 letters as text."""
    return letters.tobytes().decode("ascii")


def _nullable(values: np.ndarray) -> list[float | None]:
    """Return numbers as a list with None instead of NaN."""
    return [None if value != value else value for value in values.tolist()]
