"""transformers' pipelines say where in the DNA their answers lie, per token and per nucleotide."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import pipeline

from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerBertForTokenClassification, KmerTokenizer

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
DNA = "ACGTTGcatTNACCGGATT"


@pytest.fixture
def saved(tmp_path) -> Any:
    """Write a token classifier, and return its pipeline and its model."""

    def make(labels_per: str, k: int = 3, stride: int = 1) -> tuple[Any, Any]:
        torch.manual_seed(0)
        config = KmerBertConfig(
            k=k, stride=stride, labels_per=labels_per, id2label={0: "in", 1: "ex"}, max_position_embeddings=64, **SIZES
        )
        model = KmerBertForTokenClassification(config).eval()
        with torch.no_grad():
            model.classifier.weight.normal_()
        model.save_pretrained(tmp_path)
        KmerTokenizer(k, stride).save_pretrained(tmp_path)
        return pipeline("token-classification", str(tmp_path)), model

    return make


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (3, 2), (4, 3)])
def test_tokens_have_positions_in_nt(saved, k: int, stride: int) -> None:
    classify, _ = saved("token", k, stride)
    found = classify(DNA)
    assert [(cell["start"], cell["end"]) for cell in found] == [
        (start, start + k) for start in range(0, len(DNA) - k + 1, stride)
    ]
    assert all(cell["word"].upper() == DNA[cell["start"] : cell["end"]].upper() for cell in found)


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (3, 2), (4, 3)])
@torch.no_grad()
def test_a_model_per_nucleotide_classifies_every_nucleotide(saved, k: int, stride: int) -> None:
    classify, model = saved("nt", k, stride)
    found = classify(DNA)
    logits = model(**KmerTokenizer(k, stride)(DNA, return_tensors="pt")).logits[0, : len(DNA)]
    assert [cell["entity"] for cell in found] == [model.config.id2label[index] for index in logits.argmax(-1).tolist()]
    assert [(cell["start"], cell["end"], cell["index"]) for cell in found] == [(i, i + 1, i) for i in range(len(DNA))]
    assert "".join(cell["word"] for cell in found) == DNA


def test_runs_of_one_class_cover_the_sequence(saved) -> None:
    classify, _ = saved("nt")
    runs = classify(DNA, aggregation_strategy="simple")
    assert [run["start"] for run in runs] == [0, *(run["end"] for run in runs[:-1])] and runs[-1]["end"] == len(DNA)
    assert all(run["word"] == DNA[run["start"] : run["end"]] for run in runs)


@pytest.mark.parametrize("labels_per", ["token", "nt"])
def test_all_strategies_of_aggregation_join_neighbours_of_one_class(saved, labels_per: str) -> None:
    classify, _ = saved(labels_per)
    runs = classify(DNA, aggregation_strategy="simple")
    for strategy in ("first", "average", "max", "MAX"):
        assert classify(DNA, aggregation_strategy=strategy) == runs
    for wrong in ({"aggregation_strategy": "mean"}, {"stride": 2}):
        with pytest.raises(ValueError, match="simple|hf-genomics predict"):
            classify(DNA, **wrong)


@pytest.mark.parametrize("labels_per", ["token", "nt"])
def test_batches_give_what_single_sequences_give(saved, labels_per: str) -> None:
    classify, _ = saved(labels_per)
    rows = [DNA, "ACGTA", "", "AC", DNA[::-1]]
    several = classify(rows, batch_size=3)
    for row, found in zip(rows, several, strict=True):
        alone = classify(row)
        assert [(cell["entity"], cell["start"]) for cell in found] == [
            (cell["entity"], cell["start"]) for cell in alone
        ]
    assert several[2] == several[3] == []


@pytest.mark.parametrize(("labels_per", "count"), [("token", 62), ("nt", 64)])
def test_a_long_sequence_is_truncated_to_what_the_model_reads(saved, labels_per: str, count: int) -> None:
    classify, _ = saved(labels_per)
    assert len(classify("ACGT" * 40)) == count


def test_a_model_per_nucleotide_refuses_several_sequences_in_one_text(saved) -> None:
    classify, _ = saved("nt")
    with pytest.raises(ValueError, match="blanks"):
        classify("ACG CGT")


def test_other_pipelines_stop_at_what_the_model_reads(tmp_path) -> None:
    config = KmerBertConfig(k=3, max_position_embeddings=64, **SIZES)
    KmerBertForSequenceClassification(config).save_pretrained(tmp_path)
    KmerTokenizer(3).save_pretrained(tmp_path)
    classify = pipeline("text-classification", str(tmp_path))
    (cut,) = classify(["ACGT" * 40], truncation=True, top_k=None)
    (whole,) = classify([("ACGT" * 40)[:64]], top_k=None)
    assert cut == whole and len(cut) == 2
    with pytest.raises(ValueError, match="64 positions"):
        classify("ACGT" * 40)
