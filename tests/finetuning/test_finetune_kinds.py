"""Several labels, values, nucleotides, pairs, tracks and parts: fine-tuned, saved, evaluated and predicted alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from finetune_tables import SETTINGS, arguments, write_table

from hf_genomics import (
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerTokenizer,
)
from hf_genomics.cli import main
from hf_genomics.errors import InputError
from hf_genomics.evaluation.evaluate import evaluate
from hf_genomics.finetuning.finetune import finetune
from hf_genomics.finetuning.head import Head
from hf_genomics.finetuning.plan import FinetuneOptions
from hf_genomics.inference.predict import predict
from hf_genomics.inference.predictions import AverageOptions
from hf_genomics.inference.scores import predict_nt_scores
from hf_genomics.io.writing import write_tsv
from hf_genomics.labelled.columns import Columns, match_columns
from hf_genomics.labelled.data import LabelledData
from hf_genomics.labelled.tables import read_labelled
from hf_genomics.loading.config_facts import task_of
from hf_genomics.loading.models import load_classifier

pytestmark = pytest.mark.usefixtures("empty_pictures")

COLUMNS = {
    "several": {"labels": ["much_g", "much_a"]},
    "values": {"labels": ["share_g", "share_a"]},
    "nucleotides": {"nt_labels": "is_g"},
    "pairs": {"pair": "other", "label": "more_g"},
    "tracks": {"tracks": ["age"], "nt_tracks": ["signal"], "label": "share_g"},
    "parts": {"label": "more_g"},
    "value": {"labels": ["value"]},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Tables, and a model over 3-mers at stride 2 that has seen nothing yet."""
    folder = tmp_path_factory.mktemp("kinds")
    for seed, (split, rows) in enumerate({"train": 96, "valid": 20, "test": 24}.items()):
        write_table(folder / f"{split}.csv", rows, seed)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    KmerBertForMaskedLM(KmerBertConfig(k=3, stride=2, **sizes)).save_pretrained(folder / "pretrained")
    KmerTokenizer(k=3, stride=2).save_pretrained(folder / "pretrained")
    return folder


def tables(home: Path, kind: str) -> LabelledData:
    return LabelledData(
        **{split: str(home / f"{split}.csv") for split in ("train", "valid", "test")}, columns=Columns(**COLUMNS[kind])
    )


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in ("nucleotides", "tracks", "pairs") else [pytest.mark.slow])
        for kind in SETTINGS
    ],
)
def test_a_saved_model_says_of_every_kind_what_fine_tuning_said(kind: str, home: Path, tmp_path: Path) -> None:
    data, out = tables(home, kind), tmp_path / "out"
    options = {"eval_strategy": "steps", "eval_steps": 3}
    metrics = finetune(str(home / "pretrained"), data, arguments(out, **options), Head(**SETTINGS[kind]))
    assert np.isfinite(metrics["train_loss"])
    scores = evaluate(str(out), data, str(tmp_path / "evaluated"), batch_size=5)
    for name in ("auroc", "mse", "f1_macro"):
        if name in scores:
            assert scores[name] == pytest.approx(metrics["test"][name], abs=5e-3)  # two scores may be all but equal
    pair = Columns(pair="other" if kind == "pairs" else None)
    predict(str(out), str(home / "test.csv"), str(tmp_path / "p.tsv"), pair, batch_size=7)
    files = (tmp_path / "p.tsv", tmp_path / "evaluated" / "predictions.tsv", out / "predictions.tsv")
    found, evaluated, before = (pd.read_csv(path, sep="\t") for path in files)
    shared = [column for column in found if found[column].dtype == float]
    assert shared and not [column for column in found if column.startswith("label")]
    assert np.allclose(found[shared], before[shared], atol=2e-6)
    assert np.allclose(evaluated[shared], before[shared], atol=2e-6)


def test_predictions_do_not_depend_on_bf16_in_training(home: Path, tmp_path: Path) -> None:
    data = tables(home, "several")
    metrics = finetune(str(home / "pretrained"), data, arguments(tmp_path / "out", max_steps=1, bf16=True))
    scores = evaluate(str(tmp_path / "out"), data, str(tmp_path / "evaluated"))
    assert scores["auroc"] == pytest.approx(metrics["test"]["auroc"], abs=1e-6)


