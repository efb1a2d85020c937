"""Compute what a fine-tuned model predicts for sequences of any length.

Prediction has three steps, and each step consumes the output of the previous step, one window at a time:

- the functions of `hf_genomics.inference.windows` cut sequences into windows that the model can read;
- `score_windows` computes the class probabilities of each window (predicted values for a regression model), in the
  order of the windows;
- `average_windows` combines the scores of windows into scores of sequences, `merge_windows` into scores of nucleotides.

All steps are generators that hold a limited number of windows, so that a file or an array may be larger than memory.
`predict_scores` and `predict_nt_scores` run all three steps on sequences in memory. Code that queries a model many
times (attribution, effects of variants) can take one of these two functions as an argument.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby, islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.special
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ..errors import InputError
from ..io.processes import ALONE, Processes
from ..labelled.sequences import LabelledSequences
from ..loading.config_facts import longest_window, shortest_sequence
from ..runs.memory import keep_freed_memory
from ..sequence import as_letters
from ..tokenization_kmer import KmerTokenizer
from .problems import Problem, Unscored, examined, known_tokens, problem_after_reading, problem_of_sequence
from .windows import (
    Window,
    check_frames,
    collator_for,
    problem_before_reading,
    versions_of,
    windows_of_examples,
    with_other_frames,
    with_other_strand,
)

logger = logging.getLogger(__name__)

#: Difference between two logits beyond which the larger one gives a probability that is 1 in float64: 53 ln 2.
_CERTAIN = 36.8
_U_AS_T = np.arange(256, dtype=np.uint8)
_U_AS_T[[ord("U"), ord("u")]] = ord("T"), ord("t")
_BUFFER_NT = 1 << 20  # nt of the windows that are sorted by length together
#: Largest number of tokens of a batch on a CPU. Larger batches take more memory and are no faster.
_CPU_TOKENS = 1 << 14


class SequenceScores(NamedTuple):
    """The scores of one sequence.

    Attributes:
        sequence_index: index of the sequence, from 0.
        name: id of the sequence.
        length: length of the sequence in nt.
        scores: float64 (classes,), or (labels,), or (targets,); NaN if the sequence cannot be scored.
    """

    sequence_index: int
    name: str
    length: int
    scores: np.ndarray


class NtScores(NamedTuple):
    """The scores of a contiguous stretch of a sequence.

    Attributes:
        sequence_index: index of the sequence, from 0.
        name: id of the sequence.
        start: position of the first nucleotide of the stretch in the sequence, 0-based.
        scores: float64 (nt, classes); NaN for nucleotides in windows that cannot be scored.
    """

    sequence_index: int
    name: str
    start: int
    scores: np.ndarray


def predict_scores(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    sequences: LabelledSequences | Sequence[str] | Sequence[np.ndarray],
    batch_size: int = 64,
    both_strands: bool = False,
    frames: int = 1,
) -> np.ndarray:
    """Compute class probabilities, or the predicted values of a regression model, for sequences of any length.

    A sequence longer than the longest training sequence (``max_sequence_length``) is cut into windows of that length,
    side by side; the last window is moved back so that it ends with the sequence. The probabilities of the windows are
    averaged, and all windows with a known k-mer have the same weight; windows without one (all N) are omitted.
    Afterwards the model is on the same device and in the same mode (training or evaluation) as before.

    Args:
        model: sequence classifier: plain, hierarchical or with tracks.
        tokenizer: tokenizer of the model.
        sequences: one text or one array of uint8 letters (nt,) for each sequence; or examples, with the pairs and
            tracks that the model reads.
        batch_size: largest number of windows that are encoded at once.
        both_strands: average the scores of each sequence and its reverse complement.
        frames: number of frames to average, see `with_other_frames`; only the first one by default.

    Returns:
        float64 (sequences, classes); (sequences, labels) for several labels; (sequences, targets) for regression. The
        row of a sequence that cannot be scored is NaN: one shorter than a k-mer, without a k-mer of A, C, G and T only,
        or for which the model returns NaN or infinity, and a pair that does not fit the model. A warning says how many
        there are.

    Raises:
        InputError: if ``batch_size`` or ``frames`` is not positive, or the model classifies nucleotides.

    >>> from hf_genomics import load_classifier, predict_scores
    >>> predict_scores(*load_classifier("runs/model"), ["ACGTACGTAA", "TTTTTTTTTT"])  # doctest: +SKIP
    array([[0.91, 0.09],
           [0.48, 0.52]])
    """
    _check_level(model, "sequence")
    check_frames(frames)
    scored = _score_in_memory(model, tokenizer, as_examples(sequences), batch_size, both_strands, frames)
    rows = [one.scores for one in average_windows(scored)]
    return np.array(rows, np.float64).reshape(-1, model.config.num_labels)


def predict_nt_scores(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    sequences: LabelledSequences | Sequence[str] | Sequence[np.ndarray],
    batch_size: int = 64,
) -> list[np.ndarray]:
    """Compute class probabilities for every nucleotide; where two windows overlap, the mean of both.

    Args:
        model: token classifier that was fine-tuned on labels per nucleotide.
        tokenizer: as in `predict_scores`.
        sequences: as in `predict_scores`.
        batch_size: as in `predict_scores`.

    Returns:
        float64 (nt, classes) for each sequence; NaN for nucleotides in windows that cannot be scored.

    Raises:
        InputError: if ``batch_size`` is not positive, or the model classifies sequences.
    """
    _check_level(model, "nt")
    merged = merge_windows(_score_in_memory(model, tokenizer, as_examples(sequences), batch_size))
    return [
        np.concatenate([piece.scores for piece in pieces])
        for _, pieces in groupby(merged, lambda one: one.sequence_index)
    ]


def _check_level(model: PreTrainedModel, level: str) -> None:
    """Raise InputError unless a model gives scores of sequences ("sequence"), or of nucleotides ("nt")."""
    per_nt = model.config.labels_per == "nt"
    if per_nt != (level == "nt"):
        what, other = ("nucleotides", "predict_nt_scores") if per_nt else ("sequences", "predict_scores")
        raise InputError(f"the model classifies {what}; call {other} instead")


def as_examples(sequences: LabelledSequences | Sequence[str] | Sequence[np.ndarray]) -> LabelledSequences:
    """Return sequences of any accepted form as examples; texts and arrays are numbered from 1, and U is read as T."""
    if isinstance(sequences, LabelledSequences):
        return sequences
    names = [str(number) for number in range(1, len(sequences) + 1)]
    return LabelledSequences("sequences", names, [_U_AS_T[as_letters(sequence)] for sequence in sequences])


def _score_in_memory(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    examples: LabelledSequences,
    batch_size: int,
    both_strands: bool = False,
    frames: int = 1,
) -> Iterator[tuple[Window, np.ndarray]]:
    """Score the windows of examples, showing a progress bar if stderr is a terminal."""
    unscored = Unscored(examples.source, "row", strict=False)
    total = (1 + both_strands) * min(frames, tokenizer.stride) * sum(map(len, examples.sequences))
    with tqdm(total=total, desc="predict", unit="nt", unit_scale=True, disable=None) as bar:
        windows = examined(windows_of_examples(examples, model, tokenizer))
        if both_strands:
            windows = with_other_strand(windows, longest_window(model.config, tokenizer))
        windows = with_other_frames(windows, tokenizer.stride, frames, shortest_sequence(model, tokenizer.k))
        for window, scores in unscored.watch(score_windows(model, tokenizer, windows, batch_size)):
            yield window, scores
            bar.update(len(window.row["sequence"]))
    unscored.warn()


def score_windows(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    windows: Iterable[Window],
    batch_size: int = 64,
    processes: Processes = ALONE,
) -> Iterator[tuple[Window, np.ndarray]]:
    """Iterate over windows with their scores, in the order of the windows.

    Windows are read about a million nt ahead and sorted by length, so that windows of similar length share a batch and
    need little padding. Memory does not grow with the number of windows.

    Args:
        model: fine-tuned model.
        tokenizer: tokenizer of the model.
        windows: any number of windows.
        batch_size: largest number of windows that are encoded at once.
        processes: processes that share the batches.

    Yields:
        Each window, with its problem if it cannot be scored, and its class probabilities or predicted values: float64
        (labels,), or (nt, classes) from a model that classifies nucleotides; NaN if it cannot be scored. Of several
        processes only the first one yields anything.

    Raises:
        InputError: if ``batch_size`` is not positive.
    """
    scorer = _Scorer(model, tokenizer)
    yield from map_windows(model, tokenizer, windows, batch_size, scorer, processes)
    scorer.warn_of_certainty(processes)


def score_versions(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    windows: Iterable[Window],
    batch_size: int = 64,
    processes: Processes = ALONE,
    *,
    both_strands: bool = False,
    frames: int = 1,
) -> Iterator[tuple[Window, np.ndarray]]:
    """Iterate over windows with the means of their scores over strands and frames, in the order of the windows.

    Args:
        model: fine-tuned model that labels single sequences.
        tokenizer: tokenizer of the model.
        windows: any number of windows.
        batch_size: largest number of windows that are encoded at once.
        processes: processes that share the batches.
        both_strands: average each window and its reverse complement.
        frames: number of frames to average, see `with_other_frames`.

    Yields:
        As `score_windows`. A window is scored if any of its versions is; the mean is over those that are.
    """
    counts: deque[int] = deque()  # versions of each window that is being scored
    shortest = shortest_sequence(model, tokenizer.k)

    def versions() -> Iterator[Window]:
        """Iterate over the versions of all windows."""
        for window in windows:
            found = versions_of(window, tokenizer.stride, both_strands, frames, shortest)
            counts.append(len(found))
            yield from found

    scored = score_windows(model, tokenizer, versions(), batch_size, processes)
    for first in scored:
        group = [first, *islice(scored, counts.popleft() - 1)]
        known = [one for one in group if one[0].problem is None]
        if not known:
            yield first
            continue
        mean = np.mean([values for _, values in known], axis=0)
        yield first[0]._replace(problem=None, tokens=known[0][0].tokens), mean


class BatchFunction(Protocol):
    """What `map_windows` computes for windows."""

    def nothing(self, window: Window) -> tuple[Window, np.ndarray]:
        """Return a window that cannot be read, with NaN for its values."""

    def __call__(self, windows: list[Window], device: torch.device) -> Iterable[tuple[Window, np.ndarray]]:
        """Compute the values of the windows of one batch, in their order."""


def map_windows(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    windows: Iterable[Window],
    batch_size: int,
    score: BatchFunction,
    processes: Processes = ALONE,
) -> Iterator[tuple[Window, np.ndarray]]:
    """Iterate over windows with the values that a function computes for them in batches; see `score_windows`.

    Args:
        model: model that the function calls; it is moved to the accelerator meanwhile.
        tokenizer: tokenizer of the model.
        windows: any number of windows.
        batch_size: largest number of windows that are encoded at once.
        score: the function.
        processes: processes that share the batches.

    Raises:
        InputError: if ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    with ready(model) as device:
        for buffer in _buffers(windows, batch_size):
            buffer = [window._replace(problem=problem_before_reading(window, model, tokenizer)) for window in buffer]
            lengths = [len(window.row["sequence"]) for window in buffer]
            scored = {number: score.nothing(window) for number, window in enumerate(buffer) if window.problem}
            # Windows are encoded from the shortest to the longest, but keep their own places in the buffer.
            order = [number for number in np.argsort(lengths, kind="stable").tolist() if number not in scored]
            # The limit in nt: every further token of a window covers one more stride.
            most = _CPU_TOKENS * tokenizer.stride if device.type == "cpu" else None
            batches = cut_batches(order, lengths, batch_size, most)
            results = processes.map(partial(_compute, score, buffer, device), batches)
            if results is None:  # the first process yields them
                continue
            for number, (problem, tokens, values) in zip(order, chain.from_iterable(results), strict=True):
                scored[number] = buffer[number]._replace(problem=problem, tokens=tokens), values
            for number in range(len(buffer)):
                yield scored.pop(number)


