"""The errors that the command line reports in one line, and the rules for every line that a user reads.

A sequence may be confidential, and a file may hold anything: a line for a user shows at most 30 letters of sequences
in all, and no character that would start a new line or steer the terminal. In a private run it names no record either.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator

MOST_LETTERS = 30  # of all sequences in one line

_PIECES = {
    "nucleotides": re.compile(r"[ACGTUNRYSWKMBDHV]+", re.IGNORECASE),
    # Protein sequences use nearly all letters, so only length and case distinguish them from names and prose.
    "protein": re.compile(r"[A-Z]{10,}|[a-z]{20,}"),
}
# What may stand between two pieces of one sequence.
_BETWEEN = {"nucleotides": re.compile(r"[^A-Za-z]+"), "protein": re.compile(r"[\s\0*.-]+")}
_ESCAPE = re.compile(
    r"\\x1b\[[0-9;]*[A-Za-z]|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\[abfnrtv]"  # such as \n, \x1b[31m
)
_BASES = frozenset("ACGTUNacgtun")
# Letters of a sequence of nucleotides; fewer in a row are taken for a name or a word. The codes of several nucleotides
# spell words, such as "standard"; the letters A, C, G, T, U and N alone do not.
_SHORTEST, _SHORTEST_OF_BASES = 12, 8
_WORD = re.compile(r"[^\s'\",;()]+")


class InputError(ValueError):
    """A mistake in the input (exit code 2): the message names file, record or row, value and rule, and the remedy."""

    def __init__(self, message: object) -> None:
        super().__init__(line_for_user(str(message)))


class StoppedError(BaseException):
    """The end of a command that a signal stopped, or of one process of a run because another of its processes ended.

    Like KeyboardInterrupt, it is not a subclass of Exception, so ``except Exception`` does not swallow it.

    Attributes:
        code: exit code: 128 + the number of the signal, or 1 if another process has ended.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(line_for_user(message))
        self.code = code


def line_for_user(text: str) -> str:
    """Return a text as one line that is safe to show: control characters are escaped, and sequences are cut.

    >>> line_for_user("x.fa: text before the first header: '" + "ACGT" * 20 + "'")
    "x.fa: text before the first header: 'ACGTACGTACGTACGTACGTACGTACGTAC...'"
    """
    return cut_sequences(hide_names(escape_controls(text)))


def lines_for_user(text: str) -> str:
    """Return a text of several lines that is safe to show, as `line_for_user` does for one line."""
    # Sequences are cut before the text is split into lines, because a sequence may continue on the next line.
    return "\n".join(map(escape_controls, cut_sequences(hide_names(text)).split("\n")))


# Categories of Unicode: control and format characters, surrogates, private use, not assigned, ends of lines and of
# paragraphs.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def escape_controls(text: str) -> str:
    r"""Escape line ends and all characters that are invisible or steer a terminal.

    >>> print(escape_controls("two\nlines, \x1b[31mred"))
    two\nlines, \x1b[31mred
    """
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in _INVISIBLE else letter
        for letter in text
    )


def cut_sequences(text: str) -> str:
    """Cut the sequences in a text, so that at most 30 letters of them remain in all; names of files stay whole.

    A sequence may be broken by blanks, line ends, escaped characters, quotes or numbers, as k-mers, wrapped lines, the
    cells of a row and the lines of GenBank are. What could be a word does not count as a sequence: fewer than 12
    nucleotides (fewer than 8 if all are A, C, G, T, U or N), or up to 30 letters of protein.

    Args:
        text: one line for a user. The names of existing files stay whole. If the text begins with a path and a colon,
            so does the path, because it may be that of a file that is missing.
    """
    path, remaining = _leading_path(text), MOST_LETTERS
    parts = []
    for part, is_path in ((path, True), (text[len(path) :], False)):
        for kind in _PIECES:
            part, remaining = _cut(part, kind, remaining, is_path)
        parts.append(part)
    return "".join(parts)


def _leading_path(text: str) -> str:
    """Return the beginning of a message, up to the first colon, if it may hold a path; otherwise ""."""
    path, colon, _ = text.partition(": ")
    may_be_path = not set(path) & set("'\"") and ("/" in path or "." in path)
    return path if colon and (may_be_path or _is_file(path)) else ""


def _is_file(path: str) -> bool:
    """Return whether a file or folder of this name exists."""
    try:
        return os.path.lexists(path)
    except ValueError:  # a NUL in the name
        return False


