"""Fine-tuning: what a run learns and writes, and that the saved model gives the same scores when it is loaded again."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer, prepare
from hf_genomics.errors import InputError
from hf_genomics.evaluation.evaluate import evaluate
from hf_genomics.evaluation.metrics import classification_metrics, regression_metrics
from hf_genomics.inference.loading import load_classifier, load_tokenizer
from hf_genomics.inference.predict import PredictOptions, predict
from hf_genomics.inference.scores import predict_scores
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData
from hf_genomics.labelled.windows import LabelledWindows
from hf_genomics.reports.card_file import check_card
from hf_genomics.sequence import reverse_complement
from hf_genomics.training.finetune import finetune, plan_finetuning, run_finetuning
from hf_genomics.training.head import Head

pytestmark = pytest.mark.usefixtures("empty_pictures")

AT_RICH, GC_RICH = (0.4, 0.1, 0.1, 0.4), (0.1, 0.4, 0.4, 0.1)
SCORES = {"accuracy", "macro_recall", "macro_precision", "f1", "f1_macro", "mcc", "auroc", "auprc"}


def dna(random, length, shares=(0.25, 0.25, 0.25, 0.25)):
    return "".join(random.choice(list("ACGT"), length, p=shares))


def write_table(path, rows, seed, label=lambda number: "gc" if number % 2 else "at"):
    """Sequences of 30 to 60 nt, in turn rich in AT and in GC, with an id, a label, and the share of GC."""
    random = np.random.default_rng(seed)
    sequences = [dna(random, random.integers(30, 61), GC_RICH if row % 2 else AT_RICH) for row in range(rows)]
    gc = [(sequence.count("G") + sequence.count("C")) / len(sequence) for sequence in sequences]
    columns = {"name": [f"s{row}" for row in range(rows)], "sequence": sequences, "gc": gc}
    pd.DataFrame(columns | {"label": list(map(label, range(rows)))}).to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Tables, and a model of 2 layers over 3-mers that has not seen anything yet."""
    folder = tmp_path_factory.mktemp("finetune")
    for seed, (split, rows) in enumerate({"train": 160, "valid": 40, "test": 60}.items()):
        write_table(folder / f"{split}.csv", rows, seed)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = KmerBertConfig(k=3, max_position_embeddings=64, **sizes)
    KmerBertForMaskedLM(config).save_pretrained(folder / "pretrained")
    KmerTokenizer(k=3).save_pretrained(folder / "pretrained")
    return folder


def tables(home, *splits, **options):
    return LabelledData(**{split: str(home / f"{split}.csv") for split in splits}, **options)


def arguments(folder, **options):
    settings = {"max_steps": 4, "per_device_train_batch_size": 16, "learning_rate": 1e-3, "use_cpu": True}
    settings |= {"save_strategy": "no", "disable_tqdm": True, "seed": 1, "logging_steps": 2}
    return TrainingArguments(str(folder), **(settings | options))


def numbers(scores):
    """The scores without what they mean."""
    return {name: value for name, value in scores.items() if isinstance(value, float)}


def pretrained(home):
    return str(home / "pretrained")


@pytest.fixture(scope="module")
def tuned(home):
    """A model fine-tuned to tell GC-rich from AT-rich, and its metrics."""
    folder = home / "tuned"
    data = tables(home, "train", "valid", "test", columns=Columns(id="name"))
    options = {"max_steps": 60, "learning_rate": 3e-3, "logging_steps": 10, "eval_strategy": "steps", "eval_steps": 20}
    metrics = finetune(pretrained(home), data, arguments(folder, **options), Head(rc_probability=0.5), positive="gc")
    return folder, metrics


def test_a_learnable_task_is_learnt_in_a_few_dozen_steps(tuned):
    _, metrics = tuned
    assert metrics["test"]["accuracy"] > 0.9 and metrics["test"]["auroc"] > 0.95
    assert metrics["baselines"]["majority"]["accuracy"] == 0.5
    assert metrics["baselines"]["4-mer logistic regression"]["accuracy"] > 0.9


