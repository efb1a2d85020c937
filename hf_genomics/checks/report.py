"""The findings of `check` as numbers, as JSON and as a table on the terminal."""

from __future__ import annotations

import dataclasses
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..errors import InputError, escape_controls, line_for_user
from ..io.files import shorten
from ..io.writing import output_errors, write_json
from .duplicates import DuplicatePair
from .fix import Fixed
from .sketch import K

_QUANTILES = {"min": 0, "5 %": 5, "25 %": 25, "median": 50, "75 %": 75, "95 %": 95, "max": 100}
_WIDE = "records,nt,min nt,median nt,max nt,GC %,N %,IUPAC %,soft-masked %,duplicates".split(",")
_NARROW = "records,nt,median nt,GC %,N %,duplicates".split(",")
_ANY_WIDTH = 1 << 20  # columns of a console that is wide enough for any table
_NAME_WIDTH = 12  # smallest width to which the names of files are folded
_BLOCK_NT = 1 << 16
#: Keys of `finetune` in the messages of shared functions -> keys of `check`.
_KEYS = {
    "data.regression": "splits.regression",
    "data.columns": "columns",
    "--rna": "--records.rna",
    "data.rna": "records.rna",
}
_TO_UPPER = np.uint8(0xDF)  # clears the bit in which lower-case ASCII differs


class LetterCounts(NamedTuple):
    """Counts of letters, in nt.

    Attributes:
        nt: all letters; the sum of ``acgt``, ``n``, ``iupac`` and ``foreign``.
        acgt: A, C, G and T in either case.
        gc: G and C in either case.
        n: N.
        iupac: IUPAC codes other than A, C, G, T and N.
        soft_masked: lower-case letters.
        foreign: letters that are not nucleotides; records that contain them are rejected.
        u: U among the foreign letters (in RNA that is rejected); it counts as a base in the share of GC.
    """

    nt: int = 0
    acgt: int = 0
    gc: int = 0
    n: int = 0
    iupac: int = 0
    soft_masked: int = 0
    foreign: int = 0
    u: int = 0

    @classmethod
    def of(cls, letters: np.ndarray, nt: int, foreign: int) -> LetterCounts:
        """Count letters.

        Args:
            letters: letters of the records, uint8; zero bytes between records are not counted.
            nt: number of letters, without the zero bytes.
            foreign: number of letters that are not nucleotides.
        """
        counts = np.zeros(7, np.int64)
        for begin in range(0, len(letters), _BLOCK_NT):
            block = letters[begin : begin + _BLOCK_NT]
            upper = block & _TO_UPPER
            lower = block - np.uint8(ord("a")) < 26  # uint8: codes below "a" wrap around to large numbers
            counts += [*(np.count_nonzero(upper == ord(letter)) for letter in "ACGTNU"), np.count_nonzero(lower)]
        a, c, g, t, n, u, soft_masked = counts.tolist()
        iupac = nt - foreign - a - c - g - t - n
        return cls(nt, a + c + g + t, c + g, n, iupac, soft_masked, foreign, u if foreign else 0)

    def plus(self, other: LetterCounts) -> LetterCounts:
        """Return the sums of these counts and the counts in ``other``."""
        return LetterCounts(*map(sum, zip(self, other, strict=True)))

    def shares(self) -> dict[str, float | None]:
        """Return the share of GC in A, C, G, T, and of N, IUPAC codes and soft-masked letters in all letters.

        A share is None if there are no letters to divide by.
        """
        return {
            "gc": self.gc / (self.acgt + self.u) if self.acgt + self.u else None,
            **{name: getattr(self, name) / self.nt if self.nt else None for name in ("n", "iupac", "soft_masked")},
        }


