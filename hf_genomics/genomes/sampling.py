"""How pretraining windows lie on contigs: drawn by chance, cut side by side as DNABERT does, tiled; and contig weights.

Here a contig is a position in arrays of selected contigs, a start counts from the contig's first nt, lengths are in nt.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ..batches.chance import random_bits, row_keys, uniform
from ..errors import InputError

_CUT = 102  # the stream of random numbers

_DRAWN, _ALL = ("sampled", "fixed"), ("sampled", "cuts", "mixed", "fixed", "tiles")
#: Which modes use a setting; in the others it must be left alone.
_USED_BY = {
    "min_length": ("sampled", "cuts", "mixed", "tiles"),
    "full_share": ("sampled", "cuts", "mixed"),
    "sampled_per_cut": ("mixed",),
    "step": ("tiles",),
    "coverage": _DRAWN,
    **dict.fromkeys(("length_exponent", "weight_column", "group_column", "group_weights"), (*_DRAWN, "mixed")),
}


class Places(NamedTuple):
    """Windows on contigs, (windows,) int64 each."""

    contig: np.ndarray
    start: np.ndarray
    length: np.ndarray

    def take(self, rows: np.ndarray) -> Places:
        """Take some of the windows, by numbers or by flags."""
        return Places(*(column[rows] for column in self))


@dataclass(frozen=True)
class WindowSampling:
    """How pretraining windows are drawn.

    Args:
        mode: "sampled": at random places, lengths as in ``full_share``; "cuts": contigs cut side by side into such
            lengths, no nt twice (DNABERT); "mixed": both (GenomeNet-BERT); "fixed": at random places, all of full
            length; "tiles": of full length, every ``step`` nt. Cuts and tiles are the same in every epoch.
        length: full window length in nt.
        min_length: shortest window in nt; a rest of a contig, or a contig, shorter than that is left out.
        full_share: share of windows of full length; the others are uniform in min_length..length.
        sampled_per_cut: windows at random places for each cut, in mode "mixed".
        step: nt from one tile to the next; less than ``length`` lets them overlap, null sets them side by side.
        coverage: windows in an epoch of modes "sampled" and "fixed", as how often the nt of the contigs are covered.
        rc_probability: chance to read a window from the opposite strand.
        max_unknown: windows with a larger share of letters other than A, C, G, T are skipped: cuts and tiles are left
            out, windows at random places are drawn again.
        length_exponent: a contig is chosen with a chance in proportion to its length to this power: 1 treats all nt
            alike, 0 all contigs.
        weight_column: metadata column of numbers that multiply that chance, for each contig or genome.
        group_column: metadata column (species, class, genome) whose values share the windows among them.
        group_weights: the part of each value, such as ``{human: 2, mouse: 1}``; 0 leaves it out, null shares evenly.
            Lengths and ``weight_column`` decide within a group only.

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
        """Check the numbers, and that the mode uses them."""
        if self.mode not in _ALL:
            raise InputError(f"windows: mode must be one of {', '.join(_ALL)}, not {self.mode!r}")
        for setting in fields(self):
            _check_number(setting.name, getattr(self, setting.name), setting.default)
        for setting in fields(self):
            users = _USED_BY.get(setting.name, _ALL)
            if self.mode not in users and getattr(self, setting.name) != setting.default:
                raise InputError(
                    f"windows: {setting.name} is for mode {' or '.join(users)}; leave it out of {self.mode}"
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
        """The shortest window in nt, and so the shortest contig."""
        return self.length if self.mode == "fixed" else self.min_length

    @property
    def mean_length(self) -> float:
        """Mean window length in nt, before cuts at contig ends."""
        if self.mode in ("fixed", "tiles"):
            return float(self.length)
        return self.full_share * self.length + (1 - self.full_share) * (self.min_length + self.length) / 2

    def drawn(self) -> WindowSampling:
        """Give the same lengths at random places, for a validation set that is spread over all contigs."""
        if self.mode in _DRAWN:
            return replace(self, coverage=1.0)
        mode: Literal["sampled", "fixed"] = "fixed" if self.mode == "tiles" else "sampled"
        unused: dict[str, Any] = {name: _default(name) for name, users in _USED_BY.items() if mode not in users}
        return replace(self, mode=mode, **unused)

    def lengths(self, draws: np.ndarray) -> np.ndarray:
        """Turn draws in [0, 1), (..., 2), into window lengths in nt, int64 (...)."""
        if self.mode in ("fixed", "tiles"):
            return np.full(draws.shape[:-1], self.length)
        spread = self.min_length + (draws[..., 1] * (self.length - self.min_length + 1)).astype(np.int64)
        return np.where(draws[..., 0] < self.full_share, self.length, spread)


def _default(name: str) -> Any:
    return WindowSampling.__dataclass_fields__[name].default


def _check_number(name: str, value: Any, default: Any) -> None:
    """Refuse a text or a truth value for a number, and a fraction for a number of nt."""
    whole = name in ("length", "min_length", "step")
    number = isinstance(value, (int, np.integer) if whole else (int, float, np.number)) and not isinstance(value, bool)
    if not number and (whole or isinstance(default, float)) and not (name == "step" and value is None):
        raise InputError(f"windows: {name} must be a {'whole number of nt' if whole else 'number'}, not {value!r}")


def _check_weights(column: str | None, weights: dict[str, float] | None) -> None:
    if weights is None:
        return
    if column is None:
        raise InputError("windows: group_weights need a group_column whose values they weigh")
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise InputError(f"windows: the group_weights of {name!r} must be 0 or more, not {weight}")
    if not any(weights.values()):
        raise InputError("windows: group_weights are all 0; give one group at least a part of the windows")


def cut_side_by_side(lengths: np.ndarray, sampling: WindowSampling, seed: int, numbers: np.ndarray) -> Places:
    """Cut contigs into windows side by side, from the first nt to the last, as DNABERT does.

    Each cut is of full length with chance ``full_share``, else uniform in min_length..length; what is left when no more
    than a full window remains is the last one. That may be shorter than ``min_length``, and is then left out.

    Args:
        lengths: (contigs,) nt.
        sampling: lengths of the cuts.
        seed: of all draws.
        numbers: (contigs,) a number for each contig, on which, with the seed, its cuts depend alone.

    Source: DNABERT, ``cut_no_overlap`` of its script for pretraining data.
    """
    keys, found, first, draws = row_keys(seed, np.zeros(1), numbers), [], 0, 8
    contig, place = np.arange(len(lengths)), np.zeros(len(lengths), np.int64)
    while len(contig):  # all contigs at once, twice as many cuts in every round
        bits = random_bits(keys[contig], _CUT, 2 * draws, 2 * first)
        ends = place[:, None] + np.cumsum(sampling.lengths(uniform(bits).reshape(len(contig), draws, 2)), 1)
        starts = np.hstack([place[:, None], ends[:, :-1]])
        rest = lengths[contig, None] - starts
        is_last = rest <= sampling.length
        row, column = np.nonzero(np.cumsum(is_last, 1) - is_last == 0)  # no cut after the last one
        cut = np.where(is_last, rest, ends - starts)[row, column]
        found.append(np.stack([contig[row], starts[row, column], cut]))
        unfinished = ~is_last[:, -1]
        contig, place, first, draws = contig[unfinished], ends[unfinished, -1], first + draws, 2 * draws
    places = Places(*np.concatenate([np.empty((3, 0), np.int64), *found], 1))
    places = places.take(np.lexsort((places.start, places.contig)))
    return places.take(places.length >= sampling.min_length)


def tile_contigs(lengths: np.ndarray, length: int, step: int, shortest: int) -> Places:
    """Lay windows of ``length`` nt every ``step`` nt, and a last one up to the contig's end where nt are left.

    A contig shorter than ``length`` is one window, if it has ``shortest`` nt.

    >>> [column.tolist() for column in tile_contigs(np.array([10, 3, 2]), length=4, step=3, shortest=3)]
    [[0, 0, 0, 1], [0, 3, 6, 0], [4, 4, 4, 3]]
    """
    contig = np.flatnonzero(lengths >= shortest)
    room = np.maximum(lengths[contig] - length, 0)  # nt in which a window can start, without the first
    counts = -(-room // step) + 1
    contig, room = np.repeat(contig, counts), np.repeat(room, counts)
    number = np.arange(len(contig)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Places(contig, np.minimum(number * step, room), np.minimum(lengths[contig], length))


def contig_chances(contigs: pd.DataFrame, sampling: WindowSampling, source: str) -> np.ndarray:
    """Give the chance of each contig to be drawn from, (contigs,) float64, not normalised.

    Args:
        contigs: the selected rows of a store's table of contigs.
        sampling: exponent, weights and groups.
        source: path for error messages.

    Raises:
        InputError: if a column is missing or holds what is no weight, or a group has none.
    """
    chances = contigs["length"].to_numpy(float) ** sampling.length_exponent
    if sampling.weight_column is not None:
        chances = chances * _weights(contigs, sampling.weight_column, source)
    if sampling.group_column is not None:
        names, group = np.unique(_groups(contigs, sampling.group_column, source), return_inverse=True)
        names = names.tolist()
        parts = _parts(names, sampling, source)
        totals = np.bincount(group, chances)
        empty = np.flatnonzero((totals == 0) & (parts > 0))
        if len(empty):
            raise InputError(f"{source}: no contig of {sampling.group_column} {names[empty[0]]!r} has a weight above 0")
        chances = chances * (parts / np.maximum(totals, np.finfo(float).tiny))[group]
    if not chances.any():
        raise InputError(f"{source}: all selected contigs have weight 0; give one more, or select others")
    return chances


def _column(contigs: pd.DataFrame, name: str, key: str, source: str) -> pd.Series:
    if name not in contigs:
        there = ", ".join(map(repr, contigs.columns))
        raise InputError(f"{source}: no column {name!r} for windows.{key}; the columns are {there}")
    return contigs[name]


def _weights(contigs: pd.DataFrame, name: str, source: str) -> np.ndarray:
    column = _column(contigs, name, "weight_column", source)
    weights = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if len(wrong):
        contig, cell = contigs["name"].iloc[wrong[0]], column.iloc[wrong[0]]
        raise InputError(f"{source}: contig {contig!r} has {name} {cell}; a weight is a number, 0 or more")
    return weights


def _groups(contigs: pd.DataFrame, name: str, source: str) -> np.ndarray:
    column = _column(contigs, name, "group_column", source)
    if column.isna().any():
        contig = contigs["name"][column.isna()].iloc[0]
        raise InputError(f"{source}: contig {contig!r} has no {name}; fill it in or leave the contig out")
    return column.astype(str).to_numpy(str)


def _parts(names: list[str], sampling: WindowSampling, source: str) -> np.ndarray:
    """Look up the part of each group."""
    if sampling.group_weights is None:
        return np.ones(len(names))
    weights = {str(name): weight for name, weight in sampling.group_weights.items()}  # YAML reads 9606 as a number
    for name in names:
        if name not in weights:
            near = difflib.get_close_matches(name, weights, 1)
            hint = f"; is it meant by {near[0]!r}?" if near else "; 0 leaves it out"
            raise InputError(f"{source}: windows.group_weights has no {sampling.group_column} {name!r}{hint}")
    return np.array([weights[name] for name in names], float)
