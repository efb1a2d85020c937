"""The parts of the report that other tests do not see."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics import InputError
from hf_genomics.interpretation.report import Pictures, _place_of, highest_stretch, write_explanation_report
from hf_genomics.io.genome_tracks import Region


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.integers(1, 15))
def test_the_highest_stretch_is_the_one_that_a_loop_finds(values, width):
    scores = np.array(values, np.float32)
    start = highest_stretch(scores, width)
    best = max(np.abs(scores[at : at + width]).sum() for at in range(max(1, len(values) - width + 1)))
    assert np.abs(scores[start : start + width]).sum() == best


def test_a_track_is_cut_to_the_region_and_unknown_elsewhere(tmp_path):
    (tmp_path / "p.bedgraph").write_text("c\t0\t12\t0.5\nd\t0\t50\t1\nc\t14\t99\t0.25\n")
    [track] = Pictures.read(1, None, [str(tmp_path / "p.bedgraph")]).tracks_of("c", 10, 16)
    np.testing.assert_array_equal(track.values, [0.5, 0.5, np.nan, np.nan, 0.25, 0.25])
    assert track.name == "p"


def test_tracks_have_the_names_of_the_classes_that_predict_writes_and_are_given_once(tmp_path):
    paths = [str(tmp_path / f"e.{name}.bedgraph") for name in ("phage", "host")]
    for path in paths:
        Path(path).write_text("c\t0\t12\t0.5\n")
    assert [*Pictures.read(1, None, paths).tracks] == ["phage", "host"]
    with pytest.raises(InputError, match="given twice"):
        Pictures.read(1, None, paths[:1] * 2)


@pytest.mark.parametrize("method", ["ig", "ism", "occlusion"])
@pytest.mark.parametrize(("unit", "other"), [("value", "logit"), ("logit", "value")])
def test_a_report_says_whether_logits_or_values_are_explained(method, unit, other, tmp_path):
    placed = SimpleNamespace(records=SimpleNamespace(settings={"options": {"method": method}}))
    summary = {"sequences": 1, "windows": 2, "nucleotides": 80, "targets": {"ref": 2}}
    summary |= {"median_completeness_error": 0.001, "worst_completeness_error": 0.002}
    write_explanation_report(tmp_path, placed, ["ref"], summary, Pictures(0, unit=unit))
    text = (tmp_path / "report.html").read_text().partition("<body")[2]
    assert unit in text and other not in text and "nt_ig" not in text


@pytest.mark.parametrize(("method", "shared"), [("ig", True), ("occlusion", True), ("ism", False), ("nt_ig", False)])
def test_a_report_says_that_the_nucleotides_of_a_token_share_a_score(method, shared, tmp_path):
    placed = SimpleNamespace(records=SimpleNamespace(settings={"options": {"method": method}}))
    summary = {"sequences": 1, "windows": 2, "nucleotides": 80, "targets": {"ref": 2}}
    write_explanation_report(tmp_path, placed, ["ref"], summary, Pictures(0, stride=6))
    assert ("every 6 nt" in (tmp_path / "report.html").read_text()) == shared


def test_the_place_of_a_window_says_if_it_is_on_the_reverse_strand():
    places = [_place_of(Region("c", 9, 20, strand, "c")) for strand in "+-."]
    assert ["reverse" in place for place in places] == [False, True, False]
