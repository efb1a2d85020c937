"""Every mistake of a user's ends with one line that names the place and says what to do."""

from __future__ import annotations

import re

import pytest

from hf_genomics.cli import VERBS, main

PREFIX = "hf-genomics: error: "
# What a user can do about a mistake; a message has at least one of these words.
REMEDY = re.compile(
    r"\b(add|check|choose|convert|copy|correct|decompress|delete|did you mean|drop|fetch|fill|fix|give|keep|lower|move|"
    r"must|name|omit|prepare|raise|remove|rename|run|save|see|select|set|shorten|split|train|use|write)\b"
)
BASES = re.compile(r"[ACGTUNacgtun]{31}")

PRETRAIN = (
    "pretrain --data.store STORE --trainer.output_dir out --tokenizer.k 3 --windows.length 60 --trainer.max_steps 1"
)
FINETUNE = "finetune --pretrained MLM --trainer.output_dir out --trainer.max_steps 1 --data.train"
PREDICT = "predict --model TUNED --output p.tsv --input"
EVALUATE = "evaluate --model TUNED --output_dir out --data.test"

# (command line, words that name the place). Names in capitals are paths of the fixture `places`.
MISTAKES = {
    # download
    "download_nothing": ("download --output_dir out", ["accessions"]),
    "download_no_file": ("download --accessions no.txt --output_dir out", ["no.txt"]),
    "download_typo": ("download --acessions x --output_dir out", ["acessions", "accessions"]),
    # check
    "check_nothing": ("check", ["files"]),
    "check_k": ("check OK --k 0", ["k", "0"]),
    "check_identity": ("check OK --splits.min_identity 2", ["min_identity", "2"]),
    "check_output": ("check OK --output OK", ["ok.fa"]),
    "check_rejected": ("check PROTEIN", ["1 problem"]),
    # prepare
    "prepare_missing": ("prepare --fasta no.fa --output_dir out", ["no.fa"]),
    "prepare_protein": ("prepare --fasta PROTEIN --output_dir out", ["protein.fa", "record 1", "'p'", "position 4"]),
    "prepare_cut": ("prepare --fasta CUT --output_dir out", ["cut.fa.gz"]),
    "prepare_twice": ("prepare --fasta OK OK --output_dir out", ["ok.fa"]),
    "prepare_short": ("prepare --fasta OK --records.min_length 999 --output_dir out", ["ok.fa", "'r0'", "200", "999"]),
    "prepare_metadata": ("prepare --fasta OK --metadata no.tsv --output_dir out", ["no.tsv"]),
    "prepare_storage": ("prepare --fasta OK --storage 3bit --output_dir out", ["storage", "3bit"]),
    "prepare_split": ("prepare --fasta OK --split 0.5 0.4 --output_dir out", ["split"]),
    "prepare_filled": ("prepare --fasta OK --output_dir FILLED", ["filled"]),
    # train-bpe
    "bpe_store": ("train-bpe --store no --output_dir out", ["no"]),
    "bpe_size": ("train-bpe --store STORE --vocab_size 3 --output_dir out", ["vocab_size", "3"]),
    # pretrain
    "pretrain_of_a_classifier": (f"{PRETRAIN} --pretrained TUNED", ["tuned", "SequenceClassification"]),
    "pretrain_nothing": ("pretrain", ["data.store"]),
    "pretrain_folder": ("pretrain --data.store STORE", ["trainer.output_dir"]),
    "pretrain_key": (f"{PRETRAIN} --trainer.max_stepz 2", ["trainer.max_stepz", "trainer.max_steps"]),
    "pretrain_yaml": ("pretrain --config BROKEN", ["broken.yaml", "line "]),
    "pretrain_yaml_missing": ("pretrain --config no.yaml", ["no.yaml"]),
    "pretrain_type": (f"{PRETRAIN} --model.hidden_size big", ["model.hidden_size", "big"]),
    "pretrain_sizes": (f"{PRETRAIN} --model.hidden_size 33", ["model.hidden_size", "33"]),
    "pretrain_k": (f"{PRETRAIN} --tokenizer.k 9", ["tokenizer.k", "9"]),
    "pretrain_scheduler": (f"{PRETRAIN} --trainer.lr_scheduler_type lineer", ["trainer.lr_scheduler_type", "lineer"]),
    "pretrain_value": (f"{PRETRAIN} --trainer.max_steps", ["--trainer.max_steps"]),
    "pretrain_window": (f"{PRETRAIN} --windows.length 9999", ["9999"]),
    "pretrain_resume": (f"{PRETRAIN} --resume true", ["out"]),
    # finetune
    "finetune_model": (f"{FINETUNE} TABLE --pretrained no/model", ["no/model"]),
    "finetune_label": (f"{FINETUNE} UNLABELLED", ["unlabelled.csv", "row 2"]),
    "finetune_column": (f"{FINETUNE} TABLE --data.columns.label lable", ["table.csv", "lable", "label"]),
    "finetune_long": (f"{FINETUNE} LONG", ["long.csv", "150 nt"]),
    "finetune_baseline": (f"{FINETUNE} TABLE --baseline_k 99", ["baseline_k", "99"]),
    "finetune_positive": (f"{FINETUNE} TABLE --positive c", ["positive", "'c'"]),
    # evaluate and predict
    "evaluate_class": (f"{EVALUATE} OTHER", ["other.csv", "row 1", "'c'"]),
    "evaluate_split": (f"{EVALUATE} TABLE --split training", ["split", "training"]),
    "explain_untuned": ("explain --model MLM --input OK --output_dir out", ["mlm"]),
    "explain_method": ("explain --model TUNED --input OK --output_dir out --method lrp", ["method", "lrp"]),
    "demo_untuned": ("demo --model MLM --port 0", ["mlm"]),
    "probe_pooling": ("probe --model MLM --data.train TABLE --output_dir out --pooling tokens", ["pooling", "tokens"]),
    "embed_output": ("embed --model MLM --input OK --output v.txt", ["v.txt", ".parquet"]),
    "region_picture_of_nothing": ("region-picture --region c:1-9 --output x.png", ["tracks"]),
    "variants_model": ("score-variants --model no --pairs OK --output p.tsv", ["no"]),
    "predict_untuned": ("predict --model MLM --input OK --output p.tsv", ["mlm"]),
    "predict_nothing": (f"{PREDICT} no.fa", ["no.fa"]),
    "predict_short": (f"{PREDICT} SHORT --strict true", ["short.fa", "record 1", "2 nt"]),
    "predict_output": (f"{PREDICT} OK --output FILLED", ["filled"]),
    "predict_batch": (f"{PREDICT} OK --batch_size 0", ["batch_size", "0"]),
    "predict_damaged": ("predict --model DAMAGED --input OK --output p.tsv", ["damaged"]),
    # convert, push, quickstart
    "convert_missing": ("convert no --output_dir out", ["no"]),
    "convert_filled": ("convert MLM --output_dir FILLED", ["filled"]),
    "card_folder": ("card FILLED", ["filled"]),
    "push_folder": ("push --model FILLED --name x/y", ["filled"]),
    "table_features": ("table --genome OK --output t.csv", ["bed", "gff"]),
    "motifs_untuned": ("motifs --model MLM --input OK --target b --output_dir out", ["mlm"]),
    "scarcity_recipe": ("label-scarcity --config no.yaml", ["no.yaml"]),
    "quickstart_genomes": ("quickstart --config QUICKSTART --data.genomes no", ["no"]),
    # no verb
    "verb": ("pretrian", ["pretrian", "pretrain"]),
}


@pytest.mark.usefixtures("one_parser_per_verb")
@pytest.mark.parametrize(("command", "named"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_ends_with_one_line_that_names_the_place_and_a_remedy(places, work, capsys, command, named):
    assert main([places.get(word, word) for word in command.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(PREFIX), lines
    line = lines[0].removeprefix(PREFIX)
    assert [part for part in named if part not in line] == [], line
    assert REMEDY.search(line), line
    assert not BASES.search(line), line


def test_every_verb_has_a_mistake_here():
    used = {command.split()[0] for command, _ in MISTAKES.values()}
    assert set(VERBS) <= used
