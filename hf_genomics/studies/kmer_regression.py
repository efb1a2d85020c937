"""A cell of the label-scarcity study without a network: logistic regression on k-mer counts.

python -m hf_genomics.studies.kmer_regression recipe.yaml
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import InputError
from ..evaluation.baseline import kmer_baseline
from ..evaluation.decisions import ThresholdScore, choose_threshold
from ..evaluation.metrics import classification_metrics
from ..inference.predictions import Predictions, decide
from ..io.text_tables import list_names
from ..io.writing import write_json
from ..labelled.columns import Columns
from ..labelled.data import LabelledData
from ..labelled.windows import LabelledWindows

logger = logging.getLogger(__name__)


def regress(
    data: LabelledData,
    ks: list[int],
    folder: Path,
    positive: str,
    seed: int = 0,
    threshold: ThresholdScore | None = None,
) -> dict[str, Any]:
    """Fit a regression for each k, choose the one with the best macro recall in validation, and score it on the test.

    Writes predictions.tsv and metrics.json, as `finetune` does.

    Args:
        data: labelled windows of a store.
        ks: sizes of k-mers, in nt.
        folder: folder to write to.
        positive: class that F1, AUROC and AUPRC refer to.
        seed: seed of the solver.
        threshold: score by which the threshold of the positive class is chosen in validation, for each k, as
            ``head.threshold`` of `finetune` does for a model; None for the more probable class.

    Returns:
        The metrics: the scores on the test, k, and the macro recall of each k in validation.

    Raises:
        InputError: if there are not two classes, ``positive`` one of them.
    """
    train, valid, test = (data.require(split, 1, why="the study needs it") for split in ("train", "valid", "test"))
    names = test.label_names or []
    if len(names) != 2 or positive not in names:
        raise InputError(
            f"{test.source}: classes {list_names(names)}; the study needs two, one of them the value of positive, "
            f"{positive!r}; correct the recipe or the data"
        )
    target = names.index(positive)
    best, chosen, in_validation = -1.0, ks[0], {}
    predictions = Predictions(test, np.zeros((0, 2)), [], test.label_names)
    for k in ks:
        # Both splits at once, because the fit takes most of the time.
        both = kmer_baseline(
            train.sequences, train.known_labels, [*valid.sequences, *test.sequences], k, seed, num_classes=2
        )
        on_valid = Predictions(valid, both[: len(valid)], [], valid.label_names)
        if threshold is not None:
            lowest = choose_threshold(on_valid.scores[:, target], valid.known_labels == target, threshold)
            on_valid = on_valid._replace(threshold=(lowest, target))
        recall = _score(on_valid, target)["macro_recall"]
        in_validation[k] = recall
        logger.info("%d-mers: macro recall %.1f in validation", k, 100 * recall)
        if recall > best:
            best, chosen = recall, k
            predictions = on_valid._replace(examples=test, scores=both[len(valid) :])
    folder.mkdir(parents=True, exist_ok=True)
    predictions.write(folder / "predictions.tsv")
    metrics = {"test": _score(predictions, target), "k": chosen, "valid": {"macro_recall": in_validation}}
    metrics |= {"train_sequences": len(train), "test_sequences": len(test)}
    write_json(folder / "metrics.json", metrics)  # last: it marks the cell as finished
    return metrics


def _score(predictions: Predictions, positive: int) -> dict[str, float]:
    """Compute the scores of the windows of a split; ``positive`` is the id of the positive class."""
    predicted = decide(predictions.scores, predictions.threshold)
    labels = predictions.examples.known_labels
    return classification_metrics(predictions.scores, labels, positive=positive, predicted=predicted)


def labelled_data(settings: dict[str, Any]) -> LabelledData:
    """Return the labelled data that the section `data` of a recipe describes.

    Args:
        settings: the section.

    Raises:
        InputError: if a key or value is wrong.
    """
    sections = {"windows": LabelledWindows, "columns": Columns}
    try:
        built = {name: kind(**settings[name]) for name, kind in sections.items() if name in settings}
        return LabelledData(**(settings | built))
    except TypeError as error:
        raise InputError(f"finetuning: options: data: {error}; correct the key") from error


def main(recipe: str) -> None:
    """Run the cell that a recipe describes.

    Args:
        recipe: YAML file with the sections data, ks, positive, seed, threshold and output_dir.
    """
    settings = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    folder = Path(settings.pop("output_dir"))
    regress(labelled_data(settings.pop("data")), folder=folder, **settings)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(sys.argv[1])
    except InputError as error:
        sys.stderr.write(f"hf-genomics: error: {error}\n")
        sys.exit(2)
