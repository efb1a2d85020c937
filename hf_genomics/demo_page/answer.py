"""Answer a visitor: the class of every sequence, the score along the first one, and its nucleotides that matter."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from transformers import PreTrainedModel

from ..errors import MOST_LETTERS, InputError, is_private
from ..inference.predictions import RUN_COLUMNS, class_runs, decide, sequence_columns
from ..inference.problems import examined, joined, place_of, problem_of_sequence
from ..inference.scores import average_windows, merge_windows, score_windows
from ..inference.windows import Window, windows_of_examples
from ..interpretation.explain import check_finite_scores
from ..interpretation.figures import Track, logo_figure, region_figure, show_dollars
from ..interpretation.report import highest_stretch
from ..interpretation.scoring import Explanation, Settings, explain_windows
from ..interpretation.targets import class_names, class_number
from ..labelled.task import Task
from ..loading.config_facts import task_of
from ..loading.models import load_classifier
from ..reports.html import Cell
from ..tokenization_kmer import KmerTokenizer
from .reading import SOURCE, read_sequences

Scored: TypeAlias = list[tuple[Window, np.ndarray]]

_DPI = 200  # of pictures
_MOST_ROWS = 50  # of the table
_MOST_REASONS = 3  # why sequences have no score
_TO_UPPER = 0xDF  # clears the bit that distinguishes lower case in ASCII


class DemoModel(NamedTuple):
    """A model that visitors may try.

    Attributes:
        name: folder or Hub name of the model.
        model: the model.
        tokenizer: its tokenizer.
        task: its task.
    """

    name: str
    model: PreTrainedModel
    tokenizer: KmerTokenizer
    task: Task

    @classmethod
    def load(cls, name: str) -> DemoModel:
        """Load a fine-tuned model that reads single sequences.

        Args:
            name: folder or Hub name of the model.

        Raises:
            InputError: if it cannot be loaded, or reads pairs or tracks.
        """
        model, tokenizer = load_classifier(name)
        task = task_of(model.config, name)
        if task.paired or task.track_names or task.nt_track_names:
            raise InputError(
                f"{name} reads pairs or tracks, which the page cannot take; run hf-genomics predict with a table"
            )
        return cls(name, model.float(), tokenizer, task)


@dataclass(frozen=True)
class Question:
    """What a visitor asks.

    Attributes:
        content: as in `read_sequences`.
        target: name of the class to show; "" for the predicted class of the first sequence.
        position: nucleotide of the first sequence to look at, from 1; None for the window with the highest score.
    """

    content: bytes = field(repr=False)
    target: str = ""
    position: int | None = None


@dataclass(frozen=True)
class Answer:
    """What the page shows.

    Attributes:
        notes: sentences; the first one says how many sequences and nucleotides were read.
        header: names of the columns of the table.
        rows: cells of the table; a row per sequence, or per interval of nucleotides of one class.
        pictures: caption and PNG of each picture.
    """

    notes: list[str]
    header: list[str]
    rows: list[list[Cell]]
    pictures: list[tuple[str, bytes]]


def answer(demo: DemoModel, question: Question) -> Answer:
    """Predict the class of every sequence, and explain a window of the first one.

    Args:
        demo: the model.
        question: what the visitor asks.

    Raises:
        InputError: if the input cannot be read, no sequence can be scored, or the class or position does not exist.
    """
    examples = read_sequences(question.content)
    number = _number(demo, question.target)
    windows = examined(windows_of_examples(examples, demo.model, demo.tokenizer))
    scored: Scored = list(score_windows(demo.model, demo.tokenizer, windows))
    reasons, unscored = _reasons(scored)
    if len(unscored) == len(examples):
        raise InputError(reasons[0])
    header, rows = _table(demo.task, scored)
    notes = [f"{len(examples):,} sequence{'s' * (len(examples) > 1)}, {sum(map(len, examples.sequences)):,} nt."]
    if demo.task.threshold is not None:
        least, positive = demo.task.threshold
        notes.append(f"The model calls {targets_of(demo)[positive]} what has a probability of {least:.3g} or more.")
    if len(rows) > _MOST_ROWS:
        notes.append(f"The table shows the first {_MOST_ROWS} of {len(rows):,} rows; hf-genomics predict writes all.")
    notes += [f"No prediction: {reason}." for reason in reasons]
    pictures = []
    if 0 not in unscored:
        first = [pair for pair in scored if pair[0].sequence_index == 0]
        pictures = _pictures(demo, first, number, question.position)
    return Answer(notes, header, rows[:_MOST_ROWS], pictures)


def targets_of(demo: DemoModel) -> list[str]:
    """List the classes, labels or values that a visitor may choose.

    Args:
        demo: the model.
    """
    return class_names(demo.model.config)


def _number(demo: DemoModel, target: str) -> int | None:
    """Return the number of the class that is shown; None for the predicted one."""
    if demo.task.problem_type == "regression" and not target:
        return 0  # the model predicts all values; the first one is shown
    return class_number(demo.model.config, target or None)


def _reasons(scored: Scored) -> tuple[list[str], set[int]]:
    """Return why the first sequences without a score have none, and the indices of all of them."""
    problems: dict[int, list[Any]] = {}
    for window, _ in scored:
        problems.setdefault(window.sequence_index, []).append(window)
    found = {}
    for index, windows in problems.items():
        if problem := problem_of_sequence(window.problem for window in windows):
            found[index] = f"{place_of(SOURCE, 'sequence', index, windows[0].name)}{joined(problem)}"
    return list(found.values())[:_MOST_REASONS], {*found}


def _table(task: Task, scored: Scored) -> tuple[list[str], list[list[Cell]]]:
    """Return the table of predictions, as `predict` writes it."""
    if task.level == "nt":
        return RUN_COLUMNS, [list(row) for row in class_runs(merge_windows(scored), task.names or [])]
    found = list(average_windows(scored))
    scores = np.array([one.scores for one in found]).reshape(len(found), -1)
    columns = sequence_columns(task, [one.name for one in found], [one.length for one in found], scores)
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


# Pictures.


def _pictures(demo: DemoModel, scored: Scored, number: int | None, position: int | None) -> list[tuple[str, bytes]]:
    """Draw the score along the first sequence, and explain one of its windows.

    Args:
        demo: the model.
        scored: the windows of the first sequence, and their scores.
        number: number of the class; None for the predicted one.
        position: nucleotide to look at, from 1; None for the window with the highest score.
    """
    along = _along(demo.task, scored)
    chosen = _predicted(demo.task, scored, along) if number is None else number
    name = targets_of(demo)[chosen]
    window = _window_at(scored, position) if position is not None else _best_window(scored, chosen)
    settings = Settings(target=chosen)
    (one,) = islice(explain_windows(demo.model, demo.tokenizer, [window], settings), 1)
    check_finite_scores(one, "the model")
    drawn = []
    if len(scored) > 1 or demo.task.level == "nt":
        what = "Value" if demo.task.problem_type == "regression" else "Probability"
        shaded = f"The shaded stretch, {window.start + 1:,} to {window.end:,}, is explained below."
        drawn.append(
            (f"{what} of {name} along the first sequence. {shaded}", _draw_along(name, along[:, chosen], window))
        )
    return drawn + _draw_explanation(name, one)


def _along(task: Task, scored: Scored) -> np.ndarray:
    """Return the scores of each nucleotide of a sequence, (nt, classes); where two windows overlap, their mean.

    Without a class per nucleotide, a nucleotide has the scores of its windows.
    """
    spread = scored
    if task.level == "sequence":
        spread = [(window, np.tile(scores, (len(window.row["sequence"]), 1))) for window, scores in scored]
    return np.concatenate([piece.scores for piece in merge_windows(spread)])


def _predicted(task: Task, scored: Scored, along: np.ndarray) -> int:
    """Return the number of the predicted class of a sequence, or of the class of most nucleotides.

    Args:
        task: task of the model.
        scored: the windows of the sequence, and their scores.
        along: the scores of its nucleotides, as `_along` returns them.
    """
    if task.level == "nt":
        known = along[~np.isnan(along).any(1)]
        return int(np.bincount(known.argmax(1)).argmax())
    # As in the table: every window counts the same. A mean over `along` would give overlapping windows less weight, and
    # the picture could show another class than the table.
    (one,) = average_windows(scored)
    return int(decide(one.scores[np.newaxis], task.threshold)[0])


def _best_window(scored: Scored, number: int) -> Window:
    """Return the window with the highest score for a class; of a model per nucleotide, the highest mean."""
    known = [(window, scores) for window, scores in scored if window.problem is None]
    return max(known, key=lambda pair: float(np.mean(np.atleast_2d(pair[1])[:, number])))[0]


def _window_at(scored: Scored, position: int) -> Window:
    """Return the window at a position; raise InputError if there is none, or the model cannot read it."""
    length = scored[-1][0].end  # the last window ends with the sequence
    window = next((window for window, _ in scored if window.start < position <= window.end), None)
    if window is None:
        raise InputError(f"position {position:,} is not in the first sequence, which has {length:,} nt; correct it")
    if window.problem is not None:
        raise InputError(
            f"position {position:,}: its window {window.problem.message.partition(';')[0]}; choose another"
        )
    return window


def _draw_along(name: str, values: np.ndarray, window: Window) -> bytes:
    """Draw the score of a class along a sequence, with the explained window shaded."""
    figure = region_figure("sequence", 0, len(values), [Track(name, 0, values)], None)
    figure.axes[0].axvspan(window.start - 0.5, window.end - 0.5, color="#E69F00", alpha=0.3, linewidth=0)
    return _png(figure)


def _draw_explanation(name: str, one: Explanation) -> list[tuple[str, bytes]]:
    """Draw the contributions of the nucleotides of a window, and, unless private, the 30 highest as letters."""
    window, scores = one.window, one.scores[: len(one.window.row["sequence"])]
    bars = region_figure("sequence", window.start, window.end, [], Track("score", window.start, scores))
    caption = f"Contribution of each nucleotide to {name}. Positive scores speak for it, negative ones against."
    if is_private():
        return [(caption, _png(bars))]
    begin = highest_stretch(scores, MOST_LETTERS)
    chosen = slice(begin, begin + MOST_LETTERS)
    letters = (window.row["sequence"][chosen] & _TO_UPPER).tobytes().decode("ascii")
    logo = logo_figure(f"score for {name}", letters, scores[chosen], window.start + begin)
    below = f"The {len(letters)} nucleotides with the highest scores. Letters below the line speak against."
    return [(caption, _png(bars)), (below, _png(logo))]


def _png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    show_dollars(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=_DPI, format="png")
    return buffer.getvalue()
