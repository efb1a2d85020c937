"""The tiny fine-tuned models of every kind that the tests of inference use, and windows for them."""

from __future__ import annotations

import models_of_kinds as models
import numpy as np
import pytest

from hf_genomics.inference.windows import windows_of_examples
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.sequence import as_letters

saved, write_fasta, draw, model_of = models.saved, models.write_fasta, models.draw, models.model_of


def examples_for(kind: str, lengths: list[int]) -> LabelledSequences:
    """Draw sequences of these lengths, with the pairs or tracks that a kind of model reads."""
    sequences = [as_letters(text) for text in models.dna(lengths)]
    names = [f"s{number}" for number in range(len(lengths))]
    random = np.random.default_rng(3)
    beside = {}
    if kind == "pairs":
        beside = {"pairs": [as_letters(text) for text in models.dna([min(length, 20) for length in lengths], 1)]}
    if kind == "tracks":
        signals = [random.random((length, 1)).astype(np.float32) for length in lengths]
        age = random.random((len(lengths), 1)).astype(np.float32)
        beside = {"tracks": age, "track_names": ["age"], "nt_tracks": signals, "nt_track_names": ["signal"]}
    return LabelledSequences("sequences", names, sequences, **beside)


@pytest.fixture
def windows_for():
    """A model of a kind, its tokenizer, and windows of sequences of these lengths."""

    def make(kind: str, lengths: list[int]):
        model, tokenizer = models.build(kind)
        return model, tokenizer, list(windows_of_examples(examples_for(kind, lengths), model, tokenizer))

    return make
