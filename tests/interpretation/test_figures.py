"""Every picture can be drawn on axes of the caller, with what it is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.interpretation.figures import (
    Track,
    Variant,
    draw_bars,
    draw_entropy,
    draw_genes,
    draw_heat_map,
    draw_line,
    draw_logo,
    draw_variants,
    logo_figure,
    mark_positions,
    new_figure,
    place_name,
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


def test_a_gene_covers_its_nucleotides_whose_middles_are_whole_numbers(ax):
    draw_genes(ax, [Region("c", 12, 15, ".", "g")], 10, 20)
    (gene,) = ax.patches
    assert {gene.get_xy()[:, 0].min(), gene.get_xy()[:, 0].max()} == {11.5, 14.5}


@given(
    st.lists(st.sampled_from([0.0, -3.0, 2.0, float("nan")]), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(1, 3),
)
@settings(deadline=None)
def test_a_thinned_track_keeps_what_is_furthest_from_0(values, most, step):
    track = Track("score", 7, np.array(values), step)
    found = track.thinned(most)
    assert len(found.values) <= max(most, len(values) if most >= len(values) else most)
    for position, value in zip(found.positions, found.values, strict=True):
        begin, length = int(position - (found.step - 1) / 2 - 7) // step, found.step // step
        stretch = [one for one in values[begin : begin + length] if one == one]
        assert value != value if not stretch else abs(value) == max(map(abs, stretch)) and value in stretch


def test_variants_are_pins_with_names_if_they_are_few(ax):
    variants = [Variant(5, "A>G", -1.5), Variant(9, "C>T", float("nan")), Variant(11, "G>C", 0.5)]
    draw_variants(ax, variants, "llr")
    assert {text.get_text() for text in ax.texts} == {"A>G", "C>T", "G>C"} and ax.get_ylabel() == "llr"
    assert [len(points.get_offsets()) for points in ax.collections[1:]] == [2, 1]
    other = new_figure(2, 1).subplots()
    draw_variants(other, [])
    assert [text.get_text() for text in other.texts] == ["no variant here"]


@pytest.mark.parametrize("genes", [None, GENES])
def test_a_region_shows_genes_tracks_and_scores_below_one_another(tmp_path, genes):
    tracks = [Track("phage", 10, np.linspace(0, 1, 90))]
    figure = region_figure("c", 10, 100, tracks, Track("score", 10, np.sin(np.arange(90))), genes)
    assert len(figure.axes) == 2 + (genes is not None)
    more = region_figure("c", 10, 100, tracks, None, genes, [Variant(20, "A>G", 1.0)], "llr")
    assert len(more.axes) == 2 + (genes is not None) and more.axes[-1].get_ylabel() == "llr"
    save_figure(figure, tmp_path / "x.y")
    assert (tmp_path / "x.y.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (tmp_path / "x.y.svg").read_text()


def test_a_logo_with_a_heat_map(tmp_path):
    pytest.importorskip("logomaker")
    save_figure(logo_figure("t", "ACGT", np.ones(4), 7, np.eye(4)), tmp_path / "logo")
    assert (tmp_path / "logo.png").is_file()


@given(st.integers(0, 10**8), st.integers(20, 10**6))
@settings(deadline=None, max_examples=30)
def test_ticks_are_round_positions_counted_from_1_and_places_include_both_ends(start, length):
    ax = new_figure(4, 2).subplots()
    ax.set_xlim(start - 0.5, start + length - 0.5)
    mark_positions(ax, "c, position")
    ticks = [round(tick) for tick in ax.get_xticks()]
    labels = [ax.xaxis.get_major_formatter()(tick) for tick in ticks]
    assert labels == [f"{tick + 1:,}" for tick in ticks]
    step = ticks[1] - ticks[0]
    assert all((tick + 1) % step == 0 for tick in ticks) and ax.get_xlabel().endswith("1-based)")
    assert place_name("c", start, start + length) == f"c:{start + 1:,}\N{EN DASH}{start + length:,}"


@pytest.mark.parametrize(
    ("strand", "name"), [("+", "g \N{RIGHTWARDS ARROW}"), ("-", "\N{LEFTWARDS ARROW} g"), (".", "g")]
)
def test_a_gene_shows_its_direction_also_where_its_tip_lies_outside(ax, strand, name):
    draw_genes(ax, [Region("c", 0, 500, strand, "g")], 100, 200)
    assert [text.get_text() for text in ax.texts] == [name]


@pytest.mark.parametrize("name", [r"$\x$", "a$b$"])
def test_a_name_that_looks_like_a_formula_is_shown_as_it_stands(name, ax, tmp_path):
    ax.set_title(name)
    ax.set_ylabel(name)
    save_figure(ax.figure, tmp_path / "picture")
    assert (tmp_path / "picture.png").is_file() and not ax.title.get_parse_math()
