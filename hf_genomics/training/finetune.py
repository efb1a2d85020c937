"""Fine-tuning, evaluation and prediction of sequence classifiers, from tables or from windows of labelled genomes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from tqdm.auto import tqdm
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
    set_seed,
)

from ..configuration_kmer_bert import HierarchicalKmerBertConfig
from ..data.collators import DataCollatorForSequences
from ..data.labelled import SequenceDataset, labelled_windows, tile
from ..data.store import GenomeStore
from ..data.tables import LabelledSequences, check_classes, read_table
from ..errors import InputError
from ..tokenization_kmer import KmerTokenizer
from .baseline import kmer_baseline, majority_probabilities
from .metrics import classification_metrics, compute_metrics_for, regression_metrics, softmax
from .report import plot_confusion, plot_loss, plot_roc_pr
from .running import (
    SetEpoch,
    attention_for,
    check_arguments,
    check_output,
    check_positions,
    claim_output_dir,
    train,
    write_json,
    write_tsv,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledData:
    """Labelled sequences: three tables, or windows cut from the labelled genomes of a store.

    Args:
        train, valid, test: CSV, TSV, Parquet or FASTA files (label=NAME in the header); valid and test may be left out.
        sequence_column, label_column, id_column: columns of the tables; label_column also of the store.
        regression: the labels are values (true) or classes (false); by default decimals are values, all else classes.
        rna: read U as T.
        store: folder made by ``hf-genomics prepare`` with a metadata table that has a label and a split column.
        length: window length in nt, for a store.
        train_step: nt from one training window of a genome to the next; less than ``length`` lets them overlap; by
            default they lie side by side.
        windows_per_genome: most training windows from one genome of a store.
        test_windows_per_genome: most validation and test windows from one genome of a store (the paper's 64).
        label_fraction: share of the training genomes whose labels may be used (the paper's 0.1, 0.01, 0.001).
        seed: of the choice of genomes and windows.
    """

    train: str | None = None
    valid: str | None = None
    test: str | None = None
    sequence_column: str = "sequence"
    label_column: str = "label"
    id_column: str | None = None
    regression: bool | None = None
    rna: bool = False
    store: str | None = None
    length: int = 150
    train_step: int | None = None
    windows_per_genome: int = 1000
    test_windows_per_genome: int = 64
    label_fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that the sequences come from one place, and the numbers."""
        tables = (self.train, self.valid, self.test)
        if (self.store is None) == (tables == (None, None, None)):
            raise InputError(
                "data: name either tables (data.train, data.valid, data.test) or a genome store (data.store)"
            )
        for name in ("length", "train_step", "windows_per_genome", "test_windows_per_genome"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"data.{name} must be at least 1, not {value}")

    def load(self, split: str, k: int, like: LabelledSequences | None = None) -> LabelledSequences | None:
        """Read one split, or None where the user named none.

        Args:
            split: "train", "valid" or "test".
            k: of the tokenizer, in nt; a shorter sequence has no token and is refused.
            like: examples or model whose class numbers these must share.

        Raises:
            InputError: for bad files, labels or letters.
        """
        if self.store:
            if self.length < k:
                raise InputError(f"data.length of {self.length} nt is shorter than one k-mer of {k} nt; set it higher")
            return self._windows(GenomeStore(self.store), split)
        path = getattr(self, split)
        if path is None:
            return None
        return read_table(
            path,
            sequence_column=self.sequence_column,
            label_column=self.label_column,
            id_column=self.id_column,
            rna=self.rna,
            min_length=k,
            label_names=None if like is None else like.label_names,
            regression=self.regression if like is None else like.label_names is None,
        )

    def require(self, split: str, k: int, like: LabelledSequences | None = None, *, why: str) -> LabelledSequences:
        """Read one split that must be there; ``why`` ends the message where the user named none.

        Raises:
            InputError: as in ``load``, or if there is no such split.
        """
        examples = self.load(split, k, like)
        if examples is None:
            raise InputError(f"data.{split} is not set: {why}")
        return examples

    def _windows(self, store: GenomeStore, split: str) -> LabelledSequences | None:
        if split == "valid" and "valid" not in set(store.contigs.get("split", [])):
            return None
        training = split == "train"
        return labelled_windows(
            store,
            split,
            length=self.length,
            per_genome=self.windows_per_genome if training else self.test_windows_per_genome,
            label_column=self.label_column,
            label_fraction=self.label_fraction if training else 1.0,
            balanced=training,
            step=self.train_step if training else None,
            seed=self.seed,
        )


def finetune(
    pretrained: str,
    data: LabelledData,
    trainer: TrainingArguments,
    from_scratch: bool = False,
    num_windows: int = 1,
    rc_probability: float = 0.0,
    dropout: float | None = None,
    positive: str | None = None,
    baseline_k: int = 4,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fine-tune a sequence classifier (or regressor) and score it on the test split, the k-mer baseline beside it.

    Leaves in ``trainer.output_dir``: model and tokenizer, metrics.json, predictions.tsv, loss.png, and for classes
    roc_pr.png and confusion.png.

    Args:
        pretrained: model folder or Hub name to start from.
        data: labelled sequences.
        trainer: transformers.TrainingArguments.
        from_scratch: keep the model's sizes and tokenizer but start from random weights (BERT's own
            initialisation): the supervised twin.
        num_windows: cut every sequence into so many parts, encoded one by one and joined by a linear layer (the paper's
            two parts for 1000 nt at stride 1).
        rc_probability: chance to show the opposite strand of a training sequence.
        dropout: before the classifier; by default the model's.
        positive: class that F1 is about; by default the second of two.
        baseline_k: also score a logistic regression on k-mer counts; 0 leaves it out.
        resume: go on from the newest checkpoint in the output folder.
        overwrite: train again though the output folder holds a finished run.

    Returns:
        the metrics that are written to metrics.json: "test" and "baselines" beside what training reports.

    Raises:
        InputError: if data, model or folder do not fit; nothing has been written then.

    Source: GenomeNet-BERT, section 3 (fine-tuning: [CLS], projection, classifier) and Table 1.
    """
    folder = claim_output_dir(trainer.output_dir, "metrics.json", overwrite=overwrite, resume=resume)
    check_arguments(trainer)
    _check_numbers(num_windows, rc_probability, dropout, baseline_k)
    tokenizer = load_tokenizer(pretrained)
    training, validation, test = _load_splits(data, tokenizer.k * num_windows)
    if validation is None and trainer.eval_strategy != "no":
        raise InputError(
            "trainer.eval_strategy asks for validation, but there are no validation sequences; set data.valid"
        )
    _check_positive(positive, training.label_names)
    config = load_config(pretrained)
    _check_windows(config, pretrained, num_windows)
    for examples in filter(None, (training, validation, test)):
        _check_longest(examples, tokenizer, num_windows, config.max_position_embeddings)
    set_seed(trainer.seed)
    network = _classifier(pretrained, training, from_scratch, num_windows, dropout, attention_for(trainer))
    trainer.remove_unused_columns = False
    rows = SequenceDataset(training)
    names = training.label_names or ["value"]
    compute = compute_metrics_for(network.config.problem_type, names, positive=positive or 1)
    run = Trainer(
        model=network,
        args=trainer,
        data_collator=DataCollatorForSequences(tokenizer, rc_probability, trainer.seed, num_windows=num_windows),
        train_dataset=rows,
        eval_dataset=SequenceDataset(validation, keep_strand=True) if validation else None,
        processing_class=tokenizer,
        compute_metrics=compute,
        callbacks=[SetEpoch(rows)],
    )
    logger.info("%s training sequences from %s", f"{len(training):,}", training.source)
    metrics: dict[str, Any] = train(run, resume=resume, overwrite=overwrite) | {"train_sequences": len(training)}
    if run.is_world_process_zero():
        if test is not None:
            # In full precision and as ``evaluate`` and ``predict`` do it, so that they give the same numbers.
            scores = predict_scores(network, tokenizer, test.sequences, trainer.per_device_eval_batch_size)
            metrics |= _test(scores, training, test, positive, baseline_k, folder)
        plot_loss(run.state.log_history, folder / "loss.png", ylabel="loss (nats)")
        write_json(folder / "metrics.json", metrics)
    return metrics


def _load_splits(
    data: LabelledData, k: int
) -> tuple[LabelledSequences, LabelledSequences | None, LabelledSequences | None]:
    """Read training, validation and test sequences; every class must be in every split."""
    training = data.require("train", k, why="fine-tuning needs labelled training sequences")
    others = [data.load(split, k, training) for split in ("valid", "test")]
    for other in (training, *others):
        if other is not None:
            check_classes(training, other)
    return training, others[0], others[1]


def _check_positive(positive: str | None, names: list[str] | None) -> None:
    if positive is not None and positive not in (names or []):
        there = f"the classes are {names}" if names else "the labels are numbers, not classes; leave it away"
        raise InputError(f"positive: there is no class {positive!r}; {there}")


def _check_numbers(num_windows: int, rc_probability: float, dropout: float | None, baseline_k: int) -> None:
    if num_windows < 1:
        raise InputError(f"num_windows must be at least 1, not {num_windows}")
    for name, value in (("rc_probability", rc_probability), ("dropout", dropout or 0)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} must lie in 0..1, not {value}")
    if not 0 <= baseline_k <= 8:
        raise InputError(f"baseline_k must lie in 0..8 (0 leaves the baseline out), not {baseline_k}")


def _check_windows(config: Any, pretrained: str, num_windows: int) -> None:
    before = getattr(config, "num_windows", num_windows)
    if before != num_windows:
        raise InputError(f"{pretrained} joins {before} windows; pass --num_windows {before}")


def _check_longest(examples: LabelledSequences, tokenizer: KmerTokenizer, num_windows: int, positions: int) -> None:
    """Check that the longest sequence, or its longest part, fits the model."""
    length, name = max((len(sequence), name) for sequence, name in zip(examples.sequences, examples.ids, strict=True))
    what = "a part" if num_windows > 1 else "a length"
    check_positions(
        tokenizer,
        -(-length // num_windows),
        positions,
        f"{examples.source}: sequence {name}: {what}",
        way_out="shorten it, or cut every sequence into more parts by num_windows",
    )


def _classifier(
    pretrained: str,
    training: LabelledSequences,
    from_scratch: bool,
    num_windows: int,
    dropout: float | None,
    attention: str,
) -> PreTrainedModel:
    """Build the model: pretrained or random weights, plain or hierarchical, the labels' names in its configuration."""
    config = load_config(pretrained)
    settings = config.to_dict() | _label_settings(training.label_names)
    if dropout is not None:
        settings["classifier_dropout"] = dropout
    settings["window_length"] = max(map(len, training.sequences))
    if from_scratch:
        settings["initialisation"] = "bert"
    config_class = type(config)
    if num_windows > 1:
        config_class, settings["num_windows"] = HierarchicalKmerBertConfig, num_windows
    config = config_class.from_dict({key: value for key, value in settings.items() if key not in _IDENTITY})
    model_class = AutoModelForSequenceClassification
    if from_scratch:
        return model_class.from_config(config, attn_implementation=attention)
    with _readable(pretrained):  # a classifier of other classes gets a new head
        return model_class.from_pretrained(
            pretrained, config=config, attn_implementation=attention, ignore_mismatched_sizes=True
        )


# What a new model must not take over from the old one's configuration.
_IDENTITY = {"architectures", "model_type", "auto_map", "transformers_version", "dtype"}


def _label_settings(names: list[str] | None) -> dict[str, Any]:
    if names is None:
        return {"problem_type": "regression", "id2label": {0: "value"}, "label2id": {"value": 0}}
    numbers = dict(enumerate(names))
    return {
        "problem_type": "single_label_classification",
        "id2label": numbers,
        "label2id": {name: number for number, name in numbers.items()},
    }


def _test(
    scores: np.ndarray,
    training: LabelledSequences,
    test: LabelledSequences,
    positive: str | None,
    baseline_k: int,
    folder: Path,
) -> dict[str, Any]:
    """Score the test split, write predictions and pictures, and score the baselines."""
    labels, names = test.known_labels, test.label_names
    if names is None:
        write_predictions(folder / "predictions.tsv", test, scores, None)
        return {"test": regression_metrics(scores[:, 0], labels)}
    probabilities, target = scores, names.index(positive) if positive else 1
    write_predictions(folder / "predictions.tsv", test, probabilities, names)
    curves = {"KmerBert": (probabilities, labels)}
    if baseline_k:
        title = f"{baseline_k}-mer logistic regression"
        guess = kmer_baseline(
            training.sequences, training.known_labels, test.sequences, baseline_k, num_classes=len(names)
        )
        curves[title] = (guess, labels)
    plot_roc_pr(curves, folder / "roc_pr.png", positive=target)
    plot_confusion(labels, probabilities, names, folder / "confusion.png")
    majority = majority_probabilities(training.known_labels, len(labels), num_classes=len(names))
    guesses = {"majority": (majority, labels)} | {name: pair for name, pair in curves.items() if name != "KmerBert"}
    return {
        "test": classification_metrics(probabilities, labels, positive=target),
        "baselines": {name: classification_metrics(*pair, positive=target) for name, pair in guesses.items()},
        "test_sequences": len(test),
    }


def write_predictions(path: Path, examples: LabelledSequences, scores: np.ndarray, names: list[str] | None) -> None:
    """Write one row per sequence: id, length in nt, label where known, prediction, and a probability per class."""
    columns: dict[str, Any] = {"id": examples.ids, "length": [len(sequence) for sequence in examples.sequences]}
    if examples.labels is not None:
        columns["label"] = [names[label] for label in examples.labels] if names else examples.labels.tolist()
    if names:
        columns["prediction"] = [names[best] for best in scores.argmax(1)]
        columns |= {f"p_{name}": scores[:, number].astype(float).tolist() for number, name in enumerate(names)}
    else:
        columns["prediction"] = scores.reshape(len(examples), -1)[:, 0].astype(float).tolist()
    write_tsv(path, list(columns), zip(*columns.values(), strict=True))


def evaluate(
    model: str,
    data: LabelledData,
    output_dir: str,
    split: Literal["train", "valid", "test"] = "test",
    positive: str | None = None,
    batch_size: int = 64,
) -> dict[str, float]:
    """Score a fine-tuned model on labelled sequences.

    Leaves in ``output_dir``: metrics.json, predictions.tsv, and for classes roc_pr.png and confusion.png.

    Args:
        model: folder or Hub name of a fine-tuned model.
        data: labelled sequences.
        output_dir: folder to write to.
        split: which of them.
        positive: class that F1 is about; by default the second of two.
        batch_size: sequences encoded at once.

    Returns:
        the metrics.

    Raises:
        InputError: if data and model do not fit; nothing has been written then.
    """
    folder = Path(output_dir)
    check_output(folder, folder=True)
    network, tokenizer = load_classifier(model)
    names = class_names(network)
    _check_positive(positive, names)
    known = LabelledSequences(source=model, ids=[], sequences=[], label_names=names)
    shortest = tokenizer.k * getattr(network.config, "num_windows", 1)
    examples = data.require(split, shortest, known, why="there is nothing to evaluate")
    if examples.label_names != names:
        raise InputError(f"{examples.source}: the labels are {examples.label_names}, the model knows {names}")
    check_classes(examples, examples)
    scores = predict_scores(network, tokenizer, examples.sequences, batch_size)
    target = names.index(positive) if names and positive else 1
    write_predictions(folder / "predictions.tsv", examples, scores, names)
    labels = examples.known_labels
    if names:
        metrics = classification_metrics(scores, labels, positive=target)
        plot_roc_pr({"KmerBert": (scores, labels)}, folder / "roc_pr.png", positive=target)
        plot_confusion(labels, scores, names, folder / "confusion.png")
    else:
        metrics = regression_metrics(scores[:, 0], labels)
    write_json(folder / "metrics.json", metrics)
    return metrics


def predict(
    model: str,
    input: str,
    output: str,
    sequence_column: str = "sequence",
    id_column: str | None = None,
    rna: bool = False,
    batch_size: int = 64,
) -> None:
    """Predict the class (or value) of every sequence of a file; long sequences are cut into windows and averaged.

    Args:
        model: folder or Hub name of a fine-tuned model.
        input: FASTA, FASTQ, GenBank, 2bit, CSV, TSV or Parquet file, plain or gzipped.
        output: TSV file to write: id, length, prediction and a probability per class.
        sequence_column, id_column: columns of a table.
        rna: read U as T.
        batch_size: windows encoded at once.

    Raises:
        InputError: if the file or the model cannot be read, or a sequence is shorter than one k-mer.
    """
    check_output(Path(output), folder=False)
    network, tokenizer = load_classifier(model)
    examples = read_table(
        input,
        sequence_column=sequence_column,
        id_column=id_column,
        rna=rna,
        min_length=tokenizer.k * getattr(network.config, "num_windows", 1),
        require_labels=False,
    )
    examples = LabelledSequences(source=examples.source, ids=examples.ids, sequences=examples.sequences)
    scores = predict_scores(network, tokenizer, examples.sequences, batch_size)
    write_predictions(Path(output), examples, scores, class_names(network))


@torch.inference_mode()
def predict_scores(
    network: PreTrainedModel, tokenizer: KmerTokenizer, sequences: list[np.ndarray], batch_size: int = 64
) -> np.ndarray:
    """Give class probabilities, or values, for sequences of any length.

    A sequence longer than those the model was fine-tuned on is cut into windows of their length side by side, the last
    one moved back to the end; the probabilities of its windows are averaged.

    Args:
        network: sequence classifier, plain or hierarchical.
        tokenizer: of the model.
        sequences: uint8 letters, one array each.
        batch_size: windows encoded at once.

    Returns:
        (sequences, classes), float64; (sequences, targets) for regression.

    Raises:
        InputError: if ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    parts = getattr(network.config, "num_windows", 1)
    most = parts * ((network.config.max_position_embeddings - 3) * tokenizer.stride + tokenizer.k)
    most = min(most, network.config.window_length or most)
    owner, windows = _cut_all(sequences, most)
    device = torch.device(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    network.eval().to(device)
    collate = DataCollatorForSequences(tokenizer, num_windows=parts)
    order = np.argsort([len(window) for window in windows], kind="stable")  # equal lengths together: little padding
    logits = np.zeros((len(windows), network.config.num_labels))
    for begin in tqdm(range(0, len(order), batch_size), desc="predict", unit="batch", disable=None):
        chosen = order[begin : begin + batch_size]
        batch = collate([{"sequence": windows[number]} for number in chosen])
        output = network(**{name: column.to(device) for name, column in batch.items()})
        logits[chosen] = output.logits.float().cpu().numpy()
    scores = logits if network.config.problem_type == "regression" else softmax(logits)
    counts = np.bincount(owner, minlength=len(sequences))[:, None]
    return np.stack([np.bincount(owner, column, len(sequences)) for column in scores.T], 1) / counts


def _cut_all(sequences: list[np.ndarray], most: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cut sequences into windows of at most ``most`` nt; returns which sequence each belongs to, and the windows."""
    owner, windows = [], []
    for number, letters in enumerate(sequences):
        starts = tile(len(letters), most, most).tolist() or [0]
        if starts[-1] + most < len(letters):
            starts.append(len(letters) - most)
        windows += [letters[start : start + most] for start in starts]
        owner += [number] * len(starts)
    return np.array(owner), windows


def load_config(name: str) -> Any:
    """Load a model's configuration.

    Raises:
        InputError: if there is none, or it is no KmerBert.
    """
    with _readable(name):
        config = AutoConfig.from_pretrained(name)
    if not hasattr(config, "k"):
        raise InputError(
            f"{name} is a {config.model_type} model, not a KmerBert; name a folder that pretrain or finetune made (a "
            "DNABERT goes through hf-genomics convert first)"
        )
    return config


def load_tokenizer(name: str) -> KmerTokenizer:
    """Load a model's tokenizer.

    Raises:
        InputError: if there is none, or it is not the model's: without its file a folder would get the default k-mers.
    """
    with _readable(name):
        tokenizer, config = AutoTokenizer.from_pretrained(name), load_config(name)
    if not hasattr(tokenizer, "k") and (Path(name) / "tokenizer.json").is_file():
        raise InputError(
            f"{name}: its tokenizer ({type(tokenizer).__name__}) is not a KmerTokenizer, which this verb needs; "
            "use a plain Trainer, as tokenizer_configs/README.md shows"
        )
    ours, theirs = ((getattr(each, "k", None), getattr(each, "stride", None)) for each in (tokenizer, config))
    if ours != theirs:
        raise InputError(
            f"{name}: tokenizer_config.json is missing or not the model's: it gives (k, stride) {ours}, the model has "
            f"{theirs}; copy the file of the model there"
        )
    return tokenizer


def load_classifier(name: str) -> tuple[PreTrainedModel, KmerTokenizer]:
    """Load a fine-tuned model and its tokenizer.

    Raises:
        InputError: if they cannot be loaded, or the model has no fine-tuned head.
    """
    config = load_config(name)
    if not any("SequenceClassification" in architecture for architecture in config.architectures or []):
        raise InputError(
            f"{name} is {config.architectures}: not fine-tuned for classification; run hf-genomics finetune first"
        )
    with _readable(name):
        return AutoModelForSequenceClassification.from_pretrained(name), load_tokenizer(name)


class _readable:  # noqa: N801 (reads as a statement: with _readable(name))
    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        if Path(self.name).is_dir() and not (Path(self.name) / "config.json").is_file():
            raise InputError(f"{self.name}: no config.json in this folder; name a model folder")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        broken = (OSError, ValueError, TypeError, SafetensorError)
        if not isinstance(error, broken) or isinstance(error, InputError):
            return
        if not Path(self.name).exists():
            raise InputError(f"{self.name}: no such folder, and no such model on the Hub or in its cache") from error
        reason = " ".join(str(error).split())
        raise InputError(f"{self.name}: cannot load a model ({reason[:200]}); name a model folder") from error


def class_names(network: PreTrainedModel) -> list[str] | None:
    """Give the class names in order, or None for regression."""
    if network.config.problem_type == "regression":
        return None
    return [network.config.id2label[number] for number in range(network.config.num_labels)]
