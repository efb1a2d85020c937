"""Values that are refused before transformers reads them."""

from __future__ import annotations

import pytest
from small_verb import read_arguments

import hf_genomics
from hf_genomics import InputError


def test_deepspeed_is_refused_before_transformers_keeps_its_settings_for_the_process(monkeypatch):
    kept = []
    monkeypatch.setattr("transformers.integrations.deepspeed.set_hf_deepspeed_config", kept.append)
    with pytest.raises(InputError, match=r"trainer\.deepspeed"):
        read_arguments(hf_genomics.pretrain, ["--config", "pretrain.yaml", "--trainer.deepspeed", "x.json"])
    assert kept == []
