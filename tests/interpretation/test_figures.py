"""Every picture can be drawn on axes of the caller, with what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from hf_genomics.interpretation.figures import (
    Track,
    draw_bars,
    draw_entropy,
    draw_genes,
    draw_heat_map,
    draw_line,
    draw_logo,
    logo_figure,
    new_figure,
    region_figure,
    save_figure,
)
from hf_genomics.io.genome_tracks import Region

GENES = [Region("c", 0, 500, "+", "thrA"), Region("c", 20, 60, "-", "thrB"), Region("c", 55, 90, ".", "")]


@pytest.fixture
def ax():
    return new_figure(4, 2).subplots()


def test_a_logo_has_a_glyph_for_every_letter_at_its_position(ax):
    pytest.importorskip("logomaker")
    draw_logo(ax, "ACGTNR", np.array([1, -2, 0.5, 1, 0.1, 0.2]), start=100)
    assert ax.get_xlim() == (99.5, 105.5) and len(ax.patches) == 6


def test_bars_lines_heat_maps_and_entropies_are_drawn(ax):
    draw_bars(ax, Track("score", 5, np.array([1.0, -1.0, 0.0])))
    draw_line(ax, Track("probability", 5, np.array([np.nan, 0.5, 1.0])))
    assert draw_heat_map(ax, np.array([[1.0, -3.0]]), ["A"]).get_clim() == (-3, 3)
    assert draw_heat_map(ax, np.zeros((4, 2)), list("ACGT")).get_clim() == (-1, 1)
    draw_entropy(ax, np.array([[0.1, 0.9]]))
    assert {"0.10", "0.90"} <= {text.get_text() for text in ax.texts}


def test_genes_that_overlap_have_rows_of_their_own(ax):
    draw_genes(ax, GENES, 10, 100)
    assert len(ax.patches) == 3
    draw_genes(new_figure(2, 1).subplots(), [], 0, 10)


@pytest.mark.parametrize("genes", [None, GENES])
def test_a_region_shows_genes_tracks_and_scores_below_one_another(tmp_path, genes):
    tracks = [Track("phage", 10, np.linspace(0, 1, 90))]
    figure = region_figure("c", 10, 100, tracks, Track("score", 10, np.sin(np.arange(90))), genes)
    assert len(figure.axes) == 2 + (genes is not None)
    save_figure(figure, tmp_path / "x.y")
    assert (tmp_path / "x.y.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (tmp_path / "x.y.svg").read_text()


def test_a_logo_with_a_heat_map(tmp_path):
    pytest.importorskip("logomaker")
    save_figure(logo_figure("t", "ACGT", np.ones(4), 7, np.eye(4)), tmp_path / "logo")
    assert (tmp_path / "logo.png").is_file()
