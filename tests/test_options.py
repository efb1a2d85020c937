"""The options of a verb: words of the command line and YAML files become the arguments of its function."""

from __future__ import annotations

import functools
import logging
import re
import time
from dataclasses import dataclass, field

import pytest
import torch
import yaml
from transformers import TrainingArguments

import hf_genomics
from hf_genomics import InputError, options
from hf_genomics.cli import VERBS, main
from hf_genomics.options import build_parser, check_yaml, former_keys, gather_lists, run_verb
from hf_genomics.renamed import renamed

PRETRAIN = """
data: {store: store, valid_windows: 4}
tokenizer: {k: 3}
model: {max_position_embeddings: 64, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2}
windows: {length: 60}
trainer: {output_dir: out, max_steps: 2, learning_rate: 4e-4, use_cpu: true, bf16: false}
"""


# A verb with sections inside sections, and keys of version 0.1.


@dataclass(frozen=True)
class Columns:
    """Names of columns.

    Args:
        label: column of the labels.
        tracks: columns of numbers.
    """

    label: str = "label"
    tracks: list[str] | None = None


@renamed(label_column="columns.label", track_columns="columns.tracks")
@dataclass(frozen=True)
class Data:
    """Labelled sequences.

    Args:
        train: a table.
        columns: its columns.
    """

    train: str
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True)
class Head:
    """What reads the encoder.

    Args:
        num_parts: parts of a sequence.
        class_weights: a weight per class.
        pooling: what is read.
    """

    num_parts: int = 1
    class_weights: list[float] | None = None
    pooling: str = "cls"

    def __post_init__(self) -> None:
        """Tests put a check here."""


@renamed(num_windows="head.num_parts", pooling="head.pooling", class_weights="head.class_weights", packing="storage")
def fit(pretrained: str, data: Data, trainer: TrainingArguments, head: Head = Head(), storage: str = "8bit") -> None:  # noqa: B008
    """Fit a model.

    Args:
        pretrained: a model.
        data: labelled sequences.
        trainer: of transformers.
        head: what reads the encoder.
        storage: how letters lie on disk.
    """


def read_arguments(function, words):
    """Return the arguments with which the command line calls a verb's function."""
    return run_verb(functools.wraps(function)(lambda **given: given), words)


START = ["--pretrained", "m", "--data.train", "t.csv", "--trainer.output_dir", "out"]


@pytest.fixture(autouse=True)
def recipe(work):
    """Every test works in its own folder, in which there is a recipe."""
    (work / "pretrain.yaml").write_text(PRETRAIN)


@pytest.fixture
def settings_of(monkeypatch):
    """Parse a command line, build its objects, and return what the verb's function would have been called with."""

    def call(verb, *words):
        verb_name, seen = verb.replace("-", "_"), {}
        function = getattr(hf_genomics, verb_name)
        monkeypatch.setattr(hf_genomics, verb_name, functools.wraps(function)(lambda **given: seen.update(given)))
        assert main([verb, *map(str, words)]) == 0
        return seen

    return call


@pytest.fixture
def warned(caplog):
    """Return the lines that were logged as warnings."""
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# values and objects


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


def test_a_subclass_of_training_arguments_gets_the_defaults_of_the_machine():
    @dataclass
    class OwnArguments(TrainingArguments):
        """TrainingArguments and one more.

        Args:
            extra: one more.
        """

        extra: int = 1

    def run(trainer) -> None:
        """Run."""

    run.__annotations__["trainer"] = OwnArguments
    defaults = build_parser(run).get_defaults()
    assert defaults["trainer.output_dir"] is None and defaults["trainer.extra"] == 1
    assert read_arguments(run, ["--trainer.output_dir", "x", "--trainer.extra", "3"])["trainer"].extra == 3


# sections


def test_sections_inside_sections_are_set_on_the_line_and_in_yaml(work):
    (work / "x.yaml").write_text(
        "data: {train: t.csv, columns: {label: class, tracks: [a, b]}}\nhead: {num_parts: 2}\n"
    )
    start = ["--pretrained", "m", "--trainer.output_dir", "out"]
    yaml = read_arguments(fit, [*start, "--config", "x.yaml"])
    line = [*start, "--data.train", "t.csv", "--data.columns.label", "class", "--data.columns.tracks", "a", "b"]
    words = read_arguments(fit, [*line, "--head.num_parts", "2"])
    assert (yaml["data"], yaml["head"]) == (words["data"], words["head"])
    assert words["data"] == Data("t.csv", Columns("class", ["a", "b"])) and words["head"] == Head(2)


