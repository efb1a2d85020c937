"""Name the labelled sequences to train and evaluate on: three tables, or windows of the labelled genomes of a store."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from os import PathLike

from ..errors import InputError
from ..genomes.splits import are_shares
from ..genomes.store import GenomeStore
from ..renamed import renamed
from .columns import Columns, match_columns
from .datasets import Source
from .sequences import LabelledSequences
from .tables import read_labelled
from .task import Task
from .windows import LabelledWindows, labelled_windows


@renamed(
    **{f"{old}_column": f"columns.{old}" for old in ("sequence", "label", "id", "pair")},
    label_columns="columns.labels",
    nt_label_column="columns.nt_labels",
    track_columns="columns.tracks",
    nt_track_columns="columns.nt_tracks",
    length="windows.length",
    train_step="windows.train_step",
    windows_per_genome="windows.per_genome",
    test_windows_per_genome="windows.test_per_genome",
    label_fraction="windows.label_fraction",
)
@dataclass(frozen=True)
class LabelledData:
    """Labelled sequences: three tables, or windows cut from the labelled genomes of a store.

    Args:
        train: CSV, TSV, Parquet or FASTA file (label=NAME in the header) of the training sequences; in Python also a
            `datasets.Dataset`.
        valid: file of the validation sequences, optional.
        test: file of the test sequences, optional.
        columns: names of the columns of the tables; `columns.label` also names the store's column of classes.
        regression: the labels are values (true) or classes (false); by default labels with decimals are values, words
            and whole numbers are classes, and labels that may be either (0.0 and 1.0, decimal commas, numbers beside
            words ...) are rejected.
        rna: read U as T.
        store: folder made by ``hf-genomics prepare`` with a metadata table that has a label and a split column.
        windows: how the genomes of a store are cut into windows.
        seed: seed for the random choice of genomes and windows.
        split: shares of training, validation and test rows, such as 0.8 0.1 0.1, into which `train` is split, in place
            of `valid` and `test`. Rows of one group (`columns.group`), equal sequences and near-duplicates, on either
            strand, stay together; every class is split by these shares as nearly as possible.
        min_identity: smallest estimated identity of the near-duplicates that `split` keeps together, as in `check`; 1
            for equal sequences only.
        drop_leaks: omit training rows whose sequence, on either strand, is in the validation or test rows.
        strict: refuse a sequence from which nothing can be learnt or predicted. If false, with a warning, `finetune`
            omits a sequence without a k-mer of A, C, G and T only, and `evaluate` writes empty cells for a sequence
            that `predict` could not score either.

    Raises:
        InputError: if tables and a store are both set, or neither is; if an option is set that only the other of the
            two uses; or if the shares of a split are invalid, or set beside tables of the splits.
    """

    train: Source | None = None
    valid: Source | None = None
    test: Source | None = None
    columns: Columns = field(default_factory=Columns)
    regression: bool | None = None
    rna: bool = False
    store: str | None = None
    windows: LabelledWindows = field(default_factory=LabelledWindows)
    seed: int = 0
    strict: bool = False
    split: list[float] | None = None
    min_identity: float = 0.85
    drop_leaks: bool = False

    def __post_init__(self) -> None:
        """Check that the sequences come either from tables or from a store, and that all options belong to it."""
        if (self.store is None) == ((self.train, self.valid, self.test) == (None, None, None)):
            raise InputError(
                "data: name either tables (data.train, data.valid, data.test) or a genome store (data.store)"
            )
        if not self.store and self.windows != LabelledWindows():
            key = next(key.name for key in fields(self.windows) if getattr(self.windows, key.name) != key.default)
            raise InputError(f"data.windows.{key} is for windows of data.store, not for tables; omit it")
        if self.store and self.regression:
            raise InputError("data.regression: a store gives classes, not values; omit it, or name tables of values")
        if self.store and (only_in_tables := self.columns.beside()):
            raise InputError(
                f"data.columns: {only_in_tables} are columns of tables, but data.store is set; omit one of them"
            )
        if self.split is not None:
            self._check_split(self.split)
        if self.store and self.columns.group is not None:
            raise InputError("data.columns.group is a column of tables, but data.store is set; omit one of them")

    def _check_split(self, shares: list[float]) -> None:
        """Check the shares of a split, and that nothing else states the splits."""
        if self.train is None or self.valid is not None or self.test is not None:
            raise InputError("data.split divides the one table data.train; set it, and omit data.valid and data.test")
        if not are_shares(shares):
            raise InputError(
                f"data.split: give three shares (train, valid, test) that sum to 1, such as 0.8 0.1 0.1, not {shares}"
            )
        if not shares[0] or shares[0] == 1:
            raise InputError(
                f"data.split: {shares} leaves no row to train on, or none to score; set for instance 0.8 0.1 0.1"
            )
        if not 0 < self.min_identity <= 1:
            raise InputError(f"data.min_identity must be above 0 and at most 1, not {self.min_identity}")

    def paths(self) -> dict[str, str]:
        """Return the files and folders that are read, by their keys."""
        named = {f"data.{key}": getattr(self, key) for key in ("train", "valid", "test", "store")}
        return {key: str(path) for key, path in named.items() if isinstance(path, str | PathLike)}

    def load(self, split: str, k: int, task: Task | None = None, *, checked: bool = True) -> LabelledSequences | None:
        """Read one split; return None if the user set no file for it, or the store has no validation split.

        Args:
            split: "train", "valid" or "test". If ``self.split`` is set, "train" is the whole table, see
                `split_table`, and there are no others.
            k: shortest sequence that the model can read, in nt.
            task: task of the training sequences or of the model; the split must have the same kind of labels, and the
                same inputs. A table must have its classes, too; those of a store are the caller's to compare. None for
                the training sequences themselves.
            checked: as in `read_labelled`; if False, the caller judges names, lengths and letters.

        Raises:
            InputError: if a file, a label or a letter is invalid, or a store does not have what the task needs.
        """
        if self.store:
            # Every window of a store has one class, and nothing but its sequence.
            if task is not None and replace(task, names=None) != Task("single_label_classification"):
                raise InputError(
                    f"data.store: a store gives single sequences of one class each, but {task.source} has other labels "
                    f"or inputs; name a table instead (data.{split})"
                )
            if self.windows.length < k:
                raise InputError(
                    f"data.windows.length of {self.windows.length} nt is shorter than one k-mer of {k} nt; raise it"
                )
            return self._windows(GenomeStore(self.store), split, task)
        path = getattr(self, split)
        if path is None:
            return None
        columns = self.columns if task is None else match_columns(self.columns, task)
        regression = self.regression if task is None else None
        return read_labelled(
            path, columns, task=task, regression=regression, rna=self.rna, min_length=k, checked=checked
        )

    def require(
        self, split: str, k: int, task: Task | None = None, *, why: str, checked: bool = True
    ) -> LabelledSequences:
        """Read one split that must exist.

        Args:
            split: as in `load`.
            k: as in `load`.
            task: as in `load`.
            why: end of the error message about a missing split.
            checked: as in `load`.

        Raises:
            InputError: as in `load`, or if the split is missing.
        """
        examples = self.load(split, k, task, checked=checked)
        if examples is None:
            raise InputError(f"data.{split} is not set: {why}")
        return examples

    def _windows(self, store: GenomeStore, split: str, task: Task | None) -> LabelledSequences | None:
        """Cut the windows of one split; return None for a validation split that the store does not have."""
        if split == "valid" and "valid" not in set(store.contigs.get("split", [])):
            return None
        # Validation and test windows lie side by side, and come from all labelled genomes, whatever windows.label_*
        # select for training.
        windows = self.windows.of_split(split)
        return labelled_windows(
            store,
            split,
            windows,
            label_column=self.columns.label,
            names=task.names if task else None,
            balanced=split == "train",
            seed=self.seed,
        )
