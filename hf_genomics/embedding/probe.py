"""Show in a minute what a model's vectors know about labels, without fine-tuning: the verb `probe`.

The encoder stays as it is. A regression on its vectors (the linear probe) and the labels of the nearest training
sequences predict the test split, beside the baselines that need no model.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.preprocessing import StandardScaler

from ..checks.leaks import drop_leaks, find_leaks, warn_of_leaks
from ..checks.meaning import describe_labels, label_warnings, rarer_class, task_facts
from ..checks.splits import log_split, split_table
from ..errors import InputError
from ..evaluation.baseline import baseline_predictions, linear_scores
from ..evaluation.evaluate import (
    check_positive,
    compare_with_baselines,
    delete_pictures,
    evaluation_folder,
    positive_class,
)
from ..inference.predictions import Predictions
from ..inference.problems import with_known_kmers
from ..inference.windows import windows_of_examples, with_other_strand
from ..io.writing import write_json
from ..labelled.data import LabelledData
from ..labelled.sequences import LabelledSequences
from ..labelled.tables import check_split
from ..loading.adapters import base_of
from ..loading.config_facts import longest_window
from ..loading.models import load_encoder
from ..modeling_kmer_bert import KmerBertModel
from ..reports.score_report import ScoredModel, ScoreReport, write_score_report
from ..tokenization_kmer import KmerTokenizer
from .vectors import Pooling, embed_windows, embedded_sequences

logger = logging.getLogger(__name__)

_CHUNK = 256  # test sequences that are compared at once with all training sequences, which limits the memory
_PROBE = "linear probe"


@dataclass(frozen=True)
class ProbeOptions:
    """Further options of `probe`; on the command line, omit the name of this section.

    Args:
        neighbours: number of training sequences whose labels predict that of a test sequence.
        both_strands: average the vectors of each sequence and its reverse complement.
        baseline_k: k-mer size, in nt, of the baseline that counts k-mers; 0 for none.
        seed: seed of the regressions' random numbers.

    Raises:
        InputError: if a number is out of range.
    """

    neighbours: int = 10
    both_strands: bool = False
    baseline_k: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.neighbours < 1:
            raise InputError(f"neighbours must be at least 1, not {self.neighbours}")
        if not 0 <= self.baseline_k <= 8:
            raise InputError(f"baseline_k must lie in 0..8 (0 for no baseline), not {self.baseline_k}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed must lie in 0..{2**32 - 1}, not {self.seed}")


def probe(
    model: str,
    data: LabelledData,
    output_dir: str,
    positive: str | None = None,
    pooling: Pooling = "mean",
    batch_size: int = 64,
    overwrite: bool = False,
    options: ProbeOptions = ProbeOptions(),  # noqa: B008 (immutable)
) -> dict[str, Any]:
    """Predict labels from the vectors of a model that is not trained further, by regression and nearest neighbours.

    Logistic regression (for values, ridge regression) and the labels of the nearest training sequences by cosine, both
    on standardised vectors, are scored on the test split beside k-mer regression and the constant guess, with 95 %
    intervals. `finetune` usually reaches more; this takes a minute, and shows what pretraining alone has learnt.

    Writes to ``output_dir``: metrics.json, predictions.tsv (of the regression) and report.html.

    Args:
        model: folder or Hub name of a pretrained or fine-tuned model.
        data: labelled sequences: ``train`` and ``test``, or ``split``. Validation sequences are not used.
        output_dir: folder to write to, not the folder of a model.
        positive: the class, of two, that F1 and AUPRC refer to; by default the rarer one in the training data.
        pooling: vector of a sequence: "mean" of all tokens, or "cls" for [CLS]. The vectors of a pair are joined with
            their difference.
        batch_size: largest number of windows that are encoded at once.
        overwrite: replace the files of an earlier probe.
        options: further options.

    Returns:
        What is written to metrics.json: the scores of the regression, "baselines" (the scores of the neighbours, the
        k-mer regression and the constant guess), "ahead" (by how much the regression is better than each of them), and
        what else `evaluate` returns.

    Raises:
        InputError: if data and model do not fit, nucleotides are labelled, or the folder holds other files; nothing has
            been written then.

    >>> import hf_genomics as hg
    >>> data = hg.LabelledData(train="train.csv", test="test.csv")
    >>> hg.probe("model_cards/virus-wide", data, "runs/probe")["macro_recall"]  # doctest: +SKIP
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    if pooling == "tokens":
        raise InputError("pooling is tokens, but a sequence needs one vector; set it to mean or cls")
    folder = evaluation_folder(output_dir, [model, base_of(model), *data.paths().values()], overwrite)
    encoder, tokenizer = load_encoder(model)
    splits, facts = _read_splits(data, tokenizer)
    if options.neighbours > len(splits.train):
        raise InputError(
            f"neighbours must be at most {len(splits.train):,}, the number of training sequences, not "
            f"{options.neighbours:,}"
        )
    check_positive(positive, splits.train.task)
    positive = positive_class(positive or rarer_class(splits.train), splits.train.task)
    vectors = [_features(encoder, tokenizer, rows, batch_size, pooling, options.both_strands) for rows in splits]
    splits, (train, test) = _with_vectors(splits, vectors)
    _log_labels(splits.train, positive)
    facts["task"] = task_facts(replace(splits.train.task, positive=positive), splits._asdict())
    facts |= {"pooling": pooling, "neighbours": options.neighbours}
    facts |= {"train_sequences": len(splits.train), "test_sequences": len(splits.test)}
    predictions, by_baseline = _predict(splits, train, test, options)
    compared = compare_with_baselines(predictions, by_baseline, positive)
    metrics = ScoreReport(compared.scores | facts | {"baselines": compared.baselines, "ahead": compared.ahead})
    delete_pictures(folder)  # the report would show them as its own
    predictions.write(folder / "predictions.tsv")
    write_json(folder / "metrics.json", metrics)
    name = Path(model).resolve().name if Path(model).exists() else model
    # The three fields of `compared` are the scores of the regression, those of the baselines, and "ahead".
    metrics.scored = ScoredModel(name, folder, "test", facts["task"], *compared, facts["leaks"], title=_PROBE)
    write_score_report(metrics.scored)
    return metrics


