"""The genome store: all sequences of a data set in memory-mapped files of letters, with an index.

A store is a folder that is either complete or absent: it appears only when all its files are written. It holds

- ``letters.bin`` (a byte for each nucleotide), or ``codes.bin`` and ``changes.bin`` (two bits for each): the letters of
  all sequences ("contigs", one for each record of a file), one contig after the other. They are kept exactly (see
  ``letters.py``): lower case marks repeats ("soft masking"), N is an unknown letter, and the other IUPAC
  codes stand for one of several letters;
- ``contigs.parquet``: name, genome, start and length of each contig, then the columns of a metadata table. A genome is
  one contig or all contigs of a file (``genome_by``);
- ``store.json``: format, storage, inputs with their SHA-256, options, and size and SHA-256 of the other files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from ..errors import InputError, keep_secret
from ..io.files import input_errors, sha256_of, shorten
from ..io.progress import progress_bar
from ..io.writing import HashedFile, check_output, replacing
from ..renamed import renamed
from ..saved_files import read_json
from ..sequence import tile
from ..sequence_files.fasta import RecordChunk, read_chunks
from .letters import Storage, open_letters, write_letters
from .metadata import RecordRules, genome_name, join_metadata, read_metadata, with_splits

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)

FORMAT = 2
_DATASET_NT = 1 << 20  # letters read, and rows of a dataset written, at once
_MOST_INFO = 256 * 2**20  # bytes of store.json, which lists the inputs: a million files
_FILES = {"letters.bin", "codes.bin", "changes.bin", "contigs.parquet", "store.json"}


class GenomeStore:
    """The contigs of a store, read from disk on demand; pickling stores the path only.

    Args:
        path: folder that `prepare` wrote.

    Attributes:
        path: the folder.
        info: content of ``store.json``: format, storage, inputs, options, total_nt, files.
        contigs: table with a row for each contig: name, genome, start, length (nt), and columns of the metadata table.

    Raises:
        InputError: if there is no store at ``path``, it is damaged, or its format version is not supported.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.info = _read_info(self.path)
        try:
            self._check_files()
            self.contigs = pd.read_parquet(self.path / "contigs.parquet")
            keep_secret([*self.contigs["name"], *self.contigs["genome"].astype(str)])
            self._letters = open_letters(self.path, self.info["storage"], self.total_nt)
        except InputError:
            raise
        # A damaged store.json may hold anything, so the files can cause all of these errors.
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._damaged(" ".join(str(error).split())) from error
        self._starts = self.contigs["start"].to_numpy()
        self._lengths = self.contigs["length"].to_numpy()
        if self._lengths.sum() != self.total_nt:
            raise self._damaged(f"store.json says {self.total_nt} nt, contigs.parquet {self._lengths.sum()}")

    def _damaged(self, what: str) -> InputError:
        """Build the error for a store whose files do not agree."""
        return InputError(f"{self.path}: damaged store ({what}); prepare it again with overwrite: true")

    def _check_files(self) -> None:
        """Check the sizes of all files, and the content of the index."""
        for name, facts in self.info["files"].items():
            if (size := (self.path / name).stat().st_size) != facts["bytes"]:
                raise self._damaged(f"{name} has {size} bytes, not {facts['bytes']}")
        self._check_hash("contigs.parquet")

    def _check_hash(self, name: str) -> None:
        """Check the content of a file."""
        if sha256_of(self.path / name) != self.info["files"][name].get("sha256"):
            raise self._damaged(f"{name} is not what was written")

    def verify(self) -> None:
        """Check the content of all files; opening a store checks only their sizes and the content of the index.

        Raises:
            InputError: if a file has changed; the message names it.
        """
        for name in self.info["files"]:
            self._check_hash(name)

    @property
    def total_nt(self) -> int:
        """Number of nucleotides in all contigs."""
        return self.info["total_nt"]

    @property
    def letters(self) -> np.ndarray:
        """All letters, (total_nt,) uint8, read-only: a memory map; for storage "2bit", a copy in memory."""
        return self._letters.window(0, self.total_nt)

    def window(self, contig: int, start: int, length: int) -> np.ndarray:
        """Return the letters of a stretch of a contig.

        Args:
            contig: row in `contigs`.
            start: first nt, 0-based.
            length: nt.

        Returns:
            (length,) uint8 letters, read-only; for storage "8bit", a view and not a copy.

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
        """Concatenate the letters of many windows, which is much faster than calling `window` for each.

        Args:
            starts: (rows,) int64, first nt of each window in the store: ``start`` of the contig plus the start in it.
            lengths: (rows,) int64, nt of each window. The caller makes sure that no window reaches past the end of its
                contig.

        Returns:
            (sum of lengths,) uint8 letters, window after window, a new array; if all windows have one length,
            ``.reshape(rows, length)`` turns it into a matrix with a row for each window.

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
        """Return the rows of the contigs of a split.

        Args:
            split: "train", "valid" or "test"; None selects all contigs.

        Returns:
            int64 (contigs,), rows of `contigs`.

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
            names = ", ".join(repr(name) for name in sorted(self.contigs["split"].dropna().astype(str).unique()))
            raise InputError(f"{self.path}: no contig is in split {split!r}; the splits are {names}")
        return rows

    def to_dataset(
        self, split: str | None = None, length: int | None = None, step: int | None = None
    ) -> datasets.Dataset:
        """Cut contigs into windows and return them as a `datasets.Dataset`, for example for ``dataset.map(tokenizer)``.

        The rows are written to the cache of `datasets` on disk as they are read; memory does not grow with the store.

        Args:
            split: split whose contigs are cut; None takes all contigs.
            length: length of a window in nt; None makes one row of each contig. A shorter contig is one window.
            step: nt from the start of one window to the start of the next; by default ``length``. The last window is
                moved back to the end of its contig.

        Returns:
            Rows with ``id`` (CONTIG:START-END), ``contig`` (its name), ``start`` and ``end`` (nt, 0-based, half-open),
            ``sequence`` and ``split`` (None if the store has no splits).

        Raises:
            InputError: if no contig is in ``split``, or a number is not whole or below 1.

        >>> rows = store.to_dataset("train", length=510)  # doctest: +SKIP
        >>> rows = rows.map(tokenizer, batched=True, input_columns="sequence")  # doctest: +SKIP
        """
        from datasets import Dataset, Features, Value

        for name, value in (("length", length), ("step", step)):
            if value is not None and not (isinstance(value, int | np.integer) and value >= 1):
                raise InputError(f"to_dataset: {name} must be a whole number of at least 1 nt, not {value}")
        if step is not None and length is None:
            raise InputError(f"to_dataset: step ({step} nt) needs a length")
        self.select(split)  # raise the error for an unknown split here, not in the generator
        texts, numbers = dict.fromkeys(("id", "contig", "split"), "string"), dict.fromkeys(("start", "end"), "int64")
        kinds = {
            **texts,
            **numbers,
            "sequence": "large_string",
        }  # "string" holds at most 2 Gnt of rows written together
        columns = ("id", "contig", "start", "end", "sequence", "split")
        return Dataset.from_generator(
            _dataset_rows,
            features=Features({name: Value(kinds[name]) for name in columns}),
            # The hashes stand for the content: the cache must not return the rows of an earlier store at this path.
            gen_kwargs={"store": self, "hashes": self.info["files"], "split": split, "length": length, "step": step},
            writer_batch_size=max(1, min(1000, _DATASET_NT // (length or _DATASET_NT))),
        )

    def __len__(self) -> int:
        """Return the number of contigs."""
        return len(self.contigs)

    def __repr__(self) -> str:
        """Describe the store: its folder, contigs and nucleotides."""
        return f"GenomeStore({str(self.path)!r}): {len(self)} contigs, {self.total_nt:,} nt"

    def __reduce__(self) -> tuple[type[GenomeStore], tuple[str]]:
        """Pickle the path only; unpickling maps the files again."""
        return GenomeStore, (str(self.path),)


def _dataset_rows(
    store: GenomeStore, hashes: dict[str, Any], split: str | None, length: int | None, step: int | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of `GenomeStore.to_dataset`; ``hashes`` are there for the cache only."""
    contigs = store.contigs
    names, lengths = contigs["name"].tolist(), contigs["length"].tolist()
    # Missing splits are NaN or None, depending on the file that the table came from.
    splits = contigs["split"].astype(object).where(contigs["split"].notna(), None) if "split" in contigs else None
    for row in store.select(split).tolist():
        name, window = names[row], length or lengths[row]
        for start, end, sequence in _cut_contig(store, row, window, step or window):
            yield {
                "id": f"{name}:{start}-{end}",
                "contig": name,
                "start": start,
                "end": end,
                "sequence": sequence,
                "split": None if splits is None else splits[row],
            }


