"""Files of variant scores: VCF, TSV or Parquet, written record by record, complete or not at all; and a heat map.

Until a file is complete its text is in the folder ``.NAME.partial`` next to it, with ``settings.json`` (what the scores
depend on), ``progress.json`` (how many records are complete, how many bytes of text they take, and their flags), and a
lock that keeps other runs out.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..errors import InputError
from ..inference.growing_table import check_settings, record_of
from ..io.streams import destination
from ..io.writing import put_in_place, write_bytes, write_json, write_row
from ..runs.output_folder import Resume, empty_folder, working_folder
from ..sequence_files.reference import import_pysam, quiet_pysam
from .sources import Record
from .vcf import PREFIX, add_info

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

Format = Literal["vcf", "vcf.gz", "tsv", "parquet"]
#: Columns of a table before and after the scores.
BEFORE = ["chrom", "pos", "id", "ref", "alt", "variant_id"]
AFTER = ["ref_ok", "flag"]


class ScoredVariant(NamedTuple):
    """A record with its scores.

    Attributes:
        record: the record.
        scores: for each allele the values by column; NaN for a missing one.
        flags: for each allele why it has no score, or how it was scored; "" for a plain substitution.
    """

    record: Record
    scores: list[dict[str, float]]
    flags: list[str]


def format_of(output: str) -> Format:
    """Return the format that the suffix of a file names.

    Raises:
        InputError: if the suffix names none.
    """
    formats: tuple[Format, ...] = ("vcf.gz", "vcf", "tsv", "parquet")
    for name in formats:
        if output.endswith(f".{name}"):
            return name
    raise InputError(f"{output}: the suffix decides the format; name a file .vcf.gz, .vcf, .tsv or .parquet")


class GrowingScores:
    """A file of scores; use it in a ``with`` block, and call `finish` at its end.

    If the input is wrong (`InputError`), what was written is deleted. After any other exception it is kept.

    Args:
        target: path of the file.
        kind: its format.
        header: text before the first record.
        settings: everything that the scores depend on, by name.
        resume: continue an interrupted run; "auto" also records the finished run, for `finished_before`.
        whole: begin an interrupted run again, because its records are needed.

    Attributes:
        num_records: number of complete records.
        counts: number of their alleles by flag.

    Raises:
        InputError: if the interrupted run had other settings, or another process is writing the file.
    """

    def __init__(
        self, target: Path, kind: Format, header: str, settings: dict[str, Any], resume: Resume, whole: bool = False
    ) -> None:
        self._named, self._target, self._kind = target, destination(target), kind  # a symbolic link stays a link
        self._folder = self._target.with_name(f".{self._target.name}.partial")
        self._text = self._folder / f"text.{kind.removesuffix('.gz')}"
        self.num_records = 0
        self.counts: Counter[str] = Counter()
        self._settings, self._resume = settings, resume
        with contextlib.ExitStack() as held:  # if the settings are wrong, the folder is released at once
            held.enter_context(working_folder(self._folder))
            # `_note` writes progress.json last: without it, the interrupted run had not written a record.
            if resume and not whole and (self._folder / "progress.json").is_file():
                self._continue()
            else:
                self._begin(header)
            self._file = open(self._text, "ab")
            self._held = held.pop_all()

    def _continue(self) -> None:
        """Read how far the interrupted run got, and cut off what lies beyond its last complete record."""
        check_settings(self._folder / "settings.json", self._settings)
        progress = json.loads((self._folder / "progress.json").read_text(encoding="utf-8"))
        self.num_records, self.counts = progress["records"], Counter(progress["counts"])
        os.truncate(self._text, progress["bytes"])
        logger.info("%s: continuing after %s records", self._named, f"{self.num_records:,}")

    def _begin(self, header: str) -> None:
        """Write the header, and what the scores depend on, into the emptied folder."""
        empty_folder(self._folder)
        write_json(self._folder / "settings.json", self._settings)
        self._text.write_bytes(header.encode("utf-8", "surrogateescape"))
        self._note()

    def write(self, text: str, scored: Sequence[ScoredVariant]) -> None:
        """Append the text of some records, and note that they are complete."""
        self._file.write(text.encode("utf-8", "surrogateescape"))
        self._file.flush()
        os.fsync(self._file.fileno())  # before `_note`, which a power cut must not leave ahead of the text
        self.num_records += len(scored)
        self.counts.update(flag for one in scored for flag in one.flags)
        self._note()

    def _note(self) -> None:
        """Write how many records and bytes are complete, and the counts of the summary."""
        done = {"records": self.num_records, "bytes": self._text.stat().st_size, "counts": self.counts}
        write_json(self._folder / "progress.json", done)

    def finish(self, *, is_sorted: bool = True) -> None:
        """Convert the text to the format of the file, and move it to its place; index a sorted .vcf.gz.

        Args:
            is_sorted: whether the records are in the order of their positions, contig by contig.
        """
        self._file.close()
        made = [self._text]
        if self._kind == "vcf.gz":
            made = _compress(self._text, self._folder / "packed.vcf.gz", is_sorted)
        elif self._kind == "parquet":
            made = [_to_parquet(self._text, self._folder / "table.parquet")]
        if self._kind == "vcf.gz":
            # Programs look for the index beside the name that they are given, which may be a link.
            for ending in (".tbi", ".csi"):
                self._named.with_name(f"{self._named.name}{ending}").unlink(missing_ok=True)  # of an earlier file
            for index in made[1:]:
                write_bytes(self._named.with_name(f"{self._named.name}{index.suffix}"), index.read_bytes())
        with open(made[0], "rb+") as complete:
            os.fsync(complete.fileno())
        if self._resume == "auto":
            self._target.unlink(missing_ok=True)  # a stop must not leave an old file beside the record of the new one
            write_json(record_of(self._target), self._settings | {"records": self.num_records, "counts": self.counts})
        else:
            record_of(self._target).unlink(missing_ok=True)
        put_in_place(made[0], self._target)
        self._delete_folder()
        if self._kind == "vcf.gz" and not is_sorted:
            logger.info(
                "%s: no index, because the records are not sorted by position; bcftools sort does it", self._target
            )

    def __enter__(self) -> GrowingScores:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; delete it if the input is wrong, keep it after any other exception."""
        self._file.close()
        is_wrong = isinstance(error, InputError) and not isinstance(error.__cause__, OSError)
        if error is not None and (is_wrong or not self.num_records):
            self._delete_folder()
        elif error is not None:
            logger.warning(
                "%s: interrupted; the scores of %s records are kept in %s, so run again with --resume true to continue",
                self._target,
                f"{self.num_records:,}",
                self._folder,
            )
        self._held.close()

    def _delete_folder(self) -> None:
        """Delete the folder, and release its lock."""
        with contextlib.suppress(OSError):
            empty_folder(self._folder)
        self._held.close()


