"""Accept renamed arguments (also keys of YAML files) by their names of version 0.1; each use causes a warning."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Target = TypeVar("Target", bound=Callable[..., Any])


def renamed(**keys: str) -> Callable[[Target], Target]:
    """Accept old keyword arguments of a function or dataclass in addition to the new ones.

    The decorated object carries the table as ``renamed_keys``, from which the command line translates options and
    YAML files.

    Args:
        keys: old key -> new key; "section.key" names a field of the argument ``section``, which is a dataclass.

    >>> @renamed(packing="storage")
    ... def prepare(storage="8bit"):
    ...     return storage
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     prepare(packing="2bit"), str(caught[0].message)
    ('2bit', "prepare: 'packing' is called 'storage' now; the old key will be removed in version 0.3")
    """

    def decorate(target: Target) -> Target:
        original: Any = vars(target)["__init__"] if inspect.isclass(target) else target

        @functools.wraps(original)
        def wrapper(*args: Any, **given: Any) -> Any:
            if keys.keys() & given.keys():
                num_self = int(inspect.isclass(target))  # the __init__ of a class gets the new object first
                args, given = args[:num_self], translated(target, args[num_self:], given, keys)
            return original(*args, **given)

        decorated: Any = wrapper
        if inspect.isclass(target):
            decorated = target
            decorated.__init__ = wrapper
        decorated.renamed_keys = keys
        return decorated

    return decorate


def translated(
    target: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any], keys: dict[str, str]
) -> dict[str, Any]:
    """Return all arguments as keyword arguments under their new names, and warn about each old one.

    Args:
        target: the function or class that is called.
        args: the positional arguments of the call.
        given: the keyword arguments of the call, by old or new names.
        keys: old key -> new key.

    Raises:
        TypeError: if a value is given by its old and its new key.
    """
    parameters = inspect.signature(target, eval_str=True).parameters
    positional = dict(zip(parameters, args, strict=False))
    new = positional | {key: value for key, value in given.items() if key not in keys}
    for old in (key for key in given if key in keys):
        warn_renamed(target.__name__, old, keys[old])
        name, _, field = keys[old].partition(".")
        if not field:
            if name in new:
                raise TypeError(f"{target.__name__}: {old!r} is the old name of {name!r}; give only {name!r}")
            new[name] = given[old]
        elif name in positional and parameters[name].default is not inspect.Parameter.empty:
            # An optional argument given by position may be meant for the argument that had this position before.
            raise TypeError(f"{target.__name__}: set {keys[old]!r} instead of {old!r}")
        else:
            new[name] = _replaced(_section(parameters[name], new), field, given[old])
    return new


def warn_renamed(where: str, old: str, new: str) -> None:
    """Warn that a key has a new name.

    Args:
        where: the function, class or file that was given the key.
        old: the key of version 0.1.
        new: the new key.
    """
    message = f"{where}: {old!r} is called {new!r} now; the old key will be removed in version 0.3"
    # The line of the call: warn <- warn_renamed <- translated <- wrapper <- that line.
    warnings.warn(message, FutureWarning, stacklevel=4)


def _section(parameter: inspect.Parameter, given: dict[str, Any]) -> Any:
    """Return the section that was given, or its default, or an empty section of the annotated class."""
    cls = parameter.annotation
    if parameter.name not in given:
        return parameter.default if dataclasses.is_dataclass(parameter.default) else cls()
    # Some sections also accept an object of their base class (TrainingArguments for PretrainingArguments); their class
    # method `of` converts it.
    return cls.of(given[parameter.name]) if hasattr(cls, "of") else given[parameter.name]


def _replaced(section: Any, field: str, value: Any) -> Any:
    """Return a copy of a dataclass with one field changed; ``field`` may be nested: "section.field"."""
    first, _, rest = field.partition(".")
    return dataclasses.replace(section, **{first: _replaced(getattr(section, first), rest, value) if rest else value})