def _cut(text: str, kind: str, remaining: int, is_path: bool) -> tuple[str, int]:
    """Cut the sequences of one kind in a text.

    Args:
        text: the text.
        kind: "nucleotides" or "protein".
        remaining: number of letters of sequences that may still be shown.
        is_path: whether the text begins a message and may hold the path of a missing file.

    Returns:
        The new text, and how many letters may be shown after it.
    """
    parts, done = [], 0  # the new text, as far as position `done` of the old one
    for pieces in _sequences_in(text, kind):
        letters = "".join(text[slice(*place)] for place in pieces)
        length, begin, end = len(letters), pieces[0][0], pieces[-1][1]
        if _may_be_word(letters, kind) or _in_file_name(text, begin, end, is_path):
            continue
        if length <= remaining:
            remaining -= length
            continue
        parts += [text[done:begin], _first_letters(text, pieces, remaining)]
        if not text.startswith("...", end):
            parts.append("...")
        remaining, done = 0, end
    return "".join(parts) + text[done:], remaining


def _may_be_word(letters: str, kind: str) -> bool:
    """Return whether letters are so few that they may be a word or a name."""
    if kind == "protein":
        return len(letters) <= MOST_LETTERS
    return len(letters) < (_SHORTEST_OF_BASES if _BASES.issuperset(letters) else _SHORTEST)


def _sequences_in(text: str, kind: str) -> Iterator[list[tuple[int, int]]]:
    """Iterate over the sequences in a text, each as the starts and ends of its pieces."""
    text = _ESCAPE.sub(lambda match: "\0" * len(match[0]), text)  # its letters are not part of a sequence
    pieces: list[tuple[int, int]] = []
    for match in _PIECES[kind].finditer(text):
        place = match.span()
        if pieces and not (
            _may_belong(text, pieces[-1], kind)
            and _may_belong(text, place, kind)
            and _BETWEEN[kind].fullmatch(text, pieces[-1][1], place[0])
        ):
            yield _without_article(text, pieces)
            pieces = []
        pieces.append(place)
    if pieces:
        yield _without_article(text, pieces)


