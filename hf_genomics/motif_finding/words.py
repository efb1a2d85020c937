"""Find words in stretches of high scores, and test which words more positive than negative sequences contain.

A word and its reverse complement are one word, spelt as the one that comes first in the order A, T, C, G (the digits of
``sequence.LETTER_CODE``). A sequence counts once, however often it contains a word.

The scores are those of nucleotides, as `explain` computes them. `motifs` splits the sequences: those of the first half
give the candidates, those of the second half test them, so that no word is tested on the sequences that suggested it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, hypergeom

from ..sequence import ALPHABET, reverse_complement_codes, rolling_any, rolling_codes
from .sequences import UNKNOWN, ScoredSequences

#: Lengths of words in nt.
WIDTHS = (6, 7, 8)


class Word(NamedTuple):
    """A word, and how many sequences contain it.

    Attributes:
        word: the letters; its reverse complement is the same word.
        in_stretches: number of positive sequences of the first half that contain it in a stretch of high scores.
        positives: number of positive sequences of the second half that contain it.
        negatives: the same of the negative sequences.
        p: probability of at least as many positive sequences if the word were as frequent in both.
        q: p corrected for all candidates (Benjamini and Hochberg), the words in the stretches of enough sequences; NaN
            if the word is not a candidate.
        q_counting: for comparison: p corrected for all words that occur in the second half, as if words had been
            counted without a model's scores.
    """

    word: str
    in_stretches: int
    positives: int
    negatives: int
    p: float
    q: float
    q_counting: float


def count_words(sequences: ScoredSequences, width: int, threshold: float | None = None) -> np.ndarray:
    """Count the sequences that contain each word, on either strand.

    Args:
        sequences: the sequences.
        width: length of the words in nt.
        threshold: count only words whose nucleotides all have higher scores than this.

    Returns:
        int64 (4 ** width,), by code; 0 for a word whose reverse complement has the lower code.
    """
    usable = ~rolling_any(sequences.digits == UNKNOWN, width)  # not across unknown letters or the gaps of sequences
    if threshold is not None:
        usable &= ~rolling_any(~(sequences.scores > threshold), width)  # not `<=`: NaN is not a high score
    places = np.flatnonzero(usable)
    codes = canonical_codes(rolling_codes(sequences.digits & 3, width)[places].astype(np.int64), width)
    # One number for sequence and word: the word is what remains when it is divided by 4**width. A pair counts once.
    pairs = np.unique(sequences.owners[places] * 4**width + codes)
    return np.bincount(pairs % 4**width, minlength=4**width)


def canonical_codes(codes: np.ndarray, width: int) -> np.ndarray:
    """Return the lower of the codes of each word and of its reverse complement.

    Args:
        codes: int64, any shape.
        width: length of the words in nt.
    """
    return np.minimum(codes, reverse_complement_codes(codes, width))


def spell(code: int, width: int) -> str:
    """Return the letters of a word.

    >>> spell(1, 3)
    'AAT'
    """
    return "".join(ALPHABET[code >> 2 * place & 3] for place in range(width - 1, -1, -1))


def enrichment(positives: np.ndarray, negatives: np.ndarray, totals: tuple[int, int]) -> np.ndarray:
    """Compute the p-value of enrichment: how likely at least as many positive sequences contain a word by chance.

    Args:
        positives: number of positive sequences that contain each word, (words,).
        negatives: the same of the negative sequences.
        totals: number of positive and of negative sequences.

    Returns:
        p of the one-sided Fisher exact test (hypergeometric), float64 (words,).

    Source: DNABERT (Ji et al. 2021), motif analysis; here candidates and tests use different sequences.
    """
    # P(X >= positives), where X is the number of positives among the sequences with the word, if these were drawn at
    # random from all.
    return hypergeom.sf(positives - 1, sum(totals), positives + negatives, totals[0])


def compare_words(
    searched: ScoredSequences,
    threshold: float,
    positives: ScoredSequences,
    negatives: ScoredSequences,
    least_sequences: int,
) -> list[Word]:
    """Test the words in the high-scoring stretches of some sequences on others.

    Args:
        searched: positive sequences in whose high-scoring stretches words are collected.
        threshold: a stretch consists of nucleotides with higher scores.
        positives: other positive sequences, on which the words are tested.
        negatives: negative sequences.
        least_sequences: number of sequences that must contain a word in such a stretch to make it a candidate.

    Returns:
        All words of `WIDTHS` that ``positives`` or ``negatives`` contain, or that are candidates: the lowest p first;
        of equal ones the word in more stretches, then the longer one.
    """
    found = []
    for width in WIDTHS:
        in_stretches = count_words(searched, width, threshold)
        counts = [count_words(some, width) for some in (positives, negatives)]
        codes = np.flatnonzero((in_stretches >= least_sequences) | (counts[0] + counts[1] > 0))
        found.append(
            np.stack([np.full_like(codes, width), codes, in_stretches[codes], counts[0][codes], counts[1][codes]])
        )
    widths, codes, in_stretches, in_positives, in_negatives = np.concatenate(found, 1)
    p = enrichment(in_positives, in_negatives, (len(positives), len(negatives)))
    q, q_counting = np.full(len(p), np.nan), np.full(len(p), np.nan)
    # Benjamini and Hochberg over all widths together. Words that overlap depend on each other (positively), which this
    # correction allows.
    for rows, column in ((in_stretches >= least_sequences, q), (in_positives + in_negatives > 0, q_counting)):
        column[rows] = false_discovery_control(p[rows]) if rows.any() else np.nan
    order = np.lexsort([-widths, -in_stretches, p])
    numbers = zip(in_stretches, in_positives, in_negatives, p, q, q_counting, strict=True)
    facts = [tuple(value.item() for value in row) for row in numbers]
    return [Word(spell(int(codes[row]), int(widths[row])), *facts[row]) for row in order]
