"""Settings of a saved configuration: bounds, known fields, and the number of weights that follows from the sizes."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModel

from hf_genomics import KmerBertConfig, KmerBertModel
from hf_genomics.configuration_kmer_bert import FusionKmerBertConfig, HierarchicalKmerBertConfig
from hf_genomics.modeling_kmer_bert import check_memory_of_machine
from hf_genomics.saved_settings import (
    LARGEST,
    check_saved,
    count_weights,
    encoder_shapes,
    has_no_effect,
    is_acted_upon,
    shown,
)

KINDS = [KmerBertConfig, HierarchicalKmerBertConfig, FusionKmerBertConfig]
SMALL = {"k": 3, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize(
    "size", [10**12 + 1, 10**5000, 1e300, float("inf"), -(10**5000)], ids="1e12 1e5000 1e300 inf negative".split()
)
def test_every_size_has_a_bound_that_is_checked_at_once(name: str, size: float) -> None:
    kind = FusionKmerBertConfig if name == "fusion_layers" else HierarchicalKmerBertConfig
    with pytest.raises((ValueError, TypeError), match=name if name != "vocab_size" else "vocab_size|weights"):
        if name in ("max_sequence_length", "part_length") and size == 10**12 + 1:  # within their bounds
            size = 2**41
        kind(**{name: size})


def test_a_billion_labels_are_refused_before_a_name_is_made_for_each(tmp_path) -> None:
    KmerBertConfig(**SMALL).save_pretrained(tmp_path)
    path, start = tmp_path / "config.json", time.monotonic()
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"num_labels": 10**9}))
    for load in (KmerBertConfig.from_pretrained, AutoConfig.from_pretrained, AutoModel.from_pretrained):
        with pytest.raises(ValueError, match=r"num_labels must be at most 131,072, not 1000000000"):
            load(tmp_path)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="num_labels"):
        AutoConfig.from_pretrained(tmp_path, num_labels=10**9)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attn_implementation", "x/kernel"),
        ("attn_implementation", "flash_attention_2"),
        ("_attn_implementation_internal", "x/kernel"),
        ("quantization_config", {"quant_method": "awq"}),
        ("architectures", [1]),
        ("dtype", "load"),
        ("transformers_weights", "../x.safetensors"),
        ("auto_map", {"AutoModel": "x/y--evil.Model"}),
        ("rope_scaling", {"type": "linear"}),
        ("max_length", 21),
        ("to_dict", 1),
    ],
)
def test_a_field_that_transformers_would_act_upon_is_refused_by_name(kind: type, name: str, value: object) -> None:
    content = json.loads(kind(**SMALL).to_json_string(use_diff=False))
    with pytest.raises(ValueError, match=name):
        kind.from_dict(content | {name: value})


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_transformers_writes_is_known(kind: type) -> None:
    config = kind(**SMALL, num_labels=3, problem_type="multi_label_classification", output_attentions=True)
    content = json.loads(config.to_json_string(use_diff=False)) | {"auto_map": {"AutoConfig": "module.Config"}}
    check_saved(content, kind, set(content))
    assert kind.from_dict(dict(content)).num_labels == 3
    assert [name for name in content if is_acted_upon(name, kind) and name not in vars(config) | content] == []


#: Every field that some version of transformers wrote into the config.json of any model, with its default.
FORMER = {
    **dict.fromkeys(("output_hidden_states", "torchscript", "use_bfloat16", "tf_legacy_loss", "do_sample"), False),
    **dict.fromkeys(("tie_encoder_decoder", "early_stopping", "output_scores", "return_dict_in_generate"), False),
    **dict.fromkeys(("remove_invalid_values", "gradient_checkpointing", "add_cross_attention"), False),
    **dict.fromkeys(("cross_attention_hidden_size", "finetuning_task", "tokenizer_class", "prefix"), None),
    **dict.fromkeys(("decoder_start_token_id", "task_specific_params", "bad_words_ids", "suppress_tokens"), None),
    **dict.fromkeys(("begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "xla_device"), None),
    **dict.fromkeys(("exponential_decay_length_penalty", "quantization_config", "base_model_tp_plan"), None),
    **dict.fromkeys(("min_length", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), 0),
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), 1),
    **dict.fromkeys(("temperature", "top_p", "typical_p", "repetition_penalty", "length_penalty"), 1.0),
    **{"diversity_penalty": 0.0, "max_length": 20, "top_k": 50, "output_past": True},
}


def test_what_older_versions_wrote_still_loads() -> None:
    old = {
        "pruned_heads": {},
        "is_decoder": False,
        "torch_dtype": "float32",
        "_num_labels": 2,
        "tie_encoder_decoder": False,
    }
    config = KmerBertConfig.from_dict({**SMALL, "model_type": "kmer_bert", **old, **FORMER, "pooling": "mean"})
    assert config.classifier_pooling == "mean" and not hasattr(config, "top_k")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "value"), [("note", "mine"), ("num_experts", 4), ("hiden_size", 64), ("x", [0])])
def test_an_unknown_field_may_change_the_model_and_is_refused_by_name(kind: type, name: str, value: object) -> None:
    content = json.loads(kind(**SMALL).to_json_string())
    with pytest.raises(ValueError, match=name):
        kind.from_dict(content | {name: value})
    assert not hasattr(kind.from_dict(content | {name: None}), name)


def test_a_setting_of_another_kind_of_model_is_refused() -> None:
    with pytest.raises(ValueError, match="num_parts"):
        KmerBertConfig.from_dict({**SMALL, "num_parts": 3})


@settings(max_examples=20, deadline=None)
@given(
    heads=st.integers(1, 3),
    layers=st.integers(1, 3),
    wide=st.integers(1, 40),
    positions=st.sampled_from(["absolute", "sinusoidal", "rotary"]),
)
def test_the_weights_counted_from_the_sizes_are_those_of_the_model(heads, layers, wide, positions) -> None:
    config = KmerBertConfig(
        k=2,
        hidden_size=8 * heads,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        intermediate_size=wide,
        position_embedding_type=positions,
        max_position_embeddings=16,
        vocab_size=30,
    )
    weights = KmerBertModel(config, add_pooling_layer=False).state_dict()
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == dict(encoder_shapes(config))
    count = sum(weight.numel() for weight in weights.values())
    assert count <= count_weights(config) <= count + config.hidden_size * config.num_labels


@pytest.mark.slow
def test_a_model_beyond_the_memory_of_the_machine_is_refused_before_it_is_built() -> None:
    config = KmerBertConfig(k=3, hidden_size=32768, num_attention_heads=1, intermediate_size=65536, num_hidden_layers=7)
    config.num_hidden_layers = 10**6  # past the check of the configuration
    config.encoder = None
    start = time.monotonic()
    with pytest.raises(ValueError, match="GiB"):
        check_memory_of_machine(config)
    assert time.monotonic() - start < 60


VALUES = ["x" * 1000, 10**5000, [10**5000], {"a": "b" * 1000}, None, True, 1.5, np.arange(1000), np.int64(2)]


@pytest.mark.parametrize("value", VALUES, ids=shown)
def test_a_value_is_shown_on_one_short_line(value: object) -> None:
    assert len(shown(value)) <= 60 and "\n" not in shown(value)


def test_a_number_of_numpy_is_named_as_such_and_an_array_is_compared_with_nothing() -> None:
    with pytest.raises(ValueError, match=r"num_labels .*np\.int64\(2\)"):
        KmerBertConfig(num_labels=np.int64(2))
    assert not has_no_effect("note", np.array([1, 2])) and not has_no_effect("note", np.array([]))
