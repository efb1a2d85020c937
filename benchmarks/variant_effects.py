"""Show what variant scores tell of nonsense substitutions and of mutated promoters, beside plain baselines.

    python benchmarks/variant_effects.py --genome ecoli.fna.gz --genes genes.bed --pairs yeast_variant_effect \
        --output_dir runs/variant_effects

The genome is E. coli K-12 MG1655. A model is pretrained on its first 4.0 Mb with recipes/pretrain_ecoli_cpu.yaml (about
6 minutes of one thread; --model names a model that is there already) and scores substitutions in the genes after that.
The folder --pairs holds train.csv.gz and test.csv.gz with the columns sequence, alt_sequence, ref_expression,
alt_expression and delta. --seed 1 scores other sites with another model.
"nonsense / synonymous" is the AUROC over all sites; "same site" compares alternatives of one position, so composition
and codon position cancel.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HELD_OUT = 4_000_000  # nt; genes after that are scored
VALID_NT = 50_000
NONSENSE_SITES, OTHER_SITES = 1200, 1800
BASES = "TCAG"
AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
CODONS = {
    a + b + c: AMINO_ACIDS[16 * i + 4 * j + k]
    for i, a in enumerate(BASES)
    for j, b in enumerate(BASES)
    for k, c in enumerate(BASES)
}


class Substitution(NamedTuple):
    """A substitution on the forward strand: position (0-based), letters, and what it does to the protein."""

    position: int
    ref: str
    alt: str
    kind: str


def read_genome(path: str) -> tuple[str, str]:
    """Read name and letters of the first record of a FASTA file."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
        header, _, rest = file.read().partition("\n")
    return header[1:].split()[0], rest.split(">")[0].replace("\n", "").upper()


def pretrain(letters: str, folder: Path, seed: int) -> str:
    """Pretrain a model on the genome before the held-out part, and return its folder."""
    from hf_genomics.cli import main

    train = f">train\n{letters[: HELD_OUT - VALID_NT]}\n>valid\n{letters[HELD_OUT - VALID_NT : HELD_OUT]}\n"
    (folder / "train.fa").write_text(train)
    (folder / "splits.tsv").write_text("accession\tsplit\ntrain\ttrain\nvalid\tvalid\n")
    store, model = str(folder / "store"), str(folder / "pretrained")
    recipe = str(Path(__file__).parents[1] / "recipes" / "pretrain_ecoli_cpu.yaml")
    seeds = ["--trainer.seed", str(seed)]
    prepare = ["prepare", "--fasta", str(folder / "train.fa"), "--metadata", str(folder / "splits.tsv")]
    for words in (
        [*prepare, "--output_dir", store],
        ["pretrain", "--config", recipe, "--data.store", store, "--trainer.output_dir", model, *seeds],
    ):
        if code := main(words):
            sys.exit(code)
    return model


def coding_substitutions(letters: str, genes: str, rng: np.random.Generator) -> list[Substitution]:
    """Draw substitutions in codons other than start and stop: sites with a nonsense alternative, and others."""
    from hf_genomics.sequence import reverse_complement

    by_site: dict[int, list[Substitution]] = {}
    for line in Path(genes).read_text().splitlines():
        start, end, strand = int(line.split("\t")[1]), int(line.split("\t")[2]), line.split("\t")[5]
        coding = letters[start:end] if strand == "+" else reverse_complement(letters[start:end])
        for place in range(3, len(coding) - 3):
            codon, at = coding[place - place % 3 : place - place % 3 + 3], place % 3
            position = start + place if strand == "+" else end - 1 - place
            found = []
            for base in "ACGT".replace(codon[at], ""):
                mutated = codon[:at] + base + codon[at + 1 :]
                same = CODONS[mutated] == CODONS[codon]
                kind = "nonsense" if CODONS[mutated] == "*" else "synonymous" if same else "missense"
                alt = base if strand == "+" else reverse_complement(base)
                found.append(Substitution(position, letters[position], alt, kind))
            by_site[position] = found
    is_nonsense = {site: any(one.kind == "nonsense" for one in found) for site, found in by_site.items()}
    chosen: list[int] = []
    for wanted, count in ((True, NONSENSE_SITES), (False, OTHER_SITES)):
        sites = np.array(sorted(site for site, value in is_nonsense.items() if value == wanted))
        chosen += rng.choice(sites, min(count, len(sites)), replace=False).tolist()
    return [one for site in sorted(chosen) for one in by_site[site]]


