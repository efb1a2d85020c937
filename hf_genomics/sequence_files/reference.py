"""Read stretches of contigs, from an indexed FASTA file or from memory, on either strand."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, keep_secret
from ..io.files import input_errors, open_binary
from ..io.kinds import kind_of_start, require_sequences
from ..io.text_tables import list_names
from ..sequence import IUPAC, as_letters, did_you_mean, reverse_complement

_BLOCK = 1 << 16  # nt that are read from the file at once
_BLOCKS = 32  # blocks in memory
_KNOWN = np.zeros(256, bool)
_KNOWN[as_letters(IUPAC + IUPAC.lower() + "Uu")] = True


class Strand(NamedTuple):
    """One strand of a contig, read 5'->3'.

    Attributes:
        key: identifies the strand among all strands that are scored together.
        length: length in nt.
        read: returns the letters, uint8, from a start to an end.
    """

    key: tuple[object, bool]
    length: int
    read: Callable[[int, int], np.ndarray]


def strands(key: object, length: int, read: Callable[[int, int], np.ndarray]) -> tuple[Strand, Strand]:
    """Build the forward and the reverse strand of a contig.

    Args:
        key: identifies the contig.
        length: length in nt.
        read: returns the letters of the forward strand, uint8, from a start to an end.
    """

    def backwards(start: int, end: int) -> np.ndarray:
        return reverse_complement(read(length - end, length - start))

    return Strand((key, False), length, read), Strand((key, True), length, backwards)


def strands_in_memory(key: object, letters: np.ndarray) -> tuple[Strand, Strand]:
    """Build the strands of a sequence in memory.

    Args:
        key: identifies the sequence.
        letters: uint8, (nt,).
    """
    return strands(key, len(letters), lambda start, end: letters[start:end])


class Reference:
    """A FASTA file whose contigs can be read from any place; use it in a ``with`` block.

    An index (``.fai``) next to the file is used if it is newer than the file; otherwise a temporary one is made,
    outside the user's folders.

    Args:
        path: FASTA file, plain or compressed by bgzip.
        match_chr: also find a contig whose name differs by the prefix "chr" only, and chrM as MT.

    Raises:
        InputError: if the file is not FASTA, is compressed by plain gzip, or has two contigs of one name, a contig
            without a sequence or lines of different lengths; if its index cannot be used; or if pysam is not installed.
    """

    def __init__(self, path: str, match_chr: bool = False) -> None:
        self.path, self._match_chr = path, match_chr
        pysam = import_pysam("--fasta")
        names = _check_fasta(path)
        self._folder = tempfile.TemporaryDirectory(prefix="hf_genomics_")
        indexed = _indexable(path, Path(self._folder.name))
        with quiet_pysam():
            try:
                self._file = pysam.FastaFile(indexed)
            except (OSError, ValueError) as error:
                self._folder.cleanup()
                raise _no_index(path, is_users=indexed == path) from error
        self.lengths = dict(zip(self._file.references, self._file.lengths, strict=True))
        if set(self.lengths) != set(names):
            self.close()
            if indexed == path:
                raise InputError(f"{path}.fai: not the index of {path}; delete it, and a new one is made")
            empty = next((name for name in names if name not in self.lengths), "")
            raise InputError(f"{path}: contig {empty[:60]!r} has no sequence; remove it")
        self._block = functools.lru_cache(_BLOCKS)(self._read_block)

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and delete the index that was made for it."""
        self._file.close()
        self._folder.cleanup()

    def find(self, name: str, where: str) -> str:
        """Return the name of a contig in this file.

        Args:
            name: the name that another file gives.
            where: file and line, for the error message.

        Raises:
            InputError: if there is no such contig; the message suggests a name, or the option that finds it.
        """
        if name in self.lengths:
            return name
        others = [other for other in _other_names(name) if other in self.lengths]
        if others and self._match_chr:
            return others[0]
        hint = f"; it has {others[0]!r}: add --match_chr true to take that" if others else ""
        hint = hint or f"{did_you_mean(name, list(self.lengths))}; it has {list_names(list(self.lengths), 3)}"
        raise InputError(f"{where}: no contig {name[:60]!r} in {self.path}{hint}")

    def strands(self, name: str) -> tuple[Strand, Strand]:
        """Return both strands of a contig of this file."""
        return strands(name, self.lengths[name], functools.partial(self.read, name))

    def read(self, name: str, start: int, end: int) -> np.ndarray:
        """Return letters of the forward strand, uint8.

        Args:
            name: name of the contig in this file.
            start: 0-based.
            end: 0-based, not included.

        Raises:
            InputError: if a character is not a nucleotide code, or the file ends early.
        """
        first, last = start // _BLOCK, max(start, end - 1) // _BLOCK
        if first == last:
            return self._block(name, first)[start - first * _BLOCK : end - first * _BLOCK]
        joined = np.concatenate([self._block(name, block) for block in range(first, last + 1)])
        return joined[start - first * _BLOCK : end - first * _BLOCK]

    def _read_block(self, name: str, block: int) -> np.ndarray:
        """Read one block of a contig from the file."""
        start, end = block * _BLOCK, min((block + 1) * _BLOCK, self.lengths[name])
        with quiet_pysam(), input_errors(self.path):
            try:
                letters = as_letters(self._file.fetch(name, start, end).encode())
            except UnicodeDecodeError as error:  # reported below, with its position
                letters = as_letters(error.object)
            except ValueError:  # the index names a place beyond the end of the file
                letters = as_letters("")
        if len(letters) != end - start:
            raise InputError(
                f"{self.path}: contig {name!r} ends before position {end:,}; its index is not of this file or the file "
                "is cut short: delete the .fai file, or fetch the FASTA again"
            )
        if not (known := _KNOWN[letters]).all():
            place = int(np.argmin(known))
            raise InputError(
                f"{self.path}: contig {name!r} has {chr(letters[place])!r} at position {start + place + 1:,}, which is "
                "not a nucleotide code; give the FASTA of the genome"
            )
        return letters


