"""The command line: whatever is wrong with the input ends with exit code 2, one line, and nothing written."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import hf_genomics
from hf_genomics import (
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerTokenizer,
    cli,
    modeling_kmer_bert,
    prepare,
)
from hf_genomics.cli import VERBS, main

pytestmark = pytest.mark.usefixtures("work")

PREFIX = "hf-genomics: error: "
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
QUICK = ("--trainer.max_steps", "2", "--trainer.use_cpu", "true", "--trainer.bf16", "false")
GOOD = "sequence,label\n" + "ACGTACGTAC,a\nTTGACCATGA,b\n" * 3


def dna(length, seed=0):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store of six contigs (a and b in every split), a masked-token model and a fine-tuned one, all of 3-mers."""
    folder = tmp_path_factory.mktemp("cli")
    rows = [(f"r{i}", "ab"[i % 2], ("train", "valid", "test")[i // 2]) for i in range(6)]
    (folder / "ok.fa").write_text("".join(f">{name}\n{dna(200, seed)}\n" for seed, (name, *_) in enumerate(rows)))
    table = "accession\tlabel\tsplit\n" + "".join("\t".join(row) + "\n" for row in rows)
    (folder / "labels.tsv").write_text(table)
    prepare([str(folder / "ok.fa")], str(folder / "store"), str(folder / "labels.tsv"))
    config = {"k": 3, "max_position_embeddings": 64, **SIZES}
    for name, model in {
        "mlm": KmerBertForMaskedLM(KmerBertConfig(**config)),
        "tuned": KmerBertForSequenceClassification(
            KmerBertConfig(
                **config,
                id2label={0: "a", 1: "b"},
                label2id={"a": 0, "b": 1},
                problem_type="single_label_classification",
            )
        ),
    }.items():
        model.save_pretrained(folder / name)
        KmerTokenizer(k=3).save_pretrained(folder / name)
    model = "".join(f"  {name}: {size}\n" for name, size in SIZES.items())
    (folder / "pretrain.yaml").write_text(
        f"data:\n  store: {folder}/store\n  valid_windows: 4\ntokenizer:\n  k: 3\n"
        f"model:\n  max_position_embeddings: 64\n{model}windows:\n  length: 60\n"
        "trainer:\n  output_dir: out\n  max_steps: 2\n  learning_rate: 4e-4\n  use_cpu: true\n  bf16: false\n"
    )
    return folder


def only_line(errors):
    """The one line of an error."""
    (line,) = errors.splitlines()
    assert line.startswith(PREFIX)
    return line.removeprefix(PREFIX)


@pytest.fixture
def refused(work, capsys, one_parser_per_verb):
    """Run a command that must be refused: exit code 2, one line, and not a file more than before."""

    def call(*words):
        before = set(work.rglob("*"))
        assert main([str(word) for word in words]) == 2
        assert set(work.rglob("*")) == before
        return only_line(capsys.readouterr().err)

    return call


def has_all(line, *parts):
    return [part for part in parts if part not in line] == []


# FASTA


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param("", ["empty"], id="empty"),
        pytest.param("# nothing here\n", ["record"], id="no_record"),
        pytest.param(">p\nMKVLAAGE\n", ["record 1 ('p'), position 4", "'L'"], id="protein"),
        pytest.param(">r\nACGT\n>g\nAC--GT\n", ["record 2 ('g'), position 3", "'-'"], id="gaps"),
        pytest.param(">d\nACGT\n>d\nACGT\n", ["record 2 ('d')", "name"], id="duplicate"),
        pytest.param(">r\n>s\nACGT\n", ["record 1 ('r')", "empty"], id="record_without_letters"),
        pytest.param("ACGT\n", ["header"], id="no_header"),
    ],
)
def test_a_bad_fasta_file_is_refused_by_file_and_record(refused, work, content, parts):
    (work / "bad.fa").write_text(content)
    assert has_all(refused("prepare", "--fasta", "bad.fa", "--output_dir", "store"), "bad.fa", *parts)


@pytest.mark.parametrize("verb", ["prepare", "predict"])
def test_a_gzip_file_cut_short_is_refused(refused, work, home, verb):
    packed = gzip.compress((">r\n" + dna(5000) + "\n").encode())
    (work / "cut.fa.gz").write_bytes(packed[: len(packed) // 2])
    words = {
        "prepare": ["--fasta", "cut.fa.gz", "--output_dir", "store"],
        "predict": ["--model", home / "tuned", "--input", "cut.fa.gz", "--output", "p.tsv"],
    }
    assert has_all(refused(verb, *words[verb]), "cut.fa.gz", "cut short")


def test_one_name_in_two_files_is_refused(refused, work):
    for name in ("one.fa", "two.fa"):
        (work / name).write_text(">same\nACGT\n")
    line = refused("prepare", "--fasta", "one.fa", "two.fa", "--output_dir", "store")
    assert has_all(line, "two.fa", "'same'", "one.fa")


def test_records_shorter_than_asked_for_are_refused(refused, work):
    (work / "short.fa").write_text(">long\nACGTACGT\n>short\nACGT\n")
    line = refused("prepare", "--fasta", "short.fa", "--min_length", "6", "--output_dir", "store")
    assert has_all(line, "short.fa: record 2 ('short')", "4 nt", "6 nt")


def test_records_shorter_than_a_kmer_are_refused_by_a_strict_predict(refused, work, home):
    (work / "short.fa").write_text(">long\nACGTACGT\n>short\nAC\n")
    words = ["--model", home / "tuned", "--input", "short.fa", "--output", "p.tsv", "--strict", "true"]
    line = refused("predict", *words)
    assert has_all(line, "short.fa: record 2 ('short')", "2 nt", "3 nt")


def test_a_store_of_contigs_shorter_than_a_kmer_is_refused_by_pretrain(refused, work, home):
    (work / "short.fa").write_text(">r0\nAC\n>r2\nAC\n>r4\nAC\n")
    prepare(["short.fa"], "store", str(home / "labels.tsv"))
    words = ["--config", home / "pretrain.yaml", "--data.store", "store", "--windows.min_length", "1"]
    assert has_all(refused("pretrain", *words), "store", "2 nt", "3 nt", "tokenizer.k")


def test_records_without_a_row_in_the_metadata_are_refused(refused, work, home):
    (work / "new.fa").write_text(">unknown\nACGT\n")
    line = refused("prepare", "--fasta", "new.fa", "--metadata", home / "labels.tsv", "--output_dir", "store")
    assert has_all(line, "labels.tsv", "unknown", "'accession'")


# labels


@pytest.mark.parametrize(
    ("train", "test", "parts"),
    [
        pytest.param("ACGTAC,a\nACGTAC,\n", None, ["train.csv: data row 2", "missing"], id="missing"),
        pytest.param("ACGTAC,a\nACGTAC,NaN\n", None, ["train.csv: data row 2", "(NaN)"], id="nan"),
        pytest.param("ACGTAC,a\nACGTAC,a\n", None, ["train.csv", "'a'"], id="one_class"),
        pytest.param("ACGTAC,a\nACGTAC,b\n", "ACGTAC,a\n", ["test.csv", "'b'"], id="class_missing"),
        pytest.param(
            "ACGTAC,a\nACGTAC,b\n", "ACGTAC,a\nACGTAC,c\n", ["test.csv: data row 2", "'c'", "'a', 'b'"], id="unknown"
        ),
        pytest.param("ACGTAC,a\nMKVLAA,b\n", None, ["train.csv: data row 2, position 4"], id="protein"),
        pytest.param("AC,a\nACGTAC,b\n", None, ["train.csv: data row 1", "2 nt", "3 nt"], id="short"),
        pytest.param(
            "ACGTAC,0.5\nACGTAC,x\nACGTAC,1.5\n", None, ["train.csv: data row 2", "'x'"], id="word_among_numbers"
        ),
        pytest.param("", None, ["train.csv"], id="no_row"),
    ],
)
def test_bad_labels_are_refused_by_file_and_row(refused, work, home, train, test, parts):
    (work / "train.csv").write_text("sequence,label\n" + train)
    words = ["--pretrained", home / "mlm", "--data.train", "train.csv", "--trainer.output_dir", "out", *QUICK]
    if test is not None:
        (work / "test.csv").write_text("sequence,label\n" + test)
        words += ["--data.test", "test.csv"]
    assert has_all(refused("finetune", *words), *parts)


def test_a_column_that_is_not_there_is_refused_with_the_nearest(refused, work, home):
    (work / "train.csv").write_text(GOOD.replace("label", "lable"))
    words = ["--pretrained", home / "mlm", "--data.train", "train.csv", "--trainer.output_dir", "out"]
    assert has_all(refused("finetune", *words), "train.csv", "'label'", "'lable'")


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        pytest.param("ACGTAC,a\n", ["test.csv", "'b'"], id="class_missing"),
        pytest.param("ACGTAC,a\nACGTAC,c\n", ["test.csv: data row 2", "'c'", "'a', 'b'"], id="unknown"),
        pytest.param("ACGTAC,a\nACGTAC,nan\n", ["test.csv: data row 2", "missing"], id="nan"),
    ],
)
def test_evaluate_refuses_labels_that_are_not_the_models(refused, work, home, rows, parts):
    (work / "test.csv").write_text("sequence,label\n" + rows)
    words = ["--model", home / "tuned", "--data.test", "test.csv", "--output_dir", "out"]
    assert has_all(refused("evaluate", *words), *parts)


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        pytest.param(["a", "", "a", "b", "a", "b"], ["'r1'"], id="missing"),
        pytest.param(["a", "b", "a", "b", "a", "a"], ["split 'test'", "class 'b'"], id="class_missing_from_a_split"),
        pytest.param(["a"] * 6, ["one class only", "'a'"], id="one_class"),
    ],
)
def test_bad_labels_of_a_store_are_refused(refused, work, home, labels, parts):
    rows = [f"r{i}\t{label}\t{('train', 'valid', 'test')[i // 2]}\n" for i, label in enumerate(labels)]
    (work / "labels.tsv").write_text("accession\tlabel\tsplit\n" + "".join(rows))
    prepare([str(home / "ok.fa")], "store", "labels.tsv")
    words = ["--data.store", "store", "--data.windows.length", "40", "--trainer.output_dir", "out"]
    assert has_all(refused("finetune", "--pretrained", home / "mlm", *words), "store", *parts)


