"""Read the arguments of a verb from a command line and its YAML files.

A verb is a function. Each of its arguments is an option and a YAML key; an argument that is an object (a dataclass, a
tokenizer, a configuration) is a section, whose options and keys are the arguments of its class: ``--data.store x``.
The steps (`_read`), in this order: `_current_word` renames options of version 0.1; `gather_lists` joins the values of a
list; `_translate_files` replaces YAML files by their content, with every key checked and today's names; jsonargparse
parses; `check_parsed` checks values that the parser lets through; `_instantiate` builds the objects of the sections.
Errors of the parser and of the sections' classes become messages in `option_errors`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import logging
import math
import os
import re
import sys
import typing
import warnings
from argparse import ArgumentError
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .errors import InputError, StoppedError
from .io.bundled import bundled, bundled_files
from .option_errors import failed_section, message_of, one_line, parser_message, with_origin
from .option_help import help_text
from .option_names import everywhere, explain, suggest

logger = logging.getLogger(__name__)

# Section -> arguments of its class that are not options, because another section or the framework sets them.
_NOT_OPTIONS = {
    "tokenizer": set(
        "added_tokens_decoder token_type_ids_pattern token_type_ids_include_special_tokens "
        "special_tokens_pattern".split()
    ),
    "model": set(
        "vocab_size transformers_version architectures output_hidden_states return_dict dtype chunk_size_feed_forward "
        "is_encoder_decoder id2label label2id problem_type pad_token_id".split()
    ),
    "masking": {"epoch"},
}
# Key that users set -> key that takes the same value.
_LINKS = {"tokenizer.k": "model.k", "tokenizer.stride": "model.stride", "trainer.seed": "masking.seed"}
_UNNAMED = "options."  # a section whose keys may be written without it: `--resume` for `--options.resume`
# A long whole number in base 2, 8 or 16. Python refuses to read long decimal numbers, but reads these, and can then
# neither write them nor compute with them in reasonable time.
_LONG_NUMBER = re.compile(r"[-+]?0[xXoObB0-7][0-9a-fA-F_]{999,}")
#: Limits of a YAML file: characters, values with all aliases written out, and levels of nesting.
_MOST_CHARACTERS, _MOST_VALUES, _DEEPEST = 1_000_000, 20_000, 20
_NO_VALUE = {"--help", "--print_config"}  # options without a value
_HELP = {"-h", "--help"}
#: Keys, without their sections, whose value may be the name of a bundled file or model.
_MAY_BE_BUNDLED = set("pretrained model input files fasta genomes train valid test accessions source setups".split())
#: Verbs that change or publish the folder that they are given. It is the user's own, never a bundled one.
_WITHOUT_BUNDLED = {"card", "push"}
# First arguments of verbs that name a folder: a file that is given without an option was not meant for them.
_NAME_A_FOLDER = {"--model", "--pretrained", "--source", "--store"}
#: Verb -> the bundled recipe that it follows without --config.
_RECIPES = {"quickstart": "quickstart.yaml"}


class Keys(NamedTuple):
    """The keys of a verb.

    Attributes:
        verb: name of the verb on the command line.
        known: all keys, each with its section: "data.store".
        former: key of version 0.1 -> current key.
        follows: key that users cannot set -> key whose value it takes.
        origins: key that the user set -> the file or option that set it last; filled while they are read.
        short: key without its section -> key, for the section whose name users need not write: "resume" ->
            "options.resume".
        everywhere: name of an option that is the same in all verbs -> key, such as "output_dir" ->
            "trainer.output_dir"; on the command line only.
        defaults: default value of each key.
    """

    verb: str
    known: frozenset[str]
    former: dict[str, str]
    follows: dict[str, str]
    origins: dict[str, str]
    short: dict[str, str] = {}  # noqa: RUF012 (a field of a NamedTuple)
    everywhere: dict[str, str] = {}  # noqa: RUF012
    defaults: dict[str, Any] = {}  # noqa: RUF012

    def is_section(self, key: str) -> bool:
        """Return whether a key is a section, which holds other keys."""
        return any(known.startswith(f"{key}.") for known in self.known)

    def check(self, key: str, where: str) -> None:
        """Raise InputError for a key that does not exist or follows another one; ``where`` names the file or option."""
        place = "" if where.startswith("--") else f"{where}: "  # an option names its key itself
        if key in self.follows:
            raise InputError(f"{place}{key} follows {self.follows[key]}; set only {self.follows[key]}")
        parts = key.split(".")
        # A key may lie inside a value: --masking.schedule.500 0.2 adds an entry to a dictionary.
        if self.known.isdisjoint(".".join(parts[:length]) for length in range(1, len(parts) + 1)):
            hint = suggest(key, [*self.known, *self.former])
            raise InputError(f"{place}unknown key {key!r}{hint}; see hf-genomics {self.verb} --help")

    def as_entry(self, key: str) -> str:
        """Return a key as the parser takes it: an entry of a dictionary has colons instead of its further dots.

        By dots, the parser would nest the entry: {"trainer": {"seed": 1}} instead of {"trainer:seed": 1}.

        >>> Keys("finetune", frozenset({"sweep"}), {}, {}, {}).as_entry("sweep.trainer.seed")
        'sweep.trainer:seed'
        """
        parts = key.split(".")
        for length in range(1, len(parts)):
            option = ".".join(parts[:length])
            if option in self.known:  # so the remaining parts name an entry of it
                return f"{option}.{':'.join(parts[length:])}"
        return key

    def current(self, key: str, where: str) -> str:
        """Return the full and current name of a key; log a warning for a name of version 0.1."""
        if key in self.short:
            return self.short[key]
        if key in self.former:
            new = self.former[key]
            logger.warning("%s: %r is called %r now; the old key will be removed in version 0.3", where, key, new)
            return new
        option, _, entry = key.partition(".")
        if entry and option in self.short:  # an entry of a dictionary: "sweep.head.train"
            return f"{self.short[option]}.{entry}"
        return key


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
    keys = _keys_of(function, parser)
    if asked := _HELP & set(words):
        after = words[min(words.index(option) for option in asked) + 1 :]
        if recipe := _RECIPES.get(keys.verb):
            parser.description += f"\n\nWithout --config, it follows the bundled recipe {recipe}, shown below."
            parser.set_defaults(dict(_flat(_load(recipe), keys)))
        return help_text(parser, keys.verb, _other_names(keys), everything=after[:1] == ["all"])  # `--help all`
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


def _keys_of(function: Callable[..., Any], parser: Any) -> Keys:
    """Return the keys of a verb."""
    follows = {target: source for source, target in _LINKS.items() if source.split(".")[0] in _sections(function)}
    defaults = dict(parser.get_defaults().items())
    known = frozenset(defaults)
    short = {key.removeprefix(_UNNAMED): key for key in known if key.startswith(_UNNAMED)}
    return Keys(verb_name(function), known, former_keys(function), follows, {}, short, everywhere(known), defaults)


def _other_names(keys: Keys) -> dict[str, str]:
    """Return the keys of a verb that have another name on the command line, with that name."""
    return {key: name for name, key in keys.everywhere.items() if keys.short.get(name) != key}


def completion_of(functions: Iterable[Callable[..., Any]]) -> str:
    """Return a script that makes bash, or zsh with bashcompinit, complete verbs, their options and names of files.

    Args:
        functions: the functions of all verbs.
    """
    options: dict[str, list[str]] = {}
    for function in functions:
        keys = _keys_of(function, build_parser(function))
        options[keys.verb] = sorted({*keys.known, *keys.short, *keys.everywhere, "help"} - set(keys.follows))
    cases = "\n".join(
        f'    {verb}) words="{" ".join(f"--{key}" for key in keys)}" ;;' for verb, keys in options.items()
    )
    return (
        "_hf_genomics() {\n"
        "  local word=${COMP_WORDS[COMP_CWORD]} words\n"
        f'  case ${{COMP_WORDS[1]}} in\n{cases}\n  esac\n  [ $COMP_CWORD = 1 ] && words="{" ".join(options)}"\n'
        '  [[ $COMP_CWORD = 1 || $word == -* ]] && COMPREPLY=($(compgen -W "$words" -- "$word"))\n'
        "}\ncomplete -o default -F _hf_genomics hf-genomics\n"
    )


def _read(function: Callable[..., Any], words: list[str], parser: Any, keys: Keys) -> dict[str, Any]:
    """Return the arguments of a verb's function, by the steps at the top of this file; fills ``keys.origins``."""
    if keys.verb in _RECIPES and not any(word.split("=")[0] == "--config" for word in words):
        words = [f"--config={_RECIPES[keys.verb]}", *words]
    words = [_current_word(word, keys) for word in words]
    words = _translate_files(gather_lists(words, function), keys)
    try:
        parsed = parser.parse_args(words)
    except RecursionError as error:
        raise InputError(f"a value is nested too deeply; see hf-genomics {keys.verb} --help") from error
    except ArgumentError as error:  # a value of another type, or a key that is missing
        lists = [key for key, kind in _types(function) if _is_list(kind)]
        line = with_origin(parser_message(error, lists), keys.origins)
        raise InputError(f"{line}; see hf-genomics {keys.verb} --help") from error
    check_parsed(dict(parsed.items()), keys.defaults, dict(_types(function)))
    if "trainer" in parsed:
        _check_trainer(parsed.trainer)
    if keys.verb not in _WITHOUT_BUNDLED:
        for key, value in dict(parsed.items()).items():
            if key.rpartition(".")[2] in _MAY_BE_BUNDLED:
                parsed[key] = _with_bundled(value)
    return _instantiate(parser, parsed, _classes(function))


