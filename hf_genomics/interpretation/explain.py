"""Explain the predictions of a fine-tuned model for the sequences of a file: `hf-genomics explain`."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from ..errors import InputError, shown_name
from ..inference.growing_table import changed_setting
from ..inference.predict import input_digest, model_digest, read_windows
from ..inference.problems import UNKNOWN, joined
from ..inference.windows import Window, problem_before_reading, windows_of_examples
from ..io.files import sha256_of, shorten
from ..io.genome_tracks import Region, read_bed, read_sizes
from ..io.text_tables import kind_of
from ..io.writing import check_output, replacing, write_json
from ..labelled.columns import Columns, match_columns
from ..labelled.datasets import Source, source_name
from ..labelled.sequences import LabelledSequences, has_known_kmer
from ..labelled.task import Task
from ..loading.config_facts import shortest_sequence, task_of
from ..runs.output_folder import LOCK, Resume, empty_folder, working_folder
from ..sequence import did_you_mean, reverse_complement
from ..sequence_files.fasta import read_records
from ..tokenization_kmer import KmerTokenizer
from .files import Placed, Records, length_of, write_modisco, write_parquet, write_tracks, write_windows
from .report import Pictures, write_explanation_report
from .scoring import Baseline, Explanation, Method, Settings, explain_windows
from .targets import class_names, class_number, load_explained

logger = logging.getLogger(__name__)

_DONE = "explain.json"  # only a finished run leaves it


@dataclass(frozen=True)
class ExplainOptions:
    """Further options of `explain`; on the command line, omit the name of this section.

    Args:
        columns: names of the columns of a table, as in `predict`.
        rna: read U as T.
        strict: refuse the first window that the model cannot read; by default such windows are left out, with a
            warning.
        batch_size: number of windows that are encoded at once.
        steps: number of gradients of "ig" and "nt_ig"; doubled, up to 512, for windows with a completeness error above
            1 %.
        sizes: file of the lengths of contigs (chrom.sizes or .fai), for the bigWig; not needed if the input holds whole
            contigs.
        genes: BED or GFF file of genes, for the pictures.
        tracks: bedGraph files, such as the class probabilities of `predict`, for the pictures.
        figures: number of windows that are drawn, those with the highest scores; 0 for none.
        resume: continue an interrupted run with the same model, input and options. "auto" begins a run, continues it,
            or accepts a finished one.
        overwrite: replace the output of an earlier run.

    Raises:
        InputError: if a number is out of range.
    """

    columns: Columns = field(default_factory=Columns)
    rna: bool = False
    strict: bool = False
    batch_size: int = 16
    steps: int = 64
    sizes: str | None = None
    genes: str | None = None
    tracks: list[str] | None = None
    figures: int = 6
    resume: Resume = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check the ranges of the numbers."""
        for key, least in (("batch_size", 1), ("steps", 1), ("figures", 0)):
            if getattr(self, key) < least:
                raise InputError(f"{key} must be at least {least}, not {getattr(self, key)}")
        if self.steps > 512:
            raise InputError(f"steps must be at most 512, not {self.steps}; more give the same scores")
        if self.resume is True and self.overwrite:
            raise InputError("resume continues the run that overwrite would delete; pass only one of them")


