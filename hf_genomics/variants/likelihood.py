"""What a masked-token model says about letters: log-likelihood ratios of substitutions, and log-probabilities.

The estimator is joint: all tokens that show the changed letters are masked, all other letters stay as in the reference,
and only the changed letters vary:

    LLR = mean over the tokens of log p(token with ALT) - log p(token with REF)

so nothing that the model sees gives the letter away, and exchanging the alleles changes the sign only. The difference
of two log-probabilities of one token is the difference of their logits, so only these two rows of the decoder are used.
The LLRs of all frames are averaged, and then those of the strands. A frame is the number of nucleotides from the start
of a token to the variant; each frame has its own window (see `sites`).

An insertion or a deletion has no such ratio, because it moves the letters after it into other tokens. For it, and for
substitutions of more than k nt, which fit into no token, `Plan.add_stretch` gives the mean log-probability of the
stretch, once with REF and once with ALT.

Forward passes are planned first, so that jobs that mask the same tokens of the same window are run once. For A>G at
position 11, k 4 and stride 2 (one frame), the plan is:

    one job         a window in which the tokens that start at 8 and at 10 are masked, since both show position 11
    two questions   for each of these tokens: how much more probable is it with G than with A?
    one slot        the index of the result, the mean of both answers
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import InputError
from ..inference.scores import ready
from ..modeling_kmer_bert import KmerBertForMaskedLM
from ..sequence import ALPHABET, MASK_ID, NUM_SPECIAL, vocabulary_size
from ..sequence_files.reference import Strand
from ..tokenization_kmer import KmerTokenizer
from .sites import Event, WindowRule, id_shift, place_event, place_frames

#: How the tokens that show the changed letters are read; see `score_events`.
Estimator = Literal["joint", "marginal", "unmasked"]
_MOST_SITES = 12  # largest number of sites that are masked in one window
_NT_PER_SITE = 42  # with 6-mers at stride 1, a site every 42 nt masks 14 % of the tokens, as pretraining does


class Job(NamedTuple):
    """A forward pass of one window.

    Attributes:
        strand: strand of the contig.
        start: start of the window on the strand in nt.
        end: end of the window on the strand in nt.
        masked: indices of the tokens that are masked, from the first k-mer of the window, ascending.
    """

    strand: Strand
    start: int
    end: int
    masked: tuple[int, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two jobs the same."""
        return (self.strand.key, self.start, self.end, self.masked)


class Question(NamedTuple):
    """What is read from a masked token of a job.

    Attributes:
        job: index of the job.
        token: index of the token, from the first k-mer of the window.
        slot: index of the result; the answers of one slot are averaged.
        event: the substitution on the job's strand; None asks for the log-probability of the token itself.
        first: position of the token's first letter on the strand.
    """

    job: int
    token: int
    slot: int
    event: Event | None
    first: int


@dataclass
class Plan:
    """The jobs and questions of some events.

    Attributes:
        rule: how windows are cut.
        jobs: the forward passes.
        questions: what is read from them.
        slots: number of results.
    """

    rule: WindowRule
    jobs: list[Job] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    slots: int = 0
    _known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def add_substitution(self, event: Event, strand: Strand) -> list[int]:
        """Plan the log-likelihood ratio of a substitution on a strand, and return a slot per frame.

        Args:
            event: the substitution, on this strand.
            strand: strand of the contig.
        """
        slots = []
        for place in place_frames(event.start, len(event.ref), strand.length, self.rule):
            # `covering`: tokens that show any changed letter, which are masked. `whole`: those that show all of them.
            job = self._job(Job(strand, place.start, place.end, place.covering))
            slots.append(self._slot())
            self.questions += [
                Question(job, token, slots[-1], event, place.start + token * self.rule.stride) for token in place.whole
            ]
        return slots

    def add_stretch(self, start: int, end: int, strand: Strand) -> list[int]:
        """Plan the mean log-probability of the letters of a stretch, and return a slot per cut into tokens.

        Every token inside the stretch is predicted from a window in which all tokens that share letters with it are
        masked. At stride s, the strand can be cut into tokens in s ways: they start at ``phase``, ``phase`` + s and so
        on, for a phase from 0 to s - 1. The slot of a phase has the mean of its tokens' log-probabilities.

        Args:
            start: start of the stretch on the strand.
            end: end of the stretch on the strand.
            strand: strand of the contig.
        """
        k, stride = self.rule.k, self.rule.stride
        slots = []
        for phase in range(stride):
            found = []
            for first in range(start + (phase - start) % stride, end - k + 1, stride):
                # Mask this token and all that share letters with it: those that show any letter of a change of k
                # letters that starts where this token starts (0 nt from its start: frame 0). Only this token shows
                # all of them, so place.whole has one item.
                place = place_event(first, k, strand.length, self.rule, frame=0)
                if place is not None:  # None: the window is shorter than 2 k, and ends inside the token
                    found.append((first, place))
            if found:
                slots.append(self._slot())
            for first, place in found:
                job = self._job(Job(strand, place.start, place.end, place.covering))
                self.questions.append(Question(job, place.whole[0], slots[-1], None, first))
        return slots

    def _slot(self) -> int:
        """Return the index of a new result."""
        self.slots += 1
        return self.slots - 1

    def _job(self, job: Job) -> int:
        """Return the index of a job, which is added if it is new."""
        index = self._known.setdefault(job.key, len(self.jobs))
        if index == len(self.jobs):
            self.jobs.append(job)
        return index


