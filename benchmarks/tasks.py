"""Fine-tune by the recipe of every task on real data, and print one table: the model, and the baselines beside it.

    OMP_NUM_THREADS=1 python benchmarks/tasks.py --data DATA --model model_cards/virus-wide --output runs/tasks
    OMP_NUM_THREADS=1 python benchmarks/tasks.py --data DATA ... --seeds 0 1 --only promoter tf_0 --minutes 60

DATA is a folder with tasks/NAME/{train,valid,test}.csv.gz for each task, and virus/ with phage_fragments_3kb.fasta.gz
and .tsv, nonphage.fasta.gz, virus_split.tsv and prokaryote_fragments_3kb.fasta.gz for the three classes. The labels of
the task "methylation" are not measured: they follow from what is known about two enzymes of the strain of
genomes/ecoli_k12_mg1655.fna.gz. Tasks run one after the other, first all of them with the first seed. A run that is
finished is not repeated, so a stopped command is simply started again; after ``--minutes`` no further run starts, and
the table holds what is there. Minutes in the table are processor time, baselines and scoring included.

Methylation and the tasks of 23 nt start from ``--short_model``, a model of 3-mers at stride 1
(recipes/pretrain_short_cpu.yaml). The intervals are 95 % bootstrap intervals over the rows of the test table (over
sequences, for labels per nucleotide): they say how much the score depends on the rows, not on the seed. With several
seeds, scores are means over the seeds. With ``--twins`` each task is also trained from random weights, with the same
rows, steps and seeds; the interval of the difference is over the same rows for both.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from safetensors import safe_open
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef

import hf_genomics.finetuning.finetune  # noqa: F401 (imported once, before the runs are forked)
from hf_genomics.cli import main as hf_genomics_command
from hf_genomics.sequence import reverse_complement

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
RESAMPLES = 200
#: DNA that an enzyme of E. coli K-12 methylates, and the place of the adenine in it that becomes 6mA: Dam reads GATC,
#: EcoKI AAC(N6)GTGC, of which the last is the other strand. REBASE lists both.
METHYLATED = {"GATC": 1, "AAC.{6}GTGC": 1, "GCAC.{6}GTT": 2}
SPLITS = ("train", "valid", "test")


class Task(NamedTuple):
    """One row of the table.

    Attributes:
        recipe: name of the recipe.
        score: name of the score in metrics.json.
        what: data and rows, in words.
        short: start from the model of 3-mers at stride 1.
    """

    recipe: str
    score: str
    what: str
    short: bool = False


TASKS = {
    "gue_prom_core_notata": Task("promoter", "mcc", "promoter or not, human, 70 nt"),
    "gue_tf_0": Task("tf_binding", "mcc", "transcription factor, human set 0, 101 nt"),
    "gue_tf_3": Task("tf_binding", "mcc", "transcription factor, human set 3, 101 nt"),
    "gue_mouse_2": Task("tf_binding", "mcc", "transcription factor, mouse set 2, 101 nt"),
    "gue_mouse_3": Task("tf_binding", "mcc", "transcription factor, mouse set 3, 101 nt"),
    "gue_emp_H3": Task("histone", "mcc", "histone mark H3, yeast, 500 nt"),
    "gue_emp_H3K4me3": Task("histone", "mcc", "histone mark H3K4me3, yeast, 500 nt"),
    "emp_multilabel": Task("histone_marks", "auroc", "ten histone marks at once, yeast, 500 nt"),
    "deepsea_sample": Task("chromatin_profiles", "auroc", "919 chromatin profiles, human, the middle 1000 nt"),
    "dranet_splice_sample": Task("splice_sites", "mcc", "splice donor, acceptor or neither, human, 402 nt"),
    "token_yeast_chr1_cds": Task("coding", "f1_macro", "coding on +, on - or not, per nucleotide, yeast"),
    "yeast_expression_defined": Task("expression", "spearman", "expression, yeast promoters, 110 nt"),
    "crispr_on_target_epigenetic": Task("crispr_on_target", "spearman", "CRISPR guides with epigenome, 23 nt", True),
    "crispr_off_target": Task("crispr_off_target", "auprc", "CRISPR guide and site, 23 + 23 nt", True),
    "dnabert_ft6_dev": Task("dnabert_file", "mcc", "DNABERT's file of 6-mer text, human promoters, 101 nt"),
    "methylation": Task("methylation", "mcc", "6mA or not, by the rule of two enzymes, E. coli, 41 nt", True),
    "three_classes": Task("three_classes", "mcc", "phage, other virus or prokaryote, 500 nt"),
}


# Tables.


def tables(name: str, data: Path, work: Path) -> dict[str, Path]:
    """Return the tables of a task by split; those that must be made first are written to a work folder."""
    made = {"deepsea_sample": deepsea, "dnabert_ft6_dev": dnabert, "three_classes": three_classes}
    made |= {"methylation": methylation}
    if name not in made:
        found = {split: data / "tasks" / name / f"{split}.csv.gz" for split in SPLITS}
        return {split: path for split, path in found.items() if path.exists()}
    folder = work / "tables" / name
    if not folder.exists():
        parts = made[name](data)
        folder.mkdir(parents=True)
        for split, table in parts.items():
            table.to_csv(folder / f"{split}.csv.gz", index=False)
    return {split: folder / f"{split}.csv.gz" for split in SPLITS if (folder / f"{split}.csv.gz").exists()}


def deepsea(data: Path) -> dict[str, pd.DataFrame]:
    """Cut the middle 1000 nt, give each of the 919 profiles a column, and split at random, 70 : 30."""
    table = pd.read_csv(data / "tasks" / "deepsea_sample" / "test.csv.gz", dtype=str)
    labels = pd.DataFrame([list(text) for text in table["labels919"]]).add_prefix("profile_")
    rows = pd.concat([table["sequence"].str[3500:4500], labels], axis=1)
    order = np.random.default_rng(0).permutation(len(rows))
    return {"train": rows.iloc[order[30:]], "test": rows.iloc[order[:30]]}


def dnabert(data: Path) -> dict[str, pd.DataFrame]:
    """Split the rows of DNABERT's dev.tsv, whose sequences are written as 6-mers, at random, 75 : 25."""
    table = pd.read_csv(data / "tasks" / "dnabert_ft6_dev" / "dev.csv.gz", dtype=str)
    rows = pd.DataFrame({"sequence": table["kmers6"], "label": table["label"]})
    order = np.random.default_rng(0).permutation(len(rows))
    return {"train": rows.iloc[order[250:]], "test": rows.iloc[order[:250]]}


