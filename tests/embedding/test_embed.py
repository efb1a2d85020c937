"""The verb `embed`: files of every kind, resuming, and the picture."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hf_genomics as hg
from hf_genomics import cli
from hf_genomics.embedding import embed as module

TEXTS = ["ACGTTGCATTGA" * 9, "AC", "TTGACCATGAGGTA", "N" * 50, "GGATTACA" * 3]


@pytest.fixture
def inputs(tmp_path) -> dict[str, str]:
    fasta, table = tmp_path / "in.fa", tmp_path / "in.csv"
    fasta.write_text("".join(f">s{number}\n{text}\n" for number, text in enumerate(TEXTS)))
    frame = pd.DataFrame({"name": [f"s{row}" for row in range(len(TEXTS))], "sequence": TEXTS})
    frame.assign(kind=list("ababa")).to_csv(table, index=False)
    return {"fasta": str(fasta), "table": str(table)}


@pytest.mark.parametrize("pooling", ["mean", "cls", "tokens"])
def test_a_file_gives_what_a_list_gives(pooling, inputs, encoder_folder, tmp_path, caplog):
    caplog.set_level("INFO")
    folder = encoder_folder("stride2")
    expected = hg.embed(folder, TEXTS, pooling=pooling)
    done = hg.embed(folder, inputs["fasta"], str(tmp_path / "x.npy"), pooling, batch_size=2)
    assert [path.name for path in done.files] == ["x.npy", "x.rows.tsv", "x.png"] and "wrote" in caplog.text
    assert done.num_sequences == 5 and done.size == 16
    found, rows = np.load(done.files[0]), pd.read_csv(done.files[1], sep="\t")
    if pooling != "tokens":
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert rows["length"].tolist() == [*map(len, TEXTS)]
        return
    known = ~np.isnan(found).any(1)
    np.testing.assert_allclose(found[known], np.concatenate(expected), atol=1e-5)
    assert rows.loc[~known, ["id", "start", "end"]].to_numpy().tolist() == [["s1", 0, 0], ["s3", 0, 0]]
    assert (rows["end"] - rows["start"])[known].eq(3).all()


def test_a_table_gives_parquet_and_a_picture_in_colours(inputs, encoder_folder, tmp_path):
    words = f"embed --model {encoder_folder('tuned')} --input {inputs['table']} --output {tmp_path}/x.parquet"
    assert cli.main([*words.split(), "--columns.id", "name", "--color", "kind"]) == 0
    frame = pd.read_parquet(tmp_path / "x.parquet")
    assert frame["id"].tolist() == [f"s{row}" for row in range(5)] and frame["embedding"].isna().tolist()[1]
    assert (tmp_path / "x.png").exists()
    for refused in ("nokind", None):
        with pytest.raises(hg.InputError, match="color|nokind"):
            source = inputs["table"] if refused else inputs["fasta"]
            options = hg.EmbedOptions(color=refused or "kind")
            hg.embed(encoder_folder("tuned"), source, str(tmp_path / "y.npy"), options=options)


def test_a_table_without_a_header_loses_no_row(encoder_folder, tmp_path):
    (tmp_path / "in.csv").write_text("".join(f"{text},{label}\n" for text, label in zip(TEXTS, "ababa", strict=True)))
    columns, options = hg.Columns(sequence="1", header=False), hg.EmbedOptions(color="2")
    source, output = str(tmp_path / "in.csv"), str(tmp_path / "x.npy")
    done = hg.embed(encoder_folder("tuned"), source, output, columns=columns, options=options)
    expected = hg.embed(encoder_folder("tuned"), TEXTS)
    assert len(done.files) == 3
    np.testing.assert_allclose(np.load(output), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "tokens"])
def test_an_interrupted_run_goes_on_and_a_finished_one_is_accepted(
    pooling, inputs, encoder_folder, tmp_path, monkeypatch
):
    folder, output = encoder_folder("pretrained"), str(tmp_path / "x.parquet")
    whole = hg.embed(folder, inputs["fasta"], str(tmp_path / "whole.parquet"), pooling)
    embedded, seen = module.embedded, []

    def stopped(*args):
        yield from itertools.islice(embedded(*args), 4)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "embedded", stopped)
    with pytest.raises(KeyboardInterrupt):
        hg.embed(folder, inputs["fasta"], output, pooling, resume="auto")
    assert not Path(output).exists()
    monkeypatch.setattr(module, "embedded", lambda *args: (seen.append(one.name) or one for one in embedded(*args)))
    done = hg.embed(folder, inputs["fasta"], output, pooling, resume="auto")
    assert done[1:] == whole[1:] and ("s0" in seen) == (pooling == "tokens")
    one, other = (pd.read_parquet(tmp_path / name) for name in ("x.parquet", "whole.parquet"))
    assert one.drop(columns="embedding").equals(other.drop(columns="embedding"))
    for first, second in zip(one["embedding"], other["embedding"], strict=True):
        assert (first is None) == (second is None)
        assert first is None or np.allclose(first, second, atol=1e-5)
    monkeypatch.setattr(module, "embedded", None)
    assert hg.embed(folder, inputs["fasta"], output, pooling, resume="auto") == done
    with pytest.raises(hg.InputError, match="model"):
        hg.embed(encoder_folder("tuned"), inputs["fasta"], output, pooling, resume="auto")


def test_outputs_that_cannot_hold_vectors_are_refused(inputs, encoder_folder, tmp_path):
    folder = encoder_folder("tuned")
    for output in (None, "-", str(tmp_path / "x.tsv")):
        with pytest.raises(hg.InputError, match="npy"):
            hg.embed(folder, inputs["fasta"], output)
    with pytest.raises(hg.InputError, match="list"):
        hg.embed(folder, TEXTS, str(tmp_path / "x.npy"))
    (tmp_path / "x.rows.tsv").write_text("mine")
    for resume in (False, "auto"):
        with pytest.raises(hg.InputError, match=r"x\.rows\.tsv exists"):
            hg.embed(folder, inputs["fasta"], str(tmp_path / "x.npy"), resume=resume)
    (tmp_path / "y.npy").write_text("mine")
    with pytest.raises(hg.InputError, match=r"y\.npy exists"):
        hg.embed(folder, inputs["fasta"], str(tmp_path / "y.npy"), resume="auto")
    assert (tmp_path / "y.npy").read_text() == "mine"


def test_the_picture_of_an_earlier_output_is_not_taken_for_that_of_two_sequences(inputs, encoder_folder, tmp_path):
    for texts, names in ((TEXTS, ["x.parquet", "x.png"]), (TEXTS[:1] * 2, ["x.parquet"])):
        (tmp_path / "in.fa").write_text("".join(f">s{number}\n{text}\n" for number, text in enumerate(texts)))
        done = hg.embed(encoder_folder("tuned"), str(tmp_path / "in.fa"), str(tmp_path / "x.parquet"), overwrite=True)
        assert [path.name for path in done.files] == names
