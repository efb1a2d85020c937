"""The command `check`: describe sequence files and labelled tables, and list what `prepare` or `finetune` would reject.

`check` has no rules of its own. It calls the readers of the other commands: `examine_records` and the genome store's
checks for sequence files, `read_labelled` for tables. Each sequence file is read through once, record by record, after
a look at its start; one with labels in its headers is then also read as `finetune` would. Only the name, the length and
a hash of each record are kept in memory, and a sample of its k-mers (the sketch) to find near-duplicates.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..errors import InputError
from ..genomes.metadata import RecordRules, genome_name, join_metadata, read_metadata, with_splits
from ..genomes.splits import SPLITS
from ..genomes.store import check_files
from ..io.progress import progress_bar
from ..io.streams import STDOUT, is_stream, open_stream
from ..io.text_tables import kind_of
from ..io.writing import check_output_file, names_file, output_errors
from ..labelled.columns import Columns
from ..labelled.sequences import LabelledSequences
from ..renamed import renamed
from ..sequence_files.fasta import examine_records
from .duplicates import Catalogue
from .fix import Fixed, write_fixed
from .reading import TableRules, describe, read_table_or_note, records_of, rows_of
from .report import CheckReport, FileReport
from .sketch import Sketch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitFiles:
    """Files of each split, and the kind of their labels.

    Args:
        train: files of the training split.
        valid: files of the validation split.
        test: files of the test split.
        regression: whether labels are values (true) or classes (false), as in `finetune`; by default decimals are
            values, words and whole numbers are classes, and labels that may be either, such as 0.0 and 1.0, are
            rejected.
        min_identity: smallest estimated identity of the near-duplicates to report, a share above 0 and at most 1.
    """

    train: list[str] | None = None
    valid: list[str] | None = None
    test: list[str] | None = None
    regression: bool | None = None
    min_identity: float = 0.85


@renamed(
    train="splits.train",
    valid="splits.valid",
    test="splits.test",
    regression="splits.regression",
    min_identity="splits.min_identity",
    metadata_key="records.metadata_key",
    genome_by="records.genome_by",
    rna="records.rna",
    min_length="records.min_length",
    sequence_column="columns.sequence",
    label_column="columns.label",
    id_column="columns.id",
    label_columns="columns.labels",
    nt_label_column="columns.nt_labels",
    pair_column="columns.pair",
    track_columns="columns.tracks",
    nt_track_columns="columns.nt_tracks",
)
def check(
    files: list[str] | None = None,
    splits: SplitFiles = SplitFiles(),  # noqa: B008 (frozen)
    metadata: str | None = None,
    columns: Columns = Columns(),  # noqa: B008 (frozen)
    records: RecordRules = RecordRules(),  # noqa: B008 (frozen)
    k: int = 6,
    output: str | None = None,
    fix: str | None = None,
    overwrite: bool = False,
) -> CheckReport:
    """Describe sequence files and labelled tables, and list everything that would be rejected, with warnings.

    On the command line, the exit code is 2 if `prepare`, given the same options, would reject the sequence files, or
    `finetune` would reject the tables, and 0 otherwise. Sequence files that are given for a split and have labels in
    their headers (``label=NAME``) are checked for both commands. A sequence that occurs in two splits causes a warning,
    and so does its reverse complement, or a sequence that is nearly equal.

    Args:
        files: sequence files, as in `prepare`, or labelled tables (CSV, TSV, Parquet), as in `finetune`; the content of
            a file decides which of the two it is.
        splits: files of both kinds whose split is known.
        metadata: table with a row for every record of the sequence files, as in `prepare`; its column "split" states
            the split of each record.
        columns: columns of the tables, as in `finetune`.
        records: how records are read and matched with the metadata table, as in `prepare`; ``rna`` and ``min_length``
            apply to tables, too.
        k: size of the k-mers that the model will read, in nt; a shorter row of a table is rejected, a shorter record of
            a sequence file causes a warning.
        output: JSON file to write, with everything that the table on the terminal omits; "-" for standard output (the
            table then goes to standard error).
        fix: FASTA file to write, a cleaned copy of the one sequence file that is checked: without gaps, blanks, digits
            and a byte order mark, with T for U, in capitals, with a number after a repeated name. What was changed is
            listed, and the exit code is 0 if the copy would be accepted.
        overwrite: replace an existing ``output`` or ``fix``.

    Returns:
        The findings; ``report.all_problems`` is empty if nothing would be rejected.

    Raises:
        InputError: if an argument is invalid, or ``fix`` finds a letter that it cannot correct; problems of the files
            are in the report instead.
    """
    given = {None: files, "train": splits.train, "valid": splits.valid, "test": splits.test}
    named = [(path, split) for split, paths in given.items() for path in paths or []]
    _check_arguments(named, k, splits.min_identity)
    target, copy = _targets(output, fix, [*dict(named), metadata], overwrite)
    reports = [FileReport(path, "table" if _is_table(path) else "sequences", split) for path, split in named]
    if copy is not None:
        _require_one_sequence_file(reports)
    problems = _problems_across([report.file for report in reports if report.kind == "sequences"], records.genome_by)
    metadata_table = Metadata.read(metadata, records.metadata_key, problems)
    # Near-duplicates are searched only across splits, so a sketch is needed only if there may be two splits.
    may_have_two_splits = metadata_table.splits is not None or len({split for _, split in named} - {None}) > 1
    expected_nt = _estimate_nt([report.file for report in reports])
    catalogue = Catalogue(Sketch(expected_nt=expected_nt) if may_have_two_splits else None)
    _read_files(reports, metadata_table, catalogue, TableRules(columns, records, k, splits.regression))
    problems += metadata_table.problems(catalogue, reports, records.genome_by)
    counts = {name: catalogue.splits.count(number) for number, name in enumerate(SPLITS)}
    fixed = None if copy is None else _fix(reports[0].file, copy, records)
    result = CheckReport(
        files=reports,
        problems=problems,
        duplicates=catalogue.duplicates(),
        leaks=catalogue.leaks(splits.min_identity),
        splits={name: count for name, count in counts.items() if count},
        min_identity=splits.min_identity,
        density=None if catalogue.sketch is None else catalogue.sketch.density,
        shortest=None if catalogue.sketch is None else catalogue.sketch.shortest(),
        unsearched=catalogue.unsearched(),
        is_on_stdout=STDOUT in (target, copy),
        fixed=fixed,
    )
    if target is not None:
        result.write_json(target)
    return result


def _targets(
    output: str | None, fix: str | None, inputs: list[object], overwrite: bool
) -> tuple[Path | None, Path | None]:
    """Check that the report and the cleaned copy may be written, and return their paths."""
    target = None if output is None else check_output_file(output, inputs, overwrite=overwrite)
    copy = None if fix is None else check_output_file(fix, [*inputs, target], overwrite=overwrite)
    if target is not None and target == copy:
        raise InputError(f"output and fix are both {output}; name two files")
    return target, copy


def _require_one_sequence_file(reports: list[FileReport]) -> None:
    """Check that the only file is a sequence file, as `fix` needs it."""
    if len(reports) != 1 or reports[0].kind != "sequences":
        files = ", ".join(report.file for report in reports[:3])
        raise InputError(f"fix writes a copy of one sequence file, not of {files}; check one FASTA file at a time")


def _fix(source: str, target: Path, rules: RecordRules) -> Fixed:
    """Write a cleaned copy of a sequence file, and list what would still be rejected in it."""
    if not is_stream(target):
        return _write_checked_copy(source, target, rules)
    # A stream cannot be read again, so the copy is checked in a temporary file. The name, which may end in .gz, stays.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, target.name)
        fixed = _write_checked_copy(source, copy, rules)
        with output_errors(target), names_file(target), open(copy, "rb") as file, open_stream(target) as stream:
            shutil.copyfileobj(file, stream)
    fixed.path = target
    fixed.problems = [problem.replace(str(copy), str(target)) for problem in fixed.problems]
    return fixed


def _write_checked_copy(source: str, target: Path, rules: RecordRules) -> Fixed:
    """Write a cleaned copy of a sequence file to a file, and list what would still be rejected in it."""
    fixed = write_fixed(source, target)
    left = examine_records(target, min_length=rules.min_length, naming=rules.naming(source, before=0))
    fixed.problems = [str(problem) for _, problems in left for problem in problems]
    return fixed


def _read_files(reports: list[FileReport], metadata: Metadata, catalogue: Catalogue, rules: TableRules) -> None:
    """Read all files, and add their sequences to their reports and to the catalogue.

    Args:
        reports: empty reports, one for each file.
        metadata: the metadata table, with the splits of records whose file has no split on the command line.
        catalogue: the catalogue of all sequences.
        rules: how tables and records are read.
    """
    seen: dict[str, tuple[str, str]] = {}  # record name -> file and header with which it occurred first
    training: LabelledSequences | None = None
    with progress_bar(logger, "check", "nt") as bar:
        for report in reports:
            if report.kind == "sequences":
                items = records_of(report, metadata.splits or {}, seen, rules.records)
            else:
                table = read_table_or_note(report, training, rules)
                # The first training table sets the classes that the tables of other splits must have.
                training = table if training is None and report.split == "train" else training
                items = rows_of(report, table, rules)
            describe(items, report, catalogue, rules.k, bar)
            # `finetune` also reads the labels in the headers of a sequence file of a split, and rejects the file if
            # columns are named that only a table can have.
            if report.kind == "sequences" and report.split is not None and (report.labelled or rules.columns.beside()):
                table = read_table_or_note(report, training, rules)
                training = table if training is None and report.split == "train" else training


class Metadata(NamedTuple):
    """The metadata table of `prepare`, as far as it could be read.

    Attributes:
        path: the file; None if there is none.
        table: the rows of the table, by record name; None if there is no table or it is invalid.
        splits: number in `SPLITS` of each record's split, by record name; None without a column "split".
    """

    path: str | None
    table: pd.DataFrame | None
    splits: dict[str, int] | None

    @classmethod
    def read(cls, path: str | None, key: str, problems: list[str]) -> Metadata:
        """Read the table, or append to ``problems`` why it cannot be read.

        Args:
            path: the file; None for no table.
            key: column with the record names.
            problems: list that gets one more problem if the table is invalid.
        """
        if path is None:
            return cls(None, None, None)
        try:
            table = read_metadata(path, key)
        except InputError as error:
            problems.append(str(error))
            return cls(path, None, None)
        if "split" not in table:
            return cls(path, table, None)
        split_of = table["split"].astype("string").fillna("")
        return cls(path, table, {name: SPLITS.index(split) for name, split in split_of.items() if split in SPLITS})

    def problems(self, catalogue: Catalogue, reports: list[FileReport], genome_by: str) -> list[str]:
        """List what `prepare` would reject in the table as a whole: records without a row, a genome in two splits.

        Args:
            catalogue: the catalogue of all records.
            reports: reports of all files; the table describes the records of the sequence files.
            genome_by: what one genome is, as in `RecordRules`.
        """
        if self.table is None or self.path is None:
            return []
        files = {report.file for report in reports if report.kind == "sequences"}
        rows = [row for row, path in enumerate(catalogue.files) if path in files and catalogue.names[row]]
        names = [catalogue.names[row] for row in rows]
        genomes = [genome_name(catalogue.files[row]) for row in rows] if genome_by == "file" else names
        contigs = pd.DataFrame({"name": names, "genome": genomes, "length": [catalogue.lengths[row] for row in rows]})
        try:
            # Called only because it raises what `prepare` would raise; the result is not needed. A second record with
            # the same name is a problem of its file, and listed in the report of the file.
            with_splits(join_metadata(contigs.drop_duplicates("name"), self.table, self.path), shares=None, seed=0)
        except InputError as error:
            return [str(error)]
        return []


def _check_arguments(named: list[tuple[str, str | None]], k: int, min_identity: float) -> None:
    """Raise InputError if no file is given, a file is a pipe, or a number is out of range."""
    if not named:
        raise InputError(
            "files: no file given; name FASTA files or tables, such as `hf-genomics check genomes/*.fa.gz`"
        )
    for path, _ in named:
        if Path(path).is_fifo():
            raise InputError(f"{path}: is a pipe, and `check` must open a file several times; write it to a file first")
    if k < 1:
        raise InputError(f"k must be at least 1 nt, not {k}; use the k of the tokenizer, such as 6")
    if not 0 < min_identity <= 1:
        raise InputError(
            f"splits.min_identity must be above 0 and at most 1, not {min_identity}; use a share such as 0.85"
        )


def _is_table(path: str) -> bool:
    """Return whether a file is a table rather than a sequence file."""
    try:
        return kind_of(path) != "sequences"
    except InputError:  # the file is unreadable: its name decides, so that the right reader reports the error
        return path.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet"))


def _estimate_nt(paths: list[str]) -> int:
    """Estimate the number of nt in files: one nt per byte, or four per byte of a gzipped file."""
    nt = 0
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            nt += os.path.getsize(path) * (4 if file.read(2) == b"\x1f\x8b" else 1)
    return nt


def _problems_across(paths: list[str], genome_by: str) -> list[str]:
    """List the problems of files that `prepare` would reject because of an earlier file, such as a repeated file."""
    problems: list[str] = []
    accepted: list[str] = []
    for path in paths:
        try:
            check_files([*accepted, path], genome_by)
            accepted.append(path)
        except InputError as error:
            problems.append(str(error))
    return problems