class Masked(NamedTuple):
    """The masked tokens of some jobs after a forward pass.

    Attributes:
        states: (tokens, hidden), ready for the decoder.
        ids: ids of the tokens before they were masked, int64 (tokens,).
        first: index of the first token of each job, ascending; one more number at the end is the number of tokens.
    """

    states: Tensor
    ids: Tensor
    first: list[int]


def score_events(
    model: KmerBertForMaskedLM,
    tokenizer: KmerTokenizer,
    events: Iterable[tuple[Event, tuple[Strand, ...]]],
    rule: WindowRule,
    *,
    estimator: Estimator = "joint",
    batch_size: int = 16,
) -> np.ndarray:
    """Compute the log-likelihood ratios (LLR) of substitutions, on each strand.

    Args:
        model: masked-token model.
        tokenizer: its tokenizer.
        events: substitutions on the forward strand, each with the forward and the reverse strand of its contig, or only
            the forward strand.
        rule: how windows are cut.
        estimator: "joint": see the module. "marginal": the probabilities of all k-mers with the letter are added up
            first. "unmasked": the tokens are not masked, so the model sees the reference. The last two are for
            comparison; they are worse.
        batch_size: number of windows that are encoded at once.

    Returns:
        float64 (events, strands) in nats, positive if the model prefers the alternative; NaN where no token shows the
        whole event, or each that does also shows a letter other than A, C, G and T.
    """
    plan = Plan(rule)
    slots = [  # of each event, on each strand, for each frame
        [plan.add_substitution(on_strand(event, strand), strand) for strand in strands] for event, strands in events
    ]
    answers = run_plan(model, tokenizer, plan, estimator=estimator, batch_size=batch_size)
    return np.array([[mean(answers[of_strand]) for of_strand in of_event] for of_event in slots], np.float64)


def on_strand(event: Event, strand: Strand) -> Event:
    """Return an event of the forward strand in the positions and letters of a strand."""
    _, is_reverse = strand.key
    return event.reversed(strand.length) if is_reverse else event


