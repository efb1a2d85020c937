"""Vectors equal those of the model called by hand, whatever is embedded beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_genomics as hg
from hf_genomics.embedding.embed import EmbedOptions
from hf_genomics.embedding.vectors import embedded_tokens
from hf_genomics.inference.windows import Window
from hf_genomics.loading.models import load_encoder

LONGEST = 40  # nt that each small model reads


def dna(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng([seed, length]).choice(list("ACGT"), length))


def by_hand(folder: str, text: str) -> torch.Tensor:
    """Encode one sequence that is no longer than a window, as transformers' users do: (tokens, hidden)."""
    encoder, tokenizer = load_encoder(folder)
    with torch.no_grad():
        return encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]


@pytest.mark.parametrize("kind", ["pretrained", "tuned", "parts"])
def test_vectors_are_those_of_the_encoder(kind, encoder_folder):
    folder, texts = encoder_folder(kind), [dna(length) for length in (3, 17, 40)]
    hidden = [by_hand(folder, text) for text in texts]
    np.testing.assert_allclose(hg.embed(folder, texts), [one.mean(0) for one in hidden], atol=1e-5)
    np.testing.assert_allclose(hg.embed(folder, texts, pooling="cls"), [one[0] for one in hidden], atol=1e-5)
    for found, one in zip(hg.embed(folder, texts, pooling="tokens"), hidden, strict=True):
        np.testing.assert_allclose(found, one[1:-1], atol=1e-5)


def test_a_long_sequence_gets_the_mean_of_its_windows(encoder_folder):
    text, folder = dna(95), encoder_folder("tuned")
    windows = [text[:LONGEST], text[LONGEST : 2 * LONGEST], text[-LONGEST:]]
    [found] = hg.embed(folder, [text])
    np.testing.assert_allclose(found, hg.embed(folder, windows).mean(0), atol=1e-5)


def test_a_vector_depends_neither_on_the_batch_nor_on_its_neighbours(encoder_folder):
    folder = encoder_folder("pretrained")
    texts = [dna(length, seed) for seed, length in enumerate([90, 3, 41, 40, 17, 200, 5])]
    whole = hg.embed(folder, texts)
    for batch_size in (1, 2, 64):
        np.testing.assert_allclose(hg.embed(folder, texts[::-1], batch_size=batch_size)[::-1], whole, atol=1e-5)
    for text, vector in zip(texts, whole, strict=True):
        np.testing.assert_allclose(hg.embed(folder, [text])[0], vector, atol=1e-5)


def test_what_cannot_be_embedded_is_nan_with_one_warning(encoder_folder, caplog):
    texts = [dna(20), "AC", "ACG-ACGT", "N" * 60, "", dna(9)]
    vectors = hg.embed(encoder_folder("tuned"), texts)
    assert np.isnan(vectors).all(1).tolist() == [False, True, True, True, True, False]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "no vector for 4 of 6 sequences" in warning
    assert [len(one) for one in hg.embed(encoder_folder("tuned"), texts, pooling="tokens")] == [18, 0, 0, 0, 0, 7]
    with pytest.raises(hg.InputError, match="row 2"):
        hg.embed(encoder_folder("tuned"), texts, options=EmbedOptions(strict=True))
    assert not np.isnan(hg.embed(encoder_folder("tuned"), ["ACGUACGU"], options=EmbedOptions(rna=True))).any()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.sampled_from([1, 2, 3, 5]))
@settings(deadline=None)
def test_each_token_has_one_row_and_each_sequence_begins_at_0(lengths, stride):
    k, longest, windows, expected = 3, 12, [], []
    for index, length in enumerate(lengths):
        starts = [*range(0, max(1, length - longest + 1), longest)]
        starts += [length - longest] if length > longest and length % longest else []
        own: dict[int, float] = {}
        for start in starts:
            nt = min(longest, length - start)
            count = max(0, (nt - k) // stride + 1)
            vectors = np.arange(start, start + count * stride, stride, dtype=float)[:, None]
            windows.append((Window(index, f"s{index}", start, {"sequence": np.zeros(nt, np.uint8)}), vectors))
            last = max(own, default=-1)
            own |= {int(place): place for [place] in vectors.tolist() if place > last}
        expected += [(index, start, start + k) for start in own] or [(index, 0, 0)]
    found = list(embedded_tokens(windows, k, stride, 1))
    assert [(one.sequence_index, one.start, one.end) for one in found] == expected
    assert all(one.vector[0] == one.start for one in found if one.end)
