"""The network: which weights are loaded, and which are new."""

from __future__ import annotations

import logging
import re

import pytest
import torch
from gc_tables import arguments, encoder, pretrained, tables, write_table
from transformers import AutoModelForSequenceClassification

from hf_genomics.finetuning.finetune import finetune
from hf_genomics.finetuning.head import Head
from hf_genomics.labelled.data import LabelledData

pytestmark = pytest.mark.usefixtures("empty_pictures")


def test_finetuning_starts_from_the_pretrained_weights_and_its_twin_from_scratch(home, tmp_path):
    for name, from_scratch in (("pretrained", False), ("twin", True)):
        still = arguments(tmp_path / name, max_steps=1, learning_rate=0.0)
        finetune(pretrained(home), tables(home, "train"), still, Head(from_scratch=from_scratch))
    before, after, twin = encoder(home / "pretrained"), encoder(tmp_path / "pretrained"), encoder(tmp_path / "twin")
    assert before.keys() == after.keys() == twin.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    drawn = [name for name in before if before[name].ndim > 1]
    assert [name for name in drawn if torch.equal(before[name], twin[name])] == []
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "twin").config
    assert (config.initialisation, config.hidden_size) == ("bert", 32)


def test_which_weights_are_new_is_one_line(home, tmp_path, transformers_log):
    with transformers_log.at_level(logging.INFO, logger="hf_genomics"):
        finetune(pretrained(home), tables(home, "train"), arguments(tmp_path / "run", max_steps=1))
    messages = [record.getMessage() for record in transformers_log.records]
    (line,) = (message for message in messages if "classifier" in message)
    assert line == f"new weights, not taken from {pretrained(home)}: bert.pooler.dense, classifier"
    assert any(
        re.fullmatch(r"step 1: training ends after 0:00:\d\d, mean train_loss [\d.]+", text) for text in messages
    )


def test_a_tuned_model_can_be_tuned_to_other_classes(tuned, tmp_path):
    table = write_table(tmp_path / "three.csv", 12, 3, label=lambda number: "xyz"[number % 3])
    finetune(str(tuned[0]), LabelledData(train=table), arguments(tmp_path / "out", max_steps=1, learning_rate=0.0))
    before, after = encoder(tuned[0]), encoder(tmp_path / "out")
    assert all(torch.equal(before[name], after[name]) for name in before)
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config
    assert config.id2label == {0: "x", 1: "y", 2: "z"}
