"""Predict with a fine-tuned model on a file of sequences: the verb `predict`."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import dropwhile
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from ..errors import InputError
from ..io.fasta import read_chunks
from ..io.files import input_errors
from ..io.progress import progress_bar
from ..io.text_tables import kind_of
from ..io.writing import check_output
from ..labelled.columns import Columns, match_columns
from ..labelled.datasets import Source
from ..labelled.tables import iterate_unlabelled
from ..labelled.task import Task
from ..renamed import renamed
from ..tokenization_kmer import KmerTokenizer
from .growing_table import GrowingTable
from .loading import load_classifier, task_of
from .predictions import RUN_COLUMNS, PredictionTable, class_runs, sequence_columns
from .scores import average_windows, merge_windows, score_windows
from .windows import Window, longest_window, shortest_sequence, windows_of_chunks, windows_of_examples

logger = logging.getLogger(__name__)

_SAMPLE_BYTES = 1 << 20  # at either end of a file, by which a resumed run recognizes it


@renamed(**{f"{old}_column": f"columns.{old}" for old in ("sequence", "id", "pair")})
def predict(
    model: str,
    input: Source,
    output: str,
    columns: Columns = Columns(),  # noqa: B008 (immutable)
    rna: bool = False,
    batch_size: int = 64,
    resume: bool = False,
) -> PredictionTable:
    """Predict the class (or value) of every sequence of a file; long sequences are cut into windows and averaged.

    The file is read while its first sequences are predicted, in memory that depends neither on the number of its
    sequences (but for their names, which must be unique) nor on their length. Rows are written to a folder
    ``.NAME.partial`` beside the output, which appears when it is complete. An interrupted run keeps that folder, and
    `resume` goes on from there.

    Args:
        model: folder or Hub name of a fine-tuned model.
        input: FASTA, FASTQ, GenBank, 2bit, CSV, TSV or Parquet file, plain or gzipped; in Python a `datasets.Dataset`
            as well.
        output: TSV file to write: id, length, prediction and a probability per class; of a model that classifies
            nucleotides, id, start, end (0-based, half-open), prediction and mean probability of every run of one class.
        columns: names of the columns of a table; `sequence`, `id`, `pair` and tracks are read. Tracks that are not
            named are read from the columns of the names that the model knows.
        rna: read U as T.
        batch_size: windows encoded at once.
        resume: go on after the last complete row of an interrupted run of the same model, input and options; of a model
            that classifies nucleotides, the last sequence is predicted again. Without it an interrupted run is dropped.

    Returns:
        The table of the predictions, which reads the file where rows are wanted.

    Raises:
        InputError: if the input or the model cannot be read, or a sequence is shorter than one k-mer. Nothing is
            written then.

    >>> import hf_genomics as hg
    >>> hg.predict("runs/model", "contigs.fasta", "phages.tsv").to_pandas()  # doctest: +SKIP
    """
    target = Path(output)
    check_output(target, folder=False)
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    network, tokenizer = load_classifier(model)
    task = task_of(network.config, model)
    # A task without labels of its own keeps columns of labels out of what is read.
    columns = match_columns(columns, replace(task, problem_type="single_label_classification", level="sequence"))
    settings = {"model": model_digest(network), **input_digest(input), "options": {**asdict(columns), "rna": rna}}
    header = RUN_COLUMNS if task.level == "nt" else list(sequence_columns(task, [], [], np.zeros((0, task.num_labels))))
    windows = read_windows(input, network, tokenizer, columns, rna)
    with GrowingTable(target, header, settings, resume, several_rows=task.level == "nt") as table:
        done = table.num_sequences
        left = dropwhile(lambda window: window.owner < done, windows)
        for row in prediction_rows(task, network, tokenizer, left, batch_size):
            table.write(row)
        table.finish()
    return PredictionTable(target, task, table.num_sequences, table.num_rows)


def prediction_rows(
    task: Task, model: PreTrainedModel, tokenizer: KmerTokenizer, windows: Iterable[Window], batch_size: int
) -> Iterator[tuple[Any, ...]]:
    """Iterate over the rows of a table of predictions while windows come in.

    Args:
        task: of the model.
        model: fine-tuned model.
        tokenizer: of the model.
        windows: of the sequences, in order.
        batch_size: windows encoded at once.
    """
    scored = score_windows(model, tokenizer, windows, batch_size)
    if task.level == "nt":
        yield from class_runs(merge_windows(scored), task.names or [])
        return
    for one in average_windows(scored):
        columns = sequence_columns(task, [one.name], [one.length], one.scores[None])
        yield tuple(cell for [cell] in columns.values())


def read_windows(
    source: Source, model: PreTrainedModel, tokenizer: KmerTokenizer, columns: Columns, rna: bool
) -> Iterator[Window]:
    """Iterate over the windows of a file while it is read, with a progress bar over its bytes on a screen.

    Args:
        source: as in `predict`.
        model: sets the length of the windows.
        tokenizer: of the model.
        columns: of a table.
        rna: read U as T.

    Raises:
        InputError: if the file cannot be read, or a sequence is shorter than one k-mer.
    """
    shortest = shortest_sequence(model, tokenizer.k)
    is_file = isinstance(source, str | PathLike)
    size = os.path.getsize(source) if is_file and os.path.isfile(source) else None
    with progress_bar(logger, "predict", "B", size) as bar:

        def watch(content: memoryview) -> None:
            bar.update(len(content))

        if is_file and kind_of(source) == "sequences" and not columns.beside():
            chunks = read_chunks(source, rna=rna, min_length=shortest, watch=watch)
            yield from windows_of_chunks(chunks, longest_window(model.config, tokenizer))
            return
        first = 0
        for examples in iterate_unlabelled(source, columns, rna=rna, min_length=shortest, watch=watch):
            yield from windows_of_examples(examples, model, tokenizer, first)
            first += len(examples)


def model_digest(model: PreTrainedModel) -> str:
    """Return twelve letters that name a model by its configuration and weights."""
    settings = {key: value for key, value in model.config.to_dict().items() if key != "_name_or_path"}
    found = hashlib.sha256(repr(sorted(settings.items())).encode())
    for weight in model.state_dict().values():
        found.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:12]


def input_digest(source: Source) -> dict[str, Any]:
    """Return what names an input: its size, and twelve letters that stand for the content of both its ends.

    Raises:
        InputError: if a file cannot be read.
    """
    if not isinstance(source, str | PathLike):
        ends = [source[row] for row in (0, len(source) - 1)] if len(source) else []
        return {"input": hashlib.sha256(repr(ends).encode()).hexdigest()[:12], "input_size": len(source)}
    with input_errors(source), open(source, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = hashlib.sha256(file.read(_SAMPLE_BYTES))
        file.seek(max(0, size - _SAMPLE_BYTES))
        found.update(file.read(_SAMPLE_BYTES))
    return {"input": found.hexdigest()[:12], "input_size": size}
