"""Write predictions along contigs: a row per window, and BED, bedGraph and bigWig files for genome browsers.

While a run predicts, its rows are kept in a table (`GrowingTable`): a row per window, or, for a model that classifies
nucleotides, per piece of a contig, with the probabilities of its nucleotides. The files are made of the complete table.
A sequence whose name states a place, such as ``chr1:1000-1200``, is drawn there.
"""

from __future__ import annotations

import base64
import heapq
import importlib.util
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from ..errors import InputError
from ..io.files import shorten
from ..io.genome_tracks import (
    Region,
    Stretch,
    column_of,
    merge_stretches,
    place_of,
    write_bed,
    write_bedgraph,
    write_bigwig,
)
from ..io.streams import is_stream
from ..labelled.task import Task
from .growing_table import read_rows
from .predictions import RUN_COLUMNS, class_runs, sequence_columns
from .problems import ScoredWindow
from .scores import merge_windows
from .windows import Window

TrackFormat: TypeAlias = Literal["bed", "bedgraph", "bigwig"]
_FORMATS: dict[str, TrackFormat] = {
    ".bed": "bed",
    ".bedgraph": "bedgraph",
    ".bg": "bedgraph",
    ".bw": "bigwig",
    ".bigwig": "bigwig",
}
#: Colours of classes in a BED file, which can be distinguished with any colour vision (Okabe and Ito).
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_PIECE = 1 << 13  # nt of a row of nucleotides; the reader of CSV takes cells of at most 128 KiB
_LIKELY = 0.5  # probability from which a BED file of several labels names a label


class WrittenTracks(NamedTuple):
    """Tracks that were written.

    Attributes:
        files: their paths: one for BED, one per class, label or value otherwise.
        num_sequences: number of sequences.
        num_rows: number of windows, or, for a model that classifies nucleotides, of rows of its table.
    """

    files: list[Path]
    num_sequences: int
    num_rows: int


# What is written.


def track_format(path: Path) -> TrackFormat | None:
    """Return the format of tracks that the name of an output asks for, or None for a table."""
    return None if is_stream(path) else _FORMATS.get(path.suffix.lower())


def track_paths(path: Path, kind: TrackFormat, task: Task) -> list[Path]:
    """Return the files that are written: for bedGraph and bigWig one per class, with its name before the suffix.

    >>> task = Task("single_label_classification", ["phage", "a b"])
    >>> [path.name for path in track_paths(Path("x.bw"), "bigwig", task)]
    ['x.phage.bw', 'x.a_b.bw']

    Args:
        path: the output that the user named.
        kind: format of the files.
        task: task of the model.
    """
    if kind == "bed" or task.names is None:
        return [path]
    names = [re.sub(r"[^\w.+-]+", "_", name) for name in task.names]
    if len({name.lower() for name in names}) < len(names):  # some file systems ignore case
        names = [f"{number}_{name}" for number, name in enumerate(names)]
    return [path.with_name(f"{path.stem}.{name}{path.suffix}") for name in names]


def check_along(task: Task, windows: bool, kind: TrackFormat | None) -> None:
    """Check that a model's predictions have places along a contig.

    Args:
        task: task of the model.
        windows: whether a row per window is asked for.
        kind: format of the tracks; None for a table.

    Raises:
        InputError: if they have none, the format cannot hold them, or its package is missing.
    """
    if kind == "bigwig" and importlib.util.find_spec("pyBigWig") is None:
        raise InputError("a bigWig file needs pyBigWig; run: pip install 'hf_genomics[explain]'")
    what = f"a {'bigWig' if kind == 'bigwig' else kind} file" if kind else "windows"
    if task.paired:
        remedy = " and ".join([*["omit windows"] * windows, *["name a .tsv output"] * (kind is not None)])
        raise InputError(f"{what}: {task.source} reads pairs, which have no place along a contig; {remedy}")
    if kind == "bed" and task.problem_type == "regression":
        raise InputError(f"{what}: {task.source} predicts values, and BED holds classes; name a .bedgraph output")
    if windows and not kind and task.level == "nt":
        raise InputError(
            f"{what}: {task.source} classifies nucleotides, and its table has a row per interval of one class; omit "
            "windows, or name a .bedgraph output for all probabilities"
        )


