"""Carry values from tokens to the nucleotides that they cover, for single sequences, parts and pairs alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..sequence import num_kmers


def kmer_starts(kmers: np.ndarray, segments: Sequence[Sequence[int]], k: int, stride: int) -> np.ndarray:
    """Find the first nucleotide of every k-mer token.

    >>> kmer_starts(np.array([[False, True, True, False]]), [[8]], k=6, stride=2)
    array([[-1,  0,  2, -1]])

    Args:
        kmers: bool (rows, ..., tokens), True on k-mers; padding may be on either side.
        segments: lengths in nt of the stretches of each row that are cut into k-mers separately: one number for a
            single sequence, one for each part, two for a pair.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    Returns:
        int64 in the shape of ``kmers``: the nucleotide, counted from the start of the row's first segment; -1 on other
        tokens.

    Raises:
        ValueError: if a row has another number of k-mers than its segments.
    """
    starts = np.full(kmers.shape, -1, np.int64)
    for row, lengths in enumerate(segments):
        begins = np.cumsum([0, *lengths[:-1]])
        found = [
            begin + stride * np.arange(num_kmers(length, k, stride))
            for begin, length in zip(begins, lengths, strict=True)
        ]
        expected = np.concatenate(found)
        if kmers[row].sum() != len(expected):
            raise ValueError(f"row {row} has {kmers[row].sum()} k-mers, but its sequences have {len(expected)}")
        starts[row][kmers[row]] = expected
    return starts


def spread_sum(values: np.ndarray, starts: np.ndarray, k: int, length: int) -> np.ndarray:
    """Divide the value of every k-mer equally among its k nucleotides, so that the sum stays the same.

    Args:
        values: (..., tokens), of one row.
        starts: first nucleotide of each k-mer, -1 on other tokens, in the same shape; see `kmer_starts`.
        k: k-mer size in nt.
        length: number of nt of the row.

    Returns:
        float64 (length,); 0 where no k-mer reaches.
    """
    kept = starts >= 0
    places = starts[kept][:, None] + np.arange(k)  # (k-mers, k)
    return np.bincount(places.ravel(), np.repeat(values[kept] / k, k), length)


def mean_of_cover(values: np.ndarray, starts: np.ndarray, k: int, length: int) -> np.ndarray:
    """Compute the mean value of the k-mers that cover each nucleotide.

    Inside a sequence this is `spread_sum` up to a factor; at its ends, where fewer k-mers cover a nucleotide, the sum
    fades and the mean does not.

    Args:
        values: as in `spread_sum`.
        starts: as in `spread_sum`.
        k: as in `spread_sum`.
        length: as in `spread_sum`.

    Returns:
        float64 (length,); 0 where no k-mer reaches.

    Source: DNABERT (Ji et al. 2021), DNABERT-viz.
    """
    cover = spread_sum(np.full(starts.shape, float(k)), starts, k, length)  # number of k-mers
    return spread_sum(values * float(k), starts, k, length) / np.maximum(cover, 1)
