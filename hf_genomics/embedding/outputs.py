"""Write vectors as Parquet or npy.

During a run, vectors are written to a text table, which an interrupted run continues: one row for each vector, whose
last cell holds the numbers. The files that the user asked for are made from this table at the end.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..inference.growing_table import read_rows
from .vectors import Embedded, Pooling

_CHUNK = 4096  # number of vectors in memory at a time
#: Columns that say what a vector stands for, by pooling. A whole sequence starts at 0, so its length is `Embedded.end`.
HEADERS = {"mean": ["id", "length"], "cls": ["id", "length"], "tokens": ["id", "start", "end"]}


def output_files(path: Path) -> list[Path]:
    """Return the files of an output: a Parquet file; or an npy file, and a table of its rows.

    Args:
        path: the output that the user named.

    Raises:
        InputError: if its name ends in neither .parquet nor .npy.
    """
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".npy"):
        raise InputError(f"{path}: vectors are written as .parquet or .npy; end the name of output in one of them")
    return [path] if suffix == ".parquet" else [path, path.with_suffix(".rows.tsv")]


def row_of(one: Embedded, pooling: Pooling) -> tuple[object, ...]:
    """Return the row of a vector in the table of a run: what it stands for, and its float32 numbers as base 64."""
    places = (one.start, one.end) if pooling == "tokens" else (one.end,)
    return one.name, *places, base64.b64encode(one.vector.astype("<f4").tobytes()).decode("ascii")


def read_vectors(run_table: Path) -> Iterator[tuple[list[list[str]], np.ndarray]]:
    """Iterate over the table of a run in chunks: cells without the vectors, and vectors, float32 (rows, hidden).

    Args:
        run_table: the complete table.
    """
    table = (row for _, row in read_rows(run_table))
    next(table)  # the header
    while chunk := list(islice(table, _CHUNK)):
        vectors = np.frombuffer(b"".join(base64.b64decode(row[-1]) for row in chunk), "<f4")
        yield [row[:-1] for row in chunk], vectors.reshape(len(chunk), -1)


def write_vectors(run_table: Path, targets: list[Path], pooling: Pooling, shape: tuple[int, int]) -> dict[Path, Path]:
    """Convert the complete table of a run to the files of an output, under temporary names in the table's folder.

    Args:
        run_table: the complete table.
        targets: the files, as from `output_files`.
        pooling: kind of the vectors.
        shape: number of vectors, and number of features of a vector.

    Returns:
        Temporary file -> its target; the caller moves them.
    """
    written = {run_table.with_name(f"output{''.join(target.suffixes[-2:])}"): target for target in targets}
    if len(targets) == 1:
        _write_parquet(next(iter(written)), run_table, HEADERS[pooling])
    else:
        array, row_names = written
        _write_npy(array, row_names, run_table, HEADERS[pooling], shape)
    return written


def _write_parquet(path: Path, run_table: Path, header: list[str]) -> None:
    """Write the columns of ``header`` and the vectors as lists; null for a row without a vector, which is all NaN.

    Not as lists of a fixed size: pyarrow 25 and older cannot read those with nulls.
    """
    fields = [(name, pa.string() if name == "id" else pa.int64()) for name in header]
    schema = pa.schema([*fields, ("embedding", pa.list_(pa.float32()))])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for cells, vectors in read_vectors(run_table):
            columns = [
                pa.array(column if name == "id" else [*map(int, column)], arrow_type)
                for (name, arrow_type), column in zip(fields, zip(*cells, strict=True), strict=True)
            ]
            missing = np.isnan(vectors).all(1)
            ends = np.cumsum(np.where(missing, 0, vectors.shape[1]), dtype=np.int32)
            flat = pa.array(vectors[~missing].reshape(-1))
            lists = pa.ListArray.from_arrays(pa.array(np.append(np.int32(0), ends)), flat, mask=pa.array(missing))
            writer.write_table(pa.Table.from_arrays([*columns, lists], schema=schema))


def _write_npy(path: Path, row_names: Path, run_table: Path, header: list[str], shape: tuple[int, int]) -> None:
    """Write an array, float32 (rows, hidden), NaN for a row without a vector; and a table of what each row is."""
    with open(path, "wb") as file, open(row_names, "w", encoding="utf-8", newline="") as table:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        table.write("\t".join(header) + "\n")
        for cells, vectors in read_vectors(run_table):
            file.write(vectors.tobytes())
            table.writelines("\t".join(map(_on_a_line, row)) + "\n" for row in cells)


def _on_a_line(cell: str) -> str:
    """Return a cell without tabs and line breaks."""
    return re.sub(r"[\t\r\n]", " ", cell)
