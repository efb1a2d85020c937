"""Matrices of letter probabilities: build them from sites, search sequences with them, and compare them.

A matrix has a row per position and the columns A, C, G and T, as in MEME files. Sequences are `ScoredSequences`: one
long array of digits (A 0, T 1, C 2, G 3), in which an unknown letter lies between every two sequences, so that no site
spans them. `scan` scores every position of this array as the start of a site, on both strands; `best_sites` picks the
best position of each sequence; `count_matrix` counts the letters of chosen sites, which gives the next matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .sequences import UNKNOWN, ScoredSequences

#: Column of each digit: digits have the order A, T, C, G, columns the order A, C, G, T.
COLUMN_OF_DIGIT = np.array([0, 3, 1, 2])
_IUPAC = {
    **{letter: letter for letter in "ACGT"},
    **{"AG": "R", "CT": "Y", "CG": "S", "AT": "W", "GT": "K", "AC": "M"},
}


def matrix_of_word(word: str, certainty: float = 0.9) -> np.ndarray:
    """Return a matrix whose most probable letters spell a word, float64 (width, 4).

    Args:
        word: letters A, C, G, T, and the IUPAC codes for two letters (R, Y, S, W, K, M) or any letter (N).
        certainty: probability of the letter, or of the two letters together; the others share the rest.

    >>> matrix_of_word("CR").round(3).tolist()
    [[0.033, 0.9, 0.033, 0.033], [0.45, 0.05, 0.45, 0.05]]
    """
    letters = {code: text for text, code in _IUPAC.items()} | {"N": "ACGT"}
    rows = np.zeros((len(word), 4))
    for place, code in enumerate(word):
        members = ["ACGT".index(letter) for letter in letters[code]]
        rows[place] = (1 - certainty) / (4 - len(members)) if len(members) < 4 else 0
        rows[place, members] = certainty / len(members) if len(members) < 4 else 0.25
    return rows


def consensus(matrix: np.ndarray) -> str:
    """Return the consensus of a matrix: one letter of at least 0.6, two of at least 0.8 together, or N.

    >>> consensus(np.array([[0.7, 0.1, 0.1, 0.1], [0.45, 0.05, 0.45, 0.05], [0.3, 0.3, 0.2, 0.2]]))
    'ARN'
    """
    text = ""
    for row in matrix:
        first, second = np.argsort(-row, kind="stable")[:2]
        pair = "".join(sorted("ACGT"[column] for column in (first, second)))
        text += "ACGT"[first] if row[first] >= 0.6 else _IUPAC[pair] if row[first] + row[second] >= 0.8 else "N"
    return text


def reverse_matrix(matrix: np.ndarray) -> np.ndarray:
    """Return the matrix of the opposite strand: the last row first, and A exchanged with T, C with G."""
    return matrix[::-1, ::-1]


def letter_counts(sequences: ScoredSequences) -> np.ndarray:
    """Count A, C, G and T, int64 (4,)."""
    counts = np.bincount(sequences.digits, minlength=5)[:4]
    return counts[[0, 2, 3, 1]]  # from the order of the digits, A, T, C, G, to that of the columns, A, C, G, T


def background_of(sequences: ScoredSequences) -> np.ndarray:
    """Return the frequencies of A, C, G and T on both strands together, float64 (4,)."""
    counts = letter_counts(sequences) + 1.0
    both = counts + counts[::-1]  # the opposite strand has as many T as this one has A, and so on
    return both / both.sum()


def log_odds(matrix: np.ndarray, background: np.ndarray, sites: float) -> np.ndarray:
    """Compute log-odds in bits, with the square root of the number of sites as pseudo-sites of background letters.

    Args:
        matrix: (width, 4).
        background: (4,).
        sites: number of sites that the matrix was made of.

    Returns:
        float64 (width, 4).

    Source: Lawrence et al. 1993. With one pseudo-site, a single mismatch would rule out a site.
    """
    pseudo = np.sqrt(sites)
    smoothed = (matrix * sites + background * pseudo) / (sites + pseudo)
    return np.log2(smoothed / background)


def scan(sequences: ScoredSequences, odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the score of a matrix at every position, on the strand where it is higher.

    Args:
        sequences: the sequences.
        odds: log-odds, (width, 4).

    Returns:
        float64 (total,), the sum of log-odds of the site that starts at each position, -infinity where a site would
        hold an unknown letter or leave its sequence; and bool (total,), True if the site is on the reverse strand.
    """
    # The score on the reverse strand is that of the reversed matrix on the letters as they are.
    on_forward, on_reverse = (_sums(sequences.digits, strand) for strand in (odds, reverse_matrix(odds)))
    return np.maximum(on_forward, on_reverse), on_reverse > on_forward


