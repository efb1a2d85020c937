"""Score a fine-tuned model on labelled sequences: the verb `evaluate`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..checks.leaks import drop_leaks, find_leaks, warn_of_leaks
from ..checks.meaning import KINDS, describe_labels, task_facts
from ..checks.splits import split_table
from ..errors import InputError
from ..genomes.splits import SPLITS
from ..inference.predictions import AverageOptions, Predictions, check_averages, decide, log_threshold
from ..inference.problems import Problem, joined, noun_of, place_of
from ..inference.windows import row_problems
from ..io.streams import destination
from ..io.writing import check_output, check_output_file, write_json
from ..labelled.data import LabelledData
from ..labelled.datasets import Source
from ..labelled.labels import check_columns
from ..labelled.sequences import LabelledSequences, check_classes
from ..labelled.tables import read_labelled
from ..labelled.task import Task
from ..loading.adapters import ADAPTER_CONFIG, base_of
from ..loading.config_facts import shortest_sequence, task_of
from ..loading.models import load_classifier
from ..reports.score_report import ScoredModel, ScoreReport, main_score, write_score_report
from ..sequence import did_you_mean
from .baseline import Baseline, baseline_predictions, check_baselines
from .decisions import Reliability, reliability
from .explained_scores import explain_classification, explain_columns
from .intervals import SEED, Bootstrap, bootstrap
from .metrics import (
    SCORES,
    SequenceClassificationMetrics,
    classification_metrics,
    multilabel_metrics,
    regression_metrics,
    scores_per_column,
)
from .pictures import plot_confusion, plot_reliability, plot_roc_pr, plot_scatter

logger = logging.getLogger(__name__)

#: Why a model with a threshold and the baselines of `evaluate` are compared by scores that depend on no threshold.
_THRESHOLD_NOTE = (
    "Only the model has a threshold that was chosen on validation data; the baselines predict the most probable class. "
    "Compare them by AUROC and AUPRC, which do not depend on a threshold."
)


def check_positive(positive: str | None, task: Task) -> None:
    """Check that the positive class is one of two classes.

    Args:
        positive: name of the class, or None for the default.
        task: task of the examples or the model.

    Raises:
        InputError: naming the class and the classes of the task.
    """
    if positive is None:
        return
    if not task.is_classification:
        raise InputError(f"positive is {positive!r}, but the labels are not one class out of several; omit it")
    names = task.names or []
    if positive not in names:
        raise InputError(f"positive: {positive!r} is not a class{did_you_mean(positive, names)}; name one of {names}")
    if len(names) != 2:
        raise InputError(
            f"positive is {positive!r}, but F1 is averaged over all {len(names)} classes, so no single one is "
            "positive; omit it"
        )


def positive_class(positive: str | None, task: Task) -> str | None:
    """Return the class, of two, that F1 and AUPRC refer to; None if there are not two classes.

    Args:
        positive: class that the user named, or None.
        task: task of the model; without a positive class of its own, as in models of version 0.1, the second class is
            the positive one.
    """
    if not task.is_classification or len(task.names or []) != 2:
        return None
    return positive or task.positive or (task.names or [])[1]


def evaluate(
    model: str,
    data: LabelledData,
    output_dir: str,
    split: Literal["train", "valid", "test"] = "test",
    positive: str | None = None,
    batch_size: int = 64,
    overwrite: bool = False,
    baselines: list[Baseline] = [],  # noqa: B006 (never changed)
    options: AverageOptions = AverageOptions(),  # noqa: B008 (immutable)
) -> dict[str, Any]:
    """Score a fine-tuned model on labelled sequences.

    Writes to ``output_dir``: metrics.json, predictions.tsv, report.html and pictures: roc_pr.png, confusion.png and
    reliability.png for classes, reliability.png for several labels, scatter.png for values.

    Args:
        model: folder or Hub name of a fine-tuned model.
        data: labelled sequences. Columns of tracks, and of labels if there are several, are found by the names stored
            in the model, unless ``data.columns`` names other columns. If it names tables of several splits, sequences
            that occur in two of them are counted, and a warning is logged. With ``data.split`` of the table that the
            model was fine-tuned on, the rows of ``split`` are those that `finetune` left for it.
        output_dir: folder to write to, not the folder of a model.
        split: split to score.
        positive: the class, of two, that F1 and AUPRC refer to; by default the model's, which is the rarer class of its
            training data.
        batch_size: number of windows encoded together.
        overwrite: replace the files of an earlier evaluation.
        baselines: simple models to train on the training sequences of ``data`` and score for comparison: "kmer", a
            regression on 4-mer counts, and "conv", a small convolutional network. The most frequent class (or the mean
            value) is scored with them. All of them predict the most probable class, even if the model has a threshold.
        options: strands and frames over which the probabilities (or values) of each sequence are averaged.

    Returns:
        The metrics that are written to metrics.json:

        - the scores, and what they mean; a score without a value is NaN (null in the file), and "undefined" says why
        - "task": how the labels were understood
        - "intervals": 95 % intervals by bootstrap over rows, over sequences if nucleotides are scored, or over groups
        - "calibration": the expected calibration error (ECE) of the probabilities
        - "sequences_without_scores": how many cannot be scored, if any; their cells in predictions.tsv are empty
        - "baselines" and "ahead": scores of the baselines, and how far the model is ahead (see `Comparison`)
        - "leaks", "contradictory_labels", "split", "dropped_leaks", "both_strands", "frames": facts about data and
          options

    Raises:
        InputError: if data and model do not fit, no sequence can be scored (with ``data.strict``, if one cannot), or
            the folder holds a model, or holds an earlier evaluation and ``overwrite`` is false; nothing has been
            written then.
    """
    check_baselines(baselines)
    if baselines and split == "train":
        raise InputError("baselines are fitted on the training rows, which are scored here; score another split")
    folder = evaluation_folder(output_dir, [model, base_of(model), *data.paths().values()], overwrite)
    network, tokenizer = load_classifier(model)
    task = task_of(network.config, model)
    check_positive(positive, task)
    check_averages(task, options)
    log_threshold(task, model)
    shortest = shortest_sequence(network, tokenizer.k)
    examples, others, data_facts = _read_splits(data, split, shortest, task)
    if examples.label_names != task.names and not task.labels_by_column:
        raise InputError(
            f"{examples.source}: the labels are {examples.label_names}, but the model knows {task.names}; set "
            "data.columns.label to the column with the model's labels"
        )
    unscorable = row_problems(examples, network, tokenizer)
    if unscorable and (data.strict or len(unscorable) == len(examples)):
        source = getattr(data, split) or data.train  # with data.split, all splits are in the table data.train
        row = min(unscorable)
        raise _unscorable_error(examples, source, row, unscorable[row], strict=data.strict)
    scorable = examples.take([row for row in range(len(examples)) if row not in unscorable])  # for the check only
    check_classes(scorable, scorable)  # compared with itself, the table must have a row of every class
    training = _training_rows(data, examples, others, shortest) if baselines else None
    task = replace(task, positive=positive_class(positive, task))
    logger.info("%s: %s", examples.source, describe_labels(examples, task.positive))
    predictions = Predictions.of(network, tokenizer, examples, batch_size, options)
    by_baseline = baseline_predictions(training, predictions, baselines) if training else {}
    compared = compare_with_baselines(predictions, by_baseline, task.positive)
    metrics = ScoreReport(compared.scores | data_facts | _leak_facts(split, examples, others))
    metrics |= {"task": task_facts(task, {split: examples})} | options.facts(tokenizer.stride)
    if (calibration := reliability_of(predictions)) is not None:
        metrics["calibration"] = {"ece": calibration.ece}
    if predictions.num_unscored:
        metrics["sequences_without_scores"] = predictions.num_unscored
    if by_baseline:
        metrics |= {"baselines": compared.baselines, "ahead": compared.ahead}
        if predictions.threshold is not None:
            logger.warning("%s", _THRESHOLD_NOTE)
    predictions.write(folder / "predictions.tsv")
    plot_predictions(predictions, folder, task.positive, curves_of(by_baseline))
    write_json(folder / "metrics.json", metrics)
    metrics.scored = _describe(model, folder, split, metrics, compared)
    write_score_report(metrics.scored)
    return metrics


def _describe(model: str, folder: Path, split: str, metrics: Mapping[str, Any], compared: Comparison) -> ScoredModel:
    """Collect what the report and the terminal show.

    Args:
        model: folder or Hub name of the model.
        folder: folder of the evaluation.
        split: the split that was scored.
        metrics: the metrics.
        compared: the scores among them.
    """
    return ScoredModel(
        model=Path(model).resolve().name if Path(model).exists() else model,
        folder=folder,
        split=split,
        task=metrics["task"],
        scores=compared.scores,
        baselines=compared.baselines,
        ahead=compared.ahead,
        leaks=metrics.get("leaks", {}),
        notes=notes_of(metrics),
    )


def notes_of(metrics: Mapping[str, Any]) -> list[str]:
    """Return notes for the reader of the scores, one sentence each.

    Args:
        metrics: metrics of `evaluate`.
    """
    notes = []
    if metrics.get("both_strands"):
        notes.append("Probabilities are means of each sequence and its reverse complement.")
    if frames := metrics.get("frames"):
        notes.append(
            f"Probabilities are means of each sequence in {frames} frames, that is, cut into k-mers in {frames} ways."
        )
    if threshold := metrics.get("threshold"):
        notes.append(f"{threshold['class']!r} is predicted at a probability of {threshold['probability']:.3g} or more.")
        if metrics.get("baselines"):
            notes.append(_THRESHOLD_NOTE)
    if unscored := metrics.get("sequences_without_scores"):
        notes.append(f"Sequences that cannot be scored, and do not count: {unscored:,}.")
    return notes


def _unscorable_error(
    examples: LabelledSequences, source: Source | None, row: int, problem: Problem, *, strict: bool
) -> InputError:
    """Build the error for a sequence that cannot be scored, such as "test.tsv: data row 3 (seq7): has no k-mer of ...".

    Args:
        examples: the sequences that were to be scored.
        source: the table that they were read from; None for the windows of a store.
        row: index of the sequence among ``examples``.
        problem: why it cannot be scored.
        strict: whether it is refused although others can be scored.
    """
    noun = "window" if source is None else noun_of(source)
    more = " (data.strict: without it, its cells are empty)" if strict else "; no other sequence can be scored either"
    place = place_of(examples.source, noun, examples.file_row(row), examples.ids[row])
    return InputError(f"{place}{joined(problem)}{more}")


def _read_splits(
    data: LabelledData, split: str, shortest: int, task: Task
) -> tuple[LabelledSequences, dict[str, LabelledSequences], dict[str, Any]]:
    """Read the split that is scored, and the sequences of the others.

    Args:
        data: the `data` section.
        split: the split that is scored.
        shortest: shortest sequence that the model reads, in nt.
        task: task of the model.

    Returns:
        The rows that are scored; the other splits, by name; and what metrics.json holds about a table that was split
        and about omitted training rows.
    """
    facts: dict[str, Any] = {}
    if data.split is None:
        # checked=False: sequences that cannot be scored get empty cells, see `row_problems`, instead of an error.
        examples = data.require(split, shortest, task, why="there is nothing to evaluate", checked=False)
        others = _other_tables(data, split)
    else:
        # Checked: the split is that of `finetune`, which refuses a table with sequences that cannot be read.
        table = split_table(data.require("train", shortest, task, why="there is nothing to evaluate"), data)
        if split not in table.splits:
            raise InputError(f"data.split gives no rows to {split}: {data.split}; score another split")
        others = dict(table.splits)
        examples, facts["split"] = others.pop(split), table.facts
    if data.drop_leaks:
        splits = others | {split: examples}
        if "train" in splits:
            training = splits.pop("train")
            kept, facts["dropped_leaks"] = drop_leaks(training, splits.values())
            _log_dropped(training, facts["dropped_leaks"])
            if split == "train":
                examples = kept
            else:
                others["train"] = kept
    return examples, others, facts


def _training_rows(
    data: LabelledData, examples: LabelledSequences, others: Mapping[str, LabelledSequences], shortest: int
) -> LabelledSequences:
    """Return the training rows on which baselines are fitted.

    Args:
        data: the `data` section.
        examples: the rows that are scored.
        others: the other splits, by name; they have labels if a table was split.
        shortest: shortest sequence that the model reads, in nt.

    Raises:
        InputError: if there are none, or a column is empty in all of them.
    """
    if data.split is None:
        # Read again, with labels, and leaks dropped again: `others` has only the sequences of the tables.
        training = data.require("train", shortest, examples.task, why="baselines are fitted on it")
        if data.drop_leaks:
            held_out = [rows for name, rows in others.items() if name != "train"]
            training, _ = drop_leaks(training, [examples, *held_out])
    elif "train" in others:
        training = others["train"]
    else:
        raise InputError(f"data.split gives no rows to train on: {data.split}; omit the baselines")
    check_columns(training)
    return training


def _log_dropped(training: LabelledSequences, dropped: int) -> None:
    """Log how many training rows are ignored, and what that means for a model that was trained on them."""
    if dropped:
        logger.info(
            "%s: %s of %s training rows are in other splits too and are ignored (data.drop_leaks); a model that was "
            "trained without data.drop_leaks has seen them, and its scores are inflated",
            *(training.source, f"{dropped:,}", f"{len(training):,}"),
        )


def _other_tables(data: LabelledData, split: str) -> dict[str, LabelledSequences]:
    """Read the sequences of the tables of the other splits.

    A table that cannot be read is not compared, because the scores do not depend on it. With ``data.store``, a store of
    genomes, there are no tables, and nothing is compared here: no genome is in two of its splits, and `finetune` has
    already compared the windows.

    Args:
        data: the `data` section.
        split: the split that is scored.
    """
    # Only sequences are compared, so no other column needs to be there.
    columns = replace(data.columns, id=None, labels=None, nt_labels=None, tracks=None, nt_tracks=None, group=None)
    tables: dict[str, LabelledSequences] = {}
    for name in ("train", "valid", "test"):
        source = getattr(data, name)
        if name != split and source is not None:
            try:
                tables[name] = read_labelled(source, columns, require_labels=False, rna=data.rna)
            except InputError as error:
                # Shared readers name the key of `prepare`; the command line renames it in errors, not in warnings.
                reason = str(error).replace("set --records.rna", "set --data.rna")
                logger.warning("data.%s is not compared with data.%s: %s", name, split, reason)
    return tables


def _leak_facts(split: str, examples: LabelledSequences, others: Mapping[str, LabelledSequences]) -> dict[str, Any]:
    """Count the sequences that occur in two splits, if there are several, and contradictory labels, if there are any.

    Args:
        split: the split that is scored.
        examples: its sequences.
        others: the other splits, by name.
    """
    every = {**others, split: examples}
    splits: dict[str, LabelledSequences] = {name: every[name] for name in SPLITS if name in every}
    found = find_leaks(splits)
    warn_of_leaks(found, splits)
    facts = {}
    if len(splits) > 1:
        facts["leaks"] = found["leaks"]
    if any(found["contradictory_labels"].values()):
        facts["contradictory_labels"] = found["contradictory_labels"]
    return facts


#: Files that an evaluation writes.
FILES = (
    "metrics.json",
    "predictions.tsv",
    "report.html",
    "roc_pr.png",
    "confusion.png",
    "reliability.png",
    "scatter.png",
)


def evaluation_folder(output_dir: str, inputs: list[str | None], overwrite: bool) -> Path:
    """Check that an evaluation may write its files to a folder, and return the folder.

    Args:
        output_dir: the folder, which need not exist.
        inputs: files and folders that are read, and must not be overwritten.
        overwrite: whether the files of an earlier evaluation may be replaced.

    Raises:
        InputError: if it may not; the message names the folder or the file.
    """
    folder = Path(output_dir)
    check_output(folder, folder=True)
    if any((folder / name).exists() for name in ("config.json", ADAPTER_CONFIG)) or any(folder.glob("checkpoint-*")):
        raise InputError(
            f"{folder} holds a model, whose metrics and predictions would be lost; write to a new folder, such as "
            f"{folder / 'evaluation'}"
        )
    for path in (folder / name for name in FILES):
        try:
            check_output_file(str(path), inputs, overwrite=overwrite, other="another folder")
        except InputError as error:
            raise InputError(f"output_dir: {error}") from error
    # As the user wrote it, because it is shown; the other folder if it is a symbolic link.
    return destination(folder) if folder.is_symlink() else folder


def score_predictions(predictions: Predictions, positive: str | None = None) -> dict[str, Any]:
    """Compute the metrics of predictions with known labels; with several labels or targets, also the metrics of each.

    Args:
        predictions: predictions of examples with labels.
        positive: the class, of two, that F1 and AUPRC refer to; by default the second one.

    Returns:
        The metrics and what they mean, as `explain_classification` and `explain_columns` return them; "intervals", the
        95 % interval of each score, and "bootstrap", over what and from how many replicates; and, if it is not 0.5,
        "threshold", the lowest probability at which the positive class is predicted.
    """
    return _score(predictions, positive)[0]


def _score(predictions: Predictions, positive: str | None) -> tuple[dict[str, Any], Bootstrap]:
    """Return what `score_predictions` returns, and the scores of every bootstrap replicate."""
    outputs, labels = predictions.labelled()
    # The names of the predictions, in the order of their columns; the table may have them in another order.
    task, names = predictions.examples.task, predictions.names or []
    positive = positive_class(positive, replace(task, names=names)) if task.is_classification else None
    positive_id = names.index(positive) if positive else 1  # read only if there are two classes
    predicted = decide(outputs, predictions.threshold) if task.is_classification else None
    drawn = bootstrap(
        task.problem_type, outputs, labels, positive=positive_id, predicted=predicted, groups=predictions.groups()
    )
    if predicted is not None:
        scores = _score_classes(outputs, labels, positive_id, predicted, use_evaluate_metric=task.level != "nt")
        explained = explain_classification(scores, outputs, labels, names, positive, predicted)
    else:
        explained = _score_columns(outputs, labels, task, names)
    explained |= {"intervals": drawn.intervals()}
    explained["bootstrap"] = {"replicates": drawn.replicates, "over": drawn.over, "seed": SEED}
    if predictions.threshold is not None:
        lowest, threshold_id = predictions.threshold
        explained["threshold"] = {"class": names[threshold_id], "probability": lowest}
    return explained, drawn


def _score_classes(
    outputs: np.ndarray, labels: np.ndarray, positive_id: int, predicted: np.ndarray, *, use_evaluate_metric: bool
) -> dict[str, float]:
    """Compute the metrics of classes.

    Args:
        outputs: probabilities, (examples, classes).
        labels: class ids, (examples,).
        positive_id: id of the class that F1 and AUPRC refer to.
        predicted: predicted class ids, (examples,).
        use_evaluate_metric: compute them by `SequenceClassificationMetrics`, the exported evaluate.Metric, so that a
            user's own Trainer gets the same scores; not for nucleotides, because it copies row by row (12 s for a
            million).
    """
    if not use_evaluate_metric:
        return classification_metrics(outputs, labels, positive=positive_id, predicted=predicted)
    undefined = dict.fromkeys(SCORES["single_label_classification"], float("nan"))
    del undefined["loss"]
    given = {"predictions": outputs, "references": labels, "positive": positive_id, "predicted": predicted}
    # compute() leaves out the scores that the labels do not define: they are NaN here.
    return undefined | (SequenceClassificationMetrics().compute(**given) or {})


def _score_columns(outputs: np.ndarray, labels: np.ndarray, task: Task, names: list[str]) -> dict[str, Any]:
    """Compute the metrics of several labels, or of values."""
    compute = regression_metrics if task.problem_type == "regression" else multilabel_metrics
    outputs, labels = outputs.reshape(len(outputs), -1), labels.reshape(len(labels), -1)
    each = scores_per_column(compute, outputs, labels, names) if task.labels_by_column else {}
    return explain_columns(compute(outputs, labels), each, outputs, labels, task.problem_type)


class Comparison(NamedTuple):
    """Scores of a model and of baselines.

    Attributes:
        scores: metrics of the model, as `score_predictions` returns them.
        baselines: name of a baseline -> its metrics.
        ahead: name of a baseline -> "score", the score that is compared; "difference", model minus baseline; and
            "interval", its 95 % interval over the same replicates. Baselines without this score are omitted.
    """

    scores: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    ahead: dict[str, dict[str, Any]]


def compare_with_baselines(
    predictions: Predictions, by_baseline: Mapping[str, Predictions], positive: str | None = None
) -> Comparison:
    """Compute the metrics of a model and of baselines, and which is ahead.

    Nothing is logged for baselines. A score that the labels leave undefined has been logged for the model, and everyone
    expects a constant guess to have no correlation.

    Args:
        predictions: predictions of the model.
        by_baseline: name -> predictions of a baseline for the same examples, as `baseline_predictions` returns them.
        positive: as in `score_predictions`.
    """
    scores, drawn = _score(predictions, positive)
    with _silenced(classification_metrics.__module__), _silenced(bootstrap.__module__):
        scored = {name: _score(guessed, positive) for name, guessed in by_baseline.items()}
    main = main_score({"kind": KINDS[predictions.examples.task.problem_type]})
    ahead = {}
    for name, (theirs, their_draws) in scored.items():
        # The score of every replicate, (replicates,); there are none if no row has a label. With the same rows and the
        # same seed, replicate i drew the same rows for both, so the difference is taken replicate by replicate.
        of_model, of_baseline = (one.values.get(main, np.zeros(0)) for one in (drawn, their_draws))
        if len(of_model) and len(of_model) == len(of_baseline) and not np.isnan([scores[main], theirs[main]]).any():
            interval = Bootstrap({main: of_model - of_baseline}, drawn.over).intervals().get(main)
            if interval is not None:
                ahead[name] = {"score": main, "difference": scores[main] - theirs[main], "interval": interval}
    return Comparison(scores, {name: theirs for name, (theirs, _) in scored.items()}, ahead)


@contextlib.contextmanager
def _silenced(module: str) -> Iterator[None]:
    """Disable the logger of a module inside a ``with`` block."""
    module_logger = logging.getLogger(module)
    before, module_logger.disabled = module_logger.disabled, True
    try:
        yield
    finally:
        module_logger.disabled = before


def reliability_of(predictions: Predictions) -> Reliability | None:
    """Compare confidence and accuracy of predictions with known labels; None for values, which have no confidence."""
    if predictions.examples.task.problem_type == "regression":
        return None
    return reliability(*predictions.labelled())


def curves_of(by_baseline: Mapping[str, Predictions]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return scores and labels of the baselines whose curves are drawn: all but the constant guess."""
    return {name: guessed.labelled() for name, guessed in by_baseline.items() if name != "majority"}


