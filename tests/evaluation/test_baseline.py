"""k-mer counts against a plain loop; the baseline on sequences with known answers, and its numbers pinned."""

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.evaluation import baseline
from hf_genomics.evaluation.baseline import (
    baseline_predictions,
    baseline_scores,
    constant_scores,
    kmer_baseline,
    kmer_counts,
    kmer_features,
    kmer_scores,
    majority_probabilities,
    with_thresholds,
)
from hf_genomics.evaluation.metrics import classification_metrics
from hf_genomics.inference.predictions import Predictions, decide
from hf_genomics.labelled.sequences import LabelledSequences
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
    whole, limit = kmer_counts(letters, 2), baseline._CHUNK_SIZE
    try:
        baseline._CHUNK_SIZE = 20
        np.testing.assert_array_equal(kmer_counts(letters, 2), whole)
    finally:
        baseline._CHUNK_SIZE = limit


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


# every kind of labels


def rows_of(sequences, **fields):
    return LabelledSequences("t", [str(row) for row in range(len(sequences))], sequences, **fields)


def shares(rows, letter):
    return np.array([np.mean(letters == ord(letter)) for letters in rows])


@pytest.fixture(scope="module")
def drawn():
    """Sequences of different compositions."""
    rng = np.random.default_rng(0)
    return [as_letters("".join(rng.choice(list("ACGT"), 60, p=rng.dirichlet([2] * 4)))) for _ in range(120)]


def test_classes_of_rows_are_those_of_the_plain_baseline(drawn):
    rows = rows_of(drawn, labels=(shares(drawn, "G") > 0.25).astype(int), label_names=["no", "yes"])
    train, test = rows.take(range(90)), rows.take(range(90, 120))
    expected = kmer_baseline(train.sequences, train.labels, test.sequences)
    np.testing.assert_array_equal(kmer_scores(train, test), expected)
    assert set(baseline_scores(train, test, ["kmer"], 0)) == {"majority"}
    assert set(baseline_scores(train, test, [], 3)) == {"majority"}


def test_values_are_predicted_in_their_unit_and_a_missing_one_does_not_count(drawn):
    values = np.stack([1000 * shares(drawn, "G"), shares(drawn, "A")], 1)
    values[3, 0], values[5, 1] = np.nan, np.nan
    rows = rows_of(drawn, labels=values, label_names=["g", "a"], problem_type="regression")
    train, test = rows.take(range(90)), rows.take(range(90, 120))
    found = kmer_scores(train, test, k=2)
    for column in range(2):
        assert np.corrcoef(found[:, column], test.labels[:, column])[0, 1] > 0.98
    np.testing.assert_allclose(constant_scores(train, test), np.tile(np.nanmean(train.labels, 0), (30, 1)))


def test_several_labels_are_predicted_one_by_one_where_they_were_measured(drawn):
    labels = np.stack([shares(drawn, "G") > 0.25, np.ones(len(drawn))], 1).astype(float)
    labels[::4, 0] = np.nan
    names = {"label_names": ["g", "always"], "problem_type": "multi_label_classification"}
    rows = rows_of(drawn, labels=labels, **names)
    found, known = kmer_scores(rows, rows, k=2), ~np.isnan(labels[:, 0])
    measured = kmer_baseline([drawn[row] for row in np.flatnonzero(known)], labels[known, 0].astype(int), drawn, k=2)
    np.testing.assert_allclose(found[:, 0], measured[:, 1])
    assert (found[:, 1] == 1).all()
    np.testing.assert_allclose(constant_scores(rows, rows)[0], [np.nanmean(labels[:, 0]), 1])


def test_features_of_pairs_and_tracks_stand_beside_the_counts(drawn):
    tracks = np.array([[1.0], [np.nan], [5.0]], np.float32)
    signals = [np.full((60, 1), value, np.float32) for value in (2, np.nan, 4)]
    rows = rows_of(
        drawn[:3], pairs=drawn[3:6], tracks=tracks, track_names=["t"], nt_tracks=signals, nt_track_names=["s"]
    )
    found = kmer_features(rows, rows, 1)
    first, second = (kmer_counts(some, 1, relative=True) for some in (drawn[:3], drawn[3:6]))
    numbers = [[1, 2], [3, 3], [5, 4]]  # a missing number is the mean of the others
    np.testing.assert_allclose(found, np.concatenate([first, second, np.abs(first - second), numbers], 1))


