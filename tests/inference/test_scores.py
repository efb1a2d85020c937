"""Scores: windows averaged and merged, batches that do not matter, and a model that is left as it was."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from simulated_processes import run_all

from hf_genomics import KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.inference import scores as module
from hf_genomics.inference.scores import (
    as_examples,
    as_scores,
    average_windows,
    cut_batches,
    merge_windows,
    predict_nt_scores,
    predict_scores,
    ready,
    score_windows,
)
from hf_genomics.inference.windows import Window, windows_of_examples
from hf_genomics.io.processes import ALONE
from hf_genomics.sequence import reverse_complement

LENGTHS = (3, 40, 41, 90, 7, 80, 200, 39)


def slowly(model, tokenizer, sequence: str) -> np.ndarray:
    """Score the windows of a sequence one by one, (windows, nt or 1, classes), with their starts."""
    starts = list(range(0, max(1, len(sequence) - 39), 40))
    if starts[-1] + 40 < len(sequence):
        starts.append(len(sequence) - 40)
    found = []
    with torch.inference_mode():
        for start in starts:
            encoded = tokenizer(sequence[start : start + 40], return_tensors="pt")
            logits = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits[0]
            found.append((start, scipy.special.softmax(logits.double().numpy(), -1)))
    return found


@pytest.fixture(params=[1, 100, 1 << 20])
def buffer(request, monkeypatch) -> int:
    """How many nt are sorted by length together."""
    monkeypatch.setattr(module, "_BUFFER_NT", request.param)
    return request.param


def test_a_sequence_gets_the_mean_of_its_windows(model_of, draw, buffer):
    model, tokenizer = model_of("classes")
    sequences = draw(LENGTHS)
    expected = [np.mean([scores for _, scores in slowly(model, tokenizer, text)], 0) for text in sequences]
    for batch_size in (1, 3, 64):
        found = predict_scores(model, tokenizer, sequences, batch_size)
        assert found.dtype == np.float64 and np.allclose(found, expected, atol=1e-6)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 9), st.none() | st.integers(1, 200))
def test_batches_hold_every_window_once_and_keep_both_limits(lengths, batch_size, most):
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches = cut_batches(order, lengths, batch_size, most)
    assert sum(batches, []) == order and all(0 < len(batch) <= batch_size for batch in batches)
    if most is None:
        assert all(len(batch) == batch_size for batch in batches[:-1])
    else:
        assert all(len(batch) == 1 or len(batch) * lengths[batch[-1]] <= most for batch in batches)
        for batch, after in zip(batches, batches[1:], strict=False):  # no batch could take one more
            assert len(batch) == batch_size or (len(batch) + 1) * lengths[after[0]] > most


@pytest.mark.parametrize("kind", ["classes", "parts", "pairs"])
def test_scores_do_not_depend_on_how_many_tokens_a_batch_may_have(model_of, draw, kind, monkeypatch):
    model, tokenizer = model_of(kind)
    sequences = draw((12, 40, 23, 39, 7, 31))
    examples = as_examples(sequences)
    if kind == "pairs":
        examples = dataclasses.replace(examples, pairs=examples.sequences[::-1])
    windows = list(windows_of_examples(examples, model, tokenizer))
    whole = [scores for _, scores in score_windows(model, tokenizer, windows, 64)]
    monkeypatch.setattr(module, "_CPU_TOKENS", 50)
    assert np.allclose(whole, [scores for _, scores in score_windows(model, tokenizer, windows, 64)], atol=1e-6)


@pytest.mark.parametrize("kind", ["classes", "value", "several", "parts"])
def test_both_strands_of_a_sequence_have_the_same_scores(model_of, draw, kind):
    model, tokenizer = model_of(kind)
    sequences = draw(LENGTHS[2:])  # up to five windows
    other = [reverse_complement(text) for text in sequences]
    found = predict_scores(model, tokenizer, sequences, both_strands=True)
    assert np.allclose(found, predict_scores(model, tokenizer, other, 3, both_strands=True), atol=1e-5, rtol=0)
    one, two = (predict_scores(model, tokenizer, texts) for texts in (sequences, other))
    assert np.allclose(found, (one + two) / 2, atol=1e-5) and not np.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize("kind", ["classes", "value", "several", "parts"])
@pytest.mark.parametrize(("frames", "firsts"), [(1, [0]), (2, [0, 2]), (3, [0, 1, 2]), (9, [0, 1, 2, 3])])
def test_frames_are_averaged_window_by_window(model_of, draw, kind, frames, firsts):
    model, _ = model_of(kind)
    tokenizer = KmerTokenizer(k=3, stride=4, allow_gaps=True)
    sequences = draw([40, 30, 80])  # none has a window that overlaps another
    found = predict_scores(model, tokenizer, sequences, 5, frames=frames)
    for text, scores in zip(sequences, found, strict=True):
        windows = [text[start : start + 40][first:] for start in range(0, len(text), 40) for first in firsts]
        assert np.allclose(scores, predict_scores(model, tokenizer, windows).mean(0), atol=1e-6)


def test_a_frame_too_short_for_a_token_is_omitted_and_strands_have_frames_too(model_of, draw):
    model, tokenizer = model_of("classes")[0], KmerTokenizer(k=3, stride=3)
    [text] = draw([4])  # three frames, but two of them leave fewer than 3 nt
    expected = predict_scores(model, tokenizer, [text, text[1:]]).mean(0)
    assert np.allclose(predict_scores(model, tokenizer, [text], frames=3)[0], expected, atol=1e-6)
    with pytest.raises(InputError, match="frames must be at least 1, not 0"):
        predict_scores(model, tokenizer, [text], frames=0)
    [text] = draw([33])
    both = [strand[first:] for strand in (text, reverse_complement(text)) for first in range(3)]
    found = predict_scores(model, tokenizer, [text], both_strands=True, frames=3)[0]
    assert np.allclose(found, predict_scores(model, tokenizer, both).mean(0), atol=1e-6)


def test_a_nucleotide_gets_the_mean_of_the_windows_over_it(model_of, draw, buffer):
    model, tokenizer = model_of("nucleotides")
    sequences = draw(LENGTHS)
    found = predict_nt_scores(model, tokenizer, sequences, 3)
    for text, scores in zip(sequences, found, strict=True):
        totals, counts = np.zeros((len(text), 2)), np.zeros((len(text), 1))
        for start, of_window in slowly(model, tokenizer, text):
            totals[start : start + 40] += of_window[: len(text) - start]
            counts[start : start + 40] += 1
        assert np.allclose(scores, totals / counts, atol=1e-6)


def test_texts_arrays_and_examples_are_the_same(model_of, draw):
    model, tokenizer = model_of("classes")
    sequences = draw(LENGTHS)
    arrays = [np.frombuffer(text.encode(), np.uint8) for text in sequences]
    expected = predict_scores(model, tokenizer, sequences)
    assert np.array_equal(predict_scores(model, tokenizer, arrays), expected)
    assert np.array_equal(predict_scores(model, tokenizer, as_examples(sequences)), expected)
    assert predict_scores(model, tokenizer, []).shape == (0, 2)


def test_the_model_is_left_as_it_was(model_of, draw):
    model, tokenizer = model_of("classes")
    model.train()
    model.bert.eval()  # a frozen encoder under a head in training
    modes, device = [part.training for part in model.modules()], model.device
    expected = predict_scores(model.eval(), tokenizer, draw(LENGTHS))
    for part, mode in zip(model.modules(), modes, strict=True):
        part.training = mode
    assert np.array_equal(predict_scores(model, tokenizer, draw(LENGTHS)), expected), "no dropout"
    assert [part.training for part in model.modules()] == modes and model.device == device
    with pytest.raises(RuntimeError), ready(model):
        raise RuntimeError
    assert [part.training for part in model.modules()] == modes
    encoded = tokenizer(draw((30,)), return_tensors="pt")
    model(**encoded).logits.sum().backward()  # its weights can still be trained


def test_windows_come_back_in_order_and_are_read_a_little_ahead(model_of, draw, monkeypatch):
    monkeypatch.setattr(module, "_BUFFER_NT", 200)
    model, tokenizer = model_of("classes")
    read = []

    def windows():
        for window in windows_of_examples(as_examples(draw([50] * 50)), model, tokenizer):
            read.append(window)
            yield window

    scored = score_windows(model, tokenizer, windows(), 4)
    first, _ = next(scored)
    assert len(read) == 8 and first.row is read[0].row
    rest = [window.row for window, _ in scored]
    assert len(rest) == 99 and all(row is window.row for row, window in zip(rest, read[1:], strict=True))


def test_each_function_names_the_other_one_for_a_model_of_the_other_kind(model_of, draw):
    with pytest.raises(InputError, match="predict_nt_scores"):
        module.predict_scores(*model_of("nucleotides"), draw([30]))
    with pytest.raises(InputError, match="predict_scores"):
        module.predict_nt_scores(*model_of("classes"), draw([30]))


def test_a_batch_needs_a_size(model_of):
    with pytest.raises(InputError, match="batch_size.*0"):
        predict_scores(*model_of("classes"), ["ACGT"], batch_size=0)


def test_windows_that_overlap_are_averaged_where_they_do():
    letters = np.zeros(4, np.uint8)
    scored = [
        (Window(0, "a", 0, {"sequence": letters}), np.full((4, 1), 1.0)),
        (Window(0, "a", 4, {"sequence": letters}), np.full((4, 1), 2.0)),
        (Window(0, "a", 5, {"sequence": letters}), np.full((4, 1), 4.0)),
        (Window(1, "b", 0, {"sequence": letters}), np.full((4, 1), 8.0)),
    ]
    pieces = list(merge_windows(scored))
    assert [(one.name, one.start, one.scores[:, 0].tolist()) for one in pieces] == [
        ("a", 0, [1, 1, 1, 1]),
        ("a", 4, [2]),
        ("a", 5, [3, 3, 3, 4]),
        ("b", 0, [8, 8, 8, 8]),
    ]
    averaged = list(average_windows((window, scores[0]) for window, scores in scored))
    assert [(one.name, one.length, one.scores.round(3).tolist()) for one in averaged] == [
        ("a", 9, [2.333]),
        ("b", 4, [8]),
    ]


def test_logits_become_what_the_problem_asks_for():
    logits = np.array([[0.0, np.log(3)]])
    assert np.allclose(as_scores(logits, None), [[0.25, 0.75]])
    assert np.allclose(as_scores(logits, "multi_label_classification"), [[0.5, 0.75]])
    assert as_scores(logits, "regression") is logits


@pytest.mark.parametrize("kind", ["classes", "several", "nucleotides"])
def test_a_warning_says_that_every_prediction_is_certain(model_of, caplog, kind):
    model, tokenizer = model_of(kind)
    score = predict_nt_scores if kind == "nucleotides" else predict_scores
    score(model, tokenizer, ["ACGTTGCA", "TTGACA"])
    assert "certain" not in caplog.text
    with torch.no_grad():
        model.classifier.weight.mul_(1e9)
        model.classifier.bias.copy_(torch.linspace(1e3, 1e8, len(model.classifier.bias)))
    score(model, tokenizer, ["ACGTTGCA", "TTGACA"])
    assert caplog.text.count("every prediction is certain") == 1


@pytest.mark.parametrize("kind", ["classes", "nucleotides"])
@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_give_the_windows_of_one(kind, count, model_of, draw, monkeypatch):
    monkeypatch.setattr(module, "_BUFFER_NT", 200)
    model, tokenizer = model_of(kind)
    examples = as_examples(draw([40, 2, 90, 7, 300, 41] * 5))

    def work(processes=ALONE):
        windows = windows_of_examples(examples, model, tokenizer)
        return list(score_windows(model, tokenizer, windows, 3, processes))

    first, *others = run_all(count, work)
    assert others == [[]] * (count - 1)
    for (window, scores), (expected_window, expected) in zip(first, work(), strict=True):
        assert window[2:3] + window[4:] == expected_window[2:3] + expected_window[4:]
        np.testing.assert_array_equal(scores, expected)
