"""Read CSV, TSV, Parquet and Excel tables once, every cell as text.

Text may be separated by commas, tabs or semicolons, and be UTF-16, as spreadsheets write it. The name of a column is
also found if the table writes it in capitals.

Cells stay text until a caller who knows their meaning converts them: pandas by itself would turn "NA" into NaN, and no
error message could show the text of the cell. A large table can be read as a series of pandas frames with some rows
each, in memory that does not grow with the number of rows.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Any, Literal, NamedTuple, TypeAlias

import pandas as pd
import pyarrow
import pyarrow.parquet

from ..errors import InputError, keep_secret
from ..sequence import did_you_mean
from .files import BinaryFile, input_errors, open_binary, shorten
from .kinds import START_BYTES, decode_start, kind_of_start, require_table

logger = logging.getLogger(__name__)

Kind: TypeAlias = Literal["table", "parquet", "excel", "sequences"]
#: Function that returns the columns to read, given the names of all columns; it may raise `missing_column`.
Choice: TypeAlias = Callable[[list[str]], list[str]]

# Texts of cells without a value, in lower case; the ones with "#" are from spreadsheets.
MISSING = {"", "na", "n/a", "#n/a", "#na", "nan", "<na>", "null", "none"}

_SEQUENCE = re.compile(r"[ACGTUNacgtun ]{6,}(\.\d+)?")  # a sequence in the first row: the header is missing
_RAGGED = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # what pandas says of a line with more cells
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # which Excel writes and reads
_FIRST_ROWS, _MOST_ROWS = 64, 1 << 16  # rows of the first frame, and most rows of a later one


def kind_of(path: str | PathLike[str]) -> Kind:
    """Recognise by its content whether a file is a table (CSV or TSV, Parquet, Excel) or a sequence file.

    Args:
        path: the file, plain or gzipped.

    Raises:
        InputError: if the file cannot be read.
    """
    with input_errors(path), open_binary(path) as file:
        return kind_of_open(file)


def kind_of_open(file: BinaryFile) -> Kind:
    """Recognise the kind of an open file without moving its position; see `kind_of`.

    Kinds that nothing reads (BAM, VCF ...) count as sequence files, whose reader raises an error that names the kind.
    """
    reader = kind_of_start(file.peek(START_BYTES)).reader
    return "sequences" if reader == "nothing" else reader


def cell_texts(path: str | PathLike[str], column: str, header: bool = True) -> list[str]:
    """Return the cells of a column of a table; an empty list if the column cannot be read."""
    try:
        return read_text_columns(path, [column], [], header=header)[column].str.strip().tolist()
    except InputError:
        return []


def missing_column(path: str, column: str, columns: Iterable[str]) -> InputError:
    """Build the error for a column that a table does not have; it suggests what is wrong with the header."""
    columns = list(columns)
    if any(_SEQUENCE.fullmatch(name) for name in columns):
        keep_secret(columns)  # one of them may be the name of a record
        return InputError(
            f"{path}: no column {column!r}, because the first line holds data ({list_names(columns)}); write a line "
            "with the names of the columns above it"
        )
    guess = did_you_mean(column, columns, cutoff=0.5)
    if len(columns) == 1 and (not guess or re.search(r"[\s|:]", columns[0])):
        keep_secret(columns)  # perhaps not a table, but text with the name of a record
        guess = "; columns must be separated by commas, tabs or semicolons"
    return InputError(f"{path}: no column {column!r}{guess} (the columns are {list_names(columns)})")


def like_column(name: str, columns: Iterable[str]) -> str:
    """Return the column of that name, or the only one whose name differs in case or outer blanks; else the name itself.

    Args:
        name: name of the column that is wanted.
        columns: names of all columns.

    >>> like_column("label", ["Sequence", "LABEL"]), like_column("label", ["Label", "LABEL"])
    ('LABEL', 'label')
    """
    columns = list(columns)
    alike = [column for column in columns if column.strip().lower() == name.strip().lower()]
    return name if name in columns or len(alike) != 1 else alike[0]


def log_headings(path: str | PathLike[str], taken: dict[str, str]) -> None:
    """Log which columns were taken although their names differ in case.

    Args:
        path: path of the file.
        taken: name of a column in the file -> name that was wanted.
    """
    for column, name in taken.items():
        if column != name:
            logger.info("%s: column %r is taken for %r", path, column, name)


def choose_columns(names: Sequence[str], choose: Choice, path: str | PathLike[str]) -> list[str]:
    """Return the columns that ``choose`` selects; each must be the only one of its name.

    Args:
        names: names of all columns, in their order.
        choose: function that returns the columns to read.
        path: path of the file, for error messages.

    Raises:
        InputError: naming two columns of one name; also any error that ``choose`` raises.
    """
    columns = choose(list(dict.fromkeys(names)))
    for column in columns:
        places = [place for place, name in enumerate(names, start=1) if name.strip() == column.strip()]
        if len(places) > 1:
            raise InputError(
                f"{path}: columns {places[0]} and {places[1]} are both called {column.strip()!r}; rename or remove one "
                "of them"
            )
    return columns


def list_names(names: Sequence[str], most: int = 8) -> str:
    """List the first few names in quotes and, if there are more, the number of all names.

    >>> list_names(["a", "b", "c"], most=2)
    "'a', 'b', ... (3 in all)"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")


