"""Read the arguments of a verb from a command line and its YAML files, and call it.

A verb is a function. Each of its arguments is an option and a YAML key; an argument that is an object (a dataclass, a
tokenizer, a configuration) is a section, whose options and keys are the arguments of its class: ``--data.store x``.
The steps (`_read`), in this order: `current_word` renames options of version 0.1; `gather_lists` joins the values of a
list; `translate_files` replaces YAML files by their content, with every key checked and today's names; jsonargparse
parses; `check_parsed` checks values that the parser lets through; `instantiate` builds the objects of the sections.
A recipe of `label-scarcity` holds parts of recipes of `finetune`, which are checked as those are (`_check_cells`).
Errors of the parser and of the sections' classes become messages in `messages`.
"""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import InputError, StoppedError
from .help import help_text
from .keys import Keys, keys_of, other_names
from .messages import parser_message, with_origin
from .names import explain
from .parser import build_parser, is_list, types_of
from .values import check_parsed, check_trainer, classes_of, instantiate, replace_bundled
from .words import current_word, gather_lists
from .yaml_files import checked_yaml, flat, load_yaml, translate_files

_HELP = {"-h", "--help"}
#: Verb -> the bundled recipe that it follows without --config.
_RECIPES = {"quickstart": "quickstart.yaml"}
#: Verbs that change or publish the folder that they are given. It is the user's own, never a bundled one.
_WITHOUT_BUNDLED = {"card", "push"}


def run_verb(function: Callable[..., Any], words: list[str]) -> Any:
    """Read the arguments of a verb, call it and return its result; for ``--help``, return the verb's help instead.

    Args:
        function: the verb's function.
        words: the words of the command line after the verb.

    Raises:
        InputError: if a key, a file, a value or anything that they name is wrong; the message names the keys as this
            verb does, and the file or option that set them.
    """
    parser = build_parser(function)
    keys = keys_of(function, parser)
    if asked := _HELP & set(words):
        after = words[min(words.index(option) for option in asked) + 1 :]
        if recipe := _RECIPES.get(keys.verb):
            parser.description += f"\n\nWithout --config, it follows the bundled recipe {recipe}, shown below."
            parser.set_defaults(dict(flat(load_yaml(recipe), keys)))
        return help_text(parser, keys.verb, other_names(keys), everything=after[:1] == ["all"])  # `--help all`
    with _errors_explained(keys, words):
        return function(**_read(function, words, parser, keys))


@contextmanager
def _errors_explained(keys: Keys, words: list[str]) -> Iterator[None]:
    """Reword errors that are raised within the block; see `explain`.

    Library code names a key in its own way ("data.columns.pair"); the message shall name it as the user of this verb
    writes it ("columns.pair"), with the file that sets it.
    """
    try:
        yield
    except (InputError, StoppedError) as error:
        error.args = (explain(str(error), keys.known, keys.origins, words),)
        raise


def _read(function: Callable[..., Any], words: list[str], parser: Any, keys: Keys) -> dict[str, Any]:
    """Return the arguments of a verb's function, by the steps at the top of this file; fills ``keys.origins``."""
    if keys.verb in _RECIPES and not any(word.split("=")[0] == "--config" for word in words):
        words = [f"--config={_RECIPES[keys.verb]}", *words]
    words = [current_word(word, keys) for word in words]
    words = translate_files(gather_lists(words, function), keys)
    parsed = _parse(function, words, parser, keys)
    if keys.verb == "label-scarcity":
        _check_cells(parsed.finetuning, keys.origins.get("finetuning", "--finetuning"))
    if keys.verb not in _WITHOUT_BUNDLED:
        replace_bundled(parsed)
    return instantiate(parser, parsed, classes_of(function))


def _parse(function: Callable[..., Any], words: list[str], parser: Any, keys: Keys) -> Any:
    """Return what the parser of a verb makes of words whose keys have been checked; check the values."""
    try:
        parsed = parser.parse_args(words)
    except RecursionError as error:
        raise InputError(f"a value is nested too deeply; see hf-genomics {keys.verb} --help") from error
    except ArgumentError as error:  # a value of another type, or a key that is missing
        lists = [key for key, kind in types_of(function) if is_list(kind)]
        line = with_origin(parser_message(error, lists), keys.origins)
        raise InputError(f"{line}; see hf-genomics {keys.verb} --help") from error
    check_parsed(dict(parsed.items()), keys.defaults, dict(types_of(function)))
    if "trainer" in parsed:
        check_trainer(parsed.trainer)
    return parsed


def _check_cells(cells: list[Any], where: str) -> None:
    """Check the options of `finetune` that a study gives to its cells, before the first cell starts.

    Args:
        cells: the items of ``finetuning``.
        where: the file or option that states them.
    """
    from ..finetuning.finetune import finetune  # slow to import

    parser = build_parser(finetune)
    for number, cell in enumerate(cells, 1):
        keys = keys_of(finetune, parser)
        item = f"{where}: " * (not where.startswith("--")) + f"finetuning, item {number}"
        # The study sets these two itself.
        words = ["--pretrained=x", f"--config={checked_yaml(cell.options, item, keys)}", "--trainer.output_dir=x"]
        try:
            _parse(finetune, words, parser, keys)
        except InputError as error:
            raise InputError(f"{item}: {str(error).removeprefix(f'{item}: ')}") from error
