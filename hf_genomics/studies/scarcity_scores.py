"""Scores of the label-scarcity study: with intervals over test genomes, in pairs, and beside the published ones.

A *cell* of the study is one trained model: a length of windows, a number of labelled genomes, a set-up of pretraining,
an arm and a seed. The arms are "pretrained", "twin" (the same model from random weights), "frozen" (only its head is
trained) and "kmers" (logistic regression on k-mer counts, which has no set-up).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import InputError
from ..evaluation.intervals import bootstrap
from ..evaluation.metrics import classification_metrics
from ..genomes.store import GenomeStore
from ..io.text_tables import missing_column
from ..labelled.tables import label_or_class
from .scarcity_cells import Cell

SCORES = ("macro_recall", "f1", "auroc")
#: Differences of macro recall that are shown: name -> arm that is subtracted.
DIFFERENCES = {"over_twin": "twin", "over_kmers": "kmers"}
#: Rounded number of FASTA files of the paper ("about 40k", A.2), of which it labels 10, 1 and 0.1 %.
PAPER_GENOMES = 40_000
_PAPER_SHARES = (0.1, 0.01, 0.001)
#: Table 1 of the paper: length -> model -> (macro recall in %, F1) for 10, 1 and 0.1 % of the labels; NaN: not given.
PUBLISHED: dict[int, dict[str, tuple[tuple[float, float], ...]]] = {
    150: {
        "self-GenomeNet": ((78.2, 0.785), (75.3, 0.751), (67.2, 0.700)),
        "supervised": ((71.8, 0.710), (67.6, 0.673), (62.4, 0.608)),
        "GenomeNet-BERT": ((85.7, 0.851), (82.2, 0.821), (77.8, 0.780)),
        "GenomeNet-BERT-mask8": ((85.0, 0.845), (81.7, 0.812), (76.7, 0.762)),
        "GenomeNet-BERT-stride3": ((80.8, 0.801), (75.1, 0.757), (65.6, 0.654)),
    },
    1000: {
        "self-GenomeNet": ((94.0, np.nan), (85.9, np.nan), (73.1, 0.846)),
        "supervised": ((81.5, 0.871), (77.2, 0.867), (70.6, 0.773)),
        "GenomeNet-BERT": ((97.9, 0.986), (94.4, 0.968), (87.8, 0.930)),
        "GenomeNet-BERT-mask8": ((97.2, 0.983), (91.7, 0.953), (81.7, 0.901)),
        "GenomeNet-BERT-stride3": ((98.1, 0.988), (90.9, 0.949), (87.2, 0.927)),
    },
}


class Estimate(NamedTuple):
    """A score with its 95 % confidence interval.

    Attributes:
        value: score of the data.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float


def estimate(samples: np.ndarray) -> Estimate:
    """Return a score and the percentile interval of its bootstrap samples.

    Args:
        samples: the score of the data, then the scores of the samples.

    >>> estimate(np.array([0.5, 0.0, 1.0]))
    Estimate(value=0.5, low=0.025, high=0.975)
    """
    low, high = np.percentile(samples[1:], [2.5, 97.5])
    return Estimate(float(samples[0]), float(low), float(high))


def read_units(store: GenomeStore, column: str) -> dict[str, str]:
    """Return the unit of the bootstrap to which each test contig belongs, by name.

    Args:
        store: genome store with labels and a test split.
        column: column of the units, such as "genome" or "group". The genomes of a unit that are of different classes
            become two units.

    Raises:
        InputError: if the store has no such column.
    """
    if column not in store.contigs:
        raise missing_column(str(store.path), column, store.contigs)
    rows = store.contigs.iloc[store.select("test")]
    labels = rows[label_or_class("label", rows, str(store.path))].astype(str)
    return dict(zip(rows["name"].astype(str), labels + " " + rows[column].astype(str), strict=True))


