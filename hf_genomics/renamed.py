"""Accept the argument names and YAML keys of version 0.1 in version 0.2, with a warning for each use."""

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

    The decorated object has the table as ``renamed_keys``; the command line uses it to translate options and YAML
    files.

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
        TypeError: if there are too many positional arguments, or an argument is given twice, also by its old and its
            new key; or if an old key that became a field of a section is combined with an optional section that is
            given by position, or with a section whose field is not at its default. A section whose field is at its
            default gets the value of the old key.
    """
    signature = inspect.signature(target, eval_str=True)
    parameters, positional = signature.parameters, signature.bind_partial(*args).arguments
    if twice := sorted(positional.keys() & given.keys()):
        raise TypeError(f"{target.__name__}: {twice[0]!r} is given by position and by name; give it once")
    new = positional | {key: value for key, value in given.items() if key not in keys}
    for old in (key for key in given if key in keys):
        warn_renamed(target.__name__, old, keys[old])
        name, _, field = keys[old].partition(".")
        if not field:
            if name in new:
                raise TypeError(f"{target.__name__}: {old!r} is the old name of {name!r}; give only {name!r}")
            new[name] = given[old]
        elif _conflicts(parameters[name], field, positional, given):
            remedy = f"pass only {name}={parameters[name].annotation.__name__}({field}=...)"
            raise TypeError(f"{target.__name__}: {old!r} and this {name!r} cannot be combined; {remedy}")
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
    section, _, field = new.partition(".")
    place = f" (the field {field!r} of the argument {section!r})" if field else ""
    message = f"{where}: {old!r} is called {new!r} now{place}; the old key will be removed in version 0.3"
    # The line of the call: warn <- warn_renamed <- translated <- wrapper <- that line.
    warnings.warn(message, FutureWarning, stacklevel=4)


def _section(parameter: inspect.Parameter, given: dict[str, Any]) -> Any:
    """Return the section that was given, or its default, or an empty section of the annotated class."""
    cls = parameter.annotation
    if parameter.name not in given:
        return parameter.default if dataclasses.is_dataclass(parameter.default) else cls()
    # Some sections also accept an object of their base class (TrainingArguments for PretrainingArguments). Their class
    # has a method `of`, which converts such an object.
    return cls.of(given[parameter.name]) if hasattr(cls, "of") else given[parameter.name]


def _conflicts(parameter: inspect.Parameter, field: str, positional: dict[str, Any], given: dict[str, Any]) -> bool:
    """Return whether a section was passed that may set a field which an old key sets too."""
    # In version 0.1 the position of an optional section may have belonged to another argument, so it is unclear what
    # the positional value was meant for.
    if parameter.name in positional and parameter.default is not inspect.Parameter.empty:
        return True
    passed = positional | given
    return parameter.name in passed and not _has_default(_section(parameter, passed), field)


def _has_default(section: Any, field: str) -> bool:
    """Return whether a field of a dataclass has its default value; ``field`` may be nested: "section.field"."""
    first, _, rest = field.partition(".")
    value = getattr(section, first)
    if rest:
        return _has_default(value, rest)
    definition = next(one for one in dataclasses.fields(section) if one.name == first)
    if definition.default_factory is not dataclasses.MISSING:
        return bool(value == definition.default_factory())
    return bool(value == definition.default)


def _replaced(section: Any, field: str, value: Any) -> Any:
    """Return a copy of a dataclass with one field changed; ``field`` may be nested: "section.field"."""
    first, _, rest = field.partition(".")
    return dataclasses.replace(section, **{first: _replaced(getattr(section, first), rest, value) if rest else value})
