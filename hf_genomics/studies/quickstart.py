"""Take the bundled genomes through every verb, in minutes, with a report at the end: the verb `quickstart`."""

from __future__ import annotations

import contextlib
import gzip
import logging
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import TrainingArguments

from ..batches.span_masking import DataCollatorForSpanMasking
from ..configuration_kmer_bert import KmerBertConfig
from ..errors import InputError
from ..finetuning.finetune import finetune
from ..finetuning.head import Head
from ..genomes.metadata import read_metadata
from ..genomes.sampling import WindowSampling
from ..genomes.splits import Region, split_regions
from ..genomes.store import prepare
from ..inference.scores import predict_scores
from ..inference.windows import check_positions
from ..io.bundled import bundled
from ..io.files import shorten
from ..io.text_tables import like_column
from ..io.writing import check_output, write_json
from ..labelled.data import LabelledData
from ..labelled.sequences import LabelledSequences
from ..labelled.windows import LabelledWindows
from ..loading.models import load_classifier, load_encoder, load_tokenizer
from ..renamed import renamed
from ..reports.html import write_report
from ..reports.score_report import ScoredModel, ScoreReport
from ..saved_settings import shown
from ..sequence_files.fasta import Record, read_records
from ..tokenization_kmer import KmerTokenizer
from ..training.arguments import PretrainingArguments, check_arguments
from ..training.pretrain import PretrainingData, pretrain

logger = logging.getLogger(__name__)

#: Shares of each genome in its training, validation and test region.
SHARES = (0.6, 0.15, 0.25)
#: Columns of metadata.tsv that a quickstart needs besides the accession.
_FACTS = ("label", "organism", "usable_nt")
#: Name of the same model from random weights in the table of scores.
TWIN = "the same model without pretraining"


@dataclass(frozen=True)
class QuickstartData:
    """Genomes of the quickstart, and the windows cut from them to classify.

    Args:
        genomes: folder of FASTA files with a metadata.tsv (accession, label, usable_nt).
        length: length of a window to classify, in nt.
        train_step: nt from the start of one training window to the start of the next.

    Raises:
        InputError: if a number is below 1.
    """

    genomes: str = "recipes/data/quickstart"
    length: int = 150
    train_step: int = 50

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("length", "train_step"):
            if getattr(self, name) < 1:
                raise InputError(f"data.{name} must be at least 1 nt, not {getattr(self, name)}")


