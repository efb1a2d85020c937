"""A store as a `datasets.Dataset`: the same windows as cutting by hand, in bounded memory, ready for a tokenizer."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from drawn_genomes import store_of

from hf_genomics import DataCollatorForSpanMasking, GenomeStore, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.genomes import store as store_module
from hf_genomics.sequence import tile

CONTIGS = ("ACGTacgtNRYKACG" * 7, "GATTACA", "TTTTTTTTTT")
SPLITS = "accession\tsplit\nc0\ttrain\nc1\ttest\nc2\ttrain\n"
COLUMNS = ["id", "contig", "start", "end", "sequence", "split"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, so that no test reads the rows of another."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def rows_slowly(split: str | None, length: int | None, step: int | None) -> list[dict]:
    """Cut contig after contig."""
    rows = []
    for number, (letters, of_split) in enumerate(zip(CONTIGS, ("train", "test", "train"), strict=True)):
        window = length or len(letters)
        for start, end in zip(*tile(len(letters), window, step or window, end="flush"), strict=True):
            where = {"id": f"c{number}:{start}-{end}", "contig": f"c{number}", "start": start, "end": end}
            rows.append({**where, "sequence": letters[start:end], "split": of_split})
    return [row for row in rows if split in (None, row["split"])]


@pytest.mark.parametrize("storage", ["8bit", "2bit"])
@pytest.mark.parametrize("block", [1, 64, 1 << 20])
@pytest.mark.parametrize(
    ("split", "length", "step"), [(None, None, None), ("train", 10, None), (None, 20, 3), ("test", 4, 9)]
)
def test_rows_are_the_windows_of_the_store(
    tmp_path: Path, monkeypatch, storage: str, block: int, split: str | None, length: int | None, step: int | None
) -> None:
    monkeypatch.setattr(store_module, "_DATASET_NT", block)
    dataset = store_of(tmp_path, *CONTIGS, metadata=SPLITS, storage=storage).to_dataset(split, length, step)
    assert isinstance(dataset, datasets.Dataset) and dataset.column_names == COLUMNS
    assert dataset.to_list() == rows_slowly(split, length, step)


def test_a_store_without_splits_has_none(tmp_path: Path) -> None:
    assert store_of(tmp_path, "ACGT").to_dataset()["split"][:] == [None]


def test_a_tokenizer_maps_over_the_rows_in_batches(tmp_path: Path) -> None:
    tokenizer = KmerTokenizer(3)
    windows = store_of(tmp_path, *CONTIGS).to_dataset(length=20)
    encoded = windows.map(tokenizer, batched=True, input_columns="sequence")
    assert encoded["input_ids"][:] == tokenizer(windows["sequence"][:])["input_ids"]
    rows = encoded.select_columns("input_ids").to_list()
    batch = DataCollatorForSpanMasking(tokenizer)(rows)
    assert batch["input_ids"].shape == (len(windows), 20) and (batch["labels"] != -100).any()
    assert torch.equal(batch["attention_mask"].sum(1), torch.tensor([len(row["input_ids"]) for row in rows]))


def test_another_store_in_the_same_place_has_other_rows(tmp_path: Path) -> None:
    assert store_of(tmp_path, "ACGT").to_dataset()["sequence"][:] == ["ACGT"]
    assert store_of(tmp_path, "TTTT").to_dataset()["sequence"][:] == ["TTTT"]


@pytest.mark.slow
@pytest.mark.parametrize("length", [100, 4000])
def test_memory_does_not_grow_with_the_store(tmp_path: Path, length: int) -> None:
    letters = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", np.uint8), 12_000_000).tobytes().decode()
    path = store_of(tmp_path, letters).path
    peaks = []
    for nt in (3_000_000, 12_000_000):
        store = GenomeStore(path)
        store.contigs["length"] = nt
        tracemalloc.start()
        assert sum(1 for _ in store_module._dataset_rows(store, {}, None, length, None)) == nt // length
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Starts and ends of the windows of one contig grow (16 bytes each, and as much on the way), the letters do not.
    assert peaks[1] < peaks[0] + 64 * 9_000_000 // length


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"length": 0}, ["length", "0"]),
        ({"length": 4.5}, ["length", "whole", "4.5"]),
        ({"length": 5, "step": 0}, ["step", "0"]),
        ({"step": 5}, ["step", "length"]),
        ({"split": "valid"}, ["'valid'"]),
    ],
)
def test_windows_that_cannot_be_cut_are_errors_of_the_call(tmp_path: Path, options: dict, facts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        store_of(tmp_path, *CONTIGS, metadata=SPLITS).to_dataset(**options)
    assert all(fact in str(error.value) for fact in facts)
