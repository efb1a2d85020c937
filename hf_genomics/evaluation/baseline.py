"""Baselines that a model must beat: logistic regression on k-mer counts, and always guessing the majority class.

A deep model that does not beat the 4-mer baseline has not shown that it uses more than the frequencies of 4-letter
words.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..sequence import as_letters, kmer_codes, reverse_complement_codes

logger = logging.getLogger(__name__)

#: Number of letters counted at a time, so that temporary arrays stay below about 50 MB for any amount of sequence.
_CHUNK_NT = 2_000_000
_SEPARATOR = np.frombuffer(b"N", np.uint8)


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
        return majority_probabilities(labels, len(test_sequences), num_classes=num_classes)
    # Counts of rare k-mers vary little; without scaling, the penalty on weights would keep their weights close to 0.
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000, random_state=seed))
    _fit(classifier, kmer_counts(train_sequences, k, relative=True), labels)
    probabilities = np.zeros((len(test_sequences), num_classes))
    if len(test_sequences):
        features = kmer_counts(test_sequences, k, relative=True)
        probabilities[:, classifier.classes_] = classifier.predict_proba(features)
    return probabilities


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


def _chunks(sequences: Sequence[np.ndarray]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Iterate over groups of neighbouring sequences with about ``_CHUNK_NT`` letters, and the index of their first."""
    start, chunk, size = 0, [], 0
    for index, sequence in enumerate(sequences):
        letters = as_letters(sequence)
        chunk.append(letters)
        size += len(letters)
        if size >= _CHUNK_NT:
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
            logger.warning("k-mer baseline: the solver stopped before it converged")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