class _Splits(NamedTuple):
    """The sequences on which the regression is fitted, and those that are scored."""

    train: LabelledSequences
    test: LabelledSequences


def _read_splits(data: LabelledData, tokenizer: KmerTokenizer) -> tuple[_Splits, dict[str, Any]]:
    """Read both splits as `finetune` does; return them, and what metrics.json holds about them."""
    facts: dict[str, Any] = {}
    why = "the regression is fitted on it"
    training = data.require("train", tokenizer.k, why=why)
    _check_task(training)
    if data.split is None:
        test = data.require("test", tokenizer.k, training.task, why="there is nothing to score")
    else:
        split = split_table(training, data)
        log_split(split, training.source)
        if "test" not in split.splits:
            raise InputError(f"data.split gives no rows to test: {data.split}; give the third share some")
        training, test, facts["split"] = split.splits["train"], split.splits["test"], split.facts
    training, test = (with_known_kmers(rows, tokenizer, strict=data.strict) for rows in (training, test))
    if data.drop_leaks:
        training, facts["dropped_leaks"] = drop_leaks(training, [test])
    check_split(training)
    check_split(test, training)
    facts |= find_leaks({"train": training, "test": test})
    warn_of_leaks(facts, {"train": training, "test": test})
    return _Splits(training, test), facts


def _check_task(training: LabelledSequences) -> None:
    """Check that one vector per sequence can predict the labels."""
    if training.nt_labels is not None:
        raise InputError(
            f"{training.source}: data.columns.nt_labels names a label per nucleotide, but a probe has one vector per "
            "sequence; use finetune"
        )
    if training.track_names or training.nt_track_names:
        raise InputError(
            f"{training.source}: the vectors are of sequences only; omit data.columns.tracks and nt_tracks"
        )


def _log_labels(training: LabelledSequences, positive: str | None) -> None:
    """Log how the labels were understood, and warn if they may be wrong."""
    logger.info("%s: %s", training.source, describe_labels(training, positive))
    for line in label_warnings(training):
        logger.warning("%s", line)


