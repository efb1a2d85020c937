"""YAML files of options: read, checked, and passed to the parser under the names of today."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from ..errors import InputError
from ..io.bundled import bundled
from .keys import Keys
from .messages import one_line
from .words import NO_VALUE
from .yaml_text import MOST_CHARACTERS, check_word, parse_yaml

logger = logging.getLogger(__name__)


def translate_files(words: list[str], keys: Keys) -> list[str]:
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
        if not option.startswith("--") or option in NO_VALUE:
            translated.append(word)
            continue
        value = value if equals else next(rest)
        if key == "config":
            translated.append(f"--config={checked_yaml(load_yaml(value), value, keys)}")
        elif keys.is_section(key):  # its value is a YAML file, or text such as {key: value}
            is_file = os.path.isfile(value)
            content = load_yaml(value) if is_file else parse_yaml(value, option)
            translated.append(f"--config={checked_yaml({key: content}, value if is_file else option, keys)}")
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
    check_word(value, option)
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


def load_yaml(path: str) -> dict[str, Any]:
    """Read a YAML file of keys and values."""
    try:
        with open(bundled(path), encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except UnicodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8; save it as UTF-8") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{path}: {error}; name a YAML file of keys and values") from error
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; name a YAML file of keys and values, such as those in recipes/"
        ) from error
    content = parse_yaml(text, path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a YAML file of keys and values; fix it, recipes/ has examples")
    return content


def checked_yaml(content: dict[str, Any], where: str, keys: Keys) -> str:
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
    for key, value in _current_model(dict(flat(content, keys)), where).items():
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
    from ..configuration_kmer_bert import current_settings  # slow to import

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


def flat(content: dict[Any, Any], keys: Keys, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the full keys, such as "data.store", and values of nested sections; a value may be a dictionary."""
    for name, value in content.items():
        key = f"{prefix}{name}"
        is_option = key in keys.known or key in keys.former
        # `heads: {}` has no keys that could be refused. It is taken for a key itself, so that it is refused as one.
        is_unknown_and_empty = not value and not keys.is_section(key)
        if isinstance(value, dict) and not is_option and not is_unknown_and_empty:
            yield from flat(value, keys, f"{key}.")
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