def cell_samples(predictions: Path, units: Mapping[str, str], positive: str) -> np.ndarray:
    """Compute the scores of a cell, and those of bootstrap samples of its test set.

    Cells of one length have the same units, so the same samples are drawn for them, and they can be compared sample by
    sample.

    Args:
        predictions: predictions.tsv of the cell.
        units: name of a test contig -> its unit, which is drawn as a whole.
        positive: positive class of two.

    Returns:
        `SCORES`, (samples + 1, 3): those of the data first.

    Raises:
        InputError: if the table is of another study.
    """
    texts = dict.fromkeys(("id", "label", "prediction"), str)
    table = pd.read_csv(predictions, sep="\t", dtype=texts, keep_default_na=False)
    contigs = table["id"].str.rsplit(":", n=1).str[0]  # an id is contig:start-end
    found = contigs.map(dict(units))
    names = sorted(set(table["label"]) | {positive})
    if found.isna().any() or len(names) != 2 or not {f"p_{name}" for name in names} <= {*table}:
        raise InputError(f"{predictions}: its rows are not the test windows of this study; delete the folder")
    scores = table[[f"p_{name}" for name in names]].to_numpy(float)
    labels, predicted = (table[column].map(names.index).to_numpy(int) for column in ("label", "prediction"))
    target = names.index(positive)
    drawn = bootstrap(
        "single_label_classification", scores, labels, positive=target, predicted=predicted, groups=found.to_numpy()
    )
    own = classification_metrics(scores, labels, positive=target, predicted=predicted)
    return np.stack([[own[name], *drawn.values[name]] for name in SCORES], axis=1)


def sample_scores(folders: Mapping[Cell, Path], units: Mapping[str, str], positive: str) -> dict[Cell, np.ndarray]:
    """Compute the scores of all cells in the same bootstrap samples.

    Args:
        folders: finished cell -> folder of its results.
        units: name of a test contig -> its unit.
        positive: positive class of two.

    Returns:
        Scores of each cell, (samples + 1, 3): those of the data first.
    """
    found = {cell: cell_samples(folder / "predictions.tsv", units, positive) for cell, folder in folders.items()}
    # Of very many windows fewer samples are drawn, so their number may differ between lengths: the surplus is dropped.
    fewest = min(map(len, found.values()))
    return {cell: samples[:fewest] for cell, samples in found.items()}


def score_rows(scores: Mapping[Cell, np.ndarray], folders: Mapping[Cell, Path], total: int) -> list[dict[str, Any]]:
    """Return a row for each length, number of labelled genomes, set-up and arm: means over seeds, with intervals.

    Args:
        scores: scores of each cell in the bootstrap samples.
        folders: finished cell -> folder of its results.
        total: number of training genomes.

    Returns:
        Rows for table.csv. A difference is the mean over the seeds that both arms have.
    """
    rows = []
    for key in dict.fromkeys(cell._replace(seed=0) for cell in sorted(scores, key=_order)):
        cells = [cell for cell in scores if cell._replace(seed=0) == key]
        row: dict[str, Any] = {"source": "this study", "length": key.length, "genomes": key.genomes}
        row |= {"share": key.genomes / total, "setup": key.setup, "arm": key.arm, "seeds": len(cells)}
        mean = np.mean([scores[cell] for cell in cells], axis=0)
        for place, name in enumerate(SCORES):
            row |= _columns(name, estimate(mean[:, place]))
        recalls = [scores[cell][0, SCORES.index("macro_recall")] for cell in cells]  # of the data, not of samples
        row["macro_recall_sd"] = float(np.std(recalls, ddof=1)) if len(recalls) > 1 else np.nan
        for name, arm in DIFFERENCES.items():
            row |= _columns(name, _difference(scores, cells, arm))
        row["k"] = " ".join(str(_metrics(folders[cell]).get("k", "")) for cell in cells).strip()
        rows.append(row)
    return rows


def _order(cell: Cell) -> tuple[Any, ...]:
    """Return the key by which rows are sorted: short windows and many genomes first, arms in the order of the text."""
    arms = ("pretrained", "twin", "frozen", "kmers")
    return cell.length, -cell.genomes, cell.arm == "kmers", cell.setup, arms.index(cell.arm), cell.seed


def _difference(scores: Mapping[Cell, np.ndarray], cells: Sequence[Cell], arm: str) -> Estimate:
    """Return by how much the macro recall of cells exceeds that of another arm, in the same samples and seeds.

    NaN if the other arm has not been run, or is that of the cells; the k-mer regression is compared with nothing.
    """
    pairs = [(cell, cell._replace(arm=arm, setup="" if arm == "kmers" else cell.setup)) for cell in cells]
    known = [(ours, theirs) for ours, theirs in pairs if theirs in scores and ours != theirs and ours.arm != "kmers"]
    if not known:
        return Estimate(np.nan, np.nan, np.nan)
    recall = SCORES.index("macro_recall")
    return estimate(np.mean([scores[ours][:, recall] - scores[theirs][:, recall] for ours, theirs in known], axis=0))


