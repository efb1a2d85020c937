"""Weights that a checkpoint lacks are the same for all who load it, so adapters that were trained on them fit."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModel, AutoModelForSequenceClassification, set_seed

import hf_genomics
from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerBertForSequenceClassification, KmerBertModel

SIZES = {"k": 3, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
IDS = torch.randint(5, 69, (2, 12), generator=torch.Generator().manual_seed(0))
# Name of a head -> its class, the settings that bring new weights, and its inputs besides ids.
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        pooling: ("KmerBertForSequenceClassification", {"classifier_pooling": pooling})
        for pooling in ("cls", "mean", "max", "attention")
    },
    "tokens": ("KmerBertForTokenClassification", {"num_labels": 3}),
    "nucleotides": ("KmerBertForTokenClassification", {"labels_per": "nt"}),
    "concat": ("HierarchicalKmerBertForSequenceClassification", {}),
    "transformer": ("HierarchicalKmerBertForSequenceClassification", {"aggregation": "transformer"}),
    "fusion": ("FusionKmerBertForSequenceClassification", {"track_names": ["a"], "nt_track_names": ["b"]}),
    "encoder": ("KmerBertModel", {}),
    "masked": ("KmerBertForMaskedLM", {}),
}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """The folder of a pretrained model."""
    folder = tmp_path_factory.mktemp("pretrained")
    KmerBertForMaskedLM(KmerBertConfig(**SIZES, max_position_embeddings=64)).save_pretrained(folder)
    return folder


def load(head: str, folder: Path, **options: Any) -> Any:
    """Load a head on a pretrained encoder."""
    name, settings = HEADS[head]
    kind = getattr(hf_genomics, name)
    config = kind.config_class(**SIZES, max_position_embeddings=64, **settings)
    return kind.from_pretrained(folder, config=config, **options).eval()


def inputs_of(head: str) -> dict[str, torch.Tensor]:
    if head in ("concat", "transformer"):
        return {"input_ids": IDS[None]}
    if head == "fusion":
        return {"input_ids": IDS, "tracks": torch.ones(2, 1), "nt_tracks": torch.ones(2, 30, 1)}
    return {"input_ids": IDS}


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    others = dict(second.named_parameters())
    return all(torch.equal(weight, others[name]) for name, weight in first.named_parameters())


@pytest.mark.parametrize("head", HEADS)
def test_a_folder_that_is_loaded_twice_gives_one_model_and_leaves_random_numbers_alone(head: str, pretrained) -> None:
    set_seed(1)
    expected = torch.rand(3)
    set_seed(1)
    first = load(head, pretrained)
    assert torch.equal(torch.rand(3), expected)
    set_seed(2)
    assert equal(first, load(head, pretrained))


@pytest.mark.parametrize("head", ["attention", "transformer", "fusion", "nucleotides"])
def test_another_seed_gives_other_new_weights_and_the_same_encoder(head: str, pretrained) -> None:
    first, second = load(head, pretrained), load(head, pretrained, head_seed=1)
    different = {
        name for name, weight in first.named_parameters() if not torch.equal(weight, second.get_parameter(name))
    }
    assert different and not any(name.startswith("bert.e") for name in different)
    assert "classifier.weight" in different


def test_new_weights_do_not_depend_on_precision_or_shards(pretrained, tmp_path) -> None:
    whole = load("attention", pretrained)
    half = load("attention", pretrained, dtype=torch.bfloat16)
    assert torch.equal(half.bert.pooler.dense.weight, whole.bert.pooler.dense.weight.bfloat16())
    KmerBertForMaskedLM.from_pretrained(pretrained).save_pretrained(tmp_path, max_shard_size="10kB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert equal(whole, load("attention", tmp_path))


def test_new_weights_are_distributed_as_those_of_a_new_model(pretrained) -> None:
    model = load("mean", pretrained)
    assert 0.015 < model.bert.pooler.dense.weight.std() < 0.025
    assert not model.bert.pooler.dense.bias.any() and not model.classifier.bias.any()


def test_encoder_and_classifier_get_the_same_pooler(pretrained) -> None:
    assert torch.equal(
        AutoModel.from_pretrained(pretrained).pooler.dense.weight, load("cls", pretrained).bert.pooler.dense.weight
    )


def test_new_models_follow_the_global_seed() -> None:
    def build(seed: int) -> KmerBertForSequenceClassification:
        set_seed(seed)
        return KmerBertForSequenceClassification(KmerBertConfig(**SIZES))

    assert equal(build(1), build(1)) and not equal(build(1), build(2))
    assert not torch.equal(build(1).classifier.weight, build(2).classifier.weight)


def test_a_head_of_another_size_is_new_in_the_same_way(pretrained, tmp_path) -> None:
    load("cls", pretrained).save_pretrained(tmp_path)
    options = {"num_labels": 5, "ignore_mismatched_sizes": True}
    first, second = (AutoModelForSequenceClassification.from_pretrained(tmp_path, **options) for _ in range(2))
    assert first.classifier.weight.shape == (5, 32) and equal(first, second)


def test_attention_pooling_loads_weights_under_their_former_name(pretrained, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    model = load("attention", pretrained, head_seed=5)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    former = {name.replace("pooler.attention.", "pooler.score."): weight for name, weight in weights.items()}
    assert former.keys() != weights.keys()
    save_file(former, tmp_path / "model.safetensors", {"format": "pt"})
    assert equal(model, KmerBertForSequenceClassification.from_pretrained(tmp_path))


# Adapters.


def tuned(model: Any, settings: Any) -> Any:
    """Give a model an adapter, and change all that it trains."""
    import peft

    model = peft.get_peft_model(model, settings).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


LOADED = ("cls", "mean", "max", "attention", "tokens", "nucleotides", "concat", "transformer", "fusion", "masked")
TASKS = {"KmerBertForTokenClassification": "TOKEN_CLS", "KmerBertForMaskedLM": None}
# Loads what another process has trained: base model and adapter, by several routes.
ELSEWHERE = """
import json, sys, torch, peft, transformers, hf_genomics
transformers.logging.set_verbosity_error()
torch.rand(7)
for name, kind, settings, folder, adapter, inputs in json.loads(sys.argv[1]):
    kind = getattr(hf_genomics, kind)
    config = kind.config_class(**settings)
    base = kind.from_pretrained(folder, config=config)
    model = peft.PeftModel.from_pretrained(base, adapter).eval()
    with torch.no_grad():
        found = next(iter(model(**torch.load(inputs, weights_only=True)).values()))
        merged = next(iter(model.merge_and_unload()(**torch.load(inputs, weights_only=True)).values()))
    torch.save([found, merged], adapter + "/found.pt")
