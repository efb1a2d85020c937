"""Compute how the output changes if letters are substituted (`ism`) or tokens are hidden (`occlusion`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

#: Letters of the columns of a matrix of substitutions.
LETTERS = np.frombuffer(b"ACGT", np.uint8)


class Substitutions(NamedTuple):
    """The effects of all single substitutions in a sequence.

    Attributes:
        reference: the output for the sequence itself.
        changes: float64 (nt, 4), the output with A, C, G or T at a position, minus the reference; 0 for the letter that
            is there. At another letter, such as N, all four are computed.
    """

    reference: float
    changes: np.ndarray

    @property
    def largest(self) -> np.ndarray:
        """Largest absolute change at each position, (nt,)."""
        return np.abs(self.changes).max(1)


def ism(func: Callable[[np.ndarray], np.ndarray], letters: np.ndarray, batch_size: int = 64) -> Substitutions:
    """Compute the effects of all single substitutions in a sequence (in-silico saturation mutagenesis).

    Args:
        func: function of sequences, uint8 (n, nt), that returns a number for each, (n,).
        letters: uint8 (nt,), the sequence; soft-masked letters count as their capitals.
        batch_size: number of sequences in a call of ``func``.

    >>> ism(lambda rows: (rows == ord("G")).sum(1), np.frombuffer(b"AG", np.uint8)).changes.tolist()
    [[0.0, 0.0, 1.0, 0.0], [-1.0, -1.0, 0.0, -1.0]]
    """
    upper = letters & 0xDF  # ASCII letters in upper case: their codes without the bit of lower case
    place, letter = np.nonzero(upper[:, None] != LETTERS)
    reference = float(func(letters[None])[0])
    changes = np.zeros((len(letters), 4))
    for begin in range(0, len(place), batch_size):
        here, new = place[begin : begin + batch_size], letter[begin : begin + batch_size]
        rows = np.repeat(letters[None], len(here), 0)
        rows[np.arange(len(here)), here] = LETTERS[new]
        changes[here, new] = func(rows) - reference
    return Substitutions(reference, changes)


def occlusion(
    func: Callable[[np.ndarray], np.ndarray], ids: np.ndarray, kmers: np.ndarray, mask_id: int, batch_size: int = 64
) -> tuple[float, np.ndarray]:
    """Compute by how much the output drops if a token is hidden by [MASK], one token at a time.

    A positive number means that the token raises the output; the changes of `ism` have the opposite sign. If tokens
    overlap, drops are small, because the neighbours of a hidden token show most of its letters.

    Args:
        func: function of ids, int64 (n, ..., tokens), that returns a number for each, (n,).
        ids: int64 (..., tokens), ids of one sequence.
        kmers: bool (..., tokens), the tokens to hide.
        mask_id: id of [MASK].
        batch_size: number of sequences in a call of ``func``.

    Returns:
        The output for the sequence itself; and float64 (..., tokens), the drops, 0 for tokens that are not hidden.
    """
    reference, drops = float(func(ids[None])[0]), np.zeros(ids.shape)
    places = np.flatnonzero(kmers)
    for begin in range(0, len(places), batch_size):
        here = places[begin : begin + batch_size]
        rows = np.repeat(ids[None], len(here), 0)
        rows.reshape(len(here), -1)[np.arange(len(here)), here] = mask_id
        drops.flat[here] = reference - func(rows)
    return reference, drops
