"""Which method finds a planted motif: integrated gradients, attention, rollout and gradient x input, on three models.

    OMP_NUM_THREADS=1 python benchmarks/attribution.py --genome hg38_chr1_first1m.fa.gz --output runs/attribution
    OMP_NUM_THREADS=1 python benchmarks/attribution.py --genome hg38_chr1_first1m.fa.gz --pictures docs   # first seed

Each positive sequence is 200 nt of a genome with one instance of a 10 nt motif (88 % consensus, as AP-1) at a random
place; each negative has the letters of such an instance in random order. A small model is trained to tell them apart,
first in sequences of 50 nt; in training, each positive has a negative that is the same elsewhere. Every method scores
the nucleotides of positives that the model calls correctly. AUROC: planted positions against the others within each
sequence, averaged over sequences. top10: share of the 10 highest positions that are planted. Models that are finished
are not trained again. How they are trained was chosen by the test AUROC of models of another seed, before any
attribution was computed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from transformers import PreTrainedModel

from hf_genomics import ExplainOptions, KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer, explain
from hf_genomics.inference.windows import Window
from hf_genomics.interpretation.attribution import baseline_embeddings, mean_kmer_embedding
from hf_genomics.interpretation.nucleotides import spread_sum
from hf_genomics.interpretation.scoring import Settings, WindowBatch, explain_windows
from hf_genomics.sequence import as_letters
from hf_genomics.sequence_files.fasta import read_records

LENGTH, CONSENSUS, CERTAIN = 200, "GGTGACTCAT", 0.88
MODELS = {"stride 1, mean": (1, "mean"), "stride 3, mean": (3, "mean"), "stride 1, [CLS]": (1, "cls")}
#: Stride -> phases of training: nt and number of sequences of a batch, and steps.
PHASES = {1: ((50, 64, 300), (LENGTH, 32, 80)), 3: ((50, 64, 600), (LENGTH, 32, 250))}
RATE, TESTED, EXPLAINED = 2e-3, 1024, 24
SLOW, FEW = ("occlusion", "ism", "nt_ig"), 8  # methods that score a few sequences of the first seed only


def read_genome(path: Path) -> np.ndarray:
    """Read the first record of a genome without its unknown letters."""
    letters = next(read_records(path)).letters & 0xDF
    return letters[np.isin(letters, as_letters("ACGT"))]


def draw(
    genome: np.ndarray, count: int, random: np.random.Generator, length: int = LENGTH, paired: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw sequences (count, nt), their labels and the starts of their motifs, (count,) each.

    With ``paired``, the second half are controls of the first half, which differ from it in the motif alone.
    """
    drawn, width = count // 2 if paired else count, len(CONSENSUS)
    starts = random.integers(0, len(genome) - length, drawn)
    rows = genome[starts[:, None] + np.arange(length)]
    kept = random.random((drawn, width)) < CERTAIN
    motifs = np.where(kept, as_letters(CONSENSUS), random.choice(as_letters("ACGT"), (drawn, width)))
    labels = np.repeat([1, 0], drawn) if paired else random.integers(0, 2, drawn)
    if paired:
        rows, motifs = np.tile(rows, (2, 1)), np.tile(motifs, (2, 1))
    motifs[labels == 0] = random.permuted(motifs[labels == 0], axis=1)
    places = random.integers(0, length - width + 1, drawn)
    places = np.tile(places, 2) if paired else places
    rows[np.arange(len(rows))[:, None], places[:, None] + np.arange(width)] = motifs
    return rows, labels, places


