"""Draw genes, tracks, scores and variants of a region of a genome: `hf-genomics region-picture`."""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..interpretation.figures import Track, Variant, name_figure, region_figure, show_dollars
from ..io.files import shorten
from ..io.genome_tracks import MOST_DIGITS, Region, check_contig, panel_names, parse_region, read_genes, read_values
from ..io.streams import is_stream
from ..io.text_tables import read_text_columns
from ..io.writing import check_output_file, write_bytes
from ..variants.vcf import PREFIX, Line, read_vcf

logger = logging.getLogger(__name__)

_CONTIG = re.compile(r"##contig=<ID=([^,>]+)")
_LONGEST = 10_000_000  # longest region, nt
#: Suffix of a picture -> metadata that matplotlib would write, set to None, so that the same input gives the same file.
_METADATA: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_COLUMN = "llr"
_TABLE = ["chrom", "pos", "ref", "alt"]  # columns of a table of score-variants


def region_picture(
    region: str,
    output: str,
    genes: str | None = None,
    tracks: list[str] | None = None,
    scores: str | None = None,
    variants: str | None = None,
    column: str = _COLUMN,
    overwrite: bool = False,
) -> Path:
    """Draw a region of a genome: genes, tracks, scores and variants one below the other, on one axis of positions.

    Everything is read from files that other commands write: class probabilities of `predict` (.bedgraph, .bw), scores
    of nucleotides of `explain` (scores.bedgraph, scores.bw), and variants of `score-variants`.

    Args:
        region: ``contig:start-end``, 1-based with both ends included, as in `score-variants` and genome browsers.
        output: picture to write, .png, .svg or .pdf.
        genes: BED or GFF file of genes.
        tracks: bedGraph or bigWig files, such as class probabilities; each has a panel, named after its file.
        scores: bedGraph or bigWig file of scores of nucleotides, drawn as bars.
        variants: VCF file or table (.tsv, .csv, .parquet) of `score-variants`; variants without a score are open
            circles.
        column: the score of variants to draw, such as llr: a column of the table, or the INFO field HFG_LLR of a VCF
            file.
        overwrite: replace an existing picture.

    Returns:
        The path of the picture.

    Raises:
        InputError: if the region or a file is wrong, or nothing is to be drawn.

    >>> import hf_genomics as hg
    >>> hg.region_picture("chr1:1001-1200", "x.png", tracks=["x.phage.bw"], scores="scores.bw")  # doctest: +SKIP
    """
    inputs = [path for path in (genes, scores, variants, *(tracks or [])) if path is not None]
    if not inputs:
        raise InputError("nothing to draw; name at least one of genes, tracks, scores and variants")
    path = check_output_file(output, inputs, overwrite=overwrite)
    if path.suffix.lower() not in _METADATA or is_stream(path):
        raise InputError(f"{output}: the suffix decides the format; name a file {', '.join(_METADATA)}")
    contig, start, end = parse_region(region)
    if end - start > _LONGEST:
        raise InputError(f"region {shorten(region)} has {end - start:,} nt; a picture shows {_LONGEST:,} at most")
    names = panel_names(tracks or [])
    panels = [
        Track(name, start, read_values(file, contig, start, end))
        for name, file in zip(names, tracks or [], strict=True)
    ]
    for panel, file in zip(panels, tracks or [], strict=True):
        if np.isnan(panel.values).all():
            logger.warning("%s: no value in %s", file, shorten(region))
    bars = None if scores is None else Track("score", start, read_values(scores, contig, start, end))
    found = None if variants is None else list(read_variants(variants, column, contig, start, end))
    shown = None if genes is None else _read_genes(genes, contig)
    name = "LLR (nats)" if column == _COLUMN else column
    figure = region_figure(contig, start, end, panels, bars, shown, found, name)
    name_figure(figure, contig, start, end)
    show_dollars(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=200, metadata=_METADATA[path.suffix.lower()])
    write_bytes(path, buffer.getvalue())
    logger.info("wrote %s", path)
    return path


