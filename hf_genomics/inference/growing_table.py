"""A table file that is written row by row, can be continued after an interruption, and appears only when complete.

Until then the rows of ``NAME`` are in the folder ``.NAME.partial`` next to it: ``rows.tsv`` holds the rows,
``settings.json`` names the model, input and options that they come from, and a lock keeps other runs out. Every row is
passed to the operating system as soon as it is written, so a run that is killed loses at most part of its last row.
Rows for standard output, a pipe or a device are written there directly. Other files, such as tracks for a genome
browser, can be made of the rows when they are complete. With `resume` "auto", ``.NAME.run.json`` beside the output
records the run that wrote it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from ..errors import InputError
from ..io.processes import ALONE, Processes
from ..io.streams import destination, is_stream, open_stream
from ..io.writing import output_errors, put_in_place, write_json, write_row
from ..runs.output_folder import Resume, empty_folder, working_folder
from ..saved_files import read_json

logger = logging.getLogger(__name__)


class _Progress(NamedTuple):
    """How far an interrupted run got.

    Attributes:
        sequences: number of sequences whose rows are complete.
        rows: number of rows of these sequences.
        offset: size of the file in bytes up to the end of the last of these rows.
    """

    sequences: int
    rows: int
    offset: int


class GrowingTable:
    """A TSV file for the rows of many sequences; use it in a ``with`` block, and call `finish` at the end of the block.

    Nothing is created before the first row. After an exception the rows are kept if there are any, and a warning says
    where. Rows for a stream (standard output, a pipe, a device) are written to it at once, and cannot be continued.

    Args:
        target: path of the file; a symbolic link stays a link.
        header: names of the columns; the first column is the id of the sequence.
        settings: everything that the rows depend on, by name: model, input, options.
        resume: continue after the last complete row of an interrupted run; "auto" also records the finished run, for
            `finished_before`.
        start_column: number of a column that is 0 in the first row of each sequence and in no other row, if a sequence
            may have several rows. None if each sequence has one row. (Ids cannot tell sequences apart: they may be
            repeated.)
        inside: whether a resumed run can continue inside a sequence. If not, it writes all rows of the last sequence
            again, because some may be missing.
        processes: processes that share the work. The first one writes; all of them create the table and call `finish`,
            after which all know its numbers of sequences and rows.

    Attributes:
        num_sequences: number of sequences in the table; when a run is resumed, it can skip as many.
        num_rows: number of rows in the table.

    Raises:
        InputError: if the interrupted run had other settings, or a stream is to be continued.
    """

    def __init__(
        self,
        target: Path,
        header: list[str],
        settings: dict[str, Any],
        resume: Resume,
        start_column: int | None = None,
        inside: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self._processes = processes
        self._name, self._header, self._settings, self._start_column = target, header, settings, start_column
        self._resume = resume
        self._is_stream = is_stream(target)
        self._target = target if self._is_stream else destination(target)
        self._folder = self._target.with_name(f".{self._target.name}.partial")
        self._rows = self._folder / "rows.tsv"
        self._file: TextIO | None = None
        self._lock = contextlib.ExitStack()  # of the folder: of two runs with one output, the second one is refused
        self.num_sequences = self.num_rows = 0
        if resume and self._is_stream:
            raise InputError(f"{target} is not a file, so its rows cannot be continued; omit resume")
        if resume and processes.is_first and self._rows.is_file():
            self._lock.enter_context(working_folder(self._folder))
            try:
                check_settings(self._folder / "settings.json", settings)
                self._continue(whole=start_column is not None and not inside)
            except BaseException:
                self._lock.close()
                raise
            self._lock.callback(self._discard_if_empty)
            logger.info("%s: continuing after %s sequences", target, f"{self.num_sequences:,}")
        self._share_counts()

    def _continue(self, whole: bool) -> None:
        """Open the rows of an interrupted run after the last complete one; see `_find_progress`."""
        progress = _find_progress(self._rows, len(self._header), self._start_column, whole)
        self.num_sequences, self.num_rows, offset = progress
        os.truncate(self._rows, offset)
        self._file = self._open()

    def write(self, cells: tuple[object, ...]) -> None:
        """Append a row; numbers are rounded to seven digits, the precision of float32, and NaN is an empty cell.

        Raises:
            InputError: if the row cannot be written, for instance because the disk is full.
        """
        with output_errors(self._name):
            if self._file is None:
                self._file = self._begin()
            write_row(self._file, cells)
        self.num_sequences += _begins_sequence(cells, self._start_column)
        self.num_rows += 1

    def finish(self, convert: Callable[[Path], dict[Path, Path]] | None = None) -> None:
        """Flush the table to disk, move it to its target, and delete the temporary folder.

        Of several processes, the others wait until the first one has done this.

        Args:
            convert: function that is given the file of the rows, writes other files into its folder, and returns them,
                each with the path to which it is to be moved; the table itself is then deleted. None to keep the table.

        Raises:
            ValueError: if no row was written.
            InputError: if the table cannot be written, for instance because the disk is full.
        """
        if self._processes.is_first:
            if self._file is None:
                raise ValueError(f"{self._name}: no row was written")
            with output_errors(self._name):
                self._finish(self._file, convert)
        self._share_counts()

    def _finish(self, file: TextIO, convert: Callable[[Path], dict[Path, Path]] | None) -> None:
        """Flush the open file of rows and move it, or what is converted from it, into place; see `finish`."""
        file.close()
        if not self._is_stream:
            files = {self._rows: self._target} if convert is None else convert(self._rows)
            for partial in files:
                with open(partial, "rb+") as complete:  # Windows flushes only what is open for writing
                    os.fsync(complete.fileno())
            if self._resume == "auto":  # a stop must not leave old files beside new ones, or beside the new record
                for target in files.values():
                    destination(target).unlink(missing_ok=True)
            self._record()
            for partial, target in files.items():
                put_in_place(partial, destination(target))
            with contextlib.suppress(OSError):
                empty_folder(self._folder)
            self._lock.close()

    def _share_counts(self) -> None:
        """Tell the other processes how many sequences and rows there are."""
        self.num_sequences, self.num_rows = self._processes.broadcast((self.num_sequences, self.num_rows))

    def _record(self) -> None:
        """Record the run before its output appears, or delete the record of an earlier run."""
        record = record_of(self._target)
        if self._resume == "auto":
            write_json(record, {**self._settings, "sequences": self.num_sequences, "rows": self.num_rows})
        else:
            record.unlink(missing_ok=True)

    def _begin(self) -> TextIO:
        """Open the stream, or create the folder and the file of rows; write the header."""
        if not self._is_stream:
            self._lock.enter_context(working_folder(self._folder))
            empty_folder(self._folder)
            self._lock.callback(self._discard_if_empty)
            write_json(self._folder / "settings.json", self._settings)
        return self._open()

    def _open(self) -> TextIO:
        """Open the stream or the file of rows, and write the header if there is none."""
        # Line buffering: the end of each line passes it to the operating system. A line is a row, or part of a row
        # whose id contains a line break.
        if self._is_stream:
            file: TextIO = io.TextIOWrapper(open_stream(self._target), "utf-8", newline="", line_buffering=True)
        else:
            file = open(self._rows, "a", encoding="utf-8", newline="", buffering=1)
        if self._is_stream or not self._rows.stat().st_size:
            self._file = file  # closed if the header cannot be written
            write_row(file, self._header)
        return file

    def __enter__(self) -> GrowingTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; after an exception keep the rows, or delete the folder if there are none."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk: only an incomplete row is lost
                self._file.close()
        self._lock.close()
        if error is None or self._is_stream or not self._processes.is_first or not self.num_rows:
            return
        logger.warning(
            "%s: interrupted; the rows of %s sequences are kept in %s, so run again with --resume true to continue",
            self._name,
            f"{self.num_sequences:,}",
            self._folder,
        )

    def _discard_if_empty(self) -> None:
        """Delete the unfinished table if it has no rows."""
        if not self.num_rows:
            with contextlib.suppress(OSError):
                empty_folder(self._folder)


def _begins_sequence(cells: Sequence[object], start_column: int | None) -> bool:
    """Return whether a row is the first one of its sequence."""
    return start_column is None or str(cells[start_column]) == "0"


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Raise InputError if an interrupted run had other settings."""
    if changed := changed_setting(path, settings):
        name, before, now = changed
        raise InputError(
            f"{path.parent}: the interrupted run had {name} {before}, this one has {now}; use the same again, or omit "
            "resume to start from the beginning"
        )


