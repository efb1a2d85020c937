"""What a user may set wrong ends with exit code 2, one line that names the key, and no step taken or file written."""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers.utils import logging as transformers_logging

from hf_genomics import (
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerTokenizer,
    options,
    prepare,
)
from hf_genomics.cli import main
from hf_genomics.runs.exact_trainer import ExactTrainer

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
QUICK = "--trainer.max_steps 2 --trainer.use_cpu true --trainer.bf16 false --trainer.save_strategy no".split()


build_parser = functools.cache(options.build_parser)


def dna(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def write_table(path: Path, labels: str = "ab") -> None:
    lines = ["name,sequence,label,other,yes,value,nt,age,signal"]
    for row in range(6):
        letters = dna(10 + row % 3, row)
        g, a = ("".join("01"[letter == one] for letter in letters) for one in "GA")
        label, other = labels[row % len(labels)], dna(10, 99 + row)
        lines.append(f"s{row},{letters},{label},{other},{row % 2},{row / 3:.3f},{g},{row},{a}")
    path.write_text("\n".join(lines) + "\n")


def change(model: Path, copy: Path, **settings: object) -> None:
    """Copy a model whose config.json says something else than its weights."""
    shutil.copytree(model, copy)
    config = json.loads((copy / "config.json").read_text()) | settings
    (copy / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A store, tables, models of 3-mers, and models whose files contradict each other."""
    folder = tmp_path_factory.mktemp("arguments")
    rows = [(f"r{i}", "ab"[i % 2], ("train", "valid", "test")[i // 2]) for i in range(6)]
    (folder / "ok.fa").write_text("".join(f">{name}\n{dna(200, seed)}\n" for seed, (name, *_) in enumerate(rows)))
    (folder / "labels.tsv").write_text("accession\tlabel\tsplit\n" + "".join("\t".join(row) + "\n" for row in rows))
    prepare([str(folder / "ok.fa")], str(folder / "store"), str(folder / "labels.tsv"))
    config = {"k": 3, "max_position_embeddings": 64, **SIZES}
    KmerBertForMaskedLM(KmerBertConfig(**config)).save_pretrained(folder / "mlm")
    names = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}, "problem_type": "single_label_classification"}
    KmerBertForSequenceClassification(KmerBertConfig(**config, **names)).save_pretrained(folder / "tuned")
    for name in ("mlm", "tuned"):
        KmerTokenizer(k=3).save_pretrained(folder / name)
    change(folder / "mlm", folder / "wider", hidden_size=32)
    change(folder / "tuned", folder / "wider_tuned", hidden_size=32)
    change(folder / "mlm", folder / "more_words", vocab_size=70)
    change(folder / "mlm", folder / "deeper", num_hidden_layers=2)
    for name, tokenizer in {"k4": KmerTokenizer(k=4), "stride2": KmerTokenizer(k=3, stride=2)}.items():
        shutil.copytree(folder / "mlm", folder / name)
        tokenizer.save_pretrained(folder / name)
    for name, labels in {"train": "ab", "valid": "ab", "three": "abc", "one": "a"}.items():
        write_table(folder / f"{name}.csv", labels)
    return folder


@pytest.fixture
def refused(home, tmp_path, monkeypatch, capsys):
    """Run a command line that must be refused before the first step; gives its one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "build_parser", build_parser)  # half of the time of a refusal
    monkeypatch.setattr(ExactTrainer, "training_step", lambda *_, **__: pytest.fail("a step was taken"))
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_UPDATE_DOWNLOAD_COUNTS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    transformers_logging.disable_progress_bar()
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # its table of the weights of a new head

    starts = {
        "pretrain": f"--data.store {home}/store --tokenizer.k 3 --model.max_position_embeddings 64 --windows.length 60 "
        "--trainer.output_dir out " + " ".join(f"--model.{name} {size}" for name, size in SIZES.items()),
        "finetune": f"--pretrained {home}/mlm --data.train {home}/train.csv --data.valid {home}/valid.csv "
        "--trainer.output_dir out",
    }

    def call(verb: str, words: str) -> str:
        start = [*starts[verb].split(), *QUICK] if verb in starts else []
        assert main([verb, *start, *words.replace("HOME", str(home)).split()]) == 2
        assert not list(tmp_path.iterdir()), "something was written"
        last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-genomics: error: ")]
        assert len(last) == 1
        return last[0]

    yield call
    transformers_logging.set_verbosity(level)
    transformers_logging.enable_progress_bar()
    logging.getLogger("hf_genomics").setLevel(logging.NOTSET)


BEST = (
    "--trainer.load_best_model_at_end true --trainer.eval_strategy steps --trainer.eval_steps 1 "
    "--trainer.save_strategy steps --trainer.save_steps 1"
)
TRAINER = [
    # numbers
    ("--trainer.per_device_train_batch_size 0", "trainer.per_device_train_batch_size must be at least 1, not 0"),
    ("--trainer.per_device_train_batch_size 2.5", "trainer.per_device_train_batch_size: Expected a int"),
    ("--trainer.per_device_eval_batch_size -4", "trainer.per_device_eval_batch_size must be at least 1, not -4"),
    ("--trainer.gradient_accumulation_steps 0", "trainer.gradient_accumulation_steps must be at least 1"),
    ("--trainer.eval_accumulation_steps 0", "trainer.eval_accumulation_steps must be at least 1"),
    ("--trainer.learning_rate fast", "trainer.learning_rate: Expected a float. Got value: fast"),
    ("--trainer.learning_rate nan", "trainer.learning_rate: Expected a float. Got value: nan"),
    ("--trainer.learning_rate -1e-3", "a negative number as --key=-1"),
    ("--trainer.learning_rate=-1e-3", "trainer.learning_rate must be at least 0, not -0.001"),
    ("--trainer.weight_decay -1", "trainer.weight_decay must be at least 0"),
    ("--trainer.adam_beta1 1.5", "trainer.adam_beta1 must lie in 0..1"),
    ("--trainer.adam_epsilon -1", "trainer.adam_epsilon must be at least 0"),
    ("--trainer.max_grad_norm -1", "trainer.max_grad_norm must be at least 0"),
    ("--trainer.seed -1", "trainer.seed must lie in 0..2^32 - 1, not -1"),
    ("--trainer.dataloader_num_workers -1", "trainer.dataloader_num_workers must be at least 0"),
    ("--trainer.dataloader_prefetch_factor 2", "trainer.dataloader_num_workers > 0"),
    ("--trainer.save_total_limit 0", "trainer.save_total_limit must be at least 1"),
    ("--trainer.neftune_noise_alpha -1", "trainer.neftune_noise_alpha must be at least 0"),
    ("--trainer.greater_is_better perhaps", "trainer.greater_is_better: Expected a bool, null. Got value: perhaps"),
    # steps
    ("--trainer.max_steps 0", "trainer.max_steps must be at least 1, or -1 to train for trainer.num_train_epochs"),
    ("--trainer.max_steps -1 --trainer.num_train_epochs 0", "trainer.num_train_epochs must be above 0"),
    ("--trainer.warmup_steps -1", "trainer.warmup_steps "),
    ("--trainer.warmup_steps 1.5", "trainer.warmup_steps must be a whole number of steps, or a share below 1"),
    ("--trainer.logging_steps 0", "trainer.logging_steps"),
    ("--trainer.logging_steps -3", "trainer.logging_steps must be above 0"),
    ("--trainer.save_strategy steps --trainer.save_steps 0", "set trainer.save_strategy to no"),
    # names
    ("--trainer.optim adamv", "trainer.optim must be one of 'adamw_torch', "),
    ("--trainer.optim adamw_bnb_8bit", "trainer.optim adamw_bnb_8bit"),
    ("--trainer.optim_args foo", "(with trainer.optim_args foo) cannot be used"),
    ("--trainer.lr_scheduler_type lineer", "not 'lineer'; did you mean 'linear'?"),
    ("--trainer.lr_scheduler_type cosine_with_min_lr", "trainer.lr_scheduler_kwargs {} cannot be used: One of min_lr"),
    ('--trainer.lr_scheduler_kwargs {"x":1}', "trainer.lr_scheduler_kwargs {'x': 1} cannot be used"),
    ("--trainer.save_strategy step", "trainer.save_strategy must be one of 'no', 'steps', 'epoch', 'best', not 'step'"),
    ("--trainer.eval_strategy stpes", "not 'stpes'; did you mean 'steps'?"),
    ('--trainer.report_to ["tensorbord"]', "trainer.report_to: tensorbord is not installed"),
    ("--trainer.log_level loud", "trainer.log_level must be one of detail, debug, info"),
    ("--trainer.torch_compile_backend nonsense", "trainer.torch_compile_backend must be one of"),
    ('--trainer.gradient_checkpointing_kwargs {"x":1}', "trainer.gradient_checkpointing_kwargs: 'x' is none of"),
    ("--trainer.evaluation_strategy steps", "did you mean 'trainer.eval_strategy'?"),
    ("--trainer.warmup_ratio 0.1", "did you mean 'trainer.warmup_steps'?"),
    # what does not go together
    (
        f"{BEST} --trainer.save_steps 3 --trainer.eval_steps 2",
        "trainer.load_best_model_at_end requires the saving steps",
    ),
    (f"{BEST} --trainer.save_strategy epoch", "trainer.load_best_model_at_end requires the save and eval strategy"),
    ("--trainer.load_best_model_at_end true", "trainer.load_best_model_at_end needs evaluations during training"),
    ("--trainer.metric_for_best_model loss", "needs evaluations during training; set trainer.eval_strategy"),
    ("--trainer.save_strategy best", "trainer.save_strategy best needs trainer.metric_for_best_model, one of loss, "),
    ("--trainer.bf16 true --trainer.fp16 true", "At most one of trainer.fp16 and trainer.bf16 can be True"),
    ("--trainer.tf32 true", "trainer.tf32 requires Ampere or a newer GPU"),
    ("--resume true --overwrite true", "pass only one of them"),
    ("--trainer.resume_from_checkpoint no", "trainer.resume_from_checkpoint: no is no checkpoint"),
    # what would be inexact, or wrong without a word
    ("--trainer.label_smoothing_factor 0.1", "trainer.label_smoothing_factor must be 0"),
    ("--trainer.batch_eval_metrics true", "trainer.batch_eval_metrics must be false"),
    ("--trainer.use_liger_kernel true", "trainer.use_liger_kernel must be false"),
    ("--trainer.ignore_data_skip true", "trainer.ignore_data_skip must be false"),
    ("--trainer.fsdp full_shard", "trainer.fsdp spreads a model over several processes, but there is one"),
    # places
    ("--trainer.output_dir /proc/x", "/proc/x: "),
    ("--trainer.output_dir HOME/ok.fa/x", "HOME/ok.fa/x: Not a directory"),
]


@pytest.mark.parametrize(("words", "part"), TRAINER, ids=[words for words, _ in TRAINER])
def test_what_the_trainer_stumbles_over_later_is_refused_by_key(refused, home, words, part):
    assert part.replace("HOME", str(home)) in refused("finetune", words)


PRETRAIN = [
    (f"{BEST} --trainer.metric_for_best_model masked_nucleotid_accuracy", "did you mean 'masked_nucleotide_accuracy'?"),
    (f"{BEST} --data.valid_split null", "trainer.eval_strategy asks for validation, but data.valid_split is null"),
    ("--trainer.optim_args foo", "(with trainer.optim_args foo) cannot be used"),
    ("--trainer.per_device_train_batch_size 100000", "lower trainer.per_device_train_batch_size (now 100000)"),
    ("--data.valid_split validation", "no contig is in split 'validation'; the splits are 'test', 'train', 'valid'"),
    ("--schedule_steps 1", "schedule_steps (1) is less than the 2 steps of the run"),
    ("--on_nonfinite ignore", "on_nonfinite: Expected one of ['stop', 'skip_batch']"),
    ("--model.hidden_size 33", "hidden_size (33) must be a multiple of num_attention_heads (2)"),
    ("--model.hidden_act gelo", "hidden_act must be an activation that transformers knows"),
    ("--model.type_vocab_size 0", "type_vocab_size must be at least 1, not 0"),
    ("--model.initializer_range -1", "initializer_range must be 0 or more, not -1"),
    ("--model.layer_norm_eps -1", "layer_norm_eps must be 0 or more, not -1"),
    ("--model.classifier_dropout 2", "classifier_dropout must lie in 0..1"),
    ("--model.max_sequence_length -1", "max_sequence_length must be at least 1, or null"),
    ("--model.hidden_dropout_prob nan", "model.hidden_dropout_prob: Expected a float, int. Got value: nan"),
    ("--model.max_position_embeddings 40", "windows.length of 60 nt gives 60 tokens with [CLS] and [SEP]"),
    ("--windows.group_column species", "no column 'species' for windows.group_column; the columns are"),
    ("--masking.pack_to 10", "masking.pack_to (10) is less than the 60 tokens of a window"),
    ("--masking.pack_to 100 --packing false", "packing is false, but masking.pack_to is given"),
    ("--masking.seed 3", "masking.seed"),
]


@pytest.mark.parametrize(("words", "part"), PRETRAIN, ids=[words for words, _ in PRETRAIN])
def test_what_pretrain_cannot_take_is_refused_by_key(refused, words, part):
    assert part in refused("pretrain", words)


FINETUNE = [
    (f"{BEST} --trainer.metric_for_best_model macro_recal", "no metric 'macro_recal'; did you mean 'macro_recall'?"),
    (f"{BEST} --trainer.metric_for_best_model mse", "no metric 'mse'"),
    (f"{BEST} --trainer.metric_for_best_model f1 --data.columns.label value", "(there are loss, mse, mae, r2"),
    (f"{BEST} --trainer.metric_for_best_model f1 --trainer.prediction_loss_only true", "prediction_loss_only"),
    (f"{BEST} --data.valid null", "trainer.eval_strategy asks for validation, but there are no validation sequences"),
    ("--trainer.eval_on_start true --data.valid null", "trainer.eval_on_start asks for validation"),
    ("--trainer.dataloader_drop_last true --trainer.per_device_train_batch_size 7", "6 sequences are less than a step"),
    ("--pretrained HOME/wider", "is (16,), but by config.json (32,); mend config.json"),
    ("--pretrained HOME/more_words", "word_embeddings.weight is (69, 16), but by config.json (70, 16)"),
    ("--pretrained HOME/deeper", "16 of 37 weights of the encoder are missing"),
    ("--pretrained HOME/k4", "it gives (k, stride) (4, 1), the model has (3, 1)"),
    ("--pretrained HOME/stride2", "it gives (k, stride) (3, 2), the model has (3, 1)"),
    ("--data.train HOME/one.csv --data.valid null", "only one class, 'a'; a classifier needs two"),
    ("--data.valid HOME/three.csv", "unknown label 'c'; the classes of the training table are 'a', 'b'"),
    ("--data.valid HOME/one.csv", "no row of class 'b'"),
    ("--data.columns.sequence seq", "no column 'seq'; did you mean 'sequence'?"),
    ('--data.columns.labels ["yes","yes"]', "columns.labels names 'yes' twice"),
    ('--data.columns.tracks ["label"]', "column 'label': 'a' is not a finite number"),
    ("--data.windows.label_fraction 0", "data.windows.label_fraction must be above 0 and at most 1"),
    ("--data.windows.label_fraction 0.1", "data.windows.label_fraction is for windows of data.store, not for tables"),
    ("--data.windows.length 100", "data.windows.length is for windows of data.store, not for tables"),
    ("--part_length 3", "part_length must be at least two k-mers of 3 nt"),
    ("--part_length 0", "part_length must be at least two k-mers of 3 nt"),
    ("--num_parts 2 --part_length 8", "num_parts and part_length are two ways to cut sequences"),
    ("--aggregation mean", "aggregation 'mean' joins parts of sequences; set num_parts or part_length"),
    ("--balanced true --class_weights [1.0,2.0]", "balanced and class_weights are two ways to weigh classes"),
    ("--class_weights [1.0]", "class_weights must be one positive number for each of ['a', 'b']"),
    ("--balanced true --data.columns.label value", "are for classes, but the labels are values"),
    ("--stretch_positions 10", "stretch_positions must be more than the 64 tokens"),
    ("--dropout 1", "dropout must lie in 0..1 (1 excluded), not 1.0"),
    ("--pooling sum", "pooling: Expected one of ['cls', 'mean', 'max', 'attention'], null. Got value: sum"),
]


@pytest.mark.parametrize(("words", "part"), FINETUNE, ids=[words for words, _ in FINETUNE])
def test_what_finetune_cannot_take_is_refused_by_key(refused, words, part):
    assert part in refused("finetune", words)


OTHERS = [
    (
        "evaluate",
        "--model HOME/wider_tuned --data.test HOME/valid.csv --output_dir out",
        "have other sizes than config",
    ),
    ("evaluate", "--model HOME/tuned --data.test HOME/valid.csv --output_dir /proc/x", "/proc/x: "),
    ("evaluate", "--model HOME/tuned --data.test HOME/three.csv --output_dir out", "unknown label 'c'"),
    ("predict", "--model HOME/tuned --input HOME/valid.csv --output /proc/x/p.tsv", "/proc/x"),
    ("predict", "--model HOME/tuned --inputt x --output p.tsv", "did you mean 'input'?"),
    ("convert", "HOME/mlm --to bert --output_dir /proc/x", "/proc/"),
    ("push", "HOME/store --name a/b", "no config.json there; name a folder with a saved model and tokenizer"),
]


@pytest.mark.parametrize(("verb", "words", "part"), OTHERS, ids=[f"{verb} {words}" for verb, words, _ in OTHERS])
def test_what_other_verbs_cannot_take_is_refused(refused, verb, words, part):
    assert part in refused(verb, words)


@pytest.mark.parametrize(
    ("verb", "words", "key"),
    [
        ("finetune", "", "trainer.output_dir"),
        ("pretrain", "", "trainer.output_dir"),
        ("evaluate", "--model HOME/tuned --data.test HOME/valid.csv --output_dir out", "the output"),
        ("predict", "--model HOME/tuned --input HOME/valid.csv --output p.tsv", "the output"),
    ],
)
def test_a_folder_that_may_not_be_written_to_is_refused(refused, monkeypatch, tmp_path, verb, words, key):
    real = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path and real(place, mode))
    line = refused(verb, words)
    assert f"no permission to write to {tmp_path}; set {key} to another place" in line


def test_a_disk_without_room_for_the_model_is_refused(refused, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(0, 0, 1000))
    for words in ("", "--trainer.save_strategy steps"):
        assert "the disk has 1e-06 GB left; make room" in refused("finetune", words)


def test_a_warm_up_or_a_first_evaluation_beyond_the_run_is_warned_of(home, tmp_path, caplog):
    from transformers import TrainingArguments

    from hf_genomics.training.arguments import check_arguments

    options = {"max_steps": 20, "use_cpu": True}
    check_arguments(TrainingArguments(str(tmp_path), warmup_steps=30, **options))
    assert "trainer.warmup_steps (30) go beyond the run of trainer.max_steps (20)" in caplog.text
    options |= {"eval_steps": 30, "save_steps": 30, "eval_strategy": "steps", "load_best_model_at_end": True}
    check_arguments(TrainingArguments(str(tmp_path), **options))
    assert "no evaluation comes within the 20 steps of the run" in caplog.text
