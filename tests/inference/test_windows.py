"""Windows: every cut of a sequence in memory and on the way from a file, and what a model can read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics import KmerBertConfig, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.inference.scores import as_examples
from hf_genomics.inference.windows import (
    check_longest,
    check_pairs,
    windows_of_chunks,
    windows_of_examples,
    with_other_frames,
    with_other_strand,
)
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.loading.config_facts import longest_window
from hf_genomics.sequence import reverse_complement, tile
from hf_genomics.sequence_files.fasta import RecordChunk


def stretches(windows) -> list[tuple[int, str, int, bytes]]:
    return [(one.sequence_index, one.name, one.start, one.row["sequence"].tobytes()) for one in windows]


def test_windows_lie_side_by_side_and_the_last_one_ends_with_the_sequence(model_of):
    model, tokenizer = model_of("classes")
    windows = list(windows_of_examples(as_examples(["A" * 100, "C" * 40, "G" * 7]), model, tokenizer, first=5))
    assert [(one.sequence_index, one.name, one.start, one.end) for one in windows] == [
        (5, "1", 0, 40),
        (5, "1", 40, 80),
        (5, "1", 60, 100),
        (6, "2", 0, 40),
        (7, "3", 0, 7),
    ]


@given(
    st.lists(st.integers(1, 120), min_size=1, max_size=5),
    st.integers(1, 30),
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
)
def test_contigs_are_cut_on_the_way_as_they_are_cut_as_a_whole(lengths, longest, steps):
    random = np.random.default_rng(sum(lengths))
    texts = [random.choice(list(b"ACGT"), length).astype(np.uint8).tobytes() for length in lengths]
    chunks, expected = [], []
    for sequence_index, text in enumerate(texts):
        at, turn = 0, 0
        while at < len(text):
            step = steps[turn % len(steps)]
            chunks.append(RecordChunk(f"s{sequence_index}", at, text[at : at + step]))
            at, turn = at + step, turn + 1
        bounds = zip(*tile(len(text), longest, longest, end="flush"), strict=True)
        expected += [(sequence_index, f"s{sequence_index}", int(start), text[start:end]) for start, end in bounds]
    assert stretches(windows_of_chunks(chunks, longest)) == expected


def test_a_contig_is_never_held_as_a_whole():
    def chunks():
        for start in range(0, 10_000, 100):
            yield RecordChunk("s", start, b"ACGT" * 25)
            read.append(start)

    read: list[int] = []
    windows = windows_of_chunks(chunks(), 50)
    assert next(windows).start == 0 and len(read) <= 2
    assert len(list(windows)) == 199


def test_signals_are_cut_along_and_pairs_stay_whole(model_of):
    model, tokenizer = model_of("tracks")
    letters = np.full(90, ord("A"), np.uint8)
    signal = np.arange(90, dtype=np.float32)[:, None]
    examples = LabelledSequences("t", ["a"], [letters], tracks=np.ones((1, 1)), nt_tracks=[signal])
    rows = [window.row for window in windows_of_examples(examples, model, tokenizer)]
    assert [row["nt_tracks"][0, 0] for row in rows] == [0, 40, 50] and all(row["tracks"] == 1 for row in rows)
    pairs = LabelledSequences("t", ["a"], [letters], pairs=[letters[:50]])
    [window] = windows_of_examples(pairs, *model_of("pairs"))
    assert len(window.row["sequence"]) == 90 and len(window.row["pair"]) == 50


@pytest.mark.parametrize("kind", ["classes", "tracks", "pairs"])
def test_the_windows_of_the_other_strand_are_those_of_the_reverse_complements(model_of, draw, kind):
    (model, tokenizer), random = model_of(kind), np.random.default_rng(0)
    examples = as_examples(draw([7, 40, 41, 100, 80]))
    if kind == "tracks":
        signals = [random.random((len(letters), 1)).astype(np.float32) for letters in examples.sequences]
        examples = replace(examples, tracks=np.ones((5, 1), np.float32), nt_tracks=signals)
    if kind == "pairs":
        examples = replace(examples, pairs=examples.sequences[::-1])
    other = replace(
        examples,
        sequences=[reverse_complement(letters) for letters in examples.sequences],
        pairs=examples.pairs and [reverse_complement(letters) for letters in examples.pairs],
        nt_tracks=examples.nt_tracks and [np.flipud(signals) for signals in examples.nt_tracks],
    )
    slow = [window for some in (examples, other) for window in windows_of_examples(some, model, tokenizer)]
    slow.sort(key=lambda window: window.sequence_index)  # stable: first the windows of one strand, then of the other
    windows = windows_of_examples(examples, model, tokenizer)
    found = list(with_other_strand(windows, longest_window(model.config, tokenizer)))
    assert [window[:3] for window in found] == [window[:3] for window in slow]
    for ours, theirs in zip(found, slow, strict=True):
        assert ours.row.keys() == theirs.row.keys()
        assert all(np.array_equal(ours.row[name], theirs.row[name]) for name in ours.row)


@pytest.mark.parametrize("kind", ["classes", "tracks", "pairs"])
def test_a_window_in_another_frame_lacks_its_first_letters_and_their_tracks(model_of, draw, kind):
    (model, tokenizer), random = model_of(kind), np.random.default_rng(0)
    examples = as_examples(draw([50, 9]))
    if kind == "tracks":
        signals = [random.random((len(letters), 1)).astype(np.float32) for letters in examples.sequences]
        examples = replace(examples, tracks=np.ones((2, 1), np.float32), nt_tracks=signals)
    if kind == "pairs":
        examples = replace(examples, pairs=examples.sequences[::-1])
    windows = list(windows_of_examples(examples, model, tokenizer))
    found = list(with_other_frames(iter(windows), 6, 2, shortest=3))
    assert found[::2] == windows and len(found) == 2 * len(windows)
    for window, other in zip(windows, found[1::2], strict=True):
        assert other.start == window.start + 3 and other.end == window.end
        assert other.row.keys() == window.row.keys()
        for name in ("sequence", "pair", "nt_tracks"):
            assert name not in window.row or np.array_equal(other.row[name], window.row[name][3:])
        assert np.array_equal(other.row.get("tracks", []), window.row.get("tracks", []))


def test_a_pair_that_does_not_fit_is_named():
    letters = np.full(40, ord("A"), np.uint8)
    pair = LabelledSequences("t.csv", ["first"], [letters], pairs=[letters])
    check_pairs(pair, KmerTokenizer(k=3), 79)
    with pytest.raises(InputError, match=r"t\.csv: pair first of 40 and 40 nt gives 79 tokens"):
        check_pairs(pair, KmerTokenizer(k=3), 78)


def test_the_longest_sequence_must_fit(model_of):
    tokenizer, config = KmerTokenizer(k=3), KmerBertConfig(k=3, max_position_embeddings=34)
    check_longest(as_examples(["A" * 34]), tokenizer, config)
    with pytest.raises(InputError, match=r"sequences: sequence 2: a length of 35 nt gives 35 tokens.*takes 34"):
        check_longest(as_examples(["A", "A" * 35]), tokenizer, config)
