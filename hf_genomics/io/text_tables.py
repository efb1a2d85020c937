"""Read CSV, TSV and Parquet tables once, every cell as text.

Cells stay text until somebody who knows their meaning reads them, so that a row can be named before pandas turns "NA"
into a number. A large table can be read frame by frame, in memory that does not grow with its rows.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Literal, TypeAlias

import pandas as pd
import pyarrow
import pyarrow.parquet

from ..errors import InputError
from ..sequence import IUPAC, did_you_mean
from .fasta import SEQUENCE_STARTS
from .files import BinaryFile, check_format, input_errors, open_binary

Kind: TypeAlias = Literal["table", "parquet", "sequences"]
#: Given the names of all columns of a table, returns those to read, or raises `missing_column`.
Choice: TypeAlias = Callable[[list[str]], list[str]]

MISSING = {"", "na", "n/a", "nan", "<na>", "null", "none"}  # what a cell without a value may hold, in lower case

_START_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_LETTERS = re.compile(rb"[%sU.*-]*" % IUPAC.encode(), re.IGNORECASE)
_FIRST_ROWS, _MOST_ROWS = 64, 1 << 16  # of a frame, where a table is read frame by frame


def kind_of(path: str | PathLike[str]) -> Kind:
    """Return what a file is by its content: a CSV or TSV table, a Parquet table, or a sequence file.

    Args:
        path: the file, plain or gzipped.

    Raises:
        InputError: if the file cannot be read.
    """
    with input_errors(path), open_binary(path) as file:
        return kind_of_open(file)


def kind_of_open(file: BinaryFile) -> Kind:
    """Return what an open file is, without reading on in it; see `kind_of`.

    Files of formats that nobody reads here (BAM, VCF ...) count as sequence files: their reader names the format.
    """
    start = file.peek(_START_BYTES)
    if start[:4] == b"PAR1":
        return "parquet"
    text = start.removeprefix(_BOM)
    try:
        check_format("", text)
    except InputError:
        return "sequences"
    lines = (line.strip() for line in text.splitlines())
    # FASTA files may begin with comments; in a table only the header may begin with "#", and a row follows it.
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    if first.startswith((*SEQUENCE_STARTS, b";")) or b"\0" in first:
        return "sequences"
    # A line of letters alone is sequence without a header; one word otherwise is the name of a table's only column.
    return "sequences" if _LETTERS.fullmatch(first) else "table"


def cell_texts(path: str | PathLike[str], column: str) -> list[str]:
    """Return a column of a table as it stands; an empty list where it cannot be read."""
    try:
        return read_text_columns(path, [column], [])[column].str.strip().tolist()
    except InputError:
        return []


def missing_column(path: str, column: str, columns: Iterable[str]) -> InputError:
    """Build the error for a column that a table lacks, with the most similar name that it has."""
    columns = list(columns)
    guess = did_you_mean(column, columns, cutoff=0.5)
    return InputError(f"{path}: no column {column!r}{guess} (the columns are {list_names(columns)})")


def list_names(names: Sequence[str], most: int = 8) -> str:
    """Quote the first few names, and count all of them where there are more.

    >>> list_names(["a", "b", "c"], most=2)
    "'a', 'b', ... (3 in all)"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")


def column_names(path: str | PathLike[str]) -> list[str]:
    """Read the names of the columns of a CSV, TSV or Parquet table.

    Raises:
        InputError: if the file is missing, empty or not a table.
    """
    with input_errors(path), open_binary(path) as file:
        if kind_of_open(file) == "parquet":
            with _parquet_errors(path):
                return [str(name) for name in pyarrow.parquet.ParquetFile(file).schema_arrow.names]
        with _csv_errors(path), _open_csv(file, path) as reader:
            return [str(name) for name in reader.get_chunk(0).columns]


