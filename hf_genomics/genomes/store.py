"""The genome store: all contigs of a data set in memory-mapped files of letters, with an index beside them.

A store is a folder: the letters (contig after contig, soft masking, N and IUPAC codes kept; see letters.py),
``contigs.parquet`` (name, genome, start, length, then the columns of a metadata table) and ``store.json`` (format,
storage, inputs with sha256, options, size and sha256 of the other files). A store is whole or not there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..errors import InputError
from ..io.fasta import Piece, read_pieces
from ..io.files import input_errors, shorten
from ..io.writing import HashedFile, replacing
from ..renamed import renamed
from .letters import Storage, open_letters, write_letters
from .metadata import RecordRules, join_metadata, read_metadata, with_splits

logger = logging.getLogger(__name__)

FORMAT = 2
_FILES = {"letters.bin", "codes.bin", "changes.bin", "contigs.parquet", "store.json"}
_ENDINGS = set(".gz .bgz .fa .fna .fasta .fas .ffn .fq .fastq .gb .gbk .gbff .genbank .2bit".split())


class GenomeStore:
    """The contigs of a store, read from disk as they are asked for; it pickles as its path.

    Attributes:
        path: the folder.
        info: what ``store.json`` says: format, storage, inputs, options, total_nt, files.
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
            self._check_files()
            self.contigs = pd.read_parquet(self.path / "contigs.parquet")
            self._letters = open_letters(self.path, self.info["storage"], self.total_nt)
        except InputError:
            raise
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:  # store.json may say anything
            raise self._damaged(" ".join(str(error).split())) from error
        self._starts = self.contigs["start"].to_numpy()
        self._lengths = self.contigs["length"].to_numpy()
        if self._lengths.sum() != self.total_nt:
            raise self._damaged(f"store.json says {self.total_nt} nt, contigs.parquet {self._lengths.sum()}")

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self.path}: damaged store ({what}); prepare it again with overwrite: true")

    def _check_files(self) -> None:
        """Compare the sizes of all files, and the bytes of the index, with what was written."""
        for name, facts in self.info["files"].items():
            if (size := (self.path / name).stat().st_size) != facts["bytes"]:
                raise self._damaged(f"{name} has {size} bytes, not {facts['bytes']}")
        self._check_hash("contigs.parquet")

    def _check_hash(self, name: str) -> None:
        if _sha256(self.path / name) != self.info["files"][name].get("sha256"):
            raise self._damaged(f"{name} is not what was written")

    def verify(self) -> None:
        """Compare all bytes with what was written; opening a store looks at sizes, and at the bytes of the index.

        Raises:
            InputError: naming the file that has changed.
        """
        for name in self.info["files"]:
            self._check_hash(name)

    @property
    def total_nt(self) -> int:
        """Nucleotides in all contigs."""
        return self.info["total_nt"]

    @property
    def letters(self) -> np.ndarray:
        """All letters, (total_nt,) uint8, read-only: a memory map; of a store packed in 2 bits a copy in memory."""
        return self._letters.window(0, self.total_nt)

    def window(self, contig: int, start: int, length: int) -> np.ndarray:
        """View a stretch of a contig.

        Args:
            contig: row in `contigs`.
            start: first nt, 0-based.
            length: nt.

        Returns:
            (length,) uint8 letters, read-only; without a copy where the store has a byte for each.

        Raises:
            IndexError: if the stretch is not inside the contig.
        """
        if start < 0 or length < 0 or start + length > self._lengths[contig]:
            raise IndexError(
                f"[{start}, {start + length}) is not inside contig {contig} of {self._lengths[contig]} nt; "
                "windows are 0-based and half-open"
            )
        return self._letters.window(int(self._starts[contig]) + start, length)

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
        return self._letters.gather(starts, lengths)

    def select(self, split: str | None = None) -> np.ndarray:
        """Return the rows (int64) of the contigs of a split, or of all contigs.

        Raises:
            InputError: if the store has no column ``split``, or no contig is in ``split``.
        """
        if split is None:
            return np.arange(len(self.contigs))
        if "split" not in self.contigs:
            raise InputError(
                f"{self.path}: the store has no column 'split'; prepare it with a metadata table that has one, or with "
                "shares such as --split 0.8 0.1 0.1"
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


@renamed(
    packing="storage",
    metadata_key="records.metadata_key",
    genome_by="records.genome_by",
    rna="records.rna",
    min_length="records.min_length",
)
def prepare(
    fasta: list[str],
    output_dir: str,
    metadata: str | None = None,
    records: RecordRules = RecordRules(),  # noqa: B008 (frozen)
    split: list[float] | None = None,
    seed: int = 0,
    storage: Storage = "8bit",
    overwrite: bool = False,
) -> GenomeStore:
    """Turn sequence files into a genome store, the form in which training reads DNA.

    Every letter is checked on the way; each file is read once, in memory that does not grow with it. Nothing is done
    if the store already exists, is complete, and was made from the same content with the same options.

    Args:
        fasta: FASTA, FASTQ, GenBank or 2bit files, plain, gzip or bgzip; record names must be unique over all of them.
        output_dir: folder to write; it appears when it is complete.
        metadata: CSV, TSV or Parquet table with a row for every record; its columns (label, split, group) are kept.
        records: how records are read and matched with the metadata table.
        split: shares of train, valid and test by nt, such as 0.8 0.1 0.1: whole genomes (or, where the metadata table
            has a column "group", whole groups) are assigned; omit it if the metadata table has a column "split".
        seed: seed of the split.
        storage: "8bit" keeps a byte for each nucleotide, "2bit" is about four times smaller on disk and somewhat
            slower to read; both return the same letters, soft masking, N and IUPAC codes included.
        overwrite: replace a store made from other inputs or with other options.

    Returns:
        The store, opened.

    Raises:
        InputError: if an input is invalid, or ``output_dir`` holds something else.
    """
    target = Path(output_dir)
    options = dataclasses.asdict(records) | ({} if split is None else {"split": split, "seed": seed})
    check_files(fasta, records.genome_by)
    if storage not in get_args(Storage):
        raise InputError(f"storage must be '8bit' or '2bit', not {storage!r}")
    info = {"format": FORMAT, "storage": storage, "metadata": _fingerprint(metadata), "options": options}
    if _is_up_to_date(target, info, fasta, overwrite):
        logger.info("%s: unchanged", target)
        return GenomeStore(target)
    for path in fasta:  # rather now than when half of them are read
        with input_errors(path), open(path, "rb"):
            pass
    table = None if metadata is None else read_metadata(metadata, records.metadata_key)
    try:
        with replacing(target) as folder:
            contigs, inputs, files = _write_contigs(folder, storage, fasta, records)
            if table is not None:
                contigs = join_metadata(contigs, table, str(metadata))
            contigs = with_splits(contigs, split, seed)
            _write_index(folder, contigs, {**info, "inputs": inputs, "files": files})
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error
    store = GenomeStore(target)
    logger.info("%r", store)
    return store


def check_files(fasta: list[str], genome_by: str) -> None:
    """Refuse no files, a file given twice, and two files that would make one genome."""
    if not fasta:
        raise InputError("fasta: no file given; name at least one FASTA file")
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


def _fingerprint(path: str | None) -> dict[str, str] | None:
    """Name and hash a file, as it is on disk; where it lies does not matter."""
    if path is None:
        return None
    with input_errors(path):
        return {"file": Path(path).name, "sha256": _sha256(Path(path))}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _is_up_to_date(target: Path, info: dict[str, Any], fasta: list[str], overwrite: bool) -> bool:
    """Tell whether ``target`` holds this very store.

    Raises:
        InputError: if something else is there that may not be replaced.
    """
    if not os.path.lexists(target):
        return False
    if not (target / "store.json").is_file() or not {entry.name for entry in target.iterdir()} <= _FILES:
        raise InputError(f"{target}: exists and is not just a genome store; choose another output_dir or move it away")
    wanted = {**info, "inputs": [_fingerprint(path) for path in fasta]}
    try:
        there = GenomeStore(target)
        there.verify()
    except InputError:
        if overwrite:
            return False
        raise
    changed = ", ".join(key for key, value in wanted.items() if there.info.get(key) != value)
    if changed and not overwrite:
        raise InputError(
            f"{target}: holds a store with other content ({changed} differ); set overwrite: true to replace it, "
            "or choose another output_dir"
        )
    return not changed


def _write_contigs(
    folder: Path, storage: Storage, fasta: list[str], records: RecordRules
) -> tuple[pd.DataFrame, list[dict[str, str]], dict[str, Any]]:
    """Stream all files into the store; returns the index, the files' fingerprints, and what was written."""
    digests = [hashlib.sha256() for _ in fasta]
    names, genomes, lengths = [], [], []
    with write_letters(folder, storage) as letters:
        for path, piece in _progress(_all_pieces(fasta, digests, records)):
            if piece.start == 0:
                names.append(piece.name)
                genomes.append(genome_name(path) if records.genome_by == "file" else piece.name)
                lengths.append(0)
            letters.write(piece.letters)
            lengths[-1] += len(piece.letters)
        files = letters.finish()
    length = np.array(lengths, np.int64)
    index = {"name": names, "genome": genomes, "start": np.cumsum(length) - length, "length": length}
    hashed = zip(fasta, digests, strict=True)
    inputs = [{"file": Path(path).name, "sha256": digest.hexdigest()} for path, digest in hashed]
    return pd.DataFrame(index), inputs, files


def _all_pieces(fasta: list[str], digests: list[Any], records: RecordRules) -> Iterator[tuple[str, Piece]]:
    """Yield (file, piece) over all files; a name may occur once."""
    seen: dict[str, str] = {}
    for path, digest in zip(fasta, digests, strict=True):
        for piece in read_pieces(path, rna=records.rna, min_length=records.min_length, watch=digest.update):
            if piece.start == 0:
                check_unique(piece.name, path, seen)
            yield path, piece


def check_unique(name: str, path: str, seen: dict[str, str]) -> None:
    """Refuse a record that another file has under the same name; ``seen`` maps names to files and grows.

    Raises:
        InputError: naming both files.
    """
    if seen.setdefault(name, path) != path:
        raise InputError(f"{path}: record {shorten(name)} is in {seen[name]} too; rename or drop one of them")


def _progress(pieces: Iterator[tuple[str, Piece]]) -> Iterator[tuple[str, Piece]]:
    """Show the nt read so far on a screen, when information is wanted."""
    quiet = not logger.isEnabledFor(logging.INFO)
    with tqdm(unit="nt", unit_scale=True, desc="prepare", disable=quiet or None) as bar:
        for path, piece in pieces:
            yield path, piece
            bar.update(len(piece.letters))


def _write_index(folder: Path, contigs: pd.DataFrame, info: dict[str, Any]) -> None:
    """Write ``contigs.parquet`` and ``store.json``."""
    with HashedFile(folder / "contigs.parquet") as table:
        table.write(contigs.to_parquet(index=False))
        info["files"] |= table.finish()
    with HashedFile(folder / "store.json") as facts:
        facts.write((json.dumps({**info, "total_nt": int(contigs["length"].sum())}, indent=2) + "\n").encode())
        facts.finish()


def _read_info(path: Path) -> dict[str, Any]:
    """Read ``store.json`` and check its format."""
    try:
        info = json.loads((path / "store.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no genome store here; make one with `hf-genomics prepare`") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged store: store.json cannot be read ({error}); prepare it again") from error
    found = info.get("format") if isinstance(info, dict) else None
    if found != FORMAT:
        raise InputError(f"{path}: store format {found} is not {FORMAT}; prepare it again with overwrite: true")
    if "packing" in info:  # the key of version 0.1
        info["storage"] = info.pop("packing")
    if not {"total_nt", "storage", "files"} <= set(info):
        raise InputError(f"{path}: damaged store: store.json lacks entries; prepare it again with overwrite: true")
    return info