def test_a_split_that_the_store_does_not_have_is_refused(refused, home):
    line = refused("pretrain", "--config", home / "pretrain.yaml", "--data.train_split", "training")
    assert has_all(line, "store", "'training'", "'test', 'train', 'valid'")


# check


@pytest.fixture
def two_files(work):
    """A file that is taken and one that is refused, for two reasons."""
    (work / "ok.fa").write_text(f">a\n{dna(60)}\n")
    (work / "bad.fa").write_text(f">b\n{dna(60, 1)}\n>c\nAC-T\n>d\n")


def test_check_draws_a_table_and_ends_with_0_where_nothing_is_refused(two_files, capsys):
    assert main(["check", "ok.fa"]) == 0
    shown = capsys.readouterr()
    assert has_all(shown.out, "ok.fa", "records", "soft-masked", "ok") and shown.err == ""


def test_check_lists_all_problems_of_all_files_and_ends_with_2(two_files, work, capsys):
    assert main(["check", "none.fa", "bad.fa", "ok.fa", "--output", "check.json"]) == 2
    shown = capsys.readouterr()
    assert has_all(shown.out, "none.fa: no such file", "record 2 ('c'), position 3: '-'", "record 3 ('d'): is empty")
    assert has_all(only_line(shown.err), "3 problems", "2 of 3 files")
    assert json.loads((work / "check.json").read_text())["total"]["records"] == 4