def _cut_contig(store: GenomeStore, row: int, length: int, step: int) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and letters of the windows of a contig, reading about a million letters at once."""
    contig_start = int(store.contigs["start"].iloc[row])
    starts, ends = tile(int(store.contigs["length"].iloc[row]), length, step, end="flush")
    windows_at_once = max(1, _DATASET_NT // length)
    for block in range(0, len(starts), windows_at_once):
        inside = slice(block, block + windows_at_once)
        letters = store.gather(contig_start + starts[inside], ends[inside] - starts[inside])
        text, place = letters.tobytes().decode("ascii"), 0
        for start, end in zip(starts[inside].tolist(), ends[inside].tolist(), strict=True):
            yield start, end, text[place : place + end - start]
            place += end - start


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

    Every letter is checked on the way. Each file is read once; memory does not grow with its size. Nothing is done if
    the store already exists, is complete, and was made from the same content with the same options.

    Args:
        fasta: FASTA, FASTQ, GenBank or 2bit files, plain, gzip or bgzip; record names must be unique over all files
            (``records.names`` chooses what they are).
        output_dir: folder to write; it appears when it is complete.
        metadata: CSV, TSV or Parquet table with a row for every record; its columns (label, split, group) are kept.
        records: how records are read and matched with the metadata table.
        split: shares of train, valid and test, counted in nt, such as 0.8 0.1 0.1: whole genomes (or, if the metadata
            table has a column "group", whole groups) are assigned; omit it if the metadata table has a column "split".
        seed: seed of the split.
        storage: "8bit" takes a byte for each nucleotide. "2bit" is about four times smaller on disk and somewhat slower
            to read. Both return the same letters, with soft masking, N and IUPAC codes.
        overwrite: replace a store made from other inputs or with other options.

    Returns:
        The store, opened.

    Raises:
        InputError: if an input is invalid, or ``output_dir`` holds something else.
    """
    target = Path(output_dir)
    options = records.options() | ({} if split is None else {"split": [*split], "seed": seed})
    check_files(fasta, records.genome_by)
    if storage not in get_args(Storage):
        raise InputError(f"storage must be '8bit' or '2bit', not {storage!r}")
    info = {"format": FORMAT, "storage": storage, "metadata": _fingerprint(metadata), "options": options}
    if _is_up_to_date(target, info, fasta, overwrite):
        logger.info("%s: unchanged", target)
        return GenomeStore(target)
    check_output(target, folder=True)
    for path in fasta:  # open all files once, so that a missing one is reported before hours of work
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
    """Check that there is a file, that no file is given twice, and that no two files would become the same genome.

    Args:
        fasta: sequence files.
        genome_by: what one genome is: a "record" or a "file".

    Raises:
        InputError: if one of these is wrong, or a single file is given instead of a list; the message names the file.
    """
    if isinstance(fasta, str | os.PathLike):
        raise InputError(f"fasta must be a list of files; write [{str(fasta)!r}]")
    if not fasta:
        raise InputError("fasta: no file given; name at least one FASTA file")
    seen: dict[str, str] = {}
    for path in fasta:
        key = genome_name(path) if genome_by == "file" else os.path.abspath(path)
        if key in seen and os.path.abspath(seen[key]) == os.path.abspath(path):
            raise InputError(f"{path}: given twice; give each file once")
        if key in seen:
            raise InputError(
                f"{path}: same genome as {seen[key]} (a genome is named like its file); give the files different names"
            )
        seen[key] = path


