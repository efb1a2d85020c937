"""The quickstart: regions that share no letters, and a run through every verb."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_files import dna
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments

from hf_genomics import DataCollatorForSpanMasking, KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer, WindowSampling
from hf_genomics.cli import main
from hf_genomics.errors import InputError
from hf_genomics.sequence import reverse_complement
from hf_genomics.sequence_files.fasta import read_records
from hf_genomics.studies.quickstart import TWIN, QuickstartData, _genome_table, _interval, quickstart, write_regions

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    """The quickstart's regions: a table, and the letters of each."""
    fasta, table = write_regions(RECIPES / "data" / "quickstart", tmp_path_factory.mktemp("regions"), gap=150)
    table = pd.read_csv(table, sep="\t", index_col="accession")
    return table, {record.name: record.letters for record in read_records(fasta)}


def test_a_test_of_one_genome_in_each_class_has_no_interval():
    assert "20.0% to 40.0%" in _interval({"intervals": {"macro_recall": [0.2, 0.4]}})
    assert "%" not in _interval({"intervals": {}})


def words(sequences, k=24):
    """All k-mers of both strands."""
    return {
        strand[start : start + k]
        for letters in sequences
        for strand in (letters.tobytes(), reverse_complement(letters).tobytes())
        for start in range(len(strand) - k + 1)
    }


def test_no_24_letters_are_in_two_splits_on_either_strand(regions):
    table, letters = regions
    train, valid, test = (
        words(letters[name] for name in table.index[table["split"] == split]) for split in ("train", "valid", "test")
    )
    assert len(train) > 100_000 and len(test) > 50_000
    assert not train & test and not train & valid and not valid & test


def test_regions_of_a_genome_keep_a_window_between_them_and_are_what_the_table_says(regions):
    table, letters = regions
    genomes = {
        record.name: record.letters
        for path in (RECIPES / "data" / "quickstart").glob("*.fasta.gz")
        for record in read_records(path)
    }
    assert set(table["genome_accession"]) == set(genomes)
    for genome, rows in table.groupby("genome_accession"):
        rows = rows.sort_values("region_start")
        assert set(rows["split"]) == {"train", "valid", "test"}
        assert (rows["region_start"].to_numpy()[1:] - rows["region_end"].to_numpy()[:-1] >= 150).all()
        for name, row in rows.iterrows():
            part = genomes[genome][row["region_start"] : row["region_end"]]
            assert np.array_equal(part, letters[name]) and len(part) >= 150


def test_both_classes_are_in_every_split(regions):
    assert (regions[0].groupby(["label", "split"]).size() >= 3).all() and set(regions[0]["label"]) == {"phage", "other"}


def test_a_folder_without_metadata_is_refused_with_the_key_to_set(tmp_path):
    with pytest.raises(InputError, match=r"metadata\.tsv.*data\.genomes"):
        quickstart(QuickstartData(str(tmp_path)), str(tmp_path / "out"), *[None] * 6)
    assert list(tmp_path.iterdir()) == []


def test_old_keys_reach_the_section_with_a_warning(tmp_path):
    sections = dict.fromkeys("tokenizer model masking windows pretraining finetuning".split())
    with pytest.warns(FutureWarning, match=r"data\.genomes"), pytest.raises(InputError, match=str(tmp_path)):
        quickstart(genomes=str(tmp_path), output_dir=str(tmp_path / "out"), **sections)


@pytest.mark.parametrize(
    ("length", "options", "named"),
    [
        (150, {"finetuning": {"max_steps": 0}}, r"^finetuning\.max_steps .* finetuning\.num_train_epochs"),
        (150, {"pretraining": {"learning_rate": -1.0}}, r"^pretraining\.learning_rate"),
        (400, {}, r"data\.length of 400 nt .* 64; lower data\.length"),
        (5, {}, r"data\.length must be at least 6 nt"),
    ],
)
def test_a_quickstart_is_refused_before_anything_is_written(tmp_path, length, options, named):
    def arguments(key):
        return TrainingArguments(str(tmp_path), use_cpu=True, **options.get(key, {}))

    tokenizer, config = KmerTokenizer(6, stride=3), KmerBertConfig(k=6, stride=3, max_position_embeddings=64)
    data, trainings = QuickstartData(str(RECIPES / "data" / "quickstart"), length), ("pretraining", "finetuning")
    with pytest.raises(InputError, match=named):
        quickstart(data, str(tmp_path / "out"), tokenizer, config, None, None, *map(arguments, trainings))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["length", "train_step"])
def test_numbers_of_the_data_are_at_least_one(name):
    with pytest.raises(InputError, match=rf"^data\.{name} must be at least 1 nt, not 0"):
        QuickstartData(**{name: 0})


def write_genomes(folder, metadata):
    """Write two genomes, A of 5,000 nt and B of 400 nt, with this table."""
    folder.mkdir()
    records = "".join(f">{name}\n{dna(length, ord(name))}\n" for name, length in (("A", 5000), ("B", 400)))
    (folder / "x.fasta.gz").write_bytes(gzip.compress(records.encode()))
    (folder / "metadata.tsv").write_text(metadata)
    return folder


