"""Compute what a fine-tuned model predicts for sequences of any length.

Three steps, each a function of the one before, so that files, arrays and whatever comes can go through them one by one:

- windows (`hf_genomics.inference.windows`) are stretches of sequences that the model can read;
- `score_windows` gives each window its probabilities or values, in the order of the windows;
- `average_windows` and `merge_windows` make them scores of sequences and of nucleotides.

All are generators that hold a bounded number of windows. `predict_scores` and `predict_nt_scores` are the three of
them for sequences in memory. Functions that ask a model many times (attribution, variants) can take one of these two as
an argument.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import scipy.special
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ..errors import InputError
from ..labelled.sequences import LabelledSequences
from ..sequence import as_letters
from ..tokenization_kmer import KmerTokenizer
from .windows import Window, collator_for, windows_of_examples

_BUFFER_NT = 1 << 20  # of windows that are sorted by length together


class SequenceScores(NamedTuple):
    """The scores of one sequence.

    Attributes:
        owner: number of the sequence.
        name: id of the sequence.
        length: of the sequence, in nt.
        scores: float64 (classes,), or (labels,), or (targets,).
    """

    owner: int
    name: str
    length: int
    scores: np.ndarray


class NtScores(NamedTuple):
    """The scores of some neighbouring nucleotides of a sequence.

    Attributes:
        owner: number of the sequence.
        name: id of the sequence.
        start: the first of the nucleotides, 0-based.
        scores: float64 (nt, classes).
    """

    owner: int
    name: str
    start: int
    scores: np.ndarray


def predict_scores(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    sequences: LabelledSequences | Sequence[str] | Sequence[np.ndarray],
    batch_size: int = 64,
) -> np.ndarray:
    """Compute class probabilities, or values, for sequences of any length.

    A sequence longer than those the model was fine-tuned on is cut into windows of their length side by side, the last
    one moved back to the end; the probabilities of its windows are averaged. The model is left on the device and in
    the mode (training or evaluation) in which it was.

    Args:
        model: sequence classifier: plain, hierarchical or with tracks.
        tokenizer: of the model.
        sequences: texts, or uint8 letters (nt,), one for each sequence; or examples with what the model reads beside
            them.
        batch_size: windows encoded at once.

    Returns:
        float64 (sequences, classes); (sequences, labels) for several labels; (sequences, targets) for values.

    Raises:
        InputError: if ``batch_size`` is not positive, or a pair does not fit the model.

    >>> from hf_genomics import load_classifier, predict_scores
    >>> predict_scores(*load_classifier("runs/model"), ["ACGTACGTAA", "TTTTTTTTTT"])  # doctest: +SKIP
    array([[0.91, 0.09],
           [0.48, 0.52]])
    """
    scored = _score_in_memory(model, tokenizer, as_examples(sequences), batch_size)
    rows = [one.scores for one in average_windows(scored)]
    return np.array(rows, np.float64).reshape(-1, model.config.num_labels)


def predict_nt_scores(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    sequences: LabelledSequences | Sequence[str] | Sequence[np.ndarray],
    batch_size: int = 64,
) -> list[np.ndarray]:
    """Compute class probabilities for every nucleotide; where the windows of a long sequence overlap, their mean.

    Args:
        model: token classifier that was fine-tuned on labels per nucleotide.
        tokenizer: as in `predict_scores`.
        sequences: as in `predict_scores`.
        batch_size: as in `predict_scores`.

    Returns:
        float64 (nt, classes) for each sequence.

    Raises:
        InputError: if ``batch_size`` is not positive.
    """
    merged = merge_windows(_score_in_memory(model, tokenizer, as_examples(sequences), batch_size))
    return [np.concatenate([piece.scores for piece in pieces]) for _, pieces in groupby(merged, lambda one: one.owner)]


def as_examples(sequences: LabelledSequences | Sequence[str] | Sequence[np.ndarray]) -> LabelledSequences:
    """Return sequences of any accepted form as examples; texts and arrays are numbered from 1."""
    if isinstance(sequences, LabelledSequences):
        return sequences
    names = [str(number) for number in range(1, len(sequences) + 1)]
    return LabelledSequences("sequences", names, [as_letters(sequence) for sequence in sequences])


def _score_in_memory(
    model: PreTrainedModel, tokenizer: KmerTokenizer, examples: LabelledSequences, batch_size: int
) -> Iterator[tuple[Window, np.ndarray]]:
    """Score the windows of examples, with a progress bar on a screen."""
    with tqdm(total=sum(map(len, examples.sequences)), desc="predict", unit="nt", unit_scale=True, disable=None) as bar:
        windows = windows_of_examples(examples, model, tokenizer)
        for window, scores in score_windows(model, tokenizer, windows, batch_size):
            yield window, scores
            bar.update(len(window.row["sequence"]))


def score_windows(
    model: PreTrainedModel, tokenizer: KmerTokenizer, windows: Iterable[Window], batch_size: int = 64
) -> Iterator[tuple[Window, np.ndarray]]:
    """Iterate over windows with their scores, in the order of the windows.

    Windows are read about a million nt ahead. Among these, those of similar length are encoded together, so that little
    is padded; the memory does not grow with the number of windows.

    Args:
        model: fine-tuned model.
        tokenizer: of the model.
        windows: any number of windows.
        batch_size: windows encoded at once.

    Yields:
        Each window, and its probabilities or values, float64 (labels,); of a model that classifies nucleotides
        (nt, classes).

    Raises:
        InputError: if ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    collate, problem = collator_for(model.config, tokenizer), model.config.problem_type
    with ready(model) as device:
        for buffer in _buffers(windows, batch_size):
            lengths = [len(window.row["sequence"]) for window in buffer]
            order = np.argsort(lengths, kind="stable").tolist()
            scores: list[np.ndarray] = [np.zeros(0)] * len(buffer)
            for begin in range(0, len(order), batch_size):
                chosen = order[begin : begin + batch_size]
                batch = collate([buffer[number].row for number in chosen])
                # Only the call of the model: what moves weights in inference mode makes them unfit for training.
                with torch.inference_mode():
                    logits = model(**{name: column.to(device) for name, column in batch.items()}).logits
                for number, row in zip(chosen, as_scores(logits.double().cpu().numpy(), problem), strict=True):
                    scores[number] = row
            for window, length, row in zip(buffer, lengths, scores, strict=True):
                yield window, row[:length] if row.ndim > 1 else row  # behind a window's nucleotides lies padding