def test_a_section_may_be_a_file_of_its_own_or_written_in_braces(work):
    (work / "head.yaml").write_text("num_parts: 2\npooling: mean\n")
    for value in ("head.yaml", "{num_parts: 2, pooling: mean}"):
        assert read_arguments(fit, [*START, "--head", value])["head"] == Head(2, pooling="mean")


def test_an_empty_section_changes_nothing_and_an_unknown_one_is_an_error(work):
    (work / "x.yaml").write_text("head: {}\n")
    assert read_arguments(fit, [*START, "--config", "x.yaml"])["head"] == Head()
    (work / "x.yaml").write_text("heads: {}\n")
    with pytest.raises(InputError, match="x.yaml: unknown key 'heads'"):
        read_arguments(fit, [*START, "--config", "x.yaml"])


def test_strings_and_dictionaries_of_a_yaml_file_stay_what_they_are(settings_of, work):
    (work / "x.yaml").write_text(
        'trainer: {run_name: "5", lr_scheduler_kwargs: {min_lr: 1e-5}}\nmasking: {schedule: {5: 0.1}}\n'
    )
    seen = settings_of("pretrain", "--config", "pretrain.yaml", "--config", "x.yaml")
    assert (seen["trainer"].run_name, seen["trainer"].lr_scheduler_kwargs) == ("5", {"min_lr": 1e-5})
    assert seen["masking"].schedule == {5: 0.1}


def test_a_long_yaml_file_is_read(settings_of, work):
    (work / "x.yaml").write_text("masking:\n  schedule:\n" + "".join(f"    {step}: 0.1\n" for step in range(1, 3000)))
    assert len(settings_of("pretrain", "--config", "pretrain.yaml", "--config", "x.yaml")["masking"].schedule) == 2999


# lists


@pytest.mark.parametrize(
    ("words", "gathered"),
    [
        (
            ["--data.columns.tracks", "a", "b", "--storage", "x"],
            ["--data.columns.tracks", '["a", "b"]', "--storage", "x"],
        ),
        (["--head.class_weights", "1", "2.5"], ["--head.class_weights", "[1.0, 2.5]"]),
        (["--data.columns.tracks", '["a"]'], ["--data.columns.tracks", '["a"]']),
        (["model", "--storage=x"], ["--pretrained", "model", "--storage=x"]),
        (["--head.num_parts", "-1"], ["--head.num_parts", "-1"]),
    ],
)
def test_values_of_a_list_become_one_word(words, gathered):
    assert gather_lists(words, fit) == gathered


@pytest.mark.parametrize("first", [["model"], ["--pretrained", "model"]])
def test_several_values_of_an_option_that_takes_one_are_counted(first, tmp_path):
    files = [str(tmp_path / name) for name in "abc"]
    words = [*first, "--data.train", *files]
    with pytest.raises(InputError, match=r"^--data\.train takes one value, and 3 were given"):
        gather_lists(words, fit)
    for file in files:
        open(file, "w").close()
    with pytest.raises(InputError, match=r"^--data\.train takes one file, and 3 were given"):
        gather_lists(words, fit)


def test_the_second_of_two_files_is_not_taken_for_the_model(tmp_path):
    files = [str(tmp_path / name) for name in "ab"]
    for file in files:
        open(file, "w").close()
    with pytest.raises(InputError, match=r"^--data\.train takes one file, and 2 were given"):
        gather_lists(["--data.train", *files], fit)


def test_the_first_argument_may_follow_an_option_and_its_value():
    assert gather_lists(["--data.train", "a", "model"], fit) == ["--pretrained", "model", "--data.train", "a"]


@pytest.mark.parametrize("words", [["--storage"], ["--storage", "--head.num_parts", "2"]])
def test_an_option_without_its_value_is_an_error(words):
    with pytest.raises(InputError, match="^--storage: its value is missing"):
        read_arguments(fit, [*START, *words])


@pytest.mark.parametrize("value", [[], ["--head.num_parts", "2"], ["true"]])
def test_an_option_that_may_be_true_or_false_is_true_without_a_value(value):
    assert read_arguments(fit, [*START, "--trainer.gradient_checkpointing", *value])["trainer"].gradient_checkpointing


# keys of version 0.1


def test_old_keys_of_a_verb_and_of_its_sections_are_known():
    assert former_keys(fit) == {
        "num_windows": "head.num_parts",
        "pooling": "head.pooling",
        "class_weights": "head.class_weights",
        "packing": "storage",
        "data.label_column": "data.columns.label",
        "data.track_columns": "data.columns.tracks",
    }


