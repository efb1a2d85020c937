"""Answers hold what `predict` and `explain` compute, for every kind of head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_files import dna
from small_models import saved_model

import hf_genomics as hg
from hf_genomics.demo_page import answer as module
from hf_genomics.demo_page.answer import DemoModel, Question, answer
from hf_genomics.inference.scores import as_examples
from hf_genomics.inference.windows import windows_of_examples
from hf_genomics.interpretation.scoring import Settings, explain_windows

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
LONG, OTHER = dna(150), dna(40, 1)  # windows of the model have 64 nt
FASTA = f">one\n{LONG}\n>two\n{OTHER}\n".encode()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return DemoModel.load(str(saved_model(tmp_path_factory.mktemp("demo"))))


_png = module._png


@pytest.fixture(autouse=True)
def not_drawn(monkeypatch):
    """Build figures without drawing them, which takes most of the time; the tests of the server draw all."""
    monkeypatch.setattr(module, "_png", lambda figure: b"")


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of the pictures."""
    calls = {}
    for name in ("region_figure", "logo_figure"):
        draw = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, name=name, draw=draw: calls.setdefault(name, []).append(args) or draw(*args)
        )
    return calls


def test_the_table_is_what_predict_returns(demo):
    found = answer(demo, Question(FASTA))
    table = hg.predict(demo.name, [LONG, OTHER]).to_pandas()
    assert found.header == [*table.columns]
    for row, expected, name in zip(found.rows, table.itertuples(index=False), ["one", "two"], strict=True):
        assert row[0] == name and row[1:3] == [*expected][1:3]
        np.testing.assert_allclose(row[3:], [*expected][3:], rtol=1e-6)


def test_pictures_show_the_score_along_the_sequence_and_the_best_window(demo, drawn, monkeypatch):
    monkeypatch.setattr(module, "_png", _png)
    monkeypatch.setattr(module, "_DPI", 20)
    found = answer(demo, Question(FASTA, target="b"))
    assert [len(data) > 300 and data[:8] == b"\x89PNG\r\n\x1a\n" for _, data in found.pictures] == [True] * 3
    windows = list(windows_of_examples(as_examples([LONG]), demo.model, demo.tokenizer))
    scores = [hg.predict_scores(demo.model, demo.tokenizer, [window.row["sequence"]])[0, 1] for window in windows]
    (along, bars) = drawn["region_figure"]
    np.testing.assert_allclose(along[3][0].values[:64], scores[0], rtol=1e-6)
    np.testing.assert_allclose(along[3][0].values[-1], scores[-1], rtol=1e-6)
    assert len(along[3][0].values) == len(LONG)
    best = windows[int(np.argmax(scores))]
    assert bars[1:3] == (best.start, best.end)
    (one,) = explain_windows(demo.model, demo.tokenizer, [best], Settings(target=1))
    np.testing.assert_allclose(bars[4].values, one.scores, rtol=1e-4, atol=1e-7)


def test_the_pictures_show_the_class_that_the_table_names_when_windows_overlap(demo, monkeypatch, drawn):
    # Windows 0..64, 64..128 and 86..150. Their mean probability of b is 0.49, that of the nucleotides 0.54.
    of_b = [0.9, 0.28, 0.28]
    monkeypatch.setattr(
        module,
        "score_windows",
        lambda model, tokenizer, windows: ((w, np.array([1 - p, p])) for w, p in zip(windows, of_b, strict=True)),
    )
    found = answer(demo, Question(f">one\n{LONG}\n".encode()))
    assert found.rows[0][found.header.index("prediction")] == "a"
    assert [title for title, *_ in drawn["logo_figure"]] == ["score for a"]


def test_a_position_chooses_the_window_and_no_picture_shows_more_than_30_letters(demo, drawn):
    answer(demo, Question(FASTA, position=150))
    assert drawn["region_figure"][1][1:3] == (150 - 64, 150)
    ((_, letters, *_),) = drawn["logo_figure"]
    assert len(letters) == 30 and letters in LONG


def test_a_short_sequence_has_no_picture_along_itself(demo):
    assert len(answer(demo, Question(OTHER.encode())).pictures) == 2


@pytest.mark.parametrize(
    ("question", "named"),
    [
        (Question(b"MKVLAAGE"), "position 4"),
        (Question(b"AC"), "2 nt"),
        (Question(b"NNNNNNNN"), "A, C, G and T"),
        (Question(FASTA, target="c"), "'c'"),
        (Question(FASTA, position=151), "151"),
        (Question(f">x\n{'N' * 64}{LONG}".encode(), position=3), "position 3"),
    ],
)
def test_a_wrong_question_is_refused_in_one_line(demo, question, named):
    with pytest.raises(hg.InputError, match=named):
        answer(demo, question)


def test_a_sequence_without_a_score_does_not_hide_the_others(demo):
    found = answer(demo, Question(f">short\nAC\n>good\n{OTHER}\n>empty\n".encode()))
    assert [row[2] is None for row in found.rows] == [True, False, True] and found.pictures == []
    assert any("short" in note for note in found.notes)


@pytest.mark.parametrize(
    ("head", "settings", "columns"),
    [
        ("KmerBertForSequenceClassification", {"problem_type": "multi_label_classification"}, 4),
        ("KmerBertForSequenceClassification", {"problem_type": "regression"}, 4),
        ("KmerBertForTokenClassification", {"labels_per": "nt"}, 5),
    ],
)
def test_every_kind_of_labels_has_its_answer(tmp_path, head, settings, columns):
    torch.manual_seed(0)
    config = hg.KmerBertConfig(k=3, max_position_embeddings=64, id2label={0: "a", 1: "b"}, **SIZES, **settings)
    getattr(hg, head)(config).save_pretrained(tmp_path)
    hg.KmerTokenizer(k=3).save_pretrained(tmp_path)
    found = answer(DemoModel.load(str(tmp_path)), Question(LONG.encode()))
    assert len(found.header) == columns and found.rows[0][0] == "1" and len(found.pictures) == 3


def test_a_table_has_at_most_fifty_rows(demo, monkeypatch):
    monkeypatch.setattr(module, "_pictures", lambda *arguments: [])
    monkeypatch.setattr(module, "_table", lambda task, scored: (["id"], [["x"]] * 51))
    found = answer(demo, Question(OTHER.encode()))
    assert len(found.rows) == 50 and any("51" in note for note in found.notes)


@pytest.mark.parametrize("inputs", [{"num_tracks": 1, "track_names": ["t"]}, {"pairs": True}])
def test_a_model_of_pairs_or_tracks_is_refused(tmp_path, monkeypatch, inputs):
    monkeypatch.setattr(
        module, "task_of", lambda config, name: module.Task("regression", paired="pairs" in inputs, track_names=["t"])
    )
    with pytest.raises(hg.InputError, match="pairs or tracks"):
        DemoModel.load(str(saved_model(tmp_path)))