"""


@pytest.mark.slow
def test_adapters_give_the_same_logits_in_another_process_for_every_head_and_pooling(pretrained, tmp_path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `lora`")
    jobs, expected = [], {}
    for head in LOADED:
        kind, settings = HEADS[head]
        for task in {None, TASKS.get(kind, "SEQ_CLS")}:
            adapter = tmp_path / f"{head}_{task}"
            model = tuned(load(head, pretrained), peft.LoraConfig(task_type=task))
            with torch.no_grad():
                expected[str(adapter)] = next(iter(model(**inputs_of(head)).values()))
            model.save_pretrained(adapter)
            torch.save(inputs_of(head), adapter / "inputs.pt")
            settings = {**SIZES, "max_position_embeddings": 64, **settings}
            jobs.append((head, kind, settings, str(pretrained), str(adapter), str(adapter / "inputs.pt")))
    environment = os.environ | {"PYTHONPATH": str(Path(hf_genomics.__file__).parents[1])}
    command = [sys.executable, "-c", ELSEWHERE, json.dumps(jobs)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    for adapter, logits in expected.items():
        found, merged = torch.load(f"{adapter}/found.pt", weights_only=True)
        assert torch.equal(found, logits), adapter
        assert torch.allclose(merged, logits, atol=1e-5), adapter


@pytest.mark.parametrize("pooling", ["cls", "attention"])
@pytest.mark.parametrize("modules_to_save", [None, ["pooler"], ["pooler", "classifier"]], ids=str)
def test_peft_needs_no_settings_of_ours(pooling: str, modules_to_save, pretrained, tmp_path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `lora`")

    def base() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(pretrained, classifier_pooling=pooling)

    kept = copy.copy(modules_to_save)  # peft appends to the list
    model = tuned(base(), peft.LoraConfig(task_type="SEQ_CLS", modules_to_save=kept))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert any("query.lora_A" in name for name in trained) and any("classifier." in name for name in trained)
    assert any("pooler." in name for name in trained) == (modules_to_save is not None)
    expected = model(IDS).logits
    model.save_pretrained(tmp_path)
    assert torch.equal(peft.PeftModel.from_pretrained(base(), tmp_path).eval()(IDS).logits, expected)
    by_transformers = AutoModelForSequenceClassification.from_pretrained(tmp_path, classifier_pooling=pooling)
    assert torch.equal(by_transformers.eval()(IDS).logits, expected)
    if pooling == "cls":
        auto = peft.AutoPeftModelForSequenceClassification.from_pretrained(tmp_path)
        assert torch.equal(auto.eval()(IDS).logits, expected)


@pytest.mark.parametrize("kind", ["LoraConfig", "IA3Config", "LoHaConfig", "PromptTuningConfig"])
def test_other_adapters_know_our_models_too(kind: str, pretrained, tmp_path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `lora`")
    options = {"num_virtual_tokens": 2} if kind == "PromptTuningConfig" else {}
    base = load("cls", pretrained)
    model = tuned(base, getattr(peft, kind)(task_type="SEQ_CLS", **options))
    expected = model(IDS).logits
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(load("cls", pretrained), tmp_path).eval()
    assert torch.equal(again(IDS).logits, expected)


@pytest.mark.parametrize("adapter_name", ["default", "virus"])
def test_transformers_loads_the_trained_magnitudes_of_dora(adapter_name: str, pretrained, tmp_path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `lora`")
    base = AutoModelForSequenceClassification.from_pretrained(pretrained)
    model = tuned(base, peft.LoraConfig(task_type="SEQ_CLS", use_dora=True))
    magnitudes = [weight for name, weight in model.named_parameters() if "magnitude" in name]
    assert magnitudes
    with torch.no_grad():
        for weight in magnitudes:
            weight.mul_(1.5)
    expected = model(IDS).logits
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, adapter_name=adapter_name)
    assert torch.equal(again.eval()(IDS).logits, expected)


def test_transformers_adds_saves_and_loads_an_adapter(pretrained, tmp_path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `lora`")
    model = load("mean", pretrained)
    model.add_adapter(peft.LoraConfig(init_lora_weights=False))
    model.save_pretrained(tmp_path)
    again = load("mean", pretrained)
    again.load_adapter(tmp_path)
    assert torch.equal(again.eval()(IDS).logits, model.eval()(IDS).logits)


def test_peft_asks_for_attentions_as_the_configuration_says(pretrained) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `lora`")
    base = load("cls", pretrained, attn_implementation="eager")
    base.config.output_attentions = True
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="SEQ_CLS"))
    assert len(model(IDS).attentions) == 1


def test_the_encoder_alone_keeps_its_class() -> None:
    assert transformers.AutoModel.from_config(KmerBertConfig(**SIZES)).__class__ is KmerBertModel
