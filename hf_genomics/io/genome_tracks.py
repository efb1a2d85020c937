"""Read regions and genes (BED, GFF), and write scores along a genome (bedGraph, bigWig).

Positions are 0-based and half-open throughout, as in BED; GFF, which counts from 1, is converted when it is read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import unquote

import numpy as np

from ..errors import InputError, keep_secret
from ..sequence import did_you_mean
from .files import input_errors, open_binary, shorten
from .kinds import START_BYTES, require_text

_PLACE = re.compile(r"(?:.*::)?(?P<contig>.+):(?P<start>[\d,]+)-(?P<end>[\d,]+)(?:\((?P<strand>[+.-])\))?")
_REGION = re.compile(r"(?P<contig>.+):(?P<start>[\d,]+)-(?P<end>[\d,]+)")
_TAG = re.compile(r'(?:^|;)\s*(\w+)([= ])"?([^;"]*)')  # of GFF: tag=value; of GTF: tag "value"
_NAME_TAGS = ("Name", "gene_name", "gene", "locus_tag", "ID", "gene_id")  # the first that has a value names it
_BIGWIG = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")  # first bytes of the file, in either byte order
_STEP = 1 << 16  # values that are passed to pyBigWig at once
#: Most digits of a position, which then fits into 64 bits.
MOST_DIGITS = 18


class Region(NamedTuple):
    """A stretch of a contig.

    Attributes:
        contig: name of the contig.
        start: first position, 0-based.
        end: position after the last one.
        strand: "+" or "-"; "." if it has none.
        name: name of a gene or region, possibly empty.
        line: number of the line in the file, from 1; 0 if it comes from no file.
        kind: type of a GFF line or GenBank feature, such as "CDS"; empty in BED.
    """

    contig: str
    start: int
    end: int
    strand: str = "."
    name: str = ""
    line: int = 0
    kind: str = ""


class Stretch(NamedTuple):
    """Values of consecutive positions of a contig.

    Attributes:
        contig: name of the contig.
        start: first position, 0-based.
        values: (nt,), or (nt, columns).
    """

    contig: str
    start: int
    values: np.ndarray

    @property
    def end(self) -> int:
        """Position after the last one."""
        return self.start + len(self.values)


# Places.


def parse_region(region: str) -> tuple[str, int, int]:
    """Return contig, start and end (0-based, half-open) of a region as samtools and genome browsers write it.

    >>> parse_region("chr1:1,001-1,200")
    ('chr1', 1000, 1200)

    Args:
        region: ``contig:start-end``, 1-based, both ends included; digits may be grouped by commas.

    Raises:
        InputError: if it is written otherwise.
    """
    match = _REGION.fullmatch(region.strip())
    if match is None or max(map(len, match.group("start", "end"))) > 2 * MOST_DIGITS:  # commas count, too
        raise InputError(f"region {shorten(region)} must be contig:start-end, such as chr1:1001-1200; correct it")
    # "or 0": a text of commas only has no digits.
    start, end = (int(match[key].replace(",", "") or 0) for key in ("start", "end"))
    if not 1 <= start <= end:
        raise InputError(f"region {shorten(region)}: write start and end in this order; positions count from 1")
    return match["contig"], start - 1, end


def place_of(header: str, length: int) -> Region:
    """Read where a sequence lies in a genome from its name, as bedtools (0-based) and samtools (1-based) write it.

    >>> place_of("chr1:100-110", 10).start, place_of("chr1:101-110", 10).start
    (100, 100)

    Args:
        header: name of the sequence: ``contig:start-end``, possibly with a strand, ``(+)`` or ``(-)``, or with a name
            and ``::`` in front.
        length: length of the sequence in nt, which shows whether the start counts from 0 or from 1.

    Returns:
        The place; the sequence itself, from 0, if the name does not state a place of this length.
    """
    match = _PLACE.fullmatch(header)
    if match and max(map(len, match.group("start", "end"))) <= MOST_DIGITS:
        start, end = (int(match[key].replace(",", "") or 0) for key in ("start", "end"))
        if end - start + 1 == length and start > 0:
            start -= 1
        if end - start == length:
            return Region(match["contig"], start, end, match["strand"] or ".", header)
    return Region(header, 0, length, ".", header)


def merge_stretches(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Iterate over stretches without overlaps; a position in several stretches gets their mean.

    Args:
        stretches: sorted by start within each contig; the stretches of a contig follow one another.
    """
    group: list[Stretch] = []
    end = 0  # of the group
    for stretch in stretches:
        if group and (group[0].contig != stretch.contig or stretch.start >= end):
            yield _mean_of(group)
            group = []
        end = max(end, stretch.end) if group else stretch.end
        group.append(stretch)
    if group:
        yield _mean_of(group)


