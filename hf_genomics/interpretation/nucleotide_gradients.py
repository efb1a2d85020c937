"""Token embeddings as a function of single nucleotides, and gradients with respect to all four letters.

The embedding of a k-mer is multilinear in its letters: a mixture of letters at each position gives the mixture of the
k-mers' embeddings. So a model over k-mers has gradients for nucleotides, as models over one-hot letters have.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..sequence import LETTER_CODE, NUM_SPECIAL, vocabulary_size

#: Column of the digits A, T, C and G in arrays that other tools read, which have the letters A, C, G and T.
TO_ACGT = [0, 2, 3, 1]


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
    """Put the embeddings of k-mers of mixed letters in the places of the tokens.

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
    """Compute the contribution that each letter would have at each position, against a base of equal shares.

    Args:
        gradients: (..., 4), mean gradients along the path for the four letters.

    Returns:
        (..., 4).

    Source: DeepLIFT's hypothetical contributions (Shrikumar et al. 2018, TF-MoDISco), with a base of 1/4 each.
    """
    return gradients - gradients.mean(-1, keepdim=True)
