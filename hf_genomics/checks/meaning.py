"""Describe how labels were understood: their kind, counts and positive class, and what looks like a mistake in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..io.cells import look_of, plain_spelling
from ..io.text_tables import list_names
from ..labelled.sequences import LabelledSequences
from ..labelled.task import Task
from ..sequence import did_you_mean

_FEW_ROWS = 5  # a class of fewer rows may be a typo
_MOST_SHOWN = 8  # classes or columns in a line
_MANY_NUMBERS = 20  # more whole numbers than this are rarely classes
_FEW_VALUES = 5  # up to this many different numbers may be classes
_FEW_CLASSES = 5  # up to this many classes are plausible however few rows there are
_NUMBERS = ("whole", "whole float", "decimal")  # what `look_of` returns for 12, 1.0 and 1.5

KINDS = {
    "single_label_classification": "classes",
    "multi_label_classification": "yes/no labels",
    "regression": "values",
}


def class_counts(examples: LabelledSequences) -> dict[str, int]:
    """Count the sequences, or the labelled nucleotides, of each class.

    Args:
        examples: sequences labelled with one class out of several.
    """
    names = examples.label_names or []
    labels = examples.known_labels if examples.nt_labels is None else np.concatenate(examples.nt_labels)
    return dict(zip(names, np.bincount(labels[labels >= 0], minlength=len(names)).tolist(), strict=True))


def rarer_class(examples: LabelledSequences) -> str | None:
    """Return the rarer of two classes, the second one if both are equally frequent; None if there are not two.

    The rarer class is usually the one of interest, and a model that always predicts the other class cannot get a high
    F1.

    Args:
        examples: the training sequences.
    """
    if not examples.task.is_classification or len(examples.label_names or []) != 2:
        return None
    (first, first_count), (second, second_count) = class_counts(examples).items()
    return first if first_count < second_count else second


def summarise_labels(examples: LabelledSequences) -> dict[str, Any]:
    """Count the labels: rows of each class, or yes, no and missing of each label, or the range of each target.

    Args:
        examples: labelled sequences.

    Returns:
        name of the class, label or target -> its number of rows (or nucleotides), or its counts; an unnamed value has
        the name of its column.
    """
    if examples.task.is_classification:  # one class out of several; yes/no labels are counted below
        return class_counts(examples)
    columns = examples.known_labels.reshape(len(examples), -1).T
    names = examples.label_names or [examples.label_column or "value"]
    count = _yes_no_counts if examples.problem == "multi_label_classification" else _value_counts
    return {name: count(column) for name, column in zip(names, columns, strict=True)}


def _yes_no_counts(column: np.ndarray) -> dict[str, int]:
    """Count the rows of one label that say yes (1) or no (0), and those without a label (NaN)."""
    yes, no = int((column == 1).sum()), int((column == 0).sum())
    return {"yes": yes, "no": no, "missing": len(column) - yes - no}


def _value_counts(column: np.ndarray) -> dict[str, Any]:
    """Count the values of one target and how many are different, and find the smallest and the largest."""
    known = column[~np.isnan(column)]
    ends = (float(known.min()), float(known.max())) if len(known) else (None, None)
    return {"numbers": len(known), "distinct": len(np.unique(known)), "smallest": ends[0], "largest": ends[1]}


def task_facts(task: Task, splits: Mapping[str, LabelledSequences | None]) -> dict[str, Any]:
    """Describe a task for metrics.json: the kind of labels, the positive class, and file and counts of every split.

    Args:
        task: the task, with the positive class.
        splits: name of the split -> its sequences; None for a split that does not exist.
    """
    facts: dict[str, Any] = {
        "kind": KINDS[task.problem_type],
        "labels_per": "nucleotide" if task.level == "nt" else "sequence",
    }
    if task.is_classification:
        facts["positive"] = task.positive
    given = {name: split for name, split in splits.items() if split is not None}
    return facts | {
        "counts": {name: summarise_labels(split) for name, split in given.items()},
        "files": {name: Path(split.source).name for name, split in given.items()},
    }


def describe_labels(examples: LabelledSequences, positive: str | None = None) -> str:
    """Describe in one line how the labels were understood.

    Args:
        examples: labelled sequences.
        positive: the positive class of two.

    >>> describe_labels(LabelledSequences("t", list("abc"), [], np.array([0, 1, 1]), ["enhancer", "none"]), "enhancer")
    '2 classes: enhancer 1, none 2; f1 and auprc refer to enhancer'
    """
    summary = summarise_labels(examples)
    if examples.task.is_classification:
        per = " of nucleotides" if examples.nt_labels is not None else ""
        shown = [f"{name} {count:,}" for name, count in summary.items()]
        means = "" if len(shown) < 3 else "; f1, auroc and auprc are means over the classes"
        scored = f"; f1 and auprc refer to {positive}" if positive is not None else means
        return f"{len(shown)} class{'es' * (len(shown) > 1)}{per}: {_first(shown)}{scored}"
    if examples.problem == "multi_label_classification":
        shown = [f"{name} {counts['yes']:,} of {counts['yes'] + counts['no']:,}" for name, counts in summary.items()]
        return f"{len(shown)} yes/no labels, rows with yes: {_first(shown)}"
    shown = [_describe_values(counts) for counts in summary.values()]
    if not examples.label_names:
        column = f" of {examples.label_column!r}" if examples.label_column else ""
        return f"values{column}: {shown[0]}"
    return f"{len(shown)} targets: {_first([f'{name!r} {text}' for name, text in zip(summary, shown, strict=True)])}"


def _describe_values(counts: dict[str, Any]) -> str:
    """Return the number of values and their range as text."""
    if not counts["numbers"]:
        return "no number"
    return f"{counts['numbers']:,} numbers from {counts['smallest']:g} to {counts['largest']:g}"


def _first(shown: list[str]) -> str:
    """Join the first texts of a list, and say how many there are if these are not all."""
    more = f", ... ({len(shown)} in all)" if len(shown) > _MOST_SHOWN else ""
    return ", ".join(shown[:_MOST_SHOWN]) + more


def label_warnings(training: LabelledSequences) -> list[str]:
    """List what looks like a mistake in the labels of the training sequences, one line each.

    Args:
        training: the training sequences, which have passed every check.
    """
    if training.task.is_classification:
        counts = class_counts(training)
        found = [*_look_alikes(counts), *_rare_classes(counts, training), *_number_classes(counts)]
    else:
        found = _dull_columns(training)
    column = f" (column {training.label_column!r})" if training.label_column else ""
    return [f"{training.source}: {line}{column}" for line in found]


def _look_alikes(counts: dict[str, int]) -> list[str]:
    """List classes whose names differ only in case, spaces, hyphens or underscores, or in how a number is written."""
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(_key(name), []).append(name)
    alike = [names for names in groups.values() if len(names) > 1]
    return [f"the classes {list_names(names)} differ only in spelling; are they one class?" for names in alike]


def _key(name: str) -> str:
    """Return the text that names have in common if they differ only in spelling."""
    look = look_of(name)
    if look in _NUMBERS:
        return repr(float(name)) if look == "decimal" else plain_spelling(name)
    plain = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\s_\-\u200b\ufeff]+", "", plain) or name


def _rare_classes(counts: dict[str, int], training: LabelledSequences) -> list[str]:
    """List classes with few rows, each with the class of which it may be a typo."""
    rare = [name for name, count in counts.items() if count < _FEW_ROWS]
    if not rare:
        return []
    frequent = [name for name in counts if name not in rare]
    shown = [f"{name!r} ({counts[name]}){did_you_mean(name, frequent)}" for name in rare]
    of_what = "nucleotides" if training.nt_labels is not None else "rows"
    what = "1 class has" if len(rare) == 1 else f"{len(rare)} classes have"
    lines = [f"{what} fewer than {_FEW_ROWS} {of_what}: {_first(shown)}"]
    total = sum(counts.values())
    if len(counts) > max(_FEW_CLASSES, total / 2):  # as in a column of identifiers
        lines.append(f"{len(counts):,} classes in {total:,} {of_what}: is this the column of the classes?")
    return lines


def _number_classes(counts: dict[str, int]) -> list[str]:
    """List what is unusual in classes that are numbers, or that stand for a missing value."""
    looks = {name: look_of(name) for name in counts}
    numbers = [name for name, look in looks.items() if look in _NUMBERS]
    is_strand = {"+", "-"} <= looks.keys()  # then "-" is not a missing value
    missing = [name for name, look in looks.items() if look == "blank" and not (is_strand and name == "-")]
    words = [name for name in looks if name not in numbers and name not in missing]
    lines = []
    if numbers and words:
        shown = f"{list_names(numbers, 3)} beside {list_names(words, 3)}"
        lines.append(f"classes that are numbers stand beside words: {shown}; correct the words if they are mistakes")
    elif len(numbers) > _MANY_NUMBERS:
        lines.append(f"{len(numbers)} different numbers are taken for classes; if they are values, set regression true")
    lines += [f"the class {name!r} may stand for a missing label; drop its rows if it does" for name in missing]
    return lines


def _dull_columns(training: LabelledSequences) -> list[str]:
    """List yes/no labels that are the same in every row, and targets with few different values.

    `check_columns` has refused targets with one value only.
    """
    lines = []
    for name, counts in summarise_labels(training).items():
        if training.problem == "multi_label_classification":
            if not (counts["yes"] and counts["no"]):
                digit, rows = int(counts["yes"] > 0), "every row that has one" if counts["missing"] else "every row"
                lines.append(f"the label {name!r} is {digit} in {rows}, so a model learns nothing about it")
        elif 1 < counts["distinct"] <= _FEW_VALUES and counts["numbers"] > _FEW_VALUES * counts["distinct"]:
            different = f"{counts['distinct']} different values"
            lines.append(f"{name!r} has only {different}; if they are classes, set regression false")
    return lines
