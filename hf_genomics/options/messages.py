"""Turn the errors of the parser, and of the classes of sections, into messages with the keys that users know.

These classes are written for Python. They name their own arguments ("k must ...", "name=True", "--eval_steps"), never a
section, and some of their messages are long. A user reads one line with the full key: "tokenizer.k must ...".
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

# A type as the parser's messages name it ("a <class 'float'>"), and its name -> what we call it.
_CLASS = re.compile(r"a <class '(\w+)'>")
_KINDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "dict": "keys with values, such as {name: value}",
}
# How the parser says that a value has none of the types of its key; the first value is the part that it rejects.
_OTHER_TYPE = re.compile(r'Parser key "([\w.]+)": .*?Expected an? .*?(?:Got|Given) value: ?(.*?)(?: - Expected .*)?$')
_EXPECTED = re.compile(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[([^\]]*)\])")
# How the parser refuses a key in an item of a list whose items are objects.
_OTHER_ENTRY = re.compile(
    r"Parser key \"([\w.]+)\": Problem with given class_path .*: Option '(\w+)[\w.]*' is not accepted"
)
# Parts of messages: 'trainer.seed' in quotes, the option --eval_steps, the argument tf32=True.
_QUOTED = re.compile(r"[\"']([\w.]+)[\"']")
_OPTION = re.compile(r"(?<!\S)--(\w+)")
_YES_OR_NO = re.compile(r"\b(\w+)=(True|False)\b")
# How accelerate refuses an unknown key of trainer.accelerator_config.
_UNKNOWN_OF_ACCELERATE = "AcceleratorConfig.__init__() got an unexpected keyword argument"
# Part of a message of transformers -> what we say instead, with our keys.
_REWORDED = {
    "support bf16/gpu": (
        "trainer.use_cpu is false, but this machine has no GPU that computes in bfloat16 (trainer.bf16, "
        "trainer.bf16_full_eval); set trainer.use_cpu to true, or both of these to false"
    ),
    "--tf32 requires": (
        "trainer.tf32 needs an NVIDIA GPU of the Ampere generation or newer, which this machine does not have; omit it"
    ),
    # Either may be a default of this machine, which the message would not name.
    "At most one of fp16 and bf16 can be True, but": (
        "trainer.fp16 and trainer.bf16 are both true, and a run computes in one of them; set trainer.fp16 to false, or "
        "trainer.bf16 to false"
    ),
    "save and eval strategy to match": (
        "trainer.load_best_model_at_end needs the same trainer.eval_strategy and trainer.save_strategy; set both to "
        "epoch or to steps"
    ),
    "Default process group": (
        "trainer.ddp_backend is for several processes, but there is only one; omit it, or start several by accelerate "
        "launch"
    ),
}


def with_origin(line: str, origins: Mapping[str, str]) -> str:
    """Put in front of a message of the parser the file that set the first key that the message names in quotes.

    >>> with_origin("Key 'trainer.seed' is wrong", {"trainer.seed": "x.yaml"})
    "x.yaml: Key 'trainer.seed' is wrong"

    Args:
        line: the message.
        origins: key that the user set -> the file or option that set it.
    """
    named = next((key for key in _QUOTED.findall(line) if key in origins), None)
    if named is None or origins[named].startswith("--"):  # an option, whose name is the key
        return line
    return f"{origins[named]}: {line}"


def message_of(error: Exception, section: str | None, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the message for an error of a section's class, on one line and with the keys that the user knows.

    Args:
        error: the error.
        section: the section whose object was being built; None if it is not known.
        given: all values by key, without keys that users cannot set.
        defaults: all default values by key.
    """
    from huggingface_hub.errors import StrictDataclassError  # slow to import

    line = _last_line(error) if isinstance(error, StrictDataclassError) else one_line(error)
    line = line.replace(_UNKNOWN_OF_ACCELERATE, "trainer.accelerator_config has no key")
    if reworded := next((ours for theirs, ours in _REWORDED.items() if theirs in line), None):
        return reworded
    of_section = {key: value for key, value in given.items() if key.startswith(f"{section}.") or not section}
    if isinstance(error, json.JSONDecodeError):
        return _not_json(error, of_section)
    # The class names its own arguments; they get their full keys.
    line = _OPTION.sub(lambda match: _full_option(match, section, of_section), line)
    line = _YES_OR_NO.sub(lambda match: _as_option(match, of_section), line)
    return _with_key(line, of_section, defaults)


def failed_section(error: BaseException, classes: Mapping[type, str]) -> str | None:
    """Return the section whose object was being built when an error was raised; None if there is none.

    Args:
        error: the error, which a constructor raised.
        classes: class -> section.
    """
    section, trace = None, error.__traceback__
    # In the frame of a constructor, `self` is the object. The innermost one that is a section has failed.
    while trace:
        section = classes.get(type(trace.tb_frame.f_locals.get("self")), section)
        trace = trace.tb_next
    return section


