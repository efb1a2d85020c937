"""The help of a verb has each option once, the required ones first, and an example that the verb understands."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import fields

import pytest
from advice import build_parser, keys_of
from transformers import TrainingArguments

import hf_genomics
from hf_genomics.cli import VERBS, main
from hf_genomics.options.help import EXAMPLES, TRAINER, help_text
from hf_genomics.options.keys import completion_of
from hf_genomics.options.words import gather_lists

OPTION = re.compile(r"^  (--[\w.]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def verbs():
    """The function, the parser and the keys of every verb."""
    functions = {verb: getattr(hf_genomics, verb.replace("-", "_")) for verb in VERBS}
    return {verb: (function, build_parser(function), keys_of(verb)) for verb, function in functions.items()}


def shown(text):
    return [option.removeprefix("--") for option in OPTION.findall(text)]


@pytest.mark.parametrize("verb", VERBS)
def test_all_options_are_listed_once_by_help_all(verbs, verb):
    _, parser, keys = verbs[verb]
    listed = shown(help_text(parser, verb, {}, everything=True))
    assert len(listed) == len(set(listed))
    full = {name: key for key, name in ((key, key.removeprefix("options.")) for key in keys.known)}
    assert {full[name] for name in listed} == set(keys.known) - set(keys.follows)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_leaves_out_only_options_of_the_trainer(verbs, verb):
    _, parser, _ = verbs[verb]
    short, everything = (shown(help_text(parser, verb, {}, everything)) for everything in (False, True))
    left_out = set(everything) - set(short)
    assert all(key.split(".")[0] in ("trainer", "pretraining", "finetuning") for key in left_out)
    assert not {key.rpartition(".")[2] for key in left_out} & set(TRAINER)
    assert len(short) < 110


def test_required_options_come_first(verbs):
    text = help_text(verbs["finetune"][1], "finetune", {"trainer.output_dir": "output_dir"})
    first = text.index("required:")
    required = text[first : text.index("\n\n", first)]
    assert shown(required) == ["pretrained", "trainer.output_dir"] and "--output_dir" in required
    assert first < text.index("--positive") < text.index("--data.train") < text.index("--trainer.max_steps")


def test_the_help_of_the_quickstart_shows_the_recipe_that_it_follows(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where recipes/ is not
    assert main(["quickstart", "--help"]) == 0
    text = capsys.readouterr().out
    assert "required:" not in text and "--output_dir TEXT (default: runs/quickstart)" in text
    assert "--tokenizer.stride INT (default: 3)" in text


def test_the_options_of_the_trainer_exist_in_transformers():
    assert len(TRAINER) == 15 and set(TRAINER) <= {field.name for field in fields(TrainingArguments)}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example_whose_options_it_knows(verbs, verb):
    function, _, keys = verbs[verb]
    _, name, *words = shlex.split(EXAMPLES[verb])
    options = [word.removeprefix("--") for word in gather_lists(words, function) if word.startswith("--")]
    assert name == verb and options
    for option in options:
        keys.check(keys.current(keys.everywhere.get(option, option), f"--{option}"), f"--{option}")


def test_help_and_help_all_are_written_to_standard_output(capsys):
    assert main(["finetune", "--config", "no.yaml", "--help"]) == 0
    short = capsys.readouterr().out
    assert main(["finetune", "-h", "all"]) == 0
    assert len(capsys.readouterr().out) > len(short) and short.startswith("usage: hf-genomics finetune")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pre"], {"prepare", "pretrain", "predict"}),
        (["predict", "--bat"], {"--batch_size"}),
        (["finetune", "--data.col"], {f"--data.columns.{name}" for name in ("sequence", "label", "pair")}),
        (["finetune", "--label"], {"--label_column"}),
        (["predict", "gen"], set()),  # names of files are bash's own
    ],
)
def test_bash_completes_verbs_and_options(verbs, words, expected):
    script = completion_of(verbs[verb][0] for verb in ("prepare", "pretrain", "predict", "finetune"))
    line = f"COMP_WORDS=(hf-genomics {shlex.join(words)}); COMP_CWORD={len(words)}; _hf_genomics"
    command = ["bash", "-c", f'{script}\n{line}; printf "%s\\n" "${{COMPREPLY[@]}}"']
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert expected <= set(printed) and all(word.startswith(words[-1]) for word in printed)
    assert bool(printed) == bool(expected)


@pytest.mark.parametrize(
    ("verb", "name", "key"),
    [
        ("finetune", "output_dir", "trainer.output_dir"),
        ("pretrain", "batch_size", "trainer.per_device_train_batch_size"),
        ("evaluate", "label_column", "data.columns.label"),
        ("check", "label_column", "columns.label"),
        ("explain", "sequence_column", "options.columns.sequence"),
        ("prepare", "rna", "records.rna"),
        ("finetune", "rna", "data.rna"),
    ],
)
def test_an_option_of_all_verbs_stands_for_the_key_of_this_one(verbs, verb, name, key):
    assert verbs[verb][2].everywhere[name] == key


def test_a_key_of_the_verb_itself_is_not_renamed(verbs):
    for _, _, keys in verbs.values():
        assert not set(keys.everywhere) & set(keys.known) and set(keys.everywhere.values()) <= set(keys.known)


def test_such_an_option_works_on_the_command_line_and_not_in_yaml(work, capsys):
    (work / "bad.csv").write_text("dna,klass\nACGUAC,a\nAXGTAC,b\n")
    words = [
        "check",
        "--splits.train",
        "bad.csv",
        "--sequence_column",
        "dna",
        "--label_column",
        "klass",
        "--rna",
        "true",
    ]
    assert main(words) == 2  # X is not a nucleotide, U is one
    assert "row 2" in capsys.readouterr().out
    (work / "x.yaml").write_text("batch_size: 8\n")
    assert main(["finetune", "--config", "x.yaml", "--pretrained", "x", "--output_dir", "y"]) == 2
    assert "x.yaml" in (line := capsys.readouterr().err) and "trainer.per_device_train_batch_size" in line
