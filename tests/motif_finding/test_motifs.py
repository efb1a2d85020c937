"""The verb: halves, shuffles, files, refusals, and nothing half-written."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import hf_genomics as hg
from hf_genomics.inference.windows import Window
from hf_genomics.motif_finding import motifs as module
from hf_genomics.motif_finding.meme import read_meme
from hf_genomics.motif_finding.motifs import MotifOptions, find_motifs
from hf_genomics.motif_finding.sequences import ScoredSequences
from hf_genomics.sequence import reverse_complement

pytest.importorskip("logomaker")
PLANTED = "GGTGACTCAT"


def sequences(count: int, seed: int, word: str = PLANTED) -> dict[str, str]:
    """Draw sequences of 36 nt with a word in the middle."""
    random = np.random.default_rng(seed)
    texts = ["".join(random.choice(list("ACGT"), 36)) for _ in range(count)]
    cut = (36 - len(word)) // 2
    return {
        f"chr{seed}:{100 * row}-{100 * row + 36}": text[:cut] + word + text[cut + len(word) :]
        for row, text in enumerate(texts)
    }


def write(path, records):
    path.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    return str(path)


@pytest.fixture
def knowing(monkeypatch):
    """A model that gives high scores to the planted word; the windows that it saw."""
    seen, real = [], module.explain_windows

    def explain(model, tokenizer, windows, settings):
        for one in real(model, tokenizer, windows, settings):
            text = one.window.row["sequence"].tobytes().decode()
            seen.append(text)
            scores = np.random.default_rng(len(seen)).random(len(text))
            if PLANTED in text:
                scores[text.index(PLANTED) : text.index(PLANTED) + 10] += 5
            yield one._replace(scores=scores)

    monkeypatch.setattr(module, "explain_windows", explain)
    return seen


def run(saved, source, output, kind="classes", options=None, **arguments):
    options = MotifOptions(**({"steps": 1, "attention": False} | (options or {})))
    return hg.motifs(saved(kind), source, str(output), "phage", options=options, **arguments)


def test_the_planted_word_is_found_and_placed_in_the_genome(tmp_path, saved, knowing):
    summary = run(saved, write(tmp_path / "p.fa", sequences(60, 0)), tmp_path / "out", options={"attention": True})
    assert summary["sequences"] == summary["negatives"] == 60 and len(summary["motifs"]) == 1
    [motif] = read_meme(tmp_path / "out" / "motifs.meme")
    assert PLANTED in motif.name or reverse_complement(PLANTED) in motif.name
    lines = pd.read_csv(tmp_path / "out" / "instances.bed", sep="\t", header=None)
    assert set(lines[0]) == {"chr0"} and len(lines) >= 60
    centres, contributions = (lines[1] + lines[2]) / 2 % 100, lines[7]
    assert (centres.between(17, 19) & (contributions > 2)).sum() == 60
    record = json.loads((tmp_path / "out" / "motifs.json").read_text())
    assert record["summary"] == summary and record["target"] == "phage"
    pairs = Counter(a + b for a, b in zip(knowing[0], knowing[0][1:], strict=False))
    shuffled = Counter(a + b for a, b in zip(knowing[60], knowing[60][1:], strict=False))
    assert pairs == shuffled and knowing[0] != knowing[60]


def test_negatives_of_a_file_are_used_and_a_control_has_no_motif(tmp_path, saved, knowing):
    source, controls = write(tmp_path / "p.fa", sequences(60, 0, "")), write(tmp_path / "n.fa", sequences(40, 1, ""))
    summary = run(saved, source, tmp_path / "out", negatives=controls)
    assert (summary["sequences"], summary["negatives"], summary["motifs"]) == (60, 40, {})
    assert len(knowing) == 100 and (tmp_path / "out" / "report.html").is_file()


def test_regions_of_a_genome_are_positives_and_their_sites_lie_in_it(tmp_path, saved, knowing, caplog):
    texts = list(sequences(40, 2).values())
    turned = [reverse_complement(text) if row % 2 else text for row, text in enumerate(texts)]
    (tmp_path / "g.fa").write_text(">chr1 a genome\n" + "".join(f"{'A' * 10}{text}\n" for text in turned))
    places = [(46 * row + 10, 46 * row + 46) for row in range(40)]
    lines = [f"chr1\t{start}\t{end}\tr{row}\t0\t{'+-'[row % 2]}\n" for row, (start, end) in enumerate(places)]
    (tmp_path / "r.bed").write_text("".join(lines))
    assert run(saved, str(tmp_path / "g.fa"), tmp_path / "out", bed=str(tmp_path / "r.bed"))["sequences"] == 40
    assert set(knowing[:40]) == set(texts)  # each region on its own strand
    sites = pd.read_csv(tmp_path / "out" / "instances.bed", sep="\t", header=None)
    planted = sites[sites[7] > 2]
    assert set(planted[0]) == {"chr1"} and len(planted) == 40
    assert set(planted[1].sub(10) // 46) == set(range(40)) and (planted[1] % 46).between(20, 26).all()
    assert set(planted[5][::2]) != set(planted[5][1::2]) and "overlap" not in caplog.text


def test_a_warning_counts_the_sequences_that_overlap_in_the_genome(caplog):
    places = [("chr1", 0, 40), ("chr1", 30, 70), ("chr1", 70, 90), ("chr1", 35, 60), ("chr2", 0, 40), ("chr2", 0, 30)]
    names = [f"{contig}:{start}-{end}" for contig, start, end in places] + ["loose", "end"]
    rows = [{"sequence": np.full(end - start, 65, np.uint8)} for _, start, end in [*places, ("", 0, 9), ("", 0, 9)]]
    module._warn_of_overlaps([Window(number, names[number], 0, rows[number]) for number in range(8)], "p.fa")
    assert "3 of 8 sequences overlap" in caplog.text


def test_a_sequence_that_cannot_be_read_does_not_shift_the_others(tmp_path, saved, knowing):
    records = list(sequences(24, 0).items())
    records.insert(3, ("unknown", "N" * 36))
    summary = run(saved, write(tmp_path / "p.fa", dict(records)), tmp_path / "out", options={"attention": True})
    assert summary["sequences"] == summary["negatives"] == 24
    pairs = [Counter(a + b for a, b in zip(text, text[1:], strict=False)) for text in knowing]
    assert pairs[:24] == pairs[24:]  # each shuffle is one of its own sequence


@pytest.mark.parametrize("at", [7, pytest.param(33, marks=pytest.mark.slow), pytest.param(39, marks=pytest.mark.slow)])
def test_a_run_that_was_interrupted_anywhere_is_continued_with_the_same_files(
    tmp_path, saved, knowing, monkeypatch, at
):
    source, real = write(tmp_path / "p.fa", sequences(20, 0, "")), module.explain_windows
    whole = run(saved, source, tmp_path / "whole")
    knowing.clear()

    def killed(*given):
        for one in real(*given):
            if len(knowing) > at:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(module, "explain_windows", killed)
    with pytest.raises(KeyboardInterrupt):
        run(saved, source, tmp_path / "out", options={"batch_size": 4})
    assert not (tmp_path / "out").exists() and len(knowing) == at + 1
    knowing.pop()  # its scores were lost, and depend on its place
    monkeypatch.setattr(module, "explain_windows", real)
    assert run(saved, source, tmp_path / "out", options={"resume": "auto", "batch_size": 4}) == whole
    assert len(knowing) == 40 and {path.name for path in tmp_path.glob(".*")} == set()
    for name in ("motifs.tsv", "instances.bed", "words.tsv", "motifs.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("options", [{}, {"resume": "auto"}, {"overwrite": True}])
def test_a_second_run_with_the_same_output_is_refused_and_the_first_one_loses_nothing(
    tmp_path, saved, knowing, held_elsewhere, options
):
    source = write(tmp_path / "p.fa", sequences(20, 0, ""))
    kept = tmp_path / ".out.partial" / "positives" / "scores"
    kept.parent.mkdir(parents=True)
    kept.write_text("of the first run")
    with (
        held_elsewhere(kept.parents[1]) as pid,
        pytest.raises(hg.InputError, match=f"process {pid} .*another output_dir"),
    ):
        run(saved, source, tmp_path / "out", options=options)
    assert kept.read_text() == "of the first run" and not knowing and not (tmp_path / "out").exists()


def test_a_finished_run_is_accepted_only_with_the_same_options(tmp_path, saved, knowing):
    source = write(tmp_path / "p.fa", sequences(20, 0, ""))
    first = run(saved, source, tmp_path / "out", options={"resume": "auto"})
    seen = len(knowing)
    assert run(saved, source, tmp_path / "out", options={"resume": "auto"}) == first and len(knowing) == seen
    for changed in (
        {"options": {"resume": "auto", "alpha": 0.2}},
        {"options": {"resume": "auto"}, "negatives": source},
    ):
        with pytest.raises(hg.InputError, match="--overwrite true"):
            run(saved, source, tmp_path / "out", **changed)
    replaced = run(saved, source, tmp_path / "out", options={"resume": "auto", "overwrite": True, "alpha": 0.2})
    assert len(knowing) > seen and replaced["sequences"] == first["sequences"]
    with pytest.raises(hg.InputError, match="overwrite"):
        run(saved, source, tmp_path / "out")
    with pytest.raises(hg.InputError, match="no interrupted run"):
        run(saved, source, tmp_path / "new", options={"resume": True})


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(tmp_path, saved):
    source = write(tmp_path / "p.fa", sequences(30, 0))
    for name in "ab":
        run(saved, source, tmp_path / name, kind="nucleotides")
    for path in (tmp_path / "a").rglob("*.tsv"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize("kind", ["parts", "value"])
def test_every_head_that_reads_one_sequence_works(tmp_path, saved, kind):
    source, target = write(tmp_path / "p.fa", sequences(20, 0)), "value" if kind == "value" else "phage"
    options = MotifOptions(steps=1)
    assert hg.motifs(saved(kind), source, str(tmp_path / "out"), target, options=options)["sequences"] == 20


def test_tracks_stay_beside_a_shuffled_sequence(tmp_path, saved):
    rows = [f"{text},{row},{' '.join(['1'] * 36)}" for row, text in enumerate(sequences(20, 0).values())]
    (tmp_path / "t.csv").write_text("\n".join(["sequence,age,signal", *rows]) + "\n")
    assert run(saved, str(tmp_path / "t.csv"), tmp_path / "out", kind="tracks")["negatives"] == 20


def test_pairs_are_refused_and_nothing_is_written(tmp_path, saved):
    (tmp_path / "pairs.csv").write_text("sequence,pair\nACGTACGT,ACGTACGT\n")
    with pytest.raises(hg.InputError, match="pairs"):
        run(saved, str(tmp_path / "pairs.csv"), tmp_path / "out", kind="pairs")
    assert not (tmp_path / "out").exists()


def test_the_halves_share_no_sequence_and_a_shuffle_stays_with_its_sequence(monkeypatch):
    names = [str(row) for row in range(40)]
    some = ScoredSequences.of(names, [np.full(20, 65, np.uint8)] * 40, [np.arange(20.0)] * 40)
    calls = {}
    monkeypatch.setattr(module, "compare_words", lambda *given: calls.update(words=given) or [])
    find_motifs(some, some, MotifOptions(), paired=True)
    candidates, _, positives, negatives, _ = calls["words"]
    assert not set(candidates.names) & set(positives.names) and len(candidates) + len(positives) == 40
    assert negatives.names == positives.names


def test_a_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(hg.InputError, match=r"logomaker.*pip install 'hf_genomics\[motifs\]'"):
        hg.motifs("model", "x.fa", str(tmp_path / "out"), "a")


@pytest.mark.parametrize(("stride", "method", "warned"), [(6, "ig", True), (6, "ism", False), (1, "ig", False)])
def test_a_warning_says_when_the_nucleotides_of_a_token_share_a_score(stride, method, warned, caplog):
    module._warn_of_coarse_scores("runs/m", stride, method)
    assert ("nt_ig" in caplog.text and "runs/m" in caplog.text) == warned


def test_a_run_without_motifs_names_the_words_that_counting_finds(tmp_path, saved, caplog):
    source, controls = write(tmp_path / "p.fa", sequences(60, 0)), write(tmp_path / "n.fa", sequences(60, 1, ""))
    summary = run(saved, source, tmp_path / "out", negatives=controls)  # the model has learnt nothing
    assert summary["motifs"] == {} and summary["significant_by_counting"] > 0
    assert f"finds {summary['significant_by_counting']} words" in caplog.text and "words.tsv" in caplog.text


def test_only_classes_of_the_model_make_a_table_one_of_several_classes(tmp_path, saved):
    rows = [[text, row] for row, text in enumerate(sequences(30, 0).values())]
    pd.DataFrame(rows, columns=["sequence", "label"]).to_csv(tmp_path / "t.csv", index=False)
    assert run(saved, str(tmp_path / "t.csv"), tmp_path / "out")["sequences"] == 30


def test_of_the_columns_label_and_class_only_the_one_that_training_reads_counts(tmp_path, saved):
    rows = [[text, "phage", "other"] for text in sequences(30, 0).values()]
    both, one = pd.DataFrame(rows, columns=["sequence", "label", "class"]), tmp_path / "class.csv"
    both.to_csv(tmp_path / "both.csv", index=False)
    both.drop(columns="label").to_csv(one, index=False)
    assert run(saved, str(tmp_path / "both.csv"), tmp_path / "out")["sequences"] == 30
    with pytest.raises(hg.InputError, match=r"class\.csv: 30 of 30 rows have another class"):
        run(saved, str(one), tmp_path / "two")
