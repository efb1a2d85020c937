"""What a fine-tuned model says of sequences of any length, how good that is, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.special
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ..errors import InputError
from ..labelled.sequences import LabelledSequences
from ..tokenization_kmer import KmerTokenizer
from .windows import Window, collator_for, cut_windows


def predict_scores(
    network: PreTrainedModel,
    tokenizer: KmerTokenizer,
    examples: LabelledSequences | Sequence[np.ndarray],
    batch_size: int = 64,
) -> np.ndarray:
    """Give class probabilities, or values, for sequences of any length.

    A sequence longer than those the model was fine-tuned on is cut into windows of their length side by side, the last
    one moved back to the end; the probabilities of its windows are averaged.

    Args:
        network: sequence classifier: plain, hierarchical or with tracks.
        tokenizer: of the model.
        examples: sequences with what the model reads beside them, or uint8 letters alone, one array each.
        batch_size: windows encoded at once.

    Returns:
        (sequences, classes), float64; (sequences, labels) for several labels; (sequences, targets) for regression.

    Raises:
        InputError: if ``batch_size`` is not positive, or a pair does not fit the model.
    """
    windows = cut_windows(network, tokenizer, _as_examples(examples))
    logits = np.zeros((len(windows), network.config.num_labels))
    for chosen, said in _forward(network, tokenizer, windows, batch_size):
        logits[chosen] = said
    scores = as_scores(logits, network.config.problem_type)
    owner = np.array([window.owner for window in windows])
    counts = np.bincount(owner, minlength=len(examples))[:, None]
    return np.stack([np.bincount(owner, column, len(examples)) for column in scores.T], 1) / counts


def predict_nt_scores(
    network: PreTrainedModel,
    tokenizer: KmerTokenizer,
    examples: LabelledSequences | Sequence[np.ndarray],
    batch_size: int = 64,
) -> list[np.ndarray]:
    """Give class probabilities for every nucleotide; where the windows of a long sequence overlap, their mean.

    Args:
        network: token classifier per nucleotide.
        tokenizer, examples, batch_size: as in `predict_scores`.

    Returns:
        (nt, classes), float64, for each sequence.
    """
    examples = _as_examples(examples)
    windows = cut_windows(network, tokenizer, examples)
    totals = [np.zeros((len(letters), network.config.num_labels)) for letters in examples.sequences]
    counts = [np.zeros((len(letters), 1)) for letters in examples.sequences]
    for chosen, said in _forward(network, tokenizer, windows, batch_size):
        for number, logits in zip(chosen, said, strict=True):
            window = windows[number]
            end = window.start + len(window.row["sequence"])
            totals[window.owner][window.start : end] += scipy.special.softmax(logits[: end - window.start], axis=-1)
            counts[window.owner][window.start : end] += 1
    return [total / count for total, count in zip(totals, counts, strict=True)]


@torch.inference_mode()
def _forward(
    network: PreTrainedModel, tokenizer: KmerTokenizer, windows: list[Window], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Run the model, windows of equal length together; yields which windows, and their logits in float64."""
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    device = torch.device(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    network.eval().to(device)
    collate = collator_for(network.config, tokenizer)
    order = np.argsort([len(window.row["sequence"]) for window in windows], kind="stable")
    for begin in tqdm(range(0, len(order), batch_size), desc="predict", unit="batch", disable=None):
        chosen = order[begin : begin + batch_size]
        batch = collate([windows[number].row for number in chosen])
        output = network(**{name: column.to(device) for name, column in batch.items()})
        yield chosen, output.logits.double().cpu().numpy()


def as_scores(logits: np.ndarray, problem: str | None) -> np.ndarray:
    """Turn logits into probabilities, or leave values as they are."""
    if problem == "regression":
        return logits
    return (
        scipy.special.expit(logits)
        if problem == "multi_label_classification"
        else scipy.special.softmax(logits, axis=-1)
    )


def _as_examples(examples: LabelledSequences | Sequence[np.ndarray]) -> LabelledSequences:
    if isinstance(examples, LabelledSequences):
        return examples
    return LabelledSequences("sequences", [str(row) for row in range(1, len(examples) + 1)], list(examples))