def _sums(digits: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Return the sum of log-odds of the site that starts at each position, -infinity with an unknown letter."""
    # A row for each position of the motif, a column for each digit; the last column, of unknown letters, is -infinity.
    table = np.full((len(odds), 5), -np.inf)
    table[:, :UNKNOWN] = odds[:, COLUMN_OF_DIGIT]
    total, count = np.full(len(digits), -np.inf), len(digits) - len(odds) + 1
    if count > 0:
        total[:count] = sum(table[place][digits[place : place + count]] for place in range(len(odds)))
    return total


def best_sites(sequences: ScoredSequences, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the highest score of each sequence, and its position; the first one if several are equal.

    Args:
        sequences: the sequences.
        scores: (total,), a score for every position.

    Returns:
        float64 (sequences,), the scores; int64 (sequences,), positions in the arrays.
    """
    best = np.maximum.reduceat(scores, sequences.starts[:-1])  # over each sequence and the gap after it
    hits = np.flatnonzero(scores == np.repeat(best, np.diff(sequences.starts)))
    owners = sequences.owners[hits]
    return best, hits[np.searchsorted(owners, np.arange(len(sequences)))]  # the first hit of each sequence


def count_matrix(
    sequences: ScoredSequences, places: np.ndarray, reverse: np.ndarray, width: int, flank: int
) -> np.ndarray:
    """Count the letters at and around sites, all read in the direction of the motif.

    Args:
        sequences: the sequences.
        places: int64 (sites,), positions where sites start.
        reverse: bool (sites,), whether a site is on the reverse strand.
        width: length of the sites in nt.
        flank: nt to add on both sides; unknown letters are not counted, nor letters of other sequences.

    Returns:
        float64 (width + 2 flank, 4).
    """
    # index[s, j]: the position in the arrays of letter j of site s. Sites on the reverse strand are read backwards, and
    # their letters complemented (column 3 - c). `inside`: it is a known letter of the sequence of the site.
    steps = np.arange(-flank, width + flank)
    index = places[:, None] + np.where(reverse[:, None], steps[::-1], steps)
    owners = sequences.owners
    inside = (index >= 0) & (index < len(owners))
    index = index.clip(0, len(owners) - 1)
    inside &= (owners[index] == owners[places][:, None]) & (sequences.digits[index] < UNKNOWN)
    columns = COLUMN_OF_DIGIT[sequences.digits[index] & 3]
    columns = np.where(reverse[:, None], 3 - columns, columns)
    return np.stack([(inside & (columns == letter)).sum(0) for letter in range(4)], 1).astype(float)


def information(counts: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
    """Compute the information of each position in bits, corrected for small numbers of sites.

    Args:
        counts: (width, 4).
        background: (4,), the letter frequencies that carry no information; by default a quarter each.

    Returns:
        float64 (width,), from 0 to 2 without a background.

    Source: Schneider et al. 1986.
    """
    totals = np.maximum(counts.sum(1), 1)
    shares = counts / totals[:, None]
    usual = np.full(4, 0.25) if background is None else background
    ratios = np.where(shares > 0, shares, usual) / usual
    # A few sites agree by chance; this is expected to look like (4 letters - 1) / (2 ln 2 x number of sites) bits.
    return np.maximum((shares * np.log2(ratios)).sum(1) - 3 / (2 * np.log(2) * totals), 0)


class Alignment(NamedTuple):
    """The best way to lay one matrix along another.

    Attributes:
        correlation: Pearson's correlation of the probabilities where they overlap.
        offset: row of the first matrix at which the second one starts; negative if it starts before.
        is_reverse: whether the second matrix was reverse-complemented.
    """

    correlation: float
    offset: int
    is_reverse: bool


def align(first: np.ndarray, second: np.ndarray, overlap: int) -> Alignment:
    """Find the alignment of two matrices with the highest correlation, on either strand.

    Args:
        first: (width, 4).
        second: (other width, 4).
        overlap: number of rows that must overlap at least; all rows of the narrower matrix if it has fewer.
    """
    overlap = min(overlap, len(first), len(second))
    best = Alignment(-np.inf, 0, False)
    for is_reverse in (False, True):
        other = reverse_matrix(second) if is_reverse else second
        for offset in range(overlap - len(second), len(first) - overlap + 1):
            start, end = max(0, offset), min(len(first), offset + len(second))
            here = correlation(first[start:end], other[start - offset : end - offset])
            if here > best.correlation:
                best = Alignment(here, offset, is_reverse)
    return best


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Pearson's correlation of the entries of two arrays of one shape; 0 if one is constant."""
    a, b = first.ravel() - first.mean(), second.ravel() - second.mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def similarity(found: np.ndarray, reference: np.ndarray) -> float:
    """Compute the correlation of a matrix with all rows of a reference, in the best alignment on either strand.

    Rows of the reference that the matrix does not reach count as equal shares of all letters.

    Args:
        found: (width, 4).
        reference: (other width, 4).
    """
    # With padding on both sides, the whole reference overlaps at every offset.
    padded = np.concatenate([np.full((len(reference), 4), 0.25), found, np.full((len(reference), 4), 0.25)])
    return align(padded, reference, len(reference)).correlation
