"""How well masked tokens and hidden nucleotides are predicted, batch by batch: a few sums per row, no logits are kept.

A nucleotide is scored if [MASK] is all that covers it: no visible k-mer shows it, and none misleads ([UNK] shows no
letters). What is predicted there is a base: each masked k-mer gives the four bases a probability at each of its places
(the sum over all k-mers with that letter there), and the k-mers over a nucleotide are averaged. So one number compares
k-mers of any size and stride: the perplexity per nucleotide, ``exp`` of the mean negative log-probability of the true
bases, 4 for a guess and 1 for knowing. It compares set-ups whose hidden stretches are alike in length; one nucleotide
between visible neighbours is easier than six in a row.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction

from ..sequence import SPECIAL_TOKENS
from ..tokenization_kmer import KmerTokenizer

_FIRST = len(SPECIAL_TOKENS)  # the id of the first k-mer
_AT_ONCE = 4096  # masked tokens whose probabilities are in memory

#: Scores of a validation, and whether more is better.
SCORES = {
    "loss": False,
    "masked_token_accuracy": True,
    "masked_nucleotide_accuracy": True,
    "nucleotide_perplexity": False,
}


class Covered(NamedTuple):
    """Where the tokens of rows lie: window beside window, each window's nucleotides apart from the next one's.

    Args:
        starts: (rows, tokens), the first nucleotide under each token.
        width: nucleotides of a row.
    """

    starts: Tensor
    width: int

    def by(self, tokens: Tensor, k: int) -> Tensor:
        """Tell which nucleotides the k-mers cover that are flagged, bool (rows, tokens); bool (rows, width)."""
        covered = torch.zeros(len(tokens), self.width + k, dtype=torch.bool, device=tokens.device)
        places = torch.where(tokens, self.starts, self.width)  # others cover what is cut off below
        for offset in range(k):
            covered.scatter_(1, places + offset, True)
        return covered[:, : self.width]

    def count_by(self, tokens: Tensor, k: int) -> Tensor:
        """Count the nucleotides that `by` would flag, () int64: each k-mer adds what the one before it leaves over."""
        latest = torch.where(tokens, self.starts, -k).cummax(1).values
        before = torch.nn.functional.pad(latest[:, :-1], (1, 0), value=-k)
        return torch.where(tokens, (self.starts - before).clamp(max=k), 0).sum()


def lay_out(ids: Tensor, tokenizer: KmerTokenizer, *, packed: bool = False) -> Covered:
    """Lay the tokens of rows, (rows, tokens), over nucleotides; packed rows hold several windows."""
    tokens = ids.shape[1]
    windows = tokens // 3 + 1 if packed else 1  # at most: [CLS], a token, [SEP]
    place = torch.arange(tokens, device=ids.device) * tokenizer.stride
    window = torch.cumsum(ids == tokenizer.cls_token_id, 1).clamp(max=windows) if packed else 0
    return Covered(
        (place + window * tokenizer.k).expand_as(ids), tokens * tokenizer.stride + (windows + 1) * tokenizer.k
    )


@torch.no_grad()
def count_batch(ids: Tensor, labels: Tensor, tokenizer: KmerTokenizer, *, packed: bool = False) -> Tensor:
    """Count what a batch holds, int64 (6,).

    Args:
        ids, labels: (rows, tokens), as the collator gives them.
        tokenizer: k, stride and special tokens.
        packed: rows hold several windows.

    Returns:
        places for tokens, padding among them; tokens; k-mers; masked k-mers; nucleotides under k-mers; nucleotides that
        none but masked k-mers cover, whatever these are shown as.
    """
    laid, masked = lay_out(ids, tokenizer, packed=packed), labels != -100
    visible = (ids >= _FIRST) & ~masked
    kmers = visible | masked
    held = [flags.sum() for flags in (ids != tokenizer.pad_token_id, kmers, masked)]
    nt = laid.count_by(kmers, tokenizer.k)
    hidden = nt - laid.count_by(visible, tokenizer.k)
    return torch.stack([torch.tensor(ids.numel(), device=ids.device), *held, nt, hidden])


@torch.no_grad()
def score_batch(
    ids: Tensor, labels: Tensor, logits: Tensor, tokenizer: KmerTokenizer, *, packed: bool = False
) -> Tensor:
    """Sum up what was predicted in each row, float32 (rows, 6).

    Args:
        ids, labels: (rows, tokens), as the collator gives them.
        logits: (masked tokens, vocabulary) in reading order, or (rows, tokens, vocabulary).
        tokenizer: k, stride and special tokens.
        packed: rows hold several windows.

    Returns:
        masked tokens; those predicted exactly; the sum of their negative log-probabilities in nats; hidden nucleotides;
        those whose base was predicted; the sum of their negative log-probabilities.
    """
    k, laid = tokenizer.k, lay_out(ids, tokenizer, packed=packed)
    row, column = torch.nonzero(labels != -100, as_tuple=True)
    logits, truth = logits[row, column] if logits.ndim == 3 else logits, labels[row, column]
    right = (logits.argmax(-1) == truth).float()
    losses = torch.zeros_like(right)
    sums = torch.zeros(len(ids) * laid.width, 4, device=ids.device)
    bases = torch.zeros(len(sums), dtype=torch.int64, device=ids.device)
    table = _letters(k).to(ids.device)
    places = (row * laid.width + laid.starts[row, column])[:, None] + torch.arange(k, device=ids.device)
    bases[places] = table[truth - _FIRST]
    is_mask = (ids[row, column] == tokenizer.mask_token_id).float()
    for part in torch.arange(len(row), device=ids.device).split(_AT_ONCE):
        losses[part] = torch.nn.functional.cross_entropy(logits[part].float(), truth[part], reduction="none")
        sums.index_add_(0, places[part].flatten(), _base_chances(logits[part], is_mask[part], k).flatten(0, 1))
    hidden = (sums.sum(-1) > 0.5) & ~laid.by(ids >= _FIRST, k).flatten()
    chances = sums[hidden] / sums[hidden].sum(-1, keepdim=True)
    letters, owner = bases[hidden], torch.nonzero(hidden)[:, 0] // laid.width
    surprise = -chances.gather(1, letters[:, None])[:, 0].clamp(min=1e-30).log()
    scores = torch.zeros(len(ids), 6, device=ids.device)
    scores[:, :3].index_add_(0, row, torch.stack([torch.ones_like(right), right, losses], 1))
    found = (chances.argmax(-1) == letters).float()
    scores[:, 3:].index_add_(0, owner, torch.stack([torch.ones_like(found), found, surprise], 1))
    return scores


def _base_chances(logits: Tensor, weight: Tensor, k: int) -> Tensor:
    """Give the chance of each base at each place of k-mers, times a weight of each k-mer, (k-mers, k, 4)."""
    chances = torch.softmax(logits[:, _FIRST : _FIRST + 4**k].float(), -1) * weight[:, None]
    is_base = torch.nn.functional.one_hot(_letters(k).to(logits.device), 4).float()  # (4^k, k, 4)
    return (chances @ is_base.flatten(1)).unflatten(1, (k, 4))


@functools.lru_cache(maxsize=2)
def _letters(k: int) -> Tensor:
    """Spell all k-mers in the order of their ids, int64 (4^k, k), 0..3 for A, T, C, G.

    >>> _letters(2)[[0, 1, 4, 15]].tolist()
    [[0, 0], [0, 1], [1, 0], [3, 3]]
    """
    codes = torch.arange(4**k)[:, None]
    return codes // 4 ** torch.arange(k - 1, -1, -1) % 4


def summarise(scores: np.ndarray) -> dict[str, float]:
    """Turn sums of `score_batch`, (rows, 6) of any rows, into scores; NaN where nothing was masked or hidden.

    Returns:
        loss, the mean over masked tokens however they are batched, 0 where there is none; masked_token_accuracy;
        masked_nucleotide_accuracy and nucleotide_perplexity, of hidden_nucleotides.
    """
    tokens, right, loss, nucleotides, found, surprise = np.asarray(scores, np.float64).sum(0).tolist()
    return {
        "loss": loss / max(tokens, 1),
        "masked_token_accuracy": right / tokens if tokens else float("nan"),
        "masked_nucleotide_accuracy": found / nucleotides if nucleotides else float("nan"),
        "nucleotide_perplexity": float(np.exp(surprise / nucleotides)) if nucleotides else float("nan"),
        "hidden_nucleotides": int(nucleotides),
    }


def masked_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Score a validation whose predictions are the rows of `score_batch`, as transformers' Trainer asks for it."""
    return summarise(prediction.predictions)
