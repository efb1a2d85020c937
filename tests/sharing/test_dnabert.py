"""DNABERT's folders come in and go out with their numbers, and only the model of a folder goes to the Hub."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertTokenizer,
)
from transformers.utils import logging as transformers_logging

from hf_genomics import (
    HierarchicalKmerBertConfig,
    HierarchicalKmerBertForSequenceClassification,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerBertModel,
    KmerTokenizer,
    convert,
    to_bert,
)
from hf_genomics.cli import main
from hf_genomics.errors import InputError

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SIZES |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 128}

# What transformers 2.5 and DNABERT's fork of it wrote into config.json besides the sizes.
OF_2020 = {
    "bos_token_id": 0,
    "do_sample": False,
    "eos_token_ids": 0,
    "finetuning_task": "dnaprom",
    "is_decoder": False,
    "layer_norm_eps": 1e-12,
    "length_penalty": 1.0,
    "max_length": 20,
    "num_beams": 1,
    "num_labels": 2,
    "num_return_sequences": 1,
    "num_rnn_layer": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_past": True,
    "pad_token_id": 0,
    "pruned_heads": {},
    "repetition_penalty": 1.0,
    "rnn": "lstm",
    "rnn_dropout": 0.0,
    "rnn_hidden": 768,
    "split": 10,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "torchscript": False,
    "type_vocab_size": 2,
    "use_bfloat16": False,
}
DIGESTS = {3: "868b0b1c", 4: "a78f8d49", 5: "3d422649", 6: "d8f61c24"}  # of DNABERT's vocab.txt


def vocabulary(k):
    """The tokens of DNABERT, written down the slow way."""
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map("".join, product("ATCG", repeat=k))]


def genome(repo_root, start=0, length=100):
    """A stretch of phage lambda."""
    with gzip.open(repo_root / "recipes/data/quickstart/NC_001416.fasta.gz", "rt") as file:
        return "".join(file.read().split("\n")[1:])[start : start + length]


def ids_of(sequence, k):
    """DNABERT's ids, the slow way: each k-mer looked up in the vocabulary."""
    numbers = {token: number for number, token in enumerate(vocabulary(k))}
    kmers = [sequence[start : start + k] for start in range(len(sequence) - k + 1)]
    return [2, *[numbers.get(kmer, 1) for kmer in kmers], 3]


