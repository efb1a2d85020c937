"""The genome store: all contigs of a data set in one memory-mapped file of letters, with an index beside it.

A store is a folder: ``letters.bin`` (uint8 ASCII, contig after contig, soft masking and N kept), ``contigs.parquet``
(name, genome, start, length, then the columns of a metadata table) and ``store.json`` (format, inputs with sha256,
options, size). It is written to a temporary folder beside its place and renamed, so a store is whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..errors import InputError
from .fasta import Record, input_errors, read_records, shorten
from .packing import gather_bytes
from .splits import SPLITS, check_disjoint, split_genomes
from .tables import MISSING, column_names, missing_column, read_text_columns

logger = logging.getLogger(__name__)

FORMAT = 1
_INDEX = ("name", "genome", "start", "length")
_FILES = {"letters.bin", "contigs.parquet", "store.json"}
_PLAIN_INTEGER = r"-?(0|[1-9][0-9]*)"
_ENDINGS = {".gz", ".bgz", ".fa", ".fna", ".fasta", ".fas", ".ffn", ".fq", ".fastq"}


class GenomeStore:
    """The contigs of a store, read from disk as they are asked for; it pickles as its path.

    Attributes:
        path: the folder.
        info: what ``store.json`` says: format, inputs, options, total_nt.
        letters: (total_nt,) uint8 ASCII, a read-only memory map.
        contigs: one row per contig: name, genome, start, length (nt), and the columns of the metadata table.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Open a store.

        Raises:
            InputError: if there is none at ``path``, it is damaged, or of another format version.
        """
        self.path = Path(path)
        self.info = _read_info(self.path)
        try:
            self.contigs = pd.read_parquet(self.path / "contigs.parquet")
            self.letters = np.memmap(self.path / "letters.bin", np.uint8, mode="r")
        except (OSError, ValueError) as error:  # a damaged Parquet file and an empty map are both ValueErrors
            raise InputError(f"{path}: damaged store ({' '.join(str(error).split())}); prepare it again") from error
        total = self.info["total_nt"]
        if len(self.letters) != total or self.contigs["length"].sum() != total:
            raise InputError(
                f"{path}: damaged store: letters.bin has {len(self.letters)} nt, contigs.parquet "
                f"{self.contigs['length'].sum()}, store.json {total}; prepare it again"
            )
        self._plain = np.asarray(self.letters)  # slices of a memmap are slow, slices of an array are not
        self._starts = self.contigs["start"].to_numpy()
        self._lengths = self.contigs["length"].to_numpy()

    @property
    def total_nt(self) -> int:
        """Nucleotides in all contigs."""
        return len(self.letters)

    def window(self, contig: int, start: int, length: int) -> np.ndarray:
        """View a stretch of a contig.

        Args:
            contig: row in `contigs`.
            start: first nt, 0-based.
            length: nt.

        Returns:
            (length,) uint8 letters, read-only, without a copy.

        Raises:
            IndexError: if the stretch is not inside the contig.
        """
        if start < 0 or length < 0 or start + length > self._lengths[contig]:
            raise IndexError(
                f"[{start}, {start + length}) is not inside contig {contig} of {self._lengths[contig]} nt; "
                "windows are 0-based and half-open"
            )
        first = self._starts[contig] + start
        return self._plain[first : first + length]

    def gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Join the letters of many windows, in one call that costs far less per window than `window`.

        Args:
            starts: (rows,) int64, first nt of each window in the store: a contig's ``start`` plus the place in it.
            lengths: (rows,) int64, nt of each window. That a window ends where its contig ends is up to the caller.

        Returns:
            (sum of lengths,) uint8 letters, window after window, a fresh array; with windows of one length,
            ``.reshape(rows, length)`` has a row for each.

        Raises:
            IndexError: if a window is not inside the store.
        """
        starts, lengths = np.asarray(starts, np.int64), np.asarray(lengths, np.int64)
        outside = (starts < 0) | (lengths < 0) | (starts + lengths > self.total_nt)
        if outside.any():
            row = int(outside.argmax())
            raise IndexError(
                f"window {row}: [{starts[row]}, {starts[row] + lengths[row]}) is not inside the store of "
                f"{self.total_nt} nt; windows are 0-based and half-open"
            )
        return gather_bytes(self._plain, starts, lengths)

    def select(self, split: str | None = None) -> np.ndarray:
        """Return the rows (int64) of the contigs of a split, or of all contigs.

        Raises:
            InputError: if the store has no column ``split``, or no contig is in ``split``.
        """
        if split is None:
            return np.arange(len(self.contigs))
        if "split" not in self.contigs:
            raise InputError(
                f"{self.path}: the store has no column 'split'; prepare it with a metadata table that has one"
            )
        rows = np.flatnonzero(self.contigs["split"].astype("string").eq(split).fillna(False))
        if not len(rows):
            there = ", ".join(repr(name) for name in sorted(self.contigs["split"].dropna().astype(str).unique()))
            raise InputError(f"{self.path}: no contig is in split {split!r}; the splits are {there}")
        return rows

    def __len__(self) -> int:
        """Count the contigs."""
        return len(self.contigs)

    def __repr__(self) -> str:
        """Say where it is and how much it holds."""
        return f"GenomeStore({str(self.path)!r}): {len(self)} contigs, {self.total_nt:,} nt"

    def __reduce__(self) -> tuple[type[GenomeStore], tuple[str]]:
        """Pickle the path alone; the other side maps the file again."""
        return GenomeStore, (str(self.path),)


