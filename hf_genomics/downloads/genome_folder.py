"""A folder of downloaded genomes, one file for each, with a manifest that describes the files.

``manifest.tsv`` is a metadata table for ``prepare``. Files are written under temporary names, then the manifest that
describes them, and only then do they get their final names. So whenever a run is killed, every file is complete and has
a row in the manifest. A row may lack its file, or have an older one; `has` notices, and the next run downloads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..io.streams import destination
from ..io.text_tables import read_text_columns
from ..io.writing import put_in_place, write_partial, write_tsv
from .accessions import AccessionRequest, version_of
from .entrez import FetchedRecord, Format

_ENDING = {"fasta": ".fasta", "genbank": ".gb"}
#: Columns of the manifest that describe a file; all others come from the user's list.
_OWN_COLUMNS = ("accession", "file", "length", "sequence_md5", "file_md5", "length_from")


class VerifiedRecord(NamedTuple):
    """A record that passed all checks.

    Attributes:
        record: the record as it came.
        length_from: where the expected length came from: the user's "list", NCBI's "esummary", or "nothing" if the
            length could not be checked.
    """

    record: FetchedRecord
    length_from: str


@dataclass
class GenomeFolder:
    """The files of a download and their manifest.

    Attributes:
        path: the folder.
        ending: ending of the names of its files, ".fasta" or ".gb".
        rows: rows of the manifest, by accession with version.
    """

    path: Path
    ending: str
    rows: dict[str, dict[str, str]]
    _newest: dict[str, str] = field(init=False, default_factory=dict)  # accession without version -> with version

    def __post_init__(self) -> None:
        """Index the newest version of each accession in the folder."""
        for accession in self.rows:
            self._index(accession)

    @classmethod
    def open(cls, path: Path, file_format: Format) -> GenomeFolder:
        """Read the manifest of a folder, which need not exist yet.

        Args:
            path: the folder.
            file_format: "fasta" or "genbank".

        Raises:
            InputError: if ``path`` is a file, or the folder holds records of the other format.
        """
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; name a folder")
        rows: dict[str, dict[str, str]] = {}
        if (path / "manifest.tsv").exists():
            table = read_text_columns(path / "manifest.tsv", _OWN_COLUMNS).to_dict("records")
            rows = {row["accession"]: {str(name): str(cell) for name, cell in row.items()} for row in table}
        other = next((row["file"] for row in rows.values() if not row["file"].endswith(_ENDING[file_format])), None)
        if other:
            raise InputError(f"{path}: holds records of another format ({other}); choose another output_dir")
        return cls(path, _ENDING[file_format], rows)

    def create(self) -> None:
        """Create the folder if it is missing, and delete temporary files that a killed run left."""
        self.path.mkdir(parents=True, exist_ok=True)
        for partial in self.path.glob(".*.partial"):
            # A folder of such a name is not ours: `predict` keeps the rows of an interrupted run in one.
            if partial.is_file():
                partial.unlink()

    def row(self, request: AccessionRequest) -> dict[str, str] | None:
        """Return the row of a requested record; None if there is none.

        A request without a version means the newest one in the folder. So once the folder has any version, a newer one
        in the database is not downloaded.
        """
        return self.rows.get(self._newest.get(request.accession, request.accession))

    def has(self, request: AccessionRequest) -> bool:
        """Return whether a requested record is in the folder, undamaged, with the length and MD5 of the list."""
        row = self.row(request)
        if row is None or not (self.path / row["file"]).is_file():
            return False
        if request.length is not None and str(request.length) != row["length"]:
            return False
        if request.sequence_md5 is not None and request.sequence_md5 != row["sequence_md5"]:
            return False
        return row["file_md5"] == _md5((self.path / row["file"]).read_bytes())

    def add(self, verified: Iterable[VerifiedRecord]) -> None:
        """Write records to the folder: temporary files first, then the manifest, and only then the final names."""
        partial = {}
        # A record that is requested both with and without version is written once.
        for record, length_from in {item.record.accession: item for item in verified}.values():
            name = f"{record.accession}{self.ending}"
            file = destination(self.path / name)  # a symbolic link stays, and the file that it points to is replaced
            partial[file] = write_partial(file, record.content)
            cells = (record.accession, name, record.length, record.sequence_md5, _md5(record.content), length_from)
            self.rows[record.accession] = dict(zip(_OWN_COLUMNS, map(str, cells), strict=True))
            self._index(record.accession)
        if partial:
            self._write_manifest()
            for file, temporary in partial.items():
                put_in_place(temporary, file)

    def finish(self, requests: list[AccessionRequest], failed: dict[str, str]) -> None:
        """Copy the other columns of the user's list to the manifest, and write ``failed.tsv``, or delete an old one.

        They replace those of earlier lists in the rows that the list requests; all other rows stay. If two lines
        request one row, with and without its version, the line with the version counts.

        Args:
            requests: the lines of the list.
            failed: why records could not be fetched, by requested accession.
        """
        before = dict(self.rows)
        for request in sorted(requests, key=lambda request: version_of(request.accession) > 0):
            if row := self.row(request):
                others = {name: cell for name, cell in request.other_columns.items() if name not in _OWN_COLUMNS}
                self.rows[row["accession"]] = {name: row[name] for name in _OWN_COLUMNS} | others
        if before != self.rows:
            self._write_manifest()
        if failed:
            write_tsv(self.path / "failed.tsv", ["accession", "reason"], failed.items())
        else:
            (self.path / "failed.tsv").unlink(missing_ok=True)

    def _index(self, accession: str) -> None:
        """Remember an accession if its version is the newest so far; a request without a version means this one."""
        name = accession.rpartition(".")[0]
        if version_of(accession) >= version_of(self._newest.get(name, "")):
            self._newest[name] = accession

    def _write_manifest(self) -> None:
        """Write ``manifest.tsv``; a row that lacks a column gets an empty cell."""
        header = list(dict.fromkeys([*_OWN_COLUMNS, *(name for row in self.rows.values() for name in row)]))
        rows = ([row.get(name, "") for name in header] for row in self.rows.values())
        write_tsv(self.path / "manifest.tsv", header, rows)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
