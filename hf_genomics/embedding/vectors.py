"""Compute vectors of sequences with the encoder of a model: one per sequence, or one per token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch

from ..batches.sequences import DataCollatorForSequences
from ..inference.problems import ScoredWindow, known_tokens, problem_after_reading
from ..inference.scores import average_windows, collate_quietly, map_windows
from ..inference.windows import Window
from ..io.processes import ALONE, Processes
from ..modeling_kmer_bert import KmerBertModel
from ..pooling import pool
from ..sequence import CLS_ID, SEP_ID
from ..tokenization_kmer import KmerTokenizer

Pooling: TypeAlias = Literal["mean", "cls", "tokens"]


class Embedded(NamedTuple):
    """A vector, and what it stands for.

    Attributes:
        sequence_index: index of the sequence, from 0.
        name: id of the sequence.
        start: start of the token, 0-based; 0 for a sequence.
        end: end of the token or the sequence (half-open); 0 for an empty row of `embedded_tokens`.
        vector: float32 (hidden,), NaN if there is none.
    """

    sequence_index: int
    name: str
    start: int
    end: int
    vector: np.ndarray


def embed_windows(
    model: KmerBertModel,
    tokenizer: KmerTokenizer,
    windows: Iterable[Window],
    batch_size: int,
    pooling: Pooling,
    processes: Processes = ALONE,
) -> Iterator[ScoredWindow]:
    """Iterate over windows with their vectors, in the order of the windows; memory does not grow with their number.

    Args:
        model: encoder.
        tokenizer: tokenizer of the model.
        windows: any number of windows.
        batch_size: largest number of windows that are encoded at once.
        pooling: "mean" of all tokens, [CLS] and [SEP] included; "cls" for [CLS]; "tokens" for each k-mer.
        processes: processes that share the batches; only the first one yields anything.

    Yields:
        Each window and its vector, float64 (hidden,); for "tokens" the vectors of its k-mers, (k-mers, hidden). A
        window that cannot be embedded has a ``problem``, and NaN or, for "tokens", no rows.
    """
    return map_windows(model, tokenizer, windows, batch_size, _Embedder(model, tokenizer, pooling), processes)


class _Embedder:
    """The function that `map_windows` calls with each batch of windows; the arguments are those of `embed_windows`."""

    def __init__(self, model: KmerBertModel, tokenizer: KmerTokenizer, pooling: Pooling) -> None:
        self._model, self._tokenizer, self._pooling = model, tokenizer, pooling
        self._collate = DataCollatorForSequences(tokenizer)

    def nothing(self, window: Window) -> ScoredWindow:
        """Return a window that cannot be embedded, with NaN or, for "tokens", no rows."""
        size = self._model.config.hidden_size
        return window, np.full((0, size) if self._pooling == "tokens" else size, np.nan)

    def __call__(self, windows: list[Window], device: torch.device) -> Iterator[ScoredWindow]:
        """Iterate over the windows of one batch with their vectors."""
        # The collator would also take labels and tracks, which an encoder does not read.
        plain = [window._replace(row={"sequence": window.row["sequence"]}) for window in windows]
        batch = collate_quietly(self._collate, self._tokenizer, plain)
        tokens = known_tokens(batch, self._tokenizer)
        batch = {name: column.to(device) for name, column in batch.items()}
        real = batch["attention_mask"].bool()  # not padding
        with torch.inference_mode():
            hidden = self._model(**batch).last_hidden_state.float()
            pooled = hidden if self._pooling == "tokens" else pool(hidden, real, self._pooling)
        # [UNK] counts as a k-mer, because it has a place in the sequence.
        is_kmer = (real & (batch["input_ids"] != CLS_ID) & (batch["input_ids"] != SEP_ID)).cpu().numpy()
        values = pooled.double().cpu().numpy()  # float64: the vectors of many windows are summed
        for number, (window, counts) in enumerate(zip(windows, tokens, strict=True)):
            found = values[number][is_kmer[number]] if self._pooling == "tokens" else values[number]
            problem = problem_after_reading(counts, found)
            window = window._replace(tokens=counts, problem=problem)
            yield self.nothing(window) if problem else (window, found)


def embedded_sequences(scored: Iterable[ScoredWindow]) -> Iterator[Embedded]:
    """Iterate over sequences with the mean of their windows' vectors; windows without a known token are omitted.

    Every window has the same weight, whatever its length.

    Args:
        scored: windows and their vectors (hidden,); the windows of one sequence follow one another.
    """
    for one in average_windows(scored):
        yield Embedded(one.sequence_index, one.name, 0, one.length, one.scores.astype(np.float32))


def embedded_tokens(scored: Iterable[ScoredWindow], k: int, stride: int, size: int) -> Iterator[Embedded]:
    """Iterate over the tokens of sequences.

    Every sequence begins with a row whose start is 0: an interrupted run finds the beginning of a sequence by it (see
    `GrowingTable`). If no token with a vector starts at 0, this row is an empty one, from 0 to 0.

    K-mers are read inside windows only: those across the border of two windows that lie side by side are missing. The
    last window of a sequence overlaps the one before; of its k-mers, only those count that begin after the last one of
    the window before.

    Args:
        scored: windows and the vectors of their k-mers (k-mers, hidden).
        k: k-mer size in nt.
        stride: nt between the starts of neighbouring k-mers.
        size: number of features of a vector.
    """
    # k = stride = 2, windows of 6 nt over a sequence of 9 nt; the last window was moved back by 3 nt:
    #
    #     nucleotide   0 1 2 3 4 5 6 7 8
    #     window 1     [-] [-] [-]
    #     window 2           [-] [-] [-]     the token at 3 is left out: window 1 has one at 4
    #     rows         [-] [-] [-]
    #                            [-] [-]
    sequence_index, first = -1, 0  # first: where the next token of this sequence may begin
    empty_row: Embedded | None = None  # of the current sequence, until it has a row
    for window, vectors in scored:
        if window.sequence_index != sequence_index:
            if empty_row is not None:
                yield empty_row
            sequence_index, first = window.sequence_index, 0
            empty_row = Embedded(sequence_index, window.name, 0, 0, np.full(size, np.nan, np.float32))
        for number, vector in enumerate(vectors):
            start = window.start + number * stride
            if start >= first:
                if empty_row is not None and start > 0:  # the first token does not start at 0
                    yield empty_row
                empty_row, first = None, start + 1
                yield Embedded(sequence_index, window.name, start, start + k, vector.astype(np.float32))
    if empty_row is not None:
        yield empty_row