def prepare(
    fasta: list[str],
    output_dir: str,
    metadata: str | None = None,
    metadata_key: str = "accession",
    genome_by: Literal["record", "file"] = "record",
    rna: bool = False,
    min_length: int = 1,
    split: list[float] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> GenomeStore:
    """Turn FASTA files into a genome store, the form in which training reads DNA.

    Every letter is checked on the way. Nothing is done when the store is there already, made from the same content
    with the same options.

    Args:
        fasta: FASTA or FASTQ files, plain or gzipped; record names must be unique over all of them.
        output_dir: folder to write; it appears when it is complete.
        metadata: CSV, TSV or Parquet table with a row for every record; its columns (label, split, group) are kept.
        metadata_key: column of the metadata table that holds the record names (first word of the FASTA header).
        genome_by: a genome is a "record" (complete genomes) or a "file" (drafts of many contigs, chromosomes); a column
            "genome" of the metadata table goes before.
        rna: accept RNA and store U as T.
        min_length: shortest record allowed, in nt.
        split: shares of train, valid and test by nt, such as 0.8 0.1 0.1: genomes (or, where the metadata table has
            them, groups) are dealt out whole; leave it away where the metadata table has a column "split".
        seed: another seed, another split.
        overwrite: replace a store made from other inputs or with other options.

    Returns:
        The store, opened.

    Raises:
        InputError: if an input is not what it should be, or something else is in the way at ``output_dir``.
    """
    target = Path(output_dir)
    options = {"metadata_key": metadata_key, "genome_by": genome_by, "rna": rna, "min_length": min_length}
    options |= {} if split is None else {"split": split, "seed": seed}
    check_files(fasta, genome_by)
    info = {"format": FORMAT, "inputs": _fingerprints(fasta), "metadata": None, "options": options}
    if metadata is not None:
        info["metadata"] = _fingerprints([metadata])[0]
    if _is_up_to_date(target, info, overwrite):
        logger.info("%s: unchanged", target)
        return GenomeStore(target)
    table = None if metadata is None else read_metadata(metadata, metadata_key)
    try:
        with replacing(target) as folder:
            contigs = _write_letters(folder / "letters.bin", fasta, genome_by, rna, min_length)
            if table is not None:
                contigs = join_metadata(contigs, table, str(metadata))
            contigs = with_splits(contigs, split, seed)
            _write_index(folder, contigs, info)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error
    store = GenomeStore(target)
    logger.info("%r", store)
    return store


def with_splits(contigs: pd.DataFrame, shares: list[float] | None, seed: int) -> pd.DataFrame:
    """Deal genomes or groups to splits where asked, and make sure that none is on two sides."""
    groups = [column for column in ("genome", "group") if column in contigs]
    if shares is not None:
        if "split" in contigs:
            raise InputError("split: the metadata table has a column 'split' already; leave one of them away")
        if len(shares) != 3:
            raise InputError(f"split: give three shares (train, valid, test), such as 0.8 0.1 0.1, not {shares}")
        fractions = (shares[0], shares[1], shares[2])
        sides = split_genomes(contigs[groups[-1]].astype(str), fractions, seed, contigs["length"])
        contigs = contigs.assign(split=sides)
    if "split" in contigs:
        known = contigs[contigs["split"].notna()]
        other = sorted(set(known["split"].astype(str)) - set(SPLITS))
        if other:
            raise InputError(f"split: the metadata table says {other[0]!r}; splits are called {', '.join(SPLITS)}")
        for column in groups:
            named = known[known[column].notna()]
            check_disjoint(named[column].astype(str).tolist(), named["split"].astype(str).tolist())
    return contigs


def check_files(fasta: list[str], genome_by: str) -> None:
    """Refuse no files, a file given twice, and two files that would make one genome."""
    if not fasta:
        raise InputError("fasta: no file given; name at least one FASTA file")
    if genome_by not in ("record", "file"):
        raise InputError(f"genome_by {genome_by!r} must be 'record' or 'file'")
    seen: dict[str, str] = {}
    for path in fasta:
        key = genome_name(path) if genome_by == "file" else os.path.abspath(path)
        if key in seen:
            raise InputError(f"{path}: same genome as {seen[key]}; give a file once, and files different names")
        seen[key] = path


def genome_name(path: str) -> str:
    """Name the genome of a file: the file's name without folder and FASTA endings."""
    name = Path(path)
    while name.suffix.lower() in _ENDINGS and name.stem:
        name = name.with_suffix("")
    return name.name


def _fingerprints(paths: list[str]) -> list[dict[str, str]]:
    """Name and hash files, as they are on disk; where they lie does not matter."""
    found = []
    for path in paths:
        digest = hashlib.sha256()
        with input_errors(path), open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        found.append({"file": Path(path).name, "sha256": digest.hexdigest()})
    return found


def _is_up_to_date(target: Path, info: dict[str, Any], overwrite: bool) -> bool:
    """Tell whether ``target`` holds this very store.

    Raises:
        InputError: if something else is there that may not be replaced.
    """
    if not os.path.lexists(target):
        return False
    if not (target / "store.json").is_file() or not {entry.name for entry in target.iterdir()} <= _FILES:
        raise InputError(f"{target}: exists and is not just a genome store; choose another output_dir or move it away")
    try:
        there = GenomeStore(target).info
    except InputError:
        if overwrite:
            return False
        raise
    if all(there.get(key) == value for key, value in info.items()):
        return True
    if not overwrite:
        changed = ", ".join(key for key, value in info.items() if there.get(key) != value)
        raise InputError(
            f"{target}: holds a store with other content ({changed} differ); set overwrite: true to replace it, "
            "or choose another output_dir"
        )
    return False


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Offer a temporary folder beside ``target``, and put it in its place when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        yield folder
        os.chmod(folder, 0o777 & ~_umask())  # mkdtemp's folder is for its owner alone
        _sync(folder)
        _swap(folder, target)
        _sync(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, target: Path) -> None:
    """Rename ``folder`` to ``target``; what was there goes away only after that."""
    if not target.exists():
        os.rename(folder, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    os.rename(target, old / target.name)
    try:
        os.rename(folder, target)
    except BaseException:
        os.rename(old / target.name, target)
        os.rmdir(old)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    """Read the umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    """Flush a file or folder to disk, where the system can."""
    with contextlib.suppress(PermissionError):  # Windows cannot open folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_letters(path: Path, fasta: list[str], genome_by: str, rna: bool, min_length: int) -> pd.DataFrame:
    """Stream all records into ``path`` and return their index."""
    names, genomes, lengths = [], [], []
    with open(path, "wb") as file:
        for source, record in _progress(_all_records(fasta, rna, min_length)):
            file.write(record.letters.data)
            names.append(record.name)
            genomes.append(genome_name(source) if genome_by == "file" else record.name)
            lengths.append(len(record.letters))
    _sync(path)
    length = np.array(lengths, np.int64)
    return pd.DataFrame({"name": names, "genome": genomes, "start": np.cumsum(length) - length, "length": length})


def _all_records(fasta: list[str], rna: bool, min_length: int) -> Iterator[tuple[str, Record]]:
    """Yield (file, record) over all files; a name may occur once."""
    seen: dict[str, str] = {}
    for path in fasta:
        for record in read_records(path, rna=rna, min_length=min_length):
            check_unique(record.name, path, seen)
            yield path, record


def check_unique(name: str, path: str, seen: dict[str, str]) -> None:
    """Refuse a record that another file has under the same name; ``seen`` maps names to files and grows.

    Raises:
        InputError: naming both files.
    """
    if seen.setdefault(name, path) != path:
        raise InputError(f"{path}: record {shorten(name)} is in {seen[name]} too; rename or drop one of them")


def _progress(records: Iterator[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
    """Show the nt read so far on a screen, when information is wanted."""
    quiet = not logger.isEnabledFor(logging.INFO)
    with tqdm(unit="nt", unit_scale=True, desc="prepare", disable=quiet or None) as bar:
        for path, record in records:
            yield path, record
            bar.update(len(record.letters))


def read_metadata(path: str, key: str) -> pd.DataFrame:
    """Read a metadata table, one row per record name; name, start and length are the index's own and are left out."""
    if key not in (columns := column_names(path)):
        raise missing_column(path, key, columns)
    table = read_text_columns(path, [key])
    double = table[key].duplicated()
    if double.any():
        row = int(double.to_numpy().argmax())
        raise InputError(
            f"{path}: data row {row + 1}: {shorten(table[key][row])} has a row already; give one row for each record"
        )
    table = table.set_index(key)
    return table.drop(columns=[column for column in _INDEX if column in table and column != "genome"]).apply(_typed)


def _typed(column: pd.Series) -> pd.Series:
    """Make a column of text one of numbers where all its cells are; missing cells become null, "007" stays text."""
    filled = column.mask(column.str.strip().str.lower().isin(MISSING), None)
    cells = filled.dropna().str.strip()
    if not len(cells) or cells.str.match(r"[+-]?0[0-9]").any():
        return filled.astype("string")
    if cells.str.fullmatch(_PLAIN_INTEGER).all() and cells.str.len().max() < 19:
        return pd.to_numeric(filled).astype("int64" if len(cells) == len(column) else "Int64")
    try:
        return pd.to_numeric(filled)
    except ValueError:
        return filled.astype("string")


def join_metadata(contigs: pd.DataFrame, table: pd.DataFrame, path: str) -> pd.DataFrame:
    """Put the metadata beside the index, in its order."""
    missing = contigs["name"][~contigs["name"].isin(table.index)]
    if len(missing):
        first = ", ".join(shorten(name) for name in missing[:3])
        raise InputError(
            f"{path}: no row for {len(missing)} of {len(contigs)} records "
            f"({first}{', ...' if len(missing) > 3 else ''}); "
            f"column {table.index.name!r} must hold the first word of their headers"
        )
    rows = table.loc[contigs["name"]].reset_index(drop=True)
    if "genome" in rows:
        if rows["genome"].isna().any():
            name = contigs["name"][rows["genome"].isna()].iloc[0]
            raise InputError(f"{path}: record {shorten(name)} has no genome; fill the column or leave it away")
        contigs = contigs.assign(genome=rows.pop("genome").astype(str).to_numpy())
    return pd.concat([contigs, rows], axis=1)


def _write_index(folder: Path, contigs: pd.DataFrame, info: dict[str, Any]) -> None:
    """Write ``contigs.parquet`` and ``store.json``."""
    contigs.to_parquet(folder / "contigs.parquet", index=False)
    info = {**info, "total_nt": int(contigs["length"].sum())}
    (folder / "store.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    _sync(folder / "contigs.parquet")
    _sync(folder / "store.json")


def _read_info(path: Path) -> dict[str, Any]:
    """Read ``store.json`` and check its format."""
    try:
        info = json.loads((path / "store.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no genome store here; make one with `hf-genomics prepare`") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged store: store.json cannot be read ({error}); prepare it again") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT or not isinstance(info.get("total_nt"), int):
        found = info.get("format") if isinstance(info, dict) else None
        raise InputError(f"{path}: store format {found} is not {FORMAT}; prepare it again with overwrite: true")
    return info
