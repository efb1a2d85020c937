"""Checks of the label-scarcity study: classes and splits, set-ups, and that pretraining saw no test genome."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..checks.duplicates import canonical_digest
from ..errors import InputError
from ..genomes.splits import SPLITS
from ..genomes.store import GenomeStore
from ..io.files import sha256_of
from ..io.text_tables import missing_column
from ..labelled.tables import label_or_class
from ..loading.models import load_config
from ..saved_files import weight_files
from .scarcity_cells import StudyGrid

#: List of the genomes on which a shared model was pretrained, beside its weights.
GENOMES = "genomes.tsv"


def count_genomes(store: GenomeStore) -> dict[str, int]:
    """Return the number of genomes of each split.

    Args:
        store: store of the study.

    Raises:
        InputError: if a split is missing.
    """
    splits = store.contigs["split"] if "split" in store.contigs else pd.Series(dtype=str)
    if missing := [split for split in SPLITS if split not in set(splits)]:
        raise InputError(f"{store.path}: no contig is in split {missing[0]!r}; prepare it with train, valid and test")
    return {split: int(store.contigs["genome"].iloc[store.select(split)].nunique()) for split in SPLITS}


def choose_positive(store: GenomeStore, positive: str | None) -> str:
    """Return the positive class of two.

    Args:
        store: store of the study.
        positive: class that the user named; None for the one with fewer training genomes.

    Raises:
        InputError: if there are not two classes, or none of them has that name.
    """
    train = store.contigs.iloc[store.select("train")]
    column = label_or_class("label", train, str(store.path))
    if column not in train:
        raise InputError(f"{store.path}: no column 'label' or 'class'; name the classes in the metadata table")
    numbers = train.groupby(train[column].astype(str))["genome"].nunique().sort_values(kind="stable")
    if len(numbers) != 2:
        raise InputError(f"{store.path}: the training genomes are of {len(numbers)} classes; the study compares two")
    if positive is not None and positive not in numbers:
        raise InputError(f"positive: {positive!r} is not a class; name one of {sorted(numbers.index)}")
    return positive or str(numbers.index[0])


def check_setups(grid: StudyGrid, store: GenomeStore) -> str:
    """Check that set-ups exist and saw no validation or test genome; return what is known about their pretraining.

    Args:
        grid: grid of the study.
        store: store of the study.

    Raises:
        InputError: if a set-up is neither a model nor a recipe, or has seen such a genome.
    """
    told = []
    for name, place in grid.setups.items():
        path = Path(place)
        if path.is_file():
            told.append(f"{name}: {path.name} was run on the training genomes only")
            continue
        if not path.is_dir():
            raise InputError(f"grid.setups.{name}: {place} is neither a folder of a model nor a recipe; correct it")
        load_config(place)
        if name in grid.pretraining_stores:
            check_unseen(GenomeStore(grid.pretraining_stores[name]), store)
            told.append(f"{name}: checked, none of its training genomes is a validation or test genome")
        elif (path / GENOMES).is_file():
            check_listed(path / GENOMES, store)
            told.append(f"{name}: checked, its {GENOMES} names no validation or test genome for training")
        else:
            told.append(f"{name}: not checked whether it has seen validation or test genomes")
    return "; ".join(told) + "."


def study_facts(folder: Path, store: GenomeStore, grid: StudyGrid) -> dict[str, Any]:
    """Return what a study is of, for study.json, and check that the folder holds no other study.

    Args:
        folder: folder of the study.
        store: store of the study.
        grid: grid of the study.

    Returns:
        Hashes of the store, and of each set-up's recipe or weights.

    Raises:
        InputError: if the folder holds a study of another store, or of another set-up with the same name.
    """
    setups = {name: _fingerprint(Path(place)) for name, place in grid.setups.items()}
    path = folder / "study.json"
    if not path.exists():
        return {"store": store.info["files"], "setups": setups}
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name, known in before["setups"].items() if setups.get(name, known) != known]
    if changed or before["store"] != store.info["files"]:
        what = f"grid.setups.{changed[0]} was another model or recipe" if changed else "the store was another one"
        raise InputError(f"{folder}: holds a study in which {what}; choose another output_dir")
    return before | {"setups": before["setups"] | setups}


def _fingerprint(path: Path) -> str:
    """Return the hash of a recipe, or of the weights of a model."""
    files = [path] if path.is_file() else [Path(file) for file in weight_files(path)]
    if not files:
        raise InputError(f"{path}: holds no weights; name the folder of a pretrained model")
    return " ".join(sha256_of(file) for file in files)


def check_unseen(pretraining: GenomeStore, store: GenomeStore, train_split: str | None = "train") -> None:
    """Check that no contig on which a model was pretrained is a validation or test contig of a study.

    Contigs are compared by name without version (see `_refuse_names`), and by sequence on either strand.

    Args:
        pretraining: store on which the model was pretrained.
        store: store of the study.
        train_split: split on which it was pretrained; None for all contigs.

    Raises:
        InputError: naming the first such contig.
    """
    seen = pretraining.select(train_split)
    names = pretraining.contigs["name"].astype(str)
    _refuse_names(names.iloc[seen], names, str(pretraining.path), store)
    digests = set(_digests(pretraining, seen))
    _refuse_seen(digests, lambda rows: _digests(store, rows), "sequence", str(pretraining.path), store)


def check_listed(genomes: Path, store: GenomeStore) -> None:
    """Check that a list of the genomes on which a model was pretrained holds no validation or test genome of a study.

    Args:
        genomes: genomes.tsv in the folder of the model, with the columns accession and split.
        store: store of the study.

    Raises:
        InputError: naming the first such genome, or a missing column; or if the file is not a table.
    """
    try:
        table = pd.read_csv(genomes, sep="\t", dtype=str, keep_default_na=False)
    except ValueError as error:  # no text, or nothing in it
        raise InputError(f"{genomes}: not a table of tabs in UTF-8 ({error}); copy it again, or delete it") from error
    for column in ("accession", "split"):
        if column not in table:
            raise missing_column(str(genomes), column, table)
    names = table["accession"]
    _refuse_names(names[table["split"] == "train"], names, str(genomes), store)


def _refuse_names(seen: Iterable[str], names: Iterable[str], source: str, store: GenomeStore) -> None:
    """Raise InputError for the first validation or test contig whose name is known, apart from its version such as .1.

    Where one list has several names that differ only after the dot (contig.1, contig.2), no version follows it, and the
    whole names are compared.

    Args:
        seen: names of what a model was pretrained on.
        names: all names of the list that these are from.
        source: the list, for the message.
        store: store of the study.
    """
    of_study = store.contigs["name"].astype(str)
    numbered = _repeated(map(_without_version, set(names))) | _repeated(map(_without_version, set(of_study)))

    def key(name: str) -> str:
        return name if (short := _without_version(name)) in numbered else short

    _refuse_seen(set(map(key, seen)), lambda rows: map(key, of_study.iloc[rows]), "name", source, store)


def _without_version(name: str) -> str:
    """Return the name of a contig without what follows its first dot."""
    return name.partition(".")[0]


def _repeated(names: Iterable[str]) -> set[str]:
    """Return the names that occur more than once."""
    return {name for name, count in Counter(names).items() if count > 1}


def _refuse_seen(
    known: set[Any],
    keys_of: Callable[[np.ndarray], Iterable[Any]],
    what: str,
    source: str,
    store: GenomeStore,
) -> None:
    """Raise InputError for the first validation or test contig whose key is known."""
    kept = np.concatenate([store.select(split) for split in ("valid", "test")])
    for row, key in zip(kept.tolist(), keys_of(kept), strict=True):
        if key in known:
            contig = store.contigs.iloc[row]
            raise InputError(
                f"{source}: holds {contig['name']} of the {contig['split']} split of {store.path} (the same {what}), "
                "so the study would score what pretraining has seen; pretrain without it"
            )


def _digests(store: GenomeStore, rows: np.ndarray) -> Iterable[bytes]:
    """Iterate over hashes of contigs that are equal for a sequence and its reverse complement."""
    for row, length in zip(rows.tolist(), store.contigs["length"].iloc[rows].tolist(), strict=True):
        yield canonical_digest(store.window(row, 0, length))[0]