def changed_setting(path: Path, settings: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """Return the first setting that differs from a file of settings, its value there and its value now; or None.

    Args:
        path: JSON file of the settings of an earlier run.
        settings: the settings of this run.
    """
    try:
        before = read_json(path)
    except (OSError, ValueError):
        before = {}
    for name, value in json.loads(json.dumps(settings)).items():  # tuples become lists, as they did in the file
        if before.get(name) != value:
            return name, before.get(name), value
    return None


def finished_before(target: Path, settings: dict[str, Any], found: Path | None = None) -> tuple[int, int]:
    """Return the numbers of sequences and rows of an output that a run with `resume` "auto" has finished.

    Args:
        target: the output.
        settings: everything that the rows depend on.
        found: the file that exists, if the output is a group of files; by default the output itself.

    Raises:
        InputError: if the output is not the one that a run with these settings writes, or nothing says so.
    """
    record, remedy = record_of(destination(target)), "pass --overwrite true to replace it, or name another file"
    if not record.is_file():
        raise InputError(
            f"{found or target} exists, and nothing says which run wrote it (a run with --resume auto leaves "
            f"{record.name}); {remedy}"
        )
    if changed := changed_setting(record, settings):
        name, before, now = changed
        raise InputError(f"{found or target}: was written with {name} {before}, this run has {now}; {remedy}")
    counts = read_json(record)
    return int(counts.get("sequences") or 0), int(counts.get("rows") or 0)


def record_of(target: Path) -> Path:
    """Return the file that records the run of an output with `resume` "auto".

    Args:
        target: the output, no link.
    """
    return target.with_name(f".{target.name}.run.json")


def _find_progress(path: Path, width: int, start_column: int | None, whole: bool) -> _Progress:
    """Find which rows of an interrupted run are complete.

    Args:
        path: file of the rows, with a header.
        width: number of columns.
        start_column: as in `GrowingTable`.
        whole: whether only whole sequences count. The rows of the last one then do not, because some may be missing.
    """
    rows = read_rows(path)
    header = next(rows, None)
    if header is None:
        return _Progress(0, 0, 0)
    progress = before_last = _Progress(0, 0, header[0])  # before_last: before the first row of the last sequence
    for number, (offset, row) in enumerate(rows, start=1):
        if len(row) != width:  # the run was killed in the middle of an id with a line break
            break
        if _begins_sequence(row, start_column):
            before_last = progress
            progress = progress._replace(sequences=progress.sequences + 1)
        progress = progress._replace(rows=number, offset=offset)
    return before_last if whole else progress


def read_rows(path: Path, start: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Iterate over the rows of a table of `GrowingTable`, the header included, each with its end in bytes.

    Args:
        path: file of the rows; an incomplete last line is ignored.
        start: offset in bytes of the first row to read.
    """
    offset = start

    def lines() -> Iterator[str]:
        nonlocal offset
        with open(path, "rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):  # the run was killed while it wrote this line
                    return
                offset += len(line)
                yield line.decode("utf-8")

    # For each row the reader takes only as many lines as the row has, so `offset` is the end of the row just read.
    for row in csv.reader(lines(), delimiter="\t"):
        yield offset, row
