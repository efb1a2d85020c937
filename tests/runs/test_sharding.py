"""Models sharded over processes: weights are gathered whole and sharded again, and runs end as they should."""

from __future__ import annotations

import shutil

import pytest
import torch
from tiny_runs import outcome
from transformers import TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
from hf_genomics.runs.sharding import (
    is_sharded,
    one_group_of_tied_weights,
    shard,
    shard_optimizer,
    unshard,
    unshard_optimizer,
)


def small_model(seed):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return KmerBertForMaskedLM(KmerBertConfig(k=3, **sizes))


def trained(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return optimizer


def test_weights_and_optimizer_go_out_and_back_and_tied_weights_go_once():
    """One process suffices: torch's functions do the same for whole and for sharded models."""
    one, other = small_model(0), small_model(1)
    optimizer, second = trained(one), trained(other)
    weights = unshard(one)
    assert set(one.state_dict()) - set(weights) == set(one.all_tied_weights_keys) != set()
    result = shard(other, weights)
    assert set(result.missing_keys) <= set(one.all_tied_weights_keys) and not result.unexpected_keys
    assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())
    shard_optimizer(other, second, unshard_optimizer(one, optimizer))
    moments, restored = (list(each.state.values()) for each in (optimizer, second))
    assert len(moments) > 5
    for before, after in zip(moments, restored, strict=True):
        assert all(torch.equal(before[name], after[name]) for name in ("exp_avg", "exp_avg_sq"))


def test_embeddings_are_hidden_from_accelerate_within_the_block_only():
    model = small_model(0)
    with pytest.raises(ZeroDivisionError), one_group_of_tied_weights(model):
        assert model.get_input_embeddings() is model.get_output_embeddings() is None
        raise ZeroDivisionError
    assert model.get_input_embeddings() is not None and model.get_output_embeddings() is not None


def test_sharding_is_asked_for_by_an_option_or_by_the_launcher(tmp_path, monkeypatch):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)
    assert not is_sharded(arguments)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as accelerate launch sets it
    assert is_sharded(arguments) and not arguments.fsdp
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    arguments.fsdp = True
    assert is_sharded(arguments)


@pytest.mark.slow
def test_a_model_that_is_sharded_over_processes_learns_alike_and_resumes_exactly(start, tmp_path):
    """FSDP2 over gloo: each process holds half of every weight and of the optimizer's state."""
    options = {"per_device_train_batch_size": 2, "save_steps": 1, "job": {"fsdp": True}}
    for job in ({"fsdp": True}, {}):
        codes, text = start(f"still_{len(job)}", 2, **(options | {"job": job}), dropout=0.0)
        assert codes == [0, 0], text
    sharded, copied = (outcome(tmp_path / f"still_{len(job)}")["log"] for job in ({"fsdp": True}, {}))
    assert [entry.get("loss") for entry in sharded] == pytest.approx([entry.get("loss") for entry in copied], abs=1e-4)
    assert start("whole", 2, **options)[0] == [0, 0]
    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "out" / "checkpoint-3")
    codes, text = start("out", 2, resume=True, **options)
    assert codes == [0, 0], text
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")
    assert outcome(tmp_path / "out", "checkpoint-8") == outcome(tmp_path / "whole", "checkpoint-8")