def delete_pictures(folder: Path) -> None:
    """Delete the pictures of an earlier evaluation, perhaps of another kind of model, which has others.

    Args:
        folder: folder of the evaluation.
    """
    for name in FILES:
        if name.endswith(".png"):
            (folder / name).unlink(missing_ok=True)


def plot_predictions(predictions: Predictions, folder: Path, positive: str | None, others: dict[str, Any]) -> None:
    """Draw curves and reliability of classes and labels, the confusion matrix of classes, or a scatter of values.

    The pictures of an earlier evaluation are removed.

    Args:
        predictions: predictions of examples with labels.
        folder: folder for roc_pr.png, confusion.png and reliability.png, or for scatter.png.
        positive: the class, of two, that the curves refer to; by default the second one.
        others: name -> (scores, labels) of the baselines whose curves are drawn too, as `curves_of` returns them.
    """
    delete_pictures(folder)
    names, task = predictions.names, predictions.examples.task
    scores, labels = predictions.labelled()
    if task.problem_type == "regression":
        plot_scatter(scores, labels, names or [predictions.examples.label_column or "value"], folder / "scatter.png")
        return
    curves = {"KmerBert": (scores, labels), **others}
    plot_reliability({"KmerBert": reliability(scores, labels)}, folder / "reliability.png")
    if not names:
        return
    if not task.is_classification:
        plot_roc_pr(curves, folder / "roc_pr.png", of_what=f"mean over {len(names)} labels")
        return
    positive_id = names.index(positive) if positive else 1
    of_what = names[positive_id] if len(names) == 2 else f"mean over {len(names)} classes"
    plot_roc_pr(curves, folder / "roc_pr.png", positive=positive_id, of_what=of_what)
    plot_confusion(labels, decide(scores, predictions.threshold), names, folder / "confusion.png")
