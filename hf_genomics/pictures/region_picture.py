"""Draw genes, tracks, scores and variants of a region of a genome: `hf-genomics region-picture`."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..interpretation.figures import Track, Variant, name_figure, region_figure
from ..io.files import shorten
from ..io.genome_tracks import read_genes, read_values
from ..io.streams import is_stream
from ..io.text_tables import read_text_columns
from ..io.writing import check_output_file, write_bytes
from ..variants.vcf import PREFIX, Line, read_vcf

logger = logging.getLogger(__name__)

_REGION = re.compile(r"(?P<contig>.+):(?P<start>[\d,]+)-(?P<end>[\d,]+)")
_LONGEST = 10_000_000  # nt of a picture
#: Suffix of a picture -> facts that are not written, so that the same input gives the same file.
_METADATA: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_TABLE = ["chrom", "pos", "ref", "alt"]  # columns of a table of score-variants


def region_picture(
    region: str,
    output: str,
    genes: str | None = None,
    tracks: list[str] | None = None,
    scores: str | None = None,
    variants: str | None = None,
    column: str = "llr",
    overwrite: bool = False,
) -> Path:
    """Draw a region of a genome: genes, tracks, scores and variants below one another, on one axis of positions.

    Everything is read from files that other commands write: class probabilities of `predict` (.bedgraph, .bw), scores
    of nucleotides of `explain` (scores.bedgraph, scores.bw), and variants of `score-variants`.

    Args:
        region: ``contig:start-end``, 1-based with both ends included, as in `score-variants` and genome browsers.
        output: picture to write, .png, .svg or .pdf.
        genes: BED or GFF file of genes.
        tracks: bedGraph or bigWig files, such as class probabilities; each has a row, named after its file.
        scores: bedGraph or bigWig file of scores of nucleotides, drawn as bars.
        variants: VCF file, or table (.tsv, .parquet) of `score-variants`; without scores, variants are open circles.
        column: score of the variants that is drawn; in a VCF file it is the INFO field HFG_ and this name in capitals.
        overwrite: replace an existing picture.

    Returns:
        The path of the picture.

    Raises:
        InputError: if the region or a file is wrong, or nothing is to be drawn.

    >>> import hf_genomics as hg
    >>> hg.region_picture("chr1:1001-1200", "x.png", tracks=["x.phage.bw"], scores="scores.bw")  # doctest: +SKIP
    """
    read = [path for path in (genes, scores, variants, *(tracks or [])) if path is not None]
    if not read:
        raise InputError("nothing to draw; name at least one of genes, tracks, scores and variants")
    path = check_output_file(output, read, overwrite=overwrite)
    if path.suffix.lower() not in _METADATA or is_stream(path):
        raise InputError(f"{output}: the suffix decides the format; name a file {', '.join(_METADATA)}")
    contig, start, end = parse_region(region)
    rows = [Track(name, start, read_values(file, contig, start, end)) for name, file in _named(tracks or [])]
    bars = None if scores is None else Track("score", start, read_values(scores, contig, start, end))
    found = None if variants is None else list(read_variants(variants, column, contig, start, end))
    name = "LLR (nats)" if column == "llr" else column
    figure = region_figure(contig, start, end, rows, bars, None if genes is None else read_genes(genes), found, name)
    name_figure(figure, contig, start, end)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=200, metadata=_METADATA[path.suffix.lower()])
    write_bytes(path, buffer.getvalue())
    logger.info("wrote %s", path)
    return path


def parse_region(region: str) -> tuple[str, int, int]:
    """Return contig, start and end (0-based, half-open) of a region as genome browsers write it.

    >>> parse_region("chr1:1,001-1,200")
    ('chr1', 1000, 1200)

    Args:
        region: ``contig:start-end``, 1-based, both ends included; digits may be grouped by commas.

    Raises:
        InputError: if it is not a region, or too long for a picture.
    """
    match = _REGION.fullmatch(region.strip())
    start, end = (int(match[key].replace(",", "") or 0) for key in ("start", "end")) if match else (0, 0)
    if match is None or not 1 <= start <= end:
        raise InputError(f"region {shorten(region)} is not contig:start-end, such as chr1:1001-1200; write it so")
    if end - start >= _LONGEST:
        raise InputError(f"region {shorten(region)} has {end - start + 1:,} nt; a picture shows {_LONGEST:,} at most")
    return match["contig"], start - 1, end


def read_variants(path: str, column: str, contig: str, start: int, end: int) -> Iterator[Variant]:
    """Iterate over the variants of a region, each allele by itself.

    Args:
        path: VCF file, or table of `score-variants` (.tsv, .parquet).
        column: name of the score.
        contig: name of the contig.
        start: first position, 0-based.
        end: position after the last one.

    Raises:
        InputError: if the file is wrong.
    """
    is_table = Path(path).suffix.lower() in (".tsv", ".parquet")
    rows = _of_table(path, column) if is_table else _of_vcf(path, column)
    for chrom, position, ref, alt, score in rows:
        if chrom == contig and start < position <= end:
            name = f"{ref}>{alt}" if len(ref) + len(alt) <= 8 else f"{len(ref)} nt > {len(alt)} nt"
            yield Variant(position - 1, name, score)


def _of_table(path: str, column: str) -> Iterator[tuple[str, int, str, str, float]]:
    """Iterate over the rows of a table: chrom, pos (1-based), ref, alt, score."""
    frame = read_text_columns(path, [*_TABLE, column], [])
    for number, row in enumerate(frame[[*_TABLE, column]].itertuples(index=False, name=None), start=1):
        chrom, position, ref, alt, score = row
        if not position.isdecimal():
            raise InputError(f"{path}: data row {number}: pos {shorten(position)} is not a whole number; fix the cell")
        yield chrom, int(position), ref, alt, _number(score, f"{path}: data row {number}, {column}")


def _of_vcf(path: str, column: str) -> Iterator[tuple[str, int, str, str, float]]:
    """Iterate over the alleles of a VCF file, as `_of_table` does; without the INFO field, scores are NaN."""
    _, lines = read_vcf(path)
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
        return float(text) if text not in ("", ".") else float("nan")
    except ValueError:
        raise InputError(f"{where}: {shorten(text)} is not a number; fix it") from None


def _named(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Iterate over files with the names of their rows: NAME of x.NAME.bw, or x of x.bw."""
    for path in paths:
        name = re.sub(r"\.gz$", "", Path(path).name)
        yield name.rpartition(".")[0].rpartition(".")[2] or name, path