def test_the_test_scores_are_of_the_means_that_evaluate_and_predict_compute(home: Path, tmp_path: Path) -> None:
    data = tables(home, "parts")
    averages = AverageOptions(both_strands=True, frames=2)
    run = finetune(
        str(home / "pretrained"),
        data,
        arguments(tmp_path / "out"),
        Head(threshold="macro_recall", calibrate=True),
        options=FinetuneOptions(both_strands=True, frames=2),
    )
    assert (run["both_strands"], run["frames"]) == (True, 2) and "ece_before" not in run["calibration"]["test"]
    scores = evaluate(str(tmp_path / "out"), data, str(tmp_path / "evaluated"), options=averages)
    assert run["test"]["auroc"] == pytest.approx(scores["auroc"], abs=1e-9)
    assert run["test"]["threshold"] == scores["threshold"]
    texts = [(tmp_path / "out" / name).read_text() for name in ("README.md", "report.html")]
    assert "means over both strands and 2 frames" in texts[0] and "in 2 frames" in texts[1]
    found, before = (pd.read_csv(tmp_path / name / "predictions.tsv", sep="\t") for name in ("evaluated", "out"))
    assert np.allclose(found["p_yes"], before["p_yes"], atol=2e-6)
    # The threshold was chosen among such means of the validation split.
    in_validation = evaluate(str(tmp_path / "out"), data, str(tmp_path / "valid"), split="valid", options=averages)
    assert in_validation["macro_recall"] == in_validation_best(tmp_path / "valid" / "predictions.tsv")


def in_validation_best(path: Path) -> float:
    """The best macro recall that any threshold gives."""
    table = pd.read_csv(path, sep="\t")
    is_yes = (table["label"] == "yes").to_numpy()
    called = [(table["p_yes"] >= threshold).to_numpy() for threshold in table["p_yes"]]
    return max((predicted[is_yes].mean() + (~predicted[~is_yes]).mean()) / 2 for predicted in called)


