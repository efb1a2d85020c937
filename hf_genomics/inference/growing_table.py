"""A table file that is written row by row, can be continued after an interruption, and appears only when complete.

Until then the rows of ``NAME`` are in the folder ``.NAME.partial`` next to it: ``rows.tsv`` holds the rows, and
``settings.json`` names the model, input and options that they come from. Every row is passed to the operating system
as soon as it is written, so a run that is killed loses at most part of its last row.
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

    Nothing is created before the first row. If the input is wrong (`InputError`), the rows are deleted, because another
    attempt needs another input. After any other exception the rows are kept, and a warning says where.

    Args:
        target: path of the file.
        header: names of the columns; the first column is the id of the sequence.
        settings: everything that the rows depend on, by name: model, input, options.
        resume: continue after the last complete row of an interrupted run.
        several_rows: a sequence may have several rows; a resumed run writes all rows of the last sequence again,
            because some may be missing.

    Attributes:
        num_sequences: number of sequences in the table; when a run is resumed, it can skip as many.
        num_rows: number of rows in the table.

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
        self._last_id: str | None = None
        self.num_sequences = self.num_rows = 0
        if resume and self._rows.is_file():
            check_settings(self._folder / "settings.json", settings)
            self.num_sequences, self.num_rows, offset = _find_progress(self._rows, len(header), several_rows)
            os.truncate(self._rows, offset)
            self._file = self._open()
            logger.info("%s: continuing after %s sequences", target, f"{self.num_sequences:,}")

    def write(self, cells: tuple[object, ...]) -> None:
        """Append a row; numbers are rounded to seven digits, the precision of float32."""
        if cells[0] != self._last_id:  # ids are unique, and the rows of a sequence follow one another
            self._last_id = str(cells[0])
            self.num_sequences += 1
        self.num_rows += 1
        if self._file is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            write_json(self._folder / "settings.json", self._settings)
            self._file = self._open()
        self._writer.writerow([f"{cell:.7g}" if isinstance(cell, float) else cell for cell in cells])

    def finish(self) -> None:
        """Flush the table to disk, move it to its target, and delete the temporary folder.

        Raises:
            ValueError: if no row was written.
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
        """Open the file of rows, and write the header if the file is empty."""
        # Line buffering: the end of each line passes it to the operating system. A line is a row, or part of a row
        # whose id contains a line break.
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
        """Close the file; delete the rows if the input is wrong, keep them after any other exception."""
        if self._file is None:
            return
        self._file.close()
        if error is None:
            return
        # An InputError that an OSError caused comes from a failing disk or network: the same input may work next time.
        input_is_wrong = isinstance(error, InputError) and not isinstance(error.__cause__, OSError)
        if input_is_wrong or not self.num_rows:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        logger.warning(
            "%s: interrupted; the rows of %s sequences are kept in %s, so run again with --resume true to continue",
            self._target,
            f"{self.num_sequences:,}",
            self._folder,
        )


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Raise InputError if an interrupted run had other settings."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    for name, value in json.loads(json.dumps(settings)).items():  # tuples become lists, as they did in the file
        if before.get(name) != value:
            raise InputError(
                f"{path.parent}: the interrupted run had {name} {before.get(name)}, this one has {value}; use the same "
                "again, or omit resume to start from the beginning"
            )


def _find_progress(path: Path, width: int, several_rows: bool) -> _Progress:
    """Find which rows of an interrupted run are complete.

    Args:
        path: file of the rows, with a header.
        width: number of columns.
        several_rows: whether a sequence may have several rows; the rows of the last sequence then do not count, because
            some may be missing.
    """
    offset = 0

    def lines() -> Iterator[str]:
        nonlocal offset
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):  # the run was killed while it wrote this line
                    return
                offset += len(line)
                yield line.decode("utf-8")

    # For each row the reader takes only as many lines as the row has, so `offset` is the end of the row just read.
    reader = csv.reader(lines(), delimiter="\t")
    if next(reader, None) is None:
        return _Progress(0, 0, 0)
    progress, last_id = _Progress(0, 0, offset), None
    before_last = progress  # the progress before the first row of the last sequence
    for rows, row in enumerate(reader, start=1):
        if len(row) != width:  # the run was killed in the middle of an id with a line break
            break
        if row[0] != last_id:
            last_id, before_last = row[0], progress
            progress = progress._replace(sequences=progress.sequences + 1)
        progress = progress._replace(rows=rows, offset=offset)
    return before_last if several_rows else progress
