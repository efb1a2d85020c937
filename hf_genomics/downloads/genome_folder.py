"""A folder of downloaded genomes, one file each, with a manifest that says what they are.

``manifest.tsv`` is a metadata table for ``prepare``. It is written before the files it speaks of are given their names,
each by renaming a flushed temporary file: whenever a run is killed, no file is half-written, and every file is known.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..io.text_tables import read_text_columns
from ..io.writing import sync_folder
from .accessions import Wanted, version_of
from .entrez import Format, Genome

_ENDING = {"fasta": ".fasta", "genbank": ".gb"}
_OWN = ("accession", "file", "length", "sequence_md5", "file_md5", "length_from")


class Found(NamedTuple):
    """A record that passed all checks, and what its length was checked against: "list", "esummary" or "nothing"."""

    genome: Genome
    length_from: str


@dataclass
class GenomeFolder:
    """The files of a download and their manifest.

    Attributes:
        path: the folder.
        ending: of its files.
        rows: the manifest, by accession with version.
    """

    path: Path
    ending: str
    rows: dict[str, dict[str, str]]
    _newest: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Note which version there is of each accession."""
        self._newest = {name.rpartition(".")[0]: name for name in sorted(self.rows, key=version_of)}

    @classmethod
    def open(cls, path: Path, file_format: Format) -> GenomeFolder:
        """Read the manifest of a folder, which need not be there.

        Raises:
            InputError: if it is a file, or holds records of the other format.
        """
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; name a folder")
        rows: dict[str, dict[str, str]] = {}
        if (path / "manifest.tsv").exists():
            records = read_text_columns(path / "manifest.tsv", _OWN).to_dict("records")
            rows = {row["accession"]: {str(name): str(cell) for name, cell in row.items()} for row in records}
        other = next((row["file"] for row in rows.values() if not row["file"].endswith(_ENDING[file_format])), None)
        if other:
            raise InputError(f"{path}: holds records of another format ({other}); choose another output_dir")
        return cls(path, _ENDING[file_format], rows)

    def make(self) -> None:
        """Make the folder, and clear away what a killed run left half-written."""
        self.path.mkdir(parents=True, exist_ok=True)
        for stale in self.path.glob(".*.partial"):
            stale.unlink()

    def row(self, one: Wanted) -> dict[str, str] | None:
        """Find the row of what was asked for, by accession with or without version."""
        return self.rows.get(self._newest.get(one.accession, one.accession))

    def has(self, one: Wanted) -> bool:
        """Tell whether a record is there, undamaged, and what the list says it is."""
        row = self.row(one)
        if row is None or not (self.path / row["file"]).is_file():
            return False
        facts = str(one.length or row["length"]), one.sequence_md5 or row["sequence_md5"]
        content = (self.path / row["file"]).read_bytes()
        return facts == (row["length"], row["sequence_md5"]) and row["file_md5"] == _md5(content)

    def keep(self, found: Iterable[Found]) -> None:
        """Write records: temporary files, the manifest, and only then the final names."""
        partial = {}
        for genome, length_from in found:
            file = self.path / f"{genome.accession}{self.ending}"
            partial[file] = _write_partial(file, genome.content)
            cells = (genome.accession, file.name, genome.length, genome.sequence_md5, _md5(genome.content), length_from)
            self.rows[genome.accession] = dict(zip(_OWN, map(str, cells), strict=True))
        if partial:
            self.__post_init__()
            self._write_manifest()
            for file, temporary in partial.items():
                temporary.replace(file)
            sync_folder(self.path)

    def finish(self, wanted: list[Wanted], failed: dict[str, str]) -> None:
        """Add the list's other columns to the manifest, and list what failed."""
        before = {accession: dict(row) for accession, row in self.rows.items()}
        for one in wanted:
            if row := self.row(one):
                facts = {name: cell for name, cell in one.facts.items() if name not in _OWN}
                self.rows[row["accession"]] = {name: row[name] for name in _OWN} | facts
        if before != self.rows:
            self._write_manifest()
        if failed:
            _write(self.path / "failed.tsv", _tsv(["accession", "reason"], failed.items()))
        else:
            (self.path / "failed.tsv").unlink(missing_ok=True)

    def _write_manifest(self) -> None:
        header = list(dict.fromkeys([*_OWN, *(name for row in self.rows.values() for name in row)]))
        rows = ([row.get(name, "") for name in header] for row in self.rows.values())
        _write(self.path / "manifest.tsv", _tsv(header, rows))


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _tsv(header: list[str], rows: Iterable[Iterable[str]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    _write_partial(path, content).replace(path)
    sync_folder(path.parent)


def _write_partial(path: Path, content: bytes) -> Path:
    """Write and flush the temporary file that is to be renamed to ``path``."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return partial
