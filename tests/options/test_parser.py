"""The parser of a verb: sections, help, and the defaults of the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import torch
from small_verb import read_arguments
from transformers import TrainingArguments

import hf_genomics
from hf_genomics.cli import VERBS
from hf_genomics.options.parser import build_parser, trainer_defaults, types_of


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


@pytest.mark.parametrize("verb", VERBS)
def test_every_section_can_be_built_from_what_the_package_exports(verb):
    kinds = [kind for _, kind in types_of(getattr(hf_genomics, verb.replace("-", "_")))]
    ours = [kind for kind in kinds if getattr(kind, "__module__", "").startswith("hf_genomics")]
    assert [kind.__name__ for kind in ours if getattr(hf_genomics, kind.__name__, None) is not kind] == []


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
    defaults = trainer_defaults()
    assert (defaults["use_cpu"], defaults["bf16"]) == (True, expected)


def test_a_torch_that_does_not_describe_the_cpu_trains_in_fp32(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert trainer_defaults()["bf16"] is False


@pytest.mark.parametrize("screen", [True, False])
def test_progress_bars_are_shown_on_a_screen_alone(monkeypatch, screen):
    monkeypatch.setattr("sys.stderr.isatty", lambda: screen, raising=False)
    assert trainer_defaults()["disable_tqdm"] is not screen