def read_text_columns(
    path: str | PathLike[str], needed: Sequence[str], wanted: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read columns of a CSV, TSV or Parquet table as text; a missing cell is the empty text.

    Args:
        path: the table; kind, separator and gzip are recognized by its content.
        needed: columns that the table must have.
        wanted: further columns, read where the table has them; None reads all.

    Raises:
        InputError: if the file is not a table, has no row, or lacks a needed column.
    """

    def choose(present: list[str]) -> list[str]:
        for column in needed:
            if column not in present:
                raise missing_column(str(path), column, present)
        chosen = {*needed, *(present if wanted is None else wanted)}
        return [column for column in present if column in chosen]

    with input_errors(path), open_binary(path) as file:
        [frame] = text_frames(file, path, choose)
    return frame


def text_frames(
    file: BinaryFile, path: str | PathLike[str], choose: Choice, letters: int | None = None
) -> Iterator[pd.DataFrame]:
    """Iterate over the rows of an open table as frames of text, with the chosen columns.

    Args:
        file: CSV, TSV or Parquet.
        path: its path, for error messages.
        choose: returns the columns to read; called once, with the names of all columns.
        letters: about how much text a frame may hold; None reads the whole table into one frame.

    Raises:
        InputError: if the file is not a table, or has no row; what ``choose`` raises.
    """
    rows = 0
    read = _parquet_frames if kind_of_open(file) == "parquet" else _csv_frames
    for frame in read(file, path, choose, letters):
        rows += len(frame)
        yield frame
    if not rows:
        raise InputError(f"{path}: the table has no row below its header; add rows")


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with every cell as text; a missing cell is the empty text."""
    return frame.astype("string").fillna("").astype(object)


def _parquet_frames(
    file: BinaryFile, path: str | PathLike[str], choose: Choice, letters: int | None
) -> Iterator[pd.DataFrame]:
    """Iterate over a Parquet table; columns that are not chosen are not read."""
    with _parquet_errors(path):
        table = pyarrow.parquet.ParquetFile(file)
        schema = table.schema_arrow
    columns = choose([str(name) for name in schema.names])
    for column in columns:
        _refuse_nested(schema.field(column), path)
    with _parquet_errors(path):
        # Batches of a fixed number of rows: the rows of a Parquet file lie in memory by groups anyhow.
        batches = [table.read(columns)] if letters is None else table.iter_batches(1024, columns=columns)
        for batch in batches:
            yield as_text(batch.to_pandas(integer_object_nulls=True))  # or whole numbers beside a gap become 1.0


def _refuse_nested(field: pyarrow.Field, path: str | PathLike[str]) -> None:
    """Raise InputError for lists in cells, which would be read as they are printed, brackets and all."""
    if pyarrow.types.is_nested(field.type):
        raise InputError(
            f"{path}: column {field.name!r} holds {field.type}, not text or numbers; write each cell as one text, "
            "with blanks between its values"
        )


def _csv_frames(
    file: BinaryFile, path: str | PathLike[str], choose: Choice, letters: int | None
) -> Iterator[pd.DataFrame]:
    """Iterate over a CSV or TSV table; frames get as many rows as their text allows."""
    columns: list[str] | None = None
    rows = None if letters is None else _FIRST_ROWS
    with _csv_errors(path), _open_csv(file, path) as reader:
        # get_chunk raises StopIteration behind the last row, but gives a table without rows once.
        while (frame := _next_chunk(reader, rows)) is not None:
            if len(frame) and not isinstance(frame.index, pd.RangeIndex):  # pandas took the first column for an index
                raise InputError(
                    f"{path}: not a well-formed table (rows have more cells than the header); fix its header"
                )
            columns = columns or choose([str(name) for name in frame.columns])
            frame = frame[columns].fillna("")  # cells that a short row lacks
            yield frame
            if letters is None:
                return
            size = sum(int(frame[column].str.len().sum()) for column in columns)
            rows = max(1, min(_MOST_ROWS, letters * len(frame) // max(size, 1)))


def _next_chunk(reader: pd.io.parsers.TextFileReader, rows: int | None) -> pd.DataFrame | None:
    """Read the next rows, or return None behind the last one."""
    try:
        return reader.get_chunk(rows)
    except StopIteration:
        return None


def _open_csv(file: BinaryFile, path: str | PathLike[str]) -> pd.io.parsers.TextFileReader:
    """Start to parse CSV or TSV as text; the separator is a tab when the header line has one."""
    start = file.peek(_START_BYTES)
    if not start.strip():
        raise InputError(f"{path}: the file is empty; give a table with a header row")
    if b"\0" in start:
        raise InputError(f"{path}: this is not text; give CSV, TSV, Parquet, FASTA or FASTQ")
    separator = "\t" if b"\t" in start.splitlines()[0] else ","
    return pd.read_csv(
        file,
        sep=separator,
        dtype=object,
        keep_default_na=False,
        encoding="utf-8-sig",
        low_memory=False,
        iterator=True,
    )


@contextlib.contextmanager
def _csv_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Translate what pandas raises for text that is not a table."""
    try:
        yield
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: not a well-formed table ({text}); fix that row or write the file again") from error


@contextlib.contextmanager
def _parquet_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Translate what pyarrow raises for a damaged file."""
    try:
        yield
    except pyarrow.ArrowException as error:
        raise InputError(f"{path}: damaged Parquet file ({' '.join(str(error).split())}); write it again") from error
