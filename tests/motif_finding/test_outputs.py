"""Files of a run: places in the genome, tables that agree with one another, pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hf_genomics.interpretation.figures import new_figure
from hf_genomics.motif_finding.comparison import Match
from hf_genomics.motif_finding.matrices import matrix_of_word
from hf_genomics.motif_finding.motifs import MotifOptions, find_motifs
from hf_genomics.motif_finding.outputs import (
    bed_lines,
    draw_motif,
    draw_positions,
    motif_table,
    pair_table,
    word_table,
    write_found,
)
from hf_genomics.motif_finding.pairs import PairAttention
from hf_genomics.motif_finding.sequences import ScoredSequences

pytest.importorskip("logomaker")


@pytest.fixture(scope="module")
def run(planted):
    """A run on sequences with a planted word: what it found, and its summary."""
    return find_motifs(planted(120, 0), planted(120, 1, ""), MotifOptions())


def test_tables_and_summary_agree(run):
    found, summary = run
    header, rows = motif_table(found)
    [row] = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["motif"]] == list(summary["motifs"]) and row["q"] < 1e-10 and row["best_word_q"] < 1e-10
    assert row["positives"] == row["positives_tested"] == 60 and row["sequences_with_site"] == 120
    assert row["expected_distance"] == (60 - row["width"]) / 4
    header, rows = word_table(found)
    words = [dict(zip(header, row, strict=True)) for row in rows]
    assert sum(word["q"] == word["q"] for word in words) == summary["candidates"]
    assert sum(word["q"] < found.alpha for word in words) == summary["significant_words"]
    assert sum(word["q_counting"] < found.alpha for word in words) == summary["significant_by_counting"]
    assert sum(word["motif"] == row["motif"] for word in words) == row["words"] > 5


def test_pairs_have_the_columns_of_cooccurrence_and_of_attention(run):
    found, _ = run
    two = dataclasses.replace(
        found,
        motifs=[found.motifs[0], found.motifs[0]._replace(name="2_other")],
        pairs={(0, 0): next(iter(found.pairs.values())), (0, 1): next(iter(found.pairs.values()))},
        attention={(0, 1): PairAttention(12, 0.5, 0.25, 2.0, 1.0, 0.01)},
    )
    header, rows = pair_table(two)
    assert {len(row) for row in rows} == {len(header)}
    last = dict(zip(header, rows[1], strict=True))
    assert (last["other_motif"], last["windows"], last["relative"], last["attention_q"]) == ("2_other", 12, 2.0, 0.01)
    assert rows[0][-1] == ""


def test_sites_lie_in_the_genome_where_the_names_say(run):
    found, _ = run
    site = found.sites[0][0]
    lines = {}
    for name in ("chr1:1000-1060", "chr1:1000-1060(-)", "my contig"):
        named = dataclasses.replace(found.sequences, names=[name, *found.sequences.names[1:]])
        lines[name] = next(bed_lines(dataclasses.replace(found, sequences=named))).split("\t")
    forward, reverse, plain = lines.values()
    assert forward[:3] == ["chr1", str(1000 + site.start), str(1000 + site.end)]
    assert reverse[:3] == ["chr1", str(1060 - site.end), str(1060 - site.start)]
    assert plain[:3] == ["my_contig", str(site.start), str(site.end)]
    assert {forward[5], reverse[5]} == {"+", "-"} and (forward[5] == "-") == site.is_reverse
    assert 0 < int(forward[4]) <= 1000 and float(forward[6]) == pytest.approx(site.score)


def test_all_files_are_written(run, tmp_path):
    found, summary = run
    match = Match(found.motifs[0].name, "MA0099", "AP1", 1e-9, np.nan, 0, 8, "-")
    write_found(tmp_path, dataclasses.replace(found, matches=[match]), {"model": "m"}, summary)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    motif = found.motifs[0].name
    tables = {"motifs.tsv", "words.tsv", "pairs.tsv", "matches.tsv"}
    assert names == tables | {
        "motifs.meme",
        "instances.bed",
        "motifs.json",
        "report.html",
        f"{motif}.png",
        f"{motif}.svg",
    }
    assert "MA0099" in (tmp_path / "report.html").read_text()


def test_a_run_without_motifs_has_the_same_files(planted, tmp_path):
    found, summary = find_motifs(planted(40, 0, ""), planted(40, 1, ""), MotifOptions())
    assert not found.motifs and summary["significant_words"] == 0
    write_found(tmp_path, found, {}, summary)
    assert (tmp_path / "instances.bed").read_text() == "" and (tmp_path / "logos").is_dir()
    assert (tmp_path / "motifs.tsv").read_text().count("\n") == 1


def test_a_certain_letter_is_as_high_as_its_information():
    ax = new_figure(3, 2).subplots()
    draw_motif(ax, matrix_of_word("ACN", 1.0), 1_000_000)
    assert max(patch.get_extents().height for patch in ax.patches) > 0 and ax.get_ylim() == (0, 2)


def test_positions_are_counted_from_the_centre(run):
    found, _ = run
    ax = new_figure(3, 2).subplots()
    sequences = ScoredSequences.of(["a"], [np.zeros(60, np.uint8)])
    draw_positions(ax, [found.sites[0][0]._replace(sequence=0, start=20, end=30)], sequences.lengths)
    [bar] = [patch for patch in ax.patches if patch.get_height() > 0]
    assert bar.get_x() <= -5 <= bar.get_x() + bar.get_width()
