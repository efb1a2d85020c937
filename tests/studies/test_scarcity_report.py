"""Figure and report of the study."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hf_genomics.studies.scarcity_report import plot_scarcity, write_study_report
from hf_genomics.studies.scarcity_scores import published_rows

FACTS = {"cells": 9, "finished": 6, "genomes": {"train": 2619, "valid": 285, "test": 783}, "samples": 50}
FACTS |= {"unit": "genome", "pretraining": "wide by r.yaml."}


@pytest.fixture
def table():
    rows = []
    for genomes in (26, 262):
        for setup, arm, value in (("wide", "pretrained", 0.79), ("wide", "twin", 0.69), ("", "kmers", 0.72)):
            row = {"source": "this study", "length": 150, "genomes": genomes, "share": genomes / 2619, "setup": setup}
            row |= {"arm": arm, "seeds": 1, "k": "4" if arm == "kmers" else "", "macro_recall_sd": np.nan}
            for name in ("macro_recall", "f1", "auroc", "over_twin", "over_kmers"):
                row |= {name: value, f"{name}_low": value - 0.02, f"{name}_high": value + 0.02}
            rows.append(row)
    return pd.DataFrame([*rows, *published_rows([150])])


def test_the_report_says_what_pretraining_gained_and_shows_the_figure(table, tmp_path):
    plot_scarcity(table, tmp_path / "figure.png")
    write_study_report(table, FACTS, tmp_path)
    report = (tmp_path / "report.html").read_text()
    assert "150 nt, 262 labelled genomes: wide, pretrained has a macro recall of 79.0%" in report
    assert "6 of 9 cells" in report and "wide by r.yaml" in report and "self-GenomeNet" in report
    assert report.count('src="data:image/png;base64,') == 1


def test_a_study_without_a_pretrained_cell_has_a_report_too(table, tmp_path):
    rows = table[(table["arm"] == "kmers") & (table["genomes"] == 26)]
    plot_scarcity(rows, tmp_path / "figure.png")
    write_study_report(rows, FACTS, tmp_path)
    assert "No cell with a pretrained model" in (tmp_path / "report.html").read_text()
