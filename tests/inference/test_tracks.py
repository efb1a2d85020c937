"""Predictions along contigs: rows of windows, BED, bedGraph and bigWig, checked against the slow twin of each."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics import InputError, PredictOptions, load_classifier, predict, predict_nt_scores, predict_scores
from hf_genomics.inference import predict as module
from hf_genomics.inference.growing_table import GrowingTable
from hf_genomics.inference.tracks import check_along, row_header, track_format, track_paths, write_tracks
from hf_genomics.io.genome_tracks import place_of
from hf_genomics.labelled.task import Task
from hf_genomics.sequence import reverse_complement

WINDOWS = PredictOptions(windows=True)
CLASSES = ["other", "phage"]
LONGEST = 40  # nt of a window of the small models


@pytest.fixture
def contigs(draw) -> dict[str, str]:
    """Contigs of whole windows, with a last window that overlaps, too short, unknown, and unknown in the middle."""
    first, second, third = draw([120, 95, 60])
    return {"c1": first, "c2": second, "short": "AC", "unknown": "N" * 50, "c3": third + "N" * 80 + third}


def fasta(path: Path, contigs: dict[str, str]) -> str:
    path.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    return str(path)


def cut(length: int) -> list[tuple[int, int]]:
    """Cut a sequence into windows, the slow way."""
    starts = [*range(0, max(1, length - LONGEST + 1), LONGEST)]
    if length > LONGEST and length % LONGEST:
        starts.append(length - LONGEST)
    return [(start, min(length, start + LONGEST)) for start in starts]


def along(model: str, text: str) -> np.ndarray:
    """Compute the scores of each nucleotide, (nt, classes), the slow way: the mean over its windows."""
    network, tokenizer = load_classifier(model)
    if network.config.labels_per == "nt":
        return predict_nt_scores(network, tokenizer, [text])[0]
    places = cut(len(text))
    scores = predict_scores(network, tokenizer, [text[start:end] for start, end in places])
    rows = [[] for _ in text]
    for (start, end), row in zip(places, scores, strict=True):
        for position in range(start, end):
            rows[position].append(row)
    return np.array([np.nanmean(found, 0) if not np.isnan(found).all() else found[0] for found in rows])


def test_every_window_has_its_row(saved, contigs, tmp_path):
    path = fasta(tmp_path / "in.fa", contigs)
    table = predict(saved("classes"), path, str(tmp_path / "w.tsv"), options=WINDOWS)
    frame = table.to_pandas()
    assert list(frame) == ["id", "start", "end", "prediction", "p_other", "p_phage"]
    expected = [(name, *place) for name, text in contigs.items() for place in cut(len(text))]
    assert list(frame[["id", "start", "end"]].itertuples(index=False, name=None)) == expected
    assert table.num_sequences == 5 and len(table) == len(frame)
    network, tokenizer = load_classifier(saved("classes"))
    scores = predict_scores(network, tokenizer, [contigs[name][start:end] for name, start, end in expected])
    np.testing.assert_allclose(frame[["p_other", "p_phage"]], scores, atol=1e-6)
    assert frame["prediction"].isna().tolist() == np.isnan(scores).any(1).tolist()


def spread(rows: pd.DataFrame, length: int) -> np.ndarray:
    """Return the values of the lines of a bedGraph file, by position."""
    values = np.full(length, np.nan)
    for row in rows.itertuples():
        assert np.isnan(values[row.start : row.end]).all(), "lines overlap"
        values[row.start : row.end] = row.value
    return values


@pytest.mark.parametrize("kind", ["classes", "several", "nucleotides"])
def test_bedgraph_and_bigwig_hold_the_probabilities_of_each_nucleotide(kind, saved, contigs, tmp_path):
    big_wig = pytest.importorskip("pyBigWig")
    path = fasta(tmp_path / "in.fa", contigs)
    text, binary = (predict(saved(kind), path, f"{tmp_path}/x.{end}") for end in ("bedgraph", "bw"))
    assert [file.name for file in text.files] == ["x.other.bedgraph", "x.phage.bedgraph"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        ["in.fa", *(f"x.{name}.{end}" for name in CLASSES for end in ("bedgraph", "bw"))]
    )
    for number, name in enumerate(CLASSES):
        rows = pd.read_csv(tmp_path / f"x.{name}.bedgraph", sep="\t", names=["contig", "start", "end", "value"])
        assert not rows["value"].isna().any() and set(rows["contig"]) == {"c1", "c2", "c3"}
        with big_wig.open(str(tmp_path / f"x.{name}.bw")) as file:
            assert file.chroms() == {contig: len(text) for contig, text in contigs.items()}
            for contig, letters in contigs.items():
                expected = along(saved(kind), letters)[:, number]
                np.testing.assert_allclose(spread(rows[rows["contig"] == contig], len(letters)), expected, atol=1e-6)
                np.testing.assert_allclose(file.values(contig, 0, len(letters)), expected, atol=1e-6)
    assert binary.num_sequences == 5


@pytest.mark.parametrize("kind", ["classes", "several", "nucleotides"])
def test_bed_is_read_by_an_independent_program(kind, saved, contigs, tmp_path):
    pysam = pytest.importorskip("pysam")
    predict(saved(kind), fasta(tmp_path / "in.fa", contigs), str(tmp_path / "x.bed"))
    pysam.tabix_compress(str(tmp_path / "x.bed"), str(tmp_path / "x.bed.gz"))
    pysam.tabix_index(str(tmp_path / "x.bed.gz"), preset="bed")
    with pysam.TabixFile(str(tmp_path / "x.bed.gz"), parser=pysam.asBed()) as file:
        lines = {contig: list(file.fetch(contig)) for contig in file.contigs}
    assert set(lines) <= {"c1", "c2", "c3"} and sum(map(len, lines.values())) >= 4
    for contig, found in lines.items():
        for line in found:
            assert line.name in CLASSES and 0 <= int(line.score) <= 1000 and len(line) == 9
            assert (line.thickStart, line.thickEnd) == (line.start, line.end)
            assert line.end <= len(contigs[contig]) and len(line.itemRGB.split(",")) == 3
    if kind == "classes":
        assert [(line.start, line.end) for line in lines["c1"]] == cut(120)


def test_a_value_is_one_track_and_no_bed(saved, draw, tmp_path):
    path = fasta(tmp_path / "in.fa", {"c": draw([95])[0]})
    assert predict(saved("value"), path, str(tmp_path / "x.bg")).files == [tmp_path / "x.bg"]
    with pytest.raises(InputError, match="predicts values"):
        predict(saved("value"), path, str(tmp_path / "x.bed"))


def test_sequences_are_drawn_where_their_names_say_in_the_order_of_the_genome(saved, draw, tmp_path):
    genome = draw([400])[0]
    places = {"chr1:300-395": 300, "chr2": 0, "chr1:40-140(-)": 40, "chr1:100-180": 100}
    texts = {}
    for name, start in places.items():
        end = start + {"chr1:300-395": 95, "chr2": 60, "chr1:40-140(-)": 100, "chr1:100-180": 80}[name]
        texts[name] = reverse_complement(genome[start:end]) if name.endswith("(-)") else genome[start:end]
    predict(saved("nucleotides"), fasta(tmp_path / "in.fa", texts), str(tmp_path / "x.bedgraph"))
    rows = pd.read_csv(tmp_path / "x.phage.bedgraph", sep="\t", names=["contig", "start", "end", "value"])
    assert rows["contig"].drop_duplicates().tolist() == ["chr1", "chr2"]
    assert rows[rows["contig"] == "chr1"]["start"].is_monotonic_increasing
    total, count = np.zeros(400), np.zeros(400)
    for name, text in texts.items():
        place, scores = place_of(name, len(text)), along(saved("nucleotides"), text)[:, 1]
        if place.contig == "chr1":
            total[place.start : place.end] += scores[::-1] if place.strand == "-" else scores
            count[place.start : place.end] += 1
    expected = np.where(count > 0, total, np.nan) / np.maximum(count, 1)
    np.testing.assert_allclose(spread(rows[rows["contig"] == "chr1"], 400), expected, atol=1e-6)
    with pytest.raises(InputError, match=r"chr1:300-395.*part of a contig"):
        predict(saved("classes"), str(tmp_path / "in.fa"), str(tmp_path / "x.bw"))
    assert not list(tmp_path.glob("*.bw")) and not list(tmp_path.glob(".x.bw*"))


@pytest.mark.parametrize("output", ["x.tsv", "x.bedgraph"])
def test_a_run_that_stopped_inside_a_contig_goes_on_there(output, saved, draw, tmp_path, monkeypatch):
    path, options = fasta(tmp_path / "in.fa", {"a": draw([90])[0], "b": draw([400])[0]}), WINDOWS
    whole = predict(saved("classes"), path, str(tmp_path / f"whole{output}"), options=options, batch_size=1)
    rows, seen = module.track_rows, []

    def watched(task, kind, scored, stop=99):
        for number, row in enumerate(rows(task, kind, scored)):
            if number == stop:
                raise KeyboardInterrupt
            seen.append(row[:2])
            yield row

    monkeypatch.setattr(module, "track_rows", lambda *args: watched(*args, stop=6))
    with pytest.raises(KeyboardInterrupt):
        predict(saved("classes"), path, str(tmp_path / output), options=options, batch_size=1)
    monkeypatch.setattr(module, "track_rows", watched)
    found = predict(saved("classes"), path, str(tmp_path / output), options=options, resume=True, batch_size=1)
    assert seen == [("a", start) for start, _ in cut(90)] + [("b", start) for start, _ in cut(400)]
    assert (found.num_sequences, found.num_rows) == (whole.num_sequences, whole.num_rows) == (2, 13)
    names = [("whole" + output, output)] if output == "x.tsv" else []
    names += [(f"wholex.{name}.bedgraph", f"x.{name}.bedgraph") for name in CLASSES if output != "x.tsv"]
    for one, other in names:
        first, second = (pd.read_csv(tmp_path / name, sep="\t", header=None) for name in (one, other))
        assert first.equals(second)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["x.tsv", "x.bedgraph", "x.bw"])
@pytest.mark.parametrize("kind", ["classes", "nucleotides"])
def test_memory_does_not_grow_with_the_contig(kind, output, saved, tmp_path, monkeypatch):
    if kind == "nucleotides" and output == "x.tsv":
        pytest.skip("such a model has no row per window")

    def no_model(network, tokenizer, windows, batch_size, processes):
        for window in windows:
            yield window, np.full((40, 2) if kind == "nucleotides" else 2, 0.5)

    monkeypatch.setattr(module, "score_windows", no_model)
    monkeypatch.setattr("hf_genomics.sequence_files.fastx._BLOCK_BYTES", 1 << 14)
    peaks = []
    for nt in (40_000, 400_000):
        path = fasta(tmp_path / f"{nt}", {"c": "\n".join(["ACGT" * 20] * (nt // 80))})
        tracemalloc.start()
        predict(saved(kind), path, str(tmp_path / output), overwrite=True, options=WINDOWS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 20_000


def test_windows_go_to_standard_output(saved, draw, tmp_path, capfdbinary):
    path = fasta(tmp_path / "in.fa", {"c": draw([95])[0]})
    assert predict(saved("classes"), path, "-", options=WINDOWS).num_rows == 3
    assert len(capfdbinary.readouterr().out.splitlines()) == 4


def test_repeated_names_are_refused_for_tracks_only(saved, draw, tmp_path):
    (tmp_path / "in.fa").write_text("".join(f">c\n{text}\n" for text in draw([50, 60])))
    with pytest.raises(InputError, match="two sequences are called 'c'"):
        predict(saved("classes"), str(tmp_path / "in.fa"), str(tmp_path / "x.bw"))
    assert predict(saved("classes"), str(tmp_path / "in.fa"), str(tmp_path / "x"), options=WINDOWS).num_rows == 4


def test_a_track_that_another_program_wrote_is_kept(saved, draw, tmp_path):
    path, output = fasta(tmp_path / "in.fa", {"c": draw([50])[0]}), str(tmp_path / "x.bedgraph")
    (tmp_path / "x.phage.bedgraph").write_text("mine")
    with pytest.raises(InputError, match=r"x\.phage\.bedgraph exists, and nothing says which run wrote it"):
        predict(saved("classes"), path, output, resume="auto")
    assert (tmp_path / "x.phage.bedgraph").read_text() == "mine"
    done = predict(saved("classes"), path, output, resume="auto", overwrite=True)
    done.files[0].unlink()
    assert predict(saved("classes"), path, output, resume="auto").num_rows == done.num_rows
    assert all(file.exists() for file in done.files)


def test_models_without_places_are_refused(saved, draw, tmp_path):
    path = fasta(tmp_path / "in.fa", {"c": draw([50])[0]})
    for kind, output, named in (("pairs", "x.bed", "pairs"), ("nucleotides", "x.tsv", "interval of one class")):
        with pytest.raises(InputError, match=named):
            predict(saved(kind), path, str(tmp_path / output), options=WINDOWS)


def test_the_name_of_the_output_decides():
    expected = {"x.BED": "bed", "x.bedGraph": "bedgraph", "x.bw": "bigwig", "x.bigWig": "bigwig", "x.tsv": None}
    assert {name: track_format(Path(name)) for name in expected} == expected
    task = Task("single_label_classification", ["a/b", "A b", "a_b"])
    names = [path.name for path in track_paths(Path("d/x.bw"), "bigwig", task)]
    assert len(set(map(str.lower, names))) == 3 and not any("/" in name for name in names)


@given(st.lists(st.tuples(st.integers(0, 25), st.integers(1, 4), st.booleans()), min_size=1, max_size=5, unique=True))
@settings(deadline=None, max_examples=20)
def test_sequences_that_overlap_are_averaged_where_they_overlap(tmp_path_factory, sequences):
    folder, task = tmp_path_factory.mktemp("rows"), Task("single_label_classification", ["a", "b"])
    found: list[list[float]] = [[] for _ in range(60)]
    with GrowingTable(folder / "x.bedgraph", row_header(task, "bedgraph"), {}, False, 1, True) as table:
        for number, (first, windows, is_reverse) in enumerate(sequences):
            last, score = first + 7 * windows, 0.5 + number / 16
            for start in range(0, 7 * windows, 7):
                name, value = f"c:{first}-{last}({'-' if is_reverse else '+'})", score + start / 1024
                table.write((name, start, start + 7, "a", value, 1 - value))
                begin = last - start - 7 if is_reverse else first + start
                for position in range(begin, begin + 7):
                    found[position].append(value)
        table.finish(lambda rows: write_tracks(rows, [folder / "a", folder / "b"], "bedgraph", task))
    rows = pd.read_csv(folder / "a", sep="\t", names=["contig", "start", "end", "value"])
    assert rows["start"].is_monotonic_increasing
    np.testing.assert_allclose(spread(rows, 60), [np.mean(one) if one else np.nan for one in found], atol=1e-6)


SCORES = st.lists(st.sampled_from([0.25, 0.5, float("nan")]), min_size=1, max_size=6)


@given(st.lists(SCORES, min_size=1, max_size=4))
@settings(deadline=None, max_examples=10)
def test_any_rows_become_tracks_without_overlaps(tmp_path_factory, sequences):
    folder = tmp_path_factory.mktemp("rows")
    task = Task("single_label_classification", ["a", "b"])
    with GrowingTable(folder / "x.bedgraph", row_header(task, "bedgraph"), {}, False, 1, True) as table:
        for number, scores in enumerate(sequences):
            length = 7 * len(scores) - 3  # the last window overlaps the one before by 3 nt
            for place, score in enumerate(scores):
                start = max(0, min(7 * place, length - 7))
                cells = (None, score, score) if score != score else ("ab"[score < 0.5], score, 1 - score)
                table.write((f"s{number}", start, min(start + 7, length), *cells))
        table.finish(lambda rows: write_tracks(rows, [folder / "a", folder / "b"], "bedgraph", task))
    rows = pd.read_csv(folder / "a", sep="\t", names=["contig", "start", "end", "value"])
    for number, scores in enumerate(sequences):
        length = 7 * len(scores) - 3
        found = [[] for _ in range(length)]
        for place, score in enumerate(scores):
            start = max(0, min(7 * place, length - 7))
            for position in range(start, min(start + 7, length)):
                found[position].append(score)
        expected = [np.mean([x for x in one if x == x]) if any(x == x for x in one) else np.nan for one in found]
        np.testing.assert_allclose(spread(rows[rows["contig"] == f"s{number}"], length), expected)


@pytest.mark.parametrize(
    ("windows", "kind", "remedy"),
    [(True, None, "omit windows$"), (False, "bed", r"name a \.tsv output$"), (True, "bed", "windows and name a .tsv")],
)
def test_the_remedy_for_pairs_names_what_was_asked_for(windows, kind, remedy):
    with pytest.raises(InputError, match=remedy):
        check_along(Task("single_label_classification", CLASSES, paired=True), windows, kind)
