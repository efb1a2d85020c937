"""Score records: each allele gets its likelihood ratio, its effects, or the logits of a fine-tuned model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..labelled.sequences import has_known_kmer
from ..loading.config_facts import parts_of
from ..sequence import num_kmers
from ..sequence_files.reference import Strand, strands_in_memory
from ..tokenization_kmer import KmerTokenizer
from .calibration import Background, context_of
from .effects import COLUMNS, Alleles, Effect, class_logits, compare, cut_alleles
from .likelihood import Estimator, Plan, mean, on_strand, run_plan, share_forwards
from .outputs import ScoredVariant
from .sites import Event, WindowRule, widen
from .sources import Allele, Record

_NAN = float("nan")


@dataclass
class Scorer:
    """A model and how it scores.

    Attributes:
        model: masked-token model, or a fine-tuned model with a head for sequences.
        tokenizer: its tokenizer.
        rule: how windows are cut.
        estimator: as in `score_events`.
        sites_per_forward: as in `share_forwards`; 1 is exact.
        effects: as in `compare`.
        background: scores of neutral sites; None for no calibration.
        batch_size: number of windows that are encoded at once.
    """

    model: Any
    tokenizer: KmerTokenizer
    rule: WindowRule
    estimator: Estimator = "joint"
    sites_per_forward: int | Literal["auto"] = 1
    effects: Sequence[Effect] = ()
    background: Background | None = None
    batch_size: int = 16

    @property
    def is_masked(self) -> bool:
        """Whether the model predicts masked tokens."""
        return hasattr(self.model, "cls")

    def columns(self) -> list[str]:
        """List the columns of scores."""
        if not self.is_masked:
            classes = [str(name) for _, name in sorted(self.model.config.id2label.items())]
            return [f"{what}_logit_{name}" for what in ("ref", "alt", "delta") for name in classes]
        calibrated = ["llr_calibrated", "llr_quantile"] if self.background else []
        effects = [name for effect in self.effects for name in COLUMNS[effect]]
        return ["llr", "llr_fwd", "llr_rev", *calibrated, "pll_delta", *effects]

    def score(
        self, records: Sequence[Record], advance: Callable[[int], object] = lambda windows: None
    ) -> list[ScoredVariant]:
        """Score records together; alleles that mask the same tokens of the same window share a forward pass.

        Args:
            records: the records.
            advance: called with the number of windows after each batch.
        """
        tasks = [_Task(record, allele) for record in records for allele in record.alleles]
        scorable = [task for task in tasks if task.allele.events]
        (self._score_masked if self.is_masked else self._score_classes)(scorable, advance)
        left = iter(tasks)
        return [_collect(record, [next(left) for _ in record.alleles]) for record in records]

    def _score_masked(self, tasks: list[_Task], advance: Callable[[int], object]) -> None:
        """Score alleles by a masked-token model."""
        ratios, stretches = Plan(self.rule), Plan(self.rule)
        for task in tasks:
            if task.allele.flag in ("indel", "mnv_long"):
                _plan_stretches(stretches, task)
            else:
                task.slots = [
                    [ratios.add_substitution(on_strand(event, strand), strand) for event in task.allele.events]
                    for strand in task.strands
                ]
        if self.sites_per_forward != 1:
            ratios = share_forwards(ratios, self.sites_per_forward)
        options: dict[str, Any] = {"batch_size": self.batch_size, "advance": advance}
        of_ratios = run_plan(self.model, self.tokenizer, ratios, estimator=self.estimator, **options)
        of_stretches = run_plan(self.model, self.tokenizer, stretches, **options)
        for task in tasks:
            task.read(of_ratios, of_stretches)
            if self.background is not None:
                _calibrate(task, self.background)
        if self.effects:
            self._add(tasks, lambda windows: compare(self.model, self.tokenizer, windows, self.effects, **options))

    def _score_classes(self, tasks: list[_Task], advance: Callable[[int], object]) -> None:
        """Score alleles by a fine-tuned model; windows with the same reference letters are read once."""
        columns = self.columns()

        def logits(windows: list[Alleles]) -> dict[str, np.ndarray]:
            texts = [letters.tobytes() for window in windows for letters in (window.ref, window.alt)]
            index = {text: place for place, text in enumerate(dict.fromkeys(texts))}
            unique = [np.frombuffer(text, np.uint8) for text in index]
            found = class_logits(self.model, self.tokenizer, unique, batch_size=self.batch_size, advance=advance)[
                [index[text] for text in texts]
            ]
            ref, alt = found[0::2], found[1::2]
            return dict(zip(columns, np.concatenate([ref, alt, alt - ref], 1).T, strict=True))

        self._add(tasks, logits)
        for task in tasks:
            if np.isnan(list(task.scores.values())).all():
                fits = all(window.is_whole for window in task.windows(self.rule.length))
                task.flag = "ref_n" if fits else "too_long"

    def _is_shown(self, window: Alleles) -> bool:
        """Return whether both alleles fit into the window, and a k-mer of known reference letters shows the place.

        A substitution changes only the tokens that show it, and at a stride above 1 these are not all k-mers. Where the
        letters after a variant move, or a model cuts its windows into parts, any k-mer counts.
        """
        k, stride = self.rule.k, self.rule.stride
        if not window.is_whole:
            return False
        if not window.is_substitution or parts_of(self.model.config) != (1, None):
            stride = 1
        first = max(0, -(-(window.start - k + 1) // stride))  # rounded up
        last = min(num_kmers(len(window.ref), k, stride) - 1, (window.start + window.width - 1) // stride)
        if not window.width:  # an insertion at either end has a neighbour on one side only
            first, last = min(first, num_kmers(len(window.ref), k, stride) - 1), max(last, 0)
        tokens = (window.ref[index * stride : index * stride + k] for index in range(first, last + 1))
        return any(has_known_kmer(letters, k) for letters in tokens)

    def _add(
        self,
        tasks: list[_Task],
        score: Callable[[list[Alleles]], dict[str, np.ndarray]],
    ) -> None:
        """Add the mean of the values of the strands that show the variant, by column, to the scores of tasks."""
        windows = [window for task in tasks for window in task.windows(self.rule.length)]
        fits = [min(len(window.ref), len(window.alt)) >= self.rule.k and self._is_shown(window) for window in windows]
        found = score([window for window, fit in zip(windows, fits, strict=True) if fit])
        for name, values in found.items():
            padded = np.full(len(windows), np.nan)
            padded[np.array(fits, bool)] = values
            for task, both in zip(tasks, padded.reshape(-1, 2), strict=True):
                task.scores[name] = mean(both)


@dataclass
class _Task:
    """An allele that is scored: its slots in the plan, by strand and event, and its scores by column."""

    record: Record
    allele: Allele
    slots: list[list[list[int]]] = field(default_factory=list)
    stretches: list[tuple[list[int], list[int]]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    flag: str = ""

    @property
    def strands(self) -> tuple[Strand, Strand]:
        """Both strands of the contig."""
        return self.record.strands

    def read(self, ratios: np.ndarray, stretches: np.ndarray) -> None:
        """Read the scores from the results of the plans of substitutions and of stretches."""
        if self.slots:
            # Scattered substitutions of one sequence: the sum of their ratios, each beside the reference at the others.
            strands = [float(np.sum([mean(ratios[slots]) for slots in events])) for events in self.slots]
            self.scores |= {"llr_fwd": strands[0], "llr_rev": strands[1], "llr": mean(np.array(strands))}
        if self.stretches:
            both = [mean(stretches[alt]) - mean(stretches[ref]) for ref, alt in self.stretches]
            self.scores["pll_delta"] = mean(np.array(both))
        if not self.flag and np.isnan(list(self.scores.values())).all():
            self.flag = "ref_n"

    def windows(self, length: int) -> list[Alleles]:
        """Cut the windows of both strands."""
        if len(self.allele.events) == 1:
            return [cut_alleles(on_strand(self.allele.events[0], strand), strand, length) for strand in self.strands]
        first, last = self.allele.events[0], self.allele.events[-1]
        forward = self.strands[0]
        ref = forward.read(first.start, last.end).copy()
        alt = ref.copy()
        for event in self.allele.events:
            alt[event.start - first.start] = ord(event.alt)
        whole = Event(first.start, ref.tobytes().decode("latin-1"), alt.tobytes().decode("latin-1"))
        return [cut_alleles(on_strand(whole, strand), strand, length) for strand in self.strands]


def _plan_stretches(plan: Plan, task: _Task) -> None:
    """Plan the pseudo-likelihoods of an insertion, a deletion or a longer substitution with either allele."""
    [event], forward, length = task.allele.events, task.strands[0], plan.rule.length
    origin = max(0, event.start - 2 * length)
    end = min(forward.length, event.end + 2 * length)
    letters = forward.read(origin, end)
    changed = np.frombuffer(event.alt.encode("ascii"), np.uint8)
    alt_letters = np.concatenate([letters[: event.start - origin], changed, letters[event.end - origin :]])
    first, last = widen(event, letters, origin)
    grown = len(event.alt) - len(event.ref)
    if max(last, last + grown) - first > length // 2:
        task.flag = "too_long"
        return
    alts = strands_in_memory((forward.key, origin, event), alt_letters)
    beside = plan.rule.k - 1
    for index, strand in enumerate(task.strands):
        slots = []
        for one, start, stop in (
            (strand, max(0, first - beside), min(forward.length, last + beside)),
            (alts[index], max(0, first - beside - origin), min(len(alt_letters), last + grown + beside - origin)),
        ):
            start, stop = (one.length - stop, one.length - start) if index else (start, stop)
            slots.append(plan.add_stretch(start, stop, one))
        task.stretches.append((slots[0], slots[1]))


def _calibrate(task: _Task, background: Background) -> None:
    """Add the calibrated score and the quantile of a single substitution."""
    task.scores |= {"llr_calibrated": _NAN, "llr_quantile": _NAN}
    if task.allele.flag is not None or len(task.allele.events) != 1:
        return
    [event], llr = task.allele.events, task.scores["llr"]
    context = context_of(task.strands[0], event.start)
    if context is not None:
        task.scores["llr_calibrated"] = background.calibrate(llr, context, event.alt)
    task.scores["llr_quantile"] = background.quantile(llr)


def _collect(record: Record, tasks: list[_Task]) -> ScoredVariant:
    """Join the alleles of a record."""
    return ScoredVariant(
        record, [task.scores for task in tasks], [task.flag or task.allele.flag or "" for task in tasks]
    )
