"""Options of the head: what is refused at once, by which key, and the keys of version 0.1."""

from __future__ import annotations

import pytest

from hf_genomics.errors import InputError
from hf_genomics.finetuning.head import FLAT_KEYS, NEW_KEYS, Head


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_parts", 0),
        ("rc_probability", -0.1),
        ("rc_probability", 1.5),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("focal_gamma", -1.0),
        ("focal_gamma", float("inf")),
        ("focal_gamma", float("nan")),
        ("train", "last:0"),
        ("train", "last"),
        ("train", "heads"),
        ("lora_rank", 0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.1),
        ("early_stopping", 0),
    ],
)
def test_a_number_out_of_range_is_refused_by_key_and_value(key, value):
    with pytest.raises(InputError, match=rf"^head\.{key} .*{value}"):
        Head(**{key: value})


@pytest.mark.parametrize("options", [{"dropout": 0.0}, {"dropout": None}, {"rc_probability": 1.0}, {"num_parts": 1}])
def test_the_ends_of_a_range_are_allowed(options):
    assert Head(**options)


def test_sequences_are_cut_if_parts_or_their_length_are_given():
    assert not Head().cuts and Head(num_parts=2).cuts and Head(part_length=100).cuts


def test_every_option_had_a_flat_key_in_version_0_1():
    assert FLAT_KEYS["num_windows"] == "head.num_parts" and FLAT_KEYS["pooling"] == "head.pooling"
    assert {key.removeprefix("head.") for key in FLAT_KEYS.values()} == set(vars(Head())) - set(NEW_KEYS)


def test_the_number_of_trained_layers_follows_from_what_is_trained():
    assert [Head(train=train).trained_layers for train in ("head", "last:2", "all", "lora")] == [0, 2, None, None]