def explain(
    model: str,
    input: Source,
    output_dir: str,
    method: Method = "ig",
    target: str | None = None,
    bed: str | None = None,
    baseline: Baseline = "mean",
    options: ExplainOptions = ExplainOptions(),  # noqa: B008 (immutable)
) -> dict[str, Any]:
    """Compute how much every nucleotide contributes to a prediction, in genome coordinates, with pictures.

    Writes to ``output_dir``: scores.bedgraph, scores.bw (if the lengths of contigs are known), scores.parquet,
    windows.tsv, report.html, figures/ with PNG and SVG, and explain.json; for the methods ism and nt_ig also ohe.npz
    and attr.npz for TF-MoDISco. The folder appears when it is complete. docs/explain.md explains the methods.

    Args:
        model: folder or Hub name of a fine-tuned model.
        input: FASTA, FASTQ, GenBank, 2bit, CSV, TSV or Parquet file, plain or gzipped; in Python also a
            `datasets.Dataset`. A name such as ``chr1:1000-1200`` states where a sequence lies.
        output_dir: folder to write.
        method: "ig" (integrated gradients over k-mer embeddings), "nt_ig" (over letters, with scores for all four),
            "ism" (all substitutions), "occlusion" (tokens hidden one by one), "rollout" or "attention" (of [CLS] in the
            last layer): attention is weak evidence.
        target: name of the class, label or value to explain; by default the predicted class of each window.
        bed: BED file of regions of the input, which is then a genome; only they are explained, on their strand.
        baseline: what "ig" compares with: the "mean" of all k-mer embeddings, [MASK] ("mask"), or "shuffled" sequences.
        options: further options.

    Returns:
        The numbers of sequences, windows and nucleotides, and the completeness errors.

    Raises:
        InputError: if an input, an option or the model is wrong, or a package is missing; no output is written.

    >>> import hf_genomics as hg
    >>> hg.explain("runs/model", "promoters.fa", "explained", target="promoter")  # doctest: +SKIP
    """
    folder = _claim(Path(output_dir), options)
    _check_packages()
    pictures = Pictures.read(options.figures, options.genes, options.tracks)
    sizes = None if options.sizes is None else read_sizes(options.sizes)
    network, tokenizer = load_explained(model)
    number = class_number(network.config, target, model)
    settings = Settings(method, number, baseline, options.steps, batch_size=options.batch_size)
    if bed is None:
        columns = columns_without_labels(network, model, options.columns)
        windows = read_windows(input, network, tokenizer, columns, options.rna)
        windows = check_windows(windows, network, tokenizer, input, options.strict)
        windows = windows if sizes is None else _check_contigs(windows, sizes, options.sizes or "")
    else:
        windows, genome = windows_of_bed(input, bed, network, tokenizer, model, options.rna, options.strict)
        sizes = genome if sizes is None else sizes
    identity = _identity(network, input, bed, settings, options)
    if options.resume == "auto" and not options.overwrite and (folder / _DONE).is_file():
        return finished_summary(folder / _DONE, identity)
    with working_folder(partial_folder(folder), "another output_dir"):
        records = Records(partial_folder(folder), identity, bool(options.resume) and not options.overwrite)
        with kept_if_interrupted(folder), records:
            for one in explain_windows(network, tokenizer, islice(windows, len(records), None), settings):
                check_finite_scores(one, model)
                records.add(one)
        placed = Placed(records)
        _warn_of_other_contigs(placed, pictures, options)
        known = _known_sizes(placed, sizes, options.sizes or str(input))
        summary = _write(folder, placed, known, network.config, pictures)
        empty_folder(partial_folder(folder))
    return summary


# Checks before the work starts.


def _claim(folder: Path, options: ExplainOptions) -> Path:
    """Return the output folder; raise InputError if it may not be written, without creating it."""
    check_output(folder, folder=True)
    is_filled = folder.is_dir() and any(folder.iterdir())
    if is_filled and not (folder / _DONE).is_file():
        raise InputError(f"{folder} holds files that explain did not write; name a new folder as output_dir")
    if is_filled and not (options.overwrite or options.resume == "auto"):
        raise InputError(f"{folder} holds a finished run; choose another output_dir, or pass --overwrite true")
    if options.resume is True and not (partial_folder(folder) / "windows.jsonl").is_file():
        raise InputError(f"{folder}: no interrupted run to resume; omit --resume, or set it to auto")
    return folder


