"""KmerBertConfig: DNABERT-6 by default, and no misspelt or impossible value gets through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub.errors import StrictDataclassFieldValidationError
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics import KmerBertConfig
from hf_genomics.configuration_kmer_bert import FusionKmerBertConfig, HierarchicalKmerBertConfig

KINDS = [KmerBertConfig, HierarchicalKmerBertConfig, FusionKmerBertConfig]


def test_the_defaults_are_dnabert_6() -> None:
    config = KmerBertConfig()
    expected = {
        "vocab_size": 4101,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    }
    assert {name: getattr(config, name) for name in expected} == expected
    assert (config.model_type, config.k, config.stride) == ("kmer_bert", 6, 1)


@pytest.mark.parametrize(("k", "size"), [(1, 9), (3, 69), (4, 261), (5, 1029), (6, 4101), (8, 65541)])
def test_the_vocabulary_follows_from_k_unless_it_is_given(k: int, size: int) -> None:
    assert KmerBertConfig(k=k).vocab_size == size
    assert KmerBertConfig(k=k, vocab_size=70).vocab_size == 70


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hiden_size", "hidden_size"),
        ("strid", "stride"),
        ("initialization", "initialisation"),
        ("num_label", "num_labels"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_one_meant(kind: type, name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"^{kind.__name__} has no argument '{name}'; did you mean '{meant}'"):
        kind(**{name: 4})


def test_a_name_like_no_other_is_refused() -> None:
    with pytest.raises(TypeError, match="no argument 'zzzzzzzz'$"):
        KmerBertConfig(zzzzzzzz=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 0}, r"k must lie in 1..12, not 0"),
        ({"k": 13}, r"k must lie in 1..12, not 13"),
        ({"stride": 0}, r"stride must be at least 1, not 0"),
        ({"sliding_window": 0}, r"sliding_window must be at least 1, or null, not 0"),
        ({"max_sequence_length": 0}, r"max_sequence_length must be at least 1, or null, not 0"),
        ({"layer_types": ["full_attention"]}, r"layer_types .* 12 layers, not \['full_attention'\]"),
        ({"layer_types": ["local"] * 12}, r"layer_types .*'sliding_attention'.* not \['local'"),
        ({"layer_types": ["sliding_attention"] * 12}, r"layer_types has 'sliding_attention'.*set sliding_window"),
        ({"rope_theta": 0}, r"rope_theta must be above 0, not 0"),
        (
            {"position_embedding_type": "rotary", "hidden_size": 9, "num_attention_heads": 3},
            r"rotary positions need an even number of features per head, .* not 3",
        ),
        ({"hidden_size": 100, "num_attention_heads": 12}, r"hidden_size \(100\) must be a multiple .*heads \(12\)"),
        ({"hidden_size": 0}, r"hidden_size must be at least 1, not 0"),
        ({"num_attention_heads": 0}, r"num_attention_heads must be at least 1, not 0"),
        ({"num_hidden_layers": 0}, r"num_hidden_layers must be at least 1, not 0"),
        ({"intermediate_size": -1}, r"intermediate_size must be at least 1, not -1"),
        ({"vocab_size": 0}, r"vocab_size must be at least 1, not 0"),
        ({"max_position_embeddings": 2}, r"max_position_embeddings must be at least 3 .*not 2"),
        ({"hidden_dropout_prob": 1.0}, r"hidden_dropout_prob must lie in 0..1 .*not 1.0"),
        ({"attention_probs_dropout_prob": -0.1}, r"attention_probs_dropout_prob must lie in 0..1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(kind: type, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**values)


@pytest.mark.parametrize(
    "values", [{"k": "6"}, {"hidden_size": 8.5}, {"initialisation": "glorot"}, {"sparse_prediction": "yes"}]
)
def test_values_of_the_wrong_type_are_refused(values: dict) -> None:
    (name,) = values
    with pytest.raises(StrictDataclassFieldValidationError, match=name):
        KmerBertConfig(**values)


def test_parts_of_a_hierarchical_model_are_checked() -> None:
    with pytest.raises(ValueError, match="num_parts must be at least 1, not 0"):
        HierarchicalKmerBertConfig(num_parts=0)
    with pytest.raises(StrictDataclassFieldValidationError, match="aggregation"):
        HierarchicalKmerBertConfig(aggregation="sum")


def test_by_default_a_window_leaves_every_third_layer_full(tmp_path: Path) -> None:
    assert KmerBertConfig().layer_types is None
    config = KmerBertConfig(num_hidden_layers=4, sliding_window=8)
    assert config.layer_types == ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    assert [config.window_of(layer) for layer in range(4)] == [None, 8, 8, None]
    KmerBertConfig(num_hidden_layers=2).save_pretrained(tmp_path)
    later = KmerBertConfig.from_pretrained(tmp_path, sliding_window=3)
    assert later.layer_types == ["full_attention", "sliding_attention"], "also where it is set on loading"


def test_framework_arguments_are_accepted() -> None:
    config = KmerBertConfig(num_labels=3, problem_type="multi_label_classification", output_attentions=True)
    assert config.num_labels == 3 and config.output_attentions
    assert KmerBertConfig(id2label={0: "other", 1: "phage"}, label2id={"other": 0, "phage": 1}).id2label[1] == "phage"


@given(
    k=st.integers(1, 8),
    stride=st.integers(1, 8),
    heads=st.integers(1, 4),
    layers=st.integers(1, 3),
    dropout=st.sampled_from([0, 0.0, 0.3]),
    initialisation=st.sampled_from(["kmer", "bert"]),
    labels=st.integers(1, 5),
)
def test_a_configuration_survives_json(k, stride, heads, layers, dropout, initialisation, labels) -> None:
    config = KmerBertConfig(
        k=k,
        stride=stride,
        hidden_size=8 * heads,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        classifier_dropout=dropout,
        initialisation=initialisation,
        num_labels=labels,
    )
    assert KmerBertConfig.from_dict(json.loads(config.to_json_string(use_diff=False))).to_dict() == config.to_dict()
    assert KmerBertConfig(**json.loads(config.to_json_string())).to_dict() == config.to_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_survives_a_folder(kind: type, tmp_path: Path) -> None:
    config = kind(k=4, stride=2, hidden_size=24, num_attention_heads=3, sparse_prediction=False, num_labels=7)
    config.save_pretrained(tmp_path)
    loaded, unused = kind.from_pretrained(tmp_path, return_unused_kwargs=True)
    saved = {name: value for name, value in loaded.to_dict().items() if name != "_name_or_path"}
    assert saved == {name: value for name, value in config.to_dict().items() if name != "_name_or_path"} and not unused


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (KmerBertConfig, {"sliding_window": 0}, "sliding_window must be at least 1, or null, not 0"),
        (KmerBertConfig, {"focal_gamma": -1.0}, "focal_gamma must be 0 or more"),
        (KmerBertConfig, {"num_labels": 3, "class_weights": [1.0, 2.0]}, "one positive number for each of 3 labels"),
        (KmerBertConfig, {"target_means": [0.0], "target_scales": [1.0]}, "one number for each of 2 targets"),
        (HierarchicalKmerBertConfig, {"part_length": 3}, "part_length must be at least two k-mers"),
        (FusionKmerBertConfig, {"track_names": ["a"], "track_stds": [0.0]}, "track_stds must be positive"),
    ],
)
def test_values_put_in_the_place_of_saved_ones_are_checked_too(kind, values, message, tmp_path: Path) -> None:
    kind(k=3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        kind.from_pretrained(tmp_path, **values)


def test_a_setting_that_no_version_knows_is_refused_by_name(tmp_path: Path) -> None:
    KmerBertConfig(k=3).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hiden_size": 12}))
    with pytest.raises(ValueError, match=r"'hiden_size' \(12\).*config\.json"):
        KmerBertConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", [KmerBertConfig, FusionKmerBertConfig])
def test_a_note_is_not_written_into_a_file_that_would_then_be_refused(kind, tmp_path: Path) -> None:
    config = kind(k=3, hidden_size=24)
    config.note = "mine"
    with pytest.warns(UserWarning, match="'note' not written"):
        config.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert (loaded.k, loaded.hidden_size, config.note) == (3, 24, "mine")
    assert not hasattr(loaded, "note")


def test_what_transformers_would_act_upon_is_still_written_and_refused(tmp_path: Path) -> None:
    config = KmerBertConfig(k=3)
    config.quantization_config = {"quant_method": "x"}
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="quantization_config"):
        KmerBertConfig.from_pretrained(tmp_path)
