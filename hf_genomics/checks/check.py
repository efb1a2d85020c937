"""The verb `check`: what is in sequence files and labelled tables, and all that `prepare` or `finetune` would refuse.

The verdicts are those of the readers themselves: sequence files go through `examine_records` and the store's own
checks, tables through `read_annotated`. Sequence files are read once, record by record; what stays in memory is a
name, a hash and a length of each record, and the sketch.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..errors import InputError
from ..genomes.metadata import join_metadata, read_metadata, with_splits
from ..genomes.splits import SPLITS
from ..genomes.store import check_files, check_unique, genome_name
from ..io.fasta import clean_letters, examine_records
from ..io.files import input_errors, open_binary
from ..io.text_tables import cell_texts
from ..labelled.annotations import check_columns, read_annotated
from ..labelled.columns import Columns
from ..labelled.sequences import LabelledSequences, check_classes
from ..labelled.tables import table_faults
from ..sequence import as_letters, letter_digits, rolling_any
from .duplicates import Catalogue, Item
from .report import CheckReport, FileReport, Letters
from .sketch import Sketch

logger = logging.getLogger(__name__)

_BATCH_NT = 1 << 20


def check(
    files: list[str] | None = None,
    train: list[str] | None = None,
    valid: list[str] | None = None,
    test: list[str] | None = None,
    metadata: str | None = None,
    metadata_key: str = "accession",
    genome_by: Literal["record", "file"] = "record",
    rna: bool = False,
    min_length: int = 1,
    k: int = 6,
    sequence_column: str = "sequence",
    label_column: str = "label",
    id_column: str | None = None,
    label_columns: list[str] | None = None,
    nt_label_column: str | None = None,
    pair_column: str | None = None,
    track_columns: list[str] | None = None,
    nt_track_columns: list[str] | None = None,
    regression: bool | None = None,
    min_identity: float = 0.85,
    output: str | None = None,
) -> CheckReport:
    """Describe sequence files and labelled tables, and list all that would be refused or should be known.

    Exit code 2 where `prepare` would refuse the sequence files (given the same options) or `finetune` the tables; 0
    otherwise. Sequences that are in two splits are warned of: the same, their reverse complement, or nearly the same.

    Args:
        files: sequence files as `prepare` takes them, or labelled tables (CSV, TSV, Parquet) as `finetune` does; told
            apart by their content.
        train, valid, test: such files whose split is known.
        metadata: table with a row for every record of the sequence files, as in `prepare`; its column "split" counts.
        metadata_key: column of the metadata table that holds the record names.
        genome_by: as in `prepare`: a genome is a "record" or a "file".
        rna: read U as T.
        min_length: shortest record allowed, in nt.
        k: size of the k-mers the model will read, in nt; a shorter row of a table is refused, a shorter record of a
            sequence file warned of.
        sequence_column, label_column, id_column: columns of a table.
        label_columns, nt_label_column, pair_column, track_columns, nt_track_columns: as in `finetune`.
        regression: as in `finetune`: labels are values (True) or classes (False); by default the labels decide.
        min_identity: report near-duplicates from this estimated identity on.
        output: JSON file to write, with everything that the table on the screen leaves out.

    Raises:
        InputError: if the arguments make no sense; what is wrong with the files is in the report.
    """
    given: dict[str | None, list[str] | None] = {None: files, "train": train, "valid": valid, "test": test}
    named = [(path, split) for split, paths in given.items() for path in paths or []]
    _check_arguments(named, k, min_length, min_identity, output)
    kinds = {path: "table" if _is_table(path) else "sequences" for path, _ in named}
    sequence_files = [path for path, _ in named if kinds[path] == "sequences"]
    faults = _file_faults(sequence_files, genome_by)
    known = _Metadata.read(metadata, metadata_key, faults)
    several = known.splits is not None or len({split for _, split in named} - {None}) > 1
    catalogue = Catalogue(Sketch(expected_nt=_guess_nt(list(kinds))) if several else None)
    options: dict[str, Any] = {"rna": rna, "min_length": max(k, min_length), "regression": regression}
    columns = Columns(sequence_column, label_column, id_column, label_columns, nt_label_column, pair_column)
    columns = replace(columns, tracks=track_columns, nt_tracks=nt_track_columns)
    reports: list[FileReport] = []
    seen: dict[str, str] = {}
    training: LabelledSequences | None = None
    with _progress() as bar:
        for path, split in named:
            report = FileReport(path, kinds[path], split)
            if kinds[path] == "sequences":
                items = _records(report, known, seen, rna, min_length)
            else:
                table = _read_table(report, training, columns, options)
                training = table if training is None and split == "train" else training
                items = _rows(report, table, columns, rna)
            _describe(items, report, catalogue, k, bar)
            reports.append(report)
    faults += known.faults(catalogue, sequence_files, genome_by)
    splits = {name: catalogue.splits.count(number) for number, name in enumerate(SPLITS)}
    result = CheckReport(
        files=reports,
        faults=faults,
        duplicates=catalogue.duplicates(),
        leaks=catalogue.leaks(min_identity),
        splits={name: count for name, count in splits.items() if count},
        min_identity=min_identity,
        density=None if catalogue.sketch is None else catalogue.sketch.density,
    )
    if output is not None:
        result.write_json(output)
    return result


class _Metadata(NamedTuple):
    """The metadata table of `prepare`, as far as it could be read.

    Attributes:
        path: the file, or None.
        table: by record name.
        splits: number of the split of each record name, where the table says it.
    """

    path: str | None
    table: pd.DataFrame | None
    splits: dict[str, int] | None

    @classmethod
    def read(cls, path: str | None, key: str, faults: list[str]) -> _Metadata:
        """Read it, or add to ``faults`` why it cannot be read."""
        if path is None:
            return cls(None, None, None)
        try:
            table = read_metadata(path, key)
        except InputError as error:
            faults.append(str(error))
            return cls(path, None, None)
        if "split" not in table:
            return cls(path, table, None)
        names = table["split"].astype("string").fillna("")
        return cls(path, table, {name: SPLITS.index(split) for name, split in names.items() if split in SPLITS})

    def faults(self, catalogue: Catalogue, sequence_files: list[str], genome_by: str) -> list[str]:
        """List what `prepare` refuses in the table as such: records without a row, splits that overlap."""
        if self.table is None or self.path is None:
            return []
        rows = [row for row, path in enumerate(catalogue.files) if path in sequence_files and catalogue.names[row]]
        names = [catalogue.names[row] for row in rows]
        genomes = [genome_name(catalogue.files[row]) for row in rows] if genome_by == "file" else names
        contigs = pd.DataFrame({"name": names, "genome": genomes, "length": [catalogue.lengths[row] for row in rows]})
        try:
            with_splits(join_metadata(contigs.drop_duplicates("name"), self.table, self.path), None, 0)
        except InputError as error:
            return [str(error)]
        return []


def _check_arguments(
    named: list[tuple[str, str | None]], k: int, min_length: int, min_identity: float, output: str | None
) -> None:
    """Refuse a call without files, numbers out of range, and an output that cannot be."""
    if not named:
        raise InputError(
            "files: no file given; name FASTA files or tables, such as `hf-genomics check genomes/*.fa.gz`"
        )
    for path, _ in named:
        if Path(path).is_fifo():
            raise InputError(f"{path}: is a pipe, and `check` looks at a file more than once; write it to a file first")
    if k < 1:
        raise InputError(f"k must be at least 1 nt, not {k}")
    if min_length < 1:
        raise InputError(f"min_length must be at least 1 nt, not {min_length}")
    if not 0 < min_identity <= 1:
        raise InputError(f"min_identity must be above 0 and at most 1, such as 0.85, not {min_identity}")
    if output is not None and (os.path.isdir(output) or os.path.abspath(output) in map(os.path.abspath, dict(named))):
        raise InputError(f"output: {output} is a folder or one of the files to check; name another file")


def _is_table(path: str) -> bool:
    """Tell a table from a sequence file: it is Parquet, or starts with a line of cells."""
    try:
        with input_errors(path), open_binary(path) as file:
            start = file.peek(1 << 16).removeprefix(b"\xef\xbb\xbf")
    except InputError:
        return path.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet"))  # for what its reader says
    line = start.lstrip().partition(b"\n")[0]
    return start[:4] == b"PAR1" or (line[:1] not in b">@;#" and (b"," in line or b"\t" in line) and b"\0" not in start)


def _guess_nt(paths: list[str]) -> int:
    """Guess how many nt are in files: a byte for each, four where they are gzipped."""
    nt = 0
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            nt += os.path.getsize(path) * (4 if file.read(2) == b"\x1f\x8b" else 1)
    return nt


def _file_faults(paths: list[str], genome_by: str) -> list[str]:
    """List the files that `prepare` refuses to take together with those before them."""
    faults: list[str] = []
    taken: list[str] = []
    for path in paths:
        try:
            check_files([*taken, path], genome_by)
            taken.append(path)
        except InputError as error:
            faults.append(str(error))
    return faults


def _progress() -> tqdm:
    """Show the nt read so far on a screen, when information is wanted."""
    quiet = not logger.isEnabledFor(logging.INFO)
    return tqdm(unit="nt", unit_scale=True, desc="check", disable=quiet or None)


def _records(
    report: FileReport, metadata: _Metadata, seen: dict[str, str], rna: bool, min_length: int
) -> Iterator[Item]:
    """Yield the records of a sequence file, and write down what `prepare` would refuse.

    Args:
        report: of the file.
        metadata: says the splits where the command line does not.
        seen: file of every record name so far; grows.
        rna, min_length: as in `prepare`.
    """
    try:
        for record, faults in examine_records(report.file, rna=rna, min_length=min_length):
            try:
                if record.name:
                    check_unique(record.name, report.file, seen)
            except InputError as error:
                faults = [*faults, error]
            report.add_faults(faults)
            if not f"{record.name} {record.description}".isascii():
                report.note("with a header that is not ASCII", record.name)
            split = (metadata.splits or {}).get(record.name, -1) if report.split is None else SPLITS.index(report.split)
            yield Item(record.name, record.letters, split, sound=not faults or _is_dna(record.letters))
    except InputError as error:
        report.add_faults([error])


def _is_dna(letters: np.ndarray) -> bool:
    """Tell whether all letters are nucleotides."""
    return bool(clean_letters(letters).all())


def _read_table(
    report: FileReport, training: LabelledSequences | None, columns: Columns, options: dict[str, Any]
) -> LabelledSequences | None:
    """Read a table as `finetune` does; what it refuses is written down and gives None.

    Args:
        report: of the file.
        training: the training table, whose classes another split must have.
        columns: what stands beside sequence and label.
        options: of `read_annotated`.
    """
    if training is not None and report.split != "train":
        options = options | {"task": training.task, "regression": None}
    try:
        table = read_annotated(report.file, columns, **options)
    except InputError as error:
        report.add_faults(table_faults(report.file, error, columns, **options))
        return None
    try:
        if report.split is not None:
            check_classes(training or table, table)
        if report.split == "train":
            check_columns(table)
    except InputError as error:
        report.add_faults([error])
    report.labels = _label_counts(table)
    return table


def _label_counts(table: LabelledSequences) -> dict[str, float] | None:
    """Count the rows (or nucleotides) of every class, or describe the values; None without labels."""
    names = table.label_names or []
    if table.nt_labels is not None:
        known = np.concatenate(table.nt_labels)
        return dict(zip(names, np.bincount(known[known >= 0], minlength=len(names)).tolist(), strict=True))
    if table.labels is None:
        return None
    if table.problem == "multi_label_classification":
        return dict(zip(names, np.nansum(table.labels, axis=0).tolist(), strict=True))
    if names and table.problem == "regression":
        return {
            f"mean {name}": mean for name, mean in zip(names, np.nanmean(table.labels, axis=0).tolist(), strict=True)
        }
    if table.problem == "regression":
        labels = table.labels
        return {"min": float(labels.min()), "mean": float(labels.mean()), "max": float(labels.max())}
    return dict(zip(names, np.bincount(table.labels, minlength=len(names)).tolist(), strict=True))


def _rows(report: FileReport, table: LabelledSequences | None, columns: Columns, rna: bool) -> Iterator[Item]:
    """Yield the rows of a table; of one that was refused, as they stand in the file."""
    split = -1 if report.split is None else SPLITS.index(report.split)
    if table is not None:
        labels = [""] * len(table) if table.labels is None else table.labels.tolist()
        for name, letters, label in zip(table.ids, table.sequences, labels, strict=True):
            yield Item(name, letters, split, sound=True, label=str(label))
        return
    for number, text in enumerate(cell_texts(report.file, columns.sequence), start=1):
        letters = as_letters(text)
        cleaned = clean_letters(letters, rna)
        sound = bool(cleaned.all())
        yield Item(str(number), cleaned if sound else letters, split, sound)


def _describe(items: Iterator[Item], report: FileReport, catalogue: Catalogue, k: int, bar: tqdm) -> None:
    """Take all records of a file into its report and the catalogue, a batch at a time."""
    for batch in _batches(items):
        letters, ends = _concatenate(batch)
        lengths = np.array([len(item.letters) for item in batch])
        report.lengths.extend(lengths.tolist())
        nt, foreign = int(lengths.sum()), sum(_foreign(item) for item in batch)
        report.letters = report.letters.plus(Letters.of(letters, nt, foreign))
        found = _has_kmer(letters, ends - lengths, k) if len(batch) > 1 else [_long_has_kmer(letters, k)]
        for item, length, has_kmer in zip(batch, lengths, found, strict=True):
            if item.sound and length and not has_kmer:
                kind = "without a k-mer of A, C, G, T alone" if length >= k else f"shorter than k = {k} nt"
                report.note(kind, item.name)
        catalogue.add(report.file, batch, letters, ends)
        bar.update(nt)


def _foreign(item: Item) -> int:
    """Count the letters of a record that are no nucleotides."""
    return 0 if item.sound else int(np.count_nonzero(clean_letters(item.letters) == 0))


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Gather records until there are a million letters; a long record stays alone, so that it is not copied."""
    batch: list[Item] = []
    nt = 0
    for item in items:
        if batch and len(item.letters) >= _BATCH_NT:
            yield batch
            batch, nt = [], 0
        batch.append(item)
        nt += len(item.letters) + 1
        if nt >= _BATCH_NT:
            yield batch
            batch, nt = [], 0
    if batch:
        yield batch


