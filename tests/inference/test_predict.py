"""The verb `predict`: streaming, memory, resuming, and every kind of input and model."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import stat
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from small_models import change_json

from hf_genomics import KmerTokenizer, PredictOptions, cli, load_classifier, predict, predict_scores
from hf_genomics.errors import InputError
from hf_genomics.inference import predict as module
from hf_genomics.inference import scores as scores_module
from hf_genomics.inference.growing_table import GrowingTable
from hf_genomics.inference.predict import input_digest, model_digest
from hf_genomics.inference.predictions import Predictions
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.tables import read_labelled
from hf_genomics.loading.config_facts import longest_window
from hf_genomics.sequence import reverse_complement
from hf_genomics.sequence_files.fasta import read_unchecked_chunks

LENGTHS = (7, 40, 41, 90, 300, 3, 80, 39, 500, 12)
KINDS = ["classes", "value", "several", "nucleotides", "pairs", "parts", "tracks"]


def write_table(path: Path, sequences: list[str]) -> str:
    """Write sequences with everything that a model may read beside them."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"name": [f"s{row}" for row in range(len(sequences))], "sequence": sequences})
    frame["other"] = [text[:20] for text in sequences]
    frame["age"] = ["" if row % 3 == 0 else row / 7 for row in range(len(sequences))]
    frame["signal"] = ["".join(map(str, random.integers(0, 10, len(text)))) for text in sequences]
    frame.to_csv(path, index=False)
    return str(path)


def all_at_once(model: str, path: str, columns: Columns) -> pd.DataFrame:
    """Predict the slow way: all examples, all windows and all scores in memory."""
    network, tokenizer = load_classifier(model)
    examples = read_labelled(path, columns, require_labels=False)
    task = module.task_of(network.config)
    examples = module.replace(examples, label_names=task.names, problem_type=task.problem_type)
    return Predictions.of(network, tokenizer, examples, 64).to_pandas()


def same_table(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found) == list(expected) and len(found) == len(expected)
    for name in found:
        if found[name].dtype.kind == "f":
            assert np.allclose(found[name], expected[name], atol=1e-6)
        else:
            assert found[name].tolist() == expected[name].tolist()


@pytest.mark.parametrize("buffer", [1, pytest.param(500, marks=pytest.mark.slow), 1 << 20])
@pytest.mark.parametrize("kind", KINDS)
def test_the_stream_gives_what_all_at_once_gives(kind, buffer, saved, draw, tmp_path, monkeypatch):
    lengths = [min(length, 60) for length in LENGTHS] if kind == "pairs" else LENGTHS
    sequences = [text * 2 for text in draw(lengths)]  # two parts of at least one 3-mer
    path, model = write_table(tmp_path / "t.csv", sequences), saved(kind)
    columns = Columns(id="name", pair="other" if kind == "pairs" else None)
    own = module.replace(columns, tracks=["age"], nt_tracks=["signal"]) if kind == "tracks" else columns
    expected = all_at_once(model, path, own)
    monkeypatch.setattr(scores_module, "_BUFFER_NT", buffer)
    monkeypatch.setattr("hf_genomics.labelled.tables._FRAME_LETTERS", buffer)
    table = predict(model, path, str(tmp_path / "p.tsv"), columns, batch_size=3)
    same_table(table.to_pandas(), expected)
    assert table.num_sequences == len(sequences) and len(table) == len(expected)


@pytest.mark.parametrize("kind", ["classes", "nucleotides"])
def test_every_kind_of_input_gives_the_same_predictions(kind, saved, draw, write_fasta, tmp_path):
    sequences, model = draw(LENGTHS), saved(kind)
    fasta = write_fasta(tmp_path / "s.fasta", sequences)
    expected = predict(model, fasta, str(tmp_path / "fasta.tsv")).path.read_bytes()
    (tmp_path / "s.fa.gz").write_bytes(gzip.compress(Path(fasta).read_bytes()))
    rows, columns = write_table(tmp_path / "t.csv", sequences), Columns(id="name")
    pd.read_csv(rows, dtype=str).to_parquet(tmp_path / "t.parquet")
    dataset = Dataset.from_dict({"name": [f"s{row}" for row in range(len(sequences))], "sequence": sequences})
    for source in (str(tmp_path / "s.fa.gz"), rows, str(tmp_path / "t.parquet"), dataset):
        table = predict(model, source, str(tmp_path / "p.tsv"), columns, overwrite=True)
        assert table.path.read_bytes() == expected


