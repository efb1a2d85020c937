"""The k-mer start's arithmetic; what models make of it is in test_modeling_kmer_bert.py."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.initialisation import kmer_embeddings, neighbour_weights
from hf_genomics.positions import sinusoids


@given(
    heads=st.integers(1, 12),
    pairs=st.integers(1, 32),
    offset=st.floats(-6, 6),
    places=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    base=st.sampled_from([1000.0, 10000.0]),
)
def test_neighbour_weights_agree_with_a_sum_of_cosines(
    heads: int, pairs: int, offset: float, places: tuple[int, int], base: float
) -> None:
    hidden = heads * pairs * 2
    query, key = neighbour_weights(hidden, torch.full((heads,), offset), base, peak=6.0)
    features = sinusoids(torch.tensor(places), hidden, base)
    logits = (query @ features[0]).view(heads, -1) * (key @ features[1]).view(heads, -1)
    quick = max(1, hidden // 8)
    chosen = [round(place) for place in torch.linspace(0, quick - 1, min(quick, pairs)).tolist()]
    away = places[0] + offset - places[1]
    cosines = [math.cos(base ** (-2 * pair / hidden) * away) for pair in chosen]
    expected = 2 * 6.0 * sum(cosines) / len(cosines)  # of bare sinusoids; half of it among words
    assert torch.allclose(logits.sum(1) / (2 * pairs) ** 0.5, torch.tensor(expected), atol=2e-3)


def test_kmer_embeddings_are_sums_over_letters() -> None:
    table = kmer_embeddings(3, 16, noise=0.0).view(4, 4, 4, 16)
    for left, right in [((0, 1, 2), (3, 1, 2)), ((0, 1, 2), (3, 0, 0)), ((0, 3, 3), (3, 3, 3))]:
        change = table[3, left[1], left[2]] - table[0, left[1], left[2]]
        assert torch.allclose(change, table[3, right[1], right[2]] - table[0, right[1], right[2]], atol=1e-6)
