"""A small convolutional network, trained from random weights: a baseline that a pretrained model should beat.

It learns short motifs and roughly where they are; k-mer counts do not say where a motif is. It reads one-hot letters.

There are two networks. For labels per sequence, `SequenceConvNet` keeps the maxima of 16 stretches of a sequence, and
predicts from these. For labels per nucleotide, sequences are cut into pieces of 1,024 nt, and `NucleotideConvNet`
predicts every position of a piece by convolutions whose reach doubles from layer to layer. Numbers beside the letters
are standardised, and each has a second input that is 1 if the number is known and 0 if it is missing.

`conv_scores` is the entry: `_inputs` turns sequences into tensors; `_train` holds out a tenth of the rows and keeps the
weights with the lowest loss on them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the customary name)
from torch import Tensor, nn

from ..labelled.sequences import LabelledSequences
from ..sequence import IGNORE_INDEX, LETTER_CODE

_WIDTH = 8192  # letters of a sequence that are read, from its middle
_NT_WIDTH = 1024  # length of the pieces into which sequences with labels per nucleotide are cut
_STRETCHES = 16  # of a sequence, whose maxima are kept apart, so that the network knows roughly where a motif is
_BATCH = 64
_MAX_STEPS = 3000
_PATIENCE = 8  # training ends after this many checks of the held-out rows without a new lowest loss
_NO_LETTER = 4  # code of padding, and of letters other than A, C, G, T and U: a row of zeros in _ONE_HOT
_ONE_HOT = torch.eye(5)[:, :4]

#: Computes the loss of outputs and targets.
Loss = Callable[[Tensor, Tensor], Tensor]


class _Inputs(NamedTuple):
    """What a network reads, row by row.

    Attributes:
        codes: codes of the letters, uint8 (rows, sequences of a row, width).
        signals: numbers along the sequence (the table's ``nt_tracks``), standardised, and whether each is known,
            float32 (rows, 2 x signals, width).
        tracks: numbers that belong to a whole sequence, standardised, and whether each is known, float32
            (rows, 2 x tracks).
    """

    codes: Tensor
    signals: Tensor
    tracks: Tensor

    @property
    def num_channels(self) -> int:
        """The number of input channels of a network."""
        return 4 * self.codes.shape[1] + self.signals.shape[1]

    def take(self, rows: Tensor) -> _Inputs:
        """Return some rows."""
        return _Inputs(*(field[rows] for field in self))

    def flipped(self, which: Tensor) -> _Inputs:
        """Return the rows with some of them, bool (rows,), read from the opposite strand."""
        # The codes are A 0, T 1, C 2, G 3, so changing the last bit gives the complement.
        opposite = torch.where(self.codes < _NO_LETTER, self.codes ^ 1, _NO_LETTER)
        codes = torch.where(which[:, None, None], opposite.flip(2), self.codes)
        return self._replace(codes=codes, signals=torch.where(which[:, None, None], self.signals.flip(2), self.signals))

    def channels(self) -> Tensor:
        """Return letters, one-hot, and signals as channels, float32 (rows, channels, width)."""
        letters = _ONE_HOT[self.codes.long()].transpose(2, 3).flatten(1, 2)  # (rows, 4 x sequences of a row, width)
        return torch.cat([letters, self.signals], 1)


class SequenceConvNet(nn.Module):
    """Two layers of convolutions, maxima over stretches, and a classifier with one hidden layer.

    Args:
        channels: number of input channels.
        tracks: number of inputs that belong to a whole sequence.
        outputs: number of outputs.
        width: length of the input.
    """

    def __init__(self, channels: int, tracks: int, outputs: int, width: int) -> None:
        super().__init__()
        step = 4 if width >= 4 * _STRETCHES else 1
        stretches = min(_STRETCHES, width // step)
        self.body = nn.Sequential(
            *(nn.Conv1d(channels, 64, 11, padding=5), nn.BatchNorm1d(64), nn.ReLU(), nn.MaxPool1d(step)),
            *(nn.Conv1d(64, 64, 5, padding=2), nn.BatchNorm1d(64), nn.ReLU(), nn.AdaptiveMaxPool1d(stretches)),
            *(nn.Flatten(), nn.Dropout(0.3)),
        )
        self.head = nn.Sequential(nn.Linear(64 * stretches + tracks, 64), nn.ReLU(), nn.Linear(64, outputs))

    def forward(self, channels: Tensor, tracks: Tensor) -> Tensor:
        """Return the outputs, (rows, outputs)."""
        return self.head(torch.cat([self.body(channels), tracks], 1))


class NucleotideConvNet(nn.Module):
    """Residual convolutions; each nucleotide sees 128 nt on either side, as far as these belong to its piece.

    Args:
        channels: number of input channels.
        outputs: number of outputs for each nucleotide.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, 32, 9, padding=4)
        # The first layer reaches 4 nt to either side, and each of these layers twice its number: 128 nt together.
        reaches = (2, 4, 8, 16, 32)
        self.layers = nn.ModuleList(nn.Conv1d(32, 32, 5, padding=2 * reach, dilation=reach) for reach in reaches)
        self.last = nn.Conv1d(32, outputs, 1)

    def forward(self, channels: Tensor, tracks: Tensor) -> Tensor:  # noqa: ARG002 (both networks are called alike)
        """Return the outputs, (rows, outputs, width)."""
        states = F.relu(self.first(channels))
        for layer in self.layers:
            states = states + F.relu(layer(states))
        return self.last(states)