def read_variants(path: str, column: str, contig: str, start: int, end: int) -> Iterator[Variant]:
    """Iterate over the variants that start in a region, each allele by itself.

    Args:
        path: VCF file, or table of `score-variants` (.tsv, .csv, .parquet).
        column: name of the score.
        contig: name of the contig.
        start: first position, 0-based.
        end: position after the last one.

    Raises:
        InputError: if the file is wrong, or has nothing on the contig.
    """
    is_table = Path(path).suffix.lower() in (".tsv", ".csv", ".parquet")
    contigs: set[str] = set()
    rows = _of_table(path, column) if is_table else _of_vcf(path, column, contigs)
    for chrom, position, ref, alt, score in rows:
        contigs.add(chrom)
        if chrom == contig and start < position <= end:
            yield Variant(position - 1, name_change(ref, alt), score)
    check_contig(path, contig, contigs)


def name_change(ref: str, alt: str) -> str:
    """Name what an allele changes: its letters, their number if they are many, or a symbolic allele or breakend itself.

    >>> name_change("A", "GT"), name_change("ACGTACGT", "A"), name_change("A", "<DUP:TANDEM>")
    ('A>GT', '8 nt > 1 nt', '<DUP:TANDEM>')

    Args:
        ref: reference allele.
        alt: alternative allele, as a VCF file has it.
    """
    if not (alt.isalpha() or alt in ("*", ".")):
        return alt if len(alt) <= 20 else f"{alt[:17]}..."
    return f"{ref}>{alt}" if len(ref) + len(alt) <= 8 else f"{len(ref)} nt > {len(alt)} nt"


def _read_genes(path: str, contig: str) -> list[Region]:
    """Read genes, and check that the file names the contig."""
    genes = read_genes(path)
    check_contig(path, contig, {gene.contig for gene in genes})
    return genes


def _of_table(path: str, column: str) -> Iterator[tuple[str, int, str, str, float]]:
    """Iterate over the rows of a table: chrom, pos (1-based), ref, alt, score."""
    frame = read_text_columns(path, [*_TABLE, column], [])
    for number, row in enumerate(frame[[*_TABLE, column]].itertuples(index=False, name=None), start=1):
        chrom, position, ref, alt, score = row
        if not position.isdecimal() or len(position) > MOST_DIGITS:
            raise InputError(f"{path}: data row {number}: pos {shorten(position)} is not a whole number; fix the cell")
        yield chrom, int(position), ref, alt, _number(score, f"{path}: data row {number}, {column}")


def _of_vcf(path: str, column: str, contigs: set[str]) -> Iterator[tuple[str, int, str, str, float]]:
    """Iterate over the alleles of a VCF file, as `_of_table` does; without the INFO field, scores are NaN.

    Args:
        path: the file.
        column: name of the score.
        contigs: receives the contigs that the header declares, which may have no variant.
    """
    header, lines = read_vcf(path)
    contigs.update(match[1] for line in header.lines if (match := _CONTIG.match(line)))
    scored = [name for name in header.declared if name.startswith(PREFIX)]
    if f"{PREFIX}{column.upper()}" not in scored and (scored or column != _COLUMN):
        has = f"it has {', '.join(scored)}" if scored else "score it by hf-genomics score-variants"
        raise InputError(f"{path}: the header declares no {PREFIX}{column.upper()[:40]}, the field of column; {has}")
    for line in lines:
        scores = _info(line, f"{PREFIX}{column.upper()}")
        for number, alt in enumerate(line.alts):
            score = scores[number] if number < len(scores) else ""
            yield line.chrom, line.position, line.ref, alt, _number(score, line.where)


def _info(line: Line, name: str) -> list[str]:
    """Return the values of an INFO field of a record, none if it is missing."""
    fields = line.text.rstrip("\r\n").split("\t")[7].split(";")
    return next((field.partition("=")[2].split(",") for field in fields if field.startswith(f"{name}=")), [])


def _number(text: str, where: str) -> float:
    """Read a score; an empty cell and "." are NaN."""
    try:
        score = float(text) if text not in ("", ".") else math.nan
    except ValueError:
        score = math.inf
    if math.isinf(score):
        raise InputError(f"{where}: {shorten(text)} is not a finite number; fix it")
    return score