def test_means_of_whole_sequences_are_refused_for_labels_of_nucleotides(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames"):
        finetune(
            str(home / "pretrained"),
            tables(home, "nucleotides"),
            arguments(tmp_path / "out"),
            options=FinetuneOptions(frames=2),
        )
    assert not (tmp_path / "out").exists()


def test_several_labels_are_scored_one_by_one_and_written_beside_their_probabilities(home, tmp_path) -> None:
    metrics = finetune(str(home / "pretrained"), tables(home, "several"), arguments(tmp_path / "out"))
    assert set(metrics["test"]["each"]) == {"much_g", "much_a"}
    assert set(metrics["baselines"]) == {"majority", "4-mer logistic regression"}
    mean = np.mean([each["auroc"] for each in metrics["test"]["each"].values()])
    assert metrics["test"]["auroc"] == pytest.approx(mean)
    found = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    assert list(found.columns) == ["id", "length", "label_much_g", "p_much_g", "label_much_a", "p_much_a"]
    assert found["label_much_g"].isna().sum() == 5 and found["label_much_a"].notna().all()


def test_nucleotides_are_learnt_from_their_letters(home: Path, tmp_path: Path) -> None:
    options = {"max_steps": 20, "learning_rate": 2e-2, "per_device_train_batch_size": 32}
    metrics = finetune(str(home / "pretrained"), tables(home, "nucleotides"), arguments(tmp_path / "out", **options))
    assert metrics["test"]["f1_macro"] > 0.8 > metrics["baselines"]["majority"]["f1_macro"]
    network, tokenizer = load_classifier(str(tmp_path / "out"))
    test = read_labelled(home / "test.csv", Columns(**COLUMNS["nucleotides"]))
    scores = predict_nt_scores(network, tokenizer, test)
    runs = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    for name, of_sequence, letters in zip(test.ids, scores, test.sequences, strict=True):
        mine = runs[runs["id"] == int(name)]
        spelt = np.concatenate([np.full(r.end - r.start, r.prediction) for r in mine.itertuples()])
        assert mine["start"].iloc[0] == 0 and mine["end"].iloc[-1] == len(letters)
        assert (mine["start"].to_numpy()[1:] == mine["end"].to_numpy()[:-1]).all()
        assert (spelt == of_sequence.argmax(1)).all() and np.allclose(of_sequence.sum(1), 1)


def test_a_long_sequence_gets_the_mean_over_the_windows_of_its_nucleotides(home: Path, tmp_path: Path) -> None:
    finetune(str(home / "pretrained"), tables(home, "nucleotides"), arguments(tmp_path / "out"))
    network, tokenizer = load_classifier(str(tmp_path / "out"))
    most = network.config.max_sequence_length
    letters = np.frombuffer("".join(np.random.default_rng(0).choice(list("ACGT"), 2 * most + 10)).encode(), np.uint8)
    (whole,) = predict_nt_scores(network, tokenizer, [letters])
    starts = [0, most, len(letters) - most]
    parts = predict_nt_scores(network, tokenizer, [letters[start : start + most] for start in starts])
    assert np.allclose(whole[:most], parts[0], atol=1e-6) and np.allclose(whole[-10:], parts[2][-10:], atol=1e-6)
    overlap = slice(len(letters) - most, 2 * most)
    both = (parts[1][overlap.start - most :] + parts[2][: overlap.stop - overlap.start]) / 2
    assert np.allclose(whole[overlap], both, atol=1e-6)


def test_statistics_of_tracks_are_those_of_the_training_table(home: Path, tmp_path: Path) -> None:
    finetune(str(home / "pretrained"), tables(home, "tracks"), arguments(tmp_path / "out"))
    config = load_classifier(str(tmp_path / "out"))[0].config
    table = pd.read_csv(home / "train.csv", dtype={"signal": str})
    assert (config.track_names, config.nt_track_names) == (["age"], ["signal"])
    assert config.track_means == pytest.approx([table["age"].mean()], rel=1e-5)
    assert config.track_stds == pytest.approx([table["age"].std(ddof=0)], rel=1e-5)
    digits = np.array([int(digit) for text in table["signal"].dropna() for digit in text])
    assert config.nt_track_means == pytest.approx([digits.mean()], rel=1e-5)
    assert config.nt_track_stds == pytest.approx([digits.std()], rel=1e-5)


def test_what_was_not_measured_in_any_row_is_left_out_of_scores_and_told_to_the_model(home, tmp_path) -> None:
    for kind in ("tracks", "values"):
        finetune(str(home / "pretrained"), tables(home, kind), arguments(tmp_path / kind, max_steps=1))
    pd.read_csv(home / "test.csv", dtype=str).assign(age="", share_a="").to_csv(tmp_path / "some.csv", index=False)
    predict(str(tmp_path / "tracks"), str(tmp_path / "some.csv"), str(tmp_path / "p.tsv"))
    assert np.isfinite(pd.read_csv(tmp_path / "p.tsv", sep="\t")["prediction"]).all()
    scores = evaluate(str(tmp_path / "values"), LabelledData(test=str(tmp_path / "some.csv")), str(tmp_path / "scores"))
    assert scores["mse"] == scores["each"]["share_g"]["mse"] and np.isnan(scores["each"]["share_a"]["mse"])


def test_small_values_are_written_with_their_digits(tmp_path: Path) -> None:
    write_tsv(tmp_path / "t.tsv", ["value"], [[1.25e-9], [1 / 3], [123456.78]])
    assert pd.read_csv(tmp_path / "t.tsv", sep="\t")["value"].tolist() == pytest.approx(
        [1.25e-9, 1 / 3, 123456.78], rel=5e-7
    )


def test_a_model_is_told_apart_from_data_of_another_kind(home: Path, tmp_path: Path) -> None:
    finetune(str(home / "pretrained"), tables(home, "pairs"), arguments(tmp_path / "pairs", max_steps=1))
    with pytest.raises(InputError, match="takes second sequences; set columns.pair"):
        predict(str(tmp_path / "pairs"), str(home / "test.csv"), str(tmp_path / "p.tsv"))
    task = task_of(load_classifier(str(tmp_path / "pairs"))[0].config)
    for columns, message in (
        ({"pair": "other", "tracks": ["age"]}, r"names \['age'\], but the model takes none"),
        ({"pair": "other", "nt_labels": "is_g"}, "the model does not take a label per nucleotide"),
    ):
        with pytest.raises(InputError, match=message):
            match_columns(Columns(**columns), task)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.columns.labels", "much_g", "much_t"], "train.csv: no column 'much_t'; did you mean 'much_g'?"),
        (["--data.columns.nt_labels", "other"], "train.csv: data row 1, column 'other': "),
        (["--data.columns.pair", "name"], "(column 'name')"),
        (["--data.columns.nt_tracks", "age"], "column 'age': "),
        (["--data.columns.tracks", "name"], "column 'name': 's0' is not a finite number"),
        (["--data.columns.labels", "share_g", "--data.regression", "false"], "is neither 0 nor 1"),
        (["--data.columns.labels", "age", "--data.columns.nt_labels", "is_g"], "name one of them"),
    ],
)
def test_a_wrong_column_ends_with_one_line_that_names_it(options, message, home, tmp_path, capsys) -> None:
    words = ["finetune", "--pretrained", str(home / "pretrained"), "--data.train", str(home / "train.csv")]
    words += ["--trainer.output_dir", str(tmp_path / "out"), "--data.columns.label", "more_g", *options]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
