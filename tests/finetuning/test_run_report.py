"""What screen and report tell about a fine-tuned model."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_genomics.finetuning.run_report import as_report, scored_model

SEEDS = {"seeds": [7, 8], "model": {}, "baselines": {}}
SWEEP = {"metric": "f1", "best": "b", "cells": [{"folder": "a"}, {"folder": "b"}]}


@pytest.mark.parametrize(
    ("metrics", "part"),
    [
        ({"pretrained": "virus-wide"}, "virus-wide"),
        ({"pretrained": None}, "random weights"),
        ({"calibration": {"temperature": 1.25}}, "1.25"),
        ({"seeds": SEEDS}, "seed 7"),
        ({"sweep": SWEEP}, "best of 2 runs by f1"),
        ({"both_strands": True}, "reverse complement"),
        ({"frames": 6}, "6"),
        ({"test_sequences_without_scores": 3}, "3"),
    ],
)
def test_every_fact_that_changes_what_scores_mean_has_a_note(metrics, part):
    notes = scored_model(Path("out"), metrics).notes
    assert sum(part in note for note in notes) == 1
    assert len(notes) == len(metrics)


def test_metrics_without_a_test_split_have_no_notes_and_no_scores():
    found = scored_model(Path("out"), {})
    assert (found.model, found.scores, found.notes) == ("out", {}, [])


def test_a_report_is_the_dictionary_that_is_written():
    metrics = {"pretrained": None, "test": {"f1": 0.5}, "task": {}}
    assert as_report(Path("out"), metrics) == metrics
