"""Models leave for torch.export, ONNX and peft, and run in transformers' pipelines on raw DNA."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import pipeline

from hf_genomics import (
    HierarchicalKmerBertConfig,
    HierarchicalKmerBertForSequenceClassification,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerBertModel,
    KmerTokenizer,
)

KINDS = (
    KmerBertModel,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
)
DNA = ["ACGTTGATTTNACCGGATATTACG", "ggattacagattacaacgt"]


def model_of(kind: type, config: KmerBertConfig) -> torch.nn.Module:
    """Build a model whose weights are far from their start."""
    torch.manual_seed(0)
    model = kind(copy.deepcopy(config)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def padded(rows: int, tokens: int) -> dict[str, Tensor]:
    """Draw ids and a padding mask."""
    generator = torch.Generator().manual_seed(tokens)
    lengths = torch.arange(tokens, tokens - 2 * rows, -2)
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    return {"input_ids": torch.randint(5, 69, (rows, tokens), generator=generator) * mask, "attention_mask": mask}


def dynamic() -> dict[str, dict]:
    """Say that batch and length may change."""
    size = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("tokens", min=3, max=64)}
    return {"input_ids": size, "attention_mask": size}


@pytest.mark.parametrize(
    ("kind", "positions"),
    [
        (KmerBertForMaskedLM, "absolute"),
        (KmerBertForSequenceClassification, "rotary"),
        pytest.param(KmerBertModel, "absolute", marks=pytest.mark.slow),
        pytest.param(KmerBertForTokenClassification, "absolute", marks=pytest.mark.slow),
    ],
)
def test_an_exported_model_takes_any_batch_and_length(kind: type, positions: str, tiny_config) -> None:
    tiny_config.position_embedding_type = positions
    model = model_of(kind, tiny_config)
    with torch.no_grad():
        exported = torch.export.export(model, (), padded(2, 12), dynamic_shapes=dynamic(), strict=False).module()
        for rows, tokens in ((2, 12), (5, 31), (3, 64)):
            inputs = padded(rows, tokens)
            assert (exported(**inputs)[0] - model(**inputs)[0]).abs().max() < 1e-5


def test_an_exported_model_of_nucleotides_takes_rows_shorter_than_its_sliding_window(tiny_config) -> None:
    tiny_config.labels_per, tiny_config.sliding_window = "nt", 4
    model = model_of(KmerBertForTokenClassification, tiny_config)
    with torch.no_grad():
        exported = torch.export.export(model, (), padded(2, 12), dynamic_shapes=dynamic(), strict=False).module()
        for rows, tokens in ((1, 3), (5, 31)):
            inputs = padded(rows, tokens)
            expected = model(**inputs).logits
            found = exported(**inputs).logits[:, : expected.shape[1]]  # a graph gives all nt of so many tokens
            assert (found - expected).abs().max() < 1e-5


def windows(rows: int, count: int, tokens: int) -> dict[str, Tensor]:
    """Draw windows of sequences; the last sequence has one window alone."""
    inputs = {name: column.unflatten(0, (rows, count)) for name, column in padded(rows * count, tokens).items()}
    inputs["attention_mask"][-1, 1:] = 0
    return inputs


HIERARCHY = [
    pytest.param(aggregation, marks=[pytest.mark.slow] * (aggregation != "transformer"))
    for aggregation in ("concat", "mean", "max", "transformer")
]


def hierarchy_of(tiny_config: KmerBertConfig, aggregation: str) -> tuple[torch.nn.Module, dict[str, dict]]:
    """Build a hierarchy of the tiny size, and say that its batch, windows and length may change."""
    names = ("k", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    sizes = {name: getattr(tiny_config, name) for name in names}
    config = HierarchicalKmerBertConfig(**sizes, aggregation=aggregation, num_parts=3)
    size = {
        0: torch.export.Dim("batch", min=1, max=64),
        1: torch.export.Dim("windows", min=1, max=3),
        2: torch.export.Dim("tokens", min=3, max=64),
    }
    model = model_of(HierarchicalKmerBertForSequenceClassification, config)
    return model, {"input_ids": size, "attention_mask": size}


@pytest.mark.parametrize("aggregation", HIERARCHY)
def test_an_exported_hierarchy_takes_any_batch_windows_and_length(aggregation: str, tiny_config) -> None:
    model, sizes = hierarchy_of(tiny_config, aggregation)
    with torch.no_grad():
        exported = torch.export.export(model, (), windows(2, 2, 12), dynamic_shapes=sizes, strict=False).module()
        for shape in ((2, 2, 12), (1, 1, 3), (3, 3, 31)):
            inputs = windows(*shape)
            found, expected = exported(**inputs), model(**inputs)
            assert (found.logits - expected.logits).abs().max() < 1e-5
            assert (found.part_states - expected.part_states).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_gives_the_same_numbers(kind: type, tiny_config, tmp_path) -> None:
    check_onnx(model_of(kind, tiny_config), dynamic(), [padded(2, 12), padded(5, 31)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", ["concat", "transformer"])
def test_onnxruntime_gives_the_same_numbers_for_windows(aggregation: str, tiny_config, tmp_path) -> None:
    check_onnx(*hierarchy_of(tiny_config, aggregation), [windows(2, 2, 12), windows(3, 3, 31)], tmp_path)


def check_onnx(model: torch.nn.Module, sizes: dict[str, dict], batches: list[dict[str, Tensor]], tmp_path) -> None:
    """Export with the first batch, run with all, and compare what comes first."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    pytest.importorskip("onnxscript", reason="needs the extra `onnx`")
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        model, (), path, kwargs=batches[0], dynamic_shapes=sizes, dynamo=True, external_data=False, verbose=False
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for inputs in batches:
        found = session.run(None, {name: column.numpy() for name, column in inputs.items()})[0]
        with torch.no_grad():
            assert np.abs(found - model(**inputs)[0].numpy()).max() < 1e-4


