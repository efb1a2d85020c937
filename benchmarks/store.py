"""Measure the genome store: `prepare` compared with dnaio alone, memory, size on disk, and speed of random windows.

    python benchmarks/store.py                                # random contigs, 60 Mnt
    python benchmarks/store.py --fasta a.fasta.gz b.fasta.gz  # real genomes
    python benchmarks/store.py --contig 250                   # also the memory of a contig of 250 Mnt, a minute more

Reading: "dnaio alone" iterates over the records and does nothing with them; `prepare` also checks every letter, hashes
what it reads and what it writes, writes, and flushes to disk. The files are in the page cache. Candidates take turns;
the tables give medians over the rounds, and the smallest and largest ratio of a round. Memory: the peak of a process of
its own, less what imports take (Linux only). Windows: 510 nt at random places, 256 in a call; "datasets" holds the same
windows as rows of uint8, and 256 random rows are read in a call; the time is processor time, which other work on the
machine disturbs least. All on one thread.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dnaio
import numpy as np

from hf_genomics.genomes.store import GenomeStore, prepare
from hf_genomics.io.files import open_binary
from hf_genomics.sequence_files.fasta import read_chunks

WINDOW, BATCH = 510, 256
SIZES = (6_000_000, 60_000_000)  # nt of the files for which peak memory is compared
PEAK = """
import sys
def peak():  # getrusage counts the parent's memory too
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
import dnaio
from hf_genomics.genomes.store import prepare
before = peak()
if sys.argv[1] == "dnaio":
    with dnaio.open(sys.argv[2]) as records:
        for record in records: pass
else:
    prepare([sys.argv[2]], sys.argv[3], storage=sys.argv[1], overwrite=True)
