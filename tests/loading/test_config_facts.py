"""A configuration says what a model predicts, and how long a sequence it reads."""

from __future__ import annotations

import pytest

from hf_genomics import (
    HierarchicalKmerBertConfig,
    KmerBertConfig,
    KmerTokenizer,
)
from hf_genomics.labelled.task import Task
from hf_genomics.loading.config_facts import longest_window, parts_of, shortest_sequence, task_of


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("classes", Task("single_label_classification", ["other", "phage"])),
        ("value", Task("regression")),
        ("several", Task("multi_label_classification", ["other", "phage"])),
        ("nucleotides", Task("single_label_classification", ["other", "phage"], "nt")),
        ("pairs", Task("single_label_classification", ["other", "phage"], paired=True)),
        ("parts", Task("single_label_classification", ["other", "phage"])),
        (
            "tracks",
            Task("single_label_classification", ["other", "phage"], track_names=["age"], nt_track_names=["signal"]),
        ),
    ],
)
def test_a_configuration_says_what_the_model_predicts_from_what(kind, task, model_of):
    found = task_of(model_of(kind)[0].config, "runs/model")
    assert found == task and found.source == "runs/model"


@pytest.mark.parametrize(("saved_class", "positive"), [("other", "other"), ("bird", None), (None, None)])
def test_a_configuration_says_which_class_is_positive(saved_class, positive, model_of):
    config = model_of("classes")[0].config
    config.positive_class = saved_class
    assert task_of(config).positive == positive


def test_what_a_model_reads_follows_from_its_configuration(model_of):
    tokenizer, sizes = KmerTokenizer(k=3), {"k": 3, "max_position_embeddings": 34}
    assert longest_window(KmerBertConfig(**sizes), tokenizer) == 34
    assert tokenizer.num_tokens(34) == 34
    assert longest_window(KmerBertConfig(max_sequence_length=20, **sizes), tokenizer) == 20
    parts = HierarchicalKmerBertConfig(num_parts=2, **sizes)
    assert parts_of(parts) == (2, None) and longest_window(parts, tokenizer) == 68
    by_length = HierarchicalKmerBertConfig(num_parts=2, part_length=10, aggregation="mean", **sizes)
    assert parts_of(by_length) == (2, 10) and longest_window(by_length, tokenizer) == 20
    many = HierarchicalKmerBertConfig(part_length=10, aggregation="mean", max_sequence_length=500, **sizes)
    assert longest_window(many, tokenizer) == 500
    assert parts_of(KmerBertConfig(**sizes)) == (1, None)
    assert shortest_sequence(model_of("classes")[0], 3) == 3 and shortest_sequence(model_of("parts")[0], 3) == 6