def test_old_keys_on_the_line_work_with_one_line_each(warned):
    old = [
        "--num_windows",
        "2",
        "--data.label_column=class",
        "--data.track_columns",
        "a",
        "b",
        "--class_weights",
        "1",
        "2",
    ]
    seen = read_arguments(fit, [*START, *old, "--packing", "2bit"])
    assert seen["data"] == Data("t.csv", Columns("class", ["a", "b"])) and seen["storage"] == "2bit"
    assert seen["head"] == Head(2, [1.0, 2.0])
    assert [re.findall(r"'([\w.]+)'", line) for line in warned()] == [
        ["num_windows", "head.num_parts"],
        ["data.label_column", "data.columns.label"],
        ["data.track_columns", "data.columns.tracks"],
        ["class_weights", "head.class_weights"],
        ["packing", "storage"],
    ]


def test_old_keys_in_yaml_work_with_one_line_each_and_the_line_wins(work, warned):
    (work / "old.yaml").write_text("num_windows: 2\npooling: mean\ndata: {label_column: class, track_columns: [a]}\n")
    seen = read_arguments(fit, [*START, "--config", "old.yaml", "--pooling", "max"])
    assert (seen["head"], seen["data"].columns) == (Head(2, pooling="max"), Columns("class", ["a"]))
    assert [line.split(":")[0] for line in warned()] == ["--pooling", *["old.yaml"] * 4]


def test_a_yaml_file_with_an_old_key_and_its_new_one_is_an_error(work):
    (work / "x.yaml").write_text("pooling: mean\nhead: {pooling: max}\n")
    with pytest.raises(InputError, match=r"x.yaml: 'pooling' and 'head.pooling' are the same"):
        read_arguments(fit, [*START, "--config", "x.yaml"])


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


# sections in Python


@pytest.mark.parametrize("verb", VERBS)
def test_every_section_can_be_built_from_what_the_package_exports(verb):
    kinds = [kind for _, kind in options._types(getattr(hf_genomics, verb.replace("-", "_")))]
    ours = [kind for kind in kinds if getattr(kind, "__module__", "").startswith("hf_genomics")]
    assert [kind.__name__ for kind in ours if getattr(hf_genomics, kind.__name__, None) is not kind] == []


# help and defaults


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_that_is_ours_has_a_help(verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    function = getattr(hf_genomics, verb.replace("-", "_"))
    parser = build_parser(function)
    shown = " ".join(parser.format_help().split())
    framework = ("trainer.", "pretraining.", "finetuning.")  # TrainingArguments, whose docstring has a form of its own
    keys = [key for key in parser.get_defaults().keys() if not key.startswith(framework)]  # noqa: SIM118 (a Namespace)
    # Without a help text, an option is followed by its type: "--data.store STORE (required, type: str)".
    # Of an option with two names, argparse of Python 3.13 writes the type once.
    assert [
        key for key in keys if not re.search(rf"--{key}( [^ ]+,|,)? (--{key}\+ )?[^ -][^ ]* (?!--|\()", shown)
    ] == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"amx_tile": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({"amx_tile": False, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),
        ({"amx_tile": False, "avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"amx_tile": False, "avx512_bf16": False, "cpu_name": "AMD EPYC"}, False),
        ({"architecture": "arm64"}, False),
    ],
)
def test_a_cpu_trains_in_bf16_by_default_only_where_that_is_faster(monkeypatch, facts, expected):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: facts, raising=False)
    defaults = options.trainer_defaults()
    assert (defaults["use_cpu"], defaults["bf16"]) == (True, expected)


def test_a_torch_that_does_not_describe_the_cpu_trains_in_fp32(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert options.trainer_defaults()["bf16"] is False


@pytest.mark.parametrize("screen", [True, False])
def test_progress_bars_are_shown_on_a_screen_alone(monkeypatch, screen):
    monkeypatch.setattr("sys.stderr.isatty", lambda: screen, raising=False)
    assert options.trainer_defaults()["disable_tqdm"] is not screen


def test_deepspeed_is_refused_before_transformers_keeps_its_settings_for_the_process(monkeypatch):
    kept = []
    monkeypatch.setattr("transformers.integrations.deepspeed.set_hf_deepspeed_config", kept.append)
    with pytest.raises(InputError, match=r"trainer\.deepspeed"):
        read_arguments(hf_genomics.pretrain, ["--config", "pretrain.yaml", "--trainer.deepspeed", "x.json"])
    assert kept == []


def test_the_keys_of_a_long_section_are_compared_at_once():
    text = [yaml.ScalarNode("tag:yaml.org,2002:str", f"key{number}") for number in range(9_000)]
    start = time.monotonic()
    options._check_unique(yaml.MappingNode("tag:yaml.org,2002:map", [(key, key) for key in text]))
    assert time.monotonic() - start < 1


def test_an_anchor_that_contains_itself_is_refused():
    with pytest.raises(ValueError, match="'x' contains itself"):
        check_yaml("a: &x {b: *x}")
