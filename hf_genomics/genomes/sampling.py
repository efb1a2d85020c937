"""Place pretraining windows on contigs: at random, side by side as in DNABERT, or tiled; and weight contigs.

In this module a contig is given by its index among the selected contigs; starts are counted from the first nucleotide
of the contig, and lengths are in nt.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ..batches.chance import Stream, random_bits, row_keys, uniform
from ..errors import InputError
from ..sequence import did_you_mean, tile_all

_RANDOM_MODES = ("sampled", "fixed")
_MODES = ("sampled", "cuts", "mixed", "fixed", "tiles")
#: Modes that use a setting; in other modes it must keep its default.
_USED_BY = {
    "min_length": ("sampled", "cuts", "mixed", "tiles"),
    "full_share": ("sampled", "cuts", "mixed"),
    "sampled_per_cut": ("mixed",),
    "step": ("tiles",),
    "coverage": _RANDOM_MODES,
    **dict.fromkeys(("length_exponent", "weight_column", "group_column", "group_weights"), (*_RANDOM_MODES, "mixed")),
}


class Places(NamedTuple):
    """Where windows lie on contigs.

    Attributes:
        contig: int64 (windows,), index of the contig among the selected ones.
        start: int64 (windows,), first nt, counted from the start of the contig.
        length: int64 (windows,), nt.
    """

    contig: np.ndarray
    start: np.ndarray
    length: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Places:
        """Allocate places of ``count`` windows, without initialising them."""
        return cls(*np.empty((3, count), np.int64))

    def take(self, rows: np.ndarray) -> Places:
        """Return some of the windows; ``rows`` are their indices, or bool (windows,)."""
        return Places(*(column[rows] for column in self))

    def put(self, rows: np.ndarray, others: Places) -> None:
        """Replace the windows at some rows, integer (rows,), by other windows, in place."""
        for column, values in zip(self, others, strict=True):
            column[rows] = values


@dataclass(frozen=True)
class WindowSampling:
    """How pretraining windows are placed and chosen.

    Args:
        mode: "sampled": at random places, with lengths as in ``full_share``; "cuts": contigs are cut side by side into
            such lengths, so that no nucleotide is used twice (DNABERT); "mixed": both (GenomeNet-BERT); "fixed": at
            random places like "sampled", but every window has full length (the length is fixed, not the places);
            "tiles": windows of full length, every ``step`` nt; a contig shorter than that is one window. Cuts and tiles
            are the same in every epoch.
        length: full window length in nt.
        min_length: shortest window in nt; shorter contigs, and shorter remainders of contigs, are omitted.
        full_share: share of windows of full length; the lengths of the others are uniform in min_length..length.
        sampled_per_cut: number of windows at random places for each cut, in mode "mixed".
        step: nt from the start of one tile to the start of the next; less than ``length`` lets them overlap, null
            places them side by side.
        coverage: size of an epoch in modes "sampled" and "fixed": how many windows cover a nucleotide on average.
        rc_probability: probability that a window is read from the opposite strand.
        max_unknown: largest share of letters other than A, C, G, T in a window: cuts and tiles with more are omitted,
            windows at random places are drawn again.
        length_exponent: the probability of a contig is in proportion to its length to this power: with 1 all
            nucleotides are equally likely, with 0 all contigs.
        weight_column: metadata column of numbers by which that probability is multiplied, for each contig or genome.
        group_column: metadata column (species, class, genome) whose values are groups that share the windows.
        group_weights: relative share of windows of each group, such as ``{human: 2, mouse: 1}`` for twice as many human
            windows; 0 omits a group, null gives every group the same share. Within a group, lengths and
            ``weight_column`` decide.

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
        if self.mode not in _MODES:
            raise InputError(f"windows: mode must be one of {', '.join(_MODES)}, not {self.mode!r}")
        for setting in fields(self):
            _check_number(setting.name, getattr(self, setting.name), setting.default)
        # A setting that the mode ignores is an error: whoever sets it expects it to matter.
        for setting in fields(self):
            users = _USED_BY.get(setting.name, _MODES)
            if self.mode not in users and getattr(self, setting.name) != setting.default:
                raise InputError(
                    f"windows: {setting.name} is for mode {' or '.join(users)}; omit it in mode {self.mode}"
                )
        if self.coverage > 10_000:
            raise InputError(
                f"windows: coverage (readings per nucleotide) must be at most 10,000, not {self.coverage}; "
                "raise trainer.num_train_epochs instead"
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

    def at_random_places(self) -> WindowSampling:
        """Return the same lengths at random places, for a validation set that is spread over all contigs."""
        if self.mode in _RANDOM_MODES:
            return replace(self, coverage=1.0)
        mode: Literal["sampled", "fixed"] = "fixed" if self.mode == "tiles" else "sampled"
        unused: dict[str, Any] = {name: _DEFAULTS[name] for name, users in _USED_BY.items() if mode not in users}
        return replace(self, mode=mode, **unused)

    def lengths(self, draws: np.ndarray) -> np.ndarray:
        """Turn uniform draws in [0, 1), (..., 2), into window lengths in nt, int64 (...).

        The first number of a window decides whether it has full length, the second one which length it has otherwise.
        """
        if self.mode in ("fixed", "tiles"):
            return np.full(draws.shape[:-1], self.length)
        spread = self.min_length + (draws[..., 1] * (self.length - self.min_length + 1)).astype(np.int64)
        return np.where(draws[..., 0] < self.full_share, self.length, spread)


_DEFAULTS: dict[str, Any] = {setting.name: setting.default for setting in fields(WindowSampling)}


def _check_number(name: str, value: Any, default: Any) -> None:
    """Check the type of a setting that must be a number, whole if it counts nt; YAML files may hold anything."""
    whole = name in ("length", "min_length", "step")
    if not (whole or isinstance(default, float)) or (name == "step" and value is None):
        return  # names of modes and columns, and weights by group, are no numbers; ``step`` may be null
    types = (int, np.integer) if whole else (int, float, np.number)
    if not isinstance(value, types) or isinstance(value, bool):
        raise InputError(f"windows: {name} must be a {'whole number of nt' if whole else 'number'}, not {value!r}")


def _check_weights(column: str | None, weights: dict[str, float] | None) -> None:
    """Check the weights of groups."""
    if weights is None:
        return
    if column is None:
        raise InputError("windows: group_weights need a group_column, whose values they weight")
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise InputError(f"windows: the group_weights of {name!r} must be 0 or more, not {weight}")
    if not any(weights.values()):
        raise InputError("windows: group_weights are all 0; give at least one group a weight above 0")


def cut_side_by_side(lengths: np.ndarray, sampling: WindowSampling, seed: int, numbers: np.ndarray) -> Places:
    """Cut contigs into windows side by side, from the first nt to the last, as DNABERT does.

    Each window has full length with probability ``full_share``, otherwise a uniform length in min_length..length. Once
    at most ``length`` nt of a contig remain, they are its last window; if they are fewer than ``min_length``, they are
    omitted.

    Args:
        lengths: int64 (contigs,), nt of each contig.
        sampling: lengths of the cuts.
        seed: seed of all draws.
        numbers: integer (contigs,), a number for each contig. The cuts of a contig depend only on the seed and this
            number, not on the other contigs.

    Source: DNABERT, ``cut_no_overlap`` of its script for pretraining data.
    """
    keys = row_keys(seed, np.zeros(1), numbers)  # of epoch 0, since cuts are the same in every epoch
    contig = np.arange(len(lengths))  # unfinished contigs
    place = np.zeros(len(lengths), np.int64)  # where the next cut of each of them starts
    num_drawn, draws = 0, 8  # windows of each contig: drawn before, and drawn in this round
    found = []
    # A round draws windows for all unfinished contigs, twice as many as the round before. For a contig of 20 nt, with
    # ``length`` 8 and the drawn lengths 5, 8, 4, 8:
    #
    #     starts     0   5  13  17
    #     ends       5  13  17  25
    #     rest      20  15   7   3     nt from the start to the end of the contig
    #     is_last    -   -   x   x     at most ``length`` nt remain: what is drawn after the first x is ignored
    #     cut        5   8   7
    while len(contig):
        bits = random_bits(keys[contig], Stream.CUT_LENGTH, 2 * draws, 2 * num_drawn)  # two numbers for each window
        ends = place[:, None] + np.cumsum(sampling.lengths(uniform(bits).reshape(len(contig), draws, 2)), 1)
        starts = np.hstack([place[:, None], ends[:, :-1]])
        rest = lengths[contig, None] - starts
        is_last = rest <= sampling.length
        row, column = np.nonzero(np.cumsum(is_last, 1) - is_last == 0)  # the last cut and all before it
        cut = np.where(is_last, rest, ends - starts)[row, column]
        found.append(np.stack([contig[row], starts[row, column], cut]))
        unfinished = ~is_last[:, -1]
        contig, place = contig[unfinished], ends[unfinished, -1]
        num_drawn, draws = num_drawn + draws, 2 * draws
    places = Places(*np.concatenate([Places.empty(0), *found], 1))
    places = places.take(np.lexsort((places.start, places.contig)))
    return places.take(places.length >= sampling.min_length)


def tile_contigs(lengths: np.ndarray, length: int, step: int, shortest: int) -> Places:
    """Cut contigs into windows every ``step`` nt, the last one moved back to the end of its contig.

    Args:
        lengths: int64 (contigs,), nt of each contig.
        length: length of a window in nt; a shorter contig is one window.
        step: nt from the start of one window to the start of the next.
        shortest: length of the shortest contig that is used, in nt.

    >>> [column.tolist() for column in tile_contigs(np.array([10, 3, 2]), length=4, step=3, shortest=3)]
    [[0, 0, 0, 1], [0, 3, 6, 0], [4, 4, 4, 3]]
    """
    usable = np.flatnonzero(lengths >= shortest)
    number, starts, ends = tile_all(lengths[usable], length, step, end="flush")
    return Places(usable[number], starts, ends - starts)


def relative_probabilities(contigs: pd.DataFrame, sampling: WindowSampling, source: str) -> np.ndarray:
    """Compute how likely each contig is to be chosen for a window, relative to the other contigs.

    Args:
        contigs: the selected rows of a store's table of contigs.
        sampling: exponent, weights and groups.
        source: path of the store, for error messages.

    Returns:
        float64 (contigs,); they do not add up to 1.

    Raises:
        InputError: if a column is missing or holds an invalid weight, or a group has no contig with a weight above 0.
    """
    probabilities = contigs["length"].to_numpy(float) ** sampling.length_exponent
    if sampling.weight_column is not None:
        probabilities = probabilities * _weights(contigs, sampling.weight_column, source)
    if sampling.group_column is not None:
        names, group = np.unique(_groups(contigs, sampling.group_column, source), return_inverse=True)
        names = names.tolist()
        shares = _group_shares(names, sampling, source)
        # Within a group the probabilities so far decide; their sum is scaled to the share of the group.
        totals = np.bincount(group, probabilities)
        empty = np.flatnonzero((totals == 0) & (shares > 0))
        if len(empty):
            raise InputError(f"{source}: no contig of {sampling.group_column} {names[empty[0]]!r} has a weight above 0")
        scales = shares / np.maximum(totals, np.finfo(float).tiny)  # a group of share 0 may have a total of 0
        probabilities = probabilities * scales[group]
    if not probabilities.any():
        raise InputError(f"{source}: all selected contigs have weight 0; raise a weight, or select other contigs")
    return probabilities


def _column(contigs: pd.DataFrame, name: str, key: str, source: str) -> pd.Series:
    """Return a column of the table of contigs."""
    if name not in contigs:
        names = ", ".join(map(repr, contigs.columns))
        raise InputError(f"{source}: no column {name!r} for windows.{key}; the columns are {names}")
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
    """Look up the share of each group, float64 (groups,)."""
    if sampling.group_weights is None:
        return np.ones(len(names))
    weights = {str(name): weight for name, weight in sampling.group_weights.items()}  # YAML reads 9606 as a number
    for name in names:
        if name not in weights:
            # A key that is not the name of any group is probably this group, misspelt.
            others = ((key, did_you_mean(key, [name])) for key in weights if key not in names)
            hint = next((f", but {key!r}{guess}" for key, guess in others if guess), "; add it, with 0 to omit it")
            raise InputError(f"{source}: windows.group_weights has no {sampling.group_column} {name!r}{hint}")
    return np.array([weights[name] for name in names], float)
