"""Training steps on the CPU: what the attention backend and the memory allocator are worth, as ratios in one run.

    python benchmarks/train_step.py

Each setting runs in a process of its own, one thread, bf16 autocast, 3 layers x 128, 15 % of tokens masked; settings
take turns and the medians over the rounds are compared. ``default`` is sdpa with the allocator as it is.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

SETTINGS = {"default": ("sdpa", "0"), "eager attention": ("eager", "0"), "eager, freed memory kept": ("eager", "1")}
SHAPES = ((256, 27), (64, 166), (32, 417))


def step_rate(attention: str, keep_memory: bool, rows: int, tokens: int, steps: int) -> float:
    """Train for some steps and return tokens per second."""
    import torch

    from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
    from hf_genomics.training.running import keep_freed_memory

    torch.manual_seed(0)
    torch.set_num_threads(1)
    if keep_memory:
        keep_freed_memory()
    sizes = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
    config = KmerBertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = KmerBertForMaskedLM._from_config(config, attn_implementation=attention).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(5, config.vocab_size, (rows, tokens))
    labels = torch.where(torch.rand(rows, tokens) < 0.15, ids, -100)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(ids, torch.ones_like(ids), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(2):
        step()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * rows * tokens / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--one", nargs=4, metavar=("ATTENTION", "KEEP", "ROWS", "TOKENS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        attention, keep, rows, tokens = arguments.one
        print(step_rate(attention, keep == "1", int(rows), int(tokens), arguments.steps))
        return
    print("| rows x tokens | setting | tokens/s (median) | ratio to default |\n|---|---|---|---|")
    for rows, tokens in SHAPES:
        rates: dict[str, list[float]] = {name: [] for name in SETTINGS}
        for _ in range(arguments.rounds):
            for name, setting in SETTINGS.items():
                one = ["--one", *setting, str(rows), str(tokens)]
                command = [sys.executable, __file__, "--steps", str(arguments.steps), *one]
                rates[name].append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        for name, rate in medians.items():
            print(f"| {rows} x {tokens} | {name} | {rate:,.0f} | {rate / medians['default']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