def mean(values: np.ndarray) -> float:
    """Compute the mean of the numbers that are not NaN; NaN if there is none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def run_plan(
    model: KmerBertForMaskedLM,
    tokenizer: KmerTokenizer,
    plan: Plan,
    *,
    estimator: Estimator = "joint",
    batch_size: int = 16,
    advance: Callable[[int], object] = lambda jobs: None,
) -> np.ndarray:
    """Run the jobs of a plan, and return the mean answer of each slot, float64 (slots,), NaN without an answer.

    Args:
        model: masked-token model.
        tokenizer: its tokenizer.
        plan: jobs and questions.
        estimator: as in `score_events`.
        batch_size: number of windows that are encoded at once.
        advance: called with the number of jobs after each batch.
    """
    questions_of: list[list[Question]] = [[] for _ in plan.jobs]
    for question in plan.questions:
        questions_of[question.job].append(question)
    sums, counts = np.zeros(plan.slots), np.zeros(plan.slots)
    with ready(model) as device, torch.inference_mode():
        for start in range(0, len(plan.jobs), batch_size):
            jobs = plan.jobs[start : start + batch_size]
            masked = encode_masked(model, tokenizer, jobs, device, mask=estimator != "unmasked")
            questions = [question for of_job in questions_of[start : start + batch_size] for question in of_job]
            rows = _rows(questions, jobs, masked, start)
            values = _answers(model, masked, questions, rows, plan.rule.k, estimator)
            known = ~np.isnan(values)
            slots = np.array([question.slot for question in questions], np.int64)[known]
            np.add.at(sums, slots, values[known])
            np.add.at(counts, slots, 1)
            advance(len(jobs))
    return np.divide(sums, counts, out=np.full(plan.slots, np.nan), where=counts > 0)


def encode_masked(
    model: KmerBertForMaskedLM, tokenizer: KmerTokenizer, jobs: Sequence[Job], device: Any, *, mask: bool = True
) -> Masked:
    """Encode the windows of jobs, and return the states of the tokens they mask.

    Args:
        model: masked-token model in evaluation mode.
        tokenizer: its tokenizer.
        jobs: jobs of one batch.
        device: device of the model.
        mask: whether the tokens are shown as [MASK].
    """
    letters = [job.strand.read(job.start, job.end) for job in jobs]
    encoded, lengths = tokenizer.encode_batch(letters)
    counts = [len(job.masked) for job in jobs]
    row = np.repeat(np.arange(len(jobs)), counts)
    column = np.concatenate([np.array(job.masked, np.int64) for job in jobs]) + 1  # after [CLS]
    ids = torch.from_numpy(encoded)
    truth = ids[row, column]
    if mask:
        ids[row, column] = MASK_ID
    selected = torch.zeros(ids.shape, dtype=torch.bool)
    selected[row, column] = True
    attention = None
    if lengths.min() < ids.shape[1]:
        attention = (torch.arange(ids.shape[1]) < torch.from_numpy(lengths)[:, None]).long().to(device)
    # Only the states of the selected tokens come back, (tokens, hidden), in the order of `row` and `column`.
    hidden = model.bert(ids.to(device), attention, selected=selected.to(device)).last_hidden_state
    states = model.cls.predictions.transform(hidden)
    check_output(model, states)
    return Masked(states, truth.to(device), [0, *np.cumsum(counts).tolist()])


def check_output(model: PreTrainedModel, values: Tensor) -> None:
    """Raise InputError if a model computes NaN or infinity: its scores would be empty, as for unknown letters."""
    if not bool(values.isfinite().all()):
        name = model.config.name_or_path or "the model"
        raise InputError(
            f"{name}: its output is NaN or infinite, so its weights are damaged; train it again, or name an earlier "
            "checkpoint"
        )


def _rows(questions: list[Question], jobs: Sequence[Job], masked: Masked, start: int) -> list[int]:
    """Return the row of `Masked` that each question asks for; ``start`` is the index of the first job."""
    return [
        masked.first[question.job - start] + jobs[question.job - start].masked.index(question.token)
        for question in questions
    ]


def _answers(
    model: KmerBertForMaskedLM,
    masked: Masked,
    questions: list[Question],
    rows: list[int],
    k: int,
    estimator: Estimator,
) -> np.ndarray:
    """Answer questions, float64 (questions,); NaN for a token with other letters than A, C, G and T."""
    values = np.full(len(questions), np.nan)
    ids = masked.ids[rows].cpu().numpy()
    has_event = np.array([question.event is not None for question in questions], bool)
    is_known = ids >= NUM_SPECIAL
    for chosen, answer in (
        (np.flatnonzero(is_known & ~has_event), _log_probabilities),
        (np.flatnonzero(is_known & has_event), _marginal_ratios if estimator == "marginal" else _joint_ratios),
    ):
        if len(chosen):
            picked = [questions[index] for index in chosen]
            states = masked.states[np.array(rows)[chosen]]
            values[chosen] = answer(model, states, ids[chosen], picked, k).double().cpu().numpy()
    return values


def _log_probabilities(
    model: KmerBertForMaskedLM, states: Tensor, ids: np.ndarray, questions: list[Question], k: int
) -> Tensor:
    """Compute the log-probability of each token's own id, divided by k: per nucleotide, (tokens,)."""
    logits = _kmer_logits(model, states, k)
    return logits.log_softmax(-1)[torch.arange(len(ids)), torch.from_numpy(ids - NUM_SPECIAL)] / k