def _columns(name: str, found: Estimate) -> dict[str, float]:
    """Return the columns of an estimate."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _metrics(folder: Path) -> dict[str, Any]:
    """Read the metrics of a finished cell."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def published_rows(lengths: Iterable[int]) -> list[dict[str, Any]]:
    """Return the rows of the paper's Table 1, for table.csv.

    Args:
        lengths: lengths of the windows in nt.
    """
    return [
        {
            "source": "GenomeNet-BERT, Table 1",
            "length": length,
            "genomes": round(share * PAPER_GENOMES),
            "share": share,
            "arm": model,
            "macro_recall": recall / 100,
            "f1": f1,
        }
        for length in lengths
        for model, values in PUBLISHED.get(length, {}).items()
        for share, (recall, f1) in zip(_PAPER_SHARES, values, strict=True)
    ]


def study_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the table of a study: its own rows, then the published ones of the same lengths.

    Args:
        rows: rows of the study, from `score_rows`.
    """
    table = pd.DataFrame([*rows, *published_rows(dict.fromkeys(row["length"] for row in rows))])
    return table.astype({"seeds": "Int64"})  # whole numbers, although published rows have none


def markdown_table(table: pd.DataFrame) -> str:
    """Return the table as Markdown: a section for each length, then the published scores.

    Args:
        table: the table, as written to table.csv.
    """
    lines: list[str] = []
    for length in table["length"].unique():
        rows = table[table["length"] == length]
        ours, paper = rows[rows["source"] == "this study"], rows[rows["source"] != "this study"]
        lines += [f"## {length} nt", "", _line(HEADER), _line(["---"] * len(HEADER))]
        lines += [_line(readable(row)) for _, row in ours.iterrows()]
        if len(paper):
            lines += ["", f"{PUBLISHED_CAPTION}:", "", _line(PAPER_HEADER), _line(["---"] * len(PAPER_HEADER))]
            lines += [_line(row) for row in readable_published(paper)]
        lines.append("")
    return "\n".join(lines)


HEADER = (
    "labelled genomes", "model", "macro recall (%)", "F1", "AUROC", "above twin", "above k-mers", "seeds",
)  # fmt: skip
PUBLISHED_CAPTION = "Published in Table 1 of GenomeNet-BERT, on other genomes: macro recall in %, F1 in brackets"
PAPER_HEADER = (
    "labelled genomes, about",
    *(f"{share * PAPER_GENOMES:,.0f} ({100 * share:g} %)" for share in _PAPER_SHARES),
)


def readable(row: pd.Series) -> list[str]:
    """Return the texts of a row of this study as a reader sees them.

    The interval of a score is over test genomes; after ± stands the standard deviation over the seeds.

    Args:
        row: row of the table.
    """
    name = model_name(row)
    recall = with_interval(row, "macro_recall", 100, 1)
    if row["seeds"] > 1:
        recall += f" ± {100 * row['macro_recall_sd']:.1f}"
    scores = [recall, *(with_interval(row, score, 1, 3) for score in ("f1", "auroc"))]
    differences = [with_interval(row, score, 100, 1, sign="+") for score in DIFFERENCES]
    return [f"{row['genomes']} ({100 * row['share']:.2g} %)", name, *scores, *differences, str(row["seeds"])]


def readable_published(rows: pd.DataFrame) -> list[list[str]]:
    """Return the published rows of one length as a reader sees them: a row for each model.

    Args:
        rows: published rows of the table.
    """
    found: dict[str, list[str]] = {}
    for _, row in rows.iterrows():
        f1 = "" if np.isnan(row["f1"]) else f" ({row['f1']:.3f})"
        found.setdefault(row["arm"], [row["arm"]]).append(f"{100 * row['macro_recall']:.1f}{f1}")
    return list(found.values())


def model_name(row: pd.Series) -> str:
    """Return the name of a row's model.

    Args:
        row: row of the table.
    """
    if row["arm"] != "kmers":
        return f"{row['setup']}, {row['arm']}"
    ks = sorted(set(str(row["k"]).split()))
    return f"{' or '.join(ks)}-mer regression" if ks else "k-mer regression"


def with_interval(row: pd.Series, name: str, factor: float, digits: int, sign: str = "") -> str:
    """Return a score and its interval as text; the score alone if it has no interval, and "" if there is no score."""
    value, low, high = (factor * float(row[column]) for column in (name, f"{name}_low", f"{name}_high"))
    interval = "" if np.isnan(low) else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return "" if np.isnan(value) else f"{value:{sign}.{digits}f}{interval}"


def _line(cells: Iterable[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
