"""Which motifs `hf-genomics motifs` finds: a planted one, nothing in shuffled controls, and CTCF's in human peaks.

    OMP_NUM_THREADS=1 python benchmarks/motifs.py planted --genome hg38_chr1_first1m.fa.gz --models runs/attribution/*
    OMP_NUM_THREADS=1 python benchmarks/motifs.py ctcf --peaks human_ctcf_peaks.fa.gz --output runs/motifs --docs docs

planted: 5 draws of sequences with one instance of a motif at a random place for each of the models that
benchmarks/attribution.py trained with such sequences. Controls: shuffles of a draw against those of the draw before.
ctcf: a small model learns to tell peaks from their shuffles; motifs are searched in peaks that it has not seen, and
compared with the consensus and with a motif that is made from counts of words alone. A finished model is not trained
again.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from attribution import CERTAIN, CONSENSUS, draw, read_genome
from sklearn.metrics import roc_auc_score

from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer, MotifOptions, motifs
from hf_genomics.genomes.shuffling import dinucleotide_shuffle
from hf_genomics.inference.windows import Window
from hf_genomics.interpretation.scoring import Settings, explain_windows
from hf_genomics.interpretation.targets import load_explained
from hf_genomics.motif_finding.matrices import background_of, best_sites, log_odds, matrix_of_word, scan, similarity
from hf_genomics.motif_finding.meme import MemeMotif, meme_text, read_meme
from hf_genomics.motif_finding.motifs import find_motifs
from hf_genomics.motif_finding.sequences import ScoredSequences, join_windows
from hf_genomics.motif_finding.sites import Motif, distances_from_centre, evaluate_motif, refine, sites_of
from hf_genomics.motif_finding.words import Word, compare_words
from hf_genomics.sequence import as_letters
from hf_genomics.sequence_files.fasta import read_records

STEPS = 16  # of integrated gradients, as `motifs` has them
PLANTED = 150  # sequences of a draw
CTCF, HELD_OUT = "CCASYAGRKGGCRSY", 4000
CTCF_PEAKS = slice(1000, 3000)  # of those held out; the first 1,000 were used while methods were chosen
OTHERS = 10_000  # peaks that no motif was made of, on which sites are counted
CTCF_STEPS, CTCF_BATCH = 1000, 64


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


def planted(genome: np.ndarray, folder: Path, draws: int) -> None:
    """Search a planted motif in several draws of sequences, and in shuffles only; print a line for each."""
    model, tokenizer = load_explained(str(folder))
    settings = Settings("ig", 1, "mean", STEPS, STEPS)
    wanted = matrix_of_word(CONSENSUS, CERTAIN + (1 - CERTAIN) / 4)
    controls, found_by_model, found_by_counting = [], 0, 0
    for seed in range(draws):
        random = np.random.default_rng([seed, 3])
        rows, labels, _ = draw(genome, 3 * PLANTED, random)
        rows = rows[labels == 1][:PLANTED]
        positives = scored(model, tokenizer, rows, settings)
        shuffles = scored(model, tokenizer, np.stack([dinucleotide_shuffle(row, random) for row in rows]), settings)
        found, summary = find_motifs(positives, shuffles, MotifOptions(seed=seed), paired=True)
        best = max((similarity(motif.matrix, wanted) for motif in found.motifs), default=0.0)
        counted = by_counting(found.words, positives, shuffles)
        plain = similarity(counted.matrix, wanted) if counted else 0.0
        print(folder.name, seed, f"correlation {best:.3f}, by counting {plain:.3f}", summary, flush=True)
        controls.append(shuffles)
        found_by_model, found_by_counting = found_by_model + (best >= 0.95), found_by_counting + (plain >= 0.95)
    lowest = [check_control(controls[seed], controls[seed - 1], seed) for seed in range(draws)]
    print(
        folder.name,
        f"correlation >= 0.95: {found_by_model} of {draws}, by counting {found_by_counting}; controls with a word at "
        f"q < 0.01: {sum(q < 0.01 for q in lowest)}, at q < 0.05: {sum(q < 0.05 for q in lowest)}, of {draws}",
        flush=True,
    )


def check_control(positives: ScoredSequences, negatives: ScoredSequences, seed: int) -> float:
    """Compare shuffles with other shuffles; print what is significant, and return the lowest q."""
    found, summary = find_motifs(positives, negatives, MotifOptions(seed=seed))
    lowest = min((word.q for word in found.words if word.q == word.q), default=1.0)
    print("control", seed, f"lowest q {lowest:.3f}", summary, flush=True)
    return lowest


def scored(
    model: KmerBertForSequenceClassification, tokenizer: KmerTokenizer, rows: np.ndarray, settings: Settings
) -> ScoredSequences:
    """Score sequences (count, nt)."""
    windows = [Window(number, str(number), 0, {"sequence": row}) for number, row in enumerate(rows)]
    return join_windows((one.window, one.scores) for one in explain_windows(model, tokenizer, windows, settings))


def by_counting(words: list[Word], positives: ScoredSequences, negatives: ScoredSequences) -> Motif | None:
    """Make a motif of the most significant word of all, without scores of a model."""
    best = min(words, key=lambda word: word.q_counting if word.q_counting == word.q_counting else 1.0)
    return refine(matrix_of_word(best.word), positives, negatives)


def share_at_one_percent(motif: MemeMotif | Motif, rows: np.ndarray) -> float:
    """Return the share of peaks (count, nt) with a site if 1 % of their shuffles have one."""
    random, names = np.random.default_rng(2), [""] * len(rows)
    peaks = ScoredSequences.of(names, list(rows))
    shuffles = ScoredSequences.of(names, [dinucleotide_shuffle(row, random) for row in rows])
    odds = log_odds(motif.matrix, background_of(shuffles), motif.sites)
    best = [best_sites(some, scan(some, odds)[0])[0] for some in (peaks, shuffles)]
    return float((best[0] > np.quantile(best[1], 0.99)).mean())


def ctcf(model: Path, peaks: list[tuple[str, np.ndarray]], others: np.ndarray, output: Path, docs: Path | None) -> None:
    """Search CTCF's motif in peaks that the model has not seen, and compare it with the consensus and with counting."""
    fasta = output / "peaks.fa"
    fasta.write_text("".join(f">{name}\n{letters.tobytes().decode()}\n" for name, letters in peaks))
    random, wanted = np.random.default_rng(1), matrix_of_word(CTCF, 1.0)
    decoys = [MemeMotif(f"random{number}", random.dirichlet([0.3] * 4, 14)) for number in range(60)]
    (output / "known.meme").write_text(meme_text([MemeMotif("CTCF_consensus", wanted), *decoys], np.full(4, 0.25)))
    begin, options = time.process_time(), MotifOptions(alpha=0.05, overwrite=True)
    folder = output / "ctcf_motifs"
    if not (folder / "motifs.json").exists():
        motifs(str(model), str(fasta), str(folder), "peak", compare=str(output / "known.meme"), options=options)
        print(f"{time.process_time() - begin:.0f} CPU s")
    print((folder / "motifs.json").read_text())
    for motif in read_meme(folder / "motifs.meme"):
        print(motif.name, f"correlation {similarity(motif.matrix, wanted):.3f}", np.round(motif.matrix, 2).tolist())
        print(f"sites in {share_at_one_percent(motif, others):.1%} of {len(others)} other peaks, 1 % of shuffles")
    for name in ("motifs.tsv", "pairs.tsv", "matches.tsv"):
        print((folder / name).read_text())
    begin = time.process_time()
    rows = [letters for _, letters in peaks]
    positives = ScoredSequences.of([name for name, _ in peaks], rows)
    negatives = ScoredSequences.of(positives.names, [dinucleotide_shuffle(row, random) for row in rows])
    words = compare_words(positives, 0.0, positives, negatives, 2)
    counted = by_counting(words, positives, negatives)
    distances = distances_from_centre(sites_of(counted, positives), positives.lengths)
    share = evaluate_motif(counted, positives, negatives).positives / len(positives)
    print(
        f"counting: {counted.name}, correlation {similarity(counted.matrix, wanted):.3f}, sites in {share:.1%}, median "
        f"distance {np.median(distances):.0f} nt, {time.process_time() - begin:.1f} CPU s"
    )
    print(f"sites in {share_at_one_percent(counted, others):.1%} of {len(others)} other peaks, 1 % of shuffles")
    if docs:
        [logo] = (folder / "logos").glob("1_*.png")
        shutil.copyfile(logo, docs / "motifs_ctcf.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["planted", "ctcf"])
    parser.add_argument("--genome", type=Path)
    parser.add_argument("--peaks", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/motifs"))
    parser.add_argument("--models", type=Path, nargs="+", default=[])
    parser.add_argument("--draws", type=int, default=5, help="of sequences, for each model")
    parser.add_argument("--docs", type=Path, help="folder for the logo of the documentation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "planted":
        genome = read_genome(arguments.genome)
        for folder in arguments.models:
            planted(genome, folder, arguments.draws)
        return
    names, peaks = read_peaks(arguments.peaks)
    order = np.random.default_rng(0).permutation(len(peaks))
    folder = arguments.output / "ctcf"
    if not (folder / "config.json").exists():
        train_ctcf(peaks[order[HELD_OUT:]], folder)
    some = [(names[row], peaks[row]) for row in order[CTCF_PEAKS]]
    ctcf(folder, some, peaks[order[HELD_OUT : HELD_OUT + OTHERS]], arguments.output, arguments.docs)


if __name__ == "__main__":
    main()