@dataclasses.dataclass
class FileReport:
    """The findings in one file.

    Attributes:
        file: path of the file, as the user wrote it.
        kind: "sequences" or "table".
        split: split of the file on the command line, or None.
        lengths: length of every record, in nt.
        letters: letter counts over all records.
        labels: number of rows of each class, or min, mean and max of the values; None without labels.
        problems: everything that `prepare` or `finetune` would reject, one line each.
        notes: names of records that are accepted but unusual, by the kind of what is unusual.
        labelled: number of records of a sequence file that have a label in their header.
        understood: how the labels were understood, in one line; None without labels.
        remarks: what looks like a mistake in the labels, one line each.
    """

    file: str
    kind: str
    split: str | None = None
    lengths: array[int] = dataclasses.field(default_factory=lambda: array("q"))
    letters: LetterCounts = LetterCounts()
    labels: dict[str, float] | None = None
    problems: list[str] = dataclasses.field(default_factory=list)
    notes: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    labelled: int = 0
    understood: str | None = None
    remarks: list[str] = dataclasses.field(default_factory=list)

    def add_problems(self, problems: Sequence[InputError]) -> None:
        """Add problems of a record, a row or the file."""
        self.problems += [with_keys_of_check(str(problem)) for problem in problems]

    def note(self, kind: str, record: str) -> None:
        """Add the name of a record that is accepted but unusual."""
        self.notes.setdefault(kind, []).append(record)

    def numbers(self) -> dict[str, Any]:
        """Return all findings in the types of JSON; the keys are those of version 0.1."""
        return {
            "file": self.file,
            "kind": self.kind,
            "split": self.split,
            **summary([self]),
            "labels": self.labels,
            "understood": self.understood,
            "faults": self.problems,
            "notes": self.notes,
        }


def summary(files: Iterable[FileReport]) -> dict[str, Any]:
    """Count the records and letters of files, and compute quantiles of the records' lengths."""
    files = list(files)
    lengths = np.concatenate([np.zeros(0, np.int64), *(np.array(file.lengths, np.int64) for file in files)])
    letters = LetterCounts()
    for file in files:
        letters = letters.plus(file.letters)
    quantiles = np.percentile(lengths, list(_QUANTILES.values()), method="lower").tolist() if len(lengths) else []
    return {
        "records": len(lengths),
        "nt": letters.nt,
        "lengths": dict(zip(_QUANTILES, quantiles, strict=False))
        | {"mean": float(lengths.mean()) if len(lengths) else None},
        "shares": letters.shares(),
        "letters": letters._asdict(),
    }


