"""The fence: private methods of the Trainer are overridden in one file, which hands over to public ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer

from hf_genomics.runs.exact_trainer import ExactTrainer
from hf_genomics.runs.trainer_fence import FencedTrainer
from hf_genomics.training.masked_trainer import MaskedTrainer


def private_overrides(kind):
    return {
        name for name in vars(kind) if name.startswith("_") and not name.startswith("__") and hasattr(Trainer, name)
    }


def test_private_methods_of_the_trainer_are_overridden_inside_the_fence_only():
    assert private_overrides(ExactTrainer) == private_overrides(MaskedTrainer) == set()
    assert len(private_overrides(FencedTrainer)) == 8


def test_every_gate_of_the_fence_leads_somewhere():
    gates = {
        name for name in vars(FencedTrainer) if not name.startswith("_") and callable(getattr(FencedTrainer, name))
    }
    assert len(gates) == 5 and gates <= set(vars(ExactTrainer))
    fenced = FencedTrainer.__new__(FencedTrainer)
    for call in (
        lambda: fenced._save_checkpoint(None, None),
        lambda: fenced._load_rng_state("checkpoint-1"),
        lambda: fenced._issue_warnings_after_load(SimpleNamespace(missing_keys=[], unexpected_keys=[])),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_nothing_is_restored_without_a_checkpoint():
    FencedTrainer.__new__(FencedTrainer)._load_rng_state(None)


def test_a_run_that_has_all_its_steps_takes_no_more():
    fenced = FencedTrainer.__new__(FencedTrainer)
    fenced.state, fenced.control = SimpleNamespace(global_step=8, max_steps=8), SimpleNamespace()
    fenced._run_epoch()
    assert fenced.control.should_training_stop


def test_the_gradient_norm_is_noted_and_passed_on(monkeypatch):
    noted, norm = [], torch.tensor(3.0)
    monkeypatch.setattr(Trainer, "_get_grad_norm", lambda self, model, grad_norm=None: norm)
    monkeypatch.setattr(FencedTrainer, "note_gradient_norm", lambda self, norm: noted.append(norm))
    fenced = FencedTrainer.__new__(FencedTrainer)
    assert fenced._get_grad_norm(None) is norm and noted == [norm]
    sharded = SimpleNamespace(full_tensor=lambda: norm)
    monkeypatch.setattr(Trainer, "_get_grad_norm", lambda self, model, grad_norm=None: sharded)
    assert fenced._get_grad_norm(None) is norm
