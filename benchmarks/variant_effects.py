"""Show what variant scores tell of nonsense substitutions and of mutated promoters, beside plain baselines.

    python benchmarks/variant_effects.py --genome ecoli.fna.gz --genes genes.bed --output_dir runs/variant_effects
    python benchmarks/variant_effects.py --model model_cards/virus-wide --pairs yeast_variant_effect \
        --expression yeast_expression_defined --output_dir runs/variant_effects_yeast

The genome is E. coli K-12 MG1655. A model is pretrained on its first 4.0 Mb with recipes/pretrain_ecoli_cpu.yaml (about
12 minutes of one thread; --model names a model that is there already) and scores substitutions in the genes after that.
--seed 1 scores other sites with another model. "nonsense / synonymous" is the AUROC over all sites; "same site"
compares alternatives of one position, so composition and codon position cancel.

The folder --pairs holds train.csv.gz and test.csv.gz with the columns sequence, alt_sequence, ref_expression,
alt_expression and delta. The model scores the test pairs as it is, and again when it was fine-tuned on the measured
expressions of the training pairs, and of the training table in the folder --expression (columns sequence and label).
The k-mer regressions are fitted on the same rows. Further options are those of finetune: --head.rc_probability 0.5.
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


def score_pairs(model: str, pairs: Path, expression: Path | None, folder: Path, words: list[str]) -> None:
    """Print rank correlations with measured effects of mutated promoters: zero-shot, fine-tuned, k-mer regression."""
    import pandas as pd
    from scipy.stats import spearmanr

    import hf_genomics as hg

    test = read_pairs(pairs / "test.csv.gz")
    test.to_csv(folder / "pairs.csv", index=False)
    scored: dict[str, Any] = {"pairs": str(folder / "pairs.csv"), "overwrite": True}
    hg.score_variants(model, str(folder / "pairs.tsv"), effects=["embedding"], **scored)
    zero = pd.read_csv(folder / "pairs.tsv", sep="\t")
    found = {"zero-shot, LLR": zero["llr"], "zero-shot, embedding L2, with the size of the change": zero["emb_l2"]}

    labelled = training_rows(read_pairs(pairs / "train.csv.gz"), test, expression)
    tuned = finetune_on(labelled, model, folder, words)
    hg.score_variants(tuned, str(folder / "tuned.tsv"), **scored)
    table = pd.read_csv(folder / "tuned.tsv", sep="\t")
    found["fine-tuned, delta"] = table[next(name for name in table if name.startswith("delta_logit"))]
    for k in (4, 5):
        found[f"{k}-mer ridge regression, delta"] = pd.Series(kmer_delta(labelled, test, k))
    print("\n| score | Spearman with the measured change | pairs |\n|---|---|---|")
    for label, values in found.items():
        known = values.notna().to_numpy()
        target = test["delta"].abs() if "size" in label else test["delta"]
        print(f"| {label} | {spearmanr(values[known], target[known]).statistic:.3f} | {known.sum()} |")


def training_rows(train: Any, test: Any, expression: Path | None) -> Any:
    """Return sequences with their measured expressions (columns sequence and label), none of them in the test pairs."""
    import pandas as pd

    from hf_genomics.sequence import reverse_complement

    columns = {"sequence": "ref_expression", "alt_sequence": "alt_expression"}
    parts = [train[[one, value]].set_axis(["sequence", "label"], axis=1) for one, value in columns.items()]
    if expression is not None:
        parts.append(pd.read_csv(expression / "train.csv.gz")[["sequence", "label"]])
    rows = pd.concat(parts).drop_duplicates("sequence")
    tested = {*test["sequence"], *test["alt_sequence"]}
    leaks = np.array([one in tested or reverse_complement(one) in tested for one in rows["sequence"]])
    print(f"{len(rows) - leaks.sum()} training sequences, without {leaks.sum()} that are in the test pairs", flush=True)
    return rows[~leaks].reset_index(drop=True)


def finetune_on(labelled: Any, model: str, folder: Path, further: list[str]) -> str:
    """Fine-tune a model on measured expressions, with further options of the command, and return its folder."""
    from hf_genomics.cli import main

    table, tuned = str(folder / "expression.csv"), str(folder / "tuned")
    labelled.to_csv(table, index=False)
    words = ["finetune", "--pretrained", model, "--data.train", table, "--data.regression", "true"]
    words += ["--head.pooling", "mean", "--trainer.num_train_epochs", "10", "--trainer.learning_rate", "1.0e-3"]
    words += ["--trainer.per_device_train_batch_size", "64", "--trainer.warmup_steps", "0.1"]
    words += ["--trainer.weight_decay", "0.01", "--trainer.save_strategy", "no", "--trainer.disable_tqdm", "true"]
    words += ["--trainer.output_dir", tuned, "--overwrite", "true", *further]
    if code := main(words):
        sys.exit(code)
    return tuned


def kmer_delta(labelled: Any, test: Any, k: int) -> np.ndarray:
    """Compute the difference of both predictions of a ridge regression on k-mer counts, (pairs,)."""
    from sklearn.linear_model import RidgeCV

    from hf_genomics.evaluation.baseline import kmer_counts
    from hf_genomics.sequence import as_letters

    def counts(sequences: Any) -> np.ndarray:
        return kmer_counts([as_letters(one) for one in sequences], k)

    ridge = RidgeCV(np.logspace(-1, 4, 11)).fit(counts(labelled["sequence"]), labelled["label"])
    ref, alt = (ridge.predict(counts(test[column])) for column in ("sequence", "alt_sequence"))
    return alt - ref


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
    """Print the table of genes, of pairs, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genome", help="FASTA file of the genome; without it, only pairs are scored")
    parser.add_argument("--genes")
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--expression", type=Path)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0, help="of the sites, and of a model trained here")
    args, words = parser.parse_known_args()
    if (args.genome is None) != (args.genes is None) or (args.genome is None and None in (args.model, args.pairs)):
        parser.error("give --genome with --genes, or --model with --pairs")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    model = args.model
    if args.genome:
        name, letters = read_genome(args.genome)
        model = model or pretrain(letters, args.output_dir, args.seed)
        score_genes(model, name, letters, coding_substitutions(letters, args.genes, np.random.default_rng(args.seed)))
    if args.pairs:
        score_pairs(model, args.pairs, args.expression, args.output_dir, ["--trainer.seed", str(args.seed), *words])


if __name__ == "__main__":
    main()
