"""Place pretraining windows on contigs (at random, cut side by side as in DNABERT, or tiled), and weigh contigs.

In this module a contig is a position in arrays of selected contigs, a start is counted from the first nt of its contig,
and lengths are in nt.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ..batches.chance import Stream, random_bits, row_keys, uniform
from ..errors import InputError
from ..sequence import did_you_mean, tile_all

_DRAWN, _ALL = ("sampled", "fixed"), ("sampled", "cuts", "mixed", "fixed", "tiles")
#: Modes that use a setting; in the others it must keep its default.
_USED_BY = {
    "min_length": ("sampled", "cuts", "mixed", "tiles"),
    "full_share": ("sampled", "cuts", "mixed"),
    "sampled_per_cut": ("mixed",),
    "step": ("tiles",),
    "coverage": _DRAWN,
    **dict.fromkeys(("length_exponent", "weight_column", "group_column", "group_weights"), (*_DRAWN, "mixed")),
}


class Places(NamedTuple):
    """Where windows lie on contigs.

    Attributes:
        contig: int64 (windows,), position of the contig among the selected ones.
        start: int64 (windows,), first nt, counted from the start of the contig.
        length: int64 (windows,), nt.
    """

    contig: np.ndarray
    start: np.ndarray
    length: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Places:
        """Build an uninitialised table of this many windows."""
        return cls(*np.empty((3, count), np.int64))

    def take(self, rows: np.ndarray) -> Places:
        """Return some of the windows, selected by integers or by bool."""
        return Places(*(column[rows] for column in self))

    def put(self, rows: np.ndarray, others: Places) -> None:
        """Replace the windows at some rows, integer (rows,), by other windows, in place."""
        for column, values in zip(self, others, strict=True):
            column[rows] = values


@dataclass(frozen=True)
class WindowSampling:
    """How pretraining windows are drawn.

    Args:
        mode: "sampled": at random places, lengths as in ``full_share``; "cuts": contigs cut side by side into such
            lengths, no nt twice (DNABERT); "mixed": both (GenomeNet-BERT); "fixed": at random places, all of full
            length; "tiles": of full length, every ``step`` nt. Cuts and tiles are the same in every epoch.
        length: full window length in nt.
        min_length: shortest window in nt; shorter contigs, and shorter remainders of contigs, are omitted.
        full_share: share of windows of full length; the others are uniform in min_length..length.
        sampled_per_cut: windows at random places for each cut, in mode "mixed".
        step: nt from one tile to the next; less than ``length`` lets them overlap, null sets them side by side.
        coverage: how often an epoch of modes "sampled" and "fixed" covers the nt of the contigs; sets its size.
        rc_probability: chance to read a window from the opposite strand.
        max_unknown: largest share of letters other than A, C, G, T in a window: cuts and tiles with more are omitted,
            windows at random places are drawn again.
        length_exponent: a contig is chosen with a chance in proportion to its length to this power: 1 gives all nt the
            same chance, 0 all contigs.
        weight_column: metadata column of numbers that multiply that chance, for each contig or genome.
        group_column: metadata column (species, class, genome) whose values share the windows.
        group_weights: the share of each value, such as ``{human: 2, mouse: 1}``; 0 omits it, null shares evenly.
            Lengths and ``weight_column`` count within a group only.

    Raises:
        InputError: if a setting is out of range, or the mode does not use it.

    Source: DNABERT, pretraining data (cuts of 5..510 nt, half of them full length); GenomeNet-BERT section 2 (genomes
    split into non-overlapping sequences of sampled length, and cut from randomly sampled locations).
    """

    mode: Literal["sampled", "cuts", "mixed", "fixed", "tiles"] = "sampled"
    length: int = 510
    min_length: int = 5
    full_share: float = 0.5
    sampled_per_cut: float = 2.0
    step: int | None = None
    coverage: float = 1.0
    rc_probability: float = 0.0
    max_unknown: float = 0.5
    length_exponent: float = 1.0
    weight_column: str | None = None
    group_column: str | None = None
    group_weights: dict[str, float] | None = None

    def __post_init__(self) -> None:
        """Check all settings, and that the mode uses those that are not defaults."""
        if self.mode not in _ALL:
            raise InputError(f"windows: mode must be one of {', '.join(_ALL)}, not {self.mode!r}")
        for setting in fields(self):
            _check_number(setting.name, getattr(self, setting.name), setting.default)
        # A setting that the mode ignores is an error: whoever sets it expects it to matter.
        for setting in fields(self):
            users = _USED_BY.get(setting.name, _ALL)
            if self.mode not in users and getattr(self, setting.name) != setting.default:
                raise InputError(
                    f"windows: {setting.name} is for mode {' or '.join(users)}; omit it in mode {self.mode}"
                )
        if self.length < 1:
            raise InputError(f"windows: length must be at least 1 nt, not {self.length}")
        if self.mode != "fixed" and not 1 <= self.min_length <= self.length:
            raise InputError(f"windows: min_length must lie in 1..length ({self.length}), not {self.min_length}")
        if self.step is not None and not 1 <= self.step <= self.length:
            raise InputError(f"windows: step must lie in 1..length ({self.length}), not {self.step}")
        for name in ("full_share", "rc_probability", "max_unknown"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"windows: {name} must lie in 0..1, not {getattr(self, name)}")
        for name in ("coverage", "sampled_per_cut"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"windows: {name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.length_exponent < float("inf"):
            raise InputError(f"windows: length_exponent must be 0 or more, not {self.length_exponent}")
        _check_weights(self.group_column, self.group_weights)

    @property
    def shortest(self) -> int:
        """Length of the shortest window, and so of the shortest usable contig, in nt."""
        return self.length if self.mode == "fixed" else self.min_length

    @property
    def mean_length(self) -> float:
        """Mean window length in nt, if contigs are long enough."""
        if self.mode in ("fixed", "tiles"):
            return float(self.length)
        return self.full_share * self.length + (1 - self.full_share) * (self.min_length + self.length) / 2

    def drawn(self) -> WindowSampling:
        """Return settings that draw the same lengths at random places, for a validation set spread over all contigs."""
        if self.mode in _DRAWN:
            return replace(self, coverage=1.0)
        mode: Literal["sampled", "fixed"] = "fixed" if self.mode == "tiles" else "sampled"
        unused: dict[str, Any] = {name: _DEFAULTS[name] for name, users in _USED_BY.items() if mode not in users}
        return replace(self, mode=mode, **unused)

    def lengths(self, draws: np.ndarray) -> np.ndarray:
        """Turn uniform draws in [0, 1), (..., 2), into window lengths in nt, int64 (...)."""
        if self.mode in ("fixed", "tiles"):
            return np.full(draws.shape[:-1], self.length)
        spread = self.min_length + (draws[..., 1] * (self.length - self.min_length + 1)).astype(np.int64)
        return np.where(draws[..., 0] < self.full_share, self.length, spread)


_DEFAULTS: dict[str, Any] = {setting.name: setting.default for setting in fields(WindowSampling)}


def _check_number(name: str, value: Any, default: Any) -> None:
    """Check that a number is a number, and a number of nt a whole one; YAML files may hold anything."""
    whole = name in ("length", "min_length", "step")
    number = isinstance(value, (int, np.integer) if whole else (int, float, np.number)) and not isinstance(value, bool)
    if not number and (whole or isinstance(default, float)) and not (name == "step" and value is None):
        raise InputError(f"windows: {name} must be a {'whole number of nt' if whole else 'number'}, not {value!r}")


def _check_weights(column: str | None, weights: dict[str, float] | None) -> None:
    """Check the weights of groups."""
    if weights is None:
        return
    if column is None:
        raise InputError("windows: group_weights need a group_column whose values they weigh")
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise InputError(f"windows: the group_weights of {name!r} must be 0 or more, not {weight}")
    if not any(weights.values()):
        raise InputError("windows: group_weights are all 0; give at least one group a weight above 0")


def cut_side_by_side(lengths: np.ndarray, sampling: WindowSampling, seed: int, numbers: np.ndarray) -> Places:
    """Cut contigs into windows side by side, from the first nt to the last, as DNABERT does.

    Each window has full length with chance ``full_share``, otherwise a uniform length in min_length..length. Once no
    more than a full window remains, the remainder is the last window, which is omitted if it is shorter than
    ``min_length``.

    Args:
        lengths: int64 (contigs,), nt.
        sampling: lengths of the cuts.
        seed: seed of all draws.
        numbers: integer (contigs,), a number for each contig: its cuts depend on that and the seed only.

    Source: DNABERT, ``cut_no_overlap`` of its script for pretraining data.
    """
    keys, found, first, draws = row_keys(seed, np.zeros(1), numbers), [], 0, 8
    contig, place = np.arange(len(lengths)), np.zeros(len(lengths), np.int64)
    while len(contig):  # all contigs at once, with twice as many cuts in every round
        bits = random_bits(keys[contig], Stream.CUT_LENGTH, 2 * draws, 2 * first)
        ends = place[:, None] + np.cumsum(sampling.lengths(uniform(bits).reshape(len(contig), draws, 2)), 1)
        starts = np.hstack([place[:, None], ends[:, :-1]])
        rest = lengths[contig, None] - starts
        is_last = rest <= sampling.length
        row, column = np.nonzero(np.cumsum(is_last, 1) - is_last == 0)  # no cut after the last one
        cut = np.where(is_last, rest, ends - starts)[row, column]
        found.append(np.stack([contig[row], starts[row, column], cut]))
        unfinished = ~is_last[:, -1]
        contig, place, first, draws = contig[unfinished], ends[unfinished, -1], first + draws, 2 * draws
    places = Places(*np.concatenate([Places.empty(0), *found], 1))
    places = places.take(np.lexsort((places.start, places.contig)))
    return places.take(places.length >= sampling.min_length)


def tile_contigs(lengths: np.ndarray, length: int, step: int, shortest: int) -> Places:
    """Cut contigs into windows every ``step`` nt, the last one moved back to the end of its contig.

    Args:
        lengths: int64 (contigs,), nt.
        length: nt of a window; a shorter contig is one window.
        step: nt from the start of one window to the start of the next.
        shortest: shortest contig that is used, in nt.

    >>> [column.tolist() for column in tile_contigs(np.array([10, 3, 2]), length=4, step=3, shortest=3)]
    [[0, 0, 0, 1], [0, 3, 6, 0], [4, 4, 4, 3]]
    """
    usable = np.flatnonzero(lengths >= shortest)
    number, starts, ends = tile_all(lengths[usable], length, step, end="flush")
    return Places(usable[number], starts, ends - starts)


def contig_chances(contigs: pd.DataFrame, sampling: WindowSampling, source: str) -> np.ndarray:
    """Compute the chance of each contig that a window is drawn from it.

    Args:
        contigs: the selected rows of a store's table of contigs.
        sampling: exponent, weights and groups.
        source: path of the store, for error messages.

    Returns:
        float64 (contigs,), not normalised.

    Raises:
        InputError: if a column is missing or holds an invalid weight, or a group has no contig with a weight above 0.
    """
    chances = contigs["length"].to_numpy(float) ** sampling.length_exponent
    if sampling.weight_column is not None:
        chances = chances * _weights(contigs, sampling.weight_column, source)
    if sampling.group_column is not None:
        names, group = np.unique(_groups(contigs, sampling.group_column, source), return_inverse=True)
        names = names.tolist()
        shares = _group_shares(names, sampling, source)
        # Within a group the chances so far decide; their sum is scaled to the weight of the group.
        totals = np.bincount(group, chances)
        empty = np.flatnonzero((totals == 0) & (shares > 0))
        if len(empty):
            raise InputError(f"{source}: no contig of {sampling.group_column} {names[empty[0]]!r} has a weight above 0")
        chances = chances * (shares / np.maximum(totals, np.finfo(float).tiny))[group]
    if not chances.any():
        raise InputError(f"{source}: all selected contigs have weight 0; raise a weight, or select other contigs")
    return chances


def _column(contigs: pd.DataFrame, name: str, key: str, source: str) -> pd.Series:
    """Return a column of the table of contigs."""
    if name not in contigs:
        there = ", ".join(map(repr, contigs.columns))
        raise InputError(f"{source}: no column {name!r} for windows.{key}; the columns are {there}")
    return contigs[name]


def _weights(contigs: pd.DataFrame, name: str, source: str) -> np.ndarray:
    """Return the weights of contigs, float64 (contigs,)."""
    column = _column(contigs, name, "weight_column", source)
    weights = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if len(wrong):
        contig, cell = contigs["name"].iloc[wrong[0]], column.iloc[wrong[0]]
        raise InputError(f"{source}: contig {contig!r} has {name} {cell}; a weight is a number, 0 or more")
    return weights


def _groups(contigs: pd.DataFrame, name: str, source: str) -> np.ndarray:
    """Return the group of each contig, str (contigs,)."""
    column = _column(contigs, name, "group_column", source)
    if column.isna().any():
        contig = contigs["name"][column.isna()].iloc[0]
        raise InputError(f"{source}: contig {contig!r} has no {name}; fill it in or omit the contig")
    return column.astype(str).to_numpy(str)


def _group_shares(names: list[str], sampling: WindowSampling, source: str) -> np.ndarray:
    """Look up the weight of each group."""
    if sampling.group_weights is None:
        return np.ones(len(names))
    weights = {str(name): weight for name, weight in sampling.group_weights.items()}  # YAML reads 9606 as a number
    for name in names:
        if name not in weights:
            # A key of the user that is no group is probably this group, misspelt.
            others = ((key, did_you_mean(key, [name])) for key in weights if key not in names)
            hint = next((f", but {key!r}{guess}" for key, guess in others if guess), "; 0 omits it")
            raise InputError(f"{source}: windows.group_weights has no {sampling.group_column} {name!r}{hint}")
    return np.array([weights[name] for name in names], float)
