"""Classify phages and other viruses at CPU size: pretrained models, their twins without pretraining, a 4-mer baseline.

    python benchmarks/phage.py --length 150 --data DATA --output runs/phage
    python benchmarks/phage.py --length 150 --pooling mean --data DATA --output runs/phage   # instead of [CLS]
    python benchmarks/phage.py --length 1000 --data DATA --output runs/phage

DATA is a folder with phage.fasta.gz, nonphage.fasta.gz and virus_split.tsv (columns accession, class and split; related
genomes are in the same split), or the folder that the command ``hf-genomics download --accessions
recipes/data/virus_accessions.tsv`` wrote. For every seed and set-up, the script follows the recipes: it pretrains,
fine-tunes with the labels of 10 % of the training genomes, fine-tunes the twin (the same model without pretraining),
and scores both on the test split. Runs that are finished are not repeated, so one pretraining serves all lengths and
poolings.

There are two set-ups: "wide" (stride 6; 15 % of the tokens and of the nucleotides are hidden) and "base" (as in the
paper: stride 1, spans of 6 tokens). At stride 1, a sequence of 1000 nt is read in two parts, as in the paper. Jobs run
in parallel with one thread each: on small models, two processes are faster than two threads.
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

import numpy as np

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
METRICS = ("macro_recall", "f1", "auroc")
# Steps of fine-tuning and windows per step, the same for twin and pretrained model. At stride 1 a window has six times
# as many tokens as at stride 6, so fewer windows are used, to stay within minutes.
STEPS = {("wide", 150): (500, 128), ("base", 150): (100, 128), ("wide", 1000): (500, 64), ("base", 1000): (40, 32)}


def hf_genomics(verb: str, log: Path, *options: str) -> None:
    """Run a verb in a process of its own and write its output to a log; exit if the verb fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(log, "w") as file:
        command = [sys.executable, "-m", "hf_genomics", verb, *options]
        if subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment).returncode:
            sys.exit(f"{' '.join(command)} failed; see {log}")


def run_unless_done(verb: str, folder: Path, *options: str) -> None:
    """Run a verb that writes to a folder, unless the folder holds a finished run."""
    if not (folder / "metrics.json").exists():
        begin = time.monotonic()
        log = folder.with_suffix(".log")
        hf_genomics(verb, log, *options, "--trainer.output_dir", str(folder), "--trainer.disable_tqdm", "true")
        (folder / "minutes.txt").write_text(f"{(time.monotonic() - begin) / 60:.2f}\n")
        print(f"{folder.name}: {(time.monotonic() - begin) / 60:.1f} min", flush=True)


def finetuned(output: Path, length: int, pooling: str, setup: str, arm: str, seed: int) -> Path:
    """Return the folder of a fine-tuned model; ``arm`` is "pretrained" or "twin"."""
    return output / "-".join([f"{length}nt", *([] if pooling == "cls" else [pooling]), setup, arm, str(seed)])


def chain(output: Path, length: int, pooling: str, setup: str, seed: int) -> None:
    """Pretrain (once for all lengths and poolings), fine-tune the pretrained model, and fine-tune the twin."""
    pretrained = output / f"pretrained-{setup}-{seed}"
    store = ("--data.store", str(output / "store"))
    recipe = RECIPES / f"pretrain_{setup}_cpu.yaml"
    run_unless_done("pretrain", pretrained, "--config", str(recipe), *store, "--trainer.seed", str(seed))
    steps, batch = STEPS[setup, length]
    recipe = RECIPES / f"finetune_phage_{length}nt_cpu.yaml"
    options = ["--config", str(recipe), *store, "--pretrained", str(pretrained)]
    options += ["--trainer.seed", str(seed), "--data.seed", str(seed), "--head.pooling", pooling]
    options += ["--trainer.max_steps", str(steps), "--trainer.per_device_train_batch_size", str(batch)]
    options += ["--trainer.per_device_eval_batch_size", "64"] if setup == "base" else []
    options += ["--head.num_parts", "2"] if (setup, length) == ("base", 1000) else []
    for arm, extra in (("pretrained", []), ("twin", ["--head.from_scratch", "true"])):
        baseline = ["--baseline_k", "4" if (setup, arm) == ("wide", "pretrained") else "0"]
        run_unless_done("finetune", finetuned(output, length, pooling, setup, arm, seed), *options, *extra, *baseline)


def scores(output: Path, length: int, pooling: str, seeds: list[int]) -> dict[str, np.ndarray]:
    """Collect macro recall, F1 and AUROC of each model on the test split, (seeds, metrics)."""
    found = {}
    for setup in ("wide", "base"):
        for arm in ("pretrained", "twin"):
            folders = [finetuned(output, length, pooling, setup, arm, seed) for seed in seeds]
            runs = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
            found[f"{setup}, {arm}"] = np.array([[run["test"][name] for name in METRICS] for run in runs])
            if runs[0].get("baselines", {}).keys() > {"majority"}:
                for name in runs[0]["baselines"]:
                    found[name] = np.array([[run["baselines"][name][metric] for metric in METRICS] for run in runs])
    return found


def table(found: dict[str, np.ndarray], seeds: list[int]) -> str:
    """Format a Markdown table: means ± standard deviations over seeds, and the macro recall of each seed."""
    head = f"| model | macro recall (%) | F1 (phage) | AUROC | macro recall by seed {', '.join(map(str, seeds))} |"
    lines = [head, "|---|---|---|---|---|"]
    for name, values in found.items():
        mean, spread = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else np.zeros(3)
        cells = [f"{100 * mean[0]:.1f} ± {100 * spread[0]:.1f}"]
        cells += [f"{mean[place]:.3f} ± {spread[place]:.3f}" for place in (1, 2)]
        lines.append(f"| {name} | {' | '.join(cells)} | {', '.join(f'{100 * value:.1f}' for value in values[:, 0])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, choices=(150, 1000), required=True)
    parser.add_argument("--pooling", choices=("cls", "mean"), default="cls")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/phage"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    begin, output = time.monotonic(), arguments.output
    files = [str(arguments.data / name) for name in ("phage.fasta.gz", "nonphage.fasta.gz")]
    metadata = ("--metadata", str(arguments.data / "virus_split.tsv"))
    if (arguments.data / "manifest.tsv").exists():
        files = sorted(map(str, arguments.data.glob("*.fasta")))
        metadata = ("--metadata", str(arguments.data / "manifest.tsv"))
    hf_genomics("prepare", output / "prepare.log", "--fasta", *files, *metadata, "--output_dir", str(output / "store"))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [(setup, seed) for seed in arguments.seeds for setup in ("wide", "base")]
        jobs = [pool.submit(chain, output, arguments.length, arguments.pooling, *run) for run in runs]
        for job in jobs:
            job.result()
    minutes = (time.monotonic() - begin) / 60
    read = f"{arguments.length} nt, pooling {arguments.pooling}"
    print(f"\n{read}, labels of 10 % of the training genomes, {minutes:.0f} minutes\n")
    print(table(scores(output, arguments.length, arguments.pooling, arguments.seeds), arguments.seeds))


if __name__ == "__main__":
    main()