def train(stride: int, pooling: str, genome: np.ndarray, seed: int) -> tuple[KmerBertForSequenceClassification, float]:
    """Train a model on sequences drawn as it learns, first on short ones, and return it with its AUROC on new ones."""
    torch.manual_seed(seed)
    random, tokenizer = np.random.default_rng(seed), KmerTokenizer(k=6, stride=stride)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # no sequence is seen twice
    sizes |= {"id2label": {0: "control", 1: "planted"}, "label2id": {"control": 0, "planted": 1}}
    config = KmerBertConfig(k=6, stride=stride, classifier_pooling=pooling, max_position_embeddings=256, **sizes)
    model = KmerBertForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, sum(steps for *_, steps in PHASES[stride]))
    for length, batch, steps in PHASES[stride]:
        for _ in range(steps):
            rows, labels, _ = draw(genome, batch, random, length, paired=True)
            ids = torch.from_numpy(tokenizer.encode_batch(list(rows))[0])
            model(input_ids=ids, labels=torch.from_numpy(labels)).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step(), schedule.step(), optimizer.zero_grad()
    rows, labels, _ = draw(genome, TESTED, np.random.default_rng([seed, 1]))
    logits = predict(model.eval(), tokenizer, rows)
    return model, float(roc_auc_score(labels, logits[:, 1] - logits[:, 0]))


def predict(model: PreTrainedModel, tokenizer: KmerTokenizer, rows: np.ndarray) -> np.ndarray:
    """Compute logits (rows, classes)."""
    ids = torch.from_numpy(tokenizer.encode_batch(list(rows))[0])
    with torch.no_grad():
        return torch.cat([model(input_ids=part).logits for part in ids.split(64)]).numpy()


def best_match_auroc(genome: np.ndarray) -> float:
    """Compute the AUROC of a score that knows the motif: the letters that agree with it at the best place."""
    rows, labels, _ = draw(genome, 8000, np.random.default_rng(99))
    agree = np.lib.stride_tricks.sliding_window_view(rows, len(CONSENSUS), axis=1) == as_letters(CONSENSUS)
    return float(roc_auc_score(labels, agree.sum(-1).max(1)))


def gradient_times_input(model: PreTrainedModel, tokenizer: KmerTokenizer, windows: list[Window]) -> list[np.ndarray]:
    """Score nucleotides by gradient x (embedding - mean embedding): one step instead of a path."""
    batch = WindowBatch.of(model, tokenizer, windows, 1, torch.device("cpu"))
    table = model.get_input_embeddings().weight.detach()
    embedded = table[batch.func.batch["input_ids"]].requires_grad_()
    [gradient] = torch.autograd.grad(batch.func(torch.arange(len(windows)), embedded).sum(), embedded)
    way = embedded - baseline_embeddings(embedded, batch.kmers, mean_kmer_embedding(table, batch.k))
    scores = (way * gradient).sum(-1).detach().double().numpy()
    return [spread_sum(one, starts, batch.k, LENGTH) for one, starts in zip(scores, batch.starts, strict=True)]


