"""Measure pretraining with one process and with two (gloo): tokens per second of CPU time and of wall-clock time.

    python benchmarks/processes.py
    python benchmarks/processes.py --processes 1 --rounds 5

Runs `pretrain` on windows of the paper's lengths with models of three sizes, one thread per process. Two processes
share the windows of a step, so that runs with one and with two processes do the same work. They take turns; the table
gives medians over the rounds. CPU seconds are summed over processes. So tokens per CPU second show how much work is
added by sharing; tokens per second of wall-clock time also show the time lost in waiting, provided that nothing else
runs (the load of the machine is printed). The first step of each run is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from hf_genomics import DataCollatorForSpanMasking, KmerBertConfig, KmerTokenizer, WindowSampling, prepare

BERT_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
SIZES: dict[str, tuple[dict[str, Any], int]] = {  # sizes of the model, windows in a step
    "CPU recipe, 3 layers x 128": (
        {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512},
        64,
    ),
    "4 layers x 256": (
        {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
        32,
    ),
    "BERT-base, 12 layers x 768": (BERT_BASE, 4),
}


def train(size: str, steps: int, store: str, batch: int) -> dict[str, float]:
    """Pretrain for some steps; return the tokens of all processes, and this process's CPU and wall-clock seconds.

    The first step is not counted. Dropout is off, as in the recipes for CPUs; windows have the paper's lengths.
    """
    from transformers import TrainerCallback

    from hf_genomics.training import pretrain as verb

    ends: list[tuple[float, float, float]] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ends.append((state.num_input_tokens_seen, time.process_time(), time.perf_counter()))

    class Timed(verb.MaskedTrainer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.add_callback(Clock())

    verb.MaskedTrainer, verb.plot_loss = Timed, lambda *_, **__: None
    tokenizer = KmerTokenizer(k=6)
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        verb.pretrain(
            verb.PretrainingData(store, train_split=None, valid_split=None),
            verb.PretrainingArguments(
                folder,
                peak_tflops=1.0,  # the MFU is not used here, and measuring the peak would take time
                max_steps=steps + 1,
                per_device_train_batch_size=batch,
                use_cpu=True,
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
            ),
            tokenizer,
            KmerBertConfig(k=6, **SIZES[size][0], **dropout),
            DataCollatorForSpanMasking(tokenizer, span=6, start_rate=0.025),
            WindowSampling(length=510, min_length=5),
        )
    tokens, cpu, wall = (last - first for first, last in zip(ends[0], ends[-1], strict=True))
    return {"tokens": tokens, "cpu": cpu, "wall": wall}


def measure(size: str, steps: int, store: Path, processes: int) -> dict[str, float]:
    """Train in new processes; return tokens per CPU second of all processes, and per second of wall-clock time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = json.dumps({"size": size, "steps": steps, "store": str(store), "batch": SIZES[size][1] // processes})
    started = []
    for rank in range(processes):
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        ranks |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment |= {name: str(value) for name, value in ranks.items()} if processes > 1 else {}
        command = [sys.executable, __file__, "--one", job]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    lines = [process.communicate()[0].splitlines()[-1] for process in started]
    parts = [json.loads(line) for line in lines]
    cpu, wall = sum(part["cpu"] for part in parts), max(part["wall"] for part in parts)
    return {"cpu": parts[0]["tokens"] / cpu, "wall": parts[0]["tokens"] / wall}


def make_store(folder: Path) -> Path:
    """Prepare a store of contigs with random letters; what a model learns from it does not matter here."""
    random = np.random.default_rng(0)
    with open(folder / "genome.fa", "wb") as file:
        for number in range(20):
            letters = random.choice(np.frombuffer(b"ACGT", np.uint8), 100_000)
            file.write(b">contig%d\n" % number + letters.tobytes() + b"\n")
    prepare([str(folder / "genome.fa")], str(folder / "store"))
    return folder / "store"


def report(counts: list[int], rounds: int, steps: int) -> None:
    """Measure all sizes and print the table; ``counts`` are the numbers of processes to compare."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        store = make_store(Path(name))
        for size in SIZES:
            rates: dict[int, list[dict[str, float]]] = {processes: [] for processes in counts}
            for _ in range(rounds):
                for processes in counts:
                    rates[processes].append(measure(size, steps, store, processes))
            cpu, wall = (
                {count: statistics.median(rate[clock] for rate in rates[count]) for count in counts}
                for clock in ("cpu", "wall")
            )
            for count in counts:
                cells = [size, f"{SIZES[size][1]}", f"{count}", f"{cpu[count]:,.0f}", f"{cpu[count] / cpu[1]:.2f}"]
                rows.append(" | ".join([*cells, f"{wall[count]:,.0f}", f"{wall[count] / wall[1]:.2f}"]))
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"\nLoad of the machine's {os.cpu_count()} cores at the end (1, 5, 15 minutes): {busy}")
    header = "size | windows a step | processes | tokens per CPU second | ratio | tokens per wall second | ratio"
    print(f"\n| {header} |\n|{'---|' * 7}")
    print("\n".join(f"| {row} |" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(train(**arguments.one)))
        return
    report(arguments.processes, arguments.rounds, arguments.steps)


if __name__ == "__main__":
    main()
