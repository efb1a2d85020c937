"""A table is split so that nothing that belongs together is on two sides, and each class is split by the shares."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import dna

from hf_genomics.checks.leaks import find_leaks
from hf_genomics.checks.sketch import near_duplicates
from hf_genomics.checks.splits import _sketch_of, assign, number_sets, split_table
from hf_genomics.errors import InputError
from hf_genomics.labelled.data import LabelledData
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.sequence import reverse_complement

SHARES = st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.9, 0.0, 0.1), (0.34, 0.33, 0.33)])


def rows(texts, labels=None, groups=None, names=("a", "b")):
    labels = None if labels is None else np.array(labels)
    letters = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    return LabelledSequences(
        "t.csv", [str(row) for row in range(len(texts))], letters, labels, list(names), groups=groups
    )


def same_partition(one, other):
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len(set(one)) == len(set(other))


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), min_size=3, max_size=40), st.integers(0, 5), SHARES, st.integers(0, 99))
def test_sets_stay_together_and_shares_are_kept(sets, modulus, shares, seed):
    numbers = np.unique(sets, return_inverse=True)[1]
    classes = np.arange(len(sets)) % (modulus + 1) % 3
    sides = assign(numbers, classes, shares, seed)
    assert sides.tolist() == assign(numbers, classes, shares, seed).tolist()
    assert all(len(set(sides[numbers == number].tolist())) == 1 for number in numbers)
    used = [side for side, share in enumerate(shares) if share > 0]
    found = set(sides.tolist())
    assert found == set(used) if len(set(sets)) >= len(used) else found <= set(used)
    if len(set(sets)) == len(sets):  # nothing to keep together: each class is off by less than two rows
        for label in set(classes.tolist()):
            of_class = sides[classes == label]
            for side, share in enumerate(shares):
                assert abs((of_class == side).sum() - share * len(of_class)) < 2


@pytest.mark.parametrize("count", [3, 4, 10, 17])
def test_a_rare_class_is_in_every_split(count):
    classes = np.array([0] * 100 + [1] * count)
    sides = assign(np.arange(100 + count), classes, (0.8, 0.1, 0.1), 0)
    assert set(sides[classes == 1].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(4))
def test_no_split_with_a_share_is_empty_where_large_sets_exceed_all_shares(seed):
    sides = assign(np.repeat([0, 1, 2], [60, 39, 1]), np.zeros(100, np.int64), (0.8, 0.1, 0.1), seed)
    assert set(sides.tolist()) == {0, 1, 2}


def test_a_split_with_too_much_of_one_class_gets_large_sets_of_others():
    """The set of 50 rows fills the first split with class 0; the sets of class 1 have 1 to 6 rows."""
    sizes = np.concatenate([[50], np.tile(np.arange(1, 7), 10)])
    sets, classes = np.repeat(np.arange(61), sizes), np.repeat([0, 1], [50, 210])
    means = np.zeros(3)
    for seed in range(10):
        side = assign(sets, classes, (0.6, 0.2, 0.2), seed)[np.cumsum(sizes) - 1][1:]
        means += [sizes[1:][side == split].mean() / 10 for split in range(3)]
    assert abs(means - 3.5).max() < 0.6


def slow_sets(examples, min_shared=5, min_identity=0.85):
    """Join rows one pair after another, by texts and sets of canonical 24-mers."""
    texts = [letters.tobytes().decode() for letters in examples.sequences]
    kmers = [
        {min(kmer, reverse_complement(kmer)) for kmer in (text[at : at + 24] for at in range(len(text) - 23))}
        for text in texts
    ]
    names = list(range(len(texts)))
    for one in range(len(texts)):
        for other in range(one):
            shared = len(kmers[one] & kmers[other])
            near = shared >= min_shared and shared / min(len(kmers[one]), len(kmers[other])) >= min_identity**24
            equal = texts[one] in (texts[other], reverse_complement(texts[other]))
            grouped = examples.groups is not None and examples.groups[one] == examples.groups[other]
            if near or equal or grouped:
                old, new = names[one], names[other]
                names = [new if name == old else name for name in names]
    return names


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 14), st.booleans())
def test_what_belongs_together_is_what_all_pairs_show(seed, count, with_groups):
    random = np.random.default_rng(seed)
    families = [dna(90, seed + number) for number in range(4)]
    texts = []
    for _ in range(count):
        start = int(random.integers(50))
        text = families[random.integers(4)][start : start + int(random.integers(15, 60))]
        texts.append(reverse_complement(text) if random.random() < 0.5 else text)
    groups = [str(number) for number in random.integers(0, 8, count)] if with_groups else None
    examples = rows(texts, groups=groups)
    assert same_partition(number_sets(examples, 0.85).tolist(), slow_sets(examples))
    exact = number_sets(examples, 1)
    assert same_partition(exact.tolist(), slow_sets(examples, min_shared=999))


def test_a_split_table_has_no_leak_on_either_strand_and_every_row_once():
    texts = [dna(60, seed) for seed in range(60)]
    texts += [reverse_complement(text) for text in texts[:20]] + [text[8:] for text in texts[20:30]]
    examples = rows(texts, [row % 2 for row in range(60)] + [row % 2 for row in range(30)])
    data = LabelledData(train="t.csv", split=[0.6, 0.2, 0.2], seed=3)
    parts, facts = split_table(examples, data)
    assert sorted(int(name) for part in parts.values() for name in part.ids) == list(range(90))
    assert set(find_leaks(parts)["leaks"].values()) == {0}
    sketched = _sketch_of([letters for part in parts.values() for letters in part.sequences], np.arange(90))
    assert (
        near_duplicates(sketched, np.repeat(range(3), list(facts["rows"].values()))) == []
    )  # as `check` looks for them
    side = {name: split for split, part in parts.items() for name in part.ids}
    assert all(side[str(60 + row)] == side[str(row)] for row in range(30))
    assert facts["rows"] == {name: len(part) for name, part in parts.items()} and facts["largest_group"] == 2
    assert facts["separate_groups"] == 60 and facts["shares"] == [0.6, 0.2, 0.2]
    assert parts["test"].source == "t.csv (test)" and 15 <= len(parts["test"]) <= 21
    assert Counter(parts["test"].labels.tolist())[0] in range(7, 12)


def test_rows_of_one_group_stay_together():
    examples = rows(
        [dna(50, seed) for seed in range(40)], [row % 2 for row in range(40)], [f"chr{row % 8}" for row in range(40)]
    )
    parts, _ = split_table(examples, LabelledData(train="t", split=[0.5, 0.25, 0.25]))
    groups = [set(part.groups) for part in parts.values()]
    assert [len(part) for part in parts.values()] == [20, 10, 10] and set.union(*groups) == set(examples.groups)
    assert sum(map(len, groups)) == 8


def test_rows_that_cannot_be_separated_are_refused_with_the_ways_out():
    text = dna(80)
    examples = rows([text, text[:60], text[20:]], [0, 1, 0], ["a", "b", "b"])
    with pytest.raises(InputError, match=r"t\.csv: data\.split needs 3 .*min_identity.*data\.columns\.group"):
        split_table(examples, LabelledData(train="t", split=[0.8, 0.1, 0.1]))
