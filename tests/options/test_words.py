"""Words of the command line: lists, values without an option, options without a value."""

from __future__ import annotations

import pytest
from small_verb import START, fit, read_arguments

from hf_genomics import InputError
from hf_genomics.options.words import gather_lists


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
