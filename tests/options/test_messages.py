"""Errors of the parser and of constructors become one line with the keys that the user knows; our own stay errors."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal

import pytest
from transformers import TrainingArguments

from hf_genomics import InputError
from hf_genomics.options.messages import failed_section, message_of, one_line, with_origin
from hf_genomics.options.run_verb import run_verb


@dataclass(frozen=True)
class Head:
    """What reads the encoder.

    Args:
        num_parts: parts of a sequence.
        pooling: which tokens it reads.
        threshold: where it decides.
        parts: which parts it reads.
        shares: of the parts.
        colours: of the classes.
    """

    num_parts: int = 1
    pooling: Literal["mean", "cls"] = "mean"
    threshold: float | Literal["best"] | None = None
    parts: list[int] = field(default_factory=list)
    shares: list[float] | None = None
    colours: dict[str, str] | None = None

    def __post_init__(self) -> None:
        """Tests put a check here."""


def fit(pretrained: str, trainer: TrainingArguments, head: Head = Head()) -> None:  # noqa: B008
    """Fit a model.

    Args:
        pretrained: a model.
        trainer: of transformers.
        head: what reads the encoder.
    """


START = ["--pretrained", "m", "--trainer.output_dir", "out"]


def test_an_error_of_our_own_in_a_constructor_is_not_called_the_users(monkeypatch):
    def broken(self):
        return self.no_such_attribute

    monkeypatch.setattr(Head, "__post_init__", broken)
    with pytest.raises(AttributeError):
        run_verb(fit, START)


@pytest.mark.parametrize("kind", [ValueError, NotImplementedError, ImportError])
def test_a_value_that_a_constructor_rejects_is_the_users_mistake_and_its_key_is_named(monkeypatch, kind):
    def reject(self):
        raise kind("num_parts must be odd;\nset 3")

    monkeypatch.setattr(Head, "__post_init__", reject)
    with pytest.raises(InputError, match="^--head.num_parts must be odd; set 3$"):
        run_verb(fit, [*START, "--head.num_parts", "2"])


def test_a_module_that_cannot_be_imported_is_our_fault(monkeypatch):
    monkeypatch.setattr(Head, "__post_init__", lambda self: __import__("no_such_module_of_ours"))
    with pytest.raises(ModuleNotFoundError):
        run_verb(fit, START)


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        ("--trainer.learning_rate=fast", ["--trainer.learning_rate", "a number", "fast"]),
        ("--trainer.max_steps=1.5", ["--trainer.max_steps", "a whole number", "1.5"]),
        ("--trainer.max_steps=", ["--trainer.max_steps", "a whole number", "empty"]),
        ("--trainer.use_cpu=maybe", ["--trainer.use_cpu", "true or false", "maybe"]),
        ("--head.pooling=sum", ["--head.pooling", "'mean' or 'cls'", "sum"]),
        ("--head.threshold=high", ["--head.threshold", "a number or 'best'", "high"]),
        ("--head.parts=1,2", ["--head.parts", "a list", "1,2", "--head.parts A B"]),
        ("--head.parts 1 x", ["--head.parts", "a whole number", "not x"]),
        ("--head.shares=[0.1,", ["--head.shares", "a list", "[0.1,", "--head.shares A B"]),
        ("--head.shares [0.1,x]", ["--head.shares", "a number", "not x"]),
        ("--head.colours red", ["--head.colours", "{name: value}", "red"]),
    ],
)
def test_a_value_of_another_type_is_told_in_words_what_it_may_be(words, facts):
    with pytest.raises(InputError) as caught:
        run_verb(fit, [*START, *words.split()])
    told = str(caught.value)
    assert [fact for fact in facts if fact not in told] == [] and "class" not in told and "Union" not in told


def test_a_value_of_another_type_in_a_file_is_told_with_the_file(tmp_path):
    recipe = tmp_path / "x.yaml"
    recipe.write_text("head: {pooling: sum}")
    with pytest.raises(InputError, match=f"^{re.escape(str(recipe))}: head.pooling .*'mean' or 'cls'.* sum"):
        run_verb(fit, [*START, "--config", str(recipe)])


def test_the_innermost_section_that_was_being_built_has_failed(monkeypatch):
    class Outer:
        def __init__(self) -> None:
            Head(2)

    def reject(self):
        raise ValueError

    monkeypatch.setattr(Head, "__post_init__", reject)
    with pytest.raises(ValueError) as raised:
        Outer()
    assert failed_section(raised.value, {Outer: "data", Head: "data.head"}) == "data.head"
    assert failed_section(raised.value, {Outer: "data"}) == "data"
    assert failed_section(raised.value, {}) is None


def test_options_and_arguments_of_other_programs_get_their_sections():
    given = {"trainer.eval_steps": 0, "trainer.tf32": True, "head.eval_steps": 1}
    line = message_of(ValueError("--eval_steps or --lr with tf32=True, or x=False"), "trainer", given, given)
    assert line == "trainer.eval_steps or --lr with --trainer.tf32 true, or x=False"


def test_a_value_that_is_not_json_is_named_by_its_key():
    value = "{lr: 1}"
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads(value)
    line = message_of(raised.value, "trainer", {"trainer.optim_args": value, "trainer.seed": 1}, {})
    assert line.startswith("trainer.optim_args is not JSON")


def test_only_keys_that_the_user_has_changed_are_named():
    given = {"trainer.seed": 2, "trainer.optim": "adam", "trainer.group": "adam"}
    defaults = {"trainer.seed": 1, "trainer.optim": "sgd", "trainer.group": "adam"}
    assert message_of(ValueError("no adam here"), "trainer", given, defaults) == "trainer.optim: no adam here"
    assert message_of(ValueError("nothing here"), "trainer", given, defaults) == "nothing here"


def test_a_file_is_named_and_an_option_is_not():
    assert with_origin("key 'a.b' is bad", {"a.b": "x.yaml"}) == "x.yaml: key 'a.b' is bad"
    assert with_origin("key 'a.b' is bad", {"a.b": "--a.b"}) == "key 'a.b' is bad"
    assert with_origin("key 'a.b' is bad", {}) == "key 'a.b' is bad"


def test_a_long_message_loses_its_middle():
    line = one_line(ValueError("must not be " + "x" * 10_000 + "; omit it"))
    assert len(line) == 600 and line.startswith("must not be") and line.endswith("; omit it")
