"""transformers' pipelines say where in the DNA their answers lie, per token and per nucleotide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import pipeline

import hf_genomics as hg
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
def test_blanks_around_a_sequence_count_as_positions_and_shift_no_class(saved, labels_per: str) -> None:
    classify, _ = saved(labels_per)
    for windows in (False, True) if labels_per == "nt" else (False,):
        expected = [
            (cell["word"], cell["entity"], cell["start"] + 2, cell["end"] + 2)
            for cell in classify(DNA, windows=windows)
        ]
        found = classify(f" \n{DNA} \n", windows=windows)
        assert [(cell["word"], cell["entity"], cell["start"], cell["end"]) for cell in found] == expected


@pytest.mark.parametrize("labels_per", ["token", "nt"])
def test_a_run_has_the_name_of_its_class_with_its_hyphen(saved, labels_per: str) -> None:
    classify, model = saved(labels_per)
    names = {0: "coding", 1: "non-coding"}
    model.config.id2label = classify.model.config.id2label = names
    cells, runs = classify(DNA), classify(DNA, aggregation_strategy="simple")
    assert {run["entity_group"] for run in runs} == {cell["entity"] for cell in cells} == set(names.values())
    for cell in cells:
        assert any(run["start"] <= cell["start"] < run["end"] and run["entity_group"] == cell["entity"] for run in runs)
    classify.model.config.id2label = {0: "B-gene", 1: "I-gene"}  # prefixes as of transformers
    assert {run["entity_group"] for run in classify(DNA, aggregation_strategy="simple")} == {"gene"}


@pytest.mark.parametrize("labels_per", ["token", "nt"])
def test_all_strategies_of_aggregation_join_neighbours_of_one_class(saved, labels_per: str) -> None:
    classify, _ = saved(labels_per)
    runs = classify(DNA, aggregation_strategy="simple")
    for strategy in ("first", "average", "max", "MAX"):
        assert classify(DNA, aggregation_strategy=strategy) == runs
    for wrong in ({"aggregation_strategy": "mean"}, {"stride": 2}):
        with pytest.raises(ValueError, match="simple|windows"):
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


LONG = ["ACGTTGcatTNACCGGATT" * 9, DNA, "ACGT" * 40]


def test_windows_read_a_long_sequence_as_predict_does(tmp_path) -> None:
    torch.manual_seed(0)
    config = KmerBertConfig(k=3, max_position_embeddings=64, id2label={0: "a", 1: "b", 2: "c"}, **SIZES)
    KmerBertForSequenceClassification(config).save_pretrained(tmp_path)
    KmerTokenizer(3).save_pretrained(tmp_path)
    expected = hg.predict_scores(*hg.load_classifier(str(tmp_path)), LONG)
    classify = pipeline("text-classification", str(tmp_path), windows=True)
    for found in (classify(LONG, top_k=None), classify(LONG, top_k=None, batch_size=2)):
        scores = [{one["label"]: one["score"] for one in row} for row in found]
        np.testing.assert_allclose([[row[name] for name in "abc"] for row in scores], expected, rtol=1e-5)
    (best,) = classify(LONG[0])
    assert best["label"] == "abc"[expected[0].argmax()] and len(classify(LONG[0], top_k=2)) == 2
    (same,) = classify(DNA, windows=False)
    assert same["score"] == pytest.approx(expected[1].max(), rel=1e-5)
    for wrong in ("ACG CGT", {"text": DNA, "text_pair": DNA}, "NNNNNN", "ACGT!ACGT"):
        with pytest.raises(ValueError, match="windows|known k-mer"):
            classify(wrong)


def test_the_class_follows_the_threshold_of_the_configuration_as_in_predict(tmp_path) -> None:
    torch.manual_seed(0)
    config = KmerBertConfig(k=3, max_position_embeddings=64, id2label={0: "a", 1: "b"}, positive_class="b", **SIZES)
    for threshold in (0.02, 0.98):
        config.decision_threshold = threshold
        KmerBertForSequenceClassification(config).save_pretrained(tmp_path)
        KmerTokenizer(3).save_pretrained(tmp_path)
        table = hg.predict(str(tmp_path), LONG).to_pandas()
        expected = "b" if threshold < 0.5 else "a"
        assert [*table["prediction"]] == [expected] * 3
        classify = pipeline("text-classification", str(tmp_path))
        for windows, texts in ((True, LONG), (False, [DNA])):
            probabilities = table[f"p_{expected}"] if windows else [*table[f"p_{expected}"][1:2]]
            found = classify(texts, windows=windows)
            assert [one["label"] for one in found] == [expected] * len(texts)
            np.testing.assert_allclose([one["score"] for one in found], probabilities, rtol=1e-5)
            assert [row[0]["label"] for row in classify(texts, windows=windows, top_k=2)] == [expected] * len(texts)
            assert classify(texts[0], windows=windows, top_k=1)[0]["label"] == expected


def test_windows_read_a_long_sequence_per_nucleotide_as_predict_does(saved) -> None:
    classify, model = saved("nt")
    scores = hg.predict_nt_scores(model, KmerTokenizer(3), LONG)
    for found in (classify(LONG, windows=True), classify(LONG, windows=True, batch_size=3)):
        for row, expected, dna in zip(found, scores, LONG, strict=True):
            assert [(cell["start"], cell["end"], cell["word"]) for cell in row] == [
                (place, place + 1, letter) for place, letter in enumerate(dna)
            ]
            assert [cell["entity"] for cell in row] == [model.config.id2label[best] for best in expected.argmax(1)]
            np.testing.assert_allclose([cell["score"] for cell in row], expected.max(1), rtol=1e-5)
    assert [len(row) for row in classify([DNA, LONG[2]])] == [len(DNA), 64]  # without windows, as before


def test_nucleotides_of_a_window_without_a_known_kmer_have_no_entity_and_end_a_run(saved) -> None:
    classify, _ = saved("nt")
    gap = DNA[:16] * 4 + "N" * 128 + DNA[:16] * 4
    cells = classify(gap, windows=True)
    assert {cell["start"] for cell in cells} == {*range(64), *range(192, 256)}
    runs = classify(gap, windows=True, aggregation_strategy="simple")
    assert sum(run["end"] - run["start"] for run in runs) == 128 and all(run["word"].count("N") < 9 for run in runs)


def test_a_model_per_token_has_no_windows(saved) -> None:
    classify, _ = saved("token")
    with pytest.raises(ValueError, match=r"KmerTokenizer\.windows"):
        classify(LONG[0], windows=True)


def test_a_model_of_parts_reads_sequences_of_any_length(tmp_path) -> None:
    torch.manual_seed(0)
    config = hg.HierarchicalKmerBertConfig(k=3, num_parts=2, max_position_embeddings=34, **SIZES)
    hg.HierarchicalKmerBertForSequenceClassification(config).save_pretrained(tmp_path)
    KmerTokenizer(3).save_pretrained(tmp_path)
    expected = hg.predict_scores(*hg.load_classifier(str(tmp_path)), LONG)
    found = pipeline("text-classification", str(tmp_path))(LONG)
    np.testing.assert_allclose([row["score"] for row in found], expected.max(1), rtol=1e-5)


def test_a_model_of_tracks_says_what_takes_tracks(tmp_path) -> None:
    config = hg.FusionKmerBertConfig(k=3, track_names=["t"], max_position_embeddings=64, **SIZES)
    hg.FusionKmerBertForSequenceClassification(config).save_pretrained(tmp_path)
    KmerTokenizer(3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tracks.*predict"):
        pipeline("text-classification", str(tmp_path))(DNA)


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


def test_every_sequence_without_a_known_kmer_is_named(tmp_path, caplog) -> None:
    KmerBertForSequenceClassification(KmerBertConfig(k=3, **SIZES)).save_pretrained(tmp_path)
    KmerTokenizer(3).save_pretrained(tmp_path)
    classify = pipeline("text-classification", str(tmp_path))
    unknown = ["", "AC", "NNNNN", "MKVLQ"]
    caplog.clear()
    classify([*unknown, DNA, "NNNACG"])
    messages = [message for message in caplog.messages if "known k-mer" in message]
    assert [repr(sequence) in message for sequence, message in zip(unknown, messages, strict=True)] == [True] * 4
