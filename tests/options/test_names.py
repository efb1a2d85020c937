"""Options in messages have the names that the verb gives them, and come with the file or option that set them."""

from __future__ import annotations

import pytest
from advice import keys_of

from hf_genomics.cli import VERBS
from hf_genomics.options.names import _ELSEWHERE, explain, names_here, suggest


@pytest.fixture(scope="module")
def keys():
    """The keys of every verb."""
    return {verb: [*keys_of(verb).known] for verb in VERBS}


@pytest.mark.parametrize(
    ("verb", "key", "here"),
    [
        ("finetune", "--rna", ["data.rna"]),
        ("predict", "--data.rna", ["rna"]),
        ("prepare", "--rna", ["records.rna"]),
        ("check", "--rna", ["records.rna"]),
        ("evaluate", "--rna", ["data.rna"]),
        ("predict", "data.columns.pair", ["columns.pair"]),
        ("finetune", "columns.labels", ["data.columns.labels"]),
        ("check", "data.regression", ["splits.regression"]),
        ("check", "data.columns.nt_labels", ["columns.nt_labels"]),
        ("quickstart", "trainer.output_dir", ["output_dir"]),
        ("quickstart", "trainer.learning_rate", ["pretraining.learning_rate", "finetuning.learning_rate"]),
        ("pretrain", "trainer.learning_rate", ["trainer.learning_rate"]),
        ("predict", "records.min_length", []),
    ],
)
def test_an_option_that_verbs_share_has_the_name_that_this_verb_gives_it(keys, verb, key, here):
    assert names_here(key.removeprefix("--"), keys[verb]) == here
    message = explain(f"f.fa: record 1: bad; set {key} to x", keys[verb], {})
    dashes = "--" if key.startswith("--") else ""
    expected = " or ".join(dashes + name for name in here) or key
    assert message == f"f.fa: record 1: bad; set {expected} to x"


def test_a_flag_that_a_verb_does_without_is_no_advice(keys):
    advice = "stopped by SIGTERM; start it again with --resume auto"
    assert explain(advice, keys["pretrain"], {}) == advice
    assert explain(advice, keys["quickstart"], {}) == "stopped by SIGTERM; start it again"


@pytest.mark.parametrize("path", ["data.rna", "x/data.rna", "data.columns.pair.csv", "'columns.pair'"])
def test_a_file_that_is_called_like_an_option_keeps_its_name(keys, path):
    message = f"{path}: no such file; check the path"
    assert explain(message, keys["finetune"], {}, [path]) == message


@pytest.mark.parametrize(
    ("message", "origin", "expected"),
    [
        ("head.dropout must lie in 0..1", "a.yaml", "a.yaml: head.dropout must lie in 0..1"),
        ("head.dropout must lie in 0..1", "--head.dropout", "--head.dropout must lie in 0..1"),
        ("--head.dropout must lie in 0..1", "--head.dropout", "--head.dropout must lie in 0..1"),
        ("x.csv: too short; lower head.dropout", "a.yaml", "x.csv: too short; lower head.dropout"),
        ("a.yaml: head.dropout is odd", "a.yaml", "a.yaml: head.dropout is odd"),
        ("head.dropoutx is odd", "a.yaml", "head.dropoutx is odd"),
    ],
)
def test_a_message_about_a_key_begins_with_what_set_it(keys, message, origin, expected):
    assert explain(message, keys["finetune"], {"head.dropout": origin}) == expected


def test_a_section_and_a_key_of_it_become_one_name(keys):
    found = explain("windows: length must be at least 1 nt, not 0", keys["pretrain"], {"windows.length": "a.yaml"})
    assert found == "a.yaml: windows.length must be at least 1 nt, not 0"


@pytest.mark.parametrize(
    ("verb", "typed", "meant"),
    [
        ("finetune", "lr", "trainer.learning_rate"),
        ("finetune", "trainer.lr", "trainer.learning_rate"),
        ("pretrain", "epochs", "trainer.num_train_epochs"),
        ("finetune", "batch_size", "trainer.per_device_train_batch_size"),
        ("finetune", "seed", "trainer.seed"),
        ("finetune", "fp16", "trainer.fp16"),
        ("finetune", "gradient_checkpointing", "trainer.gradient_checkpointing"),
        ("finetune", "evaluation_strategy", "trainer.eval_strategy"),
        ("finetune", "trainer.warmup_ratio", "trainer.warmup_steps"),
        ("finetune", "trainer.no_cuda", "trainer.use_cpu"),
        ("finetune", "model_name_or_path", "pretrained"),
        ("finetune", "overwrite_output_dir", "overwrite"),
        ("finetune", "trainer.early_stopping_patience", "head.early_stopping"),
        ("finetune", "patience", "head.early_stopping"),
        ("pretrain", "trainer.early_stopping_patience", "trainer.load_best_model_at_end"),
        ("finetune", "trainer.learning_rat", "trainer.learning_rate"),
        ("finetune", "train", "data.train"),
        ("finetune", "rna", "data.rna"),
        ("predict", "data.rna", "rna"),
        ("pretrain", "kmer", "tokenizer.k"),
        ("pretrain", "trainer.group_by_length", "omit it"),
        ("quickstart", "lr", "pretraining.learning_rate"),
        ("check", "data.rna", "records.rna"),
        ("explain", "region", "bed"),
        ("finetune", "dtype", "trainer.bf16"),
        ("pretrain", "torch_dtype", "trainer.bf16"),
        ("predict", "dtype", "omit it"),
    ],
)
def test_a_name_from_elsewhere_leads_to_the_key_of_today(keys, verb, typed, meant):
    assert meant in suggest(typed, keys[verb])


def test_a_key_that_a_verb_knows_by_two_names_is_suggested_once():
    assert suggest("data.rna", ["rna", "options.rna"]) == "; did you mean 'rna'?"


@pytest.mark.parametrize("typed", ["trainer.nonsense", "nonsense", "head.early", "trainer.learning_to_swim", "x.y.z"])
def test_nothing_is_suggested_that_is_not_near(keys, typed):
    assert suggest(typed, keys["finetune"]) == ""


def test_every_name_from_elsewhere_leads_to_a_key_of_some_verb(keys):
    names = {key.rpartition(".")[2] for known in keys.values() for key in known}
    assert set(_ELSEWHERE.values()) <= names
    assert not set(_ELSEWHERE) & {key for key in keys["finetune"] if "." not in key}