#: Rows of each class in the tables of methylation.
METHYLATION_ROWS = {"train": 3000, "valid": 400, "test": 1000}


def methylation(data: Path, rows: dict[str, int] = METHYLATION_ROWS, flank: int = 20) -> dict[str, pd.DataFrame]:
    """Draw windows around adenines of either strand that two enzymes methylate, and around others that they do not.

    Each window whose middle is not methylated has a GATC somewhere else, so that counting k-mers is not enough.
    The first 70 % of the genome are for training, the next 10 % for validation and the rest for the test.
    """
    (_, genome), *_ = records(data / "genomes" / "ecoli_k12_mg1655.fna.gz")
    windows, random = [], np.random.default_rng(0)
    for strand in (genome, reverse_complement(genome)):
        methylated = {
            hit.start() + place for site, place in METHYLATED.items() for hit in re.finditer(f"(?={site})", strand)
        }
        for middle in (hit.start() for hit in re.finditer("A", strand)):
            sequence = strand[max(0, middle - flank) : middle + flank + 1]
            if len(sequence) == 2 * flank + 1 and (middle in methylated or "GATC" in sequence):
                place = middle if strand is genome else len(genome) - 1 - middle
                windows.append((sequence, int(middle in methylated), place / len(genome)))
    table = pd.DataFrame(windows, columns=["sequence", "label", "place"])
    found = {}
    for split, low, high in (("train", 0, 0.7), ("valid", 0.7, 0.8), ("test", 0.8, 1)):
        part = table[(table["place"] >= low) & (table["place"] < high)].groupby("label")
        drawn = part.sample(rows[split], random_state=random)
        found[split] = drawn[["sequence", "label"]].sample(frac=1, random_state=random)
    return found


