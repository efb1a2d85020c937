"""The grid of the label-scarcity study: its cells, and the recipe by which each of them is run."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ..configuration_kmer_bert import KmerBertConfig
from ..errors import InputError
from ..sequence import num_kmers

Arm = Literal["pretrained", "twin", "frozen", "kmers"]

#: What each arm sets in the recipe of fine-tuning, whatever the options of the cells say.
_ARM_OPTIONS: dict[str, dict[str, Any]] = {
    "pretrained": {},
    "twin": {"head": {"from_scratch": True}},
    "frozen": {"head": {"train": "head"}},
    "kmers": {},
}


@dataclass(frozen=True)
class StudyGrid:
    """The grid of the study: every combination of length, number of labelled genomes, set-up, arm and seed is a cell.

    Args:
        setups: name -> folder of a pretrained model, or YAML recipe of `pretrain`, which is then run.
        lengths: lengths of the windows in nt.
        genomes: numbers of labelled training genomes.
        shares: shares of the training genomes, in addition to the numbers (0.1, 0.01 and 0.001 in the paper).
        arms: "pretrained"; "twin" (the same model from random weights); "frozen" (only the head is trained); "kmers"
            (logistic regression on k-mer counts).
        seeds: seeds of the labelled genomes, the windows and the training.
        ks: sizes of k-mers, in nt; the one with the best macro recall on the validation genomes is used.
        pretraining_stores: set-up that is a folder -> store on which it was pretrained, to check that it holds no
            validation or test genome of the study, by name and sequence. Without it, names are checked if the folder
            has a list genomes.tsv with the columns accession and split.
        pretraining_per_seed: run the recipe of a set-up once for every seed, instead of once with its own seed.

    Raises:
        InputError: if a list is empty or has a value twice, or a value is out of range.
    """

    setups: dict[str, str]
    lengths: list[int] = field(default_factory=lambda: [150, 1000])
    genomes: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=lambda: ["pretrained", "twin", "frozen", "kmers"])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    ks: list[int] = field(default_factory=lambda: [3, 4, 5, 6])
    pretraining_stores: dict[str, str] = field(default_factory=dict)
    pretraining_per_seed: bool = False

    def __post_init__(self) -> None:
        """Check the lists."""
        for name, low, high in (("lengths", 1, 10**6), ("genomes", 2, 10**9), ("seeds", 0, 2**31), ("ks", 1, 8)):
            for value in getattr(self, name):
                if not low <= value <= high:
                    raise InputError(f"grid.{name}: {value} must lie in {low}..{high}")
        for share in self.shares:
            if not 0 < share <= 1:
                raise InputError(f"grid.shares: {share} must be above 0 and at most 1, such as 0.1 for 10 %")
        if not self.genomes and not self.shares:
            raise InputError("grid: set the numbers of labelled genomes (grid.genomes), or their shares (grid.shares)")
        for name in ("setups", "lengths", "arms", "seeds", "ks"):
            if not getattr(self, name):
                raise InputError(f"grid.{name} is empty; name at least one")
        for name in ("lengths", "genomes", "shares", "arms", "seeds", "ks"):
            values = getattr(self, name)
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise InputError(f"grid.{name}: {twice} is given twice; name it once")
        for name in self.setups:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise InputError(f"grid.setups: {name!r} becomes the name of a folder; use letters, digits, - and _")
        for name in self.pretraining_stores:
            if name not in self.setups:
                known = ", ".join(self.setups)
                raise InputError(f"grid.pretraining_stores: {name!r} is not in grid.setups ({known}); remove it")

    def numbers(self, total: int) -> list[int]:
        """Return all numbers of labelled genomes, in descending order.

        Args:
            total: number of training genomes.

        Raises:
            InputError: if a number is larger than that.
        """
        if too_many := next((number for number in self.genomes if number > total), None):
            raise InputError(f"grid.genomes: {too_many} are more than the {total} training genomes; lower it")
        return sorted({*self.genomes, *(max(2, math.floor(share * total + 0.5)) for share in self.shares)})[::-1]


@dataclass(frozen=True)
class CellOptions:
    """Options of `finetune` for the cells of the study that match every condition that is set.

    Args:
        options: the options, in the sections of a recipe of `finetune`.
        length: length of the windows, in nt.
        most_genomes: largest number of labelled genomes.
        setup: name of the set-up.
        arm: arm of the study.
    """

    options: dict[str, Any]
    length: int | None = None
    most_genomes: int | None = None
    setup: str | None = None
    arm: Arm | None = None

    def match(self, cell: Cell) -> bool:
        """Return whether the options hold for a cell."""
        wanted = {"length": self.length, "setup": self.setup, "arm": self.arm}
        few_enough = self.most_genomes is None or cell.genomes <= self.most_genomes
        return few_enough and all(value in (None, getattr(cell, name)) for name, value in wanted.items())


class Cell(NamedTuple):
    """One run of the study.

    Attributes:
        length: length of the windows, in nt.
        genomes: number of labelled genomes.
        setup: name of the set-up; "" for k-mers, which need none.
        arm: arm of the study.
        seed: seed of the labelled genomes, the windows and the training.
    """

    length: int
    genomes: int
    setup: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the folder of the cell."""
        return "-".join([f"{self.length}nt", str(self.genomes), *filter(None, [self.setup]), self.arm, str(self.seed)])


