"""Explanations survive an interruption, and their files are read back by independent readers."""

from __future__ import annotations

import numpy as np
import pytest

from hf_genomics import InputError
from hf_genomics.interpretation.files import Placed, Records, mean_entropy, write_modisco
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