def test_a_run_leaves_model_numbers_predictions_and_pictures(tuned):
    folder, metrics = tuned
    left = {path.name for path in folder.iterdir() if path.suffix != ".py"}  # besides the code
    assert left == {
        *("config.json", "model.safetensors", "tokenizer_config.json", "trainer_state.json"),
        *("metrics.json", "predictions.tsv", "loss.png", "roc_pr.png", "confusion.png", "run.json"),
        *("reliability.png", "report.html"),
        *("settings.json", "README.md"),
    }
    check_card(folder)
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert set(numbers(metrics["test"])) == SCORES and metrics["test"]["positive"] == "gc"
    assert metrics["task"]["counts"]["valid"] == {"at": 20, "gc": 20}
    assert metrics["train_sequences"] == 160 and metrics["test_sequences"] == 60
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in log if "eval_macro_recall" in entry] == [20, 40, 60]


def test_predictions_have_a_row_per_test_sequence_and_a_probability_per_class(tuned, home):
    folder, metrics = tuned
    found, given = pd.read_csv(folder / "predictions.tsv", sep="\t"), pd.read_csv(home / "test.csv")
    assert list(found.columns) == ["id", "length", "label", "prediction", "p_at", "p_gc"]
    assert found["id"].tolist() == given["name"].tolist() and found["label"].tolist() == given["label"].tolist()
    assert found["length"].tolist() == given["sequence"].str.len().tolist()
    assert np.allclose(found["p_at"] + found["p_gc"], 1, atol=2e-6)
    assert ((found["p_gc"] > 0.5) == (found["prediction"] == "gc")).all()
    labels = (found["label"] == "gc").astype(int).to_numpy()
    scores = classification_metrics(found[["p_at", "p_gc"]].to_numpy(), labels)
    assert scores == pytest.approx(numbers(metrics["test"]), abs=1e-5)


def test_the_classes_are_named_in_the_configuration(tuned):
    config = AutoModelForSequenceClassification.from_pretrained(tuned[0]).config
    assert (config.id2label, config.problem_type) == ({0: "at", 1: "gc"}, "single_label_classification")


def test_evaluate_says_of_the_saved_model_what_finetune_said(tuned, home, tmp_path):
    folder, metrics = tuned
    scores = evaluate(str(folder), tables(home, "test"), str(tmp_path / "out"), positive="gc", batch_size=7)
    assert numbers(scores) == pytest.approx(numbers(metrics["test"]), abs=1e-6)
    assert scores["positive"] == "gc" and scores["task"]["counts"] == {"test": metrics["task"]["counts"]["test"]}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == scores
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("metrics.json", "predictions.tsv", "roc_pr.png", "confusion.png", "reliability.png"),
        "report.html",
    }


def test_evaluate_takes_any_split_and_the_other_class_for_the_positive_one(tuned, home, tmp_path):
    folder, _ = tuned
    scores = evaluate(str(folder), tables(home, "valid"), str(tmp_path / "out"), split="valid", positive="at")
    found = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    labels, predictions = found["label"] == "at", found["prediction"] == "at"
    assert scores["f1"] == pytest.approx(2 * (labels & predictions).sum() / (labels.sum() + predictions.sum()))


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def plain_probabilities(folder, sequences):
    """What the model says of each sequence alone, read by the Auto classes."""
    model, tokenizer = (kind.from_pretrained(folder) for kind in (AutoModelForSequenceClassification, AutoTokenizer))
    model.eval()
    with torch.no_grad():
        logits = [model(**tokenizer(sequence, return_tensors="pt")).logits[0] for sequence in sequences]
    return np.array([softmax(row.double().numpy()) for row in logits])


