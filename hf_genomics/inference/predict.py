"""Predict with a fine-tuned model on a file of sequences: `hf-genomics predict`."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import dropwhile, islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from transformers import PreTrainedModel

from ..errors import InputError
from ..io.files import input_errors
from ..io.processes import ALONE, Processes, join_processes
from ..io.progress import progress_bar, say_how_many
from ..io.streams import STDOUT
from ..io.text_tables import kind_of
from ..io.writing import check_output_file
from ..labelled.columns import Columns, match_columns
from ..labelled.datasets import Source, source_name
from ..labelled.tables import iterate_unlabelled
from ..labelled.task import Task
from ..loading.adapters import base_of
from ..loading.config_facts import longest_window, shortest_sequence, task_of
from ..loading.models import load_classifier
from ..renamed import renamed
from ..runs.output_folder import Resume
from ..sequence_files.fasta import read_unchecked_chunks
from ..tokenization_kmer import KmerTokenizer
from .growing_table import GrowingTable, finished_before
from .predictions import (
    RUN_COLUMNS,
    AverageOptions,
    Predictions,
    PredictionTable,
    check_averages,
    class_runs,
    log_threshold,
    sequence_columns,
)
from .problems import Unscored, check_alphabet, examined, noun_of
from .scores import as_examples, average_windows, merge_windows, score_versions, score_windows
from .tracks import (
    TrackFormat,
    WrittenTracks,
    check_along,
    check_names,
    row_header,
    track_format,
    track_paths,
    track_rows,
    write_tracks,
)
from .windows import Window, windows_of_chunks, windows_of_examples, with_other_frames, with_other_strand

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    Input: TypeAlias = Source | Sequence[str]
else:
    Input = str  # the command line takes paths only, and its parser must not import `datasets`; see `Source`

_SAMPLE_BYTES = 1 << 20  # bytes at each end of an input file by which a resumed run recognises the file


@dataclass(frozen=True)
class PredictOptions(AverageOptions):
    """Further options of `predict`; on the command line, omit the name of this section.

    Args:
        windows: write a row per window instead of one per sequence: id, start, end (0-based, half-open) and what the
            model predicts.
        both_strands: average the probabilities (or values) of each sequence, or window, and its reverse complement, so
            that both strands get the same prediction; takes twice the time, and memory for the longest sequence.
        frames: number of frames over which the probabilities (or values) are averaged: a sequence is cut into k-mers
            from its first letter, and again from others within the first stride. A model at stride 6 has 6 frames, one
            at stride 1 has one. Takes as many times as long.
        rna: read U as T.
        strict: refuse the first sequence that cannot be scored. The rows before it are kept, and can be continued
            without ``strict``.
    """

    windows: bool = False
    rna: bool = False
    strict: bool = False


@renamed(
    **{f"{old}_column": f"columns.{old}" for old in ("sequence", "id", "pair")},
    **{key: f"options.{key}" for key in ("rna", "strict")},
)
def predict(
    model: str,
    input: Input,
    output: str | None = None,
    columns: Columns = Columns(),  # noqa: B008 (immutable)
    batch_size: int = 64,
    resume: Resume = False,
    overwrite: bool = False,
    options: PredictOptions = PredictOptions(),  # noqa: B008 (immutable)
) -> PredictionTable | WrittenTracks | Predictions:
    """Predict the class (or value) of every sequence of a file; long sequences are cut into windows and averaged.

    The file is read while predictions are made, in memory that depends neither on the number of sequences nor on their
    length. Rows are written to the folder ``.NAME.partial`` next to the output; the output appears when it is complete.
    An interrupted run keeps that folder, and `resume` continues it.

    Every sequence has its row, in the order of the file; names may be repeated. A sequence that cannot be scored has
    empty cells: one that is shorter than a k-mer, has a letter that is not DNA (a gap, a stop, protein), has no k-mer
    of A, C, G and T only, or for which the model returns NaN or infinity. One warning says how many there are, and
    also how many sequences are predicted from less than half of their k-mers. Windows without a known k-mer are omitted
    from the mean. For a model that classifies nucleotides, the nucleotides of a window that cannot be scored form an
    interval with empty cells.

    Several processes (``torchrun --nproc_per_node 2 -m hf_genomics predict ...``) share the work: each computes
    its share of the batches, and the first one writes what a single process would write.

    An output that ends in .bed, .bedgraph or .bw is a file for genome browsers: the class of each window (.bed), or the
    probability of each class along each contig, one file per class (x.CLASS.bedgraph, x.CLASS.bw).

    Args:
        model: folder or Hub name of a fine-tuned model.
        input: FASTA, FASTQ, GenBank, 2bit, CSV, TSV or Parquet file, plain or gzipped; in Python also a
            `datasets.Dataset`, or a list of str, which is predicted in memory.
        output: TSV file to write, "-" for standard output; a pipe or a device gets the rows as they are predicted. Its
            columns: id, length, prediction and a probability per class. For a model that classifies
            nucleotides: id, start, end (0-based, half-open), prediction and mean probability of every interval of
            nucleotides of one class. With the suffix .bed, .bedgraph or .bw, tracks for a genome browser. None only for
            a list.
        columns: names of the columns of a table; `sequence`, `id`, `pair` and tracks are read. By default, tracks are
            read from columns with the names that the model was fine-tuned with.
        batch_size: largest number of windows that are encoded at once.
        resume: continue an interrupted run with the same model, input and options after its last complete row; a model
            that classifies nucleotides predicts the last sequence again. If false, rows of an interrupted run are
            deleted. "auto" begins a run, continues it, or accepts a finished one: the choice for a command that is
            started again and again.
        overwrite: replace an existing output.
        options: further options.

    Returns:
        The table of predictions; it reads the output file when its rows are used. What cannot be scored is None or NaN
        in ``to_pandas``, and an empty text in the rows. For tracks, the files; for a list, the predictions.

    Raises:
        InputError: if the input or the model cannot be read, no sequence is DNA, or the output exists or is one of the
            files that are read; the output is then not written.

    >>> import hf_genomics as hg
    >>> hg.predict("runs/model", "contigs.fasta", "phages.tsv").to_pandas()  # doctest: +SKIP
    >>> hg.predict("runs/model", ["ACGTACGTAA", "TTTTTTTTTT"]).to_pandas()  # doctest: +SKIP
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    if isinstance(input, list | tuple):
        return _predict_list(model, input, output, batch_size, options)
    if output is None:
        raise InputError("output is not set: name a file to write, such as predictions.tsv, or - for standard output")
    target = check_output_file(output, [input, model, base_of(model)], overwrite=overwrite or resume == "auto")
    network, tokenizer = load_classifier(model)
    plan = _plan(target, task_of(network.config, model), options)
    for path in plan.files:
        check_output_file(path, [input, model, base_of(model)], overwrite=overwrite or resume == "auto")
    check_averages(plan.task, options)
    log_threshold(plan.task, model)
    # Prediction needs no labels: `match_columns` asks for no column of labels if the task is one class per sequence.
    columns = match_columns(columns, replace(plan.task, problem_type="single_label_classification", level="sequence"))
    settings = _settings(network, input, columns, options)
    existing = next((path for path in plan.files if path.exists()), None)
    if resume == "auto" and not overwrite and existing:
        counts = finished_before(target, settings, existing)
        if all(path.exists() for path in plan.files):
            return _logged_result(plan, *counts, "finished before")
    plan = replace(plan, processes=join_processes())
    windows = read_windows(input, network, tokenizer, columns, options.rna)
    if not plan.along_contigs:  # otherwise each window is averaged by itself, see `_Plan.rows`
        if options.both_strands:
            windows = with_other_strand(windows, longest_window(network.config, tokenizer))
        windows = with_other_frames(windows, tokenizer.stride, options.frames, shortest_sequence(network, tokenizer.k))
    if plan.kind:
        windows = check_names(windows, source_name(input), plan.kind == "bigwig")
    unscored = Unscored(source_name(input), noun_of(input), options.strict)
    with GrowingTable(
        target, plan.header, settings, resume, plan.start_column, inside=plan.is_per_window, processes=plan.processes
    ) as table:
        remaining = _remaining(windows, table, plan.is_per_window)
        for row in plan.rows(network, tokenizer, remaining, batch_size, unscored):
            table.write(row)
        table.finish(plan.convert)
    unscored.warn()
    return _logged_result(plan, table.num_sequences, table.num_rows, "wrote")


