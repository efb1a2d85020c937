"""Hold many sequences and the scores of their nucleotides in three arrays, to search all of them for motifs at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..inference.windows import Window
from ..sequence import letter_digits, ranges

#: Digit of the letters other than A, T, C and G, and of the gaps between sequences.
UNKNOWN = 4


@dataclass(frozen=True)
class ScoredSequences:
    """Sequences one after another; a gap of one unknown letter follows each, so that no k-mer spans two of them.

    Attributes:
        names: name of each sequence.
        starts: int64 (sequences + 1,), where each sequence starts; the last number is the length of the arrays.
        digits: uint8 (total,), A0 T1 C2 G3, and `UNKNOWN`.
        scores: float32 (total,), the score of each nucleotide, -infinity in the gaps.
    """

    names: list[str]
    starts: np.ndarray
    digits: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(
        cls, names: Sequence[str], letters: Sequence[np.ndarray], scores: Sequence[np.ndarray] | None = None
    ) -> ScoredSequences:
        """Put sequences one after another.

        Args:
            names: name of each sequence.
            letters: uint8 (nt,) of each sequence.
            scores: (nt,) of each sequence; by default 0.
        """
        starts = np.concatenate([[0], np.cumsum([len(sequence) + 1 for sequence in letters], dtype=np.int64)])
        digits = np.full(starts[-1], UNKNOWN, np.uint8)
        values = np.full(starts[-1], -np.inf, np.float32)
        for index, (start, sequence) in enumerate(zip(starts[:-1].tolist(), letters, strict=True)):
            digits[start : start + len(sequence)] = letter_digits(sequence)
            values[start : start + len(sequence)] = 0 if scores is None else scores[index]
        return cls(list(names), starts, digits, values)

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.names)

    @property
    def lengths(self) -> np.ndarray:
        """Length of each sequence in nt, int64 (sequences,)."""
        return np.diff(self.starts) - 1

    @property
    def owners(self) -> np.ndarray:
        """Index of the sequence at each position, int64 (total,); a gap belongs to the sequence before it."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, rows: np.ndarray) -> ScoredSequences:
        """Return some of the sequences.

        Args:
            rows: int64 (n,), indices of the sequences.
        """
        sizes = np.diff(self.starts)[rows]
        places = ranges(self.starts[rows], sizes)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        return ScoredSequences([self.names[row] for row in rows], starts, self.digits[places], self.scores[places])


def join_windows(scored: Iterable[tuple[Window, np.ndarray]]) -> ScoredSequences:
    """Join the windows of each sequence; a nucleotide in two windows gets the mean of both scores.

    A nucleotide in no window, because its window was left out, is an unknown letter with score 0.

    Args:
        scored: windows and the scores of their nucleotides; the windows of a sequence follow one another.
    """
    names, letters, scores = [], [], []
    for _, group in groupby(scored, lambda pair: pair[0].sequence_index):
        windows = list(group)
        length = max(window.end + window.left_out_after for window, _ in windows)
        text, total, count = np.zeros(length, np.uint8), np.zeros(length), np.zeros(length)
        for window, values in windows:
            here = slice(window.start, window.end)
            text[here] = window.row["sequence"]
            total[here] += values
            count[here] += 1
        names.append(windows[0][0].name)
        letters.append(text)
        scores.append((total / np.maximum(count, 1)).astype(np.float32))
    return ScoredSequences.of(names, letters, scores)
