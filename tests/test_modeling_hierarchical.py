"""Several windows of one sequence: each encoded by itself, joined, classified."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
from hf_genomics.configuration_kmer_bert import HierarchicalKmerBertConfig
from hf_genomics.modeling_hierarchical import HierarchicalKmerBertForSequenceClassification

AGGREGATIONS = ["concat", "mean", "max", "transformer"]


def built(tiny_config: KmerBertConfig, **values: object) -> HierarchicalKmerBertForSequenceClassification:
    """Build a model of the tiny size, every weight far from its start."""
    sizes = {
        name: value for name, value in tiny_config.to_diff_dict().items() if name not in ("model_type", "id2label")
    }
    sizes.pop("transformers_version", None)
    torch.manual_seed(0)
    model = HierarchicalKmerBertForSequenceClassification(HierarchicalKmerBertConfig(**{**sizes, **values})).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def windows_of(rows: int, windows: int, tokens: int = 12) -> dict[str, Tensor]:
    """Draw windows, the last one of each row shorter than the others."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(rows, windows, tokens, dtype=torch.long)
    mask[:, -1, 7:] = 0
    ids = torch.randint(5, 69, mask.shape, generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("aggregation", AGGREGATIONS[:3])
@pytest.mark.parametrize("windows", [1, 2, 3])
def test_every_window_is_encoded_by_itself_and_joined(aggregation: str, windows: int, tiny_config) -> None:
    model = built(tiny_config, num_parts=windows, aggregation=aggregation, num_labels=3)
    inputs = windows_of(4, windows)
    logits = []
    for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
        pooled = [
            model.bert(part[None, : seen.sum()]).pooler_output[0] for part, seen in zip(ids, mask, strict=True)
        ]  # without padding at all
        joined = {
            "concat": torch.cat,
            "mean": lambda rows: sum(rows) / len(rows),
            "max": lambda rows: torch.stack(rows).amax(0),
        }
        logits.append(model.classifier(model.join(joined[aggregation](pooled)).relu()))
    assert torch.allclose(model(**inputs).logits, torch.stack(logits), atol=1e-5)


@pytest.mark.parametrize(
    ("aggregation", "alike"), [("concat", False), ("mean", True), ("max", True), ("transformer", False)]
)
def test_the_order_of_windows_matters_to_concat_and_transformer_only(
    aggregation: str, alike: bool, tiny_config
) -> None:
    model, inputs = built(tiny_config, num_parts=3, aggregation=aggregation), windows_of(2, 3)
    turned = {name: column.flip(1) for name, column in inputs.items()}
    assert torch.allclose(model(**inputs).logits, model(**turned).logits, atol=1e-5) == alike


def test_token_types_belong_to_their_window(tiny_config: KmerBertConfig) -> None:
    model, inputs = built(tiny_config), windows_of(4, 2)
    plain = model(**inputs).logits
    zeros = torch.zeros_like(inputs["input_ids"])
    assert torch.allclose(model(**inputs, token_type_ids=zeros).logits, plain, atol=1e-6)
    second = zeros.clone()
    second[0, 1] = 1
    changed = (model(**inputs, token_type_ids=second).logits - plain).abs().amax(1) > 1e-4
    assert changed.tolist() == [True, False, False, False]


def test_rows_without_windows_and_more_windows_than_concat_joins_are_refused(tiny_config: KmerBertConfig) -> None:
    with pytest.raises(ValueError, match=r"input_ids must be \(batch, parts, tokens\), not \(4, 12\)"):
        built(tiny_config)(torch.ones(4, 12, dtype=torch.long))
    with pytest.raises(ValueError, match=r"^3 parts, .* 2 .*num_parts=3"):
        built(tiny_config)(torch.ones(4, 3, 12, dtype=torch.long))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_sequence_says_the_same_whatever_else_is_in_the_batch(aggregation: str, tiny_config) -> None:
    model, inputs = built(tiny_config, num_parts=5, aggregation=aggregation, num_labels=3), windows_of(4, 4)
    counts = [4, 1, 3, 2]
    for row, count in enumerate(counts):
        inputs["attention_mask"][row, count:] = 0
    together = model(**inputs)
    for row, count in enumerate(counts):
        alone = model(**{name: column[row : row + 1, :count] for name, column in inputs.items()})
        assert torch.allclose(alone.logits[0], together.logits[row], atol=1e-5)
        assert torch.allclose(alone.part_states[0], together.part_states[row, :count], atol=1e-5)
    assert (together.part_states[1, 1:] == 0).all()
    inputs["input_ids"][1, 1:] = 7  # what stands in windows that are not there means nothing
    assert torch.equal(model(**inputs).logits, together.logits)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_batch_without_any_window_says_what_a_sequence_without_one_says(aggregation: str, tiny_config) -> None:
    model, inputs = built(tiny_config, aggregation=aggregation), windows_of(2, 2)
    inputs["attention_mask"][1] = 0
    together = model(**inputs).logits[1:]
    alone = model(**{name: column[1:] for name, column in inputs.items()})
    assert torch.allclose(alone.logits, together, atol=1e-6) and (alone.part_states == 0).all()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_windows_attend_to_each_other_as_in_a_loop_over_sequences(attention: str, tiny_config) -> None:
    model = built(tiny_config, aggregation="transformer")
    model.set_attn_implementation(attention)
    states = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0))
    there = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]).bool()
    found = model.windows(states, there)
    for row, count in enumerate(there.sum(1).tolist()):
        alone = model.windows(states[row : row + 1, :count], there[row : row + 1, :count])
        assert torch.allclose(alone[0], found[row], atol=1e-5)


def test_the_loss_of_a_step_is_the_sum_over_its_micro_batches(tiny_config: KmerBertConfig) -> None:
    model, inputs = built(tiny_config, num_labels=3), windows_of(8, 2)
    labels = torch.arange(8) % 3
    whole = model(**inputs, labels=labels, num_items_in_batch=8).loss
    for size in (2, 4):
        parts = [
            model(
                **{name: column[first : first + size] for name, column in inputs.items()},
                labels=labels[first : first + size],
                num_items_in_batch=8,
            ).loss
            for first in range(0, 8, size)
        ]
        assert abs(sum(parts).item() - whole.item()) < 1e-5
    assert torch.allclose(whole, torch.nn.functional.cross_entropy(model(**inputs).logits, labels))


def test_every_weight_is_trained(tiny_config: KmerBertConfig) -> None:
    model, inputs = built(tiny_config).train(), windows_of(4, 2)
    model(**inputs, labels=torch.tensor([0, 1, 1, 0])).loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_saved_model_loads_by_its_auto_class_with_the_same_output(
    aggregation: str, tiny_config, tmp_path: Path
) -> None:
    model, inputs = built(tiny_config, num_parts=3, aggregation=aggregation), windows_of(2, 3)
    model.save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is HierarchicalKmerBertConfig
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is HierarchicalKmerBertForSequenceClassification
    assert (loaded.config.num_parts, loaded.config.aggregation) == (3, aggregation)
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


def test_fine_tuning_starts_from_the_pretrained_encoder(tiny_config: KmerBertConfig, tmp_path: Path) -> None:
    pretrained = KmerBertForMaskedLM(tiny_config)
    pretrained.save_pretrained(tmp_path)
    config = HierarchicalKmerBertConfig.from_pretrained(tmp_path, num_parts=3)
    model = HierarchicalKmerBertForSequenceClassification.from_pretrained(tmp_path, config=config)
    encoder = model.bert.state_dict()
    for name, weight in pretrained.bert.state_dict().items():
        assert torch.equal(encoder[name], weight), name
