"""Measure windows per second and peak memory of `predict` on contigs, and of predicting all windows at once.

    python benchmarks/predict.py                   # 1 and 100 Mnt
    python benchmarks/predict.py --mnt 1 10        # shorter

A tiny model with random weights reads windows of 1000 nt, so that most of the time goes into reading, cutting and
writing. Each measurement runs in a separate process and starts with a small prediction; "added MB" is the growth of the
peak memory after that.
"all at once" is how version 0.1 predicted: every record, every window and all logits in memory, windows sorted by
length.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LENGTH, CONTIG_NT, BATCH = 1000, 2_500_000, 64


def write_contigs(path: Path, nt: int) -> None:
    """Write random contigs of 2.5 Mnt in lines of 80 nt; the last contig may be shorter."""
    random = np.random.default_rng(0)
    with open(path, "wb") as file:
        for number, begin in enumerate(range(0, nt, CONTIG_NT)):
            letters = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, min(CONTIG_NT, nt - begin))]
            whole, rest = letters[: len(letters) // 80 * 80].reshape(-1, 80), letters[len(letters) // 80 * 80 :]
            lines = np.concatenate([whole, np.full((len(whole), 1), ord("\n"), np.uint8)], 1)
            file.write(b">contig%d\n" % number + lines.tobytes() + rest.tobytes() + b"\n" * bool(len(rest)))


def save_model(folder: Path) -> None:
    """Save a tiny classifier of windows of 1000 nt."""
    import torch

    from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer

    torch.manual_seed(0)
    config = KmerBertConfig(
        k=6,
        stride=6,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
        max_position_embeddings=LENGTH // 6 + 2,
        max_sequence_length=LENGTH,
        sliding_window=8,
        layer_types=["sliding_attention"],
        classifier_pooling="mean",
    )
    KmerBertForSequenceClassification(config).save_pretrained(folder)
    KmerTokenizer(k=6, stride=6).save_pretrained(folder)


def all_at_once(model: str, path: str, output: Path) -> None:
    """Predict with all windows in memory, as version 0.1 did."""
    import scipy.special
    import torch

    from hf_genomics import load_classifier
    from hf_genomics.inference.windows import collator_for, windows_of_examples
    from hf_genomics.io.writing import write_tsv
    from hf_genomics.labelled.tables import read_labelled

    network, tokenizer = load_classifier(model)
    examples = read_labelled(path, require_labels=False)
    windows = list(windows_of_examples(examples, network, tokenizer))
    collate = collator_for(network.config, tokenizer)
    order = np.argsort([len(window.row["sequence"]) for window in windows], kind="stable")
    logits = np.zeros((len(windows), network.config.num_labels))
    with torch.inference_mode():
        for begin in range(0, len(order), BATCH):
            chosen = order[begin : begin + BATCH]
            batch = collate([windows[number].row for number in chosen])
            logits[chosen] = network.eval()(**batch).logits.double().numpy()
    scores = scipy.special.softmax(logits, axis=-1)
    owner = np.array([window.sequence_index for window in windows])
    means = [np.bincount(owner, column) / np.bincount(owner) for column in scores.T]
    lengths = [len(letters) for letters in examples.sequences]
    labels = [network.config.id2label[number] for number in np.argmax(means, 0)]
    rows = zip(examples.ids, lengths, labels, *(mean.tolist() for mean in means), strict=True)
    write_tsv(output, ["id", "length", "prediction", "p_LABEL_0", "p_LABEL_1"], rows)


def measure(route: str, folder: Path, mnt: float) -> None:
    """Predict once in this process; print the seconds, and the peak memory in bytes before and after, as JSON."""
    import torch

    from hf_genomics import predict

    torch.set_num_threads(1)
    model, output = str(folder / "model"), folder / f"{route}-{mnt}.tsv"
    predict(model, str(folder / "warm.fasta"), str(folder / "warm.tsv"), overwrite=True)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    if route == "stream":
        predict(model, str(folder / f"{mnt}.fasta"), str(output), batch_size=BATCH, overwrite=True)
    else:
        all_at_once(model, str(folder / f"{mnt}.fasta"), output)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "before": before * 1024, "after": after * 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnt", type=float, nargs="+", default=[1.0, 100.0])
    parser.add_argument("--one", nargs=3, metavar=("ROUTE", "FOLDER", "MNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return measure(options.one[0], Path(options.one[1]), float(options.one[2]))
    with tempfile.TemporaryDirectory() as name:
        folder, peaks = Path(name), {}
        save_model(folder / "model")
        write_contigs(folder / "warm.fasta", 200_000)
        print(f"{'route':12} {'Mnt':>6} {'windows/s':>10} {'peak MB':>8} {'added MB':>9}")
        for mnt in options.mnt:
            write_contigs(folder / f"{mnt}.fasta", int(mnt * 1e6))
            for route in ("stream", "all at once"):
                words = [sys.executable, __file__, "--one", route, name, str(mnt)]
                found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
                peaks[route, mnt] = found["after"]
                speed, added = mnt * 1e6 / LENGTH / found["seconds"], found["after"] - found["before"]
                print(f"{route:12} {mnt:6g} {speed:10,.0f} {found['after'] / 1e6:8,.0f} {added / 1e6:9,.0f}")
            stream, once = (
                np.loadtxt(folder / f"{route}-{mnt}.tsv", skiprows=1, usecols=3, ndmin=1)
                for route in ("stream", "all at once")
            )
            assert np.allclose(stream, once, atol=1e-6), "both routes must predict the same"
        first, last = options.mnt[0], options.mnt[-1]
        for route in ("stream", "all at once"):
            ratio = peaks[route, last] / peaks[route, first]
            print(f"{route}: peak memory at {last:g} Mnt / at {first:g} Mnt = {ratio:.2f}")
    return None


if __name__ == "__main__":
    main()