def _settings(network: PreTrainedModel, source: Source, columns: Columns, options: PredictOptions) -> dict[str, Any]:
    """Return everything that the rows depend on, by which `resume` recognises an interrupted run."""
    # Earlier versions did not have these options. They count only if they are set, so that a run of such a version can
    # be continued.
    new = {"windows": False, "both_strands": False, "frames": 1}
    used = {key: value for key, value in asdict(options).items() if key != "strict" and value != new.get(key)}
    return {"model": model_digest(network), **input_digest(source), "options": {**asdict(columns), **used}}


@dataclass(frozen=True)
class _Plan:
    """What a run writes.

    A row of the output stands for:

                   a model that labels sequences     a model that labels nucleotides
        table      a sequence                        an interval of one class
        windows    a window                          (not possible)
        tracks     a window                          an interval of one class (.bed), or a piece of a contig

    Attributes:
        task: task of the model.
        files: the files that appear in the end.
        kind: format of tracks; None for a table.
        along_contigs: whether the output is windows or tracks.
        averages: what the prediction of a sequence, or of a window of windows and tracks, is the mean of.
        processes: processes that share the batches.
    """

    task: Task
    files: list[Path]
    kind: TrackFormat | None
    along_contigs: bool
    averages: AverageOptions
    processes: Processes = ALONE

    @property
    def is_per_window(self) -> bool:
        """Whether each window has one row."""
        return self.along_contigs and self.task.level == "sequence"

    @property
    def start_column(self) -> int | None:
        """Number of the column of starts, if a sequence may have several rows."""
        return 1 if self.along_contigs or self.task.level == "nt" else None

    @property
    def header(self) -> list[str]:
        """Names of the columns of the rows."""
        if self.along_contigs:
            return row_header(self.task, self.kind)
        # The columns of sequences without rows serve as the header: they depend on the task only.
        empty = np.zeros((0, self.task.num_labels))
        return RUN_COLUMNS if self.task.level == "nt" else list(sequence_columns(self.task, [], [], empty))

    @property
    def convert(self) -> Callable[[Path], dict[Path, Path]] | None:
        """Function that makes tracks of the rows; None for a table."""
        return partial(write_tracks, targets=self.files, kind=self.kind, task=self.task) if self.kind else None

    def rows(
        self,
        model: PreTrainedModel,
        tokenizer: KmerTokenizer,
        windows: Iterable[Window],
        batch_size: int,
        unscored: Unscored,
    ) -> Iterator[tuple[Any, ...]]:
        """Iterate over the rows; the arguments are those of `prediction_rows`."""
        if not self.along_contigs:
            return prediction_rows(self.task, model, tokenizer, windows, batch_size, unscored, self.processes)
        both, frames, given = self.averages.both_strands, self.averages.frames, (model, tokenizer, windows, batch_size)
        if both or frames > 1:
            scored = score_versions(*given, self.processes, both_strands=both, frames=frames)
        else:
            scored = score_windows(*given, self.processes)
        return track_rows(self.task, self.kind, unscored.watch(scored))


