"""k-mer counts against a plain loop; the baseline on sequences with known answers, and its numbers pinned."""

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.evaluation import baseline
from hf_genomics.evaluation.baseline import kmer_baseline, kmer_counts, majority_probabilities
from hf_genomics.evaluation.metrics import classification_metrics
from hf_genomics.sequence import ALPHABET, as_letters, reverse_complement

sequences_of_dna = st.lists(st.text("ACGTNacgtRU", max_size=30), max_size=6)


def count_slowly(sequence, k):
    columns = {"".join(kmer): column for column, kmer in enumerate(product(ALPHABET, repeat=k))}
    row = np.zeros(4**k, np.float32)
    sequence = sequence.upper().replace("U", "T")
    for start in range(len(sequence) - k + 1):
        if (column := columns.get(sequence[start : start + k])) is not None:
            row[column] += 1
    return row


def random_sequences(rng, n, length, p):
    return [as_letters("".join(rng.choice(list("ACGT"), length, p=p))) for _ in range(n)]


@given(sequences_of_dna, st.integers(1, 4))
def test_counts_equal_those_of_a_plain_loop(sequences, k):
    counts = kmer_counts([as_letters(s) for s in sequences], k)
    assert counts.dtype == np.float32
    np.testing.assert_array_equal(counts, np.array([count_slowly(s, k) for s in sequences]).reshape(-1, 4**k))


@given(sequences_of_dna)
def test_cutting_the_work_into_chunks_changes_nothing(sequences):
    letters = [as_letters(s) for s in sequences]
    whole, limit = kmer_counts(letters, 2), baseline._CHUNK_NT
    try:
        baseline._CHUNK_NT = 20
        np.testing.assert_array_equal(kmer_counts(letters, 2), whole)
    finally:
        baseline._CHUNK_NT = limit


@given(st.text("ACGT", min_size=4, max_size=30), st.integers(1, 4))
def test_with_merged_strands_both_strands_give_the_same_row(sequence, k):
    there, back = kmer_counts([as_letters(sequence), as_letters(reverse_complement(sequence))], k, merge_strands=True)
    np.testing.assert_array_equal(there, back)
    assert there.sum() == len(sequence) - k + 1


def test_merged_strands_have_136_columns_for_4_mers():
    assert kmer_counts([as_letters("ACGTACGT")], 4, merge_strands=True).shape == (1, 136)


def test_relative_counts_sum_to_one_or_to_zero_where_there_is_no_kmer():
    counts = kmer_counts([as_letters("ACGTTGCA"), as_letters("NNNNNN"), as_letters("AC")], 3, relative=True)
    np.testing.assert_allclose(counts.sum(axis=1), [1, 0, 0], rtol=1e-6)


def test_a_hundred_thousand_short_sequences_are_counted_in_seconds():
    letters = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, (100_000, 150))]
    start = time.perf_counter()
    assert kmer_counts(letters, 4).sum() == 100_000 * 147
    assert time.perf_counter() - start < 20  # under one second on an idle core; the margin is for busy machines


def test_the_baseline_tells_compositions_apart_and_is_repeatable():
    rng = np.random.default_rng(0)
    rich, poor = [0.1, 0.4, 0.4, 0.1], [0.4, 0.1, 0.1, 0.4]
    train = random_sequences(rng, 60, 100, rich) + random_sequences(rng, 60, 100, poor)
    test = random_sequences(rng, 20, 100, rich) + random_sequences(rng, 20, 100, poor)
    probabilities = kmer_baseline(train, np.repeat([0, 1], 60), test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), np.repeat([0, 1], 20))
    np.testing.assert_array_equal(probabilities, kmer_baseline(train, np.repeat([0, 1], 60), test))


#: Probabilities of class 1 of the six test sequences; without the standardisation all of them are within 0.499..0.502.
GOLDEN_NT, GOLDEN = 2527, [0.79271, 0.48222, 0.10613, 0.62143, 0.05609, 0.94400]


def golden_table():
    """Thirty training and six test sequences of two classes that differ in the frequency of CpG only."""
    rng = np.random.default_rng(2025)
    letters, labels = [], np.arange(36) % 2
    for label in labels:
        row = rng.choice(list("ACGT"), rng.integers(60, 120))
        places = np.flatnonzero((row[:-1] == "C") & (row[1:] == "G"))
        row[places + 1] = np.where(rng.random(len(places)) < (0.8 if label else 0.2), "A", "G")
        letters.append(as_letters("".join(row)))
    return letters[:30], labels[:30], letters[30:], labels[30:]


def test_the_numbers_of_the_baseline_on_a_fixed_table_stay_what_they_are():
    """Every claim of the project is measured against the 4-mer baseline: a change of it must not pass unnoticed."""
    train, labels, test, truth = golden_table()
    assert sum(map(len, train)) == GOLDEN_NT
    probabilities = kmer_baseline(train, labels, test)
    np.testing.assert_allclose(probabilities[:, 1], GOLDEN, atol=1e-3)  # the solver's own tolerance is 1e-4
    scores = classification_metrics(probabilities, truth)
    assert (scores["accuracy"], scores["auroc"]) == pytest.approx((4 / 6, 7 / 9))


def test_a_class_without_training_sequences_gets_probability_zero():
    train = [as_letters(s) for s in ("AAAAAAAA", "CCCCCCCC", "AAAATAAA", "CCCCGCCC")]
    probabilities = kmer_baseline(train, np.array([0, 2, 0, 2]), train, k=2, num_classes=4)
    assert probabilities.shape == (4, 4)
    assert not probabilities[:, [1, 3]].any()
    assert probabilities.argmax(axis=1).tolist() == [0, 2, 0, 2]


def test_training_sequences_of_one_class_give_that_class(caplog):
    probabilities = kmer_baseline([as_letters("ACGT")], np.array([1]), [as_letters("AC")], num_classes=2)
    assert probabilities.tolist() == [[0.0, 1.0]]
    assert "of class 1" in caplog.text


def test_no_test_sequence_gives_an_empty_answer():
    assert kmer_baseline([as_letters("AAAA"), as_letters("CCCC")], np.array([0, 1]), [], k=1).shape == (0, 2)


@pytest.mark.parametrize(
    ("sequences", "labels", "message"),
    [
        ([], [], "^0 training sequences"),
        (["ACGT"], [0, 1], "1 training .* 2 labels"),
        (["ACGT"], [5], r"training labels run 5..5, classes 0..1"),
    ],
)
def test_sequences_and_labels_that_do_not_fit_are_refused(sequences, labels, message):
    with pytest.raises(ValueError, match=message):
        kmer_baseline([as_letters(s) for s in sequences], np.array(labels), [], num_classes=2)


def test_the_majority_guess_gives_everybody_the_class_frequencies():
    probabilities = majority_probabilities(np.array([0, 2, 2]), 2, num_classes=4)
    np.testing.assert_allclose(probabilities, [[1 / 3, 0, 2 / 3, 0]] * 2)