def _buffers(windows: Iterable[Window], batch_size: int) -> Iterator[list[Window]]:
    """Gather windows until there are a million nt in full batches."""
    buffer: list[Window] = []
    nt = 0
    for window in windows:
        buffer.append(window)
        nt += len(window.row["sequence"])
        if nt >= _BUFFER_NT and len(buffer) % batch_size == 0:
            yield buffer
            buffer, nt = [], 0
    if buffer:
        yield buffer


@contextlib.contextmanager
def ready(model: PreTrainedModel) -> Iterator[torch.device]:
    """Move a model to the accelerator, if there is one, and into evaluation mode; afterwards put all back as it was.

    Yields:
        The device for the inputs.
    """
    before, modes = model.device, [(module, module.training) for module in model.modules()]
    device = torch.device(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    try:
        yield model.eval().to(device).device
    finally:
        model.to(before)
        for module, mode in modes:
            module.training = mode


def average_windows(scored: Iterable[tuple[Window, np.ndarray]]) -> Iterator[SequenceScores]:
    """Iterate over sequences with the mean of their windows' scores.

    Args:
        scored: windows, those of a sequence one after the other, and their scores (labels,).
    """
    for owner, of_owner in groupby(scored, lambda pair: pair[0].owner):
        name, length, count, total = "", 0, 0, np.zeros(())
        for window, scores in of_owner:
            name, length, count, total = window.name, window.end, count + 1, total + scores
        yield SequenceScores(owner, name, length, total / count)


def merge_windows(scored: Iterable[tuple[Window, np.ndarray]]) -> Iterator[NtScores]:
    """Iterate over stretches of sequences with the scores of their nucleotides, without gap or overlap.

    Where two windows overlap, a nucleotide gets the mean of both; more than two never do, because only the last window
    of a sequence is moved back.

    Args:
        scored: windows, those of a sequence in the order of their starts, and their scores (nt, classes).
    """
    held: NtScores | None = None  # of the window before, as far as it is not given out
    for window, scores in scored:
        now = NtScores(window.owner, window.name, window.start, scores)
        if held is not None and held.owner == window.owner:
            alone = window.start - held.start  # nucleotides of the window before that this one does not cover
            shared = len(held.scores) - alone
            mean = (held.scores[alone:] + scores[:shared]) / 2
            now = now._replace(scores=np.concatenate([mean, scores[shared:]]))
            held = held._replace(scores=held.scores[:alone])
        if held is not None:
            yield held
        held = now
    if held is not None:
        yield held


def as_scores(logits: np.ndarray, problem_type: str | None) -> np.ndarray:
    """Turn logits into probabilities; values are left as they are.

    Args:
        logits: float64 (..., labels).
        problem_type: as in the model's configuration; None means one class out of several.
    """
    if problem_type == "regression":
        return logits
    if problem_type == "multi_label_classification":
        return scipy.special.expit(logits)
    return scipy.special.softmax(logits, axis=-1)
