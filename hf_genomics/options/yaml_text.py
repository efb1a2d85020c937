"""Read a YAML text that a stranger may have written: bounded in size, and without a key that is given twice."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from ..errors import InputError
from .messages import one_line

# A long whole number in base 2, 8 or 16. Python refuses to read long decimal numbers, but reads these, and can then
# neither write them nor compute with them in reasonable time.
_LONG_NUMBER = re.compile(r"[-+]?0[xXoObB0-7][0-9a-fA-F_]{999,}")

#: Limits of a YAML file: characters, values with all aliases written out, and levels of nesting.
MOST_CHARACTERS, _MOST_VALUES, _DEEPEST = 1_000_000, 20_000, 20
#: Kinds of keys on which the parser fails: YAML reads null and ~ as no value at all.
_NOT_NAMES = {"tag:yaml.org,2002:null"}


def parse_yaml(text: str, where: str) -> Any:
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

    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has more than {MOST_CHARACTERS:,} characters")
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
    check_unique(yaml.compose(text, Loader=yaml.SafeLoader))


def check_word(value: str, option: str) -> None:
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


def check_unique(node: Any) -> None:
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
