"""Turn words into motifs: refine a matrix from the sites of a word, join words of one motif, list all sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .matrices import (
    align,
    background_of,
    best_sites,
    consensus,
    count_matrix,
    information,
    log_odds,
    matrix_of_word,
    scan,
)
from .sequences import ScoredSequences
from .words import Word, enrichment

_ROUNDS = 8  # of refinement
_MOST_SEEDS = 50  # words that are refined
_GROWTH = 3  # nt that a matrix may grow on either side in each round
_WIDEST, _NARROWEST = 24, 6  # nt
# An outer position with fewer bits than this is removed: `_NOISE` / sites, but at least the first of these numbers,
# because many poor positions help, too, and at most the second one (with up to 60 sites).
_LEAST_INFORMATION, _LIMIT_OF_FEW = 0.05, 0.25
_NOISE = 15.0  # bits x sites; by chance, positions without information hardly ever have more
_LEAST_SITES = 8  # of a matrix
_FALSE = 0.01  # share of negative sequences that may have a site
_OVERLAP = 5  # nt by which two matrices must overlap to be compared
_SAME = 0.75  # correlation of matrices that are one motif


class Motif(NamedTuple):
    """A motif.

    Attributes:
        name: its consensus, or another name.
        matrix: float64 (width, 4), probabilities of A, C, G and T.
        sites: number of sites that the matrix was made of.
        threshold: lowest score of a site, in bits: 1 % of the negative sequences of the first half have such a site.
        odds: float64 (width, 4), log-odds in bits, by which sites are scored.
        words: the significant words that lie on the motif, the most significant one first.
        positives: number of positive sequences of the second half with a site.
        negatives: the same of the negative sequences.
        p: hypergeometric probability of at least as many positive sequences by chance.
    """

    name: str
    matrix: np.ndarray
    sites: int
    threshold: float
    odds: np.ndarray
    words: list[Word]
    positives: int = 0
    negatives: int = 0
    p: float = np.nan


class Site(NamedTuple):
    """A site of a motif.

    Attributes:
        sequence: number of the sequence.
        start: first position in the sequence, 0-based.
        end: position after the last one.
        is_reverse: whether the motif lies on the reverse strand.
        score: log-odds in bits.
        contribution: mean score that the model gives its nucleotides.
    """

    sequence: int
    start: int
    end: int
    is_reverse: bool
    score: float
    contribution: float


def in_stretches(sequences: ScoredSequences, threshold: float, width: int) -> np.ndarray:
    """Mark where a site starts of which at least half, or at least 4 nt, lie in stretches of high scores.

    Args:
        sequences: the sequences.
        threshold: a stretch consists of nucleotides with higher scores.
        width: length of the sites in nt.

    Returns:
        bool (total,), True at the first position of such a site.
    """
    high = np.concatenate([[0], np.cumsum(sequences.scores > threshold)])
    marked = np.zeros(len(sequences.digits), bool)
    count = max(0, len(marked) - width + 1)
    marked[:count] = 2 * (high[width:] - high[:-width])[:count] >= min(width, 8)
    return marked


def refine(
    seed: np.ndarray, positives: ScoredSequences, negatives: ScoredSequences, threshold: float | None = None
) -> Motif | None:
    """Refine a matrix: find the best site of each sequence, make a new matrix of the good ones, and repeat.

    A site is good if its score is above that of the best site in all but 1 % of the negative sequences. The first
    round takes the sites of the seed itself.

    Args:
        seed: matrix to start with, (width, 4).
        positives: sequences in which sites are searched.
        negatives: sequences that show which scores occur by chance.
        threshold: search only sites that lie in stretches of higher scores of the model; None for everywhere.

    Returns:
        The motif, without words; None if it has less than 8 sites.
    """
    background = background_of(negatives)
    matrix, count = seed, 20
    for number in range(_ROUNDS + 1):
        odds = log_odds(matrix, background, count)
        scores, reverse = scan(positives, odds)
        if threshold is not None:
            scores = np.where(in_stretches(positives, threshold, len(matrix)), scores, -np.inf)
        best, places = best_sites(positives, scores)
        if number == 0:  # the sites of the seed itself, which may be too short to be rare
            least = float(odds.max(1).sum()) - 1e-6
        else:
            by_chance = best_sites(negatives, scan(negatives, odds)[0])[0]
            least = float(np.quantile(by_chance, 1 - _FALSE, method="higher"))
        places = places[(best > least) & np.isfinite(best)]
        if len(places) < _LEAST_SITES:
            return None
        flank = _GROWTH if number < _ROUNDS else 0  # in the last round the matrix is that of the sites, as they are
        counts = count_matrix(positives, places, reverse[places], len(matrix), flank)
        if number < _ROUNDS:
            counts = _trim(counts, background)
        matrix, count = counts / counts.sum(1, keepdims=True), len(places)
    return Motif(consensus(matrix), matrix, count, least, odds, [])


def _trim(counts: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Remove outer positions with little information, and the poorer end of a matrix that is too wide."""
    known = information(counts, background)
    least = min(max(_LEAST_INFORMATION, _NOISE / counts.sum(1).max()), _LIMIT_OF_FEW)
    start, end = 0, len(counts)
    while end - start > _NARROWEST:
        is_wide = end - start > _WIDEST
        if min(known[start], known[end - 1]) >= least and not is_wide:
            break
        if known[start] <= known[end - 1]:
            start += 1
        else:
            end -= 1
    return counts[start:end]