def _fingerprint(path: str | None) -> dict[str, str] | None:
    """Return name and hash of a file, by which a store recognises its inputs in any folder; None without a file."""
    if path is None:
        return None
    with input_errors(path):
        return {"file": Path(path).name, "sha256": sha256_of(path)}


def _is_up_to_date(target: Path, info: dict[str, Any], fasta: list[str], overwrite: bool) -> bool:
    """Return whether ``target`` holds exactly the store that would be written.

    Args:
        target: folder of the store.
        info: what ``store.json`` would hold, without inputs and files.
        fasta: the inputs.
        overwrite: whether a different store may be replaced.

    Raises:
        InputError: if ``target`` holds something else that may not be replaced.
    """
    if not os.path.lexists(target):
        return False
    if not (target / "store.json").is_file() or not {entry.name for entry in target.iterdir()} <= _FILES:
        raise InputError(f"{target}: exists and is not just a genome store; choose another output_dir or move it away")
    expected = {**info, "inputs": [_fingerprint(path) for path in fasta]}
    # A damaged store may be replaced with overwrite, but is never taken for an up-to-date one.
    try:
        existing = GenomeStore(target)
        existing.verify()
    except InputError:
        if overwrite:
            return False
        raise
    changed = ", ".join(key for key, value in expected.items() if existing.info.get(key) != value)
    if changed and not overwrite:
        raise InputError(
            f"{target}: holds a store with other content ({changed} differ); set overwrite: true to replace it, "
            "or choose another output_dir"
        )
    return not changed


