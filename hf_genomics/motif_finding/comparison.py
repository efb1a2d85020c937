"""Compare motifs with those of a MEME file by TOMTOM, as memelite computes it."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control

from ..errors import InputError
from .meme import MemeMotif

logger = logging.getLogger(__name__)

#: Number of targets below which TOMTOM's p means little, because the targets' own positions are its background.
FEWEST_TARGETS = 25
_BEST = 5  # targets of each motif that are listed


class Match(NamedTuple):
    """A motif and a target that it resembles.

    Attributes:
        motif: name of the motif.
        target: name of the target.
        other_name: alternate name of the target.
        p: probability of a match as good as this by chance.
        q: p corrected for all targets; NaN if there are fewer than `FEWEST_TARGETS`.
        offset: row of the target, on ``strand``, at which the motif starts; negative if it starts before the target.
        overlap: number of rows that overlap.
        strand: "+", or "-" if the target was reverse-complemented.
    """

    motif: str
    target: str
    other_name: str
    p: float
    q: float
    offset: int
    overlap: int
    strand: str


def check_memelite() -> None:
    """Raise InputError if memelite is missing, with the command that installs it."""
    if importlib.util.find_spec("memelite") is None:
        raise InputError("compare needs memelite; run: pip install 'hf_genomics[motifs]'")


def compare_motifs(motifs: Sequence[tuple[str, np.ndarray]], targets: Sequence[MemeMotif], source: str) -> list[Match]:
    """Find the targets that each motif resembles most.

    The first call on a machine compiles memelite's code, which takes about a minute.

    Args:
        motifs: name and matrix (width, 4) of each motif.
        targets: motifs to compare with.
        source: file of the targets, for messages.

    Returns:
        Up to 5 targets of each motif, the lowest p first.

    Source: Gupta et al. 2007, "Quantifying similarity between motifs".
    """
    if not motifs:
        return []
    few = len(targets) < FEWEST_TARGETS
    if few:
        logger.warning(
            "%s: %d motifs are too few to say which match is significant (%d are needed): q is left empty",
            source,
            len(targets),
            FEWEST_TARGETS,
        )
    p, _, offsets, overlaps, strands = _tomtom([matrix for _, matrix in motifs], [one.matrix for one in targets])
    found = []
    for row, (name, _) in enumerate(motifs):
        q = np.full(len(targets), np.nan) if few else false_discovery_control(p[row].clip(0, 1))
        for column in np.argsort(p[row], kind="stable")[:_BEST].tolist():
            target = targets[column]
            numbers = (float(p[row, column]), float(q[column]), int(offsets[row, column]), int(overlaps[row, column]))
            found.append(Match(name, target.name, target.other_name, *numbers, "-" if strands[row, column] else "+"))
    return found


def _tomtom(queries: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Run memelite's TOMTOM on matrices (width, 4); return p, score, offset, overlap and strand, (queries, targets)."""
    import warnings

    from memelite import tomtom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few targets: `compare_motifs` says so itself
        return tuple(
            np.asarray(one) for one in tomtom([one.T.copy() for one in queries], [one.T.copy() for one in targets])
        )