def make_motifs(
    words: Sequence[Word], positives: ScoredSequences, negatives: ScoredSequences, threshold: float, most: int
) -> list[Motif]:
    """Make motifs of significant words; a word that lies on an earlier motif is joined to it.

    Args:
        words: the words, the most significant one first.
        positives: sequences in which sites are searched.
        negatives: sequences that show which scores occur by chance.
        threshold: as in `refine`.
        most: number of motifs at which to stop.
    """
    found: list[Motif] = []
    tried = 0
    for word in words:
        seed = matrix_of_word(word.word)
        if (earlier := _same(seed, found)) is None and len(found) < most and tried < _MOST_SEEDS:
            tried += 1
            motif = refine(seed, positives, negatives, threshold)
            if motif is None:
                continue
            earlier = _same(motif.matrix, found)
            if earlier is None:
                found.append(motif._replace(words=[word]))
                continue
        if earlier is not None:
            earlier.words.append(word)
    return found


def _same(matrix: np.ndarray, motifs: Sequence[Motif]) -> Motif | None:
    """Find the first motif that a matrix resembles: where they fit best, their correlation is at least `_SAME`."""
    for motif in motifs:
        if align(motif.matrix, matrix, _OVERLAP).correlation >= _SAME:
            return motif
    return None


def evaluate_motif(motif: Motif, positives: ScoredSequences, negatives: ScoredSequences) -> Motif:
    """Test whether more positive than negative sequences have a site.

    Args:
        motif: the motif.
        positives: positive sequences that its matrix was not made of.
        negatives: negative sequences that its threshold was not chosen by.

    Returns:
        The motif with its counts and p.
    """
    counts = [
        int((best_sites(some, scan(some, motif.odds)[0])[0] > motif.threshold).sum()) for some in (positives, negatives)
    ]
    [p] = enrichment(np.array(counts[:1]), np.array(counts[1:]), (len(positives), len(negatives)))
    return motif._replace(positives=counts[0], negatives=counts[1], p=float(p))


def sites_of(motif: Motif, sequences: ScoredSequences) -> list[Site]:
    """List the sites of a motif, by sequence and position; of sites that overlap, the one with the highest score.

    Args:
        motif: the motif.
        sequences: the sequences.
    """
    scores, reverse = scan(sequences, motif.odds)
    width, owners = len(motif.matrix), sequences.owners
    taken, found = np.zeros(len(scores) + width, bool), []
    places = np.flatnonzero(scores > motif.threshold)
    for place in places[np.argsort(-scores[places], kind="stable")].tolist():
        if taken[place : place + width].any():
            continue
        taken[place : place + width] = True
        sequence = int(owners[place])
        start = place - int(sequences.starts[sequence])
        contribution = float(sequences.scores[place : place + width].mean())
        found.append(Site(sequence, start, start + width, bool(reverse[place]), float(scores[place]), contribution))
    return sorted(found)


def distances_from_centre(sites: Sequence[Site], lengths: np.ndarray) -> np.ndarray:
    """Compute the distance of the best site of each sequence from the sequence's centre, in nt.

    Args:
        sites: sites of one motif.
        lengths: length of each sequence in nt.

    Returns:
        float64 (sequences with a site,).
    """
    best: dict[int, Site] = {}
    for site in sites:
        if site.sequence not in best or site.score > best[site.sequence].score:
            best[site.sequence] = site
    return np.array([abs((site.start + site.end) / 2 - lengths[site.sequence] / 2) for site in best.values()])
