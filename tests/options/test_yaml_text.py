"""A YAML text is checked before it is read."""

from __future__ import annotations

import time

import pytest
import yaml

from hf_genomics.options.yaml_text import check_unique, check_yaml


def test_the_keys_of_a_long_section_are_compared_at_once():
    text = [yaml.ScalarNode("tag:yaml.org,2002:str", f"key{number}") for number in range(9_000)]
    start = time.monotonic()
    check_unique(yaml.MappingNode("tag:yaml.org,2002:map", [(key, key) for key in text]))
    assert time.monotonic() - start < 1


def test_an_anchor_that_contains_itself_is_refused():
    with pytest.raises(ValueError, match="'x' contains itself"):
        check_yaml("a: &x {b: *x}")
