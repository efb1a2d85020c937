"""Windows: row i of epoch e is always the same stretch, inside its contig, and labels are cut fairly."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.data.store import GenomeStore, prepare
from hf_genomics.data.windows import (
    WindowDataset,
    WindowSampling,
    share_unknown,
)
from hf_genomics.errors import InputError
from hf_genomics.sequence import as_letters, reverse_complement

#: name, genome length, class, split; the tenth genome of each class is short.
GENOMES = [
    (f"{label}{number}", 3000 if number else 250, label, "train" if number < 8 else "test")
    for label in ("phage", "other")
    for number in range(10)
]


def letters_of(name: str, length: int) -> str:
    """Draw a genome that belongs to its name."""
    seed = int.from_bytes(name.encode(), "little") % 2**32
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GenomeStore:
    """Twenty genomes of two classes, in two splits."""
    folder = tmp_path_factory.mktemp("windows")
    (folder / "all.fa").write_text("".join(f">{name}\n{letters_of(name, length)}\n" for name, length, *_ in GENOMES))
    table = "".join(f"{name}\t{label}\t{split}\n" for name, _, label, split in GENOMES)
    (folder / "meta.tsv").write_text("accession\tlabel\tsplit\n" + table)
    return prepare([str(folder / "all.fa")], str(folder / "store"), metadata=str(folder / "meta.tsv"))


def store_of(folder: Path, *contigs: str, metadata: str | None = None) -> GenomeStore:
    """Make a store of contigs c0, c1, ..."""
    (folder / "in.fa").write_text("".join(f">c{number}\n{letters}\n" for number, letters in enumerate(contigs)))
    if metadata is not None:
        (folder / "meta.tsv").write_text(metadata)
    return prepare(
        [str(folder / "in.fa")], str(folder / "store"), metadata=metadata and str(folder / "meta.tsv"), overwrite=True
    )


def texts(rows: list[dict]) -> list[str]:
    """Give the windows as text."""
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


def test_windows_full_of_n_are_drawn_again(tmp_path: Path) -> None:
    store = store_of(tmp_path, "ACGT" * 500 + "N" * 2000)
    window = {"length": 50, "min_length": 50}
    shares = {}
    for limit in (0.2, 1.0):
        dataset = WindowDataset(store, WindowSampling(**window, max_unknown=limit))
        rows = dataset.__getitems__(list(range(2000)))
        shares[limit] = np.mean([share_unknown(row["sequence"]) > 0.2 for row in rows])
    assert abs(shares[1.0] - 0.5) < 0.05
    assert shares[0.2] < 0.1, "three more draws leave 1 in 16"
    only = store_of(tmp_path, "N" * 100)
    assert len(WindowDataset(only, WindowSampling(**window))[0]["sequence"]) == 50, (
        "where there is nothing else, N it is"
    )


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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_length": 0}, r"min_length must lie in 1..length \(510\), not 0"),
        ({"length": 100, "min_length": 101}, r"min_length must lie in 1..length \(100\), not 101"),
        ({"full_share": 1.1}, "full_share must lie in 0..1, not 1.1"),
        ({"rc_probability": -0.1}, "rc_probability must lie in 0..1"),
        ({"max_unknown": 2.0}, "max_unknown must lie in 0..1"),
        ({"coverage": 0.0}, "coverage must be positive, not 0.0"),
    ],
)
def test_impossible_sampling_is_refused(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        WindowSampling(**values)


def test_a_store_of_too_short_contigs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no contig has 20 nt, the shortest window"):
        WindowDataset(store_of(tmp_path, "ACGT"), WindowSampling(length=50, min_length=20))


def test_the_share_of_unknown_letters_counts_what_is_no_nucleotide() -> None:
    assert share_unknown(as_letters("ACGTacgtUuNR-n")) == pytest.approx(4 / 14)
    assert share_unknown(as_letters("")) == 0.0