def import_pysam(what: str) -> Any:
    """Import pysam.

    Args:
        what: the option that needs it, for the error message.

    Raises:
        InputError: if it is not installed; the message has the command that installs it.
    """
    try:
        import pysam
    except ImportError as error:
        raise InputError(f"{what} needs pysam: pip install 'hf_genomics[variants]'") from error
    return pysam


@contextlib.contextmanager
def quiet_pysam() -> Iterator[None]:
    """Suppress what htslib writes to standard error; the functions that call it raise their own errors."""
    import pysam

    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)


def _other_names(name: str) -> list[str]:
    """List the names that the same human contig has in other genome releases."""
    mitochondrion = {"MT": ["chrM", "M"], "M": ["chrM", "MT"], "chrM": ["MT", "M"], "chrMT": ["MT", "M"]}
    plain = [name.removeprefix("chr")] if name.startswith("chr") else [f"chr{name}"]
    return [*mitochondrion.get(name, []), *plain]


def _indexable(path: str, folder: Path) -> str:
    """Return the path of a FASTA file whose index is next to it, or of a link to it in a temporary folder."""
    changed = os.path.getmtime(path)
    if all(os.path.isfile(file) and os.path.getmtime(file) >= changed for file in _index_files(path)):
        return path
    link = folder / "genome.fa"  # htslib writes an index next to the path that it is given
    link.symlink_to(os.path.abspath(path))
    return str(link)


def _no_index(path: str, is_users: bool) -> InputError:
    """Build the error for a file that htslib cannot open.

    Args:
        path: the FASTA file.
        is_users: whether the index next to the file was used, rather than one made from the file.
    """
    if is_users:
        return InputError(f"{path}: the index next to it cannot be read; delete {' and '.join(_index_files(path))}")
    return InputError(
        f"{path}: cannot be indexed; every contig needs a sequence, all of whose lines but the last have the same "
        "length, so write the file again, for instance by seqkit seq -w 60 -m 1"
    )


def _index_files(path: str) -> list[str]:
    """List the files of the index that belongs next to a FASTA file."""
    return [f"{path}.fai", f"{path}.gzi"] if _is_bgzf(path) else [f"{path}.fai"]


def _is_bgzf(path: str) -> bool:
    """Check whether a file was compressed by bgzip."""
    with open(path, "rb") as file:
        start = file.read(16)
    return start[:3] == b"\x1f\x8b\x08" and start[12:14] == b"BC" and bool(start[3] & 4)


def _check_fasta(path: str) -> list[str]:
    """Return the names of a FASTA file's contigs.

    Raises:
        InputError: if the file is not FASTA or is compressed by plain gzip, or if a name is missing, occurs twice or is
            not UTF-8.
    """
    with input_errors(path), open(path, "rb") as raw:
        if raw.read(2) == b"\x1f\x8b" and not _is_bgzf(path):
            raise InputError(
                f"{path}: compressed by plain gzip, which cannot be read from any place; decompress it (gunzip), or "
                "compress it by bgzip"
            )
    with input_errors(path), open_binary(path) as file:
        start = bytes(file.peek(4096)[:4096])
        require_sequences(path, start)
        if not start.startswith(b">"):
            if start.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
                raise InputError(f"{path}: has a byte order mark; save it as UTF-8 without BOM")
            kind = kind_of_start(start)
            remedy = "remove what stands before the first record" if kind.name == "FASTA" else "give FASTA"
            what = f"is {kind.name}, and" if kind.reader == "sequences" and kind.name != "FASTA" else "not FASTA, since"
            raise InputError(f"{path}: {what} its first character is not '>'; {remedy}")
    seen: dict[str, int] = {}
    for number, name in enumerate(_names(path), start=1):
        keep_secret([name])
        if not name:
            raise InputError(f"{path}: record {number} has no name after '>'; write one")
        if name in seen:
            raise InputError(
                f"{path}: records {seen[name]} and {number} are both named {name[:60]!r}; rename or remove one of them"
            )
        seen[name] = number
    return list(seen)


def _names(path: str) -> Iterator[str]:
    """Iterate over the names of a FASTA file's records."""
    rest = b"\n"
    with input_errors(path), open_binary(path) as file:
        while block := file.read(1 << 22):
            text = rest + block
            at = text.find(b"\n>")
            while at >= 0:
                end = text.find(b"\n", at + 1)
                if end < 0:  # the header continues in the next block
                    break
                yield _name_of(text[at + 2 : end])
                at = text.find(b"\n>", end)
            rest = text[at:] if at >= 0 else text[-1:]
        at = rest.find(b"\n>")
        if at >= 0:
            yield _name_of(rest[at + 2 :])


def _name_of(header: bytes) -> str:
    """Return the first word of a header without its ``>``; "" if the header is empty or begins with a blank."""
    words = header.split(None, 1)
    return words[0].decode() if words and header[:1].strip() else ""