@pytest.mark.filterwarnings("ignore:Could not find a config file")  # of peft 0.20
@pytest.mark.parametrize("kind", [KmerBertForMaskedLM, KmerBertForSequenceClassification])
def test_lora_trains_query_key_and_value_and_merges(kind: type, tiny_config, tmp_path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `lora`")
    torch.manual_seed(1)
    base, inputs = model_of(kind, tiny_config), padded(4, 12)
    before = base(**inputs).logits
    settings = peft.LoraConfig(r=4, target_modules=["query", "key", "value"], init_lora_weights=False)
    tuned = peft.get_peft_model(copy.deepcopy(base), settings)
    trained = [name for name, weight in tuned.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 3 * 2 and all("lora_" in name for name in trained)
    labels = inputs["input_ids"] if kind is KmerBertForMaskedLM else torch.tensor([0, 1, 0, 1])
    tuned(**inputs, labels=labels).loss.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in tuned.parameters() if weight.requires_grad)
    after = tuned.eval()(**inputs).logits
    assert (after - before).abs().max() > 1e-3
    tuned.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(base, tmp_path)
    assert (again(**inputs).logits - after).abs().max() < 1e-6
    assert (again.merge_and_unload()(**inputs).logits - after).abs().max() < 1e-5


def test_lora_of_a_pretrained_encoder_keeps_all_that_is_new_in_a_classifier(tiny_config, tmp_path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra `lora`")
    model_of(KmerBertForMaskedLM, tiny_config).save_pretrained(tmp_path / "pretrained")
    new, inputs = ["pooler", "classifier"], padded(4, 12)
    settings = peft.LoraConfig(r=4, target_modules=["query", "key", "value"], modules_to_save=new, task_type="SEQ_CLS")
    base = KmerBertForSequenceClassification.from_pretrained(tmp_path / "pretrained")
    tuned = peft.get_peft_model(base, settings).eval()
    expected = tuned(**inputs).logits
    tuned.save_pretrained(tmp_path / "tuned")
    again = KmerBertForSequenceClassification.from_pretrained(tmp_path / "pretrained")
    found = peft.PeftModel.from_pretrained(again, tmp_path / "tuned")(**inputs).logits
    assert (found - expected).abs().max() < 1e-6


# Pipelines.


@pytest.fixture
def tokenizer3() -> KmerTokenizer:
    return KmerTokenizer(k=3)


def test_fill_mask_takes_dna_with_a_mask_in_it(tokenizer3, tiny_config) -> None:
    model = model_of(KmerBertForMaskedLM, tiny_config)
    (best, *others) = pipeline("fill-mask", model, tokenizer=tokenizer3)("ACG CGT [MASK] TTG TGA", top_k=3)
    ids = tokenizer3("ACG CGT [MASK] TTG TGA", split_special_tokens=False, return_tensors="pt")["input_ids"]
    assert (ids == tokenizer3.mask_token_id).nonzero().tolist() == [[0, 3]]
    chances = model(ids).logits[0, 3].softmax(-1)
    assert best["token"] == chances.argmax() and best["score"] == pytest.approx(chances.max().item(), abs=1e-5)
    assert len(others) == 2 and best["token_str"] == tokenizer3.decode([best["token"]])


def test_text_classification_takes_dna(tokenizer3, tiny_config) -> None:
    tiny_config.id2label = {0: "other", 1: "phage"}
    model = model_of(KmerBertForSequenceClassification, tiny_config)
    results = pipeline("text-classification", model, tokenizer=tokenizer3, batch_size=2)(DNA, top_k=None)
    chances = model(**tokenizer3(DNA, padding=True, return_tensors="pt")).logits.softmax(-1)
    for row, expected in zip(results, chances.tolist(), strict=True):
        assert {cell["label"]: pytest.approx(cell["score"], abs=1e-5) for cell in row} == {
            "other": expected[0],
            "phage": expected[1],
        }


def test_token_classification_takes_dna_and_says_where_in_it(tokenizer3, tiny_config) -> None:
    tiny_config.id2label = {0: "intron", 1: "exon"}
    model = model_of(KmerBertForTokenClassification, tiny_config)
    classify = pipeline("token-classification", model, tokenizer=tokenizer3, ignore_labels=[])
    found = classify(DNA[0])
    logits = model(**tokenizer3(DNA[0], return_tensors="pt")).logits[0, 1:-1]
    assert [cell["entity"] for cell in found] == [tiny_config.id2label[i] for i in logits.argmax(-1).tolist()]
    # The pipeline asks only tokenizers written in Rust for places in the text; others may be asked by hand.
    assert [cell["index"] for cell in found] == list(range(1, len(DNA[0]) - 1))
    places = tokenizer3(DNA[0], return_offsets_mapping=True)["offset_mapping"]
    found = classify(DNA[0], offset_mapping=[tuple(place) for place in places])
    assert [(cell["start"], cell["end"]) for cell in found] == [(i, i + 3) for i in range(len(DNA[0]) - 2)]


def test_feature_extraction_gives_hidden_states_of_dna(tokenizer3, tiny_config) -> None:
    model = model_of(KmerBertModel, tiny_config)
    (features,) = pipeline("feature-extraction", model, tokenizer=tokenizer3)(DNA[0], return_tensors=True)
    expected = model(**tokenizer3(DNA[0], return_tensors="pt")).last_hidden_state[0]
    assert (features - expected).abs().max() < 1e-5
