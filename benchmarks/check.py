"""Compare `check` with dnaio alone; measure the memory of `check` and the accuracy of its search for near-duplicates.

    python benchmarks/check.py

dnaio parses the same file and does nothing else. Both read random DNA, in turn, on one thread. Numbers are medians over
the rounds; seconds are processor time, and an MB is a million letters. With splits, `check` also searches for
near-duplicates. The last table is about copies with substitutions at random places, half of the copies reverse
complemented: the share of copies that is found, and the mean and standard deviation of their estimated identity.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import dnaio
import numpy as np

from hf_genomics.checks.check import SplitFiles, check
from hf_genomics.checks.sketch import Sketch, near_duplicates
from hf_genomics.sequence import LETTER_CODE, reverse_complement


def write_fasta(path: Path, records: int, length: int) -> str:
    """Write random DNA in lines of 80 letters, gzipped where the name says so."""
    letters = np.random.default_rng(records).choice(np.frombuffer(b"ACGT", np.uint8), (records, length))
    lines = []
    for number, row in enumerate(letters):
        text = row.tobytes()
        lines += [b">r%d" % number, *(text[begin : begin + 80] for begin in range(0, length, 80))]
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content, 6) if path.suffix == ".gz" else content)
    return str(path)


def parse(path: str) -> None:
    """Read all records with dnaio."""
    with dnaio.open(path, fileformat="fasta", open_threads=0) as records:
        for _ in records:
            pass


def seconds(call: Callable[[], object]) -> float:
    """Measure the processor time of a call, which other work on the machine disturbs less than wall-clock time."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def compare(path: str, other: str) -> list[float]:
    """Return the seconds of dnaio, `check`, and `check` with splits, measured once each."""
    return [
        seconds(lambda: parse(path)),
        seconds(lambda: check([path])),
        seconds(lambda: check(splits=SplitFiles(train=[other], test=[path]))),
    ]


def copies(length: int, identity: float, expected_nt: int, count: int = 100) -> str:
    """Search for mutated copies of random sequences, and return two cells of the table.

    Args:
        length: nt of a sequence.
        identity: share of nucleotides that a copy has in common with its original.
        expected_nt: nt that the sketch is made for: the more, the fewer 24-mers it samples.
        count: number of sequences, each with one copy.
    """
    rng = np.random.default_rng(length)
    sketch = Sketch(expected_nt=expected_nt)
    originals = rng.choice(np.frombuffer(b"ATCG", np.uint8), (count, length))
    for number in range(2 * count):
        letters = originals[number % count]
        if number >= count:
            places = rng.choice(length, round((1 - identity) * length), replace=False)
            letters = letters.copy()
            letters[places] = np.frombuffer(b"ATCG", np.uint8)[
                (LETTER_CODE[letters[places]] + rng.integers(1, 4, len(places))) % 4
            ]
            letters = reverse_complement(letters) if number % 2 else letters
        sketch.add(letters, np.array([length]), number)
    found = near_duplicates(sketch, np.repeat([0, 2], count))
    assert all(pair.record == pair.other + count for pair in found)
    values = [100 * pair.identity for pair in found]
    return f"{len(found)} % | {np.mean(values):.1f} ± {np.std(values):.1f}" if found else "0 % | -"


def accuracy() -> None:
    """Print the table of copies: how many are found, and their estimated identity."""
    print("\n| length, nt | 24-mers sampled | identity, % | found | estimate |\n|---|---|---|---|---|")
    for length in (100, 500, 3000, 50_000):
        for share in (1, 8, 64):
            for identity in (99, 95, 90):
                row = copies(length, identity / 100, share << 22)
                print(f"| {length:,} | 1/{share} | {identity} | {row} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        cases = {
            "4 contigs of 5 Mnt": write_fasta(home / "genome.fa", 4, 5_000_000),
            "4 contigs of 5 Mnt, gzip": write_fasta(home / "genome.fa.gz", 4, 5_000_000),
            "50,000 reads of 100 nt": write_fasta(home / "reads.fa", 50_000, 100),
        }
        nt = {"4 contigs of 5 Mnt": 20e6, "4 contigs of 5 Mnt, gzip": 20e6, "50,000 reads of 100 nt": 5e6}
        other = write_fasta(home / "other.fa", 1, 24)
        print(
            "| input | dnaio, MB/s | check, MB/s | ratio | check with splits, MB/s | ratio |\n|---|---|---|---|---|---|"
        )
        for name, path in cases.items():
            times = [compare(path, other) for _ in range(rounds)]
            plain, alone, split = (statistics.median(column) for column in zip(*times, strict=True))
            rates = [nt[name] / spent / 1e6 for spent in (plain, alone, split)]
            print(
                f"| {name} | {rates[0]:.0f} | {rates[1]:.0f} | {alone / plain:.1f} | {rates[2]:.0f} | "
                f"{split / plain:.1f} |",
                flush=True,
            )
        for contigs in (4, 16):
            path = write_fasta(home / "memory.fa", contigs, 2_000_000)
            tracemalloc.start()
            check(splits=SplitFiles(train=[other], test=[path]))
            print(f"{contigs} contigs of 2 Mnt with splits: peak {tracemalloc.get_traced_memory()[1] / 1e6:.0f} MB")
            tracemalloc.stop()
    accuracy()


if __name__ == "__main__":
    main()
