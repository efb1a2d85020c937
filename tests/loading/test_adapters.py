"""Adapters of peft are models for predict and evaluate, and are merged by convert."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from small_models import change_json, saved_adapter, saved_model

from hf_genomics import KmerBertForSequenceClassification, convert
from hf_genomics.errors import InputError
from hf_genomics.loading.adapters import add_adapter, base_of
from hf_genomics.loading.models import load_classifier, load_config, load_merged

peft = pytest.importorskip("peft", reason="needs the extra `lora`")
IDS = torch.randint(5, 69, (2, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def adapter(tmp_path, monkeypatch) -> Path:
    """The folder of an adapter whose base model lies beside it."""
    monkeypatch.chdir(tmp_path)
    return saved_adapter(tmp_path)


def by_peft(adapter: Path) -> torch.Tensor:
    base = KmerBertForSequenceClassification.from_pretrained("base")
    return peft.PeftModel.from_pretrained(base, adapter).eval()(IDS).logits


def test_an_adapter_is_the_model_that_peft_makes_of_it(adapter) -> None:
    model, tokenizer = load_classifier(str(adapter))
    assert not model.training and tokenizer.k == 3
    logits = model(IDS).logits
    assert torch.equal(logits, by_peft(adapter))
    plain = KmerBertForSequenceClassification.from_pretrained("base").eval()
    assert not torch.equal(logits, plain(IDS).logits)


def test_a_merged_adapter_is_a_plain_model_with_nearly_the_same_logits(adapter) -> None:
    assert torch.allclose(load_merged(str(adapter))[0].eval()(IDS).logits, by_peft(adapter), atol=1e-5)
    assert convert(str(adapter), "merged")["class"] == "KmerBertForSequenceClassification"
    assert base_of("merged") is None
    model, tokenizer = load_classifier("merged")
    assert torch.allclose(model(IDS).logits, by_peft(adapter), atol=1e-5)
    assert tokenizer.model_max_length == model.config.max_position_embeddings == 64


def test_an_adapter_of_an_encoder_needs_the_settings_of_its_head(adapter) -> None:
    config = load_config("base")
    shutil.rmtree("base")
    encoder = saved_model(Path.cwd(), "base", "KmerBertForMaskedLM")
    change_json(adapter / "adapter_config.json", task_type="SEQ_CLS")
    with pytest.raises(InputError, match="settings of the head"):
        load_classifier(str(adapter))
    config.classifier_pooling = "mean"
    config.save_pretrained(adapter)
    assert load_classifier(str(adapter))[0].config.classifier_pooling == "mean"
    assert base_of(str(encoder)) is None


def test_a_package_that_is_missing_is_named(adapter, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"peft.*pip install 'hf_genomics\[lora\]'"):
        base_of(str(adapter))


def test_a_base_on_the_hub_is_looked_for_there(adapter) -> None:
    settings = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": "user/model"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    assert base_of(str(adapter)) == "user/model"


def test_a_full_memory_is_not_called_an_adapter_that_does_not_fit(adapter, monkeypatch) -> None:
    def load_adapter(model: object, name: str) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(KmerBertForSequenceClassification, "load_adapter", load_adapter)
    with pytest.raises(torch.OutOfMemoryError):
        add_adapter(KmerBertForSequenceClassification.from_pretrained("base"), str(adapter))


@pytest.mark.parametrize(("kind", "key"), [("LORA", "r"), ("LOHA", "r"), ("ADALORA", "init_r")])
def test_the_rank_that_peft_allocates_is_checked_first(adapter, kind: str, key: str) -> None:
    change_json(adapter / "adapter_config.json", **{"peft_type": kind, key: 10**9})
    with pytest.raises(InputError, match=f"rank 1000000000 of '?{key}"):
        load_classifier(str(adapter))
    change_json(adapter / "adapter_config.json", **{key: "many"})
    with pytest.raises(InputError, match=f"'{key}' cannot be"):
        load_classifier(str(adapter))