def _plan(target: Path, task: Task, options: PredictOptions) -> _Plan:
    """Return what a run writes; raise InputError if the model cannot give it."""
    kind = track_format(target)
    if options.windows or kind:
        check_along(task, options.windows, kind)
    files = track_paths(target, kind, task) if kind else [target]
    return _Plan(task, files, kind, options.windows or kind is not None, options)


def _remaining(windows: Iterator[Window], table: GrowingTable, is_per_window: bool) -> Iterator[Window]:
    """Iterate over the windows that an interrupted run has not predicted; the others are read again."""
    if is_per_window:
        return islice(windows, table.num_rows, None)
    done = table.num_sequences
    return dropwhile(lambda window: window.sequence_index < done, windows)


def _logged_result(plan: _Plan, sequences: int, rows: int, what: str) -> PredictionTable | WrittenTracks:
    """Return what a run has written, and log it."""
    files = ", ".join(map(str, plan.files))
    counts = (sequences, "sequence"), (rows, "window" if plan.is_per_window else "row")
    which = "" if plan.files == [STDOUT] else f"{what} {files}: "
    logger.info("%s%s", which, ", ".join(f"{count:,} {unit}{'s' * (count != 1)}" for count, unit in counts))
    if plan.kind:
        return WrittenTracks(plan.files, sequences, rows)
    return PredictionTable(plan.files[0], plan.task, sequences, rows)


def _predict_list(
    model: str, texts: Sequence[str], output: str | None, batch_size: int, options: PredictOptions
) -> Predictions:
    """Predict a list of sequences in memory."""
    if output is not None or options.windows:
        raise InputError(
            "a list of sequences is predicted in memory; omit output and windows, and write the result by to_pandas()"
        )
    network, tokenizer = load_classifier(model)
    task = task_of(network.config, model)
    if task.paired or task.track_names or task.nt_track_names:
        raise InputError(f"{model} reads pairs or tracks, which a list of sequences does not have; give a table")
    texts = [text.upper().replace("U", "T") if options.rna else text for text in texts]
    check_averages(task, options)
    found = Predictions.of(network, tokenizer, as_examples(texts), batch_size, options)
    if options.strict and found.num_unscored:
        number = int(np.flatnonzero(~found.is_scored)[0]) + 1
        raise InputError(f"sequence {number} of the list cannot be scored (strict: without it, its numbers are NaN)")
    return found._replace(examples=replace(found.examples, label_names=task.names, problem_type=task.problem_type))