def cut_batches(order: Sequence[int], lengths: Sequence[int], batch_size: int, most: int | None) -> list[list[int]]:
    """Cut windows into batches, which are padded to their longest window.

    Args:
        order: places of the windows, from the shortest window to the longest.
        lengths: length of the window at each place, in nt.
        batch_size: largest number of windows of a batch.
        most: largest number of nt of a batch, padding included, unless it has one window only; None for any number.

    >>> cut_batches([2, 0, 1], [50, 80, 10], 2, None), cut_batches([2, 0, 1], [50, 80, 10], 3, 100)
    ([[2, 0], [1]], [[2, 0], [1]])
    """
    batches: list[list[int]] = []
    for place in order:
        is_full = not batches or len(batches[-1]) == batch_size
        if is_full or (most is not None and (len(batches[-1]) + 1) * lengths[place] > most):
            batches.append([])
        batches[-1].append(place)
    return batches


def _compute(
    score: BatchFunction, buffer: list[Window], device: torch.device, chosen: list[int]
) -> list[tuple[Problem | None, tuple[int, int], np.ndarray]]:
    """Compute a batch of the windows of a buffer; return problem, tokens and values of each, without its letters."""
    found = score([buffer[number] for number in chosen], device)
    return [(window.problem, window.tokens, values) for window, values in found]


