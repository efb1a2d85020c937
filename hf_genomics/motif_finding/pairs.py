"""Find motifs that occur together, and motifs between whose sites the model's attention is high.

A motif is a short pattern of letters, and a site is a place where a sequence matches it (see sites.py).
Attention is weak evidence: it shows what a layer reads, not what the prediction rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, combinations_with_replacement, islice
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import false_discovery_control, hypergeom, wilcoxon
from transformers import PreTrainedModel

from ..genomes.shuffling import dinucleotide_shuffle
from ..inference.scores import ready
from ..inference.windows import Window
from ..interpretation.attention import attention_weights
from ..interpretation.scoring import WindowBatch
from ..tokenization_kmer import KmerTokenizer
from .sites import Site

_SHUFFLES = 4  # of each window
_MOST_WINDOWS = 500  # of each pair of motifs
_LEAST_WINDOWS = 10


class Cooccurrence(NamedTuple):
    """How often two motifs occur in one sequence.

    Attributes:
        sequences: number of sequences with sites of both that do not overlap.
        expected: the number if they were independent.
        p: probability of at least as many by chance.
        spacing: median distance between the centres of the closest sites, in nt.
    """

    sequences: int
    expected: float
    p: float
    spacing: float


class PairAttention(NamedTuple):
    """Attention between the sites of two motifs.

    Attributes:
        windows: number of windows with sites of both.
        attention: mean attention between the sites, in both directions.
        attention_shuffled: the same in shuffled windows, at the same positions.
        relative: mean ratio of that attention to what all tokens pay to the sites.
        relative_shuffled: the same in shuffled windows.
        p: probability that, by chance, ratios exceed those in the shuffles by as much (Wilcoxon's signed-rank test,
            one-sided).
    """

    windows: int
    attention: float
    attention_shuffled: float
    relative: float
    relative_shuffled: float
    p: float


class SitePair(NamedTuple):
    """Two sites of one sequence that do not overlap.

    Attributes:
        motifs: numbers of their motifs, the lower one first.
        first: site of the first motif.
        second: site of the second motif.
    """

    motifs: tuple[int, int]
    first: Site
    second: Site


def closest_pairs(sites: Sequence[Sequence[Site]]) -> list[SitePair]:
    """List the closest sites of every two motifs, and of each motif with itself, in every sequence.

    Args:
        sites: sites of each motif.
    """
    by_sequence: list[dict[int, list[Site]]] = []
    for one in sites:
        groups: dict[int, list[Site]] = {}
        for site in one:
            groups.setdefault(site.sequence, []).append(site)
        by_sequence.append(groups)
    found = []
    for first, second in combinations_with_replacement(range(len(sites)), 2):
        for sequence in sorted(by_sequence[first].keys() & by_sequence[second].keys()):
            here, there = by_sequence[first][sequence], by_sequence[second][sequence]
            couples = combinations(here, 2) if first == second else ((a, b) for a in here for b in there)
            apart = [(a, b) for a, b in couples if a.end <= b.start or b.end <= a.start]
            if apart:
                found.append(SitePair((first, second), *min(apart, key=lambda pair: _distance(*pair))))
    return found


def _distance(first: Site, second: Site) -> float:
    """Return the distance between the centres of two sites, in nt."""
    return abs(first.start + first.end - second.start - second.end) / 2


def cooccurrence(
    pairs: Sequence[SitePair], sites: Sequence[Sequence[Site]], total: int
) -> dict[tuple[int, int], Cooccurrence]:
    """Test which motifs occur together in more sequences than by chance.

    Args:
        pairs: see `closest_pairs`.
        sites: sites of each motif.
        total: number of sequences.

    Returns:
        For every two motifs, and every motif with itself; then ``expected`` and ``p`` are NaN.
    """
    having = [len({site.sequence for site in one}) for one in sites]
    found = {}
    for first, second in combinations_with_replacement(range(len(sites)), 2):
        spacings = [_distance(pair.first, pair.second) for pair in pairs if pair.motifs == (first, second)]
        expected, p = np.nan, np.nan
        if first != second:
            expected = having[first] * having[second] / total
            p = float(hypergeom.sf(len(spacings) - 1, total, having[first], having[second]))
        found[first, second] = Cooccurrence(len(spacings), expected, p, float(np.median(spacings or [np.nan])))
    return found


def pair_attention(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    windows: Sequence[Window],
    pairs: Sequence[SitePair],
    batch_size: int,
    seed: int,
) -> dict[tuple[int, int], PairAttention]:
    """Compare the attention between sites with that at the same positions of shuffled windows.

    The attention between two tokens is the highest of all heads, averaged over layers.

    Args:
        model: fine-tuned model that reads a sequence as one row of tokens.
        tokenizer: tokenizer of the model.
        windows: windows of the sequences, whose ``sequence_index`` is the ``sequence`` of a site; a pair counts if one
            of them holds both sites.
        pairs: see `closest_pairs`; of two motifs, the first 500 are used.
        batch_size: number of windows that are encoded at once.
        seed: seed of the shuffles.

    Returns:
        For every two motifs with at least 10 such windows.

    Source: Ullah and Ben-Hur 2021, SATORI; here positions are the same in the shuffles, so that the distance between
    sites plays no role, and the attention is relative, so that a site to which all tokens attend counts as nothing.
    """
    by_sequence: dict[int, list[Window]] = {}
    for window in windows:
        by_sequence.setdefault(window.sequence_index, []).append(window)
    placed: dict[tuple[int, int], list[tuple[Window, SitePair]]] = {}
    for pair in pairs:
        start, end = min(pair.first.start, pair.second.start), max(pair.first.end, pair.second.end)
        for window in by_sequence.get(pair.first.sequence, []):
            group = placed.setdefault(pair.motifs, [])
            if window.start <= start and end <= window.end and len(group) < _MOST_WINDOWS:
                group.append((window, pair))
                break
    generator, found = np.random.default_rng(seed), {}
    with ready(model) as device:
        for motifs, group in placed.items():
            if len(group) >= _LEAST_WINDOWS:
                measured = np.array(list(_measure(model, tokenizer, group, batch_size, generator, device)))
                found[motifs] = _summary(measured)
    return found


def _summary(measured: np.ndarray) -> PairAttention:
    """Summarise the attention of windows, (windows, 1 + shuffles, 2): attention and relative attention."""
    real, shuffled = measured[:, 0], measured[:, 1:].mean(1)
    difference = real[:, 1] - shuffled[:, 1]
    changed = difference[difference != 0]  # the test omits equal pairs anyway, but then computes no exact p
    p = float(wilcoxon(changed, alternative="greater").pvalue) if len(changed) else 1.0
    attention, relative = ((float(real[:, n].mean()), float(shuffled[:, n].mean())) for n in (0, 1))
    return PairAttention(len(measured), *attention, *relative, p)


def _measure(
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    group: Sequence[tuple[Window, SitePair]],
    batch_size: int,
    generator: np.random.Generator,
    device: torch.device,
) -> Iterator[np.ndarray]:
    """Iterate over the attention of windows and of their shuffles, (1 + shuffles, 2) each."""
    remaining = iter(group)
    while chunk := list(islice(remaining, max(1, batch_size // (1 + _SHUFFLES)))):
        rows = []
        for window, _ in chunk:
            letters = window.row["sequence"]
            versions = [letters, *(dinucleotide_shuffle(letters, generator) for _ in range(_SHUFFLES))]
            rows += [window._replace(row={**window.row, "sequence": version}) for version in versions]
        batch = WindowBatch.of(model, tokenizer, rows, 0, device)
        _, attentions = attention_weights(model, **batch.func.batch)
        weights = torch.stack([layer.amax(1) for layer in attentions]).mean(0).double().cpu().numpy()
        values = []
        for row, (window, pair) in enumerate((window, pair) for window, pair in chunk for _ in range(1 + _SHUFFLES)):
            first, second = (
                tokens_of(batch.starts[row], tokenizer.k, site.start - window.start, site.end - window.start)
                for site in (pair.first, pair.second)
            )
            values.append(attention_between(weights[row], first, second, batch.starts[row] >= 0))
        yield from np.array(values).reshape(len(chunk), 1 + _SHUFFLES, 2)


def tokens_of(starts: np.ndarray, k: int, start: int, end: int) -> np.ndarray:
    """Mark the tokens of which at least half lies in a stretch; if there is none, those that share most nt with it.

    Args:
        starts: first nucleotide of each k-mer, -1 on other tokens, (tokens,).
        k: k-mer size in nt.
        start: first position of the stretch, 0-based.
        end: position after the last one.

    Returns:
        bool (tokens,).
    """
    shared = np.minimum(starts + k, end) - np.maximum(starts, start)
    shared = np.where(starts >= 0, shared, 0)
    return (shared > 0) & (shared >= min(k / 2, shared.max(initial=0)))


def attention_between(
    weights: np.ndarray, first: np.ndarray, second: np.ndarray, real: np.ndarray
) -> tuple[float, float]:
    """Compute the mean attention between two groups of tokens, in both directions.

    Args:
        weights: (tokens, tokens), rows attend to columns.
        first: bool (tokens,).
        second: bool (tokens,).
        real: bool (tokens,), the tokens that stand for k-mers.

    Returns:
        The attention; and its ratio to the attention that all k-mers pay to the same tokens. NaN if a group is empty.
    """
    if not (first.any() and second.any()):
        return float("nan"), float("nan")
    ways = [(weights[a][:, b].mean(), weights[real][:, b].mean()) for a, b in ((first, second), (second, first))]
    return float(np.mean([way[0] for way in ways])), float(np.mean([way[0] / way[1] for way in ways]))


def corrected(p: Sequence[float]) -> list[float]:
    """Correct values of p for their number (Benjamini and Hochberg); NaN stays NaN.

    >>> corrected([0.01, float("nan"), 0.04])
    [0.02, nan, 0.04]
    """
    values, known = np.array(p, float), ~np.isnan(p) if len(p) else np.zeros(0, bool)
    if known.any():
        values[known] = false_discovery_control(values[known])
    return values.tolist()
