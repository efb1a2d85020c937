"""Scores of masked tokens and hidden nucleotides, summed batch by batch, so that no logits are kept.

A nucleotide is *hidden*, and is scored, if a [MASK] covers it and every other k-mer over it is shown as [MASK], too (or
as [UNK], which shows no letters): then no visible k-mer gives the base away, and no random k-mer misleads. For example,
with k = 3 and stride 1, three masked tokens in a row hide one nucleotide::

    nucleotides   A   C   G   T   C   A   T
    tokens        ACG CGT GTC TCA CAT           each is written under its first nucleotide
    shown as      ACG [M] [M] [M] CAT
    given away    A   C   G   .   C   A   T     so the T in the middle is hidden

The base is predicted as follows. For each position of a masked k-mer, the model's probabilities of all k-mers with the
same base at that position are added up: the probability that the first nucleotide of a 3-mer is A is the sum over AAA,
AAT, ..., AGG. The probabilities from all masked k-mers that cover a nucleotide are averaged.

The perplexity per nucleotide, ``exp`` of the mean negative log-probability of the true bases, is 4 for a guess and 1
for a certain, correct prediction. Perplexities of models with any k and stride can be compared if the hidden stretches
have similar lengths: one nucleotide between visible neighbours is easier than six in a row.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction

from ..sequence import IGNORE_INDEX, NUM_SPECIAL, kmer_digits
from ..tokenization_kmer import KmerTokenizer

_AT_ONCE = 4096  # number of masked tokens whose probabilities over the vocabulary are in memory at the same time

#: Names of the scores of a validation, and whether a larger value is better.
SCORES = {
    "loss": False,
    "masked_token_accuracy": True,
    "masked_nucleotide_accuracy": True,
    "nucleotide_perplexity": False,
}


class TokenPlaces(NamedTuple):
    """Places of tokens on the nucleotides of their row; windows that share a row do not share nucleotides.

    Attributes:
        starts: index of the first nucleotide that each token covers, int64 (rows, tokens).
        width: number of nucleotides of a row.
    """

    starts: Tensor
    width: int

    def covered_by(self, tokens: Tensor, k: int) -> Tensor:
        """Return which nucleotides the selected k-mers cover.

        Args:
            tokens: the k-mers to consider, bool (rows, tokens).
            k: k-mer size in nt.

        Returns:
            bool (rows, width).
        """
        covered = torch.zeros(len(tokens), self.width + k, dtype=torch.bool, device=tokens.device)
        # Tokens that are not selected mark k spare columns after the last nucleotide, which are cut off at the end.
        places = torch.where(tokens, self.starts, self.width)
        for offset in range(k):
            covered.scatter_(1, places + offset, True)
        return covered[:, : self.width]

    def count_covered_by(self, tokens: Tensor, k: int) -> Tensor:
        """Count the nucleotides that the selected k-mers cover: the sum of `covered_by`, but with fewer operations.

        Args:
            tokens: the k-mers to consider, bool (rows, tokens).
            k: k-mer size in nt.

        Returns:
            int64 scalar.
        """
        # Each selected k-mer adds the nucleotides that the selected k-mer before it does not cover: the distance of the
        # two starts, but at most k.
        latest = torch.where(tokens, self.starts, -k).cummax(1).values
        before = torch.nn.functional.pad(latest[:, :-1], (1, 0), value=-k)
        return torch.where(tokens, (self.starts - before).clamp(max=k), 0).sum()


def place_tokens(ids: Tensor, tokenizer: KmerTokenizer, *, packed: bool = False) -> TokenPlaces:
    """Place the tokens of rows on nucleotides.

    Args:
        ids: token ids, (rows, tokens).
        tokenizer: tokenizer with k, stride and the ids of special tokens.
        packed: whether rows hold several windows.
    """
    tokens = ids.shape[1]
    # The most windows that fit in a row, and one to spare: the shortest window is [CLS], one k-mer and [SEP].
    windows = tokens // 3 + 1 if packed else 1
    place = torch.arange(tokens, device=ids.device) * tokenizer.stride
    # Every [CLS] shifts the tokens after it by k nt, so that no k-mer of one window reaches into the next window.
    window = torch.cumsum(ids == tokenizer.cls_token_id, 1).clamp(max=windows) if packed else 0
    width = tokens * tokenizer.stride + (windows + 1) * tokenizer.k
    return TokenPlaces((place + window * tokenizer.k).expand_as(ids), width)


@torch.no_grad()
def count_batch(ids: Tensor, labels: Tensor, tokenizer: KmerTokenizer, *, packed: bool = False) -> Tensor:
    """Count the tokens and nucleotides of a batch.

    Args:
        ids: token ids, (rows, tokens), from the collator.
        labels: true ids of masked tokens, -100 elsewhere, (rows, tokens).
        tokenizer: tokenizer with k, stride and the ids of special tokens.
        packed: whether rows hold several windows.

    Returns:
        int64 (6,), the numbers of (1) tokens with padding, (2) tokens without padding, (3) k-mers without [UNK],
        (4) masked k-mers, (5) nucleotides that k-mers cover, (6) nucleotides that only masked k-mers cover. The last is
        larger than the number of hidden nucleotides if masked k-mers are shown as a random k-mer or unchanged.
    """
    places, masked = place_tokens(ids, tokenizer, packed=packed), labels != IGNORE_INDEX
    visible = (ids >= NUM_SPECIAL) & ~masked
    kmers = visible | masked
    tokens = [flags.sum() for flags in (ids != tokenizer.pad_token_id, kmers, masked)]
    nt = places.count_covered_by(kmers, tokenizer.k)
    only_masked = nt - places.count_covered_by(visible, tokenizer.k)
    return torch.stack([torch.tensor(ids.numel(), device=ids.device), *tokens, nt, only_masked])


@torch.no_grad()
def score_batch(
    ids: Tensor, labels: Tensor, logits: Tensor, tokenizer: KmerTokenizer, *, packed: bool = False
) -> Tensor:
    """Sum the scores of the masked tokens and hidden nucleotides of each row.

    Args:
        ids: token ids, (rows, tokens), from the collator.
        labels: true ids of masked tokens, -100 elsewhere, (rows, tokens).
        logits: (masked tokens, vocabulary), row by row from left to right, or (rows, tokens, vocabulary).
        tokenizer: tokenizer with k, stride and the ids of special tokens.
        packed: whether rows hold several windows.

    Returns:
        float32 (rows, 6): masked tokens; masked tokens predicted exactly; the sum of the negative log-probabilities of
        masked tokens in nats; hidden nucleotides; hidden nucleotides whose base was predicted; the sum of the negative
        log-probabilities of their bases in nats.
    """
    k, places = tokenizer.k, place_tokens(ids, tokenizer, packed=packed)
    row, column = torch.nonzero(labels != IGNORE_INDEX, as_tuple=True)
    logits, truth = logits[row, column] if logits.ndim == 3 else logits, labels[row, column]
    # The k nucleotides that each masked token covers, (masked tokens, k). From here on, the nucleotides of all rows lie
    # on one axis, so that one index identifies row and nucleotide.
    under = (row * places.width + places.starts[row, column])[:, None] + torch.arange(k, device=ids.device)
    shown_as_mask = ids[row, column] == tokenizer.mask_token_id
    sums = _sum_base_probabilities(logits, shown_as_mask, under, len(ids) * places.width)
    bases = torch.zeros(len(sums), dtype=torch.int64, device=ids.device)
    bases[under] = _kmer_bases(k).to(ids.device)[truth - NUM_SPECIAL]
    # A [MASK] adds a total probability of 1 to each of its nucleotides; 0.5 allows for rounding. NaN is not above 0.5,
    # so the nucleotides for which a model returns NaN have no score.
    hidden = (sums.sum(-1) > 0.5) & ~places.covered_by(ids >= NUM_SPECIAL, k).flatten()
    owner = torch.nonzero(hidden)[:, 0] // places.width
    scores = torch.zeros(len(ids), 6, device=ids.device)
    scores[:, :3].index_add_(0, row, _score_tokens(logits, truth))
    scores[:, 3:].index_add_(0, owner, _score_bases(sums[hidden], bases[hidden]))
    return scores


def _score_tokens(logits: Tensor, truth: Tensor) -> Tensor:
    """Score masked tokens, float32 (tokens, 3): 1, whether predicted exactly (0 or 1), negative log-probability."""
    losses = torch.zeros(len(truth), device=logits.device)
    for part in torch.arange(len(truth), device=logits.device).split(_AT_ONCE):
        losses[part] = torch.nn.functional.cross_entropy(logits[part].float(), truth[part], reduction="none")
    return torch.stack([torch.ones_like(losses), (logits.argmax(-1) == truth).float(), losses], 1)


def _score_bases(sums: Tensor, bases: Tensor) -> Tensor:
    """Score hidden nucleotides, float32 (nucleotides, 3): 1, whether predicted (0 or 1), negative log-probability.

    Args:
        sums: sums of the probabilities of A, T, C, G over k-mers, (nucleotides, 4).
        bases: true bases, int64 (nucleotides,).
    """
    probabilities = sums / sums.sum(-1, keepdim=True)
    surprise = -probabilities.gather(1, bases[:, None])[:, 0].clamp(min=1e-30).log()
    return torch.stack([torch.ones_like(surprise), (probabilities.argmax(-1) == bases).float(), surprise], 1)


def _sum_base_probabilities(logits: Tensor, shown_as_mask: Tensor, under: Tensor, nucleotides: int) -> Tensor:
    """Sum, for each nucleotide, the probabilities of the four bases over the [MASK] tokens that cover it.

    Args:
        logits: logits of the masked tokens, (tokens, vocabulary).
        shown_as_mask: whether each masked token is shown as [MASK], bool (tokens,); tokens that are shown as a k-mer
            add nothing.
        under: indices of the nucleotides that each masked token covers, int64 (tokens, k).
        nucleotides: number of nucleotides in all rows.

    Returns:
        float32 (nucleotides, 4).
    """
    k = under.shape[1]
    sums = torch.zeros(nucleotides, 4, device=logits.device)
    # Column 4 i + b is 1 for the k-mers with base b at position i: a product with it adds up their probabilities.
    is_base = torch.nn.functional.one_hot(_kmer_bases(k).to(logits.device), 4).float().flatten(1)  # (4^k, 4 k)
    for part in torch.arange(len(under), device=logits.device).split(_AT_ONCE):
        kmers = torch.softmax(logits[part, NUM_SPECIAL : NUM_SPECIAL + 4**k].float(), -1)
        kmers = kmers * shown_as_mask[part, None].float()
        sums.index_add_(0, under[part].flatten(), (kmers @ is_base).reshape(-1, 4))
    return sums


@functools.lru_cache(maxsize=2)
def _kmer_bases(k: int) -> Tensor:
    """Return the bases of all k-mers in the order of their ids, int64 (4^k, k), 0..3 for A, T, C, G."""
    return torch.from_numpy(kmer_digits(k)).long()


def summarise(scores: np.ndarray) -> dict[str, float]:
    """Compute the scores of a validation from the sums of `score_batch`.

    Args:
        scores: sums of each row, (rows, 6).

    Returns:
        loss: mean over all masked tokens (so it does not depend on the batch size), 0 if no token is masked;
        masked_token_accuracy: NaN if no token is masked; masked_nucleotide_accuracy and nucleotide_perplexity: NaN if
        no nucleotide is hidden; hidden_nucleotides: the number of hidden nucleotides.
    """
    tokens, right_tokens, loss, hidden, right_bases, surprise = np.asarray(scores, np.float64).sum(0).tolist()
    return {
        "loss": loss / max(tokens, 1),
        "masked_token_accuracy": right_tokens / tokens if tokens else float("nan"),
        "masked_nucleotide_accuracy": right_bases / hidden if hidden else float("nan"),
        "nucleotide_perplexity": float(np.exp(surprise / hidden)) if hidden else float("nan"),
        "hidden_nucleotides": int(hidden),
    }


def undefined_scores(scores: Mapping[str, float | None]) -> dict[str, dict[str, str]]:
    """Return {"undefined": the reason for each score that is NaN or None}; nothing if all scores have a value.

    Args:
        scores: scores of a validation.

    >>> undefined_scores({"eval_loss": 0.0, "eval_masked_token_accuracy": None})
    {'undefined': {'eval_masked_token_accuracy': 'no token of the validation windows is masked'}}
    """
    missing = [name for name, value in scores.items() if value is None or value != value]
    if any(name.endswith("loss") for name in missing):  # the loss is 0, not NaN, where nothing is masked
        why = dict.fromkeys(missing, "the model returns NaN or infinity for the validation windows")
    else:
        why = {
            name: f"no {'token' if 'token' in name else 'nucleotide'} of the validation windows is "
            f"{'masked' if 'token' in name else 'hidden'}"
            for name in missing
        }
    return {"undefined": why} if why else {}


def masked_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Compute the scores of a validation, as the ``compute_metrics`` of transformers' Trainer.

    Args:
        prediction: prediction of the Trainer; its ``predictions`` are the rows that `score_batch` returns.
    """
    return summarise(prediction.predictions)
