"""Splits: which rows a run reads, and how one table is split."""

from __future__ import annotations

import logging

import pandas as pd
import pytest
from gc_tables import arguments, pretrained, tables
from transformers import TrainingArguments

from hf_genomics.errors import InputError
from hf_genomics.evaluation.evaluate import evaluate
from hf_genomics.finetuning.plan import plan_finetuning
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData
from hf_genomics.sequence import reverse_complement

pytestmark = pytest.mark.usefixtures("empty_pictures")


def test_rows_without_a_known_kmer_are_omitted_and_pretrained_weights_are_finite(home, tmp_path, caplog):
    rows = pd.read_csv(home / "train.csv")
    rows.loc[3, "sequence"] = "N" * 40
    rows.to_csv(tmp_path / "t.csv", index=False)
    data = LabelledData(train=str(tmp_path / "t.csv"), test=str(home / "test.csv"))
    plan = plan_finetuning(str(home / "pretrained"), data, TrainingArguments(str(tmp_path / "out")))
    assert len(plan.splits.training) == len(rows) - 1 and "1 of" in caplog.text and "'4'" in caplog.text


def test_one_table_is_split_alike_for_training_and_for_scores(home, tuned, tmp_path, caplog):
    data = tables(home, "train", columns=Columns(id="name"), split=[0.7, 0.1, 0.2])
    with caplog.at_level(logging.INFO, "hf_genomics"):
        plan = plan_finetuning(pretrained(home), data, arguments(tmp_path / "split"))
    facts = plan.data_facts
    assert facts["split"]["rows"] == {"train": 112, "valid": 16, "test": 32}
    assert facts["leaks"] == {"train/valid": 0, "train/test": 0, "valid/test": 0}
    assert "test gets 32 rows, 20.0 % (at 16, gc 16)" in caplog.text
    scores = evaluate(str(tuned[0]), data, str(tmp_path / "scores"))
    assert {name: scores[name] for name in ("split", "leaks")} == {name: facts[name] for name in ("split", "leaks")}
    scored = pd.read_csv(tmp_path / "scores" / "predictions.tsv", sep="\t")["id"]
    assert scored.tolist() == plan.splits.test.ids
    with pytest.raises(InputError, match=r"data\.split gives no rows to valid"):
        evaluate(str(tuned[0]), tables(home, "train", split=[0.7, 0, 0.3]), str(tmp_path / "none"), "valid")


def test_training_rows_of_other_splits_are_dropped_on_request(home, tuned, tmp_path, caplog):
    rows = pd.read_csv(home / "train.csv").head(40)
    rows.to_csv(tmp_path / "some.csv", index=False)
    rows.head(6).assign(sequence=[reverse_complement(text) for text in rows.sequence[:6]]).to_csv(
        tmp_path / "leaky.csv", index=False
    )
    data = LabelledData(train=str(tmp_path / "some.csv"), test=str(tmp_path / "leaky.csv"), drop_leaks=True)
    with caplog.at_level(logging.INFO, "hf_genomics"):
        plan = plan_finetuning(pretrained(home), data, arguments(tmp_path / "dropped"))
    assert plan.data_facts["dropped_leaks"] == 6 and plan.data_facts["leaks"] == {"train/test": 0}
    assert plan.splits.training.ids == [str(row) for row in range(7, 41)] and "6 training rows omitted" in caplog.text
    metrics = evaluate(str(tuned[0]), data, str(tmp_path / "scores"))
    assert metrics["dropped_leaks"] == 6 and metrics["leaks"] == {"train/test": 0}
