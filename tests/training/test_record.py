"""The record of a run tells how a model was made, and nothing that should not be published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import TrainerState, TrainingArguments

from hf_genomics import LabelledSequences
from hf_genomics.training.record import content_hash, published_command, published_name, run_record, split_record


def labelled(*rows: tuple[str, int], ids: list[str] | None = None, source: str = "/home/ann/secret/t.csv"):
    """Make labelled sequences."""
    letters = [np.frombuffer(text.encode(), np.uint8) for text, _ in rows]
    labels = np.array([label for _, label in rows])
    return LabelledSequences(source, ids or [str(row) for row in range(len(rows))], letters, labels, ["a", "b"])


def test_a_record_holds_no_folder_and_no_sequence(tmp_path):
    data = split_record({"train": labelled(("ACGTACGT", 0), ("TTTT", 1)), "valid": None})
    arguments = TrainingArguments(str(tmp_path / "private"), use_cpu=True, learning_rate=3e-4, seed=7)
    record = run_record("finetune", arguments, TrainerState(global_step=5, epoch=0.5), data, str(tmp_path))
    text = json.dumps(record)
    assert "/home" not in text and "private" not in text and "ACGT" not in text and str(tmp_path.parent) not in text
    assert record["base_model"] == tmp_path.name
    assert record["training"]["steps"] == 5 and record["training"]["learning_rate"] == 3e-4
    assert record["data"]["splits"]["train"] | {"sha256": ""} == {
        "file": "t.csv",
        "sequences": 2,
        "nt": 12,
        "shortest": 4,
        "longest": 8,
        "classes": {"a": 1, "b": 1},
        "sha256": "",
    }


def test_the_hash_is_of_sequences_and_labels_only():
    first = content_hash(labelled(("ACGT", 0), ("TT", 1)))
    assert content_hash(labelled(("ACGT", 0), ("TT", 1), ids=["x", "y"], source="other.tsv")) == first
    others = [(("ACGT", 1), ("TT", 1)), (("ACG", 0), ("TTT", 1)), (("TT", 1), ("ACGT", 0))]
    assert len({first, *(content_hash(labelled(*rows)) for rows in others)}) == 4


def test_a_command_keeps_its_options_and_loses_its_folders():
    words = [
        "/opt/bin/hf-genomics",
        "finetune",
        "--data.train",
        "/a/b/t.csv",
        "--trainer.output_dir=/a/run",
        "--x",
        "r/y",
    ]
    assert published_command(words) == "hf-genomics finetune --data.train t.csv --trainer.output_dir=run --x r/y"
    assert published_command(["/usr/bin/pytest", "-q"]) is None
    assert published_command(["/lib/pytest/__main__.py", "-q"]) is None
    words = ["/lib/hf_genomics/__main__.py", "finetune", "--data", "{train: /home/ann/x.csv}", "--model", "~/runs/m"]
    assert published_command(words) == "hf-genomics finetune --data '{train: x.csv}' --model m"


@pytest.mark.parametrize(
    ("word", "published"),
    [
        ("/home/ann/store/", "store"),
        ("~/store/", "store"),
        ("/home/Ann Smith/my store", "'my store'"),
        ("--x=/home/Ann Smith/store/", "--x=store"),
        ('["/home/Ann Smith/x.csv", "/home/ann/y/"]', """'["x.csv", "y"]'"""),
        ("/home/ann/a.fa,/home/ann/b.fa", "a.fa,b.fa"),
        ("runs/store/", "runs/store/"),
    ],
)
def test_folders_with_blanks_and_slashes_at_the_end_are_no_exception(word, published):
    assert published_command(["hf-genomics", "pretrain", word]) == f"hf-genomics pretrain {published}"


def test_a_model_on_the_hub_keeps_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/base").mkdir(parents=True)
    assert [published_name(name) for name in (None, "user/model", "runs/base/")] == [None, "user/model", "base"]
