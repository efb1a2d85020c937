"""Baselines that a model must beat: regression on k-mer counts, a constant guess, and a small convolutional network.

A deep model that does not beat the 4-mer baseline has not shown that it uses more than the frequencies of 4-letter
words. One that does not beat the convolutional network (convolution.py) has not shown that pretraining is worth it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..errors import InputError
from ..inference.predictions import Predictions
from ..labelled.sequences import LabelledSequences
from ..sequence import as_letters, kmer_codes, reverse_complement_codes
from .convolution import conv_scores
from .decisions import ThresholdScore, choose_threshold

logger = logging.getLogger(__name__)

#: A baseline other than the constant guess: regression on k-mer counts, or a small convolutional network.
Baseline: TypeAlias = Literal["kmer", "conv"]
#: Predictions of sequences, (rows, outputs); or of nucleotides, (nt, classes) for each row.
Scores: TypeAlias = "np.ndarray | list[np.ndarray]"

#: Letters, or k-mer counts, that are processed at a time: temporary arrays stay below about 50 MB, unless a single
#: sequence is longer than this.
_CHUNK_SIZE = 2_000_000
_SEPARATOR = np.frombuffer(b"N", np.uint8)
_AROUND_NT = 60  # letters on either side of a nucleotide whose k-mers are counted for it
_MOST_NT = 50_000  # labelled nucleotides on which the regression for labels per nucleotide is fitted


def baseline_scores(
    training: LabelledSequences,
    test: LabelledSequences,
    baselines: Sequence[Baseline] = ("kmer",),
    k: int = 4,
    *,
    seed: int = 0,
    rc_probability: float = 0.0,
) -> dict[str, Scores]:
    """Predict the labels of a test split with each baseline.

    Args:
        training: sequences with labels of any kind.
        test: sequences with the same kind of inputs.
        baselines: the baselines to predict with, besides the constant guess.
        k: k-mer size in nt; 0 for no regression on k-mer counts.
        seed: seed of the baselines' random numbers.
        rc_probability: probability with which the convolutional network reads a training sequence from the opposite
            strand, as the model does.

    Returns:
        Name of the baseline -> its scores, in the form of a model's scores.
    """
    regression = training.problem == "regression"
    found: dict[str, Scores] = {"mean" if regression else "majority": constant_scores(training, test)}
    if "kmer" in baselines and k:
        found[f"{k}-mer {'ridge' if regression else 'logistic'} regression"] = kmer_scores(training, test, k, seed)
    if "conv" in baselines:
        found["convolutional network"] = conv_scores(training, test, seed, rc_probability=rc_probability)
    return found


def check_baselines(baselines: Sequence[str]) -> None:
    """Check the names of baselines.

    Raises:
        InputError: if a name is unknown.
    """
    for name in baselines:
        if name not in get_args(Baseline):
            raise InputError(f"baselines: {name!r} is not one of {', '.join(get_args(Baseline))}; correct or omit it")


def baseline_predictions(
    training: LabelledSequences,
    predictions: Predictions,
    baselines: Sequence[Baseline] = ("kmer",),
    k: int = 4,
    *,
    seed: int = 0,
    rc_probability: float = 0.0,
) -> dict[str, Predictions]:
    """Predict with each baseline the examples that a model has predicted, so that all are judged on the same ones.

    Where the model has no score, the baselines have none either (NaN).

    Args:
        training: as in `baseline_scores`.
        predictions: the model's predictions.
        baselines: as in `baseline_scores`.
        k: as in `baseline_scores`.
        seed: as in `baseline_scores`.
        rc_probability: as in `baseline_scores`.

    Returns:
        Name of the baseline -> its predictions.
    """
    options: dict[str, Any] = {"seed": seed, "rc_probability": rc_probability}
    found, plain = {}, predictions._replace(threshold=None)  # the threshold was chosen for the model
    for name, scores in baseline_scores(training, predictions.examples, baselines, k, **options).items():
        if isinstance(scores, list):
            pairs = zip(scores, predictions.nt_scores, strict=True)
            found[name] = plain._replace(nt_scores=[np.where(np.isnan(of_model), np.nan, x) for x, of_model in pairs])
        else:
            scores[~predictions.is_scored] = np.nan
            found[name] = plain._replace(scores=scores)
    return found


def with_thresholds(
    by_baseline: Mapping[str, Predictions],
    on_validation: Mapping[str, Scores],
    is_positive: np.ndarray,
    positive: int,
    score: ThresholdScore,
) -> dict[str, Predictions]:
    """Choose a threshold for each baseline on validation data, as for the model.

    Args:
        by_baseline: name -> predictions of a baseline for two classes.
        on_validation: name -> its scores of the validation split, (rows, 2).
        is_positive: whether each validation row belongs to the positive class, bool (rows,).
        positive: id of the positive class.
        score: score that the threshold maximises: "macro_recall", "f1" or "mcc".

    Returns:
        The same predictions with thresholds; a constant guess has none.
    """
    found = dict(by_baseline)
    for name, scores in on_validation.items():
        probabilities = np.asarray(scores)[:, positive]
        if np.ptp(probabilities) > 0:
            lowest = choose_threshold(probabilities, is_positive, score)
            found[name] = by_baseline[name]._replace(threshold=(lowest, positive))
    return found


def constant_scores(training: LabelledSequences, test: LabelledSequences) -> Scores:
    """Predict the same for everything: the frequencies of the classes or labels in training, or the mean of the values.

    Args:
        training: sequences with labels of any kind.
        test: the sequences to predict.
    """
    if training.nt_labels is not None:
        seen = np.concatenate(training.nt_labels)
        guess = majority_probabilities(seen[seen >= 0], 1, num_classes=training.task.num_labels)
        return [np.repeat(guess, len(letters), axis=0) for letters in test.sequences]
    labels = training.known_labels
    if training.task.is_classification:
        return majority_probabilities(labels, len(test), num_classes=training.task.num_labels)
    return np.tile(np.nanmean(labels.reshape(len(training), -1), axis=0), (len(test), 1))


def kmer_scores(training: LabelledSequences, test: LabelledSequences, k: int = 4, seed: int = 0) -> Scores:
    """Predict labels of any kind by regression on `kmer_features`.

    Classes and yes/no labels are predicted by logistic regression (C = 1), values by ridge regression whose penalty is
    chosen by leave-one-out errors. For labels per nucleotide, the k-mers within 60 nt are counted.

    Args:
        training: sequences with labels of any kind.
        test: sequences with the same kind of inputs.
        k: k-mer size in nt.
        seed: seed of the solver's random numbers.
    """
    if training.nt_labels is not None:
        return _nucleotide_scores(training, test, k, seed)
    return linear_scores(training, kmer_features(training, training, k), kmer_features(test, training, k), seed)


def linear_scores(training: LabelledSequences, features: np.ndarray, others: np.ndarray, seed: int = 0) -> np.ndarray:
    """Predict labels of sequences by regression on standardised features; see `kmer_scores`.

    Args:
        training: rows with classes, several labels or values.
        features: features of the training rows, (training rows, features).
        others: features of the rows to predict, (rows, features).
        seed: seed of the solver's random numbers.

    Returns:
        Probabilities or values, (rows, outputs).
    """
    if training.task.is_classification:
        return _class_model(features, training.known_labels, seed, training.task.num_labels)(others)
    scores = np.zeros((len(others), training.task.num_labels))
    for column, labels in enumerate(training.known_labels.reshape(len(training), -1).T):
        known = ~np.isnan(labels)
        if training.problem == "regression":
            ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))
            scores[:, column] = ridge.fit(features[known], labels[known]).predict(others)
        else:
            scores[:, column] = _class_model(features[known], labels[known].astype(int), seed, 2)(others)[:, 1]
    return scores


def kmer_features(examples: LabelledSequences, training: LabelledSequences, k: int) -> np.ndarray:
    """Return relative k-mer counts and tracks of rows as features, float32 (rows, features).

    Tracks are numbers measured for a row, or signals with a number per nucleotide, which are replaced by their mean. A
    pair of sequences has the counts of both, and the absolute differences between them. A missing number is replaced by
    the mean of the training rows.

    Args:
        examples: the rows.
        training: the training rows; each track has a number in some of them (`check_columns`).
        k: k-mer size in nt.
    """
    parts = [kmer_counts(examples.sequences, k, relative=True)]
    if examples.pairs is not None:
        second = kmer_counts(examples.pairs, k, relative=True)
        parts += [second, np.abs(parts[0] - second)]
    numbers, of_training = _numbers_of(examples), _numbers_of(training)
    if numbers.shape[1]:
        parts.append(np.where(np.isnan(numbers), np.nanmean(of_training, axis=0), numbers))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def kmer_counts(
    sequences: Sequence[np.ndarray], k: int = 4, *, relative: bool = False, merge_strands: bool = False
) -> np.ndarray:
    """Count the k-mers of each sequence; k-mers with a letter other than A, C, G, T or U are omitted.

    Args:
        sequences: uint8 letters, one array per sequence, of any length (shorter than k: a row of zeros).
        k: k-mer size in nt.
        relative: divide each row by its sum, so that the length of a sequence does not matter.
        merge_strands: count a k-mer and its reverse complement as one, so that a sequence and its reverse complement
            (the same DNA, read from the other strand) get the same counts.

    Returns:
        float32 (sequences, 4**k), columns in the order of ``kmer_codes`` (AAAA, AAAT, AAAC ...). With merge_strands, a
        k-mer and its reverse complement share the column of the k-mer with the smaller code (136 columns for k = 4).

    >>> kmer_counts([as_letters("AATC"), as_letters("GG")], k=1).tolist()  # A, T, C, G
    [[2.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 2.0]]
    """
    counts = np.zeros((len(sequences), 4**k), np.float32)
    for start, chunk in _chunks(sequences):
        counts[start : start + len(chunk)] = _count_chunk(chunk, k)
    if merge_strands:
        counts = _merge_strands(counts, k)
    if relative:
        counts /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return counts


def kmer_baseline(
    train_sequences: Sequence[np.ndarray],
    train_labels: np.ndarray,
    test_sequences: Sequence[np.ndarray],
    k: int = 4,
    seed: int = 0,
    *,
    num_classes: int | None = None,
) -> np.ndarray:
    """Predict classes by logistic regression (regularisation C = 1) on standardised relative k-mer counts.

    Args:
        train_sequences: uint8 letters, one array per training sequence.
        train_labels: class ids from 0, (training sequences,).
        test_sequences: uint8 letters, one array per test sequence.
        k: k-mer size in nt.
        seed: seed of the solver's random numbers.
        num_classes: number of columns to return; by default the largest training label + 1. A class without training
            sequences gets probability 0.

    Returns:
        Probabilities, (test sequences, classes).

    Raises:
        ValueError: if there is no training sequence, there are more or fewer labels than sequences, or a label is not a
            class.
    """
    labels = np.asarray(train_labels, np.int64)
    if not len(labels) or len(labels) != len(train_sequences):
        raise ValueError(f"{len(train_sequences)} training sequences need one label each, not {len(labels)} labels")
    num_classes = num_classes or int(labels.max()) + 1
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"training labels run {labels.min()}..{labels.max()}, classes 0..{num_classes - 1}")
    if len(np.unique(labels)) == 1:
        logger.warning("all training sequences are of class %d, so the baseline predicts no other", labels[0])
    features = kmer_counts(train_sequences, k, relative=True)
    return _class_model(features, labels, seed, num_classes)(kmer_counts(test_sequences, k, relative=True))


def majority_probabilities(train_labels: np.ndarray, n_test: int, *, num_classes: int | None = None) -> np.ndarray:
    """Predict the class frequencies of the training set for every test sequence.

    Args:
        train_labels: class ids from 0, (training sequences,).
        n_test: number of test sequences.
        num_classes: number of columns to return; by default the largest training label + 1.

    >>> majority_probabilities(np.array([0, 1, 1, 1]), n_test=2).tolist()
    [[0.25, 0.75], [0.25, 0.75]]

    Returns:
        Probabilities, (n_test, classes). The majority class has the largest one, so accuracy, recall and F1 are those
        of always guessing this class.
    """
    frequencies = np.bincount(np.asarray(train_labels, np.int64), minlength=num_classes or 0) / len(train_labels)
    return np.tile(frequencies, (n_test, 1))


def _class_model(
    features: np.ndarray, labels: np.ndarray, seed: int, num_classes: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a logistic regression on standardised features, and return the function that predicts with it.

    Args:
        features: (training rows, features).
        labels: class ids of the training rows, (training rows,).
        seed: seed of the solver's random numbers.
        num_classes: number of classes, of which some may be missing in training.

    Returns:
        A function from features, (rows, features), to probabilities, (rows, classes).
    """
    if len(np.unique(labels)) < 2:
        return lambda others: majority_probabilities(labels, len(others), num_classes=num_classes)
    # Counts of rare k-mers vary little; without scaling, the penalty on weights would keep their weights close to 0.
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000, random_state=seed))
    _fit(classifier, features, labels)

    def predict(others: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes; a class without training rows has probability 0."""
        probabilities = np.zeros((len(others), num_classes))
        if len(others):
            probabilities[:, classifier.classes_] = classifier.predict_proba(others)
        return probabilities

    return predict


def _nucleotide_scores(training: LabelledSequences, test: LabelledSequences, k: int, seed: int) -> list[np.ndarray]:
    """Predict a class for every nucleotide from the k-mers around it, (nt, classes) for each row.

    The regression is fitted on `_MOST_NT` labelled nucleotides at most, chosen at random.
    """
    lengths = np.array([len(letters) for letters in training.sequences])
    labels = np.concatenate(training.nt_labels or [])  # never None here; `or []` is for the type checker
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(labels >= 0))[:_MOST_NT]
    chosen.sort()
    of_rows = np.split(chosen, np.searchsorted(chosen, np.cumsum(lengths)[:-1]))  # the chosen nucleotides of each row
    starts = np.cumsum(lengths) - lengths
    features = [
        _counts_around(letters, of_row - start, k)
        for letters, of_row, start in zip(training.sequences, of_rows, starts, strict=True)
    ]
    predict = _class_model(np.concatenate(features), labels[chosen], seed, training.task.num_labels)
    step = max(1, _CHUNK_SIZE // 4**k)  # nucleotides whose counts are in memory at a time

    def predict_all(letters: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes of all nucleotides of a sequence, (nt, classes)."""
        found = [np.zeros((0, training.task.num_labels))]
        for start in range(0, len(letters), step):
            begin, end = max(0, start - _AROUND_NT), min(start + step, len(letters))
            found.append(predict(_counts_around(letters[begin : end + _AROUND_NT], np.arange(start, end) - begin, k)))
        return np.concatenate(found)

    return [predict_all(letters) for letters in test.sequences]


def _counts_around(letters: np.ndarray, places: np.ndarray, k: int) -> np.ndarray:
    """Count the k-mers within `_AROUND_NT` nt of some nucleotides of a sequence, float32 (places, 4**k)."""
    if len(letters) < k:
        return np.zeros((len(places), 4**k), np.float32)
    codes, valid = kmer_codes(letters, k)
    codes = np.pad(np.where(valid, codes, 4**k).astype(np.int64), _AROUND_NT, constant_values=4**k)
    around = codes[places[:, None] + np.arange(2 * _AROUND_NT + 2 - k)]  # k-mers that lie within the stretch
    entries = np.arange(len(places))[:, None] * (4**k + 1) + around  # the last column counts all that is not a k-mer
    counts = np.bincount(entries.ravel(), minlength=len(places) * (4**k + 1)).reshape(-1, 4**k + 1)
    return counts[:, :-1].astype(np.float32)


def _numbers_of(examples: LabelledSequences) -> np.ndarray:
    """Return the tracks of rows, and the mean of each signal per nucleotide, (rows, numbers), NaN where missing."""
    parts = [np.zeros((len(examples), 0))] if examples.tracks is None else [examples.tracks]
    if examples.nt_tracks is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # about a signal that is missing throughout
            parts.append(np.stack([np.nanmean(signals, axis=0) for signals in examples.nt_tracks]))
    return np.concatenate(parts, axis=1)


def _chunks(sequences: Sequence[np.ndarray]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Iterate over groups of successive sequences with about ``_CHUNK_SIZE`` letters, and the index of their first."""
    start, chunk, size = 0, [], 0
    for index, sequence in enumerate(sequences):
        letters = as_letters(sequence)
        chunk.append(letters)
        size += len(letters)
        if size >= _CHUNK_SIZE:
            yield start, chunk
            start, chunk, size = index + 1, [], 0
    if chunk:
        yield start, chunk


def _count_chunk(sequences: list[np.ndarray], k: int) -> np.ndarray:
    """Count the k-mers of all sequences at once, joined by an N, so that no k-mer belongs to two sequences."""
    joined = np.concatenate([piece for letters in sequences for piece in (letters, _SEPARATOR)])
    codes, valid = kmer_codes(joined, k)
    # Row of each k-mer: the row of its first letter. The last k - 1 letters start no k-mer.
    rows = np.repeat(np.arange(len(sequences)), [len(letters) + 1 for letters in sequences])[: len(codes)]
    entries = rows[valid] * 4**k + codes[valid]  # index into the flattened counts, (sequences, 4**k)
    return np.bincount(entries, minlength=len(sequences) * 4**k).reshape(-1, 4**k)


def _merge_strands(counts: np.ndarray, k: int) -> np.ndarray:
    """Add the counts of each k-mer and its reverse complement.

    A k-mer that is its own reverse complement, such as ACGT, keeps its count.
    """
    codes = np.arange(4**k)
    partners = reverse_complement_codes(codes, k)
    merged = counts + np.where(partners != codes, counts[:, partners], 0)
    return merged[:, codes <= partners]


def _fit(classifier: Pipeline, features: np.ndarray, labels: np.ndarray) -> None:
    """Fit the classifier; log a line if the solver runs out of steps, instead of scikit-learn's warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(features, labels)
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            logger.warning("logistic regression: the solver stopped before it converged")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
