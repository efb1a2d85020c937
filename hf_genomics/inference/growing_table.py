"""A table that grows row by row beside its place, can go on after an interruption, and appears there only when whole.

While it grows, ``NAME`` is the folder ``.NAME.partial`` with two files: ``settings.json`` says from which model, input
and options the rows come, and ``rows.tsv`` holds the rows. Every row is handed to the system at once, so a killed run
leaves all rows but perhaps half of the last.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from ..errors import InputError
from ..io.writing import sync_folder, write_json

logger = logging.getLogger(__name__)


class _Done(NamedTuple):
    """What an interrupted run has left.

    Attributes:
        sequences: number of sequences whose rows are all there.
        rows: number of their rows.
        offset: size of the file up to the end of the last of these rows, in bytes.
    """

    sequences: int
    rows: int
    offset: int


class GrowingTable:
    """A TSV file for the rows of many sequences; use it in a ``with`` block, and call `finish` at its end.

    Nothing is created before the first row. If the block ends by an interruption, the rows are kept, and the log says
    so. If it ends by an `InputError`, they are deleted, because the input must change before another try.

    Args:
        target: the file.
        header: names of its columns; the first one is the id of the sequence.
        settings: what decides the rows, by name: model, input, options.
        resume: go on after the last complete row of an interrupted run.
        several_rows: a sequence may have several rows; the last one's are written again, as some may be missing.

    Attributes:
        num_sequences: sequences whose rows are in the table; after an interruption those that can be skipped.
        num_rows: rows in the table.

    Raises:
        InputError: if the interrupted run had other settings.
    """

    def __init__(
        self, target: Path, header: list[str], settings: dict[str, Any], resume: bool, several_rows: bool = False
    ) -> None:
        self._target, self._header, self._settings = target, header, settings
        self._folder = target.with_name(f".{target.name}.partial")
        self._rows = self._folder / "rows.tsv"
        self._file: TextIO | None = None
        self._last: str | None = None
        self.num_sequences = self.num_rows = 0
        if resume and self._rows.is_file():
            _check_settings(self._folder / "settings.json", settings)
            self.num_sequences, self.num_rows, offset = _complete(self._rows, len(header), several_rows)
            os.truncate(self._rows, offset)
            self._file = self._open()
            logger.info("%s: goes on after %s sequences", target, f"{self.num_sequences:,}")

    def write(self, cells: tuple[object, ...]) -> None:
        """Append a row; floats get seven digits, as many as float32 has."""
        if cells[0] != self._last:  # ids are unique, and the rows of a sequence are neighbours
            self._last = str(cells[0])
            self.num_sequences += 1
        self.num_rows += 1
        if self._file is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            write_json(self._folder / "settings.json", self._settings)
            self._file = self._open()
        self._writer.writerow([f"{cell:.7g}" if isinstance(cell, float) else cell for cell in cells])

    def finish(self) -> None:
        """Flush the table to disk, and move it to its place.

        Raises:
            ValueError: if it has no row.
        """
        if self._file is None:
            raise ValueError(f"{self._target}: no row was written")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._rows, self._target)
        sync_folder(self._target.parent)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> TextIO:
        """Open the rows, and write the header where there is none."""
        # A line is a row (or part of one, where an id holds a line break), and goes to the system when it ends.
        file = open(self._rows, "a", encoding="utf-8", newline="", buffering=1)
        self._writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if not self._rows.stat().st_size:
            self._writer.writerow(self._header)
        return file

    def __enter__(self) -> GrowingTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; after an interruption keep it."""
        if self._file is None:
            return
        self._file.close()
        if error is None:
            return
        # A disk or a network that fails is reported as an InputError too; then the same input may do next time.
        of_input = isinstance(error, InputError) and not isinstance(error.__cause__, OSError)
        if of_input or not self.num_rows:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        logger.warning(
            "%s: interrupted; the rows of %s sequences are kept in %s, so run again with --resume true to go on",
            self._target,
            f"{self.num_sequences:,}",
            self._folder,
        )


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Raise InputError if an interrupted run had other settings."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    for name, value in json.loads(json.dumps(settings)).items():  # tuples become lists, as they did in the file
        if before.get(name) != value:
            raise InputError(
                f"{path.parent}: the interrupted run had {name} {before.get(name)}, this one has {value}; use the same "
                "again, or leave resume out to begin from the start"
            )


def _complete(path: Path, width: int, several_rows: bool) -> _Done:
    """Find the rows of the sequences that an interrupted run has finished.

    Args:
        path: the rows, with a header.
        width: number of columns.
        several_rows: whether a sequence may have several rows: those of the last one are then left out.
    """
    offset = 0

    def lines() -> Iterator[str]:
        nonlocal offset
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):  # cut off
                    return
                offset += len(line)
                yield line.decode("utf-8")

    # The reader takes exactly the lines that it needs for a row, so after each row `offset` is where it ends.
    reader = csv.reader(lines(), delimiter="\t")
    if next(reader, None) is None:
        return _Done(0, 0, 0)
    done, last = _Done(0, 0, offset), None
    rows = 0
    begin = done  # of the last sequence's rows
    for row in reader:
        if len(row) != width:  # a quoted cell that was cut off
            break
        if row[0] != last:
            last, begin = row[0], done
            done = done._replace(sequences=done.sequences + 1)
        rows += 1
        done = done._replace(rows=rows, offset=offset)
    return begin if several_rows else done