def _kmer_logits(model: KmerBertForMaskedLM, states: Tensor, k: int) -> Tensor:
    """Compute the logits of all k-mers, (tokens, 4^k), without special tokens and unused rows of the vocabulary."""
    return model.cls.predictions.decoder(states).float()[:, NUM_SPECIAL : vocabulary_size(k)]


def _joint_ratios(
    model: KmerBertForMaskedLM, states: Tensor, ids: np.ndarray, questions: list[Question], k: int
) -> Tensor:
    """Compute log p(token with ALT) - log p(token with REF), (tokens,)."""
    # The id of a k-mer is a number in base 4 (plus a constant) whose digits are its letters, so another letter adds a
    # number to it.
    shifts = [id_shift(question.event, question.first, k) for question in questions if question.event is not None]
    decoder = model.cls.predictions.decoder
    ref = torch.from_numpy(ids).to(states.device)
    alt = torch.from_numpy(ids + np.array(shifts)).to(states.device)
    # The difference of two logits is computed from the difference of their weights. So if the alleles are exchanged,
    # the result changes its sign, and not even a rounding error differs.
    weights = decoder.weight[alt] - decoder.weight[ref]
    return (states * weights).float().sum(-1) + (decoder.bias[alt] - decoder.bias[ref]).float()


def _marginal_ratios(
    model: KmerBertForMaskedLM, states: Tensor, ids: np.ndarray, questions: list[Question], k: int
) -> Tensor:
    """Compute the logarithm of the ratio of two sums of probabilities: of k-mers with the ALT and the REF letters."""
    logits = _kmer_logits(model, states, k)
    # One axis of length 4 for each letter of a k-mer: for k 3, by_letter[token, 0, 1, 3] is the logit of ATG, and
    # by_letter[token, :, 1, :] has the logits of all 3-mers with a T in the middle (A0 T1 C2 G3).
    by_letter = logits.reshape(-1, *[4] * k)
    ratios = []
    events = [(one.event, one.first) for one in questions if one.event is not None]
    for of_token, (event, first) in zip(by_letter, events, strict=True):
        offset = event.start - first
        alt, ref = (of_token[_kmers_with(allele, offset, k)].flatten() for allele in (event.alt, event.ref))
        ratios.append(alt.logsumexp(0) - ref.logsumexp(0))
    return torch.stack(ratios)


def _kmers_with(letters: str, offset: int, k: int) -> tuple[int | slice, ...]:
    """Return the index of all k-mers that show some letters, for an array with one axis for each letter of a k-mer.

    >>> _kmers_with("T", offset=1, k=3)  # any letter, T, any letter
    (slice(None, None, None), 1, slice(None, None, None))

    Args:
        letters: the letters.
        offset: index of the first of them in the k-mer.
        k: k-mer size in nt.
    """
    digits = [ALPHABET.index(letter) for letter in letters]
    any_letter = slice(None)
    return (*[any_letter] * offset, *digits, *[any_letter] * (k - offset - len(digits)))