@dataclasses.dataclass
class CheckReport:
    """The findings in all files.

    Attributes:
        files: one report for each file.
        problems: problems that concern several files: a file given twice, a metadata table that does not match.
        duplicates: records whose sequence occurs in an earlier record, on either strand.
        leaks: records whose sequence, or nearly the same one, occurs in an earlier split, on either strand.
        splits: number of records in each split.
        min_identity: smallest estimated identity of sequences that count as nearly the same, a share.
        density: share of the 24-mers that were compared to find near-duplicates; None if none were searched.
        shortest: length in nt from which near-duplicates are found; None if none were searched.
        unsearched: number of records of splits that are shorter, so that only exact copies of them are found.
        is_on_stdout: whether the JSON file, or a cleaned copy, is standard output, so that nothing else may be written
            there.
        fixed: the cleaned copy; None if there is none.
    """

    files: list[FileReport]
    problems: list[str]
    duplicates: list[DuplicatePair]
    leaks: list[DuplicatePair]
    splits: dict[str, int]
    min_identity: float
    density: float | None
    shortest: int | None = None
    unsearched: int = 0
    is_on_stdout: bool = False
    fixed: Fixed | None = None

    @property
    def all_problems(self) -> list[str]:
        """All problems: those that concern several files, then those of each file."""
        return self.problems + [problem for file in self.files for problem in file.problems]

    @property
    def rejection(self) -> str | None:
        """One line that says how much would be rejected; None if nothing would be."""
        if self.fixed is not None:
            left = self.problems + self.fixed.problems
            return f"{len(left)} problem{'s' * (len(left) > 1)} cannot be fixed: {left[0]}" if left else None
        count = len(self.all_problems)
        if not count:
            return None
        rejected = sum(bool(file.problems) for file in self.files)
        where = f", in {rejected} of {len(self.files)} files" if rejected else ""  # a metadata table is none of them
        problems = f"{count} problem{'s' * (count > 1)}{where}"
        one = self.files[0] if len(self.files) == 1 else None
        # `fix` takes one file, and needs records that can be read.
        can_fix = one is not None and one.kind == "sequences" and bool(one.lengths and one.problems)
        way = ", or write a corrected copy by --fix cleaned.fasta" if can_fix else ""
        return f"would be rejected: {problems}; fix what is listed above{way}"

    def warnings(self) -> list[str]:
        """List what is accepted but unusual, one line for each kind and file."""
        lines = []
        for file in self.files:
            for kind, names in file.notes.items():
                lines.append(f"{file.file}: {_count(names, 'record')} {kind} ({some(names)})")
            lines += file.remarks
        for kind in ("exact", "reverse complement"):
            pairs = [pair for pair in self.duplicates if pair.kind == kind]
            what = "the sequence" if kind == "exact" else "the reverse complement"
            if pairs:
                shown = some([f"{pair.record} = {pair.other}" for pair in pairs])
                lines.append(f"{_count(pairs, 'record')} with {what} of an earlier one ({shown})")
        relabelled = [pair for pair in self.duplicates if not pair.same_label and pair.kind == "exact"]
        if relabelled:
            lines.append(f"{_count(relabelled, 'row')} with the sequence of an earlier one but another label")
        if self.unsearched:
            total = f"{self.unsearched:,} of {sum(self.splits.values()):,} records are"
            lines.append(
                f"{total} shorter than {self.shortest:,} nt: only exact copies of them are found across splits"
            )
        return lines + self._leak_lines()

    def _leak_lines(self) -> list[str]:
        """List, for each split, how many of its records an earlier split contains, too."""
        lines = []
        for (split, other), count in sorted(Counter((pair.split, pair.other_split) for pair in self.leaks).items()):
            pairs = [pair for pair in self.leaks if (pair.split, pair.other_split) == (split, other)]
            near = [pair for pair in pairs if pair.kind == "near"]
            worst = sorted(pairs, key=lambda pair: -pair.identity)
            shown = some([f"{pair.record} ~ {pair.other}, {100 * pair.identity:.1f} %" for pair in worst])
            which = f"{count:,} of {self.splits[split]:,} {split} records"
            if near:
                equal = count - len(near)
                equals = f"{equal:,} {'is' if equal == 1 else 'are'} equal"
                how = f"identity is estimated from shared {K}-mers of the shorter sequence; simple repeats count too"
                lines.append(f"{which} share much of their sequence with {other} ({equals}): {shown}; {how}")
            else:
                lines.append(f"{which} are in {other} too: {shown}")
        return lines

    def numbers(self) -> dict[str, Any]:
        """Return all findings in the types of JSON; the keys are those of version 0.1."""
        return {
            "refused": bool(self.all_problems),
            "total": summary(self.files),
            "splits": self.splits,
            "min_identity": self.min_identity,
            "sketch_density": self.density,
            "shortest_compared": self.shortest,
            "not_compared": self.unsearched,
            "faults": self.problems,
            "warnings": self.warnings(),
            "files": [file.numbers() for file in self.files],
            "duplicates": [pair._asdict() for pair in self.duplicates],
            "leaks": [pair._asdict() for pair in self.leaks],
        }

    def write_json(self, path: Path) -> None:
        """Write `numbers`; the file is complete or does not exist.

        Args:
            path: the JSON file.

        Raises:
            InputError: if it cannot be written.
        """
        with output_errors(path):
            write_json(path, self.numbers())

    def show(self, console: Console, most: int = 10) -> None:
        """Draw the table, and below it a line for each problem and warning.

        Args:
            console: the console to draw on.
            most: largest number of problems to list for each file; the JSON file contains all of them.
        """
        self._show_table(console)
        lines = [f"{file.file}: {file.understood}" for file in self.files if file.understood]
        for problems in (self.problems, *(file.problems for file in self.files)):
            lines += [f"rejected: {problem}" for problem in _shown(problems, most)]
        fixed = [] if self.fixed is None else [f"fixed: {line}" for line in self.fixed.lines()]
        for line in lines + [f"warning: {warning}" for warning in self.warnings()] + fixed:
            console.print(line_for_user(line), soft_wrap=True, markup=False, highlight=False)

    def _show_table(self, console: Console) -> None:
        """Draw the table; on a console that is too narrow for it, list its cells, so that none is cut off.

        Args:
            console: the console to draw on; only the names of files are folded.
        """
        table = self._table(wide=console.width >= 120)
        width = Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).maximum
        longest = max(Text.from_markup(str(name)).cell_len for name in table.columns[1].cells)
        if width - max(0, longest - _NAME_WIDTH) <= console.width:
            console.print(table)
            return
        for line in _as_list(table):
            console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _table(self, wide: bool) -> Table:
        """Return a table with a row for each file and, for several files, one for all of them.

        Args:
            wide: whether the screen has room for all columns.
        """
        short = {file.file: Path(file.file).name for file in self.files}
        # Only the name of each file is shown on a narrow screen, unless two files have the same name.
        names = {path: path for path in short} if wide or len(set(short.values())) < len(short) else short
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("verdict", no_wrap=True)
        table.add_column("file", overflow="fold", min_width=_NAME_WIDTH)
        for name in _WIDE if wide else _NARROW:
            table.add_column(name, justify="right", no_wrap=True)
        repeated = Counter(pair.file for pair in self.duplicates)
        rows = [(names[file.file], file.problems, [file], repeated[file.file]) for file in self.files]
        rows += [("all", self.all_problems, self.files, len(self.duplicates))] * (len(self.files) > 1)
        for number, (name, problems, files, duplicates) in enumerate(rows, start=1):
            cells = _cells(summary(files)) | {"duplicates": f"{duplicates:,}"}
            shown = [cells[column] for column in (_WIDE if wide else _NARROW)]
            table.add_row(
                "rejected" if problems else "ok",
                escape(escape_controls(name)),
                *shown,
                end_section=number == len(self.files),
            )
        return table


