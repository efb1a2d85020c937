"""Tokenizer files of a model folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from small_models import change_json, saved_model

from .case import Case

FILE = "model/tokenizer_config.json"
PREDICT = "predict --model model --input TABLE --output out.tsv"


def with_tokenizer(**values: object) -> Callable[[Path], object]:
    """Return what writes a model whose tokenizer_config.json has other values."""
    return lambda folder: change_json(saved_model(folder) / "tokenizer_config.json", **values)


def with_bytes(content: bytes | None) -> Callable[[Path], object]:
    """Return what writes a model whose tokenizer_config.json has another content, or is missing."""

    def make(folder: Path) -> None:
        path = saved_model(folder) / "tokenizer_config.json"
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return make


def with_config(**values: object) -> Callable[[Path], object]:
    """Return what writes a model whose config.json disagrees with its tokenizer."""
    return lambda folder: change_json(saved_model(folder) / "config.json", **values)


def with_more_tokens(folder: Path) -> None:
    """Write a model whose tokenizer has learnt a token that the model has not."""
    from hf_genomics import KmerTokenizer

    model = saved_model(folder)
    tokenizer = KmerTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["[HUMAN]"])
    tokenizer.save_pretrained(model)


BOTH = (FILE, "model/config.json")
CASES: dict[str, Case] = {
    "another_k": Case(PREDICT, (*BOTH, "k is 4 and 3"), with_tokenizer(k=4)),
    "another_stride": Case(PREDICT, (*BOTH, "stride is 2 and 1"), with_tokenizer(stride=2)),
    "another_stride_in_the_model": Case(PREDICT, (*BOTH, "stride is 1 and 3"), with_config(stride=3)),
    "another_pad_id": Case(PREDICT, (*BOTH, "[PAD]", "0 and 3"), with_config(pad_token_id=3)),
    "more_tokens_than_the_model": Case(PREDICT, (*BOTH, "70", "69"), with_more_tokens),
    "fine_tuning_with_another_k": Case(
        "finetune --pretrained model --data.train TABLE --trainer.output_dir out",
        (*BOTH, "k is 4 and 3"),
        with_tokenizer(k=4),
    ),
    "evaluating_with_another_k": Case(
        "evaluate --model model --data.test TABLE --output_dir out", (*BOTH, "k is 4 and 3"), with_tokenizer(k=4)
    ),
    "converting_with_another_k": Case(
        "convert --source model --to bert --output_dir out", (*BOTH, "k is 4 and 3"), with_tokenizer(k=4)
    ),
    "converting_what_bert_has_not": Case(
        "convert --source model --to bert --output_dir out",
        ("model: stock BERT has no sliding_window",),
        with_config(layer_types=["sliding_attention"], sliding_window=5),
    ),
    "no_k": Case(PREDICT, ("model", "k"), with_tokenizer(k=None)),
    "k_of_zero": Case(PREDICT, ("model", "k", "0"), with_tokenizer(k=0)),
    "k_beyond_the_limit": Case(PREDICT, ("model", "k", "99"), with_tokenizer(k=99)),
    "k_is_text": Case(PREDICT, (FILE, "'k'", "three"), with_tokenizer(k="three")),
    "stride_beyond_k": Case(PREDICT, ("model", "stride", "7"), with_tokenizer(stride=7)),
    "misspelt_key": Case(PREDICT, (FILE, "strid"), with_tokenizer(strid=3)),
    "unknown_policy": Case(PREDICT, ("model", "errors", "ignore"), with_tokenizer(errors="ignore")),
    "one_name_twice": Case(PREDICT, ("model", "[PAD]"), with_tokenizer(cls_token="[PAD]")),
    "a_kmer_as_a_name": Case(PREDICT, ("model", "ACG"), with_tokenizer(mask_token="ACG")),
    "limit_is_text": Case(PREDICT, (FILE, "model_max_length"), with_tokenizer(model_max_length="long")),
    "another_class": Case(PREDICT, ("model", "BertTokenizer"), with_tokenizer(tokenizer_class="BertTokenizer")),
    "missing_file": Case(PREDICT, ("model: no tokenizer_config.json", "copy"), with_bytes(None)),
    "empty_file": Case(PREDICT, (FILE,), with_bytes(b"")),
    "not_json": Case(PREDICT, (FILE,), with_bytes(b"{k: 3}")),
    "a_list": Case(PREDICT, (FILE, "list"), with_bytes(json.dumps([3]).encode())),
    "latin_1": Case(PREDICT, (FILE,), with_bytes(b'{"k": 3, "note": "\xfc"}')),
}


PREDICT_RECORDS = "predict --model model --input OK --output out.tsv"


def tokenizer_with(*named: str, **fields: object) -> Case:
    """Build the case of a tokenizer_config.json that predict refuses, with the fields that the message names."""
    return Case(
        PREDICT_RECORDS,
        ("tokenizer_config.json", *named),
        lambda work: change_json(saved_model(work) / "tokenizer_config.json", **fields),
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
