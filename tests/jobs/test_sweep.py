"""A sweep: its cells, the choice of the best, and what was left by runs before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerState

from hf_genomics.errors import InputError
from hf_genomics.jobs import sweep as module
from hf_genomics.jobs.sweep import Cell, CellScore, best_of, cells_of, clear_cells, grid_of, table_of, waiting_for
from hf_genomics.runs.output_folder import locked

GRIDS = st.dictionaries(
    st.sampled_from(["pretrained", "trainer.seed", "head.seed", "head.train"]),
    st.lists(st.integers(0, 99) | st.text(max_size=9), min_size=1, max_size=3, unique_by=str),
    min_size=1,
)


@given(GRIDS)
def test_every_combination_has_a_folder_of_its_own(values):
    grid = grid_of(values, [*values])
    cells = cells_of(grid)
    assert len({cell.name for cell in cells}) == len(cells) == np.prod([len(each) for each in values.values()])
    assert all("/" not in cell.name and cell.name[0] not in ".-" and len(cell.name) < 100 for cell in cells)
    assert all([*cell.options] == [*grid] for cell in cells)


def scored(*scores):
    cells = [Cell(str(number), {"trainer.seed": number}) for number in range(len(scores))]
    return [
        CellScore(cell, Path("out", "sweep", cell.name, "run"), score, 1)
        for cell, score in zip(cells, scores, strict=True)
    ]


def test_runs_that_all_diverged_have_no_best():
    with pytest.raises(InputError, match="out: every run diverged"):
        best_of(scored(None, None), larger_is_better=True)


@given(st.lists(st.none() | st.floats(0, 1), min_size=1).filter(any), st.booleans())
def test_the_first_of_the_best_is_chosen(values, larger):
    known = [value for value in values if value is not None]
    best = best_of(scored(*values), larger)
    assert values.index(max(known) if larger else min(known)) == int(best.cell.name)
    _, rows = table_of(scored(*values), best, "f1")
    assert len(rows) == len(values)


@pytest.mark.parametrize("best", [-np.inf, np.inf])
def test_a_run_whose_score_was_never_a_number_is_not_the_best(best, tmp_path, monkeypatch):
    """The Trainer keeps the infinite score that it begins with if every evaluation gives NaN."""
    for name, score in (("0", best), ("1", 0.4)):
        folder = tmp_path / "sweep" / name / "run"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text("{}")
        TrainerState(best_metric=score, global_step=2).save_to_json(str(folder / "trainer_state.json"))
    monkeypatch.setattr(module, "check_unchanged", lambda *_, **__: None)  # there are no recipes
    cells = [Cell(name, {"trainer.seed": int(name)}) for name in "01"]
    scores = module.run_sweep(tmp_path, cells, {}, "spearman")
    assert [one.score for one in scores] == [None, 0.4]
    assert best_of(scores, larger_is_better=best < 0).cell.name == "1"
    with pytest.raises(InputError, match="metric_for_best_model"):
        best_of(scores[:1], larger_is_better=True)


def test_finished_runs_of_a_table_that_has_changed_since_are_not_used(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("sequence,label\nACGT,a\n")
    recipe = {"data": {"train": str(table), "valid": None}}
    for _ in range(2):
        assert module.run_sweep(tmp_path / "out", [], recipe, "f1") == []
    table.write_text("sequence,label\nACGT,b\n")
    with pytest.raises(InputError, match=r"t\.csv \(data\.train\) has changed"):
        module.run_sweep(tmp_path / "out", [], recipe, "f1")
    clear_cells(tmp_path / "out" / "sweep")
    assert module.run_sweep(tmp_path / "out", [], recipe, "f1") == []


def test_finished_runs_of_a_base_model_that_has_changed_since_are_not_used(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
    record = tmp_path / "sweep" / "tables.json"
    record.parent.mkdir()
    module._check_inputs(record, {}, [str(tmp_path / "a"), None, "user/of-the-hub"])
    module._check_inputs(record, {}, [str(tmp_path / "a"), str(tmp_path / "b")])  # another one joins the sweep
    (tmp_path / "a" / "model.safetensors").write_text("other weights")
    module._check_inputs(record, {}, [str(tmp_path / "b")])
    with pytest.raises(InputError, match=r"a \(pretrained\) has changed"):
        module._check_inputs(record, {}, [str(tmp_path / "a")])


def test_a_locked_cell_is_not_deleted_and_a_lock_is_waited_for(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / "sweep" / name).mkdir(parents=True)
    with monkeypatch.context() as patch, pytest.raises(InputError, match="another process"):
        patch.setattr(module, "locked", _held)
        clear_cells(tmp_path / "sweep")
    assert (tmp_path / "sweep" / "a").exists()
    clear_cells(tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
    tries = []
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setattr(
        module, "locked", lambda folder: tries.append(folder) or (_held if len(tries) < 3 else locked)(folder)
    )
    with waiting_for(tmp_path):
        assert len(tries) == 3 and (tmp_path / ".lock").exists()


def _held(folder):
    raise InputError(f"{folder}: another process is writing to it")


def test_a_copy_of_a_run_begins_with_the_settings_that_mark_it_as_a_runs_own(tmp_path, monkeypatch):
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    for name in ("config.json", "metrics.json", "model.safetensors", "settings.json"):
        (run / name).write_text(name)
    copied = []
    monkeypatch.setattr(
        module.shutil, "copyfile", lambda source, target: (copied.append(source.name), target.write_text(source.name))
    )
    module.copy_run(run, out)
    assert copied == ["settings.json", "config.json", "model.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == sorted(copied)
