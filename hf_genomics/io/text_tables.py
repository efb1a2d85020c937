"""Read CSV, TSV and Parquet tables, every cell as text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from os import PathLike

import pandas as pd
import pyarrow
import pyarrow.parquet

from ..errors import InputError
from .files import BinaryFile, input_errors, open_binary

MISSING = {"", "na", "n/a", "nan", "<na>", "null", "none"}


def cell_texts(path: str | PathLike[str], column: str) -> list[str]:
    """Read a column of a table as it stands; nothing where it cannot be read."""
    try:
        return read_text_columns(path, [column], [])[column].str.strip().tolist()
    except InputError:
        return []


def missing_column(path: str, column: str, columns: Iterable[str]) -> InputError:
    """Describe a column that is not there, with the closest one that is."""
    columns = list(columns)
    close = difflib.get_close_matches(column.lower(), [name.lower() for name in columns], 1, cutoff=0.5)
    guess = next((f"; did you mean {name!r}?" for name in columns if close and name.lower() == close[0]), "")
    return InputError(f"{path}: no column {column!r}{guess} (the columns are {_some(columns)})")


def column_names(path: str | PathLike[str]) -> list[str]:
    """Read the names of the columns of a CSV, TSV or Parquet table.

    Raises:
        InputError: if the file is missing, empty or no table.
    """
    with input_errors(path), open_binary(path) as file:
        if _is_parquet(file):
            return [str(name) for name in _parquet(file, path).schema_arrow.names]
        return [str(name) for name in _read_csv(file, path, nrows=0).columns]


def read_text_columns(
    path: str | PathLike[str], needed: Sequence[str], wanted: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read columns of a CSV, TSV or Parquet table as text; a missing cell is the empty text.

    Args:
        path: the table; kind, separator and gzip are told by its content.
        needed: columns that must be there.
        wanted: further columns, read where they are there; None reads all.

    Raises:
        InputError: if the file is no table, has no row, or lacks a needed column.
    """
    present = column_names(path)
    for column in needed:
        if column not in present:
            raise missing_column(str(path), column, present)
    asked = {*needed, *(present if wanted is None else wanted)}
    columns = [column for column in present if column in asked]
    with input_errors(path), open_binary(path) as file:
        if _is_parquet(file):
            table = _parquet(file, path).read(columns)
            _refuse_nested(table.schema, path)
            frame = table.to_pandas().astype("string").fillna("").astype(object)
        else:
            frame = _read_csv(file, path)[columns]
    if not len(frame):
        raise InputError(f"{path}: the table has no row below its header")
    return frame


def _is_parquet(file: BinaryFile) -> bool:
    """Tell Parquet by its magic number."""
    return file.peek(4)[:4] == b"PAR1"


def _parquet(file: BinaryFile, path: str | PathLike[str]) -> pyarrow.parquet.ParquetFile:
    """Open a Parquet file."""
    try:
        return pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowException as error:
        raise InputError(f"{path}: damaged Parquet file ({' '.join(str(error).split())}); write it again") from error


def _refuse_nested(schema: pyarrow.Schema, path: str | PathLike[str]) -> None:
    """Refuse lists in cells, which would be read as they are printed, brackets and all."""
    for field in schema:
        if pyarrow.types.is_nested(field.type):
            raise InputError(
                f"{path}: column {field.name!r} holds {field.type}, not text or numbers; write each cell as one text, "
                "with blanks between its values"
            )


def _read_csv(file: BinaryFile, path: str | PathLike[str], **options: object) -> pd.DataFrame:
    """Let pandas parse CSV or TSV as text; the separator is a tab when the header line has one."""
    start = file.peek(1 << 16)
    if not start.strip():
        raise InputError(f"{path}: the file is empty; give a table with a header row")
    header = start.splitlines()[0]
    if b"\0" in start:
        raise InputError(f"{path}: this is no text; give CSV, TSV, Parquet, FASTA or FASTQ")
    separator = "\t" if b"\t" in header else ","
    try:
        frame = pd.read_csv(
            file, sep=separator, dtype=object, keep_default_na=False, encoding="utf-8-sig", low_memory=False, **options
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: not a well-formed table ({text}); mend that row or write the file again") from error
    if len(frame) and not isinstance(frame.index, pd.RangeIndex):  # pandas took the first column for an index
        raise InputError(f"{path}: not a well-formed table (rows have more cells than the header); mend its header")
    return frame.fillna("")  # cells that a short row lacks


def _some(names: Sequence[str], most: int = 8) -> str:
    """List the first few names."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")