def _concatenate(batch: list[Item]) -> tuple[np.ndarray, np.ndarray]:
    """Join the letters of records with a zero byte behind each; return them and where each record ends."""
    lengths = np.array([len(item.letters) for item in batch])
    ends = np.cumsum(lengths + 1) - 1
    if len(batch) == 1:
        return batch[0].letters, ends
    return np.frombuffer(b"\0".join(item.letters.data for item in batch), np.uint8), ends


def _has_kmer(letters: np.ndarray, starts: np.ndarray, k: int) -> np.ndarray:
    """Tell for each record whether any of its k-mers consists of A, C, G, T alone.

    Args:
        letters: (nt,) records with something between them that is no nucleotide.
        starts: (records,) where each starts.
        k: nt.
    """
    good = np.zeros(len(letters) + 1, bool)  # one more, because the last record may be empty
    touched = rolling_any(letter_digits(letters) > 3, k)
    good[: len(touched)] = ~touched if len(letters) >= k else False
    return np.logical_or.reduceat(good, starts)


def _long_has_kmer(letters: np.ndarray, k: int) -> bool:
    """Tell what `_has_kmer` does of one record, block by block, as far as the first that has one."""
    blocks = (letters[begin : begin + _BATCH_NT + k - 1] for begin in range(0, len(letters), _BATCH_NT))
    return any(_has_kmer(block, np.zeros(1, np.int64), k)[0] for block in blocks)
