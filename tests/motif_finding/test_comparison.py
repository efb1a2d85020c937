"""TOMTOM finds a motif among others, and says when there are too few of them."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from hf_genomics import InputError
from hf_genomics.motif_finding import comparison
from hf_genomics.motif_finding.comparison import Match, check_memelite, compare_motifs
from hf_genomics.motif_finding.matrices import reverse_matrix
from hf_genomics.motif_finding.meme import MemeMotif


def targets_of(count: int) -> list[MemeMotif]:
    random = np.random.default_rng(0)
    return [MemeMotif(f"t{row}", random.dirichlet([0.2] * 4, 12), other_name=f"gene{row}") for row in range(count)]


@pytest.mark.slow  # the first call on a machine compiles for a minute
def test_a_part_of_a_reversed_target_is_found_among_others():
    pytest.importorskip("memelite")
    targets = targets_of(30)
    found = compare_motifs([("mine", reverse_matrix(targets[7].matrix)[2:11])], targets, "t.meme")
    assert (found[0].target, found[0].other_name, found[0].strand) == ("t7", "gene7", "-") and found[0].q < 1e-4
    assert found[0].overlap == 9 and found[0].offset == 2
    assert len(found) == 5 and [one.p for one in found] == sorted(one.p for one in found)


def imitate(monkeypatch, p):
    numbers = np.zeros_like(p, dtype=int)
    monkeypatch.setattr(comparison, "_tomtom", lambda *matrices: (p, p, numbers, numbers + 9, numbers))


def test_few_targets_are_said_and_leave_q_empty(monkeypatch, caplog):
    imitate(monkeypatch, np.array([[0.5, 1e-9, 0.2]]))
    with caplog.at_level(logging.WARNING):
        found = compare_motifs([("mine", np.full((9, 4), 0.25))], targets_of(3), "t.meme")
    assert "t.meme" in caplog.text and "25" in caplog.text
    assert [one.target for one in found] == ["t1", "t2", "t0"] and np.isnan([one.q for one in found]).all()


def test_q_is_corrected_for_the_number_of_targets(monkeypatch, caplog):
    imitate(monkeypatch, np.concatenate([[[1e-4]], np.ones((1, 24))], 1))
    best = compare_motifs([("mine", np.full((9, 4), 0.25))], targets_of(25), "t.meme")[0]
    assert best == Match("mine", "t0", "gene0", 1e-4, pytest.approx(25e-4), 0, 9, "+") and not caplog.text


def test_without_motifs_nothing_is_compared():
    assert compare_motifs([], targets_of(3), "t.meme") == []


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"memelite.*pip install 'hf_genomics\[motifs\]'"):
        check_memelite()