def finished_summary(record: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a finished run.

    Args:
        record: JSON file that the run has left in its folder.
        identity: everything that the output of this run depends on.

    Raises:
        InputError: if the finished run had another model, input or options.
    """
    if changed := changed_setting(record, identity):
        name, before, now = changed
        raise InputError(
            f"{record.parent}: was written with {name} {before}, this run has {now}; pass --overwrite true to replace "
            "it, or name another output_dir"
        )
    logger.info("%s: finished; nothing to do", record.parent)
    return json.loads(record.read_text(encoding="utf-8"))["summary"]


def partial_folder(folder: Path) -> Path:
    """Return the folder that holds the explanations of a run that is not finished."""
    return folder.absolute().with_name(f".{folder.absolute().name}.partial")


def _check_packages() -> None:
    """Raise InputError if a package of the extra "explain" is missing, with the command that installs it."""
    missing = [name for name in ("logomaker", "pyBigWig") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"explain needs {' and '.join(missing)} for its pictures and files; run: pip install 'hf_genomics[explain]'"
        )


def columns_without_labels(network: PreTrainedModel, model: str, columns: Columns) -> Columns:
    """Return the columns to read from a table; labels are not read."""
    task = task_of(network.config, model)
    return match_columns(columns, replace(task, problem_type="single_label_classification", level="sequence"))


def _identity(
    network: PreTrainedModel, source: Source, bed: str | None, settings: Settings, options: ExplainOptions
) -> dict[str, Any]:
    """Return everything that the explanations of a run depend on."""
    kept = {key: value for key, value in asdict(settings).items() if key != "batch_size"}
    kept |= {"columns": asdict(options.columns), "rna": options.rna}
    regions = None if bed is None else sha256_of(bed)[:12]
    return {"model": model_digest(network), **input_digest(source), "bed": regions, "options": kept}


# Regions of a genome.


def windows_of_bed(
    source: Source,
    bed: str,
    network: PreTrainedModel,
    tokenizer: KmerTokenizer,
    model: str,
    rna: bool,
    strict: bool = False,
) -> tuple[Iterator[Window], dict[str, int]]:
    """Return the windows of the regions of a genome, and the lengths of its contigs.

    The regions are checked first; then one contig at a time is held in memory.

    Args:
        source: FASTA file of the genome.
        bed: BED file of the regions; column 6 names their strand.
        network: the model that reads the windows.
        tokenizer: tokenizer of the model.
        model: name of the model, for messages.
        rna: read U as T.
        strict: as in `check_windows`.

    Raises:
        InputError: if the model cannot read regions, or a region is not in the genome; the message names the line. As
            in `check_windows`, also if no window is left.
    """
    genome = _check_genome(source, task_of(network.config, model), rna)
    regions = _check_regions(bed, genome, str(source), shortest_sequence(network, tokenizer.k))
    windows = _windows_of_regions(str(source), regions, network, tokenizer, rna)
    return check_windows(windows, network, tokenizer, source, strict), genome


def _check_genome(source: Source, task: Task, rna: bool) -> dict[str, int]:
    """Return the lengths of the contigs of a genome; raise InputError if the model or the input cannot use regions."""
    if task.paired or task.track_names or task.nt_track_names:
        raise InputError(
            f"bed: {task.source} reads pairs or tracks, which a genome does not have; give a table as input"
        )
    if not isinstance(source, str | os.PathLike) or kind_of(source) != "sequences":
        raise InputError(
            f"bed names regions of a genome, but {source} is a table; give a FASTA file as input, or omit bed"
        )
    return {record.name: len(record.letters) for record in read_records(source, rna=rna)}


def _check_regions(bed: str, genome: dict[str, int], source: str, shortest: int) -> list[Region]:
    """Read the regions of a BED file; raise InputError, naming the line, if one is not in the genome."""
    seen: dict[tuple[str, int, int, str], int] = {}
    regions = read_bed(bed)
    for region in regions:
        where = f"{bed}, line {region.line}"
        if region.contig not in genome:
            contig = shorten(region.contig)
            raise InputError(
                f"{where}: {source} has no contig {contig}{did_you_mean(region.contig, genome)}; fix the name"
            )
        if region.end > genome[region.contig]:
            length = genome[region.contig]
            raise InputError(
                f"{where}: end {region.end} lies beyond {region.contig}, which has {length} nt; fix the line"
            )
        length = region.end - region.start
        if length < shortest:
            raise InputError(f"{where}: region of {length} nt, but the model reads {shortest} nt or more; widen it")
        key = (region.contig, region.start, region.end, region.strand)
        if key in seen:
            raise InputError(f"{where}: the same region as in line {seen[key]}; drop one of them")
        seen[key] = region.line
    return regions


def _windows_of_regions(
    source: str, regions: list[Region], network: PreTrainedModel, tokenizer: KmerTokenizer, rna: bool
) -> Iterator[Window]:
    """Iterate over the windows of regions, contig by contig; one contig is held in memory."""
    of_contig: dict[str, list[Region]] = {}
    for region in regions:
        of_contig.setdefault(region.contig, []).append(region)
    first = 0
    for record in read_records(source, rna=rna):
        for region in sorted(of_contig.get(record.name, [])):
            letters = record.letters[region.start : region.end]
            strand = f"({region.strand})" if region.strand != "." else ""
            name = f"{region.contig}:{region.start}-{region.end}{strand}"
            letters = reverse_complement(letters) if region.strand == "-" else letters
            yield from windows_of_examples(LabelledSequences(source, [name], [letters]), network, tokenizer, first)
            first += 1


def check_windows(
    windows: Iterator[Window], network: PreTrainedModel, tokenizer: KmerTokenizer, source: Source, strict: bool = False
) -> Iterator[Window]:
    """Iterate over the windows that the model can read; a warning at the end names the first of the others.

    The length of a sequence is the end of its last window plus `Window.left_out_after`.

    Args:
        windows: the windows.
        network: the model.
        tokenizer: its tokenizer.
        source: where the windows come from, for messages.
        strict: refuse a window that the model cannot read.

    Raises:
        InputError: for a second sequence of one name, or if no window is left; with ``strict``, for the first window
            that the model cannot read.
    """
    seen: dict[str, int] = {}
    left_out, first = 0, ""
    held: Window | None = None  # the last good window: a sequence may end with windows that are left out
    for window in windows:
        where = f"{source_name(source)}: sequence {shorten(window.name)}"
        problem = problem_before_reading(window, network, tokenizer)
        if problem := problem or (None if _has_known_kmers(window, tokenizer.k) else UNKNOWN):
            left_out, first = left_out + 1, first or f"{where}{joined(problem)}"
            if strict:
                raise InputError(f"{first} (strict: without it, the window is left out)")
            if held is not None and held.sequence_index == window.sequence_index:
                held = held._replace(left_out_after=window.end - held.end)
            continue
        if seen.setdefault(window.name, window.sequence_index) != window.sequence_index:
            raise InputError(f"{where}: an earlier sequence has the same name; rename or drop one of them")
        if held is not None:
            yield held
        held = window
    if held is not None:
        yield held
    if left_out and not seen:
        raise InputError(first)
    if left_out:
        logger.warning("windows left out: %s, the first because of %s", f"{left_out:,}", first)


def _has_known_kmers(window: Window, k: int) -> bool:
    """Return whether a window, or both of a pair, have a k-mer of A, C, G and T only."""
    return all(has_known_kmer(window.row[name], k) for name in ("sequence", "pair") if name in window.row)


def _check_contigs(windows: Iterator[Window], sizes: dict[str, int], source: str) -> Iterator[Window]:
    """Iterate over windows; raise InputError for a contig whose length is missing."""
    for window in windows:
        contig = window.name.rpartition("::")[2].rpartition(":")[0]
        if "pair" not in window.row and window.name not in sizes and contig not in sizes:
            raise InputError(f"{source}: no length of contig {shorten(contig or window.name)}; add it, or omit sizes")
        yield window


def _known_sizes(placed: Placed, sizes: dict[str, int] | None, source: str) -> dict[str, int] | None:
    """Return the lengths of all contigs; None if they are not known, or sequences are pairs.

    Raises:
        InputError: if a contig has no length, or a window lies beyond its end; the run can be resumed with other
            sizes.
    """
    facts = placed.records.facts
    if facts[0]["pair"] is not None:
        return None
    if sizes is None:
        if any(region.contig != region.name for region in placed.regions()):
            logger.info("no bigWig: the lengths of the contigs are not known; pass --sizes chrom.sizes")
            return None
        return {one["id"]: length_of(one) for one in facts}  # that of the last window counts
    for region in placed.regions():
        if region.contig not in sizes:
            raise InputError(
                f"{source}: no length of contig {shorten(region.contig)}, for sequence {shorten(region.name)}; if its "
                "name states a place, the place must be as long as the sequence; add the length, and run again with "
                "--resume true"
            )
        length = sizes[region.contig]
        if region.end > length:
            raise InputError(
                f"{source}: contig {shorten(region.contig)} has {length} nt, but {region.name} ends at {region.end}; "
                "fix the length and run again with --resume true"
            )
    return sizes


# Output.


def _warn_of_other_contigs(placed: Placed, pictures: Pictures, options: ExplainOptions) -> None:
    """Log a warning for each file of genes or values that has nothing on any contig of the input."""
    contigs = {region.contig for region in placed.regions()}
    values = [[region for region, _ in intervals] for intervals in pictures.tracks.values()]
    files = [(options.genes, pictures.genes or []), *zip(options.tracks or [], values, strict=True)]
    for path, regions in files if pictures.count else ():
        if path is not None and contigs.isdisjoint(region.contig for region in regions):
            # A contig is only a part of the name of a record, so `hide_names` does not know it.
            there = shorten(shown_name(regions[0].contig)) if regions else "none"
            here = shorten(shown_name(min(contigs)))
            logger.warning("%s: nothing on the contigs of the input; it has %s, the input %s", path, there, here)


def check_finite_scores(one: Explanation, model: str) -> None:
    """Raise InputError if a model's output is NaN or infinite."""
    if not (np.isfinite(one.value) and np.isfinite(one.scores).all()):
        raise InputError(
            f"{model}: its output for {shorten(one.window.name)} is NaN or infinite, so its weights are damaged; train "
            "it again, or name an earlier checkpoint"
        )


@contextlib.contextmanager
def kept_if_interrupted(folder: Path) -> Iterator[None]:
    """Delete the explanations so far if the input is wrong; keep them after any other exception, and say where.

    Args:
        folder: output folder of the run.
    """
    try:
        yield
    except InputError as error:
        if not isinstance(error.__cause__, OSError):
            with contextlib.suppress(OSError):
                empty_folder(partial_folder(folder))
        raise
    except BaseException:
        if any(path.name != LOCK for path in partial_folder(folder).glob("*")):
            logger.warning("%s: interrupted; run again with --resume true to continue", folder)
        raise


def _write(
    folder: Path, placed: Placed, sizes: dict[str, int] | None, config: Any, pictures: Pictures
) -> dict[str, Any]:
    """Write all files of the output folder, and return a summary."""
    records, names = placed.records, class_names(config)
    tracks = [*(getattr(config, "track_names", None) or []), *(getattr(config, "nt_track_names", None) or [])]
    summary = summarise(records.facts, names)
    with replacing(folder) as partial:
        write_tracks(partial, placed, sizes)
        write_parquet(partial / "scores.parquet", placed)
        write_windows(partial / "windows.tsv", placed, names, tracks)
        if "letters" in placed.names:
            write_modisco(partial, records)
        unit = "value" if config.problem_type == "regression" else "logit"
        write_explanation_report(partial, placed, names, summary, replace(pictures, unit=unit, stride=config.stride))
        settings = json.loads((records.folder / "settings.json").read_text(encoding="utf-8"))
        write_json(partial / _DONE, {**settings, "summary": summary})
    if summary.get("windows_above_1_percent"):
        logger.warning(
            "%s: %s windows have a completeness error above 1 %%; see the column of windows.tsv",
            folder,
            f"{summary['windows_above_1_percent']:,}",
        )
    return summary


def summarise(facts: Iterable[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return the numbers of a run: sequences, windows, windows of each target, and completeness errors.

    Args:
        facts: facts of all windows; see `Record`.
        names: names of the classes, labels or values.
    """
    targets, sequences = np.zeros(len(names), np.int64), 0
    windows, nucleotides, last, reached = 0, 0, -1, 0
    errors = array("d")
    for one in facts:
        targets[one["target"]] += 1
        is_new = one["sequence_index"] != last
        sequences, last = sequences + is_new, one["sequence_index"]
        # The last window of a sequence may overlap the one before it; its nucleotides count once.
        begin = one["start"] if is_new else max(one["start"], reached)
        windows, nucleotides, reached = windows + 1, nucleotides + one["end"] - begin + (one["pair"] or 0), one["end"]
        errors.append(one["error"])
    summary: dict[str, Any] = {
        "sequences": sequences,
        "windows": windows,
        "nucleotides": nucleotides,
        "targets": {name: int(count) for name, count in zip(names, targets, strict=True) if count},
    }
    found = np.frombuffer(errors)
    if not np.isnan(found).any():
        summary["median_completeness_error"] = float(np.median(found))
        summary["worst_completeness_error"] = float(found.max())
        summary["windows_above_1_percent"] = int((found > 0.01).sum())
    return summary