@given(st.text("ACGTN", max_size=30), st.integers(1, 3), st.data())
def test_the_kmers_around_a_nucleotide_equal_those_of_the_stretch_cut_out(sequence, k, data):
    around, baseline._AROUND_NT = baseline._AROUND_NT, 4
    try:
        places = data.draw(st.lists(st.integers(0, max(0, len(sequence) - 1)), max_size=4 if sequence else 0))
        found = baseline._counts_around(as_letters(sequence), np.array(places, int), k)
    finally:
        baseline._AROUND_NT = around
    stretches = [as_letters(sequence[max(0, place - 4) : place + 5]) for place in places]
    np.testing.assert_array_equal(found, kmer_counts(stretches, k))


def test_every_nucleotide_is_predicted_from_the_letters_around_it(monkeypatch):
    monkeypatch.setattr(baseline, "_AROUND_NT", 2)
    rng = np.random.default_rng(0)
    sequences = [rng.choice(np.frombuffer(b"AC", np.uint8), length) for length in (80, 50, 70)]
    for letters in sequences:
        letters[20:40] = ord("G")
    labels = [(letters == ord("G")).astype(int) for letters in sequences]
    labels[0][:10] = -100
    rows = rows_of(sequences, nt_labels=labels, label_names=["no", "yes"])
    found = kmer_scores(rows, rows, k=1)
    assert [scores.shape for scores in found] == [(80, 2), (50, 2), (70, 2)]
    assert np.mean(np.concatenate(found).argmax(1) == np.concatenate(labels)) > 0.9
    np.testing.assert_allclose(constant_scores(rows, rows)[1], np.tile([130 / 190, 60 / 190], (50, 1)))
    monkeypatch.setattr(baseline, "_CHUNK_SIZE", 28)  # of a long sequence, 7 nt are predicted at a time
    np.testing.assert_allclose(np.concatenate(kmer_scores(rows, rows, k=1)), np.concatenate(found))
    monkeypatch.setattr(baseline, "_MOST_NT", 40)
    assert len(np.concatenate(kmer_scores(rows, rows, k=1))) == 200


def test_the_threshold_of_a_baseline_is_chosen_by_its_validation_scores_and_a_constant_guess_has_none() -> None:
    names, labels = ["no", "yes"], np.array([0, 0, 1, 1])
    examples = LabelledSequences("t.csv", list("abcd"), [np.full(9, 65, np.uint8)] * 4, labels, label_names=names)
    chances = {"4-mer": [0.1, 0.2, 0.3, 0.4], "majority": [0.4] * 4}
    guesses = {
        name: Predictions(examples, np.stack([1 - np.array(p), p], 1), [], names, threshold=None)
        for name, p in chances.items()
    }
    on_validation = {name: guess.scores for name, guess in guesses.items()}
    found = with_thresholds(guesses, on_validation, labels == 1, 1, "macro_recall")
    lowest, number = found["4-mer"].threshold
    assert 0.2 < lowest <= 0.3 and number == 1 and found["majority"].threshold is None
    assert np.array_equal(decide(found["4-mer"].scores, found["4-mer"].threshold), labels)


def test_a_baseline_predicts_what_the_model_could_score_and_has_no_threshold_of_the_model(drawn):
    rows = rows_of(drawn[:4], labels=np.array([0, 1, 1, 1]), label_names=["no", "yes"])
    scores = np.full((4, 2), 0.5)
    scores[2] = np.nan
    found = baseline_predictions(rows, Predictions(rows, scores, [], ["no", "yes"], (0.9, 1)), [])["majority"]
    assert found.threshold is None and found.is_scored.tolist() == [True, True, False, True]
    of_model = [np.full((60, 2), 0.5) for _ in range(4)]
    of_model[1][:7] = np.nan
    labels = [np.arange(60) % 2 for _ in range(4)]
    nucleotides = rows_of(drawn[:4], nt_labels=labels, label_names=["no", "yes"])
    found = baseline_predictions(
        nucleotides, Predictions(nucleotides, np.zeros(0), of_model, ["no", "yes"]), ["kmer"], 2
    )
    for guess in found.values():
        np.testing.assert_array_equal(np.isnan(np.concatenate(guess.nt_scores)), np.isnan(np.concatenate(of_model)))
