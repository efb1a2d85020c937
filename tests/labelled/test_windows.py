"""Labelled windows: stretches of their genome, fair over genomes and classes, chosen by the seed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_genomes import GENOMES, letters_of, store_of, two_classes

from hf_genomics.errors import InputError
from hf_genomics.genomes.store import GenomeStore, prepare
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.labelled.windows import LabelledWindows, labelled_windows
from hf_genomics.sequence import tile


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GenomeStore:
    return two_classes(tmp_path_factory.mktemp("windows"))


def cut(store: GenomeStore, split: str | None, length: int, per_genome: int, **options: object) -> LabelledSequences:
    """Cut windows; those of `options` that are fields of LabelledWindows go there."""
    fields = {key: options.pop(key) for key in ("train_step", "label_fraction", "label_genomes") if key in options}
    return labelled_windows(store, split, LabelledWindows(length, per_genome=per_genome, **fields), **options)


def test_labelled_windows_are_stretches_of_their_genome_side_by_side(store: GenomeStore) -> None:
    examples = cut(store, "train", length=100, per_genome=30)
    assert examples.label_names == ["other", "phage"]
    genome = {name: letters_of(name, length) for name, length, *_ in GENOMES}
    for title, letters, label in zip(examples.ids, examples.sequences, examples.labels, strict=True):
        name, place = title.split(":")
        start, end = map(int, place.split("-"))
        assert end - start == 100 and start % 100 == 0 and letters.tobytes().decode() == genome[name][start:end]
        assert name.startswith(examples.label_names[label])
    assert len(set(examples.ids)) == len(examples) == 2 * (7 * 30 + 2), "every tile of every train genome"


def test_a_store_packed_in_2_bits_has_the_same_windows(store: GenomeStore, tmp_path: Path) -> None:
    source = store.path.parent
    packed = prepare([str(source / "all.fa")], str(tmp_path / "packed"), str(source / "meta.tsv"), storage="2bit")
    one, other = (cut(each, "train", length=150, per_genome=5) for each in (store, packed))
    assert one.ids == other.ids and np.array_equal(one.labels, other.labels)
    assert [letters.tobytes() for letters in one.sequences] == [letters.tobytes() for letters in other.sequences]


def test_no_genome_gives_more_windows_than_allowed(store: GenomeStore) -> None:
    examples = cut(store, "train", length=100, per_genome=5)
    names, counts = np.unique([title.split(":")[0] for title in examples.ids], return_counts=True)
    expected = {name: 5 if length == 3000 else 2 for name, length, _, split in GENOMES if split == "train"}
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == expected
    starts = [int(title.split(":")[1].split("-")[0]) for title in examples.ids]
    assert np.std(starts) > 500, "chosen by chance, not from the start"


def test_the_windows_of_a_genome_are_a_group(store: GenomeStore) -> None:
    found, genome_of = cut(store, None, 50, 3), dict(zip(store.contigs["name"], store.contigs["genome"], strict=True))
    assert found.groups == [str(genome_of[name.rpartition(":")[0]]) for name in found.ids]


def test_windows_may_overlap_where_a_step_is_given(store: GenomeStore) -> None:
    examples = cut(store, "test", length=100, per_genome=10**6, train_step=50)
    assert len(examples) == 4 * len(tile(3000, 100, 50, end="drop")[0])


def test_balanced_classes_have_equally_many_windows(tmp_path: Path) -> None:
    table = "accession\tlabel\nc0\ta\nc1\ta\nc2\tb\n"
    store = store_of(tmp_path, "ACGT" * 100, "ACGT" * 100, "ACGT" * 50, metadata=table)
    assert np.bincount(cut(store, None, length=20, per_genome=99).labels).tolist() == [40, 10]
    assert np.bincount(cut(store, None, length=20, per_genome=99, balanced=True).labels).tolist() == [
        10,
        10,
    ]


def test_the_choice_is_a_pure_function_of_the_seed(store: GenomeStore) -> None:
    call = {"length": 100, "per_genome": 3}
    first = cut(store, "train", **call, seed=1)
    assert cut(GenomeStore(store.path), "train", **call, seed=1).ids == first.ids
    assert cut(store, "train", **call, seed=2).ids != first.ids
    labels = [int(label) for label in first.labels]
    assert labels != sorted(labels), "classes come mixed"


def test_a_smaller_label_fraction_lies_inside_a_larger_one(store: GenomeStore) -> None:
    genomes = {}
    for fraction in (0.1, 0.25, 0.5, 1.0):
        examples = cut(store, "train", length=100, per_genome=4, label_fraction=fraction, seed=5)
        genomes[fraction] = {title.split(":")[0] for title in examples.ids}
    assert genomes[0.1] < genomes[0.25] < genomes[0.5] < genomes[1.0]
    assert [len(genomes[fraction]) for fraction in genomes] == [2, 4, 8, 16], "the same share of each class"


def test_a_number_of_labelled_genomes_is_taken_group_by_group_if_asked(store: GenomeStore, tmp_path: Path) -> None:
    def labelled(of, **options):
        windows = LabelledWindows(length=20, per_genome=2, label_genomes=4, **options)
        return {title.split(":")[0] for title in labelled_windows(of, None, windows, seed=1).ids}

    rows = [f"c{row},{'ab'[row % 2]},{row // 4}" for row in range(16)]
    table = "\n".join(["accession,label,family", *rows]).replace(",", "\t") + "\n"
    grouped = store_of(tmp_path, *["ACGT" * 20] * 16, metadata=table)
    family = dict(zip(grouped.contigs["name"], grouped.contigs["family"], strict=True))
    assert len(labelled(grouped)) == 4 and len({family[name] for name in labelled(grouped)}) > 2
    assert len({family[name] for name in labelled(grouped, label_groups="family")}) <= 2
    with pytest.raises(InputError, match="no column 'genus'"):
        labelled(grouped, label_groups="genus")
    with pytest.raises(InputError, match=r"17 labelled genomes.*data\.windows\.label_genomes"):
        cut(store, "train", length=100, per_genome=1, label_genomes=17)


def test_scores_use_all_labels_and_their_own_number_of_windows() -> None:
    windows = LabelledWindows(label_genomes=4, label_groups="g", train_step=5, per_genome=9, test_per_genome=7)
    assert windows.of_split("train") is windows
    assert windows.of_split("test") == windows.of_split("valid") == LabelledWindows(per_genome=7, test_per_genome=7)
    assert replace(windows, valid_per_genome=3).of_split("valid").per_genome == 3


def test_windows_full_of_n_have_no_label(tmp_path: Path) -> None:
    table = "accession\tlabel\nc0\ta\nc1\tb\n"
    store = store_of(tmp_path, "N" * 100 + "ACGT" * 25, "ACGTACGTAN" * 20, metadata=table)
    examples = cut(store, None, length=50, per_genome=99)
    assert sorted(examples.ids)[:2] == ["c0:100-150", "c0:150-200"] and len(examples) == 6
    assert len(cut(store, None, length=50, per_genome=99, max_unknown=1.0)) == 8


def test_labels_that_cannot_be_used_are_refused(store: GenomeStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'kind'.*'label'"):
        cut(store, "train", length=100, per_genome=1, label_column="kind")
    classes = store_of(tmp_path, "ACGT" * 9, "ACGT" * 9, metadata="accession\tclass\nc0\ta\nc1\tb\n")
    assert cut(classes, None, length=36, per_genome=1).label_names == ["a", "b"], "class is a label"
    with pytest.raises(InputError, match="no window of 3001 nt of class 'other'; shorten"):
        cut(store, "train", length=3001, per_genome=1)
    with pytest.raises(InputError, match="no contig is in split 'dev'"):
        cut(store, "dev", length=100, per_genome=1)
    with pytest.raises(InputError, match="label_fraction must be above 0"):
        cut(store, "train", length=100, per_genome=1, label_fraction=0.0)
    one_class = store_of(tmp_path, "ACGT" * 9, "ACGT" * 9, metadata="accession\tlabel\nc0\ta\nc1\ta\n")
    with pytest.raises(InputError, match="holds one class only, 'a'"):
        cut(one_class, None, length=10, per_genome=1)
    unlabelled = store_of(tmp_path, "ACGT" * 9, "ACGT" * 9, metadata="accession\tlabel\nc0\ta\nc1\tNA\n")
    with pytest.raises(InputError, match="contig 'c1' has no label"):
        cut(unlabelled, None, length=10, per_genome=1)


def test_all_splits_of_a_store_number_the_classes_alike(tmp_path: Path) -> None:
    table = "accession\tlabel\tsplit\nc0\tb\ttrain\nc1\tc\ttrain\nc2\ta\ttest\nc3\tb\ttest\nc4\tc\ttest\nc5\ta\ttrain\n"
    store = store_of(tmp_path, *["ACGT" * 9] * 6, metadata=table)
    for split in ("train", "test"):
        examples = cut(store, split, length=36, per_genome=1)
        contigs = dict(zip(["c0", "c1", "c2", "c3", "c4", "c5"], "bcabca", strict=True))
        found = [examples.label_names[label] for label in examples.labels]
        assert found == [contigs[title.split(":")[0]] for title in examples.ids] and examples.label_names == list("abc")


def test_whole_numbers_are_classes_in_their_order_as_in_a_table_or_in_that_of_a_model(tmp_path: Path) -> None:
    classes = ["10", "9", "2"]
    table = "accession\tlabel\n" + "".join(f"c{row}\t{name}\n" for row, name in enumerate(classes))
    store = store_of(tmp_path, *["ACGT" * 9] * 3, metadata=table)
    for names, order in (
        (None, ["2", "9", "10"]),
        (["10", "2", "9"], ["10", "2", "9"]),
        (["2", "9"], ["2", "9", "10"]),
    ):
        examples = cut(store, None, length=36, per_genome=1, names=names)
        assert examples.label_names == order
        contigs = [int(title.split(":")[0][1:]) for title in examples.ids]
        assert [examples.label_names[label] for label in examples.labels] == [classes[contig] for contig in contigs]
