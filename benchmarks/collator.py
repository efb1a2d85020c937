"""Compare the masking of a batch: DataCollatorForSpanMasking, DNABERT's function, and transformers' own collator.

    python benchmarks/collator.py

All mask 256 rows of 512 tokens, in turn, on one thread. Numbers are medians over the rounds of CPU time, which other
work on the machine disturbs least. The first table times the masking alone (token ids in; masked ids and labels out),
the second whole collators (rows in; a batch of tensors out).

"DNABERT" is a rewriting of the function ``mask_tokens`` of DNABERT's pretraining script, and of the methods of its
tokenizer that this function calls (jerryji1993/DNABERT, examples/run_pretrain.py, and its fork of transformers 2.5). It
does the same work in the same data structures:

- Each row becomes a Python list. Every id in it is compared with the ids of [SEP] and [CLS], which are looked up in the
  vocabulary again for every token.
- The flags of masked tokens are copied. In each row, the centres of spans become a set, which is copied, filled by a
  loop over centres and their neighbours, and turned into a list, which serves as an index.
- Random numbers are drawn for every token, masked or not; if it is masked, they decide whether it becomes [MASK]
  (80 %), becomes a random token (10 %) or stays (10 %).

The shares of tokens that it masks are checked first: 14.09 % inside a row, as many as independent centres give, and
half of that for the first token, since spans are cut at the ends. "DataCollatorForLanguageModeling" masks single
tokens; it gets a column special_tokens_mask, which makes it faster.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorForLanguageModeling

from hf_genomics import DataCollatorForSpanMasking, KmerTokenizer
from hf_genomics.batches.dose import masking_fractions

ROWS, TOKENS = 256, 512
RATE = 0.025
NEIGHBOURS = (-2, -1, 1, 2, 3)  # of a centre, for 6-mers


class TokensOf2020:
    """Special tokens of a tokenizer as transformers 2.5 keeps them: by name; ids are looked up at every access."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        self.vocabulary, self.added = OrderedDict(vocabulary), {}
        self.names = {role: f"[{role.upper()}]" for role in ("cls", "sep", "unk", "mask", "pad")}

    @property
    def cls_token_id(self) -> int:
        """The id of [CLS]."""
        return self.to_id(self._name("cls"))

    @property
    def sep_token_id(self) -> int:
        """The id of [SEP]."""
        return self.to_id(self._name("sep"))

    def to_id(self, token: str | None) -> int | None:
        """Look up one token."""
        if token is None:
            return None
        return self._with_added(token) if isinstance(token, str) else [self._with_added(each) for each in token]

    def special_tokens_mask(self, ids: list[int]) -> list[int]:
        """Mark [CLS] and [SEP] with 1."""
        return list(map(lambda each: 1 if each in [self.sep_token_id, self.cls_token_id] else 0, ids))

    def _name(self, role: str) -> str | None:
        return self.names[role] if self.names[role] is not None else None

    def _with_added(self, token: str | None) -> int | None:
        if token is None:
            return None
        return self.added[token] if token in self.added else self._known(token)

    def _known(self, token: str) -> int:
        return self.vocabulary.get(token, self.vocabulary.get(self._name("unk")))


