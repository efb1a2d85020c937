"""Fallbacks for transformers' undocumented names: without those names, models compute the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import hf_genomics as hg
from hf_genomics import compat
from hf_genomics.compat import _NAMES

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}

# Runs `everything` where the modules with these names do not exist, as far as compat.py can see.
WITHOUT = """
import importlib, sys

find = importlib.import_module

def import_module(name, package=None):
    if name in sys.argv[2].split():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return find(name, package)

importlib.import_module = import_module
import hf_genomics.modeling_kmer_bert as modeling
import torch
from test_compat import everything

for name in ("capture_outputs", "can_return_tuple", "is_tracing", "GradientCheckpointingLayer"):
    assert getattr(modeling, name).__module__ == "hf_genomics.compat", name
torch.save(everything(), sys.argv[1])
"""


def everything() -> dict[str, Tensor]:
    """Compute what a model of each backend starts with, returns, and learns with checkpointed layers."""
    found = {}
    for backend in ("eager", "sdpa"):
        torch.manual_seed(0)
        config = hg.KmerBertConfig(k=3, **SIZES, hidden_dropout_prob=0, attention_probs_dropout_prob=0, num_labels=3)
        model = hg.KmerBertForSequenceClassification._from_config(config, attn_implementation=backend)
        ids = torch.arange(5, 35).view(2, 15)
        mask = (torch.arange(15) < torch.tensor([[15], [9]])).long()
        model.gradient_checkpointing_enable()
        loss, *_ = model.train()(ids, mask, labels=torch.tensor([0, 2]), return_dict=False)
        loss.backward()
        outputs = model.eval()(ids, mask, output_hidden_states=True, output_attentions=True)
        parts = {"loss": loss, "logits": outputs.logits}
        parts |= {f"state {number}": state for number, state in enumerate(outputs.hidden_states)}
        parts |= {f"attention {number}": weights for number, weights in enumerate(outputs.attentions)}
        parts |= {f"weight {name}": weight for name, weight in model.named_parameters()}
        parts |= {f"gradient {name}": weight.grad for name, weight in model.named_parameters()}
        found |= {f"{backend} {name}": part.detach() for name, part in parts.items()}
    return found


@pytest.mark.slow
def test_without_its_names_models_start_compute_and_learn_the_same(tmp_path: Path, repo_root: Path) -> None:
    modules = " ".join(sorted({f"transformers.{entry.module}" for entry in _NAMES.values()}))
    paths = [str(repo_root), str(repo_root / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "found.pt"), modules],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found, expected = torch.load(tmp_path / "found.pt"), everything()
    assert list(found) == list(expected)
    for name, part in expected.items():
        assert torch.allclose(found[name], part, atol=1e-6), name


@pytest.mark.parametrize("name", _NAMES)
def test_each_name_is_transformers_own_where_it_exists(name: str) -> None:
    assert getattr(compat, name) is not _NAMES[name].fallback


def test_a_vanished_name_is_replaced_and_a_missing_library_is_not_hidden(monkeypatch) -> None:
    monkeypatch.setattr(compat, "import_module", lambda _: SimpleNamespace())
    assert compat.can_return_tuple is _NAMES["can_return_tuple"].fallback

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name="safetensors")

    monkeypatch.setattr(compat, "import_module", missing)
    with pytest.raises(ModuleNotFoundError):
        compat.can_return_tuple  # noqa: B018 (the access is the test)
    with pytest.raises(AttributeError, match="nothing"):
        compat.nothing  # noqa: B018


def test_a_recorded_graph_is_noticed() -> None:
    is_tracing = _NAMES["is_tracing"].fallback
    with FakeTensorMode():
        assert is_tracing(torch.zeros(2))
    assert not is_tracing(torch.zeros(2)) and not is_tracing()
    answers = []
    torch.compile(lambda x: answers.append(is_tracing(x)) or x + 1, backend="eager")(torch.zeros(2))
    assert answers == [True]


def test_backends_are_known_by_name() -> None:
    flash = _NAMES["is_flash_attention_requested"].fallback
    assert flash(SimpleNamespace(_attn_implementation="flash_attention_3"))
    assert not flash(SimpleNamespace(_attn_implementation="sdpa")) and not flash(SimpleNamespace())
    with pytest.raises(ValueError, match="flex_attention.*sdpa"):
        _NAMES["ALL_ATTENTION_FUNCTIONS"].fallback.get_interface("flex_attention", print)