def _check_trainer(settings: Any) -> None:
    """Raise InputError for settings of the Trainer that must be judged before transformers reads them."""
    if settings.output_dir is None:  # transformers would write to ./trainer_output
        raise InputError("trainer.output_dir is not set: name the folder for the model, such as runs/x")
    if settings.deepspeed:  # transformers would advise to install deepspeed, and keep its settings for the process
        from .training.arguments import NO_DEEPSPEED  # slow to import

        raise InputError(NO_DEEPSPEED)
    if settings.warmup_steps is not None and settings.warmup_steps < 0:  # transformers 5.20 does not say what is wrong
        raise InputError(
            f"trainer.warmup_steps must be 0 or more, not {settings.warmup_steps}; below 1 it is a share of all steps"
        )


def _with_bundled(value: Any) -> Any:
    """Return the value of an input, with the paths of bundled files in place of their names."""
    if isinstance(value, list):
        return [path for name in value for path in (bundled_files(name) if isinstance(name, str) else [name])]
    if isinstance(value, dict):
        return {key: _with_bundled(name) for key, name in value.items()}
    return bundled(value) if isinstance(value, str) else value


def verb_name(function: Callable[..., Any]) -> str:
    """Return the name of a verb on the command line; in Python it has underscores instead of hyphens."""
    return function.__name__.replace("_", "-")


