"""What the messages of the package advise: the options, verbs and extras that they name, and how to follow them.

The messages of a command line are read as a user reads them. `ways_out` finds the command lines that a message asks
for: with a key by the name that was meant, with a value at the bound that the message states, without an option that
is to be omitted, or with an option that is to be added.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import hf_genomics
from hf_genomics.cli import VERBS
from hf_genomics.options import parser
from hf_genomics.options.keys import Keys
from hf_genomics.options.keys import keys_of as keys_of_function
from hf_genomics.options.names import names_here

#: The parser of each verb is built once: that takes half of the time of a refusal.
build_parser = functools.cache(parser.build_parser)

PACKAGE = Path(__file__).parents[1] / "hf_genomics"
#: First parts of the keys of all verbs.
SECTIONS = (
    "columns data features finetuning grid head masking model options pretraining records retry running splits "
    "tokenizer trainer windows".split()
)
GAP = "\ufffc"  # stands for what an f-string fills in

_FILE = re.compile(
    r"\.(bin|csv|fai|html|index|jsonl?|md|npy|parquet|png|py|safetensors|save_pretrained|svg|tsv|txt|yaml)\b"
)
_OPTION = re.compile(r"(?<![\w-])--([a-z_]\w*(?:\.\w+)*)")
_COMMAND = re.compile(r"hf-genomics ([a-z][a-z-]*)((?: --[a-z_.]+ (?:[^\s;,]+))*)")
_KEY = re.compile(rf"(?<![\w./'\"-])((?:{'|'.join(SECTIONS)})(?:\.[a-z_]\w*)+)(?![\w/(])(?!\.[a-z])")
_EXTRA = re.compile(r"hf_genomics\[([a-z,]+)\]")


#: Options that every verb has, or `hf-genomics` itself, and the word that stands for any of them.
_OF_ALL_VERBS = {"config", "help", "debug", "version", "completion", "key", "print_config"}
_OF_OTHERS = {"num_processes"}  # of `accelerate launch`


class Named(NamedTuple):
    """What a message names.

    Attributes:
        keys: options and keys of the verb that the message is about.
        commands: verbs with their options.
        extras: extras of the package.
    """

    keys: list[str]
    commands: list[tuple[str, list[str]]]
    extras: list[str]


def named_in(text: str) -> Named:
    """List the options, keys, verbs and extras that a message names."""
    commands = [(match[1], _OPTION.findall(match[2])) for match in _COMMAND.finditer(text)]
    rest = _COMMAND.sub("", text)
    keys = [found for found in _KEY.findall(rest) if not _FILE.search(found)]
    extras = [name for found in _EXTRA.findall(text) for name in found.split(",")]
    return Named([*_OPTION.findall(rest), *keys], commands, extras)


def is_key(name: str, keys: Keys) -> bool:
    """Return whether a verb has an option or a section of this name, or another name for it."""
    own = keys.known | keys.short.keys() | keys.everywhere.keys() | _OF_ALL_VERBS | _OF_OTHERS
    return name in own or keys.is_section(name) or bool(names_here(name, keys.known))


def unknown_in(text: str, verbs: Collection[str]) -> Iterator[str]:
    """Iterate over what a message names that does not exist, or that none of some verbs has.

    Args:
        text: the message.
        verbs: verbs that may say it.
    """
    found = named_in(text)
    yield from (key for key in found.keys if not any(is_key(key, keys_of(verb)) for verb in verbs))
    for verb, given in found.commands:
        yield from [] if verb in VERBS else [verb]
        yield from (f"{verb} --{key}" for key in given if verb in VERBS and not is_key(key, keys_of(verb)))
    yield from (f"[{extra}]" for extra in found.extras if extra not in _extras())


@functools.cache
def keys_of(verb: str) -> Keys:
    """Return the keys of a verb."""
    function = getattr(hf_genomics, verb.replace("-", "_"))
    return keys_of_function(function, build_parser(function))


@functools.cache
def _extras() -> set[str]:
    """Return the names of the package's extras."""
    section = (PACKAGE.parent / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")[2]
    return set(re.findall(r"^(\w+) = \[", section.partition("\n[")[0], re.MULTILINE))


def texts_of(module: Path) -> Iterator[tuple[int, str]]:
    """Iterate over the texts of a module that may be messages, with their lines; `GAP` is what an f-string fills in.

    Docstrings, texts without a blank, and styles of pages (CSS has names such as --page) are no messages.
    """
    return (
        (line, text)
        for line, text in _all_texts(module)
        if " " in text.strip() and not re.search(r"var\(--|:root", text)
    )


def _all_texts(module: Path) -> Iterator[tuple[int, str]]:
    """Iterate over the texts of a module, without docstrings."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    inside, docstrings = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node)} - {id(node)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values),
            )
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.lineno, node.value


def modules_of(module: str) -> set[str]:
    """Return the modules of the package that a module imports, directly or not, and itself.

    Args:
        module: its name, such as "hf_genomics.finetuning.finetune".
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and (path := _path_of(name)):
            seen.add(name)
            waiting += _imports(name, path)
    return seen


@functools.cache
def _path_of(module: str) -> Path | None:
    """Return the file of a module of the package; None for any other name."""
    place = PACKAGE.parent / module.replace(".", "/")
    found = [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
    return found[0] if found and module.startswith("hf_genomics") else None


@functools.cache
def _imports(module: str, path: Path) -> list[str]:
    """List the names that a module imports relatively, each as it would be called if it were a module."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


# Following a message.


class Line:
    """A command line whose options can be changed.

    Args:
        words: its words, the verb first.
        keys: the keys of the verb.
    """

    def __init__(self, words: list[str], keys: Keys) -> None:
        self._keys = keys
        starts = [place for place, word in enumerate(words) if word.startswith("--")] + [len(words)]
        self._before = words[: starts[0]]
        self._parts = [words[start:end] for start, end in zip(starts[:-1], starts[1:], strict=True)]

    def key_of(self, name: str) -> str:
        """Return the key that a name stands for: on the command line, some keys have shorter names."""
        short = self._keys.everywhere | self._keys.short | self._keys.former
        return short.get(name, name)

    def _at(self, key: str) -> int | None:
        """Return the place of an option among the options; None if it is not given."""
        names = [part[0].partition("=")[0].removeprefix("--") for part in self._parts]
        places = [place for place, name in enumerate(names) if self.key_of(name) == self.key_of(key)]
        return places[-1] if places else None

    def has(self, key: str) -> bool:
        """Return whether an option is given."""
        return self._at(key) is not None

    def value_of(self, key: str) -> str | None:
        """Return the value of an option; None if it is not given."""
        place = self._at(key)
        return None if place is None else self._parts[place][-1]

    def words(self) -> list[str]:
        """Return the words."""
        return [*self._before, *(word for part in self._parts for word in part)]

    def without(self, key: str) -> list[str]:
        """Return the words without an option and its values."""
        gone = self._at(key)
        return [*self._before, *(word for place, part in enumerate(self._parts) if place != gone for word in part)]

    def with_value(self, key: str, value: str) -> list[str]:
        """Return the words with an option set to a value."""
        place = self._at(key)
        name = f"--{key}" if place is None else self._parts[place][0].partition("=")[0]
        part = [f"{name}={value}"] if value.startswith("-") else [name, value]
        return [*self.without(key), *part]  # at the end, because later options win over a file

    def renamed(self, key: str, name: str) -> list[str]:
        """Return the words with another name for an option."""
        return [
            re.sub(rf"^--{re.escape(key)}(?=$|=)", f"--{name}", word) if word.startswith("--") else word
            for word in self.words()
        ]


_NUMBER = r"-?[\d][\d,]*(?:\.\d+)?(?:e-?\d+)?(?:\^\d+)?(?: - 1)?"
_SUBJECT = r"(?:--)?([a-z_]\w*(?:\.\w+)*)"
_BOUNDS = re.compile(
    rf"{_SUBJECT}(?: \([^()]*\))? must (?:be|lie) [^;]*?"
    rf"(?:in ({_NUMBER})\.\.({_NUMBER})|above (\d+) and at most ({_NUMBER})|between ({_NUMBER}) and ({_NUMBER})"
    rf"|at least ({_NUMBER})|at most ({_NUMBER})|above (\d+)|({_NUMBER}) or more)(?! bits)"
)
_CHOICE = re.compile(rf"{_SUBJECT} must be (?:one of )?((?:['\w.:-]+(?:, | or |, or ))+['\w.:-]+)(?=,? not |;|$)")
_SETTING = re.compile(
    rf"(?:set|pass|add|give|is|with|and|to|or) (?:only )?(?:--)?{_SUBJECT}(?: to)? "
    r"(true|false|null|none|auto|bert|[a-z]+_[a-z_]+|\d[\d.]*)\b"
)
_OMIT = re.compile(r"\b[Oo]mit (it\b|one\b|them\b|--?\w[\w.]*|[a-z_]\w*(?:\.\w+)*)")


def _value(text: str) -> str:
    """Return a number of a message as a command line has it."""
    text, minus, _ = text.replace(",", "").partition(" - 1")
    base, _, power = text.partition("^")
    return str(int(base) ** int(power) - bool(minus)) if power else text


def ways_out(words: list[str], message: str, keys: Keys) -> Iterator[list[str]]:
    """Iterate over the command lines that follow the advice of a message.

    Args:
        words: the words of the command line that was refused, the verb first.
        message: the message, without the program's name.
        keys: the keys of the verb.

    Yields:
        Other command lines; none if the message asks for something else, such as another file.
    """
    line = Line(words, keys)
    message = message.split("; see hf-genomics")[0]
    yield from _other_names(line, message)
    if "unknown key" in message:
        return
    known = keys.known | keys.short.keys() | keys.everywhere.keys()
    yield from (line.with_value(key, value) for key, value in _values(message) if line.key_of(key) in known)
    for match in _SETTING.finditer(message):
        if line.key_of(match[1]) in known and not re.search(
            rf"{re.escape(match[0])}\b,? (?:is|was|must|needs)", message
        ):
            yield line.with_value(match[1], match[2])
    given = [key for key in _keys_in(message) if line.has(key)]
    yield from _replacements(line, message, given)
    # A word such as "pretrained" is a key only where the message names no key with its section.
    yield from _omissions(line, message, [key for key in given if "." in key] or given)


def _values(message: str) -> Iterator[tuple[str, str]]:
    """Iterate over the keys to which a message allows certain values, with each of these values."""
    for match in _BOUNDS.finditer(message):
        yield from ((match[1], _value(bound)) for bound in _bounds(match))
    for match in _CHOICE.finditer(re.sub(r" \([^()]*\)", "", message)):
        values = [] if "or more" in match[2] else re.split(r", or |, | or ", match[2])
        yield from ((match[1], value.strip("'")) for value in values if not re.search(r"[A-Z]", value))
    if match := re.search(rf"{_SUBJECT}:? .*name one of \[?('[^']+'(?:, '[^']+')*)", message):
        yield from ((match[1], value) for value in re.findall(r"'([^']+)'", match[2]))
    for match in re.finditer(rf"set {_SUBJECT} to another score, such as (\w+)", message):
        yield match[1], match[2]
    if match := re.search(rf"set (?:it|{_SUBJECT}) to (\w+) or (\w+)$", message):
        key = match[1] or next(iter(re.findall(r"^--([\w.]+) is", message)), "")
        yield from ((key, value) for value in (match[2], match[3]))
    if match := re.search(rf"{_SUBJECT} must be (true|false|0|null)\b", message):
        yield match[1], match[2]
    if match := re.search(r"key \"([\w.]+)\": .*typing\.Literal\[([^]]+)\]", message):
        yield from ((match[1], value) for value in re.findall(r"'([^']+)'", match[2]))


def _replacements(line: Line, message: str, given: list[str]) -> Iterator[list[str]]:
    """Iterate over the command lines in which the option that a message is about has another value, or another name."""
    for key in given[:1]:
        if match := re.search(r"; use (\w+)$|\(the metrics are (\w+)", message):
            yield line.with_value(key, match[1] or match[2])
        for value in re.findall(r"(?:set it|or) to (last:\d+|all|auto|false)\b", message):
            yield line.with_value(key, value)
        if match := re.search(r"set ([\w.]+), which a CPU can do", message):
            yield line.renamed(key, match[1])
        if re.search(r"must (?:not be set|be empty|keep)|has no effect", message):
            yield line.without(key)
    if message.endswith("set data.valid") and (table := line.value_of("data.train")):
        yield line.with_value("data.valid", table)


def _bounds(match: re.Match[str]) -> list[str]:
    """Return the smallest and the largest value that a message allows."""
    found = [value for value in match.groups()[1:] if value is not None]
    if match[4] is not None:  # the smallest value is excluded
        found = found[1:]
    if match[10] is not None:
        found = [str(int(match[10]) + 1)] if "below" not in match.string[match.end() : match.end() + 12] else ["0.5"]
    after = match.string[match.end() : match.end() + 15]
    return found[:1] if "1 excluded" in after else found[1:] if "0 excluded" in after else found


def _other_names(line: Line, message: str) -> Iterator[list[str]]:
    """Iterate over the command lines with a word that the message takes for what was meant."""
    if unwanted := re.search(r"unknown key '([^']+)'; omit it", message):
        yield line.without(unwanted[1])
    meant = re.search(r"did you mean ('[^']+'(?: or '[^']+')*)\?", message)
    if not meant:
        return
    names = re.findall(r"'([^']+)'", meant[1])
    if unknown := re.search(r"unknown key '([^']+)'", message):
        yield from (line.renamed(unknown[1], name) for name in names)
        return
    wrong = re.findall(r"'([^']+)'", message[: meant.start()])
    for word in wrong:
        if word in line.words():
            yield [names[0] if one == word else one for one in line.words()]


def _keys_in(message: str) -> list[str]:
    """List all words of a message that may be keys, in the order of the message."""
    return [*dict.fromkeys(re.findall(r"(?<![\w.'/])(?:--)?([a-z_]\w*(?:\.\w+)*)(?![\w'(/])", message))]


def _omissions(line: Line, message: str, given: list[str]) -> Iterator[list[str]]:
    """Iterate over the command lines without the options that a message asks to omit."""
    for match in _OMIT.finditer(message):
        what = match[1].lstrip("-")
        if what == "it" and given:
            yield line.without(given[0])
        elif what in ("one", "them"):
            yield from (line.without(key) for key in given[:2])
        elif line.has(what):
            yield line.without(what)
    if re.search(r"(?:pass only|give|name|use|set) one of (?:them|the two)", message):
        yield from (line.without(key) for key in given[:2])


# The places where messages are made.


class Site(NamedTuple):
    """A place where a message is made.

    Attributes:
        module: path of the module below the package.
        first: its first line.
        last: its last line.
        text: the message, with `GAP` for what is filled in.
    """

    module: str
    first: int
    last: int
    text: str


_ADVICE = re.compile(r"--[a-z]|hf-genomics [a-z]|\b([Oo]mit|set|pass|did you mean|must be|must lie|one of)\b")


def sites_of(package: Path = PACKAGE) -> Iterator[Site]:
    """Iterate over the places of the package that make an `InputError` which advises an option, a key or a value."""
    for module in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "InputError":
                text = "".join(_pieces(node.args[0])) if node.args else ""
                if _ADVICE.search(text):
                    yield Site(str(module.relative_to(package)), node.lineno, node.end_lineno or node.lineno, text)


def _pieces(node: ast.expr) -> Iterator[str]:
    """Iterate over the pieces of a message, with `GAP` for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield str(part.value) if isinstance(part, ast.Constant) else GAP
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    else:
        yield GAP
