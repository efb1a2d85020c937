"""The quickstart: bundled genomes through every verb, in minutes, with a report at the end."""

from __future__ import annotations

import gzip
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import TrainingArguments

from ..batches.span_masking import DataCollatorForSpanMasking
from ..configuration_kmer_bert import KmerBertConfig
from ..errors import InputError
from ..genomes.sampling import WindowSampling
from ..genomes.splits import split_regions
from ..genomes.store import prepare
from ..inference.loading import load_classifier
from ..inference.scores import predict_scores
from ..io.fasta import Record, read_records
from ..io.writing import write_json
from ..labelled.data import LabelledData
from ..labelled.windows import LabelledWindows
from ..reports.html import write_report
from ..tokenization_kmer import KmerTokenizer
from ..training.finetune import finetune
from ..training.pretrain import PretrainingData, pretrain

logger = logging.getLogger(__name__)

SHARES = (0.6, 0.15, 0.25)


def quickstart(
    genomes: str,
    output_dir: str,
    tokenizer: KmerTokenizer,
    model: KmerBertConfig,
    masking: DataCollatorForSpanMasking,
    windows: WindowSampling,
    pretraining: TrainingArguments,
    finetuning: TrainingArguments,
    length: int = 150,
    train_step: int = 50,
) -> dict[str, Any]:
    """Prepare, pretrain, fine-tune, evaluate, save, reload in a new process, predict: phage or not, from short windows.

    Every genome is cut into a training, a validation and a test region that do not overlap and keep one window between
    them. Leaves in ``output_dir``: store, pretrained, model, metrics.json, predictions.tsv, pictures and report.html.

    Args:
        genomes: folder of FASTA files with metadata.tsv beside them (accession, label, usable_nt).
        output_dir: folder to write to; what an earlier quickstart left there is replaced.
        tokenizer, model, masking, windows: as in ``pretrain``.
        pretraining, finetuning: transformers.TrainingArguments of the two runs.
        length: nt of a window to classify.
        train_step: nt from one training window to the next.

    Returns:
        the numbers of metrics.json.

    Raises:
        InputError: if the genomes are not there.
    """
    begin, folder, source = time.monotonic(), Path(output_dir), Path(genomes)
    if not (source / "metadata.tsv").is_file():
        raise InputError(
            f"{source}: no metadata.tsv there; run the quickstart from the project's folder, or name --genomes"
        )
    logger.info("1/5 genomes into regions, regions into a store")
    fasta, metadata = write_regions(source, folder, gap=length)
    store = prepare([str(fasta)], str(folder / "store"), str(metadata), overwrite=True)
    data = LabelledData(
        store=str(store.path),
        windows=LabelledWindows(length, train_step, per_genome=10**6, test_per_genome=200),
    )
    logger.info("2/5 pretraining on unlabelled windows")
    pretraining.output_dir, finetuning.output_dir = str(folder / "pretrained"), str(folder / "model")
    pre = pretrain(PretrainingData(str(store.path)), pretraining, tokenizer, model, masking, windows, overwrite=True)
    logger.info("3/5 fine-tuning: phage or not from %d nt", length)
    fine = finetune(pretraining.output_dir, data, finetuning, rc_probability=0.5, positive="phage", overwrite=True)
    logger.info("4/5 the saved model, loaded by AutoModel in a new process, predicts the test windows")
    test = data.require("test", tokenizer.k, why="there is nothing to predict")
    windows_fasta = folder / "test_windows.fasta.gz"
    records = [Record(name, "", letters) for name, letters in zip(test.ids, test.sequences, strict=True)]
    _write_fasta(windows_fasta, records)
    difference = _predict_elsewhere(folder, windows_fasta, test.sequences)
    logger.info("5/5 report")
    results = {
        "pretraining": pre,
        "test": fine["test"],
        "baselines": fine["baselines"],
        "test_windows": len(test),
        "macro_recall_standard_error": _standard_error(fine["test"]["macro_recall"], test.known_labels),
        "train_windows": fine["train_sequences"],
        "largest_difference_after_reload": difference,
        "minutes": (time.monotonic() - begin) / 60,
    }
    for picture in ("roc_pr.png", "confusion.png"):
        shutil.copyfile(folder / "model" / picture, folder / picture)
    shutil.copyfile(folder / "pretrained" / "loss.png", folder / "loss.png")
    write_json(folder / "metrics.json", results)
    _report(folder, results, metadata, length)
    doubt = {"standard error of a macro recall": results["macro_recall_standard_error"]}
    return {"KmerBert": fine["test"], **fine["baselines"], **doubt, "report": str(folder / "report.html")}


def write_regions(source: Path, folder: Path, gap: int) -> tuple[Path, Path]:
    """Cut the genomes of a folder into regions and write them as FASTA, with a table of label, split and place.

    Args:
        source: folder with *.fasta.gz and metadata.tsv, whose column usable_nt says how much of a genome is taken (a
            repeat that would lie on both sides of a split is left out).
        folder: where regions.fasta.gz and regions.tsv go.
        gap: nt left out between two regions.
    """
    table = pd.read_csv(source / "metadata.tsv", sep="\t", index_col="accession")
    records, rows = [], []
    for path in sorted(source.glob("*.fasta.gz")):
        for record in read_records(path):
            facts = table.loc[record.name]
            for region in split_regions([int(facts["usable_nt"])], SHARES, gap):
                name = f"{record.name}_{region.split}"
                records.append(Record(name, record.description, record.letters[region.start : region.end]))
                place = (record.name, facts["organism"], region.start, region.end)
                rows.append((name, facts["label"], region.split, *place))
    folder.mkdir(parents=True, exist_ok=True)
    _write_fasta(folder / "regions.fasta.gz", records)
    header = ["accession", "label", "split", "genome_accession", "organism", "region_start", "region_end"]
    pd.DataFrame(rows, columns=header).to_csv(folder / "regions.tsv", sep="\t", index=False)
    return folder / "regions.fasta.gz", folder / "regions.tsv"