def test_the_reloaded_model_gives_the_scores_that_predict_writes(tuned, home, tmp_path):
    folder, _ = tuned
    predict(str(folder), str(home / "test.csv"), str(tmp_path / "p.tsv"), columns=Columns(id="name"))
    found = pd.read_csv(tmp_path / "p.tsv", sep="\t")
    assert list(found.columns) == ["id", "length", "prediction", "p_at", "p_gc"]  # no label: it was not asked for
    expected = plain_probabilities(folder, pd.read_csv(home / "test.csv")["sequence"])
    assert np.allclose(found[["p_at", "p_gc"]].to_numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("length", [3, 59, 60, 61, 120, 150, 331])
def test_a_sequence_longer_than_the_trained_ones_gets_the_mean_over_its_windows(tuned, tmp_path, length):
    folder, _ = tuned
    random = np.random.default_rng(length)
    sequences = {"long": dna(random, length, AT_RICH), "short": dna(random, 40, GC_RICH)}
    (tmp_path / "in.fa").write_text("".join(f">{name} text\n{letters}\n" for name, letters in sequences.items()))
    predict(str(folder), str(tmp_path / "in.fa"), str(tmp_path / "p.tsv"), batch_size=2)
    found = pd.read_csv(tmp_path / "p.tsv", sep="\t")
    assert found["id"].tolist() == ["long", "short"] and found["length"].tolist() == [length, 40]
    for (_, row), letters in zip(found.iterrows(), sequences.values(), strict=True):
        starts, most = [], 60  # the longest sequence of the training table
        for start in range(0, len(letters), most):
            starts.append(min(start, max(0, len(letters) - most)))  # the last one is moved back to the end
        windows = plain_probabilities(folder, [letters[start : start + most] for start in starts])
        assert row[["p_at", "p_gc"]].to_numpy(float) == pytest.approx(windows.mean(0), abs=2e-6)


def test_predict_reads_lower_case_and_unknown_letters_and_rna_when_told(tuned, tmp_path):
    folder, _ = tuned
    (tmp_path / "in.fa").write_text(">upper\nACGTTGATTTGACC\n>lower\nacgttgatttgacc\n>unknown\nNNNNNNNN\n")
    predict(str(folder), str(tmp_path / "in.fa"), str(tmp_path / "p.tsv"))
    found = pd.read_csv(tmp_path / "p.tsv", sep="\t")
    assert found["p_gc"][0] == pytest.approx(found["p_gc"][1], abs=2e-6)
    assert found["p_gc"].isna().tolist() == [False, False, True], "nothing is said about letters that nobody knows"
    (tmp_path / "rna.fa").write_text(">r\nACGUUGAUUUGACC\n")
    with pytest.raises(InputError, match="rna true"):
        predict(str(folder), str(tmp_path / "rna.fa"), str(tmp_path / "q.tsv"))
    predict(str(folder), str(tmp_path / "rna.fa"), str(tmp_path / "q.tsv"), options=PredictOptions(rna=True))
    assert pd.read_csv(tmp_path / "q.tsv", sep="\t")["p_gc"][0] == pytest.approx(found["p_gc"][0], abs=2e-6)


def test_scores_do_not_depend_on_batch_size_and_order(tuned, home):
    network, tokenizer = load_classifier(str(tuned[0]))
    letters = [np.frombuffer(s.encode(), np.uint8) for s in pd.read_csv(home / "test.csv")["sequence"]]
    scores = predict_scores(network, tokenizer, letters, batch_size=64)
    assert np.allclose(scores, predict_scores(network, tokenizer, letters, batch_size=3), atol=1e-6)
    assert np.allclose(scores, predict_scores(network, tokenizer, letters[::-1])[::-1], atol=1e-6)


@pytest.mark.slow
def test_another_process_gives_the_same_scores_by_the_auto_classes_alone(tuned, home, repo_root, tmp_path):
    folder, _ = tuned
    sequence = pd.read_csv(home / "test.csv")["sequence"][0]
    code = (
        "import sys, hf_genomics\n"
        "from transformers import AutoModelForSequenceClassification as Model, AutoTokenizer\n"
        "model, tokenizer = Model.from_pretrained(sys.argv[1]).eval(), AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "print(model(**tokenizer(sys.argv[2], return_tensors='pt')).logits.softmax(-1)[0, 1].item())"
    )
    command = [sys.executable, "-c", code, str(folder), sequence]
    ended = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, timeout=300, check=True)
    expected = pd.read_csv(folder / "predictions.tsv", sep="\t")["p_gc"][0]
    assert float(ended.stdout) == pytest.approx(expected, abs=1e-5)