@renamed(genomes="data.genomes", length="data.length", train_step="data.train_step")
def quickstart(
    data: QuickstartData,
    output_dir: str,
    tokenizer: KmerTokenizer,
    model: KmerBertConfig,
    masking: DataCollatorForSpanMasking,
    windows: WindowSampling,
    pretraining: PretrainingArguments,
    finetuning: TrainingArguments,
    pretrained: str | None = None,
) -> dict[str, Any]:
    """Run every verb to distinguish phages: prepare, pretrain, fine-tune, evaluate, reload in a new process, predict.

    Every genome is cut into a training, a validation and a test region, with a gap of one window between neighbouring
    regions. With a model that is pretrained already, the same model from random weights (its twin) is fine-tuned too,
    so that the report shows what pretraining gained.

    Writes to ``output_dir``: store, pretrained (or twin), model, metrics.json, predictions.tsv, pictures and
    report.html.

    Args:
        data: genomes, and the windows to classify.
        output_dir: folder to write to; the output of an earlier quickstart is replaced.
        tokenizer: k and stride, as in ``pretrain``.
        model: sizes of the model, as in ``pretrain``.
        masking: spans and dose, as in ``pretrain``.
        windows: windows to pretrain on, as in ``pretrain``.
        pretraining: options of the pretraining run.
        finetuning: transformers.TrainingArguments of the fine-tuning run.
        pretrained: folder of a pretrained model to start from, such as model_cards/virus-wide; without it, a model is
            pretrained here, with the options above.

    Returns:
        The scores of the model and of each baseline on the test windows.

    Raises:
        InputError: if the genomes or their metadata.tsv do not fit, an option is out of range, the model cannot read
            windows of this length, or ``output_dir`` holds something else than an earlier quickstart.
    """
    begin, folder, source = time.monotonic(), Path(output_dir), Path(bundled(data.genomes))
    if not (source / "metadata.tsv").is_file():
        raise InputError(
            f"{source}: no metadata.tsv in this folder; set data.genomes to a folder that has one, or omit it"
        )
    _check_folder(folder, source)
    _check_options(data.length, tokenizer, model, {"pretraining": pretraining, "finetuning": finetuning}, pretrained)
    logger.info("1/5 genomes into regions, regions into a store")
    with _removed_if_refused(folder):
        fasta, metadata = write_regions(source, folder, gap=data.length)
        store = prepare([str(fasta)], str(folder / "store"), str(metadata), overwrite=True)
        logger.info(
            "2/5 pretraining on unlabelled windows" if pretrained is None else f"2/5 starting from {pretrained}"
        )
        pretraining.output_dir, finetuning.output_dir = str(folder / "pretrained"), str(folder / "model")
        unlabelled, before = PretrainingData(str(store.path)), None
        if pretrained is None:
            before = pretrain(unlabelled, pretraining, tokenizer, model, masking, windows, overwrite=True)
        logger.info("3/5 fine-tuning: phage or not from %d nt", data.length)
        cut = LabelledWindows(data.length, data.train_step, per_genome=10**6, test_per_genome=200)
        labelled = LabelledData(store=str(store.path), windows=cut)
        head = Head(rc_probability=0.5, pooling=model.classifier_pooling)
        start = pretrained or pretraining.output_dir
        tuned = finetune(start, labelled, finetuning, head, positive="phage", overwrite=True)
    if pretrained is not None:
        tuned["baselines"] = {TWIN: _score_of_twin(start, labelled, finetuning, head)} | tuned["baselines"]
    logger.info("4/5 the saved model, loaded by AutoModel in a new process, predicts the test windows")
    k = load_tokenizer(start).k
    test = labelled.require("test", k, why="there is nothing to predict")
    results = _results(before, tuned, test) | {"started_from": pretrained, "k": k}
    results["largest_difference_after_reload"] = _predict_in_new_process(folder, test)
    results["minutes"] = (time.monotonic() - begin) / 60
    logger.info("5/5 report")
    _write_results(folder, results, metadata, data.length)
    report = ScoreReport({"KmerBert": tuned["test"], **tuned["baselines"], "report": str(folder / "report.html")})
    facts = {name: tuned[name] for name in ("task", "baselines", "ahead", "leaks")}
    report.scored = ScoredModel("model", folder, "test", scores=tuned["test"], **facts)
    return report


def _score_of_twin(pretrained: str, data: LabelledData, finetuning: TrainingArguments, head: Head) -> dict[str, Any]:
    """Fine-tune the same model from random weights, with the same options, and return its scores on the test split."""
    arguments = replace(finetuning, output_dir=str(Path(finetuning.output_dir).with_name("twin")))
    twin = replace(head, from_scratch=True)
    return finetune(pretrained, data, arguments, twin, positive="phage", baseline_k=0, overwrite=True)["test"]


def _check_options(
    length: int,
    tokenizer: KmerTokenizer,
    config: KmerBertConfig,
    trainings: dict[str, TrainingArguments],
    pretrained: str | None,
) -> None:
    """Raise InputError for options that would stop the quickstart after it has written files, or has pretrained."""
    for key, arguments in trainings.items():
        try:
            check_arguments(arguments)
        except InputError as error:
            raise InputError(str(error).replace("trainer.", f"{key}.")) from error
    if pretrained is not None:
        encoder, tokenizer = load_encoder(pretrained)
        config = encoder.config
    if length < tokenizer.k:
        raise InputError(f"data.length must be at least {tokenizer.k} nt (k of the model), not {length}")
    check_positions(tokenizer, length, config.max_position_embeddings, "data.length", "lower data.length")


