"""The verb `predict`: streaming, memory, resuming, and every kind of input and model."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from hf_genomics import cli, load_classifier, predict
from hf_genomics.errors import InputError
from hf_genomics.inference import predict as module
from hf_genomics.inference import scores as scores_module
from hf_genomics.inference.predict import input_digest, model_digest
from hf_genomics.inference.predictions import Predictions
from hf_genomics.io.fasta import read_chunks
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.tables import read_labelled

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


@pytest.mark.parametrize("buffer", [1, 500, 1 << 20])
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
    table, columns = write_table(tmp_path / "t.csv", sequences), Columns(id="name")
    pd.read_csv(table, dtype=str).to_parquet(tmp_path / "t.parquet")
    dataset = Dataset.from_dict({"name": [f"s{row}" for row in range(len(sequences))], "sequence": sequences})
    for source in (str(tmp_path / "s.fa.gz"), table, str(tmp_path / "t.parquet"), dataset):
        assert predict(model, source, str(tmp_path / "p.tsv"), columns).path.read_bytes() == expected


def test_the_first_rows_are_written_while_the_rest_is_read(saved, draw, write_fasta, tmp_path, monkeypatch):
    fasta, rows = write_fasta(tmp_path / "s.fasta", draw([100] * 60)), tmp_path / ".p.tsv.partial" / "rows.tsv"
    seen = []

    def watched(*args, **options):
        for chunk in read_chunks(*args, **options):
            seen.append(len(rows.read_text().splitlines()) if rows.exists() else 0)
            yield chunk

    monkeypatch.setattr(module, "read_chunks", watched)
    monkeypatch.setattr(scores_module, "_BUFFER_NT", 200)
    predict(saved("classes"), fasta, str(tmp_path / "p.tsv"), batch_size=4)
    assert seen[0] == 0 and seen[-1] > 50 and seen == sorted(seen)


@pytest.mark.parametrize("kind", ["classes", "nucleotides"])
@pytest.mark.parametrize("form", ["one contig", "many reads", "many rows"])
def test_memory_does_not_grow_with_the_input(kind, form, saved, tmp_path, monkeypatch):
    """Ten times the input, the same peak; the model's own work is left out."""

    def no_model(network, tokenizer, windows, batch_size):
        scores = np.full((40, 2) if kind == "nucleotides" else 2, 0.5)
        for window in windows:
            yield window, scores[: len(window.row["sequence"])] if kind == "nucleotides" else scores

    monkeypatch.setattr(module, "score_windows", no_model)
    monkeypatch.setattr("hf_genomics.labelled.tables._FRAME_LETTERS", 1 << 14)
    monkeypatch.setattr("hf_genomics.io.fastx._BLOCK_BYTES", 1 << 14)
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
        predict(saved(kind), str(path), str(tmp_path / "p.tsv"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000, "names of records are remembered, to find those that come twice"


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
        predict(model, path, str(output), Columns(id="name"), rna=True, resume=True)
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
        (">a\nACGTACGT\n>b\nAC-T\n", "record 2 ('b'), position 3"),
        (">a\nACGTACGT\n>b\nAC\n", "record 2 ('b'): 2 nt is shorter"),
        (">a\nACGTACGT\n>a\nACGT\n", "record 2 ('a')"),
        ("id,sequence\na,ACGTACGT\nb,AC-T\n", "data row 2, position 3"),
        ("", "the file is empty"),
    ],
)
def test_bad_input_is_refused_by_its_place_and_leaves_nothing(content, part, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(scores_module, "_BUFFER_NT", 1)  # the first row is written before the second is read
    (tmp_path / "in").write_text(content)
    with pytest.raises(InputError) as caught:
        predict(saved("classes"), str(tmp_path / "in"), str(tmp_path / "new" / "p.tsv"), batch_size=1)
    assert part in str(caught.value) and str(tmp_path / "in") in str(caught.value)
    assert not list((tmp_path / "new").glob("*"))


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
