"""What a variant changes in a model's output: embeddings, likelihood of the other tokens, attention, class scores.

Each function compares two windows of one strand that differ by the variant only, from one forward pass each, unmasked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..inference.scores import ready
from ..inference.windows import collator_for
from ..sequence import NUM_SPECIAL
from ..sequence_files.reference import Strand
from ..tokenization_kmer import KmerTokenizer
from .likelihood import check_output
from .sites import Event

#: What can be compared besides the likelihood ratio.
Effect = Literal["embedding", "influence", "attention"]
#: Columns of each comparison.
COLUMNS: dict[Effect, tuple[str, ...]] = {
    "embedding": ("emb_l2", "emb_cos"),
    "influence": ("influence",),
    "attention": ("attention_change",),
}


class Alleles(NamedTuple):
    """The window of a variant with either allele, on one strand.

    Attributes:
        ref: letters with the reference allele, uint8 (nt,).
        alt: letters with the alternative allele, uint8; as long as ``ref``, except near the end of a contig.
        start: index of the first changed letter.
        width: number of reference letters that change.
        is_substitution: whether no letter moves.
        is_whole: whether each allele fits into its window.
    """

    ref: np.ndarray
    alt: np.ndarray
    start: int
    width: int
    is_substitution: bool
    is_whole: bool


def cut_alleles(event: Event, strand: Strand, length: int) -> Alleles:
    """Cut the window of an event with either allele; the event starts at index ``length // 2`` where the contig allows.

    Args:
        event: the event, on this strand.
        strand: strand of the contig.
        length: length of the window in nt.
    """
    start = max(0, event.start - length // 2)
    end = min(start + length, strand.length)
    inserted = np.frombuffer(event.alt.encode("ascii"), np.uint8)
    before = strand.read(start, event.start)
    after = strand.read(event.end, min(strand.length, event.end + length))
    alt = np.concatenate([before, inserted, after])[:length]
    width = event.end - event.start
    is_whole = event.start + max(width, len(inserted)) <= start + length
    return Alleles(strand.read(start, end), alt, event.start - start, width, event.is_substitution, is_whole)


def compare(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    windows: Sequence[Alleles],
    effects: Sequence[Effect],
    *,
    batch_size: int = 16,
    advance: Callable[[int], object] = lambda windows: None,
) -> dict[str, np.ndarray]:
    """Compute how a masked-token model's output differs between the alleles of each window.

    Args:
        model: masked-token model.
        tokenizer: its tokenizer.
        windows: windows with either allele.
        effects: "embedding": Euclidean and cosine distance of the mean of the last hidden states, without special
            tokens (``emb_l2``, ``emb_cos``). "influence": mean absolute change of the log-probability of the tokens
            that do not show the variant; NaN for an insertion or deletion, whose tokens do not match. "attention":
            Frobenius norm of the change of the last layer's attention, mean of the heads (``attention_change``).
        batch_size: number of windows that are encoded at once.
        advance: called with the number of windows after each batch.

    Returns:
        float64 (windows,) for each column in `COLUMNS` of the effects; NaN where no token shows the variant, because
        unknown letters are too near or the contig ends.

    Source: ``influence`` after GPN (Benegas et al. 2023).
    """
    names = [name for effect in effects for name in COLUMNS[effect]]
    found: dict[str, list[float]] = {name: [] for name in names}
    attentions = "attention" in effects
    with ready(model) as device, torch.inference_mode():
        for first in range(0, len(windows), batch_size):
            batch = windows[first : first + batch_size]
            ref, alt = (
                _run(model, tokenizer, [getattr(one, allele) for one in batch], device, attentions)
                for allele in ("ref", "alt")
            )
            for row, window in enumerate(batch):
                for name, value in _differences(model, tokenizer, ref, alt, row, window, effects).items():
                    found[name].append(value)
            advance(len(batch))
    return {name: np.array(values, np.float64) for name, values in found.items()}


class _Output(NamedTuple):
    """A forward pass: ids (rows, tokens), lengths (rows,), states, and attentions of the last layer or None."""

    ids: Tensor
    lengths: list[int]
    states: Tensor
    attentions: Tensor | None


def _run(
    model: PreTrainedModel, tokenizer: KmerTokenizer, letters: list[np.ndarray], device: Any, attentions: bool
) -> _Output:
    """Encode windows and run the encoder."""
    encoded, lengths = tokenizer.encode_batch(letters)
    ids = torch.from_numpy(encoded).to(device)
    mask = (torch.arange(ids.shape[1]) < torch.from_numpy(lengths)[:, None]).long().to(device)
    outputs = model.bert(ids, mask, output_attentions=attentions)
    weights = outputs.attentions[-1] if attentions else None
    return _Output(ids, lengths.tolist(), outputs.last_hidden_state, weights)


def _differences(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    ref: _Output,
    alt: _Output,
    row: int,
    window: Alleles,
    effects: Sequence[Effect],
) -> dict[str, float]:
    """Compute the effects of one row."""
    tokens = ref.lengths[row]
    same = tokens == alt.lengths[row]
    if same and torch.equal(ref.ids[row, :tokens], alt.ids[row, :tokens]):
        return {name: float("nan") for effect in effects for name in COLUMNS[effect]}
    found: dict[str, float] = {}
    if "embedding" in effects:
        one, other = (out.states[row, 1 : out.lengths[row] - 1].double().mean(0) for out in (ref, alt))
        found["emb_l2"] = float((one - other).norm())
        found["emb_cos"] = 1 - float(torch.nn.functional.cosine_similarity(one, other, dim=0))
    if "influence" in effects:
        usable = same and window.is_substitution
        found["influence"] = _influence(model, tokenizer, ref, alt, row, window) if usable else float("nan")
    if "attention" in effects:
        found["attention_change"] = float("nan")
        if same and ref.attentions is not None and alt.attentions is not None:
            change = (alt.attentions[row] - ref.attentions[row])[:, :tokens, :tokens].double()
            found["attention_change"] = float(change.flatten(1).norm(dim=1).mean())
    return found


def _influence(
    model: PreTrainedModel, tokenizer: KmerTokenizer, ref: _Output, alt: _Output, row: int, window: Alleles
) -> float:
    """Compute the mean absolute change of the log-probability of the tokens that do not show the variant."""
    ids = ref.ids[row, 1 : ref.lengths[row] - 1]
    first = torch.arange(len(ids), device=ids.device) * tokenizer.stride
    apart = (first + tokenizer.k <= window.start) | (first >= window.start + window.width)
    chosen = torch.nonzero(apart & (ids >= NUM_SPECIAL))[:, 0]
    if not len(chosen):
        return float("nan")
    logs = [
        model.cls.predictions(out.states[row, 1 + chosen]).double().log_softmax(-1).gather(1, ids[chosen, None])
        for out in (ref, alt)
    ]
    return float((logs[1] - logs[0]).abs().mean())


def class_logits(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    windows: Sequence[np.ndarray],
    *,
    batch_size: int = 16,
    advance: Callable[[int], object] = lambda windows: None,
) -> np.ndarray:
    """Compute the logits of a fine-tuned model for windows, float64 (windows, classes).

    Args:
        model: model with a head for sequences.
        tokenizer: its tokenizer.
        windows: uint8 letters of each window, no longer than the model reads at once.
        batch_size: number of windows that are encoded at once.
        advance: called with the number of windows after each batch.
    """
    collator = collator_for(model.config, tokenizer)
    rows = []
    with ready(model) as device, torch.inference_mode():
        for first in range(0, len(windows), batch_size):
            chosen = windows[first : first + batch_size]
            batch = collator([{"sequence": letters} for letters in chosen])
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
            check_output(model, logits)
            rows.append(logits.double().cpu().numpy())
            advance(len(chosen))
    return np.concatenate(rows) if rows else np.zeros((0, model.config.num_labels))
