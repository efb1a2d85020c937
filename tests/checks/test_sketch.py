"""The sketch: a fast sample of 24-mers equals a slow one, and near-duplicates are found whatever strand they are on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.checks import sketch as module
from hf_genomics.checks.sketch import K, Sketch, near_duplicate_pairs, near_duplicates, sampled_kmers
from hf_genomics.sequence import as_letters, reverse_complement

ALL = 32896  # canonical 8-mers: (4^8 + 4^4) / 2
DIGIT = {"A": 0, "T": 1, "C": 2, "G": 3}
BASES = np.frombuffer(b"ACGT", np.uint8)


def dna(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(BASES, length)


def mutated(letters: np.ndarray, identity: float, seed: int = 0) -> np.ndarray:
    """Substitute another base at a share of 1 - identity of all places."""
    rng = np.random.default_rng(seed)
    places = rng.choice(len(letters), round((1 - identity) * len(letters)), replace=False)
    result = letters.copy()
    for place in places:
        result[place] = rng.choice(BASES[result[place] != BASES])
    return result


def number(kmer: str) -> int:
    return int("".join(str(DIGIT[letter]) for letter in kmer), 4)


def slowly_sampled(sequence: str, limit: int) -> list[tuple[int, int]]:
    """Do with strings what `sampled_kmers` does."""
    sequence = sequence.upper().replace("U", "T")
    found = []
    for start in range(len(sequence) - K + 1):
        kmer = sequence[start : start + K]
        if set(kmer) <= set(DIGIT) and module._RANK[number(kmer[8:16])] < limit:
            found.append((min(number(kmer), number(reverse_complement(kmer))), start))
    return found


def sketch_of(records: list[np.ndarray], **options: int) -> Sketch:
    sketch = Sketch(**options)
    for row, letters in enumerate(records):
        sketch.add(letters, np.array([len(letters)]), row)
    return sketch


def test_ranks_are_a_permutation_and_equal_on_both_strands() -> None:
    kmers = [as_letters(text) for text in ("ACGTTGCA", "AAAAAAAA", "GATTACAG")]
    for kmer in kmers:
        assert (
            module._RANK[number(kmer.tobytes().decode())]
            == (module._RANK[number(reverse_complement(kmer).tobytes().decode())])
        )
    assert set(module._RANK.tolist()) == set(range(ALL))


@settings(max_examples=60)
@given(st.text("ACGTacgtNUR", max_size=200), st.sampled_from([1, 500, ALL // 2, ALL]))
def test_the_sample_is_that_of_a_plain_loop_over_strings(sequence: str, limit: int) -> None:
    codes, starts = sampled_kmers(as_letters(sequence), limit)
    assert list(zip(codes.tolist(), starts.tolist(), strict=True)) == slowly_sampled(sequence, limit)
    assert codes.dtype == np.uint64


def test_nothing_is_lost_where_blocks_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = dna(1000)
    whole = sampled_kmers(letters, ALL // 3)
    for block in (1, 7, 24, 333):
        monkeypatch.setattr(module, "_BLOCK_NT", block)
        assert all(np.array_equal(*pair) for pair in zip(whole, sampled_kmers(letters, ALL // 3), strict=True))


@given(st.integers(0, 10**6), st.sampled_from([100, 4000, ALL]))
def test_both_strands_have_the_same_sample(seed: int, limit: int) -> None:
    letters = dna(400, seed)
    assert sorted(sampled_kmers(letters, limit)[0]) == sorted(sampled_kmers(reverse_complement(letters), limit)[0])


def test_the_share_that_is_sampled_is_the_one_asked_for() -> None:
    letters = dna(400_000)
    for share in (2, 16, 64):
        assert len(sampled_kmers(letters, ALL // share)[0]) == pytest.approx(len(letters) / share, rel=0.1)


def test_a_sketch_that_overflows_is_the_sketch_with_fewer_kmers_from_the_start() -> None:
    records = [dna(3000, seed) for seed in range(8)]
    full = sketch_of(records, budget=2000)
    assert 0 < len(full.entries()[0]) <= 2000 and full.limit < ALL // 8
    lean = Sketch()
    lean.limit = full.limit
    for row, letters in enumerate(records):
        lean.add(letters, np.array([3000]), row)
    assert all(np.array_equal(*pair) for pair in zip(full.entries(), lean.entries(), strict=True))
    assert Sketch(budget=2000, expected_nt=24_000).limit in (full.limit, full.limit // 2)


def test_records_added_together_are_kept_apart() -> None:
    records = [dna(60, seed) for seed in range(3)]
    joined = np.concatenate([records[0], [0], records[1], [0], records[2]]).astype(np.uint8)
    together = Sketch()
    together.add(joined, np.array([60, 121, 182]), 0)
    apart = sketch_of(records)
    assert all(np.array_equal(*pair) for pair in zip(together.entries(), apart.entries(), strict=True))


@pytest.mark.parametrize("identity", [0.99, 0.95, 0.9])
@pytest.mark.parametrize("strand", [1, -1])
@pytest.mark.parametrize("budget", [1 << 22, 20_000])
def test_mutated_copies_are_found_on_either_strand(identity: float, strand: int, budget: int) -> None:
    train = [dna(5000, seed) for seed in range(20)]
    copies = [mutated(train[row], identity, seed=row) for row in (3, 11)]
    test = [dna(5000, 100), *(copy if strand == 1 else reverse_complement(copy) for copy in copies)]
    sketch = sketch_of(train + test, budget=budget)
    found = near_duplicates(sketch, np.array([0] * 20 + [2] * 3))
    assert [(pair.record, pair.other) for pair in found] == [(21, 3), (22, 11)]
    assert all(pair.identity == pytest.approx(identity, abs=0.02) for pair in found)


def test_a_piece_of_a_genome_is_found_in_it_and_the_other_way_round() -> None:
    genome = dna(50_000)
    for records in ([genome, genome[20_000:21_000]], [genome[20_000:21_000], genome]):
        (pair,) = near_duplicates(sketch_of(records), np.array([0, 2]))
        assert pair[:2] == (1, 0) and pair.containment == pair.identity == 1


def test_repeats_count_once() -> None:
    genome = np.concatenate([dna(1000), dna(1000), dna(300, 1)])
    (pair,) = near_duplicates(sketch_of([genome, genome]), np.array([0, 1]))
    assert pair.containment == 1 and pair.shared == len(set(sampled_kmers(genome)[0].tolist()))


def test_what_several_records_share_with_one_is_not_added_up() -> None:
    train = [dna(200, seed) for seed in (1, 2)]
    test = np.concatenate([dna(100, 3), train[0][50:76], dna(50, 4), train[1][100:126], dna(100, 5)])
    sketch = sketch_of([*train, test])  # three 24-mers of each
    assert near_duplicates(sketch, np.array([0, 0, 2]), min_identity=0.5, min_shared=5) == []
    assert [pair.shared for pair in near_duplicates(sketch, np.array([0, 0, 2]), min_identity=0.5, min_shared=3)] == [3]


def test_records_of_one_split_or_of_none_are_not_compared() -> None:
    letters = dna(2000)
    sketch = sketch_of([letters, letters, letters])
    assert near_duplicates(sketch, np.array([1, 1, 1])) == near_duplicates(sketch, np.array([-1, 0, -1])) == []
    assert [pair[:2] for pair in near_duplicates(sketch, np.array([0, 1, 2]))] == [(1, 0), (2, 0), (2, 1)]
    assert near_duplicates(Sketch(), np.zeros(0, np.int64)) == []


def test_unrelated_genomes_are_not_called_near() -> None:
    sketch = sketch_of([dna(200_000, seed) for seed in range(10)])
    assert near_duplicates(sketch, np.arange(10) % 3, min_identity=0.5, min_shared=1) == []


def slowly_near(records: list[str], splits: list[int], min_shared: int, min_identity: float) -> list[tuple[int, ...]]:
    """Compare every pair as sets of canonical 24-mers; the best of each earlier split."""
    sets = [{code for code, _ in slowly_sampled(record, ALL)} for record in records]
    found = []
    for row, mine in enumerate(sets):
        best: dict[int, tuple[float, int, int]] = {}
        for other, theirs in enumerate(sets):
            shared = len(mine & theirs)
            if 0 <= splits[other] < splits[row] and shared >= min_shared:
                containment = shared / min(len(mine), len(theirs))
                if containment >= min_identity**K:
                    best[splits[other]] = max(best.get(splits[other], (0.0, 0, 0)), (containment, shared, other))
        found += [(row, best[split][1]) for split in sorted(best)]
    return found


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 12), st.sampled_from([1, 5]), st.sampled_from([0.8, 0.95]))
def test_near_duplicates_are_those_of_all_pairs(seed: int, count: int, min_shared: int, min_identity: float) -> None:
    rng = np.random.default_rng(seed)
    families = [dna(80, seed + row) for row in range(3)]
    records = []
    for _ in range(count):
        member = mutated(families[rng.integers(3)], rng.choice([1, 0.97, 0.9]), int(rng.integers(10**6)))
        records.append(member[rng.integers(20) : 60 + rng.integers(21)])
    splits = rng.integers(-1, 3, count)
    found = near_duplicates(sketch_of(records), splits, min_identity, min_shared)
    texts = [record.tobytes().decode() for record in records]
    assert [(pair.record, pair.shared) for pair in found] == slowly_near(
        texts, splits.tolist(), min_shared, min_identity
    )
    assert Counter(splits[pair.other] < splits[pair.record] for pair in found)[False] == 0


def test_pairs_of_near_duplicates_are_those_that_splits_of_one_record_show() -> None:
    records = [dna(300), dna(300)[100:200], dna(300, 1), np.concatenate([dna(100, 2), dna(300, 1)[:150]]), dna(9)]
    sketch = sketch_of(records)
    found = near_duplicate_pairs(sketch, len(records))
    assert [pair for pair in zip(*(column.tolist() for column in found), strict=True)] == [(0, 1), (2, 3)]
    assert [pair[:2] for pair in near_duplicates(sketch, np.arange(5))] == [(1, 0), (3, 2)]
    assert [len(column) for column in near_duplicate_pairs(Sketch(), 0)] == [0, 0]


def test_a_record_that_is_too_short_for_the_sketch_is_counted_by_its_length() -> None:
    sketch = Sketch(budget=1 << 10, expected_nt=1 << 16)
    copies = np.concatenate([dna(300), dna(300)])
    sketch.add(np.insert(copies, 300, ord("-")), np.array([300, 601]), 0)
    assert sketch.density == 1 / 64 and sketch.shortest() == 23 + 5 * 64
    assert near_duplicates(sketch, np.array([0, 2])) == []  # although they are equal
    assert [pair[:2] for pair in near_duplicates(sketch_of([copies, copies[100:400]]), np.array([0, 2]))] == [(1, 0)]
