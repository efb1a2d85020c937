"""The processes of the study: what each is started with, and that finished cells keep their recipes."""

from __future__ import annotations

import pytest
import yaml
from tiny_study import write_model

from hf_genomics.errors import InputError
from hf_genomics.jobs.shared_work import check_unchanged
from hf_genomics.studies.scarcity_cells import CellOptions, StudyGrid, cell_recipe, cells_of
from hf_genomics.studies.scarcity_jobs import study_jobs


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("jobs")
    write_model(home)
    (home / "r.yaml").write_text("tokenizer: {k: 3}\n")
    return home


def jobs_of(home, folder, steps=2, **fields):
    """Return the jobs of a study with a model and a recipe."""
    setups = {"model": str(home / "model"), "recipe": str(home / "r.yaml")}
    grid = StudyGrid(setups, lengths=[40, 80], genomes=[4], seeds=[0, 1], ks=[2], **fields)
    options = [CellOptions({"trainer": {"max_steps": steps}})]
    recipes = {cell: cell_recipe(cell, options, "s", "phage") for cell in cells_of(grid, [4])}
    return study_jobs(grid, recipes, "s", folder)


def written(job):
    """Let a job write its recipe, and return its command and the recipe."""
    job.folder.mkdir(parents=True)
    return job.command(), yaml.safe_load((job.folder / "recipe.yaml").read_text())


def test_a_recipe_is_pretrained_once_or_once_per_seed(home, tmp_path):
    (only,), jobs = jobs_of(home, tmp_path)
    assert {job.needs for cell, job in jobs.items() if cell.setup == "recipe"} == {only}
    assert {job.needs for cell, job in jobs.items() if cell.setup != "recipe"} == {None}
    words = only.command()
    assert words[words.index("--data.train_split") + 1] == "train" and "--trainer.seed" not in words
    assert words[words.index("--config") + 1] == str(home / "r.yaml") and words[3] == "pretrain"
    several, jobs = jobs_of(home, tmp_path, pretraining_per_seed=True)
    assert [job.command()[-1] for job in several] == ["0", "1"]
    assert {(cell.seed, job.needs.folder.name) for cell, job in jobs.items() if job.needs} == {
        (0, "recipe-0"),
        (1, "recipe-1"),
    }


def test_a_cell_fine_tunes_its_model_in_its_folder_and_a_long_window_in_two_parts(home, tmp_path):
    _, jobs = jobs_of(home, tmp_path)
    for cell, job in jobs.items():
        if cell.setup == "model" and cell.seed == 0:
            command, recipe = written(job)
            assert command[1:4] == ["-m", "hf_genomics", "finetune"] and recipe["pretrained"] == str(home / "model")
            assert recipe["trainer"]["output_dir"] == str(tmp_path / "cells" / cell.name / "run") == str(job.run)
            assert recipe["head"]["num_parts"] == {40: 1, 80: 2}[cell.length]


def test_k_mers_need_no_model(home, tmp_path):
    _, jobs = jobs_of(home, tmp_path)
    (job,) = [job for cell, job in jobs.items() if cell.name == "40nt-4-kmers-1"]
    command, recipe = written(job)
    assert command[1:] == ["-m", "hf_genomics.studies.kmer_regression", str(job.folder / "recipe.yaml")]
    assert recipe.keys() == {"data", "positive", "ks", "seed", "output_dir"}
    assert (recipe["seed"], recipe["ks"]) == (1, [2])


def test_a_finished_cell_is_accepted_with_its_own_options_only(home, tmp_path):
    _, jobs = jobs_of(home, tmp_path / "study")
    cell, job = next((cell, job) for cell, job in jobs.items() if cell.setup == "model")
    written(job)
    check_unchanged(jobs_of(home, tmp_path / "study", steps=3)[1].values())  # it is not finished
    job.run.mkdir()
    (job.run / "metrics.json").write_text("{}")
    check_unchanged(jobs.values())
    (tmp_path / "study").rename(tmp_path / "moved")
    check_unchanged(jobs_of(home, tmp_path / "moved")[1].values())
    with pytest.raises(InputError, match=rf"{cell.name}: trainer\.max_steps was 2 .* is 3 now"):
        check_unchanged(jobs_of(home, tmp_path / "moved", steps=3)[1].values())
