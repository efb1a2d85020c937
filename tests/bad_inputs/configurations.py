"""config.json of a model folder."""

from __future__ import annotations

from pathlib import Path

from small_models import change_json, replace, saved_model

from .case import Case

CASES: dict[str, Case] = {}


def with_fields(**fields: object):
    """Return a function that copies a good model folder and sets fields of its config.json."""

    def make(work: Path) -> None:
        change_json(saved_model(work) / "config.json", **fields)

    return make


def predict_refuses(*named: str, **fields: object) -> Case:
    """Build the case of a config.json that predict refuses, with the fields that the message names."""
    return Case("predict --model model --input OK --output out.tsv", ("config.json", *named), with_fields(**fields))


CASES |= {
    # Sizes without a bound: each of these would fill the memory, or never end.
    "num_labels_1e9": predict_refuses("num_labels", "1000000000", num_labels=10**9, id2label=None, label2id=None),
    "num_labels_0": predict_refuses("num_labels", "0", num_labels=0, id2label=None, label2id=None),
    "num_labels_yes": predict_refuses("num_labels", "True", num_labels=True, id2label=None, label2id=None),
    "num_hidden_layers_1e9": predict_refuses("num_hidden_layers", "1,000", num_hidden_layers=10**9),
    "hidden_size_2_31": predict_refuses("hidden_size", "65,536", hidden_size=2**31),
    "hidden_size_of_4000_digits": predict_refuses("hidden_size", "digits", hidden_size=10**4000),
    "hidden_size_negative": predict_refuses("hidden_size", hidden_size=-(10**4000)),
    "hidden_size_is_text": predict_refuses("hidden_size", "'32'", hidden_size="32"),
    "hidden_size_is_a_fraction": predict_refuses("hidden_size", "32.5", hidden_size=32.5),
    "hidden_size_is_true": predict_refuses("hidden_size", "True", hidden_size=True),
    "k_1e9": predict_refuses("k must", k=10**9, vocab_size=None),
    "vocab_size_1e12": predict_refuses("vocab_size", vocab_size=10**12),
    "max_position_embeddings_1e12": predict_refuses("max_position_embeddings", max_position_embeddings=10**12),
    "type_vocab_size_1e9": predict_refuses("type_vocab_size", type_vocab_size=10**9),
    "many_weights": predict_refuses("weights", hidden_size=65536, intermediate_size=2**20, num_hidden_layers=1000),
    "dropout_nan": predict_refuses("hidden_dropout_prob", hidden_dropout_prob={"__float__": "NaN"}),
    "layer_norm_eps_is_text": predict_refuses("layer_norm_eps", "'1e-12'", layer_norm_eps="1e-12"),
    "pad_token_id_outside": predict_refuses("pad_token_id", "999", pad_token_id=999),
    "global_attention_every_1e9_layers": predict_refuses(
        "num_hidden_layers", global_attention_every=2, sliding_window=5, num_hidden_layers=10**9
    ),
    # Names of classes.
    "id2label_is_a_list": predict_refuses("id2label", id2label=["a", "b"]),
    "id2label_of_numbers": predict_refuses("id2label", id2label={"0": 1, "1": 2}),
    "id2label_starts_at_1": predict_refuses("id2label", "0 to 1", id2label={"1": "a", "2": "b"}),
    "id2label_numbered_by_letters": predict_refuses("id2label", "'x'", id2label={"x": "a", "1": "b"}),
    "id2label_of_long_names": predict_refuses("id2label", id2label={"0": "a" * 5000, "1": "b"}),
    "label2id_of_text": predict_refuses("label2id", label2id={"a": "0", "b": "1"}),
    "label2id_the_other_way_round": predict_refuses("label2id", "'a'", label2id={"a": 1, "b": 0}),
    "one_name_for_two_classes": predict_refuses("id2label", "'a'", id2label={"0": "a", "1": "a"}, label2id=None),
    "labels_per_nucleotide_of_a_model_of_sequences": predict_refuses("labels_per", "'nt'", labels_per="nt"),
    "an_unknown_problem": predict_refuses("problem_type", "'x'", "'regression'", problem_type="x"),
    "a_threshold_of_no_class": predict_refuses(
        "decision_threshold", "'promoter'", decision_threshold=0.3, positive_class="promoter"
    ),
    # Fields by which transformers would load or convert something.
    "foreign_kernel": predict_refuses("attn_implementation", "'x/kernel'", attn_implementation="x/kernel"),
    "foreign_kernel_in_private": predict_refuses(
        "_attn_implementation_internal", "x/kernel", _attn_implementation_internal="x/kernel"
    ),
    "quantization_config": predict_refuses(
        "quantization_config", "delete it", quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}
    ),
    "architectures_of_numbers": predict_refuses("architectures", "[1]", architectures=[1]),
    "architectures_is_text": predict_refuses("architectures", architectures="KmerBertForMaskedLM"),
    "auto_map_elsewhere": predict_refuses(
        "auto_map", "'x/y--evil.Config'", auto_map={"AutoConfig": "x/y--evil.Config"}
    ),
    "auto_map_is_a_list": predict_refuses("auto_map", auto_map=["evil"]),
    "dtype_is_a_function_of_torch": predict_refuses("dtype", "'load'", dtype="load"),
    "torch_dtype_of_8_bits": predict_refuses("torch_dtype", "'int8'", torch_dtype="int8", dtype=None),
    "transformers_weights": predict_refuses(
        "transformers_weights", "../../x", transformers_weights="../../x.safetensors"
    ),
    "base_model_tp_plan": predict_refuses("base_model_tp_plan", base_model_tp_plan={"layer": "colwise"}),
    "pruned_heads": predict_refuses("pruned_heads", pruned_heads={"0": [1]}),
    "custom_pipelines": predict_refuses("custom_pipelines", custom_pipelines={"x": {"impl": "evil.Pipeline"}}),
    "a_field_of_generation": predict_refuses("max_length", max_length=21),
    "the_name_of_a_method": predict_refuses("to_dict", to_dict=1),
    "another_file_of_settings": predict_refuses("configuration_files", configuration_files=["../config.json"]),
    "settings_for_each_layer": predict_refuses("per_layer_config", per_layer_config={"0": {"hidden_size": 2**31}}),
    "a_note": predict_refuses("'note'", "'mine'", "delete it", note="mine"),
    "a_setting_of_a_later_version": predict_refuses("'num_experts'", "4", "update hf_genomics", num_experts=4),
    "a_misspelt_setting": predict_refuses("'hiden_size'", hiden_size=64),
    "a_setting_of_another_model": predict_refuses("'num_parts'", "3", num_parts=3),
    "an_unknown_setting_of_the_wrong_type": predict_refuses("'attention_sinks'", attention_sinks=[{"a": [1]}]),
    "is_a_decoder": predict_refuses("is_decoder", is_decoder=True),
    # Whole files.
    "a_key_twice": Case(
        "predict --model model --input OK --output out.tsv",
        ("config.json", "'k'", "twice"),
        lambda work: replace(saved_model(work) / "config.json", b"{", b'{"k": 3, '),
    ),
    "outputs_as_tuples": predict_refuses("return_dict", return_dict=False),
    "nested_deeply": Case(
        "predict --model model --input OK --output out.tsv",
        ("config.json", "nested"),
        lambda work: (saved_model(work) / "config.json").write_text("[" * 100_000),
    ),
    "nan_as_a_number": Case(
        "predict --model model --input OK --output out.tsv",
        ("config.json", "NaN"),
        lambda work: replace(saved_model(work) / "config.json", b'"focal_gamma": 0.0', b'"focal_gamma": NaN'),
    ),
    "with_a_byte_order_mark": Case(
        "predict --model model --input OK --output out.tsv",
        ("config.json", "BOM"),
        lambda work: replace(saved_model(work) / "config.json", b"{", b"\xef\xbb\xbf{"),
    ),
    "in_utf_16": Case(
        "predict --model model --input OK --output out.tsv",
        ("config.json", "UTF-8"),
        lambda work: (saved_model(work) / "config.json").write_text("{}", encoding="utf-16"),
    ),
    "of_20_million_bytes": Case(
        "predict --model model --input OK --output out.tsv",
        ("config.json", "bytes"),
        lambda work: (saved_model(work) / "config.json").write_text(" " * 20_000_000 + "{}"),
    ),
}