def share_forwards(plan: Plan, most: int | Literal["auto"]) -> Plan:
    """Merge jobs of neighbouring sites, so that one forward pass of a common window serves several of them.

    A site is a place of the strand where a job masks tokens:

        job of site A     |-------A-------|
        job of site B           |-------B-------|
        merged job           |----A-----B----|      both are masked in one window, in the middle of the two

    Merging saves forward passes, but it is an approximation: while the model predicts one site, it does not see the
    letters of the other sites in the window. So a window has at most 12 sites, at least a twelfth of the window apart.

    Args:
        plan: a plan of substitutions, with one site per job.
        most: largest number of sites in a forward pass; "auto" allows one for every 42 nt of a window, up to 12.

    Returns:
        The same questions with fewer jobs.
    """
    rule = plan.rule
    sites = max(1, rule.length // _NT_PER_SITE) if most == "auto" else most
    sites = min(sites, _MOST_SITES)
    # The sites are spread over the window: with 510 nt, 4 sites start 127 nt apart, and 12 sites 43 nt, a twelfth of it
    # rounded up (-(-a // b) is a / b rounded up).
    spacing = max(-(-rule.length // _MOST_SITES), rule.length // sites)
    merged = Plan(rule, slots=plan.slots)
    # Old job -> new job, and by how much its tokens' numbers change, since they count from the start of the window.
    moved: dict[int, tuple[int, int]] = {}
    for group in _groups(plan, sites, spacing):
        if len(group) == 1:
            moved[group[0]] = (merged._job(plan.jobs[group[0]]), 0)
            continue
        jobs = [plan.jobs[index] for index in group]
        start, end = _common_window(jobs, rule)
        shifts = [(job.start - start) // rule.stride for job in jobs]
        masked = sorted({token + shift for job, shift in zip(jobs, shifts, strict=True) for token in job.masked})
        index = merged._job(Job(jobs[0].strand, start, end, tuple(masked)))
        moved |= {old: (index, shift) for old, shift in zip(group, shifts, strict=True)}
    for question in plan.questions:
        job, shift = moved[question.job]
        merged.questions.append(question._replace(job=job, token=question.token + shift))
    return merged


def _common_window(jobs: list[Job], rule: WindowRule) -> tuple[int, int]:
    """Return start and end of the window that has the masked tokens of all jobs in its middle.

    Args:
        jobs: jobs on one strand, from left to right, whose tokens all start at the same ``phase``, ``phase`` + stride
            and so on.
        rule: how windows are cut.
    """
    first = jobs[0].start + jobs[0].masked[0] * rule.stride
    last = jobs[-1].start + jobs[-1].masked[-1] * rule.stride
    phase = jobs[0].start % rule.stride
    start = (first + last) // 2 - rule.left
    # Go left to where a token starts; the first token of the strand starts at ``phase``.
    start = max(start - (start - phase) % rule.stride, phase)
    return start, min(start + rule.length, jobs[0].strand.length)


class _Site(NamedTuple):
    """Where a job masks tokens.

    Attributes:
        first: start of the first masked token on the strand.
        last: start of the last masked token on the strand.
        job: index of the job.
    """

    first: int
    last: int
    job: int


def _groups(plan: Plan, most: int, spacing: int) -> Iterator[list[int]]:
    """Iterate over groups of jobs that can share a window, as indices of jobs.

    The jobs of a group are on one strand, and their windows have the same tokens where they overlap.

    Args:
        plan: the plan.
        most: largest number of jobs in a group.
        spacing: least number of nt from the first masked token of a job to that of the next one.
    """
    stride = plan.rule.stride
    # Largest distance between the first and the last masked token of a window. Beside them it has an eighth of its
    # length on each side as context, and a whole token in any case.
    reach = min(plan.rule.length * 3 // 4, plan.rule.length - 2 * (plan.rule.k + stride))
    by_tokens: dict[tuple[object, ...], list[_Site]] = {}
    for index, job in enumerate(plan.jobs):
        site = _Site(job.start + job.masked[0] * stride, job.start + job.masked[-1] * stride, index)
        by_tokens.setdefault((job.strand.key, job.start % stride), []).append(site)
    for sites in by_tokens.values():
        remaining = sorted(sites)
        while remaining:
            group, remaining = _take_group(remaining, most, spacing, reach, plan.rule.k)
            yield [site.job for site in group]


def _take_group(sites: list[_Site], most: int, spacing: int, reach: int, k: int) -> tuple[list[_Site], list[_Site]]:
    """Take the first site, and from left to right every other one that fits into the same window.

    Args:
        sites: sites from left to right.
        most: largest number of sites to take.
        spacing: least number of nt from the start of a site to the start of the next one.
        reach: largest number of nt from the start of the first masked token to the start of the last one.
        k: k-mer size in nt; masked tokens of two sites do not overlap.

    Returns:
        The sites that were taken, and the others.
    """
    taken, others = sites[:1], list[_Site]()
    for site in sites[1:]:
        is_apart = site.first - taken[-1].first >= spacing and site.first - taken[-1].last >= k
        if len(taken) < most and is_apart and site.last - taken[0].first <= reach:
            taken.append(site)
        else:
            others.append(site)
    return taken, others
