"""Measure training with two threads on busy cores, by how long a thread spins while it waits for the other one.

    python benchmarks/contention.py
    python benchmarks/contention.py --busy 0 3 --rounds 5 --seconds 20

The threads of a matrix product wait for each other after each product, and by default a waiting thread spins. On a core
that another program needs too, it then spins while the thread that everybody waits for cannot run. A thread that never
spins (OMP_WAIT_POLICY=PASSIVE) loses time on a quiet machine instead. The command line of hf_genomics sets
GOMP_SPINCOUNT=1000 before torch is loaded, unless you set one of these variables.

Each measurement trains a small KmerBert (3 layers x 128) in a process of its own for some seconds, beside processes
that run an endless loop. The ways take turns; the table gives medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

WAYS = {"default": {}, "short": {"GOMP_SPINCOUNT": "1000"}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}


def train(seconds: float, threads: int) -> float:
    """Train for some seconds in this process; return tokens per second, without the first step."""
    import torch

    from hf_genomics import KmerBertConfig, KmerBertForMaskedLM

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
    model = KmerBertForMaskedLM(KmerBertConfig(k=6, stride=6, max_position_embeddings=172, **sizes)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.randint(5, 4101, (32, 166))
    labels = torch.where(torch.rand(ids.shape) < 0.15, ids, -100)
    begin, tokens = time.perf_counter(), -ids.numel()
    while time.perf_counter() - begin < seconds or tokens <= 0:
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if tokens < 0:  # the first step is not counted
            begin = time.perf_counter()
        tokens += ids.numel()
    return tokens / (time.perf_counter() - begin)


def measure(way: str, seconds: float, threads: int) -> float:
    """Train in a new process; return tokens per second."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, __file__, "--train", "--seconds", str(seconds), "--threads", str(threads)]
    run = subprocess.run(command, env=environment | WAYS[way], capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def compare(busy: int, rounds: int, seconds: float, threads: int) -> dict[str, float]:
    """Measure all ways in turns, beside ``busy`` processes that never wait; return medians of tokens per second."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        found = [{way: measure(way, seconds, threads) for way in WAYS} for _ in range(rounds)]
    finally:
        for other in others:
            other.kill()
            other.wait()
    return {way: statistics.median(each[way] for each in found) for way in WAYS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 3], help="numbers of busy processes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(train(options.seconds, options.threads))
        return
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, {options.threads} threads, load before: {load:.1f}\n")
    print(
        "| busy processes | default, tokens/s | GOMP_SPINCOUNT=1000 / default | PASSIVE / default |\n|---|---|---|---|"
    )
    for busy in options.busy:
        found = compare(busy, options.rounds, options.seconds, options.threads)
        short, passive = (found[way] / found["default"] for way in ("short", "passive"))
        print(f"| {busy} | {found['default']:,.0f} | {short:.2f} | {passive:.2f} |", flush=True)


if __name__ == "__main__":
    main()
