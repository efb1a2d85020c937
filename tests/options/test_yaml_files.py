"""YAML files: sections, dictionaries, and former keys."""

from __future__ import annotations

import pytest
from small_verb import START, Columns, Data, Head, fit, read_arguments

from hf_genomics import InputError


def test_sections_inside_sections_are_set_on_the_line_and_in_yaml(work):
    (work / "x.yaml").write_text(
        "data: {train: t.csv, columns: {label: class, tracks: [a, b]}}\nhead: {num_parts: 2}\n"
    )
    start = ["--pretrained", "m", "--trainer.output_dir", "out"]
    yaml = read_arguments(fit, [*start, "--config", "x.yaml"])
    line = [*start, "--data.train", "t.csv", "--data.columns.label", "class", "--data.columns.tracks", "a", "b"]
    words = read_arguments(fit, [*line, "--head.num_parts", "2"])
    assert (yaml["data"], yaml["head"]) == (words["data"], words["head"])
    assert words["data"] == Data("t.csv", Columns("class", ["a", "b"])) and words["head"] == Head(2)


def test_a_section_may_be_a_file_of_its_own_or_written_in_braces(work):
    (work / "head.yaml").write_text("num_parts: 2\npooling: mean\n")
    for value in ("head.yaml", "{num_parts: 2, pooling: mean}"):
        assert read_arguments(fit, [*START, "--head", value])["head"] == Head(2, pooling="mean")


def test_an_empty_section_changes_nothing_and_an_unknown_one_is_an_error(work):
    (work / "x.yaml").write_text("head: {}\n")
    assert read_arguments(fit, [*START, "--config", "x.yaml"])["head"] == Head()
    (work / "x.yaml").write_text("heads: {}\n")
    with pytest.raises(InputError, match="x.yaml: unknown key 'heads'"):
        read_arguments(fit, [*START, "--config", "x.yaml"])


def test_strings_and_dictionaries_of_a_yaml_file_stay_what_they_are(settings_of, work):
    (work / "x.yaml").write_text(
        'trainer: {run_name: "5", lr_scheduler_kwargs: {min_lr: 1e-5}}\nmasking: {schedule: {5: 0.1}}\n'
    )
    seen = settings_of("pretrain", "--config", "pretrain.yaml", "--config", "x.yaml")
    assert (seen["trainer"].run_name, seen["trainer"].lr_scheduler_kwargs) == ("5", {"min_lr": 1e-5})
    assert seen["masking"].schedule == {5: 0.1}


def test_a_long_yaml_file_is_read(settings_of, work):
    (work / "x.yaml").write_text("masking:\n  schedule:\n" + "".join(f"    {step}: 0.1\n" for step in range(1, 3000)))
    assert len(settings_of("pretrain", "--config", "pretrain.yaml", "--config", "x.yaml")["masking"].schedule) == 2999


def test_old_keys_in_yaml_work_with_one_line_each_and_the_line_wins(work, warned):
    (work / "old.yaml").write_text("num_windows: 2\npooling: mean\ndata: {label_column: class, track_columns: [a]}\n")
    seen = read_arguments(fit, [*START, "--config", "old.yaml", "--pooling", "max"])
    assert (seen["head"], seen["data"].columns) == (Head(2, pooling="max"), Columns("class", ["a"]))
    assert [line.split(":")[0] for line in warned()] == ["--pooling", *["old.yaml"] * 4]


def test_a_yaml_file_with_an_old_key_and_its_new_one_is_an_error(work):
    (work / "x.yaml").write_text("pooling: mean\nhead: {pooling: max}\n")
    with pytest.raises(InputError, match=r"x.yaml: 'pooling' and 'head.pooling' are the same"):
        read_arguments(fit, [*START, "--config", "x.yaml"])