def cells_of(grid: StudyGrid, numbers: list[int]) -> Iterator[Cell]:
    """Iterate over the cells of a grid, seed by seed, so that an early stop leaves the whole grid with fewer seeds.

    Args:
        grid: the grid.
        numbers: numbers of labelled genomes.
    """
    for seed in grid.seeds:
        for number in numbers:
            for length in grid.lengths:
                for arm in grid.arms:
                    for setup in [""] if arm == "kmers" else grid.setups:
                        yield Cell(length, number, setup, arm, seed)


def cell_recipe(cell: Cell, finetuning: list[CellOptions], store: str, positive: str | None) -> dict[str, Any]:
    """Return the recipe of `finetune` of a cell, without the model and the folder to write to.

    Args:
        cell: the cell.
        finetuning: options of the cells; later ones win, and what the arm sets wins over all of them.
        store: genome store.
        positive: class that F1 and AUPRC refer to.
    """
    recipe: dict[str, Any] = {}
    for some in finetuning:
        if some.match(cell):
            recipe = merged(recipe, some.options)
    own: dict[str, Any] = {
        "data": {
            "store": store,
            "seed": cell.seed,
            "windows": {"length": cell.length, "label_genomes": cell.genomes},
        },
        "trainer": {"seed": cell.seed, "disable_tqdm": True},
        "baseline_k": 0,
        "resume": "auto",
    }
    return merged(merged(recipe, _ARM_OPTIONS[cell.arm]), own | ({"positive": positive} if positive else {}))


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings in which those of ``over`` replace those of ``base``; both stay as they are.

    >>> merged({"head": {"dropout": 0.1, "pooling": "cls"}}, {"head": {"pooling": "mean"}})
    {'head': {'dropout': 0.1, 'pooling': 'mean'}}
    """
    result = copy.deepcopy(base)
    for key, value in over.items():
        is_section = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if is_section else copy.deepcopy(value)
    return result


def parts_needed(length: int, config: KmerBertConfig) -> int:
    """Return the number of parts in which a model reads a window (two for 1000 nt at stride 1, as in the paper).

    Args:
        length: length of the window, in nt.
        config: configuration of the model.
    """
    parts = 1
    # [CLS] and [SEP] take two positions of every part.
    while num_kmers(math.ceil(length / parts), config.k, config.stride) + 2 > config.max_position_embeddings:
        parts += 1
    return parts
