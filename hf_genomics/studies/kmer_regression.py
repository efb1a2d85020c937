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
from ..evaluation.metrics import classification_metrics
from ..inference.predictions import Predictions
from ..io.writing import write_json
from ..labelled.columns import Columns
from ..labelled.data import LabelledData
from ..labelled.sequences import LabelledSequences
from ..labelled.windows import LabelledWindows

logger = logging.getLogger(__name__)


def regress(data: LabelledData, ks: list[int], folder: Path, positive: str, seed: int = 0) -> dict[str, Any]:
    """Fit a regression for each k, choose the one with the best macro recall in validation, and score it on the test.

    Writes predictions.tsv and metrics.json, as `finetune` does.

    Args:
        data: labelled windows of a store.
        ks: sizes of k-mers, in nt.
        folder: folder to write to.
        positive: class that F1, AUROC and AUPRC refer to.
        seed: seed of the solver.

    Returns:
        The metrics: the scores on the test, k, and the macro recall of each k in validation.
    """
    train, valid, test = (data.require(split, 1, why="the study needs it") for split in ("train", "valid", "test"))
    best, chosen, in_validation = -1.0, ks[0], {}
    probabilities = np.zeros((0, 2))
    for k in ks:
        # Both splits at once, because the fit takes most of the time.
        both = kmer_baseline(
            train.sequences, train.known_labels, [*valid.sequences, *test.sequences], k, seed, num_classes=2
        )
        recall = _score(both[: len(valid)], valid, positive)["macro_recall"]
        in_validation[k] = recall
        logger.info("%d-mers: macro recall %.1f in validation", k, 100 * recall)
        if recall > best:
            best, chosen, probabilities = recall, k, both[len(valid) :]
    folder.mkdir(parents=True, exist_ok=True)
    Predictions(test, probabilities, [], test.label_names).write(folder / "predictions.tsv")
    metrics = {"test": _score(probabilities, test, positive), "k": chosen, "valid": {"macro_recall": in_validation}}
    metrics |= {"train_sequences": len(train), "test_sequences": len(test)}
    write_json(folder / "metrics.json", metrics)  # last: it marks the cell as finished
    return metrics


def _score(probabilities: np.ndarray, examples: LabelledSequences, positive: str) -> dict[str, float]:
    """Compute the scores of the windows of a split."""
    target = (examples.label_names or []).index(positive)
    return classification_metrics(probabilities, examples.known_labels, positive=target)


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
        recipe: YAML file with the sections data, ks, positive, seed and output_dir.
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
