"""Measure training with two threads on busy cores, by how long a thread spins while it waits for the other one.

    python benchmarks/contention.py
    python benchmarks/contention.py --busy 0 --rounds 40      # the loss on a quiet machine
    python benchmarks/contention.py --spins 1000 30000 100000

The threads of a matrix product wait for each other after each product, and by default (GOMP_SPINCOUNT=300000) a waiting
thread spins for some milliseconds. On a core that another program needs too, it then spins while the thread that
everybody waits for cannot run. A thread that never spins (OMP_WAIT_POLICY=PASSIVE) loses time on a quiet machine
instead. The command line of hf_genomics sets GOMP_SPINCOUNT before torch is loaded, unless you set one of these
variables.

For each way of waiting, a process trains a small KmerBert (3 layers x 128). The processes take turns of a second or
two, in another order each round, beside processes that run an endless loop. The table gives medians over the rounds of
the ratio to the default in the same round. Without busy processes, a round counts only if all other programs together
took less than a tenth of a core (--quiet) during each turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

from hf_genomics.cli import SPIN_COUNT

DEFAULT, PASSIVE = "default", "PASSIVE"


def train(threads: int) -> None:
    """For every line of standard input, train for that many seconds; print tokens per second."""
    import torch

    from hf_genomics import KmerBertConfig, KmerBertForMaskedLM

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
    model = KmerBertForMaskedLM(KmerBertConfig(k=6, stride=6, max_position_embeddings=172, **sizes)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.randint(5, 4101, (32, 166))
    labels = torch.where(torch.rand(ids.shape) < 0.15, ids, -100)
    for line in sys.stdin:
        begin, tokens = time.perf_counter(), 0
        while time.perf_counter() - begin < float(line):
            model(input_ids=ids, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            tokens += ids.numel()
        print(tokens / (time.perf_counter() - begin), flush=True)


def start(way: str, threads: int) -> subprocess.Popen:
    """Start a process that trains when it is told to."""
    settings = {PASSIVE: {"OMP_WAIT_POLICY": PASSIVE}, DEFAULT: {}}.get(way, {"GOMP_SPINCOUNT": way})
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, __file__, "--train", "--threads", str(threads)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    return subprocess.Popen(command, env=environment | settings, **pipes)


def take_turn(worker: subprocess.Popen, seconds: float) -> tuple[float, float]:
    """Let a process train; return its tokens per second and the number of cores that other programs took."""
    process = psutil.Process(worker.pid)
    before, begin = (busy_seconds(psutil.cpu_times()), busy_seconds(process.cpu_times())), time.perf_counter()
    worker.stdin.write(f"{seconds}\n")
    speed = float(worker.stdout.readline())
    after, wall = (busy_seconds(psutil.cpu_times()), busy_seconds(process.cpu_times())), time.perf_counter() - begin
    return speed, (after[0] - before[0] - after[1] + before[1]) / wall


def busy_seconds(times: tuple) -> float:
    """Return the CPU time in a record of psutil, without what it counts as idle."""
    return sum(getattr(times, name, 0.0) for name in ("user", "system", "nice", "irq", "softirq", "steal"))


def rounds(workers: dict[str, subprocess.Popen], seconds: float) -> Iterator[tuple[dict[str, float], float]]:
    """Let all processes take turns without end; yield each round's speeds and the most cores that others took."""
    names = list(workers)
    while True:
        turns = {name: take_turn(workers[name], seconds) for name in names}
        yield {name: turns[name][0] for name in workers}, max(other for _, other in turns.values())
        names.append(names.pop(0))


def compare(workers: dict[str, subprocess.Popen], busy: int, options: argparse.Namespace) -> list[dict[str, float]]:
    """Return the speeds of some rounds beside ``busy`` processes that never wait, quiet rounds if there are none."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    found: list[dict[str, float]] = []
    try:
        for tried, (speeds, taken) in enumerate(rounds(workers, options.seconds)):
            if tried and (busy or taken < options.quiet):  # the first round warms up
                found.append(speeds)
            if len(found) == options.rounds or tried > 4 * options.rounds:
                return found
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 3], help="numbers of busy processes")
    parser.add_argument("--spins", nargs="+", default=[SPIN_COUNT], help="values of GOMP_SPINCOUNT")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn")
    parser.add_argument("--quiet", type=float, default=0.1, help="cores that others may take in a quiet round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.threads)
        return
    ways = [*options.spins, PASSIVE]
    print(f"{os.cpu_count()} cores, {options.threads} threads, load before: {os.getloadavg()[0]:.1f}\n")
    print("| busy processes | rounds | default, tokens/s | " + " | ".join(f"{way} / default" for way in ways) + " |")
    print("|---" * (3 + len(ways)) + "|")
    workers = {way: start(way, options.threads) for way in [DEFAULT, *ways]}
    try:
        for busy in options.busy:
            found = compare(workers, busy, options)
            if not found:
                print(f"| {busy} | 0: other programs never let the machine be quiet | |", flush=True)
                continue
            ratios = [f"{statistics.median(each[way] / each[DEFAULT] for each in found):.3f}" for way in ways]
            speed = statistics.median(each[DEFAULT] for each in found)
            print(f"| {busy} | {len(found)} | {speed:,.0f} | " + " | ".join(ratios) + " |", flush=True)
    finally:
        for worker in workers.values():
            worker.kill()


if __name__ == "__main__":
    main()
