"""Neutral sites: read from BED, drawn once each, and the mean of a 5-mer and its change is taken away."""

from __future__ import annotations

import numpy as np
import pytest
from small_files import dna
from tiny_variants import write_fasta

from hf_genomics import InputError
from hf_genomics.io.genome_tracks import Region
from hf_genomics.sequence import as_letters, reverse_complement
from hf_genomics.sequence_files.reference import Reference, strands_in_memory
from hf_genomics.variants.calibration import (
    Background,
    canonical_change,
    context_of,
    measure_background,
    neutral_events,
    read_neutral,
)

CONTIG = dna(400)


@pytest.fixture
def reference(tmp_path):
    """A genome of one contig."""
    with Reference(write_fasta(tmp_path / "g.fa", c=CONTIG)) as opened:
        yield opened


def test_bed_lines_are_read_and_header_lines_skipped(tmp_path, reference):
    (tmp_path / "a.bed").write_text("track name=x\n# note\nc\t10\t60\tname\t0\t+\n\nc 100 160\n")
    found = read_neutral(str(tmp_path / "a.bed"), reference)
    assert [region[:3] for region in found] == [("c", 10, 60), ("c", 100, 160)]
    (tmp_path / "b.bed").write_text("c\t10\t10\n")
    with pytest.raises(InputError, match=r"b.bed, line 1"):
        read_neutral(str(tmp_path / "b.bed"), reference)


def test_a_change_and_its_opposite_strand_are_one(reference):
    assert canonical_change("AACGT", "T") == canonical_change(reverse_complement("AACGT"), "A")
    strand = strands_in_memory(0, as_letters("ACGTNACGTA"))[0]
    assert context_of(strand, 1) is None and context_of(strand, 3) is None and context_of(strand, 7) == "ACGTA"


def test_every_neutral_site_is_drawn_once_with_its_letters(reference):
    intervals = [Region("c", 0, 20), Region("c", 390, 400)]
    events = neutral_events(intervals, reference, 1000)
    places = sorted({event.start for event, _, _ in events})
    assert places == [*range(2, 20), *range(390, 398)] and len(events) == 3 * len(places)
    assert all(CONTIG[event.start] == event.ref == context[2] for event, _, context in events)
    one, two = ([event for event, _, _ in neutral_events(intervals, reference, 5)] for _ in range(2))
    assert one == two and 0 < len(one) <= 15


def test_calibration_takes_away_the_mean_and_the_quantile_is_a_share(reference):
    events = neutral_events([Region("c", 0, 400)], reference, 400)

    def score(chosen):
        return np.array([[event.start, event.start] for event, _ in chosen], np.float64)

    background = measure_background(events, score, "a.bed")
    change = canonical_change(events[0][2], events[0][0].alt)
    same = [event.start for event, _, context in events if canonical_change(context, event.alt) == change]
    expected = 7 - np.mean(same) if len(same) >= 5 else np.nan
    np.testing.assert_allclose(background.calibrate(7, events[0][2], events[0][0].alt), expected)
    assert background.quantile(-1) == 0 and background.quantile(400) == 1 and np.isnan(background.quantile(np.nan))
    few = Background({("AACAA", "G"): 2.0}, np.array([1.0, 2.0]))
    assert few.calibrate(3.0, "TTGTT", "C") == 1.0 and np.isnan(few.calibrate(3.0, "AACAA", "T"))


def test_a_site_in_several_regions_counts_once(reference):
    regions = [Region("c", 30, 50), Region("c", 10, 40), Region("c", 12, 14), Region("c", 50, 60)]
    places = [event.start for event, _, _ in neutral_events(regions, reference, 1000)]
    assert places == [place for place in range(10, 60) for _ in range(3)]