def _as_list(table: Table) -> list[str]:
    """Return the rows of a table as lines of text, each cell with the name of its column."""
    names = [str(column.header) for column in table.columns]
    lines = []
    for verdict, file, *cells in zip(*(column.cells for column in table.columns), strict=True):
        numbers = ", ".join(f"{name} {cell}" for name, cell in zip(names[2:], cells, strict=True))
        lines.append(f"{verdict}: {Text.from_markup(str(file))}: {numbers}")
    return lines


def _cells(numbers: dict[str, Any]) -> dict[str, str]:
    """Return the texts of a row, by column, for the numbers of `summary`."""
    lengths, shares = numbers["lengths"], [_percent(share) for share in numbers["shares"].values()]
    return {
        "records": f"{numbers['records']:,}",
        "nt": f"{numbers['nt']:,}",
        **{f"{name} nt": f"{lengths.get(name, 0):,}" for name in ("min", "median", "max")},
        **dict(zip(("GC %", "N %", "IUPAC %", "soft-masked %"), shares, strict=True)),
    }


def _percent(share: float | None) -> str:
    """Return a share as a percentage; a small share is "<0.01", so that it does not look like 0."""
    if share is None:
        return "-"
    return "<0.01" if 0 < share < 1e-4 else f"{100 * share:.2f}"


def _count(things: list[Any], word: str) -> str:
    """Return the number of things with their name in the singular or plural, such as "2 records"."""
    return f"{len(things):,} {word}{'s' * (len(things) > 1)}"


def _shown(problems: list[str], most: int) -> list[str]:
    """Return the first problems, and a line that says how many more there are."""
    more = len(problems) - most
    note = f"... and {more:,} more; --output check.json lists all"
    return problems if more <= 0 else [*problems[:most], note]


def some(names: list[str], most: int = 3) -> str:
    """Return the first names as text, and ", ..." if there are more; long names are shortened."""
    return ", ".join(shorten(name) for name in names[:most]) + (", ..." if len(names) > most else "")


def with_keys_of_check(problem: str) -> str:
    """Return a problem with the keys of `check` in place of those of `finetune` and `prepare`.

    >>> with_keys_of_check("t.csv: for values set data.regression true")
    't.csv: for values set splits.regression true'
    """
    for key, ours in _KEYS.items():
        problem = re.sub(rf"(?<![\w./'\"-]){re.escape(key)}(?![\w/-])", ours, problem)
    return problem
