"""Time the writing of a checkpoint of BERT-base (weights and AdamW's state), by ExactTrainer and by the stock Trainer.

    OMP_NUM_THREADS=1 python benchmarks/checkpoint.py --folder /where/checkpoints/go

Three Trainers share one model and one optimizer and save in turn, with ``save_total_limit`` 2: the stock Trainer, ours
(ExactTrainer, whose checkpoints survive a crash), and ours with every checkpoint hashed again whenever an old one is
deleted, as earlier versions did. The first saves, which delete nothing yet, are not counted. The table gives CPU
seconds, which other work on the machine disturbs least, and wall-clock seconds, many of them spent waiting for the disk
(which holds the system's temporary folder, or ``--folder``). The stock Trainer does not wait for the disk; its files
are flushed afterwards, and the last row adds the time of that. Numbers are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments
from transformers import trainer as stock_trainer

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
from hf_genomics.runs import checkpoints
from hf_genomics.runs import exact_trainer as exact

LIMIT = 2
TRAINERS = {"stock": Trainer, "ours": exact.ExactTrainer, "ours, all hashed again": exact.ExactTrainer}
Parts = Counter[str]
KNOWN = checkpoints._known_hashes
ROWS = {
    "weights": "CPU: writing the weights",
    "rest": "CPU: writing the rest",
    "hashing": "CPU: hashing",
    "flushing": "CPU: flushing to disk",
    "rotation": "CPU: deleting",
    "all": "CPU: all",
    "wall": "wall: all",
    "wall, flushed": "wall: all, stock flushed to disk too",
}
COMPARED = ("all", "wall", "wall, flushed")


class Forgetful(dict):
    """Dictionary in which no key is found, so that every file is hashed again."""

    def __contains__(self, key: object) -> bool:
        return False


def make_trainers(folder: Path) -> dict[str, Trainer]:
    """Build the Trainers around one model whose optimizer has taken a step."""
    torch.manual_seed(0)
    model = KmerBertForMaskedLM(KmerBertConfig(k=6))
    trainers: dict[str, Trainer] = {}
    for name, kind in TRAINERS.items():
        arguments = TrainingArguments(str(folder / name), save_total_limit=LIMIT, use_cpu=True, disable_tqdm=True)
        trainers[name] = kind(model=model, args=arguments)
    first = trainers["stock"]
    first.create_optimizer_and_scheduler(100)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    first.optimizer.step()
    for trainer in trainers.values():
        trainer.optimizer, trainer.lr_scheduler, trainer._tr_loss = first.optimizer, first.lr_scheduler, torch.zeros(())
    return trainers


@contextmanager
def watching(parts: Parts) -> Iterator[None]:
    """Time the parts of a save, in CPU seconds, within the block.

    Parts call each other, so that the time of a part is counted without the time of the parts within it. Only flushing
    runs in a thread of its own.
    """
    within: list[float] = []  # for each part that is running: seconds of the parts that it has called

    def timed(part: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.thread_time()
            if threading.current_thread() is not threading.main_thread():
                function(*args, **kwargs)
                parts[part] += time.thread_time() - begin
                return
            within.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.thread_time() - begin
                parts[part] += spent - within.pop()
                if within:
                    within[-1] += spent

        return call

    watched = [
        (Trainer, "_save", "weights"),
        (exact.ExactTrainer, "_write_model", "weights"),
        (exact.ExactTrainer, "_write_states", "rest"),
        (checkpoints, "_sha256", "hashing"),
        (checkpoints, "_sync", "flushing"),
        (checkpoints, "rotate", "rotation"),
        (stock_trainer, "rotate_checkpoints", "rotation"),
        (Trainer, "_save_optimizer_and_scheduler", "rest"),
    ]
    before = [getattr(owner, name) for owner, name, _ in watched]
    for (owner, name, part), function in zip(watched, before, strict=True):
        setattr(owner, name, timed(part, function))
    try:
        yield
    finally:
        for (owner, name, _), function in zip(watched, before, strict=True):
            setattr(owner, name, function)


def save(trainer: Trainer, step: int, name: str) -> Parts:
    """Save a checkpoint; return its CPU seconds, in total and by part, and its wall-clock seconds."""
    trainer.state.global_step = step
    checkpoints._known_hashes = Forgetful() if "again" in name else KNOWN
    parts: Parts = Counter()
    with watching(parts):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        trainer._save_checkpoint(trainer.model, None)
        parts["all"], parts["wall"] = time.process_time() - begin_cpu, time.perf_counter() - begin
    if name == "stock":
        begin = time.perf_counter()
        for path in (Path(trainer.args.output_dir) / f"checkpoint-{step}").iterdir():
            checkpoints._sync(path)
        parts["flushed"] = time.perf_counter() - begin
    parts["wall, flushed"] = parts["wall"] + parts["flushed"]
    return parts


def report(saves: dict[str, list[Parts]]) -> str:
    """Format the medians as a table, with ratios to the stock Trainer."""
    lines = ["| seconds | " + " | ".join(saves) + " |", "|---|" + "---|" * len(saves)]
    for part, title in ROWS.items():
        medians = {name: statistics.median(taken[part] for taken in rounds) for name, rounds in saves.items()}
        cells = [
            f"{median:.2f}" + (f" ({median / medians['stock']:.2f})" if part in COMPARED else "")
            for median in medians.values()
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="folder on the disk to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        trainers = make_trainers(folder)
        saves: dict[str, list[Parts]] = {name: [] for name in trainers}
        for step in range(LIMIT + arguments.rounds):
            for name, trainer in trainers.items():
                parts = save(trainer, step, name)
                if step >= LIMIT:  # from here on a save deletes a checkpoint
                    saves[name].append(parts)
        size = sum(path.stat().st_size for path in (folder / "ours" / f"checkpoint-{step}").iterdir())
    print(f"a checkpoint of {size / 1e9:.2f} GB\n\n{report(saves)}")


if __name__ == "__main__":
    main()