def column_names(path: str | PathLike[str]) -> list[str]:
    """Read the names of the columns of a CSV, TSV, Parquet or Excel table.

    Raises:
        InputError: if the file is missing, empty or not a table.
    """
    with input_errors(path), open_binary(path) as file:
        kind = require_table(path, file.peek(START_BYTES)).reader
        if kind == "excel":
            return _excel_rows(file, path)[0]
        if kind == "parquet":
            with _parquet_errors(path):
                return [str(name) for name in pyarrow.parquet.ParquetFile(file).schema_arrow.names]
        with _csv_errors(path), _open_csv(file, path) as reader:
            return reader.names(reader.rows.get_chunk(0))


def read_text_columns(
    path: str | PathLike[str], needed: Sequence[str], wanted: Sequence[str] | None = None, header: bool = True
) -> pd.DataFrame:
    """Read columns of a CSV, TSV, Parquet or Excel table as text; a missing cell becomes an empty text.

    Args:
        path: the table; its kind, separator and compression are recognised by its content.
        needed: columns that the table must have; see `like_column`. They have these names in the result.
        wanted: further columns, which are read if the table has them; None reads all columns.
        header: as in `text_frames`.

    Raises:
        InputError: if the file is not a table, has no rows, or lacks a needed column.
    """

    def choose(present: list[str]) -> list[str]:
        for name in needed:
            if like_column(name, present) not in present:
                raise missing_column(str(path), name, present)
        taken.update((like_column(name, present), name) for name in (*needed, *(wanted or [])))
        return [column for column in present if wanted is None or column in taken]

    taken: dict[str, str] = {}
    with input_errors(path), open_binary(path) as file:
        [frame] = text_frames(file, path, choose, header=header)
    return frame.rename(columns=taken)