def one_line(error: Exception) -> str:
    """Return the message of an error on one line, with types in words; a long one without its middle.

    A message is long if it repeats a long value.

    >>> one_line(ValueError("Expected a <class 'int'>,   not x"))
    'Expected a whole number, not x'
    """
    line = _CLASS.sub(lambda found: _KINDS.get(found[1], found[0]), " ".join(str(error).split()))
    return _shortened(line)


def _shortened(line: str) -> str:
    """Return a line without its middle if it is long."""
    return line if len(line) <= 600 else f"{line[:400]} ... {line[-195:]}"


def parser_message(error: Exception, lists: Collection[str] = ()) -> str:
    """Return the message of an error of the parser on one line; about a value of another type, in our words.

    >>> parser_message(ValueError('Parser key "span": Expected a ' "<class 'int'>. Got value: x"))
    'span must be a whole number, not x'
    >>> parser_message(ValueError('Parser key "ks": Expected a ' "<class 'int'>. Got value: 3,4"), lists=["ks"])
    'ks must be a whole number, not 3,4; give several as in --ks A B'
    >>> parser_message(ValueError('Parser key "when": Expected a ' "<class 'str'>. Got value: False"))
    'when must be text, not False; YAML reads yes, no, on and off as true or false: write the word in quotes, "no"'

    Args:
        error: the error.
        lists: keys that take several values.
    """
    line = " ".join(str(error).split())
    if entry := _OTHER_ENTRY.search(line):
        return f"{entry[1]}: an item has no key {entry[2]!r}"
    found = _OTHER_TYPE.search(line)
    types = _EXPECTED.findall(found[0]) if found else []
    kinds = [kind for name, choices in types if name != "NoneType" for kind in _kinds_in_words(name, choices)]
    if found is None or not kinds:
        return one_line(error)
    key, value = found.groups()
    *others, last = dict.fromkeys(kinds)
    wanted = f"{', '.join(others)} or {last}" if others else last
    advice = f"; give several as in --{key} A B" if key in lists and "," in value else ""
    if "text" in kinds and value in ("True", "False"):  # in a YAML file
        advice = '; YAML reads yes, no, on and off as true or false: write the word in quotes, "no"'
    return f"{key} must be {wanted}, not {_shortened(value) or 'empty'}{advice}"


def _kinds_in_words(name: str, choices: str) -> list[str]:
    """Return what a type of the parser allows, in words: by the name of its class, or else its choices."""
    if name:
        return _KINDS.get(name, name).split(" or ")  # true or false are two
    return choices.split(", ")


def _last_line(error: Exception) -> str:
    """Return the last line of an error's message, which states the reason, without the name of the inner error."""
    line = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
    return line.removeprefix("TypeError: ").removeprefix("ValueError: ")


def _not_json(error: json.JSONDecodeError, given: Mapping[str, Any]) -> str:
    """Return the message about a value that transformers reads as JSON, with its key."""
    keys = [key for key, value in given.items() if value == error.doc]
    return f'{", ".join(keys) or "a value"} is not JSON ({error}); write names in double quotes, as in {{"name": 1}}'


def _full_option(match: re.Match[str], section: str | None, given: Collection[str]) -> str:
    """Return an option that transformers names as its scripts do, ``--eval_steps``, with its section if it has one."""
    key = f"{section}.{match[1]}"
    return key if key in given else match[0]


def _as_option(match: re.Match[str], given: Collection[str]) -> str:
    """Return an argument that a class names as Python does, ``tf32=True``, as its option: ``--trainer.tf32 true``."""
    key = next((key for key in given if key.rpartition(".")[2] == match[1]), None)
    return match[0] if key is None else f"--{key} {match[2].lower()}"


def _with_key(line: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Add to the message of a class the full keys that it is about: "k must ..." becomes "tokenizer.k must ...".

    >>> _with_key("k must lie in 1..8, not 9", {"tokenizer.k": 9}, {"tokenizer.k": 6})
    'tokenizer.k must lie in 1..8, not 9'
    """
    named = _keys_named(line, given, defaults)
    first = next((key for key in named if re.match(rf"{key.rpartition('.')[2]}\b", line)), None)
    if first:
        return f"{first.rpartition('.')[0]}.{line}".lstrip(".")  # no dot in front of a key without a section
    return f"{', '.join(named)}: {line}" if named else line


def _keys_named(line: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Return the keys that an error message is about: set by the user, with their name or value in the message.

    >>> defaults = {"trainer.lr_scheduler_type": "linear", "trainer.tf32": None}
    >>> given = {"trainer.lr_scheduler_type": "lineer", "trainer.tf32": True}
    >>> _keys_named("lineer is not a valid SchedulerType", given, defaults)
    ['trainer.lr_scheduler_type']
    >>> _keys_named("--tf32 requires Ampere or a newer GPU", given, defaults)
    ['trainer.tf32']
    """
    words = set(re.findall(r"\w+", line))
    changed = {key: value for key, value in given.items() if value != defaults.get(key)}
    return [
        key
        for key, value in changed.items()
        if key.rpartition(".")[2] in words or (isinstance(value, str) and value in words)
    ]