# The parser and its keys.


def build_parser(function: Callable[..., Any]) -> Any:
    """Build the parser of a verb from its signature: a section for each argument that is an object, else an option."""
    from jsonargparse import ArgumentParser  # slow to import, and not needed for `hf-genomics --help`

    prog = f"hf-genomics {verb_name(function)}"
    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog} [--config x.yaml] [--key value ...]",
        description=(inspect.getdoc(function) or "").split("\n\nArgs:")[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with these options; options after it win")
    sections = _sections(function)
    parser.add_function_arguments(function, as_group=False, skip=set(sections))
    for name, kind in sections.items():
        parser.add_class_arguments(kind, name, skip=_NOT_OPTIONS.get(name, set()), fail_untyped=False)
        if any(base.__name__ == "TrainingArguments" for base in kind.__mro__):
            parser.set_defaults({f"{name}.{key}": value for key, value in trainer_defaults().items()})
    for source, target in _LINKS.items():
        if {source.split(".")[0], target.split(".")[0]} <= sections.keys():
            parser.link_arguments(source, target)
    if {"tokenizer", "masking"} <= sections.keys():
        parser.link_arguments("tokenizer", "masking.tokenizer", apply_on="instantiate")
    return parser


def _sections(function: Callable[..., Any]) -> dict[str, type]:
    """Return the arguments of a function that are sections, and the class of each."""
    hints = typing.get_type_hints(function)
    return {name: hints[name] for name in inspect.signature(function).parameters if _is_section(hints[name])}


def _is_section(kind: Any) -> bool:
    """Return whether an argument of this type is a section: a dataclass, or a class of this package or transformers."""
    return inspect.isclass(kind) and (
        dataclasses.is_dataclass(kind) or kind.__module__.startswith(("hf_genomics.", "transformers."))
    )


@functools.cache
def _types(owner: Callable[..., Any], prefix: str = "") -> tuple[tuple[str, Any], ...]:
    """Return the keys of a function or class and their types; a section that is a dataclass precedes its keys."""
    found: list[tuple[str, Any]] = []
    try:
        hints = typing.get_type_hints(owner)
    except NameError:  # a class of transformers that imports torch for type checkers only
        hints = {field.name: field.type for field in dataclasses.fields(typing.cast(Any, owner))}
    for name, kind in hints.items():
        if name != "return":
            found.append((f"{prefix}{name}", kind))
            if _is_section(kind) and dataclasses.is_dataclass(kind):
                found += _types(typing.cast(Any, kind), f"{prefix}{name}.")
    return tuple(found)


def former_keys(function: Callable[..., Any]) -> dict[str, str]:
    """Return the keys of version 0.1 that a verb still accepts, each with its current name."""
    former = dict(getattr(function, "renamed_keys", {}))
    for section, kind in _types(function):
        table = getattr(kind, "renamed_keys", {}) if _is_section(kind) else {}
        former |= {f"{section}.{old}": f"{section}.{new}" for old, new in table.items()}
    return former


def trainer_defaults() -> dict[str, Any]:
    """Return the defaults of ``trainer`` that depend on the machine.

    No output folder is set. Training runs on the CPU if there is no accelerator, and in bf16 where that is faster.
    Progress bars appear only in a terminal.
    """
    import torch

    accelerated = torch.accelerator.is_available()
    fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else not accelerated and _is_bf16_faster()
    return {"output_dir": None, "use_cpu": not accelerated, "bf16": fast, "disable_tqdm": not sys.stderr.isatty()}


def _is_bf16_faster() -> bool:
    """Return whether this CPU trains faster in bf16 than in fp32.

    It does with AMX, and with AVX512-BF16 on a CPU by AMD. On Intel's CPUs AVX512-BF16 without AMX is slower than fp32.
    """
    import torch

    facts: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in some supported versions
    is_amd = str(facts.get("cpu_name", "")).startswith("AMD")
    return bool(facts.get("amx_tile") or (facts.get("avx512_bf16") and is_amd))


# Words of the command line.


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
    types = {f"--{key}": kind for key, kind in _types(function)}
    first, first_type = next(iter(types.items()), ("", None))
    takes_one = first_type is str
    may_be_unnamed = takes_one or _is_list(first_type)
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
        needs_value = "=" not in word and word not in _NO_VALUE
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
    if _is_list(kind) and not (values and values[0].startswith("[")):
        return json.dumps([_number(value) if "float" in str(kind) else value for value in values])
    dictionaries = tuple(f"{name}." for name, kind in types.items() if str(kind).startswith("dict["))
    if len(values) > 1 and option.startswith(dictionaries):  # an entry of a dictionary, which may hold anything
        return json.dumps([_parse_yaml(value, option) for value in values])
    return None


def _may_be_true(kind: Any) -> bool:
    """Return whether an option of a type may be true or false, and perhaps something else: ``bool | Literal["auto"]``.

    >>> _may_be_true(bool | None), _may_be_true(int), _may_be_true(None)
    (True, False, False)
    """
    return bool in (kind, *typing.get_args(kind))


def _is_list(kind: Any) -> bool:
    """Return whether a type is a list, or a list or None; ``str | list[str]`` does not count."""
    text = str(kind).removeprefix("typing.").removeprefix("Optional[").removesuffix(" | None")
    return text.startswith("list[")


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


def _current_word(word: str, keys: Keys) -> str:
    """Return a word of the command line, with an option of version 0.1 replaced by its current name."""
    name, equals, value = word.partition("=")
    if not name.startswith("--"):
        return word
    append = "+" if name.endswith("+") else ""  # `--files+ x` appends to a list
    key = name.removeprefix("--").removesuffix("+")
    key = keys.everywhere.get(key, key)
    return f"--{keys.current(key, name)}{append}{equals}{value}"


# YAML files.


def _translate_files(words: list[str], keys: Keys) -> list[str]:
    """Check the keys of all options, and replace the name of each YAML file by its checked content.

    Args:
        words: the words of the command line after the verb; every option is followed by one value.
        keys: the keys of the verb.
    """
    translated: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        key = option.removeprefix("--").removesuffix("+")
        if not option.startswith("--") or option in _NO_VALUE:
            translated.append(word)
            continue
        value = value if equals else next(rest)
        if key == "config":
            translated.append(f"--config={_checked_yaml(_load(value), value, keys)}")
        elif keys.is_section(key):  # its value is a YAML file, or text such as {key: value}
            is_file = os.path.isfile(value)
            content = _load(value) if is_file else _parse_yaml(value, option)
            translated.append(f"--config={_checked_yaml({key: content}, value if is_file else option, keys)}")
        else:
            translated += _translate_option(option, value, keys)
    return translated


def _translate_option(option: str, value: str, keys: Keys) -> list[str]:
    """Check an option and its value, and return the options that the parser takes instead, each with its value.

    Args:
        option: the option, such as "--trainer.seed", or "--files+" if the value is appended to a list.
        value: its value.
        keys: the keys of the verb.
    """
    _check_word(value, option)
    key = option.removeprefix("--").removesuffix("+")
    settings = _current_model({key: value}, option)
    # Given alone, global_attention_every of version 0.1 is dropped: what replaces it, layer_types, also depends on the
    # sliding window and on the number of layers.
    if not settings:
        raise InputError(f"{option} works in YAML files only; set model.layer_types, one entry for each layer")
    for name in settings:
        keys.check(name, option)
        keys.origins[name] = option.removesuffix("+")
    append = "+" if option.endswith("+") else ""
    return [f"--{keys.as_entry(name)}{append}={value}" for name, value in settings.items()]


def _load(path: str) -> dict[str, Any]:
    """Read a YAML file of keys and values."""
    try:
        with open(bundled(path), encoding="utf-8") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except UnicodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8; save it as UTF-8") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{path}: {error}; name a YAML file of keys and values") from error
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; name a YAML file of keys and values, such as those in recipes/"
        ) from error
    content = _parse_yaml(text, path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a YAML file of keys and values; fix it, recipes/ has examples")
    return content


def _parse_yaml(text: str, where: str) -> Any:
    """Return the content of a YAML text; 4e-4 becomes a number, where ``yaml.safe_load`` returns a str."""
    import yaml
    from jsonargparse import get_loader

    try:
        check_yaml(text)
        return get_loader("yaml")(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: numbers and dates that do not exist
        reason = one_line(error)[:200]
        what = "YAML" if where.startswith("--") else "a YAML file"
        message = f"{where}: not {what} of keys and values ({reason}); fix it, recipes/ has examples"
        raise InputError(message) from error


def check_yaml(text: str) -> None:
    """Check the size of a YAML text before it is read, and that no key is given twice.

    A few lines of aliases can stand for more values than any memory holds, because each line may double their number::

        a: &a [x, x]
        b: &b [*a, *a]
        c: &c [*b, *b]

    Of two equal keys, PyYAML would keep the last without a warning.

    Args:
        text: the text.

    Raises:
        ValueError: if the text is too long, nested too deeply, or stands for too many values; or a key is given twice.
        YAMLError: if it is not YAML.
    """
    import yaml

    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it has more than {_MOST_CHARACTERS:,} characters")
    # Anchor -> number of values that it stands for. Values without an anchor are under None, which no alias refers to.
    sizes: dict[str | None, int] = {}
    open_nodes: list[list[Any]] = []  # anchor of each list or section around this place, and how many values it has
    # An event is a single value, an alias, or the start or the end of a list or section, in the order of the text.
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        count = 0  # values that the event adds to the list or section around it
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in open_nodes):
                raise ValueError(f"the anchor {event.anchor[:60]!r} contains itself")
            count = sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            count = sizes[event.anchor] = 1
            if not event.style and _LONG_NUMBER.fullmatch(event.value):
                raise ValueError(f"a number has {len(event.value):,} characters")
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([event.anchor, 1])
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, count = open_nodes.pop()
            sizes[anchor] = count
        if open_nodes:
            open_nodes[-1][1] += count
        if len(open_nodes) > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        if max(count, open_nodes[-1][1] if open_nodes else 0) > _MOST_VALUES:
            raise ValueError(f"with its aliases it stands for more than {_MOST_VALUES:,} values")
    _check_unique(yaml.compose(text, Loader=yaml.SafeLoader))


def _check_word(value: str, option: str) -> None:
    """Raise InputError for a value of an option that is nested too deeply: PyYAML, in C, would crash the process."""
    import yaml

    if len(value) < 1000 and not re.search(r"[\[{&*]\s*[\[{&*]|\{", value):  # neither nested lists, objects nor aliases
        return
    try:
        check_yaml(value)
    except yaml.YAMLError:  # a name of a file, or another text
        return
    except ValueError as error:
        raise InputError(f"{option}: {error}; write a shorter value") from error


#: Kinds of keys on which the parser fails: YAML reads null and ~ as no value at all.
_NOT_NAMES = {"tag:yaml.org,2002:null"}


def _check_unique(node: Any) -> None:
    """Raise ValueError if a section below a node of YAML has a key twice, or a key that is not a name."""
    import yaml

    seen: set[int] = set()
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
            continue
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if nameless := next((key.value for key, _ in node.value if key.tag in _NOT_NAMES), None):
            raise ValueError(f"the key {nameless[:60]!r} is not a name; write a name, or put it in quotes")
        twice = next((name for name, count in Counter(names).items() if count > 1 and name != "<<"), None)
        if twice is not None:
            raise ValueError(f"the key {twice[:60]!r} is given twice in one section")
        nodes += [value for _, value in node.value]


def _checked_yaml(content: dict[str, Any], where: str, keys: Keys) -> str:
    """Check settings, and return them by their current keys as one line of YAML, which the parser takes for a file.

    Args:
        content: the settings, nested in sections.
        where: the file or option that states the settings.
        keys: the keys of the verb.

    Raises:
        InputError: if a key does not exist, a section has no keys, or a key is given by both its names.
    """
    import yaml

    settings: dict[str, Any] = {}
    former: dict[str, str] = {}
    for key, value in _current_model(dict(_flat(content, keys)), where).items():
        new = keys.current(key, where)
        if new in settings:
            raise InputError(f"{where}: {former.get(new, key)!r} and {new!r} are the same; keep {new!r}")
        if keys.is_section(new):
            raise InputError(f"{where}: {new} is a section; write its keys below it, indented")
        keys.check(new, where)
        settings[new], former[new] = value, key
        keys.origins[new] = where
    return yaml.safe_dump(_nested(settings), default_flow_style=True, width=sys.maxsize, sort_keys=False).strip()


def _current_model(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """Return settings with former keys of section ``model`` translated to current ones; log a line for each of them.

    Args:
        settings: all settings by key, such as "model.hidden_size".
        where: the file or option that states the settings.
    """
    old = {key.removeprefix("model."): value for key, value in settings.items() if key.startswith("model.")}
    if not old:
        return settings
    from .configuration_kmer_bert import current_settings  # slow to import

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            new = current_settings(old, warn=True)
        except (ValueError, TypeError) as error:
            raise InputError(f"{where}: model: {one_line(error)}") from error
    for warning in caught:
        logger.warning("%s: model.%s", where, warning.message)
    return {key: value for key, value in settings.items() if not key.startswith("model.")} | {
        f"model.{key}": value for key, value in new.items()
    }


def _flat(content: dict[Any, Any], keys: Keys, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the full keys, such as "data.store", and values of nested sections; a value may be a dictionary."""
    for name, value in content.items():
        key = f"{prefix}{name}"
        is_option = key in keys.known or key in keys.former
        # `heads: {}` has no keys that could be refused. It is taken for a key itself, so that it is refused as one.
        is_unknown_and_empty = not value and not keys.is_section(key)
        if isinstance(value, dict) and not is_option and not is_unknown_and_empty:
            yield from _flat(value, keys, f"{key}.")
        else:
            yield key, value


def _nested(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings nested in sections.

    >>> _nested({"seed": 1, "data.store": "x", "data.columns.label": "y"})
    {'seed': 1, 'data': {'store': 'x', 'columns': {'label': 'y'}}}
    """
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return nested


def check_parsed(given: dict[str, Any], defaults: dict[str, Any], types: dict[str, Any]) -> None:
    """Check values that the parser lets through, and on which the verbs and transformers would fail.

    Args:
        given: all values by key.
        defaults: all default values by key.
        types: type of each key, as far as it is known.

    Raises:
        InputError: naming a key that is null but may not be, that is NaN or infinite, or too large for 64 bits.

    >>> check_parsed({"trainer.max_steps": None}, {"trainer.max_steps": -1}, {"trainer.max_steps": int})
    Traceback (most recent call last):
    hf_genomics.errors.InputError: trainer.max_steps must not be null; omit it for the default (-1)
    """
    from .saved_settings import shown  # slow to import

    for key, value in given.items():
        default = defaults.get(key)
        if value is default or (value is None and key not in types):  # not set; or null, of a type that is not known
            continue
        if value is None and default is not None and not re.search("None|Optional|Any", str(types[key])):
            raise InputError(f"{key} must not be null; omit it for the default ({default})")
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, str) and "\0" in number:  # no file can have such a name
                raise InputError(f"{key} must not contain a NUL character; write it again")
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{key} must be a finite number, not {number}")
            if isinstance(number, int) and number != default and not -(2**63) <= number < 2**63:
                raise InputError(f"{key} must be a number of at most 64 bits, not {shown(number)}")


# Objects.


def _classes(function: Callable[..., Any]) -> dict[type, str]:
    """Return the class of each section of a verb, and the key of the section.

    With these, an error of a constructor is traced to its section. A class that two sections share is left out, because
    the error does not tell which of them it is about.
    """
    found: dict[type, list[str]] = {}
    for key, kind in _types(function):
        if _is_section(kind):
            found.setdefault(kind, []).append(key)
    return {kind: keys[0] for kind, keys in found.items() if len(keys) == 1}


def _instantiate(parser: Any, parsed: Any, classes: dict[type, str]) -> dict[str, Any]:
    """Build the objects of all sections, and return all arguments of the verb.

    Args:
        parser: the parser of the verb.
        parsed: what it returned.
        classes: class -> section.

    Raises:
        InputError: if the class of a section rejects a value.
    """
    from huggingface_hub.errors import StrictDataclassError

    build = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
    try:
        built = build(parsed)
    except InputError:
        raise
    except (ValueError, TypeError, OverflowError, StrictDataclassError, NotImplementedError, ImportError) as error:
        # An import statement that fails sets error.name: that is a bug of ours. TrainingArguments raises an ImportError
        # without a name, for a setting that needs a package that is not installed.
        if isinstance(error, ImportError) and error.name is not None:
            raise
        section = failed_section(error, classes)
        if section is None and isinstance(error, TypeError | OverflowError):  # not from a constructor: a bug of ours
            raise
        linked = _LINKS.values()  # they only copy a key that the user has set
        given = {key: value for key, value in parsed.items() if key not in linked}
        raise InputError(message_of(error, section, given, dict(parser.get_defaults().items()))) from error
    return {name: value for name, value in vars(built).items() if name != "config"}
