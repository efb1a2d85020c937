"""Which motifs `hf-genomics motifs` finds: a planted one, nothing in shuffled controls, and CTCF's in human peaks.

    OMP_NUM_THREADS=1 python benchmarks/motifs.py planted --genome hg38_chr1_first1m.fa.gz --output runs/motifs
    OMP_NUM_THREADS=1 python benchmarks/motifs.py ctcf --peaks human_ctcf_peaks.fa.gz --output runs/motifs --docs docs

planted: sequences with one instance of a motif at a random place, as in benchmarks/attribution.py, for 5 draws of
sequences and each of 4 small models; the controls are dinucleotide shuffles of the same sequences, scored by the same
models. ctcf: a small model learns to tell peaks from their dinucleotide shuffles; motifs are searched in peaks that it
has not seen, and compared with the consensus and with a motif that is made from counts of 8-mers alone. Models that are
finished are not trained again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from attribution import read_genome, train
from sklearn.metrics import roc_auc_score

from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer
from hf_genomics.genomes.shuffling import dinucleotide_shuffle
from hf_genomics.sequence import as_letters
from hf_genomics.sequence_files.fasta import read_records

STRIDES, SEEDS = (1, 3), (0, 1)
CTCF_STEPS, CTCF_BATCH = 1000, 64


def train_planted(genome: np.ndarray, output: Path) -> dict[str, Path]:
    """Train the models that know the planted motif."""
    folders = {}
    for stride in STRIDES:
        for seed in SEEDS:
            folder = folders[f"stride {stride}, seed {seed}"] = output / f"planted-stride{stride}-{seed}"
            if not (folder / "config.json").exists():
                begin = time.process_time()
                model, auroc = train(stride, "mean", genome, seed)
                print(folder.name, f"test AUROC {auroc:.3f}", f"{time.process_time() - begin:.0f} CPU s", flush=True)
                save(model, KmerTokenizer(k=6, stride=stride), folder)
    return folders


def save(model: KmerBertForSequenceClassification, tokenizer: KmerTokenizer, folder: Path) -> None:
    """Save a model with its tokenizer."""
    for part in (tokenizer, model):
        part.save_pretrained(folder)


def read_peaks(path: Path) -> tuple[list[str], np.ndarray]:
    """Read the names and letters (count, nt) of peaks without unknown letters."""
    records = [record for record in read_records(path) if np.isin(record.letters & 0xDF, as_letters("ACGT")).all()]
    return [record.name for record in records], np.stack([record.letters & 0xDF for record in records])


def train_ctcf(peaks: np.ndarray, folder: Path) -> None:
    """Train a model to tell peaks (count, nt) from their dinucleotide shuffles, which are drawn as it learns."""
    torch.manual_seed(0)
    random, tokenizer = np.random.default_rng(0), KmerTokenizer(k=6)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    sizes |= {"id2label": {0: "shuffle", 1: "peak"}, "label2id": {"shuffle": 0, "peak": 1}}
    config = KmerBertConfig(k=6, classifier_pooling="mean", max_position_embeddings=128, **sizes)
    model = KmerBertForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, CTCF_STEPS)
    begin, held_out = time.process_time(), peaks[:512]
    for step in range(CTCF_STEPS):
        rows = peaks[512:][random.integers(0, len(peaks) - 512, CTCF_BATCH // 2)]
        loss = model(**beside_shuffles(rows, tokenizer, random)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(), schedule.step(), optimizer.zero_grad()
        if step % 100 == 99:
            print(step + 1, f"loss {loss.item():.3f}", flush=True)
    batch = beside_shuffles(held_out, tokenizer, random)
    with torch.no_grad():
        logits = model.eval()(**batch).logits
    auroc = roc_auc_score(batch["labels"], logits[:, 1] - logits[:, 0])
    print(folder.name, f"test AUROC {auroc:.3f}", f"{time.process_time() - begin:.0f} CPU s", flush=True)
    save(model, tokenizer, folder)


def beside_shuffles(rows: np.ndarray, tokenizer: KmerTokenizer, random: np.random.Generator) -> dict[str, torch.Tensor]:
    """Build a batch of sequences and their shuffles."""
    shuffles = np.stack([dinucleotide_shuffle(row, random) for row in rows])
    ids = torch.from_numpy(tokenizer.encode_batch([*rows, *shuffles])[0])
    return {"input_ids": ids, "labels": torch.arange(2).repeat_interleave(len(rows)).flip(0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["planted", "ctcf"])
    parser.add_argument("--genome", type=Path)
    parser.add_argument("--peaks", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/motifs"))
    parser.add_argument("--docs", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "planted":
        train_planted(read_genome(arguments.genome), arguments.output)
    else:
        _, peaks = read_peaks(arguments.peaks)
        peaks = np.random.default_rng(0).permutation(peaks)
        train_ctcf(peaks[4000:], arguments.output / "ctcf")


if __name__ == "__main__":
    main()
