"""Measure how many tokens per second the data path, from genome store to batches, feeds to a model that does nothing.

    python benchmarks/feed.py

Each set-up follows a recipe: windows are drawn, read, reverse-complemented at random, tokenised, masked and packed into
batches. "path" is the DataLoader alone; "with the Trainer" is `pretrain`'s Trainer, with its counts, log and checks of
every step, around a model of one weight whose loss is 0. One process, one thread, no workers. Numbers are medians over
the rounds of CPU time, which other work on the machine disturbs least.

The second table gives the share of tokens that are not padding. The third is about real steps of the CPU-sized recipes:
the share of their time spent waiting for the next batch. The last table gives the same share, in wall-clock time, for
an imitated device (it only pauses) that processes half a million tokens per second, as a large GPU would, with and
without a worker that prepares the next batch in the meantime.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from data import make_store
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainingArguments
from transformers.modeling_outputs import MaskedLMOutput

from hf_genomics import (
    DataCollatorForSpanMasking,
    GenomeStore,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerTokenizer,
    SetEpoch,
    WindowDataset,
    WindowSampling,
)
from hf_genomics.genomes.order import EpochOrder
from hf_genomics.runs.memory import keep_freed_memory
from hf_genomics.training.masked_trainer import MaskedTrainer
from hf_genomics.training.progress import FILE as METRICS

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
SET_UPS = ("base", "mask8", "stride3", "wide")
ROWS = ("one row", "rows of the longest window", "padded")


class NullModel(nn.Module):
    """A model of one weight, whose loss is always 0; it sleeps for ``pause`` seconds per token."""

    main_input_name = "input_ids"

    def __init__(self, config: KmerBertConfig, pause: float = 0.0) -> None:
        super().__init__()
        self.config, self.weight, self.pause = config, nn.Parameter(torch.zeros(1)), pause

    def forward(self, input_ids: Tensor, labels: Tensor, **kwargs: Any) -> MaskedLMOutput:
        """Return the loss."""
        time.sleep(self.pause * input_ids.numel())
        return MaskedLMOutput(loss=(self.weight * 0).sum())


def parts(recipe: Path, store: GenomeStore, rows: str) -> tuple[WindowDataset, DataCollatorForSpanMasking, dict]:
    """Build the windows and the collator of a recipe; return both, and the recipe."""
    settings = yaml.safe_load(recipe.read_text())
    tokenizer = KmerTokenizer(**settings["tokenizer"])
    many = {} if "mode" in settings["windows"] else {"coverage": 20}
    sampling = WindowSampling(**(many | settings["windows"]))
    pack_to = {"one row": 0, "padded": None}.get(rows, tokenizer.num_tokens(sampling.length))
    collator = DataCollatorForSpanMasking(tokenizer, **settings["masking"], pack_to=pack_to)
    return WindowDataset(store, sampling), collator, settings


def path_rate(windows: WindowDataset, collator: DataCollatorForSpanMasking, batch: int, least: float) -> float:
    """Load batches for about ``least`` seconds of CPU time; return tokens per second, padding not counted."""
    loader = DataLoader(windows, batch, sampler=EpochOrder(len(windows), batch), collate_fn=collator)
    batches, tokens = iter(loader), 0
    next(batches)  # the first batch computes the order of the epoch
    begin = time.process_time()
    for columns in batches:
        tokens += int(columns["attention_mask"].sum())
        if time.process_time() - begin > least:
            break
    return tokens / (time.process_time() - begin)


class Trained(NamedTuple):
    """Tokens per second, the share of the time spent waiting for batches, and the MFU."""

    rate: float
    waited: float
    mfu: float


class TimedTrainer(MaskedTrainer):
    """`pretrain`'s Trainer with a clock: when steps end, and how long it waits for batches."""

    def __init__(self, clock: Callable[[], float], **options: Any) -> None:
        super().__init__(**options)
        self.clock, self.waited = clock, 0.0
        self.ends: list[tuple[float, float, float]] = []  # time, tokens, time waited for batches
        self.add_callback(_NoteEnds(self))

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Draw the batches of a step."""
        begin = self.clock()
        samples = super().get_batch_samples(*args, **kwargs)
        self.waited += self.clock() - begin
        return samples


class _NoteEnds(TrainerCallback):
    """Note when each step ends; the time of writing its line to the log counts in the next step."""

    def __init__(self, trainer: TimedTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        trainer.ends.append((trainer.clock(), state.num_input_tokens_seen, trainer.waited))


def train(
    windows: WindowDataset,
    collator: DataCollatorForSpanMasking,
    settings: dict,
    network: nn.Module,
    steps: int,
    clock: Callable[[], float] = time.process_time,
    peak_tflops: float = 1.0,
    **options: Any,
) -> Trained:
    """Train for ``steps`` steps after a first one that is not counted; ``options`` are for the TrainingArguments."""
    trainer = settings["trainer"]
    keys = ("per_device_train_batch_size", "learning_rate", "adam_beta2", "adam_epsilon", "weight_decay")
    order = EpochOrder(len(windows), trainer["per_device_train_batch_size"])
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            **{key: trainer[key] for key in keys},
            max_steps=steps + 1,
            logging_steps=max(1, steps // 4),
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            include_num_input_tokens_seen="non_padding",
            **({"use_cpu": True} | options),
        )
        run = TimedTrainer(
            clock=clock,
            model=network,
            args=arguments,
            data_collator=collator,
            train_dataset=windows,
            processing_class=collator.tokenizer,
            callbacks=[SetEpoch(windows, order)],
            order=order,
            peak_tflops=peak_tflops,
        )
        run.train()
        lines = map(json.loads, (Path(folder) / METRICS).read_text().splitlines())
        mfu = [line["mfu"] for line in lines if "mfu" in line][-1]
    (begin, before, waited), (end, tokens, at_last) = run.ends[0], run.ends[-1]
    return Trained((tokens - before) / (end - begin), (at_last - waited) / (end - begin), mfu)


def feeding(store: GenomeStore, rounds: int, least: float) -> None:
    """Print how many tokens per second each set-up feeds."""
    print("| set-up | windows in a batch | rows | path, Mtok/s | with the Trainer, Mtok/s |\n|---|---|---|---|---|")
    for name in SET_UPS:
        recipe = RECIPES / f"pretrain_{name}.yaml"
        for rows in ROWS:
            windows, collator, settings = parts(recipe, store, rows)
            batch = settings["trainer"]["per_device_train_batch_size"]
            config = KmerBertConfig(k=collator.tokenizer.k, stride=collator.tokenizer.stride)
            rates = []
            for _ in range(rounds):
                path = path_rate(windows, collator, batch, least)
                rates.append((path, train(windows, collator, settings, NullModel(config), steps=16).rate))
            path, trained = (1e-6 * statistics.median(column) for column in zip(*rates, strict=True))
            print(f"| {name} | {batch} | {rows} | {path:.1f} | {trained:.1f} |", flush=True)


def filling(store: GenomeStore, batches: int = 20) -> None:
    """Print the share of tokens that are not padding: the mean and the minimum over some batches."""
    sizes = (8, 16, 32, 64, 128, 256)
    print("\n| set-up | rows | " + " | ".join(f"{size} windows" for size in sizes) + " |")
    print("|---|---" + "|---" * len(sizes) + "|")
    for name in SET_UPS:
        for rows in ROWS:
            windows, collator, _ = parts(RECIPES / f"pretrain_{name}.yaml", store, rows)
            order = EpochOrder(len(windows), batches * max(sizes)).rows_of_epoch(0)
            cells = []
            for size in sizes:
                drawn = order[: batches * size].reshape(batches, size)
                real = [collator(windows.__getitems__(index))["attention_mask"].double().mean() for index in drawn]
                cells.append(f"{100 * sum(real) / batches:.1f} ({100 * min(real):.1f})")
            print(f"| {name} | {rows} | {' | '.join(cells)} |", flush=True)


def waiting(store: GenomeStore, rounds: int, steps: int) -> None:
    """Print the share of a CPU step that is spent waiting for its batch."""
    print("\n| CPU recipe | tokens/s of a step | waiting for data |\n|---|---|---|")
    for name in SET_UPS:
        windows, collator, settings = parts(RECIPES / f"pretrain_{name}_cpu.yaml", store, "one row")
        tokenizer = collator.tokenizer
        config = KmerBertConfig(k=tokenizer.k, stride=tokenizer.stride, **settings["model"])
        results = []
        for _ in range(rounds):
            network = KmerBertForMaskedLM._from_config(config, attn_implementation="sdpa")
            results.append(train(windows, collator, settings, network, steps))
        rate = statistics.median(trained.rate for trained in results)
        share = statistics.median(trained.waited for trained in results)
        print(f"| {name} | {rate:,.0f} | {100 * share:.2f} % |", flush=True)


def hiding(store: GenomeStore, rounds: int, pace: float = 500_000) -> None:
    """Print the share of time spent waiting for batches if a device processes ``pace`` tokens per second."""
    workers = (0, 1)
    print(f"\n| waiting at {pace:,.0f} tokens/s | no worker | a worker |\n|---|---|---|")
    for name in SET_UPS:
        windows, collator, settings = parts(RECIPES / f"pretrain_{name}.yaml", store, "one row")
        config = KmerBertConfig(k=collator.tokenizer.k, stride=collator.tokenizer.stride)
        shares: dict[int, list[float]] = {number: [] for number in workers}
        for _ in range(rounds):
            for number in workers:
                model, options = NullModel(config, 1 / pace), {"dataloader_num_workers": number}
                trained = train(windows, collator, settings, model, 12, clock=time.perf_counter, **options)
                shares[number].append(trained.waited)
        medians = (f"{100 * statistics.median(shares[number]):.1f} %" for number in workers)
        print(f"| {name} | {' | '.join(medians)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="CPU time of one measurement of the path")
    parser.add_argument("--steps", type=int, default=2, help="steps of a CPU recipe")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder))
        feeding(store, arguments.rounds, arguments.seconds)
        filling(store)
        waiting(store, arguments.rounds, arguments.steps)
        hiding(store, arguments.rounds)


if __name__ == "__main__":
    main()
