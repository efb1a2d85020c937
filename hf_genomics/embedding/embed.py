"""Turn the sequences of a file into vectors: `hf-genomics embed`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import dropwhile, groupby
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..inference.growing_table import GrowingTable, finished_before
from ..inference.predict import Input, input_digest, model_digest, noun_of, read_windows
from ..inference.problems import Unscored, examined
from ..inference.scores import as_examples
from ..inference.windows import Window, windows_of_examples
from ..io.processes import ALONE, Processes, join_processes
from ..io.streams import is_stream
from ..io.text_tables import kind_of, read_text_columns
from ..io.writing import check_output_file
from ..labelled.columns import Columns
from ..labelled.datasets import source_name
from ..loading.adapters import base_of
from ..loading.models import load_encoder
from ..modeling_kmer_bert import KmerBertModel
from ..runs.output_folder import Resume
from ..tokenization_kmer import KmerTokenizer
from .outputs import HEADERS, output_files, read_vectors, row_of, write_vectors
from .picture import draw_components
from .vectors import Embedded, Pooling, embed_windows, embedded_sequences, embedded_tokens

logger = logging.getLogger(__name__)

_TITLES = {
    "mean": "Sequences: mean of the vectors of their tokens",
    "cls": "Sequences: vector of [CLS]",
    "tokens": "Vectors of tokens",
}


@dataclass(frozen=True)
class EmbedOptions:
    """Further options of `embed`; on the command line, omit the name of this section.

    Args:
        rna: read U as T.
        strict: refuse the first sequence that has no vector.
        picture: draw the first two principal components into a PNG beside the output.
        color: column of the table that gives the points of the picture their colours, such as a class.
    """

    rna: bool = False
    strict: bool = False
    picture: bool = True
    color: str | None = None


class Embeddings(NamedTuple):
    """Vectors that were written.

    Attributes:
        files: the files, the vectors first.
        num_sequences: number of sequences.
        num_rows: number of vectors.
        size: number of features of a vector.
    """

    files: list[Path]
    num_sequences: int
    num_rows: int
    size: int


def embed(
    model: str,
    input: Input,
    output: str | None = None,
    pooling: Pooling = "mean",
    columns: Columns = Columns(),  # noqa: B008 (immutable)
    batch_size: int = 64,
    resume: Resume = False,
    overwrite: bool = False,
    options: EmbedOptions = EmbedOptions(),  # noqa: B008 (immutable)
) -> Embeddings | np.ndarray | list[np.ndarray]:
    """Turn every sequence of a file into a vector, or into one vector per token, and draw them.

    The model may be pretrained or fine-tuned; its encoder is used, without its head. The file is read while vectors are
    computed, in memory that does not depend on the number or length of the sequences. A sequence that is longer than
    the model reads is cut into windows, whose vectors are averaged. Every sequence has its row, in the order of the
    file. One that cannot be read, as in `predict`, has an empty row, and one warning says how many there are.

    Several processes (``torchrun --nproc_per_node 2 -m hf_genomics embed ...``) share the work as in `predict`.

    Args:
        model: folder or Hub name of a pretrained or fine-tuned model.
        input: FASTA, FASTQ, GenBank, 2bit, CSV, TSV or Parquet file, plain or gzipped; in Python also a
            `datasets.Dataset`, or a list of str, whose vectors are returned.
        output: file to write, which ends in .parquet (columns id, length, embedding) or .npy (float32; NAME.rows.tsv
            says what each row stands for). None only for a list.
        pooling: "mean" of all tokens, [CLS] and [SEP] included; "cls" for the vector of [CLS]; "tokens" for a row per
            k-mer, with its start and end in nt.
        columns: names of the columns of a table; `sequence` and `id` are read.
        batch_size: largest number of windows that are encoded at once.
        resume: continue an interrupted run with the same model, input and options after its last complete row; with
            "tokens", the last sequence is read again. "auto" begins a run, continues it, or accepts a finished one.
        overwrite: replace an existing output.
        options: further options.

    Returns:
        The files and numbers of what was written. For a list: float32 (sequences, hidden), NaN for a sequence without a
        vector; with "tokens" a list of arrays, float32 (k-mers, hidden).

    Raises:
        InputError: if the input or the model cannot be read, no sequence is DNA, or the output exists or is one of the
            files that are read; the output is then not written.

    >>> import hf_genomics as hg
    >>> hg.embed("model_cards/virus-wide", ["ACGTACGTAA", "TTTTTTTTTT"]).shape  # doctest: +SKIP
    (2, 128)
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    if isinstance(input, list | tuple):
        return _embed_list(model, input, output, pooling, batch_size, options)
    files = _check_files(model, input, output, overwrite, resume == "auto", options)
    for key in ("pair", "tracks", "nt_tracks"):
        if getattr(columns, key):
            raise InputError(f"columns.{key}: the encoder reads single sequences; omit columns.{key}")
    colors = _read_colors(input, columns.header, options, pooling)
    encoder, tokenizer = load_encoder(model)
    read = Columns(sequence=columns.sequence, id=columns.id, header=columns.header)
    chosen = {"sequence": read.sequence, "id": read.id, "header": read.header, "rna": options.rna, "pooling": pooling}
    settings = {"model": model_digest(encoder), **input_digest(input), "options": chosen}
    size = encoder.config.hidden_size
    if resume == "auto" and not overwrite and files.data[0].exists():
        counts = finished_before(files.data[0], settings)  # an error if another model, input or option made it
        if all(path.exists() for path in files.data):
            return _say(Embeddings(files.found(), *counts, size), "finished before")
    processes = join_processes()
    windows = read_windows(input, encoder, tokenizer, read, options.rna, "embed")
    unscored = Unscored(source_name(input), noun_of(input), options.strict, result=("vector", "embedded"))
    header = [*HEADERS[pooling], "embedding"]
    start_column = header.index("start") if pooling == "tokens" else None  # a start of 0 begins the next sequence
    with GrowingTable(files.data[0], header, settings, resume, start_column, processes=processes) as table:
        done = table.num_sequences  # of the interrupted run: read again, but not embedded again
        remaining = dropwhile(lambda window: window.sequence_index < done, windows)
        for one in embedded(encoder, tokenizer, remaining, batch_size, pooling, unscored, processes):
            table.write(row_of(one, pooling))
        table.finish(partial(_write, files=files, pooling=pooling, shape=(table.num_rows, size), colors=colors))
    unscored.warn()
    return _say(Embeddings(files.found(), table.num_sequences, table.num_rows, size), "wrote")


