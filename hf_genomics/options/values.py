"""The values of options: checked where the parser lets too much through, and turned into objects."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from ..io.bundled import bundled, bundled_files
from .messages import failed_section, message_of
from .parser import LINKS, is_section, types_of

#: Keys, without their sections, whose value may be the name of a bundled file or model.
_MAY_BE_BUNDLED = set("pretrained model input files fasta genomes train valid test accessions source setups".split())


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
    from ..saved_settings import shown  # slow to import

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


def check_trainer(settings: Any) -> None:
    """Raise InputError for settings of the Trainer that must be judged before transformers reads them."""
    if settings.output_dir is None:  # transformers would write to ./trainer_output
        raise InputError("trainer.output_dir is not set: name the folder for the model, such as runs/x")
    if settings.deepspeed:  # transformers would advise to install deepspeed, and keep its settings for the process
        from ..training.arguments import NO_DEEPSPEED  # slow to import

        raise InputError(NO_DEEPSPEED)
    if settings.warmup_steps is not None and settings.warmup_steps < 0:  # transformers 5.20 does not say what is wrong
        raise InputError(
            f"trainer.warmup_steps must be 0 or more, not {settings.warmup_steps}; below 1 it is a share of all steps"
        )


def replace_bundled(parsed: Any) -> None:
    """Replace the names of bundled files and models by their paths, in keys that may have such a value."""
    for key, value in dict(parsed.items()).items():
        if key.rpartition(".")[2] in _MAY_BE_BUNDLED:
            parsed[key] = _with_bundled(value)


def _with_bundled(value: Any) -> Any:
    """Return the value of an input, with the paths of bundled files in place of their names."""
    if isinstance(value, list):
        return [path for name in value for path in (bundled_files(name) if isinstance(name, str) else [name])]
    if isinstance(value, dict):
        return {key: _with_bundled(name) for key, name in value.items()}
    return bundled(value) if isinstance(value, str) else value


def classes_of(function: Callable[..., Any]) -> dict[type, str]:
    """Return the class of each section of a verb, and the key of the section.

    With these, an error of a constructor is traced to its section. A class that two sections share is left out, because
    the error does not tell which of them it is about.
    """
    found: dict[type, list[str]] = {}
    for key, kind in types_of(function):
        if is_section(kind):
            found.setdefault(kind, []).append(key)
    return {kind: keys[0] for kind, keys in found.items() if len(keys) == 1}


def instantiate(parser: Any, parsed: Any, classes: dict[type, str]) -> dict[str, Any]:
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
        linked = LINKS.values()  # they only copy a key that the user has set
        given = {key: value for key, value in parsed.items() if key not in linked}
        raise InputError(message_of(error, section, given, dict(parser.get_defaults().items()))) from error
    return {name: value for name, value in vars(built).items() if name != "config"}