def text_frames(
    file: BinaryFile, path: str | PathLike[str], choose: Choice, letters: int | None = None, *, header: bool = True
) -> Iterator[pd.DataFrame]:
    """Iterate over the rows of an open table as frames of text, with the chosen columns.

    Args:
        file: the open CSV, TSV, Parquet or Excel file.
        path: path of the file, for error messages.
        choose: function that returns the columns to read, given the names of all columns; called once.
        letters: approximate number of characters in the cells of a frame; None reads the whole table into one frame.
        header: whether the first row holds the names of the columns; if not, they are called 1, 2, 3 ... (The columns
            of Parquet always have names.)

    Raises:
        InputError: if the file is not a table, or has no rows; also any error that ``choose`` raises.
    """
    rows = 0
    reader = require_table(path, file.peek(START_BYTES)).reader
    if reader == "parquet":
        frames = _parquet_frames(file, path, choose, letters)
    else:
        frames = (_excel_frames if reader == "excel" else _csv_frames)(file, path, choose, letters, header)
    for frame in frames:
        rows += len(frame)
        yield frame
    if not rows:
        raise InputError(f"{path}: the table has no row below its header; add rows")


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with every cell as text; a missing cell becomes an empty text."""
    return frame.astype("string").fillna("").astype(object)


def _parquet_frames(
    file: BinaryFile, path: str | PathLike[str], choose: Choice, letters: int | None
) -> Iterator[pd.DataFrame]:
    """Iterate over the frames of a Parquet table; only the chosen columns are read."""
    with _parquet_errors(path):
        table = pyarrow.parquet.ParquetFile(file)
        schema = table.schema_arrow
    columns = choose_columns([str(name) for name in schema.names], choose, path)
    for column in columns:
        _reject_nested(schema.field(column), path)
    with _parquet_errors(path):
        # `letters` need not decide on the size of a batch: pyarrow keeps a whole row group in memory in any case.
        batches = [table.read(columns)] if letters is None else table.iter_batches(1024, columns=columns)
        for batch in batches:
            # Without integer_object_nulls, one missing cell would turn the other whole numbers into "1.0", "2.0", ...
            # Without ignore_metadata, a column that pandas wrote as its index would be missing among the columns.
            yield as_text(batch.to_pandas(integer_object_nulls=True, ignore_metadata=True))


def _reject_nested(field: pyarrow.Field, path: str | PathLike[str]) -> None:
    """Raise InputError for a column of lists, whose text would contain brackets and quotes."""
    if pyarrow.types.is_nested(field.type):
        raise InputError(
            f"{path}: column {field.name!r} holds {field.type}, not text or numbers; write each cell as one text, "
            "with blanks between its values"
        )


def _excel_frames(
    file: BinaryFile, path: str | PathLike[str], choose: Choice, letters: int | None, header: bool
) -> Iterator[pd.DataFrame]:
    """Iterate over the frames of an Excel workbook, whose first sheet with rows is the table."""
    names, rows = _excel_rows(file, path, header)
    columns = choose_columns(names, choose, path)
    step = max(1, len(rows)) if letters is None else 1024
    for first in range(0, max(1, len(rows)), step):
        frame = pd.DataFrame(rows[first : first + step], columns=names, dtype=object)
        yield frame[columns]


def _excel_rows(file: BinaryFile, path: str | PathLike[str], header: bool = True) -> tuple[list[str], list[list[str]]]:
    """Read the first sheet of an Excel workbook that has rows; blank rows are skipped.

    Returns:
        Names of the columns, and the cells of each row as text.

    Raises:
        InputError: if the workbook is damaged or empty, or openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise InputError(
            f"{path}: an Excel workbook; to read it: pip install 'hf_genomics[excel]', or save the sheet as CSV (UTF-8)"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles and rules that it does not read
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheets = [(sheet.title, _sheet_rows(sheet)) for sheet in book.worksheets]
        except Exception as error:  # openpyxl has no error of its own for a damaged file
            raise InputError(f"{path}: damaged Excel workbook ({shorten(str(error))}); save it as CSV") from error
    filled = [(title, rows) for title, rows in sheets if rows]
    if not filled:
        raise InputError(f"{path}: the Excel workbook is empty; give a table with a header row")
    title, rows = filled[0]
    names, rows = (rows[0], rows[1:]) if header else (_numbers(max(map(len, rows))), rows)
    if len(filled) > 1:
        logger.info("%s: sheet %r is read, and %s not", path, title, list_names([other for other, _ in filled[1:]]))
    if any(len(row) > len(names) for row in rows):
        raise InputError(f"{path}: sheet {title!r} has rows with more cells than the header; fix its header")
    return names, [row + [""] * (len(names) - len(row)) for row in rows]


def _numbers(count: int) -> list[str]:
    """Return the names of columns without a header: 1, 2, 3 ..."""
    return [str(number) for number in range(1, count + 1)]


def _sheet_rows(sheet: Any) -> list[list[str]]:
    """Return the cells of the rows of a sheet that are not blank, as text, without empty cells at their ends."""
    rows = []
    for cells in sheet.iter_rows(values_only=True):
        texts = ["" if cell is None else str(cell) for cell in cells]
        while texts and not texts[-1].strip():
            texts.pop()
        rows += [texts] if texts else []
    return rows


def _csv_frames(
    file: BinaryFile, path: str | PathLike[str], choose: Choice, letters: int | None, header: bool
) -> Iterator[pd.DataFrame]:
    """Iterate over the frames of a CSV or TSV table, each with about ``letters`` letters of text."""
    columns: list[str] | None = None
    rows = None if letters is None else _FIRST_ROWS
    with _csv_errors(path), _open_csv(file, path, header) as reader:
        # A table without rows gives one frame without rows, so `choose` sees the header in any case.
        while (frame := _next_chunk(reader.rows, rows)) is not None:
            # If rows have more cells than the header, pandas takes their first cells for an index.
            if len(frame) and not isinstance(frame.index, pd.RangeIndex):
                raise InputError(
                    f"{path}: not a well-formed table (rows have more cells than the header); fix its header"
                )
            names = reader.names(frame)
            columns = columns or choose_columns(names, choose, path)
            # A row with fewer cells than the header has missing cells.
            frame = frame.set_axis(names, axis="columns")[columns].fillna("")
            yield frame
            if letters is None:
                return
            # The next frame gets as many rows as would have filled this one with `letters` letters.
            size = sum(int(frame[column].str.len().sum()) for column in columns)
            rows = max(1, min(_MOST_ROWS, letters * len(frame) // max(size, 1)))


def _next_chunk(reader: pd.io.parsers.TextFileReader, rows: int | None) -> pd.DataFrame | None:
    """Read the next rows; return None after the last row."""
    try:
        return reader.get_chunk(rows)
    except StopIteration:
        return None


class _Reader(NamedTuple):
    """An open CSV or TSV table.

    Attributes:
        rows: iterator over its rows.
        header: names of the columns as they stand in the file; None if it has none.
    """

    rows: pd.io.parsers.TextFileReader
    header: list[str] | None

    def __enter__(self) -> _Reader:
        """Return the open table."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the table."""
        self.rows.close()

    def names(self, frame: pd.DataFrame) -> list[str]:
        """Return the names of a frame's columns; pandas has changed those that occur twice, to "label.1"."""
        if self.header is None:
            return _numbers(len(frame.columns))
        if len(self.header) != len(frame.columns):
            return [str(name) for name in frame.columns]
        return [own or str(name) for own, name in zip(self.header, frame.columns, strict=True)]


def _open_csv(file: BinaryFile, path: str | PathLike[str], has_header: bool = True) -> _Reader:
    """Open a CSV or TSV file for reading as text; its first lines show the separator."""
    start = file.peek(START_BYTES)
    encoding = require_table(path, start).encoding
    if b"\0" in start and encoding == "utf-8-sig":
        raise InputError(f"{path}: this is not text; give CSV, TSV, Parquet, FASTA or FASTQ")
    every = re.split(r"\r\n|\r|\n", decode_start(start, encoding))
    lines = [line for line in every if line.strip()]
    stated = _SEPARATOR_LINE.fullmatch(lines[0])
    separator = stated[1] if stated else separator_of(*lines[:2])
    rows = pd.read_csv(
        file,
        sep=separator,
        header=0 if has_header else None,
        skiprows=every.index(lines[0]) + 1 if stated else 0,  # with the blank lines above it
        dtype=object,
        keep_default_na=False,
        encoding=encoding,
        low_memory=False,
        iterator=True,
    )
    if not has_header:
        return _Reader(rows, None)
    header = "\n".join(lines[bool(stated) :])  # with a quoted line end, more than its first line
    return _Reader(rows, next(csv.reader(header.splitlines(keepends=True), delimiter=separator), []))


def separator_of(header: str, row: str = "") -> str:
    """Return the separator of a table: a tab if the header has one, otherwise a semicolon or a comma.

    If the header has both, the separator is the one that cuts header and row into equally many cells.

    Args:
        header: first line of the table.
        row: second line of the table.

    >>> separator_of("sequence;label", "ACGT;0,5"), separator_of("sequence,a;b", "ACGT,1"), separator_of("sequence")
    (';', ',', ',')
    """
    if "\t" in header:
        return "\t"
    cells = {mark: [len(next(csv.reader([line], delimiter=mark), [])) for line in (header, row)] for mark in ",;"}
    if cells[","][0] > 1 and (cells[";"][0] == 1 or cells[";"][0] != cells[";"][1] or cells[","][0] == cells[","][1]):
        return ","
    return ";" if cells[";"][0] > 1 else ","


@contextlib.contextmanager
def _csv_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Turn the errors of pandas for text that is not a table into InputError."""
    try:
        yield
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        text = " ".join(str(error).split())
        if found := _RAGGED.search(text):
            expected, line, saw = map(int, found.groups())
            raise InputError(
                f"{path}: line {line} has {saw} columns, the lines before it {expected}; put a cell that holds a "
                "separator in quotes, or fix the line"
            ) from error
        raise InputError(f"{path}: not a well-formed table ({text}); fix that row or write the file again") from error


@contextlib.contextmanager
def _parquet_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Turn the errors of pyarrow for a damaged file into InputError."""
    try:
        yield
    except pyarrow.ArrowException as error:
        raise InputError(f"{path}: damaged Parquet file ({' '.join(str(error).split())}); write it again") from error