def mask_as_dnabert(ids: torch.Tensor, tokens: TokensOf2020) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask a padded batch as DNABERT does, in place; return the batch and its labels."""
    labels = ids.clone()
    probability = torch.full(labels.shape, RATE)
    special = [tokens.special_tokens_mask(row) for row in labels.tolist()]
    probability.masked_fill_(torch.tensor(special, dtype=torch.bool), value=0.0)
    probability.masked_fill_(labels.eq(tokens.to_id("[PAD]")), value=0.0)
    masked = torch.bernoulli(probability).bool()
    for number, flags in enumerate(copy.deepcopy(masked)):
        last = torch.where(probability[number] != 0)[0].tolist()[-1]
        centres = set(torch.where(flags == 1)[0].tolist())
        reached = copy.deepcopy(centres)
        for centre in centres:
            for offset in NEIGHBOURS:
                if 1 <= centre + offset <= last:
                    reached.add(centre + offset)
        masked[number][list(reached)] = True
    labels[~masked] = -100
    replaced = torch.bernoulli(torch.full(labels.shape, 0.8)).bool() & masked
    ids[replaced] = tokens.to_id("[MASK]")
    randomised = torch.bernoulli(torch.full(labels.shape, 0.5)).bool() & masked & ~replaced
    ids[randomised] = torch.randint(len(tokens.vocabulary), labels.shape, dtype=torch.long)[randomised]
    return ids, labels


def masked_shares(ids: torch.Tensor, tokens: TokensOf2020, batches: int = 8) -> tuple[float, float]:
    """Measure two shares of tokens that DNABERT's function masks: far from the ends of rows, and at their beginning."""
    labels = torch.cat([mask_as_dnabert(ids.clone(), tokens)[1] for _ in range(batches)])
    masked = (labels != -100).float().mean(0)
    return masked[10:-10].mean().item(), masked[1].item()


def check(inside: float, first: float) -> None:
    """Check that the shares are those of independent centres whose spans are cut at the ends; exit if they are not."""
    expected = masking_fractions(6, RATE, k=6)[0], 1 - (1 - RATE) ** 3
    print(f"DNABERT masks {inside:.2%} ({expected[0]:.2%}) of the tokens, {first:.1%} ({expected[1]:.1%}) of the first")
    if abs(inside - expected[0]) > 0.004 or abs(first - expected[1]) > 0.03:
        raise SystemExit("these are not the shares of DNABERT (in brackets)")


def seconds(call: Callable[[Any], object], given: Callable[[], object], least: float = 0.3) -> float:
    """Return the CPU seconds of a call, repeated for about ``least`` seconds; making its argument is not counted."""
    calls, spent = 0, 0.0
    while spent < least or not calls:
        value = given()
        begin = time.process_time()
        call(value)
        spent, calls = spent + time.process_time() - begin, calls + 1
    return spent / calls


def compare(title: str, calls: dict[str, tuple[Callable[[Any], object], Callable[[], object]]], rounds: int) -> None:
    """Print a table of calls and their times, compared with the first call, which is ours."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (call, given) in calls.items():
            times[name].append(seconds(call, given))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"\n| {title} | Mtok/s | time / ours |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {ROWS * TOKENS / median / 1e6:.2f} | {median / next(iter(medians.values())):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    tokenizer = KmerTokenizer()
    tokens = TokensOf2020(tokenizer.get_vocab())
    ids = np.random.default_rng(0).integers(5, len(tokenizer), (ROWS, TOKENS))
    ids[:, 0], ids[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
    ours, theirs = DataCollatorForSpanMasking(tokenizer), DataCollatorForLanguageModeling(tokenizer)
    check(*masked_shares(torch.from_numpy(ids), tokens))

    index, epoch = np.arange(ROWS), np.zeros(1, int)
    compare(
        "masking alone",
        {
            "DataCollatorForSpanMasking.mask": (lambda batch: ours.mask(batch, index, epoch), ids.copy),
            "DNABERT's mask_tokens": (lambda batch: mask_as_dnabert(batch, tokens), torch.from_numpy(ids).clone),
        },
        rounds,
    )
    arrays = [{"input_ids": row, "window_index": number} for number, row in enumerate(ids)]
    tensors = [torch.tensor(row) for row in ids]
    special = (ids < 5).astype(int).tolist()
    columns = [
        {"input_ids": row, "special_tokens_mask": flags} for row, flags in zip(ids.tolist(), special, strict=True)
    ]
    compare(
        "whole collator",
        {
            "DataCollatorForSpanMasking, rows of arrays": (ours, lambda: arrays),
            "DNABERT": (lambda rows: mask_as_dnabert(pad_sequence(rows, batch_first=True), tokens), lambda: tensors),
            "DataCollatorForLanguageModeling, rows of lists": (theirs, lambda: columns),
        },
        rounds,
    )


if __name__ == "__main__":
    main()