def _features(
    encoder: KmerBertModel,
    tokenizer: KmerTokenizer,
    examples: LabelledSequences,
    batch_size: int,
    pooling: Pooling,
    both_strands: bool,
) -> np.ndarray:
    """Return the vectors of sequences, float32 (rows, hidden); of pairs (rows, 3 hidden), with their difference.

    A sequence gets NaN if every token that the model reads of it is [UNK]. At a stride above 1 not every k-mer becomes
    a token, so this can happen although the sequence has a k-mer without N: at k 3 and stride 3, ANCGTN has the k-mer
    CGT, but its tokens are ANC and GTN.
    """
    sides = [replace(examples, pairs=None)]
    if examples.pairs is not None:
        sides.append(replace(sides[0], sequences=examples.pairs))
    vectors = []
    for side in sides:
        windows = windows_of_examples(side, encoder, tokenizer)
        if both_strands:
            windows = with_other_strand(windows, longest_window(encoder.config, tokenizer))
        found = embedded_sequences(embed_windows(encoder, tokenizer, windows, batch_size, pooling))
        vectors.append(np.array([one.vector for one in found], np.float32).reshape(len(side), -1))
    if len(vectors) == 1:
        return vectors[0]
    first, second = vectors
    return np.concatenate([first, second, np.abs(first - second)], axis=1)


def _with_vectors(splits: _Splits, vectors: list[np.ndarray]) -> tuple[_Splits, list[np.ndarray]]:
    """Return the rows of each split that have a vector, and these vectors; log how many rows have none."""
    kept = [np.flatnonzero(~np.isnan(rows).any(1)) for rows in vectors]
    for rows, known in zip(splits, kept, strict=True):
        if not len(known):
            raise InputError(
                f"{rows.source}: the model returns no vector for any of its sequences; check their letters, and "
                "the model"
            )
        if len(known) < len(rows):
            logger.warning("%s: %s sequences without a vector are omitted", rows.source, f"{len(rows) - len(known):,}")
    found = [rows.take(known.tolist()) for rows, known in zip(splits, kept, strict=True)]
    return _Splits(*found), [rows[known] for rows, known in zip(vectors, kept, strict=True)]


def _predict(
    splits: _Splits, train: np.ndarray, test: np.ndarray, options: ProbeOptions
) -> tuple[Predictions, dict[str, Predictions]]:
    """Predict the test split from vectors by regression; and by neighbours and baselines, by name."""
    names = splits.train.task.names
    scores = linear_scores(splits.train, train, test, options.seed)
    predictions = Predictions(splits.test, scores, nt_scores=[], names=names)
    of_neighbours = neighbour_scores(splits.train, train, test, options.neighbours)
    by_baseline = {f"{options.neighbours} nearest neighbours": predictions._replace(scores=of_neighbours)}
    return predictions, by_baseline | baseline_predictions(
        splits.train, predictions, k=options.baseline_k, seed=options.seed
    )


def neighbour_scores(
    training: LabelledSequences, features: np.ndarray, others: np.ndarray, neighbours: int
) -> np.ndarray:
    """Predict labels by the mean of those of the nearest training rows, by the cosine of standardised features.

    Args:
        training: rows with classes, several labels or values.
        features: features of the training rows, (training rows, features).
        others: features of the rows to predict, (rows, features).
        neighbours: number of nearest rows; fewer if there are fewer training rows.

    Returns:
        The share of each class, or the mean of each label or value that is known, (rows, outputs); the mean of all
        training rows for a label that no neighbour knows.
    """
    scaler = StandardScaler().fit(features)
    # The product of two vectors of length 1 is the cosine of the angle between them.
    train_rows, test_rows = (_unit(scaler.transform(rows)) for rows in (features, others))
    labels = training.known_labels
    if training.task.is_classification:
        columns = np.eye(training.task.num_labels)[labels]  # one column per class, 1 in the column of the row's class
    else:
        columns = labels.reshape(len(labels), -1)  # NaN where a label or value is missing
    present, filled = ~np.isnan(columns), np.nan_to_num(columns)
    count = min(neighbours, len(features))
    # The means of all training rows, which remain where no neighbour has the label.
    scores = np.tile(filled.sum(0) / np.maximum(present.sum(0), 1), (len(others), 1))
    for begin in range(0, len(test_rows), _CHUNK):
        similar = test_rows[begin : begin + _CHUNK] @ train_rows.T
        nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        number = present[nearest].sum(1)
        means = filled[nearest].sum(1) / np.maximum(number, 1)
        scores[begin : begin + _CHUNK] = np.where(number > 0, means, scores[begin : begin + _CHUNK])
    return scores


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows divided by their length; a row of zeros stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
