"""Measure how much faster variants are scored than by a naive loop, at the same numbers.

    OMP_NUM_THREADS=1 python benchmarks/variants.py --genome ecoli.fna.gz --wide WIDE --dense DENSE

WIDE is a masked-token model of 6-mers at stride 6 (benchmarks/variant_effects.py pretrains one), DENSE one at stride 1
(the same recipe with --tokenizer.stride 1 --masking.span 6 --windows.length 300 --model.max_position_embeddings 302
--model.position_embedding_type rotary --trainer.max_steps 220). Without them, models of the same sizes with random
weights are measured, whose scores with several sites per forward pass mean nothing.
The naive loop scores one substitution at a time: for each strand and frame one forward pass per allele, a batch of one,
and logits of all tokens. Times are processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.sequence import MASK_ID, as_letters
from hf_genomics.sequence_files.reference import strands_in_memory
from hf_genomics.variants.likelihood import Plan, mean, on_strand, run_plan, score_events, share_forwards
from hf_genomics.variants.score_variants import load_scorer, window_rule
from hf_genomics.variants.sites import Event, id_shift, place_frames

NAIVE = 30  # substitutions of the naive loop
RUNS = 3  # of either loop, one after the other
SITES = {"scattered": 200, "region": 400}


def naive(model: Any, tokenizer: Any, events: list[Any], rule: Any) -> np.ndarray:
    """Score substitutions one by one, (events, strands)."""
    rows = []
    for event, both in events:
        strands = []
        for strand in both:
            seen = on_strand(event, strand)
            frames = []
            for place in place_frames(seen.start, 1, strand.length, rule):
                ids = torch.from_numpy(tokenizer.encode_batch([strand.read(place.start, place.end)])[0])
                columns = np.array(place.covering) + 1
                truth = ids[0, columns].clone()
                ids[0, columns] = MASK_ID
                firsts = [place.start + token * rule.stride for token in place.covering]
                shifts = torch.tensor([id_shift(seen, first, rule.k) for first in firsts])
                sums = []
                for wanted in (truth, truth + shifts):  # a forward pass for each allele
                    with torch.inference_mode():
                        logs = model(ids).logits[0, columns].log_softmax(-1)
                    sums.append(logs[torch.arange(len(columns)), wanted].mean())
                frames.append(float(sums[1] - sums[0]))
            strands.append(mean(np.array(frames)))
        rows.append(strands)
    return np.array(rows)


def timed(*functions: Callable[[], np.ndarray]) -> list[tuple[float, np.ndarray]]:
    """Return processor seconds and the result of each function; the fastest of several runs, taken in turn."""
    results = [function() for function in functions]
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(RUNS):
        for index, function in enumerate(functions):
            begin = time.process_time()
            function()
            seconds[index].append(time.process_time() - begin)
    return [(min(taken), result) for taken, result in zip(seconds, results, strict=True)]


def several_sites(model: Any, tokenizer: Any, events: list[Any], rule: Any) -> np.ndarray:
    """Score substitutions with several sites per forward pass, (events, strands)."""
    plan = Plan(rule)
    slots = [[plan.add_substitution(on_strand(event, strand), strand) for strand in both] for event, both in events]
    found = run_plan(model, tokenizer, share_forwards(plan, "auto"))
    return np.array([[mean(found[places]) for places in row] for row in slots])


def random_model(stride: int, tokens: int) -> tuple[Any, Any]:
    """Build a model of the recipe's size with random weights."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
    config = KmerBertConfig(k=6, stride=stride, max_position_embeddings=tokens, initializer_range=0.1, **sizes)
    return KmerBertForMaskedLM(config).eval(), KmerTokenizer(k=6, stride=stride)


def measure(title: str, model: Any, tokenizer: Any, letters: str, kind: str) -> None:
    """Print a row for scattered substitutions, or two for a region.

    In a region all frames cost as much as three of them: the same tokens are masked.
    """
    rule = window_rule(model, tokenizer, None, frames=3 if kind == "scattered" else 6)
    title = f"{title}, {len(rule.frames)} frame{'s' * (len(rule.frames) > 1)}"
    both = strands_in_memory(0, as_letters(letters))
    rng = np.random.default_rng(0)
    sites = range(5000, 5000 + SITES[kind])
    if kind == "scattered":
        sites = np.sort(rng.choice(len(letters) - 4000, SITES[kind], replace=False) + 2000)
    events = [(Event(int(p), letters[p], alt), both) for p in sites for alt in "ACGT" if alt != letters[p]]
    (slow, expected), (quick, found), *rest = timed(
        lambda: naive(model, tokenizer, events[:NAIVE], rule),
        lambda: score_events(model, tokenizer, events, rule),
        *([lambda: several_sites(model, tokenizer, events, rule)] if kind == "region" else []),
    )
    slow, quick = slow / NAIVE * 1000, quick / len(events) * 1000
    difference = np.abs(found[:NAIVE] - expected).max()
    print(
        f"| {title}, {kind}, exact | {slow:.1f} | {quick:.3f} | {slow / quick:.0f} | {difference:.0e} | 1 |", flush=True
    )
    for fast, close in rest:
        fast = fast / len(events) * 1000
        rank = spearmanr(found.mean(1), close.mean(1)).statistic
        difference = np.abs(found - close).max()
        print(
            f"| {title}, region, auto | {slow:.1f} | {fast:.3f} | {slow / fast:.0f} | {difference:.0e} | {rank:.4f} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genome", help="FASTA file; by default random letters")
    parser.add_argument("--wide")
    parser.add_argument("--dense")
    args = parser.parse_args()
    letters = np.random.default_rng(1).choice(np.frombuffer(b"ACGT", np.uint8), 50_000).tobytes().decode()
    if args.genome:
        with (gzip.open if args.genome.endswith(".gz") else open)(args.genome, "rt") as file:
            letters = file.read().partition("\n")[2].replace("\n", "").upper()[4_000_000:4_200_000]
    print("| what | naive, ms per substitution | ours, ms | ratio | largest difference | Spearman |")
    print("|---|---|---|---|---|---|")
    for title, folder, stride, tokens in (("stride 6", args.wide, 6, 172), ("stride 1", args.dense, 1, 302)):
        model, tokenizer = load_scorer(folder) if folder else random_model(stride, tokens)
        for kind in SITES:
            measure(title, model, tokenizer, letters, kind)


if __name__ == "__main__":
    main()
