"""The keys of a verb, their former names, and a script that completes them in a shell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..errors import InputError
from .names import everywhere, suggest
from .parser import LINKS, build_parser, is_section, sections_of, types_of, verb_name

logger = logging.getLogger(__name__)

_UNNAMED = "options."  # a section whose keys may be written without it: `--resume` for `--options.resume`


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


def keys_of(function: Callable[..., Any], parser: Any) -> Keys:
    """Return the keys of a verb."""
    follows = {target: source for source, target in LINKS.items() if source.split(".")[0] in sections_of(function)}
    defaults = dict(parser.get_defaults().items())
    known = frozenset(defaults)
    short = {key.removeprefix(_UNNAMED): key for key in known if key.startswith(_UNNAMED)}
    return Keys(verb_name(function), known, former_keys(function), follows, {}, short, everywhere(known), defaults)


def other_names(keys: Keys) -> dict[str, str]:
    """Return the keys of a verb that have another name on the command line, with that name."""
    return {key: name for name, key in keys.everywhere.items() if keys.short.get(name) != key}


def former_keys(function: Callable[..., Any]) -> dict[str, str]:
    """Return the keys of version 0.1 that a verb still accepts, each with its current name."""
    former = dict(getattr(function, "renamed_keys", {}))
    for section, kind in types_of(function):
        table = getattr(kind, "renamed_keys", {}) if is_section(kind) else {}
        former |= {f"{section}.{old}": f"{section}.{new}" for old, new in table.items()}
    return former


def completion_of(functions: Iterable[Callable[..., Any]]) -> str:
    """Return a script that makes bash, or zsh with bashcompinit, complete verbs, their options and names of files.

    Args:
        functions: the functions of all verbs.
    """
    options: dict[str, list[str]] = {}
    for function in functions:
        keys = keys_of(function, build_parser(function))
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