def _check_folder(folder: Path, source: Path) -> None:
    """Raise InputError if the quickstart would replace files in the folder that are not its own."""
    check_output(folder, folder=True)
    if folder.exists() and folder.samefile(source):
        raise InputError(f"output_dir: {folder} is the folder of the genomes; write to another folder")
    theirs = [name for name in ("config.json", "metrics.json", "store", "model") if (folder / name).exists()]
    if theirs and not (folder / "regions.tsv").exists():
        raise InputError(f"output_dir: {folder} holds {theirs[0]}, which is not of a quickstart; write to a new folder")


@contextlib.contextmanager
def _removed_if_refused(folder: Path) -> Iterator[None]:
    """Remove the regions and the store if an InputError comes before any training; those of an earlier run are kept."""
    is_new, is_there = not (folder / "regions.tsv").exists(), folder.exists()
    try:
        yield
    except InputError:
        if is_new and not any((folder / name).exists() for name in ("pretrained", "model")):
            shutil.rmtree(folder / "store", ignore_errors=True)
            for name in ("regions.fasta.gz", "regions.tsv"):
                (folder / name).unlink(missing_ok=True)
            if not is_there and folder.exists() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def write_regions(source: Path, folder: Path, gap: int) -> tuple[Path, Path]:
    """Cut the genomes of a folder into regions, and write them as FASTA with a table of label, split and place.

    Args:
        source: folder with *.fasta.gz and metadata.tsv. The column usable_nt of metadata.tsv is the length that is used
            of each genome (a repeat that would lie in two splits is omitted).
        folder: folder to write regions.fasta.gz and regions.tsv to.
        gap: nt omitted between two regions.

    Returns:
        The paths of regions.fasta.gz and regions.tsv.
    """
    table = _read_facts(source / "metadata.tsv")
    records, rows = [], []
    for path in sorted(source.glob("*.fasta.gz")):
        for record in read_records(path):
            facts = _facts_of(record, table, path, source)
            for region in _regions_of(record.name, int(facts["usable_nt"]), gap, source):
                name = f"{record.name}_{region.split}"
                records.append(Record(name, record.description, record.letters[region.start : region.end]))
                place = (record.name, facts["organism"], region.start, region.end)
                rows.append((name, facts["label"], region.split, *place))
    if not records:
        raise InputError(f"{source}: no *.fasta.gz in this folder; put the genomes there, compressed by gzip")
    folder.mkdir(parents=True, exist_ok=True)
    _write_fasta(folder / "regions.fasta.gz", records)
    header = ["accession", "label", "split", "genome_accession", "organism", "region_start", "region_end"]
    pd.DataFrame(rows, columns=header).to_csv(folder / "regions.tsv", sep="\t", index=False)
    return folder / "regions.fasta.gz", folder / "regions.tsv"


def _read_facts(path: Path) -> pd.DataFrame:
    """Read metadata.tsv of a folder of genomes, a row for each accession."""
    table = read_metadata(str(path), "accession")
    table = table.rename(columns={like_column(name, table.columns): name for name in _FACTS})
    if missing := [name for name in _FACTS if name not in table]:
        raise InputError(f"{path}: no column {missing[0]!r}; it needs accession, {', '.join(_FACTS)}")
    labels = sorted({"" if pd.isna(label) else str(label) for label in table["label"]})
    if "phage" not in labels or len(labels) != 2:
        found = ", ".join(map(shorten, labels[:5]))
        raise InputError(f"{path}: column 'label' must hold 'phage' and one other class, not {found}; correct it")
    return table


def _facts_of(record: Record, table: pd.DataFrame, path: Path, source: Path) -> pd.Series:
    """Return the row of a genome; raise InputError if it has none, or a length that the genome has not."""
    where = source / "metadata.tsv"
    if record.name not in table.index:
        raise InputError(f"{where}: no row for {shorten(record.name)} of {path.name}; add one")
    facts, whole = table.loc[record.name], len(record.letters)
    usable = facts["usable_nt"]
    if not isinstance(usable, int | np.integer) or not 0 < usable <= whole:
        raise InputError(
            f"{where}: usable_nt of {shorten(record.name)} must lie in 1..{whole:,} (the length of the genome), not "
            f"{shown(usable)}"
        )
    return facts


