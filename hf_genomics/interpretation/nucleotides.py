"""Convert scores of tokens to scores of nucleotides, and letters to embeddings of k-mers.

A k-mer covers k nucleotides, and k-mers may overlap. `spread_sum` divides the score of a k-mer among its nucleotides;
`mean_of_cover` averages the scores of the k-mers that cover a nucleotide.

An embedding is the vector of numbers with which a model computes in place of a token. A position may hold a mixture of
letters. The embedding of a k-mer of mixed letters is the weighted mean of the embeddings of the k-mers that it may be:
half A and half G, then T, gives the mean of the embeddings of AT and GT. Shares of letters can change gradually, so the
output of a model that reads k-mers has a gradient for each letter, as if the model read single nucleotides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..sequence import LETTER_CODE, NUM_SPECIAL, num_kmers, vocabulary_size

#: Order that turns the columns A T C G, the order of the digits of k-mers, into A C G T, the order of other tools.
TO_ACGT = [0, 2, 3, 1]


def kmer_starts(kmers: np.ndarray, segments: Sequence[Sequence[int]], k: int, stride: int) -> np.ndarray:
    """Find the first nucleotide of every k-mer token.

    >>> kmer_starts(np.array([[False, True, True, False]]), [[8]], k=6, stride=2)
    array([[-1,  0,  2, -1]])

    Args:
        kmers: bool (rows, tokens), or (rows, parts, tokens) of a hierarchical model, True on k-mers; tokens of padding
            may come before or after them.
        segments: lengths in nt of the segments of each row, which are cut into k-mers separately: one number for a
            single sequence, one for each part, two for a pair.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.

    Returns:
        int64 in the shape of ``kmers``: the nucleotide, counted from the start of the row's first segment; -1 on other
        tokens.

    Raises:
        ValueError: if the number of k-mers in a row is not the number that its segments have.
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

    This is for contributions, whose sum has a meaning; for other values see `mean_of_cover`.

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

    Inside a sequence this is proportional to `spread_sum` if the stride divides k; otherwise some nucleotides are
    covered by one k-mer more than others. Fewer k-mers cover the ends of a sequence, so sums become smaller there, and
    means do not.

    Args:
        values: as in `spread_sum`.
        starts: as in `spread_sum`.
        k: as in `spread_sum`.
        length: as in `spread_sum`.

    Returns:
        float64 (length,); 0 where no k-mer reaches.

    Source: DNABERT (Ji et al. 2021), DNABERT-viz.
    """
    # If every k-mer has the value k, each adds 1 to the nucleotides it covers, so the sum counts the k-mers.
    cover = spread_sum(np.full(starts.shape, float(k)), starts, k, length)
    return spread_sum(values * float(k), starts, k, length) / np.maximum(cover, 1)


def one_hot(letters: np.ndarray) -> np.ndarray:
    """Return letters as float32 (nt, 4), with a 1 in one of the columns A T C G; all four are 0 for any other letter.

    The columns are in the order of the digits of k-mers.

    Args:
        letters: uint8 (nt,), ASCII.
    """
    return np.vstack([np.eye(4, dtype=np.float32), np.zeros((1, 4), np.float32)])[LETTER_CODE[letters]]


def soft_embeddings(shares: Tensor, table: Tensor, k: int) -> Tensor:
    """Compute the embeddings of k-mers of mixed letters; for plain letters they equal the table bit for bit.

    Args:
        shares: (..., k, 4), shares of the letters A T C G at each position of a k-mer.
        table: (tokens, hidden), the token embeddings.
        k: k-mer size in nt.

    Returns:
        (..., hidden).
    """
    # The share of a k-mer is the product of the shares of its letters. Each step of the loop appends a letter: 4 shares
    # of 1-mers become 16 of 2-mers, 64 of 3-mers, and so on, always in the order of their ids.
    products = shares[..., 0, :]
    for position in range(1, k):
        products = (products.unsqueeze(-1) * shares[..., position, :].unsqueeze(-2)).flatten(-2)
    return products @ table[NUM_SPECIAL : vocabulary_size(k)]


def embeddings_of_letters(shares: Tensor, starts: Tensor, embeddings: Tensor, table: Tensor, k: int) -> Tensor:
    """Compute the embeddings of k-mers from shares of letters, and keep those of all other tokens.

    Args:
        shares: (rows, nt, 4), shares of the letters A T C G.
        starts: int64 (rows, ..., tokens), first nucleotide of each k-mer; -1 on tokens whose embeddings are kept.
            They include [UNK], unlike in `kmer_starts`: a k-mer with an unknown letter is not a mixture of known ones.
        embeddings: (rows, ..., tokens, hidden), embeddings of all tokens.
        table: as in `soft_embeddings`.
        k: k-mer size in nt.

    Returns:
        In the shape of ``embeddings``.
    """
    replaced = starts >= 0
    row = replaced.nonzero()[:, 0]  # row of each k-mer
    places = starts[replaced].unsqueeze(-1) + torch.arange(k, device=starts.device)  # (k-mers, k)
    mixed = soft_embeddings(shares[row.unsqueeze(-1), places], table, k)
    return embeddings.masked_scatter(replaced.unsqueeze(-1), mixed)


def hypothetical_scores(gradients: Tensor) -> Tensor:
    """Compute the contribution that each letter would have at each position, against a baseline of equal shares.

    Args:
        gradients: (..., 4), for the share of each letter the mean gradient of the output while the shares change in
            small, equal steps from the baseline to the sequence; see `integrated_gradients`.

    Returns:
        (..., 4).

    Source: DeepLIFT's hypothetical contributions (Shrikumar et al. 2018, TF-MoDISco), with a baseline of 1/4 each.
    """
    # If the share of a letter rises from 1/4 to 1, those of the others fall to 0. Together they contribute 3/4 of its
    # gradient minus 1/4 of each other gradient, which is its gradient minus the mean of all four.
    return gradients - gradients.mean(-1, keepdim=True)
