"""Predict with a fine-tuned model on a file of sequences: the verb `predict`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from ..io.writing import check_output
from ..labelled.annotations import Annotations, read_annotated
from ..labelled.data import annotations_like
from .loading import class_names, known_of, load_classifier
from .predictions import Predictions


def predict(
    model: str,
    input: str,
    output: str,
    sequence_column: str = "sequence",
    id_column: str | None = None,
    pair_column: str | None = None,
    rna: bool = False,
    batch_size: int = 64,
) -> None:
    """Predict the class (or value) of every sequence of a file; long sequences are cut into windows and averaged.

    Args:
        model: folder or Hub name of a fine-tuned model.
        input: FASTA, FASTQ, GenBank, 2bit, CSV, TSV or Parquet file, plain or gzipped; tracks are read from the columns
            that the model knows by name.
        output: TSV file to write: id, length, prediction and a probability per class; of a model that classifies
            nucleotides, id, start, end (0-based, half-open), prediction and probability of every run of one class.
        sequence_column, id_column, pair_column: columns of a table.
        rna: read U as T.
        batch_size: windows encoded at once.

    Raises:
        InputError: if the file or the model cannot be read, or a sequence is shorter than one k-mer.
    """
    check_output(Path(output), folder=False)
    network, tokenizer = load_classifier(model)
    known = replace(known_of(network, model), nt_labels=None)  # no labels are read
    columns = replace(annotations_like(known, Annotations(pair_column=pair_column)), label_columns=None)
    examples = read_annotated(
        input,
        columns,
        require_labels=False,
        sequence_column=sequence_column,
        id_column=id_column,
        rna=rna,
        min_length=shortest_sequence(network, tokenizer.k),
    )
    examples = replace(examples, label_names=class_names(network), problem_type=known.problem)
    Predictions.of(network, tokenizer, examples, batch_size).write(Path(output))


def shortest_sequence(network: PreTrainedModel, k: int) -> int:
    """Give the shortest sequence a model takes, in nt: one k-mer in each part."""
    config = network.config
    return k if getattr(config, "part_length", None) else k * getattr(config, "num_windows", 1)