def test_a_genome_without_an_organism_is_in_the_report_and_headings_may_be_in_capitals(tmp_path):
    source = write_genomes(
        tmp_path / "g", "Accession\tLabel\tOrganism\tusable_nt\nA\tphage\t\t5000\nB\tother\tNA\t400\n"
    )
    _, metadata = write_regions(source, tmp_path, gap=50)
    assert [row[0] for row in _genome_table(metadata)[1]] == ["A", "B"]


def test_a_genome_that_is_too_short_is_named_with_its_table_and_the_key_to_change(tmp_path):
    head = "accession\tlabel\torganism\tusable_nt\n"
    source = write_genomes(tmp_path / "g", f"{head}A\tphage\tx\t5000\nB\tother\ty\t200\n")
    with pytest.raises(InputError, match=r"metadata\.tsv: usable_nt of 'B', 200, .* lower data\.length"):
        write_regions(source, tmp_path / "out", gap=150)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder_is_there", [True, False])
def test_a_refused_pretraining_leaves_nothing_behind(tmp_path, folder_is_there):
    head = "accession\tlabel\torganism\tusable_nt\n"
    source = write_genomes(tmp_path / "g", f"{head}A\tphage\tx\t5000\nB\tother\ty\t400\n")
    if folder_is_there:
        (tmp_path / "out").mkdir()
    tokenizer, config = KmerTokenizer(6, stride=3), KmerBertConfig(k=6, stride=3, max_position_embeddings=64)
    masking, windows = DataCollatorForSpanMasking(tokenizer), WindowSampling(length=1000)  # too long for the model
    trainings = [TrainingArguments(str(tmp_path), use_cpu=True, max_steps=1) for _ in range(2)]
    with pytest.raises(InputError, match="1000 nt"):
        quickstart(
            QuickstartData(str(source), 50), str(tmp_path / "out"), tokenizer, config, masking, windows, *trainings
        )
    assert [*tmp_path.glob("out/*")] == [] and (tmp_path / "out").exists() == folder_is_there


@pytest.mark.slow
def test_the_quickstart_runs_through_every_verb_and_leaves_a_report(tmp_path, monkeypatch, repo_root, capsys):
    monkeypatch.chdir(repo_root)  # as the recipe's paths and the process that predicts expect it
    folder = tmp_path / "quickstart"
    short = [option for part in ("pretraining", "finetuning") for option in (f"--{part}.max_steps", "2")]
    short += [
        "--data.train_step",
        "300",
        "--model.num_hidden_layers",
        "1",
        "--pretraining.use_cpu",
        "true",
        "--finetuning.use_cpu",
        "true",
    ]
    assert main(["quickstart", "--config", "recipes/quickstart.yaml", "--output_dir", str(folder), *short]) == 0

    names = (
        "metrics.json",
        "predictions.tsv",
        "loss.png",
        "roc_pr.png",
        "confusion.png",
        "report.html",
        "model",
        "store",
    )
    assert [name for name in names if not (folder / name).exists()] == []
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["largest_difference_after_reload"] < 1e-5
    assert set(metrics["baselines"]) == {"majority", "4-mer logistic regression"}
    predictions = pd.read_csv(folder / "predictions.tsv", sep="\t")
    assert len(predictions) == metrics["test_windows"] and set(predictions["length"]) == {150}

    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    assert model.config.id2label == {0: "other", 1: "phage"}
    assert AutoTokenizer.from_pretrained(folder / "model").stride == model.config.stride
    report = (folder / "report.html").read_text()
    assert report.count('src="data:image/png;base64,') == 3 and "demonstration" in report
    assert f"{metrics['test']['macro_recall']:.1%}" in report
    low, high = metrics["test"]["intervals"]["macro_recall"]
    assert metrics["test"]["bootstrap"]["over"] == "groups", "windows of a genome resemble each other"
    assert low < metrics["test"]["macro_recall"] < high and f"{low:.1%} to {high:.1%}" in report
    out = capsys.readouterr().out
    assert (
        "scores (test)" in out and "4-mer logistic regression " in out and "majority " in out and "report.html" in out
    )
    assert len(out.splitlines()) <= 12


@pytest.mark.slow
def test_the_quickstart_starts_from_a_pretrained_model_and_shows_its_twin(tmp_path, monkeypatch, repo_root, capsys):
    monkeypatch.chdir(repo_root)
    folder, pretrained = tmp_path / "quickstart", tmp_path / "little"
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    KmerBertForMaskedLM(KmerBertConfig(k=6, stride=6, max_position_embeddings=40, **sizes)).save_pretrained(pretrained)
    KmerTokenizer(k=6, stride=6).save_pretrained(pretrained)
    options = ["--output_dir", str(folder), "--pretrained", str(pretrained), "--finetuning.max_steps", "2"]
    options += ["--data.train_step", "300", "--finetuning.use_cpu", "true"]
    assert main(["quickstart", "--config", "recipes/quickstart.yaml", *options]) == 0

    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["pretraining"] is None and metrics["started_from"] == str(pretrained)
    assert set(metrics["baselines"]) == {"majority", "4-mer logistic regression", TWIN}
    config = AutoConfig.from_pretrained(folder / "model")
    assert (config.stride, config.hidden_size, config.classifier_pooling) == (6, 32, "mean")
    assert not (folder / "pretrained").exists() and (folder / "twin" / "metrics.json").exists()
    report = (folder / "report.html").read_text()
    assert TWIN in report and "little" in report and str(tmp_path) not in report