def test_files_named_with_and_without_their_option_are_refused(refused, two_files):
    assert has_all(refused("check", "ok.fa", "--files", "bad.fa"), "--files", "ok.fa")


def test_check_warns_of_test_sequences_that_were_trained_on(two_files, work, capsys):
    (work / "test.fa").write_text(f">e\n{dna(60).lower()}\n")
    assert main(["check", "--train", "ok.fa", "--test", "test.fa"]) == 0
    assert "warning: 1 of 1 test records are in train too: " in capsys.readouterr().out


# keys and values


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        pytest.param(["--trainer.max_stepz", "3"], ["'trainer.max_stepz'", "'trainer.max_steps'"], id="trainer"),
        pytest.param(["--tokenizer.strid", "3"], ["'tokenizer.strid'", "'tokenizer.stride'"], id="tokenizer"),
        pytest.param(["--model.hiden_size", "32"], ["'model.hiden_size'", "'model.hidden_size'"], id="model"),
        pytest.param(["--data.storr", "x"], ["'data.storr'", "'data.store'"], id="data"),
        pytest.param(["--resum", "true"], ["'resum'", "'resume'"], id="top"),
        pytest.param(["--model.vocab_size", "9"], ["'model.vocab_size'"], id="not_the_users"),
        pytest.param(["stray"], ["stray"], id="stray_word"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest(refused, home, words, parts):
    assert has_all(refused("pretrain", "--config", home / "pretrain.yaml", *words), *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("masking:\n  spam: 3\n", ["'masking.spam'", "'masking.span'"], id="in_a_section"),
        pytest.param("trainer:\n  max_stepz: 3\n", ["'trainer.max_stepz'", "'trainer.max_steps'"], id="trainer"),
        pytest.param("dataa:\n  store: x\n", ["'dataa.store'", "'data.store'"], id="section"),
        pytest.param("overwritte: true\n", ["'overwritte'", "'overwrite'"], id="top"),
        pytest.param("model:\n  hidden_size: big\n", ["model.hidden_size", "whole number", "big"], id="wrong_type"),
        pytest.param("trainer: 3\n", ["trainer", "section"], id="value_for_a_section"),
        pytest.param("data: [\n", ["bad.yaml", "line "], id="syntax"),
        pytest.param("- a\n- b\n", ["bad.yaml"], id="list"),
        pytest.param("", ["bad.yaml"], id="empty"),
    ],
)
def test_a_bad_yaml_file_is_refused_by_key_or_file(refused, work, text, parts):
    (work / "bad.yaml").write_text(text)
    assert has_all(refused("pretrain", "--config", "bad.yaml"), *parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        pytest.param(["--tokenizer.k", "9"], ["k must lie in 1..8", "9"], id="k_too_large"),
        pytest.param(["--tokenizer.k", "0"], ["k must lie in 1..8", "0"], id="k_zero"),
        pytest.param(["--tokenizer.k", "six"], ["tokenizer.k", "whole number", "six"], id="k_a_word"),
        pytest.param(["--tokenizer.k", "2.5"], ["tokenizer.k", "whole number", "2.5"], id="k_a_fraction"),
        pytest.param(["--tokenizer.stride", "0"], ["stride must lie in 1..k (k is 3), not 0"], id="stride_zero"),
        pytest.param(["--tokenizer.stride", "4"], ["stride must lie in 1..k", "not 4", "allow_gaps"], id="stride"),
        pytest.param(
            ["--windows.length", "100"],
            ["windows.length of 100 nt", "100 tokens", "64", "model.max_position_embeddings"],
            id="window_longer_than_positions",
        ),
        pytest.param(["--windows.min_length", "61"], ["min_length", "1..length (60)", "61"], id="min_length"),
        pytest.param(["--windows.full_share", "2"], ["full_share", "0..1"], id="share"),
        pytest.param(["--masking.span", "0"], ["span must be a whole number of tokens, at least 1, not 0"], id="span"),
        pytest.param(["--masking.start_rate", "7"], ["start_rate", "7"], id="start_rate"),
        pytest.param(
            ["--masking.hidden_fraction", "0.1", "--masking.start_rate", "0.1"],
            ["start_rate (0.1) and hidden_fraction (0.1)"],
            id="two_doses",
        ),
        pytest.param(
            ["--masking.hidden_fraction", "0.1", "--masking.start_rate", "null", "--masking.span", "2"],
            ["masking.hidden_fraction", "span of 2"],
            id="impossible_dose",
        ),
        pytest.param(
            ["--masking.schedule", "{5: 2}"], ["start_rate from step 5 on", "above 0 and below 1"], id="schedule"
        ),
        pytest.param(["--masking.schedule", "{later: 0.1}"], ["masking.schedule", "later"], id="schedule_type"),
        pytest.param(["--masking.replacement", "word"], ["masking.replacement", "'span' or 'token'"], id="choice"),
        pytest.param(["--model.hidden_size", "33"], ["hidden_size (33)", "num_attention_heads"], id="sizes"),
        pytest.param(["--trainer.max_steps", "many"], ["trainer.max_steps", "whole number", "many"], id="trainer_type"),
        pytest.param(["--trainer.learning_rate", "-1"], ["trainer.learning_rate", "-1"], id="learning_rate"),
        pytest.param(["--trainer.per_device_train_batch_size", "0"], ["train_batch_size"], id="batch"),
        pytest.param(["--trainer.max_steps"], ["--trainer.max_steps", "missing"], id="no_value"),
        pytest.param(["--data.valid_windows", "0"], ["data.valid_windows"], id="valid_windows"),
        pytest.param(
            ["--data.valid_split", "null", "--trainer.eval_strategy", "steps"], ["data.valid_split"], id="no_validation"
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_key(refused, home, words, parts):
    assert has_all(refused("pretrain", "--config", home / "pretrain.yaml", *words), *parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        pytest.param(["--head.num_parts", "0"], ["head.num_parts"], id="num_parts"),
        pytest.param(["--head.rc_probability", "1.5"], ["head.rc_probability", "0..1", "1.5"], id="rc_probability"),
        pytest.param(["--head.dropout", "-0.1"], ["head.dropout", "0..1"], id="dropout"),
        pytest.param(["--baseline_k", "-1"], ["baseline_k", "0..8"], id="baseline"),
        pytest.param(["--positive", "c"], ["positive", "'c'", "['a', 'b']"], id="positive"),
        pytest.param(["--data.windows.length", "0"], ["data.windows.length"], id="length"),
        pytest.param(["--data.windows.train_step", "0"], ["data.windows.train_step"], id="step"),
        pytest.param(["--data.store", "store"], ["data.train", "data.store"], id="two_sources"),
        pytest.param(["--data.valid", "no.csv"], ["no.csv"], id="no_validation_file"),
        pytest.param(["--trainer.eval_strategy", "epoch"], ["trainer.eval_strategy", "data.valid"], id="no_validation"),
    ],
)
def test_a_value_that_finetune_cannot_take_is_refused_by_key(refused, work, home, words, parts):
    (work / "train.csv").write_text(GOOD)
    start = ["--pretrained", home / "mlm", "--data.train", "train.csv", "--trainer.output_dir", "out", *QUICK]
    assert has_all(refused("finetune", *start, *words), *parts)


def test_a_window_shorter_than_a_kmer_or_longer_than_the_contigs_is_refused(refused, home):
    words = ["--pretrained", home / "mlm", "--data.store", home / "store", "--trainer.output_dir", "out"]
    assert has_all(refused("finetune", *words, "--data.windows.length", "2"), "data.windows.length", "2 nt", "3 nt")
    assert has_all(refused("finetune", *words, "--data.windows.length", "300"), "'train'", "300 nt")


def test_a_sequence_longer_than_the_models_positions_is_refused_by_row(refused, work, home):
    (work / "train.csv").write_text(GOOD + f"{dna(150)},a\n")
    words = ["--pretrained", home / "mlm", "--data.train", "train.csv", "--trainer.output_dir", "out"]
    assert has_all(refused("finetune", *words), "train.csv: sequence 7", "150 nt", "150 tokens", "64")
    line = refused("finetune", *words, "--head.num_parts", "2")
    assert has_all(line, "train.csv: sequence 7", "a part of 75 nt", "75 tokens", "64")


@pytest.mark.parametrize("options", [["--split", "training"], ["--positive", "c"], ["--batch_size", "0"]])
def test_a_value_that_evaluate_cannot_take_is_refused_by_key(refused, work, home, options):
    (work / "test.csv").write_text(GOOD)
    words = ["--model", home / "tuned", "--data.test", "test.csv", "--output_dir", "out", *options]
    assert has_all(refused("evaluate", *words), options[0].removeprefix("--"), options[1])


# files and folders


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        pytest.param("prepare --fasta no.fa --output_dir out", ["no.fa"], id="fasta"),
        pytest.param("prepare --fasta HOME --output_dir out", ["HOME"], id="folder_for_fasta"),
        pytest.param("prepare --fasta --output_dir out", ["fasta"], id="no_fasta"),
        pytest.param("prepare --output_dir out", ["required", "fasta"], id="fasta_not_named"),
        pytest.param("prepare --fasta HOME/ok.fa --metadata no.tsv --output_dir out", ["no.tsv"], id="metadata"),
        pytest.param("pretrain --config HOME/pretrain.yaml --data.store no", ["no: "], id="store"),
        pytest.param("pretrain --config HOME/pretrain.yaml --data.store HOME", ["HOME: "], id="not_a_store"),
        pytest.param("pretrain --config no.yaml", ["no.yaml"], id="config"),
        pytest.param("pretrain --config HOME", ["HOME"], id="folder_for_config"),
        pytest.param("pretrain --config", ["--config", "missing"], id="config_not_named"),
        pytest.param("pretrain", ["required", "data.store"], id="nothing"),
        pytest.param(
            "finetune --pretrained no/model --data.train HOME/ok.fa --trainer.output_dir out",
            ["no/model"],
            id="pretrained",
        ),
        pytest.param("predict --model no --input HOME/ok.fa --output p.tsv", ["no: "], id="model"),
        pytest.param(
            "predict --model HOME/store --input HOME/ok.fa --output p.tsv",
            ["HOME/store", "config.json"],
            id="not_a_model",
        ),
        pytest.param(
            "predict --model HOME/mlm --input HOME/ok.fa --output p.tsv",
            ["HOME/mlm", "fine-tuned"],
            id="predict_without_finetuning",
        ),
        pytest.param(
            "evaluate --model HOME/mlm --data.test HOME/ok.fa --output_dir out",
            ["HOME/mlm", "fine-tuned"],
            id="evaluate_without_finetuning",
        ),
        pytest.param("predict --model HOME/tuned --input no.fa --output p.tsv", ["no.fa"], id="input"),
        pytest.param("predict --model HOME/tuned --input HOME/ok.fa --output HOME", ["HOME"], id="folder_for_output"),
        pytest.param(
            "predict --model HOME/tuned --input HOME/ok.fa --output HOME/ok.fa/p.tsv",
            ["HOME/ok.fa"],
            id="file_for_folder",
        ),
        pytest.param(
            "evaluate --model HOME/tuned --data.test HOME/ok.fa --output_dir HOME/ok.fa",
            ["HOME/ok.fa"],
            id="file_for_output_dir",
        ),
        pytest.param(
            "evaluate --model HOME/tuned --data.train HOME/ok.fa --output_dir out", ["data.test"], id="no_test_file"
        ),
        pytest.param(
            "pretrain --config HOME/pretrain.yaml --trainer.output_dir HOME/ok.fa",
            ["HOME/ok.fa", "trainer.output_dir"],
            id="file_for_model",
        ),
        pytest.param(
            "pretrain --config HOME/pretrain.yaml --trainer.output_dir HOME/ok.fa/out",
            ["HOME/ok.fa/out"],
            id="file_above_model",
        ),
        pytest.param("pretrain --config HOME/pretrain.yaml --resume true", ["out: ", "resume"], id="resume"),
        pytest.param(
            "pretrain --config HOME/pretrain.yaml --trainer.push_to_hub true",
            ["trainer.push_to_hub"],
            id="trainers_push",
        ),
        pytest.param(
            "convert HOME/mlm HOME/tuned --output_dir out", ["--source", "HOME/mlm", "HOME/tuned"], id="two_sources"
        ),
        pytest.param("convert HOME/mlm --source x --output_dir out", ["--source", "HOME/mlm"], id="source_twice"),
        pytest.param("quickstart --genomes no --output_dir out", ["no: ", "metadata.tsv"], id="quickstart"),
        pytest.param("pretrian --config x.yaml", ["'pretrian'", "'pretrain'"], id="verb"),
        pytest.param("fit", ["'fit'", "hf-genomics --help"], id="unknown_verb"),
    ],
)
def test_what_is_missing_or_in_the_way_is_refused_by_name(refused, home, words, parts):
    line = refused(*words.replace("HOME", str(home)).split())
    assert has_all(line, *(part.replace("HOME", str(home)) for part in parts))


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        pytest.param({"config.json": None}, ["config.json"], id="no_config"),
        pytest.param({"config.json": "{nonsense"}, ["config.json"], id="config_damaged"),
        pytest.param(
            {"config.json": '{"model_type": "bert"}'},
            ["bert"],
            id="another_model",
        ),
        pytest.param(
            {"config.json": '{"model_type": "kmer_bert", "k": "six"}'},
            ["'k' must be"],
            id="config_typed",
        ),
        pytest.param({"config.json": "{}"}, ["model_type"], id="config_empty"),
        pytest.param({"config.json": "[]"}, ["config.json", "list"], id="config_of_a_list"),
        pytest.param({"model.safetensors": None}, ["model.safetensors"], id="no_weights"),
        pytest.param({"model.safetensors": ""}, ["weights"], id="weights_damaged"),
        pytest.param(
            {"model.safetensors": None, "pytorch_model.bin": "\x80\x02junk"}, ["damaged"], id="pickle_damaged"
        ),
        pytest.param({"tokenizer_config.json": "[]"}, ["tokenizer_config.json", "list"], id="tokenizer_of_a_list"),
        pytest.param({"tokenizer_config.json": None}, ["tokenizer_config.json"], id="no_tokenizer"),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "finetune"])
