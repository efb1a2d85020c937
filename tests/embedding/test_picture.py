"""Principal components equal those of a singular value decomposition; the picture needs three vectors."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.embedding import picture as module
from hf_genomics.embedding.picture import draw_components, principal_components


@given(st.integers(3, 40), st.integers(2, 6), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_components_in_chunks_are_those_of_all_vectors(count, size, seed):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, size)) * np.arange(1, size + 1) + 1000
    vectors[random.integers(count)] = np.nan
    known = vectors[~np.isnan(vectors).any(1)]
    found = principal_components(np.array_split(vectors, 3))
    if len(known) < 3:
        assert found is None
        return
    _, values, rows = np.linalg.svd(known - known.mean(0), full_matrices=False)
    shares = values**2 / (values**2).sum()
    np.testing.assert_allclose(found.shares, shares[:2], atol=1e-6)
    ours, theirs = (known - found.mean) @ found.axes[:, 0], (known - known.mean(0)) @ rows[0]
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-4)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(2), atol=1e-8)


def test_two_vectors_are_too_few_and_points_are_thinned_evenly(tmp_path, monkeypatch):
    assert not draw_components(tmp_path / "x.png", lambda: [np.eye(3)[:2]], "few")
    monkeypatch.setattr(module, "_MOST_POINTS", 10)
    chunks = np.array_split(np.random.default_rng(0).normal(size=(100, 4)), 7)
    points, rows = module._points(chunks, principal_components(chunks))
    assert rows.tolist() == list(range(0, 100, 16)) and points.shape == (7, 2)
    labels = [["a", "b", ""][row % 3] for row in range(100)]
    assert draw_components(tmp_path / "x.png", lambda: chunks, "two classes", labels)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_legend_shows_the_names_of_classes_as_they_are(tmp_path, monkeypatch):
    legends = []
    monkeypatch.setattr(module.Figure, "savefig", lambda self, *_, **__: legends.append(self.axes[0].get_legend()))
    vectors, names = np.random.default_rng(0).normal(size=(9, 4)), ["_hidden", r"$\no$", ""]
    assert draw_components(tmp_path / "x.png", lambda: [vectors], "classes", names * 3)
    [legend] = legends
    assert sorted(text.get_text() for text in legend.get_texts()) == [r"$\no$", "_hidden", "no label"]
    assert not any(text.get_parse_math() for text in legend.get_texts())
