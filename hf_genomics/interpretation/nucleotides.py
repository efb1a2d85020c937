"""Convert scores of tokens to scores of nucleotides, and letters to embeddings of k-mers.

The embedding of a k-mer is multilinear in its letters: a mixture of letters at each position gives the mixture of the
k-mers' embeddings. So a model over k-mers has gradients for nucleotides, as models over one-hot letters have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..sequence import LETTER_CODE, NUM_SPECIAL, num_kmers, vocabulary_size

#: Column of the digits A, T, C and G in arrays that other tools read, which have the letters A, C, G and T.
TO_ACGT = [0, 2, 3, 1]


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


def one_hot(letters: np.ndarray) -> np.ndarray:
    """Return letters as float32 (nt, 4), columns A T C G as the digits of k-mers; 0 in all four for any other letter.

    Args:
        letters: uint8 (nt,).
    """
    return np.vstack([np.eye(4, dtype=np.float32), np.zeros((1, 4), np.float32)])[LETTER_CODE[letters]]


def soft_embeddings(letters: Tensor, table: Tensor, k: int) -> Tensor:
    """Compute the embeddings of k-mers of mixed letters; for plain letters they equal the table bit for bit.

    Args:
        letters: (..., k, 4), shares of the letters A T C G at each position of a k-mer.
        table: (tokens, hidden), the token embeddings.
        k: k-mer size in nt.

    Returns:
        (..., hidden).
    """
    shares = letters[..., 0, :]  # of the k-mers of one letter, then of two, and so on, in the order of their ids
    for place in range(1, k):
        shares = (shares.unsqueeze(-1) * letters[..., place, :].unsqueeze(-2)).flatten(-2)
    return shares @ table[NUM_SPECIAL : vocabulary_size(k)]


def embeddings_of_letters(letters: Tensor, starts: Tensor, embeddings: Tensor, table: Tensor, k: int) -> Tensor:
    """Replace the embeddings of k-mers by those of k-mers of mixed letters.

    Args:
        letters: (rows, nt, 4), shares of the letters A T C G.
        starts: int64 (rows, ..., tokens), first nucleotide of each k-mer of known letters, -1 on other tokens.
        embeddings: (rows, ..., tokens, hidden), embeddings of all tokens; those of other tokens are kept.
        table: as in `soft_embeddings`.
        k: k-mer size in nt.

    Returns:
        In the shape of ``embeddings``.
    """
    kept = starts >= 0
    row = torch.arange(len(letters), device=starts.device).view(-1, *[1] * (starts.ndim - 1)).expand_as(starts)[kept]
    places = starts[kept].unsqueeze(-1) + torch.arange(k, device=starts.device)  # (k-mers, k)
    mixed = soft_embeddings(letters[row.unsqueeze(-1), places], table, k)
    return torch.zeros_like(embeddings).masked_scatter(kept.unsqueeze(-1), mixed) + embeddings.masked_fill(
        kept.unsqueeze(-1), 0
    )


def hypothetical_scores(gradients: Tensor) -> Tensor:
    """Compute the contribution that each letter would have at each position, against a baseline of equal shares.

    Args:
        gradients: (..., 4), mean gradients along the path for the four letters.

    Returns:
        (..., 4).

    Source: DeepLIFT's hypothetical contributions (Shrikumar et al. 2018, TF-MoDISco), with a baseline of 1/4 each.
    """
    return gradients - gradients.mean(-1, keepdim=True)