def random_bert(kind=BertForMaskedLM, k=3, **settings):
    """A BERT whose every weight is far from its start."""
    torch.manual_seed(k)
    model = kind(BertConfig(vocab_size=4**k + 5, **SIZES, **settings)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def dnabert_folder(folder, model, k=3, *, weights="bin", old_names=False, pooler=True, model_type="bert", **settings):
    """Save a BERT in the layout of DNABERT's folders."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    width = model.config.hidden_size
    if old_names:
        new = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for ours, theirs in new.items():
            state = {name.replace(ours, theirs): weight for name, weight in state.items()}
    if pooler and "bert.pooler.dense.weight" not in state and not isinstance(model, BertModel):
        state |= {"bert.pooler.dense.weight": torch.ones(width, width), "bert.pooler.dense.bias": torch.ones(width)}
    if weights == "bin":
        state["bert.embeddings.position_ids"] = torch.arange(model.config.max_position_embeddings)[None]
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)  # torch of 2020
    else:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": [type(model).__name__], **SIZES, **OF_2020, "vocab_size": 4**k + 5}
    config |= {"model_type": model_type} if model_type else {}
    (folder / "config.json").write_text(json.dumps(config | settings))
    (folder / "vocab.txt").write_bytes(("\n".join(vocabulary(k)) + ("\n" if k == 6 else "")).encode())
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "max_len": 512}))
    names = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(names | {"mask_token": "[MASK]"}))
    torch.save({"learning_rate": 1e-4}, folder / "training_args.bin")
    return folder


@pytest.fixture
def dnabert(tmp_path):
    """A DNABERT-3 of two layers."""
    return dnabert_folder(tmp_path / "dnabert", random_bert())


@torch.no_grad()
def logits(model, rows):
    return model.eval()(torch.tensor(rows)).logits


def differ_by(left, right):
    assert left.shape == right.shape
    return (left - right).abs().max().item()


# In.


@pytest.mark.parametrize("k", DIGESTS)
def test_the_vocabulary_is_dnaberts_byte_by_byte(k, tmp_path):
    to_bert(KmerBertForMaskedLM(KmerBertConfig(k=k, **SIZES)), tmp_path)
    assert hashlib.sha256((tmp_path / "vocab.txt").read_bytes()).hexdigest()[:8] == DIGESTS[k]
    assert list(KmerTokenizer(k).get_vocab()) == vocabulary(k)


@pytest.mark.parametrize(
    ("k", "layout"),
    [
        (3, {}),
        (4, {"old_names": True}),
        (5, {"weights": "safetensors", "pooler": False, "model_type": None}),
        (6, {"weights": "safetensors", "old_names": True, "model_type": None}),
        (6, {"pooler": False}),
    ],
)
def test_a_pretrained_dnabert_gives_berts_logits_on_real_sequence(k, layout, tmp_path, repo_root):
    bert = random_bert(k=k)
    source = dnabert_folder(tmp_path / "dnabert", bert, k, **layout)
    converted = tmp_path / "converted"
    assert convert(str(source), str(converted))["k"] == k
    sequences = [genome(repo_root, start) for start in (0, 17000, 40000)]
    rows = [ids_of(sequence, k) for sequence in sequences]
    expected = logits(bert, rows)
    for folder in (source, converted):
        model, tokenizer = KmerBertForMaskedLM.from_pretrained(folder), KmerTokenizer.from_pretrained(folder)
        assert tokenizer(sequences)["input_ids"] == rows
        assert (model.config.k, model.config.stride, tokenizer.stride) == (k, 1, 1)
        assert differ_by(logits(model, rows), expected) < 1e-5
    names = load_file(converted / "model.safetensors")
    assert not [name for name in names if "gamma" in name or "beta" in name or "pooler" in name]
    assert "training_args.bin" not in {path.name for path in converted.iterdir()}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (BertForSequenceClassification, KmerBertForSequenceClassification),
        (BertForTokenClassification, KmerBertForTokenClassification),
    ],
)
def test_a_fine_tuned_dnabert_keeps_its_head(theirs, ours, tmp_path, repo_root):
    bert = random_bert(theirs, num_labels=3)
    # DNABERT's fork writes the number of labels and leaves the default names of two.
    stale = {"num_labels": 3, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    source = dnabert_folder(tmp_path / "dnabert", bert, **stale)
    assert convert(str(source), str(tmp_path / "converted"))["class"] == ours.__name__
    rows = [ids_of(genome(repo_root, start), 3) for start in (500, 9000)]
    for folder in (source, tmp_path / "converted"):
        model = ours.from_pretrained(folder)
        assert model.config.num_labels == 3 and differ_by(logits(model, rows), logits(bert, rows)) < 1e-5


def test_a_bare_dnabert_keeps_its_pooler(tmp_path):
    bert = random_bert(BertModel)
    convert(str(dnabert_folder(tmp_path / "dnabert", bert)), str(tmp_path / "converted"))
    rows = torch.tensor([ids_of("ACGTTGATTT", 3)])
    model = KmerBertModel.from_pretrained(tmp_path / "converted").eval()
    assert differ_by(model(rows).pooler_output, bert(rows).pooler_output) < 1e-5


def test_fine_tuning_starts_from_a_dnabert_folder_with_one_notice(dnabert, transformers_log):
    model = KmerBertForSequenceClassification.from_pretrained(dnabert, num_labels=4)
    (notice,) = transformers_log.records
    assert "classifier.weight" in notice.getMessage() and "MISSING" in notice.getMessage()
    expected = BertForMaskedLM.from_pretrained(dnabert).bert.state_dict()
    ours = model.bert.state_dict()
    assert all(torch.equal(ours[name], weight) for name, weight in expected.items())
    assert torch.equal(ours["pooler.dense.weight"], torch.ones(32, 32)), "the pooler comes along where there is one"


def test_a_dnabert_folder_loads_without_a_word(dnabert, transformers_log):
    KmerBertForMaskedLM.from_pretrained(dnabert)
    KmerTokenizer.from_pretrained(dnabert)
    assert transformers_log.text == ""


def test_a_dnabert_saved_by_todays_transformers_keeps_its_ids(dnabert):
    saved_today("ATCG")(dnabert)
    assert not (dnabert / "vocab.txt").exists()
    assert KmerTokenizer.from_pretrained(dnabert)("ACGTTGA")["input_ids"] == ids_of("ACGTTGA", 3)
    assert KmerBertForMaskedLM.from_pretrained(dnabert).config.k == 3


def test_long_sequences_start_from_a_dnabert_folder_too(dnabert):
    model = HierarchicalKmerBertForSequenceClassification.from_pretrained(dnabert, num_parts=3)
    weight = BertForMaskedLM.from_pretrained(dnabert).bert.embeddings.word_embeddings.weight
    assert model.config.num_parts == 3 and torch.equal(model.bert.embeddings.word_embeddings.weight, weight)


def test_saving_what_was_loaded_from_old_names_writes_ours_and_loads_again(tmp_path):
    source = dnabert_folder(tmp_path / "dnabert", random_bert(), old_names=True)
    first = KmerBertForMaskedLM.from_pretrained(source)
    first.save_pretrained(tmp_path / "once")
    KmerBertForMaskedLM.from_pretrained(tmp_path / "once").save_pretrained(tmp_path / "twice")
    once, twice = (load_file(tmp_path / name / "model.safetensors") for name in ("once", "twice"))
    assert (
        set(once)
        == set(twice)
        == set(KmerBertForMaskedLM(first.config).state_dict())
        - {
            "cls.predictions.decoder.weight",
            "cls.predictions.decoder.bias",
        }
    )
    assert all(torch.equal(weight, twice[name]) for name, weight in once.items())


def test_a_missing_head_is_one_notice_and_a_missing_encoder_an_error(dnabert, tmp_path, caplog):
    state = torch.load(dnabert / "pytorch_model.bin", weights_only=True)
    headless = {name: weight for name, weight in state.items() if not name.startswith("cls.")}
    torch.save(headless, dnabert / "pytorch_model.bin")
    with caplog.at_level(logging.WARNING, logger="hf_genomics"):
        convert(str(dnabert), str(tmp_path / "converted"))
    (notice,) = [record.getMessage() for record in caplog.records]
    assert "cls.predictions.transform.dense.weight" in notice and "train before use" in notice
    del headless["bert.encoder.layer.1.output.dense.bias"]
    torch.save(headless, dnabert / "pytorch_model.bin")
    message = r"1 of 37 weights of the encoder are missing \(bert.encoder.layer.1.output.dense.bias"
    with pytest.raises(ValueError, match=message):
        KmerBertForMaskedLM.from_pretrained(dnabert)
    _, info = KmerBertForMaskedLM.from_pretrained(dnabert, output_loading_info=True)  # who asks is to judge
    assert "bert.encoder.layer.1.output.dense.bias" in info["missing_keys"]
    with pytest.raises(InputError, match=message):
        convert(str(dnabert), str(tmp_path / "other"))


# What is refused.


class Payload:
    """A pickle that would run code."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def with_config(**settings):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return change


def with_vocabulary(change):
    def apply(folder):
        (folder / "vocab.txt").write_text("\n".join(change(vocabulary(3))))

    return apply


def saved_today(order):
    """Write the files of today's BertTokenizer: tokenizer.json and no vocab.txt."""

    def apply(folder):
        (folder / "vocab.txt").write_text("\n".join([*vocabulary(3)[:5], *map("".join, product(order, repeat=3))]))
        BertTokenizer.from_pretrained(folder, do_lower_case=False).save_pretrained(folder)
        (folder / "vocab.txt").unlink()

    return apply


REFUSED = {
    "another_order": (
        with_vocabulary(lambda tokens: [*tokens[:5], *sorted(tokens[5:])]),
        "token 7 is AAC, where .* AAT",
    ),
    "a_token_less": (with_vocabulary(lambda tokens: tokens[:-1]), "token 69 is missing, where .* has GGG"),
    "a_token_more": (with_vocabulary(lambda tokens: [*tokens, "NNN"]), "token 70 is NNN, where .* has none"),
    "another_order_today": (saved_today("ACGT"), "tokenizer.json: token 7 is AAC, where .* AAT"),
    "no_kmers": (with_config(vocab_size=30522), "30522"),
    "another_model": (with_config(model_type="roberta"), "is a roberta model; only BertForMaskedLM"),
    "long": (
        with_config(architectures=["BertForLongSequenceClassification"]),
        "no counterpart; convert the pretrained model",
    ),
    "relative_positions": (
        with_config(position_embedding_type="relative_key"),
        "position_embedding_type='relative_key'",
    ),
    "a_decoder": (with_config(is_decoder=True), "is_decoder=True"),
    "pruned": (with_config(pruned_heads={"0": [1]}), "pruned_heads"),
    "other_sizes": (with_config(hidden_size=64), "according to config.json it should"),
    "a_type": (with_config(hidden_size="32"), "dnabert/config.json: 'hidden_size' must be a whole number, not '32'"),
    "no_names": (with_config(id2label=[]), "dnabert/config.json: 'id2label'"),
    "code": (
        lambda folder: torch.save(Payload(), folder / "pytorch_model.bin"),
        "could run code; save only the weights",
    ),
    "damaged": (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x02junk"), "damaged file or a pickle"),
    "nested": (
        lambda folder: torch.save({"epoch": 3, "state_dict": {}}, folder / "pytorch_model.bin"),
        "pytorch_model.bin: not just the weights",
    ),
    "no_weights": (lambda folder: (folder / "pytorch_model.bin").unlink(), "dnabert: no weights"),
    "no_config": (lambda folder: (folder / "config.json").unlink(), "no config.json in this folder"),
    "broken_config": (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON"),
}


@pytest.fixture
def no_bars():
    """What HF_HUB_DISABLE_PROGRESS_BARS, which the command line sets, does for a process that starts with it."""
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()


@pytest.mark.usefixtures("no_bars")
@pytest.mark.parametrize("what", REFUSED)
def test_the_command_refuses_with_one_line_and_writes_nothing(what, dnabert, tmp_path, capsys, monkeypatch):
    change, complaint = REFUSED[what]
    change(dnabert)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    assert main(["convert", str(dnabert), "--output_dir", "converted"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hf-genomics: error: ") and re.search(complaint, line), line
    assert set(tmp_path.rglob("*")) == before


def test_a_foreign_vocabulary_is_refused_by_from_pretrained_as_well(dnabert):
    REFUSED["another_order"][0](dnabert)
    for kind in (KmerBertForMaskedLM, KmerTokenizer):
        with pytest.raises(
            ValueError, match=r"vocab.txt: token 7 is AAC, where DNABERT's vocabulary of 3-mers has AAT"
        ):
            kind.from_pretrained(dnabert)


def test_a_folder_whose_k_nothing_tells_gives_no_tokenizer(tiny_config, tmp_path):
    KmerBertForMaskedLM(tiny_config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tokenizer_config.json is missing"):
        AutoTokenizer.from_pretrained(tmp_path)
    assert KmerTokenizer.from_pretrained(tmp_path, k=3).k == 3


def test_a_file_in_place_of_a_folder_is_refused(dnabert, tmp_path):
    with pytest.raises(InputError, match="config.json is a file; name the model's folder"):
        convert(str(dnabert / "config.json"), str(tmp_path / "converted"))


def test_an_output_folder_in_use_is_left_alone(dnabert, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(InputError, match="exists already"):
        convert(str(dnabert), str(tmp_path / "used"))
    (tmp_path / "empty").mkdir()
    convert(str(dnabert), str(tmp_path / "empty"))
    assert KmerTokenizer.from_pretrained(tmp_path / "empty").model_max_length == 128


def test_a_converted_folder_is_not_converted_again(dnabert, tmp_path):
    convert(str(dnabert), str(tmp_path / "once"))
    with pytest.raises(InputError, match="KmerBertForMaskedLM already; add --to bert"):
        convert(str(tmp_path / "once"), str(tmp_path / "twice"))


# Out.


@pytest.mark.parametrize("k", DIGESTS)
def test_stock_bert_loads_what_goes_out_and_agrees_on_spaced_kmers(k, tmp_path, repo_root):
    torch.manual_seed(0)
    model = KmerBertForMaskedLM(KmerBertConfig(k=k, **SIZES))
    to_bert(model, tmp_path / "bert")
    sequence = genome(repo_root, 3000) + "NNAC"
    spaced = " ".join(sequence[start : start + k] for start in range(len(sequence) - k + 1))
    expected = logits(model, [KmerTokenizer(k)(sequence)["input_ids"]])
    bert = BertForMaskedLM.from_pretrained(tmp_path / "bert")
    for kind in (BertTokenizer, AutoTokenizer):
        tokenizer = kind.from_pretrained(tmp_path / "bert")
        assert tokenizer.model_max_length == 128
        ids = tokenizer(spaced)["input_ids"]
        assert ids == ids_of(sequence, k)
        assert differ_by(logits(bert, [ids]), expected) < 1e-5


@pytest.mark.parametrize(
    ("kind", "twin"),
    [
        (KmerBertForSequenceClassification, BertForSequenceClassification),
        (KmerBertForTokenClassification, BertForTokenClassification),
    ],
)
def test_heads_go_out_with_their_labels(kind, twin, tmp_path):
    labels = {0: "other", 1: "phage", 2: "host"}
    model = kind(KmerBertConfig(k=3, **SIZES, id2label=labels, label2id={name: i for i, name in labels.items()}))
    to_bert(model, tmp_path)
    bert = twin.from_pretrained(tmp_path)
    rows = [ids_of("ACGTTGATTTACCA", 3)]
    assert bert.config.id2label == labels and differ_by(logits(bert, rows), logits(model, rows)) < 1e-5


def test_the_scale_of_a_regression_goes_out_in_the_weights(tmp_path):
    scale = {"problem_type": "regression", "target_means": [100.0, -3.0], "target_scales": [20.0, 0.1]}
    model = KmerBertForSequenceClassification(KmerBertConfig(k=3, **SIZES, num_labels=2, **scale))
    to_bert(model, tmp_path)
    bert, rows = BertForSequenceClassification.from_pretrained(tmp_path), [ids_of("ACGTTGATTTACCA", 3)]
    assert differ_by(logits(bert, rows), logits(model, rows)) < 1e-4
    assert abs(logits(bert, rows)[0] - torch.tensor([100.0, -3.0])).max() < 50


def test_half_precision_goes_over_as_it_is(tiny_config, tmp_path):
    model = KmerBertForMaskedLM(tiny_config).bfloat16()
    to_bert(model, tmp_path)
    bert = BertForMaskedLM.from_pretrained(tmp_path)
    assert {weight.dtype for weight in bert.parameters()} == {torch.bfloat16}
    assert torch.equal(bert.bert.embeddings.word_embeddings.weight, model.get_input_embeddings().weight)
    assert KmerBertForMaskedLM.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_there_and_back_is_the_same_model(dnabert, tmp_path):
    convert(str(dnabert), str(tmp_path / "ours"))
    assert convert(str(tmp_path / "ours"), str(tmp_path / "theirs"), to="bert")["class"] == "BertForMaskedLM"
    first, second = (BertForMaskedLM.from_pretrained(folder).state_dict() for folder in (dnabert, tmp_path / "theirs"))
    assert set(first) == set(second) and all(torch.equal(weight, second[name]) for name, weight in first.items())
    convert(str(tmp_path / "theirs"), str(tmp_path / "again"))
    assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "ours" / "config.json").read_text()


def test_the_stride_is_the_same_there_and_back(tmp_path):
    config = KmerBertConfig(k=3, stride=3, **SIZES | {"num_hidden_layers": 1})
    KmerBertForMaskedLM(config).save_pretrained(tmp_path / "ours")
    KmerTokenizer(3, 3).save_pretrained(tmp_path / "ours")
    convert(str(tmp_path / "ours"), str(tmp_path / "theirs"), to="bert")
    spaced = AutoTokenizer.from_pretrained(tmp_path / "theirs")("AAA TTT")["input_ids"]
    assert spaced == KmerTokenizer(3, 3)("AAATTT")["input_ids"]
    convert(str(tmp_path / "theirs"), str(tmp_path / "again"))
    for folder in ("theirs", "again"):
        assert KmerBertForMaskedLM.from_pretrained(tmp_path / folder).config.stride == 3
        assert KmerTokenizer.from_pretrained(tmp_path / folder).stride == 3


def test_an_adapter_goes_out_with_its_base(tmp_path):
    peft = pytest.importorskip("peft")
    model = KmerBertForSequenceClassification(KmerBertConfig(k=3, **SIZES | {"num_hidden_layers": 1}))
    model.save_pretrained(tmp_path / "base")
    KmerTokenizer(3).save_pretrained(tmp_path / "base")
    options = peft.LoraConfig(target_modules=["query"], task_type="SEQ_CLS", init_lora_weights=False)
    adapted = peft.get_peft_model(KmerBertForSequenceClassification.from_pretrained(tmp_path / "base"), options)
    adapted.save_pretrained(tmp_path / "adapter")
    KmerTokenizer(3).save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "config.json").write_text((tmp_path / "base" / "config.json").read_text())
    convert(str(tmp_path / "adapter"), str(tmp_path / "bert"), to="bert")
    rows, bert = [ids_of("ACGTTGATTTACCA", 3)], BertForSequenceClassification.from_pretrained(tmp_path / "bert")
    assert (
        differ_by(logits(bert, rows), logits(adapted, rows)) < 1e-5 < differ_by(logits(bert, rows), logits(model, rows))
    )


def test_a_misspelt_format_is_refused(tmp_path):
    with pytest.raises(InputError, match="'kmer_bert' or 'bert', not 'BERT'"):
        convert(str(tmp_path), str(tmp_path / "out"), to="BERT")


def test_what_bert_cannot_express_stays_here(tmp_path, tiny_config):
    hierarchical = HierarchicalKmerBertForSequenceClassification(HierarchicalKmerBertConfig(k=3, **SIZES))
    with pytest.raises(InputError, match="no counterpart of HierarchicalKmerBertForSequenceClassification"):
        to_bert(hierarchical, tmp_path / "out")
    tiny_config.vocab_size = 71
    with pytest.raises(InputError, match=r"vocab_size is 71, but 69 for 3-mers"):
        to_bert(KmerBertForMaskedLM(tiny_config), tmp_path / "out")
    for choice in (
        {"classifier_pooling": "mean"},
        {"labels_per": "nt"},
        {"position_embedding_type": "rotary"},
        {"sliding_window": 8},
    ):
        model = KmerBertForTokenClassification(KmerBertConfig(k=3, **SIZES, **choice))
        with pytest.raises(InputError, match=f"stock BERT has no {next(iter(choice))}: "):
            to_bert(model, tmp_path / "out")
    tiny_config.vocab_size, tiny_config.hidden_act = 69, "relu"
    to_bert(KmerBertForMaskedLM(tiny_config), tmp_path / "relu")  # BERT has this one
    assert not (tmp_path / "out").exists()
