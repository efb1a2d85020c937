"""Model and tokenizer that are saved together agree: on k and stride, ids, vocabulary, and how much the model reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from finetune_tables import arguments, write_table
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertForMaskedLM, pipeline

import hf_genomics as hg
from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.finetuning.head import Head
from hf_genomics.labelled.columns import Columns

pytestmark = pytest.mark.usefixtures("empty_pictures")

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
# Kind of run -> columns, head, and settings of the pretrained model.
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "classes": ({"label": "more_g"}, {}, {}),
    "stretched": ({"label": "more_g"}, {"stretch_positions": 128}, {}),
    "rotary": ({"label": "more_g"}, {"stretch_positions": 200}, {"position_embedding_type": "rotary"}),
    "sinusoidal": ({"label": "more_g"}, {}, {"position_embedding_type": "sinusoidal"}),
    "stride": ({"label": "more_g"}, {}, {"stride": 2}),
    "parts": ({"label": "more_g"}, {"num_parts": 2}, {}),
    "nucleotides": ({"nt_labels": "is_g"}, {}, {}),
    "tracks": ({"label": "more_g", "tracks": ["age"]}, {}, {}),
    "pairs": ({"label": "more_g", "pair": "other"}, {}, {"max_position_embeddings": 130}),
}
QUICK = ("classes", "rotary", "parts", "nucleotides")  # the other kinds are slow


def check_pair(folder: Path, positions: int) -> None:
    """Check everything that the two files of a folder say of the same thing."""
    saved = json.loads((folder / "tokenizer_config.json").read_text())
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert saved["model_max_length"] == tokenizer.model_max_length == config.max_position_embeddings == positions
    assert (saved["k"], saved["stride"]) == (config.k, config.stride) == (tokenizer.k, tokenizer.stride)
    assert len(tokenizer) == config.vocab_size and tokenizer.pad_token_id == config.pad_token_id
    assert [tokenizer.convert_tokens_to_ids(name) for name in tokenizer.all_special_tokens] == [1, 3, 0, 2, 4]
    assert config.num_labels == len(config.id2label) == len(config.label2id or config.id2label)
    assert all(config.id2label[number] == name for name, number in (config.label2id or {}).items())
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    assert architecture in {reference.split(".")[-1] for reference in config.auto_map.values()}
    assert len(tokenizer("ACGT" * 1000, truncation=True)["input_ids"]) == positions


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in RUNS]
)
def test_finetune_writes_a_pair_that_agrees(kind: str, tmp_path) -> None:
    columns, head, settings = RUNS[kind]
    settings = {"k": 3, "max_position_embeddings": 64, **SIZES, **settings}
    KmerBertForMaskedLM(KmerBertConfig(**settings)).save_pretrained(tmp_path / "encoder")
    KmerTokenizer(3, settings.get("stride", 1)).save_pretrained(tmp_path / "encoder")
    data = hg.LabelledData(train=write_table(tmp_path / "train.csv", 16, 0), columns=Columns(**columns))
    options = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    hg.finetune(str(tmp_path / "encoder"), data, arguments(tmp_path / "run", **options), Head(**head))
    positions = head.get("stretch_positions", settings["max_position_embeddings"])
    check_pair(tmp_path / "run", positions)
    check_pair(tmp_path / "run" / "checkpoint-1", positions)


def test_pretrain_writes_a_pair_that_agrees_and_leaves_the_callers_tokenizer_alone(tmp_path) -> None:
    from tiny_runs import train, write_genomes

    train(str(write_genomes(tmp_path)), str(tmp_path / "run"), max_steps=1, save_steps=1)
    check_pair(tmp_path / "run", 48)
    check_pair(tmp_path / "run" / "checkpoint-1", 48)


def test_convert_writes_a_pair_that_agrees(tmp_path) -> None:
    from hf_genomics.sequence import kmer_vocabulary

    sizes = {**SIZES, "max_position_embeddings": 40}
    BertForMaskedLM(BertConfig(vocab_size=69, **sizes)).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(kmer_vocabulary(3)))
    hg.convert(str(tmp_path / "bert"), str(tmp_path / "ours"))
    check_pair(tmp_path / "ours", 40)


@pytest.mark.parametrize(
    ("positions", "saved", "expected"),
    [("absolute", None, 64), ("absolute", 512, 64), ("absolute", 32, 32), ("rotary", None, 64), ("rotary", 512, 512)],
)
def test_a_tokenizer_saved_by_hand_knows_the_model_beside_it(positions, saved, expected, tmp_path) -> None:
    config = KmerBertConfig(k=3, max_position_embeddings=64, position_embedding_type=positions, **SIZES)
    hg.KmerBertForSequenceClassification(config).save_pretrained(tmp_path)
    KmerTokenizer(3, **({"model_max_length": saved} if saved else {})).save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).model_max_length == expected
    assert KmerTokenizer.from_pretrained(tmp_path, model_max_length=20).model_max_length == 20
    (answer,) = pipeline("text-classification", str(tmp_path))(["ACGT" * 300], truncation=True)
    assert 0.5 <= answer["score"] <= 1


def test_a_tokenizer_without_a_model_has_no_limit(tmp_path) -> None:
    KmerTokenizer(3).save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).model_max_length > 10**20
    (tmp_path / "config.json").write_text('{"model_type": "kmer_bert", "max_position_embeddings": "many"}')
    assert KmerTokenizer.from_pretrained(tmp_path).model_max_length > 10**20