def test_a_spoilt_model_folder_is_refused_by_name(refused, work, home, spoil, parts, verb):
    (work / "model").mkdir()
    for file in (home / "tuned").iterdir():
        (work / "model" / file.name).write_bytes(file.read_bytes())
    for name, text in spoil.items():
        (work / "model" / name).unlink() if text is None else (work / "model" / name).write_text(text, "latin-1")
    (work / "train.csv").write_text(GOOD)
    words = {
        "predict": ["--model", "model", "--input", "train.csv", "--output", "p.tsv"],
        "finetune": ["--pretrained", "model", "--data.train", "train.csv", "--trainer.output_dir", "out", *QUICK],
    }
    assert has_all(refused(verb, *words[verb]), "model", *parts)


@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
def test_a_folder_that_holds_a_finished_run_is_refused(refused, work, home, verb):
    (work / "out").mkdir()
    (work / "out" / "metrics.json").write_text("{}")
    (work / "train.csv").write_text(GOOD)
    words = {
        "pretrain": ["--config", home / "pretrain.yaml"],
        "finetune": ["--pretrained", home / "mlm", "--data.train", "train.csv", "--trainer.output_dir", "out"],
    }
    assert has_all(refused(verb, *words[verb]), "out", "trainer.output_dir")


def test_a_folder_that_holds_something_else_is_refused_by_prepare(refused, work, home):
    (work / "out").mkdir()
    (work / "out" / "thesis.txt").write_text("mine")
    line = refused("prepare", "--fasta", home / "ok.fa", "--output_dir", "out")
    assert has_all(line, "out")


