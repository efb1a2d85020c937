"""Read and write motifs as MEME text, version 4, which MEME's tools, Biopython and memelite read.

The reader is strict: a file that other readers would read in part, or wrongly, is refused with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..io.files import input_errors, open_binary, shorten

_TOLERANCE = 0.01  # of the sum of a row
_TITLE = ("*", "#", "MEME - ")  # starts of the lines that may stand above "MEME version 4"
_SIZES = re.compile(r"(alength|w|nsites|E)=\s*([^\s=]+)")


class MemeMotif(NamedTuple):
    """A motif of a MEME file.

    Attributes:
        name: its identifier.
        matrix: float64 (width, 4), probabilities of A, C, G and T.
        sites: number of sites that the matrix was made of.
        significance: the number that MEME calls E.
        other_name: alternate name, possibly empty.
    """

    name: str
    matrix: np.ndarray
    sites: int = 20
    significance: float = 0.0
    other_name: str = ""


def meme_text(motifs: Iterable[MemeMotif], background: np.ndarray) -> str:
    """Return motifs as MEME text.

    Args:
        motifs: the motifs.
        background: frequencies of A, C, G and T, (4,).
    """
    shares = " ".join(f"{letter} {share:.5f}" for letter, share in zip("ACGT", background, strict=True))
    lines = ["MEME version 4", "", "ALPHABET= ACGT", "", "strands: + -", ""]
    lines += ["Background letter frequencies", shares, ""]
    for name, matrix, sites, significance, other_name in motifs:
        lines.append(f"MOTIF {name} {other_name}".rstrip())
        lines.append(f"letter-probability matrix: alength= 4 w= {len(matrix)} nsites= {sites} E= {significance:.3g}")
        lines += [" ".join(f"{share:.6f}" for share in row) for row in matrix]
        lines.append("")
    return "\n".join(lines)


def read_meme(path: str | PathLike[str]) -> list[MemeMotif]:
    """Read the motifs of a MEME file, plain or gzipped.

    Args:
        path: the file: DNA motifs in MEME text, minimal or in full, version 4 or later.

    Raises:
        InputError: if the file cannot be read, is not MEME text, or has motifs of another alphabet or none at all; or
            naming the motif and the line: a matrix is missing or cut off, a row does not sum to 1 (within 0.01), a
            value is not a probability, or a name occurs twice.
    """
    with input_errors(path), open_binary(path) as file:
        lines = file.read().decode("utf-8-sig", "replace").splitlines()
    # The full output of MEME begins with a title between lines of stars; other programs begin with comments.
    first = next((line for line in lines if line.strip() and not line.startswith(_TITLE)), "")
    if not re.match(r"MEME version ([4-9]|\d\d)", first):
        raise InputError(
            f"{path}: its first line is {shorten(first)}, not 'MEME version 4' or later; give a file of motifs in "
            "MEME text"
        )
    motifs: dict[str, tuple[MemeMotif, int]] = {}
    alphabet = ""
    for start, end in _sections(lines):
        if start == 0:
            alphabet = _check_alphabet(path, lines[:end])
            continue
        motif = _read_motif(path, lines, start, end)
        if motif.name in motifs:
            raise InputError(
                f"{path}, line {start + 1}: motif {motif.name}: an earlier motif has the same name (line "
                f"{motifs[motif.name][1] + 1}); rename one of them"
            )
        motifs[motif.name] = motif, start
    if not motifs:
        raise InputError(f"{path}: no motif in this file{'' if alphabet else ' and no alphabet'}; is it complete?")
    return [motif for motif, _ in motifs.values()]


def _sections(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Iterate over the first and last line of the file's header and of each motif."""
    starts = [0, *(number for number, line in enumerate(lines) if line.split()[:1] == ["MOTIF"]), len(lines)]
    yield from zip(starts[:-1], starts[1:], strict=True)


def _check_alphabet(path: str | PathLike[str], lines: Sequence[str]) -> str:
    """Return the alphabet of a MEME file; raise InputError if it is not DNA."""
    for number, line in enumerate(lines, start=1):
        if line.startswith("ALPHABET"):
            named = line.removeprefix("ALPHABET").lstrip("= ").strip()
            if named.upper() == "ACGT" or named.upper().startswith(('"DNA"', "DNA")):
                return "ACGT"
            raise InputError(
                f"{path}, line {number}: the alphabet is {shorten(named)}, but only motifs of DNA (ACGT) can be "
                "compared; give another file"
            )
    return ""


def _read_motif(path: str | PathLike[str], lines: Sequence[str], start: int, end: int) -> MemeMotif:
    """Read one motif, whose lines are given by their numbers."""
    words = lines[start].split()
    if len(words) < 2:
        raise InputError(f"{path}, line {start + 1}: this motif has no name; write one after MOTIF")
    where = f"{path}, line {{}}: motif {shorten(words[1])}: "
    header = next((n for n in range(start, end) if lines[n].startswith("letter-probability matrix")), None)
    if header is None:
        raise InputError(f"{where.format(start + 1)}no letter-probability matrix; the file may be cut off")
    sizes = dict(_SIZES.findall(lines[header]))
    if sizes.get("alength", "4") != "4":
        raise InputError(f"{where.format(header + 1)}alength= {sizes['alength']}, but DNA has 4 letters; fix the line")
    rows: list[list[float]] = []
    for number in range(header + 1, end):
        if not re.match(r"\s*[-+]?[.\d]|\s*nan", lines[number], re.IGNORECASE):  # "-----" ends a matrix of MEME
            if rows or lines[number].strip():
                break
            continue
        rows.append(_read_row(lines[number], where.format(number + 1)))
    width = _number(sizes.get("w", str(len(rows))), "w", where.format(header + 1))
    if len(rows) != width or not rows:
        raise InputError(
            f"{where.format(header + 1)}its matrix has {len(rows)} rows, but w= {width:g}; the file may be cut off"
        )
    sites = _number(sizes.get("nsites", "20"), "nsites", where.format(header + 1))
    significance = _number(sizes.get("E", "0"), "E", where.format(header + 1))
    return MemeMotif(words[1], np.array(rows), round(sites), significance, " ".join(words[2:3]))


def _read_row(line: str, where: str) -> list[float]:
    """Read one row of a matrix."""
    cells = line.split()
    if len(cells) != 4:
        raise InputError(f"{where}a row needs 4 probabilities, this one has {len(cells)}; fix the line")
    values = [_number(cell, "a probability", where) for cell in cells]
    if not all(0 <= value <= 1 for value in values):
        wrong = next(cell for cell, value in zip(cells, values, strict=True) if not 0 <= value <= 1)
        raise InputError(f"{where}{wrong} is not a probability; write values from 0 to 1")
    if abs(sum(values) - 1) > _TOLERANCE:
        raise InputError(f"{where}the row sums to {sum(values):.4g}, not to 1; divide each count by their sum")
    return [value / sum(values) for value in values]


def _number(text: str, what: str, where: str) -> float:
    """Read a number."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"{where}{what} is {shorten(text)!r}, not a number; fix the line")
    return value