class _Scorer:
    """Computes the scores of a batch of windows.

    Args:
        model: fine-tuned model.
        tokenizer: tokenizer of the model.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: KmerTokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._collate, self._problem_type = collator_for(model.config, tokenizer), model.config.problem_type
        self._per_nt = model.config.labels_per == "nt"
        self.num_scored = self.num_saturated = 0  # windows
        self.largest = 0.0  # difference between the logits of one window

    def nothing(self, window: Window) -> tuple[Window, np.ndarray]:
        """Return a window that cannot be scored, with NaN for its scores."""
        shape: tuple[int, ...] = (self._model.config.num_labels,)
        return window, np.full((len(window.row["sequence"]), *shape) if self._per_nt else shape, np.nan)

    def __call__(self, windows: list[Window], device: torch.device) -> Iterator[tuple[Window, np.ndarray]]:
        """Iterate over windows of one batch with their scores."""
        batch = collate_quietly(self._collate, self._tokenizer, windows)
        tokens = known_tokens(batch, self._tokenizer)
        # Inference mode covers the call of the model only: weights that are moved to another device in inference mode
        # can no longer be trained.
        with torch.inference_mode():
            logits = self._model(**{name: column.to(device) for name, column in batch.items()}).logits
        rows = logits.double().cpu().numpy()
        for window, counts, row in zip(windows, tokens, rows, strict=True):
            # Scores per nucleotide are as long as the longest window of the batch: cut off the scores of padding.
            row = row[: len(window.row["sequence"])] if row.ndim > 1 else row
            problem = problem_after_reading(counts, row)
            window = window._replace(tokens=counts, problem=problem)
            if problem is None and self._problem_type != "regression":
                self._note_certainty(row)
            yield self.nothing(window) if problem else (window, as_scores(row, self._problem_type))

    def _note_certainty(self, logits: np.ndarray) -> None:
        """Count a window, and note whether all of its probabilities are 0 or 1 as far as float64 can tell."""
        if self._problem_type == "multi_label_classification":
            margins = np.abs(logits)
        else:
            ranked = np.sort(logits, axis=-1)
            margins = ranked[..., -1] - ranked[..., -2] if ranked.shape[-1] > 1 else np.zeros(1)
        self.num_scored += 1
        self.num_saturated += bool(margins.min(initial=np.inf) > _CERTAIN)
        self.largest = max(self.largest, float(margins.max(initial=0)))

    def warn_of_certainty(self, processes: Processes) -> None:
        """Log a warning if every window of all processes had a probability of 1."""
        counts = processes.gather((self.num_scored, self.num_saturated, self.largest))
        if counts is None:
            return
        scored, saturated, largest = zip(*counts, strict=True)
        if 0 < sum(scored) == sum(saturated):
            logger.warning(
                "every prediction is certain (logits differ by up to %.3g, which gives a probability of 1): the "
                "weights of such a model are usually damaged, or its training diverged",
                max(largest),
            )


def collate_quietly(
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]], tokenizer: KmerTokenizer, windows: list[Window]
) -> dict[str, torch.Tensor]:
    """Collate windows without the tokenizer's warnings: `Unscored` reports unknown tokens, sequence by sequence.

    Args:
        collate: function that turns rows into inputs of the model.
        tokenizer: tokenizer of the model.
        windows: the windows.
    """
    with _errors_only(type(tokenizer).__module__):
        return collate([window.row for window in windows])


@contextlib.contextmanager
def _errors_only(name: str) -> Iterator[None]:
    """Log only errors of a module in a ``with`` block."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _buffers(windows: Iterable[Window], batch_size: int) -> Iterator[list[Window]]:
    """Iterate over lists of windows with about a million nt; each list but the last one fills whole batches."""
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
    """Move a model to the accelerator, if there is one, and into evaluation mode; restore both afterwards.

    On a CPU the process keeps freed memory from then on; see `keep_freed_memory`.

    Yields:
        The device for the inputs.
    """
    # Each module has a mode of its own; `model.train(mode)` would give all of them the same one.
    before, modes = model.device, [(module, module.training) for module in model.modules()]
    device = torch.device(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    if device.type == "cpu":
        keep_freed_memory()  # every batch frees and allocates the same arrays
    try:
        yield model.eval().to(device).device
    finally:
        model.to(before)
        for module, mode in modes:
            module.training = mode


def average_windows(scored: Iterable[tuple[Window, np.ndarray]]) -> Iterator[SequenceScores]:
    """Iterate over sequences with the mean of their windows' scores; windows without a known token are omitted.

    Args:
        scored: windows and their scores (labels,); all windows of one sequence must follow one another.
    """
    for sequence_index, group in groupby(scored, lambda pair: pair[0].sequence_index):
        name, length, count, total = "", 0, 0, np.zeros(())
        problems: set[Problem | None] = set()
        for window, scores in group:  # the last window ends with the sequence: its end is the length of the sequence
            name, length, nothing = window.name, window.end, np.full_like(scores, np.nan)
            problems.add(window.problem)
            if window.problem is None:
                count, total = count + 1, total + scores
        yield SequenceScores(sequence_index, name, length, nothing if problem_of_sequence(problems) else total / count)


def merge_windows(scored: Iterable[tuple[Window, np.ndarray]]) -> Iterator[NtScores]:
    """Iterate over stretches of sequences with the scores of their nucleotides, without gaps or overlaps.

    A nucleotide in two windows gets the mean of both, or the scores of the one that can be scored. No nucleotide is in
    three, because only the last window of a sequence is moved back.

    Args:
        scored: windows and their scores (nt, classes); the windows of one sequence follow one another in the order of
            their starts.
    """
    # Two windows of 6 nt over a sequence of 10 nt; the second one was moved back by 2 nt:
    #
    #     nucleotide           0 1 2 3 4 5 6 7 8 9
    #     held (first window)  h h h h h h              alone = 4, shared = 2
    #     scores (second one)          s s s s s s
    #     yielded              h h h h
    #     held from now on             m m s s s s      m: mean of h and s
    held: NtScores | None = None  # scores that are not yielded yet, because the next window may overlap them
    for window, scores in scored:
        now = NtScores(window.sequence_index, window.name, window.start, scores)
        if held is not None and held.sequence_index == window.sequence_index:
            alone = window.start - held.start  # nucleotides of `held` that this window does not cover
            shared = len(held.scores) - alone
            mean = _mean_of_known(held.scores[alone:], scores[:shared])
            now = now._replace(scores=np.concatenate([mean, scores[shared:]]))
            held = held._replace(scores=held.scores[:alone])
        if held is not None:
            yield held
        held = now
    if held is not None:
        yield held


def _mean_of_known(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the mean of two arrays of scores; where one of them is NaN, the other one."""
    mean = (first + second) / 2
    return np.where(np.isnan(mean), np.where(np.isnan(first), second, first), mean)


def as_scores(logits: np.ndarray, problem_type: str | None) -> np.ndarray:
    """Turn logits, the raw outputs of a model, into probabilities; the outputs for regression stay as they are.

    Args:
        logits: float64 (..., labels).
        problem_type: as in the model's configuration; None means one class out of several.
    """
    if problem_type == "regression":
        return logits
    if problem_type == "multi_label_classification":
        return scipy.special.expit(logits)
    return scipy.special.softmax(logits, axis=-1)