def check_names(windows: Iterable[Window], source: str, needs_lengths: bool) -> Iterator[Window]:
    """Iterate over windows; the names of all sequences are held in memory.

    Args:
        windows: windows of sequences that become tracks.
        source: name of the file, for the error message.
        needs_lengths: whether the lengths of contigs must be known (bigWig).

    Raises:
        InputError: if a sequence has the name of an earlier one; or if it is only a part of a contig whose length must
            be known.
    """
    seen: set[str] = set()
    for _, group in groupby(windows, lambda window: window.sequence_index):
        for number, window in enumerate(group):
            if not number and window.name in seen:
                raise InputError(
                    f"{source}: two sequences are called {shorten(window.name)}, which a track cannot tell apart; "
                    "rename one of them, or name a .tsv output"
                )
            yield window
        seen.add(window.name)
        if needs_lengths and place_of(window.name, window.end).contig != window.name:
            raise InputError(
                f"{source}: {shorten(window.name)} is a part of a contig, whose length a bigWig must state; name a "
                ".bedgraph output, or give the whole contig"
            )


# Rows of the table.


def row_header(task: Task, kind: TrackFormat | None) -> list[str]:
    """Return the columns of the rows of windows, or of pieces of nucleotides.

    Args:
        task: task of the model.
        kind: format of the tracks; None for a table.
    """
    if task.level == "nt":
        return RUN_COLUMNS if kind == "bed" else ["id", "start", "end", *(task.names or [])]
    columns = sequence_columns(task, [], [], np.zeros((0, task.num_labels)))
    return ["id", "start", "end", *(name for name in columns if name not in ("id", "length"))]


def window_rows(task: Task, scored: Iterable[ScoredWindow]) -> Iterator[tuple[Any, ...]]:
    """Iterate over the rows of windows: id, start, end (0-based, half-open), and what the model predicts.

    Args:
        task: task of the model.
        scored: windows and their scores (labels,).
    """
    for window, scores in scored:
        columns = sequence_columns(task, [window.name], [0], scores[None])
        cells = [cell for name, [cell] in columns.items() if name not in ("id", "length")]
        yield window.name, window.start, window.end, *cells


def piece_rows(scored: Iterable[ScoredWindow]) -> Iterator[tuple[Any, ...]]:
    """Iterate over pieces of contigs: id, start, end, and the float32 scores of each class, as base 64.

    Args:
        scored: windows and the scores of their nucleotides (nt, classes).
    """
    for piece in merge_windows(scored):
        for begin in range(0, max(1, len(piece.scores)), _PIECE):
            scores = piece.scores[begin : begin + _PIECE].astype("<f4")
            start = piece.start + begin
            if len(scores) or start == 0:  # `GrowingTable` finds the beginning of a sequence by a row whose start is 0
                cells = (base64.b64encode(column.tobytes()).decode("ascii") for column in scores.T)
                yield piece.name, start, start + len(scores), *cells


def track_rows(task: Task, kind: TrackFormat | None, scored: Iterable[ScoredWindow]) -> Iterator[tuple[Any, ...]]:
    """Iterate over the rows from which tracks, or a table of windows, are made.

    Args:
        task: task of the model.
        kind: format of the tracks; None for a table.
        scored: windows and their scores.
    """
    if task.level == "sequence":
        return window_rows(task, scored)
    return class_runs(merge_windows(scored), task.names or []) if kind == "bed" else piece_rows(scored)


# From rows to tracks.


class _Sequence(NamedTuple):
    """Where a sequence lies, and where its rows are.

    Attributes:
        place: its place; the sequence itself, from 0, if its name states none.
        offset: offset of its first row in the table, in bytes.
        rows: number of its rows.
    """

    place: Region
    offset: int
    rows: int


class _Row(NamedTuple):
    """A row of the table.

    Attributes:
        place: its place in the genome.
        cells: its cells.
        is_reverse: whether its sequence is on the reverse strand.
    """

    place: Region
    cells: list[str]
    is_reverse: bool