def _write_contigs(
    folder: Path, storage: Storage, fasta: list[str], records: RecordRules
) -> tuple[pd.DataFrame, list[dict[str, str]], dict[str, Any]]:
    """Stream all files into the store; return the index, the fingerprints of the inputs, and the files written."""
    digests = [hashlib.sha256() for _ in fasta]  # filled while the files are read, so that each is read once
    names, genomes, lengths = [], [], []
    with write_letters(folder, storage) as letters:
        for path, chunk in _all_chunks(fasta, digests, records):
            if chunk.start == 0:  # a new record begins
                names.append(chunk.name)
                genomes.append(genome_name(path) if records.genome_by == "file" else chunk.name)
                lengths.append(0)
            letters.write(chunk.letters)
            lengths[-1] += len(chunk.letters)
        files = letters.finish()
    length = np.array(lengths, np.int64)
    index = {"name": names, "genome": genomes, "start": np.cumsum(length) - length, "length": length}
    hashed = zip(fasta, digests, strict=True)
    inputs = [{"file": Path(path).name, "sha256": digest.hexdigest()} for path, digest in hashed]
    return pd.DataFrame(index), inputs, files


def _all_chunks(fasta: list[str], digests: list[Any], records: RecordRules) -> Iterator[tuple[str, RecordChunk]]:
    """Yield (file, chunk) over all files, hashing each file as it is read."""
    seen: dict[str, tuple[str, str]] = {}
    with progress_bar(logger, "prepare", "nt") as bar:
        for path, digest in zip(fasta, digests, strict=True):
            naming = records.naming(path, len(seen))
            options: dict[str, Any] = {"rna": records.rna, "min_length": records.min_length, "naming": naming}
            for chunk in read_chunks(path, watch=digest.update, **options):
                if chunk.start == 0:
                    check_unique(chunk.name, path, chunk.header, seen)
                yield path, chunk
                bar.update(len(chunk.letters))


def check_unique(name: str, path: str, header: str, seen: dict[str, tuple[str, str]]) -> None:
    """Check that no other file has a record of the same name; `read_chunks` checks names within a file.

    Args:
        name: name of the record.
        path: its file.
        header: its header.
        seen: file and header of each name so far; the name is added.

    Raises:
        InputError: if another file has one; the message names both files and both headers.
    """
    # Reuse the same string object where header and name are equal: it saves memory for millions of records.
    other, other_header = seen.setdefault(name, (path, name if header == name else header))
    if other != path:
        raise InputError(
            f"{path}: record {shorten(name)} occurs in {other} as well; their headers are {shorten(header)} and "
            f"{shorten(other_header)}; rename or drop one of them, or set records.names to numbered (or to file or "
            "header, if that makes them different)"
        )


def _write_index(folder: Path, contigs: pd.DataFrame, info: dict[str, Any]) -> None:
    """Write ``contigs.parquet`` and ``store.json``."""
    with HashedFile(folder / "contigs.parquet") as table:
        table.write(contigs.to_parquet(index=False))
        info["files"] |= table.finish()
    with HashedFile(folder / "store.json") as facts:
        facts.write((json.dumps({**info, "total_nt": int(contigs["length"].sum())}, indent=2) + "\n").encode())
        facts.finish()


def _read_info(path: Path) -> dict[str, Any]:
    """Read ``store.json`` and check its format; keys of version 0.1 are translated."""
    try:
        info = read_json(path / "store.json", most_bytes=_MOST_INFO)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no genome store here; make one with `hf-genomics prepare`") from error
    except OSError as error:
        raise InputError(f"{path}: store.json cannot be read ({error.strerror}); check the permissions") from error
    except ValueError as error:
        raise InputError(
            f"{path}: damaged store: store.json cannot be read; prepare it again with overwrite: true"
        ) from error
    found = info.get("format")
    if found != FORMAT:
        raise InputError(f"{path}: store format {found} is not {FORMAT}; prepare it again with overwrite: true")
    if "packing" in info:  # the key of version 0.1
        info["storage"] = info.pop("packing")
    if not {"total_nt", "storage", "files"} <= set(info):
        raise InputError(f"{path}: damaged store: store.json lacks entries; prepare it again with overwrite: true")
    length = info["total_nt"]
    if type(length) is not int or not 0 <= length < 2**60 or not isinstance(info["files"], dict):
        raise InputError(
            f"{path}: damaged store: total_nt in store.json must be a number of nucleotides, and files an object; "
            "prepare it again with overwrite: true"
        )
    for name, facts in info["files"].items():
        if name not in _FILES or not isinstance(facts, dict):
            raise InputError(
                f"{path}: damaged store: store.json names the file {shorten(name)}, which is not a file of a store; "
                "prepare it again with overwrite: true"
            )
    return info
