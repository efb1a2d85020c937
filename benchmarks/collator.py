"""Masking a batch: DataCollatorForSpanMasking against DNABERT's way and transformers' own collator, ratios in one run.

    python benchmarks/collator.py

256 rows of 512 tokens, ids in, masked "pt" batch out, one thread. "row by row" masks as DNABERT does, with a Python
list of centres for each row; "DataCollatorForLanguageModeling" masks single tokens and is given a special_tokens_mask
column, which is the faster way to use it. They take turns; medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import DataCollatorForLanguageModeling

from hf_genomics import DataCollatorForSpanMasking, KmerTokenizer

ROWS, TOKENS = 256, 512
OFFSETS = (-2, -1, 0, 1, 2, 3)  # DNABERT's neighbours of a masked 6-mer


def mask_row_by_row(rows: list[list[int]], tokenizer: KmerTokenizer, rate: float = 0.025) -> dict[str, torch.Tensor]:
    """Mask as DNABERT does: draw centres, spread each over its neighbours in a loop, replace 80/10/10 per token."""
    ids = torch.tensor(rows)
    labels = ids.clone()
    chance = torch.full(labels.shape, rate)
    special = [tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True) for row in rows]
    chance.masked_fill_(torch.tensor(special, dtype=torch.bool), 0.0)
    masked = torch.bernoulli(chance).bool()
    for number in range(len(masked)):
        centres = set(torch.nonzero(masked[number])[:, 0].tolist())
        last = int(torch.nonzero(chance[number])[-1])
        for centre in sorted(centres):
            for offset in OFFSETS:
                if 1 <= centre + offset <= last:
                    masked[number, centre + offset] = True
    labels[~masked] = -100
    replaced = torch.bernoulli(torch.full(labels.shape, 0.8)).bool() & masked
    ids[replaced] = tokenizer.mask_token_id
    randomised = torch.bernoulli(torch.full(labels.shape, 0.5)).bool() & masked & ~replaced
    ids[randomised] = torch.randint(len(tokenizer), labels.shape)[randomised]
    return {"input_ids": ids, "labels": labels}


def seconds(call: Callable[[], object], least: float = 0.3) -> float:
    """Time a call, repeated for about ``least`` seconds; returns seconds per call."""
    calls, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < least or calls == 0:
        call()
        calls += 1
    return (time.perf_counter() - begin) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    tokenizer = KmerTokenizer()
    ids = np.random.default_rng(0).integers(5, len(tokenizer), (ROWS, TOKENS))
    ids[:, 0], ids[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
    rows, special = ids.tolist(), (ids < 5).astype(int).tolist()
    arrays = [{"input_ids": row, "window_index": number} for number, row in enumerate(ids)]
    columns = [{"input_ids": row, "special_tokens_mask": flags} for row, flags in zip(rows, special, strict=True)]
    ours, theirs = DataCollatorForSpanMasking(tokenizer), DataCollatorForLanguageModeling(tokenizer)
    calls = {
        "DataCollatorForSpanMasking": lambda: ours(arrays),
        "row by row (DNABERT's way)": lambda: mask_row_by_row(rows, tokenizer),
        "DataCollatorForLanguageModeling": lambda: theirs(columns),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = medians["DataCollatorForSpanMasking"]
    print("| collator | Mtok/s | time / ours |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {ROWS * TOKENS / median / 1e6:.2f} | {median / best:.0f} |")


if __name__ == "__main__":
    main()
