"""The options of a verb: words of the command line and YAML files become the arguments of its function."""

from __future__ import annotations

import pytest
import yaml

from hf_genomics.cli import main


def test_options_win_over_the_yaml_file_and_floats_are_numbers(settings_of):
    seen = settings_of("pretrain", "--config", "pretrain.yaml", "--trainer.max_steps", "7", "--overwrite", "true")
    trainer = seen["trainer"]
    assert (trainer.learning_rate, trainer.max_steps, trainer.output_dir) == (4e-4, 7, "out")
    assert (seen["overwrite"], seen["resume"], seen["windows"].length) == (True, False, 60)
    assert settings_of("pretrain", "--config", "pretrain.yaml", "--trainer.learning_rate", "1e-3")[
        "trainer"
    ].learning_rate == pytest.approx(1e-3)


def test_model_and_collator_follow_tokenizer_and_seed(settings_of):
    words = ["--tokenizer.k", "4", "--tokenizer.stride", "2", "--trainer.seed", "5"]
    seen = settings_of("pretrain", "--config", "pretrain.yaml", *words)
    assert (seen["model"].k, seen["model"].stride, seen["model"].vocab_size) == (4, 2, 261)
    assert seen["masking"].tokenizer is seen["tokenizer"] and seen["masking"].seed == 5


def test_a_stride_larger_than_k_needs_an_explicit_flag(settings_of):
    words = ["--tokenizer.stride", "4", "--tokenizer.allow_gaps", "true"]
    assert settings_of("pretrain", "--config", "pretrain.yaml", *words)["tokenizer"].stride == 4


def test_several_yaml_files_are_read_in_order(settings_of, work):
    (work / "more.yaml").write_text("trainer:\n  seed: 3\n")
    seen = settings_of("pretrain", "--config", "pretrain.yaml", "--config", "more.yaml")
    assert (seen["trainer"].seed, seen["trainer"].max_steps) == (3, 2)


@pytest.mark.parametrize(
    "words", [["a.fa", "b.fa"], ['["a.fa", "b.fa"]'], ["a.fa", "--fasta+", "b.fa"]], ids=["shell", "json", "append"]
)
def test_a_list_is_written_as_the_shell_expands_it(settings_of, words):
    seen = settings_of("prepare", "--fasta", *words, "--output_dir", "store")
    assert (seen["fasta"], seen["output_dir"], seen["records"].rna) == (["a.fa", "b.fa"], "store", False)


def test_a_file_may_be_called_by_a_number(settings_of):
    assert settings_of("prepare", "--fasta", "1", "2", "--output_dir", "store")["fasta"] == ["1", "2"]


@pytest.mark.parametrize(
    "words",
    [
        ["ok.fa", "bad.fa", "--k", "3"],
        ["--k", "3", "ok.fa", "bad.fa"],
        ["--files", "ok.fa", "bad.fa", "--k", "3"],
        ["ok.fa", "--k=3", "bad.fa"],
        ["--k", "3", "--files", '["ok.fa", "bad.fa"]'],
        ["--config", "check.yaml"],
    ],
)
def test_files_are_named_with_or_without_their_option(settings_of, work, words):
    (work / "check.yaml").write_text("files: [ok.fa, bad.fa]\nk: 3\n")
    seen = settings_of("check", *words)
    assert (seen["files"], seen["k"]) == (["ok.fa", "bad.fa"], 3)


def test_a_model_is_described_in_the_words_of_version_01(settings_of, work, warned):
    old = "attention_window: 8, global_attention_every: 2, num_hidden_layers: 3, position_embedding_type: learned"
    (work / "old.yaml").write_text(f"model: {{{old}, pooling: mean}}\n")
    model = settings_of("pretrain", "--config", "pretrain.yaml", "--config", "old.yaml")["model"]
    assert (model.sliding_window, model.classifier_pooling, model.position_embedding_type) == (8, "mean", "absolute")
    assert model.layer_types == ["full_attention", "sliding_attention", "full_attention"]
    assert len(warned()) == 4 and all(line.startswith("old.yaml: model.") for line in warned())


