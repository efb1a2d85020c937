"""What a model must beat: k-mer counts with logistic regression, and the majority guess.

A deep model that does not pass the 4-mer baseline has learnt nothing about a sequence beyond its tetranucleotides.
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

from ..sequence import as_letters, kmer_codes

logger = logging.getLogger(__name__)

#: Letters counted at a time; keeps the temporary codes of any amount of sequence below some 50 MB.
_CHUNK_NT = 2_000_000
_SEPARATOR = np.frombuffer(b"N", np.uint8)


def kmer_counts(
    sequences: Sequence[np.ndarray], k: int = 4, *, relative: bool = False, merge_strands: bool = False
) -> np.ndarray:
    """Count the k-mers of each sequence; k-mers that touch anything but A, C, G, T, U are left out.

    Args:
        sequences: uint8 letters, one array per sequence, any lengths (also shorter than k: a row of zeros).
        k: nt.
        relative: divide each row by its sum, so that lengths do not matter.
        merge_strands: count a k-mer and its reverse complement as one, so that both strands give the same row.

    Returns:
        float32 (sequences, 4**k), columns in the order of ``kmer_codes`` (AAAA, AAAT, AAAC ...); with merge_strands one
        column per pair, in the order of the pair's smaller code (136 columns for k = 4).
    """
    counts = np.zeros((len(sequences), 4**k), np.float32)
    for start, chunk in _chunks(sequences):
        counts[start : start + len(chunk)] = _count_chunk(chunk, k)
    if merge_strands:
        counts = _merge_strands(counts, k)
    if relative:
        counts /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return counts


def reverse_complement_codes(k: int) -> np.ndarray:
    """Code of the reverse complement of each k-mer, shape (4**k,): digits reversed, the last bit of each flipped.

    >>> reverse_complement_codes(1).tolist()  # A T C G
    [1, 0, 3, 2]
    """
    codes = np.arange(4**k)
    digits = codes[:, None] // 4 ** np.arange(k) % 4  # (4**k, k), last letter first
    return (digits ^ 1) @ 4 ** np.arange(k)[::-1]


def kmer_baseline(
    train_sequences: Sequence[np.ndarray],
    train_labels: np.ndarray,
    test_sequences: Sequence[np.ndarray],
    k: int = 4,
    seed: int = 0,
    *,
    num_classes: int | None = None,
) -> np.ndarray:
    """Predict classes from relative k-mer counts by standardised logistic regression (C = 1).

    Args:
        train_sequences, test_sequences: uint8 letters, one array per sequence.
        train_labels: (train sequences,), class ids from 0.
        k: nt.
        seed: of the solver.
        num_classes: columns to return; the largest training label + 1 if not given. A class without training sequences
            gets probability 0.

    Returns:
        Probabilities, (test sequences, classes).

    Raises:
        ValueError: if there is no training sequence, not one label for each, or a label that is no class.
    """
    labels = np.asarray(train_labels, np.int64)
    if not len(labels) or len(labels) != len(train_sequences):
        raise ValueError(f"{len(train_sequences)} training sequences and {len(labels)} labels: one each is needed")
    num_classes = num_classes or int(labels.max()) + 1
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"training labels run {labels.min()}..{labels.max()}, classes 0..{num_classes - 1}")
    if len(np.unique(labels)) == 1:
        logger.warning("all training sequences are of class %d: the baseline can only say so", labels[0])
        return majority_probabilities(labels, len(test_sequences), num_classes=num_classes)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000, random_state=seed))
    _fit(classifier, kmer_counts(train_sequences, k, relative=True), labels)
    probabilities = np.zeros((len(test_sequences), num_classes))
    if len(test_sequences):
        features = kmer_counts(test_sequences, k, relative=True)
        probabilities[:, classifier.classes_] = classifier.predict_proba(features)
    return probabilities


def majority_probabilities(train_labels: np.ndarray, n_test: int, *, num_classes: int | None = None) -> np.ndarray:
    """Predict the class frequencies of the training set for everybody: the guess that has not looked.

    >>> majority_probabilities(np.array([0, 1, 1, 1]), n_test=2).tolist()
    [[0.25, 0.75], [0.25, 0.75]]

    Returns:
        Probabilities, (n_test, classes); their largest is the majority class, so they score as the majority guess does.
    """
    frequencies = np.bincount(np.asarray(train_labels, np.int64), minlength=num_classes or 0) / len(train_labels)
    return np.tile(frequencies, (n_test, 1))


def _chunks(sequences: Sequence[np.ndarray]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Cut the list into runs of about ``_CHUNK_NT`` letters; yields the index of the first and the run."""
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
    """Count k-mers of all sequences at once: joined by an N, no k-mer can belong to two of them."""
    joined = np.concatenate([part for letters in sequences for part in (letters, _SEPARATOR)])
    codes, valid = kmer_codes(joined, k)
    rows = np.repeat(np.arange(len(sequences)), [len(letters) + 1 for letters in sequences])[: len(codes)]
    cells = rows[valid] * 4**k + codes[valid]
    return np.bincount(cells, minlength=len(sequences) * 4**k).reshape(-1, 4**k)


def _merge_strands(counts: np.ndarray, k: int) -> np.ndarray:
    """Add the column of each k-mer to that of its reverse complement; a k-mer that is its own stays as it is."""
    partner = reverse_complement_codes(k)
    own = np.arange(4**k)
    merged = counts + np.where(partner != own, counts[:, partner], 0)
    return merged[:, own <= partner]


def _fit(classifier: Pipeline, features: np.ndarray, labels: np.ndarray) -> None:
    """Fit; should the solver run out of steps, say so in the log instead of on the user's screen."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(features, labels)
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            logger.warning("k-mer baseline: the solver stopped before it converged")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
