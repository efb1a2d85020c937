"""Labelled sequences as the verbs take them: three tables, or windows of the labelled genomes of a store."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError
from ..genomes.store import GenomeStore
from .annotations import Annotations, read_annotated
from .sequences import LabelledSequences
from .windows import labelled_windows


@dataclass(frozen=True)
class LabelledData:
    """Labelled sequences: three tables, or windows cut from the labelled genomes of a store.

    Args:
        train, valid, test: CSV, TSV, Parquet or FASTA files (label=NAME in the header); valid and test may be left out.
        sequence_column, label_column, id_column: columns of the tables; label_column also of the store. "class" serves
            for "label" where that is not there, and the other way round.
        label_columns: several yes/no labels (0, 1, empty where not measured), or several values to regress on, instead
            of label_column.
        nt_label_column: a label per nucleotide instead: a text of one letter each, or words with blanks between; "."
            where there is none.
        pair_column: the second sequence of each pair.
        track_columns: numbers that belong to the sequence, empty where missing.
        nt_track_columns: signals per nucleotide: a text of one digit each, or numbers with blanks between; "." where
            missing.
        regression: the labels are values (true) or classes (false); by default decimals are values, all else classes.
        rna: read U as T.
        store: folder made by ``hf-genomics prepare`` with a metadata table that has a label and a split column.
        length: window length in nt, for a store.
        train_step: nt from one training window of a genome to the next; less than ``length`` lets them overlap; by
            default they lie side by side.
        windows_per_genome: most training windows from one genome of a store.
        test_windows_per_genome: most validation and test windows from one genome of a store (the paper's 64).
        label_fraction: share of the training genomes whose labels may be used (the paper's 0.1, 0.01, 0.001).
        seed: of the choice of genomes and windows.
    """

    train: str | None = None
    valid: str | None = None
    test: str | None = None
    sequence_column: str = "sequence"
    label_column: str = "label"
    id_column: str | None = None
    label_columns: list[str] | None = None
    nt_label_column: str | None = None
    pair_column: str | None = None
    track_columns: list[str] | None = None
    nt_track_columns: list[str] | None = None
    regression: bool | None = None
    rna: bool = False
    store: str | None = None
    length: int = 150
    train_step: int | None = None
    windows_per_genome: int = 1000
    test_windows_per_genome: int = 64
    label_fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that the sequences come from one place, and the numbers."""
        tables = (self.train, self.valid, self.test)
        if (self.store is None) == (tables == (None, None, None)):
            raise InputError(
                "data: name either tables (data.train, data.valid, data.test) or a genome store (data.store)"
            )
        for name in ("length", "train_step", "windows_per_genome", "test_windows_per_genome"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"data.{name} must be at least 1, not {value}")
        if not 0 < self.label_fraction <= 1:
            raise InputError(
                f"data.label_fraction must be above 0 and at most 1, such as 0.1 for 10 %, not {self.label_fraction}"
            )
        for name in ("length", "train_step", "windows_per_genome", "test_windows_per_genome", "label_fraction"):
            if not self.store and getattr(self, name) != getattr(LabelledData, name):
                raise InputError(f"data.{name} is for windows of data.store, not for tables; leave it away")
        for name in ("label_columns", "track_columns", "nt_track_columns"):
            names = getattr(self, name) or []
            if twice := next((each for each in names if names.count(each) > 1), None):
                raise InputError(f"data.{name} names {twice!r} twice; name each column once")
        for field in fields(Annotations):
            if self.store and getattr(self, field.name):
                raise InputError(f"data.{field.name} names a column of tables, but data.store is set; leave one away")

    def load(self, split: str, k: int, like: LabelledSequences | None = None) -> LabelledSequences | None:
        """Read one split, or None where the user named none.

        Args:
            split: "train", "valid" or "test".
            k: of the tokenizer, in nt; a shorter sequence has no token and is refused.
            like: examples or model whose class numbers, labels and tracks these must share.

        Raises:
            InputError: for bad files, labels or letters.
        """
        if self.store:
            if self.length < k:
                raise InputError(f"data.length of {self.length} nt is shorter than one k-mer of {k} nt; set it higher")
            return self._windows(GenomeStore(self.store), split)
        path = getattr(self, split)
        if path is None:
            return None
        return read_annotated(
            path,
            self._annotations(like),
            label_column=self.label_column,
            sequence_column=self.sequence_column,
            id_column=self.id_column,
            rna=self.rna,
            min_length=k,
            label_names=None if like is None else like.label_names,
            regression=self.regression if like is None else like.problem == "regression",
        )

    def require(self, split: str, k: int, like: LabelledSequences | None = None, *, why: str) -> LabelledSequences:
        """Read one split that must be there; ``why`` ends the message where the user named none.

        Raises:
            InputError: as in ``load``, or if there is no such split.
        """
        examples = self.load(split, k, like)
        if examples is None:
            raise InputError(f"data.{split} is not set: {why}")
        return examples

    def _annotations(self, like: LabelledSequences | None) -> Annotations:
        mine = Annotations(*(getattr(self, field.name) for field in fields(Annotations)))
        return mine if like is None else annotations_like(like, mine)

    def _windows(self, store: GenomeStore, split: str) -> LabelledSequences | None:
        if split == "valid" and "valid" not in set(store.contigs.get("split", [])):
            return None
        training = split == "train"
        return labelled_windows(
            store,
            split,
            length=self.length,
            per_genome=self.windows_per_genome if training else self.test_windows_per_genome,
            label_column=self.label_column,
            label_fraction=self.label_fraction if training else 1.0,
            balanced=training,
            step=self.train_step if training else None,
            seed=self.seed,
        )


def annotations_like(like: LabelledSequences, given: Annotations) -> Annotations:
    """Choose the columns that examples or a model ask for: those the user named, else those of the same names.

    Args:
        like: the training examples or what is known of a model: ``pairs`` and ``nt_labels`` are lists, maybe empty,
            where it takes them.
        given: the columns the user named.

    Raises:
        InputError: if columns are missing or more than that takes.
    """
    several = like.label_names if like.labels_by_column else None
    wanted = {"label_columns": several, "track_columns": like.track_names, "nt_track_columns": like.nt_track_names}
    chosen: dict[str, Any] = {}
    for name, names in wanted.items():
        columns = getattr(given, name)
        if columns and len(columns) != len(names or []):
            takes = f"takes {len(names)}: {list(names)}" if names else "takes none"
            raise InputError(
                f"data.{name} names {list(columns)}, but {like.source} {takes}; name the same, in that order"
            )
        chosen[name] = columns or names
    for name, taken in (("pair_column", like.pairs is not None), ("nt_label_column", like.nt_labels is not None)):
        column = getattr(given, name)
        if bool(column) != taken:
            what = "second sequences" if name == "pair_column" else "a label per nucleotide"
            raise InputError(
                f"{like.source} {'takes' if taken else 'does not take'} {what}; "
                f"{'set' if taken else 'leave away'} data.{name}"
            )
        chosen[name] = column
    return Annotations(**chosen)