def test_options_of_a_model_are_translated_from_version_01(settings_of, warned):
    old = ["--model.attention_window", "3", "--model.position_embedding_type", "learned", "--model.pooling=max"]
    model = settings_of("pretrain", "--config", "pretrain.yaml", *old)["model"]
    assert (model.sliding_window, model.position_embedding_type, model.classifier_pooling) == (3, "absolute", "max")
    lines = {line.split(":")[0]: line for line in warned()}
    assert lines.keys() == {"--model.attention_window", "--model.position_embedding_type", "--model.pooling"}
    for option, new in zip(lines, ("sliding_window", "absolute", "classifier_pooling"), strict=True):
        assert new in lines[option]


OLD_PRETRAIN = """
data: {store: runs/virus/store}
tokenizer: {k: 6, stride: 1}
model: {}
masking: {span: 6, start_rate: 0.025, replacement: token}
windows: {mode: mixed, sampled_per_cut: 2.0, length: 510, min_length: 5, full_share: 0.5}
schedule_steps: 200000
packing: false
on_nonfinite: skip_batch
trainer: {output_dir: runs/pretrain_base, max_steps: 100000, learning_rate: 4.0e-4, warmup_steps: 0.05}
"""


OLD_FINETUNE = """
pretrained: runs/pretrain_base
data: {store: x, length: 1000, label_fraction: 0.1, windows_per_genome: 1000, test_windows_per_genome: 64}
num_windows: 2
dropout: 0.1
positive: phage
trainer: {output_dir: runs/x, num_train_epochs: 5, learning_rate: 2.0e-5, eval_strategy: epoch, save_strategy: epoch}
"""


def test_a_pretraining_recipe_of_version_01_is_understood(settings_of, work, warned):
    (work / "old.yaml").write_text(OLD_PRETRAIN)
    seen = settings_of("pretrain", "--config", "old.yaml")
    trainer = seen["trainer"]
    assert (trainer.schedule_steps, trainer.packing, trainer.on_nonfinite) == (200000, False, "skip_batch")
    assert (trainer.max_steps, trainer.learning_rate, seen["windows"].length) == (100000, 4e-4, 510)
    assert len(warned()) == 3


def test_a_fine_tuning_recipe_of_version_01_is_understood(settings_of, work, warned):
    (work / "old.yaml").write_text(OLD_FINETUNE)
    seen = settings_of("finetune", "--config", "old.yaml")
    assert (seen["head"].num_parts, seen["head"].dropout, seen["positive"]) == (2, 0.1, "phage")
    windows = seen["data"].windows
    assert (windows.length, windows.per_genome, windows.test_per_genome, windows.label_fraction) == (
        1000,
        1000,
        64,
        0.1,
    )
    assert len(warned()) == 6


@pytest.mark.parametrize(
    ("item", "named"),
    [
        ({"options": {"trainer": {"learning_rat": 1e-3}}}, ["item 2", "'trainer.learning_rat'", "learning_rate"]),
        ({"options": {"trainer": {"learning_rate": "abc"}}}, ["item 2", "trainer.learning_rate", "abc"]),
        ({"options": {"trainer": {"warmup_steps": -1}}}, ["item 2", "trainer.warmup_steps", "-1"]),
        ({"options": {"head": {"dropout": 0.1}}, "lenght": 80}, ["finetuning", "'lenght'"]),
        ({"options": {"head": {"dropout": 0.1}}, "arm": "pretraind"}, ["finetuning", "'pretrained'", "pretraind"]),
    ],
)
def test_options_for_the_cells_of_a_study_are_checked_before_the_first_cell_starts(
    settings_of, work, capsys, item, named
):
    study = {"store": "store", "output_dir": "out", "grid": {"setups": {"tiny": "model"}, "genomes": [4]}}
    first = {"options": {"trainer": {"max_steps": 2}, "pooling": "mean"}}  # the latter a key of version 0.1
    for name, items in (("good.yaml", [first]), ("bad.yaml", [first, item])):
        (work / name).write_text(yaml.safe_dump(study | {"finetuning": items}))
    assert settings_of("label-scarcity", "--config", "good.yaml")["finetuning"][0].options == first["options"]
    assert main(["label-scarcity", "--config", "bad.yaml"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("hf-genomics: error: bad.yaml: ") and all(word in line for word in named)
