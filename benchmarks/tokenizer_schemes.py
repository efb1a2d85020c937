"""Compare the tokenizers in tokenizer_configs/: nucleotides per token, and speed, on genomes of your choice.

    python benchmarks/tokenizer_schemes.py                       # on phage lambda, on which the BPE was trained too
    python benchmarks/tokenizer_schemes.py --store STORE --split test --bpe_split train

The tokenizers turn lists of 256 windows of 510 nt, from all parts of the store, into padded NumPy batches, in turn, on
one thread. Numbers are medians over the rounds. With --bpe_split, the script also trains BPEs of 4,096 tokens on 1 and
4 Mnt of that split, to compare them with the BPE in the repository, which was trained on the seven bundled genomes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from transformers import AutoTokenizer, PreTrainedTokenizerBase

import hf_genomics as hg

ROOT = Path(__file__).resolve().parents[1]


def windows(store: hg.GenomeStore, split: str | None, count: int) -> list[str]:
    """Return windows of 510 nt as text."""
    sampling = hg.WindowSampling(length=510, min_length=510, full_share=1.0)
    dataset = hg.WindowDataset(store, sampling, store.select(split))
    return [row["sequence"].tobytes().decode() for row in dataset.__getitems__(list(range(count)))]


def nt_per_token(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> float:
    """Compute the mean number of nucleotides per token, special tokens not counted."""
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return sum(map(len, texts)) / sum(map(len, rows))


def seconds(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> float:
    """Return the seconds that a tokenizer takes for a batch."""
    begin = time.perf_counter()
    tokenizer(texts, padding=True, return_tensors="np")
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--bpe_split")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/store"
        bundled = str(ROOT / "recipes" / "data" / "quickstart" / "NC_001416.fasta.gz")
        store = hg.GenomeStore(arguments.store) if arguments.store else hg.prepare([bundled], place)
        folders = {
            path.parent.name: path.parent for path in (ROOT / "tokenizer_configs").glob("*/tokenizer_config.json")
        }
        for million in (1, 4) if arguments.bpe_split else ():
            folders[f"BPE of {million} Mnt"] = Path(folder) / str(million)
            target = str(folders[f"BPE of {million} Mnt"])
            hg.train_bpe(str(store.path), target, split=arguments.bpe_split, max_nt=million * 10**6)
        schemes = {name: AutoTokenizer.from_pretrained(path) for name, path in sorted(folders.items())}
        texts = windows(store, arguments.split, 1024)
        batch = texts[:256]
        times: dict[str, list[float]] = {name: [] for name in schemes}
        for _ in range(arguments.rounds):
            for name, tokenizer in schemes.items():
                times[name].append(seconds(tokenizer, batch))
        fastest = min(statistics.median(taken) for taken in times.values())
        print(
            "| folder | vocabulary | nt per token | speed (Mnt/s) | times the fastest's time |\n|---|---|---|---|---|"
        )
        for name, tokenizer in schemes.items():
            taken = statistics.median(times[name])
            speed, mean = sum(map(len, batch)) / taken / 1e6, nt_per_token(tokenizer, texts)
            print(f"| {name} | {len(tokenizer)} | {mean:.2f} | {speed:.1f} | {taken / fastest:.1f} |")


if __name__ == "__main__":
    main()