# other kinds of labels, models and data


def test_labels_with_decimals_make_a_regression(home, tmp_path):
    data = tables(home, "train", "test", columns=Columns(label="gc"))
    metrics = finetune(pretrained(home), data, arguments(tmp_path / "out", max_steps=40, learning_rate=3e-3))
    assert set(numbers(metrics["test"])) == {"mse", "mae", "r2", "pearson", "spearman"}
    assert set(metrics["baselines"]) == {"mean", "4-mer ridge regression"}
    assert metrics["test"]["pearson"] > 0.8
    found = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    assert list(found.columns) == ["id", "length", "label", "prediction"]
    assert regression_metrics(found["prediction"], found["label"]) == pytest.approx(numbers(metrics["test"]), abs=2e-3)

    scores = evaluate(str(tmp_path / "out"), data, str(tmp_path / "evaluated"))
    assert scores.pop("leaks") == metrics["leaks"] == {"train/test": 0}
    assert numbers(scores) == pytest.approx(numbers(metrics["test"]), abs=1e-5)
    predict(str(tmp_path / "out"), str(home / "test.csv"), str(tmp_path / "p.tsv"))
    again = pd.read_csv(tmp_path / "p.tsv", sep="\t")
    assert list(again.columns) == ["id", "length", "prediction"]
    assert np.allclose(again["prediction"], found["prediction"], atol=1e-5)


@pytest.mark.slow
def test_values_in_any_units_are_learnt_alike(home, tmp_path):
    """Targets of -1000 to -300 are learnt standardised, and predicted in their own units."""
    for split in ("train", "test"):
        table = pd.read_csv(home / f"{split}.csv")
        table.assign(depth=-1000.5 + 700 * table["gc"]).to_csv(tmp_path / f"{split}.csv", index=False)
    scores = {}
    for column in ("gc", "depth"):
        data = tables(tmp_path, "train", "test", columns=Columns(label=column))
        scores[column] = finetune(pretrained(home), data, arguments(tmp_path / column, max_steps=4))["test"]
    assert scores["depth"]["mae"] == pytest.approx(700 * scores["gc"]["mae"], rel=1e-3)
    assert scores["depth"]["r2"] == pytest.approx(scores["gc"]["r2"], abs=1e-3)
    targets = pd.read_csv(tmp_path / "train.csv")["depth"]
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "depth").config
    assert config.target_means == pytest.approx([targets.mean()])
    assert config.target_scales == pytest.approx([targets.std(ddof=0)])


@pytest.mark.slow
def test_stretched_positions_take_longer_sequences(home, tmp_path):
    table = write_table(tmp_path / "long.csv", 8, 3)
    frame = pd.read_csv(table)
    frame.assign(sequence=frame["sequence"] * 3).to_csv(table, index=False)
    data, out = LabelledData(train=table, test=table), tmp_path / "out"
    with pytest.raises(InputError, match="takes 64; .*stretch_positions"):
        finetune(pretrained(home), data, arguments(out))
    with pytest.raises(InputError, match="100 nt .* takes 64; .*part_length"):
        finetune(pretrained(home), data, arguments(out), Head(part_length=100))
    with pytest.raises(InputError, match=r"head\.stretch_positions .* 64 tokens .* not 64"):
        finetune(pretrained(home), data, arguments(out), Head(stretch_positions=64))
    finetune(pretrained(home), data, arguments(out, max_steps=1, learning_rate=0.0), Head(stretch_positions=200))
    before, after = encoder(home / "pretrained"), encoder(out)
    name = next(name for name in after if "position_embeddings" in name)
    assert after[name].shape == (200, 32)
    assert torch.allclose(after[name][[0, -1]], before[name][[0, -1]])
    assert evaluate(str(out), data, str(tmp_path / "scores"))["accuracy"] >= 0
    twin = Head(stretch_positions=200, from_scratch=True)
    finetune(pretrained(home), data, arguments(tmp_path / "new", max_steps=1), twin)
    assert encoder(tmp_path / "new")[name].shape == (200, 32)