# what works


def test_prepare_and_pretrain_run_from_the_command_line(work, home, capsys):
    assert main(["prepare", "--fasta", str(home / "ok.fa"), "--output_dir", "store"]) == 0
    words = ["--data.store", "store", "--data.train_split", "null", "--data.valid_split", "null"]
    assert main(["pretrain", "--config", str(home / "pretrain.yaml"), *words]) == 0
    assert "train_loss: " in capsys.readouterr().out
    assert json.loads((work / "out" / "metrics.json").read_text())["train_loss"] > 0


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_every_verb(capsys, words):
    assert main(words) == 0
    out = capsys.readouterr().out
    assert has_all(out, "usage: hf-genomics VERB", *VERBS, *VERBS.values())


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_says_what_it_does_and_each_option_once(capsys, verb):
    assert main([verb, "--help"]) == 0
    function = getattr(hf_genomics, verb.replace("-", "_"))
    out, summary = capsys.readouterr().out, function.__doc__.split(".")[0]
    assert out.startswith(f"usage: hf-genomics {verb} [--config x.yaml] [--key value ...]\n\n")
    assert " ".join(out.split()).count(" ".join(summary.split())) == 1 and "Args:" not in out


def test_version_is_that_of_the_package(capsys):
    import hf_genomics

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hf_genomics {hf_genomics.__version__}\n"


