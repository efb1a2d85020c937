"""The errors that the command line reports in one line, and the rules for every line that a user reads.

A sequence may be confidential, and a file may hold anything: a line for a user shows at most 30 letters of sequences,
and no character that would start a new line or steer the terminal.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator

MOST_LETTERS = 30  # of sequences, in one line

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
_COUNTED = 12  # a shorter run of letters is taken for a name or a word
_WORD = re.compile(r"[^\s'\",;()]+")


class InputError(ValueError):
    """A mistake in the input (exit code 2): the message names file, record or row, value and rule, and the remedy."""

    def __init__(self, message: object) -> None:
        super().__init__(line_for_user(str(message)))


class StoppedError(BaseException):
    """The end of a command that a signal stopped, or of a run in which another process has ended.

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
    return cut_sequences(escape_controls(text))


def lines_for_user(text: str) -> str:
    """Return a text of several lines that is safe to show, as `line_for_user` does for one line."""
    return "\n".join(map(escape_controls, cut_sequences(text).split("\n")))


def escape_controls(text: str) -> str:
    r"""Escape line ends and all characters that are invisible or steer a terminal.

    >>> print(escape_controls("two\nlines, \x1b[31mred"))
    two\nlines, \x1b[31mred
    """
    if text.isprintable():
        return text
    return "".join(_escaped(letter) if unicodedata.category(letter) in _HIDDEN else letter for letter in text)


_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _escaped(letter: str) -> str:
    """Return the escape sequence of a character, as Python writes it."""
    return letter.encode("unicode_escape").decode() if not "\ud800" <= letter <= "\udfff" else f"\\u{ord(letter):04x}"


def cut_sequences(text: str) -> str:
    """Cut the sequences in a text, so that at most 30 letters of them remain in all; names of files stay whole.

    A sequence may be broken by blanks, line ends, escaped characters, quotes or numbers, as k-mers, wrapped lines, the
    cells of a row and the lines of GenBank are.

    Args:
        text: one line for a user. If it begins with a path and a colon, the path stays whole, and so does the name of
            every existing file.
    """
    start = len(_leading_path(text))
    for kind in _PIECES:
        text = text[:start] + _cut(text[start:], kind)
    return text


def _leading_path(text: str) -> str:
    """Return the path with which a message begins, "" if it begins with something else."""
    path, colon, _ = text.partition(": ")
    is_path = colon and not set(path) & set("'\"") and ("/" in path or "." in path or _is_file(path))
    return path if is_path else ""


def _is_file(path: str) -> bool:
    """Return whether a file or folder of this name exists."""
    try:
        return os.path.lexists(path)
    except ValueError:  # a NUL in the name
        return False


def _cut(text: str, kind: str) -> str:
    """Cut the sequences of one kind in a text."""
    left = MOST_LETTERS
    parts, done = [], 0
    for pieces in _runs(text, kind):
        length = sum(end - start for start, end in pieces)
        begin, end = pieces[0][0], pieces[-1][1]
        if length < _COUNTED or (length <= left and kind == "nucleotides"):
            left -= length if length >= _COUNTED else 0
            continue
        if (kind == "protein" and length <= MOST_LETTERS) or _in_file_name(text, begin, end):
            continue
        parts += [text[done:begin], _first_letters(text, pieces, max(left, 0))]
        if not text.startswith("...", end):
            parts.append("...")
        left, done = 0, end
    return "".join(parts) + text[done:]


def _runs(text: str, kind: str) -> Iterator[list[tuple[int, int]]]:
    """Iterate over the sequences in a text, each as the starts and ends of its pieces."""
    text = _ESCAPE.sub(lambda match: "\0" * len(match[0]), text)  # its letters are not part of a sequence
    pieces: list[tuple[int, int]] = []
    for match in _PIECES[kind].finditer(text):
        place = match.span()
        if pieces and not (
            _is_like(text, pieces[-1], kind)
            and _is_like(text, place, kind)
            and _BETWEEN[kind].fullmatch(text, pieces[-1][1], place[0])
        ):
            yield _without_article(text, pieces)
            pieces = []
        pieces.append(place)
    if pieces:
        yield _without_article(text, pieces)


def _without_article(text: str, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Remove a last piece such as the word "a" that follows a quoted sequence: "'ACGT'; a record"."""
    if len(pieces) > 1 and pieces[-1][1] - pieces[-1][0] < 3 <= pieces[-2][1] - pieces[-2][0]:
        between = text[pieces[-2][1] : pieces[-1][0]]
        return pieces[:-1] if re.search(r"['\");:,]\s", between) else pieces
    return pieces


def _is_like(text: str, place: tuple[int, int], kind: str) -> bool:
    """Return whether a piece alone looks like a part of a sequence, and not like a word or a name such as "chr"."""
    piece = text[slice(*place)]
    return kind == "protein" or len(piece) >= 8 or sum(letter in _BASES for letter in piece) >= 0.75 * len(piece)


def _first_letters(text: str, pieces: list[tuple[int, int]], count: int) -> str:
    """Return the first letters of a sequence, with what stands between its pieces."""
    for start, end in pieces:
        if end - start >= count:
            return text[pieces[0][0] : start + count] if count else ""
        count -= end - start
    return text[pieces[0][0] : pieces[-1][1]]


def _in_file_name(text: str, begin: int, end: int) -> bool:
    """Return whether a stretch of a text is part of the name of an existing file."""
    words = (word for word in _WORD.finditer(text) if word.start() <= begin and end <= word.end())
    return any(_is_file(word[0].rstrip(".:")) for word in words)