def three_classes(data: Path) -> dict[str, pd.DataFrame]:
    """Draw pieces of 500 nt of three classes; viruses keep their splits, prokaryotes are split by genome."""
    folder, random = data / "virus", np.random.default_rng(0)
    phages = pd.read_csv(folder / "phage_fragments_3kb.tsv", sep="\t", index_col="id")["split"].to_dict()
    viruses = pd.read_csv(folder / "virus_split.tsv", sep="\t", index_col="accession")["split"].to_dict()
    hosts = {name.split("#")[0] for name, _ in records(folder / "prokaryote_fragments_3kb.fasta.gz")}
    drawn = random.choice(SPLITS, len(hosts), p=[0.8, 0.1, 0.1])
    of_host = dict(zip(sorted(hosts), drawn.tolist(), strict=True))
    sources = {
        "phage": ("phage_fragments_3kb", phages.get),
        "virus": ("nonphage", viruses.get),
        "prokaryote": ("prokaryote_fragments_3kb", lambda name: of_host[name.split("#")[0]]),
    }
    pieces: dict[str, list[dict[str, str]]] = {split: [] for split in SPLITS}
    for label, (file, split_of) in sources.items():
        found: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name, sequence in records(folder / f"{file}.fasta.gz"):
            starts = range(0, len(sequence) - 499, max(500, len(sequence) // 6))  # six pieces of a genome at most
            found[split_of(name) or "train"] += [sequence[start : start + 500] for start in starts]
        for split, most in zip(SPLITS, (2000, 200, 400), strict=True):
            chosen = random.permutation(len(found[split]))[:most]
            pieces[split] += [{"sequence": found[split][index], "label": label} for index in chosen]
    return {split: pd.DataFrame(rows).sample(frac=1, random_state=0) for split, rows in pieces.items()}


def records(path: Path) -> Iterator[tuple[str, str]]:
    """Iterate over the names and sequences of a FASTA file."""
    with gzip.open(path, "rt") as file:
        for record in file.read().removeprefix(">").split("\n>"):
            header, *lines = record.split("\n")
            yield header.split()[0], "".join(lines)


# Runs.


def folder_of(name: str, seed: int, arguments: argparse.Namespace, *, twin: bool = False) -> Path:
    """Return the output folder of a run."""
    return arguments.output / f"{name}-{seed}{'-twin' if twin else ''}"


def run(name: str, seed: int, found: dict[str, Path], arguments: argparse.Namespace, *, twin: bool) -> None:
    """Fine-tune by a task's recipe with one seed; the baselines are fitted with the first seed only."""
    task, folder = TASKS[name], folder_of(name, seed, arguments, twin=twin)
    model = arguments.short_model if task.short else arguments.model
    words = ["finetune", "--config", str(RECIPES / f"finetune_{task.recipe}.yaml"), "--pretrained", str(model)]
    for split, path in found.items():
        words += [f"--data.{split}", str(path)]
    if name == "deepsea_sample":
        words += ["--data.columns.labels", json.dumps([f"profile_{number}" for number in range(919)])]
    words += ["--baselines", json.dumps(["kmer", "conv"] if seed == arguments.seeds[0] and not twin else [])]
    words += ["--head.from_scratch", str(twin).lower()]
    words += ["--trainer.output_dir", str(folder), "--trainer.seed", str(seed), "--trainer.disable_tqdm", "true"]
    pid = os.fork()  # a process of its own, which need not import everything again
    if not pid:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os._exit(hf_genomics_command(words))
    _, status, used = os.wait4(pid, 0)
    if status:
        sys.exit(f"{name} failed; see {folder.with_suffix('.log')}")
    minutes = (used.ru_utime + used.ru_stime) / 60
    folder.with_suffix(".minutes").write_text(f"{minutes:.2f}\n")
    print(f"{folder.name}: {minutes:.1f} minutes of processor time", flush=True)


# Scores.

#: Name of a score -> computes it from scores and labels, (rows, ...).
SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mcc": lambda scores, labels: matthews_corrcoef(labels, scores.argmax(1)),
    "auprc": lambda scores, labels: average_precision_score(labels == 1, scores[:, 1]),
    "spearman": lambda scores, labels: scipy.stats.spearmanr(scores[:, 0], labels).statistic,
    "auroc": lambda scores, labels: np.nanmean(aurocs(scores, labels)),
}


def aurocs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Compute the AUROC of each column, NaN where one label is missing; NaN labels do not count."""
    known, positive = ~np.isnan(labels), labels == 1
    ranks = scipy.stats.rankdata(np.where(known, scores, np.inf), axis=0)  # those without a label come last
    ones, zeros = positive.sum(0), (known & ~positive).sum(0)
    above = (ranks * positive).sum(0) - ones * (ones + 1) / 2  # pairs in which the positive one is scored higher
    with np.errstate(invalid="ignore", divide="ignore"):
        return above / (ones * zeros)


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read scores, (rows, outputs), and labels, class ids (rows,), values (rows,) or yes/no (rows, labels)."""
    table = pd.read_csv(path, sep="\t", dtype={"id": str})
    names = [column.removeprefix("p_") for column in table if column.startswith("p_")]
    if not names:
        return table[["prediction"]].to_numpy(), table["label"].to_numpy()
    scores = table[[f"p_{name}" for name in names]].to_numpy()
    if "label" not in table:
        return scores, table[[f"label_{name}" for name in names]].to_numpy(float)
    return scores, np.array([names.index(str(label)) for label in table["label"]])


def resampled(name: str, folders: list[Path], test: Path) -> list[float]:
    """Compute a task's score, the mean over seeds, on rows drawn with replacement, `RESAMPLES` times."""
    random, score = np.random.default_rng(0), TASKS[name].score
    if score == "f1_macro":
        return resampled_nucleotides(folders, test, random)
    runs = [read_predictions(folder / "predictions.tsv") for folder in folders]
    found = []
    for _ in range(RESAMPLES):
        rows = random.integers(0, len(runs[0][1]), len(runs[0][1]))
        found.append(float(np.mean([SCORES[score](scores[rows], labels[rows]) for scores, labels in runs])))
    return found


def resampled_nucleotides(folders: list[Path], test: Path, random: np.random.Generator) -> list[float]:
    """Compute the macro F1 of nucleotides on sequences drawn with replacement."""
    labels = [list(text) for text in pd.read_csv(test, dtype=str)["token_labels"]]
    found = []
    for folder in folders:
        intervals = pd.read_csv(folder / "predictions.tsv", sep="\t", dtype=str)
        guesses: list[list[str]] = [[] for _ in labels]
        for row in intervals.itertuples():  # ids are row numbers, and the intervals of a row follow one another
            guesses[int(row.id) - 1] += [row.prediction] * (int(row.end) - int(row.start))
        found.append(guesses)
    draws = [random.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES)]
    return [
        float(
            np.mean(
                [f1_score(*(np.concatenate([x[i] for i in rows]) for x in (labels, g)), average="macro") for g in found]
            )
        )
        for rows in draws
    ]