def conv_scores(
    training: LabelledSequences, test: LabelledSequences, seed: int = 0, *, rc_probability: float = 0.0
) -> np.ndarray | list[np.ndarray]:
    """Train a small convolutional network on the CPU, and predict with it.

    A tenth of the training rows is held out; training ends when their loss no longer falls, and the weights with the
    lowest loss are used.

    With labels per sequence, only the middle is read of a sequence that is longer than 8,192 nt, or than every training
    sequence. The two sequences of a pair are read side by side, so they should be aligned, as a CRISPR guide and its
    site are. With labels per nucleotide, all of a sequence is read, but in pieces of 1,024 nt that do not see each
    other, and without the second sequence of a pair or the numbers of a whole sequence.

    Args:
        training: sequences with labels of any kind.
        test: sequences with the same kind of inputs.
        seed: seed of the weights, the order of the rows, and the held-out rows.
        rc_probability: probability of reading a training sequence from the opposite strand, if it has no labels per
            nucleotide.

    Returns:
        Probabilities or values, float64 (rows, outputs); for labels per nucleotide, (nt, classes) for each row.
    """
    if training.nt_labels is not None:
        return _nucleotide_scores(training, test, seed)
    width = min(max(map(len, [*training.sequences, *(training.pairs or [])])), _WIDTH)
    targets, center, scale = _targets(training)
    inputs = _inputs(training, training, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = SequenceConvNet(
            inputs.num_channels, inputs.tracks.shape[1], training.task.num_labels, width
        )
        _train(network, inputs, targets, _loss_of(training), rc_probability)
    logits = _logits(network, _inputs(test, training, width))
    if training.problem == "regression":
        return logits.double().numpy() * scale + center
    of_classes = training.task.is_classification
    return (logits.softmax(1) if of_classes else logits.sigmoid()).double().numpy()


def _nucleotide_scores(training: LabelledSequences, test: LabelledSequences, seed: int) -> list[np.ndarray]:
    """Train a network for labels per nucleotide, and predict with it, (nt, classes) for each row."""
    pieces, test_pieces = _cut(training), _cut(test)
    labels = np.full((len(pieces), _NT_WIDTH), IGNORE_INDEX)
    for row, of_row in enumerate(pieces.nt_labels or []):
        labels[row, : len(of_row)] = of_row
    inputs = _inputs(pieces, pieces, _NT_WIDTH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NucleotideConvNet(inputs.num_channels, training.task.num_labels)
        _train(network, inputs, torch.from_numpy(labels), _loss_of(training))
    logits = _logits(network, _inputs(test_pieces, pieces, _NT_WIDTH))
    padded = logits.softmax(1).transpose(1, 2).double().numpy()  # (pieces, width, classes)
    of_pieces = [scores[: len(letters)] for scores, letters in zip(padded, test_pieces.sequences, strict=True)]
    # A row of the result is its pieces, joined again: those from the end of the previous row to its own end.
    ends = np.cumsum([math.ceil(len(letters) / _NT_WIDTH) for letters in test.sequences])
    no_scores = np.zeros((0, training.task.num_labels))  # those of an empty row, which has no piece
    return [np.concatenate([no_scores, *of_pieces[start:end]]) for start, end in pairwise([0, *ends.tolist()])]


def _cut(examples: LabelledSequences) -> LabelledSequences:
    """Cut sequences, with their labels and signals per nucleotide, into pieces of up to `_NT_WIDTH` nt.

    Pairs and tracks are dropped: they belong to whole sequences.
    """
    counts = [math.ceil(len(letters) / _NT_WIDTH) for letters in examples.sequences]
    columns: dict[str, Any] = {"ids": [name for name, n in zip(examples.ids, counts, strict=True) for _ in range(n)]}
    for name in ("sequences", "nt_labels", "nt_tracks"):
        if (column := getattr(examples, name)) is not None:
            columns[name] = [
                values[start : start + _NT_WIDTH] for values in column for start in range(0, len(values), _NT_WIDTH)
            ]
    return replace(examples, pairs=None, tracks=None, track_names=None, file_rows=None, **columns)


def _inputs(examples: LabelledSequences, training: LabelledSequences, width: int) -> _Inputs:
    """Build the inputs of rows, standardised as in the training rows.

    Sequences stand in the middle of the width, or, with labels per nucleotide, at its start.

    Args:
        examples: the rows.
        training: the training rows.
        width: number of letters that are read.
    """
    # The sequences of each row: one, or the two of a pair.
    rows, of_row = len(examples), [examples.sequences, *([examples.pairs] if examples.pairs else [])]
    codes = np.full((rows, len(of_row), width), _NO_LETTER, np.uint8)
    num_signals = len(examples.nt_track_names or [])
    signals = np.full((rows, num_signals, width), np.nan, np.float32)
    for row in range(rows):
        for number, letters in enumerate(of_row):
            here, there = _middle(len(letters[row]), width, training.nt_labels is None)
            codes[row, number, here] = LETTER_CODE[letters[row][there]]
        if examples.nt_tracks is not None:
            here, there = _middle(len(examples.nt_tracks[row]), width, training.nt_labels is None)
            signals[row, :, here] = examples.nt_tracks[row][there].T
    tracks = np.zeros((rows, 0), np.float32) if examples.tracks is None else examples.tracks
    training_signals = None if training.nt_tracks is None else np.concatenate(training.nt_tracks)
    return _Inputs(
        torch.from_numpy(codes),
        torch.from_numpy(_standardised(signals, training_signals)),
        torch.from_numpy(_standardised(tracks, training.tracks)),
    )


def _middle(length: int, width: int, centered: bool) -> tuple[slice, slice]:
    """Return where in the width a sequence stands, and which of its letters stand there.

    A shorter sequence is padded, and a longer one cut, on both sides; if not ``centered``, at its end only.

    >>> _middle(3, 5, True), _middle(7, 3, True)
    ((slice(1, 4, None), slice(0, 5, None)), (slice(0, 3, None), slice(2, 5, None)))
    """
    if not centered:
        return slice(0, min(length, width)), slice(0, width)
    start, cut = max(0, (width - length) // 2), max(0, (length - width) // 2)
    return slice(start, start + min(length, width)), slice(cut, cut + width)


def _standardised(values: np.ndarray, training: np.ndarray | None) -> np.ndarray:
    """Return numbers standardised by column (axis 1), 0 where missing, and whether each is known, side by side.

    A value becomes (value - mean) / standard deviation, with the mean and standard deviation of the training rows.

    Args:
        values: (rows, columns, ...), NaN where missing.
        training: the numbers of the training rows, (any number, columns).
    """
    if training is not None:
        shape = (1, -1, *[1] * (values.ndim - 2))
        values = (values - np.nanmean(training, 0).reshape(shape)) / (np.nanstd(training, 0).reshape(shape) + 1e-6)
    known = ~np.isnan(values)
    return np.concatenate([np.where(known, values, 0), known], 1).astype(np.float32)


def _targets(training: LabelledSequences) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Return the labels of sequences as a network learns them, and mean and standard deviation of values."""
    labels = training.known_labels
    if training.task.is_classification:
        return torch.from_numpy(labels), np.zeros(1), np.ones(1)
    columns = labels.reshape(len(training), -1)
    if training.problem != "regression":
        return torch.from_numpy(columns).float(), np.zeros(1), np.ones(1)
    center, scale = np.nanmean(columns, 0), np.nanstd(columns, 0) + 1e-12
    return torch.from_numpy((columns - center) / scale).float(), center, scale


def _is_known(targets: Tensor) -> Tensor:
    """Return which labels are not missing, bool: a missing class is -100, any other missing label NaN."""
    return ~targets.isnan() if targets.is_floating_point() else targets != IGNORE_INDEX


def _loss_of(training: LabelledSequences) -> Loss:
    """Return the loss of a kind of labels: the mean over the labels that are known, of which there must be one."""
    if training.task.is_classification:
        return lambda outputs, labels: F.cross_entropy(outputs, labels, ignore_index=IGNORE_INDEX)
    each = F.mse_loss if training.problem == "regression" else F.binary_cross_entropy_with_logits

    def of_known(outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of the labels that are known."""
        known = _is_known(labels)
        return (each(outputs, labels.nan_to_num(), reduction="none") * known).sum() / known.sum()

    return of_known


def _train(network: nn.Module, inputs: _Inputs, targets: Tensor, loss: Loss, rc_probability: float = 0.0) -> None:
    """Train a network, and give it the weights with the lowest loss on held-out rows.

    Rows without any label are left out: nothing can be learnt from them, nor scored on them.

    Args:
        network: the network.
        inputs: inputs of all training rows.
        targets: targets of all training rows.
        loss: computes the loss of outputs and targets.
        rc_probability: probability of reading a row from the opposite strand.
    """
    with_label = _is_known(targets).reshape(len(targets), -1).any(1).nonzero()[:, 0]
    order = with_label[torch.randperm(len(with_label))]
    held_out, rows = order.tensor_split([max(1, len(order) // 10)])
    rows = rows if len(rows) else order  # a single row is trained on and held out
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3)
    # The held-out rows are checked once per epoch, or every 250 steps if that is sooner.
    every = min(math.ceil(len(rows) / _BATCH), 250)
    best, best_weights, waited = float("inf"), copy.deepcopy(network.state_dict()), 0
    for step, batch in enumerate(_batches(rows), start=1):
        some = inputs.take(batch)
        if rc_probability:
            some = some.flipped(torch.rand(len(batch)) < rc_probability)
        network.train()
        optimizer.zero_grad()
        loss(network(some.channels(), some.tracks), targets[batch]).backward()
        optimizer.step()
        if step % every == 0:
            now = float(loss(_logits(network, inputs.take(held_out)), targets[held_out]))
            waited = 0 if now < best else waited + 1
            if now < best:
                best, best_weights = now, copy.deepcopy(network.state_dict())
            if waited >= _PATIENCE or step >= _MAX_STEPS:
                break
    network.load_state_dict(best_weights)


def _batches(rows: Tensor) -> Iterator[Tensor]:
    """Iterate over batches of rows without end, in a new order in every epoch."""
    while True:
        yield from rows[torch.randperm(len(rows))].split(_BATCH)


@torch.no_grad()
def _logits(network: nn.Module, inputs: _Inputs) -> Tensor:
    """Return the outputs for all rows, computed batch by batch."""
    network.eval()
    batches = torch.arange(len(inputs.codes)).split(_BATCH)
    return torch.cat([network(some.channels(), some.tracks) for some in map(inputs.take, batches)])
