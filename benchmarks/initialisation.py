"""Compare initial weights ("start") and masks of k-mer models: loss and downstream score against pretraining tokens.

    python benchmarks/initialisation.py start --data DATA --output runs/initialisation    # ablation, scales, k
    python benchmarks/initialisation.py masks --data DATA --output runs/initialisation    # spans, strides
    python benchmarks/initialisation.py start --output runs/initialisation --only base-kmer base-bert
    python benchmarks/initialisation.py start --table docs/results.md      # docs/initialisation.png, of the table there

DATA is a folder with phage.fasta.gz, nonphage.fasta.gz and virus_split.tsv (columns accession, class and split;
related genomes are in the same split). Each variant pretrains a model of 3 layers x 128 on windows of 150
nt (32 windows a step; AdamW with a learning rate of 2e-3, constant after a warm-up of 0.2 M tokens; no dropout) in a
process of its own with one thread. All models have the weights of a plain BERT; only their initial values differ:

    embeddings   standard deviation of compositional k-mer embeddings, or 0 for BERT's N(0, 0.02^2)
    positions    amplitude of the sinusoids as which learned position embeddings start, or 0 for N(0, 0.02^2)
    spared       whether word embeddings are 0 in a quarter of the features, which only positions use
    attention    logit by which heads prefer neighbours (see `neighbour_weights`), or 0 for no preference

Validation windows come from other groups of genomes than the training windows. A low loss alone proves nothing, so
every variant is also scored on a downstream task, phage or other virus. "probe" is logistic regression on the mean of
the last hidden states; its training windows come from the 10 % of the training genomes that are labelled, its test
windows from groups never seen. The study `masks` also fine-tunes, with the verb `finetune`. A variant that is finished
is not run again. The script writes one JSON file with the curve of each variant and curves-STUDY.png, and prints the
tables.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
SIZES = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
NT, BATCH, RATE, WARMUP = 150, 32, 2e-3, 200_000
KMER = {"embeddings": 0.1, "positions": 0.084, "attention": 6.0, "spared": True}
BERT = dict.fromkeys(KMER, 0.0)
TWICE = {"embeddings": 0.2, "positions": 0.168}
BASE = {"k": 6, "stride": 1, "span": 6, "start_rate": 0.025}
SETUPS = {"base": BASE, "mask8": BASE | {"span": 8}, "stride3": BASE | {"stride": 3, "span": 3}}
FINETUNING = {"tokens": 800_000, "batch": 32}
#: Groups of the picture: heading -> label -> variants, the k-mer initialisation or a change of it first, BERT's second.
GROUPS: dict[str, dict[str, list[str]]] = {
    "set-up": {name: [f"{name}-kmer", f"{name}-bert"] for name in SETUPS},
    "positions, base": {name: [f"{name}-kmer", f"{name}-bert"] for name in ("sinusoidal", "rotary")},
    "k, stride 1, spans of k": {f"k = {k}": [f"k{k}-kmer", f"k{k}-bert"] for k in (5, 4, 3)},
    "some parts only, base": {
        parts: [f"base-{parts.replace(' ', '')}"]
        for parts in (
            "embeddings",
            "positions",
            "embeddings + positions",
            "positions + attention",
            "embeddings + positions + attention",
        )
    },
    "scales of embeddings and positions, base": {
        f"{scale} and {other}": [f"base-{scale}-{other}-6"]
        for scale, other in (("0.05", "0.042"), ("0.2", "0.168"), ("0.4", "0.336"))
    },
    "peak of attention, base": {f"{peak}": [f"base-0.1-0.084-{peak}"] for peak in (3, 12)},
}


def variants(study: str) -> dict[str, dict[str, Any]]:
    """Return the variants of a study by name; "-kmer" and "-bert" differ in initial weights only."""
    if study == "masks":
        found = {"stride 1, span 6, 3.35 % hidden (base)": BASE | KMER}
        for stride, span in ((1, 6), (1, 12), (1, 24), (3, 3), (6, 1)):
            setup = {"k": 6, "stride": stride, "span": span, "hidden_fraction": 0.15}
            found[f"stride {stride}, span {span}, 15 % hidden"] = setup | KMER
        found["stride 6, span 1, 15 % hidden, BERT's start"] = setup | BERT
        found["stride 6, span 1, 15 % hidden, twice the scale"] = setup | KMER | TWICE
        return found
    found = {}
    for name, setup in SETUPS.items():
        found |= {f"{name}-kmer": setup | KMER, f"{name}-bert": setup | BERT}
    for parts in (
        ("embeddings",),
        ("positions",),
        ("embeddings", "positions"),
        ("positions", "attention"),
        ("embeddings", "positions", "attention"),
    ):
        found[f"base-{'+'.join(parts)}"] = BASE | BERT | {part: KMER[part] for part in parts}
    for kind in ("sinusoidal", "rotary"):
        for name, begin in (("kmer", KMER), ("bert", BERT)):
            found[f"{kind}-{name}"] = BASE | begin | {"position_embedding_type": kind}
    for embeddings, positions, attention in (
        (0.05, 0.042, 6.0),
        (0.2, 0.168, 6.0),
        (0.4, 0.336, 6.0),
        (0.1, 0.084, 3.0),
        (0.1, 0.084, 12.0),
    ):
        scales = {"embeddings": embeddings, "positions": positions, "attention": attention}
        found[f"base-{embeddings}-{positions}-{attention:g}"] = BASE | KMER | scales
    for k in (5, 4, 3):
        setup = BASE | {"k": k, "span": k}
        found |= {f"k{k}-kmer": setup | KMER, f"k{k}-bert": setup | BERT}
    return found


def begin_with(model: Any, variant: dict[str, Any]) -> None:
    """Change those initial weights of a BERT that the variant takes from `initialisation: kmer`."""
    import torch

    from hf_genomics.initialisation import kmer_embeddings, reserved_features
    from hf_genomics.positions import sinusoidal_positions

    tables = model.bert.embeddings
    words, places = tables.word_embeddings.weight, tables.position_embeddings.weight
    spared = reserved_features(model.config) if variant["spared"] else 0
    with torch.no_grad():
        if variant["embeddings"]:
            words[5:] = kmer_embeddings(variant["k"], words.shape[1], variant["embeddings"], reserved=spared)
            words[2, :spared] = 0.0
            words[2] -= sinusoidal_positions(1, words.shape[1], variant["positions"])[0]  # [CLS]
            tables.token_type_embeddings.weight[:, :spared] = 0.0
        if variant["positions"]:
            places.copy_(sinusoidal_positions(*places.shape, variant["positions"]))
        for layer in model.bert.encoder.layer if variant["attention"] else []:
            look_at_neighbours(layer.attention.self, model.config, variant["attention"])


def look_at_neighbours(attention: Any, config: Any, peak: float) -> None:
    """Change query and key weights so that each head prefers tokens at its own small distance."""
    from hf_genomics.initialisation import neighbour_offsets, neighbour_weights
    from hf_genomics.positions import LEARNED_BASE

    offsets = neighbour_offsets(config.num_attention_heads, config.k, config.stride)
    query, key = neighbour_weights(config.hidden_size, offsets, LEARNED_BASE, peak)
    attention.query.weight += query
    attention.key.weight += key


class Pretraining:
    """One variant: its data, its model, and its curve."""

    def __init__(self, store: Path, variant: dict[str, Any], seed: int) -> None:
        import torch

        from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
        from hf_genomics.batches.span_masking import DataCollatorForSpanMasking
        from hf_genomics.genomes.sampling import WindowSampling
        from hf_genomics.genomes.store import GenomeStore
        from hf_genomics.genomes.windows import WindowDataset

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.store = GenomeStore(store)
        self.tokenizer = KmerTokenizer(k=variant["k"], stride=variant["stride"])
        doses = {name: variant[name] for name in ("span", "start_rate", "hidden_fraction") if name in variant}
        self.collator = DataCollatorForSpanMasking(self.tokenizer, **doses, seed=seed, pack_to=0)
        fixed = WindowSampling(mode="fixed", length=NT, rc_probability=0.5)
        self.training = WindowDataset(self.store, fixed, self.store.select("train"), seed)
        held_out = WindowDataset(self.store, fixed, self.store.select("valid"), seed=1, size=256)
        self.validation = [self.collator(held_out.__getitems__(list(range(at, at + 64)))) for at in range(0, 256, 64)]
        ours = variant.items() >= KMER.items()
        config = KmerBertConfig(
            **SIZES,
            k=variant["k"],
            stride=variant["stride"],
            vocab_size=len(self.tokenizer),
            initialisation="kmer" if ours else "bert",
            position_embedding_type=variant.get("position_embedding_type", "absolute"),
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.model = KmerBertForMaskedLM._from_config(config, attn_implementation="sdpa")
        if not ours and not variant.items() >= BERT.items():
            begin_with(self.model, variant)

    def score(self) -> dict[str, float]:
        """Average loss and accuracy over the masked tokens of the validation windows."""
        import torch

        losses, right, masked = 0.0, 0, 0
        self.model.eval()
        with torch.no_grad():
            for batch in self.validation:
                labels = batch["labels"]
                places = labels != -100
                rest = {name: column for name, column in batch.items() if name != "labels"}
                logits = self.model(**rest).logits[places]
                losses += float(torch.nn.functional.cross_entropy(logits, labels[places], reduction="sum"))
                right, masked = right + int((logits.argmax(-1) == labels[places]).sum()), masked + int(places.sum())
        self.model.train()
        return {"loss": losses / masked, "accuracy": right / masked}

    def run(self, stops: list[int], every: int, folder: Path) -> dict[str, Any]:
        """Train up to the last of ``stops`` (in tokens), score after every ``every`` tokens, and save at each stop."""
        import torch

        optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01)
        tokens, window, begin = 0, 0, time.process_time()
        curve = [{"tokens": 0, "seconds": 0.0} | self.score()]
        stops, probes = sorted(stops), {}
        next_score = every
        if 0 in stops:
            probes[0] = self.keep(folder, stops.pop(0))
        while stops:
            # Windows of mode "fixed" lie at random places anyway, so they are taken in the order of their numbers.
            rows = [(window + row) % len(self.training) for row in range(BATCH)]
            window += BATCH
            batch = self.collator(self.training.__getitems__(rows))
            optimizer.param_groups[0]["lr"] = RATE * min(1.0, (tokens + 1) / WARMUP)
            self.model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            tokens += batch["input_ids"].numel()
            if tokens >= next_score or tokens >= stops[0]:
                curve.append({"tokens": tokens, "seconds": time.process_time() - begin} | self.score())
                next_score = (tokens // every + 1) * every
            if tokens >= stops[0]:
                stop = stops.pop(0)
                probes[stop] = self.keep(folder, stop)
        return {"curve": curve, "probes": probes}

    def keep(self, folder: Path, stop: int) -> dict[str, float]:
        """Save model and tokenizer, and score a linear probe on its hidden states."""
        place = folder / f"{stop}"
        self.model.save_pretrained(place)
        self.tokenizer.save_pretrained(place)
        return probe(self.model, self.tokenizer, self.store)


def probe(model: Any, tokenizer: Any, store: Any) -> dict[str, float]:
    """Score logistic regression on the mean of the last hidden states of labelled windows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = probe_windows(store)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    classifier.fit(mean_states(model, tokenizer, train.sequences), train.labels)
    probabilities = classifier.predict_proba(mean_states(model, tokenizer, test.sequences))[:, 1]
    recall = recall_score(test.labels, probabilities > 0.5, average="macro")
    return {"macro_recall": float(recall), "auroc": float(roc_auc_score(test.labels, probabilities))}