def embedded(
    encoder: KmerBertModel,
    tokenizer: KmerTokenizer,
    windows: Iterable[Window],
    batch_size: int,
    pooling: Pooling,
    unscored: Unscored,
    processes: Processes = ALONE,
) -> Iterator[Embedded]:
    """Iterate over the vectors of sequences or of their tokens; windows are read only as vectors are needed.

    Args:
        encoder: encoder of a model.
        tokenizer: tokenizer of the model.
        windows: windows of all sequences, in the order of the sequences and of the starts in each sequence.
        batch_size: largest number of windows that are encoded at once.
        pooling: as in `embed`.
        unscored: counts the sequences without a vector.
        processes: processes that share the batches; only the first one has vectors.
    """
    scored = unscored.watch(embed_windows(encoder, tokenizer, windows, batch_size, pooling, processes))
    if pooling == "tokens":
        return embedded_tokens(scored, tokenizer.k, tokenizer.stride, encoder.config.hidden_size)
    return embedded_sequences(scored)


def _embed_list(
    model: str, texts: Sequence[str], output: str | None, pooling: Pooling, batch_size: int, options: EmbedOptions
) -> np.ndarray | list[np.ndarray]:
    """Return the vectors of a list of sequences."""
    if output is not None:
        raise InputError("a list of sequences is embedded in memory; omit output, and write the result by numpy.save")
    encoder, tokenizer = load_encoder(model)
    texts = [text.upper().replace("U", "T") if options.rna else text for text in texts]
    windows = examined(windows_of_examples(as_examples(texts), encoder, tokenizer))
    unscored = Unscored("sequences", "row", options.strict, result=("vector", "embedded"))
    found = embedded(encoder, tokenizer, windows, batch_size, pooling, unscored)
    size = encoder.config.hidden_size
    if pooling != "tokens":
        vectors: Any = np.array([one.vector for one in found], np.float32).reshape(-1, size)
    else:
        groups = groupby(found, lambda one: one.sequence_index)
        # An end of 0 marks an empty row; see `embedded_tokens`.
        vectors = [
            np.array([one.vector for one in group if one.end], np.float32).reshape(-1, size) for _, group in groups
        ]
    unscored.warn()
    return vectors


