"""Rules for the records of sequence files, and the metadata and splits that are added to the index of a store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from ..errors import InputError, keep_secret
from ..io.files import shorten
from ..io.text_tables import MISSING, column_names, like_column, log_headings, missing_column, read_text_columns
from ..sequence_files.fasta import Naming, first_word
from .splits import SPLITS, are_shares, check_disjoint, split_genomes

#: What the name of a record is; see `RecordRules`.
RecordNames = Literal["first_word", "header", "numbered", "file"]

INDEX = ("name", "genome", "start", "length")
_ENDINGS = set(  # of sequence files; they are not part of a genome's name
    ".gz .bgz .fa .fna .fasta .fas .ffn .fq .fastq .gb .gbk .gbff .genbank .2bit".split()
)
_PLAIN_INTEGER = r"-?(0|[1-9][0-9]*)"
_NAMES = ("genome", "group", "split")  # columns of names: as numbers, 83332.12 and 83332.120 would be one genome


@dataclass(frozen=True)
class RecordRules:
    """How the records of sequence files are read, and what they are matched with.

    Args:
        metadata_key: column of the metadata table that holds the names of records.
        genome_by: what one genome is: a "record" (complete genomes) or a "file" (drafts of many contigs, chromosomes);
            a column "genome" of the metadata table takes precedence.
        rna: accept RNA and read U as T.
        min_length: shortest record allowed, in nt.
        names: what the name of a record is, which must be unique over all files: the "first_word" of its header; the
            whole "header", with single blanks; "numbered": 1, 2, 3 ... over all files; or "file": the name of the file
            without its endings, a colon and the first word, such as ``draft7:contig_1``.

    Raises:
        InputError: if ``genome_by`` or ``names`` is another word, or ``min_length`` is below 1.
    """

    metadata_key: str = "accession"
    genome_by: Literal["record", "file"] = "record"
    rna: bool = False
    min_length: int = 1
    names: RecordNames = "first_word"

    def __post_init__(self) -> None:
        """Check the values."""
        if self.genome_by not in ("record", "file"):
            raise InputError(f"records: genome_by must be 'record' or 'file', not {self.genome_by!r}")
        if self.min_length < 1:
            raise InputError(f"records: min_length must be at least 1 nt, not {self.min_length}")
        if self.names not in get_args(RecordNames):
            raise InputError(f"records: names must be {', '.join(get_args(RecordNames))}, not {self.names!r}")

    def naming(self, path: str, before: int) -> Naming:
        """Return the function that names the records of a file.

        Args:
            path: the file.
            before: number of records in the files before it.
        """

        def name_of(header: str, number: int) -> str:
            if self.names == "numbered":
                return str(before + number)
            if self.names == "header":
                return " ".join(header.split())
            return (f"{genome_name(path)}:" if self.names == "file" else "") + first_word(header, number)

        return name_of

    def options(self) -> dict[str, Any]:
        """Return the rules as a store records them; names at their default are omitted, as before version 0.2."""
        return {key: value for key, value in asdict(self).items() if (key, value) != ("names", "first_word")}


def genome_name(path: str) -> str:
    """Return the name of the genome in a file: the name of the file without folder and FASTA endings."""
    name = Path(path)
    while name.suffix.lower() in _ENDINGS and name.stem:
        name = name.with_suffix("")
    return name.name


def read_metadata(path: str, key: str) -> pd.DataFrame:
    """Read a metadata table.

    Args:
        path: CSV, TSV, Parquet or Excel table with one row for each record.
        key: column with the names of records.

    Returns:
        The table with record names as its index, columns of numbers as numbers (genome, group and split stay text),
        without columns called name, start or length: the index of a store has its own.

    Raises:
        InputError: if the file is not a table, lacks the column, has a row without a record name, or has two rows for
            one record.
    """
    columns = column_names(path)
    # A column "Genome" may be the key. The key comes last, so that it keeps its own name instead of becoming "genome".
    taken = {like_column(name, columns): name for name in (*_NAMES, key)}
    if like_column(key, columns) not in columns:
        raise missing_column(path, key, columns)
    taken = {column: name for column, name in taken.items() if column in columns}
    log_headings(path, taken)
    table = read_text_columns(path, list(taken.values()))
    keep_secret(text for name in (key, "genome", "group") if name in table for text in table[name])
    table[key] = table[key].str.strip()  # no name of a record begins or ends with a blank
    empty = table[key] == ""
    if empty.any():
        row = int(empty.to_numpy().argmax())
        raise InputError(f"{path}: data row {row + 1}: no {key}; fill the cell or remove the row")
    double = table[key].duplicated()
    if double.any():
        row = int(double.to_numpy().argmax())
        raise InputError(
            f"{path}: data row {row + 1}: {shorten(table[key][row])} has a row already; keep one row for each record"
        )
    table = table.set_index(key)
    return table.drop(columns=[column for column in INDEX if column in table and column != "genome"]).apply(_typed)


def _typed(column: pd.Series) -> pd.Series:
    """Convert a column of text to numbers if all its cells are numbers; empty cells become null.

    Names stay text, and so do codes such as "007" and whole numbers of 19 digits or more, which int64 may not hold.
    """
    filled = column.mask(column.str.strip().str.lower().isin(MISSING), None)
    cells = filled.dropna().str.strip()
    if column.name in _NAMES:
        return filled.str.strip().astype("string")  # "X" and "X " are one group
    if not len(cells) or cells.str.match(r"[+-]?0[0-9]").any():
        return filled.astype("string")
    if cells.str.fullmatch(_PLAIN_INTEGER).all():
        if cells.str.len().max() >= 19:
            return filled.astype("string")
        return pd.to_numeric(filled).astype("int64" if len(cells) == len(column) else "Int64")
    try:
        return pd.to_numeric(filled)
    except ValueError:
        return filled.astype("string")


def join_metadata(contigs: pd.DataFrame, table: pd.DataFrame, path: str) -> pd.DataFrame:
    """Add metadata to the index of a store.

    Args:
        contigs: the index, one row for each contig.
        table: the metadata, with record names as its index.
        path: file of the metadata, for error messages.

    Returns:
        The index with the columns of the metadata; a column "genome" of the metadata replaces its own.

    Raises:
        InputError: if a contig has no row, or an empty cell in a column "genome".
    """
    missing = contigs["name"][~contigs["name"].isin(table.index)]
    if len(missing):
        first = ", ".join(shorten(name) for name in missing[:3])
        raise InputError(
            f"{path}: no row for {len(missing)} of {len(contigs)} records "
            f"({first}{', ...' if len(missing) > 3 else ''}); "
            f"column {table.index.name!r} must hold the names of the records"
        )
    rows = table.loc[contigs["name"]].set_axis(contigs.index)
    if "genome" in rows:
        if rows["genome"].isna().any():
            name = contigs["name"][rows["genome"].isna()].iloc[0]
            raise InputError(f"{path}: record {shorten(name)} has no genome; fill the cell or remove the column")
        contigs = contigs.assign(genome=rows.pop("genome").astype(str).to_numpy())
    return pd.concat([contigs, rows], axis=1)


def with_splits(contigs: pd.DataFrame, shares: list[float] | None, seed: int) -> pd.DataFrame:
    """Add a column "split" to the index of a store if shares are given, and check that splits do not overlap.

    Args:
        contigs: the index with its metadata.
        shares: shares of train, valid and test; None keeps a column "split" of the metadata.
        seed: seed of the split.

    Raises:
        InputError: if shares are given although there is a column "split", shares are invalid, a record has no group, a
            split has an unknown name, or a genome or group is in two splits.
    """
    # Groups (species, clusters) are coarser than genomes: if there are any, they are what is assigned.
    groups = [column for column in ("genome", "group") if column in contigs]
    if shares is not None:
        if "split" in contigs:
            raise InputError("split: the metadata table has a column 'split' already; omit one of them")
        if not are_shares(shares):
            raise InputError(
                f"split: give three shares (train, valid, test) that sum to 1, such as 0.8 0.1 0.1, not {shares}"
            )
        fractions = (shares[0], shares[1], shares[2])
        if (missing := contigs[groups[-1]].isna()).any():
            name = shorten(str(contigs["name"][missing].iloc[0]))
            raise InputError(f"split: record {name} has no {groups[-1]} in the metadata table; fill it in")
        splits = split_genomes(contigs[groups[-1]].astype(str), fractions, seed, contigs["length"])
        contigs = contigs.assign(split=splits)
    if "split" in contigs:
        known = contigs[contigs["split"].notna()]
        other = sorted(set(known["split"].astype(str)) - set(SPLITS))
        if other:
            raise InputError(f"split: the metadata table says {other[0]!r}; splits are called {', '.join(SPLITS)}")
        for column in groups:
            named = known[known[column].notna()]
            check_disjoint(named[column].astype(str).tolist(), named["split"].astype(str).tolist())
    return contigs
