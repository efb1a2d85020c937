"""Where variants come from: the records of a VCF file, all substitutions of a region, or pairs of sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from ..errors import InputError
from ..io.files import input_errors, open_binary, shorten
from ..io.genome_tracks import parse_region
from ..io.text_tables import kind_of, missing_column, text_frames
from ..sequence import IUPAC, LETTER_CODE, as_letters
from ..sequence_files.reference import Reference, Strand, strands_in_memory
from .sites import Event, Flag, classify, trim
from .vcf import Line

_CELL_LETTERS = 1 << 20  # letters in one frame of a table

#: A record whose REF is not what the genome has: "error" ends the run; "skip" yields it without a score, with the flag
#: "ref_mismatch".
OnMismatch = Literal["error", "skip"]


class Allele(NamedTuple):
    """One alternative allele.

    Attributes:
        alt: the allele as the input writes it.
        events: what it changes; several for a sequence with scattered substitutions; empty if it has no score.
        flag: why it has no score, or how its score is computed, see `Flag`; None for a plain substitution.
    """

    alt: str
    events: tuple[Event, ...]
    flag: Flag | None


class Record(NamedTuple):
    """A place with one or more alternative alleles.

    Attributes:
        text: the line of the VCF file with its end; "" for other sources.
        chrom: name of the contig, or of the pair.
        position: of the first letter of ``ref``, 1-based; 0 in a VCF file is the end of the contig before that.
        id: identifier; "." for none.
        ref: reference allele. Of a pair: the letters that differ, without a letter in front of an insertion or deletion
            as in a VCF file; "." if no letter is replaced or the sequences are equal.
        alleles: the alternative alleles.
        strands: forward and reverse strand of the contig, from which the letters of windows are read.
        ref_ok: whether the reference allele is what the genome has.
    """

    text: str
    chrom: str
    position: int
    id: str
    ref: str
    alleles: tuple[Allele, ...]
    strands: tuple[Strand, Strand]
    ref_ok: bool


def vcf_records(lines: Iterable[Line], reference: Reference, on_mismatch: OnMismatch, k: int) -> Iterator[Record]:
    """Iterate over the records of a VCF file, with their alleles checked against the genome.

    Args:
        lines: records of the file.
        reference: the genome.
        on_mismatch: see `OnMismatch`.
        k: k-mer size in nt.

    Raises:
        InputError: naming the line, for a contig that the genome does not have, or another REF.
    """
    for line in lines:
        name = reference.find(line.chrom, line.where)
        ref_ok = _check_ref(line, reference, name, on_mismatch)
        if ref_ok:
            alleles = tuple(make_allele(line.position - 1, line.ref, alt, k) for alt in line.alts)
        else:  # an allele such as <DEL>, which is never scored, keeps that reason
            alleles = tuple(Allele(alt, (), classify(line.ref, alt) or "ref_mismatch") for alt in line.alts)
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
    """Check that column REF is what the genome has; N and other ambiguity codes, in either, match every letter."""
    start, end = line.position - 1, line.position - 1 + len(line.ref)
    length = reference.lengths[name]
    if start in (-1, length) and line.ref.upper() == "N":  # positions 0 and length + 1 stand for the telomeres
        return True
    if start < 0:
        has = "has no position 0"
    elif end <= length:
        found, given = LETTER_CODE[reference.read(name, start, end)], LETTER_CODE[as_letters(line.ref)]
        if ((found == given) | (found == 4) | (given == 4)).all():  # 4: not A, C, G or T
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


def region_of_genome(region: str, reference: Reference) -> tuple[str, int, int]:
    """Return contig, start and end (0-based, half-open) of a region of a genome.

    Args:
        region: ``contig:start-end``, as `parse_region` reads it.
        reference: the genome.

    Raises:
        InputError: if it is written otherwise, or reaches past the contig.
    """
    contig, start, end = parse_region(region)
    name = reference.find(contig, "region")
    length = reference.lengths[name]
    if end > length:
        raise InputError(f"region {shorten(region)}: {shorten(name)} ends at {length:,}; name a region before that")
    return name, start, end


def region_records(reference: Reference, name: str, start: int, end: int) -> Iterator[Record]:
    """Iterate over the positions of a region, each with its three substitutions.

    A position without A, C, G, T or U has the flag "ref_n" and no substitution.

    Args:
        reference: the genome.
        name: name of the contig.
        start: 0-based.
        end: 0-based, not included.
    """
    strands = reference.strands(name)
    for position in range(start, end):
        ref = chr(reference.read(name, position, position + 1)[0]).upper().replace("U", "T")
        alts = [letter for letter in "ACGT" if letter != ref] if ref in "ACGT" else ["."]
        alleles = tuple(
            Allele(alt, (Event(position, ref, alt),), None) if alt != "." else Allele(alt, (), "ref_n") for alt in alts
        )
        yield Record("", name, position + 1, ".", ref, alleles, strands, True)


def pair_records(path: str, k: int, watch: Callable[[memoryview], object] | None = None) -> Iterator[Record]:
    """Iterate over the rows of a table of pairs; each row is a contig of its own.

    Args:
        path: CSV, TSV or Parquet table with the columns ``sequence`` and ``alt_sequence``, and ``id`` if there is one.
        k: k-mer size in nt.
        watch: called with the bytes on disk as they are read, for a progress bar.

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
    letters = as_letters(ref)
    strands = strands_in_memory(where, letters)  # keyed by file and row, since ids may repeat
    if ref == alt:
        return Record("", name, 1, ".", ".", (Allele(".", (), "no_change"),), strands, True)
    event = trim(0, ref, alt)  # from the first to the last difference: what the record shows as REF and ALT
    events: tuple[Event, ...]
    flag: Flag | None
    if len(ref) == len(alt):
        # A VCF record with the same letters is one substitution ("mnv"). A pair does not say which substitutions belong
        # together, so each is an event of its own.
        changed = np.flatnonzero(letters != as_letters(alt)).tolist()
        events = tuple(Event(place, ref[place], alt[place]) for place in changed)
        flag = "several" if len(events) > 1 else None
        if not all(one.ref in "ACGT" and one.alt in "ACGT" for one in events):
            events, flag = (), "ambiguous"
    else:
        plain = all(letter in "ACGT" for letter in event.ref + event.alt)
        events, flag = ((event,), "indel") if plain else ((), "ambiguous")
    allele = Allele(event.alt or ".", events, flag)
    return Record("", name, event.start + 1, ".", event.ref or ".", (allele,), strands, True)


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