def probe_windows(store: Any) -> list[Any]:
    """Cut the training and test windows of the probe."""
    from hf_genomics.labelled.windows import LabelledWindows, labelled_windows

    common = {"label_column": "class", "balanced": True}
    return [
        labelled_windows(store, "train", LabelledWindows(NT, per_genome=24, label_fraction=0.1), **common),
        labelled_windows(store, "test", LabelledWindows(NT, per_genome=16), **common),
    ]


def mean_states(model: Any, tokenizer: Any, sequences: list[np.ndarray]) -> np.ndarray:
    """Compute the mean of the last hidden states of each sequence, (sequences, hidden)."""
    import torch

    states = []
    model.eval()
    with torch.no_grad():
        for at in range(0, len(sequences), 128):
            batch = tokenizer([bytes(letters).decode() for letters in sequences[at : at + 128]], return_tensors="pt")
            states.append(model.bert(**batch).last_hidden_state[:, 1:-1].mean(1).numpy())
    model.train()
    return np.concatenate(states)


def finetune(folder: Path, store: Path, stride: int, seed: int, *extra: str) -> None:
    """Fine-tune by the recipe, on about the same number of tokens at any stride."""
    if (folder / "metrics.json").exists():
        return
    steps = round(FINETUNING["tokens"] / (FINETUNING["batch"] * (NT // stride)))
    options = ["--config", str(RECIPES / "finetune_phage_150nt_cpu.yaml"), "--data.store", str(store), *extra]
    options += ["--trainer.max_steps", str(steps), "--baseline_k", "0"]
    options += ["--trainer.per_device_train_batch_size", str(FINETUNING["batch"])]
    options += ["--trainer.per_device_eval_batch_size", "64"]
    options += ["--trainer.seed", str(seed), "--trainer.output_dir", str(folder), "--trainer.disable_tqdm", "true"]
    run([sys.executable, "-m", "hf_genomics", "finetune", *options], folder.with_suffix(".log"))


def run(command: list[str], log: Path) -> None:
    """Run a command with one thread and write its output to a log; exit if the command fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(log, "w") as file:
        if subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | quiet).returncode:
            sys.exit(f"{' '.join(command)} failed; see {log}")


def one(arguments: argparse.Namespace, name: str) -> None:
    """Run one variant in this process, unless it is finished."""
    variant = variants(arguments.study)[name]
    folder = arguments.output / arguments.study / slug(name)
    if not (folder / "curve.json").exists():
        begin = time.monotonic()
        found = Pretraining(arguments.output / "store", variant, arguments.seed).run(
            arguments.stops, arguments.every, folder
        )
        (folder / "curve.json").write_text(json.dumps({"name": name, "variant": variant} | found, indent=1))
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    if arguments.study == "masks":
        for seed in arguments.finetuning_seeds:
            for stop in (arguments.stops[0], arguments.stops[-1]):
                extra = ("--pretrained", str(folder / str(stop)))
                finetune(
                    folder / f"finetuned-{stop}-{seed}", arguments.output / "store", variant["stride"], seed, *extra
                )
            twin = ("--pretrained", str(folder / str(arguments.stops[0])), "--head.from_scratch", "true")
            place = arguments.output / "masks" / f"twin-stride-{variant['stride']}-{seed}"
            finetune(place, arguments.output / "store", variant["stride"], seed, *twin)


def slug(name: str) -> str:
    """Return the name of a variant as part of a file name."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in name)


def tokens_to(curve: list[dict[str, float]], threshold: float) -> float | None:
    """Interpolate the tokens after which the validation loss first was at or below a threshold.

    >>> tokens_to([{"tokens": 0, "loss": 8.0}, {"tokens": 100, "loss": 6.0}], 7.0)
    50.0
    """
    if curve[0]["loss"] <= threshold:
        return 0.0
    for before, after in zip(curve, curve[1:], strict=False):
        if after["loss"] <= threshold:
            share = (before["loss"] - threshold) / (before["loss"] - after["loss"])
            return before["tokens"] + share * (after["tokens"] - before["tokens"])
    return None


def start_table(found: dict[str, dict[str, Any]]) -> str:
    """Format the table of the study `start`.

    It shows loss, accuracy, probe, and the tokens until the loss is 78 % (past the plateau) and 48 % of that of a
    blind guess.
    """
    head = [
        "variant",
        "validation loss",
        "accuracy",
        "M tokens to 78 %",
        "to 48 %",
        "probe: macro recall (%)",
        "AUROC",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, result in found.items():
        curve, last = result["curve"], result["curve"][-1]
        scores = list(result["probes"].values())[-1]
        guess = result["variant"]["k"] * np.log(4)
        reached = [tokens_to(curve, share * guess) for share in (0.78, 0.48)]
        cells = [f"{last['loss']:.2f}", f"{last['accuracy']:.3f}"]
        cells += ["never" if tokens is None else f"{tokens / 1e6:.2f}" for tokens in reached]
        cells += [f"{100 * scores['macro_recall']:.1f}", f"{scores['auroc']:.3f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def masks_table(found: dict[str, dict[str, Any]], output: Path, seeds: list[int]) -> str:
    """Format the table of the study `masks`: macro recall of probe and fine-tuned model by pretraining tokens."""
    stops = list(next(iter(found.values()))["probes"])
    columns = [f"{int(stop) / 1e6:g} M" for stop in stops]
    head = [
        "set-up",
        "loss",
        *(f"probe {c}" for c in columns),
        *(f"fine-tuned {c}" for c in (columns[0], columns[-1])),
        "twin",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, result in found.items():
        folder = output / "masks" / slug(name)
        places = [[folder / f"finetuned-{stop}-{seed}" for seed in seeds] for stop in (stops[0], stops[-1])]
        places.append([output / "masks" / f"twin-stride-{result['variant']['stride']}-{seed}" for seed in seeds])
        cells = [f"{result['curve'][-1]['loss']:.2f}"]
        cells += [f"{100 * result['probes'][stop]['macro_recall']:.1f}" for stop in stops]
        lines.append(f"| {name} | {' | '.join(cells + [recalls(folders) for folders in places])} |")
    return "\n".join(lines)


def recalls(folders: list[Path]) -> str:
    """Format the test macro recalls (%) of those runs that are finished."""
    done = [folder / "metrics.json" for folder in folders if (folder / "metrics.json").exists()]
    return ", ".join(f"{100 * json.loads(file.read_text())['test']['macro_recall']:.1f}" for file in done) or "-"


def draw(found: dict[str, dict[str, Any]], file: Path) -> None:
    """Draw validation loss against pretraining tokens."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for number, (name, result) in enumerate(found.items()):
        curve = result["curve"]
        line = ("-", "--", ":")[number // 10]
        axes.plot([point["tokens"] / 1e6 for point in curve], [point["loss"] for point in curve], line, label=name)
    axes.set(xlabel="pretraining tokens (millions)", ylabel="validation loss (nats per masked token)")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(file, dpi=120)


def read_losses(page: str) -> dict[str, float]:
    """Read the validation losses of the variants from a page that holds the table of the study `start`."""
    cells = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in page.splitlines() if "|" in line]
    return {row[0]: float(row[1]) for row in cells if row[0] in variants("start") and len(row) == 7}


def draw_losses(losses: dict[str, float], file: Path) -> None:
    """Draw the validation loss of every variant of the study `start`, a row for each set-up."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    heights = [len(rows) for rows in GROUPS.values()]
    figure, axes = pyplot.subplots(
        len(GROUPS), 1, figsize=(8, 6.4), sharex=True, height_ratios=heights, layout="constrained"
    )
    for ax, (heading, rows) in zip(axes, GROUPS.items(), strict=True):
        for row, names in enumerate(rows.values()):
            found = [losses[name] for name in names]
            ax.plot(found, [row] * len(found), color="#9aa4ae", linewidth=2, zorder=1)
            for loss, color, kind in zip(
                found, ("#0072B2", "#D55E00"), ("k-mer initialisation", "BERT's"), strict=False
            ):
                ax.scatter(loss, row, s=42, color=color, label=kind if not row else None, zorder=2)
                beside = {"xytext": (7, 0), "ha": "left"} if loss == found[-1] else {"xytext": (-7, 0), "ha": "right"}
                place = {"textcoords": "offset points", "va": "center", "fontsize": 8} | beside
                ax.annotate(f"{loss:.2f}", (loss, row), **place)
        ax.set_yticks(range(len(rows)), rows, fontsize=8.5)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_title(heading, loc="left", fontsize=9, fontweight="bold")
        ax.grid(axis="x", color="#e4e7eb")
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(length=0)
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.1), ncols=2, frameon=False, fontsize=9)
    axes[-1].set_xlim(0, 8.6)
    axes[-1].set_xlabel("validation loss after 1.2 M tokens (nats per masked token)")
    figure.savefig(file, dpi=130)


def prepare(arguments: argparse.Namespace) -> None:
    """Prepare the genome store, unless it exists already."""
    if (arguments.output / "store").exists():
        return
    if arguments.data is None:
        sys.exit(f"{arguments.output / 'store'} does not exist; pass --data")
    files = [str(arguments.data / name) for name in ("phage.fasta.gz", "nonphage.fasta.gz")]
    command = [sys.executable, "-m", "hf_genomics", "prepare", "--fasta", *files]
    command += ["--metadata", str(arguments.data / "virus_split.tsv"), "--output_dir", str(arguments.output / "store")]
    run(command, arguments.output / "prepare.log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=("start", "masks"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/initialisation"))
    parser.add_argument("--only", nargs="+", help="names of variants, or parts of names; by default all")
    parser.add_argument("--stops", type=int, nargs="+", help="pretraining tokens at which to score downstream")
    parser.add_argument("--every", type=int, default=100_000, help="tokens between two points of a curve")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finetuning_seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--variant", help=argparse.SUPPRESS)  # run this one here
    parser.add_argument("--table", type=Path, help="only draw the losses of a page that holds the table of `start`")
    arguments = parser.parse_args()
    if arguments.table:
        return draw_losses(read_losses(arguments.table.read_text()), arguments.table.parent / "initialisation.png")
    arguments.stops = arguments.stops or ([1_200_000] if arguments.study == "start" else [0, 1_000_000, 3_000_000])
    if arguments.variant:
        return one(arguments, arguments.variant)
    prepare(arguments)
    names = [n for n in variants(arguments.study) if not arguments.only or any(part in n for part in arguments.only)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = {name: pool.submit(run, _command(name), _log(arguments, name)) for name in names}
        for name, job in jobs.items():
            job.result()
            print(name, flush=True)
    files = {name: arguments.output / arguments.study / slug(name) / "curve.json" for name in names}
    found = {name: json.loads(file.read_text()) for name, file in files.items()}
    draw(found, arguments.output / f"curves-{arguments.study}.png")
    is_start = arguments.study == "start"
    print(start_table(found) if is_start else masks_table(found, arguments.output, arguments.finetuning_seeds))


def _command(name: str) -> list[str]:
    return [sys.executable, *sys.argv, "--variant", name]


def _log(arguments: argparse.Namespace, name: str) -> Path:
    return arguments.output / arguments.study / f"{slug(name)}.log"


if __name__ == "__main__":
    main()