print(peak() - before)
"""


def write_fasta(path: Path, contigs: int, nt: int, seed: int = 0) -> Path:
    """Write a FASTA file of contigs in lines of 70 nt, with a run of N in every other one."""
    random = np.random.default_rng(seed)
    with open(path, "wb") as file:
        for number in range(contigs):
            letters = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, nt, dtype=np.uint8)]
            letters[nt // 2 : nt // 2 + 50 * (number % 2)] = ord("N")
            lines = np.full((nt // 70, 71), ord("\n"), np.uint8)
            lines[:, :70] = letters[: len(lines) * 70].reshape(-1, 70)
            file.write(b">contig%d\n" % number)
            file.write(lines.data)
    return path


def compared(
    calls: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Time the calls in turn; return the seconds of each call in every round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = clock()
            call()
            times[name].append(clock() - begin)
    return times


def table(title: str, unit: str, times: dict[str, list[float]], amount: float, faster: bool = False) -> None:
    """Print medians, and ratios to the first row: ratios of times, or of speeds if ``faster``."""
    base = next(iter(times.values()))
    print(f"\n| {title} | {unit} | {'speed' if faster else 'time'} / first row |\n|---|---|---|")
    for name, found in times.items():
        ratios = [own / other for own, other in zip(*((base, found) if faster else (found, base)), strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {amount / statistics.median(found):,.0f} | {spread} |")


def read_with_dnaio(path: Path) -> None:
    """Read all records with dnaio."""
    with dnaio.open(path) as records:
        for _ in records:
            pass


def read_with_us(path: Path) -> None:
    """Read all letters with hf_genomics, which checks them."""
    for _ in read_chunks(path):
        pass


def prepared(path: Path, output: Path, storage: str) -> GenomeStore:
    """Prepare a new store from a FASTA file."""
    shutil.rmtree(output, ignore_errors=True)
    return prepare([str(path)], str(output), storage=storage)


def compare_reading(path: Path, folder: Path, nt: int, rounds: int, title: str) -> None:
    """Print the speeds of reading a file and of preparing a store from it."""
    calls = {
        "dnaio alone": lambda: read_with_dnaio(path),
        "read and check every letter": lambda: read_with_us(path),
        "prepare, 8bit": lambda: prepared(path, folder / "8bit", "8bit"),
        "prepare, 2bit": lambda: prepared(path, folder / "2bit", "2bit"),
    }
    table(title, "Mnt/s", compared(calls, rounds), nt / 1e6)


def peak_mib(kind: str, path: Path, output: Path) -> int:
    """Measure the peak memory of dnaio ("dnaio") or of `prepare` ("8bit", "2bit") in a process of its own."""
    run = subprocess.run([sys.executable, "-c", PEAK, kind, path, output], capture_output=True, text=True, check=True)
    return int(run.stdout)


def compare_memory(files: dict[str, Path], folder: Path) -> None:
    """Print the peak memory for each file."""
    print("\n| peak memory above imports, MiB | dnaio alone | prepare, 8bit | prepare, 2bit |\n|---|---|---|---|")
    for name, path in files.items():
        peaks = [peak_mib(kind, path, folder / "memory") for kind in ("dnaio", "8bit", "2bit")]
        print(f"| {name} | {' | '.join(map(str, peaks))} |")


def compare_windows(stores: list[GenomeStore], rounds: int) -> None:
    """Time reading of windows from stores of both storages, and from rows of a `datasets.Dataset`."""
    from datasets import Dataset, Features, Sequence, Value

    store, random = stores[0], np.random.default_rng(0)
    places = random.integers(0, store.total_nt - WINDOW, (64, BATCH))
    full = np.full(BATCH, WINDOW)
    ragged = np.where(random.random(BATCH) < 0.5, WINDOW, random.integers(5, WINDOW + 1, BATCH))
    rows = store.gather(places.ravel(), np.full(places.size, WINDOW)).reshape(-1, WINDOW)
    features = Features({"sequence": Sequence(Value("uint8"), length=WINDOW)})
    dataset = Dataset.from_dict({"sequence": list(rows)}, features=features).with_format("torch")
    orders = random.integers(0, len(rows), places.shape).tolist()
    calls: dict[str, Callable[[], object]] = {
        "datasets, torch format": lambda: [dataset[order]["sequence"] for order in orders],
    }
    for one in stores:
        storage = one.info["storage"]
        calls[f"gather, {storage}"] = lambda one=one: [one.gather(starts, full) for starts in places]
        calls[f"gather, {storage}, half of them 5 to 510 nt"] = lambda one=one: [
            one.gather(starts, ragged) for starts in places
        ]
    table(f"random windows of {WINDOW} nt", "windows/s", compared(calls, rounds, time.process_time), places.size, True)


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fasta", nargs="*", default=[], help="FASTA files to use instead of random contigs")
    parser.add_argument("--contig", type=int, default=0, help="also measure the memory of one contig of so many Mnt")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = folder / "genomes.fasta"
        if options.fasta:
            with open(plain, "wb") as file:
                for path in options.fasta:
                    with open_binary(path) as source:
                        shutil.copyfileobj(source, file)
        else:
            write_fasta(plain, contigs=1000, nt=60_000)
        packed = folder / "genomes.fasta.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes(), 6))
        stores = [prepared(plain, folder / storage, storage) for storage in ("8bit", "2bit")]
        nt = stores[0].total_nt
        print(f"{nt:,} nt in {len(stores[0])} contigs; {os.cpu_count()} cores")
        compare_reading(plain, folder, nt, options.rounds, "plain FASTA")
        compare_reading(packed, folder, nt, options.rounds, "gzip FASTA")
        sizes = [size(store.path) for store in stores]
        print(f"\nbytes on disk: 8bit {sizes[0]:,}, 2bit {sizes[1]:,}: {sizes[0] / sizes[1]:.2f} times smaller")
        files = {
            f"{nt // 10**6} Mnt in 100 contigs": write_fasta(folder / f"{nt}.fasta", 100, nt // 100) for nt in SIZES
        }
        if options.contig:
            files[f"{options.contig} Mnt in one contig"] = write_fasta(folder / "one.fasta", 1, options.contig * 10**6)
        compare_memory(files, folder)
        compare_windows(stores, options.rounds)


if __name__ == "__main__":
    main()
