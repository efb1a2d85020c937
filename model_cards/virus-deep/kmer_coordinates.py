"""Convert between indices of tokens in a row and positions of nucleotides, 0-based and half-open."""

from typing import Any

import numpy as np

from .sequence import covered_nt, num_kmers


def token_to_nt(token: Any, k: int, stride: int, lead: int) -> tuple[Any, Any]:
    """Compute the nucleotides [start, end) that a k-mer covers.

    Args:
        token: index of the k-mer in its row; a whole number, or a list or array of them.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        lead: number of special tokens before the first k-mer of a row, 0 or 1.

    Raises:
        ValueError: if an index lies before the first k-mer, or is not a whole number.

    >>> token_to_nt(2, k=6, stride=3, lead=1)
    (3, 9)
    """
    kmer = whole_number(token, "token") - lead
    if np.any(kmer < 0):
        raise ValueError(f"token {token} is not a k-mer: the k-mers of a row begin at index {lead}")
    return kmer * stride, kmer * stride + k


def nt_to_token(position: Any, k: int, stride: int, lead: int, length: int | None = None) -> tuple[Any, Any]:
    """Compute the indices [first, end) of the k-mers that cover a nucleotide.

    Args:
        position: 0-based position of the nucleotide; a whole number, or a list or array of them.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        lead: number of special tokens before the first k-mer of a row, 0 or 1.
        length: length of the sequence in nt; None if its end does not matter. In the uncovered tail, first equals end.

    Raises:
        ValueError: if a position lies outside the sequence, or is not a whole number.

    >>> nt_to_token(7, k=6, stride=3, lead=1)
    (2, 4)
    """
    position = whole_number(position, "position")
    if np.any(position < 0) or (length is not None and np.any(position >= length)):
        known = "the sequence" if length is None else f"the sequence of {length} nt"
        raise ValueError(f"position {position} is outside {known} (0-based)")
    # The k-mers that cover a nucleotide: those that start at or before it, minus those that end before it. As k-mers
    # are sorted, both are counts.
    end = num_kmers(position + k, k, stride)
    first = num_kmers(position, k, stride)
    if length is not None:
        end = np.minimum(end, num_kmers(length, k, stride))
    first = np.minimum(first, end)
    like_input = int if np.ndim(position) == 0 else np.asarray
    return like_input(first + lead), like_input(end + lead)


def window_nt(max_length: Any, k: int, stride: int, special: int, overlap: Any) -> int:
    """Compute the length in nt of the longest window that fits into ``max_length`` tokens.

    Args:
        max_length: number of tokens in a window, special tokens included.
        k: k-mer size in nt.
        stride: nt from the start of one k-mer to the start of the next.
        special: number of special tokens in a window.
        overlap: nt that neighbouring windows share; only checked.

    Raises:
        ValueError: if a number is not whole, or the window has no room for a k-mer or for the overlap.

    >>> window_nt(510, k=6, stride=3, special=2, overlap=0)
    1527
    """
    if isinstance(max_length, bool) or not isinstance(max_length, int | np.integer):
        raise ValueError(f"max_length must be a whole number of tokens, not {max_length!r}")
    nt = covered_nt(int(max_length) - special, k, stride)
    if nt == 0:
        raise ValueError(
            f"max_length of {max_length} tokens leaves no room for a k-mer in addition to {special} special tokens; "
            f"pass at least {special + 1}"
        )
    if isinstance(overlap, bool) or not isinstance(overlap, int | np.integer) or not 0 <= overlap < nt:
        raise ValueError(
            f"overlap must be a whole number of nt in 0..{nt - 1}, not {overlap!r}: a window of {max_length} tokens "
            f"covers {nt} nt"
        )
    return nt


def whole_number(value: Any, name: str) -> Any:
    """Return a whole number as it is, and several of them as an int64 array.

    Args:
        value: a whole number, or a list, array or tensor of them.
        name: what it is called in the error message.

    Raises:
        ValueError: if a value is not a whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    numbers = np.asarray(value)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return numbers.astype(np.int64)