def table_row(name: str, arguments: argparse.Namespace) -> str | None:
    """Return a task's row of the table, or None if no run of it is finished."""
    task = TASKS[name]
    folders = finished(name, arguments)
    if not folders:
        return None
    runs = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    found = tables(name, arguments.data, arguments.output)
    draws = np.array(resampled(name, folders, found["test"]))
    low, high = np.percentile(draws, [2.5, 97.5])
    of_first = {**runs[0].get("baselines", {})}
    guess = of_first.pop("mean", None) or of_first.pop("majority", {})
    kmer = next((scores for one, scores in of_first.items() if "mer" in one), {})
    conv = of_first.get("convolutional network", {})
    minutes = [float(folder.with_suffix(".minutes").read_text()) for folder in folders]
    score = np.mean([one["test"][task.score] for one in runs])
    cells = [
        f"{task.what} (`{name}`)",
        f"{runs[0]['train_sequences']:,} / {runs[0]['test_sequences']:,}",
        f"{parameters(folders[0]) / 1e6:.2f} M{', 3-mers' if task.short else ''}",
        str(len(folders)),
        ", ".join(f"{of_seed:.1f}" for of_seed in minutes),
        task.score,
        f"{score:.3f} ({low:.3f} to {high:.3f})",
        *(cell(scores.get(task.score)) for scores in (kmer, conv, guess)),
        f"{runs[0]['leaks'].get('train/test', 0):,}",
        *(twin_cells(name, score, draws, found["test"], arguments) if arguments.twins else ()),
    ]
    return f"| {' | '.join(cells)} |"


