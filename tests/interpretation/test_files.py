"""Explanations survive an interruption, and their files are read back by independent readers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics import InputError
from hf_genomics.inference.windows import Window
from hf_genomics.interpretation.files import Placed, Records, mean_entropy, write_modisco, write_parquet, write_tracks
from hf_genomics.interpretation.scoring import Settings, explain_windows

SETTINGS = {"model": "m", "options": {"method": "ism"}}


@pytest.fixture
def explained(windows_for):
    """Explanations of windows by substitutions."""
    model, tokenizer, windows = windows_for("classes", [12, 9, 15])
    return list(explain_windows(model, tokenizer, windows, Settings("ism")))


def fill(folder, explained, resume=False):
    with Records(folder, SETTINGS, resume) as records:
        for one in explained[len(records) :]:
            records.add(one)
    return records


def test_explanations_are_read_back(tmp_path, explained):
    records = fill(tmp_path / "p", explained)
    for record, one in zip(records, explained, strict=True):
        np.testing.assert_allclose(record.scores, one.scores, rtol=1e-6)
        np.testing.assert_allclose(record.columns["letters"], one.columns["letters"], rtol=1e-5, atol=1e-7)
        assert record.dna.tobytes() == one.window.row["sequence"].tobytes()


@pytest.mark.parametrize("cut", [1, 40, 300])
@pytest.mark.parametrize("name", ["windows.jsonl", "scores", "letters"])
def test_a_run_that_was_killed_anywhere_is_continued(tmp_path, explained, name, cut):
    fill(tmp_path / "p", explained)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()}
    content = expected[name]
    (tmp_path / "p" / name).write_bytes(content[: max(0, len(content) - cut)])
    fill(tmp_path / "p", explained, resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()} == expected


def test_other_settings_are_refused_and_kept(tmp_path, explained):
    fill(tmp_path / "p", explained[:1])
    with pytest.raises(InputError, match="model"):
        Records(tmp_path / "p", SETTINGS | {"model": "other"}, resume=True)
    assert len(Records(tmp_path / "p", SETTINGS, resume=True)) == 1


def test_without_resume_a_run_starts_again(tmp_path, explained):
    fill(tmp_path / "p", explained)
    assert len(fill(tmp_path / "p", explained[:1])) == 1


def test_a_region_on_the_reverse_strand_is_turned_round(tmp_path, explained):
    one = explained[0]
    forward = fill(tmp_path / "f", [one._replace(window=one.window._replace(name="c:100-112(+)"))])
    reverse = fill(tmp_path / "r", [one._replace(window=one.window._replace(name="c:100-112(-)"))])
    [there], [back] = Placed(forward).stretches(), Placed(reverse).stretches()
    assert there.start == back.start == 100 and there.contig == back.contig == "c"
    np.testing.assert_array_equal(there.values[:, 1], back.values[::-1, 1])
    complement = {65: 84, 84: 65, 67: 71, 71: 67}
    assert back.values[::-1, 0].tolist() == [complement[int(code)] for code in there.values[:, 0]]
    np.testing.assert_array_equal(there.values[:, 2], back.values[::-1, 5])  # A here is T there


def test_tf_modisco_can_read_the_files(tmp_path, explained):
    records = fill(tmp_path / "p", explained)
    write_modisco(tmp_path, records)
    ohe, attr = (np.load(tmp_path / f"{name}.npz")["arr_0"] for name in ("ohe", "attr"))
    assert ohe.shape == attr.shape == (3, 4, 15) and ohe.dtype == np.float32
    for row, one in enumerate(explained):
        letters = one.window.row["sequence"].tobytes().decode()
        assert "".join("ACGT"[column] for column in ohe[row].argmax(0)[: len(letters)]) == letters
        assert ohe[row, :, len(letters) :].sum() == 0
        changes = one.columns["letters"]
        np.testing.assert_allclose(attr[row].T[: len(letters)], changes - changes.mean(1, keepdims=True), atol=1e-6)


def test_entropy_is_averaged_over_windows_and_only_attention_has_it(tmp_path, windows_for, explained):
    assert mean_entropy(fill(tmp_path / "p", explained)) is None
    model, tokenizer, windows = windows_for("classes", [12, 20])
    attended = list(explain_windows(model, tokenizer, windows, Settings("rollout")))
    found = mean_entropy(fill(tmp_path / "q", attended))
    np.testing.assert_allclose(found, np.mean([one.columns["entropy"] for one in attended], 0), rtol=1e-6)


class _Fixed:
    """An explanation of some nucleotides of one sequence, all with the same score."""

    def __init__(self, index, name, start, end, score):
        row = {"sequence": np.full(end - start, 65, np.uint8)}
        self.window = Window(index, name, start, row)
        self.scores, self.columns = np.full(end - start, score, float), {}
        self.target, self.value, self.base_value, self.special, self.error, self.steps = 0, 1.0, 0.0, 0.0, 0.0, 1


def test_facts_are_read_from_disk_one_by_one(tmp_path, explained):
    records = fill(tmp_path / "p", explained)
    assert [records.facts[row]["id"] for row in (0, 1, 2, -1)] == ["s0", "s1", "s2", "s2"]
    assert [facts["id"] for facts in records.facts] == ["s0", "s1", "s2"] and len(records.facts) == 3
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            records.facts[wrong]
    for number, record in enumerate(records):
        np.testing.assert_array_equal(record.scores, records.read(number).scores)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=6))
@settings(deadline=None, max_examples=15)
def test_windows_in_any_order_are_put_into_that_of_the_genome(tmp_path_factory, places):
    explained = [
        _Fixed(index, f"{contig}:{start}-{start + length}", 0, length, index)
        for index, (contig, start, length) in enumerate(places)
    ]
    placed = Placed(fill(tmp_path_factory.mktemp("places") / "p", explained))
    assert [region[:3] for region in placed.regions()] == [(c, start, start + length) for c, start, length in places]
    assert [placed.region(row) for row in range(len(places))] == list(placed.regions())
    expected: dict = {}
    for index, (contig, start, length) in enumerate(places):
        for position in range(start, start + length):
            expected.setdefault((contig, position), []).append(index)
    found, before = {}, ("", 0)
    for one in placed.stretches():
        assert one.contig != before[0] or one.start >= before[1]
        before = one.contig, one.end
        found |= {(one.contig, one.start + offset): score for offset, score in enumerate(one.values[:, 1])}
    assert found == {place: pytest.approx(np.mean(scores)) for place, scores in expected.items()}


def test_received_attention_is_a_column_and_a_track(tmp_path, windows_for):
    model, tokenizer, windows = windows_for("classes", [12, 60])
    attended = list(explain_windows(model, tokenizer, windows, Settings("attention")))
    assert all(len(one.columns["received"]) == len(one.scores) for one in attended)
    placed = Placed(fill(tmp_path / "p", attended))
    assert placed.columns == ["score", "received"]
    write_parquet(tmp_path / "x.parquet", placed)
    write_tracks(tmp_path, placed, {"s0": 12, "s1": 60})
    frame = pd.read_parquet(tmp_path / "x.parquet")
    first = frame[frame["contig"] == "s0"]["received"]
    np.testing.assert_allclose(first, attended[0].columns["received"], rtol=1e-6)
    rows = pd.read_csv(tmp_path / "received.bedgraph", sep="\t", names=["contig", "start", "end", "value"])
    assert (rows["end"] - rows["start"]).sum() == 72 and (tmp_path / "received.bw").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_windows(tmp_path):
    peaks = []
    for count in (50, 500):
        tracemalloc.start()
        with Records(tmp_path / f"{count}", SETTINGS, False) as records:
            for number in range(count):
                records.add(_Fixed(0, "c", 10 * number, 10 * number + 10, 1.0))
        placed = Placed(records)
        assert sum(len(one.values) for one in placed.stretches()) == 10 * count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 20_000
