"""Score windows of sequences with one of the methods: batches of windows in, scores per nucleotide out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import InputError
from ..genomes.shuffling import dinucleotide_shuffle
from ..inference.scores import ready
from ..inference.windows import Window, collator_for
from ..loading.config_facts import parts_of
from ..sequence import CLS_ID, MASK_ID, SEP_ID, UNK_ID
from ..tokenization_kmer import KmerTokenizer
from .attention import attention_received, attention_weights, cls_attention, head_entropy, rollout
from .attribution import Attribution, baseline_embeddings, integrated_gradients, mean_kmer_embedding
from .nucleotides import (
    TO_ACGT,
    embeddings_of_letters,
    hypothetical_scores,
    kmer_starts,
    mean_of_cover,
    one_hot,
    spread_sum,
)
from .substitutions import ism, occlusion
from .targets import TargetFunction, choose_targets, read_targets

Method: TypeAlias = Literal["ig", "attention", "rollout", "occlusion", "ism", "nt_ig"]
Baseline: TypeAlias = Literal["mean", "mask", "shuffled"]
_SHUFFLES = 4  # shuffled copies of a window that serve as its baselines


class Explanation(NamedTuple):
    """The explanation of the prediction for one window.

    A baseline is an input that tells the model nothing, such as a shuffled sequence; a method that has one explains the
    difference between the outputs for the window and for the baseline.

    Attributes:
        window: the window.
        target: number of the class, label or value.
        value: the logit or value that is explained; of a model with one for each token or nucleotide, a mean of them
            (see `choose_targets`).
        base_value: the logit or value for the baseline; NaN for methods without a baseline.
        special: sum of the scores of [CLS], [SEP] and padding.
        error: completeness error: by how much all scores together differ from ``value - base_value``, to which they
            should add up, relative to that difference; NaN for methods without a baseline.
        steps: number of points between baseline and window at which gradients were computed; 0 for methods without
            gradients.
        scores: float64 (nt,), the contribution of each nucleotide; of a pair, the second sequence follows the first.
        columns: further arrays: "letters" (nt, 4), one number for each of A C G T, from "nt_ig" (see
            `hypothetical_scores`) and "ism" (see `Substitutions.changes`); "tracks" (tracks,), see
            `track_contributions`; "entropy" (layers, heads), see `head_entropy`; "received" (nt,), see
            `attention_received`.
    """

    window: Window
    target: int
    value: float
    base_value: float
    special: float
    error: float
    steps: int
    scores: np.ndarray
    columns: dict[str, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """How scores are computed.

    Args:
        method: integrated gradients over tokens ("ig") or nucleotides ("nt_ig"), "attention", attention "rollout",
            "occlusion" (hide tokens one by one), or "ism" (all single substitutions).
        target: number of the class, label or value; None for the predicted class of each window.
        baseline: baseline of "ig": the "mean" embedding of all k-mers, "mask" ([MASK] tokens), or "shuffled" sequences.
        steps: number of points between baseline and window at which "ig" and "nt_ig" compute gradients. Windows
            with a completeness error above 1 % are computed again with twice as many, and so on.
        most_steps: number of points at which this doubling ends.
        batch_size: number of windows, or changed windows, that are encoded at once.

    Raises:
        InputError: if the method or the baseline is unknown.
    """

    method: Method = "ig"
    target: int | None = None
    baseline: Baseline = "mean"
    steps: int = 64
    most_steps: int = 512
    batch_size: int = 16

    def __post_init__(self) -> None:
        """Check the names, which Python code may misspell; the command line checks its own."""
        for key, known in (("method", get_args(Method)), ("baseline", get_args(Baseline))):
            if getattr(self, key) not in known:
                raise InputError(f"{key} must be one of {', '.join(known)}, not {getattr(self, key)!r}")


def explain_windows(
    model: PreTrainedModel, tokenizer: KmerTokenizer, windows: Iterable[Window], settings: Settings
) -> Iterator[Explanation]:
    """Iterate over the explanations of windows, which are read and encoded in batches.

    Args:
        model: fine-tuned model.
        tokenizer: tokenizer of the model.
        windows: any number of windows.
        settings: how scores are computed.
    """
    with ready(model) as device:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        try:
            for weight in weights:  # gradients of weights are not needed
                weight.requires_grad_(False)
            remaining = iter(windows)
            while chunk := list(islice(remaining, settings.batch_size)):
                batch = WindowBatch.of(model, tokenizer, chunk, settings.target, device)
                tracks = track_contributions(batch.func)
                for one, contributions in zip(explain_batch(batch, settings), tracks, strict=True):
                    of_tracks = {"tracks": contributions} if len(contributions) else {}
                    yield one._replace(columns=one.columns | of_tracks)
        finally:
            for weight in weights:
                weight.requires_grad_(True)


@dataclass(frozen=True)
class WindowBatch:
    """Windows as the model reads them, and where their k-mers are.

    Of a hierarchical model, which reads a window in parts, the "..." in a shape is the number of parts; of all others,
    there is nothing in its place.

    Attributes:
        windows: the windows.
        collate: function that turns rows into inputs of the model.
        func: the explained number, as a function of the rows of the batch. ``func(rows)`` takes all inputs from the
            batch, ``func(rows, embeddings)`` replaces the token embeddings, and ``func(rows, tracks=...)`` an input.
        kmers: bool (rows, ..., tokens), True on k-mers.
        starts: int64 (rows, ..., tokens), first nucleotide of each k-mer, -1 on other tokens; see `kmer_starts`.
        k: k-mer size in nt.
        device: device of the model.
    """

    windows: list[Window]
    collate: Callable[[list[dict[str, Any]]], dict[str, Tensor]] = field(repr=False)
    func: TargetFunction
    kmers: Tensor
    starts: np.ndarray
    k: int
    device: torch.device

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        tokenizer: KmerTokenizer,
        windows: list[Window],
        target: int | None,
        device: torch.device,
    ) -> WindowBatch:
        """Encode windows, and choose what is explained in each."""
        collate = collator_for(model.config, tokenizer)
        batch = {name: column.to(device) for name, column in collate([window.row for window in windows]).items()}
        kmers = is_kmer(batch["input_ids"], model.config.pad_token_id)
        segments = [_segments(window, model.config) for window in windows]
        starts = kmer_starts(kmers.cpu().numpy(), segments, tokenizer.k, tokenizer.stride)
        with torch.no_grad():
            logits = model(**batch).logits
        targets = choose_targets(logits, target, _real_positions(logits, windows, kmers, model.config))
        return cls(windows, collate, TargetFunction(model, batch, targets), kmers, starts, tokenizer.k, device)

    def letters(self, row: int) -> np.ndarray:
        """Return the letters of a row; of a pair, the second sequence follows the first."""
        given = self.windows[row].row
        return np.concatenate([given[name] for name in ("sequence", "pair") if name in given])

    def encode(self, row: int, versions: np.ndarray) -> dict[str, Tensor]:
        """Encode versions of a row with other letters, uint8 (n, nt), as inputs of the model."""
        given, length = self.windows[row].row, len(self.windows[row].row["sequence"])
        rows = [
            {**given, "sequence": letters[:length]} | ({"pair": letters[length:]} if "pair" in given else {})
            for letters in versions
        ]
        return {name: column.to(self.device) for name, column in self.collate(rows).items()}

    def values(self, row: int, versions: np.ndarray) -> np.ndarray:
        """Compute the explained number for versions of a row with other letters, uint8 (n, nt); float64 (n,)."""
        targets = self.func.targets.of(torch.full((len(versions),), row, device=self.device))
        with torch.no_grad():
            logits = self.func.model(**self.encode(row, versions)).logits
        return read_targets(logits, targets).double().cpu().numpy()

    def of_tokens(self, row: int, scores: np.ndarray, spread: Callable[..., np.ndarray], **facts: Any) -> Explanation:
        """Build the explanation of a row from the scores of its tokens.

        Args:
            row: index of the window.
            scores: float64 (..., tokens).
            spread: function that turns scores of tokens into scores of nucleotides: `spread_sum` divides the score of a
                k-mer among its nucleotides, `mean_of_cover` gives a nucleotide the mean of the k-mers that cover it.
            facts: other fields of the explanation.
        """
        nt = spread(scores, self.starts[row], self.k, len(self.letters(row)))
        special = float(scores[self.starts[row] < 0].sum())  # of all tokens that are not k-mers
        return self.of_nucleotides(row, nt, special=special, **facts)

    def of_nucleotides(self, row: int, scores: np.ndarray, **facts: Any) -> Explanation:
        """Build the explanation of a row from the scores of its nucleotides, float64 (nt,), and other fields."""
        missing: dict[str, Any] = {"base_value": np.nan, "special": 0.0, "error": np.nan, "steps": 0, "columns": {}}
        target = int(self.func.targets.classes[row])
        return Explanation(self.windows[row], target, scores=scores, **(missing | facts))


def track_contributions(func: TargetFunction) -> np.ndarray:
    """Compute what each track contributes: by how much the output drops if its values are set to the training mean.

    A track holds numbers that the model reads beside the sequence, such as a DNase signal. Missing values stay missing.

    Args:
        func: the explained number.

    Returns:
        float64 (rows, tracks), tracks per sequence first, then tracks per nucleotide; no column without tracks.
    """
    rows = torch.arange(len(func.batch["input_ids"]), device=func.batch["input_ids"].device)
    changed: list[Tensor] = []
    for name, setting in (("tracks", "track_means"), ("nt_tracks", "nt_track_means")):
        if name not in func.batch:
            continue
        num_tracks = func.batch[name].shape[-1]
        means = getattr(func.model.config, setting) or [0.0] * num_tracks  # a configuration without means has 0 for all
        for number in range(num_tracks):
            values = func.batch[name].clone()
            values[..., number] = values[..., number].masked_fill(~values[..., number].isnan(), means[number])
            with torch.no_grad():
                changed.append(func(rows, **{name: values}))
    if not changed:
        return np.zeros((len(rows), 0))
    with torch.no_grad():
        drops = func(rows).unsqueeze(1) - torch.stack(changed, 1)
    return drops.double().cpu().numpy()


def is_kmer(ids: Tensor, pad_id: int) -> Tensor:
    """Mark the tokens that stand for k-mers, [UNK] and [MASK] included, bool in the shape of ``ids``."""
    return (ids != pad_id) & (ids != CLS_ID) & (ids != SEP_ID)


def _real_positions(logits: Tensor, windows: list[Window], kmers: Tensor, config: Any) -> Tensor | None:
    """Mark the positions with logits that are neither padding nor special tokens, bool (rows, positions).

    Args:
        logits: (rows, classes), or (rows, positions, classes); a position is a token or a nucleotide.
        windows: the window of each row.
        kmers: bool (rows, tokens), True on k-mers.
        config: configuration of the model.

    Returns:
        None for a model with one row of logits per sequence, which has no positions.
    """
    if logits.ndim == 2:
        return None
    if config.labels_per != "nt":
        return kmers
    lengths = torch.tensor([len(window.row["sequence"]) for window in windows], device=logits.device)
    return torch.arange(logits.shape[1], device=logits.device) < lengths.unsqueeze(1)


def _segments(window: Window, config: Any) -> list[int]:
    """Return the lengths in nt of the segments of a window, which are cut into k-mers separately.

    Most windows are one segment. Each sequence of a pair is a segment, and so is each part for a hierarchical model.
    """
    length = len(window.row["sequence"])
    if "pair" in window.row:
        return [length, len(window.row["pair"])]
    # With a part_length, a sequence is cut into as many parts as it needs; without, into a fixed number of parts.
    count, part_length = parts_of(config)
    count = math.ceil(length / part_length) if part_length else count
    # The first parts are one nucleotide longer than the others if the length is not a multiple of their number.
    return [length // count + (number < length % count) for number in range(count)]


def explain_batch(batch: WindowBatch, settings: Settings) -> Iterator[Explanation]:
    """Iterate over the explanations of the windows of a batch.

    Args:
        batch: the windows.
        settings: how scores are computed.
    """
    if settings.method == "ig":
        yield from _by_token_gradients(batch, settings)
    elif settings.method == "nt_ig":
        yield from _by_letter_gradients(batch, settings)
    elif settings.method in ("attention", "rollout"):
        yield from _by_attention(batch, settings.method)
    else:
        for row in range(len(batch.windows)):
            yield (_by_ism if settings.method == "ism" else _by_occlusion)(batch, row, settings.batch_size)


def _by_token_gradients(batch: WindowBatch, settings: Settings) -> Iterator[Explanation]:
    """Explain windows by integrated gradients over token embeddings; tracks stay as they are.

    A model computes with the embedding of a token, a vector of numbers, in place of the token. Each number gets a
    contribution, and the score of a token is the sum over its vector.
    """
    table = batch.func.model.get_input_embeddings().weight.detach()
    embeddings = table[batch.func.batch["input_ids"]]
    found = []
    for baseline in _baselines(batch, table, settings.baseline):
        baselines = baseline_embeddings(embeddings, batch.kmers, baseline)
        found.append(integrated_gradients(batch.func, embeddings, baselines, settings.steps, settings.most_steps))
    mean = Attribution(  # over the baselines
        scores=torch.stack([one.scores for one in found]).mean(0),
        values=found[0].values,  # the output for the windows themselves, the same with every baseline
        baseline_values=torch.stack([one.baseline_values for one in found]).mean(0),
        steps=torch.stack([one.steps for one in found]).amax(0),
    )
    scores = mean.scores.sum(-1).cpu().numpy()  # over the numbers of each embedding: (rows, ..., tokens)
    for row in range(len(batch.windows)):
        yield batch.of_tokens(row, scores[row], spread_sum, **_path_facts(mean, row))


def _baselines(batch: WindowBatch, table: Tensor, baseline: Baseline) -> Iterator[Tensor]:
    """Iterate over the baselines of the embeddings of a batch: one, or several shuffled sequences."""
    if baseline == "mean":
        yield mean_kmer_embedding(table, batch.k)
    elif baseline == "mask":
        yield table[MASK_ID]
    else:
        for number in range(_SHUFFLES):
            yield table[_shuffled_ids(batch, number)]


def _shuffled_ids(batch: WindowBatch, number: int) -> Tensor:
    """Return the ids of a batch with all sequences shuffled; a sequence is always shuffled in the same way."""
    ids = batch.func.batch["input_ids"].clone()
    for row, window in enumerate(batch.windows):
        given = window.row
        # The seed is the number of the shuffle and the sequence itself, so the result depends neither on the batch nor
        # on the order of windows. The first 64 letters are enough for that.
        upper = given["sequence"][:64] & 0xDF  # & 0xDF turns lower case into upper case in ASCII
        random = np.random.default_rng([number, *upper.tolist()])
        parts = [dinucleotide_shuffle(given[name], random) for name in ("sequence", "pair") if name in given]
        shuffled = batch.encode(row, np.concatenate(parts)[None])["input_ids"][0]
        ids[row][batch.kmers[row]] = shuffled[is_kmer(shuffled, batch.func.model.config.pad_token_id)]
    return ids


def _path_facts(found: Attribution, row: int) -> dict[str, Any]:
    """Return the fields of an explanation that describe the path from its baseline."""
    return {
        "value": float(found.values[row]),
        "base_value": float(found.baseline_values[row]),
        "error": float(found.errors[row]),
        "steps": int(found.steps[row]),
    }


def _by_letter_gradients(batch: WindowBatch, settings: Settings) -> Iterator[Explanation]:
    """Explain windows by integrated gradients over nucleotides.

    The input is the share of each of the four letters at a position: 1 for the letter that is there, 0 for the others.
    The baseline has a share of 1/4 for each. On the path between the two, a position is a mixture of letters, and the
    embedding of a k-mer is the same mixture of the embeddings of all k-mers (see `nucleotides`).
    """
    table = batch.func.model.get_input_embeddings().weight.detach()
    ids = batch.func.batch["input_ids"]
    embeddings = table[ids]
    lengths = [len(batch.letters(row)) for row in range(len(batch.windows))]
    plain = np.zeros((len(lengths), max(lengths), 4), np.float32)
    for row, length in enumerate(lengths):
        plain[row, :length] = one_hot(batch.letters(row))
    inputs = torch.from_numpy(plain).to(batch.device)
    baselines = torch.full_like(inputs, 0.25) * inputs.sum(-1, keepdim=True)  # 0 at N and padding, as in the inputs
    # -1 excludes [UNK]: a k-mer with an unknown letter is not a mixture of known k-mers and keeps its own embedding.
    starts = torch.from_numpy(batch.starts).to(batch.device).masked_fill(ids == UNK_ID, -1)

    def func(rows: Tensor, letters: Tensor) -> Tensor:
        return batch.func(rows, embeddings_of_letters(letters, starts[rows], embeddings[rows], table, batch.k))

    found = integrated_gradients(func, inputs, baselines, settings.steps, settings.most_steps)
    difference = (inputs - baselines).double()
    # A score is the mean gradient times the difference from the baseline, which is 3/4 or -1/4, and 0 only at unknown
    # letters and padding. A hypothetical score (what each of the four letters would contribute at a position) needs the
    # gradient alone.
    gradients = found.scores / difference.where(difference != 0, 1)
    hypothetical = hypothetical_scores(gradients).cpu().numpy()
    scores = found.scores.sum(-1).cpu().numpy()  # over the four letters: (rows, nt)
    for row, length in enumerate(lengths):
        columns = {"letters": hypothetical[row, :length][:, TO_ACGT]}  # from A T C G, the order inside the model
        yield batch.of_nucleotides(row, scores[row, :length], columns=columns, **_path_facts(found, row))


def _by_attention(batch: WindowBatch, method: Method) -> Iterator[Explanation]:
    """Explain windows by attention weights: the shares in which a layer mixes what it knows of the tokens.

    "attention" scores a token by what [CLS] takes from it in the last layer, "rollout" by what reaches the last layer
    from it through all layers. A nucleotide gets the mean score of the k-mers that cover it. Dividing scores among
    nucleotides, as is done with contributions, would give low scores at the ends of a window, where fewer k-mers cover
    a nucleotide; and only the sum of contributions has a meaning that must be kept.
    """
    inputs, func = batch.func.batch, batch.func
    logits, attentions = attention_weights(func.model, **inputs)
    values = read_targets(logits, func.targets).double().cpu().numpy()
    mask = inputs["attention_mask"].bool()
    # A hierarchical model has a mask of (rows, parts, tokens), and returns weights only for parts that are present. Of
    # other models, each row is one part.
    present = mask.any(-1)  # (rows, parts) or (rows,)
    real = mask[present]  # (parts of all rows, tokens), False on padding
    weights = (cls_attention if method == "attention" else rollout)(attentions, real).double()
    entropies = head_entropy(attentions, real).double().cpu().numpy()  # (parts of all rows, layers, heads)
    scores, received = (torch.zeros(mask.shape, dtype=torch.float64, device=mask.device) for _ in range(2))
    scores[present] = weights
    received[present] = attention_received(attentions, real).double()
    owner = present.nonzero()[:, 0].cpu().numpy()  # row of each part
    for row in range(len(batch.windows)):
        columns = {"entropy": entropies[owner == row].mean(0)}  # mean over the parts of the row
        if method == "attention":
            by_token, length = received[row].cpu().numpy(), len(batch.letters(row))
            columns["received"] = mean_of_cover(by_token, batch.starts[row], batch.k, length)
        row_scores = scores[row].cpu().numpy()
        yield batch.of_tokens(row, row_scores, mean_of_cover, value=float(values[row]), columns=columns)


def _by_ism(batch: WindowBatch, row: int, batch_size: int) -> Explanation:
    """Explain a window by all its substitutions."""
    found = ism(lambda versions: batch.values(row, versions), batch.letters(row), batch_size)
    return batch.of_nucleotides(row, found.largest, value=found.reference, columns={"letters": found.changes})


def _by_occlusion(batch: WindowBatch, row: int, batch_size: int) -> Explanation:
    """Explain a window by hiding its tokens one by one."""

    def func(ids: np.ndarray) -> np.ndarray:
        rows = torch.full((len(ids),), row, device=batch.device)
        with torch.no_grad():
            found = batch.func(rows, input_ids=torch.from_numpy(ids).to(batch.device))
        return found.double().cpu().numpy()

    ids, kmers = batch.func.batch["input_ids"][row].cpu().numpy(), batch.kmers[row].cpu().numpy()
    value, drops = occlusion(func, ids, kmers, MASK_ID, batch_size)
    return batch.of_tokens(row, drops, spread_sum, value=value)
