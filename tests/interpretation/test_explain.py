"""The verb: coordinates, files, regions of a genome, resume, and nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import hf_genomics as hg
from hf_genomics.errors import private_run
from hf_genomics.interpretation import explain as module
from hf_genomics.io.genome_tracks import Region
from hf_genomics.sequence import reverse_complement

pytest.importorskip("logomaker")
big_wig = pytest.importorskip("pyBigWig")
FAST = {"steps": 4, "figures": 0}


def run(saved, source, output, kind="classes", options=None, **arguments):
    return hg.explain(
        saved(kind), str(source), str(output), options=hg.ExplainOptions(**(FAST | (options or {}))), **arguments
    )


def bedgraph(folder):
    names = ["contig", "start", "end", "value"]
    return pd.read_csv(folder / "scores.bedgraph", sep="\t", header=None, names=names)


def write(path, **records):
    path.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    return path


def test_scores_lie_where_the_header_says_and_agree_in_all_files(tmp_path, saved, draw):
    [text] = draw([100])
    source = write(tmp_path / "x.fa", **{"chr1:1000-1100": text})
    (tmp_path / "x.sizes").write_text("chr1\t5000\nchr2\t10\n")
    summary = run(saved, source, tmp_path / "out", options={"sizes": str(tmp_path / "x.sizes")}, target="phage")
    assert summary["windows"] == 3 and summary["targets"] == {"phage": 3}
    table = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert "".join(table.letter) == text and table.position.tolist() == list(range(1000, 1100))
    lines = bedgraph(tmp_path / "out")
    spread = np.repeat(lines.value.to_numpy(), lines.end - lines.start)
    np.testing.assert_allclose(spread, table.score, rtol=1e-6)
    with big_wig.open(str(tmp_path / "out" / "scores.bw")) as file:
        np.testing.assert_allclose(file.values("chr1", 1000, 1100), table.score, rtol=1e-6)
    windows = pd.read_csv(tmp_path / "out" / "windows.tsv", sep="\t")
    assert windows.start.tolist() == [1000, 1040, 1060] and windows.end.tolist() == [1040, 1080, 1100]
    np.testing.assert_allclose(windows["sum"], (windows.value - windows.base_value), rtol=0.01)
    own = table.score[:40].sum()  # only the last two windows overlap
    assert own == pytest.approx(windows["sum"][0], abs=1e-5)


def test_regions_of_a_bed_file_equal_their_sequences_on_their_strand(tmp_path, saved, draw):
    [genome] = draw([200])
    source = write(tmp_path / "g.fa", chr1=genome, chr2=genome[::-1])
    (tmp_path / "r.bed").write_text("chr1\t30\t60\tb\t0\t-\nchr1\t100\t140\n")
    run(saved, source, tmp_path / "bed", bed=str(tmp_path / "r.bed"), method="nt_ig")
    regions = {"a:0-30": reverse_complement(genome[30:60]), "b:0-40": genome[100:140]}
    run(saved, write(tmp_path / "p.fa", **regions), tmp_path / "plain", method="nt_ig")
    found, expected = bedgraph(tmp_path / "bed"), bedgraph(tmp_path / "plain")
    assert found.start.min() == 30 and found.end.max() == 140
    np.testing.assert_allclose(found.value[found.start < 60], expected.value[expected.contig == "a"][::-1], atol=1e-5)
    np.testing.assert_allclose(found.value[found.start >= 100], expected.value[expected.contig == "b"], atol=1e-5)
    with big_wig.open(str(tmp_path / "bed" / "scores.bw")) as file:
        assert file.chroms() == {"chr1": 200, "chr2": 200}


def test_regions_of_unknown_letters_are_left_out_like_sequences_of_them(tmp_path, saved, draw, caplog):
    source = write(tmp_path / "g.fa", chr1=draw([30])[0] + "N" * 30)
    (tmp_path / "r.bed").write_text("chr1\t0\t30\nchr1\t30\t60\n")
    assert run(saved, source, tmp_path / "out", bed=str(tmp_path / "r.bed"))["windows"] == 1
    assert "left out: 1" in caplog.text and "chr1:30-60" in caplog.text
    (tmp_path / "r.bed").write_text("chr1\t30\t60\n")
    with pytest.raises(hg.InputError, match="chr1:30-60"):
        run(saved, source, tmp_path / "none", bed=str(tmp_path / "r.bed"))


def test_a_sequence_that_ends_with_unknown_letters_keeps_its_place_and_length(tmp_path, saved, draw):
    source = write(tmp_path / "g.fa", chr1=draw([70])[0] + "N" * 50 + draw([20])[0])
    (tmp_path / "r.bed").write_text("chr1\t20\t115\nchr1\t20\t115\tback\t0\t-\n")
    run(saved, source, tmp_path / "out", bed=str(tmp_path / "r.bed"))
    windows = pd.read_csv(tmp_path / "out" / "windows.tsv", sep="\t")
    assert windows.contig.tolist() == ["chr1", "chr1", "chr1", "chr1"]
    assert sorted(windows.start) == [20, 20, 35, 60] and sorted(windows.end) == [60, 60, 75, 100]
    source = write(tmp_path / "whole.fa", chr1=draw([30])[0] + "N" * 70)
    run(saved, source, tmp_path / "whole")
    with big_wig.open(str(tmp_path / "whole" / "scores.bw")) as file:
        assert file.chroms() == {"chr1": 100}


def test_a_name_that_does_not_state_the_place_of_its_sequence_has_no_length(tmp_path, saved, draw):
    source = write(tmp_path / "x.fa", **{"chr1:5-9": draw([30])[0]})
    (tmp_path / "x.sizes").write_text("chr1\t1000\n")
    with pytest.raises(hg.InputError, match=r"no length of contig 'chr1:5-9'.*--resume true"):
        run(saved, source, tmp_path / "out", options={"sizes": str(tmp_path / "x.sizes")})


@pytest.mark.parametrize("wrong", [{"method": "IG"}, {"baseline": "Mask"}])
def test_a_misspelt_name_is_refused_in_python_too(tmp_path, saved, draw, wrong):
    with pytest.raises(hg.InputError, match=next(iter(wrong))):
        run(saved, write(tmp_path / "x.fa", a=draw([30])[0]), tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_pairs_are_written_as_two_contigs_and_tracks_as_columns(tmp_path, saved, draw):
    first, second = draw([20, 15])
    (tmp_path / "pairs.csv").write_text(f"sequence,pair,id\n{first},{second},x\n")
    run(saved, tmp_path / "pairs.csv", tmp_path / "pairs", "pairs", {"columns": hg.Columns(pair="pair", id="id")})
    lines = bedgraph(tmp_path / "pairs").groupby("contig").end.max().to_dict()
    assert lines == {"x/1": 20, "x/2": 15}
    signal = " ".join(["1"] * 20)
    (tmp_path / "tracks.csv").write_text(f"sequence,age,signal\n{first},3,{signal}\n")
    run(saved, tmp_path / "tracks.csv", tmp_path / "tracks", "tracks")
    assert {"track_age", "track_signal"} <= set(pd.read_csv(tmp_path / "tracks" / "windows.tsv", sep="\t"))


@pytest.mark.parametrize("method", ["ism", "rollout"])
def test_pictures_and_a_report_that_stands_alone(tmp_path, saved, draw, method):
    source = write(tmp_path / "x.fa", **{f"s{row}": text for row, text in enumerate(draw([40] * 4))})
    (tmp_path / "g.bed").write_text("s0\t3\t20\tgene1\t0\t+\n")
    (tmp_path / "phage.bedgraph").write_text("s0\t0\t40\t0.7\n")
    options = {"figures": 1, "genes": str(tmp_path / "g.bed"), "tracks": [str(tmp_path / "phage.bedgraph")]}
    run(saved, source, tmp_path / "out", method=method, options=options)
    page = (tmp_path / "out" / "report.html").read_text()
    pictures = {path.name for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert page.count("<img") == len(pictures) and "http" not in page
    assert "windows.png" in pictures and ("entropy.png" in pictures) == (method == "rollout")
    assert ("weak evidence" in page) == (method == "rollout")
    assert (tmp_path / "out" / "ohe.npz").exists() == (method == "ism")
    assert len(list((tmp_path / "out" / "figures").glob("*.svg"))) == len(pictures)


def test_an_interrupted_run_is_continued_with_the_same_result(tmp_path, saved, draw, monkeypatch):
    source = write(tmp_path / "x.fa", **{f"s{row}": text for row, text in enumerate(draw([30] * 6))})
    run(saved, source, tmp_path / "whole")
    real = module.explain_windows

    def killed(*arguments):
        for number, one in enumerate(real(*arguments)):
            if number == 4:
                raise OSError("disk")
            yield one

    monkeypatch.setattr(module, "explain_windows", killed)
    with pytest.raises(OSError, match="disk"):
        run(saved, source, tmp_path / "cut", options={"batch_size": 2})
    assert not (tmp_path / "cut").exists() and (tmp_path / ".cut.partial").is_dir()
    monkeypatch.setattr(module, "explain_windows", real)
    run(saved, source, tmp_path / "cut", options={"batch_size": 2, "resume": True})
    np.testing.assert_allclose(bedgraph(tmp_path / "cut").value, bedgraph(tmp_path / "whole").value, atol=1e-5)
    assert {path.name for path in tmp_path.glob(".*")} == set()


@pytest.mark.parametrize("options", [{}, {"resume": "auto"}, {"overwrite": True}])
def test_a_second_run_with_the_same_output_is_refused_and_the_first_one_loses_nothing(
    tmp_path, saved, draw, held_elsewhere, options
):
    source = write(tmp_path / "x.fa", s=draw([30])[0])
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    (partial / "scores").write_text("of the first run")
    with held_elsewhere(partial) as pid, pytest.raises(hg.InputError, match=f"process {pid} .*another output_dir"):
        run(saved, source, tmp_path / "out", options=options)
    assert [path.name for path in partial.iterdir()] == ["scores"] and not (tmp_path / "out").exists()
    run(saved, source, tmp_path / "out", options=options)
    assert (tmp_path / "out").is_dir() and not partial.exists()


def test_a_command_that_is_started_again_and_again_begins_and_then_finds_the_run_finished(tmp_path, saved, draw):
    source = write(tmp_path / "x.fa", s=draw([30])[0])
    first = run(saved, source, tmp_path / "out", options={"resume": "auto"})
    before = (tmp_path / "out" / "explain.json").stat().st_mtime_ns
    assert run(saved, source, tmp_path / "out", options={"resume": "auto"}) == first
    assert (tmp_path / "out" / "explain.json").stat().st_mtime_ns == before
    with pytest.raises(hg.InputError, match=r"options .*--overwrite true"):
        run(saved, source, tmp_path / "out", options={"resume": "auto"}, target="other")
    run(saved, source, tmp_path / "out", options={"resume": "auto", "overwrite": True}, target="other")


def test_a_file_of_values_without_a_line_is_named_and_the_run_goes_on(tmp_path, saved, draw, caplog):
    source = write(tmp_path / "x.fa", s=draw([30])[0])
    (tmp_path / "empty.bedgraph").write_text("track type=bedGraph\n")
    options = {"tracks": [str(tmp_path / "empty.bedgraph")], "figures": 1}
    assert run(saved, source, tmp_path / "out", options=options)["windows"] == 1
    assert "empty.bedgraph: nothing on the contigs of the input" in caplog.text


def test_a_finished_run_is_replaced_only_on_request_and_foreign_files_never(tmp_path, saved, draw):
    source = write(tmp_path / "x.fa", s=draw([30])[0])
    run(saved, source, tmp_path / "out")
    with pytest.raises(hg.InputError, match="overwrite"):
        run(saved, source, tmp_path / "out")
    run(saved, source, tmp_path / "out", options={"overwrite": True}, target="other")
    assert json.loads((tmp_path / "out" / "explain.json").read_text())["options"]["target"] == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(hg.InputError, match="new folder"):
        run(saved, source, tmp_path / "mine", options={"overwrite": True})
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_missing_package_is_one_line_with_the_command(tmp_path, saved, draw, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(hg.InputError, match=r"logomaker.*pip install 'hf_genomics\[explain\]'"):
        run(saved, write(tmp_path / "x.fa", s=draw([30])[0]), tmp_path / "out")


@pytest.mark.slow
def test_importing_the_package_loads_none_of_the_packages_of_the_extra(repo_root):
    extras = "{'captum', 'logomaker', 'memelite', 'numba', 'pyBigWig'}"
    code = f"import sys, hf_genomics as hg; hg.explain; hg.motifs; print({extras} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "set()", found.stderr


def test_completeness_errors_are_summarised():
    window = {"target": 0, "sequence_index": 0, "start": 0, "end": 5, "pair": None}
    found = module.summarise([{**window, "sequence_index": at, "error": (0.1, 0)[at]} for at in (0, 1)], ["a", "b"])
    assert found["windows_above_1_percent"] == 1 and found["worst_completeness_error"] == 0.1
    assert found["nucleotides"] == 10 and found["targets"] == {"a": 2}


def test_a_private_run_does_not_show_the_contigs_of_records_and_tracks(caplog):
    placed = SimpleNamespace(regions=lambda: [Region("patient_7", 0, 9, "+", "patient_7:0-9(+)")])
    pictures = module.Pictures(1, tracks={"t": [(Region("patient_8", 0, 9, ".", ""), 1.0)]})
    with private_run(True):
        module._warn_of_other_contigs(placed, pictures, SimpleNamespace(genes=None, tracks=["t.bedgraph"]))
    assert "t.bedgraph: nothing on the contigs" in caplog.text and "patient" not in caplog.text


def test_a_nucleotide_in_two_windows_counts_once():
    windows = [(0, 0, 150, None), (0, 150, 300, None), (0, 250, 400, None), (1, 0, 150, None), (2, 20, 30, 7)]
    keys = ("sequence_index", "start", "end", "pair")
    facts = [{**dict(zip(keys, one, strict=True)), "target": 0, "error": 0.0} for one in windows]
    assert module.summarise(facts, ["a"])["nucleotides"] == 400 + 150 + 10 + 7