def _mean_of(group: list[Stretch]) -> Stretch:
    """Return the mean of stretches that overlap; NaN counts only where all are NaN."""
    if len(group) == 1:
        return group[0]
    start, end = group[0].start, max(one.end for one in group)
    total = np.zeros((end - start, *group[0].values.shape[1:]))
    count = np.zeros_like(total)
    for one in group:
        known = ~np.isnan(one.values)
        total[one.start - start : one.end - start] += np.where(known, one.values, 0)
        count[one.start - start : one.end - start] += known
    return Stretch(group[0].contig, start, np.where(count > 0, total, np.nan) / np.maximum(count, 1))


def column_of(stretches: Iterable[Stretch], number: int) -> Iterator[Stretch]:
    """Iterate over stretches with one column of their values only."""
    return (one._replace(values=one.values[:, number]) for one in stretches)


# Writing.


def runs_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the runs of equal values; NaN is left out.

    >>> [column.tolist() for column in runs_of(np.array([2.0, 2.0, np.nan, 3.0]))]
    [[0, 3], [2, 4], [2.0, 3.0]]

    Args:
        values: float32 or float64 (nt,).

    Returns:
        The start and the end (0-based, half-open) and the value of each run.
    """
    if not len(values):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), values
    starts = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1])  # between NaNs the difference is NaN: a new run
    ends = np.append(starts[1:], len(values))
    known = ~np.isnan(values[starts])
    return starts[known], ends[known], values[starts[known]]


def write_bedgraph(file: TextIO, stretches: Iterable[Stretch]) -> None:
    """Write scores as bedGraph: contig, start, end, value; neighbours of equal value share a line, NaN has none.

    Args:
        file: open file.
        stretches: without overlaps, values (nt,).
    """
    for contig, start, values in stretches:
        name = _without_blanks(contig)
        for begin, end, value in zip(
            *(column.tolist() for column in runs_of(np.asarray(values, np.float32))), strict=True
        ):
            file.write(f"{name}\t{start + begin}\t{start + end}\t{value:.7g}\n")


def write_bigwig(path: Path, stretches: Iterable[Stretch], sizes: Mapping[str, int]) -> None:
    """Write scores as bigWig; needs pyBigWig.

    Args:
        path: the file.
        stretches: without overlaps, values (nt,), sorted by the order of the contigs in ``sizes`` and by start; NaN is
            left out.
        sizes: length of each contig in nt.
    """
    import pyBigWig

    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(sizes.items()))
        for contig, start, values in stretches:
            for begin in range(0, len(values), _STEP):
                part = np.asarray(values[begin : begin + _STEP], np.float64)
                first = start + begin
                starts, ends, scores = runs_of(part)
                if len(starts) > len(part) / 3 and not np.isnan(part).any():
                    file.addEntries(contig, first, values=part, span=1, step=1)
                elif len(starts):  # fewer, longer intervals
                    places = (first + starts).tolist()
                    file.addEntries(
                        [contig] * len(places), places, ends=(first + ends).tolist(), values=scores.tolist()
                    )


def write_bed(file: TextIO, intervals: Iterable[tuple[Region, float]], colors: Mapping[str, str]) -> None:
    """Write named intervals as BED with nine columns: the score is 1000 times the probability, colours are by name.

    Args:
        file: open file.
        intervals: places, and the probability of each place's name.
        colors: name -> colour, "#rrggbb".
    """
    for place, probability in intervals:
        rgb = ",".join(str(int(colors[place.name][at : at + 2], 16)) for at in (1, 3, 5))
        cells = [_without_blanks(place.contig), place.start, place.end, re.sub(r"\s", " ", place.name)]
        cells += [round(1000 * probability), place.strand, place.start, place.end, rgb]
        file.write("\t".join(map(str, cells)) + "\n")


def _without_blanks(contig: str) -> str:
    """Return the name of a contig without blanks, which separate columns in text files."""
    return re.sub(r"\s", "_", contig)


# Reading.


def read_bed(path: str | PathLike[str], *, blanks: bool = False) -> list[Region]:
    """Read the regions of a BED file, plain or gzipped.

    Args:
        path: the file; lines that begin with "#" or the words "track" or "browser" are skipped.
        blanks: whether the columns of a line without tabs may be separated by blanks.

    Raises:
        InputError: if the file cannot be read or holds no region; or naming the line that is not a region.
    """

    def row(fields: list[str], where: str, line: int) -> Region:
        return _bed_row(fields[0].split() if blanks and len(fields) == 1 else fields, where, line)

    regions = list(_rows(path, row))
    if not regions:
        raise InputError(f"{path}: no region in this file; a BED line is 'contig<TAB>start<TAB>end'")
    return regions


def read_gff(path: str | PathLike[str]) -> list[Region]:
    """Read the features of a GFF or GTF file, plain or gzipped, each with its type as ``kind``.

    Args:
        path: the file; a FASTA part at its end is ignored.

    Raises:
        InputError: if the file cannot be read or holds no feature; or naming the line that is not a feature.
    """

    def row(fields: list[str], where: str, line: int) -> Region:
        if len(fields) != 9:
            raise InputError(f"{where}: {len(fields)} of 9 columns; a GFF line has nine, separated by tabs")
        return _gff_row(fields, where, line)

    features = list(_rows(path, row))
    if not features:
        raise InputError(f"{path}: no feature in this file; a GFF line has nine columns, separated by tabs")
    return features


def read_genes(path: str | PathLike[str]) -> list[Region]:
    """Read genes from a BED or GFF/GTF file, plain or gzipped; of GFF, lines of type "gene" or, without any, "CDS".

    Args:
        path: the file; a line with nine columns is GFF.

    Raises:
        InputError: as `read_bed`.
    """

    def row(fields: list[str], where: str, line: int) -> Region:
        is_gff = len(fields) == 9 and not fields[1].isdigit()
        return _gff_row(fields, where, line) if is_gff else _bed_row(fields, where, line)

    found = list(_rows(path, row))
    genes = [region for region in found if region.kind in ("gene", "")]  # lines of BED have no type
    genes = genes or [region for region in found if region.kind == "CDS"]
    if not genes:
        raise InputError(f"{path}: no gene in this file; give a BED file, or a GFF file with lines of type gene or CDS")
    return genes


def read_bedgraph(path: str | PathLike[str]) -> list[tuple[Region, float]]:
    """Read the intervals and values of a bedGraph file, plain or gzipped.

    Args:
        path: the file.

    Raises:
        InputError: as `read_bed`.
    """
    values: list[float] = []

    def row(fields: list[str], where: str, line: int) -> Region:
        region = _bed_row(fields[:3], where, line)
        values.append(_value_of(fields, where))
        return region

    return list(zip(_rows(path, row), values))  # noqa: B905 (values grow while rows are read)


def read_values(path: str | PathLike[str], contig: str, start: int, end: int) -> np.ndarray:
    """Read the values of a region from a bedGraph or bigWig file (.bw, .bigwig); a bedGraph file is read as a stream.

    Args:
        path: the file.
        contig: name of the contig.
        start: first position, 0-based.
        end: position after the last one.

    Returns:
        float64 (end - start,), NaN where the file has no value.

    Raises:
        InputError: as `read_bed`; or if the file has no value on the contig.
    """
    if Path(path).suffix.lower() in (".bw", ".bigwig"):
        return _bigwig_values(path, contig, start, end)
    values, contigs = np.full(end - start, np.nan), set()

    def row(fields: list[str], where: str, line: int) -> Region:
        region, value = _bed_row(fields[:3], where, line), _value_of(fields, where)
        contigs.add(region.contig)
        if region.contig == contig and region.start < end and region.end > start:
            values[max(0, region.start - start) : max(0, region.end - start)] = value
        return region

    for _ in _rows(path, row):
        pass
    check_contig(path, contig, contigs)
    return values


def _bigwig_values(path: str | PathLike[str], contig: str, start: int, end: int) -> np.ndarray:
    """Read the values of a region from a bigWig file; see `read_values`."""
    try:
        import pyBigWig
    except ImportError as error:
        raise InputError(f"{path}: bigWig files need pyBigWig; run: pip install 'hf_genomics[explain]'") from error
    damaged = InputError(f"{path}: not a bigWig file, or a damaged one; write it again")
    with input_errors(path), open_binary(path) as content:  # pyBigWig would write about it to standard error
        if bytes(content.peek(4)[:4]) not in _BIGWIG:
            raise damaged
    values = np.full(end - start, np.nan)
    try:
        with pyBigWig.open(str(path)) as file:
            check_contig(path, contig, file.chroms())
            last = min(end, file.chroms(contig))
            if last > start and (found := file.values(contig, start, last)):  # [] if the file has no value at all
                values[: last - start] = found
    except RuntimeError as error:
        raise damaged from error
    return values


def check_contig(path: str | PathLike[str], contig: str, contigs: Collection[str]) -> None:
    """Check that a file names a contig; otherwise a picture would be empty, and nothing would say why.

    Args:
        path: the file, for the message.
        contig: name of the contig.
        contigs: names of the contigs of the file.

    Raises:
        InputError: naming the contig, and those of the file.
    """
    if contig not in contigs:
        keep_secret(contigs)
        there = ", ".join(map(shorten, sorted(contigs)[:3])) + ", ..." * (len(contigs) > 3)
        hint = did_you_mean(contig, contigs) or (f"; it has {there}" if contigs else "")
        raise InputError(f"{path}: nothing on contig {shorten(contig)}{hint}; check the region and the file")


def read_sizes(path: str | PathLike[str]) -> dict[str, int]:
    """Read the lengths of contigs, name and length on each line, as in chrom.sizes and .fai files.

    Args:
        path: the file.

    Raises:
        InputError: if the file cannot be read or is empty; or naming the line that is wrong.
    """

    def row(fields: list[str], where: str, line: int) -> Region:
        if len(fields) < 2:
            raise InputError(f"{where}: {len(fields)} column; write contig and length, separated by a tab")
        length = _number(fields[1], "length", where)
        if not length:
            raise InputError(f"{where}: contig {shorten(fields[0])} has length 0; write its length in nt")
        return Region(fields[0], 0, length, line=line)

    sizes: dict[str, int] = {}
    for region in _rows(path, row):
        if region.contig in sizes:
            where = f"{path}, line {region.line}"
            raise InputError(f"{where}: contig {shorten(region.contig)} is listed twice; delete one of the lines")
        sizes[region.contig] = region.end
    if not sizes:
        raise InputError(f"{path}: no contig in this file; a line is 'contig<TAB>length'")
    return sizes


def _rows(path: str | PathLike[str], row: Callable[[list[str], str, int], Region]) -> Iterator[Region]:
    """Iterate over the regions of the lines of a file that are not comments."""
    with input_errors(path), open_binary(path) as file:
        require_text(path, bytes(file.peek(START_BYTES)[:START_BYTES]))
        for line, raw in enumerate(file, start=1):
            text = raw.decode("utf-8-sig" if line == 1 else "utf-8").rstrip("\r\n")
            if text.startswith("##FASTA"):
                return
            if not text.strip() or text.startswith("#") or text.split(None, 1)[0] in ("track", "browser"):
                continue
            fields = text.split("\t")
            keep_secret(fields[:1])
            yield row(fields, f"{path}, line {line}", line)


def _bed_row(fields: list[str], where: str, line: int) -> Region:
    """Read one line of a BED file."""
    if len(fields) < 3:
        found = "blanks instead of tabs" if len(" ".join(fields).split()) > 2 else f"{len(fields)} of 3 columns"
        raise InputError(f"{where}: {found}; a BED line is 'contig<TAB>start<TAB>end'")
    if len(fields) == 9 and fields[3].isdecimal() and not fields[1].strip().isdecimal():
        raise InputError(
            f"{where}: a line of GFF or GTF, but this file must be BED ('contig<TAB>start<TAB>end'); convert it "
            "(hf-genomics table reads GFF by --gff)"
        )
    start, end = _number(fields[1], "start", where), _number(fields[2], "end", where)
    if start >= end:
        raise InputError(
            f"{where}: start {start} is not below end {end}; BED starts count from 0, and ends are excluded"
        )
    strand = fields[5] if len(fields) > 5 else "."
    if strand not in ("+", "-", "."):
        raise InputError(f"{where}: strand {shorten(strand)} is not '+', '-' or '.'; fix column 6")
    if not fields[0].strip():
        raise InputError(f"{where}: column 1, the contig, is empty; write its name")
    return Region(fields[0], start, end, strand, fields[3] if len(fields) > 3 else "", line)


def _value_of(fields: list[str], where: str) -> float:
    """Read the value of a line of a bedGraph file."""
    try:
        value = float(fields[3])
    except (IndexError, ValueError):
        raise InputError(
            f"{where}: column 4 must be a number, as bedGraph has it; fix the line, or name a bedGraph or bigWig file"
        ) from None
    if math.isinf(value):
        raise InputError(f"{where}: column 4 is infinite, which cannot be drawn; fix the line")
    return value


def _gff_row(fields: list[str], where: str, line: int) -> Region:
    """Read one line of a GFF or GTF file."""
    start, end = _number(fields[3], "start", where), _number(fields[4], "end", where)
    if not 1 <= start <= end:
        raise InputError(
            f"{where}: start {start} and end {end} are not an interval; GFF counts from 1, and ends are included"
        )
    strand = fields[6].strip()
    if strand not in ("+", "-", ".", "?"):
        raise InputError(f"{where}: strand {shorten(strand)} is not '+', '-', '.' or '?'; fix column 7")
    tags = {tag: _tag_value(mark, value) for tag, mark, value in _TAG.findall(fields[8])}
    name = next((tags[tag] for tag in _NAME_TAGS if tags.get(tag)), "")
    return Region(fields[0], start - 1, end, strand.replace("?", "."), name, line, fields[2])


def _tag_value(mark: str, value: str) -> str:
    """Return the value of a tag; GFF, which writes ``tag=value``, has "%3B" for a semicolon, and GTF does not."""
    return " ".join((unquote(value) if mark == "=" else value).split())


def _number(text: str, what: str, where: str) -> int:
    """Read a position."""
    if not text.strip().isdecimal() or len(text) > MOST_DIGITS:
        raise InputError(f"{where}: {what} {shorten(text, 30)} is not a whole number of nt; fix the column")
    return int(text)


def panel_names(paths: Sequence[str]) -> list[str]:
    """Return the name of each file's panel: NAME of x.NAME.bw, as `predict` writes it, or x of x.bw.

    Where two names would be equal, the whole name of the file is used, or its path.

    >>> panel_names(["x.phage.bw", "x.bw"]), panel_names(["SRR1.sorted.bw", "SRR2.sorted.bw"])
    (['phage', 'x'], ['SRR1.sorted', 'SRR2.sorted'])
    """
    files = [re.sub(r"\.gz$", "", Path(path).name) for path in paths]
    whole = [file.rpartition(".")[0] or file for file in files]
    names = [name.rpartition(".")[2] or name for name in whole]
    for longer in (whole, paths):
        number = Counter(names)
        names = [other if number[name] > 1 else name for name, other in zip(names, longer, strict=True)]
    return names
