"""Measure speed and peak memory of scoring on a CPU, with and without a limit on the tokens of a batch.

    OMP_NUM_THREADS=1 python benchmarks/scoring_batches.py
    OMP_NUM_THREADS=1 python benchmarks/scoring_batches.py --windows 128 --batch_sizes 16 128

A model of 3 layers x 128 at stride 1 reads windows of 1000 nt in two parts, in fp32, with the attention that training
uses on a CPU. Each row is measured in a process of its own, which scores all windows once before it is timed; the time
is processor time. The scores of all rows are compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

LENGTH = 1000


def measure(batch_size: int, limited: bool, count: int) -> None:
    """Score random windows in this process; print nt per second, peak memory in MB, and the scores, as JSON."""
    import torch

    from hf_genomics import HierarchicalKmerBertConfig, HierarchicalKmerBertForSequenceClassification, KmerTokenizer
    from hf_genomics.inference import scores

    torch.set_num_threads(1)
    torch.manual_seed(0)
    if not limited:
        scores._CPU_TOKENS = sys.maxsize
    sizes = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
    config = HierarchicalKmerBertConfig(k=6, num_parts=2, max_position_embeddings=512, **sizes)
    model = HierarchicalKmerBertForSequenceClassification._from_config(config, attn_implementation="eager").eval()
    random = np.random.default_rng(0)
    windows = list(np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, (count, LENGTH))])
    for _ in range(2):
        begin = time.process_time()
        found = scores.predict_scores(model, KmerTokenizer(k=6), windows, batch_size=batch_size)
        seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"speed": count * LENGTH / seconds, "peak": peak, "scores": found.tolist()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return measure(options.one[0], bool(options.one[1]), options.windows)
    print("| windows at a time | limit | nt/s | peak MB | speed, ratio to no limit |\n|---|---|---|---|---|")
    first = None
    for batch_size in options.batch_sizes:
        found = {}
        for limited in (False, True):
            words = ["--one", str(batch_size), str(int(limited)), "--windows", str(options.windows)]
            command = [sys.executable, __file__, *words]
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            found[limited] = one = json.loads(line)
            first = np.array(one["scores"]) if first is None else first
            assert np.allclose(first, one["scores"], atol=1e-6), "scores must not depend on the batches"
            ratio = one["speed"] / found[False]["speed"]
            cells = [
                batch_size,
                "yes" if limited else "no",
                f"{one['speed']:,.0f}",
                f"{one['peak']:,.0f}",
                f"{ratio:.2f}",
            ]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    return None


if __name__ == "__main__":
    main()
