"""Tokenizer files of a model folder."""

from __future__ import annotations

from small_models import change_json, tuned_copy

from .case import Case

CASES: dict[str, Case] = {}


PREDICT = "predict --model model --input OK --output out.tsv"


def tokenizer_with(*named: str, **fields: object) -> Case:
    """Build the case of a tokenizer_config.json that predict refuses, with the fields that the message names."""
    return Case(
        PREDICT,
        ("tokenizer_config.json", *named),
        lambda work: change_json(tuned_copy(work) / "tokenizer_config.json", **fields),
    )


CASES |= {
    "k_1e9": tokenizer_with("k", k=10**9),
    "k_is_text": tokenizer_with("'k'", '"3"', k="3"),
    "k_is_true": tokenizer_with("'k'", k=True),
    "stride_is_a_fraction": tokenizer_with("'stride'", "1.5", stride=1.5),
    "class_of_another_module": tokenizer_with("tokenizer_class", "os.system", tokenizer_class="os.system"),
    "class_is_a_list": tokenizer_with("tokenizer_class", tokenizer_class=["KmerTokenizer"]),
    "auto_map_elsewhere": tokenizer_with("auto_map", auto_map={"AutoTokenizer": ["x/y--evil.Tokenizer", None]}),
    "auto_map_is_cut": tokenizer_with("auto_map", auto_map={"AutoTokenizer": ["tokenization_kmer.KmerTokenizer"]}),
    "vocab_file_elsewhere": tokenizer_with("vocab_file", vocab_file="/etc/passwd"),
    "unknown_key": tokenizer_with("'strid'", "'stride'", strid=3),
    "side_of_padding": tokenizer_with("padding_side", "'up'", padding_side="up"),
    "model_max_length_is_text": tokenizer_with("model_max_length", model_max_length="512"),
    "model_max_length_0": tokenizer_with("model_max_length", model_max_length=-1),
    "added_tokens_of_text": tokenizer_with("added_tokens_decoder", added_tokens_decoder={"0": "x"}),
    "added_tokens_by_name": tokenizer_with("added_tokens_decoder", added_tokens_decoder={"x": {"content": "x"}}),
    "extra_tokens_of_numbers": tokenizer_with("extra_special_tokens", extra_special_tokens=[1]),
    "chat_template_of_numbers": tokenizer_with("chat_template", chat_template=3),
    "input_names_of_numbers": tokenizer_with("model_input_names", model_input_names=[1]),
    "pad_token_without_content": tokenizer_with("pad_token", pad_token={"lstrip": True}),
}
