"""Windows: row i of epoch e is always the same stretch, inside its contig, and labels are cut fairly."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from drawn_genomes import store_of, two_classes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from hf_genomics import DataCollatorForSpanMasking, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.genomes.sampling import WindowSampling
from hf_genomics.genomes.store import GenomeStore, prepare
from hf_genomics.genomes.windows import WindowDataset
from hf_genomics.sequence import reverse_complement


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GenomeStore:
    return two_classes(tmp_path_factory.mktemp("windows"))


def texts(rows: list[dict]) -> list[str]:
    """Return the windows as text."""
    return [row["sequence"].tobytes().decode() for row in rows]


# Drawn windows.


@settings(max_examples=40)
@given(
    length=st.integers(5, 600),
    low=st.integers(1, 600),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 10**9),
    epoch=st.integers(0, 50),
)
def test_windows_lie_inside_their_contig_and_have_a_length_in_bounds(store, length, low, share, seed, epoch) -> None:
    sampling = WindowSampling(length=length, min_length=min(low, length), full_share=share)
    dataset = WindowDataset(store, sampling, store.select("train"), seed)
    dataset.set_epoch(epoch)
    starts, lengths = dataset.places(np.arange(200))
    contig_starts, contig_lengths = store.contigs["start"].to_numpy(), store.contigs["length"].to_numpy()
    contig = np.searchsorted(contig_starts, starts, side="right") - 1
    assert (starts + lengths <= contig_starts[contig] + contig_lengths[contig]).all(), "never over a contig's end"
    assert (lengths >= sampling.min_length).all() and (lengths <= length).all()
    assert (store.contigs["split"].to_numpy()[contig] == "train").all(), "only the contigs chosen"


def test_rows_are_a_pure_function_of_seed_epoch_and_index(store: GenomeStore) -> None:
    sampling = WindowSampling(length=100, rc_probability=0.5)
    dataset = WindowDataset(store, sampling, seed=3)
    first = texts(dataset.__getitems__(list(range(50))))
    assert texts(dataset.__getitems__(list(range(49, -1, -1)))) == first[::-1]
    assert texts([dataset[number] for number in range(50)]) == first
    assert texts([pickle.loads(pickle.dumps(dataset))[7]]) == first[7:8]
    dataset.set_epoch(1)
    second = texts(dataset.__getitems__(list(range(50))))
    assert sum(one == other for one, other in zip(first, second, strict=True)) == 0
    assert dataset[7]["epoch"] == 1 and dataset[7]["window_index"] == 7
    dataset.set_epoch(0)
    assert texts(dataset.__getitems__(list(range(50)))) == first
    assert texts(WindowDataset(store, sampling, seed=4).__getitems__(list(range(50)))) != first


def test_the_share_of_full_windows_and_the_mean_length_are_as_asked_for(store: GenomeStore) -> None:
    sampling = WindowSampling(length=200, min_length=20, full_share=0.3)
    _, lengths = WindowDataset(store, sampling).places(np.arange(20000))
    assert abs((lengths == 200).mean() - (0.3 + 0.7 / 181)) < 0.015
    assert abs(lengths.mean() - sampling.mean_length) < 2 and sampling.mean_length == 137
    others = lengths[lengths < 200]
    assert others.min() == 20 and abs(others.mean() - (20 + 199) / 2) < 2
    assert WindowSampling().mean_length == pytest.approx(383.75), "DNABERT's cuts"


def test_places_are_uniform_over_the_nucleotides(tmp_path: Path) -> None:
    store = store_of(tmp_path, "A" * 3000, "C" * 1000)
    starts, _ = WindowDataset(store, WindowSampling(length=10, min_length=10)).places(np.arange(20000))
    assert abs((starts >= 3000).mean() - 0.25) < 0.015, "long contigs get windows in proportion"
    counts, _ = np.histogram(starts[starts < 3000], bins=10, range=(0, 2991))
    assert counts.min() > 1300 and counts.max() < 1700
    assert starts.min() == 0 and (starts[starts < 3000].max(), starts.max()) == (2990, 3990), "ends are reached"


def test_an_epoch_covers_the_contigs_as_often_as_asked_for(store: GenomeStore) -> None:
    rows = store.select("test")
    total = store.contigs["length"].to_numpy()[rows].sum()
    for coverage in (0.5, 1.0, 3.0):
        sampling = WindowSampling(length=100, min_length=100, coverage=coverage)
        assert len(WindowDataset(store, sampling, rows)) == int(total * coverage / 100)
    assert len(WindowDataset(store, WindowSampling(coverage=1e-9))) == 1


def test_a_contig_shorter_than_the_window_is_given_whole(tmp_path: Path) -> None:
    store = store_of(tmp_path, "ACGTACGTAC", "GGGG")
    rows = WindowDataset(store, WindowSampling(length=50, min_length=5, full_share=1.0)).__getitems__(list(range(20)))
    assert set(texts(rows)) == {"ACGTACGTAC"}, "and one shorter than min_length is left out"


def share_unknown(letters: np.ndarray) -> float:
    """Count the letters that are not A, C, G, T or U, either case."""
    return sum(letter not in b"ACGTUacgtu" for letter in letters.tolist()) / len(letters)


def unknown_shares(dataset: WindowDataset, count: int | None = None) -> np.ndarray:
    rows = dataset.__getitems__(range(count or len(dataset)))
    return np.array([share_unknown(row["sequence"]) for row in rows])


@pytest.mark.parametrize("mode", ["sampled", "fixed", "cuts", "mixed", "tiles"])
@pytest.mark.parametrize("limit", [0.0, 0.2])
def test_no_window_has_more_unknown_letters_than_allowed(tmp_path: Path, mode: str, limit: float) -> None:
    some = "".join(np.random.default_rng(0).choice(list("ACGTACGTACGTN"), 1500))
    store = store_of(tmp_path, "ACGT" * 300 + "N" * 30_000, some, "N" * 5000, "ACGT" * 3)
    sampling = WindowSampling(mode, 50, **({} if mode == "fixed" else {"min_length": 10}), max_unknown=limit)
    dataset = WindowDataset(store, sampling)
    assert unknown_shares(dataset, 3000 if mode in ("sampled", "fixed") else None).max() <= limit
    free = replace(sampling, max_unknown=1.0)
    assert unknown_shares(WindowDataset(store, free)).max() > limit
    if mode in ("cuts", "tiles"):
        everything = WindowDataset(store, free)
        places = set(zip(*(column.tolist() for column in everything.places(np.arange(len(everything)))), strict=True))
        kept = {row for row in places if share_unknown(store.letters[row[0] : sum(row)]) <= limit}
        mine = zip(*(column.tolist() for column in dataset.places(np.arange(len(dataset)))), strict=True)
        assert set(mine) == kept, "the others are the same"


def test_skipping_keeps_the_lengths_and_the_places_uniform_among_what_is_allowed(tmp_path: Path) -> None:
    store = store_of(tmp_path, "N" * 4000 + "ACGT" * 500 + "N" * 2000)
    sampling = WindowSampling("sampled", 100, 20, full_share=0.5, max_unknown=0.0)
    starts, lengths = WindowDataset(store, sampling, size=20_000).places(np.arange(20_000))
    assert abs((lengths == 100).mean() - (0.5 + 0.5 / 81)) < 0.012
    full = starts[lengths == 100] - 4000
    counts, _ = np.histogram(full, bins=10, range=(0, 1901))
    assert full.min() >= 0 and full.max() <= 1900 and np.abs(counts / counts.mean() - 1).max() < 0.12


def test_a_window_that_finds_no_place_by_chance_is_a_tile_that_has_few_unknown_letters(tmp_path: Path) -> None:
    store = store_of(tmp_path, "N" * 500_000 + "ACGT" * 50 + "N" * 500_000)
    sampling = WindowSampling("fixed", 100, max_unknown=0.0)
    dataset = WindowDataset(store, sampling, size=300)
    starts, lengths = dataset.places(np.arange(300))
    assert ((starts >= 500_000) & (starts <= 500_100)).all() and (lengths == 100).all()
    assert {500_000, 500_100} <= set(starts.tolist()), "64 draws fail 99 times in 100; both tiles are taken then"
    short = WindowDataset(store, WindowSampling("sampled", 600, 60, max_unknown=0.0), size=50)
    assert unknown_shares(short).max() == 0, "pieces of half the length, and half of that, where no whole tile will do"


@pytest.mark.parametrize(("before", "known"), [(150, 120), (950, 100), (130, 101), (0, 100), (1880, 100)])
def test_a_known_stretch_that_lies_across_two_tiles_is_found(tmp_path: Path, before, known) -> None:
    text = "N" * before + "ACGT" * (known // 4) + "A" * (known % 4)
    store = store_of(tmp_path, text + "N" * (2000 - len(text)), "N" * 300)
    dataset = WindowDataset(store, WindowSampling("fixed", 100, max_unknown=0.0), size=200)
    assert unknown_shares(dataset).max() == 0


def test_a_store_without_any_known_window_is_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, "N" * 100)
    for mode in ("sampled", "cuts", "mixed", "tiles"):
        with pytest.raises(InputError, match="every window of the selected contigs has more than 50% letters other"):
            WindowDataset(store, WindowSampling(mode, 50))
    assert len(WindowDataset(store, WindowSampling("sampled", 50, 50, max_unknown=1.0))[0]["sequence"]) == 50


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_the_opposite_strand_comes_with_its_probability(probability: float, store: GenomeStore) -> None:
    window = {"length": 60, "min_length": 30}
    forward = texts(WindowDataset(store, WindowSampling(**window)).__getitems__(list(range(2000))))
    drawn = WindowDataset(store, WindowSampling(**window, rc_probability=probability))
    both = texts(drawn.__getitems__(list(range(2000))))
    turned = [one != other for one, other in zip(forward, both, strict=True)]
    assert all(reverse_complement(one) == two for one, two, turn in zip(forward, both, turned, strict=True) if turn)
    assert abs(np.mean(turned) - probability) < 0.04


def test_letters_come_with_case_and_iupac_codes(tmp_path: Path) -> None:
    store = store_of(tmp_path, "acgtRYacgt")
    assert texts([WindowDataset(store, WindowSampling(length=10, min_length=10))[0]]) == ["acgtRYacgt"]


# Cuts, tiles and both.


def placed(dataset: WindowDataset, index: range | None = None) -> list[tuple[int, int]]:
    columns = dataset.places(np.array(index or range(len(dataset))))
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("mode", ["cuts", "mixed"])
def test_cuts_hold_every_nucleotide_of_the_chosen_contigs_once(store: GenomeStore, mode: str) -> None:
    rows = store.select("train")
    dataset = WindowDataset(store, WindowSampling(mode, 100, 1), rows, seed=2)
    cuts = placed(dataset, range(len(dataset) if mode == "cuts" else len(dataset) // 3))
    times = np.zeros(store.total_nt, int)
    for start, length in cuts:
        times[start : start + length] += 1
    chosen = np.zeros(store.total_nt, int)
    for start, length in store.contigs[["start", "length"]].to_numpy()[rows]:
        chosen[start : start + length] = 1
    assert np.array_equal(times, chosen)
    dataset.set_epoch(5)
    assert placed(dataset, range(len(cuts))) == cuts, "the same in every epoch"
    assert placed(WindowDataset(store, dataset.sampling, rows, seed=3), range(len(cuts))) != cuts


def test_two_windows_are_drawn_for_each_cut_and_others_in_every_epoch(store: GenomeStore) -> None:
    dataset = WindowDataset(store, WindowSampling("mixed", 100, 20), seed=1)
    cuts = WindowDataset(store, WindowSampling("cuts", 100, 20), seed=1)
    assert len(dataset) == 3 * len(cuts) and placed(dataset, range(len(cuts))) == placed(cuts)
    first = placed(dataset)[len(cuts) :]
    dataset.set_epoch(1)
    assert sum(one == other for one, other in zip(first, placed(dataset)[len(cuts) :], strict=True)) < 5
    ratio = WindowDataset(store, WindowSampling("mixed", 100, 20, sampled_per_cut=0.5), seed=1)
    assert len(ratio) == round(1.5 * len(cuts))
    shuffled = np.random.default_rng(0).permutation(len(dataset))
    assert np.array_equal(
        np.stack(dataset.places(shuffled)), np.stack(dataset.places(np.arange(len(dataset))))[:, shuffled]
    )


def test_tiles_overlap_by_the_step(tmp_path: Path) -> None:
    store = store_of(tmp_path, "ACGT" * 5, "ACG")
    assert placed(WindowDataset(store, WindowSampling("tiles", 8, 3, step=5))) == [
        (0, 8),
        (5, 8),
        (10, 8),
        (12, 8),
        (20, 3),
    ]
    assert placed(WindowDataset(store, WindowSampling("tiles", 8))) == [(0, 8), (8, 8), (12, 8)]


def test_a_window_that_is_not_listed_is_refused(store: GenomeStore) -> None:
    tiles = WindowDataset(store, WindowSampling(mode="tiles", length=100))
    for index in (-1, len(tiles)):
        with pytest.raises(IndexError, match=f"window {index} of {len(tiles)}"):
            tiles.__getitems__([0, index])


def test_windows_of_fixed_length_leave_out_shorter_contigs(tmp_path: Path) -> None:
    store = store_of(tmp_path, "A" * 60, "C" * 40)
    rows = WindowDataset(store, WindowSampling("fixed", 50, coverage=100)).__getitems__(range(100))
    assert set(texts(rows)) == {"A" * 50}
    with pytest.raises(InputError, match="no contig has 61 nt, the shortest window; lower windows.length"):
        WindowDataset(store, WindowSampling("fixed", 61))


def test_a_store_packed_in_2_bits_has_the_same_windows(tmp_path: Path) -> None:
    contigs = ["".join(np.random.default_rng(row).choice(list("ACGTacgtNR"), 900)) for row in range(3)]
    store = store_of(tmp_path, *contigs)
    packed = prepare([str(tmp_path / "in.fa")], str(tmp_path / "packed"), storage="2bit")
    for mode in ("sampled", "mixed", "tiles"):
        sampling = WindowSampling(mode, 100, 20, max_unknown=0.2, rc_probability=0.5)
        one, other = WindowDataset(store, sampling), WindowDataset(packed, sampling)
        assert texts(one.__getitems__(range(len(one)))) == texts(other.__getitems__(range(len(one))))
        assert len(one) == len(other)


# Weights.


def test_windows_come_from_contigs_species_and_genomes_as_they_are_weighed(tmp_path: Path) -> None:
    metadata = "accession\tspecies\ttimes\nc0\thuman\t1\nc1\thuman\t3\nc2\tyeast\t1\nc3\tfly\t1\n"
    store = store_of(tmp_path, "A" * 4000, "C" * 1000, "G" * 500, "T" * 2000, metadata=metadata)

    def found(**settings: object) -> list[float]:
        dataset = WindowDataset(store, WindowSampling("sampled", 40, 10, **settings), size=20_000)
        starts, _ = dataset.places(np.arange(20_000))
        contig = np.searchsorted(store.contigs["start"].to_numpy(), starts, side="right") - 1
        return (np.bincount(contig, minlength=4) / 20_000).tolist()

    near = {"abs": 0.012}  # 3.4 standard deviations at worst
    assert found() == pytest.approx([4 / 7.5, 1 / 7.5, 0.5 / 7.5, 2 / 7.5], **near)
    assert found(length_exponent=0.0) == pytest.approx([0.25] * 4, **near)
    assert found(weight_column="times") == pytest.approx([4 / 9.5, 3 / 9.5, 0.5 / 9.5, 2 / 9.5], **near)
    weights = {"human": 2, "yeast": 1, "fly": 0}
    assert found(group_column="species", group_weights=weights) == pytest.approx([8 / 15, 2 / 15, 1 / 3, 0], **near)
    by_genome = found(group_column="genome", group_weights={"c0": 1, "c1": 1, "c2": 1, "c3": 3})
    assert by_genome == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2], **near)


# Workers and ranks.


def seen(rows: list[dict]) -> list[tuple]:
    return [(row["window_index"], row["epoch"], row["sequence"].tobytes()) for row in rows]


def a_list(rows: list[dict]) -> list[dict]:
    return list(rows)


@pytest.fixture(params=["sampled", "mixed"])
def dataset(request: pytest.FixtureRequest, store: GenomeStore) -> WindowDataset:
    dataset = WindowDataset(store, WindowSampling(request.param, 100, 20, rc_probability=0.5), seed=4)
    dataset.set_epoch(2)
    return dataset


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_ranks_of_torch_see_together_what_one_process_sees(dataset: WindowDataset, ranks: int) -> None:
    together = []
    for rank in range(ranks):
        sampler = DistributedSampler(dataset, ranks, rank, seed=7, drop_last=False)
        sampler.set_epoch(2)
        for rows in DataLoader(dataset, 16, sampler=sampler, collate_fn=a_list):
            together += seen(rows)
    alone = seen(dataset.__getitems__(range(len(dataset))))
    assert sorted(set(together)) == alone and len(together) - len(alone) < ranks, "sampler fills the last round up"


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("split_batches", [False, True])
def test_the_ranks_of_accelerate_see_together_the_batches_of_one_process(
    dataset, ranks: int, split_batches: bool
) -> None:
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    batches = BatchSampler(order, 12, drop_last=False)
    together = []
    for rank in range(ranks):
        shard = BatchSamplerShard(batches, ranks, rank, split_batches=split_batches, even_batches=False)
        loader = DataLoader(dataset, batch_sampler=list(shard), collate_fn=a_list)
        together += [row for rows in loader for row in seen(rows)]
    assert sorted(together) == seen(dataset.__getitems__(range(len(dataset))))


def test_workers_give_the_batches_that_the_process_itself_gives(dataset: WindowDataset) -> None:
    collator = DataCollatorForSpanMasking(KmerTokenizer(3), span=3, start_rate=0.05)
    batches = {}
    for workers in (0, 2):
        loader = DataLoader(dataset, 32, num_workers=workers, collate_fn=collator)
        batches[workers] = [next(iter(loader)), *list(loader)[-2:]]
    for one, other in zip(*batches.values(), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_store_of_too_short_contigs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no contig has 20 nt, the shortest window"):
        WindowDataset(store_of(tmp_path, "ACGT"), WindowSampling(length=50, min_length=20))


@pytest.mark.parametrize("mode", ["tiles", "cuts", "mixed"])
def test_an_epoch_of_listed_windows_takes_no_size(store: GenomeStore, mode) -> None:
    with pytest.raises(InputError, match="size"):
        WindowDataset(store, WindowSampling(mode, length=50), size=10)