# Files.


class _Files(NamedTuple):
    """The files of an output.

    Attributes:
        data: the vectors, and what their rows stand for.
        picture: the picture; None for none.
    """

    data: list[Path]
    picture: Path | None

    def found(self) -> list[Path]:
        """Return the files that exist; fewer than three vectors are not drawn."""
        return [*self.data, *([self.picture] if self.picture and self.picture.exists() else [])]


def _check_files(
    model: str, source: Input, output: str | None, overwrite: bool, auto: bool, options: EmbedOptions
) -> _Files:
    """Return the files to write; raise InputError if one may not be written."""
    if output is None:
        raise InputError("output is not set: name a file to write that ends in .parquet or .npy")
    inputs = [source, model, base_of(model)]
    target = check_output_file(output, inputs, overwrite=overwrite or auto)
    if is_stream(target):
        raise InputError(f"{output} is not a file, and vectors are written as .parquet or .npy; name such a file")
    files = _Files(output_files(target), target.with_suffix(".png") if options.picture else None)
    known = auto and target.exists()  # `finished_before` shows that an earlier run wrote it, and the files beside it
    for path in (*files.data[1:], *([files.picture] if files.picture else [])):
        check_output_file(path, inputs, overwrite=overwrite or known)
    return files


def _read_colors(source: Input, header: bool, options: EmbedOptions, pooling: Pooling) -> list[str] | None:
    """Return the texts that give the points of the picture their colours, one per sequence; or None."""
    if options.color is None:
        return None
    is_table = isinstance(source, str | PathLike) and kind_of(source) != "sequences"
    if not is_table or pooling == "tokens" or not options.picture:
        raise InputError(
            f"color names the column {options.color!r} of a table, for a picture with a point per sequence; give a "
            "table as input, or omit color"
        )
    return read_text_columns(str(source), [options.color], [], header)[options.color].str.strip().tolist()


def _write(
    rows: Path, files: _Files, pooling: Pooling, shape: tuple[int, int], colors: list[str] | None
) -> dict[Path, Path]:
    """Write the files of an output beside the complete table of a run, and return them with their targets."""
    written = write_vectors(rows, files.data, pooling, shape)
    if files.picture is not None:
        png, title = rows.with_name("picture.png"), _TITLES[pooling]

        def read() -> Iterator[np.ndarray]:
            return (vectors for _, vectors in read_vectors(rows))

        if draw_components(png, read, title, colors):
            written[png] = files.picture
        else:
            files.picture.unlink(missing_ok=True)  # that of an earlier output
    return written


def _say(found: Embeddings, what: str) -> Embeddings:
    """Log which files hold which vectors, and return them."""
    files = ", ".join(map(str, found.files))
    logger.info(
        "%s %s: %s sequences, %s vectors of %s numbers",
        what,
        files,
        f"{found.num_sequences:,}",
        f"{found.num_rows:,}",
        found.size,
    )
    return found