def _without_article(text: str, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Remove a last piece of one or two letters if it is a word, such as "a" after a quotation: "'ACGT'; a record"."""
    if len(pieces) > 1 and pieces[-1][1] - pieces[-1][0] < 3:
        between = text[pieces[-2][1] : pieces[-1][0]]
        is_long = pieces[-2][1] - pieces[-2][0] >= 3
        # After a bracket or a closing quote with ";" or ":", it is a word. After a single mark, such as a comma, it is
        # one only if the piece before it is long; marks between short pieces may separate the letters of one sequence.
        is_word = re.search(r"['\")][;:]\s$", between) or (is_long and re.search(r"['\");:,]\s", between))
        return pieces[:-1] if is_word else pieces
    return pieces


def _may_belong(text: str, place: tuple[int, int], kind: str) -> bool:
    """Return whether a piece alone looks like a part of a sequence, and not like a word or a name such as "chr"."""
    piece = text[slice(*place)]
    # A short piece must be mostly A, C, G, T, U and N, because the codes of several nucleotides also spell words.
    return kind == "protein" or len(piece) >= 8 or sum(letter in _BASES for letter in piece) >= 0.75 * len(piece)


def _first_letters(text: str, pieces: list[tuple[int, int]], count: int) -> str:
    """Return the first letters of a sequence, with what stands between its pieces."""
    for start, end in pieces:
        if end - start >= count:
            return text[pieces[0][0] : start + count] if count else ""
        count -= end - start
    return text[pieces[0][0] : pieces[-1][1]]


def _in_file_name(text: str, begin: int, end: int, is_path: bool) -> bool:
    """Return whether a stretch of a text is part of the name of an existing file, or of a path as in `_cut`."""
    if is_path and _is_file(text):
        return True
    found = (word for word in _WORD.finditer(text) if word.start() <= begin and end <= word.end())
    words = [word[0].rstrip(".:") for word in found]
    return any(_is_file(word) or (is_path and _looks_like_path(word)) for word in words)


def _looks_like_path(word: str) -> bool:
    """Return whether a word looks like a path; alleles ("ACG/T") and aligned letters ("AC..GT") do not."""
    rest = word.replace("/", "").replace(".", "")
    return len(rest) < len(word) and not _BASES.issuperset(rest)


# Private runs.

#: Environment variable that makes a run private, unless it is empty. Its value is the key of the hashes that stand for
#: names, so that all processes of a run show the same hashes; whoever knows it can guess names.
_VARIABLE = "HF_GENOMICS_PRIVATE"
# A text by which a message may show the name of a record (whole or shortened, escaped, or as Python's repr) -> the text
# whose hash stands for it: the name, or the shortened name.
_names: dict[str, str] = {}
_lengths: set[int] = set()  # lengths of the texts in _names, in characters
_SHORTENED = (60, 30, 20)  # characters after which messages cut a name
_QUOTED = re.compile(r"'[^'\n]+'|\"[^\"\n]+\"")
_BREAK = re.compile(r"[\s'\"]")
_UNBROKEN = re.compile(r"[^\s'\"]+")
_EDGE = r"(?:(?<!\w)|(?!\w))"  # not between two letters or digits


@contextlib.contextmanager
def private_run(asked: bool) -> Iterator[None]:
    """Hide names of records in what is shown, and write files for their owner only, while the block lasts.

    Args:
        asked: whether the user asked for it. The variable HF_GENOMICS_PRIVATE asks for it, too; its value should be a
            secret, because it is the key of the hashes.
    """
    if not (asked or is_private()):
        yield
        return
    given = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = given or secrets.token_hex(16)
    umask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(umask)
        _names.clear()
        _lengths.clear()
        if given is None:
            del os.environ[_VARIABLE]


def is_private() -> bool:
    """Return whether this run is private."""
    return bool(os.environ.get(_VARIABLE))


def keep_secret(names: Iterable[str]) -> None:
    """Hide names of records in all lines that are shown from now on, if this run is private.

    Args:
        names: names that have been read from a file.
    """
    if not is_private():
        return
    for name in names:
        shortened = [f"{name[: most - 3]}..." for most in _SHORTENED if len(name) > most]
        for text in (name, *shortened):
            # Messages write a text as it is, with control characters escaped, or as Python's repr does. A shortened
            # name has a hash of its own, because several names may be shortened to the same text.
            written = (text, escape_controls(text), repr(text)[1:-1])
            _names.update(dict.fromkeys(written, text))
            _lengths.update(map(len, written))


def shown_name(name: str) -> str:
    """Return the name of a record as it may be shown: its hash in a private run.

    Args:
        name: the name.
    """
    if not is_private() or not name:
        return name
    key = os.environ[_VARIABLE].encode()[:64]  # blake2b accepts at most 64 bytes
    return "#" + hashlib.blake2b(name.encode("utf-8", "replace"), key=key, digest_size=4).hexdigest()


def hide_names(text: str) -> str:
    """Replace the names of records in a text by their hashes, if this run is private; names of files stay.

    A name is hidden if it is all that stands in quotes, or if it stands between blanks and punctuation. In the second
    case, numbers and names of one or two characters stay, because most of them are something else. A name that contains
    a blank or a quote is hidden wherever it stands.

    Args:
        text: one or several lines for a user.
    """
    if not _names or not is_private():
        return text
    path = text.partition(": ")[0]
    # Stricter than `_leading_path`: what only looks like a path may be a name.
    start = len(path) if _is_file(path) else 0
    path, text = text[:start], text[start:]
    found = sorted((name for name in _names_in(text) if len(name) > 2), key=len, reverse=True)
    # The patterns end at blanks and quotes, so names that contain one are replaced first.
    for name in filter(_BREAK.search, found):
        text = text.replace(name, shown_name(_names[name]))
    text = _QUOTED.sub(lambda match: _hidden_in_quotes(match[0]), text)
    return path + _UNBROKEN.sub(lambda match: _hidden_in_word(match[0], found), text)


def _names_in(text: str) -> set[str]:
    """Return the names that a text contains."""
    # A genome has a few names, and a file of reads has millions: then it is faster to look up each part of the text.
    if len(_names) <= len(text) * len(_lengths):
        return {name for name in _names if name in text}
    parts = (text[start : start + length] for length in _lengths for start in range(len(text) - length + 1))
    return {part for part in parts if part in _names}


def _hidden_in_quotes(quoted: str) -> str:
    """Return a text in quotes with its content hidden if it is a name."""
    name = _names.get(quoted[1:-1])
    return quoted if name is None else f"{quoted[0]}{shown_name(name)}{quoted[-1]}"


def _hidden_in_word(word: str, names: Iterable[str]) -> str:
    """Return a word with the names in it hidden; the name of an existing file stays.

    Args:
        word: characters without blanks and quotes, such as "(s7|x):".
        names: names that may be in it, the longest first; numbers among them stay.
    """
    names = [name for name in names if name in word and not name.isdigit()]
    if names and not _is_file(word.rstrip(".:,;")):
        for name in names:
            word = re.sub(f"{_EDGE}{re.escape(name)}{_EDGE}", shown_name(_names[name]), word)
    return word
