"""Old import paths of version 0.1."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from hf_genomics.moved import MOVED

PUBLIC = [  # what README, docs and issues of version 0.1 showed
    ("data.packed_rows", "pack_rows", "batches.packing"),
    ("data.collators", "DataCollatorForSpanMasking", "batches.span_masking"),
    ("data.collators", "DataCollatorForSequences", "batches.sequences"),
    ("data.store", "GenomeStore", "genomes.store"),
    ("data.tables", "LabelledSequences", "labelled.sequences"),
    ("fast_tokenizers", "train_bpe", "training.bpe"),
    ("hub", "push", "sharing.push"),
    ("training.finetune", "finetune", "finetuning.finetune"),
    ("training.finetune", "predict", "inference.predict"),
    ("training.metrics", "SequenceClassificationMetrics", "evaluation.metrics"),
    ("training.running", "SetEpoch", "runs.callbacks"),
    ("training.scoring", "predict_scores", "inference.scores"),
]


@pytest.mark.parametrize(("old", "name", "new"), PUBLIC)
def test_an_old_path_gives_the_object_of_today_with_a_warning(old, name, new):
    module = importlib.import_module(f"hf_genomics.{old}")
    with pytest.warns(FutureWarning, match=f"hf_genomics.{new}"):
        found = getattr(module, name)
    assert found is getattr(importlib.import_module(f"hf_genomics.{new}"), name)


@pytest.mark.parametrize("name", ["Storage", "logger", "GenomeStore"])
def test_the_path_in_the_warning_of_a_moved_name_works(name):
    module = importlib.import_module("hf_genomics.data.store")
    with pytest.warns(FutureWarning, match=f"import {name} from ") as caught:
        found = getattr(module, name)
    home = str(caught[0].message).partition(f"import {name} from ")[2].partition(";")[0]
    assert home.startswith("hf_genomics.") and getattr(importlib.import_module(home), name) is found


def test_a_from_import_of_an_old_path_works_in_a_new_process():
    code = "from hf_genomics.data.packed_rows import pack_rows; print(pack_rows.__module__)"
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "hf_genomics.batches.packing", run.stderr


@pytest.mark.parametrize("old", MOVED)
def test_every_new_module_exists(old):
    for new in MOVED[old]:
        importlib.import_module(f"hf_genomics.{new}")


def test_a_name_that_never_was_and_a_module_that_never_was_are_errors():
    with pytest.raises(ImportError):
        from hf_genomics.data.packed_rows import no_such_name  # noqa: F401
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("hf_genomics.data.no_such_module")
