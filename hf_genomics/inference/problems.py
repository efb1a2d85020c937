"""What keeps a sequence from being scored: found before, while or after the model reads it, counted and reported.

One sequence that cannot be scored does not fail the whole file: its scores are NaN in memory and empty cells in a
table, and one warning says how many there are. Three cases differ:

- a window without a known token (all N, or only other IUPAC codes) says nothing about its sequence, so it is omitted
  from the mean over the windows; only a sequence without any known token has no score;
- a sequence that is too short, or has a letter that is not a nucleotide, has no score;
- a window for which the model returns NaN or infinity (an overflow in half precision) leaves its sequence without one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch

from ..errors import InputError
from ..io.files import shorten
from ..io.text_tables import kind_of
from ..labelled.datasets import Source
from ..labelled.sequences import LabelledSequences, rows_with_known_kmers
from ..labelled.tables import cell_letter_error
from ..sequence_files.fasta import find_wrong_letter, letter_at
from ..tokenization_kmer import KmerTokenizer

if TYPE_CHECKING:
    from .windows import Window

logger = logging.getLogger(__name__)

Kind: TypeAlias = Literal["short", "long", "letters", "unknown", "overflow"]
ScoredWindow: TypeAlias = "tuple[Window, np.ndarray]"
Item = TypeVar("Item")

#: Share of unknown tokens above which a warning says that a prediction rests on little evidence.
MOSTLY_UNKNOWN = 0.5

_WHAT: dict[Kind, str] = {
    "short": "shorter than the model reads",
    "long": "of pairs longer than the model reads",
    "letters": "with a letter that is not DNA",
    "unknown": "without a known k-mer",
    "overflow": "for which the model returns NaN or infinity",
}
#: Problems of one window that leave its whole sequence without a score.
_OF_THE_SEQUENCE = ("short", "long", "letters", "overflow")
_MOST_NAMES = 3  # in a warning
_MOST_HELD = 1000  # windows at the beginning of a file, none of them DNA, after which the file is refused


class Problem(NamedTuple):
    """Why a window cannot be scored.

    Attributes:
        kind: "short" (no whole k-mer), "long" (a pair that does not fit the model), "letters" (a letter is not a
            nucleotide), "unknown" (no known token) or "overflow" (the model returns NaN or infinity).
        message: the rest of an error message about the sequence: value, rule and remedy.
    """

    kind: Kind
    message: str


UNKNOWN = Problem(
    "unknown",
    "has no k-mer of A, C, G and T only among those that the model reads, so there is nothing to predict from; drop it",
)
OVERFLOW = Problem(
    "overflow",
    "the model returns NaN or infinity for it (an overflow in half precision?); use a model saved in float32",
)


def too_short(length: int, shortest: int) -> Problem:
    """Return the problem of a sequence of ``length`` nt for a model that reads at least ``shortest`` nt."""
    rule = "is empty" if not length else f"{length} nt is shorter than the {shortest} nt that the model reads"
    return Problem("short", f"{rule}; drop it")


def too_long(lengths: Sequence[int], tokens: int, positions: int) -> Problem | None:
    """Return the problem of a pair of sequences that gives more tokens than the model reads, or None."""
    if tokens <= positions:
        return None
    both = " and ".join(map(str, lengths))
    return Problem("long", f"{both} nt give {tokens} tokens, the model takes {positions}; shorten it")


def examined(windows: Iterable[Window]) -> Iterator[Window]:
    """Iterate over windows; those with a letter that is not a nucleotide get a problem.

    Args:
        windows: windows of unchecked letters.
    """
    for window in windows:
        problem = None
        for name in ("sequence", "pair"):
            if name in window.row and (problem := wrong_letter(window.row[name], window.start)):
                break
        yield window if problem is None else window._replace(problem=problem)


def wrong_letter(letters: np.ndarray, start: int = 0) -> Problem | None:
    """Return the problem of letters that are not all nucleotides, or None.

    Args:
        letters: a sequence or a stretch of it, uint8 (nt,).
        start: 0-based place of the stretch in the sequence.
    """
    content = letters.tobytes()
    index = find_wrong_letter(content)
    if index is None:
        return None
    before, letter, after = content[:index].decode("latin-1"), letter_at(content, index), content[index + 1 :]
    return Problem("letters", cell_letter_error(before + letter + after.decode("latin-1"), index, start))


def check_alphabet(windows: Iterable[Window], source: str, noun: str) -> Iterator[Window]:
    """Iterate over windows; raise InputError if none of the first thousand, or of all, consists of nucleotides.

    One record that is not DNA does not fail the whole file, but a file of proteins is refused.

    Args:
        windows: windows that `examined` has seen.
        source: name of the file, for the error message.
        noun: what a sequence is called in it, "record" or "data row".

    Raises:
        InputError: if there is no DNA; the message is about the first window.
    """
    windows, held = iter(windows), []
    for window in windows:
        held.append(window)
        if window.problem is None or len(held) == _MOST_HELD:
            break
    wrong = [window for window in held if window.problem is not None and window.problem.kind == "letters"]
    if wrong and len(wrong) == len(held):
        first = wrong[0]
        raise InputError(f"{place_of(source, noun, first.sequence_index, first.name)}{joined(first.problem)}")
    yield from held
    yield from windows


def known_tokens(batch: dict[str, torch.Tensor], tokenizer: KmerTokenizer) -> list[tuple[int, int]]:
    """Count the tokens of each row that stand for known nucleotides, and all tokens without special ones.

    If a row is a pair, both counts are those of the sequence that has fewer known tokens.

    Args:
        batch: ``input_ids``, int64 (rows, ..., tokens), and ``token_type_ids`` of pairs.
        tokenizer: tokenizer of the model; its unknown token counts as a token, but not as a known one.
    """
    ids = batch["input_ids"].flatten(1)
    special = torch.tensor(tokenizer.all_special_ids)
    known = ~torch.isin(ids, special)
    counted = known | (ids == tokenizer.unk_token_id)
    if "token_type_ids" not in batch:
        return list(zip(known.sum(1).tolist(), counted.sum(1).tolist(), strict=True))
    second = batch["token_type_ids"].flatten(1) == 1
    sides = [
        zip((known & side).sum(1).tolist(), (counted & side).sum(1).tolist(), strict=True) for side in (~second, second)
    ]
    return [min(pair) for pair in zip(*sides, strict=True)]


def problem_after_reading(tokens: tuple[int, int], values: np.ndarray) -> Problem | None:
    """Return what keeps a window from having a score, once the model has read it; None if nothing does.

    Args:
        tokens: number of tokens that stand for known nucleotides, and of all, as `known_tokens` counts them.
        values: what the model returned for the window.
    """
    known, _ = tokens
    if not known:
        return UNKNOWN
    return None if np.isfinite(values).all() else OVERFLOW


def problem_of_sequence(problems: Iterable[Problem | None]) -> Problem | None:
    """Return why a sequence has no score, given the problems of its windows; None if it has one."""
    problems = list(problems)
    of_all = next((problem for problem in problems if problem and problem.kind in _OF_THE_SEQUENCE), None)
    return of_all or (problems[0] if None not in problems else None)


def place_of(source: str, noun: str, index: int, name: str) -> str:
    """Return file, number and name of a sequence, for a message.

    Args:
        source: name of the file.
        noun: what a sequence is called in it; see `noun_of`.
        index: index of the sequence in the file, from 0.
        name: id of the sequence.
    """
    shown = f" ({shorten(name)})" if name and name != str(index + 1) else ""
    return f"{source}: {noun} {index + 1}{shown}"


def noun_of(source: Source) -> str:
    """Return what a sequence of a source is called in messages: "record" or "data row"."""
    is_file = isinstance(source, str | PathLike)
    return "record" if is_file and Path(source).exists() and kind_of(source) == "sequences" else "data row"


def joined(problem: Problem | None) -> str:
    """Return the end of a message about a sequence; a place inside the sequence follows after a comma."""
    message = problem.message if problem else ""
    return f", {message}" if message.startswith("position") else f": {message}"


class Unscored:
    """Counts the sequences without a score, and those that are mostly unknown.

    Args:
        source: name of the file, for messages.
        noun: what a sequence is called in it: "record" or "data row".
        strict: refuse a sequence without a score instead of counting it.
        result: what a sequence gets if it can be scored, and the participle, for messages: "no prediction for 3 of 9
            sequences", "2 predicted from less than half of their k-mers".
    """

    def __init__(
        self, source: str, noun: str, strict: bool, result: tuple[str, str] = ("prediction", "predicted")
    ) -> None:
        self._source, self._noun, self._strict, self._result = source, noun, strict, result
        self._names: dict[Kind, list[str]] = {}  # the first names of each kind
        self._counts: dict[Kind, int] = {}
        self._examples: dict[Kind, str] = {}
        self._mostly_unknown: list[str] = []
        self._num_unknown = self.num_sequences = 0

    @property
    def count(self) -> int:
        """Number of sequences without a score so far."""
        return sum(self._counts.values())

    def watch(self, scored: Iterable[ScoredWindow]) -> Iterator[ScoredWindow]:
        """Iterate over windows and their scores, and count what they show.

        Args:
            scored: as from `score_windows`; the windows of one sequence follow one another.

        Raises:
            InputError: if a sequence has no score, and ``strict`` is set.
        """
        for _, group in groupby(scored, lambda pair: pair[0].sequence_index):
            problems: dict[Problem | None, None] = {}  # not a set: the warning names the first one
            known = tokens = 0
            for window, scores in group:
                problems[window.problem] = None
                known, tokens = known + window.tokens[0], tokens + window.tokens[1]
                if self._strict and window.problem is not None and window.problem.kind in _OF_THE_SEQUENCE:
                    self._note(window, window.problem)
                yield window, scores
            self.num_sequences += 1
            if problem := problem_of_sequence(problems):
                self._note(window, problem)
            elif known < (1 - MOSTLY_UNKNOWN) * tokens:
                self._num_unknown += 1
                _add(self._mostly_unknown, window.name or str(window.sequence_index + 1))

    def _note(self, window: Window, problem: Problem) -> None:
        """Count a sequence without a score, or refuse it."""
        message = f"{place_of(self._source, self._noun, window.sequence_index, window.name)}{joined(problem)}"
        if self._strict:
            raise InputError(f"{message} (strict: without it, the cells of this {self._noun} are empty)")
        self._counts[problem.kind] = self._counts.get(problem.kind, 0) + 1
        self._examples.setdefault(problem.kind, message)
        _add(self._names.setdefault(problem.kind, []), window.name or str(window.sequence_index + 1))

    def warn(self) -> None:
        """Log one warning with the number of sequences without a score, their first names, and the first reason."""
        found = [
            f"{count:,} {_WHAT[kind]} ({listed(self._names[kind], count)})" for kind, count in self._counts.items()
        ]
        parts = []
        if found:
            parts.append(
                f"no {self._result[0]} for {self.count:,} of {self.num_sequences:,} sequences, whose cells are empty: "
                + ", ".join(found)
            )
        if "letters" in self._examples:
            parts.append(self._examples["letters"])
        if self._num_unknown:
            names = listed(self._mostly_unknown, self._num_unknown)
            parts.append(f"{self._num_unknown:,} {self._result[1]} from less than half of their k-mers ({names})")
        if parts:
            logger.warning("%s: %s", self._source, "; ".join(parts))


def _add(names: list[str], name: str) -> None:
    """Append a name unless there are enough."""
    if len(names) < _MOST_NAMES:
        names.append(name)


def listed(names: Sequence[str], count: int) -> str:
    """Return the first names in quotes, and "..." if there are more.

    >>> listed(["a", "b"], 5)
    "'a', 'b', ..."
    """
    return ", ".join(map(shorten, names[:_MOST_NAMES])) + (", ..." if count > min(len(names), _MOST_NAMES) else "")


def with_known_kmers(examples: LabelledSequences, tokenizer: KmerTokenizer, *, strict: bool) -> LabelledSequences:
    """Return the examples from which a model can learn something, and warn about the others.

    A sequence without a known k-mer (all N, for example), or a pair with such a sequence, would teach a model nothing
    but how frequent its label is.

    Args:
        examples: sequences to train or to be scored on.
        tokenizer: tokenizer of the model.
        strict: refuse such an example instead of omitting it.

    Raises:
        InputError: if ``strict`` is set and an example would be omitted, or if no example would be left.
    """
    known = rows_with_known_kmers(examples, tokenizer.k)
    count = len(examples) - len(known)
    if not count:
        return examples
    names = [examples.ids[row] for row in sorted({*range(len(examples))} - {*known})]
    what = f"{examples.source}: {count:,} of {len(examples):,} sequences without a k-mer of A, C, G and T only"
    what += f" ({listed(names, count)})"
    if strict or not known:
        more = " (data.strict: without it they are omitted)" if strict else ""
        raise InputError(f"{what}: there is nothing to learn from them; drop them{more}")
    logger.warning("%s are omitted: there is nothing to learn from them", what)
    return examples.take(known)