def finished(name: str, arguments: argparse.Namespace, *, twin: bool = False) -> list[Path]:
    """List the folders of a task's finished runs."""
    folders = [folder_of(name, seed, arguments, twin=twin) for seed in arguments.seeds]
    return [folder for folder in folders if (folder / "metrics.json").exists()]


def twin_cells(name: str, score: float, draws: np.ndarray, test: Path, arguments: argparse.Namespace) -> list[str]:
    """Return the score of the twins, and how far the model is above them, with its interval over the same draws."""
    folders = finished(name, arguments, twin=True)
    if len(folders) < len(finished(name, arguments)):  # means over other seeds cannot be compared
        return ["-", "-"]
    runs = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    of_twin = np.mean([one["test"][TASKS[name].score] for one in runs])
    low, high = np.percentile(draws - np.array(resampled(name, folders, test)), [2.5, 97.5])
    return [f"{of_twin:.3f}", f"{score - of_twin:+.3f} ({low:+.3f} to {high:+.3f})"]


def cell(score: float | None) -> str:
    """Return a score as text; a dash for a score without a value."""
    return "-" if score is None else f"{score:.3f}"


def parameters(folder: Path) -> int:
    """Count the parameters of a saved model."""
    with safe_open(folder / "model.safetensors", "np") as weights:
        return sum(int(np.prod(weights.get_slice(name).get_shape())) for name in weights.keys())  # noqa: SIM118


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("model_cards/virus-wide"))
    parser.add_argument("--short_model", type=Path, default=Path("runs/pretrain_short_cpu"))
    parser.add_argument("--output", type=Path, default=Path("runs/tasks"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--twins", action="store_true", help="train each task from random weights, too")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * arguments.minutes
    if absent := [name for name in arguments.only if "test" not in tables(name, arguments.data, arguments.output)]:
        parser.error(f"{arguments.data} has no tables of {', '.join(absent)}; name the folder that holds tasks/NAME")
    for seed in arguments.seeds:
        for name in arguments.only:
            found = tables(name, arguments.data, arguments.output)
            for twin in (False, True)[: 1 + arguments.twins]:
                is_finished = (folder_of(name, seed, arguments, twin=twin) / "metrics.json").exists()
                if not is_finished and time.monotonic() < end:
                    run(name, seed, found, arguments, twin=twin)
    columns = "task; rows, train / test; model; seeds; minutes; score; model (95 % CI); k-mers; conv; guess; leaks"
    titles = columns.split("; ") + (["twin", "above twin (95 % CI)"] if arguments.twins else [])
    print(f"\n| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for row in filter(None, (table_row(name, arguments) for name in arguments.only)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
