"""Where variants come from: the records of a VCF file, all substitutions of a region, or pairs of sequences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from ..errors import InputError
from ..io.files import input_errors, open_binary
from ..io.genome_tracks import MOST_DIGITS
from ..io.text_tables import kind_of, missing_column, text_frames
from ..sequence import IUPAC, LETTER_CODE, as_letters
from ..sequence_files.reference import Reference, Strand, strands_in_memory
from .sites import Event, Flag, classify, trim
from .vcf import Line

_REGION = re.compile(r"(.+):([\d,]+)-([\d,]+)")
_CELL_LETTERS = 1 << 20  # letters in one frame of a table

#: What happens to a record whose REF is not what the genome has.
OnMismatch = Literal["error", "skip"]


class Allele(NamedTuple):
    """One alternative allele.

    Attributes:
        alt: the allele as the input writes it.
        events: what it changes; several for a sequence with scattered substitutions; empty if it has no score.
        flag: why it has no score, or how its score is computed; None for a plain substitution.
    """

    alt: str
    events: tuple[Event, ...]
    flag: Flag | None


class Record(NamedTuple):
    """A place with one or more alternative alleles.

    Attributes:
        text: the line of the VCF file with its end; "" for other sources.
        chrom: name of the contig, or of the pair.
        position: 1-based.
        id: identifier; "." for none.
        ref: reference allele.
        alleles: the alternative alleles.
        strands: forward and reverse strand of the contig; None if no allele can be scored.
        ref_ok: whether the reference allele is what the genome has.
    """

    text: str
    chrom: str
    position: int
    id: str
    ref: str
    alleles: tuple[Allele, ...]
    strands: tuple[Strand, Strand] | None
    ref_ok: bool


def vcf_records(lines: Iterable[Line], reference: Reference, on_mismatch: OnMismatch, rule_k: int) -> Iterator[Record]:
    """Iterate over the records of a VCF file, with their alleles checked against the genome.

    Args:
        lines: records of the file.
        reference: the genome.
        on_mismatch: what to do if REF is not what the genome has.
        rule_k: k-mer size in nt.

    Raises:
        InputError: naming the line, for a contig that the genome does not have, or another REF.
    """
    for line in lines:
        name = reference.find(line.chrom, line.where)
        ref_ok = _check_ref(line, reference, name, on_mismatch)
        alleles = tuple(
            make_allele(line.position - 1, line.ref, alt, rule_k)
            if ref_ok
            else Allele(alt, (), classify(line.ref, alt) or "ref_mismatch")
            for alt in line.alts
        )
        yield Record(line.text, line.chrom, line.position, line.id, line.ref, alleles, reference.strands(name), ref_ok)


def make_allele(start: int, ref: str, alt: str, k: int) -> Allele:
    """Build an allele from what a VCF record states.

    Args:
        start: position of the first letter of ``ref``, 0-based.
        ref: reference allele.
        alt: one alternative allele.
        k: k-mer size in nt; longer substitutions are scored like insertions and deletions.
    """
    flag = classify(ref, alt)
    if flag is not None:
        return Allele(alt, (), flag)
    event = trim(start, ref, alt)
    if not event.is_substitution:
        return Allele(alt, (event,), "indel")
    if len(event.ref) == 1:
        return Allele(alt, (event,), None)
    return Allele(alt, (event,), "mnv" if len(event.ref) <= k else "mnv_long")


def _check_ref(line: Line, reference: Reference, name: str, on_mismatch: OnMismatch) -> bool:
    """Check that column REF is what the genome has; a letter that is unknown in the genome matches any other."""
    start, end = line.position - 1, line.position - 1 + len(line.ref)
    length = reference.lengths[name]
    if start < 0 and line.ref.upper() == "N":  # position 0: before the first letter, at the telomere
        return True
    if 0 <= start and end <= length:
        found, given = LETTER_CODE[reference.read(name, start, end)], LETTER_CODE[as_letters(line.ref)]
        if ((found == given) | (found == 4) | (given == 4)).all():
            return True
        has = f"has {reference.read(name, start, min(end, start + 10)).tobytes().decode('latin-1')!r} there"
    else:
        has = f"ends at {length:,}"
    if on_mismatch == "skip":
        return False
    raise InputError(
        f"{line.where}, {name[:60]}:{line.position}: REF is {line.ref[:10]!r}, but {reference.path} {has}; give the "
        "genome that the variants were called on, or add --on_ref_mismatch skip"
    )


def parse_region(region: str, reference: Reference) -> tuple[str, int, int]:
    """Return contig, start and end (0-based, half-open) of a region as samtools writes it: 1-based, both ends included.

    Args:
        region: "contig:start-end".
        reference: the genome.

    Raises:
        InputError: if it is written otherwise, or reaches past the contig.
    """
    match = _REGION.fullmatch(region.strip())
    if match is None or max(map(len, match.group(2, 3))) > 2 * MOST_DIGITS:
        raise InputError(f"--region {region[:60]!r} is not contig:start-end, such as chr1:1001-1200; write it so")
    name = reference.find(match[1], "--region")
    start, end = (int(text.replace(",", "") or 0) for text in (match[2], match[3]))
    length = reference.lengths[name]
    if not 1 <= start <= end <= length:
        raise InputError(
            f"--region {region[:60]!r}: start and end must lie in 1..{length:,} (all of {name[:60]!r}), in this order"
        )
    return name, start - 1, end


def region_records(reference: Reference, name: str, start: int, end: int) -> Iterator[Record]:
    """Iterate over the positions of a region, each with its three substitutions.

    Args:
        reference: the genome.
        name: name of the contig.
        start: 0-based.
        end: 0-based, not included.
    """
    both = reference.strands(name)
    for position in range(start, end):
        ref = chr(reference.read(name, position, position + 1)[0]).upper().replace("U", "T")
        alts = [letter for letter in "ACGT" if letter != ref] if ref in "ACGT" else ["."]
        alleles = tuple(
            Allele(alt, (Event(position, ref, alt),), None) if alt != "." else Allele(alt, (), "ref_n") for alt in alts
        )
        yield Record("", name, position + 1, ".", ref, alleles, both, True)


def pair_records(path: str, k: int, watch: Callable[[memoryview], object] | None = None) -> Iterator[Record]:
    """Iterate over the rows of a table of pairs; each row is a contig of its own.

    Args:
        path: CSV, TSV or Parquet table with the columns ``sequence`` and ``alt_sequence``, and ``id`` if there is one.
        k: k-mer size in nt.
        watch: called with the bytes on disk as they are read.

    Raises:
        InputError: naming the row of a cell that is empty or not DNA.
    """
    with input_errors(path):
        if kind_of(path) == "sequences":
            raise InputError(f"{path}: not a table; give CSV, TSV or Parquet with columns sequence and alt_sequence")
    number = 0
    with input_errors(path), open_binary(path, watch) as file:
        for frame in text_frames(file, path, lambda present: _pair_columns(path, present), _CELL_LETTERS):
            ids = frame["id"] if "id" in frame else None
            for row, (one, other) in enumerate(zip(frame["sequence"], frame["alt_sequence"], strict=True)):
                number += 1
                name = str(ids.iloc[row]) if ids is not None else f"row_{number}"
                yield _pair_record(name, one, other, f"{path}: row {number}", k)


def _pair_columns(path: str, present: list[str]) -> list[str]:
    """Return the columns of a table of pairs that are read."""
    for column in ("sequence", "alt_sequence"):
        if column not in present:
            raise missing_column(path, column, present)
    return [column for column in ("id", "sequence", "alt_sequence") if column in present]


def _pair_record(name: str, ref: str, alt: str, where: str, k: int) -> Record:
    """Build the record of a pair of sequences."""
    ref, alt = (_checked_cell(text, column, where, k) for text, column in ((ref, "sequence"), (alt, "alt_sequence")))
    event = trim(0, ref, alt)
    letters = as_letters(ref)
    flag: Flag | None
    if ref == alt:
        events: tuple[Event, ...] = ()
        flag = "no_change"
    elif len(ref) == len(alt):
        changed = np.flatnonzero(letters != as_letters(alt)).tolist()
        events = tuple(Event(place, ref[place], alt[place]) for place in changed)
        flag = "several" if len(events) > 1 else None
        if not all(one.ref in "ACGT" and one.alt in "ACGT" for one in events):
            events, flag = (), "ambiguous"
    else:
        plain = all(letter in "ACGT" for letter in event.ref + event.alt)
        events, flag = ((event,), "indel") if plain else ((), "ambiguous")
    allele = Allele(event.alt or ".", events, flag)
    both = strands_in_memory(where, letters)  # ids may repeat
    return Record("", name, event.start + 1, ".", event.ref or ".", (allele,), both, True)


def _checked_cell(text: str, column: str, where: str, k: int) -> str:
    """Return the letters of a cell in upper case, U as T."""
    letters = text.strip().upper().replace("U", "T")
    if not letters:
        raise InputError(f"{where}, column {column!r} is empty; fill it or delete the row")
    for place, letter in enumerate(letters, start=1):
        if letter not in IUPAC:
            raise InputError(
                f"{where}, column {column!r}: {letter!r} at position {place} is not a nucleotide code; correct the row"
            )
    if len(letters) < k:
        raise InputError(
            f"{where}, column {column!r} has {len(letters)} nt, but the model reads k-mers of {k} nt; delete the row"
        )
    return letters
