"""The convolutional baseline reads every kind of table as it should, and learns what k-mer counts cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_genomics.evaluation import convolution
from hf_genomics.evaluation.convolution import conv_scores
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.sequence import as_letters, reverse_complement


def drawn(rows: int, length: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, length)].copy() for _ in range(rows)]


def planted(rows: int, seed: int, length: int = 24) -> LabelledSequences:
    """Rows with GATTACA near their start (class 1) or their end (class 0), which no k-mer count tells apart."""
    sequences, labels = drawn(rows, length, seed), np.arange(rows) % 2
    for letters, label in zip(sequences, labels, strict=True):
        start = 2 if label else length - 9
        letters[start : start + 7] = as_letters("GATTACA")
    return LabelledSequences("t", [str(row) for row in range(rows)], sequences, labels, ["end", "start"])


@pytest.fixture
def brief(monkeypatch):
    """Train for a few steps only."""
    monkeypatch.setattr(convolution, "_MAX_STEPS", 4)


def test_the_place_of_a_motif_is_learnt_and_the_seed_decides_everything(monkeypatch):
    monkeypatch.setattr(convolution, "_MAX_STEPS", 40)
    training, test, state = planted(200, 0), planted(60, 1), torch.random.get_rng_state()
    scores = conv_scores(training, test, seed=3)
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    assert np.mean(scores.argmax(1) == test.known_labels) > 0.9
    np.testing.assert_array_equal(scores, conv_scores(training, test, seed=3))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_row_read_from_the_opposite_strand_is_the_row_of_the_reverse_complement():
    signals = [np.random.default_rng(row).random((24, 2)).astype(np.float32) for row in range(6)]
    there = replace(planted(6, 0), pairs=drawn(6, 24, 5), nt_tracks=signals, nt_track_names=["a", "b"])
    there.sequences[2][3] = ord("N")
    back = replace(
        there,
        sequences=list(map(reverse_complement, there.sequences)),
        pairs=list(map(reverse_complement, there.pairs)),
        nt_tracks=[signal[::-1] for signal in signals],
    )
    inputs, opposite = (convolution._inputs(rows, there, 24) for rows in (there, back))
    flipped = inputs.flipped(torch.tensor([True] * 3 + [False] * 3))
    assert torch.equal(flipped.channels()[:3], opposite.channels()[:3])
    assert torch.equal(flipped.channels()[3:], inputs.channels()[3:])
    assert inputs.channels().shape == (6, inputs.num_channels, 24)
    assert not inputs.channels()[2, :4, 3].any(), "N is not one of the four letters"


def test_a_sequence_stands_in_the_middle_and_a_longer_one_shows_its_middle():
    rows = LabelledSequences("t", ["a", "b"], [as_letters("ACG"), as_letters("TTACGTT")])
    codes = convolution._inputs(rows, rows, 3).codes[:, 0]
    assert codes.tolist() == [[0, 2, 3]] * 2
    assert convolution._inputs(rows, rows, 5).codes[0, 0].tolist() == [4, 0, 2, 3, 4]


@pytest.mark.usefixtures("brief")
def test_values_keep_their_unit_and_a_missing_one_does_not_count():
    values = np.column_stack([1000 + np.arange(20.0), np.arange(20.0)])
    values[3, 0], values[4, 1] = np.nan, np.nan
    rows = replace(planted(20, 0), labels=values, label_names=["x", "y"], problem_type="regression")
    scores = conv_scores(rows, rows)
    assert scores.shape == (20, 2) and np.isfinite(scores).all()
    assert 950 < scores[:, 0].mean() < 1050 and -50 < scores[:, 1].mean() < 50


@pytest.mark.usefixtures("brief")
def test_several_labels_get_a_probability_each():
    labels = np.tile([[0.0, 1.0, np.nan], [1.0, 0.0, 0.0]], (10, 1))
    rows = replace(
        planted(20, 0), labels=labels, label_names=["x", "y", "z"], problem_type="multi_label_classification"
    )
    scores = conv_scores(rows, rows.take([0, 1]), rc_probability=0.5)
    assert scores.shape == (2, 3) and (0 <= scores).all() and (scores <= 1).all()


@pytest.mark.usefixtures("brief")
def test_every_nucleotide_gets_probabilities_in_pieces_of_any_length(monkeypatch):
    monkeypatch.setattr(convolution, "_NT_WIDTH", 16)
    sequences = [*drawn(3, 40, 0), *drawn(2, 7, 1)]
    labels = [(letters == ord("G")).astype(np.int64) for letters in sequences]
    labels[0][:5] = -100
    rows = LabelledSequences("t", list("abcde"), sequences, label_names=["0", "1"], nt_labels=labels)
    rows = replace(rows, nt_tracks=[np.ones((len(one), 1), np.float32) for one in sequences], nt_track_names=["s"])
    scores = conv_scores(rows, rows)
    assert [of_row.shape for of_row in scores] == [(40, 2)] * 3 + [(7, 2)] * 2
    np.testing.assert_allclose(np.concatenate(scores).sum(1), 1, rtol=1e-5)
    nothing = np.zeros(0, np.uint8)
    empty = replace(
        rows.take([0]), sequences=[nothing], nt_labels=[nothing.astype(np.int64)], nt_tracks=[np.zeros((0, 1))]
    )
    assert [of_row.shape for of_row in conv_scores(rows, empty)] == [(0, 2)]


@pytest.mark.usefixtures("brief")
def test_tracks_may_be_missing_and_one_row_is_enough_to_train_on():
    tracks = np.array([[1.0, np.nan], [3.0, 5.0]], np.float32)
    rows = replace(planted(2, 0), tracks=tracks, track_names=["a", "b"])
    inputs = convolution._inputs(rows, rows, 24)
    np.testing.assert_allclose(inputs.tracks, [[-1, 0, 1, 0], [1, 0, 1, 1]], atol=1e-4)
    assert np.isfinite(conv_scores(rows.take([1]), rows)).all()


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("of_nucleotides", [True, False])
def test_rows_without_a_label_change_nothing(of_nucleotides):
    sequences, names = drawn(12, 24, 0), [str(row) for row in range(12)]
    if of_nucleotides:
        labels = [(letters == ord("G")).astype(np.int64) for letters in sequences]
        rows = LabelledSequences("t", names, sequences, label_names=["0", "1"], nt_labels=labels)
    else:
        values = np.tile([[0.0, 1.0], [1.0, np.nan]], (6, 1))
        rows = LabelledSequences("t", names, sequences, values, ["x", "y"], "multi_label_classification")
    few = rows.take(range(2))
    for labels_of_row in (rows.nt_labels or list(rows.labels))[2:]:
        labels_of_row[:] = -100 if of_nucleotides else np.nan
    for with_unlabelled, without in zip(conv_scores(rows, few), conv_scores(few, few), strict=True):
        np.testing.assert_array_equal(with_unlabelled, without)
