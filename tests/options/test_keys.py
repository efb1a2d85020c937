"""Keys of version 0.1."""

from __future__ import annotations

import re

from small_verb import START, Columns, Data, Head, fit, read_arguments

from hf_genomics.options.keys import former_keys


def test_old_keys_of_a_verb_and_of_its_sections_are_known():
    assert former_keys(fit) == {
        "num_windows": "head.num_parts",
        "pooling": "head.pooling",
        "class_weights": "head.class_weights",
        "packing": "storage",
        "data.label_column": "data.columns.label",
        "data.track_columns": "data.columns.tracks",
    }


def test_old_keys_on_the_line_work_with_one_line_each(warned):
    old = [
        "--num_windows",
        "2",
        "--data.label_column=class",
        "--data.track_columns",
        "a",
        "b",
        "--class_weights",
        "1",
        "2",
    ]
    seen = read_arguments(fit, [*START, *old, "--packing", "2bit"])
    assert seen["data"] == Data("t.csv", Columns("class", ["a", "b"])) and seen["storage"] == "2bit"
    assert seen["head"] == Head(2, [1.0, 2.0])
    assert [re.findall(r"'([\w.]+)'", line) for line in warned()] == [
        ["num_windows", "head.num_parts"],
        ["data.label_column", "data.columns.label"],
        ["data.track_columns", "data.columns.tracks"],
        ["class_weights", "head.class_weights"],
        ["packing", "storage"],
    ]