class TrackRows:
    """The rows of a complete table, in the order of the genome.

    Args:
        path: file of the rows.
        task: task of the model.
    """

    def __init__(self, path: Path, task: Task) -> None:
        self._path, self._task = path, task
        found = list(_sequences_in(path))
        contigs = {name: number for number, name in enumerate(dict.fromkeys(one.place.contig for one in found))}
        self._sequences = sorted(found, key=lambda one: (contigs[one.place.contig], one.place))

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each contig, as far as there are rows."""
        return {one.place.contig: one.place.end for one in self._sequences if one.place.end}

    def _rows(self) -> Iterator[_Row]:
        """Iterate over all rows by contig and start; sequences that overlap are read side by side."""
        for _, group in groupby(self._sequences, lambda one: one.place.contig):
            yield from _by_start((one.place.start, self._rows_of(one)) for one in group)

    def _rows_of(self, one: _Sequence) -> Iterator[_Row]:
        """Iterate over the rows of a sequence, by start."""
        reverse, place = one.place.strand == "-", one.place
        rows: Iterator[list[str]] = (
            row for (_, row), _ in zip(read_rows(self._path, one.offset), range(one.rows), strict=False)
        )
        if reverse:
            rows = reversed(list(rows))
        for row in rows:
            start, end = int(row[1]), int(row[2])
            if reverse:
                start, end = place.end - end, place.end - start
            else:
                start, end = place.start + start, place.start + end
            yield _Row(Region(place.contig, start, end, place.strand), row, reverse)

    def stretches(self) -> Iterator[Stretch]:
        """Iterate over the scores (nt, classes) of the genome; where two windows overlap, their mean."""
        return merge_stretches(self._stretches())

    def _stretches(self) -> Iterator[Stretch]:
        """Iterate over the scores of rows, which may overlap."""
        for place, row, reverse in self._rows():
            length = place.end - place.start
            if self._task.level == "nt":
                values = np.column_stack([np.frombuffer(base64.b64decode(cell), "<f4") for cell in row[3:]])
                values = values[::-1] if reverse else values
            else:
                scores = [float(cell or "nan") for cell in row[len(row) - self._task.num_labels :]]
                values = np.broadcast_to(np.array(scores), (length, len(scores)))
            if length:
                yield Stretch(place.contig, place.start, values)

    def intervals(self) -> Iterator[tuple[Region, float]]:
        """Iterate over the windows, or runs of nucleotides, with the name of their class and its probability.

        Of several labels, those with a probability of at least 0.5 have a line each.
        """
        names = self._task.names or []
        for place, row, _ in self._rows():
            if self._task.level == "nt":
                found = [(row[3], row[4])]
            elif self._task.labels_by_column:
                likely = zip(names, row[3:], strict=True)
                found = [(name, cell) for name, cell in likely if cell and float(cell) >= _LIKELY]
            else:
                found = [(row[3], row[4 + names.index(row[3])])] if row[3] else []
            for name, cell in found:
                if cell:
                    yield place._replace(name=name), float(cell)


def _by_start(sequences: Iterable[tuple[float, Iterator[_Row]]]) -> Iterator[_Row]:
    """Merge the rows of the sequences of a contig by start.

    Args:
        sequences: start and rows of each sequence, both in ascending order; its rows are not read before its start.
    """
    waiting: list[tuple[int, int, _Row, Iterator[_Row]]] = []  # a heap: start, number, next row, further rows
    end: tuple[float, Iterator[_Row]] = (math.inf, iter(()))
    for number, (start, rows) in enumerate(chain(sequences, [end])):
        while waiting and waiting[0][0] < start:
            _, owner, row, further = waiting[0]
            yield row
            if (following := next(further, None)) is None:
                heapq.heappop(waiting)
            else:
                heapq.heapreplace(waiting, (following.place.start, owner, following, further))
        if (begin := next(rows, None)) is not None:
            heapq.heappush(waiting, (begin.place.start, number, begin, rows))


def _sequences_in(path: Path) -> Iterator[_Sequence]:
    """Iterate over the sequences of a table whose column `start` is 0 in the first row of each."""
    rows = read_rows(path)
    offset, _ = next(rows)  # the header
    name, length, begin, count = "", 0, offset, 0
    for end, row in rows:
        if row[1] == "0" and count:
            yield _Sequence(place_of(name, length), begin, count)
            begin, count = offset, 0
        name, length, count, offset = row[0], int(row[2]), count + 1, end
    if count:
        yield _Sequence(place_of(name, length), begin, count)


def write_tracks(rows: Path, targets: Sequence[Path], kind: TrackFormat, task: Task) -> dict[Path, Path]:
    """Write the tracks of a complete table beside it.

    Args:
        rows: file of the rows.
        targets: where the files will be; see `track_paths`.
        kind: format of the files.
        task: task of the model.

    Returns:
        The files, each with its target.
    """
    table = TrackRows(rows, task)
    written = {rows.with_name(f"{number}{target.suffix}"): target for number, target in enumerate(targets)}
    for number, path in enumerate(written):
        if kind == "bigwig":
            write_bigwig(path, column_of(table.stretches(), number), table.sizes)
            continue
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            if kind == "bed":
                colors = {name: _COLORS[at % len(_COLORS)] for at, name in enumerate(task.names or [])}
                write_bed(file, table.intervals(), colors)
            else:
                write_bedgraph(file, column_of(table.stretches(), number))
    return written
