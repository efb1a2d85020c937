"""A folder with a recipe for each test of options, and what a verb would be called with."""

from __future__ import annotations

import functools
import logging

import pytest

import hf_genomics
from hf_genomics.cli import main

PRETRAIN = """
data: {store: store, valid_windows: 4}
tokenizer: {k: 3}
model: {max_position_embeddings: 64, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2}
windows: {length: 60}
trainer: {output_dir: out, max_steps: 2, learning_rate: 4e-4, use_cpu: true, bf16: false}
"""


@pytest.fixture(autouse=True)
def recipe(work):
    """Every test works in its own folder, in which there is a recipe."""
    (work / "pretrain.yaml").write_text(PRETRAIN)


@pytest.fixture
def settings_of(monkeypatch):
    """Parse a command line, build its objects, and return what the verb's function would have been called with."""

    def call(verb, *words):
        verb_name, seen = verb.replace("-", "_"), {}
        function = getattr(hf_genomics, verb_name)
        monkeypatch.setattr(hf_genomics, verb_name, functools.wraps(function)(lambda **given: seen.update(given)))
        assert main([verb, *map(str, words)]) == 0
        return seen

    return call


@pytest.fixture
def warned(caplog):
    """Return the lines that were logged as warnings."""
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