def _compress(text: Path, packed: Path, is_sorted: bool) -> list[Path]:
    """Compress a VCF file in blocks (BGZF), and index it if it is sorted; return the files."""
    pysam = import_pysam("a .vcf.gz file")
    with quiet_pysam(), open(text, "rb") as source, pysam.BGZFile(str(packed), "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return [packed, _index(packed)] if is_sorted else [packed]


def _index(packed: Path) -> Path:
    """Index a compressed VCF file: as .tbi, or where positions lie beyond 2^29, which .tbi cannot hold, as .csi."""
    pysam = import_pysam("a .vcf.gz file")
    with quiet_pysam():
        try:
            pysam.tabix_index(str(packed), preset="vcf", force=True)
        except OSError as error:
            if error.errno:  # the disk is full, for instance; an index that cannot be built has no number
                raise
            pysam.tabix_index(str(packed), preset="vcf", force=True, csi=True)
            return packed.with_name(f"{packed.name}.csi")
    return packed.with_name(f"{packed.name}.tbi")


def _to_parquet(text: Path, packed: Path) -> Path:
    """Convert a TSV file of scores to Parquet, a part at a time."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open(text, encoding="utf-8", errors="replace") as file:
        header = file.readline().rstrip("\n").split("\t")
    texts = {"chrom", "id", "ref", "alt", "variant_id", "flag"}
    kinds: dict[str, Any] = {name: "float64" for name in header if name not in texts}
    kinds |= {name: "str" for name in texts} | {"pos": "int64", "ref_ok": "bool"}
    types = {"float64": pa.float64(), "str": pa.string(), "int64": pa.int64(), "bool": pa.bool_()}
    schema = pa.schema([(name, types[kinds[name]]) for name in header])
    options: dict[str, Any] = {"sep": "\t", "dtype": kinds, "encoding_errors": "replace", "chunksize": 100_000}
    with pq.ParquetWriter(packed, schema) as writer:
        for part in pd.read_csv(
            text, keep_default_na=False, na_values={n: [""] for n in header if n not in texts}, **options
        ):
            writer.write_table(pa.Table.from_pandas(part, schema=schema, preserve_index=False))
    return packed


def number(value: float, missing: str) -> str:
    """Write a number with seven digits, the precision of float32, or what stands for a missing one."""
    return missing if math.isnan(value) else f"{value:.7g}"


def table_text(scored: Iterable[ScoredVariant], columns: Sequence[str]) -> str:
    """Return the rows of a table, one for each allele.

    Args:
        scored: records with scores.
        columns: names of the columns of scores.
    """
    text = io.StringIO()
    for record, scores, flags in scored:
        for allele, values, flag in zip(record.alleles, scores, flags, strict=True):
            variant = f"{record.chrom}:{record.position}:{record.ref}>{allele.alt}"
            cells = [record.chrom, str(record.position), record.id, record.ref, allele.alt, variant]
            cells += [number(values.get(name, math.nan), "") for name in columns]
            write_row(text, [*cells, str(record.ref_ok).lower(), flag])
    return text.getvalue()


def vcf_text(scored: Iterable[ScoredVariant], fields: dict[str, str], plain: bool) -> str:
    """Return the lines of a VCF file.

    Args:
        scored: records with scores.
        fields: INFO field of each column of scores.
        plain: whether the records come from elsewhere, so that there is no line to extend.
    """
    lines = []
    for record, scores, flags in scored:
        text = record.text
        if plain:
            alts = ",".join(allele.alt for allele in record.alleles)
            text = f"{record.chrom}\t{record.position}\t{record.id}\t{record.ref}\t{alts}\t.\t.\t.\n"
        values = {}
        if record.alleles[0].alt != ".":  # Number=A: without an alternative allele there is no value
            for name, field in fields.items():
                cells = [number(one.get(name, math.nan), ".") for one in scores]
                if any(cell != "." for cell in cells):
                    values[field] = ",".join(cells)
            if any(flags):
                values[f"{PREFIX}FLAG"] = ",".join(flag or "." for flag in flags)
        lines.append(add_info(text, values))
    return "".join(lines)


def plot_variants(
    llr: np.ndarray, ref: str, ax: Axes, *, start: int = 0, limit: float | None = None, label: str = "LLR (nats)"
) -> None:
    """Draw the scores of all substitutions of a stretch as a heat map: a row for each letter, a column for each nt.

    Args:
        llr: scores, float (4, nt), rows A, C, G, T; NaN for the reference letter, which is marked by a dot.
        ref: letters of the reference, (nt,).
        ax: where to draw.
        start: position of the first nucleotide, 0-based; the axis shows 1-based positions.
        limit: score at the ends of the colour scale; by default the largest absolute score.
        label: what the scores are, beside the colour scale.
    """
    from matplotlib.ticker import MaxNLocator

    limit = limit or max(float(np.nanmax(np.abs(llr), initial=0)), 1e-9)
    extent = (start + 0.5, start + llr.shape[1] + 0.5, 3.5, -0.5)
    image = ax.imshow(llr, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", extent=extent, interpolation="nearest")
    ax.set_facecolor("#f0f0f0")  # shows where there is no score
    places = [(start + 1 + index, "ACGT".index(letter)) for index, letter in enumerate(ref) if letter in "ACGT"]
    if places:
        columns, rows = zip(*places, strict=True)
        ax.scatter(columns, rows, s=3, color="#1f2328", linewidths=0)
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))  # whole positions only
    ax.set_yticks(range(4), list("ACGT"))
    ax.set_ylabel("ALT")
    ax.figure.colorbar(image, ax=ax, pad=0.01).set_label(label, parse_math=False)  # "$" in the name of a class stays


def draw_region(path: str, llr: np.ndarray, ref: str, contig: str, start: int, label: str = "LLR (nats)") -> None:
    """Write the heat map of a region as PNG or SVG, by the file's suffix; arguments as in `plot_variants`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(40, max(6, 1.5 + 0.12 * len(ref))), 2.4), layout="constrained")
    ax = figure.subplots()
    plot_variants(llr, ref, ax, start=start, label=label)
    ax.set_xlabel(f"{contig}, position (1-based); dots mark the reference", parse_math=False)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.rsplit(".", 1)[-1].lower(), dpi=200)
    write_bytes(Path(path), buffer.getvalue())
