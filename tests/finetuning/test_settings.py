"""The configuration of a fine-tuned model: what it takes from task, head, training data and pretrained model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_genomics import FusionKmerBertConfig, HierarchicalKmerBertConfig, KmerBertConfig
from hf_genomics.errors import InputError
from hf_genomics.finetuning.head import Head
from hf_genomics.finetuning.settings import (
    TrainingStatistics,
    balanced_weights,
    check_head,
    derive_config,
    digest,
    digest_arrays,
    measure,
    resume_settings,
)
from hf_genomics.labelled.columns import check_task
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.labelled.task import Task
from hf_genomics.sequence import as_letters

CLASSES = Task("single_label_classification", ["no", "yes"])
LABELS = Task("multi_label_classification", ["much_g", "much_a"])
VALUES = Task("regression")
PAIRS, NT = replace(CLASSES, paired=True), replace(CLASSES, level="nt")
TRACKS, SIGNALS = replace(CLASSES, track_names=["age"]), replace(CLASSES, nt_track_names=["ctcf"])
STATISTICS = TrainingStatistics(longest=60)
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def examples(**columns) -> LabelledSequences:
    letters = [as_letters(text) for text in ("ACGTAC", "AAAA", "CC")]
    return LabelledSequences("t.csv", ["a", "b", "c"], letters, **columns)


# what goes into the configuration


def test_task_head_and_data_go_into_the_configuration_and_the_sizes_stay() -> None:
    before = KmerBertConfig(k=3, classifier_dropout=0.4, max_position_embeddings=64, **SIZES)
    head = Head(dropout=0.2, pooling="mean", class_weights=[1.0, 2.0], focal_gamma=2.0)
    after = derive_config(before, CLASSES, head, STATISTICS)
    assert (after.k, after.hidden_size, after.max_position_embeddings) == (3, 16, 64)
    assert (after.id2label, after.label2id) == ({0: "no", 1: "yes"}, {"no": 0, "yes": 1})
    assert (after.problem_type, after.labels_per, after.paired) == ("single_label_classification", "token", False)
    assert (after.max_sequence_length, after.classifier_dropout, after.classifier_pooling) == (60, 0.2, "mean")
    assert (after.class_weights, after.focal_gamma, after.target_means) == ([1.0, 2.0], 2.0, None)


def test_options_that_are_not_given_stay_as_in_the_pretrained_model() -> None:
    before = KmerBertConfig(k=3, classifier_dropout=0.4, classifier_pooling="max", initialisation="kmer", **SIZES)
    after = derive_config(before, CLASSES, Head(), STATISTICS)
    assert (after.classifier_dropout, after.classifier_pooling, after.initialisation) == (0.4, "max", "kmer")
    assert derive_config(before, CLASSES, Head(from_scratch=True), STATISTICS).initialisation == "bert"


def test_nothing_is_left_of_the_labels_that_the_pretrained_model_was_tuned_to() -> None:
    values = replace(STATISTICS, target_means=[1.0], target_scales=[2.0])
    tuned = derive_config(KmerBertConfig(k=3, **SIZES), VALUES, Head(), values)
    assert (tuned.id2label, tuned.target_means, tuned.target_scales) == ({0: "value"}, [1.0], [2.0])
    again = derive_config(tuned, CLASSES, Head(), STATISTICS)
    assert (again.id2label, again.target_means, again.target_scales) == ({0: "no", 1: "yes"}, None, None)


@pytest.mark.parametrize("task", [PAIRS, NT])
def test_a_model_of_parts_becomes_one_of_whole_sequences_for_inputs_that_are_not_cut(task: Task) -> None:
    after = derive_config(HierarchicalKmerBertConfig(k=3), task, Head(), STATISTICS)
    assert type(after) is KmerBertConfig
    assert (after.paired, after.labels_per) == (task.paired, "nt" if task.level == "nt" else "token")


@pytest.mark.parametrize(
    ("head", "parts"), [(Head(num_parts=3), 3), (Head(part_length=25), 3), (Head(part_length=60), 1)]
)
def test_cut_sequences_get_a_model_of_parts(head: Head, parts: int) -> None:
    after = derive_config(KmerBertConfig(k=3), CLASSES, replace(head, aggregation="mean"), STATISTICS)
    assert type(after) is HierarchicalKmerBertConfig
    assert (after.num_parts, after.part_length, after.aggregation) == (parts, head.part_length, "mean")


def test_a_model_of_parts_keeps_them_if_the_head_does_not_say_otherwise() -> None:
    before = HierarchicalKmerBertConfig(k=3, num_parts=4, aggregation="max")
    after = derive_config(before, CLASSES, Head(), STATISTICS)
    assert (type(after), after.num_parts, after.aggregation) == (HierarchicalKmerBertConfig, 4, "max")


def test_a_model_with_tracks_reads_those_of_the_new_task_only() -> None:
    before = FusionKmerBertConfig(k=3, track_names=["a"], track_means=[1.0], track_stds=[2.0])
    statistics = replace(STATISTICS, nt_track_means=[0.5], nt_track_stds=[0.1])
    after = derive_config(before, SIGNALS, Head(), statistics)
    assert (after.track_names, after.track_means, after.nt_track_names) == (None, None, ["ctcf"])
    assert (after.nt_track_means, after.nt_track_stds) == ([0.5], [0.1])
    with pytest.raises(InputError, match=r"data\.columns\.tracks"):
        derive_config(before, CLASSES, Head(), STATISTICS)


def test_pairs_need_a_pretrained_model_with_two_token_types() -> None:
    with pytest.raises(InputError, match="type_vocab_size 1"):
        derive_config(KmerBertConfig(k=3, type_vocab_size=1), PAIRS, Head(), STATISTICS)


def test_stretched_positions_are_those_of_the_new_model() -> None:
    before = KmerBertConfig(k=3, max_position_embeddings=64)
    assert derive_config(before, CLASSES, Head(stretch_positions=200), STATISTICS).max_position_embeddings == 200


# statistics of the training data


def test_the_longest_sequence_and_the_statistics_of_every_column_are_measured() -> None:
    tracks = np.array([[1.0, 7.0], [3.0, 7.0], [np.nan, 7.0]], np.float32)
    signals = [np.full((len(letters), 1), row, np.float32) for row, letters in enumerate(examples().sequences)]
    found = measure(examples(labels=np.array([1.0, 2.0, 6.0]), tracks=tracks, nt_tracks=signals), balanced=False)
    assert found.longest == 6 and found.balanced_weights is None
    assert found.target_means == pytest.approx([3.0]) and found.target_scales == pytest.approx([np.std([1, 2, 6])])
    assert found.track_means == pytest.approx([2.0, 7.0]) and found.track_stds == pytest.approx([1.0, 1.0])
    assert found.nt_track_means == pytest.approx([np.mean([0] * 6 + [1] * 4 + [2] * 2)])


def test_a_column_that_does_not_vary_is_not_scaled_by_the_rounding_of_its_mean() -> None:
    assert np.std([0.1] * 3) > 0, "why it has to be tested"
    same = examples(labels=np.full(3, 0.1), problem_type="regression")
    assert measure(same, balanced=False).target_scales == [1.0]


def test_balanced_weights_make_every_class_count_the_same() -> None:
    found = balanced_weights(examples(labels=np.array([0, 1, 1]), label_names=["no", "yes"]))
    assert found[0] * 1 == pytest.approx(found[1] * 2) == pytest.approx(3 / 2)
    assert measure(examples(labels=np.array([0, 1, 1]), label_names=["no", "yes"]), balanced=True).balanced_weights


def test_balanced_weights_of_nucleotides_count_those_with_a_label() -> None:
    nt_labels = [np.array([0, 0, 1, -100, 1, 1]), np.array([1, 1, 1, 1]), np.array([-100, -100])]
    found = balanced_weights(examples(nt_labels=nt_labels, label_names=["no", "yes"]))
    assert found == pytest.approx([9 / (2 * 2), 9 / (2 * 7)])


def test_balanced_weights_of_yes_no_labels_are_negatives_per_positive() -> None:
    labels = np.array([[1, 0], [0, 1], [0, np.nan]])
    several = {"label_names": ["g", "a"], "problem_type": "multi_label_classification"}
    assert balanced_weights(examples(labels=labels, **several)) == pytest.approx([2.0, 1.0])
    labels[:, 1] = 0
    with pytest.raises(InputError, match=r"t\.csv: label 'a' .*head\.balanced"):
        balanced_weights(examples(labels=labels, **several))


# what does not fit together


@pytest.mark.parametrize(
    ("task", "keys"),
    [
        (replace(NT, paired=True), ["columns.nt_labels", "columns.pair"]),
        (Task("regression", ["value"]), ["columns.labels", "columns.label "]),
        (replace(SIGNALS, paired=True), ["columns.nt_tracks", "columns.pair"]),
        (replace(TRACKS, level="nt"), ["columns.nt_labels", "columns.tracks"]),
        (replace(SIGNALS, level="nt"), ["columns.nt_labels", "columns.nt_tracks"]),
    ],
)
def test_inputs_that_no_model_takes_together_are_refused_by_key(task: Task, keys: list[str]) -> None:
    with pytest.raises(InputError) as error:
        check_task(task)
    assert [key for key in keys if f"data.{key}" not in str(error.value)] == []


@pytest.mark.parametrize("task", [CLASSES, LABELS, VALUES, PAIRS, NT, TRACKS, SIGNALS, replace(TRACKS, paired=True)])
def test_every_kind_of_task_is_accepted_with_the_default_head(task: Task) -> None:
    check_task(task)
    check_head(Head(), task, 3)


@pytest.mark.parametrize(
    ("task", "options", "keys"),
    [
        (VALUES, {"balanced": True}, ["balanced"]),
        (VALUES, {"focal_gamma": 1.0}, ["focal_gamma"]),
        (CLASSES, {"balanced": True, "class_weights": [1.0, 1.0]}, ["balanced", "class_weights"]),
        (CLASSES, {"class_weights": [1.0]}, ["class_weights"]),
        (CLASSES, {"class_weights": [1.0, 0.0]}, ["class_weights"]),
        (CLASSES, {"class_weights": [1.0, float("nan")]}, ["class_weights"]),
        (CLASSES, {"class_weights": [1.0, float("inf")]}, ["class_weights"]),
        (CLASSES, {"balanced": True, "oversample": True}, ["balanced", "oversample"]),
        (CLASSES, {"aggregation": "mean"}, ["aggregation", "num_parts", "part_length"]),
        (CLASSES, {"num_parts": 2, "part_length": 30}, ["num_parts", "part_length"]),
        (CLASSES, {"part_length": 5}, ["part_length"]),
        (PAIRS, {"num_parts": 2}, ["num_parts"]),
        (NT, {"num_parts": 2}, ["num_parts"]),
        (TRACKS, {"part_length": 30}, ["part_length"]),
        (SIGNALS, {"part_length": 30}, ["part_length"]),
        (NT, {"rc_probability": 0.5}, ["rc_probability"]),
    ],
)
def test_options_that_do_not_fit_the_task_are_refused_by_key(task: Task, options: dict, keys: list[str]) -> None:
    with pytest.raises(InputError) as error:
        check_head(Head(**options), task, 3)
    assert [key for key in keys if f"head.{key}" not in str(error.value)] == []


# what a resumed run must share


def test_a_digest_is_of_content_and_order_and_of_every_column() -> None:
    labels = {"labels": np.array([0, 1, 1]), "label_names": ["no", "yes"]}
    table = examples(**labels)
    assert digest(table) == digest(replace(table, source="other.csv", ids=["x", "y", "z"]))
    others = [
        replace(table, sequences=table.sequences[::-1]),
        replace(table, labels=np.array([1, 0, 1])),
        replace(table, pairs=table.sequences),
        replace(table, tracks=np.zeros((3, 1), np.float32)),
        replace(table, nt_tracks=[np.zeros((len(letters), 1), np.float32) for letters in table.sequences]),
    ]
    assert len({digest(each) for each in (table, *others)}) == 6


def test_a_digest_of_arrays_tells_shapes_apart() -> None:
    flat = np.arange(6.0)
    assert digest_arrays([flat]) == digest_arrays([np.arange(6.0)]) != digest_arrays([flat.reshape(2, 3)])
    assert digest_arrays([torch.arange(6.0)]) == digest_arrays([torch.arange(6.0)]) != digest_arrays([torch.ones(6)])


def test_a_resumed_run_shares_data_weights_and_strands() -> None:
    table, network = examples(labels=np.array([0, 1, 1]), label_names=["no", "yes"]), torch.nn.Linear(2, 2)
    found = resume_settings(table, None, network, Head(rc_probability=0.5))
    assert (found["data.train"], found["data.valid"], found["head.rc_probability"]) == (digest(table), None, 0.5)
    with torch.no_grad():
        network.weight[0, 0] += 1
    other = resume_settings(table, table, network, Head(rc_probability=0.5))
    assert found["weights to start from"] != other["weights to start from"] and other["data.valid"]


def test_a_threshold_of_the_pretrained_model_is_not_taken_over() -> None:
    labels = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}
    before = KmerBertConfig(k=3, positive_class="yes", decision_threshold=0.9, **labels, **SIZES)
    after = derive_config(before, replace(CLASSES, positive="no"), Head(), STATISTICS)
    assert (after.positive_class, after.decision_threshold) == ("no", None)
