"""Wrong settings end with exit code 2, one line that names key and value, and no step taken or file written."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import TrainingArguments
from transformers.utils import logging as transformers_logging

from hf_genomics import (
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerTokenizer,
    prepare,
)
from hf_genomics.cli import main
from hf_genomics.errors import InputError
from hf_genomics.options.parser import build_parser
from hf_genomics.runs.exact_trainer import ExactTrainer
from hf_genomics.training.arguments import PretrainingArguments, check_arguments, warn_of_low_rate
from hf_genomics.training.pretrain import pretrain

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
QUICK = "--trainer.max_steps 2 --trainer.use_cpu true --trainer.bf16 false --trainer.save_strategy no".split()


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
def refused(home, work, monkeypatch, capsys, one_parser_per_verb):
    """Run a command line that must be refused before the first step; gives its one line."""
    monkeypatch.setattr(ExactTrainer, "training_step", lambda *_, **__: pytest.fail("a step was taken"))
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
        assert not list(work.iterdir()), "something was written"
        last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-genomics: error: ")]
        assert len(last) == 1
        return last[0]

    yield call
    transformers_logging.set_verbosity(level)


BEST = (
    "--trainer.load_best_model_at_end true --trainer.eval_strategy steps --trainer.eval_steps 1 "
    "--trainer.save_strategy steps --trainer.save_steps 1"
)
TRAINER = [
    # numbers
    ("--trainer.per_device_train_batch_size 0", ["trainer.per_device_train_batch_size", "at least 1", "0"]),
    ("--trainer.per_device_train_batch_size 2.5", ["trainer.per_device_train_batch_size", "whole number", "2.5"]),
    ("--trainer.per_device_eval_batch_size -4", ["trainer.per_device_eval_batch_size", "at least 1", "-4"]),
    ("--trainer.gradient_accumulation_steps 0", ["trainer.gradient_accumulation_steps", "at least 1"]),
    ("--trainer.eval_accumulation_steps 0", ["trainer.eval_accumulation_steps", "at least 1"]),
    ("--trainer.learning_rate fast", ["trainer.learning_rate", "number", "fast"]),
    ("--trainer.learning_rate nan", ["trainer.learning_rate", "number", "nan"]),
    ("--trainer.learning_rate -1e-3", ["trainer.learning_rate", "at least 0", "-0.001"]),
    ("--trainer.learning_rate=-1e-3", ["trainer.learning_rate", "at least 0", "-0.001"]),
    ("--trainer.weight_decay -1", ["trainer.weight_decay", "at least 0"]),
    ("--trainer.adam_beta1 1.5", ["trainer.adam_beta1", "0..1", "1.5"]),
    ("--trainer.adam_epsilon -1", ["trainer.adam_epsilon", "at least 0"]),
    ("--trainer.max_grad_norm -1", ["trainer.max_grad_norm", "at least 0"]),
    ("--trainer.seed -1", ["trainer.seed", "0..2^32 - 1", "-1"]),
    ("--trainer.dataloader_num_workers -1", ["trainer.dataloader_num_workers", "at least 0"]),
    ("--trainer.dataloader_prefetch_factor 2", ["trainer.dataloader_prefetch_factor", "dataloader_num_workers > 0"]),
    ("--trainer.save_total_limit 0", ["trainer.save_total_limit", "at least 1"]),
    ("--trainer.neftune_noise_alpha -1", ["trainer.neftune_noise_alpha", "at least 0"]),
    ("--trainer.greater_is_better perhaps", ["trainer.greater_is_better", "true or false", "perhaps"]),
    # steps
    ("--trainer.max_steps 0", ["trainer.max_steps", "at least 1", "trainer.num_train_epochs"]),
    ("--trainer.max_steps -1 --trainer.num_train_epochs 0", ["trainer.num_train_epochs", "above 0"]),
    ("--trainer.warmup_steps -1", ["trainer.warmup_steps", "-1"]),
    ("--trainer.warmup_steps 1.5", ["trainer.warmup_steps", "whole number", "1.5"]),
    ("--trainer.logging_steps 0", ["trainer.logging_steps"]),
    ("--trainer.logging_steps -3", ["trainer.logging_steps", "above 0", "-3", "trainer.logging_strategy"]),
    ("--trainer.save_strategy steps --trainer.save_steps 0", ["trainer.save_steps", "trainer.save_strategy"]),
    # names
    ("--trainer.optim adamv", ["trainer.optim", "adamw_torch", "adamv"]),
    ("--trainer.optim adamw_bnb_8bit", ["trainer.optim", "adamw_bnb_8bit"]),
    ("--trainer.optim_args foo", ["trainer.optim", "trainer.optim_args", "foo"]),
    ("--trainer.optim_args zz=1", ["trainer.optim_args", "'zz'", "adamw_torch"]),
    ("--trainer.optim_args betas=1", ["trainer.optim_args", "'betas'", "trainer.adam_beta1"]),
    ("--trainer.optim sgd --trainer.optim_args momentum=x", ["trainer.optim_args", "'x'", "momentum=x"]),
    ('--trainer.optim_target_modules ["query"]', ["trainer.optim_target_modules", "GaLore"]),
    ("--trainer.lr_scheduler_type warmup_stable_decay", ["trainer.lr_scheduler_type", "num_decay_steps"]),
    ('--trainer.include_for_metrics ["zz"]', ["trainer.include_for_metrics", "'zz'", "inputs, loss"]),
    ("--trainer.torch_compile_mode zz", ["trainer.torch_compile_mode", "'zz'", "default"]),
    ('--trainer.accelerator_config {"zz":1}', ["trainer.accelerator_config", "'zz'"]),
    ("--trainer.dataloader_multiprocessing_context zz", ["dataloader_multiprocessing_context", "'zz'", "fork"]),
    ("--trainer.dataloader_multiprocessing_context fork", ["dataloader_multiprocessing_context", "num_workers"]),
    ("--trainer.lr_scheduler_type lineer", ["trainer.lr_scheduler_type", "lineer", "linear"]),
    ("--trainer.lr_scheduler_type cosine_with_min_lr", ["trainer.lr_scheduler_kwargs", "min_lr"]),
    ('--trainer.lr_scheduler_kwargs {"x":1}', ["trainer.lr_scheduler_kwargs", "'x'"]),
    ("--trainer.save_strategy step", ["trainer.save_strategy", "steps", "epoch"]),
    ("--trainer.eval_strategy stpes", ["trainer.eval_strategy", "stpes", "steps"]),
    ('--trainer.report_to ["tensorbord"]', ["trainer.report_to", "tensorbord", "not installed"]),
    ("--trainer.log_level loud", ["trainer.log_level", "loud", "debug"]),
    ("--trainer.torch_compile_backend nonsense", ["trainer.torch_compile_backend", "NONSENSE"]),
    ('--trainer.gradient_checkpointing_kwargs {"x":1}', ["trainer.gradient_checkpointing_kwargs", "'x'", "use_re"]),
    ("--trainer.evaluation_strategy steps", ["trainer.evaluation_strategy", "did you mean 'trainer.eval_strategy'?"]),
    ("--trainer.warmup_ratio 0.1", ["trainer.warmup_ratio", "did you mean 'trainer.warmup_steps'?"]),
    # what does not go together
    (
        f"{BEST} --trainer.save_steps 3 --trainer.eval_steps 2",
        ["trainer.load_best_model_at_end", "saving steps", "3", "2"],
    ),
    (
        f"{BEST} --trainer.save_steps 4 --trainer.eval_steps 2",
        ["trainer.load_best_model_at_end", "trainer.save_steps (4)", "trainer.eval_steps (2)"],
    ),
    (f"{BEST} --trainer.save_strategy epoch", ["trainer.load_best_model_at_end", "trainer.save_strategy"]),
    ("--trainer.load_best_model_at_end true", ["trainer.load_best_model_at_end", "trainer.eval_strategy"]),
    ("--trainer.metric_for_best_model loss", ["trainer.metric_for_best_model", "set trainer.eval_strategy"]),
    ("--trainer.save_strategy best", ["trainer.save_strategy best", "trainer.metric_for_best_model", "loss"]),
    ("--trainer.bf16 true --trainer.fp16 true", ["trainer.bf16", "trainer.fp16"]),
    ("--trainer.tf32 true", ["trainer.tf32"]),
    ("--trainer.fp16 true", ["trainer.fp16", "trainer.bf16"]),
    ("--trainer.fp16_full_eval true", ["trainer.fp16_full_eval", "trainer.bf16_full_eval"]),
    ("--trainer.deepspeed x.json", ["trainer.deepspeed", "trainer.fsdp"]),
    ("--resume true --overwrite true", ["resume", "overwrite"]),
    ("--trainer.resume_from_checkpoint no", ["trainer.resume_from_checkpoint", "no ", "checkpoint-STEP"]),
    # what would be inexact, or wrong without a message
    ("--trainer.label_smoothing_factor 0.1", ["trainer.label_smoothing_factor must be 0"]),
    ("--trainer.batch_eval_metrics true", ["trainer.batch_eval_metrics must be false"]),
    ("--trainer.use_liger_kernel true", ["trainer.use_liger_kernel must be false"]),
    ("--trainer.ignore_data_skip true", ["trainer.ignore_data_skip must be false"]),
    ("--trainer.auto_find_batch_size true", ["trainer.auto_find_batch_size must be false"]),
    ("--trainer.eval_do_concat_batches false", ["trainer.eval_do_concat_batches must be true"]),
    ('--trainer.label_names ["zz"]', ["trainer.label_names must not be set"]),
    ("--trainer.debug underflow_overflow", ["trainer.debug must be empty"]),
    ("--trainer.push_to_hub true", ["trainer.push_to_hub", "hf-genomics push"]),
    ("--trainer.fsdp full_shard", ["trainer.fsdp", "recipes/accelerate/fsdp2.yaml"]),
    # places
    ("--trainer.output_dir /proc/x", ["/proc/x: "]),
    ("--trainer.output_dir HOME/ok.fa/x", ["HOME/ok.fa/x: ", "HOME/ok.fa is a file", "trainer.output_dir"]),
]


def missing(facts: list[str], line: str, home: Path) -> list[str]:
    """List the facts that a message does not name."""
    return [fact for fact in facts if fact.replace("HOME", str(home)) not in line]


@pytest.mark.parametrize(("words", "facts"), TRAINER, ids=[words for words, _ in TRAINER])
def test_what_the_trainer_would_fail_on_later_is_refused_by_key(refused, home, words, facts):
    line = refused("finetune", words)
    assert missing(facts, line, home) == [], line


PRETRAIN = [
    (f"{BEST} --trainer.metric_for_best_model masked_nucleotid_accuracy", ["'masked_nucleotide_accuracy'?"]),
    (f"{BEST} --data.valid_split null", ["trainer.eval_strategy", "data.valid_split"]),
    ("--trainer.optim_args foo", ["trainer.optim_args", "foo"]),
    ("--trainer.per_device_train_batch_size 100000", ["trainer.per_device_train_batch_size", "100000"]),
    ("--data.valid_split validation", ["'validation'", "'test', 'train', 'valid'"]),
    ("--trainer.schedule_steps 1", ["schedule_steps", "1", "2 steps"]),
    ("--trainer.on_nonfinite ignore", ["trainer.on_nonfinite", "'stop'", "'skip_batch'"]),
    ("--trainer.peak_tflops 0", ["trainer.peak_tflops", "above 0"]),
    ("--model.hidden_size 33", ["hidden_size", "33", "num_attention_heads", "2"]),
    ("--model.hidden_act gelo", ["hidden_act", "gelo"]),
    ("--model.type_vocab_size 0", ["type_vocab_size", "at least 1"]),
    ("--model.initializer_range -1", ["initializer_range", "-1"]),
    ("--model.layer_norm_eps -1", ["layer_norm_eps", "-1"]),
    ("--model.classifier_dropout 2", ["classifier_dropout", "at most 1"]),
    ("--model.max_sequence_length -1", ["max_sequence_length", "at least 1"]),
    ("--model.hidden_dropout_prob nan", ["model.hidden_dropout_prob", "number", "nan"]),
    ("--model.max_position_embeddings 40", ["windows.length", "60", "40", "model.max_position_embeddings"]),
    ("--windows.group_column species", ["windows.group_column", "'species'"]),
    ("--masking.pack_to 10", ["masking.pack_to", "10", "60"]),
    ("--masking.pack_to 100 --trainer.packing false", ["trainer.packing", "masking.pack_to"]),
    ("--masking.seed 3", ["masking.seed"]),
]


@pytest.mark.parametrize(("words", "facts"), PRETRAIN, ids=[words for words, _ in PRETRAIN])
def test_what_pretrain_cannot_use_is_refused_by_key(refused, home, words, facts):
    line = refused("pretrain", words)
    assert missing(facts, line, home) == [], line


FINETUNE = [
    (f"{BEST} --trainer.metric_for_best_model macro_recal", ["'macro_recal'", "did you mean 'macro_recall'?"]),
    (f"{BEST} --trainer.metric_for_best_model mse", ["trainer.metric_for_best_model", "'mse'", "macro_recall"]),
    (f"{BEST} --trainer.metric_for_best_model f1 --data.columns.label value", ["'f1'", "loss, mse, mae, r2"]),
    (f"{BEST} --trainer.metric_for_best_model f1 --trainer.prediction_loss_only true", ["prediction_loss_only"]),
    (f"{BEST} --data.valid null", ["trainer.eval_strategy", "set data.valid"]),
    ("--trainer.eval_on_start true --data.valid null", ["trainer.eval_on_start", "data.valid"]),
    (
        "--trainer.dataloader_drop_last true --trainer.per_device_train_batch_size 7",
        ["HOME/train.csv", "6 sequences", "7", "trainer.dataloader_drop_last", "trainer.per_device_train_batch_size"],
    ),
    ("--pretrained HOME/wider", ["HOME/wider", "[16]", "[32]", "config.json"]),
    ("--pretrained HOME/more_words", ["word_embeddings.weight", "[69, 16]", "[70, 16]"]),
    ("--pretrained HOME/deeper", ["16 of 37 weights"]),
    ("--pretrained HOME/k4", ["HOME/k4", "k is 4 and 3"]),
    ("--pretrained HOME/stride2", ["HOME/stride2", "stride is 2 and 1"]),
    ("--data.train HOME/one.csv --data.valid null", ["HOME/one.csv", "'a'"]),
    ("--data.valid HOME/three.csv", ["HOME/three.csv", "'c'", "'a', 'b'"]),
    ("--data.valid HOME/one.csv", ["HOME/one.csv", "'b'"]),
    ("--data.columns.sequence seq", ["'seq'", "did you mean 'sequence'?"]),
    ('--data.columns.labels ["yes","yes"]', ["columns.labels", "'yes'", "twice"]),
    ('--data.columns.tracks ["label"]', ["columns.tracks", "'label'"]),
    ('--data.columns.tracks ["sequence"]', ["column 'sequence'"]),
    ("--data.windows.label_fraction 0", ["data.windows.label_fraction", "0"]),
    ("--data.windows.label_fraction 0.1", ["data.windows.label_fraction", "data.store"]),
    ("--data.windows.length 100", ["data.windows.length", "data.store"]),
    ("--head.part_length 3", ["head.part_length", "3 nt", "not 3"]),
    ("--head.part_length 0", ["head.part_length", "not 0"]),
    ("--head.num_parts 2 --head.part_length 8", ["head.num_parts", "head.part_length"]),
    ("--head.num_parts 0", ["head.num_parts", "at least 1", "0"]),
    ("--head.aggregation mean", ["head.aggregation", "'mean'", "head.num_parts", "head.part_length"]),
    ("--head.balanced true --head.class_weights [1.0,2.0]", ["head.balanced", "head.class_weights"]),
    ("--head.class_weights [1.0]", ["head.class_weights", "['a', 'b']", "[1.0]"]),
    ("--head.balanced true --data.columns.label value", ["head.balanced", "values"]),
    ("--head.stretch_positions 10", ["head.stretch_positions", "64 tokens", "10"]),
    ("--head.dropout 1", ["head.dropout", "0..1", "1.0"]),
    ("--head.pooling sum", ["head.pooling", "'cls'", "sum"]),
    ("--baseline_k 9", ["baseline_k", "0..8", "9"]),
    ("--positive c", ["positive", "'c'", "['a', 'b']"]),
]


@pytest.mark.parametrize(("words", "facts"), FINETUNE, ids=[words for words, _ in FINETUNE])
def test_what_finetune_cannot_use_is_refused_by_key(refused, home, words, facts):
    line = refused("finetune", words)
    assert missing(facts, line, home) == [], line


OTHERS = [
    (
        "evaluate",
        "--model HOME/wider_tuned --data.test HOME/valid.csv --output_dir out",
        "according to config.json it should be",
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
        assert "the disk has 1e-06 GB left" in refused("finetune", words)


def test_a_warm_up_or_a_first_evaluation_beyond_the_run_is_warned_of(tmp_path, caplog):
    options = {"max_steps": 20, "use_cpu": True}
    check_arguments(TrainingArguments(str(tmp_path), warmup_steps=30, **options))
    assert missing(["trainer.warmup_steps (30)", "trainer.max_steps (20)"], caplog.text, tmp_path) == []
    options |= {"eval_steps": 30, "save_steps": 30, "eval_strategy": "steps", "load_best_model_at_end": True}
    check_arguments(TrainingArguments(str(tmp_path), **options))
    assert missing(["20 steps", "trainer.eval_steps", "trainer.eval_delay"], caplog.text, tmp_path) == []


# the options of pretraining


def test_deepspeed_is_refused_because_its_shards_would_be_saved_as_if_whole(tmp_path):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)
    check_arguments(arguments)
    arguments.deepspeed_plugin = object()  # as the environment of accelerate launch sets it
    with pytest.raises(InputError, match=r"trainer\.deepspeed"):
        check_arguments(arguments)


def test_plain_arguments_get_the_defaults_of_pretraining_in_a_copy(tmp_path):
    plain = TrainingArguments(str(tmp_path), use_cpu=True, learning_rate=0.25)
    args = PretrainingArguments.of(plain)
    assert isinstance(args, PretrainingArguments) and args.to_dict().items() >= plain.to_dict().items()
    assert (args.schedule_steps, args.on_nonfinite, args.packing, args.peak_tflops) == (None, "stop", True, None)
    args.learning_rate = 0.5
    assert plain.learning_rate == 0.25 and PretrainingArguments.of(args) is args


@pytest.mark.parametrize("peak", [0.0, -1.0, float("nan")])
def test_a_peak_that_is_not_positive_is_refused(tmp_path, peak):
    with pytest.raises(InputError, match=r"trainer\.peak_tflops"):
        PretrainingArguments(str(tmp_path), use_cpu=True, peak_tflops=peak)


def test_the_options_of_pretraining_have_a_help_text_and_defaults_of_the_machine(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    parser = build_parser(pretrain)
    shown = " ".join(parser.format_help().split())
    for name in ("schedule_steps", "on_nonfinite", "packing", "peak_tflops"):
        described = re.search(rf"--trainer\.{name} \S+ (\w+)", shown)
        assert described and described[1] != "type", name
    assert parser.get_defaults()["trainer.disable_tqdm"] is (not sys.stderr.isatty())


@pytest.mark.parametrize(("weights", "rate", "warned"), [(1e6, 5e-5, True), (1e6, 5e-4, False), (1e8, 5e-5, False)])
def test_the_default_learning_rate_is_warned_of_for_small_models(weights, rate, warned, tmp_path, caplog):
    warn_of_low_rate(TrainingArguments(str(tmp_path), learning_rate=rate, use_cpu=True), int(weights))
    assert ("--trainer.learning_rate 5e-4" in caplog.text) == warned