def test_positions_without_a_table_reach_as_far_as_they_are_asked_to(home, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = KmerBertConfig(k=3, max_position_embeddings=20, position_embedding_type="rotary", **sizes)
    KmerBertForMaskedLM(config).save_pretrained(tmp_path / "rotary")
    KmerTokenizer(k=3).save_pretrained(tmp_path / "rotary")
    data, options = tables(home, "train"), arguments(tmp_path / "out", max_steps=1)
    finetune(str(tmp_path / "rotary"), data, options, Head(stretch_positions=64))
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config.max_position_embeddings == 64


def test_whole_numbers_are_read_as_values_by_a_model_of_values(home, tmp_path):
    finetune(pretrained(home), tables(home, "train", columns=Columns(label="gc")), arguments(tmp_path / "out"))
    whole = write_table(tmp_path / "whole.csv", 6, 9, label=lambda number: number)
    scores = evaluate(str(tmp_path / "out"), LabelledData(test=whole), str(tmp_path / "evaluated"))
    assert scores["mae"] > 1


def test_three_classes_get_three_probabilities(home, tmp_path):
    table = write_table(tmp_path / "three.csv", 12, 3, label=lambda number: f"class {number % 3}")
    data = LabelledData(train=table, test=table)
    metrics = finetune(pretrained(home), data, arguments(tmp_path / "out"), baseline_k=3)
    found = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    assert list(found.columns[4:]) == ["p_class 0", "p_class 1", "p_class 2"]
    assert set(metrics["baselines"]) == {"majority", "3-mer logistic regression"}


def test_a_tuned_model_can_be_tuned_to_other_classes(tuned, tmp_path):
    table = write_table(tmp_path / "three.csv", 12, 3, label=lambda number: "xyz"[number % 3])
    finetune(str(tuned[0]), LabelledData(train=table), arguments(tmp_path / "out", max_steps=1, learning_rate=0.0))
    before, after = encoder(tuned[0]), encoder(tmp_path / "out")
    assert all(torch.equal(before[name], after[name]) for name in before)
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config
    assert config.id2label == {0: "x", 1: "y", 2: "z"}


def test_classes_are_those_of_the_model_whatever_the_order_of_the_rows(tuned, home, tmp_path):
    table = pd.read_csv(home / "test.csv")
    table[::-1].to_csv(tmp_path / "reversed.csv", index=False)
    scores = evaluate(str(tuned[0]), LabelledData(test=str(tmp_path / "reversed.csv")), str(tmp_path / "out"))
    assert scores["accuracy"] == pytest.approx(tuned[1]["test"]["accuracy"])
    with pytest.raises(InputError, match="data row 1: unknown label 'neither'.*'at', 'gc'"):
        table.assign(label="neither").to_csv(tmp_path / "other.csv", index=False)
        evaluate(str(tuned[0]), LabelledData(test=str(tmp_path / "other.csv")), str(tmp_path / "no"))
    assert not (tmp_path / "no").exists()


def encoder(folder):
    """The encoder's weights without the pooler, which pretraining does not train."""
    weights = load_file(folder / "model.safetensors")
    return {name: weight for name, weight in weights.items() if name.startswith("bert.") and "pooler" not in name}


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


@pytest.mark.slow
def test_the_same_seed_gives_the_same_scores(home, tmp_path):
    runs = []
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        data = tables(home, "train", "test")
        finetune(pretrained(home), data, arguments(tmp_path / name, seed=seed), baseline_k=0)
        runs.append((tmp_path / name / "predictions.tsv").read_text())
    assert runs[0] == runs[1] != runs[2]


def test_dropout_is_that_of_the_classifier(home, tmp_path):
    finetune(pretrained(home), tables(home, "train"), arguments(tmp_path / "out", max_steps=1), Head(dropout=0.3))
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config.classifier_dropout == 0.3


def test_two_windows_take_sequences_twice_as_long(home, tmp_path):
    random = np.random.default_rng(0)
    rows = [(dna(random, 100 + row, GC_RICH if row % 2 else AT_RICH), "ab"[row % 2]) for row in range(24)]
    pd.DataFrame(rows, columns=["sequence", "label"]).to_csv(tmp_path / "long.csv", index=False)
    data = LabelledData(train=str(tmp_path / "long.csv"), test=str(tmp_path / "long.csv"))
    with pytest.raises(InputError, match=r"long.csv: sequence 24: a length of 123 nt .* takes 64"):
        finetune(pretrained(home), data, arguments(tmp_path / "out"))
    finetune(pretrained(home), data, arguments(tmp_path / "out"), Head(num_parts=2))

    network, tokenizer = load_classifier(str(tmp_path / "out"))
    assert type(network).__name__ == "HierarchicalKmerBertForSequenceClassification" and network.config.num_parts == 2
    found = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")[["p_a", "p_b"]].to_numpy()
    for row, (sequence, _) in enumerate(rows):
        middle = (len(sequence) + 1) // 2
        batch = tokenizer([sequence[:middle], sequence[middle:]], padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = network(**{name: column[None] for name, column in batch.items()}).logits[0]
        assert softmax(logits.double().numpy()) == pytest.approx(found[row], abs=1e-5)

    predict(str(tmp_path / "out"), str(tmp_path / "long.csv"), str(tmp_path / "p.tsv"))
    assert np.allclose(pd.read_csv(tmp_path / "p.tsv", sep="\t")[["p_a", "p_b"]], found, atol=1e-5)
    with pytest.raises(InputError, match=r"joins 2 .*head\.num_parts"):
        finetune(str(tmp_path / "out"), data, arguments(tmp_path / "again"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two genomes of each class in every split; the class is the GC content."""
    folder, random = tmp_path_factory.mktemp("store"), np.random.default_rng(0)
    rows = [
        (f"{kind}_{split}_{number}", kind, split)
        for kind in ("high", "low")
        for split in ("train", "valid", "test")
        for number in range(2)
    ]
    letters = {"high": GC_RICH, "low": AT_RICH}
    (folder / "g.fa").write_text("".join(f">{name}\n{dna(random, 900, letters[kind])}\n" for name, kind, _ in rows))
    pd.DataFrame(rows, columns=["accession", "kind", "split"]).to_csv(folder / "labels.csv", index=False)
    return prepare([str(folder / "g.fa")], str(folder / "store"), str(folder / "labels.csv"))


def test_windows_of_a_labelled_store_are_learnt(home, store, tmp_path):
    data = LabelledData(
        store=str(store.path),
        columns=Columns(label="kind"),
        windows=LabelledWindows(45, per_genome=15, test_per_genome=10),
    )
    options = {"max_steps": 40, "learning_rate": 3e-3, "eval_strategy": "epoch", "save_strategy": "epoch"}
    # After two epochs the validation recall is 1 already, with probabilities as close to 0.5 as 0.50006: rounding could
    # change such predictions. With the delay, the best model is one whose probabilities are 0.4 away from 0.5.
    options |= {"load_best_model_at_end": True, "metric_for_best_model": "macro_recall", "eval_delay": 5}
    metrics = finetune(pretrained(home), data, arguments(tmp_path / "out", **options), positive="high")
    assert (metrics["train_sequences"], metrics["test_sequences"]) == (60, 40) and metrics["test"]["accuracy"] > 0.9
    found = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    genomes = Counter(name.split(":")[0] for name in found["id"])
    assert set(genomes.values()) == {10} and all("test" in genome for genome in genomes)
    assert set(found["length"]) == {45}
    scores = evaluate(str(tmp_path / "out"), data, str(tmp_path / "evaluated"), positive="high")
    assert numbers(scores) == pytest.approx(numbers(metrics["test"]), abs=1e-6)


def test_a_store_of_other_classes_than_the_models_is_refused(tuned, store, tmp_path):
    data = LabelledData(store=str(store.path), columns=Columns(label="kind"), windows=LabelledWindows(45))
    with pytest.raises(InputError, match=r"'high', 'low'.*'at', 'gc'"):
        evaluate(str(tuned[0]), data, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_stopped_run_can_be_resumed_and_a_finished_one_is_kept(home, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2}
    data = tables(home, "train", "test")
    finetune(pretrained(home), data, arguments(tmp_path / "whole", **options), baseline_k=0)
    (tmp_path / "stopped").mkdir()
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "stopped" / "checkpoint-2")
    finetune(pretrained(home), data, arguments(tmp_path / "stopped", **options), baseline_k=0, resume=True)
    predictions = [(tmp_path / name / "predictions.tsv").read_text() for name in ("whole", "stopped")]
    assert predictions[0] == predictions[1]
    with pytest.raises(InputError, match="holds a finished run"):
        finetune(pretrained(home), data, arguments(tmp_path / "whole"))


def test_a_model_with_another_kind_of_tokenizer_is_refused_with_a_remedy(tiny_config, tmp_path, repo_root):
    KmerBertForMaskedLM(tiny_config).save_pretrained(tmp_path)
    for path in (repo_root / "tokenizer_configs" / "bpe_4096").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="not a KmerTokenizer.*plain Trainer"):
        load_tokenizer(str(tmp_path))


def test_a_plan_builds_everything_and_writes_nothing_until_it_is_run(home, tmp_path):
    args, head = arguments(tmp_path / "out", max_steps=1), Head(pooling="mean", dropout=0.2)
    plan = plan_finetuning(pretrained(home), tables(home, "train", "test"), args, head, baseline_k=0)
    assert list(tmp_path.iterdir()) == []
    assert (len(plan.splits.training), plan.splits.validation, len(plan.splits.test)) == (160, None, 60)
    assert plan.network.config.classifier_dropout == 0.2 and plan.tokenizer.k == 3
    assert run_finetuning(plan)["test_sequences"] == 60 and (tmp_path / "out" / "model.safetensors").exists()


def test_rows_without_a_known_kmer_are_omitted_and_pretrained_weights_are_finite(home, tmp_path, caplog):
    rows = pd.read_csv(home / "train.csv")
    rows.loc[3, "sequence"] = "N" * 40
    rows.to_csv(tmp_path / "t.csv", index=False)
    data = LabelledData(train=str(tmp_path / "t.csv"), test=str(home / "test.csv"))
    plan = plan_finetuning(str(home / "pretrained"), data, TrainingArguments(str(tmp_path / "out")))
    assert len(plan.splits.training) == len(rows) - 1 and "1 of" in caplog.text and "'4'" in caplog.text


def test_old_keys_reach_the_head_with_a_warning(home, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("hf_genomics.training.finetune.run_finetuning", seen.append)
    with pytest.warns(FutureWarning) as caught:
        finetune(pretrained(home), tables(home, "train"), arguments(tmp_path / "out"), num_windows=2, dropout=0.3)
    assert seen[0].head == Head(num_parts=2, dropout=0.3)
    assert sorted(re.findall(r"head\.\w+", "".join(str(each.message) for each in caught))) == [
        "head.dropout",
        "head.num_parts",
    ]


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
