"""Read the records of sequence files and the rows of tables, and add what is found to the report of each file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from ..errors import InputError
from ..genomes.metadata import RecordRules
from ..genomes.splits import SPLITS
from ..genomes.store import check_unique
from ..io.text_tables import cell_texts
from ..labelled.columns import Columns
from ..labelled.sequences import LabelledSequences, rows_with_known_kmers
from ..labelled.tables import check_split, header_label, read_labelled, table_problems
from ..sequence import as_letters, letter_digits, rolling_any
from ..sequence_files.fasta import clean_letters, examine_records
from .duplicates import Catalogue, CheckedSequence
from .meaning import class_counts, describe_labels, label_warnings, rarer_class
from .report import FileReport, LetterCounts, with_keys_of_check

_BATCH_NT = 1 << 20  # about a million letters are examined together


class TableRules(NamedTuple):
    """Rules for reading tables.

    Attributes:
        columns: names of the columns of the tables.
        records: rules for records, of which ``rna`` and ``min_length`` apply to the rows of tables, too.
        k: size of the k-mers, in nt; a shorter row is rejected.
        regression: whether labels are values (True) or classes (False); None to infer it from the labels.
    """

    columns: Columns
    records: RecordRules
    k: int
    regression: bool | None

    def options(self, training: LabelledSequences | None, split: str | None) -> dict[str, Any]:
        """Return the options of `read_labelled` for a table.

        Args:
            training: the training table, whose task the tables of other splits must have; None if none has been read.
            split: split of the table; None if it has none, which is judged as a training table of its own.
        """
        options: dict[str, Any] = {
            "rna": self.records.rna,
            "min_length": max(self.k, self.records.min_length),
            "regression": self.regression,
        }
        if training is not None and split not in ("train", None):
            # The training table has decided what the labels are, so they are not to be guessed again.
            options |= {"task": training.task, "regression": None}
        return options


def records_of(
    report: FileReport, splits: dict[str, int], seen: dict[str, tuple[str, str]], rules: RecordRules
) -> Iterator[CheckedSequence]:
    """Iterate over the records of a sequence file, and add what `prepare` would reject to the file's report.

    Args:
        report: report of the file.
        splits: record name -> index of its split in `SPLITS`; used only if the user did not assign the whole file to a
            split.
        seen: record name -> file and header with which it occurred first; this function adds the names of its file.
        rules: rules for records, as in `prepare`.
    """
    options: dict[str, Any] = {
        "rna": rules.rna,
        "min_length": rules.min_length,
        "naming": rules.naming(report.file, before=len(seen)),  # records may be numbered over all files
    }
    try:
        for record, problems in examine_records(report.file, **options):
            try:
                if record.name:
                    # By rule "header" the name is the whole header already.
                    header = record.name if rules.names == "header" else f"{record.name} {record.description}".strip()
                    check_unique(record.name, report.file, header, seen)
            except InputError as error:
                problems = [*problems, error]
            report.add_problems(problems)
            if not f"{record.name} {record.description}".isascii():
                report.note("with a header that is not ASCII", record.name)
            report.labelled += bool(header_label(record.description))
            split = splits.get(record.name, -1) if report.split is None else SPLITS.index(report.split)
            # A record that is rejected for its name or length only may still consist of nucleotides.
            letters, is_nucleotides = _read_letters(record.letters, rules.rna) if problems else (record.letters, True)
            yield CheckedSequence(record.name, letters, split, is_nucleotides)
    except InputError as error:
        report.add_problems([error])


def _read_letters(letters: np.ndarray, rna: bool) -> tuple[np.ndarray, bool]:
    """Return the letters of a rejected record or row, U read as T if ``rna``, and whether all are nucleotides."""
    cleaned = clean_letters(letters, rna)  # 0 in place of a letter that is not a nucleotide
    return np.where(cleaned != 0, cleaned, letters), bool(cleaned.all())


def read_table_or_note(
    report: FileReport, training: LabelledSequences | None, rules: TableRules
) -> LabelledSequences | None:
    """Read a table, or a sequence file with labels, as `finetune` does, and add what it would reject to the report.

    Args:
        report: report of the file.
        training: the training table, whose classes the tables of other splits must have; None if none has been read.
        rules: rules for reading tables.

    Returns:
        The rows; None if a row was rejected.
    """
    options = rules.options(training, report.split)
    try:
        table = read_labelled(report.file, rules.columns, **options)
    except InputError as error:
        is_table = report.kind == "table"
        problems = table_problems(report.file, error, rules.columns, **options) if is_table else [error]
        reported = set(report.problems)  # a sequence file has been read before, as `prepare` reads it
        report.add_problems([problem for problem in problems if with_keys_of_check(str(problem)) not in reported])
        return None
    is_training = report.split in ("train", None)  # a table without a split is judged as a training table
    to_agree_with = None if is_training else training or table
    try:
        check_split(table, to_agree_with)
        check_split(known_rows(table, rules.k), to_agree_with)  # `finetune` ignores rows without a known k-mer
    except InputError as error:
        report.add_problems([error])
    report.labels = label_counts(table)
    if report.labels is not None:
        report.understood = describe_labels(table, rarer_class(table if report.split is None else training or table))
        if is_training:
            report.remarks = label_warnings(table)
    return table


def known_rows(table: LabelledSequences, k: int) -> LabelledSequences:
    """Return the rows on which `finetune` trains, those with a known k-mer.

    Args:
        table: the rows of a table.
        k: size of the k-mers, in nt.

    Raises:
        InputError: if there is none.
    """
    rows = rows_with_known_kmers(table, k)
    if not rows:
        raise InputError(f"{table.source}: no row has a k-mer of A, C, G and T only, so there is nothing to learn")
    return table if len(rows) == len(table) else table.take(rows)


def label_counts(table: LabelledSequences) -> dict[str, float] | None:
    """Count the rows (or nucleotides) of each class, or summarise the values; return None if there are no labels."""
    labels, names = table.labels, table.label_names or []
    if table.nt_labels is not None or (labels is not None and table.task.is_classification):
        return {**class_counts(table)}  # mypy does not take a dict[str, int] for a dict[str, float]
    if labels is None:
        return None
    if table.problem == "multi_label_classification":
        return dict(zip(names, np.nansum(labels, axis=0).tolist(), strict=True))
    if names:  # several targets
        known = [column[~np.isnan(column)] for column in labels.T]  # an empty column has no mean
        return {f"mean {name}": float(column.mean()) for name, column in zip(names, known, strict=True) if len(column)}
    return {"min": float(labels.min()), "mean": float(labels.mean()), "max": float(labels.max())}


def rows_of(report: FileReport, table: LabelledSequences | None, rules: TableRules) -> Iterator[CheckedSequence]:
    """Iterate over the rows of a table; if the table was rejected, over the unchecked rows of its file.

    Args:
        report: report of the file.
        table: the table, or None if it was rejected.
        rules: rules for reading tables.
    """
    split = -1 if report.split is None else SPLITS.index(report.split)
    if table is not None:
        labels = [""] * len(table) if table.labels is None else table.labels.tolist()
        for name, letters, label in zip(table.ids, table.sequences, labels, strict=True):
            yield CheckedSequence(name, letters, split, is_nucleotides=True, label=str(label))
        return
    for number, text in enumerate(cell_texts(report.file, rules.columns.sequence, rules.columns.header), start=1):
        letters, is_nucleotides = _read_letters(as_letters(text), rules.records.rna)
        yield CheckedSequence(str(number), letters, split, is_nucleotides)


def describe(sequences: Iterator[CheckedSequence], report: FileReport, catalogue: Catalogue, k: int, bar: tqdm) -> None:
    """Add all sequences of a file to its report and to the catalogue, a batch at a time.

    Args:
        sequences: the records or rows of the file.
        report: report of the file.
        catalogue: catalogue of the sequences of all files, in which near-duplicates are found.
        k: size of the k-mers, in nt.
        bar: progress bar, in nt.
    """
    for batch in _batches(sequences):
        letters, ends = _concatenate(batch)
        lengths = np.array([len(sequence.letters) for sequence in batch])
        report.lengths.extend(lengths.tolist())
        nt, foreign = int(lengths.sum()), sum(_count_foreign(sequence) for sequence in batch)
        report.letters = report.letters.plus(LetterCounts.of(letters, nt, foreign))
        # A long record is alone in its batch, and is searched in blocks: `_has_kmer` needs memory for each letter.
        found = _has_kmer(letters, ends - lengths, k) if len(batch) > 1 else [_long_has_kmer(letters, k)]
        for sequence, length, has_kmer in zip(batch, lengths, found, strict=True):
            if sequence.is_nucleotides and length and not has_kmer:
                kind = "without a k-mer of A, C, G and T only" if length >= k else f"shorter than k = {k} nt"
                report.note(kind, sequence.name)
        catalogue.add(report.file, batch, letters, ends)
        bar.update(nt)


def _count_foreign(sequence: CheckedSequence) -> int:
    """Count the letters of a sequence that are not nucleotides."""
    return 0 if sequence.is_nucleotides else int(np.count_nonzero(clean_letters(sequence.letters) == 0))


def _batches(sequences: Iterator[CheckedSequence]) -> Iterator[list[CheckedSequence]]:
    """Iterate over batches of about a million letters; a longer sequence is a batch of its own, and is not copied."""
    batch: list[CheckedSequence] = []
    nt = 0
    for sequence in sequences:
        if batch and len(sequence.letters) >= _BATCH_NT:
            yield batch
            batch, nt = [], 0
        batch.append(sequence)
        nt += len(sequence.letters) + 1
        if nt >= _BATCH_NT:
            yield batch
            batch, nt = [], 0
    if batch:
        yield batch


def _concatenate(batch: list[CheckedSequence]) -> tuple[np.ndarray, np.ndarray]:
    """Join the letters of sequences with a zero byte between neighbours; a single sequence is not copied.

    Returns:
        The letters and zeros, (nt + sequences - 1,) uint8; and the index at which each sequence ends in them,
        (sequences,).
    """
    lengths = np.array([len(sequence.letters) for sequence in batch])
    ends = np.cumsum(lengths + 1) - 1
    if len(batch) == 1:
        return batch[0].letters, ends
    return np.frombuffer(b"\0".join(sequence.letters.data for sequence in batch), np.uint8), ends


def _has_kmer(letters: np.ndarray, starts: np.ndarray, k: int) -> np.ndarray:
    """Find the sequences that contain a k-mer of A, C, G and T only.

    Args:
        letters: as `_concatenate` returns them.
        starts: index in ``letters`` at which each sequence starts, (sequences,).
        k: size of the k-mers, in nt.

    Returns:
        Whether each sequence contains such a k-mer, (sequences,) bool.
    """
    # good[i]: a k-mer of A, C, G and T only starts at letter i. It has one more entry than there are letters, because
    # reduceat needs an entry at the start of every sequence, even of an empty one at the end. K-mers that extend over
    # the end of a sequence contain the zero between two sequences, so they are not good.
    good = np.zeros(len(letters) + 1, bool)
    has_other_letter = rolling_any(letter_digits(letters) > 3, k)  # one entry for each k-mer, none for a short text
    good[: len(has_other_letter)] = ~has_other_letter
    return np.logical_or.reduceat(good, starts)


def _long_has_kmer(letters: np.ndarray, k: int) -> bool:
    """Return what `_has_kmer` finds for one sequence, reading it block by block up to its first such k-mer."""
    # Blocks overlap by k - 1 letters, so that each k-mer lies inside one of them.
    blocks = (letters[begin : begin + _BATCH_NT + k - 1] for begin in range(0, len(letters), _BATCH_NT))
    return any(_has_kmer(block, np.zeros(1, np.int64), k)[0] for block in blocks)
