"""The words of a command line: lists, values without an option, former names."""

from __future__ import annotations

import json
import os
import typing
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from .keys import Keys
from .parser import is_list, types_of
from .yaml_text import parse_yaml

# First arguments of verbs that name a folder: a file that is given without an option was not meant for them.
_NAME_A_FOLDER = {"--model", "--pretrained", "--source", "--store"}
NO_VALUE = {"--help", "--print_config"}  # options without a value


def gather_lists(words: list[str], function: Callable[..., Any]) -> list[str]:
    """Join the values of each list option into one word, a JSON list.

    A shell expands ``--fasta *.fa`` to ``--fasta a.fa b.fa``, but the parser needs one value for each option. Words
    that belong to no option are the verb's first argument, if it is a list or one str: ``check a.fa b.fa``,
    ``convert folder``. An option that may be true or false is true without a value: ``--overwrite``.

    >>> def check(files: list[str], seed: int = 1, strict: bool = False): ...
    >>> gather_lists(["--files", "a.fa", "b.fa", "--seed", "7"], check)
    ['--files', '["a.fa", "b.fa"]', '--seed', '7']
    >>> gather_lists(["--seed", "7", "a.fa", "b.fa"], check)
    ['--files', '["a.fa", "b.fa"]', '--seed', '7']
    >>> gather_lists(["--strict", "--files", "a.fa"], check)
    ['--strict', 'true', '--files', '["a.fa"]']

    Args:
        words: the words of the command line after the verb.
        function: the verb's function.

    Returns:
        The words; every option is followed by one value.
    """
    types = {f"--{key}": kind for key, kind in types_of(function)}
    first, first_type = next(iter(types.items()), ("", None))
    takes_one = first_type is str
    may_be_unnamed = takes_one or is_list(first_type)
    gathered: list[str] = []
    unnamed: list[str] = []
    # Option that takes one value -> all values after it. They are no error yet: after `--storage 2bit model` the second
    # one may be the verb's first argument.
    several: dict[str, list[str]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if may_be_unnamed and not word.startswith("-"):  # no option before it has taken it as its value
            unnamed.append(word)
            continue
        gathered.append(word)
        needs_value = "=" not in word and word not in NO_VALUE
        values = rest[: _count_values(rest)] if needs_value else []
        if (joined := _join_values(word, values, types)) is not None:
            gathered.append(joined)
            del rest[: len(values)]
        elif values:  # the option takes the first one; the loop goes on with the others
            gathered.append(rest.pop(0))
            if len(values) > 1 and word.startswith("--"):
                several[word] = values
        elif _may_be_true(types.get(word)):
            gathered.append("true")
        elif word.startswith("--") and needs_value:
            raise InputError(f"{word}: its value is missing; write {word} VALUE, a negative number as {word}=-1")
    if several and not may_be_unnamed:
        raise _several_values(several)
    return _first_argument(first, unnamed, takes_one, gathered, several) + gathered


def _join_values(option: str, values: list[str], types: dict[str, Any]) -> str | None:
    """Return the values of a list as JSON; None if the option takes one value, or the user wrote the list as "[...]".

    Args:
        option: the option, such as "--fasta".
        values: the words after it.
        types: type of each option.
    """
    kind = types.get(option)
    if is_list(kind) and not (values and values[0].startswith("[")):
        return json.dumps([_number(value) if "float" in str(kind) else value for value in values])
    dictionaries = tuple(f"{name}." for name, kind in types.items() if str(kind).startswith("dict["))
    if len(values) > 1 and option.startswith(dictionaries):  # an entry of a dictionary, which may hold anything
        return json.dumps([parse_yaml(value, option) for value in values])
    return None


def _may_be_true(kind: Any) -> bool:
    """Return whether an option of a type may be true or false, and perhaps something else: ``bool | Literal["auto"]``.

    >>> _may_be_true(bool | None), _may_be_true(int), _may_be_true(None)
    (True, False, False)
    """
    return bool in (kind, *typing.get_args(kind))


def _count_values(words: list[str]) -> int:
    """Count the words before the next option."""
    return next((index for index, word in enumerate(words) if word.startswith("--")), len(words))


def _number(word: str) -> str | float:
    """Return the number that a word states; or the word itself, which the parser will reject."""
    try:
        return float(word)
    except ValueError:
        return word


def _first_argument(
    first: str, unnamed: list[str], takes_one: bool, gathered: list[str], several: dict[str, list[str]]
) -> list[str]:
    """Return the option and the value of the verb's first argument, if its value was given without the option.

    Args:
        first: option of the verb's first argument.
        unnamed: words that belong to no option.
        takes_one: whether the first argument is one value, rather than a list.
        gathered: all options with their values.
        several: options that take one value, and the values after them, of which one may be the first argument.
    """
    if not unnamed:
        return []
    is_named = any(word.split("=")[0] == first for word in gathered)
    is_too_many = takes_one and len(unnamed) > 1
    is_file = first in _NAME_A_FOLDER and any(map(os.path.isfile, unnamed))
    # If the words cannot be the first argument, they were meant for the option before them: `--train a.csv b.csv`.
    if several and (is_named or is_too_many or is_file):
        raise _several_values(several)
    if is_named:
        raise InputError(f"{first}: given by name and also without its name ({unnamed[0]}); use one of the two")
    if is_too_many:
        raise InputError(f"{first} takes one value, not {unnamed[0]} and {unnamed[1]}; write each option's name")
    return [first, unnamed[0] if takes_one else json.dumps(unnamed)]


def _several_values(several: dict[str, list[str]]) -> InputError:
    """Return the error for the first of the options that take one value and were given several."""
    option, values = next(iter(several.items()))
    if all(map(os.path.isfile, values)):
        remedy = "join them (cat a b > all), or run once for each file"
        return InputError(f"{option} takes one file, and {len(values)} were given; {remedy}")
    return InputError(
        f"{option} takes one value, and {len(values)} were given ({values[0]}, {values[1]} ...); put a value that "
        "contains blanks in quotes"
    )


def current_word(word: str, keys: Keys) -> str:
    """Return a word of the command line, with an option of version 0.1 replaced by its current name."""
    name, equals, value = word.partition("=")
    if not name.startswith("--"):
        return word
    append = "+" if name.endswith("+") else ""  # `--files+ x` appends to a list
    key = name.removeprefix("--").removesuffix("+")
    key = keys.everywhere.get(key, key)
    return f"--{keys.current(key, name)}{append}{equals}{value}"