def test_the_first_rows_are_written_while_the_rest_is_read(saved, draw, write_fasta, tmp_path, monkeypatch):
    fasta, rows = write_fasta(tmp_path / "s.fasta", draw([100] * 60)), tmp_path / ".p.tsv.partial" / "rows.tsv"
    seen = []

    def watched(*args, **options):
        for chunk in read_unchecked_chunks(*args, **options):
            seen.append(len(rows.read_text().splitlines()) if rows.exists() else 0)
            yield chunk

    monkeypatch.setattr(module, "read_unchecked_chunks", watched)
    monkeypatch.setattr(scores_module, "_BUFFER_NT", 200)
    predict(saved("classes"), fasta, str(tmp_path / "p.tsv"), batch_size=4)
    assert seen[0] == 0 and seen[-1] > 50 and seen == sorted(seen)


@pytest.mark.parametrize("kind", ["classes", "nucleotides"])
@pytest.mark.parametrize("form", ["one contig", "many reads", "many rows"])
@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(kind, form, saved, tmp_path, monkeypatch):
    """Ten times the input, the same peak; the model's own work is left out."""

    def no_model(network, tokenizer, windows, batch_size, processes):
        scores = np.full((40, 2) if kind == "nucleotides" else 2, 0.5)
        for window in windows:
            yield window, scores[: len(window.row["sequence"])] if kind == "nucleotides" else scores

    monkeypatch.setattr(module, "score_windows", no_model)
    monkeypatch.setattr("hf_genomics.labelled.tables._FRAME_LETTERS", 1 << 14)
    monkeypatch.setattr("hf_genomics.sequence_files.fastx._BLOCK_BYTES", 1 << 14)
    peaks = []
    for nt in (40_000, 400_000):
        path, line = tmp_path / f"{nt}", "ACGT" * 20
        with open(path, "w") as file:
            if form == "one contig":
                file.write(">s\n" + f"{line}\n" * (nt // 80))
            elif form == "many rows":
                file.write("sequence\n" + f"{line}\n" * (nt // 80))
            else:
                file.writelines(f">{number}\n{line * 50}\n" for number in range(nt // 4000))
        tracemalloc.start()
        predict(saved(kind), str(path), str(tmp_path / "p.tsv"), overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 20_000


@pytest.mark.parametrize("kind", ["classes", "nucleotides", "tracks"])
def test_an_interrupted_run_goes_on_to_the_same_file(kind, saved, draw, tmp_path, monkeypatch, caplog):
    model, path = saved(kind), write_table(tmp_path / "t.csv", draw([30, 90] * 20))
    expected = predict(model, path, str(tmp_path / "whole.tsv"), Columns(id="name")).to_pandas()
    output, rows = tmp_path / "p.tsv", module.prediction_rows

    def interrupted(*args):
        for number, row in enumerate(rows(*args)):
            if number == 17:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(module, "prediction_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(model, path, str(output), Columns(id="name"))
    assert not output.exists() and "are kept in" in caplog.text
    scored = []
    monkeypatch.setattr(module, "prediction_rows", lambda *args: (scored.append(row[0]) or row for row in rows(*args)))
    with pytest.raises(InputError, match="options"):
        predict(model, path, str(output), Columns(id="name"), resume=True, options=PredictOptions(rna=True))
    table = predict(model, path, str(output), Columns(id="name"), batch_size=5, resume=True)
    frame = table.to_pandas()
    same_table(frame, expected)
    assert "s0" not in scored and table.num_sequences == 40 and len(table) == len(frame)
    assert not (tmp_path / ".p.tsv.partial").exists()


def test_another_model_or_input_cannot_go_on(saved, draw, write_fasta, tmp_path, monkeypatch):
    fasta = write_fasta(tmp_path / "s.fasta", draw(LENGTHS))
    monkeypatch.setattr(module, "average_windows", _stops_after_two(module.average_windows))
    with pytest.raises(RuntimeError):
        predict(saved("classes"), fasta, str(tmp_path / "p.tsv"))
    settings = json.loads((tmp_path / ".p.tsv.partial" / "settings.json").read_text())
    assert set(settings) == {"model", "input", "input_size", "options"}
    with pytest.raises(InputError, match="had model"):
        predict(saved("several"), fasta, str(tmp_path / "p.tsv"), resume=True)
    Path(fasta).write_text(Path(fasta).read_text() + ">more\nACGT\n")
    with pytest.raises(InputError, match="had input"):
        predict(saved("classes"), fasta, str(tmp_path / "p.tsv"), resume=True)


def _stops_after_two(function):
    def call(*args):
        for number, one in enumerate(function(*args)):
            if number == 2:
                raise RuntimeError
            yield one

    return call


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (">a\nMKVLAAGE\n>b\nMKLLE\n", "record 1 ('a'), position 4: 'L'"),
        (">a\nAC-T\n", "record 1 ('a'), position 3: '-'"),
        ("id,sequence\na,MKVLAAGE\n", "data row 1, position 4: 'L'"),
        ("", "the file is empty"),
    ],
)
def test_a_file_without_dna_is_refused_by_its_place_and_leaves_nothing(content, part, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(scores_module, "_BUFFER_NT", 1)  # the first row is written before the second is read
    (tmp_path / "in").write_text(content)
    with pytest.raises(InputError) as caught:
        predict(saved("classes"), str(tmp_path / "in"), str(tmp_path / "new" / "p.tsv"), batch_size=1)
    assert part in str(caught.value) and str(tmp_path / "in") in str(caught.value)
    assert not (tmp_path / "new").exists()


GOOD, STRICT = "ACGTTGCATTGA", PredictOptions(strict=True)
BAD = {  # a bad record, and what the warning says
    "short": ("AC", "shorter than the model reads"),
    "empty": ("", "shorter than the model reads"),
    "gap": ("ACGTACG-TACGT", "position 8: '-'"),
    "stop": ("ACGTACGT*", "position 9: '*'"),
    "protein": ("MKVLAAGE", "position 4: 'L'"),
    "rna": ("ACGUACGU", "position 4: 'U'"),
    "unknown": ("N" * 120, "without a known k-mer"),
    "iupac": ("RYSWKM" * 5, "without a known k-mer"),
    "known letters but no k-mer": ("ACNGTN" * 5, "without a known k-mer"),
    "long, bad at its end": ("ACGT" * 40 + "!", "position 161: '!'"),
}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        pytest.param(kind, form, marks=[pytest.mark.slow] if kind in ("value", "several") and form == "rows" else [])
        for kind in ("classes", "value", "several", "parts")
        for form in ("records", "rows")
    ],
)
@pytest.mark.parametrize("name", BAD)
def test_one_bad_record_gets_empty_cells_and_one_warning(name, kind, form, saved, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(scores_module, "_BUFFER_NT", 1)
    sequences, (bad, warned) = [GOOD, BAD[name][0], GOOD], BAD[name]
    text = "".join(f">s\n{text}\n" for text in sequences)
    (tmp_path / "in").write_text(text if form == "records" else "sequence\n" + "".join(f'"{s}"\n' for s in sequences))
    table = predict(saved(kind), str(tmp_path / "in"), str(tmp_path / "p.tsv"), batch_size=1)
    rows = [list(row.values()) for row in table]
    assert [row[1] for row in rows] == ["12", str(len(bad)), "12"]
    assert set(rows[1][2:]) == {""} and all(rows[0][2:]) and rows[0][1:] == rows[2][1:]
    frame = table.to_pandas()
    assert frame.iloc[1, 2:].isna().all() and not frame.iloc[[0, 2]].isna().any().any()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "1 of 3 sequences" in warning and warned in warning and str(tmp_path / "in") in warning
    with pytest.raises(InputError) as caught:
        predict(
            saved(kind),
            str(tmp_path / "in"),
            str(tmp_path / "q.tsv"),
            batch_size=1,
            options=PredictOptions(strict=True),
        )
    assert f"{'record' if form == 'records' else 'data row'} 2" in str(caught.value)
    found = predict(saved(kind), str(tmp_path / "in"), str(tmp_path / "q.tsv"), batch_size=1, resume=True)
    assert found.path.read_bytes() == table.path.read_bytes(), "the rows before it were kept"


def test_nucleotides_of_windows_without_information_are_intervals_without_a_class(saved, tmp_path, caplog):
    text = GOOD * 4 + "N" * 200 + GOOD * 4  # windows of 40 nt
    (tmp_path / "in.fa").write_text(f">a\n{text}\n>b\nAC\n>c\n\n>d\n{'N' * 50}\n>e\n{GOOD}\n")
    table = predict(saved("nucleotides"), str(tmp_path / "in.fa"), str(tmp_path / "p.tsv"))
    frame = table.to_pandas()
    assert table.num_sequences == 5 and len(frame) == table.num_rows
    for name, length in (("a", len(text)), ("b", 2), ("c", 0), ("d", 50), ("e", 12)):
        rows = frame[frame["id"] == name]
        assert rows["start"].iloc[0] == 0 and rows["end"].iloc[-1] == length
        assert rows["start"].tolist()[1:] == rows["end"].tolist()[:-1]
    empty = frame[frame["prediction"].isna()]
    assert empty["probability"].isna().all() and empty["id"].tolist() == ["a", "b", "c", "d"]
    assert empty["start"].tolist()[0] == 80 and empty["end"].tolist()[0] == 240
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "3 of 5 sequences" in warning
    plain = predict(saved("nucleotides"), str(tmp_path / "in.fa"), str(tmp_path / "q.tsv")).path.read_text()
    assert "nan" not in plain.lower()


def test_windows_without_information_do_not_count_in_the_mean(saved, tmp_path, caplog):
    (tmp_path / "in.fa").write_text(f">a\n{GOOD * 10}\n>b\n{GOOD * 10}{'N' * 400}\n")
    rows = [list(row.values())[2:] for row in predict(saved("classes"), str(tmp_path / "in.fa"), str(tmp_path / "p"))]
    assert rows[0] == rows[1] and "1 predicted from less than half of their k-mers ('b')" in caplog.text


def test_repeated_and_missing_names_are_predicted_in_order(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(scores_module, "_BUFFER_NT", 1)
    (tmp_path / "in.fa").write_text(f">c 1\n{GOOD}\n>c 2\nACG\n>\nACGT\n>c\n{GOOD}AC\n")
    for kind in ("classes", "nucleotides"):
        whole = predict(saved(kind), str(tmp_path / "in.fa"), str(tmp_path / f"{kind}.tsv"), batch_size=1)
        assert whole.num_sequences == 4
        for stop in range(1, whole.num_rows):
            rows = module.prediction_rows

            def interrupted(*args, rows=rows, stop=stop):
                yield from itertools.islice(rows(*args), stop)
                raise KeyboardInterrupt

            monkeypatch.setattr(module, "prediction_rows", interrupted)
            with pytest.raises(KeyboardInterrupt):
                predict(saved(kind), str(tmp_path / "in.fa"), str(tmp_path / "p.tsv"), batch_size=1, overwrite=True)
            monkeypatch.setattr(module, "prediction_rows", rows)
            options = {"batch_size": 1, "resume": True, "overwrite": True}
            found = predict(saved(kind), str(tmp_path / "in.fa"), str(tmp_path / "p.tsv"), **options)
            assert found.path.read_bytes() == whole.path.read_bytes()


def test_outputs_of_a_model_that_overflows_are_empty_cells(model_of, saved, tmp_path, monkeypatch, caplog):
    model, tokenizer = model_of("classes")
    model.classifier.weight.data[:] = 3e38  # finite, but their sums are not
    monkeypatch.setattr(module, "load_classifier", lambda name: (model, tokenizer))
    (tmp_path / "in.fa").write_text(f">a\n{GOOD}\n")
    [row] = predict(saved("classes"), str(tmp_path / "in.fa"), str(tmp_path / "p.tsv"))
    assert list(row.values())[2:] == ["", "", ""] and "NaN or infinity" in caplog.text
    with pytest.raises(InputError, match="float32"):
        predict(saved("classes"), str(tmp_path / "in.fa"), str(tmp_path / "q.tsv"), options=STRICT)


def test_a_pair_that_cannot_be_read_does_not_decide_over_its_table(saved, tmp_path, caplog):
    rows = [(GOOD, GOOD), (GOOD, "N" * 20), (GOOD, "AC"), ("ACGT" * 500, GOOD), (GOOD, "AC-T"), (GOOD, GOOD)]
    pd.DataFrame(rows, columns=["sequence", "other"]).to_csv(tmp_path / "t.csv", index=False)
    table = predict(saved("pairs"), str(tmp_path / "t.csv"), str(tmp_path / "p.tsv"), Columns(pair="other"))
    assert table.to_pandas()["prediction"].isna().tolist() == [False, True, True, True, True, False]
    assert "4 of 6" in caplog.text


def test_an_existing_output_and_an_input_are_not_overwritten_silently(saved, tmp_path):
    fasta = tmp_path / "in.fa"
    fasta.write_text(f">a\n{GOOD}\n")
    (tmp_path / "link.fa").symlink_to(fasta)
    os.link(fasta, tmp_path / "hard.fa")
    (tmp_path / "old.tsv").write_text("mine")
    for output in ("in.fa", "./in.fa", "link.fa", "hard.fa"):
        with pytest.raises(InputError, match="is read as an input"):
            predict(saved("classes"), str(fasta), f"{tmp_path}/{output}", overwrite=True)
    config = Path(saved("classes")) / "config.json"
    with pytest.raises(InputError, match="is read as an input"):
        predict(saved("classes"), str(fasta), str(config), overwrite=True)
    with pytest.raises(InputError, match="--overwrite true"):
        predict(saved("classes"), str(fasta), str(tmp_path / "old.tsv"))
    assert (tmp_path / "old.tsv").read_text() == "mine" and config.read_text().startswith("{")
    (tmp_path / "old.tsv").chmod(0o640)
    predict(saved("classes"), str(fasta), str(tmp_path / "old.tsv"), overwrite=True)
    assert stat.S_IMODE((tmp_path / "old.tsv").stat().st_mode) == 0o640


def test_a_sequence_file_is_refused_where_tracks_are_needed(saved, tmp_path):
    (tmp_path / "s.fa").write_text(">a\nACGTACGT\n")
    with pytest.raises(InputError, match=r"s\.fa: a sequence file has no columns, but 'age', 'signal'"):
        predict(saved("tracks"), str(tmp_path / "s.fa"), str(tmp_path / "p.tsv"))
    with pytest.raises(InputError, match=r"columns\.pair"):
        predict(saved("pairs"), str(tmp_path / "s.fa"), str(tmp_path / "p.tsv"))
    with pytest.raises(InputError, match="batch_size"):
        predict(saved("classes"), str(tmp_path / "s.fa"), str(tmp_path / "p.tsv"), batch_size=0)


def test_old_arguments_work_with_a_warning(saved, draw, tmp_path):
    path = write_table(tmp_path / "t.csv", draw(LENGTHS))
    with pytest.warns(FutureWarning, match=r"columns\.id"):
        table = predict(saved("classes"), path, str(tmp_path / "p.tsv"), id_column="name")
    assert [row["id"] for row in table][:2] == ["s0", "s1"]


def test_the_command_line_predicts(saved, draw, write_fasta, tmp_path, capsys):
    fasta = write_fasta(tmp_path / "s.fasta", draw(LENGTHS))
    words = ["predict", "--model", saved("classes"), "--input", fasta, "--output", str(tmp_path / "p.tsv")]
    assert cli.main([*words, "--resume", "true"]) == 0 and not capsys.readouterr().out
    assert len((tmp_path / "p.tsv").read_text().splitlines()) == len(LENGTHS) + 1


def test_a_list_is_predicted_in_memory_as_a_file_is(saved, tmp_path):
    texts = [GOOD * 5, "AC", "ACG-ACGT", "N" * 20, GOOD]
    (tmp_path / "in.fa").write_text("".join(f">{number}\n{text}\n" for number, text in enumerate(texts, start=1)))
    for kind in ("classes", "value", "nucleotides"):
        expected = predict(saved(kind), str(tmp_path / "in.fa"), str(tmp_path / f"{kind}.tsv")).to_pandas()
        expected["id"] = expected["id"].astype(str)
        same_table(predict(saved(kind), texts).to_pandas().fillna(-1), expected.fillna(-1))
    for refused in ({"output": "x"}, {"options": STRICT}, {"options": PredictOptions(windows=True)}):
        with pytest.raises(InputError, match="list"):
            predict(saved("classes"), texts, **refused)
    with pytest.raises(InputError, match="pairs"):
        predict(saved("pairs"), texts)
    with pytest.raises(InputError, match="output is not set"):
        predict(saved("classes"), str(tmp_path / "in.fa"))


def test_auto_begins_goes_on_accepts_what_is_finished_and_nothing_else(
    saved, draw, write_fasta, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    fasta, output = write_fasta(tmp_path / "s.fasta", draw(LENGTHS)), tmp_path / "p.tsv"
    average = module.average_windows
    monkeypatch.setattr(module, "average_windows", _stops_after_two(average))
    with pytest.raises(RuntimeError):
        predict(saved("classes"), fasta, str(output), resume="auto")
    monkeypatch.setattr(module, "average_windows", average)
    first = predict(saved("classes"), fasta, str(output), resume="auto")
    whole = output.read_bytes()
    monkeypatch.setattr(module, "average_windows", None)  # nothing is predicted any more
    again = predict(saved("classes"), fasta, str(output), resume="auto")
    assert again == first and output.read_bytes() == whole and "finished before" in caplog.text
    monkeypatch.setattr(module, "average_windows", average)
    with pytest.raises(InputError, match="was written with model"):
        predict(saved("several"), fasta, str(output), resume="auto")
    predict(saved("several"), fasta, str(output), overwrite=True)
    with pytest.raises(InputError, match="nothing says which run"):
        predict(saved("several"), fasta, str(output), resume="auto")
    assert cli.main(["predict", "--model", saved("classes"), "--input", fasta, "--output", str(tmp_path / "q.tsv"),
                     "--resume", "auto"]) == 0  # fmt: skip


def test_models_and_inputs_are_named_by_their_content(saved, tmp_path):
    one, other = (load_classifier(saved(kind))[0] for kind in ("classes", "several"))
    assert model_digest(one) == model_digest(load_classifier(saved("classes"))[0]) != model_digest(other)
    before = model_digest(one)
    one.classifier.bias.data += 1
    assert model_digest(one) != before
    (tmp_path / "a").write_bytes(b"ACGT" * 10)
    (tmp_path / "b").write_bytes(b"ACGT" * 9 + b"ACGA")
    assert input_digest(str(tmp_path / "a")) != input_digest(str(tmp_path / "b"))
    dataset = Dataset.from_dict({"sequence": ["ACGT", "GG"]})
    assert input_digest(dataset) != input_digest(dataset.select([0]))
    with pytest.raises(InputError, match="none"):
        input_digest(str(tmp_path / "none"))


def test_both_strands_get_the_same_row_and_one_that_cannot_be_scored_none(saved, draw, write_fasta, tmp_path):
    sequences = [*draw([90, 41, 7]), "ACGTMKVLAAGE", "NNNNNNNN"]
    files = [
        write_fasta(tmp_path / f"{n}.fa", some)
        for n, some in enumerate((sequences, [reverse_complement(text) for text in sequences]))
    ]
    options = PredictOptions(both_strands=True)
    one, two = (predict(saved("classes"), file, f"{file}.tsv", options=options).to_pandas() for file in files)
    assert np.allclose(one["p_phage"], two["p_phage"], atol=1e-5, equal_nan=True)
    assert one["length"].tolist() == [90, 41, 7, 12, 8] and one["p_phage"].isna().tolist() == [False] * 3 + [True] * 2
    in_memory = predict(saved("classes"), sequences[:3], options=options)
    assert np.allclose(in_memory.scores[:, 1], one["p_phage"][:3], atol=1e-5)


def test_frames_are_averaged_in_a_file_as_in_memory(draw, model_of, write_fasta, tmp_path):
    model, _ = model_of("classes")
    model.config.stride = 3
    for part in (model, KmerTokenizer(k=3, stride=3)):
        part.save_pretrained(tmp_path / "model")
    sequences = draw([90, 41, 7])
    file = write_fasta(tmp_path / "x.fa", sequences)
    rows = {}
    for frames in (1, 3):
        options = PredictOptions(both_strands=True, frames=frames)
        rows[frames] = predict(str(tmp_path / "model"), file, f"{file}.{frames}.tsv", options=options).to_pandas()
        assert rows[frames]["length"].tolist() == [90, 41, 7]
        expected = predict_scores(
            *load_classifier(str(tmp_path / "model")), sequences, both_strands=True, frames=frames
        )
        assert np.allclose(rows[frames]["p_phage"], expected[:, 1], atol=1e-5)
    assert not np.allclose(rows[1]["p_phage"], rows[3]["p_phage"], atol=1e-3)


@pytest.mark.parametrize("averages", [{"both_strands": True}, {"frames": 3}], ids=str)
@pytest.mark.parametrize("output", ["x.tsv", "x.bedgraph"])
def test_averages_are_refused_for_nucleotides(saved, draw, write_fasta, tmp_path, averages, output):
    file = write_fasta(tmp_path / "x.fa", draw([90]))
    with pytest.raises(InputError, match=next(iter(averages))):
        predict(saved("nucleotides"), file, str(tmp_path / output), options=PredictOptions(**averages))
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize("averages", [{"both_strands": True}, {"frames": 3}, {"both_strands": True, "frames": 2}])
def test_windows_along_a_contig_are_averaged_one_by_one(draw, model_of, write_fasta, tmp_path, averages):
    model, _ = model_of("classes")
    model.config.stride = 3
    for part in (model, KmerTokenizer(k=3, stride=3)):
        part.save_pretrained(tmp_path / "model")
    longest = longest_window(model.config, KmerTokenizer(k=3, stride=3))
    sequences = [*draw([3 * longest + 7, 4]), "NNNNNN", "N" * longest + draw([longest])[0]]
    file, options = write_fasta(tmp_path / "x.fa", sequences), PredictOptions(windows=True, **averages)
    found = predict(str(tmp_path / "model"), file, f"{file}.tsv", options=options, batch_size=5).to_pandas()
    names = [line[1:].split()[0] for line in Path(file).read_text().splitlines() if line.startswith(">")]
    texts = dict(zip(names, sequences, strict=True))
    windows = [texts[row.id][row.start : row.end] for row in found.itertuples()]
    expected = predict_scores(*load_classifier(str(tmp_path / "model")), windows, **averages)
    assert np.allclose(found["p_phage"], expected[:, 1], atol=1e-5, equal_nan=True)
    assert found["p_phage"].isna().sum() == 2  # the windows of N
    plain = predict(
        str(tmp_path / "model"), file, f"{file}.plain.tsv", options=PredictOptions(windows=True)
    ).to_pandas()
    assert plain[["id", "start", "end"]].equals(found[["id", "start", "end"]])
    assert not np.allclose(plain["p_phage"], found["p_phage"], atol=1e-4, equal_nan=True)


def test_averaged_windows_are_resumed_inside_a_contig_and_fill_tracks(saved, draw, write_fasta, tmp_path):
    file, options = write_fasta(tmp_path / "x.fa", draw([400, 90])), PredictOptions(windows=True, both_strands=True)
    whole = predict(saved("classes"), file, f"{file}.tsv", options=options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GrowingTable, "write", _stopping_after(3, GrowingTable.write))
        with pytest.raises(KeyboardInterrupt):
            predict(saved("classes"), file, f"{file}.part.tsv", options=options)
    resumed = predict(saved("classes"), file, f"{file}.part.tsv", options=options, resume=True)
    same_table(resumed.to_pandas(), whole.to_pandas())
    predict(saved("classes"), file, f"{file}.bedgraph", options=PredictOptions(both_strands=True))
    tracks = sorted(tmp_path.glob("*.bedgraph"))
    assert tracks and all(path.stat().st_size for path in tracks)


def _stopping_after(rows, write):
    """Return a function that writes some rows and is then interrupted."""
    left = iter(range(rows))

    def stopping(table, row):
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(table, row)

    return stopping


def test_there_is_at_least_one_frame():
    with pytest.raises(InputError, match="frames must be at least 1, not 0"):
        PredictOptions(frames=0)


def test_the_threshold_of_a_model_decides_and_is_said(saved, draw, write_fasta, tmp_path, caplog):
    file = write_fasta(tmp_path / "x.fa", draw([40] * 8))
    before = predict(saved("classes"), file, str(tmp_path / "before.tsv")).to_pandas()
    threshold = sorted(before["p_phage"])[2]
    folder = tmp_path / "model"
    shutil.copytree(saved("classes"), folder)
    change_json(folder / "config.json", positive_class="phage", decision_threshold=float(threshold) - 1e-6)
    with caplog.at_level("INFO"):
        after = predict(str(folder), file, str(tmp_path / "after.tsv")).to_pandas()
    assert after["p_phage"].tolist() == before["p_phage"].tolist()
    assert ((after["prediction"] == "phage") == (after["p_phage"] >= threshold - 1e-6)).all()
    assert (after["prediction"] == "phage").sum() == 6 and "predicts 'phage' at" in caplog.text
