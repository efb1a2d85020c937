"""Predict with a fine-tuned model on a file of sequences: the verb `predict`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from ..io.writing import check_output
from ..labelled.annotations import read_annotated
from ..labelled.columns import Columns, match_columns
from ..renamed import renamed
from .loading import load_classifier, task_of
from .predictions import Predictions


@renamed(**{f"{old}_column": f"columns.{old}" for old in ("sequence", "id", "pair")})
def predict(
    model: str,
    input: str,
    output: str,
    columns: Columns = Columns(),  # noqa: B008 (immutable)
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
        columns: names of the columns of a table; `sequence`, `id`, `pair` and tracks are read.
        rna: read U as T.
        batch_size: windows encoded at once.

    Raises:
        InputError: if the file or the model cannot be read, or a sequence is shorter than one k-mer.
    """
    check_output(Path(output), folder=False)
    network, tokenizer = load_classifier(model)
    task = task_of(network.config, model)
    unlabelled = replace(task, level="sequence", problem_type="single_label_classification")  # no labels are read
    examples = read_annotated(
        input,
        match_columns(columns, unlabelled),
        require_labels=False,
        rna=rna,
        min_length=shortest_sequence(network, tokenizer.k),
    )
    examples = replace(examples, label_names=task.names, problem_type=task.problem_type)
    Predictions.of(network, tokenizer, examples, batch_size).write(Path(output))


def shortest_sequence(network: PreTrainedModel, k: int) -> int:
    """Give the shortest sequence a model takes, in nt: one k-mer in each part."""
    config = network.config
    return k if getattr(config, "part_length", None) else k * getattr(config, "num_parts", 1)