def _regions_of(name: str, length: int, gap: int, source: Path) -> list[Region]:
    """Cut a genome into its three regions; raise InputError if it is too short."""
    try:
        return split_regions([length], SHARES, gap)
    except InputError as error:
        raise InputError(
            f"{source / 'metadata.tsv'}: usable_nt of {shorten(name)}, {length:,}, is too short for three regions with "
            f"{gap} nt between them; lower data.length, or omit the genome"
        ) from error


def _results(pretrained: dict[str, Any] | None, tuned: dict[str, Any], test: LabelledSequences) -> dict[str, Any]:
    """Collect the numbers of the pretraining run, if there was one, and of the fine-tuning run."""
    return {
        "pretraining": pretrained,
        "test": tuned["test"],
        "baselines": tuned["baselines"],
        "test_windows": len(test),
        "train_windows": tuned["train_sequences"],
    }


def _write_fasta(path: Path, records: list[Record]) -> None:
    """Write records as compressed FASTA, with the same bytes in every run."""
    with open(path, "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed:
        for record in records:
            title = f">{record.name} {record.description}".strip()
            packed.write(title.encode() + b"\n" + record.letters.tobytes() + b"\n")


def _predict_in_new_process(folder: Path, test: LabelledSequences) -> float:
    """Predict the test windows in a new process; return the largest difference from the probabilities here."""
    windows, output, model = folder / "test_windows.fasta.gz", folder / "predictions.tsv", str(folder / "model")
    _write_fasta(windows, [Record(name, "", letters) for name, letters in zip(test.ids, test.sequences, strict=True)])
    command = [sys.executable, "-m", "hf_genomics", "predict", "--model", model, "--input", str(windows)]
    command += ["--output", str(output), "--overwrite", "true"]
    subprocess.run(command, check=True)  # noqa: S603 (our own command, without a shell)
    reloaded = pd.read_csv(output, sep="\t")
    here = predict_scores(*load_classifier(model), test.sequences)
    columns = [name for name in reloaded.columns if name.startswith("p_")]
    return float(np.abs(reloaded[columns].to_numpy() - here).max())


def _write_results(folder: Path, results: dict[str, Any], metadata: Path, length: int) -> None:
    """Write the numbers, the pictures and the report."""
    for picture in ("roc_pr.png", "confusion.png"):
        shutil.copyfile(folder / "model" / picture, folder / picture)
    pretrained_here = results["started_from"] is None
    shutil.copyfile(folder / ("pretrained" if pretrained_here else "model") / "loss.png", folder / "loss.png")
    write_json(folder / "metrics.json", results)
    on_test = "on the test windows"
    loss = "Fine-tuning: the loss."
    if pretrained_here:
        k = results["k"]
        loss = (
            f"Pretraining. Left: the loss on masked tokens (a guess among all {k}-mers has {k * math.log(4):.2f}). "
            "Right: the share predicted correctly in validation."
        )
    write_report(
        folder / "report.html",
        title="hf_genomics quickstart: phage or not?",
        summary=_summary(results, length),
        tables=[
            (f"Scores {on_test}; F1 and AUPRC are of {results['test']['positive']}", *_score_table(results)),
            ("Genomes, and the nt of each to train on, to validate on and to test on", *_genome_table(metadata)),
        ],
        pictures=[
            (f"ROC and precision-recall {on_test}, of the model and the 4-mer baseline.", folder / "roc_pr.png"),
            (f"Confusion matrix {on_test}.", folder / "confusion.png"),
            (loss, folder / "loss.png"),
        ],
    )


def _score_table(results: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the scores: the model, then the baselines, the majority class last."""
    baselines = sorted(results["baselines"].items(), key=lambda item: (item[0] == "majority", item[0]))
    scores = {"KmerBert (this model)": results["test"]} | dict(baselines)
    names = ["accuracy", "macro_recall", "f1", "mcc", "auroc", "auprc"]
    header = ["model", "accuracy", "macro recall", "F1", "MCC", "AUROC", "AUPRC"]
    return header, [[title, *(score[name] for name in names)] for title, score in scores.items()]


def _genome_table(metadata: Path) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the genomes, with the nt of each split."""
    names = ["genome_accession", "organism", "label", "split"]
    # As text, and empty cells as empty text: pivot_table would omit a genome whose organism is missing.
    regions = pd.read_csv(metadata, sep="\t", dtype=dict.fromkeys(names, str), keep_default_na=False)
    regions["nt"] = regions["region_end"] - regions["region_start"]
    sizes = regions.pivot_table(index=["genome_accession", "organism", "label"], columns="split", values="nt")
    rows = [[*genome, *map(int, row[["train", "valid", "test"]])] for genome, row in sizes.iterrows()]
    return ["accession", "organism", "label", "train", "valid", "test"], rows


def _summary(results: dict[str, Any], length: int) -> list[str]:
    """Write the paragraphs of the report: the result, what it is worth, how it was obtained, and what comes next."""
    test = results["test"]
    kmers = next(score for name, score in results["baselines"].items() if "mer" in name)
    return [
        f"{_origin(results)} distinguishes phage DNA from other DNA in {length}-nt windows with a macro recall of "
        f"{test['macro_recall']:.1%} on {results['test_windows']} windows it has not seen labelled. "
        f"Logistic regression on counts of 4-mers has {kmers['macro_recall']:.1%}, a guess 50%.{_gain(results)}",
        "Macro recall is the mean of two shares: the share of phage windows predicted as phage, and the share of other "
        f"windows predicted as other. {_interval(test)}, and another seed changes it by some points: models that "
        "differ by less are about equal. AUROC, the probability "
        f"that a phage window ranks above another window, is {test['auroc']:.3f} against {kmers['auroc']:.3f}.",
        "This is a demonstration. Test regions come from the same genomes as training regions (never overlapping, one "
        "window apart), so the model may recognise genomes rather than phages. See the study with whole genomes held "
        "out in docs/results.md.",
        f"{_pretraining(results)} Fine-tuning: {results['train_windows']:,} overlapping windows. The model was saved, "
        "loaded by AutoModel in a new process, and gave the same probabilities (largest difference "
        f"{results['largest_difference_after_reload']:.1e}). All of it took {results['minutes']:.1f} minutes.",
        "Your own sequences come next: hf-genomics predict takes the folder model next to this report and a FASTA file "
        "with sequences of any length. README.md shows how.",
    ]


def _interval(test: dict[str, Any]) -> str:
    """Say how precise the macro recall is; a test with one genome in each class has no interval."""
    if "macro_recall" not in test["intervals"]:
        return "It has no interval, because each class has one genome only"
    low, high = test["intervals"]["macro_recall"]
    return f"Its 95% interval, by bootstrap over the genomes, is {low:.1%} to {high:.1%}"


def _origin(results: dict[str, Any]) -> str:
    """Say which model was fine-tuned."""
    if results["started_from"] is None:
        return "A KmerBert pretrained and fine-tuned here, on your machine,"
    return f"The pretrained model {Path(results['started_from']).name}, fine-tuned here, on your machine,"


def _gain(results: dict[str, Any]) -> str:
    """Compare with the same model without pretraining, where that was trained."""
    if results["started_from"] is None:
        return ""
    return f" The same model without pretraining has {results['baselines'][TWIN]['macro_recall']:.1%}."


def _pretraining(results: dict[str, Any]) -> str:
    """Say how the model was pretrained, or that it may have seen the test regions unlabelled."""
    pre = results["pretraining"]
    if pre is None:
        return (
            "Pretraining: before this run; the card of the model describes it. It may have used genomes of this "
            "demonstration, or relatives of them, without their labels."
        )
    return (
        f"Pretraining: {pre['parameters']:,} parameters, {pre['num_input_tokens_seen']:,} tokens ({pre['masking']}). "
        "So little DNA cannot show what pretraining gains; start from a pretrained model for that (--pretrained "
        "model_cards/virus-wide)."
    )