def prediction_rows(
    task: Task,
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    windows: Iterable[Window],
    batch_size: int,
    unscored: Unscored,
    processes: Processes = ALONE,
) -> Iterator[tuple[Any, ...]]:
    """Iterate over the rows of a table of predictions; windows are read only as rows are needed.

    Args:
        task: task of the model.
        model: fine-tuned model.
        tokenizer: tokenizer of the model.
        windows: windows of all sequences, in the order of the sequences and of the starts in each sequence.
        batch_size: largest number of windows that are encoded at once.
        unscored: counts the sequences that cannot be scored.
        processes: processes that share the batches; only the first one has rows.
    """
    scored = unscored.watch(score_windows(model, tokenizer, windows, batch_size, processes))
    if task.level == "nt":
        yield from class_runs(merge_windows(scored), task.names or [])
        return
    for one in average_windows(scored):
        columns = sequence_columns(task, [one.name], [one.length], one.scores[None])
        yield tuple(cell for [cell] in columns.values())  # each column has one cell


def read_windows(
    source: Source,
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    columns: Columns,
    rna: bool,
    verb: str = "predict",
) -> Iterator[Window]:
    """Iterate over the windows of a file while it is read; on a terminal, a progress bar counts the bytes read.

    A window with a letter that is not DNA has a problem; whether it is long enough is left to `score_windows`.

    Args:
        source: as ``input`` of `predict`.
        model: model whose configuration sets the length of the windows.
        tokenizer: tokenizer of the model.
        columns: names of the columns, if the file is a table.
        rna: read U as T.
        verb: name of the progress bar.

    Raises:
        InputError: if the file cannot be read, or no sequence is DNA.
    """
    windows = examined(_cut_windows(source, model, tokenizer, columns, rna, verb))
    windows = say_how_many(windows, logger, verb, "windows")
    return check_alphabet(windows, source_name(source), noun_of(source))


def _cut_windows(
    source: Source, model: PreTrainedModel, tokenizer: KmerTokenizer, columns: Columns, rna: bool, verb: str
) -> Iterator[Window]:
    """Iterate over the windows of a file; see `read_windows`."""
    is_file = isinstance(source, str | PathLike)
    size = os.path.getsize(source) if is_file and os.path.isfile(source) else None
    with progress_bar(logger, verb, "B", size) as bar:

        def watch(content: memoryview) -> None:
            bar.update(len(content))

        # A contig may be larger than memory, so sequence files are cut into windows chunk by chunk; a table comes in
        # frames of whole rows. A model of pairs or tracks needs columns that a sequence file does not have: reading
        # such a file as a table gives the right error message.
        if is_file and kind_of(source) == "sequences" and not columns.beside():
            chunks = read_unchecked_chunks(source, rna=rna, watch=watch)
            yield from windows_of_chunks(chunks, longest_window(model.config, tokenizer))
            return
        first = 0
        for examples in iterate_unlabelled(source, columns, rna=rna, watch=watch):
            yield from windows_of_examples(examples, model, tokenizer, first)
            first += len(examples)


def model_digest(model: PreTrainedModel) -> str:
    """Return a short hash, 12 hexadecimal digits, of a model's configuration and weights."""
    # The folder that the model was loaded from does not count: a copy of the model has the same hash.
    settings = {key: value for key, value in model.config.to_dict().items() if key != "_name_or_path"}
    found = hashlib.sha256(repr(sorted(settings.items())).encode())
    for weight in model.state_dict().values():
        found.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:12]


def input_digest(source: Source) -> dict[str, Any]:
    """Return the size of an input, and a short hash of its beginning and end, by which a resumed run recognises it.

    Args:
        source: as ``input`` of `predict`.

    Returns:
        ``input``: 12 hexadecimal digits, from the first and last MiB of a file, or the first and last row of a dataset;
        ``input_size``: bytes of the file, or rows of the dataset.

    Raises:
        InputError: if a file cannot be read.
    """
    if not isinstance(source, str | PathLike):
        ends = [source[row] for row in (0, len(source) - 1)] if len(source) else []
        return {"input": hashlib.sha256(repr(ends).encode()).hexdigest()[:12], "input_size": len(source)}
    if not os.path.isfile(source) and os.path.exists(source) and not os.path.isdir(source):
        raise InputError(
            f"{source}: is a pipe or a device, and a file must be opened several times; write it to a file first"
        )
    with input_errors(source), open(source, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = hashlib.sha256(file.read(_SAMPLE_BYTES))
        file.seek(max(0, size - _SAMPLE_BYTES))
        found.update(file.read(_SAMPLE_BYTES))
    return {"input": found.hexdigest()[:12], "input_size": size}
