"""Compare sources of windows for a torch DataLoader: a genome store, and tables of the library `datasets`.

    python benchmarks/data.py

Windows of 510 nt from random contigs with runs of N are loaded in batches of 256 and 1024, shuffled, in one process
with one thread and no workers. The tables of `datasets` hold the same windows in torch format: as text, as uint8
letters, and tokenised beforehand. The last two rows of the printed table include more than loading: tokenising, and
tokenising and masking. The sources take turns. Numbers are medians over the rounds of CPU time, which other work on the
machine disturbs least.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from hf_genomics import (
    DataCollatorForSequences,
    DataCollatorForSpanMasking,
    GenomeStore,
    KmerTokenizer,
    WindowDataset,
    WindowSampling,
    prepare,
)

LENGTH, CONTIGS, CONTIG_LENGTH = 510, 40, 500_000


def make_store(folder: Path) -> GenomeStore:
    """Prepare a store of contigs with random letters, 2 % of each contig in runs of N."""
    random = np.random.default_rng(0)
    with open(folder / "genome.fa", "wb") as file:
        for number in range(CONTIGS):
            letters = random.choice(np.frombuffer(b"ACGTacgt", np.uint8), CONTIG_LENGTH)
            for start in random.integers(0, CONTIG_LENGTH - 1000, 10):
                letters[start : start + 1000] = ord("N")
            file.write(b">contig%d\n" % number + letters.tobytes() + b"\n")
    return prepare([str(folder / "genome.fa")], str(folder / "store"))


def tables(windows: WindowDataset, tokenizer: KmerTokenizer, count: int) -> dict[str, Any]:
    """Build tables of `datasets` with the same windows."""
    from datasets import Dataset, disable_progress_bars  # imported here, since gpu.py uses this file without `datasets`

    disable_progress_bars()
    letters = [row["sequence"] for row in windows.__getitems__(range(count))]
    columns = {
        "text": {"sequence": [row.tobytes().decode() for row in letters]},
        "uint8 letters": {"sequence": letters},
        "tokenised beforehand": {"input_ids": list(tokenizer.encode_batch(letters)[0].astype(np.int16))},
    }
    return {f"datasets, {name}": Dataset.from_dict(column).with_format("torch") for name, column in columns.items()}


def windows_per_second(loader: DataLoader, least: float = 0.4) -> float:
    """Draw batches for about ``least`` seconds of CPU time; the first batch, which shuffles, is not counted."""
    seen, batches = 0, iter(loader)
    next(batches)
    begin = time.process_time()
    for _ in batches:
        seen += loader.batch_size
        if time.process_time() - begin > least:
            break
    return seen / (time.process_time() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    tokenizer = KmerTokenizer()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder))
        ours = {
            "store, fixed length": WindowSampling("fixed", LENGTH, coverage=60),
            "store, sampled lengths": WindowSampling("sampled", LENGTH, coverage=60),
            "store, cuts": WindowSampling("cuts", LENGTH),
            "store, fixed length, half reverse-complemented": WindowSampling(
                "fixed", LENGTH, coverage=60, rc_probability=0.5
            ),
        }
        sources = {name: (WindowDataset(store, sampling), list) for name, sampling in ours.items()}
        fixed = sources["store, fixed length"][0]
        sources |= {name: (table, list) for name, table in tables(fixed, tokenizer, 20_000).items()}
        sources["store, tokenised"] = (fixed, DataCollatorForSequences(tokenizer))
        sources["store, tokenised and masked"] = (fixed, DataCollatorForSpanMasking(tokenizer))
        for batch in (256, 1024):
            rates: dict[str, list[float]] = {name: [] for name in sources}
            for _ in range(rounds):
                for name, (rows, collate) in sources.items():
                    collate = (lambda rows: rows) if collate is list else collate
                    loader = DataLoader(rows, batch, shuffle=True, collate_fn=collate, drop_last=True)
                    rates[name].append(windows_per_second(loader))
            best = statistics.median(rates["store, fixed length"])
            print(f"\n| source, batches of {batch} | windows/s | store / it |\n|---|---|---|")
            for name, values in rates.items():
                median = statistics.median(values)
                print(f"| {name} | {median:,.0f} | {best / median:.1f} |")


if __name__ == "__main__":
    main()