def markov_scores(letters: str, chosen: list[Substitution], order: int = 5) -> np.ndarray:
    """Compute the log-ratios of a Markov chain that is counted on both strands of the training part."""
    from hf_genomics.sequence import as_letters, kmer_codes, reverse_complement

    train = letters[:HELD_OUT]
    both = np.concatenate([kmer_codes(as_letters(text), order + 1)[0] for text in (train, reverse_complement(train))])
    counts = np.bincount(both.astype(np.int64), minlength=4 ** (order + 1)).reshape(-1, 4) + 1.0
    logs = np.log(counts / counts.sum(1, keepdims=True)).ravel()

    def chain(text: str) -> float:
        codes, _ = kmer_codes(as_letters(text), order + 1)
        return float(logs[codes.astype(np.int64)].sum())

    scores = []
    for one in chosen:
        around = letters[one.position - order : one.position + order + 1]
        mutated = around[:order] + one.alt + around[order + 1 :]
        strands = [(mutated, around), (reverse_complement(mutated), reverse_complement(around))]
        scores.append(np.mean([chain(alt) - chain(ref) for alt, ref in strands]))
    return np.array(scores)


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the chance that a positive ranks above a negative."""
    from sklearn.metrics import roc_auc_score

    labels = np.repeat([1, 0], [len(positive), len(negative)])
    return float(roc_auc_score(labels, np.concatenate([positive, negative])))


def summarise(chosen: list[Substitution], scores: np.ndarray) -> tuple[float, float, float, int]:
    """Compute three AUROCs and the number of pairs of one site; a low score stands for a harmful substitution."""
    kinds = np.array([one.kind for one in chosen])
    harm = -scores
    sites: dict[int, dict[str, list[float]]] = {}
    for one, value in zip(chosen, harm.tolist(), strict=True):
        sites.setdefault(one.position, {}).setdefault(one.kind, []).append(value)
    pairs = [
        (bad, good)
        for found in sites.values()
        for bad in found.get("nonsense", [])
        for good in found.get("synonymous", [])
    ]
    wins = [1.0 if bad > good else 0.5 if bad == good else 0.0 for bad, good in pairs]
    nonsense = harm[kinds == "nonsense"]
    overall = (auroc(nonsense, harm[kinds == other]) for other in ("synonymous", "missense"))
    return (*overall, float(np.mean(wins)), len(pairs))  # type: ignore[return-value]


def score_genes(model: str, name: str, letters: str, chosen: list[Substitution]) -> None:
    """Print the table of estimators on substitutions in genes."""
    from hf_genomics.sequence import as_letters
    from hf_genomics.sequence_files.reference import strands_in_memory
    from hf_genomics.variants.effects import compare, cut_alleles
    from hf_genomics.variants.likelihood import on_strand, score_events
    from hf_genomics.variants.score_variants import load_scorer, window_rule
    from hf_genomics.variants.sites import Event

    network, tokenizer = load_scorer(model)
    both = strands_in_memory(name, as_letters(letters))
    events = [(Event(one.position, one.ref, one.alt), both) for one in chosen]

    def ratio(estimator: str, frames: int) -> Callable[[], np.ndarray]:
        rule = window_rule(network, tokenizer, None, frames)
        return lambda: score_events(network, tokenizer, events, rule, estimator=estimator)  # type: ignore[arg-type]

    def distances() -> np.ndarray:
        windows = [cut_alleles(on_strand(event, strand), strand, 600) for event, _ in events for strand in both]
        return -compare(network, tokenizer, windows, ["embedding"])["emb_l2"].reshape(-1, 2)

    rows: dict[str, Callable[[], np.ndarray]] = {
        "joint, 3 frames (the default)": ratio("joint", 3),
        "joint, 6 frames": ratio("joint", 6),
        "joint, 1 frame": ratio("joint", 1),
        "marginal, 3 frames": ratio("marginal", 3),
        "not masked, 3 frames": ratio("unmasked", 3),
        "embedding L2": distances,
    }
    print("| estimator | nonsense / synonymous | nonsense / missense | same site | pairs |\n|---|---|---|---|---|")
    markov = markov_scores(letters, chosen)
    print(row("Markov chain of order 5, both strands", summarise(chosen, markov)), flush=True)
    for label, score in rows.items():
        values = score()
        print(row(f"{label}, both strands", summarise(chosen, values.mean(1))), flush=True)
        if label.startswith("joint, 3"):
            print(row(f"{label}, one strand", summarise(chosen, values[:, 0])), flush=True)


def row(label: str, found: tuple[float, float, float, int]) -> str:
    """Return a row of the table."""
    return f"| {label} | {found[0]:.3f} | {found[1]:.3f} | {found[2]:.3f} | {found[3]} |"


def score_pairs(model: str, pairs: Path, folder: Path) -> None:
    """Print rank correlations with measured effects of mutated promoters: zero-shot, fine-tuned, k-mer regression."""
    import pandas as pd
    from scipy.stats import spearmanr
    from sklearn.linear_model import RidgeCV

    import hf_genomics as hg
    from hf_genomics.cli import main
    from hf_genomics.evaluation.baseline import kmer_counts
    from hf_genomics.sequence import as_letters

    train, test = (read_pairs(pairs / f"{split}.csv.gz") for split in ("train", "test"))
    test.to_csv(folder / "pairs.csv", index=False)
    hg.score_variants(model, str(folder / "pairs.tsv"), pairs=str(folder / "pairs.csv"), effects=["embedding"])
    zero = pd.read_csv(folder / "pairs.tsv", sep="\t")
    found = {"zero-shot, LLR": zero["llr"], "zero-shot, embedding L2 (against |delta|)": zero["emb_l2"]}

    columns = {"sequence": "ref_expression", "alt_sequence": "alt_expression"}
    labelled = pd.concat(
        [train[[s, e]].set_axis(["sequence", "label"], axis=1) for s, e in columns.items()]
    ).drop_duplicates("sequence")
    labelled.to_csv(folder / "expression.csv", index=False)
    tuned = str(folder / "tuned")
    words = ["finetune", "--pretrained", model, "--data.train", str(folder / "expression.csv")]
    words += ["--data.regression", "true", "--head.pooling", "mean", "--head.rc_probability", "0"]
    words += ["--trainer.num_train_epochs", "20", "--trainer.per_device_train_batch_size", "64"]
    words += ["--trainer.learning_rate", "1.0e-3", "--trainer.warmup_steps", "0.1", "--trainer.save_strategy", "no"]
    words += ["--trainer.output_dir", tuned, "--trainer.disable_tqdm", "true", "--trainer.weight_decay", "0.01"]
    if code := main([*words, "--overwrite", "true"]):
        sys.exit(code)
    hg.score_variants(tuned, str(folder / "tuned.tsv"), pairs=str(folder / "pairs.csv"))
    table = pd.read_csv(folder / "tuned.tsv", sep="\t")
    found["fine-tuned, delta"] = table[next(name for name in table if name.startswith("delta_logit"))]

    def counts(sequences: pd.Series, k: int) -> np.ndarray:
        return kmer_counts([as_letters(one) for one in sequences], k)

    for k in (4, 5):
        ridge = RidgeCV(np.logspace(-1, 4, 11)).fit(counts(labelled["sequence"], k), labelled["label"])
        both = [ridge.predict(counts(test[column], k)) for column in ("sequence", "alt_sequence")]
        found[f"{k}-mer ridge regression, delta"] = pd.Series(both[1] - both[0])
    print("\n| score | Spearman with the measured delta | n |\n|---|---|---|")
    for label, values in found.items():
        target = test["delta"].abs() if "|" in label else test["delta"]
        known = values.notna().to_numpy()
        value = spearmanr(values[known], target[known]).statistic
        print(f"| {label.replace('|delta|', 'size of delta')} | {value:.3f} | {known.sum()} |")


def read_pairs(path: Path) -> Any:
    """Read a table of pairs; expressions that belong to the other sequence are exchanged.

    A sequence occurs in several rows, with one alternative each, so its expression must be the same in all of them. In
    the published table it is ``alt_expression`` that is the same.
    """
    import pandas as pd

    table = pd.read_csv(path)
    values = table.groupby("sequence")[["ref_expression", "alt_expression"]].nunique().max()
    if values["alt_expression"] == 1 < values["ref_expression"]:
        exchanged = {"ref_expression": table["alt_expression"], "alt_expression": table["ref_expression"]}
        table = table.assign(**exchanged, delta=-table["delta"])
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genome", required=True)
    parser.add_argument("--genes", required=True)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0, help="of the sites, and of a model trained here")
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    name, letters = read_genome(args.genome)
    model = args.model or pretrain(letters, args.output_dir, args.seed)
    score_genes(model, name, letters, coding_substitutions(letters, args.genes, np.random.default_rng(args.seed)))
    if args.pairs:
        score_pairs(model, args.pairs, args.output_dir)


if __name__ == "__main__":
    main()
