"""Fine-tuning: what a run learns and writes, and that the saved model gives the same scores when it is loaded again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from gc_tables import AT_RICH, GC_RICH, arguments, dna, numbers, pretrained, softmax, tables, write_table
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_genomics import KmerBertForMaskedLM, prepare
from hf_genomics.errors import InputError
from hf_genomics.evaluation.evaluate import evaluate
from hf_genomics.evaluation.metrics import classification_metrics, regression_metrics
from hf_genomics.finetuning.finetune import finetune
from hf_genomics.finetuning.head import Head
from hf_genomics.inference.predict import PredictOptions, predict
from hf_genomics.inference.scores import predict_scores
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData
from hf_genomics.labelled.windows import LabelledWindows
from hf_genomics.loading.models import load_classifier, load_tokenizer
from hf_genomics.reports.card_file import check_card
from hf_genomics.runs.output_folder import clear_outputs

pytestmark = pytest.mark.usefixtures("empty_pictures")

SCORES = {"accuracy", "macro_recall", "macro_precision", "f1", "f1_macro", "mcc", "auroc", "auprc"}


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


def test_another_run_would_clear_all_of_it_but_the_card_and_the_code(tuned, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "copy")
    clear_outputs(tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").iterdir() if path.suffix != ".py"} == {"README.md"}


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


def test_classes_are_those_of_the_model_whatever_the_order_of_the_rows(tuned, home, tmp_path):
    table = pd.read_csv(home / "test.csv")
    table[::-1].to_csv(tmp_path / "reversed.csv", index=False)
    scores = evaluate(str(tuned[0]), LabelledData(test=str(tmp_path / "reversed.csv")), str(tmp_path / "out"))
    assert scores["accuracy"] == pytest.approx(tuned[1]["test"]["accuracy"])
    with pytest.raises(InputError, match="data row 1: unknown label 'neither'.*'at', 'gc'"):
        table.assign(label="neither").to_csv(tmp_path / "other.csv", index=False)
        evaluate(str(tuned[0]), LabelledData(test=str(tmp_path / "other.csv")), str(tmp_path / "no"))
    assert not (tmp_path / "no").exists()


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
    kept = finetune(pretrained(home), data, arguments(tmp_path / "stopped", **options), baseline_k=0, resume="auto")
    assert kept["test_sequences"] == len(predictions[0].splitlines()) - 1
    for other, named in ((replace(data, test=data.train), "data.test"), (data, "baseline_k")):
        with pytest.raises(InputError, match=rf"finished, and scored with other settings \({named}\)"):
            k = 0 if named == "data.test" else 2
            finetune(pretrained(home), other, arguments(tmp_path / "stopped", **options), baseline_k=k, resume="auto")


def test_a_model_with_another_kind_of_tokenizer_is_refused_with_a_remedy(tiny_config, tmp_path, repo_root):
    KmerBertForMaskedLM(tiny_config).save_pretrained(tmp_path)
    for path in (repo_root / "tokenizer_configs" / "bpe_4096").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="not a KmerTokenizer.*plain Trainer"):
        load_tokenizer(str(tmp_path))


def test_old_keys_reach_the_head_with_a_warning(home, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("hf_genomics.finetuning.finetune.run_finetuning", seen.append)
    with pytest.warns(FutureWarning) as caught:
        finetune(pretrained(home), tables(home, "train"), arguments(tmp_path / "out"), num_windows=2, dropout=0.3)
    assert seen[0].head == Head(num_parts=2, dropout=0.3)
    assert sorted(re.findall(r"head\.\w+", "".join(str(each.message) for each in caught))) == [
        "head.dropout",
        "head.num_parts",
    ]