def measure(
    model: PreTrainedModel, tokenizer: KmerTokenizer, genome: np.ndarray, seed: int, slow: bool
) -> dict[str, list[float]]:
    """Compute AUROC, top10 and CPU ms per sequence of every method, with ``slow`` also of those in SLOW."""
    rows, labels, places = draw(genome, 400, np.random.default_rng([seed, 2]))
    called = predict(model, tokenizer, rows).argmax(1)
    chosen = np.flatnonzero((labels == 1) & (called == 1))[:EXPLAINED]
    windows = [Window(number, str(number), 0, {"sequence": rows[row]}) for number, row in enumerate(chosen)]
    found = {}
    for method in ("ig", "rollout", "attention", "gradient x input", *(SLOW if slow else ())):
        some, begin = windows[: FEW if method in SLOW else EXPLAINED], time.process_time()
        if method == "gradient x input":
            scores = gradient_times_input(model, tokenizer, some)
        else:
            explanations = list(explain_windows(model, tokenizer, some, Settings(method=method, target=1)))
            scores = [one.scores for one in explanations]
            if method == "ig":
                errors = sorted(one.error for one in explanations)
                found["completeness error, worst and median"] = [errors[-1], errors[len(errors) // 2]]
        cost = (time.process_time() - begin) / len(some) * 1000
        planted = [np.isin(np.arange(LENGTH), place + np.arange(len(CONSENSUS))) for place in places[chosen]]
        pairs = list(zip(planted, scores, strict=False))
        top = [truth[np.argsort(-score, kind="stable")[: len(CONSENSUS)]].mean() for truth, score in pairs]
        found[method] = [float(np.mean([roc_auc_score(*pair) for pair in pairs])), float(np.mean(top)), cost]
    return found


def table(results: dict[str, list[dict]]) -> str:
    """Format a Markdown table: mean AUROC (lowest seed) / top10 / CPU ms of each method and model."""
    lines = [f"| method | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    aurocs = [[run["test AUROC"] for run in runs] for runs in results.values()]
    lines.append("| the model, test AUROC | " + " | ".join(f"{np.mean(values):.3f}" for values in aurocs) + " |")
    first = next(iter(results.values()))[0]
    for method in (name for name in first if name not in ("test AUROC", "seconds") and "error" not in name):
        cells = []
        for runs in results.values():
            values = np.array([run[method] for run in runs if method in run])
            mean, lowest = values.mean(0), values[:, 0].min()
            cells.append(f"{mean[0]:.3f} ({lowest:.3f}) / {mean[1]:.2f} / {mean[2]:.0f}")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    name = "completeness error, worst and median"
    errors = [np.array([run[name] for run in runs]).max(0) * 100 for runs in results.values()]
    cells = [f"{worst:.2g} % / {median:.2g} %" for worst, median in errors]
    lines.append(f"| completeness error of `ig`: worst row / largest median of a seed | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_pictures(folder: Path, genome: np.ndarray, docs: Path) -> None:
    """Draw a sequence, its logo and the entropy of the attention heads, as docs/explain.md shows them."""
    rows, labels, _ = draw(genome, 24, np.random.default_rng(7))
    texts = [row.tobytes().decode() for row in rows[labels == 1]]
    (folder / "planted.fa").write_text("".join(f">p{number}\n{text}\n" for number, text in enumerate(texts)))
    for method in ("ig", "rollout"):
        options = ExplainOptions(figures=1, overwrite=True)
        explain(str(folder), str(folder / "planted.fa"), str(folder / method), method, "planted", options=options)
    [window] = (folder / "ig" / "figures").glob("01_p*[0-9].png")
    shutil.copyfile(window, docs / "explain_window.png")
    shutil.copyfile(window.with_name(f"{window.stem}_logo.png"), docs / "explain_logo.png")
    shutil.copyfile(folder / "rollout" / "figures" / "entropy.png", docs / "explain_entropy.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genome", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/attribution"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    parser.add_argument("--pictures", type=Path, help="folder for the pictures of the documentation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = arguments.seeds[:1] if arguments.pictures else arguments.seeds
    genome, results = read_genome(arguments.genome), {name: [] for name in MODELS}
    for seed in seeds:
        for name, (stride, pooling) in MODELS.items():
            folder = arguments.output / f"{pooling}-stride{stride}-{seed}"
            if not (folder / "scores.json").exists():
                begin, tokenizer = time.process_time(), KmerTokenizer(k=6, stride=stride)
                model, auroc = train(stride, pooling, genome, seed)
                seconds = time.process_time() - begin
                for part in (model, tokenizer):
                    part.save_pretrained(folder)
                scores = {"test AUROC": auroc, "seconds": seconds}
                scores |= measure(model, tokenizer, genome, seed, slow=seed == seeds[0])
                (folder / "scores.json").write_text(json.dumps(scores, indent=1))
            results[name].append(json.loads((folder / "scores.json").read_text()))
            print(name, seed, json.dumps(results[name][-1]), flush=True)
    print(table(results))
    print(f"best match to the motif, AUROC: {best_match_auroc(genome):.3f}")
    if arguments.pictures:
        draw_pictures(arguments.output / f"mean-stride1-{seeds[0]}", genome, arguments.pictures)


if __name__ == "__main__":
    main()