# as a user runs it


def run(repo_root, *words):
    environment = os.environ | {"PYTHONPATH": str(repo_root)}
    environment.pop("HF_HUB_DISABLE_PROGRESS_BARS")  # the front has to see to it
    command = [sys.executable, "-m", "hf_genomics", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_a_process_ends_with_exit_code_2_and_one_line(repo_root, work):
    (work / "bad.fa").write_text(">p\nMKVLAAGE\n")
    ended = run(repo_root, "prepare", "--fasta", "bad.fa", "--output_dir", "store")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "bad.fa: record 1 ('p'), position 4" in only_line(ended.stderr)
    assert [path.name for path in work.iterdir()] == ["bad.fa"]


@pytest.mark.slow
def test_a_process_that_has_loaded_a_model_still_ends_with_one_line(repo_root, work, home):
    (work / "test.csv").write_text("sequence,label\nACGTAC,a\nACGTAC,c\n")
    ended = run(repo_root, "evaluate", "--model", home / "tuned", "--data.test", "test.csv", "--output_dir", "out")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "test.csv: data row 2" in only_line(ended.stderr)
    assert [path.name for path in work.iterdir()] == ["test.csv"]


def test_a_run_without_an_output_folder_is_refused(refused, home):
    line = refused("pretrain", "--data.store", home / "store")
    assert "trainer.output_dir is not set" in line


@pytest.mark.parametrize(
    ("section", "key", "source"), [("masking", "seed", "trainer.seed"), ("model", "k", "tokenizer.k")]
)
def test_a_yaml_key_that_follows_another_is_refused(refused, home, work, section, key, source):
    (work / "x.yaml").write_text(f"data: {{store: {home / 'store'}}}\n{section}: {{{key}: 4}}\n")
    line = refused("pretrain", "--config", "x.yaml", "--trainer.output_dir", "out")
    assert f"x.yaml: {section}.{key} follows {source}" in line


def test_a_run_that_diverges_is_refused_and_not_saved(home, work, capsys):
    rows = [f"{dna(60, seed)},{'ab'[seed % 2]}" for seed in range(8)]
    (work / "rows.csv").write_text("\n".join(["sequence,label", *rows]) + "\n")
    words = ["--data.train", "rows.csv", "--pretrained", home / "mlm", "--trainer.output_dir", "out", *QUICK]
    words += ["--trainer.learning_rate", "1e30", "--trainer.max_steps", "4", "--trainer.logging_steps", "1"]
    assert main(["finetune", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert "the run has diverged" in error and re.search(r"rows? \d+\b.* of rows\.csv", error)
    (line,) = map(json.loads, (work / "out" / "incidents.jsonl").read_text().splitlines())
    assert {row["file"] for row in line["rows"]} == {"rows.csv"} and all(1 <= row["row"] <= 8 for row in line["rows"])
    assert not list((work / "out").glob("*.safetensors"))


# several processes


@pytest.mark.parametrize("rank", ["0", "3"])
def test_the_first_of_several_processes_speaks_and_the_others_wait_to_be_ended(work, capsys, monkeypatch, rank):
    waited = []
    monkeypatch.setattr(cli.time, "sleep", lambda seconds: waited.append((seconds, capsys.readouterr().err)))
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(work / "error.json"))
    assert main(["pretrainn"]) == 2
    assert waited == ([] if rank == "0" else [(10.0, "")])  # and has said nothing before
    line = only_line(capsys.readouterr().err)
    assert "'pretrain'" in line
    message = json.loads((work / "error.json").read_text())["message"]
    assert message["message"] == message["extraInfo"]["py_callstack"] == PREFIX + line  # no traceback of ours
    assert int(message["extraInfo"]["timestamp"]) > 0


@pytest.mark.parametrize("rank", ["0", "3"])
def test_a_process_whose_sibling_has_ended_speaks_and_lets_the_launcher_find_that_one(work, capsys, monkeypatch, rank):
    waited = []
    monkeypatch.setattr(cli.time, "sleep", lambda seconds: waited.append(capsys.readouterr().err))
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(work / "error.json"))
    assert cli._complain("another process has ended", code=1) == 1
    said = "hf-genomics: error: another process has ended\n"
    assert (waited, capsys.readouterr().err) == (([said], "") if rank == "0" else ([""], said))
    assert not (work / "error.json").exists()


def test_a_launcher_that_cannot_be_told_hides_nothing(work, capsys, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(work / "not" / "there"))
    assert main(["pretrainn"]) == 2
    assert "no verb 'pretrainn'" in only_line(capsys.readouterr().err)


# our faults, and --debug


@pytest.fixture
def broken_encoder(monkeypatch):
    """Plant a fault of ours in the encoder."""

    def broken(self, config):
        self.layers = None
        self.layers.foo  # noqa: B018

    monkeypatch.setattr(modeling_kmer_bert.KmerBertEncoder, "__init__", broken)


@pytest.mark.parametrize("verb", ["predict", "finetune"])
def test_a_fault_of_ours_ends_with_its_traceback_and_a_line_that_asks_for_a_report(
    broken_encoder, work, home, capsys, verb
):
    (work / "train.csv").write_text(GOOD)
    words = {
        "predict": ["--model", home / "tuned", "--input", "train.csv", "--output", "p.tsv"],
        "finetune": ["--pretrained", home / "mlm", "--data.train", "train.csv", "--trainer.output_dir", "out", *QUICK],
    }
    assert main([verb, *map(str, words[verb])]) == 1
    *traceback, last = capsys.readouterr().err.splitlines()
    assert any(line.startswith("AttributeError: ") for line in traceback) and "Traceback" in "".join(traceback)
    assert last.startswith("hf-genomics: ") and has_all(last, "AttributeError", "report")


@pytest.mark.parametrize("where", [0, 1, 3])
def test_debug_shows_the_traceback_of_a_users_mistake_too(work, capsys, where):
    words = ["prepare", "--fasta", "no.fa", "--output_dir", "out"]
    assert main([*words[:where], "--debug", *words[where:]]) == 2
    *traceback, last = capsys.readouterr().err.splitlines()
    assert traceback[0].startswith("Traceback") and has_all(only_line(last), "no.fa")


@pytest.mark.parametrize("words", [["--debug", "false"], ["--debug", "False"], ["--debug=false"]])
def test_debug_may_be_switched_off_in_words(work, capsys, words):
    assert main(["prepare", "--fasta", "no.fa", "--output_dir", "out", *words]) == 2
    assert has_all(only_line(capsys.readouterr().err), "no.fa")
    assert main(["prepare", "--fasta", "no.fa", "--output_dir", "out", words[0].replace("false", "true")]) == 2
    assert capsys.readouterr().err.startswith("Traceback")


def test_debug_may_be_set_by_a_variable(work, capsys, monkeypatch):
    monkeypatch.setenv("HF_GENOMICS_DEBUG", "1")
    assert main(["prepare", "--fasta", "no.fa", "--output_dir", "out"]) == 2
    assert capsys.readouterr().err.startswith("Traceback")


@pytest.mark.parametrize(
    ("words", "is_continued"),
    [
        (["score-variants"], True),
        (["predict", "--output", "p.tsv"], True),
        (["predict", "--output", "-"], False),
        (["predict", "--output=/dev/stdout"], False),
        (["check", "x.fa"], False),
    ],
)
def test_a_stopped_command_that_keeps_its_work_is_to_be_resumed(monkeypatch, capsys, words, is_continued):
    monkeypatch.setattr(cli, "_run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert main(words) == 128 + signal.SIGTERM
    assert ("--resume auto" in only_line(capsys.readouterr().err)) == is_continued


def test_a_reader_of_the_output_that_ends_early_is_no_error(monkeypatch, capsys):
    def closed(verb, words):
        raise BrokenPipeError

    monkeypatch.setattr(cli, "_run", closed)
    monkeypatch.setattr(cli.os, "dup2", lambda *handles: None)
    assert cli.main(["predict"]) == 141 and capsys.readouterr().err == ""


def test_standard_output_holds_the_predictions_and_nothing_else(work, home, capfd):
    (work / "x.fa").write_text(">r\nACGTTGCATTGA\n>s\nAC\n")
    words = ["--model", str(home / "tuned"), "--input", "x.fa", "--output"]
    assert cli.main(["predict", *words, "p.tsv"]) == 0
    assert cli.main(["predict", *words, "-"]) == 0
    assert capfd.readouterr().out == (work / "p.tsv").read_text()
    assert cli.main(["check", "--files", "x.fa", "--output", "-", "--k", "3"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["total"]["records"] == 2 and "x.fa" in err
    assert sorted(path.name for path in work.iterdir() if path.name in ("p.tsv", "-", "x.fa")) == ["p.tsv", "x.fa"]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, cli.SPIN_COUNT),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
        ({"GOMP_SPINCOUNT": "100"}, "100"),
        ({"KMP_BLOCKTIME": "0"}, None),
    ],
)
def test_waiting_threads_leave_their_cores_to_others_unless_the_user_chose(monkeypatch, capsys, chosen, found):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores what `main` sets
        monkeypatch.delenv(name)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    assert main(["no-such-verb"]) == 2
    assert os.environ.get("GOMP_SPINCOUNT") == found


def test_the_spin_count_is_set_before_torch_is_loaded():
    code = "import sys; from hf_genomics.cli import main; main(['no-such-verb']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_result_stands_below_the_log():
    code = (
        "import logging, sys; from hf_genomics import cli; sys.stderr = sys.stdout\n"
        "cli.run_verb = lambda *_: logging.getLogger('hf_genomics').warning('a line') or {'answer': 1}\n"
        "sys.exit(cli.main(['check']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and 0 <= run.stdout.find("a line") < run.stdout.find("answer"), run.stderr