def _write_fasta(path: Path, records: list[Record]) -> None:
    with open(path, "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed:
        for record in records:
            title = f">{record.name} {record.description}".strip()
            packed.write(title.encode() + b"\n" + record.letters.tobytes() + b"\n")


def _predict_elsewhere(folder: Path, windows: Path, sequences: list[np.ndarray]) -> float:
    """Predict in a new process; returns the largest difference to this process's probabilities."""
    output = folder / "predictions.tsv"
    model = str(folder / "model")
    command = [sys.executable, "-m", "hf_genomics", "predict", "--model", model, "--input", str(windows)]
    subprocess.run([*command, "--output", str(output)], check=True)
    there = pd.read_csv(output, sep="\t")
    here = predict_scores(*load_classifier(model), sequences)
    columns = [name for name in there.columns if name.startswith("p_")]
    return float(np.abs(there[columns].to_numpy() - here).max())


def _report(folder: Path, results: dict[str, Any], metadata: Path, length: int) -> None:
    scores = {"KmerBert (this model)": results["test"]}
    scores |= dict(sorted(results["baselines"].items()))  # the guess comes last
    names = ["accuracy", "macro_recall", "f1", "mcc", "auroc", "auprc"]
    header = ["model", "accuracy", "macro recall", "F1", "MCC", "AUROC", "AUPRC"]
    rows = [[title, *(score[name] for name in names)] for title, score in scores.items()]
    regions = pd.read_csv(metadata, sep="\t")
    regions["nt"] = regions["region_end"] - regions["region_start"]
    sizes = regions.pivot_table(index=["genome_accession", "organism", "label"], columns="split", values="nt")
    loss = "On the left the loss on masked tokens (a guess among all 6-mers has 8.32), on the right what is predicted"
    on_test = "on the test windows"
    write_report(
        folder / "report.html",
        title="hf_genomics quickstart: phage or not?",
        summary=_summary(results, length),
        tables=[
            (f"Scores {on_test}; F1, AUROC and AUPRC are those of phages", header, rows),
            (
                "Genomes, and the nt of each to train on, to watch the training, and to test",
                ["accession", "organism", "label", "train", "valid", "test"],
                [[*genome, *map(int, row[["train", "valid", "test"]])] for genome, row in sizes.iterrows()],
            ),
        ],
        pictures=[
            (f"ROC and precision-recall {on_test}, the 4-mer baseline beside the model.", folder / "roc_pr.png"),
            (f"Confusion matrix {on_test}.", folder / "confusion.png"),
            (f"Pretraining. {loss} rightly in validation.", folder / "loss.png"),
        ],
    )


def _summary(results: dict[str, Any], length: int) -> list[str]:
    """Say in a few paragraphs what was found, what it is worth, how it was done, and what comes next."""
    test, pre = results["test"], results["pretraining"]
    kmers = next(score for name, score in results["baselines"].items() if "mer" in name)
    return [
        f"A KmerBert pretrained and fine-tuned here, on your machine, tells phages from other DNA by {length} nt with "
        f"a macro recall of {test['macro_recall']:.1%} on {results['test_windows']} windows it has not seen. Logistic "
        f"regression on counts of 4-mers gives {kmers['macro_recall']:.1%}, a guess 50%.",
        "Macro recall is the mean of two shares: of phage windows called phage, and of other windows called other. On "
        f"so few windows it is good to about ± {196 * results['macro_recall_standard_error']:.0f} points (95%), and "
        "another seed moves it by some points: models that are closer than that are on a par. AUROC, the chance that a "
        f"phage window is ranked above another one, is {test['auroc']:.3f} against {kmers['auroc']:.3f}.",
        "This is a demonstration. A model of a million parameters saw a handful of genomes for minutes, and test "
        "regions come from the same genomes as training regions (never overlapping, one window apart), so it may "
        "recognise genomes rather than phages. What pretraining gains cannot be told on so little DNA: see the study "
        "with whole genomes held out in docs/results.md.",
        f"Pretraining: {pre['parameters']:,} parameters, {pre['num_input_tokens_seen']:,} tokens ({pre['masking']}). "
        f"Fine-tuning: {results['train_windows']:,} overlapping windows. The model was saved, loaded by AutoModel in "
        "a new process, and gave the same probabilities (largest difference "
        f"{results['largest_difference_after_reload']:.1e}). All of it took {results['minutes']:.1f} minutes.",
        "Your own sequences come next: hf-genomics predict takes the folder model, which lies beside this report, and "
        "a FASTA file with sequences of any length. README.md shows how.",
    ]


def _standard_error(macro_recall: float, labels: np.ndarray) -> float:
    """Give the standard error of a macro recall from so many windows of each class, were all classes found alike.

    >>> round(_standard_error(0.75, np.repeat([0, 1], [100, 300])), 3)
    0.025
    """
    counts = np.bincount(labels)
    return float(np.sqrt(macro_recall * (1 - macro_recall) * (1 / counts).sum()) / len(counts))
